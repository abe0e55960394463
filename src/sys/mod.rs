//! The operating system: environment, clock, random bytes, names of the computer and its users, trace, log, and winbind.

#[cfg(feature = "mechglue")]
mod allocator;
mod descriptor;
mod environment;
mod fips;
mod latest;
mod log;
#[cfg(feature = "mechglue")]
mod malloced;
mod once_box;
mod policy_file;
mod random;
mod signal;
#[cfg(feature = "mechglue")]
mod spnego;
mod store;
mod thread;
mod trace;
mod winbind;

use std::{borrow::Cow, ffi::CStr, time::Duration};

#[cfg(feature = "mechglue")]
pub(crate) use self::{
    allocator::is_scarce as is_memory_scarce,
    malloced::Malloced,
    spnego::{is_probing as is_probing_spnego, note as note_spnego},
    trace::trace_to,
};
use self::{once_box::OnceBox, store::UserStore, winbind::Winbind};
use crate::{
    audit::{AuditEvent, Kind},
    bytes,
    cred::{DomainService, Env, Store},
    error::Result,
    host::{FileTime, Host, LocalNames},
    policy::{Policy, PolicyFiles, StorePolicy, Whom},
};

/// The host that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct System;

/// The [`Env`] of a call in which `whom` takes part. The C edge makes one for each call that needs it.
///
/// # Errors
/// As [`policy_for`].
#[inline(never)] // Its frame would be between the caller's and the secrets, for nothing.
pub fn env_for(whom: Whom<'_>) -> Result<Env<'static>> {
    policy_for(whom, environment::variables_with_prefix(PolicyFiles::VARIABLES)).map(env_with)
}

/// The policy for `whom` with these variables, which are those of the environment that begin with [`PolicyFiles::VARIABLES`].
///
/// # Errors
/// As [`PolicyFiles::policy`], those of a policy file that cannot be used, and [`Policy::ensure_fips`].
pub fn policy_for(whom: Whom<'_>, variables: Vec<(String, String)>) -> Result<Policy> {
    let additional = variables.iter().find(|(name, _)| name == PolicyFiles::ADDITIONAL).map(|(_, path)| &**path);
    let files = policy_file::in_force(additional.filter(|path| !path.is_empty()))?;
    let policy = files.policy(whom, variables)?;
    if fips::is_enabled() {
        policy.ensure_fips(&System)?;
    }
    Ok(policy)
}

/// Where a call with that policy runs.
#[must_use]
pub fn env_with(policy: Policy) -> Env<'static> {
    let domain: Option<&dyn DomainService> = if policy.winbind { Some(&Winbind) } else { None };
    let store: Option<&dyn Store> =
        if policy.store == StorePolicy::Off || environment::is_set_user_id() { None } else { Some(&UserStore) };
    Env { policy, host: &System, domain, store }
}

impl Host for System {
    fn now(&self) -> FileTime {
        #[expect(clippy::disallowed_methods, reason = "this is the Host's clock")]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        FileTime::from_unix(since.as_secs(), since.subsec_nanos())
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        random::fill(out)
    }

    fn names(&self) -> LocalNames {
        let set = |name| self.variable(name).filter(|value| !value.is_empty());
        LocalNames {
            computer: set("NETBIOS_COMPUTER_NAME"),
            domain: set("NETBIOS_DOMAIN_NAME"),
            host_name: Cow::Borrowed(host_name()),
        }
    }

    fn version(&self) -> [u8; 8] {
        // The product version of Windows 8.1, and NTLMSSP_REVISION_W2K3 (15), which is the only byte with a meaning.
        [6, 3, 0x80, 0x25, 0, 0, 0, 15]
    }

    fn variable(&self, name: &'static str) -> Option<String> {
        /// Longer than all of ours: every step of a handshake asks for some, and a `CString` would need memory.
        const LONGEST: usize = 64;
        let mut with_nul = [0; LONGEST];
        with_nul.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        environment::variable(CStr::from_bytes_until_nul(&with_nul).ok()?)
    }

    #[cfg(feature = "mechglue")]
    fn spnego_loses_mic(&self) -> bool {
        spnego::loses_mech_list_mic()
    }

    #[cfg(feature = "mechglue")]
    fn is_called_by_lossy_spnego(&self) -> bool {
        spnego::is_called_by_lossy_spnego()
    }

    #[cfg(feature = "mechglue")]
    fn is_called_by_spnego(&self) -> Option<bool> {
        spnego::is_called_by_spnego()
    }

    fn trace(&self, line: core::fmt::Arguments<'_>) {
        trace::write(self, line);
    }

    fn log(&self, line: core::fmt::Arguments<'_>) {
        log::write(line);
    }

    fn may_audit(&self, kind: Kind) -> bool {
        log::may_audit(kind)
    }

    fn audit(&self, event: &AuditEvent) {
        log::audit(event);
    }
}

/// The time by a clock that never goes back, a few milliseconds late. Asking costs no system call.
fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The account name of a user id, from the system's user database; `None` if the id has no account.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let mut buffer = Vec::new();
    bytes::reserve(&mut buffer, 16 * 1024).ok()?;
    buffer.resize(16 * 1024, 0_u8);
    // SAFETY: `passwd` consists of pointers, which may be null, and numbers, so zeros are a valid value.
    let mut entry: libc::passwd = unsafe { core::mem::zeroed() };
    let mut found = core::ptr::null_mut();
    // SAFETY: `entry`, `found` and the `buffer` of that length are writable.
    let failed =
        unsafe { libc::getpwuid_r(uid, &raw mut entry, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found) };
    if failed != 0 || found.is_null() || entry.pw_name.is_null() {
        return None;
    }
    // SAFETY: getpwuid_r has put a C string into `buffer`, which still lives.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    name.to_str().ok().map(str::to_owned)
}

/// The host name. The kernel is asked once per process.
pub(crate) fn host_name() -> &'static str {
    static NAME: OnceBox<String> = OnceBox::new();
    NAME.get_or_init(ask_for_host_name)
}

fn ask_for_host_name() -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer is writable, and one byte longer than we say: the last one stays NUL.
    let failed = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len().saturating_sub(1)) };
    let name = CStr::from_bytes_until_nul(&buffer).ok().filter(|_| failed == 0).and_then(|name| name.to_str().ok());
    name.filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}
