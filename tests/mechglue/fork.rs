//! A program forks while its threads shake hands: the child has none of them, and must not wait for one.
//!
//! The mechglue locks for a moment in each call, and a child of such a moment waits forever. So here, and only here, the
//! plugin is called without it.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::mem::transmute_copy;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use libgssapi_sys as sys;

use crate::common::context::Ctx;
use crate::common::gss::NTLM;
use crate::common::handshake::{Handshake, SIGN_AND_SEAL};
use crate::common::{ACCOUNTS, library_of, with_environment, world};

use super::trace::Trace;

const NOTHING: sys::gss_buffer_desc = sys::gss_buffer_desc { length: 0, value: null_mut() };

/// The plugin's function of a name that libgssapi has as well, for the same arguments.
macro_rules! of_plugin {
    ($name:ident, $($argument:tt),*) => {{
        let function: unsafe extern "C" fn($($argument),*) -> _ = sys::$name;
        in_plugin(function, stringify!($name))
    }};
}

pub(super) fn in_plugin<F>(_: F, name: &str) -> F {
    let (path, name) = (world().plugin.to_str().unwrap(), CString::new(name).unwrap());
    let text = CString::new(path).unwrap();
    // SAFETY: a path; the mechglue has loaded what is there.
    let plugin = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    // SAFETY: a library that is loaded, and a name.
    let address = unsafe { libc::dlsym(plugin, name.as_ptr()) };
    assert_eq!(library_of(address), path, "{name:?}");
    // SAFETY: the mechglue calls it by this name, as a function of this type.
    unsafe { transmute_copy(&address) }
}

/// What shakes hands with itself as the first account of a user file, with a credential of its own.
fn handshakes() -> impl Fn(&CStr) + Sync {
    let acquire = of_plugin!(gss_acquire_cred_from, _, _, _, _, _, _, _, _, _);
    let initiate = of_plugin!(gss_init_sec_context, _, _, _, _, _, _, _, _, _, _, _, _, _);
    let accept = of_plugin!(gss_accept_sec_context, _, _, _, _, _, _, _, _, _, _, _);
    let delete = of_plugin!(gss_delete_sec_context, _, _, _);
    let release = of_plugin!(gss_release_cred, _, _);
    move |users| {
        let (mut minor, mut cred, both) = (0, null_mut(), sys::GSS_C_BOTH.cast_signed());
        let mut element = sys::gss_key_value_element_desc { key: c"ntlmssp_keyfile".as_ptr(), value: users.as_ptr() };
        let store = sys::gss_key_value_set_desc { count: 1, elements: &mut element };
        // SAFETY: locals, and NULL where it may stand.
        let major =
            unsafe { acquire(&mut minor, null_mut(), 0, null_mut(), both, &store, &mut cred, null_mut(), null_mut()) };
        assert_eq!(major, sys::GSS_S_COMPLETE, "{minor:#x}");
        let mut contexts = [null_mut(); 2];
        let mut token = NOTHING;
        for turn in 0..4 {
            let (mut answer, is_last) = (NOTHING, turn >= 2);
            let (none, context) = (null_mut(), &mut contexts[turn % 2]);
            let major = if turn % 2 == 0 {
                // SAFETY: handles and buffers of the plugin's, and NULL where it may stand.
                unsafe {
                    initiate(
                        &mut minor,
                        cred,
                        context,
                        null_mut(),
                        null_mut(),
                        SIGN_AND_SEAL,
                        0,
                        null_mut(),
                        &mut token,
                        null_mut(),
                        &mut answer,
                        none,
                        null_mut(),
                    )
                }
            } else {
                // SAFETY: as above.
                unsafe {
                    accept(
                        &mut minor,
                        context,
                        cred,
                        &mut token,
                        null_mut(),
                        null_mut(),
                        null_mut(),
                        &mut answer,
                        none,
                        null_mut(),
                        null_mut(),
                    )
                }
            };
            let expected = if is_last { sys::GSS_S_COMPLETE } else { sys::GSS_S_CONTINUE_NEEDED };
            assert_eq!(major, expected, "turn {turn}: {minor:#x}");
            // SAFETY: memory of malloc's, or NULL.
            unsafe { libc::free(token.value) };
            token = answer;
        }
        for mut context in contexts {
            // SAFETY: a context of the plugin's.
            unsafe { delete(&mut minor, &mut context, null_mut()) };
        }
        // SAFETY: a credential of the plugin's.
        unsafe { release(&mut minor, &mut cred) };
    }
}

const CHILDREN: usize = 100;
/// For a handshake of a few milliseconds.
const SECONDS: u32 = 20;

/// More files than are kept, so that they are always read and kept anew.
fn files() -> Vec<CString> {
    let file = |number| world().file(&format!("users-{number}"), ACCOUNTS);
    let files = (0..6).map(|number| CString::new(file(number).to_str().unwrap()).unwrap()).collect();
    // A file that has just changed is not kept.
    thread::sleep(Duration::from_secs(3));
    files
}

fn children_of_a_busy_program_shake_hands() {
    let (shake_hands, files, is_over) = (handshakes(), files(), AtomicBool::new(false));
    let round = || files.iter().for_each(|users| shake_hands(users));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    round();
                }
            });
        }
        let outcome = (0..CHILDREN).map(|_| status_of_child(round)).find(|status| *status != 0);
        is_over.store(true, Ordering::Relaxed);
        assert_ne!(outcome, Some(libc::SIGALRM), "a child waits for what it does not have");
        assert_eq!(outcome, None);
    });
}

/// How a child ended that does `work` and nothing else.
fn status_of_child(work: impl Fn()) -> i32 {
    thread::sleep(Duration::from_millis(3));
    // SAFETY: what the child does is what is tested.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it ends the child, should it hang.
        unsafe { libc::alarm(SECONDS) };
        let code = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
        // SAFETY: nothing of the test's is to be cleaned up by the child.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a child of this process and a local.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

/// What doc/SECURITY.md warns of: whoever uses a context in two processes seals two messages with one key stream.
#[test]
fn a_context_that_two_processes_use_has_one_key_stream() {
    with_environment(&[], || {
        let mut pair = Handshake::of(&NTLM).establish();
        let place = world().file("of-child", "");
        // SAFETY: the other thread waits for the test's end, so it holds no lock that the child needs.
        let child = unsafe { libc::fork() };
        let token = pair.initiator.wrap(b"by one process").unwrap();
        if child == 0 {
            fs::write(&place, token).unwrap();
            // SAFETY: nothing of the test's is to be cleaned up by the child.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: a child of this process and a local.
        assert_eq!((unsafe { libc::waitpid(child, &mut status, 0) }, status), (child, 0));
        assert_eq!(fs::read(&place).unwrap(), token, "the child's number and key stream are the parent's");
        // The acceptor takes only one of the two: they have one number.
        pair.acceptor.unwrap(&token).unwrap();
        pair.acceptor.unwrap(&token).unwrap_err();
        // The same of a context that is imported twice.
        let exported = pair.initiator.export().unwrap();
        let [one, other] = [(); 2].map(|()| Ctx::import(&exported).unwrap());
        assert_eq!(one.wrap(b"by one import").unwrap(), other.wrap(b"by one import").unwrap());
    });
}

#[test]
fn leaves_no_child_waiting() {
    with_environment(&[], || {
        children_of_a_busy_program_shake_hands();
    });
}

#[test]
fn leaves_no_child_waiting_for_the_trace() {
    with_environment(&[], || {
        let trace = Trace::start("of-many");
        children_of_a_busy_program_shake_hands();
        let text = trace.text();
        let processes: HashSet<_> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(processes.len(), 1 + CHILDREN, "each has its lines");
    });
}
