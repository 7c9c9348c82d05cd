//! What plugins keep between calls, in the database.

use std::path::Path;

use airlock_core::{Kv, KvChange, Permit, Result, ServiceError, ServiceFuture};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::shared::{Shared, failed};

/// The data of all plugins in a data folder.
///
/// What has been kept survives the end of the process, however it ends, and not that of the
/// machine: waiting for the disk takes a millisecond and more for each change. A call waits
/// for other processes that write, until its deadline at the latest.
#[derive(Debug)]
pub struct KvData(Shared);

impl KvData {
    /// Opens the data folder.
    ///
    /// # Errors
    /// As [`Store::open`](crate::Store::open).
    pub fn open(data: &Path) -> Result<Self> {
        Shared::open(data).map(KvData)
    }

    /// The same, with the folder opened when a plugin first needs it. What is wrong with it
    /// is then told to that plugin's call.
    pub fn lazy(data: &Path) -> Self {
        KvData(Shared::lazy(data))
    }

    fn read(&self, permit: &Permit, key: &str) -> Result<Option<Vec<u8>>, ServiceError> {
        self.0.on(permit, |connection| {
            let sql = "SELECT value FROM kv WHERE plugin = ?1 AND key = ?2";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            statement.query_row([plugin(permit), key], |row| row.get(0)).optional().map_err(failed)
        })
    }

    fn list(
        &self,
        permit: &Permit,
        prefix: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<String>, ServiceError> {
        self.0.on(permit, |connection| {
            let sql = "SELECT key FROM kv WHERE plugin = ?1 AND key >= ?2 AND key > ?3 ORDER BY key";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            // No key is empty, so that all come after the empty one.
            let from = [plugin(permit), prefix, after.unwrap_or_default()];
            let rows = statement.query_map(from, |row| row.get::<_, String>(0)).map_err(failed)?;
            let mut keys = Vec::new();
            for key in rows.take(count) {
                let key = key.map_err(failed)?;
                if !key.starts_with(prefix) {
                    break;
                }
                keys.push(key);
            }
            Ok(keys)
        })
    }

    fn change(&self, permit: &Permit, changes: &[KvChange<'_>]) -> Result<Vec<bool>, ServiceError> {
        changes.iter().try_for_each(KvChange::check)?;
        self.0.on(permit, |connection| {
            let behaviour = rusqlite::TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behaviour).map_err(failed)?;
            let before = usage(&transaction, permit).map_err(failed)?;
            let mut were_there = Vec::with_capacity(changes.len());
            for change in changes {
                were_there.push(apply(&transaction, plugin(permit), change).map_err(failed)?);
            }
            let (after, quota) = (usage(&transaction, permit).map_err(failed)?, permit.quota());
            if after > quota && after > before {
                return Err(ServiceError::Full { needed: after, quota });
            }
            // Waiting for others may have taken the rest of the time.
            permit.check()?;
            transaction.commit().map_err(failed)?;
            Ok(were_there)
        })
    }
}

/// Makes a change and says whether its key was there.
fn apply(transaction: &Transaction<'_>, plugin: &str, change: &KvChange<'_>) -> rusqlite::Result<bool> {
    match change {
        KvChange::Delete(key) => {
            let sql = "DELETE FROM kv WHERE plugin = ?1 AND key = ?2";
            Ok(transaction.prepare_cached(sql)?.execute([plugin, key])? > 0)
        }
        KvChange::Set(key, value) => {
            let sql = "UPDATE kv SET value = ?3 WHERE plugin = ?1 AND key = ?2";
            let updated = transaction.prepare_cached(sql)?.execute(params![plugin, key, value])?;
            if updated == 0 {
                let sql = "INSERT INTO kv (plugin, key, value) VALUES (?1, ?2, ?3)";
                transaction.prepare_cached(sql)?.execute(params![plugin, key, value])?;
            }
            Ok(updated > 0)
        }
    }
}

fn usage(connection: &Connection, permit: &Permit) -> rusqlite::Result<u64> {
    let sql = "SELECT bytes FROM kv_usage WHERE plugin = ?1";
    let bytes: Option<i64> =
        connection.prepare_cached(sql)?.query_row([plugin(permit)], |row| row.get(0)).optional()?;
    Ok(u64::try_from(bytes.unwrap_or_default()).unwrap_or_default())
}

fn plugin(permit: &Permit) -> &str {
    &permit.caller().name
}

impl Kv for KvData {
    fn get<'a>(&'a self, permit: &'a Permit, key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.read(permit, key) })
    }

    fn keys<'a>(
        &'a self,
        permit: &'a Permit,
        prefix: &'a str,
        after: Option<&'a str>,
        count: usize,
    ) -> ServiceFuture<'a, Vec<String>> {
        Box::pin(async move { self.list(permit, prefix, after, count) })
    }

    fn apply<'a>(&'a self, permit: &'a Permit, changes: &'a [KvChange<'a>]) -> ServiceFuture<'a, Vec<bool>> {
        Box::pin(async move { self.change(permit, changes) })
    }

    fn usage<'a>(&'a self, permit: &'a Permit) -> ServiceFuture<'a, u64> {
        Box::pin(async move { self.0.on(permit, |connection| usage(connection, permit).map_err(failed)) })
    }
}

#[cfg(test)]
mod tests;
