//! Signing and sealing after the handshake.

use libgssapi_sys as sys;
use libgssapi_sys::{
    GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG, GSS_C_REPLAY_FLAG, GSS_C_SEQUENCE_FLAG, GSS_S_DUPLICATE_TOKEN, GSS_S_GAP_TOKEN,
    GSS_S_OLD_TOKEN, GSS_S_UNSEQ_TOKEN,
};

use crate::common::context::Ctx;
use crate::common::gss::{Buffer, Failure, NTLM, lend};
use crate::common::handshake::{Handshake, Pair};

use super::handshake::BOTH_WAYS;

/// Length of NTLMSSP_MESSAGE_SIGNATURE, which every token starts with.
pub(crate) const SIGNATURE: usize = 16;

/// Says something both ways, to show that the two ends still understand each other.
pub(crate) fn assert_in_step(pair: &Pair) {
    for (from, to) in [(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)] {
        assert_eq!(to.unwrap(&from.wrap(b"still here").unwrap()).unwrap(), b"still here");
        to.verify_mic(b"still here", &from.get_mic(b"still here").unwrap()).unwrap();
    }
}

/// Says something now one way, now the other, sealed or signed, as a conversation goes: without extended session security
/// both ways share one key stream and one count.
pub(crate) fn assert_alternates(pair: &Pair) {
    let ends = [&pair.initiator, &pair.acceptor];
    // Each way twice and thrice in a row as well.
    for (turn, from) in [0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1].into_iter().enumerate() {
        let (from, to) = (ends[from], ends[1 - from]);
        let message = vec![b'm'; turn * 7];
        if turn % 3 == 0 {
            to.verify_mic(&message, &from.get_mic(&message).unwrap()).unwrap();
        } else {
            assert_eq!(to.unwrap(&from.wrap(&message).unwrap()).unwrap(), message, "turn {turn}");
        }
    }
}

pub(crate) fn assert_bad_signature(failure: &Failure) {
    assert_eq!(failure.routine(), sys::_GSS_S_BAD_SIG, "{failure:?}");
    assert!(!failure.minor_text.is_empty());
}

#[test]
fn wraps_and_signs_both_ways() {
    for mech in BOTH_WAYS {
        let pair = Handshake::of(mech).establish();
        for (from, to) in [(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)] {
            for message in [b"".as_slice(), b"x", b"a longer message", &[7; 100_000]] {
                let token = from.wrap(message).unwrap();
                assert_eq!(token.len(), SIGNATURE + message.len());
                assert!(message.len() < 8 || !token.windows(8).any(|part| part == &message[..8]), "clear text");
                assert_eq!(to.unwrap(&token).unwrap(), message);

                let signature = from.get_mic(message).unwrap();
                assert_eq!(signature.len(), SIGNATURE);
                to.verify_mic(message, &signature).unwrap();
            }
        }
    }
}

#[test]
fn seals_whatever_was_asked_since_a_token_carries_no_mark() {
    for flags in [GSS_C_INTEG_FLAG, GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG] {
        let pair = Handshake::of(&NTLM).flags(flags).establish();
        for seal in [false, true] {
            let (token, sealed) = pair.initiator.wrap_asking(seal, b"clear text").unwrap();
            assert!(sealed);
            assert!(!token.windows(10).any(|part| part == b"clear text"));
            assert_eq!(pair.acceptor.unwrap_telling(&token).unwrap(), (b"clear text".to_vec(), true));
        }
    }
}

#[test]
fn refuses_to_wrap_where_nothing_was_negotiated() {
    let pair = Handshake::of(&NTLM).flags(0).establish();
    let failure = pair.initiator.wrap(b"message").unwrap_err();
    assert!(failure.minor != 0 && !failure.minor_text.is_empty(), "{failure:?}");
}

#[test]
fn refuses_every_tampered_token_and_stays_in_step() {
    let pair = Handshake::of(&NTLM).establish();
    let token = pair.initiator.wrap(b"message").unwrap();
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut tampered = token.clone();
            tampered[at] ^= 1 << bit;
            assert_bad_signature(&pair.acceptor.unwrap(&tampered).unwrap_err());
        }
    }
    assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");

    let signature = pair.initiator.get_mic(b"message").unwrap();
    for at in 0..signature.len() {
        let mut tampered = signature.clone();
        tampered[at] ^= 1;
        assert_bad_signature(&pair.acceptor.verify_mic(b"message", &tampered).unwrap_err());
    }
    assert_bad_signature(&pair.acceptor.verify_mic(b"massage", &signature).unwrap_err());
    pair.acceptor.verify_mic(b"message", &signature).unwrap();
    assert_in_step(&pair);
}

#[test]
fn refuses_tokens_that_are_too_short_or_too_long() {
    let pair = Handshake::of(&NTLM).establish();
    let token = pair.initiator.wrap(b"").unwrap();
    for length in 1..SIGNATURE {
        let failure = pair.acceptor.unwrap(&token[..length]).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{length} bytes: {failure:?}");
    }
    assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"");

    let mut signature = pair.initiator.get_mic(b"message").unwrap();
    for length in 1..SIGNATURE {
        let failure = pair.acceptor.verify_mic(b"message", &signature[..length]).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{length} bytes: {failure:?}");
    }
    signature.push(0);
    let failure = pair.acceptor.verify_mic(b"message", &signature).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{failure:?}");
    pair.acceptor.verify_mic(b"message", &signature[..SIGNATURE]).unwrap();
    assert_in_step(&pair);
}

/// Every error about sequence is a bad signature, at most with one of the bits that say how the number was wrong.
pub(crate) fn assert_out_of_sequence(failure: &Failure, allowed: u32) {
    assert_bad_signature(failure);
    let supplementary = failure.major & 0xffff;
    assert_eq!(supplementary & !allowed, 0, "{failure:?}");
}

#[test]
fn refuses_a_replay() {
    let pair = Handshake::of(&NTLM).establish();
    let token = pair.initiator.wrap(b"message").unwrap();
    pair.acceptor.unwrap(&token).unwrap();
    let failure = pair.acceptor.unwrap(&token).unwrap_err();
    assert_out_of_sequence(&failure, GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN | GSS_S_UNSEQ_TOKEN);

    let signature = pair.initiator.get_mic(b"message").unwrap();
    pair.acceptor.verify_mic(b"message", &signature).unwrap();
    let failure = pair.acceptor.verify_mic(b"message", &signature).unwrap_err();
    assert_out_of_sequence(&failure, GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN | GSS_S_UNSEQ_TOKEN);
    assert_in_step(&pair);
}

#[test]
fn refuses_a_message_before_its_turn_and_takes_it_in_turn() {
    let pair = Handshake::of(&NTLM).establish();
    let [first, second] = [b"first", b"other"].map(|message| pair.initiator.wrap(message).unwrap());
    let failure = pair.acceptor.unwrap(&second).unwrap_err();
    assert_out_of_sequence(&failure, GSS_S_GAP_TOKEN | GSS_S_UNSEQ_TOKEN);
    assert_eq!(pair.acceptor.unwrap(&first).unwrap(), b"first");
    assert_eq!(pair.acceptor.unwrap(&second).unwrap(), b"other");
    assert_in_step(&pair);
}

#[test]
fn refuses_its_own_messages() {
    let pair = Handshake::of(&NTLM).establish();
    let token = pair.initiator.wrap(b"message").unwrap();
    assert_bad_signature(&pair.initiator.unwrap(&token).unwrap_err());
    assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");
    assert_in_step(&pair);
}

#[test]
fn counts_the_signature_in_the_size_limit() {
    let pair = Handshake::of(&NTLM).establish();
    for (token, message) in [(0, 0), (1, 0), (15, 0), (16, 0), (17, 1), (1024, 1008), (u32::MAX, u32::MAX - 16)] {
        assert_eq!(pair.initiator.wrap_size_limit(token).unwrap(), message);
        assert_eq!(pair.acceptor.wrap_size_limit(token).unwrap(), message);
    }
}

#[test]
fn knows_no_other_quality_of_protection() {
    let pair = Handshake::of(&NTLM).establish();
    let mut message = lend(b"message");
    let mut token = Buffer::default();
    // SAFETY: a context that lives, and locals.
    let major = unsafe { sys::gss_get_mic(&mut 0, pair.initiator.ptr(), 1, &mut message, token.out()) };
    assert_eq!(major, sys::_GSS_S_BAD_QOP);
    // SAFETY: as above.
    let major = unsafe { sys::gss_wrap(&mut 0, pair.initiator.ptr(), 1, 1, &mut message, &mut 0, token.out()) };
    assert_eq!(major, sys::_GSS_S_BAD_QOP);
    assert_in_step(&pair);
}

#[test]
fn protects_no_message_before_the_handshake_is_done() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    let is_refused = |context: &Ctx| {
        let failures = [
            context.wrap(b"message").unwrap_err(),
            context.get_mic(b"message").unwrap_err(),
            context.unwrap(&[1; 20]).unwrap_err(),
            context.verify_mic(b"message", &[1; 16]).unwrap_err(),
            context.wrap_size_limit(100).unwrap_err(),
            context.time().unwrap_err(),
        ];
        failures.iter().for_each(|failure| assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}"));
    };
    is_refused(&initiator.context);
    is_refused(&acceptor.context);
}

#[test]
fn signs_where_only_order_was_asked_for() {
    for flags in [GSS_C_REPLAY_FLAG, GSS_C_SEQUENCE_FLAG] {
        assert_in_step(&Handshake::of(&NTLM).flags(flags).establish());
    }
}
