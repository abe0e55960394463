//! A cursor over borrowed bytes: nothing is indexed, every length is checked, every error names the field.

#![forbid(unsafe_code)]

use crate::error::{ApiMisuse, Error, Fault, FieldName, InvalidMessage, Message, Result};

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
    pub fn error(&self, field: FieldName, fault: Fault) -> Error {
        InvalidMessage { message: self.message, field, fault }.into()
    }
}

impl<'a> Reader<'a> {
    /// The bytes that [`put`] wrote.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn counted(&mut self, field: FieldName) -> Result<&'a [u8]> {
        let len = self.u32(field)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), field)
    }

    /// A byte that is 0 or 1.
    ///
    /// # Errors
    /// When it is another, or there is none.
    pub fn boolean(&mut self, field: FieldName) -> Result<bool> {
        match self.array(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(self.error(field, Fault::WrongValue)),
        }
    }

    /// The end of the token.
    ///
    /// # Errors
    /// When there is more.
    pub fn end(&self, field: FieldName) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(field, Fault::WrongLength)) }
    }
}

/// Appends `bytes` to an exported token, their 32-bit length before them.
///
/// # Errors
/// [`ApiMisuse::BadArgument`] when they are longer than that can say.
pub fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| ApiMisuse::BadArgument)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
