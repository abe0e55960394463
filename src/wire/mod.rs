//! The messages of [MS-NLMP] 2.2: bytes to structs that borrow them, and back. No key, no policy, no clock.

#![forbid(unsafe_code)]

mod authenticate;
mod av_pair;
mod challenge;
mod codec;
mod flags;
mod negotiate;
mod response;
mod signature;
mod vectors;

pub use self::{
    authenticate::{Authenticate, MIC_LEN},
    av_pair::{AvFlags, AvId, AvPair, TargetInfo, TargetInfoBuilder},
    challenge::Challenge,
    flags::NegotiateFlags,
    negotiate::{Negotiate, Version},
    response::{ClientChallengeV2, NtlmV2Response},
    signature::MessageSignature,
    vectors::SingleHost,
};

/// `NTLMSSP\0`, at the start of every message.
pub const SIGNATURE: [u8; 8] = *b"NTLMSSP\0";

/// The longest token that is read: an AUTHENTICATE_MESSAGE has six payload fields of at most 64 KiB.
pub const MAX_TOKEN: usize = 0x8_0000;

#[cfg(test)]
mod tests {
    use crate::error::Result;

    /// Tries every truncation and every single-bit flip of `bytes`: each must be an error, or a message that reads the same
    /// when it is written again. None may panic.
    pub(super) fn sweep(bytes: &[u8], again: impl Fn(&[u8]) -> Result<Vec<u8>>) {
        assert_eq!(again(bytes).unwrap(), bytes);
        let truncated = (0..bytes.len()).map(|len| bytes[..len].to_vec());
        let flipped = (0..bytes.len() * 8).map(|bit| {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        for token in truncated.chain(flipped) {
            if let Ok(once) = again(&token) {
                assert_eq!(again(&once).as_deref(), Ok(&once[..]), "{token:02x?}");
            }
        }
    }
}
