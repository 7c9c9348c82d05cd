//! Hostile guests. Each test is named for what the guest does, asserts the exact outcome
//! in every call mode, and that an honest plugin on the same host goes on.
//! `scripts/hostile` prints them as a table.

mod artifacts;
mod cache;
mod calls;
mod compile;
mod files;
mod lies;
mod memory;
mod time;
mod wasi;

use std::time::Instant;

/// A row of the table that `scripts/hostile` prints: what the guest is, by its number in the
/// list of what a host has to survive, what comes of it, and what bounds that.
pub(crate) struct Case {
    number: u32,
    outcome: &'static str,
    bound: &'static str,
    start: Instant,
}

pub(crate) fn case(number: u32, outcome: &'static str, bound: &'static str) -> Case {
    Case { number, outcome, bound, start: Instant::now() }
}

impl Drop for Case {
    #[expect(clippy::print_stdout, reason = "shown only when asked for")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A test's thread has its name.
        let thread = std::thread::current();
        let name = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or("?").replace('_', " ");
        let took = self.start.elapsed().as_secs_f64() * 1e3;
        println!("hostile|{}|{name}|{}|{}|{took:.0} ms", self.number, self.outcome, self.bound);
    }
}
