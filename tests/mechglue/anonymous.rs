//! Anonymous initiators, and acceptors that serve them.

use libgssapi_sys as sys;
use libgssapi_sys::GSS_C_ANON_FLAG;

use crate::common::cred::{Cred, Usage};
use crate::common::gss::{ANONYMOUS, Failure, NTLM, Name, SESSION_KEY};
use crate::common::handshake::{Bindings, Handshake, Pair, SIGN_AND_SEAL};
use crate::common::token::Authenticate;
use crate::common::{with_environment, world};

use super::handshake::BOTH_WAYS;
use super::message::{assert_alternates, assert_in_step};

const SERVED: (&str, &str) = ("GSS_NTLM_ANONYMOUS", "yes");
const ANONYMOUS_LOGON: &str = "NT AUTHORITY\\ANONYMOUS LOGON";

fn anonymous_name() -> Name {
    Name::import("", Some(&ANONYMOUS)).unwrap()
}

fn anonymous() -> Handshake {
    Handshake::of(&NTLM).flags(SIGN_AND_SEAL | GSS_C_ANON_FLAG)
}

fn assert_anonymous(pair: &Pair) {
    assert_eq!(pair.peer.display_with_type().unwrap(), (ANONYMOUS_LOGON.to_owned(), ANONYMOUS.bytes()));
    for flags in [pair.initiator_flags, pair.acceptor_flags] {
        assert_ne!(flags & GSS_C_ANON_FLAG, 0);
    }
    assert_eq!(pair.initiator.inquire().unwrap().initiator, ANONYMOUS_LOGON);
    assert_in_step(pair);
}

fn refusal(handshake: &Handshake) -> Failure {
    handshake.refusal_changing(|_, token| token).by_acceptor()
}

#[test]
fn is_not_served_unless_policy_says_so() {
    let failure = refusal(&anonymous());
    assert_eq!(failure.routine(), sys::_GSS_S_FAILURE, "{failure:?}");
    assert!(failure.minor_text.contains(SERVED.0), "{failure:?}");
}

#[test]
fn is_served_where_policy_says_so() {
    with_environment(&[SERVED], || {
        for mech in BOTH_WAYS {
            assert_anonymous(&Handshake::of(mech).flags(SIGN_AND_SEAL | GSS_C_ANON_FLAG).establish());
        }
        // A client with a name must still prove it.
        refusal(&Handshake::with_password(&NTLM, "DOM\\alice", "wrong"));
        assert_eq!(Handshake::of(&NTLM).establish().source, "DOM\\alice");
    });
}

#[test]
fn sends_no_name_and_no_response() {
    with_environment(&[SERVED], || {
        let sent = Authenticate::read(&anonymous().establish().tokens[2]);
        assert_eq!((sent.user, sent.domain, sent.nt_response, sent.lm_response), (vec![], vec![], vec![], vec![0]));
        assert_ne!(sent.flags & 0x800, 0, "NTLMSSP_NEGOTIATE_ANONYMOUS");
    });
}

#[test]
fn has_a_credential_of_its_own() {
    with_environment(&[SERVED], || {
        let cred = Cred::acquire(Some(&anonymous_name()), Usage::Initiate, &NTLM).unwrap();
        assert_eq!(cred.inquire().unwrap().name, ANONYMOUS_LOGON);
        let imported = Cred::import(&cred.export().unwrap()).unwrap();
        assert_eq!(imported.inquire().unwrap().usage, Usage::Initiate);
        for cred in [cred, imported] {
            // The flag need not be asked for.
            assert_anonymous(&Handshake::with_cred(&NTLM, cred).establish());
        }
        Cred::acquire(Some(&anonymous_name()), Usage::Accept, &NTLM)
            .map(drop)
            .expect_err("an acceptor is not anonymous");
    });
}

#[test]
fn needs_no_user_file() {
    let users = world().file("anonymous", "DOM:alice:Password\n").display().to_string();
    with_environment(&[SERVED, ("NTLM_USER_FILE", "/nonexistent/users"), ("GSSNTLM_TEST_FILE", &users)], || {
        #[expect(clippy::disallowed_methods, reason = "the parent's word")]
        let users = std::env::var("GSSNTLM_TEST_FILE").unwrap();
        let store = [("ntlmssp_keyfile", users.as_str())];
        let named = Cred::acquire(Some(&anonymous_name()), Usage::Initiate, &NTLM).unwrap();
        for initiator in [Cred::none(), named] {
            let acceptor = Cred::acquire_from(None, Usage::Accept, &store, &NTLM).unwrap();
            let handshake = Handshake::between(&NTLM, initiator, acceptor).flags(SIGN_AND_SEAL | GSS_C_ANON_FLAG);
            assert_anonymous(&handshake.establish());
        }
    });
}

#[test]
fn has_a_key_that_everybody_knows_unless_one_is_exchanged() {
    with_environment(&[SERVED], || {
        let key = |context: &crate::common::context::Ctx| context.inquire_by_oid(&SESSION_KEY).unwrap();
        let plain = anonymous().flags(GSS_C_ANON_FLAG).establish();
        assert_eq!([key(&plain.initiator), key(&plain.acceptor)], [[[0; 16]], [[0; 16]]]);
        let pair = anonymous().establish();
        assert_eq!(key(&pair.initiator), key(&pair.acceptor));
        assert_ne!(key(&pair.initiator), [[0; 16]]);
        assert_alternates(&pair);
    });
}

#[test]
fn is_not_the_same_as_another_and_has_no_account_here() {
    with_environment(&[SERVED], || {
        let (one, other) = (anonymous().establish(), anonymous().establish());
        assert!(!one.peer.is_same(&other.peer));
        let imported = anonymous_name().canonicalize().unwrap();
        assert!(!one.peer.is_same(&imported) && !imported.is_same(&one.peer));
        assert!(!imported.is_same(&anonymous_name().canonicalize().unwrap()));
        one.peer.localname().unwrap_err();
        for account in ["root", "nobody", "ANONYMOUS LOGON", ANONYMOUS_LOGON] {
            assert!(!one.peer.may_be(account), "{account}");
        }
        assert_eq!(one.peer.attribute("urn:gss-ntlm:version").unwrap().value, "anonymous");
        assert_eq!(one.peer.attribute("urn:gss-ntlm:mic").unwrap().value, "none");
        one.peer.attribute("urn:gss-ntlm:domain").unwrap_err();
    });
}

#[test]
fn goes_on_in_another_process() {
    with_environment(&[SERVED], || {
        let mut pair = anonymous().establish();
        pair.initiator.export_and_import().unwrap();
        pair.acceptor.export_and_import().unwrap();
        let facts = pair.acceptor.inquire().unwrap();
        assert_eq!(facts.initiator, ANONYMOUS_LOGON);
        assert_ne!(facts.flags & GSS_C_ANON_FLAG, 0);
        assert_in_step(&pair);
    });
}

#[test]
fn is_no_way_round_a_mic_that_is_required() {
    with_environment(&[SERVED, ("GSS_NTLM_REQUIRE_MIC", "yes")], || {
        refusal(&anonymous());
    });
}

#[test]
fn is_no_way_round_bindings_that_are_required() {
    with_environment(&[SERVED, ("GSS_NTLM_CHANNEL_BINDINGS", "required")], || {
        let channel = Some(Bindings::application(b"data"));
        let failure = refusal(&anonymous().bindings(channel.clone(), channel));
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_BINDINGS, "{failure:?}");
    });
}

#[test]
fn is_not_a_client_that_claims_a_name_without_a_proof() {
    with_environment(&[SERVED], || {
        let forge = |change: fn(&mut Authenticate)| {
            move |number, token: Vec<u8>| {
                if number != 2 {
                    return token;
                }
                let mut message = Authenticate::read(&token);
                change(&mut message);
                message.write(72)
            }
        };
        let name_without_proof: fn(&mut Authenticate) = |message| message.user = vec![b'a', 0];
        let proof_without_name: fn(&mut Authenticate) = |message| message.nt_response = vec![0; 24];
        let two_bytes: fn(&mut Authenticate) = |message| message.lm_response = vec![0, 0];
        let not_zero: fn(&mut Authenticate) = |message| message.lm_response = vec![1];
        for change in [name_without_proof, proof_without_name, two_bytes, not_zero] {
            anonymous().refusal_changing(forge(change)).by_acceptor();
        }
        // No LM response at all is the same as one byte.
        assert_anonymous(&anonymous().establish_changing(forge(|message| message.lm_response.clear())));
    });
}

#[test]
fn is_no_account_of_the_user_file() {
    let users = world().file("impostor", "NT AUTHORITY:ANONYMOUS LOGON:Password\n").display().to_string();
    let store = [("ntlmssp_keyfile", users.as_str())];
    Cred::acquire_from(None, Usage::Initiate, &store, &NTLM).map(drop).expect_err("no entry of that file is one");
    Name::user(ANONYMOUS_LOGON).canonicalize().map(drop).expect_err("no user has that name");
}
