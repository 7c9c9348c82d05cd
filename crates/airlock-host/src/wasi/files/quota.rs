//! How much a guest may write.
//!
//! Bytes written and files created are counted for each call. What a folder holds is looked
//! at when a call first writes into it, and what is written is added to that: this bounds
//! what a plugin can do to a disk, and is no quota of the file system's, which knows what
//! others write at the same time and what is deleted. Past any of these the guest gets the
//! error that it would get from such a quota, and goes on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use airlock_core::{LimitKind, Limits};
use wasmtime_wasi::p1::types::Errno;

/// Entries of a folder that are looked at. A folder with more of them is full.
const MAX_ENTRIES: usize = 1_000_000;

/// How many entries are looked at between looks at the clock.
const STRIDE: usize = 1024;

/// What may be written and what was.
#[derive(Debug)]
pub(crate) struct Quota {
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

impl Quota {
    pub(super) fn new(limits: &Limits) -> Self {
        Quota {
            written: Counter::new(limits, LimitKind::WrittenBytes),
            created: Counter::new(limits, LimitKind::CreatedFiles),
            size: limits.value(LimitKind::FolderSize),
            held: HashMap::new(),
        }
    }

    /// Begins another call.
    pub(super) fn begin(&mut self) {
        (self.written.used, self.created.used) = (0, 0);
        self.held.clear();
    }

    /// How long a file may get: no longer than its folder may be large.
    pub(crate) fn longest(&self) -> u64 {
        self.size
    }

    /// Whether what a root holds has been looked at.
    pub(crate) fn is_measured(&self, root: usize) -> bool {
        self.held.contains_key(&root)
    }

    /// Remembers what a root holds.
    pub(crate) fn measured(&mut self, root: usize, bytes: u64) {
        self.held.insert(root, bytes);
    }

    /// Counts bytes that are about to be written into a root.
    pub(crate) fn write(&mut self, root: usize, bytes: u64) -> Result<(), Errno> {
        let held = self.held.entry(root).or_default();
        let after = held.saturating_add(bytes);
        if after > self.size {
            let limit = LimitKind::FolderSize.row();
            tracing::warn!(limit = limit.name, maximum = limit.unit.show(self.size), "hit");
            return Err(Errno::Dquot);
        }
        self.written.spend(bytes)?;
        *held = after;
        Ok(())
    }

    /// Gives back what was counted and not written.
    pub(crate) fn unwrite(&mut self, root: usize, bytes: u64) {
        self.written.used = self.written.used.saturating_sub(bytes);
        if let Some(held) = self.held.get_mut(&root) {
            *held = held.saturating_sub(bytes);
        }
    }

    /// Counts a file, folder or link that is about to be created.
    pub(crate) fn create(&mut self) -> Result<(), Errno> {
        self.created.spend(1)
    }
}

/// Bytes of the files in `folder`, and with `deep` of all below it: as long as they say they
/// are, links not followed. As large as can be where they cannot be counted by then.
pub(crate) fn measure(folder: &Path, deep: bool, by: Option<Instant>) -> u64 {
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
