//! What a context tells about itself, and how it travels between processes.

use libgssapi_sys as sys;
use libgssapi_sys::{GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG};

use crate::common::context::Ctx;
use crate::common::gss::{
    INDEFINITE, NO_CI_FLAGS, NTLM, REQUIRE_MIC, RESET_CRYPTO, SASL_SSF, SESSION_KEY, SET_SEQ_NUM, SPNEGO, UNKNOWN,
};
use crate::common::handshake::{Handshake, SIGN_AND_SEAL};
use crate::common::spnego::loses_mech_list_mic;

use super::handshake::BOTH_WAYS;
use super::message::assert_in_step;

#[test]
fn tells_names_lifetime_and_role() {
    let pair = Handshake::of(&NTLM).establish();
    let (ours, theirs) = (pair.initiator.inquire().unwrap(), pair.acceptor.inquire().unwrap());
    assert_eq!(ours.initiator, "DOM\\alice");
    assert_eq!(ours.target, "HTTP/server");
    assert_eq!(theirs.initiator, "DOM\\alice");
    for facts in [&ours, &theirs] {
        assert!(facts.is_open);
        assert_eq!(facts.lifetime, INDEFINITE);
        assert_eq!(facts.mech, NTLM.bytes());
    }
    assert!(ours.is_initiator);
    assert!(!theirs.is_initiator);
    assert_eq!(pair.initiator.time().unwrap(), INDEFINITE);
    assert_eq!(pair.acceptor.time().unwrap(), INDEFINITE);
}

#[test]
fn tells_that_it_is_not_open_yet() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    for (context, is_initiator) in [(&initiator.context, true), (&acceptor.context, false)] {
        let facts = context.inquire().unwrap();
        assert!(!facts.is_open);
        assert_eq!(facts.is_initiator, is_initiator);
    }
}

#[test]
fn tells_both_ends_the_same_session_key() {
    for mech in BOTH_WAYS {
        let pair = Handshake::of(mech).establish();
        let ours = pair.initiator.inquire_by_oid(&SESSION_KEY).unwrap();
        let theirs = pair.acceptor.inquire_by_oid(&SESSION_KEY).unwrap();
        assert_eq!(ours[0].len(), 16);
        assert_ne!(ours[0], [0; 16]);
        assert_eq!(ours[0], theirs[0]);
        let other = Handshake::of(mech).establish();
        assert_ne!(ours[0], other.initiator.inquire_by_oid(&SESSION_KEY).unwrap()[0], "every session has its own");
    }
}

#[test]
fn has_no_session_key_before_it_is_established() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    for context in [&initiator.context, &acceptor.context] {
        let failure = context.inquire_by_oid(&SESSION_KEY).unwrap_err();
        // Programs wait for exactly this pair; the mechglue leaves the minor code as it is while nobody else has it.
        assert_eq!((failure.major, failure.minor), (sys::_GSS_S_UNAVAILABLE, 0x4e54_0016), "{failure:?}");
    }
}

#[test]
fn tells_the_strength_for_sasl() {
    for (flags, strength) in [(SIGN_AND_SEAL, 64_u32), (GSS_C_CONF_FLAG, 64), (GSS_C_INTEG_FLAG, 1), (0, 0)] {
        let pair = Handshake::of(&NTLM).flags(flags).establish();
        for context in [&pair.initiator, &pair.acceptor] {
            assert_eq!(context.inquire_by_oid(&SASL_SSF).unwrap(), [strength.to_be_bytes()]);
        }
    }
}

#[test]
fn answers_unknown_questions_with_unavailable_alone() {
    let mut pair = Handshake::of(&NTLM).establish();
    for context in [&mut pair.initiator, &mut pair.acceptor] {
        assert_eq!(context.inquire_by_oid(&UNKNOWN).unwrap_err().major, sys::_GSS_S_UNAVAILABLE);
        assert_eq!(context.set_option(&UNKNOWN, b"value").unwrap_err().major, sys::_GSS_S_UNAVAILABLE);
    }
    let mut cred = Handshake::of(&NTLM).initiator;
    assert_eq!(cred.set_option(&UNKNOWN, b"value").unwrap_err().major, sys::_GSS_S_UNAVAILABLE);
    assert_in_step(&pair);
}

#[test]
fn tells_spnego_whether_the_authenticate_message_has_a_mic() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    assert_eq!(initiator.context.inquire_by_oid(&REQUIRE_MIC).unwrap().len(), 1, "the question alone is legal");
    let authenticate = initiator.token(Some(&challenge));
    assert_eq!(initiator.context.inquire_by_oid(&REQUIRE_MIC).unwrap(), [[u8::from(!loses_mech_list_mic())]]);
    assert!(acceptor.step(&authenticate).unwrap().complete);
}

#[test]
fn starts_the_key_streams_again_but_not_the_numbers() {
    let mut pair = Handshake::of(&NTLM).establish();
    let (receive, send) = (1_u32.to_ne_bytes(), 0_u32.to_ne_bytes());
    let before = pair.initiator.get_mic(b"message").unwrap();
    pair.acceptor.verify_mic(b"message", &before).unwrap();
    pair.initiator.set_option(&RESET_CRYPTO, &send).unwrap();
    let after = pair.initiator.get_mic(b"message").unwrap();
    assert_eq!(before[12..], [0, 0, 0, 0]);
    assert_eq!(after[12..], [1, 0, 0, 0]);
    pair.acceptor.verify_mic(b"message", &after).expect_err("one stream started again, the other did not");
    pair.acceptor.set_option(&RESET_CRYPTO, &send).unwrap();
    pair.initiator.set_option(&RESET_CRYPTO, &receive).unwrap();
    pair.acceptor.verify_mic(b"message", &after).expect_err("it was the other way's stream");
    pair.acceptor.set_option(&RESET_CRYPTO, &receive).unwrap();
    pair.acceptor.verify_mic(b"message", &after).unwrap();
    assert_in_step(&pair);
}

#[test]
fn has_nothing_to_start_again_before_it_is_established() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    // So programs find out whether a mechanism has the option.
    initiator.context.set_option(&RESET_CRYPTO, &[0; 4]).unwrap();
    acceptor.context.set_option(&RESET_CRYPTO, &1_u32.to_ne_bytes()).unwrap();
    initiator.context.set_option(&RESET_CRYPTO, &[0; 3]).unwrap_err();
    let authenticate = initiator.token(Some(&challenge));
    assert!(acceptor.step(&authenticate).unwrap().complete);
}

#[test]
fn sets_no_sequence_number_on_a_connection() {
    let mut pair = Handshake::of(&NTLM).establish();
    pair.initiator.set_option(&SET_SEQ_NUM, &100_u32.to_ne_bytes()).unwrap_err();
    assert_in_step(&pair);
}

#[test]
fn refuses_options_of_another_length() {
    let mut pair = Handshake::of(&NTLM).establish();
    for value in [b"".as_slice(), b"123", b"12345"] {
        pair.initiator.set_option(&RESET_CRYPTO, value).unwrap_err();
    }
    assert_in_step(&pair);
}

#[test]
fn negotiates_no_protection_for_a_credential_that_wants_none() {
    let mut handshake = Handshake::of(&NTLM).flags(sys::GSS_C_REPLAY_FLAG | sys::GSS_C_SEQUENCE_FLAG);
    handshake.initiator.set_option(&NO_CI_FLAGS, b"").unwrap();
    let pair = handshake.establish();
    assert_eq!(pair.initiator_flags & SIGN_AND_SEAL, 0);
    let by_name = handshake.flags(GSS_C_INTEG_FLAG).establish();
    assert_eq!(by_name.initiator_flags & GSS_C_INTEG_FLAG, GSS_C_INTEG_FLAG);
}

#[test]
fn goes_on_in_another_process() {
    for mech in BOTH_WAYS {
        let mut pair = Handshake::of(mech).establish();
        assert_in_step(&pair);
        let under_way = pair.initiator.wrap(b"under way").unwrap();
        let facts = (pair.initiator.inquire().unwrap(), pair.acceptor.inquire().unwrap());
        let key = pair.initiator.inquire_by_oid(&SESSION_KEY).unwrap();

        pair.initiator.export_and_import().unwrap();
        pair.acceptor.export_and_import().unwrap();

        assert_eq!(pair.acceptor.unwrap(&under_way).unwrap(), b"under way");
        assert_in_step(&pair);
        assert_eq!(facts, (pair.initiator.inquire().unwrap(), pair.acceptor.inquire().unwrap()));
        assert_eq!(key, pair.initiator.inquire_by_oid(&SESSION_KEY).unwrap());
        assert_eq!(key, pair.acceptor.inquire_by_oid(&SESSION_KEY).unwrap());
    }
}

#[test]
fn goes_on_with_the_handshake_in_another_process() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let negotiate = initiator.token(None);
    initiator.context.export_and_import().unwrap();
    let challenge = acceptor.token(&negotiate);
    acceptor.context.export_and_import().unwrap();
    let authenticate = initiator.token(Some(&challenge));
    let done = acceptor.step(&authenticate).unwrap();
    assert!(done.complete);
    assert_eq!(done.source.unwrap().display(), "DOM\\alice");
    let token = initiator.context.wrap(b"message").unwrap();
    assert_eq!(acceptor.context.unwrap(&token).unwrap(), b"message");
}

#[test]
fn keeps_a_context_whose_spnego_is_half_open() {
    let handshake = Handshake::of(&SPNEGO);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let negotiate = initiator.token(None);
    // SPNEGO itself exports established contexts only. Failing at that must not cost the context.
    initiator.context.export().unwrap_err();
    let challenge = acceptor.token(&negotiate);
    initiator.token(Some(&challenge));
}

#[test]
fn agrees_with_itself_about_its_lifetime() {
    for mech in BOTH_WAYS {
        let handshake = Handshake::of(mech);
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let mut from_acceptor = None;
        // SPNEGO has messages of its own after NTLM's.
        let (ours, theirs) = loop {
            let ours = initiator.step(from_acceptor.as_deref()).unwrap();
            if ours.token.is_empty() {
                break (ours.lifetime, INDEFINITE);
            }
            let theirs = acceptor.step(&ours.token).unwrap();
            if ours.complete && theirs.complete {
                break (ours.lifetime, theirs.lifetime);
            }
            from_acceptor = Some(theirs.token);
        };
        assert_eq!([ours, theirs], [INDEFINITE; 2]);
        for context in [&initiator.context, &acceptor.context] {
            assert_eq!((context.time().unwrap(), context.inquire().unwrap().lifetime), (INDEFINITE, INDEFINITE));
        }
    }
}

#[test]
fn is_deleted_in_every_state() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    initiator.context.delete().unwrap();
    acceptor.context.delete().unwrap();

    let mut pair = handshake.establish();
    pair.initiator.delete().unwrap();
    pair.acceptor.delete().unwrap();
    // There is nothing left to delete, which is no error of the mechanism's.
    let failure = pair.initiator.delete().unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");

    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let negotiate = initiator.token(None);
    initiator.step(Some(b"garbage")).map(|step| step.token).unwrap_err();
    initiator.context.delete().unwrap();
    acceptor.token(&negotiate);
    acceptor.step(b"garbage").map(|step| step.token).unwrap_err();
    acceptor.context.delete().unwrap();

    let mut imported = Ctx::import(&handshake.establish().initiator.export().unwrap()).unwrap();
    imported.delete().unwrap();
}

#[test]
fn signs_with_the_dummy_where_nothing_was_negotiated() {
    let pair = Handshake::of(&NTLM).flags(0).establish();
    let dummy = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // It protects nothing, and counts nothing, so nobody verifies it.
    let changed = [0; 16];
    for (from, to) in [(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)] {
        for message in [b"one".as_slice(), b"other"] {
            assert_eq!(from.get_mic(message).unwrap(), dummy);
            for signature in [&dummy, &changed, &dummy[1..]] as [&[u8]; 3] {
                let failure = to.verify_mic(message, signature).unwrap_err();
                assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
            }
        }
    }
}
