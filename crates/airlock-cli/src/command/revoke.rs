//! `airlock revoke`: takes grants back. When it says so, no call that begins later has them.

use airlock_host::{Capability, Error, visible};
use airlock_store::GRANTS_SETTLE;

use super::Session;

pub(super) fn run(session: &Session, name: &str, capabilities: &[String], all: bool) -> Result<u8, Error> {
    let store = session.store()?;
    let mut gone = Vec::new();
    if all {
        gone = store.revoke(name, None, "command")?;
    }
    for text in capabilities {
        let capability: Capability = text.parse()?;
        gone.extend(store.revoke(name, Some(&capability), "command")?);
    }
    if gone.is_empty() {
        // Also when there is no such plugin, which somebody may have meant.
        store.plugin(name)?;
        session.printer.note("nothing of that was granted");
        return session.done();
    }
    std::thread::sleep(GRANTS_SETTLE);
    // The same may have been granted to several versions.
    gone.sort();
    gone.dedup();
    for capability in gone {
        session.printer.note(&format!("took `{capability}` back from `{}`", visible(name, false)));
    }
    session.done()
}
