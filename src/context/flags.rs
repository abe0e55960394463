//! All decisions about flags: from request flags to NegotiateFlags, and from these to return flags.

use bitflags::bitflags;

use crate::{
    cred::{Initiator, Options},
    error::{Fault, FieldName, InvalidMessage, Message, PeerIncompatible, Result},
    policy::{DatagramPolicy, Minimum, Policy},
    wire::NegotiateFlags,
};

bitflags! {
    /// The flags of `gss_init_sec_context` and `gss_accept_sec_context` (RFC 2744 5.19; CHANNEL_BOUND: krb5).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ContextFlags: u32 {
        /// GSS_C_REPLAY_FLAG.
        const REPLAY = 0x4;
        /// GSS_C_SEQUENCE_FLAG.
        const SEQUENCE = 0x8;
        /// GSS_C_CONF_FLAG.
        const CONF = 0x10;
        /// GSS_C_INTEG_FLAG.
        const INTEG = 0x20;
        /// GSS_C_ANON_FLAG.
        const ANON = 0x40;
        /// GSS_C_TRANS_FLAG.
        const TRANS = 0x100;
        /// GSS_C_CHANNEL_BOUND_FLAG.
        const CHANNEL_BOUND = 0x800;
        /// GSS_C_IDENTIFY_FLAG.
        const IDENTIFY = 0x2000;
        /// GSS_C_DATAGRAM_FLAG.
        const DATAGRAM = 0x1_0000;

        const _ = !0;
    }
}

/// What this side supports in every context: strings, and the strongest keys.
const ALWAYS: NegotiateFlags = NegotiateFlags::UNICODE
    .union(NegotiateFlags::OEM)
    .union(NegotiateFlags::REQUEST_TARGET)
    .union(NegotiateFlags::NTLM)
    .union(NegotiateFlags::ALWAYS_SIGN)
    .union(NegotiateFlags::EXTENDED_SESSIONSECURITY)
    .union(NegotiateFlags::VERSION)
    .union(NegotiateFlags::BITS_128)
    .union(NegotiateFlags::BITS_56);

/// What makes session security strong: without it an attacker who can change the handshake can forge messages.
const STRONG: NegotiateFlags = NegotiateFlags::BITS_128.union(NegotiateFlags::EXTENDED_SESSIONSECURITY);

/// The flags that an initiator requires if the application has chosen them for the credential.
const PROTECTION: NegotiateFlags = NegotiateFlags::SIGN.union(NegotiateFlags::SEAL).union(STRONG);

/// The flags of the NEGOTIATE_MESSAGE of an `initiator`, when the application asks for `requested`.
pub(super) fn negotiate_flags(
    requested: ContextFlags, options: Options, policy: &Policy, initiator: &Initiator,
) -> NegotiateFlags {
    let level = policy.lm_level;
    let mut flags = chosen(options).unwrap_or_else(|| {
        let mut flags = ALWAYS;
        flags.set(NegotiateFlags::EXTENDED_SESSIONSECURITY, level.offers_extended_session_security());
        flags
    });
    // LM keys need an LM hash. They are offered only if the application chose them: some servers agree to them, but make
    // other keys.
    let has_lm_hash = matches!(initiator, Initiator::Account(account) if account.secret.lm_hash.is_some());
    if !(level.uses_lm() && has_lm_hash) {
        flags.remove(LM_KEYS);
    }
    flags |= required(requested, options, policy);
    if requested.contains(ContextFlags::IDENTIFY) {
        flags |= NegotiateFlags::IDENTIFY;
    }
    if requested.contains(ContextFlags::DATAGRAM) {
        // Connectionless servers only identify the client ([MS-SIPAE]), and a key is always exchanged ([MS-NLMP] 2.2.2.5).
        return flags | NegotiateFlags::DATAGRAM | NegotiateFlags::KEY_EXCH | NegotiateFlags::IDENTIFY;
    }
    // Without SIGN and SEAL no key is exchanged ([MS-NLMP] 3.1.5.1.2).
    flags.set(NegotiateFlags::KEY_EXCH, flags.protects());
    flags
}

/// The flags that an initiator requires when the application asks for `requested`.
pub(super) fn required(requested: ContextFlags, options: Options, policy: &Policy) -> NegotiateFlags {
    let mut asked = requested & (ContextFlags::INTEG | ContextFlags::CONF);
    if !options.no_ci_flags {
        asked |= requested & (ContextFlags::REPLAY | ContextFlags::SEQUENCE);
    }
    let mut insisted_on = chosen(options).unwrap_or(NegotiateFlags::empty()) & (PROTECTION | NegotiateFlags::LM_KEY);
    if insisted_on.contains(NegotiateFlags::LM_KEY) {
        // An LM key never has 128 bits.
        insisted_on.remove(NegotiateFlags::LM_KEY | NegotiateFlags::BITS_128);
    }
    let mut flags = named(policy.minimum) | insisted_on;
    if !asked.is_empty() {
        flags |= NegotiateFlags::SIGN;
    }
    if asked.contains(ContextFlags::CONF) {
        flags |= NegotiateFlags::SEAL;
    }
    // An initiator offers SIGN and SEAL only if it requires them.
    flags | required_by_default(flags, policy, requested.contains(ContextFlags::DATAGRAM))
}

/// The flags of keys that are made of an LM hash.
const LM_KEYS: NegotiateFlags = NegotiateFlags::LM_KEY.union(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY);

/// The flags that an application may choose. The other ones describe a message, or request flags ask for them.
const TO_CHOOSE: NegotiateFlags = ALWAYS
    .union(NegotiateFlags::SIGN)
    .union(NegotiateFlags::SEAL)
    .union(NegotiateFlags::KEY_EXCH)
    .union(NegotiateFlags::IDENTIFY)
    .union(LM_KEYS);

/// The flags that the application chose for the credential, with a charset in any case. DATAGRAM alone chooses none of them.
fn chosen(options: Options) -> Option<NegotiateFlags> {
    let flags = NegotiateFlags::from_bits_retain(options.neg_flags?);
    if flags == NegotiateFlags::DATAGRAM {
        return None;
    }
    let flags = flags & TO_CHOOSE;
    let charset = if has_charset(flags) { NegotiateFlags::empty() } else { NegotiateFlags::UNICODE };
    Some(flags | charset)
}

/// Whether the application, or the administrator in its place, asked for connectionless handshakes on an acceptor's credential.
pub(super) fn ask_for_datagrams(options: Options, policy: &Policy) -> bool {
    let chosen =
        options.neg_flags.is_some_and(|bits| NegotiateFlags::from_bits_retain(bits).contains(NegotiateFlags::DATAGRAM));
    match policy.datagram {
        DatagramPolicy::Yes => true,
        DatagramPolicy::AsAsked => chosen,
        DatagramPolicy::No => false,
    }
}

/// The flags that the administrator requires by default of a context that has `flags`. Servers of [MS-SIPAE] sign without
/// extended session security, so that a context `is_exempt` if it is connectionless because the application asked for it.
fn required_by_default(flags: NegotiateFlags, policy: &Policy, is_exempt: bool) -> NegotiateFlags {
    let holds = policy.minimum.contains(Minimum::STRONG_IF_PROTECTED) && policy.lm_level.has_strong_minimum();
    if holds && flags.protects() && !is_exempt { STRONG } else { NegotiateFlags::empty() }
}

/// The flags that the administrator requires of every context.
fn named(minimum: Minimum) -> NegotiateFlags {
    [
        (Minimum::BITS_128, NegotiateFlags::BITS_128),
        (Minimum::EXTENDED_SESSIONSECURITY, NegotiateFlags::EXTENDED_SESSIONSECURITY),
        (Minimum::SIGN, NegotiateFlags::SIGN),
        // Sealing without signing is no protection.
        (Minimum::SEAL, NegotiateFlags::SEAL.union(NegotiateFlags::SIGN)),
    ]
    .into_iter()
    .filter(|(asked, _)| minimum.contains(*asked))
    .fold(NegotiateFlags::empty(), |sum, (_, flags)| sum | flags)
}

/// The flags that both sides agree on, for an initiator that `offered` and got a CHALLENGE_MESSAGE with `challenge`. A server
/// can remove flags that were offered, but not add any, nor make the handshake connectionless.
///
/// # Errors
/// [`PeerIncompatible`] when a flag is missing that is `required` or that session security needs.
pub(super) fn agree_as_initiator(
    offered: NegotiateFlags, challenge: NegotiateFlags, required: NegotiateFlags,
) -> Result<NegotiateFlags> {
    ensure_charset(Message::Challenge, challenge)?;
    ensure_datagram_is_whole(offered, offered & challenge)?;
    // REQUEST_TARGET stays: it says what the client asked for. The client has a Version if the server has one.
    let agreed = offered & (challenge | NegotiateFlags::REQUEST_TARGET);
    let flags = one_of_each(agreed | (challenge & (NegotiateFlags::TARGET_INFO | NegotiateFlags::VERSION)));
    let mut flags = without_what_datagrams_lack(flags);
    if flags.contains(STRONG | NegotiateFlags::DATAGRAM) {
        // Connectionless clients do not set BITS_56 beside these. Without extended session security BITS_56 counts.
        flags.remove(NegotiateFlags::BITS_56);
    }
    if !has_charset(flags) {
        return Err(PeerIncompatible::NoUnicode.into());
    }
    ensure_required(flags, required)?;
    Ok(flags)
}

/// The flags that both sides agree on, where the domain `answered` for the initiator: those of its answer that were `agreed`
/// on before.
///
/// # Errors
/// [`PeerIncompatible`] when a flag that is `required` is missing.
pub(super) fn forwarded(
    agreed: NegotiateFlags, answered: Option<NegotiateFlags>, required: NegotiateFlags,
) -> Result<NegotiateFlags> {
    let flags = agreed & answered.unwrap_or(NegotiateFlags::empty());
    ensure_required(flags, required)?;
    Ok(flags)
}

/// The flags that an acceptor supports.
fn supported(options: Options, policy: &Policy) -> NegotiateFlags {
    let flags = chosen(options).unwrap_or(TO_CHOOSE.difference(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY));
    if policy.lm_level.uses_lm() { flags } else { flags.difference(LM_KEYS) }
}

/// The flags of the CHALLENGE_MESSAGE that answers a NEGOTIATE_MESSAGE with `negotiate`. DATAGRAM must be agreed to already.
///
/// # Errors
/// As [`agree_as_initiator`].
pub(super) fn challenge_flags(negotiate: NegotiateFlags, options: Options, policy: &Policy) -> Result<NegotiateFlags> {
    ensure_charset(Message::Negotiate, negotiate)?;
    if negotiate.contains(NegotiateFlags::DATAGRAM) {
        return checked(all_of_datagrams(options, policy) & (negotiate | ALL_DATAGRAMS), policy);
    }
    let mut flags = checked(one_of_each(negotiate & supported(options, policy)), policy)?;
    // Clients that do not ask for a target need it for NTLMv2 all the same.
    flags |= NegotiateFlags::NTLM | NegotiateFlags::REQUEST_TARGET | NegotiateFlags::TARGET_INFO;
    Ok(flags)
}

/// The flags that a connectionless handshake always has ([MS-NLMP] 2.2.2.5, [MS-SIPAE]).
const ALL_DATAGRAMS: NegotiateFlags = NegotiateFlags::DATAGRAM
    .union(NegotiateFlags::KEY_EXCH)
    .union(NegotiateFlags::IDENTIFY)
    .union(NegotiateFlags::NTLM)
    .union(NegotiateFlags::TARGET_INFO);

/// The flags of the CHALLENGE_MESSAGE in a connectionless handshake, which has no NEGOTIATE_MESSAGE: everything that the
/// acceptor supports. The client chooses of them in its AUTHENTICATE_MESSAGE.
///
/// # Errors
/// As [`agree_as_initiator`].
pub(super) fn datagram_challenge_flags(options: Options, policy: &Policy) -> Result<NegotiateFlags> {
    checked(all_of_datagrams(options, policy), policy)
}

fn all_of_datagrams(options: Options, policy: &Policy) -> NegotiateFlags {
    supported(options, policy).difference(NegotiateFlags::REQUEST_TARGET | LM_KEYS) | ALL_DATAGRAMS
}

/// Returns `flags` if they have a charset and what the administrator requires.
fn checked(flags: NegotiateFlags, policy: &Policy) -> Result<NegotiateFlags> {
    if !has_charset(flags) {
        return Err(PeerIncompatible::NoUnicode.into());
    }
    ensure_required(flags, named(policy.minimum))?;
    Ok(flags)
}

/// The flags that both sides agree on, for an acceptor that sent `challenge` and got an AUTHENTICATE_MESSAGE with
/// `authenticate`, if that has flags. A client cannot add flags, nor make the handshake connectionless: some set DATAGRAM
/// without meaning it.
///
/// # Errors
/// As [`agree_as_initiator`].
pub(super) fn agree_as_acceptor(
    challenge: NegotiateFlags, authenticate: Option<NegotiateFlags>, minimum: Minimum,
) -> Result<NegotiateFlags> {
    let agreed = challenge & authenticate.unwrap_or(challenge);
    ensure_datagram_is_whole(challenge, agreed)?;
    let flags = without_what_datagrams_lack(agreed);
    ensure_required(flags, named(minimum))?;
    Ok(flags)
}

/// Ensures that an acceptor's context with `flags` has what the administrator requires by default; see
/// [`required_by_default`].
///
/// # Errors
/// As [`agree_as_initiator`].
pub(super) fn ensure_strong(flags: NegotiateFlags, policy: &Policy, is_exempt: bool) -> Result<()> {
    ensure_required(flags, required_by_default(flags, policy, is_exempt))
}

/// Ensures that a handshake that began connectionless stays so, and exchanges a key. If only the peer sets DATAGRAM, it is
/// ignored.
fn ensure_datagram_is_whole(own: NegotiateFlags, agreed: NegotiateFlags) -> Result<()> {
    if !own.contains(NegotiateFlags::DATAGRAM) {
        Ok(())
    } else if !agreed.contains(NegotiateFlags::DATAGRAM) {
        Err(PeerIncompatible::NoDatagram.into())
    } else if !agreed.contains(NegotiateFlags::KEY_EXCH) {
        Err(PeerIncompatible::NoKeyExch.into())
    } else {
        Ok(())
    }
}

/// Connectionless messages are sealed only with extended session security ([MS-NLMP] 3.4.3).
fn without_what_datagrams_lack(mut flags: NegotiateFlags) -> NegotiateFlags {
    if flags.contains(NegotiateFlags::DATAGRAM) && !flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        flags.remove(NegotiateFlags::SEAL);
    }
    flags
}

/// The return flags for `flags`. NTLM authenticates only the client and delegates nothing: never MUTUAL or DELEG.
pub(super) fn granted(flags: NegotiateFlags) -> ContextFlags {
    let mut granted = ContextFlags::TRANS;
    granted.set(ContextFlags::INTEG, flags.protects());
    // Connectionless messages may arrive in any order, and more than once.
    let is_datagram = flags.contains(NegotiateFlags::DATAGRAM);
    granted.set(ContextFlags::REPLAY | ContextFlags::SEQUENCE, flags.protects() && !is_datagram);
    granted.set(ContextFlags::DATAGRAM, is_datagram);
    granted.set(ContextFlags::CONF, flags.contains(NegotiateFlags::SEAL));
    granted.set(ContextFlags::ANON, flags.contains(NegotiateFlags::ANONYMOUS));
    granted.set(ContextFlags::IDENTIFY, flags.contains(NegotiateFlags::IDENTIFY));
    granted
}

/// Removes the weaker of two flags that exclude each other ([MS-NLMP] 2.2.2.5).
fn one_of_each(mut flags: NegotiateFlags) -> NegotiateFlags {
    if flags.contains(NegotiateFlags::UNICODE) {
        flags.remove(NegotiateFlags::OEM);
    }
    if flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        flags.remove(NegotiateFlags::LM_KEY);
    }
    flags
}

const fn has_charset(flags: NegotiateFlags) -> bool {
    flags.intersects(NegotiateFlags::UNICODE.union(NegotiateFlags::OEM))
}

/// [MS-NLMP] 2.2.2.5: one of UNICODE and OEM must be set.
fn ensure_charset(message: Message, flags: NegotiateFlags) -> Result<()> {
    if !has_charset(flags) {
        return Err(InvalidMessage { message, field: FieldName::NegotiateFlags, fault: Fault::WrongValue }.into());
    }
    Ok(())
}

fn ensure_required(flags: NegotiateFlags, required: NegotiateFlags) -> Result<()> {
    let mut missing = required.difference(flags);
    // Without extended session security, LM_KEY and recent connectionless clients have keys of 56 bits at most, even with
    // the flag BITS_128.
    let may_be_cut = NegotiateFlags::LM_KEY | NegotiateFlags::DATAGRAM;
    if flags.intersects(may_be_cut) && !flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        missing |= required & NegotiateFlags::BITS_128;
    }
    if missing.contains(NegotiateFlags::SIGN) {
        Err(PeerIncompatible::NoSign.into())
    } else if missing.contains(NegotiateFlags::SEAL) {
        Err(PeerIncompatible::NoSeal.into())
    } else if missing.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        Err(PeerIncompatible::NoExtendedSessionSecurity.into())
    } else if missing.contains(NegotiateFlags::BITS_128) {
        Err(PeerIncompatible::No128.into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        cred::{Account, Secret},
        crypto::{ExportedSessionKey, LmHash, NtHash},
        name::UserName,
        policy::LmLevel,
        session::{Role, Session},
        wire::Version,
    };

    use super::*;

    #[test]
    fn a_key_of_128_bits_is_cut_only_without_extended_session_security() {
        let (bits_128, extended) = (NegotiateFlags::BITS_128, NegotiateFlags::EXTENDED_SESSIONSECURITY);
        assert_eq!(ensure_required(bits_128, bits_128), Ok(()));
        for may_cut in [NegotiateFlags::LM_KEY, NegotiateFlags::DATAGRAM] {
            assert_eq!(ensure_required(bits_128 | may_cut, bits_128), Err(PeerIncompatible::No128.into()));
            assert_eq!(ensure_required(bits_128 | may_cut | extended, bits_128), Ok(()));
        }
    }

    const CHALLENGE: NegotiateFlags = ALWAYS.union(NegotiateFlags::TARGET_INFO).union(NegotiateFlags::NTLM);

    fn account(lm_hash: Option<LmHash>) -> Initiator {
        let name = UserName { user: "alice".to_owned(), domain: "DOM".to_owned() };
        Initiator::Account(Account::new(name, Secret { nt_hash: NtHash::new([1; 16]), lm_hash }))
    }

    fn offered(requested: ContextFlags) -> NegotiateFlags {
        negotiate_flags(requested, Options::default(), &Policy::default(), &account(None))
    }

    fn at_least(minimum: Minimum) -> Policy {
        Policy { minimum, ..Policy::default() }
    }

    #[test]
    fn a_server_cannot_add_what_was_not_offered() {
        let flags =
            agree_as_initiator(offered(ContextFlags::empty()), NegotiateFlags::all(), NegotiateFlags::empty()).unwrap();
        assert!(!flags.protects() && !flags.contains(NegotiateFlags::DATAGRAM));
    }

    #[test]
    fn what_the_application_asks_for_is_required() {
        for (asked, missing) in [
            (ContextFlags::INTEG, PeerIncompatible::NoSign),
            (ContextFlags::REPLAY, PeerIncompatible::NoSign),
            (ContextFlags::CONF, PeerIncompatible::NoSign),
        ] {
            let required = required(asked, Options::default(), &at_least(Minimum::empty()));
            assert_eq!(agree_as_initiator(offered(asked), CHALLENGE, required), Err(missing.into()));
        }
        let required = required(ContextFlags::CONF, Options::default(), &at_least(Minimum::empty()));
        let with_sign = CHALLENGE | NegotiateFlags::SIGN;
        assert_eq!(
            agree_as_initiator(offered(ContextFlags::CONF), with_sign, required),
            Err(PeerIncompatible::NoSeal.into())
        );
    }

    #[test]
    fn a_minimum_holds_on_both_sides() {
        let weak = CHALLENGE - NegotiateFlags::BITS_128;
        let required = required(ContextFlags::empty(), Options::default(), &at_least(Minimum::BITS_128));
        assert_eq!(
            agree_as_initiator(offered(ContextFlags::empty()), weak, required),
            Err(PeerIncompatible::No128.into())
        );
        assert_eq!(
            challenge_flags(weak, Options::default(), &at_least(Minimum::BITS_128)),
            Err(PeerIncompatible::No128.into())
        );
        assert_eq!(agree_as_acceptor(CHALLENGE, Some(weak), Minimum::BITS_128), Err(PeerIncompatible::No128.into()));
    }

    #[test]
    fn what_is_required_twice_is_required() {
        let (all, chosen) = (Minimum::all(), Options { neg_flags: Some(PROTECTION.bits()), no_ci_flags: false });
        assert_eq!(named(all), PROTECTION);
        assert_eq!(required(ContextFlags::INTEG | ContextFlags::CONF, chosen, &at_least(all)), PROTECTION);
    }

    #[test]
    fn what_the_client_asked_for_stays_in_its_answer() {
        let offered = offered(ContextFlags::empty());
        for challenge in [CHALLENGE | NegotiateFlags::REQUEST_TARGET, CHALLENGE - NegotiateFlags::REQUEST_TARGET] {
            let flags = agree_as_initiator(offered, challenge, NegotiateFlags::empty()).unwrap();
            assert!(flags.contains(NegotiateFlags::REQUEST_TARGET), "{challenge}");
        }
    }

    #[test]
    fn a_key_is_exchanged_only_if_messages_are_protected() {
        assert!(!offered(ContextFlags::empty()).contains(NegotiateFlags::KEY_EXCH));
        assert!(offered(ContextFlags::INTEG).contains(NegotiateFlags::KEY_EXCH));
    }

    #[test]
    fn a_connectionless_handshake_always_identifies_and_exchanges_a_key() {
        let added = NegotiateFlags::DATAGRAM | NegotiateFlags::KEY_EXCH | NegotiateFlags::IDENTIFY;
        for asked in [ContextFlags::empty(), ContextFlags::IDENTIFY] {
            let plain = offered(asked);
            assert_eq!(
                plain & added,
                if asked.is_empty() { NegotiateFlags::empty() } else { NegotiateFlags::IDENTIFY }
            );
            assert_eq!(plain - NegotiateFlags::IDENTIFY, offered(ContextFlags::empty()));
            for neg_flags in [None, Some(u32::MAX)] {
                let options = Options { neg_flags, no_ci_flags: false };
                let asked = asked | ContextFlags::DATAGRAM;
                let flags = negotiate_flags(asked, options, &Policy::default(), &account(None));
                assert!(flags.contains(added), "{flags}");
            }
        }
    }

    #[test]
    fn without_ci_flags_replay_detection_asks_for_nothing() {
        let options = Options { no_ci_flags: true, neg_flags: None };
        assert!(
            !negotiate_flags(
                ContextFlags::REPLAY | ContextFlags::SEQUENCE,
                options,
                &Policy::default(),
                &account(None)
            )
            .protects()
        );
        assert!(negotiate_flags(ContextFlags::INTEG, options, &Policy::default(), &account(None)).protects());
    }

    #[test]
    fn what_is_chosen_for_a_credential_is_required() {
        let bits = (ALWAYS | NegotiateFlags::SIGN | NegotiateFlags::SEAL).bits();
        let options = Options { neg_flags: Some(bits), no_ci_flags: false };
        let required = required(ContextFlags::empty(), options, &at_least(Minimum::empty()));
        let offered = negotiate_flags(ContextFlags::empty(), options, &Policy::default(), &account(None));
        assert_eq!(agree_as_initiator(offered, CHALLENGE, required), Err(PeerIncompatible::NoSign.into()));
        let none = Options { neg_flags: Some(0), no_ci_flags: false };
        let offered = negotiate_flags(ContextFlags::empty(), none, &Policy::default(), &account(None));
        assert_eq!(offered, NegotiateFlags::UNICODE);
    }

    #[test]
    fn unicode_wins_and_one_charset_is_required() {
        let nothing = NegotiateFlags::empty();
        let settled = |challenge| agree_as_initiator(offered(ContextFlags::empty()), challenge, nothing);
        let charsets = NegotiateFlags::UNICODE | NegotiateFlags::OEM;
        assert_eq!(settled(CHALLENGE | charsets).unwrap() & charsets, NegotiateFlags::UNICODE);
        assert_eq!(settled(CHALLENGE - NegotiateFlags::UNICODE).unwrap() & charsets, NegotiateFlags::OEM);
        let only_unicode = offered(ContextFlags::empty()) - NegotiateFlags::OEM;
        let refused = agree_as_initiator(only_unicode, CHALLENGE - NegotiateFlags::UNICODE, nothing);
        assert_eq!(refused, Err(PeerIncompatible::NoUnicode.into()));
        assert!(matches!(settled(CHALLENGE - charsets), Err(crate::error::Error::InvalidMessage(_))));
        assert!(matches!(
            challenge_flags(nothing, Options::default(), &Policy::default()),
            Err(crate::error::Error::InvalidMessage(_))
        ));
    }

    #[test]
    fn both_sides_have_the_same_mode() {
        let offered = offered(ContextFlags::INTEG | ContextFlags::DATAGRAM);
        let invited = datagram_challenge_flags(Options::default(), &Policy::default()).unwrap();
        assert_eq!(invited.bits(), 0xe298_8273, "as servers of [MS-SIPAE], but for LM_KEY");
        let settled = agree_as_initiator(offered, invited, NegotiateFlags::SIGN).unwrap();
        assert_eq!(settled.bits(), 0x6298_8255, "as clients of [MS-SIPAE]");
        assert_eq!(
            agree_as_acceptor(invited, Some(settled), Minimum::empty()),
            Ok(settled - NegotiateFlags::REQUEST_TARGET)
        );
        let at_lowest = Policy { lm_level: LmLevel::new(0).unwrap(), ..Policy::default() };
        assert_eq!(datagram_challenge_flags(Options::default(), &at_lowest), Ok(invited), "LM keys at no level");
        let none = NegotiateFlags::empty();
        let (no_datagram, no_key) = (Err(PeerIncompatible::NoDatagram.into()), Err(PeerIncompatible::NoKeyExch.into()));
        assert_eq!(agree_as_initiator(offered, invited - NegotiateFlags::DATAGRAM, none), no_datagram);
        assert_eq!(agree_as_initiator(offered, invited - NegotiateFlags::KEY_EXCH, none), no_key);
        assert_eq!(agree_as_acceptor(invited, Some(settled - NegotiateFlags::DATAGRAM), Minimum::empty()), no_datagram);
        assert_eq!(agree_as_acceptor(invited, Some(settled - NegotiateFlags::KEY_EXCH), Minimum::empty()), no_key);
        let granted = granted(settled);
        assert!(granted.contains(ContextFlags::INTEG | ContextFlags::DATAGRAM | ContextFlags::IDENTIFY));
        assert!(!granted.intersects(ContextFlags::REPLAY | ContextFlags::SEQUENCE | ContextFlags::CONF));
    }

    #[test]
    fn without_extended_session_security_connectionless_keys_are_cut_as_the_client_says() {
        let invited = datagram_challenge_flags(Options::default(), &Policy::default()).unwrap();
        let without = invited - NegotiateFlags::EXTENDED_SESSIONSECURITY;
        let settled =
            agree_as_initiator(offered(ContextFlags::INTEG | ContextFlags::DATAGRAM), without, NegotiateFlags::SIGN)
                .unwrap();
        assert!(settled.contains(NegotiateFlags::BITS_128 | NegotiateFlags::BITS_56));
        assert_eq!(
            agree_as_acceptor(invited, Some(settled), Minimum::empty())
                .map(|flags| flags.contains(NegotiateFlags::BITS_56)),
            Ok(true)
        );
        assert_eq!(agree_as_acceptor(invited, Some(settled), Minimum::BITS_128), Err(PeerIncompatible::No128.into()));
        assert_eq!(
            agree_as_initiator(offered(ContextFlags::DATAGRAM), without, NegotiateFlags::BITS_128),
            Err(PeerIncompatible::No128.into())
        );
        let key = || ExportedSessionKey::new([7; 16]);
        let signature = |version, flags: NegotiateFlags| {
            let session = Session::new(Role::Initiator, flags, key(), version);
            session.numbered(Some(100)).unwrap().get_mic(&[b"x"]).unwrap()
        };
        let [recent, old] = [15, 14].map(|revision| Some(Version([5, 1, 0, 0, 0, 0, 0, revision])));
        let whole = signature(None, settled);
        assert_eq!(signature(old, settled), whole);
        let cut = signature(recent, settled);
        assert!(cut != whole && cut != signature(recent, settled - NegotiateFlags::BITS_56), "to 56 bits, not to 40");
    }

    #[test]
    fn connectionless_messages_are_not_sealed_without_extended_session_security() {
        let asked = ContextFlags::CONF | ContextFlags::DATAGRAM;
        let invited = datagram_challenge_flags(Options::default(), &Policy::default()).unwrap();
        let required = required(asked, Options::default(), &at_least(Minimum::empty()));
        assert!(agree_as_initiator(offered(asked), invited, required).unwrap().contains(NegotiateFlags::SEAL));
        let without = invited - NegotiateFlags::EXTENDED_SESSIONSECURITY;
        assert_eq!(agree_as_initiator(offered(asked), without, required), Err(PeerIncompatible::NoSeal.into()));
        let flags = agree_as_acceptor(invited, Some(without), Minimum::empty()).unwrap();
        assert!(flags.contains(NegotiateFlags::SIGN) && !flags.contains(NegotiateFlags::SEAL));
    }

    #[test]
    fn lm_keys_are_for_low_levels_and_give_way_to_extended_session_security() {
        let at = |level| Policy { lm_level: LmLevel::new(level).unwrap(), ..Policy::default() };
        let both = NegotiateFlags::LM_KEY | NegotiateFlags::EXTENDED_SESSIONSECURITY;
        let offered = |neg_flags: Option<NegotiateFlags>, level, has_lm_hash: bool| {
            let options = Options { neg_flags: neg_flags.map(|flags| flags.bits()), no_ci_flags: false };
            negotiate_flags(
                ContextFlags::empty(),
                options,
                &at(level),
                &account(has_lm_hash.then(|| LmHash::new([1; 16]))),
            ) & both
        };
        let extended = NegotiateFlags::EXTENDED_SESSIONSECURITY;
        assert_eq!([offered(None, 0, true), offered(None, 1, true)], [NegotiateFlags::empty(), extended]);
        assert_eq!([offered(Some(both), 0, true), offered(Some(both), 1, true)], [both; 2]);
        assert_eq!([offered(Some(both), 1, false), offered(Some(both), 2, true)], [extended; 2]);
        let everything = Options { neg_flags: Some(u32::MAX), no_ci_flags: false };
        let of_all =
            |level| challenge_flags(NegotiateFlags::all() - NegotiateFlags::DATAGRAM, everything, &at(level)).unwrap();
        assert!(!of_all(3).intersects(LM_KEYS) && !of_all(1).contains(NegotiateFlags::ANONYMOUS));
        assert!(
            !negotiate_flags(ContextFlags::empty(), everything, &at(3), &account(Some(LmHash::new([1; 16]))))
                .intersects(LM_KEYS | NegotiateFlags::ANONYMOUS)
        );
        let by_default =
            challenge_flags(NegotiateFlags::all() - NegotiateFlags::DATAGRAM, Options::default(), &at(0)).unwrap();
        assert!(!by_default.contains(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY));
        let answered = |asked, level| {
            challenge_flags(NegotiateFlags::UNICODE | asked, Options::default(), &at(level)).unwrap() & both
        };
        assert_eq!(answered(NegotiateFlags::LM_KEY, 1), NegotiateFlags::LM_KEY);
        assert_eq!(answered(NegotiateFlags::LM_KEY, 2), NegotiateFlags::empty());
        assert_eq!(answered(both, 0), NegotiateFlags::EXTENDED_SESSIONSECURITY);
    }
}
