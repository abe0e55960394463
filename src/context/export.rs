//! A half-open or established context as bytes, for another process.
//!
//! version (1) ‖ role (1) ‖ state (1) ‖ what the state needs ‖ a checksum of all before. Strings and messages have a 32-bit length
//! before them; all numbers are little-endian. The token is secret.

use std::sync::Arc;

use crate::{
    bytes::{self, CHECKSUM_LEN, Reader, SecretBytes},
    cred::Acceptor,
    error::{ApiMisuse, Fault, FieldName, Message, Result},
    name::{Name, Principal},
    session::{Role, Session},
    wire::NegotiateFlags,
};

use super::{
    Context, Established, State, acceptor::ExpectAuthenticate, flags::ContextFlags, initiator::ExpectChallenge,
};

/// The version of this layout; other ones are refused.
const VERSION: u8 = 7;

/// How many bytes most contexts need.
const ENOUGH: usize = 1024;

const EXPECT_CHALLENGE: u8 = 1;
const EXPECT_AUTHENTICATE: u8 = 2;
const ESTABLISHED: u8 = 3;

impl Context {
    /// The context as bytes. Do not use the context any more: it and the imported one would use the same key stream.
    ///
    /// # Errors
    /// [`ApiMisuse::NoContext`] when it has not started or has failed; [`ApiMisuse::BadArgument`] when a name in it is too
    /// long.
    pub fn export(&self) -> Result<SecretBytes> {
        let mut out = SecretBytes::default();
        bytes::reserve(&mut out, ENOUGH)?;
        out.extend_from_slice(&[VERSION, u8::from(self.role == Role::Acceptor)]);
        match &self.state {
            State::ExpectChallenge(state) => {
                out.extend_from_slice(&[EXPECT_CHALLENGE, u8::from(state.is_in_spnego)]);
                out.extend_from_slice(&state.requested.bits().to_le_bytes());
                out.extend_from_slice(&state.offered.bits().to_le_bytes());
                put_number(&mut out, state.seq_num);
                bytes::write_prefixed(&mut out, &state.negotiate)?;
            }
            State::ExpectAuthenticate(state) => {
                out.extend_from_slice(&[EXPECT_AUTHENTICATE, u8::from(state.is_exempt)]);
                put_number(&mut out, state.seq_num);
                bytes::write_prefixed(&mut out, &state.negotiate)?;
                bytes::write_prefixed(&mut out, &state.challenge)?;
                state.acceptor.export(&mut out)?;
            }
            State::Established(state) => {
                out.extend_from_slice(&[ESTABLISHED, u8::from(state.has_mic)]);
                out.extend_from_slice(&state.flags.bits().to_le_bytes());
                state.initiator.export(&mut out)?;
                bytes::write_optional(&mut out, state.acceptor.as_ref(), |out, acceptor| acceptor.export(out))?;
                // What follows is secret, and a vector that grows leaves copies behind.
                bytes::reserve(&mut out, Session::EXPORTED_MAX.saturating_add(CHECKSUM_LEN))?;
                state.session.export(&mut out);
            }
            State::Start | State::ExpectNegotiate | State::Failed => return Err(ApiMisuse::NoContext.into()),
        }
        bytes::append_checksum(&mut out);
        Ok(out)
    }

    /// The context that [`Context::export`] wrote.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidMessage`] for anything else.
    pub fn import(token: &[u8]) -> Result<Self> {
        let mut reader = Reader::open_export(Message::ExportedContext, VERSION, token)?;
        let role = if reader.boolean(FieldName::Contents)? { Role::Acceptor } else { Role::Initiator };
        let [state] = reader.array(FieldName::Contents)?;
        let state = match (state, role) {
            (EXPECT_CHALLENGE, Role::Initiator) => State::ExpectChallenge(ExpectChallenge {
                is_in_spnego: reader.boolean(FieldName::Contents)?,
                requested: ContextFlags::from_bits_retain(reader.u32(FieldName::Contents)?),
                offered: NegotiateFlags::from_bits_retain(reader.u32(FieldName::Contents)?),
                seq_num: get_number(&mut reader)?,
                negotiate: bytes::concat(&[reader.read_prefixed(FieldName::Contents)?])?,
                choice: None,
            }),
            (EXPECT_AUTHENTICATE, Role::Acceptor) => State::ExpectAuthenticate(ExpectAuthenticate {
                is_exempt: reader.boolean(FieldName::Contents)?,
                seq_num: get_number(&mut reader)?,
                negotiate: bytes::concat(&[reader.read_prefixed(FieldName::Contents)?])?,
                challenge: bytes::concat(&[reader.read_prefixed(FieldName::Contents)?])?,
                acceptor: Arc::new(Acceptor::import(&mut reader)?),
            }),
            (ESTABLISHED, role) => {
                let has_mic = reader.boolean(FieldName::Contents)?;
                let flags = ContextFlags::from_bits_retain(reader.u32(FieldName::Contents)?);
                let initiator = Arc::new(Principal::import(&mut reader)?);
                let acceptor = reader.read_optional(FieldName::Contents, Name::import)?;
                let session = Session::import(role, &mut reader)?;
                State::Established(Box::new(Established { session, flags, initiator, acceptor, has_mic }))
            }
            _ => return Err(reader.error(FieldName::Contents, Fault::WrongValue)),
        };
        reader.end(FieldName::Contents)?;
        Ok(Self { role, state })
    }
}

fn put_number(out: &mut Vec<u8>, number: Option<u32>) {
    out.push(u8::from(number.is_some()));
    out.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
}

fn get_number(reader: &mut Reader<'_>) -> Result<Option<u32>> {
    let is_there = reader.boolean(FieldName::Contents)?;
    let number = reader.u32(FieldName::Contents)?;
    Ok(is_there.then_some(number))
}
