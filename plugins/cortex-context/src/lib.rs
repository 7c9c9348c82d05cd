//! A plugin that asks its host for everything there is to ask for, and fails in every way.
//!
//! Each capability is one method of the context, or one way to fail.

mod ways_to_fail;

use std::sync::atomic::{AtomicU32, Ordering};

use airlock_sdk::cortex::{HttpError, Request};
use airlock_sdk::{CapabilityContext, register_capability};
use serde::{Deserialize, Serialize};

register_capability!("log-line", |message: String, context: CapabilityContext| context.log(message));
register_capability!("config", |key: String, context: CapabilityContext| context.config(&key));
register_capability!("state-get", |key: String, context: CapabilityContext| context.state_get(&key));
register_capability!("state-set", state_set);
register_capability!("http", http);
register_capability!("now-ms", |(): (), context: CapabilityContext| context.now_ms());
register_capability!("random-bytes", random);
register_capability!("repeat", repeat);
register_capability!("count", count);

fn state_set((key, value): (String, String), context: CapabilityContext) {
    context.state_set(&key, &value);
}

#[derive(Deserialize)]
struct Fetch {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

#[derive(Serialize)]
struct Fetched {
    status: u16,
    body: String,
    cut: bool,
}

fn http(fetch: Fetch, context: CapabilityContext) -> Result<Fetched, HttpError> {
    let request = Request::new(fetch.method, fetch.url).body(fetch.body);
    let request = fetch.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = context.http(request)?;
    let body = String::from_utf8_lossy(&response.body).into_owned();
    Ok(Fetched { status: response.status, body, cut: response.cut })
}

fn random(count: usize, context: CapabilityContext) -> Vec<u8> {
    let mut bytes = vec![0; count];
    context.random(&mut bytes);
    bytes
}

/// Its text so many times, for answers of any size.
fn repeat((text, times): (String, usize)) -> String {
    text.repeat(times)
}

/// How often it was called on this instance.
fn count((): ()) -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}
