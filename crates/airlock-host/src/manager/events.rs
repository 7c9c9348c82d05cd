//! What happens to managed plugins, for whoever listens.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlock_core::{Capability, Digest, Error, ErrorKind, LimitKind, visible};
use serde::Serialize;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender};

use super::PluginState;
use crate::bounded::block_on;

/// Events that wait for a listener; the oldest beyond that are lost to it.
const WAITING: usize = 1024;

/// Something that happened to a managed plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PluginEvent {
    /// Which plugin.
    pub plugin: Arc<str>,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happened {
    /// It can be called from now on.
    Loaded {
        /// Its bytes.
        digest: Digest,
    },
    /// It was started: its initialisers have run.
    Initialised,
    /// It is in another state.
    StateChanged {
        /// Before.
        from: PluginState,
        /// Now.
        to: PluginState,
    },
    /// A call has ended.
    Executed {
        /// Of which function.
        function: Arc<str>,
        /// How long it took, in nanoseconds.
        wall_ns: u64,
        /// `ok`, or the code of its error.
        outcome: &'static str,
    },
    /// A call has trapped.
    Trapped {
        /// Of which function.
        function: Arc<str>,
        /// What the trap was.
        reason: String,
    },
    /// A limit, the deadline included, has ended a call.
    LimitHit {
        /// Of which function.
        function: Arc<str>,
        /// The limit's name.
        limit: &'static str,
    },
    /// A call needed what was not granted.
    Denied {
        /// What.
        capability: Capability,
        /// How often.
        times: u64,
    },
    /// It was started afresh after a crash.
    Restarted {
        /// Crashes since a call last succeeded.
        crashes: u32,
    },
    /// It is left alone after a crash.
    Resting {
        /// Crashes since a call last succeeded.
        crashes: u32,
        /// For so many milliseconds; none until it is restarted.
        rest_ms: Option<u64>,
    },
    /// It was not called for a while, and is stopped for that.
    Idle {
        /// After so many milliseconds.
        idle_ms: u64,
    },
    /// What it has run at the end of its session failed. The session has ended all the same.
    CleanUpFailed {
        /// With what.
        reason: String,
    },
    /// Other bytes took its place.
    Reloaded {
        /// Before.
        from: Digest,
        /// Now.
        to: Digest,
    },
    /// Other bytes were to take its place, and did not.
    ReloadFailed {
        /// Why not.
        reason: String,
    },
    /// Its file has other bytes, which are not put in its place by themselves.
    Changed {
        /// Theirs.
        to: Digest,
    },
    /// Other bytes ask for more than those that run, which go on.
    AsksForMore {
        /// Theirs.
        digest: Digest,
        /// What they ask for beyond that.
        more: Vec<Capability>,
    },
    /// A path, which stands in a plugin's place here, could not be watched: what changes there is
    /// not seen.
    NotWatched {
        /// Why not.
        reason: String,
    },
    /// It could not be loaded.
    LoadFailed {
        /// Why not.
        reason: String,
    },
    /// It can be called no more.
    Unloaded,
}

/// As a line for people, with nothing in it that a terminal would act on.
impl fmt::Display for PluginEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = |text: &str| visible(text, false).into_owned();
        let list = |capabilities: &[Capability]| {
            capabilities.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} ", v(&self.plugin))?;
        match &self.what {
            Happened::Loaded { digest } => write!(f, "loaded ({})", digest.short()),
            Happened::Initialised => f.write_str("initialised"),
            Happened::StateChanged { from, to } => write!(f, "{from} -> {}", v(&to.to_string())),
            Happened::Executed { function, wall_ns, outcome } => {
                write!(f, "{}: {outcome} in {:.1?}", v(function), Duration::from_nanos(*wall_ns))
            }
            Happened::Trapped { function, reason } => write!(f, "{} trapped: {}", v(function), v(reason)),
            Happened::LimitHit { function, limit } => write!(f, "{} hit the limit `{limit}`", v(function)),
            Happened::Denied { capability, times: 1 } => write!(f, "was denied `{capability}`"),
            Happened::Denied { capability, times } => write!(f, "was denied `{capability}` {times} times"),
            Happened::Restarted { crashes } => write!(f, "restarted after crash {crashes}"),
            Happened::Resting { crashes, rest_ms: Some(rest) } => {
                write!(f, "rests {:.1?} after crash {crashes}", Duration::from_millis(*rest))
            }
            Happened::Resting { crashes, rest_ms: None } => {
                write!(f, "rests until it is restarted, after crash {crashes}")
            }
            Happened::Idle { idle_ms } => {
                write!(f, "was not called for {:.1?}", Duration::from_millis(*idle_ms))
            }
            Happened::CleanUpFailed { reason } => write!(f, "left without cleaning up: {}", v(reason)),
            Happened::Reloaded { from, to } => write!(f, "reloaded ({} -> {})", from.short(), to.short()),
            Happened::ReloadFailed { reason } => write!(f, "not reloaded: {}", v(reason)),
            Happened::Changed { to } => write!(f, "has changed ({})", to.short()),
            Happened::AsksForMore { digest, more } => {
                write!(f, "not reloaded: {} asks for more: {}", digest.short(), list(more))
            }
            Happened::NotWatched { reason } => write!(f, "cannot be watched: {}", v(reason)),
            Happened::LoadFailed { reason } => write!(f, "not loaded: {}", v(reason)),
            Happened::Unloaded => f.write_str("unloaded"),
        }
    }
}

/// Where events go. Nothing is made of what nobody listens to.
#[derive(Debug)]
pub(super) struct Bus {
    /// None once it was closed. Locked only where there are listeners.
    sender: Mutex<Option<Sender<PluginEvent>>>,
    /// Counted here, since the channel takes a lock to tell.
    listeners: Arc<AtomicUsize>,
}

impl Bus {
    pub(super) fn new() -> Self {
        Bus { sender: Mutex::new(Some(Sender::new(WAITING))), listeners: Arc::default() }
    }

    pub(super) fn listen(&self) -> PluginEvents {
        let receiver = match &*self.sender() {
            Some(sender) => sender.subscribe(),
            None => Sender::new(1).subscribe(),
        };
        self.listeners.fetch_add(1, Ordering::Relaxed);
        PluginEvents { receiver, listeners: self.listeners.clone() }
    }

    /// Has listeners come to an end, after what they were told before.
    pub(super) fn close(&self) {
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<Sender<PluginEvent>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn has_listeners(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    pub(super) fn tell(&self, plugin: &Arc<str>, what: impl FnOnce() -> Happened) {
        if self.has_listeners() {
            let event = PluginEvent { plugin: plugin.clone(), what: what() };
            if let Some(sender) = &*self.sender() {
                // The last listener may have gone in between.
                let _ = sender.send(event);
            }
        }
    }

    /// Tells how a call has ended.
    #[cold]
    pub(super) fn executed(&self, plugin: &Arc<str>, function: &str, wall: Duration, error: Option<&Error>) {
        let function: Arc<str> = function.into();
        match error.map(Error::kind) {
            Some(ErrorKind::Trap { reason, .. }) => {
                self.tell(plugin, || Happened::Trapped {
                    function: function.clone(),
                    reason: reason.clone(),
                });
            }
            Some(ErrorKind::Limit { limit, .. }) => {
                self.tell(plugin, || Happened::LimitHit {
                    function: function.clone(),
                    limit: limit.row().name,
                });
            }
            Some(ErrorKind::Deadline { .. }) => {
                let limit = LimitKind::Timeout.row().name;
                self.tell(plugin, || Happened::LimitHit { function: function.clone(), limit });
            }
            _ => {}
        }
        let outcome = error.map_or("ok", Error::code);
        let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        self.tell(plugin, || Happened::Executed { function, wall_ns, outcome });
    }
}

/// Events on their way to a listener, from when it began to listen.
#[derive(Debug)]
pub struct PluginEvents {
    receiver: Receiver<PluginEvent>,
    listeners: Arc<AtomicUsize>,
}

impl Drop for PluginEvents {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a listener is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Something happened.
    Event(PluginEvent),
    /// So many events were lost, as they were not taken fast enough: 1024 wait.
    Missed(u64),
}

impl PluginEvents {
    /// The next one, waited for; none once the manager is gone, or was [shut
    /// down](super::Manager::shutdown).
    pub async fn next(&mut self) -> Option<Notice> {
        match self.receiver.recv().await {
            Ok(event) => Some(Notice::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Notice::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// [`PluginEvents::next`] on this thread, until there is one.
    pub fn next_blocking(&mut self) -> Option<Notice> {
        block_on(self.next())
    }

    /// The next one, where it is there.
    pub fn try_next(&mut self) -> Option<Notice> {
        match self.receiver.try_recv() {
            Ok(event) => Some(Notice::Event(event)),
            Err(TryRecvError::Lagged(missed)) => Some(Notice::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}
