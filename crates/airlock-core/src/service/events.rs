//! Events between plugins and the application.

use std::fmt;
use std::sync::Arc;

use super::{ServiceError, ServiceFuture};
use crate::{NamePattern, Permit};

/// Bytes that an event's payload may have (PRX's bound).
pub const EVENT_PAYLOAD: usize = 64 << 10;

/// Bytes that a topic may have, at least one (PRX's bound).
pub const EVENT_TOPIC: usize = 256;

/// How deep events may be published while others are handled, the first counted (PRX's bound).
pub const EVENT_DEPTH: u32 = 8;

/// Something that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about: `build.finished`.
    pub topic: Arc<str>,
    /// What it says.
    pub payload: Arc<[u8]>,
    /// Which plugin published it; none where the application did.
    pub publisher: Option<Arc<str>>,
    /// How many events are being handled one inside of another where this one was published: none, where
    /// it is nobody's answer to another. Below [`EVENT_DEPTH`].
    pub depth: u32,
}

/// Where events are published and received.
pub trait Events: Send + Sync + fmt::Debug {
    /// Publishes to everyone who subscribed, and says to how many. Nobody is waited for.
    ///
    /// # Errors
    /// A topic or payload that is too long; an event inside of so many others that there is no end to
    /// expect ([`Permit::event_depth`], [`EVENT_DEPTH`]).
    fn publish(&self, permit: &Permit, topic: &str, payload: &[u8]) -> Result<usize, ServiceError>;

    /// Receives what is published from now on.
    ///
    /// # Errors
    /// Where there are too many subscriptions.
    fn subscribe(&self, permit: &Permit, topics: &NamePattern)
    -> Result<Box<dyn Subscription>, ServiceError>;
}

/// Events on their way to one subscriber.
pub trait Subscription: Send + fmt::Debug {
    /// The next one, waited for.
    fn next(&mut self) -> ServiceFuture<'_, Event>;

    /// The next one, where it is there.
    fn try_next(&mut self) -> Option<Event>;

    /// How many were lost since the last time that this was asked, because they were not
    /// taken fast enough.
    fn missed(&mut self) -> u64;
}
