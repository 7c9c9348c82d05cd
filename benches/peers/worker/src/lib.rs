//! What the timed processes share.
//!
//! Every peer runs in a process of its own, so that neither its wasmtime nor its threads
//! meet another's. [`serve`] is all of such a process's `main`: it reads what to time, a
//! line each, and writes how long it took. The runner gives the processes their turns.

pub mod guest;
mod work;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub use work::{Unit, Work};

/// Does its work so many times.
pub type Job = Box<dyn FnMut(u32)>;

/// How long a plugin that loops may run, where the peer has a clock.
pub const TIMEOUT: Duration = Duration::from_millis(300);

/// A plugin host, as the runner sees it.
pub trait Peer {
    /// The work made ready, and checked to give the right answer. `None` where the peer
    /// has no way to do it.
    fn job(&self, work: Work) -> Option<Job>;

    /// Calls a function that never returns, in a plugin of which [`TIMEOUT`] was asked in
    /// the peer's documented way. The error that it ended with.
    fn spin(&self, spin: Spin) -> String;
}

/// Where a guest loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spin {
    /// In the function that is called.
    Call,
    /// In the module's start function.
    Start,
}

/// Does what the runner asks for until it asks no more.
///
/// `spin call` and `spin start` as arguments run one endless guest; otherwise each line of
/// standard input is `WORK TIMES` and is answered with the nanoseconds it took, or with
/// `cannot`.
///
/// # Panics
/// When the runner does not keep to that, or the peer fails at work it said it can do.
pub fn serve(peer: &impl Peer) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "spin") {
        let spin = if args.get(at + 1).is_some_and(|arg| arg == "start") { Spin::Start } else { Spin::Call };
        let start = Instant::now();
        let error = peer.spin(spin);
        let first = error.lines().next().unwrap_or_default();
        return println!("{} ms: {first}", start.elapsed().as_millis());
    }
    let mut jobs: HashMap<Work, Option<Job>> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the runner writes UTF-8");
        let (work, times) = line.split_once(' ').expect("two words");
        let work = Work::named(work).expect("a known work");
        let times = times.parse().expect("a number");
        match jobs.entry(work).or_insert_with(|| peer.job(work)) {
            Some(job) => println!("{}", timed(work.unit(), || job(times)).as_nanos()),
            None => println!("cannot"),
        }
        std::io::stdout().flush().expect("the runner reads on");
    }
}

fn timed(unit: Unit, work: impl FnOnce()) -> Duration {
    match unit {
        Unit::CpuTime => {
            let start = cpu_time();
            work();
            cpu_time() - start
        }
        Unit::PerSecond => {
            let start = Instant::now();
            work();
            start.elapsed()
        }
    }
}

/// What all threads of this process have had of a processor.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(now).expect("the clock starts at zero")
}

/// A job that is one call, made each time.
pub fn each(mut call: impl FnMut() + 'static) -> Job {
    Box::new(move |times| (0..times).for_each(|_| call()))
}

/// A job that splits its calls over threads; `calls` makes so many on the thread it is on.
pub fn on_threads(threads: u32, calls: impl Fn(u32) + Sync + 'static) -> Job {
    Box::new(move |times| {
        thread::scope(|scope| {
            for index in 0..threads {
                let share = times / threads + u32::from(index < times % threads);
                let calls = &calls;
                scope.spawn(move || calls(share));
            }
        });
    })
}
