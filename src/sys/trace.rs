//! The trace: one line for each step, in the file that GSSNTLMSSP_DEBUG or the application names.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::host::Host;

static SINK: Mutex<Option<File>> = Mutex::new(None);
/// Spares the lock where the trace is off, which is nearly always.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// Traces into the file at `path` from now on; an empty path stops it. Gives whether that worked.
///
/// The file is appended to, made with mode 0600 if need be, and never a symbolic link.
pub(crate) fn trace_to(path: &str) -> bool {
    let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
    set(&mut sink, path)
}

pub(super) fn write(host: &dyn Host, line: fmt::Arguments<'_>) {
    if STATE.load(Ordering::Acquire) == OFF {
        return;
    }
    let mut line = one_line(&format!("{} [{}] {line}", Seconds(host.now().0), std::process::id()));
    line.push('\n');
    let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
    if STATE.load(Ordering::Acquire) == UNKNOWN {
        set(&mut sink, &host.variable("GSSNTLMSSP_DEBUG").unwrap_or_default());
    }
    if let Some(file) = sink.as_mut() {
        // A trace that cannot be written must not fail what it tells about.
        let _ = file.write_all(line.as_bytes());
    }
}

fn set(sink: &mut Option<File>, path: &str) -> bool {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    *sink = if path.is_empty() {
        None
    } else {
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path).ok()
    };
    STATE.store(if sink.is_some() { ON } else { OFF }, Ordering::Release);
    sink.is_some() || path.is_empty()
}

/// `text` without its line breaks and other control characters: what a peer says must not look like a line of ours.
fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len().saturating_add(1)), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_stays_on_its_line() {
        assert_eq!(one_line("target HTTP/x\n1.000 [1] forged\u{85}"), "target HTTP/x\\n1.000 [1] forged\\u{85}");
    }
}
