//! After the handshake: the keys of both directions, and what they do to messages.

#![forbid(unsafe_code)]

mod protect;
mod token;
pub mod vectors;

pub use self::{
    protect::Buffer,
    token::{SIGNATURE_LEN, split_token, split_token_mut, unsealed_token},
};

use zeroize::Zeroizing;

use crate::{
    bytes::Reader,
    crypto::{
        ExportedSessionKey, SealingKey, SigningKey,
        keys::{self, Direction, LmKeyLength, Strength},
        message_mac::MessageMac,
        rc4::Handle,
    },
    error::{ApiMisuse, Error, Fault, FieldName, Result},
    wire::{NegotiateFlags, Version},
};

/// Which side of a context this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client.
    Initiator,
    /// The server.
    Acceptor,
}

/// The direction of a message, seen from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the peer.
    Send,
    /// From the peer.
    Receive,
}

/// The session security of a context. It is connectionless if its flags have DATAGRAM, else connection-oriented.
#[derive(Debug)]
pub struct Session {
    flags: NegotiateFlags,
    seal_key: SealKey,
    /// Whether the application has set the sequence number of connectionless messages.
    is_numbered: bool,
    key: ExportedSessionKey,
    /// `None` without SIGN and SEAL.
    protection: Option<Protection>,
}

/// How SEALKEY makes the sealing keys of a session ([MS-NLMP] 3.4.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SealKey {
    /// With extended session security: one key for each direction.
    Extended,
    /// Without it: the ExportedSessionKey, for both directions.
    Whole,
    /// Without it, and cut: seven or five bytes of the ExportedSessionKey, for both directions.
    Cut,
}

#[derive(Debug)]
struct Protection {
    send: Half,
    /// `None` without extended session security: one key, one stream and one count serve both directions.
    receive: Option<Half>,
}

/// The keys of one direction.
#[derive(Debug)]
struct Keys {
    signing: SigningKey,
    sealing: SealingKey,
}

/// One direction: its keys, its RC4 stream, its sequence number.
struct Half {
    checksum: Checksum,
    sealing_key: SealingKey,
    handle: Handle,
    /// The stream starts with the next message, which schedules its key: many contexts never have one.
    is_fresh: bool,
    seq_num: u32,
    /// Connectionless messages may get lost or change their order: the stream starts anew before each, and the application
    /// numbers them.
    is_datagram: bool,
    /// The first message may have number 1.
    may_start_at_one: bool,
}

/// How the checksum of a signature is made.
enum Checksum {
    /// With extended session security ([MS-NLMP] 3.4.4.2): with the signing key, and encrypted if keys are exchanged.
    Hmac { signing: MessageMac, key_exch: bool },
    /// Without it (3.4.4.1): there is no signing key.
    Crc32,
}

impl Session {
    /// The greatest length of an exported session, in bytes.
    pub const EXPORTED_MAX: usize = 23 + 2 * (4 + Handle::EXPORTED_LEN);

    /// The session of the `flags` that both sides agreed on, the ExportedSessionKey, and the `version` in the
    /// AUTHENTICATE_MESSAGE. Its sequence numbers start at 0.
    #[must_use]
    pub fn new(role: Role, flags: NegotiateFlags, key: ExportedSessionKey, version: Option<Version>) -> Self {
        let seal_key = SealKey::of(flags, version);
        let [send, receive] = Keys::of_both_ways(role, flags, &key, seal_key);
        let protection = Protection::new(flags, send, receive);
        Self { flags, seal_key, is_numbered: false, key, protection }
    }

    /// The same session with `seq_num` for all messages, if there is one, as [`Session::set_seq_num`] sets it.
    ///
    /// # Errors
    /// As [`Session::set_seq_num`].
    pub fn numbered(mut self, seq_num: Option<u32>) -> Result<Self> {
        seq_num.map_or(Ok(()), |seq_num| self.set_seq_num(seq_num))?;
        Ok(self)
    }

    /// Whether the session is connectionless.
    #[must_use]
    pub const fn is_datagram(&self) -> bool {
        self.flags.contains(NegotiateFlags::DATAGRAM)
    }

    /// Sets the sequence number of all messages from now on, in both directions: a connectionless session does not count them.
    ///
    /// # Errors
    /// [`ApiMisuse::NotDatagram`] for a connection-oriented session, which counts its messages itself.
    pub fn set_seq_num(&mut self, seq_num: u32) -> Result<()> {
        if !self.is_datagram() {
            return Err(ApiMisuse::NotDatagram.into());
        }
        self.is_numbered = true;
        if let Some(Protection { send, receive }) = &mut self.protection {
            send.seq_num = seq_num;
            receive.iter_mut().for_each(|receive| receive.seq_num = seq_num);
        }
        Ok(())
    }

    /// Accepts number 1 for the peer's first message: number 0 may have been a mechListMIC that SPNEGO lost. The RC4 stream
    /// starts anew after a mechListMIC, so only the number differs. Without extended session security this does nothing,
    /// because both directions share one number.
    pub const fn forgive_lost_mech_list_mic(&mut self) {
        if let Some(Protection { receive: Some(receive), .. }) = &mut self.protection {
            receive.may_start_at_one = true;
        }
    }

    fn may_start_at_one(&self) -> bool {
        self.protection
            .as_ref()
            .and_then(|protection| protection.receive.as_ref())
            .is_some_and(|half| half.may_start_at_one)
    }

    /// Ensures that signatures prove something.
    ///
    /// # Errors
    /// [`ApiMisuse::NoProtection`] without SIGN and SEAL.
    pub const fn ensure_protects(&self) -> Result<()> {
        if self.protection.is_some() { Ok(()) } else { Err(Error::ApiMisuse(ApiMisuse::NoProtection)) }
    }

    /// Ensures that messages can be signed: with SIGN or SEAL, or with the dummy signature of ALWAYS_SIGN alone.
    ///
    /// # Errors
    /// [`ApiMisuse::NoProtection`] without any of these flags.
    pub const fn ensure_can_sign(&self) -> Result<()> {
        if self.protection.is_some() || self.flags.contains(NegotiateFlags::ALWAYS_SIGN) {
            Ok(())
        } else {
            Err(Error::ApiMisuse(ApiMisuse::NoProtection))
        }
    }

    /// Ensures that messages can be wrapped. A connectionless session needs extended session security for that ([MS-NLMP]
    /// 3.4.3), or SEAL, which no handshake gives it then. And its number must have been set: messages with the same number
    /// have the same key stream, and a program that does not know of this mode would use one number for all of them.
    ///
    /// # Errors
    /// [`ApiMisuse::NoProtection`] without SIGN and SEAL, or if a connectionless session cannot seal;
    /// [`ApiMisuse::NoSeqNum`].
    pub const fn ensure_can_wrap(&self) -> Result<()> {
        let can_seal = !self.is_datagram() || is_extended(self.flags) || self.flags.contains(NegotiateFlags::SEAL);
        if self.protection.is_none() || !can_seal {
            Err(Error::ApiMisuse(ApiMisuse::NoProtection))
        } else if self.is_datagram() && !self.is_numbered {
            Err(Error::ApiMisuse(ApiMisuse::NoSeqNum))
        } else {
            Ok(())
        }
    }

    /// The ExportedSessionKey. Applications make keys of their own with it.
    #[must_use]
    pub const fn key(&self) -> &ExportedSessionKey {
        &self.key
    }

    /// Restarts the RC4 stream of one direction, without extended session security that of both; the sequence number does not
    /// change. SPNEGO does this after each mechListMIC.
    pub fn reset_crypto(&mut self, way: Way) {
        if let Some(protection) = &mut self.protection {
            protection.half(way).is_fresh = true;
        }
    }

    /// The security strength factor of RFC 4422: bits of the sealing key, 1 for integrity alone, 0 for nothing.
    #[must_use]
    pub const fn strength_factor(&self) -> u32 {
        if self.flags.contains(NegotiateFlags::SEAL) {
            match strength(self.flags) {
                Strength::Bits128 => 64,
                Strength::Bits56 => 56,
                Strength::Bits40 => 40,
            }
        } else if self.flags.contains(NegotiateFlags::SIGN) {
            1
        } else {
            0
        }
    }

    /// Appends the session to `out`: its flags, three bytes that are 0 or 1, its key, and for each direction the sequence
    /// number and the RC4 state. What is written is secret.
    pub fn export(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        let booleans = [self.seal_key == SealKey::Cut, self.is_numbered, self.may_start_at_one()];
        out.extend_from_slice(&booleans.map(u8::from));
        out.extend_from_slice(self.key.expose());
        if let Some(Protection { send, receive }) = &self.protection {
            for half in [Some(send), receive.as_ref()].into_iter().flatten() {
                out.extend_from_slice(&half.seq_num.to_le_bytes());
                if half.is_fresh {
                    Handle::new(&half.sealing_key).export(out);
                } else {
                    half.handle.export(out);
                }
            }
        }
    }

    /// Reads the session that [`Session::export`] wrote.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn import(role: Role, reader: &mut Reader<'_>) -> Result<Self> {
        let field = FieldName::Contents;
        let flags = NegotiateFlags::from_bits_retain(reader.u32(field)?);
        let is_cut = reader.boolean(field)?;
        let is_numbered = reader.boolean(field)?;
        let may_start_at_one = reader.boolean(field)?;
        let key = ExportedSessionKey::new(reader.array(field)?);
        let seal_key = match (is_extended(flags), is_cut) {
            (true, false) => SealKey::Extended,
            (false, false) => SealKey::Whole,
            (false, true) => SealKey::Cut,
            (true, true) => return Err(reader.error(field, Fault::WrongValue)),
        };
        if !flags.protects() {
            return Ok(Self { flags, seal_key, is_numbered, key, protection: None });
        }
        let mut half = |keys| -> Result<_> {
            let seq_num = reader.u32(field)?;
            let state = Zeroizing::new(reader.array(field)?);
            let handle = Handle::import(&state).ok_or_else(|| reader.error(field, Fault::WrongValue))?;
            Ok(Half { handle, is_fresh: false, ..Half::new(flags, seq_num, keys) })
        };
        let [send, receive] = Keys::of_both_ways(role, flags, &key, seal_key);
        let send = half(send)?;
        let receive = if is_extended(flags) { Some(half(receive)?) } else { None };
        let mut session = Self { flags, seal_key, is_numbered, key, protection: Some(Protection { send, receive }) };
        if may_start_at_one {
            session.forgive_lost_mech_list_mic();
        }
        Ok(session)
    }
}

impl Protection {
    /// Starts the streams of both directions; `None` without SIGN and SEAL. Without extended session security only the sealing
    /// key of `send` is used.
    fn new(flags: NegotiateFlags, send: Keys, receive: Keys) -> Option<Self> {
        let half = |keys: Keys| Half::new(flags, 0, keys);
        let receive = is_extended(flags).then_some(receive);
        flags.protects().then(|| Self { send: half(send), receive: receive.map(half) })
    }

    fn half(&mut self, way: Way) -> &mut Half {
        match (way, &mut self.receive) {
            (Way::Receive, Some(receive)) => receive,
            _ => &mut self.send,
        }
    }
}

impl Role {
    const fn direction(self, way: Way) -> Direction {
        match (self, way) {
            (Self::Initiator, Way::Send) | (Self::Acceptor, Way::Receive) => Direction::ClientToServer,
            (Self::Initiator, Way::Receive) | (Self::Acceptor, Way::Send) => Direction::ServerToClient,
        }
    }
}

impl Keys {
    fn of_both_ways(role: Role, flags: NegotiateFlags, key: &ExportedSessionKey, seal_key: SealKey) -> [Self; 2] {
        [Way::Send, Way::Receive].map(|way| role.direction(way)).map(|direction| Self {
            signing: keys::sign_key(key, direction),
            sealing: seal_key.make(flags, key, direction),
        })
    }
}

impl Half {
    fn new(flags: NegotiateFlags, seq_num: u32, keys: Keys) -> Self {
        let checksum = if is_extended(flags) {
            let signing = MessageMac::new(&keys.signing);
            Checksum::Hmac { signing, key_exch: flags.contains(NegotiateFlags::KEY_EXCH) }
        } else {
            Checksum::Crc32
        };
        let is_datagram = flags.contains(NegotiateFlags::DATAGRAM);
        Self {
            checksum,
            sealing_key: keys.sealing,
            handle: Handle::unscheduled(),
            is_fresh: true,
            seq_num,
            is_datagram,
            may_start_at_one: false,
        }
    }
}

impl core::fmt::Debug for Half {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Half {{ seq_num: {}, .. }}", self.seq_num)
    }
}

const fn is_extended(flags: NegotiateFlags) -> bool {
    flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY)
}

impl SealKey {
    /// Without extended session security the key is cut with LM_KEY, and in a connectionless session if the revision in the
    /// client's Version is NTLMSSP_REVISION_W2K3 or later.
    fn of(flags: NegotiateFlags, version: Option<Version>) -> Self {
        let is_recent = version.is_some_and(|version| version.revision() >= Version::W2K3);
        if is_extended(flags) {
            Self::Extended
        } else if flags.contains(NegotiateFlags::LM_KEY) || flags.contains(NegotiateFlags::DATAGRAM) && is_recent {
            Self::Cut
        } else {
            Self::Whole
        }
    }

    fn make(self, flags: NegotiateFlags, key: &ExportedSessionKey, direction: Direction) -> SealingKey {
        match self {
            Self::Extended => keys::seal_key(key, strength(flags), direction),
            Self::Whole => keys::seal_key_whole(key),
            Self::Cut if flags.contains(NegotiateFlags::BITS_56) => keys::seal_key_lm(key, LmKeyLength::SevenBytes),
            Self::Cut => keys::seal_key_lm(key, LmKeyLength::FiveBytes),
        }
    }
}

const fn strength(flags: NegotiateFlags) -> Strength {
    if flags.contains(NegotiateFlags::BITS_128) {
        Strength::Bits128
    } else if flags.contains(NegotiateFlags::BITS_56) {
        Strength::Bits56
    } else {
        Strength::Bits40
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strength_factor_is_that_of_the_sealing_key() {
        let of = |flags| Session::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16]), None).strength_factor();
        let seal = NegotiateFlags::SIGN | NegotiateFlags::SEAL;
        assert_eq!(of(seal | NegotiateFlags::BITS_128 | NegotiateFlags::BITS_56), 64);
        assert_eq!(of(seal | NegotiateFlags::BITS_56), 56);
        assert_eq!(of(seal), 40);
        assert_eq!(of(NegotiateFlags::SIGN | NegotiateFlags::BITS_128), 1);
        assert_eq!(of(NegotiateFlags::BITS_128), 0);
    }

    #[test]
    fn no_exported_session_is_longer_than_the_greatest_length() {
        let exported_len = |flags| {
            let mut out = Vec::new();
            Session::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16]), None).export(&mut out);
            out.len()
        };
        let longest = exported_len(NegotiateFlags::SIGN | NegotiateFlags::EXTENDED_SESSIONSECURITY);
        assert_eq!(longest, Session::EXPORTED_MAX);
        for flags in [NegotiateFlags::empty(), NegotiateFlags::SIGN, NegotiateFlags::SEAL] {
            assert!(exported_len(flags) < longest, "{flags}");
        }
    }

    #[test]
    fn a_session_is_printed_without_its_keys() {
        let flags = NegotiateFlags::SIGN;
        let session = Session::new(Role::Initiator, flags, ExportedSessionKey::new([0x55; 16]), None);
        assert_eq!(
            format!("{session:?}"),
            "Session { flags: NegotiateFlags(SIGN), seal_key: Whole, is_numbered: false, key: ExportedSessionKey(..), \
             protection: Some(Protection { send: Half { seq_num: 0, .. }, receive: None }) }"
        );
    }
}
