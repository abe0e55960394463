//! The compression function of MD5 (RFC 1321 3.4), alone or with other work between its steps.
//!
//! Each step waits for the one before it, so most units of the processor have nothing to do. RC4 fits between the steps and is
//! then nearly free. A library can offer no such thing, so this function is ours; the tests compare it with the crate `md-5`.

use zeroize::Zeroizing;

/// The length of a block, in bytes.
pub(super) const BLOCK_LEN: usize = 64;

/// A block, as 16 little-endian words.
pub(super) type Words = [u32; 16];

/// The words of a block.
#[inline]
pub(super) fn words(block: &[u8; BLOCK_LEN]) -> Words {
    let mut words = [0; 16];
    words.iter_mut().zip(block.as_chunks().0).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
    words
}

/// The state of a hash.
#[derive(Clone, Copy, zeroize::Zeroize)]
pub(super) struct State([u32; 4]);

impl State {
    /// The state before the first block.
    pub(super) const INITIAL: Self = Self([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]);

    /// The digest, if no block follows.
    #[inline]
    pub(super) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.as_chunks_mut().0.iter_mut().zip(self.0).for_each(|(to, word)| *to = word.to_le_bytes());
        bytes
    }

    /// The words of the digest.
    #[inline]
    pub(super) const fn words(self) -> [u32; 4] {
        self.0
    }

    /// Goes on by one block.
    #[inline(never)]
    pub(super) fn compress(&mut self, block: &Words) {
        self.compress_with(block, zero(), |_| ());
    }

    /// Goes on by these blocks.
    #[inline(never)]
    pub(super) fn compress_all(&mut self, blocks: &[[u8; BLOCK_LEN]]) {
        let zero = zero();
        for block in blocks {
            self.compress_with(&words(block), zero, |_| ());
        }
    }

    /// Goes on by one block, and calls `between` with 0, 1, … 63 between the steps. `zero` is from [`zero`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the other work must come between the steps, not in a function of its own"
    )]
    pub(super) fn compress_with(&mut self, block: &Words, zero: u32, between: impl FnMut(usize)) {
        let mut state = self.0.map(|word| [word]);
        rounds(&mut state, [block], zero, between);
        self.0 = state.map(|[word]| word);
    }
}

/// Goes on by one block in both states. That takes little longer than one of them: neither waits for the other.
#[inline(never)]
pub(super) fn compress_both(states: &mut [State; 2], blocks: [&Words; 2]) {
    let [first, second] = states.each_mut().map(|state| &mut state.0);
    let mut both = [[0; 2]; 4];
    both.iter_mut().zip(*first).zip(*second).for_each(|((both, first), second)| *both = [first, second]);
    rounds(&mut both, blocks, zero(), |_| ());
    *first = both.map(|[word, _]| word);
    *second = both.map(|[_, word]| word);
}

/// MD5 of two messages in two parts each, which are 56 to 119 bytes long together.
pub(super) fn hash_both(messages: [[&[u8]; 2]; 2]) -> [[u8; 16]; 2] {
    let blocks = messages.map(|parts| Zeroizing::new(two_blocks(parts)));
    let mut states = [State::INITIAL; 2];
    let [first, second] = blocks.each_ref();
    for (first, second) in first.iter().zip(second.iter()) {
        compress_both(&mut states, [first, second]);
    }
    states.map(State::to_bytes)
}

/// The message with what MD5 appends to it (RFC 1321 3.1, 3.2): a bit, zeros, and the length in bits.
fn two_blocks([first, second]: [&[u8]; 2]) -> [Words; 2] {
    let mut bytes = Zeroizing::new([[0; BLOCK_LEN]; 2]);
    let (start, behind) = bytes.as_flattened_mut().split_at_mut_checked(first.len()).unwrap_or_default();
    start.copy_from_slice(first);
    let (middle, end) = behind.split_at_mut_checked(second.len()).unwrap_or_default();
    middle.copy_from_slice(second);
    end.iter_mut().take(1).for_each(|bit| *bit = 0x80);
    let mut blocks = bytes.each_ref().map(words);
    let [.., bits, _] = &mut blocks[1];
    *bits = u32::try_from(first.len().wrapping_add(second.len())).unwrap_or(0).wrapping_mul(8);
    blocks
}

/// The four rounds, on `N` states at the same time.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn rounds<const N: usize>(state: &mut [[u32; N]; 4], blocks: [&Words; N], zero: u32, mut between: impl FnMut(usize)) {
    let [mut a, mut b, mut c, mut d] = *state;
    // Four steps: for each its number, its word of the block, and its constant.
    macro_rules! four {
        ($step:ident: $p:literal $m:literal $k:literal, $q:literal $n:literal $l:literal,
            $r:literal $o:literal $s:literal, $t:literal $u:literal $v:literal) => {
            step($step::<0>, &mut a, [&b, &c, &d], blocks.map(|block| block[$m]), $k, zero);
            between($p);
            step($step::<1>, &mut d, [&a, &b, &c], blocks.map(|block| block[$n]), $l, zero);
            between($q);
            step($step::<2>, &mut c, [&d, &a, &b], blocks.map(|block| block[$o]), $s, zero);
            between($r);
            step($step::<3>, &mut b, [&c, &d, &a], blocks.map(|block| block[$u]), $v, zero);
            between($t);
        };
    }
    four!(f: 0 0 0xd76a_a478, 1 1 0xe8c7_b756, 2 2 0x2420_70db, 3 3 0xc1bd_ceee);
    four!(f: 4 4 0xf57c_0faf, 5 5 0x4787_c62a, 6 6 0xa830_4613, 7 7 0xfd46_9501);
    four!(f: 8 8 0x6980_98d8, 9 9 0x8b44_f7af, 10 10 0xffff_5bb1, 11 11 0x895c_d7be);
    four!(f: 12 12 0x6b90_1122, 13 13 0xfd98_7193, 14 14 0xa679_438e, 15 15 0x49b4_0821);
    four!(g: 16 1 0xf61e_2562, 17 6 0xc040_b340, 18 11 0x265e_5a51, 19 0 0xe9b6_c7aa);
    four!(g: 20 5 0xd62f_105d, 21 10 0x0244_1453, 22 15 0xd8a1_e681, 23 4 0xe7d3_fbc8);
    four!(g: 24 9 0x21e1_cde6, 25 14 0xc337_07d6, 26 3 0xf4d5_0d87, 27 8 0x455a_14ed);
    four!(g: 28 13 0xa9e3_e905, 29 2 0xfcef_a3f8, 30 7 0x676f_02d9, 31 12 0x8d2a_4c8a);
    four!(h: 32 5 0xfffa_3942, 33 8 0x8771_f681, 34 11 0x6d9d_6122, 35 14 0xfde5_380c);
    four!(h: 36 1 0xa4be_ea44, 37 4 0x4bde_cfa9, 38 7 0xf6bb_4b60, 39 10 0xbebf_bc70);
    four!(h: 40 13 0x289b_7ec6, 41 0 0xeaa1_27fa, 42 3 0xd4ef_3085, 43 6 0x0488_1d05);
    four!(h: 44 9 0xd9d4_d039, 45 12 0xe6db_99e5, 46 15 0x1fa2_7cf8, 47 2 0xc4ac_5665);
    four!(i: 48 0 0xf429_2244, 49 7 0x432a_ff97, 50 14 0xab94_23a7, 51 5 0xfc93_a039);
    four!(i: 52 12 0x655b_59c3, 53 3 0x8f0c_cc92, 54 10 0xffef_f47d, 55 1 0x8584_5dd1);
    four!(i: 56 8 0x6fa8_7e4f, 57 15 0xfe2c_e6e0, 58 6 0xa301_4314, 59 13 0x4e08_11a1);
    four!(i: 60 4 0xf753_7e82, 61 11 0xbd3a_f235, 62 2 0x2ad7_d2bb, 63 9 0xeb86_d391);
    for (words, new) in state.iter_mut().zip([a, b, c, d]) {
        words.iter_mut().zip(new).for_each(|(word, new)| *word = word.wrapping_add(new));
    }
}

/// One step in each state.
#[inline(always)]
fn step<const N: usize>(
    step: impl Fn(u32, u32, u32, u32, u32, u32) -> u32, a: &mut [u32; N], [b, c, d]: [&[u32; N]; 3], words: [u32; N],
    constant: u32, zero: u32,
) {
    for ((((a, b), c), d), word) in a.iter_mut().zip(b).zip(c).zip(d).zip(words) {
        *a = step(*a, *b, *c, *d, word.wrapping_add(constant), zero);
    }
}

/// A zero that the compiler does not know. An exclusive or with it keeps additions that can be done early from being moved
/// behind the newest word, where every step would wait for them.
#[inline]
pub(super) fn zero() -> u32 {
    core::hint::black_box(0)
}

/// One step of round 1; `AT` is its place in a row of four.
#[inline(always)]
fn f<const AT: usize>(a: u32, b: u32, c: u32, d: u32, word: u32, zero: u32) -> u32 {
    let early = a.wrapping_add(word) ^ zero;
    let sum = early.wrapping_add(((c ^ d) & b) ^ d);
    sum.rotate_left(rotation(AT, [7, 12, 17, 22])).wrapping_add(b)
}

/// One step of round 2. Its function is a sum, for the two parts have no bit in common: only the second waits for `b`.
#[inline(always)]
fn g<const AT: usize>(a: u32, b: u32, c: u32, d: u32, word: u32, zero: u32) -> u32 {
    let early = a.wrapping_add(word).wrapping_add(c & !d) ^ zero;
    let sum = early.wrapping_add(b & d);
    sum.rotate_left(rotation(AT, [5, 9, 14, 20])).wrapping_add(b)
}

/// One step of round 3.
#[inline(always)]
fn h<const AT: usize>(a: u32, b: u32, c: u32, d: u32, word: u32, zero: u32) -> u32 {
    let early = a.wrapping_add(word) ^ zero;
    let sum = early.wrapping_add((c ^ d) ^ b);
    sum.rotate_left(rotation(AT, [4, 11, 16, 23])).wrapping_add(b)
}

/// One step of round 4.
#[inline(always)]
fn i<const AT: usize>(a: u32, b: u32, c: u32, d: u32, word: u32, zero: u32) -> u32 {
    let early = a.wrapping_add(word) ^ zero;
    let sum = early.wrapping_add((b | !d) ^ c);
    sum.rotate_left(rotation(AT, [6, 10, 15, 21])).wrapping_add(b)
}

#[inline(always)]
const fn rotation(at: usize, of_four: [u32; 4]) -> u32 {
    let [first, second, third, fourth] = of_four;
    match at {
        0 => first,
        1 => second,
        2 => third,
        _ => fourth,
    }
}
