//! Strings as the protocol means them: UTF-16LE on the wire, compared without regard to case.

#![forbid(unsafe_code)]

use core::{fmt, iter};

/// `text` in UTF-16LE, without byte order mark or NUL ([MS-NLMP] 2.2).
#[must_use]
pub fn to_utf16le(text: &str) -> Vec<u8> {
    // All the room at once: a password must not leave copies behind. No text has more UTF-16 units than UTF-8 bytes.
    let mut bytes = Vec::with_capacity(text.len().saturating_mul(2));
    text.encode_utf16().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
    bytes
}

/// The text that `bytes` spell in UTF-16LE, or `None` when they do not (odd length, lone surrogate).
#[must_use]
pub fn from_utf16le(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    char::decode_utf16(units(bytes)).collect::<Result<String, _>>().ok()
}

/// UTF-16LE for a person to read: what is not UTF-16 becomes U+FFFD, and control characters are escaped.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        char::decode_utf16(units(self.0))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// `bytes` (UTF-16LE) with every letter in upper case: one unit in, one unit out, as Windows does it, so that `ß` stays.
#[must_use]
pub fn upper_utf16le(bytes: &[u8]) -> Vec<u8> {
    units(bytes).map(upper_unit).flat_map(u16::to_le_bytes).collect()
}

/// `text` with every letter in upper case, likewise.
#[must_use]
pub fn upper(text: &str) -> String {
    char::decode_utf16(text.encode_utf16().map(upper_unit)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Whether `a` and `b` are the same name: equal once both are in upper case.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    a.encode_utf16().map(upper_unit).eq(b.encode_utf16().map(upper_unit))
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit))
}

/// The upper case of one UTF-16 unit: its simple mapping where that is one unit as well, else the unit itself.
fn upper_unit(unit: u16) -> u16 {
    if let Ok(byte) = u8::try_from(unit)
        && byte.is_ascii()
    {
        return u16::from(byte.to_ascii_uppercase());
    }
    let Some(letter) = char::from_u32(u32::from(unit)) else {
        return unit; // half of a surrogate pair
    };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => iter::once(one).map(u32::from).find_map(|c| u16::try_from(c).ok()).unwrap_or(unit),
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_never_changes_the_length() {
        for unit in 0..=u16::MAX {
            assert_eq!(upper_utf16le(&unit.to_le_bytes()).len(), 2);
        }
    }

    #[test]
    fn keeps_letters_whose_upper_case_is_longer() {
        assert_eq!(upper_utf16le(&to_utf16le("straße")), to_utf16le("STRAßE"));
    }

    #[test]
    fn refuses_what_is_not_utf16() {
        assert_eq!(from_utf16le(&[0x41]), None);
        assert_eq!(from_utf16le(&[0x00, 0xd8]), None);
        assert_eq!(Shown(&[0x00, 0xd8, 0x41, 0x00, 0x0a, 0x00]).to_string(), "\u{fffd}A\\n");
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        assert!(same_name("Alice", "aLICE"));
        assert!(same_name("ÉLODIE", "élodie"));
        assert!(!same_name("alice", "alice2"));
        assert_eq!(upper("élodie straße"), "ÉLODIE STRAßE");
    }
}
