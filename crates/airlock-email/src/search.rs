//! Finding messages.

use airlock_core::{MailError, SearchMail, SearchSyntax, Searched};
use rusqlite::{Connection, ToSql, named_params};

use crate::db::failed;
use crate::messages::{COLUMNS, listed};
use crate::query::Query;
use crate::{Feature, Mailbox};

/// How many messages may hold the words to be ranked. A rank is made of how often each word is in
/// all messages, which for a word of every message takes longer than anybody waits; the
/// latest come first then.
const RANKED: u32 = 2_000;

/// The filters of a query.
fn filters(query: &Query) -> String {
    let attachment = match query.attachment {
        None => "",
        // As the index of messages with attachments has it.
        Some(true) => " AND coalesce(m.attachments_json, '[]') <> '[]'",
        Some(false) => " AND coalesce(m.attachments_json, '[]') = '[]'",
    };
    format!(
        "m.account_id = :account
         AND (:after IS NULL OR coalesce(m.sent_at, m.received_at) >= :after)
         AND (:before IS NULL OR coalesce(m.sent_at, m.received_at) < :before){attachment}"
    )
}

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
    let (wanted, unwanted, filters) = (query.wanted(), query.unwanted(), filters(query));
    let latest = "ORDER BY m.received_at DESC, m.id DESC LIMIT :limit";
    let holding = format!(
        "FROM message_words CROSS JOIN messages m ON m.id = message_words.rowid
         WHERE message_words MATCH :words AND {filters}"
    );
    let values =
        |expression: Option<String>, count: u32| (account, expression, query.after, query.before, count);
    let (sql, expression) = match (wanted, unwanted) {
        (Some(wanted), _) => {
            let sql = format!("SELECT 1 {holding} ORDER BY message_words.rowid DESC LIMIT 1 OFFSET :limit");
            let mut statement = connection.prepare_cached(&sql)?;
            let is_common = statement.exists(bound(&values(Some(wanted.clone()), RANKED)).as_slice())?;
            // By one thing alone, so that FTS5 sorts, and makes a snippet only of what is found.
            let order = if is_common { "rowid DESC" } else { "rank" };
            (
                format!(
                    "SELECT {COLUMNS}, snippet(message_words, -1, '', '', '…', 24) {holding}
                     ORDER BY message_words.{order} LIMIT :limit"
                ),
                Some(wanted),
            )
        }
        (None, Some(unwanted)) => (
            format!(
                "SELECT {COLUMNS}, NULL FROM messages m WHERE {filters}
                 AND m.id NOT IN (SELECT rowid FROM message_words WHERE message_words MATCH :words) {latest}"
            ),
            Some(unwanted),
        ),
        (None, None) => (
            format!("SELECT {COLUMNS}, NULL FROM messages m WHERE {filters} AND :words IS NULL {latest}"),
            None,
        ),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query(bound(&values(expression, limit)).as_slice())?;
    listed(rows, |row| row.get(16))
}

/// What the statements of [`words`] are about.
type Values = (i64, Option<String>, Option<i64>, Option<i64>, u32);

fn bound(values: &Values) -> [(&'static str, &dyn ToSql); 5] {
    let (account, words, after, before, limit) = values;
    [(":account", account), (":words", words), (":after", after), (":before", before), (":limit", limit)]
}
