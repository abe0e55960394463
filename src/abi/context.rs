//! Security contexts: making, asking, carrying over, ending.

use core::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard};

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    cred::{self, Borrowed},
    oid::{self, NTLM, StaticOid, ensure_ntlm, private},
    ptr::{Bindings, BufferSet, Bytes, Object, Oid, Out, Ref, Slot, Unused},
};
use crate::{
    bytes,
    context::{AcceptRequest, Context, ContextFlags, InitiateRequest, tell_of_unstarted_initiator},
    cred::{Credential, Usage},
    error::{ApiMisuse, Error, Result},
    name::Principal,
    policy::Whom,
    session::{Role, Way},
    sys::{self, Malloced, is_probing_spnego},
};

/// What a context handle stands for. Two threads in one context wait for each other.
pub(super) struct ContextHandle(Mutex<Context>);

impl Object for ContextHandle {
    type C = g::gss_ctx_id_struct;
}

impl ContextHandle {
    fn new(context: Context) -> Arc<Self> {
        Arc::new(Self(Mutex::new(context)))
    }
}

impl Ref<ContextHandle> {
    /// The context that the handle stands for. [`ApiMisuse::NoContext`] for NULL, for a context whose handshake failed, and for
    /// one in which a call panicked.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Context>> {
        lock(self.get())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only calls with the same context wait, which have one sequence of messages"
)]
fn lock(handle: Option<&ContextHandle>) -> Result<MutexGuard<'_, Context>> {
    let context = handle.ok_or(ApiMisuse::NoContext)?.0.lock().map_err(|_| ApiMisuse::NoContext)?;
    if context.is_failed() { Err(ApiMisuse::NoContext.into()) } else { Ok(context) }
}

/// Where a step puts its results.
struct Results {
    /// The initiator's name, on the acceptor.
    source: Option<Out<Arc<Principal>>>,
    mech: Out<StaticOid>,
    token: Out<Malloced>,
    flags: Out<u32>,
    time: Out<u32>,
}

impl Results {
    fn put(self, context: &Context, token: &[u8]) -> Result<Major> {
        let token = Malloced::copy(token)?;
        let established = context.established();
        if let (Some(source), Ok(established)) = (&self.source, &established) {
            source.put(Arc::clone(&established.initiator));
        }
        self.mech.put(NTLM);
        self.token.put(token);
        self.flags.put(context.flags().bits());
        self.time.put(g::_GSS_C_INDEFINITE);
        Ok(if established.is_ok() { COMPLETE } else { g::_GSS_S_CONTINUE_NEEDED })
    }
}

/// Takes a step in the context of `slot`, or in a fresh one of `role` that is put there once the step has succeeded and its
/// results are put.
fn step(
    slot: Slot<ContextHandle>, role: Role, take: impl FnOnce(&mut Context) -> Result<Vec<u8>>, results: Results,
) -> Result<Major> {
    if slot.get().is_some() {
        let mut context = lock(slot.get())?;
        let token = take(&mut context)?;
        return results.put(&context, &token);
    }
    let mut context = Context::new(role);
    let token = take(&mut context)?;
    let major = results.put(&context, &token)?;
    slot.put(ContextHandle::new(context));
    Ok(major)
}

/// `gss_init_sec_context`, RFC 2744 5.19.
pub(super) fn initiate(
    credential: Ref<Credential>, slot: Slot<ContextHandle>, target: Ref<Principal>, mech: Oid, requested: u32,
    _time: Unused<u32>, bindings: Bindings, token: Bytes, actual_mech: Out<StaticOid>, output: Out<Malloced>,
    flags: Out<u32>, time: Out<u32>,
) -> Result<Major> {
    output.ensure_given()?;
    slot.ensure_given()?;
    ensure_ntlm(&mech)?;
    let bindings = bindings.get()?;
    let target = target.get().map(|principal| &principal.name);
    let env = sys::env_for(Whom::InitiatorTo(target))?;
    let has_not_started = |error: &Error| {
        if slot.get().is_none() {
            tell_of_unstarted_initiator(target, error, &env);
        }
    };
    env.policy.ensure_outgoing(target).inspect_err(has_not_started)?;
    let requested = ContextFlags::from_bits_retain(requested);
    let credential = if credential.get().is_none() && requested.contains(ContextFlags::ANON) {
        Borrowed::Default(Credential::anonymous())
    } else {
        cred::given_or_default(&credential, Usage::Initiate, |_| Ok(env)).inspect_err(has_not_started)?
    };
    let token = token.get()?;
    if token.is_none() && slot.get().is_some() {
        return Err(ApiMisuse::NullInput.into());
    }
    let request = InitiateRequest {
        credential: &credential,
        target,
        requested,
        bindings,
        token: token.unwrap_or(&[]),
        env: &env,
    };
    let results = Results { source: None, mech: actual_mech, token: output, flags, time };
    step(slot, Role::Initiator, |context| context.initiate(&request), results)
}

/// `gss_accept_sec_context`, RFC 2744 5.1. NTLM delegates no credential.
pub(super) fn accept(
    slot: Slot<ContextHandle>, credential: Ref<Credential>, token: Bytes, bindings: Bindings,
    source: Out<Arc<Principal>>, mech: Out<StaticOid>, output: Out<Malloced>, flags: Out<u32>, time: Out<u32>,
    _delegated: Out<Arc<Credential>>,
) -> Result<Major> {
    let accept = || {
        output.ensure_given()?;
        slot.ensure_given()?;
        let token = token.required()?;
        let bindings = bindings.get()?;
        let take = |context: &mut Context| {
            if is_probing_spnego() {
                // Another part than ours is judged: any answer will do.
                return bytes::concat(&[token]);
            }
            let env = sys::env_for(Whom::Acceptor(context.acceptor_name(credential.get())))?;
            context.accept(&AcceptRequest { credential: credential.get(), bindings, token, env: &env })
        };
        let results = Results { source: Some(source), mech, token: output, flags, time };
        step(slot, Role::Acceptor, take, results)
    };
    cred::logged(accept())
}

/// `gss_delete_sec_context`, RFC 2744 5.9.
pub(super) fn delete(slot: Slot<ContextHandle>, _output: Out<Malloced>) -> Result<Major> {
    slot.release();
    Ok(COMPLETE)
}

/// `gss_context_time`, RFC 2744 5.8: a context does not expire.
pub(super) fn time(context: Ref<ContextHandle>, time: Out<u32>) -> Result<Major> {
    time.ensure_given()?;
    context.lock()?.established()?;
    time.put(g::_GSS_C_INDEFINITE);
    Ok(COMPLETE)
}

/// `gss_inquire_context`, RFC 2744 5.21.
pub(super) fn inquire(
    context: Ref<ContextHandle>, source: Out<Arc<Principal>>, target: Out<Arc<Principal>>, lifetime: Out<u32>,
    mech: Out<StaticOid>, flags: Out<u32>, locally_initiated: Out<c_int>, open: Out<c_int>,
) -> Result<Major> {
    let context = context.lock()?;
    if let Ok(established) = context.established() {
        source.put(Arc::clone(&established.initiator));
        if let Some(acceptor) = &established.acceptor {
            target.put(Arc::new(acceptor.clone().into()));
        }
        lifetime.put(g::_GSS_C_INDEFINITE);
        open.put(1);
    }
    flags.put(context.flags().bits());
    mech.put(NTLM);
    locally_initiated.put(c_int::from(context.role() == Role::Initiator));
    Ok(COMPLETE)
}

/// `gss_export_sec_context`, RFC 2744 5.14.
pub(super) fn export(slot: Slot<ContextHandle>, token: Out<Malloced>) -> Result<Major> {
    token.ensure_given()?;
    if !slot.is_given() {
        return Err(ApiMisuse::NullInput.into());
    }
    token.put(Malloced::copy(&lock(slot.get())?.export()?)?);
    slot.release();
    Ok(COMPLETE)
}

/// `gss_import_sec_context`, RFC 2744 5.20.
pub(super) fn import(token: Bytes, context: Out<Arc<ContextHandle>>) -> Result<Major> {
    context.ensure_given()?;
    context.put(ContextHandle::new(Context::import(token.required()?)?));
    Ok(COMPLETE)
}

/// `gss_inquire_sec_context_by_oid`, of krb5's `gssapi_ext.h`.
pub(super) fn inquire_by_oid(context: Ref<ContextHandle>, object: Oid, data: Out<BufferSet>) -> Result<Major> {
    data.ensure_given()?;
    let object = object.required()?;
    let mut context = context.lock()?;
    let set = match object {
        private::SPNEGO_REQUIRE_MIC => BufferSet::of([&[u8::from(context.requires_mech_list_mic())][..]]),
        oid::SSPI_SESSION_KEY => {
            let session = context.session().map_err(|_| ApiMisuse::NotAvailable)?;
            BufferSet::of([&session.key().expose()[..]])
        }
        oid::SASL_SSF => {
            let session = context.session().map_err(|_| ApiMisuse::NotAvailable)?;
            BufferSet::of([&session.strength_factor().to_be_bytes()[..]])
        }
        _ => Err(ApiMisuse::UnknownOption.into()),
    };
    data.put(set?);
    Ok(COMPLETE)
}

/// `gss_set_sec_context_option`, of krb5's `gssapi_ext.h`.
pub(super) fn set_option(slot: Slot<ContextHandle>, object: Oid, value: Bytes) -> Result<Major> {
    if !slot.is_given() {
        return Err(ApiMisuse::NullInput.into());
    }
    let object = object.required()?;
    let value = value.get()?.unwrap_or(&[]);
    let mut context = lock(slot.get())?;
    let number = || value.try_into().map(u32::from_ne_bytes).map_err(|_| ApiMisuse::BadArgument);
    match object {
        private::RESET_CRYPTO => {
            let way = if number()? == 1 { Way::Receive } else { Way::Send };
            // A half-open context has nothing to reset, and some programs ask only to see that the option is there.
            match context.session() {
                Ok(session) => session.reset_crypto(way),
                Err(Error::ApiMisuse(ApiMisuse::NotEstablished)) => {}
                Err(error) => return Err(error),
            }
        }
        private::SET_SEQ_NUM => context.set_seq_num(number()?)?,
        _ => return Err(ApiMisuse::UnknownOption.into()),
    }
    Ok(COMPLETE)
}

const _: () = {
    const fn moved<T: Send>() {}
    moved::<Context>();
};

#[cfg(test)]
mod tests {
    use core::ptr::null_mut;

    use super::*;
    use crate::abi::ptr::{Argument as _, Promise};

    #[test]
    fn only_a_first_step_that_succeeds_leaves_a_context() {
        // SAFETY: the test gives NULL or a variable of its own.
        let promise = unsafe { Promise::of_caller() };
        let mut handle = null_mut();
        let mut take = |outcome: Result<Vec<u8>>| {
            let results = Results {
                source: None,
                mech: Out::new(null_mut(), &promise),
                token: Out::new(null_mut(), &promise),
                flags: Out::new(null_mut(), &promise),
                time: Out::new(null_mut(), &promise),
            };
            let slot = Slot::new(&raw mut handle, &promise);
            (step(slot, Role::Acceptor, |_| outcome, results), handle.is_null())
        };
        assert_eq!(take(Err(Error::Internal)), (Err(Error::Internal), true));
        assert_eq!(take(Ok(Vec::new())), (Ok(g::_GSS_S_CONTINUE_NEEDED), false));
        assert_eq!(take(Err(Error::Internal)), (Err(Error::Internal), false), "a later step leaves it to its owner");
        Slot::<ContextHandle>::new(&raw mut handle, &promise).release();
    }
}
