//! The host: clock, random bytes, names, environment, trace and log.
//!
//! Everything that can differ between two runs of a handshake comes from a [`Host`], so a test with a fixed host gets the
//! messages of [MS-NLMP] 4.2 byte for byte.

#![forbid(unsafe_code)]

use core::{fmt, time::Duration};
use std::borrow::Cow;

use crate::{
    audit::{AuditEvent, Kind},
    error::Result,
    text,
};

/// What the mechanism needs from the operating system.
pub trait Host: Send + Sync {
    /// The time.
    fn now(&self) -> FileTime;

    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// [`crate::error::HostError::Randomness`].
    fn random(&self, out: &mut [u8]) -> Result<()>;

    /// The names that this computer knows by itself. This never sends a request.
    fn names(&self) -> LocalNames;

    /// The VERSION of our messages, which is for debugging only ([MS-NLMP] 2.2.2.10).
    fn version(&self) -> [u8; 8];

    /// The value of an environment variable; `None` if it is not set or the process must not trust its environment.
    fn variable(&self, name: &'static str) -> Option<String>;

    /// Whether the SPNEGO of this process loses the mechListMIC (krb5 1.21.0 to 1.22.1 do).
    fn spnego_loses_mic(&self) -> bool {
        false
    }

    /// Whether this call came through an SPNEGO that loses the mechListMIC. If that is not known: whether it may have come so.
    fn is_called_by_lossy_spnego(&self) -> bool {
        false
    }

    /// Whether this call came through SPNEGO; `None` if that is not known.
    fn is_called_by_spnego(&self) -> Option<bool> {
        Some(false)
    }

    /// Writes one line to the trace, if the trace is on.
    ///
    /// Types that hold a secret do not implement `Display`, so no secret can be traced.
    fn trace(&self, line: fmt::Arguments<'_>);

    /// Writes one line to the system's log, for what an administrator must repair. The same line is logged once per process.
    /// Without a log nothing happens, and a busy log does not make the caller wait.
    fn log(&self, _line: fmt::Arguments<'_>) {}

    /// Whether there may be a line of that kind in the system's log now. If not, it is counted as dropped.
    fn may_audit(&self, _kind: Kind) -> bool {
        false
    }

    /// Writes a line about the end of a handshake to the system's log, after [`Host::may_audit`] has allowed it. It does not
    /// make the caller wait; a line that cannot be written is counted as dropped.
    fn audit(&self, _event: &AuditEvent) {}
}

/// The names that a computer knows by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalNames {
    /// NETBIOS_COMPUTER_NAME, if it is set.
    pub computer: Option<String>,
    /// NETBIOS_DOMAIN_NAME, if it is set.
    pub domain: Option<String>,
    /// The host name, as gethostname(2) gives it: fully qualified or not.
    pub host_name: Cow<'static, str>,
}

impl LocalNames {
    /// The NetBIOS name of the computer: NETBIOS_COMPUTER_NAME, else the first label of the host name in upper case, 15
    /// characters at most.
    #[must_use]
    pub fn net_bios_name(self) -> String {
        self.computer.unwrap_or_else(|| net_bios_name(&self.host_name))
    }
}

/// The first label of a host name in upper case, 15 characters at most.
fn net_bios_name(host_name: &str) -> String {
    text::upper(split(host_name).0).chars().take(15).collect()
}

/// The first label of a host name, and the rest, which may be empty.
fn split(host_name: &str) -> (&str, &str) {
    let (label, domain) = host_name.split_once('.').unwrap_or((host_name, ""));
    (if label.is_empty() { "localhost" } else { label }, domain)
}

/// What a domain calls a computer that is its member. For a computer that is in no domain, winbind gives the computer's name
/// as that of the domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// NetBIOS name of the computer.
    pub computer: String,
    /// NetBIOS name of the domain.
    pub domain: String,
    /// DNS name of the domain; may be empty.
    pub dns_domain: String,
}

/// The names that an acceptor shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames {
    /// NetBIOS name of the computer: NETBIOS_COMPUTER_NAME, else the name from winbind, else the first label of the host name.
    pub computer: String,
    /// NetBIOS name of the domain: NETBIOS_DOMAIN_NAME, else the name from winbind, else that of the computer, as on a
    /// standalone Windows.
    pub domain: String,
    /// Whether `domain` is a domain: NETBIOS_DOMAIN_NAME is set, or the computer is a member of a domain.
    pub has_domain: bool,
    /// Whether winbind says that the computer is a member of `domain`.
    pub is_member: bool,
    /// Fully qualified name of the computer, or empty.
    pub dns_computer: String,
    /// DNS name of the domain: the one from winbind, else the domain part of `dns_computer`; may be empty.
    pub dns_domain: String,
    /// DNS name of the forest that the domain is in; empty where there is no domain, or no domain controller says.
    pub dns_tree: String,
}

impl HostNames {
    /// The names of a computer that knows `local` by itself, and that a domain calls `membership`. What the administrator has
    /// set wins.
    #[must_use]
    pub fn new(local: LocalNames, membership: Option<&Membership>) -> Self {
        let LocalNames { computer, domain, host_name } = local;
        let (label, own_domain) = split(&host_name);
        let is_member = domain.is_none() && membership.is_some_and(|names| names.domain != names.computer);
        let has_domain = domain.is_some() || is_member;
        let computer = computer.or_else(|| membership.map(|names| names.computer.clone()));
        let computer = computer.unwrap_or_else(|| net_bios_name(&host_name));
        let domain = domain.or_else(|| membership.map(|names| names.domain.clone()));
        let domain = domain.unwrap_or_else(|| computer.clone());
        let (dns_computer, dns_domain) = match membership.filter(|_| is_member).map(|names| &names.dns_domain) {
            Some(dns_domain) if own_domain.is_empty() && !dns_domain.is_empty() => {
                (format!("{label}.{dns_domain}"), dns_domain.clone())
            }
            dns_domain => {
                let dns_domain = dns_domain.cloned().unwrap_or_else(|| own_domain.to_owned());
                (host_name.into_owned(), dns_domain)
            }
        };
        Self { computer, domain, has_domain, is_member, dns_computer, dns_domain, dns_tree: String::new() }
    }
}

/// A FILETIME: units of 100 nanoseconds since 1601-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime(pub u64);

impl FileTime {
    const UNITS_PER_SECOND: u64 = 10_000_000;
    /// 1970-01-01 in seconds since 1601-01-01.
    const UNIX_EPOCH: u64 = 11_644_473_600;

    /// The time `seconds` and `nanoseconds` after 1970-01-01 UTC, rounded down to 100 nanoseconds.
    #[must_use]
    pub fn from_unix(seconds: u64, nanoseconds: u32) -> Self {
        let whole = seconds.saturating_add(Self::UNIX_EPOCH).saturating_mul(Self::UNITS_PER_SECOND);
        Self(whole.saturating_add(u64::from(nanoseconds.div_euclid(100))))
    }

    /// The bytes in a message.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The time that these bytes of a message mean.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The time from `earlier` to `self`; `None` if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let units = self.0.checked_sub(earlier.0)?;
        let nanoseconds = units.rem_euclid(Self::UNITS_PER_SECOND).saturating_mul(100);
        let rest = Duration::from_nanos(nanoseconds);
        Some(Duration::from_secs(units.div_euclid(Self::UNITS_PER_SECOND)).saturating_add(rest))
    }

    /// The time `later` after this one.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let units = later.as_nanos().div_euclid(100);
        Self(self.0.saturating_add(u64::try_from(units).unwrap_or(u64::MAX)))
    }

    /// Whether `self` and `other` are at most `hours` apart.
    #[must_use]
    pub fn is_within(self, hours: u32, other: Self) -> bool {
        let hour = Self::UNITS_PER_SECOND.saturating_mul(3600);
        self.0.abs_diff(other.0) <= u64::from(hours).saturating_mul(hour)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A host with the time, the user file and the user that a test sets. It keeps its trace and its log.
    pub(crate) struct Silent {
        pub(crate) unix_seconds: u64,
        pub(crate) host_name: &'static str,
        pub(crate) user_file: Option<String>,
        pub(crate) user: Option<String>,
        pub(crate) traced: Mutex<Vec<String>>,
        pub(crate) logged: Mutex<Vec<String>>,
    }

    impl Default for Silent {
        fn default() -> Self {
            Self {
                unix_seconds: 0,
                host_name: "host",
                user_file: None,
                user: None,
                traced: Mutex::default(),
                logged: Mutex::default(),
            }
        }
    }

    impl Host for Silent {
        fn now(&self) -> FileTime {
            FileTime::from_unix(self.unix_seconds, 0)
        }

        fn random(&self, out: &mut [u8]) -> Result<()> {
            out.fill(0xaa);
            Ok(())
        }

        fn names(&self) -> LocalNames {
            LocalNames { host_name: self.host_name.into(), ..LocalNames::default() }
        }

        fn version(&self) -> [u8; 8] {
            [0; 8]
        }

        fn variable(&self, name: &'static str) -> Option<String> {
            match name {
                "NTLM_USER_FILE" => self.user_file.clone(),
                "USER" => self.user.clone(),
                _ => None,
            }
        }

        fn trace(&self, line: fmt::Arguments<'_>) {
            self.traced.try_lock().unwrap().push(line.to_string());
        }

        fn log(&self, line: fmt::Arguments<'_>) {
            self.logged.try_lock().unwrap().push(line.to_string());
        }
    }

    #[test]
    fn a_difference_of_exactly_the_limit_is_within_it() {
        let now = FileTime::from_unix(1_700_000_000, 0);
        assert!(FileTime::from_unix(1_700_000_000 + 36 * 3600, 0).is_within(36, now));
        assert!(!FileTime::from_unix(1_700_000_001 + 36 * 3600, 0).is_within(36, now));
        assert!(now.is_within(36, FileTime::from_unix(1_700_000_000 - 36 * 3600, 0)));
    }
}
