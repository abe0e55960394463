//! The server's side: ExpectNegotiate, ExpectAuthenticate, Established.

use std::{borrow::Cow, sync::Arc};

use crate::{
    audit::TargetName,
    bytes,
    cred::{Acceptor, Claim, CredStore, Credential, Env, Options, Usage},
    crypto::{ExportedSessionKey, KeyExchangeKey, keys},
    error::{Fault, FieldName, InvalidMessage, Message, PeerMisbehaved, PolicyError, Result},
    host::HostNames,
    name::{Attribute, Name, Principal},
    policy::{DatagramPolicy, MicPolicy, TargetNamePolicy},
    session::{Role, Session},
    text::{DisplayUtf16, from_utf16le, same_name},
    wire::{
        Authenticate, AvId, Challenge, Negotiate, NegotiateFlags, SIGNATURE, TargetInfo, TargetInfoBuilder, Version,
    },
};

use super::{
    Established,
    bindings::ChannelBindings,
    flags::{self, ContextFlags},
    response::{KeyMaterial, ReceivedResponse},
    transcript::Transcript,
    verify::{BindingsChecked, MicChecked, ProofVerified},
};

/// The arguments of `gss_accept_sec_context`.
#[derive(Clone, Copy)]
pub struct AcceptRequest<'a> {
    /// The acceptor's credential; `None` means the default one. Only that of the first call counts.
    pub credential: Option<&'a Credential>,
    /// Channel bindings to compare with the client's MsvAvChannelBindings.
    pub bindings: Option<ChannelBindings<'a>>,
    /// The client's token.
    pub token: &'a [u8],
    /// Where this runs.
    pub env: &'a Env<'a>,
}

/// The CHALLENGE_MESSAGE is sent.
#[derive(Debug)]
pub struct ExpectAuthenticate {
    /// NEGOTIATE_MESSAGE as received; empty in a connectionless handshake, which has none.
    pub negotiate: Vec<u8>,
    /// CHALLENGE_MESSAGE as sent: it has nearly everything that this side must remember.
    pub challenge: Vec<u8>,
    /// The sequence number of connectionless messages, once the application has set it.
    pub seq_num: Option<u32>,
    /// Whether it is connectionless because the application asked for that: then the default minimum does not hold.
    pub is_exempt: bool,
    /// The acceptor that the handshake began with.
    pub acceptor: Arc<Acceptor>,
}

/// With this token a program starts a connectionless handshake, which has no first message: the header of RFC 2743 3.1 with
/// the OID of NTLM, and nothing behind it. An empty token would not do: MIT krb5's mechglue passes it to SPNEGO.
const EMPTY_TOKEN_OF_NTLM: &[u8] = b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// The result of verifying an AUTHENTICATE_MESSAGE, which takes all three proofs.
struct Authenticated {
    proof: ProofVerified,
    mic: MicChecked,
    bindings: BindingsChecked,
    key: ExportedSessionKey,
}

/// Answers the NEGOTIATE_MESSAGE ([MS-NLMP] 3.2.5.1.1), or starts without one (3.2.5.2.1).
pub(super) fn start(request: &AcceptRequest<'_>) -> Result<ExpectAuthenticate> {
    let AcceptRequest { token, env, .. } = *request;
    env.policy.ensure_incoming()?;
    let default;
    let credential = match request.credential {
        Some(credential) => credential,
        None => {
            default = Credential::acquire(None, Usage::Accept, &CredStore::default(), env)?;
            &default
        }
    };
    let acceptor = Arc::clone(credential.acceptor()?);
    let flags = challenge_flags(token, credential.options(), env)?;
    let challenge = encode_challenge(flags, env)?;
    let is_datagram = flags.contains(NegotiateFlags::DATAGRAM);
    // The MIC does not cover a token that started a connectionless handshake ([MS-NLMP] 3.1.5.2.1).
    let negotiate = if is_datagram { Vec::new() } else { bytes::concat(&[token])? };
    let is_exempt = is_datagram && flags::ask_for_datagrams(credential.options(), &env.policy);
    Ok(ExpectAuthenticate { negotiate, challenge, seq_num: None, is_exempt, acceptor })
}

/// The flags of the CHALLENGE_MESSAGE that answers `token`, but for the type of its TargetName.
fn challenge_flags(token: &[u8], options: Options, env: &Env<'_>) -> Result<NegotiateFlags> {
    let Env { policy, host, .. } = env;
    let is_asked_for = flags::ask_for_datagrams(options, policy);
    // SPNEGO's peer could choose that the default minimum does not hold.
    let may_be_in_spnego = || host.is_called_by_spnego() != Some(false);
    if token.is_empty() || token == EMPTY_TOKEN_OF_NTLM || token == SIGNATURE {
        // The application makes the header by itself, but an empty or bare token may be what a client sent.
        let is_started_here = token == EMPTY_TOKEN_OF_NTLM && policy.datagram != DatagramPolicy::No;
        if !(is_asked_for || is_started_here) || may_be_in_spnego() {
            return Err(PolicyError::Datagram.into());
        }
        host.trace(format_args!("acceptor: starts a connectionless handshake"));
        return flags::datagram_challenge_flags(options, policy);
    }
    let mut offered = Negotiate::decode(token)?.flags;
    host.trace(format_args!("acceptor: got NEGOTIATE_MESSAGE, flags {offered}"));
    if offered.contains(NegotiateFlags::DATAGRAM) && (!is_asked_for || may_be_in_spnego()) {
        host.trace(format_args!("acceptor: does not agree to DATAGRAM, which its application did not ask for"));
        offered.remove(NegotiateFlags::DATAGRAM);
    }
    flags::challenge_flags(offered, options, policy)
}

/// Makes the CHALLENGE_MESSAGE.
fn encode_challenge(flags: NegotiateFlags, env: &Env<'_>) -> Result<Vec<u8>> {
    let host = env.host;
    let mut server_challenge = [0; 8];
    host.random(&mut server_challenge)?;
    let names = env.names();
    let (target_name, target_type) = if !flags.contains(NegotiateFlags::REQUEST_TARGET) {
        ("", NegotiateFlags::empty())
    } else if names.has_domain {
        (&*names.domain, NegotiateFlags::TARGET_TYPE_DOMAIN)
    } else {
        (&*names.computer, NegotiateFlags::TARGET_TYPE_SERVER)
    };
    let flags = flags | target_type;
    let challenge = Challenge {
        flags,
        server_challenge,
        // If OEM letters cannot spell the name, it is only in the target info.
        target_name: &flags.charset().encode(target_name).unwrap_or_default(),
        target_info: &target_info(&names, flags, env)?,
        version: flags.contains(NegotiateFlags::VERSION).then(|| Version(host.version())),
    };
    host.trace(format_args!("acceptor: sends CHALLENGE_MESSAGE, flags {flags}"));
    challenge.encode()
}

/// The AV_PAIRs of the CHALLENGE_MESSAGE.
fn target_info(names: &HostNames, flags: NegotiateFlags, env: &Env<'_>) -> Result<Vec<u8>> {
    let mut info = TargetInfoBuilder::default();
    info.push_text(AvId::MsvAvNbDomainName, &names.domain)?;
    info.push_text(AvId::MsvAvNbComputerName, &names.computer)?;
    for (id, name) in [
        (AvId::MsvAvDnsDomainName, &names.dns_domain),
        (AvId::MsvAvDnsComputerName, &names.dns_computer),
        (AvId::MsvAvDnsTreeName, &names.dns_tree),
    ] {
        if !name.is_empty() {
            info.push_text(id, name)?;
        }
    }
    if tells_time(flags, env) {
        info.push(AvId::MsvAvTimestamp, &env.host.now().to_bytes())?;
    } else {
        env.host.trace(format_args!("acceptor: does not tell its time, so that the client sends no MIC"));
    }
    Ok(info.finish())
}

/// Whether the CHALLENGE_MESSAGE gets a MsvAvTimestamp. A client that finds one sends a MIC and, inside SPNEGO, a mechListMIC.
/// Some versions of krb5 lose the mechListMIC, and the handshake fails.
fn tells_time(flags: NegotiateFlags, env: &Env<'_>) -> bool {
    let Env { policy, host, .. } = env;
    let is_lossy =
        policy.mic == MicPolicy::Auto && !flags.contains(NegotiateFlags::DATAGRAM) && host.is_called_by_lossy_spnego();
    if is_lossy && policy.require_mic {
        host.log(format_args!(
            "This krb5 loses the mechListMIC, so SPNEGO clients that send a MIC will fail: update krb5, or unset \
             GSS_NTLM_REQUIRE_MIC"
        ));
    }
    policy.require_mic || !is_lossy
}

impl ExpectAuthenticate {
    /// Whether the handshake is connectionless.
    pub(super) fn is_datagram(&self) -> bool {
        self.expected_flags().contains(ContextFlags::DATAGRAM)
    }

    /// The flags that the CHALLENGE_MESSAGE agrees to.
    pub(super) fn expected_flags(&self) -> ContextFlags {
        Challenge::decode(&self.challenge).map_or(ContextFlags::empty(), |challenge| flags::granted(challenge.flags))
    }

    /// Verifies the AUTHENTICATE_MESSAGE ([MS-NLMP] 3.2.5.1.2).
    pub(super) fn step(&self, request: &AcceptRequest<'_>) -> Result<Established> {
        let host = request.env.host;
        let received = Received::read(self, request)?;
        let Authenticated { proof, mic, bindings, key } = self.authenticate(&received, request)?;

        let (name, of_account) = proof.into_client();
        let (has_mic, is_bound) = (mic.has_mic(), bindings.is_bound());
        let mut flags = flags::granted(received.flags);
        flags.set(ContextFlags::CHANNEL_BOUND, is_bound);
        let kind = received.response.name();
        host.trace(format_args!(
            "acceptor: {name} is authenticated by {kind}, MIC {has_mic}, channel bindings {is_bound}"
        ));
        let account_domain = if let Name::User(user) = &name { user.domain.clone() } else { String::new() };
        let attributes = [
            (Attribute::Domain, Cow::Owned(account_domain)),
            (Attribute::Workstation, Cow::Owned(shown_workstation(&received.workstation).to_string())),
            (Attribute::Mic, Cow::Borrowed(if has_mic { "verified" } else { "none" })),
            (Attribute::ChannelBindings, Cow::Borrowed(if is_bound { "matched" } else { "none" })),
            (Attribute::Version, Cow::Borrowed(kind)),
        ];
        let version = received.authenticate.version;
        let mut session = Session::new(Role::Acceptor, received.flags, key, version).numbered(self.seq_num)?;
        if received.was_not_told_the_time() {
            session.forgive_lost_mech_list_mic();
        }
        Ok(Established {
            session,
            flags,
            initiator: Arc::new(Principal::new(name, attributes.into_iter().chain(of_account))),
            acceptor: Some(self.acceptor.name.clone()),
            has_mic,
        })
    }

    /// Verifies what was received: makes the three proofs.
    fn authenticate(&self, received: &Received<'_>, request: &AcceptRequest<'_>) -> Result<Authenticated> {
        let Env { policy, host, .. } = request.env;
        let Received { challenge, authenticate, response, flags, .. } = received;
        let client = response.target_info();
        if let Some(client) = client {
            host.trace(format_args!("acceptor: its target info is {client}"));
            client.ensure_no_duplicates(Message::Authenticate, FieldName::NtChallengeResponse)?;
        }
        let encrypted = encrypted_key(authenticate, *flags)?;

        let proof = ProofVerified::check(&self.acceptor.accounts, received.claim().as_ref(), request.env)?;
        let key = response.key_exchange_key(&KeyMaterial {
            flags: *flags,
            server_challenge: &challenge.server_challenge,
            lm_response: authenticate.lm_response,
            session_base_key: proof.session_base_key(),
            lm_hash: proof.lm_hash(),
        })?;
        let transcript =
            Transcript { negotiate: &self.negotiate, challenge: &self.challenge, authenticate: request.token };
        let candidates = exported_keys(key, encrypted, *flags).into_iter().flatten();
        let (mic, key) = MicChecked::check(client, &transcript, authenticate.mic_offset, candidates, policy)?;
        if let Some(client) = client {
            ensure_target_info_is_ours(challenge, client)?;
        }
        ensure_target_name(client, &self.acceptor, request.env)?;
        let bindings = BindingsChecked::check(client, request.bindings.as_ref(), policy.channel_bindings)?;
        Ok(Authenticated { proof, mic, bindings, key })
    }
}

/// How many letters of a Workstation are kept. A NetBIOS name has fifteen, but a client may send thousands.
const MAX_WORKSTATION: usize = 64;

/// The AUTHENTICATE_MESSAGE, decoded but not verified.
struct Received<'a> {
    challenge: Challenge<'a>,
    authenticate: Authenticate<'a>,
    /// What both sides agree on.
    flags: NegotiateFlags,
    /// UserName in UTF-16LE.
    user: Cow<'a, [u8]>,
    /// DomainName in UTF-16LE.
    domain: Cow<'a, [u8]>,
    /// Workstation in UTF-16LE.
    workstation: Cow<'a, [u8]>,
    response: ReceivedResponse<'a>,
}

impl<'a> Received<'a> {
    /// Decodes the AUTHENTICATE_MESSAGE in `request`, which answers the CHALLENGE_MESSAGE of `state`.
    fn read(state: &'a ExpectAuthenticate, request: &AcceptRequest<'a>) -> Result<Self> {
        let Env { policy, host, .. } = request.env;
        let challenge = Challenge::decode(&state.challenge)?;
        let authenticate = Authenticate::decode(request.token, challenge.flags)?;
        let mut flags = flags::agree_as_acceptor(challenge.flags, authenticate.flags, policy.minimum)?;
        let [user, domain, workstation] = [authenticate.user, authenticate.domain, authenticate.workstation]
            .map(|name| authenticate.charset.to_utf16le(name));
        host.trace(format_args!(
            "acceptor: got AUTHENTICATE_MESSAGE of {}\\{} from {}, flags {flags}",
            DisplayUtf16(&domain),
            DisplayUtf16(&user),
            shown_workstation(&workstation),
        ));
        let response = ReceivedResponse::read(&authenticate, flags, &challenge.server_challenge, policy)?;
        // After the version of the response: levels that accept NTLMv1 do without this, so the administrator needs one change.
        flags::ensure_strong(flags, policy, state.is_exempt)?;
        flags.set(NegotiateFlags::ANONYMOUS, matches!(response, ReceivedResponse::Anonymous));
        Ok(Self { challenge, authenticate, flags, user, domain, workstation, response })
    }

    /// What the client claims; `None` if the client is anonymous.
    fn claim(&self) -> Option<Claim<'_>> {
        let proof = self.response.proof(&self.challenge.server_challenge)?;
        Some(Claim { user: &self.user, domain: &self.domain, workstation: &self.workstation, proof })
    }

    /// Whether the CHALLENGE_MESSAGE has no MsvAvTimestamp, see [`tells_time`].
    fn was_not_told_the_time(&self) -> bool {
        TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, self.challenge.target_info)
            .is_ok_and(|sent| sent.timestamp().is_none())
    }
}

/// The beginning of a Workstation, for a person to read.
fn shown_workstation(workstation: &[u8]) -> DisplayUtf16<'_> {
    DisplayUtf16(workstation.get(..2 * MAX_WORKSTATION).unwrap_or(workstation))
}

/// EncryptedRandomSessionKey, where keys are exchanged ([MS-NLMP] 3.2.5.1.2): 16 bytes. If messages are not protected, it may
/// be missing, or be one byte, which pyspnego's clients send.
fn encrypted_key(authenticate: &Authenticate<'_>, flags: NegotiateFlags) -> Result<Option<[u8; 16]>> {
    if !flags.contains(NegotiateFlags::KEY_EXCH) {
        return Ok(None);
    }
    let sent = authenticate.encrypted_random_session_key;
    let fault = match (sent, flags.protects()) {
        ([] | [_], false) => return Ok(None),
        ([], true) => Fault::NoKey,
        _ => match sent.try_into() {
            Ok(encrypted) => return Ok(Some(encrypted)),
            Err(_) => Fault::WrongLength,
        },
    };
    Err(InvalidMessage { message: Message::Authenticate, field: FieldName::EncryptedRandomSessionKey, fault }.into())
}

/// What the ExportedSessionKey may be, likeliest first. Without SIGN and SEAL it is the KeyExchangeKey in the specification
/// and in Windows, and the decrypted key for other clients: only the MIC tells which.
fn exported_keys(
    key: KeyExchangeKey, encrypted: Option<[u8; 16]>, flags: NegotiateFlags,
) -> [Option<ExportedSessionKey>; 2] {
    let plain = ExportedSessionKey::new(*key.expose());
    match encrypted.map(|encrypted| keys::decrypt_session_key(&key, encrypted)) {
        Some(decrypted) if flags.protects() => [Some(decrypted), None],
        decrypted => [Some(plain), decrypted],
    }
}

/// Ensures that the names and the time that the client sends back are those of the CHALLENGE_MESSAGE. The client may leave
/// them out, and may have a time of its own if it was sent none.
fn ensure_target_info_is_ours(challenge: &Challenge<'_>, client: &TargetInfo<'_>) -> Result<()> {
    if challenge.target_info.is_empty() {
        return Ok(());
    }
    let sent = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info)?;
    let is_changed = client.pairs().any(|pair| match pair.id {
        AvId::MsvAvNbComputerName
        | AvId::MsvAvNbDomainName
        | AvId::MsvAvDnsComputerName
        | AvId::MsvAvDnsDomainName
        | AvId::MsvAvDnsTreeName => sent.find(pair.id) != Some(pair.value),
        AvId::MsvAvTimestamp => sent.find(pair.id).is_some_and(|time| time != pair.value),
        _ => false,
    });
    if is_changed { Err(PeerMisbehaved::ChangedTargetInfo.into()) } else { Ok(()) }
}

/// Compares MsvAvTargetName with the name that the acceptor was acquired with, if there is one.
fn ensure_target_name(client: Option<&TargetInfo<'_>>, acceptor: &Acceptor, env: &Env<'_>) -> Result<()> {
    let Env { policy, host, .. } = env;
    if policy.target_name == TargetNamePolicy::Off {
        return Ok(());
    }
    let (sent, own) = (sent_target(client), own_spn(acceptor));
    let (sent, own) = (sent.as_deref(), own.as_deref());
    match compare_target_names(sent, own) {
        TargetName::NotCompared => {
            host.trace(format_args!(
                "acceptor: it was acquired without a service's name, so the client's target is not compared"
            ));
            Ok(())
        }
        TargetName::Matched => Ok(()),
        TargetName::Differs | TargetName::NotNamed => {
            let [sent, own] = [sent, own].map(|name| name.unwrap_or("not named"));
            host.trace(format_args!("acceptor: the client's target is {sent}, ours is {own}"));
            if policy.target_name == TargetNamePolicy::Required { Err(PolicyError::TargetName.into()) } else { Ok(()) }
        }
    }
}

/// MsvAvTargetName, if it names something.
pub(super) fn sent_target(client: Option<&TargetInfo<'_>>) -> Option<String> {
    let sent = client.and_then(|client| client.find(AvId::MsvAvTargetName)).and_then(from_utf16le);
    sent.filter(|name| !name.is_empty())
}

/// The SPN that the acceptor was acquired with.
pub(super) fn own_spn(acceptor: &Acceptor) -> Option<String> {
    match &acceptor.name {
        Name::Service(service) if acceptor.is_named => service.spn(),
        Name::Service(_) | Name::User(_) | Name::Anonymous => None,
    }
}

/// The name that the client sent beside this side's own.
pub(super) fn compare_target_names(sent: Option<&str>, own: Option<&str>) -> TargetName {
    match (sent, own) {
        (_, None) => TargetName::NotCompared,
        (None, Some(_)) => TargetName::NotNamed,
        (Some(sent), Some(own)) if same_name(sent, own) => TargetName::Matched,
        (Some(_), Some(_)) => TargetName::Differs,
    }
}
