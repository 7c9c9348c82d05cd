//! What fledge's host offers its plugins as imports of `fledge`, and what is added to it: `http`.
//!
//! Bytes are handed over as a pointer and a length. What a function comes to is received
//! afterwards; the function itself says how long it is. What is not granted is linked all the
//! same, and comes to what stands for a refusal.

use airlock_core::{LimitKind, ServiceError};
use serde_json::Value;
use wasmtime::{Caller, Linker};
use wasmtime_wasi::I32Exit;

use super::super::imports::{handed_over, memory_for};
use super::dialogue::Dialogue;
use super::message::{self, Message, Pair};
use super::work;
use crate::console::Shown;
use crate::guest;
use crate::store::CallState;

/// The module that they are imported from.
pub(super) const MODULE: &str = "fledge";

type Guest<'a> = Caller<'a, CallState>;

/// A pointer and a length.
type Span = (u32, u32);

/// Links them; `send` with a result where its plugins are written by the document, which has one.
pub(super) fn link(linker: &mut Linker<CallState>, send_returns: bool) -> wasmtime::Result<()> {
    match send_returns {
        true => linker.func_wrap_async(MODULE, "send", |mut guest: Guest<'_>, span: Span| {
            Box::new(async move { send(&mut guest, span).await.map(|()| 0_i32) })
        })?,
        false => linker.func_wrap_async(MODULE, "send", |mut guest: Guest<'_>, span: Span| {
            Box::new(async move { send(&mut guest, span).await })
        })?,
    };
    linker.func_wrap_async(MODULE, "recv", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move { receive(&mut guest, span).await })
    })?;
    linker.func_wrap(MODULE, "exit", |mut guest: Guest<'_>, code: i32| -> wasmtime::Result<()> {
        guest.data_mut().enter_host("exit")?;
        Err(I32Exit(code).into())
    })?;
    linker.func_wrap_async(MODULE, "exec", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move {
            let command = argument(&mut guest, "exec", span)?;
            let result = work::run(guest.data_mut(), command).await?;
            hold(&mut guest, &result)
        })
    })?;
    linker.func_wrap_async(MODULE, "store_set", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move {
            let pair: Pair = argument(&mut guest, "store_set", span)?;
            let state = guest.data_mut();
            match work::store(state, &pair).await {
                Ok(()) => Ok(()),
                Err(ServiceError::Denied(_)) => work::not_kept(state),
                Err(ServiceError::Invalid(reason)) => Err(state.bad_guest(reason)),
                Err(error) => {
                    state.tell("store_set", &error)?;
                    Err(state.bad_guest(error.to_string()))
                }
            }
        })
    })?;
    linker.func_wrap_async(MODULE, "store_get", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move {
            guest.data_mut().enter_host("store_get")?;
            let key = String::from_utf8_lossy(handed_over(&mut guest, span)?.0).into_owned();
            let result = work::load(guest.data_mut(), &key).await?;
            hold(&mut guest, &result)
        })
    })?;
    linker.func_wrap_async(MODULE, "metadata", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move {
            let keys: Value = argument(&mut guest, "metadata", span)?;
            // What is no list names nothing.
            let keys = keys.as_array().map(Vec::as_slice).unwrap_or_default();
            let keys: Vec<String> = keys.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let result = work::facts(guest.data_mut(), &keys).await?;
            hold(&mut guest, &result)
        })
    })?;
    linker.func_wrap_async(MODULE, "http", |mut guest: Guest<'_>, span: Span| {
        Box::new(async move {
            let fetch = argument(&mut guest, "http", span)?;
            let result = work::http(guest.data_mut(), fetch).await?;
            hold(&mut guest, &result)
        })
    })?;
    Ok(())
}

/// One message of the guest's.
async fn send(guest: &mut Guest<'_>, span: Span) -> wasmtime::Result<()> {
    guest.data_mut().enter_host("send")?;
    let (bytes, state) = handed_over(guest, span)?;
    say(state, bytes).await
}

/// One line of what the guest prints, which may be a message.
pub(super) async fn line(state: &mut CallState, line: &[u8]) -> wasmtime::Result<()> {
    match message::is_message(line) {
        true => say(state, line).await,
        false => state.show(Shown::Output(line)),
    }
}

async fn say(state: &mut CallState, bytes: &[u8]) -> wasmtime::Result<()> {
    let message: Message<'_> = match message::read(bytes) {
        Ok(message) => message,
        Err(reason) => return state.show(Shown::Warning(&format!("malformed message (dropped): {reason}"))),
    };
    let Some(response) = work::perform(state, message).await? else { return Ok(()) };
    let maximum = state.plugin.limits().value(LimitKind::Input);
    let dialogue = state.dialogue.get_or_insert_default();
    let asked = match &dialogue.stdin {
        Some(stdin) if (stdin.len() + response.len()) as u64 <= maximum => {
            stdin.write(&response);
            return Ok(());
        }
        Some(stdin) => (stdin.len() + response.len()) as u64,
        None => match dialogue.respond(response, maximum) {
            Ok(()) => return Ok(()),
            Err(waiting) => waiting,
        },
    };
    Err(state.halt_at_limit(LimitKind::Input, maximum, Some(asked)))
}

/// Gives the guest what waits for it, as far as it has room: how many bytes.
async fn receive(guest: &mut Guest<'_>, (at, most): Span) -> wasmtime::Result<i32> {
    let state = guest.data_mut();
    state.enter_host("recv")?;
    if i32::try_from(most).is_err() {
        return Err(state.bad_guest(format!("it has room for {} bytes", most.cast_signed())));
    }
    if most > 0 && state.dialogue.as_ref().is_some_and(|dialogue| dialogue.wants_init()) {
        let init = work::init(state).await?;
        dialogue(state).hold(init);
    }
    let memory = memory_for(guest)?;
    let (view, state) = memory.data_and_store_mut(&mut *guest);
    let Some(dialogue) = &mut state.dialogue else { return Ok(0) };
    let next = dialogue.next();
    let count = next.len().min(most as usize);
    match guest::write(view, at, &next[..count]) {
        Ok(()) => {
            dialogue.received(count);
            Ok(i32::try_from(count).unwrap_or(i32::MAX))
        }
        Err(outside) => Err(state.bad_guest(outside.reason("where it receives"))),
    }
}

fn dialogue(state: &mut CallState) -> &mut Dialogue {
    state.dialogue.get_or_insert_default()
}

/// Has the guest receive a result next: how long it is.
fn hold(guest: &mut Guest<'_>, result: &Value) -> wasmtime::Result<i32> {
    let (state, result) = (guest.data_mut(), result.to_string());
    let length = i32::try_from(result.len());
    let length =
        length.map_err(|_| state.bad_guest("what it asked for is longer than it can be told".to_owned()));
    dialogue(state).hold(result.into_bytes());
    length
}

/// JSON that the guest hands over to a function.
fn argument<T: serde::de::DeserializeOwned>(
    guest: &mut Guest<'_>,
    function: &'static str,
    span: Span,
) -> wasmtime::Result<T> {
    guest.data_mut().enter_host(function)?;
    let (bytes, state) = handed_over(guest, span)?;
    message::parse(bytes).map_err(|reason| state.bad_guest(format!("malformed argument: {reason}")))
}
