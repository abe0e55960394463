//! RC4: the stream of a session, and RC4K.

use ::rc4::{KeyInit as _, Rc4, StreamCipher as _};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{SealingKey, secret::is_wiped};

/// An RC4 stream, the *Handle* of [MS-NLMP] 3.4. Unlike that of the crate `rc4`, its state can be copied, so that a refused
/// message leaves the stream as it was, and exported.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Handle {
    state: [u8; 256],
    i: u8,
    j: u8,
}

const _: () = is_wiped::<Handle>();

impl Handle {
    /// The length of an exported stream, in bytes.
    pub const EXPORTED_LEN: usize = 258;

    /// RC4Init: the start of a stream.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub fn new(key: &SealingKey) -> Self {
        let mut state: [u8; 256] = core::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
        let mut j = 0_u8;
        for (i, key) in (0..=u8::MAX).zip(key.expose().iter().cycle()) {
            let entry = state[usize::from(i)];
            j = j.wrapping_add(entry).wrapping_add(*key);
            state[usize::from(i)] = state[usize::from(j)];
            state[usize::from(j)] = entry;
        }
        Self { state, i: 0, j: 0 }
    }

    /// RC4: encrypts or decrypts `data` in place, and advances the stream by the length of `data`.
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub fn apply(&mut self, data: &mut [u8]) {
        let Self { state, i: place, j: other_place } = self;
        let (mut i, mut j) = (place.wrapping_add(1), *other_place);
        // The next entry is loaded before the swap is stored, so that the processor does not wait for the store. One time in
        // 256 the swap changes that entry; then it is taken from the swap.
        let mut entry = state[usize::from(i)];
        for byte in data {
            j = j.wrapping_add(entry);
            let other = state[usize::from(j)];
            let next = i.wrapping_add(1);
            let mut following = state[usize::from(next)];
            if next == j {
                following = rarely(entry);
            }
            state[usize::from(i)] = other;
            state[usize::from(j)] = entry;
            *byte ^= state[usize::from(entry.wrapping_add(other))];
            i = next;
            entry = following;
        }
        *place = i.wrapping_sub(1);
        *other_place = j;
    }

    /// Writes the state of the stream, which is secret.
    pub fn export(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.state);
        out.extend_from_slice(&[self.i, self.j]);
    }

    /// The stream that [`Handle::export`] wrote; `None` when RC4 cannot be in that state.
    #[must_use]
    pub fn import(bytes: &[u8; Self::EXPORTED_LEN]) -> Option<Self> {
        let (state, &[i, j]) =
            bytes.split_first_chunk::<256>().and_then(|(s, ij)| Some((s, ij.first_chunk::<2>()?)))?;
        let mut seen = [false; 256];
        for entry in state {
            *seen.get_mut(usize::from(*entry))? = true;
        }
        seen.iter().all(|seen| *seen).then_some(Self { state: *state, i, j })
    }
}

/// Returns `entry`, but makes the compiler jump here: with a conditional move, every byte would wait for what one in 256
/// needs.
#[cold]
#[inline(never)]
fn rarely(entry: u8) -> u8 {
    core::hint::black_box(entry)
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handle(..)")
    }
}

/// RC4K(K, D) of [MS-NLMP] 6: encrypts or decrypts `data` in place with a key that is used for nothing else.
pub fn rc4k(key: &[u8; 16], data: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "RC4 has keys of 1 to 256 bytes")]
    Rc4::new_from_slice(key).expect("16 bytes are a key").apply_keystream(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_stream_as_that_of_the_crate() {
        for seed in 0..32_u8 {
            let key = core::array::from_fn(|at| seed.wrapping_mul(37).wrapping_add(u8::try_from(at).unwrap() * 11));
            let mut handle = Handle::new(&SealingKey::new(key));
            let mut other = Rc4::new_from_slice(&key).unwrap();
            for len in [0, 1, 2, 3, 255, 256, 257, 4096] {
                let (mut ours, mut theirs) = (vec![seed; len], vec![seed; len]);
                handle.apply(&mut ours);
                other.apply_keystream(&mut theirs);
                assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn an_imported_stream_continues_where_the_exported_one_was() {
        let mut handle = Handle::new(&SealingKey::new([3; 16]));
        handle.apply(&mut [0; 77]);
        let mut bytes = Vec::new();
        handle.export(&mut bytes);
        let mut again = Handle::import(bytes[..].try_into().unwrap()).unwrap();
        let (mut a, mut b) = ([0; 100], [0; 100]);
        handle.apply(&mut a);
        again.apply(&mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn refuses_a_state_that_is_no_permutation() {
        assert!(Handle::import(&[0; Handle::EXPORTED_LEN]).is_none());
    }

    #[test]
    fn a_stream_is_printed_without_its_state() {
        assert_eq!(format!("{:?}", Handle::new(&SealingKey::new([3; 16]))), "Handle(..)");
    }
}
