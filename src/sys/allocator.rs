//! The memory of this library: whatever it frees is wiped.
//!
//! Types of secrets wipe themselves. But a value that is moved leaves a copy where it was, a vector that grows leaves one in its
//! old memory, and an `enum` takes along what was on the stack in the bytes that its variant does not use.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which wipes.
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: the system's allocator does all the work. To grow, memory is allocated, copied and freed, as by default.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: this function was promised the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: this function was promised the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: it is a block of that layout, which nobody uses any more.
        unsafe { libc::explicit_bzero(memory.cast(), layout.size()) };
        // SAFETY: this function was promised the same.
        unsafe { System.dealloc(memory, layout) };
    }
}
