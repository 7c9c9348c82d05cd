//! The mailbox behind the email capability.
//!
//! [`Mailbox`] is a SQLite database with what accounts have received and what they are to send,
//! and a folder beside it with what was attached, each file under the SHA-256 of its bytes. A
//! database that PRX-Email made is opened as it is: this crate only adds to its schema.
//!
//! [`MailService`] is what plugins reach, with the permits of core's gate; an application and the
//! command are their user's own, and need none. No credential is in the database.

#![forbid(unsafe_code)]

mod account;
mod attachments;
mod compose;
mod connector;
mod credentials;
mod db;
mod deliver;
mod echo;
mod features;
mod folders;
mod imap;
mod keep;
mod messages;
mod oauth;
mod outbox;
mod parse;
mod query;
mod rules;
mod search;
mod secrets;
mod sent;
mod service;
mod smtp;
mod sweep;
mod sync;
#[cfg(test)]
mod testing;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use airlock_core::{MailCode, MailError};
use airlock_files::Folder;
use rusqlite::Connection;

// The public interface is:
pub use account::{Account, Auth, NewAccount, Protocol, Security, Server};
pub use attachments::AttachmentPolicy;
pub use connector::{Connector, Credentials};
pub use credentials::StoredCredentials;
pub use features::Feature;
pub use folders::SyncState;
pub use imap::{RemoteFolder, SpecialUse, Stop};
pub use keep::{Kept, NewMessage};
pub use oauth::{DevicePrompt, OauthLogin, OauthProvider, Tokens};
pub use outbox::OutboxEntry;
pub use parse::{MESSAGE_BYTES, RawMessage};
pub use query::Query;
pub use rules::SendRules;
pub use secrets::{PassphraseFile, SecretPlace, SecretStore};
pub use sent::Looked;
pub use service::MailService;
pub use sync::{Backoff, SyncProgress, SyncWorker, SyncedFolder, Watch};
pub use worker::OutboxWorker;

/// The mail of all accounts of one user.
pub struct Mailbox {
    path: PathBuf,
    connection: Mutex<Connection>,
    policy: AttachmentPolicy,
    attached: attachments::Attachments,
}

impl Mailbox {
    /// Opens the database `file`, and makes it at the first use. What is attached goes beside
    /// it. Others may not be able to write to its folder.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when it is damaged, newer than this version, of somebody else, or
    /// cannot be opened.
    pub fn open(file: &Path) -> Result<Self, MailError> {
        let unusable = |reason: &dyn fmt::Display| {
            MailError::new(MailCode::Storage, &format!("`{}` cannot be used: {reason}", file.display()))
        };
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| unusable(&"its name is no text"))?;
        let parent = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let folder = Folder::private(parent).map_err(|error| unusable(&error))?;
        // The folder is resolved and the name is not: SQLite follows no symbolic link at all.
        let path = parent.canonicalize().map_err(|error| unusable(&error))?.join(name);
        let connection = Mutex::new(db::open(&folder, &path, name)?);
        Ok(Mailbox {
            path,
            connection,
            policy: AttachmentPolicy::default(),
            attached: attachments::Attachments::default(),
        })
    }

    /// The same with these attachments kept and sent, and no others.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for a policy that allows none.
    pub fn with_attachments(self, policy: AttachmentPolicy) -> Result<Self, MailError> {
        match policy.max_bytes == 0 || policy.types.is_empty() {
            true => Err(MailError::invalid("attachment policy must define max size and allowed types")),
            false => Ok(Mailbox { policy, ..self }),
        }
    }

    fn policy(&self) -> &AttachmentPolicy {
        &self.policy
    }

    /// The database.
    pub fn file(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction has rolled it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
