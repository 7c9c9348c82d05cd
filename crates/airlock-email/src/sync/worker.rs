//! Fetching mail again and again without being asked.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airlock_core::{MailCode, MailError, SyncMail};

use super::{SyncProgress, Watch};
use crate::worker::{Shared, Woken};
use crate::{Connector, Credentials, Mailbox, Stop};

/// How often a wait is doubled at most (PRX's).
const DOUBLED: u32 = 6;

/// How often folders are synced, and what is waited after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Between two syncs of a folder that go well.
    pub every: Duration,
    /// After the first failure; doubled with each further one.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
    /// Folders that are synced at once.
    pub at_once: usize,
}

/// Every five minutes; 10 to 300 seconds after failures and four at once, as PRX has it.
impl Default for Backoff {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Backoff { every: seconds(300), first: seconds(10), longest: seconds(300), at_once: 4 }
    }
}

impl Backoff {
    /// What is waited after so many failures, one at least: half of it is left to chance, so that
    /// what failed together does not come back together.
    fn after(&self, failures: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLED)).min(self.longest);
        // Without chance it is the longest.
        let chance = getrandom::u32().unwrap_or(u32::MAX);
        whole / 2 + (whole / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }
}

/// A thread that syncs folders, until it is dropped.
#[derive(Debug)]
pub struct SyncWorker {
    shared: Arc<Shared>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// A folder, and when it is synced next.
struct Planned {
    request: SyncMail,
    failures: u32,
    due: Instant,
}

/// Who looks on, and the stop of the worker.
struct Watched {
    watch: Arc<dyn Watch + Send>,
    stop: Stop,
}

impl Watch for Watched {
    fn progressed(&self, progress: &SyncProgress<'_>) {
        self.watch.progressed(progress);
    }

    fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl SyncWorker {
    /// Starts one for these folders, each of which is synced at once for the first time.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        mailbox: Arc<Mailbox>,
        requests: Vec<SyncMail>,
        backoff: Backoff,
        credentials: Arc<dyn Credentials>,
        connector: Connector,
        watch: Arc<dyn Watch + Send>,
    ) -> Result<Self, MailError> {
        let (shared, stop) = (Arc::<Shared>::default(), Stop::new());
        let (of_thread, watch) = (shared.clone(), Watched { watch, stop: stop.clone() });
        let due = Instant::now();
        let planned = |request| Planned { request, failures: 0, due };
        let mut plan: Vec<Planned> = requests.into_iter().map(planned).collect();
        let work = move || {
            loop {
                let mut due: Vec<&mut Planned> =
                    plan.iter_mut().filter(|one| one.due <= Instant::now()).collect();
                let requests: Vec<SyncMail> = due.iter().map(|one| one.request.clone()).collect();
                let synced = mailbox.sync_all(&requests, backoff.at_once, &*credentials, &connector, &watch);
                for (planned, synced) in due.iter_mut().zip(synced) {
                    planned.note(&backoff, synced.map(|synced| synced.more));
                }
                let next = plan.iter().map(|one| one.due).min();
                let wait = next.map_or(backoff.every, |next| next.saturating_duration_since(Instant::now()));
                match of_thread.sleep(wait) {
                    Woken::ToEnd => return,
                    Woken::ToLook => plan.iter_mut().for_each(|one| one.due = Instant::now()),
                    Woken::Rested => {}
                }
            }
        };
        let thread = std::thread::Builder::new().name("mail sync".to_owned()).spawn(work);
        let thread = thread.map_err(|error| {
            MailError::new(MailCode::Storage, &format!("there is no thread for the sync: {error}"))
        })?;
        Ok(SyncWorker { shared, stop, thread: Some(thread) })
    }

    /// Has it sync all folders at once.
    pub fn look(&self) {
        self.shared.ask(|asked| asked.to_look = true);
    }
}

impl Planned {
    /// Says when it is due next, by whether there is more to be fetched.
    fn note(&mut self, backoff: &Backoff, synced: Result<bool, MailError>) {
        let wait = match synced {
            Ok(more) => {
                self.failures = 0;
                if more { Duration::ZERO } else { backoff.every }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(%error, folder = self.request.folder, account = self.request.account_id, "no sync");
                backoff.after(self.failures)
            }
        };
        self.due = Instant::now() + wait;
    }
}

/// Cuts what it is doing: what was kept stays.
impl Drop for SyncWorker {
    fn drop(&mut self) {
        self.stop.stop();
        self.shared.ask(|asked| asked.to_end = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_a_bound_and_half_of_each_is_chance() {
        let backoff = Backoff::default();
        for (failures, whole) in [(1, 10), (2, 20), (3, 40), (6, 300), (u32::MAX, 300)] {
            let waits: Vec<Duration> = (0..50).map(|_| backoff.after(failures)).collect();
            let (half, whole) = (Duration::from_secs(whole) / 2, Duration::from_secs(whole));
            assert!(waits.iter().all(|wait| (half..=whole).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "no chance in it: {waits:?}");
        }
    }
}
