//! Sessions without extended session security, which only `sign-as-asked` and low levels allow: CRC32 signatures, and one key stream and one count for both ways.

use libgssapi_sys::{GSS_C_INTEG_FLAG, GSS_S_DUPLICATE_TOKEN, GSS_S_GAP_TOKEN, GSS_S_OLD_TOKEN, GSS_S_UNSEQ_TOKEN};

use crate::common::gss::{NEG_FLAGS, NTLM, Oid, RESET_CRYPTO, SASL_SSF, SPNEGO};
use crate::common::handshake::{Handshake, Pair, SIGN_AND_SEAL};
use crate::common::process::set_lm_level;
use crate::common::token::{
    ALWAYS_SIGN, BITS_56, BITS_128, EXTENDED_SESSIONSECURITY, LM_KEY, NTLM_KEY, UNICODE, flags_of,
};
use crate::common::with_environment;

use super::message::{SIGNATURE, assert_alternates, assert_bad_signature, assert_in_step, assert_out_of_sequence};

const PLAIN: u32 = UNICODE | NTLM_KEY | ALWAYS_SIGN;

/// A handshake whose initiator offers `offered` beside what `flags` ask for.
fn offering(mech: &'static Oid, offered: u32, flags: u32) -> Handshake {
    let mut handshake = Handshake::of(mech).flags(flags);
    handshake.initiator.set_option(&NEG_FLAGS, &offered.to_ne_bytes()).unwrap();
    handshake
}

fn old() -> Pair {
    offering(&NTLM, PLAIN | BITS_128, SIGN_AND_SEAL).establish()
}

/// Runs `body` where the default minimum does not hold.
fn as_asked<F: FnOnce()>(body: F) {
    with_environment(&[("GSS_NTLM_MINIMUM", "sign-as-asked")], body);
}

fn assert_old(pair: &Pair) {
    let authenticate = &pair.tokens[2];
    assert_eq!(flags_of(authenticate) & EXTENDED_SESSIONSECURITY, 0);
}

#[test]
fn shares_one_stream_between_both_ways() {
    as_asked(|| {
        for strength in [BITS_128, BITS_56, 0] {
            for flags in [SIGN_AND_SEAL, GSS_C_INTEG_FLAG] {
                let pair = offering(&NTLM, PLAIN | strength, flags).establish();
                assert_old(&pair);
                assert_alternates(&pair);
                assert_in_step(&pair);
            }
        }
    });
}

#[test]
fn shares_one_stream_with_lm_keys_as_well() {
    with_environment(&[], || {
        set_lm_level(0);
        for strength in [BITS_128, BITS_56, 0] {
            let pair = offering(&NTLM, PLAIN | LM_KEY | strength, SIGN_AND_SEAL).establish();
            assert_old(&pair);
            assert_ne!(flags_of(&pair.tokens[2]) & LM_KEY, 0);
            assert_alternates(&pair);
        }
    });
}

#[test]
fn works_inside_spnego() {
    as_asked(|| {
        let pair = offering(&SPNEGO, PLAIN | BITS_128, SIGN_AND_SEAL).establish();
        assert_alternates(&pair);
    });
}

#[test]
fn tells_its_strength_for_sasl() {
    as_asked(|| {
        for extended in [0, EXTENDED_SESSIONSECURITY] {
            for (strength, told) in [(BITS_128 | BITS_56, 64_u32), (BITS_128, 64), (BITS_56, 56), (0, 40)] {
                let pair = offering(&NTLM, PLAIN | extended | strength, SIGN_AND_SEAL).establish();
                for context in [&pair.initiator, &pair.acceptor] {
                    assert_eq!(context.inquire_by_oid(&SASL_SSF).unwrap(), [told.to_be_bytes()]);
                }
                assert_alternates(&pair);
            }
        }
    });
}

#[test]
fn sends_no_random_pad_and_looks_at_none() {
    as_asked(|| {
        let pair = old();
        let signature = pair.initiator.get_mic(b"message").unwrap();
        assert_eq!(signature[..8], [1, 0, 0, 0, 0, 0, 0, 0], "the version, and RandomPad");
        let mut padded = signature;
        padded[4..8].copy_from_slice(b"0815");
        pair.acceptor.verify_mic(b"message", &padded).unwrap();
        let mut padded = pair.acceptor.wrap(b"message").unwrap();
        padded[4..8].copy_from_slice(b"4711");
        assert_eq!(pair.initiator.unwrap(&padded).unwrap(), b"message");
        assert_alternates(&pair);
    });
}

#[test]
fn refuses_every_other_changed_bit_and_stays_in_step() {
    as_asked(|| {
        let pair = old();
        let token = pair.initiator.wrap(b"message").unwrap();
        for at in (0..4).chain(8..token.len()) {
            for bit in 0..8 {
                let mut changed = token.clone();
                changed[at] ^= 1 << bit;
                assert_bad_signature(&pair.acceptor.unwrap(&changed).unwrap_err());
            }
        }
        assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");
        let signature = pair.acceptor.get_mic(b"message").unwrap();
        for at in (0..4).chain(8..SIGNATURE) {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert_bad_signature(&pair.initiator.verify_mic(b"message", &changed).unwrap_err());
        }
        assert_bad_signature(&pair.initiator.verify_mic(b"massage", &signature).unwrap_err());
        pair.initiator.verify_mic(b"message", &signature).unwrap();
        assert_alternates(&pair);
    });
}

#[test]
fn refuses_messages_that_are_repeated_early_or_its_own() {
    as_asked(|| {
        let pair = old();
        let first = pair.initiator.wrap(b"first").unwrap();
        pair.acceptor.unwrap(&first).unwrap();
        let wrong = GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN | GSS_S_UNSEQ_TOKEN | GSS_S_GAP_TOKEN;
        assert_out_of_sequence(&pair.acceptor.unwrap(&first).unwrap_err(), wrong);
        assert_out_of_sequence(&pair.initiator.unwrap(&first).unwrap_err(), wrong);

        let [next, later] = [b"first", b"other"].map(|message| pair.acceptor.wrap(message).unwrap());
        assert_out_of_sequence(&pair.initiator.unwrap(&later).unwrap_err(), wrong);
        assert_eq!(pair.initiator.unwrap(&next).unwrap(), b"first");
        assert_eq!(pair.initiator.unwrap(&later).unwrap(), b"other");
        assert_alternates(&pair);
    });
}

#[test]
fn goes_on_in_another_process() {
    as_asked(|| {
        let mut pair = old();
        assert_alternates(&pair);
        pair.initiator.export_and_import().unwrap();
        pair.acceptor.export_and_import().unwrap();
        assert_alternates(&pair);
    });
}

#[test]
fn starts_the_one_stream_again() {
    as_asked(|| {
        let mut pair = old();
        let (receive, send) = (1_u32.to_ne_bytes(), 0_u32.to_ne_bytes());
        assert_alternates(&pair);
        // Whichever way is named, it is the one that there is.
        pair.initiator.set_option(&RESET_CRYPTO, &send).unwrap();
        pair.acceptor.set_option(&RESET_CRYPTO, &receive).unwrap();
        assert_alternates(&pair);
        pair.initiator.set_option(&RESET_CRYPTO, &receive).unwrap();
        pair.acceptor.set_option(&RESET_CRYPTO, &receive).unwrap();
        assert_alternates(&pair);
    });
}
