//! Finding messages.

use airlock_core::{MailError, SearchMail, SearchSyntax, Searched};
use rusqlite::{Connection, ToSql, named_params, params};

use crate::db::failed;
use crate::messages::{COLUMNS, listed};
use crate::query::Query;
use crate::{Feature, Mailbox};

/// How many messages may hold the words to be ranked. A rank is made of how often each word is in
/// all messages, which for a word of every message takes longer than anybody waits; the
/// latest come first then.
const RANKED: usize = 1_000;

/// The same where words have to follow each other: each that is ranked is looked at three times, and
/// where the words are common, so is nearly every message.
const RANKED_PHRASES: usize = 100;

/// Messages between two days that are looked at to know where they are.
const DATED: u32 = 10_000;

/// The latest messages that are looked at before all are, where only unwanted words are said.
const LATEST: i64 = 1_000;

/// All rows.
const ALL: (i64, i64) = (i64::MIN, i64::MAX);

/// The filters of a query, over what `message_facts` says.
fn filters(query: &Query) -> String {
    let attachment = match query.attachment {
        None => "",
        Some(true) => " AND f.is_attached",
        Some(false) => " AND NOT f.is_attached",
    };
    format!(
        "f.account_id = :account AND (:after IS NULL OR f.at >= :after)
         AND (:before IS NULL OR f.at < :before){attachment}"
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
        crate::messages::check_limit(request.limit)?;
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
    let mut values = Values {
        account,
        words: query.wanted(),
        after: query.after,
        before: query.before,
        rows: rows(connection, account, query)?,
        limit: i64::from(limit),
    };
    if values.words.is_some() {
        return holding(connection, query, values);
    }
    values.words = query.unwanted();
    let ids = match values.words {
        None => lacking(connection, query, &values, values.limit)?,
        Some(_) => {
            // All that hold the unwanted words are only looked for where the latest are too few.
            let latest = lacking(connection, query, &values, LATEST)?;
            match latest.len() < limit as usize {
                true => lacking(connection, query, &values, -1)?,
                false => latest,
            }
        }
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM messages m WHERE m.id IN (SELECT value FROM json_each(?1))
         ORDER BY m.received_at DESC, m.id DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    listed(statement.query([serde_json::json!(ids).to_string()])?, |_| Ok(None))
}

/// What the statements of a search are about.
struct Values {
    account: i64,
    words: Option<String>,
    after: Option<i64>,
    before: Option<i64>,
    /// Between which rows of messages something may be found.
    rows: (i64, i64),
    limit: i64,
}

impl Values {
    fn bound(&self) -> [(&'static str, &dyn ToSql); 7] {
        [
            (":account", &self.account),
            (":words", &self.words),
            (":after", &self.after),
            (":before", &self.before),
            (":from", &self.rows.0),
            (":to", &self.rows.1),
            (":limit", &self.limit),
        ]
    }
}

/// Between which rows the messages of these days are: those of a few days are near each other.
fn rows(connection: &Connection, account: i64, query: &Query) -> rusqlite::Result<(i64, i64)> {
    if query.after.is_none() && query.before.is_none() {
        return Ok(ALL);
    }
    let sql = "SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM
               (SELECT id FROM message_facts WHERE account_id = ?1 AND at >= ?2 AND at < ?3 LIMIT ?4)";
    let (after, before) = (query.after.unwrap_or(i64::MIN), query.before.unwrap_or(i64::MAX));
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    let (count, rows): (u32, _) =
        connection.prepare_cached(sql)?.query_row(params![account, after, before, DATED], read)?;
    Ok(if count == DATED { ALL } else { rows })
}

/// Messages that hold the words: the best first or, of very many, the latest.
fn holding(connection: &Connection, query: &Query, mut values: Values) -> Found {
    let filters = filters(query);
    let holding = "FROM message_words CROSS JOIN message_facts f ON f.id = message_words.rowid";
    let wanted = format!(
        "WHERE message_words MATCH :words AND message_words.rowid BETWEEN :from AND :to AND {filters}"
    );
    let ranked = if query.has_phrase() { RANKED_PHRASES } else { RANKED };
    let looked_at = values.limit.max(ranked as i64) + 1;
    let limit = std::mem::replace(&mut values.limit, looked_at);
    let sql = format!(
        "SELECT message_words.rowid {holding} {wanted} ORDER BY message_words.rowid DESC LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ids = statement.query_map(values.bound().as_slice(), |row| row.get(0))?;
    let ids = ids.collect::<rusqlite::Result<Vec<i64>>>()?;
    let Some(first) = ids.first() else { return Ok(Vec::new()) };
    let is_common = ids.len() > ranked;
    // By one thing alone, so that FTS5 sorts, and makes a snippet only of what is found.
    let (order, last) = match is_common {
        true => ("rowid DESC", ids.get(limit as usize).or(ids.last())),
        false => ("rank", ids.last()),
    };
    (values.rows, values.limit) = ((*last.unwrap_or(first), *first), limit);
    let sql = format!(
        "SELECT {COLUMNS}, snippet(message_words, -1, '', '', '…', 24) {holding}
         CROSS JOIN messages m ON m.id = f.id {wanted} ORDER BY message_words.{order} LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    listed(statement.query(values.bound().as_slice())?, |row| row.get(16))
}

/// The latest messages that hold none of the words, out of so many of the latest or, of -1, of all.
fn lacking(
    connection: &Connection,
    query: &Query,
    values: &Values,
    latest: i64,
) -> rusqlite::Result<Vec<i64>> {
    let filters = filters(query);
    // As the index of messages with attachments has it.
    let attached = match query.attachment {
        Some(true) => "AND coalesce(m.attachments_json, '[]') <> '[]'",
        _ => "",
    };
    // Where all rows may be meant, SQLite is not to go through them: an index has the latest first.
    let id = if values.rows == ALL { "+m.id" } else { "m.id" };
    let newest = format!(
        "SELECT m.id, m.received_at FROM messages m CROSS JOIN message_facts f ON f.id = m.id
         WHERE m.account_id = :account {attached} AND {id} BETWEEN :from AND :to AND {filters}
         ORDER BY m.received_at DESC, m.id DESC LIMIT {latest}"
    );
    let sql = format!(
        "WITH newest AS MATERIALIZED ({newest})
         SELECT id FROM newest WHERE :words IS NULL OR id NOT IN
            (SELECT rowid FROM message_words WHERE message_words MATCH coalesce(:words, '\"\"')
             AND rowid BETWEEN (SELECT min(id) FROM newest) AND (SELECT max(id) FROM newest))
         ORDER BY received_at DESC, id DESC LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ids = statement.query_map(values.bound().as_slice(), |row| row.get(0))?;
    ids.collect()
}
