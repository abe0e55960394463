//! A domain answers for the initiator: its answer is checked before it is used.

use super::*;
use crate::{
    cred::{CachedLogon, Initiator, ReceivedChallenge, Response, responder_tests::TestDomain},
    crypto::ExportedSessionKey,
    error::{CredentialError, DomainError, FieldName, Message},
    name::UserName,
    policy::LmLevel,
    wire::{Authenticate, AvId, Challenge, NegotiateFlags, TargetInfo},
};

/// The answer of the initiator of `of`, and its key.
pub(super) fn answer(received: &ReceivedChallenge<'_>, of: &Pair) -> Result<Response> {
    let mut context = Context::new(Role::Initiator);
    of.initiate(&mut context, &[])?;
    let State::ExpectChallenge(state) = &mut context.state else { panic!("{context:?}") };
    state.negotiate = received.negotiate.to_vec();
    let authenticate = of.initiate(&mut context, received.challenge)?;
    let key = ExportedSessionKey::new(*context.session()?.key().expose());
    Ok(Response { authenticate, key })
}

/// A pair whose initiator has a cached logon.
pub(super) fn pair(respond: fn(&ReceivedChallenge<'_>) -> Result<Response>) -> Pair {
    let name = UserName { user: "alice".to_owned(), domain: "DOM".to_owned() };
    let client_domain = Some(TestDomain { respond, ..TestDomain::default() }.domain());
    let logon = Initiator::CachedLogon(CachedLogon { name });
    Pair { client: Credential::new(Some(logon), None), client_domain, ..Pair::new() }
}

#[test]
fn a_right_answer_establishes_a_context() {
    let pair = pair(|received| answer(received, &Pair::new()));
    let (mut client, mut server) = pair.handshake(|_, _| ()).unwrap();
    exchange(&mut client, &mut server, b"by somebody else");
    for context in [&client, &server] {
        let established = context.established().unwrap();
        assert!(established.has_mic);
        assert!(established.initiator.name.is_same(&Name::parse_user("DOM\\alice").unwrap()));
        assert!(established.flags.contains(ContextFlags::INTEG | ContextFlags::CONF));
    }
}

#[test]
fn a_wrong_answer_is_refused() {
    let odd: [fn(&ReceivedChallenge<'_>) -> Result<Response>; 6] = [
        |_| Ok(Response { authenticate: Vec::new(), key: ExportedSessionKey::new([0; 16]) }),
        |received| Ok(Response { authenticate: received.challenge.to_vec(), key: ExportedSessionKey::new([0; 16]) }),
        |received| {
            answer(received, &Pair::new()).map(|right| Response { key: ExportedSessionKey::new([9; 16]), ..right })
        },
        |received| {
            let store = CredStore::default().with_password(b"secret").unwrap();
            let name = Name::parse_user("DOM\\dora").unwrap();
            let dora = Credential::acquire(Some(&name), Usage::Initiate, &store, &env(Policy::default())).unwrap();
            answer(received, &Pair { client: dora, ..Pair::new() })
        },
        // The MIC is over another NEGOTIATE_MESSAGE.
        |received| answer(&ReceivedChallenge { negotiate: b"", ..*received }, &Pair::new()),
        |received| {
            let client_policy = Policy { lm_level: LmLevel::new(2).unwrap(), ..Policy::default() };
            answer(received, &Pair { client_policy, ..Pair::new() })
        },
    ];
    for respond in odd {
        let refused = pair(respond).error();
        assert!(matches!(refused, Error::Domain(DomainError::OddReply(_))), "{refused:?}");
    }
}

#[test]
fn an_answer_with_responses_of_other_lengths_is_refused() {
    const NT: [usize; 9] = [0, 1, 8, 15, 16, 23, 24, 25, 44];
    const LM: [usize; 7] = [0, 1, 8, 16, 23, 24, 25];
    /// What the domain does to its answer: the lengths of the two responses, and the flags that it takes away.
    static DONE: std::sync::Mutex<(usize, usize, NegotiateFlags)> =
        std::sync::Mutex::new((0, 0, NegotiateFlags::empty()));
    let (extended, exchange) = (NegotiateFlags::EXTENDED_SESSIONSECURITY, NegotiateFlags::KEY_EXCH);
    for (nt, lm) in NT.into_iter().flat_map(|nt| LM.map(|lm| (nt, lm))) {
        for taken in [NegotiateFlags::empty(), extended, exchange, extended | exchange] {
            *DONE.try_lock().unwrap() = (nt, lm, taken);
            let pair = pair(|received| {
                let right = answer(received, &Pair { requested: ContextFlags::empty(), ..Pair::new() })?;
                let (nt, lm, taken) = *DONE.try_lock().unwrap();
                let message = Authenticate::decode(&right.authenticate, NegotiateFlags::empty())?;
                let of_length = |response: &[u8], length| {
                    let mut response = response.to_vec();
                    response.resize(length, 0);
                    response
                };
                let changed = Authenticate {
                    nt_response: &of_length(message.nt_response, nt),
                    lm_response: &of_length(message.lm_response, lm),
                    flags: message.flags.map(|flags| flags.difference(taken)),
                    ..message
                };
                Ok(Response { authenticate: changed.encode()?, ..right })
            });
            let refused = Pair { requested: ContextFlags::empty(), ..pair }.error();
            assert!(matches!(refused, Error::Domain(DomainError::OddReply(_))), "{nt} {lm} {taken}: {refused:?}");
        }
    }
}

#[test]
fn an_answer_without_what_is_required_is_refused() {
    let pair = pair(|received| answer(received, &Pair { requested: ContextFlags::INTEG, ..Pair::new() }));
    assert_eq!(pair.error(), DomainError::NotProtected.into());
    // Only the administrator requires it.
    let client_policy = Policy { minimum: Minimum::SEAL, ..Policy::default() };
    let pair = Pair { requested: ContextFlags::INTEG, client_policy, ..pair };
    assert_eq!(pair.error(), DomainError::NotProtected.into());
}

#[test]
fn an_ntlm_v1_answer_is_accepted_only_at_levels_that_send_ntlm_v1() {
    let low = || Policy { lm_level: LmLevel::new(2).unwrap(), ..Policy::default() };
    let right: fn(&ReceivedChallenge<'_>) -> Result<Response> = |received| {
        let client_policy = Policy { lm_level: LmLevel::new(2).unwrap(), ..Policy::default() };
        answer(received, &Pair { client_policy, ..Pair::new() })
    };
    let pair = Pair { client_policy: low(), server_policy: low(), ..pair(right) };
    let (mut client, mut server) = pair.handshake(|_, _| ()).unwrap();
    exchange(&mut client, &mut server, b"by somebody else");
}

#[test]
fn the_domain_sends_no_mic_if_the_policy_forbids_it() {
    let without: fn(&ReceivedChallenge<'_>) -> Result<Response> = |received| {
        let challenge = Challenge::decode(received.challenge).unwrap();
        let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info).unwrap();
        assert_eq!((info.timestamp(), info.find(AvId::MsvAvNbDomainName)), (None, Some(&b"D\0O\0M\0"[..])));
        answer(received, &Pair::new())
    };
    let client_policy = Policy { mic: MicPolicy::Off, ..Policy::default() };
    let (client, server) = Pair { client_policy, ..pair(without) }.handshake(|_, _| ()).unwrap();
    // Inside an SPNEGO that loses the mechListMIC no MIC is sent, even if the server tells its time.
    let through_spnego = handshake_through_spnego(&pair(without), [true, false]);
    for (mut client, mut server) in [(client, server), through_spnego] {
        assert!(!client.established().unwrap().has_mic && !server.established().unwrap().has_mic);
        exchange(&mut client, &mut server, b"signed and sealed all the same");
    }
}

#[test]
fn what_a_cached_logon_cannot_do_is_an_error() {
    let right: fn(&ReceivedChallenge<'_>) -> Result<Response> = |received| answer(received, &Pair::new());
    let bound = Pair { client_bindings: Some(BINDINGS), ..pair(right) };
    assert_eq!(bound.error(), DomainError::NoBindings.into());
    let client_policy = Policy { channel_bindings: BindingsPolicy::Off, ..Policy::default() };
    assert!(Pair { client_bindings: Some(BINDINGS), client_policy, ..pair(right) }.handshake(|_, _| ()).is_ok());
    let not_allowed = Pair { client_domain: None, ..pair(right) }.error();
    assert!(matches!(not_allowed, Error::Credential(CredentialError::NoCachedLogon { .. })), "{not_allowed:?}");
    let datagram = Pair { requested: ContextFlags::INTEG | ContextFlags::DATAGRAM, ..pair(right) };
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    datagram.initiate(&mut client, &[]).unwrap();
    let challenge = datagram.accept(&mut server, b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a").unwrap();
    assert_eq!(datagram.initiate(&mut client, &challenge).unwrap_err(), DomainError::NoDatagram.into());
}

#[test]
fn a_server_with_a_far_time_or_without_target_info_is_refused_here_too() {
    let right: fn(&ReceivedChallenge<'_>) -> Result<Response> = |_| panic!("it is not asked");
    let late = Pair { client_host: Fixed(NOW + 40 * 3600), ..pair(right) };
    assert_eq!(late.error(), PeerIncompatible::ClockSkew.into());
    let refused = pair(right).handshake(old::challenging_without_info).map(drop).unwrap_err();
    assert_eq!(refused, PeerIncompatible::NoTargetInfo.into());
}

#[test]
fn any_changed_bit_of_an_answer_is_found() {
    let right: fn(&ReceivedChallenge<'_>) -> Result<Response> = |received| answer(received, &Pair::new());
    let pair = pair(right);
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    let right = answer(&ReceivedChallenge { negotiate: &negotiate, challenge: &challenge }, &Pair::new()).unwrap();
    assert!(Authenticate::decode(&right.authenticate, NegotiateFlags::empty()).unwrap().mic_offset.is_some());
    let state = |context: &Context| Context::import(&context.export().unwrap()).unwrap();
    let mut without_mic = Vec::new();
    for bit in 0..right.authenticate.len() * 8 {
        let mut changed = right.authenticate.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        static CHANGED: std::sync::Mutex<(Vec<u8>, [u8; 16])> = std::sync::Mutex::new((Vec::new(), [0; 16]));
        *CHANGED.try_lock().unwrap() = (changed, *right.key.expose());
        let pair = super::forwarded::pair(|_| {
            let (authenticate, key) = CHANGED.try_lock().unwrap().clone();
            Ok(Response { authenticate, key: ExportedSessionKey::new(key) })
        });
        let mut client = state(&client);
        // Without the AV_PAIR that announces a MIC, only the server can find the change: the proof covers that AV_PAIR.
        if pair.initiate(&mut client, &challenge).is_ok() {
            assert!(!client.established().unwrap().has_mic, "bit {bit}");
            without_mic.push(bit);
        }
    }
    assert!(without_mic.len() < 32, "{without_mic:?}");
}
