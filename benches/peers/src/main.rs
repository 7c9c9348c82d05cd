//! Times Airlock beside published plugin hosts and prints one table.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` does all of it; names of
//! work after `--` (see the worker's `work.rs`, or `spin`) leave the rest out.

mod process;

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use peer_worker::{Unit, Work};

use crate::process::{Process, build, spin};

/// Rounds of each peer for each work; the median is what is shown.
const ROUNDS: usize = 21;

/// How long one round lasts, about.
const ROUND: Duration = Duration::from_millis(40);

/// A column of the table.
struct Peer {
    /// What the column is called.
    name: &'static str,
    /// Its folder here; the package is `peer-` and this.
    package: &'static str,
    /// Arguments to its process.
    args: &'static [&'static str],
    /// Whether it is built whatever compiler it asks for.
    any_compiler: bool,
}

const PEERS: [Peer; 5] = [
    Peer { name: "airlock", package: "airlock", args: &[], any_compiler: false },
    Peer { name: "sen", package: "sen", args: &[], any_compiler: false },
    Peer { name: "mofa", package: "mofa", args: &[], any_compiler: false },
    // Its wasmtime, 49, asks for rustc 1.96 and builds with 1.95.
    Peer { name: "extism", package: "extism", args: &[], any_compiler: true },
    Peer { name: "extism, bounded", package: "extism", args: &["bounded"], any_compiler: true },
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|word| word == name);
    let built: Vec<bool> = PEERS.iter().map(build).collect();

    let mut table = Table::new();
    let header = std::iter::once("work").chain(PEERS.iter().map(|peer| peer.name));
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let mut processes: Vec<Option<Process>> =
        PEERS.iter().zip(&built).map(|(peer, built)| built.then(|| Process::start(peer))).collect();
    for work in Work::all().filter(|work| wanted(work.name())) {
        eprintln!("{}", work.about());
        let cells = compare(work, &mut processes);
        table.add_row(std::iter::once(work.about().to_owned()).chain(cells));
    }
    drop(processes);
    if wanted("spin") {
        for (place, about) in
            [("call", "loops for ever, 300 ms allowed"), ("start", "the same in its start function")]
        {
            eprintln!("{about}");
            let cells = PEERS.iter().zip(&built).map(|(peer, built)| match built {
                true => spin(peer, place),
                false => "not built".to_owned(),
            });
            table.add_row(std::iter::once(about.to_owned()).chain(cells));
        }
    }
    println!("{table}");
}

/// Times one kind of work in turn, so that a machine whose speed drifts treats all alike.
fn compare(work: Work, processes: &mut [Option<Process>]) -> Vec<String> {
    let times: Vec<Option<u32>> =
        processes.iter_mut().map(|process| calibrate(process.as_mut()?, work)).collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); processes.len()];
    for _ in 0..ROUNDS {
        for ((process, times), samples) in processes.iter_mut().zip(&times).zip(&mut samples) {
            if let (Some(process), Some(times)) = (process, times) {
                let took = process.time(work, *times).expect("it could a moment ago");
                samples.push(took.as_nanos() as f64 / f64::from(*times));
            }
        }
    }
    let cells = processes.iter().zip(samples);
    cells
        .map(|(process, samples)| match process {
            Some(_) if samples.is_empty() => "–".to_owned(),
            Some(_) => shown(work.unit(), samples),
            None => "not built".to_owned(),
        })
        .collect()
}

/// How often the work is done in one round. `None` where the peer cannot do it.
fn calibrate(process: &mut Process, work: Work) -> Option<u32> {
    let mut times = 1;
    loop {
        let took = process.time(work, times)?;
        if took >= ROUND / 4 {
            let per_round = u128::from(times) * ROUND.as_nanos() / took.as_nanos().max(1);
            return Some(u32::try_from(per_round.max(1)).unwrap_or(u32::MAX));
        }
        times *= 4;
    }
}

/// Of times the median, and half of what lies between the quartiles. Of calls in a second
/// the most: whatever else runs on the machine takes a thread's turn, and never gives one.
fn shown(unit: Unit, mut nanos: Vec<f64>) -> String {
    nanos.sort_by(f64::total_cmp);
    if unit == Unit::PerSecond {
        return format!("{:.1} k/s", 1e6 / nanos[0]);
    }
    let median = nanos[nanos.len() / 2];
    let spread = (nanos[nanos.len() * 3 / 4] - nanos[nanos.len() / 4]) / 2.0 / median * 100.0;
    let value = match median {
        ..1e3 => format!("{median:.0} ns"),
        1e3..1e6 => format!("{:.2} µs", median / 1e3),
        _ => format!("{:.2} ms", median / 1e6),
    };
    format!("{value} ±{spread:.0}%")
}
