//! Threads that live for one call.

use zeroize::zeroize_stack;

use crate::error::{HostError, Result};

/// The size of a thread's stack, in bytes: enough for libwbclient, and small because a server may have many threads.
const STACK: usize = 256 * 1024;

/// Runs `work` in a new thread that blocks all signals: signals for the program go to the program's own threads, and signals that
/// `work` raises itself, such as SIGPIPE, have no effect.
///
/// # Errors
/// [`HostError::Thread`].
pub(super) fn start(work: Box<dyn FnOnce() + Send>) -> Result<()> {
    // SAFETY: `sigset_t` consists of numbers, so zeros are a valid value.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    let mut before = all;
    // SAFETY: the set is writable.
    unsafe { libc::sigfillset(&raw mut all) };
    // The new thread inherits the mask of the thread that starts it.
    // SAFETY: both sets are valid, and the second is writable.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let work_and_wipe = || {
        work();
        // There may be keys on the stack, which the C library keeps for the next thread.
        zeroize_stack::<{ STACK / 4 }>();
    };
    let started = std::thread::Builder::new().stack_size(STACK).spawn(work_and_wipe);
    // SAFETY: the set was filled by the first call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    started.map(drop).map_err(|_| HostError::Thread.into())
}
