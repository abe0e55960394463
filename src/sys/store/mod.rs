//! The places where the user's credentials are stored.

mod keyring;
mod runtime;

use std::{io, time::Duration};

use crate::{
    bytes::SecretBytes,
    cred::{Place, Refusal, Store, StoreResult},
    error::{Error, Reason},
};

use self::{keyring::Keyring, runtime::Directory};

/// The stored credentials of the effective user.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserStore;

/// The longest value, in bytes.
const MAX_VALUE: usize = 8192;
/// The largest number of values that are read.
const MAX_VALUES: usize = 1000;

/// What is stored at a place, or why that place cannot be used.
type Values = StoreResult<Vec<(String, SecretBytes)>>;

impl Store for UserStore {
    fn values(&self, place: Place) -> Values {
        match place {
            Place::Keyring => Keyring::open()?.values(),
            Place::Runtime => Directory::of_user()?.values(),
        }
    }

    fn put(&self, place: Place, name: &str, value: &[u8], lifetime: Option<Duration>) -> StoreResult<()> {
        match place {
            Place::Keyring => Keyring::open()?.put(name, value, lifetime),
            Place::Runtime => Directory::of_user()?.put(name, value),
        }
    }

    fn remove(&self, place: Place, name: &str) -> StoreResult<bool> {
        match place {
            Place::Keyring => Keyring::open()?.remove(name),
            Place::Runtime => Directory::of_user()?.remove(name),
        }
    }
}

/// The refusal for an error of the operating system.
fn refused(what: &str, error: &io::Error) -> Refusal {
    Refusal(format!("{what}: {}", Reason(&error.to_string())))
}

/// The effective user.
fn user() -> u32 {
    // SAFETY: geteuid always succeeds.
    unsafe { libc::geteuid() }
}

fn no_memory(_: Error) -> Refusal {
    Refusal("there is not enough memory".to_owned())
}
