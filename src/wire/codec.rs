//! What all messages have in common: Signature and MessageType, and fields that point into the payload.

use crate::{
    bytes::{self, Reader},
    error::{Error, Fault, FieldName, InvalidMessage, Message, Result},
    text::Charset,
};

use super::{MAX_TOKEN, SIGNATURE};

/// Checks Signature and MessageType, and returns a reader of what follows them in `token`.
///
/// # Errors
/// When they are missing or wrong, or the token is longer than [`MAX_TOKEN`].
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

    /// An empty field.
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

    /// The offset of the payload; `None` when the field is empty, for then its offset has no meaning.
    #[must_use]
    pub(super) fn start(self) -> Option<usize> {
        if self.len == 0 { None } else { Some(usize::try_from(self.offset).unwrap_or(usize::MAX)) }
    }

    /// The bytes that the field points at. They must be in `token`, behind its first `header` bytes.
    ///
    /// # Errors
    /// When they are not.
    pub(super) fn resolve(self, message: Message, token: &[u8], header: usize) -> Result<&[u8]> {
        let Some(start) = self.start() else { return Ok(&[]) };
        start
            .checked_add(usize::from(self.len))
            .filter(|_| start >= header)
            .and_then(|end| token.get(start..end))
            .ok_or_else(|| InvalidMessage { message, field: self.name, fault: Fault::OutsideMessage }.into())
    }

    /// The same for text: in UTF-16LE the number of its bytes must be even.
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

/// Writes a message: the fixed header from its start, and the payload behind it.
///
/// A header field that is never written keeps its bytes of 0xff. They point outside every message, so the peer refuses it.
#[derive(Debug)]
pub(super) struct Writer {
    message: Message,
    bytes: Vec<u8>,
    /// The length of the fixed header.
    header: usize,
    /// The offset of the next header field; `None` after one did not fit.
    at: Option<usize>,
}

impl Writer {
    /// A writer of a message whose fixed header is `header` bytes long, with room for `payload` more.
    ///
    /// # Errors
    /// [`crate::error::HostError::Memory`].
    pub(super) fn new(message: Message, message_type: u32, header: usize, payload: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        bytes::reserve(&mut bytes, header.saturating_add(payload))?;
        bytes.resize(header, 0xff);
        let mut writer = Self { message, bytes, header, at: Some(0) };
        writer.bytes(&SIGNATURE).u32(message_type);
        Ok(writer)
    }

    /// Appends `data` to the payload.
    ///
    /// # Errors
    /// When it is longer than 65,535 bytes, which is the most that a Len can say.
    pub(super) fn place(&mut self, name: FieldName, data: &[u8]) -> Result<Field> {
        let (Ok(len), Ok(offset)) = (u16::try_from(data.len()), u32::try_from(self.bytes.len())) else {
            return Err(InvalidMessage { message: self.message, field: name, fault: Fault::WrongLength }.into());
        };
        bytes::reserve(&mut self.bytes, data.len())?;
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
        self.at = self.at.and_then(|at| {
            let end = at.checked_add(data.len()).filter(|end| *end <= self.header)?;
            self.bytes.get_mut(at..end)?.copy_from_slice(data);
            Some(end)
        });
        self
    }

    /// The message.
    ///
    /// # Errors
    /// [`Error::Internal`] when more was written into the header than it has room for.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.at.map(|_| self.bytes).ok_or(Error::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message = Message::Challenge;
    const HEADER: usize = 12 + 2 * Field::LEN;

    fn writer() -> (Writer, Field) {
        let mut writer = Writer::new(MESSAGE, 2, HEADER, 4).unwrap();
        let field = writer.place(FieldName::TargetName, b"name").unwrap();
        (writer, field)
    }

    #[test]
    fn a_token_is_as_long_as_the_limit_at_most() {
        let mut token = vec![0; MAX_TOKEN];
        token[..12].copy_from_slice(b"NTLMSSP\0\x02\0\0\0");
        assert!(open(MESSAGE, 2, &token).is_ok());
        for len in [MAX_TOKEN + 1, MAX_TOKEN + 2] {
            token.resize(len, 0);
            assert!(open(MESSAGE, 2, &token).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_does_not_fit_into_the_header_is_an_internal_error() {
        let (mut writer, field) = writer();
        writer.field(field).field(field);
        let at_the_limit = writer.finish().unwrap();
        assert_eq!(at_the_limit.len(), HEADER + 4);
        for too_much in [1, 5] {
            let (mut writer, field) = self::writer();
            writer.field(field).field(field).bytes(&vec![0; too_much]);
            assert_eq!(writer.finish(), Err(Error::Internal), "and the payload is not overwritten");
        }
        // What would still fit does not hide what did not.
        let (mut writer, field) = self::writer();
        writer.field(field).bytes(&[0; 9]).bytes(&[0; 8]);
        assert_eq!(writer.finish(), Err(Error::Internal));
    }

    #[test]
    fn a_forgotten_field_points_outside_the_message() {
        let (mut writer, field) = writer();
        writer.field(field);
        let token = writer.finish().unwrap();
        let mut reader = open(MESSAGE, 2, &token).unwrap();
        let [written, forgotten] = [(); 2].map(|()| Field::read(&mut reader, FieldName::TargetName).unwrap());
        assert_eq!(written.resolve(MESSAGE, &token, HEADER), Ok(&b"name"[..]));
        let (field, fault) = (FieldName::TargetName, Fault::OutsideMessage);
        let outside = InvalidMessage { message: MESSAGE, field, fault };
        assert_eq!(forgotten.resolve(MESSAGE, &token, HEADER), Err(outside.into()));
    }
}
