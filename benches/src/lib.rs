//! Timing two ways of doing one thing, in turn, so that a machine whose speed drifts
//! treats both alike.
//!
//! What one thread does is timed by the processor time of that thread: on a machine that
//! is shared, wall time tells more of the neighbours than of the work. What waits for
//! others (a process, a disk, a second thread) is timed by the wall clock.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use rustix::time::{ClockId, clock_gettime};

/// Rounds of each contender; the median is what is shown.
const ROUNDS: usize = 15;

/// How long one round lasts, about.
const ROUND: Duration = Duration::from_millis(40);

/// Which clock tells how long work took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Processor time of this thread.
    Thread,
    /// The time on the wall.
    Wall,
}

impl Clock {
    /// How long `work` takes.
    pub fn time(self, work: impl FnOnce()) -> Duration {
        let now = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
        };
        match self {
            Clock::Thread => {
                let start = now();
                work();
                now().saturating_sub(start)
            }
            Clock::Wall => {
                let start = Instant::now();
                work();
                start.elapsed()
            }
        }
    }
}

/// What a contender has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// So many nanoseconds at most.
    Nanos(f64),
    /// So many times the floor at most.
    OfFloor(f64),
    /// So many nanoseconds more than the floor at most.
    OverFloor(f64),
    /// So many of a [`Figure`]'s unit at most.
    AtMost(f64),
    /// So many of a [`Figure`]'s unit at least.
    AtLeast(f64),
}

/// One way of doing the work.
pub struct Contender<'a> {
    name: String,
    /// Does the work so many times.
    work: Box<dyn FnMut(u32) + 'a>,
    targets: Vec<Target>,
}

impl<'a> Contender<'a> {
    /// A contender that does its work once each time `work` is called.
    pub fn new(name: &str, mut work: impl FnMut() + 'a) -> Self {
        Contender::batched(name, move |times| (0..times).for_each(|_| work()))
    }

    /// A contender that does its work so many times in one go.
    pub fn batched(name: &str, work: impl FnMut(u32) + 'a) -> Self {
        Contender { name: name.to_owned(), work: Box::new(work), targets: Vec::new() }
    }

    /// Says what it has to reach.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    fn time(&mut self, clock: Clock, times: u32) -> Duration {
        clock.time(|| (self.work)(times))
    }

    /// How often the work is done in one round.
    fn calibrate(&mut self, clock: Clock) -> u32 {
        let mut times = 1;
        loop {
            let took = self.time(clock, times);
            if took >= ROUND / 4 {
                let per_round = u128::from(times) * ROUND.as_nanos() / took.as_nanos().max(1);
                return u32::try_from(per_round.max(1)).unwrap_or(u32::MAX);
            }
            times *= 4;
        }
    }
}

/// A measured quantity that is no time of one piece of work.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Who it is of.
    pub who: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it has to reach.
    pub target: Option<Target>,
}

/// A table of results, a group of rows for each kind of work.
pub struct Report {
    table: Table,
    missed: Vec<String>,
}

impl Default for Report {
    fn default() -> Self {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header([
            "work",
            "who",
            "median",
            "min",
            "max",
            "of floor",
            "must reach",
        ]);
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Report { table, missed: Vec::new() }
    }
}

impl Report {
    /// Times the contenders in turn. The first is the floor the others are compared with.
    pub fn compare(&mut self, work: &str, clock: Clock, mut contenders: Vec<Contender<'_>>) {
        let times: Vec<u32> = contenders.iter_mut().map(|contender| contender.calibrate(clock)).collect();
        let mut samples = vec![Vec::with_capacity(ROUNDS); contenders.len()];
        for _ in 0..ROUNDS {
            for (index, contender) in contenders.iter_mut().enumerate() {
                let took = contender.time(clock, times[index]);
                samples[index].push(took.as_nanos() as f64 / f64::from(times[index]));
            }
        }
        let mut floor = None;
        for (contender, mut sample) in contenders.iter().zip(samples) {
            sample.sort_by(f64::total_cmp);
            let median = sample[ROUNDS / 2];
            let floor = *floor.get_or_insert(median);
            let ratio = median / floor;
            let verdicts = contender.targets.iter().map(|target| match target {
                Target::OfFloor(most) => verdict(ratio <= *most, format!("≤ {most} x")),
                Target::OverFloor(most) => {
                    verdict(median - floor <= *most, format!("≤ floor + {}", time(*most)))
                }
                Target::Nanos(most) | Target::AtMost(most) => {
                    verdict(median <= *most, format!("≤ {}", time(*most)))
                }
                Target::AtLeast(least) => verdict(median >= *least, format!("≥ {}", time(*least))),
            });
            let must = verdicts.collect::<Vec<_>>().join(", ");
            self.row(
                work,
                [
                    contender.name.clone(),
                    time(median),
                    time(sample[0]),
                    time(sample[ROUNDS - 1]),
                    format!("{ratio:.2} x"),
                    must,
                ],
            );
        }
    }

    /// Adds quantities measured elsewhere. The first is the floor the others are compared
    /// with.
    pub fn figures(&mut self, work: &str, figures: &[Figure]) {
        let floor = figures.first().map_or(1.0, |figure| figure.value);
        for Figure { who, value, unit, target } in figures {
            let must = match target {
                Some(Target::AtLeast(least)) => {
                    verdict(value >= least, format!("≥ {}", amount(*least, unit)))
                }
                Some(Target::AtMost(most) | Target::Nanos(most)) => {
                    verdict(value <= most, format!("≤ {}", amount(*most, unit)))
                }
                Some(Target::OfFloor(most)) => verdict(value / floor <= *most, format!("≤ {most} x")),
                Some(Target::OverFloor(most)) => {
                    verdict(value - floor <= *most, format!("≤ floor + {}", amount(*most, unit)))
                }
                None => String::new(),
            };
            let (value, ratio) = (amount(*value, unit), value / floor);
            self.row(work, [who.clone(), value, String::new(), String::new(), format!("{ratio:.2} x"), must]);
        }
    }

    fn row(&mut self, work: &str, cells: [String; 6]) {
        if cells[5].contains(MISSED) {
            self.missed.push(format!("{work}, {}: {} instead of {}", cells[0], cells[1], cells[5]));
        }
        self.table.add_row(std::iter::once(work.to_owned()).chain(cells));
    }

    /// Prints the table, and what was missed.
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
    pub fn print(&self) {
        println!("{}", self.table);
        for missed in &self.missed {
            println!("{missed}");
        }
    }
}

const MISSED: &str = "missed";

fn verdict(met: bool, target: String) -> String {
    if met { target } else { format!("{target} {MISSED}") }
}

fn time(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.1} ns"),
        1e3..1e6 => format!("{:.2} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

fn amount(value: f64, unit: &str) -> String {
    match value {
        // Only what is counted has thousands; sizes have their own prefix already.
        1e3..1e6 if unit == "/s" => format!("{:.1} k{unit}", value / 1e3),
        1e6.. if unit == "/s" => format!("{:.2} M{unit}", value / 1e6),
        _ => format!("{value:.2} {unit}"),
    }
}
