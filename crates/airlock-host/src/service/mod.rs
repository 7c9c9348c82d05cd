//! The services that come with Airlock: the host's side of each capability.

pub mod exec;
mod process;
