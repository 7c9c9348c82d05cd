//! Events on their way to one plugin, of all that it subscribed to.
//!
//! Whoever manages a plugin that can be told of events gives it one, takes out what comes and calls the
//! plugin with it. The plugin adds subscriptions of its own while it is called.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use airlock_core::{Event, Subscription};

/// Where events wait for a plugin.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribed: Vec<Subscribed>,
    /// Ids that the plugin was given.
    count: u64,
    closed: bool,
    waker: Option<Waker>,
}

struct Subscribed {
    /// None for what its manifest subscribes to.
    id: Option<u64>,
    subscription: Box<dyn Subscription>,
}

/// An event, and whether the plugin's manifest names it or the plugin has subscribed to it.
pub(crate) struct Arrived {
    pub(crate) event: Event,
    pub(crate) by_manifest: bool,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("subscriptions", &self.lock().subscribed.len()).finish_non_exhaustive()
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives of this what the plugin's manifest names.
    pub(crate) fn subscribe_by_manifest(&self, subscription: Box<dyn Subscription>) {
        self.add(None, subscription);
    }

    /// Receives of this what the plugin has subscribed to, and gives the number that it is called by.
    pub(crate) fn subscribe(&self, subscription: Box<dyn Subscription>) -> u64 {
        let id = {
            let mut state = self.lock();
            state.count += 1;
            state.count
        };
        self.add(Some(id), subscription);
        id
    }

    fn add(&self, id: Option<u64>, subscription: Box<dyn Subscription>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.subscribed.push(Subscribed { id, subscription });
        let waker = state.waker.take();
        drop(state);
        // Waking may run anything.
        waker.into_iter().for_each(Waker::wake);
    }

    /// Receives no more of what the plugin has subscribed to under this number; whether it had.
    pub(crate) fn unsubscribe(&self, id: u64) -> bool {
        let mut state = self.lock();
        let at = state.subscribed.iter().position(|subscribed| subscribed.id == Some(id));
        let removed = at.map(|at| state.subscribed.remove(at));
        drop(state);
        removed.is_some()
    }

    /// Receives nothing any more, and has who waits come to an end.
    pub(crate) fn close(&self) {
        let (left, waker) = {
            let mut state = self.lock();
            state.closed = true;
            (std::mem::take(&mut state.subscribed), state.waker.take())
        };
        drop(left);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next event, of each subscription in its turn; none once it is closed.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Arrived>> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(context.waker().clone());
        let mut at = 0;
        let mut next = None;
        let mut gone = Vec::new();
        while at < state.subscribed.len() {
            let polled = state.subscribed[at].subscription.next().as_mut().poll(context);
            match polled {
                Poll::Ready(Ok(event)) => {
                    next = Some(Arrived { event, by_manifest: state.subscribed[at].id.is_none() });
                    // Those behind it come before it the next time.
                    let last = state.subscribed.remove(at);
                    state.subscribed.push(last);
                    break;
                }
                // Its bus is gone.
                Poll::Ready(Err(_)) => gone.push(state.subscribed.remove(at)),
                Poll::Pending => at += 1,
            }
        }
        drop(state);
        // Dropping either may run anything.
        drop((before, gone));
        next.map_or(Poll::Pending, |arrived| Poll::Ready(Some(arrived)))
    }

    /// How many events were lost since the last time that this was asked.
    pub(crate) fn missed(&self) -> u64 {
        self.lock().subscribed.iter_mut().map(|subscribed| subscribed.subscription.missed()).sum()
    }
}
