//! [MS-NLMP] 3.3 and 3.4: keys made of bytes. This room knows no message.

#![deny(unsafe_code)]

mod hmac_md5;
mod kernel;
pub mod keys;
mod md5;
pub mod message_mac;
pub mod ntowf;
pub mod primitive;
pub mod rc4;
pub mod response;
pub mod secret;
#[cfg(test)]
pub(crate) mod work;
#[cfg(not(test))]
mod work {
    pub(super) const fn count(_bytes: usize) {}
}

pub use self::secret::{
    ExportedSessionKey, KeyExchangeKey, LmHash, Mic, NtHash, NtProofStr, ResponseKeyNt, SealingKey, SessionBaseKey,
    SigningKey,
};
