//! `airlock list`: what is installed, and what somebody put into the operator's folders.

use airlock_host::{Digest, Error, GrantStore as _, Identity, Manifest};
use serde_json::json;

use super::Session;

/// A plugin found in a folder that the operator named.
struct Found {
    manifest: Manifest,
    folder: String,
    digest: Option<Digest>,
    approved: bool,
}

pub(super) fn run(session: &Session) -> Result<u8, Error> {
    let store = session.store()?;
    let installed = store.installed()?;
    let mut found = Vec::new();
    for (folder, manifest) in session.found() {
        let bytes = std::fs::read(folder.join(&manifest.entry_point)).ok();
        let digest = bytes.map(|bytes| Digest::of(&bytes));
        let approved = match digest {
            Some(digest) => store.decided(&Identity { name: manifest.name.clone(), digest })?.is_some(),
            None => false,
        };
        found.push(Found { manifest, folder: folder.display().to_string(), digest, approved });
    }
    if session.printer.json {
        let found = found.iter().map(|found| {
            json!({
                "name": found.manifest.name, "version": found.manifest.version, "folder": found.folder,
                "digest": found.digest, "approved": found.approved,
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
    for Found { manifest, folder, digest, approved } in found {
        let state = match (digest, approved) {
            (None, _) => "no wasm",
            (_, true) => "approved",
            (_, false) => "not approved",
        };
        let digest = digest.map(|digest| digest.short()).unwrap_or_default();
        rows.push([manifest.name, manifest.version.unwrap_or_default(), state.to_owned(), digest, folder]);
    }
    session.printer.table(rows)?;
    Ok(0)
}
