//! What may be done to where a path leads.
//!
//! Everything here only looks: who asks does what it may afterwards, by the functions of its preview.

use wasmtime_wasi::p1::types::Errno;

use super::{Files, Target};

/// What is at a path, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wasi) enum Kind {
    Folder,
    /// A file, or a symbolic link.
    Plain,
    /// What opening can do more to than read it: a FIFO would block, a device do anything.
    Special,
}

/// How something is to be opened.
#[derive(Debug, Clone, Copy)]
pub(in crate::wasi) struct Asked {
    /// It is created where it is not there.
    pub(in crate::wasi) creates: bool,
    /// It has to be a folder.
    pub(in crate::wasi) folder: bool,
}

impl Files {
    /// Whether it may be opened, of which `found` is known: once it is open it is too late. Counts a
    /// file that is created by that.
    pub(in crate::wasi) fn may_open(
        &self,
        to: &Target,
        found: Result<Kind, Errno>,
        asked: Asked,
    ) -> Result<(), Errno> {
        match found {
            Ok(Kind::Special) => return Err(Errno::Perm),
            Err(Errno::Noent) if asked.creates => self.quota.create()?,
            // wasmtime-wasi says what is wrong with it.
            Ok(_) | Err(_) => {}
        }
        match (to.no_folder, found) {
            (true, Ok(Kind::Folder)) => Err(Errno::Perm),
            (true, _) if asked.folder => Err(Errno::Notdir),
            _ => Ok(()),
        }
    }

    /// Whether a folder may be made there, which counts it.
    pub(in crate::wasi) fn may_make_folder(&self, to: &Target) -> Result<(), Errno> {
        to.may_hold_folder()?;
        self.quota.create()
    }

    /// Whether a symbolic link may be made there, which counts it. A file that was granted by its name
    /// is one.
    pub(in crate::wasi) fn may_link(&self, to: &Target) -> Result<(), Errno> {
        if to.is_named() { Err(Errno::Perm) } else { self.quota.create() }
    }
}

impl Target {
    /// Whether what is there may be used, which is of this kind: also what was opened, which may be
    /// something else than what was looked at before.
    pub(in crate::wasi) fn may_be(&self, kind: Kind) -> Result<(), Errno> {
        match kind {
            Kind::Special => Err(Errno::Perm),
            Kind::Folder if self.no_folder => Err(Errno::Perm),
            Kind::Folder | Kind::Plain => Ok(()),
        }
    }

    /// Whether a folder may be made or removed there.
    pub(in crate::wasi) fn may_hold_folder(&self) -> Result<(), Errno> {
        if self.no_folder { Err(Errno::Perm) } else { Ok(()) }
    }

    /// Whether a folder may be told of, and be given times, there.
    pub(in crate::wasi) fn may_show(&self, kind: Kind) -> Result<(), Errno> {
        if kind == Kind::Folder { self.may_hold_folder() } else { Ok(()) }
    }

    /// Whether something may be moved or linked from here to there. A file that was granted by its name
    /// keeps it, and from a folder whose folders were not granted nothing goes elsewhere, nor comes
    /// there.
    pub(in crate::wasi) fn may_move(&self, to: &Target) -> Result<(), Errno> {
        let apart = (self.no_folder || to.no_folder) && self.root != to.root;
        if self.is_named() || to.is_named() || apart { Err(Errno::Perm) } else { Ok(()) }
    }
}
