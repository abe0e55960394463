//! The attributes of a client's name (RFC 6680).

use libgssapi_sys as sys;

use crate::common::PASSWORD;
use crate::common::gss::{KRB5, NTLM, Name, Oid, SPNEGO};
use crate::common::handshake::{Bindings, Handshake};
use crate::common::name::AttributeValue;
use crate::common::spnego::loses_mech_list_mic;
use crate::common::{apart, with_environment};

use super::handshake::BOTH_WAYS;

const DOMAIN: &str = "urn:gss-ntlm:domain";
const WORKSTATION: &str = "urn:gss-ntlm:workstation";
const MIC: &str = "urn:gss-ntlm:mic";
const CHANNEL_BINDINGS: &str = "urn:gss-ntlm:channel-bindings";
const VERSION: &str = "urn:gss-ntlm:version";
const SIDS: &str = "urn:gssntlmssp:sids";

/// The attributes of alice without channel bindings.
const OF_ALICE: [(&str, &str); 5] =
    [(DOMAIN, "DOM"), (WORKSTATION, "SERVER"), (MIC, "verified"), (CHANNEL_BINDINGS, "none"), (VERSION, "NTLMv2")];

/// The same for a client that used `mech`, inside which there may be no MIC.
fn of_alice_by(mech: &'static Oid) -> [(&'static str, &'static str); 5] {
    let is_lost = mech.bytes() == SPNEGO.bytes() && loses_mech_list_mic();
    OF_ALICE.map(|(urn, value)| if urn == MIC && is_lost { (MIC, "none") } else { (urn, value) })
}

fn assert_has(name: &Name, attributes: &[(&str, &str)]) {
    let (is_mechs, _, listed) = name.inquire().unwrap();
    assert!(is_mechs);
    let mut listed: Vec<_> = listed.into_iter().map(|urn| String::from_utf8(urn).unwrap()).collect();
    let mut expected: Vec<_> = attributes.iter().map(|(urn, _)| (*urn).to_owned()).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    // The client's proof does not cover this name; only a MIC does.
    let has_mic = attributes.contains(&(MIC, "verified"));
    for (urn, value) in attributes {
        let value = (*value).to_owned();
        let is_authenticated = *urn != WORKSTATION || has_mic;
        let told = AttributeValue { shown: value.clone(), value, is_authenticated, is_complete: true, more: 0 };
        assert_eq!(name.attribute(urn).unwrap(), told, "{urn}");
    }
}

fn assert_has_not(name: &Name, urn: &str) {
    let failure = name.attribute(urn).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_UNAVAILABLE, "{urn}: {failure:?}");
}

#[test]
fn shows_how_a_client_logged_on() {
    apart(|| {
        for mech in BOTH_WAYS {
            assert_has(&Handshake::of(mech).establish().peer, &of_alice_by(mech));
        }
    });
}

#[test]
fn tells_no_domain_where_there_is_none() {
    apart(|| {
        let peer = Handshake::with_password(&NTLM, "ANY\\bob", PASSWORD).establish().peer;
        assert_has(&peer, &OF_ALICE[1..]);
        assert_has_not(&peer, DOMAIN);
    });
}

#[test]
fn has_no_unknown_attributes() {
    let peer = Handshake::of(&NTLM).establish().peer;
    // SIDs are winbind's.
    for urn in [SIDS, "urn:gss-ntlm:nothing", "urn:gss-ntlm:mic\0", "URN:GSS-NTLM:MIC", "x"] {
        assert_has_not(&peer, urn);
    }
}

#[test]
fn tells_the_channel() {
    let channel = Some(Bindings::application(b"data"));
    let pair = Handshake::of(&NTLM).bindings(channel.clone(), channel.clone()).establish();
    assert_eq!(pair.peer.attribute(CHANNEL_BINDINGS).unwrap().value, "matched");
    let pair = Handshake::of(&NTLM).bindings(None, channel).establish();
    assert_eq!(pair.peer.attribute(CHANNEL_BINDINGS).unwrap().value, "none");
}

#[test]
fn vouches_for_the_workstation_only_where_a_mic_does() {
    with_environment(&[("GSS_NTLM_MIC", "off")], || {
        let peer = Handshake::of(&NTLM).establish().peer;
        let workstation = peer.attribute(WORKSTATION).unwrap();
        assert_eq!((workstation.value.as_str(), workstation.is_authenticated), ("SERVER", false));
        let mic = peer.attribute(MIC).unwrap();
        assert_eq!((mic.value.as_str(), mic.is_authenticated), ("none", true));
        assert!(peer.attribute(VERSION).unwrap().is_authenticated);
    });
}

#[test]
fn goes_along_with_copies_and_contexts() {
    apart(|| {
        for mech in BOTH_WAYS {
            let mut pair = Handshake::of(mech).establish();
            assert_has(&pair.peer.duplicate().unwrap(), &of_alice_by(mech));
            assert_has(&pair.acceptor.initiator().unwrap(), &of_alice_by(mech));
            pair.acceptor.export_and_import().unwrap();
            assert_has(&pair.acceptor.initiator().unwrap(), &of_alice_by(mech));
        }
    });
}

#[test]
fn does_not_go_along_with_what_is_written_of_a_name() {
    let peer = Handshake::of(&NTLM).establish().peer;
    let imported = Name::import(peer.export().unwrap(), Some(&crate::common::gss::EXPORT_NAME)).unwrap();
    assert!(imported.is_same(&peer));
    assert_has(&imported, &[]);
    assert_has(&Name::user("DOM\\alice").canonicalize().unwrap(), &[]);
    let initiator = Handshake::of(&NTLM).establish().initiator.initiator().unwrap();
    assert_has(&initiator, &[]);
}

#[test]
fn does_not_keep_the_mechglue_asking() {
    // Another mechanism is asked to take the attributes over, one by one until there are no more.
    let peer = Handshake::of(&NTLM).establish().peer;
    let _ = peer.canonicalize_for(&KRB5);
}
