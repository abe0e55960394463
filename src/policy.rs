//! What is allowed. Data and decisions; nothing is read here: the edge fills a [`Policy`] and passes it down.

#![forbid(unsafe_code)]

use bitflags::bitflags;

use crate::error::{PolicyError, Result};

/// The administrator's decisions, the secure ones by default.
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
    /// What an acceptor makes of channel bindings.
    pub channel_bindings: BindingsPolicy,
    /// What an acceptor makes of MsvAvTargetName.
    pub target_name: TargetNamePolicy,
    /// What every context must reach, asked for or not.
    pub minimum: Minimum,
    /// How far the time of a CHALLENGE_MESSAGE may be from the initiator's clock, in hours.
    pub max_skew_hours: u32,
    /// Whether winbind is asked for accounts that the user file does not have.
    pub winbind: bool,
    /// How long winbind may think about one, in seconds.
    pub winbind_timeout: u32,
}

/// LM_COMPAT_LEVEL, 0 to 5: Windows' LmCompatibilityLevel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LmLevel(u8);

impl LmLevel {
    /// The level of that number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 5 { Some(Self(number)) } else { None }
    }

    /// Whether an initiator answers with NTLMv2; with NTLMv1 otherwise.
    #[must_use]
    pub const fn sends_ntlm_v2(self) -> bool {
        self.0 >= 3
    }

    /// Whether an initiator offers extended session security.
    #[must_use]
    pub const fn offers_extended_session_security(self) -> bool {
        self.0 >= 1
    }

    /// Whether an acceptor takes NTLMv1 responses; NTLMv2 it takes at every level.
    #[must_use]
    pub const fn accepts_ntlm_v1(self) -> bool {
        self.0 < 3
    }

    /// Whether LM responses are sent beside NTLMv1's, and accepted alone, and LM keys offered and agreed to.
    #[must_use]
    pub const fn uses_lm(self) -> bool {
        self.0 < 2
    }
}

/// GSS_NTLM_MIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicPolicy {
    /// Whenever the challenge has a timestamp, but not inside an SPNEGO that loses the mechListMIC; an acceptor inside one
    /// does not tell its time, so that its clients send none.
    Auto,
    /// Whenever the challenge has a timestamp.
    Always,
    /// The same, but not inside SPNEGO (for peers whose SPNEGO loses the mechListMIC).
    RawOnly,
    /// Never.
    Off,
}

/// GSS_NTLM_CHANNEL_BINDINGS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingsPolicy {
    /// Compared when both sides have some.
    WhenSent,
    /// Refused unless both sides have some and they are equal.
    Required,
    /// Not looked at.
    Off,
}

/// GSS_NTLM_TARGET_NAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetNamePolicy {
    /// Not looked at.
    Off,
    /// A difference is written to the trace.
    Audit,
    /// A difference is refused.
    Required,
}

bitflags! {
    /// GSS_NTLM_MINIMUM: what every context must reach. Empty: what the application asked for, no less.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Minimum: u8 {
        /// 128-bit keys.
        const BITS_128 = 1;
        /// Extended session security.
        const EXTENDED_SESSIONSECURITY = 2;
        /// Integrity of messages.
        const SIGN = 4;
        /// Confidentiality of messages.
        const SEAL = 8;
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
            minimum: Minimum::empty(),
            max_skew_hours: 36,
            winbind: true,
            winbind_timeout: 60,
        }
    }
}

impl Policy {
    /// The policy that the switches say; `variable` gives the value of one, if it is set and not empty.
    ///
    /// # Errors
    /// [`PolicyError::BadSwitch`] for a value that is none of a switch's: a typing mistake must not switch a check off.
    pub fn from_switches(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self> {
        let default = Self::default();
        let choose = |name| variable(name).filter(|value| !value.is_empty());
        let yes_or_no = |value: &str| match value {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        let level = choose("LM_COMPAT_LEVEL").map(|value| value.trim().parse().ok().and_then(LmLevel::new));
        Ok(Self {
            lm_level: level.unwrap_or(Some(default.lm_level)).ok_or(PolicyError::BadLmLevel)?,
            anonymous: one_of(choose, "GSS_NTLM_ANONYMOUS", "yes or no", yes_or_no)?.unwrap_or(default.anonymous),
            mic: one_of(choose, "GSS_NTLM_MIC", "auto, always, raw-only or off", |value| match value {
                "auto" => Some(MicPolicy::Auto),
                "always" => Some(MicPolicy::Always),
                "raw-only" => Some(MicPolicy::RawOnly),
                "off" => Some(MicPolicy::Off),
                _ => None,
            })?
            .unwrap_or(default.mic),
            require_mic: one_of(choose, "GSS_NTLM_REQUIRE_MIC", "yes or no", yes_or_no)?.unwrap_or(default.require_mic),
            channel_bindings: one_of(choose, "GSS_NTLM_CHANNEL_BINDINGS", "when-sent, required or off", |value| {
                match value {
                    "when-sent" => Some(BindingsPolicy::WhenSent),
                    "required" => Some(BindingsPolicy::Required),
                    "off" => Some(BindingsPolicy::Off),
                    _ => None,
                }
            })?
            .unwrap_or(default.channel_bindings),
            target_name: one_of(choose, "GSS_NTLM_TARGET_NAME", "off, audit or required", |value| match value {
                "off" => Some(TargetNamePolicy::Off),
                "audit" => Some(TargetNamePolicy::Audit),
                "required" => Some(TargetNamePolicy::Required),
                _ => None,
            })?
            .unwrap_or(default.target_name),
            minimum: one_of(choose, "GSS_NTLM_MINIMUM", "sign-as-asked, or a list of 128, ess, sign, seal", minimum)?
                .unwrap_or(default.minimum),
            max_skew_hours: one_of(choose, "GSS_NTLM_MAX_SKEW", "a number of hours", |value| value.parse().ok())?
                .unwrap_or(default.max_skew_hours),
            winbind: one_of(choose, "GSS_NTLM_WINBIND", "yes or no", yes_or_no)?.unwrap_or(default.winbind),
            winbind_timeout: one_of(choose, "GSS_NTLM_WINBIND_TIMEOUT", "a number of seconds", |value| {
                value.parse().ok().filter(|seconds| *seconds > 0)
            })?
            .unwrap_or(default.winbind_timeout),
        })
    }
}

fn one_of<T>(
    choose: impl Fn(&'static str) -> Option<String>,
    variable: &'static str,
    allowed: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    match choose(variable) {
        None => Ok(None),
        Some(value) => match parse(value.trim()) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(PolicyError::BadSwitch { variable, allowed }.into()),
        },
    }
}

fn minimum(value: &str) -> Option<Minimum> {
    if value == "sign-as-asked" {
        return Some(Minimum::empty());
    }
    let mut words = value.split([',', ' ']).filter(|word| !word.is_empty()).peekable();
    words.peek()?;
    words.try_fold(Minimum::empty(), |sum, word| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Policy> {
        Policy::from_switches(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn no_switch_is_the_default() {
        assert_eq!(Policy::from_switches(|_| None), Ok(Policy::default()));
        assert_eq!(with("GSS_NTLM_MIC", ""), Ok(Policy::default()));
    }

    #[test]
    fn every_switch_is_read() {
        assert_eq!(with("GSS_NTLM_MIC", "off").unwrap().mic, MicPolicy::Off);
        assert_eq!(with("GSS_NTLM_MIC", "always").unwrap().mic, MicPolicy::Always);
        assert_eq!(with("GSS_NTLM_MIC", "raw-only").unwrap().mic, MicPolicy::RawOnly);
        assert!(with("GSS_NTLM_REQUIRE_MIC", "yes").unwrap().require_mic);
        assert!(with("GSS_NTLM_ANONYMOUS", "yes").unwrap().anonymous);
        assert_eq!(with("LM_COMPAT_LEVEL", "1").unwrap().lm_level, LmLevel(1));
        assert_eq!(with("GSS_NTLM_CHANNEL_BINDINGS", "off").unwrap().channel_bindings, BindingsPolicy::Off);
        assert_eq!(with("GSS_NTLM_CHANNEL_BINDINGS", "required").unwrap().channel_bindings, BindingsPolicy::Required);
        assert_eq!(with("GSS_NTLM_TARGET_NAME", "audit").unwrap().target_name, TargetNamePolicy::Audit);
        assert_eq!(with("GSS_NTLM_MINIMUM", "128, seal").unwrap().minimum, Minimum::BITS_128 | Minimum::SEAL);
        assert_eq!(with("GSS_NTLM_MINIMUM", "sign-as-asked").unwrap().minimum, Minimum::empty());
        assert_eq!(with("GSS_NTLM_MAX_SKEW", "2").unwrap().max_skew_hours, 2);
        assert!(!with("GSS_NTLM_WINBIND", "no").unwrap().winbind);
        assert_eq!(with("GSS_NTLM_WINBIND_TIMEOUT", "2").unwrap().winbind_timeout, 2);
        assert!(with("GSS_NTLM_WINBIND_TIMEOUT", "0").is_err());
    }

    #[test]
    fn refuses_a_misspelt_value() {
        for name in [
            "GSS_NTLM_MIC",
            "GSS_NTLM_REQUIRE_MIC",
            "GSS_NTLM_CHANNEL_BINDINGS",
            "GSS_NTLM_TARGET_NAME",
            "GSS_NTLM_MINIMUM",
            "GSS_NTLM_MAX_SKEW",
            "GSS_NTLM_ANONYMOUS",
            "GSS_NTLM_WINBIND",
            "GSS_NTLM_WINBIND_TIMEOUT",
            "LM_COMPAT_LEVEL",
        ] {
            for value in ["requierd", "yes\u{fffd}", " ", ",", "-1"] {
                assert!(with(name, value).is_err(), "{name}={value}");
            }
        }
    }

    #[test]
    fn each_level_sends_and_accepts_what_windows_means_by_it() {
        let of = |number| LmLevel::new(number).unwrap();
        let levels = [0, 1, 2, 3, 4, 5].map(of);
        assert_eq!(levels.map(LmLevel::sends_ntlm_v2), [false, false, false, true, true, true]);
        assert_eq!(levels.map(LmLevel::offers_extended_session_security), [false, true, true, true, true, true]);
        assert_eq!(levels.map(LmLevel::accepts_ntlm_v1), [true, true, true, false, false, false]);
        assert_eq!(levels.map(LmLevel::uses_lm), [true, true, false, false, false, false]);
        assert_eq!((LmLevel::new(6), with("LM_COMPAT_LEVEL", "6")), (None, Err(PolicyError::BadLmLevel.into())));
    }
}
