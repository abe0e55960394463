//! Stored credentials, through gss_store_cred_into and back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{ANONYMOUS, Failure, INDEFINITE, NTLM, Name, SPNEGO};
use crate::common::handshake::{Handshake, Refused};
use crate::common::process::with_environment;
use crate::common::{PASSWORD, world};

/// A runtime directory, as the system makes it for a user.
fn runtime_directory(name: &str) -> PathBuf {
    let path = world().dir.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Runs `body` as a user who has no user file, and a runtime directory of that name.
fn logged_on<F: FnOnce()>(directory: &str, body: F) {
    let directory = runtime_directory(directory);
    let settings =
        [("XDG_RUNTIME_DIR", directory.to_str().unwrap()), ("GSS_NTLM_STORE", "runtime"), ("NTLM_USER_FILE", "")];
    with_environment(&settings, body);
}

fn by_password(user: &str) -> Cred {
    Cred::with_password(&Name::user(user), PASSWORD, &NTLM).unwrap()
}

/// Stores the credential of a user for these targets.
fn log_on(user: &str, target: &str) {
    let stored = by_password(user).store(Some(&NTLM), Usage::Initiate, &[("ntlmssp_target", target)], true, false);
    assert_eq!(stored.unwrap(), 1, "{user} for {target}");
}

fn default_cred() -> Cred {
    Cred::acquire(None, Usage::Initiate, &NTLM).unwrap()
}

/// A handshake with the default credential, or without any, against a server that has the accounts.
fn handshake(mech: &'static crate::common::gss::Oid, initiator: Cred, target: &'static str) -> Handshake {
    let users = world().dir.join("users").display().to_string();
    let acceptor = Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", &users)], mech).unwrap();
    Handshake { target, ..Handshake::between(mech, initiator, acceptor) }
}

fn file(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the parent's word")]
    let directory = std::env::var("XDG_RUNTIME_DIR").unwrap();
    Path::new(&directory).join("gss-ntlm").join(name)
}

fn refused_by_initiator(handshake: &Handshake) -> Failure {
    match handshake.run() {
        Err(Refused::ByInitiator(failure)) => failure,
        Err(Refused::ByAcceptor(failure)) => panic!("the acceptor was first: {failure:?}"),
        Ok(pair) => panic!("{} was let in", pair.source),
    }
}

#[test]
fn each_target_has_its_own_account() {
    logged_on("run-targets", || {
        log_on("DOM\\alice", "*.corp.example");
        log_on("bob", "HTTP/srv.corp.example");
        for mech in [&NTLM, &SPNEGO] {
            for (target, account) in [("HTTP@www.corp.example", "DOM\\alice"), ("HTTP@srv.corp.example", "bob")] {
                assert_eq!(handshake(mech, Cred::none(), target).establish().source, account, "{target}");
                let acquired = Cred::acquire(None, Usage::Initiate, mech).unwrap();
                assert_eq!(handshake(mech, acquired, target).establish().source, account, "{target}");
            }
        }
        let cred = default_cred();
        assert_eq!(cred.inquire().unwrap().name, "DOM\\alice", "its pattern is more general");
        assert_eq!(cred.inquire().unwrap().lifetime, INDEFINITE);
        let failure = refused_by_initiator(&handshake(&NTLM, cred, "HTTP@elsewhere"));
        assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED);
        assert!(failure.minor_text.contains("No stored credential is for HTTP/elsewhere"), "{failure:?}");
        refused_by_initiator(&handshake(&SPNEGO, Cred::none(), "HTTP@elsewhere"));
        let bob = Cred::acquire(Some(&Name::user("bob")), Usage::Initiate, &NTLM).unwrap();
        refused_by_initiator(&handshake(&NTLM, bob, "HTTP@www.corp.example"));
    });
}

#[test]
fn logging_off_counts_at_once() {
    logged_on("run-log-off", || {
        log_on("DOM\\alice", "*");
        let handshake = handshake(&NTLM, default_cred(), "HTTP@srv");
        handshake.establish();
        let token = handshake.initiator.export().unwrap();
        assert!(Cred::import(&token).is_ok());
        fs::remove_file(file("*")).unwrap();
        let failure = refused_by_initiator(&handshake);
        assert!(failure.minor_text.contains("No stored credential is for HTTP/srv"), "{failure:?}");
        assert!(Cred::import(&token).is_err(), "no secret was exported");
        let failure = Cred::acquire(None, Usage::Initiate, &NTLM).map(drop).unwrap_err();
        assert!(failure.minor_text.contains("There are no credentials: log on (gss-ntlm login)"), "{failure:?}");
    });
}

#[test]
fn the_first_call_chooses_and_the_second_one_needs_that_credential() {
    logged_on("run-half-open", || {
        log_on("DOM\\alice", "*");
        let handshake = handshake(&NTLM, Cred::none(), "HTTP@srv");
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let challenge = acceptor.token(&initiator.token(None));
        // The choice was made: a pattern that would have been better comes too late.
        log_on("bob", "HTTP/srv");
        let answer = initiator.token(Some(&challenge));
        assert_eq!(acceptor.step(&answer).unwrap().source.unwrap().display(), "DOM\\alice");
        assert_eq!(handshake.establish().source, "bob");
        fs::remove_file(file("HTTP%2Fsrv")).unwrap();
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let challenge = acceptor.token(&initiator.token(None));
        fs::remove_file(file("*")).unwrap();
        let failure = initiator.step(Some(&challenge)).map(drop).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED);
    });
}

#[test]
fn overwrites_and_makes_the_default_only_if_asked() {
    logged_on("run-overwrite", || {
        let store = |user: &str, target, overwrite, default| {
            let keys = [("ntlmssp_target", target), ("ntlmssp_lifetime", "3600"), ("ccache", "MEMORY:none")];
            by_password(user).store(Some(&NTLM), Usage::Both, &keys, overwrite, default)
        };
        store("DOM\\alice", "srv", false, false).unwrap();
        let failure = store("bob", "SRV.", false, false).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DUPLICATE_ELEMENT, "{failure:?}");
        let name = || default_cred().inquire().unwrap().name;
        assert_eq!(name(), "DOM\\alice");
        store("bob", "SRV.", true, false).unwrap();
        assert_eq!(name(), "bob");
        store("DOM\\alice", "*", false, false).unwrap();
        assert_eq!(name(), "DOM\\alice");
        store("bob", "srv2", false, true).unwrap();
        assert_eq!(name(), "bob");
        let lifetime = default_cred().inquire().unwrap().lifetime;
        assert!((3500..=3600).contains(&lifetime), "{lifetime}");
        let of_runtime = Cred::acquire_from(None, Usage::Initiate, &[("ntlmssp_store", "runtime")], &NTLM);
        assert_eq!(of_runtime.unwrap().inquire().unwrap().name, "bob");
    });
}

#[test]
fn says_what_it_cannot_store() {
    logged_on("run-unavailable", || {
        let store = |cred: &Cred, usage, keys: &[(&str, &str)]| cred.store(Some(&NTLM), usage, keys, true, false);
        let srv = [("ntlmssp_target", "srv")];
        let users = world().dir.join("users").display().to_string();
        let acceptor = Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", &users)], &NTLM).unwrap();
        let anonymous =
            Cred::acquire(Some(&Name::import("", Some(&ANONYMOUS)).unwrap()), Usage::Initiate, &NTLM).unwrap();
        for (what, failure) in [
            ("an acceptor", store(&acceptor, Usage::Initiate, &srv).unwrap_err()),
            ("nobody", store(&anonymous, Usage::Initiate, &srv).unwrap_err()),
            ("for accepting", store(&by_password("bob"), Usage::Accept, &srv).unwrap_err()),
        ] {
            assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{what}: {failure:?}");
            assert!(failure.minor_text.contains("Only the credential of a user"), "{what}: {failure:?}");
        }
        for keys in [("ntlmssp_target", "a*"), ("ntlmssp_store", "disk"), ("ntlmssp_lifetime", "soon")] {
            let failure = store(&by_password("bob"), Usage::Initiate, &[keys]).unwrap_err();
            assert!(failure.minor_text.contains("has no such target, place or lifetime"), "{failure:?}");
        }
        let failure = store(&by_password("bob"), Usage::Initiate, &[("ccache", "MEMORY:x")]).unwrap_err();
        assert!(failure.minor_text.contains("It is not known for which servers"), "{failure:?}");
        let keyring = [("ntlmssp_target", "srv"), ("ntlmssp_store", "keyring")];
        let failure = store(&by_password("bob"), Usage::Initiate, &keyring).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
        assert!(failure.minor_text.contains("No credential may be stored, as GSS_NTLM_STORE says"), "{failure:?}");
        fs::set_permissions(file("").parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        let failure = store(&by_password("bob"), Usage::Initiate, &srv).unwrap_err();
        assert!(failure.minor_text.contains("no directory that only this user may write to"), "{failure:?}");
    });
}

#[test]
fn without_a_store_nothing_is_stored_or_found() {
    let directory = runtime_directory("run-off");
    let settings =
        [("XDG_RUNTIME_DIR", directory.to_str().unwrap()), ("GSS_NTLM_STORE", "off"), ("NTLM_USER_FILE", "")];
    with_environment(&settings, || {
        let keys = [("ntlmssp_target", "srv")];
        let failure = by_password("bob").store(None, Usage::Initiate, &keys, true, true).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
        assert!(!file("").exists());
        Cred::acquire(None, Usage::Initiate, &NTLM).map(drop).unwrap_err();
        // A credential may have parts of other mechanisms, and the mechglue takes the answer of the last for that of all.
        by_password("bob").store(None, Usage::Initiate, &[("ccache", "MEMORY:x")], true, true).unwrap();
    });
}
