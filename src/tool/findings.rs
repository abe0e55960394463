//! What the command finds: each finding is a line that begins with ok, note or WRONG and, where there is something to do, says that
//! after an arrow.

use core::fmt;
use std::io::{self, Write as _};

use gss_ntlm::text::Escaped;

use crate::{Failure, Outcome};

/// Writes the findings, and remembers whether one was bad.
#[derive(Default)]
pub(crate) struct Findings {
    is_wrong: bool,
}

/// The result of one examination; an error is that of writing.
pub(crate) type Done = io::Result<()>;

impl Findings {
    pub(crate) fn ok(&self, what: impl fmt::Display) -> Done {
        writeln!(io::stdout().lock(), "ok: {}", Escaped(what))
    }

    pub(crate) fn note(&self, what: impl fmt::Display, cure: &str) -> Done {
        writeln!(io::stdout().lock(), "note: {} → {}", Escaped(what), Escaped(cure))
    }

    pub(crate) fn wrong(&mut self, what: impl fmt::Display, cure: &str) -> Done {
        self.is_wrong = true;
        writeln!(io::stdout().lock(), "WRONG: {} → {}", Escaped(what), Escaped(cure))
    }

    /// An error of the mechanism, whose sentence says what went wrong, and after a colon or a semicolon what to do.
    pub(crate) fn error(&mut self, error: &gss_ntlm::error::Error) -> Done {
        let said = error.to_string();
        match said.rsplit_once("; ").or_else(|| said.split_once(": ")) {
            Some((what, cure)) => self.wrong(what, cure),
            None => self.wrong(&said, "correct it, or remove it"),
        }
    }

    /// The outcome of the command.
    pub(crate) const fn outcome(&self) -> Outcome {
        if self.is_wrong { Err(Failure::Wrong) } else { Ok(()) }
    }
}
