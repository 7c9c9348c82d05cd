//! One thread that keeps everybody's time.
//!
//! wasmtime's epochs need somebody to advance them, and a call that waits in the host
//! needs somebody to wake it at its deadline. Both are done here, by one thread for the
//! whole process, so that nothing depends on the embedder's runtime having timers, or on
//! there being a runtime at all.
//!
//! Ticks are computed from a monotonic clock: a thread that was held up does not drift.
//! Engines are held weakly; while there is none, and no alarm, the thread sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use wasmtime::{Engine, EngineWeak};

/// How often epochs advance: a spinning guest is looked at once per tick.
pub const TICK: Duration = Duration::from_millis(10);

/// The process's timekeeper.
#[derive(Debug)]
pub struct Ticker(());

#[derive(Default)]
struct State {
    engines: Vec<EngineWeak>,
    /// Ticks out of turn, for calls whose deadline comes before the next one.
    extra_ticks: BTreeSet<Instant>,
    alarms: BTreeMap<(Instant, u64), Waker>,
    next_alarm: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        std::thread::Builder::new()
            .name("airlock-ticker".to_owned())
            .spawn(|| run(shared()))
            .expect("a process that cannot start one small thread cannot run plugins");
        Shared { state: Mutex::default(), changed: Condvar::new() }
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements, so a panic elsewhere is no reason to stop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    /// Advances `engine`'s epoch every [`TICK`] for as long as the engine lives.
    pub fn drive(engine: &Engine) {
        let shared = shared();
        shared.lock().engines.push(engine.weak());
        shared.changed.notify_one();
    }

    /// Advances every epoch once more at `at`, so that a guest whose deadline that is does
    /// not run on to the next tick.
    pub fn tick_at(at: Instant) {
        let shared = shared();
        shared.lock().extra_ticks.insert(at);
        shared.changed.notify_one();
    }

    /// Arranges for `waker` to be woken at `at`, until the [`Alarm`] is dropped.
    pub fn wake_at(at: Instant, waker: Waker) -> Alarm {
        let shared = shared();
        let mut state = shared.lock();
        state.next_alarm += 1;
        let key = (at, state.next_alarm);
        let is_first = state.alarms.first_key_value().is_none_or(|(first, _)| key < *first);
        state.alarms.insert(key, waker);
        drop(state);
        if is_first {
            shared.changed.notify_one();
        }
        Alarm { key }
    }

    /// Wakes every waiting call now, so that each looks at why.
    pub fn wake_all() {
        let wakers: Vec<Waker> = shared().lock().alarms.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A wake-up that is still to come. Dropping it takes it back.
#[derive(Debug)]
pub struct Alarm {
    key: (Instant, u64),
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // The waker is dropped after the lock: dropping it may run anything.
        let waker = shared().lock().alarms.remove(&self.key);
        drop(waker);
    }
}

fn run(shared: &Shared) {
    let start = Instant::now();
    let mut next_tick = start + TICK;
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let extra = state.extra_ticks.first().is_some_and(|at| *at <= now);
        if extra {
            state.extra_ticks = state.extra_ticks.split_off(&now);
            state.extra_ticks.remove(&now);
        }
        if extra || now >= next_tick {
            state.engines.retain(|weak| weak.upgrade().map(|engine| engine.increment_epoch()).is_some());
            let ticks = now.duration_since(start).as_nanos() / TICK.as_nanos() + 1;
            next_tick = start + TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        }
        let mut due = Vec::new();
        while let Some(entry) = state.alarms.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        if !due.is_empty() {
            // Waking may run anything, setting and dropping alarms included.
            drop(state);
            due.into_iter().for_each(Waker::wake);
            state = shared.lock();
        }
        let next_alarm = state.alarms.first_key_value().map(|((at, _), _)| *at);
        let next_extra = state.extra_ticks.first().copied();
        let next_tick = (!state.engines.is_empty()).then_some(next_tick);
        let wake = [next_alarm, next_extra, next_tick].into_iter().flatten().min();
        state = match wake {
            None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(at) => {
                let rest = at.saturating_duration_since(Instant::now());
                shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}
