//! Grants, kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use airlock_core::{AuditEvent, Capability, Digest, Error, Grant, GrantStore, Identity, Lasting, Result};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;

use crate::Store;
use crate::audit::append;
use crate::db::{failed, millis, now};

/// The setting that counts changes of grants.
const GENERATION: &str = "grants.generation";

/// How long a change by another process may go unnoticed. A command that takes something back
/// waits longer before it says that it has ([`GRANTS_SETTLE`](crate::GRANTS_SETTLE)).
pub(crate) const NOTICE: Duration = Duration::from_millis(10);

/// The generation of grants, looked up again when this process changed them, and otherwise
/// once in a while: every call asks for it.
#[derive(Debug)]
pub(crate) struct Changes {
    opened: Instant,
    /// How many this process made.
    own: AtomicU64,
    /// Nanoseconds after `opened`.
    next_look: AtomicU64,
    seen: AtomicU64,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Changes {
            opened: Instant::now(),
            own: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    pub(crate) fn happened(&self) {
        self.own.fetch_add(1, Ordering::SeqCst);
        self.next_look.store(0, Ordering::SeqCst);
    }

    fn look(&self, read: impl FnOnce() -> Result<u64>) -> Result<u64> {
        let now = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if now < self.next_look.load(Ordering::Acquire) {
            return Ok(self.seen.load(Ordering::Acquire));
        }
        let own = self.own.load(Ordering::SeqCst);
        let seen = read()?;
        self.seen.store(seen, Ordering::Release);
        let after = now.saturating_add(u64::try_from(NOTICE.as_nanos()).unwrap_or(u64::MAX));
        self.next_look.store(after, Ordering::SeqCst);
        if self.own.load(Ordering::SeqCst) != own {
            // It happened meanwhile, and may not be in what was read.
            self.next_look.store(0, Ordering::SeqCst);
        }
        Ok(seen)
    }
}

/// A decision with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptGrant {
    /// Whose it is.
    pub plugin: Identity,
    /// What was decided.
    #[serde(flatten)]
    pub grant: Grant,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who or what decided.
    pub by: String,
}

/// Which decisions of a table `decision` hold: `?1` is now and `?2` the session.
const HOLDS: &str = "(until IS NULL OR until > ?1) AND (session IS NULL OR session = ?2)";

impl Store {
    /// Every decision that holds, by plugin and capability; of one plugin when it is named.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn grants(&self, plugin: Option<&str>) -> Result<Vec<KeptGrant>> {
        let connection = self.connection();
        let sql = format!(
            "SELECT plugin, digest, capability, allowed, decision.at, by, until, session
             FROM decision JOIN approval ON approval.id = approval
             WHERE {HOLDS} AND (?3 IS NULL OR plugin = ?3) ORDER BY plugin, approval.at, capability"
        );
        let mut statement = connection.prepare_cached(&sql).map_err(|error| failed(&error))?;
        let rows = statement.query_map(params![now(), self.session(), plugin], |row| {
            let (name, digest): (String, String) = (row.get(0)?, row.get(1)?);
            let (at, by) = (row.get(4)?, row.get(5)?);
            Ok((name, digest, grant(row, 2)?, at, by))
        });
        let rows = rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|error| failed(&error))?;
        rows.into_iter()
            .map(|(name, digest, grant, at, by)| {
                Ok(KeptGrant {
                    plugin: Identity { name, digest: read_digest(&digest)? },
                    grant: grant?,
                    at,
                    by,
                })
            })
            .collect()
    }

    /// Takes back what of `capability`, or everything when there is none, was decided for a
    /// plugin of this name, whatever its bytes. Returns what was taken back.
    ///
    /// With everything gone the plugin counts as never asked about.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was taken back.
    pub fn revoke(&self, plugin: &str, capability: Option<&Capability>, by: &str) -> Result<Vec<Capability>> {
        let kept = self.grants(Some(plugin))?;
        let gone = self.transact(|transaction| {
            let mut gone = Vec::new();
            for KeptGrant { plugin: Identity { digest, .. }, grant, .. } in kept {
                if capability.is_none_or(|revoked| revoked.covers(&grant.capability)) {
                    let sql = "DELETE FROM decision WHERE capability = ?3 AND approval =
                               (SELECT id FROM approval WHERE plugin = ?1 AND digest = ?2)";
                    let (digest, text) = (digest.to_string(), grant.capability.to_string());
                    transaction
                        .execute(sql, params![plugin, digest, text])
                        .map_err(|error| failed(&error))?;
                    gone.push(grant.capability);
                }
            }
            if capability.is_none() {
                transaction
                    .execute("DELETE FROM approval WHERE plugin = ?1", [plugin])
                    .map_err(|error| failed(&error))?;
            }
            changed(transaction)?;
            for capability in &gone {
                let event = AuditEvent::Revoked { capability: capability.clone(), by: by.to_owned() };
                append(transaction, plugin, None, &event)?;
            }
            Ok(gone)
        })?;
        self.changes.happened();
        Ok(gone)
    }
}

/// Keeps decisions within a transaction.
pub(crate) fn decide(
    transaction: &Transaction<'_>,
    session: &str,
    plugin: &Identity,
    decisions: &[Grant],
    by: &str,
) -> Result<()> {
    let fails = |error: rusqlite::Error| failed(&error);
    let (digest, at) = (plugin.digest.to_string(), now());
    let approval: i64 = transaction
        .query_row(
            "INSERT INTO approval (plugin, digest, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (plugin, digest) DO UPDATE SET at = excluded.at RETURNING id",
            params![plugin.name, digest, at],
            |row| row.get(0),
        )
        .map_err(fails)?;
    for grant in decisions {
        let (until, session) = match grant.lasting {
            Lasting::Always => (None, None),
            Lasting::Until(end) => (Some(millis(end)), None),
            Lasting::Session => (None, Some(session)),
            Lasting::Once => continue,
        };
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO decision (approval, capability, allowed, at, by, until, session)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .and_then(|mut insert| {
                let capability = grant.capability.to_string();
                insert.execute(params![approval, capability, grant.allowed, at, by, until, session])
            })
            .map_err(fails)?;
    }
    changed(transaction)?;
    for grant in decisions {
        let (capability, by) = (grant.capability.clone(), by.to_owned());
        let event = match grant.allowed {
            true => AuditEvent::Granted { capability, lasting: grant.lasting, by },
            false => AuditEvent::Denied { capability, by },
        };
        append(transaction, &plugin.name, Some(plugin.digest), &event)?;
    }
    Ok(())
}

/// Tells every process that grants are others now.
pub(crate) fn changed(transaction: &Transaction<'_>) -> Result<()> {
    let sql = "INSERT INTO setting (name, value) VALUES (?1, '1')
               ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1";
    transaction.execute(sql, [GENERATION]).map(|_| ()).map_err(|error| failed(&error))
}

impl GrantStore for Store {
    fn decided(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>> {
        let connection = self.connection();
        let found = connection
            .prepare_cached("SELECT id FROM approval WHERE plugin = ?1 AND digest = ?2")
            .and_then(|mut find| {
                find.query_row(params![plugin.name, plugin.digest.to_string()], |row| row.get(0)).optional()
            })
            .map_err(|error| failed(&error))?;
        found.map(|approval| held(&connection, self.session(), approval)).transpose()
    }

    fn decided_before(&self, plugin: &Identity) -> Result<Option<Vec<Grant>>> {
        let connection = self.connection();
        let sql =
            "SELECT id FROM approval WHERE plugin = ?1 AND digest <> ?2 ORDER BY at DESC, id DESC LIMIT 1";
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut find| {
                find.query_row(params![plugin.name, plugin.digest.to_string()], |row| row.get(0)).optional()
            })
            .map_err(|error| failed(&error))?;
        found.map(|approval| held(&connection, self.session(), approval)).transpose()
    }

    fn decide(&self, plugin: &Identity, decisions: &[Grant], by: &str) -> Result<()> {
        self.transact(|transaction| decide(transaction, self.session(), plugin, decisions, by))?;
        self.changes.happened();
        Ok(())
    }

    fn generation(&self) -> Result<u64> {
        self.changes.look(|| self.read_generation())
    }
}

impl Store {
    fn read_generation(&self) -> Result<u64> {
        let connection = self.connection();
        let value = connection
            .prepare_cached("SELECT CAST(value AS INTEGER) FROM setting WHERE name = ?1")
            .and_then(|mut read| read.query_row([GENERATION], |row| row.get::<_, i64>(0)).optional())
            .map_err(|error| failed(&error))?;
        Ok(value.map_or(0, i64::cast_unsigned))
    }
}

fn held(connection: &rusqlite::Connection, session: &str, approval: i64) -> Result<Vec<Grant>> {
    let sql = format!(
        "SELECT capability, allowed, until, session FROM decision
         WHERE {HOLDS} AND approval = ?3 ORDER BY capability"
    );
    let grants = connection.prepare_cached(&sql).and_then(|mut select| {
        let rows = select.query_map(params![now(), session, approval], |row| {
            let (allowed, until, session): (bool, Option<i64>, Option<String>) =
                (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(read_grant(&row.get::<_, String>(0)?, allowed, until, session.is_some()))
        })?;
        rows.collect::<Result<Vec<_>, _>>()
    });
    grants.map_err(|error| failed(&error))?.into_iter().collect()
}

/// The grant of a row with `capability, allowed, at, by, until, session` from column `first`.
fn grant(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Result<Grant>> {
    let capability: String = row.get(first)?;
    let (allowed, until, session): (bool, Option<i64>, Option<String>) =
        (row.get(first + 1)?, row.get(first + 4)?, row.get(first + 5)?);
    Ok(read_grant(&capability, allowed, until, session.is_some()))
}

fn read_grant(capability: &str, allowed: bool, until: Option<i64>, session: bool) -> Result<Grant> {
    let capability = capability.parse()?;
    let lasting = match until {
        Some(until) => Lasting::Until(UNIX_EPOCH + Duration::from_millis(until.max(0).cast_unsigned())),
        None if session => Lasting::Session,
        None => Lasting::Always,
    };
    Ok(Grant { capability, allowed, lasting })
}

pub(crate) fn read_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|_| Error::host(format!("the database has `{text}` where a digest belongs")))
}
