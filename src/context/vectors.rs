//! What only `tests/vectors` and unit tests use.

use crate::session::Role;

use super::{Context, ExpectAuthenticate, State};

impl Context {
    /// An acceptor's context after the two messages were exchanged, to replay a recorded handshake.
    #[must_use]
    pub const fn resume(state: ExpectAuthenticate) -> Self {
        Self { role: Role::Acceptor, state: State::ExpectAuthenticate(state) }
    }
}
