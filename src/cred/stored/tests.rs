use std::sync::Mutex;

use crate::{
    cred::{CredStore, Secret, Usage, responder::tests::TestDomain},
    crypto::{LmHash, NtHash},
    host::tests::Silent,
    policy::{LmLevel, Policy},
};

use super::*;

/// Places in memory, of which the first may be refused.
#[derive(Debug, Default)]
struct Memory {
    values: Mutex<Vec<(Place, String, Vec<u8>)>>,
    refuses_keyring: bool,
}

impl Memory {
    fn ensure_usable(&self, place: Place) -> StoreResult<()> {
        match place {
            Place::Keyring if self.refuses_keyring => Err(Refusal("not today".to_owned())),
            Place::Keyring | Place::Runtime => Ok(()),
        }
    }
}

impl Store for Memory {
    fn values(&self, place: Place) -> StoreResult<Vec<(String, SecretBytes)>> {
        self.ensure_usable(place)?;
        let values = self.values.try_lock().unwrap();
        let here = values.iter().filter(|(at, ..)| *at == place);
        Ok(here
            .map(|(_, name, value)| {
                let mut secret = SecretBytes::default();
                secret.extend_from_slice(value);
                (name.clone(), secret)
            })
            .collect())
    }

    fn names(&self, place: Place) -> StoreResult<Vec<String>> {
        Ok(self.values(place)?.into_iter().map(|(name, _)| name).collect())
    }

    fn put(&self, place: Place, name: &str, value: &[u8], _: Option<Duration>) -> StoreResult<()> {
        self.remove(place, name)?;
        self.values.try_lock().unwrap().push((place, name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn remove(&self, place: Place, name: &str) -> StoreResult<bool> {
        self.ensure_usable(place)?;
        let mut values = self.values.try_lock().unwrap();
        let before = values.len();
        values.retain(|(at, of, _)| (*at, &**of) != (place, name));
        Ok(values.len() < before)
    }
}

/// A user's computer, `pc.corp.example`, at a time that a test sets.
struct Computer {
    host: Silent,
    store: &'static Memory,
    policy: Policy,
    domain: bool,
}

impl Computer {
    fn new(store: Memory) -> Self {
        let host = Silent { unix_seconds: 1000, host_name: "pc.corp.example", ..Silent::default() };
        Self { host, store: Box::leak(Box::new(store)), policy: Policy::default(), domain: false }
    }

    fn env(&self) -> Env<'_> {
        let domain = self.domain.then(|| TestDomain::default().domain());
        Env { store: Some(self.store), domain, ..Env::without_domain(self.policy, &self.host) }
    }

    fn store(&self, user: &str, target: &str, change: impl FnOnce(&mut StoreRequest)) -> Result<StoredAt> {
        let name = Name::parse_user(user).unwrap();
        let with_password = CredStore::default().with_password(b"x").unwrap();
        let credential = Credential::acquire(Some(&name), Usage::Initiate, &with_password, &self.env()).unwrap();
        let mut request = StoreRequest { pattern: Pattern::parse(target), ..StoreRequest::default() };
        change(&mut request);
        request.store(&credential, &self.env())
    }

    fn acquire(&self, user: Option<&str>, keys: &[(&str, &str)]) -> Result<Credential> {
        let mut store = CredStore::default();
        keys.iter().for_each(|(key, value)| store.set(key.as_bytes(), value.as_bytes()).unwrap());
        let name = user.map(|user| Name::parse_user(user).unwrap());
        Credential::acquire(name.as_ref(), Usage::Initiate, &store, &self.env())
    }

    /// The account for a target.
    fn chosen(&self, user: Option<&str>, target: &str) -> Result<String> {
        let target = Name::parse_service(target, "").unwrap();
        let credential = self.acquire(user, &[])?;
        Ok(credential.initiator()?.for_target(Some(&target), None, &self.env())?.name().to_string())
    }
}

fn not_for(target: &str) -> Result<String> {
    Err(CredentialError::NotForTarget { target: target.to_owned() }.into())
}

#[test]
fn each_target_has_the_account_of_its_most_specific_pattern() {
    let computer = Computer::new(Memory::default());
    for (user, target) in [
        ("A\\all", "*.corp.example"),
        ("B\\web", "HTTP/*.corp.example"),
        ("C\\one", "srv.corp.example"),
        ("D\\spn", "HTTP/srv.corp.example"),
    ] {
        computer.store(user, target, |_| {}).unwrap();
    }
    for (target, account) in [
        ("ldap@x.corp.example", "A\\all"),
        ("HTTP@x.corp.example", "B\\web"),
        ("ldap@srv.corp.example", "C\\one"),
        ("HTTP@srv.corp.example:80", "D\\spn"),
    ] {
        assert_eq!(computer.chosen(None, target).unwrap(), account, "{target}");
    }
    assert_eq!(computer.chosen(None, "HTTP@corp.example"), not_for("HTTP/corp.example"));
    assert_eq!(computer.chosen(None, "HTTP@srv.corp.example.org"), not_for("HTTP/srv.corp.example.org"));
    assert_eq!(computer.chosen(Some("all"), "HTTP@srv.corp.example").unwrap(), "A\\all", "she asked for that account");
    assert_eq!(computer.chosen(Some("a\\ALL"), "HTTP@srv.corp.example").unwrap(), "A\\all");
    assert_eq!(computer.chosen(Some("one"), "HTTP@x.corp.example"), not_for("HTTP/x.corp.example"));
    assert_eq!(computer.chosen(Some("B\\all"), "HTTP@srv.corp.example"), Err(CredentialError::NoUserFile.into()));
    let without_target = computer.acquire(None, &[]).unwrap();
    assert!(without_target.initiator().unwrap().for_target(None, None, &computer.env()).is_err());
    computer.store("E\\any", "*", |_| {}).unwrap();
    let any = without_target.initiator().unwrap().for_target(None, None, &computer.env()).unwrap().name().to_string();
    assert_eq!(any, "E\\any");
}

#[test]
fn the_default_one_stands_for_all() {
    let mut computer = Computer::new(Memory::default());
    let name = |computer: &Computer| computer.acquire(None, &[]).unwrap().name().unwrap().to_string();
    computer.store("A\\one", "srv", |_| {}).unwrap();
    computer.store("A\\all", "*.corp.example", |_| {}).unwrap();
    assert_eq!(name(&computer), "A\\all", "its pattern is more general");
    computer.store("A\\two", "srv2", |request| request.is_default = true).unwrap();
    assert_eq!(name(&computer), "A\\two");
    computer.host.unix_seconds += 1;
    computer.store("A\\three", "srv3", |request| request.is_default = true).unwrap();
    assert_eq!(name(&computer), "A\\three");
    assert_eq!(computer.chosen(None, "HTTP@srv2").unwrap(), "A\\two", "it is for what is acquired without a target");
}

#[test]
fn what_has_expired_or_gone_does_not_count() {
    let mut computer = Computer::new(Memory::default());
    let hour = |request: &mut StoreRequest| request.lifetime = Some(Duration::from_secs(3600));
    let stored = computer.store("A\\one", "srv", hour).unwrap();
    assert_eq!(stored.until, Some(FileTime::from_unix(4600, 0)));
    let credential = computer.acquire(None, &[]).unwrap();
    assert_eq!(credential.until(&computer.env()), stored.until);
    let target = Name::parse_service("HTTP@srv", "").unwrap();
    let account = |computer: &Computer| {
        let initiator = credential.initiator().unwrap();
        initiator.for_target(Some(&target), None, &computer.env()).map(|chosen| chosen.name().to_string())
    };
    computer.host.unix_seconds = 4599;
    assert_eq!(account(&computer).unwrap(), "A\\one");
    computer.host.unix_seconds = 4600;
    assert_eq!(account(&computer), not_for("HTTP/srv"));
    assert!(computer.store("A\\two", "srv", |_| {}).is_ok(), "what has expired is not in the way");
    assert_eq!(account(&computer).unwrap(), "A\\two");
    let forgotten = |target| forget(Pattern::parse(target).as_ref(), &computer.env()).unwrap().names;
    assert!(forgotten("other").is_empty());
    assert_eq!(forgotten("SRV"), ["srv"]);
    assert_eq!(account(&computer), not_for("HTTP/srv"), "logging off counts at once");
    computer.store("A\\one", "a", |_| {}).unwrap();
    computer.store("A\\one", "b", |_| {}).unwrap();
    assert_eq!(forget(None, &computer.env()).unwrap().names.len(), 2);
}

#[test]
fn the_better_place_is_taken_and_the_other_one_where_it_is_refused() {
    let computer = Computer::new(Memory { refuses_keyring: true, ..Memory::default() });
    let stored = computer.store("A\\one", "srv", |_| {}).unwrap();
    assert_eq!((stored.place, stored.refusals.len()), (Place::Runtime, 1));
    assert_eq!(computer.chosen(None, "HTTP@srv").unwrap(), "A\\one");
    let refused = computer.store("A\\one", "srv", |request| {
        request.place = Some(Place::Keyring);
        request.overwrites = true;
    });
    let reason = "the keyring: not today".to_owned();
    assert_eq!(refused.map(drop), Err(CredentialError::StoreFailed { reason }.into()));

    let computer = Computer::new(Memory::default());
    computer.store("A\\one", "srv", |request| request.place = Some(Place::Runtime)).unwrap();
    assert_eq!(
        computer.store("A\\two", "SRV.", |_| {}).map(drop),
        Err(CredentialError::AlreadyStored { target: "srv".to_owned() }.into())
    );
    let stored = computer.store("A\\two", "SRV.", |request| request.overwrites = true).unwrap();
    assert_eq!(stored.place, Place::Keyring);
    assert_eq!(computer.store.values.try_lock().unwrap().len(), 1, "the other place has none that is older");
    assert_eq!(computer.chosen(None, "HTTP@srv").unwrap(), "A\\two");
}

#[test]
fn what_was_stored_last_counts_where_a_place_could_not_be_emptied() {
    let mut computer = Computer::new(Memory::default());
    computer.store("A\\old", "srv", |_| {}).unwrap();
    let old = computer.store.values.try_lock().unwrap().clone();
    forget(None, &computer.env()).unwrap();
    computer.host.unix_seconds += 1;
    computer.store("A\\new", "srv", |request| request.place = Some(Place::Runtime)).unwrap();
    computer.store.values.try_lock().unwrap().extend(old);
    assert_eq!(computer.chosen(None, "HTTP@srv").unwrap(), "A\\new");
    let forgotten = forget(None, &Computer::new(Memory { refuses_keyring: true, ..Memory::default() }).env()).unwrap();
    assert_eq!(forgotten.refusals, [(Place::Keyring, Refusal("not today".to_owned()))]);
}

#[test]
fn a_caller_chooses_place_and_pattern() {
    let computer = Computer::new(Memory::default());
    computer.store("A\\key", "srv", |_| {}).unwrap();
    computer.store("A\\file", "srv2", |request| request.place = Some(Place::Runtime)).unwrap();
    let name =
        |keys: &[(&str, &str)]| computer.acquire(None, keys).map(|credential| credential.name().unwrap().to_string());
    assert_eq!(name(&[("ntlmssp_store", "keyring")]).unwrap(), "A\\key");
    assert_eq!(name(&[("ntlmssp_store", "runtime")]).unwrap(), "A\\file");
    assert_eq!(name(&[("ntlmssp_target", "SRV2")]).unwrap(), "A\\file");
    let none = Err(CredentialError::NoUserFile.into());
    assert_eq!(name(&[("ntlmssp_target", "srv3")]), none);
    assert_eq!(name(&[("ntlmssp_store", "runtime"), ("ntlmssp_target", "srv")]), none);
    for (key, value) in [
        ("ntlmssp_store", "Keyring"),
        ("ntlmssp_store", ""),
        ("ntlmssp_target", "a*"),
        ("ntlmssp_target", "HTTP/"),
        ("ntlmssp_lifetime", "0"),
        ("ntlmssp_lifetime", "-1"),
        ("ntlmssp_lifetime", "1h"),
    ] {
        let refused = CredStore::default().set(key.as_bytes(), value.as_bytes());
        assert_eq!(refused, Err(ApiMisuse::BadStoreKey.into()), "{key}={value}");
    }
}

#[test]
fn the_policy_says_where_to_look() {
    let mut computer = Computer::new(Memory::default());
    computer.store("A\\key", "srv", |_| {}).unwrap();
    computer.policy.store = StorePolicy::Runtime;
    let none = Err(CredentialError::NoUserFile.into());
    assert_eq!(computer.chosen(None, "HTTP@srv"), none);
    assert_eq!(computer.store("A\\file", "srv", |_| {}).unwrap().place, Place::Runtime);
    let at_keyring = computer.store("A\\key", "srv", |request| request.place = Some(Place::Keyring));
    assert!(matches!(at_keyring.map(drop), Err(Error::Credential(CredentialError::AlreadyStored { .. }))));
    let at_keyring = computer.store("A\\key", "srv2", |request| request.place = Some(Place::Keyring));
    assert!(matches!(at_keyring.map(drop), Err(Error::Credential(CredentialError::StoreIsOff { .. }))));
    computer.policy.store = StorePolicy::Off;
    assert_eq!(computer.chosen(None, "HTTP@srv"), none);
    let off = computer.store("A\\file", "srv2", |_| {}).map(drop);
    assert!(matches!(off, Err(Error::Credential(CredentialError::StoreIsOff { .. }))));
}

#[test]
fn without_a_target_it_is_for_the_computers_own_domain() {
    let mut computer = Computer::new(Memory::default());
    let stored = computer.store("A\\one", "", |_| {}).unwrap();
    assert_eq!(stored.pattern.to_string(), "*.corp.example");
    computer.host.host_name = "pc";
    assert_eq!(computer.store("A\\one", "", |_| {}).map(drop), Err(ApiMisuse::NoStoreTarget.into()));
}

#[test]
fn only_a_user_with_a_secret_is_stored() {
    let mut computer = Computer::new(Memory::default());
    computer.domain = true;
    let logon = computer.acquire(Some("alice"), &[]).unwrap();
    assert!(matches!(logon.initiator(), Ok(Initiator::CachedLogon(_))));
    computer.store("A\\one", "srv", |_| {}).unwrap();
    let request = StoreRequest { pattern: Pattern::parse("srv2"), ..StoreRequest::default() };
    for credential in
        [logon, Credential::anonymous(), computer.acquire(None, &[]).unwrap(), Credential::new(None, None)]
    {
        assert_eq!(request.store(&credential, &computer.env()).map(drop), Err(ApiMisuse::NotStored.into()));
    }
}

#[test]
fn a_target_that_has_none_has_the_cached_logon() {
    let mut computer = Computer::new(Memory::default());
    computer.domain = true;
    computer.store("A\\alice", "srv", |_| {}).unwrap();
    assert_eq!(computer.chosen(Some("alice"), "HTTP@srv").unwrap(), "A\\alice");
    assert_eq!(computer.chosen(Some("alice"), "HTTP@other").unwrap(), "AD\\alice");
    assert_eq!(computer.chosen(None, "HTTP@other"), not_for("HTTP/other"), "nobody is named");
    let only_stored = computer.acquire(Some("alice"), &[("ntlmssp_store", "keyring")]).unwrap();
    let other = Name::parse_service("HTTP@other", "").unwrap();
    assert!(only_stored.initiator().unwrap().for_target(Some(&other), None, &computer.env()).is_err());
}

#[test]
fn a_user_file_comes_first() {
    let path = std::env::temp_dir().join(format!("gss-ntlm-before-stored-{}", std::process::id()));
    std::fs::write(&path, "F:file:x\n").unwrap();
    let mut computer = Computer::new(Memory::default());
    computer.store("A\\stored", "*", |_| {}).unwrap();
    computer.host.user_file = Some(path.display().to_string());
    let chosen = [None, Some("stored"), Some("file")].map(|user| computer.chosen(user, "HTTP@srv").unwrap());
    std::fs::write(&path, "# nobody\n").unwrap();
    let of_empty_file = computer.chosen(None, "HTTP@srv");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(chosen, ["F\\file", "A\\stored", "F\\file"]);
    assert_eq!(of_empty_file.unwrap(), "A\\stored");
    assert!(computer.chosen(None, "HTTP@srv").is_err(), "a file that cannot be read is not passed over");
}

#[test]
fn what_is_no_value_of_ours_is_ignored_and_traced() {
    let computer = Computer::new(Memory::default());
    computer.store("A\\one", "srv", |_| {}).unwrap();
    let good = computer.store.values.try_lock().unwrap().pop().unwrap().2;
    let acceptor = Credential::anonymous();
    let anonymous = StoredAccount::write(&acceptor, FileTime(1), None, FileTime(0)).unwrap().to_vec();
    let mut other_version = good.clone();
    other_version[0] = 2;
    let cut = (0..good.len()).map(|len| ("srv", good[..len].to_vec()));
    // One that would look for itself without end.
    let stored = Credential::new(
        Some(Initiator::Stored(Box::new(Stored {
            name: UserName { user: "one".to_owned(), domain: String::new() },
            wanted: Wanted::default(),
        }))),
        None,
    );
    let stored = StoredAccount::write(&stored, FileTime(1), None, FileTime(0)).unwrap().to_vec();
    let odd = [
        ("srv", stored),
        ("a*", good.clone()),
        ("srv", [&*good, b"x"].concat()),
        ("srv", anonymous),
        ("srv", other_version),
    ];
    for (number, (name, value)) in cut.chain(odd).enumerate() {
        *computer.store.values.try_lock().unwrap() = vec![(Place::Keyring, name.to_owned(), value)];
        assert!(computer.acquire(None, &[]).is_err(), "{number}");
        assert_eq!(computer.host.traced.try_lock().unwrap().drain(..).count(), 1, "{number}");
    }
}

#[test]
fn the_lm_hash_is_kept_only_where_a_level_uses_it() {
    let mut computer = Computer::new(Memory::default());
    let has_lm_hash = |computer: &Computer| {
        let target = Name::parse_service("HTTP@srv", "").unwrap();
        let credential = computer.acquire(None, &[]).unwrap();
        let chosen = credential.initiator().unwrap().for_target(Some(&target), None, &computer.env()).unwrap();
        matches!(&*chosen, Initiator::Account(account) if account.secret.lm_hash.is_some())
    };
    computer.store("A\\one", "srv", |_| {}).unwrap();
    assert!(!has_lm_hash(&computer));
    computer.policy.lm_level = LmLevel::new(1).unwrap();
    assert!(!has_lm_hash(&computer), "it was not stored");
    computer.store("A\\one", "srv", |request| request.overwrites = true).unwrap();
    assert!(has_lm_hash(&computer));
    computer.policy.lm_level = LmLevel::new(3).unwrap();
    assert!(!has_lm_hash(&computer));
    // A credential from a policy of before.
    let name = UserName { user: "one".to_owned(), domain: String::new() };
    let secret = Secret { nt_hash: NtHash::new([1; 16]), lm_hash: Some(LmHash::new([2; 16])) };
    let credential = Credential::new(Some(Initiator::Account(Account::new(name, secret))), None);
    let request = StoreRequest { pattern: Pattern::parse("srv"), overwrites: true, ..StoreRequest::default() };
    request.store(&credential, &computer.env()).unwrap();
    computer.policy.lm_level = LmLevel::new(1).unwrap();
    assert!(!has_lm_hash(&computer));
}

#[test]
fn an_exported_credential_says_what_to_look_for() {
    let computer = Computer::new(Memory::default());
    computer.store("A\\one", "srv", |_| {}).unwrap();
    computer.store("A\\two", "srv2", |_| {}).unwrap();
    for (user, keys) in
        [(None, &[][..]), (Some("two"), &[]), (None, &[("ntlmssp_store", "keyring"), ("ntlmssp_target", "srv")])]
    {
        let credential = computer.acquire(user, keys).unwrap();
        let token = credential.export().unwrap();
        let again = Credential::import(&token, &computer.env()).unwrap();
        let wanted = |credential: &Credential| match credential.initiator() {
            Ok(Initiator::Stored(stored)) => stored.wanted.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((again.name(), wanted(&again)), (credential.name(), wanted(&credential)));
        forget(None, &Computer::new(Memory::default()).env()).unwrap();
        let elsewhere = Credential::import(&token, &Computer::new(Memory::default()).env());
        assert_eq!(elsewhere.map(drop), Err(CredentialError::NoUserFile.into()));
    }
}
