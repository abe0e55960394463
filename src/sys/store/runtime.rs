//! The directory `gss-ntlm` below `XDG_RUNTIME_DIR`: a file for each value.
//!
//! Only the user may write to XDG_RUNTIME_DIR, which is checked, so nobody else can put something else in the place of what was
//! looked at.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    bytes::{SecretBytes, reserve},
    cred::{Refusal, StoreResult},
};

use super::{MAX_VALUE, MAX_VALUES, Values, no_memory, refused, user};
use crate::sys::{environment, random};

/// What the name of a file begins with that is being written.
const NEW: &str = ".new-";
/// Nobody writes longer.
const WRITTEN: Duration = Duration::from_secs(60);

/// The directory of our files, which may not be there yet.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// That of the user of this process; `None` where XDG_RUNTIME_DIR is not set.
    pub(super) fn of_user() -> Option<StoreResult<Self>> {
        let runtime = environment::variable(c"XDG_RUNTIME_DIR").filter(|path| path.starts_with('/'))?;
        Some(Self::below(Path::new(&runtime)))
    }

    fn below(runtime: &Path) -> StoreResult<Self> {
        let found = fs::metadata(runtime).map_err(|error| refused(&runtime.display().to_string(), &error))?;
        if !found.is_dir() || found.uid() != user() || found.mode() & 0o022 != 0 {
            return Err(Refusal(format!("{} is no directory that only this user may write to", runtime.display())));
        }
        let path = runtime.join("gss-ntlm");
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() && is_private(&found) => Ok(Self(path)),
            Ok(_) => Err(Refusal(format!("{} is no directory of this user alone (mode 0700)", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(path)),
            Err(error) => Err(refused(&path.display().to_string(), &error)),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(file_name(name))
    }

    pub(super) fn values(&self) -> Values {
        let mut values = Vec::new();
        for name in self.names()? {
            if let Some(value) = read(&self.file(&name))? {
                values.push((name, value));
            }
        }
        Ok(values)
    }

    /// The names of all our files, also of those that do not count.
    pub(super) fn names(&self) -> StoreResult<Vec<String>> {
        let files = match fs::read_dir(&self.0) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(refused(&self.0.display().to_string(), &error)),
        };
        let names = files.take(MAX_VALUES).filter_map(Result::ok).map(|file| file.file_name());
        Ok(names.filter_map(|file| file.to_str().and_then(value_name)).collect())
    }

    pub(super) fn put(&self, name: &str, value: &[u8]) -> StoreResult<()> {
        let path = self.file(name);
        self.write(&path, value).map_err(|error| refused(&path.display().to_string(), &error))
    }

    /// Writes a file at one go: who reads it sees the old one or the new one.
    fn write(&self, path: &Path, value: &[u8]) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.remove_leftovers();
        let mut random = [0; 8];
        random::fill(&mut random).map_err(io::Error::other)?;
        let new = self.0.join(format!("{NEW}{:016x}", u64::from_ne_bytes(random)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(value).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
    }

    /// Removes what writers left that were ended in the middle.
    fn remove_leftovers(&self) {
        let files = fs::read_dir(&self.0).into_iter().flatten().filter_map(Result::ok);
        for file in files.filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with(NEW))) {
            let age = file.metadata().and_then(|found| found.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > WRITTEN) {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    pub(super) fn remove(&self, name: &str) -> StoreResult<bool> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(&path.display().to_string(), &error)),
        }
    }
}

/// Whether only the user has rights.
fn is_private(found: &Metadata) -> bool {
    found.uid() == user() && found.mode() & 0o077 == 0
}

/// What is in a file; `None` if it is not a file of this user alone, or cannot be read.
fn read(path: &Path) -> StoreResult<Option<SecretBytes>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return Ok(None) };
    let is_ours = |found: &Metadata| found.is_file() && is_private(found) && found.nlink() == 1;
    if !file.metadata().is_ok_and(|found| is_ours(&found)) {
        return Ok(None);
    }
    let mut value = SecretBytes::default();
    // All the capacity at once, and a byte more than may be used, without which the reader would ask for more.
    reserve(&mut value, MAX_VALUE.saturating_add(32)).map_err(no_memory)?;
    let limit = u64::try_from(MAX_VALUE).unwrap_or(u64::MAX);
    let is_read = File::take(file, limit).read_to_end(&mut value).is_ok();
    Ok(Some(value).filter(|_| is_read))
}

/// The name of a file for a value: every byte but letters, digits and a few others is `%XX`.
fn file_name(name: &str) -> String {
    let mut file = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b':') {
            file.push(byte.into());
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    file
}

/// The name of the value in a file; `None` if it is no file of ours.
fn value_name(file: &str) -> Option<String> {
    let mut parts = file.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    // A file has one name, so a value is in one file.
    String::from_utf8(name).ok().filter(|name| !file.starts_with('.') && file_name(name) == file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A runtime directory that is removed in the end.
    struct Runtime(PathBuf);

    impl Runtime {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gss-ntlm-runtime-{name}-{}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }

        fn directory(&self) -> StoreResult<Directory> {
            Directory::below(&self.0)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> =
                self.directory().unwrap().values().unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        }
    }

    impl Drop for Runtime {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_value_comes_back_and_goes() {
        let runtime = Runtime::new("values");
        let directory = runtime.directory().unwrap();
        assert!(directory.values().unwrap().is_empty(), "there is no directory yet");
        for name in ["HTTP/*.corp", "*", "a%2Fb", "\u{fc}", "[::1]"] {
            directory.put(name, b"first").unwrap();
            directory.put(name, name.as_bytes()).unwrap();
        }
        let mut values = directory.values().unwrap();
        values.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(values.iter().all(|(name, value)| name.as_bytes() == &***value));
        assert_eq!(runtime.names(), ["*", "HTTP/*.corp", "[::1]", "a%2Fb", "\u{fc}"]);
        let modes: Vec<_> =
            fs::read_dir(&directory.0).unwrap().map(|file| file.unwrap().metadata().unwrap().mode() & 0o777).collect();
        assert!(modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
        assert_eq!(fs::metadata(&directory.0).unwrap().mode() & 0o777, 0o700);
        assert_eq!([directory.remove("*"), directory.remove("*")], [Ok(true), Ok(false)]);
        assert_eq!(runtime.names().len(), 4);
        assert!(directory.put("../outside", b"x").is_ok() && !runtime.0.join("outside").exists());
        assert!(directory.put(&"x".repeat(300), b"x").is_err(), "no file has so long a name");
    }

    #[test]
    fn only_what_is_the_users_alone_counts() {
        let runtime = Runtime::new("foreign");
        let directory = runtime.directory().unwrap();
        for name in ["good", "readable", "linked", "directory", "long"] {
            directory.put(name, name.as_bytes()).unwrap();
        }
        let at = |name: &str| directory.file(name);
        set_mode(&at("readable"), 0o640);
        fs::hard_link(at("linked"), runtime.0.join("elsewhere")).unwrap();
        symlink(at("good"), at("link")).unwrap();
        fs::remove_file(at("directory")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        fs::write(at("%zz"), "x").unwrap();
        fs::write(directory.0.join(".new-1"), "x").unwrap();
        fs::write(at("long"), vec![b'x'; MAX_VALUE * 2]).unwrap();
        let values = directory.values().unwrap();
        let lens: Vec<_> = values.iter().map(|(name, value)| (&**name, value.len())).collect();
        assert!(lens.contains(&("good", 4)), "{lens:?}");
        assert!(lens.iter().all(|(name, len)| ["good", "long", "%zz"].contains(name) && *len <= MAX_VALUE), "{lens:?}");
    }

    #[test]
    fn refuses_a_directory_that_others_may_change() {
        let runtime = Runtime::new("modes");
        let refused = || runtime.directory().map(drop).unwrap_err().0;
        set_mode(&runtime.0, 0o770);
        assert!(refused().contains("only this user may write"), "{}", refused());
        set_mode(&runtime.0, 0o700);
        let own = runtime.0.join("gss-ntlm");
        for mode in [0o755, 0o710] {
            DirBuilder::new().mode(0o700).create(&own).unwrap();
            set_mode(&own, mode);
            assert!(refused().contains("mode 0700"), "{}", refused());
            fs::remove_dir(&own).unwrap();
        }
        fs::write(&own, "").unwrap();
        assert!(refused().contains("mode 0700"));
        fs::remove_file(&own).unwrap();
        fs::create_dir(runtime.0.join("real")).unwrap();
        symlink(runtime.0.join("real"), &own).unwrap();
        assert!(refused().contains("mode 0700"));
        let nowhere = Directory::below(&runtime.0.join("missing")).map(drop).unwrap_err().0;
        assert!(nowhere.contains("No such file"), "{nowhere}");
        assert!(Directory::below(Path::new("/dev/null")).is_err());
        if user() == 0 {
            std::os::unix::fs::chown(&runtime.0, Some(1), None).unwrap();
            assert!(refused().contains("only this user may write"));
        }
    }
}
