//! Credentials: acquiring, asking, setting, carrying over, releasing.

use core::{
    ffi::{CStr, c_int},
    ops::Deref,
};

use libgssapi_sys as g;

use super::{
    entry,
    oid::{self, private},
    ptr::{self, Out},
    types::{AcquireCredWithPassword, COMPLETE, Major, SetCredOption, same_signature},
};
use crate::{
    cred::{CredStore, Credential, Env, Usage},
    error::{ApiMisuse, Result},
    host::Host as _,
    name::Principal,
    sys::{self, System, is_judging_spnego},
};

/// A credential for one call: the caller's, or a default one.
pub(super) enum Borrowed<'call> {
    Given(&'call Credential),
    Default(Credential),
}

impl Deref for Borrowed<'_> {
    type Target = Credential;

    fn deref(&self) -> &Credential {
        match self {
            Self::Given(credential) => credential,
            Self::Default(credential) => credential,
        }
    }
}

/// The credential that a handle stands for, or the default one for GSS_C_NO_CREDENTIAL.
///
/// # Safety
/// `handle` is NULL or a live credential handle of ours.
pub(super) unsafe fn given_or_default<'call>(
    handle: g::gss_cred_id_t,
    usage: Usage,
    env: &Env<'_>,
) -> Result<Borrowed<'call>> {
    // SAFETY: by this function's contract.
    match unsafe { ptr::borrow(handle) } {
        Some(credential) => Ok(Borrowed::Given(credential)),
        None => Credential::acquire(None, usage, &CredStore::default(), env).map(Borrowed::Default),
    }
}

/// Tells the system's log of an acceptor's error, if it is something to mend: daemons often show it to nobody, and SPNEGO has
/// told them another one.
pub(super) fn logged<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && error.is_to_mend()
    {
        System.log(format_args!("{error}"));
    }
    result
}

/// Where the four ways to acquire put what they acquired.
struct Acquired<'call> {
    handle: Out<'call, g::gss_cred_id_t>,
    mechs: Out<'call, g::gss_OID_set>,
    time: Out<'call, g::OM_uint32>,
}

impl Acquired<'_> {
    /// # Safety
    /// Each place is NULL or writable during the call.
    unsafe fn cleared(handle: *mut g::gss_cred_id_t, mechs: *mut g::gss_OID_set, time: *mut g::OM_uint32) -> Self {
        Self {
            // SAFETY: by this function's contract.
            handle: unsafe { Out::cleared(handle, core::ptr::null_mut()) },
            // SAFETY: likewise.
            mechs: unsafe { Out::cleared(mechs, core::ptr::null_mut()) },
            // SAFETY: likewise.
            time: unsafe { Out::cleared(time, 0) },
        }
    }

    /// Acquires and puts.
    ///
    /// Where there is something to mend, an initiator that asks for nothing in particular gets a credential that says so when it
    /// is used: SPNEGO and the mechglue leave a mechanism out whose credential cannot be had, and its error with it. An acceptor
    /// does not start.
    ///
    /// # Safety
    /// `name` is NULL or a live name handle of ours.
    unsafe fn acquire(mut self, name: g::gss_name_t, usage: c_int, store: Option<CredStore<'_>>) -> Result<Major> {
        let mut handle = self.handle.required()?;
        let usage = match usage {
            0 => Usage::Both,
            1 => Usage::Initiate,
            2 => Usage::Accept,
            _ => return Err(ApiMisuse::BadArgument.into()),
        };
        // SAFETY: by this function's contract.
        let name: Option<&Principal> = unsafe { ptr::borrow(name) };
        let name = name.map(|principal| &principal.name);
        let is_default = name.is_none() && store.is_none();
        let store = store.unwrap_or_default();
        let acquire = || Credential::acquire(name, usage, &store, &sys::env()?);
        let credential = match usage {
            _ if is_judging_spnego() => Credential::anonymous(),
            Usage::Initiate => match acquire() {
                Err(error) if is_default && error.is_to_mend() => Credential::deferred(error),
                acquired => acquired?,
            },
            Usage::Accept | Usage::Both => logged(acquire())?,
        };
        if self.mechs.is_wanted() {
            self.mechs.put(oid::set_of_ntlm()?);
        }
        self.time.put(g::_GSS_C_INDEFINITE);
        handle.put(ptr::handle(credential));
        Ok(COMPLETE)
    }
}

/// # Safety
/// As RFC 2744 5.2 says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_acquire_cred(
    minor_status: *mut g::OM_uint32,
    desired_name: g::gss_name_t,
    _time_req: g::OM_uint32,
    _desired_mechs: g::gss_OID_set,
    cred_usage: g::gss_cred_usage_t,
    output_cred_handle: *mut g::gss_cred_id_t,
    actual_mechs: *mut g::gss_OID_set,
    time_rec: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract.
    let acquired = unsafe { Acquired::cleared(output_cred_handle, actual_mechs, time_rec) };
    // SAFETY: likewise.
    let body = || unsafe { acquired.acquire(desired_name, cred_usage, None) };
    // SAFETY: likewise.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_acquire_cred_from(
    minor_status: *mut g::OM_uint32,
    desired_name: g::gss_name_t,
    _time_req: g::OM_uint32,
    _desired_mechs: g::gss_OID_set,
    cred_usage: g::gss_cred_usage_t,
    cred_store: g::gss_const_key_value_set_t,
    output_cred_handle: *mut g::gss_cred_id_t,
    actual_mechs: *mut g::gss_OID_set,
    time_rec: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract.
    let acquired = unsafe { Acquired::cleared(output_cred_handle, actual_mechs, time_rec) };
    let body = || {
        // SAFETY: by this function's contract.
        let store = unsafe { store(cred_store) }?;
        // SAFETY: likewise.
        unsafe { acquired.acquire(desired_name, cred_usage, store) }
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says of `gss_acquire_cred_with_password`; the name is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gssspi_acquire_cred_with_password(
    minor_status: *mut g::OM_uint32,
    desired_name: g::gss_name_t,
    password: g::gss_buffer_t,
    _time_req: g::OM_uint32,
    _desired_mechs: g::gss_OID_set,
    cred_usage: g::gss_cred_usage_t,
    output_cred_handle: *mut g::gss_cred_id_t,
    actual_mechs: *mut g::gss_OID_set,
    time_rec: *mut g::OM_uint32,
) -> Major {
    // SAFETY: by this function's contract.
    let acquired = unsafe { Acquired::cleared(output_cred_handle, actual_mechs, time_rec) };
    let body = || {
        // SAFETY: by this function's contract.
        let password = unsafe { ptr::bytes(password) }?.ok_or(ApiMisuse::NullInput)?;
        // Some programs count the NUL of their C string.
        let password = password.strip_suffix(b"\0").unwrap_or(password);
        // SAFETY: by this function's contract.
        unsafe { acquired.acquire(desired_name, cred_usage, Some(CredStore::default().with_password(password)?)) }
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// The elements of a credential store, if there are any.
///
/// # Safety
/// `set` is NULL or points at a set whose strings are readable during the call.
unsafe fn store<'call>(set: g::gss_const_key_value_set_t) -> Result<Option<CredStore<'call>>> {
    if set.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract; read by value.
    let g::gss_key_value_set_desc { count, elements } = unsafe { set.read() };
    if count == 0 {
        return Ok(None);
    }
    let mut store = CredStore::default();
    for at in 0..usize::try_from(count).map_err(|_| ApiMisuse::BadArgument)? {
        if elements.is_null() {
            return Err(ApiMisuse::NullInput.into());
        }
        // SAFETY: by this function's contract there are `count` elements.
        let element = unsafe { elements.add(at) };
        // SAFETY: likewise; read by value.
        let g::gss_key_value_element_desc { key, value } = unsafe { element.read() };
        // SAFETY: likewise.
        let key = unsafe { c_str(key) }?;
        // SAFETY: likewise.
        let value = unsafe { c_str(value) }?;
        store.set(key.to_bytes(), value.to_bytes())?;
    }
    Ok(Some(store))
}

/// # Safety
/// `text` is NULL or a C string that is readable during the call.
unsafe fn c_str<'call>(text: *const core::ffi::c_char) -> Result<&'call CStr> {
    if text.is_null() {
        return Err(ApiMisuse::NullInput.into());
    }
    // SAFETY: by this function's contract, and not NULL.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// # Safety
/// As RFC 2744 5.27 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_release_cred(
    minor_status: *mut g::OM_uint32,
    cred_handle: *mut g::gss_cred_id_t,
) -> Major {
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { ptr::release::<Credential, _>(cred_handle) };
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.21 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_cred(
    minor_status: *mut g::OM_uint32,
    cred_handle: g::gss_cred_id_t,
    name: *mut g::gss_name_t,
    lifetime: *mut g::OM_uint32,
    cred_usage: *mut g::gss_cred_usage_t,
    mechanisms: *mut g::gss_OID_set,
) -> Major {
    // SAFETY: by this function's contract.
    let mut name = unsafe { Out::cleared(name, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut lifetime = unsafe { Out::cleared(lifetime, 0) };
    // SAFETY: likewise.
    let mut usage = unsafe { Out::cleared(cred_usage, 0) };
    // SAFETY: likewise.
    let mut mechs = unsafe { Out::cleared(mechanisms, core::ptr::null_mut()) };
    let body = || {
        // SAFETY: by this function's contract.
        let credential = unsafe { given_or_default(cred_handle, Usage::Both, &sys::env()?) }?;
        let (whose, what_for) = (credential.name()?, credential.usage()?);
        if mechs.is_wanted() {
            mechs.put(oid::set_of_ntlm()?);
        }
        if name.is_wanted() {
            name.put(ptr::handle(Principal::from(whose)));
        }
        lifetime.put(g::_GSS_C_INDEFINITE);
        usage.put(number(what_for));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As RFC 2744 5.22 says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_inquire_cred_by_mech(
    minor_status: *mut g::OM_uint32,
    cred_handle: g::gss_cred_id_t,
    mech_type: g::gss_OID,
    name: *mut g::gss_name_t,
    initiator_lifetime: *mut g::OM_uint32,
    acceptor_lifetime: *mut g::OM_uint32,
    cred_usage: *mut g::gss_cred_usage_t,
) -> Major {
    // SAFETY: by this function's contract.
    let mut name = unsafe { Out::cleared(name, core::ptr::null_mut()) };
    // SAFETY: likewise.
    let mut initiator = unsafe { Out::cleared(initiator_lifetime, 0) };
    // SAFETY: likewise.
    let mut acceptor = unsafe { Out::cleared(acceptor_lifetime, 0) };
    // SAFETY: likewise.
    let mut usage = unsafe { Out::cleared(cred_usage, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        unsafe { oid::refuse_other_mech(mech_type) }?;
        // SAFETY: likewise.
        let credential = unsafe { given_or_default(cred_handle, Usage::Both, &sys::env()?) }?;
        let (whose, what_for) = (credential.name()?, credential.usage()?);
        if name.is_wanted() {
            name.put(ptr::handle(Principal::from(whose)));
        }
        if credential.initiator().is_ok() {
            initiator.put(g::_GSS_C_INDEFINITE);
        }
        if credential.acceptor().is_ok() {
            acceptor.put(g::_GSS_C_INDEFINITE);
        }
        usage.put(number(what_for));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says of `gss_set_cred_option`; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gssspi_set_cred_option(
    minor_status: *mut g::OM_uint32,
    cred_handle: *mut g::gss_cred_id_t,
    desired_object: g::gss_OID,
    value: g::gss_buffer_t,
) -> Major {
    let body = || {
        // SAFETY: by this function's contract.
        let object = unsafe { oid::bytes(desired_object) }?.ok_or(ApiMisuse::NullInput)?;
        // SAFETY: likewise.
        let value = unsafe { ptr::bytes(value) }?.unwrap_or(&[]);
        if !matches!(object, private::NEG_FLAGS | oid::NO_CI_FLAGS) {
            return Err(ApiMisuse::UnknownOption.into());
        }
        if cred_handle.is_null() {
            return Err(ApiMisuse::NullInput.into());
        }
        // SAFETY: by this function's contract.
        let handle = unsafe { cred_handle.read() };
        // SAFETY: likewise.
        let credential: &Credential = unsafe { ptr::borrow(handle) }.ok_or(ApiMisuse::NotAnInitiator)?;
        if object == oid::NO_CI_FLAGS {
            credential.set_options(|options| options.no_ci_flags = true);
            return Ok(COMPLETE);
        }
        let flags = match value {
            [] => None,
            _ => Some(value.try_into().map(u32::from_ne_bytes).map_err(|_| ApiMisuse::BadArgument)?),
        };
        credential.set_options(|options| options.neg_flags = flags);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_export_cred(
    minor_status: *mut g::OM_uint32,
    cred_handle: g::gss_cred_id_t,
    token: g::gss_buffer_t,
) -> Major {
    // SAFETY: by this function's contract.
    let token = unsafe { Out::cleared(token, ptr::EMPTY) };
    let body = || {
        let mut token = token.required()?;
        // SAFETY: by this function's contract.
        let credential: &Credential = unsafe { ptr::borrow(cred_handle) }.ok_or(ApiMisuse::NullInput)?;
        token.put(ptr::buffer(&credential.export()?)?);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_import_cred(
    minor_status: *mut g::OM_uint32,
    token: g::gss_buffer_t,
    cred_handle: *mut g::gss_cred_id_t,
) -> Major {
    // SAFETY: by this function's contract.
    let handle = unsafe { Out::cleared(cred_handle, core::ptr::null_mut()) };
    let body = || {
        let mut handle = handle.required()?;
        // SAFETY: by this function's contract.
        let token = unsafe { ptr::bytes(token) }?.ok_or(ApiMisuse::NullInput)?;
        handle.put(ptr::handle(Credential::import(token, &sys::env()?)?));
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

const fn number(usage: Usage) -> g::gss_cred_usage_t {
    match usage {
        Usage::Both => 0,
        Usage::Initiate => 1,
        Usage::Accept => 2,
    }
}

same_signature! {
    gss_acquire_cred, _, _, _, _, _, _, _, _;
    gss_acquire_cred_from, _, _, _, _, _, _, _, _, _;
    gss_release_cred, _, _;
    gss_inquire_cred, _, _, _, _, _, _;
    gss_inquire_cred_by_mech, _, _, _, _, _, _, _;
    gss_export_cred, _, _, _;
    gss_import_cred, _, _, _;
}
const _: AcquireCredWithPassword = gssspi_acquire_cred_with_password;
const _: SetCredOption = gssspi_set_cred_option;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Credential>();
    shared::<Principal>();
};
