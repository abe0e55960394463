//! A policy file in force. Each test has a process of its own, which has its own `/etc/gss`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{Failure, Gss, NTLM, Name, SPNEGO};
use crate::common::handshake::{Bindings, Handshake, Refused};
use crate::common::{ACCOUNTS, PASSWORD, Policy, with_policy, world};

const FILE: &str = "/etc/gss/ntlm.conf";

/// Replaces the policy file by renaming.
fn write(text: &str) {
    fs::write("/etc/gss/new", text).unwrap();
    fs::set_permissions("/etc/gss/new", fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename("/etc/gss/new", FILE).unwrap();
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn accept() -> Gss<Cred> {
    Cred::acquire(None, Usage::Accept, &NTLM)
}

fn of_service(name: &str) -> Handshake {
    let initiator = Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &NTLM).unwrap();
    let acceptor = Cred::acquire(Some(&Name::service(name)), Usage::Accept, &NTLM).unwrap();
    Handshake::between(&NTLM, initiator, acceptor)
}

fn refusal(handshake: &Handshake) -> Failure {
    match handshake.run().map(|pair| pair.source) {
        Err(Refused::ByInitiator(failure) | Refused::ByAcceptor(failure)) => failure,
        Ok(source) => panic!("the policy forbids it, and {source} was served"),
    }
}

fn first_step(target: &'static str, cred: Cred) -> Gss<Vec<u8>> {
    let mut handshake = Handshake::between(&NTLM, cred, Cred::none());
    handshake.target = target;
    handshake.initiator().step(None).map(|step| step.token)
}

fn assert_says(failure: &Failure, words: &str) {
    assert!(failure.minor_text.contains(words), "not {words:?}: {failure:?}");
}

/// Waits until `is_so`, which takes one second and what a check needs.
fn assert_soon(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(3), "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_file_and_those_added_to_it_are_in_force() {
    let policy = Policy {
        main: Some("[server]\nrequire-mic = yes\n[client]\nmic = off\n"),
        added: &[("20.conf", "[client]\nmic = raw-only\n"), ("10.conf", "[client]\nmic = off\n"), ("x", "nonsense\n")],
        ..Policy::default()
    };
    with_policy(&policy, &[], || {
        Handshake::of(&NTLM).establish();
        fs::remove_file("/etc/gss/ntlm.conf.d/20.conf").unwrap();
        sleep(Duration::from_millis(1500));
        Handshake::of(&NTLM).establish();
    });
}

#[test]
fn a_file_without_rules_changes_nothing() {
    with_policy(&Policy::of("# [both]\n# fips = refuse\n"), &[("GSS_NTLM_ANONYMOUS", "yes")], || {
        Handshake::of(&NTLM).establish();
    });
}

/// Each call that must fail where the policy cannot be used, beginning with what was acquired before.
fn failures(before: &Handshake, negotiate: &[u8], exported: &[u8], client: &Name) -> Vec<Failure> {
    let user = Name::user("DOM\\alice");
    let told = [
        before.initiator().step(None).map(drop),
        before.acceptor().step(negotiate).map(drop),
        Handshake::between(&NTLM, Cred::none(), Cred::none()).initiator().step(None).map(drop),
        Handshake::between(&NTLM, Cred::none(), Cred::none()).acceptor().step(negotiate).map(drop),
        accept().map(drop),
        Cred::acquire(Some(&user), Usage::Initiate, &NTLM).map(drop),
        Cred::acquire(None, Usage::Both, &NTLM).map(drop),
        Cred::with_password(&user, "Password", &NTLM).map(drop),
        Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", "/x")], &NTLM).map(drop),
        Cred::none().inquire_by_mech().map(drop),
        Cred::import(exported).map(drop),
        client.localname().map(drop),
        // The default initiator hears of it where it is shown.
        first_step("HTTP@server", Cred::acquire(None, Usage::Initiate, &NTLM).unwrap()).map(drop),
    ];
    told.into_iter().zip(0..).map(|(told, at)| told.map(|()| at).expect_err("the policy cannot be used")).collect()
}

#[test]
fn a_file_that_cannot_be_used_switches_every_call_off() {
    with_policy(&Policy::default(), &[], || {
        let before = Handshake::of(&NTLM);
        let exported = before.initiator.export().unwrap().to_vec();
        let client = before.establish().peer;
        let negotiate = before.initiator().token(None);
        let off = |what: &str, words: &str| {
            assert_soon(what, || accept().is_err_and(|failure| failure.minor_text.contains(words)));
            for failure in failures(&before, &negotiate, &exported, &client) {
                assert_says(&failure, "NTLM is off, because ");
                assert_says(&failure, words);
            }
        };
        let on = || {
            write("[both]\n");
            assert_soon("mended", || accept().is_ok());
            before.establish();
        };
        for (text, words) in [
            ("[both]\nminimum = 129\n", "line 2 of the policy file /etc/gss/ntlm.conf: minimum must be "),
            ("[both]\nminimun = 128\n", "line 2 of the policy file /etc/gss/ntlm.conf: minimun is no key"),
            ("[clients]\n", "line 1 of the policy file /etc/gss/ntlm.conf: the section must be"),
            ("nonsense\n", "line 1 of the policy file /etc/gss/ntlm.conf: the line must be KEY = VALUE"),
        ] {
            write(text);
            off(text, words);
            on();
        }
        for path in [FILE, "/etc/gss", "/etc/gss/ntlm.conf.d", "/etc/gss/ntlm.conf.d/a.conf"] {
            fs::write("/etc/gss/ntlm.conf.d/a.conf", "[both]\n").unwrap();
            set_mode("/etc/gss/ntlm.conf.d/a.conf", 0o644);
            let mode = fs::metadata(path).unwrap().permissions().mode();
            for wrong in [mode | 0o020, mode | 0o002] {
                set_mode(path, wrong);
                off(path, &format!("the policy file {path} is not used: others than its owner may write to it"));
                set_mode(path, mode);
                on();
            }
            // In a user namespace that has one user only, nothing can be given to another.
            if chown(path, Some(1234), None).is_ok() {
                off(path, &format!("the policy file {path} is not used: its owner is not root"));
                chown(path, Some(0), None).unwrap();
                on();
            }
        }
        fs::remove_file(FILE).unwrap();
        symlink("/nonexistent", FILE).unwrap();
        off("a link", "a symbolic link to nothing");
        fs::remove_file(FILE).unwrap();
        fs::create_dir(FILE).unwrap();
        off("a directory", "it is not a regular file");
        fs::remove_dir(FILE).unwrap();
        on();
    });
}

#[test]
fn a_change_is_in_force_within_about_a_second() {
    with_policy(&Policy::of("[server]\nrequire-mic = no\n"), &[("GSS_NTLM_MIC", "off")], || {
        let handshake = Handshake::of(&NTLM);
        for _ in 0..2 {
            handshake.establish();
            let begin = Instant::now();
            write("[server]\nrequire-mic = yes\n");
            assert_soon("stricter", || handshake.run().is_err());
            assert!(begin.elapsed() < Duration::from_millis(1700), "{:?}", begin.elapsed());
            write("[server]\nrequire-mic = no\n");
            assert_soon("looser", || handshake.run().is_ok());
        }
    });
}

#[test]
fn a_file_that_is_gone_stays_in_force() {
    with_policy(&Policy::of("[server]\nrequire-mic = yes\n"), &[("GSS_NTLM_MIC", "off")], || {
        let handshake = Handshake::of(&NTLM);
        refusal(&handshake);
        fs::remove_file(FILE).unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2500) {
            refusal(&handshake);
            sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn threads_and_children_agree_on_it_while_it_changes() {
    with_policy(&Policy::of("[server]\nrequire-mic = no\n"), &[("GSS_NTLM_MIC", "off")], || {
        let handshake = Handshake::of(&NTLM);
        let end = Instant::now() + Duration::from_secs(4);
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        if let Err(refused) = handshake.run() {
                            assert_says(&refused.by_acceptor(), "The client sent no MIC");
                        }
                    }
                });
            }
            for value in ["yes", "no"].into_iter().cycle() {
                if Instant::now() > end {
                    break;
                }
                write(&format!("[server]\nrequire-mic = {value}\n"));
                sleep(Duration::from_millis(300));
            }
        });
        write("[server]\nrequire-mic = yes\n");
        assert_soon("in the end", || handshake.run().is_err());
        // SAFETY: this process has no other thread at work; the child shakes hands and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it ends the child, should it hang.
            unsafe { libc::alarm(20) };
            let is_right = handshake.run().is_err();
            write("[server]\nrequire-mic = no\n");
            sleep(Duration::from_millis(1500));
            let is_right = is_right && handshake.run().is_ok();
            // SAFETY: nothing of the test's is to be cleaned up by the child.
            unsafe { libc::_exit(i32::from(!is_right)) };
        }
        let mut status = 0;
        // SAFETY: a child of this process and a local.
        assert_eq!((unsafe { libc::waitpid(child, &mut status, 0) }, status), (child, 0));
    });
}

#[test]
fn the_environment_may_tighten_what_it_sets_and_not_loosen_it() {
    let policy = Policy::of("[server]\nlm-level = 4\n[client]\nmic = auto\n[both]\nminimum = 128\n");
    with_policy(
        &policy,
        &[("LM_COMPAT_LEVEL", "5"), ("GSS_NTLM_MIC", "always"), ("GSS_NTLM_MINIMUM", "128 ess")],
        || {
            Handshake::of(&NTLM).establish();
        },
    );
}

#[test]
fn what_loosens_is_an_error_that_names_the_line() {
    let policy = Policy::of("[server]\nlm-level = 4\n");
    with_policy(&policy, &[("LM_COMPAT_LEVEL", "3")], || {
        let words = "LM_COMPAT_LEVEL is 3, which would loosen lm-level of line 2 of /etc/gss/ntlm.conf: ";
        assert_says(&accept().map(drop).unwrap_err(), words);
        // An initiator has no such line.
        Cred::acquire(None, Usage::Initiate, &NTLM).unwrap().inquire().unwrap();
        assert_says(&Cred::acquire(None, Usage::Both, &NTLM).map(drop).unwrap_err(), words);
    });
}

#[test]
fn a_file_of_the_users_own_may_tighten() {
    let own = world().file("own.conf", "[server]\nrequire-mic = yes\n").display().to_string();
    with_policy(&Policy::default(), &[("GSS_NTLM_CONFIG", &own), ("GSS_NTLM_MIC", "off")], || {
        assert_says(&refusal(&Handshake::of(&NTLM)), "The client sent no MIC");
    });
}

#[test]
fn a_file_of_the_users_own_may_not_loosen() {
    let own = world().file("loose.conf", "[server]\nrequire-mic = no\n").display().to_string();
    with_policy(&Policy::of("[server]\nrequire-mic = yes\n"), &[("GSS_NTLM_CONFIG", &own)], || {
        let told = accept().map(drop).unwrap_err();
        assert_says(&told, "require-mic in line 2 of /");
        assert_says(&told, "is no, which would loosen require-mic of line 2 of /etc/gss/ntlm.conf");
    });
}

#[test]
fn a_file_of_the_users_own_must_exist() {
    with_policy(&Policy::default(), &[("GSS_NTLM_CONFIG", "/nonexistent")], || {
        assert_says(&accept().map(drop).unwrap_err(), "/nonexistent is not used: it does not exist");
    });
}

#[test]
fn a_denied_target_fails_at_the_first_call_without_a_credential() {
    let policy = Policy::of(
        "[client]\noutgoing = deny\n[client \"*.corp.example\"]\noutgoing = allow\n[client \"ldap/*\"]\noutgoing = audit\n",
    );
    with_policy(&policy, &[("NTLM_USER_FILE", "/nonexistent")], || {
        for target in ["HTTP@server", "HTTP@corp.example"] {
            let denied = first_step(target, Cred::none()).unwrap_err();
            assert_eq!(denied.routine(), sys::_GSS_S_UNAUTHORIZED, "{denied:?}");
            let spn = target.replace('@', "/");
            assert_says(&denied, &format!("NTLM to {spn} is denied by line 2 of /etc/gss/ntlm.conf: use Kerberos"));
        }
        let by_password = || Cred::with_password(&Name::user("DOM\\alice"), "x", &NTLM).unwrap();
        assert_eq!(first_step("HTTP@server", by_password()).unwrap_err().routine(), sys::_GSS_S_UNAUTHORIZED);
        for target in ["HTTP@a.Corp.Example.", "ldap@server"] {
            first_step(target, by_password()).unwrap();
            // It is allowed, so that the user file counts.
            assert_says(&first_step(target, Cred::none()).unwrap_err(), "The user file /nonexistent cannot be read");
        }
    });
}

/// An AUTHENTICATE_MESSAGE in a token.
fn has_authenticate(token: &[u8]) -> bool {
    token.windows(9).any(|part| part == b"NTLMSSP\0\x03")
}

#[test]
fn inside_spnego_no_authenticate_message_leaves_where_that_is_denied() {
    with_policy(&Policy::of("[client]\ninside-spnego = deny\n"), &[], || {
        Handshake::of(&NTLM).establish();
        let handshake = Handshake::of(&SPNEGO);
        let denied = handshake.initiator().step(None).map(|step| step.token).unwrap_err();
        assert_says(&denied, "SPNEGO has chosen NTLM to HTTP/server, which is denied by line 2 of /etc/gss/ntlm.conf");
        // The policy changes between the two calls: SPNEGO has asked about the MIC, which only it does.
        write("[both]\n");
        assert_soon("allowed", || handshake.initiator().step(None).is_ok());
        let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
        let challenge = acceptor.token(&initiator.token(None));
        write("[client]\ninside-spnego = deny\n");
        assert_soon("denied", || handshake.initiator().step(None).is_err());
        let denied = initiator.step(Some(&challenge)).map(|step| has_authenticate(&step.token)).unwrap_err();
        assert_says(&denied, "SPNEGO has chosen NTLM to HTTP/server, which is denied");
    });
}

#[test]
fn inside_spnego_it_can_be_watched() {
    with_policy(
        &Policy::of("[client]\ninside-spnego = audit\noutgoing = audit\n[server]\nincoming = audit\n"),
        &[],
        || {
            Handshake::of(&SPNEGO).establish();
        },
    );
}

#[test]
fn a_server_may_be_denied() {
    with_policy(&Policy::of("[server]\nincoming = allow\n"), &[], || {
        let before = Handshake::of(&NTLM);
        write("[server \"HTTP/*\"]\nincoming = allow\n[server]\nincoming = deny\n");
        assert_soon("denied", || accept().is_err());
        let words = "This server may not accept NTLM, which is denied by line 4 of /etc/gss/ntlm.conf";
        let acquiring = accept().map(drop).unwrap_err();
        assert_eq!(acquiring.routine(), sys::_GSS_S_UNAUTHORIZED, "{acquiring:?}");
        assert_says(&acquiring, words);
        // One that was acquired before.
        assert_says(&refusal(&before), words);
        of_service("HTTP@server").establish();
        let both = Cred::acquire(None, Usage::Both, &NTLM).unwrap();
        assert_eq!(both.inquire().unwrap().usage, Usage::Initiate);
    });
}

#[test]
fn a_service_has_its_own_rules() {
    with_policy(&Policy::of("[server \"HTTP/*\"]\nchannel-bindings = required\n"), &[], || {
        let bound = Some(Bindings::application(b"tls-server-end-point:x"));
        of_service("HTTP@server").bindings(bound.clone(), bound.clone()).establish();
        let unbound = refusal(&of_service("HTTP@server").bindings(None, bound));
        assert_says(&unbound, "There are no channel bindings to compare");
        of_service("ldap@server").establish();
        Handshake::of(&NTLM).establish();
        // What counts in the second call is the acceptor that the handshake began with.
        let (strict, other) = (of_service("HTTP@server"), Handshake::of(&NTLM));
        let (mut initiator, mut acceptor) = (strict.initiator(), strict.acceptor());
        let challenge = acceptor.token(&initiator.token(None));
        let authenticate = initiator.token(Some(&challenge));
        let mut acceptor = other.acceptor().continued(acceptor.context);
        assert_says(&acceptor.step(&authenticate).map(|step| step.flags).unwrap_err(), "There are no channel bindings");
    });
}

#[test]
fn it_names_the_user_files_of_clients_and_servers() {
    with_policy(&Policy::default(), &[("NTLM_USER_FILE", "")], || {
        let path = |name: &str, text: &str| world().file(name, text).display().to_string();
        let (client, server) =
            (path("client", "DOM:carol:Pass:word\n"), path("server", "DOM:dora:x\nDOM:carol:Pass:word\n"));
        write(&format!("[client]\nuser-file = {client}\n[server]\nuser-file = {server}\n"));
        assert_soon("read", || accept().is_ok());
        let carol = Cred::acquire(None, Usage::Initiate, &NTLM).unwrap();
        assert_eq!(Handshake::with_cred(&NTLM, carol).establish().source, "DOM\\carol");
        // A credential store comes first.
        let other = path("other", ACCOUNTS);
        let alice = Cred::acquire_from(None, Usage::Initiate, &[("ntlmssp_keyfile", &other)], &NTLM).unwrap();
        assert_eq!(alice.inquire().unwrap().name, "DOM\\alice");
    });
}

#[test]
fn the_environments_user_file_is_one_for_clients_only() {
    with_policy(&Policy::of("[client]\nuser-file = /a\n[server]\nuser-file = /b\n"), &[], || {
        assert_eq!(Cred::acquire(None, Usage::Initiate, &NTLM).unwrap().inquire().unwrap().name, "DOM\\alice");
        let told = accept().map(drop).unwrap_err();
        assert_says(&told, "NTLM_USER_FILE is /");
        assert_says(&told, "which would loosen user-file of line 4 of /etc/gss/ntlm.conf");
    });
}

#[test]
fn a_user_file_that_everybody_may_read_may_be_refused() {
    let users = world().file("readable-users", ACCOUNTS).display().to_string();
    with_policy(&Policy::of("[both]\nuser-file-mode = private\n"), &[("NTLM_USER_FILE", &users)], || {
        #[expect(clippy::disallowed_methods, reason = "the parent's word")]
        let users = std::env::var("NTLM_USER_FILE").unwrap();
        set_mode(&users, 0o640);
        let handshake = Handshake::of(&NTLM);
        handshake.establish();
        set_mode(&users, 0o644);
        for failure in [accept().map(drop).unwrap_err(), refusal(&handshake)] {
            assert_says(&failure, "is not used because everybody may read it");
        }
        // A file that was read before is looked at anew when the policy changes.
        write("[both]\nuser-file-mode = any\n");
        sleep(Duration::from_secs(3));
        handshake.establish();
        write("[both]\nuser-file-mode = private\n");
        assert_soon("private", || handshake.run().is_err());
    });
}

#[test]
fn systemd_passes_the_accounts_of_a_server() {
    let directory = world().dir.join("credentials");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("ntlm.users"), "DOM:carol:Pass:word\n").unwrap();
    let policy = Policy::of("[server]\nuser-file = /nonexistent\n");
    let settings = [("NTLM_USER_FILE", ""), ("CREDENTIALS_DIRECTORY", directory.to_str().unwrap())];
    with_policy(&policy, &settings, || {
        let carol = |password: &str| Handshake::with_password(&NTLM, "DOM\\carol", password);
        assert_eq!(carol("Pass:word").establish().source, "DOM\\carol");
        assert_says(&refusal(&carol("wrong")), "The user name or the password is wrong");
        // The first account of a server is not its own.
        let initiator = Cred::acquire(Some(&Name::user("DOM\\carol")), Usage::Initiate, &NTLM).map(drop);
        assert_says(&initiator.unwrap_err(), "There are no credentials");
        #[expect(clippy::disallowed_methods, reason = "the parent's word")]
        let directory = std::env::var("CREDENTIALS_DIRECTORY").unwrap();
        fs::remove_file(Path::new(&directory).join("ntlm.users")).unwrap();
        assert_says(&accept().map(drop).unwrap_err(), "The user file /nonexistent cannot be read");
    });
}

#[test]
fn fips_mode_is_allowed_unless_refused() {
    let policy = Policy { fips: true, ..Policy::of("[both]\nfips = allow\n") };
    with_policy(&policy, &[], || {
        let handshake = Handshake::of(&NTLM);
        handshake.establish();
        write("[both]\nfips = refuse\n");
        assert_soon("refused", || accept().is_err());
        let words = "The kernel runs in FIPS mode, where line 2 of /etc/gss/ntlm.conf refuses NTLM";
        assert_says(&accept().map(drop).unwrap_err(), words);
        assert_says(&handshake.initiator().step(None).map(|step| step.token).unwrap_err(), words);
    });
}

#[test]
fn without_fips_mode_nothing_is_refused() {
    with_policy(&Policy::of("[both]\nfips = refuse\n"), &[], || drop(Handshake::of(&NTLM).establish()));
}
