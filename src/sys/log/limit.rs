//! How many lines there may be in a second. There is no lock, which a forked child could find held.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many lines about failures there may be in a second, and how many about successes.
pub(super) const PER_SECOND: u64 = 100;

/// The lines of this process.
pub(super) struct Limits {
    /// The process that counts here: a forked child starts anew, for its parent tells of what was dropped before.
    process: AtomicU32,
    failures: Limit,
    successes: Limit,
}

/// The lines of one class.
struct Limit {
    /// The second in the upper half, and how many lines were asked for in it in the lower half.
    asked: AtomicU64,
    /// How many were dropped since the last summary.
    dropped: AtomicU64,
}

/// Whether there may be a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub is_granted: bool,
    /// Whether this is the time to tell what was dropped: with the first line of a second, and with the first one of a second
    /// that is dropped, so that a flood shows although nothing comes after it.
    pub is_time_to_tell: bool,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub failures: u64,
    pub successes: u64,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self { process: AtomicU32::new(0), failures: Limit::new(), successes: Limit::new() }
    }

    /// Asks for a line in `second`.
    pub(super) fn ask(&self, is_failure: bool, second: u64) -> Verdict {
        let me = std::process::id();
        let before = self.process.swap(me, Ordering::Relaxed);
        if before != me && before != 0 {
            let _ = self.take_dropped();
        }
        self.of(is_failure).ask(second)
    }

    /// Counts a line that was granted and could not be sent.
    pub(super) fn count_lost(&self, is_failure: bool) {
        self.of(is_failure).dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// What was dropped, which is then counted anew; `None` if nothing was.
    pub(super) fn take_dropped(&self) -> Option<Dropped> {
        let take = |limit: &Limit| match limit.dropped.load(Ordering::Relaxed) {
            0 => 0,
            _ => limit.dropped.swap(0, Ordering::Relaxed),
        };
        let dropped = Dropped { failures: take(&self.failures), successes: take(&self.successes) };
        (dropped != Dropped { failures: 0, successes: 0 }).then_some(dropped)
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&self, Dropped { failures, successes }: Dropped) {
        self.failures.dropped.fetch_add(failures, Ordering::Relaxed);
        self.successes.dropped.fetch_add(successes, Ordering::Relaxed);
    }

    const fn of(&self, is_failure: bool) -> &Limit {
        if is_failure { &self.failures } else { &self.successes }
    }
}

impl Limit {
    const fn new() -> Self {
        Self { asked: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }

    fn ask(&self, second: u64) -> Verdict {
        // A thread that was slow comes with an earlier second.
        let next = |before: u64| Some(if before >> 32 >= second { before.saturating_add(1) } else { second << 32 | 1 });
        let before = self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_else(|same| same);
        let number = next(before).unwrap_or(before) & u64::from(u32::MAX);
        let is_granted = number <= PER_SECOND;
        if !is_granted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Verdict { is_granted, is_time_to_tell: number == 1 || number == PER_SECOND.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_does_not_tell_again_what_its_parent_has_dropped() {
        let limits = Limits::new();
        let ask = || (0..PER_SECOND + 5).filter(|_| limits.ask(true, 1).is_granted).count();
        assert_eq!(u64::try_from(ask()), Ok(PER_SECOND));
        // What the child of another process finds.
        limits.process.store(std::process::id() + 1, Ordering::Relaxed);
        assert!(limits.ask(true, 2).is_granted);
        assert_eq!(limits.take_dropped(), None);
    }
}
