//! Looking at the cache as a whole: listing, pruning, clearing, verifying.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use airlock_core::{Digest, Error, ErrorKind, Result};

use super::{Cache, FileKind, FileName, LOCK, MAX_RECORD_BYTES};
use crate::code::{Authentic, Mapping, Variant};
use airlock_files::{Facts, Folder, read_small};

/// A file that has been unfinished for this long has nobody who writes it any more.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// One artifact's files in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// The artifact's digest.
    pub digest: Digest,
    /// How many pieces of code there are for it, one for each configuration.
    pub codes: usize,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When it was last used, to the day.
    pub last_used: SystemTime,
}

/// A file that was not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged {
    /// Where it was.
    pub path: PathBuf,
    /// What was wrong.
    pub reason: String,
}

/// What [`Cache::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Files that are genuine.
    pub files: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Files that are not, now removed.
    pub damaged: Vec<Damaged>,
}

struct Found {
    digest: Digest,
    name: String,
    parsed: Option<FileName>,
    facts: Facts,
}

impl Cache {
    /// Every artifact in the cache, most recently used first.
    ///
    /// # Errors
    /// [`ErrorKind::CacheUnusable`] when the folder cannot be read.
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let mut entries: BTreeMap<Digest, CacheEntry> = BTreeMap::new();
        for found in self.files()? {
            let Some(name) = found.parsed else { continue };
            let entry = entries.entry(found.digest).or_insert(CacheEntry {
                digest: found.digest,
                codes: 0,
                bytes: 0,
                last_used: SystemTime::UNIX_EPOCH,
            });
            entry.codes += usize::from(name.kind == FileKind::Code);
            entry.bytes += found.facts.bytes;
            entry.last_used = entry.last_used.max(found.facts.modified);
        }
        let mut entries: Vec<CacheEntry> = entries.into_values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_used));
        Ok(entries)
    }

    /// Removes everything in the cache. Code that is in use stays usable. Returns how many
    /// files and bytes went.
    ///
    /// # Errors
    /// [`ErrorKind::CacheUnusable`] when the folder cannot be read or a file not removed.
    pub fn clear(&self) -> Result<(usize, u64)> {
        let (mut files, mut bytes) = (0, 0);
        for found in self.files()? {
            self.remove(&found).map_err(|error| self.unusable(&error))?;
            files += usize::from(found.parsed.is_some());
            bytes += found.facts.bytes;
        }
        self.remove_empty_folders();
        Ok((files, bytes))
    }

    /// Checks every file's tag, and removes those that are not genuine.
    ///
    /// # Errors
    /// [`ErrorKind::CacheUnusable`] when the folder cannot be read.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for found in self.files()? {
            let Some(name) = found.parsed else { continue };
            match self.is_genuine(&found, &name) {
                Ok(()) => {
                    verified.files += 1;
                    verified.bytes += found.facts.bytes;
                }
                // Pruned in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = self.settings.folder.join(found.digest.to_string()).join(&found.name);
                    self.remove(&found).map_err(|error| self.unusable(&error))?;
                    verified.damaged.push(Damaged { path, reason: error.to_string() });
                }
            }
        }
        Ok(verified)
    }

    fn is_genuine(&self, found: &Found, name: &FileName) -> io::Result<()> {
        let variant = Variant { digest: found.digest, configuration: name.configuration };
        let file = self.artifact_folder(&found.digest)?.file(&found.name)?;
        let (file, _) = file.ok_or(io::ErrorKind::NotFound)?;
        let genuine = match name.kind {
            FileKind::Code => {
                Authentic::check(&self.code_key, &variant, &name.tag, file, Mapping::Shared)?.is_some()
            }
            FileKind::Shape => {
                self.record_key.tag(&variant, &read_small(file, MAX_RECORD_BYTES)?) == name.tag
            }
        };
        match genuine {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "its tag is wrong")),
        }
    }

    /// Removes what was used least recently until the cache is within its size, and what
    /// processes that were killed have left. Failing at it is no failure of the caller's.
    pub(super) fn prune(&self) {
        if let Err(error) = self.try_prune() {
            tracing::debug!(%error, "the cache cannot be pruned");
        }
    }

    fn try_prune(&self) -> Result<()> {
        let mut files = self.files()?;
        files.retain(|found| {
            let age = SystemTime::now().duration_since(found.facts.modified).unwrap_or_default();
            let abandoned = Folder::is_unfinished(&found.name) && age > ABANDONED_AFTER;
            // Who cannot remove it now will try again the next time.
            !(abandoned && self.remove(found).is_ok())
        });
        let maximum = self.settings.maximum_bytes;
        let mut total: u64 = files.iter().map(|found| found.facts.bytes).sum();
        if total <= maximum {
            return Ok(());
        }
        files.retain(|found| found.parsed.is_some());
        files.sort_by_key(|found| found.facts.modified);
        // A little more than needed, so that the next one finds room.
        let enough = maximum - maximum / 8;
        for found in files {
            if total <= enough {
                break;
            }
            if self.remove(&found).is_ok() {
                total = total.saturating_sub(found.facts.bytes);
            }
        }
        self.remove_empty_folders();
        Ok(())
    }

    /// Every file in the folders of artifacts.
    fn files(&self) -> Result<Vec<Found>> {
        let mut files = Vec::new();
        for (digest, folder) in self.artifact_folders()? {
            for name in folder.names().map_err(|error| self.unusable(&error))? {
                // It may have been pruned since it was listed.
                let Ok(facts) = folder.facts(&name) else { continue };
                files.push(Found { digest, parsed: name.parse().ok(), name, facts });
            }
        }
        Ok(files)
    }

    fn artifact_folders(&self) -> Result<Vec<(Digest, Folder)>> {
        let names = self.folder.names().map_err(|error| self.unusable(&error))?;
        let digests = names.iter().filter_map(|name| name.parse::<Digest>().ok());
        Ok(digests.filter_map(|digest| Some((digest, self.artifact_folder(&digest).ok()?))).collect())
    }

    fn artifact_folder(&self, digest: &Digest) -> io::Result<Folder> {
        self.folder.folder(&digest.to_string())?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, found: &Found) -> io::Result<()> {
        match self.artifact_folder(&found.digest).and_then(|folder| folder.remove(&found.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the folders of artifacts that hold nothing but locks.
    fn remove_empty_folders(&self) {
        for (digest, folder) in self.artifact_folders().unwrap_or_default() {
            let names = folder.names().unwrap_or_default();
            if names.iter().all(|name| name.ends_with(LOCK)) {
                // Somebody who holds a lock goes on; who comes next may compile beside it.
                names.iter().for_each(|name| drop(folder.remove(name)));
                let _ = self.folder.remove_folder(&digest.to_string());
            }
        }
    }

    fn unusable(&self, error: &io::Error) -> Error {
        let path = self.settings.folder.clone();
        Error::new(ErrorKind::CacheUnusable { path, reason: error.to_string() })
    }
}
