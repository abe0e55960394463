//! From the SessionBaseKey to the keys of a session, [MS-NLMP] 3.4.5, and the MIC.

use super::{
    ExportedSessionKey, KeyExchangeKey, Mic, SealingKey, SessionBaseKey, SigningKey,
    primitive::{hmac_md5, md5},
    rc4::rc4k,
};

/// Whose messages a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The initiator's.
    ClientToServer,
    /// The acceptor's.
    ServerToClient,
}

/// How much of the ExportedSessionKey enters the sealing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// All of it: NTLMSSP_NEGOTIATE_128.
    Bits128,
    /// Seven bytes: NTLMSSP_NEGOTIATE_56 without 128.
    Bits56,
    /// Five bytes: neither.
    Bits40,
}

/// KXKEY with NTLMv2: the SessionBaseKey itself.
#[must_use]
pub const fn kxkey_v2(key: &SessionBaseKey) -> KeyExchangeKey {
    KeyExchangeKey::new(*key.expose())
}

/// EncryptedRandomSessionKey: RC4K(KeyExchangeKey, ExportedSessionKey).
#[must_use]
pub fn encrypt_session_key(key: &KeyExchangeKey, exported: &ExportedSessionKey) -> [u8; 16] {
    let mut encrypted = *exported.expose();
    rc4k(key.expose(), &mut encrypted);
    encrypted
}

/// The inverse of [`encrypt_session_key`].
#[must_use]
pub fn decrypt_session_key(key: &KeyExchangeKey, mut encrypted: [u8; 16]) -> ExportedSessionKey {
    rc4k(key.expose(), &mut encrypted);
    ExportedSessionKey::new(encrypted)
}

/// SIGNKEY with extended session security.
#[must_use]
pub fn sign_key(key: &ExportedSessionKey, direction: Direction) -> SigningKey {
    SigningKey::new(md5(&[
        key.expose(),
        match direction {
            Direction::ClientToServer => b"session key to client-to-server signing key magic constant\0",
            Direction::ServerToClient => b"session key to server-to-client signing key magic constant\0",
        },
    ]))
}

/// SEALKEY with extended session security.
#[must_use]
pub fn seal_key(key: &ExportedSessionKey, strength: Strength, direction: Direction) -> SealingKey {
    let [k0, k1, k2, k3, k4, k5, k6, ..] = key.expose();
    let (seven, five) = ([*k0, *k1, *k2, *k3, *k4, *k5, *k6], [*k0, *k1, *k2, *k3, *k4]);
    SealingKey::new(md5(&[
        match strength {
            Strength::Bits128 => key.expose(),
            Strength::Bits56 => &seven,
            Strength::Bits40 => &five,
        },
        match direction {
            Direction::ClientToServer => b"session key to client-to-server sealing key magic constant\0",
            Direction::ServerToClient => b"session key to server-to-client sealing key magic constant\0",
        },
    ]))
}

/// The MIC over the messages, in the parts that the caller has them in, with zeros where the MIC stands.
#[must_use]
pub fn mic(key: &ExportedSessionKey, messages: &[&[u8]]) -> Mic {
    Mic::new(hmac_md5(key.expose(), messages))
}
