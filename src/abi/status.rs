//! The one table from errors to status codes, and the sentences that go with them.
//!
//! Minor codes start at 0x4E540000 ("NT"). Up to 0x1D they have the meanings that programs know from gss-ntlmssp; ours
//! follow from 0x20. A malformed token has a code for each message and field of it, from 0x100. A number is never used for
//! anything else later.

use core::cell::RefCell;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::ensure_ntlm,
    ptr::{Malloced, Oid, Out},
};
use crate::{
    error::{
        ApiMisuse, BadSignature, CredentialError, DomainError, Error, FieldName, HostError, InvalidMessage, Message,
        PeerIncompatible, PeerMisbehaved, PolicyError, Result,
    },
    host::Host as _,
    sys::System,
};

type Minor = g::OM_uint32;

const BASE: Minor = 0x4E54_0000;
/// Where the codes of malformed tokens start.
const MALFORMED: Minor = BASE + 0x100;

/// The last error of this thread, in all its words: a code alone cannot name the file that was unreadable.
struct Last {
    minor: Minor,
    sentence: String,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// The codes of `error`; its sentence is kept for `gss_display_status` in this thread.
pub(super) fn remember(error: &Error) -> (Major, Minor) {
    let (major, minor) = code(error);
    let sentence = error.to_string();
    System.trace(format_args!("error {minor:#010x}: {sentence}"));
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(Last { minor, sentence })));
    (major, minor)
}

/// The major and minor code of `error`.
pub(super) const fn code(error: &Error) -> (Major, Minor) {
    let (major, minor) = match error {
        Error::InvalidMessage(invalid) => {
            return (g::_GSS_S_DEFECTIVE_TOKEN, malformed(invalid.message, invalid.field));
        }
        Error::PeerMisbehaved(error) => match error {
            // Unknown user and wrong password, which nobody is to tell apart.
            PeerMisbehaved::LogonFailure => (g::_GSS_S_FAILURE, 0x13),
            PeerMisbehaved::WrongMic => (g::_GSS_S_FAILURE, 0x20),
            PeerMisbehaved::WrongBindings => (g::_GSS_S_BAD_BINDINGS, 0x21),
            PeerMisbehaved::ChangedTargetInfo => (g::_GSS_S_FAILURE, 0x22),
        },
        Error::BadSignature(error) => match error {
            BadSignature::Expected => (g::_GSS_S_BAD_SIG, 0x23),
            BadSignature::Duplicate => (g::_GSS_S_BAD_SIG | g::_GSS_S_DUPLICATE_TOKEN, 0x24),
            BadSignature::Gap => (g::_GSS_S_BAD_SIG | g::_GSS_S_GAP_TOKEN, 0x25),
            BadSignature::Other => (g::_GSS_S_BAD_SIG, 0x43),
        },
        Error::PeerIncompatible(error) => match error {
            PeerIncompatible::NoUnicode => (g::_GSS_S_FAILURE, 0x0F),
            PeerIncompatible::NoSign => (g::_GSS_S_FAILURE, 0x26),
            PeerIncompatible::NoSeal => (g::_GSS_S_FAILURE, 0x27),
            PeerIncompatible::No128 => (g::_GSS_S_FAILURE, 0x28),
            PeerIncompatible::NoExtendedSessionSecurity => (g::_GSS_S_FAILURE, 0x29),
            PeerIncompatible::NoTargetInfo => (g::_GSS_S_FAILURE, 0x2A),
            PeerIncompatible::ClockSkew => (g::_GSS_S_FAILURE, 0x19),
            PeerIncompatible::NoDatagram => (g::_GSS_S_FAILURE, 0x40),
            PeerIncompatible::NoKeyExch => (g::_GSS_S_FAILURE, 0x41),
            PeerIncompatible::NoLmHash => (g::_GSS_S_FAILURE, 0x42),
        },
        Error::ApiMisuse(error) => match error {
            ApiMisuse::NullInput => (g::_GSS_S_CALL_INACCESSIBLE_READ, 0x04),
            ApiMisuse::NullOutput => (g::_GSS_S_CALL_INACCESSIBLE_WRITE, 0x2C),
            ApiMisuse::NoContext => (g::_GSS_S_NO_CONTEXT, 0x0B),
            ApiMisuse::WrongRole => (g::_GSS_S_NO_CONTEXT, 0x0C),
            ApiMisuse::NotEstablished => (g::_GSS_S_NO_CONTEXT, 0x2D),
            ApiMisuse::AlreadyEstablished => (g::_GSS_S_DEFECTIVE_TOKEN, 0x0D),
            ApiMisuse::BadArgument => (g::_GSS_S_FAILURE, 0x05),
            ApiMisuse::BadQop => (g::_GSS_S_BAD_QOP, 0x2E),
            ApiMisuse::BadMech => (g::_GSS_S_BAD_MECH, 0x2F),
            ApiMisuse::BadName => (g::_GSS_S_BAD_NAME, 0x06),
            ApiMisuse::BadNameType => (g::_GSS_S_BAD_NAMETYPE, 0x30),
            ApiMisuse::BadStatus => (g::_GSS_S_BAD_STATUS, 0x31),
            ApiMisuse::UnknownOption => (g::_GSS_S_UNAVAILABLE, 0x15),
            ApiMisuse::NotAvailable => (g::_GSS_S_UNAVAILABLE, 0x16),
            ApiMisuse::NoProtection => (g::_GSS_S_UNAVAILABLE, 0x32),
            ApiMisuse::NoSeqNum => (g::_GSS_S_UNAVAILABLE, 0x44),
            ApiMisuse::NotDatagram => (g::_GSS_S_UNAVAILABLE, 0x33),
            ApiMisuse::NotAnInitiator => (g::_GSS_S_NO_CRED, 0x12),
            ApiMisuse::NotAnAcceptor => (g::_GSS_S_NO_CRED, 0x11),
            ApiMisuse::BadPassword => (g::_GSS_S_DEFECTIVE_CREDENTIAL, 0x35),
            ApiMisuse::NoAttribute => (g::_GSS_S_UNAVAILABLE, 0x3D),
            ApiMisuse::BadBuffers => (g::_GSS_S_FAILURE, 0x3E),
            ApiMisuse::BadTrace => (g::_GSS_S_FAILURE, 0x52),
        },
        Error::Credential(error) => match error {
            CredentialError::NoUserFile => (g::_GSS_S_NO_CRED, 0x34),
            CredentialError::Unreadable { .. } => (g::_GSS_S_NO_CRED, 0x36),
            CredentialError::Writable { .. } => (g::_GSS_S_NO_CRED, 0x37),
            CredentialError::NoEntry { .. } => (g::_GSS_S_NO_CRED, 0x1D),
            CredentialError::NotAUser => (g::_GSS_S_NO_CRED, 0x08),
            CredentialError::NoDomain => (g::_GSS_S_NO_CRED, 0x50),
            CredentialError::NoCachedLogon { .. } => (g::_GSS_S_NO_CRED, 0x45),
        },
        Error::Domain(error) => match error {
            DomainError::Refused { .. } => (g::_GSS_S_FAILURE, 0x46),
            DomainError::Unavailable => (g::_GSS_S_FAILURE, 0x47),
            DomainError::NotPermitted => (g::_GSS_S_FAILURE, 0x48),
            DomainError::TimedOut => (g::_GSS_S_FAILURE, 0x49),
            DomainError::OddReply(_) => (g::_GSS_S_FAILURE, 0x4A),
            DomainError::NoBindings => (g::_GSS_S_BAD_BINDINGS, 0x4B),
            DomainError::NoDatagram => (g::_GSS_S_UNAVAILABLE, 0x4C),
            DomainError::NotProtected => (g::_GSS_S_FAILURE, 0x4F),
        },
        Error::Policy(error) => match error {
            PolicyError::BadSwitch { .. } => (g::_GSS_S_FAILURE, 0x38),
            PolicyError::UnknownSwitch { .. } => (g::_GSS_S_FAILURE, 0x51),
            PolicyError::BadLmLevel => (g::_GSS_S_FAILURE, 0x09),
            PolicyError::NtlmV1 => (g::_GSS_S_FAILURE, 0x1C),
            PolicyError::Anonymous => (g::_GSS_S_FAILURE, 0x39),
            PolicyError::Guest => (g::_GSS_S_FAILURE, 0x4D),
            PolicyError::MicRequired => (g::_GSS_S_FAILURE, 0x3A),
            PolicyError::BindingsRequired => (g::_GSS_S_BAD_BINDINGS, 0x18),
            PolicyError::TargetName => (g::_GSS_S_FAILURE, 0x3B),
            PolicyError::NotThisAccount => (g::_GSS_S_UNAUTHORIZED, 0x3F),
        },
        Error::Host(error) => match error {
            HostError::Randomness => (g::_GSS_S_FAILURE, 0x03),
            HostError::Memory => (g::_GSS_S_FAILURE, 0x3C),
            HostError::Thread => (g::_GSS_S_FAILURE, 0x4E),
        },
        Error::Internal => (g::_GSS_S_FAILURE, 0x0A),
    };
    (major, BASE.wrapping_add(minor))
}

/// An error for each code that has no part for message and field, so that `gss_display_status` has a sentence for it where
/// the error itself is forgotten.
const EXAMPLES: &[Error] = &[
    Error::PeerMisbehaved(PeerMisbehaved::LogonFailure),
    Error::PeerMisbehaved(PeerMisbehaved::WrongMic),
    Error::PeerMisbehaved(PeerMisbehaved::WrongBindings),
    Error::PeerMisbehaved(PeerMisbehaved::ChangedTargetInfo),
    Error::BadSignature(BadSignature::Expected),
    Error::BadSignature(BadSignature::Duplicate),
    Error::BadSignature(BadSignature::Gap),
    Error::BadSignature(BadSignature::Other),
    Error::PeerIncompatible(PeerIncompatible::NoUnicode),
    Error::PeerIncompatible(PeerIncompatible::NoSign),
    Error::PeerIncompatible(PeerIncompatible::NoSeal),
    Error::PeerIncompatible(PeerIncompatible::No128),
    Error::PeerIncompatible(PeerIncompatible::NoExtendedSessionSecurity),
    Error::PeerIncompatible(PeerIncompatible::NoTargetInfo),
    Error::PeerIncompatible(PeerIncompatible::ClockSkew),
    Error::PeerIncompatible(PeerIncompatible::NoDatagram),
    Error::PeerIncompatible(PeerIncompatible::NoKeyExch),
    Error::PeerIncompatible(PeerIncompatible::NoLmHash),
    Error::ApiMisuse(ApiMisuse::NullInput),
    Error::ApiMisuse(ApiMisuse::NullOutput),
    Error::ApiMisuse(ApiMisuse::NoContext),
    Error::ApiMisuse(ApiMisuse::WrongRole),
    Error::ApiMisuse(ApiMisuse::NotEstablished),
    Error::ApiMisuse(ApiMisuse::AlreadyEstablished),
    Error::ApiMisuse(ApiMisuse::BadArgument),
    Error::ApiMisuse(ApiMisuse::BadQop),
    Error::ApiMisuse(ApiMisuse::BadMech),
    Error::ApiMisuse(ApiMisuse::BadName),
    Error::ApiMisuse(ApiMisuse::BadNameType),
    Error::ApiMisuse(ApiMisuse::BadStatus),
    Error::ApiMisuse(ApiMisuse::UnknownOption),
    Error::ApiMisuse(ApiMisuse::NotAvailable),
    Error::ApiMisuse(ApiMisuse::NoProtection),
    Error::ApiMisuse(ApiMisuse::NoSeqNum),
    Error::ApiMisuse(ApiMisuse::NotDatagram),
    Error::ApiMisuse(ApiMisuse::NotAnInitiator),
    Error::ApiMisuse(ApiMisuse::NotAnAcceptor),
    Error::ApiMisuse(ApiMisuse::BadPassword),
    Error::ApiMisuse(ApiMisuse::NoAttribute),
    Error::ApiMisuse(ApiMisuse::BadBuffers),
    Error::ApiMisuse(ApiMisuse::BadTrace),
    Error::Credential(CredentialError::NoUserFile),
    Error::Credential(CredentialError::Unreadable { path: String::new(), reason: String::new() }),
    Error::Credential(CredentialError::Writable { path: String::new() }),
    Error::Credential(CredentialError::NoEntry { name: String::new(), path: String::new(), not_utf8: None }),
    Error::Credential(CredentialError::NotAUser),
    Error::Credential(CredentialError::NoDomain),
    Error::Credential(CredentialError::NoCachedLogon { name: String::new() }),
    Error::Domain(DomainError::Refused { status: 0, name: String::new() }),
    Error::Domain(DomainError::Unavailable),
    Error::Domain(DomainError::NotPermitted),
    Error::Domain(DomainError::TimedOut),
    Error::Domain(DomainError::OddReply("in one of its parts")),
    Error::Domain(DomainError::NoBindings),
    Error::Domain(DomainError::NoDatagram),
    Error::Domain(DomainError::NotProtected),
    Error::Policy(PolicyError::BadSwitch {
        variable: "A GSS_NTLM_ variable",
        allowed: "one of its values in gss-ntlm(8)",
    }),
    Error::Policy(PolicyError::UnknownSwitch { variable: String::new(), known: String::new() }),
    Error::Policy(PolicyError::BadLmLevel),
    Error::Policy(PolicyError::NtlmV1),
    Error::Policy(PolicyError::Anonymous),
    Error::Policy(PolicyError::Guest),
    Error::Policy(PolicyError::MicRequired),
    Error::Policy(PolicyError::BindingsRequired),
    Error::Policy(PolicyError::TargetName),
    Error::Policy(PolicyError::NotThisAccount),
    Error::Host(HostError::Randomness),
    Error::Host(HostError::Memory),
    Error::Host(HostError::Thread),
    Error::Internal,
];

/// The codes of gss-ntlmssp that this mechanism does not give, and those that it gave once: a program may have one from there,
/// in a log or over a wire.
const NOT_OURS: [(Minor, &str); 10] = [
    (0x01, "A token could not be decoded: see whether it was cut on its way"),
    (0x02, "A token could not be encoded: use shorter names"),
    (0x07, "The name is not a service's: use service@host"),
    (0x0E, "The peer did not set a flag that is needed: let it, or ask for less"),
    (0x10, "The negotiate flags exclude each other: choose others with NEG_FLAGS"),
    (0x14, "The token is empty or missing: give the one that the peer sent"),
    (0x17, "The name is too long: use one of at most 1024 bytes"),
    (0x1A, "The security context or credential has expired: make a new one"),
    (0x1B, "A key has a wrong length: see whether the token was cut on its way"),
    (
        0x2B,
        "The peer wanted connectionless NTLM, which this side did not ask for: let it use the connection-oriented one",
    ),
];

const MESSAGES: [Message; 7] = [
    Message::Negotiate,
    Message::Challenge,
    Message::Authenticate,
    Message::MicToken,
    Message::WrapToken,
    Message::ExportedContext,
    Message::ExportedCredential,
];

const FIELDS: [FieldName; 16] = [
    FieldName::Token,
    FieldName::Signature,
    FieldName::MessageType,
    FieldName::NegotiateFlags,
    FieldName::DomainName,
    FieldName::Workstation,
    FieldName::TargetName,
    FieldName::ServerChallenge,
    FieldName::TargetInfo,
    FieldName::LmChallengeResponse,
    FieldName::NtChallengeResponse,
    FieldName::UserName,
    FieldName::EncryptedRandomSessionKey,
    FieldName::Mic,
    FieldName::Version,
    FieldName::Contents,
];

/// The minor code of a malformed `field` of `message`.
const fn malformed(message: Message, field: FieldName) -> Minor {
    let message = match message {
        Message::Negotiate => 0x00,
        Message::Challenge => 0x10,
        Message::Authenticate => 0x20,
        Message::MicToken => 0x30,
        Message::WrapToken => 0x40,
        Message::ExportedContext => 0x50,
        Message::ExportedCredential => 0x60,
    };
    let field = match field {
        FieldName::Token => 0x0,
        FieldName::Signature => 0x1,
        FieldName::MessageType => 0x2,
        FieldName::NegotiateFlags => 0x3,
        FieldName::DomainName => 0x4,
        FieldName::Workstation => 0x5,
        FieldName::TargetName => 0x6,
        FieldName::ServerChallenge => 0x7,
        FieldName::TargetInfo => 0x8,
        FieldName::LmChallengeResponse => 0x9,
        FieldName::NtChallengeResponse => 0xA,
        FieldName::UserName => 0xB,
        FieldName::EncryptedRandomSessionKey => 0xC,
        FieldName::Mic => 0xD,
        FieldName::Version => 0xE,
        FieldName::Contents => 0xF,
    };
    MALFORMED | message | field
}

/// What a minor code says to a person: the last error's own words where it is that one, else what all of that code share.
fn sentence(minor: Minor) -> Option<String> {
    let remembered = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        last.as_ref().filter(|last| last.minor == minor).map(|last| last.sentence.clone())
    });
    if let Ok(Some(sentence)) = remembered {
        return Some(sentence);
    }
    if minor == 0 {
        return Some("The NTLM mechanism reported no error".to_owned());
    }
    let example = EXAMPLES.iter().find(|error| code(error).1 == minor).map(ToString::to_string);
    let not_ours = || NOT_OURS.iter().find(|(number, _)| BASE | number == minor).map(|(_, words)| (*words).to_owned());
    example.or_else(not_ours).or_else(|| {
        let mut all = MESSAGES.iter().flat_map(|message| FIELDS.iter().map(move |field| (*message, *field)));
        all.find(|(message, field)| malformed(*message, *field) == minor)
            .map(|(message, field)| InvalidMessage::sentence_without_fault(message, field))
    })
}

/// `gss_display_status`, RFC 2744 5.11.
pub(super) fn display(
    status: u32,
    status_type: core::ffi::c_int,
    mech: Oid,
    _message_context: Out<u32>,
    text: Out<Malloced>,
) -> Result<Major> {
    text.ensure_given()?;
    ensure_ntlm(&mech)?;
    if status_type != GSS_C_MECH_CODE {
        return Err(ApiMisuse::BadStatus.into());
    }
    text.put(Malloced::text(&sentence(status).ok_or(ApiMisuse::BadStatus)?)?);
    Ok(COMPLETE)
}

const GSS_C_MECH_CODE: core::ffi::c_int = 2;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_one_errors_and_has_a_sentence() {
        let mut seen = HashSet::new();
        for error in EXAMPLES {
            let (major, minor) = code(error);
            assert_ne!(major, COMPLETE);
            assert!(seen.insert(minor), "{minor:#x} stands twice");
            assert_eq!(sentence(minor), Some(error.to_string()));
        }
        for (message, field) in MESSAGES.iter().flat_map(|m| FIELDS.iter().map(move |f| (*m, *f))) {
            let minor = malformed(message, field);
            assert!(seen.insert(minor), "{minor:#x} stands twice");
            let words = sentence(minor).unwrap();
            assert!(words.contains(message.name()) && words.contains(field.name()), "{words}");
        }
    }

    #[test]
    fn every_number_of_gss_ntlmssp_has_a_sentence_and_every_sentence_says_what_to_do() {
        let all = (0x01..=0x1D).chain(0x20..=0x52).chain(0x100..=0x16F);
        for number in all {
            let words = sentence(BASE | number).unwrap_or_else(|| panic!("{number:#x} has no sentence"));
            let says_what_to_do =
                words.contains(": ") || words.contains(" must be ") || words.contains("please report");
            assert!(says_what_to_do, "{number:#x}: {words}");
        }
        for (number, _) in NOT_OURS {
            assert!(EXAMPLES.iter().all(|error| code(error).1 != BASE | number), "{number:#x} is ours");
        }
    }

    #[test]
    fn the_last_error_has_its_own_words() {
        let error =
            Error::Credential(CredentialError::Unreadable { path: "/x/users".to_owned(), reason: "gone".to_owned() });
        let (_, minor) = remember(&error);
        assert!(sentence(minor).unwrap().contains("/x/users"));
        std::thread::spawn(move || assert!(!sentence(minor).unwrap().contains("/x/users"))).join().unwrap();
    }

    #[test]
    fn the_codes_that_programs_know_stay() {
        assert_eq!(code(&ApiMisuse::NotAvailable.into()), (g::_GSS_S_UNAVAILABLE, 0x4E54_0016));
    }
}
