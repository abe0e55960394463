//! The keys of the policy: one table.

use bitflags::bitflags;

use super::{
    AuditPolicy, BindingsPolicy, DatagramPolicy, FipsPolicy, LmLevel, MicPolicy, Minimum, Policy, StorePolicy,
    TargetInfoPolicy, TargetNamePolicy, Traffic, UserFileMode, syntax::Section,
};

bitflags! {
    /// The sections that may have a key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Sections: u8 {
        const BOTH = 1;
        const SERVER = 2;
        const SERVER_PATTERN = 4;
        const CLIENT = 8;
        const CLIENT_PATTERN = 16;
    }
}

const BOTH: Sections = Sections::BOTH;
const SERVER: Sections = Sections::SERVER.union(Sections::SERVER_PATTERN);
const CLIENT: Sections = Sections::CLIENT.union(Sections::CLIENT_PATTERN);
const EITHER: Sections = SERVER.union(CLIENT);

impl Sections {
    /// The kind of this section.
    pub(super) const fn of(section: &Section) -> Self {
        match section {
            Section::Both => Self::BOTH,
            Section::Server(None) => Self::SERVER,
            Section::Server(Some(_)) => Self::SERVER_PATTERN,
            Section::Client(None) => Self::CLIENT,
            Section::Client(Some(_)) => Self::CLIENT_PATTERN,
        }
    }
}

/// A part of the policy that can be set.
pub(super) struct Key {
    /// Its name in a policy file.
    pub(super) name: &'static str,
    /// The environment variable that sets it, if there is one.
    pub(super) variable: Option<&'static str>,
    /// The sections that may have it.
    pub(super) sections: Sections,
    /// Its values, for the error's sentence.
    pub(super) allowed: Allowed,
    /// Sets the value; false if it is not allowed.
    pub(super) set: fn(&mut Policy, &str) -> bool,
    /// The value, as a policy file would have it.
    pub(super) get: fn(&Policy) -> String,
    /// Whether the second policy is as tight as the first one here, or tighter.
    pub(super) keeps: fn(&Policy, &Policy) -> bool,
}

/// The values of a key.
#[derive(Clone, Copy)]
pub(super) enum Allowed {
    /// These words, from loose to tight.
    Words(&'static [&'static str]),
    /// What this describes.
    Other(&'static str),
}

impl core::fmt::Display for Allowed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Words([all @ .., last]) if !all.is_empty() => write!(f, "{} or {last}", all.join(", ")),
            Self::Words(words) => f.write_str(&words.concat()),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A key with a word for each of its values, from loose to tight.
macro_rules! words {
    ($name:literal, $variable:expr, $sections:expr, $field:ident: $($word:literal => $value:expr),+) => {
        Key {
            name: $name,
            variable: $variable,
            sections: $sections,
            allowed: Allowed::Words(&[$($word),+]),
            set: |policy, value| {
                policy.$field = match value {
                    $($word => $value,)+
                    _ => return false,
                };
                true
            },
            get: |policy| {
                let words = [$(($value, $word)),+];
                words.iter().find(|(value, _)| *value == policy.$field).map_or("", |(_, word)| *word).to_owned()
            },
            keeps: |floor, wanted| {
                let rank = |value| [$($value),+].iter().position(|known| *known == value);
                rank(wanted.$field) >= rank(floor.$field)
            },
        }
    };
}

/// All keys. `scripts/check-man` reads their names, their variables and their words here.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lm-level",
        variable: Some("LM_COMPAT_LEVEL"),
        sections: EITHER,
        allowed: Allowed::Other("a number from 0 to 5"),
        set: |policy, value| set_if_some(&mut policy.lm_level, value.parse().ok().and_then(LmLevel::new)),
        get: |policy| policy.lm_level.0.to_string(),
        keeps: |floor, wanted| wanted.lm_level >= floor.lm_level,
    },
    words!("mic", Some("GSS_NTLM_MIC"), CLIENT, mic:
        "off" => MicPolicy::Off, "raw-only" => MicPolicy::RawOnly, "auto" => MicPolicy::Auto, "always" => MicPolicy::Always),
    words!("require-mic", Some("GSS_NTLM_REQUIRE_MIC"), SERVER, require_mic: "no" => false, "yes" => true),
    words!("channel-bindings", Some("GSS_NTLM_CHANNEL_BINDINGS"), SERVER, channel_bindings:
        "off" => BindingsPolicy::Off, "when-sent" => BindingsPolicy::WhenSent, "required" => BindingsPolicy::Required),
    words!("target-name", Some("GSS_NTLM_TARGET_NAME"), SERVER, target_name:
        "off" => TargetNamePolicy::Off, "audit" => TargetNamePolicy::Audit, "required" => TargetNamePolicy::Required),
    words!("target-info", Some("GSS_NTLM_TARGET_INFO"), CLIENT, target_info:
        "optional" => TargetInfoPolicy::Optional, "required" => TargetInfoPolicy::Required),
    Key {
        name: "minimum",
        variable: Some("GSS_NTLM_MINIMUM"),
        sections: BOTH.union(EITHER),
        allowed: Allowed::Other("sign-as-asked, or a list of 128, ess, sign, seal"),
        set: |policy, value| set_if_some(&mut policy.minimum, minimum(value)),
        get: minimum_text,
        keeps: |floor, wanted| wanted.minimum.contains(floor.minimum),
    },
    words!("datagram", Some("GSS_NTLM_DATAGRAM"), SERVER, datagram:
        "yes" => DatagramPolicy::Yes, "as-asked" => DatagramPolicy::AsAsked, "no" => DatagramPolicy::No),
    words!("anonymous", Some("GSS_NTLM_ANONYMOUS"), SERVER, anonymous: "yes" => true, "no" => false),
    Key {
        name: "max-skew",
        variable: Some("GSS_NTLM_MAX_SKEW"),
        sections: CLIENT,
        allowed: Allowed::Other("a number of hours"),
        set: |policy, value| set_if_some(&mut policy.max_skew_hours, value.parse().ok()),
        get: |policy| policy.max_skew_hours.to_string(),
        keeps: |floor, wanted| wanted.max_skew_hours <= floor.max_skew_hours,
    },
    words!("outgoing", Some("GSS_NTLM_OUTGOING"), CLIENT, outgoing:
        "allow" => Traffic::Allow, "audit" => Traffic::Audit, "deny" => Traffic::Deny),
    words!("incoming", Some("GSS_NTLM_INCOMING"), SERVER, incoming:
        "allow" => Traffic::Allow, "audit" => Traffic::Audit, "deny" => Traffic::Deny),
    words!("inside-spnego", Some("GSS_NTLM_INSIDE_SPNEGO"), CLIENT, inside_spnego:
        "allow" => Traffic::Allow, "audit" => Traffic::Audit, "deny" => Traffic::Deny),
    words!("winbind", Some("GSS_NTLM_WINBIND"), EITHER, winbind: "yes" => true, "no" => false),
    Key {
        name: "winbind-timeout",
        variable: Some("GSS_NTLM_WINBIND_TIMEOUT"),
        sections: EITHER,
        allowed: Allowed::Other("a number of seconds"),
        set: |policy, value| {
            set_if_some(&mut policy.winbind_timeout, value.parse().ok().filter(|seconds| *seconds > 0))
        },
        get: |policy| policy.winbind_timeout.to_string(),
        keeps: |_, _| true,
    },
    Key {
        name: "user-file",
        variable: None,
        sections: SERVER.union(Sections::CLIENT),
        allowed: Allowed::Other("the absolute path of a file"),
        // The value itself is in the rule that the policy keeps.
        set: |_, value| value.starts_with('/'),
        get: |policy| policy.user_file().map_or_else(|| "none".to_owned(), |file| file.path.to_owned()),
        keeps: |floor, wanted| {
            let (floor, wanted) = (floor.user_file(), wanted.user_file());
            wanted.is_none_or(|file| file.is_for_client) || floor.is_none() || floor == wanted
        },
    },
    words!("store", Some("GSS_NTLM_STORE"), Sections::CLIENT, store:
        "runtime" => StorePolicy::Runtime, "keyring" => StorePolicy::Keyring, "off" => StorePolicy::Off),
    words!("audit", Some("GSS_NTLM_AUDIT"), BOTH.union(EITHER), audit:
        "off" => AuditPolicy::Off, "failures" => AuditPolicy::Failures, "all" => AuditPolicy::All),
    words!("user-file-mode", Some("GSS_NTLM_USER_FILE_MODE"), BOTH, user_file_mode:
        "any" => UserFileMode::Any, "private" => UserFileMode::Private),
    words!("fips", Some("GSS_NTLM_FIPS"), BOTH, fips: "allow" => FipsPolicy::Allow, "refuse" => FipsPolicy::Refuse),
];

fn set_if_some<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

fn minimum_text(policy: &Policy) -> String {
    let words = [
        (Minimum::BITS_128, "128"),
        (Minimum::EXTENDED_SESSIONSECURITY, "ess"),
        (Minimum::SIGN, "sign"),
        (Minimum::SEAL, "seal"),
    ];
    let has: Vec<_> = words.iter().filter(|(part, _)| policy.minimum.contains(*part)).map(|(_, word)| *word).collect();
    match (policy.minimum.contains(Minimum::STRONG_IF_PROTECTED), &*has) {
        (true, []) => "128 and ess where messages are protected".to_owned(),
        (true, _) => has.join(", "),
        (false, _) => "sign-as-asked".to_owned(),
    }
}

fn minimum(value: &str) -> Option<Minimum> {
    if matches!(value, "sign-as-asked" | "as-asked") {
        return Some(Minimum::empty());
    }
    let mut words = value.split([',', ' ']).filter(|word| !word.is_empty()).peekable();
    words.peek()?;
    words.try_fold(Minimum::STRONG_IF_PROTECTED, |sum, word| {
        Some(
            sum | match word {
                "128" => Minimum::BITS_128,
                "ess" => Minimum::EXTENDED_SESSIONSECURITY,
                "sign" => Minimum::SIGN,
                "seal" => Minimum::SEAL,
                _ => return None,
            },
        )
    })
}
