//! `airlock install`: from a source to an installed plugin, approved.

use airlock_host::{Error, ErrorKind, visible};
use airlock_store::{Installed, NewVersion};
use serde_json::json;

use super::Session;
use super::candidate::Candidate;
use crate::flags::{Decide, Install};

pub(super) fn run(session: &Session, install: &Install) -> Result<u8, Error> {
    let candidate = match install.build {
        true => Candidate::build(session, &install.source)?,
        false => Candidate::read(session, &install.source, install.link)?,
    };
    tell(session, "installed", &put(session, &candidate, &install.decide)?)
}

/// Installs what is not installed yet, once it was decided over what it asks for.
pub(super) fn put(session: &Session, candidate: &Candidate, decide: &Decide) -> Result<Installed, Error> {
    let store = session.store()?;
    let name = candidate.package.name();
    // Before anybody is asked for nothing.
    if store.plugin(name).is_ok() {
        return Err(Error::new(ErrorKind::AlreadyInstalled(name.to_owned())));
    }
    for hook in candidate.facts.hooks.keys() {
        session.printer.warning(&format!("its hook `{hook}` is not run"));
    }
    let Some((decisions, by)) = candidate.decide(decide, None)? else {
        return Err(Error::new(ErrorKind::Declined(format!("installing `{name}`"))));
    };
    let new = NewVersion { package: &candidate.package, facts: &candidate.facts, decisions: &decisions, by };
    store.install(new)
}

/// Says what happened to a plugin.
pub(super) fn tell(session: &Session, what: &str, plugin: &Installed) -> Result<u8, Error> {
    let printer = session.printer;
    if printer.json {
        return session.object(true, json!({ "plugin": plugin }));
    }
    let version = plugin.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let text = format!("{what} {}{version} ({})", plugin.name, plugin.digest()?.short());
    printer.line(&visible(&text, false))?;
    Ok(0)
}
