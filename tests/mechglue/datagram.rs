//! Connectionless NTLM as SIP has it: the server speaks first, and every signature has the application's number.

use hmac::{Hmac, KeyInit as _, Mac as _};
use libgssapi_sys as sys;
use libgssapi_sys::{GSS_C_CONF_FLAG, GSS_C_IDENTIFY_FLAG, GSS_C_INTEG_FLAG, GSS_C_TRANS_FLAG};
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher as _};

use crate::common::context::Ctx;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{Failure, INDEFINITE, NEG_FLAGS, NTLM, Name, SESSION_KEY, SET_SEQ_NUM, SPNEGO, USER_NAME};
use crate::common::handshake::{Bindings, Handshake, Pair, Refused, SIGN_AND_SEAL};
use crate::common::iov::{ALLOCATE, DATA, HEADER, Iov, MIC_TOKEN, SIGN_ONLY};
use crate::common::spnego::message_in;
use crate::common::token::{
    ALWAYS_SIGN, Authenticate, BITS_56, BITS_128, Challenge, EXTENDED_SESSIONSECURITY, KEY_EXCH, LM_KEY, NTLM_KEY,
    REQUEST_TARGET, SEAL, SIGN, UNICODE, VERSION, flags_of, negotiate, with_flags,
};
use crate::common::{PASSWORD, with_environment};

use super::iov::assert_lengths_go_with_messages;
use super::message::{SIGNATURE, assert_bad_signature, assert_in_step};

/// GSS_C_DATAGRAM_FLAG, which gssapi_ntlmssp.h has.
const DATAGRAM: u32 = 0x1_0000;
const ASKED: u32 = GSS_C_INTEG_FLAG | DATAGRAM;
const TOLD: u32 = ASKED | GSS_C_IDENTIFY_FLAG | GSS_C_TRANS_FLAG;
/// NTLMSSP_NEGOTIATE_DATAGRAM.
const CONNECTIONLESS: u32 = 0x40;

/// How an acceptor starts: the header of RFC 2743 3.1 that names NTLM, with nothing in it.
const FRAMED: &[u8] = b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";
/// Or this alone.
const BARE: &[u8] = b"NTLMSSP\0";

/// What servers and clients of [MS-SIPAE] send.
const OF_SERVERS: u32 = 0xe298_8273;
const OF_CLIENTS: u32 = 0x6298_8255;
const OF_OLD_CLIENTS: u32 = 0x4290_8255;

const REGISTER: &[u8] = b"<NTLM><13317733><1><SIP Communications Service><REGISTER><>";
const EMPTY: &[u8] = &[];
const ROOM: &[u8] = &[0xee; SIGNATURE];

fn sip() -> Handshake {
    asking(Handshake::of(&NTLM).flags(ASKED))
}

/// The handshake with an acceptor that asks for connectionless ones.
fn asking(mut handshake: Handshake) -> Handshake {
    handshake.acceptor.set_option(&NEG_FLAGS, &CONNECTIONLESS.to_ne_bytes()).unwrap();
    handshake
}

/// Sessions without extended session security: the client does not want it, with keys of two lengths, or the server.
fn old() -> [Handshake; 3] {
    let offering = |flags: u32| {
        let mut handshake = sip();
        handshake.initiator.set_option(&NEG_FLAGS, &flags.to_ne_bytes()).unwrap();
        handshake
    };
    let plain = UNICODE | REQUEST_TARGET | NTLM_KEY | ALWAYS_SIGN;
    let mut of_server = sip();
    let without = OF_SERVERS & !EXTENDED_SESSIONSECURITY;
    of_server.acceptor.set_option(&NEG_FLAGS, &without.to_ne_bytes()).unwrap();
    [offering(plain), offering(plain | BITS_56), of_server]
}

fn shake_hands(handshake: &Handshake, start: &[u8]) -> Result<Pair, Refused> {
    shake_hands_changing(handshake, start, |token| token)
}

/// The handshake that begins with `start` at the acceptor, and whose last message somebody changes on the way.
fn shake_hands_changing(
    handshake: &Handshake, start: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> Result<Pair, Refused> {
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let nothing = initiator.step(None).map_err(Refused::ByInitiator)?;
    assert!(nothing.token.is_empty() && !nothing.complete);
    let challenge = acceptor.step(start).map_err(Refused::ByAcceptor)?;
    assert!(!challenge.complete);
    let ours = initiator.step(Some(&challenge.token)).map_err(Refused::ByInitiator)?;
    assert!(ours.complete, "with the AUTHENTICATE_MESSAGE the client is done");
    let authenticate = change(ours.token);
    let theirs = acceptor.step(&authenticate).map_err(Refused::ByAcceptor)?;
    assert!(theirs.complete && theirs.token.is_empty());
    let peer = theirs.source.expect("an acceptor that is done knows who came");
    Ok(Pair {
        initiator: initiator.context,
        acceptor: acceptor.context,
        initiator_flags: ours.flags,
        acceptor_flags: theirs.flags,
        source: peer.display(),
        peer,
        tokens: vec![challenge.token, authenticate],
    })
}

fn establish(handshake: &Handshake) -> Pair {
    shake_hands(handshake, FRAMED).unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// The same where both sides have their number, as [MS-SIPAE] wants it.
fn numbered(handshake: &Handshake) -> Pair {
    let mut pair = establish(handshake);
    for context in [&mut pair.initiator, &mut pair.acceptor] {
        set_number(context, 100);
    }
    pair
}

fn set_number(context: &mut Ctx, number: u32) {
    context.set_option(&SET_SEQ_NUM, &number.to_ne_bytes()).unwrap();
}

fn refusal(handshake: &Handshake) -> Failure {
    shake_hands(handshake, FRAMED).map(|pair| pair.source).expect_err("it has a reason to fail").by_acceptor()
}

/// Both ways, for what must hold of either end.
fn ways(pair: &Pair) -> [(&Ctx, &Ctx); 2] {
    [(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)]
}

fn assert_signs_both_ways(pair: &Pair) {
    for (from, to) in ways(pair) {
        to.verify_mic(REGISTER, &from.get_mic(REGISTER).unwrap()).unwrap();
    }
}

fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    Rc4::new_from_slice(key).unwrap().apply_keystream(&mut data);
    data
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    Md5::digest(parts.concat()).into()
}

fn crc32(message: &[u8]) -> u32 {
    let step = |sum: u32, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
    !message.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// The signature of [MS-NLMP] 3.4.4.2, under the `strength` first bytes of the key.
fn extended_signature(key: &[u8], strength: usize, way: &str, message: &[u8], number: u32) -> Vec<u8> {
    let of =
        |key: &[u8], kind: &str| md5(&[key, format!("session key to {way} {kind} key magic constant\0").as_bytes()]);
    let number = number.to_le_bytes();
    let mut sum = Hmac::<Md5>::new_from_slice(&of(key, "signing")).unwrap();
    sum.update(&[&number[..], message].concat());
    let stream = md5(&[&of(&key[..strength], "sealing"), &number]);
    [&[1, 0, 0, 0], &rc4(&stream, &sum.finalize().into_bytes()[..8])[..], &number].concat()
}

/// The signature of 3.4.4.1.
fn plain_signature(sealing_key: &[u8], message: &[u8], number: u32) -> Vec<u8> {
    let clear = [[0; 4], crc32(message).to_le_bytes(), number.to_le_bytes()].concat();
    [&[1, 0, 0, 0, 0, 0, 0, 0], &rc4(sealing_key, &clear)[4..]].concat()
}

fn key_of(context: &Ctx) -> Vec<u8> {
    context.inquire_by_oid(&SESSION_KEY).unwrap().remove(0)
}

#[test]
fn begins_with_nothing_from_the_client() {
    let handshake = sip();
    for first in [None, Some(EMPTY)] {
        let mut initiator = handshake.initiator();
        let step = initiator.step(first).unwrap();
        assert!(step.token.is_empty() && !step.complete);
        assert_eq!((step.flags, step.lifetime, step.mech), (TOLD, INDEFINITE, NTLM.bytes()));
        let facts = initiator.context.inquire().unwrap();
        assert!(facts.is_initiator && !facts.is_open && facts.flags == TOLD);
        // Still nothing is no answer.
        initiator.step(first).map(|step| step.token).unwrap_err();
    }
}

#[test]
fn begins_with_the_challenge_where_the_client_has_it() {
    let handshake = sip();
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(FRAMED);
    let step = initiator.step(Some(&challenge)).unwrap();
    assert!(step.complete && step.flags == TOLD && step.lifetime == INDEFINITE);
    let done = acceptor.step(&step.token).unwrap();
    assert!(done.complete);
    // Until the application says another, the number is 0.
    for _ in 0..2 {
        let signature = initiator.context.get_mic(REGISTER).unwrap();
        assert_eq!(signature[12..], [0; 4]);
        acceptor.context.verify_mic(REGISTER, &signature).unwrap();
    }
}

#[test]
fn begins_at_the_acceptor_in_every_way_that_gets_through() {
    let by_hand = |flags: u32| negotiate(flags & !VERSION, b"", b"");
    for start in [FRAMED, BARE, &by_hand(OF_SERVERS), &by_hand(OF_CLIENTS | LM_KEY)] {
        let pair = shake_hands(&sip(), start).unwrap();
        assert_eq!(pair.source, "DOM\\alice");
        assert_eq!((pair.initiator_flags, pair.acceptor_flags), (TOLD, TOLD));
        for context in [&pair.initiator, &pair.acceptor] {
            assert_eq!(context.inquire().unwrap().flags, TOLD);
        }
        // Which covers the two messages, and not how the acceptor was started.
        assert_eq!(pair.peer.attribute("urn:gss-ntlm:mic").unwrap().value, "verified");
        assert_eq!(key_of(&pair.initiator), key_of(&pair.acceptor));
        assert_signs_both_ways(&pair);
    }
}

/// The tokens that may begin a connectionless handshake.
fn starts() -> [Vec<u8>; 3] {
    [FRAMED.to_vec(), BARE.to_vec(), negotiate(OF_SERVERS & !VERSION, b"", b"")]
}

/// What the acceptor of `handshake` begins with each of them: a connectionless handshake, a connection, or nothing.
fn begun(handshake: &Handshake) -> [Option<bool>; 3] {
    starts().map(|start| {
        let mut acceptor = handshake.acceptor();
        match acceptor.step(&start) {
            Ok(step) => Some(flags_of(&step.token) & CONNECTIONLESS != 0),
            Err(failure) => {
                assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{failure:?}");
                assert!(failure.minor_text.contains("connectionless NTLM"), "{failure:?}");
                None
            }
        }
    })
}

#[test]
fn begins_with_the_header_alone_where_the_application_asks_for_nothing() {
    assert_eq!(begun(&Handshake::of(&NTLM)), [Some(true), None, Some(false)]);
    // Then the default minimum holds, which old clients do not reach.
    let mut handshake = Handshake::of(&NTLM).flags(ASKED);
    assert_signs_both_ways(&numbered(&handshake));
    for flags in [OF_OLD_CLIENTS, OF_CLIENTS & !BITS_128] {
        handshake.initiator.set_option(&NEG_FLAGS, &flags.to_ne_bytes()).unwrap();
        let failure = refusal(&handshake);
        assert!(failure.minor_text.contains("GSS_NTLM_MINIMUM=sign-as-asked"), "{failure:?}");
    }
    establish(&asking(handshake));
}

#[test]
fn begins_with_every_token_where_the_administrator_says_so() {
    with_environment(&[("GSS_NTLM_DATAGRAM", "yes")], || {
        assert_eq!(begun(&Handshake::of(&NTLM)), [Some(true); 3]);
        let mut handshake = Handshake::of(&NTLM).flags(ASKED);
        handshake.initiator.set_option(&NEG_FLAGS, &OF_OLD_CLIENTS.to_ne_bytes()).unwrap();
        assert_signs_both_ways(&numbered(&handshake));
    });
}

#[test]
fn begins_never_where_the_administrator_says_so() {
    with_environment(&[("GSS_NTLM_DATAGRAM", "no")], || {
        for handshake in [Handshake::of(&NTLM), sip()] {
            assert_eq!(begun(&handshake), [None, None, Some(false)]);
        }
    });
}

#[test]
fn begins_never_inside_spnego() {
    with_environment(&[("GSS_NTLM_DATAGRAM", "yes")], || {
        for start in starts() {
            let mut handshake = Handshake::of(&SPNEGO);
            let _ = handshake.acceptor.set_option(&NEG_FLAGS, &CONNECTIONLESS.to_ne_bytes());
            let mut acceptor = handshake.acceptor();
            let begun = acceptor.step(&in_spnego(&start));
            if start.len() < 32 {
                begun.map(|step| step.token).unwrap_err();
            } else {
                // This NEGOTIATE_MESSAGE begins a connection.
                let token = begun.unwrap().token;
                assert_eq!(flags_of(message_in(&token, 2).unwrap()) & CONNECTIONLESS, 0);
            }
        }
        // What is not inside goes on.
        assert_eq!(begun(&sip())[2], if cfg!(target_arch = "arm") { Some(false) } else { Some(true) });
    });
}

/// The NegTokenInit (RFC 4178 4.2.1) of a client that has NTLM alone, with `token` for it.
fn in_spnego(token: &[u8]) -> Vec<u8> {
    let der = |tag: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).expect("short")][..], &content].concat()
    };
    let mechs = der(0xa0, &[&der(0x30, &[b"\x06\x0a", &NTLM.bytes()])]);
    let init = der(0xa0, &[&der(0x30, &[&mechs, &der(0xa2, &[&der(0x04, &[token])])])]);
    der(0x60, &[b"\x06\x06\x2b\x06\x01\x05\x05\x02", &init])
}

#[test]
fn has_the_flags_that_servers_and_clients_have() {
    for start in [FRAMED, BARE] {
        let tokens = shake_hands(&sip(), start).unwrap().tokens;
        let challenge = Challenge::read(&tokens[0]);
        assert_eq!((challenge.flags, challenge.target_name), (OF_SERVERS, vec![]));
        assert!(!challenge.target_info.is_empty());
        let authenticate = Authenticate::read(&tokens[1]);
        assert_eq!((authenticate.flags, authenticate.key.len()), (OF_CLIENTS, 16));
    }
    let narrow = negotiate(OF_SERVERS & !(VERSION | SEAL), b"", b"");
    assert_eq!(flags_of(&sip().acceptor().token(&narrow)) & (SEAL | SIGN), SIGN, "less where less is asked for");
}

#[test]
fn answers_servers_that_offer_lm_keys_as_well() {
    let handshake = sip();
    let challenge = with_flags(handshake.acceptor().token(FRAMED), |flags| flags | LM_KEY);
    assert_eq!(flags_of(&challenge), 0xe298_82f3, "as all of Microsoft's");
    assert_eq!(flags_of(&handshake.initiator().token(Some(&challenge))), OF_CLIENTS);
}

#[test]
fn answers_as_old_clients_where_that_is_wanted() {
    let pair = establish(&old()[0]);
    assert_eq!((flags_of(&pair.tokens[0]), flags_of(&pair.tokens[1])), (OF_SERVERS, OF_OLD_CLIENTS));
    assert_eq!((pair.initiator_flags, pair.acceptor_flags), (TOLD, TOLD));
}

#[test]
fn signs_as_the_specification_says() {
    for (flags, strength) in [(BITS_128, 16), (BITS_56, 7), (0, 5)] {
        let mut handshake = sip();
        let flags = UNICODE | NTLM_KEY | ALWAYS_SIGN | EXTENDED_SESSIONSECURITY | flags;
        handshake.initiator.set_option(&NEG_FLAGS, &flags.to_ne_bytes()).unwrap();
        let pair = numbered(&handshake);
        let key = key_of(&pair.initiator);
        for ((from, _), way) in ways(&pair).into_iter().zip(["client-to-server", "server-to-client"]) {
            for message in [REGISTER, EMPTY] {
                let expected = extended_signature(&key, strength, way, message, 100);
                assert_eq!(from.get_mic(message).unwrap(), expected, "{way}, {strength} bytes");
            }
        }
    }
}

#[test]
fn signs_as_the_specification_says_without_extended_session_security() {
    for (handshake, is_56_bits) in old().iter().zip([false, true, true]) {
        let pair = numbered(handshake);
        assert_eq!(flags_of(&pair.tokens[1]) & EXTENDED_SESSIONSECURITY, 0);
        let key = key_of(&pair.initiator);
        let weak = if is_56_bits { [&key[..7], &[0xa0]].concat() } else { [&key[..5], &[0xe5, 0x38, 0xb0]].concat() };
        for message in [REGISTER, EMPTY, REGISTER] {
            let expected = plain_signature(&weak, message, 100);
            for (from, to) in ways(&pair) {
                assert_eq!(from.get_mic(message).unwrap(), expected);
                to.verify_mic(message, &expected).unwrap();
            }
        }
    }
}

#[test]
fn cuts_no_key_of_a_client_that_does_not_tell_its_version() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let unversioned = |token: Vec<u8>| {
            let mut message = Authenticate::read(&token);
            message.flags &= !VERSION;
            message.write(64)
        };
        let mut pair = shake_hands_changing(&old()[0], FRAMED, unversioned).unwrap();
        set_number(&mut pair.acceptor, 100);
        let expected = plain_signature(&key_of(&pair.acceptor), REGISTER, 100);
        assert_eq!(pair.acceptor.get_mic(REGISTER).unwrap(), expected);
        pair.acceptor.verify_mic(REGISTER, &expected).unwrap();
    });
}

#[test]
fn keeps_the_number_that_was_set_before_the_end() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        initiator.step(None).unwrap();
        let challenge = acceptor.token(FRAMED);
        for context in [&mut initiator.context, &mut acceptor.context] {
            set_number(context, 7);
            set_number(context, 100);
            context.export_and_import().unwrap();
        }
        let authenticate = initiator.token(Some(&challenge));
        assert!(acceptor.step(&authenticate).unwrap().complete);
        let (mut initiator, mut acceptor) = (initiator.context, acceptor.context);
        let first = initiator.get_mic(REGISTER).unwrap();
        for _ in 0..3 {
            // It never advances, on neither side.
            assert_eq!(initiator.get_mic(REGISTER).unwrap(), first);
            acceptor.verify_mic(REGISTER, &first).unwrap();
            initiator.verify_mic(REGISTER, &acceptor.get_mic(REGISTER).unwrap()).unwrap();
            initiator.export_and_import().unwrap();
            acceptor.export_and_import().unwrap();
        }
        // The other end has it, too: with another number nothing fits.
        set_number(&mut acceptor, 101);
        assert_bad_signature(&acceptor.verify_mic(REGISTER, &first).unwrap_err());
        set_number(&mut acceptor, 100);
        acceptor.verify_mic(REGISTER, &first).unwrap();
    }
}

#[test]
fn keeps_the_number_that_was_set_afterwards() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let mut pair = establish(handshake);
        for number in [100, 0, u32::MAX, 100] {
            let mut signatures = Vec::new();
            for context in [&mut pair.initiator, &mut pair.acceptor] {
                set_number(context, number);
                context.export_and_import().unwrap();
                signatures.push([REGISTER, EMPTY, REGISTER].map(|message| context.get_mic(message).unwrap()));
            }
            for [first, _, last] in signatures {
                assert_eq!(first, last);
                let is_extended = flags_of(&pair.tokens[1]) & EXTENDED_SESSIONSECURITY != 0;
                assert_eq!(first[12..] == number.to_le_bytes(), is_extended, "encrypted without");
            }
            assert_signs_both_ways(&pair);
        }
    }
}

#[test]
fn takes_no_number_of_another_length() {
    let handshake = sip();
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let assert_refuses = |context: &mut Ctx| {
        set_number(context, 100);
        for value in [EMPTY, &[1; 3], &[1; 5], &[1; 8]] {
            let failure = context.set_option(&SET_SEQ_NUM, value).unwrap_err();
            assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
        }
    };
    initiator.step(None).unwrap();
    let challenge = acceptor.token(FRAMED);
    assert_refuses(&mut initiator.context);
    assert_refuses(&mut acceptor.context);
    let authenticate = initiator.token(Some(&challenge));
    acceptor.step(&authenticate).unwrap();
    for context in [&mut initiator.context, &mut acceptor.context] {
        assert_eq!(context.get_mic(REGISTER).unwrap()[12..], [100, 0, 0, 0]);
        assert_refuses(context);
        assert_eq!(context.get_mic(REGISTER).unwrap()[12..], [100, 0, 0, 0]);
    }
}

#[test]
fn sets_no_number_on_a_connection() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let assert_unavailable = |context: &mut Ctx| {
        let failure = context.set_option(&SET_SEQ_NUM, &100_u32.to_ne_bytes()).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
    };
    let negotiate = initiator.token(None);
    assert_unavailable(&mut initiator.context);
    let challenge = acceptor.token(&negotiate);
    assert_unavailable(&mut acceptor.context);
    let authenticate = initiator.token(Some(&challenge));
    acceptor.step(&authenticate).unwrap();
    for context in [&mut initiator.context, &mut acceptor.context] {
        assert_unavailable(context);
    }
    assert_eq!(initiator.context.get_mic(REGISTER).unwrap()[12..], [0; 4]);
}

#[test]
fn verifies_in_any_order_and_again() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let pair = numbered(handshake);
        for (from, to) in ways(&pair) {
            let messages = [&b"one"[..], b"two", b"", b"three"];
            let signatures = messages.map(|message| from.get_mic(message).unwrap());
            for at in [3, 0, 0, 2, 1, 3, 0] {
                to.verify_mic(messages[at], &signatures[at]).unwrap();
                assert_bad_signature(&to.verify_mic(messages[at], &signatures[(at + 1) % 4]).unwrap_err());
            }
        }
    }
}

#[test]
fn takes_no_signature_of_its_own() {
    let pair = numbered(&sip());
    for (from, _) in ways(&pair) {
        assert_bad_signature(&from.verify_mic(REGISTER, &from.get_mic(REGISTER).unwrap()).unwrap_err());
    }
    assert_signs_both_ways(&pair);
}

#[test]
fn changes_nothing_at_a_bad_signature() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let pair = numbered(handshake);
        let is_extended = flags_of(&pair.tokens[1]) & EXTENDED_SESSIONSECURITY != 0;
        for (from, to) in ways(&pair) {
            let signature = from.get_mic(REGISTER).unwrap();
            let own = to.get_mic(REGISTER).unwrap();
            for bit in 0..signature.len() * 8 {
                let mut changed = signature.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let result = to.verify_mic(REGISTER, &changed);
                if !is_extended && (4..8).contains(&(bit / 8)) {
                    // RandomPad, in which peers send what they like.
                    result.unwrap();
                } else {
                    assert_bad_signature(&result.unwrap_err());
                }
                to.verify_mic(REGISTER, &signature).unwrap();
            }
            assert_bad_signature(&to.verify_mic(b"<NTLM>", &signature).unwrap_err());
            assert_eq!(to.get_mic(REGISTER).unwrap(), own);
            assert!(is_extended || signature[4..8] == [0; 4], "we send zeros there");
        }
    }
}

#[test]
fn takes_signatures_of_sixteen_bytes_only() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let pair = numbered(handshake);
        for (from, to) in ways(&pair) {
            let signature = from.get_mic(REGISTER).unwrap();
            assert_eq!(signature.len(), SIGNATURE);
            to.verify_mic(REGISTER, EMPTY).unwrap_err();
            let longer = [&signature[..], &[0]].concat();
            for wrong in (1..SIGNATURE).map(|length| &signature[..length]).chain([&longer[..]]) {
                let failure = to.verify_mic(REGISTER, wrong).unwrap_err();
                assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{} bytes: {failure:?}", wrong.len());
                let mut iov = Iov::new(&[(DATA, REGISTER), (MIC_TOKEN, wrong)]);
                to.verify_mic_iov(&mut iov).unwrap_err();
            }
            to.verify_mic(REGISTER, &signature).unwrap();
        }
    }
}

#[test]
fn seals_with_extended_session_security() {
    let pair = numbered(&sip().flags(ASKED | GSS_C_CONF_FLAG));
    assert_eq!((pair.initiator_flags, pair.acceptor_flags), (TOLD | GSS_C_CONF_FLAG, TOLD | GSS_C_CONF_FLAG));
    for (from, to) in ways(&pair) {
        let messages = [REGISTER, b"", b"another"];
        let tokens = messages.map(|message| from.wrap(message).unwrap());
        for at in [2, 0, 0, 1, 2] {
            assert_eq!(to.unwrap_telling(&tokens[at]).unwrap(), (messages[at].to_vec(), true));
            let mut changed = tokens[at].clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_bad_signature(&to.unwrap(&changed).unwrap_err());
        }
        assert_eq!(from.wrap(REGISTER).unwrap(), tokens[0]);
        assert_eq!(tokens[0][12..16], [100, 0, 0, 0]);
        assert_bad_signature(&from.unwrap(&tokens[0]).unwrap_err());
    }
    assert_in_step(&pair);
}

#[test]
fn seals_nothing_without_extended_session_security() {
    for handshake in old() {
        let pair = numbered(&handshake);
        let unavailable = |failure: Failure| assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
        for (from, to) in ways(&pair) {
            unavailable(from.wrap(REGISTER).unwrap_err());
            unavailable(to.unwrap(&[0; 40]).unwrap_err());
            let mut iov = Iov::new(&[(HEADER, ROOM), (DATA, REGISTER)]);
            let before = iov.snapshot();
            unavailable(from.wrap_iov(&mut iov).unwrap_err());
            unavailable(to.unwrap_iov(&mut iov).unwrap_err());
            assert_eq!(iov.snapshot(), before);
        }
        assert_signs_both_ways(&pair);
        let sealing = handshake.flags(ASKED | GSS_C_CONF_FLAG);
        match shake_hands(&sealing, FRAMED).map(|pair| pair.source).unwrap_err() {
            Refused::ByInitiator(failure) => assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}"),
            Refused::ByAcceptor(failure) => panic!("the client was to refuse first: {failure:?}"),
        }
    }
}

#[test]
fn signs_many_buffers_like_one() {
    for handshake in [&sip()].into_iter().chain(&old()) {
        let pair = numbered(handshake);
        for (from, to) in ways(&pair) {
            let whole = from.get_mic(b"<NTLM><100><REGISTER>").unwrap();
            let lists: [&[(u32, &[u8])]; 3] = [
                &[(MIC_TOKEN, ROOM), (DATA, b"<NTLM><100><REGISTER>")],
                &[(DATA, b"<NTLM>"), (SIGN_ONLY, b"<100>"), (MIC_TOKEN, ROOM), (DATA, EMPTY), (DATA, b"<REGISTER>")],
                &[(SIGN_ONLY, b"<NTLM><100"), (SIGN_ONLY, b"><REGISTER>"), (MIC_TOKEN | ALLOCATE, EMPTY)],
            ];
            for list in lists {
                let mut iov = Iov::new(list);
                from.get_mic_iov(&mut iov).unwrap();
                assert_eq!(iov.bytes_of(&[MIC_TOKEN]), whole);
                to.verify_mic_iov(&mut iov).unwrap();
                to.verify_mic_iov(&mut iov).unwrap();
            }
            let mut cut = Iov::new(&[(DATA, b"<NTLM><REGISTER>"), (MIC_TOKEN, &whole)]);
            assert_bad_signature(&to.verify_mic_iov(&mut cut).unwrap_err());
        }
    }
}

#[test]
fn seals_many_buffers_like_one() {
    let pair = numbered(&sip().flags(ASKED | GSS_C_CONF_FLAG));
    for (from, to) in ways(&pair) {
        let token = from.wrap(b"<NTLM><REGISTER>").unwrap();
        for list in [
            vec![(HEADER, ROOM), (DATA, &b"<NTLM><REGISTER>"[..])],
            vec![(DATA, &b"<NTLM>"[..]), (HEADER, ROOM), (DATA, b"<REGISTER>")],
        ] {
            let mut iov = Iov::new(&list);
            assert!(from.wrap_iov(&mut iov).unwrap());
            assert_eq!([iov.bytes_of(&[HEADER]), iov.bytes_of(&[DATA])].concat(), token);
            let sealed = iov.snapshot();
            assert!(to.unwrap_iov(&mut iov).unwrap());
            assert_eq!(iov.bytes_of(&[DATA]), b"<NTLM><REGISTER>");
            from.wrap_iov(&mut iov).unwrap();
            assert_eq!(iov.snapshot(), sealed, "the same message is the same token");
        }
        let mut beside = Iov::new(&[(SIGN_ONLY, b"beside"), (HEADER, ROOM), (DATA, b"message")]);
        from.wrap_iov(&mut beside).unwrap();
        let parts: [(u32, Vec<u8>); 3] =
            [(SIGN_ONLY, b"bexide".to_vec()), (HEADER, beside.bytes(1)), (DATA, beside.bytes(2))];
        let mut forged = Iov::new(&[0, 1, 2].map(|at| (parts[at].0, &parts[at].1[..])));
        let before = forged.snapshot();
        assert_bad_signature(&to.unwrap_iov(&mut forged).unwrap_err());
        assert_eq!(forged.snapshot(), before);
        to.unwrap_iov(&mut beside).unwrap();
        assert_eq!(beside.bytes(2), b"message");
    }
    assert_in_step(&pair);
}

#[test]
fn does_what_sipe_does() {
    // Its texts count their NULs, and its service is a host without a service.
    let name = Name::import("alice@DOM\0", Some(&USER_NAME)).unwrap();
    let cred = Cred::with_password(&name, format!("{PASSWORD}\0"), &NTLM).unwrap();
    let mut handshake = Handshake::with_cred(&NTLM, cred).flags(ASKED);
    handshake.target = "sipsrv.contoso.local\0";
    // After eight hours it does so again, with the same credential.
    for _ in 0..3 {
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let first = initiator.step(Some(EMPTY)).unwrap();
        assert!(first.token.is_empty() && !first.complete);
        let challenge = acceptor.token(FRAMED);
        let last = initiator.step(Some(&challenge)).unwrap();
        assert!(last.complete && last.lifetime == INDEFINITE);
        set_number(&mut initiator.context, 100);
        let response = initiator.context.get_mic(REGISTER).unwrap();

        let done = acceptor.step(&last.token).unwrap();
        assert_eq!(done.source.unwrap().display(), "DOM\\alice");
        set_number(&mut acceptor.context, 100);
        acceptor.context.verify_mic(REGISTER, &response).unwrap();
        let rspauth = acceptor.context.get_mic(b"<NTLM><200>").unwrap();
        initiator.context.verify_mic(b"<NTLM><200>", &rspauth).unwrap();
        initiator.context.delete().unwrap();
    }
}

#[test]
fn accepts_no_message_out_of_turn() {
    let handshake = sip();
    let pair = establish(&handshake);
    let [challenge, authenticate] = [&pair.tokens[0], &pair.tokens[1]];
    let mut acceptor = handshake.acceptor();
    for wrong in [authenticate, challenge] {
        let failure = acceptor.step(wrong).map(|step| step.token).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{failure:?}");
        assert!(acceptor.context.is_none());
    }
    acceptor.token(FRAMED);
    // Not the answer to this challenge, but to another.
    acceptor.step(authenticate).map(|step| step.token).unwrap_err();

    for wrong in [FRAMED, BARE, challenge] {
        let mut acceptor = handshake.acceptor();
        acceptor.token(FRAMED);
        acceptor.step(wrong).map(|step| step.token).unwrap_err();
    }
    for wrong in [FRAMED, BARE, authenticate, b"garbage"] {
        let failure = handshake.initiator().step(Some(wrong)).map(|step| step.token).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DEFECTIVE_TOKEN, "{failure:?}");
    }
    for start in [&FRAMED[..13], &BARE[..7], b"NTLMSSP\0\0", &[FRAMED, &[0]].concat()] {
        handshake.acceptor().step(start).map(|step| step.token).unwrap_err();
    }
    for (mut context, token) in [(pair.initiator, challenge), (pair.acceptor, authenticate)] {
        let is_initiator = context.inquire().unwrap().is_initiator;
        let (result, after) = if is_initiator {
            let mut initiator = handshake.initiator().continued(context);
            (initiator.step(Some(token)).map(drop), initiator.context)
        } else {
            let mut acceptor = handshake.acceptor().continued(context);
            (acceptor.step(token).map(drop), acceptor.context)
        };
        result.unwrap_err();
        context = after;
        context.get_mic(REGISTER).unwrap();
    }
}

#[test]
fn refuses_a_wrong_password_and_an_unknown_user_alike() {
    let wrong = refusal(&Handshake::with_password(&NTLM, "DOM\\alice", "wrong").flags(ASKED));
    let unknown = refusal(&Handshake::with_password(&NTLM, "DOM\\nobody", PASSWORD).flags(ASKED));
    assert_eq!(wrong.routine(), sys::_GSS_S_FAILURE, "{wrong:?}");
    assert_eq!((wrong.major, wrong.minor), (unknown.major, unknown.minor));
}

#[test]
fn refuses_a_changed_message() {
    let handshake = sip();
    let authenticate = establish(&handshake).tokens.remove(1);
    for at in 0..authenticate.len() {
        let changed = |mut token: Vec<u8>| {
            token[at] ^= 1;
            token
        };
        let refused = shake_hands_changing(&handshake, FRAMED, changed).map(|pair| pair.source);
        refused.expect_err("one bit is another").by_acceptor();
    }
}

#[test]
fn wants_the_mode_and_a_key_at_both_ends() {
    for missing in [CONNECTIONLESS, KEY_EXCH, SIGN] {
        let without = |token| with_flags(token, |flags| flags & !missing);
        let refused = shake_hands_changing(&sip(), FRAMED, without).map(|pair| pair.source);
        refused.expect_err("this is another mode").by_acceptor();
        let handshake = sip();
        let challenge = without(handshake.acceptor().token(FRAMED));
        let failure = handshake.initiator().step(Some(&challenge)).map(|step| step.token).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
    }
}

#[test]
fn means_nothing_where_one_side_alone_says_it() {
    // go-ntlm's client says it in every AUTHENTICATE_MESSAGE, its server in every CHALLENGE_MESSAGE. No MIC, which covers both.
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        for said_in in [1, 2] {
            let pair = Handshake::of(&NTLM).flags(SIGN_AND_SEAL).establish_changing(|number, token| {
                if number == said_in { with_flags(token, |flags| flags | CONNECTIONLESS) } else { token }
            });
            assert_eq!(flags_of(&pair.tokens[2]) & CONNECTIONLESS, if said_in == 2 { CONNECTIONLESS } else { 0 });
            assert_eq!((pair.initiator_flags | pair.acceptor_flags) & DATAGRAM, 0);
            assert_in_step(&pair);
        }
    });
    // A server that means it is told by the answer.
    let connected = asking(Handshake::of(&NTLM).flags(SIGN_AND_SEAL));
    let (mut initiator, mut acceptor) = (connected.initiator(), connected.acceptor());
    let negotiate = with_flags(initiator.token(None), |flags| flags | CONNECTIONLESS);
    let authenticate = initiator.token(Some(&acceptor.token(&negotiate)));
    acceptor.step(&authenticate).map(|step| step.token).unwrap_err();
}

#[test]
fn binds_to_a_channel() {
    let (here, there) = (Bindings::application(b"here"), Bindings::application(b"there"));
    let bound = sip().bindings(Some(here.clone()), Some(here.clone()));
    assert_eq!(establish(&bound).acceptor_flags, TOLD | crate::common::gss::CHANNEL_BOUND);
    let failure = refusal(&sip().bindings(Some(here), Some(there)));
    assert_eq!(failure.routine(), sys::_GSS_S_BAD_BINDINGS, "{failure:?}");
}

#[test]
fn gives_no_length_of_a_message_that_it_refuses() {
    for handshake in old().into_iter().chain([sip()]) {
        for pair in [establish(&handshake), numbered(&handshake)] {
            assert_lengths_go_with_messages(&pair.initiator);
            assert_lengths_go_with_messages(&pair.acceptor);
        }
    }
}

#[test]
fn accepts_for_a_service_that_is_named() {
    let mut handshake = sip();
    handshake.acceptor = Cred::acquire(Some(&Name::service("sip@server")), Usage::Accept, &NTLM).unwrap();
    assert_signs_both_ways(&numbered(&handshake));
    assert_signs_both_ways(&numbered(&asking(handshake)));
}
