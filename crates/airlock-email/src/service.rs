//! The mailbox as the service that plugins reach, and what a plugin may send.
//!
//! A plugin's request is for an account that it has a grant for, which has the feature switched on;
//! what it sends is held to [`SendRules`] too. All work is done on threads of this service: a server
//! may take a minute for an answer, and whoever polls a guest has others to serve. What is in the
//! outbox goes on being sent when the guest has gone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use airlock_core::{
    AuditEvent, AuditSink, Capability, Delivery, GetMail, Gotten, Identity, ListMail, Listed, Mail,
    MailAnswer, MailCode, MailError, MailFuture, MailRequest, MailTask, MailTool, Need, OnAuditFailure,
    Permit, Replied, ReplyMail, SearchMail, Searched, SendMail, Sent, SyncMail, Synced,
};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::outbox::Queued;
use crate::{
    Account, Connector, Credentials, Feature, Looked, Mailbox, NewAccount, OutboxEntry, OutboxWorker,
    Protocol, SendRules, Stop, SyncedFolder, Watch,
};

/// Threads that read the database, and those that speak with servers. A server may take its time for each
/// answer, and who reads what is here does not wait for it.
const READERS: usize = 8;
const SPEAKERS: usize = 16;

/// How long before its call's end a plugin is told that a message is still being sent.
const MARGIN: Duration = Duration::from_millis(100);

/// On whose behalf something is done.
pub(crate) enum Caller<'a> {
    /// The mailbox's own user, by the command or an application.
    Owner,
    /// A plugin, with its permit.
    Plugin(&'a Permit, &'a SendRules),
}

impl Caller<'_> {
    /// The name of the plugin, where it is one.
    pub(crate) fn plugin(&self) -> Option<&str> {
        match self {
            Caller::Owner => None,
            Caller::Plugin(permit, _) => Some(&permit.caller().name),
        }
    }
}

impl Mailbox {
    /// The account of this number, or the only one, where this caller may use it for what it asks.
    pub(crate) fn account_for(&self, id: Option<i64>, caller: &Caller<'_>) -> Result<Account, MailError> {
        let account = self.account(id)?;
        if let Caller::Plugin(permit, _) = caller {
            permit.also(Need::Name(permit.kind(), &account.name))?;
        }
        Ok(account)
    }
}

/// The mailboxes of a user, for plugins and for what the user does.
pub struct MailService {
    inner: Arc<Inner>,
    /// One for each thread that may speak with a server.
    speakers: Arc<Semaphore>,
    /// Taken when it is dropped, which may be where nothing can be waited for.
    runtime: Option<Runtime>,
}

struct Inner {
    mailbox: Arc<Mailbox>,
    credentials: Arc<dyn Credentials>,
    connector: Connector,
    rules: SendRules,
    audit: Option<Audit>,
}

/// Where it is noted what the mailbox's own user does.
struct Audit {
    sink: Arc<dyn AuditSink>,
    who: Identity,
    on_failure: OnAuditFailure,
}

impl MailService {
    /// One for this mailbox.
    ///
    /// # Errors
    /// [`MailCode::Storage`] when there can be no more threads.
    pub fn new(
        mailbox: Arc<Mailbox>,
        credentials: Arc<dyn Credentials>,
        connector: Connector,
        rules: SendRules,
    ) -> Result<Self, MailError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(READERS + SPEAKERS)
            .thread_name("mail")
            .enable_all()
            .build()
            .map_err(|error| MailError::new(MailCode::Storage, &format!("there is no thread: {error}")))?;
        let inner = Arc::new(Inner { mailbox, credentials, connector, rules, audit: None });
        Ok(MailService { inner, speakers: Arc::new(Semaphore::new(SPEAKERS)), runtime: Some(runtime) })
    }

    /// The same, with a record in an audit log of each thing that the mailbox's own user has it do,
    /// by the tool and the account: before it is done, so that nothing is done without. What plugins
    /// do is recorded with their calls, by the host.
    #[must_use]
    pub fn recording(mut self, sink: Arc<dyn AuditSink>, who: Identity, on_failure: OnAuditFailure) -> Self {
        let inner = Inner {
            mailbox: self.inner.mailbox.clone(),
            credentials: self.inner.credentials.clone(),
            connector: self.inner.connector.clone(),
            rules: self.inner.rules.clone(),
            audit: Some(Audit { sink, who, on_failure }),
        };
        self.inner = Arc::new(inner);
        self
    }

    /// The mailbox.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.inner.mailbox
    }

    /// Does what the mailbox's own user asks for: no grant is needed, and no rule for plugins holds.
    ///
    /// # Errors
    /// As the mailbox's methods.
    pub async fn perform(&self, request: MailRequest) -> Result<MailAnswer, MailError> {
        let (tool, account) = meant(&request);
        if tool != MailTool::Sync {
            self.record(tool, account).await?;
        }
        Ok(match request {
            MailRequest::Sync(request) => {
                MailAnswer::Synced(self.fetch(request, Arc::new(Silent::default())).await?.synced)
            }
            MailRequest::List(request) => {
                MailAnswer::Listed(self.work(None, move |inner, _| inner.mailbox.list(&request)).await?)
            }
            MailRequest::Get(request) => {
                let got = self.work(None, move |inner, _| inner.mailbox.get(&request)).await?;
                MailAnswer::Gotten(Box::new(got))
            }
            MailRequest::Search(request) => {
                MailAnswer::Searched(self.work(None, move |inner, _| inner.mailbox.search(&request)).await?)
            }
            MailRequest::Send(request) => MailAnswer::Sent(self.send_for(None, &request).await?),
            MailRequest::Reply(request) => MailAnswer::Replied(self.reply_for(None, &request).await?),
        })
    }

    /// Fetches what is new in a folder for the mailbox's own user, who may look on. Dropped, it stops
    /// where `watch` says so.
    ///
    /// # Errors
    /// As [`Mailbox::sync`].
    pub async fn fetch(
        &self,
        request: SyncMail,
        watch: Arc<dyn Watch + Send>,
    ) -> Result<SyncedFolder, MailError> {
        self.record(MailTool::Sync, request.account_id).await?;
        self.speak(None, move |inner, _| inner.sync(&request, &*watch)).await
    }

    /// The same for many folders, of one account or many: see [`Mailbox::sync_all`]. Blocks.
    ///
    /// # Errors
    /// As [`MailService::note`]; what became of each folder is in the answer.
    pub fn fetch_all(
        &self,
        requests: &[SyncMail],
        at_once: usize,
        watch: &dyn Watch,
    ) -> Result<Vec<Result<SyncedFolder, MailError>>, MailError> {
        let Inner { mailbox, credentials, connector, .. } = &*self.inner;
        requests.iter().try_for_each(|request| self.inner.record(MailTool::Sync, request.account_id))?;
        Ok(mailbox.sync_all(requests, at_once, &**credentials, connector, watch))
    }

    /// Notes in the audit log what the mailbox's own user is about to do with an account.
    ///
    /// # Errors
    /// [`MailCode::Storage`] where it is not to be done without, and cannot be noted.
    pub fn note(&self, task: MailTask, account: &str) -> Result<(), MailError> {
        self.inner.note_task(task, account)
    }

    /// Makes an account, or gives one other settings: see [`Mailbox::set_account`].
    ///
    /// # Errors
    /// As [`Mailbox::set_account`] and [`MailService::note`].
    pub fn set_account(&self, account: &NewAccount) -> Result<i64, MailError> {
        account.check()?;
        self.note(MailTask::SetAccount, &account.name)?;
        self.inner.mailbox.set_account(account)
    }

    /// All accounts: see [`Mailbox::accounts`].
    ///
    /// # Errors
    /// As [`Mailbox::accounts`] and [`MailService::note`].
    pub fn accounts(&self) -> Result<Vec<Account>, MailError> {
        self.note(MailTask::Accounts, "*")?;
        self.inner.mailbox.accounts()
    }

    /// Switches a feature of an account on or off: see [`Mailbox::switch`].
    ///
    /// # Errors
    /// As [`Mailbox::switch`] and [`MailService::note`].
    pub fn switch(&self, account: &Account, feature: Feature, is_on: bool) -> Result<(), MailError> {
        let task = if is_on { MailTask::SwitchOn } else { MailTask::SwitchOff };
        self.note(task, &account.name)?;
        self.inner.mailbox.switch(account.id, feature, is_on)
    }

    /// What an account has in its outbox: see [`Mailbox::outbox`].
    ///
    /// # Errors
    /// As [`Mailbox::outbox`] and [`MailService::note`].
    pub fn outbox(&self, account: &Account) -> Result<Vec<OutboxEntry>, MailError> {
        self.note(MailTask::Outbox, &account.name)?;
        self.inner.mailbox.outbox(account.id)
    }

    /// Tries everything that is due, whosever it is: see [`Mailbox::deliver_due`] and
    /// [`Mailbox::look_due`]. Blocks.
    ///
    /// # Errors
    /// [`MailCode::Storage`].
    pub fn send_due(&self) -> Result<(Vec<Delivery>, Vec<Delivery>), MailError> {
        let Inner { mailbox, credentials, connector, .. } = &*self.inner;
        self.note(MailTask::SendDue, "*")?;
        let tried = mailbox.deliver_due(&**credentials, connector)?;
        Ok((tried, mailbox.look_due(&**credentials, connector)?))
    }

    /// Starts a thread that sends what is due, whosever it is: see [`OutboxWorker::start_telling`].
    ///
    /// # Errors
    /// As [`OutboxWorker::start`] and [`MailService::note`].
    pub fn start_outbox(
        &self,
        tell: impl Fn(&Delivery) + Send + Sync + 'static,
    ) -> Result<OutboxWorker, MailError> {
        let Inner { mailbox, credentials, connector, .. } = &*self.inner;
        self.note(MailTask::SendDue, "*")?;
        OutboxWorker::start_telling(mailbox.clone(), credentials.clone(), connector.clone(), tell)
    }

    /// Has a message of the outbox tried again: see [`Mailbox::retry`].
    ///
    /// # Errors
    /// As [`Mailbox::retry`].
    pub fn retry(&self, id: i64) -> Result<(), MailError> {
        self.of_outbox(MailTask::Retry, id, |mailbox| mailbox.retry(id))
    }

    /// Has a message of the outbox not be sent: see [`Mailbox::cancel`].
    ///
    /// # Errors
    /// As [`Mailbox::cancel`].
    pub fn cancel(&self, id: i64) -> Result<(), MailError> {
        self.of_outbox(MailTask::Cancel, id, |mailbox| mailbox.cancel(id))
    }

    /// Says of a message of the outbox that it was sent: see [`Mailbox::arrived`].
    ///
    /// # Errors
    /// As [`Mailbox::arrived`].
    pub fn arrived(&self, id: i64) -> Result<(), MailError> {
        self.of_outbox(MailTask::Arrived, id, |mailbox| mailbox.arrived(id))
    }

    /// Looks for a message of the outbox at the server: see [`Mailbox::look_for`]. Blocks.
    ///
    /// # Errors
    /// As [`Mailbox::look_for`].
    pub fn check(&self, id: i64) -> Result<Looked, MailError> {
        let Inner { credentials, connector, .. } = &*self.inner;
        self.of_outbox(MailTask::Check, id, |mailbox| mailbox.look_for(id, &**credentials, connector))
    }

    fn of_outbox<T>(
        &self,
        task: MailTask,
        id: i64,
        work: impl FnOnce(&Mailbox) -> Result<T, MailError>,
    ) -> Result<T, MailError> {
        let mailbox = &self.inner.mailbox;
        let account = mailbox.entry(id)?.account_id;
        self.note(task, &mailbox.account(Some(account))?.name)?;
        work(mailbox)
    }

    /// Notes what the mailbox's own user does.
    async fn record(&self, tool: MailTool, account: Option<i64>) -> Result<(), MailError> {
        if self.inner.audit.is_none() {
            return Ok(());
        }
        self.work(None, move |inner, _| inner.record(tool, account)).await
    }

    /// Logs in to each server that an account has, and says how that went.
    ///
    /// # Errors
    /// As [`MailService::note`].
    pub async fn test(&self, account: &Account) -> Result<Vec<(Protocol, Result<(), MailError>)>, MailError> {
        let name = account.name.clone();
        self.work(None, move |inner, _| inner.note_task(MailTask::Test, &name)).await?;
        let mut tested = Vec::new();
        for protocol in [Protocol::Imap, Protocol::Smtp] {
            let server = match protocol {
                Protocol::Imap => &account.imap,
                Protocol::Smtp => &account.smtp,
            };
            if server.is_none() {
                continue;
            }
            let account = account.clone();
            let test = move |inner: &Inner, _: &Caller<'_>| {
                inner.mailbox.log_in(&account, protocol, &*inner.credentials, &inner.connector)
            };
            tested.push((protocol, self.speak(None, test).await));
        }
        Ok(tested)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken when the service is dropped")
    }

    /// Does something with the mailbox on a thread of the service's.
    async fn work<T: Send + 'static>(
        &self,
        permit: Option<&Permit>,
        work: impl FnOnce(&Inner, &Caller<'_>) -> Result<T, MailError> + Send + 'static,
    ) -> Result<T, MailError> {
        let (inner, permit) = (self.inner.clone(), permit.cloned());
        let done = self.runtime().spawn_blocking(move || {
            let caller = match &permit {
                Some(permit) => Caller::Plugin(permit, &inner.rules),
                None => Caller::Owner,
            };
            work(&inner, &caller)
        });
        done.await.map_err(ended)?
    }

    /// Does something with a server, once a thread may.
    async fn speak<T: Send + 'static>(
        &self,
        permit: Option<&Permit>,
        work: impl FnOnce(&Inner, &Caller<'_>) -> Result<T, MailError> + Send + 'static,
    ) -> Result<T, MailError> {
        let speaker = self.speakers.clone().acquire_owned().await.map_err(closed)?;
        let speaking = move |inner: &Inner, caller: &Caller<'_>| {
            let _speaker = speaker;
            work(inner, caller)
        };
        self.work(permit, speaking).await
    }

    /// Reads something of the mail of an account that a plugin has a grant for.
    async fn of_account<T: Send + 'static>(
        &self,
        permit: &Permit,
        account: Option<i64>,
        work: impl FnOnce(&Inner, i64) -> Result<T, MailError> + Send + 'static,
    ) -> Result<T, MailError> {
        let find = move |inner: &Inner, caller: &Caller<'_>| {
            let account = inner.mailbox.account_for(account, caller)?;
            work(inner, account.id)
        };
        self.work(Some(permit), find).await
    }

    async fn send_for(&self, permit: Option<&Permit>, request: &SendMail) -> Result<Sent, MailError> {
        let kept = request.clone();
        let queue = move |inner: &Inner, caller: &Caller<'_>| inner.mailbox.queue(&kept, caller);
        let queued = self.work(permit, queue).await?;
        Ok(queued.sent(request, self.attempt(queued, permit).await?))
    }

    async fn reply_for(&self, permit: Option<&Permit>, request: &ReplyMail) -> Result<Replied, MailError> {
        let kept = request.clone();
        let queue = move |inner: &Inner, caller: &Caller<'_>| inner.mailbox.queue_reply(&kept, caller);
        let queued = self.work(permit, queue).await?;
        Ok(queued.replied(request, self.attempt(queued, permit).await?))
    }

    /// Tries to send what is kept, and tells what became of it. Where that is not known shortly before a
    /// plugin's call ends, it is being sent still, or is to be.
    async fn attempt(&self, queued: Queued, permit: Option<&Permit>) -> Result<Delivery, MailError> {
        let (inner, id, speakers) = (self.inner.clone(), queued.outbox_id, self.speakers.clone());
        let is_plugin = permit.is_some();
        // Whoever waits for it may have gone: it goes on all the same.
        let sending = self.runtime().spawn(async move {
            let speaker = speakers.acquire_owned().await.map_err(closed)?;
            let own = inner.clone();
            let send = move || own.mailbox.attempt(id, &*own.credentials, &own.connector);
            let sent = tokio::task::spawn_blocking(send).await.map_err(ended)?;
            let saving = sent.is_ok().then(|| {
                tokio::task::spawn_blocking(move || {
                    let _speaker = speaker;
                    inner.mailbox.save_sent(id, &*inner.credentials, &inner.connector);
                })
            });
            // A plugin does not wait for the copy of what it sent.
            if let Some(saving) = saving.filter(|_| !is_plugin) {
                saving.await.map_err(ended)?;
            }
            sent
        });
        let Some(permit) = permit else { return sending.await.map_err(ended)? };
        let patience = permit.remaining().saturating_sub(MARGIN);
        let waited = self.runtime().spawn(async move { tokio::time::timeout(patience, sending).await });
        match waited.await.map_err(ended)? {
            Ok(sent) => sent.map_err(ended)?,
            Err(_) => self.work(None, move |inner, _| Ok(inner.mailbox.entry(id)?.delivery)).await,
        }
    }
}

/// The tool that a request is for, and the account that it means.
fn meant(request: &MailRequest) -> (MailTool, Option<i64>) {
    match request {
        MailRequest::Sync(request) => (MailTool::Sync, request.account_id),
        MailRequest::List(request) => (MailTool::List, request.account_id),
        MailRequest::Get(request) => (MailTool::Get, request.account_id),
        MailRequest::Search(request) => (MailTool::Search, request.account_id),
        MailRequest::Send(request) => (MailTool::Send, request.account_id),
        MailRequest::Reply(request) => (MailTool::Reply, request.account_id),
    }
}

impl Inner {
    fn record(&self, tool: MailTool, account: Option<i64>) -> Result<(), MailError> {
        // Where there is no such account, nothing is done with one.
        let Ok(account) = self.mailbox.account(account) else { return Ok(()) };
        let capability = Capability::scoped(tool.kind(), &account.name);
        self.note(capability.map(|capability| AuditEvent::Used { capability, count: 1 }))
    }

    fn note_task(&self, task: MailTask, account: &str) -> Result<(), MailError> {
        self.note(Ok(AuditEvent::Mail { task, account: account.to_owned() }))
    }

    fn note(&self, event: airlock_core::Result<AuditEvent>) -> Result<(), MailError> {
        let Some(Audit { sink, who, on_failure }) = &self.audit else { return Ok(()) };
        let unrecorded = |error: airlock_core::Error| {
            MailError::new(MailCode::Storage, &format!("the audit log cannot be kept: {error}"))
        };
        match (event.and_then(|event| sink.record(who, &[event])), on_failure) {
            (Err(error), OnAuditFailure::Refuse) => Err(unrecorded(error)),
            (Err(error), OnAuditFailure::Continue) => {
                tracing::warn!(%error, "what is done with mail is not in the audit log");
                Ok(())
            }
            (Ok(()), _) => Ok(()),
        }
    }

    fn sync(&self, request: &SyncMail, watch: &dyn Watch) -> Result<SyncedFolder, MailError> {
        self.mailbox.sync(request, &*self.credentials, &self.connector, watch)
    }
}

/// Who looks on and says nothing, and stops what is fetched.
#[derive(Debug, Default, Clone)]
struct Silent(Stop);

impl Watch for Silent {
    fn stop(&self) -> Stop {
        self.0.clone()
    }
}

/// Stops what is fetched when nobody waits for it any more.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The error of a service that ends.
fn closed(_: tokio::sync::AcquireError) -> MailError {
    MailError::new(MailCode::Storage, "the mailbox's work ended")
}

/// The error of a thread that ended before its work did.
fn ended(error: tokio::task::JoinError) -> MailError {
    MailError::new(MailCode::Storage, &format!("the mailbox's work ended: {error}"))
}

impl Mail for MailService {
    fn sync<'a>(&'a self, permit: &'a Permit, request: &'a SyncMail) -> MailFuture<'a, Synced> {
        Box::pin(async move {
            let (kept, watch) = (request.clone(), Silent::default());
            let _stop = StopAtEnd(watch.0.clone());
            let find = move |inner: &Inner, caller: &Caller<'_>| {
                let account = inner.mailbox.account_for(kept.account_id, caller)?;
                Ok(SyncMail { account_id: Some(account.id), ..kept })
            };
            // Who may not is told so at once.
            let kept = self.work(Some(permit), find).await?;
            Ok(self.speak(Some(permit), move |inner, _| inner.sync(&kept, &watch)).await?.synced)
        })
    }

    fn list<'a>(&'a self, permit: &'a Permit, request: &'a ListMail) -> MailFuture<'a, Listed> {
        let kept = request.clone();
        Box::pin(self.of_account(permit, request.account_id, move |inner, id| {
            inner.mailbox.list(&ListMail { account_id: Some(id), ..kept })
        }))
    }

    fn get<'a>(&'a self, permit: &'a Permit, request: &'a GetMail) -> MailFuture<'a, Gotten> {
        let kept = request.clone();
        Box::pin(self.of_account(permit, request.account_id, move |inner, id| {
            inner.mailbox.get(&GetMail { account_id: Some(id), ..kept })
        }))
    }

    fn search<'a>(&'a self, permit: &'a Permit, request: &'a SearchMail) -> MailFuture<'a, Searched> {
        let kept = request.clone();
        Box::pin(self.of_account(permit, request.account_id, move |inner, id| {
            inner.mailbox.search(&SearchMail { account_id: Some(id), ..kept })
        }))
    }

    fn send<'a>(&'a self, permit: &'a Permit, request: &'a SendMail) -> MailFuture<'a, Sent> {
        Box::pin(self.send_for(Some(permit), request))
    }

    fn reply<'a>(&'a self, permit: &'a Permit, request: &'a ReplyMail) -> MailFuture<'a, Replied> {
        Box::pin(self.reply_for(Some(permit), request))
    }
}

/// What is being sent is sent, by the threads that do it; nobody waits for them here.
impl Drop for MailService {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for MailService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { mailbox, rules, .. } = &*self.inner;
        f.debug_struct("MailService").field("mailbox", mailbox).field("rules", rules).finish_non_exhaustive()
    }
}
