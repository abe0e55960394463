//! What libgssapi-sys lacks.

use libgssapi_sys as g;

/// A major status.
pub(super) type Major = g::OM_uint32;

/// GSS_S_COMPLETE.
pub(super) const COMPLETE: Major = 0;

/// Fails to compile unless our function has the very type that the header declares for the mechglue's.
macro_rules! same_signature {
    ($($name:ident $(,$argument:tt)*);* $(;)?) => {$(
        const _: () = {
            let _ = [libgssapi_sys::$name as unsafe extern "C" fn($($argument),*) -> _, $name];
        };
    )*};
}

pub(super) use same_signature;

/// The entry points whose prototypes no installed header has, as the mechglue calls them.
pub(super) type AcquireCredWithPassword = unsafe extern "C" fn(
    *mut g::OM_uint32,
    g::gss_name_t,
    g::gss_buffer_t,
    g::OM_uint32,
    g::gss_OID_set,
    g::gss_cred_usage_t,
    *mut g::gss_cred_id_t,
    *mut g::gss_OID_set,
    *mut g::OM_uint32,
) -> g::OM_uint32;
/// Not the function of that name in `gssapi_ext.h`: the handle is passed by reference.
pub(super) type SetCredOption =
    unsafe extern "C" fn(*mut g::OM_uint32, *mut g::gss_cred_id_t, g::gss_OID, g::gss_buffer_t) -> g::OM_uint32;
pub(super) type MechInvoke =
    unsafe extern "C" fn(*mut g::OM_uint32, g::gss_OID, g::gss_OID, g::gss_buffer_t) -> g::OM_uint32;
pub(super) type QueryMechanismInfo =
    unsafe extern "C" fn(*mut g::OM_uint32, g::gss_const_OID, *mut core::ffi::c_uchar) -> g::OM_uint32;
pub(super) type AuthorizeLocalname =
    unsafe extern "C" fn(*mut g::OM_uint32, g::gss_name_t, g::gss_buffer_t, g::gss_OID) -> g::OM_uint32;
pub(super) type InternalReleaseOid = unsafe extern "C" fn(*mut g::OM_uint32, *mut g::gss_OID) -> g::OM_uint32;
