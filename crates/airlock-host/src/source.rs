//! Where a plugin comes from: bytes, a file, or a folder with a manifest.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Read};
use std::path::{Path, PathBuf};

use airlock_core::{Error, ErrorKind, LimitKind, Limits, Manifest, ManifestFormat, Phase, Result};

/// Where a plugin comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// A `.wasm` or `.wat` file, or a folder with a manifest.
    Path(PathBuf),
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// What somebody has read already, such as a store of installed plugins.
    Package {
        /// What it is called when there is no manifest.
        name: String,
        /// The manifest's file name, one of [`Manifest::FILE_NAMES`], and text.
        manifest: Option<(String, Vec<u8>)>,
        /// The wasm.
        wasm: Vec<u8>,
    },
}

impl From<&str> for Source {
    fn from(path: &str) -> Self {
        Source::Path(path.into())
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Source::Path(path.into())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Source::Path(path)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Source::Bytes(bytes)
    }
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Source::Bytes(bytes.to_vec())
    }
}

/// A plugin's bytes with what its folder says of it.
pub(crate) struct Found {
    /// The manifest's name, else the file's without its ending.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) manifest: Option<Manifest>,
    /// Whether the file's ending says that it is WebAssembly text.
    pub(crate) is_wat: bool,
}

/// Reads a plugin from where it is.
pub(crate) fn read(source: Source, limits: &Limits) -> Result<Found> {
    let path = match source {
        Source::Bytes(bytes) => {
            return Ok(Found { name: "plugin".to_owned(), bytes, manifest: None, is_wat: false });
        }
        Source::Package { name, manifest, wasm } => {
            let mut manifest = manifest.map(|(file, text)| Manifest::read(&file, &text)).transpose()?;
            manifest.as_mut().map_or(Ok(()), |manifest| manifest.check_hash(&wasm))?;
            let name = manifest.as_ref().map_or(name, |manifest| manifest.name.clone());
            return Ok(Found { name, bytes: wasm, manifest, is_wat: false });
        }
        Source::Path(path) => path,
    };
    let is_folder = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?.is_dir();
    let (mut manifest, file) = match folder_of_manifest(&path) {
        _ if is_folder => read_manifest(&path)?,
        Some(folder) => read_manifest(folder)?,
        None => (None, path),
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = read_file(&file, LimitKind::ArtifactSize, limits.value(LimitKind::ArtifactSize))?;
    manifest.as_mut().map_or(Ok(()), |manifest| manifest.check_hash(&bytes))?;
    Ok(Found {
        name: manifest.as_ref().map_or(stem, |manifest: &Manifest| manifest.name.clone()),
        bytes,
        is_wat: file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wat")),
        manifest,
    })
}

/// The folder of a manifest that is named itself, as a plugin's folder is.
fn folder_of_manifest(path: &Path) -> Option<&Path> {
    let name = path.file_name()?.to_str()?;
    let parent =
        path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    parent.filter(|_| Manifest::FILE_NAMES.contains(&name))
}

fn read_manifest(folder: &Path) -> Result<(Option<Manifest>, PathBuf)> {
    for name in Manifest::FILE_NAMES {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        regular(&path)?;
        let text = read_file(&path, LimitKind::ArtifactSize, Manifest::MAX_BYTES + 1)?;
        let manifest = Manifest::read(name, &text)?;
        let entry = folder.join(&manifest.entry_point);
        // The manifest's text cannot leave the folder; a symbolic link in it could.
        let inside = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, error));
        if !entry.exists()
            && let Some(hint) = manifest.how_to_build(|file| folder.join(file).exists())
        {
            return Err(Error::new(ErrorKind::PluginNotFound(entry)).with_hint(hint));
        }
        if !inside(&entry)?.starts_with(inside(folder)?) {
            let reason = "`entryPoint` leads out of the plugin's folder".to_owned();
            return Err(Error::new(ErrorKind::InvalidManifest { file: name.to_owned(), at: None, reason }));
        }
        regular(&entry)?;
        if manifest.format == ManifestFormat::Prx {
            no_link(&path)?;
            no_link(&entry)?;
        }
        return Ok((Some(manifest), entry));
    }
    Err(Error::new(ErrorKind::NoManifest(folder.to_owned())))
}

/// Refuses a symbolic link, as PRX's host does for its plugins, wherever it leads.
fn no_link(path: &Path) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| unreadable(path, error))?;
    match metadata.is_symlink() {
        false => Ok(()),
        true => Err(unreadable(path, std::io::Error::other("it is a symbolic link"))),
    }
}

/// Refuses what is no file, such as a pipe, that a folder has where a file should be: reading it
/// could take for ever. Whoever names one itself may have it read.
fn regular(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    match metadata.is_file() {
        true => Ok(()),
        false => Err(unreadable(path, std::io::Error::other("it is no regular file"))),
    }
}

/// Reads a file of at most `maximum` bytes, however large it says it is.
fn read_file(path: &Path, limit: LimitKind, maximum: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let said = file.metadata().map_or(0, |metadata| metadata.len());
    // One more than it says, so that the end is seen without another read.
    let mut bytes = Vec::with_capacity(usize::try_from(said.min(maximum)).unwrap_or(0) + 1);
    file.take(maximum.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > maximum {
        return Err(Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase: Phase::Admit }));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        IoKind::NotFound => ErrorKind::PluginNotFound(path.to_owned()),
        _ => ErrorKind::Unreadable(path.to_owned()),
    };
    Error::new(kind).with_source(error)
}
