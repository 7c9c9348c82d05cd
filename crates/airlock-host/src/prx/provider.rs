//! Plugins that answer chats.

use airlock_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Callee;

/// A plugin that answers chats.
#[derive(Debug, Clone)]
pub struct Provider(Callee);

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who says it: `system`, `user`, `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// What somebody says.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        ChatMessage { role: role.into(), content: content.into() }
    }
}

/// A tool that a model wants called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// What the answer to it is known by.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with, as JSON text.
    pub arguments: String,
}

/// What a model answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChatResponse {
    /// A text, where it has one.
    pub text: Option<String>,
    /// Tools that it wants called.
    pub tool_calls: Vec<ToolCall>,
}

impl Provider {
    /// This plugin.
    pub fn new(plugin: impl Into<Callee>) -> Self {
        Provider(plugin.into())
    }

    /// What it says that it is called.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call).
    pub async fn name(&self) -> Result<String> {
        self.0.call("prx:plugin/provider-exports.name", &json!({})).await
    }

    /// Has a model answer a chat.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call); [`ErrorKind::Failed`](airlock_core::ErrorKind::Failed)
    /// with what the plugin says where it has no answer.
    pub async fn chat(
        &self,
        messages: &[ChatMessage],
        model: &str,
        temperature: f64,
    ) -> Result<ChatResponse> {
        let params = json!({ "messages": messages, "model": model, "temperature": temperature });
        self.0.call("prx:plugin/provider-exports.chat", &params).await
    }
}
