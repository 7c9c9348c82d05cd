//! Mailboxes for tests.

use airlock_core::Digest;
use tempfile::TempDir;

use crate::{Mailbox, NewAccount, NewMessage};

/// A new mailbox in a folder that goes with it.
pub(crate) fn mailbox() -> (TempDir, Mailbox) {
    let home = tempfile::tempdir().expect("a folder");
    let mailbox = Mailbox::open(&home.path().join("mail.db")).expect("made");
    (home, mailbox)
}

/// A new account `NAME@x.example` without servers; its number.
pub(crate) fn account(mailbox: &Mailbox, name: &str) -> i64 {
    let account = NewAccount {
        name: name.to_owned(),
        email: format!("{name}@x.example"),
        display_name: None,
        imap: None,
        smtp: None,
    };
    mailbox.set_account(&account).expect("made")
}

/// A message from Anna with an id of its subject.
pub(crate) fn mail(subject: &str, body: &str) -> NewMessage {
    NewMessage {
        digest: Digest::of(format!("{subject}\n{body}").as_bytes()),
        message_id: Some(format!("{}@x.example", subject.replace(' ', "-"))),
        subject: Some(subject.to_owned()),
        sender: Some("anna@x.example".to_owned()),
        recipients: Some("team@x.example".to_owned()),
        cc: None,
        reply_to: None,
        references: None,
        in_reply_to: None,
        snippet: Some(body.chars().take(120).collect()),
        body_text: Some(body.to_owned()),
        body_html: None,
        attachments_json: None,
        sent_at: None,
        received_at: Some(1_000),
        place: None,
    }
}
