//! A token that does not parse.

use core::fmt;

use super::{
    Code, Error,
    table::{BASE, major},
};

/// A token that does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMessage {
    /// The token.
    pub message: Message,
    /// The part of it that is wrong, in the words of [MS-NLMP] 2.2.
    pub field: FieldName,
    /// What is wrong with that part.
    pub fault: Fault,
}

/// Makes an enum whose values have a number, which is part of the minor code, and a name.
macro_rules! numbered {
    ($(
        $(#[$attribute:meta])*
        $enum:ident {$( $(#[$value_attribute:meta])* $value:ident = $number:literal, $name:literal; )+}
    )+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $enum {$( $(#[$value_attribute])* $value, )+}

        impl $enum {
            pub(super) const ALL: &[Self] = &[$( Self::$value, )+];

            const fn number(self) -> u32 {
                match self {$( Self::$value => $number, )+}
            }

            /// The name in the specification.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$( Self::$value => $name, )+}
            }
        }
    )+};
}

numbered! {
    /// The tokens that this mechanism reads.
    Message {
        /// NEGOTIATE_MESSAGE, [MS-NLMP] 2.2.1.1.
        Negotiate = 0x0, "NEGOTIATE_MESSAGE";
        /// CHALLENGE_MESSAGE, [MS-NLMP] 2.2.1.2.
        Challenge = 0x1, "CHALLENGE_MESSAGE";
        /// AUTHENTICATE_MESSAGE, [MS-NLMP] 2.2.1.3.
        Authenticate = 0x2, "AUTHENTICATE_MESSAGE";
        /// What `gss_get_mic` makes: one NTLMSSP_MESSAGE_SIGNATURE, [MS-NLMP] 2.2.2.9.
        MicToken = 0x3, "MIC token";
        /// What `gss_wrap` makes: NTLMSSP_MESSAGE_SIGNATURE, then the sealed data.
        WrapToken = 0x4, "wrap token";
        /// What `gss_export_sec_context` makes.
        ExportedContext = 0x5, "exported context";
        /// What `gss_export_cred` makes.
        ExportedCredential = 0x6, "exported credential";
    }

    /// The parts of tokens that an error can point at.
    FieldName {
        /// The whole token.
        Token = 0x0, "the token itself";
        /// `NTLMSSP\0`.
        Signature = 0x1, "Signature";
        /// MessageType.
        MessageType = 0x2, "MessageType";
        /// NegotiateFlags.
        NegotiateFlags = 0x3, "NegotiateFlags";
        /// DomainName.
        DomainName = 0x4, "DomainName";
        /// Workstation.
        Workstation = 0x5, "Workstation";
        /// TargetName.
        TargetName = 0x6, "TargetName";
        /// ServerChallenge.
        ServerChallenge = 0x7, "ServerChallenge";
        /// TargetInfo and the AV_PAIRs in it.
        TargetInfo = 0x8, "TargetInfo";
        /// LmChallengeResponse.
        LmChallengeResponse = 0x9, "LmChallengeResponse";
        /// NtChallengeResponse.
        NtChallengeResponse = 0xA, "NtChallengeResponse";
        /// UserName.
        UserName = 0xB, "UserName";
        /// EncryptedRandomSessionKey.
        EncryptedRandomSessionKey = 0xC, "EncryptedRandomSessionKey";
        /// MIC.
        Mic = 0xD, "MIC";
        /// Version, of an exported token.
        Version = 0xE, "version";
        /// Contents of an exported token.
        Contents = 0xF, "contents";
    }
}

/// What can be wrong with a part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The token ends before the part does.
    Truncated,
    /// Its Len and BufferOffset point outside the token, or into its fixed header.
    OutsideMessage,
    /// UTF-16 text with an odd number of bytes.
    OddLength,
    /// A length that the specification does not allow.
    WrongLength,
    /// It is empty, although there must be a key.
    NoKey,
    /// A value that the specification does not allow.
    WrongValue,
    /// An AV_PAIR that may occur once occurs twice.
    Duplicate,
    /// An AV_PAIR list without MsvAvEOL.
    NoEnd,
    /// The token announces it, but does not contain it.
    Missing,
}

impl InvalidMessage {
    /// Its code: there is one for each field of each message, from 0x4E540100.
    pub(super) const fn code(&self) -> Code {
        Code { major: major::DEFECTIVE_TOKEN, minor: BASE | 0x100 | self.message.number() << 4 | self.field.number() }
    }

    /// The sentence, for use when the fault is not known.
    pub(super) fn sentence_without_fault(self) -> String {
        format!("The {} is malformed, in {}: {ADVICE}", self.message.name(), self.field.name())
    }

    /// An error for each field of each message.
    pub(super) fn examples() -> impl Iterator<Item = Self> {
        let fault = Fault::WrongValue;
        Message::ALL.iter().flat_map(move |message| {
            FieldName::ALL.iter().map(move |field| Self { message: *message, field: *field, fault })
        })
    }
}

impl From<InvalidMessage> for Error {
    fn from(error: InvalidMessage) -> Self {
        Self::InvalidMessage(error)
    }
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, field, fault } = self;
        write!(f, "The {} is malformed, {} {}: {}", message.name(), field.name(), fault.sentence(), fault.advice())
    }
}

const ADVICE: &str = "check whether the token was cut off in transit, and which program made it";

impl Fault {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Truncated => "is cut off",
            Self::OutsideMessage => "lies outside the message",
            Self::OddLength => "is UTF-16 text with an odd number of bytes",
            Self::WrongLength => "has a wrong length",
            Self::NoKey => "is empty, although messages are to be protected",
            Self::WrongValue => "has a wrong value",
            Self::Duplicate => "contains an AV_PAIR twice",
            Self::NoEnd => "does not end with MsvAvEOL",
            Self::Missing => "is announced but missing",
        }
    }

    const fn advice(self) -> &'static str {
        if matches!(self, Self::NoKey) {
            "log on with an account; the client is anonymous, takes this server for its own computer (a local logon of Windows), or has a fault"
        } else {
            ADVICE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_message_field_and_fault() {
        let shown =
            |fault| InvalidMessage { message: Message::Challenge, field: FieldName::TargetInfo, fault }.to_string();
        assert_eq!(
            shown(Fault::NoEnd),
            "The CHALLENGE_MESSAGE is malformed, TargetInfo does not end with MsvAvEOL: check whether the token was cut off in \
             transit, and which program made it"
        );
        assert!(shown(Fault::NoKey).contains("log on with an account"));
    }
}
