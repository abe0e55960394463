//! ComputeResponse of NTLMv2, [MS-NLMP] 3.3.2.

use super::{
    NtProofStr, ResponseKeyNt, SessionBaseKey,
    primitive::{HmacMd5, hmac_md5},
};

/// NTProofStr over the challenge and *temp*, and the SessionBaseKey that goes with it.
#[must_use]
pub fn ntlm_v2(key: &ResponseKeyNt, server_challenge: &[u8; 8], temp: &[u8]) -> (NtProofStr, SessionBaseKey) {
    let hmac = HmacMd5::new(key.expose());
    let proof = hmac.mac(server_challenge, [temp]);
    let session_base_key = hmac.mac(&proof, []);
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
