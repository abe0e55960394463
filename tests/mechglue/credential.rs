//! Where secrets come from, and what a credential tells.

use libgssapi_sys as sys;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{INDEFINITE, NEG_FLAGS, NTLM, Name, SPNEGO};
use crate::common::handshake::Handshake;
use crate::common::token::flags_of;
use crate::common::{PASSWORD, world};

#[test]
fn takes_the_first_account_where_none_is_named() {
    let facts = Cred::acquire(None, Usage::Initiate, &NTLM).unwrap().inquire().unwrap();
    assert_eq!(facts.name, "DOM\\alice");
    assert_eq!(facts.usage, Usage::Initiate);
    assert_eq!(facts.lifetime, INDEFINITE);
}

#[test]
fn makes_an_acceptor_without_a_name() {
    let facts = Cred::acquire(None, Usage::Accept, &NTLM).unwrap().inquire().unwrap();
    assert!(!facts.name.is_empty(), "every credential has a name");
    assert_eq!(facts.usage, Usage::Accept);
    let named = Cred::acquire(Some(&Name::service("HTTP@server")), Usage::Accept, &NTLM).unwrap();
    assert_eq!(named.inquire().unwrap().name, "HTTP/server");
}

#[test]
fn tells_the_account_as_it_was_found() {
    for (asked, told) in [("DOM\\alice", "DOM\\alice"), ("dom\\ALICE", "DOM\\alice"), ("bob", "bob"), ("smb", "smb")] {
        let cred = Cred::acquire(Some(&Name::user(asked)), Usage::Initiate, &NTLM).unwrap();
        assert!(cred.inquire().unwrap().name.eq_ignore_ascii_case(told), "{asked}");
        assert_eq!(cred.inquire_by_mech().unwrap().0, cred.inquire().unwrap().name);
    }
}

#[test]
fn tells_the_same_of_one_mechanism() {
    let (name, lifetimes, usage) = Cred::acquire(None, Usage::Initiate, &NTLM).unwrap().inquire_by_mech().unwrap();
    assert_eq!(name, "DOM\\alice");
    assert_eq!(lifetimes, [INDEFINITE, 0]);
    assert_eq!(usage, Usage::Initiate);
    let (_, lifetimes, usage) = Cred::acquire(None, Usage::Accept, &NTLM).unwrap().inquire_by_mech().unwrap();
    assert_eq!(lifetimes, [0, INDEFINITE]);
    assert_eq!(usage, Usage::Accept);
}

#[test]
fn tells_the_default_credential() {
    let facts = Cred::none().inquire_by_mech().unwrap();
    assert_eq!(facts.0, "DOM\\alice");
}

#[test]
fn works_both_ways_with_one_credential() {
    let both = || Cred::acquire(Some(&Name::user("DOM\\alice")), Usage::Both, &NTLM).unwrap();
    assert_eq!(both().inquire().unwrap().usage, Usage::Both);
    let mut handshake = Handshake::with_cred(&NTLM, both());
    handshake.acceptor = both();
    assert_eq!(handshake.establish().source, "DOM\\alice");
    assert_eq!(Cred::acquire(None, Usage::Both, &NTLM).unwrap().inquire().unwrap().usage, Usage::Both);
}

#[test]
fn refuses_a_credential_for_the_other_direction() {
    let initiator = || Cred::acquire(None, Usage::Initiate, &NTLM).unwrap();
    let acceptor = || Cred::acquire(None, Usage::Accept, &NTLM).unwrap();
    let mut swapped = Handshake::with_cred(&NTLM, acceptor());
    swapped.acceptor = initiator();
    let failure = swapped.initiator().step(None).map(|step| step.token).unwrap_err();
    assert_eq!(failure.major, sys::_GSS_S_NO_CRED, "{failure:?}");
    let negotiate = Handshake::of(&NTLM).initiator().token(None);
    let failure = swapped.acceptor().step(&negotiate).map(|step| step.token).unwrap_err();
    assert_eq!(failure.major, sys::_GSS_S_NO_CRED, "{failure:?}");
}

#[test]
fn refuses_a_name_without_a_secret_at_once() {
    let failure = Cred::acquire(Some(&Name::user("DOM\\nobody")), Usage::Initiate, &NTLM).map(drop).unwrap_err();
    assert_ne!(failure.minor, 0);
    assert!(failure.minor_text.len() > 10, "says where it looked: {failure:?}");
}

#[test]
fn shows_a_name_without_what_steers_a_terminal() {
    let name = Name::user("DOM\\no\nbody\u{1b}[2J");
    let failure = Cred::acquire(Some(&name), Usage::Initiate, &NTLM).map(drop).unwrap_err();
    assert!(failure.minor_text.contains("DOM\\no\\nbody\\u{1b}[2J"), "{failure:?}");
    assert!(!failure.minor_text.contains(char::is_control), "{failure:?}");
}

#[test]
fn reads_the_file_that_the_store_names() {
    let world = world();
    let file = world.file("carol", "DOM:carol:Pass:word\n").display().to_string();
    let store = [("ntlmssp_keyfile", file.as_str())];
    let initiator = Cred::acquire_from(None, Usage::Initiate, &store, &NTLM).unwrap();
    assert_eq!(initiator.inquire().unwrap().name, "DOM\\carol");

    let mut handshake = Handshake::with_cred(&NTLM, initiator);
    let stranger = handshake.run().map(|pair| pair.source).unwrap_err().by_acceptor();
    assert_eq!(stranger.routine(), sys::_GSS_S_FAILURE, "carol is not in the usual file: {stranger:?}");
    handshake.acceptor = Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
    assert_eq!(handshake.establish().source, "DOM\\carol");

    let alice = Cred::acquire_from(Some(&Name::user("DOM\\alice")), Usage::Initiate, &store, &NTLM).map(drop);
    alice.expect_err("a file in the store is the only source then");
}

#[test]
fn goes_on_with_the_credential_of_the_first_call() {
    let file = world().file("dora", "DOM:dora:Pass:word\n").display().to_string();
    let store = [("ntlmssp_keyfile", file.as_str())];
    let initiator = || Cred::acquire_from(None, Usage::Initiate, &store, &NTLM).unwrap();
    let chosen = || Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
    for (first, is_served) in [(chosen(), true), (Cred::none(), false)] {
        let before = Handshake::between(&NTLM, initiator(), first);
        let after = Handshake::between(&NTLM, initiator(), Cred::none());
        let (mut client, mut server) = (before.initiator(), before.acceptor());
        let challenge = server.token(&client.token(None));
        let authenticate = client.token(Some(&challenge));
        let mut server = after.acceptor().continued(server.context);
        let source = server.step(&authenticate).map(|step| step.source.map(|name| name.display()));
        assert_eq!(source.ok().flatten().as_deref() == Some("DOM\\dora"), is_served);
    }
}

#[test]
fn takes_a_password_from_the_store() {
    let nt_hash = "A4F49C406510BDCAB6824EE7C30FD852";
    let stores: [&[(&str, &str)]; 4] = [
        &[("ntlmssp_password", PASSWORD)],
        &[("password", PASSWORD)],
        &[("ntlmssp_nthash", nt_hash)],
        &[("ntlmssp_password", PASSWORD), ("ntlmssp_domain", "DOM")],
    ];
    for store in stores {
        let user = if store.len() == 2 { "alice" } else { "DOM\\alice" };
        let cred = Cred::acquire_from(Some(&Name::user(user)), Usage::Initiate, store, &NTLM).unwrap();
        assert_eq!(Handshake::with_cred(&NTLM, cred).establish().source, "DOM\\alice", "{store:?}");
    }
}

#[test]
fn ignores_what_a_store_holds_for_others() {
    let store = [("keytab", "FILE:/nonexistent"), ("ccache", "MEMORY:none"), ("ntlmssp_of_tomorrow", "x")];
    let cred = Cred::acquire_from(None, Usage::Initiate, &store, &NTLM).unwrap();
    assert_eq!(cred.inquire().unwrap().name, "DOM\\alice");
    Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
}

#[test]
fn says_which_file_it_cannot_read() {
    let world = world();
    let missing = world.dir.join("no-such-file").display().to_string();
    for usage in [Usage::Initiate, Usage::Accept] {
        let failure = Cred::acquire_from(None, usage, &[("ntlmssp_keyfile", &missing)], &NTLM).map(drop).unwrap_err();
        assert!(failure.minor_text.contains(&missing), "{failure:?}");
    }
}

#[test]
fn refuses_a_file_that_others_may_write() {
    let path = world().file_of_mode("writable", "DOM:carol:Password\n", 0o666).display().to_string();
    let failure =
        Cred::acquire_from(None, Usage::Initiate, &[("ntlmssp_keyfile", &path)], &NTLM).map(drop).unwrap_err();
    assert!(failure.minor_text.contains(&path), "{failure:?}");
}

#[test]
fn sees_a_changed_file() {
    let file = |content| world().file("changing", content).display().to_string();
    let path = file("DOM:carol:before\n");
    let store = [("ntlmssp_keyfile", path.as_str())];
    let acceptor = Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
    let mut handshake = Handshake::with_password(&NTLM, "DOM\\carol", "after, and longer");
    handshake.acceptor = acceptor;
    handshake.run().map(|pair| pair.source).unwrap_err();
    file("DOM:carol:after, and longer\n");
    assert_eq!(handshake.establish().source, "DOM\\carol");
}

#[test]
fn offers_the_flags_that_a_program_sets() {
    let mut handshake = Handshake::of(&NTLM);
    let usual = flags_of(&handshake.initiator().token(None));
    let without_version = usual & !0x0200_0000;
    assert_ne!(usual, without_version);

    handshake.initiator.set_option(&NEG_FLAGS, &without_version.to_ne_bytes()).unwrap();
    assert_eq!(flags_of(&handshake.initiator().token(None)), without_version);
    handshake.establish();
    handshake.initiator.set_option(&NEG_FLAGS, b"123").unwrap_err();
    // Nothing means as before.
    handshake.initiator.set_option(&NEG_FLAGS, b"").unwrap();
    assert_eq!(flags_of(&handshake.initiator().token(None)), usual);
}

#[test]
fn lets_spnego_choose_only_what_it_may() {
    let cred = Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &SPNEGO).unwrap();
    cred.negotiate_only(&NTLM).unwrap();
    assert_eq!(Handshake::with_cred(&SPNEGO, cred).establish().source, "DOM\\alice");
}

#[test]
fn refuses_a_disabled_account_on_both_sides() {
    let locked = Name::user("locked");
    Cred::acquire(Some(&locked), Usage::Initiate, &NTLM).map(drop).unwrap_err();
    Handshake::with_password(&NTLM, "locked", PASSWORD).run().map(|pair| pair.source).unwrap_err().by_acceptor();
}

#[test]
fn takes_the_domain_of_the_store() {
    let store = [("ntlmssp_domain", "OTHER"), ("ntlmssp_password", PASSWORD)];
    for user in ["alice", "DOM\\alice"] {
        let cred = Cred::acquire_from(Some(&Name::user(user)), Usage::Initiate, &store, &NTLM).unwrap();
        assert_eq!(cred.inquire().unwrap().name, "OTHER\\alice", "{user}");
    }
}

#[test]
fn takes_a_hash_before_a_password() {
    let hash = "a4f49c406510bdcab6824ee7c30fd852";
    let alice = Name::user("DOM\\alice");
    let store = [("ntlmssp_password", "wrong"), ("ntlmssp_nthash", hash)];
    let cred = Cred::acquire_from(Some(&alice), Usage::Initiate, &store, &NTLM).unwrap();
    assert_eq!(Handshake::with_cred(&NTLM, cred).establish().source, "DOM\\alice");
}

#[test]
fn takes_its_own_password_whatever_the_generic_one_is() {
    let alice = Name::user("DOM\\alice");
    let long = "x".repeat(0x1_0001);
    for generic in ["", "wrong", &long] {
        for store in [
            [("ntlmssp_password", PASSWORD), ("password", generic)],
            [("password", generic), ("ntlmssp_password", PASSWORD)],
        ] {
            let cred = Cred::acquire_from(Some(&alice), Usage::Initiate, &store, &NTLM).unwrap();
            assert_eq!(Handshake::with_cred(&NTLM, cred).establish().source, "DOM\\alice");
        }
    }
}

#[test]
fn needs_a_name_for_a_secret() {
    for store in [("ntlmssp_password", PASSWORD), ("ntlmssp_nthash", "A4F49C406510BDCAB6824EE7C30FD852")] {
        let failure = Cred::acquire_from(None, Usage::Initiate, &[store], &NTLM).map(drop).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_NAME, "{failure:?}");
        assert!(failure.minor_text.contains("name the user"), "{failure:?}");
        let service = Name::service("HTTP@server");
        let failure = Cred::acquire_from(Some(&service), Usage::Initiate, &[store], &NTLM).map(drop).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_NO_CRED, "{failure:?}");
    }
}

#[test]
fn takes_a_password_for_both_usages() {
    let alice = Name::user("DOM\\alice");
    let both = || Cred::with_password_for(&alice, PASSWORD.as_bytes(), Usage::Both, &NTLM).unwrap();
    assert_eq!(both().inquire().unwrap().usage, Usage::Both);
    let mut handshake = Handshake::with_cred(&NTLM, both());
    handshake.acceptor = both();
    assert_eq!(handshake.establish().source, "DOM\\alice");
}

const USAGES: [Usage; 3] = [Usage::Both, Usage::Initiate, Usage::Accept];

/// That a credential does what its usage says.
fn assert_works(cred: Cred, usage: Usage) {
    let (_, [initiator, acceptor], told) = cred.inquire_by_mech().unwrap();
    let expected = [usage != Usage::Accept, usage != Usage::Initiate].map(|able| if able { INDEFINITE } else { 0 });
    assert_eq!((told, [initiator, acceptor]), (usage, expected));
    let mut handshake = Handshake::of(&NTLM);
    let place = if usage == Usage::Accept { &mut handshake.acceptor } else { &mut handshake.initiator };
    *place = cred;
    assert_eq!(handshake.establish().source, "DOM\\alice");
}

#[test]
fn is_added_to_nothing() {
    for usage in USAGES {
        assert_works(Cred::none().copy_with(None, usage, &NTLM).unwrap(), usage);
    }
    let alice = Name::user("DOM\\alice");
    assert_works(Cred::none().copy_with(Some(&alice), Usage::Initiate, &NTLM).unwrap(), Usage::Initiate);
    Cred::none().copy_with(Some(&Name::user("DOM\\nobody")), Usage::Initiate, &NTLM).map(drop).unwrap_err();
}

#[test]
fn is_added_to_a_credential_of_another_mechanism() {
    for usage in USAGES {
        let mut cred = Cred::acquire(None, usage, &SPNEGO).unwrap();
        let copy = cred.copy_with(None, usage, &NTLM).unwrap();
        // The copy has it, the original has not.
        cred.inquire_by_mech().map(drop).unwrap_err();
        assert_works(copy, usage);
        cred.add(None, usage, &NTLM).unwrap();
        let failure = cred.add(None, usage, &NTLM).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_DUPLICATE_ELEMENT, "{failure:?}");
        assert_works(cred, usage);
    }
}

#[test]
fn is_copied_with_all_that_it_has() {
    let alice = Name::user("DOM\\alice");
    let mut cred = Cred::with_password(&alice, PASSWORD, &NTLM).unwrap();
    // Neither SIGN nor SEAL, which would add what the default minimum requires.
    cred.set_option(&NEG_FLAGS, &0x2080_8205_u32.to_ne_bytes()).unwrap();
    // The mechglue copies by exporting and importing.
    let copy = cred.copy_with(None, Usage::Initiate, &SPNEGO).unwrap();
    for cred in [cred, copy] {
        let handshake = Handshake::with_cred(&NTLM, cred).flags(0);
        assert_eq!(flags_of(&handshake.initiator().token(None)) & 0x0208_0000, 0, "no Version, no extended security");
        assert_eq!(handshake.establish().source, "DOM\\alice");
    }
}
