//! Building a plugin with its own build command: `airlock build` in its folder, and
//! `airlock install --build` in a copy, once that was agreed to.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use airlock_host::{Digest, Error, ErrorKind, Manifest, shell_quoted, visible};
use airlock_store::manifest_of;
use serde_json::json;
use tempfile::TempDir;

use super::Session;
use crate::prompt;

/// What is large, made again by building, and never part of a source.
const LEFT_OUT: [&str; 4] = ["target", ".git", "node_modules", ".zig-cache"];

/// `airlock build`: in the folder itself, which is the one's who typed it.
pub(super) fn run(session: &Session, folder: &Path) -> Result<u8, Error> {
    let refused = |reason: String| {
        let name = folder.display().to_string();
        Error::new(ErrorKind::InvalidSetting { name, reason })
    };
    let hook = Hook::of(folder, &refused)?;
    let words = hook.shown();
    session.printer.note(&format!("building `{}`: {words}", visible(&hook.manifest.name, false)));
    let status = hook.run(folder)?;
    if !status.success() {
        return Err(Error::new(ErrorKind::Failed(format!("its build command ended with {status}"))));
    }
    let mut built = Vec::new();
    for file in hook.manifest.files() {
        let bytes = std::fs::read(folder.join(file)).map_err(|error| {
            let error = Error::new(ErrorKind::Failed(format!("its build command made no `{file}`")))
                .with_source(error);
            error.with_hint("its manifest names what is built, relative to its folder")
        })?;
        built.push((file, bytes.len() as u64, Digest::of(&bytes)));
    }
    if session.printer.json {
        let files =
            built.iter().map(|(path, size, digest)| json!({ "path": path, "size": size, "digest": digest }));
        let fields = json!({
            "name": hook.manifest.name, "version": hook.manifest.version, "command": hook.words,
            "files": files.collect::<Vec<_>>(),
        });
        return session.object(true, fields);
    }
    for (path, size, digest) in built {
        let size = bytesize::ByteSize::b(size).display().iec();
        let text = format!("built {path} ({size}, {})", digest.short());
        session.printer.line(&visible(&text, false))?;
    }
    Ok(0)
}

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
    let hook = Hook::of(source, &refused)?;
    let name = &hook.manifest.name;
    session.printer.note(&format!(
        "`{}` is built by this command, outside the sandbox, as you, in a copy of its folder:\n  {}",
        visible(name, false),
        hook.shown()
    ));
    if !prompt::is_interactive() {
        let error = Error::new(ErrorKind::Declined(format!("building `{name}`")));
        return Err(error.with_hint("nobody can be asked here; build it first and install what was built"));
    }
    if !prompt::agrees("Run it?")? {
        return Err(Error::new(ErrorKind::Declined(format!("building `{name}`"))));
    }

    let failed = |what: &str, error: std::io::Error| Error::host(what.to_owned()).with_source(error);
    let copy = tempfile::tempdir().map_err(|error| failed("cannot make a folder to build in", error))?;
    copy_folder(source, copy.path()).map_err(|error| failed("cannot copy the folder to build in", error))?;
    let status = hook.run(copy.path())?;
    match status.success() {
        true => Ok(copy),
        false => Err(refused(format!("its build command failed ({status})"))),
    }
}

/// A plugin's own build command.
struct Hook {
    manifest: Manifest,
    words: Vec<String>,
}

impl Hook {
    /// That of the plugin in a folder; `refused` makes the error where there is none.
    fn of(folder: &Path, refused: &dyn Fn(String) -> Error) -> Result<Self, Error> {
        let manifest = if folder.is_dir() { manifest_of(folder)? } else { None };
        let Some((_, _, manifest)) = manifest else {
            return Err(refused("only a folder with a manifest can be built".to_owned()));
        };
        let Some(hook) = manifest.hooks.get("build") else {
            return Err(refused("its manifest has no build command".to_owned()));
        };
        let words = shell_words::split(hook)
            .map_err(|_| refused(format!("its build command has an open quote: {hook}")))?;
        match words.is_empty() {
            true => Err(refused("its build command is empty".to_owned())),
            false => Ok(Hook { manifest, words }),
        }
    }

    /// As it would be typed, for a person to read.
    fn shown(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| shell_quoted(word)).collect();
        visible(&words.join(" "), false).into_owned()
    }

    /// Runs it in a folder, without a shell and with nothing to read. What it prints is no answer.
    fn run(&self, folder: &Path) -> Result<ExitStatus, Error> {
        let (program, args) = self.words.split_first().ok_or_else(|| Error::host("no build command"))?;
        let failed = |error: std::io::Error| {
            Error::host(format!("cannot run `{}`", visible(program, false))).with_source(error)
        };
        // A file of the plugin's goes before a program of that name.
        let folder = folder.canonicalize().map_err(failed)?;
        let own = folder.join(program);
        let is_own = own.is_file() && own.canonicalize().is_ok_and(|own| own.starts_with(&folder));
        let mut command = if is_own { Command::new(own) } else { Command::new(program) };
        let command = command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr());
        command.status().map_err(failed)
    }
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
