//! The tokens around NTLM's: the framing of RFC 2743 3.1, and SPNEGO (RFC 4178).

use data_encoding::HEXLOWER;
use der::{AnyRef, Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _, asn1::ObjectIdentifier};

type Id = ObjectIdentifier;

const SPNEGO: &str = "1.3.6.1.5.5.2";
const NTLM: &str = "1.3.6.1.4.1.311.2.2.10";

/// A token of GSS-API, taken apart.
pub(crate) enum Framed<'a> {
    /// A token of a mechanism behind its object identifier.
    Mechanism(String, &'a [u8]),
    /// SPNEGO's NegTokenInit or NegTokenResp.
    Negotiation(Negotiation<'a>),
}

/// What SPNEGO's token has.
#[derive(Default)]
pub(crate) struct Negotiation<'a> {
    /// Whether it is a NegTokenInit.
    pub(crate) is_first: bool,
    /// mechTypes or supportedMech.
    pub(crate) mechanisms: Vec<String>,
    /// negState.
    pub(crate) state: Option<u8>,
    /// mechToken or responseToken.
    pub(crate) token: Option<&'a [u8]>,
    /// mechListMIC.
    pub(crate) mic: Option<&'a [u8]>,
}

/// Reads a token that is in a frame, or is SPNEGO's.
pub(crate) fn read(token: &[u8]) -> der::Result<Framed<'_>> {
    let mut reader = SliceReader::new(token)?;
    // What follows a token is not part of it: it may come from a capture.
    let whole = AnyRef::decode(&mut reader)?;
    let Tag::Application { constructed: true, number: TagNumber(0) } = whole.tag() else {
        return negotiation(whole).map(Framed::Negotiation);
    };
    let mut inside = SliceReader::new(whole.value())?;
    let mechanism = object_identifier(AnyRef::decode(&mut inside)?)?;
    let rest = inside.read_slice(inside.remaining_len())?;
    if mechanism == SPNEGO {
        negotiation(AnyRef::from_der(rest)?).map(Framed::Negotiation)
    } else {
        Ok(Framed::Mechanism(mechanism, rest))
    }
}

/// The name of a mechanism that is known, with its object identifier.
pub(crate) fn mechanism(id: &str) -> String {
    let name = match id {
        NTLM => "NTLM",
        SPNEGO => "SPNEGO",
        "1.2.840.113554.1.2.2" => "Kerberos",
        "1.2.840.48018.1.2.2" => "Kerberos, as old Windows calls it",
        "1.3.6.1.4.1.311.2.2.30" => "NegoEx",
        _ => return id.to_owned(),
    };
    format!("{name} ({id})")
}

/// More mechanisms than any program has.
const MAX_MECHANISMS: usize = 100;

/// An object identifier; in hexadecimal where an arc of it is too large for a number of 32 bits.
fn object_identifier(value: AnyRef<'_>) -> der::Result<String> {
    value.tag().assert_eq(Tag::ObjectIdentifier)?;
    Ok(value.decode_as::<Id>().map_or_else(|_| HEXLOWER.encode(value.value()), |id| id.to_string()))
}

/// The number of a tag that only its context gives a meaning.
fn number(tag: Tag) -> der::Result<u32> {
    let Tag::ContextSpecific { constructed: true, number } = tag else { return Err(tag.value_error().into()) };
    Ok(number.value())
}

fn negotiation(choice: AnyRef<'_>) -> der::Result<Negotiation<'_>> {
    let is_first = number(choice.tag())? == 0;
    let mut found = Negotiation { is_first, ..Negotiation::default() };
    let sequence = AnyRef::from_der(choice.value())?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    let mut fields = SliceReader::new(sequence.value())?;
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        let inside = AnyRef::from_der(field.value())?;
        match (is_first, number(field.tag())?) {
            (true, 0) => {
                let mut list = SliceReader::new(inside.value())?;
                while !list.is_finished() {
                    let mechanism = object_identifier(AnyRef::decode(&mut list)?)?;
                    if found.mechanisms.len() == MAX_MECHANISMS {
                        return Err(Tag::Sequence.length_error().into());
                    }
                    found.mechanisms.push(mechanism);
                }
            }
            (false, 0) => found.state = inside.value().last().copied(),
            (false, 1) => found.mechanisms.push(object_identifier(inside)?),
            (_, 2) => found.token = Some(inside.value()),
            // In [MS-SPNG]'s NegTokenInit2 this is a hint, which is a sequence.
            (_, 3 | 4) if inside.tag() == Tag::OctetString => found.mic = Some(inside.value()),
            _ => {}
        }
    }
    Ok(found)
}
