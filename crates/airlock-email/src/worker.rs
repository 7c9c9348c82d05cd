//! Sending what is due without being asked.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use airlock_core::{Delivery, MailError};

use crate::db::now;
use crate::{Connector, Credentials, Mailbox};

/// How long it sleeps at most: another process may have put something into the outbox, or
/// ended in the middle of sending.
const SLEEP: Duration = Duration::from_secs(30);

/// A thread that sends what is due in a mailbox, until it is dropped.
#[derive(Debug)]
pub struct OutboxWorker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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

    /// Starts one that tells what became of each message that it tried to send, or that it found.
    ///
    /// # Errors
    /// As [`OutboxWorker::start`].
    pub fn start_telling(
        mailbox: Arc<Mailbox>,
        credentials: Arc<dyn Credentials>,
        connector: Connector,
        tell: impl Fn(&Delivery) + Send + 'static,
    ) -> Result<Self, MailError> {
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        let work = move || {
            loop {
                match mailbox.deliver_due(&*credentials, &connector) {
                    Ok(tried) => tried.iter().for_each(|delivery| {
                        tracing::info!(
                            outbox = delivery.outbox_id,
                            status = delivery.status,
                            held = delivery.held
                        );
                        tell(delivery);
                    }),
                    Err(error) => tracing::warn!(%error, "the outbox cannot be sent"),
                }
                match mailbox.look_due(&*credentials, &connector) {
                    Ok(found) => found.iter().for_each(|delivery| {
                        tracing::info!(outbox = delivery.outbox_id, status = delivery.status);
                        tell(delivery);
                    }),
                    Err(error) => tracing::warn!(%error, "what was sent cannot be looked for"),
                }
                if of_thread.sleep(until_due(&mailbox)) == Woken::ToEnd {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("mail outbox".to_owned()).spawn(work);
        let thread = thread.map_err(|error| {
            MailError::new(
                airlock_core::MailCode::Storage,
                &format!("there is no thread for the outbox: {error}"),
            )
        })?;
        Ok(OutboxWorker { shared, thread: Some(thread) })
    }

    /// Has it look at once whether something is due.
    pub fn look(&self) {
        self.shared.ask(|asked| asked.to_look = true);
    }
}

/// Waits for the message that it is sending, so that what became of it is kept.
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

fn until_due(mailbox: &Mailbox) -> Duration {
    let due = mailbox.next_due().ok().flatten();
    let until = due.map(|due| Duration::from_secs(u64::try_from(due - now()).unwrap_or(0)));
    // What is due and was not sent just now belongs to another process for the moment.
    until.unwrap_or(SLEEP).clamp(Duration::from_secs(1), SLEEP)
}
