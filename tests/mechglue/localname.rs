//! Which account of this computer, whose NetBIOS name is SERVER and whose domain is DOM, a name may use.

use std::ptr::null_mut;

use libgssapi_sys as sys;

use crate::common::PASSWORD;
use crate::common::gss::{HOSTBASED_SERVICE, MACHINE_UID, NTLM, Name, STRING_UID};
use crate::common::handshake::Handshake;

use super::handshake::BOTH_WAYS;

fn canonical(text: &str) -> Name {
    Name::user(text).canonicalize().unwrap()
}

/// Names, and the one account of this computer that each may use.
const ACCOUNTS: [(&str, &str); 9] = [
    ("alice", "alice"),
    ("DOM\\alice", "alice"),
    ("dom\\Alice", "Alice"),
    ("SERVER\\alice", "alice"),
    ("server\\alice", "alice"),
    ("ELSEWHERE\\alice", "ELSEWHERE\\alice"),
    ("DOM.EXAMPLE\\alice", "DOM.EXAMPLE\\alice"),
    ("alice\\@example.com", "alice@example.com"),
    ("alice\\@DOM", "alice@DOM"),
];

#[test]
fn drops_only_its_own_domains() {
    for (name, account) in ACCOUNTS {
        assert_eq!(canonical(name).localname().unwrap(), account, "{name}");
    }
}

#[test]
fn may_be_that_account_and_no_other() {
    let accounts = ["alice", "Alice", "ALICE", "ELSEWHERE\\alice", "alice@example.com", "alice@DOM", "root", "bob"];
    for (name, own) in ACCOUNTS {
        let name_here = canonical(name);
        assert!(name_here.may_be(own), "{name} is {own}");
        for other in accounts.into_iter().filter(|account| *account != own) {
            assert!(!name_here.may_be(other), "{name} is not {other}");
        }
    }
}

#[test]
fn holds_for_who_came() {
    // SPNEGO asks in a way of its own, but the rule is one.
    for mech in BOTH_WAYS {
        let peer = |user: &str| Handshake::with_password(mech, user, PASSWORD).establish().peer;
        let alice = peer("DOM\\alice");
        assert!(alice.may_be("alice"), "of this computer's domain");
        for other in ["Alice", "ALICE", "DOM\\alice", "alice@DOM", "alice@", "bob", "root"] {
            assert!(!alice.may_be(other), "alice is not {other}");
        }
        let stranger = peer("OTHER\\domsmb");
        assert!(stranger.may_be("OTHER\\domsmb"));
        assert!(!stranger.may_be("domsmb") && !stranger.may_be("other\\domsmb"));
        // A client may claim what it likes: the account is the file's.
        let bob = peer("ANY\\bob");
        assert!(bob.may_be("bob") && !bob.may_be("ANY\\bob") && !bob.may_be("Bob"));
    }
}

#[test]
fn knows_accounts_by_their_number() {
    let root = canonical("root");
    let number = Name::import("0", Some(&STRING_UID)).unwrap();
    let bytes = Name::import(0_u32.to_ne_bytes(), Some(&MACHINE_UID)).unwrap();
    for account in [&number, &bytes] {
        root.may_be_named(account).unwrap();
        for stranger in ["alice", "ELSEWHERE\\root"] {
            canonical(stranger).may_be_named(account).unwrap_err();
        }
    }
    for unknown in ["4000000123", "x"] {
        root.may_be_named(&Name::import(unknown, Some(&STRING_UID)).unwrap()).unwrap_err();
    }
}

#[test]
fn gives_the_number_of_no_foreign_account() {
    let uid = |name: &str| {
        let (name, mut uid) = (canonical(name), 12345);
        // SAFETY: a name that lives and a local.
        let major = unsafe { sys::gss_pname_to_uid(&mut 0, name.ptr(), NTLM.ptr(), &mut uid) };
        (major == sys::GSS_S_COMPLETE).then_some(uid)
    };
    assert_eq!([uid("root"), uid("DOM\\root")], [Some(0), Some(0)]);
    assert_eq!(uid("ELSEWHERE\\root"), None);
}

#[test]
fn is_for_users_alone() {
    let service = Name::service("alice@server").canonicalize().unwrap();
    let failure = service.localname().unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{failure:?}");
    for account in ["alice", "alice/server", "server"] {
        assert!(!service.may_be(account), "{account}");
    }
    let as_service = Name::import("alice@server", Some(&HOSTBASED_SERVICE)).unwrap();
    canonical("alice").may_be_named(&as_service).unwrap_err();
}

#[test]
fn asks_for_a_place_to_put_the_account() {
    let name = canonical("alice");
    // SAFETY: a name that lives, and NULL, which is to be refused.
    let major = unsafe { sys::gss_localname(&mut 0, name.ptr(), NTLM.ptr(), null_mut()) };
    assert_eq!(major & 0xff00_0000, sys::_GSS_S_CALL_INACCESSIBLE_WRITE);
}
