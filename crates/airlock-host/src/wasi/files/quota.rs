//! How much a guest may write.
//!
//! Bytes written and files created are counted for each call. What a folder holds is looked
//! at when a call first writes into it, and what is written is added to that: this bounds
//! what a plugin can do to a disk, and is no quota of the file system's, which knows what
//! others write at the same time and what is deleted. Past any of these the guest gets the
//! error that it would get from such a quota, and goes on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use airlock_core::{LimitKind, Limits};
use wasmtime_wasi::p1::types::Errno;
use wasmtime_wasi::runtime::spawn_blocking;

/// Entries of a folder that are looked at. A folder with more of them is full.
const MAX_ENTRIES: usize = 1_000_000;

/// How many entries are looked at between looks at the clock.
const STRIDE: usize = 1024;

/// What may be written and what was. Clones count together: streams of preview 2 write by themselves.
#[derive(Debug, Clone)]
pub(crate) struct Quota(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    written: Counter,
    created: Counter,
    /// What a folder may hold.
    size: u64,
    /// What those that were written to hold, by their root.
    held: HashMap<usize, u64>,
}

#[derive(Debug)]
struct Counter {
    limit: LimitKind,
    used: u64,
    maximum: u64,
}

impl Counter {
    fn new(limits: &Limits, limit: LimitKind) -> Self {
        Counter { limit, used: 0, maximum: limits.value(limit) }
    }

    fn spend(&mut self, count: u64) -> Result<(), Errno> {
        let used = self.used.saturating_add(count);
        if used > self.maximum {
            let limit = self.limit;
            tracing::warn!(limit = limit.row().name, maximum = limit.row().unit.show(self.maximum), "hit");
            return Err(Errno::Dquot);
        }
        self.used = used;
        Ok(())
    }
}

/// Where a file is that is written to: its root, the folder of the host that this is, and whether all
/// below it belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) root: usize,
    pub(crate) folder: PathBuf,
    pub(crate) deep: bool,
}

impl Quota {
    pub(super) fn new(limits: &Limits) -> Self {
        Quota(Arc::new(Mutex::new(Counts {
            written: Counter::new(limits, LimitKind::WrittenBytes),
            created: Counter::new(limits, LimitKind::CreatedFiles),
            size: limits.value(LimitKind::FolderSize),
            held: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another call.
    pub(super) fn begin(&self) {
        let mut counts = self.lock();
        (counts.written.used, counts.created.used) = (0, 0);
        counts.held.clear();
    }

    /// How long a file may get: no longer than its folder may be large.
    pub(crate) fn longest(&self) -> u64 {
        self.lock().size
    }

    /// Whether what a root holds has been looked at.
    pub(crate) fn is_measured(&self, root: usize) -> bool {
        self.lock().held.contains_key(&root)
    }

    /// Looks at what a root holds, unless this call has done so. Where that takes too long it is full.
    pub(crate) async fn measure(&self, place: Place, by: Option<Instant>) {
        if self.is_measured(place.root) {
            return;
        }
        let Place { root, folder, deep } = place;
        let held = spawn_blocking(move || measure(&folder, deep, by)).await;
        self.lock().held.insert(root, held);
    }

    /// Counts bytes that are about to be written into a root that was looked at, to a file that gets
    /// `end` long by it.
    pub(crate) fn write(&self, root: usize, bytes: u64, end: u64) -> Result<(), Errno> {
        let mut counts = self.lock();
        if end > counts.size {
            return Err(Errno::Fbig);
        }
        if bytes == 0 {
            return Ok(());
        }
        let after = counts.held.get(&root).copied().unwrap_or_default().saturating_add(bytes);
        if after > counts.size {
            let limit = LimitKind::FolderSize.row();
            tracing::warn!(limit = limit.name, maximum = limit.unit.show(counts.size), "hit");
            return Err(Errno::Dquot);
        }
        counts.written.spend(bytes)?;
        counts.held.insert(root, after);
        Ok(())
    }

    /// Gives back what was counted and not written.
    pub(crate) fn unwrite(&self, root: usize, bytes: u64) {
        let mut counts = self.lock();
        counts.written.used = counts.written.used.saturating_sub(bytes);
        if let Some(held) = counts.held.get_mut(&root) {
            *held = held.saturating_sub(bytes);
        }
    }

    /// Counts a file, folder or link that is about to be created.
    pub(crate) fn create(&self) -> Result<(), Errno> {
        self.lock().created.spend(1)
    }
}

/// Bytes of the files in `folder`, and with `deep` of all below it: as long as they say they
/// are, links not followed. As large as can be where they cannot be counted by then.
fn measure(folder: &Path, deep: bool, by: Option<Instant>) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let (mut bytes, mut seen) = (0_u64, 0_usize);
    while let Some(folder) = folders.pop() {
        // What cannot be read is not counted: the guest may not be able to write there either.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            let late = seen % STRIDE == 0 && by.is_some_and(|by| Instant::now() >= by);
            if seen > MAX_ENTRIES || late {
                return u64::MAX;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && deep {
                folders.push(entry.path());
            } else if metadata.is_file() {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    bytes
}
