//! Waiting with an end.
//!
//! A call may wait for a slot, for a host function, or for its turn on the executor.
//! [`bounded`] ends any of these at the deadline, or when the host cuts its calls off,
//! by the process's one ticker: no runtime and no timer of the embedder's is needed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use airlock_engine::{Alarm, Ticker};

use crate::cancel::Cuts;

/// Why waiting ended before the future did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The time came.
    Deadline,
    /// The flag was raised.
    Cut,
}

/// Polls `future` until it is ready, `deadline` has passed, or a flag of `cut` is raised and
/// [`Ticker::wake_all`] was called.
///
/// A future that is ready at once costs no look at the clock.
pub(crate) async fn bounded<F: Future>(
    deadline: Instant,
    cut: Cuts<'_>,
    future: F,
) -> Result<F::Output, Interrupted> {
    let mut future = pin!(future);
    let mut alarm: Option<Alarm> = None;
    poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // The waker may be another one than at the last poll. It is registered before
        // the flag is read, so that a wake-up between the two is not lost.
        drop(alarm.replace(Ticker::wake_at(deadline, context.waker().clone())));
        if cut.is_raised() {
            return Poll::Ready(Err(Interrupted::Cut));
        }
        if Instant::now() >= deadline {
            return Poll::Ready(Err(Interrupted::Deadline));
        }
        Poll::Pending
    })
    .await
}

/// Sleeps until `at`, without a runtime.
pub(crate) async fn sleep_until(at: Instant) {
    // The only way out is the deadline.
    let _ = bounded(at, Cuts::none(), std::future::pending::<()>()).await;
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` to its end on this thread, parking it while there is nothing to do. Futures of
/// this library need no more of an executor.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    // Most are ready at once and need nobody to be woken.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
