//! What happens where the kernel gives no random bytes.

use std::{sync::mpsc, thread};

use crate::common::gss::{NTLM, SPNEGO};
use crate::common::handshake::Handshake;
use crate::common::with_environment;

/// Lets each getrandom(2) of this thread fail with `error`.
fn fail_getrandom(error: i32) {
    let statement = |code, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::try_from(libc::SYS_getrandom).unwrap()),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error.cast_unsigned()),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: a program of four statements.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }, 0);
}

fn refused_with(error: i32) {
    let handshake = Handshake::of(&NTLM);
    fail_getrandom(error);
    // SAFETY: a number. A test that waits is ended.
    unsafe { libc::alarm(60) };
    let failure = handshake.refusal_changing(|_, token| token).by_acceptor();
    assert!(failure.minor_text.contains("provided no random bytes"), "{failure:?}");
}

#[test]
fn a_kernel_that_refuses_them_is_an_error() {
    with_environment(&[], || refused_with(libc::ENOSYS));
}

#[test]
fn a_kernel_that_interrupts_them_for_ever_is_an_error() {
    with_environment(&[], || refused_with(libc::EINTR));
}

#[test]
fn an_initiator_makes_no_key_without_them() {
    with_environment(&[], || {
        for mech in [&NTLM, &SPNEGO] {
            let (to_server, from_client) = mpsc::channel();
            let (to_client, from_server) = mpsc::channel();
            // In a thread of its own, whose filter of system calls ends with it. Only this thread's first random bytes must come
            // from a system call, so the server is in another one.
            thread::scope(|scope| {
                scope.spawn(move || {
                    let handshake = Handshake::of(mech);
                    let mut initiator = handshake.initiator();
                    to_server.send(initiator.token(None)).unwrap();
                    let challenge: Vec<u8> = from_server.recv().unwrap();
                    fail_getrandom(libc::EPERM);
                    let failure = initiator.step(Some(&challenge)).map(|step| step.token).unwrap_err();
                    assert!(failure.minor_text.contains("provided no random bytes"), "{failure:?}");
                    assert!(initiator.step(Some(&challenge)).is_err(), "the context has failed");
                });
                let handshake = Handshake::of(mech);
                to_client.send(handshake.acceptor().token(&from_client.recv().unwrap())).unwrap();
            });
        }
    });
}
