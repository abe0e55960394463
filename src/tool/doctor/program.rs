//! The program that is looked at: its environment, its user, its libraries.

use core::fmt;
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use gss_ntlm::{
    error::Result,
    host::{FileTime, Host, LocalNames},
    name::Name,
    policy::{Policy, PolicyFiles, Whom},
    sys::{self, System},
};

use super::{Done, Findings};
use crate::Failure;

/// A program. As a [`Host`] it has the variables of its own environment.
pub(super) struct Program {
    /// Its number, unless it is this command itself, which stands for what is started from here.
    pub(super) pid: Option<u32>,
    name: String,
    variables: Vec<(String, String)>,
    user: u32,
    groups: Vec<u32>,
    /// What is mapped into its memory.
    pub(super) maps: String,
}

/// Variables of ours that do not begin with [`PolicyFiles::VARIABLES`].
const OTHERS: [&str; 7] = [
    "NTLM_USER_FILE",
    "NETBIOS_COMPUTER_NAME",
    "NETBIOS_DOMAIN_NAME",
    "GSSNTLMSSP_DEBUG",
    "GSS_MECH_CONFIG",
    "NTLMUSER",
    "CREDENTIALS_DIRECTORY",
];

impl Program {
    /// What a program would be that is started from here.
    pub(super) fn own() -> Self {
        let read = |file: &str| fs::read(format!("/proc/self/{file}")).unwrap_or_default();
        Self {
            pid: None,
            name: "a program that is started from here".to_owned(),
            variables: variables(&read("environ")),
            maps: String::from_utf8_lossy(&read("maps")).into_owned(),
            ..Self::with_status(&String::from_utf8_lossy(&read("status")))
        }
    }

    pub(super) fn of_process(pid: u32) -> core::result::Result<Self, Failure> {
        let read = |file: &str| {
            fs::read(format!("/proc/{pid}/{file}")).map_err(|error| {
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                let cure = if is_gone { "there is no such process" } else { "run this as its user, or as root" };
                Failure::Impossible(format!("process {pid} cannot be looked at: {cure}"))
            })
        };
        let environment = read("environ")?;
        let name = String::from_utf8_lossy(&read("comm")?).trim().to_owned();
        Ok(Self {
            pid: Some(pid),
            name: format!("process {pid} ({name})"),
            variables: variables(&environment),
            maps: String::from_utf8_lossy(&read("maps")?).into_owned(),
            ..Self::with_status(&String::from_utf8_lossy(&read("status")?))
        })
    }

    pub(super) fn of_unit(unit: &str) -> core::result::Result<Self, Failure> {
        let shown = Command::new("systemctl").args(["show", "--property=MainPID", "--value", "--", unit]).output();
        let shown = shown.map_err(|error| Failure::Impossible(format!("systemctl cannot be run: {error}")))?;
        match String::from_utf8_lossy(&shown.stdout).trim().parse() {
            Ok(pid) if pid > 0_u32 => Self::of_process(pid),
            Ok(_) | Err(_) => Err(Failure::Impossible(format!(
                "the unit {unit} does not run: start it (systemctl start {unit}), or correct its name"
            ))),
        }
    }

    /// The user and the groups that /proc/PID/status says.
    fn with_status(status: &str) -> Self {
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.into_iter().flat_map(str::split_ascii_whitespace).filter_map(|number| number.parse().ok()).collect()
        };
        // Real, effective, saved, file system.
        let effective = |key| numbers(key).get(1).copied();
        let mut groups = numbers("Groups:");
        groups.extend(effective("Gid:"));
        let user = effective("Uid:").unwrap_or(u32::MAX);
        Self { pid: None, name: String::new(), variables: Vec::new(), user, groups, maps: String::new() }
    }

    /// Whether it has the user of this command.
    pub(super) fn is_own_user(&self) -> bool {
        self.user == Self::own_user()
    }

    fn own_user() -> u32 {
        fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
    }

    /// The variable, if it is set and not empty.
    pub(super) fn set(&self, name: &str) -> Option<&str> {
        let (_, value) = self.variables.iter().find(|(known, value)| known == name && !value.is_empty())?;
        Some(value)
    }

    /// Whether it may do something with what is at that path: 4 is read, 2 write, 1 search or execute. Access control lists and
    /// security modules are not looked at.
    pub(super) fn may(&self, path: &Path, wanted: u32) -> bool {
        let has = |path: &Path, wanted: u32| {
            fs::metadata(path).is_ok_and(|found| {
                let shift = match found.uid() {
                    _ if self.user == 0 => return true,
                    owner if owner == self.user => 6,
                    _ if self.groups.contains(&found.gid()) => 3,
                    _ => 0_u32,
                };
                (found.mode() >> shift) & wanted == wanted
            })
        };
        has(path, wanted)
            && path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).all(|parent| has(parent, 1))
    }

    /// Says which variables are set.
    pub(super) fn examine_variables(&self, findings: &mut Findings) -> Done {
        let is_ours = |name: &str| OTHERS.contains(&name) || name == "LM_COMPAT_LEVEL" || name.starts_with("GSS_NTLM_");
        let ours: Vec<_> = self.variables.iter().filter(|(name, value)| is_ours(name) && !value.is_empty()).collect();
        if ours.is_empty() {
            return findings.ok(format_args!("{self} has no variable that concerns NTLM"));
        }
        for (name, value) in ours {
            findings.ok(format_args!("{self} has {name}={value}"))?;
        }
        Ok(())
    }

    /// The policy for a client of that target, unless something is wrong with it.
    pub(super) fn examine_policy(&self, target: Option<&Name>, findings: &mut Findings) -> io::Result<Option<Policy>> {
        let own = |prefix: &str, name: &str| name.starts_with(prefix.trim_end_matches('='));
        let variables: Vec<_> = self
            .variables
            .iter()
            .filter(|(name, _)| PolicyFiles::VARIABLES.iter().any(|prefix| own(prefix, name)))
            .cloned()
            .collect();
        let whom = if target.is_some() { Whom::InitiatorTo(target) } else { Whom::Initiator };
        // What is wrong with servers only is wrong, too.
        let of_server = sys::policy_for(Whom::Acceptor(None), variables.clone());
        match sys::policy_for(whom, variables).and_then(|policy| of_server.map(|_| policy)) {
            Ok(policy) => {
                for denied in [policy.ensure_outgoing(target), policy.ensure_inside_spnego(target)] {
                    if let Err(error) = denied {
                        findings.error(&error)?;
                    }
                }
                findings.ok("the policy has no mistake (gss-ntlm policy shows it)")?;
                Ok(Some(policy))
            }
            Err(error) => {
                findings.error(&error)?;
                Ok(None)
            }
        }
    }
}

/// The variables in a /proc/PID/environ.
fn variables(environment: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entries = environment.split(|byte| *byte == 0);
    let parts = entries.filter_map(|entry| Some((entry, entry.iter().position(|byte| *byte == b'=')?)));
    parts
        .filter_map(|(entry, at)| {
            let (name, value) = entry.split_at_checked(at)?;
            Some((text(name), text(value.get(1..)?)))
        })
        .collect()
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Host for Program {
    fn now(&self) -> FileTime {
        System.now()
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        System.random(out)
    }

    fn names(&self) -> LocalNames {
        let set = |name| self.set(name).map(str::to_owned);
        LocalNames { computer: set("NETBIOS_COMPUTER_NAME"), domain: set("NETBIOS_DOMAIN_NAME"), ..System.names() }
    }

    fn version(&self) -> [u8; 8] {
        System.version()
    }

    fn variable(&self, name: &'static str) -> Option<String> {
        self.set(name).map(str::to_owned)
    }

    fn trace(&self, _: fmt::Arguments<'_>) {}
}
