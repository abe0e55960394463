//! NTLM for MIT krb5's GSS-API.
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "a test may overflow loudly"))]
#[cfg(not(target_os = "linux"))]
compile_error!("gss-ntlm is for Linux");

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
