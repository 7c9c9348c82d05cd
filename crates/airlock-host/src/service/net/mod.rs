//! What everything that speaks to the network is made of.
//!
//! A name is resolved, every address it has is checked, and one of those checked is connected
//! to: [`dial`] does all three in one go, so that nothing can answer otherwise in between.
//! Nothing else of this crate opens a connection, but for WASI's sockets, whose guard asks [`dial`]
//! the same (`wasi/preview2/sockets.rs`).
//!
//! The library is called on any executor and on none, while sockets and timers want tokio's.
//! So there is one thread with a tokio runtime for the whole process, started by the first
//! who needs it. It only moves bytes: what costs time, such as unpacking a body, is done by
//! whoever waits for it.

mod dial;
mod resolve;
mod tcp;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use airlock_core::{Permit, ServiceError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub(super) use dial::{addresses, connect};
pub(crate) use dial::{check, look_up};
pub use resolve::{Resolve, SystemResolver};
pub use tcp::{TcpConnection, TcpConnector};

/// The runtime's handle, once its thread runs. One that could not be started is tried again.
static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime that sockets and timers belong to.
pub(crate) fn runtime() -> Result<Handle, ServiceError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*runtime {
        return Ok(handle.clone());
    }
    let start = || -> io::Result<Handle> {
        let started = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = started.handle().clone();
        // For as long as the process lives: connections of all hosts belong to it.
        let forever = move || started.block_on(std::future::pending::<()>());
        std::thread::Builder::new().name("airlock-net".to_owned()).spawn(forever)?;
        Ok(handle)
    };
    let handle = start().map_err(|error| {
        ServiceError::Unavailable(format!("the network's thread cannot be started: {error}"))
    })?;
    *runtime = Some(handle.clone());
    Ok(handle)
}

/// What `future` gives, which is polled where it is and has the runtime around it: sockets that it makes
/// belong there.
pub(crate) async fn around<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}

/// A task of the runtime, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

impl Task {
    /// Starts it.
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Task(runtime.spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// When something has to be done, and what it is when it was not.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    permit: Permit,
    at: Instant,
}

impl Until {
    /// So long from now, and no longer than the call goes on.
    pub(crate) fn within(permit: &Permit, time: Duration) -> Self {
        let deadline = permit.deadline();
        // A time that no clock reaches is the call's.
        let at = Instant::now().checked_add(time).map_or(deadline, |at| at.min(deadline));
        Until { permit: permit.clone(), at }
    }

    /// What `work` gives, if it does so in time. To be awaited in the runtime.
    pub(super) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        match tokio::time::timeout_at(self.at.into(), work).await {
            Ok(result) => result,
            Err(_) => Err(self.passed()),
        }
    }

    /// The call's end where it was the call's deadline, and otherwise too long a time.
    fn passed(&self) -> ServiceError {
        self.permit.check().err().unwrap_or(ServiceError::TimedOut)
    }
}

/// What `work` gives, which is done in the runtime, wherever this is awaited. Dropped, it stops.
pub(crate) async fn done<T: Send + 'static>(
    until: Until,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    let (sender, receiver) = oneshot::channel();
    let _task = Task::spawn(&runtime()?, async move {
        // Whoever waits no longer does not want to know.
        let _ = sender.send(until.bound(work).await);
    });
    receiver.await.unwrap_or_else(|_| Err(gone()))
}

/// For a task that ended without an answer, which only a defect can be the reason for.
pub(super) fn gone() -> ServiceError {
    ServiceError::Unavailable("the network's thread dropped the work".to_owned())
}
