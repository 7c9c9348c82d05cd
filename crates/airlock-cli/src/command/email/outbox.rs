//! What is to be sent.

use airlock_email::OutboxEntry;
use airlock_host::Error;
use serde_json::json;

use super::super::Session;
use crate::flags::OutboxTask;

pub(super) fn run(session: &Session, task: &OutboxTask) -> Result<u8, Error> {
    let mailbox = super::mailbox(session)?;
    match task {
        OutboxTask::List { account } => {
            let account = super::account(&mailbox, account)?;
            list(session, &mailbox.outbox(account.id)?)
        }
        OutboxTask::Send => {
            let tried = mailbox.deliver_due(&*session.mail()?.credentials, &session.mail()?.connector)?;
            let failed = tried.iter().filter(|delivery| delivery.status != "sent").count();
            if session.printer.json {
                return session.object(failed == 0, json!({ "tried": tried }));
            }
            let sent = tried.len() - failed;
            session.printer.note(&format!("sent {sent} of {} that were due", tried.len()));
            Ok(u8::from(failed > 0))
        }
        OutboxTask::Retry { id } => {
            mailbox.retry(*id)?;
            session.printer.note(&format!("{id} is due again; `airlock email outbox send` sends it"));
            session.done()
        }
        OutboxTask::Cancel { id } => {
            mailbox.cancel(*id)?;
            session.printer.note(&format!("{id} is not sent any more"));
            session.done()
        }
        OutboxTask::Arrived { id } => {
            mailbox.arrived(*id)?;
            session.printer.note(&format!("{id} is taken for sent"));
            session.done()
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
