//! Why mail did not do what it was asked.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Delivery, MailTool};
use crate::{Error, ErrorKind, ServiceError, visible};

/// The stable code of a [`MailError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailCode {
    /// The request makes no sense.
    Validation,
    /// The network is switched off for guests, or a grant is missing.
    NetworkGuard,
    /// There is no mailbox.
    HostCapabilityUnavailable,
    /// It is switched off for this account.
    FeatureDisabled,
    /// A server could not be reached, or the connection broke.
    Network,
    /// A server refused.
    Provider,
    /// The mailbox on disk cannot be used.
    Storage,
}

impl MailCode {
    /// All of them.
    pub const ALL: [MailCode; 7] = [
        MailCode::Validation,
        MailCode::NetworkGuard,
        MailCode::HostCapabilityUnavailable,
        MailCode::FeatureDisabled,
        MailCode::Network,
        MailCode::Provider,
        MailCode::Storage,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        MailCode::ALL.into_iter().find(|code| code.name() == name)
    }

    /// Its name: `EMAIL_VALIDATION`.
    pub fn name(self) -> &'static str {
        match self {
            MailCode::Validation => "EMAIL_VALIDATION",
            MailCode::NetworkGuard => "EMAIL_NETWORK_GUARD",
            MailCode::HostCapabilityUnavailable => "EMAIL_HOST_CAPABILITY_UNAVAILABLE",
            MailCode::FeatureDisabled => "EMAIL_FEATURE_DISABLED",
            MailCode::Network => "EMAIL_NETWORK",
            MailCode::Provider => "EMAIL_PROVIDER",
            MailCode::Storage => "EMAIL_STORAGE",
        }
    }

    /// The same as a code of [`Error`]: `email-validation`.
    pub(crate) fn kebab(self) -> &'static str {
        match self {
            MailCode::Validation => "email-validation",
            MailCode::NetworkGuard => "email-network-guard",
            MailCode::HostCapabilityUnavailable => "email-host-capability-unavailable",
            MailCode::FeatureDisabled => "email-feature-disabled",
            MailCode::Network => "email-network",
            MailCode::Provider => "email-provider",
            MailCode::Storage => "email-storage",
        }
    }

    /// The one of PRX's five codes that its own readers know it by.
    fn legacy(self) -> &'static str {
        match self {
            MailCode::Validation => "Validation",
            MailCode::NetworkGuard | MailCode::FeatureDisabled => "FeatureDisabled",
            MailCode::Network => "Network",
            MailCode::HostCapabilityUnavailable | MailCode::Provider => "Provider",
            MailCode::Storage => "Storage",
        }
    }
}

impl fmt::Display for MailCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why mail did not do what it was asked. Never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailError(Box<Told>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    code: MailCode,
    message: String,
    guard: Option<&'static str>,
    delivery: Option<Delivery>,
    cause: Option<ServiceError>,
}

impl MailError {
    /// An error with this code. The message may hold what a guest or a server said: it is
    /// made visible here.
    pub fn new(code: MailCode, message: &str) -> Self {
        let message = visible(message, false).into_owned();
        MailError(Box::new(Told { code, message, guard: None, delivery: None, cause: None }))
    }

    /// A request that makes no sense.
    pub fn invalid(message: &str) -> Self {
        MailError::new(MailCode::Validation, message)
    }

    /// A guest asks for the network, which is switched off for guests.
    pub fn network_off() -> Self {
        let message = "real network execution disabled by policy";
        let mut error = MailError::new(MailCode::NetworkGuard, message);
        error.0.guard = Some("real-network-disabled");
        error
    }

    /// There is no mailbox.
    pub fn no_mailbox() -> Self {
        MailError::new(MailCode::HostCapabilityUnavailable, "no mailbox is set up on this host")
    }

    /// The same, about a message that is kept to be sent.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = Some(delivery);
        self
    }

    /// Its code.
    pub fn code(&self) -> MailCode {
        self.0.code
    }

    /// What happened, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What became of the message that was to be sent.
    pub fn delivery(&self) -> Option<&Delivery> {
        self.0.delivery.as_ref()
    }

    /// The error of the gate, where it was one: a denial, a limit, the end of the call.
    pub fn cause(&self) -> Option<&ServiceError> {
        self.0.cause.as_ref()
    }

    /// The answer of a tool that failed, as PRX's plugin and library would read it.
    pub fn to_json(&self, tool: MailTool) -> Value {
        let mut answer = Map::new();
        answer.insert("ok".to_owned(), json!(false));
        answer.insert("tool".to_owned(), json!(tool.name()));
        answer.insert("error_code".to_owned(), json!(self.0.code.name()));
        if let Some(guard) = self.0.guard {
            answer.insert("guard".to_owned(), json!(guard));
            answer.insert("legacy_error_code".to_owned(), json!("EMAIL_REAL_NETWORK_DISABLED"));
            let hint = "Set PRX_EMAIL_ENABLE_REAL_NETWORK=1 to enable real IMAP/SMTP execution";
            answer.insert("hint".to_owned(), json!(hint));
        }
        answer.insert("message".to_owned(), json!(self.0.message));
        answer.insert("data".to_owned(), json!(self.0.delivery));
        let error = json!({ "code": self.0.code.legacy(), "message": self.0.message });
        answer.insert("error".to_owned(), error);
        Value::Object(answer)
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for MailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

impl From<MailError> for Error {
    fn from(error: MailError) -> Self {
        let hint = match error.code() {
            MailCode::FeatureDisabled => Some("`airlock email account switch` switches it on"),
            _ => None,
        };
        let error = Error::new(ErrorKind::Mail(error));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// What a gate or a permit refuses.
impl From<ServiceError> for MailError {
    fn from(error: ServiceError) -> Self {
        let code = match &error {
            ServiceError::Invalid(_) | ServiceError::NotFound(_) => MailCode::Validation,
            ServiceError::Denied(_) | ServiceError::Limit { .. } => MailCode::NetworkGuard,
            ServiceError::TimedOut | ServiceError::Ended => MailCode::Network,
            ServiceError::Failed(_) => MailCode::Provider,
            ServiceError::Full { .. } | ServiceError::Unavailable(_) => MailCode::Storage,
        };
        let mut told = MailError::new(code, &error.to_string());
        told.0.cause = Some(error);
        told
    }
}
