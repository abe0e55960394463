//! Names: importing, displaying, comparing, exporting, copying, releasing.

use core::ffi::c_int;

use libgssapi_sys as g;

use super::{
    entry,
    oid::{self, name_type},
    ptr::{self, Malloced, Out},
    types::{COMPLETE, Major, same_signature},
};
use crate::{
    error::{ApiMisuse, Result},
    host::Host as _,
    name::{Name, Principal},
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
        output.put(ptr::handle(Principal::from(import(bytes, kind)?)));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The name that `bytes` are, read as one of type `kind`.
fn import(bytes: &[u8], kind: &[u8]) -> Result<Name> {
    // Some programs count the NUL of their C string.
    let text = || str::from_utf8(without_nul(bytes)).map_err(|_| ApiMisuse::BadName);
    match kind {
        name_type::USER => Name::parse_user(text()?),
        name_type::SERVICE | name_type::SERVICE_X => Name::parse_service(text()?, &System.names().host_name),
        name_type::ANONYMOUS => Ok(Name::Anonymous),
        name_type::EXPORT_NAME => {
            let text = exported_text(bytes).and_then(|text| str::from_utf8(text).ok()).ok_or(ApiMisuse::BadName)?;
            Name::parse_canonical(text)
        }
        name_type::STRING_UID | name_type::MACHINE_UID => {
            let account = uid(bytes, kind).and_then(sys::user_name).ok_or(ApiMisuse::BadName)?;
            Name::parse_user(&account)
        }
        _ => Err(ApiMisuse::BadNameType.into()),
    }
}

/// The user id that `bytes` are, in digits or as a number of this machine, by their `kind`.
pub(super) fn uid(bytes: &[u8], kind: &[u8]) -> Option<u32> {
    match kind {
        name_type::STRING_UID => str::from_utf8(without_nul(bytes)).ok()?.parse().ok(),
        name_type::MACHINE_UID => bytes.try_into().map(u32::from_ne_bytes).ok(),
        _ => None,
    }
}

/// Some programs count the NUL of their C string.
fn without_nul(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}

/// The TOK_ID and, in DER, the mechanism of an exported name (RFC 2743 3.2), each behind its length but the TOK_ID.
fn exported_head() -> Vec<u8> {
    [&[0x04, 0x01, 0, 12, 0x06, 10][..], &oid::NTLM_BYTES].concat()
}

/// The name in an exported name, which has to be all of it.
fn exported_text(token: &[u8]) -> Option<&[u8]> {
    let (length, text) = token.strip_prefix(&exported_head()[..])?.split_first_chunk()?;
    (usize::try_from(u32::from_be_bytes(*length)) == Ok(text.len())).then_some(text)
}

/// # Safety
/// As RFC 2744 5.13 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_export_name(
    minor_status: *mut g::OM_uint32,
    input_name: g::gss_name_t,
    exported_name: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let exported = unsafe { Out::cleared(exported_name, ptr::EMPTY) };
    let body = || {
        let mut exported = exported.required()?;
        // SAFETY: by this function's contract.
        let principal: &Principal = unsafe { ptr::borrow(input_name) }.ok_or(ApiMisuse::BadName)?;
        let text = principal.name.canonical();
        let length = u32::try_from(text.len()).map_err(|_| ApiMisuse::BadName)?.to_be_bytes();
        let token = Malloced::concat(&[&exported_head(), &length, text.as_bytes()])?;
        exported.put(token.into_buffer());
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.3 says, but `minor_status` may be NULL, as `gss_userok` has it; the names are ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_compare_name(
    minor_status: *mut g::OM_uint32,
    name1: g::gss_name_t,
    name2: g::gss_name_t,
    name_equal: *mut c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let equal = unsafe { Out::cleared(name_equal, 0) };
    let body = || {
        let mut equal = equal.required()?;
        // SAFETY: by this function's contract.
        let first: &Principal = unsafe { ptr::borrow(name1) }.ok_or(ApiMisuse::BadName)?;
        // SAFETY: likewise.
        let second: &Principal = unsafe { ptr::borrow(name2) }.ok_or(ApiMisuse::BadName)?;
        equal.put(c_int::from(first.name.is_same(&second.name)));
        Ok(COMPLETE)
    };
    let mut unwanted = 0;
    let minor_status = if minor_status.is_null() { &raw mut unwanted } else { minor_status };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
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
        let Principal { name, .. } = unsafe { ptr::borrow(input_name) }.ok_or(ApiMisuse::BadName)?;
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
        unsafe { ptr::release::<Principal, _>(input_name) };
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
        let principal: &Principal = unsafe { ptr::borrow(src_name) }.ok_or(ApiMisuse::BadName)?;
        copy.put(ptr::handle(principal.clone()));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

same_signature! {
    gss_import_name, _, _, _, _;
    gss_export_name, _, _, _;
    gss_compare_name, _, _, _, _;
    gss_display_name, _, _, _, _;
    gss_release_name, _, _;
    gss_duplicate_name, _, _, _;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_name_is_all_of_its_token() {
        let token = [&exported_head()[..], &[0, 0, 0, 6], b"DOM\\al"].concat();
        assert_eq!(import(&token, name_type::EXPORT_NAME), Name::parse_user("DOM\\al"));
        for len in 0..token.len() {
            assert!(import(&token[..len], name_type::EXPORT_NAME).is_err(), "accepted {len} bytes");
        }
        assert!(import(&[&token[..], b"x"].concat(), name_type::EXPORT_NAME).is_err());
    }
}
