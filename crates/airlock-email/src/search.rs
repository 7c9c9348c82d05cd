//! Finding messages.

use airlock_core::{MailError, SearchMail, SearchSyntax, Searched};
use rusqlite::{Connection, named_params};

use crate::db::failed;
use crate::messages::{COLUMNS, listed};
use crate::query::Query;
use crate::{Feature, Mailbox};

/// The filters of a query, after the account.
const FILTERS: &str = "m.account_id = :account
    AND (:after IS NULL OR coalesce(m.sent_at, m.received_at) >= :after)
    AND (:before IS NULL OR coalesce(m.sent_at, m.received_at) < :before)
    AND (:attachment IS NULL OR (coalesce(m.attachments_json, '[]') <> '[]') = :attachment)";

impl Mailbox {
    /// Messages that a query finds.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for a query that is none.
    pub fn search(&self, request: &SearchMail) -> Result<Searched, MailError> {
        let account = self.account(request.account_id)?.id;
        self.require(account, Feature::InboxSearch)?;
        let connection = self.connection();
        let (text, limit) = (&request.query, request.limit);
        let messages = match request.syntax {
            SearchSyntax::Plain => plain(&connection, account, text, limit),
            SearchSyntax::Words => words(&connection, account, &Query::read(text)?, limit),
        };
        let messages = messages.map_err(failed)?;
        Ok(Searched { account_id: account, query: text.clone(), messages })
    }
}

type Found = rusqlite::Result<Vec<airlock_core::MailMessage>>;

/// As PRX does it, `%` and `_` included.
fn plain(connection: &Connection, account: i64, text: &str, limit: u32) -> Found {
    let sql = format!(
        "SELECT {COLUMNS} FROM messages m WHERE m.account_id = :account
         AND (m.subject LIKE :like OR m.sender LIKE :like OR m.snippet LIKE :like)
         ORDER BY m.received_at DESC, m.id DESC LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let like = format!("%{text}%");
    let rows = statement.query(named_params! { ":account": account, ":like": like, ":limit": limit })?;
    listed(rows, |_| Ok(None))
}

fn words(connection: &Connection, account: i64, query: &Query, limit: u32) -> Found {
    let (wanted, unwanted) = (query.wanted(), query.unwanted());
    // By rank alone, so that FTS5 sorts, and makes a snippet only of what is found.
    let (sql, expression) = match (&wanted, &unwanted) {
        (Some(_), _) => (
            format!(
                "SELECT {COLUMNS}, snippet(message_words, -1, '', '', '…', 24)
                 FROM message_words CROSS JOIN messages m ON m.id = message_words.rowid
                 WHERE message_words MATCH :words AND {FILTERS}
                 ORDER BY message_words.rank LIMIT :limit"
            ),
            wanted,
        ),
        (None, Some(_)) => (
            format!(
                "SELECT {COLUMNS}, NULL FROM messages m WHERE {FILTERS}
                 AND m.id NOT IN (SELECT rowid FROM message_words WHERE message_words MATCH :words)
                 ORDER BY m.received_at DESC, m.id DESC LIMIT :limit"
            ),
            unwanted,
        ),
        (None, None) => (
            format!(
                "SELECT {COLUMNS}, NULL FROM messages m WHERE {FILTERS} AND :words IS NULL
                 ORDER BY m.received_at DESC, m.id DESC LIMIT :limit"
            ),
            None,
        ),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query(named_params! {
        ":account": account,
        ":words": expression,
        ":after": query.after,
        ":before": query.before,
        ":attachment": query.attachment,
        ":limit": limit,
    })?;
    listed(rows, |row| row.get(16))
}
