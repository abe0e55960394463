//! Each decoder of src/wire. What it reads, written again and read again, is the same.
//!
//! Input: one byte with the charset that was agreed on, and the message.

#![no_main]

use std::collections::HashSet;

use gss_ntlm::{
    error::{FieldName, Message},
    wire::{
        Authenticate, Challenge, ClientChallengeV2, MIC_LEN, MessageSignature, Negotiate, NegotiateFlags,
        NtlmV2Response, SingleHost, TargetInfo, TargetInfoBuilder,
    },
};
use gss_ntlm_fuzz::{assert_one_line, no_fault};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((agreed, token)) = data.split_first() else { return };
    let agreed = NegotiateFlags::from_bits_retain(u32::from(*agreed));
    if let Ok(negotiate) = no_fault(Negotiate::decode(token)) {
        let again = no_fault(negotiate.encode()).unwrap();
        assert_eq!(Negotiate::decode(&again), Ok(negotiate));
    }
    if let Ok(challenge) = no_fault(Challenge::decode(token)) {
        let again = no_fault(challenge.encode()).unwrap();
        assert_eq!(Challenge::decode(&again), Ok(challenge));
        target_info(Message::Challenge, FieldName::TargetInfo, challenge.target_info);
    }
    if let Ok(authenticate) = no_fault(Authenticate::decode(token, agreed)) {
        let again = no_fault(authenticate.encode()).unwrap();
        assert!(Authenticate::decode(&again, agreed) == Ok(authenticate), "{authenticate:?}");
        if let Some(at) = authenticate.mic_offset {
            assert!(at + MIC_LEN <= token.len());
        }
        client_challenge(authenticate.nt_response);
    }
    target_info(Message::Challenge, FieldName::TargetInfo, token);
    client_challenge(token);
    let _ = no_fault(SingleHost::decode(Message::Authenticate, FieldName::NtChallengeResponse, token));
    if let Some(signature) = token.first_chunk() {
        let signature = MessageSignature(*signature);
        let without_pad = signature.without_random_pad();
        assert_eq!(without_pad.seq_num(), signature.seq_num());
        assert_eq!(without_pad.without_random_pad().0, without_pad.0);
    }
});

/// The proof and the structure that it covers.
fn client_challenge(bytes: &[u8]) {
    let Ok(response) = no_fault(NtlmV2Response::decode(bytes)) else { return };
    assert_eq!([&response.nt_proof_str, response.temp].concat(), bytes);
    let ClientChallengeV2 { time, client_challenge, target_info: info } = response.client_challenge;
    let pairs = target_info(Message::Authenticate, FieldName::NtChallengeResponse, &response.temp[28..]);
    let again = NtlmV2Response::encode_unproved(time, client_challenge, &pairs.unwrap()).unwrap();
    let again = NtlmV2Response::decode(&again).unwrap().client_challenge;
    assert_eq!((again.time, again.client_challenge), (time, client_challenge));
    assert!(again.target_info.pairs().eq(info.pairs()));
}

/// The list of AV_PAIRs at the start of `bytes`, written again.
fn target_info(message: Message, field: FieldName, bytes: &[u8]) -> Option<Vec<u8>> {
    let info = no_fault(TargetInfo::decode(message, field, bytes)).ok()?;
    let mut builder = TargetInfoBuilder::default();
    for pair in info.pairs() {
        builder.push(pair.id, pair.value).unwrap();
        assert_eq!(info.find(pair.id), info.pairs().find(|other| other.id == pair.id).map(|other| other.value));
    }
    let again = builder.finish();
    assert_eq!([&again, info.after_eol()].concat(), bytes);
    assert_one_line(&info.to_string());
    let mut seen = HashSet::new();
    let is_unique = info.pairs().all(|pair| seen.insert(pair.id.0));
    assert_eq!(info.ensure_no_duplicates(message, field).is_ok(), is_unique);
    let _ = (info.flags(), info.timestamp(), info.channel_bindings());
    Some(again)
}
