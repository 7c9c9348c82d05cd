//! The library on real wasm: plugins built from `plugins/`, and small modules written
//! here as text.

#![allow(clippy::unwrap_used, reason = "a test that fails to get what it needs has failed")]

mod abi_choice;
mod approval;
mod cancel;
mod capabilities;
mod command;
mod component;
mod cortex;
mod events;
mod exec;
mod fledge;
mod func;
mod functions;
mod gated;
mod http;
mod json;
mod languages;
mod limits;
mod manager;
mod metadata;
mod modes;
mod mofa;
mod nested;
mod prx;
mod raw;
mod sampler;
mod sdk;
mod sen;
mod services;
mod support;
mod testing;
mod tools;

#[path = "../hostile/mod.rs"]
mod hostile;
#[path = "../values.rs"]
mod values;
