//! Sending to a real server, Exim, and fetching from one, Dovecot, which each test starts for
//! itself on loopback.

#![allow(clippy::unwrap_used)]

mod attached;
mod audited;
mod canary;
mod crashes;
mod cuts;
mod dovecot;
mod echoing;
mod fetching;
mod hostile;
#[cfg(all(feature = "keyring", target_os = "linux"))]
mod keyring;
mod many;
mod oauth;
mod odd;
mod plugin;
mod provider;
mod proxy;
mod rules;
mod sending;
mod sent;
mod server;
mod several;
mod slow;
mod with_file;
