//! What is to be installed, read whole into memory and checked, before anything is decided
//! over it. The source is read once and never written to.

mod archive;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use airlock_core::{
    Digest, Error, ErrorKind, LimitKind, Limits, Manifest, ManifestFormat, Phase, Result, shell_quoted,
};

/// Bytes of all files of a source together.
const MAX_BYTES: u64 = 256 << 20;

/// Files and folders in an archive.
const MAX_ENTRIES: usize = 10_000;

/// The file of PRX's archives (`.prxplugin`) that has the digests of the others, as `sha256sum` writes
/// them.
const CHECKSUMS: &str = "checksums.sha256";

/// A plugin's files, not installed yet.
#[derive(Debug, Clone)]
pub struct Package {
    source: String,
    link: Option<PathBuf>,
    manifest: Option<(String, Vec<u8>, Manifest)>,
    name: String,
    entry: String,
    files: BTreeMap<String, Vec<u8>>,
}

/// The files of a source by their paths in it.
type Files = BTreeMap<String, Vec<u8>>;

impl Package {
    /// Reads a source: a folder with a manifest, or that manifest, a `.wasm` file, or an archive (`.tar`,
    /// `.tar.gz`, `.zip`) of either. What it is is told by its bytes and not by its name.
    ///
    /// # Errors
    /// [`ErrorKind::PluginNotFound`], [`ErrorKind::NoManifest`], [`ErrorKind::InvalidManifest`];
    /// [`ErrorKind::NotInstallable`] for anything that is none of those or tries to leave its
    /// folder; [`ErrorKind::Limit`] for files that are too large.
    pub fn read(source: &Path, limits: &Limits) -> Result<Self> {
        let metadata = std::fs::metadata(source).map_err(|error| unreadable(source, error))?;
        let canonical = source.canonicalize().map_err(|error| unreadable(source, error))?;
        let shown = canonical.to_string_lossy().into_owned();
        if metadata.is_dir() {
            return Package::of_folder(&canonical, shown, limits);
        }
        if let Some(folder) = folder_of_manifest(source) {
            return Package::of_folder(&folder, folder.to_string_lossy().into_owned(), limits);
        }
        let bytes = read_file(&canonical, MAX_BYTES)?;
        let stem = canonical.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if bytes.starts_with(b"\0asm") {
            let file = canonical.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Package::of_wasm(shown, stem, file, bytes, limits);
        }
        let files = archive::read(&shown, bytes)?;
        Package::of_files(shown, stem, files, limits)
    }

    /// The same read again from its folder at every load.
    ///
    /// # Errors
    /// [`ErrorKind::NotInstallable`] when the source is no folder.
    pub fn linked(mut self) -> Result<Self> {
        let folder = PathBuf::from(&self.source);
        if !folder.is_dir() {
            return Err(self.refused("only a folder can be linked to"));
        }
        self.link = Some(folder);
        Ok(self)
    }

    /// The same as if it had been read from there: what was built in a copy of a folder is the
    /// folder's.
    ///
    /// # Errors
    /// [`ErrorKind::PluginNotFound`] when there is nothing.
    pub fn built_from(mut self, source: &Path) -> Result<Self> {
        let canonical = source.canonicalize().map_err(|error| unreadable(source, error))?;
        self.source = canonical.to_string_lossy().into_owned();
        Ok(self)
    }

    /// The same with what its module says of itself, where nothing else does: by the name that it
    /// has there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidManifest`]; [`ErrorKind::NotInstallable`] for a name that cannot be one.
    pub fn described(mut self, said: &[u8], limits: &Limits) -> Result<Self> {
        if self.manifest.is_some() {
            return Ok(self);
        }
        let mut manifest = Manifest::read(Manifest::EXPORT, said)?;
        // What a module says of itself is of itself.
        manifest.entry_point.clone_from(&self.entry);
        manifest.commands.iter_mut().for_each(|command| command.file.clone_from(&self.entry));
        self.name.clone_from(&manifest.name);
        self.manifest = Some((Manifest::EXPORT.to_owned(), said.to_vec(), manifest));
        self.checked(limits)
    }

    /// Where it was read from, as an absolute path.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The folder it is read from at every load, when it is linked.
    pub fn link(&self) -> Option<&Path> {
        self.link.as_deref()
    }

    /// The manifest's name, else the file's without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its manifest.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref().map(|(_, _, manifest)| manifest)
    }

    /// The manifest's file name and text.
    pub fn manifest_file(&self) -> Option<(&str, &[u8])> {
        self.manifest.as_ref().map(|(name, bytes, _)| (name.as_str(), bytes.as_slice()))
    }

    /// The path of the wasm file that is called.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// The wasm files by their paths; the entry is one of them.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// The digest of the entry.
    pub fn digest(&self) -> Digest {
        Digest::of(self.files.get(&self.entry).map(Vec::as_slice).unwrap_or_default())
    }

    fn of_wasm(source: String, name: String, file: String, bytes: Vec<u8>, limits: &Limits) -> Result<Self> {
        let files = Files::from([(file.clone(), bytes)]);
        Package { source, link: None, manifest: None, name, entry: file, files }.checked(limits)
    }

    fn of_folder(folder: &Path, source: String, limits: &Limits) -> Result<Self> {
        if let Some((name, text, manifest)) = manifest_of(folder)? {
            let mut files = Files::new();
            for file in manifest.files() {
                let path = folder.join(file);
                if !path.exists() {
                    let how = manifest.how_to_build(|file| folder.join(file).exists());
                    return Err(not_built(&source, file, &manifest, how));
                }
                if manifest.format == ManifestFormat::Prx {
                    no_link(&path)?;
                }
                let maximum = limits.value(LimitKind::ArtifactSize);
                let bytes = read_file(&inside(folder, &path, name)?, maximum)?;
                files.insert(file.to_owned(), bytes);
            }
            return Package::of_manifest(source, name, text, manifest, files).checked(limits);
        }
        Err(Error::new(ErrorKind::NoManifest(folder.to_owned())))
    }

    /// Of an archive's files: those beside the manifest, wherever it is, or the only wasm file.
    fn of_files(source: String, stem: String, mut files: Files, limits: &Limits) -> Result<Self> {
        let root = match common_folder(&files) {
            Some(folder) if !has_manifest(&files, "") => folder,
            _ => String::new(),
        };
        if let Some(sums) = files.remove(&format!("{root}{CHECKSUMS}")) {
            check_sums(&files, &root, &sums).map_err(|reason| refused(&source, &reason))?;
        }
        for name in Manifest::FILE_NAMES {
            let Some(text) = files.remove(&format!("{root}{name}")) else { continue };
            let manifest = Manifest::read(name, &text)?;
            let mut kept = Files::new();
            for file in manifest.files() {
                let path = normalised(&format!("{root}{file}")).unwrap_or_default();
                let Some(bytes) = files.remove(&path) else {
                    return Err(not_built(&source, file, &manifest, None));
                };
                kept.insert(file.to_owned(), bytes);
            }
            return Package::of_manifest(source, name, text, manifest, kept).checked(limits);
        }
        let mut wasm = files.into_iter().filter(|(_, bytes)| bytes.starts_with(b"\0asm"));
        match (wasm.next(), wasm.next()) {
            (Some((path, bytes)), None) => {
                let file = path.rsplit('/').next().unwrap_or(&path).to_owned();
                let stem = file.strip_suffix(".wasm").map_or(stem, str::to_owned);
                Package::of_wasm(source, stem, file, bytes, limits)
            }
            _ => Err(refused(&source, "it has no manifest, and not just one wasm file")),
        }
    }

    fn of_manifest(source: String, file: &str, text: Vec<u8>, manifest: Manifest, files: Files) -> Self {
        let (name, entry) = (manifest.name.clone(), manifest.entry_point.clone());
        Package { source, link: None, manifest: Some((file.to_owned(), text, manifest)), name, entry, files }
    }

    /// Refuses files that are too large or no wasm, and a name that cannot be one.
    fn checked(self, limits: &Limits) -> Result<Self> {
        let maximum = limits.value(LimitKind::ArtifactSize);
        for (path, bytes) in &self.files {
            if bytes.len() as u64 > maximum {
                return Err(too_large(maximum));
            }
            if !bytes.starts_with(b"\0asm") {
                return Err(self.refused(&format!("`{path}` is no WebAssembly")));
            }
        }
        // Names end up in paths, on command lines and in tables.
        let plain = |c: char| c.is_alphanumeric() || "-_.@/ ".contains(c);
        let begins =
            self.name.chars().next().is_some_and(char::is_alphanumeric) || self.name.starts_with('@');
        if !begins
            || self.name.chars().count() > 128
            || !self.name.chars().all(plain)
            || self.name.ends_with(' ')
        {
            let reason =
                "its name has to begin with a letter or digit and go on with those, `-_.@/` or spaces";
            return Err(self.refused(reason));
        }
        Ok(self)
    }

    fn refused(&self, reason: &str) -> Error {
        refused(&self.source, reason)
    }
}

/// The manifest of a plugin's folder, whether or not what it names is there: its file's name,
/// its text, and what it says; `None` when there is none.
///
/// # Errors
/// [`ErrorKind::InvalidManifest`], also when a symbolic link leads it out of the folder;
/// [`ErrorKind::NotInstallable`] when it is no regular file.
pub fn manifest_of(folder: &Path) -> Result<Option<(&'static str, Vec<u8>, Manifest)>> {
    let folder = folder.canonicalize().map_err(|error| unreadable(folder, error))?;
    let Some(name) = Manifest::FILE_NAMES.into_iter().find(|name| folder.join(name).exists()) else {
        return Ok(None);
    };
    let text = read_file(&inside(&folder, &folder.join(name), name)?, Manifest::MAX_BYTES + 1)?;
    let manifest = Manifest::read(name, &text)?;
    if manifest.format == ManifestFormat::Prx {
        no_link(&folder.join(name))?;
    }
    Ok(Some((name, text, manifest)))
}

/// The folder of a manifest that is named itself, as a plugin's folder is.
fn folder_of_manifest(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|_| Manifest::FILE_NAMES.contains(&name))?;
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    parent.canonicalize().ok()
}

/// Refuses a symbolic link, as PRX's host does for its plugins, wherever it leads.
fn no_link(path: &Path) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| unreadable(path, error))?;
    match metadata.is_symlink() {
        false => Ok(()),
        true => Err(refused(&path.to_string_lossy(), "it is a symbolic link")),
    }
}

fn refused(source: &str, reason: &str) -> Error {
    Error::new(ErrorKind::NotInstallable { source: source.to_owned(), reason: reason.to_owned() })
}

fn not_built(source: &str, file: &str, manifest: &Manifest, how: Option<String>) -> Error {
    let error = refused(source, &format!("there is no `{file}` in it"));
    match manifest.hooks.get("build") {
        Some(_) => {
            let source = shell_quoted(source);
            error.with_hint(format!(
                "it has to be built first: `airlock install --build {source}` shows how, and asks"
            ))
        }
        None => error.with_hint(how.unwrap_or_else(|| "it has to be built first".to_owned())),
    }
}

/// `path`, when no symbolic link leads it out of `folder`, which is canonical.
fn inside(folder: &Path, path: &Path, manifest: &str) -> Result<PathBuf> {
    let canonical = path.canonicalize().map_err(|error| unreadable(path, error))?;
    if canonical.starts_with(folder) {
        return Ok(canonical);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let reason = format!("`{name}` leads out of the plugin's folder");
    Err(Error::new(ErrorKind::InvalidManifest { file: manifest.to_owned(), at: None, reason }))
}

/// Reads a regular file of at most `maximum` bytes.
fn read_file(path: &Path, maximum: u64) -> Result<Vec<u8>> {
    // A FIFO in its place must not block.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| unreadable(path, error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Err(refused(&path.to_string_lossy(), "it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(maximum)).unwrap_or(0) + 1);
    file.take(maximum.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    match bytes.len() as u64 > maximum {
        true => Err(too_large(maximum)),
        false => Ok(bytes),
    }
}

fn too_large(maximum: u64) -> Error {
    let (limit, phase) = (LimitKind::ArtifactSize, Phase::Admit);
    Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase })
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::PluginNotFound(path.to_owned()),
        _ => ErrorKind::Unreadable(path.to_owned()),
    };
    Error::new(kind).with_source(error)
}

/// Whether the files below `root` are those that the sums are of, each of them.
fn check_sums(files: &Files, root: &str, sums: &[u8]) -> std::result::Result<(), String> {
    let sums = std::str::from_utf8(sums).map_err(|_| format!("`{CHECKSUMS}` is no text"))?;
    let mut listed = BTreeMap::new();
    for line in sums.lines().filter(|line| !line.trim().is_empty()) {
        let (digest, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        // A `*` says that it was read as bytes.
        let name = name.trim_start().trim_start_matches('*');
        let digest: Digest = digest
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| format!("a line of `{CHECKSUMS}` begins with no digest"))?;
        listed.insert(format!("{root}{name}"), digest);
    }
    for (path, bytes) in files {
        let shown = path.strip_prefix(root).unwrap_or(path);
        match listed.remove(path) {
            Some(digest) if digest == Digest::of(bytes) => {}
            Some(_) => return Err(format!("`{shown}` is not what `{CHECKSUMS}` says that it is")),
            None => return Err(format!("`{CHECKSUMS}` has no digest of `{shown}`")),
        }
    }
    match listed.into_keys().next() {
        Some(path) => {
            let shown = path.strip_prefix(root).unwrap_or(&path);
            Err(format!("`{shown}` is missing, of which `{CHECKSUMS}` has a digest"))
        }
        None => Ok(()),
    }
}

fn has_manifest(files: &Files, root: &str) -> bool {
    Manifest::FILE_NAMES.iter().any(|name| files.contains_key(&format!("{root}{name}")))
}

/// The folder, with its slash, that all files are in.
fn common_folder(files: &Files) -> Option<String> {
    let (first, _) = files.first_key_value()?;
    let folder = first.split_inclusive('/').next().filter(|folder| folder.ends_with('/'))?;
    files.keys().all(|path| path.starts_with(folder)).then(|| folder.to_owned())
}

/// A relative path with its dots taken out, as text; `None` when it is absolute, leads out,
/// names nothing or is not text.
fn normalised(path: &str) -> Option<String> {
    if path.contains(['\0', '\\']) {
        return None;
    }
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
