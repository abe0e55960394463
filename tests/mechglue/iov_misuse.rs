//! Lists of buffers that make up no message: a clear status, and nothing changed.

use std::ptr::null_mut;

use libgssapi_sys as sys;

use crate::common::context::Ctx;
use crate::common::gss::{Failure, Gss, NTLM};
use crate::common::handshake::{Handshake, Pair};
use crate::common::iov::{ALLOCATE, DATA, HEADER, Iov, MIC_TOKEN, PADDING, SIGN_ONLY, STREAM, TRAILER};

use super::message::{SIGNATURE, assert_in_step};

const ROOM: &[u8] = &[0xee; SIGNATURE];
const EMPTY: &[u8] = &[];

type Call = fn(&Ctx, &mut Iov) -> Gss<()>;

/// The six calls, each of which knows a message when it sees one.
const CALLS: [(&str, Call); 6] = [
    ("wrap", |context, iov| context.wrap_iov(iov).map(drop)),
    ("wrap_length", |context, iov| context.wrap_iov_length(iov).map(drop)),
    ("unwrap", |context, iov| context.unwrap_iov(iov).map(drop)),
    ("get_mic", |context, iov| context.get_mic_iov(iov).map(drop)),
    ("get_mic_length", |context, iov| context.get_mic_iov_length(iov).map(drop)),
    ("verify_mic", |context, iov| context.verify_mic_iov(iov)),
];

fn pair() -> Pair {
    Handshake::of(&NTLM).establish()
}

/// That a call refuses a list, says why, and changes nothing.
fn assert_refused(pair: &Pair, call: &str, iov: &mut Iov) -> Failure {
    let (_, function) = CALLS.into_iter().find(|(name, _)| *name == call).unwrap();
    let before = iov.snapshot();
    let failure = function(&pair.initiator, iov).expect_err(call);
    assert_eq!(iov.snapshot(), before, "{call} changed something: {failure:?}");
    assert!(failure.minor != 0 && failure.minor_text.len() > 20, "{call}: {failure:?}");
    failure
}

fn assert_all_refuse(parts: &[(u32, &[u8])], calls: &[&str]) {
    let pair = pair();
    for call in calls {
        let failure = assert_refused(&pair, call, &mut Iov::new(parts));
        assert!(
            [sys::_GSS_S_FAILURE, sys::_GSS_S_DEFECTIVE_TOKEN].contains(&failure.major),
            "{call} of {parts:?}: {failure:?}"
        );
    }
    assert_in_step(&pair);
}

const WRAPS: [&str; 3] = ["wrap", "wrap_length", "unwrap"];
const MICS: [&str; 3] = ["get_mic", "get_mic_length", "verify_mic"];
const ALL: [&str; 6] = ["wrap", "wrap_length", "unwrap", "get_mic", "get_mic_length", "verify_mic"];

#[test]
fn there_is_one_header() {
    assert_all_refuse(&[(DATA, b"message")], &ALL);
    assert_all_refuse(&[(HEADER, ROOM), (DATA, b"message"), (HEADER, ROOM)], &ALL);
    assert_all_refuse(&[(MIC_TOKEN, ROOM), (DATA, b"message"), (MIC_TOKEN, ROOM)], &ALL);
    assert_all_refuse(&[(MIC_TOKEN, ROOM), (DATA, b"message")], &WRAPS);
    assert_all_refuse(&[(HEADER, ROOM), (DATA, b"message")], &MICS);
}

#[test]
fn a_list_has_buffers() {
    let pair = pair();
    for call in ALL {
        assert_refused(&pair, call, &mut Iov::new(&[]));
    }
    assert_in_step(&pair);
}

#[test]
fn a_header_is_as_long_as_a_signature() {
    let pair = pair();
    for length in (0..SIGNATURE).chain([17, 32]) {
        let room = &[0xee; 32][..length];
        let (header, mic) = ([(HEADER, room), (DATA, b"message")], [(MIC_TOKEN, room), (DATA, b"message")]);
        for (call, list) in [("unwrap", &header), ("verify_mic", &mic)] {
            let failure = assert_refused(&pair, call, &mut Iov::new(list));
            assert_eq!(failure.major, sys::_GSS_S_DEFECTIVE_TOKEN, "{length} bytes: {failure:?}");
        }
        if length < SIGNATURE {
            assert_refused(&pair, "wrap", &mut Iov::new(&header));
            assert_refused(&pair, "get_mic", &mut Iov::new(&mic));
        }
    }
    assert_in_step(&pair);
}

#[test]
fn filler_is_empty() {
    for kind in [PADDING, TRAILER] {
        assert_all_refuse(&[(HEADER, ROOM), (DATA, b"message"), (kind, b"x")], &["unwrap"]);
    }
}

#[test]
fn a_stream_has_one_data_and_no_header() {
    let stream: (u32, &[u8]) = (STREAM, &[0xee; 40]);
    assert_all_refuse(&[stream], &["unwrap"]);
    assert_all_refuse(&[stream, (DATA, EMPTY), (DATA, EMPTY)], &["unwrap"]);
    assert_all_refuse(&[stream, (HEADER, ROOM), (DATA, EMPTY)], &["unwrap"]);
    assert_all_refuse(&[stream, stream, (DATA, EMPTY)], &["unwrap"]);
    assert_all_refuse(&[stream, (DATA, EMPTY), (PADDING, b"x")], &["unwrap"]);
    for length in 0..SIGNATURE {
        let short: &[u8] = &[0xee; SIGNATURE][..length];
        assert_all_refuse(&[(STREAM, short), (DATA, EMPTY)], &["unwrap"]);
        assert_all_refuse(&[(STREAM, short), (DATA | ALLOCATE, EMPTY)], &["unwrap"]);
    }
    // Nobody sends a stream.
    assert_all_refuse(&[stream, (DATA, EMPTY)], &["wrap", "wrap_length", "get_mic", "verify_mic"]);
}

#[test]
fn a_type_that_nobody_knows_is_refused() {
    assert_all_refuse(&[(HEADER, ROOM), (DATA, b"message"), (99, b"x")], &ALL);
}

#[test]
fn a_length_has_a_value() {
    let pair = pair();
    for (call, signature) in [("wrap", HEADER), ("unwrap", HEADER), ("get_mic", MIC_TOKEN), ("verify_mic", MIC_TOKEN)] {
        for at in 0..3 {
            let mut iov = Iov::new(&[(signature, ROOM), (DATA, b"message"), (SIGN_ONLY, b"beside")]);
            iov.descriptors[at].buffer.value = null_mut();
            let failure = assert_refused(&pair, call, &mut iov);
            assert_ne!(failure.major & 0xff00_0000, 0, "{call}, buffer {at}: {failure:?}");
        }
    }
    let mut iov = Iov::new(&[(STREAM, &[0xee; 40]), (DATA, EMPTY)]);
    iov.descriptors[0].buffer.value = null_mut();
    assert_refused(&pair, "unwrap", &mut iov);
    assert_in_step(&pair);
}

#[test]
fn no_buffer_is_longer_than_memory() {
    let pair = pair();
    for (call, signature) in [("wrap", HEADER), ("unwrap", HEADER), ("get_mic", MIC_TOKEN), ("verify_mic", MIC_TOKEN)] {
        let mut iov = Iov::new(&[(signature, ROOM), (DATA, b"message")]);
        iov.descriptors[1].buffer.length = usize::MAX;
        assert_refused(&pair, call, &mut iov);
    }
    assert_in_step(&pair);
}

#[test]
fn no_two_buffers_share_what_is_written() {
    let pair = pair();
    let memory = [0xee_u8; 64];
    let overlaps: [[(u32, usize, usize); 3]; 5] = [
        [(HEADER, 0, 16), (DATA, 16, 20), (DATA, 16, 20)],
        [(HEADER, 0, 16), (DATA, 16, 20), (DATA, 35, 20)],
        [(HEADER, 0, 16), (DATA, 16, 20), (SIGN_ONLY, 20, 4)],
        [(HEADER, 0, 16), (DATA, 8, 20), (SIGN_ONLY, 40, 4)],
        [(HEADER, 0, 16), (DATA, 30, 20), (SIGN_ONLY, 10, 10)],
    ];
    for (number, overlap) in overlaps.into_iter().enumerate() {
        // Only `wrap` writes to the header; `unwrap` reads it, and may find it in what is signed.
        let calls: &[_] = if number < 4 { &["wrap", "unwrap"] } else { &["wrap"] };
        for call in calls {
            let mut iov = Iov::new(&[(DATA, &memory), (HEADER, EMPTY), (DATA, EMPTY), (DATA, EMPTY)]);
            let start = iov.descriptors[0].buffer.value.cast::<u8>();
            for (descriptor, (type_, offset, length)) in iov.descriptors[1..].iter_mut().zip(overlap) {
                descriptor.type_ = type_;
                descriptor.buffer = sys::gss_buffer_desc { length, value: start.wrapping_add(offset).cast() };
            }
            iov.descriptors.remove(0);
            // Not for the signature, which is wrong as well.
            assert_eq!(assert_refused(&pair, call, &mut iov).major, sys::_GSS_S_FAILURE, "{call} {number}");
        }
    }
    assert_in_step(&pair);
}

#[test]
fn no_signature_is_put_over_what_it_signs() {
    let pair = pair();
    let memory = [0xee_u8; 64];
    for (signed, offset) in [(DATA, 8), (SIGN_ONLY, 40), (DATA, 0)] {
        let mut iov = Iov::new(&[(DATA, &memory), (MIC_TOKEN, EMPTY)]);
        let start = iov.descriptors[0].buffer.value.cast::<u8>();
        iov.descriptors[0].type_ = signed;
        iov.descriptors[1].buffer = sys::gss_buffer_desc { length: 16, value: start.wrapping_add(offset).cast() };
        let before = iov.snapshot();
        pair.initiator.get_mic_iov(&mut iov).unwrap_err();
        assert_eq!(iov.snapshot(), before, "nothing changed");
        assert_eq!(iov.bytes(0), memory);
    }
    assert_in_step(&pair);
}

#[test]
fn a_list_is_there_and_has_a_length() {
    let pair = pair();
    let context = pair.initiator.ptr();
    let mut iov = Iov::new(&[(HEADER, ROOM), (DATA, b"message")]);
    let before = iov.snapshot();
    let mut minor = 0;
    for (list, count) in [(null_mut(), 2), (iov.descriptors.as_mut_ptr(), -1), (iov.descriptors.as_mut_ptr(), i32::MIN)]
    {
        // SAFETY: here and below, a context that lives, and a list that the call must not look at.
        let wrap = unsafe { sys::gss_wrap_iov(&mut minor, context, 1, 0, null_mut(), list, count) };
        // SAFETY: as above.
        let wrap_length = unsafe { sys::gss_wrap_iov_length(&mut minor, context, 1, 0, null_mut(), list, count) };
        // SAFETY: as above.
        let unwrap = unsafe { sys::gss_unwrap_iov(&mut minor, context, null_mut(), null_mut(), list, count) };
        // SAFETY: as above.
        let get_mic = unsafe { sys::gss_get_mic_iov(&mut minor, context, 0, list, count) };
        // SAFETY: as above.
        let get_mic_length = unsafe { sys::gss_get_mic_iov_length(&mut minor, context, 0, list, count) };
        // SAFETY: as above.
        let verify_mic = unsafe { sys::gss_verify_mic_iov(&mut minor, context, null_mut(), list, count) };
        for major in [wrap, wrap_length, unwrap, get_mic, get_mic_length, verify_mic] {
            assert_ne!(major & 0xffff_0000, 0, "{count} buffers");
        }
    }
    assert_eq!(iov.snapshot(), before);
    assert_in_step(&pair);
}

#[test]
fn knows_no_other_quality_of_protection() {
    let pair = pair();
    let context = pair.initiator.ptr();
    let mut iov = Iov::new(&[(HEADER, ROOM), (DATA, b"message")]);
    let mut mic = Iov::new(&[(MIC_TOKEN, ROOM), (DATA, b"message")]);
    let (list, mic_list) = (iov.descriptors.as_mut_ptr(), mic.descriptors.as_mut_ptr());
    // SAFETY: here and below, a context that lives and a list of two.
    let wrap = unsafe { sys::gss_wrap_iov(&mut 0, context, 1, 1, null_mut(), list, 2) };
    // SAFETY: as above.
    let wrap_length = unsafe { sys::gss_wrap_iov_length(&mut 0, context, 1, 1, null_mut(), list, 2) };
    // SAFETY: as above.
    let get_mic = unsafe { sys::gss_get_mic_iov(&mut 0, context, 1, mic_list, 2) };
    // SAFETY: as above.
    let get_mic_length = unsafe { sys::gss_get_mic_iov_length(&mut 0, context, 1, mic_list, 2) };
    assert_eq!([wrap, wrap_length, get_mic, get_mic_length], [sys::_GSS_S_BAD_QOP; 4]);
    assert_in_step(&pair);
}

#[test]
fn needs_an_established_context() {
    let handshake = Handshake::of(&NTLM);
    let mut initiator = handshake.initiator();
    initiator.token(None);
    for (call, function) in CALLS {
        let signature = if MICS.contains(&call) { MIC_TOKEN } else { HEADER };
        for context in [&initiator.context, &Ctx::none()] {
            let mut iov = Iov::new(&[(signature, ROOM), (DATA, b"message")]);
            let failure = function(context, &mut iov).expect_err(call);
            assert_eq!(failure.routine(), sys::_GSS_S_NO_CONTEXT, "{call}: {failure:?}");
        }
    }
}
