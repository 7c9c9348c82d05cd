//! A plugin's function as a tool for other plugins.

use airlock_core::{ErrorKind, Permit, ServiceError, ServiceFuture, Tool, ToolInfo};

use crate::answer::Input;
use crate::plugin::Plugin;

/// A function of a plugin that others can call by the tool's name, each time on a fresh
/// instance. What it may do is its own plugin's policy and not the caller's.
#[derive(Debug, Clone)]
pub struct PluginTool {
    plugin: Plugin,
    function: String,
    info: ToolInfo,
}

impl PluginTool {
    /// The function `function` of `plugin`, as what `info` says.
    pub fn new(plugin: Plugin, function: impl Into<String>, info: ToolInfo) -> Self {
        PluginTool { plugin, function: function.into(), info }
    }
}

impl Tool for PluginTool {
    fn info(&self) -> ToolInfo {
        self.info.clone()
    }

    fn call<'a>(&'a self, permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            let called =
                self.plugin.invoke_within(permit, &self.function, Input::Json(input.to_owned())).await;
            let outcome = called.map_err(|error| match error.kind() {
                // Its own time may be shorter than what its caller has left.
                ErrorKind::Deadline { .. } if permit.check().is_ok() => ServiceError::TimedOut,
                ErrorKind::Deadline { .. } | ErrorKind::Cancelled { .. } => ServiceError::Ended,
                _ => ServiceError::Failed(error.to_string()),
            });
            Ok(outcome?.value.to_json_text())
        })
    }
}
