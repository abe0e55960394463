//! The memory of this library: whatever it frees is wiped, and there is a reserve for when the system has no more.
//!
//! Types of secrets wipe themselves. But a value that is moved leaves a copy where it was, a vector that grows leaves one in its
//! old memory, and an `enum` takes along what was on the stack in the bytes that its variant does not use.
//!
//! Rust ends the program when an allocation fails that was not asked for with `try_reserve`. A plugin must not end the program
//! of others, so small blocks then come from the reserve, and new work is refused while it is scarce ([`is_scarce`]).

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    ptr::null_mut,
    sync::atomic::{AtomicU64, Ordering},
};

/// The system's allocator, which wipes, with the reserve behind it.
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: the system's allocator does all the work, or the reserve. To grow, memory is allocated, copied and freed, as by
// default.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: this function was promised the same.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { RESERVE.take(layout) } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: this function was promised the same.
        let memory = unsafe { System.alloc_zeroed(layout) };
        // A block of the reserve is zeros: whatever was in it was wiped.
        if memory.is_null() { RESERVE.take(layout) } else { memory }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: it is a block of that layout, which nobody uses any more.
        unsafe { libc::explicit_bzero(memory.cast(), layout.size()) };
        if !RESERVE.take_back(memory) {
            // SAFETY: this function was promised the same, and the memory is the system's.
            unsafe { System.dealloc(memory, layout) };
        }
    }
}

/// Blocks for when the system has none. They take no memory before they are used.
#[repr(C, align(4096))]
struct Reserve {
    blocks: UnsafeCell<[[u8; Self::BLOCK]; Self::BLOCKS]>,
    /// A bit for each block that is in use.
    used: AtomicU64,
}

// SAFETY: a block is used only by who has set its bit, until that is cleared.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve::new();

impl Reserve {
    /// The length of a block: nothing that a call needs, but for what a peer, a file or the application makes long, is longer.
    const BLOCK: usize = 8192;
    /// How many there are.
    const BLOCKS: usize = 64;

    const fn new() -> Self {
        Self { blocks: UnsafeCell::new([[0; Self::BLOCK]; Self::BLOCKS]), used: AtomicU64::new(0) }
    }

    /// A block of zeros; NULL if there is none, or none of that length.
    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.size() > Self::BLOCK || layout.align() > align_of::<Self>() {
            return null_mut();
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let free = used.trailing_ones();
            let Some(bit) = 1_u64.checked_shl(free) else { return null_mut() };
            match self.used.compare_exchange_weak(used, used | bit, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    let at = usize::try_from(free).unwrap_or(0).saturating_mul(Self::BLOCK);
                    return self.blocks.get().cast::<u8>().wrapping_add(at);
                }
                Err(other) => used = other,
            }
        }
    }

    /// Takes a block back, which is zeros again; `false` if the memory is none of them.
    fn take_back(&self, memory: *mut u8) -> bool {
        let Some(at) = memory.addr().checked_sub(self.blocks.get().addr()) else { return false };
        let bit = u32::try_from(at / Self::BLOCK).ok().and_then(|number| 1_u64.checked_shl(number));
        let Some(bit) = bit else { return false };
        self.used.fetch_and(!bit, Ordering::Release);
        true
    }
}

/// Whether half of the reserve is in use: then a call that would begin something is to be refused.
pub(crate) fn is_scarce() -> bool {
    usize::try_from(RESERVE.used.load(Ordering::Relaxed).count_ones()).is_ok_and(|used| used >= Reserve::BLOCKS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn each_block_of_the_reserve_is_given_once_until_it_is_back() {
        let reserve = Box::new(Reserve::new());
        let of_a_block = layout(Reserve::BLOCK, 4096);
        let mut blocks: Vec<_> = (0..Reserve::BLOCKS).map(|_| reserve.take(of_a_block)).collect();
        assert!(blocks.iter().all(|block| !block.is_null() && block.addr() % 4096 == 0));
        assert!(reserve.take(layout(1, 1)).is_null());
        for block in &blocks {
            // SAFETY: so many bytes of that block are ours.
            unsafe { block.write_bytes(7, Reserve::BLOCK) };
        }
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|two| two[1].addr() - two[0].addr() >= Reserve::BLOCK));
        assert!(reserve.take_back(blocks[7]));
        assert_eq!(reserve.take(layout(1, 1)), blocks[7]);
        assert!(blocks.into_iter().all(|block| reserve.take_back(block)));
        assert_eq!(reserve.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_reserve_has_no_larger_block_and_takes_no_other_memory_back() {
        let reserve = Box::new(Reserve::new());
        assert!(reserve.take(layout(Reserve::BLOCK + 1, 1)).is_null());
        assert!(reserve.take(layout(1, 8192)).is_null());
        let start = reserve.blocks.get().cast::<u8>();
        let end = start.wrapping_add(size_of::<[[u8; Reserve::BLOCK]; Reserve::BLOCKS]>());
        for other in [start.wrapping_sub(1), end, end.wrapping_add(usize::MAX / 2), null_mut()] {
            assert!(!reserve.take_back(other));
        }
    }
}
