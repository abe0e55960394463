//! What an initiator makes of servers of all kinds: of old and of strange CHALLENGE_MESSAGEs.

use libgssapi_sys::{GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG};

use crate::common::gss::{Failure, NTLM};
use crate::common::handshake::{Bindings, Handshake, SIGN_AND_SEAL};
use crate::common::token::{
    Authenticate, BITS_128, Challenge, EXTENDED_SESSIONSECURITY, KEY_EXCH, OEM, REQUEST_TARGET, SEAL, SIGN,
    TARGET_INFO, TARGET_TYPE_DOMAIN, TARGET_TYPE_SERVER, UNICODE, VERSION, av, find, flags_of, utf16, with_flags,
};
use crate::common::{apart, with_environment};

/// What an initiator that asks for `flags` answers to the challenge that `change` makes of a usual one.
fn answer(flags: u32, change: impl FnOnce(Challenge) -> Vec<u8>) -> Result<Authenticate, Failure> {
    answer_of(&Handshake::of(&NTLM).flags(flags), change)
}

fn answer_of(handshake: &Handshake, change: impl FnOnce(Challenge) -> Vec<u8>) -> Result<Authenticate, Failure> {
    let mut initiator = handshake.initiator();
    let challenge = handshake.acceptor().token(&initiator.token(None));
    let step = initiator.step(Some(&change(Challenge::read(&challenge))))?;
    assert!(step.complete);
    Ok(Authenticate::read(&step.token))
}

fn refusal(flags: u32, change: impl FnOnce(Challenge) -> Vec<u8>) -> Failure {
    answer(flags, change).map(|message| message.user).unwrap_err()
}

#[test]
fn accepts_every_length_of_a_challenge() {
    answer(SIGN_AND_SEAL, |challenge| challenge.write(56)).unwrap();
    // Without Version, whether the flag says so or not.
    answer(SIGN_AND_SEAL, |challenge| challenge.write(48)).unwrap();
    answer(SIGN_AND_SEAL, |mut challenge| {
        challenge.flags &= !VERSION;
        challenge.write(48)
    })
    .unwrap();
    // Without target info: of the oldest servers.
    answer(0, |mut challenge| {
        challenge.flags &= !(VERSION | TARGET_INFO);
        challenge.write(32)
    })
    .unwrap();
}

#[test]
fn accepts_a_server_that_does_not_say_its_names() {
    for ids in [&[av::NB_COMPUTER_NAME][..], &[av::NB_DOMAIN_NAME], &[av::NB_COMPUTER_NAME, av::NB_DOMAIN_NAME]] {
        for flags in [0, GSS_C_INTEG_FLAG, GSS_C_CONF_FLAG] {
            let sent = answer(flags, |mut challenge| {
                challenge.target_name.clear();
                challenge.without(ids).write(56)
            })
            .unwrap();
            assert_eq!(find(&sent.target_info(), ids[0]), None);
        }
    }
    // The target's name is another thing.
    answer(SIGN_AND_SEAL, |mut challenge| {
        challenge.target_name.clear();
        challenge.flags &= !REQUEST_TARGET;
        challenge.write(56)
    })
    .unwrap();
}

/// A server that says nothing about itself: by the flag, by an empty field, by an empty list.
fn says_nothing() -> [fn(Challenge) -> Vec<u8>; 3] {
    fn without(mut challenge: Challenge) -> Challenge {
        challenge.target_info.clear();
        challenge
    }
    [
        |mut challenge| {
            challenge.flags &= !TARGET_INFO;
            without(challenge).write(56)
        },
        |challenge| {
            let mut token = without(challenge).write(56);
            token[40..44].fill(0);
            token
        },
        |challenge| without(challenge).write(56),
    ]
}

#[test]
fn wants_a_server_to_say_something_where_messages_are_to_be_protected() {
    for silent in says_nothing() {
        answer(0, silent).unwrap();
        for flags in [GSS_C_INTEG_FLAG, GSS_C_CONF_FLAG] {
            let failure = refusal(flags, silent);
            assert!(failure.minor_text.contains("GSS_NTLM_TARGET_INFO"), "{failure:?}");
        }
    }
}

#[test]
fn lets_policy_say_that_a_server_need_say_nothing() {
    with_environment(&[("GSS_NTLM_TARGET_INFO", "optional")], || {
        for silent in says_nothing() {
            for flags in [0, GSS_C_INTEG_FLAG, SIGN_AND_SEAL] {
                let sent = answer(flags, silent).unwrap();
                let info = sent.target_info();
                assert_eq!((find(&info, av::NB_DOMAIN_NAME), find(&info, av::FLAGS)), (None, None), "no time, no MIC");
                assert_eq!(find(&info, av::TARGET_NAME), Some(&utf16("HTTP/server")[..]));
            }
        }
    });
}

#[test]
fn prefers_unicode() {
    let sent = answer(SIGN_AND_SEAL, |mut challenge| {
        challenge.flags |= OEM | UNICODE;
        challenge.write(56)
    })
    .unwrap();
    assert_eq!((sent.flags & (OEM | UNICODE), sent.user), (UNICODE, utf16("alice")));
    let sent = answer(SIGN_AND_SEAL, |mut challenge| {
        challenge.flags = challenge.flags & !UNICODE | OEM;
        challenge.target_name = b"SERVER".to_vec();
        challenge.write(56)
    })
    .unwrap();
    assert_eq!((sent.flags & (OEM | UNICODE), sent.user), (OEM, b"alice".to_vec()));
}

#[test]
fn lets_a_server_state_nothing_that_is_the_clients_to_state() {
    apart(|| {
        let channel = Bindings::application(b"data");
        let handshake = Handshake::of(&NTLM).bindings(Some(channel), None);
        let clean = answer_of(&handshake, |challenge| challenge.write(56)).unwrap().target_info();
        let sent = answer_of(&handshake, |challenge| {
            challenge
                .with(av::FLAGS, &[5, 0, 0, 0])
                .with(av::TARGET_NAME, &utf16("HTTP/evil"))
                .with(av::CHANNEL_BINDINGS, &[7; 16])
                .with(av::SINGLE_HOST, &[9; 48])
                .write(56)
        })
        .unwrap()
        .target_info();
        assert_eq!(find(&sent, av::FLAGS), Some(&[2, 0, 0, 0][..]), "a MIC, and nothing else");
        assert_eq!(find(&sent, av::TARGET_NAME), Some(&utf16("HTTP/server")[..]));
        assert_eq!(find(&sent, av::CHANNEL_BINDINGS), find(&clean, av::CHANNEL_BINDINGS));
        assert_eq!(find(&sent, av::SINGLE_HOST), None);
        let mut ids: Vec<_> = sent.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, other| one < other), "each stands once: {ids:?}");
    });
}

#[test]
fn says_back_what_it_does_not_understand() {
    // A lone surrogate in a name, and pairs that nobody knows.
    let half = [utf16("SER"), vec![0x00, 0xd8], utf16("VER")].concat();
    let sent = answer(SIGN_AND_SEAL, |challenge| {
        challenge.with(av::NB_COMPUTER_NAME, &half).with(99, b"new").with(0xfffe, b"").write(56)
    })
    .unwrap()
    .target_info();
    assert_eq!(find(&sent, av::NB_COMPUTER_NAME), Some(&half[..]));
    assert_eq!(find(&sent, 99), Some(&b"new"[..]));
    assert_eq!(find(&sent, 0xfffe), Some(&b""[..]));
}

#[test]
fn refuses_a_server_that_contradicts_itself() {
    for id in [av::NB_DOMAIN_NAME, av::DNS_COMPUTER_NAME, av::TIMESTAMP, 99, 0xfffe] {
        let failure = refusal(SIGN_AND_SEAL, |challenge| {
            let value = if id == av::TIMESTAMP { vec![0; 8] } else { utf16("TWICE") };
            let mut challenge = challenge.with(id, &value);
            challenge.target_info.push((id, value));
            challenge.write(56)
        });
        assert!(failure.minor_text.contains("CHALLENGE"), "{id}: {failure:?}");
    }
}

#[test]
fn says_which_protection_a_server_lacks() {
    let lacking = |flag: u32| move |challenge: Challenge| with_flags(challenge.write(56), |flags| flags & !flag);
    let integrity = refusal(GSS_C_INTEG_FLAG, lacking(SIGN));
    assert!(integrity.minor_text.contains("NTLMSSP_NEGOTIATE_SIGN"), "{integrity:?}");
    let confidentiality = refusal(GSS_C_CONF_FLAG, lacking(SEAL));
    assert!(confidentiality.minor_text.contains("NTLMSSP_NEGOTIATE_SEAL"), "{confidentiality:?}");
    // The default minimum, of messages that are protected.
    for (flag, text) in [(BITS_128, "128-bit keys"), (EXTENDED_SESSIONSECURITY, "extended session security")] {
        for asked in [GSS_C_INTEG_FLAG, SIGN_AND_SEAL] {
            let strength = refusal(asked, lacking(flag));
            let told = &strength.minor_text;
            assert!(told.contains(text) && told.contains("GSS_NTLM_MINIMUM=sign-as-asked"), "{strength:?}");
        }
        answer(0, lacking(flag)).unwrap();
    }
}

#[test]
fn wants_no_more_than_was_asked_for_where_the_administrator_says_so() {
    with_environment(&[("GSS_NTLM_MINIMUM", "sign-as-asked")], || {
        let lacking = |challenge: Challenge| {
            with_flags(challenge.write(56), |flags| flags & !(BITS_128 | EXTENDED_SESSIONSECURITY))
        };
        answer(SIGN_AND_SEAL, lacking).unwrap();
    });
}

#[test]
fn says_what_a_server_lacks_of_the_minimum() {
    with_environment(&[("GSS_NTLM_MINIMUM", "128 ess sign seal")], || {
        let texts = [
            (SIGN, "NTLMSSP_NEGOTIATE_SIGN"),
            (SEAL, "NTLMSSP_NEGOTIATE_SEAL"),
            (BITS_128, "NTLMSSP_NEGOTIATE_128"),
            (EXTENDED_SESSIONSECURITY, "extended session security"),
        ];
        for (flag, text) in texts {
            let failure = refusal(0, |challenge| with_flags(challenge.write(56), |flags| flags & !flag));
            assert!(failure.minor_text.contains(text), "{failure:?}");
        }
        let sent = answer(0, |challenge| challenge.write(56)).unwrap();
        assert_eq!(sent.flags & (SIGN | SEAL), SIGN | SEAL, "the minimum is asked for");
    });
}

#[test]
fn lets_a_server_switch_nothing_on() {
    let handshake = Handshake::of(&NTLM).flags(0);
    let mut initiator = handshake.initiator();
    let challenge = handshake.acceptor().token(&initiator.token(None));
    let eager = with_flags(challenge, |flags| flags | SIGN | SEAL | KEY_EXCH);
    let step = initiator.step(Some(&eager)).unwrap();
    let sent = Authenticate::read(&step.token);
    assert_eq!((sent.flags & (SIGN | SEAL | KEY_EXCH), sent.key), (0, vec![]));
    assert_eq!(step.flags & SIGN_AND_SEAL, 0);
    initiator.context.wrap(b"message").unwrap_err();
}

#[test]
fn exchanges_a_key_only_for_messages() {
    for (flags, length) in [(0, 0), (GSS_C_INTEG_FLAG, 16), (GSS_C_CONF_FLAG, 16)] {
        let handshake = Handshake::of(&NTLM).flags(flags);
        assert_eq!(flags_of(&handshake.initiator().token(None)) & KEY_EXCH != 0, length != 0);
        let sent = answer_of(&handshake, |challenge| challenge.write(56)).unwrap();
        assert_eq!((sent.flags & KEY_EXCH != 0, sent.key.len()), (length != 0, length));
    }
}

#[test]
fn sends_lm_v2_only_where_the_server_does_not_tell_its_time() {
    apart(|| {
        let sent = answer(SIGN_AND_SEAL, |challenge| challenge.write(56)).unwrap();
        assert_eq!(sent.lm_response, [0; 24]);
        assert_ne!(sent.mic, [0; 16]);
        let sent = answer(SIGN_AND_SEAL, |challenge| challenge.without(&[av::TIMESTAMP]).write(56)).unwrap();
        assert_eq!(sent.lm_response.len(), 24);
        assert_ne!(sent.lm_response, [0; 24]);
        assert_eq!(sent.lm_response[16..], sent.nt_response[32..40], "both have the client's challenge");
        assert_eq!(find(&sent.target_info(), av::FLAGS), None, "no time, no MIC");
    });
}

#[test]
fn names_the_service_that_it_means() {
    for (target, sent) in [("HTTP@server", Some("HTTP/server")), ("@server", None)] {
        let mut handshake = Handshake::of(&NTLM);
        handshake.target = target;
        let info = answer_of(&handshake, |challenge| challenge.write(56)).unwrap().target_info();
        assert_eq!(find(&info, av::TARGET_NAME), sent.map(utf16).as_deref(), "{target}");
    }
}

const HOUR: i64 = 3600 * 10_000_000;

/// An answer to a server whose clock is that far ahead.
fn answer_in(units: i64) -> Result<Authenticate, Failure> {
    answer(SIGN_AND_SEAL, |challenge| {
        let now = u64::from_le_bytes(challenge.find(av::TIMESTAMP).unwrap().try_into().unwrap());
        challenge.with(av::TIMESTAMP, &now.saturating_add_signed(units).to_le_bytes()).write(56)
    })
}

fn assert_too_far(outcome: Result<Authenticate, Failure>) {
    let failure = outcome.map(|message| message.user).unwrap_err();
    assert!(failure.minor_text.contains("GSS_NTLM_MAX_SKEW"), "{failure:?}");
}

#[test]
fn refuses_a_server_whose_clock_is_far_away() {
    apart(|| {
        for hours in [35, -35] {
            answer_in(hours * HOUR).unwrap();
        }
        for hours in [37, -37, 1_000_000, -4_000_000] {
            assert_too_far(answer_in(hours * HOUR));
        }
        let time_of_nobody = answer(SIGN_AND_SEAL, |challenge| challenge.with(av::TIMESTAMP, &[0xff; 8]).write(56));
        assert_too_far(time_of_nobody);
    });
}

#[test]
fn lets_policy_say_how_far_is_far() {
    with_environment(&[("GSS_NTLM_MAX_SKEW", "2")], || {
        answer_in(HOUR).unwrap();
        assert_too_far(answer_in(3 * HOUR));
    });
}

#[test]
fn tells_the_names_of_the_environment() {
    with_environment(&[("NETBIOS_COMPUTER_NAME", "ÉCLAIR"), ("NETBIOS_DOMAIN_NAME", "PÂTISSERIE")], || {
        let handshake = Handshake::of(&NTLM);
        let challenge = Challenge::read(&handshake.acceptor().token(&handshake.initiator().token(None)));
        assert_eq!(challenge.target_name, utf16("PÂTISSERIE"), "as gss-ntlmssp");
        assert_eq!(challenge.flags & (TARGET_TYPE_DOMAIN | TARGET_TYPE_SERVER), TARGET_TYPE_DOMAIN);
        assert_eq!(challenge.find(av::NB_COMPUTER_NAME), Some(&utf16("ÉCLAIR")[..]));
        assert_eq!(challenge.find(av::NB_DOMAIN_NAME), Some(&utf16("PÂTISSERIE")[..]));
        let sent = Authenticate::read(handshake.establish().tokens.last().unwrap());
        assert_eq!(sent.workstation, utf16("ÉCLAIR"));
    });
}

#[test]
fn names_itself_where_it_has_no_domain_to_name() {
    with_environment(&[("NETBIOS_DOMAIN_NAME", "")], || {
        // Whether a target is asked for or not.
        for change in [|flags: u32| flags, |flags| flags & !REQUEST_TARGET] {
            let handshake = Handshake::of(&NTLM);
            let negotiate = with_flags(handshake.initiator().token(None), change);
            let challenge = Challenge::read(&handshake.acceptor().token(&negotiate));
            assert_eq!(challenge.target_name, utf16("SERVER"));
            let about_targets = REQUEST_TARGET | TARGET_TYPE_DOMAIN | TARGET_TYPE_SERVER | TARGET_INFO;
            assert_eq!(challenge.flags & about_targets, REQUEST_TARGET | TARGET_TYPE_SERVER | TARGET_INFO);
            assert_eq!(challenge.find(av::NB_DOMAIN_NAME), Some(&utf16("SERVER")[..]), "as a standalone Windows");
        }
    });
}
