//! Fetching what is new in a folder, and seeing what changed in what is here.
//!
//! What is here is said by `message_places` alone, by UIDs: a UID of the server that is not there
//! is fetched, one that is there and not at the server is gone. So a sync that is cut anywhere
//! goes on with the next, and what an earlier one left out is found. What a server says about
//! the whole folder (EXISTS, UIDNEXT, HIGHESTMODSEQ) spares looking where nothing changed.

mod fetch;
mod mirror;
mod worker;

use airlock_core::{MailCode, MailError, Secret, SyncMail, Synced};
use rusqlite::{OptionalExtension as _, params};

use crate::db::{self, failed, now};
use crate::deliver::{side_by_side, with_smtp};
use crate::folders::{folder_id, forget, write_state};
use crate::imap::{self, Selected, Session, Stream, Transport};
use crate::{
    Account, Auth, Connector, Credentials, Mailbox, Protocol, RemoteFolder, Server, Stop, SyncState,
};

pub use worker::{Backoff, SyncWorker};

/// Who looks on while mail is fetched.
pub trait Watch: Sync {
    /// How far it is. Said after each batch.
    fn progressed(&self, progress: &SyncProgress<'_>) {
        let _ = progress;
    }

    /// What ends it. Never, where nothing is said.
    fn stop(&self) -> Stop {
        Stop::new()
    }
}

/// Nobody does.
impl Watch for () {}

/// How far a sync is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncProgress<'a> {
    /// Whose mail it is.
    pub account_id: i64,
    /// The folder.
    pub folder: &'a str,
    /// Messages that are fetched and kept.
    pub done: u64,
    /// Messages that are to be fetched by this sync.
    pub total: u64,
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedFolder {
    /// What the service answers.
    pub synced: Synced,
    /// Messages that were fetched and were here already, from another folder or another program.
    pub known: u64,
    /// Messages whose flags changed.
    pub flagged: u64,
    /// Messages that the server expunged from the folder.
    pub expunged: u64,
    /// Messages that the server has and did not give.
    pub refused: u64,
    /// Whether there is more to be fetched.
    pub more: bool,
}

/// A folder that is being synced.
struct Syncing<'a> {
    mailbox: &'a Mailbox,
    account: i64,
    folder: &'a str,
    id: i64,
    selected: Selected,
    state: SyncState,
    /// How many messages are here, and the last of their UIDs.
    here: (u32, u32),
    /// No UID up to this one is fetched, where the caller says so.
    from: u32,
    max_messages: usize,
}

impl Mailbox {
    /// Fetches what is new in a folder, at most as many messages as the request says and the
    /// oldest first, and does here what was done to the others at the server: flags, expunges.
    /// Whatever ends it, the next one goes on where it was.
    ///
    /// A `cursor` of the request has it fetch nothing up to that UID; what lies before it is
    /// fetched by a later sync without one.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for an account without a server or a cursor that is none;
    /// [`MailCode::Network`], [`MailCode::Provider`] and [`MailCode::Storage`]: what was kept
    /// until then stays.
    pub fn sync(
        &self,
        request: &SyncMail,
        credentials: &dyn Credentials,
        connector: &Connector,
        watch: &dyn Watch,
    ) -> Result<SyncedFolder, MailError> {
        let account = self.account(request.account_id)?;
        cursor(request)?;
        let synced = self.session(&account, credentials, connector, &watch.stop()).and_then(|mut session| {
            let synced = self.sync_session(account.id, &mut session, request, watch)?;
            session.end();
            Ok(synced)
        });
        if let Err(error) = &synced {
            self.say_failed(account.id, &request.folder, error)?;
        }
        // What messages left that are gone, may be left until the next time.
        if let Err(error) = self.sweep_attachments() {
            tracing::warn!(%error, "files of attachments are left");
        }
        synced
    }

    /// The same for many folders, of one account or many, at most so many at once; what became
    /// of each, in their order.
    pub fn sync_all(
        &self,
        requests: &[SyncMail],
        at_once: usize,
        credentials: &dyn Credentials,
        connector: &Connector,
        watch: &dyn Watch,
    ) -> Vec<Result<SyncedFolder, MailError>> {
        side_by_side(requests, at_once, |request| self.sync(request, credentials, connector, watch))
    }

    /// Asks the server which folders there are, and keeps their names and what they are for.
    ///
    /// # Errors
    /// As [`Mailbox::sync`].
    pub fn sync_folders(
        &self,
        account: Option<i64>,
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Vec<RemoteFolder>, MailError> {
        let account = self.account(account)?;
        let mut session = self.session(&account, credentials, connector, stop)?;
        let folders = session.folders()?;
        session.end();
        self.keep_folders(account.id, &folders)?;
        Ok(folders)
    }

    /// Logs in to one of an account's servers, and out again.
    pub(crate) fn log_in(
        &self,
        account: &Account,
        protocol: Protocol,
        credentials: &dyn Credentials,
        connector: &Connector,
    ) -> Result<(), MailError> {
        match (protocol, &account.smtp) {
            (Protocol::Imap, _) => {
                self.session(account, credentials, connector, &Stop::new()).map(Session::end)
            }
            (Protocol::Smtp, None) => Err(MailError::invalid("imap/smtp config missing")),
            (Protocol::Smtp, Some(_)) => {
                let greet = |connector: &Connector, server: &Server, secret: Option<&Secret>| {
                    connector.greet(server, secret)
                };
                with_smtp(account, credentials, connector, greet).map_err(|unsent| unsent.error)
            }
        }
    }

    /// A session with an account's server. A token that the server does not take is renewed once.
    pub(crate) fn session(
        &self,
        account: &Account,
        credentials: &dyn Credentials,
        connector: &Connector,
        stop: &Stop,
    ) -> Result<Session<Transport>, MailError> {
        let server = account.imap.as_ref().ok_or_else(|| MailError::invalid("imap/smtp config missing"))?;
        let connector = connector.of(account)?;
        let open = || {
            let secret = match server.auth {
                Auth::None => None,
                _ => Some(credentials.secret(account, Protocol::Imap)?),
            };
            imap::open(&connector, server, secret.as_ref(), stop)
        };
        match open() {
            Err(error)
                if error.code() == MailCode::Provider
                    && matches!(server.auth, Auth::Xoauth2 | Auth::OauthBearer)
                    && credentials.renew(account, Protocol::Imap) =>
            {
                open()
            }
            opened => opened,
        }
    }

    /// Syncs a folder in a session that is there.
    pub(crate) fn sync_session<S: Stream>(
        &self,
        account: i64,
        session: &mut Session<S>,
        request: &SyncMail,
        watch: &dyn Watch,
    ) -> Result<SyncedFolder, MailError> {
        let selected = session.examine(&request.folder)?;
        let sync = self.begin(account, selected, request)?;
        let look = if sync.is_unchanged() { mirror::Look::default() } else { sync.look(session)? };
        let fetched = sync.fetch(session, &look, watch)?;
        sync.finish(&look, &fetched)
    }

    fn begin<'a>(
        &'a self,
        account: i64,
        selected: Selected,
        request: &'a SyncMail,
    ) -> Result<Syncing<'a>, MailError> {
        let mut state = self.sync_state(account, &request.folder)?;
        let mut from = cursor(request)?;
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        let mut begin = || -> rusqlite::Result<_> {
            let id = folder_id(&transaction, account, &request.folder)?;
            if state.uid_validity.is_some_and(|known| known != selected.uid_validity) {
                // No UID means what it did, so they are put aside, and so is a cursor.
                let sql = "UPDATE message_places SET uid = -uid + min(0, (SELECT min(uid) FROM message_places
                           WHERE folder_id = ?1)) WHERE folder_id = ?1 AND uid > 0";
                transaction.prepare_cached(sql)?.execute([id])?;
                state = SyncState { last_synced_at: state.last_synced_at, ..SyncState::default() };
                from = 0;
            }
            state.uid_validity = Some(selected.uid_validity);
            let sql =
                "SELECT count(*), coalesce(max(uid), 0) FROM message_places WHERE folder_id = ?1 AND uid > 0";
            let here =
                transaction.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            write_state(&transaction, account, id, &state)?;
            Ok((id, here))
        };
        let (id, here) = begin().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        drop(connection);
        let max_messages = usize::try_from(request.max_messages).unwrap_or(usize::MAX).max(1);
        let (mailbox, folder) = (self, request.folder.as_str());
        Ok(Syncing { mailbox, account, folder, id, selected, state, here, from, max_messages })
    }

    /// Notes that a folder could not be synced.
    fn say_failed(&self, account: i64, folder: &str, error: &MailError) -> Result<(), MailError> {
        let sql = "UPDATE sync_state SET status = ?3, updated_at = ?4 WHERE account_id = ?1 AND folder_id =
                   (SELECT id FROM folders WHERE account_id = ?1 AND path = ?2)";
        let values = params![account, folder, error.code().name(), now()];
        self.connection().execute(sql, values).map(drop).map_err(failed)
    }
}

/// The UID that a request goes on from.
fn cursor(request: &SyncMail) -> Result<u32, MailError> {
    let Some(cursor) = &request.cursor else { return Ok(0) };
    cursor.trim().parse().map_err(|_| MailError::invalid("cursor has to be one that a sync answered"))
}

impl Syncing<'_> {
    /// Whether all of the folder is here as the server has it, by what it says of the whole.
    fn is_unchanged(&self) -> bool {
        let Syncing { selected, state, here: (count, _), .. } = self;
        *count == selected.exists
            && selected.uid_next.is_some()
            && selected.uid_next == state.uid_next
            && selected.mod_seq.is_some()
            && selected.mod_seq == state.mod_seq
    }

    /// How far it is when everything up to this UID is here.
    fn state_at(&self, uid: u32, is_whole: bool) -> SyncState {
        SyncState {
            // One that the caller leapt over is not left behind.
            cursor: match (self.from > self.known_to(), uid) {
                (true, _) => self.state.cursor.clone(),
                (false, 0) => None,
                (false, uid) => Some(uid.to_string()),
            },
            uid_validity: Some(self.selected.uid_validity),
            last_synced_at: Some(now()),
            status: Some("ok".to_owned()),
            uid_next: None,
            mod_seq: self.selected.mod_seq.filter(|_| is_whole),
        }
    }

    /// The UID up to which everything was here before.
    fn known_to(&self) -> u32 {
        self.state.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(0)
    }

    fn finish(&self, look: &mirror::Look, fetched: &fetch::Got) -> Result<SyncedFolder, MailError> {
        let is_complete = look.is_whole && !look.more && !look.skipped && fetched.refused == 0;
        let last = look.wanted.last().copied().unwrap_or(0);
        let to = if look.more { last } else { last.max(self.here.1) };
        let is_whole = look.is_whole && !look.skipped && fetched.refused == 0 && to >= self.here.1;
        let mut state = self.state_at(to, is_whole);
        state.uid_next = self.selected.uid_next.filter(|_| is_complete);
        let mut connection = self.mailbox.connection();
        let transaction = db::writing(&mut connection)?;
        let finish = || -> rusqlite::Result<()> {
            if is_complete {
                self.forget_earlier(&transaction)?;
            }
            write_state(&transaction, self.account, self.id, &state)
        };
        finish().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        let cursor =
            if self.from > self.known_to() { Some(to.max(self.from).to_string()) } else { state.cursor };
        let (account_id, folder) = (self.account, self.folder.to_owned());
        Ok(SyncedFolder {
            synced: Synced { account_id, folder, synced: fetched.kept.new, cursor },
            known: fetched.kept.known,
            flagged: look.flagged,
            expunged: look.expunged,
            refused: fetched.refused,
            more: look.more,
        })
    }

    /// Takes away what an earlier UIDVALIDITY left, once all of the folder is here anew.
    fn forget_earlier(&self, connection: &rusqlite::Connection) -> rusqlite::Result<()> {
        loop {
            let sql = "DELETE FROM message_places WHERE folder_id = ?1 AND uid =
                       (SELECT min(uid) FROM message_places WHERE folder_id = ?1) AND uid < 0 RETURNING message_id";
            let mut statement = connection.prepare_cached(sql)?;
            let message: Option<i64> = statement.query_row([self.id], |row| row.get(0)).optional()?;
            let Some(message) = message else { return Ok(()) };
            forget(connection, message)?;
        }
    }
}
