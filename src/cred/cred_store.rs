//! The keys of `gss_acquire_cred_from` and `gss_store_cred_into`.

use core::time::Duration;

use crate::{
    crypto::NtHash,
    error::{ApiMisuse, Result},
    name::UserName,
    policy::{Pattern, Policy},
};

use super::{DomainService, Env, Place, Secret, StoreRequest, Wanted};

/// A credential store: where a credential comes from, or goes to. Keys of other mechanisms are ignored: SPNEGO passes the same store to all of them.
#[derive(Default)]
pub struct CredStore<'a> {
    /// `ntlmssp_domain`.
    pub(super) domain: Option<&'a str>,
    /// `ntlmssp_keyfile`: a user file, which is then the only one that is read.
    pub(super) key_file: Option<&'a str>,
    /// `ntlmssp_nthash`, 32 hexadecimal digits.
    nt_hash: Option<NtHash>,
    /// `ntlmssp_password`.
    password: Option<&'a [u8]>,
    /// `password`, which may be meant for another mechanism: it is checked only where it is used.
    generic_password: Option<&'a [u8]>,
    /// `ntlmssp_store`, `keyring` or `runtime`: the place of stored accounts, which is then the only source.
    place: Option<Place>,
    /// `ntlmssp_target`: the targets that a stored account is for.
    pattern: Option<Pattern>,
    /// `ntlmssp_lifetime`, in seconds.
    lifetime: Option<Duration>,
    /// Whether a key is this mechanism's own.
    is_for_us: bool,
}

/// The maximum length of a password, in bytes.
const MAX_PASSWORD: usize = 0x1_0000;

impl<'a> CredStore<'a> {
    /// The store with a password.
    ///
    /// # Errors
    /// [`ApiMisuse::BadPassword`] for a password of a wrong form.
    pub fn with_password(self, password: &'a [u8]) -> Result<Self> {
        Ok(Self { password: Some(ensure_password(password)?), ..self })
    }

    /// Whether there is a password or a hash in it.
    pub(super) const fn has_secret(&self) -> bool {
        self.nt_hash.is_some() || self.password.is_some() || self.generic_password.is_some()
    }

    /// The secret: the mechanism's own keys win over the generic one, and a hash wins over a password.
    ///
    /// # Errors
    /// [`ApiMisuse::BadPassword`] for a password of a wrong form.
    pub(super) fn secret(&self, policy: &Policy) -> Result<Option<Secret>> {
        if let Some(nt_hash) = &self.nt_hash {
            return Ok(Some(Secret { nt_hash: NtHash::new(*nt_hash.expose()), lm_hash: None }));
        }
        let Some(password) = self.password.or(self.generic_password) else { return Ok(None) };
        Secret::of_password(ensure_password(password)?, policy).map(Some)
    }

    /// The domain to ask for accounts that the user file does not have; `None` if the file is to be the only source.
    pub(super) fn domain_to_ask(&self, env: &Env<'_>) -> Option<&'static dyn DomainService> {
        env.domain.filter(|_| self.key_file.is_none())
    }

    /// Whether the stored accounts are the only source.
    pub(super) const fn is_of_stored(&self) -> bool {
        self.place.is_some() || self.pattern.is_some()
    }

    /// The stored accounts to look for.
    pub(super) fn wanted(&self, user: Option<UserName>) -> Wanted {
        Wanted { user, place: self.place, pattern: self.pattern.clone() }
    }

    /// Whether a key is this mechanism's own.
    #[must_use]
    pub const fn is_for_us(&self) -> bool {
        self.is_for_us
    }

    /// How to store a credential here.
    #[must_use]
    pub fn store_request(&self, overwrites: bool, is_default: bool) -> StoreRequest {
        StoreRequest {
            pattern: self.pattern.clone(),
            place: self.place,
            lifetime: self.lifetime,
            overwrites,
            is_default,
        }
    }

    /// Adds one element.
    ///
    /// # Errors
    /// [`ApiMisuse::BadStoreKey`] for a place, target or lifetime of a wrong form,
    /// [`ApiMisuse::BadPassword`] for a password or hash of a wrong form, [`ApiMisuse::BadArgument`] for a domain or path that
    /// is not UTF-8.
    pub fn set(&mut self, key: &[u8], value: &'a [u8]) -> Result<()> {
        self.is_for_us |= key.starts_with(b"ntlmssp_");
        let text = || str::from_utf8(value).map_err(|_| ApiMisuse::BadArgument);
        match key {
            b"ntlmssp_domain" => self.domain = Some(text()?),
            b"ntlmssp_nthash" => self.nt_hash = Some(parse_hash(value).ok_or(ApiMisuse::BadPassword)?),
            b"ntlmssp_keyfile" => self.key_file = Some(text()?),
            b"ntlmssp_password" => self.password = Some(ensure_password(value)?),
            b"ntlmssp_store" => self.place = Some(Place::parse(text()?).ok_or(ApiMisuse::BadStoreKey)?),
            b"ntlmssp_target" => self.pattern = Some(Pattern::parse(text()?).ok_or(ApiMisuse::BadStoreKey)?),
            b"ntlmssp_lifetime" => {
                let seconds = text()?.parse().ok().filter(|seconds| *seconds > 0).ok_or(ApiMisuse::BadStoreKey)?;
                self.lifetime = Some(Duration::from_secs(seconds));
            }
            b"password" => self.generic_password = Some(value),
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

/// Ensures that a password has a valid form.
fn ensure_password(password: &[u8]) -> Result<&[u8]> {
    if password.len() > MAX_PASSWORD || password.contains(&0) {
        return Err(ApiMisuse::BadPassword.into());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use crate::crypto::ntowf::nt_hash;

    use super::*;

    fn store<'a>(elements: &[(&str, &'a [u8])]) -> Result<CredStore<'a>> {
        let mut store = CredStore::default();
        elements.iter().try_for_each(|(key, value)| store.set(key.as_bytes(), value))?;
        Ok(store)
    }

    /// The NT hash of the secret that the store has.
    fn hash(elements: &[(&str, &[u8])]) -> Result<Option<[u8; 16]>> {
        Ok(store(elements)?.secret(&Policy::default())?.map(|secret| *secret.nt_hash.expose()))
    }

    fn hash_of(password: &[u8]) -> Result<Option<[u8; 16]>> {
        nt_hash(password).map(|hash| Some(*hash.expose()))
    }

    #[test]
    fn ignores_the_keys_of_other_mechanisms() {
        let store = store(&[("client_keytab", b"FILE:/\xff")]).unwrap();
        assert!(!store.has_secret() && store.key_file.is_none() && store.domain.is_none());
        assert_eq!(hash(&[("client_keytab", b"FILE:/\xff")]), Ok(None));
    }

    #[test]
    fn a_key_that_wins_makes_the_value_of_the_other_one_meaningless() {
        let long = [b'x'; MAX_PASSWORD + 1];
        let digits = b"000102030405060708090a0b0c0d0e0f";
        let own_keys: [(_, &[u8], _); 3] = [
            ("ntlmssp_password", b"own", hash_of(b"own")),
            ("ntlmssp_password", b"", hash_of(b"")),
            ("ntlmssp_nthash", digits, Ok(Some(core::array::from_fn(|i| u8::try_from(i).unwrap())))),
        ];
        for (key, value, expected) in own_keys {
            for generic in [&b"generic"[..], b"", b"a\0b", b"\xff", &long] {
                let (own, generic) = ((key, value), ("password", generic));
                for order in [[own, generic], [generic, own]] {
                    assert_eq!(
                        hash(&order),
                        expected,
                        "{key}, and password={:?}",
                        &generic.1[..generic.1.len().min(9)]
                    );
                }
            }
        }
        for order in [["ntlmssp_password", "ntlmssp_nthash"], ["ntlmssp_nthash", "ntlmssp_password"]] {
            let elements = order.map(|key| (key, if key == "ntlmssp_nthash" { &digits[..] } else { &b"own"[..] }));
            assert_ne!(hash(&elements), hash_of(b"own"));
        }
    }

    #[test]
    fn reads_the_domain_and_the_user_file() {
        let store = store(&[("ntlmssp_domain", b"DOM"), ("ntlmssp_keyfile", b"/etc/users")]).unwrap();
        assert_eq!((store.domain, store.key_file), (Some("DOM"), Some("/etc/users")));
    }

    #[test]
    fn a_password_may_be_empty_or_long() {
        for key in ["password", "ntlmssp_password"] {
            assert_eq!(hash(&[(key, b"")]), hash_of(b""), "{key}");
            assert!(store(&[(key, b"")]).unwrap().has_secret(), "{key}");
            let longest = [b'x'; MAX_PASSWORD];
            assert_eq!(hash(&[(key, &longest)]), hash_of(&longest), "{key}");
        }
    }

    #[test]
    fn refuses_a_hash_or_a_password_of_a_wrong_form() {
        let refused = || Err(ApiMisuse::BadPassword.into());
        for digits in ["", "00", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert_eq!(hash(&[("ntlmssp_nthash", digits.as_bytes())]), refused(), "{digits}");
        }
        for key in ["password", "ntlmssp_password"] {
            for password in [&b"a\0b"[..], b"\xff", &[b'x'; MAX_PASSWORD + 1]] {
                assert_eq!(hash(&[(key, password)]), refused(), "{key}");
            }
        }
        assert!(CredStore::default().with_password(b"a\0b").is_err());
    }
}
