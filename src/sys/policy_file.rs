//! The policy files: read when the first call needs them, and again when they have changed.
//!
//! Once a second at most, one call asks for the state of each file; all other calls use what was read. There is no lock, and what
//! was read is never freed, so a forked child can go on with it.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{System, latest::Latest, monotonic};
use crate::{
    bytes,
    error::{Error, PolicyError, Reason, Result},
    host::{FileTime, Host},
    policy::{PolicyFiles, Rules},
};

/// The policy file of the system. Files that are added to it are in the directory of this name with `.d` at its end.
const SYSTEM: &str = match option_env!("GSSNTLM_POLICY_FILE") {
    Some(path) => path,
    None => "/etc/gss/ntlm.conf",
};

/// How often the files are looked at, in milliseconds.
const INTERVAL: u64 = 1000;
/// A file that changed more recently may change again within one tick of its time stamps, or be written at the moment.
const SETTLED: Duration = Duration::from_secs(2);
/// The longest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// What a user namespace shows as the owner of files whose owner it does not know.
const OVERFLOW_UID: u32 = 65534;

/// What this process has read.
static LATEST: Latest<Reading> = Latest::new();
/// When a call last looked at the files, in milliseconds of a clock that never goes back.
static LOOKED: AtomicU64 = AtomicU64::new(0);

/// The policy files in force, with that additional one.
///
/// # Errors
/// [`PolicyError::BadFile`] or [`PolicyError::BadLine`] for a file that cannot be used: it must never open anything.
pub(super) fn in_force(additional: Option<&str>) -> Result<&'static PolicyFiles> {
    let additional = additional.map(Path::new);
    let latest = LATEST.get();
    let reading = match latest.filter(|reading| reading.additional.as_deref() == additional) {
        Some(latest) if !is_time_to_look(milliseconds()) || latest.is_current(&System) => latest,
        _ => {
            let reading = Reading::take(Path::new(SYSTEM), additional.map(Path::to_owned), latest, &System);
            LOOKED.store(milliseconds(), Ordering::Relaxed);
            match latest {
                Some(latest) if *latest == reading => latest,
                _ => LATEST.set(reading),
            }
        }
    };
    reading.result.as_ref().map_err(Clone::clone)
}

/// Whether it is time to look at the files. If so, it is this call's turn, and no other call's for the next interval.
fn is_time_to_look(now: u64) -> bool {
    let looked = LOOKED.load(Ordering::Relaxed);
    now >= looked.saturating_add(INTERVAL)
        && LOOKED.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Milliseconds of a clock that never goes back.
fn milliseconds() -> u64 {
    u64::try_from(monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// A reading of the policy files.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    /// The path of the additional file.
    additional: Option<PathBuf>,
    /// The files and directories that count, and their states when they were read.
    seen: BTreeMap<PathBuf, State>,
    /// The last good readings of the files.
    files: BTreeMap<PathBuf, &'static Rules>,
    result: Result<PolicyFiles>,
}

/// The state of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Unreadable,
    Found { file: (u64, u64), len: u64, owner: u32, mode: u32, modified: (i64, i64), changed: (i64, i64) },
}

impl Reading {
    /// Reads the policy file of the system at `path`, those added to it, and the additional one. Where a file is gone or just being
    /// written, its rules in `before` stay in force.
    fn take(path: &Path, additional: Option<PathBuf>, before: Option<&Self>, host: &dyn Host) -> Self {
        let before = before.map(|before| &before.files);
        let mut reading = Self {
            additional,
            seen: BTreeMap::new(),
            files: before.cloned().unwrap_or_default(),
            result: Ok(PolicyFiles::default()),
        };
        reading.result = reading.read_all(path, host).inspect_err(|error| host.log(format_args!("{error}")));
        reading
    }

    fn read_all(&mut self, path: &Path, host: &dyn Host) -> Result<PolicyFiles> {
        let mut added = path.as_os_str().to_owned();
        added.push(".d");
        let added = PathBuf::from(added);
        self.note(&added);
        // Who may write to a directory could take a file away, also the last one.
        let mut directories = Vec::new();
        if self.seen.get(&added) != Some(&State::Missing) {
            directories.extend([Some(&*added), path.parent()]);
        }
        let mut paths = vec![path.to_owned()];
        paths.extend(policy_files_in(&added)?);
        for file in &paths {
            if self.read(file, true, host)? {
                directories.push(path.parent());
            }
        }
        for directory in directories.into_iter().flatten() {
            self.ensure_trusted_directory(directory)?;
        }
        let mut files = PolicyFiles::default();
        if let Some(additional) = self.additional.clone() {
            let is_there = self.read(&additional, false, host)?;
            files.additional = self.files.get(&additional).copied();
            if !is_there && files.additional.is_none() {
                return Err(unusable(&additional, "it does not exist: correct GSS_NTLM_CONFIG"));
            }
        }
        for (file, rules) in self.files.iter().filter(|(file, _)| *file == path || file.starts_with(&added)) {
            if !paths.contains(file) || self.seen.get(file) == Some(&State::Missing) {
                host.log(format_args!(
                    "The policy file {} is gone: what it said stays in force in this program until it ends",
                    file.display()
                ));
            }
            files.system.push(rules);
        }
        Ok(files)
    }

    /// Reads one file, and says whether it is there.
    fn read(&mut self, path: &Path, must_be_trusted: bool, host: &dyn Host) -> Result<bool> {
        let Some((text, state)) = read(path, must_be_trusted).inspect_err(|_| {
            self.note(path);
        })?
        else {
            self.seen.insert(path.to_owned(), State::Missing);
            return Ok(false);
        };
        self.seen.insert(path.to_owned(), state);
        let before = self.files.get(path).copied();
        if !state.is_settled(host) && !text.ends_with(b"\n") {
            if before.is_some() {
                return Ok(true);
            }
            return Err(unusable(
                path,
                "it was just written, and its last line has no end: wait, or complete the file",
            ));
        }
        let name = path.display().to_string();
        // The reader allocates several times what it reads.
        bytes::ensure_memory(text.len().saturating_mul(8))?;
        let rules = Rules::parse_bytes(&name, &text)?;
        if before != Some(&rules) {
            self.files.insert(path.to_owned(), Box::leak(Box::new(rules)));
        }
        Ok(true)
    }

    fn ensure_trusted_directory(&mut self, directory: &Path) -> Result<()> {
        self.note(directory);
        let found = fs::metadata(directory).map_err(|error| unreadable(directory, &error))?;
        ensure_trusted(directory, &found)
    }

    /// Notes the state of a file or directory that counts.
    fn note(&mut self, path: &Path) {
        self.seen.insert(path.to_owned(), State::of(path));
    }

    /// Whether what was seen is still so, and cannot have changed without a trace. A file that could not be read is tried again.
    fn is_current(&self, host: &dyn Host) -> bool {
        self.result.is_ok() && self.seen.iter().all(|(path, state)| state.is_settled(host) && State::of(path) == *state)
    }
}

impl State {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => Self::found(&found),
            Err(error) if is_missing(&error) => Self::Missing,
            Err(_) => Self::Unreadable,
        }
    }

    fn found(found: &Metadata) -> Self {
        Self::Found {
            file: (found.dev(), found.ino()),
            len: found.len(),
            owner: found.uid(),
            mode: found.mode(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether every later change shows. A time in the future counts as old.
    fn is_settled(self, host: &dyn Host) -> bool {
        let Self::Found { changed: (seconds, nanoseconds), .. } = self else { return true };
        let changed = FileTime::from_unix(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        host.now().since(changed).is_none_or(|age| age >= SETTLED)
    }
}

/// The paths of the files `*.conf` in a directory, sorted; none if it does not exist.
fn policy_files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "conf") && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// What is in the file at `path`, and its state; `None` if it does not exist.
fn read(path: &Path, must_be_trusted: bool) -> Result<Option<(Vec<u8>, State)>> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut options = OpenOptions::new();
    // A FIFO does not block.
    let file = match options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC).open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => {
            // A link to nothing is a mistake.
            return if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
                Err(unusable(path, "it is a symbolic link to nothing: correct or remove it"))
            } else {
                Ok(None)
            };
        }
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(unusable(path, "it is not a regular file: replace it by one"));
    }
    if must_be_trusted {
        ensure_trusted(path, &found)?;
    }
    let text = content(&file).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > MAX_FILE) {
        return Err(unusable(path, "it is longer than 1 MiB: shorten it"));
    }
    // Taken after reading, the state shows every change before and during it.
    Ok(Some((text, State::found(&file.metadata().map_err(failed)?))))
}

fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut text)?;
    Ok(text)
}

/// Ensures that only root can have written what was found at `path`.
fn ensure_trusted(path: &Path, found: &Metadata) -> Result<()> {
    if !is_of_root(found.uid()) {
        return Err(unusable(path, "its owner is not root: check what is in it, and run chown root"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(unusable(path, "others than its owner may write to it: check what is in it, and run chmod go-w"));
    }
    Ok(())
}

/// Whether root has this user id. In a user namespace that has no root of its own files, that is what `/` or `/etc` shows.
fn is_of_root(owner: u32) -> bool {
    let shows = |path| fs::metadata(path).is_ok_and(|found| found.uid() == OVERFLOW_UID);
    owner == 0 || owner == OVERFLOW_UID && (shows("/") || shows("/etc"))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let words = error.to_string();
    unusable(
        path,
        &format!(
            "it cannot be read, {}: let this program read it (check its mode, AppArmor and SELinux)",
            Reason(&words)
        ),
    )
}

fn unusable(path: &Path, reason: &str) -> Error {
    PolicyError::BadFile { path: path.display().to_string(), reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use crate::host::tests::Silent;

    use super::*;

    /// A directory with policy files, which root owns; removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        /// `None` where the tests do not run as root: others cannot make such files.
        fn new(name: &str) -> Option<Self> {
            // SAFETY: it only tells who this process is.
            if unsafe { libc::geteuid() } != 0 {
                eprintln!("only root can make policy files for this test: it tests nothing");
                return None;
            }
            let path = std::env::temp_dir().join(format!("gss-ntlm-policy-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("ntlm.conf.d")).unwrap();
            for directory in [&path, &path.join("ntlm.conf.d")] {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
            }
            Some(Self(path))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// Replaces a file by renaming.
        fn write(&self, name: &str, text: &str) {
            fs::write(self.path("new"), text).unwrap();
            self.set_mode("new", 0o644);
            fs::rename(self.path("new"), self.path(name)).unwrap();
        }

        fn set_mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        /// A reading some seconds after now.
        fn take(&self, before: Option<&Reading>, seconds: u64) -> Reading {
            Reading::take(&self.path("ntlm.conf"), None, before, &at(seconds))
        }

        fn error(&self) -> String {
            self.take(None, 10).result.unwrap_err().to_string()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A host some seconds after the end of this second.
    fn at(seconds: u64) -> Silent {
        let now = System.now().since(FileTime::from_unix(0, 0)).unwrap();
        Silent { unix_seconds: now.as_secs() + 1 + seconds, ..Silent::default() }
    }

    const STRICT: &str = "[server]\nrequire-mic = yes\n";
    const LOOSE: &str = "[server]\nrequire-mic = no\n";

    fn requires_mic(reading: &Reading) -> bool {
        let files = reading.result.as_ref().unwrap();
        files.policy(crate::policy::Whom::Acceptor(None), None).unwrap().require_mic
    }

    #[test]
    fn without_a_file_there_is_no_rule() {
        let nowhere = Path::new("/nonexistent/ntlm.conf");
        for path in [nowhere, Path::new("/dev/null/ntlm.conf")] {
            let reading = Reading::take(path, None, None, &at(0));
            assert_eq!(reading.result, Ok(PolicyFiles::default()));
            assert!(reading.is_current(&at(0)));
        }
    }

    #[test]
    fn files_are_read_in_order_and_only_those_called_conf() {
        let Some(directory) = Directory::new("order") else { return };
        directory.write("ntlm.conf", LOOSE);
        directory.write("ntlm.conf.d/b.conf", STRICT);
        directory.write("ntlm.conf.d/a.conf", LOOSE);
        for ignored in ["z", "z.conf~", ".z.conf", "z.conf.dpkg-new"] {
            directory.write(&format!("ntlm.conf.d/{ignored}"), "nonsense");
        }
        let reading = directory.take(None, 10);
        assert!(requires_mic(&reading));
        assert_eq!(reading.result.as_ref().unwrap().system.len(), 3);
        assert!(reading.is_current(&at(10)) && !reading.is_current(&at(0)), "new files may change without a trace");
        assert!(directory.take(Some(&reading), 10) == reading);
    }

    #[test]
    fn what_others_may_write_is_not_used() {
        let Some(directory) = Directory::new("trust") else { return };
        directory.write("ntlm.conf", STRICT);
        directory.write("ntlm.conf.d/a.conf", STRICT);
        for name in ["ntlm.conf", "ntlm.conf.d/a.conf", "ntlm.conf.d", "."] {
            let mode = fs::metadata(directory.path(name)).unwrap().mode();
            for wrong in [mode | 0o020, mode | 0o002] {
                directory.set_mode(name, wrong);
                let error = directory.error();
                assert!(error.contains("others than its owner may write to it"), "{name} {wrong:o}: {error}");
            }
            directory.set_mode(name, mode);
            chown(directory.path(name), Some(1234), None).unwrap();
            let error = directory.error();
            assert!(error.contains("its owner is not root"), "{name}: {error}");
            chown(directory.path(name), Some(OVERFLOW_UID), None).unwrap();
            assert!(directory.error().contains("its owner is not root"), "{name}: root is known here");
            chown(directory.path(name), Some(0), None).unwrap();
        }
        assert!(requires_mic(&directory.take(None, 10)));
        // From a directory that others may write, the file may have been taken away.
        fs::remove_file(directory.path("ntlm.conf.d/a.conf")).unwrap();
        directory.set_mode("ntlm.conf.d", 0o775);
        assert!(directory.error().contains("ntlm.conf.d is not used: others than its owner may write to it"));
    }

    #[test]
    fn what_is_no_file_with_rules_is_not_used() {
        let Some(directory) = Directory::new("kind") else { return };
        let path = directory.path("ntlm.conf");
        symlink("/nonexistent", &path).unwrap();
        assert!(directory.error().contains("a symbolic link to nothing"));
        symlink("ntlm.conf", directory.path("loop")).unwrap();
        fs::rename(directory.path("loop"), &path).unwrap();
        assert!(directory.error().contains("cannot be read"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(directory.error().contains("it is not a regular file"));
        fs::remove_dir(&path).unwrap();
        directory.write("ntlm.conf", &"#\n".repeat(600_000));
        assert!(directory.error().contains("longer than 1 MiB"));
        directory.write("ntlm.conf", "[server]\nrequire-mic = maybe\n");
        assert!(directory.error().contains(&format!("line 2 of the policy file {}", path.display())));
        fs::remove_file(&path).unwrap();
        directory.write("rules", STRICT);
        symlink("rules", &path).unwrap();
        assert!(requires_mic(&directory.take(None, 10)), "a link to a file is in order");
    }

    #[test]
    fn a_change_shows_and_a_file_that_is_gone_stays_in_force() {
        let Some(directory) = Directory::new("change") else { return };
        directory.write("ntlm.conf", STRICT);
        let strict = directory.take(None, 10);
        directory.write("ntlm.conf", "nonsense\n");
        assert!(!strict.is_current(&at(10)));
        let broken = directory.take(Some(&strict), 10);
        assert!(broken.result.is_err() && !broken.is_current(&at(10)), "it is tried again");
        fs::remove_file(directory.path("ntlm.conf")).unwrap();
        let gone = directory.take(Some(&broken), 10);
        assert!(requires_mic(&gone) && gone.is_current(&at(10)));
        assert!(requires_mic(&directory.take(Some(&gone), 10)));
        // Files that are added to it, and their directory.
        directory.write("ntlm.conf.d/a.conf", LOOSE);
        assert!(!gone.is_current(&at(10)));
        let added = directory.take(Some(&gone), 10);
        assert!(!requires_mic(&added));
        fs::remove_dir_all(directory.path("ntlm.conf.d")).unwrap();
        assert!(!added.is_current(&at(10)));
        assert!(!requires_mic(&directory.take(Some(&added), 10)));
        directory.write("ntlm.conf", STRICT);
        assert!(!requires_mic(&directory.take(Some(&added), 10)), "the file that is gone still wins");
    }

    #[test]
    fn a_file_that_is_being_written_does_not_count() {
        let Some(directory) = Directory::new("written") else { return };
        directory.write("ntlm.conf", STRICT);
        let strict = directory.take(None, 10);
        for half in ["", "[server]\nrequire-mic = no", "[server]\nrequire-mic"] {
            fs::write(directory.path("ntlm.conf"), half).unwrap();
            let reading = directory.take(Some(&strict), 0);
            assert!(requires_mic(&reading) && !reading.is_current(&at(0)), "{half}");
            let first = directory.take(None, 0).result.unwrap_err().to_string();
            assert!(first.contains("was just written, and its last line has no end"), "{first}");
        }
        fs::write(directory.path("ntlm.conf"), LOOSE.trim_end()).unwrap();
        assert!(!requires_mic(&directory.take(Some(&strict), 10)));
    }

    #[test]
    fn the_additional_file_may_be_anyones_and_must_exist() {
        let path = std::env::temp_dir().join(format!("gss-ntlm-additional-{}", std::process::id()));
        let take = |before: Option<&Reading>| {
            Reading::take(Path::new("/nonexistent/ntlm.conf"), Some(path.clone()), before, &at(10))
        };
        let missing = take(None).result.unwrap_err().to_string();
        assert!(missing.contains("it does not exist: correct GSS_NTLM_CONFIG"), "{missing}");
        fs::write(&path, STRICT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let reading = take(None);
        assert!(requires_mic(&reading));
        fs::remove_file(&path).unwrap();
        assert!(requires_mic(&take(Some(&reading))));
    }
}
