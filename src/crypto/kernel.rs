//! The kernels of MD5: the same steps, as the processor does them fastest.
//!
//! Each step of MD5 waits for the one before it: for four or five instructions, one after the other. AVX-512 has one of three
//! inputs, with which it is four in each step; and its registers are other ones than those of RC4, which runs between the steps
//! of a sealed message.

use super::md5::Lanes;

/// How the processor works on one state, and on two at the same time.
pub(super) trait Kernel {
    type One: Lanes<1>;
    type Two: Lanes<2>;
}

/// What is to be done with the fastest kernel.
pub(super) trait Task {
    type Output;

    /// Does it. This must be `#[inline(always)]`, or it is not compiled for the kernel's processor.
    fn run<K: Kernel>(self) -> Self::Output;
}

/// That of every processor.
pub(super) struct Portable;

impl Kernel for Portable {
    type One = [u32; 1];
    type Two = [u32; 2];
}

#[inline(never)]
fn run_portable<T: Task>(task: T) -> T::Output {
    task.run::<Portable>()
}

/// Runs the task with the fastest kernel.
#[inline]
pub(super) fn run<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = Avx512::fastest() {
        return avx512.run(task);
    }
    run_portable(task)
}

#[cfg(test)]
thread_local! {
    /// Whether the kernel of AVX-512 is to be used, or not.
    static FORCED: core::cell::Cell<Option<bool>> = const { core::cell::Cell::new(None) };
}

/// Does the same with each kernel that the processor has.
#[cfg(test)]
pub(super) fn with_each(test: impl Fn(&str)) {
    FORCED.set(Some(false));
    test("the portable kernel");
    #[cfg(target_arch = "x86_64")]
    if Avx512::detect().is_some() {
        FORCED.set(Some(true));
        test("the kernel of AVX-512");
    }
    FORCED.set(None);
}

#[cfg(target_arch = "x86_64")]
use avx512::Avx512;

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions that not every processor has")]
mod avx512 {
    use core::{
        arch::asm,
        arch::x86_64::{
            __m128i, _mm_add_epi32, _mm_cvtsi128_si64, _mm_rol_epi32, _mm_set_epi32, _mm_set1_epi32,
            _mm_ternarylogic_epi32,
        },
        hint::black_box,
        sync::atomic::{AtomicU8, Ordering},
    };
    use std::time::{Duration, Instant};

    use crate::crypto::md5::{BLOCK_LEN, Compress, Lanes, State, Unknown, round};

    use super::{Kernel, Task, run_portable};

    /// The proof that the processor has AVX-512VL.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(());

    impl Avx512 {
        pub(super) fn detect() -> Option<Self> {
            let is_there = std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl");
            is_there.then_some(Self(()))
        }

        /// The proof, if this kernel is the fastest. Some processors have the instructions and take longer for them, so the first
        /// call tries both kernels, which takes about 20 microseconds.
        #[inline]
        pub(super) fn fastest() -> Option<Self> {
            const UNKNOWN: u8 = 0;
            const NO: u8 = 1;
            const YES: u8 = 2;
            static IS_FASTEST: AtomicU8 = AtomicU8::new(UNKNOWN);
            #[cfg(test)]
            if let Some(is_forced) = super::FORCED.get() {
                return is_forced.then_some(Self(()));
            }
            if cfg!(kernel = "portable") {
                return None;
            }
            if cfg!(kernel = "avx512") {
                return Self::detect();
            }
            match IS_FASTEST.load(Ordering::Relaxed) {
                YES => Some(Self(())),
                NO => None,
                _ => {
                    let fastest = Self::detect().filter(|avx512| avx512.beats_portable());
                    IS_FASTEST.store(if fastest.is_some() { YES } else { NO }, Ordering::Relaxed);
                    fastest
                }
            }
        }

        /// Runs the task.
        #[inline]
        pub(super) fn run<T: Task>(self, task: T) -> T::Output {
            // SAFETY: the processor has what the function needs.
            unsafe { run_featured(task) }
        }

        #[cold]
        #[inline(never)]
        fn beats_portable(self) -> bool {
            let (mut vector, mut portable) = (Duration::MAX, Duration::MAX);
            // The shortest of several times: whatever comes between makes one longer.
            for _ in 0..16 {
                vector = vector.min(time(|task| self.run(task)));
                portable = portable.min(time(|task| run_portable(task)));
            }
            // Where they are near each other, sealing decides, whose RC4 needs the registers that the portable kernel takes. A busy
            // machine spoils fewer choices this way, too.
            vector.saturating_mul(8) < portable.saturating_mul(9)
        }
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn run_featured<T: Task>(task: T) -> T::Output {
        let output = task.run::<Vectors>();
        clear_high_registers();
        output
    }

    /// Clears the registers that only AVX-512 has: there may be keys in them, and nobody else clears them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn clear_high_registers() {
        // SAFETY: it changes nothing but registers that it names, and the processor has them.
        unsafe {
            asm!(
                "vpxord xmm16, xmm16, xmm16", "vpxord xmm17, xmm17, xmm17", "vpxord xmm18, xmm18, xmm18",
                "vpxord xmm19, xmm19, xmm19", "vpxord xmm20, xmm20, xmm20", "vpxord xmm21, xmm21, xmm21",
                "vpxord xmm22, xmm22, xmm22", "vpxord xmm23, xmm23, xmm23", "vpxord xmm24, xmm24, xmm24",
                "vpxord xmm25, xmm25, xmm25", "vpxord xmm26, xmm26, xmm26", "vpxord xmm27, xmm27, xmm27",
                "vpxord xmm28, xmm28, xmm28", "vpxord xmm29, xmm29, xmm29", "vpxord xmm30, xmm30, xmm30",
                "vpxord xmm31, xmm31, xmm31",
                out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _, out("xmm20") _, out("xmm21") _,
                out("xmm22") _, out("xmm23") _, out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
                out("xmm28") _, out("xmm29") _, out("xmm30") _, out("xmm31") _,
                options(nomem, nostack, preserves_flags)
            );
        }
    }

    /// Only [`run_featured`] uses it.
    struct Vectors;

    impl Kernel for Vectors {
        type One = Vector;
        type Two = Vector;
    }

    fn time(run: impl Fn(Compress<'_>)) -> Duration {
        let (mut state, blocks) = (black_box(State::INITIAL), black_box([[0; BLOCK_LEN]; 4]));
        let start = Instant::now();
        run(Compress(&mut state, &blocks));
        black_box(state);
        start.elapsed()
    }

    /// A word of one state, or of two in the low lanes. There is one only inside [`run_featured`], which makes each `unsafe` below
    /// sound: the processor has the instruction.
    #[derive(Clone, Copy)]
    struct Vector(__m128i);

    impl<const N: usize> Lanes<N> for Vector {
        #[inline(always)]
        fn from_words(words: [u32; N]) -> Self {
            match words.as_slice() {
                // SAFETY: see the type.
                [first, second] => Self(unsafe { _mm_set_epi32(0, 0, second.cast_signed(), first.cast_signed()) }),
                words => Self::splat(words.first().copied().unwrap_or(0)),
            }
        }

        #[inline(always)]
        fn to_words(self) -> [u32; N] {
            // SAFETY: see the type.
            let both = unsafe { _mm_cvtsi128_si64(self.0) }.cast_unsigned();
            let [w0, w1, w2, w3, w4, w5, w6, w7] = both.to_le_bytes();
            let both = [u32::from_le_bytes([w0, w1, w2, w3]), u32::from_le_bytes([w4, w5, w6, w7])];
            core::array::from_fn(|lane| both.get(lane).copied().unwrap_or(0))
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            self.sum(other)
        }

        #[inline(always)]
        #[expect(clippy::indexing_slicing, reason = "there are 64 steps")]
        fn step<const AT: usize, const LEFT: i32>(state: [Self; 4], words: [u32; N], unknown: Unknown) -> Self {
            let [a, b, c, d] = state;
            let early = a.sum(Self::of(unknown.constants[AT])).sum(Self::from_words(words));
            // The truth tables of the rounds' functions: the bits at b * 4 + c * 2 + d.
            let function = match round(AT) {
                // SAFETY: see the type.
                1 => unsafe { _mm_ternarylogic_epi32::<0b1100_1010>(b.0, c.0, d.0) },
                // SAFETY: see the type.
                2 => unsafe { _mm_ternarylogic_epi32::<0b1110_0100>(b.0, c.0, d.0) },
                // SAFETY: see the type.
                3 => unsafe { _mm_ternarylogic_epi32::<0b1001_0110>(b.0, c.0, d.0) },
                // SAFETY: see the type.
                _ => unsafe { _mm_ternarylogic_epi32::<0b0011_1001>(b.0, c.0, d.0) },
            };
            let sum = Self::sum(early, Self(function));
            // SAFETY: see the type.
            let rotated = unsafe { _mm_rol_epi32::<LEFT>(sum.0) };
            let Self(mut next) = Self::sum(Self(rotated), b);
            // SAFETY: this is no instruction. It keeps the step in its place: else the compiler does all other work first, and then
            // all steps.
            unsafe { asm!("/* {} */", inout(xmm_reg) next, options(nomem, nostack, preserves_flags)) };
            Self(next)
        }
    }

    impl Vector {
        /// The same word in each lane.
        #[inline(always)]
        fn splat(word: u32) -> Self {
            // SAFETY: see the type.
            Self(unsafe { _mm_set1_epi32(word.cast_signed()) })
        }

        #[inline(always)]
        fn of(words: [u32; 4]) -> Self {
            let [w0, w1, w2, w3] = words.map(u32::cast_signed);
            // SAFETY: see the type.
            Self(unsafe { _mm_set_epi32(w3, w2, w1, w0) })
        }

        #[inline(always)]
        fn sum(self, other: Self) -> Self {
            // SAFETY: see the type.
            Self(unsafe { _mm_add_epi32(self.0, other.0) })
        }
    }
}
