//! NEGOTIATE_MESSAGE, [MS-NLMP] 2.2.1.1.

use crate::error::{Fault, FieldName, Message, Result};

use super::{
    NegotiateFlags,
    codec::{self, Field, Writer},
};

/// VERSION, [MS-NLMP] 2.2.2.10: the operating system of the sender. For debugging only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub [u8; Self::LEN]);

impl Version {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// What is sent instead where NTLMSSP_NEGOTIATE_VERSION is not set.
    pub const UNSAID: Self = Self([0; Self::LEN]);

    /// NTLMSSP_REVISION_W2K3.
    pub const W2K3: u8 = 15;

    /// NTLMRevisionCurrent.
    #[must_use]
    pub const fn revision(self) -> u8 {
        let [.., revision] = self.0;
        revision
    }
}

/// The client's first message: what the client supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiate<'a> {
    /// NegotiateFlags.
    pub flags: NegotiateFlags,
    /// DomainName in the OEM code page; empty unless its flag is set.
    pub domain: &'a [u8],
    /// Workstation in the OEM code page; empty unless its flag is set.
    pub workstation: &'a [u8],
    /// Version, where the flag is set and the message is long enough.
    pub version: Option<Version>,
}

impl<'a> Negotiate<'a> {
    const MESSAGE_TYPE: u32 = 1;
    /// Signature, MessageType, NegotiateFlags and the two fields.
    const FIXED: usize = 32;
    /// The longest message that is accepted: an acceptor keeps it, also in an exported context.
    const MAX: usize = 0xffff;

    /// Reads the message in `token`. Clients send 16 bytes (no fields), 32 (no Version), 40 and more.
    ///
    /// # Errors
    /// When it is not a NEGOTIATE_MESSAGE.
    pub fn decode(token: &'a [u8]) -> Result<Self> {
        let message = Message::Negotiate;
        let mut reader = codec::open(message, Self::MESSAGE_TYPE, token)?;
        if token.len() > Self::MAX {
            return Err(reader.error(FieldName::Token, Fault::WrongLength));
        }
        let flags = NegotiateFlags::from_bits_retain(reader.u32(FieldName::NegotiateFlags)?);
        if token.len() < Self::FIXED {
            return Ok(Self { flags, domain: &[], workstation: &[], version: None });
        }
        let domain = Field::read(&mut reader, FieldName::DomainName)?;
        let workstation = Field::read(&mut reader, FieldName::Workstation)?;
        let supplied = |flag, field: Field| {
            if flags.contains(flag) { field.resolve(message, token, Self::FIXED) } else { Ok(&[][..]) }
        };
        Ok(Self {
            flags,
            domain: supplied(NegotiateFlags::OEM_DOMAIN_SUPPLIED, domain)?,
            workstation: supplied(NegotiateFlags::OEM_WORKSTATION_SUPPLIED, workstation)?,
            version: if flags.contains(NegotiateFlags::VERSION) {
                reader.array(FieldName::Version).ok().map(Version)
            } else {
                None
            },
        })
    }

    /// Writes the message.
    ///
    /// # Errors
    /// When a name is longer than 65,535 bytes, which is the most that a field can hold.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let header = Self::FIXED.saturating_add(if self.version.is_some() { Version::LEN } else { 0 });
        let payload = self.domain.len().saturating_add(self.workstation.len());
        let mut writer = Writer::new(Message::Negotiate, Self::MESSAGE_TYPE, header, payload)?;
        let domain = writer.place(FieldName::DomainName, self.domain)?;
        let workstation = writer.place(FieldName::Workstation, self.workstation)?;
        writer.u32(self.flags.bits()).field(domain).field(workstation);
        if let Some(Version(version)) = self.version {
            writer.bytes(&version);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let flags = NegotiateFlags::from_bits_retain(0xe208_b2b7);
        let version = Some(Version([6, 1, 0xb1, 0x1d, 0, 0, 0, 15]));
        Negotiate { flags, domain: b"DOMAIN", workstation: b"HOST", version }.encode().unwrap()
    }

    #[test]
    fn a_message_is_as_long_as_the_limit_at_most() {
        let mut token = vec![0; Negotiate::MAX];
        token[..12].copy_from_slice(b"NTLMSSP\0\x01\0\0\0");
        assert!(Negotiate::decode(&token).is_ok());
        for len in [Negotiate::MAX + 1, Negotiate::MAX + 2] {
            token.resize(len, 0);
            assert!(Negotiate::decode(&token).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn accepts_every_length_that_clients_send() {
        for (bytes, with_version) in [(16, false), (32, false), (40, true), (60, true)] {
            let mut token = Negotiate {
                flags: NegotiateFlags::UNICODE | NegotiateFlags::VERSION,
                domain: &[],
                workstation: &[],
                version: Some(Version([1; 8])),
            }
            .encode()
            .unwrap();
            token.resize(bytes, 0);
            let negotiate = Negotiate::decode(&token).unwrap();
            assert_eq!(negotiate.version.is_some(), with_version, "{bytes}");
        }
    }

    #[test]
    fn a_truncated_or_changed_message_is_refused_or_reads_the_same_when_written_again() {
        crate::wire::tests::sweep(&sample(), |bytes| Negotiate::decode(bytes)?.encode());
    }

    #[test]
    fn refuses_truncations_of_what_the_message_announces() {
        let bytes = sample();
        for len in (0..16).chain(32..bytes.len()) {
            assert!(Negotiate::decode(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
    }
}
