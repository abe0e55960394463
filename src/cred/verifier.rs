//! Who judges an AUTHENTICATE_MESSAGE.

use std::path::PathBuf;

use crate::{
    crypto::{NtHash, NtProofStr, SessionBaseKey, ntowf::ntowf_v2, response::ntlm_v2},
    error::{PeerMisbehaved, Result},
    host::Host,
    name::Name,
    text::{Shown, from_utf16le},
};

use super::UserFile;

/// What a client claims, and how it proves it.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// UserName in UTF-16LE, as on the wire.
    pub user: &'a [u8],
    /// DomainName in UTF-16LE, as on the wire.
    pub domain: &'a [u8],
    /// The challenge of this acceptor.
    pub server_challenge: &'a [u8; 8],
    /// NTProofStr as sent.
    pub nt_proof_str: &'a [u8; 16],
    /// What it was made over.
    pub temp: &'a [u8],
}

/// That a claim is true. Only a verifier makes one.
#[derive(Debug)]
pub struct Verdict {
    account: Name,
    session_base_key: SessionBaseKey,
}

impl Verdict {
    /// The account, as the verifier spells it.
    #[must_use]
    pub fn into_parts(self) -> (Name, SessionBaseKey) {
        (self.account, self.session_base_key)
    }
}

/// Judges claims.
pub trait Verifier: Send + Sync {
    /// The verdict that `claim` is true.
    ///
    /// # Errors
    /// [`PeerMisbehaved::LogonFailure`] when it is not, whatever the reason: the trace tells unknown users from wrong
    /// passwords, the peer is not told. Others when the verifier cannot work.
    fn judge(&self, claim: &Claim<'_>, host: &dyn Host) -> Result<Verdict>;
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
    fn judge(&self, claim: &Claim<'_>, host: &dyn Host) -> Result<Verdict> {
        let file = UserFile::load(&self.path, host)?;
        let account = match (from_utf16le(claim.user), from_utf16le(claim.domain)) {
            (Some(user), Some(domain)) => file.account(&user, &domain),
            _ => None,
        };
        // An unknown account takes as long to refuse as a wrong password.
        let nobody = NtHash::new([0; 16]);
        let session_base_key = prove(claim, account.map_or(&nobody, |account| &account.hash));
        match (account, session_base_key) {
            (Some(account), Some(session_base_key)) if !account.is_disabled => {
                Ok(Verdict { account: Name::User(account.name.clone()), session_base_key })
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

/// The SessionBaseKey, if the proof was made with `hash` and the names as the client spells them, or with an empty domain
/// ([MS-NLMP] 3.2.5.1.2).
fn prove(claim: &Claim<'_>, hash: &NtHash) -> Option<SessionBaseKey> {
    [claim.domain, &[]].into_iter().take(if claim.domain.is_empty() { 1 } else { 2 }).find_map(|domain| {
        let key = ntowf_v2(hash, claim.user, domain);
        let (nt_proof_str, session_base_key): (NtProofStr, _) = ntlm_v2(&key, claim.server_challenge, claim.temp);
        nt_proof_str.matches(claim.nt_proof_str).then_some(session_base_key)
    })
}
