//! Three proofs, which only this file can make. An acceptor's context is established only with all three.

use crate::{
    audit::Bindings,
    cred::{Claim, Env, VerifiedClaim, Verifier},
    crypto::{ExportedSessionKey, LmHash, SessionBaseKey},
    error::{Error, Fault, FieldName, InvalidMessage, Message, PeerMisbehaved, PolicyError, Result},
    name::{Attributes, Name},
    policy::{BindingsPolicy, Minimum, Policy},
    wire::{AvFlags, TargetInfo},
};

use super::{bindings::ChannelBindings, transcript::Transcript};

/// The client knows the secret of an account, or may be anonymous.
pub(super) struct ProofVerified {
    name: Name,
    /// What the verifier knows about the account.
    attributes: Attributes,
    session_base_key: SessionBaseKey,
    lm_hash: Option<LmHash>,
}

/// The MIC is right, or none is required.
pub(super) struct MicChecked {
    has_mic: bool,
}

/// The channel bindings match, or none are required.
pub(super) struct BindingsChecked {
    is_bound: bool,
}

impl ProofVerified {
    /// Has `verifier` verify what the client claims. A client without a claim is anonymous, which the policy must allow.
    /// Everybody knows the key of its messages, so it does not reach a minimum of protection.
    pub(super) fn check(verifier: &dyn Verifier, claim: Option<&Claim<'_>>, env: &Env<'_>) -> Result<Self> {
        let Some(claim) = claim else {
            let Policy { anonymous, minimum, .. } = env.policy;
            if !anonymous || minimum.intersects(Minimum::SIGN | Minimum::SEAL) {
                return Err(PolicyError::Anonymous.into());
            }
            let session_base_key = SessionBaseKey::new([0; 16]);
            return Ok(Self { name: Name::Anonymous, attributes: Attributes::new(), session_base_key, lm_hash: None });
        };
        let VerifiedClaim { account, session_base_key, lm_hash, attributes } = verifier.verify(claim, env)?;
        Ok(Self { name: Name::User(account), attributes, session_base_key, lm_hash })
    }

    pub(super) const fn session_base_key(&self) -> &SessionBaseKey {
        &self.session_base_key
    }

    pub(super) const fn lm_hash(&self) -> Option<&LmHash> {
        self.lm_hash.as_ref()
    }

    /// The client's name, and what the verifier knows about the account.
    pub(super) fn into_client(self) -> (Name, Attributes) {
        (self.name, self.attributes)
    }
}

impl MicChecked {
    /// Verifies the MIC if the AV_PAIRs, which the client's proof covers, say that there is one ([MS-NLMP] 3.2.5.1.2). Returns
    /// the first of `keys` that the MIC is right with or, without a MIC, the first.
    pub(super) fn check(
        target_info: Option<&TargetInfo<'_>>, transcript: &Transcript<'_>, offset: Option<usize>,
        mut keys: impl Iterator<Item = ExportedSessionKey>, policy: &Policy,
    ) -> Result<(Self, ExportedSessionKey)> {
        if !target_info.is_some_and(|info| info.flags().contains(AvFlags::MIC)) {
            if policy.require_mic {
                return Err(PolicyError::MicRequired.into());
            }
            return Ok((Self { has_mic: false }, keys.next().ok_or(Error::Internal)?));
        }
        let missing = InvalidMessage { message: Message::Authenticate, field: FieldName::Mic, fault: Fault::Missing };
        let offset = offset.ok_or(missing)?;
        let sent = transcript.sent_mic(offset).ok_or(missing)?;
        keys.find(|key| transcript.mic(key, offset).is_some_and(|mic| mic.matches(&sent)))
            .map(|key| (Self { has_mic: true }, key))
            .ok_or_else(|| PeerMisbehaved::WrongMic.into())
    }

    /// Whether there is a MIC.
    pub(super) const fn has_mic(&self) -> bool {
        self.has_mic
    }
}

impl BindingsChecked {
    /// Compares the client's channel bindings with this side's, as `policy` says.
    pub(super) fn check(
        target_info: Option<&TargetInfo<'_>>, own: Option<&ChannelBindings<'_>>, policy: BindingsPolicy,
    ) -> Result<Self> {
        if policy == BindingsPolicy::Off {
            return Ok(Self { is_bound: false });
        }
        match compare_bindings(target_info, own) {
            Bindings::Matched => Ok(Self { is_bound: true }),
            Bindings::Differ => Err(PeerMisbehaved::WrongBindings.into()),
            Bindings::ClientOnly | Bindings::ServerOnly | Bindings::Sent | Bindings::None => match policy {
                BindingsPolicy::Required => Err(PolicyError::BindingsRequired.into()),
                BindingsPolicy::WhenSent | BindingsPolicy::Off => Ok(Self { is_bound: false }),
            },
        }
    }

    /// Whether both sides have channel bindings and they match.
    pub(super) const fn is_bound(&self) -> bool {
        self.is_bound
    }
}

/// The client's channel bindings beside this side's.
pub(super) fn compare_bindings(client: Option<&TargetInfo<'_>>, own: Option<&ChannelBindings<'_>>) -> Bindings {
    match (client.and_then(TargetInfo::channel_bindings), own) {
        (Some(sent), Some(own)) if own.av_value() == sent => Bindings::Matched,
        (Some(_), Some(_)) => Bindings::Differ,
        (Some(_), None) => Bindings::ClientOnly,
        (None, Some(_)) => Bindings::ServerOnly,
        (None, None) => Bindings::None,
    }
}
