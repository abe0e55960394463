//! Object identifiers and sets of them.

use core::ptr;

use libgssapi_sys as g;

use super::{
    ptr::slice,
    types::{COMPLETE, InternalReleaseOid, Major},
};
use crate::error::{ApiMisuse, HostError, Result};

/// An OID of ours that lives as long as the process.
#[repr(transparent)]
pub(super) struct StaticOid(g::gss_OID_desc);

// SAFETY: nothing ever writes to it, and the bytes that it points at are static.
unsafe impl Sync for StaticOid {}

/// 1.3.6.1.4.1.311.2.2.10.
static NTLM: StaticOid = StaticOid(g::gss_OID_desc { length: 10, elements: NTLM_BYTES.as_ptr().cast_mut().cast() });
/// Its elements.
pub(super) static NTLM_BYTES: [u8; 10] = *b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// The private OIDs of the mechanism, below 1.3.6.1.4.1.7165.655.1.
pub(super) mod private {
    /// A sequence number for a connectionless context (`gss_set_sec_context_option`).
    pub(in crate::abi) const SET_SEQ_NUM: &[u8] = b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x01";
    /// Whether SPNEGO must exchange a mechListMIC (`gss_inquire_sec_context_by_oid`).
    pub(in crate::abi) const SPNEGO_REQUIRE_MIC: &[u8] = b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x02";
    /// Restarts an RC4 stream (`gss_set_sec_context_option`).
    pub(in crate::abi) const RESET_CRYPTO: &[u8] = b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x03";
    /// The trace file (`gssspi_mech_invoke`).
    pub(in crate::abi) const DEBUG: &[u8] = b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x04";
    /// NegotiateFlags of a credential (`gssspi_set_cred_option`).
    pub(in crate::abi) const NEG_FLAGS: &[u8] = b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x05";
}

/// GSS_C_INQ_SSPI_SESSION_KEY, 1.2.840.113554.1.2.2.5.5.
pub(super) const SSPI_SESSION_KEY: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x05";
/// GSS_C_SEC_CONTEXT_SASL_SSF, 1.2.840.113554.1.2.2.5.15.
pub(super) const SASL_SSF: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0f";
/// GSS_KRB5_CRED_NO_CI_FLAGS_X, 1.2.752.43.13.29.
pub(super) const NO_CI_FLAGS: &[u8] = b"\x2a\x85\x70\x2b\x0d\x1d";

/// The types of names, by value.
pub(super) mod name_type {
    /// GSS_C_NT_USER_NAME, 1.2.840.113554.1.2.1.1.
    pub(in crate::abi) const USER: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x01";
    /// GSS_C_NT_MACHINE_UID_NAME.
    pub(in crate::abi) const MACHINE_UID: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x02";
    /// GSS_C_NT_STRING_UID_NAME.
    pub(in crate::abi) const STRING_UID: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x03";
    /// GSS_C_NT_HOSTBASED_SERVICE.
    pub(in crate::abi) const SERVICE: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";
    /// GSS_C_NT_HOSTBASED_SERVICE_X, 1.3.6.1.5.6.2.
    pub(in crate::abi) const SERVICE_X: &[u8] = b"\x2b\x06\x01\x05\x06\x02";
    /// GSS_C_NT_ANONYMOUS, 1.3.6.1.5.6.3.
    pub(in crate::abi) const ANONYMOUS: &[u8] = b"\x2b\x06\x01\x05\x06\x03";
    /// GSS_C_NT_EXPORT_NAME, 1.3.6.1.5.6.4.
    pub(in crate::abi) const EXPORT_NAME: &[u8] = b"\x2b\x06\x01\x05\x06\x04";
}

/// The mechanism's OID for the caller, who does not free it.
pub(super) fn ntlm() -> g::gss_OID {
    ptr::from_ref(&NTLM).cast_mut().cast()
}

/// The bytes of an OID of the caller's; `None` for NULL.
///
/// # Safety
/// `oid` is NULL or points at a descriptor of readable bytes.
pub(super) unsafe fn bytes<'call>(oid: *const g::gss_OID_desc) -> Result<Option<&'call [u8]>> {
    if oid.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract; read by value.
    let g::gss_OID_desc { length, elements } = unsafe { oid.read() };
    let length = usize::try_from(length).map_err(|_| ApiMisuse::BadArgument)?;
    // SAFETY: by this function's contract.
    unsafe { slice(length, elements) }.map(Some)
}

/// Refuses a mechanism that is not NTLM; NULL stands for ours.
///
/// # Safety
/// As [`bytes`].
pub(super) unsafe fn refuse_other_mech(mech: *const g::gss_OID_desc) -> Result<()> {
    // SAFETY: by this function's contract.
    match unsafe { bytes(mech) }? {
        None => Ok(()),
        Some(bytes) if bytes == NTLM_BYTES => Ok(()),
        Some(_) => Err(ApiMisuse::BadMech.into()),
    }
}

/// A set of libgssapi's own OIDs, given by where it keeps them, for the caller, who frees it with `gss_release_oid_set`.
///
/// # Errors
/// [`HostError::Memory`].
pub(super) fn set_of<const N: usize>(oids: [*const g::gss_const_OID; N]) -> Result<g::gss_OID_set> {
    // SAFETY: libgssapi sets these variables when it is built and never again.
    set(&oids.map(|oid| unsafe { oid.read() }))
}

/// The set of this mechanism alone, likewise.
///
/// # Errors
/// [`HostError::Memory`].
pub(super) fn set_of_ntlm() -> Result<g::gss_OID_set> {
    set(&[ntlm().cast_const()])
}

fn set(oids: &[g::gss_const_OID]) -> Result<g::gss_OID_set> {
    let mut minor = 0;
    let mut set = ptr::null_mut();
    // SAFETY: both places are writable. The function is libgssapi's: we export none of this name.
    if unsafe { g::gss_create_empty_oid_set(&raw mut minor, &raw mut set) } != COMPLETE {
        return Err(HostError::Memory.into());
    }
    for oid in oids {
        // SAFETY: the set is the one just made; the OID is static, and copied. Again libgssapi's.
        if unsafe { g::gss_add_oid_set_member(&raw mut minor, oid.cast_mut(), &raw mut set) } != COMPLETE {
            // SAFETY: nobody else has seen the set. Again libgssapi's.
            unsafe { g::gss_release_oid_set(&raw mut minor, &raw mut set) };
            return Err(HostError::Memory.into());
        }
    }
    Ok(set)
}

/// Called for every OID that a program releases: ours are static and not to be freed, which only their address tells.
///
/// The mechglue holds its lock meanwhile: nothing of it may be called here, which `entry` could do. Nothing here can fail.
///
/// # Safety
/// As RFC 2744 says for `gss_release_oid`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_internal_release_oid(
    minor_status: *mut g::OM_uint32,
    oid: *mut g::gss_OID,
) -> Major {
    // SAFETY: by this function's contract.
    let _minor = unsafe { super::ptr::Out::cleared(minor_status, 0) };
    if oid.is_null() {
        return g::_GSS_S_CONTINUE_NEEDED;
    }
    // SAFETY: by this function's contract.
    if unsafe { oid.read() } != ntlm() {
        return g::_GSS_S_CONTINUE_NEEDED;
    }
    // SAFETY: likewise.
    unsafe { oid.write(ptr::null_mut()) };
    COMPLETE
}

const _: InternalReleaseOid = gss_internal_release_oid;
