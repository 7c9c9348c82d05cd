//! `airlock plugins`: fledge's words for what other verbs do, and what only it has: all plugins
//! updated at once, and a report over all of them.

use std::path::{Path, PathBuf};

use airlock_host::prx::{ListedPlugin, PluginList};
use airlock_host::{Error, ErrorKind, GrantStore as _, Limits, Manifest, escape_json, visible};
use airlock_store::Installed;
use serde_json::{Value, json};

use super::Session;
use super::candidate::Candidate;
use super::install::{put, tell};
use crate::flags::{Decide, New, PluginsInstall, PluginsTask, PluginsUpdate};
use crate::printer::{Matters, error_json};

pub(super) fn run(session: &Session, task: PluginsTask) -> Result<u8, Error> {
    match task {
        PluginsTask::Create { name, place, wasm, yes: _ } => {
            if !wasm {
                let error =
                    invalid("create", "without `--wasm` it is a native program, which Airlock does not run");
                return Err(error.with_hint("`--wasm` makes a plugin in WebAssembly"));
            }
            let (abi, lang) = (Some("fledge".to_owned()), Some("rust".to_owned()));
            super::new::run(session, &New { name: Some(name), abi, lang, sdk: None, place })
        }
        PluginsTask::Validate { path, strict } => super::check::run(session, &path, strict),
        PluginsTask::Install(install) => self::install(session, &install),
        PluginsTask::Remove { name } => super::remove::run(session, &name, false),
        PluginsTask::Update(update) => self::update(session, &update),
        PluginsTask::List { prx: true } => list_for_prx(session),
        PluginsTask::List { prx: false } => super::list::run(session),
        PluginsTask::Run(run) => {
            let mut words = run.words.into_iter();
            let plugin = PathBuf::from(words.next().unwrap_or_default());
            let way = super::run::Way::default();
            super::run::execute(session, &plugin, words.collect(), &run.load, way)
        }
        PluginsTask::Call(call) => super::call::run(session, &call),
        PluginsTask::Audit => audit(session),
    }
}

/// Installs from a folder, and with `--force` also over what is installed.
fn install(session: &Session, install: &PluginsInstall) -> Result<u8, Error> {
    let source = match &install.source {
        Some(source) if !install.defaults => source,
        _ => {
            let error =
                invalid("--defaults", "fledge's own plugins are native programs, which Airlock does not run");
            return Err(error.with_hint("`airlock plugins install FOLDER` installs what was fetched"));
        }
    };
    refuse_remote(source)?;
    let candidate = Candidate::read(session, source, false)?;
    let (store, name) = (session.store()?, candidate.package.name());
    let before = store.plugin(name).ok();
    if before.is_some() && !install.force {
        let error = Error::new(ErrorKind::AlreadyInstalled(name.to_owned()));
        return Err(error.with_hint("`--force` replaces it"));
    }
    let all = install.yes || install.force;
    for request in candidate.facts.requests.iter().filter(|_| all) {
        let (capability, sentence) = (&request.capability, request.capability.sentence());
        session.printer.warning(&format!("`{capability}` is granted without being asked about: {sentence}"));
    }
    let decide = Decide::all_requested(all);
    let Some(before) = before else {
        let installed = put(session, &candidate, &decide).map_err(|error| match error.kind() {
            ErrorKind::Denied(_) => error.with_hint(
                "nobody can be asked here; `--yes` grants all that it asks for, `airlock install` with `--allow` less",
            ),
            _ => error,
        });
        return tell(session, "installed", &installed?);
    };
    match super::update::replace(session, &before, &candidate, true, &decide)? {
        Some(updated) => tell(session, "updated", &updated),
        None => {
            // What was denied to the same bytes is granted all the same.
            store.decide(&before.identity()?, &candidate.all_allowed(), "flags")?;
            tell(session, "unchanged", &before)
        }
    }
}

/// Refuses what fledge would fetch. A folder that is there is a folder, whatever it is called.
fn refuse_remote(source: &Path) -> Result<(), Error> {
    let text = source.to_string_lossy();
    let is_url = text.contains("://") || text.starts_with("git@");
    let mut parts = text.split('/');
    let plain = |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && !part.starts_with('.'));
    let is_short = plain(parts.next()) && plain(parts.next()) && parts.next().is_none();
    if source.exists() || !(is_url || is_short) {
        return Ok(());
    }
    let error = invalid("SOURCE", format!("`{text}` is not on this machine, and Airlock fetches nothing"));
    let url = match is_url {
        true => text.into_owned(),
        false => format!("https://github.com/{text}"),
    };
    Err(error.with_hint(format!(
        "`git clone {}` fetches it, `airlock plugins install ./FOLDER` installs it",
        airlock_host::shell_quoted(&url)
    )))
}

/// Updates each from where it was installed from, and goes on where one fails.
fn update(session: &Session, update: &PluginsUpdate) -> Result<u8, Error> {
    let store = session.store()?;
    let plugins = match &update.name {
        Some(name) => vec![store.plugin(name)?],
        None => store.installed()?,
    };
    let (mut results, mut updated, mut failed) = (Vec::new(), 0, 0);
    for plugin in &plugins {
        let name = &plugin.name;
        let result = match update_one(session, plugin, update) {
            Ok(Some(new)) => {
                updated += 1;
                if !session.printer.json {
                    tell(session, "updated", &new)?;
                }
                json!({ "name": name, "status": "updated", "version": new.version, "digest": new.digest()? })
            }
            Ok(None) => {
                session.printer.note(&format!("`{}` is what it was", visible(name, false)));
                json!({ "name": name, "status": "unchanged", "version": plugin.version, "digest": plugin.digest()? })
            }
            Err(error) => {
                failed += 1;
                let text = format!("`{name}` is not updated: {error}");
                session.printer.finding(Matters::Error, &text, error.hint());
                json!({
                    "name": name, "status": "failed", "version": plugin.version, "digest": plugin.digest()?,
                    "error": error_json(&error),
                })
            }
        };
        results.push(result);
    }
    let unchanged = plugins.len() - updated - failed;
    let well = failed == 0;
    if session.printer.json {
        let summary = json!({
            "total": plugins.len(), "updated": updated, "unchanged": unchanged, "failed": failed,
        });
        return session.object(well, json!({ "results": results, "summary": summary }));
    }
    session.printer.note(&format!("updated: {updated}, unchanged: {unchanged}, failed: {failed}"));
    Ok(u8::from(!well))
}

fn update_one(
    session: &Session,
    plugin: &Installed,
    update: &PluginsUpdate,
) -> Result<Option<Installed>, Error> {
    let source = plugin.link.clone().unwrap_or_else(|| PathBuf::from(&plugin.source));
    let candidate = Candidate::read(session, &source, plugin.link.is_some())?;
    super::update::replace(session, plugin, &candidate, update.yes, &update.decide)
}

/// The installed plugins as PRX's HTTP API has them. Each that is installed begins a generation.
fn list_for_prx(session: &Session) -> Result<u8, Error> {
    let store = session.store()?;
    let installed = store.installed()?;
    let generation = installed.iter().map(|plugin| plugin.id).max().unwrap_or_default();
    let listed = installed.iter().map(|plugin| {
        let policy = super::info::in_force(session, plugin, &store.grants(Some(&plugin.name))?)?;
        let manifest = plugin.manifest.as_ref().map(|(file, text)| Manifest::read(file, text)).transpose()?;
        Ok(ListedPlugin::new(&plugin.name, manifest.as_ref(), &policy))
    });
    let list =
        PluginList::new(listed.collect::<Result<_, Error>>()?, generation.try_into().unwrap_or_default());
    let text = serde_json::to_string(&list).map_err(|error| Error::host(error.to_string()))?;
    session.printer.line(&escape_json(&text))?;
    Ok(0)
}

/// What each installed plugin is, may do and wants to be run.
fn audit(session: &Session) -> Result<u8, Error> {
    let store = session.store()?;
    let installed = store.installed()?;
    let mut reports = Vec::new();
    for plugin in &installed {
        let digest = plugin.digest()?;
        let decided: Vec<_> = store
            .grants(Some(&plugin.name))?
            .into_iter()
            .filter(|kept| kept.plugin.digest == digest)
            .map(|kept| kept.grant)
            .collect();
        let of = |allowed: bool| -> Vec<String> {
            let grants = decided.iter().filter(|grant| grant.allowed == allowed);
            grants.map(|grant| grant.capability.to_string()).collect()
        };
        let requests = plugin.facts.requests.iter().map(|request| &request.capability);
        let open = requests.filter(|asked| {
            !decided.iter().any(|grant| grant.capability.covers(asked) || asked.covers(&grant.capability))
        });
        reports.push(Report {
            plugin,
            granted: of(true),
            denied: of(false),
            undecided: open.map(ToString::to_string).collect(),
            limits: other_limits(plugin),
        });
    }
    if session.printer.json {
        let plugins = reports.iter().map(Report::as_json).collect::<Result<Vec<_>, _>>()?;
        return session.object(true, json!({ "plugins": plugins }));
    }
    if reports.is_empty() {
        session.printer.note("no plugin is installed");
    }
    for (index, report) in reports.iter().enumerate() {
        if index > 0 {
            session.printer.line("")?;
        }
        session.printer.rows(report.rows()?)?;
    }
    Ok(0)
}

/// The limits that are not those of every plugin, by name.
fn other_limits(plugin: &Installed) -> Vec<(String, String)> {
    let defaults = Limits::default();
    let others = defaults.shown().filter_map(|(name, default)| {
        let value = plugin.facts.limits.get(name).filter(|value| **value != default)?;
        Some((name.to_owned(), value.clone()))
    });
    others.collect()
}

/// What is known of an installed plugin that somebody has to trust.
struct Report<'a> {
    plugin: &'a Installed,
    granted: Vec<String>,
    denied: Vec<String>,
    undecided: Vec<String>,
    limits: Vec<(String, String)>,
}

impl Report<'_> {
    fn as_json(&self) -> Result<Value, Error> {
        let Report { plugin, granted, denied, undecided, limits } = self;
        Ok(json!({
            "name": plugin.name, "version": plugin.version, "digest": plugin.digest()?,
            "source": plugin.source, "link": plugin.link, "abi": plugin.facts.abi,
            "commands": plugin.facts.commands.keys().collect::<Vec<_>>(),
            "granted": granted, "denied": denied, "undecided": undecided,
            "hooks": plugin.facts.hooks,
            "limits": limits.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        }))
    }

    fn rows(&self) -> Result<[(&'static str, Vec<String>); 10], Error> {
        let Report { plugin, granted, denied, undecided, limits } = self;
        let facts = &plugin.facts;
        let or_none = |items: &[String]| match items {
            [] => vec!["nothing".to_owned()],
            items => items.to_vec(),
        };
        let version = plugin.version.as_deref().unwrap_or_default();
        Ok([
            ("plugin", vec![format!("{} {version} ({})", plugin.name, plugin.digest()?.short())]),
            ("source", vec![plugin.source.clone()]),
            ("linked", plugin.link.iter().map(|folder| folder.display().to_string()).collect()),
            ("abi", vec![facts.abi.clone()]),
            ("commands", facts.commands.keys().cloned().collect()),
            ("granted", or_none(granted)),
            ("denied", or_none(denied)),
            ("undecided", undecided.clone()),
            ("hooks", facts.hooks.iter().map(|(name, line)| format!("{name}: {line} (not run)")).collect()),
            ("limits", limits.iter().map(|(name, value)| format!("{name} = {value}")).collect()),
        ])
    }
}

fn invalid(name: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason: reason.into() })
}
