//! The services that come with Airlock: the host's side of each capability.

mod events;
pub mod exec;
mod metadata;
mod process;
mod tools;

pub use events::EventBus;
pub use metadata::ProjectFacts;
pub use tools::ToolRegistry;
