//! After the handshake: the keys of both directions, and what they do to messages.

#![forbid(unsafe_code)]

mod protect;
mod token;
pub mod vectors;

pub use self::{
    protect::Buffer,
    token::{SIGNATURE_LEN, split_token, split_token_mut, unsealed_token},
};

use crate::{
    bytes::{Reader, boxed},
    crypto::{
        ExportedSessionKey, SealingKey,
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
    agreed: Agreed,
    /// Whether the application has set the sequence number of connectionless messages.
    is_numbered: bool,
    /// `None` without SIGN and SEAL.
    protection: Option<Protection>,
}

/// What both sides agreed on. The keys of both directions are made of it.
#[derive(Debug)]
struct Agreed {
    flags: NegotiateFlags,
    seal_key: SealKey,
    key: ExportedSessionKey,
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
struct Keys {
    checksum: Checksum,
    sealing: SealingKey,
}

/// One direction: its keys, its RC4 stream, its sequence number.
struct Half {
    direction: Direction,
    /// Made with the first message: many contexts never have one.
    keys: Option<Keys>,
    /// `None` if the stream starts with the next message, which schedules its key.
    handle: Option<Box<[Handle; 1]>>,
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
    pub const EXPORTED_MAX: usize = 23 + 2 * (5 + Handle::EXPORTED_LEN);

    /// The session of the `flags` that both sides agreed on, the ExportedSessionKey, and the `version` in the
    /// AUTHENTICATE_MESSAGE. Its sequence numbers start at 0.
    #[must_use]
    pub fn new(role: Role, flags: NegotiateFlags, key: ExportedSessionKey, version: Option<Version>) -> Self {
        let protection = flags.protects().then(|| Protection::new(role, flags));
        Self { agreed: Agreed { flags, seal_key: SealKey::of(flags, version), key }, is_numbered: false, protection }
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
        self.agreed.flags.contains(NegotiateFlags::DATAGRAM)
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
    /// because both directions share one number, and nor does it in a connectionless session, which counts none.
    pub const fn forgive_lost_mech_list_mic(&mut self) {
        if let Some(Protection { receive: Some(receive), .. }) = &mut self.protection {
            receive.may_start_at_one = !receive.is_datagram;
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
        if self.protection.is_some() || self.agreed.flags.contains(NegotiateFlags::ALWAYS_SIGN) {
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
        let can_seal =
            !self.is_datagram() || is_extended(self.agreed.flags) || self.agreed.flags.contains(NegotiateFlags::SEAL);
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
        &self.agreed.key
    }

    /// Restarts the RC4 stream of one direction, without extended session security that of both; the sequence number does not
    /// change. SPNEGO does this after each mechListMIC.
    pub fn reset_crypto(&mut self, way: Way) {
        if let Some(protection) = &mut self.protection {
            protection.half(way).handle = None;
        }
    }

    /// The security strength factor of RFC 4422: bits of the sealing key, 1 for integrity alone, 0 for nothing.
    #[must_use]
    pub const fn strength_factor(&self) -> u32 {
        if self.agreed.flags.contains(NegotiateFlags::SEAL) {
            match strength(self.agreed.flags) {
                Strength::Bits128 => 64,
                Strength::Bits56 => 56,
                Strength::Bits40 => 40,
            }
        } else if self.agreed.flags.contains(NegotiateFlags::SIGN) {
            1
        } else {
            0
        }
    }

    /// Appends the session to `out`: its flags, three bytes that are 0 or 1, its key, and for each direction the sequence
    /// number and, if a message has begun the RC4 stream, its state. What is written is secret.
    pub fn export(&self, out: &mut Vec<u8>) {
        let Agreed { flags, seal_key, key } = &self.agreed;
        out.extend_from_slice(&flags.bits().to_le_bytes());
        let booleans = [*seal_key == SealKey::Cut, self.is_numbered, self.may_start_at_one()];
        out.extend_from_slice(&booleans.map(u8::from));
        out.extend_from_slice(key.expose());
        if let Some(Protection { send, receive }) = &self.protection {
            for half in [Some(send), receive.as_ref()].into_iter().flatten() {
                out.extend_from_slice(&half.seq_num.to_le_bytes());
                out.push(u8::from(half.running().is_some()));
                half.running().into_iter().for_each(|handle| handle.export(out));
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
        let mut protection = flags.protects().then(|| Protection::new(role, flags));
        if let Some(Protection { send, receive }) = &mut protection {
            for half in [Some(send), receive.as_mut()].into_iter().flatten() {
                half.seq_num = reader.u32(field)?;
                if reader.boolean(field)? {
                    let state = Handle::import(reader.take(Handle::EXPORTED_LEN, field)?);
                    // A connectionless session never goes on with a stream.
                    let state = state.filter(|_| !half.is_datagram);
                    half.handle = Some(boxed(state.ok_or_else(|| reader.error(field, Fault::WrongValue))?)?);
                }
            }
        }
        let mut session = Self { agreed: Agreed { flags, seal_key, key }, is_numbered, protection };
        if may_start_at_one {
            session.forgive_lost_mech_list_mic();
        }
        if session.may_start_at_one() == may_start_at_one {
            Ok(session)
        } else {
            Err(reader.error(field, Fault::WrongValue))
        }
    }
}

impl Protection {
    /// The streams of both directions, before their first messages.
    const fn new(role: Role, flags: NegotiateFlags) -> Self {
        let receive = if is_extended(flags) { Some(Half::new(role.direction(Way::Receive), flags)) } else { None };
        Self { send: Half::new(role.direction(Way::Send), flags), receive }
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

impl Agreed {
    /// The keys of one direction.
    #[inline(never)]
    fn keys(&self, direction: Direction) -> Keys {
        let Self { flags, seal_key, key } = self;
        match seal_key {
            SealKey::Extended => {
                let (signing, sealing) = keys::sign_and_seal_keys(key, strength(*flags), direction);
                let key_exch = flags.contains(NegotiateFlags::KEY_EXCH);
                Keys { checksum: Checksum::Hmac { signing: MessageMac::new(&signing), key_exch }, sealing }
            }
            SealKey::Whole => Keys { checksum: Checksum::Crc32, sealing: keys::seal_key_whole(key) },
            SealKey::Cut => {
                let is_56 = flags.contains(NegotiateFlags::BITS_56);
                let length = if is_56 { LmKeyLength::SevenBytes } else { LmKeyLength::FiveBytes };
                Keys { checksum: Checksum::Crc32, sealing: keys::seal_key_lm(key, length) }
            }
        }
    }
}

impl Half {
    const fn new(direction: Direction, flags: NegotiateFlags) -> Self {
        Self {
            direction,
            keys: None,
            handle: None,
            seq_num: 0,
            is_datagram: flags.contains(NegotiateFlags::DATAGRAM),
            may_start_at_one: false,
        }
    }

    /// The stream, if the next message goes on with it.
    fn running(&self) -> Option<&Handle> {
        self.handle.as_deref().map(|[handle]| handle).filter(|_| !self.is_datagram)
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
    use crate::error::Message;

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
        let exported_len = |flags: NegotiateFlags| {
            let new = |role| Session::new(role, flags, ExportedSessionKey::new([0; 16]), None);
            let (mut session, mut peer) = (new(Role::Initiator), new(Role::Acceptor));
            if flags.protects() {
                session.get_mic(&[]).unwrap();
                // Without extended session security both ways share a count.
                let signatures = [peer.get_mic(&[]).unwrap(), peer.get_mic(&[]).unwrap()];
                assert!(signatures.iter().any(|signature| session.verify_mic(&[], signature).is_ok()));
            }
            let mut out = Vec::new();
            session.export(&mut out);
            out.len()
        };
        let longest = exported_len(NegotiateFlags::SIGN | NegotiateFlags::EXTENDED_SESSIONSECURITY);
        assert_eq!(longest, Session::EXPORTED_MAX);
        for flags in [NegotiateFlags::empty(), NegotiateFlags::SIGN, NegotiateFlags::SEAL] {
            assert!(exported_len(flags) < longest, "{flags}");
        }
    }

    #[test]
    fn what_is_imported_exports_as_the_same_or_is_refused() {
        let flags = NegotiateFlags::SIGN | NegotiateFlags::EXTENDED_SESSIONSECURITY;
        for (flags, may_run) in [(flags, true), (flags | NegotiateFlags::DATAGRAM, false)] {
            let mut session = Session::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16]), None);
            session.get_mic(&[]).unwrap();
            let mut fresh = Vec::new();
            session.export(&mut fresh);
            let running = [&fresh[..27], &[1], &(0..=255).collect::<Vec<u8>>(), &[0; 7]].concat();
            let mut forgiving = fresh.clone();
            forgiving[6] = 1;
            for (token, is_good) in [(fresh, true), (running, may_run), (forgiving, may_run)] {
                let imported = Session::import(Role::Initiator, &mut Reader::new(Message::ExportedContext, &token));
                assert_eq!(imported.is_ok(), is_good, "{flags}");
                if let Ok(session) = imported {
                    let mut again = Vec::new();
                    session.export(&mut again);
                    assert_eq!(again, token);
                }
            }
        }
    }

    #[test]
    fn a_session_is_printed_without_its_keys() {
        let flags = NegotiateFlags::SIGN;
        let session = Session::new(Role::Initiator, flags, ExportedSessionKey::new([0x55; 16]), None);
        assert_eq!(
            format!("{session:?}"),
            "Session { agreed: Agreed { flags: NegotiateFlags(SIGN), seal_key: Whole, key: ExportedSessionKey(..) }, \
             is_numbered: false, protection: Some(Protection { send: Half { seq_num: 0, .. }, receive: None }) }"
        );
    }
}
