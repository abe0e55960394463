//! Contexts and credentials that go on in another process.

use crate::common::context::Ctx;
use crate::common::cred::{Cred, Usage};
use crate::common::gss::{INDEFINITE, NEG_FLAGS, NTLM, Name, Oid, SESSION_KEY, SPNEGO};
use crate::common::handshake::{Handshake, SIGN_AND_SEAL};
use crate::common::process::{elsewhere, set_lm_level};
use crate::common::token::{BITS_128, NTLM_KEY, UNICODE, flags_of};
use crate::common::{PASSWORD, with_environment, world};

/// The longest token of an established context, for those who keep it in a cookie or a cache.
const LONGEST: usize = 900;

/// What a context elsewhere says of itself.
fn told(context: &Ctx) -> Vec<u8> {
    let key = context.inquire_by_oid(&SESSION_KEY).unwrap();
    format!("{:?} {key:?} {}", context.inquire().unwrap(), context.time().unwrap()).into_bytes()
}

/// What happens to two contexts, and to what is under way between them, in another process.
type Away = fn(&[Vec<u8>], &[Vec<u8>]) -> Vec<Vec<u8>>;

/// Both ends of a context that has said something move; then it has kept its keys, its numbers and its names.
fn both_ends_move(mech: &'static Oid, flags: Option<u32>, away: Away) {
    let mut handshake = Handshake::of(mech).flags(SIGN_AND_SEAL);
    if let Some(flags) = flags {
        handshake.initiator.set_option(&NEG_FLAGS, &flags.to_ne_bytes()).unwrap();
    }
    let mut pair = handshake.establish();
    let to_acceptor = pair.initiator.wrap(b"before").unwrap();
    assert_eq!(pair.acceptor.unwrap(&to_acceptor).unwrap(), b"before");
    let told = [told(&pair.initiator), told(&pair.acceptor)];
    let under_way = pair.acceptor.wrap(b"under way").unwrap();
    let contexts = [pair.initiator.export().unwrap(), pair.acceptor.export().unwrap()];
    for context in &contexts {
        assert!(context.len() <= LONGEST, "{} bytes", context.len());
    }
    let answers = away(&contexts, &[under_way]);
    assert_eq!(answers[..2], told);
}

/// What the other process does.
fn go_on(contexts: &[Vec<u8>], under_way: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let [initiator, acceptor] = [&contexts[0], &contexts[1]].map(|token| Ctx::import(token).unwrap());
    let answers = vec![told(&initiator), told(&acceptor)];
    assert_eq!(initiator.unwrap(&under_way[0]).unwrap(), b"under way");
    for _ in 0..3 {
        assert_eq!(acceptor.unwrap(&initiator.wrap(b"after").unwrap()).unwrap(), b"after");
        initiator.verify_mic(b"after", &acceptor.get_mic(b"after").unwrap()).unwrap();
    }
    answers
}

#[test]
fn established_contexts_go_on() {
    both_ends_move(&NTLM, None, |contexts, under_way| {
        elsewhere(&[contexts, under_way].concat(), |tokens| go_on(&tokens[..2], &tokens[2..]))
    });
}

#[test]
fn established_contexts_of_spnego_go_on() {
    both_ends_move(&SPNEGO, None, |contexts, under_way| {
        elsewhere(&[contexts, under_way].concat(), |tokens| go_on(&tokens[..2], &tokens[2..]))
    });
}

#[test]
fn established_contexts_without_extended_session_security_go_on() {
    both_ends_move(&NTLM, Some(UNICODE | NTLM_KEY | BITS_128), |contexts, under_way| {
        elsewhere(&[contexts, under_way].concat(), |tokens| go_on(&tokens[..2], &tokens[2..]))
    });
}

#[test]
fn a_half_open_initiator_goes_on() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let negotiate = initiator.token(None);
    let half_open = initiator.context.export().unwrap();
    let challenge = acceptor.token(&negotiate);
    let answers = elsewhere(&[half_open, challenge], |tokens| {
        let handshake = Handshake::of(&NTLM);
        let mut initiator = handshake.initiator().continued(Ctx::import(&tokens[0]).unwrap());
        assert!(!initiator.context.inquire().unwrap().is_open);
        let authenticate = initiator.token(Some(&tokens[1]));
        vec![authenticate, initiator.context.wrap(b"from there").unwrap()]
    });
    assert!(acceptor.step(&answers[0]).unwrap().complete);
    assert_eq!(acceptor.context.unwrap(&answers[1]).unwrap(), b"from there");
}

#[test]
fn a_half_open_acceptor_goes_on() {
    let handshake = Handshake::of(&NTLM);
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    let half_open = acceptor.context.export().unwrap();
    let authenticate = initiator.token(Some(&challenge));
    let message = initiator.context.wrap(b"from here").unwrap();
    let answers = elsewhere(&[half_open, authenticate, message], |tokens| {
        let handshake = Handshake::of(&NTLM);
        let mut acceptor = handshake.acceptor().continued(Ctx::import(&tokens[0]).unwrap());
        assert!(!acceptor.context.inquire().unwrap().is_initiator);
        let done = acceptor.step(&tokens[1]).unwrap();
        assert_eq!(done.source.unwrap().display(), "DOM\\alice");
        assert_eq!(acceptor.context.unwrap(&tokens[2]).unwrap(), b"from here");
        vec![acceptor.context.get_mic(b"from there").unwrap()]
    });
    initiator.context.verify_mic(b"from there", &answers[0]).unwrap();
}

#[test]
fn a_half_open_context_that_fails_elsewhere_stays_failed() {
    let handshake = Handshake::with_password(&NTLM, "DOM\\alice", "wrong");
    let (mut initiator, mut acceptor) = (handshake.initiator(), handshake.acceptor());
    let challenge = acceptor.token(&initiator.token(None));
    acceptor.context.export_and_import().unwrap();
    let authenticate = initiator.token(Some(&challenge));
    acceptor.step(&authenticate).map(|step| step.token).unwrap_err();
    acceptor.context.export().unwrap_err();
    acceptor.context.delete().unwrap();
}

#[test]
fn a_credential_of_every_kind_goes_on() {
    let alice = Name::user("DOM\\alice");
    let with_flags = || {
        let mut cred = Cred::acquire(Some(&alice), Usage::Initiate, &NTLM).unwrap();
        cred.set_option(&NEG_FLAGS, &(UNICODE | NTLM_KEY).to_ne_bytes()).unwrap();
        cred
    };
    let creds = [
        Cred::with_password(&alice, PASSWORD, &NTLM).unwrap(),
        with_flags(),
        Cred::acquire(Some(&alice), Usage::Both, &NTLM).unwrap(),
        Cred::acquire(None, Usage::Accept, &NTLM).unwrap(),
        Cred::acquire(Some(&Name::service("HTTP@server")), Usage::Accept, &NTLM).unwrap(),
    ];
    let tokens: Vec<_> = creds.iter().map(|cred| cred.export().unwrap().to_vec()).collect();
    elsewhere(&tokens, |tokens| {
        let import = |at: usize| Cred::import(&tokens[at]).unwrap();
        let facts: Vec<_> = (0..5).map(|at| import(at).inquire().unwrap()).collect();
        let usages: Vec<_> = facts.iter().map(|facts| facts.usage).collect();
        assert_eq!(usages, [Usage::Initiate, Usage::Initiate, Usage::Both, Usage::Accept, Usage::Accept]);
        assert!(facts.iter().all(|facts| facts.lifetime == INDEFINITE));
        assert_eq!((facts[2].name.as_str(), facts[4].name.as_str()), ("DOM\\alice", "HTTP/server"));
        for initiator in [0, 1, 2] {
            for acceptor in [2, 3, 4] {
                let mut handshake = Handshake::with_cred(&NTLM, import(initiator)).flags(0);
                handshake.acceptor = import(acceptor);
                let pair = handshake.establish();
                assert_eq!(pair.source, "DOM\\alice");
                let offered = flags_of(&pair.tokens[0]);
                assert_eq!(offered & BITS_128 == 0, initiator == 1, "{offered:#x}");
            }
        }
        Vec::new()
    });
}

#[test]
fn an_lm_hash_goes_on_with_its_credential() {
    with_environment(&[], || {
        for (level, has_lm_hash) in [(0, true), (1, true), (3, false)] {
            set_lm_level(level);
            let cred = Cred::with_password(&Name::user("DOM\\alice"), PASSWORD, &NTLM).unwrap();
            let imported = Cred::import(&cred.export().unwrap()).unwrap();
            set_lm_level(0);
            let pair = Handshake::with_cred(&NTLM, imported).establish();
            let sent = crate::common::token::Authenticate::read(&pair.tokens[2]);
            assert_eq!(sent.lm_response != sent.nt_response, has_lm_hash, "level {level}");
        }
    });
}

#[test]
fn names_of_ordinary_length_keep_a_context_short() {
    let users = world().file("ordinary", "ACCOUNTING:firstname.lastname@example.com:x\n").display().to_string();
    let mut handshake = Handshake::with_password(&NTLM, "ACCOUNTING\\firstname.lastname@example.com", "x");
    handshake.target = "HTTP@intranet.accounting.example.com";
    handshake.acceptor = Cred::acquire_from(None, Usage::Accept, &[("ntlmssp_keyfile", &users)], &NTLM).unwrap();
    let mut pair = handshake.establish();
    for context in [&mut pair.initiator, &mut pair.acceptor] {
        let token = context.export().unwrap();
        assert!(token.len() <= LONGEST, "{} bytes", token.len());
    }
}
