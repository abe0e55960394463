//! What the switches of the environment permit and forbid. Each test has a process of its own.

use libgssapi_sys as sys;
use libgssapi_sys::GSS_C_INTEG_FLAG;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{CHANNEL_BOUND, Failure, NTLM, Name, REQUIRE_MIC, SPNEGO};
use crate::common::handshake::{Bindings, Handshake, Refused};
use crate::common::{apart, with_environment};

use super::deferred::told_to_default_initiator;

/// The length of the AUTHENTICATE header with and without the MIC: where its payload starts at the earliest.
fn has_mic(authenticate: &[u8]) -> bool {
    // DomainName, UserName, Workstation, LmChallengeResponse, NtChallengeResponse, EncryptedRandomSessionKey.
    let offsets = [12, 20, 28, 36, 44, 52].map(|field| field + 4);
    let payload = offsets.map(|at| u32::from_le_bytes(authenticate[at..at + 4].try_into().unwrap()));
    let mic = &authenticate[72..88];
    payload.iter().all(|start| *start >= 88) && mic != [0; 16]
}

fn refusal(handshake: &Handshake) -> Refused {
    handshake.run().map(|pair| pair.source).expect_err("policy forbids it")
}

fn assert_policy_is_named(failure: &Failure) {
    assert_ne!(failure.minor, 0, "{failure:?}");
    assert!(failure.minor_text.len() > 10, "{failure:?}");
}

#[test]
fn sends_a_mic_unless_told_otherwise() {
    apart(|| {
        let pair = Handshake::of(&NTLM).establish();
        assert!(has_mic(&pair.tokens[2]));
        assert_eq!(pair.initiator.inquire_by_oid(&REQUIRE_MIC).unwrap(), [[1]]);
        let unprotected = Handshake::of(&NTLM).flags(0).establish();
        assert!(has_mic(&unprotected.tokens[2]), "with or without SIGN");
    });
}

#[test]
fn sends_no_mic_where_it_is_switched_off() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let pair = Handshake::of(&NTLM).establish();
        assert!(!has_mic(&pair.tokens[2]));
        assert_eq!(pair.initiator.inquire_by_oid(&REQUIRE_MIC).unwrap(), [[0]]);
        Handshake::of(&SPNEGO).establish();
    });
}

#[test]
fn sends_a_mic_raw_only() {
    with_environment(&[("GSS_NTLM_MIC", "raw-only")], || {
        assert!(has_mic(&Handshake::of(&NTLM).establish().tokens[2]));
        let tokens = Handshake::of(&SPNEGO).establish().tokens;
        let start = |token: &[u8]| token.windows(9).position(|part| part == b"NTLMSSP\0\x03");
        let authenticate = tokens.iter().find_map(|token| start(token).map(|at| &token[at..])).unwrap();
        assert!(!has_mic(authenticate));
    });
}

#[test]
fn accepts_a_client_with_a_mic_where_one_is_required() {
    with_environment(&[("GSS_NTLM_REQUIRE_MIC", "yes")], || {
        Handshake::of(&NTLM).establish();
    });
}

#[test]
fn refuses_a_client_without_a_mic_where_one_is_required() {
    with_environment(&[("GSS_NTLM_REQUIRE_MIC", "yes"), ("GSS_NTLM_MIC", "off")], || {
        assert_policy_is_named(&refusal(&Handshake::of(&NTLM)).by_acceptor());
    });
}

#[test]
fn refuses_a_client_without_bindings_where_they_are_required() {
    with_environment(&[("GSS_NTLM_CHANNEL_BINDINGS", "required")], || {
        let channel = Some(Bindings::application(b"data"));
        let bound = Handshake::of(&NTLM).bindings(channel.clone(), channel.clone()).establish();
        assert_eq!(bound.acceptor_flags & CHANNEL_BOUND, CHANNEL_BOUND);
        let failure = refusal(&Handshake::of(&NTLM).bindings(None, channel)).by_acceptor();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_BINDINGS, "{failure:?}");
        assert_policy_is_named(&failure);
    });
}

#[test]
fn looks_at_no_bindings_where_they_are_off() {
    with_environment(&[("GSS_NTLM_CHANNEL_BINDINGS", "off")], || {
        let (here, there) = (Bindings::application(b"here"), Bindings::application(b"there"));
        let pair = Handshake::of(&NTLM).bindings(Some(here), Some(there)).establish();
        assert_eq!(pair.acceptor_flags & CHANNEL_BOUND, 0);
    });
}

/// A handshake whose initiator means `target` and whose acceptor is HTTP@server.
fn meaning(target: &'static str) -> Handshake {
    let mut handshake = Handshake::of(&NTLM);
    handshake.target = target;
    handshake.acceptor = Cred::acquire(Some(&Name::service("HTTP@server")), Usage::Accept, &NTLM).unwrap();
    handshake
}

#[test]
fn does_not_care_which_server_was_meant_unless_told_to() {
    meaning("HTTP@elsewhere").establish();
}

#[test]
fn accepts_a_client_that_meant_another_server_where_that_is_audited() {
    with_environment(&[("GSS_NTLM_TARGET_NAME", "audit")], || drop(meaning("HTTP@elsewhere").establish()));
}

#[test]
fn refuses_a_client_that_meant_another_server() {
    with_environment(&[("GSS_NTLM_TARGET_NAME", "required")], || {
        meaning("HTTP@server").establish();
        assert_policy_is_named(&refusal(&meaning("HTTP@elsewhere")).by_acceptor());
    });
}

#[test]
fn refuses_less_than_the_minimum() {
    with_environment(&[("GSS_NTLM_MINIMUM", "128,ess,sign,seal")], || {
        Handshake::of(&NTLM).establish();
        // Asked for by policy, so it is negotiated even where the program did not ask; or else the handshake fails.
        match Handshake::of(&NTLM).flags(GSS_C_INTEG_FLAG).run() {
            Ok(pair) => assert_eq!(pair.acceptor_flags & sys::GSS_C_CONF_FLAG, sys::GSS_C_CONF_FLAG),
            Err(Refused::ByAcceptor(failure) | Refused::ByInitiator(failure)) => assert_policy_is_named(&failure),
        }
    });
}

/// Every switch, with values that it does not have.
const WRONG: [(&str, &str); 9] = [
    ("GSS_NTLM_MIC", "sometimes"),
    ("GSS_NTLM_REQUIRE_MIC", "1"),
    ("GSS_NTLM_CHANNEL_BINDINGS", "requierd"),
    ("GSS_NTLM_TARGET_NAME", "on"),
    ("GSS_NTLM_MINIMUM", "129"),
    ("GSS_NTLM_MINIMUM", "sign-as-asked,seal"),
    ("GSS_NTLM_ANONYMOUS", "true"),
    ("GSS_NTLM_MAX_SKEW", "-1"),
    ("GSS_NTLM_MAX_SKEW", "4294967296"),
];

#[test]
fn says_which_switch_has_no_such_value() {
    for (switch, value) in WRONG {
        // One test, many processes; each then asks for its own switch alone.
        with_environment(&[(switch, value), ("GSSNTLM_TEST_SWITCH", switch)], || {
            #[expect(clippy::disallowed_methods, reason = "the parent's word")]
            let switch = std::env::var("GSSNTLM_TEST_SWITCH").unwrap();
            // A typing mistake must not weaken anything: nothing works until it is mended.
            let accepting = Cred::acquire(None, Usage::Accept, &NTLM).map(drop).unwrap_err();
            let by_password = Cred::with_password(&Name::user("DOM\\alice"), "Password", &NTLM).map(drop).unwrap_err();
            for failure in [told_to_default_initiator(&NTLM), accepting, by_password] {
                assert!(failure.minor_text.contains(&switch), "{failure:?}");
            }
        });
    }
}

#[test]
fn refuses_a_variable_that_is_nearly_a_switch() {
    with_environment(&[("GSS_NTLM_REQUIRED_MIC", "yes")], || {
        let by_password = Cred::with_password(&Name::user("DOM\\alice"), "Password", &NTLM).map(drop);
        for failure in [Cred::acquire(None, Usage::Accept, &NTLM).map(drop), by_password].map(Result::unwrap_err) {
            for told in
                ["GSS_NTLM_REQUIRED_MIC is not a setting of gss-ntlm", "GSS_NTLM_REQUIRE_MIC", "LM_COMPAT_LEVEL"]
            {
                assert!(failure.minor_text.contains(told), "{failure:?}");
            }
        }
    });
}

#[test]
fn takes_an_empty_value_for_none() {
    let switches: Vec<_> =
        WRONG.iter().map(|(switch, _)| (*switch, "")).chain([("LM_COMPAT_LEVEL", ""), ("GSS_NTLM_NONE", "")]).collect();
    with_environment(&switches, || {
        assert!(has_mic(&Handshake::of(&NTLM).establish().tokens[2]));
    });
}
