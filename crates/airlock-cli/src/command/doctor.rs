//! `airlock doctor`: looks over the state.

use airlock_host::Error;
use serde_json::json;

use super::Session;
use crate::config;

pub(super) fn run(session: &Session, repair: bool) -> Result<u8, Error> {
    let findings = airlock_store::doctor(&config::data()?, repair)?;
    let left = findings.iter().filter(|finding| finding.repaired.is_none()).count();
    if session.printer.json {
        return session.object(left == 0, json!({ "findings": findings }));
    }
    for finding in &findings {
        match &finding.repaired {
            Some(how) => session.printer.note(&format!("{}: {how}", finding.what)),
            None => session.printer.warning(&finding.what),
        }
    }
    if findings.is_empty() {
        session.printer.note("everything is as it should be");
    } else if left > 0 && !repair {
        session.printer.note("`airlock doctor --repair` puts right what can be");
    }
    Ok(u8::from(left > 0))
}
