//! The messages as they were sent, and the MIC over them ([MS-NLMP] 3.1.5.1.2).

use crate::{
    crypto::{ExportedSessionKey, Mic, keys},
    wire::MIC_LEN,
};

/// The three messages of a handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transcript<'a> {
    pub negotiate: &'a [u8],
    pub challenge: &'a [u8],
    pub authenticate: &'a [u8],
}

impl Transcript<'_> {
    /// Computes the MIC of an AUTHENTICATE_MESSAGE that has it at `offset`, with zeros in its place. `None` when the message
    /// is too short.
    pub(super) fn mic(&self, key: &ExportedSessionKey, offset: usize) -> Option<Mic> {
        let (before, rest) = self.authenticate.split_at_checked(offset)?;
        let (_, behind) = rest.split_at_checked(MIC_LEN)?;
        Some(keys::mic(key, &[self.negotiate, self.challenge, before, &[0; MIC_LEN], behind]))
    }

    /// The MIC that is in the AUTHENTICATE_MESSAGE at `offset`. `None` when the message is too short.
    pub(super) fn sent_mic(&self, offset: usize) -> Option<[u8; MIC_LEN]> {
        let (_, rest) = self.authenticate.split_at_checked(offset)?;
        rest.first_chunk().copied()
    }
}
