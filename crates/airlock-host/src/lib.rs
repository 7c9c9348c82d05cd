//! The WebAssembly plugin host to embed.
//!
//! ```
//! use airlock_host::{Host, LoadOptions};
//! use serde_json::{Value, json};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let host = Host::new()?;
//! let plugin = host.load_blocking("../../plugins/text-processor", LoadOptions::new())?;
//! let input = json!({ "text": "hello world", "mode": "reverse" });
//! let outcome = plugin.call_blocking::<_, Value>("transform", &input)?;
//! assert_eq!(outcome.value["result"], "dlrow olleh");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Host`] is what an application has one of; [`Host::load`] makes a [`Plugin`] from a
//! file, a folder with a manifest, or bytes. Each [`Plugin::call`] runs on a fresh
//! instance under every limit of [`LIMITS`]; a [`Session`] keeps one instance across
//! calls. What a plugin may do is its [`Policy`], and that is nothing unless granted.
//!
//! The rest of this page is a guide.
//!
#![doc = include_str!("../docs/guide.md")]
#![forbid(unsafe_code)]

mod abi;
mod answer;
mod bounded;
mod budget;
mod builder;
mod cancel;
mod caught;
#[cfg(feature = "clap")]
mod command_line;
pub mod component;
pub mod console;
mod core_dump;
mod describe;
mod frames;
mod func;
mod functions;
mod guest;
mod host;
mod inbox;
mod load;
pub mod manager;
mod memory;
pub mod mofa;
mod plugin;
mod prepared;
pub mod prx;
mod recorded;
mod requests;
mod running;
mod sampler;
mod schedule;
pub mod sen;
pub mod service;
mod session;
mod slots;
mod source;
mod standing;
mod store;
pub mod testing;
mod wasi;

// The public interface is:
pub use abi::{Gap, KNOWN_EXPORTS, KnownExport};
pub use airlock_core::*;
pub use airlock_engine::{
    Anatomy, Artifact, Cache, CacheEntry, CacheSettings, CompiledCode, Compiler, Damaged, Export, ExternType,
    Feature, Import, InProcess, Job, Mapping, MemoryCacheStats, Origin, Shape, Signature, Slot, TICK,
    Verified, Wit, WitFunction, WitKind, WitType, Worker, componentised, serve_worker,
};
pub use answer::{Answer, Input, Program};
pub use bounded::block_on;
pub use builder::HostBuilder;
pub use cancel::{CallOptions, Cancel};
#[cfg(feature = "clap")]
pub use command_line::CommandLine;
pub use core_dump::CoreDump;
pub use func::{Func, Params, Results};
pub use functions::{FuncError, Functions, HostCall, HostFuture};
pub use host::{Host, HostStats};
pub use load::{Examined, LoadOptions};
pub use memory::{GuestMemory, Plain};
pub use plugin::{Plugin, ProgramInput};
pub use sampler::{Sample, SampledFrame, SampledFunction, SampledStack, Sampler, Samples};
pub use session::{ComponentFunc, Session, Steps};
pub use source::Source;
pub use wasi::StdinSource;
/// A vector of 128 bits, as functions take and give it: wasmtime's, made from a `u128` and back.
pub use wasmtime::V128;
