//! The handshake. Only this room translates between the terms of GSS-API and those of [MS-NLMP].

#![forbid(unsafe_code)]

mod acceptor;
mod audit;
mod bindings;
mod export;
mod flags;
mod initiator;
mod response;
mod transcript;
mod vectors;
mod verify;

#[cfg(test)]
mod tests;

use core::mem;
use std::sync::Arc;

pub use self::{
    acceptor::{AcceptRequest, ExpectAuthenticate},
    audit::tell_of_unstarted_initiator,
    bindings::ChannelBindings,
    flags::ContextFlags,
    initiator::InitiateRequest,
};

use crate::{
    cred::Credential,
    error::{ApiMisuse, Error, Result},
    name::{Name, Principal},
    session::{Role, Session},
};

/// A security context in any of its states. After a step that fails it stays in `Failed`.
#[derive(Debug)]
pub struct Context {
    role: Role,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The initiator has sent nothing yet.
    Start,
    ExpectChallenge(initiator::ExpectChallenge),
    ExpectNegotiate,
    ExpectAuthenticate(ExpectAuthenticate),
    Established(Box<Established>),
    Failed,
}

/// A context whose handshake is over.
#[derive(Debug)]
pub struct Established {
    /// Signs and seals messages.
    pub session: Session,
    /// The flags that the application is told.
    pub flags: ContextFlags,
    /// The initiator: for an acceptor, the account as the verifier spells it, with its attributes.
    pub initiator: Arc<Principal>,
    /// The acceptor, if this side knows it.
    pub acceptor: Option<Name>,
    /// Whether the AUTHENTICATE_MESSAGE has a MIC.
    pub has_mic: bool,
}

impl Context {
    /// A context that has not started.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        let state = match role {
            Role::Initiator => State::Start,
            Role::Acceptor => State::ExpectNegotiate,
        };
        Self { role, state }
    }

    /// The role of this side.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// A step of the initiator: the first makes a NEGOTIATE_MESSAGE, the second answers a CHALLENGE_MESSAGE. The first step of
    /// a connectionless handshake makes no message, or answers a CHALLENGE_MESSAGE at once. Returns the token for the server.
    ///
    /// # Errors
    /// When something is wrong with the token or the peer; then the context is `Failed`. When the state does not allow the
    /// call, or the credential is for the other role; then the context does not change.
    pub fn initiate(&mut self, request: &InitiateRequest<'_>) -> Result<Vec<u8>> {
        self.ensure_takes_step_as(Role::Initiator)?;
        if let Err(error) = request.credential.initiator() {
            if matches!(self.state, State::Start) {
                audit::tell_of_initiator(request, None, Err(&error));
            }
            return Err(error);
        }
        match mem::replace(&mut self.state, State::Failed) {
            State::Start => {
                let next = initiator::start(request)
                    .inspect_err(|error| audit::tell_of_initiator(request, None, Err(error)))?;
                let token = next.negotiate.clone();
                self.state = State::ExpectChallenge(next);
                // The program may have the CHALLENGE_MESSAGE of a connectionless handshake already.
                if request.token.is_empty() { Ok(token) } else { self.initiate(request) }
            }
            State::ExpectChallenge(state) => {
                let done = state.step(request);
                audit::tell_of_initiator(request, Some(&state), done.as_ref());
                let (established, token) = done?;
                self.state = State::Established(Box::new(established));
                Ok(token)
            }
            State::ExpectNegotiate | State::ExpectAuthenticate(_) | State::Established(_) | State::Failed => {
                Err(Error::Internal)
            }
        }
    }

    /// A step of the acceptor: the first answers a NEGOTIATE_MESSAGE, or starts a connectionless handshake; the second
    /// verifies an AUTHENTICATE_MESSAGE. Returns the token for the client, which is empty after the second.
    ///
    /// # Errors
    /// As [`Context::initiate`].
    pub fn accept(&mut self, request: &AcceptRequest<'_>) -> Result<Vec<u8>> {
        self.ensure_takes_step_as(Role::Acceptor)?;
        if let Some(Err(error)) = request.credential.map(Credential::acceptor) {
            if matches!(self.state, State::ExpectNegotiate) {
                audit::tell_of_acceptor(request, None, Err(&error));
            }
            return Err(error);
        }
        match mem::replace(&mut self.state, State::Failed) {
            State::ExpectNegotiate => {
                let next =
                    acceptor::start(request).inspect_err(|error| audit::tell_of_acceptor(request, None, Err(error)))?;
                let token = next.challenge.clone();
                self.state = State::ExpectAuthenticate(next);
                Ok(token)
            }
            State::ExpectAuthenticate(state) => {
                let done = state.step(request);
                audit::tell_of_acceptor(request, Some(&state), done.as_ref());
                self.state = State::Established(Box::new(done?));
                Ok(Vec::new())
            }
            State::Start | State::ExpectChallenge(_) | State::Established(_) | State::Failed => Err(Error::Internal),
        }
    }

    /// Whether the handshake is over and has succeeded.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    /// The established context.
    ///
    /// # Errors
    /// [`ApiMisuse::NotEstablished`] during the handshake, [`ApiMisuse::NoContext`] after a failure.
    pub const fn established(&self) -> Result<&Established> {
        match &self.state {
            State::Established(established) => Ok(established),
            State::Failed => Err(Error::ApiMisuse(ApiMisuse::NoContext)),
            State::Start | State::ExpectChallenge(_) | State::ExpectNegotiate | State::ExpectAuthenticate(_) => {
                Err(Error::ApiMisuse(ApiMisuse::NotEstablished))
            }
        }
    }

    /// The session of the established context.
    ///
    /// # Errors
    /// As [`Context::established`].
    pub const fn session(&mut self) -> Result<&mut Session> {
        match &mut self.state {
            State::Established(established) => Ok(&mut established.session),
            State::Failed => Err(Error::ApiMisuse(ApiMisuse::NoContext)),
            State::Start | State::ExpectChallenge(_) | State::ExpectNegotiate | State::ExpectAuthenticate(_) => {
                Err(Error::ApiMisuse(ApiMisuse::NotEstablished))
            }
        }
    }

    /// Verifies the peer's `signature` of `message`.
    ///
    /// # Errors
    /// [`ApiMisuse::NoProtection`] without integrity: the constant signature of ALWAYS_SIGN, which peers may want from us,
    /// proves nothing. As [`Session::verify_mic`] and [`Context::established`].
    pub fn verify_mic(&mut self, message: &[&[u8]], signature: &[u8]) -> Result<()> {
        let session = self.session()?;
        session.ensure_protects()?;
        session.verify_mic(message, signature)
    }

    /// The flags that the application is told; before the context is established, those expected.
    #[must_use]
    pub fn flags(&self) -> ContextFlags {
        match &self.state {
            State::ExpectChallenge(state) => state.expected_flags(),
            State::ExpectAuthenticate(state) => state.expected_flags(),
            State::Established(established) => established.flags,
            State::Start | State::ExpectNegotiate | State::Failed => ContextFlags::empty(),
        }
    }

    /// The name of the acceptor that the handshake began with, else that of `credential`; `None` if no application asked for one.
    #[must_use]
    pub fn acceptor_name<'a>(&'a self, credential: Option<&'a Credential>) -> Option<&'a Name> {
        let acceptor = if let State::ExpectAuthenticate(state) = &self.state {
            &state.acceptor
        } else {
            credential?.acceptor().ok()?
        };
        acceptor.asked_name()
    }

    /// Whether the handshake has failed.
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Sets the sequence number of all messages of a connectionless context, in both directions. The context need not be
    /// established yet.
    ///
    /// # Errors
    /// [`ApiMisuse::NotDatagram`] when it is connection-oriented; [`ApiMisuse::NoContext`] before it starts and after a
    /// failure.
    pub fn set_seq_num(&mut self, seq_num: u32) -> Result<()> {
        match &mut self.state {
            State::ExpectChallenge(state) if state.requested.contains(ContextFlags::DATAGRAM) => {
                state.seq_num = Some(seq_num);
            }
            State::ExpectAuthenticate(state) if state.is_datagram() => state.seq_num = Some(seq_num),
            State::Established(established) => established.session.set_seq_num(seq_num)?,
            State::ExpectChallenge(_) | State::ExpectAuthenticate(_) => return Err(ApiMisuse::NotDatagram.into()),
            State::Start | State::ExpectNegotiate | State::Failed => return Err(ApiMisuse::NoContext.into()),
        }
        Ok(())
    }

    /// Answers SPNEGO, which asks whether it must exchange a mechListMIC: it must if the AUTHENTICATE_MESSAGE has a MIC. When
    /// it asks before that message, an initiator learns that it runs inside SPNEGO.
    pub fn requires_mech_list_mic(&mut self) -> bool {
        match &mut self.state {
            State::ExpectChallenge(state) => {
                state.is_in_spnego = true;
                false
            }
            State::Established(established) => established.has_mic,
            State::Start | State::ExpectNegotiate | State::ExpectAuthenticate(_) | State::Failed => false,
        }
    }

    /// Ensures that the context has that `role` and that its handshake is not over.
    fn ensure_takes_step_as(&self, role: Role) -> Result<()> {
        match &self.state {
            _ if self.role != role => Err(ApiMisuse::WrongRole.into()),
            State::Established(_) => Err(ApiMisuse::AlreadyEstablished.into()),
            State::Failed => Err(ApiMisuse::NoContext.into()),
            State::Start | State::ExpectChallenge(_) | State::ExpectNegotiate | State::ExpectAuthenticate(_) => Ok(()),
        }
    }
}
