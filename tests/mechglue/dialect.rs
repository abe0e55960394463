//! What an acceptor understands: old, odd and forged messages of clients. Most of them cannot carry a MIC, which would cover
//! what is changed here, so their tests have processes of their own in which none is sent.

use libgssapi_sys as sys;

use crate::common::gss::{Failure, NEG_FLAGS, NTLM};
use crate::common::handshake::{Handshake, Pair, SIGN_AND_SEAL};
use crate::common::token::{
    ALWAYS_SIGN, Authenticate, BITS_128, Challenge, EXTENDED_SESSIONSECURITY, KEY_EXCH, NTLM_KEY, OEM,
    OEM_DOMAIN_SUPPLIED, OEM_WORKSTATION_SUPPLIED, UNICODE, VERSION, av, flags_of, negotiate, utf16, with_flags,
};
use crate::common::{PASSWORD, apart, with_environment};

use super::message::{assert_alternates, assert_in_step};

const NO_MIC: (&str, &str) = ("GSS_NTLM_MIC", "off");

/// A step of somebody in between that changes the third message, and gives it a header of that length.
fn third(header: usize, change: impl Fn(&mut Authenticate)) -> impl Fn(usize, Vec<u8>) -> Vec<u8> {
    move |number, token| {
        if number != 2 {
            return token;
        }
        let mut message = Authenticate::read(&token);
        change(&mut message);
        message.write(header)
    }
}

/// The same that changes the second message.
fn second(change: impl Fn(Challenge) -> Challenge) -> impl Fn(usize, Vec<u8>) -> Vec<u8> {
    move |number, token| if number == 1 { change(Challenge::read(&token)).write(56) } else { token }
}

fn assert_defective(failure: &Failure) {
    assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{failure:?}");
}

#[test]
fn accepts_every_length_of_a_first_message() {
    let handshake = Handshake::of(&NTLM);
    let usual = flags_of(&handshake.initiator().token(None));
    let names = OEM_DOMAIN_SUPPLIED | OEM_WORKSTATION_SUPPLIED;
    let versioned = |flags, domain: &[u8], workstation: &[u8]| {
        // Version stands between the fields and what they point at, which moves along.
        let mut token = negotiate(flags, domain, workstation);
        token.splice(32..32, [6, 1, 0, 0, 0, 0, 0, 15]);
        for at in [20, 28] {
            token[at] += 8;
        }
        token
    };
    let first_messages = [
        negotiate(usual & !VERSION, b"", b"")[..16].to_vec(),
        negotiate(usual, b"", b"")[..16].to_vec(),
        negotiate(usual & !VERSION, b"", b""),
        negotiate(usual & !VERSION | names, b"DOM", b"CLIENT"),
        versioned(usual, b"", b""),
        versioned(usual | names, b"DOM", b"CLIENT"),
        // Fields that no flag announces mean nothing, wherever they point.
        [negotiate(usual & !VERSION, b"", b"")[..16].to_vec(), vec![0xff; 16]].concat(),
        [versioned(usual, b"", b""), b"and what nobody asked for".to_vec()].concat(),
    ];
    for token in first_messages {
        handshake.acceptor().token(&token);
    }
}

#[test]
fn accepts_every_header_of_a_third_message() {
    with_environment(&[NO_MIC], || {
        for header in [52, 60, 64, 72, 80, 88] {
            let pair = Handshake::of(&NTLM).flags(0).establish_changing(third(header, |_| ()));
            assert_eq!(pair.source, "DOM\\alice", "{header} bytes");
        }
        // A key needs a field, and flags need room.
        for header in [64, 72, 80, 88] {
            assert_in_step(&Handshake::of(&NTLM).establish_changing(third(header, |_| ())));
        }
        for header in [64, 72, 80, 88] {
            let without = third(header, |message| message.flags &= !VERSION);
            assert_in_step(&Handshake::of(&NTLM).establish_changing(without));
        }
    });
}

#[test]
fn finds_the_mic_with_a_version_that_no_flag_announces() {
    apart(|| {
        // The MIC stands where it stands; that the flag is cleared must not move it.
        let failure =
            Handshake::of(&NTLM).refusal_changing(third(88, |message| message.flags &= !VERSION)).by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "found, and wrong: {failure:?}");
        // One that is announced must be there.
        assert_defective(&Handshake::of(&NTLM).refusal_changing(third(72, |_| ())).by_acceptor());
    });
}

#[test]
fn talks_oem_to_clients_that_cannot_do_unicode() {
    let plain = OEM | NTLM_KEY | ALWAYS_SIGN | BITS_128;
    for flags in [plain, plain | EXTENDED_SESSIONSECURITY] {
        for (user, source) in [("DOM\\alice", "DOM\\alice"), ("bob", "bob")] {
            let mut handshake = Handshake::with_password(&NTLM, user, PASSWORD);
            handshake.initiator.set_option(&NEG_FLAGS, &flags.to_ne_bytes()).unwrap();
            let pair = handshake.establish();
            assert_eq!(pair.source, source);
            let sent = Authenticate::read(&pair.tokens[2]);
            assert_eq!(sent.flags & (UNICODE | OEM), OEM);
            assert!(source.as_bytes().ends_with(&sent.user));
            assert_eq!(sent.workstation, b"SERVER");
            assert_alternates(&pair);
        }
    }
}

#[test]
fn wants_one_charset() {
    let handshake = Handshake::of(&NTLM);
    let negotiate = with_flags(handshake.initiator().token(None), |flags| flags & !(UNICODE | OEM));
    assert_defective(&handshake.acceptor().step(&negotiate).map(|step| step.token).unwrap_err());
    let both = with_flags(handshake.initiator().token(None), |flags| flags | UNICODE | OEM);
    assert_eq!(flags_of(&handshake.acceptor().token(&both)) & (UNICODE | OEM), UNICODE);
}

#[test]
fn tries_the_domain_in_capitals_and_none_as_well() {
    with_environment(&[NO_MIC], || {
        // The proof is made without a domain; the message names one.
        let named = |domain: &'static str| third(72, move |message| message.domain = utf16(domain));
        let handshake = Handshake::with_password(&NTLM, "alice", PASSWORD);
        assert_eq!(handshake.establish_changing(named("DOM")).source, "DOM\\alice");
        handshake.refusal_changing(named("ELSEWHERE")).by_acceptor();
        // In capitals, as some clients have it in the proof and not in the message. The other way round it is another name.
        assert_eq!(Handshake::of(&NTLM).establish_changing(named("dom")).source, "DOM\\alice");
        Handshake::with_password(&NTLM, "dom\\alice", PASSWORD).refusal_changing(named("DOM")).by_acceptor();
    });
}

#[test]
fn looks_up_a_user_principal_name() {
    for user in ["alice\\@DOM", "\\ALICE@dom"] {
        let pair = Handshake::with_password(&NTLM, user, PASSWORD).establish();
        assert_eq!(pair.source, "DOM\\alice", "{user}");
        let sent = Authenticate::read(&pair.tokens[2]);
        assert_eq!(sent.domain, b"");
        assert!(String::from_utf8_lossy(&sent.user).contains('@'));
    }
    for user in ["alice\\@ELSEWHERE", "nobody\\@DOM", "DOM\\alice@DOM"] {
        Handshake::with_password(&NTLM, user, PASSWORD).run().map(|pair| pair.source).unwrap_err().by_acceptor();
    }
}

#[test]
fn refuses_names_that_are_no_text() {
    with_environment(&[NO_MIC], || {
        let half = || third(72, |message| message.user = vec![0x00, 0xd8, b'a', 0]);
        let failure = Handshake::of(&NTLM).refusal_changing(half()).by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "nobody is called so: {failure:?}");
        let odd = third(72, |message| message.user.push(b'x'));
        assert_defective(&Handshake::of(&NTLM).refusal_changing(odd).by_acceptor());
    });
}

#[test]
fn wants_a_whole_key_where_messages_need_it() {
    with_environment(&[NO_MIC], || {
        for length in [0, 1, 15, 17, 32] {
            let change = third(72, move |message| message.key.resize(length, 0));
            assert_defective(&Handshake::of(&NTLM).refusal_changing(change).by_acceptor());
        }
        let alone = |length: usize| {
            move |number, token: Vec<u8>| match number {
                0 => with_flags(token, |flags| flags | KEY_EXCH),
                2 => third(72, |message| {
                    message.flags |= KEY_EXCH;
                    message.key.resize(length, 7);
                })(number, token),
                _ => token,
            }
        };
        let handshake = Handshake::of(&NTLM).flags(0);
        for length in [0, 1, 16] {
            assert_eq!(handshake.establish_changing(alone(length)).source, "DOM\\alice", "{length} bytes");
        }
        for length in [2, 15, 17] {
            assert_defective(&handshake.refusal_changing(alone(length)).by_acceptor());
        }
    });
}

#[test]
fn tolerates_a_client_that_says_nothing_back() {
    // Without a time there is no MIC, which would cover the second message too.
    let silent = second(|challenge| {
        let ids = challenge.target_info.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        challenge.without(&ids)
    });
    let pair = Handshake::of(&NTLM).flags(0).establish_changing(silent);
    assert_eq!(pair.source, "DOM\\alice");
}

#[test]
fn refuses_a_client_that_says_something_else_back() {
    for id in [av::NB_COMPUTER_NAME, av::NB_DOMAIN_NAME, av::DNS_COMPUTER_NAME, av::DNS_DOMAIN_NAME] {
        let other = second(|challenge| challenge.without(&[av::TIMESTAMP]).with(id, &utf16("OTHER")));
        let failure = Handshake::of(&NTLM).refusal_changing(other).by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{id}: {failure:?}");
    }
    with_environment(&[NO_MIC], || {
        let later = second(|challenge| {
            let now = u64::from_le_bytes(challenge.find(av::TIMESTAMP).unwrap().try_into().unwrap());
            challenge.with(av::TIMESTAMP, &(now + 1).to_le_bytes())
        });
        Handshake::of(&NTLM).refusal_changing(later).by_acceptor();
    });
}

#[test]
fn refuses_a_client_that_says_something_twice() {
    for id in [av::FLAGS, av::NB_DOMAIN_NAME, av::CHANNEL_BINDINGS, 99] {
        let twice = third(88, |message| {
            let mut pairs = message.target_info();
            let value = if id == av::CHANNEL_BINDINGS { vec![0; 16] } else { vec![0; 4] };
            pairs.extend([(id, value.clone()), (id, value)]);
            message.set_target_info(&pairs);
        });
        assert_defective(&Handshake::of(&NTLM).refusal_changing(twice).by_acceptor());
    }
}

#[test]
fn takes_no_lm_v2_response_in_place_of_a_wrong_one() {
    let without_time = |number, token, change: &dyn Fn(&mut Authenticate)| {
        let token = second(|challenge| challenge.without(&[av::TIMESTAMP]))(number, token);
        third(72, change)(number, token)
    };
    let attempt = |change: &dyn Fn(&mut Authenticate)| -> Result<Pair, _> {
        Handshake::of(&NTLM).flags(SIGN_AND_SEAL).run_changing(|number, token| without_time(number, token, change))
    };
    assert_eq!(attempt(&|_| ()).unwrap().source, "DOM\\alice");
    let damages: [fn(&mut Authenticate); 3] = [
        |message| message.nt_response[0] ^= 1,
        |message| message.nt_response.clear(),
        |message| message.nt_response = message.lm_response.clone(),
    ];
    for damage in damages {
        let failure = attempt(&damage).map(|pair| pair.source).unwrap_err().by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
    }
    // Nobody looks at the other one where the NTLMv2 response is right.
    attempt(&|message| message.lm_response.fill(7)).unwrap();
}
