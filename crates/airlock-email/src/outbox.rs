//! What is to be sent: kept first, then sent, neither lost nor sent twice.
//!
//! A row is `pending` or `failed` until it is due, `sending` while one process has claimed it,
//! and then `sent` or `failed`. It is written down before the end of the content goes to the server,
//! and again when the server has answered; where a process ends between the two, nobody knows
//! whether the server took the message, and it is held as `uncertain` for a person, or who
//! finds its Message-ID in a folder ([`Mailbox::look_due`]), to decide. Whether the process that claimed a row is still
//! there is asked of a lock that the system takes from it when it ends, however it does.

use airlock_core::{Delivery, MailCode, MailError, Need, Replied, ReplyMail, SendMail, Sent};
use lettre::address::Envelope;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::compose::{Composed, Draft};
use crate::db::{self, failed, now};
use crate::rules::HOUR;
use crate::service::Caller;
use crate::{Account, Connector, Credentials, Feature, Mailbox};

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Whose it is.
    pub account_id: i64,
    /// To whom, of `bcc` too.
    pub to: String,
    /// About what.
    pub subject: String,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// Which plugin sends it; none where its user does.
    pub plugin: Option<String>,
    /// What became of it so far.
    pub delivery: Delivery,
}

/// A message that is kept to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) account_id: i64,
    pub(crate) outbox_id: i64,
}

impl Queued {
    /// The answer about one that was to be sent.
    pub(crate) fn sent(self, request: &SendMail, delivery: Delivery) -> Sent {
        let (to, subject) = (request.to.join(", "), request.subject.clone());
        Sent { account_id: self.account_id, to, subject, delivery }
    }

    /// The same about an answer.
    pub(crate) fn replied(self, request: &ReplyMail, delivery: Delivery) -> Replied {
        Replied { account_id: self.account_id, message_id: request.message_id.clone(), delivery }
    }
}

impl Mailbox {
    /// Sends a message: keeps it, and tries once. What fails for a time is tried again by
    /// [`Mailbox::deliver_due`].
    ///
    /// # Errors
    /// Before it is kept, [`MailCode::Validation`] and [`MailCode::FeatureDisabled`]. Afterwards
    /// errors say what became of it ([`MailError::delivery`]).
    pub fn send(
        &self,
        request: &SendMail,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Sent, MailError> {
        let queued = self.queue(request, &Caller::Owner)?;
        let delivery = self.attempt(queued.outbox_id, credentials, connector)?;
        self.save_sent(queued.outbox_id, credentials, connector);
        Ok(queued.sent(request, delivery))
    }

    /// Answers a message that is kept, as [`Mailbox::send`] sends.
    ///
    /// # Errors
    /// As [`Mailbox::send`].
    pub fn reply(
        &self,
        request: &ReplyMail,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Replied, MailError> {
        let queued = self.queue_reply(request, &Caller::Owner)?;
        let delivery = self.attempt(queued.outbox_id, credentials, connector)?;
        self.save_sent(queued.outbox_id, credentials, connector);
        Ok(queued.replied(request, delivery))
    }

    /// Keeps a message that is to be sent.
    pub(crate) fn queue(&self, request: &SendMail, caller: &Caller<'_>) -> Result<Queued, MailError> {
        let account = self.account_for(request.account_id, caller)?;
        self.require(account.id, Feature::EmailSend)?;
        self.enqueue(&account, &Draft::of(request), caller)
    }

    /// Keeps an answer that is to be sent.
    pub(crate) fn queue_reply(&self, request: &ReplyMail, caller: &Caller<'_>) -> Result<Queued, MailError> {
        let account = self.account_for(request.account_id, caller)?;
        self.require(account.id, Feature::EmailReply)?;
        let draft = self.answer(&account, request)?;
        self.enqueue(&account, &draft, caller)
    }

    /// The rows of an account, the newest first.
    pub fn outbox(&self, account: i64) -> Result<Vec<OutboxEntry>, MailError> {
        let connection = self.connection();
        let sql = format!("{ENTRIES} WHERE account_id = ?1 ORDER BY outbox.id DESC");
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let entries = statement.query_map([account], entry).map_err(failed)?;
        entries.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Has what failed tried again as if it were new, held or not; a person decides so for what
    /// is uncertain.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what did not fail; [`MailCode::FeatureDisabled`].
    pub fn retry(&self, id: i64) -> Result<(), MailError> {
        self.require(self.entry(id)?.account_id, Feature::OutboxRetry)?;
        let sql = "UPDATE outbox SET status = 'pending', held = NULL, look_at = NULL, next_attempt_at = ?2,
                   updated_at = ?2 WHERE id = ?1 AND status = 'failed'";
        self.change(id, sql)
    }

    /// Has what is not sent yet never be sent.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what is sent, or being sent.
    pub fn cancel(&self, id: i64) -> Result<(), MailError> {
        let sql = "UPDATE outbox SET status = 'failed', held = 'cancelled', look_at = NULL, updated_at = ?2,
                   next_attempt_at = 9223372036854775807
                   WHERE id = ?1 AND status IN ('pending', 'failed')";
        self.change(id, sql)
    }

    /// Says of what is uncertain that the server did take it: its Message-ID was found.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what is not uncertain.
    pub fn arrived(&self, id: i64) -> Result<(), MailError> {
        let sql = "UPDATE outbox SET status = 'sent', held = NULL, look_at = NULL, updated_at = ?2
                   WHERE id = ?1 AND held = 'uncertain'";
        self.change(id, sql)
    }

    fn change(&self, id: i64, sql: &str) -> Result<(), MailError> {
        let changed = self.connection().execute(sql, params![id, now()]).map_err(failed)?;
        if changed == 0 {
            self.entry(id)?;
            return Err(MailError::invalid("retry_not_allowed_for_status"));
        }
        Ok(())
    }

    pub(crate) fn entry(&self, id: i64) -> Result<OutboxEntry, MailError> {
        let connection = self.connection();
        let sql = format!("{ENTRIES} WHERE outbox.id = ?1");
        let found = connection.query_row(&sql, [id], entry).optional().map_err(failed)?;
        found.ok_or_else(|| MailError::invalid("outbox record not found"))
    }

    /// Keeps a message that is to be sent, where its caller may send it.
    fn enqueue(
        &self,
        account: &Account,
        draft: &Draft<'_>,
        caller: &Caller<'_>,
    ) -> Result<Queued, MailError> {
        if account.smtp.is_none() {
            return Err(MailError::invalid("smtp config missing"));
        }
        let composed = self.compose(account, draft)?;
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        if let Caller::Plugin(permit, rules) = caller {
            let sent = sent_by_plugins(&transaction, account.id).map_err(failed)?;
            rules.check(composed.envelope.to()).and_then(|()| rules.check_count(sent)).inspect_err(|_| {
                // It has a grant for it, and may not all the same.
                permit.refuse(Need::Name(permit.kind(), &account.name));
            })?;
            permit.check()?;
        }
        let keep = || -> rusqlite::Result<i64> {
            let sql = "INSERT INTO outbox (account_id, to_recipients, subject, body_text,
                       in_reply_to_message_id, status, next_attempt_at, created_at, updated_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?6, ?6)";
            let to = draft.to.iter().chain(&draft.cc).chain(&draft.bcc).cloned().collect::<Vec<_>>();
            let (to, reply) = (to.join(", "), &draft.in_reply_to);
            transaction
                .execute(sql, params![account.id, to, draft.subject, draft.body_text, reply, now()])?;
            let id = transaction.last_insert_rowid();
            write(&transaction, id, &composed, caller.plugin())?;
            Ok(id)
        };
        let outbox_id = keep().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Queued { account_id: account.id, outbox_id })
    }

    /// The message as it was written.
    pub(crate) fn written(&self, id: i64) -> Result<Option<Composed>, MailError> {
        let sql = "SELECT message_id, sender, recipients, raw FROM outbox_mail WHERE outbox_id = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get(3)?))
        };
        let found = self.connection().query_row(sql, [id], read).optional().map_err(failed)?;
        let Some((message_id, sender, recipients, raw)) = found else { return Ok(None) };
        let envelope = || {
            let recipients: Vec<String> = serde_json::from_str(&recipients).ok()?;
            let recipients = recipients.iter().map(|to| to.parse().ok()).collect::<Option<Vec<_>>>()?;
            Envelope::new(Some(sender.parse().ok()?), recipients).ok()
        };
        let broken = || MailError::new(MailCode::Storage, "a message of the outbox has no addresses");
        Ok(Some(Composed { message_id, envelope: envelope().ok_or_else(broken)?, raw }))
    }

    /// What a row of PRX-Email's is made of.
    pub(crate) fn draft(&self, id: i64) -> Result<Draft<'static>, MailError> {
        let sql =
            "SELECT to_recipients, subject, body_text, in_reply_to_message_id FROM outbox WHERE id = ?1";
        let connection = self.connection();
        let read = |row: &rusqlite::Row<'_>| {
            let reply: Option<String> = row.get(3)?;
            let reply = reply.map(|id| format!("<{}>", id.trim_matches(['<', '>'])));
            Ok(Draft {
                to: vec![row.get(0)?],
                subject: row.get(1)?,
                body_text: row.get::<_, String>(2)?.into(),
                references: reply.clone(),
                in_reply_to: reply,
                ..Draft::default()
            })
        };
        connection.query_row(sql, [id], read).map_err(failed)
    }
}

/// How many messages plugins had sent from an account in the last hour.
fn sent_by_plugins(connection: &Connection, account: i64) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM outbox JOIN outbox_mail ON outbox_id = id
               WHERE account_id = ?1 AND plugin IS NOT NULL AND created_at > ?2";
    connection.prepare_cached(sql)?.query_row(params![account, now() - HOUR], |row| row.get(0))
}

pub(crate) fn write(
    connection: &Connection,
    id: i64,
    composed: &Composed,
    plugin: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO outbox_mail (outbox_id, message_id, sender, recipients, raw, plugin)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let to: Vec<String> = composed.envelope.to().iter().map(ToString::to_string).collect();
    let from = composed.envelope.from().map(ToString::to_string).unwrap_or_default();
    let to = serde_json::json!(to).to_string();
    connection.execute(sql, params![id, composed.message_id, from, to, composed.raw, plugin]).map(drop)
}

const ENTRIES: &str = "SELECT account_id, to_recipients, subject, last_error, id, status, held, retries,
    provider_message_id, message_id, next_attempt_at, plugin
    FROM outbox LEFT JOIN outbox_mail ON outbox_id = outbox.id";

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let status: String = row.get(5)?;
    let held: Option<String> = row.get(6)?;
    Ok(OutboxEntry {
        account_id: row.get(0)?,
        to: row.get(1)?,
        subject: row.get(2)?,
        last_error: row.get(3)?,
        plugin: row.get(11)?,
        delivery: Delivery {
            outbox_id: row.get(4)?,
            status: match status.as_str() {
                "sending" => "sending",
                "sent" => "sent",
                "failed" => "failed",
                _ => "pending",
            },
            held: match held.as_deref() {
                Some("dead") => Some("dead"),
                Some("cancelled") => Some("cancelled"),
                Some(_) => Some("uncertain"),
                None => None,
            },
            retries: row.get(7)?,
            provider_message_id: row.get(8)?,
            message_id: row.get(9)?,
            next_attempt_at: row.get(10)?,
        },
    })
}
