//! The program that is looked at: its environment, its user, its libraries.

use core::fmt;
use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use gss_ntlm::{
    error::Result,
    host::{FileTime, Host, LocalNames},
    name::Name,
    policy::{BindingsPolicy, Policy, PolicyFiles, Traffic, Whom},
    sys::{self, System},
};
use nix::{fcntl::OFlag, unistd::AccessFlags};

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
    /// Whether it has mounts of its own.
    pub(super) has_own_files: bool,
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
            variables: std::env::vars_os().map(|(name, value)| (lossy(&name), lossy(&value))).collect(),
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
            has_own_files: fs::read_link(format!("/proc/{pid}/ns/mnt")).ok() != fs::read_link("/proc/self/ns/mnt").ok(),
            ..Self::with_status(&String::from_utf8_lossy(&read("status")?))
        })
    }

    pub(super) fn of_unit(unit: &str) -> core::result::Result<Self, Failure> {
        let shown = Command::new("systemctl").args(["show", "--property=MainPID", "--value", "--", unit]).output();
        let shown = shown.map_err(|error| Failure::Impossible(format!("systemctl cannot be run: {error}")))?;
        if !shown.status.success() {
            return Err(Failure::Impossible(format!("systemctl: {}", String::from_utf8_lossy(&shown.stderr).trim())));
        }
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
        Self {
            pid: None,
            name: String::new(),
            variables: Vec::new(),
            user,
            groups,
            maps: String::new(),
            has_own_files: false,
        }
    }

    pub(super) const fn has_user(&self, user: u32) -> bool {
        self.user == user
    }

    /// Whether it has the user of this command.
    pub(super) fn is_own_user(&self) -> bool {
        self.user == Self::own_user()
    }

    /// Whether it finds the same stored credentials as this command.
    pub(super) fn has_our_store(&self) -> bool {
        self.is_own_user() && System.variable("XDG_RUNTIME_DIR").as_deref() == self.raw("XDG_RUNTIME_DIR")
    }

    fn own_user() -> u32 {
        fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
    }

    /// The variable, if it is set and not empty.
    pub(super) fn set(&self, name: &str) -> Option<&str> {
        let (_, value) = self.variables.iter().find(|(known, value)| known == name && !value.is_empty())?;
        Some(value)
    }

    /// The variable, if it is set, even if it is empty.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Where this command finds what the program finds at `path`.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        match self.pid {
            Some(pid) if path.is_relative() => Path::new(&format!("/proc/{pid}/cwd")).join(path),
            Some(pid) if self.has_own_files => {
                Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path))
            }
            Some(_) | None => path.to_owned(),
        }
    }

    /// What is in the file that the program finds at `path`: a regular file, of which so many bytes are read at most.
    pub(super) fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        // A FIFO would wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.path(path))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut text = Vec::new();
        file.take(most).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Whether it may do something with what it finds at `path`.
    pub(super) fn may(&self, path: &Path, wanted: AccessFlags) -> bool {
        let path = self.path(path);
        if self.is_own_user() {
            return nix::unistd::access(&path, wanted).is_ok();
        }
        // Only root gets here: as that user, with its groups.
        let groups: Vec<_> = self.groups.iter().map(ToString::to_string).collect();
        let group = self.groups.last().copied().unwrap_or(self.user);
        let test = if wanted.contains(AccessFlags::W_OK) {
            "-w"
        } else if wanted.contains(AccessFlags::R_OK) {
            "-r"
        } else {
            "-x"
        };
        let [user, group] = [format!("--reuid={}", self.user), format!("--regid={group}")];
        let groups = format!("--groups={}", groups.join(","));
        let done = Command::new("setpriv").args([&*user, &group, &groups, "test", test]).arg(path).output();
        done.is_ok_and(|done| done.status.success())
    }

    /// Says which variables are set. The value of a name that is not ours may be anything, also a password.
    pub(super) fn examine_variables(&self, findings: &mut Findings) -> Done {
        let is_ours = |name: &str| OTHERS.contains(&name) || PolicyFiles::known_variables().any(|known| known == name);
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
        let variables = self.policy_variables();
        if self.has_own_files {
            findings.note(
                format_args!("{self} has a file system of its own, and the policy file there is not looked at"),
                "run gss-ntlm policy there",
            )?;
        }
        let whom = if target.is_some() { Whom::InitiatorTo(target) } else { Whom::Initiator };
        let mut said = Vec::new();
        // Each variable by itself, then all of them: one mistake must not hide another.
        let each = variables.iter().map(|variable| vec![variable.clone()]);
        for variables in each.chain([variables.clone()]) {
            // What is wrong with servers only is wrong, too.
            for whom in [whom, Whom::Acceptor(None)] {
                if let Err(error) = sys::policy_for(whom, variables.clone())
                    && !said.contains(&error)
                {
                    findings.error(&error)?;
                    said.push(error);
                }
            }
        }
        let Ok(policy) = sys::policy_for(whom, variables.clone()) else { return Ok(None) };
        if !said.is_empty() {
            return Ok(None);
        }
        for denied in [policy.ensure_outgoing(target), policy.ensure_inside_spnego(target)] {
            if let Err(error) = denied {
                if target.is_some() {
                    findings.error(&error)?;
                } else {
                    findings.note(&error, "give --target, for which another section may allow it")?;
                }
            }
        }
        findings.ok("the policy has no mistake (gss-ntlm policy shows it)")?;
        Ok(Some(policy))
    }

    /// The variables that make a policy.
    fn policy_variables(&self) -> Vec<(String, String)> {
        let counts = |name: &str| {
            PolicyFiles::VARIABLES.iter().any(|prefix| match prefix.strip_suffix('=') {
                Some(whole) => name == whole,
                None => name.starts_with(prefix),
            })
        };
        self.variables.iter().filter(|(name, _)| counts(name)).cloned().collect()
    }

    /// The policy for a server, unless something is wrong with it.
    pub(super) fn server_policy(&self) -> Option<Policy> {
        sys::policy_for(Whom::Acceptor(None), self.policy_variables()).ok()
    }

    /// Whether the policy lets a client and a server of this program talk to each other.
    pub(super) fn may_test(&self, policy: &Policy) -> bool {
        self.server_policy().is_some_and(|server| {
            policy.outgoing != Traffic::Deny
                && policy.inside_spnego != Traffic::Deny
                && server.incoming != Traffic::Deny
                && server.channel_bindings != BindingsPolicy::Required
                && !server.require_mic
        })
    }
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
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
