//! One entry of the log, and how it is written for the journal and for a syslog daemon.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    audit::{AuditEvent, Kind, Value},
    bytes,
    text::Escaped,
};

/// What all our entries say about where they come from.
const IDENTIFIER: &str = "gss-ntlm";
/// Facility authpriv, whose messages only some users may read: RFC 3164 4.1.1.
const FACILITY: u8 = 10;

/// Severities of RFC 3164 4.1.1.
pub(super) const WARNING: u8 = 4;
pub(super) const INFO: u8 = 6;
pub(super) const DEBUG: u8 = 7;

/// The longest message, in bytes, that every receiver should accept (RFC 5424 6.1).
pub(super) const MAX_MESSAGE: usize = 2048;
/// The longest value of a field, in bytes. A datagram that is too long is refused, and all of it lost.
pub(super) const MAX_VALUE: usize = 256;
/// The end of what was cut.
const CUT: &str = "...";

/// An entry of the log.
pub(super) struct Entry<'a> {
    pub severity: u8,
    /// MESSAGE_ID in the journal, if the entry is of a kind that has one.
    pub message_id: Option<&'static str>,
    /// The text for a person.
    pub message: &'a str,
    /// More about it. A syslog daemon gets these in place of the message.
    pub fields: &'a [(&'static str, Value<'a>)],
}

impl Entry<'_> {
    /// The entry in the format of the journal's native socket: each value has its length before it, so that no value can end
    /// early and pass for another field.
    pub(super) fn for_journal(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_MESSAGE);
        put(&mut out, "", "MESSAGE", &shown(self.message, MAX_MESSAGE));
        put(&mut out, "", "PRIORITY", &self.severity.to_string());
        put(&mut out, "", "SYSLOG_FACILITY", &FACILITY.to_string());
        put(&mut out, "", "SYSLOG_IDENTIFIER", IDENTIFIER);
        put(&mut out, "", "SYSLOG_PID", &std::process::id().to_string());
        if let Some(id) = self.message_id {
            put(&mut out, "", "MESSAGE_ID", id);
        }
        for (name, value) in self.fields {
            put(&mut out, "GSS_NTLM_", name, &shown_value(value));
        }
        out
    }

    /// The entry as a message of RFC 3164.
    ///
    /// It has no time: the receiver adds it (RFC 3164 4.3.2; systemd's journal, rsyslog and busybox do), and the C library takes
    /// a lock to tell the local time.
    pub(super) fn for_syslog(&self) -> String {
        let priority = (FACILITY << 3) | self.severity;
        let mut line = format!("<{priority}>{IDENTIFIER}[{}]: ", std::process::id());
        if self.fields.is_empty() {
            line.push_str(&shown(self.message, MAX_MESSAGE));
        }
        let mut space = "";
        for (name, value) in self.fields {
            line.push_str(space);
            line.push_str(name);
            line.push('=');
            push_quoted(&mut line, &shown_value(value));
            space = " ";
        }
        cut(line, MAX_MESSAGE)
    }
}

/// Writes a field as the name, a line feed, the length of the value in 64 bits, the value, and a line feed.
fn put(out: &mut Vec<u8>, prefix: &str, name: &str, value: &str) {
    out.extend_from_slice(prefix.as_bytes());
    out.extend(name.bytes().map(|byte| byte.to_ascii_uppercase()));
    out.push(b'\n');
    out.extend_from_slice(&u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// A value, on one line and of bounded length.
fn shown_value<'a>(value: &'a Value<'a>) -> Cow<'a, str> {
    match value {
        Value::Word(word) => Cow::Borrowed(word),
        Value::Text(text) => shown(text, MAX_VALUE),
    }
}

/// `text`, on one line and of at most `max` bytes.
fn shown(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(cut(bytes::display(Escaped(text)).unwrap_or_default(), max))
}

/// Appends a value, in quotation marks unless it is a plain word: a name must not pass for another field.
fn push_quoted(line: &mut String, value: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@$".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return line.push_str(value);
    }
    line.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            line.push('\\');
        }
        line.push(letter);
    }
    line.push('"');
}

/// `text`, of at most `max` bytes.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let room = max.saturating_sub(CUT.len());
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// The text for a person about an event that has these `fields`.
pub(super) fn message_of(event: &AuditEvent, fields: &[(&'static str, Value<'_>)]) -> String {
    let value = |wanted| {
        let found = fields.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| shown_value(value))
    };
    let mut message = format!("NTLM: {}", value("program").unwrap_or_default());
    message.push_str(match event.kind {
        Kind::ClientAuthenticated | Kind::ClientWatched => " authenticated as ",
        Kind::ClientFailed | Kind::ClientBlocked => " did not authenticate as ",
        Kind::ServerAuthenticated | Kind::ServerWatched => " accepted ",
        Kind::ServerRefused | Kind::ServerBlocked => " refused ",
    });
    match (value("domain"), value("account")) {
        (Some(domain), Some(account)) => message.extend([&*domain, "\\", &*account]),
        (None, Some(account)) => message.push_str(&account),
        (_, None) => message.push_str("a client without a name"),
    }
    for (before, name) in [(" from ", "workstation"), (" to ", "target")] {
        if let Some(value) = value(name) {
            message.extend([before, &*value]);
        }
    }
    if let Some(reason) = value("reason") {
        let _ = write!(message, " ({reason})");
    }
    if let Some(error) = &event.error {
        let _ = write!(message, ": {error}");
    }
    message
}
