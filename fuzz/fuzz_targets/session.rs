//! Protected messages of two sides, and somebody who forges, repeats and turns back messages.
//!
//! Input: flags, and what happens.

#![no_main]

use gss_ntlm::{
    bytes::Reader,
    crypto::ExportedSessionKey,
    error::Message,
    session::{Buffer, Role, SIGNATURE_LEN, Session, Way, split_token, split_token_mut, unsealed_token},
    wire::{NegotiateFlags, Version},
};
use gss_ntlm_fuzz::{Tape, edit, no_fault};
use libfuzzer_sys::fuzz_target;

/// A message on its way.
#[derive(Clone, PartialEq, Debug)]
struct Sent {
    is_wrapped: bool,
    /// The parts, sealed if the message is wrapped.
    parts: Vec<Part>,
    signature: Vec<u8>,
    plain: Vec<Part>,
}

#[derive(Clone, PartialEq, Debug)]
struct Part {
    is_data: bool,
    bytes: Vec<u8>,
}

/// Both sides; each has its own role.
struct Pair([Session; 2], NegotiateFlags);

const ROLES: [Role; 2] = [Role::Initiator, Role::Acceptor];

fuzz_target!(|data: &[u8]| {
    let tape = &mut Tape(data);
    let flags = NegotiateFlags::from_bits_retain(0xe288_8235 ^ tape.u32());
    let version = tape.bool().then(|| Version([10, 0, 0, 0, 0, 0, 0, tape.u8()]));
    let mut pair =
        Pair(ROLES.map(|role| Session::new(role, flags, ExportedSessionKey::new([0x55; 16]), version)), flags);
    if tape.bool() {
        pair.0[1].forgive_lost_mech_list_mic();
    }
    let mut before: Option<(usize, Sent)> = None;
    for _ in 0..16 {
        if tape.0.is_empty() {
            break;
        }
        let from = usize::from(tape.bool());
        match tape.u8() % 8 {
            0..4 => {
                let Some(sent) = pair.send(from, tape) else { continue };
                // Whoever changes it, or sends it or the one before to somebody, is refused.
                let mut forged = sent.clone();
                change(tape, &mut forged);
                pair.refuse(1 - from, &forged, &sent);
                if let Some((to, before)) = &before {
                    pair.refuse_again(*to, before);
                }
                pair.refuse_again(from, &sent);
                pair.receive(1 - from, &sent);
                before = Some((1 - from, sent));
            }
            4 => pair.token(from, tape.bytes()),
            5 => pair.0 = [0, 1].map(|side| copy(ROLES[side], &pair.0[side])),
            6 => {
                let number = tape.u32();
                let is_set = pair.0.iter_mut().map(|session| no_fault(session.set_seq_num(number)).is_ok());
                assert!(is_set.into_iter().all(|is_set| is_set == flags.contains(NegotiateFlags::DATAGRAM)));
                before = None;
            }
            _ => {
                pair.0[from].reset_crypto(Way::Send);
                pair.0[1 - from].reset_crypto(Way::Receive);
                before = None;
            }
        }
    }
});

fn state(session: &Session) -> Vec<u8> {
    let mut state = Vec::new();
    session.export(&mut state);
    assert!(state.len() <= Session::EXPORTED_MAX);
    state
}

/// The same session, exported and imported.
fn copy(role: Role, session: &Session) -> Session {
    let exported = state(session);
    let mut reader = Reader::new(Message::ExportedContext, &exported);
    let copy = no_fault(Session::import(role, &mut reader)).unwrap();
    assert!(reader.rest().is_empty());
    assert_eq!(state(&copy), exported);
    copy
}

/// The whole of a message as the session takes it.
fn buffers(parts: &mut [Part]) -> Vec<Buffer<'_>> {
    parts
        .iter_mut()
        .map(|part| if part.is_data { Buffer::Data(&mut part.bytes) } else { Buffer::SignOnly(&part.bytes) })
        .collect()
}

/// Changes the signature, or the parts.
fn change(tape: &mut Tape<'_>, message: &mut Sent) {
    match tape.u8() % 4 {
        0 => edit(tape, &mut message.signature),
        1 => message.is_wrapped = !message.is_wrapped,
        _ if message.parts.is_empty() => {}
        _ => {
            let at = usize::from(tape.u8()) % message.parts.len();
            edit(tape, &mut message.parts[at].bytes);
        }
    }
}

/// Whether both messages mean the same. The signature of a message with little data to seal is that of a MIC token, if the key
/// stream happens to be zeros; without extended session security RandomPad has no meaning.
fn mean_the_same(a: &Sent, b: &Sent, flags: NegotiateFlags) -> bool {
    let signature = |message: &Sent| {
        let mut signature = message.signature.clone();
        if !flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY)
            && let [_, _, _, _, pad @ .., _, _, _, _, _, _, _, _] = &mut signature[..]
        {
            pad.fill(0);
        }
        signature
    };
    let bytes = |message: &Sent| message.parts.iter().flat_map(|part| part.bytes.clone()).collect::<Vec<_>>();
    let sealed: usize = a.parts.iter().filter(|part| part.is_data).map(|part| part.bytes.len()).sum();
    (a.is_wrapped == b.is_wrapped || sealed < 8) && signature(a) == signature(b) && bytes(a) == bytes(b)
}

impl Pair {
    fn send(&mut self, from: usize, tape: &mut Tape<'_>) -> Option<Sent> {
        let session = &mut self.0[from];
        let is_wrapped = !tape.bool();
        let parts = (0..1 + tape.u8() % 4).map(|_| Part { is_data: !tape.bool(), bytes: tape.bytes().to_vec() });
        let plain: Vec<_> = parts.collect();
        let mut parts = plain.clone();
        let before = state(session);
        let signature = if is_wrapped {
            let may_wrap = session.ensure_can_wrap().is_ok();
            let result = no_fault(session.wrap(&mut buffers(&mut parts)));
            assert_eq!(result.is_ok(), may_wrap);
            result
        } else {
            let may_sign = session.ensure_can_sign().is_ok();
            let message: Vec<_> = parts.iter().map(|part| &*part.bytes).collect();
            let result = no_fault(session.get_mic(&message));
            assert_eq!(result.is_ok(), may_sign);
            result
        };
        let Ok(signature) = signature else {
            assert!(parts == plain && state(session) == before);
            return None;
        };
        for (part, plain) in parts.iter().zip(&plain) {
            assert_eq!(part.bytes.len(), plain.bytes.len());
            // Sixteen bytes are never encrypted to themselves.
            assert!(part.bytes != plain.bytes || !(is_wrapped && part.is_data) || part.bytes.len() < 16);
        }
        Some(Sent { is_wrapped, parts, signature: signature.to_vec(), plain })
    }

    fn try_receive(&mut self, to: usize, message: &mut Sent) -> gss_ntlm::error::Result<()> {
        let session = &mut self.0[to];
        no_fault(if message.is_wrapped {
            session.unwrap(&mut buffers(&mut message.parts), &message.signature)
        } else {
            let parts: Vec<_> = message.parts.iter().map(|part| &*part.bytes).collect();
            session.verify_mic(&parts, &message.signature)
        })
    }

    fn receive(&mut self, to: usize, message: &Sent) {
        let mut message = message.clone();
        self.try_receive(to, &mut message).unwrap();
        assert_eq!(message.parts, message.plain);
    }

    /// A message that is refused leaves everything as it was.
    fn refuse(&mut self, to: usize, forged: &Sent, sent: &Sent) {
        if mean_the_same(forged, sent, self.1) || !self.1.protects() {
            return;
        }
        let before = state(&self.0[to]);
        let mut received = forged.clone();
        let result = self.try_receive(to, &mut received);
        assert!(result.is_err(), "{forged:?} in place of {sent:?}");
        assert!(received == *forged, "a refused message is not decrypted");
        assert_eq!(state(&self.0[to]), before, "a refused message is not counted");
    }

    /// A message that was received before, or that comes back to its sender.
    fn refuse_again(&mut self, to: usize, message: &Sent) {
        // Connectionless messages may come again, and without extended session security they have no direction.
        if !self.1.protects() || self.1.contains(NegotiateFlags::DATAGRAM) {
            return;
        }
        let before = state(&self.0[to]);
        assert!(self.try_receive(to, &mut message.clone()).is_err(), "again");
        assert_eq!(state(&self.0[to]), before);
    }

    /// A token in one piece, true and forged.
    fn token(&mut self, from: usize, data: &[u8]) {
        let mut token = unsealed_token(data).concat();
        let session = &mut self.0[from];
        if no_fault(session.wrap_token(&mut token)).is_err() {
            assert!(session.ensure_can_wrap().is_err());
            return;
        }
        assert_eq!(token.len(), data.len() + SIGNATURE_LEN);
        assert!(split_token(&token[..SIGNATURE_LEN - 1]).is_err());
        let (signature, sealed) = split_token_mut(&mut token).unwrap();
        self.0[1 - from].unwrap(&mut [Buffer::Data(sealed)], signature).unwrap();
        assert_eq!(sealed, data);
    }
}
