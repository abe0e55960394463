//! The client's side: Start, ExpectChallenge, Established.

use zeroize::Zeroizing;

use crate::{
    cred::{Account, Credential, Initiator},
    crypto::{ExportedSessionKey, KeyExchangeKey, keys},
    error::{ApiMisuse, FieldName, Message, PeerIncompatible, Result},
    host::{FileTime, Host},
    name::Name,
    policy::{MicPolicy, Policy},
    session::Role,
    text::{Charset, Shown, to_utf16le},
    wire::{
        Authenticate, AvFlags, AvId, Challenge, MIC_LEN, Negotiate, NegotiateFlags, TargetInfo, TargetInfoBuilder,
        Version,
    },
};

use super::{
    Established, Step,
    bindings::ChannelBindings,
    flags::{self, ContextFlags},
    response::Answer,
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
    /// The administrator's decisions.
    pub policy: &'a Policy,
    /// Where this runs.
    pub host: &'a dyn Host,
}

impl<'a> InitiateRequest<'a> {
    /// The account that initiates; `None` where nobody in particular does.
    fn account(&self) -> Result<Option<&'a Account>> {
        match self.credential.initiator()? {
            Initiator::Account(account) if !self.requested.contains(ContextFlags::ANON) => Ok(Some(account)),
            Initiator::Account(_) | Initiator::Anonymous => Ok(None),
        }
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
pub(super) fn start(request: &InitiateRequest<'_>) -> Result<(ExpectChallenge, Step)> {
    let InitiateRequest { requested, policy, host, .. } = *request;
    let is_datagram = requested.contains(ContextFlags::DATAGRAM);
    if !request.token.is_empty() && !is_datagram {
        return Err(ApiMisuse::NoContext.into()); // a CHALLENGE_MESSAGE without a NEGOTIATE_MESSAGE before it
    }
    let account = request.account()?;
    let has_lm_hash = account.is_some_and(|account| account.secret.lm_hash.is_some());
    let offered = flags::offer(requested, request.credential.options(), policy, has_lm_hash);
    let token = if is_datagram {
        host.trace(format_args!("initiator: starts a connectionless handshake, would take flags {offered}"));
        Vec::new()
    } else {
        host.trace(format_args!("initiator: sends NEGOTIATE_MESSAGE, flags {offered}"));
        let version = Some(Version(host.version()));
        Negotiate { flags: offered, domain: &[], workstation: &[], version }.encode()?
    };
    // Nobody says in a NEGOTIATE_MESSAGE to be nobody, but the application is told at once.
    let anonymous = if account.is_none() { NegotiateFlags::ANONYMOUS } else { NegotiateFlags::empty() };
    let next = ExpectChallenge {
        offered: offered | anonymous,
        negotiate: token.clone(),
        requested,
        is_in_spnego: false,
        seq_num: None,
    };
    let flags = next.expected_flags();
    Ok((next, Step { token, flags, is_established: false }))
}

impl ExpectChallenge {
    /// What was offered.
    pub(super) fn expected_flags(&self) -> ContextFlags {
        flags::granted(self.offered)
    }

    /// Answers the CHALLENGE_MESSAGE ([MS-NLMP] 3.1.5.1.2).
    pub(super) fn step(self, request: &InitiateRequest<'_>) -> Result<(Established, Step)> {
        // What the first call asked for counts.
        let request = &InitiateRequest { requested: self.requested, ..*request };
        let InitiateRequest { credential, host, policy, .. } = *request;
        // Who began as nobody stays nobody, whatever credential the second call brings.
        let is_nobody = self.offered.contains(NegotiateFlags::ANONYMOUS);
        let account = if is_nobody { None } else { request.account()? };

        let challenge = Challenge::decode(request.token)?;
        host.trace(format_args!(
            "initiator: got CHALLENGE_MESSAGE from {}, flags {}",
            Shown(&challenge.flags.charset().to_utf16le(challenge.target_name)),
            challenge.flags
        ));
        let server = server_info(&challenge)?;
        if let Some(server) = &server {
            host.trace(format_args!("initiator: its target info is {server}"));
        }
        let required = flags::required(self.requested, credential.options(), policy.minimum);
        let mut flags = flags::settle(self.offered, challenge.flags, required)?;
        flags.set(NegotiateFlags::ANONYMOUS, account.is_none());

        let mut client_challenge = [0; 8];
        host.random(&mut client_challenge)?;
        let mut has_mic = false;
        let answer = match account {
            None => Answer::anonymous(),
            Some(account) if !policy.lm_level.sends_ntlm_v2() => {
                Answer::ntlm_v1(account, flags, &challenge.server_challenge, client_challenge, policy.lm_level)?
            }
            Some(account) => {
                refuse_without_names(server.as_ref(), required)?;
                let timestamp = server.and_then(|server| server.timestamp());
                refuse_far_time(timestamp, policy, host)?;
                has_mic = timestamp.is_some() && self.may_have_mic(policy);
                let time = timestamp.unwrap_or_else(|| host.now().to_bytes());
                let info = client_info(server.as_ref(), has_mic, request)?;
                let has_timestamp = timestamp.is_some();
                Answer::ntlm_v2(account, &challenge.server_challenge, client_challenge, time, &info, has_timestamp)
            }
        };
        let (exported, encrypted) = exported_key(flags, answer.key, host)?;

        let (charset, version) = (flags.charset(), Version(host.version()));
        let (user, domain) = account.map_or(("", ""), |Account { name, .. }| (&name.user, &name.domain));
        let mut token = Authenticate {
            lm_response: &answer.lm_response,
            nt_response: &answer.nt_response,
            domain: &encode(charset, domain)?,
            user: &encode(charset, user)?,
            // Nobody relies on it, and its letters need not be OEM's.
            workstation: &charset.encode(&host.names().computer).unwrap_or_default(),
            encrypted_random_session_key: encrypted.as_ref().map_or(&[], <[u8; 16]>::as_slice),
            flags: Some(flags),
            version: Some(version),
            mic_offset: has_mic.then_some(Authenticate::OFFSET_OF_MIC),
        }
        .encode()?;
        if has_mic {
            let transcript = Transcript { negotiate: &self.negotiate, challenge: request.token, authenticate: &token };
            let mic = transcript.mic(&exported, Authenticate::OFFSET_OF_MIC);
            place_mic(&mut token, mic.as_ref().map(crate::crypto::Mic::as_bytes));
        }
        let name = account.map_or(Name::Anonymous, |account| Name::User(account.name.clone()));
        host.trace(format_args!("initiator: sends AUTHENTICATE_MESSAGE of {name}, MIC {has_mic}, flags {flags}"));

        let established = Established {
            session: flags::session(Role::Initiator, flags, exported, Some(version), self.seq_num)?,
            flags: flags::granted(flags),
            initiator: name.into(),
            acceptor: request.target.cloned(),
            has_mic,
        };
        let step = Step { token, flags: established.flags, is_established: true };
        Ok((established, step))
    }

    const fn may_have_mic(&self, policy: &Policy) -> bool {
        match policy.mic {
            MicPolicy::Auto => true,
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
    info.refuse_duplicates(Message::Challenge, FieldName::TargetInfo)?;
    Ok(Some(info))
}

/// [MS-NLMP] 3.1.5.1.2: who wants integrity or confidentiality wants to know who the server says it is.
fn refuse_without_names(server: Option<&TargetInfo<'_>>, required: NegotiateFlags) -> Result<()> {
    let has = |id| server.is_some_and(|server| server.find(id).is_some());
    if required.protects() && !(has(AvId::MsvAvNbComputerName) && has(AvId::MsvAvNbDomainName)) {
        return Err(PeerIncompatible::NoNetBiosNames.into());
    }
    Ok(())
}

/// A response over an old or a future time could be of use to somebody at another time.
fn refuse_far_time(timestamp: Option<[u8; 8]>, policy: &Policy, host: &dyn Host) -> Result<()> {
    match timestamp {
        Some(time) if !FileTime::from_bytes(time).is_within(policy.max_skew_hours, host.now()) => {
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
