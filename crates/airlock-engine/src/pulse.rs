//! Ticks of one engine's own, more often than everybody's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airlock_core::{Error, Result};
use wasmtime::Engine;

/// Advances the epoch of an engine at an interval of its own, beside the
/// [`Ticker`](crate::Ticker), until it is dropped.
#[derive(Debug)]
pub struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ticks: AtomicU64,
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Pulse {
    /// Begins, with a thread of its own.
    ///
    /// # Errors
    /// [`airlock_core::ErrorKind::Host`] when no thread can be started.
    pub fn start(engine: &Engine, interval: Duration) -> Result<Self> {
        let shared = Arc::new(Shared {
            ticks: AtomicU64::new(0),
            is_over: Mutex::new(false),
            changed: Condvar::new(),
        });
        let (engine, own) = (engine.weak(), shared.clone());
        std::thread::Builder::new()
            .name("airlock-pulse".to_owned())
            .spawn(move || {
                own.run(interval, || engine.upgrade().map(|engine| engine.increment_epoch()).is_some());
            })
            .map_err(|error| Error::host("cannot start a thread").with_source(error))?;
        Ok(Pulse(shared))
    }

    /// How often it has ticked.
    pub fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn run(&self, interval: Duration, tick: impl Fn() -> bool) {
        let mut next = Instant::now() + interval;
        let mut is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            let rest = next.saturating_duration_since(Instant::now());
            if !rest.is_zero() {
                is_over = self.changed.wait_timeout(is_over, rest).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            self.ticks.fetch_add(1, Ordering::Relaxed);
            if !tick() {
                return;
            }
            // What a thread that was held up has missed is not made up for.
            next = (next + interval).max(Instant::now());
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        *self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_one();
    }
}
