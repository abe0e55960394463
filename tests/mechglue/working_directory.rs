//! A program that goes elsewhere.

use std::env::set_current_dir;
use std::fs;

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{NTLM, Name};
use crate::common::handshake::Handshake;
use crate::common::{PASSWORD, with_environment, world};

/// It knows alice by the password of the first place, not of the other.
fn assert_keeps_to_its_file(acceptor: Cred) {
    let mut handshake = Handshake::with_password(&NTLM, "DOM\\alice", PASSWORD);
    handshake.acceptor = acceptor;
    assert_eq!(handshake.establish().source, "DOM\\alice");
    handshake.initiator = Cred::with_password(&Name::user("DOM\\alice"), "of another place", &NTLM).unwrap();
    let failure = handshake.refusal_changing(|_, token| token).by_acceptor();
    assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
}

#[test]
fn does_not_change_whom_an_acceptor_knows() {
    // `users` are the accounts of all tests.
    with_environment(&[("NTLM_USER_FILE", "users")], || {
        let elsewhere = world().dir.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        world().file("elsewhere/users", "DOM:alice:of another place\n");
        set_current_dir(&world().dir).unwrap();
        let acquire = || Cred::acquire(None, Usage::Accept, &NTLM).unwrap();
        let of_store = Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", "./users")], &NTLM).unwrap();
        let (of_before, exported) = (acquire(), acquire().export().unwrap());
        set_current_dir(&elsewhere).unwrap();
        for acceptor in [of_before, of_store, Cred::import(&exported).unwrap()] {
            assert_keeps_to_its_file(acceptor);
        }
        // Who is acquired there has what is there.
        let mut handshake = Handshake::with_password(&NTLM, "DOM\\alice", "of another place");
        handshake.acceptor = acquire();
        assert_eq!(handshake.establish().source, "DOM\\alice");
    });
}
