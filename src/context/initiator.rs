//! The client's side: Start, ExpectChallenge, Established.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    bytes,
    cred::{Account, CachedLogon, Chosen, Credential, Env, Initiator, ReceivedChallenge, Response, Wanted},
    crypto::{ExportedSessionKey, KeyExchangeKey, keys},
    error::{ApiMisuse, CredentialError, DomainError, Error, FieldName, Message, PeerIncompatible, Result},
    host::{FileTime, Host},
    name::Name,
    policy::{BindingsPolicy, MicPolicy, TargetInfoPolicy, Traffic},
    session::{Role, Session},
    text::{DisplayUtf16, from_utf16le, same_name},
    wire::{
        Authenticate, AvFlags, AvId, Challenge, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo,
        TargetInfoBuilder, Version,
    },
};

use super::{
    Established,
    bindings::ChannelBindings,
    flags::{self, ContextFlags},
    response::{Challenges, SentResponse, Time},
    transcript::Transcript,
};

/// The arguments of `gss_init_sec_context`.
#[derive(Clone, Copy)]
pub struct InitiateRequest<'a> {
    /// The initiator's credential.
    pub credential: &'a Credential,
    /// The service to authenticate to, whose SPN is sent as MsvAvTargetName.
    pub target: Option<&'a Name>,
    /// What the application asks for. Only the first call's flags count.
    pub requested: ContextFlags,
    /// Channel bindings to send as MsvAvChannelBindings.
    pub bindings: Option<ChannelBindings<'a>>,
    /// The server's token; empty in the first call.
    pub token: &'a [u8],
    /// Where this runs.
    pub env: &'a Env<'a>,
}

impl<'a> InitiateRequest<'a> {
    /// The initiator of the credential, or an anonymous one if the application asks for that.
    pub(super) fn initiator(&self, choice: Option<&Wanted>) -> Result<Chosen<'a>> {
        let initiator = self.credential.initiator()?;
        if self.requested.contains(ContextFlags::ANON) {
            return Ok(Chosen::Given(&Initiator::Anonymous));
        }
        initiator.for_target(self.target, choice, self.env)
    }
}

/// The NEGOTIATE_MESSAGE is sent, or there is none because the handshake is connectionless.
#[derive(Debug)]
pub(super) struct ExpectChallenge {
    /// The flags of the NEGOTIATE_MESSAGE, if there were one, and ANONYMOUS if the initiator is.
    pub offered: NegotiateFlags,
    /// The message as sent; empty where there is none.
    pub negotiate: Vec<u8>,
    pub requested: ContextFlags,
    /// Whether the handshake runs inside SPNEGO: SPNEGO has asked about the MIC.
    pub is_in_spnego: bool,
    /// The sequence number of connectionless messages, once the application has set it.
    pub seq_num: Option<u32>,
    /// The stored account that was chosen for the target. It does not travel with an exported context, which chooses anew.
    pub choice: Option<Box<Wanted>>,
}

/// Makes the NEGOTIATE_MESSAGE ([MS-NLMP] 3.1.5.1.1), or nothing in a connectionless handshake (3.1.5.2).
pub(super) fn start(request: &InitiateRequest<'_>) -> Result<ExpectChallenge> {
    let InitiateRequest { requested, env: Env { policy, host, .. }, .. } = *request;
    if policy.inside_spnego != Traffic::Allow && host.is_called_by_spnego() == Some(true) {
        policy.ensure_inside_spnego(request.target)?;
    }
    let is_datagram = requested.contains(ContextFlags::DATAGRAM);
    if !request.token.is_empty() && !is_datagram {
        return Err(ApiMisuse::NoContext.into()); // a CHALLENGE_MESSAGE without a NEGOTIATE_MESSAGE before it
    }
    let initiator = request.initiator(None)?;
    if let Chosen::Found { initiator, why, .. } = &initiator {
        host.trace(format_args!("initiator: takes the account {}, {why}", initiator.name()));
    }
    let mut offered = flags::negotiate_flags(requested, request.credential.options(), policy, &initiator);
    let negotiate = if is_datagram {
        host.trace(format_args!("initiator: starts a connectionless handshake, would take flags {offered}"));
        Vec::new()
    } else {
        host.trace(format_args!("initiator: sends NEGOTIATE_MESSAGE, flags {offered}"));
        let version = Some(own_version(offered, *host));
        Negotiate { flags: offered, domain: &[], workstation: &[], version }.encode()?
    };
    // A NEGOTIATE_MESSAGE does not say that the initiator is anonymous, but the application learns it at once.
    offered.set(NegotiateFlags::ANONYMOUS, matches!(*initiator, Initiator::Anonymous));
    let choice = match initiator {
        Chosen::Found { choice, .. } => choice,
        Chosen::Given(_) => None,
    };
    Ok(ExpectChallenge { offered, negotiate, requested, is_in_spnego: false, seq_num: None, choice })
}

/// The CHALLENGE_MESSAGE, and what both sides agree on.
struct Received<'a> {
    challenge: Challenge<'a>,
    /// The server's AV_PAIRs, if it sent any.
    server: Option<TargetInfo<'a>>,
    /// The flags that this side requires.
    required: NegotiateFlags,
    /// The flags that both sides agree on.
    flags: NegotiateFlags,
}

/// An AUTHENTICATE_MESSAGE, and what the session is made of.
struct Answer {
    authenticate: Vec<u8>,
    flags: NegotiateFlags,
    key: ExportedSessionKey,
    version: Option<Version>,
    has_mic: bool,
}

/// The random bytes of an AUTHENTICATE_MESSAGE.
struct Random {
    client_challenge: [u8; 8],
    session_key: ExportedSessionKey,
}

impl Random {
    /// Draws them at one go: each draw is a system call.
    fn draw(host: &dyn Host) -> Result<Self> {
        let mut random = Zeroizing::new([0; 24]);
        host.random(random.as_mut())?;
        let [client_challenge, first, second] = *random.as_chunks::<8>().0 else { return Err(Error::Internal) };
        let mut session_key = Zeroizing::new([0; 16]);
        session_key.iter_mut().zip(first.into_iter().chain(second)).for_each(|(to, from)| *to = from);
        Ok(Self { client_challenge, session_key: ExportedSessionKey::new(*session_key) })
    }
}

impl ExpectChallenge {
    /// The flags that were offered.
    pub(super) fn expected_flags(&self) -> ContextFlags {
        flags::granted(self.offered)
    }

    /// Answers the CHALLENGE_MESSAGE ([MS-NLMP] 3.1.5.1.2). Returns the AUTHENTICATE_MESSAGE with the context.
    pub(super) fn step(&self, request: &InitiateRequest<'_>) -> Result<(Established, Vec<u8>)> {
        // What counts is what the first call asked for.
        let request = &InitiateRequest { requested: self.requested, ..*request };
        let host = request.env.host;
        if self.is_in_spnego {
            request.env.policy.ensure_inside_spnego(request.target)?;
        }
        // An initiator that began anonymous stays anonymous, also if the second call has another credential.
        let is_anonymous = self.offered.contains(NegotiateFlags::ANONYMOUS);
        let initiator = if is_anonymous {
            Chosen::Given(&Initiator::Anonymous)
        } else {
            request.initiator(self.choice.as_deref())?
        };
        let initiator = &*initiator;

        let received = self.decode(initiator, request)?;
        let random = Random::draw(host)?;
        let response = match initiator {
            Initiator::Anonymous => SentResponse::anonymous(),
            Initiator::Account(account) => self.respond(account, &received, random.client_challenge, request)?,
            // It has chosen an account.
            Initiator::Stored(_) => return Err(Error::Internal),
            Initiator::CachedLogon(logon) => {
                let answer = self.forward(logon, &received, request)?;
                return self.establish(answer, initiator, request);
            }
        };
        let (key, encrypted_key) = exported_key(received.flags, &response.key, random.session_key);
        let mut authenticate = encode(&received, &response, encrypted_key, initiator, host)?;
        if response.has_mic {
            self.sign(&mut authenticate, &key, request.token)?;
        }
        let version = Some(own_version(received.flags, host));
        let answer = Answer { authenticate, flags: received.flags, key, version, has_mic: response.has_mic };
        self.establish(answer, initiator, request)
    }

    /// Reads the CHALLENGE_MESSAGE.
    fn decode<'a>(&self, initiator: &Initiator, request: &InitiateRequest<'a>) -> Result<Received<'a>> {
        let InitiateRequest { credential, env: Env { policy, host, .. }, .. } = *request;
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
        let required = flags::required(self.requested, credential.options(), policy);
        let mut flags = flags::agree_as_initiator(self.offered, challenge.flags, required)?;
        flags.set(NegotiateFlags::ANONYMOUS, matches!(initiator, Initiator::Anonymous));
        Ok(Received { challenge, server, required, flags })
    }

    /// Computes the response of an account.
    fn respond(
        &self, account: &Account, received: &Received<'_>, client_challenge: [u8; 8], request: &InitiateRequest<'_>,
    ) -> Result<SentResponse> {
        let Env { policy, host, .. } = request.env;
        let challenges = Challenges { server: &received.challenge.server_challenge, client: client_challenge };
        if !policy.lm_level.sends_ntlm_v2() {
            return SentResponse::ntlm_v1(account, received.flags, challenges, policy.lm_level);
        }
        received.ensure_trustworthy(request.env)?;
        let time = received.timestamp().map_or_else(|| Time::Own(host.now().to_bytes()), Time::OfServer);
        let has_mic = matches!(time, Time::OfServer(_)) && self.may_have_mic(request.env);
        let info = client_info(received.server.as_ref(), has_mic, request)?;
        Ok(SentResponse { has_mic, ..SentResponse::ntlm_v2(account, challenges, time, &info)? })
    }

    /// Puts the MIC over the three messages into its place in `authenticate`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the message has no room for it.
    fn sign(&self, authenticate: &mut [u8], key: &ExportedSessionKey, challenge: &[u8]) -> Result<()> {
        let transcript = Transcript { negotiate: &self.negotiate, challenge, authenticate };
        let mic = transcript.mic(key, Authenticate::OFFSET_OF_MIC).ok_or(Error::Internal)?;
        let (_, rest) = authenticate.split_at_mut_checked(Authenticate::OFFSET_OF_MIC).ok_or(Error::Internal)?;
        *rest.first_chunk_mut().ok_or(Error::Internal)? = *mic.as_bytes();
        Ok(())
    }

    /// Has the domain answer the CHALLENGE_MESSAGE for an account whose secret it keeps, and checks the answer: it must have
    /// what is required, and its MIC must be right if there is one. Older versions of Samba send none.
    fn forward(&self, logon: &CachedLogon, received: &Received<'_>, request: &InitiateRequest<'_>) -> Result<Answer> {
        let env = request.env;
        received.ensure_trustworthy(env)?;
        let Some(domain) = env.domain else {
            return Err(CredentialError::NoCachedLogon { name: Name::User(logon.name.clone()).to_string() }.into());
        };
        if received.flags.contains(NegotiateFlags::DATAGRAM) {
            return Err(DomainError::NoDatagram.into());
        }
        if request.bindings.is_some() && env.policy.channel_bindings != BindingsPolicy::Off {
            return Err(DomainError::NoBindings.into());
        }
        let without_time = if self.may_have_mic(env) { None } else { Some(without_time(request.token)?) };
        let challenge = without_time.as_deref().unwrap_or(request.token);
        let messages = ReceivedChallenge { negotiate: &self.negotiate, challenge };
        let Response { authenticate: token, key } = domain.respond(&logon.name, &messages, env)?;

        let odd = |what| move |_| DomainError::OddReply(what);
        let authenticate =
            Authenticate::decode(&token, received.flags).map_err(odd("it is no AUTHENTICATE_MESSAGE"))?;
        let user = from_utf16le(&authenticate.charset.to_utf16le(authenticate.user));
        if !user.is_some_and(|user| same_name(&user, &logon.name.user)) {
            return Err(DomainError::OddReply("it is somebody else's").into());
        }
        let flags = flags::forwarded(received.flags, authenticate.flags, received.required)
            .map_err(|_| DomainError::NotProtected)?;
        let has_mic = match NtlmV2Response::decode(authenticate.nt_response) {
            Ok(response) => response.client_challenge.target_info.flags().contains(AvFlags::MIC),
            Err(_) if !env.policy.lm_level.sends_ntlm_v2() => false,
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
        let version = authenticate.version;
        Ok(Answer { authenticate: token, flags, key, version, has_mic })
    }

    /// Makes the context that `answer` establishes.
    fn establish(
        &self, answer: Answer, initiator: &Initiator, request: &InitiateRequest<'_>,
    ) -> Result<(Established, Vec<u8>)> {
        let Answer { authenticate, flags, key, version, has_mic } = answer;
        let name = initiator.name();
        let by_domain = if matches!(initiator, Initiator::CachedLogon(_)) { ", by winbind" } else { "" };
        request.env.host.trace(format_args!(
            "initiator: sends AUTHENTICATE_MESSAGE of {name}{by_domain}, MIC {has_mic}, flags {flags}"
        ));
        let session = Session::new(Role::Initiator, flags, key, version).numbered(self.seq_num)?;
        let (flags, initiator, acceptor) = (flags::granted(flags), Arc::new(name.into()), request.target.cloned());
        Ok((Established { session, flags, initiator, acceptor, has_mic }, authenticate))
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

impl Received<'_> {
    /// MsvAvTimestamp.
    fn timestamp(&self) -> Option<[u8; 8]> {
        self.server.and_then(|server| server.timestamp())
    }

    /// Ensures that the server's time is near ours: an attacker could use a response with another time at that time. Where
    /// integrity or confidentiality is required, the server must also send at least one AV_PAIR.
    // Deviates: [MS-NLMP] 3.1.5.1.2 requires both NetBIOS names. Windows and Samba do not.
    fn ensure_trustworthy(&self, env: &Env<'_>) -> Result<()> {
        let says_something = self.server.is_some_and(|server| server.pairs().next().is_some());
        if self.required.protects() && !says_something && env.policy.target_info == TargetInfoPolicy::Required {
            return Err(PeerIncompatible::NoTargetInfo.into());
        }
        match self.timestamp() {
            Some(time) if !FileTime::from_bytes(time).is_within(env.policy.max_skew_hours, env.host.now()) => {
                Err(PeerIncompatible::ClockSkew.into())
            }
            _ => Ok(()),
        }
    }
}

/// Writes the AUTHENTICATE_MESSAGE, with zeros in place of its MIC.
fn encode(
    received: &Received<'_>, response: &SentResponse, encrypted_key: Option<[u8; 16]>, initiator: &Initiator,
    host: &dyn Host,
) -> Result<Vec<u8>> {
    let flags = received.flags;
    let charset = flags.charset();
    let (user, domain) = initiator.user().map_or(("", ""), |name| (&*name.user, &*name.domain));
    let in_charset = |name| charset.encode(name).ok_or(PeerIncompatible::NoUnicode);
    Authenticate {
        lm_response: &response.lm_response,
        nt_response: &response.nt_response,
        charset,
        domain: &in_charset(domain)?,
        user: &in_charset(user)?,
        // Servers do not rely on it, so it may be missing if OEM letters cannot spell it.
        workstation: &charset.encode(&host.names().net_bios_name()).unwrap_or_default(),
        encrypted_random_session_key: encrypted_key.as_ref().map_or(&[], <[u8; 16]>::as_slice),
        flags: Some(flags),
        version: Some(own_version(flags, host)),
        mic_offset: response.has_mic.then_some(Authenticate::OFFSET_OF_MIC),
    }
    .encode()
}

/// The Version of this side. Its eight bytes are always sent, as zeros if the flags do not have VERSION ([MS-NLMP] 2.2.1.3).
fn own_version(flags: NegotiateFlags, host: &dyn Host) -> Version {
    if flags.contains(NegotiateFlags::VERSION) { Version(host.version()) } else { Version::UNSAID }
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

/// The CHALLENGE_MESSAGE without the server's time, so that winbind answers without a MIC. The server accepts the answer: it
/// compares its time only if it comes back.
fn without_time(token: &[u8]) -> Result<Vec<u8>> {
    let challenge = Challenge::decode(token)?;
    let Some(server) = server_info(&challenge)? else { return bytes::concat(&[token]) };
    let mut info = TargetInfoBuilder::default();
    for pair in server.pairs().filter(|pair| pair.id != AvId::MsvAvTimestamp) {
        info.push(pair.id, pair.value)?;
    }
    Challenge { target_info: &info.finish(), ..challenge }.encode()
}

/// The AV_PAIRs of the response: the server's, except those that only a client may send, then ours.
fn client_info(server: Option<&TargetInfo<'_>>, has_mic: bool, request: &InitiateRequest<'_>) -> Result<Vec<u8>> {
    let ours = [AvId::MsvAvFlags, AvId::MsvAvSingleHost, AvId::MsvAvTargetName, AvId::MsvAvChannelBindings];
    let mut info = TargetInfoBuilder::default();
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
        info.push_text(AvId::MsvAvTargetName, &spn)?;
    }
    Ok(info.finish())
}

/// ExportedSessionKey, and EncryptedRandomSessionKey where keys are exchanged ([MS-NLMP] 3.1.5.1.2).
fn exported_key(
    flags: NegotiateFlags, key: &KeyExchangeKey, random: ExportedSessionKey,
) -> (ExportedSessionKey, Option<[u8; 16]>) {
    if !(flags.contains(NegotiateFlags::KEY_EXCH) && flags.protects()) {
        return (ExportedSessionKey::new(*key.expose()), None);
    }
    let encrypted = keys::encrypt_session_key(key, &random);
    (random, Some(encrypted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_exchanged_only_where_something_is_protected_with_it() {
        let key = KeyExchangeKey::new([3; 16]);
        let exchanges = |flags| exported_key(flags, &key, ExportedSessionKey::new([4; 16])).1.is_some();
        let (key_exch, sign) = (NegotiateFlags::KEY_EXCH, NegotiateFlags::SIGN);
        assert_eq!([key_exch, sign, key_exch | sign].map(exchanges), [false, false, true]);
    }

    #[test]
    fn a_message_without_room_for_the_mic_is_an_internal_error() {
        let (offered, requested) = (NegotiateFlags::empty(), ContextFlags::empty());
        let state = ExpectChallenge {
            offered,
            negotiate: vec![1],
            requested,
            is_in_spnego: false,
            seq_num: None,
            choice: None,
        };
        let key = ExportedSessionKey::new([1; 16]);
        for len in [0, 71, 72, 87] {
            assert_eq!(state.sign(&mut vec![0; len], &key, &[2]), Err(Error::Internal), "{len} bytes");
        }
        let mut message = [0; 89];
        state.sign(&mut message, &key, &[2]).unwrap();
        let mic = keys::mic(&key, &[&[1], &[2], &[0; 89]]);
        assert_eq!(message, *[&[0; 72][..], mic.as_bytes(), &[0]].concat());
    }
}
