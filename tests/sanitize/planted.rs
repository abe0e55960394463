//! Faults that a sanitizer must report: they show that it watches this very plugin, its allocator and its threads. Part of the
//! plugin only where scripts/sanitize builds it; `tests/mechglue/planted.rs` calls it.
#![expect(clippy::arithmetic_side_effects, clippy::panic, clippy::unwrap_used, reason = "faults on purpose")]

use std::hint::black_box;
use std::thread;

/// # Safety
/// None: this is what it is for.
#[unsafe(no_mangle)]
unsafe extern "C" fn gss_ntlm_plant(kind: u32) {
    match kind {
        0 => read_behind_a_vector(),
        1 => read_a_vector_that_was_freed(),
        2 => read_behind_an_array_on_the_stack(),
        3 => leak(),
        4 => race(),
        _ => panic!("no such fault"),
    }
}

fn read_behind_a_vector() {
    let bytes = black_box(vec![1_u8; 24]);
    // SAFETY: there is no such byte.
    black_box(unsafe { bytes.as_ptr().add(bytes.len()).read() });
}

fn read_a_vector_that_was_freed() {
    let bytes = black_box(vec![1_u8; 24]);
    let place = bytes.as_ptr();
    drop(bytes);
    // SAFETY: the bytes are no more.
    black_box(unsafe { place.read() });
}

fn read_behind_an_array_on_the_stack() {
    let bytes = black_box([1_u8; 24]);
    // SAFETY: there is no such byte.
    black_box(unsafe { bytes.as_ptr().add(black_box(24)).read() });
}

fn leak() {
    std::mem::forget(black_box(vec![1_u8; 24]));
}

/// Two threads write to one variable that is not atomic.
fn race() {
    static mut COUNT: u64 = 0;
    let count = || {
        for _ in 0..1000 {
            // SAFETY: the other thread writes there too.
            unsafe { *(&raw mut COUNT) += 1 };
        }
    };
    let [one, other] = [(); 2].map(|()| thread::spawn(count));
    one.join().unwrap();
    other.join().unwrap();
}
