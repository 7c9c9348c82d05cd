//! `prx:host/events`. What a plugin subscribes to is handed to its hook, by whoever manages it.

use airlock_core::{CapabilityKind, NamePattern, Need, PrxKind, ServiceError};
use wasmtime::component::LinkerInstance;

use super::{Guest, enter, refusal};
use crate::abi::Dialect;
use crate::abi::prx::is_a;
use crate::store::CallState;

const PERMISSION: &str = "events";

/// What is answered where nobody could hand over an event (PRX's words).
const SUBSCRIBES_ONLY_IN_HOOKS: &str = "event subscriptions require a hook-capable plugin event handler";
const NO_BUS: &str = "event bus is not configured";

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, _dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap("publish", |mut guest: Guest<'_>, (topic, payload): (String, String)| {
        enter(&mut guest, "events.publish")?;
        let state = guest.data_mut();
        told(state, "events.publish", |state| {
            let permit = state.permit(Need::Name(CapabilityKind::EventsPublish, &topic))?;
            match state.services().events.publish(&permit, &topic, payload.as_bytes()) {
                // Without a bus nobody listens, which is no failure of who publishes.
                Ok(_) | Err(ServiceError::Unavailable(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    })?;
    interface.func_wrap("subscribe", |mut guest: Guest<'_>, (pattern,): (String,)| {
        enter(&mut guest, "events.subscribe")?;
        told(guest.data_mut(), "events.subscribe", |state| subscribe(state, &pattern))
    })?;
    interface.func_wrap("unsubscribe", |mut guest: Guest<'_>, (id,): (u64,)| {
        enter(&mut guest, "events.unsubscribe")?;
        told(guest.data_mut(), "events.unsubscribe", |state| {
            state.subscribed.retain(|own| *own != id);
            match state.plugin.inbox().is_some_and(|inbox| inbox.unsubscribe(id)) {
                true => Ok(()),
                false => Err(ServiceError::NotFound(format!("subscription {id}"))),
            }
        })
    })
}

fn subscribe(state: &mut CallState, pattern: &str) -> Result<u64, ServiceError> {
    let topics: NamePattern = pattern.parse().map_err(ServiceError::Invalid)?;
    if topics.to_string().len() > airlock_core::EVENT_TOPIC {
        let reason = format!("a topic has 1 to {} bytes", airlock_core::EVENT_TOPIC);
        return Err(ServiceError::Invalid(reason));
    }
    let permit = state.permit(Need::Names(CapabilityKind::EventsSubscribe, &topics))?;
    if !is_a(state.plugin.shape(), PrxKind::Hook) {
        return Err(ServiceError::Unavailable(SUBSCRIBES_ONLY_IN_HOOKS.to_owned()));
    }
    let Some(inbox) = state.plugin.inbox() else {
        return Err(ServiceError::Unavailable(NO_BUS.to_owned()));
    };
    let subscription = match state.services().events.subscribe(&permit, &topics) {
        Err(ServiceError::Unavailable(_)) => return Err(ServiceError::Unavailable(NO_BUS.to_owned())),
        subscribed => subscribed?,
    };
    let id = inbox.subscribe(subscription);
    state.subscribed.push(id);
    Ok(id)
}

/// What came of it, as the plugin is told.
fn told<T>(
    state: &mut CallState,
    function: &'static str,
    work: impl FnOnce(&mut CallState) -> Result<T, ServiceError>,
) -> wasmtime::Result<(Result<T, String>,)> {
    match work(state) {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(refusal(state, function, PERMISSION, &error)?),)),
    }
}
