//! The kernel's key retention service, keyrings(7).
//!
//! Each value is a key of type `user` in the persistent keyring of the user, or in the user keyring where the kernel has no
//! persistent ones. Only who possesses the key has permissions. We possess it through a link from the keyring of a thread that lives
//! for one call: a link from that of the process would be in the way of what the program has there, and a keyring of one of its
//! threads would be made for each later one, too, and count against the user's quota.

use core::ffi::{CStr, c_long};
use std::{ffi::CString, io, sync::mpsc, time::Duration};

use crate::{
    bytes::{SecretBytes, reserve},
    cred::{Refusal, StoreResult},
    sys::thread,
};

use super::{MAX_VALUE, MAX_VALUES, Values, no_memory, refused, user};

/// The keyring that has the keys of the user, linked to that of this thread.
struct Keyring(c_long);

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
/// How long the kernel may take. It never waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

const THREAD: c_long = -1;
const USER: c_long = -4;

pub(super) fn values() -> Values {
    in_thread(Keyring::values)
}

/// The names of all our keys, also of those that do not count.
pub(super) fn names() -> StoreResult<Vec<String>> {
    in_thread(|keyring| Ok(keyring.keys()?.into_iter().map(|found| found.name).collect()))
}

pub(super) fn put(name: &str, value: &[u8], lifetime: Option<Duration>) -> StoreResult<()> {
    let (name, mut copy) = (name.to_owned(), SecretBytes::default());
    reserve(&mut copy, value.len()).map_err(no_memory)?;
    copy.extend_from_slice(value);
    in_thread(move |keyring| keyring.put(&name, &copy, lifetime))
}

pub(super) fn remove(name: &str) -> StoreResult<bool> {
    let name = name.to_owned();
    in_thread(move |keyring| keyring.remove(&name))
}

/// Does something with the keyring in a thread of its own.
fn in_thread<T: Send + 'static>(work: impl FnOnce(&Keyring) -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let _ = sender.send(Keyring::open().and_then(|keyring| work(&keyring)));
    };
    thread::start(Box::new(work)).map_err(|error| Refusal(error.to_string()))?;
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(Refusal("the kernel does not answer".to_owned())))
}

/// keyctl(2), with arguments that are numbers.
fn control(operation: u32, arguments: [c_long; 2]) -> io::Result<c_long> {
    let [first, second] = arguments;
    // SAFETY: the operations that are called so take numbers.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, operation, first, second) })
}

/// keyctl(2), for an operation that fills a buffer. Returns the length of what there is, which may be more.
fn read(operation: u32, key: c_long, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable and has that length.
    let read = unsafe { libc::syscall(libc::SYS_keyctl, operation, key, buffer.as_mut_ptr(), buffer.len()) };
    checked(read).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
}

fn checked(returned: c_long) -> io::Result<c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// One of our keys.
struct Found {
    key: Key,
    name: String,
    /// Whether only its possessor and its owner, the effective user, have permissions.
    is_private: bool,
}

impl Keyring {
    fn open() -> StoreResult<Self> {
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

    /// The keys of the effective user that have our prefix.
    fn keys(&self) -> StoreResult<Vec<Found>> {
        const SIZE: usize = size_of::<Key>();
        let mut buffer = vec![0; MAX_VALUES.saturating_mul(SIZE)];
        let len = read(libc::KEYCTL_READ, self.0, &mut buffer)
            .map_err(|error| refused("the keyring cannot be read", &error))?;
        if len > buffer.len() {
            // Then the kernel gives none.
            return Err(Refusal(format!("the keyring has more than {MAX_VALUES} keys")));
        }
        buffer.truncate(len);
        let keys = buffer.as_chunks::<SIZE>().0.iter().map(|key| Key::from_ne_bytes(*key));
        // A key that is gone, expired or revoked cannot be described.
        Ok(keys.filter_map(Found::describe).collect())
    }

    fn values(&self) -> Values {
        let mut values = Vec::new();
        for Found { key, name, .. } in self.keys()?.into_iter().filter(|found| found.is_private) {
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

    /// The key is complete before it takes the place of the one with that name: a failure changes nothing, and nobody else's key
    /// gets the value.
    fn put(&self, name: &str, value: &[u8], lifetime: Option<Duration>) -> StoreResult<()> {
        let failed = |error: io::Error| refused("the kernel keeps no key", &error);
        let description = CString::new(format!("{PREFIX}{name}")).map_err(|error| failed(error.into()))?;
        // SAFETY: type and description are C strings, and the value is readable.
        let key = unsafe {
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                description.as_ptr(),
                value.as_ptr(),
                value.len(),
                THREAD,
            )
        };
        let key = checked(key).map_err(failed)?;
        let seconds = lifetime.map_or(0, |lifetime| i32::try_from(lifetime.as_secs()).unwrap_or(i32::MAX));
        control(libc::KEYCTL_SET_TIMEOUT, [key, seconds.into()])
            .and_then(|_| control(libc::KEYCTL_SETPERM, [key, POSSESSOR_ONLY]))
            .and_then(|_| control(libc::KEYCTL_LINK, [key, self.0]))
            .map_err(failed)?;
        Ok(())
    }

    fn remove(&self, name: &str) -> StoreResult<bool> {
        let mut is_found = false;
        for Found { key, .. } in self.keys()?.into_iter().filter(|found| found.name == name) {
            // Other processes may have a link to it. One that we may not revoke is unlinked all the same.
            let _ = control(libc::KEYCTL_REVOKE, [key.into(), 0]);
            control(libc::KEYCTL_UNLINK, [key.into(), self.0])
                .map_err(|error| refused("the kernel keeps the key", &error))?;
            is_found = true;
        }
        Ok(is_found)
    }
}

impl Found {
    /// What the kernel says of a key; `None` if it is not one of ours.
    fn describe(key: Key) -> Option<Self> {
        let mut buffer = vec![0; MAX_DESCRIPTION];
        let len = read(libc::KEYCTL_DESCRIBE, key.into(), &mut buffer).ok()?;
        let description = CStr::from_bytes_with_nul(buffer.get(..len)?).ok()?.to_str().ok()?;
        let mut parts = description.splitn(5, ';');
        let (kind, owner, _group, rights, name) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_private = u32::from_str_radix(rights, 16).is_ok_and(|rights| rights & NOT_THE_USERS == 0);
        let name = name.strip_prefix(PREFIX).filter(|_| kind == "user" && owner.parse() == Ok(user()))?;
        Some(Self { key, name: name.to_owned(), is_private })
    }
}
