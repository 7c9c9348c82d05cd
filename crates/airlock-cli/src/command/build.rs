//! Building a plugin with its own build command, in a copy, once that was agreed to.

use std::path::Path;
use std::process::{Command, Stdio};

use airlock_host::{Error, ErrorKind, shell_quoted, visible};
use airlock_store::manifest_of;
use tempfile::TempDir;

use super::Session;
use crate::prompt;

/// What is large, made again by building, and never part of a source.
const LEFT_OUT: [&str; 4] = ["target", ".git", "node_modules", ".zig-cache"];

/// The built copy of a source.
///
/// # Errors
/// [`ErrorKind::NotInstallable`] when the source is no folder with a build command;
/// [`ErrorKind::Declined`] when it is not agreed to, or nobody can be asked; when the
/// command cannot be run or fails.
pub(super) fn build(session: &Session, source: &Path) -> Result<TempDir, Error> {
    let refused = |reason: String| {
        Error::new(ErrorKind::NotInstallable { source: source.display().to_string(), reason })
    };
    let manifest = if source.is_dir() { manifest_of(source)? } else { None };
    let Some((_, _, manifest)) = manifest else {
        return Err(refused("only a folder with a manifest can be built".to_owned()));
    };
    let Some(hook) = manifest.hooks.get("build") else {
        return Err(refused("its manifest has no build command".to_owned()));
    };
    let words = split(hook).map_err(|()| refused(format!("its build command has an open quote: {hook}")))?;
    let Some((program, args)) = words.split_first() else {
        return Err(refused("its build command is empty".to_owned()));
    };
    let shown: Vec<_> = words.iter().map(|word| shell_quoted(word)).collect();
    session.printer.note(&format!(
        "`{}` is built by this command, outside the sandbox, as you, in a copy of its folder:\n  {}",
        visible(&manifest.name, false),
        visible(&shown.join(" "), false)
    ));
    if !prompt::is_interactive() {
        let error = Error::new(ErrorKind::Declined(format!("building `{}`", manifest.name)));
        return Err(error.with_hint("nobody can be asked here; build it first and install what was built"));
    }
    if !prompt::agrees("Run it?")? {
        return Err(Error::new(ErrorKind::Declined(format!("building `{}`", manifest.name))));
    }

    let failed = |what: &str, error: std::io::Error| Error::host(what.to_owned()).with_source(error);
    let copy = tempfile::tempdir().map_err(|error| failed("cannot make a folder to build in", error))?;
    copy_folder(source, copy.path()).map_err(|error| failed("cannot copy the folder to build in", error))?;
    // A file of the plugin's goes before a program of that name; there is no shell.
    let own = copy.path().join(program);
    let is_own = own.is_file() && own.canonicalize().is_ok_and(|own| own.starts_with(copy.path()));
    let mut command = if is_own { Command::new(own) } else { Command::new(program) };
    let status = command
        .args(args)
        .current_dir(copy.path())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| failed(&format!("cannot run `{}`", visible(program, false)), error))?;
    match status.success() {
        true => Ok(copy),
        false => Err(refused(format!("its build command failed ({status})"))),
    }
}

fn split(command: &str) -> Result<Vec<String>, ()> {
    shell_words::split(command).map_err(|_| ())
}

/// Copies files and folders. Symbolic links stay behind: what they lead to is not the
/// source's.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let target = to.join(&name);
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
