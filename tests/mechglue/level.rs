//! LM_COMPAT_LEVEL: which responses are sent, and which are accepted. Each test has a process of its own, in which either end
//! has its level while it is its turn.

use libgssapi_sys as sys;
use libgssapi_sys::GSS_C_INTEG_FLAG;

use crate::common::PASSWORD;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{NEG_FLAGS, NTLM, SPNEGO};
use crate::common::handshake::{Handshake, Pair, Refused, SIGN_AND_SEAL};
use crate::common::process::{LM_LEVEL, set_lm_level};
use crate::common::token::{Authenticate, EXTENDED_SESSIONSECURITY, LM_KEY, NTLM_KEY, UNICODE, flags_of, with_flags};
use crate::common::{with_environment, world};

use super::message::{assert_alternates, assert_in_step};

const LEVELS: std::ops::RangeInclusive<u8> = 0..=5;

/// What the acceptor at `acceptor` says of a client that answers as `initiator` has it; nothing where it refuses.
fn outcome(initiator: u8, acceptor: u8) -> Option<&'static str> {
    match (initiator, acceptor) {
        (3.., _) => Some("NTLMv2"),
        (_, 0..=2) => Some("NTLMv1"),
        _ => None,
    }
}

/// A handshake in which `change` may change the tokens. The credential is the initiator's from the start, for at low levels it
/// has an LM hash.
fn shake_hands(
    [initiator, acceptor]: [u8; 2], make: impl FnOnce() -> Handshake, mut change: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) -> Result<Pair, Refused> {
    set_lm_level(initiator);
    make().run_changing(|number, token| {
        set_lm_level(if number % 2 == 0 { acceptor } else { initiator });
        change(number, token)
    })
}

fn version(pair: &Pair) -> String {
    pair.peer.attribute("urn:gss-ntlm:version").unwrap().value
}

fn assert_refused_as_too_old(outcome: Result<Pair, Refused>) {
    let failure = outcome.map(|pair| pair.source).unwrap_err().by_acceptor();
    assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
    assert!(failure.minor_text.contains(LM_LEVEL), "{failure:?}");
}

#[test]
fn decides_at_each_end_by_the_table() {
    with_environment(&[], || {
        for (levels, mech) in pairs_of_levels().flat_map(|levels| [(levels, &NTLM), (levels, &SPNEGO)]) {
            for flags in [SIGN_AND_SEAL, GSS_C_INTEG_FLAG, 0] {
                let done = shake_hands(levels, || Handshake::of(mech).flags(flags), |_, token| token);
                let [initiator, acceptor] = levels;
                let Some(expected) = outcome(initiator, acceptor) else {
                    assert_refused_as_too_old(done);
                    continue;
                };
                let pair = done.unwrap_or_else(|refused| panic!("{levels:?}, {flags:#x}: {refused:?}"));
                assert_eq!(pair.source, "DOM\\alice");
                assert_eq!(version(&pair), expected, "{levels:?}");
                if flags != 0 {
                    assert_in_step(&pair);
                    assert_alternates(&pair);
                }
            }
        }
    });
}

fn pairs_of_levels() -> impl Iterator<Item = [u8; 2]> {
    LEVELS.flat_map(|initiator| LEVELS.map(move |acceptor| [initiator, acceptor]))
}

#[test]
fn holds_for_every_account_and_domain() {
    with_environment(&[], || {
        for user in ["DOM\\alice", "bob", "ANY\\bob", "smb", "OTHER\\domsmb", "SERVER\\bob"] {
            let make = || Handshake::with_password(&NTLM, user, PASSWORD);
            assert_refused_as_too_old(shake_hands([2, 3], make, |_, token| token));
            let pair = shake_hands([2, 2], make, |_, token| token).unwrap();
            assert_eq!(version(&pair), "NTLMv1", "{user}");
        }
    });
}

/// The third message of a handshake between two ends of these levels.
fn authenticate_at(level: u8, change: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Authenticate {
    let acceptor = level.min(2);
    let pair = shake_hands([level, acceptor], || Handshake::of(&NTLM), change).unwrap();
    Authenticate::read(pair.tokens.last().unwrap())
}

#[test]
fn sends_what_each_level_has() {
    with_environment(&[], || {
        for level in LEVELS {
            let sent = authenticate_at(level, |_, token| token);
            let is_extended = sent.flags & EXTENDED_SESSIONSECURITY != 0;
            assert_eq!(is_extended, level > 0, "level {level}");
            assert_eq!(sent.nt_response.len() == 24, level < 3, "level {level}");
            let (challenge, rest) = sent.lm_response.split_at(8);
            match level {
                // The LM response itself.
                0 => assert!(sent.lm_response != sent.nt_response && rest != [0; 16]),
                // The client's challenge, and zeros.
                1 | 2 => assert!(challenge != [0; 8] && rest == [0; 16], "level {level}"),
                // The acceptor tells its time.
                _ => assert_eq!(sent.lm_response, [0; 24], "level {level}"),
            }
        }
    });
}

#[test]
fn sends_an_lm_response_only_below_level_two() {
    with_environment(&[], || {
        // An acceptor without extended session security.
        let plain = |number, token| match number {
            0 | 1 => with_flags(token, |flags| flags & !EXTENDED_SESSIONSECURITY),
            _ => token,
        };
        for level in [0, 1] {
            let sent = authenticate_at(level, plain);
            assert_ne!(sent.lm_response, sent.nt_response, "level {level}");
        }
        let sent = authenticate_at(2, plain);
        assert_eq!(sent.lm_response, sent.nt_response, "the same again instead of LM's");
    });
}

#[test]
fn offers_extended_session_security_from_level_one_on() {
    with_environment(&[], || {
        for level in LEVELS {
            set_lm_level(level);
            let offered = flags_of(&Handshake::of(&NTLM).initiator().token(None));
            assert_eq!(offered & EXTENDED_SESSIONSECURITY != 0, level > 0, "level {level}");
            assert_eq!(offered & LM_KEY, 0, "only who asks for LM keys offers them");
        }
    });
}

#[test]
fn has_lm_keys_only_below_level_two() {
    with_environment(&[], || {
        for level in LEVELS {
            set_lm_level(level);
            let mut handshake = Handshake::of(&NTLM);
            let asked = UNICODE | NTLM_KEY | LM_KEY;
            handshake.initiator.set_option(&NEG_FLAGS, &asked.to_ne_bytes()).unwrap();
            let negotiate = handshake.initiator().token(None);
            assert_eq!(flags_of(&negotiate) & LM_KEY != 0, level < 2, "offered at {level}");
            let challenge = handshake.acceptor().token(&with_flags(negotiate, |flags| flags | LM_KEY));
            assert_eq!(flags_of(&challenge) & LM_KEY != 0, level < 2, "granted at {level}");
        }
    });
}

/// The third message without its NT response.
fn lm_alone(number: usize, token: Vec<u8>) -> Vec<u8> {
    if number != 2 {
        return token;
    }
    let mut message = Authenticate::read(&token);
    message.nt_response.clear();
    message.write(72)
}

#[test]
fn accepts_lm_alone_only_below_level_two() {
    with_environment(&[], || {
        for acceptor in LEVELS {
            let done = shake_hands([0, acceptor], || Handshake::of(&NTLM), lm_alone);
            if acceptor > 1 {
                assert_refused_as_too_old(done);
                continue;
            }
            let pair = done.unwrap();
            assert_eq!((pair.source.as_str(), version(&pair).as_str()), ("DOM\\alice", "LM"));
        }
    });
}

/// LMOWFv1 and NTOWFv1 of the password.
const LM_HASH: &str = "E52CAC67419A9A224A3B108F3FA6CB6D";
const NT_HASH: &str = "A4F49C406510BDCAB6824EE7C30FD852";

#[test]
fn takes_the_lm_hash_of_a_user_file() {
    with_environment(&[], || {
        let line = |name, lm| format!("{name}:1:{lm}:{NT_HASH}:[U          ]:LCT-00000000:\n");
        let xs = "X".repeat(32);
        let users = [line("right", LM_HASH), line("other", NT_HASH), line("none", &xs)].concat();
        let path = world().file("lm", users).display().to_string();
        let attempt = |user: &'static str| {
            let make = || {
                let mut handshake = Handshake::with_password(&NTLM, user, PASSWORD);
                let store = [("ntlmssp_keyfile", path.as_str())];
                handshake.acceptor = Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
                handshake
            };
            shake_hands([0, 0], make, lm_alone)
        };
        assert_eq!(version(&attempt("right").unwrap()), "LM");
        for user in ["other", "none", "nobody"] {
            let failure = attempt(user).map(|pair| pair.source).unwrap_err().by_acceptor();
            assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{user}: {failure:?}");
        }
    });
}

#[test]
fn accepts_no_lm_response_in_place_of_a_wrong_nt_response() {
    with_environment(&[], || {
        for (level, at) in [(0, 5), (1, 5), (2, 5), (3, 5)] {
            let done = shake_hands(
                [level, 0],
                || Handshake::of(&NTLM),
                |number, token| {
                    if number != 2 {
                        return token;
                    }
                    let mut message = Authenticate::read(&token);
                    message.nt_response[at] ^= 1;
                    message.write(if level < 3 { 72 } else { 88 })
                },
            );
            let failure = done.map(|pair| pair.source).unwrap_err().by_acceptor();
            assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "level {level}: {failure:?}");
        }
    });
}

#[test]
fn says_which_levels_there_are() {
    for level in ["6", "-1", "x", "3.5"] {
        // One test, many processes: the parent alone goes through the list.
        with_environment(&[(LM_LEVEL, level)], || {
            let failure = Cred::acquire(None, Usage::Accept, &NTLM).map(drop).unwrap_err();
            assert!(failure.minor_text.contains(LM_LEVEL) && failure.minor_text.contains('5'), "{failure:?}");
        });
    }
}
