//! The NTLM mechanism of GSS-API for MIT krb5, in Rust: [MS-NLMP] behind the mechglue's SPI.
//!
//! As a `cdylib` this is the plugin that `mech.d/zz-gss-ntlm.conf` registers. As an `rlib` without the feature `mechglue` it is
//! the core alone, for vectors, fuzzing and benchmarks: no libgssapi, no exported symbol.
//!
//! # The map
//!
//! | room | owns | may import |
//! | --- | --- | --- |
//! | [`error`], [`bytes`], [`text`] | what goes wrong, by whose fault; bytes read and framed; strings as the protocol means them | each other |
//! | [`audit`] | what the system's log is told about a handshake: data, names of events and fields | the above |
//! | [`host`] | `trait Host`: clock, randomness, names, environment, trace, log | the above |
//! | [`name`] | users and services | the above |
//! | [`policy`] | what is allowed: data and decisions, no I/O | the above |
//! | [`wire`] | [MS-NLMP] 2.2: bytes to structs and back. No key, no policy, no clock | `error`, `bytes`, `text` |
//! | [`crypto`] | [MS-NLMP] 3.3, 3.4: bytes to keys. Knows no message. `unsafe` in `crypto::kernel` alone | `error`, `bytes`, `text` |
//! | [`cred`] | where secrets come from and where a user's are stored, what verifies a client, what a domain must be able to do; [`cred::Env`], where a call runs | all above but `wire` |
//! | [`session`] | after the handshake: both directions' keys, numbers and streams | `error`, `bytes`, `wire`, `crypto` |
//! | [`context`] | the handshake; the only translator between GSS words and MS-NLMP words | all above |
//! | [`sys`] | the operating system, winbind, which is the domain, and the places of stored credentials; `unsafe` allowed | all above but `wire`, `session`, `context` |
//! | `abi` | the C edge; `unsafe` in `abi::ptr` for nearly all; no protocol | `error`, `host`, `name`, `policy`, `cred`, `session`, `context`, `sys` |
//! | `tool` | the command `gss-ntlm`, a program of its own that is built without `mechglue` | `host`, `name`, `policy`, `wire`, `cred`, `sys` |
//!
//! Imports go down only, and nobody imports `abi`. `wire` and `crypto` do not know each other. What only `tests/vectors` uses of
//! a room is in its `vectors.rs`.
//!
//! # The way of one token
//!
//! The initiator's second call: CHALLENGE_MESSAGE in, AUTHENTICATE_MESSAGE out.
//!
//! 1. `abi::exports`: the row of the function. Its arguments become types of `abi::ptr`, which reads the inputs; the outputs are
//!    cleared. `abi::guard`: from here on a panic is a status, and the stack is wiped in the end. `abi::context` makes the request.
//! 2. [`context::Context::initiate`] takes the state out and leaves `Failed`: a context that fails stays failed.
//! 3. [`wire::Challenge::decode`]: signature, type, fields inside the message; then its AV_PAIRs, walked once.
//! 4. `context::flags`: what was offered and what came; the minimum is enforced.
//! 5. `context::initiator`: our AV_PAIRs added; `context::response`: the response and the keys, computed by [`crypto`]; then the
//!    message encoded.
//! 6. `context::transcript`: the MIC over the three messages, put in its place.
//! 7. [`session::Session::new`]: the key of both directions, whose own keys are made with their first messages. The state
//!    becomes `Established`.
//! 8. `abi::context`: the token copied to memory that the caller frees; flags and handle are put last.
//!
//! The acceptor's AUTHENTICATE_MESSAGE goes the same way up to 3; then `context::verify` makes the three proofs, without all
//! of which there is no established context.

#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "a test may overflow loudly"))]

#[cfg(not(target_os = "linux"))]
compile_error!("gss-ntlm is for Linux");

pub mod audit;
pub mod bytes;
pub mod context;
pub mod cred;
pub mod crypto;
pub mod error;
pub mod host;
pub mod name;
pub mod policy;
pub mod session;
pub mod text;
pub mod wire;

#[cfg(feature = "mechglue")]
#[expect(unsafe_code, reason = "the C edge")]
mod abi;
#[cfg(any(feature = "mechglue", feature = "tool"))]
#[cfg_attr(not(feature = "mechglue"), expect(dead_code, reason = "what only the C edge uses"))]
#[expect(unsafe_code, reason = "the operating system is a C library")]
pub mod sys;
