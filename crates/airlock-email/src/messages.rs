//! Messages that are kept, listed and got.

use airlock_core::{GetMail, Gotten, ListMail, Listed, MAIL_LIMIT, MailError, MailMessage};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::db::failed;
use crate::{Feature, Mailbox};

/// Bytes of bodies that a list holds; the rest of its messages come without.
const LISTED_BODIES: usize = 4 << 20;

/// What a message is read from, the bodies last: they are not read where they are left out.
pub(crate) const COLUMNS: &str = "m.id, m.account_id, m.folder_id, m.message_id, m.subject, m.sender,
    m.recipients, m.snippet, m.attachments_json, m.references_header, m.received_at, m.sent_at,
    m.created_at, m.updated_at, m.body_text, m.body_html";

/// Refuses to list nothing, or more than anybody may: of plugins' requests it is known before.
pub(crate) fn check_limit(limit: u32) -> Result<(), MailError> {
    match (1..=MAIL_LIMIT).contains(&limit) {
        true => Ok(()),
        false => Err(MailError::invalid(&format!("limit_out_of_range:{limit} (expected 1..={MAIL_LIMIT})"))),
    }
}

impl Mailbox {
    /// The newest messages of a folder, and of none.
    ///
    /// # Errors
    /// As every method here: [`MailCode`](airlock_core::MailCode) says whose fault it is.
    pub fn list(&self, request: &ListMail) -> Result<Listed, MailError> {
        check_limit(request.limit)?;
        let account = self.account(request.account_id)?.id;
        self.require(account, Feature::InboxRead)?;
        // A message is in the folder that it came from first, or has a place in it, or is PRX's and
        // in none. Each of these has its order in an index.
        let latest = "ORDER BY received_at DESC, 1 DESC LIMIT ?3";
        let sql = format!(
            "WITH wanted AS (SELECT id FROM folders WHERE account_id = ?1 AND path = ?2)
             SELECT {COLUMNS} FROM messages m WHERE m.id IN (
                SELECT * FROM (SELECT id FROM messages WHERE account_id = ?1 AND folder_id IS NULL {latest})
                UNION SELECT * FROM (SELECT id FROM messages
                    WHERE account_id = ?1 AND folder_id = (SELECT id FROM wanted) {latest})
                UNION SELECT * FROM (SELECT message_id FROM message_places
                    WHERE folder_id = (SELECT id FROM wanted) {latest}))
             ORDER BY m.received_at DESC, m.id DESC LIMIT ?3"
        );
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let rows = statement.query(params![account, request.folder, request.limit]).map_err(failed)?;
        Ok(Listed { account_id: account, messages: listed(rows, |_| Ok(None)).map_err(failed)? })
    }

    /// The message of this id, with or without the angle brackets that a Message-ID has.
    pub fn get(&self, request: &GetMail) -> Result<Gotten, MailError> {
        let account = self.account(request.account_id)?.id;
        self.require(account, Feature::InboxRead)?;
        let message = self.message(account, &request.message_id)?;
        Ok(Gotten { account_id: account, message_id: request.message_id.clone(), message })
    }

    pub(crate) fn message(&self, account: i64, id: &str) -> Result<Option<MailMessage>, MailError> {
        let sql =
            format!("SELECT {COLUMNS} FROM messages m WHERE m.account_id = ?1 AND m.message_id IN (?2, ?3)");
        let bracketed = format!("<{}>", id.trim());
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let read = |row: &Row<'_>| with_bodies(row, message(row)?);
        let found = statement.query_row(params![account, id.trim(), bracketed], read);
        found.optional().map_err(failed)
    }
}

/// The messages of rows, with bodies as long as there is room for them. A snippet of the
/// row's own stands for the message's.
pub(crate) fn listed(
    mut rows: rusqlite::Rows<'_>,
    snippet: impl Fn(&Row<'_>) -> rusqlite::Result<Option<String>>,
) -> rusqlite::Result<Vec<MailMessage>> {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let mut message = message(row)?;
        if bytes < LISTED_BODIES {
            let whole = with_bodies(row, message.clone())?;
            let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let more = size(&whole.body_text) + size(&whole.body_html);
            bytes += more;
            if bytes <= LISTED_BODIES {
                message = whole;
            }
        }
        if let Some(snippet) = snippet(row)? {
            message.snippet = Some(snippet);
        }
        messages.push(message);
    }
    Ok(messages)
}

fn message(row: &Row<'_>) -> rusqlite::Result<MailMessage> {
    Ok(MailMessage {
        id: row.get(0)?,
        account_id: row.get(1)?,
        folder_id: row.get(2)?,
        message_id: row.get(3)?,
        subject: row.get(4)?,
        sender: row.get(5)?,
        recipients: row.get(6)?,
        snippet: row.get(7)?,
        attachments_json: row.get(8)?,
        references_header: row.get(9)?,
        received_at: row.get(10)?,
        sent_at: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
        body_text: None,
        body_html: None,
    })
}

fn with_bodies(row: &Row<'_>, message: MailMessage) -> rusqlite::Result<MailMessage> {
    Ok(MailMessage { body_text: row.get(14)?, body_html: row.get(15)?, ..message })
}
