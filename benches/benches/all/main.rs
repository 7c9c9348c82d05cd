//! Airlock beside bare wasmtime, set up as well as it can be, with every limit of Airlock's
//! on: calls, loads, processes, memory, throughput, metering, stopping, services, many plugins, plugins of
//! other systems, embedding, and components.
//!
//! `scripts/bench` builds what is measured and runs this; `scripts/bench calls load` runs
//! some of it.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails to get what it needs has failed")]

mod calls;
mod components;
mod cortex;
mod embed;
mod floor;
mod gated;
mod guests;
mod kept;
mod load;
mod memory;
mod metering;
mod plugins;
mod process;
mod programs;
mod requests;
mod sen;
mod services;
mod state;
mod stop;
mod throughput;

use airlock_bench::Report;

/// A group of measurements.
type Group = (&'static str, fn(&mut Report));

const GROUPS: [Group; 14] = [
    ("calls", calls::run),
    ("load", load::run),
    ("process", process::run),
    ("memory", memory::run),
    ("throughput", throughput::run),
    ("metering", metering::run),
    ("stop", stop::run),
    ("state", state::run),
    ("services", services::run),
    ("plugins", plugins::run),
    ("sen", sen::run),
    ("cortex", cortex::run),
    ("embed", embed::run),
    ("components", components::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == memory::CHILD
    {
        memory::child(rest);
        return;
    }
    let mut report = Report::default();
    for (name, run) in GROUPS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            run(&mut report);
        }
    }
    report.print();
}
