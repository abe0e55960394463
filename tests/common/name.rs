//! Names: owned, and released by their wrapper.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands at the top of gss.rs")]

use std::ffi::CString;
use std::ptr::null_mut;

use libgssapi_sys as sys;

use super::gss::{Buffer, Gss, HOSTBASED_SERVICE, NTLM, Oid, USER_NAME, buffer_set, call, lend, oid_bytes, oid_set};

pub(crate) struct Name(sys::gss_name_t);

// SAFETY: names may be used from any thread; ours are never changed.
unsafe impl Sync for Name {}
// SAFETY: as above.
unsafe impl Send for Name {}

/// A value of an attribute, and what is said about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttributeValue {
    pub(crate) value: String,
    pub(crate) shown: String,
    pub(crate) is_authenticated: bool,
    pub(crate) is_complete: bool,
    /// What to ask with for the next value; 0 when this is the last.
    pub(crate) more: i32,
}

impl Name {
    /// Takes over a name that libgssapi returned.
    pub(super) fn own(name: sys::gss_name_t) -> Self {
        Self(name)
    }

    pub(crate) fn ptr(&self) -> sys::gss_name_t {
        self.0
    }

    pub(crate) fn import(text: impl AsRef<[u8]>, kind: Option<&'static Oid>) -> Gss<Self> {
        let (mut text, mut name) = (lend(text.as_ref()), null_mut());
        let kind = kind.map_or(null_mut(), Oid::ptr);
        call("gss_import_name", |minor| unsafe { sys::gss_import_name(minor, &mut text, kind, &mut name) })?;
        Ok(Self(name))
    }

    pub(crate) fn user(text: &str) -> Self {
        Self::import(text, Some(&USER_NAME)).expect("a user name imports")
    }

    pub(crate) fn service(text: &str) -> Self {
        Self::import(text, Some(&HOSTBASED_SERVICE)).expect("a service name imports")
    }

    /// As the mechanism means it.
    pub(crate) fn canonicalize(&self) -> Gss<Self> {
        self.canonicalize_for(&NTLM)
    }

    pub(crate) fn canonicalize_for(&self, mech: &'static Oid) -> Gss<Self> {
        let mut name = null_mut();
        call("gss_canonicalize_name", |minor| unsafe {
            sys::gss_canonicalize_name(minor, self.0, mech.ptr(), &mut name)
        })?;
        Ok(Self(name))
    }

    pub(crate) fn duplicate(&self) -> Gss<Self> {
        let mut name = null_mut();
        call("gss_duplicate_name", |minor| unsafe { sys::gss_duplicate_name(minor, self.0, &mut name) })?;
        Ok(Self(name))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let mut equal = -1;
        call("gss_compare_name", |minor| unsafe { sys::gss_compare_name(minor, self.0, other.0, &mut equal) })
            .expect("any two names can be compared");
        assert!(equal >= 0, "the mechanism left a truth value unset");
        equal != 0
    }

    pub(crate) fn export(&self) -> Gss<Vec<u8>> {
        let mut token = Buffer::default();
        call("gss_export_name", |minor| unsafe { sys::gss_export_name(minor, self.0, token.out()) })?;
        Ok(token.to_vec())
    }

    /// The display form and its type.
    pub(crate) fn display_with_type(&self) -> Gss<(String, Vec<u8>)> {
        let (text, kind) = self.display_bytes()?;
        Ok((text.nul_terminated(), kind))
    }

    /// The same of a name that may not be what it should.
    pub(crate) fn display_bytes(&self) -> Gss<(Buffer, Vec<u8>)> {
        let (mut text, mut kind) = (Buffer::default(), null_mut());
        call("gss_display_name", |minor| unsafe { sys::gss_display_name(minor, self.0, text.out(), &mut kind) })?;
        Ok((text, oid_bytes(kind)))
    }

    pub(crate) fn display(&self) -> String {
        self.display_with_type().expect("every name can be displayed").0
    }

    pub(crate) fn localname(&self) -> Gss<String> {
        let mut text = Buffer::default();
        call("gss_localname", |minor| unsafe { sys::gss_localname(minor, self.0, NTLM.ptr(), text.out()) })?;
        Ok(text.nul_terminated())
    }

    /// Whether the name may use a local account, by both calls that ask it.
    pub(crate) fn may_be(&self, account: &str) -> bool {
        let text = CString::new(account).expect("no NUL in an account");
        let by_text = unsafe { sys::gss_userok(self.0, text.as_ptr()) } == 1;
        let by_name = self.may_be_named(&Self::user(account));
        assert_eq!(by_text, by_name.is_ok(), "gss_userok and gss_authorize_localname agree on {account}");
        by_name.is_ok()
    }

    pub(crate) fn may_be_named(&self, account: &Self) -> Gss<u32> {
        call("gss_authorize_localname", |minor| unsafe { sys::gss_authorize_localname(minor, self.0, account.0) })
    }

    /// Whether it is a mechanism's name, of which mechanism, and its attributes.
    pub(crate) fn inquire(&self) -> Gss<(bool, Vec<u8>, Vec<Vec<u8>>)> {
        let (mut is_mechs, mut mech) = (0, null_mut());
        let attributes = buffer_set("gss_inquire_name", |minor, set| unsafe {
            sys::gss_inquire_name(minor, self.0, &mut is_mechs, &mut mech, set)
        })?;
        let mech_bytes = oid_bytes(mech);
        // SAFETY: the mechglue made a copy of the OID for us.
        unsafe { sys::gss_release_oid(&mut 0, &mut mech) };
        Ok((is_mechs != 0, mech_bytes, attributes))
    }

    pub(crate) fn attribute(&self, urn: &str) -> Gss<AttributeValue> {
        let (mut value, mut shown) = (Buffer::default(), Buffer::default());
        let (mut urn, mut authenticated, mut complete, mut more) = (lend(urn.as_bytes()), -1, -1, -1);
        let outcome = call("gss_get_name_attribute", |minor| unsafe {
            sys::gss_get_name_attribute(
                minor,
                self.0,
                &mut urn,
                &mut authenticated,
                &mut complete,
                value.out(),
                shown.out(),
                &mut more,
            )
        });
        // The mechglue goes on asking unless this holds.
        let is_over = outcome.is_ok() || more == 0 && value.is_empty() && shown.is_empty();
        assert!(is_over, "a refused attribute has no value and no next one");
        outcome?;
        let text = |buffer: &[u8]| String::from_utf8(buffer.to_vec()).expect("attributes are UTF-8");
        Ok(AttributeValue {
            value: text(&value),
            shown: text(&shown),
            is_authenticated: authenticated == 1,
            is_complete: complete == 1,
            more,
        })
    }

    pub(crate) fn mechs(&self) -> Gss<Vec<Vec<u8>>> {
        oid_set("gss_inquire_mechs_for_name", |minor, set| unsafe {
            sys::gss_inquire_mechs_for_name(minor, self.0, set)
        })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        unsafe { sys::gss_release_name(&mut 0, &mut self.0) };
    }
}
