//! What is to be sent.

use std::sync::mpsc;

use airlock_email::{Looked, Mailbox, OutboxEntry};
use airlock_host::{Delivery, Error, visible};
use serde_json::{Value, json};

use super::super::Session;
use crate::flags::OutboxTask;
use crate::mail::Opened;
use crate::printer::Printer;

pub(super) fn run(session: &Session, task: &OutboxTask) -> Result<u8, Error> {
    let service = &session.mail()?.service;
    match task {
        OutboxTask::List { account } => {
            let mailbox = service.mailbox();
            let account = super::account(mailbox, account)?;
            list(session, &service.outbox(&account)?)
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
        OutboxTask::Run => run_on(session, session.mail()?),
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

/// Sends what is due, whenever it is, until somebody ends it.
fn run_on(session: &Session, opened: &Opened) -> Result<u8, Error> {
    let service = &opened.service;
    if let Some(account) = service.mailbox().accounts()?.first() {
        // Has what secrets are under opened: no message is tried without, and nobody is asked later on.
        opened.credentials.client_secret(account)?;
    }
    let (end, ended) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Whoever asks twice is already being served.
        let _ = end.send(());
    })
    .map_err(|error| Error::host("cannot be told to end").with_source(error))?;
    let (printer, mailbox) = (session.printer, service.mailbox().clone());
    let worker = service.start_outbox(move |delivery| {
        if let Err(error) = tell(printer, &mailbox, delivery) {
            tracing::warn!(%error, outbox = delivery.outbox_id, "what became of a message cannot be told");
        }
    })?;
    session.printer.note("sending what is due; Ctrl-C ends it");
    // Nobody is left to end it where this fails.
    let _ = ended.recv();
    drop(worker);
    Ok(0)
}

/// Tells what became of a message.
fn tell(printer: Printer, mailbox: &Mailbox, delivery: &Delivery) -> Result<(), Error> {
    let of = |entry: &OutboxEntry| entry.delivery.outbox_id == delivery.outbox_id;
    let mut found = None;
    for account in mailbox.accounts()? {
        found = found.or(mailbox.outbox(account.id)?.into_iter().find(of));
    }
    // Whose account was removed in the meantime.
    let Some(entry) = found else { return Ok(()) };
    let entry = OutboxEntry { delivery: delivery.clone(), ..entry };
    if printer.json {
        return match described(&entry) {
            Value::Object(fields) => printer.object(delivery.status == "sent", fields),
            _ => Ok(()),
        };
    }
    let said = match &entry.last_error {
        Some(error) if delivery.status != "sent" => format!(": {error}"),
        _ => String::new(),
    };
    let line = format!("{} to {}: {}{said}", delivery.outbox_id, entry.to, status(delivery));
    printer.line(&visible(&line, false))
}

/// What is known of a message, as its JSON.
fn described(entry: &OutboxEntry) -> Value {
    json!({
        "account_id": entry.account_id,
        "to": entry.to,
        "subject": entry.subject,
        "last_error": entry.last_error,
        "plugin": entry.plugin,
        "delivery": entry.delivery,
    })
}

fn status(delivery: &Delivery) -> String {
    match delivery.held {
        Some(held) => format!("{} ({held})", delivery.status),
        None => delivery.status.to_owned(),
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
        let entries = entries.iter().map(described);
        return session.object(true, json!({ "outbox": entries.collect::<Vec<_>>() }));
    }
    if entries.is_empty() {
        session.printer.note("nothing is to be sent, and nothing was");
        return Ok(0);
    }
    let row = |entry: &OutboxEntry| {
        let (delivery, status) = (&entry.delivery, status(&entry.delivery));
        let by = entry.plugin.clone().unwrap_or_default();
        let error = entry.last_error.clone().unwrap_or_default();
        [delivery.outbox_id.to_string(), status, entry.to.clone(), entry.subject.clone(), by, error]
    };
    session.printer.table(entries.iter().map(row))?;
    Ok(0)
}
