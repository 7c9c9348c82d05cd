//! Tools that answer what they were told to.

use std::sync::{Arc, Mutex};

use airlock_core::{Permit, ServiceError, ServiceFuture, Tool, ToolInfo};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{lock, ready};

/// A tool with one answer.
#[derive(Debug, Clone)]
pub struct FakeTool {
    info: ToolInfo,
    /// JSON, or why it fails.
    answer: Result<String, String>,
}

impl FakeTool {
    /// A tool of this name, which answers `null`.
    pub fn new(name: impl Into<String>) -> Self {
        let info = ToolInfo { name: name.into(), description: String::new(), input_schema: None };
        FakeTool { info, answer: Ok("null".to_owned()) }
    }

    /// The same with what it says that it does.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.info.description = description.into();
        self
    }

    /// The same with a JSON Schema of its input.
    #[must_use]
    pub fn input_schema(mut self, schema: &Value) -> Self {
        self.info.input_schema = Some(schema.to_string());
        self
    }

    /// The same, answering this.
    #[must_use]
    pub fn answer(mut self, output: &Value) -> Self {
        self.answer = Ok(output.to_string());
        self
    }

    /// The same, failing for this reason.
    #[must_use]
    pub fn fails(mut self, reason: impl Into<String>) -> Self {
        self.answer = Err(reason.into());
        self
    }
}

/// One call of a tool.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool's name.
    pub tool: String,
    /// What it was called with, digit for digit.
    pub input: Box<RawValue>,
}

/// What fake tools were called with.
#[derive(Debug, Clone, Default)]
pub(super) struct ToolCalls(Arc<Mutex<Vec<ToolCall>>>);

impl ToolCalls {
    /// The tool, with its calls kept here.
    pub(super) fn counting(&self, tool: FakeTool) -> Arc<dyn Tool> {
        Arc::new(Counted { tool, calls: self.clone() })
    }

    pub(super) fn all(&self) -> Vec<ToolCall> {
        lock(&self.0).clone()
    }
}

#[derive(Debug)]
struct Counted {
    tool: FakeTool,
    calls: ToolCalls,
}

impl Tool for Counted {
    fn info(&self) -> ToolInfo {
        self.tool.info.clone()
    }

    fn call<'a>(&'a self, _permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String> {
        match RawValue::from_string(input.to_owned()) {
            Ok(input) => lock(&self.calls.0).push(ToolCall { tool: self.tool.info.name.clone(), input }),
            Err(error) => return ready(Err(ServiceError::Invalid(error.to_string()))),
        }
        ready(self.tool.answer.clone().map_err(ServiceError::Failed))
    }
}
