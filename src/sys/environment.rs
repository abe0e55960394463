//! The environment, as far as the process may trust it: for a set-user-ID program it is empty.
//!
//! The application must not change the environment while we read it, as with every getenv(3) of a C library. Values are copied
//! at once.

use core::ffi::{CStr, c_char};
use std::ffi::CString;

unsafe extern "C" {
    /// See environ(7). It is mutable because the program may change it.
    static mut environ: *const *const c_char;
    /// See secure_getenv(3). The libc crate does not declare it.
    fn secure_getenv(name: *const c_char) -> *mut c_char;
}

/// The value of a variable. A value that is not UTF-8 must not count as unset, so its wrong bytes are replaced: as a switch it is
/// then a wrong value, and as a path it appears in the error.
pub(super) fn variable(name: &CStr) -> Option<String> {
    // SAFETY: `name` is a C string.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: secure_getenv returns a C string.
    let value = unsafe { CStr::from_ptr(value) };
    Some(value.to_string_lossy().into_owned())
}

/// Whether this program has other rights than the user who runs it, so that it must not trust what that user gives it.
pub(super) fn is_set_user_id() -> bool {
    // SAFETY: getauxval reads what the kernel gave to the program.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Name and value of each variable whose `NAME=VALUE` begins with one of these prefixes. Other variables cost next to nothing,
/// because every step of a handshake does this.
pub(super) fn variables_with_prefix<const N: usize>(prefixes: [&str; N]) -> Vec<(String, String)> {
    let firsts = prefixes.map(|prefix| prefix.as_bytes().first().copied());
    let mut found = Vec::new();
    // SAFETY: getenv(3) reads the same variable of the C library.
    let mut next = unsafe { environ };
    while !next.is_null() {
        // SAFETY: `next` points at an element of environ; the last one is NULL and ends the loop.
        let entry = unsafe { next.read() };
        if entry.is_null() {
            break;
        }
        // SAFETY: this element was not the last.
        next = unsafe { next.add(1) };
        // SAFETY: the elements of environ are C strings, which have a NUL at least.
        let first = unsafe { entry.cast::<u8>().read() };
        // Nearly every variable ends here.
        if firsts.contains(&Some(first)) && prefixes.iter().any(|prefix| has_prefix(entry, prefix)) {
            found.extend(name_and_value(entry));
        }
    }
    found
}

/// The name and the value of an element of environ. secure_getenv gives the value, so that a set-user-ID program sees none here
/// either.
fn name_and_value(entry: *const c_char) -> Option<(String, String)> {
    // SAFETY: the elements of environ are C strings.
    let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
    let name = CString::new(entry.split(|byte| *byte == b'=').next()?).ok()?;
    Some((name.to_string_lossy().into_owned(), variable(&name)?))
}

/// Whether an element of environ begins with `prefix`. Reading stops at the first difference: to measure the whole string would
/// cost more.
fn has_prefix(entry: *const c_char, prefix: &str) -> bool {
    prefix.bytes().enumerate().all(|(at, byte)| {
        // SAFETY: all bytes before this one were equal to the prefix's, so the string has not ended yet.
        let here = unsafe { entry.add(at) };
        // SAFETY: `here` is inside the string or at its NUL.
        unsafe { here.cast::<u8>().read() == byte }
    })
}
