//! Channel bindings to MsvAvChannelBindings.

use crate::crypto::primitive::md5;

/// The `gss_channel_bindings_struct` of RFC 2744 3.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelBindings<'a> {
    /// Address type of the initiator.
    pub initiator_addrtype: u32,
    /// Address of the initiator.
    pub initiator_address: &'a [u8],
    /// Address type of the acceptor.
    pub acceptor_addrtype: u32,
    /// Address of the acceptor.
    pub acceptor_address: &'a [u8],
    /// What the channel is known by, such as `tls-server-end-point:` and the hash of the certificate.
    pub application_data: &'a [u8],
}

impl ChannelBindings<'_> {
    /// GSS_C_AF_NULLADDR: no address. Peers on Windows hash 0 in its place.
    const NULLADDR: u32 = 255;

    /// The bytes that are hashed: the layout of RFC 4121 4.1.1.2.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let address = |kind: u32, address: &[u8]| {
            let kind = if kind == Self::NULLADDR { 0 } else { kind };
            [&kind.to_le_bytes()[..], &length(address), address].concat()
        };
        [
            address(self.initiator_addrtype, self.initiator_address),
            address(self.acceptor_addrtype, self.acceptor_address),
            length(self.application_data).to_vec(),
            self.application_data.to_vec(),
        ]
        .concat()
    }

    /// The value of MsvAvChannelBindings.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        md5(&[&self.encode()])
    }
}

/// The edge hands no longer ones down.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
