//! Something to mend that a program gets to see: SPNEGO and the mechglue leave a mechanism out whose credential cannot be had,
//! and forget its error over that of another one.

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{Failure, NO_CI_FLAGS, NTLM, Name, Oid, SPNEGO};
use crate::common::handshake::Handshake;
use crate::common::{with_environment, world};

/// What a program that asks for nothing in particular is told where something is to be mended: at its first step.
pub(crate) fn told_to_default_initiator(mech: &'static Oid) -> Failure {
    let cred = Cred::acquire(None, Usage::Initiate, mech).expect("the error is said where it is shown");
    first_step(mech, cred)
}

fn first_step(mech: &'static Oid, cred: Cred) -> Failure {
    let handshake = Handshake::between(mech, cred, Cred::none());
    handshake.initiator().step(None).map(|step| step.token).expect_err("there is something to mend")
}

/// User files that cannot be used.
fn files() -> [(String, &'static str); 5] {
    let path = |name: &str, content: &[u8]| world().file(name, content).display().to_string();
    let writable = world().file_of_mode("deferred-writable", "DOM:alice:Password\n", 0o666).display().to_string();
    [
        ("/nonexistent/users".to_owned(), "The user file /nonexistent/users cannot be read: No such file"),
        ("/".to_owned(), "The user file / cannot be read: it is not a regular file"),
        (writable, "is not used because everybody may write to it"),
        (path("deferred-empty", b"# nobody\n"), "has no usable entry: add a line"),
        (path("deferred-latin1", b"DOM:j\xfcrgen:x\n"), "has no usable entry, and its line 1 is not UTF-8"),
    ]
}

/// Switches that are none.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("GSS_NTLM_MIC", "sometimes", "GSS_NTLM_MIC must be "),
    ("LM_COMPAT_LEVEL", "6", "LM_COMPAT_LEVEL must be "),
    ("GSS_NTLM_REQUIRED_MIC", "yes", "GSS_NTLM_REQUIRED_MIC is not a setting of gss-ntlm"),
];

#[expect(clippy::disallowed_methods, reason = "the parent's word")]
fn sentence() -> String {
    std::env::var("GSSNTLM_TEST_SENTENCE").unwrap()
}

/// Runs `body` with each of them in force.
fn with_each<F: FnOnce() + Copy>(body: F) {
    for (path, sentence) in files() {
        with_environment(&[("NTLM_USER_FILE", &path), ("GSSNTLM_TEST_SENTENCE", sentence)], body);
    }
    for (switch, value, sentence) in SWITCHES {
        with_environment(&[(switch, value), ("GSSNTLM_TEST_SENTENCE", sentence)], body);
    }
}

fn assert_says(failure: &Failure) {
    let sentence = sentence();
    assert!(failure.minor_text.contains(&sentence), "not {sentence:?}: {failure:?}");
}

#[test]
fn an_initiator_hears_of_it_raw_and_inside_spnego() {
    with_each(|| {
        for mech in [&NTLM, &SPNEGO] {
            assert_says(&told_to_default_initiator(mech));
            assert_says(&first_step(mech, Cred::none()));
        }
        // A program that adds one mechanism after the other.
        let added = Cred::none().copy_with(None, Usage::Initiate, &NTLM).unwrap();
        assert_says(&first_step(&NTLM, added));
    });
}

#[test]
fn such_a_credential_has_no_name() {
    with_each(|| {
        let mut cred = Cred::acquire(None, Usage::Initiate, &NTLM).unwrap();
        cred.set_option(&NO_CI_FLAGS, b"").unwrap();
        assert_says(&cred.inquire().map(|facts| facts.name).unwrap_err());
        assert_says(&cred.inquire_by_mech().map(|(name, ..)| name).unwrap_err());
        assert_says(&cred.export().map(drop).unwrap_err());
        let accepting = Handshake::between(&NTLM, Cred::none(), cred);
        assert_says(&accepting.acceptor().step(NEGOTIATE).map(|step| step.token).unwrap_err());
    });
}

/// A NEGOTIATE_MESSAGE that any acceptor answers.
const NEGOTIATE: &[u8] = b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn an_acceptor_hears_of_it_at_once() {
    with_each(|| {
        // An empty file waits for accounts to come.
        let is_empty = sentence().contains("has no usable entry");
        let accepting = Cred::acquire(None, Usage::Accept, &NTLM).map(drop);
        assert_eq!(accepting.is_ok(), is_empty);
        let in_first_call = Handshake::between(&NTLM, Cred::none(), Cred::none()).acceptor().step(NEGOTIATE).map(drop);
        assert_eq!(in_first_call.is_ok(), is_empty);
        let both = Cred::acquire(None, Usage::Both, &NTLM).and_then(|cred| cred.inquire());
        assert_eq!(both.as_ref().map(|facts| facts.usage).ok(), is_empty.then_some(Usage::Accept));
        for failure in [accepting.err(), in_first_call.err(), both.err()].into_iter().flatten() {
            assert_says(&failure);
        }
    });
}

#[test]
fn who_asks_for_something_hears_of_it_at_once() {
    with_each(|| {
        let alice = Name::user("DOM\\alice");
        Cred::acquire(Some(&alice), Usage::Initiate, &NTLM).map(drop).unwrap_err();
        let store = [("ntlmssp_domain", "DOM")];
        assert_says(&Cred::acquire_from(None, Usage::Initiate, &store, &NTLM).map(drop).unwrap_err());
    });
}

#[test]
fn where_nothing_is_configured_there_is_nothing_to_mend() {
    with_environment(&[("NTLM_USER_FILE", "")], || {
        for mech in [&NTLM, &SPNEGO] {
            for usage in [Usage::Initiate, Usage::Accept, Usage::Both] {
                let failure = Cred::acquire(None, usage, mech).map(drop).unwrap_err();
                assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED, "{usage:?}: {failure:?}");
            }
        }
    });
}
