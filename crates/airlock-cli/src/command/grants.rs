//! `airlock grants`: what was granted and denied.

use std::path::Path;

use airlock_host::{Error, ErrorKind, Grant, GrantStore as _, Lasting, visible};
use jiff::Timestamp;
use serde_json::json;

use super::Session;
use super::info::date;

/// Takes over what another system granted, bound to the bytes that are installed now.
pub(super) fn import(session: &Session, file: &Path) -> Result<u8, Error> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::new(ErrorKind::Unreadable(file.to_owned())).with_source(error))?;
    let store = session.store()?;
    for imported in airlock_store::read_grants(&shown, &text)? {
        let name = visible(&imported.name, false).into_owned();
        for skipped in &imported.skipped {
            session.printer.warning(&format!("`{name}`: not taken over: {skipped}"));
        }
        let plugin = match store.plugin(&imported.name) {
            Ok(plugin) => plugin,
            Err(error) if matches!(error.kind(), ErrorKind::NotInstalled { .. }) => {
                session.printer.warning(&format!("`{name}` is not installed: nothing taken over"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let grants: Vec<Grant> = imported.capabilities.into_iter().map(Grant::always).collect();
        store.decide(&plugin.identity()?, &grants, "import")?;
        for grant in &grants {
            session.printer.note(&format!("`{name}` can {}", visible(&grant.capability.sentence(), false)));
        }
    }
    session.done()
}

pub(super) fn run(session: &Session, name: Option<&str>) -> Result<u8, Error> {
    let grants = session.store()?.grants(name)?;
    if session.printer.json {
        return session.object(true, json!({ "grants": grants }));
    }
    if grants.is_empty() {
        session.printer.note("nothing is granted");
        return Ok(0);
    }
    let rows = grants.into_iter().map(|kept| {
        let verdict = if kept.grant.allowed { "allowed" } else { "denied" };
        let lasting = match kept.grant.lasting {
            Lasting::Always | Lasting::Once => String::new(),
            Lasting::Session => "this session".to_owned(),
            Lasting::Until(end) => match Timestamp::try_from(end) {
                Ok(end) => format!("until {}", end.strftime("%FT%TZ")),
                Err(_) => "until the end of time".to_owned(),
            },
        };
        let digest = kept.plugin.digest.short();
        [
            kept.plugin.name,
            digest,
            kept.grant.capability.to_string(),
            verdict.to_owned(),
            date(kept.at),
            kept.by,
            lasting,
        ]
    });
    session.printer.table(rows)?;
    Ok(0)
}
