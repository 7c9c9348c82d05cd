//! Compiled code kept between processes.
//!
//! ```text
//! FOLDER/<digest of the artifact>/<configuration>-<tag>.cwasm   native code
//!                                 <configuration>-<tag>.shape   what admission found
//!                                 <configuration>.lock          somebody compiles this now
//! ```
//!
//! A file is one rename away from not being there, and its tag is in its name: it is
//! there whole, with its tag, or not at all. The configuration is a hash of everything the
//! content depends on, so what another version or another setting wrote is simply not
//! found. A tag needs the key, so nothing but this user's Airlock can write a file that is
//! believed; what fails the check is removed and compiled again.
//!
//! The cache makes things fast and nothing else: a read-only folder, a full disk or a
//! file that vanishes costs a compilation and never a call.

#[cfg(test)]
mod fuzz;
mod record;
mod secret;
#[cfg(test)]
mod tests;
mod upkeep;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use airlock_core::{Digest, Error, ErrorKind, Result};

use self::record::RecordKey;
use crate::admit::Admitted;
use crate::code::{Authentic, CodeKey, CompiledCode, Hex, Mapping, Tag, Variant};
use airlock_files::{Folder, Lock, read_small};

pub use self::upkeep::{CacheEntry, Damaged, Verified};

/// A file that is used is marked so, unless it was within this time.
const MARK_USE_AFTER: Duration = Duration::from_hours(24);

/// How long a wait for another process's compilation sleeps between two looks.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// The largest record that is read.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Where the cache is and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder of compiled code. Made when missing, for this user alone.
    pub folder: PathBuf,
    /// The file of the secret. Made when missing; 32 bytes that only this user can read.
    pub key_file: PathBuf,
    /// Bytes the cache may have; what was used least recently goes first.
    pub maximum_bytes: u64,
    /// How genuine files are loaded.
    pub mapping: Mapping,
}

/// An open cache of compiled code.
pub struct Cache {
    settings: CacheSettings,
    folder: Folder,
    code_key: CodeKey,
    record_key: RecordKey,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the cache, and makes folder and key at the first use.
    ///
    /// # Errors
    /// [`ErrorKind::CacheUnusable`] when either cannot be made, belongs to another user,
    /// or can be written (the key: read) by others. A host runs well without a cache.
    pub fn open(settings: CacheSettings) -> Result<Cache> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| Error::new(ErrorKind::CacheUnusable { path, reason: error.to_string() })
        };
        let folder = Folder::private(&settings.folder).map_err(unusable(&settings.folder))?;
        let secret = secret::read_or_make(&settings.key_file).map_err(unusable(&settings.key_file))?;
        Ok(Cache {
            code_key: CodeKey::derive(&secret),
            record_key: RecordKey::derive(&secret),
            folder,
            settings,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// What `load` makes of the code of `variant`, when that is here and genuine.
    pub(crate) fn code<T>(&self, variant: &Variant, load: impl Fn(&Authentic) -> io::Result<T>) -> Option<T> {
        self.find(variant, FileKind::Code, |tag, file| {
            let checked = Authentic::check(&self.code_key, variant, tag, file, self.settings.mapping)?;
            checked.as_ref().map(&load).transpose()
        })
    }

    /// Keeps code for the next process.
    pub(crate) fn keep_code(&self, variant: &Variant, code: &CompiledCode) {
        let tag = self.code_key.tag(variant, code);
        self.keep(variant, FileKind::Code, &tag, code.bytes());
    }

    /// What admission found in an artifact, when it is here and genuine.
    pub(crate) fn admitted(&self, variant: &Variant) -> Option<Admitted> {
        self.find(variant, FileKind::Shape, |tag, file| {
            let bytes = read_small(file, MAX_RECORD_BYTES)?;
            if self.record_key.tag(variant, &bytes) != *tag {
                return Ok(None);
            }
            serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
        })
    }

    /// Keeps what admission found.
    pub(crate) fn keep_admitted(&self, variant: &Variant, admitted: &Admitted) {
        match serde_json::to_vec(admitted) {
            Ok(bytes) => self.keep(variant, FileKind::Shape, &self.record_key.tag(variant, &bytes), &bytes),
            Err(error) => tracing::warn!(%error, "what admission found cannot be written down"),
        }
    }

    /// Waits until nobody else compiles `variant`, until `deadline`.
    pub(crate) fn turn(&self, variant: &Variant, deadline: Instant) -> Turn<'_> {
        let name = format!("{}{LOCK}", variant.configuration);
        let mut pause = FIRST_LOOK;
        loop {
            let locked = self
                .folder
                .make_folder(&variant.digest.to_string())
                .and_then(|folder| folder.try_lock(&name));
            match locked {
                Ok(Some(lock)) => {
                    return Turn::Ours(Held { cache: self, digest: variant.digest, name, _lock: lock });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "the cache cannot be locked");
                    return Turn::Nobodys;
                }
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Turn::TooLate;
            }
            std::thread::sleep(pause.min(rest));
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// The first genuine file of `variant`, read by `read`, which gives `None` for a file
    /// whose tag is wrong.
    fn find<T>(
        &self,
        variant: &Variant,
        kind: FileKind,
        mut read: impl FnMut(&Tag, File) -> io::Result<Option<T>>,
    ) -> Option<T> {
        let folder = self.folder.folder(&variant.digest.to_string());
        let folder = folder.inspect_err(|error| self.complain(&variant.digest, "", error)).ok()??;
        let names = folder.names().inspect_err(|error| self.complain(&variant.digest, "", error)).ok()?;
        for text in names {
            let Some(name) = text
                .parse::<FileName>()
                .ok()
                .filter(|name| name.kind == kind && name.configuration == variant.configuration)
            else {
                continue;
            };
            let found = folder.file(&text).and_then(|file| {
                let Some((file, metadata)) = file else { return Ok(None) };
                let used = metadata.modified()?;
                let value = read(&name.tag, file)?
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its tag is wrong"))?;
                Ok(Some((value, used)))
            });
            match found {
                Ok(Some((value, used))) => {
                    if SystemTime::now().duration_since(used).is_ok_and(|age| age > MARK_USE_AFTER) {
                        // It would be pruned too early, no more.
                        let _ = folder.touch(&text);
                    }
                    return Some(value);
                }
                // Pruned by another process between the two looks.
                Ok(None) => {}
                Err(error) => {
                    self.complain(&variant.digest, &text, &error);
                    // It would be in the way of a good one for ever.
                    let _ = folder.remove(&text);
                }
            }
        }
        None
    }

    fn keep(&self, variant: &Variant, kind: FileKind, tag: &Tag, content: &[u8]) {
        let digest = variant.digest.to_string();
        let name = FileName { configuration: variant.configuration, tag: *tag, kind }.to_string();
        let kept = self.folder.make_folder(&digest).and_then(|folder| folder.put(&name, content));
        match kept {
            Ok(()) => self.prune(),
            Err(error) => tracing::debug!(%error, digest, "the cache cannot be written"),
        }
    }

    fn complain(&self, digest: &Digest, name: &str, error: &io::Error) {
        let path = self.settings.folder.join(digest.to_string()).join(name);
        tracing::warn!(path = %path.display(), %error, "a cached file is not used");
    }
}

/// Whose turn it is to compile.
pub(crate) enum Turn<'a> {
    /// Ours, until this is dropped.
    Ours(#[expect(dead_code, reason = "dropping it is what it is for")] Held<'a>),
    /// There is no telling, since the cache cannot be locked.
    Nobodys,
    /// Somebody else's for longer than we may wait.
    TooLate,
}

/// The right to compile something, kept from others until dropped.
pub(crate) struct Held<'a> {
    cache: &'a Cache,
    digest: Digest,
    name: String,
    _lock: Lock,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Somebody who opened the file before it was removed and somebody who makes it anew
        // may both think it theirs: then two compile, and write the same.
        let digest = self.digest.to_string();
        if let Ok(Some(folder)) = self.cache.folder.folder(&digest) {
            let _ = folder.remove(&self.name);
        }
        // Succeeds when nothing was compiled.
        let _ = self.cache.folder.remove_folder(&digest);
    }
}

/// How names of locks end.
const LOCK: &str = ".lock";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Code,
    Shape,
}

impl FileKind {
    const ALL: [FileKind; 2] = [FileKind::Code, FileKind::Shape];

    fn ending(self) -> &'static str {
        match self {
            FileKind::Code => ".cwasm",
            FileKind::Shape => ".shape",
        }
    }
}

/// A file's name: `<configuration>-<tag><ending>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileName {
    configuration: Hex<16>,
    tag: Tag,
    kind: FileKind,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.configuration, self.tag.to_hex(), self.kind.ending())
    }
}

impl std::str::FromStr for FileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = |kind: FileKind| Some((text.strip_suffix(kind.ending())?, kind));
        let (stem, kind) = FileKind::ALL.into_iter().find_map(named).ok_or(())?;
        let (configuration, tag) = stem.split_once('-').ok_or(())?;
        let tag = tag.parse::<Hex<32>>()?;
        Ok(FileName { configuration: configuration.parse()?, tag: Tag::from_bytes(tag.0), kind })
    }
}
