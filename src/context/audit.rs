//! Tells the host of each handshake's end. All that the log gets is read from the messages again, so that a handshake which
//! gets no line keeps nothing for it.

use std::net::IpAddr;

use crate::{
    audit::{AuditEvent, Bindings, Kind, Mic, Ntlm, Why},
    cred::Env,
    error::{Error, FieldName, Message, PeerMisbehaved},
    name::{Name, UserName},
    policy::{AuditPolicy, Traffic},
    text::{Charset, DisplayUtf16},
    wire::{Authenticate, AvFlags, AvId, Challenge, NegotiateFlags, NtlmV2Response, TargetInfo},
};

use super::{
    AcceptRequest, Established, ExpectAuthenticate, InitiateRequest, acceptor, initiator::ExpectChallenge, response,
    verify,
};

type Outcome<'a, T> = core::result::Result<&'a T, &'a Error>;

/// Tells of the end of an acceptor's handshake. There is no `state` if it began with this step.
pub(super) fn tell_of_acceptor(
    request: &AcceptRequest<'_>, state: Option<&ExpectAuthenticate>, outcome: Outcome<'_, Established>,
) {
    let kind = match outcome {
        Ok(_) if request.env.policy.incoming == Traffic::Audit => Kind::ServerWatched,
        Ok(_) => Kind::ServerAuthenticated,
        Err(error) => Kind::of_failure(false, error),
    };
    if is_wanted(kind, request.env) {
        tell(event_of_acceptor(kind, request, state, outcome), request.env);
    }
}

/// Tells of the end of an initiator's handshake. There is no `state` if it began with this step.
pub(super) fn tell_of_initiator(
    request: &InitiateRequest<'_>, state: Option<&ExpectChallenge>, outcome: Outcome<'_, (Established, Vec<u8>)>,
) {
    let kind = match outcome {
        Ok(_) if is_watched(request, state) => Kind::ClientWatched,
        Ok(_) => Kind::ClientAuthenticated,
        Err(error) => Kind::of_failure(true, error),
    };
    if is_wanted(kind, request.env) {
        tell(event_of_initiator(kind, request, state, outcome), request.env);
    }
}

/// Tells of an initiator's handshake that does not begin: there is no credential, or the policy denies the target.
pub fn tell_of_unstarted_initiator(target: Option<&Name>, error: &Error, env: &Env<'_>) {
    let kind = Kind::of_failure(true, error);
    if is_wanted(kind, env) {
        tell(AuditEvent { error: Some(error.clone()), target: target.map(shown_target), ..AuditEvent::new(kind) }, env);
    }
}

/// Whether the policy watches such a handshake of a client.
fn is_watched(request: &InitiateRequest<'_>, state: Option<&ExpectChallenge>) -> bool {
    let policy = &request.env.policy;
    policy.outgoing == Traffic::Audit
        || policy.inside_spnego == Traffic::Audit
            && (state.is_some_and(|state| state.is_in_spnego) || request.env.host.is_called_by_spnego() == Some(true))
}

/// Whether the administrator wants a line for such an end, and there may be one now.
fn is_wanted(kind: Kind, env: &Env<'_>) -> bool {
    let is_asked_for = match env.policy.audit {
        AuditPolicy::Off => false,
        AuditPolicy::Failures => kind.is_failure() || kind.is_watched(),
        AuditPolicy::All => true,
    };
    is_asked_for && env.host.may_audit(kind)
}

#[cold]
#[inline(never)]
fn tell(mut event: AuditEvent, env: &Env<'_>) {
    event.is_in_spnego = event.is_in_spnego.or_else(|| env.host.is_called_by_spnego());
    event.why = why(&event);
    env.host.audit(&event);
}

#[cold]
#[inline(never)]
fn event_of_acceptor(
    kind: Kind, request: &AcceptRequest<'_>, state: Option<&ExpectAuthenticate>, outcome: Outcome<'_, Established>,
) -> AuditEvent {
    let mut event = AuditEvent { error: outcome.err().cloned(), ..AuditEvent::new(kind) };
    let Some(state) = state else { return event };
    event.service = acceptor::own_spn(&state.acceptor);
    let Ok(challenge) = Challenge::decode(&state.challenge) else { return event };
    let Ok(authenticate) = Authenticate::decode(request.token, challenge.flags) else { return event };
    put_response(&mut event, &authenticate, challenge.flags);
    event.peer_version = authenticate.version.map(|version| version.0);
    event.workstation = non_empty(shown(authenticate.charset, authenticate.workstation));
    match outcome.map(|established| &established.initiator.name) {
        Ok(Name::User(user)) => put_account(&mut event, user),
        Ok(Name::Service(_) | Name::Anonymous) => {}
        Err(_) => {
            event.account = non_empty(shown(authenticate.charset, authenticate.user));
            event.domain = non_empty(shown(authenticate.charset, authenticate.domain));
        }
    }
    let response = NtlmV2Response::decode(authenticate.nt_response).ok();
    let client = response.as_ref().map(|response| &response.client_challenge.target_info);
    event.mic = Some(match (client.is_some_and(has_mic), outcome) {
        (true, Ok(_)) => Mic::Verified,
        (true, Err(Error::PeerMisbehaved(PeerMisbehaved::WrongMic))) => Mic::Wrong,
        (true, Err(_)) => Mic::Unverified,
        (false, _) if tells_time(&challenge) => Mic::None,
        (false, _) => Mic::Withheld,
    });
    event.bindings = Some(verify::compare_bindings(client, request.bindings.as_ref()));
    event.target = client.and_then(|client| client.find(AvId::MsvAvTargetName)).map(beginning).and_then(non_empty);
    let sent = acceptor::sent_target(client);
    event.target_name = Some(acceptor::compare_target_names(sent.as_deref(), event.service.as_deref()));
    event
}

#[cold]
#[inline(never)]
fn event_of_initiator(
    kind: Kind, request: &InitiateRequest<'_>, state: Option<&ExpectChallenge>,
    outcome: Outcome<'_, (Established, Vec<u8>)>,
) -> AuditEvent {
    let mut event = AuditEvent { error: outcome.err().cloned(), ..AuditEvent::new(kind) };
    event.target = request.target.map(shown_target);
    // What the first call asked for counts, and what a failure is told about must not ask the domain.
    let requested = state.map_or(request.requested, |state| state.requested);
    let env = &Env { domain: None, ..*request.env };
    let name = match outcome {
        Ok((established, _)) => Ok(established.initiator.name.clone()),
        Err(_) => InitiateRequest { requested, env, ..*request }
            .initiator(state.and_then(|state| state.choice.as_deref()))
            .map(|initiator| initiator.name()),
    };
    if let Ok(Name::User(user)) = name {
        put_account(&mut event, &user);
    }
    let Some(state) = state else { return event };
    event.is_in_spnego = state.is_in_spnego.then_some(true);
    let Ok(challenge) = Challenge::decode(request.token) else { return event };
    event.peer_version = challenge.version.map(|version| version.0);
    let Ok((established, token)) = outcome else {
        event.session = Some(shown_session(state.offered & challenge.flags));
        return event;
    };
    if let Ok(authenticate) = Authenticate::decode(token, challenge.flags) {
        put_response(&mut event, &authenticate, challenge.flags);
        let response = NtlmV2Response::decode(authenticate.nt_response).ok();
        let info = response.as_ref().map(|response| &response.client_challenge.target_info);
        let sent = info.and_then(TargetInfo::channel_bindings);
        event.bindings = Some(if sent.is_some() { Bindings::Sent } else { Bindings::None });
    }
    event.mic = Some(match established.has_mic {
        true => Mic::Sent,
        false if tells_time(&challenge) => Mic::Withheld,
        false => Mic::None,
    });
    event
}

fn put_account(event: &mut AuditEvent, UserName { user, domain }: &UserName) {
    event.account = non_empty(user.clone());
    event.domain = non_empty(domain.clone());
}

/// Puts the kind of the response and what the session has.
fn put_response(event: &mut AuditEvent, authenticate: &Authenticate<'_>, agreed: NegotiateFlags) {
    let flags = agreed & authenticate.flags.unwrap_or(agreed);
    event.ntlm = Some(response::kind(authenticate, flags));
    event.session = Some(shown_session(flags));
}

/// Why NTLM is used. That the program asked for it is known, but why SPNEGO took it is not: only the target may tell.
fn why(event: &AuditEvent) -> Why {
    let host = event.target.as_deref().map(|target| target.split_once('/').map_or(target, |(_, host)| host));
    match event.is_in_spnego {
        _ if event.ntlm == Some(Ntlm::Anonymous) => Why::Anonymous,
        None => Why::Unknown,
        Some(false) => Why::Explicit,
        Some(true) if host.is_some_and(is_address) => Why::IpAddress,
        Some(true) if host.is_none() && event.kind.is_of_client() => Why::NoTarget,
        Some(true) => Why::Spnego,
    }
}

/// Whether the host of a target is an IP address; a port may follow it.
fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || host.parse::<std::net::SocketAddr>().is_ok()
}

/// The words for what protects a session.
fn shown_session(flags: NegotiateFlags) -> String {
    let words: Vec<_> = [
        (NegotiateFlags::EXTENDED_SESSIONSECURITY, "ess"),
        (NegotiateFlags::BITS_128, "128"),
        (NegotiateFlags::KEY_EXCH, "key-exch"),
        (NegotiateFlags::SIGN, "sign"),
        (NegotiateFlags::SEAL, "seal"),
        (NegotiateFlags::DATAGRAM, "datagram"),
    ]
    .into_iter()
    .filter_map(|(flag, word)| flags.contains(flag).then_some(word))
    .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn shown_target(target: &Name) -> String {
    match target {
        Name::Service(service) => service.spn().unwrap_or_else(|| target.to_string()),
        Name::User(_) | Name::Anonymous => target.to_string(),
    }
}

/// A name of a message.
fn shown(charset: Charset, name: &[u8]) -> String {
    beginning(&charset.to_utf16le(name))
}

/// The beginning of a text in UTF-16LE, longer than the log takes.
fn beginning(utf16: &[u8]) -> String {
    DisplayUtf16(utf16.get(..1024).unwrap_or(utf16)).to_string()
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn has_mic(info: &TargetInfo<'_>) -> bool {
    info.flags().contains(AvFlags::MIC)
}

/// Whether the server tells its time.
fn tells_time(challenge: &Challenge<'_>) -> bool {
    TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info)
        .is_ok_and(|info| info.timestamp().is_some())
}
