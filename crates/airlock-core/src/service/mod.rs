//! The host's side of the capabilities: what a guest can reach through its [`Gate`](crate::Gate).
//!
//! Each service is a trait with one implementation that comes with Airlock, and an embedder may
//! bring another. Every method takes a [`Permit`](crate::Permit), so that nothing is reached
//! without a check; what the permit does not say, such as where a redirect leads, the service
//! has to ask it. No service knows which ABI called: it fails with a [`ServiceError`], which
//! the ABI's adapter turns into what its plugins expect.
//!
//! A future that is dropped has to stop: a call that is over commits nothing more. One that
//! hands work to other threads asks [`Permit::check`](crate::Permit::check) before it commits.

mod config;
mod events;
mod exec;
#[cfg(test)]
mod fuzz;
mod http;
mod kv;
mod log;
mod mail;
mod memory;
mod metadata;
mod secret;
mod tools;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::{Capability, Error, ErrorKind, LimitKind, Phase, visible};

pub use config::Config;
pub use events::{EVENT_DEPTH, EVENT_PAYLOAD, EVENT_TOPIC, Event, Events, Subscription};
pub use exec::{Ended, Exec, OutputSink, ProgramRun, Stream};
pub use http::{HOP_BY_HOP, Http, HttpBody, HttpRequest, HttpResponse};
pub use kv::{KV_KEY, Kv, KvChange, MemoryKv};
pub use log::{Log, LogLevel};
pub use mail::{
    AttachmentSource, Delivery, GetMail, Gotten, ListMail, Listed, MAIL_LIMIT, MAIL_NETWORK_VARIABLE, Mail,
    MailAnswer, MailAttachment, MailCode, MailError, MailFuture, MailMessage, MailRequest, MailTool, Replied,
    ReplyMail, SearchMail, SearchSyntax, Searched, SendMail, Sent, SyncMail, Synced, mail_network,
};
pub use memory::{MEMORY_CATEGORY, MEMORY_LIMIT, MEMORY_TEXT, Memory, MemoryEntry};
pub use metadata::Metadata;
pub use secret::{Credential, NoSecrets, Redactor, Secret, Secrets};
pub use tools::{Tool, ToolInfo, Tools};

/// What a service's method returns: dropped, it stops.
pub type ServiceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ServiceError>> + Send + 'a>>;

/// Why a service did not do what it was asked.
///
/// Its text may hold what a guest or a server said, and is made visible where it is shown.
/// It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceError {
    /// A capability is missing.
    Denied(Capability),
    /// A limit of the call was hit.
    Limit {
        /// Which.
        limit: LimitKind,
        /// Its value, in the limit's unit.
        maximum: u64,
    },
    /// What the guest asked for makes no sense: no URL, no key.
    Invalid(String),
    /// There is no such thing: a program, a tool, an account.
    NotFound(String),
    /// What a plugin keeps would be more than it may.
    Full {
        /// Bytes that it would be.
        needed: u64,
        /// Bytes that it may be.
        quota: u64,
    },
    /// It took longer than the guest or a limit of the service allows.
    TimedOut,
    /// The call is over, so nothing is done any more.
    Ended,
    /// Whoever was asked failed: a server, a program, another plugin.
    Failed(String),
    /// The host cannot do it: it has no such service, or a disk that is full.
    Unavailable(String),
}

impl ServiceError {
    /// The stable name of this kind of error, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            ServiceError::Denied(_) => "denied",
            ServiceError::Limit { limit, .. } => limit.code(),
            ServiceError::Invalid(_) => "invalid",
            ServiceError::NotFound(_) => "not-found",
            ServiceError::Full { .. } => "full",
            ServiceError::TimedOut => "timed-out",
            ServiceError::Ended => "ended",
            ServiceError::Failed(_) => "failed",
            ServiceError::Unavailable(_) => "unavailable",
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::Denied(capability) => write!(f, "`{capability}` is needed and not granted"),
            ServiceError::Limit { limit, maximum } => {
                write!(f, "limit `{}` of {} hit", limit.row().name, limit.row().unit.show(*maximum))
            }
            ServiceError::Invalid(reason)
            | ServiceError::Failed(reason)
            | ServiceError::Unavailable(reason) => f.write_str(&visible(reason, false)),
            ServiceError::NotFound(what) => write!(f, "there is no {}", visible(what, false)),
            ServiceError::Full { needed, quota } => {
                let show = |bytes: &u64| crate::Unit::Bytes.show(*bytes);
                write!(f, "{} would be kept, of which {} are granted", show(needed), show(quota))
            }
            ServiceError::TimedOut => f.write_str("it took too long"),
            ServiceError::Ended => f.write_str("the call is over"),
        }
    }
}

impl std::error::Error for ServiceError {}

/// For a call that cannot go on without what the service did not do.
impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        Error::new(match error {
            ServiceError::Denied(capability) => ErrorKind::Denied(capability),
            ServiceError::Limit { limit, maximum } => {
                ErrorKind::Limit { limit, maximum, asked: None, phase: Phase::Call }
            }
            ServiceError::Ended => ErrorKind::Cancelled { phase: Phase::Call },
            ServiceError::Unavailable(reason) => ErrorKind::Host(reason),
            other => ErrorKind::Failed(other.to_string()),
        })
    }
}
