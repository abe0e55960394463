//! The C edge: what MIT krb5's mechglue finds by dlsym and calls. No protocol.
//!
//! Every exported function is a shim around [`entry`]: arguments are looked at, outputs cleared, the step taken, and only
//! then anything put into the caller's variables, the handle last. An exported function is never called from inside: its
//! name may mean the mechglue's function of that name.

#![deny(unsafe_op_in_unsafe_fn)]

mod attribute;
mod context;
mod cred;
mod iov;
mod mech;
mod message;
mod name;
mod oid;
mod ptr;
mod status;
mod types;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use libgssapi_sys as g;

use self::types::Major;
use crate::{
    error::{ApiMisuse, Error, Result},
    host::Host as _,
    sys::System,
};

/// Runs the body of an exported function: `minor_status` is set whatever happens, and no panic leaves.
///
/// # Safety
/// `minor_status` is NULL or writable.
unsafe fn entry(minor_status: *mut g::OM_uint32, body: impl FnOnce() -> Result<Major>) -> g::OM_uint32 {
    if minor_status.is_null() {
        return status::code(&ApiMisuse::NullOutput.into()).0;
    }
    trace_panics();
    let guarded = || match body() {
        Ok(major) => (major, 0),
        Err(error) => status::remember(&error),
    };
    let (major, minor) = catch_unwind(AssertUnwindSafe(guarded)).unwrap_or(status::code(&Error::Internal));
    // SAFETY: by this function's contract, and it is not NULL.
    unsafe { minor_status.write(minor) };
    major
}

/// A panic of ours goes to the trace, not to the application's standard error. The hook is the plugin's alone: its
/// standard library is linked into it.
fn trace_panics() {
    static ONCE: Once = Once::new();
    if !cfg!(test) {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|info| {
                System
                    .trace(format_args!("defect at {}", info.location().map_or_else(String::new, ToString::to_string)));
            }));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        let mut minor = 0;
        // SAFETY: `minor` is writable.
        let major = unsafe { entry(&raw mut minor, || panic!("a defect")) };
        assert_eq!((major, minor), status::code(&Error::Internal));
    }

    #[test]
    fn a_null_minor_status_is_answered() {
        // SAFETY: NULL is allowed.
        let major = unsafe { entry(core::ptr::null_mut(), || panic!("is not run")) };
        assert_eq!(major, g::_GSS_S_CALL_INACCESSIBLE_WRITE);
    }
}
