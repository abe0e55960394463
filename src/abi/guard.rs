//! What every exported function runs in: `minor_status` is set whatever happens, and no panic leaves.

use core::mem::MaybeUninit;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use libgssapi_sys as g;

use super::{Major, ptr::Out, status};
use crate::{
    error::{Error, HostError, Result},
    host::Host as _,
    sys::{System, is_memory_scarce},
};

/// How deep in the stack the acquisition of a credential leaves passwords and hashes.
pub(super) const ACQUIRE: usize = 39 << 7;

/// Runs the body of a function. The error is remembered for `gss_display_status`.
#[inline(never)]
pub(super) fn plain(minor_status: Out<u32>, body: impl FnOnce() -> Result<Major>) -> Major {
    if let Err(error) = minor_status.ensure_given() {
        return status::code(&error).0;
    }
    trace_panics();
    let major = guarded(minor_status, body, status::remember);
    // Some calls make keys.
    clear_vector_registers();
    major
}

/// The same for a function that leaves secrets in `DEPTH` bytes of the stack below it, which are wiped: how many these are,
/// scripts/check-secrets has found.
pub(super) fn wiping<const DEPTH: usize>(minor_status: Out<u32>, body: impl FnOnce() -> Result<Major>) -> Major {
    let major = plain(minor_status, || with_memory(body));
    wipe_stack::<DEPTH>();
    major
}

/// The same for a step of a handshake. One that is not the last has no keys, but it may have acquired a default credential.
pub(super) fn handshake<const DEPTH: usize>(minor_status: Out<u32>, body: impl FnOnce() -> Result<Major>) -> Major {
    let major = plain(minor_status, || with_memory(body));
    if major == g::_GSS_S_CONTINUE_NEEDED {
        wipe_stack::<ACQUIRE>()
    } else {
        wipe_stack::<DEPTH>()
    }
    major
}

/// Runs the body of a function that begins something, unless memory is scarce.
fn with_memory(body: impl FnOnce() -> Result<Major>) -> Result<Major> {
    if is_memory_scarce() { Err(HostError::Memory.into()) } else { body() }
}

/// Wipes as much of the stack below its caller as the callers before it may have left secrets in, and the vector registers,
/// which the next function that the dynamic linker binds would save there.
#[inline(never)]
fn wipe_stack<const DEPTH: usize>() {
    if !cfg!(no_stack_wipe) {
        let mut below = MaybeUninit::<[u8; DEPTH]>::uninit();
        // SAFETY: so many bytes are there.
        unsafe { libc::explicit_bzero(below.as_mut_ptr().cast(), DEPTH) };
        clear_vector_registers();
    }
}

/// Clears the registers with which the compiler copies keys, 16 bytes at a time. `crypto::kernel` clears those that only AVX-512 has.
fn clear_vector_registers() {
    #[cfg(all(target_arch = "x86_64", not(no_stack_wipe)))]
    // SAFETY: it changes nothing but registers that it names.
    unsafe {
        core::arch::asm!(
            "pxor xmm0, xmm0", "pxor xmm1, xmm1", "pxor xmm2, xmm2", "pxor xmm3, xmm3",
            "pxor xmm4, xmm4", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "pxor xmm7, xmm7",
            "pxor xmm8, xmm8", "pxor xmm9, xmm9", "pxor xmm10, xmm10", "pxor xmm11, xmm11",
            "pxor xmm12, xmm12", "pxor xmm13, xmm13", "pxor xmm14, xmm14", "pxor xmm15, xmm15",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Runs the body of a function that the mechglue calls of its own accord: the error is remembered by nobody, and
/// `minor_status` may be NULL.
pub(super) fn quiet(minor_status: Out<u32>, body: impl FnOnce() -> Result<Major>) -> Major {
    guarded(minor_status, body, status::code)
}

fn guarded(
    minor_status: Out<u32>, body: impl FnOnce() -> Result<Major>, code_of: impl FnOnce(&Error) -> (Major, u32),
) -> Major {
    let whole = || body().map_or_else(|error| code_of(&error), |major| (major, 0));
    let (major, minor) = catch_unwind(AssertUnwindSafe(whole)).unwrap_or(status::code(&Error::Internal));
    minor_status.put(minor);
    major
}

/// A panic of ours goes to the trace, not to the application's standard error. The hook is the plugin's alone: its
/// standard library is linked into it.
fn trace_panics() {
    // Not `std::sync::Once`: a child forked during the first call would wait for it for ever.
    static IS_SET: AtomicBool = AtomicBool::new(false);
    // Nearly every call only reads: a swap takes as long as a lock.
    if !cfg!(test) && !IS_SET.load(Ordering::Relaxed) && !IS_SET.swap(true, Ordering::Relaxed) {
        std::panic::set_hook(Box::new(|info| {
            System.trace(format_args!("defect at {}", info.location().map_or_else(String::new, ToString::to_string)));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        abi::ptr::{Argument as _, Promise},
        error::ApiMisuse,
    };

    /// A `minor_status`.
    fn out(place: *mut u32) -> Out<u32> {
        // SAFETY: the tests give NULL or a variable of their own.
        Out::new(place, &unsafe { Promise::of_caller() })
    }

    fn defect() -> Result<Major> {
        panic!("a defect")
    }

    #[test]
    fn a_panic_becomes_a_failure() {
        let mut minor = 0;
        for guard in [plain, wiping::<64>, quiet] {
            let major = guard(out(&raw mut minor), defect);
            assert_eq!((major, core::mem::take(&mut minor)), status::code(&Error::Internal));
        }
    }

    #[test]
    fn a_null_minor_status_is_answered() {
        for guard in [plain, wiping::<64>] {
            let major = guard(out(core::ptr::null_mut()), defect);
            assert_eq!(major, status::code(&ApiMisuse::NullOutput.into()).0);
        }
        assert_eq!(quiet(out(core::ptr::null_mut()), || Ok(7)), 7);
    }
}
