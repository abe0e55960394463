//! Messages that none of the peers in tests/peers makes: those of a server, and of a client that knows the password.

use crate::{
    context::{Context, ContextFlags},
    crypto::{ExportedSessionKey, keys, ntowf, response},
    error::{Error, Fault, FieldName, InvalidMessage, Message, PeerMisbehaved, Result},
    policy::{Minimum, Policy},
    session::Role,
    text::{Charset, to_utf16le},
    wire::{
        Authenticate, AvFlags, AvId, AvPair, Challenge, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo,
        TargetInfoBuilder,
    },
};

use super::Pair;

/// The CHALLENGE_MESSAGE of a pair's acceptor, with the AV_PAIRs that `change` adds.
fn forged_challenge(pair: &Pair, change: impl FnOnce(&mut TargetInfoBuilder)) -> Vec<u8> {
    let messages = pair.messages();
    let challenge = Challenge::decode(&messages[1]).unwrap();
    let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info).unwrap();
    let mut builder = TargetInfoBuilder::default();
    for AvPair { id, value } in info.pairs() {
        builder.push(id, value).unwrap();
    }
    change(&mut builder);
    Challenge { target_info: &builder.finish(), ..challenge }.encode().unwrap()
}

fn answer_to(pair: &Pair, challenge: &[u8]) -> Result<Vec<u8>> {
    let mut client = Context::new(Role::Initiator);
    pair.initiate(&mut client, &[]).unwrap();
    pair.initiate(&mut client, challenge)
}

#[test]
fn a_server_cannot_send_what_only_a_client_sends() {
    let pair = Pair::new();
    let challenge = forged_challenge(&pair, |builder| {
        builder.push(AvId::MsvAvFlags, &[5, 0, 0, 0]).unwrap();
        builder.push(AvId::MsvAvSingleHost, &[1; 48]).unwrap();
        builder.push(AvId::MsvAvTargetName, b"e\0v\0i\0l\0").unwrap();
        builder.push(AvId::MsvAvChannelBindings, &[1; 16]).unwrap();
    });
    let token = answer_to(&pair, &challenge).unwrap();
    let authenticate = Authenticate::decode(&token, NegotiateFlags::empty()).unwrap();
    let info = NtlmV2Response::decode(authenticate.nt_response).unwrap().client_challenge.target_info;
    info.ensure_no_duplicates(Message::Authenticate, FieldName::NtChallengeResponse).unwrap();
    assert_eq!(info.flags(), AvFlags::MIC);
    assert_eq!(info.find(AvId::MsvAvSingleHost), None);
    assert_eq!(info.find(AvId::MsvAvTargetName), Some(&*to_utf16le("HTTP/srv")));
    assert_eq!(info.find(AvId::MsvAvChannelBindings), None);
    assert_eq!(authenticate.lm_response, [0; 24], "not sent where there is a timestamp");
}

#[test]
fn a_challenge_with_an_id_twice_is_refused() {
    let pair = Pair::new();
    let challenge = forged_challenge(&pair, |builder| {
        builder.push(AvId::MsvAvNbDomainName, b"O\0").unwrap();
    });
    let fault = Fault::Duplicate;
    let expected = InvalidMessage { message: Message::Challenge, field: FieldName::TargetInfo, fault };
    assert_eq!(answer_to(&pair, &challenge), Err(expected.into()));
}

/// An AUTHENTICATE_MESSAGE of a client that knows the password and sends what it likes.
struct Forged {
    extra: Vec<(AvId, Vec<u8>)>,
    flags: NegotiateFlags,
    encrypted: Vec<u8>,
    /// The key of the MIC, if one is sent.
    mic: Option<Key>,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Exchange,
    Decrypted,
}

impl Default for Forged {
    fn default() -> Self {
        Self { extra: Vec::new(), flags: NegotiateFlags::all(), encrypted: vec![7; 16], mic: None }
    }
}

impl Forged {
    /// The acceptor's context after this message, which follows a NEGOTIATE_MESSAGE with `offered`.
    fn accepted(&self, offered: NegotiateFlags) -> Result<Context> {
        let server_policy = Policy { minimum: Minimum::empty(), ..Policy::default() };
        let pair = Pair { server_policy, ..Pair::new() };
        let mut server = Context::new(Role::Acceptor);
        let negotiate = Negotiate { flags: offered, domain: &[], workstation: &[], version: None }.encode().unwrap();
        let challenge = pair.accept(&mut server, &negotiate).unwrap();
        let token = self.encode(&negotiate, &challenge);
        pair.accept(&mut server, &token).map(|_| server)
    }

    fn encode(&self, negotiate: &[u8], challenge: &[u8]) -> Vec<u8> {
        let sent = Challenge::decode(challenge).unwrap();
        let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, sent.target_info).unwrap();
        let mut builder = TargetInfoBuilder::default();
        let is_replaced = |id| self.extra.iter().any(|(extra, _)| *extra == id && id == AvId::MsvAvTimestamp);
        for AvPair { id, value } in info.pairs().filter(|pair| !is_replaced(pair.id)) {
            builder.push(id, value).unwrap();
        }
        for (id, value) in &self.extra {
            builder.push(*id, value).unwrap();
        }
        if self.mic.is_some() {
            builder.push(AvId::MsvAvFlags, &[2, 0, 0, 0]).unwrap();
        }
        let (user, domain) = (to_utf16le("alice"), to_utf16le("DOM"));
        let mut nt_response = NtlmV2Response::encode_unproved([9; 8], [8; 8], &builder.finish()).unwrap();
        let (proof, temp) = nt_response.split_first_chunk_mut().unwrap();
        let key = ntowf::ntowf_v2(&ntowf::nt_hash(b"secret").unwrap(), &user, &domain);
        let (nt_proof_str, session_base_key) = response::ntlm_v2(&key, &sent.server_challenge, temp);
        *proof = *nt_proof_str.as_bytes();
        let mut token = Authenticate {
            lm_response: &[],
            nt_response: &nt_response,
            charset: Charset::Unicode,
            domain: &domain,
            user: &user,
            workstation: &[],
            encrypted_random_session_key: &self.encrypted,
            flags: Some(self.flags),
            version: None,
            mic_offset: self.mic.map(|_| 72),
        }
        .encode()
        .unwrap();
        if let Some(which) = self.mic {
            let exchange = keys::kxkey(&session_base_key);
            let key = match which {
                Key::Exchange => ExportedSessionKey::new(*exchange.expose()),
                Key::Decrypted => keys::decrypt_session_key(&exchange, self.encrypted[..].try_into().unwrap()),
            };
            let mic = keys::mic(&key, &[negotiate, challenge, &token]);
            token[72..88].copy_from_slice(mic.as_bytes());
        }
        token
    }
}

const OFFERED: NegotiateFlags = NegotiateFlags::UNICODE
    .union(NegotiateFlags::NTLM)
    .union(NegotiateFlags::KEY_EXCH)
    .union(NegotiateFlags::SIGN)
    .union(NegotiateFlags::EXTENDED_SESSIONSECURITY);

fn invalid(field: FieldName, fault: Fault) -> Error {
    InvalidMessage { message: Message::Authenticate, field, fault }.into()
}

#[test]
fn a_client_cannot_add_flags_to_those_of_the_challenge() {
    let server = Forged::default().accepted(OFFERED).unwrap();
    let established = server.established().unwrap();
    assert!(established.flags.contains(ContextFlags::INTEG));
    assert!(!established.flags.intersects(ContextFlags::CONF | ContextFlags::DATAGRAM), "{:?}", established.flags);
    assert_eq!(established.session.strength_factor(), 1);
}

#[test]
fn an_exchanged_key_has_sixteen_bytes_if_messages_are_protected() {
    let of = |len, offered| Forged { encrypted: vec![7; len], ..Forged::default() }.accepted(offered).map(drop);
    let wrong = |fault| Err(invalid(FieldName::EncryptedRandomSessionKey, fault));
    for len in [1, 15, 17, 24] {
        assert_eq!(of(len, OFFERED), wrong(Fault::WrongLength), "{len} bytes");
    }
    assert_eq!(of(0, OFFERED), wrong(Fault::NoKey));
    let without_messages = OFFERED - NegotiateFlags::SIGN;
    for len in [2, 15, 17, 24] {
        assert_eq!(of(len, without_messages), wrong(Fault::WrongLength), "{len} bytes");
    }
    assert_eq!(of(16, OFFERED), Ok(()));
    assert_eq!([0, 1, 16].map(|len| of(len, without_messages)), [Ok(()), Ok(()), Ok(())]);
}

#[test]
fn the_sentence_of_a_missing_key_says_what_the_cause_may_be() {
    let refused = Forged { encrypted: Vec::new(), ..Forged::default() }.accepted(OFFERED).map(drop).unwrap_err();
    let sentence = refused.to_string();
    for part in ["EncryptedRandomSessionKey", "anonymous", "local logon", "fault"] {
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn without_protected_messages_the_mic_tells_which_key_is_meant() {
    let without_messages = OFFERED - NegotiateFlags::SIGN;
    let key_with = |mic| {
        let server = Forged { mic, ..Forged::default() }.accepted(without_messages).unwrap();
        *server.established().unwrap().session.key().expose()
    };
    assert_ne!(key_with(Some(Key::Decrypted)), key_with(Some(Key::Exchange)), "Samba, macOS");
    let refused = Forged { mic: Some(Key::Exchange), ..Forged::default() }.accepted(OFFERED).map(drop);
    assert_eq!(refused, Err(PeerMisbehaved::WrongMic.into()), "with SIGN there is no choice");
}

#[test]
fn a_client_with_an_id_twice_or_with_changed_names_is_refused() {
    let with = |id, value: &[u8]| {
        Forged { extra: vec![(id, value.to_vec())], ..Forged::default() }.accepted(OFFERED).map(drop)
    };
    let twice = Err(invalid(FieldName::NtChallengeResponse, Fault::Duplicate));
    assert_eq!(with(AvId::MsvAvNbDomainName, &to_utf16le("DOM")), twice);
    assert_eq!(with(AvId::MsvAvTimestamp, &[3; 8]), Err(PeerMisbehaved::ChangedTargetInfo.into()));
    assert_eq!(with(AvId::MsvAvDnsTreeName, &to_utf16le("x")), Err(PeerMisbehaved::ChangedTargetInfo.into()));
    assert_eq!(with(AvId(0x77), b"new"), Ok(()));
}

#[test]
fn an_announced_mic_must_be_there() {
    let flags = vec![(AvId::MsvAvFlags, vec![2, 0, 0, 0])];
    let refused = Forged { extra: flags, ..Forged::default() }.accepted(OFFERED).map(drop);
    assert_eq!(refused, Err(invalid(FieldName::Mic, Fault::Missing)));
}
