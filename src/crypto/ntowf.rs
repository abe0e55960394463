//! One-way functions of the password, [MS-NLMP] 3.3.

use zeroize::Zeroizing;

use crate::text;

use super::{
    NtHash, ResponseKeyNt,
    primitive::{hmac_md5, md4},
};

/// NTOWFv1: MD4 of the password in UTF-16LE.
#[must_use]
pub fn ntowf_v1(password: &str) -> NtHash {
    NtHash::new(md4(&[&Zeroizing::new(text::to_utf16le(password))]))
}

/// NTOWFv2 over the names in UTF-16LE, as the client spells them on the wire; the user's is put in upper case here.
#[must_use]
pub fn ntowf_v2(hash: &NtHash, user: &[u8], domain: &[u8]) -> ResponseKeyNt {
    ResponseKeyNt::new(hmac_md5(hash.expose(), &[&text::upper_utf16le(user), domain]))
}
