//! The user file: lines of both kinds, with what editors and other programs make of them.
//!
//! Input: the LM level, the name of an account to look up, and the file.

#![no_main]

use gss_ntlm::{
    cred::fuzzing::{Entry, ParsedUserFile},
    name::UserName,
    policy::{LmLevel, Policy},
    text::{same_name, upper},
};
use gss_ntlm_fuzz::{Tape, handshake::env, no_fault};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let tape = &mut Tape(data);
    let lm_level = tape.pick(&[3, 0].map(|level| LmLevel::new(level).unwrap()));
    let policy = Policy { lm_level, ..Policy::default() };
    let parse = |text: &[u8]| ParsedUserFile::parse(text, &env(policy));
    let [user, domain] = [tape.bytes(), tape.bytes()].map(|name| String::from_utf8_lossy(name).into_owned());
    let text = tape.0;

    let file = parse(text);
    let entries = file.entries();
    for (name, hashes, _) in &entries {
        name.ensure_valid().unwrap();
        assert!(!name.user.contains(['\0', '\n']) && !name.domain.contains(['\0', '\n']));
        assert!(hashes[1].is_none() || lm_level.uses_lm());
        // The account is found by its name, whatever the case.
        let found = file.entry(&upper(&name.user), &upper(&name.domain));
        assert_eq!(found, expected(&entries, &upper(&name.user), &upper(&name.domain)));
        assert!(found.is_some_and(|found| same_name(&entries[found].0.user, &name.user)));
    }
    assert_eq!(file.entry(&user, &domain), expected(&entries, &user, &domain));
    let first = entries.iter().find(|(_, _, is_disabled)| !is_disabled);
    assert_eq!(no_fault(file.account_of(None)).ok().map(|account| account.name), first.map(|first| first.0.clone()));
    let asked = UserName { user, domain };
    if let Ok(account) = no_fault(file.account_of(Some(&asked))) {
        assert!(account.name.user == asked.user || same_name(&account.name.user, &asked.user));
    }

    // What a line means does not depend on the other lines, but for the mark at the start of a file.
    let alone = text
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .flat_map(|(number, line)| if number == 0 { parse(line) } else { parse(&[b"#\n", line].concat()) }.entries());
    assert!(alone.eq(entries.iter().cloned()));
    // An entry written as a line of smbpasswd(5) is the same entry.
    let hex =
        |hash: Option<[u8; 16]>| hash.map_or("X".repeat(32), |hash| format!("{:032x}", u128::from_be_bytes(hash)));
    let written = |entry: &Entry| {
        let (UserName { user, domain }, [nt_hash, lm_hash], is_disabled) = entry;
        let flag = if *is_disabled { "D" } else { "U" };
        format!("{domain}\\{user}:1:{}:{}:[{flag}          ]:LCT-0\n", hex(*lm_hash), hex(*nt_hash))
    };
    let (short, lines): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .map(|entry| (written(&entry), entry))
        .filter(|(line, _)| line.len() <= 4096)
        .map(|(l, e)| (e, l))
        .unzip();
    assert!(parse(format!("#\n{}", lines.concat()).as_bytes()).entries() == short);
});

/// The index of the entry that the documentation promises, by a slower search.
fn expected(entries: &[Entry], user: &str, domain: &str) -> Option<usize> {
    let find = |is_wanted: &dyn Fn(&UserName) -> bool| {
        entries.iter().position(|(name, ..)| same_name(&name.user, user) && is_wanted(name))
    };
    if !domain.is_empty() {
        return find(&|name| same_name(&name.domain, domain)).or_else(|| find(&|name| name.domain.is_empty()));
    }
    find(&|_| true).or_else(|| {
        let (account, domain) = user.rsplit_once('@').filter(|(_, domain)| !domain.is_empty())?;
        expected(entries, account, domain)
    })
}
