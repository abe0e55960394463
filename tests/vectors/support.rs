//! What the vectors are run with: a fixed host, a user file, and the members of a vector.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use gss_ntlm::{
    context::ChannelBindings,
    cred::{self, Acceptor, Credential, Env},
    error::Result,
    host::{FileTime, Host, LocalNames},
    name::Name,
    policy::Policy,
    wire::NegotiateFlags,
};
use serde_json::Value;

/// Nothing, or why a vector fails.
pub(crate) type Outcome = core::result::Result<(), String>;

/// The host of [MS-NLMP] 4.2.1: the time, the ClientChallenge and the RandomSessionKey are its constants.
pub(crate) struct Fixed {
    pub(crate) now: FileTime,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { now: FileTime(0) }
    }
}

impl Host for Fixed {
    fn now(&self) -> FileTime {
        self.now
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        // ClientChallenge, which comes alone or before the session key, and RandomSessionKey of [MS-NLMP] 4.2.1.
        let (challenge, key) = out.split_at_mut(if out.len() == 16 { 0 } else { 8 });
        challenge.fill(0xaa);
        key.fill(0x55);
        Ok(())
    }

    fn names(&self) -> LocalNames {
        LocalNames { computer: Some("COMPUTER".to_owned()), ..LocalNames::default() }
    }

    fn version(&self) -> [u8; 8] {
        [5, 1, 0x28, 0x0a, 0, 0, 0, 15]
    }

    fn variable(&self, _: &'static str) -> Option<String> {
        None
    }

    fn trace(&self, _: fmt::Arguments<'_>) {}
}

/// Where a vector is run: there is no domain.
pub(crate) fn env(policy: Policy, host: &dyn Host) -> Env<'_> {
    Env { policy, host, domain: None, store: None }
}

/// A user file of its own for one vector.
pub(crate) struct Accounts(PathBuf);

impl Accounts {
    pub(crate) fn new(accounts: &[&Value]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gss-ntlm-vectors-{}-{number}", std::process::id()));
        let lines = accounts.iter().map(|account| {
            let account = Map(account);
            let (user, domain) = (account.text("user"), account.text("domain"));
            match account.0["nt_hash"].as_str() {
                Some(hash) => format!("{domain}\\{user}:1000:{}:{hash}:[U          ]:LCT-0\n", "X".repeat(32)),
                None => format!("{domain}:{user}:{}\n", account.text("password")),
            }
        });
        fs::write(&path, lines.collect::<String>()).expect("a temporary file");
        Self(path)
    }

    pub(crate) fn acceptor(&self) -> Credential {
        let name = Name::parse_service("host@server", "").expect("a name");
        let accounts = cred::Accounts { user_file: Some(self.0.clone()), asks_domain: false };
        Credential::new(None, Some(Acceptor { name, is_named: true, accounts }))
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) struct Bindings {
    addrtypes: [u32; 2],
    parts: [Vec<u8>; 3],
}

impl Bindings {
    pub(crate) fn new(bindings: &Value) -> Self {
        let bindings = Map(bindings);
        let addrtype = |name| bindings.0[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Self {
            addrtypes: [addrtype("initiator_addrtype"), addrtype("acceptor_addrtype")],
            parts: ["initiator_address", "acceptor_address", "application_data"]
                .map(|name| bindings.optional_bytes(name).unwrap_or_default()),
        }
    }

    pub(crate) fn borrow(&self) -> ChannelBindings<'_> {
        let [initiator_addrtype, acceptor_addrtype] = self.addrtypes;
        let [initiator_address, acceptor_address, application_data] = &self.parts;
        ChannelBindings { initiator_addrtype, initiator_address, acceptor_addrtype, acceptor_address, application_data }
    }
}

/// The members of a vector. A missing one is a fault of the vector, and ends the run.
#[derive(Clone, Copy)]
pub(crate) struct Map<'a>(pub(crate) &'a Value);

impl<'a> Map<'a> {
    pub(crate) fn text(self, name: &str) -> &'a str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no text {name} in {}", self.0))
    }

    pub(crate) fn boolean(self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_else(|| panic!("no truth {name} in {}", self.0))
    }

    pub(crate) fn u32(self, name: &str) -> u32 {
        let number = self.0[name].as_u64().and_then(|number| u32::try_from(number).ok());
        number.unwrap_or_else(|| panic!("no number {name} in {}", self.0))
    }

    pub(crate) fn flags(self, name: &str) -> NegotiateFlags {
        NegotiateFlags::from_bits_retain(self.u32(name))
    }

    pub(crate) fn bytes(self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }

    pub(crate) fn optional_bytes(self, name: &str) -> Option<Vec<u8>> {
        self.0[name].as_str().map(unhex)
    }

    pub(crate) fn array<const N: usize>(self, name: &str) -> [u8; N] {
        array(&self.bytes(name))
    }

    /// `token`, or `token_parts` put together.
    pub(crate) fn token(self) -> Vec<u8> {
        self.optional_bytes("token").unwrap_or_else(|| {
            let parts = self.0["token_parts"].as_array().expect("a token or its parts").iter();
            parts
                .flat_map(|part| {
                    let times = part["repeat"].as_u64().map_or(1, |times| usize::try_from(times).expect("a number"));
                    Map(part).bytes("hex").repeat(times)
                })
                .collect()
        })
    }
}

pub(crate) fn same<T: PartialEq<U> + fmt::Debug + ?Sized, U: fmt::Debug + ?Sized>(
    what: &str, got: &T, expected: &U,
) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{what} is {got:02x?}, not {expected:02x?}")) }
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0xee; N]) // a spoiled length: nothing is like it
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{text} is not hex"))).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}
