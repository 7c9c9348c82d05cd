//! How many compile at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many turns, for which others wait. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Shared>);

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        Turns(Arc::new(Shared { free: Mutex::new(count.max(1)), freed: Condvar::new() }))
    }

    /// A turn, when there is one before `deadline`.
    pub(super) fn take(&self, deadline: Instant) -> Option<Turn> {
        let mut free = self.0.lock();
        while *free == 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return None;
            }
            free = self.0.freed.wait_timeout(free, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Turn(self.0.clone()))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, usize> {
        // A number is whole whatever panicked elsewhere.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Turns;

    #[test]
    fn no_more_than_so_many_and_others_wait() {
        let turns = Turns::new(1);
        let first = turns.take(Instant::now()).expect("free");
        assert!(turns.take(Instant::now()).is_none());
        let waiting = std::thread::spawn({
            let turns = turns.clone();
            move || turns.take(Instant::now() + Duration::from_secs(60)).is_some()
        });
        drop(first);
        assert!(waiting.join().expect("no panic"));
        assert!(turns.take(Instant::now()).is_some());
    }
}
