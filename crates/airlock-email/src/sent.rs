//! What was sent, at the server that mail is fetched from: whether it is there, and a copy of it.
//!
//! No two messages have one Message-ID of [`compose`](crate::compose), so one that is in a folder of
//! the account was taken by the server that it was handed to. One that is not there may have been
//! taken all the same, and stays uncertain.

use std::collections::BTreeMap;

use airlock_core::{Delivery, MailError};
use rusqlite::params;

use crate::compose::lines;
use crate::db::{failed, now};
use crate::deliver::{AT_ONCE, side_by_side};
use crate::imap::{Fault, Session, Transport};
use crate::{Account, Connector, Credentials, Feature, Mailbox, RemoteFolder, SpecialUse, Stop};

/// Seconds for which a message is looked for again and again.
const LOOKED_FOR: i64 = 86_400;

/// Seconds between two looks: as many as have passed since it was sent, in these bounds.
const SOONEST: i64 = 30;
const LATEST: i64 = 3_600;

/// What folders of sent messages are called where the server does not say what its folders are for.
const NAMES: [&str; 4] = ["sent", "sent items", "sent messages", "sent mail"];

/// What was found of a message that may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is in this folder, so it was sent.
    Found(String),
    /// It is in none of these.
    Missing(Vec<String>),
}

/// What is looked for.
struct Wanted {
    id: i64,
    is_uncertain: bool,
    message_id: String,
}

impl Mailbox {
    /// Looks for what is due to be looked for: messages that may have been sent, and copies of
    /// those that were. Which of the first were sent.
    ///
    /// An account's server that cannot be spoken to is asked again later.
    ///
    /// # Errors
    /// [`MailCode::Storage`](airlock_core::MailCode::Storage).
    pub fn look_due(
        &self,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Vec<Delivery>, MailError> {
        let wanted: Vec<_> = self.wanted("look_at <= ?1", now())?.into_iter().collect();
        let look = |(account, wanted): &(i64, Vec<Wanted>)| {
            self.look_at_due(*account, wanted, credentials, connector, &Stop::new())
        };
        let found: Result<Vec<_>, _> = side_by_side(&wanted, AT_ONCE, look).into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// The same for one account, until it is stopped.
    pub(crate) fn look_due_of(
        &self,
        account: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Vec<Delivery>, MailError> {
        let wanted = self.wanted("look_at <= ?1", now())?.remove(&account).unwrap_or_default();
        match wanted.is_empty() || stop.is_stopped() {
            true => Ok(Vec::new()),
            false => self.look_at_due(account, &wanted, credentials, connector, stop),
        }
    }

    fn look_at_due(
        &self,
        account: i64,
        wanted: &[Wanted],
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Vec<Delivery>, MailError> {
        match self.look_in(account, wanted, credentials, connector, stop) {
            Ok(looked) => {
                // A copy of what was known to be sent is no news.
                let was_uncertain = |id| wanted.iter().any(|wanted| wanted.id == id && wanted.is_uncertain);
                let news = looked.into_iter().filter_map(|(delivery, looked)| {
                    let is_found = matches!(looked, Looked::Found(_));
                    (is_found && was_uncertain(delivery.outbox_id)).then_some(delivery)
                });
                Ok(news.collect())
            }
            Err(error) => {
                tracing::warn!(%error, account, "messages that were sent are not looked for");
                wanted.iter().try_for_each(|wanted| self.look_later(wanted.id))?;
                Ok(Vec::new())
            }
        }
    }

    /// Looks for a message of the outbox now, which is uncertain or sent, and does what is to be
    /// done: one that is found was sent, and of one that was sent a copy is put into the account's
    /// folder of sent messages where it has [`Feature::SaveSent`].
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for one that is neither, and an
    /// account whose mail is not fetched; what the server says.
    pub fn look_for(
        &self,
        id: i64,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<Looked, MailError> {
        self.entry(id)?;
        let wanted = self.wanted("outbox.id = ?1", id)?;
        let (account, wanted) = wanted.first_key_value().ok_or_else(|| {
            MailError::invalid("only what is uncertain or sent is looked for, by its Message-ID")
        })?;
        if self.account(Some(*account))?.imap.is_none() {
            return Err(MailError::invalid("imap/smtp config missing"));
        }
        let looked = self.look_in(*account, wanted, credentials, connector, &Stop::new())?;
        let busy = || MailError::invalid("another process has it at the moment");
        looked.into_iter().next().map(|(_, looked)| looked).ok_or_else(busy)
    }

    /// The same for one that was just sent, where a copy is to be made: what fails is tried later.
    pub(crate) fn save_sent(&self, id: i64, credentials: &dyn Credentials, connector: &Connector) {
        let save = || -> Result<(), MailError> {
            for (account, wanted) in self.wanted("look_at IS NOT NULL AND outbox.id = ?1", id)? {
                if let Err(error) = self.look_in(account, &wanted, credentials, connector, &Stop::new()) {
                    self.look_later(id)?;
                    return Err(error);
                }
            }
            Ok(())
        };
        if let Err(error) = save() {
            tracing::warn!(%error, outbox = id, "no copy of a message that was sent");
        }
    }

    /// Messages whose Message-ID is known and that are uncertain or sent, by their accounts.
    fn wanted(&self, which: &str, value: i64) -> Result<BTreeMap<i64, Vec<Wanted>>, MailError> {
        let sql = format!(
            "SELECT account_id, outbox.id, held IS NOT NULL, message_id
             FROM outbox JOIN outbox_mail ON outbox_id = outbox.id
             WHERE {which} AND (held = 'uncertain' OR status = 'sent') ORDER BY outbox.id"
        );
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let rows = statement.query_map([value], |row| {
            Ok((row.get(0)?, Wanted { id: row.get(1)?, is_uncertain: row.get(2)?, message_id: row.get(3)? }))
        });
        let mut wanted: BTreeMap<i64, Vec<Wanted>> = BTreeMap::new();
        for row in rows.map_err(failed)? {
            let (account, one) = row.map_err(failed)?;
            wanted.entry(account).or_default().push(one);
        }
        Ok(wanted)
    }

    /// Looks for messages of one account; what was found of each that no other process has.
    fn look_in(
        &self,
        account: i64,
        wanted: &[Wanted],
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Vec<(Delivery, Looked)>, MailError> {
        let account = self.account(Some(account))?;
        if account.imap.is_none() {
            let none = |wanted: &Wanted| self.look_no_more(wanted.id);
            return wanted.iter().try_for_each(none).map(|()| Vec::new());
        }
        let mut session = self.session(&account, credentials, connector, stop)?;
        let places = Places::of(session.folders()?);
        let mut looked = Vec::with_capacity(wanted.len());
        for one in wanted {
            let Some(_lock) = self.try_lock(one.id)? else { continue };
            let found = match one.is_uncertain {
                true => self.look_for_uncertain(&mut session, &account, &places, one)?,
                false => self.copy(&mut session, &account, &places, one)?,
            };
            looked.push((self.entry(one.id)?.delivery, found));
        }
        session.end();
        Ok(looked)
    }

    fn look_for_uncertain(
        &self,
        session: &mut Session<Transport>,
        account: &Account,
        places: &Places,
        wanted: &Wanted,
    ) -> Result<Looked, MailError> {
        let mut looked_in = Vec::new();
        for folder in places.all() {
            if !is_in(session, folder, &wanted.message_id)? {
                looked_in.push(folder.to_owned());
                continue;
            }
            let copy = places.sent.as_deref() != Some(folder) && self.is_on(account.id, Feature::SaveSent)?;
            let sql = "UPDATE outbox SET status = 'sent', held = NULL, last_error = NULL, updated_at = ?2,
                       look_at = ?3 WHERE id = ?1 AND held = 'uncertain'";
            let values = params![wanted.id, now(), copy.then(now)];
            self.connection().execute(sql, values).map_err(failed)?;
            return Ok(Looked::Found(folder.to_owned()));
        }
        self.note_missing(wanted.id, &looked_in)?;
        self.look_later(wanted.id)?;
        Ok(Looked::Missing(looked_in))
    }

    /// Puts a copy of a message that was sent among those that were, where there is none.
    fn copy(
        &self,
        session: &mut Session<Transport>,
        account: &Account,
        places: &Places,
        wanted: &Wanted,
    ) -> Result<Looked, MailError> {
        let Some(sent) = &places.sent else {
            self.look_no_more(wanted.id)?;
            return Ok(Looked::Missing(Vec::new()));
        };
        let mut is_there = is_in(session, sent, &wanted.message_id)?;
        // Gmail's puts it there by itself, in its time.
        let is_theirs = session.has("X-GM-EXT-1");
        let wants_one = !is_there && !is_theirs && self.is_on(account.id, Feature::SaveSent)?;
        if let Some(composed) = if wants_one { self.written(wanted.id)? } else { None } {
            let message = lines(&composed.raw).collect::<Vec<_>>().join(&b"\r\n"[..]);
            session.append(sent, &[&message, &b"\r\n"[..]].concat())?;
            is_there = true;
        }
        self.look_no_more(wanted.id)?;
        Ok(match is_there {
            true => Looked::Found(sent.clone()),
            false => Looked::Missing(vec![sent.clone()]),
        })
    }

    fn note_missing(&self, id: i64, folders: &[String]) -> Result<(), MailError> {
        const NOTE: &str = "; it is not in ";
        let told = self.entry(id)?.last_error.unwrap_or_default();
        let reason = told.split_once(NOTE).map_or(told.as_str(), |(reason, _)| reason);
        let folders = folders.iter().map(|folder| format!("`{folder}`")).collect::<Vec<_>>().join(", ");
        let told = format!("{reason}{NOTE}{folders}");
        let sql = "UPDATE outbox SET last_error = ?2 WHERE id = ?1 AND held = 'uncertain'";
        self.connection().execute(sql, params![id, told]).map(drop).map_err(failed)
    }

    fn look_later(&self, id: i64) -> Result<(), MailError> {
        let sql = "UPDATE outbox SET look_at = CASE WHEN ?2 - updated_at < ?3
                   THEN ?2 + max(?4, min(?5, ?2 - updated_at)) END WHERE id = ?1 AND look_at IS NOT NULL";
        let values = params![id, now(), LOOKED_FOR, SOONEST, LATEST];
        self.connection().execute(sql, values).map(drop).map_err(failed)
    }

    fn look_no_more(&self, id: i64) -> Result<(), MailError> {
        let sql = "UPDATE outbox SET look_at = NULL WHERE id = ?1";
        self.connection().execute(sql, [id]).map(drop).map_err(failed)
    }
}

/// Whether a message is in a folder. One that cannot be opened has none.
fn is_in(session: &mut Session<Transport>, folder: &str, message_id: &str) -> Result<bool, MailError> {
    match session.examine(folder) {
        Ok(_) => Ok(session.has_message(message_id)?),
        Err(Fault::No(_)) => Ok(false),
        Err(Fault::Broken(error)) => Err(error),
    }
}

/// Where a message is that was sent.
struct Places {
    /// Where the server, or whoever sends, puts what was sent.
    sent: Option<String>,
    /// Where all messages are, and where those are that people send themselves.
    others: Vec<String>,
}

impl Places {
    fn of(folders: Vec<RemoteFolder>) -> Self {
        let special = |special| {
            let is_it = |folder: &&RemoteFolder| folder.special_use == Some(special);
            folders.iter().filter(|folder| folder.is_selectable).find(is_it)
        };
        let named = || {
            folders.iter().filter(|folder| folder.is_selectable && folder.special_use.is_none()).find(
                |folder| {
                    let delimiter = folder.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
                    let name = match delimiter.and_then(|delimiter| folder.path.split_once(delimiter)) {
                        // Some have all other folders in the inbox.
                        Some(("INBOX", name)) => name,
                        _ => &folder.path,
                    };
                    NAMES.contains(&name.to_lowercase().as_str())
                },
            )
        };
        let path = |folder: Option<&RemoteFolder>| folder.map(|folder| folder.path.clone());
        let sent = path(special(SpecialUse::Sent).or_else(named));
        let all = path(special(SpecialUse::All));
        Places { sent, others: all.into_iter().chain(["INBOX".to_owned()]).collect() }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.sent.iter().chain(&self.others).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::{RemoteFolder, SpecialUse};

    fn folder(path: &str, special_use: Option<SpecialUse>) -> RemoteFolder {
        let delimiter = Some(".".to_owned());
        RemoteFolder { path: path.to_owned(), delimiter, is_selectable: true, special_use }
    }

    #[test]
    fn the_folder_of_sent_messages_is_what_the_server_says_and_else_what_it_is_called() {
        let sent = |folders: Vec<RemoteFolder>| Places::of(folders).sent;
        let said = folder("Gesendet", Some(SpecialUse::Sent));
        assert_eq!(sent(vec![folder("Sent", None), said.clone()]).as_deref(), Some("Gesendet"));
        assert_eq!(sent(vec![folder("INBOX.Sent Items", None)]).as_deref(), Some("INBOX.Sent Items"));
        assert_eq!(sent(vec![folder("Sent", Some(SpecialUse::Trash)), folder("Lists.Sent", None)]), None);
        assert_eq!(sent(vec![RemoteFolder { is_selectable: false, ..said }]), None);
        let places = Places::of(vec![folder("SENT", None), folder("Everything", Some(SpecialUse::All))]);
        assert_eq!(places.all().collect::<Vec<_>>(), ["SENT", "Everything", "INBOX"]);
    }
}
