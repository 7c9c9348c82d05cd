//! What the application remembers, in the database.

use std::path::Path;

use airlock_core::{MEMORY_LIMIT, Memory, MemoryEntry, Permit, Result, ServiceError, ServiceFuture};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::db;
use crate::shared::{Shared, failed};

/// Bytes of texts and categories that one plugin may have stored.
const QUOTA: u64 = 64 << 20;

/// Words of a query that are looked for: each is one more term of an expression, and more than a person
/// types.
const WORDS: usize = 32;

/// What the application remembers, in a data folder.
///
/// Words are found in any case and without their accents, and entries that have more and rarer ones of those
/// that were asked for come first (BM25). All plugins that may use it, and whoever else opens it, share one
/// memory. It is as safe as what is kept with [`KvData`](crate::KvData).
#[derive(Debug)]
pub struct MemoryData(Shared);

impl MemoryData {
    /// Opens the data folder.
    ///
    /// # Errors
    /// As [`Store::open`](crate::Store::open).
    pub fn open(data: &Path) -> Result<Self> {
        Shared::open(data).map(MemoryData)
    }

    /// The same, with the folder opened when it is first needed. What is wrong with it is then told to
    /// that plugin's call.
    pub fn lazy(data: &Path) -> Self {
        MemoryData(Shared::lazy(data))
    }

    fn add(&self, permit: &Permit, text: &str, category: &str) -> Result<String, ServiceError> {
        MemoryEntry::check(text, category)?;
        let plugin = &permit.caller().name;
        let name = format!("plugin:{plugin}:{}", Uuid::new_v4());
        self.0.on(permit, |connection| {
            let behaviour = rusqlite::TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behaviour).map_err(failed)?;
            let size = (text.len() + category.len()) as u64;
            let needed = usage(&transaction, plugin).map_err(failed)? + size;
            if needed > QUOTA {
                return Err(ServiceError::Full { needed, quota: QUOTA });
            }
            let insert = || -> rusqlite::Result<()> {
                let sql = "INSERT INTO memory (name, plugin, text, category, stored_at) VALUES (?1, ?2, ?3, ?4, ?5)";
                let row = params![name, plugin, text, category, db::now()];
                transaction.prepare_cached(sql)?.execute(row)?;
                let sql = "INSERT INTO memory_words (rowid, text) VALUES (?1, ?2)";
                let row = params![transaction.last_insert_rowid(), text];
                transaction.prepare_cached(sql)?.execute(row)?;
                let sql = "INSERT INTO memory_usage (plugin, bytes) VALUES (?1, ?2)
                           ON CONFLICT (plugin) DO UPDATE SET bytes = excluded.bytes";
                let row = params![plugin, i64::try_from(needed).unwrap_or(i64::MAX)];
                transaction.prepare_cached(sql)?.execute(row)?;
                Ok(())
            };
            insert().map_err(failed)?;
            // Waiting for others may have taken the rest of the time.
            permit.check()?;
            transaction.commit().map_err(failed)?;
            Ok(name)
        })
    }

    fn search(&self, permit: &Permit, query: &str, limit: u32) -> Result<Vec<MemoryEntry>, ServiceError> {
        let limit = limit.min(MEMORY_LIMIT);
        self.0.on(permit, |connection| match expression(query) {
            Some(expression) => best(connection, &expression, limit),
            None => latest(connection, limit),
        })
    }
}

/// What a query is in the language of FTS5: any of its words. None where it has none.
fn expression(query: &str) -> Option<String> {
    let words = query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(WORDS).map(|word| format!("\"{word}\"")).collect();
    (!words.is_empty()).then(|| words.join(" OR "))
}

fn best(connection: &Connection, expression: &str, limit: u32) -> Result<Vec<MemoryEntry>, ServiceError> {
    // Sorted by one thing alone, so that FTS5 does it, and before anything is read of an entry.
    let sql = "WITH best AS MATERIALIZED (
                   SELECT rowid AS id, rank FROM memory_words WHERE memory_words MATCH ?1 ORDER BY rank LIMIT ?2
               )
               SELECT name, text, category, rank FROM best JOIN memory USING (id) ORDER BY rank, memory.id DESC";
    let mut entries = rows(connection, sql, params![expression, limit])?;
    // What fits best has the least rank, which is below 0.
    let least = entries.first().map_or(-1.0, |entry| entry.score);
    entries.iter_mut().for_each(|entry| entry.score /= least);
    Ok(entries)
}

fn latest(connection: &Connection, limit: u32) -> Result<Vec<MemoryEntry>, ServiceError> {
    let sql = "SELECT name, text, category, 1.0 FROM memory ORDER BY id DESC LIMIT ?1";
    rows(connection, sql, params![limit])
}

fn rows(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<MemoryEntry>, ServiceError> {
    let entry = |row: &Row<'_>| {
        let (id, text, category, score) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(MemoryEntry { id, text, category, score })
    };
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let entries = statement.query_map(params, entry).map_err(failed)?;
    entries.collect::<rusqlite::Result<_>>().map_err(failed)
}

fn usage(connection: &Connection, plugin: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT bytes FROM memory_usage WHERE plugin = ?1";
    let bytes: Option<i64> =
        connection.prepare_cached(sql)?.query_row([plugin], |row| row.get(0)).optional()?;
    Ok(u64::try_from(bytes.unwrap_or_default()).unwrap_or_default())
}

impl Memory for MemoryData {
    fn store<'a>(
        &'a self,
        permit: &'a Permit,
        text: &'a str,
        category: &'a str,
    ) -> ServiceFuture<'a, String> {
        Box::pin(async move { self.add(permit, text, category) })
    }

    fn recall<'a>(
        &'a self,
        permit: &'a Permit,
        query: &'a str,
        limit: u32,
    ) -> ServiceFuture<'a, Vec<MemoryEntry>> {
        Box::pin(async move { self.search(permit, query, limit) })
    }
}

#[cfg(test)]
mod tests;
