//! `airlock cache`: what is kept of compiled plugins.

use airlock_host::{Cache, Error, ErrorKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Session;
use crate::flags::CacheTask;

pub(super) fn run(session: &Session, task: &CacheTask) -> Result<u8, Error> {
    let Some(settings) = session.config.cache() else {
        let reason = "it is switched off, or there is no folder for it".to_owned();
        return Err(Error::new(ErrorKind::InvalidSetting { name: "cache".to_owned(), reason })
            .with_hint("`AIRLOCK_HOME` or `HOME` says where it belongs; `cache.enabled` switches it"));
    };
    let cache = Cache::open(settings)?;
    match task {
        CacheTask::List => list(session, &cache),
        CacheTask::Clear => clear(session, &cache),
        CacheTask::Verify => verify(session, &cache),
    }
}

fn list(session: &Session, cache: &Cache) -> Result<u8, Error> {
    let entries = cache.entries()?;
    let used = |time| Timestamp::try_from(time).map(|time| time.strftime("%Y-%m-%d").to_string());
    if session.printer.json {
        let entries = entries.iter().map(|entry| {
            json!({
                "digest": entry.digest, "codes": entry.codes, "bytes": entry.bytes,
                "last_used": used(entry.last_used).ok(),
            })
        });
        return session
            .object(true, json!({ "folder": cache.folder(), "entries": Value::from_iter(entries) }));
    }
    for entry in &entries {
        session.printer.line(&format!(
            "{}  {:>10}  {}  sha256:{}",
            used(entry.last_used).unwrap_or_default(),
            size(entry.bytes),
            counted(entry.codes, "code"),
            entry.digest,
        ))?;
    }
    let total = entries.iter().map(|entry| entry.bytes).sum();
    let artifacts = counted(entries.len(), "artifact");
    session.printer.line(&format!("{artifacts}, {} in {}", size(total), cache.folder().display()))?;
    Ok(0)
}

fn clear(session: &Session, cache: &Cache) -> Result<u8, Error> {
    let (files, bytes) = cache.clear()?;
    if session.printer.json {
        return session.object(true, json!({ "files": files, "bytes": bytes }));
    }
    session.printer.line(&format!("removed {}, {}", counted(files, "file"), size(bytes)))?;
    Ok(0)
}

fn verify(session: &Session, cache: &Cache) -> Result<u8, Error> {
    let verified = cache.verify()?;
    let well = verified.damaged.is_empty();
    if session.printer.json {
        let damaged =
            verified.damaged.iter().map(|damaged| json!({ "path": damaged.path, "reason": damaged.reason }));
        let fields = json!({
            "files": verified.files, "bytes": verified.bytes, "damaged": Value::from_iter(damaged),
        });
        session.object(well, fields)?;
    } else {
        for damaged in &verified.damaged {
            session.printer.warning(&format!("removed `{}`: {}", damaged.path.display(), damaged.reason));
        }
        let genuine = counted(verified.files, "file");
        session.printer.line(&format!("{genuine} genuine, {}", size(verified.bytes)))?;
    }
    Ok(u8::from(!well))
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
