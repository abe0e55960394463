//! A value that is found once and kept for ever.

use core::{
    marker::PhantomData,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A cell for one value, like `OnceLock` but without a lock: threads that come at the same time each make a value, and the first
/// one stays. So a child forked from a program with threads never waits for a thread that it does not have.
pub(super) struct OnceBox<T>(AtomicPtr<T>, PhantomData<T>);

impl<T: Send + Sync> OnceBox<T> {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    /// The value, if there is one yet.
    pub(super) fn get(&self) -> Option<&T> {
        // SAFETY: the pointer is NULL or comes from `set`. The value never changes and lives as long as the cell.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// The value; `make` makes one if there is none yet.
    pub(super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.get().unwrap_or_else(|| self.set(make()))
    }

    /// Stores `value` unless there is one already, and gives the one that stays.
    pub(super) fn set(&self, value: T) -> &T {
        let new = Box::into_raw(Box::new(value));
        let kept = match self.0.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: the pointer comes from `Box::into_raw`, and it was not stored.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
        // SAFETY: as in `get`.
        unsafe { &*kept }
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        let kept = *self.0.get_mut();
        if !kept.is_null() {
            // SAFETY: the pointer comes from `Box::into_raw` in `set`, and no borrow outlives the cell.
            drop(unsafe { Box::from_raw(kept) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_first_value_stays_and_the_others_are_dropped() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let cell = OnceBox::new();
        assert!(cell.get().is_none());
        assert_eq!(**cell.set(Arc::clone(&first)), 1);
        assert_eq!(**cell.set(Arc::clone(&second)), 1);
        assert_eq!(cell.get().map(|kept| **kept), Some(1));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 1));
        drop(cell);
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn all_threads_get_the_same_value() {
        let cell = OnceBox::new();
        let seen: Vec<usize> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|number| (number, &cell)).collect();
            let all: Vec<_> = all.into_iter().map(|(number, cell)| scope.spawn(move || *cell.set(number))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|number| Some(number) == cell.get()), "{seen:?}");
    }
}
