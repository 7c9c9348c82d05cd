//! `airlock bench`: how long a plugin's calls take, from nothing, from the cache, fresh and warm.

mod chart;
mod measure;

use std::num::NonZero;
use std::time::Duration;

use airlock_host::{Error, Host, HostBuilder, LimitKind, LoadOptions, Plugin, Source, Usage, visible};
use serde_json::{Map, Value, json};

use self::measure::{Comparison, Samples, nanoseconds, rate};
use super::Session;
use super::work::Work;
use crate::flags::Bench;
use crate::prompt::Terminal;
use crate::spinner;

/// Classes of the histogram on a terminal.
const CLASSES: u32 = 16;

/// Characters of its longest bar.
const BAR: usize = 40;

/// What is measured, in the order in which it is told.
#[derive(Debug, Default)]
struct Report {
    /// Each phase with what it took.
    phases: Vec<(&'static str, Samples)>,
    /// How many threads, and calls a second.
    rates: Vec<(usize, f64)>,
    usage: Usage,
    fuel: Option<u64>,
    compared: Option<(Plugin, Comparison)>,
}

pub(super) fn run(session: &Session, bench: &Bench) -> Result<u8, Error> {
    let plugin = session.load_on(&bench.plugin, &bench.load, builder(session, bench)?)?;
    let work = Work::of(&plugin, bench.function.as_deref(), &bench.input)?;
    // Fails at once where it does, with the plugin's own words.
    work.once(&plugin)?;
    let message = format!("measuring {}", visible(plugin.name(), false));
    let report = spinner::while_doing(&message, session.quiet, || measure(session, bench, &plugin, &work))?;
    if let Some(file) = &bench.svg {
        let title = format!("{} {}", plugin.name(), bench.function.as_deref().unwrap_or_default());
        let series: Vec<(&str, &Samples)> = report
            .phases
            .iter()
            .filter(|(phase, _)| matches!(*phase, "fresh" | "warm"))
            .map(|(phase, samples)| (*phase, samples))
            .collect();
        chart::draw(file, title.trim(), &series)?;
    }
    match session.printer.json {
        true => session.object(true, as_json(&plugin, bench, &report)),
        false => print(session, &plugin, &report).map(|()| 0),
    }
}

/// A host as an application has it, with instances that wait for calls. Calls are not in the audit log.
fn builder(session: &Session, bench: &Bench) -> Result<HostBuilder, Error> {
    let approval = session.approval()?.prompt(Terminal);
    session.approving(session.config.host(&bench.load.limits()?), approval)
}

/// A host of the same settings whose plugins are loaded anew each time, and what is loaded.
fn loads(session: &Session, bench: &Bench, no_cache: bool) -> Result<(Host, Source, LoadOptions), Error> {
    let (source, options) = session.locate(&bench.plugin, bench.load.options()?)?;
    Ok((session.compiling(builder(session, bench)?.memory_cache(0), no_cache)?, source, options))
}

fn measure(session: &Session, bench: &Bench, plugin: &Plugin, work: &Work<'_>) -> Result<Report, Error> {
    let mut report = Report::default();
    // In eighths: half of them for fresh and warm calls.
    let share = *bench.time / 8;
    for (phase, no_cache, counts) in [("cold", true, (3, 50)), ("cached", false, (5, 1000))] {
        if phase == "cached" && (bench.load.no_cache || session.config.cache().is_none()) {
            continue;
        }
        let (host, source, options) = loads(session, bench, no_cache)?;
        let first = || work.once(&host.load_blocking(source.clone(), options.clone())?).map(|_| ());
        report.phases.push((phase, Samples::take(share, counts, first)?));
    }
    report
        .phases
        .push(("fresh", Samples::take(share * 2, (20, usize::MAX), || work.once(plugin).map(|_| ()))?));
    if let Work::Call { function, input } = work {
        let mut kept = plugin.session_blocking()?;
        let warm = || {
            if kept.invoke_blocking(function, input.clone()).is_err() {
                // One that keeps what it is given has no memory left at some time, and begins anew.
                kept = plugin.session_blocking()?;
                kept.invoke_blocking(function, input.clone())?;
            }
            Ok(())
        };
        report.phases.push(("warm", Samples::take(share * 2, (20, usize::MAX), warm)?));
    }
    let threads = bench
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get), NonZero::get);
    let counts = std::iter::successors(Some(1), |count| (count * 2 < threads).then_some(count * 2));
    let counts: Vec<usize> = counts.filter(|count| *count < threads).chain([threads]).collect();
    for count in &counts {
        let time = share / u32::try_from(counts.len()).unwrap_or(1);
        report.rates.push((*count, rate(*count, time, || work.once(plugin).map(|_| ()))?));
    }
    report.usage = work.once(plugin)?;
    report.fuel = match report.usage.fuel {
        Some(fuel) => Some(fuel),
        None => {
            let (host, source, options) = loads(session, bench, false)?;
            let metered = host.load_blocking(source, options.limit(LimitKind::Fuel, u64::MAX))?;
            work.once(&metered)?.fuel
        }
    };
    if let Some(old) = &bench.compare {
        let old = session.load_on(old, &bench.load, builder(session, bench)?)?;
        let compared =
            Comparison::take(share * 2, || work.once(plugin).map(|_| ()), || work.once(&old).map(|_| ()))?;
        report.compared = Some((old, compared));
    }
    Ok(report)
}

fn print(session: &Session, plugin: &Plugin, report: &Report) -> Result<(), Error> {
    let printer = session.printer;
    let heads = ["", "runs", "shortest", "p50", "p90", "p99", "longest"].map(str::to_owned);
    let rows = report.phases.iter().map(|(phase, samples)| {
        let of = |hundredths| time(samples.percentile(hundredths));
        [(*phase).to_owned(), samples.len().to_string(), of(0), of(50), of(90), of(99), of(100)]
    });
    printer.table([heads].into_iter().chain(rows))?;
    let rates: Vec<String> = report
        .rates
        .iter()
        .map(|(threads, rate)| {
            let threads = if *threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
            format!("{rate:.0} a second on {threads}")
        })
        .collect();
    let bytes = bytesize::ByteSize::b(report.usage.memory_bytes).display().iec().to_string();
    let mut rows = vec![("fresh calls", rates), ("memory", vec![bytes])];
    rows.extend(report.fuel.map(|fuel| ("fuel", vec![fuel.to_string()])));
    if let Some((old, compared)) = &report.compared {
        rows.push((
            "compared",
            vec![
                format!(
                    "{} by {}: {:.3} times as long ({:.3} to {:.3})",
                    time(compared.new.percentile(50)),
                    time(compared.old.percentile(50)),
                    compared.ratio(50),
                    compared.ratio(5),
                    compared.ratio(95),
                ),
                format!("{} by {}", plugin.digest().short(), old.digest().short()),
            ],
        ));
    }
    printer.line("")?;
    for (label, lines) in rows {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            printer.line(format!("{label:<13}{line}").trim_end())?;
        }
    }
    let Some((phase, samples)) = report.phases.last() else { return Ok(()) };
    printer.line("")?;
    printer.line(&format!("{phase} calls, all but the longest hundredth:"))?;
    let classes = samples.histogram(CLASSES);
    let most = classes.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (from, count) in classes {
        // A bar for every class that is not empty.
        let length = (count * BAR).div_ceil(most);
        printer.line(format!("{:>10} {} {}", time(from), "█".repeat(length), count).trim_end())?;
    }
    Ok(())
}

fn as_json(plugin: &Plugin, bench: &Bench, report: &Report) -> Value {
    let phases: Map<String, Value> =
        report.phases.iter().map(|(phase, samples)| ((*phase).to_owned(), samples.as_json())).collect();
    let rates: Vec<Value> = report
        .rates
        .iter()
        .map(|(threads, rate)| json!({ "threads": threads, "calls_per_second": rate }))
        .collect();
    let compared = report.compared.as_ref().map(|(old, compared)| {
        json!({
            "digest": old.digest(),
            "pairs": compared.new.len(),
            "new_p50_ns": nanoseconds(compared.new.percentile(50)),
            "old_p50_ns": nanoseconds(compared.old.percentile(50)),
            "ratio_p5": compared.ratio(5),
            "ratio_p50": compared.ratio(50),
            "ratio_p95": compared.ratio(95),
        })
    });
    json!({
        "name": plugin.name(),
        "digest": plugin.digest(),
        "abi": plugin.abi(),
        "function": bench.function,
        "latency": phases,
        "throughput": rates,
        "fuel": report.fuel,
        "memory_bytes": report.usage.memory_bytes,
        "compared": compared,
    })
}

/// A time with as many digits as it is known to.
fn time(time: Duration) -> String {
    format!("{time:.1?}")
}
