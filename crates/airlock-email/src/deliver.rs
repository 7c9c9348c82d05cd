//! Sending what is due: each row by one process at a time, accounts side by side.
//!
//! One account's server may let everybody wait for a quarter of an hour, so no account waits for
//! another. Rows of one account go one after the other, in the order in which they are due; what is
//! wrong with one of them is no reason not to send the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use airlock_core::{Delivery, MailCode, MailError, Secret};
use airlock_files::{Folder, Lock};
use rusqlite::{OptionalExtension as _, params};

use crate::compose::Composed;
use crate::db::{failed, now};
use crate::outbox::write;
use crate::smtp::{Fate, Unsent};
use crate::{Account, Auth, Connector, Credentials, Feature, Mailbox, Protocol, Server, Stop};

/// The folder of locks beside the database.
const LOCKS: &str = "outbox";

/// How many locks there are: a row's is by its number, and rows may share one.
const LOCK_COUNT: i64 = 256;

/// Accounts whose servers are spoken to at once.
pub(crate) const AT_ONCE: usize = 8;

/// How often a message is tried before it is given up; more than a day with the waits between.
const ATTEMPTS: u32 = 24;

/// Seconds that are waited after a failure, doubled with each up to [`DOUBLED`] times (PRX's).
const WAIT: i64 = 5;
const DOUBLED: u32 = 10;

/// Seconds that are waited where no server could be asked.
const UNASKED: i64 = 60;

/// Seconds after which a row that PRX-Email left in `sending` is taken for abandoned (PRX's).
const ABANDONED: i64 = 900;

/// When a held row is due.
const NEVER: i64 = i64::MAX;

impl Mailbox {
    /// Tries everything that is due, and takes up what processes left that are gone; what
    /// became of each. Several accounts are sent from at once.
    ///
    /// # Errors
    /// [`MailCode::Storage`], once all the others are tried: of the first row that could not be.
    pub fn deliver_due(
        &self,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Vec<Delivery>, MailError> {
        self.take_up()?;
        let (dues, now) = (self.dues()?, now());
        let accounts: Vec<i64> = dues.into_iter().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        let of = |account: &i64| self.deliver_of(*account, credentials, connector, &Stop::new());
        let (mut tried, mut first) = (Vec::new(), None);
        for (delivered, error) in side_by_side(&accounts, AT_ONCE, of) {
            tried.extend(delivered);
            first = first.or(error);
        }
        first.map_or(Ok(tried), Err)
    }

    /// The same for one account, until it is stopped; and why a row could not be dealt with.
    pub(crate) fn deliver_of(
        &self,
        account: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> (Vec<Delivery>, Option<MailError>) {
        let due = || -> rusqlite::Result<Vec<i64>> {
            let sql = "SELECT id FROM outbox WHERE status IN ('pending', 'failed') AND held IS NULL
                       AND next_attempt_at <= ?1 AND account_id = ?2 ORDER BY next_attempt_at, id";
            let connection = self.connection();
            let mut statement = connection.prepare_cached(sql)?;
            let due = statement.query_map([now(), account], |row| row.get(0))?;
            due.collect()
        };
        let due = match due() {
            Ok(due) => due,
            Err(error) => return (Vec::new(), Some(failed(error))),
        };
        let (mut tried, mut first) = (Vec::with_capacity(due.len()), None);
        for id in due {
            if stop.is_stopped() {
                break;
            }
            let attempted = self.try_lock(id).and_then(|lock| {
                // Another process sends it.
                let Some(_lock) = lock else { return Ok(None) };
                self.attempt_locked(id, credentials, connector, stop).map(Some)
            });
            match attempted {
                Ok(delivery) => tried.extend(delivery),
                Err(error) => match error.delivery() {
                    Some(delivery) => tried.push(delivery.clone()),
                    // Another process was faster, or it was cancelled.
                    None if error.code() == MailCode::Validation => {}
                    None => {
                        tracing::warn!(%error, outbox = id, "a message of the outbox cannot be sent");
                        first = first.or(Some(error));
                    }
                },
            }
        }
        (tried, first)
    }

    /// When something is due next, to be sent or to be looked for, in Unix seconds.
    pub fn next_due(&self) -> Result<Option<i64>, MailError> {
        Ok(self.dues()?.into_values().min())
    }

    /// The same for each account that has something.
    pub(crate) fn dues(&self) -> Result<BTreeMap<i64, i64>, MailError> {
        let sql = "SELECT account_id, min(at) FROM (
                     SELECT account_id, next_attempt_at AS at FROM outbox
                     WHERE status IN ('pending', 'failed') AND held IS NULL
                     UNION ALL SELECT account_id, look_at FROM outbox WHERE look_at IS NOT NULL)
                   GROUP BY account_id";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let dues = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        dues.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Tries to send a row that is due; what became of it.
    pub(crate) fn attempt(
        &self,
        id: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Delivery, MailError> {
        let _lock = self.lock(id)?;
        self.attempt_locked(id, credentials, connector, &Stop::new())
    }

    fn attempt_locked(
        &self,
        id: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Delivery, MailError> {
        let account = self.claim(id)?;
        let sent = self.ready(id, account).and_then(|(account, composed)| {
            let said = self.hand_over(id, &account, &composed, credentials, connector, stop)?;
            Ok((account, said))
        });
        match sent {
            Ok((account, said)) => {
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
                self.fail(id, fate, &error)?;
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
        stop: &Stop,
    ) -> Result<String, Unsent> {
        with_smtp(account, credentials, connector, |connector, server, secret| {
            connector.send(server, secret, composed, stop, || {
                let sql = "UPDATE outbox SET content_at = ?2 WHERE id = ?1 AND status = 'sending'";
                self.settle(sql, params![id, now()])
            })
        })
    }

    /// Claims a row that is due, which nobody else can do at the same time; whose it is.
    fn claim(&self, id: i64) -> Result<i64, MailError> {
        let sql = "UPDATE outbox SET status = 'sending', claimed_at = ?2, content_at = NULL, updated_at = ?2
                   WHERE id = ?1 AND held IS NULL AND status IN ('pending', 'failed')
                   AND next_attempt_at <= ?2 RETURNING account_id";
        let claimed = self.connection().query_row(sql, params![id, now()], |row| row.get(0)).optional();
        match claimed.map_err(failed)? {
            Some(account) => Ok(account),
            None => {
                let Delivery { status, next_attempt_at, .. } = self.entry(id)?.delivery;
                let reason =
                    format!("outbox_not_claimable status={status} next_attempt_at={next_attempt_at}");
                Err(MailError::invalid(&reason))
            }
        }
    }

    /// What is sent of a row that is claimed. PRX-Email kept what a message is made of: it is written
    /// once, for all attempts. What cannot be written is not tried again by itself.
    fn ready(&self, id: i64, account: i64) -> Result<(Account, Composed), Unsent> {
        let read = || {
            let account = self.account(Some(account))?;
            if let Some(written) = self.written(id)? {
                return Ok((account, written));
            }
            let composed = self.compose(&account, &self.draft(id)?)?;
            write(&self.connection(), id, &composed, None).map_err(failed)?;
            Ok((account, composed))
        };
        read().map_err(|error: MailError| {
            let fate = if error.code() == MailCode::Validation { Fate::Refused } else { Fate::NotSent };
            Unsent { fate, error }
        })
    }

    fn fail(&self, id: i64, fate: Fate, error: &MailError) -> Result<(), MailError> {
        // Whatever else is in the row, it is not tried for ever.
        let sql = "SELECT retries FROM outbox WHERE id = ?1";
        let retries = self.connection().query_row(sql, [id], |row| row.get::<_, u32>(0)).map_err(failed)?;
        let retries = retries.saturating_add(u32::from(fate != Fate::NotAsked));
        let held = match fate {
            Fate::Uncertain => Some("uncertain"),
            Fate::Refused => Some("dead"),
            Fate::NotSent | Fate::NotLetIn if retries >= ATTEMPTS => Some("dead"),
            Fate::NotAsked | Fate::NotSent | Fate::NotLetIn => None,
        };
        let next = match held {
            Some(_) => NEVER,
            None if fate == Fate::NotAsked => now() + UNASKED,
            None => now() + (WAIT << retries.min(DOUBLED)),
        };
        let sql = "UPDATE outbox SET status = 'failed', held = ?2, retries = ?3, last_error = ?4,
                   next_attempt_at = ?5, claimed_at = NULL, updated_at = ?6,
                   look_at = CASE WHEN ?2 = 'uncertain' THEN ?6 END WHERE id = ?1 AND status = 'sending'";
        self.settle(sql, params![id, held, retries, error.message(), next, now()])
    }

    fn settle(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), MailError> {
        let changed = self.connection().execute(sql, values).map_err(failed)?;
        match changed {
            0 => Err(MailError::new(MailCode::Storage, "outbox_state_changed_before_finalize")),
            _ => Ok(()),
        }
    }

    /// Takes up rows whose process is gone.
    pub(crate) fn take_up(&self) -> Result<(), MailError> {
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

/// Does something with the server that an account's mail is sent by. A token that the server does not
/// take is renewed once.
pub(crate) fn with_smtp<T>(
    account: &Account,
    credentials: &dyn Credentials,
    connector: &Connector,
    work: impl Fn(&Connector, &Server, Option<&Secret>) -> Result<T, Unsent>,
) -> Result<T, Unsent> {
    let server = account.smtp.as_ref().ok_or_else(|| MailError::invalid("smtp config missing"))?;
    let connector = connector.of(account)?;
    let work = || {
        let secret = match server.auth {
            Auth::None => None,
            _ => Some(credentials.secret(account, Protocol::Smtp).map_err(|error| match error.code() {
                MailCode::Storage => Unsent { fate: Fate::NotAsked, error },
                _ => error.into(),
            })?),
        };
        work(&connector, server, secret.as_ref())
    };
    match work() {
        Err(Unsent { fate: Fate::NotLetIn, .. })
            if matches!(server.auth, Auth::Xoauth2 | Auth::OauthBearer)
                && credentials.renew(account, Protocol::Smtp) =>
        {
            work()
        }
        done => done,
    }
}

/// Does something with each of these, on so many threads at most; what came of each, in their order.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let count = at_once.clamp(1, items.len().max(1));
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(take)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, came)| came).collect()
}

fn lock_name(id: i64) -> String {
    format!("{}.lock", id.rem_euclid(LOCK_COUNT))
}

fn unlockable(error: &std::io::Error) -> MailError {
    MailError::new(MailCode::Storage, &format!("the outbox cannot be locked: {error}"))
}
