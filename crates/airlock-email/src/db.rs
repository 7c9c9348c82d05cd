//! The database file: opened, trusted, brought to this version's schema.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlock_core::{MailCode, MailError};
use airlock_files::Folder;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// Each brings the schema from the version of its place to the next. Never changed once
/// released; only added to. The first is PRX-Email's, which says no version of itself.
const MIGRATIONS: [&str; 8] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
];

/// The lock of whoever sets the database up.
const LOCK: &str = "mail.lock";

/// How long a process waits for others that write.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the database `name` in `folder`, and makes it at the first use.
pub(crate) fn open(folder: &Folder, path: &Path, name: &str) -> Result<Connection, MailError> {
    let unusable = |reason: &dyn std::fmt::Display| {
        MailError::new(MailCode::Storage, &format!("`{}` cannot be used: {reason}", path.display()))
    };
    for name in [name.to_owned(), format!("{name}-wal"), format!("{name}-shm")] {
        folder.file(&name).map_err(|error| unusable(&error))?;
    }
    // Changing the kind of journal waits for nobody, and fails when anybody reads.
    let _first = folder.lock(LOCK).map_err(|error| unusable(&error))?;
    // SQLite would make it as the process's mask has it.
    folder.put_new(name, &[]).map_err(|error| unusable(&error))?;
    let opened = connect(path).and_then(|mut connection| {
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        let newer = migrate(&mut connection)?;
        Ok((connection, newer))
    });
    match opened.map_err(|error| unusable(&error))? {
        (connection, None) => Ok(connection),
        (_, Some(newer)) => Err(unusable(&format!(
            "its schema {newer} is newer than {}, which this version reads",
            MIGRATIONS.len()
        ))),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -8192;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A further connection with a database that is open, for much that is to be kept.
///
/// SQLite would write the index of words anew with each message that a trigger puts into it, and
/// with each statement that may fail in its middle. So there are no triggers here: whoever adds a
/// message adds its words. What `is_fetched_again` may be missing after a crash of the machine, but
/// what is there is whole.
pub(crate) fn connect_to_fill(path: &Path, is_fetched_again: bool) -> Result<Connection, MailError> {
    let opened = connect(path).and_then(|connection| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        // Pages of the index are written again and again: they go from the log to the file seldom.
        connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
        connection.pragma_update(None, "synchronous", if is_fetched_again { "NORMAL" } else { "FULL" })?;
        Ok(connection)
    });
    opened.map_err(failed)
}

/// Brings the schema to this version's, or gives the one that it has where that is newer.
fn migrate(connection: &mut Connection) -> rusqlite::Result<Option<i64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let missing = usize::try_from(from).ok().and_then(|from| MIGRATIONS.get(from..));
    let Some(missing) = missing else { return Ok(Some(from)) };
    for sql in missing {
        transaction.execute_batch(sql)?;
        if *sql == MIGRATIONS[0] && !has_references(&transaction)? {
            transaction.execute_batch("ALTER TABLE messages ADD COLUMN references_header TEXT")?;
        }
    }
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(None)
}

fn has_references(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'references_header'";
    transaction.query_row(sql, [], |row| row.get(0))
}

/// A transaction that will write, so that it waits for others at its beginning and not in
/// its middle.
pub(crate) fn writing(connection: &mut Connection) -> Result<Transaction<'_>, MailError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
}

/// The error for what SQLite says about a database that is open.
pub(crate) fn failed(error: rusqlite::Error) -> MailError {
    MailError::new(MailCode::Storage, &format!("the mailbox cannot be used: {error}"))
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
