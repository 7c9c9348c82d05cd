//! Timing two ways of doing one thing, in turn, so that a machine whose speed drifts
//! treats both alike.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};

/// Rounds of each contender; the median is what is shown.
const ROUNDS: usize = 15;

/// How long one round lasts, about.
const ROUND: Duration = Duration::from_millis(40);

/// One way of doing the work.
pub struct Contender<'a> {
    name: &'static str,
    /// Does the work so many times.
    work: Box<dyn FnMut(u32) + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender that does its work once each time `work` is called.
    pub fn new(name: &'static str, mut work: impl FnMut() + 'a) -> Self {
        Contender::batched(name, move |times| (0..times).for_each(|_| work()))
    }

    /// A contender that does its work so many times in one go.
    pub fn batched(name: &'static str, work: impl FnMut(u32) + 'a) -> Self {
        Contender { name, work: Box::new(work) }
    }

    fn time(&mut self, times: u32) -> Duration {
        let start = Instant::now();
        (self.work)(times);
        start.elapsed()
    }

    /// How often the work is done in one round.
    fn calibrate(&mut self) -> u32 {
        let mut times = 1;
        loop {
            let took = self.time(times);
            if took >= ROUND / 4 {
                let per_round = u128::from(times) * ROUND.as_nanos() / took.as_nanos().max(1);
                return u32::try_from(per_round.max(1)).unwrap_or(u32::MAX);
            }
            times *= 4;
        }
    }
}

/// A table of results, a group of rows for each kind of work.
pub struct Report(Table);

impl Default for Report {
    fn default() -> Self {
        let mut table = Table::new();
        table
            .load_preset(presets::ASCII_MARKDOWN)
            .set_header(["work", "who", "median", "min", "max", "of floor"]);
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Report(table)
    }
}

impl Report {
    /// Times the contenders in turn. The first is the floor the others are compared with.
    pub fn compare(&mut self, work: &str, mut contenders: Vec<Contender<'_>>) {
        let times: Vec<u32> = contenders.iter_mut().map(Contender::calibrate).collect();
        let mut samples = vec![Vec::with_capacity(ROUNDS); contenders.len()];
        for _ in 0..ROUNDS {
            for (index, contender) in contenders.iter_mut().enumerate() {
                let took = contender.time(times[index]);
                samples[index].push(took.as_nanos() as f64 / f64::from(times[index]));
            }
        }
        let mut floor = None;
        for (contender, mut sample) in contenders.iter().zip(samples) {
            sample.sort_by(f64::total_cmp);
            let median = sample[ROUNDS / 2];
            let ratio = median / *floor.get_or_insert(median);
            self.0.add_row([
                work.to_owned(),
                contender.name.to_owned(),
                shown(median),
                shown(sample[0]),
                shown(sample[ROUNDS - 1]),
                format!("{ratio:.2} x"),
            ]);
        }
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
    pub fn print(&self) {
        println!("{}", self.0);
    }
}

fn shown(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.1} ns"),
        1e3..1e6 => format!("{:.2} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}
