//! A whole initiator, and a server that sends what it likes.
//!
//! Input: the settings of the client, and the CHALLENGE_MESSAGE.

#![no_main]

use std::sync::Arc;

use gss_ntlm::{
    context::{AcceptRequest, Context, ContextFlags, ExpectAuthenticate},
    cred::Credential,
    crypto::ntowf,
    error::{FieldName, Message, PeerIncompatible},
    policy::{BindingsPolicy, LmLevel, MicPolicy, Minimum, Policy},
    session::Role,
    text::to_utf16le,
    wire::{
        Authenticate, AvFlags, AvId, Challenge, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo,
        TargetInfoBuilder, Version,
    },
};
use gss_ntlm_fuzz::{
    NOW, Tape, edit,
    handshake::{Client, Initiating, acceptor, av_id, env, moved, talk},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let tape = &mut Tape(data);
    let initiating = Initiating::read(tape);
    let mut client = Context::new(Role::Initiator);
    let Ok(negotiate) = initiating.step(&mut client, &[]) else { return };
    let is_datagram = initiating.requested.contains(ContextFlags::DATAGRAM);
    assert_eq!(negotiate.is_empty(), is_datagram);
    if !is_datagram {
        Negotiate::decode(&negotiate).unwrap();
    }
    let is_in_spnego = tape.bool();
    if is_in_spnego {
        let _ = client.requires_mech_list_mic();
    }
    if tape.bool() {
        client = moved(&client);
    }

    let challenge = challenge(tape);
    let Ok(token) = initiating.step(&mut client, &challenge) else {
        assert!(client.is_failed() && client.session().is_err() && client.export().is_err());
        assert!(initiating.step(&mut client, &challenge).is_err());
        return;
    };
    check(&initiating, &client, &challenge, &token, is_in_spnego);
    moved(&client);
    // None of our acceptors makes a handshake connectionless that the client began otherwise.
    if is_datagram || !Challenge::decode(&challenge).unwrap().flags.contains(NegotiateFlags::DATAGRAM) {
        accept(&initiating, client, negotiate, challenge, &token);
    }
});

fn challenge(tape: &mut Tape<'_>) -> Vec<u8> {
    let flags = NegotiateFlags::from_bits_retain(0xe28a_8235 ^ tape.u32());
    let mut info = TargetInfoBuilder::default();
    if !tape.bool() {
        info.push(AvId::MsvAvNbDomainName, b"D\0O\0M\0").unwrap();
        info.push(AvId::MsvAvNbComputerName, b"S\0R\0V\0").unwrap();
    }
    if !tape.bool() {
        let time = NOW.0 ^ u64::from(tape.u32()) << 16;
        info.push(AvId::MsvAvTimestamp, &time.to_le_bytes()).unwrap();
    }
    for _ in 0..tape.u8() % 4 {
        let (id, value) = (av_id(tape), tape.bytes());
        info.push(id, value).unwrap();
    }
    let mut info = info.finish();
    edit(tape, &mut info);
    let target_name = tape.bytes();
    let version = tape.bool().then(|| Version(tape.array()));
    let server_challenge = tape.array();
    let mut challenge =
        Challenge { flags, server_challenge, target_name, target_info: &info, version }.encode().unwrap();
    edit(tape, &mut challenge);
    challenge
}

/// What holds for every AUTHENTICATE_MESSAGE.
fn check(initiating: &Initiating, client: &Context, challenge: &[u8], token: &[u8], is_in_spnego: bool) {
    let (established, policy) = (client.established().unwrap(), &initiating.side.policy);
    let [user, _, password] = initiating.client.account();
    for secret in [password.as_bytes(), &to_utf16le(password), ntowf::nt_hash(password.as_bytes()).unwrap().expose()] {
        let has = |message: &[u8]| message.windows(secret.len().max(1)).any(|window| window == secret);
        // The server may know the password, or guess it.
        assert!(!has(token) || has(challenge));
    }
    let sent = Challenge::decode(challenge).unwrap();
    let answer = Authenticate::decode(token, sent.flags).unwrap();
    let (flags, agreed) = (client.flags(), established.session.flags());
    if initiating.requested.intersects(ContextFlags::INTEG | ContextFlags::CONF) {
        assert!(flags.contains(ContextFlags::INTEG) && agreed.contains(NegotiateFlags::SIGN));
    }
    assert!(
        flags.contains(ContextFlags::CONF)
            || !initiating.requested.contains(ContextFlags::CONF)
            || flags.contains(ContextFlags::DATAGRAM)
    );
    assert_eq!(flags.contains(ContextFlags::ANON), initiating.is_anonymous());
    assert_eq!(flags.contains(ContextFlags::DATAGRAM), initiating.requested.contains(ContextFlags::DATAGRAM));
    if initiating.is_anonymous() {
        assert!(answer.nt_response.is_empty() && answer.user.is_empty() && !established.has_mic);
        return;
    }
    assert_eq!(&*answer.charset.to_utf16le(answer.user), to_utf16le(user));
    if !policy.lm_level.sends_ntlm_v2() {
        assert_eq!(answer.nt_response.len(), 24);
        assert!(!established.has_mic);
        return;
    }
    let response = NtlmV2Response::decode(answer.nt_response).unwrap();
    let info = response.client_challenge.target_info;
    info.ensure_no_duplicates(Message::Authenticate, FieldName::NtChallengeResponse).unwrap();
    let server = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, sent.target_info).ok();
    let server = server.filter(|_| sent.flags.contains(NegotiateFlags::TARGET_INFO));
    let time = server.and_then(|server| server.timestamp());
    let may_have_mic = policy.mic != MicPolicy::Off && !(policy.mic == MicPolicy::RawOnly && is_in_spnego);
    assert_eq!(established.has_mic, time.is_some() && may_have_mic);
    assert_eq!(info.flags().contains(AvFlags::MIC), established.has_mic);
    if time.is_some() {
        assert_eq!(answer.lm_response, [0; 24], "a second proof, without a time");
    }
    let spn = initiating.target.as_ref().map(|target| to_utf16le(&target.to_string()));
    let told = info.find(AvId::MsvAvTargetName).filter(|name| !name.is_empty());
    assert!(told.is_none() || told == spn.as_deref(), "a name that the server chose");
    assert_eq!(info.channel_bindings(), initiating.side.bindings.map(|own| own.av_value()));
}

/// An acceptor that sent that CHALLENGE_MESSAGE believes an honest client, and no other, and has the same keys.
fn accept(initiating: &Initiating, mut client: Context, negotiate: Vec<u8>, challenge: Vec<u8>, token: &[u8]) {
    let credential = Credential::new(None, Some(acceptor()));
    let state = ExpectAuthenticate {
        negotiate,
        challenge,
        seq_num: None,
        is_exempt: true,
        acceptor: Arc::clone(credential.acceptor().unwrap()),
    };
    let mut server = Context::resume(state);
    let lenient = Policy {
        lm_level: LmLevel::new(0).unwrap(),
        anonymous: true,
        channel_bindings: BindingsPolicy::Off,
        minimum: Minimum::empty(),
        ..Policy::default()
    };
    let request = AcceptRequest { credential: None, bindings: None, token, env: &env(lenient) };
    let result = server.accept(&request);
    if initiating.client == Client::Bob && result == Err(PeerIncompatible::NoLmHash.into()) {
        return; // the acceptor has only the NT hash, and the key is made of the other one
    }
    let is_honest = initiating.client.is_honest() || initiating.is_anonymous();
    assert_eq!(result.is_ok(), is_honest, "{:?} {result:?}", initiating.client);
    if is_honest {
        let (client, server) = (client.session().unwrap(), server.session().unwrap());
        assert_eq!(client.key().expose(), server.key().expose());
        talk(client, server);
        talk(server, client);
    }
}
