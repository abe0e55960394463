//! Who may come in, what the two sides then say about each other, and who may not.

use libgssapi_sys as sys;
use libgssapi_sys::{
    GSS_C_CONF_FLAG, GSS_C_DCE_STYLE, GSS_C_DELEG_FLAG, GSS_C_IDENTIFY_FLAG, GSS_C_INTEG_FLAG, GSS_C_MUTUAL_FLAG,
    GSS_C_REPLAY_FLAG, GSS_C_SEQUENCE_FLAG, GSS_C_TRANS_FLAG,
};

use crate::common::PASSWORD;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{CHANNEL_BOUND, Failure, INDEFINITE, NTLM, Name, Oid, SPNEGO};
use crate::common::handshake::{Bindings, Handshake, SIGN_AND_SEAL};

/// Raw, and with SPNEGO above.
pub(crate) static BOTH_WAYS: [&Oid; 2] = [&NTLM, &SPNEGO];

#[test]
fn accepts_a_password() {
    for mech in BOTH_WAYS {
        let pair = Handshake::with_password(mech, "DOM\\alice", PASSWORD).establish();
        assert_eq!(pair.source, "DOM\\alice");
    }
}

#[test]
fn accepts_an_account_of_the_user_file() {
    for mech in BOTH_WAYS {
        let cred = Cred::acquire(Some(&Name::user("DOM\\alice")), Usage::Initiate, mech).unwrap();
        assert_eq!(Handshake::with_cred(mech, cred).establish().source, "DOM\\alice");
    }
}

#[test]
fn accepts_without_any_credential_given() {
    for mech in BOTH_WAYS {
        let mut handshake = Handshake::with_cred(mech, Cred::none());
        handshake.acceptor = Cred::none();
        let pair = handshake.establish();
        assert_eq!(pair.source, "DOM\\alice", "the first account is the default one");
    }
}

#[test]
fn accepts_a_raw_token_where_spnego_is_expected() {
    let mut handshake = Handshake::of(&NTLM);
    handshake.acceptor = Cred::none();
    let mut acceptor = handshake.acceptor();
    let mut initiator = handshake.initiator();
    let challenge = acceptor.token(&initiator.token(None));
    let done = acceptor.step(&initiator.token(Some(&challenge))).unwrap();
    assert!(done.complete);
    assert_eq!(done.mech, NTLM.bytes());
}

#[test]
fn sends_three_messages_and_names_the_mechanism() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());

    let negotiate = initiator.step(None).unwrap();
    assert!(!negotiate.complete);
    assert_eq!(negotiate.mech, NTLM.bytes());
    assert!(negotiate.token.starts_with(b"NTLMSSP\0\x01\0\0\0"));

    let challenge = acceptor.step(&negotiate.token).unwrap();
    // The mechglue itself does not hand on an acceptor's mechanism before the end.
    assert!(!challenge.complete && challenge.source.is_none());
    assert!(challenge.token.starts_with(b"NTLMSSP\0\x02\0\0\0"));

    let authenticate = initiator.step(Some(&challenge.token)).unwrap();
    assert!(authenticate.complete);
    assert_eq!(authenticate.lifetime, INDEFINITE);
    assert!(authenticate.token.starts_with(b"NTLMSSP\0\x03\0\0\0"));

    let done = acceptor.step(&authenticate.token).unwrap();
    assert!(done.complete && done.token.is_empty());
    assert_eq!(done.lifetime, INDEFINITE);
    assert_eq!(done.mech, NTLM.bytes());
    assert_eq!(done.source.unwrap().display(), "DOM\\alice");
}

#[test]
fn takes_an_empty_first_token_like_none() {
    let handshake = Handshake::of(&NTLM);
    let step = handshake.initiator().step(Some(b"")).unwrap();
    assert!(!step.complete && step.token.starts_with(b"NTLMSSP\0\x01"));
}

#[test]
fn tells_the_truth_in_its_flags() {
    let protected = SIGN_AND_SEAL | GSS_C_TRANS_FLAG;
    let signed = protected & !GSS_C_CONF_FLAG;
    let asked_and_told = [
        (GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG, protected),
        (GSS_C_CONF_FLAG, protected),
        (GSS_C_INTEG_FLAG, signed),
        (GSS_C_REPLAY_FLAG, signed),
        (GSS_C_SEQUENCE_FLAG, signed),
        (SIGN_AND_SEAL | GSS_C_MUTUAL_FLAG | GSS_C_DELEG_FLAG | GSS_C_DCE_STYLE, protected),
        (GSS_C_INTEG_FLAG | GSS_C_IDENTIFY_FLAG, signed | GSS_C_IDENTIFY_FLAG),
        (0, GSS_C_TRANS_FLAG),
        (GSS_C_MUTUAL_FLAG, GSS_C_TRANS_FLAG),
    ];
    for (asked, told) in asked_and_told {
        let pair = Handshake::of(&NTLM).flags(asked).establish();
        // SEAL brings SIGN along in NTLM, whatever was asked by name: both ends then say so.
        assert_eq!(pair.initiator_flags, told, "initiator, asked for {asked:#x}");
        assert_eq!(pair.acceptor_flags, told, "acceptor, asked for {asked:#x}");
        assert_eq!(pair.initiator.inquire().unwrap().flags, told, "asked for {asked:#x}");
        assert_eq!(pair.acceptor.inquire().unwrap().flags, told, "asked for {asked:#x}");
    }
}

#[test]
fn tells_the_truth_through_spnego_too() {
    let pair = Handshake::of(&SPNEGO).flags(SIGN_AND_SEAL | GSS_C_MUTUAL_FLAG | GSS_C_DELEG_FLAG).establish();
    for flags in [pair.initiator_flags, pair.acceptor_flags] {
        assert_eq!(flags & SIGN_AND_SEAL, SIGN_AND_SEAL);
        assert_eq!(flags & (GSS_C_MUTUAL_FLAG | GSS_C_DELEG_FLAG), 0);
    }
}

fn refusal(mech: &'static Oid, user: &str, password: &str) -> Failure {
    Handshake::with_password(mech, user, password).run().map(|pair| pair.source).unwrap_err().by_acceptor()
}

#[test]
fn refuses_a_wrong_password_and_an_unknown_user_alike() {
    for mech in BOTH_WAYS {
        let wrong = refusal(mech, "DOM\\alice", "wrong");
        assert_eq!(wrong.routine(), sys::_GSS_S_FAILURE, "{wrong:?}");
        for (user, password) in [("DOM\\nobody", PASSWORD), ("ELSEWHERE\\alice", PASSWORD), ("locked", PASSWORD)] {
            let unknown = refusal(mech, user, password);
            assert_eq!((unknown.major, unknown.minor), (wrong.major, wrong.minor), "{user}: {unknown:?}");
        }
        assert!(!wrong.minor_text.is_empty());
    }
}

#[test]
fn accepts_every_kind_of_line_in_the_user_file() {
    let users_and_sources = [
        ("DOM\\alice", PASSWORD, "DOM\\alice"),
        ("dom\\ALICE", PASSWORD, "DOM\\alice"),
        ("alice", PASSWORD, "DOM\\alice"),
        ("bob", PASSWORD, "bob"),
        ("ANY\\bob", PASSWORD, "bob"),
        ("DOM\\colons", "with:colons:in:it", "DOM\\colons"),
        ("DOM\\crlf", PASSWORD, "DOM\\crlf"),
        ("smb", PASSWORD, "smb"),
        ("OTHER\\domsmb", PASSWORD, "OTHER\\domsmb"),
    ];
    for (user, password, source) in users_and_sources {
        let pair = Handshake::with_password(&NTLM, user, password).establish();
        assert_eq!(pair.source, source, "for {user}");
    }
}

#[test]
fn refuses_what_a_comment_holds() {
    refusal(&NTLM, "DOM\\commented", PASSWORD);
}

#[test]
fn tells_the_acceptor_that_the_channel_is_bound() {
    let channel = Bindings::application(b"tls-server-end-point:0123456789abcdef");
    for mech in BOTH_WAYS {
        let pair = Handshake::of(mech).bindings(Some(channel.clone()), Some(channel.clone())).establish();
        assert_eq!(pair.acceptor_flags & CHANNEL_BOUND, CHANNEL_BOUND);
        assert_eq!(pair.initiator_flags & CHANNEL_BOUND, 0, "nobody told the initiator");
    }
}

#[test]
fn binds_to_addresses_and_to_nothing_as_well() {
    let with_addresses = Bindings {
        initiator: (sys::GSS_C_AF_INET, vec![127, 0, 0, 1]),
        acceptor: (sys::GSS_C_AF_INET, vec![127, 0, 0, 2]),
        application: b"data".to_vec(),
    };
    for channel in [with_addresses, Bindings::default()] {
        let pair = Handshake::of(&NTLM).bindings(Some(channel.clone()), Some(channel)).establish();
        assert_eq!(pair.acceptor_flags & CHANNEL_BOUND, CHANNEL_BOUND);
    }
}

#[test]
fn takes_a_null_address_for_none() {
    let null = (sys::GSS_C_AF_NULLADDR, Vec::new());
    let explicit = Bindings { initiator: null.clone(), acceptor: null, application: b"data".to_vec() };
    let pair = Handshake::of(&NTLM).bindings(Some(explicit), Some(Bindings::application(b"data"))).establish();
    assert_eq!(pair.acceptor_flags & CHANNEL_BOUND, CHANNEL_BOUND);
}

#[test]
fn refuses_another_channel() {
    let (here, there) = (Bindings::application(b"here"), Bindings::application(b"there"));
    for mech in BOTH_WAYS {
        let refused = Handshake::of(mech).bindings(Some(here.clone()), Some(there.clone())).run();
        let failure = refused.map(|pair| pair.source).unwrap_err().by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_BINDINGS, "{failure:?}");
    }
}

#[test]
fn says_nothing_of_a_channel_that_one_side_alone_knows() {
    let channel = Bindings::application(b"data");
    for (initiator, acceptor) in [(Some(channel.clone()), None), (None, Some(channel)), (None, None)] {
        let pair = Handshake::of(&NTLM).bindings(initiator, acceptor).establish();
        assert_eq!(pair.acceptor_flags & CHANNEL_BOUND, 0);
    }
}
