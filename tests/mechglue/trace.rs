//! The trace tells every step. Each test has a process of its own, for there is one trace in each.

use std::fs;

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
    let readable = world().file("readable", "DOM:alice:Password\nnonsense\n");
    fs::set_permissions(&readable, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let readable = readable.display().to_string();
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
        for path in ["/nonexistent/trace", "/", "a\0b"] {
            invoke(&NTLM, &DEBUG, path.as_bytes()).unwrap_err();
        }
        Handshake::of(&NTLM).establish();
    });
}
