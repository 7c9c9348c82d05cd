//! `airlock test`: a plugin's cases, each among fakes of its own, and what came of them.
//!
//! [`case`] reads what is to be tested, [`mod@run`] does it on some threads, [`expect`] says in what it
//! came to something else, and [`report`] and [`junit`] tell. All cases are of one plugin, whose code is
//! there once; what they reach is made anew for each, so that none sees what another one has done.

mod answers;
mod case;
mod diff;
mod expect;
#[cfg(test)]
mod fuzz;
mod json;
mod junit;
mod keys;
mod report;
mod run;
mod snapshot;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use airlock_host::{Error, ErrorKind, Examined, LoadOptions, Source, visible};

use self::case::Case;
use self::report::{Report, Told};
use self::run::Stage;
use self::snapshot::{Snapshots, file_name};
use super::Session;
use crate::flags::Test;
use crate::spinner;

/// The folder of the case files, in the plugin's.
const FOLDER: &str = "tests";

/// Bytes of a case file.
const LARGEST: u64 = 16 << 20;

/// Bytes of a file that a case takes its input from.
const LARGEST_INPUT: u64 = 64 << 20;

/// A file of cases.
#[derive(Debug)]
struct CaseFile {
    path: PathBuf,
    /// Its name without its ending.
    stem: String,
    cases: Vec<Case>,
}

/// A case that is to be run.
struct Selected<'a> {
    file: &'a CaseFile,
    case: &'a Case,
    snapshots: Snapshots,
}

impl Selected<'_> {
    /// What it is known by: its file's name, and its own.
    fn id(&self) -> String {
        format!("{}::{}", self.file.stem, self.case.name)
    }
}

pub(super) fn run(session: &Session, test: &Test) -> Result<u8, Error> {
    let started = Instant::now();
    let (source, options) = session.locate(&test.plugin, test.load.undecided()?)?;
    let place = place(&source, test)?;
    let files = read_files(&place)?;
    let cases = select(&files, test.pattern.as_deref(), &place)?;
    if test.list {
        return list(session, &cases);
    }
    let (stage, examined) = prepare(session, test, source, options)?;
    let printer = session.printer;
    if !printer.json {
        for warning in examined.manifest.iter().flat_map(|manifest| &manifest.warnings) {
            printer.warning(warning);
        }
    }
    let jobs =
        test.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let results = run::all(&stage, &cases, jobs, test.fail_fast, |index, ran| {
        report::line(printer, &cases[index], ran, stage.metered)
    })?;
    let removed = if test.update { remove_orphans(&files, &cases, &results)? } else { 0 };
    let report = Report::new(&cases, results, removed, started.elapsed());
    if let Some(file) = &test.junit {
        junit::write(file, &examined.name, &report)?;
    }
    match printer.json {
        true => report.object(session, &examined),
        false => report.print(printer),
    }
}

fn prepare(
    session: &Session,
    test: &Test,
    source: Source,
    options: LoadOptions,
) -> Result<(Stage, Examined), Error> {
    let builder = session.config.host(&test.load.limits()?).on_demand();
    let host = session.compiling(builder, test.load.no_cache)?;
    let allowed = test.load.allowed()?;
    let folder = match &source {
        Source::Path(path) => plugin_folder(path),
        // What is installed has no folder here but that of its cases.
        _ => test.cases.as_deref().map(plugin_folder).unwrap_or_default(),
    };
    let message = format!("compiling {}", test.plugin.display());
    let (mut stage, examined) = spinner::while_doing(&message, session.quiet, || {
        Stage::new(host, source, options, allowed, &folder)
    })?;
    stage.metered = session.printer.usage;
    stage.update = test.update;
    Ok((stage, examined))
}

/// Where the cases are.
fn place(source: &Source, test: &Test) -> Result<PathBuf, Error> {
    match (source, &test.cases) {
        (Source::Path(path), _) if !path.exists() => Err(Error::new(ErrorKind::PluginNotFound(path.clone()))),
        (_, Some(cases)) => Ok(cases.clone()),
        (Source::Path(path), None) => Ok(plugin_folder(path).join(FOLDER)),
        (_, None) => {
            let name = test.plugin.display();
            let reason = format!("`{name}` is installed, and no cases are kept with what is installed");
            Err(Error::new(ErrorKind::NoCases(reason)).with_hint("`--cases DIR` names a folder of some"))
        }
    }
}

/// The folder of a plugin, which may be a file in it.
fn plugin_folder(plugin: &Path) -> PathBuf {
    match plugin.is_dir() {
        true => plugin.to_owned(),
        false => folder_of(plugin),
    }
}

/// Reads one file, or all of a folder in the order of their names.
fn read_files(place: &Path) -> Result<Vec<CaseFile>, Error> {
    let unreadable =
        |error: std::io::Error| Error::new(ErrorKind::Unreadable(place.to_owned())).with_source(error);
    let mut paths = Vec::new();
    match std::fs::metadata(place) {
        Ok(metadata) if metadata.is_dir() => {
            for entry in std::fs::read_dir(place).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.extension().is_some_and(|ending| ending == "toml") {
                    paths.push(path);
                }
            }
        }
        Ok(_) => paths.push(place.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_files(place)),
        Err(error) => return Err(unreadable(error)),
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(no_files(place)),
        false => paths.into_iter().map(CaseFile::read).collect(),
    }
}

fn no_files(place: &Path) -> Error {
    let shown = place.display();
    Error::new(ErrorKind::NoCases(format!("there is no `{shown}` with files that end in `.toml`")))
        .with_hint("docs/testing.md says how cases are written; `--cases DIR` names another folder")
}

impl CaseFile {
    fn read(path: PathBuf) -> Result<Self, Error> {
        let invalid = |at, reason| Error::new(ErrorKind::InvalidCases { file: path.clone(), at, reason });
        let folder = folder_of(&path);
        let text = snapshot::read_text(&path, LARGEST)
            .map_err(|error| Error::new(ErrorKind::Unreadable(path.clone())).with_source(error))?;
        let read = |file: &str| {
            let inner = folder.join(file);
            let real = inner.canonicalize().map_err(|error| error.to_string())?;
            match folder.canonicalize() {
                Ok(folder) if real.starts_with(&folder) => {
                    snapshot::read_bytes(&real, LARGEST_INPUT).map_err(|error| error.to_string())
                }
                _ => Err("a link leads it out of the folder of the cases".to_owned()),
            }
        };
        let cases = case::decode(&text, &read).map_err(|fault| {
            let error = invalid(fault.at.map(|at| case::location(&text, at.start)), fault.reason);
            match fault.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })?;
        if let Some((one, other)) = same_snapshots(&cases) {
            let reason = format!("`{one}` and `{other}` would have the same snapshot; another name for one");
            return Err(invalid(None, reason));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let stem = visible(&stem, false).into_owned();
        Ok(CaseFile { path, stem, cases })
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(&folder_of(&self.path), &self.stem)
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The names of files that a case's snapshots are in.
fn snapshots_of(case: &Case) -> impl Iterator<Item = String> + '_ {
    let steps = case.steps.iter().enumerate().filter(|(_, step)| step.has_snapshot());
    steps.map(|(at, _)| file_name(&case.name, case.has_steps.then_some(at + 1)))
}

/// Two cases whose snapshots would be in one file, where letters may be of either case.
fn same_snapshots(cases: &[Case]) -> Option<(&str, &str)> {
    let mut owners = std::collections::BTreeMap::new();
    for case in cases {
        for name in snapshots_of(case) {
            if let Some(owner) = owners.insert(name.to_lowercase(), case.name.as_str()) {
                return Some((owner, &case.name));
            }
        }
    }
    None
}

/// The cases with `pattern` in what they are known by.
fn select<'a>(
    files: &'a [CaseFile],
    pattern: Option<&str>,
    place: &Path,
) -> Result<Vec<Selected<'a>>, Error> {
    let all = files.iter().flat_map(|file| {
        file.cases.iter().map(move |case| Selected { file, case, snapshots: file.snapshots() })
    });
    let all: Vec<Selected<'a>> = all.collect();
    if all.is_empty() {
        let reason = format!("`{}` has no `[[case]]`", place.display());
        return Err(
            Error::new(ErrorKind::NoCases(reason)).with_hint("docs/testing.md says how cases are written")
        );
    }
    let Some(pattern) = pattern else { return Ok(all) };
    let count = all.len();
    let found: Vec<Selected<'a>> = all.into_iter().filter(|one| one.id().contains(pattern)).collect();
    match found.is_empty() {
        true => Err(Error::new(ErrorKind::NoCases(format!("none of {count} has `{pattern}` in its name")))
            .with_hint("`--list` shows them")),
        false => Ok(found),
    }
}

fn list(session: &Session, cases: &[Selected<'_>]) -> Result<u8, Error> {
    if session.printer.json {
        let cases: Vec<_> = cases.iter().map(Told::head).collect();
        return session.object(true, serde_json::json!({ "cases": cases }));
    }
    cases.iter().try_for_each(|one| session.printer.line(&one.id()))?;
    Ok(0)
}

/// Removes snapshots of no case, of files of which all was run. Gives how many there were.
fn remove_orphans(
    files: &[CaseFile],
    cases: &[Selected<'_>],
    results: &[Option<run::Ran>],
) -> Result<usize, Error> {
    let mut removed = 0;
    for file in files {
        let of_it = cases.iter().zip(results).filter(|(one, _)| std::ptr::eq(one.file, file));
        let done = of_it.filter(|(one, ran)| ran.is_some() || one.case.skip.is_some()).count();
        if done == file.cases.len() {
            let names: BTreeSet<String> = file.cases.iter().flat_map(snapshots_of).collect();
            removed += file.snapshots().remove_others(&names)?;
        }
    }
    Ok(removed)
}
