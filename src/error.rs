//! Errors, by whose fault they are.
//!
//! The sentence of an [`Error`] says what went wrong and what to do; no variant contains a secret. The table in
//! `error/table.rs` has a row for each error, with its sentence and its status codes.

#![forbid(unsafe_code)]

mod message;
mod table;

use core::fmt;

pub use self::{
    message::{Fault, FieldName, InvalidMessage, Message},
    table::{
        ApiMisuse, BadSignature, Code, CredentialError, DomainError, FileFlaw, HostError, LogonFault, PeerIncompatible,
        PeerMisbehaved, PolicyError,
    },
};

#[cfg(any(feature = "mechglue", feature = "tool"))]
pub(crate) use self::table::Reason;
#[cfg(feature = "mechglue")]
pub(crate) use self::table::major;

/// The result of each function of this crate that can fail.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A token does not parse.
    InvalidMessage(InvalidMessage),
    /// A token parses, but its sender does not know the secret, or it was changed in transit.
    PeerMisbehaved(PeerMisbehaved),
    /// The signature of a message does not verify.
    BadSignature(BadSignature),
    /// The peer does not offer what this side requires.
    PeerIncompatible(PeerIncompatible),
    /// The call of the application cannot work.
    ApiMisuse(ApiMisuse),
    /// There is no usable secret.
    Credential(CredentialError),
    /// The domain did not answer as it should, or refuses the account.
    Domain(DomainError),
    /// The administrator does not allow it.
    Policy(PolicyError),
    /// The operating system did not provide what is needed.
    Host(HostError),
    /// A fault in this mechanism.
    Internal,
}

impl Error {
    /// Its status codes.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidMessage(e) => e.code(),
            Self::PeerMisbehaved(e) => e.code(),
            Self::BadSignature(e) => e.code(),
            Self::PeerIncompatible(e) => e.code(),
            Self::ApiMisuse(e) => e.code(),
            Self::Credential(e) => e.code(),
            Self::Domain(e) => e.code(),
            Self::Policy(e) => e.code(),
            Self::Host(e) => e.code(),
            Self::Internal => table::INTERNAL,
        }
    }

    /// The sentence of all errors with that minor code, for use when the error itself is not known; `None` if there is no such
    /// code.
    #[must_use]
    pub fn sentence_of(minor: u32) -> Option<String> {
        let ours = Self::examples("").iter().find(|error| error.code().minor == minor).map(ToString::to_string);
        let not_ours = || {
            table::NOT_OURS
                .iter()
                .find(|(number, _)| table::BASE | number == minor)
                .map(|(_, words)| (*words).to_owned())
        };
        let malformed =
            || InvalidMessage::examples().find(|e| e.code().minor == minor).map(InvalidMessage::sentence_without_fault);
        ours.or_else(not_ours).or_else(malformed)
    }

    /// An error for each code, except for malformed tokens; text from elsewhere in it is `text`.
    fn examples(text: &str) -> Vec<Self> {
        let mut examples = table::examples(text);
        examples.push(Self::Internal);
        examples
    }

    /// Whether the administrator must correct the configuration of this computer before any handshake: a setting, or the user
    /// file. If there is no configuration, there is nothing to correct.
    #[must_use]
    pub const fn is_misconfiguration(&self) -> bool {
        match self {
            Self::Policy(error) => matches!(
                error,
                PolicyError::BadSwitch { .. }
                    | PolicyError::UnknownSwitch { .. }
                    | PolicyError::BadLmLevel
                    | PolicyError::BadFile { .. }
                    | PolicyError::BadLine { .. }
                    | PolicyError::Loosens { .. }
            ),
            Self::Credential(CredentialError::NoEntry { name, .. }) => name.is_empty(),
            Self::Credential(error) => {
                matches!(
                    error,
                    CredentialError::Unreadable { .. }
                        | CredentialError::Writable { .. }
                        | CredentialError::Readable { .. }
                )
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
            Self::Internal => f.write_str(table::INTERNAL_SENTENCE),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Programs, logs and scripts know the numbers: no number changes or gets another meaning.
    #[test]
    fn every_number_stays() {
        let pinned = [
            (0x000d_0000, 0x4E54_0013, "PeerMisbehaved LogonFailure"),
            (0x000d_0000, 0x4E54_0020, "PeerMisbehaved WrongMic"),
            (0x0004_0000, 0x4E54_0021, "PeerMisbehaved WrongBindings"),
            (0x000d_0000, 0x4E54_0022, "PeerMisbehaved ChangedTargetInfo"),
            (0x0006_0000, 0x4E54_0023, "BadSignature Expected"),
            (0x0006_0002, 0x4E54_0024, "BadSignature Duplicate"),
            (0x0006_0010, 0x4E54_0025, "BadSignature Gap"),
            (0x0006_0000, 0x4E54_0043, "BadSignature Other"),
            (0x000d_0000, 0x4E54_000F, "PeerIncompatible NoUnicode"),
            (0x000d_0000, 0x4E54_0026, "PeerIncompatible NoSign"),
            (0x000d_0000, 0x4E54_0027, "PeerIncompatible NoSeal"),
            (0x000d_0000, 0x4E54_0028, "PeerIncompatible No128"),
            (0x000d_0000, 0x4E54_0029, "PeerIncompatible NoExtendedSessionSecurity"),
            (0x000d_0000, 0x4E54_002A, "PeerIncompatible NoTargetInfo"),
            (0x000d_0000, 0x4E54_0019, "PeerIncompatible ClockSkew"),
            (0x000d_0000, 0x4E54_0040, "PeerIncompatible NoDatagram"),
            (0x000d_0000, 0x4E54_0042, "PeerIncompatible NoLmHash"),
            (0x000d_0000, 0x4E54_0041, "PeerIncompatible NoKeyExch"),
            (0x0100_0000, 0x4E54_0004, "ApiMisuse NullInput"),
            (0x0200_0000, 0x4E54_002C, "ApiMisuse NullOutput"),
            (0x0008_0000, 0x4E54_000B, "ApiMisuse NoContext"),
            (0x0008_0000, 0x4E54_000C, "ApiMisuse WrongRole"),
            (0x0008_0000, 0x4E54_002D, "ApiMisuse NotEstablished"),
            (0x0009_0000, 0x4E54_000D, "ApiMisuse AlreadyEstablished"),
            (0x000d_0000, 0x4E54_0005, "ApiMisuse BadArgument"),
            (0x000e_0000, 0x4E54_002E, "ApiMisuse BadQop"),
            (0x0001_0000, 0x4E54_002F, "ApiMisuse BadMech"),
            (0x0002_0000, 0x4E54_0006, "ApiMisuse BadName"),
            (0x0002_0000, 0x4E54_0053, "ApiMisuse NoUserName"),
            (0x0002_0000, 0x4E54_0054, "ApiMisuse AnonymousAcceptor"),
            (0x0003_0000, 0x4E54_0030, "ApiMisuse BadNameType"),
            (0x0005_0000, 0x4E54_0031, "ApiMisuse BadStatus"),
            (0x0010_0000, 0x4E54_0015, "ApiMisuse UnknownOption"),
            (0x0010_0000, 0x4E54_0016, "ApiMisuse NotAvailable"),
            (0x0010_0000, 0x4E54_0032, "ApiMisuse NoProtection"),
            (0x0010_0000, 0x4E54_0044, "ApiMisuse NoSeqNum"),
            (0x0010_0000, 0x4E54_0033, "ApiMisuse NotDatagram"),
            (0x0007_0000, 0x4E54_0012, "ApiMisuse NotAnInitiator"),
            (0x0007_0000, 0x4E54_0011, "ApiMisuse NotAnAcceptor"),
            (0x000a_0000, 0x4E54_0035, "ApiMisuse BadPassword"),
            (0x0010_0000, 0x4E54_003D, "ApiMisuse NoAttribute"),
            (0x000d_0000, 0x4E54_003E, "ApiMisuse BadBuffers"),
            (0x000d_0000, 0x4E54_0052, "ApiMisuse BadTrace"),
            (0x0010_0000, 0x4E54_0055, "ApiMisuse NotStored"),
            (0x0010_0000, 0x4E54_005F, "ApiMisuse NoStoreTarget"),
            (0x000d_0000, 0x4E54_0060, "ApiMisuse BadStoreKey"),
            (0x0007_0000, 0x4E54_0034, "Credential NoUserFile"),
            (0x0007_0000, 0x4E54_0036, "Credential Unreadable"),
            (0x0007_0000, 0x4E54_0037, "Credential Writable"),
            (0x0007_0000, 0x4E54_005D, "Credential Readable"),
            (0x0007_0000, 0x4E54_001D, "Credential NoEntry"),
            (0x0007_0000, 0x4E54_0008, "Credential NotAUser"),
            (0x0007_0000, 0x4E54_0050, "Credential NoDomain"),
            (0x0007_0000, 0x4E54_0045, "Credential NoCachedLogon"),
            (0x0007_0000, 0x4E54_0061, "Credential NotForTarget"),
            (0x0011_0000, 0x4E54_0062, "Credential AlreadyStored"),
            (0x0010_0000, 0x4E54_0063, "Credential StoreIsOff"),
            (0x000d_0000, 0x4E54_0064, "Credential StoreFailed"),
            (0x000d_0000, 0x4E54_0046, "Domain Refused"),
            (0x000d_0000, 0x4E54_0047, "Domain Unavailable"),
            (0x000d_0000, 0x4E54_0048, "Domain NotPermitted"),
            (0x000d_0000, 0x4E54_0049, "Domain TimedOut"),
            (0x000d_0000, 0x4E54_004A, "Domain OddReply"),
            (0x0004_0000, 0x4E54_004B, "Domain NoBindings"),
            (0x0010_0000, 0x4E54_004C, "Domain NoDatagram"),
            (0x000d_0000, 0x4E54_004F, "Domain NotProtected"),
            (0x000d_0000, 0x4E54_0038, "Policy BadSwitch"),
            (0x000d_0000, 0x4E54_0051, "Policy UnknownSwitch"),
            (0x000d_0000, 0x4E54_0009, "Policy BadLmLevel"),
            (0x000d_0000, 0x4E54_001C, "Policy NtlmV1"),
            (0x000d_0000, 0x4E54_0039, "Policy Anonymous"),
            (0x000d_0000, 0x4E54_004D, "Policy Guest"),
            (0x000d_0000, 0x4E54_003A, "Policy MicRequired"),
            (0x0004_0000, 0x4E54_0018, "Policy BindingsRequired"),
            (0x000f_0000, 0x4E54_003F, "Policy NotThisAccount"),
            (0x000d_0000, 0x4E54_003B, "Policy TargetName"),
            (0x000d_0000, 0x4E54_0056, "Policy BadFile"),
            (0x000d_0000, 0x4E54_0057, "Policy BadLine"),
            (0x000d_0000, 0x4E54_0058, "Policy Loosens"),
            (0x000f_0000, 0x4E54_0059, "Policy OutgoingDenied"),
            (0x000f_0000, 0x4E54_005A, "Policy InsideSpnegoDenied"),
            (0x000f_0000, 0x4E54_005B, "Policy IncomingDenied"),
            (0x000f_0000, 0x4E54_005C, "Policy FipsRefused"),
            (0x0009_0000, 0x4E54_005E, "Policy Datagram"),
            (0x000d_0000, 0x4E54_0003, "Host Randomness"),
            (0x000d_0000, 0x4E54_003C, "Host Memory"),
            (0x000d_0000, 0x4E54_004E, "Host Thread"),
            (0x000d_0000, 0x4E54_000A, "Internal"),
        ];
        let row = |error: &Error| {
            let (Code { major, minor }, variant) = (error.code(), format!("{error:?}"));
            let words: Vec<_> = variant.split(|c: char| !c.is_alphanumeric()).take(2).collect();
            (major, minor, words.join(" "))
        };
        let rows: Vec<_> = Error::examples("").iter().map(row).collect();
        assert_eq!(rows, pinned.map(|(major, minor, variant)| (major, minor, variant.to_owned())));
    }

    #[test]
    fn the_sentence_of_a_refused_logon_does_not_tell_why() {
        let faults = [
            LogonFault::UnknownUser,
            LogonFault::BadPassword,
            LogonFault::DisabledUser,
            LogonFault::OtherName,
            LogonFault::OddName,
            LogonFault::NotTold,
        ];
        let told = |fault| {
            let error = Error::from(PeerMisbehaved::LogonFailure(fault));
            (error.code(), error.to_string())
        };
        for fault in faults {
            assert_eq!(told(fault), told(LogonFault::UnknownUser));
            assert!(!told(fault).1.contains(fault.word()));
        }
    }

    #[test]
    fn every_number_of_a_malformed_token_stays() {
        let code = |message, field| InvalidMessage { message, field, fault: Fault::Truncated }.code();
        let messages = [
            (Message::Negotiate, 0x4E54_0100),
            (Message::Challenge, 0x4E54_0110),
            (Message::Authenticate, 0x4E54_0120),
            (Message::MicToken, 0x4E54_0130),
            (Message::WrapToken, 0x4E54_0140),
            (Message::ExportedContext, 0x4E54_0150),
            (Message::ExportedCredential, 0x4E54_0160),
        ];
        let fields = [
            (FieldName::Token, 0x0),
            (FieldName::Signature, 0x1),
            (FieldName::MessageType, 0x2),
            (FieldName::NegotiateFlags, 0x3),
            (FieldName::DomainName, 0x4),
            (FieldName::Workstation, 0x5),
            (FieldName::TargetName, 0x6),
            (FieldName::ServerChallenge, 0x7),
            (FieldName::TargetInfo, 0x8),
            (FieldName::LmChallengeResponse, 0x9),
            (FieldName::NtChallengeResponse, 0xA),
            (FieldName::UserName, 0xB),
            (FieldName::EncryptedRandomSessionKey, 0xC),
            (FieldName::Mic, 0xD),
            (FieldName::Version, 0xE),
            (FieldName::Contents, 0xF),
        ];
        for (message, number) in messages {
            for (field, nibble) in fields {
                assert_eq!(code(message, field), Code { major: 0x0009_0000, minor: number + nibble });
            }
        }
        assert_eq!((Message::ALL.len(), FieldName::ALL.len()), (messages.len(), fields.len()));
    }

    #[test]
    fn every_code_is_one_errors_and_has_a_sentence() {
        let mut seen = HashSet::new();
        for error in Error::examples("") {
            let minor = error.code().minor;
            assert!(seen.insert(minor), "{minor:#x} stands twice");
            assert_eq!(Error::sentence_of(minor), Some(error.to_string()));
        }
        for error in InvalidMessage::examples() {
            let minor = error.code().minor;
            assert!(seen.insert(minor), "{minor:#x} stands twice");
            let words = Error::sentence_of(minor).unwrap();
            assert!(words.contains(error.message.name()) && words.contains(error.field.name()), "{words}");
        }
        for (number, _) in table::NOT_OURS {
            assert!(seen.insert(table::BASE | number), "{number:#x} is ours");
        }
    }

    #[test]
    fn every_number_of_gss_ntlmssp_has_a_sentence_and_every_sentence_says_what_to_do() {
        let ours = Error::examples("").iter().map(|error| error.code().minor).max().unwrap();
        let all = (0x4E54_0001..=0x4E54_001D).chain(0x4E54_0020..=ours).chain(0x4E54_0100..=0x4E54_016F);
        for number in all {
            let words = Error::sentence_of(number).unwrap_or_else(|| panic!("{number:#x} has no sentence"));
            let says_what_to_do =
                words.contains(": ") || words.contains(" must be ") || words.contains("please report");
            assert!(says_what_to_do, "{number:#x}: {words}");
        }
        assert_eq!(Error::sentence_of(ours + 1), None);
    }
    #[test]
    fn a_setting_or_the_user_file_may_be_misconfigured() {
        let of = |text: &str| -> Vec<_> {
            let errors = Error::examples(text).into_iter().filter(Error::is_misconfiguration);
            errors.map(|error| error.code().minor).collect()
        };
        let always = [
            0x4E54_0036,
            0x4E54_0037,
            0x4E54_005D,
            0x4E54_0038,
            0x4E54_0051,
            0x4E54_0009,
            0x4E54_0056,
            0x4E54_0057,
            0x4E54_0058,
        ];
        // A file without an account for a certain name is in order, a file without any account is not.
        assert_eq!(of("alice"), always);
        assert_eq!(of(""), [&always[..3], &[0x4E54_001D], &always[3..]].concat());
    }

    #[test]
    fn text_from_elsewhere_stays_on_its_line() {
        let hostile = "a\r\nforged\u{85}\u{2028}\u{1b}[2J\u{202e}\0";
        let escaped = "a\\r\\nforged\\u{85}\\u{2028}\\u{1b}[2J\\u{202e}\\u{0}";
        for error in Error::examples(hostile) {
            let sentence = error.to_string();
            assert!(
                !sentence.contains(|c: char| c.is_control() || hostile.contains(c) && !c.is_ascii()),
                "{sentence:?}"
            );
            assert_eq!(sentence.contains(escaped), format!("{error:?}").contains("forged"), "{sentence:?}");
        }
    }
}
