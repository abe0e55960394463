//! Looking for secrets in what must not have them, in whatever form they may have got there.

use std::collections::HashMap;

use des::Des;
use des::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use md4::{Digest as _, Md4};

use super::token::utf16;

/// So many bytes of a secret in a row are a find. Fewer come about by chance.
const WINDOW: usize = 8;

/// Secrets, every part of which can be looked up.
#[derive(Default)]
pub(crate) struct Secrets(HashMap<[u8; WINDOW], &'static str>);

impl Secrets {
    pub(crate) fn add(&mut self, what: &'static str, secret: &[u8]) {
        for window in secret.windows(WINDOW) {
            let mut distinct = window.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            // Zeros and the like are everywhere.
            if distinct.len() > 3 {
                self.0.insert(window.try_into().unwrap(), what);
            }
        }
    }

    /// A password, in the forms that a program has it in, and what is made of it.
    pub(crate) fn add_password(&mut self, password: &str) {
        for text in [password.to_owned(), password.to_uppercase(), password.escape_default().to_string()] {
            self.add("password", text.as_bytes());
            self.add("password in UTF-16", &utf16(&text));
        }
        let nt_hash = Md4::digest(utf16(password));
        self.add("NT hash", &nt_hash);
        self.add("SessionBaseKey of NTLMv1", &Md4::digest(nt_hash));
        if password.is_ascii() && password.len() <= 14 {
            self.add("LM hash", &lm_hash(password));
        }
    }

    pub(crate) fn add_hex(&mut self, what: &'static str, digits: &str) {
        hex(digits.as_bytes(), 0).iter().for_each(|secret| self.add(what, secret));
    }

    /// Which secret is in `told`, in which form.
    pub(crate) fn found_in(&self, told: &[u8]) -> Option<(&'static str, &'static str)> {
        streams(told).into_iter().find_map(|(form, stream)| {
            stream.windows(WINDOW).find_map(|window| self.0.get(window)).map(|what| (*what, form))
        })
    }

    pub(crate) fn assert_none_in(&self, told: &[u8]) {
        assert!(self.0.len() > 100, "there are secrets to look for");
        for line in told.split(|byte| *byte == b'\n') {
            let found = self.found_in(line);
            assert!(found.is_none(), "{found:?} in {}", String::from_utf8_lossy(line));
        }
    }
}

/// The bytes that `told` may stand for.
fn streams(told: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut streams = vec![("as it is", told.to_vec())];
    let text = String::from_utf8_lossy(told);
    let without_nuls =
        ["\\u{0}", "\\x00", "\\0", "\0"].iter().fold(text.to_string(), |text, nul| text.replace(nul, ""));
    streams.push(("with NULs between", without_nuls.into_bytes()));
    let latin = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    streams.push(("in Latin-1", latin));

    let digits = ["0x", "\\x"].iter().fold(text.to_string(), |text, prefix| text.replace(prefix, ""));
    let digits: Vec<u8> = digits.bytes().filter(|byte| !b" :,-_[]{}()".contains(byte)).collect();
    for offset in [0, 1] {
        streams.extend(hex(&digits, offset).into_iter().map(|bytes| ("in hexadecimal digits", bytes)));
    }
    for radix in [10, 16] {
        streams.extend(numbers(&text, radix).into_iter().map(|bytes| ("as a list of numbers", bytes)));
    }
    for run in told.split(|byte| base64_value(*byte).is_none()) {
        for offset in 0..4.min(run.len()) {
            streams.push(("in base64", base64(&run[offset..])));
        }
    }
    streams
}

/// What every run of hexadecimal digits stands for, read from its start or one digit later.
fn hex(text: &[u8], offset: usize) -> Vec<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.split(|byte| value(*byte).is_none())
        .filter(|run| run.len() >= 2 * WINDOW)
        .map(|run| {
            run[offset..].chunks_exact(2).map(|pair| value(pair[0]).unwrap() << 4 | value(pair[1]).unwrap()).collect()
        })
        .collect()
}

/// What every row of numbers stands for that could be bytes.
fn numbers(text: &str, radix: u32) -> Vec<Vec<u8>> {
    let mut rows = vec![Vec::new()];
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        match u8::from_str_radix(word.trim_start_matches("0x"), radix) {
            Ok(byte) => rows.last_mut().unwrap().push(byte),
            Err(_) => rows.push(Vec::new()),
        }
    }
    rows.retain(|row| row.len() >= WINDOW);
    rows
}

fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn base64(run: &[u8]) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for value in run.iter().filter_map(|byte| base64_value(*byte)) {
        (bits, count) = ((bits << 6 | u32::from(value)) & 0xffff, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// LMOWFv1, [MS-NLMP] 3.3.1.
fn lm_hash(password: &str) -> Vec<u8> {
    let mut letters = password.to_ascii_uppercase().into_bytes();
    letters.resize(14, 0);
    letters.chunks_exact(7).flat_map(half_of_lm_hash).collect()
}

fn half_of_lm_hash(letters: &[u8]) -> [u8; 8] {
    let bits = letters.iter().fold(0_u64, |bits, letter| bits << 8 | u64::from(*letter));
    // Seven bits to each byte of the key, and a parity that nobody looks at.
    let key: [u8; 8] = std::array::from_fn(|at| (bits >> (49 - 7 * at) & 0x7f) as u8).map(|seven: u8| seven << 1);
    let mut block = Array::from(*b"KGS!@#$%");
    Des::new(&key.into()).encrypt_block(&mut block);
    block.into()
}

#[test]
fn makes_the_lm_hash_that_everybody_makes() {
    assert_eq!(hex(b"E52CAC67419A9A224A3B108F3FA6CB6D", 0), [lm_hash("Password")]);
}
