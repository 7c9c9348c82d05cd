//! What CortexPrism's host offers its plugins as imports of `env`, for both of its ABIs: memory, the
//! log, configuration, state, HTTP, time and random numbers.
//!
//! Texts come as a pointer and a length, and end at the first NUL. Texts go into a buffer whose
//! capacity the guest has put where the length will be, 0 standing for 64 KiB; what does not
//! fit is cut off. (Its `wasm-plugin.h`, and what its runtime does beyond that.)
//!
//! Until 0.51 the functions had no `host_` before their names, and a request no headers. Those are
//! here as well, for the ABI that had them.

use std::borrow::Cow;
use std::time::Duration;

use airlock_core::{CapabilityKind, HttpRequest, KvChange, LogLevel, Need, ServiceError, ValueType, visible};
use airlock_engine::{Shape, Slot};
use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::super::{Dialect, Fetched, fetch};
use super::{handed_over, link_heap, memory_for, put};
use crate::guest;
use crate::store::CallState;

/// The module that they are imported from.
const MODULE: &str = "env";

/// Bytes of a text that are read, and a buffer's capacity where the guest says 0.
const TEXT: u32 = 65_536;

/// Bytes of a response's body that are handed over.
const BODY: usize = 65_528;

/// How long a request may take.
const HTTP_TIME: Duration = Duration::from_secs(30);

/// What the guest is told on success and failure.
const FINE: i32 = 0;
const NOT_FINE: i32 = -1;

type Guest<'a> = Caller<'a, CallState>;

/// A pointer and a length.
type Span = (u32, u32);

/// What a module of the tool ABI exports to run a tool.
pub(in super::super) const EXECUTE: &str = "plugin_execute_tool";

/// Whether a module is written for the tool ABI, well or not.
pub(in super::super) fn is_of_tools(shape: &Shape) -> bool {
    shape.function(EXECUTE).is_some()
}

/// Pages of 64 KiB that the memory has which is imported from here: at the start and at most. A module
/// is written for as many, whatever it declares. (`wasm-runtime.ts`.)
pub(in super::super) const PAGES: (u64, u64) = (256, 512);

/// `host_get_time_ms` gives an `i64` by the header, and what a guest declares by the host it was
/// written for.
const TIME: &str = "host_get_time_ms";
const TIME_F64: Dialect = Dialect(1);
const TIME_I32: Dialect = Dialect(2);

/// The set of imports that a module is for.
pub(in super::super) fn dialect(shape: &Shape) -> Dialect {
    let results = shape.imported_function(MODULE, TIME).map(|ty| ty.results.as_slice());
    match results {
        Some([Slot::Number(ValueType::F64)]) => TIME_F64,
        Some([Slot::Number(ValueType::I32)]) => TIME_I32,
        _ => Dialect::default(),
    }
}

/// Whether a module imports what the ABI before this one had.
pub(in super::super) fn is_before_0_52(shape: &Shape) -> bool {
    OLD.iter().any(|name| shape.imports_item(MODULE, name))
}

/// The functions that it had.
const OLD: [&str; 5] = ["log", "http_request", "get_config", "set_state", "get_state"];

/// Whether calling this import may wait.
pub(in super::super) fn waits(module: &str, name: &str) -> bool {
    let name = name.strip_prefix("host_").unwrap_or(name);
    module == MODULE && matches!(name, "http_request" | "set_state" | "get_state")
}

pub(in super::super) fn link(linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "host_get_abi_version", || 1_i32)?;
    link_heap(linker)?;
    linker.func_wrap(MODULE, "host_random", |mut guest: Guest<'_>, out: u32, length: u32| {
        enter(&mut guest, "host_random")?;
        let mut numbers = vec![0; length.min(TEXT) as usize];
        guest.data_mut().fill_random(&mut numbers)?;
        put(&mut guest, out, &numbers)
    })?;
    match dialect {
        // Exact up to the year 287396.
        TIME_F64 => linker.func_wrap(MODULE, TIME, |mut guest: Guest<'_>| Ok(now(&mut guest)? as f64))?,
        TIME_I32 => linker.func_wrap(MODULE, TIME, |mut guest: Guest<'_>| Ok(now(&mut guest)? as i32))?,
        _ => linker.func_wrap(MODULE, TIME, |mut guest: Guest<'_>| now(&mut guest))?,
    };
    linker.func_wrap_async(MODULE, "host_http_request", |guest: Guest<'_>, arguments: HttpArguments| {
        Box::new(http(guest, arguments))
    })?;
    link_named(linker, &NAMES)
}

/// What the ABI before this one had.
pub(in super::super) fn link_old(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type Arguments = (u32, u32, u32, u32, u32, u32, u32, u32, u32);
    linker.func_wrap_async(MODULE, "http_request", |guest: Guest<'_>, arguments: Arguments| {
        let (method, method_length, url, url_length, body, body_length, status, out, length) = arguments;
        Box::new(http(
            guest,
            (method, method_length, url, url_length, body, body_length, 0, 0, status, out, length),
        ))
    })?;
    link_named(linker, &OLD_NAMES)
}

/// The names of the functions that have had two.
struct Names {
    log: &'static str,
    get_config: &'static str,
    set_state: &'static str,
    get_state: &'static str,
}

static NAMES: Names = Names {
    log: "host_log",
    get_config: "host_get_config",
    set_state: "host_set_state",
    get_state: "host_get_state",
};

static OLD_NAMES: Names = Names { log: OLD[0], get_config: OLD[2], set_state: OLD[3], get_state: OLD[4] };

fn link_named(linker: &mut Linker<CallState>, names: &'static Names) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, names.log, |mut guest: Guest<'_>, at: u32, length: u32| {
        enter(&mut guest, names.log)?;
        let message = text(&mut guest, (at, length))?;
        guest.data_mut().log(LogLevel::Info, &message).map(drop)
    })?;
    linker.func_wrap(
        MODULE,
        names.get_config,
        |mut guest: Guest<'_>, key: u32, key_length: u32, out: u32, out_length: u32| {
            enter(&mut guest, names.get_config)?;
            let key = text(&mut guest, (key, key_length))?;
            let value = guest.data_mut().config(&key);
            give(&mut guest, (out, out_length), value.ok().flatten().filter(|value| !value.is_empty()))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        names.set_state,
        move |mut guest: Guest<'_>, (key, key_length, value, value_length): (u32, u32, u32, u32)| {
            Box::new(async move {
                enter(&mut guest, names.set_state)?;
                let key = text(&mut guest, (key, key_length))?;
                let value = bytes(&mut guest, (value, value_length))?;
                let state = guest.data_mut();
                let kept = match state.permit(Need::Kind(CapabilityKind::Kv)) {
                    Ok(permit) => {
                        state.services().kv.apply(&permit, &[KvChange::Set(&key, &value)]).await.map(|_| ())
                    }
                    Err(error) => Err(error),
                };
                // It has no way to say that it failed.
                kept.or_else(|error| guest.data_mut().tell(names.set_state, &error))
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        names.get_state,
        move |mut guest: Guest<'_>, (key, key_length, out, out_length): (u32, u32, u32, u32)| {
            Box::new(async move {
                enter(&mut guest, names.get_state)?;
                let key = text(&mut guest, (key, key_length))?;
                let state = guest.data_mut();
                let found = match state.permit(Need::Kind(CapabilityKind::Kv)) {
                    Ok(permit) => state.services().kv.get(&permit, &key).await,
                    Err(error) => Err(error),
                };
                let found = match found {
                    Ok(found) => found,
                    Err(error) => guest.data_mut().tell(names.get_state, &error).map(|()| None)?,
                };
                give(&mut guest, (out, out_length), found)
            })
        },
    )?;
    Ok(())
}

/// Milliseconds since 1970.
fn now(guest: &mut Guest<'_>) -> wasmtime::Result<i64> {
    enter(guest, TIME)?;
    let nanoseconds = guest.data_mut().realtime();
    Ok(i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX))
}

/// Method, URL, body and headers, each with its length; where the status, the body, and the
/// body's length go.
type HttpArguments = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);

async fn http(mut guest: Guest<'_>, arguments: HttpArguments) -> wasmtime::Result<i32> {
    let (
        method,
        method_length,
        url,
        url_length,
        body,
        body_length,
        headers,
        headers_length,
        status,
        out,
        length,
    ) = arguments;
    enter(&mut guest, "host_http_request")?;
    let method = text(&mut guest, (method, method_length))?;
    let url = text(&mut guest, (url, url_length))?;
    let body = bytes(&mut guest, (body, body_length))?;
    let headers = text(&mut guest, (headers, headers_length))?;
    let answer = match request(&method, &url, body, &headers) {
        Ok(request) => fetch(guest.data_mut(), request).await,
        Err(error) => Err(error),
    };
    let (code, answer_status, text) = match answer {
        Ok(Fetched { status, body, .. }) => (FINE, status, body),
        Err(error) => {
            let (status, text) = refusal(&error);
            guest.data_mut().tell("host_http_request", &error)?;
            (NOT_FINE, status, Bytes::from(text))
        }
    };
    put(&mut guest, status, &u32::from(answer_status).to_le_bytes())?;
    give(&mut guest, (out, length), Some(&text[..text.len().min(BODY)]))?;
    Ok(code)
}

/// The request that a guest describes; its headers are a JSON object of texts.
fn request(method: &str, url: &str, body: Vec<u8>, headers: &str) -> Result<HttpRequest, ServiceError> {
    if url.is_empty() {
        return Err(ServiceError::Invalid("empty URL".to_owned()));
    }
    let method = if method.is_empty() { "GET" } else { method };
    let mut request = HttpRequest::new(method, url)?.body(body).timeout(HTTP_TIME);
    if !headers.trim().is_empty() {
        let headers: std::collections::BTreeMap<String, String> = serde_json::from_str(headers)
            .map_err(|_| ServiceError::Invalid("the headers are no JSON object of texts".to_owned()))?;
        for (name, value) in &headers {
            request = request.header(name, value.as_bytes())?;
        }
    }
    Ok(request)
}

/// The status and text that its runtime has for a request that was not made.
fn refusal(error: &ServiceError) -> (u16, String) {
    match error {
        ServiceError::Denied(_) => (403, "host: network:fetch permission denied".to_owned()),
        ServiceError::Invalid(reason) => (400, format!("host: {}", visible(reason, false))),
        ServiceError::TimedOut => (408, "host: request timeout or failed".to_owned()),
        other => (502, format!("host: fetch error: {other}")),
    }
}

fn enter(guest: &mut Guest<'_>, function: &'static str) -> wasmtime::Result<()> {
    guest.data_mut().enter_host(function)
}

fn bytes(guest: &mut Guest<'_>, span: Span) -> wasmtime::Result<Vec<u8>> {
    Ok(handed_over(guest, span)?.0.to_vec())
}

fn text(guest: &mut Guest<'_>, (at, length): Span) -> wasmtime::Result<String> {
    let bytes = bytes(guest, (at, length.min(TEXT)))?;
    let end = memchr::memchr(0, &bytes).unwrap_or(bytes.len());
    let text: Cow<'_, str> = String::from_utf8_lossy(&bytes[..end]);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// Gives the guest a text, or that there is none.
fn give(
    guest: &mut Guest<'_>,
    (out, length): Span,
    value: Option<impl AsRef<[u8]>>,
) -> wasmtime::Result<i32> {
    let Some(value) = value else {
        put(guest, length, &0_u32.to_le_bytes())?;
        return Ok(NOT_FINE);
    };
    let memory = memory_for(guest)?;
    let capacity = guest::read_u32(guest::view(&*guest, &memory), length);
    let capacity = capacity.filter(|capacity| *capacity > 0).unwrap_or(TEXT) as usize;
    let value = value.as_ref();
    let value = &value[..value.len().min(capacity)];
    put(guest, out, value)?;
    put(guest, length, &u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    Ok(FINE)
}
