//! NTLMSSP_MESSAGE_SIGNATURE, [MS-NLMP] 2.2.2.9.

/// The signature of a message: the result of `gss_get_mic`, and the bytes before the data in a wrap token.
///
/// It has no `==`: the session verifies signatures, in constant time.
#[derive(Debug, Clone, Copy)]
pub struct MessageSignature(pub [u8; Self::LEN]);

impl MessageSignature {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// The only value of Version.
    const VERSION: [u8; 4] = 1_u32.to_le_bytes();

    /// What is sent as a signature with ALWAYS_SIGN alone ([MS-NLMP] 3.4.4.3).
    pub const DUMMY: Self = Self::with_extended_session_security([0; 8], 0);

    /// The structure of 2.2.2.9.2.
    #[must_use]
    pub const fn with_extended_session_security(checksum: [u8; 8], seq_num: u32) -> Self {
        let [v0, v1, v2, v3] = Self::VERSION;
        let [c0, c1, c2, c3, c4, c5, c6, c7] = checksum;
        let [s0, s1, s2, s3] = seq_num.to_le_bytes();
        Self([v0, v1, v2, v3, c0, c1, c2, c3, c4, c5, c6, c7, s0, s1, s2, s3])
    }

    /// The structure of 2.2.2.9.1, with zeros in RandomPad.
    #[must_use]
    pub const fn without_extended_session_security(checksum: [u8; 4], seq_num: [u8; 4]) -> Self {
        let [c0, c1, c2, c3] = checksum;
        Self::with_extended_session_security([0, 0, 0, 0, c0, c1, c2, c3], u32::from_le_bytes(seq_num))
    }

    /// The same signature with zeros in RandomPad, which has no meaning and must not be compared.
    #[must_use]
    pub const fn without_random_pad(&self) -> Self {
        let [v0, v1, v2, v3, _, _, _, _, rest @ ..] = self.0;
        let [c0, c1, c2, c3, s0, s1, s2, s3] = rest;
        Self([v0, v1, v2, v3, 0, 0, 0, 0, c0, c1, c2, c3, s0, s1, s2, s3])
    }

    /// SeqNum. Until the signature is verified, anybody may have written it.
    #[must_use]
    pub const fn seq_num(&self) -> u32 {
        let [.., s0, s1, s2, s3] = self.0;
        u32::from_le_bytes([s0, s1, s2, s3])
    }
}
