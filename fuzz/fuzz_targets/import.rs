//! Exported contexts and credentials. What is imported exports to the same bytes, and cannot do more than what was exported.
//!
//! Input: what is imported (an exported token of ours and changes to it, or bytes), without its checksum.

#![no_main]

use std::sync::OnceLock;

use gss_ntlm::{
    bytes::{CHECKSUM_LEN, append_checksum},
    context::{Context, ContextFlags},
    cred::{Account, Credential, Initiator, Secret},
    crypto::{LmHash, NtHash},
    name::UserName,
    policy::{LmLevel, Minimum, Policy},
    session::{Buffer, Role},
};
use gss_ntlm_fuzz::{
    Tape, edit,
    handshake::{Accepting, Client, EMPTY_TOKEN_OF_NTLM, Initiating, acceptor, env},
    no_fault,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let tape = &mut Tape(data);
    let is_context = !tape.bool();
    let mut token = match tape.u8() {
        0xff => tape.0.to_vec(),
        which => {
            let exported = exported(is_context);
            let mut token = exported[usize::from(which) % exported.len()].clone();
            edit(tape, &mut token);
            token
        }
    };
    append_checksum(&mut token);
    if is_context { context(&token) } else { credential(&token) }
});

fn context(token: &[u8]) {
    let Ok(mut context) = no_fault(Context::import(token)) else { return };
    let again = no_fault(context.export()).unwrap();
    let once_more = Context::import(&again).unwrap().export().unwrap();
    assert!(*again == *once_more);
    assert!(!context.is_failed());
    let _ = (context.flags(), context.requires_mech_list_mic());
    let mut other = Context::import(token).unwrap();
    let (Ok(session), Ok(copy)) = (context.session(), other.session()) else { return };
    let _ = (session.strength_factor(), session.wrap_size_limit(100));
    let mut data = *b"a message of ours";
    if let Ok(signature) = no_fault(session.wrap(&mut [Buffer::Data(&mut data)])) {
        let _ = no_fault(copy.unwrap(&mut [Buffer::Data(&mut data)], &signature));
    }
    let _ = no_fault(session.get_mic(&[b"message"]));
    let _ = no_fault(session.verify_mic(&[b"message"], &[1; 16]));
}

fn credential(token: &[u8]) {
    for level in [0, 3] {
        let policy = Policy { lm_level: LmLevel::new(level).unwrap(), ..Policy::default() };
        let Ok(credential) = no_fault(Credential::import(token, &env(policy))) else { continue };
        let again = no_fault(credential.export()).unwrap();
        let other = Credential::import(&again, &env(policy)).unwrap();
        assert!(*again == *other.export().unwrap());
        assert_eq!(credential.options(), other.options());
        assert_eq!(credential.usage(), other.usage());
        assert_eq!(credential.name(), other.name());
        if let Ok(Initiator::Account(account)) = credential.initiator() {
            account.name.ensure_valid().unwrap();
            assert!(account.secret.lm_hash.is_none() || policy.lm_level.uses_lm());
        }
        if let Ok(acceptor) = credential.acceptor() {
            assert!(acceptor.accounts.user_file.as_ref().is_none_or(|path| path.is_absolute()));
        }
    }
}

/// Exported tokens without their checksums, of each kind.
fn exported(is_context: bool) -> &'static [Vec<u8>] {
    static CONTEXTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    static CREDENTIALS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    if is_context { CONTEXTS.get_or_init(contexts) } else { CREDENTIALS.get_or_init(credentials) }
}

fn without_checksum(token: &[u8]) -> Vec<u8> {
    token[..token.len() - CHECKSUM_LEN].to_vec()
}

fn credentials() -> Vec<Vec<u8>> {
    let account = |lm_hash: Option<[u8; 16]>| {
        let name = UserName { user: "alice".to_owned(), domain: "DOM".to_owned() };
        let secret = Secret { nt_hash: NtHash::new([1; 16]), lm_hash: lm_hash.map(LmHash::new) };
        Some(Initiator::Account(Account::new(name, secret)))
    };
    let all = [
        Credential::new(account(None), None),
        Credential::new(account(Some([2; 16])), Some(acceptor())),
        Credential::new(None, Some(acceptor())),
        Credential::anonymous(),
    ];
    all[1].set_options(|options| options.neg_flags = Some(0xe288_8235));
    all.iter().map(|credential| without_checksum(&credential.export().unwrap())).collect()
}

/// Contexts of each state: of the usual handshake, of one without extended session security, anonymous, connectionless.
fn contexts() -> Vec<Vec<u8>> {
    let old = Policy { lm_level: LmLevel::new(0).unwrap(), minimum: Minimum::empty(), ..Policy::default() };
    let open = Policy { anonymous: true, ..Policy::default() };
    let usual = ContextFlags::INTEG | ContextFlags::CONF;
    let mut all = Vec::new();
    for (client, policy, requested) in [
        (Client::Alice, Policy::default(), usual),
        (Client::Alice, old, usual),
        (Client::Anonymous, open, ContextFlags::empty()),
        (Client::Alice, Policy::default(), usual | ContextFlags::DATAGRAM),
    ] {
        let (initiating, accepting) = (Initiating::new(client, policy, requested), Accepting::new(policy));
        let (mut initiator, mut acceptor) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let mut keep = |context: &Context| all.push(without_checksum(&context.export().unwrap()));
        let negotiate = initiating.step(&mut initiator, &[]).unwrap();
        keep(&initiator);
        let first = if negotiate.is_empty() { EMPTY_TOKEN_OF_NTLM } else { &negotiate };
        let challenge = accepting.step(&mut acceptor, first).unwrap();
        keep(&acceptor);
        let authenticate = initiating.step(&mut initiator, &challenge).unwrap();
        keep(&initiator);
        accepting.step(&mut acceptor, &authenticate).unwrap();
        keep(&acceptor);
    }
    all
}
