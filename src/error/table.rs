//! The table of errors. One row for each: its variant, what it carries and an example of that, its major and minor status
//! code, and what it says to a person.
//!
//! Minor codes start at 0x4E540000 ("NT"). Up to 0x1D they have the meanings that programs know from gss-ntlmssp; ours
//! follow from 0x20. A number is never used for anything else later.

use core::fmt;

use crate::text::Escaped;

use super::Error;

/// What a caller of GSS-API gets for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The major status code, of RFC 2744 3.9.1.
    pub major: u32,
    /// The minor status code, of this mechanism.
    pub minor: u32,
}

/// Where the minor codes start.
pub(super) const BASE: u32 = 0x4E54_0000;

/// The major status codes of RFC 2744 3.9.1.
#[rustfmt::skip]
pub(crate) mod major {
    pub(crate) const CALL_INACCESSIBLE_READ: u32 = 1 << 24;
    pub(crate) const CALL_INACCESSIBLE_WRITE: u32 = 2 << 24;
    pub(crate) const BAD_MECH: u32 = 1 << 16;
    pub(crate) const BAD_NAME: u32 = 2 << 16;
    pub(crate) const BAD_NAMETYPE: u32 = 3 << 16;
    pub(crate) const BAD_BINDINGS: u32 = 4 << 16;
    pub(crate) const BAD_STATUS: u32 = 5 << 16;
    pub(crate) const BAD_SIG: u32 = 6 << 16;
    pub(crate) const NO_CRED: u32 = 7 << 16;
    pub(crate) const NO_CONTEXT: u32 = 8 << 16;
    pub(crate) const DEFECTIVE_TOKEN: u32 = 9 << 16;
    pub(crate) const DEFECTIVE_CREDENTIAL: u32 = 10 << 16;
    pub(crate) const FAILURE: u32 = 13 << 16;
    pub(crate) const BAD_QOP: u32 = 14 << 16;
    pub(crate) const UNAUTHORIZED: u32 = 15 << 16;
    pub(crate) const UNAVAILABLE: u32 = 16 << 16;
    pub(crate) const DUPLICATE_TOKEN: u32 = 1 << 1;
    pub(crate) const GAP_TOKEN: u32 = 1 << 4;
}

/// Makes of the table an enum for each part of [`Error`], and the functions that read a row.
macro_rules! errors {
    (
        text: $text:ident;
        $(
            $(#[$part_attribute:meta])*
            $part:ident($name:ident) {$(
                $(#[$row_attribute:meta])*
                $row:ident
                $({$(
                    $(#[$field_attribute:meta])*
                    $field:ident: $field_type:ty = $field_example:expr,
                )+})?
                $(($argument:ident: $argument_type:ty = $argument_example:expr))?
                => $($major:ident)|+, $minor:literal,
                $sentence:literal $(, $shown:expr)*;
            )+}
        )+
    ) => {
        $(
            $(#[$part_attribute])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub enum $name {$(
                $(#[$row_attribute])*
                $row $({$( $(#[$field_attribute])* $field: $field_type, )+})? $(($argument_type))?,
            )+}

            impl $name {
                pub(super) const fn code(&self) -> Code {
                    match self {$(
                        Self::$row { .. } => Code { major: $(major::$major)|+, minor: BASE | $minor },
                    )+}
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match self {$(
                        Self::$row $({ $($field),+ })? $(($argument))? => {
                            // Names and paths come from elsewhere.
                            Escaped(format_args!($sentence $(, $shown)*)).fmt(f)
                        }
                    )+}
                }
            }

            impl From<$name> for Error {
                fn from(error: $name) -> Self {
                    Self::$part(error)
                }
            }
        )+

        /// One error for each row; where it has text from elsewhere, that is `text`.
        pub(super) fn examples($text: &str) -> Vec<Error> {
            vec![$($(
                Error::$part($name::$row $({$( $field: $field_example, )+})? $(($argument_example))?),
            )+)+]
        }
    };
}

errors! {
    text: text;

    /// A well-formed token that must not be believed.
    #[derive(Copy)]
    PeerMisbehaved(PeerMisbehaved) {
        /// Unknown user or wrong password: the peer is never told which.
        LogonFailure => FAILURE, 0x13,
            "The user name or the password is wrong (STATUS_LOGON_FAILURE): the trace of the server (GSSNTLMSSP_DEBUG) tells which";
        /// The MIC of the AUTHENTICATE_MESSAGE does not fit the three messages.
        WrongMic => FAILURE, 0x20,
            "The MIC of the AUTHENTICATE_MESSAGE is wrong: look for who changes messages between client and server";
        /// MsvAvChannelBindings differs from the channel bindings of this side.
        WrongBindings => BAD_BINDINGS, 0x21,
            "The channel bindings differ: look for who ends the TLS connection between client and server";
        /// An AV_PAIR of the CHALLENGE_MESSAGE came back changed.
        ChangedTargetInfo => FAILURE, 0x22,
            "The client sent back other names or another time than the CHALLENGE_MESSAGE had: look for who changes messages between client and server";
    }

    /// A message signature that does not verify, by what its sequence number suggests.
    #[derive(Copy)]
    BadSignature(BadSignature) {
        /// The expected one.
        Expected => BAD_SIG, 0x23,
            "The signature does not fit the message: drop the message, the security context goes on";
        /// One that was used already.
        Duplicate => BAD_SIG | DUPLICATE_TOKEN, 0x24,
            "The signature has the sequence number of an earlier message: drop the message, it is a replay; the security context goes on";
        /// One further on.
        Gap => BAD_SIG | GAP_TOKEN, 0x25,
            "The signature has the sequence number of a later message: verify messages in the order in which they were signed, all of them";
        /// Another than the application's, of a connectionless context.
        Other => BAD_SIG, 0x43,
            "The signature has another sequence number than this side: both sides must set the same one (100 in SIP)";
    }

    /// Something that this side needs and the peer did not offer.
    #[derive(Copy)]
    PeerIncompatible(PeerIncompatible) {
        /// NTLMSSP_NEGOTIATE_UNICODE, for a name that needs it.
        NoUnicode => FAILURE, 0x0F,
            "The peer takes OEM strings only: use a name in Latin-1 letters, and do not rule OEM out with NEG_FLAGS";
        /// NTLMSSP_NEGOTIATE_SIGN.
        NoSign => FAILURE, 0x26,
            "The peer does not offer integrity (NTLMSSP_NEGOTIATE_SIGN): let it, or ask for none (GSS_C_INTEG_FLAG, GSS_NTLM_MINIMUM)";
        /// NTLMSSP_NEGOTIATE_SEAL.
        NoSeal => FAILURE, 0x27,
            "The peer does not offer confidentiality (NTLMSSP_NEGOTIATE_SEAL): let it, or ask for none (GSS_C_CONF_FLAG, GSS_NTLM_MINIMUM)";
        /// NTLMSSP_NEGOTIATE_128.
        No128 => FAILURE, 0x28,
            "The peer does not offer 128-bit keys (NTLMSSP_NEGOTIATE_128): let it, or require none (GSS_NTLM_MINIMUM, NEG_FLAGS)";
        /// NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY.
        NoExtendedSessionSecurity => FAILURE, 0x29,
            "The peer does not offer extended session security: let it, or require none (GSS_NTLM_MINIMUM, NEG_FLAGS)";
        /// TargetInfo.
        NoTargetInfo => FAILURE, 0x2A,
            "The server says nothing about itself (TargetInfo): let it, or set GSS_NTLM_TARGET_INFO to optional, or ask for neither integrity nor confidentiality";
        /// The challenge's MsvAvTimestamp is too far from this host's clock.
        ClockSkew => FAILURE, 0x19,
            "The server's clock is too far from this host's: set the clocks, or raise GSS_NTLM_MAX_SKEW (hours)";
        /// A connection-oriented handshake where a connectionless one is under way.
        NoDatagram => FAILURE, 0x40,
            "The peer wants connection-oriented NTLM: do without GSS_C_DATAGRAM_FLAG, or let it set NTLMSSP_NEGOTIATE_DATAGRAM";
        /// An LM hash of the account, for a key that is to be made of one.
        NoLmHash => FAILURE, 0x42,
            "The key is to be made of an LM hash, and the account has none: let the client not set NTLMSSP_NEGOTIATE_LM_KEY";
        /// NTLMSSP_NEGOTIATE_KEY_EXCH, which a connectionless handshake must have.
        NoKeyExch => FAILURE, 0x41,
            "The peer does not exchange a key (NTLMSSP_NEGOTIATE_KEY_EXCH): let it, connectionless NTLM must have one";
    }

    /// A call that cannot work, whatever the peer sent.
    #[derive(Copy)]
    ApiMisuse(ApiMisuse) {
        /// A NULL where RFC 2744 wants something to read.
        NullInput => CALL_INACCESSIBLE_READ, 0x04,
            "A required input argument is NULL: look at how the program calls";
        /// A NULL where RFC 2744 wants somewhere to write.
        NullOutput => CALL_INACCESSIBLE_WRITE, 0x2C,
            "A required output argument is NULL: look at how the program calls";
        /// No context, or one whose handshake failed.
        NoContext => NO_CONTEXT, 0x0B,
            "There is no security context, or its handshake failed: start a new one";
        /// The call fits contexts of the other role only.
        WrongRole => NO_CONTEXT, 0x0C,
            "The security context has the other role: one side initiates, the other accepts";
        /// The context is not established yet.
        NotEstablished => NO_CONTEXT, 0x2D,
            "The security context is not established yet: go on with the handshake";
        /// A handshake token for a context that is established.
        AlreadyEstablished => DEFECTIVE_TOKEN, 0x0D,
            "The security context is established already: it takes no more handshake tokens";
        /// An argument of a wrong length or value.
        BadArgument => FAILURE, 0x05,
            "An argument has a wrong length or value: look at how the program calls";
        /// A quality of protection other than 0.
        BadQop => BAD_QOP, 0x2E,
            "The quality of protection must be 0 (GSS_C_QOP_DEFAULT)";
        /// A mechanism OID that is not NTLM's.
        BadMech => BAD_MECH, 0x2F,
            "The mechanism is not NTLM: ask for 1.3.6.1.4.1.311.2.2.10";
        /// A name that does not parse, or is not UTF-8.
        BadName => BAD_NAME, 0x06,
            "The name is empty, too long, not UTF-8 or of no form that NTLM knows: write DOMAIN\\user, user@DOMAIN or service@host";
        /// A name type that NTLM does not have.
        BadNameType => BAD_NAMETYPE, 0x30,
            "NTLM has no names of this type: import it as a user's or a host-based service's";
        /// The status type or value is not a mechanism's.
        BadStatus => BAD_STATUS, 0x31,
            "This is not a status code of the NTLM mechanism: ask the mechanism that it is from";
        /// An object identifier that this call does not know.
        UnknownOption => UNAVAILABLE, 0x15,
            "The NTLM mechanism does not know this object identifier here: gssapi/gssapi_ntlmssp.h has those that it knows";
        /// Known, but not to be had in this state.
        NotAvailable => UNAVAILABLE, 0x16,
            "Not available in this state of the security context: ask again when it is established";
        /// Neither SIGN nor SEAL was negotiated, so messages cannot be protected.
        NoProtection => UNAVAILABLE, 0x32,
            "Neither integrity nor confidentiality was negotiated for this security context: ask for them (GSS_C_INTEG_FLAG, GSS_C_CONF_FLAG)";
        /// A connectionless message is to be sealed, and the application has set no number.
        NoSeqNum => UNAVAILABLE, 0x44,
            "A connectionless security context seals nothing without a number: set one of its own for each message (GSS_NTLMSSP_SET_SEQ_NUM)";
        /// A sequence number for a context that counts by itself.
        NotDatagram => UNAVAILABLE, 0x33,
            "A connection-oriented security context numbers its messages itself: ask for GSS_C_DATAGRAM_FLAG, or set no number";
        /// An acceptor's credential, to initiate with.
        NotAnInitiator => NO_CRED, 0x12,
            "The credential is an acceptor's: acquire one with GSS_C_INITIATE or GSS_C_BOTH, for a user";
        /// An initiator's credential, to accept with.
        NotAnAcceptor => NO_CRED, 0x11,
            "The credential is an initiator's: acquire one with GSS_C_ACCEPT or GSS_C_BOTH";
        /// A password or hash that cannot be one.
        BadPassword => DEFECTIVE_CREDENTIAL, 0x35,
            "The password or hash cannot be one: a password must be UTF-8 without NUL, of at most 64 KiB, and ntlmssp_nthash 32 hexadecimal digits";
        /// An attribute that the name does not have.
        NoAttribute => UNAVAILABLE, 0x3D,
            "The name has no such attribute: gss_inquire_name lists those that it has";
        /// Buffers that do not make up a message.
        BadBuffers => FAILURE, 0x3E,
            "The buffers make up no message: there must be one HEADER (or MIC_TOKEN) of 16 bytes, no PADDING or TRAILER of more than 0, and, beside a STREAM, one DATA";
        /// A trace that cannot go where it is to go.
        BadTrace => FAILURE, 0x52,
            "The trace cannot go there, see the system's log (authpriv): name a file that this program may write, stderr or syslog";
    }

    /// No secret to work with.
    Credential(CredentialError) {
        /// No user file is configured.
        NoUserFile => NO_CRED, 0x34,
            "There are no credentials: set NTLM_USER_FILE, give a password or ntlmssp_keyfile, or let winbindd run (and GSS_NTLM_WINBIND not be no)";
        /// The user file cannot be read; `path` names it and `reason` is the operating system's.
        Unreadable {
            /// The path as configured.
            path: String = text.to_owned(),
            /// What the operating system said.
            reason: String = text.to_owned(),
        } => NO_CRED, 0x36,
            "The user file {} cannot be read: {}; let NTLM_USER_FILE or ntlmssp_keyfile name a file that this program may read",
            Path(path),
            Reason(reason);
        /// Anybody may write the user file.
        Writable {
            /// The path as configured.
            path: String = text.to_owned(),
        } => NO_CRED, 0x37,
            "The user file {} is refused because anybody may write it: chmod o-w",
            Path(path);
        /// The user file has no entry for the name asked for.
        NoEntry {
            /// The name asked for; empty where any would do.
            name: String = text.to_owned(),
            /// The path as configured.
            path: String = text.to_owned(),
            /// The first line of the file that is not UTF-8.
            not_utf8: Option<u32> = None,
        } => NO_CRED, 0x1D,
            "The user file {} has no usable entry{}",
            Path(path),
            Missing { name, not_utf8: *not_utf8 };
        /// The name is a service's or anonymous, and such a name has no password.
        NotAUser => NO_CRED, 0x08,
            "The name is not a user's: acquire the credential of a user, or of an acceptor";
        /// There is neither a user file nor a winbindd that answers.
        NoDomain => NO_CRED, 0x50,
            "There is no user file, and winbindd does not answer: start it, or set NTLM_USER_FILE";
        /// Neither is there an entry in a user file, nor has winbind a cached logon.
        NoCachedLogon {
            /// The name asked for; empty where none was, and the environment has none either.
            name: String = text.to_owned(),
        } => NO_CRED, 0x45,
            "There are no credentials{}",
            NoLogon(name);
    }

    /// What winbind, or the domain controller behind it, says.
    Domain(DomainError) {
        /// The account is not let in, for another reason than its name and its password.
        Refused {
            /// The NTSTATUS ([MS-ERREF] 2.3).
            status: u32 = 0,
            /// Its name, as winbind spells it; may be empty.
            name: String = text.to_owned(),
        } => FAILURE, 0x46,
            "The domain does not let the account in, {} ({status:#010X}): {}",
            or(name, "an NTSTATUS without a name"),
            remedy(*status);
        /// winbindd does not answer.
        Unavailable => FAILURE, 0x47,
            "No user file has the account, and winbindd does not answer: start it, or set GSS_NTLM_WINBIND to no";
        /// winbindd answers, but not to this.
        NotPermitted => FAILURE, 0x48,
            "winbindd does not let this program verify accounts: run it as a member of the group of the directory winbindd_privileged (winbindd_priv)";
        /// winbindd has not answered in time.
        TimedOut => FAILURE, 0x49,
            "winbindd has not answered in time: see its log, or raise GSS_NTLM_WINBIND_TIMEOUT (seconds)";
        /// winbindd's answer makes no sense; here is what of it.
        OddReply(what: &'static str = "in one of its parts") => FAILURE, 0x4A,
            "winbindd's answer makes no sense, {what}: see its log";
        /// A cached logon has no way to send channel bindings.
        NoBindings => BAD_BINDINGS, 0x4B,
            "A cached logon of winbind cannot send channel bindings (winbindd always says that there are none): give a password, or set GSS_NTLM_CHANNEL_BINDINGS to off to do without";
        /// A cached logon has no connectionless mode.
        NoDatagram => UNAVAILABLE, 0x4C,
            "A cached logon of winbind does no connectionless NTLM: give a password or a user file";
        /// A cached logon did not agree to what was asked for.
        NotProtected => FAILURE, 0x4F,
            "A cached logon of winbind does not sign or seal as asked for: update Samba, or give a password";
    }

    /// What the administrator, by a variable of the environment, or MS-NLMP itself does not allow.
    Policy(PolicyError) {
        /// A switch has a value that it does not know.
        BadSwitch {
            /// The variable.
            variable: &'static str = "A GSS_NTLM_ variable",
            /// What it may be.
            allowed: &'static str = "one of its values in gss-ntlm(8)",
        } => FAILURE, 0x38,
            "{variable} must be {allowed}";
        /// A variable has a name that begins like a switch's and is none.
        UnknownSwitch {
            /// The variable.
            variable: String = text.to_owned(),
            /// The switches, with commas.
            known: String = text.to_owned(),
        } => FAILURE, 0x51,
            "{} is no switch: unset it, or write the one of these that was meant: {}",
            Cut(or(variable, "A GSS_NTLM_ variable")),
            or(known, "see gss-ntlm(8)");
        /// LM_COMPAT_LEVEL is no number from 0 to 5.
        BadLmLevel => FAILURE, 0x09,
            "LM_COMPAT_LEVEL must be a number from 0 to 5";
        /// An NTLMv1 response, or one of LM or LMv2 alone.
        NtlmV1 => FAILURE, 0x1C,
            "The client answered with NTLMv1, or with LM or LMv2 alone: let it use NTLMv2, or lower LM_COMPAT_LEVEL here (2 accepts NTLMv1, 1 also LM alone)";
        /// An anonymous AUTHENTICATE_MESSAGE.
        Anonymous => FAILURE, 0x39,
            "The client is anonymous: let it name an account, or set GSS_NTLM_ANONYMOUS to yes";
        /// The domain takes the client for a guest, who is as good as anonymous.
        Guest => FAILURE, 0x4D,
            "The domain takes the client for a guest: let it name an account, or set GSS_NTLM_ANONYMOUS to yes and have no sign or seal in GSS_NTLM_MINIMUM";
        /// An AUTHENTICATE_MESSAGE without MIC, and GSS_NTLM_REQUIRE_MIC is `yes`.
        MicRequired => FAILURE, 0x3A,
            "The client sent no MIC: let it, or set GSS_NTLM_REQUIRE_MIC to no";
        /// No channel bindings, and GSS_NTLM_CHANNEL_BINDINGS is `required`.
        BindingsRequired => BAD_BINDINGS, 0x18,
            "There are no channel bindings to compare: let both sides give them, or set GSS_NTLM_CHANNEL_BINDINGS to when-sent";
        /// The name may not use the account of this computer.
        NotThisAccount => UNAUTHORIZED, 0x3F,
            "The name is not that of this local account: the account must be called as gss_localname says, and a foreign domain is part of that";
        /// MsvAvTargetName is absent or names another service, and GSS_NTLM_TARGET_NAME is `required`.
        TargetName => FAILURE, 0x3B,
            "The client did not name this service as its target (MsvAvTargetName): let it, or set GSS_NTLM_TARGET_NAME to audit";
    }

    /// What the operating system did not give.
    #[derive(Copy)]
    Host(HostError) {
        /// Random bytes.
        Randomness => FAILURE, 0x03,
            "The operating system gave no random bytes: see what keeps getrandom(2) from it";
        /// Memory.
        Memory => FAILURE, 0x3C,
            "There is not enough memory: raise the limits of the process";
        /// A thread.
        Thread => FAILURE, 0x4E,
            "The operating system gave no thread: raise the limits of the process";
    }
}

/// The code of [`Error::Internal`], which is no part of anything.
pub(super) const INTERNAL: Code = Code { major: major::FAILURE, minor: BASE | 0x0A };
/// What it says.
pub(super) const INTERNAL_SENTENCE: &str =
    "The NTLM mechanism itself failed; please report this with the trace of GSSNTLMSSP_DEBUG";

/// The codes of gss-ntlmssp that this mechanism does not give, and those that it gave once: a program may have one from there,
/// in a log or over a wire.
pub(super) const NOT_OURS: [(u32, &str); 10] = [
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

/// `text`, or `otherwise` where there is none.
const fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// Whom a user file does not have, and what to do about it.
struct Missing<'a> {
    name: &'a str,
    not_utf8: Option<u32>,
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, " for {}", self.name)?;
        }
        match self.not_utf8 {
            Some(line) => write!(f, ", and its line {line} is not UTF-8: save the file as UTF-8"),
            None if self.name.is_empty() => f.write_str(": add a line DOMAIN:USER:PASSWORD"),
            None => f.write_str(": add one, or see whether it is disabled"),
        }
    }
}

/// Whom winbind has no logon of, and what to do about it.
struct NoLogon<'a>(&'a str);

impl fmt::Display for NoLogon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(", and nobody to ask winbind for: set NTLM_USER_FILE, NTLMUSER or USER");
        }
        let name = self.0;
        write!(
            f,
            " for {name}: add it to a user file, or log on so that winbind keeps the password (pam_winbind with cached_login, or wbinfo --ccache-save)"
        )
    }
}

/// The beginning of a text.
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) =
            self.0.char_indices().nth(64).and_then(|(at, _)| self.0.split_at_checked(at)).unwrap_or((self.0, ""));
        write!(f, "{}{}", shown, if rest.is_empty() { "" } else { "..." })
    }
}

/// A path for a person: what it may be instead of an empty one.
struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(or(self.0, "(NTLM_USER_FILE or ntlmssp_keyfile)"))
    }
}

pub(crate) struct Reason<'a>(pub(crate) &'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A person needs no number beside the words.
        let words = self.0.split_once(" (os error ").map_or(self.0, |(words, _)| words);
        f.write_str(or(words, "look at its path and permissions"))
    }
}
