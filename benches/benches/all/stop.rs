//! How long after its deadline a guest that never ends is stopped.

use std::time::{Duration, Instant};

use airlock_bench::{Figure, Report, Target};
use airlock_host::{Host, LimitKind, LoadOptions, Source};

/// One that spins, and one that is in an operation nothing can interrupt most of the time.
const GUEST: &str = r#"(module (memory 1024)
    (func (export "spin") (loop (br 0)))
    (func (export "fill") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864)) (br 0))))"#;

const DEADLINE: Duration = Duration::from_millis(53);
const ROUNDS: usize = 15;

pub(crate) fn run(report: &mut Report) {
    let host = Host::new().unwrap();
    let options = LoadOptions::new()
        .wat(true)
        .limit(LimitKind::Memory, 100 << 20)
        .limit(LimitKind::Timeout, DEADLINE.as_nanos() as u64);
    let plugin = host.load_blocking(Source::from(GUEST.as_bytes()), options).unwrap();
    let late = |function: &str| {
        let mut late: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                plugin.call_blocking::<_, ()>(function, &()).unwrap_err();
                start.elapsed().saturating_sub(DEADLINE).as_secs_f64() * 1e3
            })
            .collect();
        late.sort_by(f64::total_cmp);
        [late[ROUNDS / 2], late[ROUNDS - 1]]
    };
    for (function, what) in [("spin", "a loop"), ("fill", "memory.fill of 64 MiB")] {
        let [median, worst] = late(function);
        let figure = |who: &str, value, target| Figure { who: who.to_owned(), value, unit: "ms", target };
        report.figures(
            &format!("stopped after its deadline, {what}"),
            &[
                figure("airlock, median", median, (function == "spin").then_some(Target::AtMost(20.0))),
                figure("airlock, worst", worst, None),
            ],
        );
    }
}
