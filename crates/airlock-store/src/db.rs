//! The database file: opened, trusted, brought to this version's schema.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlock_core::{Error, ErrorKind, Result};
use airlock_files::Folder;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// The database's name in the data folder.
pub(crate) const FILE: &str = "airlock.db";

/// Each brings the schema from the version of its place to the next. Never changed once
/// released; only added to.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// The lock of whoever sets the database up.
const LOCK: &str = "airlock.lock";

/// How long a process waits for others that write.
pub(crate) const BUSY: Duration = Duration::from_secs(10);

/// Pages of 4 KiB in the write-ahead log before they are written back, which waits for the
/// disk.
const WRITE_BACK_PAGES: u32 = 4000;

/// Bytes of write-ahead log that a process leaves behind. Whoever opens the database next, with
/// nobody else having it open, reads them all.
const LEFT_BEHIND: u64 = 1 << 20;

/// How safe a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Against the machine going down.
    Machine,
    /// Against this process going down.
    Process,
}

impl Durable {
    fn level(self) -> &'static str {
        match self {
            Durable::Machine => "FULL",
            Durable::Process => "NORMAL",
        }
    }

    /// Makes later commits as safe as this.
    pub(crate) fn set(self, connection: &Connection) -> Result<()> {
        connection.pragma_update(None, "synchronous", self.level()).map_err(|error| failed(&error))
    }
}

/// Opens the database in `folder`, which only this user can have written, and makes it at
/// the first use.
///
/// # Errors
/// [`ErrorKind::StateUntrusted`] when others can write to the folder or the file;
/// [`ErrorKind::StateUnusable`] when it is damaged, newer than this version, or cannot be
/// opened.
pub(crate) fn open(folder: &Path, durable: Durable) -> Result<Connection> {
    let path = folder.join(FILE);
    let trusted = trust(folder)?;
    let unusable = |error: rusqlite::Error| broken(&path, &error);
    // Changing the kind of journal waits for nobody, and fails when anybody reads.
    let first = (!is_wal(&trusted)).then(|| trusted.lock(LOCK)).transpose();
    let _first = first.map_err(|error| {
        Error::new(ErrorKind::StateUnusable { path: folder.join(LOCK), reason: error.to_string() })
    })?;
    // The name is not resolved any further: `trust` has seen that it is no symbolic link.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(unusable)?;
    connection.busy_timeout(BUSY).map_err(unusable)?;
    // A process that makes one call would write everything back when it ends.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(unusable)?;
    let synchronous = durable.level();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
             PRAGMA wal_autocheckpoint = {WRITE_BACK_PAGES};"
        ))
        .map_err(unusable)?;
    migrate(&mut connection, &path)?;
    Ok(connection)
}

/// Empties the write-ahead log when it has become long and nobody else uses it.
///
/// SQLite would do so whenever the last process closes the database, which a process that
/// makes one call should not wait for; and one after the other would never do so otherwise.
pub(crate) fn tidy(connection: &Connection, folder: &Path) {
    let long = std::fs::metadata(folder.join(format!("{FILE}-wal")));
    if long.is_ok_and(|metadata| metadata.len() > LEFT_BEHIND) {
        // Who waits for others here gains nothing; the next process tries again.
        let tidied = connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = tidied {
            tracing::debug!(%error, "the write-ahead log stays as long as it is");
        }
    }
}

/// Refuses a folder or a file in it that others can write to, or read the database of.
fn trust(folder: &Path) -> Result<Folder> {
    let untrusted = |path: PathBuf, error: &std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                ErrorKind::StateUntrusted { path, reason: error.to_string() }
            }
            _ => ErrorKind::StateUnusable { path, reason: error.to_string() },
        };
        Error::new(kind)
    };
    let opened = Folder::private(folder).map_err(|error| untrusted(folder.to_owned(), &error))?;
    for name in [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm")] {
        opened.file(&name).map_err(|error| untrusted(folder.join(&name), &error))?;
    }
    if opened.file(FILE).ok().flatten().is_none() {
        // SQLite would make it as the process's mask has it.
        opened.put_new(FILE, &[]).map_err(|error| untrusted(folder.join(FILE), &error))?;
    }
    Ok(opened)
}

/// Whether the database says of itself that it has a write-ahead log: the two bytes after its
/// page size are 2 (the database file format, 1.3.3).
fn is_wal(folder: &Folder) -> bool {
    let mut header = [0; 20];
    let read = folder.file(FILE).ok().flatten().map(|(mut file, _)| file.read_exact(&mut header));
    matches!(read, Some(Ok(()))) && header[18..] == [2, 2]
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let unusable = |error: rusqlite::Error| broken(path, &error);
    let version = |connection: &Connection| -> rusqlite::Result<usize> {
        connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
    };
    if version(connection).map_err(unusable)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
    // Looked at again: another process may have been faster.
    let from = version(&transaction).map_err(unusable)?;
    let Some(missing) = MIGRATIONS.get(from..) else {
        let reason =
            format!("its schema {from} is newer than {}, which this version reads", MIGRATIONS.len());
        return Err(Error::new(ErrorKind::StateUnusable { path: path.to_owned(), reason }));
    };
    for sql in missing {
        transaction.execute_batch(sql).map_err(unusable)?;
    }
    transaction
        .pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))
        .map_err(unusable)?;
    transaction.commit().map_err(unusable)
}

/// A transaction that will write, so that it waits for others at its beginning and not in
/// its middle.
pub(crate) fn writing(connection: &mut Connection) -> Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| failed(&error))
}

/// The error for what SQLite says about a file that is open.
pub(crate) fn failed(error: &rusqlite::Error) -> Error {
    broken(Path::new(FILE), error)
}

fn broken(path: &Path, error: &rusqlite::Error) -> Error {
    let reason = error.to_string();
    let kind = ErrorKind::StateUnusable { path: path.to_owned(), reason };
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            Error::new(kind).with_hint("`airlock doctor` looks what can be saved")
        }
        _ => Error::new(kind),
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    millis(SystemTime::now())
}

/// A time in milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Durable, FILE, MIGRATIONS, open};

    fn error(folder: &std::path::Path) -> airlock_core::Error {
        open(folder, Durable::Machine).expect_err("it is refused")
    }

    #[test]
    fn the_database_is_made_once_and_only_its_user_can_read_it() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("data");
        drop(open(&folder, Durable::Machine).expect("made"));
        let connection = open(&folder, Durable::Process).expect("there");
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("read");
        assert_eq!(version as usize, MIGRATIONS.len());
        let mode = |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn a_database_of_an_earlier_version_is_brought_to_this_one() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("data");
        drop(open(&folder, Durable::Machine).expect("made"));
        let path = folder.join(FILE);
        for companion in ["", "-wal", "-shm"] {
            std::fs::remove_file(folder.join(format!("{FILE}{companion}"))).expect("removed");
        }
        let old = rusqlite::Connection::open(&path).expect("made");
        old.execute_batch(MIGRATIONS[0]).expect("the first schema");
        old.execute("INSERT INTO kv VALUES ('one', 'ä', x'0102')", []).expect("kept");
        old.pragma_update(None, "user_version", 1).expect("set");
        drop(old);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
        let connection = open(&folder, Durable::Machine).expect("migrated");
        let bytes: i64 =
            connection.query_row("SELECT bytes FROM kv_usage", [], |row| row.get(0)).expect("one");
        assert_eq!(bytes, 4);
    }

    #[test]
    fn many_that_open_a_new_database_at_once_all_get_it() {
        for _ in 0..20 {
            let home = tempfile::tempdir().expect("a folder");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| open(home.path(), Durable::Machine).expect("made by one of them"));
                }
            });
        }
    }

    #[test]
    fn a_folder_or_file_that_others_can_write_to_is_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("data");
        drop(open(&folder, Durable::Machine).expect("made"));
        let set = |name: &str, mode: u32| {
            std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).expect("set");
        };
        set("", 0o777);
        assert_eq!(error(&folder).code(), "state-untrusted");
        set("", 0o700);
        set(FILE, 0o666);
        let error = error(&folder);
        assert_eq!(error.code(), "state-untrusted");
        assert!(error.to_string().ends_with("others can write to it (mode 0666)"), "{error}");
    }

    #[test]
    fn a_newer_schema_and_what_is_no_database_are_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("data");
        let connection = open(&folder, Durable::Machine).expect("made");
        connection.pragma_update(None, "user_version", 99).expect("set");
        drop(connection);
        assert!(
            error(&folder).to_string().ends_with("its schema 99 is newer than 3, which this version reads")
        );
        // What is in the write-ahead log would take its place.
        for companion in ["-wal", "-shm"] {
            std::fs::remove_file(folder.join(format!("{FILE}{companion}"))).expect("removed");
        }
        std::fs::write(folder.join(FILE), "this is no database, but long enough to be one at first sight")
            .expect("written");
        let error = error(&folder);
        assert_eq!(
            (error.code(), error.hint()),
            ("state-unusable", Some("`airlock doctor` looks what can be saved"))
        );
    }

    #[test]
    fn a_symbolic_link_in_its_place_is_not_followed() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("data");
        drop(open(&folder, Durable::Machine).expect("made"));
        std::fs::rename(folder.join(FILE), home.path().join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink(home.path().join("elsewhere"), folder.join(FILE)).expect("linked");
        assert_eq!(error(&folder).code(), "state-untrusted");
    }
}
