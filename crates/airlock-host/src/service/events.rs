//! Events inside of one process.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Poll, Waker};

use airlock_core::{
    CapabilityKind, EVENT_DEPTH, EVENT_PAYLOAD, EVENT_TOPIC, Event, Events, Identity, NamePattern, Need,
    Permit, ServiceError, ServiceFuture, Subscription,
};

/// Subscriptions that there may be at once (PRX's bound).
const SUBSCRIPTIONS: usize = 4096;

/// Subscriptions that one plugin may have of these, so that it leaves some to others.
const OF_ONE: usize = 256;

/// Events that wait for one subscriber (PRX's bound).
const QUEUED: usize = 1024;

/// Bytes of topics and payloads that wait for one subscriber. Events that several wait for
/// count for each, and are in memory once.
const QUEUED_BYTES: usize = 4 << 20;

/// The [`Events`] that come with Airlock: everyone who subscribed gets what is published from
/// then on, also what they publish themselves. Clones are one bus.
///
/// Nobody is waited for. For a subscriber who does not take its events in time up to 1024 of
/// them wait, or 4 MiB; beyond that the oldest are lost, and it is told how many
/// ([`Subscription::missed`]). There may be 4096 subscriptions, 256 of them one plugin's. A topic has 1 to 256 bytes
/// and neither spaces nor control characters, a payload up to 64 KiB.
///
/// What a plugin publishes while it handles an event is one inside of that, up to 8 deep
/// ([`EVENT_DEPTH`]): plugins that answer each other come to an end.
///
/// What a plugin may receive is decided when it subscribes. A subscription lives until it is
/// dropped, so whoever holds it for a plugin drops it when the grant is taken back. Once the
/// bus is gone, what waits can still be taken.
#[derive(Debug, Clone, Default)]
pub struct EventBus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queues: RwLock<Vec<Arc<Queue>>>,
}

/// What waits for one subscriber.
struct Queue {
    /// The plugin that it is for; none where it is the application.
    owner: Option<Identity>,
    topics: NamePattern,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl EventBus {
    /// A bus that nobody listens to yet.
    pub fn new() -> Self {
        EventBus::default()
    }

    /// Publishes for the application, and says to how many.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a topic or payload that is none.
    pub fn publish_as_host(&self, topic: &str, payload: &[u8]) -> Result<usize, ServiceError> {
        self.send(None, topic, payload, 0)
    }

    /// Subscribes the application.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`] where there are too many subscriptions.
    pub fn subscribe_as_host(&self, topics: &NamePattern) -> Result<Box<dyn Subscription>, ServiceError> {
        self.add(None, topics)
    }

    /// Subscriptions that there are.
    pub fn subscriptions(&self) -> usize {
        self.0.queues.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn send(
        &self,
        publisher: Option<&str>,
        topic: &str,
        payload: &[u8],
        depth: u32,
    ) -> Result<usize, ServiceError> {
        check(topic, payload)?;
        let queues = self.0.queues.read().unwrap_or_else(PoisonError::into_inner);
        // Made for the first who wants it, and shared by all.
        let mut event = None;
        let mut wakers = Vec::new();
        let mut reached = 0;
        for queue in queues.iter().filter(|queue| queue.topics.permits(topic)) {
            let event = event.get_or_insert_with(|| Event {
                topic: topic.into(),
                payload: payload.into(),
                publisher: publisher.map(Arc::from),
                depth,
            });
            wakers.extend(queue.lock().push(event.clone()));
            reached += 1;
        }
        drop(queues);
        // Waking may run anything, subscribing included.
        wakers.into_iter().for_each(Waker::wake);
        Ok(reached)
    }

    fn add(
        &self,
        owner: Option<&Identity>,
        topics: &NamePattern,
    ) -> Result<Box<dyn Subscription>, ServiceError> {
        let mut queues = self.0.queues.write().unwrap_or_else(PoisonError::into_inner);
        let too_many = |most: usize, whose: &str| {
            let reason = format!("there are {most} subscriptions{whose} already, which is the most");
            Err(ServiceError::Unavailable(reason))
        };
        if queues.len() >= SUBSCRIPTIONS {
            return too_many(SUBSCRIPTIONS, "");
        }
        let of_owner = || queues.iter().filter(|queue| queue.owner.as_ref() == owner).count();
        if owner.is_some() && of_owner() >= OF_ONE {
            return too_many(OF_ONE, " of this plugin");
        }
        let queue =
            Arc::new(Queue { owner: owner.cloned(), topics: topics.clone(), waiting: Mutex::default() });
        queues.push(queue.clone());
        Ok(Box::new(Subscriber { queue, bus: Arc::downgrade(&self.0) }))
    }
}

impl Events for EventBus {
    fn publish(&self, permit: &Permit, topic: &str, payload: &[u8]) -> Result<usize, ServiceError> {
        permit.check()?;
        // Said before a grant is looked for: the text of a bad topic is no capability.
        check(topic, payload)?;
        allowed(permit, Need::Name(CapabilityKind::EventsPublish, topic))?;
        let depth = permit.event_depth();
        if depth >= EVENT_DEPTH {
            let reason = format!("events are answered with events {EVENT_DEPTH} deep, which is the most");
            return Err(ServiceError::Failed(reason));
        }
        self.send(Some(&permit.caller().name), topic, payload, depth)
    }

    fn subscribe(
        &self,
        permit: &Permit,
        topics: &NamePattern,
    ) -> Result<Box<dyn Subscription>, ServiceError> {
        permit.check()?;
        allowed(permit, Need::Names(CapabilityKind::EventsSubscribe, topics))?;
        self.add(Some(permit.caller()), topics)
    }
}

/// Whoever made the permit has asked this. What is published must not depend on it.
fn allowed(permit: &Permit, need: Need<'_>) -> Result<(), ServiceError> {
    match permit.policy().meets(need) {
        true => Ok(()),
        false => Err(ServiceError::Denied(need.capability())),
    }
}

fn check(topic: &str, payload: &[u8]) -> Result<(), ServiceError> {
    let invalid = |reason: String| Err(ServiceError::Invalid(reason));
    if topic.is_empty() || topic.len() > EVENT_TOPIC {
        return invalid(format!("a topic has 1 to {EVENT_TOPIC} bytes, not {}", topic.len()));
    }
    if topic.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return invalid("a topic has neither spaces nor control characters".to_owned());
    }
    if payload.len() > EVENT_PAYLOAD {
        return invalid(format!("an event has up to {EVENT_PAYLOAD} bytes, not {}", payload.len()));
    }
    Ok(())
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing runs under the lock that could panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Adds an event, and gives who waits for it.
    fn push(&mut self, event: Event) -> Option<Waker> {
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > QUEUED || self.bytes > QUEUED_BYTES {
            self.pop();
            self.missed = self.missed.saturating_add(1);
        }
        self.waker.take()
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        Some(event)
    }
}

fn size(event: &Event) -> usize {
    event.topic.len() + event.payload.len()
}

/// One who receives.
struct Subscriber {
    queue: Arc<Queue>,
    bus: Weak<Shared>,
}

impl Subscription for Subscriber {
    fn next(&mut self) -> ServiceFuture<'_, Event> {
        Box::pin(poll_fn(|context| {
            let mut waiting = self.queue.lock();
            if let Some(event) = waiting.pop() {
                return Poll::Ready(Ok(event));
            }
            if waiting.closed {
                let reason = "there are no more events: their bus is gone".to_owned();
                return Poll::Ready(Err(ServiceError::Unavailable(reason)));
            }
            let before = waiting.waker.replace(context.waker().clone());
            drop(waiting);
            // Dropping a waker may run anything.
            drop(before);
            Poll::Pending
        }))
    }

    fn try_next(&mut self) -> Option<Event> {
        self.queue.lock().pop()
    }

    fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.queue.lock().missed)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let Some(bus) = self.bus.upgrade() else { return };
        let mut queues = bus.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for queue in self.queues.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let waker = {
                let mut waiting = queue.lock();
                waiting.closed = true;
                waiting.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("EventBus").field("subscriptions", &queues.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.queue.lock();
        f.debug_struct("Subscription")
            .field("topics", &self.queue.topics)
            .field("waiting", &waiting.events.len())
            .finish_non_exhaustive()
    }
}
