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

/// The client's answer: who it is, and that it knows the password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authenticate<'a> {
    /// LmChallengeResponse.
    pub lm_response: &'a [u8],
    /// NtChallengeResponse.
    pub nt_response: &'a [u8],
    /// What the three names are in.
    pub charset: Charset,
    /// DomainName.
    pub domain: &'a [u8],
    /// UserName.
    pub user: &'a [u8],
    /// Workstation.
    pub workstation: &'a [u8],
    /// EncryptedRandomSessionKey; empty in the oldest header.
    pub encrypted_random_session_key: &'a [u8],
    /// NegotiateFlags; not there in the oldest headers.
    pub flags: Option<NegotiateFlags>,
    /// Version, where the flag is set and the header has room for it.
    pub version: Option<Version>,
    /// Where the MIC stands in the token, if the header has room for one. Whether those bytes are a MIC, MsvAvFlags says.
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
    /// Where the MIC stands in a message with the full header.
    pub const OFFSET_OF_MIC: usize = Self::WITH_VERSION;

    /// The message in `token`. How long its header is (52, 60, 64, 72, 80 or 88 bytes) follows from where its payload starts.
    /// `settled` is what the CHALLENGE_MESSAGE says: its charset is that of the names.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(token: &'a [u8], settled: NegotiateFlags) -> Result<Self> {
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
        let charset = charset(settled, flags, names)?;
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

    /// The message as bytes, with a MIC of zeros at [`Authenticate::mic_offset`] if there is one. A message with MIC has
    /// the full header, whether the Version in it means something or not.
    ///
    /// # Errors
    /// When a part is longer than a field can say.
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
        let mut writer = Writer::new(Message::Authenticate, Self::MESSAGE_TYPE, header, payload);
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

/// What the names of an AUTHENTICATE_MESSAGE are in: the charset that was settled before. Where the flags of the message say
/// the other one the names themselves tell, for some clients mean it and others only say it: GNU wget offers OEM alone, is
/// answered OEM, sends OEM names, and flags that say UNICODE.
// Deviates: [MS-NLMP] 2.2.1.3 knows the negotiated charset only.
fn charset(settled: NegotiateFlags, said: Option<NegotiateFlags>, names: [&[u8]; 3]) -> Result<Charset> {
    let both = NegotiateFlags::UNICODE | NegotiateFlags::OEM;
    let said = said.unwrap_or(settled) & both;
    match settled & both {
        // A connectionless server leaves the choice to the client, and some old ones do.
        settled if settled.is_empty() || settled == both => match said {
            said if said.is_empty() => {
                let (message, field) = (Message::Authenticate, FieldName::NegotiateFlags);
                Err(InvalidMessage { message, field, fault: Fault::WrongValue }.into())
            }
            said => Ok(said.charset()),
        },
        settled if said.is_empty() || said.charset() == settled.charset() => Ok(settled.charset()),
        _ if names.iter().any(|name| !name.len().is_multiple_of(2)) => Ok(Charset::Oem),
        // In UTF-16LE every letter up to U+00FF has a zero byte, and in an OEM code page none has.
        _ if names.iter().any(|name| name.contains(&0)) => Ok(Charset::Unicode),
        _ => Ok(Charset::Oem),
    }
}

/// Without the responses: a password can be guessed from one.
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
    fn a_truncated_or_changed_message_is_refused_or_read_as_what_it_says() {
        for mic_offset in [None, Some(72)] {
            crate::wire::tests::sweep(&sample(mic_offset), |bytes| decode(bytes)?.encode());
        }
    }

    #[test]
    fn where_no_charset_was_settled_the_message_must_say_one() {
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
    fn the_header_is_as_long_as_the_payload_leaves_it() {
        assert_eq!(decode(&sample(None)).unwrap().mic_offset, None);
        assert_eq!(decode(&sample(Some(72))).unwrap().mic_offset, Some(72));
        let mut oldest = sample(None);
        oldest.truncate(52);
        oldest[12..52].fill(0);
        let authenticate = decode(&oldest).unwrap();
        assert_eq!((authenticate.flags, authenticate.version), (None, None));
    }
}
