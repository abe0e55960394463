//! What may have been written by anybody: exported tokens, names, user files, credential stores. Everything that is not what
//! it should be is refused cleanly.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use libgssapi_sys as sys;

use crate::common::context::Ctx;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{EXPORT_NAME, HOSTBASED_SERVICE, NTLM, Name, SPNEGO, USER_NAME};
use crate::common::handshake::Handshake;
use crate::common::{PASSWORD, with_environment, world};

use super::deferred::told_to_default_initiator;

/// Every shorter token, every token with one bit changed, and a longer one.
pub(crate) fn damaged(token: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let truncated = (0..token.len()).map(|length| (format!("{length} bytes"), token[..length].to_vec()));
    let flipped = (0..token.len() * 8).map(|bit| {
        let mut flipped = token.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit}"), flipped)
    });
    let longer =
        [b"\0".as_slice(), b"x", &[0; 64]].map(|more| (format!("{} more", more.len()), [token, more].concat()));
    truncated.chain(flipped).chain(longer)
}

#[test]
fn imports_no_damaged_context() {
    let mut established = Handshake::of(&NTLM).establish();
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    acceptor.token(&initiator.token(None));
    let contexts =
        [&mut established.initiator, &mut established.acceptor, &mut initiator.context, &mut acceptor.context];
    for token in contexts.map(|context| context.export().unwrap()) {
        for (what, damaged) in damaged(&token) {
            let outcome = Ctx::import(&damaged).map(|context| context.inquire());
            assert!(outcome.is_err(), "{what} of {}", token.len());
        }
        Ctx::import(&token).unwrap();
    }
}

#[test]
fn imports_no_damaged_context_of_spnego() {
    let token = Handshake::of(&SPNEGO).establish().initiator.export().unwrap();
    for (what, damaged) in damaged(&token) {
        // What of the token is SPNEGO's own decides nothing about ours.
        let outcome = Ctx::import(&damaged).and_then(|context| context.wrap(b"message"));
        assert!(outcome.is_err(), "{what} of {}", token.len());
    }
}

#[test]
fn imports_no_damaged_credential() {
    let alice = Name::user("DOM\\alice");
    let creds = [
        Cred::with_password(&alice, PASSWORD, &NTLM).unwrap(),
        Cred::acquire(Some(&alice), Usage::Both, &NTLM).unwrap(),
        Cred::acquire(None, Usage::Accept, &NTLM).unwrap(),
    ];
    for token in creds.map(|cred| cred.export().unwrap().to_vec()) {
        for (what, damaged) in damaged(&token) {
            // The mechglue takes a token that ends before its first mechanism for a credential of none.
            let outcome = Cred::import(&damaged).and_then(|cred| cred.inquire());
            assert!(outcome.is_err(), "{what} of {}", token.len());
        }
        Cred::import(&token).unwrap().inquire().unwrap();
    }
}

#[test]
fn imports_nothing_of_another_kind() {
    let cred = Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &NTLM).unwrap().export().unwrap().to_vec();
    let context = Handshake::of(&NTLM).establish().initiator.export().unwrap();
    assert!(Ctx::import(&cred).is_err());
    let body = [&context[..14], &u32::try_from(context.len() - 14).unwrap().to_be_bytes(), &context[14..]].concat();
    assert!(Cred::import(&body).is_err());
    assert!(Ctx::import(&[&cred[..14], &cred[18..]].concat()).is_err());
}

#[test]
fn imports_no_other_name_than_what_is_written() {
    let user = |text: &str| Name::user(text).canonicalize().unwrap();
    let names = [user("DOM\\alice"), user("\\alice@example.com"), Name::service("HTTP@www").canonicalize().unwrap()];
    for name in names {
        let token = name.export().unwrap();
        for (what, damaged) in damaged(&token) {
            // A changed letter is another name; then all of the token is that name, and no other has it.
            let Ok(other) = Name::import(&damaged, Some(&EXPORT_NAME)) else { continue };
            assert_eq!(other.export().unwrap(), damaged, "{what} of {}", name.display());
            assert_eq!(damaged.len(), token.len(), "{what} of {}", name.display());
        }
    }
}

/// Behind the head of an exported name.
fn exported(rest: &[u8]) -> Vec<u8> {
    [&b"\x04\x01\x00\x0c\x06\x0a"[..], &NTLM.bytes(), rest].concat()
}

#[test]
fn imports_no_name_that_says_something_wrong_of_itself() {
    let written = |length: u32, text: &[u8]| exported(&[&length.to_be_bytes()[..], text].concat());
    let tokens = [
        exported(b""),
        exported(b"\0\0"),
        written(0, b""),
        written(1, b"\0"),
        written(5, b"alice"),
        written(7, b"a\\lice"),
        written(5, b"a\\lice"),
        written(u32::MAX, b"D\\alice"),
        written(0x8000_0000, b"D\\alice"),
        written(8, b"D\\alice\0\0"),
        written(8, b"D\\al\0ce\0"),
        written(7, b"D\\ali\xe9e"),
        written(2, b"D\\"),
        written(2, b"\\\0"),
        written(5, b"D\\A\\B"),
        [&written(7, b"D\\alice")[..], b"x"].concat(),
    ];
    for token in tokens {
        let outcome = Name::import(&token, Some(&EXPORT_NAME)).and_then(|name| name.canonicalize());
        outcome.map(|name| name.display()).expect_err(&format!("{token:?}"));
    }
}

#[test]
fn takes_no_name_of_any_length() {
    let long = "x".repeat(0x1_0000);
    let texts = [long.clone(), format!("DOM\\{long}"), format!("{long}\\alice"), format!("{long}@{long}")];
    for (text, kind) in texts.iter().flat_map(|text| [(text, &USER_NAME), (text, &HOSTBASED_SERVICE)]) {
        let outcome = Name::import(text, Some(kind)).and_then(|name| name.canonicalize());
        assert_eq!(outcome.map(|name| name.display()).unwrap_err().routine(), sys::_GSS_S_BAD_NAME);
    }
    let length = u32::try_from(long.len() + 1).unwrap().to_be_bytes();
    let token = exported(&[&length[..], b"\\", long.as_bytes()].concat());
    Name::import(&token, Some(&EXPORT_NAME)).map(|name| name.display()).unwrap_err();
    // As a target, too.
    let mut handshake = Handshake::of(&NTLM);
    handshake.target = "HTTP@server";
    let name = Name::import(&long, Some(&HOSTBASED_SERVICE)).unwrap();
    let store = [("ntlmssp_password", PASSWORD)];
    Cred::acquire_from(Some(&name), Usage::Initiate, &store, &NTLM).map(drop).unwrap_err();
    Cred::acquire_from(Some(&name), Usage::Accept, &[], &NTLM).map(drop).unwrap_err();
    handshake.establish();
}

#[test]
fn takes_no_store_that_says_something_wrong() {
    let alice = Name::user("DOM\\alice");
    let long = "x".repeat(0x1_0001);
    let stores: [&[(&str, &str)]; 11] = [
        &[("ntlmssp_nthash", "")],
        &[("ntlmssp_nthash", "A4F49C406510BDCAB6824EE7C30FD85")],
        &[("ntlmssp_nthash", "A4F49C406510BDCAB6824EE7C30FD8522")],
        &[("ntlmssp_nthash", "A4F49C406510BDCAB6824EE7C30FD85G")],
        &[("ntlmssp_nthash", "+4F49C406510BDCAB6824EE7C30FD852")],
        &[("ntlmssp_nthash", &long)],
        &[("ntlmssp_password", &long)],
        &[("password", &long)],
        &[("ntlmssp_keyfile", "")],
        &[("ntlmssp_keyfile", &long)],
        &[("ntlmssp_keyfile", "/nonexistent/\u{e9}\n")],
    ];
    for store in stores {
        let failure = Cred::acquire_from(Some(&alice), Usage::Initiate, store, &NTLM).map(drop).unwrap_err();
        assert!(failure.minor != 0 && failure.minor_text.len() > 20, "{failure:?}");
    }
    // A long domain is one that nobody has.
    let store = [("ntlmssp_domain", long.as_str()), ("ntlmssp_password", PASSWORD)];
    if let Ok(cred) = Cred::acquire_from(Some(&Name::user("alice")), Usage::Initiate, &store, &NTLM) {
        Handshake::with_cred(&NTLM, cred).run().map(|pair| pair.source).unwrap_err();
    }
}

#[test]
fn takes_no_name_from_a_store_that_could_be_taken_for_another() {
    let names = [("alice", "A\\B"), ("alice", "\\"), ("alice", "DOM\\"), ("ANONYMOUS LOGON", "NT AUTHORITY")];
    for (user, domain) in names {
        let store = [("ntlmssp_domain", domain), ("ntlmssp_password", PASSWORD)];
        let Ok(cred) = Cred::acquire_from(Some(&Name::user(user)), Usage::Initiate, &store, &NTLM) else { continue };
        let name = cred.inquire().unwrap().name;
        assert!(Name::user(&name).canonicalize().is_ok(), "{name:?} is shown, and is no name of a user");
    }
}

/// What both ends say of a path that is no user file.
fn assert_names(path: &Path) {
    let path = path.display().to_string();
    for usage in [Usage::Initiate, Usage::Accept, Usage::Both] {
        let failure = Cred::acquire_from(None, usage, &[("ntlmssp_keyfile", &path)], &NTLM).map(drop).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED, "{failure:?}");
        assert!(failure.minor_text.contains(&path), "{failure:?}");
    }
}

#[test]
fn reads_no_user_file_that_is_none() {
    let dir = &world().dir;
    let fifo = dir.join("fifo");
    let path = CString::new(fifo.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let socket = dir.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = dir.join("dangling");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let huge = world().file("huge", "");
    fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 40).unwrap();
    let not_a_dir = world().file("file", "").join("users");
    for path in [dir, &fifo, &socket, &link, &huge, &not_a_dir, Path::new("/dev/null"), Path::new("/dev/zero")] {
        assert_names(path);
    }
}

#[test]
fn reads_no_user_file_that_it_may_not() {
    let path = world().file("unreadable", "DOM:alice:Password\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // SAFETY: it only tells who this process is.
    if unsafe { libc::geteuid() } != 0 {
        assert_names(&path);
    }
    for mode in [0o602, 0o666, 0o622] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if mode & 0o002 != 0 {
            assert_names(&path);
        }
    }
}

#[test]
fn notices_that_a_user_file_has_vanished() {
    let path = world().file("vanishing", "DOM:alice:Password\n");
    let text = path.display().to_string();
    let store = [("ntlmssp_keyfile", text.as_str())];
    let mut handshake = Handshake::of(&NTLM);
    handshake.acceptor = Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
    handshake.establish();
    fs::remove_file(&path).unwrap();
    let failure = handshake.refusal_changing(|_, token| token).by_acceptor();
    assert!(failure.minor_text.contains(&text), "{failure:?}");
    // The same credential serves again once there is a file.
    fs::create_dir(&path).unwrap();
    handshake.refusal_changing(|_, token| token).by_acceptor();
    fs::remove_dir(&path).unwrap();
    world().file("vanishing", "DOM:alice:Password\n");
    handshake.establish();
}

#[test]
fn notices_it_in_the_environment_as_well() {
    for path in ["/", "/dev/null", "/nonexistent/users", "/etc/passwd/users"] {
        // Many processes, each with a path of its own.
        with_environment(&[("NTLM_USER_FILE", path)], || {
            let accepting = Cred::acquire(None, Usage::Accept, &NTLM).map(drop).unwrap_err();
            for failure in [told_to_default_initiator(&NTLM), accepting] {
                assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED, "{failure:?}");
            }
        });
    }
}
