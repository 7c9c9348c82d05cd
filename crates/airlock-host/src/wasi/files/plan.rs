//! What a policy opens.
//!
//! Finding that out takes many system calls, and a plugin may be called again and again. So a
//! plan is kept with the policy, with its folders open, and used as long as what it found is
//! where it was; where a path leads through a symbolic link or nowhere, it is made anew for every
//! call.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use airlock_core::{Capability, CapabilityKind, PathScope, Policy, Scope};
use wasmtime_wasi::filesystem::{WasiFilesystemCtx, WasiFilesystemView as _};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::roots::{Named, Rest, Root};

/// How paths of the disk are looked at.
#[derive(Debug, Clone)]
pub(crate) struct PathRules {
    /// Symbolic links on the way are followed; without it a path that has one is left out.
    pub(crate) follow_links: bool,
    /// The folder that relative paths begin in, where none of its paths may lead out of it.
    pub(crate) inside: Option<PathBuf>,
    /// Nothing is run where a path is left out.
    pub(crate) require: bool,
}

impl Default for PathRules {
    fn default() -> Self {
        PathRules { follow_links: true, inside: None, require: false }
    }
}

impl PathRules {
    /// Whether what was found at `host` is what was meant.
    fn check(&self, host: &Path, real: &Path) -> Result<(), String> {
        let below = self.inside.as_deref().and_then(|inside| Some((inside, host.strip_prefix(inside).ok()?)));
        let expected = match below {
            None => host.to_owned(),
            Some((inside, below)) => {
                let inside = inside.canonicalize().map_err(|error| error.to_string())?;
                if !real.starts_with(&inside) {
                    return Err("it leads out of the folder that it is run in".to_owned());
                }
                inside.join(below)
            }
        };
        match self.follow_links || real == expected {
            true => Ok(()),
            false => Err("a symbolic link leads there".to_owned()),
        }
    }
}

/// What a policy opens: roots in the order of their descriptors, and folders behind those.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(super) roots: Vec<Root>,
    /// Folders of files that were granted one by one, and whether those are to be written.
    behind: Vec<(PathBuf, bool)>,
    /// What of the policy is not there to be opened, or not what it was granted as, and why.
    pub(crate) left_out: Vec<(Capability, String)>,
    /// Whether it holds for later calls too.
    is_lasting: bool,
    /// What was found.
    found: Vec<(PathBuf, Thing)>,
    /// What was opened by the first call that needed it.
    held: OnceLock<Held>,
}

/// Folders that stay open between calls.
struct Held {
    folders: WasiFilesystemCtx,
    _counted: Counted,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// Folders of all plans that may stay open between calls: a quarter of the descriptors that a
/// process usually may have. What is beyond is opened anew by every call.
const MAX_HELD: usize = 256;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// So many of those.
#[derive(Debug)]
struct Counted(usize);

impl Counted {
    fn of(count: usize) -> Option<Self> {
        let counted = Counted(count);
        // Counted first and given back with what is dropped.
        let before = HELD.fetch_add(count, Ordering::Relaxed);
        (before + count <= MAX_HELD).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Thing {
    /// This folder and no other.
    Folder(u64, u64),
    /// No folder: a file, or nothing yet.
    NoFolder,
}

impl Plan {
    /// Looks at what `policy` grants. `denies` says of a path, with its symbolic links resolved,
    /// whether nobody may have it.
    pub(crate) fn of(
        policy: &Policy,
        rules: &PathRules,
        denies: impl Fn(CapabilityKind, &Path) -> bool,
    ) -> Self {
        let mut plan = Plan { is_lasting: true, ..Plan::default() };
        for kind in [CapabilityKind::FsRead, CapabilityKind::FsWrite] {
            for capability in policy.of(kind) {
                let Scope::Path(path) = capability.scope() else { continue };
                // What may be written is opened to be written, and that is all.
                let again = |other: &Capability| other.scope() == capability.scope();
                if kind == CapabilityKind::FsRead && policy.of(CapabilityKind::FsWrite).any(again) {
                    continue;
                }
                if let Err(reason) = plan.add(capability, path, rules, &denies) {
                    plan.left_out.push((capability.clone(), reason));
                    plan.is_lasting = false;
                }
            }
        }
        inherit(&mut plan.roots);
        plan.number();
        plan
    }

    /// Whether it can be used again.
    pub(crate) fn is_current(&self) -> bool {
        self.is_lasting && self.found.iter().all(|(path, thing)| look(path) == *thing)
    }

    /// All of it, opened: now, or by an earlier call.
    ///
    /// # Errors
    /// Where something of it is not there any more.
    pub(super) fn open(&self) -> wasmtime::Result<WasiFilesystemCtx> {
        if let Some(held) = self.held.get() {
            return Ok(held.folders.clone());
        }
        let mut builder = WasiCtxBuilder::new();
        for root in &self.roots {
            let write = matches!(root.rest, Rest::Files(true) | Rest::All(true));
            preopen(&mut builder, &root.real, &root.guest, write)?;
        }
        for (folder, write) in &self.behind {
            preopen(&mut builder, folder, "", *write)?;
        }
        let folders = builder.build_p1().filesystem().ctx.clone();
        // What was opened is what was found, or else it is not held.
        if self.is_current()
            && let Some(counted) = Counted::of(self.roots.len() + self.behind.len())
        {
            let _ = self.held.set(Held { folders: folders.clone(), _counted: counted });
        }
        Ok(folders)
    }

    /// How many folders come behind the roots.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Gives files that were granted one by one the folders behind them, each one for reading and one
    /// for writing, where it is needed.
    fn number(&mut self) {
        for named in self.roots.iter_mut().flat_map(|root| root.names.values_mut()) {
            let same = |(folder, write): &(PathBuf, bool)| *folder == named.folder && *write == named.write;
            named.behind = self.behind.iter().position(same).unwrap_or_else(|| {
                self.behind.push((named.folder.clone(), named.write));
                self.behind.len() - 1
            });
        }
    }

    fn add(
        &mut self,
        capability: &Capability,
        path: &PathScope,
        rules: &PathRules,
        denies: impl Fn(CapabilityKind, &Path) -> bool,
    ) -> Result<(), String> {
        let host = path.absolute().ok_or("there is no folder that it begins in")?;
        let write = capability.kind() == CapabilityKind::FsWrite;
        let guest = path.guest();
        let forbidden = |real: &Path| match denies(capability.kind(), real) {
            true => Err("it leads to files of Airlock's own".to_owned()),
            false if is_kernels(real) => Err("it leads to what is the kernel's and no file".to_owned()),
            false => rules.check(&host, real),
        };
        let new = |guest: String, real: PathBuf, rest: Rest| Root {
            guest,
            real,
            rest,
            names: BTreeMap::new(),
            capability: capability.clone(),
        };
        match find(&host, write && !path.is_shallow())? {
            Found::Folder(real) => {
                forbidden(&real)?;
                self.remember(&host, &real);
                let rest = if path.is_shallow() { Rest::Files(write) } else { Rest::All(write) };
                match self.roots.iter_mut().find(|root| root.guest == guest) {
                    None => self.roots.push(new(guest, real, rest)),
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
                self.remember(&host, &folder.join(&name));
                self.found.push((folder.clone(), look(&folder)));
                let (guest, called) = split(&guest).ok_or("a file is not seen as `/`")?;
                let at = self.roots.iter().position(|root| root.guest == guest).unwrap_or_else(|| {
                    self.roots.push(new(guest, folder.clone(), Rest::None));
                    self.roots.len() - 1
                });
                let named = Named { folder, name, write, capability: capability.clone(), behind: 0 };
                match self.roots[at].names.get_mut(&called) {
                    Some(known) if (&known.folder, &known.name) != (&named.folder, &named.name) => {
                        return Err(format!("another file is called `{called}` there"));
                    }
                    Some(known) if known.write || !named.write => {}
                    _ => {
                        self.roots[at].names.insert(called, named);
                    }
                }
            }
        }
        Ok(())
    }

    /// Remembers what was found at `host`, which has no links where it is the same as `real`.
    fn remember(&mut self, host: &Path, real: &Path) {
        self.is_lasting &= host == real;
        self.found.push((real.to_owned(), look(real)));
    }
}

fn look(path: &Path) -> Thing {
    match std::fs::metadata(path) {
        #[cfg(unix)]
        Ok(metadata) if metadata.is_dir() => {
            use std::os::unix::fs::MetadataExt as _;
            Thing::Folder(metadata.dev(), metadata.ino())
        }
        _ => Thing::NoFolder,
    }
}

fn preopen(builder: &mut WasiCtxBuilder, real: &Path, guest: &str, write: bool) -> wasmtime::Result<()> {
    let rights = if write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
    builder.preopened_dir(real, guest, rights).map(|_| ())
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
