//! Winbind: the accounts of the domain that this computer is a member of, through Samba's libwbclient.
//!
//! The library is opened when it is first needed. Without it, or without winbindd, there is no domain.
//!
//! libwbclient waits for winbindd for up to five minutes, and may write to a closed socket. So each request runs in a thread that
//! lives only for this request: the caller can stop waiting, and SIGPIPE does not reach the program.
//!
//! Each request has its own connection. libwbclient does not notice that a program has closed a descriptor of ours and uses the
//! number for another file: it would write there, or close it.

mod library;

use core::time::Duration;
use std::{
    borrow::Cow,
    ffi::CString,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        mpsc,
    },
    time::Instant,
};

use super::once_box::OnceBox;
use crate::{
    bytes,
    cred::{Claim, DomainService, Env, Proof, ReceivedChallenge, Responder, Response, VerifiedClaim, Verifier},
    crypto::{ExportedSessionKey, LmHash, SessionBaseKey, keys::kxkey_non_nt},
    error::{
        CredentialError, DomainError, Error, HostError, LogonFault, PeerIncompatible, PeerMisbehaved, PolicyError,
        Result,
    },
    host::{Host, Membership},
    name::{Attribute, Name, UserName},
    policy::{Minimum, Policy},
    text::{DisplayUtf16, Escaped, from_utf16le, same_name},
};

use library::{Account, Connection, Failure, Logon};

/// The domain of this computer, as winbindd knows it.
#[derive(Debug)]
pub(crate) struct Winbind;

/// The longest timeout of a request that winbindd answers without a domain controller.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long a request for the membership is repeated if it failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The same for the name of the forest, for which winbindd asks a domain controller.
const RETRY_FOREST_AFTER: Duration = Duration::from_secs(600);

impl Verifier for Winbind {
    fn verify(&self, claim: &Claim<'_>, env: &Env<'_>) -> Result<VerifiedClaim> {
        let Some(logon) = logon(claim) else {
            env.host.trace(format_args!(
                "refused {}\\{}: no account of a domain can have this name, or be at this computer",
                DisplayUtf16(claim.domain),
                DisplayUtf16(claim.user)
            ));
            return Err(PeerMisbehaved::LogonFailure(LogonFault::OddName).into());
        };
        let answer = ask(timeout(env), env.host, move |connection| connection.authenticate(&logon))?;
        match answer {
            Ok(account) => verdict(account, claim, &env.policy),
            Err(failure) => Err(self.logon_error(failure, claim, env.host)),
        }
    }
}

impl Responder for Winbind {
    fn find(&self, asked: &UserName, env: &Env<'_>) -> Result<Option<UserName>> {
        let mut name = asked.clone();
        if let Ok(names) = self.membership(env)
            && (name.domain.is_empty() || same_name(&name.domain, &names.dns_domain))
        {
            // winbindd keeps cached logons under the NetBIOS name of the domain.
            name.domain.clone_from(&names.domain);
        }
        let Some((user, domain)) = winbind_name(&name.user).zip(winbind_name(&name.domain)) else {
            return Ok(None);
        };
        let answer = ask(local_timeout(env), env.host, move |connection| connection.has_cached_logon(&user, &domain))?;
        Ok(answer.then_some(name))
    }

    fn respond(&self, account: &UserName, received: &ReceivedChallenge<'_>, env: &Env<'_>) -> Result<Response> {
        let gone =
            || Error::Credential(CredentialError::NoCachedLogon { name: Name::User(account.clone()).to_string() });
        let (user, domain) = winbind_name(&account.user).zip(winbind_name(&account.domain)).ok_or_else(gone)?;
        let (negotiate, challenge) = (bytes::concat(&[received.negotiate])?, bytes::concat(&[received.challenge])?);
        let answer =
            ask(timeout(env), env.host, move |connection| connection.respond(&user, &domain, &negotiate, &challenge))?;
        match answer {
            Ok((authenticate, key)) => Ok(Response { authenticate, key: ExportedSessionKey::new(**key) }),
            Err(Failure::OddReply(what)) => Err(DomainError::OddReply(what).into()),
            Err(Failure::Unavailable) => Err(DomainError::Unavailable.into()),
            // winbindd does not say why it failed.
            Err(Failure::NotPermitted | Failure::Refused { .. } | Failure::Other(_)) => Err(gone()),
        }
    }
}

impl DomainService for Winbind {
    fn reach(&self, env: &Env<'_>) -> Result<()> {
        /// Each wait for a winbindd that hangs costs a timeout, so they are rare. One that is not there costs nothing.
        static HANGS: Backoff = Backoff::new();
        library::get(env.host).ok_or(CredentialError::NoUserFile)?;
        if HANGS.is_active(RETRY_AFTER) {
            return Err(CredentialError::NoDomain.into());
        }
        let is_there = ask(local_timeout(env), env.host, |connection| connection.ping());
        if is_there == Err(DomainError::TimedOut.into()) {
            HANGS.record_failure();
        }
        if is_there == Ok(true) { Ok(()) } else { Err(CredentialError::NoDomain.into()) }
    }

    fn membership(&self, env: &Env<'_>) -> Result<&Membership> {
        static MEMBERSHIP: RetryingCell<Membership> = RetryingCell::new();
        /// Whether winbindd's last answer was that this computer is in no domain.
        static IS_IN_NONE: AtomicBool = AtomicBool::new(false);
        library::get(env.host).ok_or(CredentialError::NoUserFile)?;
        let ask = || {
            let answer = ask_for_membership(env);
            IS_IN_NONE.store(matches!(answer, Some(None)), Ordering::Relaxed);
            answer.flatten()
        };
        MEMBERSHIP.get(RETRY_AFTER, ask).ok_or_else(|| {
            let is_in_none = IS_IN_NONE.load(Ordering::Relaxed);
            Error::Credential(if is_in_none { CredentialError::NoUserFile } else { CredentialError::NoDomain })
        })
    }

    fn dns_tree(&self, env: &Env<'_>) -> Option<&str> {
        static TREE: RetryingCell<String> = RetryingCell::new();
        TREE.get(RETRY_FOREST_AFTER, || ask_for_dns_tree(&self.membership(env).ok()?.dns_domain, env))
            .map(String::as_str)
    }
}

impl Winbind {
    /// The error of a logon that failed. The trace gets all that winbindd says.
    fn logon_error(&self, failure: Failure, claim: &Claim<'_>, host: &dyn Host) -> Error {
        let why = match &failure {
            Failure::Refused { status, name } => format!("{} ({status:#010X})", Escaped(name)),
            Failure::Unavailable => "winbindd does not answer".to_owned(),
            Failure::NotPermitted => "winbindd does not let this program ask".to_owned(),
            Failure::OddReply(what) => format!("the answer of winbindd is invalid, {what}"),
            Failure::Other(code) => format!("libwbclient's error {code}"),
        };
        host.trace(format_args!(
            "refused {}\\{} by winbind: {why}",
            DisplayUtf16(claim.domain),
            DisplayUtf16(claim.user)
        ));
        match failure {
            Failure::Refused { status, name } => match fault(status) {
                Some(fault) => PeerMisbehaved::LogonFailure(fault).into(),
                None => DomainError::Refused { status, name }.into(),
            },
            Failure::Unavailable => DomainError::Unavailable.into(),
            Failure::NotPermitted => DomainError::NotPermitted.into(),
            Failure::OddReply(what) => DomainError::OddReply(what).into(),
            Failure::Other(_) => DomainError::OddReply("it is an error that has no NTSTATUS").into(),
        }
    }
}

/// What the NTSTATUS values mean that only the log tells apart, so that a client does not learn which accounts there are
/// ([MS-ERREF] 2.3.1): NO_SUCH_USER, WRONG_PASSWORD and LOGON_FAILURE.
const fn fault(status: u32) -> Option<LogonFault> {
    match status {
        0xC000_0064 => Some(LogonFault::UnknownUser),
        0xC000_006A => Some(LogonFault::BadPassword),
        0xC000_006D => Some(LogonFault::NotTold),
        _ => None,
    }
}

/// The claim as libwbclient takes it; `None` if no account can have such a name, or libwbclient cannot express it.
fn logon(claim: &Claim<'_>) -> Option<Logon> {
    let name = |utf16| from_utf16le(utf16).and_then(|text| winbind_name(&text));
    let (challenge, nt_response, lm_response) = match claim.proof {
        // Without the LMv2 response, which a domain controller would try if the NTLMv2 response were wrong.
        Proof::NtlmV2 { server_challenge, nt_proof_str, temp } => {
            // Without memory the logon is refused.
            (*server_challenge, bytes::concat(&[nt_proof_str, temp]).ok()?, Vec::new())
        }
        Proof::NtlmV1 { challenge, response } => (*challenge, response.to_vec(), Vec::new()),
        Proof::Lm { challenge, response } => (*challenge, Vec::new(), response.to_vec()),
    };
    let user = name(claim.user).filter(|user| !user.is_empty())?;
    let workstation = from_utf16le(claim.workstation).and_then(|text| winbind_text(&text))?;
    Some(Logon { user, domain: name(claim.domain)?, workstation, challenge, nt_response, lm_response })
}

/// The name of an account or a domain. Characters that no account name may have are refused: they have a meaning in a search, or
/// in winbindd's spelling of names.
fn winbind_name(text: &str) -> Option<CString> {
    winbind_text(text).filter(|_| !text.contains(['*', '?', '"', '<', '>', '|', '/', '\\', ':']))
}

/// A text for libwbclient. It would cut a longer one, because winbindd's strings have a fixed size.
fn winbind_text(text: &str) -> Option<CString> {
    const LONGEST: usize = 254;
    let is_plain = text.len() <= LONGEST && !text.chars().any(char::is_control);
    if is_plain { CString::new(text).ok() } else { None }
}

/// The verdict of a logon that succeeded.
fn verdict(account: Account, claim: &Claim<'_>, policy: &Policy) -> Result<VerifiedClaim> {
    // A guest is like an anonymous client: everybody can make the key of its messages.
    if account.is_guest && (!policy.anonymous || policy.minimum.intersects(Minimum::SIGN | Minimum::SEAL)) {
        return Err(PolicyError::Guest.into());
    }
    let odd = |what| Error::Domain(DomainError::OddReply(what));
    let name = UserName { user: account.user, domain: account.domain };
    let is_name = |name: &str| !name.is_empty() && winbind_name(name).is_some();
    if name.ensure_valid().is_err() || !is_name(&name.user) || !is_name(&name.domain) {
        return Err(odd("it does not name the account"));
    }
    // The first SID is the account's own.
    let Some(primary_group) = account.sids.get(1) else {
        return Err(odd("it has no SID of the account"));
    };
    // A domain controller that has no LM hash sends zeros.
    let lm_hash = Some(LmHash::new(**account.lm_hash)).filter(|hash| hash.expose() != &[0; 16]);
    let session_base_key = match (claim.proof, &lm_hash) {
        (Proof::Lm { .. }, Some(hash)) => SessionBaseKey::new(*kxkey_non_nt(hash).expose()),
        (Proof::Lm { .. }, None) => return Err(PeerIncompatible::NoLmHash.into()),
        (Proof::NtlmV2 { .. } | Proof::NtlmV1 { .. }, _) => SessionBaseKey::new(**account.session_key),
    };
    if session_base_key.expose() == &[0; 16] && !account.is_guest {
        return Err(odd("it has no session key"));
    }
    let mut attributes = vec![
        (Attribute::PrimaryGroup, Cow::Owned(primary_group.clone())),
        (Attribute::Sids, Cow::Owned(account.sids.join(","))),
        (Attribute::FullName, Cow::Owned(account.full_name)),
        (Attribute::UserPrincipalName, Cow::Owned(account.user_principal_name)),
        (Attribute::DnsDomain, Cow::Owned(account.dns_domain)),
        (Attribute::LogonServer, Cow::Owned(account.logon_server)),
    ];
    if account.is_guest {
        attributes.push((Attribute::Guest, Cow::Borrowed("yes")));
    }
    Ok(VerifiedClaim { account: name, session_base_key, lm_hash, attributes })
}

fn timeout(env: &Env<'_>) -> Duration {
    Duration::from_secs(env.policy.winbind_timeout.into())
}

fn local_timeout(env: &Env<'_>) -> Duration {
    timeout(env).min(LOCAL_TIMEOUT)
}

/// Asks winbindd what it calls this computer and its domain: `None` without an answer, `Some(None)` for a computer in no domain.
fn ask_for_membership(env: &Env<'_>) -> Option<Option<Membership>> {
    let answer = ask(local_timeout(env), env.host, |connection| connection.names()).ok().flatten();
    let is_name = |name: &str| !name.is_empty() && winbind_name(name).is_some();
    let answer = match answer {
        Some(Some(names)) if is_name(&names.computer) && is_name(&names.domain) => {
            // Windows sends lower case. Samba 4.22 says the realm, in upper case.
            let dns_domain = Some(names.dns_domain.to_ascii_lowercase()).filter(|domain| is_name(domain));
            Some(Some(Membership { dns_domain: dns_domain.unwrap_or_default(), ..names }))
        }
        Some(None) => Some(None),
        Some(Some(_)) | None => None,
    };
    match &answer {
        None => env.host.trace(format_args!("winbind: winbindd does not answer")),
        Some(None) => env.host.trace(format_args!("winbind: this computer is in no domain")),
        Some(Some(Membership { computer, domain, dns_domain })) => env.host.trace(format_args!(
            "winbind: this computer is {} of the domain {} ({})",
            Escaped(computer),
            Escaped(domain),
            Escaped(dns_domain)
        )),
    }
    answer
}

/// Asks a domain controller, through winbindd, for the DNS name of the forest.
fn ask_for_dns_tree(dns_domain: &str, env: &Env<'_>) -> Option<String> {
    let domain = winbind_name(dns_domain).filter(|domain| !domain.is_empty())?;
    let tree = ask(local_timeout(env), env.host, move |connection| connection.tree(&domain)).ok().flatten();
    let tree = tree.filter(|tree| winbind_name(tree).is_some());
    env.host.trace(format_args!("winbind: the forest is {}", Escaped(tree.as_deref().unwrap_or("not known"))));
    tree
}

/// A value that is asked for until there is an answer. After a failure, a time passes before the next request.
struct RetryingCell<T> {
    value: OnceBox<T>,
    backoff: Backoff,
}

impl<T: Send + Sync> RetryingCell<T> {
    const fn new() -> Self {
        Self { value: OnceBox::new(), backoff: Backoff::new() }
    }

    /// The value. If there is none yet, `ask` asks for it, unless that failed less than `retry_after` ago. Threads do not wait for
    /// each other: two may ask at the same time.
    fn get(&self, retry_after: Duration, ask: impl FnOnce() -> Option<T>) -> Option<&T> {
        if let Some(answer) = self.value.get() {
            return Some(answer);
        }
        if self.backoff.is_active(retry_after) {
            return None;
        }
        let Some(answer) = ask() else {
            self.backoff.record_failure();
            return None;
        };
        Some(self.value.set(answer))
    }
}

/// The time of the last failure.
struct Backoff {
    start: OnceBox<Instant>,
    /// In seconds since `start`, plus one; 0 if there was no failure.
    failed_at: AtomicU64,
}

impl Backoff {
    const fn new() -> Self {
        Self { start: OnceBox::new(), failed_at: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.start.get_or_init(Instant::now).elapsed().as_secs().saturating_add(1)
    }

    fn record_failure(&self) {
        self.failed_at.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the last failure was less than `period` ago.
    fn is_active(&self, period: Duration) -> bool {
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        failed_at != 0 && self.now().saturating_sub(failed_at) < period.as_secs()
    }
}

/// Runs `question` with a new connection to winbindd, and waits for the answer for at most `timeout`.
fn ask<T: Send + 'static>(
    timeout: Duration, host: &dyn Host, question: impl FnOnce(&Connection) -> T + Send + 'static,
) -> Result<T> {
    let library = library::get(host).ok_or(CredentialError::NoUserFile)?;
    if ABANDONED.count(process::id()) >= MAX_ABANDONED {
        return Err(DomainError::TimedOut.into());
    }
    // The answer does not go through the channel: code for a channel and a thread of each type of answer would take 10 KB.
    let place = Arc::new(Mutex::new(None));
    let (sender, receiver) = mpsc::sync_channel(1);
    let call = Arc::new(Call::new());
    let (same_place, same_call) = (Arc::clone(&place), Arc::clone(&call));
    super::thread::start(Box::new(move || {
        let answer = Connection::new(library).map(|connection| question(&connection));
        same_call.end();
        // Free: the other thread looks at it only after the send.
        if let Ok(mut place) = same_place.try_lock() {
            *place = answer;
        }
        // The caller may have stopped waiting.
        let _ = sender.send(());
    }))?;
    match receiver.recv_timeout(timeout) {
        Ok(()) => {
            let answer = place.try_lock().ok().and_then(|mut place| place.take());
            answer.ok_or_else(|| HostError::Memory.into())
        }
        Err(mpsc::RecvTimeoutError::Timeout) => {
            call.abandon();
            Err(DomainError::TimedOut.into())
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::Internal),
    }
}

/// The abandoned calls that still run. Each has a thread and one of winbindd's connections.
static ABANDONED: AbandonedCalls = AbandonedCalls::new();
/// With so many abandoned calls, winbindd is not asked.
const MAX_ABANDONED: u64 = 32;

/// A number of calls, and the process that has them: a forked child has none of its parent's threads.
struct AbandonedCalls(AtomicU64);

impl AbandonedCalls {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn count(&self, process: u32) -> u64 {
        Self::count_of(self.0.load(Ordering::Relaxed), process)
    }

    fn count_of(bits: u64, process: u32) -> u64 {
        if bits >> 32 == u64::from(process) { bits & u64::from(u32::MAX) } else { 0 }
    }

    fn change(&self, process: u32, change: impl Fn(u64) -> u64) {
        let changed = |bits| Some(u64::from(process) << 32 | change(Self::count_of(bits, process)));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }

    fn add(&self, process: u32) {
        self.change(process, |count| count.saturating_add(1));
    }

    fn remove(&self, process: u32) {
        self.change(process, |count| count.saturating_sub(1));
    }
}

/// The state of a call of libwbclient. It ends, or its caller stops waiting first.
struct Call(AtomicU8);

impl Call {
    const ABANDONED: u8 = 1;
    const ENDED: u8 = 2;

    const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    fn abandon(&self) {
        ABANDONED.add(process::id());
        if self.0.swap(Self::ABANDONED, Ordering::Relaxed) == Self::ENDED {
            ABANDONED.remove(process::id());
        }
    }

    fn end(&self) {
        if self.0.swap(Self::ENDED, Ordering::Relaxed) == Self::ABANDONED {
            ABANDONED.remove(process::id());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{host::tests::Silent, text::to_utf16le};

    use super::*;

    const CHALLENGE: &[u8; 8] = &[1; 8];

    fn key(bytes: [u8; 16]) -> library::Key {
        Box::new(bytes.into())
    }

    fn account() -> Account {
        Account {
            user: "Alice".to_owned(),
            domain: "AD".to_owned(),
            sids: vec!["S-1-5-21-1-2-3-1000".to_owned(), "S-1-5-21-1-2-3-513".to_owned()],
            session_key: key([7; 16]),
            ..Account::default()
        }
    }

    fn claim<'a>(user: &'a [u8], proof: Proof<'a>) -> Claim<'a> {
        Claim { user, domain: &[], workstation: &[], proof }
    }

    fn v2() -> Proof<'static> {
        Proof::NtlmV2 { server_challenge: CHALLENGE, nt_proof_str: &[2; 16], temp: b"temp" }
    }

    fn judged(account: Account, proof: Proof<'_>, policy: &Policy) -> Result<VerifiedClaim> {
        verdict(account, &claim(b"", proof), policy)
    }

    #[test]
    fn a_failed_request_is_repeated_later() {
        let cell = RetryingCell::<u32>::new();
        let no_more = || panic!("the value is known, or the request failed just now");
        assert_eq!(cell.get(Duration::from_secs(60), || None), None);
        assert_eq!(cell.get(Duration::from_secs(60), no_more), None);
        assert_eq!(cell.get(Duration::ZERO, || Some(1)), Some(&1));
        assert_eq!(cell.get(Duration::ZERO, no_more), Some(&1));
    }

    #[test]
    fn abandoned_calls_are_counted_until_they_end() {
        let count = || ABANDONED.count(process::id());
        let (first, second) = (Call::new(), Call::new());
        first.abandon();
        assert_eq!(count(), 1);
        second.end();
        second.abandon();
        assert_eq!(count(), 1, "the second had ended");
        first.end();
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_forked_child_has_no_abandoned_calls() {
        let (calls, parent, child) = (AbandonedCalls::new(), 1, u32::MAX);
        (0..3).for_each(|_| calls.add(parent));
        assert_eq!([calls.count(parent), calls.count(child)], [3, 0]);
        calls.remove(parent);
        assert_eq!(calls.count(parent), 2);
        calls.add(child);
        assert_eq!(calls.count(child), 1);
    }

    #[test]
    fn a_claim_that_libwbclient_would_change_is_not_sent() {
        let sent = |user: &str, proof| logon(&claim(&to_utf16le(user), proof));
        let of_v2 = sent("alice@ad.example", v2()).unwrap();
        assert_eq!((&*of_v2.nt_response, &*of_v2.lm_response), (&[&[2; 16][..], b"temp"].concat()[..], &[][..]));
        assert_eq!((of_v2.user.as_bytes(), of_v2.challenge), (&b"alice@ad.example"[..], *CHALLENGE));
        let of_lm = sent("alice", Proof::Lm { challenge: CHALLENGE, response: &[3; 24] }).unwrap();
        assert_eq!((&*of_lm.nt_response, &*of_lm.lm_response), (&[][..], &[3; 24][..]));
        for impossible in
            ["", "al*ce", "a?", "a\0b", "AD\\alice", "a/b", "a\nb", &"a".repeat(255), &"\u{e4}".repeat(128)]
        {
            assert!(sent(impossible, v2()).is_none(), "{impossible:?}");
        }
        assert!(sent(&"a".repeat(254), v2()).is_some());
        let lone_surrogate = claim(&[0, 0xd8], v2());
        assert!(logon(&lone_surrogate).is_none());
        let (alice, star, long) = (to_utf16le("alice"), to_utf16le("*"), to_utf16le(&"w".repeat(255)));
        assert!(logon(&Claim { domain: &star, ..claim(&alice, v2()) }).is_none());
        assert!(logon(&Claim { workstation: &long, ..claim(&alice, v2()) }).is_none());
        assert!(logon(&Claim { workstation: &to_utf16le("\\\\WS"), ..claim(&alice, v2()) }).is_some());
    }

    #[test]
    fn an_account_has_the_name_that_the_domain_gives() {
        let verdict = judged(account(), v2(), &Policy::default()).unwrap();
        assert_eq!(Name::User(verdict.account).to_string(), "AD\\Alice");
        assert_eq!(verdict.session_base_key.expose(), &[7; 16]);
        let get =
            |wanted| verdict.attributes.iter().find(|(attribute, _)| *attribute == wanted).map(|(_, value)| &**value);
        assert_eq!(get(Attribute::Sids), Some("S-1-5-21-1-2-3-1000,S-1-5-21-1-2-3-513"));
        assert_eq!(get(Attribute::PrimaryGroup), Some("S-1-5-21-1-2-3-513"));
        assert_eq!(get(Attribute::Guest), None);
    }

    #[test]
    fn an_incomplete_answer_is_an_error() {
        for spoilt in [
            Account { user: String::new(), ..account() },
            Account { domain: String::new(), ..account() },
            Account { domain: "AD\\x".to_owned(), ..account() },
            Account { user: "a*".to_owned(), ..account() },
            Account { user: "a\nb".to_owned(), ..account() },
            Account { domain: "a".repeat(255), ..account() },
            Account { sids: account().sids[..1].to_vec(), ..account() },
            Account { sids: Vec::new(), ..account() },
            Account { session_key: key([0; 16]), ..account() },
        ] {
            let refused = judged(spoilt, v2(), &Policy::default());
            assert!(matches!(refused, Err(Error::Domain(DomainError::OddReply(_)))), "{refused:?}");
        }
    }

    #[test]
    fn a_guest_is_treated_like_an_anonymous_client() {
        let guest = || Account { is_guest: true, ..account() };
        assert_eq!(judged(guest(), v2(), &Policy::default()).err(), Some(PolicyError::Guest.into()));
        let verdict = judged(guest(), v2(), &Policy { anonymous: true, ..Policy::default() }).unwrap();
        let minimum = Policy { anonymous: true, minimum: Minimum::SIGN, ..Policy::default() };
        assert_eq!(judged(guest(), v2(), &minimum).err(), Some(PolicyError::Guest.into()));
        assert!(verdict.attributes.contains(&(Attribute::Guest, "yes".into())));
    }

    #[test]
    fn an_lm_key_needs_an_lm_hash() {
        let proof = || Proof::Lm { challenge: CHALLENGE, response: &[3; 24] };
        assert_eq!(judged(account(), proof(), &Policy::default()).err(), Some(PeerIncompatible::NoLmHash.into()));
        let mut lm_hash = [0; 16];
        lm_hash[..8].fill(9);
        let with_hash = Account { lm_hash: key(lm_hash), ..account() };
        let verdict = judged(with_hash, proof(), &Policy::default()).unwrap();
        assert_eq!(verdict.session_base_key.expose(), &lm_hash);
    }

    #[test]
    fn only_the_log_and_the_trace_tell_an_unknown_user_from_a_wrong_password() {
        let why = |failure| Winbind.logon_error(failure, &claim(b"", v2()), &Silent::default());
        let refused = |status| why(Failure::Refused { status, name: String::new() });
        let [unknown, bad, not_told] = [0xC000_0064, 0xC000_006A, 0xC000_006D].map(refused);
        assert_eq!(unknown, PeerMisbehaved::LogonFailure(LogonFault::UnknownUser).into());
        assert_eq!(bad, PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into());
        assert_eq!(not_told, PeerMisbehaved::LogonFailure(LogonFault::NotTold).into());
        assert!(bad.to_string() == unknown.to_string() && bad.to_string() == not_told.to_string());
        let sentence = refused(0xC000_0072).to_string();
        assert!(sentence.contains("0xC0000072") && sentence.contains("enable the account"), "{sentence}");
        assert_eq!(why(Failure::Unavailable), DomainError::Unavailable.into());
        assert_eq!(why(Failure::NotPermitted), DomainError::NotPermitted.into());
        assert!(matches!(why(Failure::Other(3)), Error::Domain(DomainError::OddReply(_))));
    }
}
