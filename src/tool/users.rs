//! `gss-ntlm users check`.

use std::{
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use gss_ntlm::{
    cred::{CheckedUserFile, ListedAccount, check_user_file},
    error::{CredentialError, Error},
    name::Name,
    policy::Policy,
    text::Escaped,
};

use crate::{
    Outcome,
    findings::{Done, Findings},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say of each line which account it is, or what is wrong with it
    Check(Check),
}

#[derive(Args)]
pub(crate) struct Check {
    /// The user file
    file: PathBuf,
}

pub(crate) fn run(Command::Check(Check { file }): &Command) -> Outcome {
    let mut findings = Findings::default();
    let checked = match check_user_file(file, &Policy::default()) {
        Err(error @ Error::Credential(CredentialError::Writable { .. })) => {
            findings.error(&error)?;
            return findings.outcome();
        }
        checked => checked?,
    };
    {
        let mut out = io::stdout().lock();
        let mode = checked.metadata.mode() & 0o7777;
        writeln!(out, "{}: mode {mode:04o}, owner {}", Escaped(file.display()), checked.metadata.uid())?;
        for (number, line) in &checked.lines {
            let Ok(ListedAccount { name, is_hash, is_disabled, .. }) = line else { continue };
            let kind = if *is_hash { "a hash" } else { "a password" };
            let state = if *is_disabled { ", disabled" } else { "" };
            let any = if name.domain.is_empty() { ", in every domain" } else { "" };
            writeln!(out, "line {number}: {}{any}, {kind}{state}", Escaped(Name::User(name.clone())))?;
        }
    }
    examine(file, &checked, &mut findings)?;
    findings.outcome()
}

/// Says what is wrong with the user file at `path`, and with its lines.
pub(crate) fn examine(
    path: &Path, CheckedUserFile { metadata, lines }: &CheckedUserFile, findings: &mut Findings,
) -> Done {
    let path = path.display();
    if metadata.mode() & 0o004 != 0 {
        findings.wrong(format_args!("everybody may read the user file {path}"), &format!("chmod o-r {path}"))?;
    }
    for (number, line) in lines {
        match line {
            Ok(account) if account.ends_with_blank => findings.note(
                format_args!("the password of line {number} of {path} ends with a blank"),
                "remove the blank if it is not meant",
            )?,
            Ok(_) => {}
            Err(fault) => findings.wrong(
                format_args!("line {number} of {path} {fault}, so it is ignored"),
                "write DOMAIN:user:password, or let gss-ntlm hash write it",
            )?,
        }
    }
    Ok(())
}
