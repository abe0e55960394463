//! The mechanism itself: its attributes, its names, its trace.

use core::ffi::c_uchar;

use libgssapi_sys as g;

use super::{
    entry,
    oid::{self, private},
    ptr::{self, Malloced, Out},
    status,
    types::{COMPLETE, Major, MechInvoke, QueryMechanismInfo, same_signature},
};
use crate::{
    error::ApiMisuse,
    sys::{self, System},
};

/// The mechanism's name in SASL (RFC 5801).
const SASL_NAME: &str = "GS2-NTLM";

/// # Safety
/// As RFC 2744 5.24 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_names_for_mech(
    minor_status: *mut g::OM_uint32,
    mechanism: g::gss_OID,
    name_types: *mut g::gss_OID_set,
) -> Major {
    // SAFETY: by this function's contract.
    let types = unsafe { Out::cleared(name_types, core::ptr::null_mut()) };
    let body = || {
        let mut types = types.required()?;
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mechanism) }?;
        types.put(oid::set_of([
            (&raw const g::GSS_C_NT_USER_NAME).cast(),
            (&raw const g::GSS_C_NT_HOSTBASED_SERVICE).cast(),
            (&raw const g::GSS_C_NT_HOSTBASED_SERVICE_X).cast(),
            (&raw const g::GSS_C_NT_MACHINE_UID_NAME).cast(),
            (&raw const g::GSS_C_NT_STRING_UID_NAME).cast(),
            (&raw const g::GSS_C_NT_ANONYMOUS).cast(),
            (&raw const g::GSS_C_NT_EXPORT_NAME).cast(),
        ])?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 5587 3.4.3 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_attrs_for_mech(
    minor_status: *mut g::OM_uint32,
    mech: g::gss_const_OID,
    mech_attrs: *mut g::gss_OID_set,
    known_mech_attrs: *mut g::gss_OID_set,
) -> Major {
    // SAFETY: by this function's contract.
    let mut attrs = unsafe { Out::cleared(mech_attrs, core::ptr::null_mut()) };
    // SAFETY: likewise. Nothing more is known than what RFC 5587 has, which the mechglue adds itself.
    let _known = unsafe { Out::cleared(known_mech_attrs, core::ptr::null_mut()) };
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mech) }?;
        if attrs.is_wanted() {
            attrs.put(oid::set_of([
                &raw const g::GSS_C_MA_MECH_CONCRETE,
                &raw const g::GSS_C_MA_AUTH_INIT,
                &raw const g::GSS_C_MA_AUTH_INIT_ANON,
                &raw const g::GSS_C_MA_INTEG_PROT,
                &raw const g::GSS_C_MA_CONF_PROT,
                &raw const g::GSS_C_MA_MIC,
                &raw const g::GSS_C_MA_WRAP,
                &raw const g::GSS_C_MA_OOS_DET,
                &raw const g::GSS_C_MA_CBINDINGS,
                &raw const g::GSS_C_MA_CTX_TRANS,
            ])?);
        }
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 5801 10.1 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_saslname_for_mech(
    minor_status: *mut g::OM_uint32,
    desired_mech: g::gss_OID,
    sasl_mech_name: g::gss_buffer_t,
    mech_name: g::gss_buffer_t,
    mech_description: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let sasl_name = unsafe { Out::cleared(sasl_mech_name, ptr::EMPTY) };
    // SAFETY: likewise.
    let name = unsafe { Out::cleared(mech_name, ptr::EMPTY) };
    // SAFETY: likewise.
    let description = unsafe { Out::cleared(mech_description, ptr::EMPTY) };
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(desired_mech) }?;
        let texts = [SASL_NAME, "NTLM", "NTLM Mechanism"].map(|text| Malloced::concat(&[text.as_bytes()]));
        let [sasl_text, name_text, description_text] = texts;
        let made = [(sasl_name, sasl_text?), (name, name_text?), (description, description_text?)];
        for (mut out, text) in made.into_iter().filter(|(out, _)| out.is_wanted()) {
            out.put(text.into_buffer());
        }
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 5801 10.2 says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_mech_for_saslname(
    minor_status: *mut g::OM_uint32,
    sasl_mech_name: g::gss_buffer_t,
    mech_type: *mut g::gss_OID,
) -> Major {
    // SAFETY: by this function's contract.
    let mut mech = unsafe { Out::cleared(mech_type, core::ptr::null_mut()) };
    let body = || {
        // SAFETY: by this function's contract.
        let name = unsafe { ptr::bytes(sasl_mech_name) }?.ok_or(ApiMisuse::NullInput)?;
        if name != SASL_NAME.as_bytes() {
            return Err(ApiMisuse::BadMech.into());
        }
        mech.put(oid::ntlm());
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// Starts the trace to where `value` says, or stops it when `value` is empty.
///
/// # Safety
/// As krb5's mechglue calls it: each pointer is NULL or readable.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gssspi_mech_invoke(
    minor_status: *mut g::OM_uint32,
    desired_mech: g::gss_OID,
    desired_object: g::gss_OID,
    value: g::gss_buffer_t,
) -> Major {
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(desired_mech) }?;
        // SAFETY: likewise.
        let object = unsafe { oid::bytes(desired_object) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let value = unsafe { ptr::bytes(value) }?.unwrap_or(&[]);
        if object != private::DEBUG {
            return Err(ApiMisuse::UnknownOption.into());
        }
        let place = str::from_utf8(value.strip_suffix(b"\0").unwrap_or(value)).map_err(|_| ApiMisuse::BadArgument)?;
        sys::trace_to(place, &System).map(|()| COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// What SPNEGO asks each mechanism before it begins, for a kind of negotiation that NTLM has no part in. The question tells that
/// there is an SPNEGO in this process. It is no error worth remembering.
///
/// # Safety
/// As krb5's mechglue calls it: `minor_status` is NULL or writable.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gssspi_query_mechanism_info(
    minor_status: *mut g::OM_uint32,
    _mech: g::gss_const_OID,
    _auth_scheme: *mut c_uchar,
) -> Major {
    sys::note_spnego();
    let (major, code) = status::code(&ApiMisuse::UnknownOption.into());
    // SAFETY: by this function's contract.
    let _minor = unsafe { Out::cleared(minor_status, code) };
    major
}

same_signature! {
    gss_inquire_names_for_mech, _, _, _;
    gss_inquire_attrs_for_mech, _, _, _, _;
    gss_inquire_saslname_for_mech, _, _, _, _, _;
    gss_inquire_mech_for_saslname, _, _, _;
}
const _: MechInvoke = gssspi_mech_invoke;
const _: QueryMechanismInfo = gssspi_query_mechanism_info;
