//! The handshake; the only translator between GSS-API's words and those of [MS-NLMP].

#![forbid(unsafe_code)]

mod acceptor;
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

pub use self::{
    acceptor::{AcceptRequest, ExpectAuthenticate},
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

/// A security context in any of its states. A step that fails leaves it in `Failed`, for good.
#[derive(Debug)]
pub struct Context {
    role: Role,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The initiator has said nothing yet.
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
    /// The keys.
    pub session: Session,
    /// What the context does for its user.
    pub flags: ContextFlags,
    /// Who initiated: on the acceptor, the account as the verifier spells it, and what was found out about it.
    pub initiator: Principal,
    /// Who accepted, as far as this side knows.
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

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// A step of the initiator: the first makes a NEGOTIATE_MESSAGE, the second answers a CHALLENGE_MESSAGE. The first of a
    /// connectionless handshake makes nothing, and may answer at once. Returns the token for the server.
    ///
    /// # Errors
    /// Whatever is wrong with the token or the peer; then the context is `Failed`. A call that the state does not allow, or
    /// with a credential of the other usage, changes nothing.
    pub fn initiate(&mut self, request: &InitiateRequest<'_>) -> Result<Vec<u8>> {
        self.ensure_takes_step_as(Role::Initiator)?;
        request.credential.initiator()?;
        match mem::replace(&mut self.state, State::Failed) {
            State::Start => {
                let next = initiator::start(request)?;
                let token = next.negotiate.clone();
                self.state = State::ExpectChallenge(next);
                // A program that starts a connectionless handshake may have the server's CHALLENGE_MESSAGE already.
                if request.token.is_empty() { Ok(token) } else { self.initiate(request) }
            }
            State::ExpectChallenge(state) => {
                let (established, token) = state.step(request)?;
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
        request.credential.map(Credential::acceptor).transpose()?;
        match mem::replace(&mut self.state, State::Failed) {
            State::ExpectNegotiate => {
                let next = acceptor::start(request)?;
                let token = next.challenge.clone();
                self.state = State::ExpectAuthenticate(next);
                Ok(token)
            }
            State::ExpectAuthenticate(state) => {
                self.state = State::Established(Box::new(state.step(request)?));
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
    /// [`ApiMisuse::NotEstablished`] before, [`ApiMisuse::NoContext`] after a failure.
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

    /// What the context does for its user or, before it is established, is expected to do.
    #[must_use]
    pub fn flags(&self) -> ContextFlags {
        match &self.state {
            State::ExpectChallenge(state) => state.expected_flags(),
            State::ExpectAuthenticate(state) => state.expected_flags(),
            State::Established(established) => established.flags,
            State::Start | State::ExpectNegotiate | State::Failed => ContextFlags::empty(),
        }
    }

    /// Whether a handshake failed here.
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Sets the sequence number of all messages of a connectionless context, both ways, now or before it is established.
    ///
    /// # Errors
    /// [`ApiMisuse::NotDatagram`] when it is connection-oriented, [`ApiMisuse::NoContext`] before it starts and after a failure.
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

    /// SPNEGO's question whether it must exchange a mechListMIC: yes once the AUTHENTICATE_MESSAGE has a MIC. That it asks
    /// before tells an initiator that it runs inside SPNEGO.
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

    /// Only a context of `role` whose handshake is not over takes a step.
    fn ensure_takes_step_as(&self, role: Role) -> Result<()> {
        match &self.state {
            _ if self.role != role => Err(ApiMisuse::WrongRole.into()),
            State::Established(_) => Err(ApiMisuse::AlreadyEstablished.into()),
            State::Failed => Err(ApiMisuse::NoContext.into()),
            State::Start | State::ExpectChallenge(_) | State::ExpectNegotiate | State::ExpectAuthenticate(_) => Ok(()),
        }
    }
}
