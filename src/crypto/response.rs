//! ComputeResponse, [MS-NLMP] 3.3.1 and 3.3.2.

use super::{
    LmHash, NtHash, NtProofStr, ResponseKeyNt, SessionBaseKey,
    hmac_md5::HmacMd5,
    primitive::{desl, hmac_md5, md4, md5},
};

/// The length of an NTLMv1 or LM response, in bytes.
pub const NTLM_V1_LEN: usize = 24;

/// NTLM_RESPONSE to a challenge, and its SessionBaseKey. The challenge is the server's or, with extended session security,
/// the [`combined_challenge`].
#[must_use]
pub fn ntlm_v1(hash: &NtHash, challenge: &[u8; 8]) -> ([u8; NTLM_V1_LEN], SessionBaseKey) {
    (desl(hash.expose(), *challenge), SessionBaseKey::new(md4(&[hash.expose()])))
}

/// LM_RESPONSE to the server's challenge.
#[must_use]
pub fn lm_v1(hash: &LmHash, challenge: &[u8; 8]) -> [u8; NTLM_V1_LEN] {
    desl(hash.expose(), *challenge)
}

/// The challenge that NTLMv1 with extended session security answers: a hash of both sides' challenges.
#[must_use]
pub fn combined_challenge(server_challenge: &[u8; 8], client_challenge: &[u8; 8]) -> [u8; 8] {
    let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = md5(&[server_challenge, client_challenge]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// NTProofStr over the server's challenge and *temp*, and its SessionBaseKey.
#[must_use]
pub fn ntlm_v2(key: &ResponseKeyNt, server_challenge: &[u8; 8], temp: &[u8]) -> (NtProofStr, SessionBaseKey) {
    let hmac = HmacMd5::new(key.expose());
    let proof = hmac.mac(&[server_challenge, temp]);
    let session_base_key = hmac.mac(&[&proof]);
    (NtProofStr::new(proof), SessionBaseKey::new(session_base_key))
}

/// LMv2_RESPONSE: the proof over both challenges, then the client's.
#[must_use]
pub fn lm_v2(key: &ResponseKeyNt, server_challenge: &[u8; 8], client_challenge: &[u8; 8]) -> [u8; 24] {
    let mut response = [0; 24];
    let proof = hmac_md5(key.expose(), &[server_challenge, client_challenge]);
    response.iter_mut().zip(proof.iter().chain(client_challenge)).for_each(|(to, from)| *to = *from);
    response
}
