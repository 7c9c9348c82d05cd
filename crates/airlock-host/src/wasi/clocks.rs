//! Time as a guest sees it: the real one when granted, a virtual one otherwise.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::p2::Pollable;

use super::ahead::Ahead;
use crate::bounded::sleep_until;

/// The wall clock a virtual guest starts at where nothing else is said: 2020-01-01T00:00:00Z, in
/// nanoseconds since the Unix epoch.
pub(super) const VIRTUAL_EPOCH: u64 = 1_577_836_800_000_000_000;

/// How far a virtual clock moves at every read, so that a guest which waits for it to
/// move does not wait for ever.
const VIRTUAL_STEP: u64 = 1_000_000;

/// How often a guest may look whether a virtual timer has ended, without waiting for it, before it has:
/// one that looks again and again does so for ever otherwise.
const LOOKS: u32 = 1000;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Time since the Unix epoch.
    Realtime,
    /// Time since some point, never backwards.
    Monotonic,
}

/// A guest's clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    /// Where the virtual wall clock began, in nanoseconds since the Unix epoch.
    epoch: u64,
    /// Nanoseconds that have passed on the virtual clock.
    elapsed: u64,
    /// What it has come to by timers that ended, once there was one.
    passed: Option<Arc<Passing>>,
    /// When the real monotonic clock was zero: when it was first looked at.
    started: Option<Instant>,
}

impl Clocks {
    /// Clocks of which the virtual wall clock begins there.
    pub(super) fn beginning_at(epoch: u64) -> Self {
        Clocks { epoch, elapsed: 0, passed: None, started: None }
    }

    /// The time in nanoseconds; `real` when the guest may know it.
    pub(super) fn now(&mut self, which: Which, real: bool) -> u64 {
        if real {
            return self.real_now(which);
        }
        self.catch_up();
        self.elapsed = self.elapsed.saturating_add(VIRTUAL_STEP);
        self.virtual_now(which)
    }

    /// A sleep that a guest waits for beside other things. On the virtual clock time passes when it
    /// is waited for and not before, at once unless `waits`.
    pub(super) fn timer(&mut self, until: Until, real: bool, waits: bool) -> Timer {
        self.catch_up();
        let rest = self.rest(Which::Monotonic, until, real);
        let ends = match real || waits {
            true => Instant::now().checked_add(Duration::from_nanos(rest)).map_or(Ends::Never, Ends::At),
            false => Ends::AtOnce,
        };
        let passes = (!real).then(|| {
            let to = self.virtual_now(Which::Monotonic).saturating_add(rest);
            (self.passed.get_or_insert_default().clone(), to)
        });
        Timer { ends, passes, looks: 0, ahead: None }
    }

    /// Passes the time that timers have passed.
    fn catch_up(&mut self) {
        if let Some(passed) = &self.passed {
            self.elapsed = self.elapsed.max(passed.to.load(Ordering::Relaxed));
        }
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
            Which::Realtime => self.epoch.saturating_add(self.elapsed),
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

/// Virtual time that timers pass.
#[derive(Debug, Default)]
struct Passing {
    /// What the clock has come to by those that ended.
    to: AtomicU64,
    /// What it comes to by those that are waited for.
    waited_for: Mutex<Vec<u64>>,
}

impl Passing {
    fn waited_for(&self) -> MutexGuard<'_, Vec<u64>> {
        self.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that are waited for, until it is dropped.
struct Waiting<'a>(&'a Passing, u64);

impl<'a> Waiting<'a> {
    fn new(passing: &'a Passing, to: u64) -> Self {
        passing.waited_for().push(to);
        Waiting(passing, to)
    }

    fn is_first(&self) -> bool {
        self.0.waited_for().iter().all(|other| *other >= self.1)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.0.waited_for();
        if let Some(at) = all.iter().position(|to| *to == self.1) {
            all.swap_remove(at);
        }
    }
}

/// A sleep that can be waited for beside other things.
pub(super) struct Timer {
    ends: Ends,
    /// What the virtual clock comes to when it ends.
    passes: Option<(Arc<Passing>, u64)>,
    /// How often it was looked at and not waited for since.
    looks: u32,
    /// What goes before it where both are waited for, whenever it comes.
    ahead: Option<Ahead>,
}

impl Timer {
    /// The same, behind what is waited for beside it: on a virtual clock no time passes until that has come, as
    /// for a guest that reads it and then sleeps.
    pub(super) fn behind(self, ahead: Ahead) -> Self {
        Timer { ahead: Some(ahead), ..self }
    }

    /// Lets what is waited for beside it go first: what is ready, and what ends earlier.
    async fn pass(&mut self) {
        let Some((passing, to)) = self.passes.clone() else { return };
        if passing.to.load(Ordering::Relaxed) >= to {
            return;
        }
        let (waiting, looks, ahead) = (Waiting::new(&passing, to), &mut self.looks, &self.ahead);
        let mut passed = passing.to.load(Ordering::Relaxed);
        let mut is_new = *looks < LOOKS;
        *looks += 1;
        let mut is_behind = false;
        poll_fn(|context| {
            let was_behind = is_behind;
            is_behind = ahead.as_ref().is_some_and(Ahead::is_waited_for);
            if is_new {
                is_new = false;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            *looks = 0;
            let now = passing.to.load(Ordering::Relaxed);
            if now >= to {
                return Poll::Ready(());
            }
            // One that was before it in a list has ended just now, and so does the waiting for both.
            if now != passed {
                passed = now;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What goes before it wakes whoever waits for both, and when it has come it is what is ready, as above.
            if is_behind {
                return Poll::Pending;
            }
            if was_behind {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Who is first is ready at the same time, and wakes whoever waits for both.
            if waiting.is_first() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

enum Ends {
    AtOnce,
    At(Instant),
    /// Later than time can be told: the call's deadline ends it.
    Never,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        match self.ends {
            Ends::At(at) if at > Instant::now() => sleep_until(at).await,
            Ends::At(_) => {}
            Ends::AtOnce => self.pass().await,
            Ends::Never => std::future::pending().await,
        }
        if let Some((passed, to)) = &self.passes {
            passed.to.fetch_max(*to, Ordering::Relaxed);
        }
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
    use std::task::{Context, Waker};

    use wasmtime_wasi::p2::Pollable as _;

    use super::{Clocks, LOOKS, Until, VIRTUAL_EPOCH, VIRTUAL_STEP, Which};
    use crate::bounded::block_on;
    use crate::wasi::ahead::Ahead;
    use crate::wasi::stdio::{Stdin, StdinSource};

    #[test]
    fn the_virtual_clock_moves_at_reads_and_sleeps_only() {
        let mut clocks = Clocks::beginning_at(VIRTUAL_EPOCH);
        assert_eq!(clocks.now(Which::Monotonic, false), VIRTUAL_STEP);
        assert_eq!(clocks.now(Which::Realtime, false), VIRTUAL_EPOCH + 2 * VIRTUAL_STEP);
        clocks.pass(Which::Monotonic, Until::After(75_000_000_000));
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + 3 * VIRTUAL_STEP);
        clocks.pass(Which::Realtime, Until::At(VIRTUAL_EPOCH));
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + 4 * VIRTUAL_STEP);
        clocks.pass(Which::Monotonic, Until::After(u64::MAX));
        assert_eq!(clocks.now(Which::Monotonic, false), u64::MAX);
    }

    #[test]
    fn a_timer_passes_virtual_time_when_it_is_waited_for() {
        let mut clocks = Clocks::beginning_at(VIRTUAL_EPOCH);
        let mut long = clocks.timer(Until::After(75_000_000_000), false, false);
        let mut short = clocks.timer(Until::At(5), false, false);
        assert_eq!(clocks.now(Which::Monotonic, false), VIRTUAL_STEP);
        block_on(long.ready());
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + VIRTUAL_STEP);
        // One that ended before takes nothing back.
        block_on(short.ready());
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_000_000 + 2 * VIRTUAL_STEP);
        // Of two that are waited for the earlier one ends, and the other later.
        let mut long = clocks.timer(Until::After(90_000_000_000), false, false);
        let mut short = clocks.timer(Until::After(1_000), false, false);
        let mut context = Context::from_waker(Waker::noop());
        {
            let (mut one, mut other) = (long.ready(), short.ready());
            assert!(
                one.as_mut().poll(&mut context).is_pending()
                    && other.as_mut().poll(&mut context).is_pending()
            );
            assert!(
                one.as_mut().poll(&mut context).is_pending() && other.as_mut().poll(&mut context).is_ready()
            );
        }
        assert_eq!(clocks.now(Which::Monotonic, false), 75_000_001_000 + 3 * VIRTUAL_STEP);
        // One that is only looked at ends at some time.
        let mut looks = 1;
        while long.ready().as_mut().poll(&mut context).is_pending() {
            looks += 1;
        }
        assert_eq!(looks, LOOKS + 1);
        let before = clocks.now(Which::Monotonic, false);
        assert_eq!(before, 165_000_000_000 + 3 * VIRTUAL_STEP);
        // One that is real takes its time, and the virtual clock is the later by that.
        let started = std::time::Instant::now();
        block_on(clocks.timer(Until::After(30_000_000), false, true).ready());
        assert!(started.elapsed() >= std::time::Duration::from_millis(30));
        assert_eq!(clocks.now(Which::Monotonic, false), before + 30_000_000 + VIRTUAL_STEP);
    }

    #[test]
    fn no_virtual_time_passes_while_input_is_waited_for() {
        let (sender, receiver) = std::sync::mpsc::channel::<u8>();
        let until_it_ends = ReadsNothing(receiver);
        let ahead = Ahead::default();
        let mut stdin = Stdin::new(StdinSource::reader(until_it_ends), 100, ahead.clone());
        let mut clocks = Clocks::beginning_at(VIRTUAL_EPOCH);
        let mut timer = clocks.timer(Until::After(1_000), false, false).behind(ahead);
        let mut context = Context::from_waker(Waker::noop());
        {
            let (mut sleep, mut input) = (timer.ready(), stdin.ready());
            for _ in 0..5 {
                assert!(sleep.as_mut().poll(&mut context).is_pending());
                assert!(input.as_mut().poll(&mut context).is_pending());
            }
            drop(sender);
            block_on(input);
            // What is looked at behind it is not over at the same time.
            assert!(sleep.as_mut().poll(&mut context).is_pending());
            assert!(sleep.as_mut().poll(&mut context).is_ready(), "nobody waits for it any more");
        }
        assert_eq!(clocks.now(Which::Monotonic, false), 1_000 + VIRTUAL_STEP);
    }

    /// A reader that comes to its end when the other side is gone.
    struct ReadsNothing(std::sync::mpsc::Receiver<u8>);

    impl std::io::Read for ReadsNothing {
        fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
            Ok(usize::from(self.0.recv().is_ok()))
        }
    }
}
