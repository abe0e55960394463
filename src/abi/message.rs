//! Messages of an established context.

use core::ffi::c_int;

use super::{
    COMPLETE, Major,
    context::ContextHandle,
    ptr::{Bytes, Out, Ref, Unused},
};
use crate::{
    error::{ApiMisuse, Result},
    session::{Buffer, split_token, unsealed_token},
    sys::Malloced,
};

/// `gss_get_mic`, RFC 2744 5.15.
pub(super) fn get_mic(context: Ref<ContextHandle>, qop: u32, message: Bytes, token: Out<Malloced>) -> Result<Major> {
    token.ensure_given()?;
    let message = message.required()?;
    ensure_default_qop(qop)?;
    let signature = context.lock()?.session()?.get_mic(&[message])?;
    token.put(Malloced::copy(&signature)?);
    Ok(COMPLETE)
}

/// `gss_verify_mic`, RFC 2744 5.32.
pub(super) fn verify_mic(
    context: Ref<ContextHandle>, message: Bytes, token: Bytes, _qop_state: Out<u32>,
) -> Result<Major> {
    let (message, token) = (message.required()?, token.required()?);
    context.lock()?.verify_mic(&[message], token)?;
    Ok(COMPLETE)
}

/// `gss_wrap`, RFC 2744 5.33: an established context either seals or does not, whatever the caller asks of one message.
pub(super) fn wrap(
    context: Ref<ContextHandle>, _conf_req: Unused<c_int>, qop: u32, message: Bytes, conf_state: Out<c_int>,
    output: Out<Malloced>,
) -> Result<Major> {
    output.ensure_given()?;
    let message = message.required()?;
    ensure_default_qop(qop)?;
    let mut context = context.lock()?;
    let session = context.session()?;
    let mut token = Malloced::concat(&unsealed_token(message))?;
    session.wrap_token(token.as_mut_slice())?;
    output.put(token);
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_unwrap`, RFC 2744 5.31.
pub(super) fn unwrap(
    context: Ref<ContextHandle>, token: Bytes, output: Out<Malloced>, conf_state: Out<c_int>, _qop_state: Out<u32>,
) -> Result<Major> {
    output.ensure_given()?;
    let token = token.required()?;
    let mut context = context.lock()?;
    let session = context.session()?;
    let (signature, sealed) = split_token(token)?;
    let mut data = Malloced::copy(sealed)?;
    session.unwrap(&mut [Buffer::Data(data.as_mut_slice())], signature)?;
    output.put(data);
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_wrap_size_limit`, RFC 2744 5.34.
pub(super) fn wrap_size_limit(
    context: Ref<ContextHandle>, _conf_req: Unused<c_int>, qop: u32, output_size: u32, limit: Out<u32>,
) -> Result<Major> {
    limit.ensure_given()?;
    ensure_default_qop(qop)?;
    limit.put(context.lock()?.session()?.wrap_size_limit(output_size)?);
    Ok(COMPLETE)
}

/// NTLM has one quality of protection, the default.
pub(super) fn ensure_default_qop(qop: u32) -> Result<()> {
    if qop == 0 { Ok(()) } else { Err(ApiMisuse::BadQop.into()) }
}
