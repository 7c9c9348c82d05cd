//! What Airlock keeps: installed plugins, grants, what plugins store, and the audit log, in
//! one SQLite file, with the plugins' wasm beside it by digest.
//!
//! [`Store`] is the data folder. Everything that changes more than one thing is one
//! transaction, so that a process that is killed leaves the old state or the new one; wasm
//! files are written before the transaction that names them, and one that nobody names is
//! swept up by [`doctor()`].
//!
//! The folder and its files belong to one user. Others who could write to them are refused
//! at the start; other processes of the same user are expected, and wait for each other.

#![forbid(unsafe_code)]

mod artifacts;
mod audit;
mod db;
mod difference;
mod doctor;
mod grants;
mod import;
mod installed;
mod kv;
mod memory;
mod package;
mod secrets;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlock_core::{Error, ErrorKind, OnAuditFailure, Result};
use airlock_files::Folder;
use rusqlite::{Connection, Transaction};

use crate::db::Durable;

// The public interface is:
pub use audit::{AuditFilter, AuditHead, AuditLog, AuditRecord, AuditVerified};
pub use difference::{Change, Difference};
pub use doctor::{Finding, doctor};
pub use grants::KeptGrant;
pub use import::{Imported, read_grants};
pub use installed::{Facts, Installed, NewVersion};
pub use kv::KvData;
pub use memory::MemoryData;
pub use package::{Package, manifest_of};
pub use secrets::SecretFile;

/// How long after a change of grants every process has noticed it.
pub const GRANTS_SETTLE: Duration = grants::NOTICE.saturating_mul(2);

/// The data folder of one user.
#[derive(Debug)]
pub struct Store {
    data: PathBuf,
    folder: Folder,
    connection: Mutex<Connection>,
    session: String,
    changes: grants::Changes,
    lines: Option<(Mutex<audit::Lines>, OnAuditFailure)>,
}

impl Drop for Store {
    fn drop(&mut self) {
        db::tidy(&self.connection(), &self.data);
    }
}

impl Store {
    /// Opens the data folder, and makes it at the first use.
    ///
    /// # Errors
    /// [`ErrorKind::StateUntrusted`] when others can write to it;
    /// [`ErrorKind::StateUnusable`] when it is damaged, newer than this version, or cannot be
    /// opened.
    pub fn open(data: &Path) -> Result<Self> {
        let connection = db::open(data, db::Durable::Machine)?;
        let folder = Folder::private(data).map_err(|error| {
            Error::new(ErrorKind::StateUnusable { path: data.to_owned(), reason: error.to_string() })
        })?;
        let session = format!("process {}", std::process::id());
        Ok(Store {
            data: data.to_owned(),
            folder,
            connection: Mutex::new(connection),
            session,
            changes: grants::Changes::new(),
            lines: None,
        })
    }

    /// The same for a session of this name: grants for a session hold for whoever opens the
    /// store with its name again. A process has one of its own where none is said.
    #[must_use]
    pub fn in_session(mut self, session: impl Into<String>) -> Self {
        self.session = session.into();
        self
    }

    /// The same with each audit record that it writes also appended to a file, as one line of
    /// JSON. When that fails, what was done stays done, and is an error unless `on_failure`
    /// says otherwise.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn with_lines(mut self, file: &Path, on_failure: OnAuditFailure) -> Result<Self> {
        self.lines = Some((Mutex::new(audit::Lines::open(file)?), on_failure));
        Ok(self)
    }

    /// The folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn session(&self) -> &str {
        &self.session
    }

    fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Does `work` in one transaction: all of it, or nothing when it fails.
    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.transact_for(Durable::Machine, work)
    }

    /// The same, as safe as that when it returns.
    fn transact_for<T>(
        &self,
        durable: Durable,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        if durable == Durable::Machine {
            return self.transact_on(&mut connection, work);
        }
        durable.set(&connection)?;
        let done = self.transact_on(&mut connection, work);
        Durable::Machine.set(&connection)?;
        done
    }

    fn transact_on<T>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let transaction = db::writing(connection)?;
        let before = match &self.lines {
            Some(_) => audit::head(&transaction).map_err(|error| db::failed(&error))?.0,
            None => 0,
        };
        let value = work(&transaction)?;
        transaction.commit().map_err(|error| db::failed(&error))?;
        let Some((lines, on_failure)) = &self.lines else { return Ok(value) };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        match (lines.append(connection, before), on_failure) {
            (Err(error), OnAuditFailure::Refuse) => Err(error),
            (Err(error), OnAuditFailure::Continue) => {
                tracing::warn!(%error, "an audit record is not in the file of lines");
                Ok(value)
            }
            (Ok(()), _) => Ok(value),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction has rolled it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
