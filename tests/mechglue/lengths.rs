//! Lengths and offsets of an attacker's choice: none may be read beyond its message, none may let anybody in, and what was
//! refused leaves no context behind.

use libgssapi_sys as sys;

use crate::common::gss::{Failure, NTLM};
use crate::common::handshake::{Handshake, Refused};
use crate::common::token::{
    Authenticate, Challenge, EXTENDED_SESSIONSECURITY, KEY_EXCH, REQUEST_TARGET, TARGET_INFO, av, utf16, with_flags,
};
use crate::common::{apart, with_environment};

/// The places of the fields (Len, MaxLen, BufferOffset) in each message, and what each points at in it.
const FIELDS: [(usize, &[usize]); 2] = [(1, &[12, 40]), (2, &[12, 20, 28, 36, 44, 52])];

/// A length and an offset that leave a message of so many bytes, or wrap.
fn outside(message: usize) -> Vec<(u16, u32)> {
    let end = u32::try_from(message).unwrap();
    vec![
        (1, end),
        (2, end),
        (2, end - 1),
        (u16::MAX, 64),
        (u16::MAX, end),
        (u16::MAX - 1, u32::MAX),
        (1, u32::MAX),
        (2, u32::MAX),
        (2, u32::MAX - 1),
        (16, u32::MAX - 15),
        (24, u32::MAX - 23),
        (u16::MAX - 1, u32::MAX - u32::from(u16::MAX) + 2),
        (24, 1 << 31),
        (24, (1 << 31) - 24),
        // Inside, but what stands there is the header.
        (2, 0),
        (24, 8),
    ]
}

/// Somebody in between who puts that length and offset into a field of message `number`.
fn pointing(number: usize, at: usize, (length, offset): (u16, u32)) -> impl Fn(usize, Vec<u8>) -> Vec<u8> {
    move |of, mut token| {
        if of == number {
            token[at..at + 2].copy_from_slice(&length.to_le_bytes());
            token[at + 2..at + 4].copy_from_slice(&length.to_le_bytes());
            token[at + 4..at + 8].copy_from_slice(&offset.to_le_bytes());
        }
        token
    }
}

fn lengths(handshake: &Handshake) -> Vec<usize> {
    handshake.establish().tokens.iter().map(Vec::len).collect()
}

fn failure_of(refused: Refused) -> Failure {
    match refused {
        Refused::ByInitiator(failure) | Refused::ByAcceptor(failure) => failure,
    }
}

#[test]
fn no_field_points_outside_its_message() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let handshake = Handshake::of(&NTLM);
        let lengths = lengths(&handshake);
        for (number, fields) in FIELDS {
            for (at, to) in fields.iter().flat_map(|at| outside(lengths[number]).into_iter().map(move |to| (*at, to))) {
                let failure = failure_of(handshake.refusal_changing(pointing(number, at, to)));
                let what = format!("message {number}, field at {at}: {to:?}");
                assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{what}: {failure:?}");
            }
        }
    });
}

#[test]
fn no_field_of_a_first_message_is_read_outside_it() {
    apart(|| {
        let handshake = Handshake::of(&NTLM).flags(0);
        let length = lengths(&handshake)[0];
        // The flags that announce a domain and a workstation.
        let announced = with_flags(handshake.initiator().token(None), |flags| flags | 0x3000);
        for (at, to) in [16, 24].into_iter().flat_map(|at| outside(length).into_iter().map(move |to| (at, to))) {
            let mut acceptor = handshake.acceptor();
            let outcome = acceptor.step(&pointing(0, at, to)(0, announced.clone())).map(|step| step.token);
            let failure = outcome.expect_err("a field outside the message");
            assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{at}: {to:?}: {failure:?}");
            assert!(acceptor.context.is_none(), "a first call that fails leaves no context");
        }
    });
}

/// Values of AV_PAIRs of an attacker: each list is short, has no end, repeats itself, or is as long as a field can be.
fn lists() -> Vec<(&'static str, Vec<u8>)> {
    let pair = |id: u16, length: u16, value: &[u8]| [&id.to_le_bytes()[..], &length.to_le_bytes(), value].concat();
    let name = pair(av::NB_DOMAIN_NAME, 2, b"D\0");
    vec![
        ("nothing but half of an id", vec![0]),
        ("an id without a length", vec![2, 0]),
        ("half of a length", vec![2, 0, 4]),
        ("no end", name.clone()),
        ("a pair longer than the list", pair(av::NB_DOMAIN_NAME, 3, b"D\0")),
        ("the longest pair, of no bytes", pair(av::NB_DOMAIN_NAME, u16::MAX, b"")),
        ("an end with a length", [&name[..], &pair(0, 1, b"x")].concat()),
        ("an end with a length and nothing", [&name[..], &pair(0, 4, b"")].concat()),
        ("a name twice", [&name[..], &name, &[0; 4]].concat()),
        ("a pair that nobody knows twice", [pair(99, 0, b""), pair(99, 0, b""), vec![0; 4]].concat()),
        ("flags of three bytes", [pair(av::FLAGS, 3, b"abc"), vec![0; 4]].concat()),
        ("a time of nine bytes", [pair(av::TIMESTAMP, 9, b"123456789"), vec![0; 4]].concat()),
        ("no channel bindings", [pair(av::CHANNEL_BINDINGS, 0, b""), vec![0; 4]].concat()),
        ("a name of three bytes", [pair(av::NB_DOMAIN_NAME, 3, b"D\0x"), vec![0; 4]].concat()),
        ("many pairs without an end", pair(99, 0, b"").repeat(16_000)),
        ("many names", [name.repeat(10_000), vec![0; 4]].concat()),
    ]
}

#[test]
fn no_list_of_pairs_is_read_beyond_its_end() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        for (what, list) in lists() {
            // A server's list, at an initiator.
            let handshake = Handshake::of(&NTLM);
            let mut initiator = handshake.initiator();
            let challenge = handshake.acceptor().token(&initiator.token(None));
            let outcome = initiator.step(Some(&with_list(&challenge, &list))).map(|step| step.token);
            let failure = outcome.expect_err(what);
            assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "server, {what}: {failure:?}");
            // A client's, at an acceptor.
            let list = list.get(..60_000).unwrap_or(&list).to_vec();
            let change = move |number, token: Vec<u8>| {
                if number != 2 {
                    return token;
                }
                let mut message = Authenticate::read(&token);
                message.nt_response.truncate(44);
                message.nt_response.extend(&list);
                message.write(72)
            };
            let failure = Handshake::of(&NTLM).refusal_changing(change).by_acceptor();
            assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "client, {what}: {failure:?}");
        }
    });
}

/// A CHALLENGE_MESSAGE with these bytes as its target info.
fn with_list(challenge: &[u8], list: &[u8]) -> Vec<u8> {
    let mut token = Challenge { target_info: Vec::new(), ..Challenge::read(challenge) }.write(56);
    token.truncate(token.len() - 4);
    let (length, offset) = (u16::try_from(list.len()).unwrap(), u32::try_from(token.len()).unwrap());
    token[40..42].copy_from_slice(&length.to_le_bytes());
    token[42..44].copy_from_slice(&length.to_le_bytes());
    token[44..48].copy_from_slice(&offset.to_le_bytes());
    [&token[..], list].concat()
}

const NT_LENGTHS: [usize; 10] = [0, 1, 8, 15, 16, 23, 24, 25, 44, 48];
const LM_LENGTHS: [usize; 7] = [0, 1, 8, 16, 23, 24, 25];

/// Every length of both responses, of zeros or of the bytes of a right one but for one bit.
fn no_response_lets_anybody_in() {
    for (extended, exchange) in [(true, true), (true, false), (false, true), (false, false)] {
        for (nt, lm) in NT_LENGTHS.into_iter().flat_map(|nt| LM_LENGTHS.map(|lm| (nt, lm))) {
            for is_zero in [true, false] {
                let change = move |number, token: Vec<u8>| {
                    let keep = |flags: u32| {
                        let without = if extended { 0 } else { EXTENDED_SESSIONSECURITY };
                        flags & !(without | if exchange { 0 } else { KEY_EXCH })
                    };
                    let token = with_flags(token, keep);
                    if number != 2 {
                        return token;
                    }
                    let mut message = Authenticate::read(&token);
                    for (response, length) in [(&mut message.nt_response, nt), (&mut message.lm_response, lm)] {
                        response.resize(length, 0);
                        // Nearly right, or not at all.
                        if is_zero { response.fill(0) } else { response.iter_mut().take(1).for_each(|byte| *byte ^= 1) }
                    }
                    // The shortest NTLMv2 response that is one: with an empty list of pairs.
                    if let Some(list) = message.nt_response.get_mut(44..) {
                        list.fill(0);
                    }
                    message.write(72)
                };
                let outcome = Handshake::of(&NTLM).run_changing(change).map(|pair| pair.source);
                let what = format!("NT {nt}, LM {lm}, ESS {extended}, KEY_EXCH {exchange}, zeros {is_zero}");
                let failure = outcome.map_err(Refused::by_acceptor).expect_err(&what);
                assert_ne!(failure.minor, 0, "{what}");
            }
        }
    }
}

/// Without extended session security no minimum may be missed before a response is read.
const AS_ASKED: [(&str, &str); 2] = [("GSS_NTLM_MIC", "off"), ("GSS_NTLM_MINIMUM", "sign-as-asked")];

#[test]
fn no_response_of_any_length_lets_anybody_in() {
    with_environment(&AS_ASKED, || {
        no_response_lets_anybody_in();
    });
}

#[test]
fn no_response_of_any_length_lets_anybody_in_at_level_0() {
    // Each kind of response is known at this level.
    with_environment(&[&AS_ASKED[..], &[("LM_COMPAT_LEVEL", "0")]].concat(), || {
        no_response_lets_anybody_in();
    });
}

#[test]
fn no_response_of_any_length_is_anonymous_if_it_has_a_name() {
    let settings = [("LM_COMPAT_LEVEL", "0"), ("GSS_NTLM_ANONYMOUS", "yes")];
    with_environment(&[&AS_ASKED[..], &settings].concat(), || {
        no_response_lets_anybody_in();
    });
}

/// As long as a field can be, in whole letters.
const LONGEST: usize = 65_534;

#[test]
fn names_of_64_kib_are_nobodys() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let long = b"a\0".repeat(LONGEST / 2);
        let changes: [fn(&mut Authenticate, &[u8]); 3] = [
            |message, long| message.user = long.to_vec(),
            |message, long| message.domain = long.to_vec(),
            |message, long| {
                message.user = long.to_vec();
                message.domain = b"D\0".to_vec();
                message.workstation = b"W\0".repeat(32);
            },
        ];
        for change in changes {
            let long = long.clone();
            let change = move |number, token: Vec<u8>| {
                if number != 2 {
                    return token;
                }
                let mut message = Authenticate::read(&token);
                change(&mut message, &long);
                message.write(72)
            };
            Handshake::of(&NTLM).refusal_changing(change).by_acceptor();
        }
        // A workstation proves nothing and is cut.
        let change = |number, token: Vec<u8>| {
            if number != 2 {
                return token;
            }
            let mut message = Authenticate::read(&token);
            message.workstation = b"w\0".repeat(30_000);
            message.write(72)
        };
        let pair = Handshake::of(&NTLM).establish_changing(change);
        let workstation = pair.peer.attribute("urn:gss-ntlm:workstation").unwrap();
        assert_eq!(workstation.value, "w".repeat(64));
    });
}

#[test]
fn a_server_may_have_any_name_or_none() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        for name in [vec![], utf16("S"), b"s\0".repeat(LONGEST / 2)] {
            for flags in [0, REQUEST_TARGET, REQUEST_TARGET | TARGET_INFO] {
                let change = |number, token: Vec<u8>| {
                    if number != 1 {
                        return token;
                    }
                    let mut challenge = Challenge::read(&token);
                    challenge.target_name.clone_from(&name);
                    challenge.flags |= flags;
                    challenge.write(56)
                };
                let outcome = Handshake::of(&NTLM).run_changing(change);
                // The limit of a whole message may be reached first.
                if name.len() < 100 {
                    assert_eq!(outcome.unwrap().source, "DOM\\alice", "{} bytes", name.len());
                }
            }
        }
    });
}
