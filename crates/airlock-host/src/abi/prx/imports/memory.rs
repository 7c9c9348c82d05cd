//! `prx:host/memory`: what the application remembers.

use airlock_core::{CapabilityKind, MemoryEntry, Need, ServiceError};
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower};

use super::{Guest, enter, has, refusal};
use crate::abi::Dialect;
use crate::abi::prx::dialect::ENTRY_IS_TUPLE;
use crate::store::CallState;

const PERMISSION: &str = "memory";
const RECALL: &str = "recall";

/// Something that is remembered.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct Entry {
    id: String,
    text: String,
    category: String,
    importance: f64,
}

impl From<MemoryEntry> for Entry {
    fn from(entry: MemoryEntry) -> Self {
        let MemoryEntry { id, text, category, score } = entry;
        Entry { id, text, category, importance: score }
    }
}

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap_async("store", |mut guest: Guest<'_>, (text, category): (String, String)| {
        Box::new(async move {
            enter(&mut guest, "memory.store")?;
            let state = guest.data_mut();
            match store(state, &text, &category).await {
                Ok(id) => Ok((Ok(id),)),
                Err(error) => Ok((Err(told(state, "memory.store", &error)?),)),
            }
        })
    })?;
    match has(dialect, ENTRY_IS_TUPLE) {
        true => interface.func_wrap_async(RECALL, |mut guest: Guest<'_>, (query, limit): (String, u32)| {
            Box::new(async move {
                let found = recall(&mut guest, &query, limit).await?;
                let tuple = |Entry { id, text, category, importance }| (id, text, category, importance);
                Ok((found.map(|entries| entries.into_iter().map(tuple).collect::<Vec<_>>()),))
            })
        }),
        false => interface.func_wrap_async(RECALL, |mut guest: Guest<'_>, (query, limit): (String, u32)| {
            Box::new(async move { Ok((recall(&mut guest, &query, limit).await?,)) })
        }),
    }
}

async fn store(state: &mut CallState, text: &str, category: &str) -> Result<String, ServiceError> {
    let permit = state.permit(Need::Kind(CapabilityKind::Memory))?;
    MemoryEntry::check(text, category)?;
    state.services().memory.clone().store(&permit, text, category).await
}

async fn recall(
    guest: &mut Guest<'_>,
    query: &str,
    limit: u32,
) -> wasmtime::Result<Result<Vec<Entry>, String>> {
    enter(guest, "memory.recall")?;
    let state = guest.data_mut();
    let found = match state.permit(Need::Kind(CapabilityKind::Memory)) {
        Ok(permit) => state.services().memory.clone().recall(&permit, query, limit).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(entries) => Ok(Ok(entries.into_iter().map(Entry::from).collect())),
        Err(error) => Ok(Err(told(state, "memory.recall", &error)?)),
    }
}

/// As any refusal, but for what it keeps too much of.
fn told(state: &mut CallState, function: &'static str, error: &ServiceError) -> wasmtime::Result<String> {
    let refused = refusal(state, function, PERMISSION, error)?;
    Ok(match error {
        ServiceError::Full { .. } => error.to_string(),
        _ => refused,
    })
}
