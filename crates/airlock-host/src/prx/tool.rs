//! Plugins that are tools.

use airlock_core::{Result, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Callee;

/// A plugin that is a tool.
#[derive(Debug, Clone)]
pub struct Tool(Callee);

/// What running a tool came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// Whether it did well.
    pub success: bool,
    /// What it says, JSON for most tools. Not empty for one that did badly, if it has more to say of that.
    pub output: String,
    /// Why it did not do well.
    pub error: Option<String>,
}

impl Tool {
    /// This plugin.
    pub fn new(plugin: impl Into<Callee>) -> Self {
        Tool(plugin.into())
    }

    /// What it said that it is when it was loaded; none where it could not be asked.
    pub fn spec(&self) -> Option<ToolSpec> {
        self.0.plugin().manifest()?.tools.first().cloned()
    }

    /// Runs it. That it did badly is no error.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call).
    pub async fn execute(&self, args: &impl Serialize) -> Result<ToolResult> {
        let invalid = |error: serde_json::Error| airlock_core::ServiceError::Invalid(error.to_string());
        let args = serde_json::to_string(args).map_err(invalid)?;
        self.0.call("prx:plugin/tool-exports.execute", &json!({ "args": args })).await
    }
}
