//! ComputeResponse ([MS-NLMP] 3.3) as a handshake uses it: what an initiator answers, what an acceptor reads, and the
//! KeyExchangeKey that both have then.

use crate::{
    cred::{Account, Claim, Proof},
    crypto::{
        KeyExchangeKey, LmHash, SessionBaseKey, keys,
        ntowf::ntowf_v2,
        response::{self, NTLM_V1_LEN},
    },
    error::{Fault, FieldName, InvalidMessage, Message, PeerIncompatible, PolicyError, Result},
    policy::{LmLevel, Policy},
    text::to_utf16le,
    wire::{Authenticate, ClientChallengeV2, NegotiateFlags, NtlmV2Response, TargetInfo},
};

/// What an initiator answers.
pub(super) struct SentResponse {
    pub lm_response: Vec<u8>,
    pub nt_response: Vec<u8>,
    pub key: KeyExchangeKey,
}

impl SentResponse {
    /// NTLMv2. The LMv2 response goes along only where the server does not say its time: else it is superfluous.
    pub(super) fn ntlm_v2(
        account: &Account,
        server_challenge: &[u8; 8],
        client_challenge: [u8; 8],
        time: [u8; 8],
        target_info: &[u8],
        has_timestamp: bool,
    ) -> Self {
        let (user, domain) = (to_utf16le(&account.name.user), to_utf16le(&account.name.domain));
        let response_key = ntowf_v2(&account.secret.nt_hash, &user, &domain);
        let temp = ClientChallengeV2::encode(time, client_challenge, target_info);
        let (nt_proof_str, session_base_key) = response::ntlm_v2(&response_key, server_challenge, &temp);
        let lm_response = if has_timestamp {
            [0; NTLM_V1_LEN]
        } else {
            response::lm_v2(&response_key, server_challenge, &client_challenge)
        };
        Self {
            lm_response: lm_response.to_vec(),
            nt_response: [nt_proof_str.as_bytes(), &temp[..]].concat(),
            key: keys::kxkey(&session_base_key),
        }
    }

    /// NTLMv1: with extended session security, with LM's response, or with the NT response in that one's place.
    ///
    /// # Errors
    /// As [`kxkey_v1`].
    pub(super) fn ntlm_v1(
        account: &Account,
        flags: NegotiateFlags,
        server_challenge: &[u8; 8],
        client_challenge: [u8; 8],
        level: LmLevel,
    ) -> Result<Self> {
        let is_extended = flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY);
        let challenge = if is_extended {
            response::combined_challenge(server_challenge, &client_challenge)
        } else {
            *server_challenge
        };
        let (nt_response, session_base_key) = response::ntlm_v1(&account.secret.nt_hash, &challenge);
        let lm_hash = account.secret.lm_hash.as_ref().filter(|_| level.uses_lm());
        let lm_response = match lm_hash {
            _ if is_extended => [&client_challenge[..], &[0; 16]].concat(),
            Some(hash) => response::lm_v1(hash, server_challenge).to_vec(),
            None => nt_response.to_vec(),
        };
        let key = kxkey_v1(flags, server_challenge, &lm_response, &session_base_key, lm_hash)?;
        Ok(Self { lm_response, nt_response: nt_response.to_vec(), key })
    }

    /// Nobody's: no response, and a key that everybody knows.
    pub(super) fn anonymous() -> Self {
        Self { lm_response: vec![0], nt_response: Vec::new(), key: KeyExchangeKey::new([0; 16]) }
    }
}

/// What an acceptor reads.
pub(super) enum ReceivedResponse<'a> {
    NtlmV2(NtlmV2Response<'a>),
    NtlmV1 { challenge: [u8; 8], response: &'a [u8; NTLM_V1_LEN] },
    Lm { response: &'a [u8; NTLM_V1_LEN] },
    Anonymous,
}

impl<'a> ReceivedResponse<'a> {
    /// The response in `authenticate`, of the kinds that `policy` allows.
    ///
    /// # Errors
    /// When there is none, or one that the policy does not allow.
    pub(super) fn read(
        authenticate: &Authenticate<'a>,
        flags: NegotiateFlags,
        server_challenge: &[u8; 8],
        policy: &Policy,
    ) -> Result<Self> {
        let Authenticate { nt_response, lm_response, .. } = *authenticate;
        let level = policy.lm_level;
        if authenticate.user.is_empty() && nt_response.is_empty() && matches!(lm_response, [] | [0]) {
            return Ok(Self::Anonymous);
        }
        if nt_response.is_empty() {
            return match lm_response.try_into() {
                Ok(response) if level.uses_lm() => Ok(Self::Lm { response }),
                _ => Err(PolicyError::NtlmV1.into()),
            };
        }
        // Beside LMv2 alone this one is empty, or a byte, or sixteen.
        if nt_response.len() < NTLM_V1_LEN && lm_response.len() == NTLM_V1_LEN {
            return Err(PolicyError::NtlmV1.into());
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
        // With extended session security the client's challenge is where the LM response would be.
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

    /// What a person calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NtlmV2(_) => "NTLMv2",
            Self::NtlmV1 { .. } => "NTLMv1",
            Self::Lm { .. } => "LM",
            Self::Anonymous => "anonymous",
        }
    }

    /// The AV_PAIRs that the client's proof covers: only NTLMv2 has some.
    pub(super) const fn target_info(&self) -> Option<&TargetInfo<'a>> {
        match self {
            Self::NtlmV2(response) => Some(&response.client_challenge.target_info),
            Self::NtlmV1 { .. } | Self::Lm { .. } | Self::Anonymous => None,
        }
    }

    /// What the client claims, names in UTF-16LE; `None` when that is nothing.
    pub(super) const fn claim<'b>(
        &'b self,
        user: &'b [u8],
        domain: &'b [u8],
        workstation: &'b [u8],
        server_challenge: &'b [u8; 8],
    ) -> Option<Claim<'b>> {
        let proof = match self {
            Self::NtlmV2(NtlmV2Response { nt_proof_str, temp, .. }) => {
                Proof::NtlmV2 { server_challenge, nt_proof_str, temp }
            }
            Self::NtlmV1 { challenge, response } => Proof::NtlmV1 { challenge, response },
            Self::Lm { response } => Proof::Lm { challenge: server_challenge, response },
            Self::Anonymous => return None,
        };
        Some(Claim { user, domain, workstation, proof })
    }

    /// The KeyExchangeKey of a claim that is true, or of nobody's.
    ///
    /// # Errors
    /// As [`kxkey_v1`].
    pub(super) fn key(
        &self,
        flags: NegotiateFlags,
        server_challenge: &[u8; 8],
        lm_response: &[u8],
        session_base_key: &SessionBaseKey,
        lm_hash: Option<&LmHash>,
    ) -> Result<KeyExchangeKey> {
        match self {
            Self::NtlmV2(_) | Self::Anonymous => Ok(keys::kxkey(session_base_key)),
            Self::NtlmV1 { .. } | Self::Lm { .. } => {
                kxkey_v1(flags, server_challenge, lm_response, session_base_key, lm_hash)
            }
        }
    }
}

/// KXKEY of NTLMv1, [MS-NLMP] 3.4.5.1.
///
/// # Errors
/// [`PeerIncompatible::NoLmHash`] when the key is to be made of an LM hash and there is none. Domain controllers take one of
/// zeros, but then everybody on the way can make the key.
fn kxkey_v1(
    flags: NegotiateFlags,
    server_challenge: &[u8; 8],
    lm_response: &[u8],
    session_base_key: &SessionBaseKey,
    lm_hash: Option<&LmHash>,
) -> Result<KeyExchangeKey> {
    let lm_response = lm_response.first_chunk().unwrap_or(&[0; 8]);
    let lm_hash = || lm_hash.ok_or(PeerIncompatible::NoLmHash);
    Ok(if flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        keys::kxkey_extended(session_base_key, server_challenge, lm_response)
    } else if flags.contains(NegotiateFlags::LM_KEY) {
        keys::kxkey_lm(lm_hash()?, lm_response)
    } else if flags.contains(NegotiateFlags::REQUEST_NON_NT_SESSION_KEY) {
        keys::kxkey_non_nt(lm_hash()?)
    } else {
        keys::kxkey(session_base_key)
    })
}
