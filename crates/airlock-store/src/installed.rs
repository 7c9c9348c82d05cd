//! Installed plugins: put there, replaced, gone back to, removed.
//!
//! A version is a row with the files it names; one of a plugin's versions is current. Old
//! ones stay, up to [`KEPT_VERSIONS`], to be gone back to. What a plugin keeps in `kv` is the
//! plugin's and not a version's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use airlock_core::{AuditEvent, Digest, Error, ErrorKind, Grant, Identity, Request, Result, nearest};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::audit::append;
use crate::db::{failed, now};
use crate::grants::{changed, decide, read_digest};
use crate::{Package, Store};

/// Versions that are kept of a plugin, the current one included.
const KEPT_VERSIONS: i64 = 5;

/// What examining a plugin told, as far as differences between versions show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How it is called.
    pub abi: String,
    /// Bytes of the wasm that is called.
    pub size: u64,
    /// What it asks for, in its manifest and by what it imports.
    pub requests: Vec<Request>,
    /// What it imports, as `module.name`, sorted.
    pub imports: Vec<String>,
    /// Its limits as shown to people, by name.
    pub limits: BTreeMap<String, String>,
    /// The words it adds to the command line, with the file each runs.
    pub commands: BTreeMap<String, String>,
    /// The programs it wants to be run outside the sandbox, by what for.
    pub hooks: BTreeMap<String, String>,
}

/// An installed version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The row's number; larger ones were installed later.
    pub id: i64,
    /// The plugin's name.
    pub name: String,
    /// The version as its manifest has it.
    pub version: Option<String>,
    /// Where it came from, as an absolute path.
    pub source: String,
    /// The folder it is read from at every load, when it is linked.
    pub link: Option<PathBuf>,
    /// The path of the wasm that is called.
    pub entry: String,
    /// The digest of each of its files.
    pub files: BTreeMap<String, Digest>,
    /// The manifest's file name and text.
    #[serde(skip)]
    pub manifest: Option<(String, Vec<u8>)>,
    /// What examining it told.
    pub facts: Facts,
    /// When it was installed, in milliseconds since 1970.
    pub installed_at: i64,
    /// Whether this is the version that is run.
    pub current: bool,
}

impl Installed {
    /// The digest of the wasm that is called.
    ///
    /// # Errors
    /// When the database has no file for the entry.
    pub fn digest(&self) -> Result<Digest> {
        let digest = self.files.get(&self.entry).copied();
        digest.ok_or_else(|| Error::host(format!("the database has no file for `{}`", self.entry)))
    }

    /// The plugin as grants know it.
    ///
    /// # Errors
    /// As [`Installed::digest`].
    pub fn identity(&self) -> Result<Identity> {
        Ok(Identity { name: self.name.clone(), digest: self.digest()? })
    }
}

/// A version to be installed, once everything was decided.
#[derive(Debug, Clone, Copy)]
pub struct NewVersion<'a> {
    /// Its files.
    pub package: &'a Package,
    /// What examining it told.
    pub facts: &'a Facts,
    /// What was decided over its requests.
    pub decisions: &'a [Grant],
    /// Who decided.
    pub by: &'a str,
}

impl Store {
    /// Installs a plugin under its name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyInstalled`]; [`ErrorKind::CommandTaken`]; when the state cannot be
    /// written. Then nothing is installed.
    pub fn install(&self, new: NewVersion<'_>) -> Result<Installed> {
        self.put(new, |before| match before {
            Some(before) => Err(Error::new(ErrorKind::AlreadyInstalled(before.name))),
            None => Ok(()),
        })
    }

    /// Replaces the plugin of the same name; `expected` is the version that the difference was
    /// shown against.
    ///
    /// # Errors
    /// [`ErrorKind::NotInstalled`]; [`ErrorKind::CommandTaken`]; when another process has
    /// replaced it meanwhile, or the state cannot be written. Then the old version stays.
    pub fn update(&self, new: NewVersion<'_>, expected: &Installed) -> Result<Installed> {
        self.put(new, |before| match before {
            None => Err(Error::new(ErrorKind::NotInstalled {
                name: new.package.name().to_owned(),
                nearest: Vec::new(),
            })),
            Some(before) if before.id != expected.id => {
                let what = format!("`{}` was replaced by somebody else meanwhile", before.name);
                Err(Error::host(what).with_hint("try again"))
            }
            Some(_) => Ok(()),
        })
    }

    fn put(
        &self,
        new: NewVersion<'_>,
        allowed: impl FnOnce(Option<Installed>) -> Result<()>,
    ) -> Result<Installed> {
        let NewVersion { package, facts, decisions, by } = new;
        let name = package.name();
        let installed = self.transact(|transaction| {
            let before = current(transaction, name)?;
            let from = before.as_ref().map(Installed::digest).transpose()?;
            allowed(before)?;
            // Within the transaction, so that nobody sweeps up what is not named yet. Killed
            // before its end, they are orphans.
            let mut digests = BTreeMap::new();
            for (path, bytes) in package.files() {
                let digest = match package.link() {
                    Some(_) => Digest::of(bytes),
                    None => self.keep_artifact(bytes)?,
                };
                digests.insert(path.to_owned(), digest);
            }
            let version = package.manifest().and_then(|manifest| manifest.version.clone());
            let id = insert(transaction, package, &version, facts, &digests)?;
            set_current(transaction, name, id)?;
            prune(transaction, name)?;

            let (digest, source) = (digests.get(package.entry()).copied(), package.source().to_owned());
            let event = match from {
                None => AuditEvent::Installed { version, source },
                Some(from) => AuditEvent::Updated { from, version, source },
            };
            append(transaction, name, digest, &event)?;
            let distinct: BTreeSet<Digest> = digests.values().copied().collect();
            for digest in distinct {
                let identity = Identity { name: name.to_owned(), digest };
                decide(transaction, self.session(), &identity, decisions, by)?;
            }
            version_by_id(transaction, id)
        })?;
        self.changes.happened();
        Ok(installed)
    }

    /// Makes the version before the current one current again. What is kept in `kv` stays as
    /// it is. Returns the version that was current and the one that is.
    ///
    /// # Errors
    /// [`ErrorKind::NotInstalled`]; [`ErrorKind::InvalidSetting`] when there is no version
    /// before; [`ErrorKind::CommandTaken`] when another plugin has taken one of its commands.
    pub fn rollback(&self, name: &str) -> Result<(Installed, Installed)> {
        self.transact(|transaction| {
            let now = current(transaction, name)?.ok_or_else(|| not_installed(transaction, name))?;
            let sql = "SELECT max(id) FROM version WHERE plugin = ?1 AND id < ?2";
            let before: Option<i64> = transaction
                .query_row(sql, params![name, now.id], |row| row.get(0))
                .map_err(|error| failed(&error))?;
            let Some(before) = before else {
                let reason = "there is no version before this one".to_owned();
                return Err(Error::new(ErrorKind::InvalidSetting { name: name.to_owned(), reason }));
            };
            set_current(transaction, name, before)?;
            let before = version_by_id(transaction, before)?;
            let event = AuditEvent::RolledBack { from: now.digest()? };
            append(transaction, name, Some(before.digest()?), &event)?;
            Ok((now, before))
        })
    }

    /// Removes a plugin with all its versions, its grants, and what it keeps unless
    /// `keep_data`. What stays is there for whatever is installed under the name next.
    ///
    /// # Errors
    /// [`ErrorKind::NotInstalled`]; when the state cannot be written.
    pub fn remove(&self, name: &str, keep_data: bool) -> Result<Installed> {
        let removed = self.transact(|transaction| {
            let removed = current(transaction, name)?.ok_or_else(|| not_installed(transaction, name))?;
            let mut tables = vec!["version", "approval"];
            if !keep_data {
                tables.push("kv");
            }
            for table in tables {
                transaction
                    .execute(&format!("DELETE FROM {table} WHERE plugin = ?1"), [name])
                    .map_err(|error| failed(&error))?;
            }
            changed(transaction)?;
            append(transaction, name, Some(removed.digest()?), &AuditEvent::Removed)?;
            Ok(removed)
        })?;
        self.changes.happened();
        // One that is left over is harmless, and the doctor's.
        if let Err(error) = self.sweep_artifacts() {
            tracing::warn!(%error, "artifacts of the removed plugin are left");
        }
        let own = self.own_folder(name);
        if !keep_data && own.exists() {
            std::fs::remove_dir_all(&own).map_err(|error| {
                let reason = "the plugin is removed, but its own folder is not".to_owned();
                Error::new(ErrorKind::StateUnusable { path: own, reason }).with_source(error)
            })?;
        }
        Ok(removed)
    }

    /// The folder that is kept for the plugin of this name, whether it is there yet or not.
    /// No other plugin's capabilities lead there unless somebody grants it by its path.
    pub fn own_folder(&self, name: &str) -> PathBuf {
        self.data.join("own").join(name)
    }

    /// The current version of every plugin, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn installed(&self) -> Result<Vec<Installed>> {
        versions(&self.connection(), "current = 1 ORDER BY plugin", &[])
    }

    /// The current version of the plugin of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotInstalled`]; when the database cannot be read.
    pub fn plugin(&self, name: &str) -> Result<Installed> {
        let connection = self.connection();
        current(&connection, name)?.ok_or_else(|| not_installed(&connection, name))
    }

    /// All kept versions of the plugin of this name, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn versions(&self, name: &str) -> Result<Vec<Installed>> {
        versions(&self.connection(), "plugin = ?1 ORDER BY id DESC", &[name])
    }

    /// Who has this word of the command line: the plugin, and the path of the file it runs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn command(&self, word: &str) -> Result<Option<(String, String)>> {
        let connection = self.connection();
        let sql =
            "SELECT plugin, path FROM command JOIN version ON version.id = command.version WHERE name = ?1";
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut find| find.query_row([word], |row| Ok((row.get(0)?, row.get(1)?))).optional());
        found.map_err(|error| failed(&error))
    }
}

fn not_installed(connection: &Connection, name: &str) -> Error {
    let known = connection.prepare("SELECT plugin FROM version WHERE current = 1").and_then(|mut select| {
        select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
    });
    // Names that are near are a help and nothing more.
    let known = known.unwrap_or_default();
    let nearest = nearest(name, known.iter().map(String::as_str));
    Error::new(ErrorKind::NotInstalled { name: name.to_owned(), nearest })
}

/// The digests of the files that Airlock keeps for versions.
pub(crate) fn wanted(connection: &Connection) -> Result<BTreeSet<Digest>> {
    let sql = "SELECT DISTINCT digest FROM file JOIN version ON version.id = version WHERE link IS NULL";
    let digests = connection.prepare(sql).and_then(|mut select| {
        select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
    });
    digests.map_err(|error| failed(&error))?.iter().map(|digest| read_digest(digest)).collect()
}

fn insert(
    transaction: &Transaction<'_>,
    package: &Package,
    version: &Option<String>,
    facts: &Facts,
    digests: &BTreeMap<String, Digest>,
) -> Result<i64> {
    let facts = serde_json::to_string(facts)
        .map_err(|error| Error::host("what is known of a plugin cannot be written").with_source(error))?;
    let (manifest_name, manifest) = package.manifest_file().unzip();
    let link = package.link().map(|link| link.to_string_lossy().into_owned());
    transaction
        .execute(
            "INSERT INTO version
                 (plugin, current, label, source, link, entry, manifest_name, manifest, facts, installed_at)
             VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                package.name(),
                version,
                package.source(),
                link,
                package.entry(),
                manifest_name,
                manifest,
                facts,
                now()
            ],
        )
        .map_err(|error| failed(&error))?;
    let id = transaction.last_insert_rowid();
    for (path, digest) in digests {
        transaction
            .execute(
                "INSERT INTO file (version, path, digest) VALUES (?1, ?2, ?3)",
                params![id, path, digest.to_string()],
            )
            .map_err(|error| failed(&error))?;
    }
    Ok(id)
}

/// Makes one version of a plugin the current one, and its commands those of the plugin.
fn set_current(transaction: &Transaction<'_>, name: &str, id: i64) -> Result<()> {
    let fails = |error: rusqlite::Error| failed(&error);
    transaction
        .execute("UPDATE version SET current = 0 WHERE plugin = ?1 AND current = 1", [name])
        .and_then(|_| transaction.execute("UPDATE version SET current = 1 WHERE id = ?1", [id]))
        .and_then(|_| {
            let sql = "DELETE FROM command WHERE version IN (SELECT id FROM version WHERE plugin = ?1)";
            transaction.execute(sql, [name])
        })
        .map_err(fails)?;
    let taken = |command: &str, holder: String| {
        let (command, plugin) = (command.to_owned(), name.to_owned());
        Error::new(ErrorKind::CommandTaken { command, holder, plugin })
    };
    // A plugin is called by its name as well, so that a word is either one's name or one's
    // command.
    if let Some(holder) = command_holder(transaction, name)? {
        return Err(taken(name, holder));
    }
    for (command, path) in &version_by_id(transaction, id)?.facts.commands {
        let named = current(transaction, command)?.map(|plugin| plugin.name).filter(|named| named != name);
        if let Some(holder) = command_holder(transaction, command)?.or(named) {
            return Err(taken(command, holder));
        }
        transaction
            .execute(
                "INSERT INTO command (name, version, path) VALUES (?1, ?2, ?3)",
                params![command, id, path],
            )
            .map_err(fails)?;
    }
    Ok(())
}

/// The plugin that has this word of the command line.
fn command_holder(connection: &Connection, word: &str) -> Result<Option<String>> {
    let sql = "SELECT plugin FROM command JOIN version ON version.id = command.version WHERE name = ?1";
    connection.query_row(sql, [word], |row| row.get(0)).optional().map_err(|error| failed(&error))
}

/// Removes versions beyond those that are kept, oldest first and never the current one.
fn prune(transaction: &Transaction<'_>, name: &str) -> Result<()> {
    let sql = "DELETE FROM version WHERE plugin = ?1 AND current = 0 AND id NOT IN
                   (SELECT id FROM version WHERE plugin = ?1 ORDER BY id DESC LIMIT ?2)";
    transaction.execute(sql, params![name, KEPT_VERSIONS]).map(|_| ()).map_err(|error| failed(&error))
}

fn current(connection: &Connection, name: &str) -> Result<Option<Installed>> {
    Ok(versions(connection, "plugin = ?1 AND current = 1", &[name])?.pop())
}

fn version_by_id(connection: &Connection, id: i64) -> Result<Installed> {
    let found = versions(connection, "version.id = CAST(?1 AS INTEGER)", &[&id.to_string()])?.pop();
    found.ok_or_else(|| Error::host("a version is gone from the database"))
}

/// The versions that a condition picks, with their files.
fn versions(connection: &Connection, condition: &str, values: &[&str]) -> Result<Vec<Installed>> {
    let sql = format!(
        "SELECT id, plugin, label, source, link, entry, manifest_name, manifest, facts, installed_at, current,
                (SELECT json_group_object(path, digest) FROM file WHERE version = version.id)
         FROM version WHERE {condition}"
    );
    let rows = connection.prepare_cached(&sql).and_then(|mut select| {
        let rows = select.query_map(rusqlite::params_from_iter(values), |row| {
            let manifest = row.get::<_, Option<String>>(6)?.zip(row.get::<_, Option<Vec<u8>>>(7)?);
            let installed = Installed {
                id: row.get(0)?,
                name: row.get(1)?,
                version: row.get(2)?,
                source: row.get(3)?,
                link: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
                entry: row.get(5)?,
                files: BTreeMap::new(),
                manifest,
                facts: Facts::default(),
                installed_at: row.get(9)?,
                current: row.get(10)?,
            };
            Ok((installed, row.get::<_, String>(8)?, row.get::<_, String>(11)?))
        })?;
        rows.collect::<Result<Vec<_>, _>>()
    });
    rows.map_err(|error| failed(&error))?
        .into_iter()
        .map(|(installed, facts, files)| {
            let unreadable =
                |error: serde_json::Error| Error::host("the database cannot be read").with_source(error);
            let facts = serde_json::from_str(&facts).map_err(unreadable)?;
            let files: BTreeMap<String, String> = serde_json::from_str(&files).map_err(unreadable)?;
            let files = files.into_iter().map(|(path, digest)| Ok((path, read_digest(&digest)?)));
            Ok(Installed { facts, files: files.collect::<Result<_>>()?, ..installed })
        })
        .collect()
}
