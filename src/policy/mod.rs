//! What is allowed. This room has data and decisions and reads nothing: the C edge fills a [`Policy`] and passes it down.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use bitflags::bitflags;

use crate::error::{PolicyError, Result};

/// What the administrator allows. The defaults are the secure choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which responses are sent and accepted.
    pub lm_level: LmLevel,
    /// Whether an acceptor serves anonymous clients.
    pub anonymous: bool,
    /// When an initiator sends the MIC of [MS-NLMP] 3.1.5.1.2.
    pub mic: MicPolicy,
    /// Whether an acceptor refuses an AUTHENTICATE_MESSAGE without MIC.
    pub require_mic: bool,
    /// How an acceptor compares channel bindings.
    pub channel_bindings: BindingsPolicy,
    /// How an acceptor compares MsvAvTargetName with its own name.
    pub target_name: TargetNamePolicy,
    /// Whether an initiator accepts a server that sends no TargetInfo.
    pub target_info: TargetInfoPolicy,
    /// What contexts must have, whether the application asks for it or not.
    pub minimum: Minimum,
    /// When an acceptor starts a connectionless handshake.
    pub datagram: DatagramPolicy,
    /// Who may read a user file.
    pub user_file_mode: UserFileMode,
    /// The largest difference between the time of a CHALLENGE_MESSAGE and the initiator's clock, in hours.
    pub max_skew_hours: u32,
    /// Whether winbind is asked for accounts that are not in the user file.
    pub winbind: bool,
    /// Timeout in seconds for one winbind request.
    pub winbind_timeout: u32,
    /// Which handshakes get a line in the system's log.
    pub audit: AuditPolicy,
}

/// LM_COMPAT_LEVEL, 0 to 5: Windows' LmCompatibilityLevel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LmLevel(u8);

impl LmLevel {
    /// The level with that number; `None` above 5.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 5 { Some(Self(number)) } else { None }
    }

    /// Whether an initiator sends NTLMv2 responses; below, it sends NTLMv1.
    #[must_use]
    pub const fn sends_ntlm_v2(self) -> bool {
        self.0 >= 3
    }

    /// Whether an initiator offers extended session security.
    #[must_use]
    pub const fn offers_extended_session_security(self) -> bool {
        self.0 >= 1
    }

    /// Whether an acceptor accepts NTLMv1 responses. It accepts NTLMv2 at every level.
    #[must_use]
    pub const fn accepts_ntlm_v1(self) -> bool {
        self.0 < 3
    }

    /// Whether LM is used: an initiator sends LM responses beside NTLMv1's and offers LM keys, and an acceptor accepts both.
    #[must_use]
    pub const fn uses_lm(self) -> bool {
        self.0 < 2
    }
}

/// GSS_NTLM_MIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicPolicy {
    /// If the challenge has a timestamp, but not inside an SPNEGO that loses the mechListMIC. An acceptor inside such an SPNEGO
    /// sends no timestamp, so that its clients send no MIC.
    Auto,
    /// If the challenge has a timestamp.
    Always,
    /// If the challenge has a timestamp, but not inside SPNEGO: for peers whose SPNEGO loses the mechListMIC.
    RawOnly,
    /// Never.
    Off,
}

/// GSS_NTLM_CHANNEL_BINDINGS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingsPolicy {
    /// They are compared if both sides have them.
    WhenSent,
    /// Both sides must have them, and they must be equal.
    Required,
    /// They are ignored.
    Off,
}

/// GSS_NTLM_TARGET_NAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetNamePolicy {
    /// It is ignored.
    Off,
    /// A difference is written to the trace.
    Audit,
    /// A difference is refused.
    Required,
}

/// GSS_NTLM_TARGET_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetInfoPolicy {
    /// A server must send one if the application asks for integrity or confidentiality.
    Required,
    /// A server may send none, as NAS boxes and old servers do.
    Optional,
}

/// GSS_NTLM_DATAGRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramPolicy {
    /// Whenever a first token asks for it.
    Yes,
    /// If the application asks for it: by NEG_FLAGS with DATAGRAM or, with fewer rights, by the header token.
    AsAsked,
    /// Never.
    No,
}

/// GSS_NTLM_USER_FILE_MODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFileMode {
    /// Everybody; the system's log then has a warning.
    Any,
    /// Only the owner and the group.
    Private,
}

/// GSS_NTLM_AUDIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPolicy {
    /// None.
    Off,
    /// Those that fail.
    Failures,
    /// All.
    All,
}

bitflags! {
    /// GSS_NTLM_MINIMUM: what contexts must have. If it is empty, what the application asks for is enough.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Minimum: u8 {
        /// 128-bit keys, in every context.
        const BITS_128 = 1;
        /// Extended session security, in every context.
        const EXTENDED_SESSIONSECURITY = 2;
        /// Integrity of messages.
        const SIGN = 4;
        /// Confidentiality of messages.
        const SEAL = 8;
        /// The default: 128-bit keys and extended session security in each context whose messages are protected, except at
        /// the levels below 3 and in connectionless contexts that the application asked for.
        const STRONG_IF_PROTECTED = 16;
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lm_level: LmLevel(3),
            anonymous: false,
            mic: MicPolicy::Auto,
            require_mic: false,
            channel_bindings: BindingsPolicy::WhenSent,
            target_name: TargetNamePolicy::Off,
            target_info: TargetInfoPolicy::Required,
            minimum: Minimum::STRONG_IF_PROTECTED,
            datagram: DatagramPolicy::AsAsked,
            user_file_mode: UserFileMode::Any,
            max_skew_hours: 36,
            winbind: true,
            winbind_timeout: 60,
            audit: AuditPolicy::Failures,
        }
    }
}

/// An environment variable that sets a part of the policy.
struct Switch {
    name: &'static str,
    /// The allowed values, for the error's sentence.
    allowed: &'static str,
    /// Sets the value; false if it is not allowed.
    set: fn(&mut Policy, &str) -> bool,
}

const YES_OR_NO: &str = "yes or no";

/// All switches. `scripts/check-man` reads their names here.
const SWITCHES: &[Switch] = &[
    Switch {
        name: "LM_COMPAT_LEVEL",
        allowed: "a number from 0 to 5",
        set: |policy, value| set_if_some(&mut policy.lm_level, value.parse().ok().and_then(LmLevel::new)),
    },
    Switch {
        name: "GSS_NTLM_MIC",
        allowed: "auto, always, raw-only or off",
        set: |policy, value| {
            let mic = match value {
                "auto" => Some(MicPolicy::Auto),
                "always" => Some(MicPolicy::Always),
                "raw-only" => Some(MicPolicy::RawOnly),
                "off" => Some(MicPolicy::Off),
                _ => None,
            };
            set_if_some(&mut policy.mic, mic)
        },
    },
    Switch {
        name: "GSS_NTLM_REQUIRE_MIC",
        allowed: YES_OR_NO,
        set: |policy, value| set_if_some(&mut policy.require_mic, yes_or_no(value)),
    },
    Switch {
        name: "GSS_NTLM_CHANNEL_BINDINGS",
        allowed: "when-sent, required or off",
        set: |policy, value| {
            let channel_bindings = match value {
                "when-sent" => Some(BindingsPolicy::WhenSent),
                "required" => Some(BindingsPolicy::Required),
                "off" => Some(BindingsPolicy::Off),
                _ => None,
            };
            set_if_some(&mut policy.channel_bindings, channel_bindings)
        },
    },
    Switch {
        name: "GSS_NTLM_TARGET_NAME",
        allowed: "off, audit or required",
        set: |policy, value| {
            let target_name = match value {
                "off" => Some(TargetNamePolicy::Off),
                "audit" => Some(TargetNamePolicy::Audit),
                "required" => Some(TargetNamePolicy::Required),
                _ => None,
            };
            set_if_some(&mut policy.target_name, target_name)
        },
    },
    Switch {
        name: "GSS_NTLM_TARGET_INFO",
        allowed: "required or optional",
        set: |policy, value| {
            let target_info = match value {
                "required" => Some(TargetInfoPolicy::Required),
                "optional" => Some(TargetInfoPolicy::Optional),
                _ => None,
            };
            set_if_some(&mut policy.target_info, target_info)
        },
    },
    Switch {
        name: "GSS_NTLM_MINIMUM",
        allowed: "sign-as-asked, or a list of 128, ess, sign, seal",
        set: |policy, value| set_if_some(&mut policy.minimum, minimum(value)),
    },
    Switch {
        name: "GSS_NTLM_DATAGRAM",
        allowed: "as-asked, yes or no",
        set: |policy, value| {
            let datagram = match value {
                "as-asked" => Some(DatagramPolicy::AsAsked),
                "yes" => Some(DatagramPolicy::Yes),
                "no" => Some(DatagramPolicy::No),
                _ => None,
            };
            set_if_some(&mut policy.datagram, datagram)
        },
    },
    Switch {
        name: "GSS_NTLM_USER_FILE_MODE",
        allowed: "any or private",
        set: |policy, value| {
            let mode = match value {
                "any" => Some(UserFileMode::Any),
                "private" => Some(UserFileMode::Private),
                _ => None,
            };
            set_if_some(&mut policy.user_file_mode, mode)
        },
    },
    Switch {
        name: "GSS_NTLM_ANONYMOUS",
        allowed: YES_OR_NO,
        set: |policy, value| set_if_some(&mut policy.anonymous, yes_or_no(value)),
    },
    Switch {
        name: "GSS_NTLM_MAX_SKEW",
        allowed: "a number of hours",
        set: |policy, value| set_if_some(&mut policy.max_skew_hours, value.parse().ok()),
    },
    Switch {
        name: "GSS_NTLM_WINBIND",
        allowed: YES_OR_NO,
        set: |policy, value| set_if_some(&mut policy.winbind, yes_or_no(value)),
    },
    Switch {
        name: "GSS_NTLM_WINBIND_TIMEOUT",
        allowed: "a number of seconds",
        set: |policy, value| {
            set_if_some(&mut policy.winbind_timeout, value.parse().ok().filter(|seconds| *seconds > 0))
        },
    },
    Switch {
        name: "GSS_NTLM_AUDIT",
        allowed: "off, failures or all",
        set: |policy, value| {
            let audit = match value {
                "off" => Some(AuditPolicy::Off),
                "failures" => Some(AuditPolicy::Failures),
                "all" => Some(AuditPolicy::All),
                _ => None,
            };
            set_if_some(&mut policy.audit, audit)
        },
    },
];

impl Switch {
    fn error(&self) -> PolicyError {
        match self.name {
            "LM_COMPAT_LEVEL" => PolicyError::BadLmLevel,
            variable => PolicyError::BadSwitch { variable, allowed: self.allowed },
        }
    }
}

impl Policy {
    /// The prefixes of the environment variables for [`Policy::from_variables`].
    pub const VARIABLES: [&str; 2] = ["GSS_NTLM_", "LM_COMPAT_LEVEL="];

    /// The policy that these environment variables set, each a name and a value. An empty value counts as unset.
    ///
    /// # Errors
    /// A typing mistake must not switch a check off: [`PolicyError::BadSwitch`] or [`PolicyError::BadLmLevel`] for a value that
    /// is not allowed, [`PolicyError::UnknownSwitch`] for an unknown name.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut policy = Self::default();
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            let Some(switch) = SWITCHES.iter().find(|switch| switch.name == name) else {
                let known = SWITCHES.iter().map(|switch| switch.name).collect::<Vec<_>>().join(", ");
                return Err(PolicyError::UnknownSwitch { variable: name, known }.into());
            };
            if !(switch.set)(&mut policy, value.trim()) {
                return Err(switch.error().into());
            }
        }
        Ok(policy)
    }
}

fn set_if_some<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// A list adds to the default; only `sign-as-asked` takes the default away.
fn minimum(value: &str) -> Option<Minimum> {
    if value == "sign-as-asked" {
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
