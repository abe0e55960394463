//! `gss-ntlm login`, and `gss-ntlm logout`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::Args;
use gss_ntlm::{
    cred::{self, CredStore, Credential, Env, Forgotten, Place, StoreRequest, StoredAt, Usage, Wanted},
    host::{FileTime, Host as _},
    name::{Name, UserName},
    policy::{Pattern, Whom},
    sys::{self, System},
    text::Escaped,
};

use crate::{Failure, Outcome, account, list::until, password};

#[derive(Args)]
pub(crate) struct Login {
    /// The account: DOMAIN\user or user@DOMAIN; by default that of NTLMUSER, else of USER
    account: Option<String>,
    /// The servers that it is for: SERVICE/host, SERVICE/*.suffix, host, *.suffix, SERVICE/* or *; by default the hosts of this
    /// computer's DNS domain
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    target: Option<Pattern>,
    /// For how long, such as 30m, 8h or 2days; or unlimited
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = lifetime)]
    lifetime: Lifetime,
    /// Programs show this account as theirs until they know the server
    #[arg(long)]
    default: bool,
    /// Keep it at this place only: keyring or runtime
    #[arg(long, value_name = "PLACE", value_parser = place)]
    store: Option<Place>,
    /// Read the password from this file descriptor, which is a pipe, up to the end of its first line
    #[arg(long, value_name = "NUMBER")]
    password_fd: Option<u32>,
}

/// `None` is without limit.
#[derive(Clone, Copy)]
struct Lifetime(Option<Duration>);

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "unlimited" {
        return Ok(Lifetime(None));
    }
    let lifetime = humantime::parse_duration(text).map_err(|error| format!("{error}; write 30m, 8h or 2days"))?;
    if lifetime < Duration::from_secs(1) {
        return Err("it must be a second at least".to_owned());
    }
    Ok(Lifetime(Some(lifetime)))
}

pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).ok_or_else(|| format!("it must be {}", Pattern::FORMS))
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text).ok_or_else(|| "it must be keyring or runtime".to_owned())
}

/// The account of the environment.
pub(crate) fn own_account() -> Result<UserName, Failure> {
    let named = ["NTLMUSER", "USER"].into_iter().find_map(|name| System.variable(name).filter(|text| !text.is_empty()));
    account(&named.ok_or_else(|| Failure::Impossible("say which account: DOMAIN\\user".to_owned()))?)
}

pub(crate) fn login(arguments: &Login) -> Outcome {
    let Login { account: text, target, lifetime, default, store, password_fd } = arguments;
    let name = text.as_deref().map_or_else(own_account, account)?;
    let env = sys::env_for(Whom::Initiator)?;
    let request = StoreRequest {
        pattern: target.clone(),
        place: *store,
        lifetime: lifetime.0,
        overwrites: true,
        is_default: *default,
    };
    // Before a person types a password for nothing.
    request.ensure_possible(&env)?;
    let password = password::read(&name, *password_fd)?;
    if password.is_empty() {
        return Err(Failure::Impossible("no password was given".to_owned()));
    }
    let with_password = CredStore::default().with_password(&password)?;
    let credential = Credential::acquire(Some(&Name::User(name.clone())), Usage::Initiate, &with_password, &env)?;
    drop(password);
    report(&name, &request.store(&credential, &env)?, &env)
}

/// How long a credential holds, in words.
fn how_long(end: Option<FileTime>) -> String {
    end.map_or_else(|| "until you log off".to_owned(), |_| format!("until {}", until(end)))
}

/// Says what works now.
fn report(name: &UserName, StoredAt { pattern, place, refusals, until: end }: &StoredAt, env: &Env<'_>) -> Outcome {
    let mut out = io::stdout().lock();
    let name = Escaped(Name::User(name.clone()));
    writeln!(out, "Programs now log on as {name} to {}, {} ({place}).", servers(pattern), how_long(*end))?;
    for (place, refusal) in refusals {
        writeln!(out, "note: the {place} was not used: {}", Escaped(&refusal.0))?;
    }
    if *pattern == Pattern::All {
        writeln!(out, "note: that is any server that asks → log off when you need that no longer, or give --target")?;
    }
    if let Err(error) = env.policy.ensure_outgoing(None) {
        writeln!(out, "note: for most servers the policy keeps programs from using it: {error}")?;
    }
    // What comes before it.
    match Credential::acquire(None, Usage::Initiate, &CredStore::default(), env) {
        Ok(credential) if credential.is_of_stored() => {}
        Ok(credential) => writeln!(
            out,
            "note: programs that name no account take {} of the user file first → gss-ntlm list",
            Escaped(credential.name()?)
        )?,
        Err(error) => writeln!(out, "note: programs cannot use it: {error}")?,
    }
    Ok(())
}

/// The pattern of everything, in words.
pub(crate) const ANY_SERVER: &str = "any server that asks";

/// A pattern in words.
pub(crate) fn servers(pattern: &Pattern) -> String {
    if *pattern == Pattern::All { ANY_SERVER.to_owned() } else { Escaped(pattern).to_string() }
}

#[derive(Args)]
pub(crate) struct Logout {
    /// The servers, as they were given to login
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    target: Option<Pattern>,
    /// For all servers
    #[arg(long, conflicts_with = "target")]
    all: bool,
}

pub(crate) fn logout(Logout { target, all }: &Logout) -> Outcome {
    let env = sys::env_for(Whom::Initiator)?;
    let stored = Wanted::default().accounts(&env);
    let target = match (target, &*stored) {
        (Some(target), _) => Some(target.clone()),
        (None, _) if *all => None,
        (None, [one]) => Some(one.pattern.clone()),
        (None, []) => None,
        (None, several) => {
            let targets: Vec<_> = several.iter().map(|one| Escaped(&one.pattern).to_string()).collect();
            return Err(Failure::Impossible(format!(
                "you are logged on for several targets, {}: say which (--target), or --all",
                targets.join(", ")
            )));
        }
    };
    let Forgotten { names, refusals } = cred::forget(target.as_ref(), &env)?;
    let mut out = io::stdout().lock();
    for name in &names {
        writeln!(out, "logged off: {}", Escaped(name))?;
    }
    for (place, refusal) in refusals {
        writeln!(out, "note: the {place} was not looked at: {}", Escaped(refusal.0))?;
    }
    if names.is_empty() && !*all {
        let target = target.map_or_else(String::new, |target| format!(" for {}", Escaped(target)));
        writeln!(out, "nobody was logged on{target}")?;
        return Err(Failure::Wrong);
    }
    Ok(())
}
