//! Folders of an account, how far each is synced, and where its messages are on the server.

use std::collections::BTreeMap;

use airlock_core::MailError;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::Mailbox;
use crate::db::{self, failed, now};
use crate::imap::{RemoteFolder, SpecialUse};

/// How far a folder is synced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The last UID that is kept, as text.
    pub cursor: Option<String>,
    /// The server's UIDVALIDITY: with another one, no UID means what it did.
    pub uid_validity: Option<u32>,
    /// When it was last synced, in Unix seconds.
    pub last_synced_at: Option<i64>,
    /// How that ended.
    pub status: Option<String>,
    /// The server's UIDNEXT when all of the folder was here.
    pub uid_next: Option<u32>,
    /// The server's HIGHESTMODSEQ (RFC 7162) when all up to the cursor was as the server had it.
    pub mod_seq: Option<u64>,
}

impl Mailbox {
    /// The folders of an account that something is known of, by their paths.
    pub fn folders(&self, account: i64) -> Result<Vec<String>, MailError> {
        let connection = self.connection();
        let sql = "SELECT path FROM folders WHERE account_id = ?1 ORDER BY path";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let paths = statement.query_map([account], |row| row.get(0)).map_err(failed)?;
        paths.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// The folder of an account that is for this, as its server said last.
    pub fn special_folder(&self, account: i64, special: SpecialUse) -> Result<Option<String>, MailError> {
        let sql = "SELECT path FROM folders WHERE account_id = ?1 AND special_use = ?2 ORDER BY id LIMIT 1";
        let values = params![account, special.name()];
        self.connection().query_row(sql, values, |row| row.get(0)).optional().map_err(failed)
    }

    /// Keeps what a server's folders are called and are for.
    pub(crate) fn keep_folders(&self, account: i64, folders: &[RemoteFolder]) -> Result<(), MailError> {
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let keep = || -> rusqlite::Result<()> {
            for folder in folders.iter().filter(|folder| folder.is_selectable) {
                let id = folder_id(&transaction, account, &folder.path)?;
                let special = folder.special_use.map(SpecialUse::name);
                let sql = "UPDATE folders SET special_use = ?2 WHERE id = ?1 AND special_use IS NOT ?2";
                transaction.prepare_cached(sql)?.execute(params![id, special])?;
            }
            Ok(())
        };
        keep().map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// How far a folder is synced.
    pub fn sync_state(&self, account: i64, folder: &str) -> Result<SyncState, MailError> {
        let sql = "SELECT cursor, uid_validity, last_synced_at, status, uid_next, mod_seq FROM sync_state
                   JOIN folders ON folders.id = folder_id WHERE folders.account_id = ?1 AND path = ?2";
        let read = |row: &Row<'_>| {
            Ok(SyncState {
                cursor: row.get(0)?,
                uid_validity: row.get(1)?,
                last_synced_at: row.get(2)?,
                status: row.get(3)?,
                uid_next: row.get(4)?,
                mod_seq: row.get::<_, Option<i64>>(5)?.and_then(|told| u64::try_from(told).ok()),
            })
        };
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let state = statement.query_row(params![account, folder], read).optional().map_err(failed)?;
        Ok(state.unwrap_or_default())
    }

    /// Says how far a folder is synced.
    pub fn set_sync_state(&self, account: i64, folder: &str, state: &SyncState) -> Result<(), MailError> {
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let write = || {
            let id = folder_id(&transaction, account, folder)?;
            write_state(&transaction, account, id, state)
        };
        write().map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Sets the flags of a message by its UID: `\Seen \Flagged`; whether there is one.
    pub fn set_flags(&self, account: i64, folder: &str, uid: u32, flags: &str) -> Result<bool, MailError> {
        let sql = "UPDATE message_places SET flags = ?4 WHERE uid = ?3 AND folder_id =
                   (SELECT id FROM folders WHERE account_id = ?1 AND path = ?2)";
        let changed = self.connection().execute(sql, params![account, folder, uid, flags]);
        changed.map(|changed| changed > 0).map_err(failed)
    }

    /// The flags of the messages of a folder, by their UIDs.
    pub fn flags(&self, account: i64, folder: &str) -> Result<BTreeMap<u32, String>, MailError> {
        let sql = "SELECT uid, flags FROM message_places WHERE uid > 0 AND folder_id =
                   (SELECT id FROM folders WHERE account_id = ?1 AND path = ?2)";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params![account, folder], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// Takes away what the server expunged from a folder; how many messages are gone with it,
    /// since they are in no other place. What is attached to no other message goes too.
    pub fn expunge(&self, account: i64, folder: &str, uids: &[u32]) -> Result<usize, MailError> {
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let gone = || expunge(&transaction, folder_id(&transaction, account, folder)?, uids);
        let gone = gone().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        drop(connection);
        self.sweep_attachments()?;
        Ok(gone)
    }
}

/// Takes places away by their UIDs; how many messages are gone with them.
pub(crate) fn expunge(connection: &Connection, folder: i64, uids: &[u32]) -> rusqlite::Result<usize> {
    let mut gone = 0;
    for uid in uids {
        let sql = "DELETE FROM message_places WHERE folder_id = ?1 AND uid = ?2 RETURNING message_id";
        let mut statement = connection.prepare_cached(sql)?;
        let message: Option<i64> = statement.query_row(params![folder, uid], |row| row.get(0)).optional()?;
        if let Some(message) = message {
            gone += forget(connection, message)?;
        }
    }
    Ok(gone)
}

/// Takes a message away that is in no place.
pub(crate) fn forget(connection: &Connection, message: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM messages WHERE id = ?1 AND
               NOT EXISTS (SELECT 1 FROM message_places WHERE message_id = ?1)";
    connection.prepare_cached(sql)?.execute([message])
}

/// The folder's number, made where it is new.
pub(crate) fn folder_id(connection: &Connection, account: i64, path: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT id FROM folders WHERE account_id = ?1 AND path = ?2";
    let found =
        connection.prepare_cached(sql)?.query_row(params![account, path], |row| row.get(0)).optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let sql = "INSERT INTO folders (account_id, name, path, created_at, updated_at)
               VALUES (?1, ?2, ?2, ?3, ?3)";
    connection.execute(sql, params![account, path, now()])?;
    Ok(connection.last_insert_rowid())
}

pub(crate) fn write_state(
    connection: &Connection,
    account: i64,
    folder: i64,
    state: &SyncState,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO sync_state
               (account_id, folder_id, cursor, uid_validity, last_synced_at, status, uid_next, mod_seq, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT (account_id, folder_id) DO UPDATE
               SET cursor = ?3, uid_validity = ?4, last_synced_at = ?5, status = ?6, uid_next = ?7,
                   mod_seq = ?8, updated_at = ?9";
    let SyncState { cursor, uid_validity, last_synced_at, status, uid_next, mod_seq } = state;
    let mod_seq = mod_seq.and_then(|told| i64::try_from(told).ok());
    let values =
        params![account, folder, cursor, uid_validity, last_synced_at, status, uid_next, mod_seq, now()];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}
