//! Security contexts: making, asking, carrying over, ending.

use core::ffi::c_int;
use std::sync::{Mutex, MutexGuard};

use libgssapi_sys as g;

use super::{
    cred::{self, Borrowed},
    entry,
    oid::{self, private},
    ptr::{self, Out},
    types::{COMPLETE, Major, same_signature},
};
use crate::{
    context::{AcceptRequest, ChannelBindings, Context, ContextFlags, InitiateRequest, Step},
    cred::{Credential, Usage},
    error::{ApiMisuse, Error, HostError, Result},
    name::Principal,
    session::{Role, Way},
    sys::{self, is_judging_spnego},
};

/// What a context handle stands for. Two threads in one context wait for each other.
pub(super) struct Handle(Mutex<Context>);

impl Handle {
    /// The context that a handle stands for.
    ///
    /// # Errors
    /// [`ApiMisuse::NoContext`] for NULL, for a context whose handshake failed, and for one in which a defect struck.
    ///
    /// # Safety
    /// `context` is NULL or a live context handle of ours.
    pub(super) unsafe fn lock<'call>(context: g::gss_ctx_id_t) -> Result<MutexGuard<'call, Context>> {
        // SAFETY: by this function's contract.
        let handle: &Self = unsafe { ptr::borrow(context) }.ok_or(ApiMisuse::NoContext)?;
        let context = handle.0.lock().map_err(|_| ApiMisuse::NoContext)?;
        if context.is_failed() { Err(ApiMisuse::NoContext.into()) } else { Ok(context) }
    }

    /// Takes a step in the context at `slot`, or in a fresh one of `role` that is stored there once the step has succeeded
    /// and `put` has put its results.
    ///
    /// # Safety
    /// `slot` is NULL or readable and writable; it has NULL or a live context handle of ours.
    unsafe fn step(
        slot: *mut g::gss_ctx_id_t,
        role: Role,
        take: impl FnOnce(&mut Context) -> Result<Step>,
        put: impl FnOnce(&Context, Step) -> Result<Major>,
    ) -> Result<Major> {
        if slot.is_null() {
            return Err(ApiMisuse::NullOutput.into());
        }
        // SAFETY: by this function's contract.
        let existing = unsafe { slot.read() };
        if !existing.is_null() {
            // SAFETY: likewise.
            let mut context = unsafe { Self::lock(existing) }?;
            let step = take(&mut context)?;
            return put(&context, step);
        }
        let mut context = Context::new(role);
        let step = take(&mut context)?;
        let major = put(&context, step)?;
        // SAFETY: likewise; nothing after this can fail.
        unsafe { slot.write(ptr::handle(Self(Mutex::new(context)))) };
        Ok(major)
    }
}

/// # Safety
/// As RFC 2744 5.19 says; handles are ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_init_sec_context(
    minor_status: *mut g::OM_uint32,
    claimant_cred_handle: g::gss_cred_id_t,
    context_handle: *mut g::gss_ctx_id_t,
    target_name: g::gss_name_t,
    mech_type: g::gss_OID,
    req_flags: g::OM_uint32,
    _time_req: g::OM_uint32,
    input_chan_bindings: g::gss_channel_bindings_t,
    input_token: g::gss_buffer_t,
    actual_mech_type: *mut g::gss_OID,
    output_token: g::gss_buffer_t,
    ret_flags: *mut g::OM_uint32,
    time_rec: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let token = unsafe { ptr::bytes(input_token) };
    // SAFETY: by this function's contract.
    let mut mech = unsafe { Out::cleared(actual_mech_type, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let output = unsafe { Out::cleared(output_token, ptr::EMPTY) };
    // SAFETY: likewise.
    let mut flags = unsafe { Out::cleared(ret_flags, 0) };
    // SAFETY: likewise.
    let mut time = unsafe { Out::cleared(time_rec, 0) };
    let body = || {
        let mut output = output.required()?;
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mech_type) }?;
        // SAFETY: likewise.
        let target: Option<&Principal> = unsafe { ptr::borrow(target_name) };
        // SAFETY: likewise.
        let bindings = unsafe { channel_bindings(input_chan_bindings) }?;
        let env = sys::env()?;
        let requested = ContextFlags::from_bits_retain(req_flags);
        let credential = if claimant_cred_handle.is_null() && requested.contains(ContextFlags::ANON) {
            Borrowed::Default(Credential::anonymous())
        } else {
            // SAFETY: by this function's contract.
            unsafe { cred::given_or_default(claimant_cred_handle, Usage::Initiate, &env) }?
        };
        let token = token?;
        // SAFETY: by this function's contract.
        if token.is_none() && unsafe { !context_handle.is_null() && !context_handle.read().is_null() } {
            return Err(ApiMisuse::NullInput.into());
        }
        let request = InitiateRequest {
            credential: &credential,
            target: target.map(|principal| &principal.name),
            requested,
            bindings,
            token: token.unwrap_or(&[]),
            env: &env,
        };
        let put = |_: &Context, step: Step| {
            output.put(ptr::buffer(&step.token)?);
            mech.put(oid::ntlm());
            flags.put(step.flags.bits());
            time.put(g::_GSS_C_INDEFINITE);
            Ok(if step.is_established { COMPLETE } else { g::_GSS_S_CONTINUE_NEEDED })
        };
        // SAFETY: by this function's contract.
        unsafe { Handle::step(context_handle, Role::Initiator, |context| context.initiate(&request), put) }
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.1 says; handles are ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_accept_sec_context(
    minor_status: *mut g::OM_uint32,
    context_handle: *mut g::gss_ctx_id_t,
    acceptor_cred_handle: g::gss_cred_id_t,
    input_token: g::gss_buffer_t,
    input_chan_bindings: g::gss_channel_bindings_t,
    src_name: *mut g::gss_name_t,
    mech_type: *mut g::gss_OID,
    output_token: g::gss_buffer_t,
    ret_flags: *mut g::OM_uint32,
    time_rec: *mut g::OM_uint32,
    delegated_cred_handle: *mut g::gss_cred_id_t,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let token = unsafe { ptr::bytes(input_token) };
    // SAFETY: by this function's contract.
    let mut source = unsafe { Out::cleared(src_name, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut mech = unsafe { Out::cleared(mech_type, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let output = unsafe { Out::cleared(output_token, ptr::EMPTY) };
    // SAFETY: likewise.
    let mut flags = unsafe { Out::cleared(ret_flags, 0) };
    // SAFETY: likewise.
    let mut time = unsafe { Out::cleared(time_rec, 0) };
    // SAFETY: likewise. NTLM delegates nothing.
    let _delegated = unsafe { Out::cleared(delegated_cred_handle, core::ptr::null_mut()) };
    let body = || {
        let mut output = output.required()?;
        let token = token?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: by this function's contract.
        let bindings = unsafe { channel_bindings(input_chan_bindings) }?;
        let env = sys::env()?;
        let take = |context: &mut Context| {
            if is_judging_spnego() {
                // Another part than ours is judged: any answer will do.
                return Ok(Step { token: token.to_vec(), flags: ContextFlags::empty(), is_established: false });
            }
            let is_chosen = !acceptor_cred_handle.is_null();
            let before = if is_chosen { None } else { context.chosen_credential() };
            let credential = match before {
                Some(chosen) => Borrowed::Default(chosen),
                // SAFETY: by this function's contract.
                None => unsafe { cred::given_or_default(acceptor_cred_handle, Usage::Accept, &env) }?,
            };
            context.accept(&AcceptRequest { credential: &credential, is_chosen, bindings, token, env: &env })
        };
        let put = |context: &Context, step: Step| {
            output.put(ptr::buffer(&step.token)?);
            mech.put(oid::ntlm());
            flags.put(step.flags.bits());
            time.put(g::_GSS_C_INDEFINITE);
            if !step.is_established {
                return Ok(g::_GSS_S_CONTINUE_NEEDED);
            }
            if source.is_wanted() {
                source.put(ptr::handle(context.established()?.initiator.clone()));
            }
            Ok(COMPLETE)
        };
        // SAFETY: by this function's contract.
        unsafe { Handle::step(context_handle, Role::Acceptor, take, put) }
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, || cred::logged(body())) }
}

/// The caller's channel bindings.
///
/// # Safety
/// `bindings` is NULL or points at a struct whose buffers are readable during the call.
unsafe fn channel_bindings<'call>(bindings: g::gss_channel_bindings_t) -> Result<Option<ChannelBindings<'call>>> {
    if bindings.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract; read by value.
    let bindings = unsafe { bindings.read() };
    // SAFETY: likewise.
    let initiator_address = unsafe { binding(bindings.initiator_address) }?;
    // SAFETY: likewise.
    let acceptor_address = unsafe { binding(bindings.acceptor_address) }?;
    // SAFETY: likewise.
    let application_data = unsafe { binding(bindings.application_data) }?;
    Ok(Some(ChannelBindings {
        initiator_addrtype: bindings.initiator_addrtype,
        initiator_address,
        acceptor_addrtype: bindings.acceptor_addrtype,
        acceptor_address,
        application_data,
    }))
}

/// One buffer of channel bindings, whose length is hashed as 32 bits.
///
/// # Safety
/// It describes bytes that are readable during the call.
unsafe fn binding<'call>(buffer: g::gss_buffer_desc) -> Result<&'call [u8]> {
    u32::try_from(buffer.length).map_err(|_| ApiMisuse::BadArgument)?;
    // SAFETY: by this function's contract.
    unsafe { ptr::slice(buffer.length, buffer.value) }
}

/// # Safety
/// As RFC 2744 5.9 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_delete_sec_context(
    minor_status: *mut g::OM_uint32,
    context_handle: *mut g::gss_ctx_id_t,
    output_token: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let _output = unsafe { Out::cleared(output_token, ptr::EMPTY) };
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { ptr::release::<Handle, _>(context_handle) };
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.8 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_context_time(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    time_rec: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract.
    let time = unsafe { Out::cleared(time_rec, 0) };
    let body = || {
        let mut time = time.required()?;
        // SAFETY: by this function's contract.
        unsafe { Handle::lock(context_handle) }?.established()?;
        time.put(g::_GSS_C_INDEFINITE);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.21 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_context(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    src_name: *mut g::gss_name_t,
    targ_name: *mut g::gss_name_t,
    lifetime_rec: *mut g::OM_uint32,
    mech_type: *mut g::gss_OID,
    ctx_flags: *mut g::OM_uint32,
    locally_initiated: *mut c_int,
    open: *mut c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let mut source = unsafe { Out::cleared(src_name, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut target = unsafe { Out::cleared(targ_name, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut lifetime = unsafe { Out::cleared(lifetime_rec, 0) };
    // SAFETY: likewise.
    let mut mech = unsafe { Out::cleared(mech_type, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut flags = unsafe { Out::cleared(ctx_flags, 0) };
    // SAFETY: likewise.
    let mut local = unsafe { Out::cleared(locally_initiated, 0) };
    // SAFETY: likewise.
    let mut is_open = unsafe { Out::cleared(open, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        let context = unsafe { Handle::lock(context_handle) }?;
        if let Ok(established) = context.established() {
            if source.is_wanted() {
                source.put(ptr::handle(established.initiator.clone()));
            }
            if let (true, Some(acceptor)) = (target.is_wanted(), &established.acceptor) {
                target.put(ptr::handle(Principal::from(acceptor.clone())));
            }
            lifetime.put(g::_GSS_C_INDEFINITE);
            is_open.put(1);
        }
        flags.put(context.flags().bits());
        mech.put(oid::ntlm());
        local.put(c_int::from(context.role() == Role::Initiator));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.14 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_export_sec_context(
    minor_status: *mut g::OM_uint32,
    context_handle: *mut g::gss_ctx_id_t,
    interprocess_token: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let token = unsafe { Out::cleared(interprocess_token, ptr::EMPTY) };
    let body = || {
        let mut token = token.required()?;
        if context_handle.is_null() {
            return Err(ApiMisuse::NullInput.into());
        }
        // SAFETY: by this function's contract.
        let handle = unsafe { context_handle.read() };
        // SAFETY: likewise.
        let exported = unsafe { Handle::lock(handle) }?.export()?;
        token.put(ptr::buffer(&exported)?);
        // SAFETY: likewise; the lock is given back.
        unsafe { ptr::release::<Handle, _>(context_handle) };
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.20 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_import_sec_context(
    minor_status: *mut g::OM_uint32,
    interprocess_token: g::gss_buffer_t,
    context_handle: *mut g::gss_ctx_id_t,
) -> Major {
    // SAFETY: by this function's contract.
    let handle = unsafe { Out::cleared(context_handle, core::ptr::null_mut()) };
    let body = || {
        let mut handle = handle.required()?;
        // SAFETY: by this function's contract.
        let token = unsafe { ptr::bytes(interprocess_token) }?.ok_or(ApiMisuse::NullInput)?;
        handle.put(ptr::handle(Handle(Mutex::new(Context::import(token)?))));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_sec_context_by_oid(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    desired_object: g::gss_OID,
    data_set: *mut g::gss_buffer_set_t,
) -> Major {
    // SAFETY: by this function's contract.
    let data_set = unsafe { Out::cleared(data_set, core::ptr::null_mut()) };
    let body = || {
        let mut data_set = data_set.required()?;
        // SAFETY: by this function's contract.
        let object = unsafe { oid::bytes(desired_object) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let mut context = unsafe { Handle::lock(context_handle) }?;
        let set = match object {
            private::SPNEGO_REQUIRE_MIC => buffer_set(&mut [u8::from(context.requires_mech_list_mic())]),
            oid::SSPI_SESSION_KEY => {
                let session = context.session().map_err(|_| ApiMisuse::NotAvailable)?;
                buffer_set(zeroize::Zeroizing::new(*session.key().expose()).as_mut())
            }
            oid::SASL_SSF => {
                let session = context.session().map_err(|_| ApiMisuse::NotAvailable)?;
                buffer_set(&mut session.strength_factor().to_be_bytes())
            }
            _ => Err(ApiMisuse::UnknownOption.into()),
        };
        data_set.put(set?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// A set of one buffer for the caller.
fn buffer_set(bytes: &mut [u8]) -> Result<g::gss_buffer_set_t> {
    let mut minor = 0;
    let mut set = core::ptr::null_mut();
    let mut member = g::gss_buffer_desc { length: bytes.len(), value: bytes.as_mut_ptr().cast() };
    // SAFETY: all places are writable, and `member` describes `bytes`, which are copied. The function is libgssapi's: we
    // export none of this name.
    let major = unsafe { g::gss_add_buffer_set_member(&raw mut minor, &raw mut member, &raw mut set) };
    if major == COMPLETE { Ok(set) } else { Err(HostError::Memory.into()) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_set_sec_context_option(
    minor_status: *mut g::OM_uint32,
    context_handle: *mut g::gss_ctx_id_t,
    desired_object: g::gss_OID,
    value: g::gss_buffer_t,
) -> Major {
    let body = || {
        if context_handle.is_null() {
            return Err(ApiMisuse::NullInput.into());
        }
        // SAFETY: by this function's contract.
        let object = unsafe { oid::bytes(desired_object) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let value = unsafe { ptr::bytes(value) }?.unwrap_or(&[]);
        // SAFETY: likewise.
        let handle = unsafe { context_handle.read() };
        // SAFETY: likewise.
        let mut context = unsafe { Handle::lock(handle) }?;
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
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

same_signature! {
    gss_init_sec_context, _, _, _, _, _, _, _, _, _, _, _, _, _;
    gss_accept_sec_context, _, _, _, _, _, _, _, _, _, _, _;
    gss_delete_sec_context, _, _, _;
    gss_context_time, _, _, _;
    gss_inquire_context, _, _, _, _, _, _, _, _, _;
    gss_export_sec_context, _, _, _;
    gss_import_sec_context, _, _, _;
    gss_inquire_sec_context_by_oid, _, _, _, _;
    gss_set_sec_context_option, _, _, _, _;
}

const _: () = {
    const fn moved<T: Send>() {}
    moved::<Context>();
};
