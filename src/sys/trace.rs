//! The trace: one line for each step, to where GSSNTLMSSP_DEBUG or the application says.

use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        RwLock, TryLockError, TryLockResult,
        atomic::{AtomicU8, Ordering},
    },
};

use super::{
    descriptor::{KeptFile, StandardError},
    log,
    signal::without_signals_of_writing,
};
use crate::{
    bytes,
    error::{ApiMisuse, Reason, Result},
    host::Host,
    text::Escaped,
};

/// The trace of this process.
static TRACE: Trace = Trace::new();

/// Traces to `place` from now on; an empty one stops the trace.
///
/// `stderr` and `syslog` are what they say. Anything else is the path of a file: a regular file or a character device, and no
/// symbolic link. Lines are appended to it; a new file gets mode 0600.
///
/// # Errors
/// [`ApiMisuse::BadTrace`], and then nothing changes; the system's log has the reason.
pub(crate) fn trace_to(place: &str, host: &dyn Host) -> Result<()> {
    TRACE.go_to(place, host)
}

/// Writes one line to where the trace goes: see [`Host::trace`].
pub(super) fn write(host: &dyn Host, line: fmt::Arguments<'_>) {
    TRACE.write(host, line);
}

/// Where lines go, and whether that is known yet.
struct Trace {
    /// A child forked from a program with threads may find this locked by a thread that it does not have, so no call waits for
    /// it long.
    sink: RwLock<Option<Sink>>,
    /// Spares the lock where the trace is off, which is nearly always. Changes only under the lock.
    state: AtomicU8,
}

impl Trace {
    const UNKNOWN: u8 = 0;
    const OFF: u8 = 1;
    const ON: u8 = 2;

    const fn new() -> Self {
        Self { sink: RwLock::new(None), state: AtomicU8::new(Self::UNKNOWN) }
    }

    fn go_to(&self, place: &str, host: &dyn Host) -> Result<()> {
        let sink = if place.is_empty() { None } else { Some(Sink::open(place, host).ok_or(ApiMisuse::BadTrace)?) };
        if self.replace(sink, |_| true) { Ok(()) } else { Err(ApiMisuse::BadTrace.into()) }
    }

    fn write(&self, host: &dyn Host, line: fmt::Arguments<'_>) {
        match self.state.load(Ordering::Acquire) {
            Self::OFF => return,
            Self::UNKNOWN => self.begin(host),
            _ => {}
        }
        // Where there is no memory for the line, it is lost.
        let Ok(text) = bytes::display(line) else { return };
        let entry = format_args!("{} [{}] {}\n", Seconds(host.now().0), std::process::id(), Escaped(&text));
        let Ok(entry) = bytes::display(entry) else { return };
        // A trace that cannot be written must not fail the call that it tells about.
        let lost = match attempt(|| self.sink.try_read()).as_deref() {
            Some(Some(Sink::File { path, kept })) => match kept.file() {
                Some(file) => return append(file, &entry),
                None => path.clone(),
            },
            Some(Some(Sink::StandardError(standard_error))) => return standard_error.write(entry.as_bytes()),
            Some(Some(Sink::Log)) => return log::trace(&text),
            Some(None) | None => return,
        };
        // The program has closed the file, and its descriptor may be another file now.
        if let Some(kept) = open(&lost, host) {
            if let Some(file) = kept.file() {
                append(file, &entry);
            }
            self.put_back(lost, kept);
        }
    }

    /// Traces to where GSSNTLMSSP_DEBUG says, unless the application or another thread has chosen a place meanwhile.
    fn begin(&self, host: &dyn Host) {
        let place = host.variable("GSSNTLMSSP_DEBUG").filter(|place| !place.is_empty());
        let sink = place.and_then(|place| Sink::open(&place, host));
        self.replace(sink, |_| self.state.load(Ordering::Acquire) == Self::UNKNOWN);
    }

    /// Keeps the file at `path`, which was opened again, unless the trace goes elsewhere meanwhile.
    fn put_back(&self, path: PathBuf, kept: KeptFile) {
        let is_lost = |sink: Option<&Sink>| matches!(sink, Some(Sink::File { path: lost, kept }) if *lost == path && kept.file().is_none());
        self.replace(Some(Sink::File { path: path.clone(), kept }), is_lost);
    }

    /// Puts `sink` in the place of the one before if `is_right` says so of that one. False if the lock is not to be had.
    fn replace(&self, sink: Option<Sink>, is_right: impl FnOnce(Option<&Sink>) -> bool) -> bool {
        let Some(mut place) = attempt(|| self.sink.try_write()) else { return false };
        if !is_right(place.as_ref()) {
            return true;
        }
        self.state.store(if sink.is_some() { Self::ON } else { Self::OFF }, Ordering::Release);
        let before = core::mem::replace(&mut *place, sink);
        // To close a file takes time: the lock is free meanwhile.
        drop(place);
        drop(before);
        true
    }
}

/// Takes a lock that is held for some instructions only, if it becomes free.
fn attempt<T>(lock: impl Fn() -> TryLockResult<T>) -> Option<T> {
    const ATTEMPTS: u32 = 1000;
    (0..ATTEMPTS).find_map(|_| match lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {
            std::thread::yield_now();
            None
        }
    })
}

/// Where a trace can go.
enum Sink {
    File { path: PathBuf, kept: KeptFile },
    StandardError(StandardError),
    Log,
}

impl Sink {
    fn open(place: &str, host: &dyn Host) -> Option<Self> {
        match place {
            "syslog" => Some(Self::Log),
            "stderr" => {
                let standard_error = StandardError::now();
                if standard_error.is_none() {
                    host.log(format_args!(
                        "The trace cannot go to stderr, which is closed: name a file (GSSNTLMSSP_DEBUG)"
                    ));
                }
                standard_error.map(Self::StandardError)
            }
            path => {
                // It may have to be opened again, and the program may have another working directory by then.
                let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
                open(&path, host).map(|kept| Self::File { path, kept })
            }
        }
    }
}

fn append(mut file: &File, entry: &str) {
    let _ = without_signals_of_writing(|| file.write_all(entry.as_bytes()));
}

/// Opens a trace file; if that fails, the system's log tells why.
fn open(path: &Path, host: &dyn Host) -> Option<KeptFile> {
    let opened = try_to_open(path);
    if let Err(error) = &opened {
        host.log(format_args!(
            "The trace file {} cannot be opened, {}: name a file that this program may write (GSSNTLMSSP_DEBUG)",
            path.display(),
            Reason(&error.to_string())
        ));
    }
    opened.ok()
}

fn try_to_open(path: &Path) -> io::Result<KeptFile> {
    // To open a FIFO or a device may have effects of its own, so it is refused before. The check is repeated on what was opened.
    if let Ok(found) = path.metadata() {
        ensure_writable_kind(&found)?;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    ensure_writable_kind(&file.metadata()?)?;
    KeptFile::new(file)
}

fn ensure_writable_kind(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    if kind.is_file() || kind.is_char_device() {
        return Ok(());
    }
    Err(io::Error::other("it is neither a regular file nor a character device"))
}

/// A FILETIME as seconds since 1970 and their milliseconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.div_euclid(10_000).saturating_sub(11_644_473_600_000);
        write!(f, "{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use crate::host::{FileTime, LocalNames};

    use super::*;

    /// A directory of a test's own.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gss-ntlm-trace-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn place(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }

        fn lines(&self, name: &str) -> usize {
            std::fs::read_to_string(self.0.join(name)).map_or(0, |text| text.lines().count())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A host that names a trace file, and in which the application names `other` at the same time.
    struct Racing<'a> {
        trace: &'a Trace,
        variable: String,
        other: String,
    }

    impl Host for Racing<'_> {
        fn now(&self) -> FileTime {
            FileTime(0)
        }

        fn random(&self, _: &mut [u8]) -> Result<()> {
            Ok(())
        }

        fn names(&self) -> LocalNames {
            LocalNames::default()
        }

        fn version(&self) -> [u8; 8] {
            [0; 8]
        }

        fn variable(&self, _: &'static str) -> Option<String> {
            self.trace.go_to(&self.other, self).unwrap();
            Some(self.variable.clone())
        }

        fn trace(&self, _: fmt::Arguments<'_>) {}
    }

    #[test]
    fn the_place_that_the_application_chooses_during_the_first_line_stays() {
        for (other, expected) in [("chosen", 1), ("", 0)] {
            let (directory, trace) = (Directory::new("race"), Trace::new());
            let other = if other.is_empty() { String::new() } else { directory.place(other) };
            let host = Racing { trace: &trace, variable: directory.place("variable"), other };
            trace.write(&host, format_args!("the first line"));
            assert_eq!((directory.lines("chosen"), directory.lines("variable")), (expected, 0));
        }
    }

    #[test]
    fn a_file_that_was_opened_again_takes_no_other_place() {
        let (directory, trace) = (Directory::new("again"), Trace::new());
        let host = crate::host::tests::Silent::default();
        let [lost, chosen] = ["lost", "chosen"].map(|name| directory.place(name));
        let opened_again = || open(Path::new(&lost), &host).unwrap();
        for place in [&*chosen, ""] {
            trace.go_to(place, &host).unwrap();
            trace.put_back(PathBuf::from(&lost), opened_again());
            trace.write(&host, format_args!("a line"));
        }
        assert_eq!((directory.lines("lost"), directory.lines("chosen")), (0, 1));
    }
}
