//! How the domain, which keeps the secret, answers a CHALLENGE_MESSAGE.

use core::fmt;

use crate::{crypto::ExportedSessionKey, error::Result, host::Membership, name::UserName};

use super::{Env, Verifier};

/// Answers challenges for accounts whose secrets it does not reveal.
pub trait Responder: fmt::Debug + Send + Sync {
    /// The account that `asked` means, with its domain, which `asked` may lack; `None` if there is no secret of that account.
    ///
    /// # Errors
    /// If the responder does not work.
    fn find(&self, asked: &UserName, env: &Env<'_>) -> Result<Option<UserName>>;

    /// An AUTHENTICATE_MESSAGE of `account` that answers `challenge`.
    ///
    /// # Errors
    /// If the responder does not work, or no longer has a secret of that account.
    fn respond(&self, account: &UserName, challenge: &ReceivedChallenge<'_>, env: &Env<'_>) -> Result<Response>;
}

/// The messages to answer.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedChallenge<'a> {
    /// NEGOTIATE_MESSAGE as sent.
    pub negotiate: &'a [u8],
    /// CHALLENGE_MESSAGE as received; without MsvAvTimestamp if the answer must not have a MIC.
    pub challenge: &'a [u8],
}

/// An answer; the context verifies it before it uses it.
pub struct Response {
    /// AUTHENTICATE_MESSAGE.
    pub authenticate: Vec<u8>,
    /// ExportedSessionKey.
    pub key: ExportedSessionKey,
}

/// The domain of this computer: it verifies its accounts, and answers challenges for those that are logged on.
pub trait DomainService: Verifier + Responder {
    /// Ensures that it can be asked.
    ///
    /// # Errors
    /// [`crate::error::CredentialError::NoDomain`] if it does not answer, [`crate::error::CredentialError::NoUserFile`] if there
    /// is no domain.
    fn reach(&self, env: &Env<'_>) -> Result<()>;

    /// The names of this computer in the domain. The first call sends a request; its answer is kept.
    ///
    /// # Errors
    /// As [`DomainService::reach`].
    fn membership(&self, env: &Env<'_>) -> Result<&Membership>;

    /// The DNS name of the forest that the domain is in; `None` if no domain controller says. The first call sends a request;
    /// its answer is kept.
    fn dns_tree(&self, env: &Env<'_>) -> Option<&str>;
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use crate::{
        cred::{Claim, VerifiedClaim},
        crypto::SessionBaseKey,
        error::{CredentialError, Error},
        name::Attributes,
    };

    use super::*;

    /// A domain `AD` that accepts every proof, has the logon of alice and answers for her with `respond`.
    pub(crate) struct TestDomain {
        pub(crate) is_there: bool,
        pub(crate) membership: Option<Membership>,
        pub(crate) attributes: Attributes,
        pub(crate) respond: fn(&ReceivedChallenge<'_>) -> Result<Response>,
        /// How often it was asked for the membership.
        pub(crate) requests: Arc<AtomicU32>,
    }

    impl Default for TestDomain {
        fn default() -> Self {
            Self {
                is_there: true,
                membership: Some(Membership {
                    computer: "SRV".to_owned(),
                    domain: "AD".to_owned(),
                    dns_domain: "ad.example".to_owned(),
                }),
                attributes: Attributes::new(),
                respond: |_| Err(Error::Internal),
                requests: Arc::default(),
            }
        }
    }

    impl TestDomain {
        pub(crate) fn domain(self) -> &'static dyn DomainService {
            Box::leak(Box::new(self))
        }
    }

    impl fmt::Debug for TestDomain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("TestDomain")
        }
    }

    impl Verifier for TestDomain {
        fn verify(&self, _: &Claim<'_>, _: &Env<'_>) -> Result<VerifiedClaim> {
            Ok(VerifiedClaim {
                account: UserName { user: "somebody".to_owned(), domain: "AD".to_owned() },
                session_base_key: SessionBaseKey::new([1; 16]),
                lm_hash: None,
                attributes: self.attributes.clone(),
            })
        }
    }

    impl Responder for TestDomain {
        fn find(&self, asked: &UserName, _: &Env<'_>) -> Result<Option<UserName>> {
            Ok((asked.user == "alice").then(|| UserName { user: "alice".to_owned(), domain: "AD".to_owned() }))
        }

        fn respond(&self, _: &UserName, received: &ReceivedChallenge<'_>, _: &Env<'_>) -> Result<Response> {
            (self.respond)(received)
        }
    }

    impl DomainService for TestDomain {
        fn reach(&self, _: &Env<'_>) -> Result<()> {
            if self.is_there { Ok(()) } else { Err(CredentialError::NoDomain.into()) }
        }

        fn membership(&self, _: &Env<'_>) -> Result<&Membership> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.membership.as_ref().ok_or_else(|| CredentialError::NoDomain.into())
        }

        fn dns_tree(&self, _: &Env<'_>) -> Option<&str> {
            self.membership.as_ref().map(|membership| &*membership.dns_domain)
        }
    }
}
