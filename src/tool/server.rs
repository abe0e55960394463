//! `gss-ntlm test --server`: a logon with the programs of others.

use std::{
    fs, io,
    process::{Command, Stdio},
};

use crate::{Failure, Outcome, findings::Findings, handshake::Temporary};

/// The addresses of a server.
#[derive(Clone)]
pub(crate) struct Addresses(Vec<String>);

/// This address, or both that a host may have.
pub(crate) fn addresses(server: &str) -> Result<Addresses, String> {
    if server.is_empty() || server.starts_with('-') || server.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("this is no address of a server".to_owned());
    }
    match server.split_once("://") {
        Some(("http" | "https" | "ldap" | "ldaps", _)) => Ok(Addresses(vec![server.to_owned()])),
        Some(_) => Err("it must begin with http:, https:, ldap: or ldaps:".to_owned()),
        None => Ok(Addresses(vec![format!("http://{server}/"), format!("ldap://{server}")])),
    }
}

/// Logs on at each address.
pub(crate) fn run(Addresses(addresses): &Addresses) -> Outcome {
    let (mut findings, mut was_asked) = (Findings::default(), false);
    for address in addresses {
        let outcome = if address.starts_with("ldap") { by_ldapsearch(address)? } else { by_curl(address)? };
        was_asked |= !matches!(outcome, Found::NotInstalled(_));
        match outcome {
            Found::Works => findings.ok(format_args!("{address}: you are logged on"))?,
            Found::NotInstalled(program) => findings.note(
                format_args!("{address}: {program} is not installed, so it was not asked"),
                &format!("install {program}"),
            )?,
            Found::Wrong(why, cure) => findings.wrong(format_args!("{address}: {why}"), &cure)?,
        }
    }
    if was_asked { findings.outcome() } else { Err(Failure::Impossible("no server was asked".to_owned())) }
}

enum Found {
    Works,
    NotInstalled(&'static str),
    /// Why not, and what to do.
    Wrong(String, String),
}

impl Found {
    fn wrong(why: impl Into<String>, cure: &str) -> Self {
        Self::Wrong(why.into(), cure.to_owned())
    }

    /// A sentence that says both, of the mechanism or of a program.
    fn said(sentence: &str) -> Self {
        match sentence.split_once(": ") {
            Some((why, cure)) => Self::wrong(why, cure),
            None => Self::wrong(sentence, "see what the server says"),
        }
    }
}

/// What a program of others wrote, and what the mechanism had to say.
struct Said {
    is_success: bool,
    out: String,
    errors: String,
    trace: String,
}

/// Runs a program with a trace of its own; `None` if it is not installed.
fn ask(program: &str, arguments: &[&str]) -> io::Result<Option<Said>> {
    let directory = Temporary::new()?;
    let trace = directory.0.join("trace");
    let mut command = Command::new("timeout");
    command.args(["60", program]).args(arguments).env("GSSNTLMSSP_DEBUG", &trace).stdin(Stdio::null());
    let said = command.output()?;
    // timeout(1) says so of a program that is not there.
    if said.status.code() == Some(127) {
        return Ok(None);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(Some(Said {
        is_success: said.status.success(),
        out: text(&said.stdout),
        errors: text(&said.stderr),
        trace: fs::read_to_string(&trace).unwrap_or_default(),
    }))
}

impl Said {
    /// The sentence of the mechanism's last error.
    fn error(&self) -> Option<String> {
        let sentence = |line: &str| Some(line.split_once("error 0x")?.1.split_once(": ")?.1.to_owned());
        self.trace.lines().rev().find_map(sentence)
    }

    /// The last line of the program's errors.
    fn last_words(&self) -> String {
        self.errors.lines().next_back().unwrap_or("it does not say why").to_owned()
    }

    fn has_used_ntlm(&self) -> bool {
        self.trace.contains("sends AUTHENTICATE_MESSAGE")
    }
}

fn by_curl(address: &str) -> io::Result<Found> {
    let quiet = ["--disable", "--silent", "--show-error", "--max-time", "30", "--output", "/dev/null"];
    let arguments =
        [&quiet[..], &["--negotiate", "--user", ":", "--write-out", "%{http_code}", "--url", address]].concat();
    let Some(said) = ask("curl", &arguments)? else { return Ok(Found::NotInstalled("curl")) };
    if !said.is_success {
        return Ok(Found::wrong(said.last_words(), "correct the address, or start the server"));
    }
    Ok(match &*said.out {
        "401" if said.has_used_ntlm() => Found::wrong(
            "the server refuses this account",
            "check name and password (gss-ntlm list), and the server's log",
        ),
        "401" if said.trace.is_empty() => Found::wrong(
            "the server or curl does not use Negotiate",
            "curl -v shows whether the answer has WWW-Authenticate: Negotiate",
        ),
        "401" => match said.error() {
            Some(sentence) => Found::said(&sentence),
            None => Found::wrong(
                "the server does not go on after NTLM's first message",
                "see its log: it may not take NTLM",
            ),
        },
        code if said.has_used_ntlm() && code.starts_with(['2', '3']) => Found::Works,
        code if said.has_used_ntlm() => {
            Found::wrong(format!("you are logged on, but the server answers {code}"), "look into its log")
        }
        code => {
            Found::wrong(format!("the server answers {code} without a logon by NTLM"), "give an address that needs one")
        }
    })
}

fn by_ldapsearch(address: &str) -> io::Result<Found> {
    let arguments =
        ["-LLL", "-Q", "-Y", "GSS-SPNEGO", "-o", "nettimeout=30", "-H", address, "-s", "base", "-b", "", "1.1"];
    let Some(said) = ask("ldapsearch", &arguments)? else { return Ok(Found::NotInstalled("ldapsearch")) };
    Ok(match (said.is_success, said.has_used_ntlm(), said.error()) {
        (true, true, _) => Found::Works,
        (true, false, _) => Found::wrong("the logon was not by NTLM", "if it was by Kerberos, that is better"),
        (false, _, Some(sentence)) => Found::said(&sentence),
        (false, _, None) => Found::wrong(said.last_words(), "correct the address or the account, or start the server"),
    })
}
