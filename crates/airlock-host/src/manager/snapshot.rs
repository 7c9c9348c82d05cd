//! What the calls of all plugins came to, at one moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::metrics::{Meter, Metrics};
use super::{Managed, millis};

/// What the calls of a manager's plugins came to. As JSON it is what `airlock metrics` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of this format: [`Snapshot::SCHEMA`].
    pub schema: u32,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at: u64,
    /// All of them together, those of plugins that were unloaded included.
    pub total: Metrics,
    /// By the name of the plugin; those that were unloaded are not here.
    pub plugins: BTreeMap<Arc<str>, Metrics>,
}

impl Snapshot {
    /// The version of the format that this is written in.
    pub const SCHEMA: u32 = 1;
}

/// What plugins that are gone came to.
pub(super) struct Gone(Mutex<Counts>);

struct Counts {
    sum: Meter,
    /// Of plugins some call of which may still end.
    leaving: Vec<Arc<Meter>>,
}

impl Gone {
    pub(super) fn new() -> Self {
        Gone(Mutex::new(Counts { sum: Meter::new(), leaving: Vec::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // What is in it is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `remove` take a plugin away, which counts here from then on.
    pub(super) fn leaving(&self, remove: impl FnOnce() -> Option<(Arc<Meter>, Managed)>) -> Option<Managed> {
        let mut counts = self.lock();
        counts.settle();
        let (meter, managed) = remove()?;
        counts.leaving.push(meter);
        Some(managed)
    }

    /// What those that are `here` and those that are gone came to.
    pub(super) fn snapshot(&self, here: impl FnOnce() -> Vec<(Arc<str>, Arc<Meter>)>) -> Snapshot {
        let mut counts = self.lock();
        counts.settle();
        let total = Meter::new();
        total.add(&counts.sum);
        counts.leaving.iter().for_each(|meter| total.add(meter));
        let mut plugins = BTreeMap::new();
        for (name, meter) in here() {
            // One look at each, so that the total is of what is said of it.
            let copy = meter.copied();
            total.add(&copy);
            plugins.insert(name, copy.snapshot());
        }
        let (schema, taken_at) = (Snapshot::SCHEMA, millis(SystemTime::now()));
        Snapshot { schema, taken_at, total: total.snapshot(), plugins }
    }
}

impl Counts {
    /// Takes in what nobody counts in any more.
    fn settle(&mut self) {
        let sum = &self.sum;
        self.leaving.retain(|meter| {
            let counts = Arc::strong_count(meter) > 1;
            if !counts {
                sum.add(meter);
            }
            counts
        });
    }
}
