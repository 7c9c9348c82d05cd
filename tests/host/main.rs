//! The library on real wasm: plugins built from `plugins/`, and small modules written
//! here as text.

#![allow(clippy::unwrap_used, reason = "a test that fails to get what it needs has failed")]

mod abi_choice;
mod approval;
mod capabilities;
mod command;
mod func;
mod http;
mod json;
mod limits;
mod modes;
mod raw;
mod support;

#[path = "../hostile/mod.rs"]
mod hostile;
