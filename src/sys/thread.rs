//! Threads that live for one call.

use zeroize::Zeroize as _;

use crate::error::{HostError, Result};

/// Enough for what a library may put on its stack, and no more: a server may have many of them.
const STACK: usize = 256 * 1024;

/// Runs `work` in a thread of its own in which no signal arrives: those that are meant for the program go to its own threads, and
/// those that the work raises itself, such as SIGPIPE, are lost.
///
/// # Errors
/// [`HostError::Thread`].
pub(super) fn start(work: Box<dyn FnOnce() + Send>) -> Result<()> {
    // SAFETY: zeros are a valid `sigset_t`, which is numbers.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    let mut before = all;
    // SAFETY: the set is writable.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both sets are valid, and the second is writable. A thread inherits the mask of the one that starts it.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let work_and_wipe = || {
        work();
        wipe_stack();
    };
    let started = std::thread::Builder::new().stack_size(STACK).spawn(work_and_wipe);
    // SAFETY: the set is what the mask was before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    started.map(drop).map_err(|_| HostError::Thread.into())
}

/// Overwrites what the calls before have left on the stack, which the C library keeps for the next thread: keys may be there.
#[inline(never)]
fn wipe_stack() {
    let mut used = [0_u8; STACK / 4];
    used.zeroize();
    core::hint::black_box(&used);
}
