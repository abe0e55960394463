//! Policy files, and the environment variables beside them. A file that is accepted means something, and nothing loosens what the
//! system's files say.
//!
//! Input: for whom, variables, and the texts of two files of the system and of an additional one, with 0xff between them.

#![no_main]

use gss_ntlm::{
    error::{Error, PolicyError},
    name::Name,
    policy::{
        AuditPolicy, BindingsPolicy, DatagramPolicy, FipsPolicy, MicPolicy, Policy, PolicyFiles, Rules,
        TargetInfoPolicy, TargetNamePolicy, Traffic, UserFileMode, Whom,
    },
};
use gss_ntlm_fuzz::{Tape, no_fault};
use libfuzzer_sys::fuzz_target;

const VARIABLES: [(&str, &str); 16] = [
    ("LM_COMPAT_LEVEL", "0"),
    ("LM_COMPAT_LEVEL", "5"),
    ("GSS_NTLM_MIC", "off"),
    ("GSS_NTLM_REQUIRE_MIC", "no"),
    ("GSS_NTLM_CHANNEL_BINDINGS", "off"),
    ("GSS_NTLM_TARGET_NAME", "required"),
    ("GSS_NTLM_TARGET_INFO", "optional"),
    ("GSS_NTLM_MINIMUM", "sign-as-asked"),
    ("GSS_NTLM_DATAGRAM", "yes"),
    ("GSS_NTLM_ANONYMOUS", "yes"),
    ("GSS_NTLM_MAX_SKEW", "4000000000"),
    ("GSS_NTLM_OUTGOING", "deny"),
    ("GSS_NTLM_OUTGOING", "allow"),
    ("GSS_NTLM_WINBIND", "no"),
    ("GSS_NTLM_AUDIT", "off"),
    ("GSS_NTLM_FIPS", "refuse"),
];

const NAMES: [&str; 5] =
    ["HTTP@srv.corp.example", "cifs@SRV.CORP.EXAMPLE", "@srv", "HTTP/srv:8080/x", "ldap@corp.example"];

fuzz_target!(|data: &[u8]| {
    let tape = &mut Tape(data);
    let name = Name::parse_service(tape.pick(&NAMES), "").unwrap();
    let whom = tape.pick(&[
        Whom::Initiator,
        Whom::InitiatorTo(Some(&name)),
        Whom::InitiatorTo(None),
        Whom::Acceptor(Some(&name)),
        Whom::Acceptor(None),
    ]);
    let chosen = tape.u16();
    let variables = || {
        let is_chosen = |(at, _): &(usize, _)| chosen >> at & 1 == 1;
        let text = |(_, (name, value)): (usize, (&str, &str))| (name.to_owned(), value.to_owned());
        VARIABLES.into_iter().enumerate().filter(is_chosen).map(text)
    };
    let mut texts = tape.0.splitn(3, |byte| *byte == 0xff);
    let files: Vec<_> = [texts.next(), texts.next(), texts.next()]
        .map(Option::unwrap_or_default)
        .map(|text| no_fault(Rules::parse_bytes("/etc/gss/ntlm.conf", text)).ok().map(Box::new))
        .into_iter()
        .collect();
    for (text, rules) in tape.0.splitn(3, |byte| *byte == 0xff).zip(&files) {
        parse_again(text, rules.as_deref());
    }

    // SAFETY: nothing of a policy outlives the files.
    let lent: Vec<Option<&'static Rules>> =
        files.iter().map(|file| file.as_deref().map(|rules| unsafe { &*core::ptr::from_ref(rules) })).collect();
    let of_system = PolicyFiles { system: lent.iter().take(2).copied().flatten().collect(), additional: None };
    let all = PolicyFiles { additional: lent[2], ..of_system.clone() };
    let floor = no_fault(of_system.policy(whom, None)).unwrap();
    ensure_decides(&floor, &name);
    match no_fault(all.policy(whom, None)) {
        Ok(policy) => {
            assert!(is_as_tight(&floor, &policy), "an additional file loosened {floor:?} to {policy:?}");
            ensure_decides(&policy, &name);
        }
        Err(error) => assert!(matches!(error, Error::Policy(PolicyError::Loosens { .. })), "{error:?}"),
    }
    match no_fault(of_system.policy(whom, variables())) {
        Ok(policy) => {
            // A key that no file sets may get any value: then it is as without files.
            let without_files = PolicyFiles::default().policy(whom, variables()).unwrap();
            if of_system.system.iter().all(|rules| **rules == Rules::default()) {
                assert_eq!(policy, without_files);
            }
            let is_kept = is_as_tight(&floor, &policy);
            assert!(is_kept || !is_as_tight(&Policy::default(), &without_files), "{floor:?} became {policy:?}");
        }
        Err(error) => assert!(matches!(error, Error::Policy(PolicyError::Loosens { .. })), "{error:?}"),
    }
});

/// The ends of lines have no meaning, and a line too many is noticed.
fn parse_again(text: &[u8], rules: Option<&Rules>) {
    if text.contains(&b'\r') {
        return;
    }
    let other: Vec<_> = text.split(|byte| *byte == b'\n').collect();
    let parsed = Rules::parse_bytes("/etc/gss/ntlm.conf", &other.join(&b"\r\n"[..]));
    assert_eq!(parsed.as_ref().ok(), rules);
    let longer = [text, b"\nnonsense"].concat();
    assert!(Rules::parse_bytes("/etc/gss/ntlm.conf", &longer).is_err());
}

/// What is denied has a sentence.
fn ensure_decides(policy: &Policy, name: &Name) {
    for target in [None, Some(name)] {
        assert_eq!(no_fault(policy.ensure_outgoing(target)).is_err(), policy.outgoing == Traffic::Deny);
        assert_eq!(no_fault(policy.ensure_inside_spnego(target)).is_err(), policy.inside_spnego == Traffic::Deny);
    }
    assert_eq!(no_fault(policy.ensure_incoming()).is_err(), policy.incoming == Traffic::Deny);
    let _ = (policy.user_file(), policy.keeps_lm_hash());
}

/// Whether `other` allows nothing that `floor` does not allow.
fn is_as_tight(floor: &Policy, other: &Policy) -> bool {
    let rank = |policy: &Policy| {
        [
            u8::from(policy.require_mic),
            u8::from(!policy.anonymous),
            u8::from(!policy.winbind),
            match policy.mic {
                MicPolicy::Off => 0,
                MicPolicy::RawOnly => 1,
                MicPolicy::Auto => 2,
                MicPolicy::Always => 3,
            },
            match policy.channel_bindings {
                BindingsPolicy::Off => 0,
                BindingsPolicy::WhenSent => 1,
                BindingsPolicy::Required => 2,
            },
            match policy.target_name {
                TargetNamePolicy::Off => 0,
                TargetNamePolicy::Audit => 1,
                TargetNamePolicy::Required => 2,
            },
            u8::from(policy.target_info == TargetInfoPolicy::Required),
            match policy.datagram {
                DatagramPolicy::Yes => 0,
                DatagramPolicy::AsAsked => 1,
                DatagramPolicy::No => 2,
            },
            u8::from(policy.user_file_mode == UserFileMode::Private),
            match policy.audit {
                AuditPolicy::Off => 0,
                AuditPolicy::Failures => 1,
                AuditPolicy::All => 2,
            },
            traffic(policy.outgoing),
            traffic(policy.incoming),
            traffic(policy.inside_spnego),
            u8::from(policy.fips == FipsPolicy::Refuse),
        ]
    };
    rank(floor).iter().zip(rank(other)).all(|(floor, other)| *floor <= other)
        && other.lm_level >= floor.lm_level
        && other.minimum.contains(floor.minimum)
        && other.max_skew_hours <= floor.max_skew_hours
}

const fn traffic(traffic: Traffic) -> u8 {
    match traffic {
        Traffic::Allow => 0,
        Traffic::Audit => 1,
        Traffic::Deny => 2,
    }
}
