//! `gss-ntlm users check`.

use std::{
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use clap::{Args, Subcommand};
use gss_ntlm::{
    cred::{CheckedUserFile, ListedAccount, check_user_file},
    error::{CredentialError, Error},
    name::Name,
    policy::Policy,
    text::Escaped,
};

use crate::{Failure, Outcome};

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
    let mut out = io::stdout().lock();
    let CheckedUserFile { metadata, lines } = match check_user_file(file, &Policy::default()) {
        Err(Error::Credential(error @ CredentialError::Writable { .. })) => {
            writeln!(out, "WRONG: {}", Error::Credential(error))?;
            return Err(Failure::Wrong);
        }
        checked => checked?,
    };
    let mut is_wrong = false;
    let mode = metadata.mode() & 0o7777;
    writeln!(out, "{}: mode {mode:04o}, owner {}", Escaped(file.display()), metadata.uid())?;
    if mode & 0o004 != 0 {
        is_wrong = true;
        writeln!(out, "WRONG: everybody may read it → chmod o-r {}", Escaped(file.display()))?;
    }
    for (number, line) in &lines {
        match line {
            Ok(ListedAccount { name, is_hash, is_disabled, ends_with_blank }) => {
                let kind = if *is_hash { "a hash" } else { "a password" };
                let state = if *is_disabled { ", disabled" } else { "" };
                let any = if name.domain.is_empty() { ", in every domain" } else { "" };
                writeln!(out, "line {number}: {}{any}, {kind}{state}", Escaped(Name::User(name.clone())))?;
                if *ends_with_blank {
                    writeln!(
                        out,
                        "note: line {number}: its password ends with a blank → remove that if it is not meant"
                    )?;
                }
            }
            Err(fault) => {
                is_wrong = true;
                writeln!(out, "WRONG: line {number} {fault}, so it is ignored")?;
            }
        }
    }
    if is_wrong { Err(Failure::Wrong) } else { Ok(()) }
}
