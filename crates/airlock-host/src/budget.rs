//! Memory: what one instance may use, and all of them together.
//!
//! Linear memories and tables count, initial sizes included, a table at 8 bytes an
//! element. A refusal charges nothing; what was charged is never given back before the
//! instance goes, so that growing in a loop cannot outrun the count.

use std::sync::atomic::{AtomicU64, Ordering};

use airlock_core::{LimitKind, Limits};
use crossbeam_utils::CachePadded;

use crate::slots::{SHARDS, shard};

/// Bytes a table element takes in the host.
const ELEMENT_BYTES: u64 = 8;

/// What all instances of a host may use together.
///
/// Calls on different threads would all write to one number. So each thread keeps what its
/// calls give back, up to [`MAXIMUM_CREDIT`], for its next one, and takes from the common
/// number in such steps. When that is used up, what others keep is collected first, so that
/// nothing is refused which would have fitted.
#[derive(Debug)]
pub(crate) struct HostBudget {
    maximum: u64,
    /// Bytes in use, and those that are kept.
    taken: AtomicU64,
    kept: [CachePadded<AtomicU64>; SHARDS],
}

/// Bytes that one shard keeps at most.
const MAXIMUM_CREDIT: u64 = 1 << 20;

impl HostBudget {
    pub(crate) fn new(maximum: u64) -> Self {
        HostBudget { maximum, taken: AtomicU64::new(0), kept: Default::default() }
    }

    /// Bytes that may be in use.
    pub(crate) fn maximum(&self) -> u64 {
        self.maximum
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        let kept: u64 = self.kept.iter().map(|kept| kept.load(Ordering::Relaxed)).sum();
        self.taken.load(Ordering::Relaxed).saturating_sub(kept)
    }

    fn take(&self, bytes: u64) -> bool {
        let kept = &self.kept[shard()];
        let spend = |kept: u64| kept.checked_sub(bytes);
        if kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok() || self.take_common(bytes) {
            return true;
        }
        for kept in &self.kept {
            self.taken.fetch_sub(kept.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        self.take_common(bytes)
    }

    fn take_common(&self, bytes: u64) -> bool {
        let add = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.maximum);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        let keep = |kept: u64| kept.checked_add(bytes).filter(|sum| *sum <= MAXIMUM_CREDIT);
        let kept = &self.kept[shard()];
        if kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep).is_err() {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// A growth that was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) limit: LimitKind,
    pub(crate) maximum: u64,
    /// What the total would have become, in the limit's unit.
    pub(crate) asked: u64,
}

/// What one instance may use. What it took of its host's budget goes back through
/// [`Budget::give_back`], by whoever drops it.
#[derive(Debug)]
pub(crate) struct Budget {
    maximum_bytes: u64,
    maximum_elements: u64,
    /// Bytes one linear memory may have by the plugin's own manifest.
    declared_maximum: u64,
    bytes: u64,
    elements: u64,
    refused: Option<Refusal>,
}

impl Budget {
    /// `declared_maximum` is what the plugin's manifest lets a linear memory grow to, in
    /// bytes; [`u64::MAX`] when it says nothing.
    pub(crate) fn new(limits: &Limits, declared_maximum: u64) -> Self {
        Budget {
            declared_maximum,
            maximum_bytes: limits.value(LimitKind::Memory),
            maximum_elements: limits.value(LimitKind::TableElements),
            bytes: 0,
            elements: 0,
            refused: None,
        }
    }

    /// Bytes charged so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last growth that was refused since [`Budget::forget_refusal`].
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Whether a linear memory may grow; `false` makes the guest's `memory.grow` return
    /// -1, or instantiation fail.
    pub(crate) fn memory_growing(
        &mut self,
        host: &HostBudget,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // wasmtime fails this growth by itself, so nothing is charged for it.
            return true;
        }
        if desired as u64 > self.declared_maximum {
            return self.refuse(LimitKind::Memory, self.declared_maximum, desired as u64);
        }
        self.charge(host, desired.saturating_sub(current) as u64)
    }

    /// Whether a table may grow, as [`Budget::memory_growing`].
    pub(crate) fn table_growing(
        &mut self,
        host: &HostBudget,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return true;
        }
        let added = desired.saturating_sub(current) as u64;
        let total = self.elements.saturating_add(added);
        if total > self.maximum_elements {
            return self.refuse(LimitKind::TableElements, self.maximum_elements, total);
        }
        let allowed = self.charge(host, added.saturating_mul(ELEMENT_BYTES));
        if allowed {
            self.elements = total;
        }
        allowed
    }

    /// Gives everything back that was charged.
    pub(crate) fn give_back(&mut self, host: &HostBudget) {
        host.give_back(std::mem::take(&mut self.bytes));
    }

    fn charge(&mut self, host: &HostBudget, bytes: u64) -> bool {
        let total = self.bytes.saturating_add(bytes);
        if total > self.maximum_bytes {
            return self.refuse(LimitKind::Memory, self.maximum_bytes, total);
        }
        if bytes > 0 && !host.take(bytes) {
            let asked = host.used().saturating_add(bytes);
            return self.refuse(LimitKind::HostMemory, host.maximum, asked);
        }
        self.bytes = total;
        true
    }

    fn refuse(&mut self, limit: LimitKind, maximum: u64, asked: u64) -> bool {
        self.refused = Some(Refusal { limit, maximum, asked });
        false
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::{LimitKind, Limits, Overrides};

    use super::{Budget, HostBudget};

    #[test]
    fn a_refusal_charges_nothing_and_the_host_gets_its_share_back() {
        let host = HostBudget::new(150);
        let limits = Limits::default().with(&Overrides::from([(LimitKind::Memory, 100)]));
        let mut one = Budget::new(&limits, u64::MAX);
        assert!(one.memory_growing(&host, 0, 90, None));
        assert!(!one.memory_growing(&host, 90, 101, None));
        assert_eq!(
            one.refused().map(|refusal| (refusal.limit, refusal.asked)),
            Some((LimitKind::Memory, 101))
        );
        assert!(one.memory_growing(&host, 90, 100, None));
        let mut two = Budget::new(&limits, u64::MAX);
        assert!(!two.memory_growing(&host, 0, 51, None));
        assert_eq!(two.refused().map(|refusal| refusal.limit), Some(LimitKind::HostMemory));
        one.give_back(&host);
        assert_eq!(host.used(), 0);
        assert!(two.table_growing(&host, 0, 10, None));
        assert_eq!((two.bytes(), host.used()), (80, 80));
    }

    #[test]
    fn what_one_thread_keeps_is_there_for_another_that_needs_it() {
        let host = HostBudget::new(100);
        let limits = Limits::default();
        let mut threads = Vec::new();
        for _ in 0..4 {
            // A thread of its own takes all there is and gives it back, to keep.
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let mut budget = Budget::new(&limits, u64::MAX);
                    let taken = budget.memory_growing(&host, 0, 100, None);
                    let used = host.used();
                    budget.give_back(&host);
                    (taken, used)
                });
                threads.push(thread.join().expect("no panic"));
            });
        }
        assert_eq!(threads, [(true, 100); 4]);
        assert_eq!(host.used(), 0);
    }

    #[test]
    fn growth_past_a_declared_maximum_is_not_charged() {
        let host = HostBudget::new(1 << 30);
        let mut budget = Budget::new(&Limits::default(), u64::MAX);
        for _ in 0..10 {
            let _ = budget.memory_growing(&host, 0, 2 << 16, Some(1 << 16));
        }
        assert_eq!(budget.bytes(), 0);
    }
}
