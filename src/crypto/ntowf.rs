//! One-way functions of the password, [MS-NLMP] 3.3.

use zeroize::Zeroizing;

use crate::{error::Result, text};

use super::{
    LmHash, NtHash, ResponseKeyNt,
    hmac_md5::HmacMd5,
    primitive::{des, md4},
};

/// NTOWFv1 of a password in UTF-16LE, or of the random bytes that are the password of a service account.
#[must_use]
pub fn ntowf_v1(password: &[u8]) -> NtHash {
    NtHash::new(md4(&[password]))
}

/// NTOWFv1 of a password as a person types it.
///
/// # Errors
/// As [`text::password_to_utf16le`].
pub fn nt_hash(password: &[u8]) -> Result<NtHash> {
    text::password_to_utf16le(password).map(|password| ntowf_v1(&password))
}

/// LMOWFv1 of a password in the OEM code page, in upper case, and filled up with zeros.
#[must_use]
pub fn lmowf_v1(password: &[u8; 14]) -> LmHash {
    let [p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13] = *password;
    let constant = *b"KGS!@#$%";
    let halves = [des([p0, p1, p2, p3, p4, p5, p6], constant), des([p7, p8, p9, p10, p11, p12, p13], constant)]
        .map(Zeroizing::new);
    let mut hash = Zeroizing::new([0; 16]);
    hash.iter_mut().zip(halves.iter().flat_map(|half| half.iter())).for_each(|(to, from)| *to = *from);
    LmHash::new(*hash)
}

/// LMOWFv1 of a password as a person types it. `None` for a password of more than fourteen letters, which has no LM hash, or
/// with letters that are not ASCII, whose bytes differ between OEM code pages.
#[must_use]
pub fn lm_hash(password: &[u8]) -> Option<LmHash> {
    if password.len() > 14 || !password.is_ascii() {
        return None;
    }
    let mut oem = Zeroizing::new([0; 14]);
    oem.iter_mut().zip(password).for_each(|(to, from)| *to = from.to_ascii_uppercase());
    Some(lmowf_v1(&oem))
}

/// NTOWFv2 over the names in UTF-16LE, spelled as in the client's message. The user name is converted to upper case here.
#[must_use]
pub fn ntowf_v2(hash: &NtHash, user: &[u8], domain: &[u8]) -> ResponseKeyNt {
    ResponseKeyNt::new(HmacMd5::new(hash.expose()).mac(&[&text::upper_utf16le(user), domain]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_password_of_fourteen_ascii_letters_or_fewer_has_an_lm_hash() {
        for (password, has_one) in [
            ("", true),
            ("14 letters are", true),
            ("15 letters are ", false),
            ("naïve", false),
            ("a password of twenty-eight lt", false),
        ] {
            assert_eq!(lm_hash(password.as_bytes()).is_some(), has_one, "{password}");
        }
    }

    #[test]
    fn an_lm_hash_does_not_depend_on_case() {
        let of = |password: &[u8]| *lm_hash(password).unwrap().expose();
        assert_eq!(of(b"Password"), of(b"PASSWORD"));
        assert_ne!(of(b"Password"), of(b"Passwore"));
    }
}
