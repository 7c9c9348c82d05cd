//! The services that come with Airlock: the host's side of each capability.

mod config;
mod log;

pub use config::OperatorConfig;
pub use log::TracingLog;
