//! Fresh calls a second, on one thread and on two.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use airlock_bench::{Figure, Report, Target};
use airlock_host::{Host, Input};

use crate::floor::Floor;
use crate::guests::{ADD, ECHO, load};

/// How long one measurement lasts; the best of several is taken of each.
const LENGTH: Duration = Duration::from_millis(400);
const ROUNDS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    let text = format!("\"{}\"", "x".repeat(62));
    let host = Host::new().unwrap();
    let (echo, floor) = (load(&host, ECHO), Floor::new(ECHO.as_bytes()));
    let bare = || floor.echo("alloc", "f").call(text.as_bytes(), &mut Vec::with_capacity(64));
    let call = || {
        echo.invoke_blocking("f", Input::Json(text.clone())).unwrap();
    };
    for (work, threads) in [("fresh calls a second, one thread", 1), ("fresh calls a second, two threads", 2)]
    {
        let [bare, airlock] = median_of(threads, [&bare, &call]);
        let target = (threads == 1).then_some(Target::AtLeast(400_000.0));
        report.figures(
            work,
            &[
                Figure { who: "wasmtime".to_owned(), value: bare, unit: "/s", target: None },
                Figure { who: "airlock".to_owned(), value: airlock, unit: "/s", target },
            ],
        );
    }
    let scaling = |work: &(dyn Fn() + Sync)| median_of(2, [work])[0] / median_of(1, [work])[0];
    report.figures(
        "two threads to one",
        &[
            Figure { who: "wasmtime".to_owned(), value: scaling(&bare), unit: "x", target: None },
            Figure {
                who: "airlock".to_owned(),
                value: scaling(&call),
                unit: "x",
                target: Some(Target::AtLeast(1.6)),
            },
        ],
    );
    sessions(report, &host);
}

/// Warm calls on two threads write to nothing in common.
fn sessions(report: &mut Report, host: &Host) {
    let add = load(host, ADD);
    let rate = |threads: usize| {
        let barrier = Barrier::new(threads);
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut session = add.session_blocking().unwrap();
                        let func = session.func::<(i32, i32), i32>("add").unwrap();
                        barrier.wait();
                        let (start, mut count) = (Instant::now(), 0_u64);
                        while start.elapsed() < LENGTH {
                            for _ in 0..1000 {
                                func.call_blocking(&mut session, (1, 2)).unwrap();
                            }
                            count += 1000;
                        }
                        count
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        counts as f64 / LENGTH.as_secs_f64()
    };
    let figure = |who: &str, value| Figure { who: who.to_owned(), value, unit: "/s", target: None };
    report.figures(
        "warm typed calls a second",
        &[figure("airlock, one thread", rate(1)), figure("airlock, two threads", rate(2))],
    );
}

/// Calls a second of each work, measured in turn.
fn median_of<const N: usize>(threads: usize, works: [&(dyn Fn() + Sync); N]) -> [f64; N] {
    let mut samples = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (sample, work) in samples.iter_mut().zip(works) {
            sample.push(rate(threads, work));
        }
    }
    samples.map(|mut sample| {
        sample.sort_by(f64::total_cmp);
        sample[ROUNDS / 2]
    })
}

fn rate(threads: usize, work: &(dyn Fn() + Sync)) -> f64 {
    let barrier = Barrier::new(threads);
    let count = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let (start, mut count) = (Instant::now(), 0_u64);
                    while start.elapsed() < LENGTH {
                        (0..100).for_each(|_| work());
                        count += 100;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    count as f64 / LENGTH.as_secs_f64()
}
