//! The trace tells every step. Each test has a process of its own, for there is one trace in each.

use std::fs;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{DEBUG, NTLM, Name, invoke};
use crate::common::handshake::{Handshake, SIGN_AND_SEAL};
use crate::common::{with_environment, world};

/// Where the trace goes, and reading it.
pub(crate) struct Trace(String);

impl Trace {
    pub(crate) fn start(name: &str) -> Self {
        let path = world().dir.join(name).display().to_string();
        invoke(&NTLM, &DEBUG, path.as_bytes()).unwrap();
        Self(path)
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.read()).expect("a trace is text")
    }
}

#[test]
fn tells_every_step() {
    let path = world().dir.join("steps").display().to_string();
    with_environment(&[("GSSNTLMSSP_DEBUG", &path)], || {
        #[expect(clippy::disallowed_methods, reason = "the parent's word")]
        let trace = Trace(std::env::var("GSSNTLMSSP_DEBUG").unwrap());
        let handshake = Handshake::of(&NTLM).flags(SIGN_AND_SEAL);
        let before = trace.text().lines().count();
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let mut told = Vec::new();
        let negotiate = initiator.token(None);
        told.push(trace.text().lines().count());
        let challenge = acceptor.token(&negotiate);
        told.push(trace.text().lines().count());
        let authenticate = initiator.token(Some(&challenge));
        told.push(trace.text().lines().count());
        assert!(acceptor.step(&authenticate).unwrap().complete);
        told.push(trace.text().lines().count());
        assert!(told[0] > before && told.is_sorted_by(|one, other| one < other), "each step has its line: {told:?}");

        for wanted in [
            "NEGOTIATE_MESSAGE",
            "CHALLENGE_MESSAGE",
            "AUTHENTICATE_MESSAGE",
            // Flags by their names, and as a number for who has only that.
            "UNICODE",
            "EXTENDED_SESSIONSECURITY",
            "KEY_EXCH",
            "SIGN",
            "SEAL",
            "flags 0x",
            // Target info.
            "MsvAvNbDomainName DOM",
            "MsvAvNbComputerName SERVER",
            "MsvAvTimestamp",
            "MsvAvTargetName HTTP/server",
            "MsvAvFlags 0x2",
            // Who and how.
            "DOM\\alice",
            "NTLMv2",
            "MIC",
            "channel bindings",
        ] {
            assert!(trace.text().contains(wanted), "{wanted} is not in:\n{}", trace.text());
        }
        tells_what_went_wrong(&trace);
        has_lines_that_a_person_can_read(&trace);
    });
}

fn tells_what_went_wrong(trace: &Trace) {
    for (user, password, why) in [("DOM\\alice", "wrong", "wrong password"), ("DOM\\nobody", "x", "no such account")] {
        Handshake::with_password(&NTLM, user, password).refusal_changing(|_, token| token).by_acceptor();
        let text = trace.text();
        let last: Vec<_> = text.lines().rev().take(3).collect();
        assert!(last.iter().any(|line| line.contains(why) && line.contains(user)), "{last:?}");
    }
    let readable = world().file_of_mode("readable", "DOM:alice:Password\nnonsense\n", 0o644).display().to_string();
    Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", &readable)], &NTLM).unwrap();
    let text = trace.text();
    assert!(text.lines().any(|line| line.contains("warning") && line.contains(&readable)), "who may read it");
    assert!(text.lines().any(|line| line.contains("line 2") && line.contains(&readable)), "which line is no entry");
    // What a client says stays on its line, whatever it says.
    let forged = Handshake::with_password(&NTLM, "DOM\\x\n1.000 [1] forged", "x");
    forged.refusal_changing(|_, token| token).by_acceptor();
    assert!(trace.text().lines().all(|line| !line.starts_with("1.000 [1] forged")));
}

fn has_lines_that_a_person_can_read(trace: &Trace) {
    let process = format!("[{}]", std::process::id());
    for line in trace.text().lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<f64>().unwrap() > 1.6e9, "{line}");
        assert!(rest.starts_with(&process), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&trace.0).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "for the one who asked for it");
}

#[test]
fn tells_which_service_was_meant() {
    with_environment(&[("GSS_NTLM_TARGET_NAME", "audit")], || {
        let trace = Trace::start("audit");
        let mut handshake = Handshake::of(&NTLM);
        handshake.acceptor = Cred::acquire(Some(&Name::service("HTTP@server")), Usage::Accept, &NTLM).unwrap();
        for (target, is_told) in [("HTTP@server", false), ("HTTP@elsewhere", true), ("@server", true)] {
            handshake.target = target;
            handshake.establish();
            let text = trace.text();
            assert_eq!(text.lines().any(|line| line.contains("ours is HTTP/server")), is_told, "{target}: {text}");
        }
    });
}

#[test]
fn goes_on_and_off() {
    with_environment(&[], || {
        let length = |trace: &Trace| trace.read().len();
        let first = Trace::start("first");
        Handshake::of(&NTLM).establish();
        assert!(length(&first) > 0);
        let second = Trace::start("second");
        let before = length(&first);
        Handshake::of(&NTLM).establish();
        assert!(length(&first) == before && length(&second) > 0);
        invoke(&NTLM, &DEBUG, b"").unwrap();
        let before = length(&second);
        Handshake::of(&NTLM).establish();
        assert_eq!(length(&second), before);
        // Started again it goes on where it was; a C program may count its NUL.
        invoke(&NTLM, &DEBUG, format!("{}\0", second.0).as_bytes()).unwrap();
        Handshake::of(&NTLM).establish();
        assert!(length(&second) > before);
        let [fifo, link] = ["fifo", "link"].map(|name| world().dir.join(name));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Opened for writing, it would let its reader go on.
        let _reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        symlink(&second.0, &link).unwrap();
        let refused = ["/nonexistent/trace", "/", "a\0b", fifo.to_str().unwrap(), link.to_str().unwrap()];
        for path in refused {
            let failure = invoke(&NTLM, &DEBUG, path.as_bytes()).unwrap_err();
            assert!(failure.minor_text.contains("trace"), "{path}: {failure:?}");
        }
        invoke(&NTLM, &DEBUG, b"/dev/null").unwrap();
        Handshake::of(&NTLM).establish();
    });
}

#[test]
fn does_not_go_into_a_fifo_with_a_reader_or_without() {
    let fifo = world().dir.join("trace-fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    with_environment(&[("GSSNTLMSSP_DEBUG", fifo.to_str().unwrap())], || {
        // SAFETY: no function is registered. Rust's programs ignore the signal, others do not.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: a number. A test that waits is ended.
        unsafe { libc::alarm(60) };
        #[expect(clippy::disallowed_methods, reason = "the parent names the FIFO")]
        let fifo = std::env::var("GSSNTLMSSP_DEBUG").unwrap();
        let open = || fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        let mut reader = open();
        Handshake::of(&NTLM).establish();
        let mut told = Vec::new();
        reader.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"");
        drop(reader);
        Handshake::of(&NTLM).establish();
        invoke(&NTLM, &DEBUG, fifo.as_bytes()).unwrap_err();
    });
}

/// Another file in the place of a descriptor, until this is dropped.
struct Instead {
    descriptor: RawFd,
    before: OwnedFd,
}

impl Instead {
    fn of(descriptor: RawFd, file: impl AsFd) -> Self {
        // SAFETY: it is open, and stays so meanwhile.
        let before = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().unwrap();
        duplicate(file.as_fd(), descriptor);
        Self { descriptor, before }
    }
}

impl Drop for Instead {
    fn drop(&mut self) {
        duplicate(self.before.as_fd(), self.descriptor);
    }
}

fn duplicate(file: BorrowedFd<'_>, descriptor: RawFd) {
    // SAFETY: descriptors only.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), descriptor) }, descriptor);
}

fn trace_to_stderr() {
    invoke(&NTLM, &DEBUG, b"stderr").unwrap();
}

/// Writes until there is no more room.
fn fill(file: impl AsFd) {
    let set_blocking = |is_blocking: bool| {
        // SAFETY: a descriptor that is open.
        let flags = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETFL) };
        let flags = if is_blocking { flags & !libc::O_NONBLOCK } else { flags | libc::O_NONBLOCK };
        // SAFETY: likewise.
        assert_eq!(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETFL, flags) }, 0);
    };
    set_blocking(false);
    let mut file_again = fs::File::from(file.as_fd().try_clone_to_owned().unwrap());
    while file_again.write(b"x").is_ok() {}
    set_blocking(true);
}

/// A terminal that nobody reads: its two ends.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave, null) = (0, 0, std::ptr::null_mut());
    // SAFETY: two places to write to, and NULL where it may stand.
    assert_eq!(unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), null.cast()) }, 0);
    // SAFETY: they are new, and nobody else's.
    [master, slave].map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

#[test]
fn goes_to_standard_error() {
    let settings = [("GSSNTLMSSP_DEBUG", "stderr")];
    with_environment(&settings, || {
        let (mut reader, writer) = pipe().unwrap();
        let instead = Instead::of(2, &writer);
        Handshake::of(&NTLM).establish();
        drop((instead, writer));
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        for wanted in ["NEGOTIATE_MESSAGE", "CHALLENGE_MESSAGE", "AUTHENTICATE_MESSAGE", "DOM\\alice"] {
            assert!(told.contains(wanted), "{wanted} is not in:\n{told}");
        }
        assert!(!Path::new("stderr").exists());
    });
}

#[test]
fn neither_waits_for_a_reader_nor_dies_of_none() {
    with_environment(&[], || {
        // SAFETY: no function is registered. Rust's programs ignore the signal, others do not.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: a number. Who waits is ended.
        unsafe { libc::alarm(60) };
        let traced = |error: BorrowedFd<'_>| {
            let _instead = Instead::of(2, error);
            trace_to_stderr();
            Handshake::of(&NTLM).establish();
        };
        let (reader, writer) = pipe().unwrap();
        fill(&writer);
        traced(writer.as_fd());
        drop(reader);
        traced(writer.as_fd());
        let (here, there) = UnixStream::pair().unwrap();
        fill(&here);
        traced(here.as_fd());
        drop(there);
        traced(here.as_fd());
        let (master, slave) = terminal();
        fill(&slave);
        traced(slave.as_fd());
        drop(master);
        traced(slave.as_fd());
        // One that is not full gets its lines.
        let (master, slave) = terminal();
        traced(slave.as_fd());
        let mut told = [0; 1000];
        let length = fs::File::from(master).read(&mut told).unwrap();
        assert!(String::from_utf8_lossy(&told[..length]).contains("NEGOTIATE_MESSAGE"));
    });
}

/// What there is to read, now.
fn pending(mut stream: &UnixStream) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    String::from_utf8(told).unwrap()
}

#[test]
fn keeps_out_of_what_takes_the_place_of_standard_error() {
    with_environment(&[], || {
        let (first, first_reader) = UnixStream::pair().unwrap();
        let _instead = Instead::of(2, &first);
        trace_to_stderr();
        Handshake::of(&NTLM).establish();
        assert!(!pending(&first_reader).is_empty());
        let (second, second_reader) = UnixStream::pair().unwrap();
        let instead_again = Instead::of(2, &second);
        Handshake::of(&NTLM).establish();
        assert_eq!(pending(&second_reader), "");
        drop(instead_again);
        Handshake::of(&NTLM).establish();
        assert!(!pending(&first_reader).is_empty());
    });
}

/// The descriptor of a file that this process has open.
fn descriptor_of(path: &str) -> RawFd {
    let open = fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
    let found = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == Path::new(path)));
    found.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).next().expect("the trace is open")
}

#[test]
fn keeps_out_of_what_takes_the_place_of_its_file() {
    with_environment(&[], || {
        let path = world().dir.join("kept").display().to_string();
        for start in [true, false] {
            // A trace that is stopped, or goes elsewhere, closes its own file, and nobody else's.
            let trace = Trace::start("kept");
            Handshake::of(&NTLM).establish();
            let (connection, peer) = UnixStream::pair().unwrap();
            let descriptor = descriptor_of(&path);
            duplicate(connection.as_fd(), descriptor);
            if start {
                let before = trace.read().len();
                Handshake::of(&NTLM).establish();
                assert!(trace.read().len() > before, "the file is opened anew");
                duplicate(connection.as_fd(), descriptor_of(&path));
                // Now it cannot be.
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                Handshake::of(&NTLM).establish();
                fs::remove_dir(&path).unwrap();
            }
            invoke(&NTLM, &DEBUG, b"").unwrap();
            drop(connection);
            assert_eq!(pending(&peer), "");
            // SAFETY: a descriptor, and no memory.
            assert_ne!(unsafe { libc::fcntl(descriptor, libc::F_GETFD) }, -1, "it was closed");
        }
    });
}
