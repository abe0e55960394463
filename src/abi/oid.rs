//! Object identifiers and sets of them.

use core::{
    mem::ManuallyDrop,
    ptr::{NonNull, from_ref, null_mut},
};

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    ptr::{Argument, Bytes, Output, Promise},
};
use crate::error::{ApiMisuse, HostError, Result};

/// An OID that lives as long as the process and that nobody frees or changes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct StaticOid(g::gss_OID);

// SAFETY: nothing is ever written to what it points at.
unsafe impl Sync for StaticOid {}

impl Output for StaticOid {
    type C = g::gss_OID;
    const CLEARED: g::gss_OID = null_mut();

    fn into_c(self) -> g::gss_OID {
        self.0
    }
}

/// The descriptor of [`NTLM`].
struct Descriptor(g::gss_OID_desc);

// SAFETY: nothing is ever written to it, and the bytes that it points at are static.
unsafe impl Sync for Descriptor {}

static DESCRIPTOR: Descriptor =
    Descriptor(g::gss_OID_desc { length: 10, elements: NTLM_BYTES.as_ptr().cast_mut().cast() });

/// 1.3.6.1.4.1.311.2.2.10.
pub(super) static NTLM: StaticOid = StaticOid(from_ref(&DESCRIPTOR.0).cast_mut());
/// Its elements.
pub(super) static NTLM_BYTES: [u8; 10] = *b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// libgssapi's variables. The mechglue and some programs compare these pointers, so it must be they that are given out.
pub(super) mod libgssapi {
    use super::StaticOid;

    // SAFETY: libgssapi has these variables, of this type, sets them when it is built and never changes them.
    unsafe extern "C" {
        pub(in crate::abi) safe static GSS_C_NT_USER_NAME: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_HOSTBASED_SERVICE: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_HOSTBASED_SERVICE_X: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_MACHINE_UID_NAME: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_STRING_UID_NAME: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_ANONYMOUS: StaticOid;
        pub(in crate::abi) safe static GSS_C_NT_EXPORT_NAME: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_MECH_CONCRETE: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_AUTH_INIT: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_AUTH_INIT_INIT: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_AUTH_INIT_ANON: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_INTEG_PROT: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_CONF_PROT: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_MIC: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_WRAP: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_REPLAY_DET: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_OOS_DET: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_CBINDINGS: StaticOid;
        pub(in crate::abi) safe static GSS_C_MA_CTX_TRANS: StaticOid;
    }
}

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

/// A mechanism that is not NTLM is [`ApiMisuse::BadMech`]; NULL stands for NTLM.
pub(super) fn ensure_ntlm<P>(mech: &Bytes<P>) -> Result<()> {
    match mech.get()? {
        None => Ok(()),
        Some(elements) if elements == NTLM_BYTES => Ok(()),
        Some(_) => Err(ApiMisuse::BadMech.into()),
    }
}

/// A set of OIDs that the caller will free with `gss_release_oid_set`, ours until then.
pub(super) struct OidSet(g::gss_OID_set);

impl OidSet {
    /// A set of copies.
    pub(super) fn of(members: &[StaticOid]) -> Result<Self> {
        let (mut set, mut minor) = (Self(null_mut()), 0);
        // SAFETY: both variables are writable. The function is libgssapi's: we export none of this name.
        if unsafe { g::gss_create_empty_oid_set(&raw mut minor, &raw mut set.0) } != COMPLETE {
            return Err(HostError::Memory.into());
        }
        for member in members {
            // SAFETY: the set is the one just made; the OID is copied. Again libgssapi's function.
            if unsafe { g::gss_add_oid_set_member(&raw mut minor, member.0, &raw mut set.0) } != COMPLETE {
                return Err(HostError::Memory.into());
            }
        }
        Ok(set)
    }
}

impl Output for OidSet {
    type C = g::gss_OID_set;
    const CLEARED: g::gss_OID_set = null_mut();

    fn into_c(self) -> g::gss_OID_set {
        ManuallyDrop::new(self).0
    }
}

impl Drop for OidSet {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the set is NULL or one that libgssapi made and nobody else has seen.
        unsafe { g::gss_release_oid_set(&raw mut minor, &raw mut self.0) };
    }
}

/// A variable with an OID: NULL, or readable and writable. The OID may be any program's, and is not looked at.
pub(super) struct OidVariable(Option<NonNull<g::gss_OID>>);

impl Argument for OidVariable {
    type C = *mut g::gss_OID;

    fn new(argument: *mut g::gss_OID, _: &Promise) -> Self {
        Self(NonNull::new(argument))
    }
}

impl OidVariable {
    /// Clears the variable if that very OID is in it.
    fn clear_if(self, oid: StaticOid) -> bool {
        // SAFETY: the variable is readable.
        let Some(variable) = self.0.filter(|variable| unsafe { variable.read() } == oid.0) else { return false };
        // SAFETY: the variable is writable.
        unsafe { variable.write(null_mut()) };
        true
    }
}

/// `gss_internal_release_oid`: called for every OID that a program releases. Ours are static and not to be freed, which only
/// their address tells.
///
/// The mechglue holds its lock meanwhile, so no function of it may be called here.
pub(super) fn internal_release(oid: OidVariable) -> Result<Major> {
    Ok(if oid.clear_if(NTLM) { COMPLETE } else { g::_GSS_S_CONTINUE_NEEDED })
}
