//! A whole acceptor. Between it and a client is a man in the middle; or the client makes its own messages.
//!
//! Input: the settings of both sides, and what happens to each of the three messages.

#![no_main]

use gss_ntlm::{
    context::{Context, ContextFlags},
    crypto::{ExportedSessionKey, KeyExchangeKey, keys, ntowf, response},
    error::{FieldName, Message},
    name::{Attribute, Name},
    policy::{BindingsPolicy, Minimum},
    session::{Role, Session},
    text::{Charset, to_utf16le},
    wire::{
        Authenticate, AvFlags, AvId, AvPair, Challenge, MIC_LEN, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo,
        TargetInfoBuilder, Version,
    },
};
use gss_ntlm_fuzz::{
    Tape, edit,
    handshake::{Accepting, Client, EMPTY_TOKEN_OF_NTLM, Initiating, av_id, moved, talk},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut tape = Tape(data);
    if tape.bool() { forge(&mut tape) } else { interfere(&mut tape) }
});

/// A man in the middle changes the messages of our own initiator.
fn interfere(tape: &mut Tape<'_>) {
    let (initiating, accepting) = (Initiating::read(tape), Accepting::read(tape));
    let is_moved = tape.u8();
    let move_at = |bit: u8, context: &mut Context| {
        if is_moved >> bit & 1 == 1 {
            *context = moved(context);
        }
    };
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    if tape.bool() {
        let _ = client.requires_mech_list_mic();
    }

    let Ok(mut negotiate) = initiating.step(&mut client, &[]) else { return };
    move_at(0, &mut client);
    let sent = negotiate.clone();
    edit(tape, &mut negotiate);
    let mut is_changed = sent != negotiate;

    let Ok(mut challenge) = accepting.step(&mut server, &negotiate) else { return fails_for_ever(&accepting, server) };
    move_at(1, &mut server);
    let sent = challenge.clone();
    edit(tape, &mut challenge);
    is_changed |= sent != challenge;

    let Ok(mut authenticate) = initiating.step(&mut client, &challenge) else {
        assert!(client.is_failed());
        return;
    };
    move_at(2, &mut client);
    let sent = authenticate.clone();
    edit(tape, &mut authenticate);
    is_changed |= sent != authenticate;

    if accepting.step(&mut server, &authenticate).is_err() {
        return fails_for_ever(&accepting, server);
    }
    move_at(3, &mut server);
    let is_anonymous = initiating.is_anonymous() || is_changed && server.flags().contains(ContextFlags::ANON);
    check(&server, &accepting, (!is_anonymous).then_some(initiating.client));
    let established = server.established().unwrap();
    if established.has_mic {
        assert!(!is_changed, "changed although there is a MIC");
    }
    if server.flags().contains(ContextFlags::CHANNEL_BOUND) {
        assert!(initiating.side.bindings.is_some() && initiating.side.bindings == accepting.0.bindings);
    }
    if is_changed {
        return;
    }
    assert_eq!(client.established().unwrap().has_mic, established.has_mic);
    let protection = ContextFlags::INTEG | ContextFlags::CONF | ContextFlags::ANON | ContextFlags::DATAGRAM;
    assert_eq!(client.flags() & protection, server.flags() & protection);
    let (client, server) = (client.session().unwrap(), server.session().unwrap());
    assert_eq!(client.key().expose(), server.key().expose());
    talk(client, server);
    talk(server, client);
}

/// A context that failed says so to every later token.
fn fails_for_ever(accepting: &Accepting, mut server: Context) {
    assert!(server.is_failed() && server.flags().is_empty());
    assert!(server.established().is_err() && server.session().is_err() && server.export().is_err());
    assert!(accepting.step(&mut server, b"NTLMSSP\0").is_err());
}

/// What holds for every established acceptor. `client` is who proved that it knows a password, if anybody.
fn check(server: &Context, accepting: &Accepting, client: Option<Client>) {
    let established = server.established().unwrap();
    let (flags, policy) = (server.flags(), &accepting.0.policy);
    match &established.initiator.name {
        Name::Anonymous => {
            assert!(policy.anonymous && flags.contains(ContextFlags::ANON));
            assert!(!policy.minimum.intersects(Minimum::SIGN | Minimum::SEAL));
        }
        Name::User(name) => {
            let client = client.expect("somebody proved something");
            assert!(client.is_honest() && !flags.contains(ContextFlags::ANON), "{client:?} is {name:?}");
            assert_eq!(name.user.to_lowercase(), client.account()[0].to_lowercase());
        }
        Name::Service(_) => panic!("a client is no service"),
    }
    assert!(established.has_mic || !policy.require_mic);
    assert!(flags.contains(ContextFlags::CHANNEL_BOUND) || policy.channel_bindings != BindingsPolicy::Required);
    if matches!(established.initiator.get(Attribute::Version), Some("NTLMv1" | "LM")) {
        assert!(policy.lm_level.accepts_ntlm_v1());
    }
    assert!(flags.contains(ContextFlags::INTEG) || !policy.minimum.contains(Minimum::SIGN));
    assert!(flags.contains(ContextFlags::CONF) || !policy.minimum.contains(Minimum::SEAL));
    let agreed = established.session.flags();
    assert!(agreed.contains(NegotiateFlags::BITS_128) || !policy.minimum.contains(Minimum::BITS_128));
    let is_extended = agreed.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY);
    assert!(is_extended || !policy.minimum.contains(Minimum::EXTENDED_SESSIONSECURITY));
    let is_exempt = flags.contains(ContextFlags::DATAGRAM) || !policy.lm_level.has_strong_minimum();
    let is_strong = agreed.contains(NegotiateFlags::BITS_128) && is_extended;
    assert!(is_strong || is_exempt || !agreed.protects() || !policy.minimum.contains(Minimum::STRONG_IF_PROTECTED));
    moved(server);
}

/// A client that makes its own messages; it may know a password.
fn forge(tape: &mut Tape<'_>) {
    let accepting = Accepting::read(tape);
    let mut server = Context::new(Role::Acceptor);
    let mut negotiate = if tape.bool() {
        tape.pick(&[&b""[..], b"NTLMSSP\0", EMPTY_TOKEN_OF_NTLM]).to_vec()
    } else {
        let flags = NegotiateFlags::from_bits_retain(0xe288_8237 ^ tape.u32());
        let version = tape.bool().then(|| Version(tape.array()));
        Negotiate { flags, domain: tape.bytes(), workstation: tape.bytes(), version }.encode().unwrap()
    };
    edit(tape, &mut negotiate);
    let Ok(challenge) = accepting.step(&mut server, &negotiate) else { return fails_for_ever(&accepting, server) };
    if server.flags().contains(ContextFlags::DATAGRAM) {
        negotiate.clear();
        server.set_seq_num(tape.u32()).unwrap();
    }

    let forged = Forged::read(tape, &negotiate, &challenge);
    let mut token = forged.token.clone();
    edit(tape, &mut token);
    if accepting.step(&mut server, &token).is_err() {
        return fails_for_ever(&accepting, server);
    }
    check(&server, &accepting, Some(forged.client));
    let is_v2 = server.established().unwrap().initiator.get(Attribute::Version) == Some("NTLMv2");
    let server = server.session().unwrap();
    if is_v2 && token == forged.token && server.flags().protects() {
        // The client knows the key of the messages that follow.
        let key =
            if server.flags().contains(NegotiateFlags::KEY_EXCH) { forged.decrypted.unwrap() } else { forged.plain };
        assert_eq!(server.key().expose(), key.expose());
        let mut client = Session::new(Role::Initiator, server.flags(), key, forged.version);
        talk(&mut client, server);
        talk(server, &mut client);
    }
}

/// An AUTHENTICATE_MESSAGE.
struct Forged {
    client: Client,
    token: Vec<u8>,
    version: Option<Version>,
    /// The ExportedSessionKey without KEY_EXCH.
    plain: ExportedSessionKey,
    /// The ExportedSessionKey with KEY_EXCH.
    decrypted: Option<ExportedSessionKey>,
}

impl Forged {
    fn read(tape: &mut Tape<'_>, negotiate: &[u8], challenge: &[u8]) -> Self {
        let sent = Challenge::decode(challenge).unwrap();
        let client = Client::read(tape);
        let [user, domain, password] = client.account();
        let (user, domain) = (to_utf16le(user), to_utf16le(tape.pick(&[domain, "", "OTHER", "dom"])));
        let workstation = tape.bytes();
        let flags = sent.flags ^ NegotiateFlags::from_bits_retain(tape.u32());
        let mic_offset = tape.pick(&[Some(72), None, Some(64)]);
        let charset = sent.flags.charset();
        let name = |name: &[u8]| match charset {
            Charset::Unicode => name.to_vec(),
            Charset::Oem => name.chunks(2).map(|unit| unit[0]).collect(),
        };

        let info = target_info(tape, sent.target_info, mic_offset.is_some());
        let nt_hash = ntowf::nt_hash(password.as_bytes()).unwrap();
        let lm_hash = ntowf::lm_hash(password.as_bytes());
        let client_challenge = [8; 8];
        let mut v2_response = NtlmV2Response::encode_unproved(tape.array(), client_challenge, &info).unwrap();
        let (proof, temp) = v2_response.split_first_chunk_mut().unwrap();
        let response_key = ntowf::ntowf_v2(&nt_hash, &user, &domain);
        let (nt_proof_str, base_key) = response::ntlm_v2(&response_key, &sent.server_challenge, temp);
        *proof = *nt_proof_str.as_bytes();
        let combined = response::combined_challenge(&sent.server_challenge, &client_challenge);
        let mut nt_response = match tape.u8() % 5 {
            0 => v2_response,
            1 => response::ntlm_v1(&nt_hash, &combined).0.to_vec(),
            2 => response::ntlm_v1(&nt_hash, &sent.server_challenge).0.to_vec(),
            3 => Vec::new(),
            _ => tape.bytes().to_vec(),
        };
        edit(tape, &mut nt_response);
        let lm_response = match tape.u8() % 6 {
            0 => vec![0; 24],
            1 => response::lm_v2(&response_key, &sent.server_challenge, &client_challenge).to_vec(),
            2 => lm_hash.map(|hash| response::lm_v1(&hash, &sent.server_challenge)).unwrap_or_default().to_vec(),
            3 => [&client_challenge[..], &[0; 16]].concat(),
            4 => Vec::new(),
            _ => tape.bytes().to_vec(),
        };
        let encrypted = match tape.u8() % 3 {
            0 => vec![7; 16],
            1 => Vec::new(),
            _ => tape.bytes().to_vec(),
        };
        let version = tape.bool().then(|| Version(tape.array()));
        let mut token = Authenticate {
            lm_response: &lm_response,
            nt_response: &nt_response,
            charset,
            domain: &name(&domain),
            user: &name(&user),
            workstation,
            encrypted_random_session_key: &encrypted,
            flags: if tape.bool() { None } else { Some(flags) },
            version,
            mic_offset,
        }
        .encode()
        .unwrap();

        let exchange_key = KeyExchangeKey::new(*base_key.expose());
        let decrypted = <[u8; 16]>::try_from(&*encrypted).ok();
        let decrypted = decrypted.map(|encrypted| keys::decrypt_session_key(&exchange_key, encrypted));
        let plain = ExportedSessionKey::new(*exchange_key.expose());
        let key = decrypted.as_ref().filter(|_| !tape.bool()).unwrap_or(&plain);
        if let Some(at) = mic_offset {
            let mic = keys::mic(key, &[negotiate, challenge, &token]);
            token[at..at + MIC_LEN].copy_from_slice(mic.as_bytes());
        }
        // The acceptor reads a Version only where the flags say that there is one.
        let version = Authenticate::decode(&token, sent.flags).ok().and_then(|message| message.version);
        Self { client, token, version, plain, decrypted }
    }
}

/// The AV_PAIRs of the server, changed.
fn target_info(tape: &mut Tape<'_>, sent: &[u8], has_mic: bool) -> Vec<u8> {
    let mut builder = TargetInfoBuilder::default();
    let left_out = av_id(tape);
    if let Ok(sent) = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, sent) {
        for AvPair { id, value } in sent.pairs().filter(|pair| pair.id != left_out) {
            builder.push(id, value).unwrap();
        }
    }
    for _ in 0..tape.u8() % 4 {
        let (id, value) = (av_id(tape), tape.bytes());
        builder.push(id, value).unwrap();
    }
    if has_mic {
        builder.push(AvId::MsvAvFlags, &AvFlags::MIC.bits().to_le_bytes()).unwrap();
    }
    builder.finish()
}
