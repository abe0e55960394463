//! Who answers a CHALLENGE_MESSAGE where the secret is not ours to see, and the domain that can.

use core::fmt;

use crate::{crypto::ExportedSessionKey, error::Result, host::Host, name::UserName, policy::Policy};

use super::Verifier;

/// Answers for an account whose secret it keeps to itself.
pub trait Responder: fmt::Debug + Send + Sync {
    /// The account that it would answer for: `asked`, with the domain as it is called here, or the one that a name without
    /// any means. `None` when
    /// it has no secret of that account.
    ///
    /// # Errors
    /// When it does not work.
    fn find(&self, asked: &UserName, policy: &Policy, host: &dyn Host) -> Result<Option<UserName>>;

    /// An AUTHENTICATE_MESSAGE of `account` that answers `challenge`.
    ///
    /// # Errors
    /// When it does not work, or no longer has a secret of that account.
    fn respond(
        &self,
        account: &UserName,
        challenge: &Challenged<'_>,
        policy: &Policy,
        host: &dyn Host,
    ) -> Result<Response>;
}

/// What is to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Challenged<'a> {
    /// NEGOTIATE_MESSAGE as sent; nothing where the answer is to have no MIC.
    pub negotiate: &'a [u8],
    /// CHALLENGE_MESSAGE as received.
    pub challenge: &'a [u8],
}

/// An answer. What it says is not believed before it is read.
pub struct Response {
    /// AUTHENTICATE_MESSAGE.
    pub authenticate: Vec<u8>,
    /// ExportedSessionKey.
    pub key: ExportedSessionKey,
}

/// A domain of accounts, as this computer is a member of one: it judges them, and answers for those that are logged on.
pub trait Domain: Verifier + Responder {
    /// Whether it can be asked here, now.
    ///
    /// # Errors
    /// [`crate::error::DomainError`], or [`crate::error::CredentialError::NoUserFile`] where there is no domain at all.
    fn reach(&self, policy: &Policy, host: &dyn Host) -> Result<()>;

    /// Whether it has answered in this process: where not, and there is a user file, nobody expects it to.
    fn has_answered(&self, host: &dyn Host) -> bool;
}
