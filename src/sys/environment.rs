//! The environment, as far as a process is to trust it: a set-user-ID program has an empty one.
//!
//! What is read stays in place as long as nobody changes the environment, which is the application's duty, as with every
//! getenv of a C library; it is copied at once.

use core::ffi::{CStr, c_char};
use std::ffi::CString;

unsafe extern "C" {
    /// As in environ(7). The program changes it: it is no constant of ours.
    static mut environ: *const *const c_char;
    /// As in secure_getenv(3), which the libc crate lacks.
    fn secure_getenv(name: *const c_char) -> *mut c_char;
}

/// The value of a variable. What is not UTF-8 must not pass for unset: as a switch it is then a wrong one, as a path it is named
/// in the error.
pub(super) fn variable(name: &CStr) -> Option<String> {
    // SAFETY: `name` is a C string.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: secure_getenv gives a C string.
    let value = unsafe { CStr::from_ptr(value) };
    Some(value.to_string_lossy().into_owned())
}

/// Name and value of each variable whose `NAME=VALUE` begins in one of these prefixes. One pass that takes no memory for the others:
/// it is made in each step of a handshake.
pub(super) fn variables_with_prefix<'a>(prefixes: &'a [&'a str]) -> impl Iterator<Item = (String, String)> + 'a {
    // SAFETY: the C library's variable is read, as getenv does it.
    let mut next = unsafe { environ };
    let entries = core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: `next` is an element of environ, whose last one is NULL.
        let entry = unsafe { next.read() };
        if entry.is_null() {
            return None;
        }
        // SAFETY: it was not the last one.
        next = unsafe { next.add(1) };
        Some(entry)
    });
    entries.filter(move |entry| prefixes.iter().any(|prefix| has_prefix(*entry, prefix))).filter_map(|entry| {
        // SAFETY: the elements of environ are C strings.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        let name = CString::new(entry.split(|byte| *byte == b'=').next()?).ok()?;
        // Asked for by its name: what is not to be trusted is not seen here either.
        Some((name.to_string_lossy().into_owned(), variable(&name)?))
    })
}

/// Whether an element of environ begins so. It is not read further than it is equal: its length would cost more than that.
fn has_prefix(entry: *const c_char, prefix: &str) -> bool {
    prefix.bytes().enumerate().all(|(at, byte)| {
        // SAFETY: all before was equal, and so not the NUL at the end.
        let here = unsafe { entry.add(at) };
        // SAFETY: likewise.
        unsafe { here.cast::<u8>().read() == byte }
    })
}
