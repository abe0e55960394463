//! What old clients and servers do, in memory: NTLMv1, LM, OEM letters, anonymous clients.

use super::*;
use crate::{
    crypto::{keys, ntowf},
    error::{Fault, FieldName, InvalidMessage, Message},
    name::Attribute,
    policy::{LmLevel, TargetInfoPolicy},
    wire::{Authenticate, AvId, Challenge, NegotiateFlags, TargetInfo, TargetInfoBuilder},
};

const LM_KEY: NegotiateFlags = NegotiateFlags::LM_KEY;
const ESS: NegotiateFlags = NegotiateFlags::EXTENDED_SESSIONSECURITY;
const UNICODE: NegotiateFlags = NegotiateFlags::UNICODE.union(NegotiateFlags::NTLM);
const OEM: NegotiateFlags = NegotiateFlags::OEM.union(NegotiateFlags::NTLM).union(NegotiateFlags::REQUEST_TARGET);
const PROTECTED: ContextFlags = ContextFlags::INTEG.union(ContextFlags::CONF);

pub(super) fn at(level: u8) -> Policy {
    Policy { lm_level: LmLevel::new(level).unwrap(), ..Policy::default() }
}

fn client(user: &str, password: &str, level: u8) -> Credential {
    let (name, store) =
        (Name::parse_user(user).unwrap(), CredStore::default().with_password(password.as_bytes()).unwrap());
    Credential::acquire(Some(&name), Usage::Initiate, &store, &env(at(level))).unwrap()
}

/// Both sides at `level`, with an account that has this password.
fn pair_with(password: &str, level: u8) -> Pair {
    let pair = Pair::new();
    std::fs::write(users_of(&pair), format!("DOM:Alice:{password}\n")).unwrap();
    let client = client("DOM\\alice", password, level);
    Pair { client, client_policy: at(level), server_policy: at(level), ..pair }
}

fn pair(level: u8) -> Pair {
    pair_with("secret", level)
}

fn users_of(pair: &Pair) -> PathBuf {
    pair.server.acceptor().unwrap().accounts.user_file.clone().unwrap()
}

fn choose(credential: &Credential, flags: NegotiateFlags) {
    credential.set_options(|options| options.neg_flags = Some(flags.bits()));
}

/// A pair whose client offers a key made of its LM hash.
fn with_lm_keys(flags: NegotiateFlags) -> Pair {
    let pair = pair(1);
    choose(&pair.client, UNICODE | LM_KEY | flags);
    pair
}

/// A pair with an anonymous client, which the server allows.
fn anonymous() -> Pair {
    let server_policy = Policy { anonymous: true, ..Policy::default() };
    Pair { requested: PROTECTED | ContextFlags::ANON, server_policy, ..Pair::new() }
}

/// Changes the flags of a message of any kind.
pub(super) fn change_flags(message: &mut [u8], change: impl FnOnce(NegotiateFlags) -> NegotiateFlags) {
    let at = [12, 20, 60][usize::from(message[8]) - 1];
    let place: &mut [u8; 4] = message[at..].first_chunk_mut().unwrap();
    *place = change(NegotiateFlags::from_bits_retain(u32::from_le_bytes(*place))).bits().to_le_bytes();
}

/// An attacker who changes the AUTHENTICATE_MESSAGE.
fn answering(change: impl Fn(&mut Authenticate<'_>)) -> impl Fn(usize, &mut Vec<u8>) {
    move |number, message| {
        if number == 2 {
            let token = message.clone();
            let mut authenticate = Authenticate::decode(&token, NegotiateFlags::UNICODE).unwrap();
            change(&mut authenticate);
            *message = authenticate.encode().unwrap();
        }
    }
}

/// An attacker who removes the AV_PAIRs with these ids from the CHALLENGE_MESSAGE.
pub(super) fn challenging_without(ids: &[AvId]) -> impl Fn(usize, &mut Vec<u8>) {
    move |number, message| {
        if number == 1 {
            let token = message.clone();
            let challenge = Challenge::decode(&token).unwrap();
            let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info).unwrap();
            let mut builder = TargetInfoBuilder::default();
            for pair in info.pairs().filter(|pair| !ids.contains(&pair.id)) {
                builder.push(pair.id, pair.value).unwrap();
            }
            *message = Challenge { target_info: &builder.finish(), ..challenge }.encode().unwrap();
        }
    }
}

/// An attacker who removes TargetInfo from the CHALLENGE_MESSAGE.
pub(super) fn challenging_without_info(number: usize, message: &mut Vec<u8>) {
    if number == 1 {
        let token = message.clone();
        let challenge = Challenge::decode(&token).unwrap();
        let flags = challenge.flags - NegotiateFlags::TARGET_INFO;
        *message = Challenge { target_info: &[], flags, ..challenge }.encode().unwrap();
    }
}

fn key_of(context: &Context) -> [u8; 16] {
    *context.established().unwrap().session.key().expose()
}

fn attribute(server: &Context, attribute: Attribute) -> &str {
    server.established().unwrap().initiator.get(attribute).unwrap()
}

/// Messages in both directions in turn: without extended session security both share one stream.
fn assert_in_step(client: &mut Context, server: &mut Context) {
    for message in [&b"one"[..], b"", b"a longer one"] {
        exchange(client, server, message);
        exchange(server, client, message);
    }
}

#[test]
fn zeros_follow_the_challenge_of_the_client() {
    let pair = pair(1);
    let messages = pair.messages();
    let sent = Authenticate::decode(&messages[2], NegotiateFlags::empty()).unwrap();
    assert!(sent.flags.unwrap().contains(ESS));
    assert_eq!((sent.nt_response.len(), &sent.lm_response[8..]), (24, &[0; 16][..]));
    let invalid = InvalidMessage {
        message: Message::Authenticate,
        field: FieldName::LmChallengeResponse,
        fault: Fault::WrongValue,
    };
    for at in 8..24 {
        let mut response = sent.lm_response.to_vec();
        response[at] = 1;
        let refused = pair.handshake(|number, message| {
            let place = message.windows(24).position(|part| part == sent.lm_response);
            if let (2, Some(place)) = (number, place) {
                message[place + at] = 1;
            }
        });
        assert_eq!(refused.map(drop), Err(invalid.into()), "byte {at}");
    }
    for len in [0, 8, 23] {
        let refused = pair.handshake(answering(|message| message.lm_response = &message.lm_response[..len]));
        assert_eq!(refused.map(drop), Err(invalid.into()), "{len} bytes");
    }
}

#[test]
fn at_level_2_no_lm_response_is_sent_even_with_an_lm_hash() {
    for level in [0, 1, 2] {
        let client = client("DOM\\alice", "secret", 0);
        let pair = Pair { client, requested: ContextFlags::empty(), ..pair(level) };
        choose(&pair.server, UNICODE);
        let token = pair.messages().remove(2);
        let sent = Authenticate::decode(&token, NegotiateFlags::empty()).unwrap();
        assert!(!sent.flags.unwrap().contains(ESS));
        assert_eq!(sent.nt_response.len(), 24);
        assert_eq!(sent.lm_response == sent.nt_response, level == 2, "level {level}");
    }
}

#[test]
fn a_server_must_send_some_av_pair_but_not_its_names() {
    let requests = [ContextFlags::INTEG, ContextFlags::CONF, ContextFlags::empty()];
    let names = [AvId::MsvAvNbComputerName, AvId::MsvAvNbDomainName, AvId::MsvAvTimestamp];
    let client_policy = Policy { mic: MicPolicy::Off, ..Policy::default() };
    for ids in [&names[..1], &names[1..2], &names[..2], &names] {
        for requested in requests {
            let pair = Pair { requested, client_policy, ..Pair::new() };
            assert_eq!(pair.handshake(challenging_without(ids)).map(drop), Ok(()), "{ids:?}");
        }
    }
    let optional = Policy { target_info: TargetInfoPolicy::Optional, ..Policy::default() };
    for (client_policy, expected) in
        [(Policy::default(), Err(PeerIncompatible::NoTargetInfo.into())), (optional, Ok(()))]
    {
        for requested in requests {
            let pair = Pair { requested, client_policy, ..Pair::new() };
            let expected = if requested.is_empty() { Ok(()) } else { expected.clone() };
            assert_eq!(pair.handshake(challenging_without_info).map(drop), expected, "{requested:?}");
        }
    }
    let (mut client, mut server) =
        Pair { client_policy: optional, ..Pair::new() }.handshake(challenging_without_info).unwrap();
    assert_in_step(&mut client, &mut server);
}

#[test]
fn an_attacker_who_removes_the_time_removes_the_mic_too_unless_the_server_requires_one() {
    let without_time = || challenging_without(&[AvId::MsvAvTimestamp]);
    let (_, server) = Pair::new().handshake(without_time()).unwrap();
    assert!(!server.established().unwrap().has_mic);
    let server_policy = Policy { require_mic: true, ..Policy::default() };
    let refused = Pair { server_policy, ..Pair::new() }.handshake(without_time());
    assert_eq!(refused.map(drop), Err(PolicyError::MicRequired.into()));
}

#[test]
fn a_response_without_a_target_is_refused_where_one_is_required() {
    for (target_name, is_served) in
        [(TargetNamePolicy::Required, false), (TargetNamePolicy::Audit, true), (TargetNamePolicy::Off, true)]
    {
        for pair in [pair(0), pair(1), pair(2), anonymous()] {
            let pair = Pair { server_policy: Policy { target_name, ..pair.server_policy }, ..pair };
            let done = pair.handshake(|_, _| ()).map(drop);
            let expected = if is_served { Ok(()) } else { Err(PolicyError::TargetName.into()) };
            assert_eq!(done, expected, "{target_name:?}");
        }
    }
}

#[test]
fn a_response_without_mic_and_bindings_is_refused_where_they_are_required() {
    for pair in [pair(0), pair(1), anonymous()] {
        let with_mic = Policy { require_mic: true, ..pair.server_policy };
        let bound = Policy { channel_bindings: BindingsPolicy::Required, ..pair.server_policy };
        let mut pair = Pair { client_bindings: Some(BINDINGS), server_bindings: Some(BINDINGS), ..pair };
        let (_, server) = pair.handshake(|_, _| ()).unwrap();
        assert!(!server.flags().contains(ContextFlags::CHANNEL_BOUND));
        pair.server_policy = with_mic;
        assert_eq!(pair.error(), PolicyError::MicRequired.into());
        pair.server_policy = bound;
        assert_eq!(pair.error(), PolicyError::BindingsRequired.into());
    }
}

#[test]
fn sixty_four_letters_of_a_workstation_are_kept() {
    const WORKSTATION: [u8; 2000] = [0x57; 2000];
    let named = |len: usize| {
        let (_, server) =
            pair(1).handshake(answering(|message| message.workstation = &WORKSTATION[..2 * len])).unwrap();
        attribute(&server, Attribute::Workstation).to_owned()
    };
    assert_eq!([1, 63, 64, 65, 1000].map(|len| named(len).chars().count()), [1, 63, 64, 64, 64]);
}

#[test]
fn an_lm_response_alone_gives_the_key_of_an_lm_key() {
    for requested in [ContextFlags::empty(), PROTECTED] {
        let pair = Pair { requested, ..with_lm_keys(NegotiateFlags::empty()) };
        let response = std::cell::Cell::new([0; 8]);
        let (mut client, mut server) = pair
            .handshake(answering(|message| {
                assert_eq!(message.flags.unwrap() & (LM_KEY | ESS), LM_KEY);
                response.set(*message.lm_response.first_chunk().unwrap());
                message.nt_response = &[];
            }))
            .unwrap();
        assert_eq!(attribute(&server, Attribute::Version), "LM");
        assert_eq!(key_of(&client), key_of(&server));
        if requested.is_empty() {
            let expected = keys::kxkey_lm(&ntowf::lm_hash(b"secret").unwrap(), &response.get());
            assert_eq!(key_of(&client), *expected.expose());
        } else {
            assert_in_step(&mut client, &mut server);
        }
    }
}

#[test]
fn an_lm_response_alone_is_accepted_at_levels_0_and_1() {
    for (level, expected) in [(0, Ok(())), (1, Ok(())), (2, Err(PolicyError::NtlmV1.into()))] {
        let pair = Pair { server_policy: at(level), requested: ContextFlags::empty(), ..pair(0) };
        let done = pair.handshake(answering(|message| message.nt_response = &[])).map(drop);
        assert_eq!(done, expected, "level {level}");
    }
}

#[test]
fn keys_of_an_lm_hash_are_weak_and_not_enough_for_128_bits() {
    let all = NegotiateFlags::BITS_128 | NegotiateFlags::BITS_56;
    for bits in [all, NegotiateFlags::BITS_56, NegotiateFlags::empty()] {
        let (mut client, mut server) = with_lm_keys(bits).handshake(|_, _| ()).unwrap();
        assert_in_step(&mut client, &mut server);
    }
    let minimum = Policy { minimum: Minimum::BITS_128, ..at(1) };
    for pair in [
        Pair { server_policy: minimum, ..with_lm_keys(all) },
        Pair { client_policy: minimum, ..with_lm_keys(all) },
        Pair { server_policy: minimum, ..with_lm_keys(NegotiateFlags::BITS_56) },
    ] {
        assert_eq!(pair.error(), PeerIncompatible::No128.into());
    }
    // Extended session security wins, and does not use the LM hash.
    let pair = with_lm_keys(all | ESS);
    assert!(Pair { client_policy: minimum, server_policy: minimum, ..pair }.handshake(|_, _| ()).is_ok());
}

#[test]
fn a_key_of_an_lm_hash_is_made_if_agreed_on_even_if_the_level_changes_then() {
    for level in 0..=5 {
        let mut pair = with_lm_keys(NegotiateFlags::BITS_56);
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let challenge = pair.accept(&mut server, &pair.initiate(&mut client, &[]).unwrap()).unwrap();
        assert!(Challenge::decode(&challenge).unwrap().flags.contains(LM_KEY));
        pair.client_policy = Policy { minimum: Minimum::empty(), ..at(level) };
        let authenticate = pair.initiate(&mut client, &challenge).unwrap();
        pair.accept(&mut server, &authenticate).unwrap();
        assert_in_step(&mut client, &mut server);
    }
}

#[test]
fn without_messages_and_without_a_mic_the_key_is_the_key_exchange_key() {
    // SessionBaseKey of [MS-NLMP] 4.2.2.1.3, which is the KeyExchangeKey, and RC4K of the key that was sent.
    let plain = *b"\xd8\x72\x62\xb0\xcd\xe4\xb1\xcb\x74\x99\xbe\xcc\xcd\xf1\x07\x84";
    let decrypted = *b"\x03\xda\x70\xe3\xe1\xa1\x02\x9a\xc7\xd4\xd0\xbe\xe9\x6c\x6e\xe5";
    for (protection, expected) in
        [(NegotiateFlags::empty(), plain), (NegotiateFlags::SIGN, decrypted), (NegotiateFlags::SEAL, decrypted)]
    {
        let asked = NegotiateFlags::KEY_EXCH | protection;
        let pair = Pair { requested: ContextFlags::empty(), ..pair_with("Password", 1) };
        choose(&pair.client, UNICODE);
        let (_, server) = pair
            .handshake(|number, message| match number {
                0 => change_flags(message, |offered| offered | asked),
                1 => change_flags(message, |agreed| {
                    assert!(agreed.contains(asked) && !agreed.contains(ESS));
                    agreed - asked
                }),
                _ => answering(|message| {
                    message.flags = message.flags.map(|flags| flags | asked);
                    message.encrypted_random_session_key = &[7; 16];
                })(number, message),
            })
            .unwrap();
        assert!(!server.established().unwrap().has_mic);
        assert_eq!(key_of(&server), expected, "{protection}");
    }
}

#[test]
fn forty_bits_are_enough_unless_a_minimum_is_set() {
    for flags in [UNICODE, UNICODE | ESS, UNICODE | ESS | NegotiateFlags::BITS_56] {
        let pair = pair(1);
        choose(&pair.client, flags);
        let (mut client, mut server) = pair.handshake(|_, _| ()).unwrap();
        assert_in_step(&mut client, &mut server);
        let server_policy = Policy { minimum: Minimum::BITS_128, ..at(1) };
        assert_eq!(Pair { server_policy, ..pair }.error(), PeerIncompatible::No128.into(), "{flags}");
    }
}

/// An attacker who makes the server agree to a key of an LM hash, and hides that from the client.
fn forcing(flags: NegotiateFlags) -> impl Fn(usize, &mut Vec<u8>) {
    move |number, message| match number {
        0 => change_flags(message, |offered| (offered - ESS) | flags),
        1 => change_flags(message, |agreed| agreed - flags),
        _ => change_flags(message, |answered| answered | flags),
    }
}

#[test]
fn an_account_without_an_lm_hash_gets_no_key_of_one() {
    let (fourteen, fifteen) = ("fourteen chars", "fifteen letters");
    for flags in [LM_KEY, NegotiateFlags::REQUEST_NON_NT_SESSION_KEY] {
        let forced = |password| {
            let pair = Pair { requested: ContextFlags::INTEG, ..pair_with(password, 1) };
            choose(&pair.server, UNICODE | NegotiateFlags::SIGN | NegotiateFlags::KEY_EXCH | flags);
            pair.handshake(forcing(flags)).map(drop)
        };
        assert_eq!(forced(fifteen), Err(PeerIncompatible::NoLmHash.into()), "{flags}");
        assert_eq!(forced(fourteen), Ok(()), "{flags}: the account has a hash, and the client another key");
    }
    assert!(pair_with(fifteen, 1).handshake(|_, _| ()).is_ok());
    assert!(pair_with(fifteen, 0).handshake(|_, _| ()).is_ok());
}

#[test]
fn a_client_without_an_lm_hash_offers_no_key_of_one() {
    for (password, asked) in [("fourteen chars", LM_KEY), ("fifteen letters", NegotiateFlags::empty())] {
        let pair = pair_with(password, 1);
        choose(&pair.client, UNICODE | LM_KEY);
        let negotiate = pair.messages().remove(0);
        let flags = crate::wire::Negotiate::decode(&negotiate).unwrap().flags;
        assert_eq!(flags & LM_KEY, asked);
    }
}

#[test]
fn a_name_that_oem_letters_cannot_spell_needs_unicode() {
    for level in [0, 1, 3] {
        for (user, expected) in [("Кир", Err(PeerIncompatible::NoUnicode.into())), ("Élodie", Ok(()))] {
            let pair = Pair { client: client(&format!("DOM\\{user}"), "secret", level), ..pair(level) };
            std::fs::write(users_of(&pair), "DOM:Élodie:secret\nDOM:Кир:secret\n").unwrap();
            let over = |pair: &Pair| pair.handshake(|_, _| ()).map(drop);
            assert_eq!(over(&pair), Ok(()));
            choose(&pair.server, OEM);
            let pair = Pair { requested: ContextFlags::empty(), ..pair };
            assert_eq!(over(&pair), expected, "{user} at level {level}");
        }
    }
    let pair = Pair { client: client("Кир\\alice", "secret", 3), ..Pair::new() };
    let protected = NegotiateFlags::SIGN | NegotiateFlags::SEAL | NegotiateFlags::KEY_EXCH | NegotiateFlags::BITS_128;
    choose(&pair.server, OEM | ESS | protected);
    assert_eq!(pair.error(), PeerIncompatible::NoUnicode.into(), "neither can the domain");
}

#[test]
fn an_answer_without_flags_has_the_charset_of_the_challenge() {
    let oldest = |message: &mut Authenticate<'_>| {
        assert_eq!((message.user, message.domain), (&b"alice"[..], &b"DOM"[..]));
        (message.flags, message.version) = (None, None);
    };
    for level in [0, 1, 3] {
        let pair = Pair { requested: ContextFlags::empty(), ..pair(level) };
        let pair = Pair { client_policy: Policy { mic: MicPolicy::Off, ..pair.client_policy }, ..pair };
        choose(&pair.client, OEM);
        let (_, server) = pair
            .handshake(|number, message| {
                answering(oldest)(number, message);
                if number == 2 {
                    let start = message[12..52].chunks(8).filter(|field| field[0] != 0).map(|field| field[4]).min();
                    assert_eq!(start, Some(52), "the oldest header");
                }
            })
            .unwrap();
        assert_eq!(server.established().unwrap().initiator.name.to_string(), "DOM\\Alice", "level {level}");
        assert_eq!(attribute(&server, Attribute::Workstation), "SRV");
    }
}

#[test]
fn the_target_name_has_the_charset_of_the_client() {
    let of_a_target = NegotiateFlags::REQUEST_TARGET | NegotiateFlags::TARGET_TYPE_DOMAIN | NegotiateFlags::TARGET_INFO;
    for (flags, expected) in [
        (OEM, &b"DOM"[..]),
        (OEM | UNICODE, b"D\0O\0M\0"),
        // The client did not ask for a target, but gets one.
        (UNICODE, b"D\0O\0M\0"),
        (NegotiateFlags::OEM | NegotiateFlags::NTLM, b"DOM"),
    ] {
        let pair = Pair { requested: ContextFlags::empty(), ..Pair::new() };
        choose(&pair.client, flags);
        let token = pair.messages().remove(1);
        let challenge = Challenge::decode(&token).unwrap();
        assert_eq!(challenge.target_name, expected, "{flags}");
        assert!(challenge.flags.contains(of_a_target), "{}", challenge.flags);
    }
}

/// A pair whose initiator offers only the charset `offered`, and sends no MIC, so that messages can be changed.
fn writing_in(offered: NegotiateFlags) -> Pair {
    let client_policy = Policy { mic: MicPolicy::Off, ..Policy::default() };
    let pair = Pair { requested: ContextFlags::empty(), client_policy, ..Pair::new() };
    choose(&pair.client, offered);
    pair
}

#[test]
fn names_have_the_agreed_charset_or_that_which_they_show_if_the_flags_differ() {
    let charsets = NegotiateFlags::UNICODE | NegotiateFlags::OEM;
    const WIDE: [&[u8]; 3] = [b"a\0l\0i\0c\0e\0", b"D\0O\0M\0", b"W\0S\0T\0A\0T\0I\0O\0N\0"];
    let (narrow_names, wide_names) = ([&b"alice"[..], b"DOM", b"WSTATION"], WIDE);
    let neither = NegotiateFlags::empty();
    for (settled, said, [user, domain, workstation]) in [
        // GNU wget; in the second one all lengths are even.
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, narrow_names),
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, [b"bobb", b"DOMA", b"WS"]),
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, [b"bobb", b"", b"WS"]),
        // All names have the same charset.
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, [b"alice", b"DOM", WIDE[2]]),
        (NegotiateFlags::OEM, charsets, narrow_names),
        (NegotiateFlags::OEM, neither, narrow_names),
        // The client does use UNICODE.
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, wide_names),
        (NegotiateFlags::OEM, NegotiateFlags::UNICODE, [WIDE[0], b"", WIDE[2]]),
        (NegotiateFlags::UNICODE, neither, wide_names),
        (NegotiateFlags::UNICODE, charsets, wide_names),
        (NegotiateFlags::UNICODE, NegotiateFlags::OEM, wide_names),
        (NegotiateFlags::UNICODE, NegotiateFlags::OEM, narrow_names),
    ] {
        let pair = writing_in(settled | NegotiateFlags::NTLM);
        std::fs::write(users_of(&pair), "DOM:alice:secret\nDOMA:bobb:secret\n").unwrap();
        let name = if user == b"bobb" { "DOMA\\bobb" } else { "DOM\\alice" };
        let name = if domain.is_empty() { name.split_once('\\').unwrap().1 } else { name };
        let pair = Pair { client: client(name, "secret", 3), ..pair };
        choose(&pair.client, settled | NegotiateFlags::NTLM);
        let (_, server) = pair
            .handshake(answering(|message| {
                (message.user, message.domain, message.workstation) = (user, domain, workstation);
                message.flags = message.flags.map(|flags| (flags - charsets) | said);
            }))
            .unwrap_or_else(|error| panic!("{settled} {said} {user:?}: {error}"));
        let source = server.established().unwrap().initiator.name.to_string();
        assert!(source.ends_with(name), "{source} is not {name}");
        assert!(["WSTATION", "WS"].contains(&&*attribute(&server, Attribute::Workstation).replace("\\u{0}", "")));
    }
}

#[test]
fn a_name_of_odd_length_is_not_utf_16() {
    for said in [NegotiateFlags::UNICODE, NegotiateFlags::empty()] {
        let refused = writing_in(UNICODE).handshake(answering(|message| {
            message.user = b"alice";
            message.flags = message.flags.map(|flags| (flags - NegotiateFlags::UNICODE) | said);
        }));
        let (message, field, fault) = (Message::Authenticate, FieldName::UserName, Fault::OddLength);
        assert_eq!(refused.map(drop), Err(InvalidMessage { message, field, fault }.into()), "{said}");
    }
}

#[test]
fn a_proof_may_be_over_the_domain_in_upper_case_or_over_no_domain() {
    let [domain, upper, other]: [&[u8]; 3] = [b"D\0o\0m\0", b"D\0O\0M\0", b"d\0O\0M\0"];
    for (proven, claimed, expected) in [
        ("Dom\\alice", domain, true),
        ("DOM\\alice", domain, true),
        ("alice", domain, true),
        ("Dom\\alice", upper, false),
        ("Dom\\alice", other, false),
        ("DOM\\alice", other, true),
    ] {
        let pair = writing_in(UNICODE);
        let pair = Pair { client: client(proven, "secret", 3), ..pair };
        let done = pair.handshake(answering(|message| message.domain = claimed)).map(drop);
        let expected =
            if expected { Ok(()) } else { Err(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()) };
        assert_eq!(done, expected, "{proven} as {claimed:?}");
    }
}

#[test]
fn lm_v2_alone_is_refused_with_any_nt_response_beside_it() {
    for level in 0..=5 {
        // Without a time in the CHALLENGE_MESSAGE there is an LMv2 response.
        let pair = Pair { server_policy: at(level), ..Pair::new() };
        for nt_response in [&b""[..], b"\0", &[0; 16], &[7; 16]] {
            let refused = pair.handshake(|number, message| {
                challenging_without(&[AvId::MsvAvTimestamp])(number, message);
                answering(|message| {
                    assert_ne!(message.lm_response, [0; 24]);
                    message.nt_response = nt_response;
                })(number, message);
            });
            // At these levels it is verified as an LM response, and is wrong.
            let is_tried = nt_response.is_empty() && level < 2;
            let expected: Error = if is_tried {
                PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()
            } else {
                PolicyError::NtlmV1.into()
            };
            assert_eq!(refused.map(drop), Err(expected), "level {level}, {nt_response:?}");
        }
    }
}

/// The offset of the payload of an AUTHENTICATE_MESSAGE: the least BufferOffset.
fn header_len(message: &[u8]) -> usize {
    (0..6).map(|field| message[16 + 8 * field..][..2].try_into().map(u16::from_le_bytes).unwrap().into()).min().unwrap()
}

#[test]
fn a_negotiate_message_without_the_flag_version_has_zeros_for_it() {
    for flags in [NegotiateFlags::all(), NegotiateFlags::all() - NegotiateFlags::VERSION] {
        let pair = Pair::new();
        choose(&pair.client, flags);
        let negotiate = &pair.messages()[0];
        let has_version = flags.contains(NegotiateFlags::VERSION);
        let version = if has_version { [10, 0, 0, 0, 0, 0, 0, 15] } else { [0; 8] };
        assert_eq!(crate::wire::Negotiate::decode(negotiate).unwrap().version.is_some(), has_version);
        assert_eq!(negotiate[32..], version);
    }
}

#[test]
fn a_version_is_sent_only_to_servers_that_have_one_and_zeros_to_others() {
    for (has_version, has_mic) in [(true, true), (true, false), (false, true), (false, false)] {
        let mic = if has_mic { MicPolicy::Auto } else { MicPolicy::Off };
        let pair = Pair { client_policy: Policy { mic, ..Policy::default() }, ..Pair::new() };
        if !has_version {
            choose(&pair.server, NegotiateFlags::all() - NegotiateFlags::VERSION);
        }
        let messages = pair.messages();
        assert_eq!(Challenge::decode(&messages[1]).unwrap().version.is_some(), has_version);
        let sent = Authenticate::decode(&messages[2], NegotiateFlags::UNICODE).unwrap();
        assert_eq!(sent.flags.unwrap().contains(NegotiateFlags::VERSION), has_version);
        assert_eq!((sent.version.is_some(), sent.mic_offset), (has_version, has_mic.then_some(72)));
        // Its eight bytes are there in any case, before the payload.
        let version = if has_version { [10, 0, 0, 0, 0, 0, 0, 15] } else { [0; 8] };
        assert_eq!(messages[2][64..72], version);
        assert_eq!(header_len(&messages[2]), if has_mic { 88 } else { 72 });
    }
}

#[test]
fn an_anonymous_initiator_is_told_at_once_and_stays_anonymous_when_exported() {
    let by_credential = Pair { client: Credential::anonymous(), requested: PROTECTED, ..anonymous() };
    for pair in [anonymous(), by_credential] {
        let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
        let negotiate = pair.initiate(&mut client, &[]).unwrap();
        assert!(client.flags().contains(ContextFlags::ANON | PROTECTED));
        let sent = crate::wire::Negotiate::decode(&negotiate).unwrap().flags;
        assert!(!sent.contains(NegotiateFlags::ANONYMOUS), "only the last message tells the server");
        let mut client = Context::import(&client.export().unwrap()).unwrap();
        assert!(client.flags().contains(ContextFlags::ANON));
        let challenge = pair.accept(&mut server, &negotiate).unwrap();
        assert!(!server.flags().contains(ContextFlags::ANON));
        let authenticate = pair.initiate(&mut client, &challenge).unwrap();
        assert!(client.flags().contains(ContextFlags::ANON));
        pair.accept(&mut server, &authenticate).unwrap();
        assert!(server.flags().contains(ContextFlags::ANON | PROTECTED));
        assert_eq!(server.established().unwrap().initiator.name, Name::Anonymous);
        assert_in_step(&mut client, &mut server);
    }
    let mut somebody = Context::new(Role::Initiator);
    Pair::new().initiate(&mut somebody, &[]).unwrap();
    assert!(!somebody.flags().contains(ContextFlags::ANON));
    let somebody = Context::import(&somebody.export().unwrap()).unwrap();
    assert!(!somebody.flags().contains(ContextFlags::ANON));
}

#[test]
fn an_anonymous_initiator_stays_anonymous_with_another_credential() {
    let mut pair = anonymous();
    pair.requested = PROTECTED;
    let somebody = core::mem::replace(&mut pair.client, Credential::anonymous());
    let (mut client, mut server) = (Context::new(Role::Initiator), Context::new(Role::Acceptor));
    let negotiate = pair.initiate(&mut client, &[]).unwrap();
    let challenge = pair.accept(&mut server, &negotiate).unwrap();
    pair.client = somebody;
    let authenticate = pair.initiate(&mut client, &challenge).unwrap();
    assert!(client.flags().contains(ContextFlags::ANON));
    pair.accept(&mut server, &authenticate).unwrap();
    assert_eq!(server.established().unwrap().initiator.name, Name::Anonymous);
}

#[test]
fn an_anonymous_client_does_not_reach_a_minimum_of_protection() {
    for (minimum, expected) in [
        (Minimum::empty(), Ok(())),
        (Minimum::BITS_128 | Minimum::EXTENDED_SESSIONSECURITY, Ok(())),
        (Minimum::SIGN, Err(PolicyError::Anonymous.into())),
        (Minimum::SEAL, Err(PolicyError::Anonymous.into())),
    ] {
        let pair = anonymous();
        let pair = Pair { server_policy: Policy { minimum, ..pair.server_policy }, ..pair };
        assert_eq!(pair.handshake(|_, _| ()).map(drop), expected, "{minimum:?}");
    }
    let unserved = Pair { server_policy: Policy::default(), ..anonymous() };
    assert_eq!(unserved.error(), PolicyError::Anonymous.into());
}
