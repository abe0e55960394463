//! The exported functions: what each gets from C behind `minor_status`, the function that does its work, and the guard that
//! this runs in.

use core::ffi::{c_int, c_uchar};
use std::sync::Arc;

use libgssapi_sys as g;

use super::{
    attribute,
    context::{self, ContextHandle},
    cred,
    guard::{ACQUIRE, handshake, plain, quiet, wiping},
    iov, mech, message, name,
    oid::{self, OidSet, OidVariable, StaticOid},
    ptr::{
        Argument, Bindings, BufferSet, Bytes, ConstOid, IovArray, IovCount, KeyValues, Oid, Out, Promise, Ref, Slot,
        Unused,
    },
    status,
};
use crate::{cred::Credential, name::Principal, sys::Malloced};

/// Exports functions: `name(types of its arguments) => function, guard;`.
///
/// The arguments are made, by which all inputs are read; then all outputs are cleared, for the caller may pass one variable
/// twice; then the function runs in its guard.
///
/// It fails to compile unless the exported function has the type that the header declares for the mechglue's function of that
/// name, or, where no installed header declares it, the type behind `as`.
macro_rules! export {
    ($($name:ident($($kind:ty),*) $(as $prototype:ty)? => $function:path, $guard:path;)*) => {
        $(export!(@ $name [a b c d e f g h i j k l m] [$($kind),*] [] [$($prototype)?] $function, $guard);)*
    };
    // A name for each argument.
    (@ $name:ident [$id:ident $($ids:ident)*] [$kind:ty $(, $kinds:ty)*] [$($named:tt)*] $($rest:tt)*) => {
        export!(@ $name [$($ids)*] [$($kinds),*] [$($named)* $id: $kind,] $($rest)*);
    };
    (@ $name:ident $ids:tt [] [$($id:ident: $kind:ty,)*] [$($prototype:ty)?] $function:path, $guard:path) => {
        /// # Safety
        /// Each argument is what the header says, and each handle is one of this mechanism.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn $name(minor_status: *mut u32, $($id: <$kind as Argument>::C),*) -> u32 {
            // SAFETY: it is used for the arguments of this call alone, whose types are those of the header.
            let promise = unsafe { Promise::of_caller() };
            $(let $id = <$kind as Argument>::new($id, &promise);)*
            $($id.clear();)*
            $guard(Argument::new(minor_status, &promise), || $function($($id),*))
        }
        const _: () = {
            let _ = [
                export!(@prototype $name $($prototype)?),
                $name as unsafe extern "C" fn(*mut u32, $(<$kind as Argument>::C),*) -> u32,
            ];
        };
    };
    (@prototype $name:ident) => { g::$name };
    (@prototype $name:ident $prototype:ty) => {{
        let ours: $prototype = $name;
        ours
    }};
}

// How deep in the stack keys and hashes are left by the last step of a handshake, and by what acquires or imports something.
const INITIATE: usize = 39 << 7;
const ACCEPT: usize = 15 << 9;
const ACQUIRE_WITH_PASSWORD: usize = 4 << 10;
const IMPORT_CONTEXT: usize = 19 << 7;
const IMPORT_CRED: usize = 22 << 7;
const STORE: usize = 30 << 7;

// RFC 2744, in its order, and what krb5 adds beside it.
export! {
    gss_accept_sec_context(
        Slot<ContextHandle>, Ref<Credential>, Bytes, Bindings, Out<Arc<Principal>>, Out<StaticOid>, Out<Malloced>, Out<u32>,
        Out<u32>, Out<Arc<Credential>>
    ) => context::accept, handshake::<ACCEPT>;
    gss_acquire_cred(
        Ref<Principal>, Unused<u32>, Unused<g::gss_OID_set>, c_int, Out<Arc<Credential>>, Out<OidSet>, Out<u32>
    ) => cred::acquire, wiping::<ACQUIRE>;
    gss_acquire_cred_from(
        Ref<Principal>, Unused<u32>, Unused<g::gss_OID_set>, c_int, KeyValues, Out<Arc<Credential>>, Out<OidSet>, Out<u32>
    ) => cred::acquire_from, wiping::<ACQUIRE>;
    gssspi_acquire_cred_with_password(
        Ref<Principal>, Bytes, Unused<u32>, Unused<g::gss_OID_set>, c_int, Out<Arc<Credential>>, Out<OidSet>, Out<u32>
    ) as AcquireCredWithPassword => cred::acquire_with_password, wiping::<ACQUIRE_WITH_PASSWORD>;
    gss_compare_name(Ref<Principal>, Ref<Principal>, Out<c_int>) => name::compare, quiet;
    gss_context_time(Ref<ContextHandle>, Out<u32>) => context::time, plain;
    gss_delete_sec_context(Slot<ContextHandle>, Out<Malloced>) => context::delete, plain;
    gss_display_name(Ref<Principal>, Out<Malloced>, Out<StaticOid>) => name::display, plain;
    gss_display_status(u32, c_int, Oid, Out<u32>, Out<Malloced>) => status::display, plain;
    gss_duplicate_name(Ref<Principal>, Out<Arc<Principal>>) => name::duplicate, plain;
    gss_export_cred(Ref<Credential>, Out<Malloced>) => cred::export, plain;
    gss_export_name(Ref<Principal>, Out<Malloced>) => name::export, plain;
    gss_export_sec_context(Slot<ContextHandle>, Out<Malloced>) => context::export, plain;
    gss_get_mic(Ref<ContextHandle>, u32, Bytes, Out<Malloced>) => message::get_mic, plain;
    gss_get_mic_iov(Ref<ContextHandle>, u32, IovArray, IovCount) => iov::get_mic, plain;
    gss_get_mic_iov_length(Ref<ContextHandle>, u32, IovArray, IovCount) => iov::get_mic_length, plain;
    gss_import_cred(Bytes, Out<Arc<Credential>>) => cred::import, wiping::<IMPORT_CRED>;
    gss_import_name(Bytes, Oid, Out<Arc<Principal>>) => name::import, plain;
    gss_import_sec_context(Bytes, Out<Arc<ContextHandle>>) => context::import, wiping::<IMPORT_CONTEXT>;
    gss_init_sec_context(
        Ref<Credential>, Slot<ContextHandle>, Ref<Principal>, Oid, u32, Unused<u32>, Bindings, Bytes, Out<StaticOid>,
        Out<Malloced>, Out<u32>, Out<u32>
    ) => context::initiate, handshake::<INITIATE>;
    gss_inquire_context(
        Ref<ContextHandle>, Out<Arc<Principal>>, Out<Arc<Principal>>, Out<u32>, Out<StaticOid>, Out<u32>, Out<c_int>,
        Out<c_int>
    ) => context::inquire, plain;
    gss_inquire_cred(Ref<Credential>, Out<Arc<Principal>>, Out<u32>, Out<c_int>, Out<OidSet>) => cred::inquire, wiping::<ACQUIRE>;
    gss_inquire_cred_by_mech(
        Ref<Credential>, Oid, Out<Arc<Principal>>, Out<u32>, Out<u32>, Out<c_int>
    ) => cred::inquire_by_mech, wiping::<ACQUIRE>;
    gss_inquire_names_for_mech(Oid, Out<OidSet>) => mech::inquire_names, plain;
    gss_inquire_sec_context_by_oid(Ref<ContextHandle>, Oid, Out<BufferSet>) => context::inquire_by_oid, plain;
    gss_release_cred(Slot<Credential>) => cred::release, plain;
    gss_release_name(Slot<Principal>) => name::release, plain;
    gss_set_sec_context_option(Slot<ContextHandle>, Oid, Bytes) => context::set_option, plain;
    gssspi_set_cred_option(Slot<Credential>, Oid, Bytes) as SetCredOption => cred::set_option, plain;
    gss_store_cred(
        Ref<Credential>, c_int, Oid, u32, u32, Out<OidSet>, Out<c_int>
    ) => cred::store, wiping::<STORE>;
    gss_store_cred_into(
        Ref<Credential>, c_int, Oid, u32, u32, KeyValues, Out<OidSet>, Out<c_int>
    ) => cred::store_into, wiping::<STORE>;
    gss_unwrap(Ref<ContextHandle>, Bytes, Out<Malloced>, Out<c_int>, Out<u32>) => message::unwrap, plain;
    gss_unwrap_iov(Ref<ContextHandle>, Out<c_int>, Out<u32>, IovArray, IovCount) => iov::unwrap, plain;
    gss_verify_mic(Ref<ContextHandle>, Bytes, Bytes, Out<u32>) => message::verify_mic, plain;
    gss_verify_mic_iov(Ref<ContextHandle>, Out<u32>, IovArray, IovCount) => iov::verify_mic, plain;
    gss_wrap(Ref<ContextHandle>, Unused<c_int>, u32, Bytes, Out<c_int>, Out<Malloced>) => message::wrap, plain;
    gss_wrap_iov(Ref<ContextHandle>, Unused<c_int>, u32, Out<c_int>, IovArray, IovCount) => iov::wrap, plain;
    gss_wrap_iov_length(Ref<ContextHandle>, Unused<c_int>, u32, Out<c_int>, IovArray, IovCount) => iov::wrap_length, plain;
    gss_wrap_size_limit(Ref<ContextHandle>, Unused<c_int>, u32, u32, Out<u32>) => message::wrap_size_limit, plain;
}

// RFC 5587, 5801 and 6680, and what krb5 asks of its own accord.
export! {
    gss_get_name_attribute(
        Ref<Principal>, Bytes, Out<c_int>, Out<c_int>, Out<Malloced>, Out<Malloced>, Out<c_int>
    ) => attribute::get, plain;
    gss_inquire_attrs_for_mech(ConstOid, Out<OidSet>, Out<OidSet>) => mech::inquire_attributes, plain;
    gss_inquire_mech_for_saslname(Bytes, Out<StaticOid>) => mech::for_sasl_name, plain;
    gss_inquire_name(Ref<Principal>, Out<c_int>, Out<StaticOid>, Out<BufferSet>) => attribute::inquire, plain;
    gss_inquire_saslname_for_mech(Oid, Out<Malloced>, Out<Malloced>, Out<Malloced>) => mech::inquire_sasl_name, plain;
    gss_internal_release_oid(OidVariable) as InternalReleaseOid => oid::internal_release, quiet;
    gss_localname(Ref<Principal>, ConstOid, Out<Malloced>) => attribute::local_name, plain;
    gssspi_authorize_localname(Ref<Principal>, Bytes, Oid) as AuthorizeLocalname => attribute::authorize, plain;
    gssspi_mech_invoke(Oid, Oid, Bytes) as MechInvoke => mech::invoke, plain;
    gssspi_query_mechanism_info(Unused<g::gss_const_OID>, Unused<*mut c_uchar>) as QueryMechanismInfo
        => mech::query_info, quiet;
}

// The functions whose prototypes no installed header has, as the mechglue calls them.
type AcquireCredWithPassword = unsafe extern "C" fn(
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
type SetCredOption =
    unsafe extern "C" fn(*mut g::OM_uint32, *mut g::gss_cred_id_t, g::gss_OID, g::gss_buffer_t) -> g::OM_uint32;
type MechInvoke = unsafe extern "C" fn(*mut g::OM_uint32, g::gss_OID, g::gss_OID, g::gss_buffer_t) -> g::OM_uint32;
type QueryMechanismInfo = unsafe extern "C" fn(*mut g::OM_uint32, g::gss_const_OID, *mut c_uchar) -> g::OM_uint32;
type AuthorizeLocalname =
    unsafe extern "C" fn(*mut g::OM_uint32, g::gss_name_t, g::gss_buffer_t, g::gss_OID) -> g::OM_uint32;
type InternalReleaseOid = unsafe extern "C" fn(*mut g::OM_uint32, *mut g::gss_OID) -> g::OM_uint32;
