//! What is known about a name (RFC 6680), and which account of this computer it may use.

use core::ffi::c_int;
use std::borrow::Cow;

use libgssapi_sys as g;

use super::{
    entry, name,
    oid::{self, name_type},
    ptr::{self, Malloced, Out},
    types::{AuthorizeLocalname, COMPLETE, Major, same_signature},
};
use crate::{
    error::{ApiMisuse, HostError, PolicyError, Result},
    name::{Attribute, Name, Principal},
    sys,
};

/// # Safety
/// As RFC 6680 7.4 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_name(
    minor_status: *mut g::OM_uint32,
    name: g::gss_name_t,
    name_is_mn: *mut c_int,
    mn_mech: *mut g::gss_OID,
    attrs: *mut g::gss_buffer_set_t,
) -> Major {
    // SAFETY: by this function's contract.
    let mut is_mn = unsafe { Out::cleared(name_is_mn, 0) };
    // SAFETY: likewise.
    let mut mech = unsafe { Out::cleared(mn_mech, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut attrs = unsafe { Out::cleared(attrs, core::ptr::null_mut()) };
    let body = || {
        // SAFETY: by this function's contract.
        let principal: &Principal = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        if attrs.is_wanted() {
            attrs.put(buffer_set(principal.attributes().map(Attribute::urn))?);
        }
        is_mn.put(1);
        mech.put(oid::ntlm());
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// A set of texts for the caller; NULL for none.
fn buffer_set<'a>(texts: impl Iterator<Item = &'a str>) -> Result<g::gss_buffer_set_t> {
    let mut minor = 0;
    let mut set = core::ptr::null_mut();
    for text in texts {
        let mut member = g::gss_buffer_desc { length: text.len(), value: text.as_ptr().cast_mut().cast() };
        // SAFETY: all places are writable; `member` describes `text`, which is copied. The function is libgssapi's: we export
        // none of this name.
        if unsafe { g::gss_add_buffer_set_member(&raw mut minor, &raw mut member, &raw mut set) } != COMPLETE {
            // SAFETY: nobody else has seen the set. Again libgssapi's.
            unsafe { g::gss_release_buffer_set(&raw mut minor, &raw mut set) };
            return Err(HostError::Memory.into());
        }
    }
    Ok(set)
}

/// What the mechglue asks for a name that comes by another mechanism: through SPNEGO it does not ask `gss_localname` and
/// `gssspi_authorize_localname`, and would let anybody in whose name compares equal.
const LOCAL_LOGIN_USER: &[u8] = b"local-login-user";

/// `more` is 0 whatever happens, and the buffers are empty unless there is a value: the mechglue goes on asking otherwise.
///
/// # Safety
/// As RFC 6680 7.5 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_get_name_attribute(
    minor_status: *mut g::OM_uint32,
    name: g::gss_name_t,
    attr: g::gss_buffer_t,
    authenticated: *mut c_int,
    complete: *mut c_int,
    value: g::gss_buffer_t,
    display_value: g::gss_buffer_t,
    more: *mut c_int,
) -> Major {
    // SAFETY: by this function's contract. Read before any output is cleared: the two may be the same.
    let urn = unsafe { ptr::bytes(attr) };
    // SAFETY: by this function's contract.
    let mut authenticated = unsafe { Out::cleared(authenticated, 0) };
    // SAFETY: likewise.
    let mut complete = unsafe { Out::cleared(complete, 0) };
    // SAFETY: likewise.
    let mut value = unsafe { Out::cleared(value, ptr::EMPTY) };
    // SAFETY: likewise.
    let mut display_value = unsafe { Out::cleared(display_value, ptr::EMPTY) };
    // SAFETY: likewise.
    let _more = unsafe { Out::cleared(more, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        let principal: &Principal = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        let urn = urn?.ok_or(ApiMisuse::NullInput)?;
        let (text, is_vouched_for) = if urn == LOCAL_LOGIN_USER {
            (local_name(&principal.name)?.map(Cow::Owned), true)
        } else {
            let attribute = Attribute::named(urn).ok_or(ApiMisuse::NoAttribute)?;
            (principal.get(attribute).map(Cow::Borrowed), principal.is_vouched_for(attribute))
        };
        let text = text.ok_or(ApiMisuse::NoAttribute)?;
        let copies = [Malloced::concat(&[text.as_bytes()])?, Malloced::concat(&[text.as_bytes()])?];
        for (out, copy) in [&mut value, &mut display_value].into_iter().zip(copies) {
            if out.is_wanted() {
                out.put(copy.into_buffer());
            }
        }
        authenticated.put(c_int::from(is_vouched_for));
        complete.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The account on this computer that a name stands for: the bare account where its domain is this computer's or none, else
/// `DOMAIN\account`, so that nobody of a foreign domain passes for a local user. The domain that this computer is a member of
/// is a foreign one, unless NETBIOS_DOMAIN_NAME names it: its accounts need not be this computer's of the same name.
///
/// # Safety
/// As krb5's `gssapi_ext.h` says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_localname(
    minor_status: *mut g::OM_uint32,
    name: g::gss_name_t,
    mech_type: g::gss_const_OID,
    localname: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let out = unsafe { Out::cleared(localname, ptr::EMPTY) };
    let body = || {
        let mut out = out.required()?;
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mech_type) }?;
        // SAFETY: likewise.
        let principal: &Principal = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        out.put(ptr::text(&local_name(&principal.name)?.ok_or(ApiMisuse::NotAvailable)?)?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// Whether a name may use a local account: only the one that `gss_localname` says, letter for letter, because accounts of this
/// computer differ by letter case.
///
/// # Safety
/// As the mechglue calls it: the name is ours, each other pointer is NULL or readable.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gssspi_authorize_localname(
    minor_status: *mut g::OM_uint32,
    name: g::gss_name_t,
    local_user: g::gss_buffer_t,
    local_name_type: g::gss_OID,
) -> Major {
    let body = || {
        // SAFETY: by this function's contract.
        let principal: &Principal = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        // SAFETY: likewise.
        let user = unsafe { ptr::bytes(local_user) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let kind = unsafe { oid::bytes(local_name_type) }?.unwrap_or(name_type::USER);
        let account = match kind {
            name_type::USER => str::from_utf8(user).ok().map(str::to_owned),
            // As the system calls that account, with its domain if it has one there.
            _ => name::uid(user, kind).and_then(sys::user_name),
        };
        let local = local_name(&principal.name)?;
        if local.is_some() && local == account { Ok(COMPLETE) } else { Err(PolicyError::NotThisAccount.into()) }
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// What the account of a name is called on this computer; nothing for names that are no user's.
fn local_name(name: &Name) -> Result<Option<String>> {
    match name {
        Name::User(user) => Ok(Some(sys::env()?.local_name(user))),
        Name::Service(_) | Name::Anonymous => Ok(None),
    }
}

same_signature! {
    gss_inquire_name, _, _, _, _, _;
    gss_get_name_attribute, _, _, _, _, _, _, _, _;
    gss_localname, _, _, _, _;
}
const _: AuthorizeLocalname = gssspi_authorize_localname;
