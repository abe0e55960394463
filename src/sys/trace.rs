//! The trace: one line for each step, in the file that GSSNTLMSSP_DEBUG or the application names.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::{host::Host, text::OneLine};

/// Written to by all who read it, each line at once: a child forked from a program with threads must not wait for one that it
/// does not have.
static SINK: RwLock<Option<File>> = RwLock::new(None);
/// Spares the lock where the trace is off, which is nearly always.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// Traces into the file at `path` from now on; an empty path stops it. Gives whether that worked: if not, nothing changes.
///
/// The file is appended to, made with mode 0600 if need be, and never a symbolic link.
pub(crate) fn trace_to(path: &str) -> bool {
    let file = open(path);
    let is_done = file.is_some() || path.is_empty();
    if is_done {
        set(file);
    }
    is_done
}

pub(super) fn write(host: &dyn Host, line: fmt::Arguments<'_>) {
    match STATE.load(Ordering::Acquire) {
        OFF => return,
        UNKNOWN => set(open(&host.variable("GSSNTLMSSP_DEBUG").unwrap_or_default())),
        _ => {}
    }
    let line = format!("{} [{}] {}\n", Seconds(host.now().0), std::process::id(), OneLine(&line.to_string()));
    if let Some(mut file) = SINK.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
        // A trace that cannot be written must not fail what it tells about.
        let _ = file.write_all(line.as_bytes());
    }
}

fn open(path: &str) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path).ok()
}

fn set(file: Option<File>) {
    let mut sink = SINK.write().unwrap_or_else(PoisonError::into_inner);
    STATE.store(if file.is_some() { ON } else { OFF }, Ordering::Release);
    *sink = file;
}

/// A FILETIME as seconds since 1970 and their milliseconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.div_euclid(10_000).saturating_sub(11_644_473_600_000);
        write!(f, "{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
    }
}
