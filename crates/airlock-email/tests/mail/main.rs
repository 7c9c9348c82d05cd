//! Sending to a real server, Exim, which each test starts for itself on loopback.

#![allow(clippy::unwrap_used)]

mod crashes;
mod proxy;
mod sending;
mod server;
