//! `gss-ntlm hash`.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _},
    os::fd::AsFd as _,
};

use clap::Args;
use gss_ntlm::{
    cred::user_file_line,
    name::{Name, UserName},
    text::Escaped,
};
use nix::sys::termios::{self, LocalFlags, SetArg};
use zeroize::Zeroizing;

use crate::{Failure, Outcome};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The account: DOMAIN\user, user@DOMAIN, or user for every domain
    account: String,
    /// Read the password from this file descriptor, up to the end of its first line
    #[arg(long, value_name = "NUMBER")]
    password_fd: Option<u32>,
}

pub(crate) fn run(Arguments { account, password_fd }: &Arguments) -> Outcome {
    let Name::User(name) = Name::parse_user(account)? else {
        return Err(Failure::Impossible("this is not the name of an account".to_owned()));
    };
    let password = match password_fd {
        Some(number) => first_line(File::open(format!("/proc/self/fd/{number}"))?)?,
        None if io::stdin().is_terminal() => ask(&name)?,
        None => first_line(unbuffered_input()?)?,
    };
    let line = user_file_line(&name, &password)?;
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Standard input without the buffer of the standard library, which is not wiped.
fn unbuffered_input() -> Result<File, Failure> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// A password is no longer than this, in bytes.
const MAX_PASSWORD: u64 = 0x1_0000;

/// The first line of `input`, without its end.
fn first_line(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // All the capacity at once: a vector that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(0x1_0002));
    BufReader::with_capacity(1, input.take(MAX_PASSWORD.saturating_add(1))).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}

/// The password that a person types, which is not shown.
fn ask(name: &UserName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let terminal = io::stdin();
    let before = termios::tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ECHONL);
    // Before the question: who answers at once must not be seen or lost.
    termios::tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden).map_err(io::Error::from)?;
    let asked = write!(io::stderr(), "Password of {}: ", Escaped(Name::User(name.clone())));
    let line = asked.map_err(Failure::from).and_then(|()| first_line(unbuffered_input()?));
    termios::tcsetattr(&terminal, SetArg::TCSAFLUSH, &before).map_err(io::Error::from)?;
    line
}
