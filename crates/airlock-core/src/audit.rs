//! What is worth remembering, and where it goes.

use std::fmt;

use serde::Serialize;

use crate::{Capability, Digest, Identity, Lasting, Result, Usage};

/// Something that happened to or through a plugin, or to mail.
///
/// Holds names, scopes and counts; never what was read, sent or kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// It was installed.
    Installed {
        /// The version, as its manifest has it.
        version: Option<String>,
        /// Where it came from.
        source: String,
    },
    /// Its bytes were replaced.
    Updated {
        /// What it was before.
        from: Digest,
        /// The version, as its manifest has it.
        version: Option<String>,
        /// Where it came from.
        source: String,
    },
    /// An earlier version took its place.
    RolledBack {
        /// What it was before.
        from: Digest,
    },
    /// It was removed.
    Removed,
    /// It was allowed something.
    Granted {
        /// What.
        capability: Capability,
        /// For how long.
        lasting: Lasting,
        /// Who or what decided.
        by: String,
    },
    /// It was denied something that it asked for.
    Denied {
        /// What.
        capability: Capability,
        /// Who or what decided.
        by: String,
    },
    /// Something it was allowed was taken back.
    Revoked {
        /// What.
        capability: Capability,
        /// Who or what decided.
        by: String,
    },
    /// A function of it was called.
    Called {
        /// Which; of a program `_start`.
        function: String,
        /// `ok`, or the code of the error it ended with.
        outcome: String,
        /// What the call used, where it got as far as using anything.
        usage: Option<Usage>,
    },
    /// It used a capability, in one call.
    Used {
        /// What was used, with the narrowest scope that says it: the file, the host, the
        /// program.
        capability: Capability,
        /// How often.
        count: u64,
    },
    /// It tried to use a capability that it does not have, in one call.
    Refused {
        /// What it lacked.
        capability: Capability,
        /// How often.
        count: u64,
    },
    /// The user of a mailbox did something with an account or its outbox.
    Mail {
        /// What.
        task: MailTask,
        /// The account, by the name that grants have for it.
        account: String,
    },
}

/// What the user of a mailbox does, beside what plugins may do with mail too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailTask {
    /// Sets an account up, or its servers anew.
    SetAccount,
    /// Removes an account with its mail.
    RemoveAccount,
    /// Switches a feature on.
    SwitchOn,
    /// Switches a feature off.
    SwitchOff,
    /// Gives the password of an account.
    SetPassword,
    /// Logs in with a provider of tokens.
    Login,
    /// Tries whether an account's servers let it in.
    Test,
    /// Asks a server which folders there are.
    Folders,
    /// Shows the accounts.
    Accounts,
    /// Shows what is to be sent, and what was.
    Outbox,
    /// Sends what is due.
    SendDue,
    /// Has something that failed tried again.
    Retry,
    /// Has something not be sent.
    Cancel,
    /// Looks at the server whether something was sent.
    Check,
    /// Says of something that it was sent.
    Arrived,
}

impl AuditEvent {
    /// The event's kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            AuditEvent::Installed { .. } => "installed",
            AuditEvent::Updated { .. } => "updated",
            AuditEvent::RolledBack { .. } => "rolled_back",
            AuditEvent::Removed => "removed",
            AuditEvent::Granted { .. } => "granted",
            AuditEvent::Denied { .. } => "denied",
            AuditEvent::Revoked { .. } => "revoked",
            AuditEvent::Called { .. } => "called",
            AuditEvent::Used { .. } => "used",
            AuditEvent::Refused { .. } => "refused",
            AuditEvent::Mail { .. } => "mail",
        }
    }
}

/// Where events go.
pub trait AuditSink: Send + Sync + fmt::Debug {
    /// Keeps what happened, in this order, and returns once a crash of this process would not
    /// lose it.
    ///
    /// # Errors
    /// When it could not be kept.
    fn record(&self, plugin: &Identity, events: &[AuditEvent]) -> Result<()>;
}

/// What becomes of a call whose audit record cannot be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// The call fails.
    #[default]
    Refuse,
    /// The call goes on, and the failure is traced.
    Continue,
}

/// Events in memory, for tests and embedders.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    events: std::sync::Mutex<Vec<(Identity, AuditEvent)>>,
}

impl MemoryAudit {
    /// None yet.
    pub fn new() -> Self {
        MemoryAudit::default()
    }

    /// What was recorded so far.
    pub fn events(&self) -> Vec<(Identity, AuditEvent)> {
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl AuditSink for MemoryAudit {
    fn record(&self, plugin: &Identity, events: &[AuditEvent]) -> Result<()> {
        let mut kept = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.extend(events.iter().map(|event| (plugin.clone(), event.clone())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::AuditEvent;

    #[test]
    fn an_event_is_written_with_its_kind() {
        let event = AuditEvent::Refused { capability: "fs.read=data".parse().expect("valid"), count: 3 };
        let written = serde_json::to_value(&event).expect("it serialises");
        assert_eq!(written, serde_json::json!({"kind": "refused", "capability": "fs.read=data", "count": 3}));
        assert_eq!(written["kind"], event.kind());
    }
}
