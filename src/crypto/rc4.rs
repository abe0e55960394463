//! RC4: the stream of a session, and RC4K.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{SealingKey, secret::is_wiped};

/// An RC4 stream, the *Handle* of [MS-NLMP] 3.4. Unlike that of the crate `rc4`, it can go back, so that a refused message leaves it
/// as it was, and be exported; and its key schedule takes half the time.
#[derive(Clone)]
pub struct Handle {
    state: [u8; 256],
    i: u8,
    j: u8,
}

const _: () = is_wiped::<Handle>();

impl ZeroizeOnDrop for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // The slice is wiped many bytes at a time, an array would be one by one.
        self.state.as_mut_slice().zeroize();
        (self.i, self.j).zeroize();
    }
}

impl Handle {
    /// The length of an exported stream, in bytes.
    pub const EXPORTED_LEN: usize = 258;

    /// RC4Init: the start of a stream.
    #[must_use]
    pub fn new(key: &SealingKey) -> Self {
        let mut handle = Self::unscheduled();
        handle.schedule(key.expose());
        handle
    }

    /// A stream that needs [`Handle::schedule`] before it is used.
    #[must_use]
    pub(crate) const fn unscheduled() -> Self {
        Self { state: [0; 256], i: 0, j: 0 }
    }

    /// The key schedule.
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub(crate) fn schedule(&mut self, key: &[u8; 16]) {
        let (state, mut i, mut j) = (&mut self.state, 0_u8, 0_u8);
        for entry in state.iter_mut() {
            (*entry, i) = (i, i.wrapping_add(1));
        }
        // Entries are loaded before the swaps of the two before them are stored, so that the processor does not wait for those.
        let [mut entry, mut second, ..] = *state;
        for _ in 0..16 {
            for key in key {
                j = j.wrapping_add(entry).wrapping_add(*key);
                let (other, next) = (state[usize::from(j)], i.wrapping_add(1));
                let mut third = state[usize::from(next.wrapping_add(1))];
                match j.wrapping_sub(next) {
                    0 => second = rarely(entry),
                    1 => third = rarely(entry),
                    _ => (),
                }
                state[usize::from(i)] = other;
                state[usize::from(j)] = entry;
                (i, entry, second) = (next, second, third);
            }
        }
        (self.i, self.j) = (0, 0);
    }

    /// RC4: encrypts or decrypts `data` in place, and advances the stream by the length of `data`.
    #[inline(never)]
    pub fn apply(&mut self, data: &mut [u8]) {
        let mut stream = self.stream();
        stream.apply(data);
        let end = stream.end();
        self.go_on(end);
    }

    /// Undoes [`Handle::apply`]: encrypts `data` again, the last byte first, and takes the stream back by its length.
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub(crate) fn go_back(&mut self, data: &mut [u8]) {
        for byte in data.iter_mut().rev() {
            let [i, j] = [self.i, self.j].map(usize::from);
            let [other, entry] = [self.state[i], self.state[j]];
            *byte ^= self.state[usize::from(entry.wrapping_add(other))];
            [self.state[i], self.state[j]] = [entry, other];
            (self.i, self.j) = (self.i.wrapping_sub(1), self.j.wrapping_sub(entry));
        }
    }

    /// The stream, to be used where it is made: one that came from elsewhere would not be kept in registers. [`Handle::go_on`]
    /// takes its end.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub(super) fn stream(&mut self) -> Stream<'_> {
        let i = self.i.wrapping_add(1);
        Stream { entry: self.state[usize::from(i)], table: &mut self.state, i, j: self.j }
    }

    /// Goes on where a stream has ended.
    #[inline]
    pub(super) const fn go_on(&mut self, (i, j): (u8, u8)) {
        (self.i, self.j) = (i, j);
    }

    /// Writes the state of the stream, which is secret.
    pub fn export(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.state);
        out.extend_from_slice(&[self.i, self.j]);
    }

    /// The stream that [`Handle::export`] wrote; `None` when it has another length, or RC4 cannot be in that state.
    #[must_use]
    pub fn import(bytes: &[u8]) -> Option<Self> {
        let (state, ij) = bytes.split_first_chunk::<256>()?;
        let &[i, j] = ij else { return None };
        let mut seen = [0_u8; 256];
        for entry in state {
            *seen.get_mut(usize::from(*entry))? = 1;
        }
        (seen == [1; 256]).then_some(Self { state: *state, i, j })
    }
}

/// A stream being used.
pub(super) struct Stream<'a> {
    table: &'a mut [u8; 256],
    /// The place of the entry that the next byte takes.
    i: u8,
    j: u8,
    /// That entry. It is loaded before the swap of the byte before is stored, so that the processor does not wait for that.
    entry: u8,
}

impl Stream<'_> {
    /// The places at which the stream goes on.
    #[inline(always)]
    pub(super) const fn end(&self) -> (u8, u8) {
        (self.i.wrapping_sub(1), self.j)
    }

    /// Encrypts or decrypts `data`.
    #[inline]
    pub(super) fn apply(&mut self, data: &mut [u8]) {
        for byte in data {
            *byte ^= self.next();
        }
    }

    /// The next byte. One time in 256 its swap changes the entry that follows.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
    pub(super) fn next(&mut self) -> u8 {
        let entry = self.entry;
        self.j = self.j.wrapping_add(entry);
        let other = self.table[usize::from(self.j)];
        let next = self.i.wrapping_add(1);
        let mut following = self.table[usize::from(next)];
        if next == self.j {
            following = rarely(entry);
        }
        self.table[usize::from(self.i)] = other;
        self.table[usize::from(self.j)] = entry;
        self.i = next;
        self.entry = following;
        self.table[usize::from(entry.wrapping_add(other))]
    }
}

/// Returns `entry`, but makes the compiler jump here: with a conditional move, every byte would wait for what one in 256 needs.
#[inline(always)]
fn rarely(entry: u8) -> u8 {
    #[cold]
    #[inline(always)]
    const fn is_cold() {}
    is_cold();
    // Two complements, or the compiler would choose between two places to load the entry from, and always compute both.
    !core::hint::black_box(!entry)
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handle(..)")
    }
}

/// RC4K(K, D) of [MS-NLMP] 6: encrypts or decrypts `data` in place with a key that is used for nothing else.
pub fn rc4k(key: &[u8; 16], data: &mut [u8]) {
    let mut handle = Handle::unscheduled();
    handle.schedule(key);
    handle.apply(data);
}

#[cfg(test)]
mod tests {
    use ::rc4::{KeyInit as _, Rc4, StreamCipher as _};

    use super::*;

    #[test]
    fn is_the_same_stream_as_that_of_the_crate() {
        for seed in 0..32_u8 {
            let key = core::array::from_fn(|at| seed.wrapping_mul(37).wrapping_add(u8::try_from(at).unwrap() * 11));
            let mut handle = Handle::new(&SealingKey::new(key));
            let mut other = Rc4::new_from_slice(&key).unwrap();
            for len in [0, 1, 2, 3, 255, 256, 257, 511, 512, 4096] {
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
        let mut again = Handle::import(&bytes).unwrap();
        let (mut a, mut b) = ([0; 100], [0; 100]);
        handle.apply(&mut a);
        again.apply(&mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn a_stream_that_went_back_is_as_it_was() {
        let mut handle = Handle::new(&SealingKey::new([3; 16]));
        for len in (0..1000).step_by(7) {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            handle.export(&mut before);
            let mut data = vec![7; len];
            handle.apply(&mut data);
            handle.go_back(&mut data);
            handle.export(&mut after);
            assert!(after == before, "{len} bytes");
            assert_eq!(data, vec![7; len]);
            handle.apply(&mut data);
        }
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
