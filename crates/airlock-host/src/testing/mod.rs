//! Plugins under test, and services for tests of applications and plugins: nothing of those reaches
//! the machine, and each says afterwards what was asked of it. (A component that is granted an
//! address connects to it all the same, and files that are granted are the machine's: those are no
//! services.)
//!
//! [`test_plugin`] loads a plugin among fakes; what they answer can be written down as data
//! ([`FakeData`]):
//!
//! ```
//! use airlock_host::testing::test_plugin;
//! use serde_json::{Value, json};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let plugin = test_plugin("../../plugins/text-processor")?;
//! let input = json!({ "text": "hello world", "mode": "uppercase" });
//! let outcome = plugin.call::<_, Value>("transform", &input)?;
//! assert_eq!(outcome.value["result"], "HELLO WORLD");
//! assert!(plugin.observed().http.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! An application that has a host of its own gives it [`fakes`]:
//!
//! ```
//! use airlock_host::testing::fakes;
//! use airlock_host::{Host, LoadOptions};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let fakes = fakes();
//! fakes.http.answer("https://api.example.com/", 200, "fine");
//! let host = Host::builder().services(fakes.services()).build()?;
//! // Load a plugin, call it, and look at what it asked for:
//! assert!(fakes.http.requests().is_empty());
//! # Ok(())
//! # }
//! ```

mod data;
mod events;
mod http;
mod mail;
mod observed;
mod plugin;
mod services;
mod tools;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlock_core::{MemoryKv, Redactor, Result, ServiceError, ServiceFuture};

use self::events::Recording;
use self::tools::ToolCalls;
use crate::service::{EventBus, OperatorConfig, Services, ToolRegistry, TransientMemory};

pub use self::data::{
    Content, ExecRow, FakeData, HttpRow, MailFailureRow, MailRow, MessageRow, Setting, ToolRow,
};
pub use self::http::{FakeAnswer, FakeHttp};
pub use self::mail::FakeMail;
pub use self::observed::{Observed, ObservedEvent, ObservedLog, ObservedProgram, ObservedRequest};
pub use self::plugin::{TestPlugin, TestPluginBuilder, test_plugin};
pub use self::services::{FakeConfig, FakeExec, FakeLog, FakeMetadata, FakeResolver, FakeSecrets, Logged};
pub use self::tools::{FakeTool, ToolCall};

/// Every service, as a fake. What is behind each can be prepared and looked at.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Fakes {
    /// What plugins keep, in memory.
    pub kv: Arc<MemoryKv>,
    /// What is remembered, in memory.
    pub memory: Arc<TransientMemory>,
    /// Answers that are put there.
    pub http: Arc<FakeHttp>,
    /// Addresses that are put there.
    pub resolver: Arc<FakeResolver>,
    /// Programs that only say what they were told to.
    pub exec: Arc<FakeExec>,
    /// What any plugin is configured with, before what `config` says.
    pub settings: Arc<FakeConfig>,
    /// What plugins are configured with; the environment is looked at as well.
    pub config: OperatorConfig,
    /// Secrets that are put there.
    pub secrets: Arc<FakeSecrets>,
    /// What plugins logged.
    pub log: Arc<FakeLog>,
    /// A bus of its own.
    pub events: EventBus,
    /// Facts that are put there.
    pub metadata: Arc<FakeMetadata>,
    /// A registry of its own.
    pub tools: ToolRegistry,
    /// Mail of one account, which plugins may have fetched and sent as far as they are granted it.
    pub mail: Arc<FakeMail>,
    published: Recording,
    tool_calls: ToolCalls,
}

/// A fake of every service, with nothing in any of them.
pub fn fakes() -> Fakes {
    Fakes::default()
}

impl Fakes {
    /// The services, for a host.
    pub fn services(&self) -> Services {
        Services {
            kv: self.kv.clone(),
            memory: self.memory.clone(),
            http: self.http.clone(),
            resolver: self.resolver.clone(),
            exec: self.exec.clone(),
            config: self.settings.before(self.config.clone()),
            secrets: self.secrets.clone(),
            log: self.log.clone(),
            events: Arc::new(self.published.of(self.events.clone())),
            metadata: self.metadata.clone(),
            tools: Arc::new(self.tools.clone()),
            mail: self.mail.clone(),
            mail_network: true,
            redactor: Redactor::new(),
        }
    }

    /// Registers a tool that answers what it was told to. What it is called with is kept.
    ///
    /// # Errors
    /// As [`ToolRegistry::register`].
    pub fn add_tool(&self, tool: FakeTool) -> Result<()> {
        self.tools.register(self.tool_calls.counting(tool))
    }

    /// How tools of [`Fakes::add_tool`] were called so far.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        self.tool_calls.all()
    }
}

/// What a test has put there, and what was asked. A panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ready<'a, T: Send + 'a>(result: Result<T, ServiceError>) -> ServiceFuture<'a, T> {
    Box::pin(std::future::ready(result))
}
