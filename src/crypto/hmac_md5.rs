//! HMAC-MD5 (RFC 2104) with a key of 16 bytes: what a handshake computes, and what signs messages.

use core::slice;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    md5::{BLOCK_LEN, State, compress_both, last_blocks},
    secret::is_wiped,
    work::count,
};

/// HMAC-MD5 under a key: the states after the two blocks that hold the key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct HmacMd5 {
    inner: State,
    outer: State,
}

const _: () = is_wiped::<HmacMd5>();

impl HmacMd5 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        count(key.len());
        let mut blocks = [[0x36; BLOCK_LEN], [0x5c; BLOCK_LEN]];
        for block in &mut blocks {
            block.iter_mut().zip(key).for_each(|(to, byte)| *to ^= byte);
        }
        let mut states = [State::INITIAL; 2];
        compress_both(&mut states, blocks.each_ref());
        blocks.zeroize();
        let [inner, outer] = states;
        Self { inner, outer }
    }

    /// The code of a message, whose parts are given.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        count(parts.iter().map(|part| part.len()).sum());
        let mut running = self.begin();
        parts.iter().for_each(|part| running.update(part));
        running.finish()
    }

    #[inline]
    pub(super) const fn begin(&self) -> Running<'_> {
        Running { outer: &self.outer, state: self.inner, tail: [0; BLOCK_LEN], len: 0 }
    }

    /// Begins the code of a message with a number before it.
    #[inline]
    pub(super) fn begin_with(&self, number: [u8; NUMBER_LEN]) -> Running<'_> {
        let mut running = Running { len: NUMBER_LEN, ..self.begin() };
        if let Some(room) = running.tail.first_chunk_mut() {
            *room = number;
        }
        running
    }
}

/// The length of the number that is before a message.
pub(super) const NUMBER_LEN: usize = 4;

/// The code of a message of which a part was seen.
pub(super) struct Running<'a> {
    outer: &'a State,
    pub(super) state: State,
    /// The bytes after the last whole block.
    pub(super) tail: [u8; BLOCK_LEN],
    /// How many bytes of the message were seen.
    len: usize,
}

impl Running<'_> {
    /// Goes on with `data`.
    #[inline]
    pub(super) fn update(&mut self, data: &[u8]) {
        let (head, data) = data.split_at(self.room().min(data.len()));
        if self.fill(head) {
            self.state.compress(slice::from_ref(&self.tail));
        }
        let (blocks, rest) = data.as_chunks();
        self.state.compress(blocks);
        self.skip(blocks);
        self.fill(rest);
    }

    #[inline]
    pub(super) fn finish(&mut self) -> [u8; 16] {
        // RFC 1321 3.1, 3.2: a bit, zeros, and the length in bits, with the block that holds the key.
        let bits = u64::try_from(self.len.wrapping_add(BLOCK_LEN)).unwrap_or(u64::MAX).wrapping_mul(8);
        let held = self.held();
        if let Some((end, rest)) = self.tail.get_mut(held..).and_then(<[u8]>::split_first_mut) {
            *end = 0x80;
            rest.fill(0);
        }
        if held >= BLOCK_LEN - 8 {
            self.state.compress(slice::from_ref(&self.tail));
            self.tail.fill(0);
        }
        if let Some(len) = self.tail.last_chunk_mut() {
            *len = bits.to_le_bytes();
        }
        self.state.compress(slice::from_ref(&self.tail));
        let mut outer = *self.outer;
        outer.compress(&last_blocks::<1>([&self.state.to_bytes(), &[]], BLOCK_LEN));
        outer.to_bytes()
    }

    /// How many bytes of a block were seen.
    #[inline]
    const fn held(&self) -> usize {
        self.len % BLOCK_LEN
    }

    /// How many bytes complete the block that was begun: 0 if none was.
    #[inline]
    pub(super) const fn room(&self) -> usize {
        self.len.wrapping_neg() % BLOCK_LEN
    }

    /// Keeps `data`, for which there is room. Returns whether the block is complete now.
    #[inline]
    pub(super) fn fill(&mut self, data: &[u8]) -> bool {
        let held = self.held();
        if let (NUMBER_LEN, Ok(data)) = (held, <&[u8; BLOCK_LEN - NUMBER_LEN]>::try_from(data))
            && let Some(room) = self.tail.last_chunk_mut()
        {
            // The beginning of a message behind its number: a copy of a known length needs no call.
            *room = *data;
        } else if let Some(room) = self.tail.get_mut(held..).and_then(|tail| tail.get_mut(..data.len())) {
            room.copy_from_slice(data);
        }
        self.len = self.len.wrapping_add(data.len());
        !data.is_empty() && self.held() == 0
    }

    /// Counts `blocks`, by which [`Self::state`] has gone on.
    #[inline]
    pub(super) const fn skip(&mut self, blocks: &[[u8; BLOCK_LEN]]) {
        self.len = self.len.wrapping_add(blocks.as_flattened().len());
    }
}

#[cfg(test)]
mod tests {
    use crate::crypto::{kernel, primitive::hmac_md5};

    use super::*;

    #[test]
    fn is_that_of_the_crate_for_messages_of_all_lengths_however_cut() {
        let message: Vec<u8> = (0..400_usize).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
        for len in 0..message.len() {
            let key = core::array::from_fn(|at| u8::try_from((at * 7 + len) % 256).unwrap());
            let expected = hmac_md5(&key, &[&message[..len]]);
            kernel::with_each(|kernel| {
                let hmac = HmacMd5::new(&key);
                for cut in (0..=len).step_by(if len > 140 { 13 } else { 1 }) {
                    let code = hmac.mac(&[&message[..cut], &message[cut..len]]);
                    assert_eq!(code, expected, "{len} bytes, cut at {cut}, {kernel}");
                }
            });
        }
    }
}
