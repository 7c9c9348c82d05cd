//! `airlock metrics`: what calls of plugins came to, from a file.

use std::path::Path;
use std::time::Duration;

use airlock_host::manager::{Metrics, Snapshot};
use airlock_host::{Error, ErrorKind, Location};
use serde_json::{Map, json};

use super::Session;
use crate::printer::Printer;

pub(super) fn run(session: &Session, file: &Path) -> Result<u8, Error> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::new(ErrorKind::Unreadable(file.to_owned())).with_source(error))?;
    let unusable = |reason: String| Error::new(ErrorKind::StateUnusable { path: file.to_owned(), reason });
    let snapshot: Snapshot = serde_json::from_str(&text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        let place = at.map(|at| format!(" (line {}, column {})", at.line, at.column)).unwrap_or_default();
        unusable(format!("it is no metrics of `airlock watch --metrics`: {reason}{place}"))
    })?;
    if snapshot.schema > Snapshot::SCHEMA {
        let reason = format!("it is of version {}, and this one reads {}", snapshot.schema, Snapshot::SCHEMA);
        return Err(unusable(reason));
    }
    show(session.printer, &snapshot).map(|()| 0)
}

pub(super) fn show(printer: Printer, snapshot: &Snapshot) -> Result<(), Error> {
    if printer.json {
        return printer.object(true, Map::from_iter([("metrics".to_owned(), json!(snapshot))]));
    }
    let heads =
        ["plugin", "calls", "failed", "denied", "restarts", "p50", "p99", "longest", "memory", "fuel"];
    let rows = snapshot.plugins.iter().map(|(name, metrics)| row(name, metrics));
    let total = row("in all", &snapshot.total);
    printer.table([heads.map(str::to_owned)].into_iter().chain(rows).chain([total]))
}

fn row(name: &str, metrics: &Metrics) -> [String; 10] {
    let latency = &metrics.latency;
    [
        name.to_owned(),
        metrics.calls.to_string(),
        (metrics.calls - metrics.successes).to_string(),
        metrics.denied.to_string(),
        metrics.restarts.to_string(),
        time(latency.p50_ns),
        time(latency.p99_ns),
        time(latency.maximum_ns),
        bytesize::ByteSize::b(metrics.peak_memory_bytes).display().iec().to_string(),
        metrics.fuel.to_string(),
    ]
}

/// A time with as many digits as it is known to.
fn time(nanoseconds: u64) -> String {
    format!("{:.1?}", Duration::from_nanos(nanoseconds))
}
