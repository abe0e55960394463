//! The settings of both sides of a handshake, and their requests.

use gss_ntlm::{
    context::{AcceptRequest, ChannelBindings, Context, ContextFlags, InitiateRequest},
    cred::{Acceptor, Accounts, CredStore, Credential, Env, Usage},
    error::Result,
    name::Name,
    policy::{BindingsPolicy, DatagramPolicy, LmLevel, MicPolicy, Minimum, Policy, TargetInfoPolicy, TargetNamePolicy},
    session::{Buffer, Session},
    wire::AvId,
};

use crate::{Fixed, Tape, no_fault, user_file};

/// With this token a program starts a connectionless handshake.
pub const EMPTY_TOKEN_OF_NTLM: &[u8] = b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// Who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Alice,
    /// Has only an NT hash in the user file.
    Bob,
    /// Its name and its password are not ASCII.
    Oemer,
    /// Says that it is Alice.
    WrongPassword,
    Unknown,
    /// Knows the password of an account that is disabled.
    Disabled,
    Anonymous,
}

impl Client {
    pub fn read(tape: &mut Tape<'_>) -> Self {
        tape.pick(&[
            Self::Alice,
            Self::Bob,
            Self::Oemer,
            Self::WrongPassword,
            Self::Unknown,
            Self::Disabled,
            Self::Anonymous,
        ])
    }

    /// Whether an acceptor may believe it.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Alice | Self::Bob | Self::Oemer)
    }

    /// Its user, domain and password.
    pub fn account(self) -> [&'static str; 3] {
        match self {
            Self::Alice => ["alice", "DOM", "secret"],
            Self::Bob => ["bob", "", "Password"],
            Self::Oemer => ["\u{d6}mer", "DOM", "p\u{e4}ssword"],
            Self::WrongPassword => ["alice", "DOM", "wrong"],
            Self::Unknown => ["mallory", "DOM", "secret"],
            Self::Disabled => ["old", "", "SecREt01"],
            Self::Anonymous => ["", "", ""],
        }
    }

    fn credential(self, policy: Policy) -> Credential {
        if self == Self::Anonymous {
            return Credential::anonymous();
        }
        let [user, domain, password] = self.account();
        let name = Name::parse_user(&format!("{domain}\\{user}")).unwrap();
        let store = CredStore::default().with_password(password.as_bytes()).unwrap();
        no_fault(Credential::acquire(Some(&name), Usage::Initiate, &store, &env(policy))).unwrap()
    }
}

/// Where a side runs: there is no domain.
pub const fn env(policy: Policy) -> Env<'static> {
    Env { policy, host: &Fixed, domain: None, store: None }
}

/// A policy; the usual one is the default.
pub fn policy(tape: &mut Tape<'_>) -> Policy {
    Policy {
        lm_level: tape.pick(&[3, 0, 1, 2, 4, 5].map(|level| LmLevel::new(level).unwrap())),
        anonymous: tape.bool(),
        mic: tape.pick(&[MicPolicy::Auto, MicPolicy::Always, MicPolicy::RawOnly, MicPolicy::Off]),
        require_mic: tape.bool(),
        channel_bindings: tape.pick(&[BindingsPolicy::WhenSent, BindingsPolicy::Required, BindingsPolicy::Off]),
        target_name: tape.pick(&[TargetNamePolicy::Off, TargetNamePolicy::Audit, TargetNamePolicy::Required]),
        target_info: tape.pick(&[TargetInfoPolicy::Required, TargetInfoPolicy::Optional]),
        datagram: tape.pick(&[DatagramPolicy::AsAsked, DatagramPolicy::Yes, DatagramPolicy::No]),
        minimum: match tape.u8() {
            0 => Policy::default().minimum,
            bits => Minimum::from_bits_truncate(bits),
        },
        ..Policy::default()
    }
}

/// What an application and an administrator set on one side.
pub struct Side {
    pub policy: Policy,
    pub bindings: Option<ChannelBindings<'static>>,
    credential: Credential,
}

fn bindings(tape: &mut Tape<'_>) -> Option<ChannelBindings<'static>> {
    let of = |application_data| Some(ChannelBindings { application_data, ..ChannelBindings::default() });
    tape.pick(&[None, of(b"tls-server-end-point:x"), of(b"tls-server-end-point:y")])
}

impl Side {
    fn new(policy: Policy, credential: Credential) -> Self {
        Self { policy, bindings: None, credential }
    }

    fn read(tape: &mut Tape<'_>, credential: impl FnOnce(Policy) -> Credential) -> Self {
        if !tape.bool() {
            return Self::new(Policy::default(), credential(Policy::default()));
        }
        let policy = policy(tape);
        let (bindings, credential) = (bindings(tape), credential(policy));
        let (has_neg_flags, neg_flags, no_ci_flags) = (tape.bool(), tape.u32(), tape.bool());
        credential.set_options(|options| {
            options.neg_flags = has_neg_flags.then_some(neg_flags);
            options.no_ci_flags = no_ci_flags;
        });
        Self { policy, bindings, credential }
    }
}

/// A client and what its application asks for.
pub struct Initiating {
    pub client: Client,
    pub side: Side,
    pub requested: ContextFlags,
    pub target: Option<Name>,
}

impl Initiating {
    pub fn new(client: Client, policy: Policy, requested: ContextFlags) -> Self {
        Self { client, side: Side::new(policy, client.credential(policy)), requested, target: None }
    }

    pub fn read(tape: &mut Tape<'_>) -> Self {
        let client = Client::read(tape);
        let side = Side::read(tape, |policy| client.credential(policy));
        let usual = ContextFlags::INTEG | ContextFlags::CONF;
        let requested = usual ^ ContextFlags::from_bits_retain(tape.u32());
        let target = tape.pick(&[Some("HTTP/srv"), None, Some("@srv"), Some("cifs/other.dom.test")]);
        let target = target.map(|target| Name::parse_service(target, "").unwrap());
        Self { client, side, requested, target }
    }

    /// Whether the client proves nothing.
    pub fn is_anonymous(&self) -> bool {
        self.client == Client::Anonymous || self.requested.contains(ContextFlags::ANON)
    }

    pub fn step(&self, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        no_fault(context.initiate(&InitiateRequest {
            credential: &self.side.credential,
            target: self.target.as_ref(),
            requested: self.requested,
            bindings: self.side.bindings,
            token,
            env: &env(self.side.policy),
        }))
    }
}

/// A server.
pub struct Accepting(pub Side);

impl Accepting {
    pub fn new(policy: Policy) -> Self {
        Self(Side::new(policy, Credential::new(None, Some(acceptor()))))
    }

    pub fn read(tape: &mut Tape<'_>) -> Self {
        Self(Side::read(tape, |_| Credential::new(None, Some(acceptor()))))
    }

    pub fn step(&self, context: &mut Context, token: &[u8]) -> Result<Vec<u8>> {
        no_fault(context.accept(&AcceptRequest {
            credential: Some(&self.0.credential),
            bindings: self.0.bindings,
            token,
            env: &env(self.0.policy),
        }))
    }
}

/// The service that the acceptors are, and its accounts.
pub fn acceptor() -> Acceptor {
    let accounts = Accounts { user_file: Some(user_file()), asks_domain: false };
    Acceptor { name: Name::parse_service("HTTP@srv", "").unwrap(), is_named: true, accounts }
}

/// An id of an AV_PAIR, mostly a known one.
pub fn av_id(tape: &mut Tape<'_>) -> AvId {
    let id = tape.u8();
    AvId(u16::from(if id < 0x80 { id % 12 } else { id }))
}

/// The context as another process gets it: it must be the same.
pub fn moved(context: &Context) -> Context {
    let exported = no_fault(context.export()).unwrap();
    let imported = no_fault(Context::import(&exported)).unwrap();
    assert!(*imported.export().unwrap() == *exported);
    assert_eq!(imported.flags(), context.flags());
    imported
}

/// Sends protected messages from one side to the other, where the session protects them.
pub fn talk(from: &mut Session, to: &mut Session) {
    if from.is_datagram() {
        from.set_seq_num(7).unwrap();
        to.set_seq_num(7).unwrap();
    }
    let message = b"attack at dawn";
    if from.ensure_can_wrap().is_ok() {
        let mut data = *message;
        let signature = from.wrap(&mut [Buffer::Data(&mut data)]).unwrap();
        assert_ne!(&data, message, "in plain text");
        to.unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
        assert_eq!(&data, message);
    }
    if from.ensure_can_sign().is_ok() {
        let signature = from.get_mic(&[message]).unwrap();
        to.verify_mic(&[message], &signature).unwrap();
    }
}
