//! What plugins written in Rust are built on.
//!
//! One module for each way of being a plugin. There is one so far:
//!
//! - [`fledge`]: programs that exchange JSON messages with their host, `fledge-v1`.
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
//! What this crate imports into the module is `fledge.send`, `fledge.recv` and `fledge.exit`;
//! the rest is WASI preview 1, by the standard library. A small module needs a profile:
//!
//! ```toml
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```

pub mod fledge;

/// The version of `serde_json` whose values are in this crate's interface.
pub use serde_json;
