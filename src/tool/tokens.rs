//! Finds tokens in what a person has at hand: the token itself, as bytes, in base64 or in hexadecimal, or something around it.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use gss_ntlm::wire::SIGNATURE;

/// A token, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The header or the place, if there is something around the token.
    pub(crate) place: Option<String>,
    pub(crate) token: Vec<u8>,
}

/// The tokens in `input`, in their order.
///
/// Text is a token in base64 or hexadecimal, with blanks anywhere, or lines of HTTP or SIP, of which each that names the scheme NTLM,
/// Negotiate or Kerberos may have a token. Other input is a token, or bytes that have messages of NTLM in them.
pub(crate) fn find(input: &[u8]) -> Vec<Found> {
    let alone = |token| vec![Found { place: None, token }];
    if is_start(input) && !input.is_ascii() {
        return alone(input.to_vec());
    }
    match str::from_utf8(input) {
        Ok(text) if !text.contains('\0') => {
            let found: Vec<_> = text.lines().flat_map(in_line).collect();
            if found.is_empty() { decode_text(text).map(alone).unwrap_or_default() } else { found }
        }
        _ => in_bytes(input),
    }
}

/// Whether a token that this command knows begins so.
pub(crate) fn is_start(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE) || matches!(bytes, [0x60 | 0xa0 | 0xa1, _, ..]) || is_signature(bytes)
}

/// Whether these are an NTLMSSP_MESSAGE_SIGNATURE: 16 bytes that begin with its version.
pub(crate) fn is_signature(bytes: &[u8]) -> bool {
    bytes.len() == 16 && bytes.starts_with(&[1, 0, 0, 0])
}

/// The token that `text` spells in hexadecimal or base64, without blanks, colons between bytes, and `0x`.
fn decode_text(text: &str) -> Option<Vec<u8>> {
    let joined: String = text.split_whitespace().collect();
    if joined.is_empty() {
        return None;
    }
    let digits = joined.strip_prefix("0x").unwrap_or(&joined).replace(':', "");
    let of_hex = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
    let of_base64 =
        [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD].map(|base64| base64.decode(joined.as_bytes()).ok());
    of_hex.into_iter().chain(of_base64.into_iter().flatten()).find(|bytes| is_start(bytes))
}

/// The tokens in a line of HTTP or SIP.
fn in_line(line: &str) -> Vec<Found> {
    let (name, rest) = match line.split_once(':') {
        Some((name, rest)) if !name.trim().contains(char::is_whitespace) => (name.trim(), rest),
        _ => ("", line),
    };
    let mut found = Vec::new();
    let mut words = rest.split([' ', '\t', ',', '<', '>', ';']).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let is_scheme = ["NTLM", "Negotiate", "Kerberos"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        // SIP has the token in a parameter.
        let token = if is_scheme {
            words.peek().and_then(|word| decode_text(word))
        } else {
            let value = word.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("gssapi-data"));
            value.and_then(|(_, value)| decode_text(value.trim_matches('"')))
        };
        if let Some(token) = token {
            let place = [name, if is_scheme { word } else { "gssapi-data" }];
            let place = place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
            found.push(Found { place: Some(place), token });
        }
    }
    found
}

/// The messages of NTLM in other bytes, each up to the next one.
fn in_bytes(bytes: &[u8]) -> Vec<Found> {
    let places: Vec<_> = bytes
        .windows(SIGNATURE.len())
        .enumerate()
        .filter(|(_, window)| *window == SIGNATURE)
        .map(|(at, _)| at)
        .collect();
    let ends = places.iter().skip(1).copied().chain([bytes.len()]);
    let found = |(start, end)| {
        let token = bytes.get(start..end)?.to_vec();
        Some(Found { place: Some(format!("byte {start}")), token })
    };
    places.iter().copied().zip(ends).filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"NTLMSSP\0\x01\0\0\0\x05\x82\x08\xa2";
    const BASE64_OF_TOKEN: &str = "TlRMTVNTUAABAAAABYIIog==";

    fn tokens(input: &[u8]) -> Vec<Vec<u8>> {
        find(input).into_iter().map(|found| found.token).collect()
    }

    #[test]
    fn a_token_is_found_however_it_is_written() {
        let hex = "4e544c4d5353500001000000058208a2";
        for text in [
            BASE64_OF_TOKEN.to_owned(),
            BASE64_OF_TOKEN.trim_end_matches('=').to_owned(),
            format!("  {}\n{}\n", &BASE64_OF_TOKEN[..11], &BASE64_OF_TOKEN[11..]),
            hex.to_owned(),
            hex.to_uppercase(),
            format!("0x{hex}"),
            "4e:54:4c:4d 53 53 50 00 01 00 00 00 05 82 08 a2".to_owned(),
            format!("Negotiate {BASE64_OF_TOKEN}"),
            format!("ntlm {BASE64_OF_TOKEN}"),
            format!("WWW-Authenticate: Basic realm=\"x\", NTLM {BASE64_OF_TOKEN}\r\n"),
            format!("> GET / HTTP/1.1\r\n> authorization: NEGOTIATE {BASE64_OF_TOKEN}\r\n\r\n"),
            format!("Authorization: NTLM qop=\"auth\", gssapi-data=\"{BASE64_OF_TOKEN}\", version=4"),
        ] {
            assert_eq!(tokens(text.as_bytes()), [TOKEN], "{text}");
        }
        assert_eq!(tokens(TOKEN), [TOKEN]);
        assert_eq!(tokens(&[b"\xffSMB", TOKEN, TOKEN].concat()), [TOKEN, TOKEN]);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for input in [
            &b""[..],
            b" \n",
            b"Negotiate",
            b"WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n",
            b"Authorization: NTLM YWJj",
            b"Authorization: Basic TlRMTVNTUAABAAAABYIIog==",
            b"\0\xff\xfe",
        ] {
            assert_eq!(tokens(input), [[0_u8; 0]; 0], "{input:?}");
        }
    }

    #[test]
    fn headers_say_where_a_token_was() {
        let found = find(format!("X: 1\nProxy-Authorization: NTLM {BASE64_OF_TOKEN}\n").as_bytes());
        assert_eq!(found[0].place.as_deref(), Some("Proxy-Authorization: NTLM"));
        let found = find(&[&[0xff; 5], TOKEN].concat());
        assert_eq!(found[0].place.as_deref(), Some("byte 5"));
    }
}
