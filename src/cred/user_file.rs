//! The user file: NTLM_USER_FILE, or `ntlmssp_keyfile` of a credential store.
//!
//! It may mix two kinds of lines: `DOMAIN:USER:PASSWORD` (the password is the rest of the line, with its colons, and may be
//! empty; the domain may be empty), and those of smbpasswd(5), `NAME:UID:LMHASH:NTHASH:[FLAGS]:LCT-...`, where the name may be
//! `DOMAIN\NAME`; with the flag `N` the password is empty. A line is a comment if `#` is its first character that is not a
//! blank.

mod line;

use std::{
    fs::{Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use zeroize::zeroize_stack;

use crate::{
    bytes::{self, SecretBytes},
    error::{CredentialError, Error, FileFlaw, HostError, Result},
    host::{FileTime, Host},
    name::UserName,
    policy::{Policy, UserFileMode},
    text,
};

use super::{Account, Env, Usage};

pub(super) use self::line::Entry;
use self::line::{Line, lines};
pub use self::line::{LineFault, user_file_line};

/// A reading of a user file. It is aligned so that threads that count its references do not delay those that read it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct UserFile {
    path: PathBuf,
    /// In the order of the file.
    entries: Vec<Entry>,
    /// Sorted, so that a search takes as many steps for an unknown account as for any other.
    by_user: Vec<(UpperName, usize)>,
    by_account: Vec<(UpperName, usize)>,
    /// Explains why an account may be missing.
    flaw: Option<FileFlaw>,
}

/// Identifies a state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A complete reading of a file.
struct Reading {
    path: PathBuf,
    /// Whether LM hashes were kept.
    with_lm: bool,
    /// The state of the file, if no later change can leave it the same.
    stamp: Option<Stamp>,
    file: Arc<UserFile>,
}

/// The last readings; a server has one file, a user a few. No thread waits for this lock: a child of fork could wait for a
/// thread that only its parent has.
static READINGS: Apart<RwLock<Vec<Reading>>> = Apart(RwLock::new(Vec::new()));
const MAX_READINGS: usize = 4;

/// What each handshake writes to, in cache lines of its own: to read another static beside it would take long.
#[repr(align(128))]
struct Apart<T>(T);

/// How deep in the stack the reading of a file leaves passwords and hashes, in bytes: scripts/check-secrets has found it.
const READING: usize = 26 << 7;

/// A file that changed more recently may change again within one tick of its time stamps, or be written at the moment.
const SETTLED: Duration = Duration::from_secs(2);

/// The longest file, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

impl UserFile {
    /// The path of the user file: the first that is set of `key_file`, NTLM_USER_FILE, for acceptors the credential `ntlm.users` of
    /// systemd, and that of the policy.
    ///
    /// # Errors
    /// [`CredentialError::NoUserFile`] if there is none; as [`Policy::ensure_acceptor_file`].
    pub(super) fn configured_path(key_file: Option<&str>, usage: Usage, env: &Env<'_>) -> Result<PathBuf> {
        if let Some(path) = key_file {
            return Ok(PathBuf::from(path));
        }
        let (path, rule) = configured_user_file(usage, env).ok_or(CredentialError::NoUserFile)?;
        if rule == FileRule::Variable && usage == Usage::Accept {
            env.policy.ensure_acceptor_file(&path.to_string_lossy())?;
        }
        Ok(path)
    }

    /// The user file at [`UserFile::configured_path`].
    ///
    /// # Errors
    /// As [`UserFile::configured_path`] and [`UserFile::load`].
    pub(super) fn configured(key_file: Option<&str>, usage: Usage, env: &Env<'_>) -> Result<Arc<Self>> {
        Self::load(&Self::configured_path(key_file, usage, env)?, env)
    }

    /// The user file at `path`. It is read again only if it has changed.
    ///
    /// A program may be writing the file at the moment: if its last line has no end and it has just changed, the reading
    /// before counts. If there is none, that line is left out.
    ///
    /// # Errors
    /// [`CredentialError`] when it cannot be read, is not a regular file, is longer than 16 MiB, or everybody may write to it.
    pub(super) fn load(path: &Path, env: &Env<'_>) -> Result<Arc<Self>> {
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error.to_string()))?;
        ensure_mode(&metadata, path, &env.policy)?;
        let (stamp, with_lm) = (Stamp::of(&metadata), env.policy.keeps_lm_hash());
        if let Some(file) = reading_of(path, with_lm, |reading| reading.stamp == Some(stamp)) {
            return Ok(file);
        }
        let file = Self::read_anew(path, with_lm, env);
        if !cfg!(no_stack_wipe) {
            zeroize_stack::<READING>();
        }
        file
    }

    #[inline(never)]
    fn read_anew(path: &Path, with_lm: bool, env: &Env<'_>) -> Result<Arc<Self>> {
        // No lock is held meanwhile: the file may be on a slow file system.
        let (text, metadata) = read(path, &env.policy)?;
        if is_for_everybody(&metadata) {
            env.host.trace(format_args!("warning: everybody may read the user file {}", path.display()));
            env.host.log(format_args!(
                "Everybody may read the user file {}, which has passwords or hashes: remove that permission (chmod o-r)",
                path.display()
            ));
        }
        let stamp = Stamp::of(&metadata);
        let age = stamp.age(env.host);
        let (ended, unended) = split_at_last_end(&text);
        if !unended.is_empty() && age.is_some_and(|age| age < SETTLED) {
            let before = reading_of(path, with_lm, |_| true);
            let instead =
                if before.is_some() { "what was read before stays in force" } else { "that line is left out" };
            env.host.trace(format_args!(
                "the last line of the user file {} has no end and the file was just written: {instead}",
                path.display()
            ));
            return match before {
                Some(before) => Ok(before),
                None => Ok(Arc::new(Self { flaw: Some(FileFlaw::JustWritten), ..Self::parse(ended, path, env)? })),
            };
        }
        let file = Arc::new(Self::parse(&text, path, env)?);
        if let Ok(mut readings) = READINGS.0.try_write() {
            readings.retain(|reading| reading.path != path || reading.with_lm != with_lm);
            readings.truncate(MAX_READINGS.saturating_sub(1));
            let stamp = Some(stamp).filter(|_| age.is_some_and(|age| age >= SETTLED));
            readings.insert(0, Reading { path: path.to_owned(), with_lm, stamp, file: Arc::clone(&file) });
        }
        Ok(file)
    }

    pub(super) fn parse(text: &[u8], path: &Path, env: &Env<'_>) -> Result<Self> {
        let (mut entries, mut flaw) = (Vec::<Entry>::new(), None);
        for line in lines(text) {
            let fault = match line.entry(&env.policy) {
                Ok(entry) => {
                    bytes::ensure_memory(0)?;
                    entries.try_reserve(1).map_err(|_| HostError::Memory)?;
                    entries.push(entry);
                    continue;
                }
                Err(fault) => fault,
            };
            flaw = flaw.or(match fault {
                LineFault::EmptyPasswordWithoutEnd => Some(FileFlaw::EmptyPasswordWithoutEnd),
                LineFault::NotUtf8 => Some(FileFlaw::NotUtf8 { line: line.number }),
                LineFault::TooLong | LineFault::NotAnEntry => None,
            });
            env.host.trace(format_args!("line {} of the user file {} {fault}: ignored", line.number, path.display()));
        }
        let sorted = |name: fn(&UserName) -> UpperName| {
            let mut places = bytes::collect(entries.iter().zip(0..).map(|(entry, at)| {
                bytes::ensure_memory(0)?;
                Ok((name(&entry.name), at))
            }))?;
            places.sort_unstable();
            Ok::<_, Error>(places)
        };
        let by_user = sorted(|name| UpperName::of_user(&name.user))?;
        let by_account = sorted(|name| UpperName::of_account(&name.user, &name.domain))?;
        Ok(Self { path: path.to_owned(), entries, by_user, by_account, flaw })
    }

    #[cfg(fuzzing)]
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The account with that `name`, or the first one if `name` is `None`, with its secret.
    ///
    /// # Errors
    /// [`CredentialError::NoEntry`] if there is none.
    pub(super) fn account_of(&self, name: Option<&UserName>) -> Result<Account> {
        let entry = match name {
            None => self.entries.iter().find(|entry| !entry.is_disabled),
            Some(name) => self.entry(&name.user, &name.domain),
        };
        let Some(entry) = entry.filter(|entry| !entry.is_disabled) else {
            let name = name.map(|name| crate::name::Name::User(name.clone()).to_string()).unwrap_or_default();
            return Err(
                CredentialError::NoEntry { name, path: self.path.display().to_string(), flaw: self.flaw }.into()
            );
        };
        let mut name = name.cloned().unwrap_or_else(|| entry.name.clone());
        // A user principal name is sent as it was asked for; every other name is sent in the spelling of the file.
        if text::same_name(&name.user, &entry.name.user) {
            name.user.clone_from(&entry.name.user);
            if name.domain.is_empty() {
                name.domain.clone_from(&entry.name.domain);
            }
        }
        Ok(Account::new(name, entry.secret.copy()))
    }

    /// The account of a client that claims to be `user` of `domain`: the entry with that domain if there is one, else an entry
    /// for every domain. Without a domain it is the first entry with that user, else the one for which `user` is the user
    /// principal name (`account@domain`).
    ///
    /// The name alone decides how many searches are made, not what they find: the time does not tell which accounts there are.
    pub(super) fn entry(&self, user: &str, domain: &str) -> Option<&Entry> {
        if !domain.is_empty() {
            return self.entry_of_account(user, domain);
        }
        let of_user = self.first(&self.by_user, &UpperName::of_user(user));
        let principal = user.rsplit_once('@').filter(|(_, domain)| !domain.is_empty());
        let of_principal = principal.and_then(|(user, domain)| self.entry_of_account(user, domain));
        of_user.or(of_principal)
    }

    /// The entry with that user and that domain, else the one with that user for every domain.
    fn entry_of_account(&self, user: &str, domain: &str) -> Option<&Entry> {
        let of_domain = self.first(&self.by_account, &UpperName::of_account(user, domain));
        let of_any_domain = self.first(&self.by_account, &UpperName::of_account(user, ""));
        of_domain.or(of_any_domain)
    }

    /// The first entry of the file that has that `name` in `index`.
    fn first(&self, index: &[(UpperName, usize)], name: &UpperName) -> Option<&Entry> {
        let place = index.partition_point(|(other, _)| other < name);
        let (_, at) = index.get(place).filter(|(other, _)| other == name)?;
        self.entries.get(*at)
    }
}

/// A name in upper case, by which entries are found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UpperName(String);

impl UpperName {
    fn of_user(user: &str) -> Self {
        Self(text::upper(user))
    }

    /// User and domain are one string, so that they are compared at one go. No name of a user file has the NUL between them.
    fn of_account(user: &str, domain: &str) -> Self {
        let mut name = String::with_capacity(user.len().saturating_add(domain.len()).saturating_add(1));
        text::push_upper(&mut name, user);
        name.push('\0');
        text::push_upper(&mut name, domain);
        Self(name)
    }
}

impl Stamp {
    /// How long ago the file changed; `None` if that is in the future.
    fn age(&self, host: &dyn Host) -> Option<Duration> {
        let (seconds, nanoseconds) = self.changed;
        let changed = FileTime::from_unix(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        host.now().since(changed)
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A reading of the file at `path` for which `is_wanted` holds.
fn reading_of(path: &Path, with_lm: bool, is_wanted: impl Fn(&Reading) -> bool) -> Option<Arc<UserFile>> {
    let readings = READINGS.0.try_read().ok()?;
    let reading = readings.iter().find(|reading| reading.path == path && reading.with_lm == with_lm)?;
    is_wanted(reading).then(|| Arc::clone(&reading.file))
}

/// What names a user file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRule {
    /// NTLM_USER_FILE.
    Variable,
    /// The credential `ntlm.users` that systemd passes to a service.
    Systemd,
    /// `user-file` of the policy.
    Policy,
}

/// The path of the user file for that usage where no credential store names one, and what names it.
#[must_use]
pub fn configured_user_file(usage: Usage, env: &Env<'_>) -> Option<(PathBuf, FileRule)> {
    let of_variable = env.host.variable("NTLM_USER_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_systemd = || if usage == Usage::Accept { systemd_credential(env.host) } else { None };
    let of_policy = || env.policy.user_file().map(|file| PathBuf::from(file.path));
    let named = of_variable.map(|path| (path, FileRule::Variable));
    let named = named.or_else(|| of_systemd().map(|path| (path, FileRule::Systemd)));
    named.or_else(|| of_policy().map(|path| (path, FileRule::Policy)))
}

/// The path of the credential `ntlm.users` that systemd passes to this service, if there is one. It is for acceptors only: the first
/// account of a server must not become its own identity.
fn systemd_credential(host: &dyn Host) -> Option<PathBuf> {
    let directory = host.variable("CREDENTIALS_DIRECTORY").filter(|directory| directory.starts_with('/'))?;
    let path = Path::new(&directory).join("ntlm.users");
    // One that cannot be read is an error, which reading it shows.
    std::fs::symlink_metadata(&path).is_ok().then_some(path)
}

fn unreadable(path: &Path, reason: String) -> CredentialError {
    CredentialError::Unreadable { path: path.display().to_string(), reason }
}

/// Ensures that only those may write and read the file whom the policy allows. A group may do either.
fn ensure_mode(metadata: &Metadata, path: &Path, policy: &Policy) -> Result<()> {
    if metadata.mode() & 0o002 != 0 {
        return Err(CredentialError::Writable { path: path.display().to_string() }.into());
    }
    if policy.user_file_mode == UserFileMode::Private && is_for_everybody(metadata) {
        return Err(CredentialError::Readable { path: path.display().to_string() }.into());
    }
    Ok(())
}

/// Whether others than its owner and its group may read a file.
fn is_for_everybody(metadata: &Metadata) -> bool {
    metadata.mode() & 0o004 != 0
}

/// What is in the file at `path`, if it is one to trust.
fn read(path: &Path, policy: &Policy) -> Result<(SecretBytes, Metadata)> {
    let failed = |error: std::io::Error| unreadable(path, error.to_string());
    // A FIFO does not block, and what was opened is checked again: it may have been replaced.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(unreadable(path, "it is not a regular file".to_owned()).into());
    }
    ensure_mode(&metadata, path, policy)?;
    // All the capacity at once: a vector that grows leaves copies behind.
    let capacity = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(0).saturating_add(1);
    let mut text = SecretBytes::default();
    bytes::reserve(&mut text, capacity)?;
    (&file).take(MAX_FILE.saturating_add(1)).read_to_end(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > MAX_FILE) {
        return Err(unreadable(path, "it is longer than 16 MiB".to_owned()).into());
    }
    // Taken after reading, this shows every change before and during it.
    let metadata = file.metadata().map_err(failed)?;
    Ok((text, metadata))
}

/// The lines of `text` that have an end, and what follows them.
fn split_at_last_end(text: &[u8]) -> (&[u8], &[u8]) {
    let ended = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    text.split_at_checked(ended).unwrap_or((text, &[]))
}

/// An account of a user file, as far as a person may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAccount {
    /// The account; an empty domain means every domain.
    pub name: UserName,
    /// Whether the line has a hash instead of a password.
    pub is_hash: bool,
    /// Whether it is disabled or locked.
    pub is_disabled: bool,
    /// Whether its password ends with a blank, which is easily an oversight.
    pub ends_with_blank: bool,
}

/// A user file, as far as a person may see it.
#[derive(Debug)]
pub struct CheckedUserFile {
    /// Its mode and its owner.
    pub metadata: Metadata,
    /// Its lines with their numbers, without those that are empty and comments.
    pub lines: Vec<(u32, core::result::Result<ListedAccount, LineFault>)>,
}

/// Looks at the user file at `path`.
///
/// # Errors
/// As those of a program that uses the file: [`CredentialError`] when it cannot be read, is not a regular file, is longer than
/// 16 MiB, or those may write or read it whom the policy does not allow to.
pub fn check_user_file(path: &Path, policy: &Policy) -> Result<CheckedUserFile> {
    let (text, metadata) = read(path, policy)?;
    let listed = |line: Line<'_>| {
        let account = line.entry(policy).map(|Entry { name, is_disabled, is_hash, .. }| ListedAccount {
            name,
            is_hash,
            is_disabled,
            ends_with_blank: !is_hash && line.bytes.last().is_some_and(u8::is_ascii_whitespace),
        });
        (line.number, account)
    };
    Ok(CheckedUserFile { metadata, lines: lines(&text).map(listed).collect() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::{crypto::ntowf::nt_hash, host::tests::Silent, policy::LmLevel};

    use super::*;

    fn file(text: &str) -> UserFile {
        let path = PathBuf::from("users");
        UserFile::parse(text.as_bytes(), &path, &Env::without_domain(Policy::default(), &Silent::default())).unwrap()
    }

    const HASH: &str = "A4F49C406510BDCAB6824EE7C30FD852"; // of "Password"

    fn has_password(entry: Option<&Entry>, password: &str) -> bool {
        entry.is_some_and(|entry| *entry.secret.nt_hash.expose() == *nt_hash(password.as_bytes()).unwrap().expose())
    }

    #[test]
    fn reads_both_kinds_of_lines() {
        let file = file(&format!(
            "# DOM:comment:secret\r\nDOM:alice:pa:ss:word\r\n:bob:x\n\
             carol:1000:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:{HASH}:[U          ]:LCT-5F0C1A2B:\n\
             DOM\\dave:1001:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:{HASH}:[UD         ]:LCT-5F0C1A2B:\n\
             nobody:1002:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:NO PASSWORDXXXXXXXXXXXXXXXXXXXXX:[U          ]:LCT-0:\n"
        ));
        assert_eq!(file.entries.len(), 4);
        assert!(has_password(file.entry("ALICE", "dom"), "pa:ss:word"));
        assert!(has_password(file.entry("bob", "ANY"), "x"));
        assert!(has_password(file.entry("carol", ""), "Password"));
        assert!(file.entry("dave", "DOM").is_some_and(|entry| entry.is_disabled));
        assert!(file.entry("comment", "DOM").is_none());
    }

    #[test]
    fn a_password_may_be_empty_where_the_file_says_so() {
        let none = "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX";
        let file = file(&format!(
            "D:alice:\nbob:1:{none}:{none}:[NU         ]:LCT-0:\ncarol:1:{none}:{none}:[U          ]:LCT-0:\n"
        ));
        assert!(has_password(file.entry("alice", "D"), "") && has_password(file.entry("bob", "D"), ""));
        assert!(file.entry("carol", "D").is_none());
    }

    #[test]
    fn a_user_principal_name_is_looked_up_as_such() {
        let file = file("ex.test:alice:1\n:bob@ex.test:2\nother.test:carol:3\n");
        assert!(has_password(file.entry("Alice@EX.test", ""), "1"));
        assert!(has_password(file.entry("bob@ex.test", ""), "2"));
        assert!(file.entry("carol@ex.test", "").is_none() && file.entry("alice@", "").is_none());
        let for_any_domain = self::file(":dave:4\n");
        assert!(has_password(for_any_domain.entry("dave@ex.test", ""), "4"), "as a client of any claimed domain");
        assert!(for_any_domain.entry("dave@", "").is_none());
        let name = UserName { user: "alice@ex.test".to_owned(), domain: String::new() };
        assert_eq!(file.account_of(Some(&name)).unwrap().name, name);
    }

    #[test]
    fn a_long_line_is_refused_and_not_split() {
        let file =
            file(&format!("#{}\nD:{}:x\nD:alice:right\n", "x".repeat(line::MAX_LINE * 2), "D:alice:wrong".repeat(500)));
        assert_eq!(file.entries.len(), 1);
        assert!(has_password(file.entry("alice", "D"), "right"));
        let longest = self::file(&format!("D:alice:{}\r\n", "x".repeat(line::MAX_LINE - "D:alice:".len())));
        assert_eq!(longest.entries.len(), 1);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        assert!(has_password(file("\u{feff}DOM:alice:x\n").entry("alice", "DOM"), "x"));
    }

    #[test]
    fn a_line_that_is_not_utf8_explains_why_an_account_is_missing() {
        let missing = |text: &[u8], name: Option<&str>| {
            let path = PathBuf::from("users");
            let file = UserFile::parse(text, &path, &Env::without_domain(Policy::default(), &Silent::default()));
            let file = file.unwrap();
            let name = name.map(|user| UserName { user: user.to_owned(), domain: String::new() });
            file.account_of(name.as_ref()).unwrap_err().to_string()
        };
        let latin1 = b"# \xe4\nDOM:alice:x\r\nDOM:j\xfcrgen:x\nDOM:bob:\xe4\n";
        assert!(missing(latin1, Some("jürgen")).contains("line 3 is not UTF-8"));
        let utf16 = [&b"\xff\xfe"[..], &text::to_utf16le("DOM:alice:x\r\n")].concat();
        assert!(missing(&utf16, None).contains("line 1 is not UTF-8"));
        let nonsense = missing(b"nonsense\n", None);
        assert!(!nonsense.contains("UTF-8") && nonsense.contains("has no usable entry"), "{nonsense}");
    }

    #[test]
    fn an_indented_comment_is_a_comment() {
        let file = file("  # DOM:alice:old\n\t#DOM:alice:older\nDOM:alice:new\n");
        assert_eq!(file.entries.len(), 1);
        assert!(has_password(file.entry("alice", ""), "new"));
    }

    #[test]
    fn refuses_lines_that_are_nearly_entries() {
        let xs = "X".repeat(32);
        for line in [
            format!("DOM\\x:1:{xs}:{HASH}:[UX]"),
            format!("x:one:{xs}:{HASH}:[U          ]:LCT-0"),
            format!("x:1:{xs}:short:[U          ]:LCT-0"),
            format!("x:1:short:{HASH}:[U          ]:LCT-0"),
            format!("x:one:{xs}:short:[U          ]:LCT-0"),
            format!("x:one:short:{HASH}:[U          ]:LCT-0"),
            format!("root:0:{xs}:{xs}:root:/root:/bin/bash"),
            format!("x:1:{xs}:{HASH}: [U          ]:LCT-0"),
            format!("x:1:{xs}:{HASH}"),
            "alice:1000:NO PASSWORD:NO PASSWORD:[NU         ]:LCT-0".to_owned(),
            "alice:1000:::[NU         ]:LCT-0".to_owned(),
            "root:x:0:0:root:/root:/bin/bash".to_owned(),
            "DOM::password".to_owned(),
            "DOM:alice".to_owned(),
            "A\\B:alice:x".to_owned(),
            ":EVIL\\root:x".to_owned(),
            ":@alice:x".to_owned(),
            "DOM:al\0ice:x".to_owned(),
        ] {
            assert_eq!(file(&format!("{line}\n")).entries.len(), 0, "{line}");
        }
    }

    #[test]
    fn a_password_may_look_a_little_like_another_kind_of_line() {
        let xs = "X".repeat(32);
        for password in [
            // passwd(5)
            "x:1:y:/z",
            "1:x:y:/z",
            "1:2:y:z",
            // smbpasswd(5)
            &format!("{xs}:short"),
            &format!("short:{xs}"),
            &format!("{xs}:short:U:LCT-0"),
            "a:b:[U          ]:LCT-0",
        ] {
            assert!(
                has_password(file(&format!("DOM:alice:{password}\n")).entry("alice", "DOM"), password),
                "{password}"
            );
        }
    }

    #[test]
    fn warns_of_a_file_that_everybody_may_read_or_refuses_it() {
        let written = Written::new("mode");
        let path = written.0.display().to_string();
        for (mode, is_for_everybody) in [
            (0o600, false),
            (0o640, false),
            (0o660, false),
            (0o650, false),
            (0o644, true),
            (0o604, true),
            (0o664, true),
            (0o444, true),
        ] {
            std::fs::write(&written.0, "DOM:alice:x\n").unwrap();
            std::fs::set_permissions(&written.0, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = |host: &Silent, user_file_mode| {
                let env = Env::without_domain(Policy { user_file_mode, ..Policy::default() }, host);
                UserFile::load(&written.0, &env).map(|file| file.entries.len())
            };
            let host = Silent::default();
            assert_eq!(loaded(&host, UserFileMode::Any), Ok(1), "{mode:o}");
            let (traced, logged) = (host.traced.try_lock().unwrap(), host.logged.try_lock().unwrap());
            assert_eq!(*traced == [format!("warning: everybody may read the user file {path}")], is_for_everybody);
            assert_eq!(logged.iter().any(|line| line.contains(&path) && line.contains("chmod o-r")), is_for_everybody);
            assert_eq!((traced.len(), logged.len()), (usize::from(is_for_everybody), usize::from(is_for_everybody)));

            let readable = CredentialError::Readable { path: path.clone() }.into();
            let expected = if is_for_everybody { Err(readable) } else { Ok(1) };
            assert_eq!(loaded(&Silent::default(), UserFileMode::Private), expected, "{mode:o}");
            // Also where the file was read when that was allowed, and has not changed since.
            let later = || Silent { unix_seconds: u64::from(u32::MAX), ..Silent::default() };
            assert_eq!(loaded(&later(), UserFileMode::Any), Ok(1), "{mode:o}");
            assert_eq!(loaded(&later(), UserFileMode::Private), expected, "{mode:o}");
            let _ = std::fs::remove_file(&written.0);
        }
    }

    #[test]
    fn refuses_a_file_that_is_not_regular_without_waiting_for_it() {
        let folder = std::env::temp_dir().join(format!("gss-ntlm-user-file-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let fifo = folder.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let results = [&folder, &fifo, &folder.join("missing")]
            .map(|path| UserFile::load(path, &Env::without_domain(Policy::default(), &Silent::default())));
        std::fs::remove_dir_all(&folder).unwrap();
        for result in results {
            assert!(matches!(result, Err(crate::error::Error::Credential(CredentialError::Unreadable { .. }))));
        }
    }

    #[test]
    fn a_file_is_kept_once_it_has_not_changed_for_a_moment() {
        let path = std::env::temp_dir().join(format!("gss-ntlm-kept-{}", std::process::id()));
        std::fs::write(&path, "DOM:alice:x\n").unwrap();
        let changed = u64::try_from(std::fs::metadata(&path).unwrap().ctime()).unwrap();
        let is_kept = |unix_seconds| {
            let host = Silent { unix_seconds, ..Silent::default() };
            let load = || UserFile::load(&path, &Env::without_domain(Policy::default(), &host)).unwrap();
            // While another test has the lock, nothing is kept.
            (0..10).any(|_| Arc::ptr_eq(&load(), &load()))
        };
        let (at_once, later) = (is_kept(changed + 1), is_kept(changed + 3));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((at_once, later), (false, true));
    }

    /// A user file that a program writes in place. It is removed in the end.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("gss-ntlm-{name}-{}", std::process::id())))
        }

        /// The file with this content, `seconds` after that was written.
        fn load(&self, content: &str, seconds: i64) -> Arc<UserFile> {
            std::fs::write(&self.0, content).unwrap();
            let changed = std::fs::metadata(&self.0).unwrap().ctime();
            let host = Silent { unix_seconds: u64::try_from(changed + seconds).unwrap(), ..Silent::default() };
            UserFile::load(&self.0, &Env::without_domain(Policy::default(), &host)).unwrap()
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn why_missing(file: &UserFile, user: &str) -> String {
        file.account_of(Some(&UserName { user: user.to_owned(), domain: String::new() })).unwrap_err().to_string()
    }

    #[test]
    fn while_a_file_is_written_what_was_read_before_stays_in_force() {
        let written = Written::new("in-place");
        let complete = "DOM:alice:x\nDOM:bob:y\n";
        for (before, half) in [(1, "DOM:alice:"), (3, "DOM:alice:x\nDOM:bob:y"), (1, "DOM:alice"), (3, "# comm")] {
            // While another test has the lock, or reads many files, nothing is kept.
            let stays = || Arc::ptr_eq(&written.load(complete, before), &written.load(half, 1));
            assert!((0..10).any(|_| stays()), "{half:?}");
        }
        let later = written.load("DOM:alice:z\nDOM:carol:y", 3);
        assert!(has_password(later.entry("alice", ""), "z") && has_password(later.entry("carol", ""), "y"));
        assert!(later.entry("bob", "").is_none());
        // A file without accounts is complete.
        assert!(written.load("", 1).entries.is_empty());
    }

    #[test]
    fn where_nothing_was_read_before_a_line_that_is_being_written_is_left_out() {
        let written = Written::new("first-read");
        for half in ["DOM:alice:", "DOM:alice:x"] {
            let file = written.load(&format!("DOM:bob:y\n{half}"), 1);
            assert!(has_password(file.entry("bob", ""), "y") && file.entry("alice", "").is_none(), "{half}");
            let sentence = why_missing(&file, "alice");
            assert!(sentence.contains("the last line has no end and the file was just written: "), "{sentence}");
        }
        let missing = why_missing(&written.load("DOM:bob:y\n", 1), "alice");
        assert!(!missing.contains("no end"), "{missing}");
    }

    #[test]
    fn a_last_line_without_end_counts_once_the_file_is_old_or_from_the_future() {
        let written = Written::new("no-end");
        for seconds in [3, -10] {
            let file = written.load("DOM:bob:y\nDOM:alice:x", seconds);
            assert!(has_password(file.entry("alice", ""), "x"), "{seconds}");
        }
    }

    #[test]
    fn a_line_without_end_never_stands_for_an_empty_password() {
        let none = "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX";
        let xs = "X".repeat(32);
        let empty = "31D6CFE0D16AE931B73C59D7E0C089C0";
        let written = Written::new("empty-password");
        for line in [
            "DOM:alice:".to_owned(),
            "DOM:alice:\r".to_owned(),
            format!("alice:1:{none}:{none}:[NU         ]:LCT-0:"),
            format!("alice:1:{xs}:{empty}:[U          ]:LCT-0:"),
        ] {
            for seconds in [3, -10] {
                let file = written.load(&format!("DOM:bob:y\n{line}"), seconds);
                assert!(has_password(file.entry("bob", ""), "y") && file.entry("alice", "").is_none(), "{line}");
                let sentence = why_missing(&file, "alice");
                assert!(sentence.contains("the last line has an empty password and no end: "), "{sentence}");
                let ended = written.load(&format!("DOM:bob:y\n{line}\n"), seconds);
                assert!(has_password(ended.entry("alice", ""), ""), "{line}");
            }
        }
    }

    #[test]
    fn an_entry_with_a_domain_serves_that_domain_and_clients_that_send_none() {
        let file = file("ONE:alice:1\nTWO:alice:2\n:alice:any\n");
        assert!(has_password(file.entry("alice", "two"), "2"));
        assert!(has_password(file.entry("alice", ""), "1"));
        assert!(has_password(file.entry("alice", "THREE"), "any"));
        let strict = self::file("ONE:alice:1\n");
        assert!(strict.entry("alice", "THREE").is_none());
    }

    #[test]
    fn without_a_name_the_first_entry_is_used() {
        let file = file("ONE:alice:1\nTWO:bob:2\n");
        assert_eq!(file.account_of(None).unwrap().name.user, "alice");
        assert!(file.account_of(Some(&UserName { user: "carol".to_owned(), domain: String::new() })).is_err());
    }

    #[test]
    fn each_file_is_kept_for_each_level_it_was_read_for() {
        let (one, other) = (Written::new("kept-one"), Written::new("kept-other"));
        let load = |written: &Written, level| {
            let changed = std::fs::metadata(&written.0).unwrap().ctime();
            let host = Silent { unix_seconds: u64::try_from(changed + 3).unwrap(), ..Silent::default() };
            let policy = Policy { lm_level: LmLevel::new(level).unwrap(), ..Policy::default() };
            UserFile::load(&written.0, &Env::without_domain(policy, &host)).unwrap()
        };
        for written in [&one, &other] {
            std::fs::write(&written.0, "DOM:alice:x\n").unwrap();
        }
        for (file, level) in [(&one, 3), (&other, 0)] {
            // While another test has the lock, or reads many files, nothing is kept.
            let is_kept = || Arc::ptr_eq(&load(&one, 0), &[load(file, level), load(&one, 0)][1]);
            assert!((0..10).any(|_| is_kept()), "level {level}");
        }
        let has_lm_hash = |level| load(&one, level).entry("alice", "DOM").unwrap().secret.lm_hash.is_some();
        assert_eq!([0, 3, 1, 2].map(has_lm_hash), [true, false, true, false]);
    }

    #[test]
    fn a_file_may_have_sixteen_mebibytes() {
        let written = Written::new("long");
        let load = |len| {
            std::fs::File::create(&written.0).unwrap().set_len(len).unwrap();
            UserFile::load(&written.0, &Env::without_domain(Policy::default(), &Silent::default()))
        };
        assert!(load(16 << 20).unwrap().entries.is_empty());
        let refused = load((16 << 20) + 1).unwrap_err().to_string();
        assert!(refused.contains("it is longer than 16 MiB"), "{refused}");
    }

    #[test]
    fn a_disabled_account_is_not_the_first() {
        let xs = "X".repeat(32);
        for flags in ["[UD         ]", "[UL         ]"] {
            let file = file(&format!("alice:1:{xs}:{HASH}:{flags}:LCT-0:\nDOM:bob:x\n"));
            assert_eq!(file.account_of(None).unwrap().name.user, "bob", "{flags}");
            assert!(file.account_of(Some(&UserName { user: "alice".to_owned(), domain: String::new() })).is_err());
        }
    }
}
