//! Folders of the host that a guest may read.
//!
//! Each granted folder is opened when the guest first needs wasmtime-wasi, which then keeps
//! every path below it: neither `..`, nor an absolute path, nor a symbolic link leads out. A
//! folder that is not there, or not what it was granted as, is left out and said; the plugin
//! lives. What cannot be enforced yet (writing, single files, folders without their folders)
//! is refused when it is granted ([`can_enforce`]).

use std::path::Path;

use airlock_core::{Capability, CapabilityKind, Policy, Scope};
use wasmtime_wasi::p1::types::Filetype;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Whether a grant of files is one that this version can enforce.
pub(crate) fn can_enforce(capability: &Capability) -> bool {
    match capability.scope() {
        Scope::Path(path) => capability.kind() == CapabilityKind::FsRead && !path.is_shallow(),
        _ => false,
    }
}

/// Opens the folders that `policy` grants. `denies` says of a path, with its symbolic links
/// resolved, whether nobody may have it.
pub(super) fn open(builder: &mut WasiCtxBuilder, policy: &Policy, denies: impl Fn(&Path) -> bool) {
    let mut taken: Vec<String> = Vec::new();
    for capability in policy.of(CapabilityKind::FsRead) {
        let Scope::Path(path) = capability.scope() else { continue };
        let Some(host) = path.absolute() else { continue };
        let guest = path.guest();
        let opened = match host.canonicalize() {
            Err(error) => Err(error.to_string()),
            Ok(real) if denies(&real) => Err("it leads to files of Airlock's own".to_owned()),
            Ok(real) if !real.is_dir() => Err("it is no folder".to_owned()),
            Ok(_) if path.is_shallow() => Err("it cannot be opened without its folders".to_owned()),
            Ok(_) if taken.contains(&guest) => Err(format!("another folder is at `{guest}`")),
            Ok(real) => builder
                .preopened_dir(real, &guest, FsPerms::ReadOnly)
                .map(|_| ())
                .map_err(|error| error.to_string()),
        };
        match opened {
            Ok(()) => taken.push(guest),
            Err(reason) => tracing::warn!(%capability, reason, "not opened"),
        }
    }
}

/// Whether opening a file of this kind can do no more than read it: a FIFO would block, a
/// device do anything.
pub(super) fn is_plain(kind: Filetype) -> bool {
    matches!(kind, Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink)
}
