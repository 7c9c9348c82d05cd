//! `airlock check`: whether a plugin can be installed and called, and what is odd about it.

use std::path::Path;

use airlock_host::Error;
use serde_json::json;

use super::Session;
use super::candidate::Candidate;

pub(super) fn run(session: &Session, source: &Path, strict: bool) -> Result<u8, Error> {
    // Everything that stops a plugin from being installed is an error by itself.
    let candidate = Candidate::read(session, source, false)?;
    let warnings = candidate.package.manifest().map(|manifest| manifest.warnings.clone()).unwrap_or_default();
    let well = !strict || warnings.is_empty();
    if session.printer.json {
        let fields = json!({ "plugin": candidate.identity, "facts": candidate.facts, "warnings": warnings });
        return session.object(well, fields);
    }
    let name = &candidate.identity.name;
    session.printer.note(&match (warnings.len(), strict) {
        (0, _) => format!("`{name}` can be installed, and nothing is odd about it"),
        (count, false) => format!("`{name}` can be installed; warnings: {count}"),
        (count, true) => format!("`{name}` is refused for its warnings: {count}"),
    });
    Ok(u8::from(!well))
}
