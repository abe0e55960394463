//! AV_PAIRs: what server and client tell each other about themselves.

use core::fmt;

use bitflags::bitflags;

use crate::{
    bytes::Reader,
    error::{Fault, FieldName, HostError, InvalidMessage, Message, Result},
    text::DisplayUtf16,
};

/// AvId, [MS-NLMP] 2.2.2.1. Ids without a name are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AvId(pub u16);

#[expect(non_upper_case_globals, reason = "the specification's names")]
impl AvId {
    /// The end of the list.
    pub const MsvAvEOL: Self = Self(0);
    /// NetBIOS name of the server.
    pub const MsvAvNbComputerName: Self = Self(1);
    /// NetBIOS name of its domain.
    pub const MsvAvNbDomainName: Self = Self(2);
    /// Fully qualified name of the server.
    pub const MsvAvDnsComputerName: Self = Self(3);
    /// Fully qualified name of its domain.
    pub const MsvAvDnsDomainName: Self = Self(4);
    /// Fully qualified name of its forest.
    pub const MsvAvDnsTreeName: Self = Self(5);
    /// [`AvFlags`].
    pub const MsvAvFlags: Self = Self(6);
    /// The server's time, a FILETIME.
    pub const MsvAvTimestamp: Self = Self(7);
    /// Single_Host_Data.
    pub const MsvAvSingleHost: Self = Self(8);
    /// The SPN of the service that the client wants to reach.
    pub const MsvAvTargetName: Self = Self(9);
    /// MD5 of the channel bindings.
    pub const MsvAvChannelBindings: Self = Self(10);

    /// Its name; `AvId` for one that has none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MsvAvEOL => "MsvAvEOL",
            Self::MsvAvNbComputerName => "MsvAvNbComputerName",
            Self::MsvAvNbDomainName => "MsvAvNbDomainName",
            Self::MsvAvDnsComputerName => "MsvAvDnsComputerName",
            Self::MsvAvDnsDomainName => "MsvAvDnsDomainName",
            Self::MsvAvDnsTreeName => "MsvAvDnsTreeName",
            Self::MsvAvFlags => "MsvAvFlags",
            Self::MsvAvTimestamp => "MsvAvTimestamp",
            Self::MsvAvSingleHost => "MsvAvSingleHost",
            Self::MsvAvTargetName => "MsvAvTargetName",
            Self::MsvAvChannelBindings => "MsvAvChannelBindings",
            Self(_) => "AvId",
        }
    }

    /// The length of a value of this id, where it is fixed.
    const fn fixed_len(self) -> Option<usize> {
        match self {
            Self::MsvAvEOL => Some(0),
            Self::MsvAvFlags => Some(4),
            Self::MsvAvTimestamp => Some(8),
            Self::MsvAvChannelBindings => Some(16),
            _ => None,
        }
    }

    const fn is_text(self) -> bool {
        matches!(self.0, 1..=5 | 9)
    }
}

bitflags! {
    /// The value of MsvAvFlags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct AvFlags: u32 {
        /// The account may authenticate only in a constrained way.
        const CONSTRAINED = 1;
        /// The AUTHENTICATE_MESSAGE has a MIC.
        const MIC = 2;
        /// The client took MsvAvTargetName from an untrusted source.
        const UNVERIFIED_TARGET_NAME = 4;

        const _ = !0;
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvPair<'a> {
    /// Which attribute.
    pub id: AvId,
    /// Its value, as in the message.
    pub value: &'a [u8],
}

/// A valid list of AV_PAIRs: each pair lies within the list, fixed lengths are right, text has an even length, and MsvAvEOL
/// ends the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetInfo<'a> {
    pairs: &'a [u8],
    /// The bytes behind MsvAvEOL, which have no meaning.
    pub(super) after_eol: &'a [u8],
}

impl<'a> TargetInfo<'a> {
    /// Reads the list at the start of `bytes`, which are from `field` of `message`. Anything may follow MsvAvEOL.
    ///
    /// # Errors
    /// When the list is not valid.
    pub fn decode(message: Message, field: FieldName, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(message, bytes);
        loop {
            let before = reader.rest().len();
            if before == 0 {
                return Err(reader.error(field, Fault::NoEnd));
            }
            let pair = read_pair(&mut reader, field)?;
            if pair.id.fixed_len().is_some_and(|len| len != pair.value.len()) {
                return Err(reader.error(field, Fault::WrongLength));
            }
            if pair.id.is_text() && !pair.value.len().is_multiple_of(2) {
                return Err(reader.error(field, Fault::OddLength));
            }
            if pair.id == AvId::MsvAvEOL {
                let end = bytes.len().saturating_sub(before);
                return Ok(Self { pairs: bytes.get(..end).unwrap_or(&[]), after_eol: reader.rest() });
            }
        }
    }

    /// The pairs in their order, without MsvAvEOL.
    pub fn pairs(&self) -> impl Iterator<Item = AvPair<'a>> + use<'a> {
        let mut reader = Reader::new(Message::Challenge, self.pairs);
        core::iter::from_fn(move || read_pair(&mut reader, FieldName::TargetInfo).ok())
    }

    /// The value of the first pair of `id`.
    #[must_use]
    pub fn find(&self, id: AvId) -> Option<&'a [u8]> {
        self.pairs().find(|pair| pair.id == id).map(|pair| pair.value)
    }

    /// MsvAvFlags; no flag where there is no such pair.
    #[must_use]
    pub fn flags(&self) -> AvFlags {
        let value = self.find(AvId::MsvAvFlags).and_then(|value| value.try_into().ok());
        AvFlags::from_bits_retain(u32::from_le_bytes(value.unwrap_or_default()))
    }

    /// MsvAvTimestamp.
    #[must_use]
    pub fn timestamp(&self) -> Option<[u8; 8]> {
        self.find(AvId::MsvAvTimestamp).and_then(|value| value.try_into().ok())
    }

    /// MsvAvChannelBindings. 16 zero bytes mean that the client has none ([MS-NLMP] 2.2.2.1).
    #[must_use]
    pub fn channel_bindings(&self) -> Option<[u8; 16]> {
        let value: Option<[u8; 16]> = self.find(AvId::MsvAvChannelBindings).and_then(|value| value.try_into().ok());
        value.filter(|value| *value != [0; 16])
    }

    /// Ensures that no id is in the list twice: two programs could use different ones of the two.
    ///
    /// # Errors
    /// When one does; the error names `field` of `message`.
    pub fn ensure_no_duplicates(&self, message: Message, field: FieldName) -> Result<()> {
        let (mut named, mut others) = (0_u64, Vec::new());
        for AvId(id) in self.pairs().map(|pair| pair.id) {
            let twice = match 1_u64.checked_shl(u32::from(id)) {
                Some(bit) => {
                    let twice = named & bit != 0;
                    named |= bit;
                    twice
                }
                None => {
                    others.try_reserve(1).map_err(|_| HostError::Memory)?;
                    others.push(id);
                    false
                }
            };
            if twice {
                return Err(InvalidMessage { message, field, fault: Fault::Duplicate }.into());
            }
        }
        others.sort_unstable();
        if others.is_sorted_by(|a, b| a < b) {
            Ok(())
        } else {
            Err(InvalidMessage { message, field, fault: Fault::Duplicate }.into())
        }
    }
}

/// The pairs for a person to read. Of a value that is not text, flags or a time, only the length is shown.
impl fmt::Display for TargetInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, AvPair { id, value }) in self.pairs().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}", id.name())?;
            match id {
                AvId::MsvAvFlags => write!(f, " {:#x}", u32::from_le_bytes(value.try_into().unwrap_or_default()))?,
                AvId::MsvAvTimestamp => write!(f, " {}", u64::from_le_bytes(value.try_into().unwrap_or_default()))?,
                _ if id.is_text() => write!(f, " {}", DisplayUtf16(value))?,
                AvId(id) => write!(f, "({id:#x}) of {} bytes", value.len())?,
            }
        }
        Ok(())
    }
}

fn read_pair<'a>(reader: &mut Reader<'a>, field: FieldName) -> Result<AvPair<'a>> {
    let id = AvId(reader.u16(field)?);
    let len = reader.u16(field)?;
    Ok(AvPair { id, value: reader.take(usize::from(len), field)? })
}

/// Makes a list of AV_PAIRs.
#[derive(Debug, Default)]
pub struct TargetInfoBuilder(Vec<u8>);

impl TargetInfoBuilder {
    /// Appends a pair.
    ///
    /// # Errors
    /// When the value is longer than 65,535 bytes, which is the most that an AvLen can say; [`HostError::Memory`].
    pub fn push(&mut self, id: AvId, value: &[u8]) -> Result<&mut Self> {
        self.begin(id, value.len())?;
        self.0.extend_from_slice(value);
        Ok(self)
    }

    /// Appends AvId and AvLen of a pair, and makes room for its value of `len` bytes.
    fn begin(&mut self, id: AvId, len: usize) -> Result<()> {
        /// The pairs of most messages fit into it, so that the list need not grow.
        const USUAL: usize = 256;
        let Ok(av_len) = u16::try_from(len) else {
            let fault = Fault::WrongLength;
            return Err(InvalidMessage { message: Message::Challenge, field: FieldName::TargetInfo, fault }.into());
        };
        // The pair, and MsvAvEOL.
        let more = len.saturating_add(8).max(if self.0.is_empty() { USUAL } else { 0 });
        self.0.try_reserve(more).map_err(|_| HostError::Memory)?;
        self.0.extend_from_slice(&id.0.to_le_bytes());
        self.0.extend_from_slice(&av_len.to_le_bytes());
        Ok(())
    }

    /// Appends a pair whose value is `text` in UTF-16LE.
    ///
    /// # Errors
    /// As [`TargetInfoBuilder::push`].
    pub fn push_text(&mut self, id: AvId, text: &str) -> Result<&mut Self> {
        self.begin(id, text.encode_utf16().count().saturating_mul(2))?;
        text.encode_utf16().for_each(|unit| self.0.extend_from_slice(&unit.to_le_bytes()));
        Ok(self)
    }

    /// The list, ended by MsvAvEOL.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 4]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<TargetInfo<'_>> {
        TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, bytes)
    }

    fn sample() -> Vec<u8> {
        let mut builder = TargetInfoBuilder::default();
        builder.push(AvId::MsvAvNbDomainName, b"D\0").unwrap();
        builder.push(AvId::MsvAvFlags, &[2, 0, 0, 0]).unwrap();
        builder.push(AvId(0x1234), b"kept").unwrap();
        builder.finish()
    }

    #[test]
    fn keeps_ids_without_a_name() {
        let bytes = sample();
        let info = decode(&bytes).unwrap();
        assert_eq!(info.find(AvId(0x1234)), Some(&b"kept"[..]));
        assert_eq!(info.flags(), AvFlags::MIC);
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
    }

    #[test]
    fn refuses_a_value_of_another_length_than_its_id_has() {
        for (id, right) in
            [(AvId::MsvAvFlags, 4), (AvId::MsvAvTimestamp, 8), (AvId::MsvAvChannelBindings, 16), (AvId(0x1234), 7)]
        {
            for len in 0..20 {
                let mut builder = TargetInfoBuilder::default();
                builder.push(id, &vec![0; len]).unwrap();
                assert_eq!(decode(&builder.finish()).is_ok(), len == right || id == AvId(0x1234), "{id:?} of {len}");
            }
        }
        assert!(decode(&[0, 0, 0, 0]).is_ok());
        assert!(decode(&[0, 0, 1, 0, 0]).is_err(), "an MsvAvEOL with a value");
    }

    #[test]
    fn refuses_an_id_that_is_there_twice() {
        for id in [AvId::MsvAvFlags, AvId(0xfff0)] {
            let mut builder = TargetInfoBuilder::default();
            builder.push(id, &[0; 4]).unwrap().push(id, &[0; 4]).unwrap();
            let bytes = builder.finish();
            let info = decode(&bytes).unwrap();
            assert!(info.ensure_no_duplicates(Message::Challenge, FieldName::TargetInfo).is_err());
        }
        let mut builder = TargetInfoBuilder::default();
        builder.push(AvId(0xfff1), b"").unwrap().push(AvId(0xfff0), b"").unwrap();
        for bytes in [sample(), builder.finish()] {
            decode(&bytes).unwrap().ensure_no_duplicates(Message::Challenge, FieldName::TargetInfo).unwrap();
        }
    }

    #[test]
    fn channel_bindings_are_not_shown() {
        let mut builder = TargetInfoBuilder::default();
        builder.push(AvId::MsvAvNbDomainName, b"D\0\n\0").unwrap().push(AvId::MsvAvFlags, &[2, 0, 0, 0]).unwrap();
        builder.push(AvId::MsvAvTimestamp, &[1, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        builder.push(AvId::MsvAvChannelBindings, &[7; 16]).unwrap();
        let shown = decode(&builder.finish()).unwrap().to_string();
        assert_eq!(
            shown,
            "MsvAvNbDomainName D\\n, MsvAvFlags 0x2, MsvAvTimestamp 257, MsvAvChannelBindings(0xa) of 16 bytes"
        );
    }

    #[test]
    fn zero_channel_bindings_are_none() {
        let mut builder = TargetInfoBuilder::default();
        builder.push(AvId::MsvAvChannelBindings, &[0; 16]).unwrap();
        assert_eq!(decode(&builder.finish()).unwrap().channel_bindings(), None);
    }
}
