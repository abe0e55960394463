//! `gss-ntlm list`: which account programs log on with, and where.

use std::io::{self, Write as _};

use clap::Args;
use gss_ntlm::{
    cred::{Env, Usage, Wanted, check_user_file, configured_user_file},
    host::FileTime,
    name::{Name, UserName},
    policy::Whom,
    sys,
    text::Escaped,
};
use serde_json::json;

use crate::{Failure, Outcome, login, report::system_time};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// An account that a program may log on with.
struct Row {
    target: String,
    account: String,
    source: String,
    /// What until() makes of it, or the text for a time that is not known.
    until: String,
    used: &'static str,
}

/// What stands in place of a time.
const UNLIMITED: &str = "unlimited";
const YES: &str = "yes";
const IF_NAMED: &str = "if the program names it";
const OTHERWISE: &str = "for other servers";

pub(crate) fn run(Arguments { json }: &Arguments) -> Outcome {
    let env = sys::env_for(Whom::Initiator)?;
    let rows = rows(&env)?;
    let mut out = io::stdout().lock();
    if *json {
        let rows: Vec<_> = rows
            .iter()
            .map(|Row { target, account, source, until, used }| {
                // As an argument of login has it.
                let target = if target == login::ANY_SERVER { "*" } else { target };
                let until = Some(until).filter(|until| **until != UNLIMITED);
                json!({ "target": target, "account": account, "source": source, "until": until, "used": used })
            })
            .collect();
        writeln!(out, "{}", serde_json::Value::from(rows))?;
        return Ok(());
    }
    if rows.is_empty() {
        writeln!(out, "There is no account → gss-ntlm login")?;
        return Ok(());
    }
    let heads = ["TARGET", "ACCOUNT", "SOURCE", "UNTIL", "USED"].map(str::to_owned);
    let cells: Vec<_> = core::iter::once(heads)
        .chain(rows.into_iter().map(|row| [row.target, row.account, row.source, row.until, row.used.to_owned()]))
        .collect();
    let widths: [usize; 5] = core::array::from_fn(|at| {
        cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    for row in cells {
        let padded: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// The accounts in the order in which programs look for them.
fn rows(env: &Env<'_>) -> Result<Vec<Row>, Failure> {
    let mut rows = of_user_file(env)?;
    let has_file_account = rows.iter().any(|row| row.used == YES);
    let stored = Wanted::default().accounts(env);
    rows.extend(stored.iter().map(|one| Row {
        target: login::servers(&one.pattern),
        account: shown(one.name()),
        source: one.place.to_string(),
        until: until(one.until),
        used: if has_file_account { IF_NAMED } else { YES },
    }));
    // Only an account that can be named is asked for.
    let logon = login::own_account().ok().zip(env.domain).and_then(|(name, domain)| domain.find(&name, env).ok()?);
    if let Some(name) = logon {
        let used = match (has_file_account, stored.is_empty()) {
            (true, _) => IF_NAMED,
            (false, true) => YES,
            (false, false) => OTHERWISE,
        };
        let account = shown(&name);
        let target = login::ANY_SERVER.to_owned();
        rows.push(Row { target, account, source: "winbind".to_owned(), until: "not known".to_owned(), used });
    }
    Ok(rows)
}

/// The accounts of the user file, of which the first is for programs that name none.
fn of_user_file(env: &Env<'_>) -> Result<Vec<Row>, Failure> {
    let Some((path, _)) = configured_user_file(Usage::Initiate, env) else { return Ok(Vec::new()) };
    let mut is_first = true;
    let lines = check_user_file(&path, &env.policy)?.lines;
    let accounts =
        lines.into_iter().filter_map(|(number, line)| Some((number, line.ok().filter(|line| !line.is_disabled)?)));
    let rows = accounts.map(|(number, account)| Row {
        target: login::ANY_SERVER.to_owned(),
        account: shown(&account.name),
        source: Escaped(format!("{}:{number}", path.display())).to_string(),
        until: until(None),
        used: if core::mem::take(&mut is_first) { YES } else { IF_NAMED },
    });
    Ok(rows.collect())
}

fn shown(name: &UserName) -> String {
    Escaped(Name::User(name.clone())).to_string()
}

/// A time as people write it.
pub(crate) fn until(time: Option<FileTime>) -> String {
    let Some(time) = time else { return UNLIMITED.to_owned() };
    match system_time(time) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => "the end of time".to_owned(),
    }
}
