//! The folders that a policy opens, and what of each may be reached.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use airlock_core::{Capability, CapabilityKind, PathScope, Policy, Scope};
use wasmtime_wasi::p1::types::Errno;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{FIRST, Target};

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
    guest: String,
    /// With symbolic links resolved.
    pub(super) real: PathBuf,
    pub(super) rest: Rest,
    /// Files that were granted one by one, as the guest calls them.
    pub(super) names: BTreeMap<String, Named>,
    /// What granted the folder, or the first of the files.
    pub(super) capability: Capability,
    revoked: bool,
}

/// A file that was granted by itself.
#[derive(Debug)]
pub(super) struct Named {
    folder: PathBuf,
    name: String,
    write: bool,
    capability: Capability,
    /// The descriptor of its folder; none where that could not be opened.
    handle: Option<u32>,
    revoked: bool,
}

impl Root {
    pub(super) fn is_filtered(&self) -> bool {
        !self.names.is_empty() || !matches!(self.rest, Rest::All(_))
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked
    }

    pub(super) fn is_writable(&self) -> bool {
        let rest = matches!(self.rest, Rest::Files(true) | Rest::All(true));
        rest || self.names.values().any(|named| named.write)
    }

    /// Looks at what is in force now.
    pub(super) fn follow(&mut self, policy: &Policy) {
        let gone = |capability: &Capability| !policy.allows(capability);
        for named in self.names.values_mut() {
            named.revoked = gone(&named.capability);
        }
        let names = !self.names.is_empty() && self.names.values().all(|named| named.revoked);
        self.revoked = match self.rest {
            Rest::None => names,
            _ => gone(&self.capability),
        };
    }

    /// Where a path leads that begins here. `whole` is the path as it is.
    pub(super) fn resolve(&self, fd: u32, path: &str, whole: Target) -> Result<Target, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let plain = !path.starts_with('/') && !parts.contains(&"..");
        match (parts.as_slice(), self.rest) {
            ([], _) if plain && !path.is_empty() => Ok(whole),
            ([name], _) if plain && self.names.contains_key(*name) => {
                let named = &self.names[*name];
                if named.revoked {
                    return Err(Errno::Perm);
                }
                // It is a file, whatever is there now.
                if path.ends_with('/') {
                    return Err(Errno::Notdir);
                }
                Ok(Target {
                    fd: named.handle.ok_or(Errno::Noent)?,
                    path: named.name.clone(),
                    follow: false,
                    no_folder: true,
                    root: whole.root,
                    is_root: false,
                    is_named: true,
                })
            }
            (_, Rest::All(_)) => Ok(Target { is_root: false, ..whole }),
            ([name], Rest::Files(_)) if plain && !path.ends_with('/') => Ok(Target {
                fd,
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
        Root { real: PathBuf::from(&guest), guest, rest, names, capability, revoked: false }
    }
}

#[cfg(test)]
impl Named {
    pub(super) fn opened(name: String, capability: Capability, handle: u32) -> Self {
        let (folder, handle) = (PathBuf::from("/"), Some(handle));
        Named { folder, name, write: false, capability, handle, revoked: false }
    }
}

/// Where the kernel shows itself and running programs as files: among them this process's
/// memory, which whoever writes to it is outside of any sandbox.
const KERNELS: [&str; 2] = ["/proc", "/sys"];

/// Whether a path is there, or holds it.
fn is_kernels(real: &Path) -> bool {
    KERNELS.iter().any(|kernels| real.starts_with(kernels) || Path::new(kernels).starts_with(real))
}

/// What a capability names on the disk.
enum Found {
    Folder(PathBuf),
    File { folder: PathBuf, name: String },
}

fn find(host: &Path, may_be_new: bool) -> Result<Found, String> {
    let in_folder = |path: &Path| -> Option<Found> {
        let name = path.file_name()?.to_str()?.to_owned();
        Some(Found::File { folder: path.parent()?.to_owned(), name })
    };
    let no_name = || "its name is no UTF-8".to_owned();
    match host.canonicalize() {
        Ok(real) => {
            let kind = real.symlink_metadata().map_err(|error| error.to_string())?.file_type();
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => Ok(Found::Folder(real)),
                (_, true) => in_folder(&real).ok_or_else(no_name),
                _ => Err("it is neither a folder nor a plain file".to_owned()),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_be_new => {
            // A link that leads nowhere would be followed to be created.
            if host.symlink_metadata().is_ok() {
                return Err("it is a symbolic link that leads nowhere".to_owned());
            }
            let folder = host.parent().ok_or_else(no_name)?.canonicalize();
            let folder = folder.map_err(|error| error.to_string())?;
            in_folder(&folder.join(host.file_name().ok_or_else(no_name)?)).ok_or_else(no_name)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The parent and the name of a path that a guest sees.
fn split(guest: &str) -> Option<(String, String)> {
    let (parent, name) = guest.rsplit_once('/')?;
    let parent = if parent.is_empty() { "/" } else { parent };
    (!name.is_empty()).then(|| (parent.to_owned(), name.to_owned()))
}

/// Opens what is granted: the roots in the order of their descriptors, and how many
/// descriptors come behind them.
pub(super) fn open(
    builder: &mut WasiCtxBuilder,
    policy: &Policy,
    denies: impl Fn(CapabilityKind, &Path) -> bool,
) -> (Vec<Root>, u32) {
    let (mut roots, left_out) = plan(policy, denies);
    for (capability, reason) in left_out {
        tracing::warn!(%capability, reason, "not opened");
    }
    roots.retain(|root| {
        let write = matches!(root.rest, Rest::Files(true) | Rest::All(true));
        preopen(builder, &root.real, &root.guest, write, &root.capability)
    });
    let handles = open_handles(builder, &mut roots);
    (roots, handles)
}

/// What would be opened, and what is left out and why.
pub(super) fn plan(
    policy: &Policy,
    denies: impl Fn(CapabilityKind, &Path) -> bool,
) -> (Vec<Root>, Vec<(Capability, String)>) {
    let (mut roots, mut left_out) = (Vec::new(), Vec::new());
    for kind in [CapabilityKind::FsRead, CapabilityKind::FsWrite] {
        for capability in policy.of(kind) {
            let Scope::Path(path) = capability.scope() else { continue };
            if let Err(reason) = add(&mut roots, capability, path, &denies) {
                left_out.push((capability.clone(), reason));
            }
        }
    }
    inherit(&mut roots);
    (roots, left_out)
}

fn preopen(builder: &mut WasiCtxBuilder, real: &Path, guest: &str, write: bool, why: &Capability) -> bool {
    let rights = if write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
    let opened = builder.preopened_dir(real, guest, rights);
    if let Err(error) = &opened {
        tracing::warn!(capability = %why, reason = %error, "not opened");
    }
    opened.is_ok()
}

fn add(
    roots: &mut Vec<Root>,
    capability: &Capability,
    path: &PathScope,
    denies: impl Fn(CapabilityKind, &Path) -> bool,
) -> Result<(), String> {
    let host = path.absolute().ok_or("there is no folder that it begins in")?;
    let write = capability.kind() == CapabilityKind::FsWrite;
    let guest = path.guest();
    let forbidden = |real: &Path| match denies(capability.kind(), real) {
        true => Err("it leads to files of Airlock's own".to_owned()),
        false if is_kernels(real) => Err("it leads to what is the kernel's and no file".to_owned()),
        false => Ok(()),
    };
    let new = |guest: String, real: PathBuf, rest: Rest| Root {
        guest,
        real,
        rest,
        names: BTreeMap::new(),
        capability: capability.clone(),
        revoked: false,
    };
    match find(&host, write && !path.is_shallow())? {
        Found::Folder(real) => {
            forbidden(&real)?;
            let rest = if path.is_shallow() { Rest::Files(write) } else { Rest::All(write) };
            match roots.iter_mut().find(|root| root.guest == guest) {
                None => roots.push(new(guest, real, rest)),
                Some(root) if root.rest == Rest::None => {
                    (root.real, root.rest, root.capability) = (real, rest, capability.clone());
                }
                Some(root) if root.real != real => {
                    return Err(format!("another folder is at `{guest}`"));
                }
                // Reading all of it and writing its files are two different things.
                Some(root) if rest > root.rest && !matches!(root.rest, Rest::Files(true)) => {
                    (root.rest, root.capability) = (rest, capability.clone());
                }
                // The same again, or less of it.
                Some(root) if !write || root.is_writable() => {}
                Some(_) => return Err(format!("all of `{guest}` is granted to be read only")),
            }
        }
        Found::File { .. } if path.is_shallow() => return Err("it is no folder".to_owned()),
        Found::File { folder, name } => {
            forbidden(&folder.join(&name))?;
            let (guest, called) = split(&guest).ok_or("a file is not seen as `/`")?;
            let at = roots.iter().position(|root| root.guest == guest).unwrap_or_else(|| {
                roots.push(new(guest, folder.clone(), Rest::None));
                roots.len() - 1
            });
            let named =
                Named { folder, name, write, capability: capability.clone(), handle: None, revoked: false };
            match roots[at].names.get_mut(&called) {
                Some(known) if (&known.folder, &known.name) != (&named.folder, &named.name) => {
                    return Err(format!("another file is called `{called}` there"));
                }
                Some(known) if known.write || !named.write => {}
                _ => {
                    roots[at].names.insert(called, named);
                }
            }
        }
    }
    Ok(())
}

/// A folder that is there for some of its files only is still within another one, where that
/// is granted: the libc looks no further than the nearest folder.
fn inherit(roots: &mut [Root]) {
    for at in 0..roots.len() {
        if roots[at].rest != Rest::None {
            continue;
        }
        let outer = roots.iter().filter(|outer| matches!(outer.rest, Rest::All(_)));
        let found = outer.filter_map(|outer| {
            let below = Path::new(&roots[at].guest).strip_prefix(&outer.guest).ok()?;
            let real = outer.real.join(below).canonicalize().ok()?;
            let inside = real.starts_with(&outer.real) && real.is_dir();
            inside.then(|| (outer.guest.len(), real, outer.rest, outer.capability.clone()))
        });
        if let Some((_, real, rest, capability)) = found.max_by_key(|(length, ..)| *length) {
            let root = &mut roots[at];
            (root.real, root.rest, root.capability) = (real, rest, capability);
        }
    }
}

/// Opens the folders behind files that were granted one by one, each once for reading and
/// once for writing, where it is needed.
fn open_handles(builder: &mut WasiCtxBuilder, roots: &mut [Root]) -> u32 {
    let first = FIRST + u32::try_from(roots.len()).unwrap_or(u32::MAX - FIRST);
    let mut handles: HashMap<(PathBuf, bool), u32> = HashMap::new();
    for named in roots.iter_mut().flat_map(|root| root.names.values_mut()) {
        let key = (named.folder.clone(), named.write);
        named.handle = match handles.get(&key) {
            Some(handle) => Some(*handle),
            None => preopen(builder, &named.folder, "", named.write, &named.capability).then(|| {
                let handle = first + u32::try_from(handles.len()).unwrap_or(u32::MAX - first);
                handles.insert(key, handle);
                handle
            }),
        };
    }
    u32::try_from(handles.len()).unwrap_or(u32::MAX - first)
}
