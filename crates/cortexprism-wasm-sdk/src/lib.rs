//! What CortexPrism's plugins in Rust are built on, under the name that its document has.
//!
//! This is [`airlock_sdk::cortex`], where all of it is described.
//!
//! ```
//! use cortexprism_wasm_sdk::{CapabilityContext, register_capability};
//!
//! fn greet(name: String, _ctx: CapabilityContext) -> String {
//!     format!("hello, {name}")
//! }
//!
//! register_capability!("greet", greet);
//! # fn main() {}
//! ```

pub use airlock_sdk::cortex::*;
pub use airlock_sdk::serde_json;
