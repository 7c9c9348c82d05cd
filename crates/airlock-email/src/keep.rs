//! Keeping messages that came.
//!
//! A message is known again by its Message-ID and the digest of its bytes. The same bytes in
//! another folder are one message with two places. Other bytes under a Message-ID that is
//! there are a message of their own, whose own id has a part of its digest at the end, so that
//! nobody can have a message taken away by sending another with its Message-ID.

use airlock_core::{Digest, MailError};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::db::{self, failed, now};
use crate::folders::{folder_id, write_state};
use crate::{Mailbox, SyncState};

/// A message that is to be kept. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Of its bytes as they came.
    pub digest: Digest,
    /// Its Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// The first address of `From`.
    pub sender: Option<String>,
    /// All of `To`, separated by `, `.
    pub recipients: Option<String>,
    /// All of `Cc`, separated by `, `.
    pub cc: Option<String>,
    /// The first address of `Reply-To`.
    pub reply_to: Option<String>,
    /// Its `References`: ids in angle brackets, separated by spaces.
    pub references: Option<String>,
    /// Its `In-Reply-To`, as the same.
    pub in_reply_to: Option<String>,
    /// Its beginning.
    pub snippet: Option<String>,
    /// Its text.
    pub body_text: Option<String>,
    /// Its HTML.
    pub body_html: Option<String>,
    /// A JSON array of what is attached.
    pub attachments_json: Option<String>,
    /// When its sender says to have sent it.
    pub sent_at: Option<i64>,
    /// When the server got it.
    pub received_at: Option<i64>,
    /// Its UID in the folder, where it has one, and its flags.
    pub place: Option<(u32, String)>,
}

/// What became of messages that were to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many are new.
    pub new: u64,
    /// How many were there already.
    pub known: u64,
}

impl Mailbox {
    /// Keeps messages of a folder: all of them or, with an error, none.
    pub fn keep(&self, account: i64, folder: &str, messages: &[NewMessage]) -> Result<Kept, MailError> {
        self.keep_to(account, folder, messages, None)
    }

    /// The same, and says at once how far the folder is synced, so that a process that is
    /// killed has neither lost a message nor forgotten where it was.
    pub fn keep_to(
        &self,
        account: i64,
        folder: &str,
        messages: &[NewMessage],
        state: Option<&SyncState>,
    ) -> Result<Kept, MailError> {
        let mut connection = db::connect_to_fill(self.file(), false)?;
        let transaction = db::writing(&mut connection)?;
        let mut kept = Kept::default();
        let mut keep = || -> rusqlite::Result<()> {
            let folder = folder_id(&transaction, account, folder)?;
            keep_all(&transaction, account, folder, messages, &mut kept)?;
            state.map_or(Ok(()), |state| write_state(&transaction, account, folder, state))
        };
        keep().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(kept)
    }
}

/// Keeps messages of a folder within a transaction of [`db::connect_to_fill`], and counts them.
pub(crate) fn keep_all(
    connection: &Connection,
    account: i64,
    folder: i64,
    messages: &[NewMessage],
    kept: &mut Kept,
) -> rusqlite::Result<()> {
    for message in messages {
        match keep(connection, account, folder, message)? {
            true => kept.new += 1,
            false => kept.known += 1,
        }
    }
    Ok(())
}

/// Keeps a message; whether it is new.
fn keep(connection: &Connection, account: i64, folder: i64, message: &NewMessage) -> rusqlite::Result<bool> {
    let digest = message.digest.to_string();
    let own = match &message.message_id {
        // As PRX-Email keeps it.
        Some(id) => format!("<{id}>"),
        None => format!("generated-{account}-{digest}"),
    };
    let find = "SELECT id, digest FROM messages WHERE account_id = ?1 AND message_id = ?2";
    let find = |id: &str| -> rusqlite::Result<Option<(i64, Option<String>)>> {
        let mut statement = connection.prepare_cached(find)?;
        statement.query_row(params![account, id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    let further = format!("{own}+{}", message.digest.short());
    let (id, found) = match find(&own)? {
        None => (own.as_str(), None),
        Some((row, Some(kept))) if kept == digest => (own.as_str(), Some(row)),
        // PRX-Email kept no digest; it took every message of an id for the same.
        Some((row, None)) => {
            let sql = "UPDATE messages SET digest = ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![row, digest])?;
            (own.as_str(), Some(row))
        }
        Some(_) => (further.as_str(), find(&further)?.map(|(row, _)| row)),
    };
    let row = match found {
        Some(row) => row,
        None => insert(connection, account, folder, message, id, &digest)?,
    };
    if let Some((uid, flags)) = &message.place {
        // The time is the message's own, which may be known from elsewhere.
        let sql = "INSERT OR IGNORE INTO message_places (folder_id, uid, message_id, flags, received_at)
                   VALUES (?1, ?2, ?3, ?4, (SELECT received_at FROM messages WHERE id = ?3))";
        let values = params![folder, uid, row, flags];
        if connection.prepare_cached(sql)?.execute(values)? == 0 {
            let sql = "UPDATE message_places SET message_id = ?3, flags = ?4,
                       received_at = (SELECT received_at FROM messages WHERE id = ?3)
                       WHERE folder_id = ?1 AND uid = ?2";
            connection.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(found.is_none())
}

fn insert(
    connection: &Connection,
    account: i64,
    folder: i64,
    message: &NewMessage,
    id: &str,
    digest: &str,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO messages
        (account_id, folder_id, message_id, subject, sender, recipients, snippet, body_text, body_html,
         attachments_json, references_header, received_at, sent_at, cc, reply_to, digest,
         header_message_id, in_reply_to, created_at, updated_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?19)";
    let m = message;
    connection.prepare_cached(sql)?.execute(params![
        account,
        folder,
        id,
        m.subject,
        m.sender,
        m.recipients,
        m.snippet,
        m.body_text,
        m.body_html,
        m.attachments_json,
        m.references,
        m.received_at,
        m.sent_at,
        m.cc,
        m.reply_to,
        digest,
        m.message_id,
        m.in_reply_to,
        now(),
    ])?;
    let row = connection.last_insert_rowid();
    // As the triggers do it for others.
    let sql = "INSERT INTO message_facts (id, account_id, at, is_attached) VALUES (?1, ?2, ?3, ?4)";
    let is_attached = m.attachments_json.as_deref().is_some_and(|json| json != "[]");
    connection.prepare_cached(sql)?.execute(params![
        row,
        account,
        m.sent_at.or(m.received_at),
        is_attached
    ])?;
    let sql = "INSERT INTO message_words (rowid, subject, sender, recipients, body_text)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let words = params![row, m.subject, m.sender, m.recipients, m.body_text];
    connection.prepare_cached(sql)?.execute(words)?;
    Ok(row)
}
