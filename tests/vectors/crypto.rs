//! Bytes to keys, and what the keys do to messages.

use gss_ntlm::{
    bytes::Reader,
    crypto::{
        ExportedSessionKey, KeyExchangeKey, LmHash, NtHash, ResponseKeyNt, SessionBaseKey,
        keys::{self, Direction, Strength},
        ntowf, primitive,
        rc4::rc4k,
        response,
    },
    error::{ApiMisuse, Message},
    host::Host as _,
    session::{Buffer, Role, Session, Way, vectors},
    text,
    wire::{MIC_LEN, NegotiateFlags, NtlmV2Response},
};

use crate::support::{Bindings, Fixed, Map, Outcome, array, same};

pub(crate) fn constant(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let mut random_session_key = [0; 16];
    let mut client_challenge = [0; 8];
    Fixed::default().random(&mut random_session_key).map_err(|e| e.to_string())?;
    Fixed::default().random(&mut client_challenge).map_err(|e| e.to_string())?;
    let value = match inputs.text("name") {
        "RandomSessionKey" => random_session_key.to_vec(),
        "ClientChallenge" => client_challenge.to_vec(),
        "ServerChallenge" => b"\x01\x23\x45\x67\x89\xab\xcd\xef".to_vec(),
        "Time" => Fixed::default().now.to_bytes().to_vec(),
        name => return Err(format!("the constant {name} is unknown")),
    };
    same("value", &value, &expected.bytes("value"))
}

pub(crate) fn encoding(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let (text, bytes) = (inputs.text("text"), expected.bytes("bytes"));
    match inputs.text("encoding") {
        "utf-16-le" => same("bytes", &text::to_utf16le(text), &bytes),
        "oem" => same("bytes", &text::to_oem(text), &Some(bytes)),
        "oem14" => {
            // What LMOWFv1 pads by itself.
            let mut padded = text::to_oem(text).expect("letters of Latin-1");
            padded.resize(14, 0);
            same("bytes", &padded.to_ascii_uppercase(), &bytes)
        }
        other => Err(format!("the encoding {other} is unknown")),
    }
}

pub(crate) fn algorithm(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let data = inputs.bytes("data");
    let key = inputs.optional_bytes("key").unwrap_or_default();
    let output = match inputs.text("algorithm") {
        "md4" => primitive::md4(&[&data]).to_vec(),
        "md5" => primitive::md5(&[&data]).to_vec(),
        "hmac-md5" => primitive::hmac_md5(&key, &[&data]).to_vec(),
        "crc32" => primitive::crc32([&data[..]].into_iter()).to_le_bytes().to_vec(),
        "des" => primitive::des(array(&key), array(&data)).to_vec(),
        "desl" => primitive::desl(&array(&key), array(&data)).to_vec(),
        "rc4" if key.len() == 16 => {
            let mut output = data;
            rc4k(&array(&key), &mut output);
            output
        }
        "rc4" => {
            // Keys of other lengths than NTLM's are the crate's business alone.
            use rc4::{KeyInit as _, StreamCipher as _};
            let mut output = data;
            rc4::Rc4::new_from_slice(&key).expect("a key").apply_keystream(&mut output);
            output
        }
        other => return Err(format!("the algorithm {other} is unknown")),
    };
    same("output", &output, &expected.bytes("output"))
}

pub(crate) fn ntowf_v1(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let password = inputs.bytes("password_utf16le");
    same("ntowfv1", ntowf::ntowf_v1(&password).expose(), &expected.array("ntowfv1"))?;
    match text::from_utf16le(&password) {
        Some(text) => same("ntowfv1 of the text", &exposed(text.as_bytes()), &Some(expected.array("ntowfv1"))),
        None => Ok(()), // a service account's random bytes
    }
}

fn exposed(password: &[u8]) -> Option<[u8; 16]> {
    ntowf::nt_hash(password).ok().map(|hash| *hash.expose())
}

pub(crate) fn lmowf_v1(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let hash = expected.array::<16>("lmowfv1");
    same("lmowfv1", ntowf::lmowf_v1(&inputs.array("password_oem14")).expose(), &hash)?;
    match inputs.0["password"].as_str() {
        Some(password) => {
            let of_text = ntowf::lm_hash(password.as_bytes()).map(|hash| *hash.expose());
            same("lmowfv1 of the text", &of_text, &Some(hash))
        }
        None => Ok(()),
    }
}

pub(crate) fn ntlmv1_response(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let server_challenge = inputs.array("server_challenge");
    let hash = NtHash::new(inputs.array("ntowfv1"));
    let policy = inputs.text("lm_response_policy");
    let client_challenge = if policy == "ess" { inputs.array("client_challenge") } else { [0; 8] };
    let challenge = if policy == "ess" {
        response::combined_challenge(&server_challenge, &client_challenge)
    } else {
        server_challenge
    };
    let (nt_response, session_base_key) = response::ntlm_v1(&hash, &challenge);
    let lm_response = match policy {
        "ess" => [&client_challenge[..], &[0; 16]].concat(),
        "lm" => response::lm_v1(&LmHash::new(inputs.array("lmowfv1")), &server_challenge).to_vec(),
        _ => nt_response.to_vec(),
    };
    same("nt_response", &nt_response[..], &expected.bytes("nt_response"))?;
    same("lm_response", &lm_response, &expected.bytes("lm_response"))?;
    same("session_base_key", session_base_key.expose(), &expected.array("session_base_key"))
}

pub(crate) fn ntowf_v2(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let hash = NtHash::new(inputs.array("ntowfv1"));
    let key = ntowf::ntowf_v2(&hash, &inputs.bytes("user_upper_utf16le"), &inputs.bytes("domain_utf16le"));
    same("ntowfv2", key.expose(), &expected.array("ntowfv2"))
}

pub(crate) fn uppercase(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let user = inputs.bytes("utf16le");
    same("upper_utf16le", &text::upper_utf16le(&user), &expected.bytes("upper_utf16le"))?;
    let key = ntowf::ntowf_v2(&NtHash::new(inputs.array("ntowfv1")), &user, &inputs.bytes("domain_utf16le"));
    same("ntowfv2", key.expose(), &expected.array("ntowfv2"))
}

pub(crate) fn lmv2_response(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let key = ResponseKeyNt::new(inputs.array("ntowfv2"));
    let response = response::lm_v2(&key, &inputs.array("server_challenge"), &inputs.array("client_challenge"));
    same("lm_response", &response[..], &expected.bytes("lm_response"))
}

pub(crate) fn ntlmv2_response(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let temp = inputs.optional_bytes("temp").unwrap_or_else(|| {
        let (time, client) = (inputs.array("time"), inputs.array("client_challenge"));
        let mut temp = NtlmV2Response::encode_unproved(time, client, &inputs.bytes("target_info")).unwrap();
        temp.drain(..16);
        let trailer = inputs.bytes("trailer");
        if trailer != [0; 4] {
            temp.truncate(temp.len() - 4);
            temp.extend(trailer);
        }
        temp
    });
    same("temp", &temp, &expected.bytes("temp"))?;
    let key = ResponseKeyNt::new(inputs.array("ntowfv2"));
    let (nt_proof_str, session_base_key) = response::ntlm_v2(&key, &inputs.array("server_challenge"), &temp);
    same("nt_proof_str", nt_proof_str.as_bytes(), &expected.array("nt_proof_str"))?;
    same("nt_response", &[nt_proof_str.as_bytes(), &temp[..]].concat(), &expected.bytes("nt_response"))?;
    same("session_base_key", session_base_key.expose(), &expected.array("session_base_key"))
}

pub(crate) fn kxkey(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let session_base_key = SessionBaseKey::new(inputs.array("session_base_key"));
    let flags = if inputs.0["version"] == "v2" { NegotiateFlags::empty() } else { inputs.flags("flags") };
    let lm_response = inputs.optional_bytes("lm_response").unwrap_or_default();
    let lm_hash = inputs.optional_bytes("lmowfv1").map_or([0; 16], |hash| array(&hash));
    let server_challenge = inputs.optional_bytes("server_challenge").map_or([0; 8], |sent| array(&sent));
    let key = key_exchange_key(flags, &session_base_key, &LmHash::new(lm_hash), &server_challenge, &lm_response);
    same("key_exchange_key", key.expose(), &expected.array("key_exchange_key"))
}

/// KXKEY of NTLMv1, [MS-NLMP] 3.4.5.1; without any of its flags also of NTLMv2.
pub(crate) fn key_exchange_key(
    flags: NegotiateFlags, session_base_key: &SessionBaseKey, lm_hash: &LmHash, server_challenge: &[u8; 8],
    lm_response: &[u8],
) -> KeyExchangeKey {
    let lm_response = lm_response.first_chunk().unwrap_or(&[0; 8]);
    if flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        keys::kxkey_extended(session_base_key, server_challenge, lm_response)
    } else if flags.contains(NegotiateFlags::LM_KEY) {
        keys::kxkey_lm(lm_hash, lm_response)
    } else if flags.contains(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY) {
        keys::kxkey_non_nt(lm_hash)
    } else {
        keys::kxkey(session_base_key)
    }
}

pub(crate) fn encrypted_session_key(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let key = KeyExchangeKey::new(inputs.array("key_exchange_key"));
    let exported = ExportedSessionKey::new(inputs.array("exported_session_key"));
    let encrypted = keys::encrypt_session_key(&key, &exported);
    same("the key decrypted again", keys::decrypt_session_key(&key, encrypted).expose(), exported.expose())?;
    same("encrypted_random_session_key", &encrypted, &expected.array("encrypted_random_session_key"))
}

pub(crate) fn sign_key(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let key = ExportedSessionKey::new(inputs.array("exported_session_key"));
    let is_extended = inputs.flags("flags").contains(NegotiateFlags::EXTENDED_SESSIONSECURITY);
    let sign_key = keys::sign_and_seal_keys(&key, Strength::Bits128, direction(inputs)).0;
    // Without extended session security there is none.
    let sign_key = if is_extended { &sign_key.expose()[..] } else { &[] };
    same("sign_key", sign_key, &expected.bytes("sign_key"))
}

pub(crate) fn seal_key(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let key = ExportedSessionKey::new(inputs.array("exported_session_key"));
    let expected = expected.bytes("seal_key");
    // A key of eight bytes is the same to RC4 twice.
    let expected = if expected.len() == 8 { expected.repeat(2) } else { expected };
    same("seal_key", &vectors::seal_key(inputs.flags("flags"), &key, direction(inputs), None).expose()[..], &expected)
}

pub(crate) fn direction(inputs: Map<'_>) -> Direction {
    if inputs.text("sender") == "client" { Direction::ClientToServer } else { Direction::ServerToClient }
}

/// The sender makes what is expected, and the receiver takes it.
pub(crate) fn session(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let is_datagram = inputs.text("handle_policy") != "stream";
    let mut flags = inputs.flags("flags");
    if !flags.protects() {
        // Recorded from a peer that seals although nothing was negotiated. Ours does not, but the formulas are those of SEAL.
        let mut session = Session::new(Role::Initiator, flags, ExportedSessionKey::new([0; 16]), None);
        let refused = session.wrap(&mut [Buffer::Data(&mut [0; 8])]);
        same("wrapping", &refused, &Err(ApiMisuse::NoProtection.into()))?;
        flags |= NegotiateFlags::SEAL;
    }
    let (sender, receiver) = match inputs.text("sender") {
        "client" => (Role::Initiator, Role::Acceptor),
        _ => (Role::Acceptor, Role::Initiator),
    };
    let first = inputs.0["messages"][0]["seq_num"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let make = |role| match inputs.optional_bytes("exported_session_key") {
        Some(key) if is_datagram => Ok(Session::new(role, flags, ExportedSessionKey::new(array(&key)), None)),
        Some(key) => session_from(role, flags, &key, first),
        None => Ok(Session::with_keys(flags, array(&inputs.bytes("sign_key")), inputs.array("seal_key"))),
    };
    let (mut sender, mut receiver) = (make(sender)?, make(receiver)?);
    if inputs.0["exported_session_key"].is_null() {
        same("seal_key", &inputs.bytes("seal_key"), &expected.bytes("seal_key"))?;
        same("sign_key", &inputs.bytes("sign_key"), &expected.bytes("sign_key"))?;
    } else {
        sign_key(inputs, expected)?;
        seal_key(inputs, expected)?;
    }
    let mask = expected.optional_bytes("signature_mask").unwrap_or_else(|| vec![0xff; 16]);
    let messages = inputs.0["messages"].as_array().expect("messages");
    for (message, expected) in messages.iter().zip(expected.0["messages"].as_array().expect("messages")) {
        let (message, expected) = (Map(message), Map(expected));
        if is_datagram {
            for session in [&mut sender, &mut receiver] {
                session.set_seq_num(message.u32("seq_num")).map_err(|e| e.to_string())?;
            }
        }
        if message.text("op") == "reset" {
            sender.reset_crypto(Way::Send);
            receiver.reset_crypto(Way::Receive);
            continue;
        }
        let [data, prefix, suffix] =
            ["data", "prefix", "suffix"].map(|m| message.optional_bytes(m).unwrap_or_default());
        let signature = if message.text("op") == "sign" {
            let signature = sender.get_mic(&[&prefix, &data, &suffix]).map_err(|e| e.to_string())?;
            receiver.verify_mic(&[&prefix, &data, &suffix], &signature).map_err(|e| e.to_string())?;
            signature
        } else {
            let mut sealed = data.clone();
            let mut parts = [Buffer::SignOnly(&prefix), Buffer::Data(&mut sealed), Buffer::SignOnly(&suffix)];
            let signature = sender.wrap(&mut parts).map_err(|e| e.to_string())?;
            same("sealed", &sealed, &expected.bytes("sealed"))?;
            let mut parts = [Buffer::SignOnly(&prefix), Buffer::Data(&mut sealed), Buffer::SignOnly(&suffix)];
            receiver.unwrap(&mut parts, &signature).map_err(|e| e.to_string())?;
            same("the data unsealed again", &sealed, &data)?;
            signature
        };
        let masked = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect() };
        same("signature", &masked(&signature), &masked(&expected.bytes("signature")))?;
    }
    Ok(())
}

/// A session whose next sequence numbers are `seq_num`: what an exported one says there is replaced.
pub(crate) fn session_from(role: Role, flags: NegotiateFlags, key: &[u8], seq_num: u32) -> Result<Session, String> {
    let mut exported = Vec::new();
    Session::new(role, flags, ExportedSessionKey::new(array(key)), None).export(&mut exported);
    // One half or two, whose streams have not begun, behind the flags, three truths, and the key.
    for half in exported[23..].chunks_mut(5) {
        half[..4].copy_from_slice(&seq_num.to_le_bytes());
    }
    Session::import(role, &mut Reader::new(Message::ExportedContext, &exported)).map_err(|e| e.to_string())
}

pub(crate) fn mic(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let authenticate = inputs.bytes("authenticate");
    let offset = usize::try_from(inputs.u32("mic_offset")).expect("an offset");
    same("the MIC's place", &authenticate[offset..offset + MIC_LEN], &[0; MIC_LEN][..])?;
    let key = ExportedSessionKey::new(inputs.array("key"));
    let negotiate = inputs.optional_bytes("negotiate").unwrap_or_default();
    let mic = keys::mic(&key, &[&negotiate, &inputs.bytes("challenge"), &authenticate]);
    same("mic", mic.as_bytes(), &expected.array("mic"))
}

pub(crate) fn channel_bindings(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let owned = Bindings::new(&inputs.0["bindings"]);
    let bindings = owned.borrow();
    same("gss_channel_bindings_struct", &bindings.encode(), &expected.bytes("gss_channel_bindings_struct"))?;
    same("md5", &bindings.hash(), &expected.array("md5"))
}
