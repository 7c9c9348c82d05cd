//! Which program a name stands for.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use airlock_core::{Capability, CapabilityKind, Policy, ProgramRun, Scope, ServiceError};
use rustix::fs::{Access, access};

/// The folders in which programs are looked up: the absolute ones of a `PATH`.
///
/// Empty and relative entries would lead into whatever folder a program is run in, and are
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// That of this process.
    pub fn of_process() -> Self {
        SearchPath::new(std::env::var_os("PATH").unwrap_or_default())
    }

    /// What a `PATH` of this text says.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        SearchPath(std::env::split_paths(&path).filter(|folder| is_plain(folder)).collect())
    }

    /// The folders, first to last.
    pub fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// The first program of this name. Its folder is given without symbolic links and its
    /// name as it is: what it does may depend on the name that it is called by.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let is_name = !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name, "." | "..");
        let mut found = self.0.iter().map(|folder| folder.join(name)).filter(|path| is_program(path));
        is_name.then(|| found.find_map(|path| in_real_folder(&path))).flatten()
    }

    /// The same without folders below one of these.
    pub(crate) fn outside(&self, folders: &[PathBuf]) -> OsString {
        let inside = |folder: &&PathBuf| {
            let real = folder.canonicalize();
            let real = real.as_deref().unwrap_or(folder);
            folders.iter().any(|other| real.starts_with(other))
        };
        // None of them has a `:`, or it would have been two.
        std::env::join_paths(self.0.iter().filter(|folder| !inside(folder))).unwrap_or_default()
    }
}

/// Where the programs are that capabilities speak of, for [`Place::programs`](airlock_core::Place::programs):
/// those that are called by a name, and those whose path leads through a symbolic link, as
/// `/bin/ls` does where `/bin` is `/usr/bin`. Names that nothing goes by are left out.
///
/// It is asked once, when a policy is decided: whatever goes by the name later is not what
/// was granted.
pub fn locate<'a>(
    search: &SearchPath,
    capabilities: impl IntoIterator<Item = &'a Capability>,
) -> BTreeMap<String, PathBuf> {
    let mut located = BTreeMap::new();
    for capability in capabilities {
        let Scope::Command(pattern) = capability.scope() else { continue };
        let Some(program) = pattern.program().filter(|program| !located.contains_key(*program)) else {
            continue;
        };
        let path = match program.starts_with('/') {
            true => in_real_folder(Path::new(program)).filter(|path| path != Path::new(program)),
            false => search.find(program),
        };
        // What is no UTF-8 cannot be written as a capability either.
        if let Some(path) = path.filter(|path| path.to_str().is_some()) {
            located.insert(program.to_owned(), path);
        }
    }
    located
}

/// The same on this process's path, which is not read where no program is spoken of.
pub(crate) fn located<'a>(
    capabilities: impl IntoIterator<Item = &'a Capability>,
) -> BTreeMap<String, PathBuf> {
    let mut programs =
        capabilities.into_iter().filter(|capability| capability.kind() == CapabilityKind::Exec).peekable();
    match programs.peek() {
        None => BTreeMap::new(),
        Some(_) => locate(&SearchPath::of_process(), programs),
    }
}

/// What a guest asks to be run in the form in which it is compared with what is granted.
/// Adapters ask for [`ProgramRun::need`] of this, and run this.
///
/// A program that is said by its path is said by the one that the policy knows, where both
/// lead to the same file name in the same folder. Any other stays as it was said, so that a
/// guest learns nothing of folders that it was given nothing of.
///
/// # Errors
/// [`ServiceError::Invalid`] for a program that is neither a name nor an absolute path
/// without `.` and `..`, and for NUL bytes anywhere.
pub fn normalised(mut run: ProgramRun, policy: &Policy) -> Result<ProgramRun, ServiceError> {
    let invalid = |reason: &str| Err(ServiceError::Invalid(reason.to_owned()));
    let texts = run.args.iter().chain(run.env.keys()).chain(run.env.values()).chain([&run.program]);
    let folder = run.folder.iter().flat_map(|folder| folder.as_os_str().as_encoded_bytes());
    if texts.flat_map(|text| text.as_bytes()).chain(folder).any(|byte| *byte == 0) {
        return invalid("a program, its arguments, its environment and its folder have no NUL bytes");
    }
    if run.env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return invalid("the name of a variable is not empty and has no `=`");
    }
    if !run.program.contains('/') {
        return match run.program.as_str() {
            "" | "." | ".." => invalid("a program is a name on the path, or an absolute path"),
            _ => Ok(run),
        };
    }
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if !run.program.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
        return invalid("a program is a name on the path, or an absolute path without `..`");
    }
    let known = |path: &str| {
        policy.of(CapabilityKind::Exec).any(|capability| match capability.scope() {
            Scope::Command(pattern) => pattern.program() == Some(path),
            _ => false,
        })
    };
    if !known(&run.program)
        && let Some(real) = in_real_folder(Path::new(&run.program))
        && let Some(real) = real.to_str().filter(|real| known(real))
    {
        run.program = real.to_owned();
    }
    Ok(run)
}

/// The same file name in the folder that its folder leads to.
pub(super) fn in_real_folder(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// Whether there is a regular file that this process may run.
pub(super) fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) && access(path, Access::EXEC_OK).is_ok()
}

fn is_plain(folder: &Path) -> bool {
    folder.is_absolute() && !folder.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::SearchPath;

    #[test]
    fn only_absolute_entries_of_the_path_are_looked_in() {
        let path = SearchPath::new("/usr/bin::.:bin:./x:/a/../b:/bin");
        assert_eq!(path.folders(), [std::path::Path::new("/usr/bin"), "/bin".as_ref()]);
        for name in ["", ".", "..", "a/b", "/bin/sh", "../bin/sh", "sh\0"] {
            assert_eq!(path.find(name), None, "{name:?}");
        }
        assert!(path.find("sh").is_some_and(|path| path.is_absolute() && path.ends_with("sh")));
    }
}
