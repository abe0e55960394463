//! The places where the user's credentials are stored.

mod keyring;
mod runtime;

use std::{io, time::Duration};

use crate::{
    bytes::SecretBytes,
    cred::{Place, Refusal, Store, StoreResult},
    error::{Error, Reason},
};

use self::runtime::Directory;

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
            Place::Keyring => keyring::values(),
            Place::Runtime => Directory::of_user().map_or_else(|| Ok(Vec::new()), |directory| directory?.values()),
        }
    }

    fn names(&self, place: Place) -> StoreResult<Vec<String>> {
        match place {
            Place::Keyring => keyring::names(),
            Place::Runtime => Directory::of_user().map_or_else(|| Ok(Vec::new()), |directory| directory?.names()),
        }
    }

    fn put(&self, place: Place, name: &str, value: &[u8], lifetime: Option<Duration>) -> StoreResult<()> {
        match place {
            Place::Keyring => keyring::put(name, value, lifetime),
            Place::Runtime => Directory::of_user()
                .unwrap_or_else(|| Err(Refusal("XDG_RUNTIME_DIR is not set".to_owned())))?
                .put(name, value),
        }
    }

    fn remove(&self, place: Place, name: &str) -> StoreResult<bool> {
        match place {
            Place::Keyring => keyring::remove(name),
            Place::Runtime => Directory::of_user().map_or(Ok(false), |directory| directory?.remove(name)),
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
