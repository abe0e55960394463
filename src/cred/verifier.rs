//! Who judges an AUTHENTICATE_MESSAGE.

use std::path::PathBuf;

use crate::{
    crypto::{
        LmHash, NtHash, SessionBaseKey,
        keys::kxkey_non_nt,
        ntowf::ntowf_v2,
        primitive::equal,
        response::{NTLM_V1_LEN, lm_v1, ntlm_v1, ntlm_v2},
    },
    error::{PeerMisbehaved, Result},
    host::Host,
    name::UserName,
    policy::Policy,
    text::{Shown, from_utf16le},
};

use super::{Secret, UserFile};

/// What a client claims, and how it proves it.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// UserName in UTF-16LE, spelled as on the wire.
    pub user: &'a [u8],
    /// DomainName in UTF-16LE, spelled as on the wire.
    pub domain: &'a [u8],
    /// The proof.
    pub proof: Proof<'a>,
}

/// The response that a claim rests on.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// NTLMv2_RESPONSE.
    NtlmV2 {
        /// The challenge of this acceptor.
        server_challenge: &'a [u8; 8],
        /// NTProofStr as sent.
        nt_proof_str: &'a [u8; 16],
        /// What it was made over.
        temp: &'a [u8],
    },
    /// NTLM_RESPONSE.
    NtlmV1 {
        /// What is answered: the challenge of this acceptor, or that and the client's in one.
        challenge: &'a [u8; 8],
        /// The response as sent.
        response: &'a [u8; NTLM_V1_LEN],
    },
    /// LM_RESPONSE, and no other.
    Lm {
        /// The challenge of this acceptor.
        challenge: &'a [u8; 8],
        /// The response as sent.
        response: &'a [u8; NTLM_V1_LEN],
    },
}

/// That a claim is true. Only a verifier makes one.
#[derive(Debug)]
pub struct Verdict {
    account: UserName,
    session_base_key: SessionBaseKey,
    lm_hash: Option<LmHash>,
}

impl Verdict {
    /// The account, as the verifier spells it; the SessionBaseKey; and what KXKEY with an LM key needs of LMOWFv1, its first
    /// eight bytes, if the account has them.
    #[must_use]
    pub fn into_parts(self) -> (UserName, SessionBaseKey, Option<LmHash>) {
        (self.account, self.session_base_key, self.lm_hash)
    }
}

/// Judges claims.
pub trait Verifier: Send + Sync {
    /// The verdict that `claim` is true.
    ///
    /// # Errors
    /// [`PeerMisbehaved::LogonFailure`] when it is not, whatever the reason: the trace tells unknown users from wrong
    /// passwords, the peer is not told. Others when the verifier cannot work.
    fn judge(&self, claim: &Claim<'_>, policy: &Policy, host: &dyn Host) -> Result<Verdict>;
}

/// Judges by the secrets in a user file, which is read again when it has changed.
#[derive(Debug)]
pub struct FileVerifier {
    path: PathBuf,
}

impl FileVerifier {
    /// A verifier that reads the user file at `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The user file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Verifier for FileVerifier {
    fn judge(&self, claim: &Claim<'_>, policy: &Policy, host: &dyn Host) -> Result<Verdict> {
        let file = UserFile::load(&self.path, policy, host)?;
        // A domain that is no text is not that of any entry, but one without a domain serves it.
        let domain = Shown(claim.domain).to_string();
        let account = from_utf16le(claim.user).and_then(|user| file.entry(&user, &domain));
        // An unknown account takes as long to refuse as a wrong password.
        let nobody = Secret { nt_hash: NtHash::new([0; 16]), lm_hash: None };
        let secret = account.map_or(&nobody, |account| &account.secret);
        match (account, prove(claim, secret)) {
            (Some(account), Some(session_base_key)) if !account.is_disabled => {
                let lm_hash = secret.copy().lm_hash;
                Ok(Verdict { account: account.name.clone(), session_base_key, lm_hash })
            }
            (account, _) => {
                let why = match account {
                    None => "no such account in the user file",
                    Some(account) if account.is_disabled => "the account is disabled",
                    Some(_) => "wrong password",
                };
                host.trace(format_args!("refused {}\\{}: {why}", Shown(claim.domain), Shown(claim.user)));
                Err(PeerMisbehaved::LogonFailure.into())
            }
        }
    }
}

/// The SessionBaseKey, if the proof was made with `secret`.
fn prove(claim: &Claim<'_>, secret: &Secret) -> Option<SessionBaseKey> {
    match claim.proof {
        // With the names as the client spells them, or with an empty domain ([MS-NLMP] 3.2.5.1.2).
        Proof::NtlmV2 { server_challenge, nt_proof_str, temp } => {
            let domains = [claim.domain, &[]].into_iter().take(if claim.domain.is_empty() { 1 } else { 2 });
            domains.map(|domain| ntowf_v2(&secret.nt_hash, claim.user, domain)).find_map(|key| {
                let (expected, session_base_key) = ntlm_v2(&key, server_challenge, temp);
                expected.matches(nt_proof_str).then_some(session_base_key)
            })
        }
        Proof::NtlmV1 { challenge, response } => {
            let (expected, session_base_key) = ntlm_v1(&secret.nt_hash, challenge);
            equal(&expected, response).then_some(session_base_key)
        }
        Proof::Lm { challenge, response } => {
            // That there is no hash takes as long to find out as that it is another.
            let nothing = LmHash::new([0; 16]);
            let hash = secret.lm_hash.as_ref().unwrap_or(&nothing);
            let is_right = equal(&lm_v1(hash, challenge), response) && secret.lm_hash.is_some();
            is_right.then(|| SessionBaseKey::new(*kxkey_non_nt(hash).expose()))
        }
    }
}
