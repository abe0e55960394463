//! sip.json, whose layout is its own: recordings of [MS-SIPAE] with known keys, and signatures computed for connectionless
//! NTLM. Every figure in it that our code can compute is computed.

use std::{fs, path::Path, sync::Arc};

use gss_ntlm::{
    context::{AcceptRequest, Context, ContextFlags, ExpectAuthenticate, InitiateRequest},
    crypto::{
        ExportedSessionKey, KeyExchangeKey, SealingKey,
        keys::{self, Direction, Strength},
        ntowf,
        primitive::crc32,
        rc4::Handle,
        response,
    },
    host::FileTime,
    name::{Name, UserName},
    policy::{LmLevel, Policy},
    session::{Buffer, Role, SIGNATURE_LEN, Session, vectors},
    wire::{Authenticate, Challenge, NegotiateFlags, NtlmV2Response, Version},
};
use serde_json::{Value, json};

use crate::{
    crypto::session_from,
    handshake::credential,
    support::{Accounts, Fixed, Map, Outcome, array, env, hex, same, unhex},
};

/// A member of the file, and what judges it.
type Group = (&'static str, fn(&Value) -> Outcome);

/// Runs the file in `folder`; what fails in it. Each group counts as one.
pub(crate) fn run(folder: &Path) -> Option<(usize, Vec<String>)> {
    let bytes = fs::read(folder.join("sip.json")).ok()?;
    let file: Value = serde_json::from_slice(&bytes).expect("sip.json is JSON");
    let groups: [Group; 9] = [
        // These two say nothing that a changed signature could contradict.
        ("signature_buffer_format", buffer_format),
        ("observed_shapes", observed_shapes),
        ("captured", captured),
        ("same_session_pairs", same_session_pairs),
        ("real_connectionless_flags", real_flags),
        ("captured_ntlmv1_datagram_key", captured_ntlm_v1),
        ("synthetic", synthetic),
        ("synthetic_seal_datagram", sealed),
        ("davenport", davenport),
    ];
    let mut failures = Vec::new();
    for (at, (name, group)) in groups.into_iter().enumerate() {
        assert!(!file[name].is_null(), "sip.json has no {name}");
        failures.extend(group(&file[name]).err().map(|why| format!("sip.json {name}: {why}")));
        let mut spoiled = file[name].clone();
        if at >= 2 && spoil(&mut spoiled) && group(&spoiled).is_ok() {
            failures.push(format!("sip.json {name}: passes with another signature"));
        }
    }
    Some((groups.len(), failures))
}

/// Changes the first signature or key that the group has; whether it has one.
fn spoil(group: &mut Value) -> bool {
    match group {
        Value::Object(members) => members.iter_mut().any(|(name, value)| match value {
            Value::String(text) if ["signature", "exported_session_key"].contains(&name.as_str()) => {
                let other = if text.ends_with('0') { "1" } else { "0" };
                text.replace_range(text.len() - 1.., other);
                true
            }
            _ => spoil(value),
        }),
        Value::Array(items) => items.iter_mut().any(|item| match item {
            Value::String(text) if text.len() == 32 && text.starts_with("01000000") => {
                text.replace_range(31.., if text.ends_with('0') { "1" } else { "0" });
                true
            }
            _ => spoil(item),
        }),
        _ => false,
    }
}

fn items(group: &Value) -> impl Iterator<Item = Map<'_>> {
    group.as_array().expect("a list").iter().map(Map)
}

fn flags_of(text: &str) -> NegotiateFlags {
    let digits = text.trim_start_matches("0x");
    NegotiateFlags::from_bits_retain(u32::from_str_radix(digits, 16).expect("flags"))
}

fn signature(text: &str) -> [u8; SIGNATURE_LEN] {
    array(&unhex(&text.to_lowercase()))
}

/// What the format says of the buffer: which values there are, and how many.
fn buffer_format(group: &Value) -> Outcome {
    let count = |name: &str| group[name].as_array().map(Vec::len);
    same(
        "the values of version 2 and of 3 and 4",
        &[count("version_2"), count("version_3_and_4")],
        &[Some(13), Some(16)],
    )
}

/// The Version of a client whose connectionless key is cut without extended session security.
const RECENT: Version = Version([5, 1, 0x28, 0x0a, 0, 0, 0, Version::W2K3]);

/// A session whose keys are known and whose number is 100.
fn numbered(role: Role, flags: NegotiateFlags, key: &[u8], version: Option<Version>, number: u32) -> Session {
    let mut session = Session::new(role, flags, ExportedSessionKey::new(array(key)), version);
    session.set_seq_num(number).expect("connectionless");
    session
}

fn captured(group: &Value) -> Outcome {
    let all: Vec<_> = items(group).collect();
    let [ocs, communicator, no_ess, ntlm_v1] = all[..] else {
        return Err(format!("{} recordings", all.len()));
    };
    ocs_2007(ocs)?;
    communicator_2007(communicator)?;
    without_ess(no_ess)?;
    // Only the shape of an AUTHENTICATE_MESSAGE with an NTLMv1 response.
    let token = ntlm_v1.bytes("authenticate");
    let message = Authenticate::decode(&token, NegotiateFlags::empty()).map_err(|e| e.to_string())?;
    same("flags", &message.flags, &Some(flags_of(ntlm_v1.text("authenticate_flags"))))?;
    same("the LM response", message.lm_response, &ntlm_v1.bytes("lm_challenge_response"))?;
    same("the NT response", message.nt_response, &ntlm_v1.bytes("nt_challenge_response"))
}

/// A server's signature without extended session security, under the whole key.
fn ocs_2007(recorded: Map<'_>) -> Outcome {
    let flags = flags_of("0x40008250");
    let (key, buffer) = (recorded.bytes("exported_session_key"), recorded.text("buffer").as_bytes());
    let number = recorded.u32("seqnum");
    let expected = signature(recorded.text("signature"));
    let made = numbered(Role::Acceptor, flags, &key, None, number).get_mic(&[buffer]).map_err(|e| e.to_string())?;
    same("the signature", &made, &expected)?;
    let mut client = numbered(Role::Initiator, flags, &key, None, number);
    client.verify_mic(&[buffer], &expected).map_err(|e| e.to_string())?;
    for (what, wrong) in recorded.0["wrong_answers"].as_object().expect("wrong answers") {
        let mut wrong = wrong.as_str().expect("text").to_owned();
        if wrong.len() == 31 {
            wrong.insert(24, '0'); // written without a leading zero
        }
        if client.verify_mic(&[buffer], &signature(&wrong)).is_ok() {
            return Err(format!("accepts {what}"));
        }
    }
    client.verify_mic(&[buffer], &expected).map_err(|e| e.to_string())?;
    same(
        "the CRC32",
        &crc32([buffer].into_iter()),
        &u32::from_str_radix(recorded.text("crc32"), 16).expect("a number"),
    )?;
    let mut stream = [0; 12];
    Handle::new(&SealingKey::new(recorded.array("sealing_key"))).apply(&mut stream);
    same("the key stream", &stream[..], &recorded.bytes("rc4_keystream_12"))
}

/// A whole handshake with extended session security, and a signature each way.
fn communicator_2007(recorded: Map<'_>) -> Outcome {
    let (challenge, token) = (recorded.bytes("challenge"), recorded.bytes("authenticate"));
    same(
        "the flags offered",
        &Challenge::decode(&challenge).map(|sent| sent.flags),
        &Ok(flags_of(recorded.text("challenge_flags"))),
    )?;
    let mut context = judged(recorded, challenge.clone(), &token, 3)?;
    let message = Authenticate::decode(&token, NegotiateFlags::empty()).map_err(|e| e.to_string())?;
    same("the flags taken", &message.flags, &Some(flags_of(recorded.text("authenticate_flags"))))?;
    let hash = ntowf::nt_hash(recorded.text("password").as_bytes()).expect("text");
    same("NTOWFv1", hash.expose(), &recorded.array("nt_hash"))?;
    let key = ntowf::ntowf_v2(&hash, message.user, message.domain);
    same("NTOWFv2", key.expose(), &recorded.array("ntowfv2"))?;
    let sent = NtlmV2Response::decode(message.nt_response).map_err(|e| e.to_string())?;
    let server_challenge = Challenge::decode(&challenge).map_err(|e| e.to_string())?.server_challenge;
    let (proof, session_base_key) = response::ntlm_v2(&key, &server_challenge, sent.temp);
    same("NTProofStr", proof.as_bytes(), &recorded.array("nt_proof"))?;
    same("SessionBaseKey", session_base_key.expose(), &recorded.array("session_base_key"))?;

    let flags = flags_of(recorded.text("authenticate_flags"));
    let key = ExportedSessionKey::new(recorded.array("exported_session_key"));
    for (direction, side) in [(Direction::ClientToServer, "client"), (Direction::ServerToClient, "server")] {
        let seal_key = vectors::seal_key(flags, &key, direction, None);
        let of_message = keys::seal_key_of_message(&seal_key, 100);
        same(
            "a signing key",
            keys::sign_and_seal_keys(&key, Strength::Bits128, direction).0.expose(),
            &recorded.array(&format!("{side}_sign_key")),
        )?;
        same("a sealing key", seal_key.expose(), &recorded.array(&format!("{side}_seal_key")))?;
        same("its key of 100", of_message.expose(), &recorded.array(&format!("{side}_seal_key_prime_seq100")))?;
    }
    let part = |way: &str| {
        let part = Map(&recorded.0[way]);
        (part.text("buffer").as_bytes().to_vec(), signature(part.text("signature")))
    };
    let server = context.session().map_err(|e| e.to_string())?;
    let ((asked, request), (answered, response)) = (part("request"), part("response"));
    server.verify_mic(&[&asked], &request).map_err(|e| e.to_string())?;
    same("rspauth", &server.get_mic(&[&answered]), &Ok(response))?;
    let mut client = numbered(Role::Initiator, flags, key.expose(), None, 100);
    same("response", &client.get_mic(&[&asked]), &Ok(request))?;
    client.verify_mic(&[&answered], &response).map_err(|e| e.to_string())
}

/// A client of NTLMRevisionCurrent 15 without extended session security: its key is cut.
fn without_ess(recorded: Map<'_>) -> Outcome {
    let token = recorded.bytes("authenticate");
    let message = Authenticate::decode(&token, NegotiateFlags::empty()).map_err(|e| e.to_string())?;
    let flags = flags_of(recorded.text("authenticate_flags"));
    same("the flags", &message.flags, &Some(flags))?;
    same("the version", &message.version, &Some(Version(recorded.array("version"))))?;
    let server_challenge = recorded.array("server_challenge");
    let challenge = Challenge { flags, server_challenge, target_name: &[], target_info: &[], version: None };
    let mut context = judged(recorded, challenge.encode().map_err(|e| e.to_string())?, &token, 3)?;
    let made = context.session().and_then(|session| session.get_mic(&[b"jCIFS"]));
    let cut = recorded.bytes("seal_key_if_weakened_40");
    let key = ExportedSessionKey::new(recorded.array("exported_session_key"));
    let seal_key = |version| *vectors::seal_key(flags, &key, Direction::ClientToServer, version).expose();
    same("the cut key", &seal_key(message.version)[..], &cut.repeat(2))?;
    same("the whole key", &seal_key(None)[..], &recorded.bytes("seal_key_if_not_weakened"))?;
    same("a signature", &made, &Ok(signature(recorded.text("signature_of_jCIFS_seq100_if_weakened"))))?;
    let whole = numbered(Role::Acceptor, flags, key.expose(), None, 100).get_mic(&[b"jCIFS"]);
    same("the other reading", &whole, &Ok(signature(recorded.text("signature_of_jCIFS_seq100_if_not_weakened"))))
}

/// The recorded AUTHENTICATE_MESSAGE, judged by a real acceptor, which numbers its messages 100.
fn judged(recorded: Map<'_>, challenge: Vec<u8>, token: &[u8], level: u8) -> Result<Context, String> {
    let accounts = Accounts::new(&[recorded.0]);
    let credential = accounts.acceptor();
    let acceptor = Arc::clone(credential.acceptor().map_err(|e| e.to_string())?);
    let mut context = Context::resume(ExpectAuthenticate {
        negotiate: Vec::new(),
        challenge,
        seq_num: None,
        is_exempt: true,
        acceptor,
    });
    context.set_seq_num(100).map_err(|e| e.to_string())?;
    let policy = Policy { lm_level: LmLevel::new(level).expect("a level"), ..Policy::default() };
    let host = Fixed::default();
    let request = AcceptRequest { credential: None, bindings: None, token, env: &env(policy, &host) };
    context.accept(&request).map_err(|e| e.to_string())?;
    if !context.flags().contains(ContextFlags::DATAGRAM | ContextFlags::INTEG) {
        return Err(format!("the context's flags are {:?}", context.flags()));
    }
    let established = context.established().map_err(|e| e.to_string())?;
    same("ExportedSessionKey", established.session.key().expose(), &recorded.array("exported_session_key"))?;
    Ok(context)
}

/// Signatures whose keys nobody knows: what can be read of them.
fn observed_shapes(group: &Value) -> Outcome {
    for shape in items(group).filter(|shape| !shape.text("signature").contains('x')) {
        let signature = signature(shape.text("signature"));
        same("the version", &signature[..4], &[1, 0, 0, 0])?;
        let is_extended = shape.text("shape").starts_with("ESS");
        same("whether the number is 100 in clear", &(signature[12..] == [100, 0, 0, 0]), &is_extended)?;
    }
    Ok(())
}

/// Two signatures of one session each: without extended session security the stream starts anew with the same number.
fn same_session_pairs(group: &Value) -> Outcome {
    for pair in items(group) {
        let [first, second] = [0, 1].map(|at| signature(pair.0["signatures"][at].as_str().expect("text")));
        same("the number, encrypted", &first[12..], &second[12..])?;
        if let Some(xor) = pair.optional_bytes("checksum_field_xor") {
            let sums: Vec<_> = first[8..12].iter().zip(&second[8..12]).map(|(a, b)| a ^ b).collect();
            same("the checksums' difference", &sums, &xor)?;
        }
    }
    // That ours does the same.
    let mut session = numbered(Role::Acceptor, flags_of("0x42908255"), &[7; 16], Some(RECENT), 100);
    let [first, second] = [&b"one"[..], b"two"].map(|message| session.get_mic(&[message]).expect("a signature"));
    same("our number, encrypted", &first[12..], &second[12..])
}

/// Our initiator answers the flags of real servers as real clients do, and our acceptor takes what real clients send.
fn real_flags(group: &Value) -> Outcome {
    let mut answered = 0;
    for real in items(group) {
        let flags = flags_of(real.text("flags"));
        let names: Vec<_> = flags.iter_names().map(|(name, _)| name.trim_start_matches("BITS_")).collect();
        same("the names", &json!(names), &real.0["names"])?;
        if !real.text("who").ends_with("CHALLENGE") {
            continue;
        }
        answered += 1;
        let challenge = Challenge {
            flags,
            server_challenge: [1; 8],
            target_name: &[],
            target_info: &unhex("02000200440001000200530000000000"),
            version: Some(Version([5, 2, 0xce, 0x0e, 0, 0, 0, 15])),
        };
        let name = Name::User(UserName { user: "user".to_owned(), domain: "COSMO".to_owned() });
        let credential = credential(&name, "secret");
        let host = Fixed { now: FileTime(0) };
        let request = InitiateRequest {
            credential: &credential,
            target: None,
            requested: ContextFlags::INTEG | ContextFlags::DATAGRAM,
            bindings: None,
            token: &challenge.encode().map_err(|e| e.to_string())?,
            env: &env(Policy::default(), &host),
        };
        let token = Context::new(Role::Initiator).initiate(&request).map_err(|e| e.to_string())?;
        let sent = Authenticate::decode(&token, NegotiateFlags::empty()).map_err(|e| e.to_string())?;
        same("the flags of our answer", &sent.flags, &Some(flags_of("0x62988255")))?;
        same("EncryptedRandomSessionKey", &sent.encrypted_random_session_key.len(), &16)?;
    }
    same("the servers", &answered, &1)
}

/// The keys of a session with NTLMv1 responses.
fn captured_ntlm_v1(group: &Value) -> Outcome {
    let recorded = Map(group);
    let hash = ntowf::nt_hash(recorded.text("password").as_bytes()).expect("text");
    let server_challenge = recorded.array("server_challenge");
    let (nt_response, session_base_key) = response::ntlm_v1(&hash, &server_challenge);
    same("the NT response", &nt_response[..], &recorded.bytes("nt_response"))?;
    let lm_hash = ntowf::lm_hash(recorded.text("password").as_bytes()).expect("a short password");
    same("the LM response", &response::lm_v1(&lm_hash, &server_challenge)[..], &recorded.bytes("lm_response"))?;
    same("SessionBaseKey", session_base_key.expose(), &recorded.array("session_base_key"))?;
    let key = KeyExchangeKey::new(*session_base_key.expose());
    let exported = keys::decrypt_session_key(&key, recorded.array("encrypted_random_session_key"));
    same("ExportedSessionKey", exported.expose(), &recorded.array("exported_session_key"))
}

fn synthetic(group: &Value) -> Outcome {
    let messages: Vec<_> = group["messages_hex"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|hex| unhex(hex.as_str().expect("text")))
        .collect();
    for case in items(&group["cases"]) {
        one_case(case, &messages).map_err(|why| format!("{}: {why}", case.0))?;
    }
    Ok(())
}

fn one_case(case: Map<'_>, messages: &[Vec<u8>]) -> Outcome {
    let flags = flags_of(case.text("flags"));
    let key = case.bytes("exported_session_key");
    let (sender, receiver, direction) = match case.text("role") {
        "client" => (Role::Initiator, Role::Acceptor, Direction::ClientToServer),
        _ => (Role::Acceptor, Role::Initiator, Direction::ServerToClient),
    };
    let version = case.boolean("weakened_non_ess_datagram").then_some(RECENT);
    let exported = ExportedSessionKey::new(array(&key));
    let seal_key = case.bytes("seal_key");
    let seal_key = if seal_key.len() == 8 { seal_key.repeat(2) } else { seal_key };
    same("the sealing key", &vectors::seal_key(flags, &exported, direction, version).expose()[..], &seal_key)?;
    if case.boolean("ess") {
        same(
            "the signing key",
            keys::sign_and_seal_keys(&exported, Strength::Bits128, direction).0.expose(),
            &case.array("sign_key"),
        )?;
    }
    let number = case.u32("first_seqnum");
    let is_datagram = case.boolean("datagram");
    let make = |role| {
        if is_datagram {
            Ok(numbered(role, flags, &key, version, number))
        } else {
            session_from(role, flags, &key, number)
        }
    };
    let (mut sender, mut receiver) = (make(sender)?, make(receiver)?);
    for (message, expected) in messages.iter().zip(case.0["signatures"].as_array().expect("signatures")) {
        let expected = signature(expected.as_str().expect("text"));
        same("a signature", &sender.get_mic(&[message]), &Ok(expected))?;
        receiver.verify_mic(&[message], &expected).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn sealed(group: &Value) -> Outcome {
    // The key of the computed signatures.
    let key = unhex("101112131415161718191a1b1c1d1e1f");
    for case in items(group) {
        let (flags, plaintext, number) = (flags_of(case.text("flags")), case.bytes("plaintext"), case.u32("seqnum"));
        let [mut sender, mut receiver] =
            [Role::Initiator, Role::Acceptor].map(|role| numbered(role, flags, &key, None, number));
        for token in case.0["token_signature_then_ciphertext"].as_array().expect("tokens") {
            let mut data = plaintext.clone();
            let made = sender.wrap(&mut [Buffer::Data(&mut data)]).map_err(|e| e.to_string())?;
            same("a token", &json!(format!("{}{}", hex(&made), hex(&data))), token)?;
            receiver.unwrap(&mut [Buffer::Data(&mut data)], &made).map_err(|e| e.to_string())?;
            same("the text again", &data, &plaintext)?;
        }
    }
    Ok(())
}

/// A signature with something in RandomPad, under a sealing key of eight bytes.
fn davenport(group: &Value) -> Outcome {
    let recorded = Map(group);
    let sealing = recorded.bytes("sealing_key").repeat(2);
    let flags = NegotiateFlags::SIGN;
    let mut session = Session::with_keys(flags, [0; 16], array(&sealing));
    let signature = signature(recorded.text("signature"));
    same("RandomPad", &signature[4..8], &recorded.bytes("random_pad_sent"))?;
    session.verify_mic(&[recorded.text("message").as_bytes()], &signature).map_err(|e| e.to_string())
}
