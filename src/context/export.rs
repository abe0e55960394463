//! A context as bytes, for another process: half-open or established.
//!
//! version (1) ‖ role (1) ‖ state (1) ‖ what the state needs ‖ MD5 of all before. Strings and messages have a 16-bit length
//! before them; all numbers are little-endian. The token is a secret. The MD5 is there for accidents: who can write the
//! token can write that too.

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    crypto::primitive::md5,
    error::{ApiMisuse, Error, Fault, FieldName, InvalidMessage, Message, Result},
    name::{Name, ServiceName, UserName},
    session::{Role, Session},
    wire::codec::Reader,
};

use super::{
    Context, Established, State, acceptor::ExpectAuthenticate, flags::ContextFlags, initiator::ExpectChallenge,
};

/// The form of the token; another one is refused.
const VERSION: u8 = 1;

const EXPECT_CHALLENGE: u8 = 1;
const EXPECT_AUTHENTICATE: u8 = 2;
const ESTABLISHED: u8 = 3;

const NO_NAME: u8 = 0;
const USER: u8 = 1;
const SERVICE: u8 = 2;
const ANONYMOUS: u8 = 3;

impl Context {
    /// The context as bytes. The context itself is to be thrown away: two that go on from one state would use one key
    /// stream twice.
    ///
    /// # Errors
    /// [`ApiMisuse::NoContext`] when it has not started or has failed; [`ApiMisuse::BadArgument`] when a name in it is too long.
    pub fn export(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(1024));
        out.extend_from_slice(&[VERSION, u8::from(self.role == Role::Acceptor)]);
        match &self.state {
            State::ExpectChallenge(state) => {
                out.extend_from_slice(&[EXPECT_CHALLENGE, u8::from(state.is_in_spnego)]);
                out.extend_from_slice(&state.requested.bits().to_le_bytes());
                put(&mut out, &state.negotiate)?;
            }
            State::ExpectAuthenticate(state) => {
                out.push(EXPECT_AUTHENTICATE);
                put(&mut out, &state.negotiate)?;
                put(&mut out, &state.challenge)?;
            }
            State::Established(state) => {
                out.extend_from_slice(&[ESTABLISHED, u8::from(state.has_mic)]);
                out.extend_from_slice(&state.flags.bits().to_le_bytes());
                put_name(&mut out, Some(&state.initiator))?;
                put_name(&mut out, state.acceptor.as_ref())?;
                state.session.export(&mut out);
            }
            State::Start | State::ExpectNegotiate | State::Failed => return Err(ApiMisuse::NoContext.into()),
        }
        let mut sum = md5(&[&out]);
        out.extend_from_slice(&sum);
        sum.zeroize();
        Ok(out)
    }

    /// The context that [`Context::export`] wrote.
    ///
    /// # Errors
    /// [`Error::InvalidMessage`] for anything else.
    pub fn import(bytes: &[u8]) -> Result<Self> {
        let Some((body, sum)) = bytes.split_last_chunk::<16>() else {
            return Err(defect(FieldName::Contents, Fault::Truncated));
        };
        if md5(&[body]) != *sum {
            return Err(defect(FieldName::Contents, Fault::WrongValue));
        }
        let mut reader = Reader::new(Message::ExportedContext, body);
        let [version, role, state] = reader.array(FieldName::Version)?;
        if version != VERSION {
            return Err(defect(FieldName::Version, Fault::WrongValue));
        }
        let role = if boolean(role)? { Role::Acceptor } else { Role::Initiator };
        let state = match (state, role) {
            (EXPECT_CHALLENGE, Role::Initiator) => State::ExpectChallenge(ExpectChallenge {
                is_in_spnego: get_boolean(&mut reader)?,
                requested: ContextFlags::from_bits_retain(reader.u32(FieldName::Contents)?),
                negotiate: get(&mut reader)?.to_vec(),
            }),
            (EXPECT_AUTHENTICATE, Role::Acceptor) => State::ExpectAuthenticate(ExpectAuthenticate {
                negotiate: get(&mut reader)?.to_vec(),
                challenge: get(&mut reader)?.to_vec(),
            }),
            (ESTABLISHED, role) => {
                let has_mic = get_boolean(&mut reader)?;
                let flags = ContextFlags::from_bits_retain(reader.u32(FieldName::Contents)?);
                let initiator = get_name(&mut reader)?.ok_or_else(|| defect(FieldName::Contents, Fault::Missing))?;
                let acceptor = get_name(&mut reader)?;
                let session = Session::import(role, &mut reader)?;
                State::Established(Box::new(Established { session, flags, initiator, acceptor, has_mic }))
            }
            _ => return Err(defect(FieldName::Contents, Fault::WrongValue)),
        };
        if !reader.rest().is_empty() {
            return Err(defect(FieldName::Contents, Fault::WrongLength));
        }
        Ok(Self { role, state })
    }
}

fn defect(field: FieldName, fault: Fault) -> Error {
    InvalidMessage { message: Message::ExportedContext, field, fault }.into()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let len = u16::try_from(bytes.len()).map_err(|_| ApiMisuse::BadArgument)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn get<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let len = reader.u16(FieldName::Contents)?;
    reader.take(usize::from(len), FieldName::Contents)
}

fn put_name(out: &mut Vec<u8>, name: Option<&Name>) -> Result<()> {
    let (kind, parts) = match name {
        None => (NO_NAME, None),
        Some(Name::Anonymous) => (ANONYMOUS, None),
        Some(Name::User(name)) => (USER, Some((&name.user, &name.domain))),
        Some(Name::Service(name)) => (SERVICE, Some((&name.service, &name.host))),
    };
    out.push(kind);
    if let Some((first, second)) = parts {
        put(out, first.as_bytes())?;
        put(out, second.as_bytes())?;
    }
    Ok(())
}

fn get_name(reader: &mut Reader<'_>) -> Result<Option<Name>> {
    let [kind] = reader.array(FieldName::Contents)?;
    Ok(match kind {
        NO_NAME => None,
        ANONYMOUS => Some(Name::Anonymous),
        USER => Some(Name::User(UserName { user: get_string(reader)?, domain: get_string(reader)? })),
        SERVICE => Some(Name::Service(ServiceName { service: get_string(reader)?, host: get_string(reader)? })),
        _ => return Err(defect(FieldName::Contents, Fault::WrongValue)),
    })
}

fn get_string(reader: &mut Reader<'_>) -> Result<String> {
    let bytes = get(reader)?;
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| defect(FieldName::Contents, Fault::WrongValue))
}

fn get_boolean(reader: &mut Reader<'_>) -> Result<bool> {
    let [byte] = reader.array(FieldName::Contents)?;
    boolean(byte)
}

fn boolean(byte: u8) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(defect(FieldName::Contents, Fault::WrongValue)),
    }
}
