//! The responses inside an AUTHENTICATE_MESSAGE, [MS-NLMP] 2.2.2.7 and 2.2.2.8.

use crate::{
    bytes::{self, Reader},
    error::{Fault, FieldName, Message, Result},
};

use super::TargetInfo;

/// NTLMv2_RESPONSE: the proof, and the bytes that it is computed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NtlmV2Response<'a> {
    /// Response, also called NTProofStr.
    pub nt_proof_str: [u8; 16],
    /// The bytes of NTLMv2_CLIENT_CHALLENGE with whatever follows its AV_PAIRs: the proof covers all of it.
    pub temp: &'a [u8],
    /// The same, decoded.
    pub client_challenge: ClientChallengeV2<'a>,
}

impl<'a> NtlmV2Response<'a> {
    /// Reads the response in `bytes`, which are the NtChallengeResponse.
    ///
    /// # Errors
    /// When it is not an NTLMv2_RESPONSE.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(Message::Authenticate, bytes);
        let nt_proof_str = reader.array(FieldName::NtChallengeResponse)?;
        let temp = reader.rest();
        Ok(Self { nt_proof_str, temp, client_challenge: ClientChallengeV2::decode(temp)? })
    }

    /// Writes a response with zeros in place of its proof. Behind them is *temp* of 3.3.2, with a whole AV_PAIR list, and four
    /// zero bytes behind that.
    ///
    /// # Errors
    /// [`crate::error::HostError::Memory`].
    pub fn encode_unproved(time: [u8; 8], client_challenge: [u8; 8], target_info: &[u8]) -> Result<Vec<u8>> {
        let (version, reserved) = (&[ClientChallengeV2::RESP_TYPE; 2], &[0; 4]);
        bytes::concat(&[&[0; 16], version, &[0; 6], &time, &client_challenge, reserved, target_info, reserved])
    }
}

/// Leaves out the proof: an attacker can guess the password with it.
impl core::fmt::Debug for NtlmV2Response<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NtlmV2Response").field("client_challenge", &self.client_challenge).finish_non_exhaustive()
    }
}

/// NTLMv2_CLIENT_CHALLENGE, which 3.3.2 calls *temp*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientChallengeV2<'a> {
    /// TimeStamp, a FILETIME.
    pub time: [u8; 8],
    /// ChallengeFromClient.
    pub client_challenge: [u8; 8],
    /// AvPairs; what follows them has no meaning.
    pub target_info: TargetInfo<'a>,
}

impl<'a> ClientChallengeV2<'a> {
    /// RespType and HiRespType: the only version there is.
    const RESP_TYPE: u8 = 1;

    /// Reads the structure in `temp`.
    ///
    /// # Errors
    /// When it is not an NTLMv2_CLIENT_CHALLENGE.
    pub fn decode(temp: &'a [u8]) -> Result<Self> {
        let field = FieldName::NtChallengeResponse;
        let mut reader = Reader::new(Message::Authenticate, temp);
        if reader.array(field)? != [Self::RESP_TYPE; 2] {
            return Err(reader.error(field, Fault::WrongValue));
        }
        let _reserved: [u8; 6] = reader.array(field)?;
        let time = reader.array(field)?;
        let client_challenge = reader.array(field)?;
        let _reserved: [u8; 4] = reader.array(field)?;
        let target_info = TargetInfo::decode(Message::Authenticate, field, reader.rest())?;
        Ok(Self { time, client_challenge, target_info })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        NtlmV2Response::encode_unproved([1; 8], [2; 8], &[2, 0, 2, 0, b'D', 0, 0, 0, 0, 0]).unwrap()
    }

    #[test]
    fn refuses_every_truncation_of_what_has_a_meaning() {
        let bytes = sample();
        for len in 0..bytes.len() - 4 {
            assert!(NtlmV2Response::decode(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
    }

    #[test]
    fn the_proof_covers_what_follows_the_list() {
        let mut bytes = sample();
        bytes.extend(b"more");
        let response = NtlmV2Response::decode(&bytes).unwrap();
        assert_eq!(response.client_challenge.target_info.after_eol(), b"\0\0\0\0more");
        assert_eq!(response.temp, &bytes[16..]);
    }

    #[test]
    fn refuses_another_version() {
        for at in [16, 17] {
            let mut bytes = sample();
            bytes[at] = 2;
            assert!(NtlmV2Response::decode(&bytes).is_err());
        }
    }
}
