//! Tools: what the application and plugins offer to be called by plugins.

use std::fmt;

use super::ServiceFuture;
use crate::Permit;

/// What a tool says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ToolInfo {
    /// The name it is called by.
    pub name: String,
    /// What it does, for people and models.
    pub description: String,
    /// JSON Schema of its input, as text.
    pub input_schema: Option<String>,
}

/// Something that can be called by its name.
pub trait Tool: Send + Sync + fmt::Debug {
    /// What it says of itself.
    fn info(&self) -> ToolInfo;

    /// Runs it on JSON, and gives JSON. Whoever runs another plugin for it hands `permit` on,
    /// so that the rest of the time and the tools that the call is inside of hold there too.
    fn call<'a>(&'a self, permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String>;
}

/// Where tools are found.
pub trait Tools: Send + Sync + fmt::Debug {
    /// Those that the plugin may call, by name.
    fn list(&self, permit: &Permit) -> Vec<ToolInfo>;

    /// Calls a tool that the permit is for, [`inside`](Permit::inside) of which it runs. One
    /// that the call is inside of already is not called again, and tools nest no deeper than
    /// a limit.
    fn call<'a>(&'a self, permit: &'a Permit, name: &'a str, input: &'a str) -> ServiceFuture<'a, String>;
}
