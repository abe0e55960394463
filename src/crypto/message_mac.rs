//! HMAC_MD5 of a message (3.4.4.2), while RC4 encrypts or decrypts it.

use super::{
    SigningKey,
    hmac_md5::{self, HmacMd5, NUMBER_LEN},
    kernel::{self, Kernel, Task},
    md5::{BLOCK_LEN, State, Unknown, rounds},
    rc4::Handle,
};

/// HMAC_MD5 under a signing key.
#[derive(Clone)]
pub struct MessageMac(HmacMd5);

impl MessageMac {
    /// HMAC_MD5 with `key`.
    #[must_use]
    pub fn new(key: &SigningKey) -> Self {
        Self(HmacMd5::new(key.expose()))
    }

    /// Begins the code of the message with the number `seq_num`.
    #[inline]
    #[must_use]
    pub fn begin(&self, seq_num: u32) -> Running<'_> {
        Running(self.0.begin_with(seq_num.to_le_bytes()))
    }
}

/// The code of a message of which a part was seen.
pub struct Running<'a>(hmac_md5::Running<'a>);

impl Running<'_> {
    /// Goes on with `data`.
    #[inline]
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Goes on with `data`, and encrypts it with `stream`.
    pub fn update_and_encrypt(&mut self, data: &mut [u8], stream: &mut Handle) {
        kernel::run(Encrypt(&mut self.0, data, stream));
    }

    /// Decrypts `data` with `stream`, and goes on with it.
    pub fn decrypt_and_update(&mut self, data: &mut [u8], stream: &mut Handle) {
        kernel::run(Decrypt(&mut self.0, data, stream));
    }

    /// The first eight bytes of the code.
    #[inline]
    #[must_use]
    pub fn finish(mut self) -> [u8; 8] {
        let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = self.0.finish();
        [c0, c1, c2, c3, c4, c5, c6, c7]
    }
}

/// How many bytes of a message share a block with its number.
const FIRST: usize = BLOCK_LEN - NUMBER_LEN;

struct Encrypt<'a, 'k>(&'a mut hmac_md5::Running<'k>, &'a mut [u8], &'a mut Handle);

impl Task for Encrypt<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self(mac, data, handle) = self;
        let (mut stream, mut state, unknown) = (handle.stream(), mac.state.load::<K::One>(), Unknown::new());
        let (head, data) = data.split_at_mut(mac.room().min(data.len()));
        if mac.fill(head) {
            if let Ok(head) = <&mut [u8; FIRST]>::try_from(&mut *head) {
                rounds(&mut state, [&mac.tail], unknown, |at| {
                    if let Some(byte) = head.get_mut(at) {
                        *byte ^= stream.next();
                    }
                });
            } else {
                rounds(&mut state, [&mac.tail], unknown, |_| ());
                stream.apply(head);
            }
        } else {
            stream.apply(head);
        }
        let (blocks, rest) = data.as_chunks_mut();
        for data in &mut *blocks {
            let block = *data;
            rounds(&mut state, [&block], unknown, |at| {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= stream.next();
                }
            });
        }
        mac.state = State::of(state);
        mac.skip(blocks);
        mac.fill(rest);
        stream.apply(rest);
        let end = stream.end();
        handle.go_on(end);
    }
}

struct Decrypt<'a, 'k>(&'a mut hmac_md5::Running<'k>, &'a mut [u8], &'a mut Handle);

impl Task for Decrypt<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self(mac, data, handle) = self;
        let (mut stream, mut state, unknown) = (handle.stream(), mac.state.load::<K::One>(), Unknown::new());
        let (head, data) = data.split_at_mut(mac.room().min(data.len()));
        stream.apply(head);
        // The block that is decrypted and not yet hashed.
        let mut before = if mac.fill(head) { Some(mac.tail) } else { None };
        let (blocks, rest) = data.as_chunks_mut();
        for data in &mut *blocks {
            match before {
                Some(before) => rounds(&mut state, [&before], unknown, |at| {
                    if let Some(byte) = data.get_mut(at) {
                        *byte ^= stream.next();
                    }
                }),
                None => stream.apply(data),
            }
            before = Some(*data);
        }
        if let Some(before) = before {
            rounds(&mut state, [&before], unknown, |_| ());
        }
        mac.state = State::of(state);
        mac.skip(blocks);
        stream.apply(rest);
        mac.fill(rest);
        let end = stream.end();
        handle.go_on(end);
    }
}

#[cfg(test)]
mod tests {
    use crate::crypto::{SealingKey, primitive::hmac_md5};

    use super::*;

    const KEY: [u8; 16] = *b"a signing key...";
    const SEQ_NUM: u32 = 0x0102_0304;

    fn message(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    /// What the crate makes of the message.
    fn expected(message: &[u8]) -> [u8; 8] {
        *hmac_md5(&KEY, &[&SEQ_NUM.to_le_bytes(), message]).first_chunk().unwrap()
    }

    fn stream() -> Handle {
        Handle::new(&SealingKey::new([7; 16]))
    }

    /// Takes `message` in parts that end at `cuts`, and compares code and cipher text with those made one after the other.
    fn compare(message: &[u8], cuts: &[usize]) {
        let mac = MessageMac::new(&SigningKey::new(KEY));
        let ends = || cuts.iter().copied().chain([message.len()]);
        let parts = || [0].into_iter().chain(cuts.iter().copied()).zip(ends()).map(|(from, to)| from..to);

        let mut update = mac.begin(SEQ_NUM);
        parts().for_each(|part| update.update(&message[part]));
        let (mut sealed, mut streams) = (message.to_vec(), [stream(), stream(), stream()]);
        let [alone, encrypting, decrypting] = &mut streams;
        let mut encrypt = mac.begin(SEQ_NUM);
        parts().for_each(|part| encrypt.update_and_encrypt(&mut sealed[part], encrypting));
        let mut expected_sealed = message.to_vec();
        alone.apply(&mut expected_sealed);
        assert!(sealed == expected_sealed, "{} bytes, cut at {cuts:?}", message.len());
        let mut decrypt = mac.begin(SEQ_NUM);
        parts().for_each(|part| decrypt.decrypt_and_update(&mut sealed[part], decrypting));
        assert!(sealed == message, "{} bytes, cut at {cuts:?}", message.len());

        let sums = [update.finish(), encrypt.finish(), decrypt.finish()];
        assert_eq!(sums, [expected(message); 3], "{} bytes, cut at {cuts:?}", message.len());
        let states = streams.map(|handle| {
            let mut state = Vec::new();
            handle.export(&mut state);
            state
        });
        assert!(states.iter().all(|state| *state == states[0]), "{} bytes, cut at {cuts:?}", message.len());
    }

    #[test]
    fn is_the_code_of_the_crate_for_messages_of_all_lengths() {
        let message = message(4096);
        for len in 0..=message.len() {
            kernel::with_each(|_| compare(&message[..len], &[]));
        }
    }

    #[test]
    fn is_the_same_code_however_the_message_is_cut_and_wherever_it_begins() {
        let message = message(1500);
        for len in [0, 1, 60, 64, 124, 200, 600, 1400] {
            for first in (0..=len).step_by(if len > 300 { 7 } else { 1 }) {
                for second in [first, (first + 1).min(len), (first + 60).min(len), (first + 64).min(len), len] {
                    let start = (first + second) % 64;
                    kernel::with_each(|_| compare(&message[start..start + len], &[first, second]));
                }
            }
        }
    }
}
