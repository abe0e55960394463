//! Reading and writing bytes: a cursor over borrowed bytes that checks every length and whose errors name the field, and the
//! framing of exported tokens, which are a version (1), the contents, and a checksum of both (8).
//!
//! Where a peer, a file or the application decides how long something is, its memory is asked for with [`reserve`], [`concat()`]
//! or [`collect`]: that there is none is an error, and not the end of the program.

#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};

use zeroize::Zeroize as _;

use crate::error::{ApiMisuse, Error, Fault, FieldName, HostError, InvalidMessage, Message, Result};

/// The length of the checksum at the end of an exported token, in bytes.
pub const CHECKSUM_LEN: usize = 8;

/// Bytes that are wiped when they are dropped, many at a time; `Zeroizing` takes one at a time.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl core::ops::Deref for SecretBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl core::ops::DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// Makes room in `out` for `more` elements, and for no others: a vector that grows leaves copies behind.
///
/// # Errors
/// [`HostError::Memory`].
pub fn reserve<T>(out: &mut Vec<T>, more: usize) -> Result<()> {
    out.try_reserve_exact(more).map_err(|_| HostError::Memory.into())
}

/// The parts, one after the other.
///
/// # Errors
/// [`HostError::Memory`].
pub fn concat(parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    reserve(&mut out, parts.iter().fold(0, |sum, part| part.len().saturating_add(sum)))?;
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(out)
}

/// A copy of `text`.
///
/// # Errors
/// [`HostError::Memory`].
pub fn copy_text(text: &str) -> Result<String> {
    let mut out = String::new();
    out.try_reserve_exact(text.len()).map_err(|_| HostError::Memory)?;
    out.push_str(text);
    Ok(out)
}

/// `value` in memory of its own: an array of one, for that of a plain `Box` cannot be asked for.
///
/// # Errors
/// [`HostError::Memory`].
pub fn boxed<T>(value: T) -> Result<Box<[T; 1]>> {
    let mut out = Vec::new();
    reserve(&mut out, 1)?;
    out.push(value);
    out.into_boxed_slice().try_into().map_err(|_| Error::Internal)
}

/// The items in a vector.
///
/// # Errors
/// Those of the items, and [`HostError::Memory`].
pub fn collect<T>(items: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut out = Vec::new();
    for item in items {
        out.try_reserve(1).map_err(|_| HostError::Memory)?;
        out.push(item?);
    }
    Ok(out)
}

/// Ensures that the system has memory for `len` bytes and some more, before a file or an entry of it is read: what a file has
/// much of must not use up what is reserved for all calls.
///
/// # Errors
/// [`HostError::Memory`].
pub fn ensure_memory(len: usize) -> Result<()> {
    reserve(&mut Vec::<u8>::new(), len.saturating_add(0x4000))
}

/// What `value` displays.
///
/// # Errors
/// [`HostError::Memory`].
pub fn display(value: impl fmt::Display) -> Result<String> {
    let mut out = Growing(String::new());
    write!(out, "{value}").map_err(|_| HostError::Memory)?;
    Ok(out.0)
}

/// A text that grows where there is memory.
struct Growing(String);

impl fmt::Write for Growing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

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
    /// A reader of the contents of an exported token, which has this `version`.
    ///
    /// # Errors
    /// When the checksum is missing or wrong, or the version is another one.
    pub fn open_export(message: Message, version: u8, token: &'a [u8]) -> Result<Self> {
        // The version first: another one may have another checksum.
        if Self::new(message, token).array(FieldName::Version)? != [version] {
            return Err(Self::new(message, token).error(FieldName::Version, Fault::WrongValue));
        }
        let body = token.split_last_chunk().filter(|(body, sum)| checksum(body) == **sum).map(|(body, _)| body);
        let mut reader = Self::new(message, body.unwrap_or(&[]));
        if body.is_none() {
            return Err(reader.error(FieldName::Contents, Fault::WrongValue));
        }
        let [_version] = reader.array(FieldName::Version)?;
        Ok(reader)
    }

    /// The bytes that [`write_prefixed`] wrote.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn read_prefixed(&mut self, field: FieldName) -> Result<&'a [u8]> {
        let len = self.u32(field)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), field)
    }

    /// What [`write_optional`] wrote; `read` reads the value where there is one.
    ///
    /// # Errors
    /// When the byte before it is neither 0 nor 1, and as `read`.
    pub fn read_optional<T>(
        &mut self, field: FieldName, read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.boolean(field)? { read(self).map(Some) } else { Ok(None) }
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

/// Appends `bytes` to an exported token, with their 32-bit length before them.
///
/// # Errors
/// [`ApiMisuse::BadArgument`] when they are longer than 32 bits can say; [`HostError::Memory`].
pub fn write_prefixed(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    /// Room for the numbers and the checksum that may follow.
    const ROOM: usize = 64;
    let len = u32::try_from(bytes.len()).map_err(|_| ApiMisuse::BadArgument)?;
    reserve(out, bytes.len().saturating_add(ROOM))?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends to an exported token whether there is a `value` (1 or 0) and, where there is, what `write` writes of it.
///
/// # Errors
/// As `write`.
pub fn write_optional<T>(
    out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T) -> Result<()>,
) -> Result<()> {
    out.push(u8::from(value.is_some()));
    value.map_or(Ok(()), |value| write(out, value))
}

/// Ends an exported token with its checksum. The checksum finds accidents only: it is no secret how to compute it.
pub fn append_checksum(out: &mut Vec<u8>) {
    let sum = checksum(out);
    out.extend_from_slice(&sum);
}

/// A change within one aligned word of eight bytes always changes it. Another change is missed about once in 2⁶⁴.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    /// Odd, so that no two factors have the same product.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (blocks, rest) = body.as_chunks();
    let mut last = [0; 32];
    last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    // Each word of a block has a sum of its own, so that none waits for another.
    let mut sums = [0, 1, 2, u64::try_from(body.len()).unwrap_or(u64::MAX)];
    for block in blocks.iter().chain([&last]) {
        sums.iter_mut().zip(block.as_chunks().0).for_each(|(sum, word)| *sum = mix(*sum, u64::from_le_bytes(*word)));
    }
    let sum = sums.into_iter().fold(0, mix);
    mix(sum, sum >> 32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: u8 = 7;
    const CONTENTS: [u8; 75] = [b'c'; 75];

    fn export() -> Vec<u8> {
        // Longer than two blocks of the checksum, so that each of its four sums has words of several.
        let mut out = vec![VERSION];
        write_prefixed(&mut out, &CONTENTS).unwrap();
        append_checksum(&mut out);
        out
    }

    fn import(token: &[u8]) -> Result<Vec<u8>> {
        let mut reader = Reader::open_export(Message::ExportedContext, VERSION, token)?;
        let contents = reader.read_prefixed(FieldName::Contents)?.to_vec();
        reader.end(FieldName::Contents)?;
        Ok(contents)
    }

    #[test]
    fn an_exported_token_reads_back_and_a_changed_one_is_refused() {
        let token = export();
        assert_eq!(import(&token).as_deref(), Ok(&CONTENTS[..]));
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(import(&changed).is_err(), "bit {bit}");
        }
        for len in 0..token.len() {
            assert!(import(&token[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_checksum_is_the_same_on_every_architecture() {
        let bodies = [&b""[..], b"abc", b"12345678", b"0123456789abcdef0123456789abcdefg"];
        let sums = bodies.map(|body| u64::from_le_bytes(checksum(body)));
        let expected = [0xf2b5_c26e_a9bd_6589, 0xe1d3_2003_45a9_4ab3, 0xf08c_6dcd_fd51_2ad4, 0x8b50_a2c3_b665_c492];
        assert_eq!(sums, expected);
    }

    #[test]
    fn a_token_of_another_version_or_with_more_in_it_is_refused() {
        for (body, field, fault) in [
            (&[VERSION + 1, 0, 0, 0, 0][..], FieldName::Version, Fault::WrongValue),
            (&[VERSION, 0, 0, 0, 0, 0], FieldName::Contents, Fault::WrongLength),
            (&[VERSION, 2, 0, 0, 0, 0], FieldName::Contents, Fault::Truncated),
            (&[VERSION, 255, 255, 255, 255, 0], FieldName::Contents, Fault::Truncated),
        ] {
            let mut token = body.to_vec();
            append_checksum(&mut token);
            let error = InvalidMessage { message: Message::ExportedContext, field, fault };
            assert_eq!(import(&token), Err(error.into()), "{body:?}");
        }
    }

    #[test]
    fn an_optional_value_is_there_or_not_and_nothing_else() {
        let read = |bytes: &[u8]| {
            Reader::new(Message::ExportedContext, bytes)
                .read_optional(FieldName::Contents, |reader| reader.u16(FieldName::Contents))
        };
        for value in [None, Some(0x0201)] {
            let mut out = Vec::new();
            write_optional(&mut out, value, |out, value: u16| {
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            })
            .unwrap();
            assert_eq!(read(&out), Ok(value));
        }
        assert!(read(&[2, 1, 2]).is_err());
    }
}
