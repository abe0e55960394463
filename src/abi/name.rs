//! Names: importing, displaying, copying, releasing.

use core::ffi::c_int;

use libgssapi_sys as g;

use super::{
    entry,
    oid::{self, name_type},
    ptr::{self, Out},
    types::{COMPLETE, Major, same_signature},
};
use crate::{
    error::{ApiMisuse, Result},
    host::Host as _,
    name::Name,
    sys::{self, System},
};

/// # Safety
/// As RFC 2744 5.16 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_import_name(
    minor_status: *mut g::OM_uint32,
    input_name_buffer: g::gss_buffer_t,
    input_name_type: g::gss_OID,
    output_name: *mut g::gss_name_t,
) -> Major {
    // SAFETY: by this function's contract.
    let output = unsafe { Out::cleared(output_name, core::ptr::null_mut()) };
    let body = || {
        let mut output = output.required()?;
        // SAFETY: by this function's contract.
        let bytes = unsafe { ptr::bytes(input_name_buffer) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let kind = unsafe { oid::bytes(input_name_type) }?.unwrap_or(name_type::USER);
        output.put(ptr::handle(import(bytes, kind)?));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The name that `bytes` are, read as one of type `kind`.
fn import(bytes: &[u8], kind: &[u8]) -> Result<Name> {
    // Some programs count the NUL of their C string.
    let text = || str::from_utf8(bytes.strip_suffix(b"\0").unwrap_or(bytes)).map_err(|_| ApiMisuse::BadName);
    let user_of = |uid| Name::parse_user(&sys::user_name(uid).ok_or(ApiMisuse::BadName)?);
    match kind {
        name_type::USER => Name::parse_user(text()?),
        name_type::SERVICE | name_type::SERVICE_X => Name::parse_service(text()?, &System.names().dns_computer),
        name_type::ANONYMOUS => Ok(Name::Anonymous),
        name_type::STRING_UID => user_of(text()?.parse().map_err(|_| ApiMisuse::BadName)?),
        name_type::MACHINE_UID => user_of(bytes.try_into().map(u32::from_ne_bytes).map_err(|_| ApiMisuse::BadName)?),
        _ => Err(ApiMisuse::BadNameType.into()),
    }
}

/// # Safety
/// As RFC 2744 5.12 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_display_name(
    minor_status: *mut g::OM_uint32,
    input_name: g::gss_name_t,
    output_name_buffer: g::gss_buffer_t,
    output_name_type: *mut g::gss_OID,
) -> Major {
    // SAFETY: by this function's contract.
    let output = unsafe { Out::cleared(output_name_buffer, ptr::EMPTY) };
    // SAFETY: likewise.
    let mut kind = unsafe { Out::cleared(output_name_type, core::ptr::null_mut()) };
    let body = || {
        let mut output = output.required()?;
        // SAFETY: by this function's contract.
        let name: &Name = unsafe { ptr::borrow(input_name) }.ok_or(ApiMisuse::BadName)?;
        output.put(ptr::text(&name.to_string())?);
        kind.put(type_of(name));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The type of a name, as libgssapi's own pointer: the mechglue and some programs compare pointers.
fn type_of(name: &Name) -> g::gss_OID {
    match name {
        // SAFETY: libgssapi sets it when it is built and never again.
        Name::User(_) => unsafe { g::GSS_C_NT_USER_NAME },
        // SAFETY: likewise.
        Name::Service(_) => unsafe { g::GSS_C_NT_HOSTBASED_SERVICE },
        // SAFETY: likewise.
        Name::Anonymous => unsafe { g::GSS_C_NT_ANONYMOUS },
    }
}

/// # Safety
/// As RFC 2744 5.28 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_release_name(
    minor_status: *mut g::OM_uint32,
    input_name: *mut g::gss_name_t,
) -> Major {
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { ptr::release::<Name, _>(input_name) };
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.13 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_duplicate_name(
    minor_status: *mut g::OM_uint32,
    src_name: g::gss_name_t,
    dest_name: *mut g::gss_name_t,
) -> Major {
    // SAFETY: by this function's contract.
    let copy = unsafe { Out::cleared(dest_name, core::ptr::null_mut()) };
    let body = || {
        let mut copy = copy.required()?;
        // SAFETY: by this function's contract.
        let name: &Name = unsafe { ptr::borrow(src_name) }.ok_or(ApiMisuse::BadName)?;
        copy.put(ptr::handle(name.clone()));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// NTLM names have no attributes: the set of their names is none at all.
///
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
    let _attrs = unsafe { Out::cleared(attrs, core::ptr::null_mut()) };
    let body = || {
        // SAFETY: by this function's contract.
        let _name: &Name = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        is_mn.put(1);
        mech.put(oid::ntlm());
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The account on this computer that a name stands for: the bare account where its domain is this computer's or none, else
/// `DOMAIN\account`, so that nobody of a foreign domain passes for a local user.
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
    let local = unsafe { Out::cleared(localname, ptr::EMPTY) };
    let body = || {
        let mut local = local.required()?;
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mech_type) }?;
        // SAFETY: likewise.
        let name: &Name = unsafe { ptr::borrow(name) }.ok_or(ApiMisuse::BadName)?;
        let Name::User(user) = name else {
            return Err(ApiMisuse::NotAvailable.into());
        };
        let names = System.names();
        local.put(ptr::text(&user.local(&names.domain, &names.computer))?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

same_signature! {
    gss_import_name, _, _, _, _;
    gss_display_name, _, _, _, _;
    gss_release_name, _, _;
    gss_duplicate_name, _, _, _;
    gss_inquire_name, _, _, _, _, _;
    gss_localname, _, _, _, _;
}
