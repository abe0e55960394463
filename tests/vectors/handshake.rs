//! Whole handshakes: recorded ones, malformed ones, and that of [MS-NLMP] 4.2.4, through the real state machines.

use std::sync::Arc;

use gss_ntlm::{
    context::{AcceptRequest, Context, ContextFlags, ExpectAuthenticate, InitiateRequest},
    cred::{CredStore, Credential, Usage},
    crypto::{ExportedSessionKey, KeyExchangeKey, LmHash, NtHash, SessionBaseKey, keys, ntowf, response},
    error::{ApiMisuse, Error, PeerMisbehaved, PolicyError, Result},
    host::FileTime,
    name::{Attribute, Name, UserName},
    policy::{BindingsPolicy, DatagramPolicy, LmLevel, Minimum, Policy},
    session::{Buffer, Role, Session, split_token},
    text,
    wire::{Authenticate, Challenge, MIC_LEN, NegotiateFlags, NtlmV2Response, SIGNATURE},
};
use serde_json::Value;

use crate::{
    crypto::key_exchange_key,
    messages::same_pairs,
    support::{Accounts, Bindings, Fixed, Map, Outcome, array, env, hex, same, unhex},
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
    let acceptor = Arc::clone(credential.acceptor().map_err(|e| e.to_string())?);
    let mut context =
        Context::resume(ExpectAuthenticate { negotiate, challenge, seq_num: None, is_exempt: false, acceptor });
    let policy = Policy { lm_level: level(0), anonymous: true, ..Policy::default() };
    let host = Fixed::default();
    let request = AcceptRequest { credential: None, bindings: None, token: &token, env: &env(policy, &host) };
    let accepted = context.accept(&request);
    same("accept", &accepted.is_ok(), &expected.boolean("accept"))
        .map_err(|why| format!("{why}: {}", accepted.as_ref().err().map(ToString::to_string).unwrap_or_default()))?;

    let authenticate = Authenticate::decode(&token, NegotiateFlags::UNICODE).map_err(|e| e.to_string())?;
    same("flags", &authenticate.flags.map(|f| f.bits()), &Some(expected.u32("flags")))?;
    same("user", authenticate.user, &expected.bytes("user"))?;
    same("domain", authenticate.domain, &expected.bytes("domain"))?;
    same("workstation", authenticate.workstation, &expected.bytes("workstation"))?;
    let recorded = Recorded { authenticate, server_challenge: server_challenge?, account: &account };
    let session_base_key = match expected.text("version") {
        "ntlmv2" => recorded.ntlm_v2(inputs, expected)?,
        "ntlmv1" => recorded.ntlm_v1(&recorded.server_challenge, expected)?,
        "ntlmv1-ess" => {
            let client_challenge = recorded.authenticate.lm_response.first_chunk().ok_or("no client challenge")?;
            recorded.ntlm_v1(&response::combined_challenge(&recorded.server_challenge, client_challenge), expected)?
        }
        "lm-only" => recorded.lm()?,
        "anonymous" => SessionBaseKey::new([0; 16]),
        version => return Err(format!("the version {version} is unknown")),
    };
    same("session_base_key", session_base_key.expose(), &expected.array("session_base_key"))?;
    let key = recorded.key_exchange_key(&session_base_key, expected.text("version"));
    same("key_exchange_key", key.expose(), &expected.array("key_exchange_key"))?;

    let established = context.established().map_err(|e| e.to_string())?;
    let version = established.initiator.get(Attribute::Version).unwrap_or_default();
    let version_of_vector = match version {
        "NTLMv2" => "ntlmv2",
        "NTLMv1" if established.session.flags().contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) => "ntlmv1-ess",
        "NTLMv1" => "ntlmv1",
        "LM" => "lm-only",
        other => other,
    };
    same("version", &version_of_vector, &expected.text("version"))?;
    same("exported_session_key", established.session.key().expose(), &expected.array("exported_session_key"))?;
    let sent_mic = Map(&expected.0["mic"]);
    same("mic.present", &established.has_mic, &sent_mic.boolean("present"))?;
    if established.has_mic {
        same("mic.valid", &Some(true), &sent_mic.0["valid"].as_bool())?;
        let at = authenticate.mic_offset.unwrap_or_default();
        same("mic.offset", &u32::try_from(at).ok(), &Some(sent_mic.u32("offset")))?;
        same("mic.value", &token[at..at + MIC_LEN], &sent_mic.bytes("value"))?;
    }
    Ok(())
}

/// A recorded AUTHENTICATE_MESSAGE, and what its account knows.
struct Recorded<'a> {
    authenticate: Authenticate<'a>,
    server_challenge: [u8; 8],
    account: &'a Value,
}

impl Recorded<'_> {
    fn ntlm_v2(&self, inputs: Map<'_>, expected: Map<'_>) -> core::result::Result<SessionBaseKey, String> {
        let Authenticate { nt_response, user, flags, .. } = self.authenticate;
        let response = NtlmV2Response::decode(nt_response).map_err(|e| e.to_string())?;
        let info = response.client_challenge.target_info;
        same_pairs(&info, expected)?;
        same("ntlmv2_trailer", info.after_eol(), &expected.bytes("ntlmv2_trailer"))?;
        let identity = Map(&inputs.0["ntowfv2_identity"]);
        let (upper, domain) = (identity.bytes("user_upper_utf16le"), identity.bytes("domain_utf16le"));
        let user = flags.unwrap_or(NegotiateFlags::UNICODE).charset().to_utf16le(user);
        same("the user in upper case", &text::upper_utf16le(&user), &upper)?;
        let key = ntowf::ntowf_v2(&nt_hash(self.account), &user, &domain);
        same("response_key_nt", key.expose(), &expected.array("response_key_nt"))?;
        let (proof, session_base_key) = response::ntlm_v2(&key, &self.server_challenge, response.temp);
        same("nt_response_valid", &proof.matches(&response.nt_proof_str), &expected.boolean("nt_response_valid"))?;
        Ok(session_base_key)
    }

    fn ntlm_v1(&self, challenge: &[u8; 8], expected: Map<'_>) -> core::result::Result<SessionBaseKey, String> {
        let (response, session_base_key) = response::ntlm_v1(&nt_hash(self.account), challenge);
        let is_valid = self.authenticate.nt_response == response;
        same("nt_response_valid", &is_valid, &expected.boolean("nt_response_valid"))?;
        Ok(session_base_key)
    }

    fn lm(&self) -> core::result::Result<SessionBaseKey, String> {
        let hash = self.lm_hash();
        same("the LM response", self.authenticate.lm_response, &response::lm_v1(&hash, &self.server_challenge)[..])?;
        Ok(SessionBaseKey::new(*keys::kxkey_non_nt(&hash).expose()))
    }

    fn lm_hash(&self) -> LmHash {
        let password = self.account["password"].as_str().unwrap_or_default();
        ntowf::lm_hash(password.as_bytes()).unwrap_or_else(|| LmHash::new([0; 16]))
    }

    fn key_exchange_key(&self, session_base_key: &SessionBaseKey, version: &str) -> KeyExchangeKey {
        let flags = match version {
            "ntlmv2" | "anonymous" => NegotiateFlags::empty(),
            _ => self.authenticate.flags.unwrap_or(NegotiateFlags::empty()),
        };
        let lm_response = self.authenticate.lm_response;
        key_exchange_key(flags, session_base_key, &self.lm_hash(), &self.server_challenge, lm_response)
    }
}

/// The CHALLENGE_MESSAGE of a recording, or the shortest one with its ServerChallenge.
fn exchange_challenge(inputs: Map<'_>, token: &[u8]) -> Vec<u8> {
    inputs.optional_bytes("challenge").unwrap_or_else(|| {
        let flags = Authenticate::decode(token, NegotiateFlags::UNICODE)
            .expect("a recorded message")
            .flags
            .unwrap_or(NegotiateFlags::empty());
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
        // The reference does not know the tokens that start a connectionless handshake. Ours takes them, for that.
        "accept_negotiate" if token.is_empty() || token == SIGNATURE => return starts_connectionless(&token, context),
        "accept_negotiate" => accept(None, &token, context, expected),
        "accept_authenticate" => {
            let before = (context.optional_bytes("negotiate").unwrap_or_default(), context.bytes("challenge"));
            accept(Some(before), &token, context, expected)
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
        Err(Error::BadSignature(_)) => "bad_sig",
        Err(_) => "reject_auth",
    };
    if acceptable.contains(&outcome) { Ok(()) } else { Err(format!("{got:?} is {outcome}, not one of {acceptable:?}")) }
}

fn starts_connectionless(token: &[u8], circumstances: Map<'_>) -> Outcome {
    let accounts = Accounts::new(&[]);
    let credential = accounts.acceptor();
    let policy = Policy { minimum: minimum(circumstances), datagram: DatagramPolicy::Yes, ..Policy::default() };
    let host = Fixed::default();
    let request = AcceptRequest { credential: Some(&credential), bindings: None, token, env: &env(policy, &host) };
    let mut context = Context::new(Role::Acceptor);
    context.accept(&request).map_err(|e| e.to_string())?;
    same("whether it is connectionless", &context.flags().contains(ContextFlags::DATAGRAM), &true)
}

/// The acceptor's step that takes `token`, after the two messages in `before`, if there were any.
fn accept(before: Option<(Vec<u8>, Vec<u8>)>, token: &[u8], circumstances: Map<'_>, expected: Map<'_>) -> Result<()> {
    let accounts =
        Accounts::new(&circumstances.0["credentials"].as_array().map_or_else(Vec::new, |all| all.iter().collect()));
    let credential = accounts.acceptor();
    let acceptor = Arc::clone(credential.acceptor()?);
    let mut context = match before {
        None => Context::new(Role::Acceptor),
        Some((negotiate, challenge)) => {
            Context::resume(ExpectAuthenticate { negotiate, challenge, seq_num: None, is_exempt: false, acceptor })
        }
    };
    let owned = circumstances.0.get("channel_bindings").map(Bindings::new);
    let allows = |what: &str| circumstances.0[what] == true;
    let policy = Policy {
        lm_level: level(if allows("allow_ntlmv1") { 2 } else { 3 }),
        anonymous: allows("allow_anonymous"),
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
    let request = AcceptRequest { credential: Some(&credential), bindings, token, env: &env(policy, &host) };
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
        env: &env(policy, &host),
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
    let mut session = Session::new(role, circumstances.flags("flags"), key, None);
    if session.is_datagram() {
        session.set_seq_num(circumstances.u32("expected_seq_num"))?;
    }
    if circumstances.text("call") == "verify_mic" {
        session.verify_mic(&[&circumstances.bytes("message")], token)
    } else {
        let (signature, sealed) = split_token(token)?;
        session.unwrap(&mut [Buffer::Data(&mut sealed.to_vec())], signature)
    }
}

pub(crate) fn minimum(circumstances: Map<'_>) -> Minimum {
    if circumstances.0["require_128"] == true { Minimum::BITS_128 } else { Minimum::empty() }
}

fn level(number: u8) -> LmLevel {
    LmLevel::new(number).expect("a level")
}

#[test]
fn the_whole_messages_of_ms_nlmp_4_2_2_come_out_byte_for_byte() {
    // The text's AUTHENTICATE_MESSAGE has TARGET_INFO, which its CHALLENGE_MESSAGE lacks.
    let (token, mut context) = answer(
        0,
        "4e544c4d53535000020000000c000c0038000000338202e20123456789abcdef0000000000000000000000000000000000060070170000000f\
         530065007200760065007200",
        NegotiateFlags::TARGET_INFO,
    );
    assert_eq!(
        token,
        "4e544c4d5353500003000000180018006c00000018001800840000000c000c00480000000800080054000000100010005c00000010001000\
         9c000000358280e20501280a0000000f44006f006d00610069006e00550073006500720043004f004d0050005500540045005200\
         98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13\
         67c43011f30298a2ad35ece64f16331c44bdbed927841f94\
         518822b1b3f350c8958682ecbb3e3cb7"
    );
    // 4.2.2.4, but for the RandomPad, which only that example keeps.
    let mut data = text::to_utf16le("Plaintext");
    let signature = context.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    assert_eq!(hex(&data), "56fe04d861f9319af0d7238a2e3b4d457fb8");
    assert_eq!(hex(&signature), "010000000000000009dcd1df2e459d36");
}

#[test]
fn the_whole_messages_of_ms_nlmp_4_2_3_come_out_byte_for_byte() {
    let (token, mut context) = answer(
        2,
        "4e544c4d53535000020000000c000c003800000033820a820123456789abcdef0000000000000000000000000000000000060070170000000f\
         530065007200760065007200",
        NegotiateFlags::empty(),
    );
    assert_eq!(
        token,
        "4e544c4d5353500003000000180018006c00000018001800840000000c000c00480000000800080054000000100010005c00000000000000\
         9c000000358208820501280a0000000f44006f006d00610069006e00550073006500720043004f004d0050005500540045005200\
         aaaaaaaaaaaaaaaa00000000000000000000000000000000\
         7537f803ae367128ca458204bde7caf81e97ed2683267232"
    );
    // 4.2.3.4.
    let mut data = text::to_utf16le("Plaintext");
    let signature = context.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    assert_eq!(hex(&data), "a02372f6530273f3aa1eb90190ce5200c99d");
    assert_eq!(hex(&signature), "01000000ff2aeb52f681793a00000000");
}

/// What the initiator of [MS-NLMP] 4.2 answers at that level, with `added` flags, and its context.
fn answer(lm_level: u8, challenge: &str, added: NegotiateFlags) -> (String, Context) {
    let challenge = unhex(challenge);
    let policy = Policy { lm_level: level(lm_level), ..Policy::default() };
    let name = Name::User(UserName { user: "User".to_owned(), domain: "Domain".to_owned() });
    let store = CredStore::default().with_password(b"Password").unwrap();
    let host = Fixed::default();
    let credential = Credential::acquire(Some(&name), Usage::Initiate, &store, &env(policy, &host)).unwrap();
    let mut context = Context::new(Role::Initiator);
    let mut request = InitiateRequest {
        credential: &credential,
        target: None,
        requested: ContextFlags::INTEG | ContextFlags::CONF,
        bindings: None,
        token: &[],
        env: &env(policy, &host),
    };
    context.initiate(&request).unwrap();
    request.token = &challenge;
    let mut token = context.initiate(&request).unwrap();
    assert!(context.is_established());
    token[60..64].iter_mut().zip(added.bits().to_le_bytes()).for_each(|(byte, added)| *byte |= added);
    (hex(&token), context)
}

#[test]
fn the_whole_messages_of_ms_nlmp_4_2_4_come_out_byte_for_byte() {
    let challenge = "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef000000000000000024002400440000000600\
         70170000000f53006500720076006500720002000c0044006f006d00610069006e0001000c0053006500720076006500720000000000";
    let (token, mut context) = answer(3, challenge, NegotiateFlags::empty());
    assert_eq!(
        token,
        "4e544c4d5353500003000000180018006c00000054005400840000000c000c00480000000800080054000000100010005c00000010001000\
         d8000000358288e20501280a0000000f44006f006d00610069006e00550073006500720043004f004d0050005500540045005200\
         86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa\
         68cd0ab851e51c96aabc927bebef6a1c01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d0061\
         0069006e0001000c005300650072007600650072000000000000000000c5dad2544fc9799094ce1ce90bc9d03e"
    );

    // And as the codec alone reads and writes them.
    let [challenge, token] = [challenge, &token].map(unhex);
    assert_eq!(Challenge::decode(&challenge).unwrap().encode().as_deref(), Ok(&challenge[..]));
    let authenticate = Authenticate::decode(&token, NegotiateFlags::empty()).unwrap();
    assert_eq!(authenticate.encode().as_deref(), Ok(&token[..]));

    // 4.2.4.4: the first message of that session.
    let mut data = text::to_utf16le("Plaintext");
    let signature = context.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    assert_eq!(hex(&data), "54e50165bf1936dc996020c1811b0f06fb5f");
    assert_eq!(hex(&signature), "010000007fb38ec5c55d497600000000");
}

pub(crate) fn credential(name: &Name, password: &str) -> Credential {
    let store = CredStore::default().with_password(password.as_bytes()).expect("a password");
    let (policy, host) = (Policy::default(), Fixed::default());
    Credential::acquire(Some(name), Usage::Initiate, &store, &env(policy, &host)).expect("a credential")
}

pub(crate) fn nt_hash(account: &Value) -> NtHash {
    match account["nt_hash"].as_str() {
        Some(hash) => NtHash::new(array(&unhex(hash))),
        None => ntowf::nt_hash(account["password"].as_str().expect("a password").as_bytes()).expect("text"),
    }
}
