//! The C edge: what MIT krb5's mechglue finds by dlsym and calls. No protocol.
//!
//! `exports` has one row for each exported function. What the caller promises of an argument is carried by its type, of `ptr`,
//! so the functions that do the work are safe code. They put nothing into the caller's variables before all that can fail has
//! succeeded, the handle last.
//!
//! An exported function is never called from inside: its name may mean the mechglue's function of that name.

#![expect(clippy::too_many_arguments, reason = "GSS-API's functions have them")]

mod attribute;
mod context;
mod cred;
mod exports;
mod guard;
mod iov;
mod mech;
mod message;
mod name;
mod oid;
mod ptr;
mod status;

#[cfg(sanitized)]
#[path = "../../tests/sanitize/planted.rs"]
mod planted;

use libgssapi_sys as g;

/// A major status.
type Major = g::OM_uint32;

/// GSS_S_COMPLETE.
const COMPLETE: Major = 0;
