//! Stored credentials: the accounts that a user has logged on with, each for the targets that have its pattern.
//!
//! A value in the store is: the version (1) ‖ when it was stored, until when it holds and since when it is the default one, each a
//! FILETIME (8), the last two perhaps zero ‖ the exported credential. It has hashes, never a password.

use core::{fmt, time::Duration};

use zeroize::zeroize_stack;

use crate::{
    bytes::{Reader, SecretBytes, reserve},
    error::{ApiMisuse, CredentialError, Error, Fault, FieldName, Message, Result},
    host::FileTime,
    name::{Name, UserName},
    policy::{Pattern, StorePolicy, Subject},
    text::same_name,
};

use super::{Account, Chosen, Credential, Env, Halves, Initiator};

#[cfg(test)]
mod tests;

/// A place where credentials are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The kernel's keyring of the user.
    Keyring,
    /// The runtime directory of the user.
    Runtime,
}

/// Why a place cannot be used, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

/// What a place of stored credentials gives.
pub type StoreResult<T> = core::result::Result<T, Refusal>;

/// The places where credentials are stored, for the effective user of this process. A value has a name, and neither means anything
/// to the store.
pub trait Store: fmt::Debug + Send + Sync {
    /// All values.
    ///
    /// # Errors
    /// If the place cannot be used. One that has nothing yet is empty.
    fn values(&self, place: Place) -> StoreResult<Vec<(String, SecretBytes)>>;

    /// The names of all values, also of those that cannot be read.
    ///
    /// # Errors
    /// As [`Store::values`].
    fn names(&self, place: Place) -> StoreResult<Vec<String>>;

    /// Stores a value, in place of the one with that name; for that time if the place knows about time.
    ///
    /// # Errors
    /// If the place cannot be used, or is full.
    fn put(&self, place: Place, name: &str, value: &[u8], lifetime: Option<Duration>) -> StoreResult<()>;

    /// Removes a value. Returns whether there was one.
    ///
    /// # Errors
    /// If the place cannot be used.
    fn remove(&self, place: Place, name: &str) -> StoreResult<bool>;
}

/// The version of a value.
const VERSION: u8 = 1;
const FIELD: FieldName = FieldName::Contents;
/// How deep in the stack the reading of values leaves hashes, in bytes: scripts/check-secrets has found it.
const READING: usize = 27 << 7;

impl Place {
    /// The place with this key.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        [Self::Keyring, Self::Runtime].into_iter().find(|place| place.key() == key)
    }

    /// Its name in settings and in arguments.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Runtime => "runtime",
        }
    }

    /// The places where the policy lets us look, the better one first.
    fn allowed(policy: StorePolicy) -> &'static [Self] {
        match policy {
            StorePolicy::Keyring => &[Self::Keyring, Self::Runtime],
            StorePolicy::Runtime => &[Self::Runtime],
            StorePolicy::Off => &[],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "keyring",
            Self::Runtime => "runtime directory",
        })
    }
}

/// A stored account.
#[derive(Debug)]
pub struct StoredAccount {
    /// The targets that it is for.
    pub pattern: Pattern,
    /// Where it is.
    pub place: Place,
    /// Until when it holds.
    pub until: Option<FileTime>,
    stored: FileTime,
    default_since: FileTime,
    account: Account,
}

impl StoredAccount {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &UserName {
        &self.account.name
    }

    fn parse(place: Place, name: &str, value: &[u8], env: &Env<'_>) -> Result<Self> {
        let mut reader = Reader::new(Message::ExportedCredential, value);
        let pattern = Pattern::parse(name).ok_or_else(|| reader.error(FieldName::TargetName, Fault::WrongValue))?;
        if reader.array(FieldName::Version)? != [VERSION] {
            return Err(reader.error(FieldName::Version, Fault::WrongValue));
        }
        let mut time = || reader.array(FIELD).map(FileTime::from_bytes);
        let (stored, until, default_since) = (time()?, time()?, time()?);
        let until = Some(until).filter(|time| time.0 != 0);
        // An account: not what would look into the store again.
        let env = &Env { store: None, domain: None, ..*env };
        match Credential::import(reader.rest(), env)?.halves {
            Ok(Halves { initiator: Some(Initiator::Account(account)), .. }) => {
                Ok(Self { pattern, place, until, stored, default_since, account })
            }
            Ok(_) | Err(_) => Err(reader.error(FIELD, Fault::WrongValue)),
        }
    }

    fn write(
        account: &Credential, stored: FileTime, until: Option<FileTime>, default_since: FileTime,
    ) -> Result<SecretBytes> {
        let account = account.export()?;
        let mut value = SecretBytes::default();
        reserve(&mut value, account.len().saturating_add(25))?;
        value.push(VERSION);
        value.extend_from_slice(&stored.to_bytes());
        value.extend_from_slice(&until.unwrap_or(FileTime(0)).to_bytes());
        value.extend_from_slice(&default_since.to_bytes());
        value.extend_from_slice(&account);
        Ok(value)
    }
}

/// Which of the stored accounts are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of this name, whose domain may be missing.
    pub user: Option<UserName>,
    /// Those at this place.
    pub place: Option<Place>,
    /// That with this pattern.
    pub pattern: Option<Pattern>,
}

impl Wanted {
    fn has(&self, stored: &StoredAccount) -> bool {
        let is_empty_or = |domain: &str, other: &str| domain.is_empty() || same_name(domain, other);
        self.pattern.as_ref().is_none_or(|pattern| *pattern == stored.pattern)
            && self.user.as_ref().is_none_or(|asked| {
                let name = stored.name();
                same_name(&asked.user, &name.user) && is_empty_or(&asked.domain, &name.domain)
            })
    }

    /// These accounts, the most specific pattern first. What has expired or cannot be read is none. Where two places have the same
    /// pattern, the one that was stored last counts.
    #[must_use]
    pub fn accounts(&self, env: &Env<'_>) -> Vec<StoredAccount> {
        let accounts = self.read(env);
        if !cfg!(no_stack_wipe) {
            zeroize_stack::<READING>();
        }
        accounts
    }

    #[inline(never)]
    fn read(&self, env: &Env<'_>) -> Vec<StoredAccount> {
        let Some(store) = env.store else { return Vec::new() };
        let mut accounts = Vec::<StoredAccount>::new();
        let places =
            Place::allowed(env.policy.store).iter().filter(|place| self.place.is_none_or(|only| only == **place));
        for place in places {
            let values = match store.values(*place) {
                Ok(values) => values,
                Err(Refusal(why)) => {
                    env.host.trace(format_args!("stored credentials: the {place} cannot be used: {why}"));
                    continue;
                }
            };
            for (name, value) in values {
                match StoredAccount::parse(*place, &name, &value, env) {
                    Ok(account) if account.until.is_some_and(|until| until <= env.host.now()) => {}
                    Ok(account) => match accounts.iter_mut().find(|known| known.pattern == account.pattern) {
                        Some(known) if known.stored >= account.stored => {}
                        Some(known) => *known = account,
                        None => accounts.push(account),
                    },
                    Err(error) => {
                        env.host.trace(format_args!("stored credentials: {name} in the {place} is ignored: {error}"));
                    }
                }
            }
        }
        accounts.retain(|account| self.has(account));
        accounts.sort_by(|one, other| other.pattern.cmp(&one.pattern));
        accounts
    }
}

impl Wanted {
    /// The account that stands for all of these: the default one, else that of the most general pattern.
    fn default_account(&self, env: &Env<'_>) -> Option<StoredAccount> {
        // Of two with the same time, the last one: it is more general.
        self.accounts(env).into_iter().max_by_key(|stored| stored.default_since)
    }

    /// Until when that account holds, if its time is limited; now if there is none.
    pub(super) fn until(&self, env: &Env<'_>) -> Option<FileTime> {
        self.default_account(env).map_or_else(|| Some(env.host.now()), |stored| stored.until)
    }

    /// The initiator for `target`: the account that is stored for it, else the cached logon of the domain.
    ///
    /// # Errors
    /// [`CredentialError::NotForTarget`] if there is none.
    pub(super) fn initiator(&self, target: Option<&Name>, env: &Env<'_>) -> Result<Chosen<'static>> {
        let subject = Subject::new(target);
        if let Some(stored) = self.accounts(env).into_iter().find(|stored| stored.pattern.matches(&subject)) {
            let StoredAccount { pattern, place, account, .. } = stored;
            let why = format!("stored for {pattern} ({place})");
            let choice = Self { user: Some(account.name.clone()), place: self.place, pattern: Some(pattern) };
            return Ok(Chosen::Found { initiator: Initiator::Account(account), why, choice: Some(Box::new(choice)) });
        }
        let target = target.map(ToString::to_string).unwrap_or_default();
        let error = Error::from(CredentialError::NotForTarget { target });
        match env.domain {
            Some(domain) if self.place.is_none() && self.pattern.is_none() => {
                let logon = Initiator::cached_logon(self.user.clone(), domain, error.clone(), env);
                let initiator = logon.map_err(|_| error)?;
                Ok(Chosen::Found { initiator, why: "no stored one is for this target".to_owned(), choice: None })
            }
            Some(_) | None => Err(error),
        }
    }
}

/// An initiator whose account depends on the target. It has no secret: each handshake looks into the store, so that logging off
/// counts at once.
#[derive(Debug)]
pub struct Stored {
    /// The name of the account that stands for all.
    pub name: UserName,
    /// What is looked for.
    pub wanted: Wanted,
}

impl Stored {
    /// What the store has of that; `None` if it is nothing.
    pub(super) fn find(wanted: Wanted, env: &Env<'_>) -> Option<Box<Self>> {
        let name = wanted.default_account(env)?.account.name;
        Some(Box::new(Self { name, wanted }))
    }
}

/// How to store a credential.
#[derive(Debug, Default)]
pub struct StoreRequest {
    /// The targets that it is for; by default the hosts of this computer's DNS domain.
    pub pattern: Option<Pattern>,
    /// Where; by default the best place that can be used.
    pub place: Option<Place>,
    /// For how long; by default until the place is emptied.
    pub lifetime: Option<Duration>,
    /// Whether another credential for the same targets may be overwritten.
    pub overwrites: bool,
    /// Whether it becomes the default one.
    pub is_default: bool,
}

/// What was stored.
#[derive(Debug)]
pub struct StoredAt {
    /// The targets that it is for.
    pub pattern: Pattern,
    /// Where it is.
    pub place: Place,
    /// Why it is not at a better place.
    pub refusals: Vec<(Place, Refusal)>,
    /// Until when it holds.
    pub until: Option<FileTime>,
}

impl StoreRequest {
    /// The store, and the targets that a credential would be stored for.
    fn place(&self, env: &Env<'_>) -> Result<(&'static dyn Store, Pattern)> {
        let store = env.store.ok_or_else(|| CredentialError::StoreIsOff { by: env.policy.setter_of("store") })?;
        Ok((store, self.pattern.clone().map_or_else(|| own_domain(env), Ok)?))
    }

    /// Ensures that there is a place, and that it is known which targets a credential would be for.
    ///
    /// # Errors
    /// [`ApiMisuse::NoStoreTarget`], [`CredentialError::StoreIsOff`] and [`CredentialError::StoreFailed`].
    pub fn ensure_possible(&self, env: &Env<'_>) -> Result<()> {
        let (store, _) = self.place(env)?;
        let allowed = self.places(env);
        let refusals: Vec<_> = allowed.iter().filter_map(|place| Some((*place, store.names(*place).err()?))).collect();
        if !allowed.is_empty() && refusals.len() == allowed.len() { Err(failed(&refusals)) } else { Ok(()) }
    }

    fn places(&self, env: &Env<'_>) -> Vec<Place> {
        let allowed = Place::allowed(env.policy.store).iter().copied();
        allowed.filter(|place| self.place.is_none_or(|only| only == *place)).collect()
    }

    /// Stores the account of a credential.
    ///
    /// # Errors
    /// [`ApiMisuse::NotStored`] for the credential of anybody else than a user with a secret, [`ApiMisuse::NoStoreTarget`] if no target
    /// is given and there is no DNS domain, [`CredentialError::AlreadyStored`], [`CredentialError::StoreIsOff`] and
    /// [`CredentialError::StoreFailed`].
    pub fn store(&self, credential: &Credential, env: &Env<'_>) -> Result<StoredAt> {
        let Initiator::Account(account) = credential.initiator().map_err(|_| ApiMisuse::NotStored)? else {
            return Err(ApiMisuse::NotStored.into());
        };
        let (store, pattern) = self.place(env)?;
        let wanted = Wanted { pattern: Some(pattern.clone()), ..Wanted::default() };
        if !self.overwrites && !wanted.accounts(env).is_empty() {
            return Err(CredentialError::AlreadyStored { target: pattern.to_string() }.into());
        }
        // Neither its acceptor nor its options, and no LM hash that it has from a policy of before.
        let mut secret = account.secret.copy();
        secret.lm_hash = secret.lm_hash.filter(|_| env.policy.keeps_lm_hash());
        let account = Credential::new(Some(Initiator::Account(Account::new(account.name.clone(), secret))), None);
        let now = env.host.now();
        let until = self.lifetime.map(|lifetime| now.after(lifetime));
        let value = StoredAccount::write(&account, now, until, if self.is_default { now } else { FileTime(0) })?;
        let name = pattern.to_string();
        let mut refusals = Vec::new();
        for place in self.places(env) {
            match store.put(place, &name, &value, self.lifetime) {
                Ok(()) => {
                    for other in [Place::Keyring, Place::Runtime].into_iter().filter(|other| *other != place) {
                        // Where that fails, the one that was stored last counts.
                        let _ = store.remove(other, &name);
                    }
                    return Ok(StoredAt { pattern, place, refusals, until });
                }
                Err(refusal) => refusals.push((place, refusal)),
            }
        }
        if refusals.is_empty() {
            return Err(CredentialError::StoreIsOff { by: env.policy.setter_of("store") }.into());
        }
        Err(failed(&refusals))
    }
}

/// The error for places that all refuse.
fn failed(refusals: &[(Place, Refusal)]) -> Error {
    let reasons: Vec<_> = refusals.iter().map(|(place, Refusal(why))| format!("the {place}: {why}")).collect();
    CredentialError::StoreFailed { reason: reasons.join("; ") }.into()
}

/// The hosts of this computer's DNS domain.
fn own_domain(env: &Env<'_>) -> Result<Pattern> {
    Pattern::parse(&format!("*.{}", env.names().dns_domain)).ok_or_else(|| ApiMisuse::NoStoreTarget.into())
}

/// What was removed, and what was not looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The names of what is gone.
    pub names: Vec<String>,
    /// The places that refused.
    pub refusals: Vec<(Place, Refusal)>,
}

/// Removes what is stored for these targets, or everything, also what has expired or cannot be read.
///
/// # Errors
/// [`CredentialError::StoreIsOff`]; [`CredentialError::StoreFailed`] if something that was found stays.
pub fn forget(pattern: Option<&Pattern>, env: &Env<'_>) -> Result<Forgotten> {
    let store = env.store.ok_or_else(|| CredentialError::StoreIsOff { by: env.policy.setter_of("store") })?;
    let (mut forgotten, mut stays) = (Forgotten::default(), Vec::new());
    for place in [Place::Keyring, Place::Runtime] {
        let names = match store.names(place) {
            Ok(names) => names,
            Err(refusal) => {
                forgotten.refusals.push((place, refusal));
                continue;
            }
        };
        let is_wanted = |name: &String| pattern.is_none_or(|pattern| Pattern::parse(name).as_ref() == Some(pattern));
        for name in names.into_iter().filter(is_wanted) {
            match store.remove(place, &name) {
                Ok(_) => forgotten.names.push(name),
                Err(refusal) => stays.push((place, refusal)),
            }
        }
    }
    if stays.is_empty() { Ok(forgotten) } else { Err(failed(&stays)) }
}
