//! `airlock check`: whether a plugin can be installed and called, and what is odd about it.
//!
//! All that is found is told, rather than the first of it. A source that cannot be read at all,
//! or whose manifest cannot, is an error by itself.

mod asked;
mod codes;
mod exports;
mod finding;
mod fledge;
mod layout;
mod manifest;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use airlock_host::{
    Anatomy, Error, ErrorKind, Examined, Host, Identity, LimitKind, Limits, LoadOptions, Manifest,
    ManifestFormat, Phase, Source,
};
use airlock_store::{Facts, Package, manifest_of};
use serde_json::{Value, json};

use self::finding::{Finding, count};
use super::Session;
use super::candidate::{facts, load, own_commands};
use crate::config;
use crate::printer::Matters;

pub(super) fn run(session: &Session, source: &Path, strict: bool) -> Result<u8, Error> {
    let Checked { name, identity, facts, modules, lines, findings } = check(session, source)?;
    let of = |severity| count(&findings, severity);
    let (errors, warnings, notes) = (of(Matters::Error), of(Matters::Warning), of(Matters::Note));
    let well = errors == 0 && (!strict || warnings == 0);
    if session.printer.json {
        let path = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        let counts = json!({ "errors": errors, "warnings": warnings, "notes": notes });
        let fields = json!({
            "path": path, "plugin": identity, "facts": facts, "modules": modules, "findings": findings,
            "counts": counts,
        });
        return session.object(well, fields);
    }
    let printer = session.printer;
    let shown = |finding: &&Finding| session.verbose || finding.severity() != Matters::Note;
    findings.iter().filter(shown).for_each(|finding| finding.show(printer));
    if session.verbose {
        lines.iter().for_each(|line| printer.note(line));
    } else if notes > 0 {
        printer.note(&format!("notes: {notes}; `airlock check -v` shows them"));
    }
    printer.note(&match (errors, warnings) {
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
    /// Each file that was admitted, taken apart.
    modules: Vec<Value>,
    /// The same in words, a line for each.
    lines: Vec<String>,
    findings: Vec<Finding>,
}

/// A file that was admitted.
struct Module {
    examined: Examined,
    anatomy: Anatomy,
    /// Whether it could be loaded, beyond that.
    loads: bool,
    /// How long loading it took, in milliseconds.
    load_ms: f64,
}

/// A file as findings are made of it.
struct Looked<'a> {
    file: &'a str,
    examined: &'a Examined,
    anatomy: &'a Anatomy,
    /// The plugin's manifest, from a file or by what the module says.
    manifest: Option<&'a Manifest>,
    /// Whether that is a file.
    has_file: bool,
}

/// A manifest that is a file: its name, its text, what it says.
type ManifestFile = (&'static str, Vec<u8>, Manifest);

fn check(session: &Session, source: &Path) -> Result<Checked, Error> {
    let limits = Limits::default().with(&session.config.limits());
    let mut findings = Vec::new();
    let found: Option<ManifestFile> = if source.is_dir() { manifest_of(source)? } else { None };
    let (name, entry, text, files) = match &found {
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
        findings.extend(layout::large(path, wasm.len() as u64));
        let module = read_module(session, &host, (&name, text), (path, wasm), &mut findings);
        modules.extend(module.map(|module| (path.as_str(), module)));
    }
    if count(&findings, Matters::Error) == 0 {
        // What else there is that would stop it from being installed.
        let said = modules.get(entry.as_str()).and_then(|module| module.examined.said.clone());
        let package = Package::read(source, &limits).and_then(|package| match &said {
            Some(said) => package.described(said, &limits),
            None => Ok(package),
        });
        findings.extend(package.err().map(|error| Finding::of(None, &error)));
    }

    let first = modules.get(entry.as_str());
    let described = first.and_then(|module| module.examined.manifest.as_ref());
    // What the module said of its tools is in the one that examining it gave.
    let manifest = described.or(found.as_ref().map(|(_, _, manifest)| manifest));
    let looked: Vec<Looked<'_>> = modules
        .iter()
        .map(|(file, Module { examined, anatomy, .. })| Looked {
            file,
            examined,
            anatomy,
            manifest,
            has_file: found.is_some(),
        })
        .collect();
    findings.extend(of_manifest(manifest, found.as_ref(), &looked, &modules, files.len()));
    findings.extend(looked.iter().flat_map(of_module));
    // Errors before warnings, and each in the order in which it was found.
    findings.sort_by_key(|finding| finding.severity() as u8);
    let name = manifest.map_or(name, |manifest| manifest.name.clone());
    let loaded = first.filter(|module| module.loads).map(|module| &module.examined);
    Ok(Checked {
        identity: loaded.map(|examined| Identity { name: name.clone(), digest: examined.artifact.digest() }),
        facts: loaded.map(|examined| facts(manifest, examined)),
        modules: modules.iter().map(|(path, module)| module.json(path)).collect(),
        lines: looked.iter().map(layout::told).collect(),
        name,
        findings,
    })
}

/// Reads one file, and what is left of it where it does not load.
fn read_module(
    session: &Session,
    host: &Host,
    (name, manifest): (&str, Option<(&str, &[u8])>),
    (path, wasm): (&str, &[u8]),
    findings: &mut Vec<Finding>,
) -> Option<Module> {
    let start = Instant::now();
    let loaded = load(session, host, (name, manifest), path, wasm);
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let (examined, loads) = match loaded {
        Ok(examined) => (examined, true),
        Err(error) => {
            findings.push(Finding::of(Some(path), &error));
            let source = Source::Package {
                name: name.to_owned(),
                manifest: manifest.map(|(file, text)| (file.to_owned(), text.to_owned())),
                wasm: wasm.to_owned(),
            };
            // Where that fails it is for the same reason.
            (host.examine(source, &LoadOptions::new()).ok()?, false)
        }
    };
    match Anatomy::of(&examined.artifact) {
        Ok(anatomy) => Some(Module { examined, anatomy, loads, load_ms }),
        Err(error) => {
            findings.push(Finding::of(Some(path), &error));
            None
        }
    }
}

impl Module {
    fn json(&self, path: &str) -> Value {
        let mut value = json!({ "path": path });
        let abi = self.examined.abi.as_ref().ok();
        if let (Value::Object(fields), Value::Object(anatomy)) = (&mut value, json!(self.anatomy)) {
            fields.insert("abi".to_owned(), json!(abi.map(|(abi, _)| abi)));
            fields.insert("why".to_owned(), json!(abi.map(|(_, why)| why)));
            fields.insert("functions_to_call".to_owned(), json!(self.examined.functions()));
            fields.insert("load_ms".to_owned(), json!(self.load_ms));
            fields.extend(anatomy);
        }
        value
    }
}

/// What is odd about a plugin as a whole.
fn of_manifest(
    manifest: Option<&Manifest>,
    found: Option<&ManifestFile>,
    looked: &[Looked<'_>],
    modules: &BTreeMap<&str, Module>,
    files: usize,
) -> Vec<Finding> {
    let Some(manifest) = manifest else { return Vec::new() };
    let mut findings = manifest::check(manifest, &installed());
    // Of what is not there nobody knows what it imports.
    if looked.len() == files {
        findings.extend(asked::of_manifest(manifest, &looked.iter().collect::<Vec<_>>()));
    }
    if let Some((_, text, manifest)) = found.filter(|(_, _, file)| file.format == ManifestFormat::Fledge) {
        let loaded = modules.iter().filter(|(_, module)| module.loads);
        let loaded = loaded.map(|(path, module)| (*path, &module.examined)).collect();
        findings.extend(fledge::check(text, manifest, &loaded));
    }
    findings
}

/// What is odd about one file.
fn of_module(looked: &Looked<'_>) -> Vec<Finding> {
    let mut findings = exports::check(looked);
    findings.extend(asked::of_module(looked));
    findings.extend(manifest::memory(looked));
    findings.extend(manifest::names(looked));
    findings.extend(layout::check(looked));
    findings
}

/// Names of the plugins that are installed; none where that cannot be told, which is another verb's matter.
fn installed() -> Vec<String> {
    let data = config::data().ok().filter(|data| data.exists());
    let store = data.and_then(|data| airlock_store::Store::open(&data).ok());
    let rows = store.and_then(|store| store.installed().ok()).unwrap_or_default();
    rows.into_iter().map(|row| row.name).collect()
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
            findings
                .push(Finding::new(&codes::OUTSIDE_FOLDER, message).hint("a copy of it inside is no link"));
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
    Finding::new(&codes::MISSING_BINARY, message).hint(match can_build {
        true => "`airlock build` builds it".to_owned(),
        false => manifest
            .how_to_build(|file| folder.join(file).exists())
            .unwrap_or_else(|| "it has to be built first".to_owned()),
    })
}
