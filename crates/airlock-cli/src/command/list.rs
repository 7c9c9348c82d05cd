//! `airlock list`: what is installed, and what somebody put into the operator's folders.

use airlock_host::{Error, GrantStore as _, Identity};
use serde_json::json;

use super::Session;

pub(super) fn run(session: &Session) -> Result<u8, Error> {
    let store = session.store()?;
    let installed = store.installed()?;
    let mut found = Vec::new();
    for package in session.found() {
        let identity = Identity { name: package.name().to_owned(), digest: package.digest() };
        let approved = store.decided(&identity)?.is_some();
        let version = package.manifest().and_then(|manifest| manifest.version.clone());
        found.push((identity, version, package.source().to_owned(), approved));
    }
    if session.printer.json {
        let found = found.iter().map(|(Identity { name, digest }, version, folder, approved)| {
            json!({
                "name": name, "version": version, "folder": folder, "digest": digest, "approved": approved,
            })
        });
        let fields = json!({ "plugins": installed, "found": found.collect::<Vec<_>>() });
        return session.object(true, fields);
    }
    if installed.is_empty() && found.is_empty() {
        session.printer.note("no plugin is installed");
        return Ok(0);
    }
    let mut rows = Vec::new();
    for plugin in &installed {
        let version = plugin.version.clone().unwrap_or_default();
        let source = match &plugin.link {
            Some(folder) => format!("linked to {}", folder.display()),
            None => plugin.source.clone(),
        };
        rows.push([plugin.name.clone(), version, plugin.facts.abi.clone(), plugin.digest()?.short(), source]);
    }
    for (Identity { name, digest }, version, folder, approved) in found {
        let state = if approved { "approved" } else { "not approved" };
        rows.push([name, version.unwrap_or_default(), state.to_owned(), digest.short(), folder]);
    }
    session.printer.table(rows)?;
    Ok(0)
}
