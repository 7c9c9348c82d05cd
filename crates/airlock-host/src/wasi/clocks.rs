//! Time as a guest sees it: the real one when granted, a virtual one otherwise.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock a virtual guest starts at: 2020-01-01T00:00:00Z, in nanoseconds since
/// the Unix epoch.
const VIRTUAL_EPOCH: u64 = 1_577_836_800_000_000_000;

/// How far a virtual clock moves at every read, so that a guest which waits for it to
/// move does not wait for ever.
const VIRTUAL_STEP: u64 = 1_000_000;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Time since the Unix epoch.
    Realtime,
    /// Time since some point, never backwards.
    Monotonic,
}

/// A guest's clocks.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Nanoseconds that have passed on the virtual clock.
    elapsed: u64,
    /// When the real monotonic clock was zero: when it was first looked at.
    started: Option<Instant>,
}

impl Clocks {
    /// The time in nanoseconds; `real` when the guest may know it.
    pub(super) fn now(&mut self, which: Which, real: bool) -> u64 {
        if real {
            return self.real_now(which);
        }
        self.elapsed = self.elapsed.saturating_add(VIRTUAL_STEP);
        self.virtual_now(which)
    }

    /// Passes a sleep of `duration` nanoseconds, or until `at`, on the virtual clock.
    pub(super) fn pass(&mut self, which: Which, until: Until) {
        self.elapsed = match until {
            Until::After(duration) => self.elapsed.saturating_add(duration),
            Until::At(at) => self.elapsed.saturating_add(at.saturating_sub(self.virtual_now(which))),
        };
    }

    /// When a real sleep ends; `None` when that is past anything an `Instant` can hold.
    pub(super) fn wake_at(&mut self, which: Which, until: Until) -> Option<Instant> {
        let rest = match until {
            Until::After(duration) => duration,
            Until::At(at) => at.saturating_sub(self.real_now(which)),
        };
        Instant::now().checked_add(Duration::from_nanos(rest))
    }

    /// How long a sleep is from now on the clock the guest sees, in nanoseconds.
    pub(super) fn rest(&mut self, which: Which, until: Until, real: bool) -> u64 {
        let now = if real { self.real_now(which) } else { self.virtual_now(which) };
        match until {
            Until::After(duration) => duration,
            Until::At(at) => at.saturating_sub(now),
        }
    }

    fn virtual_now(&self, which: Which) -> u64 {
        match which {
            Which::Realtime => VIRTUAL_EPOCH.saturating_add(self.elapsed),
            Which::Monotonic => self.elapsed,
        }
    }

    fn real_now(&mut self, which: Which) -> u64 {
        let time = match which {
            // A clock before 1970 reads as 1970.
            Which::Realtime => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Which::Monotonic => self.started.get_or_insert_with(Instant::now).elapsed(),
        };
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// When a sleep ends, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// This long from now.
    After(u64),
    /// At this time of the clock.
    At(u64),
}

#[cfg(test)]
mod tests {
    use super::{Clocks, Until, VIRTUAL_EPOCH, VIRTUAL_STEP, Which};

    #[test]
    fn the_virtual_clock_moves_at_reads_and_sleeps_only() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.now(Which::Monotonic, false), VIRTUAL_STEP);
        assert_eq!(clocks.now(Which::Realtime, false), VIRTUAL_EPOCH + 2 * VIRTUAL_STEP);
        clocks.pass(Which::Monotonic, Until::After(75_000_000_000));
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + 3 * VIRTUAL_STEP);
        clocks.pass(Which::Realtime, Until::At(VIRTUAL_EPOCH));
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + 4 * VIRTUAL_STEP);
        clocks.pass(Which::Monotonic, Until::After(u64::MAX));
        assert_eq!(clocks.now(Which::Monotonic, false), u64::MAX);
    }
}
