//! Contexts, half-open and established: owned, and deleted by their wrapper.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands at the top of gss.rs")]

use std::ptr::null_mut;

use libgssapi_sys as sys;

use super::gss::{Buffer, Gss, Name, Oid, buffer_set, call, lend, oid_bytes};

pub(crate) struct Ctx(pub(super) sys::gss_ctx_id_t);

// SAFETY: the mechanism promises that any thread may use a context, also two at once.
unsafe impl Sync for Ctx {}
// SAFETY: as above.
unsafe impl Send for Ctx {}

/// What gss_inquire_context tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) initiator: String,
    pub(crate) target: String,
    pub(crate) lifetime: u32,
    pub(crate) mech: Vec<u8>,
    pub(crate) flags: u32,
    pub(crate) is_initiator: bool,
    pub(crate) is_open: bool,
}

impl Ctx {
    pub(crate) fn none() -> Self {
        Self(null_mut())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn ptr(&self) -> sys::gss_ctx_id_t {
        self.0
    }

    pub(crate) fn wrap(&self, message: &[u8]) -> Gss<Vec<u8>> {
        self.wrap_asking(true, message).map(|(token, _)| token)
    }

    /// The token, and whether the mechanism says that it is sealed.
    pub(crate) fn wrap_asking(&self, seal: bool, message: &[u8]) -> Gss<(Vec<u8>, bool)> {
        let (mut message, mut sealed, mut token) = (lend(message), -1, Buffer::default());
        call("gss_wrap", |minor| unsafe {
            sys::gss_wrap(minor, self.0, seal.into(), 0, &mut message, &mut sealed, token.out())
        })?;
        Ok((token.to_vec(), told(sealed)))
    }

    pub(crate) fn unwrap(&self, token: &[u8]) -> Gss<Vec<u8>> {
        self.unwrap_telling(token).map(|(message, _)| message)
    }

    /// The message, and whether the mechanism says that it was sealed.
    pub(crate) fn unwrap_telling(&self, token: &[u8]) -> Gss<(Vec<u8>, bool)> {
        let (mut token, mut sealed, mut qop, mut message) = (lend(token), -1, 1, Buffer::default());
        call("gss_unwrap", |minor| unsafe {
            sys::gss_unwrap(minor, self.0, &mut token, message.out(), &mut sealed, &mut qop)
        })?;
        assert_eq!(qop, 0, "there is one quality of protection");
        Ok((message.to_vec(), told(sealed)))
    }

    pub(crate) fn get_mic(&self, message: &[u8]) -> Gss<Vec<u8>> {
        let (mut message, mut token) = (lend(message), Buffer::default());
        call("gss_get_mic", |minor| unsafe { sys::gss_get_mic(minor, self.0, 0, &mut message, token.out()) })?;
        Ok(token.to_vec())
    }

    pub(crate) fn verify_mic(&self, message: &[u8], token: &[u8]) -> Gss<()> {
        let (mut message, mut token, mut qop) = (lend(message), lend(token), 1);
        call("gss_verify_mic", |minor| unsafe {
            sys::gss_verify_mic(minor, self.0, &mut message, &mut token, &mut qop)
        })?;
        assert_eq!(qop, 0, "there is one quality of protection");
        Ok(())
    }

    /// The longest message whose token is at most `token` long.
    pub(crate) fn wrap_size_limit(&self, token: u32) -> Gss<u32> {
        let mut message = u32::MAX;
        call("gss_wrap_size_limit", |minor| unsafe {
            sys::gss_wrap_size_limit(minor, self.0, 1, 0, token, &mut message)
        })?;
        Ok(message)
    }

    pub(crate) fn time(&self) -> Gss<u32> {
        let mut lifetime = 0;
        call("gss_context_time", |minor| unsafe { sys::gss_context_time(minor, self.0, &mut lifetime) })?;
        Ok(lifetime)
    }

    /// A name that the context does not have is the empty text.
    pub(crate) fn inquire(&self) -> Gss<Facts> {
        let (mut initiator, mut target, mut lifetime, mut mech) = (null_mut(), null_mut(), 0, null_mut());
        let (mut flags, mut local, mut open) = (0, -1, -1);
        call("gss_inquire_context", |minor| unsafe {
            sys::gss_inquire_context(
                minor,
                self.0,
                &mut initiator,
                &mut target,
                &mut lifetime,
                &mut mech,
                &mut flags,
                &mut local,
                &mut open,
            )
        })?;
        let text = |name: sys::gss_name_t| if name.is_null() { String::new() } else { Name::own(name).display() };
        Ok(Facts {
            initiator: text(initiator),
            target: text(target),
            lifetime,
            mech: oid_bytes(mech),
            flags,
            is_initiator: told(local),
            is_open: told(open),
        })
    }

    /// Who initiated, as a name with all that is known of it.
    pub(crate) fn initiator(&self) -> Gss<Name> {
        let mut name = null_mut();
        call("gss_inquire_context", |minor| unsafe {
            sys::gss_inquire_context(
                minor,
                self.0,
                &mut name,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        })?;
        Ok(Name::own(name))
    }

    /// Leaves nothing behind when it succeeds, and everything as it was when it fails.
    pub(crate) fn export(&mut self) -> Gss<Vec<u8>> {
        let mut token = Buffer::default();
        call("gss_export_sec_context", |minor| unsafe {
            sys::gss_export_sec_context(minor, &mut self.0, token.out())
        })?;
        assert!(self.is_none(), "an exported context is gone");
        Ok(token.to_vec())
    }

    pub(crate) fn import(token: &[u8]) -> Gss<Self> {
        let (mut token, mut context) = (lend(token), null_mut());
        call("gss_import_sec_context", |minor| unsafe {
            sys::gss_import_sec_context(minor, &mut token, &mut context)
        })?;
        Ok(Self(context))
    }

    /// Sent to another process and back.
    pub(crate) fn export_and_import(&mut self) -> Gss<()> {
        let token = self.export()?;
        *self = Self::import(&token)?;
        Ok(())
    }

    pub(crate) fn inquire_by_oid(&self, oid: &'static Oid) -> Gss<Vec<Vec<u8>>> {
        buffer_set("gss_inquire_sec_context_by_oid", |minor, set| unsafe {
            sys::gss_inquire_sec_context_by_oid(minor, self.0, oid.ptr(), set)
        })
    }

    pub(crate) fn set_option(&mut self, option: &'static Oid, value: &[u8]) -> Gss<u32> {
        let mut value = lend(value);
        call("gss_set_sec_context_option", |minor| unsafe {
            sys::gss_set_sec_context_option(minor, &mut self.0, option.ptr(), &mut value)
        })
    }

    pub(crate) fn delete(&mut self) -> Gss<()> {
        call("gss_delete_sec_context", |minor| unsafe { sys::gss_delete_sec_context(minor, &mut self.0, null_mut()) })?;
        assert!(self.is_none(), "a deleted context is gone");
        Ok(())
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        unsafe { sys::gss_delete_sec_context(&mut 0, &mut self.0, null_mut()) };
    }
}

/// A truth value that was set to -1 before the call.
pub(super) fn told(value: i32) -> bool {
    assert!(value >= 0, "the mechanism left a truth value unset");
    value != 0
}
