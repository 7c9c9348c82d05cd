//! From bytes to compiled code.
//!
//! ```text
//! bytes -> Artifact -> Shape (parsed and admitted) -> Compiled (native code for two engines)
//! ```
//!
//! Each is a type that only the step before can make: a [`Compiled`] exists only for
//! bytes that passed [`Shape::admit`]. [`Engines`] holds the wasmtime engines and
//! [`Ticker`] the one thread that keeps everybody's time.

mod admit;
mod artifact;
mod code;
mod compile;
mod engines;
mod shape;
mod ticker;

// The public interface is:
pub use admit::Feature;
pub use artifact::Artifact;
pub use compile::Compiled;
pub use engines::{Allocation, EngineKey, EngineSettings, Engines};
pub use shape::{Export, ExternType, Import, Shape, Signature, Slot};
pub use ticker::{Alarm, TICK, Ticker};
pub use wasmtime;
