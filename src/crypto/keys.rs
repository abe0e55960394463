//! From the SessionBaseKey to the keys of a session, [MS-NLMP] 3.4.5, and the MIC.

use zeroize::{Zeroize as _, Zeroizing};

use super::{
    ExportedSessionKey, KeyExchangeKey, LmHash, Mic, SealingKey, SessionBaseKey, SigningKey,
    hmac_md5::HmacMd5,
    md5::{self, State, last_blocks},
    primitive::{des, hmac_md5},
    rc4::rc4k,
};

/// The direction of the messages that a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Messages of the initiator.
    ClientToServer,
    /// Messages of the acceptor.
    ServerToClient,
}

/// How much of the ExportedSessionKey goes into the sealing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// All of it: NTLMSSP_NEGOTIATE_128.
    Bits128,
    /// Seven bytes: NTLMSSP_NEGOTIATE_56 without 128.
    Bits56,
    /// Five bytes: neither 128 nor 56.
    Bits40,
}

/// How many bytes of the ExportedSessionKey a sealing key of LM_KEY is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LmKeyLength {
    /// Seven: NTLMSSP_NEGOTIATE_56.
    SevenBytes,
    /// Five.
    FiveBytes,
}

/// KXKEY of NTLMv2, and of NTLMv1 without any of the flags below: the SessionBaseKey itself.
#[must_use]
pub const fn kxkey(key: &SessionBaseKey) -> KeyExchangeKey {
    KeyExchangeKey::new(*key.expose())
}

/// KXKEY of NTLMv1 with extended session security, over the first eight bytes of LmChallengeResponse.
#[must_use]
pub fn kxkey_extended(key: &SessionBaseKey, server_challenge: &[u8; 8], lm_response: &[u8; 8]) -> KeyExchangeKey {
    KeyExchangeKey::new(hmac_md5(key.expose(), &[server_challenge, lm_response]))
}

/// KXKEY of NTLMv1 with LM_KEY, over the first eight bytes of LmChallengeResponse.
#[must_use]
pub fn kxkey_lm(hash: &LmHash, lm_response: &[u8; 8]) -> KeyExchangeKey {
    let [h0, h1, h2, h3, h4, h5, h6, h7, ..] = *hash.expose();
    let first = des([h0, h1, h2, h3, h4, h5, h6], *lm_response);
    let second = des([h7, 0xbd, 0xbd, 0xbd, 0xbd, 0xbd, 0xbd], *lm_response);
    KeyExchangeKey::new(*two_halves(first, second))
}

/// KXKEY of NTLMv1 with REQUEST_NON_NT_SESSION_KEY; also the SessionBaseKey of an LM response alone.
#[must_use]
pub fn kxkey_non_nt(hash: &LmHash) -> KeyExchangeKey {
    let [h0, h1, h2, h3, h4, h5, h6, h7, ..] = *hash.expose();
    KeyExchangeKey::new(*two_halves([h0, h1, h2, h3, h4, h5, h6, h7], [0; 8]))
}

fn two_halves(first: [u8; 8], second: [u8; 8]) -> Zeroizing<[u8; 16]> {
    let mut key = Zeroizing::new([0; 16]);
    key.iter_mut().zip(first.into_iter().chain(second)).for_each(|(to, from)| *to = from);
    key
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

/// SIGNKEY (3.4.5.2) and SEALKEY (3.4.5.3) with extended session security, for one direction.
#[must_use]
pub fn sign_and_seal_keys(
    key: &ExportedSessionKey, strength: Strength, direction: Direction,
) -> (SigningKey, SealingKey) {
    let [k0, k1, k2, k3, k4, k5, k6, ..] = key.expose();
    let (seven, five) = ([*k0, *k1, *k2, *k3, *k4, *k5, *k6], [*k0, *k1, *k2, *k3, *k4]);
    let for_sealing: &[u8] = match strength {
        Strength::Bits128 => key.expose(),
        Strength::Bits56 => &seven,
        Strength::Bits40 => &five,
    };
    let (sign, seal) = match direction {
        Direction::ClientToServer => (
            b"session key to client-to-server signing key magic constant\0",
            b"session key to client-to-server sealing key magic constant\0",
        ),
        Direction::ServerToClient => (
            b"session key to server-to-client signing key magic constant\0",
            b"session key to server-to-client sealing key magic constant\0",
        ),
    };
    let [signing, sealing] = md5::hash_both([[key.expose(), sign], [for_sealing, seal]]);
    (SigningKey::new(signing), SealingKey::new(sealing))
}

/// SEALKEY without extended session security: the ExportedSessionKey itself, for both directions.
#[must_use]
pub const fn seal_key_whole(key: &ExportedSessionKey) -> SealingKey {
    SealingKey::new(*key.expose())
}

/// SEALKEY without extended session security but with LM_KEY: seven bytes of the ExportedSessionKey and one constant byte,
/// or five and three. RC4 repeats its key, so these eight bytes twice are the same key as the eight bytes.
#[must_use]
pub fn seal_key_lm(key: &ExportedSessionKey, length: LmKeyLength) -> SealingKey {
    let [k0, k1, k2, k3, k4, k5, k6, ..] = *key.expose();
    let half = match length {
        LmKeyLength::SevenBytes => [k0, k1, k2, k3, k4, k5, k6, 0xa0],
        LmKeyLength::FiveBytes => [k0, k1, k2, k3, k4, 0xe5, 0x38, 0xb0],
    };
    SealingKey::new(*two_halves(half, half))
}

/// SealingKey' of 3.4: the key of one connectionless message with extended session security.
#[must_use]
pub fn seal_key_of_message(key: &SealingKey, seq_num: u32) -> SealingKey {
    let block = Zeroizing::new(last_blocks::<1>([key.expose(), &seq_num.to_le_bytes()], 0));
    let mut state = State::INITIAL;
    state.compress(&*block);
    let key = SealingKey::new(state.to_bytes());
    state.zeroize();
    key
}

/// The MIC over the messages, which may come in parts, with zeros in place of the MIC.
#[must_use]
pub fn mic(key: &ExportedSessionKey, messages: &[&[u8]]) -> Mic {
    Mic::new(HmacMd5::new(key.expose()).mac(messages))
}
