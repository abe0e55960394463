//! Tokens that are not what they should be, and what they leave behind.

use libgssapi_sys as sys;

use crate::common::apart;
use crate::common::gss::{Failure, Gss, NTLM, RESET_CRYPTO, SESSION_KEY};
use crate::common::handshake::{Acceptor, Handshake, Step};

use super::message::assert_in_step;

fn assert_defective(outcome: Gss<Step>, what: &str) {
    let failure = refused(outcome, what);
    assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{what}: {failure:?}");
    assert!(!failure.minor_text.is_empty(), "{what}");
}

fn refused(outcome: Gss<Step>, what: &str) -> Failure {
    outcome.map(|step| step.token).expect_err(what)
}

fn assert_no_context(outcome: Gss<Step>) {
    let failure = refused(outcome, "a failed context stepped on");
    assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");
}

/// Up to NegotiateFlags: what a first message must have.
const SHORTEST_NEGOTIATE: usize = 16;

#[test]
fn refuses_every_truncation_of_the_first_message() {
    let handshake = Handshake::of(&NTLM);
    let negotiate = handshake.initiator().token(None);
    // Its Signature alone starts a connectionless handshake.
    for length in (1..SHORTEST_NEGOTIATE).filter(|length| *length != 8) {
        let mut acceptor = handshake.acceptor();
        assert_defective(acceptor.step(&negotiate[..length]), &format!("{length} bytes"));
        assert!(acceptor.context.is_none(), "a first call that fails leaves no context");
    }
}

#[test]
fn accepts_the_first_message_as_short_as_old_clients_send_it() {
    let handshake = Handshake::of(&NTLM);
    let negotiate = handshake.initiator().token(None);
    // Without the two fields, and without Version.
    for length in [SHORTEST_NEGOTIATE, 32] {
        handshake.acceptor().token(&negotiate[..length]);
    }
}

#[test]
fn refuses_every_truncation_of_the_second_message() {
    let handshake = Handshake::of(&NTLM);
    let challenge = handshake.acceptor().token(&handshake.initiator().token(None));
    for length in 1..challenge.len() {
        let mut initiator = handshake.initiator();
        initiator.token(None);
        assert_defective(initiator.step(Some(&challenge[..length])), &format!("{length} bytes"));
        assert_no_context(initiator.step(Some(&challenge)));
        initiator.context.delete().unwrap();
    }
}

#[test]
fn refuses_every_truncation_of_the_third_message() {
    let handshake = Handshake::of(&NTLM);
    let length = authenticate_for(&handshake, |_, _| ()).len();
    for length in 0..length {
        authenticate_for(&handshake, |acceptor, authenticate| {
            assert_defective(acceptor.step(&authenticate[..length]), &format!("{length} bytes"));
            assert_no_context(acceptor.step(authenticate));
            acceptor.context.delete().unwrap();
        });
    }
}

/// A handshake up to the third message, which `finish` gets with the acceptor that waits for it.
fn authenticate_for(handshake: &Handshake, finish: impl FnOnce(&mut Acceptor<'_>, &[u8])) -> Vec<u8> {
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    let authenticate = initiator.token(Some(&challenge));
    finish(&mut acceptor, &authenticate);
    authenticate
}

#[test]
fn refuses_every_flipped_bit_of_a_protected_third_message() {
    apart(|| {
        let handshake = Handshake::of(&NTLM);
        let length = authenticate_for(&handshake, |_, _| ()).len();
        for at in 0..length {
            authenticate_for(&handshake, |acceptor, authenticate| {
                let mut flipped = authenticate.to_vec();
                // Another bit of each byte in turn: all eight of all bytes are the unit tests' work.
                flipped[at] ^= 1 << (at % 8);
                // The MIC covers the whole message, so no byte of it is without meaning.
                let failure = refused(acceptor.step(&flipped), &format!("byte {at} of {length}"));
                assert_ne!(failure.minor, 0);
                assert_no_context(acceptor.step(authenticate));
            });
        }
    });
}

#[test]
fn refuses_a_message_out_of_turn() {
    let handshake = Handshake::of(&NTLM);
    let pair = handshake.establish();
    let [negotiate, challenge, authenticate] = &pair.tokens[..] else { panic!("three messages") };

    for wrong in [challenge, authenticate] {
        let mut acceptor = handshake.acceptor();
        assert_defective(acceptor.step(wrong), "as first message");
        assert!(acceptor.context.is_none());
    }
    for wrong in [negotiate, authenticate] {
        let mut initiator = handshake.initiator();
        initiator.token(None);
        assert_defective(initiator.step(Some(wrong)), "instead of the second message");
    }
    for wrong in [negotiate, challenge] {
        let mut acceptor = handshake.acceptor();
        acceptor.token(negotiate);
        assert_defective(acceptor.step(wrong), "instead of the third message");
    }
}

#[test]
fn begins_no_handshake_with_the_second_message() {
    let handshake = Handshake::of(&NTLM);
    let challenge = handshake.acceptor().token(&handshake.initiator().token(None));
    for token in [&challenge[..], b"garbage"] {
        let mut initiator = handshake.initiator();
        assert_no_context(initiator.step(Some(token)));
        assert!(initiator.context.is_none(), "a first call that fails leaves no context");
        initiator.token(None);
    }
}

#[test]
fn refuses_an_empty_second_message() {
    let handshake = Handshake::of(&NTLM);
    let mut initiator = handshake.initiator();
    initiator.token(None);
    assert_defective(initiator.step(Some(b"")), "nothing");
    assert_no_context(initiator.step(Some(b"")));
}

#[test]
fn a_forgotten_second_message_changes_nothing() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    let failure = refused(initiator.step(None), "no message at all");
    assert_eq!(failure.major & 0xff00_0000, sys::_GSS_S_CALL_INACCESSIBLE_READ, "{failure:?}");
    initiator.step(Some(&challenge)).unwrap();
}

#[test]
fn refuses_the_third_message_of_another_handshake() {
    let handshake = Handshake::of(&NTLM);
    let stolen = handshake.establish().tokens.pop().unwrap();
    let mut acceptor = handshake.acceptor();
    acceptor.token(&handshake.initiator().token(None));
    let failure = refused(acceptor.step(&stolen), "another challenge was answered");
    assert_ne!(failure.minor, 0);
}

#[test]
fn refuses_a_token_once_established_and_changes_nothing() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let negotiate = initiator.token(None);
    let challenge = acceptor.token(&negotiate);
    let authenticate = initiator.token(Some(&challenge));
    assert!(acceptor.step(&authenticate).unwrap().complete);

    for token in [&negotiate, &challenge, &authenticate] {
        refused(initiator.step(Some(token)), "the initiator is done");
        refused(acceptor.step(token), "the acceptor is done");
        let message = initiator.context.wrap(b"message").unwrap();
        assert_eq!(acceptor.context.unwrap(&message).unwrap(), b"message");
    }
}

#[test]
fn leaves_a_refused_handshake_failed_and_deletable() {
    let handshake = Handshake::with_password(&NTLM, "DOM\\alice", "wrong");
    authenticate_for(&handshake, |acceptor, authenticate| {
        refused(acceptor.step(authenticate), "a wrong password");
        assert_no_context(acceptor.step(authenticate));
        let failures = [
            acceptor.context.wrap(b"message").unwrap_err(),
            acceptor.context.get_mic(b"message").unwrap_err(),
            acceptor.context.time().unwrap_err(),
            acceptor.context.inquire().unwrap_err(),
            acceptor.context.inquire_by_oid(&SESSION_KEY).unwrap_err(),
            acceptor.context.set_option(&RESET_CRYPTO, &1_u32.to_ne_bytes()).map(drop).unwrap_err(),
            acceptor.context.export().unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");
        }
        acceptor.context.delete().unwrap();
    });
    assert_in_step(&Handshake::of(&NTLM).establish());
}

#[test]
fn finds_a_sentence_for_every_refusal() {
    let handshake = Handshake::of(&NTLM);
    let mut initiator = handshake.initiator();
    initiator.token(None);
    let garbage = refused(initiator.step(Some(b"garbage")), "garbage");
    assert!(garbage.minor_text.contains("CHALLENGE"), "names the message: {garbage:?}");

    let mut acceptor = handshake.acceptor();
    acceptor.token(&handshake.initiator().token(None));
    let garbage = refused(acceptor.step(b"garbage"), "garbage");
    assert!(garbage.minor_text.contains("AUTHENTICATE"), "names the message: {garbage:?}");
}
