//! Writing to the log from many threads.
//!
//! Whoever finds nobody writing writes what waits, his own record among it, in one
//! transaction; everybody else waits for him and finds that his own is written. One thread
//! alone pays for no other thread, and many pay for one transaction together.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use airlock_core::{AuditEvent, AuditSink, Error, Identity, Result};
use rusqlite::Connection;

use super::{KEPT, append};
use crate::db::{self, Durable, failed, writing};
use crate::{AuditFilter, Store};

/// How many records are written between two looks whether to rotate.
const ROTATE_EVERY: u64 = 1000;

/// What waits to be written.
struct Batch {
    plugin: Identity,
    events: Vec<AuditEvent>,
    written: Arc<OnceLock<Written>>,
}

/// What became of a batch. Errors themselves cannot be copied.
type Written = std::result::Result<(), String>;

/// The audit log of a data folder, to write to.
#[derive(Debug)]
pub struct AuditLog {
    waiting: Mutex<Vec<Batch>>,
    writer: Mutex<Writer>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log of the data folder; with `lines`, each record is appended there too, as
    /// one line of JSON.
    ///
    /// # Errors
    /// As [`Store::open`]; when `lines` cannot be opened.
    pub fn open(data: &Path, lines: Option<&Path>) -> Result<Self> {
        let connection = db::open(data, Durable::Process)?;
        let lines = lines.map(Lines::open).transpose()?;
        let store = Store::open(data)?;
        let writer = Writer { connection, lines, store, since_rotation: 0 };
        Ok(AuditLog { waiting: Mutex::default(), writer: Mutex::new(writer) })
    }
}

/// What is behind a lock is whole between any two statements, and a transaction that a panic
/// interrupted is rolled back.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuditSink for AuditLog {
    fn record(&self, plugin: &Identity, events: &[AuditEvent]) -> Result<()> {
        let written = Arc::new(OnceLock::new());
        let batch = Batch { plugin: plugin.clone(), events: events.to_vec(), written: written.clone() };
        locked(&self.waiting).push(batch);
        let mut writer = locked(&self.writer);
        if written.get().is_none() {
            let batches = std::mem::take(&mut *locked(&self.waiting));
            let result = writer.write(&batches).map_err(|error| error.to_string());
            for batch in batches {
                // Nobody else writes, so that it is not there yet.
                let _ = batch.written.set(result.clone());
            }
            writer.rotate();
        }
        drop(writer);
        match written.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(Error::host(format!("the audit log cannot be written: {reason}"))),
            None => Err(Error::host("the audit log was not written")),
        }
    }
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    lines: Option<Lines>,
    store: Store,
    since_rotation: u64,
}

impl Writer {
    fn write(&mut self, batches: &[Batch]) -> Result<()> {
        let transaction = writing(&mut self.connection)?;
        let before = self.lines.is_some().then(|| super::head(&transaction)).transpose();
        let (before, _) = before.map_err(|error| failed(&error))?.unwrap_or_default();
        for batch in batches {
            for event in &batch.events {
                append(&transaction, &batch.plugin.name, Some(batch.plugin.digest), event)?;
                self.since_rotation += 1;
            }
        }
        transaction.commit().map_err(|error| failed(&error))?;
        match &mut self.lines {
            Some(lines) => lines.append(&self.connection, before),
            None => Ok(()),
        }
    }

    /// A log that cannot be rotated goes on, larger.
    fn rotate(&mut self) {
        if self.since_rotation < ROTATE_EVERY {
            return;
        }
        self.since_rotation = 0;
        if let Err(error) = self.store.rotate_audit(KEPT) {
            tracing::warn!(%error, "the audit log cannot be rotated");
        }
    }
}

/// A file with a line of JSON for each record.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = opened.map_err(|error| unwritable(path, error))?;
        Ok(Lines { file, path: path.to_owned() })
    }

    /// Appends what came after the record `before`, in one write.
    pub(crate) fn append(&mut self, connection: &Connection, before: u64) -> Result<()> {
        let filter = AuditFilter { after: Some(before), ..AuditFilter::default() };
        let mut text = Vec::new();
        for record in super::select(connection, &filter)? {
            serde_json::to_writer(&mut text, &record)
                .map_err(|error| Error::host("a record cannot be written").with_source(error))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(|error| unwritable(&self.path, error))
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::host(format!("cannot write `{}`", path.display())).with_source(error)
}
