//! Sending what is due without being asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airlock_core::{Delivery, MailError};

use crate::db::now;
use crate::deliver::AT_ONCE;
use crate::{Connector, Credentials, Mailbox, Stop};

/// How long it sleeps at most: another process may have put something into the outbox, or
/// ended in the middle of sending.
const SLEEP: Duration = Duration::from_secs(30);

/// How long it goes on with what it is sending when it is to end, and how long it waits then for what
/// it has cut: a name that is being looked up cannot be.
const GRACE: Duration = Duration::from_secs(5);
const CUT: Duration = Duration::from_secs(2);

/// What an account rests where it is due still: another process has what it would send.
const REST: Duration = Duration::from_secs(1);

/// Threads that send what is due in a mailbox, until it is dropped: one for each account that has
/// something, a few at once.
#[derive(Debug)]
pub struct OutboxWorker {
    shared: Arc<Shared>,
    busy: Arc<Busy>,
    thread: Option<JoinHandle<()>>,
}

/// Accounts that are being sent from, and those that rest until a moment.
#[derive(Debug, Default)]
struct Busy {
    accounts: Mutex<BTreeMap<i64, Option<Instant>>>,
    ended: Condvar,
}

/// All that a thread needs to send.
#[derive(Clone)]
struct Sender {
    mailbox: Arc<Mailbox>,
    credentials: Arc<dyn Credentials>,
    connector: Connector,
    shared: Arc<Shared>,
    busy: Arc<Busy>,
    stop: Stop,
    tell: Arc<dyn Fn(&Delivery) + Send + Sync>,
}

/// What a worker's thread is asked.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) to_end: bool,
    pub(crate) to_look: bool,
}

/// Why a worker does not sleep any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    ToEnd,
    ToLook,
    Rested,
}

impl OutboxWorker {
    /// Starts one.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        mailbox: Arc<Mailbox>,
        credentials: Arc<dyn Credentials>,
        connector: Connector,
    ) -> Result<Self, MailError> {
        OutboxWorker::start_telling(mailbox, credentials, connector, |_| ())
    }

    /// Starts one that tells what became of each message that it tried to send, or that it found. It tells
    /// from several threads.
    ///
    /// # Errors
    /// As [`OutboxWorker::start`].
    pub fn start_telling(
        mailbox: Arc<Mailbox>,
        credentials: Arc<dyn Credentials>,
        connector: Connector,
        tell: impl Fn(&Delivery) + Send + Sync + 'static,
    ) -> Result<Self, MailError> {
        let (shared, busy) = (Arc::<Shared>::default(), Arc::<Busy>::default());
        let sender = Sender {
            mailbox,
            credentials,
            connector,
            shared: shared.clone(),
            busy: busy.clone(),
            stop: Stop::new(),
            tell: Arc::new(tell),
        };
        let thread = std::thread::Builder::new().name("mail outbox".to_owned()).spawn(move || sender.work());
        let thread = thread.map_err(|error| {
            MailError::new(
                airlock_core::MailCode::Storage,
                &format!("there is no thread for the outbox: {error}"),
            )
        })?;
        Ok(OutboxWorker { shared, busy, thread: Some(thread) })
    }

    /// Has it look at once whether something is due.
    pub fn look(&self) {
        self.busy.wake();
        self.shared.ask(|asked| asked.to_look = true);
    }
}

/// Waits for what it is sending, so that what became of it is kept: for five seconds, and then the
/// connections are cut. What the server may have taken by then is uncertain.
impl Drop for OutboxWorker {
    fn drop(&mut self) {
        self.shared.ask(|asked| asked.to_end = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(crate) fn ask(&self, what: impl FnOnce(&mut Asked)) {
        what(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Sleeps until it is asked something, or so long.
    pub(crate) fn sleep(&self, time: Duration) -> Woken {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |asked: &mut Asked| !asked.to_end && !asked.to_look;
        let waited = self.changed.wait_timeout_while(asked, time, idle);
        let (mut asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (asked.to_end, std::mem::take(&mut asked.to_look)) {
            (true, _) => Woken::ToEnd,
            (false, true) => Woken::ToLook,
            (false, false) => Woken::Rested,
        }
    }
}

impl Busy {
    fn accounts(&self) -> MutexGuard<'_, BTreeMap<i64, Option<Instant>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.accounts().retain(|_, rests_until| rests_until.is_none());
    }

    fn end(&self, account: i64, rest: Duration) {
        self.accounts().insert(account, Some(Instant::now() + rest));
        self.ended.notify_all();
    }

    /// Waits until nobody sends any more, or so long.
    fn wait(&self, time: Duration) {
        let any = |accounts: &mut BTreeMap<i64, Option<Instant>>| accounts.values().any(Option::is_none);
        drop(self.ended.wait_timeout_while(self.accounts(), time, any));
    }
}

impl Sender {
    fn work(&self) {
        loop {
            let wait = self.start_due().unwrap_or_else(|error| {
                tracing::warn!(%error, "the outbox cannot be sent");
                SLEEP
            });
            if self.shared.sleep(wait) == Woken::ToEnd {
                break;
            }
        }
        self.busy.wait(GRACE);
        self.stop.stop();
        self.busy.wait(CUT);
    }

    /// Starts to send from accounts that are due, each on a thread; how long until more is to be done.
    fn start_due(&self) -> Result<Duration, MailError> {
        self.mailbox.take_up()?;
        let dues = self.mailbox.dues()?;
        let (mut accounts, moment) = (self.busy.accounts(), Instant::now());
        accounts.retain(|_, rests_until| rests_until.is_none_or(|until| until > moment));
        let mut sending = accounts.values().filter(|rests_until| rests_until.is_none()).count();
        let mut wait = SLEEP;
        for (account, at) in dues {
            let until = Duration::from_secs(u64::try_from(at - now()).unwrap_or(0));
            match accounts.get(&account) {
                // Whoever ends wakes this.
                Some(None) => {}
                Some(Some(rests_until)) => wait = wait.min(until.max(*rests_until - moment)),
                None if !until.is_zero() => wait = wait.min(until),
                None if sending == AT_ONCE => {}
                None => {
                    let sender = self.clone();
                    let thread = std::thread::Builder::new().name("mail account".to_owned());
                    match thread.spawn(move || sender.send_of(account)) {
                        Ok(_) => {
                            accounts.insert(account, None);
                            sending += 1;
                        }
                        Err(error) => {
                            tracing::warn!(%error, account, "there is no thread to send");
                            wait = wait.min(REST);
                        }
                    }
                }
            }
        }
        Ok(wait)
    }

    fn send_of(&self, account: i64) {
        /// An account is not busy for ever, whatever becomes of its thread.
        struct Ends<'a>(&'a Sender, i64, Duration);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.busy.end(self.1, self.2);
                self.0.shared.ask(|asked| asked.to_look = true);
            }
        }
        let mut ends = Ends(self, account, SLEEP);
        let (credentials, connector) = (&*self.credentials, &self.connector);
        let (tried, error) = self.mailbox.deliver_of(account, credentials, connector, &self.stop);
        for delivery in &tried {
            tracing::info!(outbox = delivery.outbox_id, status = delivery.status, held = delivery.held);
            (self.tell)(delivery);
        }
        match self.mailbox.look_due_of(account, credentials, connector, &self.stop) {
            Ok(found) => {
                for delivery in &found {
                    tracing::info!(outbox = delivery.outbox_id, status = delivery.status);
                    (self.tell)(delivery);
                }
                // What could not be dealt with cannot be in a second either.
                ends.2 = if error.is_none() { REST } else { SLEEP };
            }
            Err(error) => tracing::warn!(%error, "what was sent cannot be looked for"),
        }
    }
}
