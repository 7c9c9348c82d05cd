//! `airlock audit`: what happened.

use std::time::{Duration, SystemTime};

use airlock_host::{Error, ErrorKind, visible};
use airlock_store::{AuditFilter, AuditHead, AuditRecord};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Session;
use crate::flags::{Audit, AuditTask};

/// How often the log is looked at again.
const FOLLOW: Duration = Duration::from_millis(200);

pub(super) fn run(session: &Session, audit: &Audit) -> Result<u8, Error> {
    match &audit.task {
        Some(AuditTask::Verify { head }) => verify(session, head.as_deref()),
        Some(AuditTask::Head) => {
            let head = session.store()?.audit_head()?;
            match session.printer.json {
                true => session.object(true, json!({ "head": head })),
                false => session.printer.line(&format!("{}:{}", head.seq, head.hash)).map(|()| 0),
            }
        }
        None => show(session, audit),
    }
}

fn show(session: &Session, audit: &Audit) -> Result<u8, Error> {
    let since = audit.since.as_deref().map(read_time).transpose()?;
    let mut filter =
        AuditFilter { plugin: audit.plugin.clone(), kind: audit.kind.clone(), since, after: None };
    loop {
        for record in session.store()?.audit(&filter)? {
            filter.after = Some(record.seq);
            match session.printer.json {
                true => session.printer.line(&airlock_host::escape_json(&json!(record).to_string()))?,
                false => session.printer.line(&line(&record))?,
            }
        }
        if !audit.follow {
            return Ok(0);
        }
        std::thread::sleep(FOLLOW);
    }
}

/// A record as a line: when, what, who, and the rest as it is written.
fn line(record: &AuditRecord) -> String {
    let at = Timestamp::from_millisecond(record.at)
        .map_or_else(|_| record.at.to_string(), |at| at.strftime("%FT%T%.3fZ").to_string());
    let mut text = format!("{} {at} {}", record.seq, record.kind());
    if let Some(plugin) = &record.plugin {
        text.push_str(&format!(" {plugin}"));
    }
    for (name, value) in record.event.iter().filter(|(name, value)| *name != "kind" && !value.is_null()) {
        let shown = match (name.as_str(), value) {
            ("digest" | "from", Value::String(digest)) => digest.chars().take(12).collect(),
            ("usage", usage) => {
                let wall = usage["wall_ns"].as_f64().unwrap_or_default() / 1e6;
                text.push_str(&format!(" wall={wall:.3}ms"));
                continue;
            }
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        text.push_str(&format!(" {name}={shown}"));
    }
    visible(&text, false).into_owned()
}

fn verify(session: &Session, head: Option<&str>) -> Result<u8, Error> {
    let known = head.map(read_head).transpose()?;
    let verified = session.store()?.verify_audit(known.as_ref())?;
    if session.printer.json {
        return session.object(true, json!({ "verified": verified }));
    }
    let anchor = match verified.anchor {
        0 => String::new(),
        anchor => format!(", after {anchor} that were rotated out"),
    };
    session.printer.line(&format!("{} records follow from each other{anchor}", verified.records))?;
    Ok(0)
}

fn read_head(text: &str) -> Result<AuditHead, Error> {
    let read = text.split_once(':').and_then(|(seq, hash)| {
        let hash: airlock_host::Digest = hash.parse().ok()?;
        Some(AuditHead { seq: seq.parse().ok()?, hash: hash.to_string() })
    });
    read.ok_or_else(|| {
        let reason = format!("`{text}` is no `SEQ:HASH` as `airlock audit head` prints it");
        Error::new(ErrorKind::InvalidSetting { name: "--head".to_owned(), reason })
    })
}

/// A time, a date, or how long ago, in milliseconds since 1970.
fn read_time(text: &str) -> Result<i64, Error> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let then = SystemTime::now().checked_sub(ago).and_then(|then| Timestamp::try_from(then).ok());
        return Ok(then.map_or(0, Timestamp::as_millisecond));
    }
    let date = || format!("{text}T00:00:00Z").parse::<Timestamp>();
    text.parse::<Timestamp>().or_else(|_| date()).map(Timestamp::as_millisecond).map_err(|error| {
        let reason = format!("`{text}` is no time such as `2026-01-31T12:00:00Z`, `2026-01-31` or `1h`");
        Error::new(ErrorKind::InvalidSetting { name: "--since".to_owned(), reason }).with_source(error)
    })
}
