//! How long something takes, done again and again.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use airlock_host::Error;
use serde_json::{Value, json};

/// Samples that are kept of one thing at most.
const KEPT: usize = 1 << 20;

/// How long one thing took, each time that it was done; in order of length.
#[derive(Debug)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    /// Does `work` once to warm up, then until the time is over: so many times at least, and no more
    /// than that.
    pub(super) fn take(
        time: Duration,
        (least, most): (usize, usize),
        mut work: impl FnMut() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        work()?;
        let mut samples = Vec::new();
        let began = Instant::now();
        while samples.len() < least || (began.elapsed() < time && samples.len() < most.min(KEPT)) {
            let start = Instant::now();
            work()?;
            samples.push(start.elapsed());
        }
        Ok(Samples::of(samples))
    }

    pub(super) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Samples(samples)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sample that so many hundredths of all are no longer than.
    pub(super) fn percentile(&self, hundredths: usize) -> Duration {
        let at = (self.0.len() * hundredths).div_ceil(100).saturating_sub(1);
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "runs": self.len(),
            "min_ns": nanoseconds(self.percentile(0)),
            "p50_ns": nanoseconds(self.percentile(50)),
            "p90_ns": nanoseconds(self.percentile(90)),
            "p99_ns": nanoseconds(self.percentile(99)),
            "max_ns": nanoseconds(self.percentile(100)),
        })
    }

    /// How many samples are in each of some classes, from the shortest up to the 99th hundredth, with
    /// where each begins. Each is by the same factor wider than the one before it; what is longer is in
    /// none.
    pub(super) fn histogram(&self, classes: u32) -> Vec<(Duration, usize)> {
        let (first, last) = (self.percentile(0).max(Duration::from_nanos(1)), self.percentile(99));
        let whole = (last.as_secs_f64() / first.as_secs_f64()).max(1.0).ln();
        let begin = |class: u32| first.mul_f64((whole * f64::from(class) / f64::from(classes)).exp());
        let mut counts: Vec<(Duration, usize)> = (0..classes).map(|class| (begin(class), 0)).collect();
        counts.dedup_by_key(|(begin, _)| *begin);
        for sample in self.0.iter().take_while(|sample| **sample <= last) {
            let class = counts.partition_point(|(begin, _)| begin <= sample).saturating_sub(1);
            if let Some((_, count)) = counts.get_mut(class) {
                *count += 1;
            }
        }
        counts.retain(|_| !self.0.is_empty());
        counts
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How often `work` is done in a second by so many threads at once.
pub(super) fn rate(
    threads: usize,
    time: Duration,
    work: impl Fn() -> Result<(), Error> + Sync,
) -> Result<f64, Error> {
    let barrier = Barrier::new(threads);
    let one = || -> Result<f64, Error> {
        let warmed = work();
        barrier.wait();
        warmed?;
        let (start, mut done) = (Instant::now(), 0_u32);
        while start.elapsed() < time {
            work()?;
            done += 1;
        }
        Ok(f64::from(done) / start.elapsed().as_secs_f64())
    };
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let panicked = || Error::host("a thread that measured panicked");
        started.into_iter().map(|thread| thread.join().map_err(|_| panicked())?).sum()
    })
}

/// How one way of doing something compares with another: the ratio of their times, from many pairs of
/// runs that took turns.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) new: Samples,
    pub(super) old: Samples,
    /// New by old, in order.
    ratios: Vec<f64>,
}

impl Comparison {
    /// How long a run lasts, about: many times what a clock tells apart.
    const RUN: Duration = Duration::from_millis(2);

    pub(super) fn take(
        time: Duration,
        mut new: impl FnMut() -> Result<(), Error>,
        mut old: impl FnMut() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let each =
            Samples::take(Duration::ZERO, (3, 3), &mut new)?.percentile(50).max(Duration::from_nanos(1));
        old()?;
        let times = u32::try_from(Self::RUN.as_nanos() / each.as_nanos()).unwrap_or(1).max(1);
        let run = |work: &mut dyn FnMut() -> Result<(), Error>| -> Result<Duration, Error> {
            let start = Instant::now();
            (0..times).try_for_each(|_| work())?;
            Ok(start.elapsed() / times)
        };
        let (mut news, mut olds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let began = Instant::now();
        while ratios.len() < 10 || began.elapsed() < time {
            // Which goes first changes, so that what drifts is on neither side.
            let (one, other) = match ratios.len() % 2 {
                0 => {
                    let one = run(&mut new)?;
                    (one, run(&mut old)?)
                }
                _ => {
                    let other = run(&mut old)?;
                    (run(&mut new)?, other)
                }
            };
            ratios.push(one.as_secs_f64() / other.as_secs_f64().max(f64::MIN_POSITIVE));
            news.push(one);
            olds.push(other);
        }
        ratios.sort_unstable_by(f64::total_cmp);
        Ok(Comparison { new: Samples::of(news), old: Samples::of(olds), ratios })
    }

    /// The ratio that so many hundredths of all are no greater than.
    pub(super) fn ratio(&self, hundredths: usize) -> f64 {
        let at = (self.ratios.len() * hundredths).div_ceil(100).saturating_sub(1);
        self.ratios.get(at).copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Comparison, Samples, rate};

    fn samples(nanoseconds: impl IntoIterator<Item = u64>) -> Samples {
        Samples::of(nanoseconds.into_iter().map(Duration::from_nanos).collect())
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let all = samples((1..=100).rev());
        let of = |hundredths| all.percentile(hundredths).as_nanos();
        assert_eq!([of(0), of(1), of(50), of(90), of(99), of(100)], [1, 1, 50, 90, 99, 100]);
        assert_eq!(samples([7]).percentile(99).as_nanos(), 7);
        assert_eq!(samples([]).percentile(50), Duration::ZERO);
    }

    #[test]
    fn a_histogram_has_every_sample_but_the_longest_hundredth() {
        let all = samples((1..=1000).chain([1_000_000]));
        let classes = all.histogram(10);
        assert_eq!(classes.iter().map(|(_, count)| count).sum::<usize>(), 991);
        assert!(classes.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(samples([5, 5, 5]).histogram(10), [(Duration::from_nanos(5), 3)]);
        let factors: Vec<f64> = samples([100, 200, 400, 800, 1600])
            .histogram(4)
            .windows(2)
            .map(|pair| pair[1].0.as_secs_f64() / pair[0].0.as_secs_f64())
            .collect();
        assert!(factors.iter().all(|factor| (1.99..2.01).contains(factor)), "{factors:?}");
        assert!(samples([]).histogram(10).is_empty());
    }

    #[test]
    fn work_that_fails_is_no_measurement() {
        let fails = || Err(airlock_host::Error::host("no"));
        assert!(Samples::take(Duration::ZERO, (1, 1), fails).is_err());
        assert!(rate(3, Duration::ZERO, fails).is_err());
        assert!(Comparison::take(Duration::ZERO, || Ok(()), fails).is_err());
    }

    #[test]
    fn a_comparison_takes_turns_and_tells_the_ratio() {
        let (mut turns, mut n) = (Vec::new(), 0);
        let order = std::cell::RefCell::new(&mut turns);
        let pause = |who: char| {
            order.borrow_mut().push(who);
            Ok(())
        };
        let compared =
            Comparison::take(Duration::ZERO, || pause('n'), || pause('o')).expect("it is measured");
        n += compared.new.len();
        assert_eq!((n, compared.old.len()), (10, 10));
        assert!(compared.ratio(5) <= compared.ratio(50) && compared.ratio(50) <= compared.ratio(95));
        turns.dedup();
        assert!(turns.len() >= 10, "{turns:?}");
    }
}
