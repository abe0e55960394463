//! How long the pieces take: `cargo bench --manifest-path benches/Cargo.toml`. On a shared machine compare the fastest times only.
#![expect(clippy::unwrap_used, reason = "a benchmark that meets the unexpected stops there")]

use divan::{Bencher, black_box, counter::BytesCount};
use gss_ntlm::{
    crypto::{
        ExportedSessionKey, NtHash, ResponseKeyNt, SealingKey, SigningKey,
        keys::{self, Direction, Strength},
        message_mac::{MessageMac, Running},
        ntowf,
        rc4::{self, Handle},
        response,
    },
    session::{Buffer, Role, Session},
    wire::{Challenge, NegotiateFlags},
};

/// The lengths of messages.
const LENGTHS: [usize; 4] = [64, 1024, 16 * 1024, 1024 * 1024];

fn main() {
    divan::main();
}

#[divan::bench(args = LENGTHS)]
fn mac(bencher: Bencher<'_, '_>, len: usize) {
    let (mac, message) = (MessageMac::new(&SigningKey::new([1; 16])), vec![0x5a; len]);
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let mut running = mac.begin(black_box(100));
        running.update(black_box(&message));
        running.finish()
    });
}

#[divan::bench(args = LENGTHS)]
fn mac_and_encrypt(bencher: Bencher<'_, '_>, len: usize) {
    bench_with_stream(bencher, len, |mac, data, stream| mac.update_and_encrypt(data, stream));
}

#[divan::bench(args = LENGTHS)]
fn decrypt_and_mac(bencher: Bencher<'_, '_>, len: usize) {
    bench_with_stream(bencher, len, |mac, data, stream| mac.decrypt_and_update(data, stream));
}

fn bench_with_stream(bencher: Bencher<'_, '_>, len: usize, work: fn(&mut Running<'_>, &mut [u8], &mut Handle)) {
    let (mac, mut message) = (MessageMac::new(&SigningKey::new([1; 16])), vec![0x5a; len]);
    let mut stream = Handle::new(&SealingKey::new([2; 16]));
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let mut running = mac.begin(black_box(100));
        work(&mut running, black_box(&mut message), &mut stream);
        running.finish()
    });
}

#[divan::bench(args = LENGTHS)]
fn rc4(bencher: Bencher<'_, '_>, len: usize) {
    let (mut stream, mut data) = (Handle::new(&SealingKey::new([2; 16])), vec![0x5a; len]);
    bencher.counter(BytesCount::new(len)).bench_local(|| stream.apply(black_box(&mut data)));
}

#[divan::bench]
fn rc4_key_schedule() -> Handle {
    Handle::new(black_box(&SealingKey::new([2; 16])))
}

#[divan::bench]
fn rc4k() -> [u8; 16] {
    let mut data = black_box([3; 16]);
    rc4::rc4k(black_box(&[2; 16]), &mut data);
    data
}

#[divan::bench]
fn ntowf_v2() -> ResponseKeyNt {
    let [user, domain] = black_box([b"a\0l\0i\0c\0e\0".as_slice(), b"D\0O\0M\0A\0I\0N\0"]);
    ntowf::ntowf_v2(&NtHash::new(black_box([4; 16])), user, domain)
}

#[divan::bench]
fn ntlm_v2_response(bencher: Bencher<'_, '_>) {
    let (key, temp) = (ResponseKeyNt::new([5; 16]), [6; 200]);
    bencher.bench_local(|| response::ntlm_v2(&key, black_box(&[7; 8]), black_box(&temp)));
}

#[divan::bench]
fn session_keys() -> (SigningKey, SealingKey) {
    let key = ExportedSessionKey::new(black_box([8; 16]));
    keys::sign_and_seal_keys(&key, Strength::Bits128, Direction::ClientToServer)
}

#[divan::bench]
fn mic(bencher: Bencher<'_, '_>) {
    let (key, messages) = (ExportedSessionKey::new([9; 16]), [[1; 40].as_slice(), &[2; 250], &[3; 500]]);
    bencher.bench_local(|| keys::mic(&key, black_box(&messages)));
}

#[divan::bench]
fn decode_challenge(bencher: Bencher<'_, '_>) {
    let flags = NegotiateFlags::UNICODE | NegotiateFlags::NTLM | NegotiateFlags::EXTENDED_SESSIONSECURITY;
    let message = Challenge { flags, server_challenge: [1; 8], target_name: &[], target_info: &[], version: None };
    let message = message.encode().unwrap();
    bencher.bench_local(|| Challenge::decode(black_box(&message)).is_ok());
}

fn pair() -> (Session, Session) {
    let flags = NegotiateFlags::SIGN
        | NegotiateFlags::SEAL
        | NegotiateFlags::EXTENDED_SESSIONSECURITY
        | NegotiateFlags::KEY_EXCH
        | NegotiateFlags::BITS_128;
    let session = |role| Session::new(role, flags, ExportedSessionKey::new([0x55; 16]), None);
    (session(Role::Initiator), session(Role::Acceptor))
}

#[divan::bench(args = LENGTHS)]
fn wrap_and_unwrap(bencher: Bencher<'_, '_>, len: usize) {
    let ((mut initiator, mut acceptor), mut message) = (pair(), vec![0x5a; len]);
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let signature = initiator.wrap(&mut [Buffer::Data(&mut message)]).unwrap();
        acceptor.unwrap(&mut [Buffer::Data(&mut message)], &signature).unwrap();
    });
}

#[divan::bench(args = LENGTHS)]
fn get_and_verify_mic(bencher: Bencher<'_, '_>, len: usize) {
    let ((mut initiator, mut acceptor), message) = (pair(), vec![0x5a; len]);
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let signature = initiator.get_mic(&[&message]).unwrap();
        acceptor.verify_mic(&[&message], &signature).unwrap();
    });
}

/// Both sides' first messages, for which keys are made.
#[divan::bench]
fn first_messages(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(pair).bench_local_values(|(mut initiator, mut acceptor)| {
        let signature = initiator.get_mic(&[b"mechTypes"]).unwrap();
        acceptor.verify_mic(&[b"mechTypes"], &signature).unwrap();
    });
}
