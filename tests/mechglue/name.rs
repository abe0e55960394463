//! Names, and what the mechanism tells about itself.

use libgssapi_sys as sys;

use crate::common::gss::{
    self, ANONYMOUS, EXPORT_NAME, HOSTBASED_SERVICE, HOSTBASED_SERVICE_X, KRB5, MACHINE_UID, NTLM, Name, STRING_UID,
    USER_NAME, attributes_of, mech_of_sasl_name, name_types_of,
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

/// Forms of the names of users; each row is one name, the form that is shown comes first.
const USERS: [&[&str]; 5] = [
    &["alice", "\\alice"],
    &["DOM\\alice", "alice@DOM"],
    &["alice\\@example.com", "\\alice@example.com"],
    &["DOM\\alice@example.com", "alice\\@example.com@DOM"],
    &["DOM.EXAMPLE\\a b:c/d", "a b:c/d@DOM.EXAMPLE"],
];

const SERVICES: [&str; 4] = ["HTTP/www.example.com", "ldap/dc", "@www.example.com", "host/[::1]"];

#[test]
fn knows_the_forms_of_users() {
    for spellings in USERS {
        for text in spellings {
            let name = canonical(text);
            assert_eq!(name.display(), spellings[0], "{text}");
            assert!(name.is_same(&canonical(spellings[0])), "{text}");
        }
    }
    for (one, other) in (0..USERS.len()).flat_map(|one| (0..one).map(move |other| (USERS[one][0], USERS[other][0]))) {
        assert!(!canonical(one).is_same(&canonical(other)), "{one} is not {other}");
    }
}

#[test]
fn refuses_what_is_not_the_name_of_a_user() {
    let too_long = "x".repeat(1025);
    let texts = ["", "DOM\\", "@DOM", "\\", "A\\b\\c", "al\0ice", "\0", "\\@", &too_long];
    for text in texts.map(str::as_bytes).into_iter().chain([&b"caf\xe9"[..], b"\xed\xa0\x80"]) {
        let outcome = Name::import(text, Some(&USER_NAME)).and_then(|name| name.canonicalize());
        let failure = outcome.map(|name| name.display()).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_NAME, "{text:?}: {failure:?}");
    }
    canonical(&"x".repeat(1024));
}

#[test]
fn refuses_what_is_not_the_name_of_a_service() {
    for text in ["", "@", "HTTP@", "HTTP@a@b", "DOM\\HTTP@a", "HT\0TP@a"] {
        let outcome = Name::import(text, Some(&HOSTBASED_SERVICE)).and_then(|name| name.canonicalize());
        let failure = outcome.map(|name| name.display()).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_NAME, "{text:?}: {failure:?}");
    }
}

#[test]
fn shows_what_imports_again_as_the_same() {
    for text in USERS.into_iter().flatten() {
        let name = canonical(text);
        assert!(canonical(&name.display()).is_same(&name), "{text}");
    }
    for text in SERVICES {
        let name = service(text);
        assert!(service(&name.display()).is_same(&name), "{text}");
    }
    let (shown, kind) = anonymous().display_with_type().unwrap();
    assert_eq!(kind, ANONYMOUS.bytes());
    let again = Name::import(&shown, Some(&ANONYMOUS)).unwrap().canonicalize().unwrap();
    assert_eq!(again.display(), shown);
}

fn service(text: &str) -> Name {
    Name::service(text).canonicalize().unwrap()
}

fn anonymous() -> Name {
    Name::import("", Some(&ANONYMOUS)).and_then(|name| name.canonicalize()).unwrap()
}

#[test]
fn compares_in_any_letter_case() {
    let equal = [("DOM\\alice", "dom\\ALICE"), ("alice", "Alice"), ("DOM\\müller", "Müller@dom"), ("straße", "STRAßE")];
    for (one, other) in equal {
        assert!(canonical(one).is_same(&canonical(other)), "{one} is {other}");
    }
    let different = [("DOM\\alice", "alice"), ("DOM\\alice", "TWO\\alice"), ("straße", "strasse"), ("a", "b")];
    for (one, other) in different {
        assert!(!canonical(one).is_same(&canonical(other)), "{one} is not {other}");
        assert!(!canonical(other).is_same(&canonical(one)), "{other} is not {one}");
    }
    assert!(service("HTTP@www").is_same(&service("http/WWW")));
    assert!(!service("HTTP@www").is_same(&service("HTTP@www2")) && !service("HTTP@www").is_same(&service("@www")));
    assert!(!service("HTTP@www").is_same(&canonical("HTTP/www")));
}

#[test]
fn compares_with_names_that_it_has_not_seen_yet() {
    assert!(canonical("DOM\\alice").is_same(&Name::user("alice@dom")));
    assert!(Name::user("alice@dom").is_same(&canonical("DOM\\alice")));
    assert!(!canonical("DOM\\alice").is_same(&Name::user("alice")));
}

#[test]
fn takes_numbers_for_accounts_of_this_computer() {
    let of_machine = |bytes: &[u8]| Name::import(bytes, Some(&MACHINE_UID)).and_then(|name| name.canonicalize());
    let of_string = |text: &str| Name::import(text, Some(&STRING_UID)).and_then(|name| name.canonicalize());
    assert_eq!(of_machine(&0_u32.to_ne_bytes()).unwrap().display(), "root");
    assert_eq!(of_string("0").unwrap().display(), "root");
    let unknown = 4_000_000_123_u32;
    let wrong = [of_machine(&unknown.to_ne_bytes()), of_machine(b"123"), of_machine(b"12345"), of_machine(b"")];
    let strings = [unknown.to_string().as_str(), "", "-1", "root", "0x0", "99999999999"].map(of_string);
    for outcome in wrong.into_iter().chain(strings) {
        let failure = outcome.map(|name| name.display()).unwrap_err();
        assert_eq!(failure.routine(), sys::_GSS_S_BAD_NAME, "{failure:?}");
    }
}

#[test]
fn knows_both_types_of_services() {
    let name = Name::import("HTTP@www", Some(&HOSTBASED_SERVICE_X)).and_then(|name| name.canonicalize()).unwrap();
    assert!(name.is_same(&service("HTTP@www")));
}

/// The token of RFC 2743 3.2 with `name` in it.
fn exported(name: &[u8]) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
    [&b"\x04\x01\x00\x0c\x06\x0a"[..], &NTLM.bytes(), &length, name].concat()
}

fn import_exported(token: &[u8]) -> gss::Gss<Name> {
    Name::import(token, Some(&EXPORT_NAME))
}

#[test]
fn exports_what_imports_as_the_same() {
    for text in USERS.into_iter().flatten() {
        let name = canonical(text);
        let token = name.export().unwrap();
        assert!(import_exported(&token).unwrap().is_same(&name), "{text}");
        // Two spellings of one name have one token, for programs that compare tokens.
        assert_eq!(token, canonical(&name.display()).export().unwrap(), "{text}");
    }
    for text in SERVICES {
        let name = service(text);
        let again = import_exported(&name.export().unwrap()).unwrap();
        assert!(again.is_same(&name), "{text}");
        assert_eq!(again.display_with_type().unwrap(), name.display_with_type().unwrap());
    }
    let again = import_exported(&anonymous().export().unwrap()).unwrap();
    assert_eq!(again.display_with_type().unwrap(), anonymous().display_with_type().unwrap());
    assert_eq!(canonical("DOM\\alice").export().unwrap(), exported(b"DOM\\alice"));
}

#[test]
fn imports_what_gss_ntlmssp_exported() {
    for (name, same) in [("DOM\\alice\0", "DOM\\alice"), ("alice\0", "alice"), ("alice@x\0", "\\alice@x")] {
        assert!(import_exported(&exported(name.as_bytes())).unwrap().is_same(&canonical(same)), "{name}");
    }
    assert!(import_exported(&exported(b"HTTP/www\0")).unwrap().is_same(&service("HTTP@www")));
    let name = import_exported(&exported(b"NT AUTHORITY\\ANONYMOUS LOGON\0")).unwrap();
    assert_eq!(name.display_with_type().unwrap().1, ANONYMOUS.bytes());
}

#[test]
fn exports_only_names_of_its_own() {
    let failure = Name::user("alice").export().unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_NAME_NOT_MN, "{failure:?}");
}

#[test]
fn knows_the_anonymous_name() {
    let (display, kind) = anonymous().display_with_type().unwrap();
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
fn lists_the_types_of_names() {
    let types = name_types_of(&NTLM).unwrap();
    let all =
        [&USER_NAME, &HOSTBASED_SERVICE, &HOSTBASED_SERVICE_X, &MACHINE_UID, &STRING_UID, &ANONYMOUS, &EXPORT_NAME];
    for wanted in all {
        assert!(types.contains(&wanted.bytes()));
    }
    assert_eq!(types.len(), all.len());
    assert!(Name::user("alice").mechs().unwrap().contains(&NTLM.bytes()));
}

#[test]
fn lists_its_attributes() {
    let attributes = attributes_of(&NTLM).unwrap();
    let has = |attribute: u8| attributes.contains(&vec![0x2b, 6, 1, 5, 5, 13, attribute]);
    // CONCRETE, AUTH_INIT, AUTH_INIT_INIT, AUTH_INIT_ANON, INTEG_PROT, CONF_PROT, MIC, WRAP, REPLAY_DET, OOS_DET, CBINDINGS,
    // CTX_TRANS of RFC 5587.
    for wanted in [1, 10, 12, 14, 17, 18, 19, 20, 22, 23, 24, 27] {
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
