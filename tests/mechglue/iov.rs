//! Messages in many buffers, and those with something in the clear beside them.

use libgssapi_sys as sys;

use crate::common::context::Ctx;
use crate::common::gss::{Gss, NEG_FLAGS, NTLM, SPNEGO};
use crate::common::handshake::{Handshake, Pair};
use crate::common::iov::{ALLOCATE, DATA, HEADER, Iov, MIC_TOKEN, PADDING, SIGN_ONLY, STREAM, TRAILER};
use crate::common::token::{ALWAYS_SIGN, BITS_128, NTLM_KEY, UNICODE};

use super::message::{SIGNATURE, assert_bad_signature, assert_in_step};

const EMPTY: &[u8] = &[];
const ROOM: &[u8] = &[0xee; SIGNATURE];

/// Sessions of every kind: with extended session security, within SPNEGO, and without.
fn sessions() -> [Pair; 3] {
    let mut old = Handshake::of(&NTLM);
    old.initiator.set_option(&NEG_FLAGS, &(UNICODE | NTLM_KEY | BITS_128).to_ne_bytes()).unwrap();
    [Handshake::of(&NTLM).establish(), Handshake::of(&SPNEGO).establish(), old.establish()]
}

/// Two contexts in one state: for showing that two ways lead to the same bytes, and for nothing else.
fn twins(context: &mut Ctx) -> [Ctx; 2] {
    let token = context.export().unwrap();
    [Ctx::import(&token).unwrap(), Ctx::import(&token).unwrap()]
}

#[test]
fn makes_the_same_token_as_a_single_buffer() {
    for mut pair in sessions() {
        let [one, other] = twins(&mut pair.initiator);
        for message in [EMPTY, b"x", b"a longer message"] {
            let mut iov = Iov::new(&[(HEADER, ROOM), (DATA, message)]);
            assert!(one.wrap_iov(&mut iov).unwrap());
            let token = iov.bytes_of(&[HEADER, DATA]);
            assert_eq!(token, other.wrap(message).unwrap());
            assert_eq!(pair.acceptor.unwrap(&token).unwrap(), message);

            let mut iov = Iov::new(&[(DATA, message), (MIC_TOKEN, ROOM)]);
            one.get_mic_iov(&mut iov).unwrap();
            let signature = iov.bytes(1);
            assert_eq!(signature, other.get_mic(message).unwrap());
            pair.acceptor.verify_mic(message, &signature).unwrap();
        }
    }
}

/// Lists of what programs put together, in the order in which they do.
fn lists() -> [Vec<(u32, &'static [u8])>; 6] {
    [
        vec![(HEADER, ROOM), (DATA, b"message"), (PADDING, EMPTY), (TRAILER, EMPTY)],
        // DCE/RPC.
        vec![(SIGN_ONLY, b"before"), (DATA, b"message"), (SIGN_ONLY, b"behind"), (HEADER, ROOM)],
        vec![(DATA, b"in"), (HEADER, ROOM), (DATA, b" four"), (DATA, EMPTY), (DATA, b" parts")],
        vec![(HEADER, ROOM), (SIGN_ONLY, b"nothing is sealed")],
        vec![(HEADER, ROOM)],
        vec![(HEADER, ROOM), (DATA, &[7; 100_000])],
    ]
}

#[test]
fn wraps_and_unwraps_any_list() {
    for pair in sessions() {
        for (from, to) in [(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)] {
            for list in lists() {
                let mut iov = Iov::new(&list);
                let clear = iov.bytes_of(&[DATA]);
                assert!(from.wrap_iov(&mut iov).unwrap());
                assert!(clear.is_empty() || iov.bytes_of(&[DATA]) != clear, "sealed in place");
                assert_eq!(iov.bytes_of(&[SIGN_ONLY]), Iov::new(&list).bytes_of(&[SIGN_ONLY]));
                assert!(to.unwrap_iov(&mut iov).unwrap());
                assert_eq!(iov.bytes_of(&[DATA]), clear);
            }
        }
        assert_in_step(&pair);
    }
}

#[test]
fn says_how_long_the_buffers_have_to_be() {
    let pair = Handshake::of(&NTLM).establish();
    let mut iov =
        Iov::new(&[(HEADER, EMPTY), (DATA, b"message"), (PADDING, b"??"), (TRAILER, b"?"), (SIGN_ONLY, b"s")]);
    let before = iov.snapshot();
    pair.initiator.wrap_iov_length(&mut iov).unwrap();
    let lengths: Vec<_> = iov.descriptors.iter().map(|iov| iov.buffer.length).collect();
    assert_eq!(lengths, [SIGNATURE, 7, 0, 0, 1]);
    assert_eq!(iov.snapshot().1, before.1, "no byte is written");

    let mut iov = Iov::new(&[(DATA, b"message"), (MIC_TOKEN, EMPTY)]);
    pair.initiator.get_mic_iov_length(&mut iov).unwrap();
    assert_eq!(iov.descriptors[1].buffer.length, SIGNATURE);
    // Asking counts nothing.
    assert_in_step(&pair);
}

#[test]
fn allocates_where_it_is_asked_to() {
    let pair = Handshake::of(&NTLM).establish();
    let mut iov = Iov::new(&[(HEADER | ALLOCATE, EMPTY), (DATA, b"message"), (PADDING | ALLOCATE, EMPTY)]);
    pair.initiator.wrap_iov(&mut iov).unwrap();
    assert!(iov.is_allocated(0) && !iov.is_allocated(1));
    let token = iov.bytes_of(&[HEADER, DATA]);
    assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");

    let mut iov = Iov::new(&[(DATA, b"message"), (MIC_TOKEN | ALLOCATE, EMPTY)]);
    pair.initiator.get_mic_iov(&mut iov).unwrap();
    assert!(iov.is_allocated(1));
    pair.acceptor.verify_mic_iov(&mut iov).unwrap();
    assert_in_step(&pair);
}

#[test]
fn uses_as_much_of_a_longer_header_as_it_needs() {
    let pair = Handshake::of(&NTLM).establish();
    let mut iov = Iov::new(&[(HEADER, &[0; 40]), (DATA, b"message")]);
    pair.initiator.wrap_iov(&mut iov).unwrap();
    assert_eq!(iov.descriptors[0].buffer.length, SIGNATURE);
    pair.acceptor.unwrap_iov(&mut iov).unwrap();
    assert_eq!(iov.bytes(1), b"message");
}

#[test]
fn takes_a_whole_token_as_a_stream() {
    for pair in sessions() {
        for message in [b"message".as_slice(), b"", b"x"] {
            let token = pair.initiator.wrap(message).unwrap();
            let mut iov = Iov::new(&[(STREAM, &token), (DATA, EMPTY)]);
            assert!(pair.acceptor.unwrap_iov(&mut iov).unwrap());
            assert_eq!(iov.bytes(1), message);
            let stream = iov.descriptors[0].buffer.value.addr();
            let inside = iov.descriptors[1].buffer.value.addr() == stream + SIGNATURE;
            assert!((inside || message.is_empty()) && !iov.is_allocated(1), "the clear text is left in the stream");

            let token = pair.acceptor.wrap(message).unwrap();
            let mut iov = Iov::new(&[(STREAM, &token), (DATA | ALLOCATE, EMPTY)]);
            assert!(pair.initiator.unwrap_iov(&mut iov).unwrap());
            assert_eq!(iov.bytes(1), message);
            assert!(iov.is_allocated(1));
            assert_eq!(iov.bytes(0), token, "the stream is as it came");
        }
        assert_in_step(&pair);
    }
}

#[test]
fn takes_a_stream_with_something_beside_it() {
    let pair = Handshake::of(&NTLM).establish();
    let mut iov = Iov::new(&[(HEADER, ROOM), (SIGN_ONLY, b"beside"), (DATA, b"message")]);
    pair.initiator.wrap_iov(&mut iov).unwrap();
    let token = iov.bytes_of(&[HEADER, DATA]);
    let mut iov = Iov::new(&[(STREAM, &token), (SIGN_ONLY, b"bexide"), (DATA, EMPTY)]);
    let before = iov.snapshot();
    assert_bad_signature(&pair.acceptor.unwrap_iov(&mut iov).unwrap_err());
    assert_eq!(iov.snapshot(), before);
    let mut iov = Iov::new(&[(STREAM, &token), (SIGN_ONLY, b"beside"), (DATA, EMPTY)]);
    pair.acceptor.unwrap_iov(&mut iov).unwrap();
    assert_eq!(iov.bytes(2), b"message");
    assert_in_step(&pair);
}

#[test]
fn signs_everything_in_its_order() {
    for pair in sessions() {
        let parts: [(u32, &[u8]); 4] = [(SIGN_ONLY, b"one"), (DATA, b"two"), (SIGN_ONLY, b"three"), (HEADER, ROOM)];
        let mut iov = Iov::new(&parts);
        pair.initiator.wrap_iov(&mut iov).unwrap();
        let (sealed, header) = (iov.bytes(1), iov.bytes(3));
        let forged: [[(u32, &[u8]); 4]; 4] = [
            [(SIGN_ONLY, b"onE"), (DATA, &sealed), (SIGN_ONLY, b"three"), (HEADER, &header)],
            [(SIGN_ONLY, b"one"), (DATA, &sealed), (SIGN_ONLY, b""), (HEADER, &header)],
            [(SIGN_ONLY, b"three"), (DATA, &sealed), (SIGN_ONLY, b"one"), (HEADER, &header)],
            [(SIGN_ONLY, b"one"), (DATA, b"two"), (SIGN_ONLY, b"three"), (HEADER, &header)],
        ];
        for parts in forged {
            let mut iov = Iov::new(&parts);
            let before = iov.snapshot();
            assert_bad_signature(&pair.acceptor.unwrap_iov(&mut iov).unwrap_err());
            assert_eq!(iov.snapshot(), before, "what is refused is left as it came");
        }
        pair.acceptor.unwrap_iov(&mut iov).unwrap();
        assert_eq!(iov.bytes(1), b"two");
        assert_in_step(&pair);
    }
}

#[test]
fn refuses_every_changed_bit_and_leaves_it_there() {
    let pair = Handshake::of(&NTLM).establish();
    let token = pair.initiator.wrap(b"message").unwrap();
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (header, data) = changed.split_at(SIGNATURE);
        let lists: [&[(u32, &[u8])]; 3] = [
            &[(HEADER, header), (DATA, data)],
            &[(STREAM, &changed), (DATA, EMPTY)],
            &[(STREAM, &changed), (DATA | ALLOCATE, EMPTY)],
        ];
        for list in lists {
            let mut iov = Iov::new(list);
            let before = iov.snapshot();
            assert_bad_signature(&pair.acceptor.unwrap_iov(&mut iov).unwrap_err());
            assert_eq!(iov.snapshot(), before, "bit {bit}");
        }
    }
    assert_eq!(pair.acceptor.unwrap(&token).unwrap(), b"message");
    assert_in_step(&pair);
}

#[test]
fn verifies_a_signature_of_many_parts() {
    for pair in sessions() {
        let parts: [(u32, &[u8]); 4] = [(DATA, b"one"), (MIC_TOKEN, ROOM), (SIGN_ONLY, b"two"), (DATA, b"three")];
        let mut iov = Iov::new(&parts);
        pair.acceptor.get_mic_iov(&mut iov).unwrap();
        let signature = iov.bytes(1);
        let forged: [[(u32, &[u8]); 3]; 2] = [
            [(DATA, b"one"), (MIC_TOKEN, &signature), (DATA, b"twothreE")],
            [(DATA, b"one"), (MIC_TOKEN, &signature), (DATA, b"threetwo")],
        ];
        for parts in forged {
            assert_bad_signature(&pair.initiator.verify_mic_iov(&mut Iov::new(&parts)).unwrap_err());
        }
        // How it is cut makes no difference.
        pair.initiator.verify_mic(b"onetwothree", &signature).unwrap();
        pair.acceptor.get_mic_iov(&mut iov).unwrap();
        pair.initiator.verify_mic_iov(&mut iov).unwrap();
        assert_in_step(&pair);
    }
}

#[test]
fn protects_nothing_where_nothing_was_negotiated() {
    let pair = Handshake::of(&NTLM).flags(0).establish();
    let mut iov = Iov::new(&[(HEADER, ROOM), (DATA, b"message")]);
    let before = iov.snapshot();
    for failure in [pair.initiator.wrap_iov(&mut iov).unwrap_err(), pair.acceptor.unwrap_iov(&mut iov).unwrap_err()] {
        assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
    }
    pair.initiator.wrap_iov_length(&mut iov).unwrap_err();
    assert_eq!(iov.snapshot(), before);
    // The dummy of ALWAYS_SIGN.
    let mut iov = Iov::new(&[(DATA, b"message"), (MIC_TOKEN, ROOM)]);
    pair.initiator.get_mic_iov(&mut iov).unwrap();
    assert_eq!(iov.bytes(1), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let failure = pair.acceptor.verify_mic_iov(&mut iov).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
}

#[test]
fn signs_nothing_without_even_the_dummy() {
    let mut handshake = Handshake::of(&NTLM).flags(0);
    handshake.initiator.set_option(&NEG_FLAGS, &(UNICODE | NTLM_KEY).to_ne_bytes()).unwrap();
    let pair = handshake.establish();
    assert_eq!(crate::common::token::flags_of(&pair.tokens[2]) & ALWAYS_SIGN, 0);
    pair.initiator.get_mic(b"message").unwrap_err();
    pair.initiator.get_mic_iov(&mut Iov::new(&[(DATA, b"message"), (MIC_TOKEN, ROOM)])).unwrap_err();
    pair.acceptor.verify_mic(b"message", &[0; SIGNATURE]).unwrap_err();
}

/// A context that makes no message gives no length for one either, and the other way round.
pub(super) fn assert_lengths_go_with_messages(context: &Ctx) {
    let wrap_iov = || Iov::new(&[(HEADER, ROOM), (DATA, b"message")]);
    let mic_iov = || Iov::new(&[(DATA, b"message"), (MIC_TOKEN, ROOM)]);
    // The lengths first: making messages must not be what changes them.
    let lengths = [
        context.wrap_size_limit(100).map(drop),
        context.wrap_iov_length(&mut wrap_iov()).map(drop),
        context.get_mic_iov_length(&mut mic_iov()).map(drop),
    ];
    let messages = [
        context.wrap(b"message").map(drop),
        context.wrap_iov(&mut wrap_iov()).map(drop),
        context.get_mic_iov(&mut mic_iov()).map(drop),
    ];
    let failures = |of: [Gss<()>; 3]| of.map(|result| result.err().map(|failure| (failure.major, failure.minor)));
    assert_eq!(failures(lengths), failures(messages));
}

#[test]
fn gives_no_length_of_a_message_that_it_refuses() {
    let mut without_dummy = Handshake::of(&NTLM).flags(0);
    without_dummy.initiator.set_option(&NEG_FLAGS, &(UNICODE | NTLM_KEY).to_ne_bytes()).unwrap();
    for handshake in [without_dummy, Handshake::of(&NTLM).flags(0), Handshake::of(&NTLM)] {
        let pair = handshake.establish();
        assert_lengths_go_with_messages(&pair.initiator);
        assert_lengths_go_with_messages(&pair.acceptor);
    }
}

#[test]
fn wraps_with_something_in_the_clear_beside_it() {
    for pair in sessions() {
        for (beside, message) in [(b"beside".as_slice(), b"message".as_slice()), (b"", b"message"), (b"beside", b"x")] {
            let token = pair.initiator.wrap_aead(beside, message).unwrap();
            assert_eq!(token.len(), SIGNATURE + message.len());
            assert_bad_signature(&pair.acceptor.unwrap_aead(&token, b"another").unwrap_err());
            assert_eq!(pair.acceptor.unwrap_aead(&token, beside).unwrap(), message);
        }
        // With nothing beside it, it is a message like any other.
        let token = pair.acceptor.wrap_aead(b"", b"message").unwrap();
        assert_eq!(pair.initiator.unwrap(&token).unwrap(), b"message");
        let token = pair.acceptor.wrap(b"message").unwrap();
        assert_eq!(pair.initiator.unwrap_aead(&token, b"").unwrap(), b"message");
        assert_in_step(&pair);
    }
}
