//! The line's steps in every order that threads can take them, by loom.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::line::{Places, Queue, Waiter, Word};

/// loom takes sequentially consistent accesses for weaker ones, and fences for what they are.
impl Word for AtomicUsize {
    fn new(value: usize) -> Self {
        AtomicUsize::new(value)
    }

    fn load(&self) -> usize {
        fence(Ordering::SeqCst);
        AtomicUsize::load(self, Ordering::SeqCst)
    }

    fn take_if_free(&self, holder: usize) -> bool {
        fence(Ordering::SeqCst);
        self.compare_exchange(0, holder, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn swap(&self, value: usize) {
        AtomicUsize::swap(self, value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    fn add(&self, more: usize) {
        self.fetch_add(more, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    fn subtract(&self, less: usize) {
        self.fetch_sub(less, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

impl<T> Queue<T> for Mutex<VecDeque<T>> {
    fn new() -> Self {
        Mutex::new(VecDeque::new())
    }

    fn with<R>(&self, work: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        work(&mut self.lock().expect("no panic"))
    }
}

const NOTHING: usize = usize::MAX;

/// What somebody who waits was given.
#[derive(Clone)]
struct Hand(Arc<(Mutex<Option<usize>>, Condvar)>);

impl Hand {
    fn new() -> Self {
        Hand(Arc::new((Mutex::new(None), Condvar::new())))
    }

    /// Waits until it holds something.
    fn wait(&self) -> usize {
        let (given, changed) = &*self.0;
        let mut given = given.lock().expect("no panic");
        loop {
            match *given {
                Some(place) => return place,
                None => given = changed.wait(given).expect("no panic"),
            }
        }
    }

    /// Takes nothing any more, and says what came before that.
    fn close(&self) -> Option<usize> {
        self.0.0.lock().expect("no panic").replace(NOTHING)
    }
}

/// Takes what it is given, until it has gone.
struct Waiting {
    holder: usize,
    given: Hand,
}

impl Waiter for Waiting {
    fn holder(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.holder).expect("from 1")
    }

    fn give(self, place: Option<usize>) -> bool {
        let (given, changed) = &*self.given.0;
        let mut given = given.lock().expect("no panic");
        if *given == Some(NOTHING) {
            return false;
        }
        *given = place;
        changed.notify_one();
        true
    }
}

type Model = Places<AtomicUsize, Waiting, Mutex<VecDeque<Waiting>>>;

/// A call that takes a place, or waits for one and then has it, or gives up.
fn call(places: &Model, holder: usize, gives_up: bool) {
    let own = NonZeroUsize::new(holder).expect("from 1");
    let given = Hand::new();
    let taken = places
        .try_take(own, holder)
        .or_else(|| places.take_or_wait(Waiting { holder, given: given.clone() }, holder));
    let taken = taken.or_else(|| {
        if gives_up {
            let late = given.close();
            places.leave_line(|waiting| waiting.holder == holder);
            return late;
        }
        Some(given.wait())
    });
    if let Some(place) = taken {
        assert_eq!(places.holders().filter(|taken| *taken == holder).count(), 1);
        places.give_back(place);
    }
}

fn check(calls: &'static [(usize, bool)]) {
    let mut model = loom::model::Builder::new();
    (model.preemption_bound, model.max_branches) = (Some(3), 100_000);
    model.check(move || {
        let places = Arc::new(Model::new(1));
        let threads: Vec<_> = calls
            .iter()
            .map(|&(holder, gives_up)| {
                let places = places.clone();
                thread::spawn(move || call(&places, holder, gives_up))
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(places.holders().collect::<Vec<_>>(), [0], "it is free again");
        let one = NonZeroUsize::MIN;
        assert!(places.try_take(one, 0).is_some(), "and nobody waits");
    });
}

#[test]
fn whoever_waits_gets_the_place_and_it_is_free_in_the_end() {
    check(&[(1, false), (2, false)]);
}

#[test]
fn who_gives_up_takes_no_place_with_it() {
    check(&[(1, false), (2, true)]);
    check(&[(1, false), (2, true), (3, false)]);
}
