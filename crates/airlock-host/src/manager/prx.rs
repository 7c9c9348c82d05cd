//! What is done for a managed plugin of PRX's beside its calls: it is told of events, and run at its times.
//!
//! A hook has a thread that hands events to it, one after the other, since nobody's executor is there to
//! do so. What cannot be handed over, and what it answers with an error, is logged and nothing else.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use airlock_core::{AbiId, CapabilityKind, Gate, Need, PrxKind, PrxManifest, ServiceError};
use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::managed::{Inner, Managed};
use crate::abi::prx::is_a;
use crate::answer::Input;
use crate::bounded::block_on;
use crate::cancel::CallOptions;
use crate::inbox::{Arrived, Inbox};
use crate::plugin::Plugin;
use crate::prx::{ON_EVENT, RUN};
use crate::schedule;

/// What a managed plugin has beside its calls, until it is dropped.
#[derive(Debug)]
pub(super) struct Attached {
    inbox: Option<Arc<Inbox>>,
    gone: Arc<AtomicBool>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        if let Some(inbox) = &self.inbox {
            inbox.close();
        }
    }
}

/// Sees to a plugin that was put under a name, where it is PRX's. No call of it has begun.
pub(super) fn attach(managed: &Managed, plugin: &Plugin) -> Option<Attached> {
    if plugin.abi() != AbiId::Prx {
        return None;
    }
    let gone = Arc::new(AtomicBool::new(false));
    let inbox = is_a(plugin.shape(), PrxKind::Hook).then(|| Arc::new(Inbox::default()));
    if let Some(inbox) = &inbox {
        plugin.set_inbox(inbox.clone());
        subscribe(plugin, inbox);
        tell(managed, inbox.clone());
    }
    let prx = plugin.manifest().and_then(|manifest| manifest.prx.as_ref());
    let schedules =
        prx.into_iter().flat_map(|prx| prx.of(PrxKind::Cron)).filter_map(|cron| cron.schedule.as_deref());
    for schedule in schedules {
        match schedule::read(schedule) {
            Ok(cron) => Clock {
                managed: Arc::downgrade(managed.inner()),
                cron,
                gone: gone.clone(),
                runs: Arc::default(),
            }
            .wind(),
            Err(error) => tracing::warn!(plugin = %managed.name(), %error, "it never runs by itself"),
        }
    }
    Some(Attached { inbox, gone })
}

// ---- Events.

/// Subscribes to what the manifest names, as far as it is granted.
fn subscribe(plugin: &Plugin, inbox: &Inbox) {
    let prx = plugin.manifest().and_then(|manifest| manifest.prx.as_ref());
    let hooks = prx.into_iter().flat_map(|prx| prx.of(PrxKind::Hook));
    for topics in hooks.flat_map(airlock_core::PrxCapability::topics) {
        let gate = Gate::new(plugin.caller().clone(), plugin.limits().clone().into());
        let deadline = Instant::now() + Duration::from_secs(1);
        let subscribed = gate
            .permit(&plugin.policy(), deadline, Need::Names(CapabilityKind::EventsSubscribe, &topics))
            .and_then(|permit| plugin.host().0.services.events.subscribe(&permit, &topics));
        match subscribed {
            Ok(subscription) => inbox.subscribe_by_manifest(subscription),
            Err(ServiceError::Denied(needed)) => {
                tracing::info!(plugin = plugin.name(), %needed, "it is not told of events that are not granted");
            }
            Err(error) => tracing::warn!(plugin = plugin.name(), %topics, %error, "it is not told of events"),
        }
    }
}

/// Starts what hands events over, which ends when the inbox is closed.
fn tell(managed: &Managed, inbox: Arc<Inbox>) {
    let weak = Arc::downgrade(managed.inner());
    let thread = std::thread::Builder::new().name("airlock-hook".to_owned());
    let started = thread.spawn(move || {
        while let Some(arrived) = block_on(poll_fn(|context| inbox.poll_next(context))) {
            let Some(inner) = weak.upgrade() else { return };
            hand_over(&Managed::of(inner), &arrived);
            let missed = inbox.missed();
            if missed > 0 {
                tracing::warn!(missed, "events were lost, which came faster than a hook took them");
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!(plugin = %managed.name(), %error, "there is no thread to tell it of events");
    }
}

/// Calls the hook with an event, where it still may receive that.
fn hand_over(managed: &Managed, Arrived { event, by_manifest }: &Arrived) {
    let topic = &*event.topic;
    if !managed.plugin().policy().meets(Need::Name(CapabilityKind::EventsSubscribe, topic)) {
        return;
    }
    // A hook knows what an agent does by its short names; a subscriber gets what is on the bus.
    let name = match by_manifest {
        true => topic.strip_prefix(PrxManifest::LIFECYCLE).unwrap_or(topic),
        false => topic,
    };
    let payload = String::from_utf8_lossy(&event.payload);
    let input = Input::json(&json!({ "event": name, "payload-json": payload }));
    let options = CallOptions { event_depth: Some(event.depth), ..CallOptions::new() };
    let told = input.and_then(|input| managed.invoke_blocking_with(ON_EVENT, input, &options));
    if let Err(error) = told {
        tracing::warn!(plugin = %managed.name(), topic, %error, "a hook failed");
    }
}

// ---- Times.

/// The longest time between looks at the clock of the wall, which may be set.
const LOOK: Duration = Duration::from_secs(60);

/// One schedule of a managed plugin.
struct Clock {
    managed: Weak<Inner>,
    cron: Cron,
    gone: Arc<AtomicBool>,
    /// Whether a run of it has not ended.
    runs: Arc<AtomicBool>,
}

impl Clock {
    /// Waits for the next time.
    fn wind(self) {
        let now = Timestamp::now();
        match self.cron.find_next_occurrence(&now.to_zoned(TimeZone::UTC), false) {
            Ok(next) => self.wait(next.timestamp()),
            // Such as the 30th of February.
            Err(error) => tracing::warn!(%error, "a schedule never comes"),
        }
    }

    fn wait(self, due: Timestamp) {
        let Some(inner) = self.managed.upgrade() else { return };
        let rest = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
        inner.keeper().at(Instant::now() + rest.min(LOOK), move || self.strike(due));
    }

    fn strike(self, due: Timestamp) {
        if self.gone.load(Ordering::Acquire) {
            return;
        }
        if Timestamp::now() < due {
            return self.wait(due);
        }
        self.run();
        self.wind();
    }

    /// Runs it on a thread of its own. One that still runs is not run a second time.
    fn run(&self) {
        let Some(inner) = self.managed.upgrade() else { return };
        let (managed, runs) = (Managed::of(inner), self.runs.clone());
        if runs.swap(true, Ordering::AcqRel) {
            tracing::warn!(plugin = %managed.name(), "it still runs, and is not run again");
            return;
        }
        let ended = Ended(runs);
        let thread = std::thread::Builder::new().name("airlock-cron".to_owned());
        let started = thread.spawn(move || {
            let _ended = ended;
            match managed.invoke_blocking(RUN, Input::Json("[]".to_owned())) {
                Ok(outcome) => {
                    let said = outcome.value.to_json_text();
                    tracing::info!(plugin = %managed.name(), said, "ran at its time");
                }
                Err(error) => tracing::warn!(plugin = %managed.name(), %error, "failed at its time"),
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "there is no thread to run a plugin at its time");
        }
    }
}

/// Says that a run has ended, however it did.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
