//! Any call from any thread.

use std::fs;
use std::sync::mpsc;
use std::thread;

use crate::common::gss::NTLM;
use crate::common::handshake::Handshake;
use crate::common::token::Authenticate;
use crate::common::{PASSWORD, with_environment, world};

use super::message::assert_in_step;

#[test]
fn shakes_hands_in_many_threads() {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_in_step(&Handshake::with_password(&NTLM, "DOM\\alice", PASSWORD).establish());
                }
            });
        }
    });
}

#[test]
fn shares_credentials_between_threads() {
    let handshake = Handshake::of(&NTLM);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_in_step(&handshake.establish())));
        }
    });
}

#[test]
fn wraps_in_one_thread_and_unwraps_in_another() {
    const MESSAGES: usize = 2_000;
    let pair = Handshake::of(&NTLM).establish();
    let (to_acceptor, from_initiator) = mpsc::channel();
    let (to_initiator, from_acceptor) = mpsc::channel();
    thread::scope(|scope| {
        // Both contexts send in one thread and receive in another, at the same time.
        for (context, to) in [(&pair.initiator, to_acceptor), (&pair.acceptor, to_initiator)] {
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    to.send(context.wrap(&number.to_le_bytes()).unwrap()).unwrap();
                }
            });
        }
        for (context, from) in [(&pair.acceptor, from_initiator), (&pair.initiator, from_acceptor)] {
            scope.spawn(move || {
                for (number, token) in from.iter().enumerate() {
                    assert_eq!(context.unwrap(&token).unwrap(), number.to_le_bytes());
                }
            });
        }
    });
    assert_in_step(&pair);
}

#[test]
fn keeps_its_count_when_two_threads_send() {
    const MESSAGES: u32 = 500;
    let pair = Handshake::of(&NTLM).establish();
    let mut tokens: Vec<Vec<u8>> = thread::scope(|scope| {
        let send = || (0..MESSAGES).map(|_| pair.initiator.wrap(b"message").unwrap()).collect::<Vec<_>>();
        let (one, other) = (scope.spawn(send), scope.spawn(send));
        one.join().unwrap().into_iter().chain(other.join().unwrap()).collect()
    });
    tokens.sort_by_key(|token| u32::from_le_bytes(token[12..16].try_into().unwrap()));
    for token in tokens {
        assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");
    }
}

#[test]
fn has_random_numbers_of_its_own_after_a_fork() {
    // In a process of its own, in which nothing else happens meanwhile.
    with_environment(&[], || {
        let handshake = Handshake::of(&NTLM);
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let challenge = acceptor.token(&initiator.token(None));
        let place = world().file("of-child", "");
        // SAFETY: the other thread waits for the test's end, so it holds no lock that the child needs.
        let child = unsafe { libc::fork() };
        let authenticate = initiator.token(Some(&challenge));
        if child == 0 {
            fs::write(&place, authenticate).unwrap();
            // SAFETY: nothing of the test's is to be cleaned up by the child.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: a child of this process and a local.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        let of_child = Authenticate::read(&fs::read(&place).unwrap());
        let own = Authenticate::read(&authenticate);
        assert_ne!(of_child.nt_response[32..40], own.nt_response[32..40], "the client's challenge");
        assert_ne!(of_child.key, own.key);
        assert!(acceptor.step(&authenticate).unwrap().complete);
    });
}
