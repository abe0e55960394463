//! An initiator and an acceptor in memory: every message in every state, and every bit of every message.

mod audit;
mod datagram;
mod exported;
mod forged;
mod forwarded;
mod minimum;
mod old;
mod recorded;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    bytes::{CHECKSUM_LEN, append_checksum},
    cred::{Acceptor, Accounts, CredStore, Credential, DomainService, Env, Usage},
    error::{ApiMisuse, CredentialError, Error, LogonFault, PeerIncompatible, PeerMisbehaved, PolicyError},
    host::{FileTime, Host, LocalNames},
    name::Name,
    policy::{BindingsPolicy, MicPolicy, Minimum, Policy, TargetNamePolicy},
    session::{Buffer, Role, SIGNATURE_LEN},
};

use super::{response::ReceivedResponse, *};
use crate::wire::{Authenticate, NegotiateFlags};

/// A host at a fixed time, whose random bytes are all the same.
struct Fixed(u64);

impl Host for Fixed {
    fn now(&self) -> FileTime {
        FileTime::from_unix(self.0, 0)
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x5a);
        Ok(())
    }

    fn names(&self) -> LocalNames {
        let [computer, domain] = ["SRV", "DOM"].map(|name| Some(name.to_owned()));
        LocalNames { computer, domain, host_name: "srv.dom.test".into() }
    }

    fn version(&self) -> [u8; 8] {
        [10, 0, 0, 0, 0, 0, 0, 15]
    }

    fn variable(&self, _: &'static str) -> Option<String> {
        None
    }

    fn trace(&self, _: core::fmt::Arguments<'_>) {}
}

const NOW: u64 = 1_700_000_000;

const fn env(policy: Policy) -> Env<'static> {
    Env::without_domain(policy, &Fixed(NOW))
}

const BINDINGS: ChannelBindings<'_> = ChannelBindings {
    initiator_addrtype: 0,
    initiator_address: &[],
    acceptor_addrtype: 0,
    acceptor_address: &[],
    application_data: b"tls-server-end-point:x",
};

/// Both sides of a handshake, with their settings.
struct Pair {
    client: Credential,
    server: Credential,
    target: Name,
    requested: ContextFlags,
    client_policy: Policy,
    server_policy: Policy,
    client_bindings: Option<ChannelBindings<'static>>,
    server_bindings: Option<ChannelBindings<'static>>,
    client_host: Fixed,
    client_domain: Option<&'static dyn DomainService>,
    _user_file: TemporaryFile,
}

impl Pair {
    fn new() -> Self {
        Self::with_password("secret")
    }

    fn with_password(password: &str) -> Self {
        let name = Name::parse_user("DOM\\alice").unwrap();
        let store = CredStore::default().with_password(password.as_bytes()).unwrap();
        let service = Name::parse_service("HTTP@srv", "").unwrap();
        let user_file = TemporaryFile::new();
        let accounts = Accounts { user_file: Some(user_file.0.clone()), asks_domain: false };
        let acceptor = Acceptor { name: service.clone(), is_named: true, accounts };
        Self {
            client: Credential::acquire(Some(&name), Usage::Initiate, &store, &env(Policy::default())).unwrap(),
            server: Credential::new(None, Some(acceptor)),
            target: service,
            requested: ContextFlags::INTEG | ContextFlags::CONF,
            client_policy: Policy::default(),
            server_policy: Policy::default(),
            client_bindings: None,
            server_bindings: None,
            client_host: Fixed(NOW),
            client_domain: None,
            _user_file: user_file,
        }
    }

    fn initiate(&self, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        self.initiate_on(&self.client_host, context, token)
    }

    fn initiate_on(&self, host: &dyn Host, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        context.initiate(&InitiateRequest {
            credential: &self.client,
            target: Some(&self.target),
            requested: self.requested,
            bindings: self.client_bindings,
            token,
            env: &Env { policy: self.client_policy, host, domain: self.client_domain, store: None },
        })
    }

    fn accept(&self, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        self.accept_on(&Fixed(NOW), context, token)
    }

    fn accept_on(&self, host: &dyn Host, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        context.accept(&AcceptRequest {
            credential: Some(&self.server),
            bindings: self.server_bindings,
            token,
            env: &Env::without_domain(self.server_policy, host),
        })
    }

    /// The whole handshake; `tamper` may change the three messages on their way.
    fn handshake(&self, tamper: impl Fn(usize, &mut Vec<u8>)) -> Result<(Context, Context)> {
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let mut negotiate = self.initiate(&mut client, &[])?;
        tamper(0, &mut negotiate);
        let mut challenge = self.accept(&mut server, &negotiate)?;
        tamper(1, &mut challenge);
        let mut authenticate = self.initiate(&mut client, &challenge)?;
        tamper(2, &mut authenticate);
        assert!(self.accept(&mut server, &authenticate)?.is_empty());
        assert!(client.is_established() && server.is_established());
        Ok((client, server))
    }

    fn acceptor(&self) -> Arc<Acceptor> {
        Arc::clone(self.server.acceptor().unwrap())
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let messages = std::cell::RefCell::new(Vec::new());
        self.handshake(|_, message| messages.borrow_mut().push(message.clone())).unwrap();
        messages.into_inner()
    }

    fn error(&self) -> Error {
        self.handshake(|_, _| ()).map(drop).unwrap_err()
    }
}

/// A user file that is removed when its test ends.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gss-ntlm-context-{}-{number}", std::process::id()));
        std::fs::write(&path, "DOM:Alice:secret\n").unwrap();
        Self(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn exchange(from: &mut Context, to: &mut Context, message: &[u8]) {
    let mut data = message.to_vec();
    let signature = from.session().unwrap().wrap(&mut [Buffer::Data(&mut data)]).unwrap();
    assert!(message.is_empty() || data != message, "in plain text");
    to.session().unwrap().unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
    assert_eq!(data, message);
}

#[test]
fn both_sides_get_the_same_keys_and_flags() {
    let (mut client, mut server) = Pair::new().handshake(|_, _| ()).unwrap();
    let protected = ContextFlags::INTEG | ContextFlags::CONF | ContextFlags::REPLAY | ContextFlags::SEQUENCE;
    for context in [&client, &server] {
        assert_eq!(context.flags(), protected | ContextFlags::TRANS);
        assert_eq!(context.established().unwrap().flags, context.flags());
    }
    assert_eq!(server.established().unwrap().initiator.name.to_string(), "DOM\\Alice", "as the file spells it");
    assert!(server.established().unwrap().has_mic);
    for message in [&b"hello"[..], b"", b"a longer one"] {
        exchange(&mut client, &mut server, message);
        exchange(&mut server, &mut client, message);
    }
}

#[test]
fn messages_are_not_protected_unless_the_application_asks_for_it() {
    let pair = Pair { requested: ContextFlags::empty(), ..Pair::new() };
    let (mut client, server) = pair.handshake(|_, _| ()).unwrap();
    assert_eq!(server.flags(), ContextFlags::TRANS);
    assert!(server.established().unwrap().has_mic, "there is a MIC without protection, too");
    let refused = client.session().unwrap().wrap(&mut [Buffer::Data(&mut [0; 4])]);
    assert_eq!(refused.unwrap_err(), ApiMisuse::NoProtection.into());
}

#[test]
fn any_changed_bit_of_any_message_ends_the_handshake() {
    // If no MIC is required, an attacker can remove the timestamp from the CHALLENGE_MESSAGE, and there is no MIC.
    let pair = Pair { server_policy: Policy { require_mic: true, ..Policy::default() }, ..Pair::new() };
    for (number, message) in pair.messages().iter().enumerate() {
        for bit in 0..message.len() * 8 {
            let result = pair.handshake(|at, message| {
                if at == number {
                    message[bit / 8] ^= 1 << (bit % 8);
                }
            });
            assert!(result.is_err(), "message {number}, bit {bit}");
        }
    }
}

#[test]
fn names_that_the_server_never_sent_are_refused() {
    let pair = Pair { client_policy: Policy { mic: MicPolicy::Off, ..Policy::default() }, ..Pair::new() };
    let renamed = |from: u8, to: u8| {
        pair.handshake(|at, message| {
            let find =
                |message: &[u8]| message.windows(4).rposition(|w| w[0] == from && w[1] == 0 && w[2] > 4 && w[3] == 0);
            if let (1, Some(place)) = (at, find(message)) {
                message[place] = to;
            }
        })
        .map(drop)
    };
    assert_eq!(renamed(3, 5), Err(PeerMisbehaved::ChangedTargetInfo.into()), "a forest that the server did not send");
    assert_eq!(renamed(3, 99), Ok(()), "an unknown id is allowed");
}

#[test]
fn any_truncation_of_any_message_ends_the_handshake() {
    let pair = Pair::new();
    for (number, message) in pair.messages().iter().enumerate() {
        for len in 0..message.len() {
            let result = pair.handshake(|at, message| {
                if at == number {
                    message.truncate(len);
                }
            });
            assert!(result.is_err(), "message {number}, {len} bytes");
        }
    }
}

#[test]
fn a_failed_context_stays_failed() {
    let pair = Pair::new();
    let messages = pair.messages();
    let mut server = Context::new(Role::Acceptor);
    pair.accept(&mut server, b"NTLMSSP\0garbage").unwrap_err();
    assert!(server.is_failed());
    assert_eq!(pair.accept(&mut server, &messages[0]).unwrap_err(), ApiMisuse::NoContext.into());
    assert_eq!(server.established().unwrap_err(), ApiMisuse::NoContext.into());

    let mut client = Context::new(Role::Initiator);
    pair.initiate(&mut client, &[]).unwrap();
    pair.initiate(&mut client, &messages[2]).unwrap_err();
    assert_eq!(pair.initiate(&mut client, &messages[1]).unwrap_err(), ApiMisuse::NoContext.into());
}

#[test]
fn a_message_out_of_turn_is_refused() {
    let pair = Pair::new();
    let messages = pair.messages();
    for wrong in [1, 2] {
        assert!(pair.accept(&mut Context::new(Role::Acceptor), &messages[wrong]).is_err());
        assert!(pair.initiate(&mut Context::new(Role::Initiator), &messages[wrong]).is_err());
    }
    let mut client = Context::new(Role::Initiator);
    assert_eq!(pair.accept(&mut client, &messages[0]).unwrap_err(), ApiMisuse::WrongRole.into());
    pair.initiate(&mut client, &[]).unwrap();
}

#[test]
fn a_token_for_an_established_context_changes_nothing() {
    let pair = Pair::new();
    let messages = pair.messages();
    let (mut client, mut server) = pair.handshake(|_, _| ()).unwrap();
    assert_eq!(pair.accept(&mut server, &messages[2]).unwrap_err(), ApiMisuse::AlreadyEstablished.into());
    assert_eq!(pair.initiate(&mut client, &messages[1]).unwrap_err(), ApiMisuse::AlreadyEstablished.into());
    exchange(&mut client, &mut server, b"still here");
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_the_same_to_the_client() {
    let wrong = Pair::with_password("wrong").error();
    assert_eq!(wrong, PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into());
    let name = Name::parse_user("DOM\\mallory").unwrap();
    let store = CredStore::default().with_password(b"secret").unwrap();
    let client = Credential::acquire(Some(&name), Usage::Initiate, &store, &env(Policy::default())).unwrap();
    let unknown = Pair { client, ..Pair::new() }.error();
    assert_eq!(unknown, PeerMisbehaved::LogonFailure(LogonFault::UnknownUser).into());
    assert_eq!((unknown.code(), unknown.to_string()), (wrong.code(), wrong.to_string()));
}

#[test]
fn a_client_may_leave_out_its_domain_but_not_have_another() {
    for (name, is_served) in [("alice", true), ("dom\\ALICE", true), ("OTHER\\alice", false)] {
        let store = CredStore::default().with_password(b"secret").unwrap();
        let name = Name::parse_user(name).unwrap();
        let client = Credential::acquire(Some(&name), Usage::Initiate, &store, &env(Policy::default())).unwrap();
        assert_eq!(Pair { client, ..Pair::new() }.handshake(|_, _| ()).is_ok(), is_served, "{name}");
    }
}

#[test]
fn channel_bindings_are_compared_as_the_policy_says() {
    let other = ChannelBindings { application_data: b"tls-server-end-point:y", ..BINDINGS };
    let bound = |client, server, policy| {
        let server_policy = Policy { channel_bindings: policy, ..Policy::default() };
        let pair = Pair { client_bindings: client, server_bindings: server, server_policy, ..Pair::new() };
        pair.handshake(|_, _| ()).map(|(_, server)| server.flags().contains(ContextFlags::CHANNEL_BOUND))
    };
    let wrong = Err(PeerMisbehaved::WrongBindings.into());
    let missing = Err(PolicyError::BindingsRequired.into());
    for (policy, both, none, one, differ) in [
        (BindingsPolicy::WhenSent, Ok(true), Ok(false), Ok(false), wrong.clone()),
        (BindingsPolicy::Required, Ok(true), missing.clone(), missing, wrong),
        (BindingsPolicy::Off, Ok(false), Ok(false), Ok(false), Ok(false)),
    ] {
        assert_eq!(bound(Some(BINDINGS), Some(BINDINGS), policy), both);
        assert_eq!(bound(None, None, policy), none);
        assert_eq!(bound(None, Some(BINDINGS), policy), one);
        assert_eq!(bound(Some(BINDINGS), None, policy), one);
        assert_eq!(bound(Some(other), Some(BINDINGS), policy), differ);
    }
}

#[test]
fn a_mic_is_sent_and_required_as_the_policies_say() {
    let pair = Pair { client_policy: Policy { mic: MicPolicy::Off, ..Policy::default() }, ..Pair::new() };
    let (client, server) = pair.handshake(|_, _| ()).unwrap();
    assert!(!client.established().unwrap().has_mic && !server.established().unwrap().has_mic);
    let pair = Pair { server_policy: Policy { require_mic: true, ..Policy::default() }, ..pair };
    assert_eq!(pair.error(), PolicyError::MicRequired.into());
    assert!(Pair { client_policy: Policy::default(), ..pair }.handshake(|_, _| ()).is_ok());
}

#[test]
fn inside_spnego_a_mic_is_sent_unless_it_is_for_raw_ntlm_only() {
    for (mic, is_asked, has_mic) in
        [(MicPolicy::Auto, true, true), (MicPolicy::RawOnly, true, false), (MicPolicy::RawOnly, false, true)]
    {
        let pair = Pair { client_policy: Policy { mic, ..Policy::default() }, ..Pair::new() };
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let negotiate = pair.initiate(&mut client, &[]).unwrap();
        if is_asked {
            assert!(!client.requires_mech_list_mic());
        }
        let challenge = pair.accept(&mut server, &negotiate).unwrap();
        let authenticate = pair.initiate(&mut client, &challenge).unwrap();
        pair.accept(&mut server, &authenticate).unwrap();
        assert_eq!(client.requires_mech_list_mic(), has_mic);
        assert_eq!(server.established().unwrap().has_mic, has_mic);
    }
}

#[test]
fn the_client_refuses_a_server_with_a_far_time() {
    let pair = |seconds| Pair { client_host: Fixed(seconds), ..Pair::new() };
    assert!(pair(NOW + 36 * 3600).handshake(|_, _| ()).is_ok());
    assert_eq!(pair(NOW + 36 * 3600 + 1).error(), PeerIncompatible::ClockSkew.into());
    assert_eq!(pair(NOW - 36 * 3600 - 1).error(), PeerIncompatible::ClockSkew.into());
}

#[test]
fn the_minimum_of_each_side_is_enforced() {
    let minimum = Policy { minimum: Minimum::SEAL, ..Policy::default() };
    let pair = Pair { requested: ContextFlags::empty(), server_policy: minimum, ..Pair::new() };
    assert_eq!(pair.error(), PeerIncompatible::NoSign.into());
    let (_, server) = Pair { client_policy: minimum, ..pair }.handshake(|_, _| ()).unwrap();
    assert!(server.flags().contains(ContextFlags::CONF));
}

#[test]
fn the_target_is_compared_as_the_policy_says() {
    for (target, policy, is_served) in [
        ("HTTP@srv", TargetNamePolicy::Required, true),
        ("http@SRV", TargetNamePolicy::Required, true),
        ("HTTP@other", TargetNamePolicy::Required, false),
        ("@srv", TargetNamePolicy::Required, false),
        ("HTTP@other", TargetNamePolicy::Audit, true),
        ("HTTP@other", TargetNamePolicy::Off, true),
    ] {
        let target_name = Name::parse_service(target, "").unwrap();
        let server_policy = Policy { target_name: policy, ..Policy::default() };
        let pair = Pair { target: target_name, server_policy, ..Pair::new() };
        assert_eq!(pair.handshake(|_, _| ()).is_ok(), is_served, "{target}");
    }
}

#[test]
fn credentials_of_the_other_usage_are_refused() {
    let pair = Pair::new();
    let mixed = Pair { client: pair.server, server: pair.client, ..Pair::new() };
    let refused = mixed.initiate(&mut Context::new(Role::Initiator), &[]).unwrap_err();
    assert_eq!(refused, ApiMisuse::NotAnInitiator.into());
    let refused = mixed.accept(&mut Context::new(Role::Acceptor), &Pair::new().messages()[0]).unwrap_err();
    assert_eq!(refused, ApiMisuse::NotAnAcceptor.into());
}

#[test]
fn a_context_continues_in_another_process_in_every_state() {
    let pair = Pair::new();
    let again = |context: Context| Context::import(&context.export().unwrap()).unwrap();
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let mut client = again(client);
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    let mut server = again(server);
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    pair.accept(&mut server, &authenticate).unwrap();
    exchange(&mut client, &mut server, b"before");
    let (mut client, mut server) = (again(client), again(server));
    exchange(&mut client, &mut server, b"after");
    exchange(&mut server, &mut client, b"after");
    assert_eq!(server.established().unwrap().initiator.name.to_string(), "DOM\\Alice");
    assert!(client.export().unwrap().len() <= 900);
}

#[test]
fn the_credential_of_the_first_call_counts_in_every_later_one() {
    let pair = Pair::new();
    // Another acceptor, whose accounts do not have the client.
    let other = Pair::new();
    std::fs::write(&other._user_file.0, "DOM:bob:secret\n").unwrap();
    for later in [Some(&other.server), None] {
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let challenge = pair.accept(&mut server, &pair.initiate(&mut client, &[]).unwrap()).unwrap();
        let authenticate = pair.initiate(&mut client, &challenge).unwrap();
        for mut context in [Context::import(&server.export().unwrap()).unwrap(), server] {
            let request = AcceptRequest {
                credential: later,
                bindings: None,
                token: &authenticate,
                env: &env(pair.server_policy),
            };
            // A credential that is not an acceptor's is refused, and the context does not change.
            let wrong = AcceptRequest { credential: Some(&pair.client), ..request };
            assert_eq!(context.accept(&wrong).unwrap_err(), ApiMisuse::NotAnAcceptor.into());
            assert_eq!(context.accept(&request), Ok(Vec::new()));
            assert_eq!(context.established().unwrap().acceptor, Some(pair.target.clone()));
        }
    }
}

#[test]
fn without_a_credential_the_default_one_is_acquired_once() {
    let pair = Pair::new();
    let host = Special { user_file: Some(pair._user_file.0.clone()), ..Special::default() };
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let accept = |server: &mut Context, token: &[u8], host: &dyn Host| {
        let env = &Env::without_domain(pair.server_policy, host);
        server.accept(&AcceptRequest { credential: None, bindings: None, token, env })
    };
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let without_a_file = accept(&mut Context::new(Role::Acceptor), &negotiate, &Fixed(NOW));
    assert_eq!(without_a_file.unwrap_err(), CredentialError::NoUserFile.into());
    let challenge = accept(&mut server, &negotiate, &host).unwrap();
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    for mut context in [Context::import(&server.export().unwrap()).unwrap(), server] {
        accept(&mut context, &authenticate, &Fixed(NOW)).unwrap();
        assert_eq!(context.established().unwrap().initiator.name.to_string(), "DOM\\Alice");
    }
}

/// A host like [`Fixed`], but with these differences.
#[derive(Default)]
struct Special {
    /// What NTLM_USER_FILE names.
    user_file: Option<PathBuf>,
    /// Whether its SPNEGO loses the mechListMIC.
    is_lossy: bool,
    /// How many lines were logged.
    logged: AtomicU32,
}

impl Host for Special {
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

    fn variable(&self, name: &'static str) -> Option<String> {
        self.user_file.as_ref().filter(|_| name == "NTLM_USER_FILE").map(|path| path.display().to_string())
    }

    fn spnego_loses_mic(&self) -> bool {
        self.is_lossy
    }

    fn is_called_by_lossy_spnego(&self) -> bool {
        self.is_lossy
    }

    fn log(&self, _: core::fmt::Arguments<'_>) {
        self.logged.fetch_add(1, Ordering::Relaxed);
    }

    fn trace(&self, _: core::fmt::Arguments<'_>) {}
}

#[test]
fn every_truncation_and_bit_flip_of_an_exported_context_is_refused() {
    let (client, _) = Pair::new().handshake(|_, _| ()).unwrap();
    let token = client.export().unwrap();
    for len in 0..token.len() {
        assert!(Context::import(&token[..len]).is_err(), "accepted {len} bytes");
    }
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Context::import(&changed).is_err(), "accepted bit {bit}");
    }
}

#[test]
fn a_context_that_has_not_started_is_not_exported() {
    assert_eq!(Context::new(Role::Initiator).export().unwrap_err(), ApiMisuse::NoContext.into());
}

#[test]
fn a_longer_exported_context_is_refused_even_with_a_right_checksum() {
    let (client, _) = Pair::new().handshake(|_, _| ()).unwrap();
    let token = client.export().unwrap();
    let (body, _) = token.split_last_chunk::<CHECKSUM_LEN>().unwrap();
    let sealed = |body: &[u8]| {
        let mut token = body.to_vec();
        append_checksum(&mut token);
        Context::import(&token).map(drop)
    };
    assert_eq!(sealed(body), Ok(()));
    assert!(sealed(&[body, &[0]].concat()).is_err());
    for len in 0..body.len() {
        assert!(sealed(&body[..len]).is_err(), "accepted {len} bytes");
    }
    for bit in 0..body.len() * 8 {
        let mut changed = body.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let _ = sealed(&changed); // whoever can compute the sum may say what he likes; but no panic
    }
}

#[test]
fn an_acceptor_without_a_name_compares_no_target() {
    let required = Policy { target_name: TargetNamePolicy::Required, ..Policy::default() };
    let mut pair = Pair { server_policy: required, ..Pair::new() };
    let accounts = pair.server.acceptor().unwrap().accounts.clone();
    pair.target = Name::parse_service("HTTP@other", "").unwrap();
    for own in ["@srv", "HTTP@srv"] {
        let (name, accounts) = (Name::parse_service(own, "").unwrap(), accounts.clone());
        pair.server = Credential::new(None, Some(Acceptor { name, is_named: false, accounts }));
        assert!(pair.handshake(|_, _| ()).is_ok(), "{own}");
    }
}

#[test]
fn a_credential_of_the_other_usage_changes_nothing() {
    let pair = Pair::new();
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    let Pair { client: initiates, server: accepts, _user_file, .. } = Pair::new();
    let mixed = Pair { client: accepts, server: initiates, ..Pair::new() };
    assert_eq!(mixed.initiate(&mut client, &challenge).unwrap_err(), ApiMisuse::NotAnInitiator.into());
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    assert_eq!(mixed.accept(&mut server, &authenticate).unwrap_err(), ApiMisuse::NotAnAcceptor.into());
    pair.accept(&mut server, &authenticate).unwrap();
}

/// A handshake through SPNEGO; a side whose `is_lossy` is set loses the mechListMIC.
#[test]
fn what_the_first_call_asks_for_counts() {
    let (pair, anonymous) = (Pair::new(), Pair { requested: ContextFlags::ANON, ..Pair::new() });
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    let authenticate = anonymous.initiate(&mut client, &challenge).unwrap();
    pair.accept(&mut server, &authenticate).unwrap();
    assert!(!client.flags().contains(ContextFlags::ANON));
}

#[test]
fn a_response_without_a_user_is_not_anonymous() {
    let pair = Pair { server_policy: Policy { anonymous: true, ..Policy::default() }, ..Pair::new() };
    let messages = pair.messages();
    let flags = NegotiateFlags::UNICODE;
    let message = Authenticate::decode(&messages[2], flags).unwrap();
    let read = |message: &Authenticate<'_>| {
        ReceivedResponse::read(message, flags, &[0; 8], &Policy::default()).map(|response| response.name())
    };
    let nothing = Authenticate { user: b"", nt_response: b"", lm_response: &[0], ..message };
    assert_eq!(read(&nothing), Ok("anonymous"));
    assert_eq!(read(&Authenticate { nt_response: message.nt_response, ..nothing }), Ok("NTLMv2"));
    assert!(read(&Authenticate { user: message.user, ..nothing }).is_err());
    assert!(read(&Authenticate { lm_response: &[1], ..nothing }).is_err());
}

fn handshake_through_spnego(pair: &Pair, [client_is_lossy, server_is_lossy]: [bool; 2]) -> (Context, Context) {
    let [client_host, server_host] =
        [client_is_lossy, server_is_lossy].map(|is_lossy| Special { is_lossy, ..Special::default() });
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let initiate = |client: &mut Context, token: &[u8]| {
        let request = InitiateRequest {
            credential: &pair.client,
            target: Some(&pair.target),
            requested: pair.requested,
            bindings: None,
            token,
            env: &Env { policy: pair.client_policy, host: &client_host, domain: pair.client_domain, store: None },
        };
        client.initiate(&request).unwrap()
    };
    let accept = |server: &mut Context, token: &[u8]| {
        let request = AcceptRequest {
            credential: Some(&pair.server),
            bindings: None,
            token,
            env: &Env::without_domain(pair.server_policy, &server_host),
        };
        server.accept(&request).unwrap()
    };
    let negotiate = initiate(&mut client, &[]);
    assert!(!client.requires_mech_list_mic());
    let challenge = accept(&mut server, &negotiate);
    let authenticate = initiate(&mut client, &challenge);
    accept(&mut server, &authenticate);
    (client, server)
}

#[test]
fn a_required_mic_that_spnego_loses_is_logged() {
    for (is_lossy, require_mic) in [(true, true), (true, false), (false, true), (false, false)] {
        let host = Special { is_lossy, ..Special::default() };
        let pair = Pair::new();
        let env = &Env::without_domain(Policy { require_mic, ..Policy::default() }, &host);
        let token = &pair.initiate(&mut Context::new(Role::Initiator), &[]).unwrap();
        let request = AcceptRequest { credential: Some(&pair.server), bindings: None, token, env };
        Context::new(Role::Acceptor).accept(&request).unwrap();
        assert_eq!(host.logged.load(Ordering::Relaxed), u32::from(is_lossy && require_mic), "{is_lossy} {require_mic}");
    }
}

#[test]
fn no_mic_is_sent_if_spnego_of_either_side_loses_the_mech_list_mic() {
    let policy = |mic, require_mic| Policy { mic, require_mic, ..Policy::default() };
    for (mic, require_mic, are_lossy, has_mic) in [
        (MicPolicy::Auto, false, [false, false], true),
        (MicPolicy::Auto, false, [true, false], false),
        (MicPolicy::Auto, false, [false, true], false),
        (MicPolicy::Auto, false, [true, true], false),
        (MicPolicy::Auto, true, [false, true], true),
        (MicPolicy::Always, false, [true, true], true),
    ] {
        let (client_policy, server_policy) = (policy(mic, false), policy(mic, require_mic));
        let pair = Pair { client_policy, server_policy, ..Pair::new() };
        let (mut client, server) = handshake_through_spnego(&pair, are_lossy);
        assert_eq!(client.requires_mech_list_mic(), has_mic, "{mic:?} {are_lossy:?}");
        assert_eq!(server.established().unwrap().has_mic, has_mic, "{mic:?} {are_lossy:?}");
    }
}

#[test]
fn the_first_message_may_have_number_1_only_if_a_mech_list_mic_gets_lost() {
    for is_lossy in [true, false] {
        for is_moved in [true, false] {
            let (mut client, mut server) = handshake_through_spnego(&Pair::new(), [true, is_lossy]);
            // SPNEGO signs a mechListMIC, then starts the stream anew.
            let lost = client.session().unwrap().get_mic(&[b"the list"]).unwrap();
            client.session().unwrap().reset_crypto(crate::session::Way::Send);
            if is_moved {
                server = Context::import(&server.export().unwrap()).unwrap();
            }
            let session = server.session().unwrap();
            let first = client.session().unwrap().get_mic(&[b"first"]).unwrap();
            let second = client.session().unwrap().get_mic(&[b"second"]).unwrap();
            let third = client.session().unwrap().get_mic(&[b"third"]).unwrap();
            // A refused message does not change the session.
            assert!(session.verify_mic(&[b"forged"], &first).is_err());
            assert!(session.verify_mic(&[b"second"], &second).is_err(), "one number, not two");
            assert_eq!(session.verify_mic(&[b"first"], &first).is_ok(), is_lossy);
            if is_lossy {
                assert!(session.verify_mic(&[b"third"], &third).is_err(), "from then on a lost message is seen");
                assert!(session.verify_mic(&[b"the list"], &lost).is_err());
                assert!(session.verify_mic(&[b"second"], &second).is_ok());
            } else {
                assert!(session.verify_mic(&[b"the list"], &lost).is_ok());
            }
        }
    }
}
