//! The system's log: what an administrator must learn though no program shows it.
//!
//! Not by syslog(3), which belongs to the program: its name, its facility and its open descriptor are the program's choice, it
//! waits for a log that is busy, and it takes a lock that a child forked from a program with threads could find held.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::net::UnixDatagram,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::text::Escaped;

/// Where syslog daemons and systemd's journal listen.
const SOCKET: &str = "/dev/log";
/// Facility authpriv (10), which not everybody may read, with severity warning (4) and debug (7), as RFC 3164 4.1.1 makes one
/// number of them.
const WARNING: u8 = 10 * 8 + 4;
const DEBUG: u8 = 10 * 8 + 7;
/// The longest message, in bytes, that RFC 5424 6.1 wants everybody to take.
const MAX_MESSAGE: usize = 2048;
/// Ends a message that was longer.
const CUT: &str = "...";

/// What this process has said, and with it the processes that it is forked into.
static LOGGED: LoggedLines = LoggedLines::new();

/// Writes `line` to the system's log, once: see [`crate::host::Host::log`].
pub(super) fn write(line: fmt::Arguments<'_>) {
    LOGGED.log_once(line, Path::new(SOCKET));
}

/// Writes a line of the trace to the system's log.
pub(super) fn trace(line: &str) {
    send(DEBUG, line, Path::new(SOCKET));
}

/// Lines that were said, by their hash; 0 is a free place. There is no lock, for a forked child could find it held.
struct LoggedLines([AtomicU64; Self::MAX]);

impl LoggedLines {
    /// How many different lines are said at most: what comes after them is dropped, so that no cause can flood the log.
    const MAX: usize = 64;

    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Self::MAX])
    }

    /// Writes `line` to the log at `socket` unless that was done before. What did not get there may be said again.
    fn log_once(&self, line: fmt::Arguments<'_>, socket: &Path) {
        let line = line.to_string();
        let Some(place) = self.claim(&line) else { return };
        if !send(WARNING, &line, socket) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// A place for `line`, if it has none yet and there is one left.
    fn claim(&self, line: &str) -> Option<&AtomicU64> {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish().max(1);
        if self.0.iter().any(|place| place.load(Ordering::Relaxed) == hash) {
            return None;
        }
        for place in &self.0 {
            match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(place),
                // Another thread was faster, with the same line.
                Err(other) if other == hash => return None,
                Err(_) => {}
            }
        }
        None
    }
}

/// Sends one message of RFC 3164 and gives whether it is on its way. It waits for nobody, and raises no signal.
///
/// It has no time: who receives it knows that (RFC 3164 4.3.2; systemd's journal, rsyslog and busybox do), and the local time is
/// not to be had without a lock. The socket is not connected, so that what another thread writes to the same number, thinking of
/// a descriptor just closed, goes nowhere.
fn send(priority: u8, line: &str, to: &Path) -> bool {
    let message = format!("<{priority}>gss-ntlm[{}]: {}", std::process::id(), Escaped(line));
    let message = shortened(message);
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(message.as_bytes(), to)
    });
    sent.is_ok()
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let room = MAX_MESSAGE.saturating_sub(CUT.len());
        let end = (0..=room).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push_str(CUT);
    }
    message
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A log of a test's own.
    struct Log {
        path: PathBuf,
        socket: UnixDatagram,
    }

    impl Log {
        fn path(name: &str) -> PathBuf {
            std::env::temp_dir().join(format!("gss-ntlm-log-{name}-{}", std::process::id()))
        }

        fn new(name: &str) -> Self {
            let path = Self::path(name);
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { path, socket }
        }

        fn next(&self) -> Option<String> {
            let mut buffer = [0; 2 * MAX_MESSAGE];
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    #[test]
    fn each_line_is_said_once_by_whatever_thread() {
        let (log, logged) = (Log::new("once"), LoggedLines::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| logged.log_once(format_args!("the same"), &log.path)));
            }
        });
        logged.log_once(format_args!("an{} one", "other"), &log.path);
        let process = std::process::id();
        assert_eq!(log.next(), Some(format!("<84>gss-ntlm[{process}]: the same")));
        assert_eq!(log.next(), Some(format!("<84>gss-ntlm[{process}]: another one")));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn what_did_not_get_there_is_said_later() {
        let (path, logged) = (Log::path("later"), LoggedLines::new());
        logged.log_once(format_args!("nobody listens"), &path);
        let log = Log::new("later");
        logged.log_once(format_args!("nobody listens"), &log.path);
        logged.log_once(format_args!("nobody listens"), &log.path);
        assert!(log.next().unwrap().ends_with("nobody listens"));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn a_log_that_is_busy_is_not_waited_for() {
        let (log, logged) = (Log::new("busy"), LoggedLines::new());
        while send(DEBUG, "fills the queue", &log.path) {}
        logged.log_once(format_args!("one more"), &log.path);
        while log.next().is_some() {}
        logged.log_once(format_args!("one more"), &log.path);
        assert!(log.next().unwrap().ends_with("one more"));
    }

    #[test]
    fn no_more_than_so_many_lines_are_said() {
        let (log, logged) = (Log::new("many"), LoggedLines::new());
        let mut told = 0;
        for number in 0..2 * LoggedLines::MAX {
            logged.log_once(format_args!("line {number}"), &log.path);
            told += usize::from(log.next().is_some());
        }
        assert_eq!(told, LoggedLines::MAX);
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let (log, logged) = (Log::new("long"), LoggedLines::new());
        logged.log_once(format_args!("forged\n<0>kernel: {}", "ä".repeat(MAX_MESSAGE)), &log.path);
        let message = log.next().unwrap();
        assert!(message.contains("forged\\n<0>kernel: ää") && message.ends_with("ä..."), "{message}");
        assert!((MAX_MESSAGE - 1..=MAX_MESSAGE).contains(&message.len()), "{}", message.len());
    }
}
