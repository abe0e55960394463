//! The system's log, for what an administrator must learn though no program shows it.
//!
//! We do not use syslog(3). It belongs to the program, which chooses its name, its facility and its descriptor; it waits if the
//! log is busy; and it takes a lock that may be held for ever in a child forked from a program with threads.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::net::UnixDatagram,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::text::Escaped;

/// The socket of syslog daemons and of systemd's journal.
const SOCKET: &str = "/dev/log";
/// Facility authpriv (10), whose messages only some users may read, with severity warning (4) or debug (7): RFC 3164 4.1.1.
const WARNING: u8 = 10 * 8 + 4;
const DEBUG: u8 = 10 * 8 + 7;
/// The longest message, in bytes, that every receiver should accept (RFC 5424 6.1).
const MAX_MESSAGE: usize = 2048;
/// The end of a message that was cut.
const CUT: &str = "...";

/// The lines that this process has logged. Children that it forks start with the same.
static LOGGED: LoggedLines = LoggedLines::new();

/// Writes `line` to the system's log, once per process: see [`crate::host::Host::log`].
pub(super) fn write(line: fmt::Arguments<'_>) {
    LOGGED.log_once(line, Path::new(SOCKET));
}

/// Writes a line of the trace to the system's log.
pub(super) fn trace(line: &str) {
    send(DEBUG, line, Path::new(SOCKET));
}

/// The hashes of the lines that were logged; 0 is a free place. There is no lock, which a forked child could find held.
struct LoggedLines([AtomicU64; Self::MAX]);

impl LoggedLines {
    /// How many different lines are logged at most. Later ones are dropped, so that nothing can flood the log.
    const MAX: usize = 64;

    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Self::MAX])
    }

    /// Writes `line` to the log at `socket` unless it is there already. A line that could not be sent is tried again next time.
    fn log_once(&self, line: fmt::Arguments<'_>, socket: &Path) {
        let line = line.to_string();
        let Some(place) = self.claim(&line) else { return };
        if !send(WARNING, &line, socket) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// A place for `line`, or `None` if the line has a place already or all places are taken.
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
                // Another thread logs the same line at this moment.
                Err(other) if other == hash => return None,
                Err(_) => {}
            }
        }
        None
    }
}

/// Sends one message of RFC 3164 and says whether it was sent. It does not wait, and raises no signal.
///
/// The message has no time: the receiver adds it (RFC 3164 4.3.2; systemd's journal, rsyslog and busybox do), and the C library
/// takes a lock to tell the local time. The socket is opened for one message, and not connected: if another thread writes to the
/// same number because it was a descriptor of its own just before, those bytes go nowhere.
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

    /// A log that belongs to one test.
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
    fn each_line_is_logged_once_whichever_thread_logs_it() {
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
    fn a_line_that_could_not_be_sent_is_logged_later() {
        let (path, logged) = (Log::path("later"), LoggedLines::new());
        logged.log_once(format_args!("no log is there"), &path);
        let log = Log::new("later");
        logged.log_once(format_args!("no log is there"), &log.path);
        logged.log_once(format_args!("no log is there"), &log.path);
        assert!(log.next().unwrap().ends_with("no log is there"));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn a_busy_log_does_not_make_us_wait() {
        let (log, logged) = (Log::new("busy"), LoggedLines::new());
        while send(DEBUG, "fills the queue", &log.path) {}
        logged.log_once(format_args!("one more"), &log.path);
        while log.next().is_some() {}
        logged.log_once(format_args!("one more"), &log.path);
        assert!(log.next().unwrap().ends_with("one more"));
    }

    #[test]
    fn the_number_of_lines_is_limited() {
        let (log, logged) = (Log::new("many"), LoggedLines::new());
        let mut received = 0;
        for number in 0..2 * LoggedLines::MAX {
            logged.log_once(format_args!("line {number}"), &log.path);
            received += usize::from(log.next().is_some());
        }
        assert_eq!(received, LoggedLines::MAX);
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
