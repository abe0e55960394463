//! Credentials: acquiring, asking, setting, carrying over, releasing.

use core::{ffi::c_int, ops::Deref};
use std::sync::Arc;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::{self, NTLM, OidSet, ensure_ntlm, private},
    ptr::{Bytes, KeyValues, Object, Oid, Out, Ref, Slot, Unused},
};
use crate::{
    cred::{CredStore, Credential, Env, StoreRequest, Usage},
    error::{ApiMisuse, Error, PolicyError, Result},
    host::Host as _,
    name::Principal,
    policy::Whom,
    sys::{self, Malloced, System, is_probing_spnego},
};

impl Object for Credential {
    type C = g::gss_cred_id_struct;
}

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
pub(super) fn given_or_default<'call>(
    credential: &'call Ref<Credential>, usage: Usage, env_for: impl Fn(Whom<'_>) -> Result<Env<'static>>,
) -> Result<Borrowed<'call>> {
    match credential.get() {
        Some(credential) => Ok(Borrowed::Given(credential)),
        None => Credential::acquire_where(None, usage, &CredStore::default(), env_for).map(Borrowed::Default),
    }
}

/// Tells the system's log of an acceptor's error, if it is something to mend, or policy denies NTLM: daemons often show it to
/// nobody, and SPNEGO has told them another one.
pub(super) fn logged<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && (error.is_misconfiguration() || is_denied(error))
    {
        System.log(format_args!("{error}"));
    }
    result
}

/// Whether policy lets no server use NTLM.
const fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Policy(PolicyError::IncomingDenied { .. } | PolicyError::FipsRefused { .. }))
}

/// Where the ways to acquire put what they acquired.
struct Acquired {
    credential: Out<Arc<Credential>>,
    mechs: Out<OidSet>,
    time: Out<u32>,
}

impl Acquired {
    /// Acquires and puts.
    ///
    /// Where there is something to mend, an initiator that asks for nothing in particular gets a credential that says so when it
    /// is used: SPNEGO and the mechglue leave a mechanism out whose credential cannot be had, and its error with it. An acceptor
    /// does not start.
    fn acquire(self, name: &Ref<Principal>, usage: c_int, store: Option<CredStore<'_>>) -> Result<Major> {
        self.credential.ensure_given()?;
        let usage = match usage {
            0 => Usage::Both,
            1 => Usage::Initiate,
            2 => Usage::Accept,
            _ => return Err(ApiMisuse::BadArgument.into()),
        };
        let name = name.get().map(|principal| &principal.name);
        let is_default = name.is_none() && store.is_none();
        let store = store.unwrap_or_default();
        let acquire = || Credential::acquire_where(name, usage, &store, sys::env_for);
        let credential = match usage {
            _ if is_probing_spnego() => Credential::anonymous(),
            Usage::Initiate => match acquire() {
                Err(error) if is_default && error.is_misconfiguration() => Credential::deferred(error),
                acquired => acquired?,
            },
            Usage::Accept | Usage::Both => logged(acquire())?,
        };
        self.mechs.put(OidSet::of(&[NTLM])?);
        self.time.put(lifetime(&credential)?);
        self.credential.put(Arc::new(credential));
        Ok(COMPLETE)
    }
}

/// `gss_acquire_cred`, RFC 2744 5.2.
pub(super) fn acquire(
    name: Ref<Principal>, _time: Unused<u32>, _mechs: Unused<g::gss_OID_set>, usage: c_int,
    credential: Out<Arc<Credential>>, mechs: Out<OidSet>, time: Out<u32>,
) -> Result<Major> {
    Acquired { credential, mechs, time }.acquire(&name, usage, None)
}

/// `gss_acquire_cred_from`, of krb5's `gssapi_ext.h`. A store without elements is as good as none.
pub(super) fn acquire_from(
    name: Ref<Principal>, _time: Unused<u32>, _mechs: Unused<g::gss_OID_set>, usage: c_int, elements: KeyValues,
    credential: Out<Arc<Credential>>, mechs: Out<OidSet>, time: Out<u32>,
) -> Result<Major> {
    let mut store = None;
    for element in elements.get() {
        let (key, value) = element?;
        store.get_or_insert_with(CredStore::default).set(key, value)?;
    }
    Acquired { credential, mechs, time }.acquire(&name, usage, store)
}

/// `gss_acquire_cred_with_password`, of krb5's `gssapi_ext.h`.
pub(super) fn acquire_with_password(
    name: Ref<Principal>, password: Bytes, _time: Unused<u32>, _mechs: Unused<g::gss_OID_set>, usage: c_int,
    credential: Out<Arc<Credential>>, mechs: Out<OidSet>, time: Out<u32>,
) -> Result<Major> {
    let password = password.required()?;
    // Some programs count the NUL of their C string.
    let password = password.strip_suffix(b"\0").unwrap_or(password);
    let store = CredStore::default().with_password(password)?;
    Acquired { credential, mechs, time }.acquire(&name, usage, Some(store))
}

/// `gss_release_cred`, RFC 2744 5.27.
pub(super) fn release(slot: Slot<Credential>) -> Result<Major> {
    slot.release();
    Ok(COMPLETE)
}

/// `gss_inquire_cred`, RFC 2744 5.21.
pub(super) fn inquire(
    credential: Ref<Credential>, name: Out<Arc<Principal>>, lifetime: Out<u32>, usage: Out<c_int>, mechs: Out<OidSet>,
) -> Result<Major> {
    let credential = given_or_default(&credential, Usage::Both, sys::env_for)?;
    let (whose, what_for) = (credential.name()?, credential.usage()?);
    mechs.put(OidSet::of(&[NTLM])?);
    name.put(Arc::new(whose.into()));
    lifetime.put(self::lifetime(&credential)?);
    usage.put(number(what_for));
    Ok(COMPLETE)
}

/// `gss_inquire_cred_by_mech`, RFC 2744 5.22.
pub(super) fn inquire_by_mech(
    credential: Ref<Credential>, mech: Oid, name: Out<Arc<Principal>>, initiator: Out<u32>, acceptor: Out<u32>,
    usage: Out<c_int>,
) -> Result<Major> {
    ensure_ntlm(&mech)?;
    let credential = given_or_default(&credential, Usage::Both, sys::env_for)?;
    let (whose, what_for) = (credential.name()?, credential.usage()?);
    name.put(Arc::new(whose.into()));
    if credential.initiator().is_ok() {
        initiator.put(lifetime(&credential)?);
    }
    if credential.acceptor().is_ok() {
        acceptor.put(g::_GSS_C_INDEFINITE);
    }
    usage.put(number(what_for));
    Ok(COMPLETE)
}

/// `gss_set_cred_option`, of krb5's `gssapi_ext.h`.
pub(super) fn set_option(slot: Slot<Credential>, object: Oid, value: Bytes) -> Result<Major> {
    let object = object.required()?;
    let value = value.get()?.unwrap_or(&[]);
    if !matches!(object, private::NEG_FLAGS | oid::NO_CI_FLAGS) {
        return Err(ApiMisuse::UnknownOption.into());
    }
    if !slot.is_given() {
        return Err(ApiMisuse::NullInput.into());
    }
    let credential = slot.get().ok_or(ApiMisuse::NotAnInitiator)?;
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
}

/// `gss_export_cred`, of krb5's `gssapi_ext.h`.
pub(super) fn export(credential: Ref<Credential>, token: Out<Malloced>) -> Result<Major> {
    token.ensure_given()?;
    let credential = credential.get().ok_or(ApiMisuse::NullInput)?;
    token.put(Malloced::copy(&credential.export()?)?);
    Ok(COMPLETE)
}

/// `gss_import_cred`, of krb5's `gssapi_ext.h`.
pub(super) fn import(token: Bytes, credential: Out<Arc<Credential>>) -> Result<Major> {
    credential.ensure_given()?;
    credential.put(Arc::new(Credential::import(token.required()?, &sys::env_for(Whom::Initiator)?)?));
    Ok(COMPLETE)
}

/// `gss_store_cred`, of krb5's `gssapi_ext.h`: for the hosts of this computer's DNS domain.
pub(super) fn store(
    credential: Ref<Credential>, usage: c_int, mech: Oid, overwrite: u32, make_default: u32, stored: Out<OidSet>,
    stored_usage: Out<c_int>,
) -> Result<Major> {
    put_into_store(&credential, usage, &mech, &CredStore::default().store_request(overwrite != 0, make_default != 0))?;
    stored.put(OidSet::of(&[NTLM])?);
    stored_usage.put(number(Usage::Initiate));
    Ok(COMPLETE)
}

/// `gss_store_cred_into`, of krb5's `gssapi_ext.h`: for `ntlmssp_target`, at `ntlmssp_store`, for `ntlmssp_lifetime` seconds.
/// A store that has only keys of other mechanisms is not for us.
pub(super) fn store_into(
    credential: Ref<Credential>, usage: c_int, mech: Oid, overwrite: u32, make_default: u32, elements: KeyValues,
    stored: Out<OidSet>, stored_usage: Out<c_int>,
) -> Result<Major> {
    let (mut into, mut is_for_others) = (CredStore::default(), false);
    for element in elements.get() {
        let (key, value) = element?;
        into.set(key, value)?;
        is_for_others = true;
    }
    is_for_others &= !into.is_for_us();
    if is_for_others {
        // The mechglue, which stores the parts of a credential one after the other, does not ask what was stored, and would take
        // another answer than GSS_S_COMPLETE for that of the whole.
        return if stored.is_given() { Err(ApiMisuse::NoStoreTarget.into()) } else { Ok(COMPLETE) };
    }
    put_into_store(&credential, usage, &mech, &into.store_request(overwrite != 0, make_default != 0))?;
    stored.put(OidSet::of(&[NTLM])?);
    stored_usage.put(number(Usage::Initiate));
    Ok(COMPLETE)
}

/// Stores the account of a credential. One that is stored already is left as it is.
fn put_into_store(credential: &Ref<Credential>, usage: c_int, mech: &Oid, request: &StoreRequest) -> Result<()> {
    ensure_ntlm(mech)?;
    let credential = credential.get().ok_or(ApiMisuse::NullInput)?;
    match usage {
        0 | 1 if credential.is_of_stored() && request.pattern.is_none() => Ok(()),
        0 | 1 => request.store(credential, &sys::env_for(Whom::Initiator)?).map(drop),
        2 => Err(ApiMisuse::NotStored.into()),
        _ => Err(ApiMisuse::BadArgument.into()),
    }
}

/// How long a credential holds, in seconds.
fn lifetime(credential: &Credential) -> Result<u32> {
    if !credential.is_of_stored() {
        return Ok(g::_GSS_C_INDEFINITE);
    }
    let env = sys::env_for(Whom::Initiator)?;
    Ok(credential.until(&env).map_or(g::_GSS_C_INDEFINITE, |until| {
        let rest = until.since(System.now()).unwrap_or_default().as_secs();
        u32::try_from(rest).unwrap_or(g::_GSS_C_INDEFINITE)
    }))
}

const fn number(usage: Usage) -> g::gss_cred_usage_t {
    match usage {
        Usage::Both => 0,
        Usage::Initiate => 1,
        Usage::Accept => 2,
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Credential>();
    shared::<Principal>();
};
