//! `gss-ntlm hash`.

use std::io::{self, Write as _};

use clap::Args;
use gss_ntlm::cred::user_file_line;

use crate::{Failure, Outcome, account, password};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The account: DOMAIN\user, user@DOMAIN, or user for every domain
    account: String,
    /// Read the password from this file descriptor, which is a pipe, up to the end of its first line
    #[arg(long, value_name = "NUMBER")]
    password_fd: Option<u32>,
}

pub(crate) fn run(Arguments { account: text, password_fd }: &Arguments) -> Outcome {
    let name = account(text)?;
    let password = password::read(&name, *password_fd)?;
    if password.is_empty() {
        return Err(Failure::Impossible(
            "no password was given; write the line of an account without one by hand: DOMAIN:user:".to_owned(),
        ));
    }
    io::stdout().lock().write_all(&user_file_line(&name, &password)?)?;
    Ok(())
}
