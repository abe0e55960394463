//! The client's side: Start, ExpectChallenge, Established.

use zeroize::Zeroizing;

use crate::{
    cred::{CachedLogon, Challenged, Credential, Env, Initiator, Response},
    crypto::{ExportedSessionKey, KeyExchangeKey, keys},
    error::{ApiMisuse, CredentialError, DomainError, FieldName, Message, PeerIncompatible, Result},
    host::{FileTime, Host},
    name::Name,
    policy::{BindingsPolicy, MicPolicy, Policy, TargetInfoPolicy},
    session::{Role, Session},
    text::{Charset, DisplayUtf16, from_utf16le, same_name, to_utf16le},
    wire::{
        Authenticate, AvFlags, AvId, Challenge, MIC_LEN, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo,
        TargetInfoBuilder, Version,
    },
};

use super::{
    Established,
    bindings::ChannelBindings,
    flags::{self, ContextFlags},
    response::SentResponse,
    transcript::Transcript,
};

/// What `gss_init_sec_context` is called with.
#[derive(Clone, Copy)]
pub struct InitiateRequest<'a> {
    /// Who initiates.
    pub credential: &'a Credential,
    /// The service meant, whose SPN is sent as MsvAvTargetName.
    pub target: Option<&'a Name>,
    /// What is asked for; the first call's count.
    pub requested: ContextFlags,
    /// Sent as MsvAvChannelBindings.
    pub bindings: Option<ChannelBindings<'a>>,
    /// The peer's token; nothing at first.
    pub token: &'a [u8],
    /// Where this runs.
    pub env: &'a Env<'a>,
}

impl<'a> InitiateRequest<'a> {
    /// Who initiates.
    fn initiator(&self) -> Result<&'a Initiator> {
        let initiator = self.credential.initiator()?;
        Ok(if self.requested.contains(ContextFlags::ANON) { &Initiator::Anonymous } else { initiator })
    }
}

/// The NEGOTIATE_MESSAGE is out, or there is none because the handshake is connectionless.
#[derive(Debug)]
pub(super) struct ExpectChallenge {
    /// What NEGOTIATE_MESSAGE offers, or would, and whether nobody in particular initiates.
    pub offered: NegotiateFlags,
    /// The message as sent; nothing where there is none.
    pub negotiate: Vec<u8>,
    pub requested: ContextFlags,
    /// SPNEGO asked about the MIC.
    pub is_in_spnego: bool,
    /// The number of connectionless messages, once the application has said it.
    pub seq_num: Option<u32>,
}

/// Makes the NEGOTIATE_MESSAGE ([MS-NLMP] 3.1.5.1.1), or nothing of a connectionless handshake (3.1.5.2).
pub(super) fn start(request: &InitiateRequest<'_>) -> Result<ExpectChallenge> {
    let InitiateRequest { requested, env: Env { policy, host, .. }, .. } = *request;
    let is_datagram = requested.contains(ContextFlags::DATAGRAM);
    if !request.token.is_empty() && !is_datagram {
        return Err(ApiMisuse::NoContext.into()); // a CHALLENGE_MESSAGE without a NEGOTIATE_MESSAGE before it
    }
    let initiator = request.initiator()?;
    let has_lm_hash = matches!(initiator, Initiator::Account(account) if account.secret.lm_hash.is_some());
    let offered = flags::negotiate_flags(requested, request.credential.options(), policy, has_lm_hash);
    let negotiate = if is_datagram {
        host.trace(format_args!("initiator: starts a connectionless handshake, would take flags {offered}"));
        Vec::new()
    } else {
        host.trace(format_args!("initiator: sends NEGOTIATE_MESSAGE, flags {offered}"));
        let version = Some(Version(host.version()));
        Negotiate { flags: offered, domain: &[], workstation: &[], version }.encode()?
    };
    // Nobody says in a NEGOTIATE_MESSAGE to be nobody, but the application is told at once.
    let is_anonymous = matches!(initiator, Initiator::Anonymous);
    let anonymous = if is_anonymous { NegotiateFlags::ANONYMOUS } else { NegotiateFlags::empty() };
    let offered = offered | anonymous;
    Ok(ExpectChallenge { offered, negotiate, requested, is_in_spnego: false, seq_num: None })
}

impl ExpectChallenge {
    /// What was offered.
    pub(super) fn expected_flags(&self) -> ContextFlags {
        flags::granted(self.offered)
    }

    /// Answers the CHALLENGE_MESSAGE ([MS-NLMP] 3.1.5.1.2).
    pub(super) fn step(self, request: &InitiateRequest<'_>) -> Result<(Established, Vec<u8>)> {
        // What the first call asked for counts.
        let request = &InitiateRequest { requested: self.requested, ..*request };
        let InitiateRequest { credential, env, .. } = *request;
        let Env { policy, host, .. } = env;
        // Who began as nobody stays nobody, whatever credential the second call brings.
        let is_anonymous = self.offered.contains(NegotiateFlags::ANONYMOUS);
        let initiator = if is_anonymous { &Initiator::Anonymous } else { request.initiator()? };

        let challenge = Challenge::decode(request.token)?;
        host.trace(format_args!(
            "initiator: got CHALLENGE_MESSAGE from {}, flags {}",
            DisplayUtf16(&challenge.flags.charset().to_utf16le(challenge.target_name)),
            challenge.flags
        ));
        let server = server_info(&challenge)?;
        if let Some(server) = &server {
            host.trace(format_args!("initiator: its target info is {server}"));
        }
        let required = flags::required(self.requested, credential.options(), policy.minimum);
        let mut flags = flags::agree_as_initiator(self.offered, challenge.flags, required)?;
        flags.set(NegotiateFlags::ANONYMOUS, matches!(initiator, Initiator::Anonymous));

        let mut client_challenge = [0; 8];
        host.random(&mut client_challenge)?;
        let mut has_mic = false;
        let answer = match initiator {
            Initiator::Anonymous => SentResponse::anonymous(),
            Initiator::CachedLogon(logon) => {
                ensure_target_info(server.as_ref(), required, policy)?;
                ensure_time_is_near(server.and_then(|server| server.timestamp()), env)?;
                return self.forward(logon, flags, required, request);
            }
            Initiator::Account(account) if !policy.lm_level.sends_ntlm_v2() => {
                SentResponse::ntlm_v1(account, flags, &challenge.server_challenge, client_challenge, policy.lm_level)?
            }
            Initiator::Account(account) => {
                ensure_target_info(server.as_ref(), required, policy)?;
                let timestamp = server.and_then(|server| server.timestamp());
                ensure_time_is_near(timestamp, env)?;
                has_mic = timestamp.is_some() && self.may_have_mic(env);
                let time = timestamp.unwrap_or_else(|| host.now().to_bytes());
                let info = client_info(server.as_ref(), has_mic, request)?;
                let has_timestamp = timestamp.is_some();
                SentResponse::ntlm_v2(
                    account,
                    &challenge.server_challenge,
                    client_challenge,
                    time,
                    &info,
                    has_timestamp,
                )
            }
        };
        let (exported, encrypted) = exported_key(flags, answer.key, *host)?;

        let charset = flags.charset();
        let version = flags.contains(NegotiateFlags::VERSION).then(|| Version(host.version()));
        let name = initiator.name();
        let (user, domain) = if let Name::User(name) = &name { (&*name.user, &*name.domain) } else { ("", "") };
        let mut token = Authenticate {
            lm_response: &answer.lm_response,
            nt_response: &answer.nt_response,
            charset,
            domain: &encode(charset, domain)?,
            user: &encode(charset, user)?,
            // Nobody relies on it, and its letters need not be OEM's.
            workstation: &charset.encode(&host.names().net_bios_name()).unwrap_or_default(),
            encrypted_random_session_key: encrypted.as_ref().map_or(&[], <[u8; 16]>::as_slice),
            flags: Some(flags),
            version,
            mic_offset: has_mic.then_some(Authenticate::OFFSET_OF_MIC),
        }
        .encode()?;
        if has_mic {
            let transcript = Transcript { negotiate: &self.negotiate, challenge: request.token, authenticate: &token };
            let mic = transcript.mic(&exported, Authenticate::OFFSET_OF_MIC);
            place_mic(&mut token, mic.as_ref().map(crate::crypto::Mic::as_bytes));
        }
        host.trace(format_args!("initiator: sends AUTHENTICATE_MESSAGE of {name}, MIC {has_mic}, flags {flags}"));

        let session = Session::new(Role::Initiator, flags, exported, version).numbered(self.seq_num)?;
        let (flags, initiator, acceptor) = (flags::granted(flags), name.into(), request.target.cloned());
        Ok((Established { session, flags, initiator, acceptor, has_mic }, token))
    }

    /// Lets the domain answer the CHALLENGE_MESSAGE for an account whose secret it keeps, and reads what it answered: what was
    /// required must be there, and a MIC right if there is one. Older versions of Samba send none.
    fn forward(
        self,
        logon: &CachedLogon,
        agreed: NegotiateFlags,
        required: NegotiateFlags,
        request: &InitiateRequest<'_>,
    ) -> Result<(Established, Vec<u8>)> {
        let env = request.env;
        let Env { policy, host, .. } = env;
        let Some(domain) = env.domain else {
            return Err(CredentialError::NoCachedLogon { name: Name::User(logon.name.clone()).to_string() }.into());
        };
        if agreed.contains(NegotiateFlags::DATAGRAM) {
            return Err(DomainError::NoDatagram.into());
        }
        if request.bindings.is_some() && policy.channel_bindings != BindingsPolicy::Off {
            return Err(DomainError::NoBindings.into());
        }
        let without_time = if self.may_have_mic(env) { None } else { Some(without_time(request.token)?) };
        let challenge = without_time.as_deref().unwrap_or(request.token);
        let challenged = Challenged { negotiate: &self.negotiate, challenge };
        let Response { authenticate: token, key } = domain.respond(&logon.name, &challenged, env)?;

        let odd = |what| move |_| DomainError::OddReply(what);
        let authenticate = Authenticate::decode(&token, agreed).map_err(odd("it is no AUTHENTICATE_MESSAGE"))?;
        let user = from_utf16le(&authenticate.charset.to_utf16le(authenticate.user));
        if !user.is_some_and(|user| same_name(&user, &logon.name.user)) {
            return Err(DomainError::OddReply("it is somebody else's").into());
        }
        let flags = flags::forwarded(agreed, authenticate.flags, required).map_err(|_| DomainError::NotProtected)?;
        let has_mic = match NtlmV2Response::decode(authenticate.nt_response) {
            Ok(response) => response.client_challenge.target_info.flags().contains(AvFlags::MIC),
            Err(_) if !policy.lm_level.sends_ntlm_v2() => false,
            Err(_) => return Err(DomainError::OddReply("it does not use NTLMv2").into()),
        };
        if has_mic {
            let transcript = Transcript { negotiate: &self.negotiate, challenge: request.token, authenticate: &token };
            let place = authenticate.mic_offset;
            let is_right = place.and_then(|at| transcript.mic(&key, at).zip(transcript.sent_mic(at)));
            if !is_right.is_some_and(|(mic, sent)| mic.matches(&sent)) {
                return Err(DomainError::OddReply("its MIC or its key is wrong").into());
            }
        }
        let name = Name::User(logon.name.clone());
        host.trace(format_args!(
            "initiator: sends AUTHENTICATE_MESSAGE of {name}, by winbind, MIC {has_mic}, flags {flags}"
        ));
        let session = Session::new(Role::Initiator, flags, key, authenticate.version).numbered(self.seq_num)?;
        let (flags, initiator, acceptor) = (flags::granted(flags), name.into(), request.target.cloned());
        Ok((Established { session, flags, initiator, acceptor, has_mic }, token))
    }

    fn may_have_mic(&self, env: &Env<'_>) -> bool {
        match env.policy.mic {
            MicPolicy::Auto => !(self.is_in_spnego && env.host.spnego_loses_mic()),
            MicPolicy::Always => true,
            MicPolicy::RawOnly => !self.is_in_spnego,
            MicPolicy::Off => false,
        }
    }
}

/// A name for the wire.
fn encode(charset: Charset, name: &str) -> Result<Vec<u8>> {
    charset.encode(name).ok_or_else(|| PeerIncompatible::NoUnicode.into())
}

/// The server's AV_PAIRs, if it sent any.
fn server_info<'a>(challenge: &Challenge<'a>) -> Result<Option<TargetInfo<'a>>> {
    if challenge.target_info.is_empty() {
        return Ok(None);
    }
    let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info)?;
    info.ensure_no_duplicates(Message::Challenge, FieldName::TargetInfo)?;
    Ok(Some(info))
}

/// The CHALLENGE_MESSAGE of a server that does not say its time: who answers it sends no MIC. The server that sent it with its
/// time compares what comes back, not what does not.
fn without_time(token: &[u8]) -> Result<Vec<u8>> {
    let challenge = Challenge::decode(token)?;
    let Some(server) = server_info(&challenge)? else { return Ok(token.to_vec()) };
    let mut info = TargetInfoBuilder::with_capacity(challenge.target_info.len());
    for pair in server.pairs().filter(|pair| pair.id != AvId::MsvAvTimestamp) {
        info.push(pair.id, pair.value)?;
    }
    Challenge { target_info: &info.finish(), ..challenge }.encode()
}

/// Who wants integrity or confidentiality wants a server that says something about itself, if not its NetBIOS names.
// Deviates: [MS-NLMP] 3.1.5.1.2 wants both of those, which Windows and Samba do without.
fn ensure_target_info(server: Option<&TargetInfo<'_>>, required: NegotiateFlags, policy: &Policy) -> Result<()> {
    let says_something = server.is_some_and(|server| server.pairs().next().is_some());
    if required.protects() && !says_something && policy.target_info == TargetInfoPolicy::Required {
        return Err(PeerIncompatible::NoTargetInfo.into());
    }
    Ok(())
}

/// A response over an old or a future time could be of use to somebody at another time.
fn ensure_time_is_near(timestamp: Option<[u8; 8]>, env: &Env<'_>) -> Result<()> {
    match timestamp {
        Some(time) if !FileTime::from_bytes(time).is_within(env.policy.max_skew_hours, env.host.now()) => {
            Err(PeerIncompatible::ClockSkew.into())
        }
        _ => Ok(()),
    }
}

/// The AV_PAIRs of the response: the server's, but for those that only a client may state, then ours.
fn client_info(server: Option<&TargetInfo<'_>>, has_mic: bool, request: &InitiateRequest<'_>) -> Result<Vec<u8>> {
    let ours = [AvId::MsvAvFlags, AvId::MsvAvSingleHost, AvId::MsvAvTargetName, AvId::MsvAvChannelBindings];
    let mut info = TargetInfoBuilder::with_capacity(256);
    for pair in server.into_iter().flat_map(TargetInfo::pairs).filter(|pair| !ours.contains(&pair.id)) {
        info.push(pair.id, pair.value)?;
    }
    if has_mic {
        info.push(AvId::MsvAvFlags, &AvFlags::MIC.bits().to_le_bytes())?;
    }
    if let Some(bindings) = request.bindings {
        info.push(AvId::MsvAvChannelBindings, &bindings.av_value())?;
    }
    if let Some(Name::Service(service)) = request.target
        && let Some(spn) = service.spn()
    {
        info.push(AvId::MsvAvTargetName, &to_utf16le(&spn))?;
    }
    Ok(info.finish())
}

/// ExportedSessionKey, and EncryptedRandomSessionKey where keys are exchanged ([MS-NLMP] 3.1.5.1.2).
fn exported_key(
    flags: NegotiateFlags,
    key: KeyExchangeKey,
    host: &dyn Host,
) -> Result<(ExportedSessionKey, Option<[u8; 16]>)> {
    if !(flags.contains(NegotiateFlags::KEY_EXCH) && flags.protects()) {
        return Ok((ExportedSessionKey::new(*key.expose()), None));
    }
    let mut random = Zeroizing::new([0; 16]);
    host.random(random.as_mut())?;
    let exported = ExportedSessionKey::new(*random);
    let encrypted = keys::encrypt_session_key(&key, &exported);
    Ok((exported, Some(encrypted)))
}

fn place_mic(token: &mut [u8], mic: Option<&[u8; MIC_LEN]>) {
    let place = token.split_at_mut_checked(Authenticate::OFFSET_OF_MIC).and_then(|(_, rest)| rest.first_chunk_mut());
    if let (Some(place), Some(mic)) = (place, mic) {
        *place = *mic;
    }
}
