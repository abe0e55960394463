//! The lines of a user file: `DOMAIN:USER:PASSWORD`, or those of smbpasswd(5).

use core::fmt;
use std::io::Write as _;

use crate::{
    bytes::{self, SecretBytes},
    cred::{
        Secret,
        cred_store::{parse_hash, parse_hex},
    },
    crypto::{LmHash, ntowf::nt_hash},
    error::{ApiMisuse, HostError, Result},
    name::UserName,
    policy::Policy,
};

/// An account of a user file.
#[derive(Debug)]
pub(in crate::cred) struct Entry {
    /// The account and its domain, in the spelling of the file; an empty domain means every domain.
    pub(in crate::cred) name: UserName,
    /// Its secret.
    pub(in crate::cred) secret: Secret,
    /// It has smbpasswd's flag `D` (disabled) or `L` (locked).
    pub(in crate::cred) is_disabled: bool,
    /// Whether the line has a hash instead of a password.
    pub(in crate::cred) is_hash: bool,
}

/// The longest line, in bytes, without its end.
pub(super) const MAX_LINE: usize = 4096;

/// A line of a user file that is not empty and no comment.
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its bytes without its end.
    pub(super) bytes: &'a [u8],
    /// Whether it has an end.
    has_end: bool,
}

/// Why a line is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFault {
    /// It is longer than 4096 bytes.
    TooLong,
    /// It may be the start of a line whose password was never written.
    EmptyPasswordWithoutEnd,
    /// It is not UTF-8.
    NotUtf8,
    /// It has neither of the two forms.
    NotAnEntry,
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "is too long",
            Self::EmptyPasswordWithoutEnd => "has an empty password and no end",
            Self::NotUtf8 => "is not UTF-8",
            Self::NotAnEntry => "is not an entry",
        })
    }
}

/// The lines of `text` that are neither empty nor comments.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split_inclusive(|byte| *byte == b'\n').zip(1_u32..).map(|(whole, number)| {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        Line { number, bytes: line.strip_suffix(b"\r").unwrap_or(line), has_end: line.len() < whole.len() }
    });
    lines.filter(|line| !line.bytes.is_empty() && !line.bytes.trim_ascii_start().starts_with(b"#"))
}

impl Line<'_> {
    /// The account of the line.
    pub(super) fn entry(&self, policy: &Policy) -> core::result::Result<Entry, LineFault> {
        let Self { bytes, has_end, .. } = *self;
        if bytes.len() > MAX_LINE {
            return Err(LineFault::TooLong);
        }
        match parse_line(bytes, policy) {
            Some(entry) if !has_end && entry.secret.is_of_empty_password() => Err(LineFault::EmptyPasswordWithoutEnd),
            Some(entry) => Ok(entry),
            None if str::from_utf8(bytes).is_err() => Err(LineFault::NotUtf8),
            None => Err(LineFault::NotAnEntry),
        }
    }
}

/// The line of a user file, with its end, for the account `name`: it has a hash in place of the password.
///
/// # Errors
/// [`crate::error::ApiMisuse::BadName`] for a name that no line can have; as [`crate::text::password_to_utf16le`].
pub fn user_file_line(name: &UserName, password: &[u8]) -> Result<SecretBytes> {
    name.ensure_valid()?;
    let account = if name.domain.is_empty() { name.user.clone() } else { format!("{}\\{}", name.domain, name.user) };
    let mut line = SecretBytes::default();
    bytes::reserve(&mut line, account.len().saturating_add(128))?;
    let hash = nt_hash(password)?;
    // The user id and the time say nothing to this mechanism.
    write!(line, "{account}:65534:{}:", "X".repeat(32)).map_err(|_| HostError::Memory)?;
    hash.expose().iter().try_for_each(|byte| write!(line, "{byte:02X}")).map_err(|_| HostError::Memory)?;
    line.extend_from_slice(b":[U          ]:LCT-00000000:\n");
    // It must be one line, and that account's.
    let mut read = lines(&line);
    let is_right =
        read.next().is_some_and(|line| line.entry(&Policy::default()).is_ok_and(|entry| entry.name == *name))
            && read.next().is_none();
    drop(read);
    if is_right { Ok(line) } else { Err(ApiMisuse::BadName.into()) }
}

fn parse_line(line: &[u8], policy: &Policy) -> Option<Entry> {
    let parts: Vec<_> = line.splitn(6, |byte| *byte == b':').collect();
    let entry = match *parts.as_slice() {
        [name, uid, lm_hash, nt_hash, ref rest @ ..]
            if is_like_smbpasswd(uid, [lm_hash, nt_hash], rest.first().unwrap_or(&&[][..])) =>
        {
            smbpasswd_entry(name, uid, [lm_hash, nt_hash], rest, policy)?
        }
        // A line of passwd(5) is no entry.
        [_, _, uid, gid, _, rest] if is_number(uid) && is_number(gid) && rest.starts_with(b"/") => return None,
        [domain, user, _, ..] => {
            let password = line.splitn(3, |byte| *byte == b':').nth(2)?;
            let [user, domain] = [utf8(user)?, utf8(domain)?];
            let secret = Secret::of_password(password, policy).ok()?;
            Entry { name: UserName { user, domain }, secret, is_disabled: false, is_hash: false }
        }
        _ => return None,
    };
    (entry.name.ensure_valid().is_ok() && !line.contains(&0)).then_some(entry)
}

/// Whether a line looks like one of smbpasswd(5). Then it must be one: what it has in the place of a password is not secret.
fn is_like_smbpasswd(uid: &[u8], [lm_hash, nt_hash]: [&[u8]; 2], flags: &[u8]) -> bool {
    let is_hash = |hash: &[u8]| hash.len() == 32 || hash.starts_with(b"NO PASSWORD");
    let has_flags = flags.trim_ascii().starts_with(b"[");
    is_hash(lm_hash) && is_hash(nt_hash) || has_flags && (is_number(uid) || is_hash(lm_hash) || is_hash(nt_hash))
}

fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The entry of a line of smbpasswd(5), which must have all of its fields, and a hash or the flag `N`.
fn smbpasswd_entry(
    name: &[u8], uid: &[u8], [lm_hash, nt_hash]: [&[u8]; 2], rest: &[&[u8]], policy: &Policy,
) -> Option<Entry> {
    let [flags, _last_change] = rest else { return None };
    let flags = flags.strip_prefix(b"[")?.strip_suffix(b"]")?;
    if !is_number(uid) || lm_hash.len() != 32 || nt_hash.len() != 32 {
        return None;
    }
    let name = utf8(name)?;
    let (domain, user) = name.split_once('\\').unwrap_or(("", &name));
    let name = UserName { user: user.to_owned(), domain: domain.to_owned() };
    let secret = match parse_hash(nt_hash) {
        Some(nt_hash) => {
            let lm_hash = parse_hex(lm_hash).filter(|_| policy.keeps_lm_hash()).map(LmHash::new);
            Secret { nt_hash, lm_hash }
        }
        None if flags.contains(&b'N') && nt_hash.starts_with(b"NO PASSWORD") => {
            Secret::of_password(b"", policy).ok()?
        }
        None => return None,
    };
    // Disabled, or locked after too many wrong passwords.
    let is_disabled = flags.iter().any(|flag| b"DL".contains(flag));
    Some(Entry { name, secret, is_disabled, is_hash: true })
}

fn utf8(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::policy::{LmLevel, PolicyFiles, Rules, Whom};

    use super::*;

    const HASH: &str = "A4F49C406510BDCAB6824EE7C30FD852"; // of "Password"

    #[test]
    fn a_line_that_is_written_is_read_as_that_account() {
        let line = |user: &str, domain: &str| {
            let name = UserName { user: user.to_owned(), domain: domain.to_owned() };
            (user_file_line(&name, b"Password"), name)
        };
        for (user, domain) in [("alice", ""), ("alice", "DOM"), ("älice@x", "D M"), ("#alice", "DOM"), ("alice#", "")]
        {
            let (written, name) = line(user, domain);
            let policy = Policy::default();
            let entry = parse_line(written.unwrap().strip_suffix(b"\n").unwrap(), &policy).unwrap();
            assert_eq!((&entry.name, entry.is_hash, entry.is_disabled), (&name, true, false));
            assert_eq!(entry.secret.nt_hash.expose(), nt_hash(b"Password").unwrap().expose());
        }
        let empty = UserName { user: "guest".to_owned(), domain: String::new() };
        assert!(user_file_line(&empty, b"").is_ok());
        for (user, domain) in [
            ("", "DOM"),
            ("a:b", ""),
            ("alice", "D:M"),
            ("a\nb", ""),
            ("alice", "D\nM"),
            ("a\0b", ""),
            ("#alice", ""),
            (" #alice", ""),
            ("alice", "#DOM"),
            (&*"x".repeat(5000), ""),
        ] {
            assert_eq!(line(user, domain).0.map(drop), Err(ApiMisuse::BadName.into()), "{user:?} {domain:?}");
        }
    }

    #[test]
    fn a_password_need_not_be_text_that_a_person_can_type() {
        let line = b"D:HOST$:\xed\xa0\x80x";
        let entry = parse_line(line, &Policy::default()).unwrap();
        assert_eq!(*entry.secret.nt_hash.expose(), *crate::crypto::ntowf::ntowf_v1(b"\x00\xd8x\0").expose());
        assert!(parse_line(b"D:alice:caf\xe9", &Policy::default()).is_none());
    }

    #[test]
    fn lm_hashes_are_kept_only_where_the_level_uses_them() {
        let lm = "E52CAC67419A9A224A3B108F3FA6CB6D"; // of "Password"
        let lines = [format!("a:1:{lm}:{HASH}:[U          ]:LCT-0:"), "D:a:Password".to_owned()];
        let hash_by = |line: &str, policy: &Policy| {
            parse_line(line.as_bytes(), policy).unwrap().secret.lm_hash.map(|hash| u128::from_be_bytes(*hash.expose()))
        };
        let hash =
            |line: &str, level| hash_by(line, &Policy { lm_level: LmLevel::new(level).unwrap(), ..Policy::default() });
        // A client may meet a target of another section later.
        let rules = "[client]\nlm-level = 3\n[client \"old.example\"]\nlm-level = 1\n";
        let rules = Box::leak(Box::new(Rules::parse("/etc/gss/ntlm.conf", rules).unwrap()));
        let for_some = PolicyFiles { system: vec![rules], additional: None }.policy(Whom::Initiator, None).unwrap();
        for line in lines {
            assert_eq!(hash(&line, 1), u128::from_str_radix(lm, 16).ok());
            assert_eq!(hash(&line, 2), None);
            assert_eq!(hash_by(&line, &for_some), hash(&line, 1));
        }
    }
}
