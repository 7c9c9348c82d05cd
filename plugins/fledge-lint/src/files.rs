//! Which files are looked at.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders that hold what others wrote. They are looked into only when they are named.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// Bigger files were hardly written by hand.
const BIGGEST: u64 = 1024 * 1024;

/// What there is to look at, in the order of the paths, which begin below the project.
pub struct Found {
    /// Files that are not too big.
    pub files: Vec<PathBuf>,
    /// Folders that cannot be read.
    pub unreadable: Vec<PathBuf>,
}

/// The files at and below `paths` of the project in `root`; all of the project's when there
/// are none. Symbolic links are not followed.
///
/// # Errors
/// With the reason when one of the paths is not there or leads out of the project.
pub fn find(root: &Path, paths: &[String]) -> Result<Found, String> {
    let mut found = Found { files: Vec::new(), unreadable: Vec::new() };
    let mut folders = Vec::new();
    if paths.is_empty() {
        folders.push(PathBuf::new());
    }
    for path in paths {
        let below = below(path).ok_or_else(|| format!("`{path}` is not below the project"))?;
        let metadata =
            fs::metadata(root.join(&below)).map_err(|_| format!("there is no `{path}` in the project"))?;
        if metadata.is_dir() {
            folders.push(below);
        } else if metadata.len() <= BIGGEST {
            found.files.push(below);
        }
    }
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            found.unreadable.push(folder);
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = folder.join(entry.file_name());
            if metadata.is_dir() {
                if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                    folders.push(path);
                }
            } else if metadata.is_file() && metadata.len() <= BIGGEST {
                found.files.push(path);
            }
        }
    }
    found.files.sort();
    found.files.dedup();
    found.unreadable.sort();
    Ok(found)
}

/// `path` in its shortest form; `None` when it is not one that goes down only.
fn below(path: &str) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => below.push(name),
            _ => return None,
        }
    }
    Some(below)
}
