//! What only `tests/vectors` and unit tests use.

use crate::{
    crypto::{ExportedSessionKey, SealingKey, SigningKey, keys::Direction},
    wire::{NegotiateFlags, Version},
};

use super::{Keys, Protection, SealKey, Session};

/// SEALKEY, [MS-NLMP] 3.4.5.3, with the `version` of the AUTHENTICATE_MESSAGE.
#[must_use]
pub fn seal_key(
    flags: NegotiateFlags, key: &ExportedSessionKey, direction: Direction, version: Option<Version>,
) -> SealingKey {
    SealKey::of(flags, version).make(flags, key, direction)
}

impl Session {
    /// A session with the same signing and sealing keys for both directions.
    #[must_use]
    pub fn with_keys(flags: NegotiateFlags, signing: [u8; 16], sealing: [u8; 16]) -> Self {
        let keys = || Keys { signing: SigningKey::new(signing), sealing: SealingKey::new(sealing) };
        Self {
            flags,
            seal_key: SealKey::of(flags, None),
            is_numbered: false,
            key: ExportedSessionKey::new([0; 16]),
            protection: Protection::new(flags, keys(), keys()),
        }
    }

    /// The flags that both sides agreed on.
    #[must_use]
    pub const fn flags(&self) -> NegotiateFlags {
        self.flags
    }
}
