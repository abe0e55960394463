//! What is found out once and kept for ever.

use core::{
    marker::PhantomData,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A place for one cell. There is no lock, unlike in `OnceLock`: threads that look at the same time each find out for
/// themselves, and the first finding stays. So a child forked from a program with threads waits for none that it does not have.
pub(super) struct OnceBox<T>(AtomicPtr<T>, PhantomData<T>);

impl<T: Send + Sync> OnceBox<T> {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    /// The finding, if there is one yet.
    pub(super) fn get(&self) -> Option<&T> {
        // SAFETY: NULL, or what `keep` stored, which is never changed and lives as long as this does.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Keeps `found` unless there is a finding already, and gives the one that is kept.
    pub(super) fn init(&self, found: T) -> &T {
        let found = Box::into_raw(Box::new(found));
        let kept = match self.0.compare_exchange(null_mut(), found, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => found,
            Err(first) => {
                // SAFETY: it came from `Box::into_raw`, and nobody else has it.
                drop(unsafe { Box::from_raw(found) });
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
            // SAFETY: it came from `Box::into_raw` in `keep`, and all who borrowed it are gone.
            drop(unsafe { Box::from_raw(kept) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_first_finding_stays_and_the_others_go() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let cell = OnceBox::new();
        assert!(cell.get().is_none());
        assert_eq!(**cell.init(Arc::clone(&first)), 1);
        assert_eq!(**cell.init(Arc::clone(&second)), 1);
        assert_eq!(cell.get().map(|kept| **kept), Some(1));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 1));
        drop(cell);
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn all_threads_get_the_same() {
        let cell = OnceBox::new();
        let seen: Vec<usize> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|number| (number, &cell)).collect();
            let all: Vec<_> = all.into_iter().map(|(number, cell)| scope.spawn(move || *cell.init(number))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|number| Some(number) == cell.get()), "{seen:?}");
    }
}
