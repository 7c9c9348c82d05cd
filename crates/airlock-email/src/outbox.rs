//! What is to be sent: kept first, then sent, neither lost nor sent twice.
//!
//! A row is `pending` or `failed` until it is due, `sending` while one process has claimed it,
//! and then `sent` or `failed`. It is written down before the end of the content goes to the server,
//! and again when the server has answered; where a process ends between the two, nobody knows
//! whether the server took the message, and it is held as `uncertain` for a person, or who
//! finds its Message-ID in a folder ([`Mailbox::look_due`]), to decide. Whether the process that claimed a row is still
//! there is asked of a lock that the system takes from it when it ends, however it does.

use airlock_core::{Delivery, MailCode, MailError, Replied, ReplyMail, SendMail, Sent};
use airlock_files::{Folder, Lock};
use lettre::address::Envelope;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::compose::{Composed, Draft};
use crate::db::{self, failed, now};
use crate::service::{Caller, HOUR};
use crate::smtp::{Fate, Unsent};
use crate::{Account, Connector, Credentials, Feature, Mailbox, Protocol};

/// The folder of locks beside the database.
const LOCKS: &str = "outbox";

/// How many locks there are: a row's is by its number, and rows may share one.
const LOCK_COUNT: i64 = 256;

/// How often a message is tried before it is given up; more than a day with the waits between.
const ATTEMPTS: u32 = 24;

/// Seconds that are waited after a failure, doubled with each up to [`DOUBLED`] times (PRX's).
const WAIT: i64 = 5;
const DOUBLED: u32 = 10;

/// Seconds after which a row that PRX-Email left in `sending` is taken for abandoned (PRX's).
const ABANDONED: i64 = 900;

/// When a held row is due.
const NEVER: i64 = i64::MAX;

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

    /// Tries everything that is due, and takes up what processes left that are gone; what
    /// became of each.
    pub fn deliver_due(
        &self,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Vec<Delivery>, MailError> {
        self.take_up()?;
        let due: Vec<i64> = {
            let sql = "SELECT id FROM outbox WHERE status IN ('pending', 'failed') AND held IS NULL
                       AND next_attempt_at <= ?1 ORDER BY next_attempt_at, id";
            let connection = self.connection();
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let due = statement.query_map([now()], |row| row.get(0)).map_err(failed)?;
            due.collect::<rusqlite::Result<_>>().map_err(failed)?
        };
        let mut tried = Vec::with_capacity(due.len());
        for id in due {
            match self.attempt(id, credentials, connector) {
                Ok(delivery) => tried.push(delivery),
                Err(error) => match error.delivery() {
                    Some(delivery) => tried.push(delivery.clone()),
                    // Another process was faster, or it was cancelled.
                    None if error.code() == MailCode::Validation => {}
                    None => return Err(error),
                },
            }
        }
        Ok(tried)
    }

    /// When something is due next, to be sent or to be looked for, in Unix seconds.
    pub fn next_due(&self) -> Result<Option<i64>, MailError> {
        let sql = "SELECT min(at) FROM (
                     SELECT min(next_attempt_at) AS at FROM outbox
                     WHERE status IN ('pending', 'failed') AND held IS NULL
                     UNION ALL SELECT min(look_at) FROM outbox WHERE look_at IS NOT NULL)";
        self.connection().query_row(sql, [], |row| row.get(0)).map_err(failed)
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
            rules.check(composed.envelope.to())?;
            let sent = sent_by_plugins(&transaction, account.id).map_err(failed)?;
            rules.check_count(sent)?;
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

    /// Tries to send a row that is due; what became of it.
    pub(crate) fn attempt(
        &self,
        id: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Delivery, MailError> {
        let _lock = self.lock(id)?;
        let (account, composed) = self.claim(id)?;
        let sent = self.hand_over(id, &account, &composed, credentials, connector);
        match sent {
            Ok(said) => {
                let sql = "UPDATE outbox SET status = 'sent', provider_message_id = ?2, last_error = NULL,
                           claimed_at = NULL, look_at = ?4, updated_at = ?3
                           WHERE id = ?1 AND status = 'sending'";
                // Its copy is looked for where mail is fetched. No error has that the server took it forgotten.
                let saves = self.is_on(account.id, Feature::SaveSent).unwrap_or(true);
                let copied = account.imap.is_some() && saves;
                self.settle(sql, params![id, said, now(), copied.then(now)])?;
                Ok(self.entry(id)?.delivery)
            }
            Err(Unsent { fate, error }) => {
                self.fail(id, fate, error.message())?;
                Err(error.with_delivery(self.entry(id)?.delivery))
            }
        }
    }

    fn hand_over(
        &self,
        id: i64,
        account: &Account,
        composed: &Composed,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<String, Unsent> {
        let not_sent = |error| Unsent { fate: Fate::NotSent, error };
        let missing = || not_sent(MailError::invalid("smtp config missing"));
        let server = account.smtp.as_ref().ok_or_else(missing)?;
        let secret = match server.auth {
            crate::Auth::None => None,
            _ => Some(credentials.secret(account, Protocol::Smtp).map_err(not_sent)?),
        };
        connector.of(account).map_err(not_sent)?.send(server, secret.as_ref(), composed, || {
            let sql = "UPDATE outbox SET content_at = ?2 WHERE id = ?1 AND status = 'sending'";
            self.settle(sql, params![id, now()])
        })
    }

    /// Claims a row that is due, which nobody else can do at the same time.
    fn claim(&self, id: i64) -> Result<(Account, Composed), MailError> {
        let before = self.entry(id)?;
        let account = self.account(Some(before.account_id))?;
        // PRX-Email kept what a message is made of. It is written once, for all attempts.
        let written = match self.written(id)? {
            Some(_) => None,
            None => Some(self.compose(&account, &self.draft(id)?)?),
        };
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let sql = "UPDATE outbox SET status = 'sending', claimed_at = ?2, content_at = NULL, updated_at = ?2
                   WHERE id = ?1 AND held IS NULL AND status IN ('pending', 'failed')
                   AND next_attempt_at <= ?2";
        if transaction.execute(sql, params![id, now()]).map_err(failed)? == 0 {
            let Delivery { status, next_attempt_at, .. } = before.delivery;
            let reason = format!("outbox_not_claimable status={status} next_attempt_at={next_attempt_at}");
            return Err(MailError::invalid(&reason));
        }
        if let Some(composed) = written {
            write(&transaction, id, &composed, None).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        drop(connection);
        let lost = || MailError::new(MailCode::Storage, "a message of the outbox is not there");
        Ok((account, self.written(id)?.ok_or_else(lost)?))
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
    fn draft(&self, id: i64) -> Result<Draft<'static>, MailError> {
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

    fn fail(&self, id: i64, fate: Fate, reason: &str) -> Result<(), MailError> {
        let retries = self.entry(id)?.delivery.retries.saturating_add(1);
        let held = match fate {
            Fate::Uncertain => Some("uncertain"),
            Fate::Refused => Some("dead"),
            Fate::NotSent if retries >= ATTEMPTS => Some("dead"),
            Fate::NotSent => None,
        };
        let next = match held {
            Some(_) => NEVER,
            None => now() + (WAIT << retries.min(DOUBLED)),
        };
        let sql = "UPDATE outbox SET status = 'failed', held = ?2, retries = ?3, last_error = ?4,
                   next_attempt_at = ?5, claimed_at = NULL, updated_at = ?6,
                   look_at = CASE WHEN ?2 = 'uncertain' THEN ?6 END WHERE id = ?1 AND status = 'sending'";
        self.settle(sql, params![id, held, retries, reason, next, now()])
    }

    fn settle(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), MailError> {
        let changed = self.connection().execute(sql, values).map_err(failed)?;
        match changed {
            0 => Err(MailError::new(MailCode::Storage, "outbox_state_changed_before_finalize")),
            _ => Ok(()),
        }
    }

    /// Takes up rows whose process is gone.
    fn take_up(&self) -> Result<(), MailError> {
        let left: Vec<(i64, bool)> = {
            let connection = self.connection();
            let sql = "SELECT id, claimed_at IS NOT NULL FROM outbox WHERE status = 'sending'
                       AND (claimed_at IS NOT NULL OR updated_at <= ?1)";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let left = statement.query_map([now() - ABANDONED], |row| Ok((row.get(0)?, row.get(1)?)));
            left.and_then(Iterator::collect).map_err(failed)?
        };
        for (id, is_own) in left {
            let Some(_lock) = self.try_lock(id)? else { continue };
            // Of PRX-Email's nobody knows how far it came.
            let sql = match is_own {
                true => {
                    "UPDATE outbox SET claimed_at = NULL, updated_at = ?2,
                     status = CASE WHEN content_at IS NULL THEN 'pending' ELSE 'failed' END,
                     held = CASE WHEN content_at IS NULL THEN NULL ELSE 'uncertain' END,
                     look_at = CASE WHEN content_at IS NULL THEN NULL ELSE ?2 END,
                     last_error = CASE WHEN content_at IS NULL THEN last_error ELSE ?3 END,
                     next_attempt_at = CASE WHEN content_at IS NULL THEN ?2 ELSE ?4 END
                     WHERE id = ?1 AND status = 'sending' AND claimed_at IS NOT NULL"
                }
                false => {
                    "UPDATE outbox SET status = 'failed', held = 'uncertain', last_error = ?3,
                     next_attempt_at = ?4, updated_at = ?2
                     WHERE id = ?1 AND status = 'sending' AND claimed_at IS NULL"
                }
            };
            let reason = "the process that sent it ended before the server's answer was kept";
            self.connection().execute(sql, params![id, now(), reason, NEVER]).map_err(failed)?;
        }
        Ok(())
    }

    fn lock(&self, id: i64) -> Result<Lock, MailError> {
        self.locks().and_then(|folder| folder.lock(&lock_name(id))).map_err(|error| unlockable(&error))
    }

    pub(crate) fn try_lock(&self, id: i64) -> Result<Option<Lock>, MailError> {
        self.locks().and_then(|folder| folder.try_lock(&lock_name(id))).map_err(|error| unlockable(&error))
    }

    fn locks(&self) -> std::io::Result<Folder> {
        self.folder()?.make_folder(LOCKS)
    }
}

fn lock_name(id: i64) -> String {
    format!("{}.lock", id.rem_euclid(LOCK_COUNT))
}

fn unlockable(error: &std::io::Error) -> MailError {
    MailError::new(MailCode::Storage, &format!("the outbox cannot be locked: {error}"))
}

/// How many messages plugins had sent from an account in the last hour.
fn sent_by_plugins(connection: &Connection, account: i64) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM outbox JOIN outbox_mail ON outbox_id = id
               WHERE account_id = ?1 AND plugin IS NOT NULL AND created_at > ?2";
    connection.prepare_cached(sql)?.query_row(params![account, now() - HOUR], |row| row.get(0))
}

fn write(
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
