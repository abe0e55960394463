//! The table of errors. Each row has a variant, its fields with examples, its major and minor status codes, and its
//! sentence, which says what went wrong and what to do.
//!
//! Minor codes start at 0x4E540000 ("NT"). Up to 0x1D they have the meanings that programs know from gss-ntlmssp; those of
//! this mechanism follow from 0x20. A number never gets another meaning.

use core::fmt;

use crate::text::Escaped;

use super::Error;

/// The status codes of an error.
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
    pub(crate) const DUPLICATE_ELEMENT: u32 = 17 << 16;
    pub(crate) const DUPLICATE_TOKEN: u32 = 1 << 1;
    pub(crate) const GAP_TOKEN: u32 = 1 << 4;
}

/// Makes an enum for each part of [`Error`], and the functions that read a row.
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

        /// One error for each row; text from elsewhere in it is `text`.
        pub(super) fn examples($text: &str) -> Vec<Error> {
            vec![$($(
                Error::$part($name::$row $({$( $field: $field_example, )+})? $(($argument_example))?),
            )+)+]
        }
    };
}

errors! {
    text: text;

    /// A well-formed token that must not be trusted.
    #[derive(Copy)]
    PeerMisbehaved(PeerMisbehaved) {
        /// Unknown user or wrong password. Only the system's log tells which: the peer must not know, and the sentence is for
        /// the application, which may pass it on.
        LogonFailure(_why: LogonFault = LogonFault::UnknownUser) => FAILURE, 0x13,
            "The user name or the password is wrong (STATUS_LOGON_FAILURE): check both; the log of the server (journalctl -t gss-ntlm) says which of them is wrong";
        /// The MIC of the AUTHENTICATE_MESSAGE does not match the three messages.
        WrongMic => FAILURE, 0x20,
            "The MIC of the AUTHENTICATE_MESSAGE is wrong: a proxy or an attacker may have changed the handshake; check what lies between client and server";
        /// MsvAvChannelBindings differs from the channel bindings of this side.
        WrongBindings => BAD_BINDINGS, 0x21,
            "The channel bindings of client and server differ: a proxy or an attacker may end the TLS connection between them; check what lies between client and server";
        /// An AV_PAIR of the CHALLENGE_MESSAGE came back changed.
        ChangedTargetInfo => FAILURE, 0x22,
            "The client returned names or a time that were not in the CHALLENGE_MESSAGE: a proxy or an attacker may have changed the handshake; check what lies between client and server";
    }

    /// A message signature that is wrong, by what its sequence number suggests.
    #[derive(Copy)]
    BadSignature(BadSignature) {
        /// The expected number.
        Expected => BAD_SIG, 0x23,
            "The signature does not match the message: discard the message; the security context stays usable";
        /// A number that was already used.
        Duplicate => BAD_SIG | DUPLICATE_TOKEN, 0x24,
            "The signature has the sequence number of an earlier message, so the message may be a replay: discard it; the security context stays usable";
        /// A later number.
        Gap => BAD_SIG | GAP_TOKEN, 0x25,
            "The signature has the sequence number of a later message: verify every message, in the order in which they were signed";
        /// A number that differs from the one that the application set, in a connectionless context.
        Other => BAD_SIG, 0x43,
            "The signature has a sequence number that differs from the one set here: set the same number on both sides (100 in SIP)";
    }

    /// Something that this side needs and the peer did not offer.
    #[derive(Copy)]
    PeerIncompatible(PeerIncompatible) {
        /// NTLMSSP_NEGOTIATE_UNICODE, for a name that needs it.
        NoUnicode => FAILURE, 0x0F,
            "The peer understands only OEM text, and a name needs Unicode: use a name of Latin-1 letters, and do not exclude OEM with NEG_FLAGS";
        /// NTLMSSP_NEGOTIATE_SIGN.
        NoSign => FAILURE, 0x26,
            "The peer does not offer integrity (NTLMSSP_NEGOTIATE_SIGN): enable signing there, or do not require it here (GSS_C_INTEG_FLAG, GSS_NTLM_MINIMUM)";
        /// NTLMSSP_NEGOTIATE_SEAL.
        NoSeal => FAILURE, 0x27,
            "The peer does not offer confidentiality (NTLMSSP_NEGOTIATE_SEAL): enable encryption there, or do not require it here (GSS_C_CONF_FLAG, GSS_NTLM_MINIMUM)";
        /// NTLMSSP_NEGOTIATE_128.
        No128 => FAILURE, 0x28,
            "The peer does not offer 128-bit keys (NTLMSSP_NEGOTIATE_128): enable them there, or do not require them here (GSS_NTLM_MINIMUM=sign-as-asked, or another NEG_FLAGS)";
        /// NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY.
        NoExtendedSessionSecurity => FAILURE, 0x29,
            "The peer does not offer extended session security: enable it there, or do not require it here (GSS_NTLM_MINIMUM=sign-as-asked, or another NEG_FLAGS)";
        /// TargetInfo.
        NoTargetInfo => FAILURE, 0x2A,
            "The server sent no TargetInfo: configure the server to send it, or set GSS_NTLM_TARGET_INFO to optional, or request neither integrity nor confidentiality";
        /// The challenge's MsvAvTimestamp differs too much from this host's clock.
        ClockSkew => FAILURE, 0x19,
            "The clocks of this computer and of the server differ too much: synchronize them, or raise GSS_NTLM_MAX_SKEW (hours)";
        /// A connection-oriented handshake where a connectionless one is under way.
        NoDatagram => FAILURE, 0x40,
            "The peer uses connection-oriented NTLM: do not request GSS_C_DATAGRAM_FLAG here, or set NTLMSSP_NEGOTIATE_DATAGRAM there";
        /// An LM hash of the account, from which the key would be derived.
        NoLmHash => FAILURE, 0x42,
            "The session key needs an LM hash, which the account does not have: configure the client not to set NTLMSSP_NEGOTIATE_LM_KEY";
        /// NTLMSSP_NEGOTIATE_KEY_EXCH, which a connectionless handshake requires.
        NoKeyExch => FAILURE, 0x41,
            "The peer does not exchange a key (NTLMSSP_NEGOTIATE_KEY_EXCH), which connectionless NTLM requires: enable key exchange there";
    }

    /// A call that cannot work, whatever the peer sent.
    #[derive(Copy)]
    ApiMisuse(ApiMisuse) {
        /// A NULL where RFC 2744 requires something to read.
        NullInput => CALL_INACCESSIBLE_READ, 0x04,
            "A required input argument is NULL: correct the call in the program";
        /// A NULL where RFC 2744 requires a place to write to.
        NullOutput => CALL_INACCESSIBLE_WRITE, 0x2C,
            "A required output argument is NULL: correct the call in the program";
        /// No context, or one whose handshake failed.
        NoContext => NO_CONTEXT, 0x0B,
            "There is no security context, or its handshake failed: start a new handshake";
        /// The call is only for contexts of the other role.
        WrongRole => NO_CONTEXT, 0x0C,
            "The security context belongs to the other role: call gss_init_sec_context for an initiator's context, and gss_accept_sec_context for an acceptor's";
        /// The context is not established yet.
        NotEstablished => NO_CONTEXT, 0x2D,
            "The security context is not established yet: complete the handshake first";
        /// A handshake token for a context that is established.
        AlreadyEstablished => DEFECTIVE_TOKEN, 0x0D,
            "The security context is already established: do not pass it more handshake tokens";
        /// An argument of a wrong length or value.
        BadArgument => FAILURE, 0x05,
            "An argument has a wrong length or value: correct the call in the program";
        /// A quality of protection other than 0.
        BadQop => BAD_QOP, 0x2E,
            "The quality of protection must be 0 (GSS_C_QOP_DEFAULT)";
        /// A mechanism OID that is not NTLM's.
        BadMech => BAD_MECH, 0x2F,
            "The mechanism is not NTLM: request 1.3.6.1.4.1.311.2.2.10";
        /// A name that does not parse, or is not UTF-8.
        BadName => BAD_NAME, 0x06,
            "The name is missing, empty, too long, not UTF-8 or of an unknown form: write DOMAIN\\user, user@DOMAIN or service@host";
        /// A password or hash, and no name.
        NoUserName => BAD_NAME, 0x53,
            "A password or hash was given without a user name: name the user that it belongs to (DOMAIN\\user or user@DOMAIN)";
        /// An anonymous name, to accept with.
        AnonymousAcceptor => BAD_NAME, 0x54,
            "An acceptor cannot be anonymous: acquire its credential for a service, or without a name";
        /// A name type that NTLM does not have.
        BadNameType => BAD_NAMETYPE, 0x30,
            "NTLM has no names of this type: import it as the name of a user or of a host-based service";
        /// The status type is not GSS_C_MECH_CODE, or the value is not a code of this mechanism.
        BadStatus => BAD_STATUS, 0x31,
            "This is not a status code of the NTLM mechanism: ask the mechanism that returned it";
        /// An object identifier that this call does not know.
        UnknownOption => UNAVAILABLE, 0x15,
            "The NTLM mechanism does not know this object identifier here: use one from gssapi/gssapi_ntlmssp.h";
        /// Known, but not available in this state or for this name.
        NotAvailable => UNAVAILABLE, 0x16,
            "This is not available yet, or not for this name: ask again when the security context is established, or with the name of a user";
        /// Neither SIGN nor SEAL was negotiated, so messages cannot be protected.
        NoProtection => UNAVAILABLE, 0x32,
            "Neither integrity nor confidentiality was negotiated for this security context: request them (GSS_C_INTEG_FLAG, GSS_C_CONF_FLAG)";
        /// The application has set no sequence number for a connectionless message to be sealed.
        NoSeqNum => UNAVAILABLE, 0x44,
            "A connectionless security context cannot encrypt a message without a sequence number: set a different one for each message (GSS_NTLMSSP_SET_SEQ_NUM)";
        /// A sequence number for a context that counts its messages itself.
        NotDatagram => UNAVAILABLE, 0x33,
            "A connection-oriented security context numbers its messages itself: do not set a sequence number, or request GSS_C_DATAGRAM_FLAG";
        /// The credential cannot initiate.
        NotAnInitiator => NO_CRED, 0x12,
            "The credential is for accepting only: acquire one for a user with GSS_C_INITIATE or GSS_C_BOTH";
        /// The credential cannot accept.
        NotAnAcceptor => NO_CRED, 0x11,
            "The credential is for initiating only: acquire one with GSS_C_ACCEPT or GSS_C_BOTH";
        /// A password or hash of a wrong form.
        BadPassword => DEFECTIVE_CREDENTIAL, 0x35,
            "The password or hash is invalid: a password must be UTF-8 without NUL and at most 64 KiB long, ntlmssp_nthash must have 32 hexadecimal digits";
        /// An attribute that the name does not have.
        NoAttribute => UNAVAILABLE, 0x3D,
            "The name does not have this attribute: use one that gss_inquire_name lists";
        /// Buffers that do not form a message.
        BadBuffers => FAILURE, 0x3E,
            "The buffers do not form a message: pass one HEADER (or MIC_TOKEN) of 16 bytes, no PADDING or TRAILER longer than 0 and, with a STREAM, one DATA";
        /// The trace cannot be written to the place that the application chose.
        BadTrace => FAILURE, 0x52,
            "The trace cannot be written there, and the system's log (authpriv) says why: name a file that this program may write, stderr or syslog";
        /// A credential that no store can have.
        NotStored => UNAVAILABLE, 0x55,
            "Only the credential of a user with a password or hash can be stored, for initiating: acquire it with gss_acquire_cred_with_password";
        /// No target for a credential to be stored.
        NoStoreTarget => UNAVAILABLE, 0x5F,
            "It is not known for which servers the credential is, as this computer has no DNS domain: name them with ntlmssp_target (gss-ntlm login --target)";
        /// A target for a credential to be stored, or a place, that does not exist.
        BadStoreKey => FAILURE, 0x60,
            "The store of credentials has no such target, place or lifetime: ntlmssp_target must be SERVICE/host, SERVICE/*.suffix, host, *.suffix, SERVICE/* or *, ntlmssp_store must be keyring or runtime, ntlmssp_lifetime a number of seconds";
    }

    /// There is no usable secret.
    Credential(CredentialError) {
        /// No user file is configured.
        NoUserFile => NO_CRED, 0x34,
            "There are no credentials: log on (gss-ntlm login), set NTLM_USER_FILE, pass a password or ntlmssp_keyfile, or start winbindd (without GSS_NTLM_WINBIND set to no)";
        /// The user file cannot be read.
        Unreadable {
            /// The path as configured.
            path: String = text.to_owned(),
            /// The reason that the operating system gave.
            reason: String = text.to_owned(),
        } => NO_CRED, 0x36,
            "The user file {} cannot be read: {}; set NTLM_USER_FILE or ntlmssp_keyfile to a file that this program may read",
            Path(path),
            Reason(reason);
        /// Everybody may write to the user file.
        Writable {
            /// The path as configured.
            path: String = text.to_owned(),
        } => NO_CRED, 0x37,
            "The user file {} is not used because everybody may write to it: remove that permission (chmod o-w)",
            Path(path);
        /// Everybody may read the user file, and the policy forbids that.
        Readable {
            /// The path as configured.
            path: String = text.to_owned(),
        } => NO_CRED, 0x5D,
            "The user file {} is not used because everybody may read it: remove that permission (chmod o-r), or set user-file-mode to any in ntlm.conf(5)",
            Path(path);
        /// The user file has no entry for the name asked for.
        NoEntry {
            /// The name asked for; empty if any name would do.
            name: String = text.to_owned(),
            /// The path as configured.
            path: String = text.to_owned(),
            /// What explains why it may be missing.
            flaw: Option<FileFlaw> = None,
        } => NO_CRED, 0x1D,
            "The user file {} has no usable entry{}",
            Path(path),
            Missing { name, flaw: *flaw };
        /// The name is that of a service, or anonymous: such a name has no password.
        NotAUser => NO_CRED, 0x08,
            "The name is not the name of a user: acquire the credential for a user, or for accepting (GSS_C_ACCEPT)";
        /// There is no user file, and winbindd does not answer.
        NoDomain => NO_CRED, 0x50,
            "There is no user file, and winbindd does not answer: start winbindd, or set NTLM_USER_FILE";
        /// There is no entry in a user file, and winbindd has no cached logon.
        NoCachedLogon {
            /// The name asked for; empty if neither the application nor the environment names a user.
            name: String = text.to_owned(),
        } => NO_CRED, 0x45,
            "There are no credentials{}",
            NoLogon(name);
        /// Accounts are stored, and none of them for the target.
        NotForTarget {
            /// The target.
            target: String = text.to_owned(),
        } => NO_CRED, 0x61,
            "No stored credential is for {}: log on with gss-ntlm login --target",
            or(target, "a server without a name");
        /// There is a stored credential for that target already.
        AlreadyStored {
            /// The pattern of targets.
            target: String = text.to_owned(),
        } => DUPLICATE_ELEMENT, 0x62,
            "A credential is stored for {} already: log off first (gss-ntlm logout), or overwrite it",
            target;
        /// The store may not be used.
        StoreIsOff {
            /// What says so.
            by: String = text.to_owned(),
        } => UNAVAILABLE, 0x63,
            "No credential may be stored, as {} says: set store to keyring or runtime in ntlm.conf(5) or in GSS_NTLM_STORE",
            or(by, "the policy");
        /// No place took the credential, and this is why.
        StoreFailed {
            /// The reason of each place.
            reason: String = text.to_owned(),
        } => FAILURE, 0x64,
            "The credential cannot be stored: {}",
            reason;
    }

    /// What winbindd, or the domain controller behind it, answers.
    Domain(DomainError) {
        /// The domain refuses the account, for another reason than a wrong name or password.
        Refused {
            /// The NTSTATUS ([MS-ERREF] 2.3).
            status: u32 = 0,
            /// Its name, as winbind returns it; may be empty.
            name: String = text.to_owned(),
        } => FAILURE, 0x46,
            "The domain refuses the account, {} ({status:#010X}): {}",
            or(name, "an NTSTATUS without a name"),
            remedy(*status);
        /// winbindd does not answer.
        Unavailable => FAILURE, 0x47,
            "The account is in no user file, and winbindd does not answer: start winbindd, or set GSS_NTLM_WINBIND to no";
        /// winbindd answers, but not this request.
        NotPermitted => FAILURE, 0x48,
            "winbindd does not let this program check accounts: run it as a member of the group that owns the directory winbindd_privileged (usually winbindd_priv)";
        /// winbindd did not answer in time.
        TimedOut => FAILURE, 0x49,
            "winbindd did not answer in time: check its log, or raise GSS_NTLM_WINBIND_TIMEOUT (seconds)";
        /// winbindd's answer is invalid; the text says what is wrong with it.
        OddReply(what: &'static str = "in one of its parts") => FAILURE, 0x4A,
            "The answer of winbindd is invalid, {what}: check its log";
        /// A cached logon cannot send channel bindings.
        NoBindings => BAD_BINDINGS, 0x4B,
            "A cached logon of winbind cannot send channel bindings (winbindd always sends none): use a password or a user file, or set GSS_NTLM_CHANNEL_BINDINGS to off";
        /// A cached logon has no connectionless mode.
        NoDatagram => UNAVAILABLE, 0x4C,
            "A cached logon of winbind does not support connectionless NTLM: use a password or a user file";
        /// A cached logon did not agree to the protection that was requested.
        NotProtected => FAILURE, 0x4F,
            "A cached logon of winbind did not agree to the protection that was requested, or that GSS_NTLM_MINIMUM requires: update Samba, use a password, or set GSS_NTLM_MINIMUM to sign-as-asked";
    }

    /// What the administrator does not allow, by an environment variable or by default.
    Policy(PolicyError) {
        /// A setting has a value that it does not allow.
        BadSwitch {
            /// The variable.
            variable: &'static str = "A GSS_NTLM_ variable",
            /// Its values.
            allowed: String = or(text, "one of its values in gss-ntlm(8)").to_owned(),
        } => FAILURE, 0x38,
            "{variable} must be {allowed}";
        /// A variable has the prefix of the settings, but is not one of them.
        UnknownSwitch {
            /// The variable.
            variable: String = text.to_owned(),
            /// The settings, separated by commas.
            known: String = text.to_owned(),
        } => FAILURE, 0x51,
            "{} is not a setting of gss-ntlm: unset it, or correct its name to one of these: {}",
            Cut(or(variable, "A GSS_NTLM_ variable")),
            or(known, "see gss-ntlm(8)");
        /// LM_COMPAT_LEVEL is not a number from 0 to 5.
        BadLmLevel => FAILURE, 0x09,
            "LM_COMPAT_LEVEL must be a number from 0 to 5";
        /// An NTLMv1 response, or an LM or LMv2 response alone.
        NtlmV1 => FAILURE, 0x1C,
            "The client responded with NTLMv1, or with LM or LMv2 alone: enable NTLMv2 on the client, or lower LM_COMPAT_LEVEL here (2 accepts NTLMv1, 1 also LM alone)";
        /// An anonymous AUTHENTICATE_MESSAGE.
        Anonymous => FAILURE, 0x39,
            "The client is anonymous: log on with an account, or set GSS_NTLM_ANONYMOUS to yes on the server";
        /// The domain treats the client as a guest, which is as good as anonymous.
        Guest => FAILURE, 0x4D,
            "The domain treats the client as a guest: log on with an account, or set GSS_NTLM_ANONYMOUS to yes and remove sign and seal from GSS_NTLM_MINIMUM";
        /// An AUTHENTICATE_MESSAGE without MIC, and GSS_NTLM_REQUIRE_MIC is `yes`.
        MicRequired => FAILURE, 0x3A,
            "The client sent no MIC: configure the client to send it, or set GSS_NTLM_REQUIRE_MIC to no";
        /// No channel bindings, and GSS_NTLM_CHANNEL_BINDINGS is `required`.
        BindingsRequired => BAD_BINDINGS, 0x18,
            "There are no channel bindings to compare: configure client and server to use them, or set GSS_NTLM_CHANNEL_BINDINGS to when-sent";
        /// The name may not use this account of this computer.
        NotThisAccount => UNAUTHORIZED, 0x3F,
            "The name does not belong to this local account: use the account that gss_localname returns, including a foreign domain";
        /// MsvAvTargetName is absent or names another service, and GSS_NTLM_TARGET_NAME is `required`.
        TargetName => FAILURE, 0x3B,
            "The client did not name this service as its target (MsvAvTargetName): configure the client to name it, or set GSS_NTLM_TARGET_NAME to audit";
        /// A policy file cannot be used.
        BadFile {
            /// Its path.
            path: String = text.to_owned(),
            /// Why, and what to do.
            reason: String = text.to_owned(),
        } => FAILURE, 0x56,
            "NTLM is off, because the policy file {} is not used: {}",
            or(path, "/etc/gss/ntlm.conf"),
            or(reason, "see ntlm.conf(5)");
        /// A line of a policy file is wrong.
        BadLine {
            /// The file's path.
            path: String = text.to_owned(),
            /// The line's number.
            line: u32 = 1,
            /// What is wrong with it, and what to do.
            fault: String = text.to_owned(),
        } => FAILURE, 0x57,
            "NTLM is off, because of line {line} of the policy file {}: {}",
            or(path, "/etc/gss/ntlm.conf"),
            or(fault, "see ntlm.conf(5)");
        /// A setting would loosen what a policy file sets.
        Loosens {
            /// The variable, or the line of an additional file.
            setting: String = text.to_owned(),
            /// Its value.
            value: String = text.to_owned(),
            /// The key.
            key: &'static str = "a key",
            /// The line that it would loosen.
            by: String = text.to_owned(),
        } => FAILURE, 0x58,
            "{} is {}, which would loosen {key} of {}: unset it, or have the administrator change that line",
            or(setting, "A setting"),
            Cut(or(value, "a value")),
            or(by, "a policy file");
        /// The policy denies NTLM to this target.
        OutgoingDenied {
            /// The target.
            target: String = text.to_owned(),
            /// What denies it.
            by: String = text.to_owned(),
        } => UNAUTHORIZED, 0x59,
            "NTLM to {} is denied by {}: use Kerberos, or have the administrator allow this target (outgoing in ntlm.conf(5))",
            Cut(or(target, "this target")),
            or(by, "a policy file");
        /// The policy denies NTLM inside SPNEGO to this target.
        InsideSpnegoDenied {
            /// The target.
            target: String = text.to_owned(),
            /// What denies it.
            by: String = text.to_owned(),
        } => UNAUTHORIZED, 0x5A,
            "SPNEGO has chosen NTLM to {}, which is denied by {}: find out why Kerberos does not work, or have the administrator allow it (inside-spnego in ntlm.conf(5))",
            Cut(or(target, "this target")),
            or(by, "a policy file");
        /// The policy denies NTLM to servers.
        IncomingDenied {
            /// What denies it.
            by: String = text.to_owned(),
        } => UNAUTHORIZED, 0x5B,
            "This server may not accept NTLM, which is denied by {}: use Kerberos, or have the administrator allow it (incoming in ntlm.conf(5))",
            or(by, "a policy file");
        /// The kernel runs in FIPS mode, where the policy refuses NTLM.
        FipsRefused {
            /// What refuses it.
            by: String = text.to_owned(),
        } => UNAUTHORIZED, 0x5C,
            "The kernel runs in FIPS mode, where {} refuses NTLM: use Kerberos, or set fips to allow in ntlm.conf(5)",
            or(by, "a policy file");
        /// A first token for a connectionless handshake that was not asked for, or is not allowed.
        Datagram => DEFECTIVE_TOKEN, 0x5E,
            "The first token starts connectionless NTLM, which this server does not take: begin with a NEGOTIATE_MESSAGE or, for SIP, ask for it with NEG_FLAGS (NTLMSSP_NEGOTIATE_DATAGRAM), without SPNEGO and without GSS_NTLM_DATAGRAM=no";
    }

    /// What the operating system did not provide.
    #[derive(Copy)]
    Host(HostError) {
        /// Random bytes.
        Randomness => FAILURE, 0x03,
            "The operating system provided no random bytes: check what blocks getrandom(2)";
        /// Memory.
        Memory => FAILURE, 0x3C,
            "There is not enough memory: raise the limits of the process";
        /// A thread.
        Thread => FAILURE, 0x4E,
            "The operating system could not start a thread: raise the limits of the process";
    }
}

/// The code of [`Error::Internal`], which has no variants.
pub(super) const INTERNAL: Code = Code { major: major::FAILURE, minor: BASE | 0x0A };
/// Its sentence.
pub(super) const INTERNAL_SENTENCE: &str =
    "The NTLM mechanism has an internal fault: please report it, together with the trace (GSSNTLMSSP_DEBUG)";

/// The codes of gss-ntlmssp that this mechanism does not return, and those that it returned once: a program may have one
/// from there, in a log or over a network.
pub(super) const NOT_OURS: [(u32, &str); 10] = [
    (0x01, "A token could not be decoded: check whether it was cut off in transit"),
    (0x02, "A token could not be encoded: use shorter names"),
    (0x07, "The name is not the name of a service: write service@host"),
    (0x0E, "The peer did not set a flag that is needed: configure the peer to set it, or request less"),
    (0x10, "The negotiate flags exclude each other: choose others with NEG_FLAGS"),
    (0x14, "The token is empty or missing: pass the one that the peer sent"),
    (0x17, "The name is too long: use at most 1024 bytes"),
    (0x1A, "The security context or credential has expired: make a new one"),
    (0x1B, "A key has a wrong length: check whether the token was cut off in transit"),
    (
        0x2B,
        "The peer uses connectionless NTLM, which was not requested here: configure the peer to use connection-oriented NTLM",
    ),
];

/// What to do about an NTSTATUS of a refused logon ([MS-ERREF] 2.3.1).
const fn remedy(status: u32) -> &'static str {
    match status {
        0xC000_0072 => "enable the account",
        0xC000_0234 => "unlock the account, or wait until it is unlocked",
        0xC000_0193 => "extend the account, which has expired",
        0xC000_0071 | 0xC000_0224 => "change the password of the account",
        0xC000_005E | 0xC000_00B5 | 0xC000_0233 => "make sure that this computer can reach a domain controller",
        0xC000_006E | 0xC000_006F | 0xC000_0070 | 0xC000_015B | 0xC000_0413 => {
            "check when and from where the account may log on"
        }
        _ => "check the logs of winbindd and of the domain controller",
    }
}

/// `text`, or `otherwise` if it is empty.
const fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// What is wrong with the name and the password of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogonFault {
    /// There is no such account.
    UnknownUser,
    /// The account has another password.
    BadPassword,
    /// The account is disabled.
    DisabledUser,
    /// The domain knows the account, and so does the user file, by another name: the domain must not verify it.
    OtherName,
    /// No account of a domain can have this name, or be at this computer.
    OddName,
    /// The domain does not tell.
    NotTold,
}

impl LogonFault {
    /// Its word in the system's log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown-user",
            Self::BadPassword => "bad-password",
            Self::DisabledUser => "disabled-user",
            Self::OtherName => "other-name",
            Self::OddName => "odd-name",
            Self::NotTold => "not-told",
        }
    }
}

/// What explains why a user file may not have an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFlaw {
    /// A line is not UTF-8, this one first.
    NotUtf8 {
        /// Its number.
        line: u32,
    },
    /// The last line has no end and the file was just written, so that line was left out.
    JustWritten,
    /// The last line has no end and an empty password, so it was left out.
    EmptyPasswordWithoutEnd,
}

/// The name that a user file does not have, and what to do about it.
struct Missing<'a> {
    name: &'a str,
    flaw: Option<FileFlaw>,
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, " for {}", self.name)?;
        }
        match self.flaw {
            Some(FileFlaw::NotUtf8 { line }) => write!(f, ", and its line {line} is not UTF-8: save the file as UTF-8"),
            Some(FileFlaw::JustWritten) => f.write_str(
                "; the last line has no end and the file was just written: try again, and replace the file by renaming a complete one",
            ),
            Some(FileFlaw::EmptyPasswordWithoutEnd) => {
                f.write_str("; the last line has an empty password and no end: complete the line")
            }
            None if self.name.is_empty() => f.write_str(": add a line DOMAIN:USER:PASSWORD"),
            None => f.write_str(": add one, or check whether it is disabled"),
        }
    }
}

/// The name that winbindd has no logon of, and what to do about it.
struct NoLogon<'a>(&'a str);

impl fmt::Display for NoLogon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f
                .write_str(", and there is no user name to ask winbindd about: set NTLM_USER_FILE, NTLMUSER or USER");
        }
        let name = self.0;
        write!(
            f,
            " for {name}: add the user to a user file, or log on so that winbindd keeps the password (pam_winbind with cached_login, or wbinfo --ccache-save)"
        )
    }
}

/// The first characters of a text.
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) =
            self.0.char_indices().nth(64).and_then(|(at, _)| self.0.split_at_checked(at)).unwrap_or((self.0, ""));
        write!(f, "{}{}", shown, if rest.is_empty() { "" } else { "..." })
    }
}

/// A path as it was configured; an example has none.
struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(or(self.0, "(NTLM_USER_FILE or ntlmssp_keyfile)"))
    }
}

/// The operating system's reason, without its number.
pub(crate) struct Reason<'a>(pub(crate) &'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.split_once(" (os error ").map_or(self.0, |(words, _)| words);
        f.write_str(or(words, "check its path and permissions"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_logon_says_what_to_do() {
        for (statuses, words) in [
            (&[0xC000_0072][..], "enable the account"),
            (&[0xC000_0234], "unlock"),
            (&[0xC000_0193], "expired"),
            (&[0xC000_0071, 0xC000_0224], "change the password"),
            (&[0xC000_005E, 0xC000_00B5, 0xC000_0233], "domain controller"),
            (&[0xC000_006E, 0xC000_006F, 0xC000_0070, 0xC000_015B, 0xC000_0413], "when and from where"),
            (&[0xC000_0001], "the logs of winbindd"),
        ] {
            for status in statuses {
                assert!(remedy(*status).contains(words), "{status:#x}");
            }
        }
    }

    #[test]
    fn a_missing_entry_says_whose_and_why() {
        let shown = |name, flaw| Missing { name, flaw }.to_string();
        assert_eq!(shown("", None), ": add a line DOMAIN:USER:PASSWORD");
        assert_eq!(shown("alice", None), " for alice: add one, or check whether it is disabled");
        let line_7 = Some(FileFlaw::NotUtf8 { line: 7 });
        assert_eq!(shown("alice", line_7), " for alice, and its line 7 is not UTF-8: save the file as UTF-8");
        assert!(shown("", Some(FileFlaw::JustWritten)).contains("was just written"));
        assert!(shown("", Some(FileFlaw::EmptyPasswordWithoutEnd)).contains("empty password and no end"));
    }
}
