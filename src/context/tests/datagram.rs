//! The connectionless handshake in memory.

use super::*;
use crate::{
    policy::DatagramPolicy,
    wire::{Authenticate, AvId, Challenge, Negotiate, NegotiateFlags, NtlmV2Response, TargetInfo},
};

const STARTS: [&[u8]; 3] = [b"", b"NTLMSSP\0", b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"];

fn pair() -> Pair {
    asking(Pair { requested: ContextFlags::INTEG | ContextFlags::DATAGRAM, ..Pair::new() })
}

/// The pair, whose server asks for connectionless handshakes.
fn asking(pair: Pair) -> Pair {
    pair.server.set_options(|options| options.neg_flags = Some(NegotiateFlags::DATAGRAM.bits()));
    pair
}

/// Both contexts after a handshake that began with `start` at the server, and its two messages.
fn handshake(pair: &Pair, start: &[u8]) -> Result<(Context, Context, [Vec<u8>; 2])> {
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let first = pair.initiate(&mut client, &[])?;
    assert!(first.is_empty() && !client.is_established(), "nothing to send");
    let challenge = pair.accept(&mut server, start)?;
    let authenticate = pair.initiate(&mut client, &challenge)?;
    assert!(client.is_established() && !server.is_established());
    let done = pair.accept(&mut server, &authenticate)?;
    assert!(server.is_established() && done.is_empty());
    Ok((client, server, [challenge, authenticate]))
}

fn sign(from: &mut Context, message: &[u8]) -> [u8; SIGNATURE_LEN] {
    from.session().unwrap().get_mic(&[message]).unwrap()
}

fn verify(to: &mut Context, message: &[u8], signature: &[u8]) -> Result<()> {
    to.session().unwrap().verify_mic(&[message], signature)
}

#[test]
fn every_start_gives_the_same_context() {
    let pair = pair();
    for start in STARTS {
        let (mut client, mut server, [challenge, authenticate]) = handshake(&pair, start).unwrap();
        for context in [&mut client, &mut server] {
            let granted = ContextFlags::INTEG | ContextFlags::DATAGRAM | ContextFlags::IDENTIFY | ContextFlags::TRANS;
            assert_eq!(context.flags(), granted, "no order, no replay detection, no confidentiality");
            context.set_seq_num(100).unwrap();
        }
        assert!(server.established().unwrap().has_mic, "over CHALLENGE_MESSAGE and AUTHENTICATE_MESSAGE");
        for message in [&b"REGISTER"[..], b"", b"REGISTER"] {
            let (response, rspauth) = (sign(&mut client, message), sign(&mut server, message));
            assert_eq!(response[12..], [100, 0, 0, 0]);
            verify(&mut server, message, &response).unwrap();
            verify(&mut client, message, &rspauth).unwrap();
            assert!(verify(&mut server, message, &rspauth).is_err(), "reflected");
        }

        let sent = Challenge::decode(&challenge).unwrap();
        assert_eq!((sent.flags.bits(), sent.target_name), (0xe298_8273, &[][..]));
        let info =
            TargetInfo::decode(crate::error::Message::Challenge, crate::error::FieldName::TargetInfo, sent.target_info);
        assert_eq!(info.unwrap().find(AvId::MsvAvFlags), None);
        let answer = Authenticate::decode(&authenticate, NegotiateFlags::empty()).unwrap();
        assert_eq!((answer.flags.unwrap().bits(), answer.encrypted_random_session_key.len()), (0x6298_8255, 16));
        NtlmV2Response::decode(answer.nt_response).unwrap();
    }
}

#[test]
fn a_negotiate_message_may_ask_for_it_and_the_mic_does_not_cover_it() {
    let pair = pair();
    let flags = NegotiateFlags::from_bits_retain(0xe298_8257);
    let negotiate = Negotiate { flags, domain: &[], workstation: &[], version: None }.encode().unwrap();
    let (_, server, [challenge, _]) = handshake(&pair, &negotiate).unwrap();
    assert!(server.established().unwrap().has_mic);
    let sent = Challenge::decode(&challenge).unwrap().flags;
    assert!(sent.contains(NegotiateFlags::DATAGRAM | NegotiateFlags::IDENTIFY | NegotiateFlags::KEY_EXCH));
    assert!(!sent.contains(NegotiateFlags::SEAL), "not asked for");
}

/// A host that says this about SPNEGO.
struct InSpnego(Fixed, Option<bool>);

impl Host for InSpnego {
    fn now(&self) -> FileTime {
        self.0.now()
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        self.0.random(out)
    }

    fn names(&self) -> LocalNames {
        self.0.names()
    }

    fn version(&self) -> [u8; 8] {
        self.0.version()
    }

    fn variable(&self, name: &'static str) -> Option<String> {
        self.0.variable(name)
    }

    fn is_called_by_spnego(&self) -> Option<bool> {
        self.1
    }

    fn trace(&self, _: core::fmt::Arguments<'_>) {}
}

#[test]
fn it_starts_only_as_the_policy_and_the_application_say() {
    use DatagramPolicy::{AsAsked, No, Yes};
    let [empty, bare, header] = STARTS;
    let negotiate = |flags| Negotiate { flags, domain: &[], workstation: &[], version: None }.encode().unwrap();
    let asking = negotiate(NegotiateFlags::from_bits_retain(0xe298_8257));
    let plain = negotiate(NegotiateFlags::from_bits_retain(0xe298_8217));
    for (policy, neg_flags, allowed) in [
        (AsAsked, None, &[header][..]),
        (AsAsked, Some(0), &[header]),
        (AsAsked, Some(0xe298_8233), &[header]),
        (AsAsked, Some(0x40), &[empty, bare, header, &asking]),
        (AsAsked, Some(0xe298_8273), &[empty, bare, header, &asking]),
        (Yes, None, &[empty, bare, header, &asking]),
        (Yes, Some(0xe298_8233), &[empty, bare, header, &asking]),
        (No, None, &[]),
        (No, Some(0x40), &[]),
    ] {
        for token in [empty, bare, header, &asking, &plain] {
            for in_spnego in [Some(false), Some(true), None] {
                let pair = Pair { server_policy: Policy { datagram: policy, ..Policy::default() }, ..Pair::new() };
                pair.server.set_options(|options| options.neg_flags = neg_flags);
                let what = format!("{policy:?}, {neg_flags:x?}, {token:?}, in SPNEGO: {in_spnego:?}");
                let mut server = Context::new(Role::Acceptor);
                let host = InSpnego(Fixed(NOW), in_spnego);
                let env = &Env::without_domain(pair.server_policy, &host);
                let request = AcceptRequest { credential: Some(&pair.server), bindings: None, token, env };
                let done = server.accept(&request).map(drop);
                let is_connectionless = allowed.contains(&token) && in_spnego == Some(false);
                // A NEGOTIATE_MESSAGE can do without.
                let is_message = token.len() > header.len();
                let expected = if is_connectionless || is_message { Ok(()) } else { Err(PolicyError::Datagram.into()) };
                assert_eq!(done, expected, "{what}");
                assert_eq!(server.flags().contains(ContextFlags::DATAGRAM), is_connectionless, "{what}");
            }
        }
    }
}

#[test]
fn asking_for_nothing_else_leaves_the_other_flags_alone() {
    let datagram = Some(NegotiateFlags::DATAGRAM.bits());
    let pair = Pair::new();
    let plain = pair.messages();
    pair.client.set_options(|options| options.neg_flags = datagram);
    pair.server.set_options(|options| options.neg_flags = datagram);
    let asked = pair.messages();
    for number in [0, 1] {
        assert_eq!(asked[number], plain[number], "message {number}");
    }
    let challenge = pair.accept(&mut Context::new(Role::Acceptor), STARTS[2]).unwrap();
    assert_eq!(Challenge::decode(&challenge).unwrap().flags.bits(), 0xe298_8273);
}

#[test]
fn the_challenge_may_come_with_the_first_call() {
    let pair = pair();
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let challenge = pair.accept(&mut server, b"").unwrap();
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    assert!(client.is_established());
    pair.accept(&mut server, &authenticate).unwrap();
    let signature = sign(&mut client, b"x");
    assert_eq!(signature[12..], [0, 0, 0, 0], "until the application sets another");
    verify(&mut server, b"x", &signature).unwrap();
}

#[test]
fn a_number_set_during_the_handshake_counts_and_is_exported() {
    let pair = pair();
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    assert_eq!(client.set_seq_num(1), Err(ApiMisuse::NoContext.into()));
    pair.initiate(&mut client, &[]).unwrap();
    let challenge = pair.accept(&mut server, b"").unwrap();
    for context in [&mut client, &mut server] {
        context.set_seq_num(100).unwrap();
        *context = Context::import(&context.export().unwrap()).unwrap();
    }
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    pair.accept(&mut server, &authenticate).unwrap();
    for context in [&mut client, &mut server] {
        *context = Context::import(&context.export().unwrap()).unwrap();
    }
    let signature = sign(&mut client, b"x");
    assert_eq!(signature[12..], [100, 0, 0, 0]);
    for _ in 0..2 {
        verify(&mut server, b"x", &signature).unwrap();
    }
}

#[test]
fn a_connection_oriented_context_takes_no_number_in_any_state() {
    let pair = Pair::new();
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let refused = |context: &mut Context, error: ApiMisuse| {
        assert!(!context.is_failed());
        assert_eq!(context.set_seq_num(100), Err(error.into()));
    };
    refused(&mut client, ApiMisuse::NoContext);
    refused(&mut server, ApiMisuse::NoContext);
    let challenge = pair.accept(&mut server, &pair.initiate(&mut client, &[]).unwrap()).unwrap();
    refused(&mut client, ApiMisuse::NotDatagram);
    refused(&mut server, ApiMisuse::NotDatagram);
    pair.accept(&mut server, &pair.initiate(&mut client, &challenge).unwrap()).unwrap();
    refused(&mut client, ApiMisuse::NotDatagram);
    refused(&mut server, ApiMisuse::NotDatagram);
}

#[test]
fn messages_are_sealed_only_with_extended_session_security() {
    let asked = ContextFlags::CONF | ContextFlags::INTEG | ContextFlags::DATAGRAM;
    let pair = Pair { requested: asked, ..self::pair() };
    let (mut client, mut server, _) = handshake(&pair, b"").unwrap();
    for context in [&mut client, &mut server] {
        assert!(context.flags().contains(ContextFlags::CONF));
        let refused = context.session().unwrap().wrap(&mut [Buffer::Data(&mut [0; 3])]);
        assert_eq!(refused.unwrap_err(), ApiMisuse::NoSeqNum.into(), "without a number");
        context.set_seq_num(7).unwrap();
    }
    exchange(&mut client, &mut server, b"sealed");
    exchange(&mut client, &mut server, b"sealed");

    let without = NegotiateFlags::from_bits_retain(0xe298_8273) - NegotiateFlags::EXTENDED_SESSIONSECURITY;
    let pair = self::pair();
    pair.server.set_options(|options| options.neg_flags = Some(without.bits()));
    let (mut client, mut server, _) = handshake(&pair, b"").unwrap();
    for context in [&mut client, &mut server] {
        context.set_seq_num(100).unwrap();
        let refused = context.session().unwrap().wrap(&mut [Buffer::Data(&mut [0; 3])]);
        assert_eq!(refused.unwrap_err(), ApiMisuse::NoProtection.into());
    }
    let (first, second) = (sign(&mut client, b"one"), sign(&mut server, b"two"));
    verify(&mut server, b"one", &first).unwrap();
    verify(&mut client, b"two", &second).unwrap();
    assert_eq!(first[12..], second[12..], "one key and one number for both directions");
    let refused = handshake(&Pair { requested: asked, ..pair }, b"").map(drop);
    assert_eq!(refused, Err(PeerIncompatible::NoSeal.into()));
}

#[test]
fn a_wrong_password_or_a_changed_message_is_refused() {
    let wrong =
        asking(Pair { requested: ContextFlags::INTEG | ContextFlags::DATAGRAM, ..Pair::with_password("wrong") });
    assert_eq!(handshake(&wrong, b"").map(drop), Err(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()));
    let pair = pair();
    let (_, _, [challenge, authenticate]) = handshake(&pair, b"").unwrap();
    let mut server = Context::new(Role::Acceptor);
    assert!(pair.accept(&mut server, &authenticate).is_err(), "before any CHALLENGE_MESSAGE");
    for at in 0..authenticate.len() {
        let mut changed = authenticate.clone();
        changed[at] ^= 1;
        let state = ExpectAuthenticate {
            negotiate: Vec::new(),
            challenge: challenge.clone(),
            seq_num: None,
            is_exempt: true,
            acceptor: pair.acceptor(),
        };
        assert!(pair.accept(&mut Context::resume(state), &changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_side_in_another_mode_is_told() {
    let (connectionless, connected) = (pair(), asking(Pair::new()));
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    connectionless.initiate(&mut client, &[]).unwrap();
    let negotiate = connected.initiate(&mut Context::new(Role::Initiator), &[]).unwrap();
    let challenge = connected.accept(&mut server, &negotiate).unwrap();
    let refused = connectionless.initiate(&mut client, &challenge).unwrap_err();
    assert_eq!(refused, PeerIncompatible::NoDatagram.into());

    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    connected.initiate(&mut client, &[]).unwrap();
    let challenge = connected.accept(&mut server, b"").unwrap();
    // The client ignores a flag DATAGRAM that it did not offer, but this server means it.
    let authenticate = connected.initiate(&mut client, &challenge).unwrap();
    assert!(!client.flags().contains(ContextFlags::DATAGRAM));
    assert_eq!(connected.accept(&mut server, &authenticate).unwrap_err(), PeerIncompatible::NoDatagram.into());
}
