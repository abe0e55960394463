//! CHALLENGE_MESSAGE, [MS-NLMP] 2.2.1.2.

use crate::error::{FieldName, Message, Result};

use super::{
    NegotiateFlags, Version,
    codec::{self, Field, Writer},
};

/// The server's message: its challenge, its names, and the flags that it agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// NegotiateFlags.
    pub flags: NegotiateFlags,
    /// ServerChallenge.
    pub server_challenge: [u8; 8],
    /// TargetName, in the charset of the flags.
    pub target_name: &'a [u8],
    /// TargetInfo, not decoded; empty without its flag.
    pub target_info: &'a [u8],
    /// Version, where the flag is set and the header has room for it.
    pub version: Option<Version>,
}

impl<'a> Challenge<'a> {
    const MESSAGE_TYPE: u32 = 2;
    /// Up to the end of ServerChallenge: the whole header of the oldest servers.
    const SHORTEST: usize = 32;
    /// With TargetInfoFields.
    const FIXED: usize = 48;

    /// Reads the message in `token`, whose header has 32, 48 or 56 bytes.
    ///
    /// # Errors
    /// When it is not a CHALLENGE_MESSAGE. Without the flag REQUEST_TARGET, TargetName is read if it is there, because some
    /// servers send it then, and no error if it is not.
    pub fn decode(token: &'a [u8]) -> Result<Self> {
        let message = Message::Challenge;
        let mut reader = codec::open(message, Self::MESSAGE_TYPE, token)?;
        let target_name_field = Field::read(&mut reader, FieldName::TargetName)?;
        let flags = NegotiateFlags::from_bits_retain(reader.u32(FieldName::NegotiateFlags)?);
        let server_challenge = reader.array(FieldName::ServerChallenge)?;

        let target_name = target_name_field.resolve_text(flags.charset(), message, token, Self::SHORTEST);
        let target_name =
            if flags.contains(NegotiateFlags::REQUEST_TARGET) { target_name? } else { target_name.unwrap_or(&[]) };

        let mut target_info = &[][..];
        let mut payload_start = target_name_field.start().unwrap_or(token.len());
        if flags.contains(NegotiateFlags::TARGET_INFO) {
            let _reserved: [u8; 8] = reader.array(FieldName::TargetInfo)?;
            let field = Field::read(&mut reader, FieldName::TargetInfo)?;
            target_info = field.resolve(message, token, Self::FIXED)?;
            payload_start = payload_start.min(field.start().unwrap_or(token.len()));
        } else {
            let _reserved_and_target_info = reader.take(Field::LEN.saturating_mul(2), FieldName::TargetInfo);
        }

        let has_version =
            flags.contains(NegotiateFlags::VERSION) && payload_start >= Self::FIXED.saturating_add(Version::LEN);
        let version = if has_version { reader.array(FieldName::Version).ok().map(Version) } else { None };
        Ok(Self { flags, server_challenge, target_name, target_info, version })
    }

    /// Writes the message.
    ///
    /// # Errors
    /// When a part is longer than 65,535 bytes, which is the most that a field can hold.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let header = Self::FIXED.saturating_add(if self.version.is_some() { Version::LEN } else { 0 });
        let payload = self.target_name.len().saturating_add(self.target_info.len());
        let mut writer = Writer::new(Message::Challenge, Self::MESSAGE_TYPE, header, payload)?;
        let target_name = writer.place(FieldName::TargetName, self.target_name)?;
        let target_info = writer.place(FieldName::TargetInfo, self.target_info)?;
        writer
            .field(target_name)
            .u32(self.flags.bits())
            .bytes(&self.server_challenge)
            .bytes(&[0; 8])
            .field(target_info);
        if let Some(Version(version)) = self.version {
            writer.bytes(&version);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let target_info = [2, 0, 2, 0, b'D', 0, 0, 0, 0, 0];
        Challenge {
            flags: NegotiateFlags::from_bits_retain(0xe28a_8205),
            server_challenge: *b"01234567",
            target_name: b"S\0",
            target_info: &target_info,
            version: Some(Version([10, 0, 0, 0, 0, 0, 0, 15])),
        }
        .encode()
        .unwrap()
    }

    #[test]
    fn there_is_a_version_only_with_the_flag_and_room_for_it() {
        let token = sample();
        let with = Challenge::decode(&token).unwrap();
        assert!(with.version.is_some());
        let flags = with.flags - NegotiateFlags::VERSION;
        // The eight bytes are there all the same.
        let mut unflagged = token.clone();
        unflagged[20..24].copy_from_slice(&flags.bits().to_le_bytes());
        assert_eq!(Challenge::decode(&unflagged).map(|challenge| challenge.version), Ok(None));
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(Challenge::decode(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
    }

    #[test]
    fn a_truncated_or_changed_message_is_refused_or_reads_the_same_when_written_again() {
        crate::wire::tests::sweep(&sample(), |bytes| Challenge::decode(bytes)?.encode());
    }

    #[test]
    fn accepts_the_header_of_the_oldest_servers() {
        let mut token = sample();
        token.truncate(32);
        token[12..32].fill(0);
        let challenge = Challenge::decode(&token).unwrap();
        assert_eq!((challenge.target_name, challenge.target_info, challenge.version), (&[][..], &[][..], None));
    }
}
