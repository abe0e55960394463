//! The keys of `gss_acquire_cred_from`.

use crate::{
    crypto::NtHash,
    error::{ApiMisuse, Result},
};

use super::{DomainService, Env};

/// What a credential store says. Keys of other mechanisms are none of ours: SPNEGO hands the same store to all.
#[derive(Default)]
pub struct CredStore<'a> {
    /// `ntlmssp_domain`.
    pub domain: Option<&'a str>,
    /// `ntlmssp_nthash`, 32 hexadecimal digits.
    pub nt_hash: Option<NtHash>,
    /// `ntlmssp_password`, or `password`.
    pub password: Option<&'a [u8]>,
    /// `ntlmssp_keyfile`: a user file, then the only one looked at.
    pub key_file: Option<&'a str>,
}

impl<'a> CredStore<'a> {
    /// The longest password taken, in bytes.
    pub const MAX_PASSWORD: usize = 0x1_0000;

    /// The store with a password.
    ///
    /// # Errors
    /// [`ApiMisuse::BadPassword`] for a password that cannot be one.
    pub fn with_password(self, password: &'a [u8]) -> Result<Self> {
        Ok(Self { password: Some(checked(password)?), ..self })
    }

    /// Whether there is a password or a hash in it.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.password.is_some() || self.nt_hash.is_some()
    }

    /// The domain to ask for what the user file does not have: none where the file is to be the only source.
    #[must_use]
    pub(super) fn domain_to_ask(&self, env: &Env<'_>) -> Option<&'static dyn DomainService> {
        env.domain.filter(|_| self.key_file.is_none())
    }

    /// Adds one element.
    ///
    /// # Errors
    /// [`ApiMisuse::BadPassword`] for a password or hash that cannot be one, [`ApiMisuse::BadArgument`] for a domain or path
    /// that is not UTF-8.
    pub fn set(&mut self, key: &[u8], value: &'a [u8]) -> Result<()> {
        let text = || str::from_utf8(value).map_err(|_| ApiMisuse::BadArgument);
        match key {
            b"ntlmssp_domain" => self.domain = Some(text()?),
            b"ntlmssp_nthash" => self.nt_hash = Some(parse_hash(value).ok_or(ApiMisuse::BadPassword)?),
            b"ntlmssp_keyfile" => self.key_file = Some(text()?),
            b"ntlmssp_password" => self.password = Some(checked(value)?),
            // The mechanism's own key wins over the generic one, whichever comes first.
            b"password" => self.password = self.password.or(Some(checked(value)?)),
            _ => {}
        }
        Ok(())
    }
}

/// An NT hash from 32 hexadecimal digits.
pub(super) fn parse_hash(digits: &[u8]) -> Option<NtHash> {
    parse_hex(digits).map(NtHash::new)
}

/// Sixteen bytes from 32 hexadecimal digits.
pub(super) fn parse_hex(digits: &[u8]) -> Option<[u8; 16]> {
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok().map(u128::to_be_bytes)
}

fn checked(password: &[u8]) -> Result<&[u8]> {
    if password.len() > CredStore::MAX_PASSWORD || password.contains(&0) {
        return Err(ApiMisuse::BadPassword.into());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_the_keys_of_other_mechanisms() {
        let mut store = CredStore::default();
        store.set(b"client_keytab", b"FILE:/\xff").unwrap();
        assert!(store.password.is_none() && store.key_file.is_none());
    }

    #[test]
    fn its_own_password_key_wins() {
        for order in [["ntlmssp_password", "password"], ["password", "ntlmssp_password"]] {
            let mut store = CredStore::default();
            order.iter().for_each(|key| store.set(key.as_bytes(), key.as_bytes()).unwrap());
            assert_eq!(store.password, Some(&b"ntlmssp_password"[..]));
        }
    }

    #[test]
    fn an_empty_password_is_one() {
        for key in ["password", "ntlmssp_password"] {
            let mut store = CredStore::default();
            store.set(key.as_bytes(), b"").unwrap();
            assert_eq!((store.password, store.has_secret()), (Some(&b""[..]), true), "{key}");
        }
        let mut store = CredStore::default();
        store.set(b"ntlmssp_password", b"").unwrap();
        store.set(b"password", b"the generic one").unwrap();
        assert_eq!(store.password, Some(&b""[..]), "its own key wins, empty or not");
    }

    #[test]
    fn refuses_what_is_no_hash_and_no_password() {
        let mut store = CredStore::default();
        for hash in ["", "00", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert!(store.set(b"ntlmssp_nthash", hash.as_bytes()).is_err(), "{hash}");
        }
        assert!(store.set(b"password", b"a\0b").is_err());
        assert!(store.set(b"password", &[b'x'; CredStore::MAX_PASSWORD + 1]).is_err());
    }
}
