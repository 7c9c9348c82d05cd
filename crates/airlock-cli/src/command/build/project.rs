//! What is built: a folder, what its manifest says, and its files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use airlock_host::{Digest, Error, ErrorKind, Manifest};
use airlock_store::manifest_of;

use super::language::Language;

/// What is large, made again by building, and never part of a source.
pub(super) const LEFT_OUT: [&str; 5] = ["target", ".git", "node_modules", ".zig-cache", "zig-out"];

/// What a new file may be done to, before the process's mask.
#[cfg(unix)]
const MODE: u32 = 0o666;

pub(super) struct Project {
    /// Canonical.
    folder: PathBuf,
    manifest: Option<Manifest>,
    name: String,
    /// What is built, relative to the folder and inside it.
    outputs: Vec<String>,
}

impl Project {
    /// The one in a folder.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where it is no folder; those of its manifest.
    pub(super) fn at(folder: &Path) -> Result<Self, Error> {
        let refused = |reason: &str| {
            let name = folder.display().to_string();
            Error::new(ErrorKind::InvalidSetting { name, reason: reason.to_owned() })
        };
        let canonical =
            folder.canonicalize().map_err(|error| refused("it is not there").with_source(error))?;
        if !canonical.is_dir() {
            return Err(refused("it is no folder, and what is built is a folder's"));
        }
        let manifest = manifest_of(&canonical)?.map(|(_, _, manifest)| manifest);
        let (name, outputs) = match &manifest {
            Some(manifest) => {
                let files = manifest.files().into_iter().map(str::to_owned).collect();
                (manifest.name.clone(), files)
            }
            None => {
                // Such a plugin is called as its file.
                let own = Language::of(&canonical).and_then(|language| language.name_of(&canonical));
                let folder = || canonical.file_name().map(|name| name.to_string_lossy().into_owned());
                let name = own.or_else(folder).unwrap_or_else(|| "plugin".to_owned());
                (name.clone(), vec![format!("{name}.wasm")])
            }
        };
        Ok(Project { folder: canonical, manifest, name, outputs })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn outputs(&self) -> Vec<&str> {
        self.outputs.iter().map(String::as_str).collect()
    }

    /// What to check, test and install: the folder, or the file where that has no manifest.
    pub(super) fn plugin(&self, given: &Path) -> PathBuf {
        match (&self.manifest, self.outputs.first()) {
            (None, Some(output)) => given.join(output),
            _ => given.to_owned(),
        }
    }

    /// The build record's file. A name may have what no file's may.
    pub(super) fn record_file(&self) -> String {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = self.name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
        format!("{}.build.json", name.trim_start_matches('.'))
    }

    /// Refuses a path that a symbolic link leads out of the folder.
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`].
    pub(super) fn refuse_outside(&self, file: &str) -> Result<(), Error> {
        let path = self.folder.join(file);
        // What is not there yet is where the nearest that is there leads to.
        let there = path.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok());
        match there.is_some_and(|there| there.starts_with(&self.folder)) {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorKind::NotBuilt(format!("`{file}` leads out of the plugin's folder"))))
            }
        }
    }

    /// Writes a file in the folder, all of it or nothing.
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        self.refuse_outside(file)?;
        let path = self.folder.join(file);
        let cannot = |error: std::io::Error| Error::host(format!("cannot write `{file}`")).with_source(error);
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let mut builder = tempfile::Builder::new();
        let prefix = format!("{TEMPORARY}{}", std::process::id());
        builder.prefix(&prefix);
        #[cfg(unix)]
        let builder = {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(MODE))
        };
        let mut beside = builder.tempfile_in(folder).map_err(cannot)?;
        beside.write_all(bytes).map_err(cannot)?;
        beside.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(())
    }

    /// The digest of all that it is built from: every file's path and bytes, without what building
    /// makes. And how many files that are.
    pub(super) fn sources(&self) -> Result<(Digest, usize), Error> {
        let mut files = BTreeMap::new();
        let made =
            |path: &str| self.outputs.iter().any(|output| output == path) || path == self.record_file();
        digests(&self.folder, "", &made, &mut files)
            .map_err(|error| Error::host("cannot read the plugin's sources").with_source(error))?;
        let mut text = String::new();
        for (path, digest) in &files {
            // Without a line's end, which a path can have.
            text.push_str(&format!("{digest} {path:?}\n"));
        }
        Ok((Digest::of(text.as_bytes()), files.len()))
    }

    /// The folders with sources.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        folders(&self.folder, &mut found);
        found
    }
}

/// How files begin that are being written.
const TEMPORARY: &str = ".airlock-build-";

fn is_left_out(name: &std::ffi::OsStr) -> bool {
    LEFT_OUT.iter().any(|left_out| name == *left_out)
}

/// Symbolic links are passed over: what they lead to is not the source's.
fn digests(
    folder: &Path,
    prefix: &str,
    made: &dyn Fn(&str) -> bool,
    files: &mut BTreeMap<String, Digest>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let path = format!("{prefix}{}", name.to_string_lossy());
        if is_left_out(&name) || made(&path) || name.to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        if kind.is_dir() {
            digests(&entry.path(), &format!("{path}/"), made, files)?;
        } else if kind.is_file() {
            match std::fs::read(entry.path()) {
                Ok(bytes) => files.insert(path, Digest::of(&bytes)),
                // An editor's file that was there a moment ago.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
    }
    Ok(())
}

fn folders(folder: &Path, found: &mut Vec<PathBuf>) {
    found.push(folder.to_owned());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| !is_left_out(&entry.file_name())) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders(&entry.path(), found);
        }
    }
}

/// Copies files and folders. Symbolic links stay behind: what they lead to is not the
/// source's.
pub(super) fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        if is_left_out(&name) {
            continue;
        }
        let target = to.join(&name);
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
