//! Random bytes from the kernel.

use std::io;

use crate::error::{HostError, Result};

/// How many calls of getrandom(2) one request takes at most. Signals interrupt it only until the kernel's generator is ready,
/// but a filter of system calls may say EINTR for ever.
const ATTEMPTS: u32 = 1000;

/// Fills `out` with random bytes.
///
/// # Errors
/// [`HostError::Randomness`].
pub(super) fn fill(out: &mut [u8]) -> Result<()> {
    let mut rest = out;
    for _ in 0..ATTEMPTS {
        if rest.is_empty() {
            return Ok(());
        }
        // SAFETY: `rest` is writable.
        let filled = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(filled) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Err(HostError::Randomness.into())
}
