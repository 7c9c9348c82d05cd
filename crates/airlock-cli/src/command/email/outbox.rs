//! What is to be sent.

use airlock_email::{Looked, OutboxEntry};
use airlock_host::{Error, visible};
use serde_json::json;

use super::super::Session;
use crate::flags::OutboxTask;

pub(super) fn run(session: &Session, task: &OutboxTask) -> Result<u8, Error> {
    let service = &session.mail()?.service;
    match task {
        OutboxTask::List { account } => {
            let mailbox = service.mailbox();
            let account = super::account(mailbox, account)?;
            list(session, &mailbox.outbox(account.id)?)
        }
        OutboxTask::Send => {
            let (tried, arrived) = service.send_due()?;
            let arrived: Vec<i64> = arrived.iter().map(|delivery| delivery.outbox_id).collect();
            let failed = tried.iter().filter(|delivery| delivery.status != "sent").count();
            if session.printer.json {
                return session.object(failed == 0, json!({ "tried": tried, "arrived": arrived }));
            }
            for id in &arrived {
                session.printer.note(&format!("{id} was uncertain, and has arrived"));
            }
            let sent = tried.len() - failed;
            session.printer.note(&format!("sent {sent} of {} that were due", tried.len()));
            Ok(u8::from(failed > 0))
        }
        OutboxTask::Retry { id } => {
            service.retry(*id)?;
            session.printer.note(&format!("{id} is due again; `airlock email outbox send` sends it"));
            session.done()
        }
        OutboxTask::Cancel { id } => {
            service.cancel(*id)?;
            session.printer.note(&format!("{id} is not sent any more"));
            session.done()
        }
        OutboxTask::Check { id } => check(session, *id),
        OutboxTask::Arrived { id } => {
            service.arrived(*id)?;
            session.printer.note(&format!("{id} is taken for sent"));
            session.done()
        }
    }
}

fn check(session: &Session, id: i64) -> Result<u8, Error> {
    let looked = session.mail()?.service.check(id)?;
    if session.printer.json {
        let (found, missing) = match looked {
            Looked::Found(folder) => (Some(folder), Vec::new()),
            Looked::Missing(folders) => (None, folders),
        };
        let is_there = found.is_some();
        return session.object(is_there, json!({ "id": id, "found": found, "missing": missing }));
    }
    let named = |folder: &String| format!("`{}`", visible(folder, false));
    match &looked {
        Looked::Found(folder) => {
            session.printer.note(&format!("{id} was sent: it is in {}", named(folder)));
            Ok(0)
        }
        Looked::Missing(folders) if folders.is_empty() => {
            session.printer.note(&format!("there is no folder of sent messages to look for {id}"));
            Ok(1)
        }
        Looked::Missing(folders) => {
            let folders = folders.iter().map(named).collect::<Vec<_>>().join(", ");
            session.printer.note(&format!("{id} is not in {folders}"));
            Ok(1)
        }
    }
}

fn list(session: &Session, entries: &[OutboxEntry]) -> Result<u8, Error> {
    if session.printer.json {
        let entries = entries.iter().map(|entry| {
            json!({
                "account_id": entry.account_id,
                "to": entry.to,
                "subject": entry.subject,
                "last_error": entry.last_error,
                "plugin": entry.plugin,
                "delivery": entry.delivery,
            })
        });
        return session.object(true, json!({ "outbox": entries.collect::<Vec<_>>() }));
    }
    if entries.is_empty() {
        session.printer.note("nothing is to be sent, and nothing was");
        return Ok(0);
    }
    let row = |entry: &OutboxEntry| {
        let delivery = &entry.delivery;
        let status = match delivery.held {
            Some(held) => format!("{} ({held})", delivery.status),
            None => delivery.status.to_owned(),
        };
        let by = entry.plugin.clone().unwrap_or_default();
        let error = entry.last_error.clone().unwrap_or_default();
        [delivery.outbox_id.to_string(), status, entry.to.clone(), entry.subject.clone(), by, error]
    };
    session.printer.table(entries.iter().map(row))?;
    Ok(0)
}
