//! What the tokens of messages look like: a MIC token is a signature; a wrap token is a signature and the data behind it.

use crate::{
    error::{Error, Fault, FieldName, InvalidMessage, Message, Result},
    wire::MessageSignature,
};

use super::{Buffer, Session};

/// The length of a signature in bytes: that of a whole MIC token, and of what is before the data in a wrap token.
pub const SIGNATURE_LEN: usize = MessageSignature::LEN;

/// The two parts of a wrap token whose data is not sealed yet. Copied into one buffer, they become a wrap token by
/// [`Session::wrap_token`].
#[must_use]
pub const fn unsealed_token(data: &[u8]) -> [&[u8]; 2] {
    [&[0; SIGNATURE_LEN], data]
}

/// Splits a wrap token into its signature and its sealed data.
///
/// # Errors
/// When the token is too short for a signature.
pub fn split_token(token: &[u8]) -> Result<(&[u8], &[u8])> {
    token.split_at_checked(SIGNATURE_LEN).ok_or_else(|| wrong_length(Message::WrapToken))
}

/// The same, for data to be unsealed in place.
///
/// # Errors
/// As [`split_token`].
pub fn split_token_mut(token: &mut [u8]) -> Result<(&[u8], &mut [u8])> {
    let (signature, data) =
        token.split_at_mut_checked(SIGNATURE_LEN).ok_or_else(|| wrong_length(Message::WrapToken))?;
    Ok((signature, data))
}

/// The signature that `token` is.
pub(super) fn signature(message: Message, token: &[u8]) -> Result<MessageSignature> {
    token.try_into().map(MessageSignature).map_err(|_| wrong_length(message))
}

fn wrong_length(message: Message) -> Error {
    InvalidMessage { message, field: FieldName::Token, fault: Fault::WrongLength }.into()
}

impl Session {
    /// Makes a wrap token of an [`unsealed_token`] in place.
    ///
    /// # Errors
    /// As [`Session::wrap`].
    pub fn wrap_token(&mut self, token: &mut [u8]) -> Result<()> {
        let (signature, data) = token.split_first_chunk_mut().ok_or(Error::Internal)?;
        *signature = self.wrap(&mut [Buffer::Data(data)])?;
        Ok(())
    }

    /// The greatest length of data whose wrap token has at most `output` bytes.
    ///
    /// # Errors
    /// As [`Session::ensure_can_wrap`].
    pub fn wrap_size_limit(&self, output: u32) -> Result<u32> {
        self.ensure_can_wrap()?;
        Ok(output.saturating_sub(u32::try_from(SIGNATURE_LEN).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use crate::{crypto::ExportedSessionKey, error::ApiMisuse, session::Role, wire::NegotiateFlags};

    use super::*;

    fn session(role: Role) -> Session {
        let flags = NegotiateFlags::SIGN | NegotiateFlags::EXTENDED_SESSIONSECURITY;
        Session::new(role, flags, ExportedSessionKey::new([0x55; 16]), None)
    }

    #[test]
    fn a_wrap_token_is_a_signature_and_the_sealed_data() {
        let (mut client, mut server) = (session(Role::Initiator), session(Role::Acceptor));
        for data in [&b""[..], b"data"] {
            let mut token = unsealed_token(data).concat();
            client.wrap_token(&mut token).unwrap();
            assert_eq!(token.len(), SIGNATURE_LEN + data.len());
            let copy = token.clone();
            let (signature, sealed) = split_token_mut(&mut token).unwrap();
            assert_eq!(split_token(&copy), Ok((signature, &*sealed)));
            server.unwrap(&mut [Buffer::Data(sealed)], signature).unwrap();
            assert_eq!(sealed, data);
        }
    }

    #[test]
    fn a_token_without_room_for_a_signature_is_refused() {
        let short = |message| Err(wrong_length(message));
        let mut token = [0; SIGNATURE_LEN];
        for len in 0..SIGNATURE_LEN {
            assert_eq!(split_token(&token[..len]).map(drop), short(Message::WrapToken));
            assert_eq!(split_token_mut(&mut token[..len]).map(drop), short(Message::WrapToken));
            assert_eq!(session(Role::Initiator).wrap_token(&mut token[..len]), Err(Error::Internal));
            assert_eq!(session(Role::Acceptor).verify_mic(&[], &token[..len]), short(Message::MicToken));
        }
        let longer = [0; SIGNATURE_LEN + 1];
        assert_eq!(session(Role::Acceptor).verify_mic(&[], &longer), short(Message::MicToken));
        assert_eq!(session(Role::Acceptor).unwrap(&mut [], &longer), short(Message::WrapToken));
    }

    #[test]
    fn the_size_limit_leaves_room_for_the_signature() {
        for (output, limit) in [(100, 84), (17, 1), (16, 0), (15, 0), (0, 0)] {
            assert_eq!(session(Role::Initiator).wrap_size_limit(output), Ok(limit), "{output}");
        }
        let unprotected =
            Session::new(Role::Initiator, NegotiateFlags::ALWAYS_SIGN, ExportedSessionKey::new([0; 16]), None);
        assert_eq!(unprotected.wrap_size_limit(100), Err(ApiMisuse::NoProtection.into()));
    }
}
