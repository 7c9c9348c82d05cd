//! `airlock rollback`: back to the version before.

use airlock_host::Error;

use super::Session;
use super::install::tell;

pub(super) fn run(session: &Session, name: &str) -> Result<u8, Error> {
    let (_, current) = session.store()?.rollback(name)?;
    tell(session, "rolled back to", &current)
}
