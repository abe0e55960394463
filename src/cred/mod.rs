//! Credentials: the secrets of initiators, and how acceptors verify clients.

#![forbid(unsafe_code)]

mod cred_store;
mod env;
mod export;
#[cfg(fuzzing)]
pub mod fuzzing;
mod responder;
mod stored;
mod user_file;
mod verifier;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub use self::{
    cred_store::CredStore,
    env::Env,
    responder::{DomainService, ReceivedChallenge, Responder, Response},
    stored::{
        Forgotten, Place, Refusal, Store, StoreRequest, StoreResult, Stored, StoredAccount, StoredAt, Wanted, forget,
    },
    user_file::{
        CheckedUserFile, FileRule, LineFault, ListedAccount, check_user_file, configured_user_file, user_file_line,
    },
    verifier::{Accounts, Claim, Proof, VerifiedClaim, Verifier},
};

use self::user_file::UserFile;

#[cfg(test)]
pub(crate) use self::responder::tests as responder_tests;

use crate::{
    crypto::{
        LmHash, NtHash, ResponseKeyNt,
        ntowf::{lm_hash, nt_hash, ntowf_v2},
        primitive::equal,
    },
    error::{ApiMisuse, CredentialError, Error, Result},
    host::FileTime,
    name::{Name, ServiceName, UserName},
    policy::{Policy, Whom},
    text::to_utf16le,
};

/// The usage of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// GSS_C_INITIATE.
    Initiate,
    /// GSS_C_ACCEPT.
    Accept,
    /// GSS_C_BOTH.
    Both,
}

/// A credential: an initiator's secret, an acceptor's way to verify clients, or both.
#[derive(Debug)]
pub struct Credential {
    /// Its two halves, or the error that every use of it returns.
    halves: Result<Halves>,
    /// [`Options`] in one number. A lock could be held for ever in a child forked from a program with threads.
    options: AtomicU64,
}

#[derive(Debug)]
struct Halves {
    initiator: Option<Initiator>,
    /// Shared with the handshakes that were begun with it.
    acceptor: Option<Arc<Acceptor>>,
}

/// The half of a credential that initiates.
#[derive(Debug)]
pub enum Initiator {
    /// An account and its secret.
    Account(Account),
    /// An account whose secret the domain has kept since its user logged on.
    CachedLogon(CachedLogon),
    /// The stored accounts, of which the target decides.
    Stored(Box<Stored>),
    /// An anonymous user.
    Anonymous,
}

/// An account and its secret.
#[derive(Debug)]
pub struct Account {
    /// The account.
    pub name: UserName,
    /// Its secret.
    pub secret: Secret,
    /// ResponseKeyNT of NTLMv2, which name and secret make. Kept because each handshake needs it.
    pub response_key: ResponseKeyNt,
}

impl Account {
    /// The account of that name and secret.
    #[must_use]
    pub fn new(name: UserName, secret: Secret) -> Self {
        let response_key = ntowf_v2(&secret.nt_hash, &to_utf16le(&name.user), &to_utf16le(&name.domain));
        Self { name, secret, response_key }
    }
}

/// An account whose secret the domain has.
#[derive(Debug, Clone)]
pub struct CachedLogon {
    /// The account.
    pub name: UserName,
}

/// The hashes of a password, which are as good as the password.
#[derive(Debug)]
pub struct Secret {
    /// Its NT hash.
    pub nt_hash: NtHash,
    /// Its LM hash, if LM_COMPAT_LEVEL uses it and the password has one.
    pub lm_hash: Option<LmHash>,
}

/// The half of a credential that accepts.
#[derive(Debug)]
pub struct Acceptor {
    /// The service that the application asked for; by default this host.
    pub name: Name,
    /// Whether the application asked for this name.
    pub is_named: bool,
    /// The accounts of clients.
    pub accounts: Accounts,
}

/// The initiator of a handshake.
#[derive(Debug)]
pub enum Chosen<'a> {
    /// That of the credential.
    Given(&'a Initiator),
    /// One that was found for the target.
    Found {
        /// It.
        initiator: Initiator,
        /// Why it is this one.
        why: String,
        /// The stored account that it is, if it is one, for the steps that follow.
        choice: Option<Box<Wanted>>,
    },
}

impl core::ops::Deref for Chosen<'_> {
    type Target = Initiator;

    fn deref(&self) -> &Initiator {
        match self {
            Self::Given(initiator) => initiator,
            Self::Found { initiator, .. } => initiator,
        }
    }
}

/// Options that an application sets on an acquired credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// NegotiateFlags in place of the mechanism's own choice; those for the request flags of the application are added.
    pub neg_flags: Option<u32>,
    /// GSS_KRB5_CRED_NO_CI_FLAGS_X: SIGN and SEAL only if the application requests them.
    pub no_ci_flags: bool,
}

impl Credential {
    /// Acquires a credential for `name`, or for the first account that is found, from `store`. If that names no source, the
    /// sources are NTLM_USER_FILE and the domain. An anonymous name needs no secret.
    ///
    /// With [`Usage::Both`] one half is enough, unless a user name or a secret shows that the application wants to initiate;
    /// [`Credential::usage`] tells which halves there are.
    ///
    /// # Errors
    /// [`Error::Credential`] if there is no secret, [`Error::ApiMisuse`] for a password of a wrong form or a secret without a
    /// user name.
    pub fn acquire(name: Option<&Name>, usage: Usage, store: &CredStore<'_>, env: &Env<'_>) -> Result<Self> {
        Self::acquire_where(name, usage, store, |_| Ok(*env))
    }

    /// As [`Credential::acquire`], with an [`Env`] for each role, whose policies may differ.
    ///
    /// # Errors
    /// As [`Credential::acquire`], and those of `env_for`.
    pub fn acquire_where<'e>(
        name: Option<&Name>, usage: Usage, store: &CredStore<'_>, env_for: impl Fn(Whom<'_>) -> Result<Env<'e>>,
    ) -> Result<Self> {
        let initiator = |env: Env<'e>| Initiator::acquire(name, store, &env);
        let acceptor = |env: Env<'e>| Acceptor::acquire(name, store, &env);
        let (as_initiator, as_acceptor) = (|| env_for(Whom::Initiator), || env_for(Whom::Acceptor(name)));
        let (initiator, acceptor) = match usage {
            Usage::Initiate => (Some(initiator(as_initiator()?)?), None),
            Usage::Accept => (None, Some(acceptor(as_acceptor()?)?)),
            Usage::Both => match (initiator(as_initiator()?), acceptor(as_acceptor()?)) {
                (Err(error), Err(_)) => return Err(error),
                // The user name or the secret is for initiating.
                (Err(error), Ok(_))
                    if matches!(name, Some(Name::User(_))) || store.has_secret() || store.is_of_stored() =>
                {
                    return Err(error);
                }
                (initiator, acceptor) => (initiator.ok(), acceptor.ok()),
            },
        };
        Ok(Self::new(initiator, acceptor))
    }

    /// An anonymous initiator.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(Some(Initiator::Anonymous), None)
    }

    /// A credential each use of which returns `error`, for programs that would not show the error of acquiring it.
    #[must_use]
    pub fn deferred(error: Error) -> Self {
        Self::of(Err(error))
    }

    /// A credential with these halves.
    #[must_use]
    pub fn new(initiator: Option<Initiator>, acceptor: Option<Acceptor>) -> Self {
        Self::of(Ok(Halves { initiator, acceptor: acceptor.map(Arc::new) }))
    }

    const fn of(halves: Result<Halves>) -> Self {
        Self { halves, options: AtomicU64::new(0) }
    }

    fn halves(&self) -> Result<&Halves> {
        self.halves.as_ref().map_err(Clone::clone)
    }

    /// Its usage.
    ///
    /// # Errors
    /// The error of a deferred credential.
    pub fn usage(&self) -> Result<Usage> {
        let Halves { initiator, acceptor } = self.halves()?;
        Ok(match (initiator, acceptor) {
            (Some(_), None) => Usage::Initiate,
            (None, Some(_)) => Usage::Accept,
            _ => Usage::Both,
        })
    }

    /// Its name: that of the account, if there is one.
    ///
    /// # Errors
    /// As [`Credential::usage`].
    pub fn name(&self) -> Result<Name> {
        let Halves { initiator, acceptor } = self.halves()?;
        Ok(match (initiator, acceptor) {
            (Some(initiator), _) => initiator.name(),
            (None, Some(acceptor)) => acceptor.name.clone(),
            (None, None) => Name::Anonymous,
        })
    }

    /// Until when it holds, where that is known. What is stored may have been stored anew.
    #[must_use]
    pub fn until(&self, env: &Env<'_>) -> Option<FileTime> {
        match self.initiator() {
            Ok(Initiator::Stored(stored)) => stored.wanted.until(env),
            Ok(Initiator::Account(_) | Initiator::CachedLogon(_) | Initiator::Anonymous) | Err(_) => None,
        }
    }

    /// Whether stored accounts make it.
    #[must_use]
    pub fn is_of_stored(&self) -> bool {
        matches!(self.initiator(), Ok(Initiator::Stored(_)))
    }

    /// The half that initiates.
    ///
    /// # Errors
    /// [`ApiMisuse::NotAnInitiator`] if there is none; as [`Credential::usage`].
    pub fn initiator(&self) -> Result<&Initiator> {
        self.halves()?.initiator.as_ref().ok_or_else(|| ApiMisuse::NotAnInitiator.into())
    }

    /// The half that accepts.
    ///
    /// # Errors
    /// [`ApiMisuse::NotAnAcceptor`] if there is none; as [`Credential::usage`].
    pub fn acceptor(&self) -> Result<&Arc<Acceptor>> {
        self.halves()?.acceptor.as_ref().ok_or_else(|| ApiMisuse::NotAnAcceptor.into())
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::from_bits(self.options.load(Ordering::Relaxed))
    }

    /// Changes its options.
    pub fn set_options(&self, change: impl Fn(&mut Options)) {
        let changed = |bits| {
            let mut options = Options::from_bits(bits);
            change(&mut options);
            Some(options.to_bits())
        };
        let _ = self.options.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

impl Options {
    const HAS_NEG_FLAGS: u64 = 1 << 32;
    const NO_CI_FLAGS: u64 = 1 << 33;

    fn to_bits(self) -> u64 {
        let neg_flags = self.neg_flags.map_or(0, |flags| u64::from(flags) | Self::HAS_NEG_FLAGS);
        neg_flags | if self.no_ci_flags { Self::NO_CI_FLAGS } else { 0 }
    }

    fn from_bits(bits: u64) -> Self {
        let neg_flags = u32::try_from(bits & u64::from(u32::MAX)).ok().filter(|_| bits & Self::HAS_NEG_FLAGS != 0);
        Self { neg_flags, no_ci_flags: bits & Self::NO_CI_FLAGS != 0 }
    }
}

impl Secret {
    /// The secret of a password.
    ///
    /// # Errors
    /// As [`crate::text::password_to_utf16le`].
    fn of_password(password: &[u8], policy: &Policy) -> Result<Self> {
        let lm_hash = if policy.keeps_lm_hash() { lm_hash(password) } else { None };
        nt_hash(password).map(|nt_hash| Self { nt_hash, lm_hash })
    }

    fn is_of_empty_password(&self) -> bool {
        nt_hash(b"").is_ok_and(|empty| equal(empty.expose(), self.nt_hash.expose()))
    }

    fn copy(&self) -> Self {
        Self {
            nt_hash: NtHash::new(*self.nt_hash.expose()),
            lm_hash: self.lm_hash.as_ref().map(|hash| LmHash::new(*hash.expose())),
        }
    }
}

impl Initiator {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.user().map_or(Name::Anonymous, |name| Name::User(name.clone()))
    }

    /// Its user, unless it is anonymous.
    #[must_use]
    pub const fn user(&self) -> Option<&UserName> {
        match self {
            Self::Account(Account { name, .. }) | Self::CachedLogon(CachedLogon { name, .. }) => Some(name),
            Self::Stored(stored) => Some(&stored.name),
            Self::Anonymous => None,
        }
    }

    /// The initiator of a handshake with `target`, for which a step before may have made this `choice` of a stored account.
    ///
    /// # Errors
    /// [`CredentialError::NotForTarget`] if no stored account is for it, or the chosen one is gone.
    pub fn for_target(&self, target: Option<&Name>, choice: Option<&Wanted>, env: &Env<'_>) -> Result<Chosen<'_>> {
        match self {
            Self::Stored(stored) => choice.unwrap_or(&stored.wanted).initiator(target, env),
            Self::Account(_) | Self::CachedLogon(_) | Self::Anonymous => Ok(Chosen::Given(self)),
        }
    }

    fn acquire(name: Option<&Name>, store: &CredStore<'_>, env: &Env<'_>) -> Result<Self> {
        let mut asked = match name {
            None => None,
            Some(Name::User(user)) => Some(user.clone()),
            Some(Name::Anonymous) => return Ok(Self::Anonymous),
            Some(Name::Service(_)) => return Err(CredentialError::NotAUser.into()),
        };
        if let (Some(user), Some(domain)) = (&mut asked, store.domain) {
            domain.clone_into(&mut user.domain);
            user.ensure_valid()?;
        }
        let account = match (store.secret(&env.policy)?, asked) {
            (Some(secret), Some(name)) => Account::new(name, secret),
            (Some(_), None) => return Err(ApiMisuse::NoUserName.into()),
            (None, _) if store.is_of_stored() && store.key_file.is_some() => return Err(ApiMisuse::BadArgument.into()),
            (None, asked) if store.is_of_stored() => {
                let stored = Stored::find(store.wanted(asked), env);
                return stored.map(Self::Stored).ok_or_else(|| CredentialError::NoUserFile.into());
            }
            (None, asked) => {
                let file = UserFile::configured(store.key_file, Usage::Initiate, env);
                match file.and_then(|file| file.account_of(asked.as_ref())) {
                    Ok(account) => account,
                    Err(error) if is_elsewhere(&error) && store.key_file.is_none() => {
                        return Self::elsewhere(asked, error, env);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Self::Account(account))
    }

    /// The stored accounts, else the cached logon. If there is neither, the error is `error`, that of the user file.
    fn elsewhere(asked: Option<UserName>, error: Error, env: &Env<'_>) -> Result<Self> {
        let wanted = Wanted { user: asked.clone(), ..Wanted::default() };
        match (Stored::find(wanted, env), env.domain) {
            (Some(stored), _) => Ok(Self::Stored(stored)),
            (None, Some(domain)) => Self::cached_logon(asked, domain, error, env),
            (None, None) => Err(error),
        }
    }

    /// The cached logon of the account asked for; by default that of NTLMUSER or USER. If the domain is not there, the error is
    /// `error`, that of the user file.
    fn cached_logon(
        asked: Option<UserName>, domain: &'static dyn DomainService, error: Error, env: &Env<'_>,
    ) -> Result<Self> {
        if domain.reach(env).is_err() {
            return Err(error);
        }
        let of_variable = |variable| {
            let text = env.host.variable(variable).filter(|text| !text.is_empty())?;
            match Name::parse_user(&text) {
                Ok(Name::User(user)) => Some(user),
                Ok(Name::Service(_) | Name::Anonymous) | Err(_) => None,
            }
        };
        let asked = asked.or_else(|| of_variable("NTLMUSER")).or_else(|| of_variable("USER"));
        let Some(asked) = asked else {
            let no_name = CredentialError::NoCachedLogon { name: String::new() }.into();
            return Err(if error.is_misconfiguration() { error } else { no_name });
        };
        match domain.find(&asked, env)? {
            Some(name) => Ok(Self::CachedLogon(CachedLogon { name })),
            // A user file without any account comes first.
            None if error.is_misconfiguration() => Err(error),
            None => Err(CredentialError::NoCachedLogon { name: Name::User(asked).to_string() }.into()),
        }
    }
}

/// Whether the account may be elsewhere than in the user file that caused this error. A file that cannot be used is an error.
const fn is_elsewhere(error: &Error) -> bool {
    matches!(error, Error::Credential(CredentialError::NoUserFile | CredentialError::NoEntry { .. }))
}

impl Acceptor {
    /// The name that the application asked for, if it did.
    #[must_use]
    pub const fn asked_name(&self) -> Option<&Name> {
        if self.is_named { Some(&self.name) } else { None }
    }

    fn acquire(name: Option<&Name>, store: &CredStore<'_>, env: &Env<'_>) -> Result<Self> {
        if matches!(name, Some(Name::Anonymous)) {
            return Err(ApiMisuse::AnonymousAcceptor.into());
        }
        env.policy.ensure_incoming()?;
        let accounts = Self::accounts(store, env)?;
        let (name, is_named) = match name {
            Some(name) => (name.clone(), true),
            None => {
                let name = ServiceName { service: String::new(), host: env.host.names().net_bios_name() };
                name.ensure_valid()?;
                (Name::Service(name), false)
            }
        };
        Ok(Self { name, is_named, accounts })
    }

    fn accounts(store: &CredStore<'_>, env: &Env<'_>) -> Result<Accounts> {
        let domain = store.domain_to_ask(env);
        let path = match (UserFile::configured_path(store.key_file, Usage::Accept, env), domain) {
            (Ok(path), _) => path,
            (Err(Error::Credential(CredentialError::NoUserFile)), Some(domain)) => {
                domain.reach(env)?;
                return Ok(Accounts { user_file: None, asks_domain: true });
            }
            (Err(error), _) => return Err(error),
        };
        // Each handshake reads it, and the program may have changed its working directory by then.
        let path = std::path::absolute(path)
            .map_err(|error| CredentialError::Unreadable { path: String::new(), reason: error.to_string() })?;
        // Read now: acquiring a credential fails where the administrator sees it.
        UserFile::load(&path, env)?;
        Ok(Accounts { user_file: Some(path), asks_domain: domain.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        cred::responder::tests::TestDomain,
        error::PolicyError,
        host::{Host, tests::Silent},
    };

    use super::*;

    fn at<'a>(host: &'a dyn Host, domain: Option<&'static dyn DomainService>) -> Env<'a> {
        Env { domain, ..Env::without_domain(Policy::default(), host) }
    }

    #[test]
    fn for_both_usages_one_half_is_enough_unless_a_user_is_named_or_a_secret_given() {
        let path = std::env::temp_dir().join(format!("gss-ntlm-both-{}", std::process::id()));
        std::fs::write(&path, "DOM:alice:x\n").unwrap();
        let host = Silent { user_file: Some(path.display().to_string()), ..Silent::default() };
        let usage = |name: Option<Name>, store: &CredStore<'_>| {
            Credential::acquire(name.as_ref(), Usage::Both, store, &at(&host, None))
                .and_then(|credential| credential.usage())
        };
        let user = |name| Some(Name::parse_user(name).unwrap());
        let service = || Some(Name::parse_service("HTTP@www", "").unwrap());
        let (none, password) = (CredStore::default(), CredStore::default().with_password(b"x").unwrap());
        let results = [
            usage(None, &none),
            usage(user("alice"), &none),
            usage(service(), &none),
            usage(user("bob"), &password),
            usage(user("bob"), &none),
            usage(None, &password),
            usage(service(), &password),
        ];
        std::fs::remove_file(&path).unwrap();
        let [any, alice, www, bob, no_entry, no_name, no_user] = results;
        assert_eq!([any, alice, bob], [Ok(Usage::Both), Ok(Usage::Both), Ok(Usage::Both)]);
        assert_eq!(www, Ok(Usage::Accept));
        assert!(matches!(no_entry, Err(crate::error::Error::Credential(CredentialError::NoEntry { .. }))));
        assert_eq!(no_name, Err(ApiMisuse::NoUserName.into()));
        assert_eq!(no_user, Err(CredentialError::NotAUser.into()));
    }

    #[test]
    fn an_acceptor_is_not_anonymous() {
        assert_eq!(Credential::anonymous().usage(), Ok(Usage::Initiate));
        let host = Silent::default();
        let acceptor =
            Credential::acquire(Some(&Name::Anonymous), Usage::Accept, &CredStore::default(), &at(&host, None));
        assert_eq!(acceptor.map(drop), Err(ApiMisuse::AnonymousAcceptor.into()));
    }

    #[test]
    fn each_option_is_set_apart_from_the_other() {
        let credential = Credential::anonymous();
        assert_eq!(credential.options(), Options::default());
        for neg_flags in [Some(0), Some(u32::MAX), None, Some(1 << 31)] {
            for no_ci_flags in [true, false] {
                credential.set_options(|options| options.no_ci_flags = no_ci_flags);
                credential.set_options(|options| options.neg_flags = neg_flags);
                assert_eq!(credential.options(), Options { neg_flags, no_ci_flags });
            }
        }
    }

    #[test]
    fn a_deferred_credential_is_nobodys() {
        let error = || Error::from(PolicyError::BadLmLevel);
        let credential = Credential::deferred(error());
        credential.set_options(|options| options.no_ci_flags = true);
        assert_eq!(credential.usage(), Err(error()));
        assert_eq!(credential.name(), Err(error()));
        assert_eq!(credential.export().map(drop), Err(error()));
        assert_eq!(credential.initiator().map(drop), Err(error()));
        assert_eq!(credential.acceptor().map(drop), Err(error()));
    }

    #[test]
    fn an_acceptor_keeps_its_file_if_the_working_directory_changes() {
        // A file that is there, by a relative path from wherever the tests run.
        let up = "../".repeat(std::env::current_dir().unwrap().components().count());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").trim_start_matches('/');
        let host = Silent { user_file: Some(up + path), ..Silent::default() };
        let store = CredStore::default();
        let credential = Credential::acquire(None, Usage::Accept, &store, &at(&host, None)).unwrap();
        assert!(credential.acceptor().unwrap().accounts.user_file.as_ref().unwrap().is_absolute());
        let name = Name::parse_service("HTTP@www", "").unwrap();
        let relative = Acceptor {
            name,
            is_named: true,
            accounts: Accounts { user_file: Some("users".into()), asks_domain: false },
        };
        let token = Credential::new(None, Some(relative)).export().unwrap();
        assert!(Credential::import(&token, &at(&host, None)).is_err());
    }

    #[test]
    fn a_domain_accepts_without_a_user_file_if_it_is_there() {
        let accept = |store: &CredStore<'_>, domain| -> Result<bool> {
            let credential = Credential::acquire(None, Usage::Accept, store, &at(&Silent::default(), domain))?;
            Ok(credential.acceptor()?.accounts.asks_domain)
        };
        let (store, there) = (CredStore::default(), Some(TestDomain::default().domain()));
        assert_eq!(accept(&store, there), Ok(true));
        let gone = TestDomain { is_there: false, ..TestDomain::default() };
        assert_eq!(accept(&store, Some(gone.domain())), Err(CredentialError::NoDomain.into()));
        assert_eq!(accept(&store, None), Err(CredentialError::NoUserFile.into()));
        let elsewhere = Silent { user_file: Some("/nowhere/users".to_owned()), ..Silent::default() };
        let broken = Credential::acquire(None, Usage::Accept, &store, &at(&elsewhere, there)).unwrap_err();
        assert!(
            matches!(broken, Error::Credential(CredentialError::Unreadable { .. })),
            "it is not passed over: {broken:?}"
        );
        let key_file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut with_key_file = CredStore::default();
        with_key_file.set(b"ntlmssp_keyfile", key_file.as_bytes()).unwrap();
        assert_eq!(accept(&with_key_file, there), Ok(false));
    }

    #[test]
    fn a_cached_logon_is_used_if_there_is_no_other_secret() {
        let path = std::env::temp_dir().join(format!("gss-ntlm-logon-{}", std::process::id()));
        std::fs::write(&path, "DOM:alice:x\n").unwrap();
        let with_file = Silent { user_file: Some(path.display().to_string()), ..Silent::default() };
        let initiator = |env: Env<'_>, user: Option<&str>, store: &CredStore<'_>| -> Result<_> {
            let name = user.map(|user| Name::parse_user(user).unwrap());
            let credential = Credential::acquire(name.as_ref(), Usage::Initiate, store, &env)?;
            let is_cached = matches!(credential.initiator()?, Initiator::CachedLogon(_));
            Ok((is_cached, credential.name()?.to_string()))
        };
        let (silent, store, domain) = (Silent::default(), CredStore::default(), Some(TestDomain::default().domain()));
        let cached = Ok((true, "AD\\alice".to_owned()));
        assert_eq!(initiator(at(&silent, domain), Some("alice"), &store), cached);
        assert_eq!(initiator(at(&with_file, domain), Some("alice"), &store), Ok((false, "DOM\\alice".to_owned())));
        assert_eq!(initiator(at(&with_file, domain), Some("AD\\alice"), &store), cached, "it is not in the file");
        let secret = CredStore::default().with_password(b"x").unwrap();
        assert_eq!(initiator(at(&silent, domain), Some("alice"), &secret), Ok((false, "alice".to_owned())));
        std::fs::remove_file(&path).unwrap();

        let refused = |host: &dyn Host, domain, user| initiator(at(host, domain), user, &store).unwrap_err();
        let no_logon = |name: &str| Error::from(CredentialError::NoCachedLogon { name: name.to_owned() });
        assert_eq!(refused(&silent, domain, Some("bob")), no_logon("bob"));
        assert_eq!(refused(&silent, domain, None), no_logon(""), "the environment names no user either");
        let of_user = |user: &str| Silent { user: Some(user.to_owned()), ..Silent::default() };
        assert_eq!(initiator(at(&of_user("alice"), domain), None, &store), cached, "the environment names her");
        assert_eq!(refused(&of_user("bob"), domain, None), no_logon("bob"));
        assert_eq!(refused(&of_user(""), domain, None), no_logon(""));
        std::fs::write(&path, "# nobody\n").unwrap();
        let empty = [None, Some("bob".to_owned())].map(|user| {
            refused(&Silent { user, user_file: with_file.user_file.clone(), ..Silent::default() }, domain, None)
        });
        std::fs::remove_file(&path).unwrap();
        assert!(empty.iter().all(Error::is_misconfiguration), "{empty:?}");
        let gone = Some(TestDomain { is_there: false, ..TestDomain::default() }.domain());
        assert_eq!(refused(&silent, gone, Some("alice")), CredentialError::NoUserFile.into());
        let unreadable = refused(&with_file, domain, Some("alice"));
        assert!(matches!(unreadable, Error::Credential(CredentialError::Unreadable { .. })), "{unreadable:?}");
    }
}
