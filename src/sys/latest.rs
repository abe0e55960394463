//! The latest of several values, which is read without a lock.

use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A cell for a value that is replaced a few times in the life of a process. A thread may still use an earlier value, so earlier
/// ones stay in memory. There is no lock, which a child forked from a program with threads could find held.
pub(super) struct Latest<T: 'static>(AtomicPtr<Node<T>>);

struct Node<T> {
    value: T,
    /// Shows tools that look for lost memory that the earlier value is not lost.
    earlier: AtomicPtr<Self>,
}

impl<T: Send + Sync> Latest<T> {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The latest value, if there is one.
    pub(super) fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is NULL or comes from `set`, and its node is never freed or changed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }.map(|node| &node.value)
    }

    /// Makes `value` the latest. Of values that threads set at the same time, any may become the latest.
    pub(super) fn set(&self, value: T) -> &'static T {
        let node: *mut _ = Box::leak(Box::new(Node { value, earlier: AtomicPtr::new(null_mut()) }));
        // SAFETY: it was just made, and is never freed or changed, but for the pointer, which is atomic.
        let Node { value, earlier } = unsafe { &*node };
        let mut latest = self.0.load(Ordering::Acquire);
        loop {
            earlier.store(latest, Ordering::Relaxed);
            match self.0.compare_exchange_weak(latest, node, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return value,
                Err(another) => latest = another,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_counts_and_earlier_ones_stay() {
        static CELL: Latest<String> = Latest::new();
        assert_eq!(CELL.get(), None);
        let first = CELL.set("first".to_owned());
        assert_eq!(CELL.get(), Some(first));
        let second = CELL.set("second".to_owned());
        assert_eq!((CELL.get(), &**first, &**second), (Some(second), "first", "second"));
    }

    #[test]
    fn no_value_is_lost_that_threads_set_at_the_same_time() {
        const THREADS: usize = 8;
        const VALUES: usize = 1000;
        static CELL: Latest<usize> = Latest::new();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || (0..VALUES).for_each(|value| _ = CELL.set(thread * VALUES + value)));
            }
        });
        let mut seen = std::collections::HashSet::new();
        let mut next = CELL.0.load(Ordering::Acquire);
        // SAFETY: nodes are never freed.
        while let Some(node) = unsafe { next.as_ref() } {
            seen.insert(node.value);
            next = node.earlier.load(Ordering::Relaxed);
        }
        assert_eq!(seen.len(), THREADS * VALUES);
    }
}
