//! From bytes to compiled code.
//!
//! ```text
//! bytes -> Artifact -> Shape (parsed and admitted) -> Compiled (native code for two engines)
//!                            |                          |
//!                            +--- the cache has both ---+--- else a Compiler makes it
//! ```
//!
//! Each is a type that only the step before can make: a [`Compiled`] exists only for
//! bytes that passed [`Shape::admit`]. [`Engines`] holds the wasmtime engines and
//! [`Ticker`] the one thread that keeps everybody's time.

mod admit;
mod anatomy;
mod artifact;
mod cache;
mod code;
mod compile;
mod compiler;
mod componentise;
mod engines;
mod lines;
mod loads;
mod lru;
mod pulse;
mod shape;
mod ticker;

// The public interface is:
pub use admit::Feature;
pub use anatomy::{Anatomy, FunctionSize, MemorySize, Section, Stack};
pub use artifact::Artifact;
pub use cache::{Cache, CacheEntry, CacheSettings, Damaged, Verified};
pub use code::{CompiledCode, Mapping};
pub use compile::{Compiled, Origin};
pub use compiler::{Compiler, InProcess, Job, Worker, serve_worker};
pub use componentise::componentised;
pub use engines::{Allocation, EngineKey, EngineSettings, Engines, MAX_SAMPLED_FRAMES};
pub use lines::{Lines, SourceLine};
pub use loads::MemoryCacheStats;
pub use pulse::Pulse;
pub use shape::{Export, ExternType, Import, Shape, Signature, Slot, Wit, WitFunction, WitKind, WitType};
pub use ticker::{Alarm, TICK, Ticker};
pub use wasmtime;
