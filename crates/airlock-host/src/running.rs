//! Which calls run, and how a shutdown ends them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use airlock_core::{Error, ErrorKind, Result};
use airlock_engine::{TICK, Ticker};
use tokio::sync::Notify;

use crate::bounded::{bounded, sleep_until};
use crate::cancel::Cuts;
use crate::host::{Host, HostInner};
use crate::store::after;

/// How long a shutdown waits for calls that it has cut: each looks up at its next tick,
/// or after the bulk memory operation it is in.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A host's calls, but for fresh ones, which its slots count.
pub(crate) struct Running {
    /// Raised when every call has to end now.
    cut: AtomicBool,
    closing: AtomicBool,
    /// Sessions being opened.
    opening: AtomicUsize,
    sessions: Mutex<HashMap<u64, Weak<Occupied>>>,
    /// Whether a shutdown can order itself against calls that do nothing for it.
    shutdown_orders: bool,
    drained: Notify,
}

/// Whether a call of a session runs. Each session has its own, so that calls of different
/// sessions never write to the same place.
pub(crate) struct Occupied {
    flag: AtomicBool,
    /// Whether no more calls may begin: the host's word, brought to where a call looks anyway.
    closing: AtomicBool,
    /// Whether a shutdown orders itself against calls.
    shutdown_orders: bool,
    host: Arc<HostInner>,
    /// Under which the host knows it.
    id: u64,
}

/// A session being opened, which is counted in.
pub(crate) struct Opening<'a>(&'a Running);

impl Host {
    /// Takes no more calls, also of those that still wait for a slot, lets the running ones
    /// finish for up to `grace`, then cuts them off. Returns how many had to be cut.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let running = self.running();
        running.close();
        if running.shutdown_orders && !order_everybody() {
            // It could when asked before. What other threads wrote is long visible by then.
            sleep_until(Instant::now() + TICK).await;
        }
        self.slots().wake_all();
        if self.drained(grace).await {
            return 0;
        }
        let late = self.running_calls();
        running.cut.store(true, Ordering::Release);
        Ticker::wake_all();
        self.drained(CUT_GRACE).await;
        late
    }

    /// Waits until nothing runs any more; whether that came within `grace`.
    async fn drained(&self, grace: Duration) -> bool {
        let give_up = after(Instant::now(), grace);
        while self.running_calls() > 0 {
            let now = Instant::now();
            if now >= give_up {
                return false;
            }
            // A call says nothing when it ends, so that is seen at the next look.
            let next_look = give_up.min(now + TICK);
            let _ = bounded(next_look, Cuts::none(), self.running().drained.notified()).await;
        }
        true
    }

    /// How many calls run now.
    pub(crate) fn running_calls(&self) -> usize {
        self.running().count() + self.slots().taken()
    }

    /// A new session's flag, known to the host for as long as the session lives.
    pub(crate) fn register(&self) -> Arc<Occupied> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let running = self.running();
        let mut sessions = running.sessions();
        // Looked at under the lock, under which a shutdown tells all that are in it.
        let occupied = Arc::new(Occupied {
            flag: AtomicBool::new(false),
            closing: AtomicBool::new(running.is_closing()),
            shutdown_orders: running.shutdown_orders,
            host: self.0.clone(),
            id,
        });
        sessions.insert(id, Arc::downgrade(&occupied));
        drop(sessions);
        occupied
    }
}

impl Running {
    pub(crate) fn new() -> Self {
        Running {
            cut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            opening: AtomicUsize::new(0),
            sessions: Mutex::default(),
            shutdown_orders: can_order_everybody(),
            drained: Notify::new(),
        }
    }

    /// Raised when every call has to end now.
    pub(crate) fn cut(&self) -> &AtomicBool {
        &self.cut
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// From now on no call begins.
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        for occupied in self.occupied() {
            occupied.closing.store(true, Ordering::SeqCst);
        }
    }

    #[inline]
    pub(crate) fn refuse_if_closing(&self) -> Result<()> {
        match self.is_closing() {
            true => Err(Running::shutting_down()),
            false => Ok(()),
        }
    }

    // What is cold is kept out of what each call goes through: inlined there, it would have all
    // calls save the registers that it needs.
    #[cold]
    #[inline(never)]
    fn shutting_down() -> Error {
        Error::new(ErrorKind::ShuttingDown)
    }

    /// Counts the opening of a session in, unless the host is closing.
    pub(crate) fn open(&self) -> Result<Opening<'_>> {
        self.opening.fetch_add(1, Ordering::SeqCst);
        // Counted first and looked at second, so that a shutdown misses nobody.
        let guard = Opening(self);
        self.refuse_if_closing().map(|()| guard)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, Weak<Occupied>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all sessions have. Whoever comes to be the last to have one of them must not be so while
    /// the list is locked.
    fn occupied(&self) -> Vec<Arc<Occupied>> {
        self.sessions().values().filter_map(Weak::upgrade).collect()
    }

    fn count(&self) -> usize {
        let occupied = self.occupied();
        let in_sessions = occupied.iter().filter(|occupied| occupied.flag.load(Ordering::SeqCst)).count();
        self.opening.load(Ordering::SeqCst) + in_sessions
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let was_last = self.0.opening.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.0.is_closing() {
            self.0.drained.notify_waiters();
        }
    }
}

impl Occupied {
    /// Marks a call as running, unless the host is closing.
    ///
    /// Either the call sees that the host is closing, or the shutdown sees that the call
    /// runs: one of the two has to be ordered against the other, and a call pays nothing for
    /// it where the shutdown can ([`order_everybody`]).
    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<()> {
        match self.shutdown_orders {
            true => {
                self.flag.store(true, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
            }
            false => {
                self.flag.swap(true, Ordering::SeqCst);
            }
        }
        match self.closing.load(Ordering::SeqCst) {
            true => Err(self.refused()),
            false => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn refused(&self) -> Error {
        self.leave();
        Running::shutting_down()
    }

    /// Marks the call as over.
    #[inline]
    pub(crate) fn leave(&self) {
        self.flag.store(false, Ordering::Release);
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut sessions = self.host.running.sessions();
        sessions.remove(&self.id);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }
}

/// Makes every thread of this process see what was written before, and this one what they
/// wrote: what a fence on each of them would do. `false` where the system cannot.
#[cfg(target_os = "linux")]
fn order_everybody() -> bool {
    use rustix::thread::{MembarrierCommand, membarrier};
    membarrier(MembarrierCommand::Global).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn order_everybody() -> bool {
    false
}

/// Whether [`order_everybody`] can, without the time it takes.
#[cfg(target_os = "linux")]
fn can_order_everybody() -> bool {
    use rustix::thread::{MembarrierCommand, membarrier_query};
    membarrier_query().contains_command(MembarrierCommand::Global)
}

#[cfg(not(target_os = "linux"))]
fn can_order_everybody() -> bool {
    false
}
