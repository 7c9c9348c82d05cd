//! What plugins publish, kept.

use std::sync::{Arc, Mutex};

use airlock_core::{Event, Events, NamePattern, Permit, Result, ServiceError, Subscription};

use super::lock;
use crate::service::EventBus;

/// What was published so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording(Arc<Mutex<Vec<Event>>>);

impl Recording {
    /// A bus of which what plugins publish is kept here.
    pub(super) fn of(&self, bus: EventBus) -> Recorded {
        Recorded { bus, recording: self.clone() }
    }

    pub(super) fn all(&self) -> Vec<Event> {
        lock(&self.0).clone()
    }
}

#[derive(Debug)]
pub(super) struct Recorded {
    bus: EventBus,
    recording: Recording,
}

impl Events for Recorded {
    fn publish(&self, permit: &Permit, topic: &str, payload: &[u8]) -> Result<usize, ServiceError> {
        let reached = self.bus.publish(permit, topic, payload)?;
        let publisher = Some(permit.caller().name.as_str().into());
        let (topic, payload, depth) = (topic.into(), payload.into(), permit.event_depth());
        lock(&self.recording.0).push(Event { topic, payload, publisher, depth });
        Ok(reached)
    }

    fn subscribe(
        &self,
        permit: &Permit,
        topics: &NamePattern,
    ) -> Result<Box<dyn Subscription>, ServiceError> {
        self.bus.subscribe(permit, topics)
    }
}
