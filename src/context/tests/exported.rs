//! Exported contexts with every byte given: a token is the same on every architecture, so that a process of another
//! architecture can import it.

use super::*;

fn sealed(parts: &[&[u8]]) -> Vec<u8> {
    let mut token = parts.concat();
    append_checksum(&mut token);
    token
}

/// Imports `token`, and checks that the context exports the same token.
fn imported(token: &[u8]) -> Context {
    let context = Context::import(token).unwrap();
    assert_eq!(context.export().unwrap().as_slice(), token);
    context
}

#[test]
fn numbers_of_an_established_context_are_little_endian() {
    let state: Vec<u8> = (0..=255).chain([0, 0]).collect();
    let token = sealed(&[
        b"\x07\x01\x03\x01",
        b"\x3c\x21\x00\x00",
        b"\x01\x05\0\0\0alice\x03\0\0\0DOM\x01\x02\0\0\0PC\0",
        b"\x01\x02\x04\0\0\0HTTP\x03\0\0\0srv",
        b"\x35\x82\x88\xe2",
        b"\0\0\0",
        &[0x55; 16],
        b"\x04\x03\x02\x01\x01",
        &state,
        // No message has begun this stream.
        b"\x08\x07\x06\x05\0",
    ]);
    let mut context = imported(&token);
    let established = context.established().unwrap();
    assert_eq!(established.flags.bits(), 0x213c);
    assert_eq!(established.session.flags().bits(), 0xe288_8235);
    assert_eq!(established.initiator.name.to_string(), "DOM\\alice");
    let mut data = *b"Plaintext";
    let signature = context.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    let wrapped = [&signature[..], &data].concat();
    assert_eq!(
        wrapped,
        b"\x01\0\0\0\x70\x89\xc7\x20\x49\xbf\x29\xd9\x04\x03\x02\x01\x52\x69\x66\x64\x63\x63\x7a\x50\x5c"
    );
    assert_eq!(context.export().unwrap()[token.len() - 8 - 2 * 5 - state.len()..][..4], *b"\x05\x03\x02\x01");
}

#[test]
fn numbers_of_a_half_open_context_are_little_endian() {
    let initiator = sealed(&[
        b"\x07\0\x01\x01",
        b"\x30\x00\x01\x00",
        b"\x35\x82\x88\xe2",
        b"\x01\x04\x03\x02\x01",
        b"\x03\0\0\0abc",
    ]);
    let State::ExpectChallenge(state) = imported(&initiator).state else { panic!("another state") };
    assert_eq!((state.requested.bits(), state.offered.bits()), (0x1_0030, 0xe288_8235));
    assert_eq!(state.seq_num, Some(0x0102_0304));
    let acceptor = sealed(&[
        b"\x07\x01\x02\x01",
        b"\x01\x04\x03\x02\x01",
        b"\x03\0\0\0abc",
        b"\x00\x01\0\0",
        &[b'x'; 256],
        b"\x02\x04\0\0\0HTTP\x03\0\0\0srv",
        b"\x01\x0a\0\0\0/etc/users\0",
    ]);
    let State::ExpectAuthenticate(state) = imported(&acceptor).state else { panic!("another state") };
    assert_eq!((state.is_exempt, state.seq_num, state.challenge.len()), (true, Some(0x0102_0304), 256));
}
