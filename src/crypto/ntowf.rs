//! One-way functions of the password, [MS-NLMP] 3.3.

use zeroize::Zeroizing;

use crate::text;

use super::{
    NtHash, ResponseKeyNt,
    primitive::{hmac_md5, md4},
};

/// NTOWFv1 of a password in UTF-16LE, or of whatever bytes a service account has in its place.
#[must_use]
pub fn ntowf_v1(password: &[u8]) -> NtHash {
    NtHash::new(md4(&[password]))
}

/// NTOWFv1 of a password as a person types it.
#[must_use]
pub fn nt_hash(password: &str) -> NtHash {
    ntowf_v1(&Zeroizing::new(text::to_utf16le(password)))
}

/// NTOWFv2 over the names in UTF-16LE, as the client spells them on the wire; the user's is put in upper case here.
#[must_use]
pub fn ntowf_v2(hash: &NtHash, user: &[u8], domain: &[u8]) -> ResponseKeyNt {
    ResponseKeyNt::new(hmac_md5(hash.expose(), &[&text::upper_utf16le(user), domain]))
}
