//! Two contexts in one process, step by step or at one go.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands at the top of gss.rs")]

use std::ptr::{self, null_mut};

use libgssapi_sys as sys;
use libgssapi_sys::{GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG, GSS_C_REPLAY_FLAG, GSS_C_SEQUENCE_FLAG};

use super::PASSWORD;
use super::context::Ctx;
use super::cred::{Cred, Usage};
use super::gss::{Buffer, Failure, Gss, NTLM, Name, Oid, call, lend, oid_bytes};

/// Everything that a mechanism can protect.
pub(crate) const SIGN_AND_SEAL: u32 = GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG;

/// The channel that a handshake is bound to.
#[derive(Clone, Default)]
pub(crate) struct Bindings {
    pub(crate) initiator: (u32, Vec<u8>),
    pub(crate) acceptor: (u32, Vec<u8>),
    pub(crate) application: Vec<u8>,
}

impl Bindings {
    pub(crate) fn application(data: &[u8]) -> Self {
        Self { application: data.to_vec(), ..Self::default() }
    }

    fn lend(&self) -> sys::gss_channel_bindings_struct {
        sys::gss_channel_bindings_struct {
            initiator_addrtype: self.initiator.0,
            initiator_address: lend(&self.initiator.1),
            acceptor_addrtype: self.acceptor.0,
            acceptor_address: lend(&self.acceptor.1),
            application_data: lend(&self.application),
        }
    }
}

/// How a handshake is asked for. The default: alice by password, NTLM alone, protected, no bindings.
pub(crate) struct Handshake {
    pub(crate) mech: &'static Oid,
    pub(crate) flags: u32,
    pub(crate) target: &'static str,
    pub(crate) initiator: Cred,
    pub(crate) acceptor: Cred,
    pub(crate) initiator_bindings: Option<Bindings>,
    pub(crate) acceptor_bindings: Option<Bindings>,
}

/// Both ends of an established handshake, and what it told.
pub(crate) struct Pair {
    pub(crate) initiator: Ctx,
    pub(crate) acceptor: Ctx,
    pub(crate) initiator_flags: u32,
    pub(crate) acceptor_flags: u32,
    /// As the acceptor displays it.
    pub(crate) source: String,
    /// Whom the acceptor displays so.
    pub(crate) peer: Name,
    /// Every token that travelled.
    pub(crate) tokens: Vec<Vec<u8>>,
}

/// Who ended a handshake, and with what.
#[derive(Debug)]
pub(crate) enum Refused {
    ByInitiator(Failure),
    ByAcceptor(Failure),
}

impl Refused {
    pub(crate) fn by_acceptor(self) -> Failure {
        match self {
            Self::ByAcceptor(failure) => failure,
            Self::ByInitiator(failure) => panic!("the initiator was first to refuse: {failure:?}"),
        }
    }
}

impl Handshake {
    pub(crate) fn of(mech: &'static Oid) -> Self {
        Self::with_password(mech, "DOM\\alice", PASSWORD)
    }

    pub(crate) fn with_password(mech: &'static Oid, user: &str, password: &str) -> Self {
        let initiator = Cred::with_password(&Name::user(user), password, mech).expect("a password is taken as it is");
        Self::with_cred(mech, initiator)
    }

    pub(crate) fn with_cred(mech: &'static Oid, initiator: Cred) -> Self {
        let acceptor = Cred::acquire(None, Usage::Accept, mech).expect("the user file makes an acceptor");
        Self::between(mech, initiator, acceptor)
    }

    pub(crate) fn between(mech: &'static Oid, initiator: Cred, acceptor: Cred) -> Self {
        Self {
            mech,
            flags: SIGN_AND_SEAL,
            target: "HTTP@server",
            initiator,
            acceptor,
            initiator_bindings: None,
            acceptor_bindings: None,
        }
    }

    pub(crate) fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn bindings(mut self, initiator: Option<Bindings>, acceptor: Option<Bindings>) -> Self {
        self.initiator_bindings = initiator;
        self.acceptor_bindings = acceptor;
        self
    }

    pub(crate) fn initiator(&self) -> Initiator<'_> {
        Initiator { how: self, target: Name::service(self.target), context: Ctx::none() }
    }

    pub(crate) fn acceptor(&self) -> Acceptor<'_> {
        Acceptor { how: self, context: Ctx::none() }
    }

    /// From the first token to the last.
    pub(crate) fn run(&self) -> Result<Pair, Refused> {
        self.run_changing(|_, token| token)
    }

    /// The same with somebody between the two, who gets each token with its number and hands on another.
    pub(crate) fn run_changing(&self, mut change: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Result<Pair, Refused> {
        let (mut initiator, mut acceptor) = (self.initiator(), self.acceptor());
        let mut tokens = Vec::new();
        let (mut ours, mut theirs);
        let mut from_acceptor = None;
        loop {
            ours = initiator.step(from_acceptor.as_deref()).map_err(Refused::ByInitiator)?;
            ours.token = change(tokens.len(), ours.token);
            tokens.push(ours.token.clone());
            theirs = acceptor.step(&ours.token).map_err(Refused::ByAcceptor)?;
            if theirs.complete && theirs.token.is_empty() {
                break;
            }
            theirs.token = change(tokens.len(), theirs.token);
            tokens.push(theirs.token.clone());
            if theirs.complete {
                ours = initiator.step(Some(&theirs.token)).map_err(Refused::ByInitiator)?;
                break;
            }
            from_acceptor = Some(theirs.token);
        }
        assert!(ours.complete && ours.token.is_empty() || theirs.token.is_empty(), "both ends are done");
        let peer = theirs.source.expect("an acceptor that is done knows who came");
        Ok(Pair {
            initiator: initiator.context,
            acceptor: acceptor.context,
            initiator_flags: ours.flags,
            acceptor_flags: theirs.flags,
            source: peer.display(),
            peer,
            tokens,
        })
    }

    /// Like [`Handshake::run`] for one that has no reason to fail.
    pub(crate) fn establish(&self) -> Pair {
        self.establish_changing(|_, token| token)
    }

    /// Like [`Handshake::run_changing`] for one that has no reason to fail.
    pub(crate) fn establish_changing(&self, change: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Pair {
        match self.run_changing(change) {
            Ok(pair) => pair,
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// Like [`Handshake::run_changing`] for one that must fail.
    pub(crate) fn refusal_changing(&self, change: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Refused {
        self.run_changing(change).map(|pair| pair.source).expect_err("this handshake has a reason to fail")
    }
}

/// What one step brought.
pub(crate) struct Step {
    pub(crate) complete: bool,
    pub(crate) token: Vec<u8>,
    pub(crate) flags: u32,
    pub(crate) lifetime: u32,
    pub(crate) mech: Vec<u8>,
    /// The acceptor's, of its last step.
    pub(crate) source: Option<Name>,
}

pub(crate) struct Initiator<'how> {
    how: &'how Handshake,
    target: Name,
    pub(crate) context: Ctx,
}

impl Initiator<'_> {
    /// Goes on with a context from elsewhere.
    pub(crate) fn continued(mut self, context: Ctx) -> Self {
        self.context = context;
        self
    }

    pub(crate) fn step(&mut self, token: Option<&[u8]>) -> Gss<Step> {
        let mut input = token.map(lend);
        let mut bindings = self.how.initiator_bindings.as_ref().map(Bindings::lend);
        let (mut mech, mut output, mut flags, mut lifetime) = (null_mut(), Buffer::default(), u32::MAX, 0);
        let major = call("gss_init_sec_context", |minor| unsafe {
            sys::gss_init_sec_context(
                minor,
                self.how.initiator.ptr(),
                &mut self.context.0,
                self.target.ptr(),
                self.how.mech.ptr(),
                self.how.flags,
                0,
                bindings.as_mut().map_or(null_mut(), ptr::from_mut),
                input.as_mut().map_or(null_mut(), ptr::from_mut),
                &mut mech,
                output.out(),
                &mut flags,
                &mut lifetime,
            )
        });
        // SPNEGO tells its peer that it refuses; NTLM has no token for that.
        let silent = major.is_ok() || self.how.mech.bytes() != NTLM.bytes() || output.is_empty();
        assert!(silent, "a refusal has no token");
        let complete = major? == sys::GSS_S_COMPLETE;
        Ok(Step { complete, token: output.to_vec(), flags, lifetime, mech: oid_bytes(mech), source: None })
    }

    /// Steps on, expecting a token for the other side.
    pub(crate) fn token(&mut self, token: Option<&[u8]>) -> Vec<u8> {
        let step = self.step(token).expect("this step has no reason to fail");
        assert!(!step.token.is_empty());
        step.token
    }
}

pub(crate) struct Acceptor<'how> {
    how: &'how Handshake,
    pub(crate) context: Ctx,
}

impl Acceptor<'_> {
    /// Goes on with a context from elsewhere.
    pub(crate) fn continued(mut self, context: Ctx) -> Self {
        self.context = context;
        self
    }

    pub(crate) fn step(&mut self, token: &[u8]) -> Gss<Step> {
        let mut input = lend(token);
        let mut bindings = self.how.acceptor_bindings.as_ref().map(Bindings::lend);
        let (mut source, mut mech, mut output) = (null_mut(), null_mut(), Buffer::default());
        let (mut flags, mut lifetime, mut delegated) = (u32::MAX, 0, null_mut());
        let major = call("gss_accept_sec_context", |minor| unsafe {
            sys::gss_accept_sec_context(
                minor,
                &mut self.context.0,
                self.how.acceptor.ptr(),
                &mut input,
                bindings.as_mut().map_or(null_mut(), ptr::from_mut),
                &mut source,
                &mut mech,
                output.out(),
                &mut flags,
                &mut lifetime,
                &mut delegated,
            )
        });
        assert!(delegated.is_null(), "NTLM delegates nothing");
        assert!(major.is_ok() || source.is_null(), "a refusal names nobody");
        let complete = major? == sys::GSS_S_COMPLETE;
        let source = (!source.is_null()).then(|| Name::own(source));
        Ok(Step { complete, token: output.to_vec(), flags, lifetime, mech: oid_bytes(mech), source })
    }

    /// Steps on, expecting a token for the other side.
    pub(crate) fn token(&mut self, token: &[u8]) -> Vec<u8> {
        let step = self.step(token).expect("this step has no reason to fail");
        assert!(!step.token.is_empty());
        step.token
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self::of(&NTLM)
    }
}
