//! What lines of a user file mean to both ends.

use std::fs;

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{Gss, NTLM, Name};
use crate::common::handshake::{Handshake, Pair, Refused};
use crate::common::{PASSWORD, world};

/// A user file of these bytes, under a name of its own for each test.
struct Users(String);

impl Users {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        Self(world().file(name, content).display().to_string())
    }

    fn acquire(&self, name: Option<&str>, usage: Usage) -> Gss<Cred> {
        let name = name.map(Name::user);
        Cred::acquire_from(name.as_ref(), usage, &[("ntlmssp_keyfile", &self.0)], &NTLM)
    }

    /// A handshake with an acceptor that knows this file alone.
    fn handshake(&self, initiator: Cred) -> Handshake {
        let mut handshake = Handshake::with_cred(&NTLM, initiator);
        handshake.acceptor = self.acquire(None, Usage::Accept).unwrap();
        handshake
    }

    /// A handshake of the account with that name.
    fn of_file(&self, name: &str) -> Result<Pair, Refused> {
        self.handshake(self.acquire(Some(name), Usage::Initiate).unwrap()).run()
    }

    fn by_password(&self, name: &str, password: impl AsRef<[u8]>) -> Result<Pair, Refused> {
        self.handshake(Cred::with_password(&Name::user(name), password, &NTLM).unwrap()).run()
    }

    fn assert_stranger(&self, name: &str, password: impl AsRef<[u8]>) {
        let failure = self.by_password(name, password).map(|pair| pair.source).unwrap_err().by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{name}: {failure:?}");
    }
}

const XS: &str = "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";
const NO_PASSWORD: &str = "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX";

#[test]
fn states_empty_passwords_in_both_kinds_of_lines() {
    let users = Users::new(
        "empty-passwords",
        format!(
            "DOM:open:\n\
             hashed:1:{XS}:31D6CFE0D16AE931B73C59D7E0C089C0:[U          ]:LCT-00000000:\n\
             flagged:1:{NO_PASSWORD}:{NO_PASSWORD}:[NU         ]:LCT-00000000:\n\
             unflagged:1:{NO_PASSWORD}:{NO_PASSWORD}:[U          ]:LCT-00000000:\n\
             closed:1:{NO_PASSWORD}:{NO_PASSWORD}:[NDU        ]:LCT-00000000:\n"
        ),
    );
    for name in ["DOM\\open", "hashed", "flagged"] {
        assert_eq!(users.of_file(name).unwrap().source, name);
        users.assert_stranger(name, PASSWORD);
    }
    for name in ["unflagged", "closed"] {
        users.acquire(Some(name), Usage::Initiate).map(drop).unwrap_err();
        users.assert_stranger(name, PASSWORD);
    }
}

#[test]
fn takes_passwords_byte_for_byte() {
    // The last is what a computer chose for its account: half of a surrogate pair, in the UTF-8 that could have it.
    let passwords: [&[u8]; 7] = [
        b" leading and trailing ",
        b"#",
        b":",
        b"[U          ]",
        "Ünïcødé😀".as_bytes(),
        b"\\",
        b"\xed\xa0\x80\xed\xb0\x81x",
    ];
    let line =
        |(number, password): (usize, &&[u8])| [format!("DOM:user{number}:").as_bytes(), password, b"\n"].concat();
    let users = Users::new("passwords", passwords.iter().enumerate().map(line).collect::<Vec<_>>().concat());
    for (number, password) in passwords.iter().enumerate() {
        let name = format!("DOM\\user{number}");
        assert_eq!(users.by_password(&name, password).unwrap().source, name);
        assert_eq!(users.of_file(&name).unwrap().source, name);
        users.assert_stranger(&name, [password, &b"x"[..]].concat());
    }
}

#[test]
fn tells_a_pair_of_surrogates_from_its_letter_by_nothing() {
    let users = Users::new("surrogates", "DOM:alice:😀\n");
    assert_eq!(users.by_password("DOM\\alice", b"\xed\xa0\xbd\xed\xb8\x80").unwrap().source, "DOM\\alice");
}

#[test]
fn takes_no_password_that_cannot_be_one() {
    let name = Name::user("DOM\\alice");
    let too_long = vec![b'x'; 0x1_0001];
    for password in [&b"with\0NUL"[..], b"\xff", b"caf\xe9", b"\xed\xa0", &too_long] {
        let failure = Cred::with_password(&name, password, &NTLM).map(drop).unwrap_err();
        assert!(failure.minor_text.contains("password"), "{failure:?}");
    }
    // A C program may count its NUL.
    let handshake = Handshake::with_cred(&NTLM, Cred::with_password(&name, "Password\0", &NTLM).unwrap());
    assert_eq!(handshake.establish().source, "DOM\\alice");
}

#[test]
fn takes_passwords_as_long_as_they_may_be() {
    let password = vec![b'x'; 0x1_0000];
    let cred = Cred::with_password(&Name::user("DOM\\alice"), &password, &NTLM).unwrap();
    Handshake::with_cred(&NTLM, cred).refusal_changing(|_, token| token).by_acceptor();
    // In a file it is a line's length that counts.
    let password = "x".repeat(4096 - "DOM:alice:".len());
    let users = Users::new("long-password", format!("DOM:alice:{password}\n"));
    assert_eq!(users.by_password("DOM\\alice", &password).unwrap().source, "DOM\\alice");
}

#[test]
fn splits_no_line() {
    let filler = "x".repeat(4096);
    let users = Users::new(
        "long-lines",
        format!("#{filler}\nDOM:mallory:{filler}DOM:mallory:hidden\n# {filler}:\nDOM:alice:{PASSWORD}\n#DOM:bob:x"),
    );
    assert_eq!(users.of_file("DOM\\alice").unwrap().source, "DOM\\alice");
    for password in [&filler[..], "hidden", &format!("{filler}DOM:mallory:hidden")] {
        users.assert_stranger("DOM\\mallory", password);
    }
    users.assert_stranger("DOM\\bob", "x");
}

#[test]
fn decides_the_spelling_of_names() {
    let users = Users::new("spelling", "Dom:Straße:x\n:Élodie:x\n");
    for (name, source) in [("DOM\\STRAßE", "Dom\\Straße"), ("straße", "Dom\\Straße"), ("ANY\\éLODIE", "Élodie")] {
        assert_eq!(users.by_password(name, "x").unwrap().source, source, "{name}");
    }
    for name in ["DOM\\STRASSE", "DOM\\STRAẞE", "DOM\\Elodie"] {
        users.assert_stranger(name, "x");
    }
}

#[test]
fn skips_lines_that_are_not_entries() {
    let users = Users::new(
        "mixed",
        [
            &b"\n \nnonsense\nDOM:short\n::x\nDOM::x\n"[..],
            b"\xff\xfe:latin:x\nDOM:nul\0:x\nA\\B:user:x\n:C\\user:x\nDOM:@user:x\n",
            format!("x:one:{XS}:{XS}:[U          ]:LCT-0:\nx:1:{XS}:{XS}:[U          ]:LCT-0:\n").as_bytes(),
            b"DOM:alice:Password\n",
        ]
        .concat(),
    );
    // The first valid entry.
    let first = users.acquire(None, Usage::Initiate).unwrap().inquire().unwrap().name;
    assert_eq!(first, "DOM\\alice");
    assert_eq!(users.of_file("DOM\\alice").unwrap().source, "DOM\\alice");
}

#[test]
fn may_be_empty() {
    for content in ["", "\n", "# nobody\n", "\0"] {
        let users = Users::new("nobody", content);
        let failure = users.acquire(None, Usage::Initiate).map(drop).unwrap_err();
        assert!(failure.minor_text.contains(&users.0), "{failure:?}");
        // An acceptor does not need an account yet.
        users.acquire(None, Usage::Accept).unwrap();
        users.assert_stranger("DOM\\alice", PASSWORD);
    }
}

#[test]
fn lets_nobody_in_by_a_line_that_is_being_written() {
    let users = Users::new("in-place", "DOM:alice:secret\nDOM:bob:secret\n");
    let handshake = |user: &str, password: &str| users.by_password(user, password).map(|pair| pair.source);
    handshake("DOM\\alice", "secret").unwrap();
    // However slow this test is: at no time is a part of a line a password.
    for half in ["DOM:alice:secret\nDOM:bob:", "DOM:alice:"] {
        fs::write(&users.0, half).unwrap();
        for user in ["DOM\\bob", "DOM\\alice"] {
            let empty = [("ntlmssp_password", "")];
            let cred = Cred::acquire_from(Some(&Name::user(user)), Usage::Initiate, &empty, &NTLM).unwrap();
            users.handshake(cred).run().map(|pair| pair.source).expect_err(half).by_acceptor();
        }
    }
    let goes_on = || {
        fs::write(&users.0, "DOM:alice:secret\nDOM:bob:secret\n").unwrap();
        handshake("DOM\\bob", "secret").unwrap();
        fs::write(&users.0, "DOM:alice:secret\nDOM:bob:").unwrap();
        handshake("DOM\\bob", "secret").is_ok()
    };
    assert!((0..5).any(|_| goes_on()), "what was read before stays in force for a moment");
}

#[test]
fn gives_the_domain_that_is_asked_for() {
    let users = Users::new("domains", "ONE:alice:1\nTWO:alice:2\n:alice:any\n");
    for (name, password, source) in [
        ("ONE\\alice", "1", "ONE\\alice"),
        ("two\\alice", "2", "TWO\\alice"),
        ("THREE\\alice", "any", "alice"),
        ("alice", "1", "ONE\\alice"),
    ] {
        assert_eq!(users.by_password(name, password).unwrap().source, source, "{name}");
    }
    users.assert_stranger("TWO\\alice", "1");
    users.assert_stranger("THREE\\alice", "2");
}

#[test]
fn lets_an_account_in_whose_password_is_empty() {
    let users = Users::new("guest", "DOM:guest:\nDOM:alice:secret\n");
    for key in ["password", "ntlmssp_password"] {
        let by_store = |name: &str| {
            let cred = Cred::acquire_from(Some(&Name::user(name)), Usage::Initiate, &[(key, "")], &NTLM).unwrap();
            users.handshake(cred).run().map(|pair| pair.source)
        };
        assert_eq!(by_store("DOM\\guest").unwrap(), "DOM\\guest", "{key}");
        by_store("DOM\\alice").expect_err("that one has a password").by_acceptor();
    }
}

#[test]
fn reads_what_an_editor_of_windows_writes() {
    let users = Users::new("windows", "\u{feff}DOM:first:pass word\r\n\r\n# a comment\r\nDOM:last:another\r\n");
    assert_eq!(users.by_password("DOM\\first", "pass word").unwrap().source, "DOM\\first");
    assert_eq!(users.of_file("DOM\\last").unwrap().source, "DOM\\last");
    users.assert_stranger("DOM\\last", "another\r");
}
