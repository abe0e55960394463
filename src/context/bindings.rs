//! MsvAvChannelBindings made of channel bindings.

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
    /// What identifies the channel, such as `tls-server-end-point:` and the hash of the certificate.
    pub application_data: &'a [u8],
}

impl ChannelBindings<'_> {
    /// GSS_C_AF_NULLADDR: no address.
    const NULLADDR: u32 = 255;

    /// The bytes that are hashed: the layout of RFC 4121 4.1.1.2.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.initiator_addrtype.to_le_bytes()[..],
            &length(self.initiator_address),
            self.initiator_address,
            &self.acceptor_addrtype.to_le_bytes(),
            &length(self.acceptor_address),
            self.acceptor_address,
            &length(self.application_data),
            self.application_data,
        ]
        .concat()
    }

    /// MD5 of the bindings as they are.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        md5(&[&self.encode()])
    }

    /// The value of MsvAvChannelBindings: the hash with 0 instead of GSS_C_AF_NULLADDR, because Windows has no such type.
    // Deviates: RFC 2744 hashes the address types as they are.
    #[must_use]
    pub fn av_value(&self) -> [u8; 16] {
        let known = |addrtype| if addrtype == Self::NULLADDR { 0 } else { addrtype };
        Self {
            initiator_addrtype: known(self.initiator_addrtype),
            acceptor_addrtype: known(self.acceptor_addrtype),
            ..*self
        }
        .hash()
    }
}

/// The length as 32 bits. `abi` passes no longer bytes.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_part_of_what_is_hashed() {
        let bindings = ChannelBindings {
            initiator_addrtype: 2,
            initiator_address: b"a",
            acceptor_addrtype: 0x0102_0304,
            acceptor_address: b"",
            application_data: &[b'x'; 258],
        };
        let header = *b"\x02\0\0\0\x01\0\0\0a\x04\x03\x02\x01\0\0\0\0\x02\x01\0\0";
        assert_eq!(bindings.encode(), [&header[..], &[b'x'; 258]].concat());
    }

    #[test]
    fn a_missing_address_is_hashed_as_in_windows() {
        let plain = ChannelBindings { application_data: b"tls-unique:x", ..ChannelBindings::default() };
        let null = ChannelBindings { initiator_addrtype: 255, acceptor_addrtype: 255, ..plain };
        assert_eq!(null.av_value(), plain.hash());
        assert_ne!(null.hash(), plain.hash());
    }
}
