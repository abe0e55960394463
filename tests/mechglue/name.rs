//! Names, and what the mechanism tells about itself.

use libgssapi_sys as sys;

use crate::common::gss::{
    self, ANONYMOUS, HOSTBASED_SERVICE, KRB5, NTLM, Name, USER_NAME, attributes_of, mech_of_sasl_name, name_types_of,
};

fn canonical(text: &str) -> Name {
    Name::user(text).canonicalize().unwrap()
}

#[test]
fn shows_users_as_domain_and_user() {
    for (text, shown) in [("DOM\\alice", "DOM\\alice"), ("alice@DOM", "DOM\\alice"), ("alice", "alice")] {
        let (display, kind) = canonical(text).display_with_type().unwrap();
        assert_eq!(display, shown);
        assert_eq!(kind, USER_NAME.bytes());
    }
}

#[test]
fn shows_services_as_service_principal_names() {
    for (text, shown) in [("HTTP@www.example.com", "HTTP/www.example.com"), ("ldap@dc", "ldap/dc")] {
        let (display, kind) = Name::service(text).canonicalize().unwrap().display_with_type().unwrap();
        assert_eq!(display, shown);
        assert_eq!(kind, HOSTBASED_SERVICE.bytes());
    }
    let here = Name::service("HTTP").canonicalize().unwrap().display();
    assert!(here.starts_with("HTTP/") && here.len() > "HTTP/".len(), "a service alone is on this host: {here}");
}

#[test]
fn shows_what_imports_again_as_the_same() {
    let users = [
        "DOM\\alice",
        "alice",
        "alice@DOM",
        "alice\\@example.com",
        "alice\\@example.com@DOM",
        "DOM\\alice@example.com",
    ];
    for text in users {
        let shown = canonical(text).display();
        assert_eq!(canonical(&shown).display(), shown, "{text}");
    }
}

#[test]
fn knows_nobody() {
    let nobody = Name::import("", Some(&ANONYMOUS)).and_then(|name| name.canonicalize());
    let (display, kind) = nobody.unwrap().display_with_type().unwrap();
    assert_eq!(display, "NT AUTHORITY\\ANONYMOUS LOGON");
    assert_eq!(kind, ANONYMOUS.bytes());
}

#[test]
fn takes_a_name_without_a_type_for_a_user() {
    let name = Name::import("DOM\\alice", None).unwrap().canonicalize().unwrap();
    assert_eq!(name.display(), "DOM\\alice");
}

#[test]
fn refuses_a_type_that_it_does_not_know() {
    let failure = Name::import("x", Some(&gss::UNKNOWN)).and_then(|name| name.canonicalize()).map(drop).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_BAD_NAMETYPE, "{failure:?}");
}

#[test]
fn outlives_the_name_that_it_was_copied_from() {
    let copy = {
        let original = canonical("DOM\\alice");
        original.duplicate().unwrap()
    };
    assert_eq!(copy.display(), "DOM\\alice");
    assert_eq!(Name::user("DOM\\alice").duplicate().unwrap().display(), "DOM\\alice");
}

#[test]
fn tells_whose_name_it_is() {
    let (is_mechs, mech, attributes) = canonical("DOM\\alice").inquire().unwrap();
    assert!(is_mechs);
    assert_eq!(mech, NTLM.bytes());
    assert!(attributes.iter().all(|attribute| !attribute.is_empty() && !attribute.contains(&b'=')), "names alone");
}

#[test]
fn drops_only_its_own_domain_from_a_local_name() {
    assert_eq!(canonical("bob").localname().unwrap(), "bob");
    // Another domain's alice is not this machine's.
    if let Ok(local) = canonical("ELSEWHERE\\alice").localname() {
        assert!(local.contains("ELSEWHERE"), "{local}");
    }
}

#[test]
fn lists_the_types_of_names() {
    let types = name_types_of(&NTLM).unwrap();
    for wanted in [&USER_NAME, &HOSTBASED_SERVICE, &ANONYMOUS] {
        assert!(types.contains(&wanted.bytes()));
    }
}

#[test]
fn lists_its_attributes() {
    let attributes = attributes_of(&NTLM).unwrap();
    let has = |attribute: u8| attributes.contains(&vec![0x2b, 6, 1, 5, 5, 13, attribute]);
    // CONCRETE, AUTH_INIT, INTEG_PROT, CONF_PROT, MIC, WRAP, OOS_DET, CBINDINGS, CTX_TRANS of RFC 5587.
    for wanted in [1, 10, 17, 18, 19, 20, 23, 24, 27] {
        assert!(has(wanted), "1.3.6.1.5.5.13.{wanted}");
    }
    // DEPRECATED and NOT_DFLT_MECH would hide it from programs that name no mechanism; it authenticates no target.
    for unwanted in [7, 8, 11] {
        assert!(!has(unwanted), "1.3.6.1.5.5.13.{unwanted}");
    }
}

#[test]
fn has_a_name_for_sasl() {
    let [sasl, name, description] = gss::sasl_name_of(&NTLM).unwrap();
    assert_eq!(&*sasl, b"GS2-NTLM");
    assert_eq!(&*name, b"NTLM");
    assert_eq!(&*description, b"NTLM Mechanism");
    assert_eq!(mech_of_sasl_name("GS2-NTLM").unwrap(), NTLM.bytes());
    // Others' names are none of ours: the mechglue must go on to the mechanism that has it.
    assert_eq!(mech_of_sasl_name("GS2-KRB5").unwrap(), KRB5.bytes());
}
