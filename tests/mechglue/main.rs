//! The mechanism as programs see it: through libgssapi's mechglue, which loads the built plugin.
//!
//! GSSNTLM_PLUGIN names another plugin to test, such as the installed one. This crate must never name the crate under test
//! (`common` says why).
#![expect(unsafe_code, reason = "libgssapi is C")]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a test that meets the unexpected stops there"
)]

#[path = "../common/mod.rs"]
mod common;

mod anonymous;
mod attribute;
mod bad_input;
mod context;
mod credential;
mod datagram;
mod deferred;
mod dialect;
mod elsewhere;
mod forged;
mod fork;
mod handshake;
mod iov;
mod iov_misuse;
mod lengths;
mod level;
mod localname;
mod malformed;
mod message;
mod misuse;
mod name;
mod offer;
mod old_session;
mod planted;
mod policy;
mod policy_file;
mod random;
mod secrecy;
mod set_user_id;
mod spnego;
mod store;
mod thread;
mod trace;
mod user_file;
mod working_directory;
