//! The frame of a message: its header, payload fields, and a writer that places them.

use crate::{
    bytes::Reader,
    error::{Fault, FieldName, InvalidMessage, Message, Result},
    text::Charset,
};

use super::{MAX_TOKEN, SIGNATURE};

/// A reader of `token` behind its Signature and MessageType, which are compared.
///
/// # Errors
/// When they are not there, are others', or the token is longer than [`MAX_TOKEN`].
pub(super) fn open(message: Message, message_type: u32, token: &[u8]) -> Result<Reader<'_>> {
    let mut reader = Reader::new(message, token);
    if token.len() > MAX_TOKEN {
        return Err(reader.error(FieldName::Token, Fault::WrongLength));
    }
    if reader.array(FieldName::Signature)? != SIGNATURE {
        return Err(reader.error(FieldName::Signature, Fault::WrongValue));
    }
    if reader.u32(FieldName::MessageType)? != message_type {
        return Err(reader.error(FieldName::MessageType, Fault::WrongValue));
    }
    Ok(reader)
}

/// Len, MaxLen and BufferOffset of a payload field. MaxLen is ignored on receipt and equals Len when sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    len: u16,
    offset: u32,
    name: FieldName,
}

impl Field {
    /// The size of a field in the fixed header, in bytes.
    pub(super) const LEN: usize = 8;

    /// A field that points at nothing.
    #[must_use]
    pub(super) const fn empty(name: FieldName) -> Self {
        Self { len: 0, offset: 0, name }
    }

    /// Reads a field.
    ///
    /// # Errors
    /// When there are fewer than eight bytes.
    pub(super) fn read(reader: &mut Reader<'_>, name: FieldName) -> Result<Self> {
        let len = reader.u16(name)?;
        let _max_len = reader.u16(name)?;
        let offset = reader.u32(name)?;
        Ok(Self { len, offset, name })
    }

    /// Where the payload starts, or `None` when the field is empty and its offset means nothing.
    #[must_use]
    pub(super) fn start(self) -> Option<usize> {
        if self.len == 0 { None } else { Some(usize::try_from(self.offset).unwrap_or(usize::MAX)) }
    }

    /// The bytes pointed at, which must lie in `token` behind its first `header` bytes.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn resolve(self, message: Message, token: &[u8], header: usize) -> Result<&[u8]> {
        let Some(start) = self.start() else { return Ok(&[]) };
        start
            .checked_add(usize::from(self.len))
            .filter(|_| start >= header)
            .and_then(|end| token.get(start..end))
            .ok_or_else(|| InvalidMessage { message, field: self.name, fault: Fault::OutsideMessage }.into())
    }

    /// The same for text, whose number of bytes must be even in UTF-16LE.
    ///
    /// # Errors
    /// As [`Field::resolve`], and when the length is odd.
    pub(super) fn resolve_text(self, charset: Charset, message: Message, token: &[u8], header: usize) -> Result<&[u8]> {
        let text = self.resolve(message, token, header)?;
        if charset == Charset::Oem || text.len().is_multiple_of(2) {
            Ok(text)
        } else {
            Err(InvalidMessage { message, field: self.name, fault: Fault::OddLength }.into())
        }
    }
}

/// Writes a message: the fixed header from its start, payload behind it.
#[derive(Debug)]
pub(super) struct Writer {
    message: Message,
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    /// A writer of a message whose fixed header is `header` bytes long, with room for `payload` more.
    #[must_use]
    pub(super) fn new(message: Message, message_type: u32, header: usize, payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(header.saturating_add(payload));
        bytes.resize(header, 0);
        let mut writer = Self { message, bytes, at: 0 };
        writer.bytes(&SIGNATURE).u32(message_type);
        writer
    }

    /// Appends `data` to the payload.
    ///
    /// # Errors
    /// When it is longer than a Len can say.
    pub(super) fn place(&mut self, name: FieldName, data: &[u8]) -> Result<Field> {
        let (Ok(len), Ok(offset)) = (u16::try_from(data.len()), u32::try_from(self.bytes.len())) else {
            return Err(InvalidMessage { message: self.message, field: name, fault: Fault::WrongLength }.into());
        };
        self.bytes.extend_from_slice(data);
        Ok(Field { len, offset, name })
    }

    /// Writes a field into the header.
    pub(super) fn field(&mut self, field: Field) -> &mut Self {
        self.bytes(&field.len.to_le_bytes()).bytes(&field.len.to_le_bytes()).u32(field.offset)
    }

    /// Writes a 32-bit number into the header.
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes bytes into the header.
    pub(super) fn bytes(&mut self, data: &[u8]) -> &mut Self {
        let end = self.at.saturating_add(data.len());
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(data);
        }
        self.at = end;
        self
    }

    /// The message.
    #[must_use]
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
