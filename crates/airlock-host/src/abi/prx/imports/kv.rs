//! `prx:host/kv`. What a plugin keeps is kept for all of its instances, and beyond them.

use airlock_core::{CapabilityKind, KvChange, LimitKind, Need, ServiceError};
use wasmtime::component::LinkerInstance;

use super::{Guest, enter, has, refusal};
use crate::abi::Dialect;
use crate::abi::prx::dialect::{DELETE_GIVES_BOOL, SET_GIVES_NOTHING};
use crate::store::CallState;

const PERMISSION: &str = "kv";
const SET: &str = "set";
const DELETE: &str = "delete";

/// Keys that are asked for at once.
const PAGE: usize = 1000;

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap_async("get", |mut guest: Guest<'_>, (key,): (String,)| {
        Box::new(async move {
            enter(&mut guest, "kv.get")?;
            let state = guest.data_mut();
            match get(state, &key).await {
                Ok(value) => Ok((value,)),
                Err(error) => state.tell("kv.get", &error).map(|()| (None,)),
            }
        })
    })?;
    match has(dialect, SET_GIVES_NOTHING) {
        true => interface.func_wrap_async(SET, |mut guest: Guest<'_>, (key, value): (String, Vec<u8>)| {
            Box::new(async move { set(&mut guest, &key, &value).await.map(drop) })
        }),
        false => interface.func_wrap_async(SET, |mut guest: Guest<'_>, (key, value): (String, Vec<u8>)| {
            Box::new(async move { Ok((set(&mut guest, &key, &value).await?,)) })
        }),
    }?;
    match has(dialect, DELETE_GIVES_BOOL) {
        true => interface.func_wrap_async(DELETE, |mut guest: Guest<'_>, (key,): (String,)| {
            Box::new(async move { Ok((delete(&mut guest, &key).await?.unwrap_or_default(),)) })
        }),
        false => interface.func_wrap_async(DELETE, |mut guest: Guest<'_>, (key,): (String,)| {
            Box::new(async move { Ok((delete(&mut guest, &key).await?,)) })
        }),
    }?;
    interface.func_wrap_async("list-keys", |mut guest: Guest<'_>, (prefix,): (String,)| {
        Box::new(async move {
            enter(&mut guest, "kv.list-keys")?;
            let state = guest.data_mut();
            match keys(state, &prefix).await {
                Ok(keys) => Ok((keys,)),
                Err(error) => state.tell("kv.list-keys", &error).map(|()| (Vec::new(),)),
            }
        })
    })
}

async fn get(state: &mut CallState, key: &str) -> Result<Option<Vec<u8>>, ServiceError> {
    let permit = state.permit(Need::Kind(CapabilityKind::Kv))?;
    state.services().kv.clone().get(&permit, key).await
}

/// Keys, as many as an answer may have.
async fn keys(state: &mut CallState, prefix: &str) -> Result<Vec<String>, ServiceError> {
    let permit = state.permit(Need::Kind(CapabilityKind::Kv))?;
    let (kv, most) = (state.services().kv.clone(), permit.limits().value(LimitKind::Output));
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let after = all.last().map(String::as_str);
        let page = kv.keys(&permit, prefix, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        bytes += page.iter().map(|key| key.len() as u64).sum::<u64>();
        all.extend(page);
        if is_last {
            return Ok(all);
        }
        if bytes > most {
            return Err(ServiceError::Limit { limit: LimitKind::Output, maximum: most });
        }
    }
}

async fn set(guest: &mut Guest<'_>, key: &str, value: &[u8]) -> wasmtime::Result<Result<(), String>> {
    Ok(change(guest, "kv.set", KvChange::Set(key, value)).await?.map(drop))
}

async fn delete(guest: &mut Guest<'_>, key: &str) -> wasmtime::Result<Result<bool, String>> {
    change(guest, "kv.delete", KvChange::Delete(key)).await
}

/// Makes a change; whether its key was there.
async fn change(
    guest: &mut Guest<'_>,
    function: &'static str,
    change: KvChange<'_>,
) -> wasmtime::Result<Result<bool, String>> {
    enter(guest, function)?;
    let state = guest.data_mut();
    let made = match state.permit(Need::Kind(CapabilityKind::Kv)) {
        Ok(permit) => state.services().kv.clone().apply(&permit, &[change]).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(was_there) => Ok(Ok(was_there.first().copied().unwrap_or_default())),
        Err(error) => Ok(Err(refusal(state, function, PERMISSION, &error)?)),
    }
}
