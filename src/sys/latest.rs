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
    _earlier: AtomicPtr<Self>,
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
        let earlier = AtomicPtr::new(self.0.load(Ordering::Acquire));
        let node = Box::leak(Box::new(Node { value, _earlier: earlier }));
        self.0.store(node, Ordering::Release);
        &node.value
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
}
