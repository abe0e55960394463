//! Bytes to messages and back.

use gss_ntlm::{
    error::{FieldName, Message},
    host::FileTime,
    wire::{
        Authenticate, AvFlags, Challenge, ClientChallengeV2, MIC_LEN, Negotiate, NegotiateFlags, NtlmV2Response,
        SingleHost, TargetInfo, Version,
    },
};
use serde_json::Value;

use crate::support::{Map, Outcome, hex, same};

pub(crate) fn flags(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let flags = NegotiateFlags::from_bits_retain(u32::from_le_bytes(inputs.array("bytes")));
    same("flags", &flags.bits(), &expected.u32("flags"))?;
    let set: Vec<_> = flags.iter_names().map(|(name, _)| name.trim_start_matches("BITS_")).collect();
    same("set", &Value::from(set), &expected.0["set"])
}

pub(crate) fn message(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let token = inputs.bytes("token");
    let version =
        |version: Option<Version>| same("version", &version.map(|v| v.0.to_vec()), &expected.optional_bytes("version"));
    match expected.u32("message_type") {
        1 => {
            let negotiate = Negotiate::decode(&token).map_err(|e| e.to_string())?;
            same("flags", &negotiate.flags.bits(), &expected.u32("flags"))?;
            same("domain", negotiate.domain, &expected.bytes("domain"))?;
            same("workstation", negotiate.workstation, &expected.bytes("workstation"))?;
            version(negotiate.version)?;
            let again = negotiate.encode().map_err(|e| e.to_string())?;
            same("the message written again", &Negotiate::decode(&again), &Ok(negotiate))
        }
        2 => {
            let challenge = Challenge::decode(&token).map_err(|e| e.to_string())?;
            same("flags", &challenge.flags.bits(), &expected.u32("flags"))?;
            same("server_challenge", &challenge.server_challenge, &expected.array("server_challenge"))?;
            same("target_name", challenge.target_name, &expected.bytes("target_name"))?;
            same("target_info", challenge.target_info, &expected.bytes("target_info"))?;
            version(challenge.version)?;
            if !expected.0["av_pairs"].is_null() {
                let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info);
                same_pairs(&info.map_err(|e| e.to_string())?, expected)?;
            }
            let again = challenge.encode().map_err(|e| e.to_string())?;
            same("the message written again", &Challenge::decode(&again), &Ok(challenge))
        }
        3 => {
            let authenticate = Authenticate::decode(&token, NegotiateFlags::UNICODE).map_err(|e| e.to_string())?;
            same("flags", &authenticate.flags.map(|f| f.bits()), &Some(expected.u32("flags")))?;
            for (name, field) in [
                ("lm_response", authenticate.lm_response),
                ("nt_response", authenticate.nt_response),
                ("domain", authenticate.domain),
                ("user", authenticate.user),
                ("workstation", authenticate.workstation),
                ("encrypted_random_session_key", authenticate.encrypted_random_session_key),
            ] {
                same(name, field, &expected.bytes(name))?;
            }
            version(authenticate.version)?;
            let announced = NtlmV2Response::decode(authenticate.nt_response)
                .is_ok_and(|response| response.client_challenge.target_info.flags().contains(AvFlags::MIC));
            let mic = authenticate.mic_offset.filter(|_| announced).map(|at| token[at..at + MIC_LEN].to_vec());
            same("mic", &mic, &expected.optional_bytes("mic"))?;
            let again = authenticate.encode().map_err(|e| e.to_string())?;
            same("the message written again", &Authenticate::decode(&again, NegotiateFlags::UNICODE), &Ok(authenticate))
        }
        other => Err(format!("message_type {other}")),
    }
}

pub(crate) fn av_pairs(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let bytes = inputs.bytes("target_info");
    let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, &bytes).map_err(|e| e.to_string())?;
    same_pairs(&info, expected)?;
    same("after_eol", info.after_eol(), &expected.bytes("after_eol"))
}

pub(crate) fn same_pairs(info: &TargetInfo<'_>, expected: Map<'_>) -> Outcome {
    let got: Vec<_> =
        info.pairs().map(|pair| Value::from(vec![Value::from(pair.id.0), Value::from(hex(pair.value))])).collect();
    same("av_pairs", &Value::from(got), &expected.0["av_pairs"])
}

pub(crate) fn client_challenge(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let temp = inputs.bytes("temp");
    let challenge = ClientChallengeV2::decode(&temp).map_err(|e| e.to_string())?;
    same("resp_type", &1, &expected.u32("resp_type"))?;
    same("hi_resp_type", &1, &expected.u32("hi_resp_type"))?;
    same("time", &challenge.time, &expected.array("time"))?;
    same("client_challenge", &challenge.client_challenge, &expected.array("client_challenge"))?;
    same("trailer", challenge.target_info.after_eol(), &expected.bytes("trailer"))?;
    same_pairs(&challenge.target_info, expected)
}

pub(crate) fn single_host(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let bytes = inputs.bytes("bytes");
    let host =
        SingleHost::decode(Message::Authenticate, FieldName::NtChallengeResponse, &bytes).map_err(|e| e.to_string())?;
    same("size", &host.size, &expected.u32("size"))?;
    same("z4", &host.z4, &expected.u32("z4"))?;
    same("custom_data", &host.custom_data, &expected.array("custom_data"))?;
    same("machine_id", &host.machine_id[..], &expected.bytes("machine_id"))
}

pub(crate) fn version(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let version = Version(inputs.array("bytes"));
    let (major, minor) = version.product();
    same("major", &u32::from(major), &expected.u32("major"))?;
    same("minor", &u32::from(minor), &expected.u32("minor"))?;
    same("build", &u32::from(version.build()), &expected.u32("build"))?;
    same("revision", &u32::from(version.revision()), &expected.u32("revision"))
}

pub(crate) fn filetime(inputs: Map<'_>, expected: Map<'_>) -> Outcome {
    let seconds = inputs.0["unix_seconds"].as_i64().expect("seconds");
    let nanoseconds = inputs.0["nanoseconds"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let time = match u64::try_from(seconds) {
        Ok(seconds) => FileTime::from_unix(seconds, nanoseconds),
        // Before 1970 no clock of ours is.
        Err(_) => FileTime(u64::try_from(seconds + 11_644_473_600).expect("not before 1601") * 10_000_000),
    };
    same("filetime", &time.to_bytes(), &expected.array("filetime"))
}
