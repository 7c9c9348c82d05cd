//! `airlock remove`: a plugin, its grants, and what it keeps.

use airlock_host::Error;

use super::Session;
use super::install::tell;

pub(super) fn run(session: &Session, name: &str, keep_data: bool) -> Result<u8, Error> {
    let removed = session.store()?.remove(name, keep_data)?;
    tell(session, "removed", &removed)
}
