//! Signals that a write of ours would raise in the program.

/// A pipe or connection whose other end is closed raises SIGPIPE, a terminal that another job uses SIGTTOU, and a file that
/// reaches the limit of its size SIGXFSZ.
const OF_WRITING: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGTTOU, libc::SIGXFSZ];

/// Runs `write` and discards the signals that it raises, which would end or stop the program.
pub(super) fn without_signals_of_writing<T>(write: impl FnOnce() -> T) -> T {
    let mut before = empty();
    let ours = OF_WRITING.into_iter().filter(|signal| !is_pending(*signal)).fold(empty(), with);
    let all = OF_WRITING.into_iter().fold(empty(), with);
    // SAFETY: both sets are valid, and the second is writable.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before) };
    let written = write();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: the set and the time are valid; NULL means that we need no details of the signal.
        let taken = unsafe { libc::sigtimedwait(&raw const ours, core::ptr::null_mut(), &raw const now) };
        if taken < 0 {
            break;
        }
    }
    // SAFETY: the set was filled by the first call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    written
}

/// The empty set.
fn empty() -> libc::sigset_t {
    // SAFETY: `sigset_t` consists of numbers, so zeros are a valid value.
    unsafe { core::mem::zeroed() }
}

fn with(mut signals: libc::sigset_t, signal: libc::c_int) -> libc::sigset_t {
    // SAFETY: the set is writable.
    unsafe { libc::sigaddset(&raw mut signals, signal) };
    signals
}

/// Whether the signal is pending: it was raised before, and the program blocks it.
fn is_pending(signal: libc::c_int) -> bool {
    let mut pending = empty();
    // SAFETY: the set is writable.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: the set is valid.
    unsafe { libc::sigismember(&raw const pending, signal) == 1 }
}
