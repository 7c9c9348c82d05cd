//! Plugins of CortexPrism: functions from JSON to JSON.
//!
//! A capability is a function of such a plugin that its host can call.
//! [`register_capability!`](crate::register_capability) makes one of a function in Rust, and
//! [`CapabilityContext`] is what it can ask of its host.
//!
//! ```
//! use airlock_sdk::{CapabilityContext, register_capability};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct TransformInput {
//!     text: String,
//!     mode: String,
//! }
//!
//! #[derive(Serialize)]
//! struct TransformOutput {
//!     result: String,
//!     length: usize,
//! }
//!
//! fn transform_text(input: TransformInput, _ctx: CapabilityContext) -> TransformOutput {
//!     let result = match input.mode.as_str() {
//!         "reverse" => input.text.chars().rev().collect(),
//!         "uppercase" => input.text.to_uppercase(),
//!         _ => input.text,
//!     };
//!     TransformOutput { length: result.len(), result }
//! }
//!
//! register_capability!("transform", transform_text);
//! # fn main() {}
//! ```
//!
//! # What its caller sees
//!
//! The input is read with `serde_json`, and what the function returns is written with it.
//! There are four ways to fail, and a caller is told why in each:
//!
//! - The input is not what the function takes: `the input does not fit: missing field `mode`
//!   at line 1 column 16`. The function is not called.
//! - The function returns an `Err`: its text, which is what [`Display`](std::fmt::Display)
//!   makes of it.
//! - What it returns cannot be written as JSON, as a map whose keys are no texts: `the answer
//!   has no JSON: key must be a string`.
//! - It panics: the message and the place, as `index out of bounds: the len is 3 but the index
//!   is 7 (src/lib.rs:12:5)`. The instance is over then; the next call gets another.
//!
//! The first three are answers: the object `{"error":"..."}`. So a function whose own output is
//! an object with nothing but a text named `error` reports a failure too.
//!
//! # Calls on the same instance
//!
//! A host may make an instance for each call, as this ABI's document has it, or keep one. What
//! is in a `static` is there at the next call in the second case only; what is to last goes
//! to [`state_set`](CapabilityContext::state_set). An input is freed when it has been read, and
//! an answer at the next call.
//!
//! # Building
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! cortexprism-wasm-sdk = "0.1"
//! serde = { version = "1", features = ["derive"] }
//!
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```
//!
//! `cortexprism-wasm-sdk` is this module under the name that CortexPrism's document has for it;
//! `airlock-sdk` does as well. Either target will do:
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1
//! cargo build --release --target wasm32-unknown-unknown
//! ```
//!
//! For the first one the standard library imports some of `wasi_snapshot_preview1`, so that
//! `println!`, clocks and random numbers of Rust's own work, and panics are also written to
//! standard error. A plugin for the second imports nothing at all. Both import from `env` what
//! they use of the context, and nothing of it when they use none: then any runtime can load
//! them, as `wasmtime run --invoke transform plugin.wasm 0 0`.
//!
//! A capability's name is also the name of a symbol. For `wasm32-wasip1` the C library is linked
//! in, so names of its functions, such as `log`, `read`, `time` or `write`, are not free there:
//! one with a hyphen never collides.
//!
//! A capability that greets by name takes 56,777 bytes for `wasm32-unknown-unknown` and 60,706
//! (59.3 KiB) for `wasm32-wasip1` with the profile above, by rustc 1.96; 50,682 and 61,441 with the feature
//! `allocator`. The same written by hand with `serde_json` takes 53,109 and 57,537.
//!
//! In `.cargo/config.toml`, a stack of 64 KiB below the data keeps the memory that a call
//! writes to together, so that there is less to clear for the next. A plugin that recurses
//! deeply wants more:
//!
//! ```toml
//! [build]
//! target = "wasm32-wasip1"
//!
//! [target.wasm32-wasip1]
//! rustflags = [
//!     "-C", "link-arg=--stack-first",
//!     "-C", "link-arg=-zstack-size=65536",
//! ]
//! ```
//!
//! # Testing
//!
//! Capabilities are functions, so tests call them as such; [`testing::Fakes`] makes the
//! context. [`testing::call!`] calls one with JSON, as a host does. Tests are for the machine
//! they run on: `cargo test --target x86_64-unknown-linux-gnu` where the configuration names
//! another target.
//!
//! # The ABI
//!
//! For who writes a host or wants to know what is in the module:
//!
//! | export | type | what it does |
//! |---|---|---|
//! | each capability | `(i32, i32) -> i32` | takes the input's address and length, gives the answer's address |
//! | `cortex_alloc` | `(i32) -> i32` | gives memory for an input, aligned to 8 bytes; 0 when there is none |
//! | `cortex_free` | `(i32, i32)` | takes back such memory, or an answer: its address and size |
//! | `cortex_result_len` | `() -> i32` | how many bytes the last answer has; behind them is a NUL byte |
//! | `cortex_panic` | immutable `i32` global | the address of two `u32`: the address and the length of the message of the panic that the instance ended with |
//!
//! A call of a capability takes over the block of `cortex_alloc` that its input is in.

mod capability;
mod context;
#[cfg(target_arch = "wasm32")]
mod exports;
mod http;
#[cfg(target_arch = "wasm32")]
mod imports;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
use imports::Host;
#[cfg(not(target_arch = "wasm32"))]
use testing::Host;

// The public interface is:
pub use crate::register_capability;
pub use context::CapabilityContext;
pub use http::{HttpError, Request, Response};

/// What the macros are made of.
#[doc(hidden)]
pub mod __private {
    pub use super::capability::{Capability, Given, Plain, check_name, json, run};
    #[cfg(target_arch = "wasm32")]
    pub use super::exports::export;
}
