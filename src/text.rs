//! Strings of the protocol: UTF-16LE or OEM on the wire, compared without regard to case.

#![forbid(unsafe_code)]

mod upper_case;

use core::fmt;
use std::borrow::Cow;

use crate::{
    bytes::{self, SecretBytes},
    error::{ApiMisuse, Result},
};

/// How many letters of a name are read at most. No account has such a long one (1024 bytes), so it does not matter who else it
/// would name.
const MAX_NAME: usize = 1025;

/// `text` in UTF-16LE, without byte order mark or NUL ([MS-NLMP] 2.2).
#[must_use]
pub fn to_utf16le(text: &str) -> Vec<u8> {
    // All the capacity at once: a vector that grows leaves copies of a password behind. No text has more UTF-16 units than
    // UTF-8 bytes.
    let mut bytes = Vec::with_capacity(text.len().saturating_mul(2));
    text.encode_utf16().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
    bytes
}

/// The name that `bytes` spell in UTF-16LE; `None` if they are not UTF-16 (odd length, half of a surrogate pair), or spell more
/// than the two parts of a name.
#[must_use]
pub fn from_utf16le(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) || bytes.len() > 4 * MAX_NAME {
        return None;
    }
    char::decode_utf16(units(bytes)).collect::<core::result::Result<String, _>>().ok()
}

/// `bytes` as text, with U+FFFD in place of what is not, and whether all of it is text. What is wrong makes no difference to the
/// work.
#[must_use]
pub fn from_utf16le_lossy(bytes: &[u8]) -> (String, bool) {
    let (mut text, mut is_text) = (String::with_capacity(bytes.len()), bytes.len().is_multiple_of(2));
    for unit in char::decode_utf16(units(bytes)) {
        is_text &= unit.is_ok();
        text.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    (text, is_text)
}

/// `password` in UTF-16LE. A password is UTF-8 that may also contain half of a surrogate pair (U+D800 to U+DFFF in three
/// bytes): the passwords that computers choose for their accounts are any 16-bit units.
///
/// # Errors
/// [`ApiMisuse::BadPassword`] if it is something else; [`crate::error::HostError::Memory`].
pub fn password_to_utf16le(password: &[u8]) -> Result<SecretBytes> {
    // All the capacity at once, as above.
    let mut bytes = SecretBytes::default();
    bytes::reserve(&mut bytes, password.len().saturating_mul(2))?;
    push_password(&mut bytes, password).ok_or(ApiMisuse::BadPassword)?;
    Ok(bytes)
}

fn push_password(bytes: &mut Vec<u8>, password: &[u8]) -> Option<()> {
    let mut rest = password;
    loop {
        let (text, half) = match str::from_utf8(rest) {
            Ok(text) => (text, None),
            Err(error) => {
                let (valid, wrong) = rest.split_at_checked(error.valid_up_to())?;
                (str::from_utf8(valid).ok()?, Some(wrong))
            }
        };
        text.encode_utf16().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
        let Some(half) = half else { return Some(()) };
        let ([first, second, third], after) = half.split_first_chunk()?;
        if *first != 0xed || !matches!(second, 0xa0..=0xbf) || !matches!(third, 0x80..=0xbf) {
            return None;
        }
        let unit = 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
        bytes.extend_from_slice(&unit.to_le_bytes());
        rest = after;
    }
}

/// `text` in the OEM code page, which the protocol does not name: here it is Latin-1. `None` if it lacks a letter.
#[must_use]
pub fn to_oem(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn oem_to_utf16le(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| u16::from(*byte).to_le_bytes()).collect()
}

/// The character set of the strings in a message: UTF-16LE, or the OEM code page if one side does not support Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-16LE.
    Unicode,
    /// The OEM code page.
    Oem,
}

impl Charset {
    /// `text` as on the wire; `None` if the character set lacks a letter.
    #[must_use]
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Unicode => Some(to_utf16le(text)),
            Self::Oem => to_oem(text),
        }
    }

    /// A name on the wire, in UTF-16LE, cut where it is longer than any name.
    #[must_use]
    pub fn to_utf16le(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let cut = |len| bytes.get(..len).unwrap_or(bytes);
        match self {
            Self::Unicode => Cow::Borrowed(cut(2 * MAX_NAME)),
            Self::Oem => Cow::Owned(oem_to_utf16le(cut(MAX_NAME))),
        }
    }
}

/// UTF-16LE text from elsewhere on one line, as [`Escaped`]; what is not UTF-16 becomes U+FFFD.
#[derive(Debug, Clone, Copy)]
pub struct DisplayUtf16<'a>(pub &'a [u8]);

impl fmt::Display for DisplayUtf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        char::decode_utf16(units(self.0))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .try_for_each(|c| write_escaped(c, f))
    }
}

/// Text from elsewhere on one line: it must not look like several lines, control a terminal or change the direction of
/// writing, so the characters that do are escaped.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_fmt(&mut Escaper(f), format_args!("{}", self.0))
    }
}

/// Passes on what is written to it, escaped.
struct Escaper<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| write_escaped(c, self.0))
    }
}

fn write_escaped(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Line and paragraph separators; embeddings, overrides and isolates of the bidirectional algorithm.
    let is_format = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || is_format { write!(f, "{}", c.escape_default()) } else { fmt::Write::write_char(f, c) }
}

/// `bytes` (UTF-16LE) with every letter in upper case, unit by unit as Windows does it, so that `ß` stays.
#[must_use]
pub fn upper_utf16le(bytes: &[u8]) -> Vec<u8> {
    let mut upper = bytes.as_chunks::<2>().0.as_flattened().to_vec();
    for unit in upper.as_chunks_mut().0 {
        *unit = upper_unit(u16::from_le_bytes(*unit)).to_le_bytes();
    }
    upper
}

/// `text` with every letter in upper case, as [`upper_utf16le`].
#[must_use]
pub fn upper(text: &str) -> String {
    let mut upper = String::with_capacity(text.len());
    push_upper(&mut upper, text);
    upper
}

/// Appends `text` with every letter in upper case, as [`upper_utf16le`].
pub fn push_upper(to: &mut String, text: &str) {
    if text.is_ascii() {
        to.extend(text.bytes().map(|byte| char::from(byte.to_ascii_uppercase())));
    } else {
        let units = text.encode_utf16().map(upper_unit);
        to.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    }
}

/// `unit` in upper case. Most names are ASCII, for which no table is searched.
fn upper_unit(unit: u16) -> u16 {
    u8::try_from(unit)
        .ok()
        .filter(u8::is_ascii)
        .map_or_else(|| upper_case::upper(unit), |byte| byte.to_ascii_uppercase().into())
}

/// Whether `a` and `b` are the same name: they are equal in upper case.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    a.encode_utf16().map(upper_unit).eq(b.encode_utf16().map(upper_unit))
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_letters_whose_upper_case_is_longer() {
        assert_eq!(upper_utf16le(&to_utf16le("straße")), to_utf16le("STRAßE"));
    }

    #[test]
    fn a_password_may_have_half_of_a_surrogate_pair() {
        let utf16 = |password: &[u8]| password_to_utf16le(password).ok().map(|bytes| bytes.to_vec());
        assert_eq!(utf16("pä€😀".as_bytes()), Some(to_utf16le("pä€😀")));
        assert_eq!(utf16(b"a\xed\xa0\x80b\xed\xbf\xbf"), Some(b"a\0\x00\xd8b\0\xff\xdf".to_vec()));
        for wrong in [&b"\xe4"[..], b"a\xed\xa0", b"\xed\xc0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\xed\xa0\xc0"] {
            assert_eq!(utf16(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn oem_is_latin_1() {
        assert_eq!(to_oem("Müller").as_deref(), Some(&b"M\xfcller"[..]));
        assert_eq!(to_oem("Кириллица"), None);
        assert_eq!(oem_to_utf16le(b"M\xfcller"), to_utf16le("Müller"));
    }

    #[test]
    fn refuses_what_is_not_utf16() {
        assert_eq!(from_utf16le(&[0x41]), None);
        assert_eq!(from_utf16le(&[0x00, 0xd8]), None);
        assert_eq!(DisplayUtf16(&[0x00, 0xd8, 0x41, 0x00, 0x0a, 0x00]).to_string(), "\u{fffd}A\\n");
    }

    #[test]
    fn text_from_elsewhere_stays_on_its_line() {
        let text = "target HTTP/x\r\n1.000 [1] forged\u{85}\u{2028}\u{1b}[31m\u{202e}é";
        let escaped = "target HTTP/x\\r\\n1.000 [1] forged\\u{85}\\u{2028}\\u{1b}[31m\\u{202e}é";
        assert_eq!(Escaped(text).to_string(), escaped);
        assert_eq!(Escaped(format_args!("{text}{}", 7)).to_string(), format!("{escaped}7"));
        assert_eq!(DisplayUtf16(&to_utf16le(text)).to_string(), escaped);
    }

    #[test]
    fn what_is_not_text_is_replaced_and_told() {
        assert_eq!(from_utf16le_lossy(&to_utf16le("Élodie😀")), ("Élodie😀".to_owned(), true));
        assert_eq!(from_utf16le_lossy(&[]), (String::new(), true));
        assert_eq!(from_utf16le_lossy(&[0x00, 0xd8, 0x41, 0x00]), ("\u{fffd}A".to_owned(), false));
        assert_eq!(from_utf16le_lossy(&[0x41, 0x00, 0x42]), ("A".to_owned(), false));
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        assert!(same_name("Alice", "aLICE"));
        assert!(same_name("ÉLODIE", "élodie"));
        assert!(!same_name("alice", "alice2"));
        assert_eq!(upper("élodie straße"), "ÉLODIE STRAßE");
        let ascii: String = (0..=0x7f_u8).map(char::from).collect();
        assert_eq!(format!("{}É", upper(&ascii)), upper(&format!("{ascii}é")));
    }
}
