//! What MoFA's documents promise its plugins as imports of `env`: log, configuration, messages, tools,
//! kept data, time, random numbers, memory and HTTP.
//!
//! The names and types are those of its table of host functions, of which its host links only some.
//! What they mean is settled here. A text or bytes come as a pointer and a length. What is given back
//! is a number: 0 or more where all went well, and a [status](Status) below 0 where not. Where bytes
//! are given back too, the last parameter is the address of two `u32`, which become a pointer and a
//! length: memory like that of `host_alloc`, for the guest to give back with `host_free`. Only
//! `host_storage_get` has a buffer of the guest's and its capacity instead, and gives the length that
//! there is; what does not fit is not written.

use std::time::Duration;

use airlock_core::{CapabilityKind, HttpRequest, KvChange, LogLevel, Need, ServiceError, ValueType};
use airlock_engine::{Shape, Signature};
use serde::{Deserialize, Serialize};
use wasmtime::{Caller, Linker};

use super::super::{Dialect, Fetched, fetch};
use super::{handed_over, link_heap, put, take};
use crate::store::CallState;

/// The module that they are imported from.
const MODULE: &str = "env";

/// Random bytes of one call.
const RANDOM: u32 = 65_536;

/// How long a request may take.
const HTTP_TIME: Duration = Duration::from_secs(30);

type Guest<'a> = Caller<'a, CallState>;

/// What a guest is told that did not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Status {
    Fine = 0,
    /// There is no such key, or tool.
    NotFound = -1,
    /// The capability is not granted.
    Denied = -2,
    /// What was handed over makes no sense.
    Invalid = -3,
    /// Whoever was asked failed.
    Failed = -4,
    /// No more may be kept, or used in this call.
    Full = -5,
    /// It took too long.
    TimedOut = -6,
}

impl From<&ServiceError> for Status {
    fn from(error: &ServiceError) -> Self {
        match error {
            ServiceError::Denied(_) => Status::Denied,
            ServiceError::Invalid(_) => Status::Invalid,
            ServiceError::NotFound(_) => Status::NotFound,
            ServiceError::Full { .. } | ServiceError::Limit { .. } => Status::Full,
            ServiceError::TimedOut => Status::TimedOut,
            _ => Status::Failed,
        }
    }
}

/// `host_log` gives a number by what MoFA's host links, and nothing by its table.
const LOG: &str = "host_log";
const LOG_GIVES_NOTHING: Dialect = Dialect(1);

/// The functions that CortexPrism's plugins, whose names are alike, do not import by these types.
const ONLY_HERE: [(&str, &[ValueType], &[ValueType]); 13] = {
    use ValueType::{I32, I64};
    [
        (LOG, &[I32; 3], &[I32]),
        (LOG, &[I32; 3], &[]),
        ("host_get_config", &[I32; 3], &[I32]),
        ("host_set_config", &[I32; 4], &[I32]),
        ("host_send_message", &[I32; 4], &[I32]),
        ("host_call_tool", &[I32; 5], &[I32]),
        ("host_storage_get", &[I32; 4], &[I32]),
        ("host_storage_set", &[I32; 4], &[I32]),
        ("host_storage_delete", &[I32; 2], &[I32]),
        ("host_now_ms", &[], &[I64]),
        ("host_random_bytes", &[I32; 2], &[I32]),
        ("host_sleep_ms", &[I64], &[]),
        ("host_http_request", &[I32; 3], &[I32]),
    ]
};

/// The first function that a module imports and that only MoFA has by its type.
pub(in super::super) fn only_here(shape: &Shape) -> Option<&'static str> {
    let imports = |(name, params, results): &&(&'static str, &[ValueType], &[ValueType])| {
        shape.imported_function(MODULE, name).is_some_and(|ty: &Signature| ty.is(params, results))
    };
    ONLY_HERE.iter().find(imports).map(|(name, ..)| *name)
}

/// The set of imports that a module is for.
pub(in super::super) fn dialect(shape: &Shape) -> Dialect {
    let results = shape.imported_function(MODULE, LOG).map(|ty| ty.results.as_slice());
    match results {
        Some([]) => LOG_GIVES_NOTHING,
        Some([_, ..]) | None => Dialect::default(),
    }
}

/// Whether calling this import may wait.
pub(in super::super) fn waits(module: &str, name: &str) -> bool {
    const WAITING: [&str; 6] = [
        "host_call_tool",
        "host_storage_get",
        "host_storage_set",
        "host_storage_delete",
        "host_sleep_ms",
        "host_http_request",
    ];
    module == MODULE && WAITING.contains(&name)
}

pub(in super::super) fn link(linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    link_heap(linker)?;
    match dialect {
        LOG_GIVES_NOTHING => {
            linker.func_wrap(MODULE, LOG, |mut guest: Guest<'_>, level: u32, at: u32, length: u32| {
                log(&mut guest, level, (at, length)).map(drop)
            })?
        }
        _ => linker.func_wrap(MODULE, LOG, |mut guest: Guest<'_>, level: u32, at: u32, length: u32| {
            log(&mut guest, level, (at, length))
        })?,
    };
    linker.func_wrap(MODULE, "host_now_ms", |mut guest: Guest<'_>| {
        enter(&mut guest, "host_now_ms")?;
        let nanoseconds = guest.data_mut().realtime();
        wasmtime::Result::Ok(i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX))
    })?;
    linker.func_wrap(MODULE, "host_random_bytes", |mut guest: Guest<'_>, at: u32, length: u32| {
        enter(&mut guest, "host_random_bytes")?;
        if length > RANDOM {
            return Ok(Status::Invalid as i32);
        }
        let mut numbers = vec![0; length as usize];
        guest.data_mut().fill_random(&mut numbers)?;
        put(&mut guest, at, &numbers).map(|()| Status::Fine as i32)
    })?;
    linker.func_wrap_async(MODULE, "host_sleep_ms", |mut guest: Guest<'_>, (milliseconds,): (i64,)| {
        Box::new(async move {
            enter(&mut guest, "host_sleep_ms")?;
            // Less than nothing is nothing.
            let duration = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
            guest.data_mut().sleep(duration).await;
            wasmtime::Result::Ok(())
        })
    })?;
    link_config(linker)?;
    link_storage(linker)?;
    link_others(linker)
}

fn log(guest: &mut Guest<'_>, level: u32, span: Span) -> wasmtime::Result<i32> {
    enter(guest, LOG)?;
    let Ok(message) = text(guest, span)? else { return Ok(Status::Invalid as i32) };
    let level = match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        _ => LogLevel::Error,
    };
    match guest.data_mut().log(level, &message)? {
        true => Ok(Status::Fine as i32),
        false => Ok(Status::Denied as i32),
    }
}

fn link_config(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    const GET: &str = "host_get_config";
    const SET: &str = "host_set_config";
    linker.func_wrap(MODULE, GET, |mut guest: Guest<'_>, key: u32, length: u32, out: u32| {
        enter(&mut guest, GET)?;
        let Ok(key) = text(&mut guest, (key, length))? else { return Ok(Status::Invalid as i32) };
        match guest.data_mut().config(&key) {
            Ok(Some(value)) => give(&mut guest, out, value.as_bytes()),
            Ok(None) => Ok(Status::NotFound as i32),
            Err(error) => failed(&mut guest, GET, &error),
        }
    })?;
    linker.func_wrap(
        MODULE,
        SET,
        |mut guest: Guest<'_>, key: u32, key_length: u32, value: u32, length: u32| {
            enter(&mut guest, SET)?;
            let (Ok(key), Ok(value)) =
                (text(&mut guest, (key, key_length))?, text(&mut guest, (value, length))?)
            else {
                return Ok(Status::Invalid as i32);
            };
            match guest.data_mut().set_config(&key, &value) {
                Ok(()) => Ok(Status::Fine as i32),
                Err(error) => failed(&mut guest, SET, &error),
            }
        },
    )?;
    Ok(())
}

fn link_storage(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    const GET: &str = "host_storage_get";
    const SET: &str = "host_storage_set";
    const DELETE: &str = "host_storage_delete";
    linker.func_wrap_async(
        MODULE,
        GET,
        |mut guest: Guest<'_>, (key, key_length, buffer, capacity): (u32, u32, u32, u32)| {
            Box::new(async move {
                enter(&mut guest, GET)?;
                let Ok(key) = text(&mut guest, (key, key_length))? else { return Ok(Status::Invalid as i32) };
                let state = guest.data_mut();
                let found = match state.permit(Need::Kind(CapabilityKind::Kv)) {
                    Ok(permit) => state.services().kv.get(&permit, &key).await,
                    Err(error) => Err(error),
                };
                match found {
                    Ok(Some(value)) => {
                        if value.len() <= capacity as usize {
                            put(&mut guest, buffer, &value)?;
                        }
                        Ok(i32::try_from(value.len()).unwrap_or(i32::MAX))
                    }
                    Ok(None) => Ok(Status::NotFound as i32),
                    Err(error) => failed(&mut guest, GET, &error),
                }
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        SET,
        |mut guest: Guest<'_>, (key, key_length, value, length): (u32, u32, u32, u32)| {
            Box::new(async move {
                enter(&mut guest, SET)?;
                let Ok(key) = text(&mut guest, (key, key_length))? else { return Ok(Status::Invalid as i32) };
                let value = handed_over(&mut guest, (value, length))?.0.to_vec();
                match change(&mut guest, KvChange::Set(&key, &value)).await {
                    Ok(_) => Ok(Status::Fine as i32),
                    Err(error) => failed(&mut guest, SET, &error),
                }
            })
        },
    )?;
    linker.func_wrap_async(MODULE, DELETE, |mut guest: Guest<'_>, (key, length): (u32, u32)| {
        Box::new(async move {
            enter(&mut guest, DELETE)?;
            let Ok(key) = text(&mut guest, (key, length))? else { return Ok(Status::Invalid as i32) };
            match change(&mut guest, KvChange::Delete(&key)).await {
                Ok(true) => Ok(Status::Fine as i32),
                Ok(false) => Ok(Status::NotFound as i32),
                Err(error) => failed(&mut guest, DELETE, &error),
            }
        })
    })?;
    Ok(())
}

/// Makes a change of what the plugin keeps; whether its key was there before.
async fn change(guest: &mut Guest<'_>, change: KvChange<'_>) -> Result<bool, ServiceError> {
    let state = guest.data_mut();
    let permit = state.permit(Need::Kind(CapabilityKind::Kv))?;
    let was_there = state.services().kv.apply(&permit, &[change]).await?;
    Ok(was_there.first().copied().unwrap_or_default())
}

fn link_others(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    const SEND: &str = "host_send_message";
    const TOOL: &str = "host_call_tool";
    const HTTP: &str = "host_http_request";
    linker.func_wrap(
        MODULE,
        SEND,
        |mut guest: Guest<'_>, target: u32, target_length: u32, at: u32, length: u32| {
            enter(&mut guest, SEND)?;
            let Ok(target) = text(&mut guest, (target, target_length))? else {
                return Ok(Status::Invalid as i32);
            };
            let payload = handed_over(&mut guest, (at, length))?.0.to_vec();
            let state = guest.data_mut();
            let sent = state
                .permit(Need::Name(CapabilityKind::EventsPublish, &target))
                .and_then(|permit| state.services().events.publish(&permit, &target, &payload));
            match sent {
                Ok(_) => Ok(Status::Fine as i32),
                Err(error) => failed(&mut guest, SEND, &error),
            }
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        TOOL,
        |mut guest: Guest<'_>, (name, name_length, at, length, out): (u32, u32, u32, u32, u32)| {
            Box::new(async move {
                enter(&mut guest, TOOL)?;
                let (Ok(name), Ok(input)) =
                    (text(&mut guest, (name, name_length))?, text(&mut guest, (at, length))?)
                else {
                    return Ok(Status::Invalid as i32);
                };
                let state = guest.data_mut();
                let answer = match state.permit(Need::Name(CapabilityKind::ToolsCall, &name)) {
                    Ok(permit) => {
                        let tools = state.services().tools.clone();
                        tools.call(&permit, &name, &input).await
                    }
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(answer) => give(&mut guest, out, answer.as_bytes()),
                    Err(error) => failed(&mut guest, TOOL, &error),
                }
            })
        },
    )?;
    linker.func_wrap_async(MODULE, HTTP, |mut guest: Guest<'_>, (at, length, out): (u32, u32, u32)| {
        Box::new(async move {
            enter(&mut guest, HTTP)?;
            let Ok(request) = text(&mut guest, (at, length))? else { return Ok(Status::Invalid as i32) };
            let answer = match read_request(&request) {
                Ok(request) => fetch(guest.data_mut(), request).await,
                Err(error) => Err(error),
            };
            match answer.and_then(|fetched| answer_text(&fetched)) {
                Ok(answer) => give(&mut guest, out, answer.as_bytes()),
                Err(error) => failed(&mut guest, HTTP, &error),
            }
        })
    })?;
    Ok(())
}

/// A request as JSON: `url`, and where they are wanted `method`, `headers` and `body`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRequest {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

fn get() -> String {
    "GET".to_owned()
}

/// What a server answered, as JSON; a body that is no UTF-8 is made into some.
#[derive(Serialize)]
struct WrittenAnswer<'a> {
    status: u16,
    headers: &'a [(String, String)],
    body: std::borrow::Cow<'a, str>,
}

fn read_request(text: &str) -> Result<HttpRequest, ServiceError> {
    let invalid =
        |error: serde_json::Error| ServiceError::Invalid(format!("the request is no request: {error}"));
    let written: WrittenRequest = serde_json::from_str(text).map_err(invalid)?;
    let mut request = HttpRequest::new(&written.method, &written.url)?.timeout(HTTP_TIME);
    for (name, value) in &written.headers {
        request = request.header(name, value.as_bytes())?;
    }
    Ok(request.body(written.body))
}

fn answer_text(fetched: &Fetched) -> Result<String, ServiceError> {
    let Fetched { status, headers, body } = fetched;
    let written = WrittenAnswer { status: *status, headers, body: String::from_utf8_lossy(body) };
    serde_json::to_string(&written).map_err(|error| ServiceError::Failed(error.to_string()))
}

/// A pointer and a length.
type Span = (u32, u32);

fn enter(guest: &mut Guest<'_>, function: &'static str) -> wasmtime::Result<()> {
    guest.data_mut().enter_host(function)
}

/// A text that the guest hands over, or that it is none.
fn text(guest: &mut Guest<'_>, span: Span) -> wasmtime::Result<Result<String, std::string::FromUtf8Error>> {
    Ok(String::from_utf8(handed_over(guest, span)?.0.to_vec()))
}

/// Gives bytes to the guest, in memory that is made for them, and tells where they are at `out`.
fn give(guest: &mut Guest<'_>, out: u32, bytes: &[u8]) -> wasmtime::Result<i32> {
    let Ok(length) = u32::try_from(bytes.len()) else { return Ok(Status::Full as i32) };
    let Some(at) = take(guest, length)? else { return Ok(Status::Full as i32) };
    put(guest, at, bytes)?;
    let mut pair = [0; 8];
    pair[..4].copy_from_slice(&at.to_le_bytes());
    pair[4..].copy_from_slice(&length.to_le_bytes());
    put(guest, out, &pair)?;
    Ok(Status::Fine as i32)
}

/// Tells the guest that it failed, where the call goes on.
fn failed(guest: &mut Guest<'_>, function: &'static str, error: &ServiceError) -> wasmtime::Result<i32> {
    guest.data_mut().tell(function, error)?;
    Ok(Status::from(error) as i32)
}
