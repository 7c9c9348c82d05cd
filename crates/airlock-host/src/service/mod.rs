//! The services that come with Airlock: the host's side of each capability.
//!
//! [`Services`] is what a host has of them. Each field is a trait object of core's, so that an
//! embedder may put something else in its place; what is there where nothing is said is said
//! with the field.

mod absent;
mod config;
mod events;
pub mod exec;
mod http;
mod log;
mod mail;
mod memory;
mod metadata;
pub(crate) mod net;
mod plugin_tool;
mod process;
mod tool_fn;
mod tools;

use std::sync::Arc;

use airlock_core::{
    Config, Events, Exec, Http, Kv, Log, MAIL_NETWORK_VARIABLE, Mail, Memory, MemoryKv, Metadata, NoSecrets,
    Redactor, Secrets, Tools, mail_network,
};

pub(crate) use mail::use_mail;

// The public interface is:
pub use absent::Absent;
pub use config::OperatorConfig;
pub use events::EventBus;
pub use exec::Programs;
pub use http::{HttpClient, HttpClientBuilder};
pub use log::TracingLog;
pub use memory::TransientMemory;
pub use metadata::ProjectFacts;
pub use net::{Resolve, SystemResolver, TcpConnection, TcpConnector};
pub use plugin_tool::PluginTool;
pub use tool_fn::ToolFn;
pub use tools::ToolRegistry;

/// A host's services.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Services {
    /// What plugins keep: in memory where nothing else is said.
    pub kv: Arc<dyn Kv>,
    /// What the application remembers: nothing, where it has no such memory.
    pub memory: Arc<dyn Memory>,
    /// Requests over the network: to what the system's name servers and certificates say.
    pub http: Arc<dyn Http>,
    /// The addresses of names that programs look up to connect to them: what the system's name
    /// servers say.
    pub resolver: Arc<dyn Resolve>,
    /// Programs of the machine: on the path of this process.
    pub exec: Arc<dyn Exec>,
    /// Configuration: what the host's environment says.
    pub config: Arc<dyn Config>,
    /// Secrets: none.
    pub secrets: Arc<dyn Secrets>,
    /// What plugins log: to `tracing`.
    pub log: Arc<dyn Log>,
    /// Events between plugins and the application.
    pub events: Arc<dyn Events>,
    /// Facts of the project that a plugin is run in.
    pub metadata: Arc<dyn Metadata>,
    /// What the application and plugins offer to plugins.
    pub tools: Arc<dyn Tools>,
    /// The mailboxes of the user's accounts: none.
    pub mail: Arc<dyn Mail>,
    /// Whether plugins may have mail fetched and sent, beside their grants: what
    /// [`MAIL_NETWORK_VARIABLE`] said when this was made. Without
    /// it they read what is kept.
    pub mail_network: bool,
    /// Takes secrets out of texts.
    pub redactor: Redactor,
}

impl Default for Services {
    fn default() -> Self {
        let redactor = Redactor::new();
        Services {
            kv: Arc::new(MemoryKv::new()),
            memory: Arc::new(Absent),
            http: Arc::new(HttpClient::default()),
            resolver: Arc::new(SystemResolver::new()),
            exec: Arc::new(Programs::new()),
            config: Arc::new(OperatorConfig::new()),
            secrets: Arc::new(NoSecrets),
            log: Arc::new(TracingLog::new(redactor.clone())),
            events: Arc::new(EventBus::new()),
            metadata: Arc::new(ProjectFacts::new()),
            tools: Arc::new(ToolRegistry::new()),
            mail: Arc::new(Absent),
            mail_network: mail_network(std::env::var_os(MAIL_NETWORK_VARIABLE).as_deref()),
            redactor,
        }
    }
}

impl Services {
    /// The same with these secrets, which requests carry to the hosts that they are for.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        let client = HttpClient::builder().credentials(secrets.clone(), self.redactor.clone());
        self.http = Arc::new(client.build());
        self.secrets = secrets;
        self
    }
}
