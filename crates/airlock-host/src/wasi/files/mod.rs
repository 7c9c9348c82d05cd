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
//! own memory.

#[cfg(test)]
mod fuzz;
mod listing;
mod plan;
mod quota;
mod roots;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use airlock_core::{Capability, Limits, Policy};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::types::{Errno, Filetype};

pub(super) use self::listing::{Listings, sizes as listing_sizes};
pub(crate) use self::plan::{PathRules, Plan};
pub(super) use self::quota::{Quota, measure};
use self::roots::{Gone, Rest};

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
    /// Descriptors of folders behind files that were granted one by one.
    hidden: Range<u32>,
    open: HashMap<u32, Open>,
    pub(super) listings: Listings,
    pub(super) quota: Quota,
}

/// A descriptor of the guest's.
#[derive(Debug, Clone, Copy)]
struct Open {
    root: usize,
    what: What,
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
    /// Whether it was granted by its own name.
    pub(super) is_named: bool,
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
        let open = (FIRST..visible).zip(0..).map(|(fd, root)| (fd, Open { root, what: What::Root }));
        let files = Files {
            policy,
            open: open.collect(),
            hidden: visible..visible + plan.behind(),
            plan,
            gone: None,
            listings: Listings::default(),
            quota: Quota::new(limits),
        };
        (files, folders)
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
    }

    fn gone(&self, root: usize) -> Option<&Gone> {
        self.gone.as_ref()?.get(root)
    }

    /// Whether the guest may use this descriptor.
    pub(super) fn check(&self, fd: u32) -> Result<(), Errno> {
        if self.hidden.contains(&fd) {
            return Err(Errno::Badf);
        }
        match self.open.get(&fd) {
            Some(open) if self.gone(open.root).is_some_and(|gone| gone.whole) => Err(Errno::Perm),
            _ => Ok(()),
        }
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

    /// Keeps what was read of a folder for its entries to be handed out, as far as they are
    /// shown.
    pub(super) fn keep_listing(&mut self, fd: u32, bytes: &[u8]) -> Result<(), Errno> {
        let root = self.filtered(fd).map(|root| &self.plan.roots[root]);
        let shows = |name: &str, kind: u8| match root.map(|root| root.rest) {
            None | Some(Rest::All(_)) => true,
            _ if matches!(name, "." | "..") => true,
            Some(Rest::Files(_)) => kind != Filetype::Directory as u8,
            Some(Rest::None) => root.is_some_and(|root| root.names.contains_key(name)),
        };
        self.listings.keep(fd, bytes, shows)
    }

    /// What granted a root.
    pub(super) fn capability(&self, root: usize) -> &Capability {
        &self.plan.roots[root].capability
    }

    /// The folder of the host that a root is, and whether all below it belongs to it.
    pub(super) fn folder(&self, root: usize) -> (&Path, bool) {
        let root = &self.plan.roots[root];
        (&root.real, matches!(root.rest, Rest::All(_)))
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
        self.open.insert(fd, Open { root, what });
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
            is_named: false,
        };
        let Some(Open { root, what }) = self.open.get(&fd).copied() else {
            // None of ours: wasmtime-wasi says what is wrong with it.
            return Ok(through(None, false));
        };
        let place = &self.plan.roots[root];
        if what != What::Root || !place.is_filtered() {
            return Ok(through(Some(root), false));
        }
        place.resolve(fd, path, through(Some(root), true), self.gone(root))
    }
}
