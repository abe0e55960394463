//! The compression function of MD5 (RFC 1321 3.4), alone or with other work between its steps.
//!
//! Each step waits for the one before it, so most units of the processor have nothing to do. RC4 fits between the steps and is
//! then nearly free. A library can offer no such thing, so this function is ours; the tests compare it with the crate `md-5`.

use zeroize::Zeroizing;

use super::kernel::{self, Kernel, Task};

/// The length of a block, in bytes.
pub(super) const BLOCK_LEN: usize = 64;

/// A block: 16 little-endian words. Each step reads its word from here, because what was just written byte by byte cannot be read
/// back sixteen bytes at a time without a wait.
pub(super) type Block = [u8; BLOCK_LEN];

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

    /// Goes on by these blocks.
    #[inline]
    pub(super) fn compress(&mut self, blocks: &[Block]) {
        if !blocks.is_empty() {
            kernel::run(Compress(self, blocks));
        }
    }

    /// The state, for [`rounds`].
    #[inline(always)]
    pub(super) fn load<L: Lanes<1>>(self) -> [L; 4] {
        self.0.map(|word| L::from_words([word]))
    }

    /// The state after [`rounds`].
    #[inline(always)]
    pub(super) fn of<L: Lanes<1>>(lanes: [L; 4]) -> Self {
        Self(lanes.map(|lane| {
            let [word] = lane.to_words();
            word
        }))
    }
}

/// A state that is to go on by these blocks.
pub(super) struct Compress<'a>(pub(super) &'a mut State, pub(super) &'a [Block]);

impl Task for Compress<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self(state, blocks) = self;
        let mut lanes = state.load::<K::One>();
        let unknown = Unknown::new();
        for block in blocks {
            rounds(&mut lanes, [block], unknown, |_| ());
        }
        *state = State::of(lanes);
    }
}

/// Goes on by one block in both states. That takes little longer than one of them: neither waits for the other.
#[inline]
pub(super) fn compress_both(states: &mut [State; 2], blocks: [&Block; 2]) {
    kernel::run(CompressBoth(states, blocks));
}

struct CompressBoth<'a>(&'a mut [State; 2], [&'a Block; 2]);

impl Task for CompressBoth<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self([State(first), State(second)], blocks) = self;
        let mut both = [K::Two::from_words([0; 2]); 4];
        for ((lanes, first), second) in both.iter_mut().zip(&*first).zip(&*second) {
            *lanes = K::Two::from_words([*first, *second]);
        }
        rounds(&mut both, blocks, Unknown::new(), |_| ());
        for ((first, second), lanes) in first.iter_mut().zip(second).zip(both) {
            [*first, *second] = lanes.to_words();
        }
    }
}

/// MD5 of two messages in two parts each, which are 56 to 119 bytes long together.
pub(super) fn hash_both(messages: [[&[u8]; 2]; 2]) -> [[u8; 16]; 2] {
    let blocks = messages.map(|parts| Zeroizing::new(last_blocks::<2>(parts, 0)));
    let mut states = [State::INITIAL; 2];
    let [first, second] = blocks.each_ref();
    for (first, second) in first.iter().zip(second.iter()) {
        compress_both(&mut states, [first, second]);
    }
    states.map(State::to_bytes)
}

/// The end of a message, in two parts, with what MD5 appends to it (RFC 1321 3.1, 3.2): a bit, zeros, and the length in bits, which
/// counts the bytes `before` the parts too. The parts must leave room for that: nine bytes at least, and less than a block.
#[inline]
pub(super) fn last_blocks<const N: usize>([first, second]: [&[u8]; 2], before: usize) -> [Block; N] {
    let mut blocks = [[0; BLOCK_LEN]; N];
    let (start, behind) = blocks.as_flattened_mut().split_at_mut_checked(first.len()).unwrap_or_default();
    start.copy_from_slice(first);
    let (middle, end) = behind.split_at_mut_checked(second.len()).unwrap_or_default();
    middle.copy_from_slice(second);
    end.iter_mut().take(1).for_each(|bit| *bit = 0x80);
    let len = before.wrapping_add(first.len()).wrapping_add(second.len());
    if let Some(bits) = end.last_chunk_mut() {
        *bits = u64::try_from(len).unwrap_or(0).wrapping_mul(8).to_le_bytes();
    }
    blocks
}

/// One word of each of `N` states, for which [`rounds`] does the same.
pub(super) trait Lanes<const N: usize>: Copy {
    fn from_words(words: [u32; N]) -> Self;
    fn to_words(self) -> [u32; N];
    fn add(self, other: Self) -> Self;
    /// Step `AT` of the 64, a rotation by `LEFT`, with a word of each block; [`AT / 16`](round) is its round.
    fn step<const AT: usize, const LEFT: i32>(state: [Self; 4], words: [u32; N], unknown: Unknown) -> Self;
}

/// The four rounds, on `N` states. `between` is called with 0, 1, … 63 between the steps.
#[inline(always)]
pub(super) fn rounds<L: Lanes<N>, const N: usize>(
    state: &mut [L; 4], blocks: [&Block; N], unknown: Unknown, mut between: impl FnMut(usize),
) {
    let [mut a, mut b, mut c, mut d] = *state;
    // Four steps: for each its number and its word of the block, and its rotation.
    macro_rules! four {
        ($p:literal $m:literal $first:literal, $q:literal $n:literal $second:literal,
            $r:literal $o:literal $third:literal, $s:literal $t:literal $fourth:literal) => {
            a = L::step::<$p, $first>([a, b, c, d], blocks.map(word::<$m>), unknown);
            between($p);
            d = L::step::<$q, $second>([d, a, b, c], blocks.map(word::<$n>), unknown);
            between($q);
            c = L::step::<$r, $third>([c, d, a, b], blocks.map(word::<$o>), unknown);
            between($r);
            b = L::step::<$s, $fourth>([b, c, d, a], blocks.map(word::<$t>), unknown);
            between($s);
        };
    }
    four!(0 0 7, 1 1 12, 2 2 17, 3 3 22);
    four!(4 4 7, 5 5 12, 6 6 17, 7 7 22);
    four!(8 8 7, 9 9 12, 10 10 17, 11 11 22);
    four!(12 12 7, 13 13 12, 14 14 17, 15 15 22);
    four!(16 1 5, 17 6 9, 18 11 14, 19 0 20);
    four!(20 5 5, 21 10 9, 22 15 14, 23 4 20);
    four!(24 9 5, 25 14 9, 26 3 14, 27 8 20);
    four!(28 13 5, 29 2 9, 30 7 14, 31 12 20);
    four!(32 5 4, 33 8 11, 34 11 16, 35 14 23);
    four!(36 1 4, 37 4 11, 38 7 16, 39 10 23);
    four!(40 13 4, 41 0 11, 42 3 16, 43 6 23);
    four!(44 9 4, 45 12 11, 46 15 16, 47 2 23);
    four!(48 0 6, 49 7 10, 50 14 15, 51 5 21);
    four!(52 12 6, 53 3 10, 54 10 15, 55 1 21);
    four!(56 8 6, 57 15 10, 58 6 15, 59 13 21);
    four!(60 4 6, 61 11 10, 62 2 15, 63 9 21);
    let [a0, b0, c0, d0] = *state;
    *state = [a0.add(a), b0.add(b), c0.add(c), d0.add(d)];
}

/// A word of a block.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "there are 16 words")]
fn word<const AT: usize>(block: &Block) -> u32 {
    u32::from_le_bytes(block.as_chunks().0[AT])
}

impl<const N: usize> Lanes<N> for [u32; N] {
    #[inline(always)]
    fn from_words(words: [u32; N]) -> Self {
        words
    }

    #[inline(always)]
    fn to_words(self) -> [u32; N] {
        self
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(word, other)| *word = word.wrapping_add(other));
        self
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "there are 64 steps")]
    fn step<const AT: usize, const LEFT: i32>([mut a, b, c, d]: [Self; 4], words: [u32; N], unknown: Unknown) -> Self {
        for ((((a, b), c), d), word) in a.iter_mut().zip(b).zip(c).zip(d).zip(words) {
            // An exclusive or with the zero keeps before it what can be done before `b` is known.
            let early = a.wrapping_add(word.wrapping_add(CONSTANTS[AT]));
            let sum = match round(AT) {
                1 => (early ^ unknown.zero).wrapping_add(((c ^ d) & b) ^ d),
                // The function is a sum, for its two parts have no bit in common: only the second waits for `b`.
                2 => (early.wrapping_add(c & !d) ^ unknown.zero).wrapping_add(b & d),
                3 => (early ^ unknown.zero).wrapping_add((c ^ d) ^ b),
                _ => (early ^ unknown.zero).wrapping_add((b | !d) ^ c),
            };
            *a = sum.rotate_left(LEFT.unsigned_abs()).wrapping_add(b);
        }
        a
    }
}

/// The round of step `at`, from 1 to 4.
#[inline(always)]
pub(super) const fn round(at: usize) -> usize {
    (at / 16).saturating_add(1)
}

/// What the compiler does not know, so that it leaves the additions in their order. It would move the newest word of the state to
/// the front, and the constants to the end, and each step would wait longer for the one before it.
#[derive(Clone, Copy)]
pub(super) struct Unknown {
    zero: u32,
    /// The constants of the steps, four times each.
    #[cfg(target_arch = "x86_64")]
    pub(super) constants: &'static [[u32; 4]; 64],
}

impl Unknown {
    #[inline(always)]
    pub(super) fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        static FOURFOLD: [[u32; 4]; 64] = fourfold(&CONSTANTS);
        Self {
            zero: core::hint::black_box(0),
            #[cfg(target_arch = "x86_64")]
            constants: core::hint::black_box(&FOURFOLD),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler does this")]
const fn fourfold(words: &[u32; 64]) -> [[u32; 4]; 64] {
    let (mut table, mut at) = ([[0; 4]; 64], 0);
    while at < table.len() {
        table[at] = [words[at]; 4];
        at += 1;
    }
    table
}

/// The constants of the steps.
const CONSTANTS: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];
