//! Mail: what the mailbox of an account holds, and what is sent from it.
//!
//! The words are those of PRX's mail plugin: six tools, `email.sync` and so on, which take and
//! give JSON. [`MailRequest::read`] is their arguments, [`MailAnswer::to_json`] their results,
//! and an application that calls the service itself needs neither.
//!
//! A permit for mail is of a kind and not yet of an account: which account is meant may be
//! known to the mailbox alone. It asks [`Permit::also`] for that account by its name, before
//! it reads anything of it.

mod answer;
mod error;
mod request;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::{CapabilityKind, Permit};

pub use answer::{Delivery, Gotten, Listed, MailAnswer, MailMessage, Replied, Searched, Sent, Synced};
pub use error::{MailCode, MailError};
pub use request::{
    AttachmentSource, GetMail, ListMail, MAIL_LIMIT, MailAttachment, MailRequest, ReplyMail, SearchMail,
    SearchSyntax, SendMail, SyncMail,
};

/// The environment variable that lets plugins have mail fetched and sent (PRX's).
pub const MAIL_NETWORK_VARIABLE: &str = "PRX_EMAIL_ENABLE_REAL_NETWORK";

/// Whether a value of [`MAIL_NETWORK_VARIABLE`] says so: `1`, `true`, `yes` or `on`, in any case and with
/// space around it, as PRX's plugin reads it.
pub fn mail_network(value: Option<&OsStr>) -> bool {
    let value = value.and_then(OsStr::to_str).unwrap_or_default().trim();
    ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// What a method of [`Mail`] returns: dropped, it stops.
pub type MailFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, MailError>> + Send + 'a>>;

/// One of the six things that can be done with mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTool {
    /// Fetches what is new from the server.
    Sync,
    /// The newest messages.
    List,
    /// One message.
    Get,
    /// Messages that a query finds.
    Search,
    /// Sends a message.
    Send,
    /// Answers a message.
    Reply,
}

impl MailTool {
    /// All of them, as they are documented.
    pub const ALL: [MailTool; 6] =
        [MailTool::Sync, MailTool::List, MailTool::Get, MailTool::Search, MailTool::Send, MailTool::Reply];

    /// The tool of this name.
    pub fn named(name: &str) -> Option<Self> {
        MailTool::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name: `email.sync`.
    pub fn name(self) -> &'static str {
        match self {
            MailTool::Sync => "email.sync",
            MailTool::List => "email.list",
            MailTool::Get => "email.get",
            MailTool::Search => "email.search",
            MailTool::Send => "email.send",
            MailTool::Reply => "email.reply",
        }
    }

    /// What has to be granted for it, for the account that it is used with.
    pub fn kind(self) -> CapabilityKind {
        match self {
            MailTool::Sync => CapabilityKind::EmailSync,
            MailTool::List | MailTool::Get => CapabilityKind::EmailRead,
            MailTool::Search => CapabilityKind::EmailSearch,
            MailTool::Send => CapabilityKind::EmailSend,
            MailTool::Reply => CapabilityKind::EmailReply,
        }
    }

    /// Whether it speaks with a server. The others read what is kept and open no connection.
    pub fn needs_network(self) -> bool {
        matches!(self, MailTool::Sync | MailTool::Send | MailTool::Reply)
    }
}

impl fmt::Display for MailTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The mailboxes of the accounts that the operator set up. No credential passes through here.
///
/// Each method takes a permit of the kind that its tool needs ([`MailTool::kind`]).
pub trait Mail: Send + Sync + fmt::Debug {
    /// Fetches what is new in a folder, at most as many messages as the request says; the next
    /// call goes on where this one ended.
    fn sync<'a>(&'a self, permit: &'a Permit, request: &'a SyncMail) -> MailFuture<'a, Synced>;

    /// The newest messages first.
    fn list<'a>(&'a self, permit: &'a Permit, request: &'a ListMail) -> MailFuture<'a, Listed>;

    /// One message; that there is none is no error.
    fn get<'a>(&'a self, permit: &'a Permit, request: &'a GetMail) -> MailFuture<'a, Gotten>;

    /// Messages that a query finds.
    fn search<'a>(&'a self, permit: &'a Permit, request: &'a SearchMail) -> MailFuture<'a, Searched>;

    /// Sends a message. It is kept first, so that it is neither lost nor sent twice, whenever
    /// this ends.
    fn send<'a>(&'a self, permit: &'a Permit, request: &'a SendMail) -> MailFuture<'a, Sent>;

    /// Answers a message that is kept, as [`Mail::send`] sends.
    fn reply<'a>(&'a self, permit: &'a Permit, request: &'a ReplyMail) -> MailFuture<'a, Replied>;
}
