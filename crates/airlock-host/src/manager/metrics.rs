//! What calls of a plugin came to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use airlock_core::{AuditEvent, Culprit, Error, ErrorKind, Usage};
use hdrhistogram::{Counter, Histogram};
use quanta::Instant as Moment;
use serde::{Deserialize, Serialize};

use crate::store::Tally;

/// Digits that a latency is kept with: two, so that what is told is within 1 % of what was.
const DIGITS: u8 = 2;

/// What the calls of a plugin, or of all, came to: taken at one moment, so that `calls` is
/// `successes` and all `failures` together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that have ended.
    pub calls: u64,
    /// Those that gave an answer.
    pub successes: u64,
    /// The others, by who would have to change something.
    pub failures: Failures,
    /// Times that a capability was needed and not granted, also by calls that went on without.
    pub denied: u64,
    /// Those of the failures that a limit, the deadline included, has ended.
    pub limited: u64,
    /// Calls that ended the instance they ran in: traps, broken rules, limits.
    pub crashes: u64,
    /// Times that it was started afresh after a crash.
    pub restarts: u64,
    /// Fuel consumed, by calls that were given a limit of it.
    pub fuel: u64,
    /// Calls from guests into the host.
    pub host_calls: u64,
    /// Bytes handed to guests.
    pub input_bytes: u64,
    /// Bytes of results.
    pub output_bytes: u64,
    /// Bytes logged.
    pub log_bytes: u64,
    /// Bytes of memory and tables of the call that had most.
    pub peak_memory_bytes: u64,
    /// How long calls took.
    pub latency: Latency,
}

/// Failures by culprit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Failures {
    /// The plugin: a trap, a broken rule, a limit, a failure that it reported.
    pub guest: u64,
    /// Nobody: a capability was not granted.
    pub policy: u64,
    /// Whoever called.
    pub operator: u64,
    /// Airlock or the machine.
    pub host: u64,
}

/// Wall times of calls in nanoseconds, each within 1 %; all 0 where there was no call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Latency {
    /// All of them together, exactly.
    pub total_ns: u64,
    /// On average, exactly.
    pub average_ns: u64,
    /// The shortest.
    pub minimum_ns: u64,
    /// Half of the calls took no longer.
    pub p50_ns: u64,
    /// 90 in 100.
    pub p90_ns: u64,
    /// 99 in 100.
    pub p99_ns: u64,
    /// 999 in 1000.
    pub p999_ns: u64,
    /// The longest.
    pub maximum_ns: u64,
}

/// Counts calls.
#[derive(Debug)]
pub(super) struct Meter(Mutex<Counted>);

#[derive(Debug, Clone)]
struct Counted {
    sums: Metrics,
    last_ended: Option<Moment>,
    wall: Wall,
}

/// How long calls took, as large as the longest needs.
#[derive(Debug, Clone, Default)]
enum Wall {
    #[default]
    None,
    /// So few calls that a byte counts them: a kilobyte or so.
    Few(Histogram<u8>),
    /// Four kilobytes and more.
    Many(Histogram<u64>),
}

impl Wall {
    #[inline]
    fn record(&mut self, nanoseconds: u64, calls: u64) {
        // What cannot be recorded would be longer than anything a histogram can grow to.
        let _ = match self {
            Wall::Many(many) => many.record(nanoseconds),
            Wall::Few(few) if calls <= u64::from(u8::MAX) => few.record(nanoseconds),
            _ => return self.grow(nanoseconds),
        };
    }

    #[cold]
    fn grow(&mut self, nanoseconds: u64) {
        match self {
            Wall::None => *self = Wall::Few(empty()),
            _ => *self = Wall::Many(self.wide()),
        }
        self.record(nanoseconds, 0);
    }

    /// The same, with room for any number of calls.
    fn wide(&self) -> Histogram<u64> {
        let mut wide = empty::<u64>();
        match self {
            Wall::None => {}
            Wall::Few(few) => {
                for value in few.iter_recorded() {
                    let _ = wide.record_n(value.value_iterated_to(), u64::from(value.count_at_value()));
                }
            }
            Wall::Many(many) => wide = many.clone(),
        }
        wide
    }

    fn add(&mut self, other: &Wall) {
        if !matches!(other, Wall::None) {
            let mut sum = self.wide();
            // It grows to what the other one holds.
            let _ = sum.add(other.wide());
            *self = Wall::Many(sum);
        }
    }
}

fn empty<C: Counter>() -> Histogram<C> {
    Histogram::new(DIGITS).expect("a number of digits that it takes")
}

impl Meter {
    pub(super) fn new() -> Self {
        Meter(Mutex::new(Counted { sums: Metrics::default(), last_ended: None, wall: Wall::None }))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Counters are whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, with what it came to however it ended.
    #[inline]
    pub(super) fn count(
        &self,
        wall: Duration,
        ended: Moment,
        error: Option<&Error>,
        usage: Option<&Usage>,
        uses: &[AuditEvent],
    ) {
        let mut counted = self.lock();
        counted.ended(wall, ended);
        if let Some(usage) = usage {
            counted.used(usage);
        }
        let refused = counted.refused(uses);
        match error {
            None => counted.sums.successes += 1,
            Some(error) => counted.failed(error, refused),
        }
    }

    /// Counts a call that gave an answer and came to no more than numbers.
    #[inline]
    pub(super) fn count_short(&self, wall: Duration, ended: Moment, tally: Tally) {
        let mut counted = self.lock();
        counted.ended(wall, ended);
        let sums = &mut counted.sums;
        sums.successes += 1;
        sums.fuel = sums.fuel.saturating_add(tally.fuel);
        sums.host_calls = sums.host_calls.saturating_add(tally.host_calls);
        sums.log_bytes = sums.log_bytes.saturating_add(tally.log_bytes);
        sums.peak_memory_bytes = sums.peak_memory_bytes.max(tally.memory_bytes);
    }

    /// When a call last ended.
    pub(super) fn last_ended(&self) -> Option<SystemTime> {
        let ended = self.lock().last_ended?;
        SystemTime::now().checked_sub(ended.elapsed())
    }

    /// How long ago that was.
    pub(super) fn since_last_end(&self) -> Option<Duration> {
        self.lock().last_ended.map(|ended| ended.elapsed())
    }

    /// Counts a call that ended its instance.
    pub(super) fn crashed(&self) {
        self.lock().sums.crashes += 1;
    }

    /// Counts a fresh start after a crash.
    pub(super) fn restarted(&self) {
        self.lock().sums.restarts += 1;
    }

    /// What was counted so far.
    pub(super) fn snapshot(&self) -> Metrics {
        self.lock().snapshot()
    }

    /// Adds what another one counted.
    pub(super) fn add(&self, other: &Meter) {
        let other = other.lock().clone();
        self.lock().add(&other);
    }

    /// A copy as it is now.
    pub(super) fn copied(&self) -> Meter {
        Meter(Mutex::new(self.lock().clone()))
    }
}

impl Counted {
    #[inline]
    fn ended(&mut self, wall: Duration, ended: Moment) {
        let nanoseconds = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        self.last_ended = Some(ended);
        self.sums.calls += 1;
        self.sums.latency.total_ns = self.sums.latency.total_ns.saturating_add(nanoseconds);
        self.wall.record(nanoseconds.max(1), self.sums.calls);
    }

    /// Counts what was refused, and says how much of it.
    #[inline]
    fn refused(&mut self, uses: &[AuditEvent]) -> u64 {
        let refusals = uses.iter().filter_map(|event| match event {
            AuditEvent::Refused { count, .. } => Some(*count),
            _ => None,
        });
        let refused = refusals.fold(0_u64, u64::saturating_add);
        self.sums.denied = self.sums.denied.saturating_add(refused);
        refused
    }

    #[cold]
    fn failed(&mut self, error: &Error, refused: u64) {
        let failures = &mut self.sums.failures;
        match error.culprit() {
            Culprit::Guest => failures.guest += 1,
            Culprit::Policy => failures.policy += 1,
            Culprit::Operator => failures.operator += 1,
            Culprit::Host => failures.host += 1,
        }
        match error.kind() {
            // One that no guest was called for.
            ErrorKind::Denied(_) if refused == 0 => self.sums.denied += 1,
            ErrorKind::Limit { .. } | ErrorKind::Deadline { .. } => self.sums.limited += 1,
            _ => {}
        }
    }

    fn used(&mut self, usage: &Usage) {
        let sums = &mut self.sums;
        sums.fuel = sums.fuel.saturating_add(usage.fuel.unwrap_or_default());
        sums.host_calls = sums.host_calls.saturating_add(usage.host_calls);
        sums.input_bytes = sums.input_bytes.saturating_add(usage.input_bytes);
        sums.output_bytes = sums.output_bytes.saturating_add(usage.output_bytes);
        sums.log_bytes = sums.log_bytes.saturating_add(usage.log_bytes);
        sums.peak_memory_bytes = sums.peak_memory_bytes.max(usage.memory_bytes);
    }

    fn add(&mut self, other: &Counted) {
        let (sums, more) = (&mut self.sums, &other.sums);
        sums.calls += more.calls;
        sums.successes += more.successes;
        sums.failures.guest += more.failures.guest;
        sums.failures.policy += more.failures.policy;
        sums.failures.operator += more.failures.operator;
        sums.failures.host += more.failures.host;
        sums.denied += more.denied;
        sums.limited += more.limited;
        sums.crashes += more.crashes;
        sums.restarts += more.restarts;
        sums.fuel = sums.fuel.saturating_add(more.fuel);
        sums.host_calls = sums.host_calls.saturating_add(more.host_calls);
        sums.input_bytes = sums.input_bytes.saturating_add(more.input_bytes);
        sums.output_bytes = sums.output_bytes.saturating_add(more.output_bytes);
        sums.log_bytes = sums.log_bytes.saturating_add(more.log_bytes);
        sums.peak_memory_bytes = sums.peak_memory_bytes.max(more.peak_memory_bytes);
        sums.latency.total_ns = sums.latency.total_ns.saturating_add(more.latency.total_ns);
        self.last_ended = self.last_ended.max(other.last_ended);
        self.wall.add(&other.wall);
    }

    fn snapshot(&self) -> Metrics {
        let mut metrics = self.sums.clone();
        let total_ns = metrics.latency.total_ns;
        if !matches!(self.wall, Wall::None) {
            let wall = self.wall.wide();
            metrics.latency = Latency {
                total_ns,
                average_ns: total_ns / metrics.calls.max(1),
                minimum_ns: wall.min(),
                p50_ns: wall.value_at_quantile(0.5),
                p90_ns: wall.value_at_quantile(0.9),
                p99_ns: wall.value_at_quantile(0.99),
                p999_ns: wall.value_at_quantile(0.999),
                maximum_ns: wall.max(),
            };
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use airlock_core::{Error, ErrorKind, LimitKind, Phase, Usage};

    use quanta::Instant as Moment;

    use super::Meter;

    #[test]
    fn calls_are_successes_and_failures_by_culprit() {
        let meter = Meter::new();
        let mut usage = Usage::default();
        (usage.fuel, usage.memory_bytes, usage.input_bytes) = (Some(7), 100, 3);
        meter.count(Duration::from_micros(10), Moment::now(), None, Some(&usage), &[]);
        usage.memory_bytes = 50;
        meter.count(Duration::from_micros(30), Moment::now(), None, Some(&usage), &[]);
        let failures = [
            ErrorKind::Deadline { timeout: Duration::from_secs(1), phase: Phase::Call },
            ErrorKind::Limit { limit: LimitKind::Fuel, maximum: 1, asked: None, phase: Phase::Call },
            ErrorKind::Denied("clock".parse().expect("valid")),
            ErrorKind::ShuttingDown,
            ErrorKind::Host("x".to_owned()),
        ];
        for kind in failures {
            let error = Error::new(kind);
            meter.count(Duration::from_millis(1), Moment::now(), Some(&error), None, &[]);
        }
        let metrics = meter.snapshot();
        let failures = &metrics.failures;
        assert_eq!((metrics.calls, metrics.successes), (7, 2));
        assert_eq!((failures.guest, failures.policy, failures.operator, failures.host), (2, 1, 1, 1));
        assert_eq!(
            (metrics.denied, metrics.limited, metrics.fuel, metrics.peak_memory_bytes),
            (1, 2, 14, 100)
        );
        let latency = &metrics.latency;
        assert_eq!((latency.total_ns, latency.average_ns), (5_040_000, 720_000));
        assert!(
            latency.minimum_ns.abs_diff(10_000) <= 100 && latency.maximum_ns.abs_diff(1_000_000) <= 10_000
        );
        let total = Meter::new();
        [&meter, &meter, &Meter::new()].into_iter().for_each(|meter| total.add(meter));
        let total = total.snapshot();
        assert_eq!((total.calls, total.latency.total_ns), (14, 10_080_000));
        assert_eq!(total.latency.p50_ns, latency.p50_ns);
    }

    #[test]
    fn what_was_never_called_took_no_time() {
        let metrics = Meter::new().snapshot();
        assert_eq!((metrics.calls, metrics.latency.average_ns, metrics.latency.maximum_ns), (0, 0, 0));
    }
}
