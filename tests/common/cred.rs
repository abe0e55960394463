//! Credentials: owned, and released by their wrapper.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands at the top of gss.rs")]

use std::ffi::CString;
use std::ptr::null_mut;

use libgssapi_sys as sys;

use super::gss::{Buffer, Gss, NTLM, Name, Oid, call, lend};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Both,
    Initiate,
    Accept,
}

impl Usage {
    fn code(self) -> i32 {
        let code = match self {
            Self::Both => sys::GSS_C_BOTH,
            Self::Initiate => sys::GSS_C_INITIATE,
            Self::Accept => sys::GSS_C_ACCEPT,
        };
        code.cast_signed()
    }

    fn of(code: i32) -> Self {
        [Self::Both, Self::Initiate, Self::Accept]
            .into_iter()
            .find(|usage| usage.code() == code)
            .unwrap_or_else(|| panic!("{code} is no usage"))
    }
}

pub(crate) struct Cred(sys::gss_cred_id_t);

// SAFETY: credentials may be used from any thread.
unsafe impl Sync for Cred {}
// SAFETY: as above.
unsafe impl Send for Cred {}

/// What gss_inquire_cred tells.
pub(crate) struct CredFacts {
    pub(crate) name: String,
    pub(crate) lifetime: u32,
    pub(crate) usage: Usage,
}

impl Cred {
    /// Without a credential: the mechanism's default.
    pub(crate) fn none() -> Self {
        Self(null_mut())
    }

    pub(crate) fn with_password(name: &Name, password: impl AsRef<[u8]>, mech: &'static Oid) -> Gss<Self> {
        Self::with_password_for(name, password.as_ref(), Usage::Initiate, mech)
    }

    pub(crate) fn with_password_for(name: &Name, password: &[u8], usage: Usage, mech: &'static Oid) -> Gss<Self> {
        let (mut cred, mut lifetime, mut password) = (null_mut(), 0, lend(password));
        let mut mechs = only(mech);
        call("gss_acquire_cred_with_password", |minor| unsafe {
            sys::gss_acquire_cred_with_password(
                minor,
                name.ptr(),
                &mut password,
                0,
                &mut mechs,
                usage.code(),
                &mut cred,
                null_mut(),
                &mut lifetime,
            )
        })?;
        assert_ne!(lifetime, 0, "a password does not expire");
        Ok(Self(cred))
    }

    /// From the user file; without a name, the default of that usage.
    pub(crate) fn acquire(name: Option<&Name>, usage: Usage, mech: &'static Oid) -> Gss<Self> {
        let (mut cred, mut mechs) = (null_mut(), only(mech));
        let name = name.map_or(null_mut(), Name::ptr);
        call("gss_acquire_cred", |minor| unsafe {
            sys::gss_acquire_cred(minor, name, 0, &mut mechs, usage.code(), &mut cred, null_mut(), null_mut())
        })?;
        Ok(Self(cred))
    }

    /// As a program that has a credential store does it, with the keys of all its mechanisms.
    pub(crate) fn acquire_from(
        name: Option<&Name>, usage: Usage, store: &[(&str, &str)], mech: &'static Oid,
    ) -> Gss<Self> {
        let (mut cred, mut mechs) = (null_mut(), only(mech));
        let name = name.map_or(null_mut(), Name::ptr);
        with_store(store, |store| {
            call("gss_acquire_cred_from", |minor| unsafe {
                sys::gss_acquire_cred_from(
                    minor,
                    name,
                    0,
                    &mut mechs,
                    usage.code(),
                    store,
                    &mut cred,
                    null_mut(),
                    null_mut(),
                )
            })
        })?;
        Ok(Self(cred))
    }

    /// Another credential that has what this one has, if it is one, and `mech` as well.
    pub(crate) fn copy_with(&self, name: Option<&Name>, usage: Usage, mech: &'static Oid) -> Gss<Self> {
        let mut cred = null_mut();
        self.add_to(name, usage, mech, &mut cred)?;
        Ok(Self(cred))
    }

    /// Has `mech` from now on as well.
    pub(crate) fn add(&mut self, name: Option<&Name>, usage: Usage, mech: &'static Oid) -> Gss<u32> {
        self.add_to(name, usage, mech, null_mut())
    }

    fn add_to(
        &self, name: Option<&Name>, usage: Usage, mech: &'static Oid, output: *mut sys::gss_cred_id_t,
    ) -> Gss<u32> {
        let name = name.map_or(null_mut(), Name::ptr);
        let (mut initiator, mut acceptor) = (0, 0);
        call("gss_add_cred", |minor| unsafe {
            sys::gss_add_cred(
                minor,
                self.0,
                name,
                mech.ptr(),
                usage.code(),
                0,
                0,
                output,
                null_mut(),
                &mut initiator,
                &mut acceptor,
            )
        })
    }

    pub(crate) fn inquire(&self) -> Gss<CredFacts> {
        let (mut lifetime, mut usage) = (0, 0);
        let name = self.ask(&mut lifetime, &mut usage)?.display();
        Ok(CredFacts { name, lifetime, usage: Usage::of(usage) })
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Gss<Name> {
        self.ask(null_mut(), null_mut())
    }

    fn ask(&self, lifetime: *mut u32, usage: *mut i32) -> Gss<Name> {
        let mut name = null_mut();
        call("gss_inquire_cred", |minor| unsafe {
            sys::gss_inquire_cred(minor, self.0, &mut name, lifetime, usage, null_mut())
        })?;
        Ok(Name::own(name))
    }

    /// The lifetime here is the pair of the initiator's and the acceptor's.
    pub(crate) fn inquire_by_mech(&self) -> Gss<(String, [u32; 2], Usage)> {
        let (mut name, mut initiator, mut acceptor, mut usage) = (null_mut(), 0, 0, 0);
        call("gss_inquire_cred_by_mech", |minor| unsafe {
            sys::gss_inquire_cred_by_mech(
                minor,
                self.0,
                NTLM.ptr(),
                &mut name,
                &mut initiator,
                &mut acceptor,
                &mut usage,
            )
        })?;
        Ok((Name::own(name).display(), [initiator, acceptor], Usage::of(usage)))
    }

    /// Stores the part of one mechanism, or of all, there. Returns how many mechanisms have stored theirs.
    pub(crate) fn store(
        &self, mech: Option<&'static Oid>, usage: Usage, store: &[(&str, &str)], overwrite: bool, default: bool,
    ) -> Gss<usize> {
        let mech = mech.map_or(null_mut(), Oid::ptr);
        let (mut stored, mut stored_usage) = (null_mut(), -1);
        let [overwrite, default] = [overwrite, default].map(u32::from);
        let is_empty = store.is_empty();
        let result = with_store(store, |store| {
            let store = if is_empty { std::ptr::null() } else { store };
            call("gss_store_cred_into", |minor| unsafe {
                sys::gss_store_cred_into(
                    minor,
                    self.0,
                    usage.code(),
                    mech,
                    overwrite,
                    default,
                    store,
                    &mut stored,
                    &mut stored_usage,
                )
            })
        });
        let count = if stored.is_null() { 0 } else { unsafe { (*stored).count } };
        unsafe { sys::gss_release_oid_set(&mut 0, &mut stored) };
        result.map(|_| {
            assert!(mech.is_null() || stored_usage == Usage::Initiate.code());
            count
        })
    }

    pub(crate) fn export(&self) -> Gss<Buffer> {
        let mut token = Buffer::default();
        call("gss_export_cred", |minor| unsafe { sys::gss_export_cred(minor, self.0, token.out()) })?;
        Ok(token)
    }

    pub(crate) fn import(token: &[u8]) -> Gss<Self> {
        let (mut token, mut cred) = (lend(token), null_mut());
        call("gss_import_cred", |minor| unsafe { sys::gss_import_cred(minor, &mut token, &mut cred) })?;
        Ok(Self(cred))
    }

    pub(crate) fn set_option(&mut self, option: &'static Oid, value: &[u8]) -> Gss<u32> {
        let mut value = lend(value);
        call("gss_set_cred_option", |minor| unsafe {
            sys::gss_set_cred_option(minor, &mut self.0, option.ptr(), &mut value)
        })
    }

    /// What SPNEGO may choose from.
    pub(crate) fn negotiate_only(&self, mech: &'static Oid) -> Gss<u32> {
        let mut mechs = only(mech);
        call("gss_set_neg_mechs", |minor| unsafe { sys::gss_set_neg_mechs(minor, self.0, &mut mechs) })
    }

    pub(crate) fn ptr(&self) -> sys::gss_cred_id_t {
        self.0
    }
}

/// Calls with a credential store of these keys and values.
fn with_store<T>(store: &[(&str, &str)], body: impl FnOnce(*const sys::gss_key_value_set_desc) -> T) -> T {
    let text = |value: &str| CString::new(value).expect("no NUL in a store's texts");
    let texts: Vec<_> = store.iter().map(|(key, value)| (text(key), text(value))).collect();
    let mut elements: Vec<_> = texts
        .iter()
        .map(|(key, value)| sys::gss_key_value_element_desc { key: key.as_ptr(), value: value.as_ptr() })
        .collect();
    let count = u32::try_from(elements.len()).expect("a short list");
    body(&sys::gss_key_value_set_desc { count, elements: elements.as_mut_ptr() })
}

impl Drop for Cred {
    fn drop(&mut self) {
        unsafe { sys::gss_release_cred(&mut 0, &mut self.0) };
    }
}

fn only(mech: &'static Oid) -> sys::gss_OID_set_desc {
    sys::gss_OID_set_desc { count: 1, elements: mech.ptr() }
}
