//! After the handshake: the keys of both directions, and what they do to messages.

#![forbid(unsafe_code)]

mod protect;

pub use self::protect::Buffer;
pub use crate::wire::MessageSignature;

use zeroize::Zeroizing;

use crate::{
    bytes::Reader,
    crypto::{
        ExportedSessionKey, SealingKey, SigningKey,
        keys::{self, Direction, Strength},
        primitive::HmacMd5,
        rc4::Handle,
    },
    error::{Fault, FieldName, Result},
    wire::NegotiateFlags,
};

/// Which side of a context this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client's.
    Initiator,
    /// The server's.
    Acceptor,
}

/// Which way a message goes, seen from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the peer.
    Send,
    /// From the peer.
    Receive,
}

/// The session security of a context: connection-oriented, with extended session security where it protects messages.
#[derive(Debug)]
pub struct Session {
    flags: NegotiateFlags,
    key: ExportedSessionKey,
    /// Nothing without SIGN and SEAL, or without extended session security.
    protection: Option<Protection>,
}

#[derive(Debug)]
struct Protection {
    send: Half,
    receive: Half,
}

/// The keys of one direction.
#[derive(Debug)]
pub struct Keys {
    /// ClientSigningKey or ServerSigningKey.
    pub signing: SigningKey,
    /// ClientSealingKey or ServerSealingKey.
    pub sealing: SealingKey,
}

/// One direction: its keys, its RC4 stream, its sequence number.
struct Half {
    signing: HmacMd5,
    sealing_key: SealingKey,
    handle: Handle,
    seq_num: u32,
}

impl Session {
    /// The length of an exported session at most, in bytes.
    pub const EXPORTED_MAX: usize = 20 + 2 * (4 + Handle::EXPORTED_LEN);

    /// The session that `flags`, the ones both sides agreed on, and the ExportedSessionKey make.
    #[must_use]
    pub fn new(role: Role, flags: NegotiateFlags, key: ExportedSessionKey) -> Self {
        let [send, receive] = Keys::of_both_ways(role, flags, &key);
        Self::with_keys(flags, key, send, receive)
    }

    /// The same with the signing and sealing keys of both directions given.
    #[must_use]
    pub fn with_keys(flags: NegotiateFlags, key: ExportedSessionKey, send: Keys, receive: Keys) -> Self {
        let fresh = |keys: Keys| Half::new(Handle::new(&keys.sealing), 0, keys);
        let protection = is_protected(flags).then(|| Protection { send: fresh(send), receive: fresh(receive) });
        Self { flags, key, protection }
    }

    /// The flags that both sides agreed on.
    #[must_use]
    pub const fn flags(&self) -> NegotiateFlags {
        self.flags
    }

    /// The ExportedSessionKey, which applications ask for to make keys of their own.
    #[must_use]
    pub const fn key(&self) -> &ExportedSessionKey {
        &self.key
    }

    /// Restarts the RC4 stream of one way; its sequence number goes on. SPNEGO does this after each mechListMIC.
    pub fn reset_crypto(&mut self, way: Way) {
        if let Some(Protection { send, receive }) = &mut self.protection {
            let half = match way {
                Way::Send => send,
                Way::Receive => receive,
            };
            half.handle = Handle::new(&half.sealing_key);
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

    /// Appends the session to `out`: its flags, its key, and for each direction the sequence number and the RC4 state.
    /// A secret.
    pub fn export(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        out.extend_from_slice(self.key.expose());
        if let Some(Protection { send, receive }) = &self.protection {
            for half in [send, receive] {
                out.extend_from_slice(&half.seq_num.to_le_bytes());
                half.handle.export(out);
            }
        }
    }

    /// The session that [`Session::export`] wrote at the place where `reader` stands.
    ///
    /// # Errors
    /// When none is there.
    pub fn import(role: Role, reader: &mut Reader<'_>) -> Result<Self> {
        let field = FieldName::Contents;
        let flags = NegotiateFlags::from_bits_retain(reader.u32(field)?);
        let key = ExportedSessionKey::new(reader.array(field)?);
        if !is_protected(flags) {
            return Ok(Self { flags, key, protection: None });
        }
        let mut half = |keys| -> Result<_> {
            let seq_num = reader.u32(field)?;
            let state = Zeroizing::new(reader.array(field)?);
            let handle = Handle::import(&state).ok_or_else(|| reader.error(field, Fault::WrongValue))?;
            Ok(Half::new(handle, seq_num, keys))
        };
        let [send, receive] = Keys::of_both_ways(role, flags, &key);
        let protection = Some(Protection { send: half(send)?, receive: half(receive)? });
        Ok(Self { flags, key, protection })
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
    fn of_both_ways(role: Role, flags: NegotiateFlags, key: &ExportedSessionKey) -> [Self; 2] {
        [Way::Send, Way::Receive].map(|way| role.direction(way)).map(|direction| Self {
            signing: keys::sign_key(key, direction),
            sealing: keys::seal_key(key, strength(flags), direction),
        })
    }
}

impl Half {
    fn new(handle: Handle, seq_num: u32, keys: Keys) -> Self {
        Self { signing: HmacMd5::new(keys.signing.expose()), sealing_key: keys.sealing, handle, seq_num }
    }
}

impl core::fmt::Debug for Half {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Half {{ seq_num: {}, .. }}", self.seq_num)
    }
}

const fn is_protected(flags: NegotiateFlags) -> bool {
    flags.protects() && flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY)
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
        let of = |flags| Session::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16])).strength_factor();
        let seal = NegotiateFlags::SIGN | NegotiateFlags::SEAL;
        assert_eq!(of(seal | NegotiateFlags::BITS_128 | NegotiateFlags::BITS_56), 64);
        assert_eq!(of(seal | NegotiateFlags::BITS_56), 56);
        assert_eq!(of(seal), 40);
        assert_eq!(of(NegotiateFlags::SIGN | NegotiateFlags::BITS_128), 1);
        assert_eq!(of(NegotiateFlags::BITS_128), 0);
    }
}
