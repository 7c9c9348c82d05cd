//! Taking away the files of attachments that no message names any more.
//!
//! A file is there before its message is, and one that is there already serves another message too. So
//! whoever is to keep a message holds a lock, together with others, from before its attachments are
//! looked at until it is kept; and who takes files away holds it alone. Where somebody is at it, what
//! is left is taken away when that one has ended.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use airlock_core::{Digest, MailError};
use rusqlite::{Connection, OpenFlags, params};

use crate::Mailbox;
use crate::attachments::unusable;
use crate::db::failed;

/// The lock, beside the database.
const LOCK: &str = "attachments.lock";

/// All files, in the place of a path.
const ALL: &str = "*";

/// What each database begins with.
const DATABASE: &[u8; 16] = b"SQLite format 3\0";

/// Held while messages with attachments are being kept.
pub(crate) struct Keeping(#[expect(dead_code, reason = "closing it is what unlocks")] File);

impl Mailbox {
    /// Has no attachment taken away until it is dropped.
    pub(crate) fn keeping(&self) -> Result<Keeping, MailError> {
        let lock = || {
            let file = self.sweeping()?;
            file.lock_shared()?;
            Ok(Keeping(file))
        };
        lock().map_err(|error: io::Error| unusable(&error))
    }

    /// Takes away what messages have left, unless messages are being kept: then whoever does, does it.
    pub(crate) fn sweep_attachments(&self) -> Result<(), MailError> {
        let left = self.left()?;
        if left.is_empty() {
            return Ok(());
        }
        let lock = self.sweeping().map_err(|error| unusable(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(unusable(&error)),
        }
        let named = self.named()?;
        let take = || -> io::Result<()> {
            // Another mailbox in this folder has its attachments here too.
            if is_shared(self.file())? {
                return Ok(());
            }
            let folder = self.attachments_path()?;
            let all = if left.iter().any(|path| path == ALL) { files(&folder)? } else { Vec::new() };
            for path in all.iter().chain(&left).filter(|path| !named.contains(*path)) {
                if is_ours(path) {
                    gone(std::fs::remove_file(folder.join(path)))?;
                    // It goes with its last file.
                    let _ = std::fs::remove_dir(folder.join(&path[..2]));
                }
            }
            Ok(())
        };
        take().map_err(|error| unusable(&error))?;
        let connection = self.connection();
        let sql = "DELETE FROM attachments_left WHERE path = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        left.iter().try_for_each(|path| statement.execute([path]).map(drop)).map_err(failed)
    }

    /// Takes away all files that no message names, whoever left them.
    pub(crate) fn sweep_all_attachments(&self) -> Result<(), MailError> {
        let sql = "INSERT OR IGNORE INTO attachments_left VALUES (?1)";
        self.connection().execute(sql, params![ALL]).map_err(failed)?;
        self.sweep_attachments()
    }

    fn left(&self) -> Result<Vec<String>, MailError> {
        let connection = self.connection();
        let sql = "SELECT path FROM attachments_left";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let left = statement.query_map([], |row| row.get(0)).map_err(failed)?;
        left.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// What messages of all accounts name.
    fn named(&self) -> Result<BTreeSet<String>, MailError> {
        let connection = self.connection();
        let sql = "SELECT DISTINCT CASE attached.type WHEN 'object'
                     THEN json_extract(attached.value, '$.local_path') END AS path
                   FROM (SELECT attachments_json AS told FROM messages
                         WHERE coalesce(attachments_json, '[]') <> '[]' AND json_valid(attachments_json)),
                        json_each(told) AS attached WHERE typeof(path) = 'text'";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let named = statement.query_map([], |row| row.get(0)).map_err(failed)?;
        named.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn sweeping(&self) -> io::Result<File> {
        let path = self.file().with_file_name(LOCK);
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        options.open(path)
    }
}

/// Whether this is the path of a file that [`Mailbox::keep_attachment`] makes. PRX-Email's may be anywhere.
fn is_ours(path: &str) -> bool {
    path.split_once('/').is_some_and(|(first, name)| {
        first.len() == 2 && name.starts_with(first) && name.parse::<Digest>().is_ok()
    })
}

/// The files that are there, as messages name them.
fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for first in std::fs::read_dir(folder)? {
        let first = first?;
        if !first.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(first.path())? {
            let path = Path::new(&first.file_name()).join(file?.file_name());
            found.extend(path.to_str().map(str::to_owned));
        }
    }
    Ok(found)
}

/// Whether there is another mailbox in the folder of this one. What cannot be read may be one.
fn is_shared(own: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(own.parent().unwrap_or(Path::new("/")))? {
        let entry = entry?;
        let path = entry.path();
        if path == own || !entry.file_type()?.is_file() {
            continue;
        }
        let mut beginning = [0; DATABASE.len()];
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut beginning));
        if read.is_ok() && beginning == *DATABASE {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let sql = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'attachments_json'";
            let other = Connection::open_with_flags(&path, flags);
            let is_mailbox = other.and_then(|other| other.query_row(sql, [], |row| row.get(0)));
            if is_mailbox.unwrap_or(true) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
