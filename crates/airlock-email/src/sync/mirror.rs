//! What changed at the server: flags, expunges, and what is to be fetched.

use std::collections::BTreeMap;

use airlock_core::MailError;
use rusqlite::params;

use super::Syncing;
use crate::db::{self, failed};
use crate::folders::expunge;
use crate::imap::{Session, Stream, refused};

/// Messages that are looked at with one command.
const WINDOW: u32 = 2_000;

/// What is to be fetched, and what was changed here.
#[derive(Debug)]
pub(super) struct Look {
    /// UIDs in their order.
    pub(super) wanted: Vec<u32>,
    /// Whether there are more than those.
    pub(super) more: bool,
    /// Whether the caller has some left out.
    pub(super) skipped: bool,
    /// Whether the server said something of each message.
    pub(super) is_whole: bool,
    pub(super) flagged: u64,
    pub(super) expunged: u64,
}

impl Default for Look {
    fn default() -> Self {
        Look { wanted: Vec::new(), more: false, skipped: false, is_whole: true, flagged: 0, expunged: 0 }
    }
}

impl Syncing<'_> {
    /// Looks at all that may have changed.
    pub(super) fn look<S: Stream>(&self, session: &mut Session<S>) -> Result<Look, MailError> {
        let (exists, (_, last)) = (self.selected.exists, self.here);
        let mut look = Look::default();
        let mut at = match self.changes(session, &mut look)? {
            true => self.here.0 + 1,
            false => 1,
        };
        let mut seen = if at == 1 { 0 } else { last };
        while at <= exists && (seen < last || look.wanted.len() < self.max_messages) {
            let to = exists.min(at.saturating_add(WINDOW - 1));
            let window = session.window(at, to)?;
            if window.first().is_some_and(|(uid, _)| *uid <= seen) {
                return Err(refused("the server's numbers of messages are not in their order"));
            }
            let is_whole = window.len() == (to - at) as usize + 1;
            look.is_whole &= is_whole;
            // After the last of the server's there is nothing.
            let end = if to == exists { u32::MAX } else { window.last().map_or(seen, |(uid, _)| *uid) };
            self.compare(&mut look, seen..=end, window, is_whole)?;
            (seen, at) = (end, to + 1);
        }
        if exists == 0 {
            self.compare(&mut look, 0..=u32::MAX, Vec::new(), true)?;
        }
        look.more |= at <= exists;
        Ok(look)
    }

    /// Asks for changed flags alone, where the server can say them and has neither more nor
    /// fewer of the messages that are here; whether it has.
    fn changes<S: Stream>(&self, session: &mut Session<S>, look: &mut Look) -> Result<bool, MailError> {
        let (count, last) = self.here;
        let (Some(since), Some(now)) = (self.state.mod_seq, self.selected.mod_seq) else { return Ok(false) };
        if count == 0 || count > self.selected.exists {
            return Ok(false);
        }
        // UIDs only grow: where the last one is at its place, so are all before it.
        let at_last = session.window(count, count)?;
        if at_last.first().map(|(uid, _)| *uid) != Some(last) {
            return Ok(false);
        }
        if since != now {
            let changed = session.changed(last, since, count as usize)?;
            look.flagged += self.set_flags(&changed)?;
        }
        Ok(true)
    }

    fn set_flags(&self, changed: &BTreeMap<u32, String>) -> Result<u64, MailError> {
        let mut connection = self.mailbox.connection();
        let transaction = db::writing(&mut connection)?;
        let mut flagged = 0;
        for (uid, flags) in changed {
            flagged += set(&transaction, self.id, *uid, flags).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(flagged)
    }

    /// Compares what is here after the first of these UIDs and up to the last with the server's.
    fn compare(
        &self,
        look: &mut Look,
        uids: std::ops::RangeInclusive<u32>,
        window: Vec<(u32, String)>,
        is_whole: bool,
    ) -> Result<(), MailError> {
        let mut here = self.places(&uids)?;
        let mut changed = BTreeMap::new();
        for (uid, flags) in window {
            match here.remove(&uid) {
                Some(own) if own == flags => {}
                Some(_) => drop(changed.insert(uid, flags)),
                None if uid <= self.from => look.skipped = true,
                None if look.wanted.len() == self.max_messages => look.more = true,
                None => look.wanted.push(uid),
            }
        }
        let gone: Vec<u32> = if is_whole { here.into_keys().collect() } else { Vec::new() };
        if changed.is_empty() && gone.is_empty() {
            return Ok(());
        }
        look.flagged += self.set_flags(&changed)?;
        let mut connection = self.mailbox.connection();
        let transaction = db::writing(&mut connection)?;
        expunge(&transaction, self.id, &gone).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        look.expunged += gone.len() as u64;
        Ok(())
    }

    fn places(&self, uids: &std::ops::RangeInclusive<u32>) -> Result<BTreeMap<u32, String>, MailError> {
        let connection = self.mailbox.connection();
        let sql = "SELECT uid, flags FROM message_places WHERE folder_id = ?1 AND uid > ?2 AND uid <= ?3";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let values = params![self.id, uids.start(), uids.end()];
        let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }
}

fn set(connection: &rusqlite::Connection, folder: i64, uid: u32, flags: &str) -> rusqlite::Result<u64> {
    let sql = "UPDATE message_places SET flags = ?3 WHERE folder_id = ?1 AND uid = ?2 AND flags <> ?3";
    connection.prepare_cached(sql)?.execute(params![folder, uid, flags]).map(|changed| changed as u64)
}
