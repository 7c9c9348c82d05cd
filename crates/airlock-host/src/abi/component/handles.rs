//! Resources that a session's caller has, by numbers.
//!
//! A number is good for the session that gave it: the table is in the session's store, and no number is
//! given twice in a process, so that one of another session is not known here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceAny;

/// Resources that a session's caller has at once.
pub(crate) const MAX_HANDLES: usize = 10_000;

#[derive(Default)]
pub(crate) struct Handles {
    held: HashMap<u64, Handle>,
}

/// A resource, and which of the component's it is one of.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    pub(super) resource: ResourceAny,
    pub(super) of: usize,
}

impl Handles {
    pub(super) fn get(&self, number: u64) -> Option<Handle> {
        self.held.get(&number).copied()
    }

    /// Gives up a handle, which the guest has now.
    pub(super) fn remove(&mut self, number: u64) {
        self.held.remove(&number);
    }

    /// Takes what the guest gave. `None` when there are too many.
    pub(super) fn insert(&mut self, handle: Handle) -> Option<u64> {
        if self.held.len() >= MAX_HANDLES {
            return None;
        }
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.held.insert(number, handle);
        Some(number)
    }
}
