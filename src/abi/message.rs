//! Messages of an established context.

use core::ffi::c_int;

use libgssapi_sys as g;

use super::{
    context::Handle,
    entry,
    ptr::{self, Malloced, Out},
    types::{COMPLETE, Major, same_signature},
};
use crate::{
    context::Context,
    error::{ApiMisuse, Error, Fault, FieldName, InvalidMessage, Message, Result},
    session::{Buffer, MessageSignature},
};

/// # Safety
/// As RFC 2744 5.15 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_get_mic(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    qop_req: g::gss_qop_t,
    message_buffer: g::gss_buffer_t,
    message_token: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let message = unsafe { ptr::bytes(message_buffer) };
    // SAFETY: by this function's contract.
    let token = unsafe { Out::cleared(message_token, ptr::EMPTY) };
    let body = || {
        let mut token = token.required()?;
        let message = message?.ok_or(ApiMisuse::NullInput)?;
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let signature = unsafe { Handle::lock(context_handle) }?.session()?.get_mic(&[message])?;
        token.put(ptr::buffer(&signature.0)?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.32 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_verify_mic(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    message_buffer: g::gss_buffer_t,
    message_token: g::gss_buffer_t,
    qop_state: *mut g::gss_qop_t,
) -> Major {
    // SAFETY: by this function's contract.
    let _qop = unsafe { Out::cleared(qop_state, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        let message = unsafe { ptr::bytes(message_buffer) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let token = unsafe { ptr::bytes(message_token) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let mut context = unsafe { Handle::lock(context_handle) }?;
        let session = context.session()?;
        let signature = token.try_into().map_err(|_| wrong_length(Message::MicToken))?;
        session.verify_mic(&[message], &MessageSignature(signature))?;
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.33 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_wrap(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    _conf_req_flag: c_int,
    qop_req: g::gss_qop_t,
    input_message_buffer: g::gss_buffer_t,
    conf_state: *mut c_int,
    output_message_buffer: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let message = unsafe { ptr::bytes(input_message_buffer) };
    // SAFETY: by this function's contract.
    let mut conf_state = unsafe { Out::cleared(conf_state, 0) };
    // SAFETY: likewise.
    let output = unsafe { Out::cleared(output_message_buffer, ptr::EMPTY) };
    let body = || {
        let mut output = output.required()?;
        let message = message?.ok_or(ApiMisuse::NullInput)?;
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let mut context = unsafe { Handle::lock(context_handle) }?;
        let session = context.session()?;
        let mut token = Malloced::concat(&[&[0; MessageSignature::LEN], message])?;
        let (signature, data) = token.as_mut_slice().split_first_chunk_mut().ok_or(Error::Internal)?;
        *signature = session.wrap(&mut [Buffer::Data(data)])?.0;
        output.put(token.into_buffer());
        conf_state.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.31 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_unwrap(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    input_message_buffer: g::gss_buffer_t,
    output_message_buffer: g::gss_buffer_t,
    conf_state: *mut c_int,
    qop_state: *mut g::gss_qop_t,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let token = unsafe { ptr::bytes(input_message_buffer) };
    // SAFETY: by this function's contract.
    let output = unsafe { Out::cleared(output_message_buffer, ptr::EMPTY) };
    // SAFETY: likewise.
    let mut conf_state = unsafe { Out::cleared(conf_state, 0) };
    // SAFETY: likewise.
    let _qop = unsafe { Out::cleared(qop_state, 0) };
    let body = || {
        let mut output = output.required()?;
        let token = token?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: by this function's contract.
        let mut context = unsafe { Handle::lock(context_handle) }?;
        let session = context.session()?;
        let (signature, sealed) = token.split_first_chunk().ok_or_else(|| wrong_length(Message::WrapToken))?;
        let mut data = Malloced::concat(&[sealed])?;
        session.unwrap(&mut [Buffer::Data(data.as_mut_slice())], &MessageSignature(*signature))?;
        output.put(data.into_buffer());
        conf_state.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.34 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_wrap_size_limit(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    _conf_req_flag: c_int,
    qop_req: g::gss_qop_t,
    req_output_size: g::OM_uint32,
    max_input_size: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract.
    let limit = unsafe { Out::cleared(max_input_size, 0) };
    let body = || {
        let mut limit = limit.required()?;
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        unsafe { Handle::lock(context_handle) }?.session()?;
        limit.put(Context::wrap_size_limit(req_output_size));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// NTLM has one quality of protection, the default.
pub(super) fn refuse_qop(qop: g::gss_qop_t) -> Result<()> {
    if qop == 0 { Ok(()) } else { Err(ApiMisuse::BadQop.into()) }
}

/// The error that a token of this kind is too short or too long.
pub(super) fn wrong_length(message: Message) -> Error {
    InvalidMessage { message, field: FieldName::Token, fault: Fault::WrongLength }.into()
}

same_signature! {
    gss_get_mic, _, _, _, _, _;
    gss_verify_mic, _, _, _, _, _;
    gss_wrap, _, _, _, _, _, _, _;
    gss_unwrap, _, _, _, _, _, _;
    gss_wrap_size_limit, _, _, _, _, _, _;
}
