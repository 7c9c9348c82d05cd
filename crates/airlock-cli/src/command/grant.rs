//! `airlock grant`: what an installed plugin may do from now on.

use std::time::SystemTime;

use airlock_host::{Capability, Error, GrantStore as _, Lasting, visible};

use super::Session;
use crate::flags::Grant;

pub(super) fn run(session: &Session, grant: &Grant) -> Result<u8, Error> {
    let store = session.store()?;
    let plugin = store.plugin(&grant.name)?;
    let lasting = match (grant.session, grant.for_time) {
        (true, _) => Lasting::Session,
        (_, Some(time)) => Lasting::Until(SystemTime::now() + time),
        _ => Lasting::Always,
    };
    let capabilities =
        grant.capabilities.iter().map(|text| text.parse()).collect::<Result<Vec<Capability>, _>>()?;
    for capability in &capabilities {
        let asked = plugin.facts.requests.iter().any(|request| request.capability.meet(capability).is_some());
        // An import can ask as well, of which nothing is kept.
        if !asked {
            session.printer.warning(&format!("its manifest does not ask for `{capability}`"));
        }
    }
    let decisions: Vec<airlock_host::Grant> = capabilities
        .iter()
        .map(|capability| airlock_host::Grant { capability: capability.clone(), allowed: true, lasting })
        .collect();
    store.decide(&plugin.identity()?, &decisions, "command")?;
    for capability in &capabilities {
        let name = visible(&plugin.name, false);
        session.printer.note(&format!("`{name}` can {}", visible(&capability.sentence(), false)));
    }
    session.done()
}
