//! The exported name of RFC 2743 3.2: TOK_ID and mechanism, then the name, each but the TOK_ID behind its length.

use super::Name;
use crate::error::{ApiMisuse, Result};

/// TOK_ID; the length of the mechanism; the mechanism in DER, 1.3.6.1.4.1.311.2.2.10.
const HEAD: [u8; 16] = *b"\x04\x01\0\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

impl Name {
    /// The exported name.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] for a name whose length does not fit into 32 bits.
    pub fn to_exported(&self) -> Result<Vec<u8>> {
        let text = self.canonical();
        let length = u32::try_from(text.len()).map_err(|_| ApiMisuse::BadName)?.to_be_bytes();
        Ok([&HEAD, &length[..], text.as_bytes()].concat())
    }

    /// The name that was exported, by this mechanism or by gss-ntlmssp.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] unless the token is an exported name of this mechanism, and nothing else.
    pub fn from_exported(token: &[u8]) -> Result<Self> {
        let text = || {
            let (length, text) = token.strip_prefix(&HEAD)?.split_first_chunk()?;
            str::from_utf8(text).ok().filter(|_| usize::try_from(u32::from_be_bytes(*length)) == Ok(text.len()))
        };
        Self::parse_canonical(text().ok_or(ApiMisuse::BadName)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_name_is_all_of_its_token() {
        let token = [&HEAD[..], &[0, 0, 0, 6], b"DOM\\al"].concat();
        let name = Name::parse_user("DOM\\al").unwrap();
        assert_eq!(name.to_exported(), Ok(token.clone()));
        assert_eq!(Name::from_exported(&token), Ok(name));
        for len in 0..token.len() {
            assert!(Name::from_exported(&token[..len]).is_err(), "accepted {len} bytes");
        }
        assert!(Name::from_exported(&[&token[..], b"x"].concat()).is_err());
    }
}
