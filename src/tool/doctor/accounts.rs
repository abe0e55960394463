//! The accounts of a program: user file, stored credentials, winbind.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use gss_ntlm::{
    cred::{CredStore, Credential, Env, FileRule, Usage, check_user_file, configured_user_file},
    error::{CredentialError, Error},
    name::Name,
};

use nix::unistd::AccessFlags;

use crate::users;

use super::{Done, Findings, Program};

pub(super) fn examine(program: &Program, env: &Env<'_>, target: Option<&Name>, findings: &mut Findings) -> Done {
    let server = &Env { policy: program.server_policy().unwrap_or(env.policy), ..*env };
    let of_client = configured_user_file(Usage::Initiate, env);
    let of_server = configured_user_file(Usage::Accept, server).filter(|found| Some(found) != of_client.as_ref());
    if of_client.is_none() && of_server.is_none() {
        findings.ok(format_args!("{program} has no user file"))?;
    }
    let of_client = of_client.map(|(path, rule)| (env, path, rule));
    let of_server = of_server.map(|(path, rule)| (server, path, rule));
    for (env, path, rule) in of_client.into_iter().chain(of_server) {
        let by = match rule {
            FileRule::Variable => "NTLM_USER_FILE".to_owned(),
            FileRule::Systemd => "systemd's credential ntlm.users".to_owned(),
            FileRule::Policy => env.policy.setter_of("user-file"),
        };
        examine_user_file(program, env, &path, &by, findings)?;
    }
    examine_winbind(program, env, findings)?;
    examine_client(program, env, target, findings)
}

fn examine_user_file(program: &Program, env: &Env<'_>, path: &Path, by: &str, findings: &mut Findings) -> Done {
    let shown = path.display();
    let found = program.path(path);
    if !program.may(path, AccessFlags::R_OK) && found.exists() {
        return findings.wrong(
            format_args!("{program} may not read the user file {shown}, which {by} names"),
            "let its user or its group read the file, and search its directories",
        );
    }
    let checked = match check_user_file(&found, &env.policy) {
        Ok(checked) => checked,
        Err(error) => return findings.error(&error),
    };
    let metadata = &checked.metadata;
    findings.ok(format_args!(
        "the user file is {shown}, which {by} names: mode {:04o}, owner {}",
        metadata.mode() & 0o7777,
        metadata.uid()
    ))?;
    if metadata.uid() != 0 && !program.has_user(metadata.uid()) {
        findings.note(
            format_args!("the user file {shown} belongs to user {}, who can change it", metadata.uid()),
            "give it to root, or to the program's user",
        )?;
    }
    let directory = found.parent().and_then(|directory| std::fs::metadata(directory).ok());
    if directory.is_some_and(|directory| directory.mode() & 0o1002 == 0o002) {
        findings.wrong(
            format_args!("everybody may replace the user file {shown}, because everybody may write to its directory"),
            "chmod o-w the directory",
        )?;
    }
    users::examine(path, &checked, findings)?;
    let accounts =
        checked.lines.iter().filter(|(_, line)| line.as_ref().is_ok_and(|account| !account.is_disabled)).count();
    if accounts == 0 {
        return findings.wrong(format_args!("the user file {shown} has no account"), "gss-ntlm hash writes a line");
    }
    findings.ok(format_args!("the user file {shown} has accounts: {accounts}"))
}

fn examine_winbind(program: &Program, env: &Env<'_>, findings: &mut Findings) -> Done {
    let Some(domain) = env.domain else {
        return findings.ok(format_args!("winbind is not asked, as {} says", env.policy.setter_of("winbind")));
    };
    match domain.reach(env) {
        Ok(()) => {}
        Err(Error::Credential(CredentialError::NoUserFile)) => {
            return findings.ok("winbind is not there: there is no libwbclient, so there are no accounts of a domain");
        }
        Err(_) => {
            return findings.note(
                "libwbclient is installed, but winbindd does not answer: there are no accounts of a domain",
                "start winbindd if this computer is in a domain (systemctl start winbind)",
            );
        }
    }
    match domain.membership(env) {
        // winbind gives a computer that is in no domain its own name for one.
        Ok(membership) if membership.domain != membership.computer => {
            findings.ok(format_args!("winbind: this computer is {} in {}", membership.computer, membership.domain))?;
            match domain.dns_tree(env) {
                Some(_) => findings.ok("winbind: a domain controller answers")?,
                None => findings.wrong("winbind reaches no domain controller", "wbinfo --ping-dc says why")?,
            }
        }
        Ok(_) | Err(_) => {
            return findings
                .note("winbindd answers, but this computer is in no domain", "net ads join, if it should be");
        }
    }
    let pipes = ["/run/samba/winbindd_privileged", "/var/lib/samba/winbindd_privileged"];
    match pipes.into_iter().map(Path::new).find(|path| program.path(path).exists()) {
        Some(path) if !program.may(path, AccessFlags::X_OK) => findings.note(
            format_args!("{program} may not use {}, so as a server it cannot ask the domain", path.display()),
            "add its user to the directory's group (Debian: winbindd_priv), and restart it",
        ),
        Some(_) | None => Ok(()),
    }
}

/// Says which account a client has.
fn examine_client(program: &Program, env: &Env<'_>, target: Option<&Name>, findings: &mut Findings) -> Done {
    if !program.has_our_store() {
        findings.note(
            format_args!("what the user of {program} has stored is not looked at"),
            "run this command as that user, with the same XDG_RUNTIME_DIR",
        )?;
    }
    if program.has_own_files {
        // The same paths may be other files there.
        return Ok(());
    }
    let found = Credential::acquire(None, Usage::Initiate, &CredStore::default(), env);
    let chosen = found.and_then(|credential| {
        let whole = credential.name()?;
        let Some(target) = target else { return Ok((whole, credential.is_of_stored(), String::new())) };
        let chosen = credential.initiator()?.for_target(Some(target), None, env)?;
        Ok((chosen.name(), false, format!(" to {target}")))
    });
    match chosen {
        Ok((name, true, _)) => findings.ok(format_args!(
            "a client that names no account shows {name} as its own until it knows the server (--target says more)"
        )),
        Ok((name, false, at)) => findings.ok(format_args!("a client that names no account logs on as {name}{at}")),
        Err(error @ Error::Credential(CredentialError::NotForTarget { .. })) => findings.error(&error),
        Err(Error::Credential(
            CredentialError::NoUserFile | CredentialError::NoCachedLogon { .. } | CredentialError::NoDomain,
        )) if program.has_our_store() => findings.note("a client has no account", "gss-ntlm login"),
        // It was said already, of the file.
        Err(_) => Ok(()),
    }
}
