//! Exported tokens by somebody who knows that a sum stands at their end. Who could make one knows the keys anyway; but it
//! breaks nothing, and no name comes out of it that could not be written.

use crate::common::PASSWORD;
use crate::common::context::Ctx;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{NTLM, Name, USER_NAME};
use crate::common::handshake::Handshake;

use super::bad_input::damaged;

/// What the mechglue puts before a context: a length and the OID.
const HEAD_OF_CONTEXT: usize = 14;
/// Before a credential there is a second length, that of our token.
const HEAD_OF_CRED: usize = 18;
const SUM: usize = 8;

/// A token with another body.
fn with_body(token: &[u8], head: usize, body: &[u8]) -> Vec<u8> {
    let mut head = token[..head].to_vec();
    if let Some(length) = head.get_mut(HEAD_OF_CONTEXT..HEAD_OF_CRED) {
        length.copy_from_slice(&u32::try_from(body.len() + SUM).unwrap().to_be_bytes());
    }
    [&head[..], body, &sum(body)].concat()
}

/// The sum of src/bytes.rs.
fn sum(body: &[u8]) -> [u8; SUM] {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut sums = [0, 1, 2, u64::try_from(body.len()).unwrap()];
    let mut padded = body.to_vec();
    padded.resize(body.len() / 32 * 32 + 32, 0);
    for (at, word) in padded.chunks(8).enumerate() {
        sums[at % 4] = mix(sums[at % 4], u64::from_le_bytes(word.try_into().unwrap()));
    }
    let sum = sums.into_iter().fold(0, mix);
    mix(sum, sum >> 32).to_le_bytes()
}

/// The body of a token.
fn body_of(token: &[u8], head: usize) -> &[u8] {
    let body = &token[head..token.len() - SUM];
    assert_eq!(with_body(token, head, body), token, "or every forged token would be refused for its sum");
    body
}

fn forged(token: &[u8], head: usize) -> Vec<Vec<u8>> {
    damaged(body_of(token, head)).map(|(_, body)| with_body(token, head, &body)).collect()
}

/// A token that has `new` where `old` stood, which is as long.
fn renamed(token: &[u8], head: usize, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut body = body_of(token, head).to_vec();
    let at = body.windows(old.len()).position(|part| part == old).expect("the name is in the token");
    body[at..][..new.len()].copy_from_slice(new);
    with_body(token, head, &body)
}

#[test]
fn contexts_break_nothing() {
    let mut established = Handshake::of(&NTLM).establish();
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    let contexts =
        [&mut established.initiator, &mut established.acceptor, &mut initiator.context, &mut acceptor.context];
    for token in contexts.map(|context| context.export().unwrap()) {
        for forged in forged(&token, HEAD_OF_CONTEXT) {
            let Ok(context) = Ctx::import(&forged) else { continue };
            let _ = context.time();
            let _ = context.wrap(b"message");
            let _ = context.unwrap(&[0; 40]);
            let _ = context.verify_mic(b"message", &[0; 16]);
            let _ = handshake.initiator().continued(context).step(Some(b"garbage")).map(|step| step.token);
            let context = Ctx::import(&forged).unwrap();
            let _ = handshake.acceptor().continued(context).step(b"garbage").map(|step| step.token);
            Ctx::import(&forged).unwrap().export_and_import().unwrap();
        }
    }
}

#[test]
fn credentials_break_nothing() {
    let alice = Name::user("DOM\\alice");
    let creds = [
        Cred::with_password(&alice, PASSWORD, &NTLM).unwrap(),
        Cred::acquire(Some(&alice), Usage::Both, &NTLM).unwrap(),
        Cred::acquire(None, Usage::Accept, &NTLM).unwrap(),
    ];
    for token in creds.map(|cred| cred.export().unwrap().to_vec()) {
        for forged in forged(&token, HEAD_OF_CRED) {
            let Ok(cred) = Cred::import(&forged) else { continue };
            Cred::import(&cred.export().unwrap()).unwrap();
            let mut handshake = Handshake::of(&NTLM);
            handshake.initiator = cred;
            let _ = handshake.run().map(|pair| pair.source);
        }
    }
}

/// Five letters as `alice` is, which no user can have.
const WRONG: [&[u8; 5]; 4] = [b"al\0ce", b"A\\Bce", b"@lice", b"\0\0\0\0\0"];

#[test]
fn no_name_in_a_context_could_not_be_written() {
    for wrong in WRONG {
        let token = Handshake::of(&NTLM).establish().acceptor.export().unwrap();
        let forged = renamed(&token, HEAD_OF_CONTEXT, b"alice", wrong);
        if let Ok(context) = Ctx::import(&forged) {
            let (shown, _) = context.initiator().unwrap().display_bytes().unwrap();
            let again = Name::import(&*shown, Some(&USER_NAME)).and_then(|name| name.canonicalize());
            assert!(again.is_ok(), "{:?} is shown, and is no name", shown.escape_ascii().to_string());
        }
    }
}

#[test]
fn no_name_in_a_credential_could_not_be_written() {
    for wrong in WRONG {
        let cred = Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &NTLM).unwrap();
        let forged = renamed(&cred.export().unwrap(), HEAD_OF_CRED, b"alice", wrong);
        if let Ok(cred) = Cred::import(&forged) {
            let (shown, _) = cred.owner().unwrap().display_bytes().unwrap();
            let again = Name::import(&*shown, Some(&USER_NAME)).and_then(|name| name.canonicalize());
            assert!(again.is_ok(), "{:?} is shown, and is no name", shown.escape_ascii().to_string());
        }
    }
}
