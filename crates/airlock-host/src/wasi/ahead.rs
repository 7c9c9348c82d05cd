//! What a guest waits for that goes before time on a virtual clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much of it is waited for now: input, and files, which come when they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead(Arc<AtomicUsize>);

impl Ahead {
    /// Something is waited for until this is dropped.
    pub(super) fn begin(&self) -> Waited {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waited(self.clone())
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One thing that is waited for.
pub(super) struct Waited(Ahead);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
