//! Places that are taken without a lock, and a line for when there is none.
//!
//! Who frees a place looks whether somebody waits; who begins to wait looks whether a place has
//! become free. Each does the one before the other, in one order that all threads agree on, so
//! that one of the two sees the other. A place is handed to the first in the line without ever
//! being free, so nobody who comes later can take it.
//!
//! Generic over what it is made of, so that loom can go through the orders of its steps.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

/// A number that threads share; every access is sequentially consistent but for the look that
/// [`Word::take_if_free`] may begin with.
pub(super) trait Word {
    fn new(value: usize) -> Self;
    fn load(&self) -> usize;
    /// Makes 0 `holder`, and says whether it was.
    fn take_if_free(&self, holder: usize) -> bool;
    fn swap(&self, value: usize);
    fn add(&self, more: usize);
    fn subtract(&self, less: usize);
}

/// A line, under a lock.
pub(super) trait Queue<T> {
    fn new() -> Self;
    fn with<R>(&self, work: impl FnOnce(&mut VecDeque<T>) -> R) -> R;
}

/// Somebody in the line.
pub(super) trait Waiter {
    fn holder(&self) -> NonZeroUsize;
    /// Hands a place over, or says that there will be none; whether it was taken.
    fn give(self, place: Option<usize>) -> bool;
}

/// Places, each with who has it.
pub(super) struct Places<W, T, Q> {
    /// 0 for nobody.
    holders: Box<[W]>,
    /// How many are in the line, or about to be.
    waiting: W,
    line: Q,
    waiter: std::marker::PhantomData<fn(T)>,
}

impl<W: Word, T: Waiter, Q: Queue<T>> Places<W, T, Q> {
    pub(super) fn new(count: usize) -> Self {
        let holders = (0..count).map(|_| W::new(0)).collect();
        Places { holders, waiting: W::new(0), line: Q::new(), waiter: std::marker::PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.holders.len()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = usize> {
        self.holders.iter().map(Word::load)
    }

    /// A free place, looked for from `from` on.
    fn find(&self, holder: NonZeroUsize, from: usize) -> Option<usize> {
        let (count, first) = (self.holders.len(), from % self.holders.len());
        (first..count).chain(0..first).find(|index| self.holders[*index].take_if_free(holder.get()))
    }

    /// A free place, unless somebody waits for one.
    pub(super) fn try_take(&self, holder: NonZeroUsize, from: usize) -> Option<usize> {
        if self.waiting.load() > 0 { None } else { self.find(holder, from) }
    }

    /// A place that has become free, or else `waiter` is in the line.
    pub(super) fn take_or_wait(&self, waiter: T, from: usize) -> Option<usize> {
        self.line.with(|line| {
            // Counted first and looked second.
            self.waiting.add(1);
            // Before whom others wait: what is free is theirs.
            let found = if line.is_empty() { self.find(waiter.holder(), from) } else { None };
            match found {
                Some(_) => self.waiting.subtract(1),
                None => line.push_back(waiter),
            }
            found
        })
    }

    /// Gives a place to the first in the line, or frees it.
    pub(super) fn give_back(&self, place: usize) {
        if self.waiting.load() > 0 && self.hand_over(place) {
            return;
        }
        // Freed first and looked second.
        self.holders[place].swap(0);
        if self.waiting.load() > 0 {
            self.serve();
        }
    }

    /// Hands a place that is taken to the first in the line who still waits.
    fn hand_over(&self, place: usize) -> bool {
        self.line.with(|line| {
            while let Some(waiter) = line.pop_front() {
                self.waiting.subtract(1);
                self.holders[place].swap(waiter.holder().get());
                if waiter.give(Some(place)) {
                    return true;
                }
            }
            false
        })
    }

    /// Takes what is free for those in the line.
    fn serve(&self) {
        self.line.with(|line| {
            while let Some(first) = line.front() {
                let Some(place) = self.find(first.holder(), 0) else { return };
                let given = line.pop_front().is_some_and(|waiter| {
                    self.waiting.subtract(1);
                    waiter.give(Some(place))
                });
                if !given {
                    self.holders[place].swap(0);
                }
            }
        });
    }

    /// Takes those out of the line who have gone.
    pub(super) fn leave_line(&self, has_gone: impl Fn(&T) -> bool) {
        self.line.with(|line| {
            let before = line.len();
            line.retain(|waiter| !has_gone(waiter));
            self.waiting.subtract(before - line.len());
        });
    }

    /// Tells everybody in the line that there will be no place.
    pub(super) fn send_home(&self) {
        self.line.with(|line| {
            self.waiting.subtract(line.len());
            line.drain(..).for_each(|waiter| {
                waiter.give(None);
            });
        });
    }
}
