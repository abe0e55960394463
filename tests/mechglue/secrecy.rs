//! The trace of a full run has no secret in it.

use crate::common::context::Ctx;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{DEBUG, NTLM, Name, SESSION_KEY, SPNEGO, invoke};
use crate::common::handshake::{Bindings, Handshake, Pair};
use crate::common::process::set_lm_level;
use crate::common::secret::Secrets;
use crate::common::token::{Authenticate, Challenge, EXTENDED_SESSIONSECURITY, av, with_flags};
use crate::common::{ACCOUNTS, with_environment, world};

use super::trace::Trace;

/// Passwords of which no eight letters stand in a sentence of ours.
const GIVEN: &str = "correct horse battery staple";
const IN_FILE: &str = "päss:wörd/ungewöhnlich";
const WRONG: &str = "tr0ub4dor&3xyzzy";
const OF_STORE: &str = "Sesam:öffne_dich";
/// Short enough for LM.
const OLD: &str = "OldPassword14";
const MESSAGES: [&str; 2] = ["attack at dawn, by the left flank", "retreat at noon over the river"];
/// NT and LM hashes of [`GIVEN`], [`IN_FILE`], [`WRONG`], [`OF_STORE`] and [`OLD`] are computed; this one is told.
const TOLD_HASH: &str = "0123456789ABCDEFFEDCBA9876543210";

fn users() -> String {
    format!("DOM:alice:{GIVEN}\nDOM:bob:{IN_FILE}\nDOM:carol:{OLD}\nDOM:dave:{OF_STORE}\n{ACCOUNTS}")
}

/// What a handshake has that is secret, as far as it can be seen from outside.
fn remember(secrets: &mut Secrets, pair: &Pair) {
    for token in &pair.tokens {
        remember_token(secrets, token);
    }
    for context in [&pair.initiator, &pair.acceptor] {
        let keys = context.inquire_by_oid(&SESSION_KEY).unwrap();
        keys.iter().for_each(|key| secrets.add("session key", key));
    }
}

fn remember_token(secrets: &mut Secrets, token: &[u8]) {
    let Some(start) = token.windows(9).position(|part| part == b"NTLMSSP\0\x03") else { return };
    let message = Authenticate::read(&token[start..]);
    secrets.add("LM response", &message.lm_response);
    secrets.add("NT response", &message.nt_response);
    for proof in message.nt_response.chunks(16).take(1) {
        secrets.add("NTProofStr", proof);
    }
    secrets.add("EncryptedRandomSessionKey", &message.key);
}

/// Messages both ways, sealed and signed, as they are and damaged.
fn talk(pair: &Pair) {
    for (message, (from, to)) in
        MESSAGES.into_iter().zip([(&pair.initiator, &pair.acceptor), (&pair.acceptor, &pair.initiator)])
    {
        let message = message.as_bytes();
        let token = from.wrap(message).unwrap();
        let mut damaged = token.clone();
        damaged[20] ^= 1;
        to.unwrap(&damaged).unwrap_err();
        assert_eq!(to.unwrap(&token).unwrap(), message);
        let signature = from.get_mic(message).unwrap();
        to.verify_mic(b"another message", &signature).unwrap_err();
        to.verify_mic(message, &signature).unwrap();
    }
}

/// Everything that the mechanism does, as often as it does it differently.
fn do_everything(secrets: &mut Secrets) {
    // Before anybody talks SPNEGO: see `apart`.
    set_lm_level(0);
    refuse_everything(secrets);
    for (initiator, acceptor) in (0..=5_u8).flat_map(|initiator| (0..=5).map(move |acceptor| (initiator, acceptor))) {
        for (user, password) in [("DOM\\alice", GIVEN), ("DOM\\carol", OLD)] {
            for mech in [&NTLM, &SPNEGO] {
                set_lm_level(initiator);
                let mut handshake = Handshake::with_password(mech, user, password);
                let channel = Some(Bindings::application(b"channel"));
                (handshake.initiator_bindings, handshake.acceptor_bindings) = (channel.clone(), channel);
                let outcome = handshake.run_changing(|number, token| {
                    set_lm_level(if number % 2 == 0 { acceptor } else { initiator });
                    remember_token(secrets, &token);
                    token
                });
                if let Ok(pair) = outcome {
                    remember(secrets, &pair);
                    talk(&pair);
                }
            }
        }
    }
    set_lm_level(3);
    move_everything(secrets);
}

/// Wrong passwords, unknown users, malformed and forged messages.
fn refuse_everything(secrets: &mut Secrets) {
    for (user, password) in [("DOM\\alice", WRONG), ("DOM\\nobody", GIVEN), ("locked", WRONG), ("DOM\\carol", WRONG)] {
        let handshake = Handshake::with_password(&NTLM, user, password);
        handshake
            .refusal_changing(|_, token| {
                remember_token(secrets, &token);
                token
            })
            .by_acceptor();
    }
    set_lm_level(3);
    let handshake = Handshake::with_password(&NTLM, "DOM\\alice", GIVEN);
    let pair = handshake.establish();
    remember(secrets, &pair);
    let length = pair.tokens[2].len();
    for at in 0..length {
        handshake
            .run_changing(|number, mut token| {
                if number == 2 {
                    remember_token(secrets, &token);
                    token[at] ^= 0x40;
                }
                token
            })
            .map(|pair| pair.source)
            .unwrap_err();
        handshake
            .run_changing(|number, mut token| {
                if number == 2 {
                    remember_token(secrets, &token);
                    token.truncate(at);
                }
                token
            })
            .map(|pair| pair.source)
            .unwrap_err();
    }
    let forged = |challenge: Challenge| challenge.without(&[av::TIMESTAMP]).with(av::NB_DOMAIN_NAME, b"X\0").write(56);
    let outcome = handshake.run_changing(|number, token| {
        remember_token(secrets, &token);
        if number == 1 { forged(Challenge::read(&token)) } else { token }
    });
    outcome.map(|pair| pair.source).unwrap_err();
    let refused = handshake.run_changing(|number, token| {
        remember_token(secrets, &token);
        if number == 0 { with_flags(token, |flags| flags & !EXTENDED_SESSIONSECURITY) } else { token }
    });
    refused.map(|pair| pair.source).unwrap_err();
}

/// Credentials from everywhere, and all of it carried over.
fn move_everything(secrets: &mut Secrets) {
    let acquire =
        |name: &str, store: &[(&str, &str)]| Cred::acquire_from(Some(&Name::user(name)), Usage::Initiate, store, &NTLM);
    let creds = [
        acquire("DOM\\bob", &[]).unwrap(),
        acquire("DOM\\dave", &[("password", OF_STORE)]).unwrap(),
        acquire("DOM\\erin", &[("ntlmssp_nthash", TOLD_HASH)]).unwrap(),
        Cred::acquire(None, Usage::Both, &NTLM).unwrap(),
    ];
    for cred in creds {
        let token = cred.export().unwrap().to_vec();
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            let _ = Cred::import(&changed).map(drop);
        }
        let handshake = Handshake::with_cred(&NTLM, Cred::import(&token).unwrap());
        let outcome = handshake.run_changing(|_, token| {
            remember_token(secrets, &token);
            token
        });
        let Ok(mut pair) = outcome else { continue };
        remember(secrets, &pair);
        talk(&pair);
        let exported = pair.acceptor.export().unwrap();
        for at in 0..exported.len() {
            let mut changed = exported.clone();
            changed[at] ^= 1;
            let _ = Ctx::import(&changed).map(drop);
        }
        pair.acceptor = Ctx::import(&exported).unwrap();
        pair.initiator.export_and_import().unwrap();
        talk(&pair);
    }
    for hash in ["0123456789ABCDEFFEDCBA987654321G", "0123"] {
        acquire("DOM\\erin", &[("ntlmssp_nthash", hash)]).map(drop).unwrap_err();
    }
    Cred::with_password(&Name::user("DOM\\alice"), format!("{GIVEN}\0{GIVEN}"), &NTLM).map(drop).unwrap_err();
    Cred::with_password(&Name::user("DOM\\alice"), [GIVEN.as_bytes(), b"\xff"].concat(), &NTLM).map(drop).unwrap_err();
    // A password where a name, and one where a path belongs: what is no secret at its place, nobody can keep secret.
    let broken = format!("DOM;alice;{GIVEN}\nDOM:al\0ice:{IN_FILE}\n{}\n", OF_STORE.repeat(300));
    let broken = world().file("broken", broken).display().to_string();
    acquire("DOM\\alice", &[("ntlmssp_keyfile", &broken)]).map(drop).unwrap_err();
}

#[test]
fn tells_no_secret() {
    let path = world().file("users-of-trace", users()).display().to_string();
    with_environment(&[("NTLM_USER_FILE", &path), ("GSS_NTLM_CHANNEL_BINDINGS", "when-sent")], || {
        let trace = Trace::start("secrets");
        let mut secrets = Secrets::default();
        for password in [GIVEN, IN_FILE, WRONG, OF_STORE, OLD] {
            secrets.add_password(password);
        }
        secrets.add_hex("NT hash", TOLD_HASH);
        for message in MESSAGES {
            secrets.add("message", message.as_bytes());
        }
        do_everything(&mut secrets);
        invoke(&NTLM, &DEBUG, b"").unwrap();
        let told = trace.read();
        assert!(told.len() > 100_000, "a full run is traced: {} bytes", told.len());
        secrets.assert_none_in(&told);
    });
}

#[test]
fn finds_a_secret_that_is_told() {
    // The judge of the test above is a test's subject, too.
    let mut secrets = Secrets::default();
    secrets.add_password("sesame, open");
    secrets.add("key", &[0xde, 0xad, 0xbe, 0xef, 0x01, 0x02, 0x03, 0x04, 0x05]);
    let told = [
        "the password is sesame, open",
        "s\0e\0s\0a\0m\0e\0,\0 \0o\0p\0e\0n\0",
        "key deadbeef0102030405",
        "key DE:AD:BE:EF:01:02:03:04:05",
        "key de ad be ef 01 02 03 04 05",
        "[222, 173, 190, 239, 1, 2, 3, 4, 5]",
        "[0xde, 0xad, 0xbe, 0xef, 0x1, 0x2, 0x3, 0x4, 0x5]",
        "3q2+7wECAwQF",
        "AN6tvu8BAgMEBQ==",
    ];
    for text in told {
        assert!(secrets.found_in(text.as_bytes()).is_some(), "{text}");
    }
    assert!(secrets.found_in(b"deadbeef, and sesame seeds").is_none());
}
