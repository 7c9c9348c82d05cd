//! `airlock build`: the plugin in a folder, by the usual tool of its language or by its own build command, and
//! `airlock install --build`, which builds in a copy once that was agreed to.

mod assemblyscript;
mod c;
mod component;
mod go;
mod hook;
mod language;
mod optimise;
mod project;
mod record;
mod rust;
mod tool;
mod watch;
mod zig;

use std::path::Path;

use airlock_host::{Digest, Error, ErrorKind, visible};
use serde_json::json;
use tempfile::TempDir;

use self::hook::Hook;
use self::language::Language;
use self::optimise::Optimised;
use self::project::{Project, copy_folder};
use self::record::Record;
use self::tool::Workshop;
use super::Session;
use crate::flags::Build;
use crate::prompt;

/// Whether a folder has sources of a language that can be built.
pub(super) fn can_build(folder: &Path) -> bool {
    Language::of(folder).is_some()
}

/// `airlock build`: in the folder itself, which is the one's who typed it.
pub(super) fn run(session: &Session, build: &Build) -> Result<u8, Error> {
    if build.watch {
        return watch::run(session, build);
    }
    let built = once(session, build)?;
    built.tell(session)
}

/// What building came to.
struct Built {
    project: Project,
    record: Record,
    record_file: String,
    optimised: Option<Optimised>,
}

/// Builds what is there now.
fn once(session: &Session, build: &Build) -> Result<Built, Error> {
    let project = Project::at(&build.folder)?;
    let hook = project.manifest().and_then(|manifest| manifest.hooks.get("build"));
    let (record, optimised) = match hook {
        Some(_) => (by_hook(session, &project)?, None),
        None => by_language(session, &project, !build.no_optimize)?,
    };
    let record_file = project.record_file();
    let record = record.with_sources(&project)?;
    project.write(&record_file, record.to_text().as_bytes())?;
    Ok(Built { project, record, record_file, optimised })
}

/// By the manifest's own build command, whose results are left as they are.
fn by_hook(session: &Session, project: &Project) -> Result<Record, Error> {
    let refused = |reason: String| {
        let name = project.folder().display().to_string();
        Error::new(ErrorKind::InvalidSetting { name, reason })
    };
    let hook = Hook::of(project.manifest(), &refused)?;
    let (name, words) = (visible(project.name(), false).into_owned(), hook.shown());
    session.printer.note(&format!("building `{name}` with its manifest's build command: {words}"));
    let status = hook.run(project.folder())?;
    if !status.success() {
        return Err(Error::new(ErrorKind::NotBuilt(format!("its build command ended with {status}"))));
    }
    let mut record = Record::new(project, None);
    record.command(hook.words);
    for file in project.outputs() {
        let bytes = std::fs::read(project.folder().join(file)).map_err(|error| {
            Error::new(ErrorKind::NotBuilt(format!("its build command made no `{file}`")))
                .with_source(error)
                .with_hint("its manifest names what is built, relative to its folder")
        })?;
        record.file(file, bytes.len() as u64, Digest::of(&bytes));
    }
    Ok(record)
}

/// By the language's tool.
fn by_language(
    session: &Session,
    project: &Project,
    optimises: bool,
) -> Result<(Record, Option<Optimised>), Error> {
    let language = Language::needed(project)?;
    let [output] = project.outputs()[..] else {
        let reason =
            format!("its manifest names several files, and what `{}` makes is one of them", language.name());
        return Err(Error::new(ErrorKind::NotBuilt(reason))
            .with_hint("a build command of its own, as `build` under `[hooks]`, makes several"));
    };
    let output = output.to_owned();
    project.refuse_outside(&output)?;
    let name = visible(project.name(), false).into_owned();
    session.printer.note(&format!("building `{name}` with {}", language.tools()));
    let mut shop = Workshop::new(session, project, &output)?;
    let made = language.build(&mut shop)?;
    let (wasm, optimised) = match (made.is_in_place, optimises) {
        (false, true) => optimise::optimise(&mut shop, made.wasm)?,
        _ => (made.wasm, None),
    };
    let wasm = if made.is_in_place { wasm } else { component::of(&mut shop, wasm)? };
    if !made.is_in_place {
        project.write(&output, &wasm)?;
    }
    let mut record = Record::new(project, Some((language.name(), made.target)));
    record.took(shop);
    record.optimised(optimised.as_ref());
    record.file(&output, wasm.len() as u64, Digest::of(&wasm));
    Ok((record, optimised))
}

impl Built {
    fn tell(&self, session: &Session) -> Result<u8, Error> {
        if session.printer.json {
            let mut fields = self.record.to_json();
            let commands = fields["commands"].as_array().cloned().unwrap_or_default();
            // What was run first is what built it.
            fields["command"] = commands.first().cloned().unwrap_or(json!([]));
            fields["record"] = json!(self.record_file);
            return session.object(true, fields);
        }
        let shown = |size: u64| bytesize::ByteSize::b(size).display().iec().to_string();
        if let Some(optimised) = &self.optimised {
            session.printer.note(&optimised.shown());
        }
        for (path, size, digest) in self.record.files() {
            let text = format!("built {path} ({}, {})", shown(*size), digest.short());
            session.printer.line(&visible(&text, false))?;
        }
        Ok(0)
    }
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
    let manifest = if source.is_dir() { airlock_store::manifest_of(source)? } else { None };
    let manifest = manifest.map(|(_, _, manifest)| manifest);
    let hook = Hook::of(manifest.as_ref(), &refused)?;
    let name = manifest.map(|manifest| manifest.name).unwrap_or_default();
    session.printer.note(&format!(
        "`{}` is built by this command, outside the sandbox, as you, in a copy of its folder:\n  {}",
        visible(&name, false),
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
