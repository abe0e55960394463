//! `gss-ntlm policy`.

use std::io::{self, Write as _};

use clap::Args;
use gss_ntlm::{
    host::Host as _,
    name::Name,
    policy::{Setting, Whom},
    sys::{self, System},
    text::Escaped,
};

use crate::Outcome;

#[derive(Args)]
pub(crate) struct Arguments {
    /// For a client of this service: service@host or SERVICE/host
    #[arg(long, value_name = "SPN", conflicts_with = "server", value_parser = crate::service)]
    target: Option<Name>,
    /// For a server, of this service if it is given
    #[arg(long, value_name = "SPN", num_args = 0..=1, default_missing_value = "")]
    server: Option<String>,
}

pub(crate) fn run(Arguments { target, server }: &Arguments) -> Outcome {
    let own = server
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(|text| Name::parse_service(text, "localhost"))
        .transpose()?;
    let whom = match (server, target) {
        (Some(_), _) => Whom::Acceptor(own.as_ref()),
        (None, Some(target)) => Whom::InitiatorTo(Some(target)),
        (None, None) => Whom::Initiator,
    };
    let policy = sys::env_for(whom)?.policy;
    let settings = policy.settings(whom, |name| System.variable(name).is_some_and(|value| !value.is_empty()));
    let mut out = io::stdout().lock();
    let width = |text: fn(&Setting) -> &str| settings.iter().map(|setting| text(setting).len()).max().unwrap_or(0);
    let (keys, values) = (width(|setting| setting.key), width(|setting| &setting.value));
    for Setting { key, value, by } in &settings {
        let by = Escaped(by.as_deref().unwrap_or("the default"));
        writeln!(out, "{key:keys$}  {:values$}  {by}", Escaped(value).to_string())?;
    }
    Ok(())
}
