//! Inside SPNEGO, also where libgssapi loses the mechListMIC: with no switch set it works, and raw NTLM has its MIC everywhere.

use std::thread;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{KRB5, NTLM, Name, Oid, SPNEGO};
use crate::common::handshake::{Handshake, Pair, Refused};
use crate::common::spnego::{MIC_ALONE, loses_mech_list_mic, message_in};
use crate::common::token::{Authenticate, Challenge, find};
use crate::common::{PASSWORD, with_environment, world};

use super::message::assert_in_step;
use super::trace::Trace;

const AV_FLAGS: u16 = 6;
const AV_TIMESTAMP: u16 = 7;

/// Whether an acceptor can tell SPNEGO's calls from others: Debian's armhf has no tables to unwind the stack with. There, one
/// that may be inside a SPNEGO that loses the mechListMIC never tells its time.
const THE_STACK_TELLS: bool = cfg!(not(target_arch = "arm"));

/// Whether the CHALLENGE_MESSAGE tells a time, and whether the AUTHENTICATE_MESSAGE says that it has a MIC.
fn time_and_mic(pair: &Pair) -> (bool, bool) {
    let message = |message_type| pair.tokens.iter().find_map(|token| message_in(token, message_type)).unwrap();
    let challenge = Challenge::read(message(2));
    let authenticate = Authenticate::read(message(3));
    let flags = find(&authenticate.target_info(), AV_FLAGS).map_or(0, |flags| flags[0]);
    (challenge.find(AV_TIMESTAMP).is_some(), flags & 2 != 0)
}

#[test]
fn works_with_no_switch_and_has_a_mic_where_it_does_not_get_lost() {
    with_environment(&[], || {
        for _ in 0..2 {
            let pair = Handshake::of(&SPNEGO).establish();
            assert_in_step(&pair);
            let has_mic = !loses_mech_list_mic();
            assert_eq!(time_and_mic(&pair), (has_mic, has_mic));
            // Whatever SPNEGO around it does, and though it is the same thread.
            let raw = Handshake::of(&NTLM).establish();
            assert_in_step(&raw);
            let has_mic = has_mic || THE_STACK_TELLS;
            assert_eq!(time_and_mic(&raw), (has_mic, has_mic));
        }
    });
}

#[test]
fn sends_a_mic_in_raw_ntlm_before_anybody_asks_about_spnego() {
    with_environment(&[], || {
        let trace = Trace::start("raw");
        assert_eq!(time_and_mic(&Handshake::of(&NTLM).establish()), (true, true));
        assert!(!trace.text().contains("SPNEGO"), "nobody needs to know: {}", trace.text());
    });
}

#[test]
fn finds_out_once_and_says_so() {
    with_environment(&[], || {
        let trace = Trace::start("once");
        for _ in 0..3 {
            assert_in_step(&Handshake::of(&SPNEGO).establish());
        }
        let text = trace.text();
        let said: Vec<_> = text.lines().filter(|line| line.contains("SPNEGO: ")).collect();
        let found = if loses_mech_list_mic() { "loses the mechListMIC" } else { "keeps the mechListMIC" };
        assert!(matches!(said[..], [line] if line.contains(found)), "{said:?}");
    });
}

#[test]
fn finds_out_without_an_account() {
    with_environment(&[("NTLM_USER_FILE", "")], || {
        let trace = Trace::start("none");
        // The default acceptor, which finding out uses, has none; this one brings its own.
        let users = world().file("own", "DOM:alice:Password\n");
        let store = [("ntlmssp_keyfile", users.to_str().unwrap())];
        let acceptor = Cred::acquire_from(None, Usage::Accept, &store, &SPNEGO);
        let alice = || Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &SPNEGO).unwrap();
        let pair = Handshake::between(&SPNEGO, alice(), acceptor.unwrap()).establish();
        assert_in_step(&pair);
        // A library that is sound would pass for one where nothing was found, too.
        assert!(trace.text().contains("SPNEGO: this libgssapi_krb5 "), "{}", trace.text());
    });
}

#[test]
fn goes_back_to_the_mic_where_it_is_asked_for() {
    with_environment(&[("GSS_NTLM_MIC", "always")], || {
        assert_eq!(time_and_mic(&Handshake::of(&NTLM).establish()), (true, true));
        match Handshake::of(&SPNEGO).run() {
            Ok(pair) => assert_eq!((loses_mech_list_mic(), time_and_mic(&pair)), (false, (true, true))),
            Err(refused) => assert!(loses_mech_list_mic(), "{refused:?}"),
        }
    });
}

#[test]
fn tells_its_time_where_a_mic_is_required() {
    with_environment(&[("GSS_NTLM_REQUIRE_MIC", "yes")], || match Handshake::of(&SPNEGO).run() {
        Ok(pair) => assert_eq!((loses_mech_list_mic(), time_and_mic(&pair)), (false, (true, true))),
        Err(refused) => assert!(loses_mech_list_mic(), "{refused:?}"),
    });
}

#[test]
fn finds_out_in_many_threads_at_once() {
    with_environment(&[], || {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10).for_each(|_| assert_in_step(&Handshake::of(&SPNEGO).establish())));
            }
        });
    });
}

#[test]
fn finds_out_in_a_child_of_a_fork() {
    with_environment(&[], || {
        // Before anything is known, and after.
        for _ in 0..2 {
            // SAFETY: this process has no other thread that could be in a lock.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                let is_well = std::panic::catch_unwind(|| assert_in_step(&Handshake::of(&SPNEGO).establish()));
                // SAFETY: nothing of the parent's is to be run at the child's end.
                unsafe { libc::_exit(i32::from(is_well.is_err())) };
            }
            let mut status = 0;
            // SAFETY: the child is ours, and the place is writable.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "the child's end");
            assert_in_step(&Handshake::of(&SPNEGO).establish());
        }
    });
}

#[test]
fn a_wrong_password_stays_wrong() {
    let wrong = Handshake::with_password(&SPNEGO, "DOM\\alice", "wrong");
    let failure = wrong.refusal_changing(|_, token| token).by_acceptor();
    assert!(failure.minor_text.contains("password is wrong"), "{failure:?}");
}

/// What becomes of a handshake whose tokens are changed: `change` gets each with its number, unless it is refused.
fn survives(change: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Result<Pair, Refused> {
    Handshake::of(&SPNEGO).run_changing(change)
}

#[test]
fn a_mech_list_mic_that_is_cut_or_foreign_is_not_believed() {
    let tokens = Handshake::of(&SPNEGO).establish().tokens;
    // The client's second token: on a sound library its mechListMIC is at the end.
    let authenticate = 2;
    let at_end = |token: &[u8]| token.len() - 1;
    let has_mic = tokens[authenticate].windows(4).any(|part| part == [0xa3, 0x12, 0x04, 0x10]);
    assert_eq!(has_mic, !loses_mech_list_mic(), "it is sent where it is seen");
    for changed in 0..16 {
        let result = survives(|number, mut token| {
            if number == authenticate && has_mic {
                let at = at_end(&token) - changed;
                token[at] ^= 1;
            }
            token
        });
        assert_eq!(result.is_ok(), !has_mic, "byte {changed} from the end");
    }
    for cut in 1..24 {
        let result = survives(|number, mut token| {
            if number == authenticate {
                token.truncate(token.len() - cut);
            }
            token
        });
        assert!(result.is_err(), "{cut} bytes cut off");
    }
    // In place of the message: nobody is let in for it.
    let result = survives(|number, token| if number == authenticate { MIC_ALONE.to_vec() } else { token });
    assert!(result.is_err());
}

/// A NegTokenResp of the client's second step, whose lengths have two bytes each, with a mechListMIC behind what it has.
fn with_mech_list_mic(token: &[u8]) -> Vec<u8> {
    let mic = &MIC_ALONE[MIC_ALONE.len() - 20..];
    let [0xa1, 0x82, _, _, 0x30, 0x82, _, _, rest @ ..] = token else { panic!("another token: {token:02x?}") };
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let inner = rest.len() + mic.len();
    [&[0xa1, 0x82], &length(inner + 4)[..], &[0x30, 0x82], &length(inner), rest, mic].concat()
}

#[test]
fn a_mech_list_mic_beside_a_message_without_mic_is_verified_where_it_is_seen() {
    // Nobody sends a MIC here, whatever SPNEGO does.
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let result = survives(|number, token| if number == 2 { with_mech_list_mic(&token) } else { token });
        assert_eq!(result.is_ok(), loses_mech_list_mic(), "a foreign one");
    });
}

/// An element of DER with a tag and a content of less than 64 KiB.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    match content.len() {
        0..128 => [&[tag, length[1]], &content[..]].concat(),
        128..256 => [&[tag, 0x81, length[1]], &content[..]].concat(),
        _ => [&[tag, 0x82, length[0], length[1]], &content[..]].concat(),
    }
}

#[test]
fn where_kerberos_is_first_the_mech_list_mic_is_needed_and_nothing_helps_where_it_gets_lost() {
    // A client that has Kerberos and NTLM, of a server that has NTLM: RFC 4178 5 (b).
    let oid = |mech: &'static Oid| der(0x06, &[&mech.bytes()]);
    let mech_types = der(0x30, &[&oid(&KRB5), &oid(&NTLM)]);
    let init = der(0x60, &[&oid(&SPNEGO), &der(0xa0, &[&der(0x30, &[&der(0xa0, &[&mech_types])])])]);
    let resp = |parts: &[&[u8]]| der(0xa1, &[&der(0x30, parts)]);
    let response_token = |token: &[u8]| der(0xa2, &[&der(0x04, &[token])]);

    let (raw, spnego) = (Handshake::of(&NTLM), Handshake::of(&SPNEGO));
    let (mut initiator, mut acceptor) = (raw.initiator(), spnego.acceptor());
    let request_mic = [0xa0, 0x03, 0x0a, 0x01, 0x03];
    assert!(acceptor.token(&init).windows(5).any(|part| part == request_mic), "it says that it wants one");
    let challenge = acceptor.token(&resp(&[&response_token(&initiator.token(None))]));
    let authenticate = initiator.token(Some(message_in(&challenge, 2).unwrap()));
    let mic = initiator.context.get_mic(&mech_types).unwrap();
    let last = resp(&[&response_token(&authenticate), &der(0xa3, &[&der(0x04, &[&mic])])]);
    let is_established = acceptor.step(&last).is_ok_and(|step| step.complete);
    assert_eq!(is_established, !loses_mech_list_mic());
}
