//! Whole handshakes: recorded ones, malformed ones, and that of [MS-NLMP] 4.2.4, through the real state machines.

use gss_ntlm::{
    bytes::Reader,
    context::{AcceptRequest, Context, ContextFlags, ExpectAuthenticate, InitiateRequest},
    cred::{CredStore, Credential, Usage},
    crypto::{ExportedSessionKey, NtHash, keys, ntowf, response},
    error::{ApiMisuse, Error, Fault, FieldName, Message, PeerMisbehaved, PolicyError, Result},
    host::FileTime,
    name::{Name, UserName},
    policy::{BindingsPolicy, Minimum, Policy},
    session::{Buffer, Role, Session},
    text,
    wire::{Authenticate, AvFlags, Challenge, MIC_LEN, MessageSignature, NegotiateFlags, NtlmV2Response},
};
use serde_json::Value;

use crate::{
    messages::same_pairs,
    support::{Accounts, Bindings, Fixed, Map, Outcome, array, hex, same, unhex},
};

/// The AUTHENTICATE_MESSAGE is judged by a real acceptor that has sent the CHALLENGE_MESSAGE of the recording.
pub(crate) fn exchange(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let token = inputs.bytes("authenticate");
    let challenge = exchange_challenge(inputs, &token);
    let negotiate = inputs.optional_bytes("negotiate").unwrap_or_default();
    let mut account = inputs.0["credentials"].clone();
    for (part, sent) in [("user", "user_text"), ("domain", "domain_text")] {
        if account[part].is_null() {
            account[part] = expected.0[sent].clone();
        }
    }
    let accounts = Accounts::new(&[&account]);
    let credential = accounts.acceptor();
    let server_challenge = Challenge::decode(&challenge).map(|sent| sent.server_challenge).map_err(|e| e.to_string());
    let mut context = Context::resume(ExpectAuthenticate { negotiate, challenge });
    let policy = Policy::default();
    let host = Fixed::default();
    let request =
        AcceptRequest { credential: &credential, bindings: None, token: &token, policy: &policy, host: &host };
    let accepted = context.accept(&request);
    same("accept", &accepted.is_ok(), &expected.boolean("accept"))
        .map_err(|why| format!("{why}: {}", accepted.as_ref().err().map(ToString::to_string).unwrap_or_default()))?;

    let authenticate = Authenticate::decode(&token).map_err(|e| e.to_string())?;
    same("flags", &authenticate.flags.map(|f| f.bits()), &Some(expected.u32("flags")))?;
    same("user", authenticate.user, &expected.bytes("user"))?;
    same("domain", authenticate.domain, &expected.bytes("domain"))?;
    same("workstation", authenticate.workstation, &expected.bytes("workstation"))?;
    let response = NtlmV2Response::decode(authenticate.nt_response).map_err(|e| e.to_string())?;
    let info = response.client_challenge.target_info;
    same_pairs(&info, expected)?;
    same("ntlmv2_trailer", info.after_eol(), &expected.bytes("ntlmv2_trailer"))?;

    let identity = Map(&inputs.0["ntowfv2_identity"]);
    let (user, domain) = (identity.bytes("user_upper_utf16le"), identity.bytes("domain_utf16le"));
    same("the user in upper case", &text::upper_utf16le(authenticate.user), &user)?;
    let key = ntowf::ntowf_v2(&nt_hash(&inputs.0["credentials"]), authenticate.user, &domain);
    same("response_key_nt", key.expose(), &expected.array("response_key_nt"))?;
    let server_challenge = server_challenge?;
    let (proof, session_base_key) = response::ntlm_v2(&key, &server_challenge, response.temp);
    same("nt_response_valid", &proof.matches(&response.nt_proof_str), &expected.boolean("nt_response_valid"))?;
    same("session_base_key", session_base_key.expose(), &expected.array("session_base_key"))?;
    same("key_exchange_key", keys::kxkey_v2(&session_base_key).expose(), &expected.array("key_exchange_key"))?;
    same("version", &"ntlmv2", &expected.text("version"))?;

    let has_mic = context.established().map_err(|e| e.to_string())?.has_mic;
    let session = context.session().map_err(|e| e.to_string())?;
    same("exported_session_key", session.key().expose(), &expected.array("exported_session_key"))?;
    let sent_mic = Map(&expected.0["mic"]);
    same("mic.present", &info.flags().contains(AvFlags::MIC), &sent_mic.boolean("present"))?;
    if has_mic {
        same("mic.valid", &Some(true), &sent_mic.0["valid"].as_bool())?;
        same(
            "mic.offset",
            &authenticate.mic_offset.and_then(|at| u32::try_from(at).ok()),
            &Some(sent_mic.u32("offset")),
        )?;
        let at = authenticate.mic_offset.unwrap_or_default();
        same("mic.value", &token[at..at + MIC_LEN], &sent_mic.bytes("value"))?;
    }
    Ok(())
}

/// The CHALLENGE_MESSAGE of a recording, or the shortest one with its ServerChallenge.
fn exchange_challenge(inputs: Map<'_>, token: &[u8]) -> Vec<u8> {
    inputs.optional_bytes("challenge").unwrap_or_else(|| {
        let flags = Authenticate::decode(token).expect("a recorded message").flags.unwrap_or(NegotiateFlags::empty());
        let server_challenge = inputs.array("server_challenge");
        let challenge = Challenge { flags, server_challenge, target_name: &[], target_info: &[], version: None };
        challenge.encode().expect("a short message")
    })
}

/// The malformed token goes through the real state machine.
pub(crate) fn malformed(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let token = inputs.token();
    let context = Map(&inputs.0["context"]);
    let acceptable: Vec<_> =
        expected.0["acceptable"].as_array().expect("a list").iter().map(|o| o.as_str().unwrap()).collect();
    let got = match inputs.text("target") {
        "accept_negotiate" => accept(Context::new(Role::Acceptor), &token, context, expected),
        "accept_authenticate" => {
            let (negotiate, challenge) =
                (context.optional_bytes("negotiate").unwrap_or_default(), context.bytes("challenge"));
            accept(Context::resume(ExpectAuthenticate { negotiate, challenge }), &token, context, expected)
        }
        "init_challenge" => initiate(&token, context),
        "message" => receive(&token, context, inputs),
        other => return Err(format!("the target {other} is unknown")),
    };
    let outcome = match &got {
        Ok(()) => "accept",
        Err(Error::InvalidMessage(_)) => "defective_token",
        Err(Error::PeerMisbehaved(PeerMisbehaved::WrongBindings) | Error::Policy(PolicyError::BindingsRequired)) => {
            "bad_bindings"
        }
        Err(Error::PeerMisbehaved(PeerMisbehaved::BadSignature(_))) => "bad_sig",
        Err(Error::ApiMisuse(ApiMisuse::NoProtection)) => return Err("not there yet".to_owned()),
        Err(_) => "reject_auth",
    };
    if acceptable.contains(&outcome) { Ok(()) } else { Err(format!("{got:?} is {outcome}, not one of {acceptable:?}")) }
}

pub(crate) fn accept(mut context: Context, token: &[u8], circumstances: Map<'_>, expected: Map<'_>) -> Result<()> {
    let accounts =
        Accounts::new(&circumstances.0["credentials"].as_array().map_or_else(Vec::new, |all| all.iter().collect()));
    let credential = accounts.acceptor();
    let owned = circumstances.0.get("channel_bindings").map(Bindings::new);
    let policy = Policy {
        minimum: minimum(circumstances),
        channel_bindings: if expected.text("outcome") == "bad_bindings" {
            BindingsPolicy::Required
        } else {
            BindingsPolicy::WhenSent
        },
        ..Policy::default()
    };
    let bindings = owned.as_ref().map(Bindings::borrow);
    let host = Fixed::default();
    let request = AcceptRequest { credential: &credential, bindings, token, policy: &policy, host: &host };
    let result = context.accept(&request).map(drop);
    if result.is_err() {
        let again = context.accept(&request).expect_err("a failed context stays failed");
        assert_eq!(again, Error::ApiMisuse(ApiMisuse::NoContext));
    }
    result
}

pub(crate) fn initiate(token: &[u8], circumstances: Map<'_>) -> Result<()> {
    let name = Name::User(UserName { user: "Alice".to_owned(), domain: "EXAMPLE".to_owned() });
    let credential = credential(&name, "Secret-123");
    let requested = if circumstances.boolean("integrity") { ContextFlags::INTEG } else { ContextFlags::empty() };
    let policy = Policy { minimum: minimum(circumstances), ..Policy::default() };
    // The time of the challenges.
    let host = Fixed { now: FileTime::from_bytes([0x00, 0x50, 0x39, 0x27, 0x8c, 0x0c, 0xd3, 0x01]) };
    let mut context = Context::new(Role::Initiator);
    let mut request = InitiateRequest {
        credential: &credential,
        target: None,
        requested,
        bindings: None,
        token: &[],
        policy: &policy,
        host: &host,
    };
    context.initiate(&request)?;
    request.token = token;
    let result = context.initiate(&request).map(drop);
    if result.is_err() {
        let again = context.initiate(&request).expect_err("a failed context stays failed");
        assert_eq!(again, Error::ApiMisuse(ApiMisuse::NoContext));
    }
    result
}

pub(crate) fn receive(token: &[u8], circumstances: Map<'_>, inputs: Map<'_>) -> Result<()> {
    // The side that expects the client's messages; a reflected one is the receiver's own.
    let role = if inputs.0["context"]["sender"] == "client" { Role::Acceptor } else { Role::Initiator };
    let key = ExportedSessionKey::new(circumstances.array("exported_session_key"));
    let mut session = Session::new(role, circumstances.flags("flags"), key);
    let wrong_length = |message| {
        let reader = Reader::new(message, &[]);
        reader.error(FieldName::Token, Fault::WrongLength)
    };
    if circumstances.text("call") == "verify_mic" {
        let signature = token.try_into().map_err(|_| wrong_length(Message::MicToken))?;
        session.verify_mic(&[&circumstances.bytes("message")], &MessageSignature(signature))
    } else {
        let (signature, sealed) = token.split_first_chunk().ok_or_else(|| wrong_length(Message::WrapToken))?;
        session.unwrap(&mut [Buffer::Data(&mut sealed.to_vec())], &MessageSignature(*signature))
    }
}

pub(crate) fn minimum(circumstances: Map<'_>) -> Minimum {
    if circumstances.0["require_128"] == true { Minimum::BITS_128 } else { Minimum::empty() }
}

#[test]
pub(crate) fn the_whole_messages_of_ms_nlmp_4_2_4_come_out_byte_for_byte() {
    let challenge = unhex(
        "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef00000000000000002400240044000000060070170000000f\
         53006500720076006500720002000c0044006f006d00610069006e0001000c0053006500720076006500720000000000",
    );
    let authenticate = "4e544c4d5353500003000000180018006c00000054005400840000000c000c00480000000800080054000000100010005c000000\
         10001000d8000000358288e20501280a0000000f44006f006d00610069006e00550073006500720043004f004d0050005500540045005200\
         86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa\
         68cd0ab851e51c96aabc927bebef6a1c01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d0061\
         0069006e0001000c005300650072007600650072000000000000000000c5dad2544fc9799094ce1ce90bc9d03e";
    let name = Name::User(UserName { user: "User".to_owned(), domain: "Domain".to_owned() });
    let credential = credential(&name, "Password");
    let (policy, host) = (Policy::default(), Fixed::default());
    let mut context = Context::new(Role::Initiator);
    let mut request = InitiateRequest {
        credential: &credential,
        target: None,
        requested: ContextFlags::INTEG | ContextFlags::CONF,
        bindings: None,
        token: &[],
        policy: &policy,
        host: &host,
    };
    let negotiate = context.initiate(&request).unwrap();
    assert!(!negotiate.is_established);
    request.token = &challenge;
    let step = context.initiate(&request).unwrap();
    assert!(step.is_established);
    assert_eq!(hex(&step.token), authenticate);

    // And as the codec alone reads and writes them.
    assert_eq!(Challenge::decode(&challenge).unwrap().encode().as_deref(), Ok(&challenge[..]));
    assert_eq!(Authenticate::decode(&step.token).unwrap().encode().as_deref(), Ok(&step.token[..]));

    // 4.2.4.4: the first message of that session.
    let mut data = text::to_utf16le("Plaintext");
    let signature = context.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    assert_eq!(hex(&data), "54e50165bf1936dc996020c1811b0f06fb5f");
    assert_eq!(hex(&signature.0), "010000007fb38ec5c55d497600000000");
}

pub(crate) fn credential(name: &Name, password: &str) -> Credential {
    let store = CredStore::with_password(password).expect("a password");
    Credential::acquire(Some(name), Usage::Initiate, &store, &Fixed::default()).expect("a credential")
}

pub(crate) fn nt_hash(account: &Value) -> NtHash {
    match account["nt_hash"].as_str() {
        Some(hash) => NtHash::new(array(&unhex(hash))),
        None => ntowf::nt_hash(account["password"].as_str().expect("a password")),
    }
}
