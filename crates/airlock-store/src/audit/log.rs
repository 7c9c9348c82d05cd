//! Writing to the log from many threads: one thread with one connection takes all that
//! waits, writes it in one transaction, and only then lets the callers go on.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use airlock_core::{AuditEvent, AuditSink, Error, Identity, Result};
use rusqlite::Connection;

use super::{KEPT, append};
use crate::db::{self, Durable, failed, writing};
use crate::{AuditFilter, Store};

/// Batches that may wait; a caller beyond waits to get in line.
const QUEUE: usize = 1024;

/// How many records are written between two looks whether to rotate.
const ROTATE_EVERY: u64 = 1000;

struct Batch {
    plugin: Identity,
    events: Vec<AuditEvent>,
    done: Sender<std::result::Result<(), Failure>>,
}

/// An error for every caller of a batch; errors themselves cannot be copied.
#[derive(Clone)]
struct Failure(String);

/// The audit log of a data folder, to write to. Dropping it waits for what is in line.
#[derive(Debug)]
pub struct AuditLog {
    queue: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the log of the data folder; with `lines`, each record is appended there too, as
    /// one line of JSON.
    ///
    /// # Errors
    /// As [`Store::open`]; when `lines` cannot be opened.
    pub fn open(data: &Path, lines: Option<&Path>) -> Result<Self> {
        let connection = db::open(data, Durable::Process)?;
        let lines = lines.map(|path| Lines::open(path)).transpose()?;
        let (queue, waiting) = sync_channel(QUEUE);
        let store = Store::open(data)?;
        let writer = Writer { connection, lines, store, since_rotation: 0 };
        let thread = std::thread::Builder::new()
            .name("airlock-audit".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| Error::host("cannot start the audit log's thread").with_source(error))?;
        Ok(AuditLog { queue: Some(queue), thread: Some(thread) })
    }
}

impl AuditSink for AuditLog {
    fn record(&self, plugin: &Identity, events: &[AuditEvent]) -> Result<()> {
        let (done, answer) = channel();
        let batch = Batch { plugin: plugin.clone(), events: events.to_vec(), done };
        let gone = || Error::host("the audit log's thread has ended");
        self.queue.as_ref().ok_or_else(gone)?.send(batch).map_err(|_| gone())?;
        match answer.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure(reason))) => {
                Err(Error::host(format!("the audit log cannot be written: {reason}")))
            }
            Err(_) => Err(gone()),
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was seen by whoever waited for an answer.
            let _ = thread.join();
        }
    }
}

struct Writer {
    connection: Connection,
    lines: Option<Lines>,
    store: Store,
    since_rotation: u64,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Batch>) {
        while let Ok(first) = waiting.recv() {
            let mut batches = vec![first];
            batches.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(QUEUE));
            let result = self.write(&batches).map_err(|error| Failure(error.to_string()));
            for batch in batches {
                // Who no longer waits has been told that its call ended otherwise.
                let _ = batch.done.send(result.clone());
            }
            self.rotate();
        }
    }

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
            Some(lines) => lines.append(&self.store, before),
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
struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = opened.map_err(|error| unwritable(path, error))?;
        Ok(Lines { file, path: path.to_owned() })
    }

    /// Appends what came after the record `before`, in one write.
    fn append(&mut self, store: &Store, before: u64) -> Result<()> {
        let filter = AuditFilter { after: Some(before), ..AuditFilter::default() };
        let mut text = Vec::new();
        for record in store.audit(&filter)? {
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
