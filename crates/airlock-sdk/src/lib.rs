//! What plugins written in Rust are built on.
//!
//! One module for each way of being a plugin:
//!
//! - [`cortex`]: functions from JSON to JSON, CortexPrism's capabilities.
//! - [`fledge`]: programs that exchange JSON messages with their host, `fledge-v1`.
//!
//! A capability is a function and a line:
//!
//! ```
//! use airlock_sdk::{CapabilityContext, register_capability};
//!
//! fn greet(name: String, _: CapabilityContext) -> String {
//!     format!("hello, {name}")
//! }
//!
//! register_capability!("greet", greet);
//! # fn main() {}
//! ```
//!
//! A program has a `main`:
//!
//! ```no_run
//! use airlock_sdk::fledge::{Error, Plugin};
//!
//! fn main() -> Result<(), Error> {
//!     let mut plugin = Plugin::start()?;
//!     let name = plugin.args().first().map_or("you", String::as_str);
//!     let greeting = format!("hello, {name}\n");
//!     plugin.output(&greeting)?;
//!     plugin.exit(0)
//! }
//! ```
//!
//! # Building
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1
//! ```
//!
//! What this crate imports into a module is what the plugin uses of it: `fledge.send`,
//! `fledge.recv` and `fledge.exit`, or functions of `env` for what a [`CapabilityContext`] is
//! asked. The rest is WASI preview 1, by the standard library. A small module needs a profile:
//!
//! ```toml
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```
//!
//! A plugin that gets fresh memory for every call, which every capability does, is called several times
//! as fast with the feature `allocator`: a global allocator that begins with memory that is there. It goes
//! with a stack that is small and comes first ([`cortex`] has the flags).

#[cfg(all(feature = "allocator", target_arch = "wasm32"))]
mod allocator;
#[cfg(feature = "cortex")]
pub mod cortex;
pub mod fledge;

#[cfg(feature = "cortex")]
pub use cortex::CapabilityContext;

/// The version of `serde_json` whose values are in this crate's interface.
pub use serde_json;
