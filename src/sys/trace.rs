//! The trace: one line for each step, to where GSSNTLMSSP_DEBUG or the application says.

use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        RwLock, RwLockReadGuard, TryLockError, TryLockResult,
        atomic::{AtomicU8, Ordering},
    },
};

use super::{
    descriptor::{Kept, StandardError},
    log,
    signal::without_signals_of_writing,
};
use crate::{
    error::{ApiMisuse, Reason, Result},
    host::Host,
    text::OneLine,
};

/// Where lines go. A child forked from a program with threads may find it locked by one that it does not have: nobody waits
/// for it long.
static SINK: RwLock<Option<Sink>> = RwLock::new(None);
/// Spares the lock where the trace is off, which is nearly always.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// How often a lock is tried that is held for some instructions only.
const PATIENCE: u32 = 1000;

/// Where a trace can go.
enum Sink {
    File { path: PathBuf, kept: Kept },
    StandardError(StandardError),
    Log,
}

/// Traces to `place` from now on; an empty one stops it.
///
/// `stderr` and `syslog` are what they say. Anything else is the path of a file, which is appended to, and made with mode 0600
/// if need be: a regular file or a character device, and no symbolic link.
///
/// # Errors
/// [`ApiMisuse::BadTrace`], and then nothing changes; the system's log has the reason.
pub(crate) fn trace_to(place: &str, host: &dyn Host) -> Result<()> {
    let sink = if place.is_empty() { None } else { Some(Sink::open(place, host).ok_or(ApiMisuse::BadTrace)?) };
    if set(sink) { Ok(()) } else { Err(ApiMisuse::BadTrace.into()) }
}

pub(super) fn write(host: &dyn Host, line: fmt::Arguments<'_>) {
    match STATE.load(Ordering::Acquire) {
        OFF => return,
        UNKNOWN => {
            let place = host.variable("GSSNTLMSSP_DEBUG").filter(|place| !place.is_empty());
            set(place.and_then(|place| Sink::open(&place, host)));
        }
        _ => {}
    }
    let text = line.to_string();
    let entry = || format!("{} [{}] {}\n", Seconds(host.now().0), std::process::id(), OneLine(&text));
    // A trace that cannot be written must not fail what it tells about.
    let lost = match sink().as_deref() {
        Some(Some(Sink::File { path, kept })) => match kept.file() {
            Some(file) => return append(file, &entry()),
            None => path.clone(),
        },
        Some(Some(Sink::StandardError(standard_error))) => return standard_error.write(entry().as_bytes()),
        Some(Some(Sink::Log)) => return log::trace(&text),
        Some(None) | None => return,
    };
    // The program has closed the file, and perhaps opened another one by the same number.
    if let Some(kept) = open(&lost, host) {
        if let Some(file) = kept.file() {
            append(file, &entry());
        }
        set(Some(Sink::File { path: lost, kept }));
    }
}

fn append(mut file: &File, entry: &str) {
    let _ = without_signals_of_writing(|| file.write_all(entry.as_bytes()));
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
                // It may have to be opened anew, and the program may be elsewhere by then.
                let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
                open(&path, host).map(|kept| Self::File { path, kept })
            }
        }
    }
}

/// Opens a trace file; if that fails the system's log tells why.
fn open(path: &Path, host: &dyn Host) -> Option<Kept> {
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

fn try_to_open(path: &Path) -> io::Result<Kept> {
    let refuse_others = |found: &Metadata| {
        let kind = found.file_type();
        if kind.is_file() || kind.is_char_device() {
            return Ok(());
        }
        Err(io::Error::other("it is neither a regular file nor a character device"))
    };
    // To open one that is neither may mean something to others. What was opened is looked at again.
    if let Ok(found) = path.symlink_metadata() {
        refuse_others(&found)?;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    refuse_others(&file.metadata()?)?;
    Kept::new(file)
}

fn set(sink: Option<Sink>) -> bool {
    let Some(mut place) = soon(|| SINK.try_write()) else { return false };
    STATE.store(if sink.is_some() { ON } else { OFF }, Ordering::Release);
    let before = core::mem::replace(&mut *place, sink);
    // A file takes its time to close.
    drop(place);
    drop(before);
    true
}

fn sink() -> Option<RwLockReadGuard<'static, Option<Sink>>> {
    soon(|| SINK.try_read())
}

/// A lock that is free soon, or never.
fn soon<T>(lock: impl Fn() -> TryLockResult<T>) -> Option<T> {
    (0..PATIENCE).find_map(|_| match lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {
            std::thread::yield_now();
            None
        }
    })
}

/// A FILETIME as seconds since 1970 and their milliseconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.div_euclid(10_000).saturating_sub(11_644_473_600_000);
        write!(f, "{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
    }
}
