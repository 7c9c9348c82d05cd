//! How many calls run at once.
//!
//! A slot is a place of its own in memory. A thread looks for a free one where it found the
//! last, so that calls on different threads write to different places: what all of them
//! write to would cost each of them more than the rest of a fresh call. Only where none is
//! free do calls meet, in a line that is first come, first served.

mod line;
#[cfg(test)]
mod model;

use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use airlock_core::{Error, ErrorKind, LimitKind, Limits, Phase, Result};
use crossbeam_utils::CachePadded;
use tokio::sync::oneshot;

use self::line::{Places, Queue, Waiter, Word};
use crate::bounded::{Interrupted, bounded};
use crate::cancel::Cuts;
use crate::store::after;

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

impl Word for CachePadded<AtomicUsize> {
    fn new(value: usize) -> Self {
        CachePadded::new(AtomicUsize::new(value))
    }

    fn load(&self) -> usize {
        AtomicUsize::load(self, Ordering::SeqCst)
    }

    fn take_if_free(&self, holder: usize) -> bool {
        AtomicUsize::load(self, Ordering::Relaxed) == 0
            && self.compare_exchange(0, holder, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    fn swap(&self, value: usize) {
        AtomicUsize::swap(self, value, Ordering::SeqCst);
    }

    fn add(&self, more: usize) {
        self.fetch_add(more, Ordering::SeqCst);
    }

    fn subtract(&self, less: usize) {
        self.fetch_sub(less, Ordering::SeqCst);
    }
}

impl<T> Queue<T> for Mutex<VecDeque<T>> {
    fn new() -> Self {
        Mutex::default()
    }

    fn with<R>(&self, work: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        // It is whole between any two statements.
        work(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A call that waits for a slot.
struct Waiting {
    holder: NonZeroUsize,
    /// Takes the slot that it is given; none when there will be no more.
    given: oneshot::Sender<Option<usize>>,
}

impl Waiter for Waiting {
    fn holder(&self) -> NonZeroUsize {
        self.holder
    }

    fn give(self, slot: Option<usize>) -> bool {
        self.given.send(slot).is_ok()
    }
}

/// So many slots.
pub(crate) struct Slots(Places<CachePadded<AtomicUsize>, Waiting, Mutex<VecDeque<Waiting>>>);

/// A slot, given back when dropped.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    index: usize,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Slots(Places::new(count.max(1)))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.holders().filter(|holder| *holder != 0).count()
    }

    /// How many `holder` has.
    pub(crate) fn taken_by(&self, holder: NonZeroUsize) -> usize {
        self.0.holders().filter(|taken| *taken == holder.get()).count()
    }

    /// A slot, if one is free and nobody waits.
    pub(crate) fn try_take(&self, holder: NonZeroUsize) -> Option<Slot<'_>> {
        let index = self.0.try_take(holder, thread_number())?;
        Some(Slot { slots: self, index })
    }

    /// A slot, as soon as everybody who waited before has one; `None` when [`Slots::wake_all`]
    /// was called.
    pub(crate) async fn take(&self, holder: NonZeroUsize) -> Option<Slot<'_>> {
        let (given, receiver) = oneshot::channel();
        match self.0.take_or_wait(Waiting { holder, given }, thread_number()) {
            Some(index) => Some(Slot { slots: self, index }),
            None => {
                let mut place = PlaceInLine { slots: self, receiver };
                let index = (&mut place.receiver).await.ok().flatten()?;
                Some(Slot { slots: self, index })
            }
        }
    }

    /// Tells everybody who waits that there will be no more.
    pub(crate) fn wake_all(&self) {
        self.0.send_home();
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.0.give_back(self.index);
    }
}

/// A call's place in the line, given up when dropped.
struct PlaceInLine<'a> {
    slots: &'a Slots,
    receiver: oneshot::Receiver<Option<usize>>,
}

impl Drop for PlaceInLine<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        // A slot that came when nobody waited for it any more.
        if let Ok(Some(index)) = self.receiver.try_recv() {
            self.slots.0.give_back(index);
        }
        self.slots.0.leave_line(|waiting| waiting.given.is_closed());
    }
}

/// The calls of one plugin that wait, for whatever it is.
#[derive(Debug, Default)]
pub(crate) struct Crowd(AtomicUsize);

/// One of them, until dropped.
pub(crate) struct InCrowd<'a>(&'a Crowd);

impl Crowd {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more that waits.
    ///
    /// # Errors
    /// [`LimitKind::Queue`] when there are as many already as there may be.
    pub(crate) fn join(&self, limits: &Limits) -> Result<InCrowd<'_>> {
        let maximum = limits.value(LimitKind::Queue);
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let joined = InCrowd(self);
        if (before as u64) < maximum {
            return Ok(joined);
        }
        let (limit, phase) = (LimitKind::Queue, Phase::Wait);
        Err(Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase }))
    }
}

impl Drop for InCrowd<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a call waits until it is its turn: [`LimitKind::Wait`] in all, and not past its
/// deadline.
pub(crate) struct Patience<'a> {
    limits: &'a Limits,
    deadline: Instant,
    give_up: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(limits: &'a Limits, deadline: Instant) -> Self {
        Patience::since(limits, deadline, Instant::now())
    }

    /// The same of a call that has waited since `began`.
    pub(crate) fn since(limits: &'a Limits, deadline: Instant, began: Instant) -> Self {
        let give_up = deadline.min(after(began, limits.time(LimitKind::Wait)));
        Patience { limits, deadline, give_up }
    }

    /// # Errors
    /// [`ErrorKind::Deadline`], [`LimitKind::Wait`], and [`ErrorKind::Cancelled`].
    pub(crate) async fn wait<F: Future>(&self, cut: Cuts<'_>, future: F) -> Result<F::Output> {
        let phase = Phase::Wait;
        bounded(self.give_up, cut, future).await.map_err(|why| {
            Error::new(match why {
                Interrupted::Cut => ErrorKind::Cancelled { phase },
                Interrupted::Deadline if self.give_up == self.deadline => {
                    ErrorKind::Deadline { timeout: self.limits.time(LimitKind::Timeout), phase }
                }
                Interrupted::Deadline => {
                    let (limit, maximum) = (LimitKind::Wait, self.limits.value(LimitKind::Wait));
                    ErrorKind::Limit { limit, maximum, asked: None, phase }
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::num::NonZeroUsize;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::Slots;
    use crate::bounded::block_on;

    fn holder(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("from 1")
    }

    #[test]
    fn no_more_than_so_many_are_taken_at_once_and_everybody_gets_one() {
        let slots = Slots::new(3);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for index in 1..=8 {
                let (slots, running, most) = (&slots, &running, &most);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let free = slots.try_take(holder(index));
                        let slot =
                            free.or_else(|| block_on(slots.take(holder(index)))).expect("never closed");
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
        let (one, other) = (holder(1), holder(2));
        let _first = slots.try_take(one).expect("free");
        let second = slots.try_take(other).expect("free");
        assert!(slots.try_take(one).is_none());
        assert_eq!((slots.taken(), slots.taken_by(one), slots.taken_by(other)), (2, 1, 1));
        drop(second);
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn who_waits_is_served_in_order_and_before_who_comes_later() {
        let slots = Slots::new(1);
        let held = slots.try_take(holder(9)).expect("free");
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second, mut third) =
            (pin!(slots.take(holder(1))), Box::pin(slots.take(holder(2))), pin!(slots.take(holder(3))));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert!(slots.try_take(holder(4)).is_none(), "it is somebody's already");
        assert_eq!(slots.taken_by(holder(1)), 1);
        let Poll::Ready(Some(slot)) = first.as_mut().poll(&mut context) else { panic!("it is its turn") };
        // Who gives up is passed over.
        drop(second);
        drop(slot);
        assert_eq!(slots.taken_by(holder(3)), 1);
        // Also one whose turn it is already.
        let mut last = Box::pin(slots.take(holder(4)));
        assert!(last.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(Some(slot)) = third.as_mut().poll(&mut context) else { panic!("it is its turn") };
        drop(slot);
        drop(last);
        assert_eq!(slots.taken(), 0);
        assert!(slots.try_take(holder(4)).is_some());
    }

    #[test]
    fn who_waits_is_sent_home_when_there_will_be_no_more() {
        let slots = Slots::new(1);
        let _held = slots.try_take(holder(1)).expect("free");
        let mut waiting = pin!(slots.take(holder(2)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        slots.wake_all();
        assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(None)));
    }
}
