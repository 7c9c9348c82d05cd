//! A connection to the database that calls of plugins share.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use airlock_core::{Permit, Result, ServiceError};
use rusqlite::Connection;

use crate::db::{self, BUSY, Durable};

/// Opened at once or when it is first needed.
#[derive(Debug)]
pub(crate) struct Shared {
    data: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Shared {
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let connection = Mutex::new(Some(db::open(data, Durable::Process)?));
        Ok(Shared { data: data.to_owned(), connection })
    }

    pub(crate) fn lazy(data: &Path) -> Self {
        Shared { data: data.to_owned(), connection: Mutex::default() }
    }

    /// Does `work` on the connection, which waits for others as long as the call may go on.
    pub(crate) fn on<T>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut Connection) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        permit.check()?;
        // A panic in the middle of a transaction has rolled it back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => {
                let opened = db::open(&self.data, Durable::Process);
                none.insert(opened.map_err(|error| ServiceError::Unavailable(error.to_string()))?)
            }
        };
        connection.busy_timeout(BUSY.min(permit.remaining())).map_err(failed)?;
        work(connection)
    }
}

/// The error of what SQLite could not do for a plugin.
pub(crate) fn failed(error: rusqlite::Error) -> ServiceError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => ServiceError::TimedOut,
        _ => ServiceError::Unavailable(format!("what plugins keep cannot be used: {error}")),
    }
}
