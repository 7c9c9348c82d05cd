//! What a call came to beside its answer: what it used, and what it was refused.

use std::time::{Duration, Instant};

use airlock_core::{AuditEvent, LimitKind, Usage};
use wasmtime::Store;

use super::CallState;

/// What a call came to beside its answer, however it ended.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// When it began, where somebody looked at the clock.
    began: Option<Instant>,
    /// None where no guest ran.
    pub(crate) usage: Option<Usage>,
    /// What was used and refused.
    pub(crate) uses: Vec<AuditEvent>,
}

impl Account {
    /// The account of the call in `store`, up to now.
    pub(crate) fn of(store: &mut Store<CallState>, began: Option<Instant>) -> Self {
        let usage = Some(usage(store, began));
        Account { began, usage, uses: store.data_mut().take_uses() }
    }

    /// That of a call which ended before a guest ran.
    pub(crate) fn nothing(began: Instant) -> Self {
        Account { began: Some(began), usage: Some(Usage::default()), uses: Vec::new() }
    }

    /// When it began: now, unless it was said before.
    pub(crate) fn begin(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }

    /// The rest of it. It began when this says that it did.
    pub(crate) fn merge(&mut self, rest: Account) {
        let waited = self.began.zip(rest.began).map(|(since, began)| began.saturating_duration_since(since));
        *self = Account { began: self.began.or(rest.began), ..rest };
        if let (Some(usage), Some(waited)) = (&mut self.usage, waited) {
            usage.wall += waited;
        }
    }

    /// How long it took.
    pub(crate) fn wall(&self) -> Duration {
        match (&self.usage, self.began) {
            (Some(usage), _) => usage.wall,
            (None, began) => began.map(|began| began.elapsed()).unwrap_or_default(),
        }
    }
}

/// What a short call came to, in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) fuel: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) host_calls: u64,
    pub(crate) log_bytes: u64,
}

impl Tally {
    /// That of the call in `store`; none where it used or was refused something.
    #[inline]
    pub(crate) fn of(store: &Store<CallState>, fuel: Option<u64>) -> Option<Self> {
        let state = store.data();
        if state.gate.is_some() || !state.uses.is_empty() {
            return None;
        }
        Some(Tally {
            fuel: fuel.map_or(0, |fuel| fuel - store.get_fuel().unwrap_or(fuel)),
            memory_bytes: state.budget.bytes(),
            host_calls: state.usage.host_calls,
            log_bytes: state.wasi.log_len(),
        })
    }
}

/// What the call in `store` has used up to now; its wall time only when `started` is known.
pub(crate) fn usage(store: &Store<CallState>, started: Option<Instant>) -> Usage {
    let state = store.data();
    let mut usage = state.usage.clone();
    usage.wall = started.map(|started| started.elapsed()).unwrap_or_default();
    usage.fuel =
        state.plugin.limits().get(LimitKind::Fuel).map(|fuel| fuel - store.get_fuel().unwrap_or(fuel));
    usage.memory_bytes = state.budget.bytes();
    usage.log_bytes = state.wasi.log_len();
    usage
}
