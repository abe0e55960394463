//! What a program, or a mechglue, may do wrong: an error and nothing changed, never a crash.

use std::ffi::{CString, c_void};
use std::mem::transmute;
use std::ptr::null_mut;

use libgssapi_sys as sys;

use crate::common::context::Ctx;
use crate::common::gss::{Buffer, NTLM, SESSION_KEY, UNKNOWN, invoke, lend};
use crate::common::handshake::Handshake;
use crate::common::{library_of, with_environment, world};

use super::message::assert_in_step;

/// Calls that may succeed though every pointer but the minor status is NULL: nothing to release, or nothing asked.
const MAY_SUCCEED: [&str; 11] = [
    "gss_delete_sec_context",
    "gss_display_status",
    "gss_inquire_attrs_for_mech",
    "gss_inquire_cred",
    "gss_inquire_cred_by_mech",
    "gss_inquire_saslname_for_mech",
    "gss_internal_release_oid",
    "gss_release_cred",
    "gss_release_name",
    "gssspi_mech_invoke",
    "gss_inquire_mech_for_saslname",
];

/// Every function that the plugin exports, in the order of the mechglue's table.
const EXPORTED: [&str; 46] = [
    "gss_acquire_cred",
    "gss_release_cred",
    "gss_init_sec_context",
    "gss_accept_sec_context",
    "gss_delete_sec_context",
    "gss_context_time",
    "gss_get_mic",
    "gss_verify_mic",
    "gss_wrap",
    "gss_unwrap",
    "gss_display_status",
    "gss_compare_name",
    "gss_display_name",
    "gss_import_name",
    "gss_release_name",
    "gss_inquire_cred",
    "gss_export_sec_context",
    "gss_import_sec_context",
    "gss_inquire_cred_by_mech",
    "gss_inquire_names_for_mech",
    "gss_inquire_context",
    "gss_internal_release_oid",
    "gss_wrap_size_limit",
    "gss_localname",
    "gssspi_authorize_localname",
    "gss_export_name",
    "gss_duplicate_name",
    "gss_inquire_sec_context_by_oid",
    "gss_set_sec_context_option",
    "gssspi_set_cred_option",
    "gssspi_mech_invoke",
    "gss_wrap_iov",
    "gss_unwrap_iov",
    "gss_wrap_iov_length",
    "gss_inquire_name",
    "gss_get_name_attribute",
    "gss_inquire_saslname_for_mech",
    "gss_inquire_mech_for_saslname",
    "gss_inquire_attrs_for_mech",
    "gss_acquire_cred_from",
    "gssspi_acquire_cred_with_password",
    "gss_export_cred",
    "gss_import_cred",
    "gss_get_mic_iov",
    "gss_verify_mic_iov",
    "gss_get_mic_iov_length",
];

/// No function of the SPI has more arguments than these thirteen words; those that it does not have are not looked at.
type Entry = unsafe extern "C" fn(
    *mut u32,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
) -> u32;

#[test]
fn survives_nothing_but_null() {
    // In a process of its own, so that a crash is this test's and nobody else's.
    with_environment(&[], || {
        let path = CString::new(world().plugin.to_str().unwrap()).unwrap();
        // SAFETY: the mechglue has loaded it already.
        let plugin = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        assert!(!plugin.is_null());
        for name in EXPORTED {
            println!("{name}");
            let entry = entry(plugin, name);
            // SAFETY: what this test is about: NULL is the one pointer that any of them must stand.
            let major = unsafe { entry(null_mut(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) };
            let refusal = match name {
                // It has but two answers: the OID was ours, or it was not.
                "gss_internal_release_oid" => sys::GSS_S_CONTINUE_NEEDED,
                // gss_userok asks it without a minor status.
                "gss_compare_name" => major,
                _ => sys::_GSS_S_CALL_INACCESSIBLE_WRITE,
            };
            assert_ne!(major, sys::GSS_S_COMPLETE, "{name} succeeds with nothing at all");
            assert_eq!(major, refusal, "{name} without a minor status");
            let mut minor = 0xdead_beef;
            // SAFETY: as above.
            let major = unsafe { entry(&mut minor, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) };
            assert_ne!(minor, 0xdead_beef, "{name} does not set the minor status");
            if major & 0xffff_0000 == 0 {
                assert!(MAY_SUCCEED.contains(&name), "{name} succeeds with nothing: {major:#x}");
            } else {
                assert_ne!(minor, 0, "{name} does not say why: {major:#x}");
            }
        }
    });
}

fn entry(plugin: *mut c_void, name: &str) -> Entry {
    let symbol = CString::new(name).unwrap();
    // SAFETY: a handle of dlopen and a string.
    let address = unsafe { libc::dlsym(plugin, symbol.as_ptr()) };
    assert!(!address.is_null(), "{name} is missing");
    // What the plugin lacks, dlsym finds in libgssapi.
    assert_eq!(library_of(address), world().plugin.to_str().unwrap(), "{name} is not the plugin's");
    // SAFETY: a function of this shape, up to arguments that it does not read.
    unsafe { transmute::<*mut c_void, Entry>(address) }
}

#[test]
fn asks_back_when_a_pointer_is_missing() {
    let pair = Handshake::of(&NTLM).establish();
    let context = pair.initiator.ptr();
    let mut minor = 0;
    let read = sys::_GSS_S_CALL_INACCESSIBLE_READ;
    let write = sys::_GSS_S_CALL_INACCESSIBLE_WRITE;
    let calling_error = |major: u32| major & 0xff00_0000;

    // SAFETY: here and below, what is NULL is what the call must refuse.
    let major = unsafe { sys::gss_wrap(&mut minor, context, 1, 0, null_mut(), null_mut(), null_mut()) };
    assert_ne!(calling_error(major), 0);
    // SAFETY: as above.
    let major = unsafe { sys::gss_get_mic(&mut minor, context, 0, null_mut(), null_mut()) };
    assert_ne!(calling_error(major), 0);
    // SAFETY: as above.
    let major = unsafe { sys::gss_context_time(&mut minor, context, null_mut()) };
    assert_eq!(calling_error(major), write);
    // SAFETY: as above.
    let major = unsafe { sys::gss_wrap_size_limit(&mut minor, context, 1, 0, 100, null_mut()) };
    assert_eq!(calling_error(major), write);
    // The mechglue looks at neither of these.
    let mut set = null_mut();
    // SAFETY: as above.
    let major = unsafe { sys::gss_inquire_sec_context_by_oid(&mut minor, context, null_mut(), &mut set) };
    assert_eq!(calling_error(major), read, "{major:#x}");
    let mut handle = context;
    // SAFETY: as above.
    let major = unsafe { sys::gss_set_sec_context_option(&mut minor, &mut handle, null_mut(), null_mut()) };
    assert_eq!(calling_error(major), read, "{major:#x}");
    assert_eq!(handle, context);
    assert_in_step(&pair);
}

#[test]
fn needs_none_of_the_optional_outputs() {
    let handshake = Handshake::of(&NTLM);
    let mut pair = handshake.establish();
    let mut message = lend(b"message");
    let mut token = Buffer::default();
    let mut plain = Buffer::default();
    // SAFETY: contexts that live, locals, and NULL where RFC 2744 allows it.
    let major = unsafe { sys::gss_wrap(&mut 0, pair.initiator.ptr(), 1, 0, &mut message, null_mut(), token.out()) };
    assert_eq!(major, sys::GSS_S_COMPLETE);
    // SAFETY: as above.
    let major =
        unsafe { sys::gss_unwrap(&mut 0, pair.acceptor.ptr(), token.out(), plain.out(), null_mut(), null_mut()) };
    assert_eq!(major, sys::GSS_S_COMPLETE);
    assert_eq!(&*plain, b"message");
    // SAFETY: as above.
    let major = unsafe {
        sys::gss_inquire_context(
            &mut 0,
            pair.initiator.ptr(),
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
        )
    };
    assert_eq!(major, sys::GSS_S_COMPLETE);
    pair.initiator.delete().unwrap();
}

#[test]
fn accepts_an_empty_message_without_an_address() {
    let pair = Handshake::of(&NTLM).establish();
    let mut nothing = sys::gss_buffer_desc { length: 0, value: null_mut() };
    let mut token = Buffer::default();
    // SAFETY: a context that lives, and locals.
    let major = unsafe { sys::gss_get_mic(&mut 0, pair.initiator.ptr(), 0, &mut nothing, token.out()) };
    assert_eq!(major, sys::GSS_S_COMPLETE);
    pair.acceptor.verify_mic(b"", &token).unwrap();
    assert_in_step(&pair);
}

#[test]
fn invokes_nothing_that_it_does_not_know() {
    assert_eq!(invoke(&NTLM, &UNKNOWN, b"value").unwrap_err().major, sys::_GSS_S_UNAVAILABLE);
}

#[test]
fn keeps_the_roles_apart() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    // Each side's context in the other's call.
    std::mem::swap(&mut initiator.context, &mut acceptor.context);
    let failure = initiator.step(Some(&challenge)).map(|step| step.token).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");
    let failure = acceptor.step(&challenge).map(|step| step.token).unwrap_err();
    assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");
    std::mem::swap(&mut initiator.context, &mut acceptor.context);
    // Misuse changes nothing.
    let done = acceptor.step(&initiator.token(Some(&challenge))).unwrap();
    assert!(done.complete);
}

#[test]
fn knows_no_context_where_there_is_none() {
    let failures = [
        Ctx::none().wrap(b"message").unwrap_err(),
        Ctx::none().get_mic(b"message").unwrap_err(),
        Ctx::none().inquire().unwrap_err(),
        Ctx::none().inquire_by_oid(&SESSION_KEY).unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{failure:?}");
    }
}
