//! What a manager does later: one thread that sleeps until there is something to do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Something to be done.
type Work = Box<dyn FnOnce() + Send>;

/// Does things at their time. Its thread is there once there is something to do, and is gone
/// with the manager.
#[derive(Default)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    later: BTreeMap<(Instant, u64), Work>,
    count: u64,
    runs: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Does this then. Where the system gives no thread it is not done.
    pub(super) fn at(&self, time: Instant, work: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.count += 1;
        let key = (time, state.count);
        state.later.insert(key, Box::new(work));
        if state.runs {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let thread = std::thread::Builder::new().name("airlock-keeper".to_owned());
        match thread.spawn(move || run(&shared)) {
            Ok(_) => state.runs = true,
            Err(error) => tracing::warn!(%error, "there is no thread for what is to be done later"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("later", &self.shared.lock().later.len()).finish_non_exhaustive()
    }
}

fn run(shared: &Weak<Shared>) {
    loop {
        // What is held here is only what the thread waits on: the manager's going ends it.
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.lock();
        if state.closed {
            return;
        }
        let now = Instant::now();
        match state.later.first_entry() {
            Some(first) if first.key().0 <= now => {
                let work = first.remove();
                drop(state);
                work();
            }
            Some(first) => {
                let rest = first.key().0 - now;
                drop(shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner));
            }
            None => drop(shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::Keeper;

    #[test]
    fn things_are_done_in_order_of_their_time_and_not_before() {
        let keeper = Keeper::default();
        let (sender, done) = mpsc::channel();
        let start = Instant::now();
        for wait in [40, 20, 0, 30] {
            let sender = sender.clone();
            keeper.at(start + Duration::from_millis(wait), move || {
                // The test may have failed meanwhile.
                let _ = sender.send((wait, start.elapsed()));
            });
        }
        let order: Vec<(u64, Duration)> = done.iter().take(4).collect();
        assert_eq!(order.iter().map(|(wait, _)| *wait).collect::<Vec<_>>(), [0, 20, 30, 40]);
        assert!(order.iter().all(|(wait, at)| *at >= Duration::from_millis(*wait)));
        let late = sender.clone();
        keeper.at(Instant::now() + Duration::from_secs(3600), move || drop(late));
        drop((keeper, sender));
        assert_eq!(done.recv(), Err(mpsc::RecvError), "what was to come is dropped with the keeper");
    }
}
