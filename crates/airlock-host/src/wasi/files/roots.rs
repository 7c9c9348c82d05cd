//! Folders as a guest sees them, and what of each may be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use airlock_core::{Capability, Policy};
use wasmtime_wasi::p1::types::Errno;

use super::Target;

/// What may be reached of a folder beside files that were granted one by one, and whether it
/// may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rest {
    None,
    /// What is in it and no folder.
    Files(bool),
    /// Everything below.
    All(bool),
}

/// A folder as the guest sees it.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) guest: String,
    /// With symbolic links resolved.
    pub(super) real: PathBuf,
    pub(super) rest: Rest,
    /// Files that were granted one by one, as the guest calls them.
    pub(super) names: BTreeMap<String, Named>,
    /// What granted the folder, or the first of the files.
    pub(super) capability: Capability,
}

/// What of a root is not granted any more.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// All of it.
    pub(super) whole: bool,
    /// Files that were granted by themselves.
    pub(super) names: BTreeSet<String>,
}

/// A file that was granted by itself.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) write: bool,
    pub(super) capability: Capability,
    /// Which of the folders behind is its own.
    pub(super) behind: usize,
}

impl Root {
    pub(super) fn is_filtered(&self) -> bool {
        !self.names.is_empty() || !matches!(self.rest, Rest::All(_))
    }

    pub(super) fn is_writable(&self) -> bool {
        let rest = matches!(self.rest, Rest::Files(true) | Rest::All(true));
        rest || self.names.values().any(|named| named.write)
    }

    /// What of it `policy` does not grant.
    pub(super) fn gone(&self, policy: &Policy) -> Gone {
        let gone = |capability: &Capability| !policy.allows(capability);
        let names = self.names.iter().filter(|(_, named)| gone(&named.capability));
        let names: BTreeSet<String> = names.map(|(name, _)| name.clone()).collect();
        let whole = match self.rest {
            Rest::None => names.len() == self.names.len(),
            _ => gone(&self.capability),
        };
        Gone { whole, names }
    }

    /// Where a path leads that begins here. `whole` is the path as it is, `behind` what the folders
    /// behind the roots are open as.
    pub(super) fn resolve(
        &self,
        path: &str,
        whole: Target,
        gone: Option<&Gone>,
        behind: &[u32],
    ) -> Result<Target, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let plain = !path.starts_with('/') && !parts.contains(&"..");
        match (parts.as_slice(), self.rest) {
            ([], _) if plain && !path.is_empty() => Ok(whole),
            ([name], _) if plain && self.names.contains_key(*name) => {
                let named = &self.names[*name];
                if gone.is_some_and(|gone| gone.names.contains(*name)) {
                    return Err(Errno::Perm);
                }
                // It is a file, whatever is there now.
                if path.ends_with('/') {
                    return Err(Errno::Notdir);
                }
                Ok(Target {
                    fd: *behind.get(named.behind).ok_or(Errno::Badf)?,
                    path: named.name.clone(),
                    follow: false,
                    no_folder: true,
                    root: whole.root,
                    is_root: false,
                    name: Some((*name).into()),
                })
            }
            (_, Rest::All(_)) => Ok(Target { is_root: false, ..whole }),
            ([name], Rest::Files(_)) if plain && !path.ends_with('/') => Ok(Target {
                path: (*name).to_owned(),
                follow: false,
                no_folder: true,
                is_root: false,
                ..whole
            }),
            _ => Err(Errno::Perm),
        }
    }
}

#[cfg(test)]
impl Root {
    pub(super) fn of(
        guest: String,
        rest: Rest,
        names: BTreeMap<String, Named>,
        capability: Capability,
    ) -> Self {
        Root { real: PathBuf::from(&guest), guest, rest, names, capability }
    }
}

#[cfg(test)]
impl Named {
    pub(super) fn opened(name: String, capability: Capability, behind: usize) -> Self {
        let folder = PathBuf::from("/");
        Named { folder, name, write: false, capability, behind }
    }
}
