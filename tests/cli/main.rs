//! The command, as a person meets it: exit code, standard output and standard error of
//! real processes, in full.

#![allow(clippy::unwrap_used, reason = "a test that fails to get what it needs has failed")]

mod bad_input;
mod bench;
mod build;
mod call;
mod check;
mod compile;
mod component;
mod cortex;
mod docs;
mod email;
mod environment;
mod files;
mod fledge;
mod fledge_tools;
mod inspect;
mod install;
mod json;
mod new;
mod plugins;
mod profile;
mod prx;
mod rpc;
mod run;
mod sen;
mod services;
mod session;
mod state;
mod streams;
mod support;
mod terminal;
mod test;
mod tools;
mod walkthrough;
mod wasi;
mod watch;

#[path = "../values.rs"]
mod values;
