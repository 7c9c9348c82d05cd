//! A host for tests, in memory, on the machine where the plugin is written.
//!
//! ```
//! use airlock_sdk::CapabilityContext;
//! use airlock_sdk::cortex::testing::{self, Fakes};
//! use serde_json::json;
//!
//! #[derive(serde::Deserialize)]
//! struct Visit {
//!     name: String,
//! }
//!
//! fn greet(visit: Visit, context: CapabilityContext) -> Result<String, String> {
//!     let greeting = context.config("greeting").ok_or("no greeting is configured")?;
//!     let visits = context.state_get(&visit.name).and_then(|text| text.parse().ok()).unwrap_or(0u32) + 1;
//!     context.state_set(&visit.name, &visits.to_string());
//!     context.log(format!("{} was here", visit.name));
//!     Ok(format!("{greeting}, {} ({visits})", visit.name))
//! }
//!
//! let host = Fakes::new().config("greeting", "hello").state("Ada", "2");
//! // As a function:
//! let greeting = greet(Visit { name: "Ada".to_owned() }, host.context());
//! assert_eq!(greeting.as_deref(), Ok("hello, Ada (3)"));
//! // As a capability, with JSON:
//! let greeting = testing::call!(greet, json!({ "name": "Ada" }), &host);
//! assert_eq!(greeting, Ok(json!("hello, Ada (4)")));
//! assert_eq!(host.kept("Ada").as_deref(), Some("4"));
//! assert_eq!(host.logs(), ["Ada was here", "Ada was here"]);
//!
//! let refused = testing::call!(greet, json!({ "nom": "Ada" }), &Fakes::new());
//! assert_eq!(refused, Err("the input does not fit: missing field `name` at line 1 column 13".to_owned()));
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{CapabilityContext, Request};

/// Calls a function as the capability that it is: `call!(function, input, &fakes)`.
///
/// `input` is a [`serde_json::Value`], or any text that may or may not be JSON. The result is
/// what a caller of the plugin gets: the answer as a [`Value`], or an error's message.
pub use crate::__call_capability as call;

#[doc(hidden)]
#[macro_export]
macro_rules! __call_capability {
    ($function:expr, $input:expr, $fakes:expr $(,)?) => {
        $crate::cortex::testing::__read($crate::__answer_of_capability!(
            $function,
            ::std::string::ToString::to_string(&$input),
            $crate::cortex::testing::Fakes::context($fakes)
        ))
    };
}

#[doc(hidden)]
pub fn __read(answer: Result<Vec<u8>, String>) -> Result<Value, String> {
    let json = super::__private::json(answer);
    let value: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    match value.get("error").and_then(Value::as_str) {
        Some(message) if value.as_object().is_some_and(|members| members.len() == 1) => {
            Err(message.to_owned())
        }
        _ => Ok(value),
    }
}

/// A host that has what was prepared, as if all of it were granted, and nothing else. What a
/// plugin did can be looked at afterwards.
///
/// Clones are the same host.
#[derive(Debug, Clone, Default)]
pub struct Fakes {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    config: BTreeMap<String, String>,
    state: BTreeMap<String, String>,
    responses: BTreeMap<String, (u16, Vec<u8>)>,
    now_ms: u64,
    /// What the next random number is made of.
    seed: u64,
    logs: Vec<String>,
    requests: Vec<Request>,
}

impl Fakes {
    /// A host with nothing, at the beginning of 1970.
    pub fn new() -> Self {
        Fakes::default()
    }

    /// The context for a capability that this host calls.
    pub fn context(&self) -> CapabilityContext {
        CapabilityContext::new(Host(self.clone()))
    }

    /// Has the plugin configured with `value` for `key`.
    #[must_use]
    pub fn config(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.lock().config.insert(key.into(), value.into());
        self
    }

    /// Has `value` kept for `key`.
    #[must_use]
    pub fn state(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.lock().state.insert(key.into(), value.into());
        self
    }

    /// Answers requests for `url`. Those for any other are refused as one that is not granted.
    #[must_use]
    pub fn response(self, url: impl Into<String>, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.lock().responses.insert(url.into(), (status, body.into()));
        self
    }

    /// Has it be so many milliseconds after the beginning of 1970.
    #[must_use]
    pub fn now_ms(self, milliseconds: u64) -> Self {
        self.lock().now_ms = milliseconds;
        self
    }

    /// Makes other random numbers. The same seed makes the same ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.lock().seed = seed;
        self
    }

    /// What was logged, in order.
    pub fn logs(&self) -> Vec<String> {
        self.lock().logs.clone()
    }

    /// The requests that were made, in order, also those that got no response.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// What is kept for `key`.
    pub fn kept(&self, key: &str) -> Option<String> {
        self.lock().state.get(key).cloned()
    }

    /// A test that panicked elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fakes as the ABI has a host, with its cuts.
#[derive(Debug, Clone)]
pub(super) struct Host(Fakes);

impl Host {
    pub(super) fn log(&self, message: &str) {
        self.0.lock().logs.push(message.to_owned());
    }

    pub(super) fn config(&self, key: &str, value: &mut [u8]) -> Option<usize> {
        let inner = self.0.lock();
        let text = inner.config.get(key).filter(|text| !text.is_empty())?;
        Some(cut(text.as_bytes(), value))
    }

    pub(super) fn state_get(&self, key: &str, value: &mut [u8]) -> Option<usize> {
        Some(cut(self.0.lock().state.get(key)?.as_bytes(), value))
    }

    pub(super) fn state_set(&self, key: &str, value: &str) {
        self.0.lock().state.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn http(&self, request: &Request, answer: &mut [u8]) -> (bool, u32, usize) {
        let mut inner = self.0.lock();
        inner.requests.push(request.clone());
        match inner.responses.get(&request.url) {
            Some((status, body)) => (true, (*status).into(), cut(body, answer)),
            None => (false, 403, cut(b"host: network:fetch permission denied", answer)),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.0.lock().now_ms
    }

    /// By `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    pub(super) fn random(&self, bytes: &mut [u8]) {
        let mut inner = self.0.lock();
        for piece in bytes.chunks_mut(8) {
            inner.seed = inner.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = inner.seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            piece.copy_from_slice(&mixed.to_le_bytes()[..piece.len()]);
        }
    }
}

/// Copies what there is room for.
fn cut(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}
