//! `airlock remove`: a plugin, its grants, and with `--data` what it keeps.

use airlock_host::Error;

use super::Session;
use super::install::tell;

pub(super) fn run(session: &Session, name: &str, data: bool) -> Result<u8, Error> {
    let removed = session.store()?.remove(name, data)?;
    tell(session, "removed", &removed)
}
