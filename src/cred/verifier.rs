//! How an acceptor verifies an AUTHENTICATE_MESSAGE.

use core::{fmt, iter};
use std::{borrow::Cow, path::PathBuf};

use crate::{
    crypto::{
        LmHash, NtHash, SessionBaseKey,
        keys::kxkey_non_nt,
        ntowf::ntowf_v2,
        primitive::equal,
        response::{NTLM_V1_LEN, lm_v1, ntlm_v1, ntlm_v2},
    },
    error::{LogonFault, PeerMisbehaved, Result},
    host::Host,
    name::{Attribute, Attributes, Name, UserName},
    text::{DisplayUtf16, from_utf16le_lossy, upper_utf16le},
};

use super::{Env, Secret, UserFile, user_file::Entry};

/// The name that a client claims, and its proof.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// UserName in UTF-16LE, in the spelling of the wire.
    pub user: &'a [u8],
    /// DomainName in UTF-16LE, in the spelling of the wire.
    pub domain: &'a [u8],
    /// Workstation in UTF-16LE: the domain may restrict an account to some computers.
    pub workstation: &'a [u8],
    /// The proof.
    pub proof: Proof<'a>,
}

/// The response that proves a claim.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// NTLMv2_RESPONSE.
    NtlmV2 {
        /// The challenge of this acceptor.
        server_challenge: &'a [u8; 8],
        /// NTProofStr as sent.
        nt_proof_str: &'a [u8; 16],
        /// The bytes after it, over which it was made.
        temp: &'a [u8],
    },
    /// NTLM_RESPONSE.
    NtlmV1 {
        /// The challenge: that of this acceptor, or the hash of that and the client's.
        challenge: &'a [u8; 8],
        /// The response as sent.
        response: &'a [u8; NTLM_V1_LEN],
    },
    /// LM_RESPONSE alone.
    Lm {
        /// The challenge of this acceptor.
        challenge: &'a [u8; 8],
        /// The response as sent.
        response: &'a [u8; NTLM_V1_LEN],
    },
}

/// A claim that a verifier found true.
#[derive(Debug)]
pub struct VerifiedClaim {
    /// The account, in the verifier's spelling.
    pub account: UserName,
    /// SessionBaseKey.
    pub session_base_key: SessionBaseKey,
    /// LMOWFv1, of which KXKEY with an LM key uses the first eight bytes; `None` if the account has none.
    pub lm_hash: Option<LmHash>,
    /// The account's other attributes.
    pub attributes: Attributes,
}

/// Verifies claims.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// Verifies `claim`.
    ///
    /// # Errors
    /// [`PeerMisbehaved::LogonFailure`] if its name or its proof is wrong: only the system's log and the trace tell unknown users
    /// from wrong passwords, the peer must not know. Other errors if the account may not log on, or the verifier does not work.
    fn verify(&self, claim: &Claim<'_>, env: &Env<'_>) -> Result<VerifiedClaim>;
}

/// The accounts that an acceptor knows: those of a user file, which is read again when it has changed, and those of the
/// domain that are not in the file.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// The path of the user file.
    pub user_file: Option<PathBuf>,
    /// Whether the domain of this computer is asked.
    pub asks_domain: bool,
}

impl Verifier for Accounts {
    fn verify(&self, claim: &Claim<'_>, env: &Env<'_>) -> Result<VerifiedClaim> {
        let file = self.user_file.as_ref().map(|path| UserFile::load(path, env)).transpose()?;
        self.verify_in(file.as_deref(), claim, env)
    }
}

impl Accounts {
    /// Verifies `claim`, where the user file has these accounts. For a refusal it makes no difference to the work whether there
    /// is such an account, whether it is enabled, and whether the name is text.
    fn verify_in(&self, file: Option<&UserFile>, claim: &Claim<'_>, env: &Env<'_>) -> Result<VerifiedClaim> {
        // No entry has a domain that is not UTF-16, but an entry without a domain serves every domain.
        let domain = from_utf16le_lossy(claim.domain).0;
        // A name that is not text is searched for like any other.
        let (user, is_text) = from_utf16le_lossy(claim.user);
        let entry = file.and_then(|file| file.entry(&user, &domain)).filter(|_| is_text);
        match (entry, env.domain.filter(|_| self.asks_domain)) {
            // Accounts of the file are never passed to the domain, even if the password is wrong. A domain that does not answer
            // must not matter either: its error would tell which accounts are not in the file.
            (None, Some(domain)) if file.is_none() || domain.membership(env).is_ok() => {
                let verified = domain.verify(claim, env)?;
                file.map_or(Ok(()), |file| ensure_not_of_file(file, &verified, env.host))?;
                Ok(verified)
            }
            (entry, _) => verify_against(entry, claim, env.host),
        }
    }
}

/// Ensures that an account that the domain verified is not in the file: the client may have used another name of it.
fn ensure_not_of_file(file: &UserFile, verified: &VerifiedClaim, host: &dyn Host) -> Result<()> {
    let UserName { user, domain } = &verified.account;
    let value_of =
        |wanted| verified.attributes.iter().find(|(attribute, _)| *attribute == wanted).map_or("", |(_, v)| v);
    let (dns_domain, principal_name) = (value_of(Attribute::DnsDomain), value_of(Attribute::UserPrincipalName));
    // A name without a domain would match an entry of any domain.
    let is_of_file = file.entry(user, domain).is_some()
        || !dns_domain.is_empty() && file.entry(user, dns_domain).is_some()
        || !principal_name.is_empty() && file.entry(principal_name, "").is_some();
    if !is_of_file {
        return Ok(());
    }
    host.trace(format_args!(
        "refused {}: the user file has this account under another name, and the domain must not verify it",
        Name::User(verified.account.clone())
    ));
    Err(PeerMisbehaved::LogonFailure(LogonFault::OtherName).into())
}

/// Verifies a claim against the entry of a user file.
fn verify_against(entry: Option<&Entry>, claim: &Claim<'_>, host: &dyn Host) -> Result<VerifiedClaim> {
    // Refusing an unknown account takes as long as refusing a wrong password.
    let of_no_account = Secret { nt_hash: NtHash::new([0; 16]), lm_hash: None };
    let secret = entry.map_or(&of_no_account, |entry| &entry.secret);
    let is_enabled = entry.is_some_and(|entry| !entry.is_disabled);
    match (entry, verify_proof(claim, secret, is_enabled)) {
        (Some(entry), Some(session_base_key)) if is_enabled => Ok(VerifiedClaim {
            account: entry.name.clone(),
            session_base_key,
            lm_hash: secret.copy().lm_hash,
            attributes: Attributes::new(),
        }),
        (entry, _) => {
            let (fault, why) = match entry {
                None => (LogonFault::UnknownUser, "no such account in the user file"),
                Some(entry) if entry.is_disabled => (LogonFault::DisabledUser, "the account is disabled"),
                Some(_) => (LogonFault::BadPassword, "wrong password"),
            };
            host.trace(format_args!("refused {}\\{}: {why}", DisplayUtf16(claim.domain), DisplayUtf16(claim.user)));
            Err(PeerMisbehaved::LogonFailure(fault).into())
        }
    }
}

/// The SessionBaseKey if the proof was made with `secret`. Where that is no logon, because the account `is_enabled` not, it takes
/// as long as a wrong proof.
fn verify_proof(claim: &Claim<'_>, secret: &Secret, is_enabled: bool) -> Option<SessionBaseKey> {
    match claim.proof {
        // With the domain in the client's spelling, in upper case, and without a domain ([MS-NLMP] 3.2.5.1.2).
        Proof::NtlmV2 { server_challenge, nt_proof_str, temp } => {
            let as_sent = iter::once(Cow::Borrowed(claim.domain));
            let in_upper_case = iter::once_with(|| Cow::Owned(upper_utf16le(claim.domain)));
            let in_upper_case = in_upper_case.filter(|upper| **upper != *claim.domain);
            let without = Some(Cow::default()).filter(|_| !claim.domain.is_empty());
            let mut right = as_sent.chain(in_upper_case).chain(without).filter_map(|domain| {
                let key = ntowf_v2(&secret.nt_hash, claim.user, &domain);
                let (expected, session_base_key) = ntlm_v2(&key, server_challenge, temp);
                expected.matches(nt_proof_str).then_some(session_base_key)
            });
            if is_enabled { right.next() } else { right.reduce(|first, _| first) }
        }
        Proof::NtlmV1 { challenge, response } => {
            let (expected, session_base_key) = ntlm_v1(&secret.nt_hash, challenge);
            equal(&expected, response).then_some(session_base_key)
        }
        Proof::Lm { challenge, response } => {
            // A missing hash takes as long as a wrong one.
            let missing = LmHash::new([0; 16]);
            let hash = secret.lm_hash.as_ref().unwrap_or(&missing);
            let is_right = equal(&lm_v1(hash, challenge), response) && secret.lm_hash.is_some();
            is_right.then(|| SessionBaseKey::new(*kxkey_non_nt(hash).expose()))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        cred::{DomainService, responder::tests::TestDomain},
        crypto::{
            ntowf::{lm_hash, nt_hash},
            work,
        },
        error::Error,
        host::tests::Silent,
        policy::Policy,
        text::to_utf16le,
    };

    use super::*;

    #[test]
    fn only_the_right_proof_of_an_enabled_account_is_verified() {
        let secret = |password: &[u8]| Secret { nt_hash: nt_hash(password).unwrap(), lm_hash: lm_hash(password) };
        let entry = |secret, is_disabled| Entry {
            name: UserName { user: "alice".to_owned(), domain: "DOM".to_owned() },
            secret,
            is_disabled,
            is_hash: false,
        };
        let (user, domain, challenge) = (to_utf16le("Alice"), to_utf16le("dom"), [7; 8]);
        let outcome = |entry: Option<&Entry>, proof| {
            let host = Silent::default();
            let claim = Claim { user: &user, domain: &domain, workstation: &[], proof };
            let verified = verify_against(entry, &claim, &host).map(|verified| verified.account.user);
            (verified, host.traced.try_lock().unwrap().concat())
        };
        let refused =
            |fault, why: &str| (Err(PeerMisbehaved::LogonFailure(fault).into()), format!("refused dom\\Alice: {why}"));
        let bad_password = || refused(LogonFault::BadPassword, "wrong password");
        let right = secret(b"right");
        let by_v2 = ["dom", "DOM", "", "Dom"].map(|domain| {
            let key = ntowf_v2(&right.nt_hash, &user, &to_utf16le(domain));
            ntlm_v2(&key, &challenge, b"temp").0
        });
        let by_v1 = ntlm_v1(&right.nt_hash, &challenge).0;
        let by_lm = lm_v1(right.lm_hash.as_ref().unwrap(), &challenge);
        let by_no_lm = lm_v1(&LmHash::new([0; 16]), &challenge);
        let of_v2 = |at: usize| Proof::NtlmV2 {
            server_challenge: &challenge,
            nt_proof_str: by_v2[at].as_bytes(),
            temp: b"temp",
        };
        let of_v1 = Proof::NtlmV1 { challenge: &challenge, response: &by_v1 };
        let of_lm = Proof::Lm { challenge: &challenge, response: &by_lm };
        for proof in [of_v2(0), of_v2(1), of_v2(2), of_v1, of_lm] {
            let verified = (Ok("alice".to_owned()), String::new());
            assert_eq!(outcome(Some(&entry(right.copy(), false)), proof), verified);
            assert_eq!(outcome(Some(&entry(secret(b"wrong"), false)), proof), bad_password());
            assert_eq!(
                outcome(Some(&entry(right.copy(), true)), proof),
                refused(LogonFault::DisabledUser, "the account is disabled")
            );
            assert_eq!(outcome(None, proof), refused(LogonFault::UnknownUser, "no such account in the user file"));
            // The time must not tell that the password of a disabled account is right.
            let work = |secret| work::of(|| assert!(outcome(Some(&entry(secret, true)), proof).0.is_err()));
            assert_eq!(work(right.copy()), work(secret(b"wrong")));
        }
        let in_another_spelling = outcome(Some(&entry(right.copy(), false)), of_v2(3));
        assert_eq!(in_another_spelling, bad_password());
        for response in [&by_lm, &by_no_lm] {
            let proof = Proof::Lm { challenge: &challenge, response };
            let entry = entry(Secret { lm_hash: None, ..right.copy() }, false);
            assert_eq!(outcome(Some(&entry), proof), bad_password());
        }
    }

    /// A user file with so many accounts, in the middle of which are one that is enabled and one that is not.
    struct Many(std::sync::Arc<UserFile>);

    impl Many {
        fn new(accounts: usize) -> Self {
            // Two tests do this at the same time.
            let who = std::thread::current().id();
            let path = std::env::temp_dir().join(format!("gss-ntlm-many-{accounts}-{}-{who:?}", std::process::id()));
            let mut lines: Vec<_> = (2..accounts).map(|number| format!("DOM:user{number:04}:x{number}")).collect();
            let hash = "A".repeat(32);
            lines.insert(lines.len() / 2, format!("DOM\\disabled:1:{hash}:{hash}:[D]:LCT-0"));
            lines.insert(lines.len() / 2, "DOM:nameless:right".to_owned());
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            let file = UserFile::load(&path, &Env::without_domain(Policy::default(), &Silent::default()));
            std::fs::remove_file(&path).unwrap();
            Self(file.unwrap())
        }

        fn verify(&self, user: &[u8], domain: &str, proof: Proof<'_>) -> Result<VerifiedClaim> {
            let (accounts, host) = (Accounts { user_file: None, asks_domain: false }, Silent::default());
            let domain = to_utf16le(domain);
            let claim = Claim { user, domain: &domain, workstation: &[], proof };
            accounts.verify_in(Some(&self.0), &claim, &Env::without_domain(Policy::default(), &host))
        }
    }

    /// Names of one length, and what is odd about each; the empty and the long one are compared only with themselves.
    fn names() -> Vec<(&'static str, Vec<u8>)> {
        let mut not_text = to_utf16le("nobodyxx");
        not_text[7] = 0xd8;
        vec![
            ("a wrong password", to_utf16le("nameless")),
            ("a disabled account", to_utf16le("disabled")),
            ("an unknown account", to_utf16le("nobodyxx")),
            ("before all others", to_utf16le("AAAAAAAA")),
            ("after all others", to_utf16le("zzzzzzzz")),
            ("no text", not_text),
            ("a letter beyond ASCII in the same place", to_utf16le("nob\u{4e00}dyxx")),
            ("letters beyond OEM", to_utf16le("Жозефина")),
            ("OEM letters", crate::text::Charset::Oem.to_utf16le(b"J\xe9r\xf4me!!").into_owned()),
        ]
    }

    const WRONG: [Proof<'_>; 3] = [
        Proof::NtlmV2 { server_challenge: &[7; 8], nt_proof_str: &[0; 16], temp: &[1; 100] },
        Proof::NtlmV1 { challenge: &[7; 8], response: &[0; 24] },
        Proof::Lm { challenge: &[7; 8], response: &[0; 24] },
    ];

    #[test]
    fn every_refusal_takes_the_same_work() {
        for many in [10, 10_000].map(Many::new) {
            for (proof, domain) in
                WRONG.iter().flat_map(|proof| ["DOM", "dom", "OTHER", ""].map(|domain| (proof, domain)))
            {
                let work = |user: &[u8]| {
                    work::of(|| {
                        let refused = many.verify(user, domain, *proof).unwrap_err();
                        assert!(
                            matches!(refused, Error::PeerMisbehaved(PeerMisbehaved::LogonFailure(_))),
                            "{refused:?}"
                        );
                    })
                };
                let expected = work(&to_utf16le("nobodyxx"));
                assert!(expected.0 > 0 && expected.1 > 0);
                for (what, user) in names() {
                    assert_eq!(work(&user), expected, "{what}, in {domain:?}");
                }
                // The work for a name of another length is that for a name of this length.
                let (empty, long) = (work(&[]), work(&to_utf16le(&"x".repeat(30_000))));
                assert!(empty.1 == expected.1 && long.1 == expected.1 && empty.0 <= expected.0 && long.0 >= expected.0);
            }
        }
    }

    /// One refusal, for `scripts/check-equal-work`, which counts its instructions.
    #[test]
    fn one_refusal_for_callgrind() {
        #[expect(clippy::disallowed_methods, reason = "the script's choice")]
        let choice = std::env::var("GSSNTLM_REFUSAL").unwrap_or_else(|_| "10 DOM 0 0".to_owned());
        let [accounts, domain, proof, name] = choice.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let many = Many::new(accounts.parse().unwrap());
        let proof = WRONG[proof.parse::<usize>().unwrap()];
        let (_, user) = names().swap_remove(name.parse().unwrap());
        counted_refusal(&many, &user, domain, proof);
    }

    /// callgrind counts from here on.
    #[inline(never)]
    fn counted_refusal(many: &Many, user: &[u8], domain: &str, proof: Proof<'_>) {
        core::hint::black_box(many.verify(user, domain, proof)).unwrap_err();
    }

    #[test]
    fn the_domain_verifies_accounts_that_are_not_in_the_file() {
        let path = std::env::temp_dir().join(format!("gss-ntlm-accounts-{}", std::process::id()));
        std::fs::write(&path, format!("AD:alice:x\n:bob:x\nold:1:{0}:{0}:[D]:LCT-0\n", "A".repeat(32))).unwrap();
        let file = || Some(path.clone());
        let verify = |accounts: &Accounts, user: &str, domain: Option<&'static dyn DomainService>| {
            let host = Silent::default();
            let env = Env { domain, ..Env::without_domain(Policy::default(), &host) };
            let (user, domain) = (to_utf16le(user), to_utf16le("AD"));
            let proof = Proof::NtlmV2 { server_challenge: &[0; 8], nt_proof_str: &[0; 16], temp: &[] };
            let claim = Claim { user: &user, domain: &domain, workstation: &[], proof };
            accounts.verify(&claim, &env).map(|verified| verified.account.user)
        };
        let [unknown, bad, disabled, refused] =
            [LogonFault::UnknownUser, LogonFault::BadPassword, LogonFault::DisabledUser, LogonFault::OtherName]
                .map(|fault| Err(PeerMisbehaved::LogonFailure(fault).into()));
        let believed = Ok("somebody".to_owned());
        let domain = Some(TestDomain::default().domain());

        let both = Accounts { user_file: file(), asks_domain: true };
        for (user, by_both, by_file) in [
            ("alice", &bad, &bad),
            ("ALICE", &bad, &bad),
            ("bob", &bad, &bad),
            ("old", &disabled, &disabled),
            ("carol", &believed, &unknown),
        ] {
            assert_eq!(&verify(&both, user, domain), by_both, "{user}");
            assert_eq!(&verify(&both, user, None), by_file, "{user}");
        }
        for (line, by_both) in [
            ("AD:somebody:x\n", &refused),
            (":SOMEBODY:x\n", &refused),
            ("AD:other:x\n", &believed),
            ("ELSEWHERE:somebody:x\n", &believed),
        ] {
            std::fs::write(&path, line).unwrap();
            assert_eq!(&verify(&both, "by.another.name@ad.example", domain), by_both, "{line}");
        }
        let attributes = vec![
            (Attribute::DnsDomain, "ad.example".into()),
            (Attribute::UserPrincipalName, "some.body@else.example".into()),
        ];
        let talkative = Some(TestDomain { attributes, ..TestDomain::default() }.domain());
        for (line, by_both) in [
            ("ad.example:somebody:x\n", &refused),
            ("else.example:some.body:x\n", &refused),
            ("else.example:somebody:x\n", &believed),
        ] {
            std::fs::write(&path, line).unwrap();
            assert_eq!(&verify(&both, "by.another.name@ad.example", talkative), by_both, "{line}");
        }
        let silent = Some(TestDomain { membership: None, ..TestDomain::default() }.domain());
        assert_eq!(verify(&both, "carol", silent), unknown, "as if it were not there");
        assert_eq!(
            verify(&Accounts { user_file: None, asks_domain: true }, "alice", silent),
            believed,
            "the domain is the only source"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(verify(&both, "carol", domain), Err(Error::Credential(_))), "a missing file is an error");
    }
}
