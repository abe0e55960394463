//! `gss-ntlm doctor`: looks at each thing that NTLM needs, and says what to do where one is wrong.
//!
//! Each finding is one line. It never has a secret.

mod accounts;
mod program;
mod registration;
mod system;

use clap::Args;
use gss_ntlm::{name::Name, policy::Policy, sys};

use crate::{
    Outcome,
    findings::{Done, Findings},
};

use self::program::Program;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Look at what this process has: its environment, its user, the libraries in it
    #[arg(long, value_name = "NUMBER", conflicts_with = "unit")]
    pid: Option<u32>,
    /// Look at the main process of this unit of systemd
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// Say which account a client uses for this service, service@host
    #[arg(long, value_name = "SPN", value_parser = crate::service)]
    target: Option<Name>,
}

pub(crate) fn run(Arguments { pid, unit, target }: &Arguments) -> Outcome {
    let program = match (pid, unit) {
        (Some(pid), _) => Program::of_process(*pid)?,
        (None, Some(unit)) => Program::of_unit(unit)?,
        (None, None) => Program::own(),
    };
    let mut findings = Findings::default();
    program.examine_variables(&mut findings)?;
    let policy = program.examine_policy(target.as_ref(), &mut findings)?;
    registration::examine(&program, policy.as_ref(), target.as_ref(), &mut findings)?;
    // With a mistake in it there is no policy: what else there is to say is said of the default one.
    examine_rest(&program, policy.unwrap_or_default(), target.as_ref(), &mut findings)?;
    findings.outcome()
}

fn examine_rest(program: &Program, policy: Policy, target: Option<&Name>, findings: &mut Findings) -> Done {
    let mut env = sys::env_with(policy);
    env.host = program;
    if !program.has_our_store() {
        env.store = None;
    }
    accounts::examine(program, &env, target, findings)?;
    system::examine(program, findings)
}
