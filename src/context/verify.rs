//! Success as values that only this file can make. An acceptor's context is established with all three, or not at all.

use crate::{
    cred::{Claim, Env, Verdict, Verifier},
    crypto::ExportedSessionKey,
    error::{Error, Fault, FieldName, InvalidMessage, Message, PeerMisbehaved, PolicyError, Result},
    policy::{BindingsPolicy, Minimum, Policy},
    wire::{AvFlags, TargetInfo},
};

use super::{bindings::ChannelBindings, transcript::Transcript};

/// The client knows the secret of an account, or is allowed to be nobody.
pub(super) struct ProofVerified(());

/// The MIC is right, or none was due.
pub(super) struct MicChecked {
    /// Whether there is one.
    pub has_mic: bool,
}

/// The channel bindings are right, or none were due.
pub(super) struct BindingsChecked {
    /// Whether both sides have some and they are equal.
    pub is_bound: bool,
}

impl ProofVerified {
    /// Lets `verifier` judge `claim`, and gives what it says of a good proof.
    pub(super) fn check(verifier: &dyn Verifier, claim: &Claim<'_>, env: &Env<'_>) -> Result<(Self, Verdict)> {
        Ok((Self(()), verifier.judge(claim, env)?))
    }

    /// Lets a client that claims nothing pass, where `policy` does. Its messages are protected by a key that everybody knows,
    /// which is less than any minimum of protection.
    pub(super) fn anonymous(policy: &Policy) -> Result<Self> {
        if policy.anonymous && !policy.minimum.intersects(Minimum::SIGN | Minimum::SEAL) {
            Ok(Self(()))
        } else {
            Err(PolicyError::Anonymous.into())
        }
    }
}

impl MicChecked {
    /// Verifies the MIC if the client says, inside what its proof covers, that it sent one ([MS-NLMP] 3.2.5.1.2), under the
    /// first of `keys` that fits; gives that key.
    pub(super) fn check(
        target_info: Option<&TargetInfo<'_>>,
        transcript: &Transcript<'_>,
        offset: Option<usize>,
        mut keys: impl Iterator<Item = ExportedSessionKey>,
        is_required: bool,
    ) -> Result<(Self, ExportedSessionKey)> {
        if !target_info.is_some_and(|info| info.flags().contains(AvFlags::MIC)) {
            if is_required {
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
}

impl BindingsChecked {
    /// Compares the client's channel bindings with this side's, as far as `policy` says.
    pub(super) fn check(
        target_info: Option<&TargetInfo<'_>>,
        own: Option<&ChannelBindings<'_>>,
        policy: BindingsPolicy,
    ) -> Result<Self> {
        match (policy, own, target_info.and_then(TargetInfo::channel_bindings)) {
            (BindingsPolicy::Off, ..) => Ok(Self { is_bound: false }),
            (_, Some(own), Some(sent)) if own.av_value() == sent => Ok(Self { is_bound: true }),
            (_, Some(_), Some(_)) => Err(PeerMisbehaved::WrongBindings.into()),
            (BindingsPolicy::Required, ..) => Err(PolicyError::BindingsRequired.into()),
            (BindingsPolicy::WhenSent, ..) => Ok(Self { is_bound: false }),
        }
    }
}
