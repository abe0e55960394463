//! The command `gss-ntlm`: for a person who logs on, or wants to know what is in a token, a user file or the policy.
//!
//! It is built without the feature `mechglue`, so that it is a program like any other: none of the plugin's exported functions are
//! in it.

#![forbid(unsafe_code)]

mod decode;
mod doctor;
mod findings;
mod handshake;
mod hash;
mod list;
mod login;
mod password;
mod policy;
mod report;
mod server;
mod spnego;
mod tokens;
mod users;

#[cfg(feature = "mechglue")]
compile_error!("the command must not contain the plugin: build it with --no-default-features --features tool");

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use gss_ntlm::{
    name::{Name, UserName},
    text::Escaped,
};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

/// Logs on for NTLM, and looks into its tokens, its user files and its policy.
#[derive(Parser)]
#[command(name = "gss-ntlm", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit status: 0, it is done; 1, something in what was looked at is wrong; 2, the command was called in a \
                          wrong way; 3, it could not be done.";

#[derive(Subcommand)]
enum Command {
    /// Log on: keep the hash of a password, so that programs can use it
    Login(login::Login),
    /// List the accounts that programs log on with
    List(list::Arguments),
    /// Log off: forget what login has kept
    Logout(login::Logout),
    /// Find out why NTLM does not work, and say what to do
    Doctor(doctor::Arguments),
    /// Do handshakes, in this process or with a server
    Test(handshake::Arguments),
    /// Show the policy in force, and what has set each part
    Policy(policy::Arguments),
    /// Show what is in a token of NTLM or SPNEGO
    Decode(decode::Arguments),
    /// Write a line of a user file, with a hash in place of the password
    Hash(hash::Arguments),
    /// Look at user files
    #[command(subcommand)]
    Users(users::Command),
    /// Write the script with which a shell completes the arguments of this command
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// A shell that has such scripts.
#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
}

/// Why the command did not do what it was asked.
enum Failure {
    /// What was looked at is wrong; that was said already.
    Wrong,
    /// It could not be done, and this is why, and what to do.
    Impossible(String),
}

/// The outcome of a command.
type Outcome = Result<(), Failure>;

impl From<gss_ntlm::error::Error> for Failure {
    fn from(error: gss_ntlm::error::Error) -> Self {
        Self::Impossible(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Impossible(error.to_string())
    }
}

/// The service with this name, as an argument.
fn service(text: &str) -> Result<Name, String> {
    Name::parse_service(text, "localhost").map_err(|error| error.to_string())
}

/// The account with this name.
fn account(text: &str) -> Result<UserName, Failure> {
    match Name::parse_user(text)? {
        Name::User(name) => Ok(name),
        Name::Service(_) | Name::Anonymous => Err(Failure::Impossible("this is not the name of an account".to_owned())),
    }
}

fn complete(shell: Shell) -> Outcome {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gss-ntlm", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            // It repeats arguments, which may have anything in them.
            for line in error.to_string().lines() {
                let _ = writeln!(io::stderr(), "{}", Escaped(line));
            }
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let outcome = match arguments.command {
        Command::Login(arguments) => login::login(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Logout(arguments) => login::logout(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Test(arguments) => handshake::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Hash(arguments) => hash::run(&arguments),
        Command::Users(command) => users::run(&command),
        Command::Completion { shell } => complete(shell),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Wrong) => ExitCode::from(1),
        Err(Failure::Impossible(why)) => {
            // Where standard error is closed, the status tells it.
            let _ = writeln!(io::stderr(), "gss-ntlm: {}", Escaped(why));
            ExitCode::from(3)
        }
    }
}
