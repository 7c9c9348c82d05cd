//! What a program finds around it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use airlock_core::{CapabilityKind, Need, Permit, Policy, Scope, ServiceError};

use super::locate::SearchPath;
use crate::service::process::WorkingFolder;

/// What a plugin's grants make of a program's surroundings.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    permit: &'a Permit,
    /// Folders and files that the plugin may write, without symbolic links.
    writable: Vec<PathBuf>,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of(permit: &'a Permit) -> Self {
        let writable = granted(permit.policy(), CapabilityKind::FsWrite).map(|path| real(&path)).collect();
        Surroundings { permit, writable }
    }

    /// What the plugin may write.
    pub(crate) fn writable(&self) -> &[PathBuf] {
        &self.writable
    }

    /// Whether the plugin may have written what is at `path`, or what it leads to.
    pub(crate) fn can_write(&self, path: &Path) -> bool {
        let end = real(path);
        self.writable.iter().any(|writable| path.starts_with(writable) || end.starts_with(writable))
    }

    /// A program's whole environment.
    pub(crate) fn env(
        &self,
        search: &SearchPath,
        own: &BTreeMap<String, String>,
    ) -> Result<Vec<(OsString, OsString)>, ServiceError> {
        for name in own.keys() {
            self.permit.also(Need::Name(CapabilityKind::Env, name))?;
        }
        let is_locale = |name: &OsString| {
            name.to_str().is_some_and(|name| matches!(name, "LANG" | "LANGUAGE") || name.starts_with("LC_"))
        };
        let locale = std::env::vars_os().filter(|(name, _)| is_locale(name));
        let mut env: BTreeMap<OsString, OsString> = locale.collect();
        env.insert("PATH".into(), search.outside(&self.writable));
        env.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
        Ok(env.into_iter().collect())
    }

    /// The folder that a program is run in.
    pub(crate) fn folder(&self, asked: Option<&Path>) -> Result<WorkingFolder, ServiceError> {
        let working = self.permit.policy().working();
        let path = asked.map_or_else(|| working.to_owned(), |asked| working.join(asked));
        let missing = || ServiceError::NotFound(format!("folder `{}`", asked.unwrap_or(working).display()));
        if !path.is_absolute() {
            return Err(missing());
        }
        let opened = open(&path);
        let is_own = asked.is_none() || opened.as_ref().is_some_and(|(real, _)| *real == self::real(working));
        if !is_own {
            let inside = |granted: PathBuf| {
                let (real, _) = opened.as_ref()?;
                let rest = real.strip_prefix(self::real(&granted)).ok()?;
                Some(granted.components().chain(rest.components()).collect::<PathBuf>())
            };
            let policy = self.permit.policy();
            let mut all =
                granted(policy, CapabilityKind::FsRead).chain(granted(policy, CapabilityKind::FsWrite));
            let known = all.find_map(inside);
            // Asked also where there is none: what is not granted is not told about. A path
            // whose text is granted may lead out of what is.
            let need = Need::File(CapabilityKind::FsRead, known.as_ref().unwrap_or(&path));
            self.permit.also(need)?;
            if known.is_none() && opened.is_some() {
                return Err(ServiceError::Denied(need.capability()));
            }
        }
        opened.map(|(_, folder)| folder).ok_or_else(missing)
    }
}

/// Absolute paths of this kind that are granted.
fn granted(policy: &Policy, kind: CapabilityKind) -> impl Iterator<Item = PathBuf> {
    policy.of(kind).filter_map(|capability| match capability.scope() {
        Scope::Path(path) => path.absolute(),
        _ => None,
    })
}

/// The path without symbolic links; the path itself where there is nothing.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Opens a folder, and says where it is. The program enters what was opened, whatever is put
/// in its place in between.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> Option<(PathBuf, WorkingFolder)> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let entrance = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    match std::fs::read_link(&entrance) {
        Ok(real) => Some((real, WorkingFolder { entrance, handle: Some(handle) })),
        // Without `/proc` it is entered by its path.
        Err(_) => path.canonicalize().ok().map(|real| (real.clone(), real.into())),
    }
}

#[cfg(not(target_os = "linux"))]
fn open(path: &Path) -> Option<(PathBuf, WorkingFolder)> {
    let real = path.canonicalize().ok().filter(|real| real.is_dir())?;
    Some((real.clone(), real.into()))
}
