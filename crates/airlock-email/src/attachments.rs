//! What is attached to messages, in files under the SHA-256 of their bytes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use airlock_core::{Digest, MailCode, MailError};
use airlock_files::{Folder, read_small};
use rusqlite::params;
use tempfile::NamedTempFile;

use crate::Mailbox;
use crate::db::failed;

/// The folder beside the database.
const FOLDER: &str = "attachments";

/// Whether the system can be asked to have all files of a folder last, and not only each of them.
const ALL_AT_ONCE: bool = cfg!(target_os = "linux");

/// Attachments that were written, and how many of them would survive a crash of the machine.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    written: AtomicU64,
    synced: Mutex<u64>,
}

/// Which attachments are kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentPolicy {
    /// Bytes that one may have.
    pub max_bytes: u64,
    /// Media types, in lower case.
    pub types: Vec<String>,
}

/// 25 MiB, and the five types that PRX documents.
impl Default for AttachmentPolicy {
    fn default() -> Self {
        let types = ["application/pdf", "image/jpeg", "image/png", "text/plain", "application/zip"];
        AttachmentPolicy { max_bytes: 25 << 20, types: types.map(str::to_owned).to_vec() }
    }
}

impl AttachmentPolicy {
    /// Why something like this is neither kept nor sent.
    pub fn refusal(&self, content_type: &str, bytes: u64) -> Option<&'static str> {
        if !self.types.iter().any(|allowed| allowed.eq_ignore_ascii_case(content_type)) {
            return Some("attachment content type is not allowed");
        }
        (bytes > self.max_bytes).then_some("attachment exceeds size limit")
    }
}

impl Mailbox {
    /// Keeps an attachment's bytes, once however often they come; its path below the folder of
    /// attachments. It would survive a crash of the machine after [`Self::sync_attachments`].
    pub(crate) fn keep_attachment(&self, content: &[u8]) -> Result<String, MailError> {
        let name = Digest::of(content).to_string();
        let (first, _) = name.split_at(2);
        let put = || {
            let folder = self.folder()?.make_folder(FOLDER)?.make_folder(first)?;
            match folder.file(&name)? {
                // A crash of the machine may have left it short.
                Some((_, metadata)) if metadata.len() == content.len() as u64 => Ok(()),
                _ if ALL_AT_ONCE => folder.put(&name, content),
                _ => folder.put_durably(&name, content),
            }
        };
        put().map_err(|error| unusable(&error))?;
        // One that was there may be another process's, who has not made it last yet.
        self.attached.written.fetch_add(1, Ordering::SeqCst);
        Ok(format!("{first}/{name}"))
    }

    /// Returns once all that is attached would survive a crash of the machine: before anything
    /// tells of it. All at once takes a tenth of the time that one by one does.
    pub(crate) fn sync_attachments(&self) -> Result<(), MailError> {
        let mut synced = self.attached.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.attached.written.load(Ordering::SeqCst);
        if *synced < written {
            let folder = self.attachments_path().and_then(std::fs::File::open);
            folder.and_then(|folder| sync_all(&folder)).map_err(|error| unusable(&error))?;
            *synced = written;
        }
        Ok(())
    }

    /// Keeps an attachment that is a file in the folder of attachments already.
    pub(crate) fn adopt_attachment(&self, file: NamedTempFile, digest: &Digest) -> Result<String, MailError> {
        let name = digest.to_string();
        let (first, _) = name.split_at(2);
        let put = || {
            self.folder()?.make_folder(FOLDER)?.make_folder(first)?;
            file.as_file().sync_all()?;
            let path = self.attachments_path()?.join(first).join(&name);
            file.persist(path).map_err(|error| error.error)?;
            std::fs::File::open(self.attachments_path()?.join(first))?.sync_all()
        };
        put().map_err(|error| unusable(&error))?;
        Ok(format!("{first}/{name}"))
    }

    /// The folder of attachments, which only its user can write to.
    pub(crate) fn attachments_path(&self) -> std::io::Result<PathBuf> {
        self.folder()?.make_folder(FOLDER)?;
        Ok(self.file().parent().unwrap_or(Path::new("/")).join(FOLDER))
    }

    /// The bytes of an attachment of a message of this account, by the path that the message
    /// says. Of any other path there is none.
    pub fn attachment(&self, account: i64, path: &str) -> Result<Vec<u8>, MailError> {
        let escapes = || MailError::invalid("attachment path escapes storage root");
        let digest: Digest = match path.split_once('/') {
            Some((first, name)) if name.starts_with(first) && first.len() == 2 => {
                name.parse().map_err(|_| escapes())?
            }
            _ => return Err(escapes()),
        };
        let sql = "SELECT count(*) FROM messages, json_each(messages.attachments_json) AS attached
                   WHERE account_id = ?1 AND json_valid(messages.attachments_json)
                   AND json_extract(attached.value, '$.local_path') = ?2";
        let known: i64 =
            self.connection().query_row(sql, params![account, path], |row| row.get(0)).map_err(failed)?;
        let missing = || MailError::invalid("there is no such attachment");
        if known == 0 {
            return Err(missing());
        }
        let (first, name) = path.split_at(2);
        let read = || {
            let Some(folder) = self.folder()?.folder(FOLDER)? else { return Ok(None) };
            let Some(folder) = folder.folder(first)? else { return Ok(None) };
            let Some((file, _)) = folder.file(&name[1..])? else { return Ok(None) };
            read_small(file, self.policy().max_bytes).map(Some)
        };
        let content = read().map_err(|error| unusable(&error))?.ok_or_else(missing)?;
        match Digest::of(&content) == digest {
            true => Ok(content),
            false => Err(MailError::new(MailCode::Storage, "an attachment is not what was kept")),
        }
    }

    pub(crate) fn folder(&self) -> std::io::Result<Folder> {
        Folder::private(self.file().parent().unwrap_or(std::path::Path::new("/")))
    }
}

#[cfg(target_os = "linux")]
fn sync_all(folder: &std::fs::File) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_all(folder: &std::fs::File) -> std::io::Result<()> {
    folder.sync_all()
}

pub(crate) fn unusable(error: &std::io::Error) -> MailError {
    MailError::new(MailCode::Storage, &format!("the folder of attachments cannot be used: {error}"))
}
