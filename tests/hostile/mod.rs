//! Hostile guests. Each test is named for what the guest does, asserts the exact outcome
//! in every call mode, and that an honest plugin on the same host goes on.

mod artifacts;
mod cache;
mod compile;
mod lies;
mod memory;
mod time;
mod wasi;
