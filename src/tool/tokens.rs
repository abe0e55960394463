//! Finds tokens in what a person has at hand: the token itself, as bytes, in base64 or in hexadecimal, or something around it.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use gss_ntlm::wire::SIGNATURE;

use crate::spnego;

/// A token, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The header or the place, if there is something around the token.
    pub(crate) place: Option<String>,
    pub(crate) token: Vec<u8>,
    /// Whether it ends where the token does. What was cut out of other bytes may have some of them behind it.
    pub(crate) is_whole: bool,
}

/// The tokens in `input`, in their order, at most `limit` of them.
///
/// That is a token alone, as bytes or in base64 or hexadecimal with blanks anywhere; or lines of HTTP or SIP, of which each that names
/// the scheme NTLM, Negotiate or Kerberos may have a token; or other bytes with messages of NTLM in them.
pub(crate) fn find(input: &[u8], limit: usize) -> Vec<Found> {
    let alone = |token| vec![Found { place: None, token, is_whole: true }];
    if is_signature(input) || spnego::read(input).is_ok() {
        return alone(input.to_vec());
    }
    let text = String::from_utf8_lossy(input);
    let found: Vec<_> = text.lines().flat_map(in_line).chain(in_bytes(input)).take(limit).collect();
    if found.is_empty() { decode_text(&text).map(alone).unwrap_or_default() } else { found }
}

/// Whether a token that this command knows begins so.
fn is_start(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE) || matches!(bytes, [0x60 | 0xa0 | 0xa1, _, ..]) || is_signature(bytes)
}

/// Whether these are an NTLMSSP_MESSAGE_SIGNATURE: 16 bytes that begin with its version.
pub(crate) fn is_signature(bytes: &[u8]) -> bool {
    bytes.len() == 16 && bytes.starts_with(&[1, 0, 0, 0])
}

/// How many letters the shortest token has in base64.
const SHORTEST: usize = 8;

/// The token that `text` spells in hexadecimal or base64, without blanks, colons between bytes, and `0x`.
fn decode_text(text: &str) -> Option<Vec<u8>> {
    let joined: String = text.split_whitespace().collect();
    if joined.len() < SHORTEST {
        return None;
    }
    let digits = joined.strip_prefix("0x").unwrap_or(&joined).replace(':', "");
    let of_hex = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
    let of_base64 =
        [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD].map(|base64| base64.decode(joined.as_bytes()).ok());
    of_hex.into_iter().chain(of_base64.into_iter().flatten()).find(|bytes| is_start(bytes))
}

/// The tokens in a line of HTTP or SIP.
fn in_line(line: &str) -> impl Iterator<Item = Found> {
    let is_name =
        |name: &str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // The lines of curl -v begin with a sign.
    let name =
        line.split_once(':').map(|(name, _)| name.trim_start_matches(['>', '<', ' '])).filter(|name| is_name(name));
    let words = || line.split([' ', '\t', ',', '<', '>', ';', ':']).filter(|word| !word.is_empty());
    words().zip(words().skip(1).map(Some).chain([None])).filter_map(move |(word, next)| {
        let is_scheme = ["NTLM", "Negotiate", "Kerberos"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        // SIP has the token in a parameter.
        let (what, token) = if is_scheme {
            (word, next?)
        } else {
            let (key, value) = word.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("gssapi-data"))?;
            (key, value.trim_matches('"'))
        };
        let place =
            [name.unwrap_or(""), what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        Some(Found { place: Some(place), token: decode_text(token)?, is_whole: true })
    })
}

/// The messages of NTLM in other bytes, each up to the next one.
fn in_bytes(bytes: &[u8]) -> impl Iterator<Item = Found> {
    let places =
        || bytes.windows(SIGNATURE.len()).enumerate().filter(|(_, window)| *window == SIGNATURE).map(|(at, _)| at);
    let ends = places().skip(1).chain([bytes.len()]);
    places().zip(ends).filter_map(|(start, end)| {
        let is_alone = start == 0 && end == bytes.len();
        let place = if is_alone { None } else { Some(format!("byte {start}")) };
        Some(Found { place, token: bytes.get(start..end)?.to_vec(), is_whole: is_alone })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"NTLMSSP\0\x01\0\0\0\x05\x82\x08\xa2";
    const BASE64_OF_TOKEN: &str = "TlRMTVNTUAABAAAABYIIog==";

    fn tokens(input: &[u8]) -> Vec<Vec<u8>> {
        find(input, 100).into_iter().map(|found| found.token).collect()
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
        // A capture that begins as a NegTokenResp does, and a header before what is no text.
        assert_eq!(tokens(&[&[0xa1, 0xb2, 0xc3, 0xd4], TOKEN].concat()), [TOKEN]);
        assert_eq!(tokens(format!("NTLM {BASE64_OF_TOKEN}\n\0").as_bytes()), [TOKEN]);
        assert_eq!(tokens(&[format!("NTLM {BASE64_OF_TOKEN}\n").as_bytes(), b"caf\xe9"].concat()), [TOKEN]);
        let signature = b"\x01\0\0\0abcdefgh\0\0\0\0";
        assert_eq!(tokens(signature), [signature]);
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
        let place = |input: &[u8]| find(input, 1)[0].place.clone();
        let header = format!("X: 1\n> Proxy-Authorization: NTLM {BASE64_OF_TOKEN}\n");
        assert_eq!(place(header.as_bytes()).as_deref(), Some("Proxy-Authorization: NTLM"));
        let long = format!("{}: NTLM {BASE64_OF_TOKEN}", "A".repeat(65));
        assert_eq!(place(long.as_bytes()).as_deref(), Some("NTLM"));
        assert_eq!(place(&[&[0xff; 5], TOKEN].concat()).as_deref(), Some("byte 5"));
        assert_eq!(place(TOKEN), None);
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        assert_eq!(find(&TOKEN.repeat(5), 3).len(), 3);
        assert_eq!(find(format!("NTLM {BASE64_OF_TOKEN} ").repeat(5).as_bytes(), 3).len(), 3);
    }
}
