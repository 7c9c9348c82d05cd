//! Ending calls before their time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airlock_engine::Ticker;

/// Ends calls that were begun with it. Clones are one handle.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A handle that has ended nothing yet.
    pub fn new() -> Self {
        Cancel::default()
    }

    /// Ends the calls that were begun with it, and those that are begun with it later: with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), at the next tick of 10 ms at the
    /// latest where the guest is busy. Other calls of the same plugin go on.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
        Ticker::wake_all();
    }

    /// Whether it has ended them.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// How one call is made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// What can end it.
    pub cancel: Option<Cancel>,
    /// How long it may take, where that is less than the plugin's limit.
    pub timeout: Option<Duration>,
    /// What functions of the application find in it.
    pub(crate) data: Option<CallData>,
    /// Of the event that it is told of, how deep that is.
    pub(crate) event_depth: Option<u32>,
}

/// Something of the application's that goes along with calls.
#[derive(Clone)]
pub(crate) struct CallData(pub(crate) Arc<dyn Any + Send + Sync>);

impl fmt::Debug for CallData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallData")
    }
}

impl CallOptions {
    /// As any call.
    pub fn new() -> Self {
        CallOptions::default()
    }

    /// Ends when this handle says so.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Has functions of the application that the guest calls find this in their
    /// [call](crate::HostCall::data): who asked, a connection, where results go.
    #[must_use]
    pub fn data(mut self, data: Arc<dyn Any + Send + Sync>) -> Self {
        self.data = Some(CallData(data));
        self
    }

    /// Takes no longer than this, or the plugin's limit where that is less.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Flags that end a call when one is raised: the host's, the plugin's, its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cuts<'a>([Option<&'a AtomicBool>; 3]);

impl<'a> Cuts<'a> {
    pub(crate) fn new(host: &'a AtomicBool, plugin: &'a AtomicBool, call: Option<&'a Cancel>) -> Self {
        Cuts([Some(host), Some(plugin), call.map(Cancel::flag)])
    }

    /// None that could be raised.
    pub(crate) fn none() -> Self {
        Cuts::default()
    }

    pub(crate) fn is_raised(self) -> bool {
        self.0.into_iter().flatten().any(|flag| flag.load(Ordering::Acquire))
    }
}
