//! The plugin itself, behind libgssapi_krb5 as a program has it: raw and inside SPNEGO.
//!
//! Input: which part of GSS-API, and what a peer, a program or another process passes to it. GSSNTLM_PLUGIN names the plugin, which
//! scripts/fuzz builds so that libFuzzer sees what it reaches.

#![no_main]

#[allow(dead_code, unused_imports, reason = "it is for the tests in tests/mechglue, which use all of it")]
#[path = "../../tests/common/mod.rs"]
mod common;

use std::{ffi::c_uint, sync::OnceLock};

use common::{
    PASSWORD,
    context::Ctx,
    cred::{Cred, Usage},
    gss::{
        ANONYMOUS, EXPORT_NAME, Failure, Gss, HOSTBASED_SERVICE, MACHINE_UID, NEG_FLAGS, NO_CI_FLAGS, NTLM, Name, Oid,
        REQUIRE_MIC, RESET_CRYPTO, SASL_SSF, SESSION_KEY, SET_SEQ_NUM, SPNEGO, STRING_UID, UNKNOWN, USER_NAME,
    },
    handshake::{Bindings, Handshake, SIGN_AND_SEAL},
    iov::{ALLOCATE, DATA, HEADER, Iov, MIC_TOKEN, PADDING, SIGN_ONLY, STREAM, TRAILER},
};
use gss_ntlm::{
    bytes::{CHECKSUM_LEN, append_checksum},
    error::Error,
};
use gss_ntlm_fuzz::{Tape, edit};
use libfuzzer_sys::fuzz_target;

/// Takes libc's place, so that a finding is found again.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller's buffer has that length.
    unsafe { buffer.write_bytes(0x5a, len) };
    len.cast_signed()
}

fuzz_target!(|data: &[u8]| {
    static SILENCED: OnceLock<()> = OnceLock::new();
    SILENCED.get_or_init(|| {
        common::world();
        // SAFETY: this process has one thread. Thousands of failures a second are nothing for this computer's log.
        unsafe { std::env::set_var("GSS_NTLM_AUDIT", "off") };
    });
    let tape = &mut Tape(data);
    match tape.u8() % 5 {
        0 => handshake(tape),
        1 => imported_context(tape),
        2 => token(tape),
        3 => name(tape),
        _ => credential(tape),
    }
});

/// The answer, unless the mechanism found a fault of its own.
fn ok<T>(answer: Gss<T>) -> Option<T> {
    static INTERNAL: OnceLock<String> = OnceLock::new();
    let ensure = |failure: &Failure| {
        let internal = INTERNAL.get_or_init(|| Error::Internal.to_string());
        assert!(!failure.minor_text.contains(&**internal), "{failure:?}");
    };
    answer.inspect_err(ensure).ok()
}

/// A token that a peer may send at any time.
fn token(tape: &mut Tape<'_>) {
    let way = tape.u8();
    let mech = if way & 4 == 0 { &NTLM } else { &SPNEGO };
    let how = Handshake::of(mech);
    let (mut initiator, mut acceptor) = (how.initiator(), how.acceptor());
    match way % 4 {
        0 => drop(ok(acceptor.step(tape.0))),
        1 => {
            let _ = initiator.token(None);
            let answer = ok(initiator.step(Some(tape.0)));
            if answer.is_some_and(|step| step.complete) {
                use_context(tape, &mut initiator.context);
            }
        }
        _ => {
            let first = initiator.token(None);
            let _ = acceptor.token(&first);
            let answer = ok(acceptor.step(tape.0));
            assert!(answer.is_none_or(|step| !step.complete), "whoever sent this does not know the password");
        }
    }
}

/// A handshake with a man in the middle, and what follows it.
fn handshake(tape: &mut Tape<'_>) {
    let mech = tape.pick(&[&NTLM, &SPNEGO]);
    let is_honest = !tape.bool();
    let mut how = Handshake::with_password(mech, "DOM\\alice", if is_honest { PASSWORD } else { "wrong" });
    how.flags = SIGN_AND_SEAL ^ tape.u32();
    let bindings =
        |tape: &mut Tape<'_>| tape.pick(&[None, Some(b"x"), Some(b"y")]).map(|data| Bindings::application(data));
    how = how.bindings(bindings(tape), bindings(tape));
    let (mut initiator, mut acceptor) = (how.initiator(), how.acceptor());
    let (mut token, mut is_changed, mut is_known) = (None, false, false);
    for _ in 0..4 {
        let Some(ours) = ok(initiator.step(token.as_deref())) else { return };
        if ours.complete && ours.token.is_empty() {
            break;
        }
        let mut sent = ours.token.clone();
        edit(tape, &mut sent);
        is_changed |= sent != ours.token;
        move_elsewhere(tape, &mut initiator.context);

        let Some(theirs) = ok(acceptor.step(&sent)) else { return };
        if theirs.complete {
            let peer = theirs.source.expect("an acceptor that is done knows who came");
            assert!(is_honest, "{} does not know the password", peer.display());
            assert_eq!(peer.display(), "DOM\\alice");
            let has_mic = ok(peer.attribute("urn:gss-ntlm:mic")).is_some_and(|mic| mic.value == "verified");
            assert!(!(has_mic && is_changed && core::ptr::eq(mech, &NTLM)), "changed although there is a MIC");
            is_known = true;
            if theirs.token.is_empty() {
                break;
            }
        }
        move_elsewhere(tape, &mut acceptor.context);
        let mut sent = theirs.token.clone();
        edit(tape, &mut sent);
        is_changed |= sent != theirs.token;
        token = Some(sent);
    }
    if !is_known {
        return;
    }
    if !is_changed && is_open(&initiator.context) {
        exchange(tape, &initiator.context, &acceptor.context);
        exchange(tape, &acceptor.context, &initiator.context);
    }
    for context in [&mut acceptor.context, &mut initiator.context] {
        if is_open(context) {
            use_context(tape, context);
        }
    }
}

fn is_open(context: &Ctx) -> bool {
    !context.is_none() && ok(context.inquire()).is_some_and(|facts| facts.is_open)
}

/// Exports and imports the context, if the tape says so.
fn move_elsewhere(tape: &mut Tape<'_>, context: &mut Ctx) {
    if tape.bool() && !context.is_none() {
        let _ = ok(context.export_and_import());
        assert!(!context.is_none() || tape.0.len() < usize::MAX);
    }
}

/// A message from one side to the other; on the way somebody changes it, and then does not.
fn exchange(tape: &mut Tape<'_>, from: &Ctx, to: &Ctx) {
    let message = tape.bytes();
    if let Some(token) = ok(from.wrap(message)) {
        let mut forged = token.clone();
        edit(tape, &mut forged);
        // The last byte is the sequence number's.
        forged.truncate(forged.len().min(token.len()));
        if forged.len() < 16 || forged.get(16..) != token.get(16..) {
            assert!(ok(to.unwrap(&forged)).is_none(), "forged");
        }
        assert_eq!(ok(to.unwrap(&token)).as_deref(), Some(message));
    }
    if let Some(token) = ok(from.get_mic(message)) {
        let longer = [message, b"x"].concat();
        let is_protected = ok(from.inquire()).is_some_and(|facts| facts.flags & 0x20 != 0);
        assert!(ok(to.verify_mic(&longer, &token)).is_none() || !is_protected, "forged");
        if is_protected {
            ok(to.verify_mic(message, &token)).unwrap();
        }
    }
}

/// What a program may do with a context, with tokens and buffers of any kind.
fn use_context(tape: &mut Tape<'_>, context: &mut Ctx) {
    for _ in 0..tape.u8() % 6 {
        if context.is_none() {
            return;
        }
        match tape.u8() % 12 {
            0 => drop(ok(context.unwrap(tape.bytes()))),
            1 => drop(ok(context.verify_mic(tape.bytes(), tape.bytes()))),
            2 => drop(ok(context.wrap(tape.bytes()))),
            3 => drop(ok(context.wrap_size_limit(tape.u32()))),
            4 => drop(ok(context.inquire())),
            5 => drop(ok(context.inquire_by_oid(tape.pick(&[&SESSION_KEY, &SASL_SSF, &REQUIRE_MIC, &UNKNOWN])))),
            6 => {
                let option = tape.pick(&[&SET_SEQ_NUM, &RESET_CRYPTO, &REQUIRE_MIC, &NEG_FLAGS, &UNKNOWN]);
                let _ = ok(context.set_option(option, tape.bytes()));
            }
            7 => move_elsewhere(tape, context),
            8 => drop(ok(context.time())),
            _ => iov(tape, context),
        }
    }
}

/// Lists of buffers as no program makes them.
fn iov(tape: &mut Tape<'_>, context: &Ctx) {
    let kinds = [DATA, HEADER, TRAILER, PADDING, STREAM, SIGN_ONLY, MIC_TOKEN, 0, 5];
    let parts: Vec<_> = (0..tape.u8() % 6)
        .map(|_| {
            let kind = tape.u8();
            let flag = if kind & 0x80 == 0 { 0 } else { ALLOCATE };
            (kinds[usize::from(kind & 0x7f) % kinds.len()] | flag, tape.bytes())
        })
        .collect();
    let mut list = Iov::new(&parts);
    let before = list.snapshot();
    let is_refused = match tape.u8() % 6 {
        0 => ok(context.wrap_iov(&mut list)).is_none(),
        1 => ok(context.unwrap_iov(&mut list)).is_none(),
        2 => ok(context.get_mic_iov(&mut list)).is_none(),
        3 => ok(context.verify_mic_iov(&mut list)).is_none(),
        4 => ok(context.wrap_iov_length(&mut list)).is_none(),
        _ => ok(context.get_mic_iov_length(&mut list)).is_none(),
    };
    // What was not done leaves the program's memory as it was.
    assert!(!is_refused || list.snapshot().1 == before.1);
}

/// An exported context that was changed, and has the right checksum.
fn imported_context(tape: &mut Tape<'_>) {
    static EXPORTED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let exported = EXPORTED.get_or_init(|| {
        let how = Handshake::default();
        let half_open = || {
            let (mut initiator, mut acceptor) = (how.initiator(), how.acceptor());
            let token = initiator.token(None);
            let _ = acceptor.token(&token);
            [initiator.context, acceptor.context]
        };
        let pair = how.establish();
        let all = [pair.initiator, pair.acceptor].into_iter().chain(half_open());
        all.map(|mut context| context.export().unwrap()).collect()
    });
    let token = exported[usize::from(tape.u8()) % exported.len()].clone();
    // The mechglue's part: the OID of the mechanism behind its length.
    let token = changed(tape, token, 4 + NTLM.bytes().len());
    let Some(mut context) = ok(Ctx::import(&token)) else { return };
    use_context(tape, &mut context);
}

/// `token`, whose first bytes are of the mechglue, with changes behind them and the right checksum.
fn changed(tape: &mut Tape<'_>, mut token: Vec<u8>, of_mechglue: usize) -> Vec<u8> {
    let mut inner = token.split_off(of_mechglue);
    inner.truncate(inner.len() - CHECKSUM_LEN);
    edit(tape, &mut inner);
    append_checksum(&mut inner);
    token.extend(inner);
    token
}

fn name(tape: &mut Tape<'_>) {
    let kinds: [&'static Oid; 8] =
        [&USER_NAME, &HOSTBASED_SERVICE, &EXPORT_NAME, &MACHINE_UID, &STRING_UID, &ANONYMOUS, &UNKNOWN, &NTLM];
    let kind = tape.u8();
    let kind = kinds.get(usize::from(kind) % (kinds.len() + 1)).copied();
    let Some(name) = ok(Name::import(tape.0, kind)) else { return };
    let _ = (ok(name.display_bytes()), ok(name.duplicate()), ok(name.inquire()));
    let Some(canonical) = ok(name.canonicalize()) else { return };
    let _ = (ok(canonical.display_bytes()), ok(canonical.inquire()), ok(canonical.attribute("urn:gss-ntlm:domain")));
    let _ = (ok(canonical.localname()), ok(canonical.may_be_named(&name)));
    let Some(exported) = ok(canonical.export()) else { return };
    let again = ok(Name::import(&exported, Some(&EXPORT_NAME))).expect("an exported name imports");
    let again = ok(again.canonicalize()).expect("an exported name is canonical");
    assert_eq!(ok(again.export()).as_ref(), Some(&exported));
    let is_anonymous = exported.ends_with(b"NT AUTHORITY\\ANONYMOUS LOGON");
    assert!(canonical.is_same(&again) || is_anonymous);
}

fn credential(tape: &mut Tape<'_>) {
    let mech = tape.pick(&[&NTLM, &SPNEGO]);
    let usage = tape.pick(&[Usage::Initiate, Usage::Accept, Usage::Both]);
    let way = tape.u8() % 4;
    let name = tape.bytes();
    let name = ok(Name::import(name, Some(&USER_NAME))).filter(|_| !name.is_empty());
    let cred = match way {
        0 => name.and_then(|name| ok(Cred::with_password_for(&name, tape.bytes(), usage, mech))),
        1 => ok(Cred::acquire(name.as_ref(), usage, mech)),
        2 => {
            let keys = ["ntlmssp_domain", "ntlmssp_nthash", "ntlmssp_password", "password", "ntlmssp_keyfile", "other"];
            let store: Vec<_> = (0..tape.u8() % 4).map(|_| (tape.pick(&keys), text(tape.bytes()))).collect();
            // No file but those of this target is read.
            let nowhere = |(key, value): &(&'static str, String)| {
                (*key, if *key == "ntlmssp_keyfile" { format!("/nonexistent/{value}") } else { value.clone() })
            };
            let store: Vec<_> = store.iter().map(nowhere).collect();
            let store: Vec<_> = store.iter().map(|(key, value)| (*key, &**value)).collect();
            ok(Cred::acquire_from(name.as_ref(), usage, &store, mech))
        }
        _ => {
            let cred = Handshake::default().initiator;
            let token = cred.export().unwrap().to_vec();
            ok(Cred::import(&changed(tape, token, 8 + NTLM.bytes().len())))
        }
    };
    let Some(mut cred) = cred else { return };
    for _ in 0..tape.u8() % 4 {
        match tape.u8() % 4 {
            0 => drop(ok(cred.set_option(tape.pick(&[&NEG_FLAGS, &NO_CI_FLAGS, &UNKNOWN]), tape.bytes()))),
            1 => drop(ok(cred.inquire())),
            2 => drop(ok(cred.inquire_by_mech())),
            _ => {
                let Some(token) = ok(cred.export()) else { continue };
                let again = ok(Cred::import(&token)).expect("an exported credential imports");
                assert!(*ok(again.export()).unwrap() == *token);
            }
        }
    }
    let how = Handshake::with_cred(mech, cred);
    let first = ok(how.initiator().step(None));
    assert!(first.is_none_or(|step| !step.complete));
}

/// Text without NUL, as C has it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "")
}
