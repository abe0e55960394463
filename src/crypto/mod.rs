//! [MS-NLMP] 3.3 and 3.4: keys made of bytes. This room knows no message.

#![deny(unsafe_code)]

#[forbid(unsafe_code)]
mod hmac_md5;
mod kernel;
#[forbid(unsafe_code)]
pub mod keys;
#[forbid(unsafe_code)]
mod md5;
#[forbid(unsafe_code)]
pub mod message_mac;
#[forbid(unsafe_code)]
pub mod ntowf;
#[forbid(unsafe_code)]
pub mod primitive;
#[forbid(unsafe_code)]
pub mod rc4;
#[forbid(unsafe_code)]
pub mod response;
#[forbid(unsafe_code)]
pub mod secret;
#[cfg(test)]
#[forbid(unsafe_code)]
pub(crate) mod work;
#[cfg(not(test))]
#[forbid(unsafe_code)]
mod work {
    pub(super) const fn count(_bytes: usize) {}
}

pub use self::secret::{
    ExportedSessionKey, KeyExchangeKey, LmHash, Mic, NtHash, NtProofStr, ResponseKeyNt, SealingKey, SessionBaseKey,
    SigningKey,
};
