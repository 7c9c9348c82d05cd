//! How many calls run at once.
//!
//! A slot is a place of its own in memory. A thread looks for a free one where it found the
//! last, so that calls on different threads write to different places: what all of them
//! write to would cost each of them more than the rest of a fresh call.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

/// Into how many parts things are split that every call writes to.
pub(crate) const SHARDS: usize = 16;

/// This thread's part.
pub(crate) fn shard() -> usize {
    thread_number() % SHARDS
}

/// A small number of this thread's own.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| match number.get() {
        Some(number) => number,
        None => {
            let own = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(own));
            own
        }
    })
}

/// So many slots.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Who has each: 0 for nobody.
    holders: Box<[CachePadded<AtomicUsize>]>,
    /// How many wait for one.
    waiting: AtomicUsize,
    freed: Notify,
}

/// A slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    holder: &'a AtomicUsize,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Slots {
            holders: (0..count.max(1)).map(|_| CachePadded::default()).collect(),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.holders.iter().filter(|holder| holder.load(Ordering::SeqCst) != 0).count()
    }

    /// How many `holder` has.
    pub(crate) fn taken_by(&self, holder: NonZeroUsize) -> usize {
        self.holders.iter().filter(|taken| taken.load(Ordering::SeqCst) == holder.get()).count()
    }

    /// A slot, if one is free.
    pub(crate) fn try_take(&self, holder: NonZeroUsize) -> Option<Slot<'_>> {
        let first = thread_number() % self.holders.len();
        let (before, from) = self.holders.split_at(first);
        let free = |slot: &&CachePadded<AtomicUsize>| {
            slot.load(Ordering::Relaxed) == 0
                && slot.compare_exchange(0, holder.get(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        let holder = from.iter().chain(before).find(free)?;
        Some(Slot { slots: self, holder })
    }

    /// A slot, as soon as one is free; `None` when [`Slots::wake_all`] was called and
    /// `closed` says that there will be no more.
    pub(crate) async fn take(&self, holder: NonZeroUsize, closed: impl Fn() -> bool) -> Option<Slot<'_>> {
        // Counted before the look: either this sees the slot that was freed, or who frees it
        // sees that somebody waits.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if closed() {
                return None;
            }
            if let Some(slot) = self.try_take(holder) {
                return Some(slot);
            }
            freed.await;
        }
    }

    /// Lets everybody who waits look again.
    pub(crate) fn wake_all(&self) {
        self.freed.notify_waiters();
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.holder.swap(0, Ordering::SeqCst);
        if self.slots.waiting.load(Ordering::SeqCst) > 0 {
            self.slots.freed.notify_one();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Slots;
    use crate::bounded::block_on;

    #[test]
    fn no_more_than_so_many_are_taken_at_once_and_everybody_gets_one() {
        let slots = Slots::new(3);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for index in 1..=8 {
                let (slots, running, most) = (&slots, &running, &most);
                scope.spawn(move || {
                    let holder = NonZeroUsize::new(index).expect("from 1");
                    for _ in 0..500 {
                        let slot = block_on(slots.take(holder, || false)).expect("never closed");
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn holders_are_told_apart() {
        let slots = Slots::new(2);
        let (one, other) = (NonZeroUsize::MIN, NonZeroUsize::new(2).expect("two"));
        let _first = slots.try_take(one).expect("free");
        let second = slots.try_take(other).expect("free");
        assert!(slots.try_take(one).is_none());
        assert_eq!((slots.taken(), slots.taken_by(one), slots.taken_by(other)), (2, 1, 1));
        drop(second);
        assert_eq!(slots.taken(), 1);
    }
}
