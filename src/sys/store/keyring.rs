//! The kernel's key retention service, keyrings(7).
//!
//! Each value is a key of type `user` in the persistent keyring of the user, or in the user keyring where the kernel has no
//! persistent ones. Only who possesses the key has permissions, and we possess it through a link from the keyring of this thread,
//! for as long as we look: what the program has in the keyring of its process stays.

use core::ffi::{CStr, c_long};
use std::{ffi::CString, io, time::Duration};

use crate::{
    bytes::{SecretBytes, reserve},
    cred::Refusal,
};

use super::{MAX_VALUE, MAX_VALUES, Values, no_memory, refused, user};

/// The keyring that has the keys of the user, linked to this thread until this is dropped.
pub(super) struct Keyring(c_long);

/// The number of a key.
type Key = i32;

/// What our keys' descriptions begin with.
const PREFIX: &str = "gss-ntlm:";
/// All that a possessor may do, and nothing for others.
const POSSESSOR_ONLY: c_long = 0x3f00_0000;
/// Which of the permissions are those of groups and others.
const NOT_THE_USERS: u32 = 0x0000_ffff;
/// The longest description, with the key's type, owners and permissions before it.
const MAX_DESCRIPTION: usize = 4096 + 64;

/// keyctl(2), with arguments that are numbers.
fn control(operation: u32, arguments: [c_long; 2]) -> io::Result<c_long> {
    let [first, second] = arguments;
    // SAFETY: the operations that are called so take numbers.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, c_long::from(operation), first, second) })
}

/// keyctl(2), for an operation that fills a buffer. Returns the length of what there is, which may be more.
fn read(operation: u32, key: c_long, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable and has that length.
    let read =
        unsafe { libc::syscall(libc::SYS_keyctl, c_long::from(operation), key, buffer.as_mut_ptr(), buffer.len()) };
    checked(read).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
}

fn checked(returned: c_long) -> io::Result<c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

const THREAD: c_long = -1;
const USER: c_long = -4;

impl Keyring {
    pub(super) fn open() -> Result<Self, Refusal> {
        let user = c_long::from(i32::from_ne_bytes(user().to_ne_bytes()));
        let persistent = control(libc::KEYCTL_GET_PERSISTENT, [user, THREAD]);
        let keyring = match &persistent {
            // Built without persistent keyrings.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                control(libc::KEYCTL_LINK, [USER, THREAD]).and_then(|_| control(libc::KEYCTL_GET_KEYRING_ID, [USER, 0]))
            }
            _ => persistent,
        };
        keyring.map(Self).map_err(|error| refused("the kernel refuses its keyrings", &error))
    }

    /// Our keys, and their names.
    fn keys(&self) -> Result<Vec<(Key, String)>, Refusal> {
        const SIZE: usize = size_of::<Key>();
        let mut buffer = vec![0; MAX_VALUES.saturating_mul(SIZE)];
        let len = read(libc::KEYCTL_READ, self.0, &mut buffer)
            .map_err(|error| refused("the keyring cannot be read", &error))?;
        buffer.truncate(len);
        let keys = buffer.as_chunks::<SIZE>().0.iter().map(|key| Key::from_ne_bytes(*key));
        // A key that is gone, expired or revoked has no name.
        Ok(keys.filter_map(|key| Some((key, own_name(key)?))).collect())
    }

    pub(super) fn values(&self) -> Values {
        let mut values = Vec::new();
        for (key, name) in self.keys()? {
            let mut value = SecretBytes::default();
            reserve(&mut value, MAX_VALUE).map_err(no_memory)?;
            value.resize(MAX_VALUE, 0);
            match read(libc::KEYCTL_READ, key.into(), &mut value) {
                Ok(len) if len <= MAX_VALUE => value.truncate(len),
                Ok(_) | Err(_) => continue,
            }
            values.push((name, value));
        }
        Ok(values)
    }

    pub(super) fn put(&self, name: &str, value: &[u8], lifetime: Option<Duration>) -> Result<(), Refusal> {
        let failed = |error: io::Error| refused("the kernel keeps no key", &error);
        let description = CString::new(format!("{PREFIX}{name}")).map_err(|error| failed(error.into()))?;
        // One with the rights or the time of another would be updated.
        let _ = self.remove(name)?;
        // SAFETY: type and description are C strings, and the value is readable.
        let key = unsafe {
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                description.as_ptr(),
                value.as_ptr(),
                value.len(),
                self.0,
            )
        };
        let key = checked(key).map_err(failed)?;
        let seconds = lifetime.map_or(0, |lifetime| c_long::try_from(lifetime.as_secs()).unwrap_or(c_long::MAX));
        control(libc::KEYCTL_SET_TIMEOUT, [key, seconds.min(u32::MAX.into())])
            .and_then(|_| control(libc::KEYCTL_SETPERM, [key, POSSESSOR_ONLY]))
            .inspect_err(|_| self.drop_key(key))
            .map_err(failed)?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool, Refusal> {
        let keys = self.keys()?.into_iter().filter(|(_, found)| found == name);
        Ok(keys.map(|(key, _)| self.drop_key(key.into())).count() > 0)
    }

    /// Unlinks a key, which other processes may still have a link to, and revokes it.
    fn drop_key(&self, key: c_long) {
        let _ = control(libc::KEYCTL_REVOKE, [key, 0]);
        let _ = control(libc::KEYCTL_UNLINK, [key, self.0]);
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = control(libc::KEYCTL_UNLINK, [self.0, THREAD]);
    }
}

/// The name of a key that is ours: of the right type, with our prefix, owned by the effective user, and out of the reach of others.
fn own_name(key: Key) -> Option<String> {
    let mut buffer = vec![0; MAX_DESCRIPTION];
    let len = read(libc::KEYCTL_DESCRIBE, key.into(), &mut buffer).ok()?;
    let description = CStr::from_bytes_with_nul(buffer.get(..len)?).ok()?.to_str().ok()?;
    let mut parts = description.splitn(5, ';');
    let (kind, owner, _group, rights, name) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_ours = kind == "user"
        && owner.parse() == Ok(user())
        && u32::from_str_radix(rights, 16).is_ok_and(|rights| rights & NOT_THE_USERS == 0);
    name.strip_prefix(PREFIX).filter(|_| is_ours).map(str::to_owned)
}
