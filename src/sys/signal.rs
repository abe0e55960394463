//! Signals that a write raises in the program that it is done for.

/// Of a pipe or connection whose other end is gone, of a terminal that is another job's, and of a file grown too long.
const OF_WRITING: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGTTOU, libc::SIGXFSZ];

/// Runs `write`; the signals that it raises, which would end or stop the program, are lost.
pub(super) fn without_signals_of_writing<T>(write: impl FnOnce() -> T) -> T {
    let mut before = empty();
    let ours = OF_WRITING.into_iter().filter(|signal| !is_pending(*signal)).fold(empty(), with);
    let all = OF_WRITING.into_iter().fold(empty(), with);
    // SAFETY: both sets are valid, and the second is writable.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before) };
    let written = write();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: a set, nothing to be told of the signal, and no time to wait.
        let taken = unsafe { libc::sigtimedwait(&raw const ours, core::ptr::null_mut(), &raw const now) };
        if taken < 0 {
            break;
        }
    }
    // SAFETY: the set is what the mask was before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    written
}

/// No signal.
fn empty() -> libc::sigset_t {
    // SAFETY: zeros are a valid `sigset_t`, which is numbers.
    unsafe { core::mem::zeroed() }
}

fn with(mut signals: libc::sigset_t, signal: libc::c_int) -> libc::sigset_t {
    // SAFETY: the set is writable.
    unsafe { libc::sigaddset(&raw mut signals, signal) };
    signals
}

/// Whether it was raised before, and waits for whoever blocks it.
fn is_pending(signal: libc::c_int) -> bool {
    let mut pending = empty();
    // SAFETY: the set is writable.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: the set is valid.
    unsafe { libc::sigismember(&raw const pending, signal) == 1 }
}
