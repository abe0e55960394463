//! AUTHENTICATE_MESSAGE, [MS-NLMP] 2.2.1.3.

use core::fmt;

use crate::{
    error::{Fault, FieldName, InvalidMessage, Message, Result},
    text::Charset,
};

use super::{
    NegotiateFlags, Version,
    codec::{self, Field, Writer},
};

/// The length of a MIC, in bytes.
pub const MIC_LEN: usize = 16;

/// The client's second message: it says who the client is, and proves that the client knows the password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authenticate<'a> {
    /// LmChallengeResponse.
    pub lm_response: &'a [u8],
    /// NtChallengeResponse.
    pub nt_response: &'a [u8],
    /// The charset of the three names.
    pub charset: Charset,
    /// DomainName.
    pub domain: &'a [u8],
    /// UserName.
    pub user: &'a [u8],
    /// Workstation.
    pub workstation: &'a [u8],
    /// EncryptedRandomSessionKey; empty where the header is too old to have it.
    pub encrypted_random_session_key: &'a [u8],
    /// NegotiateFlags; `None` where the header is too old to have them.
    pub flags: Option<NegotiateFlags>,
    /// Version, where the flag is set and the header has room for it.
    pub version: Option<Version>,
    /// The offset of the MIC in the token, if the header has room for one. MsvAvFlags says whether those bytes are a MIC.
    pub mic_offset: Option<usize>,
}

impl<'a> Authenticate<'a> {
    const MESSAGE_TYPE: u32 = 3;
    /// Signature, MessageType and five fields: the whole header of the oldest clients.
    const SHORTEST: usize = 52;
    /// With EncryptedRandomSessionKeyFields.
    const WITH_KEY: usize = 60;
    /// With NegotiateFlags.
    const WITH_FLAGS: usize = 64;
    /// With Version.
    const WITH_VERSION: usize = 72;
    /// The offset of the MIC in a message with the full header.
    pub const OFFSET_OF_MIC: usize = Self::WITH_VERSION;

    /// Reads the message in `token`. The start of its payload tells how long its header is: 52, 60, 64, 72, 80 or 88 bytes.
    /// `agreed` are the flags of the CHALLENGE_MESSAGE, which say what charset the names have.
    ///
    /// # Errors
    /// When it is not an AUTHENTICATE_MESSAGE.
    pub fn decode(token: &'a [u8], agreed: NegotiateFlags) -> Result<Self> {
        let message = Message::Authenticate;
        let mut reader = codec::open(message, Self::MESSAGE_TYPE, token)?;
        let lm_response = Field::read(&mut reader, FieldName::LmChallengeResponse)?;
        let nt_response = Field::read(&mut reader, FieldName::NtChallengeResponse)?;
        let domain = Field::read(&mut reader, FieldName::DomainName)?;
        let user = Field::read(&mut reader, FieldName::UserName)?;
        let workstation = Field::read(&mut reader, FieldName::Workstation)?;
        let fields = [lm_response, nt_response, domain, user, workstation];
        let mut header = fields.iter().filter_map(|field| field.start()).min().unwrap_or(token.len()).min(token.len());

        let mut key = Field::empty(FieldName::EncryptedRandomSessionKey);
        if header >= Self::WITH_KEY {
            key = Field::read(&mut reader, FieldName::EncryptedRandomSessionKey)?;
            header = header.min(key.start().unwrap_or(header));
        }
        let flags = if header >= Self::WITH_FLAGS {
            Some(NegotiateFlags::from_bits_retain(reader.u32(FieldName::NegotiateFlags)?))
        } else {
            None
        };
        let mic_offset = match header.checked_sub(MIC_LEN) {
            Some(room) if room >= Self::WITH_VERSION => Some(Self::WITH_VERSION),
            Some(room) if room >= Self::WITH_FLAGS => Some(Self::WITH_FLAGS), // a header without Version
            _ => None,
        };
        let has_version = flags.is_some_and(|flags| flags.contains(NegotiateFlags::VERSION))
            && header >= Self::WITH_VERSION
            && mic_offset != Some(Self::WITH_FLAGS);

        let mut names = [&[][..]; 3];
        for (name, field) in names.iter_mut().zip([domain, user, workstation]) {
            *name = field.resolve(message, token, Self::SHORTEST)?;
        }
        let charset = charset(agreed, flags, names)?;
        let text = |field: Field| field.resolve_text(charset, message, token, Self::SHORTEST);
        Ok(Self {
            lm_response: lm_response.resolve(message, token, Self::SHORTEST)?,
            nt_response: nt_response.resolve(message, token, Self::SHORTEST)?,
            charset,
            domain: text(domain)?,
            user: text(user)?,
            workstation: text(workstation)?,
            encrypted_random_session_key: key.resolve(message, token, Self::WITH_KEY)?,
            flags,
            version: if has_version { reader.array(FieldName::Version).ok().map(Version) } else { None },
            mic_offset,
        })
    }

    /// Writes the message, with zeros at [`Authenticate::mic_offset`] if there is one: the MIC is computed over them.
    ///
    /// # Errors
    /// When a part is longer than 65,535 bytes, which is the most that a field can hold.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let header = match (self.mic_offset, self.version, self.flags) {
            (Some(offset), ..) => offset.saturating_add(MIC_LEN),
            (None, Some(_), _) => Self::WITH_VERSION,
            (None, None, Some(_)) => Self::WITH_FLAGS,
            (None, None, None) if self.encrypted_random_session_key.is_empty() => Self::SHORTEST,
            (None, None, None) => Self::WITH_KEY,
        };
        let parts = [
            self.domain,
            self.user,
            self.workstation,
            self.lm_response,
            self.nt_response,
            self.encrypted_random_session_key,
        ];
        let payload = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let mut writer = Writer::new(Message::Authenticate, Self::MESSAGE_TYPE, header, payload)?;
        let domain = writer.place(FieldName::DomainName, self.domain)?;
        let user = writer.place(FieldName::UserName, self.user)?;
        let workstation = writer.place(FieldName::Workstation, self.workstation)?;
        let lm_response = writer.place(FieldName::LmChallengeResponse, self.lm_response)?;
        let nt_response = writer.place(FieldName::NtChallengeResponse, self.nt_response)?;
        let key = writer.place(FieldName::EncryptedRandomSessionKey, self.encrypted_random_session_key)?;
        writer.field(lm_response).field(nt_response).field(domain).field(user).field(workstation);
        if header >= Self::WITH_KEY {
            writer.field(key);
        }
        if header >= Self::WITH_FLAGS {
            writer.u32(self.flags.unwrap_or(NegotiateFlags::empty()).bits());
        }
        if header >= Self::WITH_VERSION && self.mic_offset != Some(Self::WITH_FLAGS) {
            writer.bytes(&self.version.unwrap_or(Version::UNSAID).0);
        }
        if self.mic_offset.is_some() {
            writer.bytes(&[0; MIC_LEN]);
        }
        writer.finish()
    }
}

/// The charset of the names in an AUTHENTICATE_MESSAGE: the one that both sides agreed on. Where the flags of the message say
/// the other one, the names themselves decide, for the flags cannot be trusted: GNU wget offers OEM alone, agrees on OEM,
/// sends OEM names, and sets the flag UNICODE.
// Deviates: [MS-NLMP] 2.2.1.3 has the negotiated charset only.
fn charset(agreed: NegotiateFlags, said: Option<NegotiateFlags>, names: [&[u8]; 3]) -> Result<Charset> {
    let both = NegotiateFlags::UNICODE | NegotiateFlags::OEM;
    let said = said.unwrap_or(agreed) & both;
    match agreed & both {
        // Connectionless servers and some old ones leave the choice to the client.
        agreed if agreed.is_empty() || agreed == both => match said {
            said if said.is_empty() => {
                let (message, field) = (Message::Authenticate, FieldName::NegotiateFlags);
                Err(InvalidMessage { message, field, fault: Fault::WrongValue }.into())
            }
            said => Ok(said.charset()),
        },
        agreed if said.is_empty() || said.charset() == agreed.charset() => Ok(agreed.charset()),
        _ if names.iter().any(|name| !name.len().is_multiple_of(2)) => Ok(Charset::Oem),
        // In UTF-16LE every letter up to U+00FF has a zero byte, and in an OEM code page none has.
        _ if names.iter().any(|name| name.contains(&0)) => Ok(Charset::Unicode),
        _ => Ok(Charset::Oem),
    }
}

/// Leaves out the responses: an attacker can guess the password with one.
impl fmt::Debug for Authenticate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("domain", &self.domain)
            .field("user", &self.user)
            .field("workstation", &self.workstation)
            .field("flags", &self.flags)
            .field("version", &self.version)
            .field("mic_offset", &self.mic_offset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(token: &[u8]) -> Result<Authenticate<'_>> {
        Authenticate::decode(token, NegotiateFlags::UNICODE)
    }

    fn sample(mic_offset: Option<usize>) -> Vec<u8> {
        Authenticate {
            lm_response: &[0; 24],
            nt_response: &[7; 60],
            charset: Charset::Unicode,
            domain: b"D\0",
            user: b"u\0s\0",
            workstation: b"W\0",
            encrypted_random_session_key: &[9; 16],
            flags: Some(NegotiateFlags::from_bits_retain(0xe288_8235)),
            version: Some(Version([10, 0, 0, 0, 0, 0, 0, 15])),
            mic_offset,
        }
        .encode()
        .unwrap()
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = sample(Some(72));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
    }

    #[test]
    fn a_truncated_or_changed_message_is_refused_or_reads_the_same_when_written_again() {
        for mic_offset in [None, Some(72)] {
            crate::wire::tests::sweep(&sample(mic_offset), |bytes| decode(bytes)?.encode());
        }
    }

    #[test]
    fn without_an_agreed_charset_the_message_must_say_one() {
        let both = NegotiateFlags::UNICODE | NegotiateFlags::OEM;
        let token = sample(None);
        let saying = |said: NegotiateFlags| {
            let flags = NegotiateFlags::from_bits_retain(0xe288_8234) | said;
            Authenticate { flags: Some(flags), ..decode(&token).unwrap() }.encode().unwrap()
        };
        let (message, field, fault) = (Message::Authenticate, FieldName::NegotiateFlags, Fault::WrongValue);
        for settled in [NegotiateFlags::empty(), both] {
            let read = |said| Authenticate::decode(&saying(said), settled).map(|read| read.charset);
            assert_eq!(read(NegotiateFlags::empty()), Err(InvalidMessage { message, field, fault }.into()));
            assert_eq!([read(NegotiateFlags::OEM), read(both)], [Ok(Charset::Oem), Ok(Charset::Unicode)]);
        }
        for (settled, charset) in [(NegotiateFlags::OEM, Charset::Oem), (NegotiateFlags::UNICODE, Charset::Unicode)] {
            let silent = saying(NegotiateFlags::empty());
            assert_eq!(Authenticate::decode(&silent, settled).map(|read| read.charset), Ok(charset));
        }
    }

    #[test]
    fn a_message_without_flags_has_a_key_only_if_there_is_one() {
        let token = sample(None);
        let short = |key| {
            let message = Authenticate {
                flags: None,
                version: None,
                encrypted_random_session_key: key,
                ..decode(&token).unwrap()
            };
            message.encode().unwrap()
        };
        let (without, with) = (short(&[]), short(&[9; 16]));
        assert_eq!(with.len(), without.len() + 8 + 16);
        assert_eq!(decode(&with).unwrap().encrypted_random_session_key, [9; 16]);
        assert_eq!(decode(&without).unwrap().encrypted_random_session_key, [0; 0]);
    }

    #[test]
    fn a_header_without_version_may_have_a_mic() {
        let token = sample(None);
        let bytes = Authenticate { version: None, mic_offset: Some(64), ..decode(&token).unwrap() }.encode().unwrap();
        let message = decode(&bytes).unwrap();
        assert_eq!((message.mic_offset, message.version), (Some(64), None));
    }

    #[test]
    fn the_header_ends_where_the_payload_starts() {
        assert_eq!(decode(&sample(None)).unwrap().mic_offset, None);
        assert_eq!(decode(&sample(Some(72))).unwrap().mic_offset, Some(72));
        let mut oldest = sample(None);
        oldest.truncate(52);
        oldest[12..52].fill(0);
        let authenticate = decode(&oldest).unwrap();
        assert_eq!((authenticate.flags, authenticate.version), (None, None));
    }
}
