//! Names as users, administrators and other processes write them. A name that is shown or exported means the same name again.
//!
//! Input: one byte, then text or an exported name.

#![no_main]

use gss_ntlm::{
    bytes::Reader,
    error::Message,
    name::{Name, Principal},
    text::{
        DisplayUtf16, Escaped, from_utf16le, password_to_utf16le, same_name, to_oem, to_utf16le, upper, upper_utf16le,
    },
};
use gss_ntlm_fuzz::{assert_one_line, no_fault};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Ok(name) = no_fault(Name::from_exported(bytes)) {
                check(&name);
            }
        }
        1 => principal(bytes),
        2 => text(bytes),
        _ => {
            let Ok(text) = str::from_utf8(bytes) else { return };
            if let Ok(name) = no_fault(Name::parse_user(text)) {
                assert_eq!(Name::parse_user(&name.to_string()), Ok(name.clone()));
                assert!(matches!(name, Name::User(_)));
                check(&name);
            }
            if let Ok(name) = no_fault(Name::parse_service(text, "host")) {
                assert_eq!(Name::parse_service(&name.to_string(), "other"), Ok(name.clone()));
                check(&name);
            }
            if let Ok(name) = no_fault(Name::parse_canonical(text)) {
                check(&name);
            }
        }
    }
});

fn check(name: &Name) {
    assert_eq!(Name::parse_canonical(&name.canonical()).as_ref(), Ok(name));
    assert_eq!(Name::from_exported(&name.to_exported().unwrap()).as_ref(), Ok(name));
    let mut exported = Vec::new();
    name.export(&mut exported).unwrap();
    let mut reader = Reader::new(Message::ExportedContext, &exported);
    assert_eq!(Name::import(&mut reader).as_ref(), Ok(name));
    assert!(reader.rest().is_empty());
    assert_eq!(name.is_same(name), *name != Name::Anonymous);
    match name {
        Name::User(user) => {
            user.ensure_valid().unwrap();
            assert_eq!(user.local(&user.domain, ""), user.user);
            // The name of an account of another domain is never that of a local one.
            let other = format!("{}x", user.domain);
            assert_eq!(user.local(&other, &other).contains('\\'), !user.domain.is_empty());
        }
        Name::Service(service) => {
            service.ensure_valid().unwrap();
            assert_eq!(service.spn().is_some(), !service.service.is_empty());
        }
        Name::Anonymous => {}
    }
}

fn principal(bytes: &[u8]) {
    let mut reader = Reader::new(Message::ExportedContext, bytes);
    let Ok(principal) = no_fault(Principal::import(&mut reader)) else { return };
    check(&principal.name);
    let mut again = Vec::new();
    principal.export(&mut again).unwrap();
    assert_eq!([&again, reader.rest()].concat(), bytes);
    for (at, attribute) in principal.attributes().enumerate() {
        assert!(principal.attributes().skip(at + 1).all(|other| other != attribute), "an attribute has one value");
        assert!(principal.get(attribute).is_some_and(|value| !value.is_empty()));
        let _ = principal.is_authenticated(attribute);
    }
}

fn text(bytes: &[u8]) {
    assert_one_line(&DisplayUtf16(bytes).to_string());
    assert_eq!(upper_utf16le(bytes).len(), bytes.len() / 2 * 2);
    if let Some(text) = from_utf16le(bytes) {
        assert_eq!(to_utf16le(&text), bytes);
        assert_eq!(to_utf16le(&upper(&text)), upper_utf16le(bytes));
        assert!(same_name(&text, &upper(&text)));
        assert_one_line(&Escaped(&text).to_string());
    }
    let password = password_to_utf16le(bytes).ok();
    if let Ok(text) = str::from_utf8(bytes) {
        assert_eq!(password.as_deref(), Some(&to_utf16le(text)));
        assert_eq!(to_oem(text).is_some(), text.chars().all(|c| c <= '\u{ff}'));
    }
}
