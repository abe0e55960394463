//! What is allowed. This room has data and decisions and reads nothing: the C edge gives it the policy files and the environment,
//! gets a [`Policy`], and passes that down.

#![forbid(unsafe_code)]

mod key;
mod pattern;
mod rules;
mod syntax;

#[cfg(test)]
mod tests;

use bitflags::bitflags;

use crate::{
    error::{PolicyError, Result},
    host::Host,
    name::Name,
};

pub use self::pattern::{Pattern, Subject};
pub use self::rules::{Lines, PolicyFiles, Rules, Setting, Whom};

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
    /// Where initiators look for stored credentials.
    pub store: StorePolicy,
    /// Which handshakes get a line in the system's log.
    pub audit: AuditPolicy,
    /// Whether an initiator may authenticate by NTLM.
    pub outgoing: Traffic,
    /// Whether an initiator may authenticate by NTLM inside SPNEGO.
    pub inside_spnego: Traffic,
    /// Whether an acceptor may authenticate clients by NTLM.
    pub incoming: Traffic,
    /// What to do where the kernel runs in FIPS mode.
    pub fips: FipsPolicy,
    /// The lines of policy files that set these.
    pub lines: Lines,
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

    /// Whether [`Minimum::STRONG_IF_PROTECTED`] holds: at lower levels peers without extended session security are expected.
    #[must_use]
    pub const fn has_strong_minimum(self) -> bool {
        self.0 >= 3
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

/// GSS_NTLM_STORE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePolicy {
    /// In the kernel's keyring of the user, and in the runtime directory, where they are if the kernel refuses.
    Keyring,
    /// In the runtime directory of the user.
    Runtime,
    /// Nowhere.
    Off,
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

/// GSS_NTLM_OUTGOING, GSS_NTLM_INCOMING and GSS_NTLM_INSIDE_SPNEGO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// It is allowed.
    Allow,
    /// It is allowed, and the system's log tells that it would be denied.
    Audit,
    /// It is denied.
    Deny,
}

/// GSS_NTLM_FIPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FipsPolicy {
    /// NTLM is allowed, and the system's log tells that its algorithms are not approved.
    Allow,
    /// NTLM is denied.
    Refuse,
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
            store: StorePolicy::Keyring,
            audit: AuditPolicy::Failures,
            outgoing: Traffic::Allow,
            inside_spnego: Traffic::Allow,
            incoming: Traffic::Allow,
            fips: FipsPolicy::Allow,
            lines: Lines::default(),
        }
    }
}

/// The user file of a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFile {
    /// Its path.
    pub path: &'static str,
    /// Whether the section is one of clients.
    pub is_for_client: bool,
}

/// The words of an error for what an initiator authenticates to.
fn words_for(target: Option<&Name>) -> String {
    target.map_or_else(|| "a server without a name".to_owned(), ToString::to_string)
}

impl Policy {
    /// The user file that a policy file names.
    #[must_use]
    pub fn user_file(&self) -> Option<UserFile> {
        self.lines.user_file()
    }

    /// Whether LM hashes are kept: because the level of this policy uses them, or that of another section, whose targets an
    /// account may meet later.
    #[must_use]
    pub fn keeps_lm_hash(&self) -> bool {
        self.lm_level.uses_lm() || self.lines.another_uses_lm()
    }

    /// Ensures that an initiator may authenticate to `target` by NTLM.
    ///
    /// # Errors
    /// [`PolicyError::OutgoingDenied`].
    pub fn ensure_outgoing(&self, target: Option<&Name>) -> Result<()> {
        match self.outgoing {
            Traffic::Allow | Traffic::Audit => Ok(()),
            Traffic::Deny => {
                let by = self.setter_of("outgoing");
                Err(PolicyError::OutgoingDenied { target: words_for(target), by }.into())
            }
        }
    }

    /// Ensures that an initiator that SPNEGO calls may authenticate to `target` by NTLM.
    ///
    /// # Errors
    /// [`PolicyError::InsideSpnegoDenied`].
    pub fn ensure_inside_spnego(&self, target: Option<&Name>) -> Result<()> {
        match self.inside_spnego {
            Traffic::Allow | Traffic::Audit => Ok(()),
            Traffic::Deny => {
                let by = self.setter_of("inside-spnego");
                Err(PolicyError::InsideSpnegoDenied { target: words_for(target), by }.into())
            }
        }
    }

    /// Ensures that an acceptor may authenticate clients by NTLM.
    ///
    /// # Errors
    /// [`PolicyError::IncomingDenied`].
    pub fn ensure_incoming(&self) -> Result<()> {
        match self.incoming {
            Traffic::Allow | Traffic::Audit => Ok(()),
            Traffic::Deny => Err(PolicyError::IncomingDenied { by: self.setter_of("incoming") }.into()),
        }
    }

    /// Ensures that NTLM may be used where the kernel runs in FIPS mode.
    ///
    /// # Errors
    /// [`PolicyError::FipsRefused`].
    pub fn ensure_fips(&self, host: &dyn Host) -> Result<()> {
        match self.fips {
            FipsPolicy::Allow => host.log(format_args!(
                "The kernel runs in FIPS mode, and NTLM cannot be done with approved algorithms: set fips to refuse in \
                 ntlm.conf(5) if it must not be used"
            )),
            FipsPolicy::Refuse => return Err(PolicyError::FipsRefused { by: self.setter_of("fips") }.into()),
        }
        Ok(())
    }

    /// Ensures that an acceptor may use the user file that NTLM_USER_FILE names: another one would let others in than the
    /// policy file's.
    ///
    /// # Errors
    /// [`PolicyError::Loosens`].
    pub fn ensure_acceptor_file(&self, path: &str) -> Result<()> {
        match self.user_file() {
            Some(file) if file.path != path => Err(PolicyError::Loosens {
                setting: "NTLM_USER_FILE".to_owned(),
                value: path.to_owned(),
                key: "user-file",
                by: self.setter_of("user-file"),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// What set this key, which is not at its default.
    #[must_use]
    pub fn setter_of(&self, key: &str) -> String {
        self.lines.setter_of(key)
    }
}
