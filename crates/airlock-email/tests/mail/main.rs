//! Sending to a real server, Exim, and fetching from one, Dovecot, which each test starts for
//! itself on loopback.

#![allow(clippy::unwrap_used)]

mod crashes;
mod cuts;
mod dovecot;
mod fetching;
mod hostile;
mod many;
mod oauth;
mod odd;
mod plugin;
mod provider;
mod proxy;
mod sending;
mod server;
