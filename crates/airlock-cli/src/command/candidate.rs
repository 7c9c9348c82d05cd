//! A plugin that may be installed: read, examined, compiled, and known to load.

use std::collections::BTreeMap;
use std::path::Path;

use airlock_host::{
    Capability, Error, Examined, Grant, Host, Identity, Limits, LoadOptions, Manifest, Prompt as _, Question,
    Request, Source, allow_arguments,
};
use airlock_store::{Facts, Package};

use super::{Session, build, external};
use crate::config;
use crate::flags::Decide;
use crate::prompt::Terminal;
use crate::spinner;

pub(super) struct Candidate {
    pub(super) package: Package,
    pub(super) facts: Facts,
    pub(super) identity: Identity,
}

impl Candidate {
    /// Reads a source, and compiles what is in it, so that the first call need not and a
    /// plugin that cannot be loaded is not installed. Nothing of it is run, but where a module has
    /// to be asked what it is.
    pub(super) fn read(session: &Session, source: &Path, link: bool) -> Result<Self, Error> {
        let package = Package::read(source, &Limits::default().with(&session.config.limits()))?;
        let package = if link { package.linked()? } else { package };
        Candidate::examine(session, package)
    }

    /// The same of a source that is built first, once that was agreed to.
    pub(super) fn build(session: &Session, source: &Path) -> Result<Self, Error> {
        let built = build::build(session, source)?;
        let package = Package::read(built.path(), &Limits::default().with(&session.config.limits()))?;
        Candidate::examine(session, package.built_from(source)?)
    }

    fn examine(session: &Session, package: Package) -> Result<Self, Error> {
        let limits = session.config.limits();
        let host = session.compiling(session.config.host(&limits).on_demand(), false)?;
        let manifest = package.manifest_file();
        let mut entry: Option<Examined> = None;
        for (path, wasm) in package.files() {
            let examined = load(session, &host, (package.name(), manifest), path, wasm)?;
            if path == package.entry() {
                entry = Some(examined);
            }
        }
        let entry = entry.ok_or_else(|| Error::host("a package without its entry"))?;
        let package = match &entry.said {
            Some(said) => package.described(said, &Limits::default().with(&limits))?,
            None => package,
        };
        for name in package.manifest().into_iter().flat_map(own_commands) {
            session.printer.warning(&format!(
                "its command `{name}` is one of Airlock's own too: `airlock run {name}` is the plugin's"
            ));
        }
        let identity = Identity { name: package.name().to_owned(), digest: entry.artifact.digest() };
        for warning in package.manifest().iter().flat_map(|manifest| &manifest.warnings) {
            session.printer.warning(warning);
        }
        Ok(Candidate { facts: facts(package.manifest(), &entry), identity, package })
    }

    /// Whether it asks for no more than `before`.
    pub(super) fn asks_for_no_more(&self, before: &[Capability]) -> bool {
        let covered = |request: &Request| before.iter().any(|had| had.covers(&request.capability));
        self.facts.requests.iter().all(covered)
    }

    /// The decisions that allow all that it asks for.
    pub(super) fn all_allowed(&self) -> Vec<Grant> {
        self.facts.requests.iter().map(|request| Grant::always(request.capability.clone())).collect()
    }

    /// What is decided over its requests, with flags or by asking; `None` when somebody was
    /// asked and wants none of it.
    ///
    /// # Errors
    /// [`Denied`](airlock_host::ErrorKind::Denied) when nobody can be asked and something is
    /// open.
    pub(super) fn decide(
        &self,
        decide: &Decide,
        before: Option<&[Capability]>,
    ) -> Result<Option<(Vec<Grant>, &'static str)>, Error> {
        let place = config::place();
        let resolved = |list: Vec<Capability>| -> Vec<Capability> {
            list.iter().map(|capability| capability.resolved(&place)).collect()
        };
        let (parts, allow, deny) = (decide.allow()?, resolved(decide.allow()?), resolved(decide.deny()?));
        let mut decisions = Vec::new();
        let mut open = Vec::new();
        for request in &self.facts.requests {
            let asked = request.capability.resolved(&place);
            let covered = |list: &[Capability]| list.iter().any(|one| one.covers(&asked));
            if deny.iter().any(|one| asked.overlaps(one)) {
                decisions.push(Grant { allowed: false, ..Grant::always(request.capability.clone()) });
            } else if decide.allow_all_requested || covered(&allow) {
                decisions.push(Grant::always(request.capability.clone()));
            } else {
                open.push(request.clone());
            }
        }
        // What is narrower than what is asked for.
        for (part, text) in allow.iter().zip(parts) {
            let asked = |request: &Request| request.capability.resolved(&place);
            let is_part = |request: &Request| asked(request).covers(part) && !part.covers(&asked(request));
            if self.facts.requests.iter().any(is_part) {
                open.retain(|request| request.required || !is_part(request));
                decisions.push(Grant::always(text));
            }
        }
        if open.is_empty() {
            return Ok(Some((decisions, "flags")));
        }
        let interactive = Terminal.is_interactive();
        if !interactive {
            return Err(refused(&open));
        }
        let granted: Vec<Capability> = decisions.iter().map(|grant| grant.capability.clone()).collect();
        let question =
            Question { plugin: &self.identity, open: &open, granted: &granted, before, interactive };
        let answers = Terminal.ask(&question)?;
        if answers.is_empty() {
            return Ok(None);
        }
        decisions.extend(answers);
        Ok(Some((decisions, "prompt")))
    }
}

/// The error for requests over which nobody can be asked, with the line that grants them.
fn refused(open: &[Request]) -> Error {
    let first = open.iter().find(|request| request.required).or(open.first());
    let Some(first) = first else { return Error::host("nothing was asked for") };
    let line = allow_arguments(open.iter().map(|request| &request.capability));
    let error = Error::new(airlock_host::ErrorKind::Denied(first.capability.clone()));
    error.with_hint(format!("nobody can be asked here; `{line}` grants what it asks for, `--deny` does not"))
}

/// A plugin's file, read and examined, and compiled to see whether it links. What it asks for is
/// decided afterwards.
pub(super) fn load(
    session: &Session,
    host: &Host,
    (name, manifest): (&str, Option<(&str, &[u8])>),
    path: &str,
    wasm: &[u8],
) -> Result<Examined, Error> {
    let source = Source::Package {
        name: name.to_owned(),
        manifest: manifest.map(|(file, text)| (file.to_owned(), text.to_owned())),
        wasm: wasm.to_owned(),
    };
    let options = LoadOptions::new().allow_all_requested();
    let message = format!("compiling {path}");
    let load = || host.load_blocking(source.clone(), options.clone());
    spinner::while_doing(&message, session.quiet, load)?;
    host.examine(source, &options)
}

/// Those of a plugin's commands that Airlock has too, whose own go before.
pub(super) fn own_commands(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let names = manifest.commands.iter().map(|command| command.name.as_str());
    names.filter(|name| external::is_own(name))
}

/// What examining a plugin told.
pub(super) fn facts(manifest: Option<&Manifest>, examined: &Examined) -> Facts {
    let commands = manifest.iter().flat_map(|manifest| &manifest.commands);
    let mut imports: Vec<String> =
        examined.shape.imports.iter().map(|import| format!("{}.{}", import.module, import.name)).collect();
    imports.sort();
    imports.dedup();
    Facts {
        abi: examined.abi.as_ref().map_or_else(|_| "none".to_owned(), |(abi, _)| abi.to_string()),
        size: examined.artifact.bytes().len() as u64,
        // What imports imply has a stand-in, and is not asked about.
        requests: manifest.map(|manifest| manifest.requests.clone()).unwrap_or_default(),
        imports,
        limits: examined.limits.shown().map(|(name, value)| (name.to_owned(), value)).collect(),
        commands: commands
            .map(|command| (command.name.clone(), command.file.clone()))
            .collect::<BTreeMap<_, _>>(),
        hooks: manifest.map(|manifest| manifest.hooks.clone()).unwrap_or_default(),
    }
}
