//! A credential as bytes, for another process.
//!
//! The contents are: options ‖ if there is an acceptor, its name, user file, and whether it asks the domain ‖ if there is an
//! initiator, its name, and either its NT hash and its LM hash if there is one, or that the domain has its logon, or which stored
//! accounts to look for. The token is a secret: an NT hash is as good as the password.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use crate::{
    bytes::{self, CHECKSUM_LEN, Reader, SecretBytes, append_checksum, write_optional, write_prefixed},
    crypto::{LmHash, NtHash},
    error::{CredentialError, Error, Fault, FieldName, InvalidMessage, Message, Result},
    name::Name,
    policy::Pattern,
};

use super::{
    Acceptor, Account, Accounts, CachedLogon, Credential, Env, Halves, Initiator, Options, Place, Secret, Stored,
    Wanted,
};

/// The version of the format; another one is refused.
const VERSION: u8 = 4;
/// The maximum length of an exported secret, in bytes.
const SECRET_MAX: usize = 34;
const FIELD: FieldName = FieldName::Contents;
/// What follows the name of an initiator.
const HASHES: u8 = 0;
const LOGON: u8 = 1;
const STORED: u8 = 2;

impl Credential {
    /// The credential as bytes.
    ///
    /// # Errors
    /// [`crate::error::ApiMisuse::BadArgument`] if a name in it is longer than 4 GiB; as [`Credential::usage`].
    pub fn export(&self) -> Result<SecretBytes> {
        let Halves { initiator, acceptor } = self.halves()?;
        let mut out = SecretBytes::default();
        let options = self.options();
        out.extend_from_slice(&[VERSION, u8::from(options.no_ci_flags), u8::from(options.neg_flags.is_some())]);
        out.extend_from_slice(&options.neg_flags.unwrap_or(0).to_le_bytes());
        write_optional(&mut out, acceptor.as_ref(), |out, acceptor| acceptor.export(out))?;
        write_optional(&mut out, initiator.as_ref(), |out, initiator| initiator.export(out))?;
        append_checksum(&mut out);
        Ok(out)
    }

    /// The credential that [`Credential::export`] wrote, without its LM hash if the policy does not use LM hashes.
    ///
    /// # Errors
    /// [`Error::InvalidMessage`] for anything else; [`CredentialError::NoUserFile`] if an initiator needs the domain and may
    /// not ask it.
    pub fn import(token: &[u8], env: &Env<'_>) -> Result<Self> {
        let mut reader = Reader::open_export(Message::ExportedCredential, VERSION, token)?;
        let no_ci_flags = reader.boolean(FIELD)?;
        let has_neg_flags = reader.boolean(FIELD)?;
        let neg_flags = reader.u32(FIELD)?;
        let options = Options { no_ci_flags, neg_flags: has_neg_flags.then_some(neg_flags) };
        let acceptor = reader.read_optional(FIELD, Acceptor::import)?;
        let initiator = reader.read_optional(FIELD, |reader| Initiator::import(reader, env))?;
        reader.end(FIELD)?;
        if initiator.is_none() && acceptor.is_none() {
            return Err(defect(Fault::Missing));
        }
        let credential = Self::new(initiator, acceptor);
        credential.set_options(|place| *place = options);
        Ok(credential)
    }
}

impl Initiator {
    fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        self.name().export(out)?;
        match self {
            Self::Anonymous => {}
            Self::CachedLogon(_) => out.push(LOGON),
            Self::Stored(stored) => {
                out.push(STORED);
                stored.wanted.export(out)?;
            }
            Self::Account(Account { secret, .. }) => {
                // What follows is secret: a vector that grows leaves copies behind.
                bytes::reserve(out, SECRET_MAX.saturating_add(CHECKSUM_LEN))?;
                out.push(HASHES);
                out.extend_from_slice(secret.nt_hash.expose());
                write_optional(out, secret.lm_hash.as_ref(), |out, lm_hash| {
                    out.extend_from_slice(lm_hash.expose());
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn import(reader: &mut Reader<'_>, env: &Env<'_>) -> Result<Self> {
        match Name::import(reader)? {
            Name::User(name) => match reader.array(FIELD)? {
                [HASHES] => {
                    let nt_hash = NtHash::new(reader.array(FIELD)?);
                    let lm_hash = reader.read_optional(FIELD, |reader| reader.array(FIELD).map(LmHash::new))?;
                    let lm_hash = lm_hash.filter(|_| env.policy.keeps_lm_hash());
                    Ok(Self::Account(Account::new(name, Secret { nt_hash, lm_hash })))
                }
                [LOGON] => {
                    env.domain.ok_or(CredentialError::NoUserFile)?;
                    Ok(Self::CachedLogon(CachedLogon { name }))
                }
                [STORED] => {
                    let stored = Stored::find(Wanted::import(reader)?, env);
                    stored.map(Self::Stored).ok_or_else(|| CredentialError::NoUserFile.into())
                }
                [_] => Err(reader.error(FIELD, Fault::WrongValue)),
            },
            Name::Anonymous => Ok(Self::Anonymous),
            Name::Service(_) => Err(defect(Fault::WrongValue)),
        }
    }
}

impl Wanted {
    fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        write_optional(out, self.user.as_ref(), |out, user| Name::User(user.clone()).export(out))?;
        let texts = [self.place.map(|place| place.key().to_owned()), self.pattern.as_ref().map(ToString::to_string)];
        texts.into_iter().try_for_each(|text| write_prefixed(out, text.unwrap_or_default().as_bytes()))
    }

    fn import(reader: &mut Reader<'_>) -> Result<Self> {
        let user = match reader.read_optional(FIELD, Name::import)? {
            None => None,
            Some(Name::User(user)) => Some(user),
            Some(Name::Service(_) | Name::Anonymous) => return Err(defect(Fault::WrongValue)),
        };
        let mut text = || match str::from_utf8(reader.read_prefixed(FIELD)?) {
            Ok("") => Ok(None),
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(defect(Fault::WrongValue)),
        };
        let (place, pattern) = (text()?, text()?);
        let known = |text: Option<_>| text.ok_or_else(|| defect(Fault::WrongValue));
        let place = place.map(|place| known(Place::parse(place))).transpose()?;
        let pattern = pattern.map(|text| Pattern::parse(text).ok_or_else(|| defect(Fault::WrongValue))).transpose()?;
        Ok(Self { user, place, pattern })
    }
}

impl Acceptor {
    /// Appends it to an exported token.
    ///
    /// # Errors
    /// [`crate::error::ApiMisuse::BadArgument`] if a part is longer than 4 GiB.
    pub fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        self.name.export(out)?;
        out.push(u8::from(self.is_named));
        let user_file = self.accounts.user_file.as_ref().map_or(&b""[..], |path| path.as_os_str().as_bytes());
        write_prefixed(out, user_file)?;
        out.push(u8::from(self.accounts.asks_domain));
        Ok(())
    }

    /// The acceptor that [`Acceptor::export`] wrote.
    ///
    /// # Errors
    /// As [`Credential::import`].
    pub fn import(reader: &mut Reader<'_>) -> Result<Self> {
        let name = Name::import(reader)?;
        let is_named = reader.boolean(FIELD)?;
        let path = PathBuf::from(OsString::from_vec(bytes::concat(&[reader.read_prefixed(FIELD)?])?));
        let user_file = Some(path).filter(|path| !path.as_os_str().is_empty());
        let asks_domain = reader.boolean(FIELD)?;
        let is_somewhere = user_file.as_ref().map_or(asks_domain, |path| path.is_absolute());
        if !is_somewhere {
            return Err(reader.error(FIELD, Fault::WrongValue));
        }
        Ok(Self { name, is_named, accounts: Accounts { user_file, asks_domain } })
    }
}

fn defect(fault: Fault) -> Error {
    InvalidMessage { message: Message::ExportedCredential, field: FIELD, fault }.into()
}

#[cfg(test)]
mod tests {
    use crate::{
        cred::{Usage, responder::tests::TestDomain},
        host::tests::Silent,
        name::UserName,
        policy::{LmLevel, Policy},
    };

    use super::*;

    fn import(token: &[u8]) -> Result<Credential> {
        let policy = Policy { lm_level: LmLevel::new(1).unwrap(), ..Policy::default() };
        Credential::import(token, &Env::without_domain(policy, &Silent::default()))
    }

    fn sample() -> Credential {
        let name = UserName { user: "alice".to_owned(), domain: "DOM".to_owned() };
        let secret = Secret { nt_hash: NtHash::new([7; 16]), lm_hash: Some(LmHash::new([8; 16])) };
        let initiator = Initiator::Account(Account::new(name, secret));
        let accounts = Accounts { user_file: Some("/etc/users".into()), asks_domain: false };
        let acceptor = Acceptor { name: Name::parse_service("HTTP@www", "").unwrap(), is_named: true, accounts };
        Credential::new(Some(initiator), Some(acceptor))
    }

    #[test]
    fn a_credential_comes_back_as_it_was() {
        let credential = sample();
        credential.set_options(|options| options.neg_flags = Some(5));
        let again = import(&credential.export().unwrap()).unwrap();
        assert_eq!(
            (again.usage(), again.name(), again.options()),
            (Ok(Usage::Both), credential.name(), credential.options())
        );
        let Ok(Initiator::Account(account)) = again.initiator() else { panic!("{again:?}") };
        assert_eq!(account.secret.nt_hash.expose(), &[7; 16]);
        assert_eq!(account.secret.lm_hash.as_ref().unwrap().expose(), &[8; 16]);
        let at_default_level = Credential::import(
            &credential.export().unwrap(),
            &Env::without_domain(Policy::default(), &Silent::default()),
        )
        .unwrap();
        let Ok(Initiator::Account(account)) = at_default_level.initiator() else { panic!("{at_default_level:?}") };
        assert!(account.secret.lm_hash.is_none());
        assert_eq!(again.acceptor().unwrap().accounts.user_file.as_deref(), Some(std::path::Path::new("/etc/users")));
    }

    /// What one process writes another one reads, even if it was built for another architecture.
    #[test]
    fn every_byte_is_the_same_on_every_architecture() {
        let credential = sample();
        credential.set_options(|options| options.neg_flags = Some(0x0102_0304));
        let mut token = [
            &b"\x04\0\x01\x04\x03\x02\x01"[..],
            b"\x01\x02\x04\0\0\0HTTP\x03\0\0\0www\x01\x0a\0\0\0/etc/users\0",
            b"\x01\x01\x05\0\0\0alice\x03\0\0\0DOM\0",
            &[7; 16],
            b"\x01",
            &[8; 16],
        ]
        .concat();
        append_checksum(&mut token);
        assert_eq!(*credential.export().unwrap(), token);
        assert_eq!(*import(&token).unwrap().export().unwrap(), token);
    }

    #[test]
    fn a_credential_that_needs_the_domain_needs_it_again() {
        let host = Silent::default();
        let without = Env::without_domain(Policy::default(), &host);
        let with = Env { domain: Some(TestDomain::default().domain()), ..without };
        let name = UserName { user: "alice".to_owned(), domain: "AD".to_owned() };
        let logon = Initiator::CachedLogon(CachedLogon { name });
        let service = Name::parse_service("HTTP@www", "").unwrap();
        let acceptor =
            Acceptor { name: service, is_named: false, accounts: Accounts { user_file: None, asks_domain: true } };
        for credential in [Credential::new(Some(logon), None), Credential::new(None, Some(acceptor))] {
            let token = credential.export().unwrap();
            let again = Credential::import(&token, &with).unwrap();
            assert_eq!((again.usage(), again.name()), (credential.usage(), credential.name()));
            assert_eq!(*again.export().unwrap(), *token);
            let not_allowed = Credential::import(&token, &without);
            match credential.usage() {
                // It will not find the domain's accounts.
                Ok(Usage::Accept) => assert!(not_allowed.is_ok()),
                _ => assert_eq!(not_allowed.unwrap_err(), CredentialError::NoUserFile.into()),
            }
        }
        let nowhere = Accounts { user_file: None, asks_domain: false };
        let acceptor = Acceptor { name: Name::parse_service("x", "y").unwrap(), is_named: true, accounts: nowhere };
        let token = Credential::new(None, Some(acceptor)).export().unwrap();
        assert!(matches!(Credential::import(&token, &with), Err(Error::InvalidMessage(_))));
    }

    #[test]
    fn an_anonymous_credential_stays_anonymous() {
        let again = import(&Credential::anonymous().export().unwrap()).unwrap();
        assert!(matches!(again.initiator(), Ok(Initiator::Anonymous)));
    }

    #[test]
    fn refuses_every_truncation_and_bit_flip() {
        let token = sample().export().unwrap();
        for len in 0..token.len() {
            assert!(import(&token[..len]).is_err(), "accepted {len} bytes");
        }
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(import(&changed).is_err(), "accepted bit {bit}");
        }
    }

    #[test]
    fn refuses_other_contents_with_a_right_checksum() {
        let token = sample().export().unwrap();
        let contents = &token[..token.len() - CHECKSUM_LEN];
        let with_checksum = |contents: &[u8]| {
            let mut token = contents.to_vec();
            append_checksum(&mut token);
            import(&token).map(drop)
        };
        assert_eq!(with_checksum(contents), Ok(()));
        for len in 0..contents.len() {
            assert!(with_checksum(&contents[..len]).is_err(), "accepted {len} bytes");
        }
        let longer = [contents, &[0]].concat();
        assert_eq!(with_checksum(&longer), Err(defect(Fault::WrongLength)));
        // Options, and neither an acceptor nor an initiator.
        assert_eq!(with_checksum(b"\x04\0\0\0\0\0\0\0\0"), Err(defect(Fault::Missing)));
    }
}
