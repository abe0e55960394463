//! Tests of the keys, from files and from the environment.

use super::{
    key::{Allowed, KEYS, Key, Sections},
    *,
};

fn variable(name: &str, value: &str) -> Option<(String, String)> {
    Some((name.to_owned(), value.to_owned()))
}

fn with(name: &str, value: &str) -> Result<Policy> {
    PolicyFiles::default().policy(Whom::Initiator, variable(name, value))
}

fn variables() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| key.variable)
}

#[test]
fn without_switches_the_policy_is_the_default() {
    assert_eq!(PolicyFiles::default().policy(Whom::Initiator, None), Ok(Policy::default()));
    assert_eq!(with("GSS_NTLM_MIC", ""), Ok(Policy::default()));
}

#[test]
fn every_setting_has_its_value_and_says_what_set_it() {
    let files = file(
        "[both]\nminimum = 128, seal\n[client]\nmax-skew = 1\nuser-file = /u\n[client \"*.x\"]\noutgoing = deny\n",
    );
    let set = |variable: &str| variable == "GSS_NTLM_MIC";
    let variables = [("GSS_NTLM_MIC".to_owned(), "always".to_owned())];
    let target = service("HTTP@a.x");
    let whom = Whom::InitiatorTo(Some(&target));
    let settings = files.policy(whom, variables).unwrap().settings(whom, set);
    let of = |key: &str| {
        let Setting { value, by, .. } = settings.iter().find(|setting| setting.key == key).unwrap().clone();
        (value, by.unwrap_or_default())
    };
    let row = |value: &str, by: &str| (value.to_owned(), by.to_owned());
    assert_eq!(of("minimum"), row("128, seal", "line 2 of /etc/p"));
    assert_eq!(of("max-skew"), row("1", "line 4 of /etc/p"));
    assert_eq!(of("user-file"), row("/u", "line 5 of /etc/p"));
    assert_eq!(of("outgoing"), row("deny", "line 7 of /etc/p"));
    assert_eq!(of("mic"), row("always", "GSS_NTLM_MIC"));
    assert_eq!(of("lm-level"), row("3", ""));
    assert!(settings.iter().all(|setting| setting.key != "incoming"), "it is for servers");
    // What a setting says sets the same again.
    for whom in [Whom::Initiator, Whom::Acceptor(None)] {
        for Setting { key, value, .. } in Policy::default().settings(whom, |_| false) {
            let row = KEYS.iter().find(|row| row.name == key).unwrap();
            let mut again = Policy::default();
            assert!((row.set)(&mut again, &value) || ["minimum", "user-file"].contains(&key), "{key}: {value}");
            assert_eq!(again, Policy::default(), "{key}: {value}");
        }
    }
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
        ("GSS_NTLM_OUTGOING", "allow", default()),
        ("GSS_NTLM_OUTGOING", "audit", Policy { outgoing: Traffic::Audit, ..default() }),
        ("GSS_NTLM_OUTGOING", "deny", Policy { outgoing: Traffic::Deny, ..default() }),
        ("GSS_NTLM_INCOMING", "allow", default()),
        ("GSS_NTLM_INCOMING", "audit", Policy { incoming: Traffic::Audit, ..default() }),
        ("GSS_NTLM_INCOMING", "deny", Policy { incoming: Traffic::Deny, ..default() }),
        ("GSS_NTLM_INSIDE_SPNEGO", "allow", default()),
        ("GSS_NTLM_INSIDE_SPNEGO", "audit", Policy { inside_spnego: Traffic::Audit, ..default() }),
        ("GSS_NTLM_INSIDE_SPNEGO", "deny", Policy { inside_spnego: Traffic::Deny, ..default() }),
        ("GSS_NTLM_FIPS", "allow", default()),
        ("GSS_NTLM_FIPS", "refuse", Policy { fips: FipsPolicy::Refuse, ..default() }),
        ("GSS_NTLM_WINBIND", "no", Policy { winbind: false, ..default() }),
        ("GSS_NTLM_WINBIND", "yes", default()),
        ("GSS_NTLM_WINBIND_TIMEOUT", "1", Policy { winbind_timeout: 1, ..default() }),
        ("GSS_NTLM_STORE", "keyring", default()),
        ("GSS_NTLM_STORE", "runtime", Policy { store: StorePolicy::Runtime, ..default() }),
        ("GSS_NTLM_STORE", "off", Policy { store: StorePolicy::Off, ..default() }),
        ("GSS_NTLM_AUDIT", "off", Policy { audit: AuditPolicy::Off, ..default() }),
        ("GSS_NTLM_AUDIT", "failures", default()),
        ("GSS_NTLM_AUDIT", "all", Policy { audit: AuditPolicy::All, ..default() }),
    ];
    for (name, value, policy) in all {
        assert_eq!(with(name, value), Ok(policy), "{name}={value}");
    }
    for name in variables() {
        assert!(all.iter().any(|(tested, ..)| *tested == name), "{name}");
    }
}

#[test]
fn refuses_a_misspelt_value() {
    for name in variables() {
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
        assert!(variables().all(|name| sentence.contains(name)), "{sentence}");
        assert_eq!(with(name, ""), Ok(Policy::default()), "an empty variable is an unset one");
    }
    for name in variables() {
        assert!(PolicyFiles::VARIABLES.iter().any(|begin| format!("{name}=").starts_with(begin)), "{name}");
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

/// The rules of a file, which stay in memory as those of a process do.
fn rules(path: &str, text: &str) -> &'static Rules {
    Box::leak(Box::new(Rules::parse(path, text).unwrap_or_else(|error| panic!("{error}"))))
}

/// A file of the system.
fn file(text: &str) -> PolicyFiles {
    PolicyFiles { system: vec![rules("/etc/p", text)], additional: None }
}

/// A section with each role that may have a key, and that role.
fn sections_of(key: &Key) -> Vec<(&'static str, Whom<'static>)> {
    let all = [
        ("[both]", Sections::BOTH, Whom::Initiator),
        ("[both]", Sections::BOTH, Whom::Acceptor(None)),
        ("[server]", Sections::SERVER, Whom::Acceptor(None)),
        ("[client]", Sections::CLIENT, Whom::Initiator),
        ("[client]", Sections::CLIENT, Whom::InitiatorTo(None)),
        ("[client \"*\"]", Sections::CLIENT_PATTERN, Whom::InitiatorTo(None)),
    ];
    all.into_iter().filter(|(_, kind, _)| key.sections.contains(*kind)).map(|(text, _, whom)| (text, whom)).collect()
}

/// Values of each key, from loose to tight.
fn values_of(key: &Key) -> Vec<&'static str> {
    match (key.allowed, key.name) {
        (Allowed::Words(words), _) => words.to_vec(),
        (_, "lm-level") => vec!["0", "1", "2", "3", "4", "5"],
        (_, "max-skew") => vec!["100", "36", "1", "0"],
        (_, "minimum") => vec!["sign-as-asked", "128", "128 ess", "ess, 128, sign", "128 ess sign seal"],
        (_, "winbind-timeout") => vec!["1", "60"],
        (_, "user-file") => vec!["/etc/a", "/etc/b"],
        (_, other) => panic!("{other} has no values"),
    }
}

const VALUE_OF_ANOTHER_KIND: &str = "requierd";

#[test]
fn a_file_sets_every_value_of_every_key_and_the_environment_may_only_tighten_it() {
    for key in KEYS {
        let values = values_of(key);
        for (section, whom) in sections_of(key) {
            for (floor, at) in values.iter().zip(0..) {
                let of =
                    |value: &str| file(&format!("{section}\n{} = {value}\n", key.name)).policy(whom, None).unwrap();
                let set = of(floor);
                assert!(
                    values
                        .iter()
                        .zip(0..)
                        .all(|(other, i)| i == at || key.name == "winbind-timeout" || !same(key, &of(other), &set)),
                    "{} = {floor}",
                    key.name
                );
                let Some(name) = key.variable else { continue };
                for (value, wanted) in values.iter().zip(0..) {
                    let joined =
                        file(&format!("{section}\n{} = {floor}\n", key.name)).policy(whom, variable(name, value));
                    if wanted >= at || key.name == "winbind-timeout" {
                        let joined = joined.unwrap_or_else(|error| panic!("{error}"));
                        assert!(
                            same(key, &joined, &with(name, value).unwrap()),
                            "{} = {floor}, {name}={value}",
                            key.name
                        );
                        continue;
                    }
                    let sentence = joined.unwrap_err().to_string();
                    let expected = format!("{name} is {value}, which would loosen {} of line 2 of /etc/p: ", key.name);
                    assert!(sentence.starts_with(&expected), "{sentence}");
                }
            }
        }
    }
}

fn same(key: &Key, one: &Policy, other: &Policy) -> bool {
    match key.name {
        "winbind-timeout" => one.winbind_timeout == other.winbind_timeout,
        "user-file" => one.user_file() == other.user_file(),
        _ => (key.keeps)(one, other) && (key.keeps)(other, one),
    }
}

#[test]
fn a_file_is_compared_for_the_role_at_hand() {
    let strict = file("[server]\nlm-level = 5\nminimum = sign\n");
    let loose =
        || [("LM_COMPAT_LEVEL", "1"), ("GSS_NTLM_MINIMUM", "sign-as-asked")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let client = strict.policy(Whom::InitiatorTo(None), loose()).unwrap();
    assert_eq!((client.lm_level, client.minimum), (LmLevel(1), Minimum::empty()));
    assert!(strict.policy(Whom::Acceptor(None), loose()).is_err());
}

#[test]
fn a_typing_mistake_in_a_file_is_an_error_that_names_the_line() {
    let fault = |text: &str| Rules::parse("/etc/p", text).unwrap_err().to_string();
    for key in KEYS {
        for (section, _) in sections_of(key) {
            let wrong = fault(&format!("{section}\n\n{} = {VALUE_OF_ANOTHER_KIND}\n", key.name));
            let expected = format!("line 3 of the policy file /etc/p: {} must be {}", key.name, key.allowed);
            assert!(wrong.ends_with(&expected), "{wrong}");
            let misspelt = fault(&format!("{section}\n{}s = {}\n", key.name, values_of(key)[0]));
            let expected = format!("line 2 of the policy file /etc/p: {}s is no key of this section: use ", key.name);
            assert!(misspelt.contains(&expected) && misspelt.contains(&format!(" {}", key.name)), "{misspelt}");
        }
        let other_case = fault(&format!("[both]\n{} = x\n", key.name.to_uppercase()));
        assert!(other_case.contains("no key of this section"), "{other_case}");
    }
    for (text, words) in [
        (
            "[both]\nlm-level = 3\n",
            "line 2 of the policy file /etc/p: lm-level is no key of this section: use minimum, ",
        ),
        ("[client \"HTTP/*\"]\nuser-file = /x\n", "user-file is no key of this section"),
        ("[client]\nuser-file = x\n", "user-file must be the absolute path of a file"),
        ("[server]\nlm-level = 3\nlm-level = 5\n", "line 3 of the policy file /etc/p: line 2 sets lm-level already: "),
        (
            "[client]\nmic = off\n[server]\n[client]\nmic = off\n",
            "line 5 of the policy file /etc/p: line 2 sets mic already: ",
        ),
    ] {
        let sentence = fault(text);
        assert!(sentence.contains(words), "{sentence}");
    }
    let not_text = Rules::parse_bytes("/etc/p", b"[both]\n\n# \xe4\n").unwrap_err().to_string();
    assert!(not_text.contains("line 3 of the policy file /etc/p: it is not UTF-8"), "{not_text}");
}

#[test]
fn a_file_without_rules_changes_nothing() {
    for text in ["", "# [both]\n# fips = refuse\n", "[both]\n[server]\n[client]\n"] {
        for whom in [Whom::Initiator, Whom::InitiatorTo(None), Whom::Acceptor(None)] {
            assert_eq!(file(text).policy(whom, None), Ok(Policy::default()), "{text}");
            let loose = file(text).policy(whom, variable("GSS_NTLM_ANONYMOUS", "yes")).unwrap();
            assert!(loose.anonymous, "no floor");
        }
    }
}

fn service(text: &str) -> Name {
    Name::parse_service(text, "").unwrap()
}

#[test]
fn the_most_specific_section_wins_for_each_key() {
    let files = file(
        "[client \"HTTP/srv.corp.example\"]\nmic = always\n\
         [client]\nmic = off\nmax-skew = 1\noutgoing = audit\n\
         [client \"*\"]\nmic = raw-only\noutgoing = deny\n\
         [client \"*.example\"]\nmax-skew = 2\n\
         [client \"*.corp.example\"]\nmax-skew = 3\n\
         [client \"HTTP/*\"]\nmic = auto\noutgoing = allow\n\
         [both]\nminimum = sign\n",
    );
    let of = |target: Option<&str>| {
        let name = target.map(service);
        let policy = files.policy(Whom::InitiatorTo(name.as_ref()), None).unwrap();
        (policy.mic, policy.max_skew_hours, policy.outgoing, policy.minimum.contains(Minimum::SIGN))
    };
    assert_eq!(of(Some("HTTP@srv.corp.example")), (MicPolicy::Always, 3, Traffic::Allow, true));
    assert_eq!(of(Some("HTTP@b.corp.example")), (MicPolicy::Auto, 3, Traffic::Allow, true));
    assert_eq!(of(Some("ldap@x.example")), (MicPolicy::RawOnly, 2, Traffic::Deny, true));
    assert_eq!(of(None), (MicPolicy::RawOnly, 1, Traffic::Deny, true));
    let to_acquire = files.policy(Whom::Initiator, None).unwrap();
    assert_eq!((to_acquire.mic, to_acquire.outgoing), (MicPolicy::Off, Traffic::Audit));
    let server = files.policy(Whom::Acceptor(None), None).unwrap();
    assert_eq!((server.mic, server.minimum.contains(Minimum::SIGN)), (MicPolicy::Auto, true));
}

#[test]
fn a_service_has_its_own_section_and_one_without_a_name_has_none() {
    let files = file(
        "[server \"HTTP/*\"]\nchannel-bindings = required\n[server \"*\"]\nrequire-mic = yes\n[server]\nanonymous = yes\n",
    );
    let of = |name: Option<&str>| {
        let name = name.map(service);
        let policy = files.policy(Whom::Acceptor(name.as_ref()), None).unwrap();
        (policy.channel_bindings, policy.require_mic, policy.anonymous)
    };
    assert_eq!(of(Some("HTTP@srv")), (BindingsPolicy::Required, true, true));
    assert_eq!(of(Some("ldap@srv")), (BindingsPolicy::WhenSent, true, true));
    assert_eq!(of(None), (BindingsPolicy::WhenSent, false, true));
}

#[test]
fn a_later_file_wins_over_an_earlier_one() {
    let files = PolicyFiles {
        system: vec![
            rules("/etc/p", "[server]\nlm-level = 5\nrequire-mic = yes\n"),
            rules("/etc/p.d/a", "[server]\nlm-level = 2\n"),
        ],
        additional: None,
    };
    let policy = files.policy(Whom::Acceptor(None), None).unwrap();
    assert_eq!((policy.lm_level, policy.require_mic), (LmLevel(2), true));
    let loosened = files.policy(Whom::Acceptor(None), variable("LM_COMPAT_LEVEL", "1")).unwrap_err().to_string();
    assert!(loosened.contains("lm-level of line 2 of /etc/p.d/a"), "{loosened}");
}

#[test]
fn an_additional_file_may_only_tighten() {
    let of = |system: &str, additional: &str, whom: Whom<'_>| {
        let files = PolicyFiles { additional: Some(rules("/home/a/p", additional)), ..file(system) };
        files.policy(whom, None)
    };
    let server = Whom::Acceptor(None);
    assert_eq!(of("", "[server]\nlm-level = 5\n", server).unwrap().lm_level, LmLevel(5));
    assert_eq!(of("[server]\nlm-level = 4\n", "[server]\nlm-level = 5\n", server).unwrap().lm_level, LmLevel(5));
    for (system, additional, by) in [
        ("[server]\nlm-level = 4\n", "[server]\nlm-level = 3\n", "lm-level of line 2 of /etc/p"),
        ("", "[server]\nlm-level = 2\n", "lm-level of the default"),
        ("", "[both]\n\n[server \"*\"]\nanonymous = yes\n", "anonymous of the default"),
        ("[server]\nuser-file = /a\n", "[server]\nuser-file = /b\n", "user-file of line 2 of /etc/p"),
    ] {
        let name = service("HTTP@srv");
        let sentence = of(system, additional, Whom::Acceptor(Some(&name))).unwrap_err().to_string();
        assert!(sentence.contains(" of /home/a/p is ") && sentence.contains(by), "{sentence}");
    }
    assert_eq!(of("[server]\nlm-level = 4\n", "[server]\nlm-level = 1\n", Whom::Initiator).unwrap(), Policy::default());
    let client = of("[client]\nuser-file = /a\n", "[client]\nuser-file = /b\n", Whom::Initiator).unwrap();
    assert_eq!(client.user_file().unwrap().path, "/b");
    // The environment is compared with what both files say.
    let files = PolicyFiles { additional: Some(rules("/home/a/p", "[server]\nlm-level = 5\n")), ..file("") };
    let loosened = files.policy(server, variable("LM_COMPAT_LEVEL", "4")).unwrap_err().to_string();
    assert!(loosened.contains("lm-level of line 2 of /home/a/p"), "{loosened}");
}

#[test]
fn an_lm_hash_is_kept_if_any_section_may_use_it() {
    let files = file("[client]\nlm-level = 3\n[client \"old.example\"]\nlm-level = 1\n");
    let (old, new) = (service("HTTP@old.example"), service("HTTP@new.example"));
    let keeps = |whom| files.policy(whom, None).unwrap().keeps_lm_hash();
    assert_eq!(
        [Whom::Initiator, Whom::InitiatorTo(Some(&old)), Whom::InitiatorTo(Some(&new))].map(keeps),
        [true, true, false]
    );
    assert!(!keeps(Whom::Acceptor(None)));
    let strict = files.policy(Whom::Initiator, variable("LM_COMPAT_LEVEL", "5")).unwrap();
    assert!(!strict.keeps_lm_hash());
}

#[test]
fn what_denies_is_named() {
    use crate::host::tests::Silent;
    let host = Silent::default();
    let target = service("HTTP@srv");
    let files =
        file("[client]\noutgoing = deny\ninside-spnego = deny\n[server]\nincoming = deny\n[both]\nfips = refuse\n");
    let client = files.policy(Whom::InitiatorTo(Some(&target)), None).unwrap();
    let server = files.policy(Whom::Acceptor(None), None).unwrap();
    for (result, words) in [
        (client.ensure_outgoing(Some(&target)), "NTLM to HTTP/srv is denied by line 2 of /etc/p: "),
        (client.ensure_inside_spnego(Some(&target)), "NTLM to HTTP/srv, which is denied by line 3 of /etc/p: "),
        (server.ensure_incoming(), "denied by line 5 of /etc/p: "),
        (server.ensure_fips(&host), "where line 7 of /etc/p refuses NTLM: "),
        (
            with("GSS_NTLM_OUTGOING", "deny").unwrap().ensure_outgoing(None),
            "NTLM to a server without a name is denied by GSS_NTLM_OUTGOING: ",
        ),
    ] {
        let sentence = result.unwrap_err().to_string();
        assert!(sentence.contains(words), "{sentence}");
    }
    let allowed = Policy::default();
    assert_eq!(
        allowed.ensure_outgoing(None).and(allowed.ensure_inside_spnego(None)).and(allowed.ensure_incoming()),
        Ok(())
    );
}

#[test]
fn the_sample_changes_nothing_and_has_no_mistake_once_it_is_used() {
    let sample = include_str!("../../doc/ntlm.conf");
    assert_eq!(rules("/etc/p", sample), &Rules::default());
    let is_setting = |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
    let used: String = sample.lines().filter(is_setting).map(|line| format!("{}\n", &line[1..])).collect();
    let files = file(&used);
    for whom in [Whom::Initiator, Whom::Acceptor(None)] {
        let policy = files.policy(whom, None).unwrap();
        let minimum =
            Minimum::STRONG_IF_PROTECTED | Minimum::BITS_128 | Minimum::EXTENDED_SESSIONSECURITY | Minimum::SIGN;
        assert_eq!(
            policy,
            Policy { minimum, lines: policy.lines, ..Policy::default() },
            "the sample shows the defaults"
        );
    }
    let target = service("HTTP@a.corp.example");
    assert_eq!(files.policy(Whom::InitiatorTo(Some(&target)), None).unwrap().outgoing, Traffic::Deny);
    for key in KEYS {
        assert!(used.contains(&format!("\n{} = ", key.name)), "{}", key.name);
    }
}
