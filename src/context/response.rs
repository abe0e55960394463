//! The responses of a handshake ([MS-NLMP] 3.3): what an initiator sends, what an acceptor receives, and the KeyExchangeKey
//! that both compute.

use std::borrow::Cow;

use crate::{
    audit::Ntlm,
    cred::{Account, Proof},
    crypto::{
        KeyExchangeKey, LmHash, SessionBaseKey, keys,
        response::{self, NTLM_V1_LEN},
    },
    error::{Error, Fault, FieldName, InvalidMessage, Message, PeerIncompatible, PolicyError, Result},
    policy::{LmLevel, Policy},
    wire::{Authenticate, NegotiateFlags, NtlmV2Response, TargetInfo},
};

/// The challenges of both sides.
#[derive(Clone, Copy)]
pub(super) struct Challenges<'a> {
    pub server: &'a [u8; 8],
    pub client: [u8; 8],
}

/// The time in an NTLMv2 response, a FILETIME.
pub(super) enum Time {
    /// The server's, from the CHALLENGE_MESSAGE.
    OfServer([u8; 8]),
    /// This host's, because the CHALLENGE_MESSAGE has none.
    Own([u8; 8]),
}

/// The responses that an initiator sends, and their key.
pub(super) struct SentResponse {
    pub lm_response: Cow<'static, [u8]>,
    pub nt_response: Vec<u8>,
    pub key: KeyExchangeKey,
    /// Whether the response says that the AUTHENTICATE_MESSAGE has a MIC.
    pub has_mic: bool,
}

impl SentResponse {
    /// NTLMv2. The LMv2 response is sent only if the server does not tell its time, else it is zeros ([MS-NLMP] 3.1.5.1.2).
    ///
    /// # Errors
    /// [`crate::error::HostError::Memory`].
    pub(super) fn ntlm_v2(
        account: &Account, challenges: Challenges<'_>, time: Time, target_info: &[u8],
    ) -> Result<Self> {
        let response_key = &account.response_key;
        let (lm_response, time) = match time {
            Time::OfServer(time) => (Cow::Borrowed(&[0; NTLM_V1_LEN][..]), time),
            Time::Own(time) => {
                let lm_response = response::lm_v2(response_key, challenges.server, &challenges.client);
                (Cow::Owned(lm_response.to_vec()), time)
            }
        };
        let mut nt_response = NtlmV2Response::encode_unproved(time, challenges.client, target_info)?;
        let (proof, temp) = nt_response.split_first_chunk_mut().ok_or(Error::Internal)?;
        let (nt_proof_str, session_base_key) = response::ntlm_v2(response_key, challenges.server, temp);
        *proof = *nt_proof_str.as_bytes();
        Ok(Self { lm_response, nt_response, key: keys::kxkey(&session_base_key), has_mic: false })
    }

    /// NTLMv1. In place of the LM response is the client's challenge, with extended session security; an LM response, where
    /// `level` uses it; or else the NT response again.
    ///
    /// # Errors
    /// As [`KeyMaterial::kxkey_v1`].
    pub(super) fn ntlm_v1(
        account: &Account, flags: NegotiateFlags, challenges: Challenges<'_>, level: LmLevel,
    ) -> Result<Self> {
        let is_extended = flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY);
        let challenge = if is_extended {
            response::combined_challenge(challenges.server, &challenges.client)
        } else {
            *challenges.server
        };
        let (nt_response, session_base_key) = response::ntlm_v1(&account.secret.nt_hash, &challenge);
        let lm_hash = account.secret.lm_hash.as_ref();
        let lm_response = match lm_hash.filter(|_| level.uses_lm()) {
            _ if is_extended => [&challenges.client[..], &[0; 16]].concat(),
            Some(hash) => response::lm_v1(hash, challenges.server).to_vec(),
            None => nt_response.to_vec(),
        };
        let material = KeyMaterial {
            flags,
            server_challenge: challenges.server,
            lm_response: &lm_response,
            session_base_key: &session_base_key,
            lm_hash,
        };
        let key = material.kxkey_v1()?;
        Ok(Self { lm_response: Cow::Owned(lm_response), nt_response: nt_response.to_vec(), key, has_mic: false })
    }

    /// An anonymous initiator: no response, and a key that everybody knows.
    pub(super) fn anonymous() -> Self {
        let lm_response = Cow::Borrowed(&[0][..]);
        Self { lm_response, nt_response: Vec::new(), key: KeyExchangeKey::new([0; 16]), has_mic: false }
    }
}

/// The kind of the response in `authenticate`, by its lengths alone. It may be malformed.
pub(super) const fn kind(authenticate: &Authenticate<'_>, flags: NegotiateFlags) -> Ntlm {
    let Authenticate { nt_response, lm_response, user, .. } = *authenticate;
    match nt_response.len() {
        0 if user.is_empty() && matches!(lm_response, [] | [0]) => Ntlm::Anonymous,
        0 => Ntlm::Lm,
        // Clients that send LMv2 alone send no bytes here, or one, or sixteen.
        ..NTLM_V1_LEN if lm_response.len() == NTLM_V1_LEN => Ntlm::Lm,
        NTLM_V1_LEN if flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) => Ntlm::Ntlm2Session,
        NTLM_V1_LEN => Ntlm::V1,
        _ => Ntlm::V2,
    }
}

/// The response that an acceptor receives.
pub(super) enum ReceivedResponse<'a> {
    NtlmV2(NtlmV2Response<'a>),
    NtlmV1 { challenge: [u8; 8], response: &'a [u8; NTLM_V1_LEN] },
    Lm { response: &'a [u8; NTLM_V1_LEN] },
    Anonymous,
}

impl<'a> ReceivedResponse<'a> {
    /// The response in `authenticate`, which must be of a kind that `policy` allows.
    ///
    /// # Errors
    /// When there is no response, or one that the policy does not allow.
    pub(super) fn read(
        authenticate: &Authenticate<'a>, flags: NegotiateFlags, server_challenge: &[u8; 8], policy: &Policy,
    ) -> Result<Self> {
        let Authenticate { nt_response, lm_response, .. } = *authenticate;
        let level = policy.lm_level;
        match kind(authenticate, flags) {
            Ntlm::Anonymous => return Ok(Self::Anonymous),
            Ntlm::Lm => {
                return match lm_response.try_into() {
                    Ok(response) if nt_response.is_empty() && level.uses_lm() => Ok(Self::Lm { response }),
                    _ => Err(PolicyError::NtlmV1.into()),
                };
            }
            Ntlm::V1 | Ntlm::Ntlm2Session | Ntlm::V2 => {}
        }
        let Ok(response) = nt_response.try_into() else {
            return NtlmV2Response::decode(nt_response).map(Self::NtlmV2);
        };
        if !level.accepts_ntlm_v1() {
            return Err(PolicyError::NtlmV1.into());
        }
        if !flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
            return Ok(Self::NtlmV1 { challenge: *server_challenge, response });
        }
        // With extended session security the client's challenge is in the place of the LM response.
        let field = FieldName::LmChallengeResponse;
        match lm_response.split_first_chunk() {
            Some((client_challenge, rest))
                if lm_response.len() == NTLM_V1_LEN && rest.iter().all(|byte| *byte == 0) =>
            {
                let challenge = response::combined_challenge(server_challenge, client_challenge);
                Ok(Self::NtlmV1 { challenge, response })
            }
            _ => Err(InvalidMessage { message: Message::Authenticate, field, fault: Fault::WrongValue }.into()),
        }
    }

    /// Its name for a person.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NtlmV2(_) => "NTLMv2",
            Self::NtlmV1 { .. } => "NTLMv1",
            Self::Lm { .. } => "LM",
            Self::Anonymous => "anonymous",
        }
    }

    /// The AV_PAIRs that the client's proof covers; `None` for all but NTLMv2.
    pub(super) const fn target_info(&self) -> Option<&TargetInfo<'a>> {
        match self {
            Self::NtlmV2(response) => Some(&response.client_challenge.target_info),
            Self::NtlmV1 { .. } | Self::Lm { .. } | Self::Anonymous => None,
        }
    }

    /// The proof of the client's identity; `None` if the client is anonymous.
    pub(super) const fn proof<'b>(&'b self, server_challenge: &'b [u8; 8]) -> Option<Proof<'b>> {
        match self {
            Self::NtlmV2(NtlmV2Response { nt_proof_str, temp, .. }) => {
                Some(Proof::NtlmV2 { server_challenge, nt_proof_str, temp })
            }
            Self::NtlmV1 { challenge, response } => Some(Proof::NtlmV1 { challenge, response }),
            Self::Lm { response } => Some(Proof::Lm { challenge: server_challenge, response }),
            Self::Anonymous => None,
        }
    }

    /// The KeyExchangeKey of a verified response, or of an anonymous client.
    ///
    /// # Errors
    /// As [`KeyMaterial::kxkey_v1`].
    pub(super) fn key_exchange_key(&self, material: &KeyMaterial<'_>) -> Result<KeyExchangeKey> {
        match self {
            Self::NtlmV2(_) | Self::Anonymous => Ok(keys::kxkey(material.session_base_key)),
            Self::NtlmV1 { .. } | Self::Lm { .. } => material.kxkey_v1(),
        }
    }
}

/// What a KeyExchangeKey is made of.
pub(super) struct KeyMaterial<'a> {
    pub flags: NegotiateFlags,
    pub server_challenge: &'a [u8; 8],
    pub lm_response: &'a [u8],
    pub session_base_key: &'a SessionBaseKey,
    pub lm_hash: Option<&'a LmHash>,
}

impl KeyMaterial<'_> {
    /// KXKEY of NTLMv1, [MS-NLMP] 3.4.5.1.
    ///
    /// # Errors
    /// [`PeerIncompatible::NoLmHash`] when the key must be made of an LM hash and the account has none. Domain controllers use a
    /// hash of zeros then, but an attacker can make that key as well.
    fn kxkey_v1(&self) -> Result<KeyExchangeKey> {
        let lm_response = self.lm_response.first_chunk().unwrap_or(&[0; 8]);
        let lm_hash = || self.lm_hash.ok_or(PeerIncompatible::NoLmHash);
        Ok(if self.flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
            keys::kxkey_extended(self.session_base_key, self.server_challenge, lm_response)
        } else if self.flags.contains(NegotiateFlags::LM_KEY) {
            keys::kxkey_lm(lm_hash()?, lm_response)
        } else if self.flags.contains(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY) {
            keys::kxkey_non_nt(lm_hash()?)
        } else {
            keys::kxkey(self.session_base_key)
        })
    }
}
