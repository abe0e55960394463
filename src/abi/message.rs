//! Messages of an established context.

use core::ffi::c_int;

use super::{
    COMPLETE, Major,
    context::ContextHandle,
    ptr::{Bytes, Malloced, Out, Ref, Unused},
};
use crate::{
    context::Context,
    error::{ApiMisuse, Error, Fault, FieldName, InvalidMessage, Message, Result},
    session::{Buffer, MessageSignature},
};

/// `gss_get_mic`, RFC 2744 5.15.
pub(super) fn get_mic(context: Ref<ContextHandle>, qop: u32, message: Bytes, token: Out<Malloced>) -> Result<Major> {
    token.ensure_given()?;
    let message = message.required()?;
    ensure_default_qop(qop)?;
    let signature = context.lock()?.session()?.get_mic(&[message])?;
    token.put(Malloced::copy(&signature.0)?);
    Ok(COMPLETE)
}

/// `gss_verify_mic`, RFC 2744 5.32.
pub(super) fn verify_mic(
    context: Ref<ContextHandle>,
    message: Bytes,
    token: Bytes,
    _qop_state: Out<u32>,
) -> Result<Major> {
    let (message, token) = (message.required()?, token.required()?);
    let mut context = context.lock()?;
    let session = context.session()?;
    let signature = token.try_into().map_err(|_| wrong_length(Message::MicToken))?;
    session.verify_mic(&[message], &MessageSignature(signature))?;
    Ok(COMPLETE)
}

/// `gss_wrap`, RFC 2744 5.33: an established context either seals or does not, whatever the caller asks of one message.
pub(super) fn wrap(
    context: Ref<ContextHandle>,
    _conf_req: Unused<c_int>,
    qop: u32,
    message: Bytes,
    conf_state: Out<c_int>,
    output: Out<Malloced>,
) -> Result<Major> {
    output.ensure_given()?;
    let message = message.required()?;
    ensure_default_qop(qop)?;
    let mut context = context.lock()?;
    let session = context.session()?;
    let mut token = Malloced::concat(&[&[0; MessageSignature::LEN], message])?;
    let (signature, data) = token.as_mut_slice().split_first_chunk_mut().ok_or(Error::Internal)?;
    *signature = session.wrap(&mut [Buffer::Data(data)])?.0;
    output.put(token);
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_unwrap`, RFC 2744 5.31.
pub(super) fn unwrap(
    context: Ref<ContextHandle>,
    token: Bytes,
    output: Out<Malloced>,
    conf_state: Out<c_int>,
    _qop_state: Out<u32>,
) -> Result<Major> {
    output.ensure_given()?;
    let token = token.required()?;
    let mut context = context.lock()?;
    let session = context.session()?;
    let (signature, sealed) = token.split_first_chunk().ok_or_else(|| wrong_length(Message::WrapToken))?;
    let mut data = Malloced::copy(sealed)?;
    session.unwrap(&mut [Buffer::Data(data.as_mut_slice())], &MessageSignature(*signature))?;
    output.put(data);
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_wrap_size_limit`, RFC 2744 5.34.
pub(super) fn wrap_size_limit(
    context: Ref<ContextHandle>,
    _conf_req: Unused<c_int>,
    qop: u32,
    output_size: u32,
    limit: Out<u32>,
) -> Result<Major> {
    limit.ensure_given()?;
    ensure_default_qop(qop)?;
    context.lock()?.session()?;
    limit.put(Context::wrap_size_limit(output_size));
    Ok(COMPLETE)
}

/// NTLM has one quality of protection, the default.
pub(super) fn ensure_default_qop(qop: u32) -> Result<()> {
    if qop == 0 { Ok(()) } else { Err(ApiMisuse::BadQop.into()) }
}

/// The error that a token of this kind is too short or too long.
pub(super) fn wrong_length(message: Message) -> Error {
    InvalidMessage { message, field: FieldName::Token, fault: Fault::WrongLength }.into()
}
