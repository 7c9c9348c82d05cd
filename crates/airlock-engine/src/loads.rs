//! Code that a host has or is getting, by what it was compiled from.
//!
//! Whoever wants code that somebody else is getting waits for that. Code of plugins that are
//! gone is kept for those to come, as much of it as the settings allow.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use airlock_core::Digest;
use serde::{Deserialize, Serialize};

use crate::compile::{Modules, Origin};
use crate::engines::EngineKey;
use crate::lru::Lru;

/// What code is of.
type Key = (Digest, EngineKey);

/// Artifacts beyond which the list of them is looked through for those that nobody has.
const FIRST_SWEEP: usize = 64;

/// What the code that is kept in memory was good for: each load is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryCacheStats {
    /// Loads whose code was there.
    pub hits: u64,
    /// Loads that came while somebody else was getting the same code, and waited for that.
    pub joined: u64,
    /// Loads whose code came from the cache on disk.
    pub from_disk: u64,
    /// Loads whose code was compiled.
    pub compiled: u64,
    /// Loads that failed.
    pub failed: u64,
    /// Artifacts whose code is kept.
    pub entries: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Bytes that it may have; 0 where nothing is kept.
    pub maximum_bytes: u64,
    /// Artifacts whose code had to go for others'.
    pub evicted: u64,
}

impl MemoryCacheStats {
    /// Which part of all loads found their code, from 0 to 1; 0 where there was none.
    pub fn hit_rate(&self) -> f64 {
        let all = self.hits + self.joined + self.from_disk + self.compiled + self.failed;
        if all == 0 { 0.0 } else { self.hits as f64 / all as f64 }
    }
}

/// What is loaded or being loaded, so that plugins with the same bytes share their code and
/// nobody compiles what somebody else compiles already.
pub(crate) struct Loads {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    slots: HashMap<Key, Slot>,
    /// So many slots make it time to look for those of code that is gone.
    sweep_at: usize,
    kept: Lru<Key, Arc<Modules>>,
    stats: MemoryCacheStats,
}

enum Slot {
    Loading,
    Loaded(Weak<Modules>),
}

/// What [`Loads::once`] came to.
pub(crate) enum Once<'a> {
    Loaded(Arc<Modules>),
    /// Nobody has it: it is ours to load, and others wait until this is dropped.
    Ours(Loading<'a>),
}

pub(crate) struct Loading<'a> {
    loads: &'a Loads,
    key: Key,
}

impl Loads {
    /// Keeps so many bytes of code.
    pub(crate) fn new(maximum: u64) -> Self {
        let (slots, stats) = (HashMap::new(), MemoryCacheStats::default());
        let state = State { slots, sweep_at: FIRST_SWEEP, kept: Lru::new(maximum), stats };
        Loads { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// `None` when somebody else was at it until `deadline`.
    pub(crate) fn once(&self, key: Key, deadline: Instant) -> Option<Once<'_>> {
        let mut state = self.lock();
        let mut waited = false;
        loop {
            match state.slots.get(&key) {
                Some(Slot::Loaded(modules)) => {
                    if let Some(modules) = modules.upgrade() {
                        match waited {
                            true => state.stats.joined += 1,
                            false => state.stats.hits += 1,
                        }
                        let gone = state.keep(key, &modules);
                        drop(state);
                        // Giving code back to the system takes a while.
                        drop(gone);
                        return Some(Once::Loaded(modules));
                    }
                }
                None => {}
                Some(Slot::Loading) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        state.stats.failed += 1;
                        return None;
                    }
                    waited = true;
                    state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            }
            state.sweep();
            state.slots.insert(key, Slot::Loading);
            return Some(Once::Ours(Loading { loads: self, key }));
        }
    }

    /// Notes that code which may be kept has become more.
    pub(crate) fn grown(&self, key: Key, modules: &Modules) {
        let gone = self.lock().kept.reweigh(&key, modules.bytes());
        drop(gone);
    }

    /// What it was good for so far.
    pub(crate) fn stats(&self) -> MemoryCacheStats {
        let state = self.lock();
        MemoryCacheStats {
            entries: state.kept.len() as u64,
            bytes: state.kept.weight(),
            maximum_bytes: state.kept.maximum(),
            ..state.stats
        }
    }

    /// Keeps nothing of what there is.
    pub(crate) fn clear(&self) {
        let gone = self.lock().kept.clear();
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps code, and gives back what had to go.
    fn keep(&mut self, key: Key, modules: &Arc<Modules>) -> Vec<Arc<Modules>> {
        if self.kept.get(&key).is_some() {
            return Vec::new();
        }
        let gone = self.kept.insert(key, modules.clone(), modules.bytes());
        if self.kept.maximum() > 0 {
            self.stats.evicted += gone.len() as u64;
        }
        gone
    }

    /// Forgets slots of code that nobody has, each time that there are twice as many.
    fn sweep(&mut self) {
        if self.slots.len() < self.sweep_at {
            return;
        }
        self.slots.retain(|_, slot| match slot {
            Slot::Loading => true,
            Slot::Loaded(modules) => modules.strong_count() > 0,
        });
        self.sweep_at = FIRST_SWEEP.max(2 * self.slots.len());
    }
}

impl Loading<'_> {
    pub(crate) fn done(self, modules: &Arc<Modules>, origin: Origin) {
        let gone = {
            let mut state = self.loads.lock();
            match origin {
                Origin::Memory => state.stats.hits += 1,
                Origin::Cache => state.stats.from_disk += 1,
                Origin::Compiler => state.stats.compiled += 1,
            }
            state.slots.insert(self.key, Slot::Loaded(Arc::downgrade(modules)));
            state.keep(self.key, modules)
        };
        drop(gone);
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.loads.lock();
        // It failed, or panicked: the next one may try.
        if matches!(state.slots.get(&self.key), Some(Slot::Loading)) {
            state.slots.remove(&self.key);
            state.stats.failed += 1;
        }
        drop(state);
        self.loads.changed.notify_all();
    }
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loads").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
