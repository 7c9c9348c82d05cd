//! The audit log: append-only, each record chained to the one before it by a hash.
//!
//! The chain shows that a record in its middle was changed or removed, as long as the head
//! is known from somewhere else ([`Store::audit_head`]): who can write the file can also
//! write a whole new chain. It is rotated into files beside the database; then the hash of
//! the last record that went is the anchor of those that stay.

mod log;

use std::path::PathBuf;

use airlock_core::{AuditEvent, AuditSink, Digest, Error, ErrorKind, Identity, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::log::AuditLog;
pub(crate) use self::log::Lines;
use crate::Store;
use crate::db::{Durable, failed, now, writing};

/// The hash before the first record.
const GENESIS: [u8; 32] = [0; 32];

/// The settings that say what went before the first record that is still there.
const ANCHOR: &str = "audit.anchor";

/// What the names of files with records that were rotated out begin with.
const ROTATED: &str = "audit-";

/// Records that are kept in the database; when there are twice as many, the older half goes
/// to a file.
pub(crate) const KEPT: u64 = 50_000;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// Its number; from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Which plugin it is about.
    pub plugin: Option<String>,
    /// What happened, as [`AuditEvent`] writes it, with the plugin's `digest`.
    pub event: Map<String, Value>,
    /// The hash over it and the one before it, 64 hex digits.
    pub hash: String,
}

impl AuditRecord {
    /// The event's kind.
    pub fn kind(&self) -> &str {
        self.event.get("kind").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Which records are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this plugin.
    pub plugin: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// From this time on, in milliseconds since 1970.
    pub since: Option<i64>,
    /// With a higher number than this.
    pub after: Option<u64>,
}

/// The end of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditHead {
    /// The last record's number; 0 when there is none.
    pub seq: u64,
    /// Its hash, 64 hex digits.
    pub hash: String,
}

/// What verifying found in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditVerified {
    /// Records in the database.
    pub records: u64,
    /// The number of the last record that was rotated out; 0 when none was.
    pub anchor: u64,
    /// The end of the chain.
    pub head: AuditHead,
}

impl Store {
    /// The records that `filter` lets through, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>> {
        select(&self.connection(), filter)
    }

    /// The end of the chain, to be kept somewhere else.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn audit_head(&self) -> Result<AuditHead> {
        let connection = self.connection();
        let (seq, hash) = head(&connection).map_err(|error| failed(&error))?;
        Ok(AuditHead { seq, hash: hex(&hash) })
    }

    /// Follows the chain from its beginning to its head, through the files that were rotated
    /// out as far as they are still there. With a `known` head, also whether that record is
    /// what it was.
    ///
    /// # Errors
    /// [`ErrorKind::AuditBroken`] at the first record that does not follow from the one before
    /// it; when the database or a file cannot be read.
    pub fn verify_audit(&self, known: Option<&AuditHead>) -> Result<AuditVerified> {
        let connection = self.connection();
        let (anchor, hash) = anchor(&connection).map_err(|error| failed(&error))?;
        let mut chain = Chain { known, seen: false, seq: 0, previous: GENESIS };
        let rotated = self.rotated(anchor)?;
        match &rotated {
            Some(rows) => {
                for row in rows {
                    chain.follow(row)?;
                }
                if chain.previous != hash {
                    return Err(broken(anchor, "the records after it do not follow from it"));
                }
            }
            None => (chain.seq, chain.previous) = (anchor, hash),
        }
        let mut select = connection
            .prepare("SELECT seq, at, plugin, record, hash, kind FROM audit ORDER BY seq")
            .map_err(|error| failed(&error))?;
        let mut rows = select.query([]).map_err(|error| failed(&error))?;
        let mut records = rotated.map_or(0, |rows| rows.len() as u64);
        while let Some(row) = rows.next().map_err(|error| failed(&error))? {
            let kind: String = row.get(5).map_err(|error| failed(&error))?;
            let row = read(row).map_err(|error| failed(&error))?;
            chain.follow(&row)?;
            if serde_json::from_str::<Value>(&row.text).ok().is_none_or(|record| record["kind"] != kind) {
                return Err(broken(row.seq, "its kind is not what was written"));
            }
            records += 1;
        }
        match known {
            Some(known) if !chain.seen && known.seq > 0 => {
                let reason = match known.seq <= anchor {
                    true => "it was rotated out, into a file that is not here",
                    false => "it is missing",
                };
                Err(broken(known.seq.min(chain.seq + 1), reason))
            }
            _ => Ok(AuditVerified {
                records,
                anchor,
                head: AuditHead { seq: chain.seq, hash: hex(&chain.previous) },
            }),
        }
    }

    /// The records that were rotated out, up to the anchor; `None` when a file is not there.
    fn rotated(&self, anchor: u64) -> Result<Option<Vec<Row>>> {
        let unreadable = |name: &str, error: std::io::Error| {
            Error::host(format!("cannot read `{name}`")).with_source(error)
        };
        let names = self.folder().names().map_err(|error| unreadable("the data folder", error))?;
        let mut names: Vec<String> = names.into_iter().filter(|name| is_rotated(name)).collect();
        names.sort();
        let mut rows: Vec<Row> = Vec::new();
        for name in &names {
            let opened = self.folder().file(name).map_err(|error| unreadable(name, error))?;
            let Some((mut file, _)) = opened else { continue };
            let mut text = String::new();
            std::io::Read::read_to_string(&mut file, &mut text).map_err(|error| unreadable(name, error))?;
            for line in text.lines() {
                let next = rows.len() as u64 + 1;
                let row: Line = serde_json::from_str(line)
                    .map_err(|_| broken(next, &format!("it cannot be read in `{name}`")))?;
                rows.push(row.row());
            }
        }
        let whole = rows.first().is_none_or(|row| row.seq == 1) && rows.len() as u64 == anchor;
        Ok(whole.then_some(rows))
    }

    /// Moves older records to a file when there are many.
    pub(crate) fn rotate_audit(&self, kept: u64) -> Result<Option<PathBuf>> {
        let mut connection = self.connection();
        let transaction = writing(&mut connection)?;
        let (anchor_seq, _) = anchor(&transaction).map_err(|error| failed(&error))?;
        let (head_seq, _) = head(&transaction).map_err(|error| failed(&error))?;
        if head_seq - anchor_seq < kept.saturating_mul(2) {
            return Ok(None);
        }
        let last = head_seq - kept;
        let (mut lines, mut hash) = (Vec::new(), Vec::new());
        {
            let mut select = transaction
                .prepare("SELECT seq, at, plugin, record, hash FROM audit WHERE seq <= ?1 ORDER BY seq")
                .map_err(|error| failed(&error))?;
            let rows = select.query_map([last.cast_signed()], read).map_err(|error| failed(&error))?;
            for row in rows {
                let row = row.map_err(|error| failed(&error))?;
                hash = row.hash.to_vec();
                serde_json::to_writer(&mut lines, &Line::of(row))
                    .map_err(|error| Error::host("a record cannot be written").with_source(error))?;
                lines.push(b'\n');
            }
        }
        let name = format!("{ROTATED}{:010}-{last:010}.jsonl", anchor_seq + 1);
        let write = || self.folder().put_durably(&name, &lines);
        write().map_err(|error| Error::host(format!("cannot write `{name}`")).with_source(error))?;
        transaction
            .execute("DELETE FROM audit WHERE seq <= ?1", [last.cast_signed()])
            .and_then(|_| {
                transaction.execute(
                    "INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)",
                    params![ANCHOR, format!("{last} {}", hex(&hash))],
                )
            })
            .map_err(|error| failed(&error))?;
        transaction.commit().map_err(|error| failed(&error))?;
        Ok(Some(self.data().join(name)))
    }
}

/// The records that `filter` lets through, oldest first.
fn select(connection: &Connection, filter: &AuditFilter) -> Result<Vec<AuditRecord>> {
    let sql = "SELECT seq, at, plugin, record, hash FROM audit
         WHERE (?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR at >= ?3)
               AND seq > ?4 ORDER BY seq";
    let records = connection.prepare_cached(sql).and_then(|mut select| {
        let after = filter.after.unwrap_or(0).cast_signed();
        let rows = select.query_map(params![filter.plugin, filter.kind, filter.since, after], read)?;
        rows.map(|row| row.map(Row::record)).collect::<Result<Vec<_>, _>>()
    });
    records.map_err(|error| failed(&error))
}

impl AuditSink for Store {
    /// Written by the calling thread; for a process that makes a call or two and ends. Of many
    /// threads, [`AuditLog`] takes less.
    fn record(&self, plugin: &Identity, events: &[AuditEvent]) -> Result<()> {
        // A call's record has to outlive this process, and not the machine.
        self.transact_for(Durable::Process, |transaction| {
            events.iter().try_for_each(|event| append(transaction, &plugin.name, Some(plugin.digest), event))
        })
    }
}

/// Whether a file of this name holds records that were rotated out.
fn is_rotated(name: &str) -> bool {
    name.starts_with(ROTATED) && name.ends_with(".jsonl")
}

fn broken(seq: u64, reason: &str) -> Error {
    Error::new(ErrorKind::AuditBroken { seq, reason: reason.to_owned() })
}

/// A chain that is followed.
struct Chain<'a> {
    known: Option<&'a AuditHead>,
    /// Whether the known record was there.
    seen: bool,
    seq: u64,
    previous: [u8; 32],
}

impl Chain<'_> {
    fn follow(&mut self, row: &Row) -> Result<()> {
        self.seq += 1;
        if row.seq != self.seq {
            return Err(broken(self.seq, "it is missing"));
        }
        let expected = chained(&self.previous, self.seq, row.at, row.plugin.as_deref(), &row.text);
        if row.hash != expected {
            return Err(broken(self.seq, "it is not what was written"));
        }
        if let Some(known) = self.known.filter(|known| known.seq == self.seq) {
            if known.hash != hex(&expected) {
                return Err(broken(self.seq, "its hash is not the one that is known"));
            }
            self.seen = true;
        }
        self.previous = expected;
        Ok(())
    }
}

/// A record in a file that was rotated out. The record is kept as the text that its hash is
/// over.
#[derive(Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: i64,
    plugin: Option<String>,
    record: String,
    /// 64 hex digits.
    hash: String,
}

impl Line {
    fn of(row: Row) -> Self {
        Line { seq: row.seq, at: row.at, plugin: row.plugin, record: row.text, hash: hex(&row.hash) }
    }

    fn row(self) -> Row {
        // Hex that is none is no hash of anything.
        let hash = self.hash.parse::<Digest>().map_or([0xff; 32], |digest| *digest.as_bytes());
        Row { seq: self.seq, at: self.at, plugin: self.plugin, text: self.record, hash }
    }
}

/// A row as it is.
struct Row {
    seq: u64,
    at: i64,
    plugin: Option<String>,
    text: String,
    hash: [u8; 32],
}

impl Row {
    fn record(self) -> AuditRecord {
        let event = match serde_json::from_str(&self.text) {
            Ok(Value::Object(event)) => event,
            // Not what was written; verifying says so.
            _ => Map::from_iter([("unreadable".to_owned(), Value::String(self.text))]),
        };
        AuditRecord { seq: self.seq, at: self.at, plugin: self.plugin, event, hash: hex(&self.hash) }
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    // A hash of another length is none that was written.
    let hash = row.get::<_, Vec<u8>>(4)?.try_into().unwrap_or([0xff; 32]);
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    Ok(Row { seq, at: row.get(1)?, plugin: row.get(2)?, text: row.get(3)?, hash })
}

/// Appends a record within a transaction.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    plugin: &str,
    digest: Option<Digest>,
    event: &AuditEvent,
) -> Result<()> {
    let mut record = match serde_json::to_value(event) {
        Ok(Value::Object(record)) => record,
        Ok(_) => Map::new(),
        Err(error) => return Err(Error::host("an event cannot be written").with_source(error)),
    };
    if let Some(digest) = digest {
        record.insert("digest".to_owned(), Value::String(digest.to_string()));
    }
    let text = Value::Object(record).to_string();
    let at = now();
    let (last, previous) = head(transaction).map_err(|error| failed(&error))?;
    let seq = last + 1;
    let hash = chained(&previous, seq, at, Some(plugin), &text);
    transaction
        .prepare_cached(
            "INSERT INTO audit (seq, at, plugin, kind, record, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![seq.cast_signed(), at, plugin, event.kind(), text, hash.as_slice()])
        })
        .map(|_| ())
        .map_err(|error| failed(&error))
}

/// The last record's number and hash; the anchor's when there is none.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<(u64, [u8; 32])> {
    let last = connection
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    match last {
        Some((seq, hash)) => Ok((seq.cast_unsigned(), hash.try_into().unwrap_or([0xff; 32]))),
        None => anchor(connection),
    }
}

/// The number and hash of the last record that was rotated out.
fn anchor(connection: &Connection) -> rusqlite::Result<(u64, [u8; 32])> {
    let value = connection
        .prepare_cached("SELECT value FROM setting WHERE name = ?1")?
        .query_row([ANCHOR], |row| row.get::<_, String>(0))
        .optional()?;
    let read = |value: &str| {
        let (seq, hash) = value.split_once(' ')?;
        Some((seq.parse().ok()?, *hash.parse::<Digest>().ok()?.as_bytes()))
    };
    // An anchor that cannot be read is one that nothing follows from.
    Ok(value.map_or((0, GENESIS), |value| read(&value).unwrap_or((0, [0xff; 32]))))
}

/// BLAKE3 over the hash before, and each field with its length before it.
fn chained(previous: &[u8; 32], seq: u64, at: i64, plugin: Option<&str>, record: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("airlock audit record 1");
    hasher.update(previous).update(&seq.to_le_bytes()).update(&at.to_le_bytes());
    for field in [plugin.unwrap_or_default(), record] {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
