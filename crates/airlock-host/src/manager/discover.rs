//! Plugins in folders.

use std::path::{Path, PathBuf};

use airlock_core::{Digest, Error, ErrorKind};

use crate::host::Host;
use crate::load::{Examined, LoadOptions};

/// What was found in folders: plugins by their names, and what could not be read. Nothing of
/// it is compiled, but where a module has to be asked what it is; what it says is known after that.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Discovered {
    /// Plugins, by name and then by path.
    pub plugins: Vec<FoundPlugin>,
    /// Paths that look like a plugin and are none, and why, by path.
    pub failures: Vec<(PathBuf, Error)>,
}

/// A plugin in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPlugin {
    /// The manifest's name, else the file's.
    pub name: String,
    /// The version that its manifest has.
    pub version: Option<String>,
    /// Its bytes.
    pub digest: Digest,
    /// Where it is: a folder with a manifest, or a `.wasm` file.
    pub path: PathBuf,
    /// The words that it adds to the command line.
    pub commands: Vec<String>,
}

/// Looks into each folder, not below it, for `.wasm` files and for folders with a manifest.
pub(super) fn discover<'a>(host: &Host, folders: impl IntoIterator<Item = &'a Path>) -> Discovered {
    let mut found = Discovered::default();
    for folder in folders {
        match entries(folder) {
            Ok(paths) => paths.into_iter().for_each(|path| look(host, path, &mut found)),
            Err(error) => {
                let error = Error::new(ErrorKind::Unreadable(folder.to_owned())).with_source(error);
                found.failures.push((folder.to_owned(), error));
            }
        }
    }
    found.plugins.sort_by(|one, other| (&one.name, &one.path).cmp(&(&other.name, &other.path)));
    found.failures.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn look(host: &Host, path: PathBuf, found: &mut Discovered) {
    let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
    // A pipe of such a name would keep whoever reads it waiting.
    let is_candidate = path.is_dir() || (is_wasm && path.is_file());
    if !is_candidate {
        return;
    }
    match host.examine(path.as_path(), &LoadOptions::new()) {
        Ok(Examined { abi: Err(error), .. }) => found.failures.push((path, error)),
        Ok(examined) => {
            let manifest = examined.manifest.as_ref();
            found.plugins.push(FoundPlugin {
                version: manifest.and_then(|manifest| manifest.version.clone()),
                commands: manifest
                    .map(|manifest| manifest.commands.iter().map(|command| command.name.clone()).collect())
                    .unwrap_or_default(),
                name: examined.name,
                digest: examined.artifact.digest(),
                path,
            });
        }
        // A folder without a manifest is no plugin.
        Err(error) if !is_wasm && matches!(error.kind(), ErrorKind::NoManifest(_)) => {}
        Err(error) => found.failures.push((path, error)),
    }
}
