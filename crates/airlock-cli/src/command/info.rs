//! `airlock info`: what is known of an installed plugin, without reading its wasm.

use airlock_host::{Basis, Capability, Error, Policy};
use airlock_store::{Installed, KeptGrant};
use jiff::Timestamp;
use serde_json::json;

use super::Session;
use crate::config;

pub(super) fn run(session: &Session, name: &str) -> Result<u8, Error> {
    let store = session.store()?;
    let plugin = store.plugin(name)?;
    let grants = store.grants(Some(name))?;
    let versions = store.versions(name)?;
    if session.printer.json {
        let fields = json!({ "plugin": plugin, "grants": grants, "versions": versions });
        return session.object(true, fields);
    }
    let digest = plugin.digest()?;
    let facts = &plugin.facts;
    let list = |items: Vec<String>| if items.is_empty() { vec!["none".to_owned()] } else { items };
    let asked = facts.requests.iter().map(|request| {
        let need = if request.required { "required" } else { "optional" };
        format!("{} ({need}): {}", request.capability, request.capability.sentence())
    });
    let granted = grants.iter().filter(|kept| kept.plugin.digest == digest).map(|kept| {
        let verdict = if kept.grant.allowed { "allowed" } else { "denied" };
        format!("{} {verdict} {} by {}", kept.grant.capability, date(kept.at), kept.by)
    });
    let in_force = in_force(session, &plugin, &grants)?;
    let kept = versions.iter().map(|version| {
        let label = version.version.as_deref().unwrap_or("no version");
        let digest = version.digest().map(|digest| digest.short()).unwrap_or_default();
        let current = if version.current { " (current)" } else { "" };
        format!("{label} {digest} {}{current}", date(version.installed_at))
    });
    let commands = facts.commands.iter().map(|(name, path)| format!("{name}: {path}"));
    let hooks = facts.hooks.iter().map(|(name, command)| format!("{name}: {command} (not run)"));
    let size = bytesize::ByteSize::b(facts.size).display().iec().to_string();
    let rows = [
        ("plugin", vec![format!("{} {}", plugin.name, plugin.version.as_deref().unwrap_or_default())]),
        ("digest", vec![format!("sha256:{digest}")]),
        ("source", vec![plugin.source.clone()]),
        ("linked", plugin.link.iter().map(|folder| folder.display().to_string()).collect()),
        ("size", vec![size]),
        ("abi", vec![facts.abi.clone()]),
        ("commands", commands.collect()),
        ("hooks", hooks.collect()),
        ("requests", list(asked.collect())),
        ("grants", list(granted.collect())),
        ("in force", list(in_force.allowed().map(Capability::to_string).collect())),
        ("versions", kept.collect()),
    ];
    session.printer.rows(rows)?;
    Ok(0)
}

/// What of its manifest's requests is granted and under the ceiling, in the folder that this
/// is run in.
pub(super) fn in_force(session: &Session, plugin: &Installed, grants: &[KeptGrant]) -> Result<Policy, Error> {
    let digest = plugin.digest()?;
    let allowed = grants.iter().filter(|kept| kept.plugin.digest == digest && kept.grant.allowed);
    let grants: Vec<Capability> = allowed.map(|kept| kept.grant.capability.clone()).collect();
    let place = config::place();
    let ceiling = session.config.ceiling(&plugin.name);
    let basis = Basis {
        requests: &plugin.facts.requests,
        grants: &grants,
        baseline: &[],
        ceiling: &ceiling,
        place: &place,
    };
    Ok(Policy::decide(basis))
}

/// A time in milliseconds since 1970, as a date.
pub(super) fn date(millis: i64) -> String {
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| "unknown".to_owned(), |at| at.strftime("%F").to_string())
}
