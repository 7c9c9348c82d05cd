//! Which files belong to which plugin, and what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use airlock_core::{Digest, Manifest};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Aliases;

/// What a plugin's files hold, by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) wasm: Digest,
    manifest: Option<Digest>,
}

impl Fingerprint {
    /// None where there is no such file or folder. Of a file with more bytes than `most` the
    /// beginning tells: it is too large for a plugin.
    pub(super) fn of(path: &Path, most: u64) -> Option<Self> {
        let none = Digest::of(b"");
        let whole = |path: &Path| {
            let mut bytes = Vec::new();
            if path.is_file() {
                let read = |file: fs::File| file.take(most.saturating_add(1)).read_to_end(&mut bytes);
                fs::File::open(path).and_then(read).ok();
            }
            Digest::of(&bytes)
        };
        if !fs::metadata(path).ok()?.is_dir() {
            return Some(Fingerprint { wasm: whole(path), manifest: None });
        }
        let Some((manifest, entry)) = manifest_of(path) else {
            return Some(Fingerprint { wasm: none, manifest: None });
        };
        let wasm = entry.map_or(none, |entry| whole(&entry));
        Some(Fingerprint { wasm, manifest: Some(manifest) })
    }
}

/// The digest of a folder's manifest, and the file that it names.
fn manifest_of(folder: &Path) -> Option<(Digest, Option<PathBuf>)> {
    let name = Manifest::FILE_NAMES.into_iter().find(|name| folder.join(name).is_file())?;
    let mut text = Vec::new();
    let file = fs::File::open(folder.join(name)).ok()?;
    file.take(Manifest::MAX_BYTES + 1).read_to_end(&mut text).ok()?;
    let entry = Manifest::read(name, &text).ok().map(|manifest| folder.join(manifest.entry_point));
    Some((Digest::of(&text), entry))
}

/// Tells a folder from another that comes to have its name.
type Identity = (Option<SystemTime>, u64, u64);

fn identity_of(folder: &Path) -> Option<Identity> {
    let metadata = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    let created = metadata.created().ok();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Some((created, metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    Some((created, 0, 0))
}

/// The folders that are watched, and what the system was asked to tell of for them.
pub(super) struct Folders {
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    /// Those that are watched themselves, and which of their name they are.
    there: BTreeMap<PathBuf, Identity>,
    /// What is watched for folders that are not there.
    above: BTreeSet<PathBuf>,
    /// What is watched beside, for each plugin.
    beside: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Files elsewhere that a plugin is a link to.
    aliases: Aliases,
    /// What could not be watched, until somebody asks.
    unwatched: Vec<(PathBuf, notify::Error)>,
}

impl Folders {
    pub(super) fn new(watcher: RecommendedWatcher, folders: Vec<PathBuf>) -> Self {
        let (there, above, beside) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (aliases, unwatched) = (Aliases::new(), Vec::new());
        Folders { watcher, folders, there, above, beside, aliases, unwatched }
    }

    /// Watches the folders that are there, and for the others what is nearest above them. Gives what
    /// is in those that are there and looks like a plugin.
    pub(super) fn refresh(&mut self) -> Vec<PathBuf> {
        loop {
            let found = self.watch_those_there();
            // One may have come while nobody watched for it.
            if !self.watch_above() {
                return found;
            }
        }
    }

    fn watch_those_there(&mut self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in self.folders.clone() {
            let identity = identity_of(&folder);
            if self.there.get(&folder).copied() != identity {
                self.went(&folder);
                if let Some(identity) = identity.filter(|_| self.watch(&folder)) {
                    self.there.insert(folder.clone(), identity);
                }
            }
            if self.there.contains_key(&folder) {
                let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
                found.extend(entries.filter(|path| looks_like_a_plugin(path)));
            }
        }
        found.sort();
        found
    }

    /// Watches what is nearest above each folder, where it would be seen to come and go. Whether
    /// that is more than before.
    fn watch_above(&mut self) -> bool {
        let nearest =
            |folder: &PathBuf| folder.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned);
        let above: BTreeSet<PathBuf> = self.folders.iter().filter_map(nearest).collect();
        let before = std::mem::replace(&mut self.above, above.clone());
        before.difference(&above).for_each(|folder| self.unwatch(folder));
        let mut more = false;
        for folder in above.difference(&before) {
            more |= !self.there.contains_key(folder) && self.watch(folder);
        }
        more
    }

    /// Notes that something is not what it was, and says whether it was watched.
    pub(super) fn went(&mut self, path: &Path) -> bool {
        let mut was_watched = self.there.remove(path).is_some() | self.above.remove(path);
        for folders in self.beside.values_mut() {
            was_watched |= folders.remove(path);
        }
        if was_watched {
            // The system may have noticed before.
            let _ = self.watcher.unwatch(path);
        }
        was_watched
    }

    /// Watches everything that is watched once more.
    pub(super) fn watch_anew(&mut self) {
        let beside = std::mem::take(&mut self.beside);
        let (there, above) = (std::mem::take(&mut self.there), std::mem::take(&mut self.above));
        for folder in there.keys().chain(&above).chain(beside.values().flatten()) {
            // It may be gone, or watched for something else too.
            let _ = self.watcher.unwatch(folder);
        }
        self.refresh();
        beside.keys().for_each(|path| {
            self.follow(path);
        });
    }

    fn watch(&mut self, folder: &Path) -> bool {
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            // One that went in between is waited for like any that is not there.
            Err(_) if !folder.exists() => false,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot be watched");
                self.unwatched.push((folder.to_owned(), error));
                false
            }
        }
    }

    /// What could not be watched since this was last asked.
    pub(super) fn unwatched(&mut self) -> Vec<(PathBuf, notify::Error)> {
        std::mem::take(&mut self.unwatched)
    }

    /// Whether a path is a watched folder, or one above it.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| folder.starts_with(path))
    }

    /// The plugin, or what could be one, that a file belongs to.
    pub(super) fn candidate(&self, path: &Path) -> Option<PathBuf> {
        if let Some(candidate) = self.aliases.get(path) {
            return Some(candidate.clone());
        }
        let within = |folder: &PathBuf| {
            let first = path.strip_prefix(folder).ok()?.components().next()?;
            Some(folder.join(first))
        };
        let candidate = self.folders.iter().find_map(within)?;
        // What is gone could have been one.
        let is_gone = fs::symlink_metadata(&candidate).is_err();
        (is_gone || looks_like_a_plugin(&candidate)).then_some(candidate)
    }

    /// Watches what belongs to a plugin and is in no watched folder: what is in its own folder, and
    /// what it is a link to. Whether that is more than before.
    pub(super) fn follow(&mut self, path: &Path) -> bool {
        let mut wanted = BTreeSet::new();
        self.aliases.retain(|_, candidate| candidate != path);
        if path.is_dir() {
            wanted.insert(path.to_owned());
            if let Some((_, Some(entry))) = manifest_of(path) {
                wanted.extend(entry.parent().filter(|parent| parent.is_dir()).map(Path::to_owned));
            }
        } else if path.is_symlink()
            && let Ok(file) = path.canonicalize()
        {
            wanted.extend(file.parent().map(Path::to_owned));
            self.aliases.insert(file, path.to_owned());
        }
        let had = self.beside.insert(path.to_owned(), wanted.clone()).unwrap_or_default();
        had.difference(&wanted).for_each(|folder| self.unwatch(folder));
        let mut more = false;
        for folder in wanted.difference(&had) {
            more |= self.watch(folder);
        }
        more
    }

    /// Watches nothing any more for a plugin that is gone.
    pub(super) fn forget(&mut self, path: &Path) {
        self.aliases.retain(|_, candidate| candidate != path);
        let had = self.beside.remove(path).unwrap_or_default();
        had.iter().for_each(|folder| self.unwatch(folder));
    }

    /// No longer, unless for something else.
    fn unwatch(&mut self, folder: &Path) {
        let elsewhere = self.beside.values().any(|folders| folders.contains(folder));
        if !elsewhere && !self.there.contains_key(folder) && !self.above.contains(folder) {
            let _ = self.watcher.unwatch(folder);
        }
    }
}

fn looks_like_a_plugin(path: &Path) -> bool {
    // A pipe of such a name would keep whoever reads it waiting.
    (path.extension().is_some_and(|ending| ending == "wasm") && path.is_file()) || path.is_dir()
}
