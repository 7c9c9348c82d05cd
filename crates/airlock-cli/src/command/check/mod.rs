//! `airlock check`: whether a plugin can be installed and called, and what is odd about it.
//!
//! All that is found is told, rather than the first of it. A source that cannot be read at all,
//! or whose manifest cannot, is an error by itself.

mod finding;
mod fledge;

use std::collections::BTreeMap;
use std::path::Path;

use airlock_host::{
    Error, ErrorKind, Examined, Identity, LimitKind, Limits, Manifest, ManifestFormat, Phase,
};
use airlock_store::{Facts, Package, manifest_of};
use serde_json::json;

use self::finding::{Finding, count};
use super::Session;
use super::candidate::{facts, load, own_commands};
use crate::printer::Matters;

/// Bytes of a module from which on it is worth to ask why it is so large.
const LARGE: usize = 5_000_000;

pub(super) fn run(session: &Session, source: &Path, strict: bool) -> Result<u8, Error> {
    let Checked { name, identity, facts, findings } = check(session, source)?;
    let (errors, warnings) = (count(&findings, Matters::Error), count(&findings, Matters::Warning));
    let well = errors == 0 && (!strict || warnings == 0);
    if session.printer.json {
        let path = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        let counts =
            json!({ "errors": errors, "warnings": warnings, "notes": count(&findings, Matters::Note) });
        let fields = json!({
            "path": path, "plugin": identity, "facts": facts, "findings": findings, "counts": counts,
        });
        return session.object(well, fields);
    }
    for finding in &findings {
        finding.show(session.printer);
    }
    session.printer.note(&match (errors, warnings) {
        (0, 0) => format!("`{name}` can be installed, and nothing is odd about it"),
        (0, count) if well => format!("`{name}` can be installed; warnings: {count}"),
        (0, count) => format!("`{name}` is refused for its warnings: {count}"),
        (errors, 0) => format!("`{name}` cannot be installed; errors: {errors}"),
        (errors, warnings) => {
            format!("`{name}` cannot be installed; errors: {errors}, warnings: {warnings}")
        }
    });
    Ok(u8::from(!well))
}

/// What is known of a plugin, as far as its files can be read.
struct Checked {
    name: String,
    /// Of the file that is called first, where that loads.
    identity: Option<Identity>,
    facts: Option<Facts>,
    findings: Vec<Finding>,
}

fn check(session: &Session, source: &Path) -> Result<Checked, Error> {
    let limits = Limits::default().with(&session.config.limits());
    let mut findings = Vec::new();
    let found = if source.is_dir() { manifest_of(source)? } else { None };
    let (name, entry, manifest, files) = match &found {
        Some((file, text, manifest)) => {
            let files = read_files(source, manifest, &limits, &mut findings)?;
            let manifest_file = Some((*file, text.as_slice()));
            (manifest.name.clone(), manifest.entry_point.clone(), manifest_file, files)
        }
        None => {
            let package = Package::read(source, &limits)?;
            let files = package.files().map(|(path, wasm)| (path.to_owned(), wasm.to_owned())).collect();
            (package.name().to_owned(), package.entry().to_owned(), None, files)
        }
    };

    let host = session.compiling(session.config.host(&session.config.limits()).on_demand(), false)?;
    let mut modules = BTreeMap::new();
    for (path, wasm) in &files {
        if wasm.len() > LARGE {
            let size = bytesize::ByteSize::b(wasm.len() as u64).display().iec();
            findings.push(
                Finding::warning("large", format!("`{path}` has {size}"))
                    .hint("built for release, stripped and optimised for size it has less to be compiled"),
            );
        }
        match load(session, &host, (&name, manifest), path, wasm) {
            Ok(examined) => {
                modules.insert(path.clone(), examined);
            }
            Err(error) => findings.push(Finding::of(Some(path), &error)),
        }
    }
    if count(&findings, Matters::Error) == 0 {
        // What else there is that would stop it from being installed.
        let said = modules.get(&entry).and_then(|examined| examined.said.clone());
        let package = Package::read(source, &limits).and_then(|package| match &said {
            Some(said) => package.described(said, &limits),
            None => Ok(package),
        });
        findings.extend(package.err().map(|error| Finding::of(None, &error)));
    }

    let examined = modules.get(&entry);
    let described = examined.and_then(|examined| examined.manifest.as_ref());
    let manifest = found.as_ref().map(|(_, _, manifest)| manifest).or(described);
    findings.extend(manifest.map(odd).unwrap_or_default());
    if let Some((_, text, manifest)) =
        found.as_ref().filter(|(_, _, manifest)| manifest.format == ManifestFormat::Fledge)
    {
        findings.extend(fledge::check(text, manifest, &modules));
    }
    // Errors before warnings, and each in the order in which it was found.
    findings.sort_by_key(|finding| finding.severity() as u8);
    let name = manifest.map_or(name, |manifest| manifest.name.clone());
    let identity = |examined: &Examined| Identity { name: name.clone(), digest: examined.artifact.digest() };
    Ok(Checked {
        identity: examined.map(identity),
        facts: examined.map(|examined| facts(manifest, examined)),
        name,
        findings,
    })
}

/// What is odd about a manifest, whosever it is.
fn odd(manifest: &Manifest) -> Vec<Finding> {
    let warnings = manifest.warnings.iter().map(|warning| Finding::warning("manifest", warning));
    let own = own_commands(manifest).map(|name| {
        Finding::warning("own-command", format!("its command `{name}` is one of Airlock's own too"))
            .hint(format!("`airlock run {name}` is the plugin's"))
    });
    warnings.chain(own).collect()
}

/// The files that a manifest names, as far as they can be read.
fn read_files(
    folder: &Path,
    manifest: &Manifest,
    limits: &Limits,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Error::new(ErrorKind::Unreadable(path.to_owned())).with_source(error)
    };
    let folder = folder.canonicalize().map_err(|error| unreadable(folder, error))?;
    let maximum = limits.value(LimitKind::ArtifactSize);
    let mut files = BTreeMap::new();
    for file in manifest.files() {
        let path = folder.join(file);
        let (canonical, size) = match path.canonicalize() {
            Ok(canonical) => match canonical.metadata() {
                Ok(metadata) if metadata.is_file() => (canonical, metadata.len()),
                _ => {
                    findings.push(missing(&folder, manifest, file, "is no file"));
                    continue;
                }
            },
            Err(_) => {
                findings.push(missing(&folder, manifest, file, "is not there"));
                continue;
            }
        };
        if !canonical.starts_with(&folder) {
            let message = format!("`{file}` leads out of the plugin's folder");
            findings.push(Finding::error("outside-folder", message).hint("a copy of it inside is no link"));
            continue;
        }
        if size > maximum {
            let (limit, asked, phase) = (LimitKind::ArtifactSize, Some(size), Phase::Admit);
            let error = Error::new(ErrorKind::Limit { limit, maximum, asked, phase });
            findings.push(Finding::of(Some(file), &error));
            continue;
        }
        match std::fs::read(&canonical) {
            Ok(bytes) => {
                files.insert(file.to_owned(), bytes);
            }
            Err(error) => findings.push(Finding::of(None, &unreadable(&canonical, error))),
        }
    }
    Ok(files)
}

fn missing(folder: &Path, manifest: &Manifest, file: &str, what: &str) -> Finding {
    let command = manifest.commands.iter().find(|command| command.file == file);
    let message = match command {
        Some(command) => format!("the command `{}` runs `{file}`, which {what}", command.name),
        None => format!("`{file}` {what}"),
    };
    let can_build = manifest.hooks.contains_key("build") || super::build::can_build(folder);
    Finding::error("missing-binary", message).hint(match can_build {
        true => "`airlock build` builds it".to_owned(),
        false => manifest
            .how_to_build(|file| folder.join(file).exists())
            .unwrap_or_else(|| "it has to be built first".to_owned()),
    })
}
