//! A cursor over borrowed bytes, and a writer that places payload. Nothing is indexed, every length is checked.

use crate::error::{Fault, FieldName, InvalidMessage, Message, Result};

use super::{MAX_TOKEN, SIGNATURE};

/// Reads a token from its start.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    message: Message,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`; its errors name `message`.
    #[must_use]
    pub const fn new(message: Message, bytes: &'a [u8]) -> Self {
        Self { message, rest: bytes }
    }

    /// Reads Signature and MessageType and compares them.
    ///
    /// # Errors
    /// When they are not there, are others', or the token is longer than [`MAX_TOKEN`].
    pub fn header(message: Message, message_type: u32, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Self::new(message, bytes);
        if bytes.len() > MAX_TOKEN {
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

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn array<const N: usize>(&mut self, field: FieldName) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error(field, Fault::Truncated));
        };
        self.rest = rest;
        Ok(*head)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn take(&mut self, len: usize, field: FieldName) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.error(field, Fault::Truncated));
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next 16-bit number, little-endian as all of the wire.
    ///
    /// # Errors
    /// When there are fewer bytes.
    pub fn u16(&mut self, field: FieldName) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// The next 32-bit number.
    ///
    /// # Errors
    /// When there are fewer bytes.
    pub fn u32(&mut self, field: FieldName) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// The bytes not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The error that `field` of this message has `fault`.
    #[must_use]
    pub fn error(&self, field: FieldName, fault: Fault) -> crate::error::Error {
        InvalidMessage { message: self.message, field, fault }.into()
    }
}

/// Len, MaxLen and BufferOffset of a payload field. MaxLen is ignored on receipt and equals Len when sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    len: u16,
    offset: u32,
    name: FieldName,
}

impl Field {
    /// The size of a field in the fixed header, in bytes.
    pub const LEN: usize = 8;

    /// A field that points at nothing.
    #[must_use]
    pub const fn empty(name: FieldName) -> Self {
        Self { len: 0, offset: 0, name }
    }

    /// Reads a field.
    ///
    /// # Errors
    /// When there are fewer than eight bytes.
    pub fn read(reader: &mut Reader<'_>, name: FieldName) -> Result<Self> {
        let len = reader.u16(name)?;
        let _max_len = reader.u16(name)?;
        let offset = reader.u32(name)?;
        Ok(Self { len, offset, name })
    }

    /// Where the payload starts, or `None` when the field is empty and its offset means nothing.
    #[must_use]
    pub fn start(self) -> Option<usize> {
        if self.len == 0 { None } else { Some(usize::try_from(self.offset).unwrap_or(usize::MAX)) }
    }

    /// The bytes pointed at, which must lie in `token` behind its first `header` bytes.
    ///
    /// # Errors
    /// When they do not.
    pub fn resolve(self, message: Message, token: &[u8], header: usize) -> Result<&[u8]> {
        let Some(start) = self.start() else { return Ok(&[]) };
        start
            .checked_add(usize::from(self.len))
            .filter(|_| start >= header)
            .and_then(|end| token.get(start..end))
            .ok_or_else(|| InvalidMessage { message, field: self.name, fault: Fault::OutsideMessage }.into())
    }

    /// The same for text in UTF-16LE, whose number of bytes must be even.
    ///
    /// # Errors
    /// As [`Field::resolve`], and when the length is odd.
    pub fn resolve_utf16(self, message: Message, token: &[u8], header: usize) -> Result<&[u8]> {
        let text = self.resolve(message, token, header)?;
        if text.len().is_multiple_of(2) {
            Ok(text)
        } else {
            Err(InvalidMessage { message, field: self.name, fault: Fault::OddLength }.into())
        }
    }
}

/// Writes a message: the fixed header from its start, payload behind it.
#[derive(Debug)]
pub struct Writer {
    message: Message,
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    /// A writer of a message whose fixed header is `header` bytes long, with room for `payload` more.
    #[must_use]
    pub fn new(message: Message, message_type: u32, header: usize, payload: usize) -> Self {
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
    pub fn place(&mut self, name: FieldName, data: &[u8]) -> Result<Field> {
        let (Ok(len), Ok(offset)) = (u16::try_from(data.len()), u32::try_from(self.bytes.len())) else {
            return Err(InvalidMessage { message: self.message, field: name, fault: Fault::WrongLength }.into());
        };
        self.bytes.extend_from_slice(data);
        Ok(Field { len, offset, name })
    }

    /// Writes a field into the header.
    pub fn field(&mut self, field: Field) -> &mut Self {
        self.bytes(&field.len.to_le_bytes()).bytes(&field.len.to_le_bytes()).u32(field.offset)
    }

    /// Writes a 32-bit number into the header.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes bytes into the header.
    pub fn bytes(&mut self, data: &[u8]) -> &mut Self {
        let end = self.at.saturating_add(data.len());
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(data);
        }
        self.at = end;
        self
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
