//! Plugins of PRX's as what they are for its application: tools, middleware, hooks, providers, storage.
//!
//! Any of them is loaded and called as every plugin is. What is here has the types of their interfaces, and
//! does between plugins what PRX does: it tells hooks of what an agent does, and hands data along a chain of
//! middleware. Whoever awaits nothing wraps a future of these in [`block_on`](crate::block_on).
//!
//! ```
//! use airlock_host::manager::Manager;
//! use airlock_host::prx::{ChatMessage, Provider};
//! use airlock_host::{Host, LoadOptions, block_on};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let manager = Manager::new(Host::new()?);
//! let managed = manager.load_blocking("echo", "../../plugins/prx-provider", LoadOptions::new())?;
//! let provider = Provider::new(managed);
//! let messages = [ChatMessage::new("user", "hello")];
//! let response = block_on(provider.chat(&messages, "echo-1", 0.0))?;
//! assert_eq!(response.text.as_deref(), Some("echo-1: hello"));
//! # Ok(())
//! # }
//! ```
//!
//! Hooks that a [`Manager`](crate::manager::Manager) has are told of events by it, those that their manifests
//! name and those that they subscribe to, and cron plugins are run by it at their times.

mod api;
mod chain;
mod provider;
mod storage;
mod tool;

use std::fmt;

use airlock_core::{Error, PrxManifest, Result, ServiceError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::Input;
use crate::manager::Managed;
use crate::plugin::Plugin;
use crate::service::EventBus;

pub use api::{Api, ListedPlugin, PluginList, PluginStatus, ReloadAnswer};
pub use chain::{Chain, OnError, Stage, Verdict};
pub use provider::{ChatMessage, ChatResponse, Provider, ToolCall};
pub use storage::{Storage, StoredMemory};
pub use tool::{Tool, ToolResult};

/// The functions that a manager calls by itself.
pub(crate) const ON_EVENT: &str = "prx:plugin/hook-exports.on-event";
pub(crate) const RUN: &str = "prx:plugin/cron-exports.run";

/// A plugin to be called: one of a manager's, which keeps its state from call to call, or one that has a
/// fresh instance for each.
#[derive(Debug, Clone)]
pub struct Callee(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Managed(Managed),
    Plugin(Plugin),
}

impl From<Managed> for Callee {
    fn from(managed: Managed) -> Self {
        Callee(Kind::Managed(managed))
    }
}

impl From<&Managed> for Callee {
    fn from(managed: &Managed) -> Self {
        managed.clone().into()
    }
}

impl From<Plugin> for Callee {
    fn from(plugin: Plugin) -> Self {
        Callee(Kind::Plugin(plugin))
    }
}

impl From<&Plugin> for Callee {
    fn from(plugin: &Plugin) -> Self {
        plugin.clone().into()
    }
}

impl Callee {
    fn name(&self) -> String {
        match &self.0 {
            Kind::Managed(managed) => managed.name().to_string(),
            Kind::Plugin(plugin) => plugin.name().to_owned(),
        }
    }

    /// The plugin that calls are made of now.
    fn plugin(&self) -> Plugin {
        match &self.0 {
            Kind::Managed(managed) => managed.plugin(),
            Kind::Plugin(plugin) => plugin.clone(),
        }
    }

    /// Calls a function with an object of its parameters.
    async fn call<R: DeserializeOwned>(&self, function: &str, params: &impl Serialize) -> Result<R> {
        let input = Input::json(params)?;
        let outcome = match &self.0 {
            Kind::Managed(managed) => managed.invoke(function, input).await?,
            Kind::Plugin(plugin) => plugin.invoke(function, input).await?,
        };
        outcome.value.parse(function)
    }
}

/// What an agent does that hooks are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are PRX's own names")]
pub enum Lifecycle {
    AgentStart,
    AgentEnd,
    LlmRequest,
    LlmResponse,
    ToolCallStart,
    ToolCall,
    TurnComplete,
    Error,
}

impl Lifecycle {
    /// All of them.
    pub const ALL: [Lifecycle; 8] = [
        Lifecycle::AgentStart,
        Lifecycle::AgentEnd,
        Lifecycle::LlmRequest,
        Lifecycle::LlmResponse,
        Lifecycle::ToolCallStart,
        Lifecycle::ToolCall,
        Lifecycle::TurnComplete,
        Lifecycle::Error,
    ];

    /// The name that hooks know it by: `agent_start`.
    pub fn name(self) -> &'static str {
        match self {
            Lifecycle::AgentStart => "agent_start",
            Lifecycle::AgentEnd => "agent_end",
            Lifecycle::LlmRequest => "llm_request",
            Lifecycle::LlmResponse => "llm_response",
            Lifecycle::ToolCallStart => "tool_call_start",
            Lifecycle::ToolCall => "tool_call",
            Lifecycle::TurnComplete => "turn_complete",
            Lifecycle::Error => "error",
        }
    }

    /// The topic that it has on the bus: `prx.lifecycle.agent_start`.
    pub fn topic(self) -> String {
        format!("{}{}", PrxManifest::LIFECYCLE, self.name())
    }

    /// Tells of it on the bus, and says to how many. Hooks whose manifests name it get it by its
    /// [name](Lifecycle::name), and whoever subscribed to it by its [topic](Lifecycle::topic).
    ///
    /// # Errors
    /// [`ErrorKind::Failed`](airlock_core::ErrorKind::Failed) for a payload of more than 64 KiB.
    pub fn tell(self, bus: &EventBus, payload: &impl Serialize) -> Result<usize> {
        let invalid = |error: serde_json::Error| ServiceError::Invalid(error.to_string());
        let payload = serde_json::to_vec(payload).map_err(invalid)?;
        bus.publish_as_host(&self.topic(), &payload).map_err(Error::from)
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
