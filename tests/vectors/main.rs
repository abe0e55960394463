//! Runs every vector of this folder, or of the folder that GSSNTLM_VECTORS names.
//!
//! Every vector that passes is spoiled, one expected value after the other, and must then fail.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets the unexpected stops there"
)]

mod crypto;
mod handshake;
mod messages;
mod sip;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use support::{Map, Outcome};

#[test]
fn every_vector_gives_what_it_says() {
    let folder = std::env::var_os("GSSNTLM_VECTORS");
    let folder = folder.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let mut failures = Vec::new();
    let mut passed = 0_usize;
    for vector in vectors(&folder) {
        let id = vector["id"].as_str().expect("a vector has an id").to_owned();
        match run(&vector) {
            Ok(()) => {
                passed += 1;
                failures.extend(spoil(&vector).into_iter().map(|what| format!("{id}: passes with another {what}")));
            }
            Err(why) => failures.push(format!("{id}: {why}")),
        }
    }
    let of_sip = sip::run(&folder).map(|(groups, why)| {
        failures.extend(why);
        groups
    });
    println!("{passed} vectors and {of_sip:?} groups of sip.json passed");
    assert!(failures.is_empty(), "{} of the vectors fail:\n{}", failures.len(), failures.join("\n"));
    assert!(passed > 0 || of_sip.is_some(), "{} has no vectors", folder.display());
}

/// The vectors of every file of our schema in `folder`.
fn vectors(folder: &Path) -> Vec<Value> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    files.sort();
    let json = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    json.flat_map(|file| {
        let bytes = fs::read(file).expect("a vector file can be read");
        let mut content: Value = serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        match content["vectors"].take() {
            Value::Array(vectors) if content["schema"] == "ntlm-test-vectors/1" => vectors,
            _ => Vec::new(), // another layout
        }
    })
    .collect()
}

fn run(vector: &Value) -> Outcome {
    let (inputs, expected) = (Map(&vector["inputs"]), Map(&vector["expected"]));
    match vector["kind"].as_str().unwrap_or_default() {
        "constant" => crypto::constant(inputs, expected),
        "encoding" => crypto::encoding(inputs, expected),
        "flags" => messages::flags(inputs, expected),
        "primitive" => crypto::algorithm(inputs, expected),
        "lmowfv1" => crypto::lmowf_v1(inputs, expected),
        "ntlmv1_response" => crypto::ntlmv1_response(inputs, expected),
        "ntowfv1" => crypto::ntowf_v1(inputs, expected),
        "ntowfv2" => crypto::ntowf_v2(inputs, expected),
        "uppercase" => crypto::uppercase(inputs, expected),
        "lmv2_response" => crypto::lmv2_response(inputs, expected),
        "ntlmv2_response" => crypto::ntlmv2_response(inputs, expected),
        "kxkey" => crypto::kxkey(inputs, expected),
        "encrypted_session_key" => crypto::encrypted_session_key(inputs, expected),
        "signkey" => crypto::sign_key(inputs, expected),
        "sealkey" => crypto::seal_key(inputs, expected),
        "session" => crypto::session(inputs, expected),
        "exchange" => handshake::exchange(inputs, expected),
        "mic" => crypto::mic(inputs, expected),
        "channel_bindings" => crypto::channel_bindings(inputs, expected),
        "message" => messages::message(inputs, expected),
        "av_pairs" => messages::av_pairs(inputs, expected),
        "client_challenge" => messages::client_challenge(inputs, expected),
        "single_host" => messages::single_host(inputs, expected),
        "version" => messages::version(inputs, expected),
        "filetime" => messages::filetime(inputs, expected),
        "malformed" => handshake::malformed(inputs, expected),
        kind => panic!("{}: the kind {kind} is unknown", vector["id"]),
    }
}

/// The expected values that may be another without the vector failing.
fn spoil(vector: &Value) -> Vec<String> {
    // The four constants only name inputs; malformed ones expect one outcome of several.
    if vector["kind"] == "malformed" {
        return Vec::new();
    }
    // For reading, or what follows from a compared value.
    let is_remark = |key: &str| {
        key.ends_with("_text") || key.ends_with("_length") || key == "lm_response" && vector["kind"] == "exchange"
    };
    let mut leaves = Vec::new();
    collect_leaves(&vector["expected"], String::new(), &mut leaves);
    leaves
        .into_iter()
        .filter(|pointer| !is_remark(pointer.rsplit('/').next().unwrap_or_default()))
        .filter(|pointer| {
            let mut changed = vector.clone();
            let leaf = changed["expected"].pointer_mut(pointer).expect("a leaf stands where it was found");
            match leaf {
                Value::String(text) if pointer.ends_with("signature_mask") || text.is_empty() => return false,
                Value::String(text) => {
                    let other = if text.starts_with('0') { "1" } else { "0" };
                    text.replace_range(..text.chars().next().map_or(0, char::len_utf8), other);
                }
                Value::Number(number) => *leaf = Value::from(number.as_u64().unwrap_or_default() ^ 1),
                Value::Bool(truth) => *leaf = Value::from(!*truth),
                _ => return false,
            }
            run(&changed).is_ok()
        })
        .collect()
}

fn collect_leaves(value: &Value, pointer: String, leaves: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| collect_leaves(value, format!("{pointer}/{key}"), leaves));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| collect_leaves(value, format!("{pointer}/{at}"), leaves));
        }
        _ => leaves.push(pointer),
    }
}
