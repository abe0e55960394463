//! What can go wrong, sorted by whose fault it is.
//!
//! An [`Error`] says what a person can do about it; no variant carries a secret. The numbers that GSS-API callers see
//! are made of these values in one table, in `abi/status.rs`.

#![forbid(unsafe_code)]

use core::fmt;

use crate::text::Escaped;

/// The result of everything fallible in this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A token does not parse.
    InvalidMessage(InvalidMessage),
    /// A token parses, but its sender does not know the secret, or somebody changed it on the way.
    PeerMisbehaved(PeerMisbehaved),
    /// The signature of a message does not verify.
    BadSignature(BadSignature),
    /// The peer does not offer what this side was asked to reach.
    PeerIncompatible(PeerIncompatible),
    /// The application called in a way that cannot work.
    ApiMisuse(ApiMisuse),
    /// There is no usable secret.
    Credential(CredentialError),
    /// The domain did not answer as it should, or does not want the account.
    Domain(DomainError),
    /// The administrator does not allow it.
    Policy(PolicyError),
    /// The operating system did not give what is needed.
    Host(HostError),
    /// A defect of this mechanism, caught at its edge.
    Internal,
}

/// A token that does not parse: which one, where, and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMessage {
    /// The token.
    pub message: Message,
    /// Its part, by the name of [MS-NLMP] 2.2.
    pub field: FieldName,
    /// What is wrong with that part.
    pub fault: Fault,
}

/// The tokens that this mechanism reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// NEGOTIATE_MESSAGE, [MS-NLMP] 2.2.1.1.
    Negotiate,
    /// CHALLENGE_MESSAGE, [MS-NLMP] 2.2.1.2.
    Challenge,
    /// AUTHENTICATE_MESSAGE, [MS-NLMP] 2.2.1.3.
    Authenticate,
    /// What `gss_get_mic` makes: one NTLMSSP_MESSAGE_SIGNATURE, [MS-NLMP] 2.2.2.9.
    MicToken,
    /// What `gss_wrap` makes: NTLMSSP_MESSAGE_SIGNATURE, then the sealed data.
    WrapToken,
    /// What `gss_export_sec_context` makes.
    ExportedContext,
    /// What `gss_export_cred` makes.
    ExportedCredential,
}

/// The parts of tokens that an error can point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// The whole token.
    Token,
    /// `NTLMSSP\0`.
    Signature,
    /// MessageType.
    MessageType,
    /// NegotiateFlags.
    NegotiateFlags,
    /// DomainName.
    DomainName,
    /// Workstation.
    Workstation,
    /// TargetName.
    TargetName,
    /// ServerChallenge.
    ServerChallenge,
    /// TargetInfo and the AV_PAIRs in it.
    TargetInfo,
    /// LmChallengeResponse.
    LmChallengeResponse,
    /// NtChallengeResponse.
    NtChallengeResponse,
    /// UserName.
    UserName,
    /// EncryptedRandomSessionKey.
    EncryptedRandomSessionKey,
    /// MIC.
    Mic,
    /// Version, of an exported token.
    Version,
    /// Contents of an exported token.
    Contents,
}

/// What can be wrong with a part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The token ends before the part does.
    Truncated,
    /// Its Len and BufferOffset point outside the token, or into its fixed header.
    OutsideMessage,
    /// UTF-16 text of an odd number of bytes.
    OddLength,
    /// A length that the specification does not allow.
    WrongLength,
    /// Nothing where there must be a key.
    NoKey,
    /// A value that the specification does not allow.
    WrongValue,
    /// An AV_PAIR that may stand once stands twice.
    Duplicate,
    /// An AV_PAIR list without MsvAvEOL.
    NoEnd,
    /// Announced, but not there.
    Missing,
}

/// A well-formed token that must not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerMisbehaved {
    /// Unknown user or wrong password: the peer is never told which.
    LogonFailure,
    /// The MIC of the AUTHENTICATE_MESSAGE does not fit the three messages.
    WrongMic,
    /// MsvAvChannelBindings differs from the channel bindings of this side.
    WrongBindings,
    /// An AV_PAIR of the CHALLENGE_MESSAGE came back changed.
    ChangedTargetInfo,
}

/// A message signature that does not verify, by what its sequence number suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSignature {
    /// The expected one.
    Expected,
    /// One that was used already.
    Duplicate,
    /// One further on.
    Gap,
    /// Another than the application's, of a connectionless context.
    Other,
}

/// Something that this side needs and the peer did not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerIncompatible {
    /// NTLMSSP_NEGOTIATE_UNICODE, for a name that needs it.
    NoUnicode,
    /// NTLMSSP_NEGOTIATE_SIGN.
    NoSign,
    /// NTLMSSP_NEGOTIATE_SEAL.
    NoSeal,
    /// NTLMSSP_NEGOTIATE_128.
    No128,
    /// NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY.
    NoExtendedSessionSecurity,
    /// TargetInfo.
    NoTargetInfo,
    /// The challenge's MsvAvTimestamp is too far from this host's clock.
    ClockSkew,
    /// A connection-oriented handshake where a connectionless one is under way.
    NoDatagram,
    /// An LM hash of the account, for a key that is to be made of one.
    NoLmHash,
    /// NTLMSSP_NEGOTIATE_KEY_EXCH, which a connectionless handshake must have.
    NoKeyExch,
}

/// A call that cannot work, whatever the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiMisuse {
    /// A NULL where RFC 2744 wants something to read.
    NullInput,
    /// A NULL where RFC 2744 wants somewhere to write.
    NullOutput,
    /// No context, or one whose handshake failed.
    NoContext,
    /// The call fits contexts of the other role only.
    WrongRole,
    /// The context is not established yet.
    NotEstablished,
    /// A handshake token for a context that is established.
    AlreadyEstablished,
    /// An argument of a wrong length or value.
    BadArgument,
    /// A quality of protection other than 0.
    BadQop,
    /// A mechanism OID that is not NTLM's.
    BadMech,
    /// A name that does not parse, or is not UTF-8.
    BadName,
    /// A name type that NTLM does not have.
    BadNameType,
    /// The status type or value is not a mechanism's.
    BadStatus,
    /// An object identifier that this call does not know.
    UnknownOption,
    /// Known, but not to be had in this state.
    NotAvailable,
    /// Neither SIGN nor SEAL was negotiated, so messages cannot be protected.
    NoProtection,
    /// A connectionless message is to be sealed, and the application has set no number.
    NoSeqNum,
    /// A sequence number for a context that counts by itself.
    NotDatagram,
    /// An acceptor's credential, to initiate with.
    NotAnInitiator,
    /// An initiator's credential, to accept with.
    NotAnAcceptor,
    /// A password or hash that cannot be one.
    BadPassword,
    /// An attribute that the name does not have.
    NoAttribute,
    /// Buffers that do not make up a message.
    BadBuffers,
    /// A trace that cannot go where it is to go.
    BadTrace,
}

/// No secret to work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// No user file is configured.
    NoUserFile,
    /// The user file cannot be read; `path` names it and `reason` is the operating system's.
    Unreadable {
        /// The path as configured.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// Anybody may write the user file.
    Writable {
        /// The path as configured.
        path: String,
    },
    /// The user file has no entry for the name asked for.
    NoEntry {
        /// The name asked for; empty where any would do.
        name: String,
        /// The path as configured.
        path: String,
        /// The first line of the file that is not UTF-8.
        not_utf8: Option<u32>,
    },
    /// The name is a service's or anonymous, and such a name has no password.
    NotAUser,
    /// There is neither a user file nor a winbindd that answers.
    NoDomain,
    /// Neither is there an entry in a user file, nor has winbind a cached logon.
    NoCachedLogon {
        /// The name asked for; empty where none was, and the environment has none either.
        name: String,
    },
}

/// What winbind, or the domain controller behind it, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainError {
    /// The account is not let in, for another reason than its name and its password.
    Refused {
        /// The NTSTATUS ([MS-ERREF] 2.3).
        status: u32,
        /// Its name, as winbind spells it; may be empty.
        name: String,
    },
    /// winbindd does not answer.
    Unavailable,
    /// winbindd answers, but not to this.
    NotPermitted,
    /// winbindd has not answered in time.
    TimedOut,
    /// winbindd's answer makes no sense; here is what of it.
    OddReply(&'static str),
    /// A cached logon has no way to send channel bindings.
    NoBindings,
    /// A cached logon has no connectionless mode.
    NoDatagram,
    /// A cached logon did not agree to what was asked for.
    NotProtected,
}

/// What the administrator, by a variable of the environment, or MS-NLMP itself does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// A switch has a value that it does not know.
    BadSwitch {
        /// The variable.
        variable: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A variable has a name that begins like a switch's and is none.
    UnknownSwitch {
        /// The variable.
        variable: String,
        /// The switches, with commas.
        known: String,
    },
    /// LM_COMPAT_LEVEL is no number from 0 to 5.
    BadLmLevel,
    /// An NTLMv1 response, or one of LM or LMv2 alone.
    NtlmV1,
    /// An anonymous AUTHENTICATE_MESSAGE.
    Anonymous,
    /// The domain takes the client for a guest, who is as good as anonymous.
    Guest,
    /// An AUTHENTICATE_MESSAGE without MIC, and GSS_NTLM_REQUIRE_MIC is `yes`.
    MicRequired,
    /// No channel bindings, and GSS_NTLM_CHANNEL_BINDINGS is `required`.
    BindingsRequired,
    /// The name may not use the account of this computer.
    NotThisAccount,
    /// MsvAvTargetName is absent or names another service, and GSS_NTLM_TARGET_NAME is `required`.
    TargetName,
}

/// What the operating system did not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// Random bytes.
    Randomness,
    /// Memory.
    Memory,
    /// A thread.
    Thread,
}

impl Error {
    /// Whether somebody has to mend what is configured here, before a handshake is even tried: a switch, or the user file. Not
    /// that there is none.
    #[must_use]
    pub const fn is_to_mend(&self) -> bool {
        match self {
            Self::Policy(error) => matches!(
                error,
                PolicyError::BadSwitch { .. } | PolicyError::UnknownSwitch { .. } | PolicyError::BadLmLevel
            ),
            Self::Credential(CredentialError::NoEntry { name, .. }) => name.is_empty(),
            Self::Credential(error) => {
                matches!(error, CredentialError::Unreadable { .. } | CredentialError::Writable { .. })
            }
            Self::InvalidMessage(_)
            | Self::PeerMisbehaved(_)
            | Self::BadSignature(_)
            | Self::PeerIncompatible(_)
            | Self::ApiMisuse(_)
            | Self::Domain(_)
            | Self::Host(_)
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidMessage(e) => e.fmt(f),
            Self::PeerMisbehaved(e) => e.fmt(f),
            Self::BadSignature(e) => e.fmt(f),
            Self::PeerIncompatible(e) => e.fmt(f),
            Self::ApiMisuse(e) => e.fmt(f),
            Self::Credential(e) => e.fmt(f),
            Self::Domain(e) => e.fmt(f),
            Self::Policy(e) => e.fmt(f),
            Self::Host(e) => e.fmt(f),
            Self::Internal => {
                f.write_str("The NTLM mechanism itself failed; please report this with the trace of GSSNTLMSSP_DEBUG")
            }
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, field, fault } = self;
        write!(f, "The {} is malformed, {} {}: {}", message.name(), field.name(), fault.sentence(), fault.advice())
    }
}

impl InvalidMessage {
    /// The sentence for a person where the fault is forgotten.
    #[must_use]
    pub fn sentence_without_fault(message: Message, field: FieldName) -> String {
        format!("The {} is malformed, in {}: {ADVICE}", message.name(), field.name())
    }
}

const ADVICE: &str = "see whether it was cut on its way, and what made it";

impl Message {
    /// The specification's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "NEGOTIATE_MESSAGE",
            Self::Challenge => "CHALLENGE_MESSAGE",
            Self::Authenticate => "AUTHENTICATE_MESSAGE",
            Self::MicToken => "MIC token",
            Self::WrapToken => "wrap token",
            Self::ExportedContext => "exported context",
            Self::ExportedCredential => "exported credential",
        }
    }
}

impl FieldName {
    /// The specification's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "it",
            Self::Signature => "Signature",
            Self::MessageType => "MessageType",
            Self::NegotiateFlags => "NegotiateFlags",
            Self::DomainName => "DomainName",
            Self::Workstation => "Workstation",
            Self::TargetName => "TargetName",
            Self::ServerChallenge => "ServerChallenge",
            Self::TargetInfo => "TargetInfo",
            Self::LmChallengeResponse => "LmChallengeResponse",
            Self::NtChallengeResponse => "NtChallengeResponse",
            Self::UserName => "UserName",
            Self::EncryptedRandomSessionKey => "EncryptedRandomSessionKey",
            Self::Mic => "MIC",
            Self::Version => "version",
            Self::Contents => "contents",
        }
    }
}

impl Fault {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Truncated => "is cut short",
            Self::OutsideMessage => "does not lie inside the message",
            Self::OddLength => "is UTF-16 text of an odd length",
            Self::WrongLength => "has a wrong length",
            Self::NoKey => "is empty though messages are to be protected",
            Self::WrongValue => "has a wrong value",
            Self::Duplicate => "has an AV_PAIR twice",
            Self::NoEnd => "does not end with MsvAvEOL",
            Self::Missing => "is announced but missing",
        }
    }

    const fn advice(self) -> &'static str {
        if matches!(self, Self::NoKey) {
            "the client is anonymous, takes this host for its own (a local call of Windows), or has a fault: let it name an account"
        } else {
            ADVICE
        }
    }
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LogonFailure => "The user name or the password is wrong (STATUS_LOGON_FAILURE): the trace of the server (GSSNTLMSSP_DEBUG) tells which",
            Self::WrongMic => {
                "The MIC of the AUTHENTICATE_MESSAGE is wrong: look for who changes messages between client and server"
            }
            Self::WrongBindings => {
                "The channel bindings differ: look for who ends the TLS connection between client and server"
            }
            Self::ChangedTargetInfo => {
                "The client sent back other names or another time than the CHALLENGE_MESSAGE had: look for who changes messages between client and server"
            }
        })
    }
}

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expected => "The signature does not fit the message: drop the message, the security context goes on",
            Self::Duplicate => {
                "The signature has the sequence number of an earlier message: drop the message, it is a replay; the security context goes on"
            }
            Self::Other => {
                "The signature has another sequence number than this side: both sides must set the same one (100 in SIP)"
            }
            Self::Gap => {
                "The signature has the sequence number of a later message: verify messages in the order in which they were signed, all of them"
            }
        })
    }
}

impl fmt::Display for PeerIncompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUnicode => "The peer takes OEM strings only: use a name in Latin-1 letters, and do not rule OEM out with NEG_FLAGS",
            Self::NoSign => {
                "The peer does not offer integrity (NTLMSSP_NEGOTIATE_SIGN): let it, or ask for none (GSS_C_INTEG_FLAG, GSS_NTLM_MINIMUM)"
            }
            Self::NoSeal => {
                "The peer does not offer confidentiality (NTLMSSP_NEGOTIATE_SEAL): let it, or ask for none (GSS_C_CONF_FLAG, GSS_NTLM_MINIMUM)"
            }
            Self::No128 => "The peer does not offer 128-bit keys (NTLMSSP_NEGOTIATE_128): let it, or require none (GSS_NTLM_MINIMUM, NEG_FLAGS)",
            Self::NoExtendedSessionSecurity => {
                "The peer does not offer extended session security: let it, or require none (GSS_NTLM_MINIMUM, NEG_FLAGS)"
            }
            Self::NoTargetInfo => {
                "The server says nothing about itself (TargetInfo): let it, or set GSS_NTLM_TARGET_INFO to optional, or ask for neither integrity nor confidentiality"
            }
            Self::ClockSkew => {
                "The server's clock is too far from this host's: set the clocks, or raise GSS_NTLM_MAX_SKEW (hours)"
            }
            Self::NoDatagram => {
                "The peer wants connection-oriented NTLM: do without GSS_C_DATAGRAM_FLAG, or let it set NTLMSSP_NEGOTIATE_DATAGRAM"
            }
            Self::NoLmHash => {
                "The key is to be made of an LM hash, and the account has none: let the client not set NTLMSSP_NEGOTIATE_LM_KEY"
            }
            Self::NoKeyExch => {
                "The peer does not exchange a key (NTLMSSP_NEGOTIATE_KEY_EXCH): let it, connectionless NTLM must have one"
            }
        })
    }
}

impl fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NullInput => "A required input argument is NULL: look at how the program calls",
            Self::NullOutput => "A required output argument is NULL: look at how the program calls",
            Self::NoContext => "There is no security context, or its handshake failed: start a new one",
            Self::WrongRole => "The security context has the other role: one side initiates, the other accepts",
            Self::NotEstablished => "The security context is not established yet: go on with the handshake",
            Self::AlreadyEstablished => "The security context is established already: it takes no more handshake tokens",
            Self::BadArgument => "An argument has a wrong length or value: look at how the program calls",
            Self::BadQop => "The quality of protection must be 0 (GSS_C_QOP_DEFAULT)",
            Self::BadMech => "The mechanism is not NTLM: ask for 1.3.6.1.4.1.311.2.2.10",
            Self::BadName => "The name is empty, too long, not UTF-8 or of no form that NTLM knows: write DOMAIN\\user, user@DOMAIN or service@host",
            Self::BadNameType => "NTLM has no names of this type: import it as a user's or a host-based service's",
            Self::BadStatus => "This is not a status code of the NTLM mechanism: ask the mechanism that it is from",
            Self::UnknownOption => "The NTLM mechanism does not know this object identifier here: gssapi/gssapi_ntlmssp.h has those that it knows",
            Self::NotAvailable => "Not available in this state of the security context: ask again when it is established",
            Self::NoProtection => {
                "Neither integrity nor confidentiality was negotiated for this security context: ask for them (GSS_C_INTEG_FLAG, GSS_C_CONF_FLAG)"
            }
            Self::NoSeqNum => {
                "A connectionless security context seals nothing without a number: set one of its own for each message (GSS_NTLMSSP_SET_SEQ_NUM)"
            }
            Self::NotDatagram => "A connection-oriented security context numbers its messages itself: ask for GSS_C_DATAGRAM_FLAG, or set no number",
            Self::NotAnInitiator => "The credential is an acceptor's: acquire one with GSS_C_INITIATE or GSS_C_BOTH, for a user",
            Self::NotAnAcceptor => "The credential is an initiator's: acquire one with GSS_C_ACCEPT or GSS_C_BOTH",
            Self::NoAttribute => "The name has no such attribute: gss_inquire_name lists those that it has",
            Self::BadBuffers => {
                "The buffers make up no message: there must be one HEADER (or MIC_TOKEN) of 16 bytes, no PADDING or TRAILER of more than 0, and, beside a STREAM, one DATA"
            }
            Self::BadTrace => "The trace cannot go there, see the system's log (authpriv): name a file that this program may write, stderr or syslog",
            Self::BadPassword => "The password or hash cannot be one: a password must be UTF-8 without NUL, of at most 64 KiB, and ntlmssp_nthash 32 hexadecimal digits",
        })
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUserFile => f.write_str(
                "There are no credentials: set NTLM_USER_FILE, give a password or ntlmssp_keyfile, or let winbindd run (and GSS_NTLM_WINBIND not be no)",
            ),
            Self::Unreadable { path, reason } => write!(
                f,
                "The user file {} cannot be read: {}; let NTLM_USER_FILE or ntlmssp_keyfile name a file that this program may read",
                Path(path),
                Reason(reason)
            ),
            Self::Writable { path } => {
                write!(f, "The user file {} is refused because anybody may write it: chmod o-w", Path(path))
            }
            Self::NoEntry { name, path, not_utf8 } => {
                write!(f, "The user file {} has no usable entry", Path(path))?;
                if !name.is_empty() {
                    write!(f, " for {}", Escaped(name))?;
                }
                match not_utf8 {
                    Some(line) => write!(f, ", and its line {line} is not UTF-8: save the file as UTF-8"),
                    None if name.is_empty() => f.write_str(": add a line DOMAIN:USER:PASSWORD"),
                    None => f.write_str(": add one, or see whether it is disabled"),
                }
            }
            Self::NotAUser => {
                f.write_str("The name is not a user's: acquire the credential of a user, or of an acceptor")
            }
            Self::NoDomain => {
                f.write_str("There is no user file, and winbindd does not answer: start it, or set NTLM_USER_FILE")
            }
            Self::NoCachedLogon { name } if name.is_empty() => f.write_str(
                "There are no credentials, and nobody to ask winbind for: set NTLM_USER_FILE, NTLMUSER or USER",
            ),
            Self::NoCachedLogon { name } => write!(
                f,
                "There are no credentials for {}: add it to a user file, or log on so that winbind keeps the password (pam_winbind with cached_login, or wbinfo --ccache-save)",
                Escaped(name)
            ),
        }
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, name } => {
                let name = if name.is_empty() { "an NTSTATUS without a name" } else { name };
                write!(f, "The domain does not let the account in, {} ({status:#010X}): {}", Escaped(name), remedy(*status))
            }
            Self::Unavailable => f.write_str(
                "No user file has the account, and winbindd does not answer: start it, or set GSS_NTLM_WINBIND to no",
            ),
            Self::NotPermitted => f.write_str(
                "winbindd does not let this program verify accounts: run it as a member of the group of the directory winbindd_privileged (winbindd_priv)",
            ),
            Self::TimedOut => f.write_str(
                "winbindd has not answered in time: see its log, or raise GSS_NTLM_WINBIND_TIMEOUT (seconds)",
            ),
            Self::OddReply(what) => write!(f, "winbindd's answer makes no sense, {what}: see its log"),
            Self::NoBindings => f.write_str(
                "A cached logon of winbind cannot send channel bindings (winbindd always says that there are none): give a password, or set GSS_NTLM_CHANNEL_BINDINGS to off to do without",
            ),
            Self::NotProtected => f.write_str(
                "A cached logon of winbind does not sign or seal as asked for: update Samba, or give a password",
            ),
            Self::NoDatagram => {
                f.write_str("A cached logon of winbind does no connectionless NTLM: give a password or a user file")
            }
        }
    }
}

/// What to do about an NTSTATUS of a refused logon ([MS-ERREF] 2.3.1).
const fn remedy(status: u32) -> &'static str {
    match status {
        0xC000_0072 => "enable the account",
        0xC000_0234 => "unlock the account, or wait until it is",
        0xC000_0193 => "extend the account, it has expired",
        0xC000_0071 | 0xC000_0224 => "change its password",
        0xC000_005E | 0xC000_00B5 | 0xC000_0233 => "let a domain controller be reached from here",
        0xC000_006E | 0xC000_006F | 0xC000_0070 | 0xC000_015B | 0xC000_0413 => {
            "see when and where the account may log on"
        }
        _ => "see the logs of winbindd and of the domain controller",
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSwitch { variable, allowed } => write!(f, "{variable} must be {allowed}"),
            Self::UnknownSwitch { known, .. } if known.is_empty() => {
                f.write_str("A GSS_NTLM_ variable is no switch: unset it, or write the one of gss-ntlm(8) that was meant")
            }
            Self::UnknownSwitch { variable, known } => {
                write!(f, "{} is no switch: unset it, or write the one of these that was meant: {known}", Cut(variable))
            }
            Self::BadLmLevel => f.write_str("LM_COMPAT_LEVEL must be a number from 0 to 5"),
            Self::NtlmV1 => f.write_str(
                "The client answered with NTLMv1, or with LM or LMv2 alone: let it use NTLMv2, or lower LM_COMPAT_LEVEL here (2 accepts NTLMv1, 1 also LM alone)",
            ),
            Self::Anonymous => f.write_str("The client is anonymous: let it name an account, or set GSS_NTLM_ANONYMOUS to yes"),
            Self::Guest => f.write_str(
                "The domain takes the client for a guest: let it name an account, or set GSS_NTLM_ANONYMOUS to yes and have no sign or seal in GSS_NTLM_MINIMUM",
            ),
            Self::NotThisAccount => f.write_str(
                "The name is not that of this local account: the account must be called as gss_localname says, and a foreign domain is part of that",
            ),
            Self::MicRequired => f.write_str("The client sent no MIC: let it, or set GSS_NTLM_REQUIRE_MIC to no"),
            Self::BindingsRequired => {
                f.write_str("There are no channel bindings to compare: let both sides give them, or set GSS_NTLM_CHANNEL_BINDINGS to when-sent")
            }
            Self::TargetName => f.write_str(
                "The client did not name this service as its target (MsvAvTargetName): let it, or set GSS_NTLM_TARGET_NAME to audit",
            ),
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Randomness => "The operating system gave no random bytes: see what keeps getrandom(2) from it",
            Self::Thread => "The operating system gave no thread: raise the limits of the process",
            Self::Memory => "There is not enough memory: raise the limits of the process",
        })
    }
}

/// The beginning of a text from elsewhere, on one line.
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) =
            self.0.char_indices().nth(64).and_then(|(at, _)| self.0.split_at_checked(at)).unwrap_or((self.0, ""));
        write!(f, "{}{}", Escaped(shown), if rest.is_empty() { "" } else { "..." })
    }
}

/// A path for a person: what it may be instead of an empty one.
struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(if self.0.is_empty() { "(NTLM_USER_FILE or ntlmssp_keyfile)" } else { self.0 }).fmt(f)
    }
}

pub(crate) struct Reason<'a>(pub(crate) &'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A person needs no number beside the words.
        let words = self.0.split_once(" (os error ").map_or(self.0, |(words, _)| words);
        Escaped(if words.is_empty() { "look at its path and permissions" } else { words }).fmt(f)
    }
}

macro_rules! from_part {
    ($($part:ident => $variant:ident),* $(,)?) => {$(
        impl From<$part> for Error {
            fn from(part: $part) -> Self {
                Self::$variant(part)
            }
        }
    )*};
}

from_part! {
    InvalidMessage => InvalidMessage,
    PeerMisbehaved => PeerMisbehaved,
    BadSignature => BadSignature,
    PeerIncompatible => PeerIncompatible,
    ApiMisuse => ApiMisuse,
    CredentialError => Credential,
    DomainError => Domain,
    PolicyError => Policy,
    HostError => Host,
}
