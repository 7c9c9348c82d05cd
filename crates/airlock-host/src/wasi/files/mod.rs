//! Files of the host that a guest may read and write.
//!
//! wasmtime-wasi keeps every path below the folder that it begins in: neither `..`, nor an
//! absolute path, nor a symbolic link leads out. What it cannot do is decided here, before it
//! is asked: single files and folders without their folders ([`roots`], opened by a [`plan`]), how much may be
//! written ([`quota`]), and that a grant which is taken back is gone for what is open too.
//!
//! The guest sees a preopened folder for each granted one, and for each folder that a granted
//! file is in. Behind those there are more, which only files granted one by one are reached
//! through; the guest may not use their descriptors, nor close them, nor put others there.
//!
//! A path is read from the guest's memory once, decided over, and handed on from the host's
//! own memory. What may be done ([`decide`]) is the same for both previews of WASI, which number what
//! is open in different ways: preview 1 by descriptors, preview 2 by places in a table.

mod decide;
#[cfg(test)]
mod fuzz;
mod listing;
mod plan;
mod quota;
mod roots;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use airlock_core::{Capability, Limits, Policy};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::types::{Errno, Filetype};

pub(super) use self::decide::{Asked, Kind};
pub(super) use self::listing::{Listings, MAX_BYTES as MAX_LISTED, sizes as listing_sizes};
pub(crate) use self::plan::{PathRules, Plan};
pub(super) use self::quota::{Place, Quota};
use self::roots::{Gone, Rest, Root};

/// Descriptors that a guest may have open at once: what a process usually may.
const MAX_OPEN: usize = 1024;

/// Standard input, output and error come first.
const FIRST: u32 = 3;

/// What a guest may reach, and what it has open.
pub(super) struct Files {
    /// What was in force when the roots were last looked at.
    policy: Arc<Policy>,
    plan: Arc<Plan>,
    /// What of its roots is not granted any more.
    gone: Option<Box<[Gone]>>,
    /// What folders behind files that were granted one by one are open as.
    behind: Vec<u32>,
    open: HashMap<u32, Open>,
    pub(super) listings: Listings,
    /// Bytes that listings take which are a guest's own.
    pub(super) listed: Arc<AtomicUsize>,
    pub(super) quota: Quota,
    /// What streams ask whether what they are of is still granted.
    leases: HashMap<(usize, Option<Arc<str>>), Lease>,
}

/// Something of the guest's that is open.
#[derive(Debug, Clone)]
struct Open {
    root: usize,
    what: What,
    /// As the guest calls it, where it was granted by itself.
    name: Option<Arc<str>>,
}

/// Whether what is open is still granted.
#[derive(Debug, Clone, Default)]
pub(super) struct Lease(Arc<AtomicBool>);

impl Lease {
    /// # Errors
    /// [`Errno::Perm`] where it is not.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if self.0.load(Ordering::Relaxed) { Err(Errno::Perm) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A root itself, under that descriptor or another.
    Root,
    /// A folder below one.
    Folder,
    File,
}

/// Where a path leads, decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The folder that it begins in.
    pub(super) fd: u32,
    pub(super) path: String,
    /// Whether a symbolic link at its end may be followed.
    pub(super) follow: bool,
    /// Whether it may be no folder.
    pub(super) no_folder: bool,
    /// Which root it is in, where it is in one.
    pub(super) root: Option<usize>,
    /// Whether it is a root itself.
    pub(super) is_root: bool,
    /// As the guest calls it, where it was granted by its own name.
    pub(super) name: Option<Arc<str>>,
}

impl Target {
    /// Whether it was granted by its own name.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }
}

impl Files {
    /// What the plan of `policy` says, and its folders, opened. `again` makes a plan where
    /// something is not there any more.
    pub(super) fn open(
        policy: Arc<Policy>,
        mut plan: Arc<Plan>,
        limits: &Limits,
        again: impl FnOnce() -> Arc<Plan>,
    ) -> (Self, WasiFilesystemCtx) {
        let opened = plan.open().or_else(|_| {
            plan = again();
            plan.open()
        });
        let folders = opened.unwrap_or_else(|error| {
            tracing::warn!(%error, "no folder is opened");
            plan = Arc::default();
            WasiFilesystemCtx::default()
        });
        for (capability, reason) in &plan.left_out {
            tracing::warn!(%capability, reason, "not opened");
        }
        let visible = FIRST + u32::try_from(plan.roots.len()).unwrap_or(u32::MAX - FIRST);
        let open =
            (FIRST..visible).zip(0..).map(|(fd, root)| (fd, Open { root, what: What::Root, name: None }));
        let files = Files {
            policy,
            open: open.collect(),
            behind: (visible..).take(plan.behind()).collect(),
            plan,
            gone: None,
            listings: Listings::default(),
            listed: Arc::default(),
            quota: Quota::new(limits),
            leases: HashMap::new(),
        };
        (files, folders)
    }

    /// Has nothing open: a component asks for its folders.
    pub(super) fn for_component(&mut self) {
        self.open.clear();
        self.behind.clear();
    }

    /// How many folders the guest sees.
    pub(super) fn visible(&self) -> usize {
        self.plan.roots.len()
    }

    /// Remembers that a root was opened for a component.
    pub(super) fn opened_root(&mut self, fd: u32, root: usize) {
        self.open.insert(fd, Open { root, what: What::Root, name: None });
    }

    /// Remembers what the folders behind the roots are open as for a component. Whether they were not yet.
    pub(super) fn opened_behind(&mut self, behind: Vec<u32>) -> bool {
        let is_first = self.behind.is_empty();
        if is_first {
            self.behind = behind;
        }
        is_first
    }

    /// Begins another call with what is in force now: what is not any more cannot be reached
    /// by descriptors from before either.
    pub(super) fn begin(&mut self, policy: Arc<Policy>) {
        self.quota.begin();
        if Arc::ptr_eq(&policy, &self.policy) {
            return;
        }
        self.gone = Some(self.plan.roots.iter().map(|root| root.gone(&policy)).collect());
        self.policy = policy;
        for ((root, name), lease) in &self.leases {
            lease.0.store(self.is_gone(*root, name.as_deref()), Ordering::Relaxed);
        }
    }

    fn gone(&self, root: usize) -> Option<&Gone> {
        self.gone.as_ref()?.get(root)
    }

    /// Whether a root, or the file in it that was granted as `name`, is not granted any more.
    fn is_gone(&self, root: usize, name: Option<&str>) -> bool {
        let is_it = |gone: &Gone| name.map_or(gone.whole, |name| gone.names.contains(name));
        self.gone(root).is_some_and(is_it)
    }

    /// Whether the guest may use this descriptor.
    pub(super) fn check(&self, fd: u32) -> Result<(), Errno> {
        if self.behind.contains(&fd) {
            return Err(Errno::Badf);
        }
        match self.open.get(&fd) {
            Some(open) if self.is_gone(open.root, open.name.as_deref()) => Err(Errno::Perm),
            _ => Ok(()),
        }
    }

    /// What a stream of this descriptor asks.
    pub(super) fn lease(&mut self, fd: u32) -> Lease {
        let Some(Open { root, name, .. }) = self.open.get(&fd).cloned() else { return Lease::default() };
        let is_gone = self.is_gone(root, name.as_deref());
        let new = || Lease(Arc::new(AtomicBool::new(is_gone)));
        self.leases.entry((root, name)).or_insert_with(new).clone()
    }

    /// The root that a file of the guest's is in; none of what is no file.
    pub(super) fn file(&self, fd: u32) -> Option<usize> {
        self.open.get(&fd).filter(|open| open.what == What::File).map(|open| open.root)
    }

    /// The root that this descriptor is, in whose listing not everything is shown.
    fn filtered(&self, fd: u32) -> Option<usize> {
        let open = self.open.get(&fd).filter(|open| open.what == What::Root)?;
        self.plan.roots[open.root].is_filtered().then_some(open.root)
    }

    /// Which entries a listing of this folder shows, by their names and whether they are folders.
    pub(super) fn shows(&self, fd: u32) -> impl Fn(&str, bool) -> bool + Send + use<> {
        let (root, plan) = (self.filtered(fd), self.plan.clone());
        move |name, is_folder| match root.map(|root| (&plan.roots[root], plan.roots[root].rest)) {
            None | Some((_, Rest::All(_))) => true,
            _ if matches!(name, "." | "..") => true,
            Some((_, Rest::Files(_))) => !is_folder,
            Some((root, Rest::None)) => root.names.contains_key(name),
        }
    }

    /// Keeps what was read of a folder for its entries to be handed out, as far as they are
    /// shown.
    pub(super) fn keep_listing(&mut self, fd: u32, bytes: &[u8]) -> Result<(), Errno> {
        let shows = self.shows(fd);
        self.listings.keep(fd, bytes, |name, kind| shows(name, kind == Filetype::Directory as u8))
    }

    /// What granted a root.
    pub(super) fn capability(&self, root: usize) -> &Capability {
        &self.plan.roots[root].capability
    }

    /// Where what is written into a root comes to be.
    pub(super) fn place(&self, root: usize) -> Place {
        let Root { real, rest, .. } = &self.plan.roots[root];
        Place { root, folder: real.clone(), deep: matches!(rest, Rest::All(_)) }
    }

    /// Whether there is room for one descriptor more.
    pub(super) fn room(&self) -> Result<(), Errno> {
        if self.open.len() < MAX_OPEN { Ok(()) } else { Err(Errno::Mfile) }
    }

    /// Remembers what was opened.
    pub(super) fn opened(&mut self, fd: u32, target: &Target, is_folder: bool) {
        let Some(root) = target.root else { return };
        let what = match (is_folder, target.is_root) {
            (true, true) => What::Root,
            (true, false) => What::Folder,
            (false, _) => What::File,
        };
        self.open.insert(fd, Open { root, what, name: target.name.clone() });
    }

    /// Forgets what was closed.
    pub(super) fn closed(&mut self, fd: u32) {
        self.open.remove(&fd);
        self.listings.forget(fd);
    }

    /// Remembers that a descriptor has another number now.
    pub(super) fn renumbered(&mut self, from: u32, to: u32) {
        self.closed(to);
        if let Some(open) = self.open.remove(&from) {
            self.open.insert(to, open);
        }
        self.listings.forget(from);
    }

    /// Where `path` leads from a folder of the guest's.
    pub(super) fn resolve(&self, fd: u32, path: &str) -> Result<Target, Errno> {
        self.check(fd)?;
        let through = |root, is_root| Target {
            fd,
            path: path.to_owned(),
            follow: true,
            no_folder: false,
            root,
            is_root,
            name: None,
        };
        let Some(&Open { root, what, .. }) = self.open.get(&fd) else {
            // None of ours: wasmtime-wasi says what is wrong with it.
            return Ok(through(None, false));
        };
        let place = &self.plan.roots[root];
        if what != What::Root || !place.is_filtered() {
            return Ok(through(Some(root), false));
        }
        place.resolve(path, through(Some(root), true), self.gone(root), &self.behind)
    }
}
