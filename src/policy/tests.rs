//! Tests of the switches.

use super::*;

fn with(name: &str, value: &str) -> Result<Policy> {
    Policy::from_variables([(name.to_owned(), value.to_owned())])
}

#[test]
fn without_switches_the_policy_is_the_default() {
    assert_eq!(Policy::from_variables([]), Ok(Policy::default()));
    assert_eq!(with("GSS_NTLM_MIC", ""), Ok(Policy::default()));
}

#[test]
fn every_value_of_every_switch_sets_its_part() {
    let default = Policy::default;
    let minimum = |minimum| Policy { minimum, ..default() };
    let added = |added| minimum(Minimum::STRONG_IF_PROTECTED | added);
    let all = [
        ("LM_COMPAT_LEVEL", "0", Policy { lm_level: LmLevel(0), ..default() }),
        ("LM_COMPAT_LEVEL", " 5 ", Policy { lm_level: LmLevel(5), ..default() }),
        ("GSS_NTLM_MIC", "auto", default()),
        ("GSS_NTLM_MIC", "always", Policy { mic: MicPolicy::Always, ..default() }),
        ("GSS_NTLM_MIC", "raw-only", Policy { mic: MicPolicy::RawOnly, ..default() }),
        ("GSS_NTLM_MIC", "off", Policy { mic: MicPolicy::Off, ..default() }),
        ("GSS_NTLM_REQUIRE_MIC", "yes", Policy { require_mic: true, ..default() }),
        ("GSS_NTLM_REQUIRE_MIC", "no", default()),
        ("GSS_NTLM_CHANNEL_BINDINGS", "when-sent", default()),
        ("GSS_NTLM_CHANNEL_BINDINGS", "required", Policy { channel_bindings: BindingsPolicy::Required, ..default() }),
        ("GSS_NTLM_CHANNEL_BINDINGS", "off", Policy { channel_bindings: BindingsPolicy::Off, ..default() }),
        ("GSS_NTLM_TARGET_NAME", "off", default()),
        ("GSS_NTLM_TARGET_NAME", "audit", Policy { target_name: TargetNamePolicy::Audit, ..default() }),
        ("GSS_NTLM_TARGET_NAME", "required", Policy { target_name: TargetNamePolicy::Required, ..default() }),
        ("GSS_NTLM_TARGET_INFO", "required", default()),
        ("GSS_NTLM_TARGET_INFO", "optional", Policy { target_info: TargetInfoPolicy::Optional, ..default() }),
        ("GSS_NTLM_MINIMUM", "sign-as-asked", minimum(Minimum::empty())),
        ("GSS_NTLM_MINIMUM", "128", added(Minimum::BITS_128)),
        ("GSS_NTLM_MINIMUM", "ess", added(Minimum::EXTENDED_SESSIONSECURITY)),
        ("GSS_NTLM_MINIMUM", "sign", added(Minimum::SIGN)),
        ("GSS_NTLM_MINIMUM", "128, seal,128", added(Minimum::BITS_128 | Minimum::SEAL)),
        ("GSS_NTLM_DATAGRAM", "as-asked", default()),
        ("GSS_NTLM_DATAGRAM", "yes", Policy { datagram: DatagramPolicy::Yes, ..default() }),
        ("GSS_NTLM_DATAGRAM", "no", Policy { datagram: DatagramPolicy::No, ..default() }),
        ("GSS_NTLM_USER_FILE_MODE", "any", default()),
        ("GSS_NTLM_USER_FILE_MODE", "private", Policy { user_file_mode: UserFileMode::Private, ..default() }),
        ("GSS_NTLM_ANONYMOUS", "yes", Policy { anonymous: true, ..default() }),
        ("GSS_NTLM_ANONYMOUS", "no", default()),
        ("GSS_NTLM_MAX_SKEW", "0", Policy { max_skew_hours: 0, ..default() }),
        ("GSS_NTLM_WINBIND", "no", Policy { winbind: false, ..default() }),
        ("GSS_NTLM_WINBIND", "yes", default()),
        ("GSS_NTLM_WINBIND_TIMEOUT", "1", Policy { winbind_timeout: 1, ..default() }),
        ("GSS_NTLM_AUDIT", "off", Policy { audit: AuditPolicy::Off, ..default() }),
        ("GSS_NTLM_AUDIT", "failures", default()),
        ("GSS_NTLM_AUDIT", "all", Policy { audit: AuditPolicy::All, ..default() }),
    ];
    for (name, value, policy) in all {
        assert_eq!(with(name, value), Ok(policy), "{name}={value}");
    }
    for Switch { name, .. } in SWITCHES {
        assert!(all.iter().any(|(tested, ..)| tested == name), "{name}");
    }
}

#[test]
fn refuses_a_misspelt_value() {
    for Switch { name, .. } in SWITCHES {
        for value in ["requierd", "yes\u{fffd}", " ", ",", "-1"] {
            assert!(with(name, value).is_err(), "{name}={value}");
        }
    }
    assert!(with("GSS_NTLM_WINBIND_TIMEOUT", "0").is_err());
}

#[test]
fn refuses_a_misspelt_name() {
    for name in ["GSS_NTLM_REQUIRED_MIC", "GSS_NTLM_", "GSS_NTLM_MIC ", "GSS_NTLM_mic", "GSS_NTLM_LM_COMPAT_LEVEL"] {
        let sentence = with(name, "yes").unwrap_err().to_string();
        assert!(sentence.starts_with(&format!("{name} is not a setting")), "{sentence}");
        assert!(SWITCHES.iter().all(|switch| sentence.contains(switch.name)), "{sentence}");
        assert_eq!(with(name, ""), Ok(Policy::default()), "an empty variable is an unset one");
    }
    for Switch { name, .. } in SWITCHES {
        assert!(Policy::VARIABLES.iter().any(|begin| format!("{name}=").starts_with(begin)), "{name}");
    }
    let long = with(&format!("GSS_NTLM_\n{}", "X".repeat(5000)), "yes").unwrap_err().to_string();
    assert!(long.starts_with("GSS_NTLM_\\nXXX") && long.len() < 1000, "{long}");
}

#[test]
fn each_level_means_what_it_means_to_windows() {
    let of = |number| LmLevel::new(number).unwrap();
    let levels = [0, 1, 2, 3, 4, 5].map(of);
    assert_eq!(levels.map(LmLevel::sends_ntlm_v2), [false, false, false, true, true, true]);
    assert_eq!(levels.map(LmLevel::offers_extended_session_security), [false, true, true, true, true, true]);
    assert_eq!(levels.map(LmLevel::accepts_ntlm_v1), [true, true, true, false, false, false]);
    assert_eq!(levels.map(LmLevel::uses_lm), [true, true, false, false, false, false]);
    assert_eq!((LmLevel::new(6), with("LM_COMPAT_LEVEL", "6")), (None, Err(PolicyError::BadLmLevel.into())));
}
