//! What only the targets in `fuzz/` use, which build the crate with `--cfg fuzzing`.

use std::path::Path;

use crate::{error::Result, name::UserName};

use super::{Account, Env, UserFile};

/// The name of an entry, its NT hash and its LM hash, and whether it is disabled.
pub type Entry = (UserName, [Option<[u8; 16]>; 2], bool);

/// A user file that was not read from the disk.
pub struct ParsedUserFile(UserFile);

impl ParsedUserFile {
    /// What is in `text`.
    ///
    /// # Panics
    /// Without memory.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a fuzzer without memory ends")]
    pub fn parse(text: &[u8], env: &Env<'_>) -> Self {
        Self(UserFile::parse(text, Path::new("/users"), env).expect("there is memory"))
    }

    /// Its entries, in their order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0
            .entries()
            .iter()
            .map(|entry| {
                let hashes =
                    [Some(*entry.secret.nt_hash.expose()), entry.secret.lm_hash.as_ref().map(|hash| *hash.expose())];
                (entry.name.clone(), hashes, entry.is_disabled)
            })
            .collect()
    }

    /// The place of the entry that [`UserFile::entry`] finds.
    #[must_use]
    pub fn entry(&self, user: &str, domain: &str) -> Option<usize> {
        let found = self.0.entry(user, domain)?;
        self.0.entries().iter().position(|entry| core::ptr::eq(entry, found))
    }

    /// As [`UserFile::account_of`].
    ///
    /// # Errors
    /// As there.
    pub fn account_of(&self, name: Option<&UserName>) -> Result<Account> {
        self.0.account_of(name)
    }
}
