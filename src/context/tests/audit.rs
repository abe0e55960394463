//! What the log is told of a handshake's end.

use std::sync::Mutex;

use super::*;
use crate::{
    audit::{AuditEvent, Bindings, Kind, Mic, Ntlm, TargetName, Why},
    error::{HostError, InvalidMessage},
    policy::{AuditPolicy, LmLevel, Traffic},
};

/// A host like [`Fixed`] that keeps what it is told.
#[derive(Default)]
struct Told {
    is_in_spnego: Option<bool>,
    /// Whether the limit is reached.
    is_full: bool,
    /// The second message of a server has no time.
    is_lossy: bool,
    asked: AtomicU32,
    events: Mutex<Vec<AuditEvent>>,
}

impl Host for Told {
    fn now(&self) -> FileTime {
        Fixed(NOW).now()
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        Fixed(NOW).random(out)
    }

    fn names(&self) -> LocalNames {
        Fixed(NOW).names()
    }

    fn version(&self) -> [u8; 8] {
        Fixed(NOW).version()
    }

    fn variable(&self, _: &'static str) -> Option<String> {
        None
    }

    fn is_called_by_lossy_spnego(&self) -> bool {
        self.is_lossy
    }

    fn is_called_by_spnego(&self) -> Option<bool> {
        self.is_in_spnego
    }

    fn may_audit(&self, _: Kind) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        !self.is_full
    }

    fn audit(&self, event: &AuditEvent) {
        self.events.try_lock().unwrap().push(event.clone());
    }

    fn trace(&self, _: core::fmt::Arguments<'_>) {}
}

impl Told {
    fn only(self) -> AuditEvent {
        let mut events = self.events.into_inner().unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        events.pop().unwrap()
    }

    fn in_spnego(is_in_spnego: Option<bool>) -> Self {
        Self { is_in_spnego, ..Self::default() }
    }
}

/// What both sides tell.
fn told(pair: &Pair, tamper: impl Fn(usize, &mut Vec<u8>), client: Told, server: Told) -> (Told, Told) {
    let run = || {
        let (mut initiator, mut acceptor) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let mut negotiate = pair.initiate_on(&client, &mut initiator, &[])?;
        tamper(0, &mut negotiate);
        let mut challenge = pair.accept_on(&server, &mut acceptor, &negotiate)?;
        tamper(1, &mut challenge);
        let mut authenticate = pair.initiate_on(&client, &mut initiator, &challenge)?;
        tamper(2, &mut authenticate);
        pair.accept_on(&server, &mut acceptor, &authenticate)
    };
    let _: Result<_> = run();
    (client, server)
}

fn told_simply(pair: &Pair) -> (Told, Told) {
    told(pair, |_, _| (), Told::default(), Told::default())
}

fn all(pair: Pair) -> Pair {
    let audit = AuditPolicy::All;
    let (client_policy, server_policy) =
        (Policy { audit, ..pair.client_policy }, Policy { audit, ..pair.server_policy });
    Pair { client_policy, server_policy, ..pair }
}

#[test]
fn both_sides_tell_of_a_success_what_they_know() {
    let pair = all(Pair { client_bindings: Some(BINDINGS), server_bindings: Some(BINDINGS), ..Pair::new() });
    let (client, server) = told(&pair, |_, _| (), Told::in_spnego(Some(false)), Told::in_spnego(Some(true)));
    let some = |text: &str| Some(text.to_owned());
    let expected = AuditEvent {
        account: some("alice"),
        domain: some("DOM"),
        target: some("HTTP/srv"),
        peer_version: Some(Fixed(NOW).version()),
        ntlm: Some(Ntlm::V2),
        session: some("ess 128 key-exch sign seal"),
        mic: Some(Mic::Sent),
        bindings: Some(Bindings::Sent),
        is_in_spnego: Some(false),
        why: Why::Explicit,
        ..AuditEvent::new(Kind::ClientAuthenticated)
    };
    assert_eq!(client.only(), expected);
    let expected = AuditEvent {
        kind: Kind::ServerAuthenticated,
        account: some("Alice"),
        workstation: some("SRV"),
        service: some("HTTP/srv"),
        mic: Some(Mic::Verified),
        bindings: Some(Bindings::Matched),
        target_name: Some(TargetName::Matched),
        is_in_spnego: Some(true),
        why: Why::Spnego,
        ..expected
    };
    assert_eq!(server.only(), expected);
}

#[test]
fn a_refused_client_is_told_of_as_it_claims_and_why() {
    let (client, server) = told_simply(&Pair::with_password("wrong"));
    assert!(client.events.into_inner().unwrap().is_empty(), "the client has succeeded as far as it knows");
    let event = server.only();
    assert_eq!(event.kind, Kind::ServerRefused);
    assert_eq!(event.error, Some(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()));
    assert_eq!([&event.account, &event.domain].map(|name| name.as_deref()), [Some("alice"), Some("DOM")]);
    assert_eq!((event.ntlm, event.mic), (Some(Ntlm::V2), Some(Mic::Unverified)));
}

#[test]
fn the_policy_says_which_ends_are_told() {
    for (audit, of_success, of_failure) in
        [(AuditPolicy::Off, 0, 0), (AuditPolicy::Failures, 0, 1), (AuditPolicy::All, 1, 1)]
    {
        let with = |pair: Pair| {
            let policy = Policy { audit, ..Policy::default() };
            let pair = Pair { client_policy: policy, server_policy: policy, ..pair };
            let (_, server) = told_simply(&pair);
            let events = server.events.into_inner().unwrap().len();
            assert_eq!(
                usize::try_from(server.asked.into_inner()).unwrap(),
                events,
                "{audit:?}: the limit is asked once"
            );
            events
        };
        assert_eq!(with(Pair::new()), of_success, "{audit:?}");
        assert_eq!(with(Pair::with_password("wrong")), of_failure, "{audit:?}");
    }
}

#[test]
fn nothing_is_told_beyond_the_limit() {
    let full = || Told { is_full: true, ..Told::default() };
    let (client, server) = told(&all(Pair::new()), |_, _| (), full(), full());
    for side in [client, server] {
        assert_eq!(side.asked.into_inner(), 1);
        assert!(side.events.into_inner().unwrap().is_empty());
    }
}

#[test]
fn every_failing_step_is_told_once() {
    let cut = |which| {
        move |number, message: &mut Vec<u8>| {
            if number == which {
                message.truncate(10);
            }
        }
    };
    let of_server = |which| told(&Pair::new(), cut(which), Told::default(), Told::default()).1.only();
    let of_client = |which| told(&Pair::new(), cut(which), Told::default(), Told::default()).0.only();
    for (event, kind) in
        [(of_server(0), Kind::ServerRefused), (of_client(1), Kind::ClientFailed), (of_server(2), Kind::ServerRefused)]
    {
        assert_eq!(event.kind, kind);
        assert!(matches!(event.error, Some(Error::InvalidMessage(InvalidMessage { .. }))), "{event:?}");
    }
    assert_eq!(of_client(1).account.as_deref(), Some("alice"), "a client knows who it is and where it wants to go");
    assert_eq!(of_client(1).target.as_deref(), Some("HTTP/srv"));
}

#[test]
fn a_call_after_the_end_is_not_told() {
    let (host, pair) = (Told::default(), all(Pair::new()));
    let mut context = Context::new(Role::Acceptor);
    for _ in 0..2 {
        pair.accept_on(&host, &mut context, b"x").unwrap_err();
    }
    assert!(host.only().error.is_some());
    let (host, mut context) = (Told::default(), Context::new(Role::Initiator));
    pair.accept_on(&host, &mut context, b"x").unwrap_err();
    assert_eq!(host.asked.into_inner(), 0, "the wrong call of a program ends no handshake");
}

#[test]
fn a_handshake_that_cannot_begin_is_told() {
    let error = || Error::Host(HostError::Randomness);
    let pair = Pair { client: Credential::deferred(error()), server: Credential::deferred(error()), ..Pair::new() };
    let (client, server) = (Told::default(), Told::default());
    pair.initiate_on(&client, &mut Context::new(Role::Initiator), &[]).unwrap_err();
    pair.accept_on(&server, &mut Context::new(Role::Acceptor), b"x").unwrap_err();
    assert_eq!([client, server].map(|side| side.only().error), [Some(error()), Some(error())]);
    let host = Told::in_spnego(Some(true));
    let env = Env::without_domain(Policy::default(), &host);
    tell_of_unstarted_initiator(Some(&pair.target), &error(), &env);
    let event = host.only();
    assert_eq!((event.kind, event.why, event.target.as_deref()), (Kind::ClientFailed, Why::Spnego, Some("HTTP/srv")));
}

#[test]
fn the_mic_is_told_from_both_sides() {
    let with = |client_mic, is_lossy| {
        let pair = Pair { client_policy: Policy { mic: client_mic, ..Policy::default() }, ..Pair::new() };
        let server = Told { is_lossy, ..Told::default() };
        let (client, server) = told(&all(pair), |_, _| (), Told::default(), server);
        [client, server].map(|side| side.only().mic.unwrap())
    };
    assert_eq!(with(MicPolicy::Auto, false), [Mic::Sent, Mic::Verified]);
    assert_eq!(with(MicPolicy::Off, false), [Mic::Withheld, Mic::None]);
    assert_eq!(with(MicPolicy::Auto, true), [Mic::None, Mic::Withheld]);
    let flip = |number, message: &mut Vec<u8>| {
        if number == 2 {
            message[Authenticate::OFFSET_OF_MIC] ^= 1;
        }
    };
    let (_, server) = told(&Pair::new(), flip, Told::default(), Told::default());
    assert_eq!(server.only().mic, Some(Mic::Wrong));
}

#[test]
fn the_bindings_are_told_whatever_the_policy() {
    let other = ChannelBindings { application_data: b"tls-server-end-point:y", ..BINDINGS };
    let channel_bindings = BindingsPolicy::Off;
    for (client_bindings, server_bindings, expected) in [
        (Some(BINDINGS), Some(BINDINGS), Bindings::Matched),
        (Some(BINDINGS), Some(other), Bindings::Differ),
        (Some(BINDINGS), None, Bindings::ClientOnly),
        (None, Some(BINDINGS), Bindings::ServerOnly),
        (None, None, Bindings::None),
    ] {
        let server_policy = Policy { channel_bindings, ..Policy::default() };
        let pair = all(Pair { client_bindings, server_bindings, server_policy, ..Pair::new() });
        assert_eq!(told_simply(&pair).1.only().bindings, Some(expected));
    }
}

#[test]
fn the_target_is_told_and_compared_whatever_the_policy() {
    let target = |name| Name::parse_service(name, "").unwrap();
    for (name, expected) in [
        ("HTTP@srv", TargetName::Matched),
        ("http@SRV", TargetName::Matched),
        ("cifs@srv", TargetName::Differs),
        ("@srv", TargetName::NotNamed),
    ] {
        let event = told_simply(&all(Pair { target: target(name), ..Pair::new() })).1.only();
        assert_eq!((event.target_name, event.service.as_deref()), (Some(expected), Some("HTTP/srv")), "{name}");
        assert_eq!(event.target.is_none(), expected == TargetName::NotNamed, "{name}");
    }
    let pair = Pair::new();
    let acceptor = pair.acceptor();
    let unnamed = Acceptor { name: acceptor.name.clone(), is_named: false, accounts: acceptor.accounts.clone() };
    let event = told_simply(&all(Pair { server: Credential::new(None, Some(unnamed)), ..pair })).1.only();
    assert_eq!((event.target_name, event.service), (Some(TargetName::NotCompared), None));
}

#[test]
fn why_ntlm_is_told_as_far_as_it_is_known() {
    let why = |host: &str, is_in_spnego| {
        let pair = all(Pair { target: Name::parse_service(host, "").unwrap(), ..Pair::new() });
        let (client, server) = told(&pair, |_, _| (), Told::in_spnego(is_in_spnego), Told::in_spnego(is_in_spnego));
        [client, server].map(|side| side.only().why)
    };
    assert_eq!(why("HTTP@srv", None), [Why::Unknown; 2]);
    assert_eq!(why("HTTP@srv", Some(false)), [Why::Explicit; 2]);
    assert_eq!(why("HTTP@192.0.2.1", Some(false)), [Why::Explicit; 2], "the program would take no Kerberos anyway");
    assert_eq!(why("HTTP@srv", Some(true)), [Why::Spnego; 2]);
    for address in ["HTTP@192.0.2.1", "HTTP@2001:db8::1", "HTTP@[2001:db8::1]", "HTTP@192.0.2.1:8080"] {
        assert_eq!(why(address, Some(true)), [Why::IpAddress; 2], "{address}");
    }
    // The second call of a client inside SPNEGO need not show it: SPNEGO has asked about the MIC before.
    let (host, pair) = (Told::in_spnego(None), all(Pair::new()));
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate_on(&host, &mut client, &[]).unwrap();
    client.requires_mech_list_mic();
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    pair.initiate_on(&host, &mut client, &challenge).unwrap();
    assert_eq!(host.only().why, Why::Spnego);
    let nowhere = Told::in_spnego(Some(true));
    let env = Env::without_domain(Policy::default(), &nowhere);
    tell_of_unstarted_initiator(None, &Error::Internal, &env);
    assert_eq!(nowhere.only().why, Why::NoTarget);
}

#[test]
fn the_version_of_ntlm_is_told_also_if_it_is_refused() {
    let at = |client: u8, server: u8| {
        let level = |number| Policy { lm_level: LmLevel::new(number).unwrap(), ..Policy::default() };
        let pair = all(Pair { client_policy: level(client), server_policy: level(server), ..Pair::new() });
        let (client, server) = told_simply(&pair);
        [client, server].map(|side| side.only())
    };
    for (client, expected) in [(0, Ntlm::V1), (1, Ntlm::Ntlm2Session), (2, Ntlm::Ntlm2Session), (3, Ntlm::V2)] {
        let events = at(client, 0);
        assert_eq!(events.each_ref().map(|event| event.ntlm), [Some(expected); 2], "level {client}");
        assert!(events.iter().all(|event| event.error.is_none()), "{events:?}");
    }
    let [_, refused] = at(2, 5);
    assert_eq!((refused.kind, refused.ntlm), (Kind::ServerRefused, Some(Ntlm::Ntlm2Session)));
    let anonymous = all(Pair { client: Credential::anonymous(), ..Pair::new() });
    let server_policy = Policy { anonymous: true, ..anonymous.server_policy };
    let (client, server) = told_simply(&Pair { server_policy, requested: ContextFlags::ANON, ..anonymous });
    for event in [client.only(), server.only()] {
        assert_eq!((event.ntlm, event.why), (Some(Ntlm::Anonymous), Why::Anonymous));
        assert_eq!((event.account, event.domain), (None, None));
    }
}

#[test]
fn a_hostile_peer_puts_no_control_characters_into_its_names() {
    let hostile: Vec<u8> = "a\n\u{1b}[31m\u{202e}\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let change = |number, message: &mut Vec<u8>| {
        if number == 2 {
            let authenticate = Authenticate::decode(message, NegotiateFlags::UNICODE).unwrap();
            let [user, domain, workstation] = [&*hostile; 3];
            *message = Authenticate { user, domain, workstation, ..authenticate }.encode().unwrap();
        }
    };
    let event = told(&Pair::new(), change, Told::default(), Told::default()).1.only();
    for name in [event.account, event.domain, event.workstation] {
        assert_eq!(name.as_deref(), Some("a\\n\\u{1b}[31m\\u{202e}\\u{0}"));
    }
    // Without the time there would be an LMv2 response; here the length alone counts.
    let long = |number, message: &mut Vec<u8>| {
        if number == 2 {
            let authenticate = Authenticate::decode(message, NegotiateFlags::UNICODE).unwrap();
            *message = Authenticate { user: &[0x41; 60_000], ..authenticate }.encode().unwrap();
        }
    };
    let event = told(&Pair::new(), long, Told::default(), Told::default()).1.only();
    assert!(event.account.unwrap().len() < 2000);
}

#[test]
fn what_the_policy_watches_is_told_unless_nothing_is() {
    let kinds = |policy: Policy, is_in_spnego| {
        let pair = Pair { client_policy: policy, server_policy: policy, ..Pair::new() };
        let (client, server) = told(&pair, |_, _| (), Told::in_spnego(is_in_spnego), Told::in_spnego(is_in_spnego));
        [client, server].map(|side| side.events.into_inner().unwrap().pop().map(|event| event.kind))
    };
    let watching = |audit| Policy { outgoing: Traffic::Audit, incoming: Traffic::Audit, audit, ..Policy::default() };
    let watched = [Some(Kind::ClientWatched), Some(Kind::ServerWatched)];
    assert_eq!(kinds(watching(AuditPolicy::Failures), None), watched);
    assert_eq!(kinds(watching(AuditPolicy::All), None), watched);
    assert_eq!(kinds(watching(AuditPolicy::Off), None), [None; 2]);
    let inside = Policy { inside_spnego: Traffic::Audit, ..Policy::default() };
    assert_eq!(kinds(inside, Some(false)), [None; 2]);
    assert_eq!(kinds(inside, Some(true)), [Some(Kind::ClientWatched), None]);
}

#[test]
fn what_the_policy_denies_is_told_as_blocked() {
    let denying = Policy { inside_spnego: Traffic::Deny, incoming: Traffic::Deny, ..Policy::default() };
    let pair = Pair { client_policy: denying, server_policy: denying, ..Pair::new() };
    let (client, server) = (Told::in_spnego(Some(true)), Told::default());
    pair.initiate_on(&client, &mut Context::new(Role::Initiator), &[]).unwrap_err();
    pair.accept_on(&server, &mut Context::new(Role::Acceptor), &Pair::new().messages()[0]).unwrap_err();
    let host = Told::default();
    let outgoing = Policy { outgoing: Traffic::Deny, ..Policy::default() };
    let error = outgoing.ensure_outgoing(Some(&pair.target)).unwrap_err();
    tell_of_unstarted_initiator(Some(&pair.target), &error, &Env::without_domain(outgoing, &host));
    let events = [client, server, host].map(Told::only);
    assert_eq!(
        events.each_ref().map(|event| event.kind),
        [Kind::ClientBlocked, Kind::ServerBlocked, Kind::ClientBlocked]
    );
    assert_eq!(events[2].target.as_deref(), Some("HTTP/srv"));
}
