//! What only `tests/vectors` and unit tests use.

use crate::{
    crypto::{ExportedSessionKey, SealingKey, SigningKey, keys::Direction, message_mac::MessageMac},
    wire::{NegotiateFlags, Version},
};

use super::{Agreed, Checksum, Keys, Role, SealKey, Session, is_extended};

/// SEALKEY, [MS-NLMP] 3.4.5.3, with the `version` of the AUTHENTICATE_MESSAGE.
#[must_use]
pub fn seal_key(
    flags: NegotiateFlags, key: &ExportedSessionKey, direction: Direction, version: Option<Version>,
) -> SealingKey {
    let key = ExportedSessionKey::new(*key.expose());
    Agreed { flags, seal_key: SealKey::of(flags, version), key }.keys(direction).sealing
}

impl Session {
    /// A session with the same signing and sealing keys for both directions.
    #[must_use]
    pub fn with_keys(flags: NegotiateFlags, signing: [u8; 16], sealing: [u8; 16]) -> Self {
        let mut session = Self::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16]), None);
        let checksum = || {
            if is_extended(flags) {
                let signing = MessageMac::new(&SigningKey::new(signing));
                Checksum::Hmac { signing, key_exch: flags.contains(NegotiateFlags::KEY_EXCH) }
            } else {
                Checksum::Crc32
            }
        };
        for half in
            session.protection.iter_mut().flat_map(|both| [Some(&mut both.send), both.receive.as_mut()]).flatten()
        {
            half.keys = Some(Keys { checksum: checksum(), sealing: SealingKey::new(sealing) });
        }
        session
    }

    /// The flags that both sides agreed on.
    #[must_use]
    pub const fn flags(&self) -> NegotiateFlags {
        self.agreed.flags
    }
}
