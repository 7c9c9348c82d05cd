//! Looking over the state, and putting right what can be.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use airlock_core::{Capability, Error, ErrorKind, Result};
use serde::Serialize;

use crate::Store;
use crate::artifacts::FOLDER;
use crate::db::{self, failed, now};
use crate::installed::wanted;

/// Something that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What was done about it; `None` when nothing can be, or when nothing was to be.
    pub repaired: Option<String>,
}

/// Looks over the data folder: who can write to what, the database, artifacts without a
/// plugin and plugins without an artifact, grants that ended, the audit log. With `repair`,
/// puts right what can be.
///
/// # Errors
/// When the state cannot be looked at at all.
pub fn doctor(data: &Path, repair: bool) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if !data.exists() {
        return Ok(findings);
    }
    modes(data, repair, &mut findings)?;
    let store = match Store::open(data) {
        Ok(store) => store,
        // What was just found and left is why it cannot be opened.
        Err(_) if !findings.is_empty() && !repair => return Ok(findings),
        Err(error) => return Err(error),
    };
    store.database(&mut findings)?;
    store.files(repair, &mut findings)?;
    store.decisions(repair, &mut findings)?;
    match store.verify_audit(None) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::AuditBroken { .. }) => {
            findings.push(Finding { what: error.to_string(), repaired: None });
        }
        Err(error) => return Err(error),
    }
    Ok(findings)
}

/// Folders and files that others can write to, or read what is none of theirs in.
fn modes(data: &Path, repair: bool, findings: &mut Vec<Finding>) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let database = [db::FILE.to_owned(), format!("{}-wal", db::FILE), format!("{}-shm", db::FILE)];
    let files = database.iter().map(|name| (data.join(name), 0o600));
    let folders = [(data.to_owned(), 0o700), (data.join(FOLDER), 0o700)];
    for (path, mode) in folders.into_iter().chain(files) {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let shown = path.display();
        if metadata.is_symlink() {
            let what = format!("`{shown}` is a symbolic link");
            findings.push(Finding { what, repaired: None });
            continue;
        }
        if metadata.uid() != user {
            let what = format!("`{shown}` belongs to user {}", metadata.uid());
            findings.push(Finding { what, repaired: None });
            continue;
        }
        let is = metadata.mode() & 0o777;
        if is & !mode == 0 {
            continue;
        }
        let repaired = repair.then(|| -> Result<String> {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(|error| {
                Error::host(format!("cannot change the mode of `{shown}`")).with_source(error)
            })?;
            Ok(format!("set to {mode:04o}"))
        });
        findings
            .push(Finding { what: format!("`{shown}` has mode {is:04o}"), repaired: repaired.transpose()? });
    }
    Ok(())
}

impl Store {
    fn database(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let connection = self.connection();
        let lines = connection.prepare("PRAGMA integrity_check").and_then(|mut check| {
            check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        });
        for line in lines.map_err(|error| failed(&error))?.into_iter().filter(|line| line != "ok") {
            findings.push(Finding { what: format!("the database: {line}"), repaired: None });
        }
        let dangling = connection.prepare("PRAGMA foreign_key_check").and_then(|mut check| {
            check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        });
        for table in dangling.map_err(|error| failed(&error))? {
            let what = format!("the database: a row of `{table}` belongs to nothing");
            findings.push(Finding { what, repaired: None });
        }
        Ok(())
    }

    fn files(&self, repair: bool, findings: &mut Vec<Finding>) -> Result<()> {
        let wanted = wanted(&self.connection())?;
        for digest in &wanted {
            if let Err(error) = self.artifact(digest) {
                let holders = self.holders(&digest.to_string())?.join("`, `");
                let what = format!("{error}; `{holders}` cannot run and has to be installed again");
                findings.push(Finding { what, repaired: None });
            }
        }
        let swept = match repair {
            true => self.sweep_artifacts()?,
            false => {
                let names = self.artifacts()?.names().map_err(|error| {
                    Error::host("cannot look into the folder of artifacts").with_source(error)
                })?;
                let is_wanted =
                    |name: &String| wanted.iter().any(|digest| crate::artifacts::file_name(digest) == *name);
                names.into_iter().filter(|name| !is_wanted(name)).collect()
            }
        };
        for name in swept {
            let what = format!("`{FOLDER}/{name}` belongs to no plugin");
            findings.push(Finding { what, repaired: repair.then(|| "removed".to_owned()) });
        }
        Ok(())
    }

    /// The plugins that name a digest.
    fn holders(&self, digest: &str) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT plugin FROM version JOIN file ON file.version = version.id
                   WHERE digest = ?1 ORDER BY plugin";
        let connection = self.connection();
        let names = connection.prepare(sql).and_then(|mut select| {
            select.query_map([digest], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        });
        names.map_err(|error| failed(&error))
    }

    /// Decisions that have ended, and those that nobody can read, which grant nothing.
    fn decisions(&self, repair: bool, findings: &mut Vec<Finding>) -> Result<()> {
        let connection = self.connection();
        let ended: i64 = connection
            .query_row("SELECT count(*) FROM decision WHERE until <= ?1", [now()], |row| row.get(0))
            .map_err(|error| failed(&error))?;
        let texts = connection.prepare("SELECT DISTINCT capability FROM decision").and_then(|mut select| {
            select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        });
        let texts = texts.map_err(|error| failed(&error))?;
        let unreadable: Vec<String> =
            texts.into_iter().filter(|text| text.parse::<Capability>().is_err()).collect();
        let remove = |sql: &str, value: &dyn rusqlite::ToSql| -> Result<Option<String>> {
            if !repair {
                return Ok(None);
            }
            connection.execute(sql, [value]).map_err(|error| failed(&error))?;
            Ok(Some("removed".to_owned()))
        };
        if ended > 0 {
            let repaired = remove("DELETE FROM decision WHERE until <= ?1", &now())?;
            findings.push(Finding { what: format!("{ended} grants have ended"), repaired });
        }
        for text in unreadable {
            let repaired = remove("DELETE FROM decision WHERE capability = ?1", &text)?;
            let what = format!("a grant of `{}` is none", airlock_core::visible(&text, false));
            findings.push(Finding { what, repaired });
        }
        Ok(())
    }
}
