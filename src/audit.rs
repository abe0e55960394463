//! What the system's log is told about a handshake: data, and the names of its events, fields and values. These names are
//! promised: administrators search for them.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::{
    bytes,
    error::{DomainError, Error, PeerMisbehaved, PolicyError},
};

/// Makes an enum whose values have a word each.
macro_rules! words {
    ($(
        $(#[$attribute:meta])*
        $enum:ident {$( $(#[$value_attribute:meta])* $value:ident = $word:literal; )+}
    )+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $enum {$( $(#[$value_attribute])* $value, )+}

        impl $enum {
            /// All values.
            pub const ALL: &[Self] = &[$( Self::$value, )+];

            /// Its word in the log.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {$( Self::$value => $word, )+}
            }
        }
    )+};
}

words! {
    /// What happened.
    Kind {
        /// This computer has sent its proof to a server. Whether the server believes it, NTLM does not tell a client.
        ClientAuthenticated = "client-authenticated";
        /// This computer could not answer a server, or did not want to.
        ClientFailed = "client-failed";
        /// A client is who it says.
        ServerAuthenticated = "server-authenticated";
        /// A client was refused.
        ServerRefused = "server-refused";
        /// The policy denies NTLM to this target, or inside SPNEGO: the server got no proof.
        ClientBlocked = "client-blocked";
        /// As client-authenticated, and the policy watches such handshakes: if it denied them, this one would be blocked.
        ClientWatched = "client-watched";
        /// The policy denies that this computer accepts NTLM.
        ServerBlocked = "server-blocked";
        /// As server-authenticated, and the policy watches such handshakes.
        ServerWatched = "server-watched";
    }

    /// The kind of the client's response.
    Ntlm {
        /// LM alone, or LMv2 alone.
        Lm = "lm";
        /// NTLMv1.
        V1 = "v1";
        /// NTLMv1 with extended session security, which is also called NTLM2 session.
        Ntlm2Session = "ntlm2-session";
        /// NTLMv2.
        V2 = "v2";
        /// None: the client is anonymous.
        Anonymous = "anonymous";
    }

    /// The MIC of the AUTHENTICATE_MESSAGE.
    Mic {
        /// A server: it is right.
        Verified = "verified";
        /// A server: it is wrong.
        Wrong = "wrong";
        /// A server: there is one, but the handshake had failed before it was verified.
        Unverified = "unverified";
        /// A client: it was sent.
        Sent = "sent";
        /// There is none because of this computer: the server did not tell its time, or the client must not send a MIC here.
        Withheld = "withheld";
        /// There is none because of the peer.
        None = "none";
    }

    /// The channel bindings.
    Bindings {
        /// A server: both sides have them, and they are equal.
        Matched = "matched";
        /// A server: both sides have them, and they differ.
        Differ = "differ";
        /// A server: only the client has them.
        ClientOnly = "client-only";
        /// A server: only its program has them.
        ServerOnly = "server-only";
        /// A client: they were sent.
        Sent = "sent";
        /// There are none.
        None = "none";
    }

    /// The service that the client names as its target, compared with that of this server, whatever the policy.
    TargetName {
        /// They are the same.
        Matched = "matched";
        /// They differ.
        Differs = "differs";
        /// The client names none.
        NotNamed = "not-named";
        /// The server acquired no credential for a service's name, so there is nothing to compare with.
        NotCompared = "not-compared";
    }

    /// Why NTLM is used, as far as this mechanism can know.
    Why {
        /// The program asked for NTLM itself.
        Explicit = "explicit";
        /// SPNEGO took NTLM, and we do not know why: Kerberos failed, or was not there.
        Spnego = "spnego";
        /// SPNEGO took NTLM for a target that is an IP address, for which Kerberos usually has no key.
        IpAddress = "ip-address";
        /// SPNEGO took NTLM without a target, which Kerberos needs.
        NoTarget = "no-target";
        /// The client is anonymous.
        Anonymous = "anonymous";
        /// It is not known whether SPNEGO called.
        Unknown = "unknown";
    }
}

impl Kind {
    /// The MESSAGE_ID of its lines in the journal.
    #[must_use]
    pub const fn message_id(self) -> &'static str {
        match self {
            Self::ClientAuthenticated => "1632c4769dc444ec86f97b35e485b421",
            Self::ClientFailed => "f3154081e31c484aa9ec3b6fb66b286d",
            Self::ServerAuthenticated => "c9007892647b4f0788984531ece7f682",
            Self::ServerRefused => "c3ec69a494b0470c8489e7c3b330c6c1",
            Self::ClientBlocked => "de9d997dbe434269b13277aacdf6ac96",
            Self::ClientWatched => "091ac8c19657434cb2c7762fe278abe2",
            Self::ServerBlocked => "b245d264e586487c9d63f9abcc040882",
            Self::ServerWatched => "a756991bfbd74736a3becc223ee6236d",
        }
    }

    /// Whether it is about the client's side.
    #[must_use]
    pub const fn is_of_client(self) -> bool {
        match self {
            Self::ClientAuthenticated | Self::ClientFailed | Self::ClientBlocked | Self::ClientWatched => true,
            Self::ServerAuthenticated | Self::ServerRefused | Self::ServerBlocked | Self::ServerWatched => false,
        }
    }

    /// Whether the handshake has failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::ClientFailed | Self::ServerRefused | Self::ClientBlocked | Self::ServerBlocked => true,
            Self::ClientAuthenticated | Self::ServerAuthenticated | Self::ClientWatched | Self::ServerWatched => false,
        }
    }

    /// Whether the administrator has asked for lines of this kind by the policy itself, which watches such handshakes.
    #[must_use]
    pub const fn is_watched(self) -> bool {
        matches!(self, Self::ClientWatched | Self::ServerWatched)
    }

    /// The kind of a handshake of a client or a server that has failed with `error`.
    #[must_use]
    pub const fn of_failure(is_of_client: bool, error: &Error) -> Self {
        let is_blocked = matches!(
            error,
            Error::Policy(
                PolicyError::OutgoingDenied { .. }
                    | PolicyError::InsideSpnegoDenied { .. }
                    | PolicyError::IncomingDenied { .. }
            )
        );
        match (is_of_client, is_blocked) {
            (true, false) => Self::ClientFailed,
            (true, true) => Self::ClientBlocked,
            (false, false) => Self::ServerRefused,
            (false, true) => Self::ServerBlocked,
        }
    }
}

/// The end of a handshake. What is not known is `None`. Text from the peer is as the peer sent it: who writes it must escape it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What happened.
    pub kind: Kind,
    /// What went wrong.
    pub error: Option<Error>,
    /// The account: as the verifier spells it, or as the client claims.
    pub account: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// What the client calls its computer.
    pub workstation: Option<String>,
    /// The service that the client wants to reach.
    pub target: Option<String>,
    /// The service of this server.
    pub service: Option<String>,
    /// The VERSION of the peer's message.
    pub peer_version: Option<[u8; 8]>,
    /// The kind of the response.
    pub ntlm: Option<Ntlm>,
    /// The words for what protects the session.
    pub session: Option<String>,
    /// The MIC.
    pub mic: Option<Mic>,
    /// The channel bindings.
    pub bindings: Option<Bindings>,
    /// The client's target.
    pub target_name: Option<TargetName>,
    /// Whether this was inside SPNEGO.
    pub is_in_spnego: Option<bool>,
    /// Why NTLM.
    pub why: Why,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word of ours.
    Word(&'static str),
    /// Text that may come from elsewhere.
    Text(Cow<'a, str>),
}

impl AuditEvent {
    /// An event about which nothing else is known.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            error: None,
            account: None,
            domain: None,
            workstation: None,
            target: None,
            service: None,
            peer_version: None,
            ntlm: None,
            session: None,
            mic: None,
            bindings: None,
            target_name: None,
            is_in_spnego: None,
            why: Why::Unknown,
        }
    }

    /// Why the logon was refused, which the peer must not learn.
    fn reason(&self) -> Option<Value<'_>> {
        if let Error::PeerMisbehaved(PeerMisbehaved::LogonFailure(fault)) = self.error.as_ref()? {
            Some(Value::Word(fault.word()))
        } else if let Error::Domain(DomainError::Refused { name, .. }) = self.error.as_ref()? {
            Some(text(name)).filter(|_| !name.is_empty())
        } else {
            None
        }
    }

    /// Its fields and their values, short words before long text: the end of a long line may be cut. `scripts/check-man` reads
    /// the names here.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Value<'_>)> {
        let word = |word: Option<&'static str>| word.map(Value::Word);
        let role = if self.kind.is_of_client() { "client" } else { "server" };
        let outcome = if self.kind.is_failure() { "failure" } else { "success" };
        let layer = match self.is_in_spnego {
            Some(true) => "spnego",
            Some(false) => "raw",
            None => "unknown",
        };
        let minor = self.error.as_ref().map(|error| format!("{:#010X}", error.code().minor).replace("0X", "0x"));
        let rows = [
            ("event", word(Some(self.kind.word()))),
            ("role", word(Some(role))),
            ("outcome", word(Some(outcome))),
            ("reason", self.reason()),
            ("minor", minor.map(|minor| Value::Text(minor.into()))),
            ("ntlm", word(self.ntlm.map(Ntlm::word))),
            ("session", self.session.as_deref().map(text)),
            ("mic", word(self.mic.map(Mic::word))),
            ("bindings", word(self.bindings.map(Bindings::word))),
            ("target_name", word(self.target_name.map(TargetName::word))),
            ("layer", word(Some(layer))),
            ("why", word(Some(self.why.word()))),
            ("peer_version", self.peer_version.map(|version| Value::Text(shown_version(version).into()))),
            ("account", self.account.as_deref().map(text)),
            ("domain", self.domain.as_deref().map(text)),
            ("workstation", self.workstation.as_deref().map(text)),
            ("target", self.target.as_deref().map(text)),
            ("service", self.service.as_deref().map(text)),
            (
                "sentence",
                self.error.as_ref().map(|error| Value::Text(bytes::display(error).unwrap_or_default().into())),
            ),
        ];
        rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

const fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

/// A VERSION ([MS-NLMP] 2.2.2.10) for a person: of 10.0.19041/15, 15 is NTLMRevisionCurrent.
fn shown_version([major, minor, low, high, _, _, _, revision]: [u8; 8]) -> String {
    format!("{major}.{minor}.{}/{revision}", u16::from_le_bytes([low, high]))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::error::LogonFault;

    use super::*;

    fn fields(event: &AuditEvent) -> String {
        let shown = |(name, value)| match value {
            Value::Word(word) => format!("{name}={word}"),
            Value::Text(text) => format!("{name}={text}"),
        };
        event.fields().into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_not_known_has_no_field() {
        let event = AuditEvent::new(Kind::ServerAuthenticated);
        assert_eq!(fields(&event), "event=server-authenticated role=server outcome=success layer=unknown why=unknown");
    }

    #[test]
    fn the_reason_is_told_beside_the_sentence_that_does_not_tell_it() {
        let refused = |error: Error| fields(&AuditEvent { error: Some(error), ..AuditEvent::new(Kind::ServerRefused) });
        let unknown = refused(PeerMisbehaved::LogonFailure(LogonFault::UnknownUser).into());
        let bad = refused(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into());
        assert!(unknown.contains("outcome=failure reason=unknown-user minor=0x4E540013 "), "{unknown}");
        assert_eq!(unknown.replace("unknown-user", "bad-password"), bad);
        let locked = DomainError::Refused { status: 0xC000_0234, name: "NT_STATUS_ACCOUNT_LOCKED_OUT".to_owned() };
        assert!(refused(locked.into()).contains(" reason=NT_STATUS_ACCOUNT_LOCKED_OUT minor=0x4E540046 "));
        assert!(!refused(PeerMisbehaved::WrongMic.into()).contains("reason="));
    }

    #[test]
    fn a_version_shows_its_build_and_revision() {
        let event =
            AuditEvent { peer_version: Some([10, 0, 0x61, 0x4a, 0, 0, 0, 15]), ..AuditEvent::new(Kind::ClientFailed) };
        assert!(fields(&event).ends_with(" peer_version=10.0.19041/15"));
    }

    #[test]
    fn each_kind_has_a_message_id_of_its_own() {
        let ids: HashSet<_> = Kind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!(ids.len(), Kind::ALL.len());
        assert!(
            ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        );
    }
}
