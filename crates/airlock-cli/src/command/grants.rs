//! `airlock grants`: what was granted and denied.

use airlock_host::{Error, Lasting};
use jiff::Timestamp;
use serde_json::json;

use super::Session;
use super::info::date;

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
