//! `gss-ntlm test`: handshakes as programs do them, through libgssapi.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use clap::Args;
use gss_ntlm::{host::Host as _, name::Name as OurName, sys::System, text::Escaped};
use libgssapi::{
    context::{ClientCtx, CtxFlags, SecurityContext as _, ServerCtx},
    credential::{Cred, CredUsage},
    error::Error,
    name::Name,
    oid::{GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE, GSS_NT_USER_NAME, Oid, OidSet},
};

use crate::{
    Failure, Outcome, account, password,
    server::{self, Addresses},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Log on as this account, which is asked for its password, and which the user file or the domain of this computer must have;
    /// without it a made-up account is used
    #[arg(long, value_name = "ACCOUNT")]
    user: Option<String>,
    /// The service to log on to: service@host
    #[arg(long, value_name = "SPN", default_value = "test@localhost")]
    target: String,
    /// Log on to this server instead, with the account that programs use: an address that begins with http:, https:, ldap: or
    /// ldaps:, or a host, which is asked by HTTP and LDAP
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["user", "target"], value_parser = server::addresses)]
    server: Option<Addresses>,
    /// Read the password from this file descriptor, which is a pipe, up to the end of its first line
    #[arg(long, value_name = "NUMBER", requires = "user")]
    password_fd: Option<u32>,
    /// The handshakes themselves, with the first account of the user file
    #[arg(long, hide = true)]
    inside: bool,
}

static NTLM: Oid<'static> = Oid::from_slice(b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a");

pub(crate) fn run(Arguments { user, target, server, password_fd, inside }: &Arguments) -> Outcome {
    if let Some(server) = server {
        return server::run(server);
    }
    if *inside {
        return both_ways(target, None);
    }
    match user {
        None => {
            let done = with_made_up_account(target, &[])?;
            io::stdout().lock().write_all(&done.stdout)?;
            io::stderr().lock().write_all(&done.stderr)?;
            if done.status.success() { Ok(()) } else { Err(Failure::Wrong) }
        }
        Some(user) => {
            let name = account(user)?;
            let password = password::read(&name, *password_fd)?;
            if password.is_empty() {
                return Err(Failure::Impossible("no password was given".to_owned()));
            }
            let password = str::from_utf8(&password).map_err(|_| "the password is not UTF-8".to_owned());
            both_ways(target, Some((&OurName::User(name).to_string(), password.map_err(Failure::Impossible)?)))
        }
    }
}

/// Runs this command again, as a program that has one account, and no Kerberos. Nothing else of the environment changes but
/// these variables.
pub(crate) fn with_made_up_account(target: &str, variables: &[(&str, &Path)]) -> io::Result<Output> {
    let directory = Temporary::new()?;
    let mut password = [0; 16];
    System.random(&mut password).map_err(io::Error::other)?;
    let password = data_encoding::HEXLOWER.encode(&password);
    let users = directory.write("users", &format!("TEST:somebody:{password}\n"))?;
    Command::new("timeout")
        .arg("60")
        .arg(std::env::current_exe()?)
        .args(["test", "--inside"])
        .arg(format!("--target={target}"))
        .env("NTLM_USER_FILE", users)
        .env("KRB5CCNAME", format!("FILE:{}", directory.0.join("none").display()))
        .env("KRB5_KTNAME", format!("FILE:{}", directory.0.join("none").display()))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
}

/// A directory that only this user may use, and that is removed in the end.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn new() -> io::Result<Self> {
        let place = std::env::temp_dir();
        let made = nix::unistd::mkdtemp(&place.join("gss-ntlm-XXXXXX"));
        made.map(Self).map_err(|error| io::Error::other(format!("{}: {}", place.display(), error.desc())))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A handshake by NTLM alone, and one inside SPNEGO; with this name and password, or with what programs find by themselves.
fn both_ways(target: &str, account: Option<(&str, &str)>) -> Outcome {
    let mut is_wrong = false;
    for (mech, words) in [(&NTLM, "NTLM alone"), (&GSS_MECH_SPNEGO, "NTLM inside SPNEGO")] {
        let mut out = io::stdout().lock();
        match handshake(*mech, target, account) {
            Ok(source) => writeln!(
                out,
                "ok: {words}: {} logs on, and messages are signed and encrypted",
                Escaped(String::from_utf8_lossy(&source))
            )?,
            Err((what, error)) => {
                is_wrong = true;
                writeln!(out, "WRONG: {words}: {what}: {}", Escaped(sentence(error)))?;
            }
        }
    }
    if is_wrong { Err(Failure::Wrong) } else { Ok(()) }
}

/// What an error says, without the words with which libgssapi says nothing.
fn sentence(error: Error) -> String {
    let said = error.to_string().replace('\0', "");
    let own = said.split_once("Minor code may provide more information (").map(|(_, rest)| rest.trim_end_matches(')'));
    own.map_or(said.clone(), str::to_owned)
}

/// What a step was for, and why it failed.
type Failed = (&'static str, Error);

/// Does a handshake between two contexts of this process, and exchanges messages. Returns the client's name, as the server
/// sees it.
fn handshake(mech: Oid<'static>, target: &str, account: Option<(&str, &str)>) -> Result<Vec<u8>, Failed> {
    let in_step = |what| move |error| (what, error);
    let mut mechs = OidSet::new();
    mechs.add(mech).map_err(in_step("the mechanism"))?;
    let client = match account {
        Some((name, password)) => Name::new(name.as_bytes(), Some(GSS_NT_USER_NAME)).and_then(|name| {
            Cred::acquire_with_password(Some(&name), password, None, CredUsage::Initiate, Some(&mechs))
        }),
        None => Cred::acquire(None, None, CredUsage::Initiate, Some(&mechs)),
    };
    let client = client.map_err(in_step("the client's credential"))?;
    let server =
        Cred::acquire(None, None, CredUsage::Accept, Some(&mechs)).map_err(in_step("the server's credential"))?;
    let target = Name::new(target.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE)).map_err(in_step("the target's name"))?;
    let flags = CtxFlags::GSS_C_INTEG_FLAG | CtxFlags::GSS_C_CONF_FLAG;
    let (mut client, mut server) =
        (ClientCtx::new(Some(client), target, flags, Some(mech)), ServerCtx::new(Some(server)));
    let mut token: Option<Vec<u8>> = None;
    // NTLM has three messages, and SPNEGO one or two more.
    for _ in 0..8 {
        let sent = client.step(token.as_deref(), None).map_err(in_step("the client's step"))?;
        let Some(sent) = sent else { break };
        token = server.step(&sent, None).map_err(in_step("the server's step"))?.map(|token| token.to_vec());
        if token.is_none() {
            break;
        }
    }
    let secret = b"a message of the test";
    for encrypts in [true, false] {
        let sealed = client.wrap(encrypts, secret).map_err(in_step("the client's message"))?;
        let opened = server.unwrap(&sealed).map_err(in_step("the server's reading"))?;
        let answer = server.wrap(encrypts, &opened).map_err(in_step("the server's message"))?;
        client.unwrap(&answer).map_err(in_step("the client's reading"))?;
    }
    let source = server.source_name().and_then(|name| name.display_name()).map_err(in_step("the client's name"))?;
    Ok(source.to_vec())
}
