//! The system's log, for what an administrator must learn though no program shows it: systemd's journal or, where there is none,
//! a syslog daemon.
//!
//! We do not use syslog(3). It belongs to the program, which chooses its name, its facility and its descriptor; it waits if the
//! log is busy; and it takes a lock that may be held for ever in a child forked from a program with threads. Nor do we keep a
//! descriptor: the program could close it, and open something else in its place.

mod entry;
mod limit;

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::net::UnixDatagram,
    sync::atomic::{AtomicU64, Ordering},
};

use self::{
    entry::{DEBUG, Entry, INFO, WARNING, message_of},
    limit::{Dropped, Limits, PER_SECOND},
};
use super::{monotonic, once_box::OnceBox};
use crate::{
    audit::{AuditEvent, Kind, Value},
    bytes,
};

/// The sockets of this system.
const SOCKETS: Sockets<'_> = Sockets { journal: "/run/systemd/journal/socket", syslog: "/dev/log" };

/// The lines that this process has logged. Children that it forks start with the same.
static LOGGED: LoggedLines = LoggedLines::new();
/// The lines about handshakes.
static LIMITS: Limits = Limits::new();

/// MESSAGE_ID of the lines for what an administrator must repair.
const TO_REPAIR: &str = "474451a6eaed4f1cb8316be6a7431dec";
/// MESSAGE_ID of the lines about what was dropped.
const LINES_DROPPED: &str = "13649a72f058466ab06b5d8ea2256944";

/// Writes `line` to the system's log, once per process: see [`crate::host::Host::log`].
pub(super) fn write(line: fmt::Arguments<'_>) {
    LOGGED.log_once(line, SOCKETS);
}

/// Writes a line of the trace to the system's log.
pub(super) fn trace(line: &str) {
    SOCKETS.send(&Entry { severity: DEBUG, message_id: None, message: line, fields: &[] });
}

/// See [`crate::host::Host::may_audit`].
pub(super) fn may_audit(kind: Kind) -> bool {
    may_audit_in(monotonic().as_secs(), kind, &LIMITS, SOCKETS)
}

/// See [`crate::host::Host::audit`].
pub(super) fn audit(event: &AuditEvent) {
    audit_to(event, &LIMITS, SOCKETS);
}

fn may_audit_in(second: u64, kind: Kind, limits: &Limits, sockets: Sockets<'_>) -> bool {
    let verdict = limits.ask(kind.is_failure(), second);
    if verdict.is_time_to_tell
        && let Some(dropped) = limits.take_dropped()
        && !tell_of(dropped, sockets)
    {
        limits.put_back(dropped);
    }
    verdict.is_granted
}

fn audit_to(event: &AuditEvent, limits: &Limits, sockets: Sockets<'_>) {
    let is_failure = event.kind.is_failure();
    let mut fields = event.fields();
    fields.insert(fields.len().min(3), ("program", Value::Text(program().into())));
    let entry = Entry {
        severity: if is_failure { WARNING } else { INFO },
        message_id: Some(event.kind.message_id()),
        message: &message_of(event, &fields),
        fields: &fields,
    };
    if !sockets.send(&entry) {
        limits.count_lost(is_failure);
    }
}

/// Tells how many lines were dropped. False if this line could not be sent either.
fn tell_of(Dropped { failures, successes }: Dropped, sockets: Sockets<'_>) -> bool {
    let message = format!(
        "NTLM: {} dropped {failures} lines about failures and {successes} about successes: there may be {PER_SECOND} of each \
         in a second, and the log must take them",
        program()
    );
    let fields = [
        ("event", Value::Word("lines-dropped")),
        ("dropped_failures", Value::Text(failures.to_string().into())),
        ("dropped_successes", Value::Text(successes.to_string().into())),
        ("program", Value::Text(program().into())),
    ];
    sockets.send(&Entry { severity: WARNING, message_id: Some(LINES_DROPPED), message: &message, fields: &fields })
}

/// The program that this process runs; a forked child runs the same.
fn program() -> &'static str {
    static PROGRAM: OnceBox<String> = OnceBox::new();
    PROGRAM.get_or_init(|| {
        let path = std::fs::read_link("/proc/self/exe").map(|path| path.to_string_lossy().into_owned());
        // There is no /proc in some jails.
        let name = || std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
        path.ok().or_else(name).unwrap_or_else(|| "?".to_owned())
    })
}

/// Where entries go.
#[derive(Clone, Copy)]
struct Sockets<'a> {
    journal: &'a str,
    syslog: &'a str,
}

impl Sockets<'_> {
    /// Sends one entry to the journal or, if there is none for this process, to the syslog daemon, and says whether it was sent.
    /// It does not wait, and raises no signal.
    ///
    /// The socket is opened for one entry, and not connected: if another thread writes to the same number because it was a
    /// descriptor of its own just before, those bytes go nowhere.
    fn send(self, entry: &Entry<'_>) -> bool {
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            match socket.send_to(&entry.for_journal(), self.journal) {
                // The same daemon would be too busy for the other socket.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    socket.send_to(entry.for_syslog().as_bytes(), self.syslog)
                }
                sent => sent,
            }
        });
        sent.is_ok()
    }
}

/// The hashes of the lines that were logged; 0 is a free place. There is no lock, which a forked child could find held.
struct LoggedLines([AtomicU64; Self::MAX]);

impl LoggedLines {
    /// How many different lines are logged at most. Later ones are dropped, so that nothing can flood the log.
    const MAX: usize = 64;

    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Self::MAX])
    }

    /// Writes `line` to the log unless it is there already. A line that could not be sent is tried again next time.
    fn log_once(&self, line: fmt::Arguments<'_>, sockets: Sockets<'_>) {
        let Ok(line) = bytes::display(line) else { return };
        let Some(place) = self.claim(&line) else { return };
        let entry = Entry { severity: WARNING, message_id: Some(TO_REPAIR), message: &line, fields: &[] };
        if !sockets.send(&entry) {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::{
        audit::{Mic, Why},
        error::{LogonFault, PeerMisbehaved},
    };

    use super::{entry::MAX_MESSAGE, *};

    /// A journal and a syslog daemon that belong to one test.
    struct Log {
        journal: Option<Receiver>,
        syslog: Receiver,
    }

    /// A socket, and where it is.
    struct Receiver {
        path: PathBuf,
        socket: UnixDatagram,
    }

    impl Receiver {
        fn new(path: PathBuf) -> Self {
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { path, socket }
        }

        fn next(&self) -> Option<Vec<u8>> {
            let mut buffer = vec![0; 1 << 18];
            let len = self.socket.recv(&mut buffer).ok()?;
            buffer.truncate(len);
            Some(buffer)
        }
    }

    impl Drop for Receiver {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("gss-ntlm-log-{name}-{}", std::process::id()))
    }

    impl Log {
        /// A syslog daemon without a journal.
        fn new(name: &str) -> Self {
            Self { journal: None, syslog: Receiver::new(path(name)) }
        }

        fn with_journal(name: &str) -> Self {
            Self { journal: Some(Receiver::new(path(&format!("{name}-journal")))), ..Self::new(name) }
        }

        fn sockets(&self) -> Sockets<'_> {
            let journal =
                self.journal.as_ref().map_or("/nonexistent/journal", |journal| journal.path.to_str().unwrap());
            Sockets { journal, syslog: self.syslog.path.to_str().unwrap() }
        }

        fn next(&self) -> Option<String> {
            self.syslog.next().map(|line| String::from_utf8(line).unwrap())
        }

        fn next_entry(&self) -> Option<Vec<(String, String)>> {
            self.journal.as_ref().unwrap().next().map(|datagram| parse(&datagram))
        }
    }

    /// The fields of a datagram, as the journal's documentation of its native protocol says.
    fn parse(mut rest: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'=')).unwrap();
            let (name, behind) = rest.split_at(end);
            assert_eq!(behind[0], b'\n', "every value has its length before it");
            let (length, behind) = behind[1..].split_first_chunk().unwrap();
            let (value, behind) = behind.split_at(u64::from_le_bytes(*length).try_into().unwrap());
            assert_eq!(behind[0], b'\n');
            fields.push([name, value].map(|part| String::from_utf8(part.to_vec()).unwrap()).into());
            rest = &behind[1..];
        }
        fields
    }

    fn nowhere() -> Sockets<'static> {
        Sockets { journal: "/nonexistent/journal", syslog: "/nonexistent/syslog" }
    }

    /// Asks for a line and writes it.
    fn audit_in(second: u64, event: &AuditEvent, limits: &Limits, sockets: Sockets<'_>) -> bool {
        let may = may_audit_in(second, event.kind, limits, sockets);
        if may {
            audit_to(event, limits, sockets);
        }
        may
    }

    fn refused() -> AuditEvent {
        AuditEvent {
            error: Some(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()),
            account: Some("alice".to_owned()),
            domain: Some("DOM".to_owned()),
            mic: Some(Mic::None),
            why: Why::Explicit,
            ..AuditEvent::new(Kind::ServerRefused)
        }
    }

    #[test]
    fn each_line_is_logged_once_whichever_thread_logs_it() {
        let (log, logged) = (Log::new("once"), LoggedLines::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| logged.log_once(format_args!("the same"), log.sockets())));
            }
        });
        logged.log_once(format_args!("an{} one", "other"), log.sockets());
        let process = std::process::id();
        assert_eq!(log.next(), Some(format!("<84>gss-ntlm[{process}]: the same")));
        assert_eq!(log.next(), Some(format!("<84>gss-ntlm[{process}]: another one")));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn a_line_that_could_not_be_sent_is_logged_later() {
        let logged = LoggedLines::new();
        logged.log_once(format_args!("no log is there"), nowhere());
        let log = Log::new("later");
        logged.log_once(format_args!("no log is there"), log.sockets());
        logged.log_once(format_args!("no log is there"), log.sockets());
        assert!(log.next().unwrap().ends_with("no log is there"));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn a_busy_log_does_not_make_us_wait() {
        let (log, logged) = (Log::new("busy"), LoggedLines::new());
        let filler = Entry { severity: DEBUG, message_id: None, message: "fills the queue", fields: &[] };
        while log.sockets().send(&filler) {}
        logged.log_once(format_args!("one more"), log.sockets());
        while log.next().is_some() {}
        logged.log_once(format_args!("one more"), log.sockets());
        assert!(log.next().unwrap().ends_with("one more"));
    }

    #[test]
    fn a_busy_journal_does_not_pass_its_lines_to_syslog() {
        let log = Log::with_journal("busy-journal");
        let filler = Entry { severity: DEBUG, message_id: None, message: "fills the queue", fields: &[] };
        while log.sockets().send(&filler) {}
        assert_eq!(log.next(), None);
    }

    #[test]
    fn the_number_of_lines_is_limited() {
        let (log, logged) = (Log::new("many"), LoggedLines::new());
        let mut received = 0;
        for number in 0..2 * LoggedLines::MAX {
            logged.log_once(format_args!("line {number}"), log.sockets());
            received += usize::from(log.next().is_some());
        }
        assert_eq!(received, LoggedLines::MAX);
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let (log, logged) = (Log::new("long"), LoggedLines::new());
        logged.log_once(format_args!("forged\n<0>kernel: {}", "ä".repeat(MAX_MESSAGE)), log.sockets());
        let message = log.next().unwrap();
        assert!(message.contains("forged\\n<0>kernel: ää") && message.ends_with("ä..."), "{message}");
        assert!((MAX_MESSAGE - 1..=MAX_MESSAGE).contains(&message.len()), "{}", message.len());
    }

    #[test]
    fn the_journal_gets_fields_and_syslog_one_line() {
        let (log, limits) = (Log::with_journal("both"), Limits::new());
        assert!(audit_in(1, &refused(), &limits, log.sockets()));
        let entry = log.next_entry().unwrap();
        let value = |name: &str| entry.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
        for (name, expected) in [
            ("PRIORITY", "4"),
            ("SYSLOG_FACILITY", "10"),
            ("SYSLOG_IDENTIFIER", "gss-ntlm"),
            ("MESSAGE_ID", Kind::ServerRefused.message_id()),
            ("GSS_NTLM_EVENT", "server-refused"),
            ("GSS_NTLM_OUTCOME", "failure"),
            ("GSS_NTLM_REASON", "bad-password"),
            ("GSS_NTLM_MINOR", "0x4E540013"),
            ("GSS_NTLM_ACCOUNT", "alice"),
            ("GSS_NTLM_DOMAIN", "DOM"),
            ("GSS_NTLM_PROGRAM", program()),
        ] {
            assert_eq!(value(name), Some(expected), "{name} of {entry:?}");
        }
        assert_eq!(value("SYSLOG_PID"), Some(&*std::process::id().to_string()));
        let message = format!("NTLM: {} refused DOM\\alice (bad-password): The user name or", program());
        assert!(value("MESSAGE").unwrap().starts_with(&message), "{entry:?}");
        assert_eq!((log.next_entry(), log.next()), (None, None), "one socket is enough");

        let log = Log::new("syslog-alone");
        assert!(audit_in(1, &refused(), &limits, log.sockets()));
        let line = log.next().unwrap();
        let begin = format!("<84>gss-ntlm[{}]: event=server-refused role=server outcome=failure ", std::process::id());
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.contains(" reason=bad-password ") && line.contains(" account=alice domain=DOM "), "{line}");
        assert!(line.contains(" sentence=\"The user name or the password is wrong "), "{line}");
        assert_eq!(log.next(), None);
    }

    #[test]
    fn hostile_text_stays_in_its_field_and_shows_no_control_characters() {
        let hostile = "x\" outcome=success\n<0>kernel: forged\nMESSAGE=forged\0\u{1b}[2J\u{202e}\\";
        let text = || Some(hostile.to_owned());
        let event = AuditEvent {
            account: text(),
            domain: text(),
            workstation: text(),
            target: text(),
            service: text(),
            session: text(),
            ..refused()
        };
        let (log, limits) = (Log::with_journal("hostile"), Limits::new());
        assert!(audit_in(1, &event, &limits, log.sockets()));
        let entry = log.next_entry().unwrap();
        let escaped = "x\" outcome=success\\n<0>kernel: forged\\nMESSAGE=forged\\u{0}\\u{1b}[2J\\u{202e}\\";
        assert_eq!(entry.iter().filter(|(_, value)| value == escaped).count(), 6, "{entry:?}");
        assert_eq!(entry.iter().filter(|(name, _)| name == "MESSAGE").count(), 1);
        assert!(entry.iter().all(|(_, value)| !value.contains(char::is_control)), "{entry:?}");

        let log = Log::new("hostile-syslog");
        assert!(audit_in(1, &event, &limits, log.sockets()));
        let line = log.next().unwrap();
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line}");
        let quoted = "account=\"x\\\" outcome=success\\\\n<0>kernel: forged\\\\nMESSAGE=forged\\\\u{0}\\\\u{1b}[2J\\\\u{202e}\\\\\" domain=";
        assert!(line.contains(quoted), "{line}");
    }

    #[test]
    fn each_value_is_cut_at_256_bytes_and_says_so() {
        let long = || Some("ä".repeat(40_000));
        let event = AuditEvent { account: long(), domain: long(), workstation: long(), target: long(), ..refused() };
        let (log, limits) = (Log::with_journal("cut"), Limits::new());
        assert!(audit_in(1, &event, &limits, log.sockets()));
        let entry = log.next_entry().unwrap();
        let of_us = entry.iter().filter(|(name, _)| name.starts_with("GSS_NTLM_"));
        assert!(of_us.clone().all(|(_, value)| value.len() <= 256), "{entry:?}");
        assert_eq!(of_us.filter(|(_, value)| value.ends_with("ä...") && value.len() >= 255).count(), 4, "{entry:?}");
        let log = Log::new("cut-syslog");
        assert!(audit_in(1, &event, &limits, log.sockets()));
        let line = log.next().unwrap();
        assert!(line.len() <= MAX_MESSAGE && line.contains("reason=bad-password"), "{line}");
    }

    #[test]
    fn failures_and_successes_have_limits_of_their_own_and_a_summary_counts_both() {
        let (log, limits) = (Log::new("limit"), Limits::new());
        let accepted = AuditEvent::new(Kind::ServerAuthenticated);
        let per_second = usize::try_from(PER_SECOND).unwrap();
        let mut lines = Vec::new();
        let mut ask = |second, event: &AuditEvent| {
            let may = audit_in(second, event, &limits, log.sockets());
            lines.extend(core::iter::from_fn(|| log.next()));
            may
        };
        assert_eq!((0..10_000).filter(|_| ask(7, &accepted)).count(), per_second);
        assert_eq!((0..1000).filter(|_| ask(7, &refused())).count(), per_second, "successes do not displace failures");
        assert!(!ask(7, &accepted) && !ask(6, &refused()), "a slow thread does not open the second again");
        assert!(ask(8, &refused()));
        let summaries: Vec<_> = lines.iter().filter(|line| line.contains("event=lines-dropped")).collect();
        assert_eq!(lines.len(), 2 * per_second + 1 + summaries.len());
        let count = |name: &str| -> u64 {
            let counts = summaries.iter().map(|line| line.split_once(name).unwrap().1.split(' ').next().unwrap());
            counts.map(|count| count.parse::<u64>().unwrap()).sum()
        };
        assert_eq!(count("dropped_successes="), 10_001 - PER_SECOND, "{summaries:?}");
        assert_eq!(count("dropped_failures="), 1001 - PER_SECOND, "{summaries:?}");
        assert!(summaries.len() <= 4, "{summaries:?}");
    }

    #[test]
    fn lines_that_no_log_takes_are_counted() {
        let limits = Limits::new();
        for _ in 0..3 {
            assert!(audit_in(1, &refused(), &limits, nowhere()));
        }
        assert!(audit_in(2, &AuditEvent::new(Kind::ClientAuthenticated), &limits, nowhere()));
        let log = Log::new("counted");
        assert!(audit_in(3, &refused(), &limits, log.sockets()));
        let summary = log.next().unwrap();
        assert!(summary.contains("dropped_failures=3 dropped_successes=1 program="), "{summary}");
        assert!(log.next().unwrap().contains("event=server-refused"));
        assert_eq!(log.next(), None);
    }

    #[test]
    fn threads_get_as_many_lines_together_as_one_alone() {
        let limits = Limits::new();
        let granted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        granted.fetch_add(u64::from(limits.ask(true, 5).is_granted), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(granted.into_inner(), PER_SECOND);
        let dropped = limits.take_dropped();
        assert_eq!(dropped, Some(Dropped { failures: 8000 - PER_SECOND, successes: 0 }));
    }
}
