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
mod email_accounts;
mod email_servers;
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

/// Mail servers and a provider of tokens, which the tests of the mailbox have too.
#[allow(dead_code, reason = "the tests of the mailbox use more of it")]
#[path = "../../crates/airlock-email/tests/mail/dovecot.rs"]
mod dovecot;
#[path = "../../crates/airlock-email/tests/mail/provider.rs"]
mod provider;
#[allow(dead_code, reason = "the tests of the mailbox use more of it")]
#[path = "../../crates/airlock-email/tests/mail/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "the tests of the mailbox use more of it")]
#[path = "../../crates/airlock-email/tests/mail/server.rs"]
mod server;
