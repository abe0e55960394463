//! The default minimum: a connection whose messages are protected has extended session security and 128-bit keys.

use super::{forwarded, old::at, *};
use crate::{cred::Options, error::DomainError, policy::DatagramPolicy};

const ESS: NegotiateFlags = NegotiateFlags::EXTENDED_SESSIONSECURITY;
const BITS_128: NegotiateFlags = NegotiateFlags::BITS_128;
/// The header of RFC 2743 with the OID of NTLM, with which a server starts a connectionless handshake.
const HEADER: &[u8] = b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// What the strict side says of a peer that lacks these flags.
fn faults() -> [(NegotiateFlags, Error); 3] {
    let (no_ess, no_128) = (PeerIncompatible::NoExtendedSessionSecurity, PeerIncompatible::No128);
    [(ESS, no_ess.into()), (BITS_128, no_128.into()), (ESS | BITS_128, no_ess.into())]
}

fn as_asked(policy: Policy) -> Policy {
    Policy { minimum: Minimum::empty(), ..policy }
}

/// A handshake, in which an attacker removes `missing` from all messages: the client sends no MIC.
fn without(missing: NegotiateFlags, pair: &Pair) -> Result<ContextFlags> {
    let (client, server) = pair.handshake(|_, message| old::change_flags(message, |flags| flags - missing))?;
    assert_eq!(client.flags(), server.flags());
    Ok(server.flags())
}

/// A pair of sides with these policies, whose client asks for `requested` and sends no MIC.
fn pair(requested: ContextFlags, client: Policy, server: Policy) -> Pair {
    let client_policy = Policy { mic: MicPolicy::Off, ..client };
    Pair { requested, client_policy, server_policy: server, ..Pair::new() }
}

#[test]
fn each_side_requires_it_of_protected_messages() {
    let (strict, lax) = (Policy::default(), as_asked(Policy::default()));
    for (missing, fault) in faults() {
        for requested in [ContextFlags::INTEG, ContextFlags::CONF, ContextFlags::INTEG | ContextFlags::CONF] {
            for (client, server) in [(strict, strict), (strict, lax), (lax, strict)] {
                let refused = without(missing, &pair(requested, client, server)).unwrap_err();
                assert_eq!(refused, fault, "{missing}, {requested:?}");
                let sentence = refused.to_string();
                assert!(sentence.contains("GSS_NTLM_MINIMUM=sign-as-asked"), "{sentence}");
            }
            let granted = without(missing, &pair(requested, lax, lax)).unwrap();
            assert!(granted.contains(ContextFlags::INTEG), "as it was asked for");
        }
        let granted = without(missing, &pair(ContextFlags::empty(), strict, strict)).unwrap();
        assert!(!granted.intersects(ContextFlags::INTEG | ContextFlags::CONF), "nothing to be weak");
    }
}

#[test]
fn levels_below_three_are_exempt_and_a_named_minimum_holds_at_all() {
    for level in 0..=5 {
        for (missing, fault) in faults() {
            let over = |client, server| without(missing, &pair(ContextFlags::INTEG, client, server)).map(drop);
            let expected = if level < 3 { Ok(()) } else { Err(fault.clone()) };
            let lowest = |policy| if level < 3 { Policy { lm_level: at(0).lm_level, ..policy } } else { policy };
            assert_eq!(over(at(level), lowest(as_asked(at(level)))), expected, "client at {level}, {missing}");
            assert_eq!(over(lowest(as_asked(at(level))), at(level)), expected, "server at {level}, {missing}");
            let named = |minimum| Policy { minimum: Minimum::STRONG_IF_PROTECTED | minimum, ..at(level) };
            let mut list = Minimum::empty();
            list.set(Minimum::EXTENDED_SESSIONSECURITY, missing.contains(ESS));
            list.set(Minimum::BITS_128, missing.contains(BITS_128));
            for requested in [ContextFlags::INTEG, ContextFlags::empty()] {
                let over = |client, server| without(missing, &pair(requested, client, server)).map(drop);
                assert_eq!(over(named(list), as_asked(at(level))), Err(fault.clone()), "client at {level}, {missing}");
                assert_eq!(over(as_asked(at(level)), named(list)), Err(fault.clone()), "server at {level}, {missing}");
            }
        }
    }
}

#[test]
fn an_initiator_offers_it_even_if_the_application_chose_less() {
    for requested in [ContextFlags::empty(), ContextFlags::INTEG] {
        for (policy, expected) in [(Policy::default(), requested), (as_asked(Policy::default()), ContextFlags::empty())]
        {
            let pair = Pair { requested, client_policy: policy, ..Pair::new() };
            pair.client.set_options(|options| options.neg_flags = Some(NegotiateFlags::UNICODE.bits()));
            let negotiate = pair.initiate(&mut Context::new(Role::Initiator), &[]).unwrap();
            let offered = crate::wire::Negotiate::decode(&negotiate).unwrap().flags;
            assert_eq!(offered.contains(ESS | BITS_128), expected == ContextFlags::INTEG, "{offered}");
            assert_eq!(offered.intersects(ESS | BITS_128), expected == ContextFlags::INTEG, "{offered}");
        }
    }
}

#[test]
fn an_answer_of_winbind_must_have_it() {
    let without_ess = |received: &crate::cred::ReceivedChallenge<'_>| {
        let client = Pair { client_policy: as_asked(at(3)), ..Pair::new() };
        let flags = NegotiateFlags::UNICODE | NegotiateFlags::NTLM | NegotiateFlags::TARGET_INFO | BITS_128;
        client.client.set_options(|options| options.neg_flags = Some(flags.bits()));
        forwarded::answer(received, &client)
    };
    let pair = Pair { server_policy: as_asked(Policy::default()), ..forwarded::pair(without_ess) };
    let refused = pair.error();
    assert_eq!(refused, DomainError::NotProtected.into());
    assert!(refused.to_string().contains("GSS_NTLM_MINIMUM to sign-as-asked"), "{refused}");
    let pair = Pair { client_policy: as_asked(Policy::default()), ..pair };
    assert!(pair.handshake(|_, _| ()).is_ok());
}

#[test]
fn a_connectionless_handshake_is_exempt_only_if_the_application_asked_for_it() {
    let old = NegotiateFlags::from_bits_retain(0x4290_8255);
    let chosen = |flags: NegotiateFlags| Options { neg_flags: Some(flags.bits()), no_ci_flags: false };
    let with = |datagram| Policy { datagram, ..Policy::default() };
    let (no_ess, exempt) = (Err(Error::from(PeerIncompatible::NoExtendedSessionSecurity)), Ok(()));
    for (options, policy, expected) in [
        (Options::default(), with(DatagramPolicy::AsAsked), &no_ess),
        (Options::default(), with(DatagramPolicy::Yes), &exempt),
        (Options::default(), as_asked(with(DatagramPolicy::AsAsked)), &exempt),
        (chosen(NegotiateFlags::DATAGRAM), with(DatagramPolicy::AsAsked), &exempt),
        (chosen(old), with(DatagramPolicy::AsAsked), &exempt),
        (chosen(old - NegotiateFlags::DATAGRAM), with(DatagramPolicy::AsAsked), &no_ess),
        (
            chosen(NegotiateFlags::DATAGRAM),
            Policy { minimum: Minimum::STRONG_IF_PROTECTED | Minimum::EXTENDED_SESSIONSECURITY, ..Policy::default() },
            &no_ess,
        ),
    ] {
        let requested = ContextFlags::INTEG | ContextFlags::DATAGRAM;
        let pair = Pair { server_policy: policy, ..self::pair(requested, Policy::default(), Policy::default()) };
        pair.server.set_options(|set| *set = options);
        pair.client.set_options(|set| *set = chosen(old));
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let done = pair.accept(&mut server, HEADER).and_then(|challenge| {
            // Another process may go on, with a credential of its own.
            server = Context::import(&server.export()?)?;
            pair.server.set_options(|set| *set = Options::default());
            let authenticate = pair.initiate(&mut client, &challenge)?;
            assert!(client.is_established(), "an initiator that asks for it is exempt");
            pair.accept(&mut server, &authenticate)
        });
        assert_eq!(&done.map(drop), expected, "{options:?} {:?}", policy.datagram);
    }
}

#[test]
fn asking_for_connectionless_handshakes_exempts_no_connection() {
    let policy = Policy { datagram: DatagramPolicy::Yes, ..Policy::default() };
    for (missing, fault) in faults() {
        let pair = pair(ContextFlags::INTEG, as_asked(Policy::default()), policy);
        pair.server.set_options(|options| options.neg_flags = Some(NegotiateFlags::DATAGRAM.bits()));
        assert_eq!(without(missing, &pair), Err(fault));
    }
}

#[test]
fn a_response_of_an_old_version_is_named_first() {
    // One change, that of the level, is then enough for both.
    let pair = pair(ContextFlags::INTEG, at(0), Policy::default());
    assert_eq!(pair.error(), PolicyError::NtlmV1.into());
}
