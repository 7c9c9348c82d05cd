//! Measures how long after its deadline a spinning guest is stopped, and how late a 10 ms
//! timer beside an awaited one runs on a current-thread runtime.
//!
//! `cargo run --release -p airlock-host --example stop_latency`

use std::time::{Duration, Instant};

use airlock_host::{Error, Host, LimitKind, LoadOptions, Plugin, Source};

const SPIN: &str = r#"(module (memory 1) (func (export "spin") (loop (br 0))))"#;
const TIMEOUT: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_millis(10);
const ROUNDS: usize = 10;

fn main() -> Result<(), Error> {
    let host = Host::new()?;
    let timeout = u64::try_from(TIMEOUT.as_nanos()).unwrap_or(u64::MAX);
    let options = LoadOptions::new().wat(true).name("spin").limit(LimitKind::Timeout, timeout);
    let plugin = host.load_blocking(Source::from(SPIN.as_bytes()), options)?;

    let blocking = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        let result = plugin.call_blocking::<_, ()>("spin", &());
        overshoot(start, result.is_err())
    });
    report("blocking call, stopped after its deadline by", blocking.collect());

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::host("no runtime").with_source(error))?;
    let (stopped, late) = runtime.block_on(beside_a_timer(&plugin));
    report("awaited call, stopped after its deadline by", stopped);
    report("10 ms timer beside it, late by", late);
    Ok(())
}

async fn beside_a_timer(plugin: &Plugin) -> (Vec<Duration>, Vec<Duration>) {
    let (report_late, mut late) = tokio::sync::mpsc::unbounded_channel();
    let timer = tokio::spawn(async move {
        loop {
            let due = Instant::now() + PERIOD;
            tokio::time::sleep_until(due.into()).await;
            // The receiver outlives this task.
            let _ = report_late.send(due.elapsed());
        }
    });
    let mut stopped = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let result = plugin.call::<_, ()>("spin", &()).await;
        stopped.push(overshoot(start, result.is_err()));
    }
    timer.abort();
    let times = std::iter::from_fn(|| late.try_recv().ok()).collect();
    (stopped, times)
}

fn overshoot(start: Instant, failed: bool) -> Duration {
    assert!(failed, "a loop without end was stopped");
    start.elapsed().saturating_sub(TIMEOUT)
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else { return };
    println!("{what} {median:.1?} (median of {}), {worst:.1?} at worst", times.len());
}
