//! One managed plugin: its calls, counted, and the session that it may live in.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use airlock_core::{Digest, Error, ErrorKind, LimitKind, Outcome, Phase, Result};
use arc_swap::{ArcSwap, Guard};
use serde::{Serialize, Serializer};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::events::Bus;
use super::metrics::Meter;
use super::{Happened, Metrics, PluginInfo, millis};
use crate::answer::{Answer, Input};
use crate::bounded::{Interrupted, block_on, bounded};
use crate::cancel::CallOptions;
use crate::plugin::Plugin;
use crate::session::Session;
use crate::store::after;

/// Whether a managed plugin can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginState {
    /// It keeps state and has not been started.
    Created,
    /// It can be called.
    Ready,
    /// It keeps state, and a call of it runs.
    Running,
    /// It keeps state and was stopped; the next call starts it again.
    Stopped,
    /// It keeps state, and what it kept is lost since a call ended it. What becomes of later
    /// calls is the [`CrashPolicy`]'s to say.
    Failed(String),
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginState::Created => f.write_str("created"),
            PluginState::Ready => f.write_str("ready"),
            PluginState::Running => f.write_str("running"),
            PluginState::Stopped => f.write_str("stopped"),
            PluginState::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl Serialize for PluginState {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What becomes of a plugin that keeps state when a call has ended it: a trap, a limit, a
/// cancel. Plugins that keep none begin afresh at every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// The next call starts it afresh.
    #[default]
    Restart,
    /// Calls fail until it is [restarted](Managed::restart).
    Fail,
    /// The next call starts it afresh, but not before a time has passed, which doubles with
    /// every failure after which no call succeeded.
    BackOff {
        /// The time after the first failure.
        first: Duration,
        /// The longest time.
        longest: Duration,
    },
}

/// A plugin of a [`Manager`](super::Manager). Clones are one plugin.
#[derive(Clone)]
pub struct Managed(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    current: ArcSwap<Version>,
    meter: Meter,
    bus: Arc<Bus>,
    /// Milliseconds since 1970, 0 where there was none.
    last_call: AtomicU64,
    crash: Mutex<CrashPolicy>,
    /// What was there before it was replaced.
    previous: Mutex<Option<Plugin>>,
}

/// The bytes that calls are made of now.
pub(super) struct Version {
    plugin: Plugin,
    loaded_at: SystemTime,
    /// For plugins that keep state.
    life: Option<Life>,
}

/// The session that a plugin lives in, whose calls come one after another in the order in
/// which they asked.
struct Life {
    turn: Semaphore,
    /// Locked for moments only.
    inner: Mutex<Living>,
}

struct Living {
    session: Option<Session>,
    state: PluginState,
    /// Failures since a call last succeeded.
    failures: u32,
    /// Before when it is not started again.
    rests_until: Option<Instant>,
}

impl Life {
    fn new() -> Self {
        let (session, state) = (None, PluginState::Created);
        let inner = Mutex::new(Living { session, state, failures: 0, rests_until: None });
        Life { turn: Semaphore::new(1), inner }
    }

    fn lock(&self) -> MutexGuard<'_, Living> {
        // What is in it is whole between any two statements.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    fn new(plugin: Plugin) -> Self {
        let life = plugin.keeps_state().then(Life::new);
        Version { plugin, loaded_at: SystemTime::now(), life }
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Managed {
    pub(super) fn new(name: Arc<str>, plugin: Plugin, bus: Arc<Bus>) -> Self {
        Managed(Arc::new(Inner {
            name,
            current: ArcSwap::from_pointee(Version::new(plugin)),
            meter: Meter::new(),
            bus,
            last_call: AtomicU64::new(0),
            crash: Mutex::default(),
            previous: Mutex::default(),
        }))
    }

    /// The name it is managed by.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The plugin that its calls are made of now.
    pub fn plugin(&self) -> Plugin {
        self.version().plugin.clone()
    }

    fn version(&self) -> Guard<Arc<Version>> {
        self.0.current.load()
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.0.meter
    }

    pub(super) fn retire(&self) {
        self.version().plugin.retire();
    }

    pub(super) fn previous(&self) -> Option<Plugin> {
        self.0.previous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another plugin in its place, and gives the digest of the one that was there. Calls
    /// that run hold that one until they end.
    pub(super) fn put(&self, plugin: Plugin) -> Digest {
        let old = self.0.current.swap(Arc::new(Version::new(plugin)));
        let digest = old.plugin.digest();
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old.plugin.clone());
        digest
    }

    /// Has this become of it when a call ends it; [`CrashPolicy::Restart`] where nothing is
    /// said.
    pub fn on_crash(&self, policy: CrashPolicy) {
        *self.0.crash.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What its calls came to, those of bytes that it had before included.
    pub fn metrics(&self) -> Metrics {
        self.0.meter.snapshot()
    }

    /// Whether it can be called.
    pub fn state(&self) -> PluginState {
        let version = self.version();
        version.life.as_ref().map_or(PluginState::Ready, |life| life.lock().state.clone())
    }

    pub(super) fn info(&self, commands: Vec<String>) -> PluginInfo {
        let version = self.version();
        let last_call = self.0.last_call.load(Ordering::Relaxed);
        PluginInfo {
            name: self.0.name.clone(),
            own_name: version.plugin.name().to_owned(),
            version: version.plugin.manifest().and_then(|manifest| manifest.version.clone()),
            digest: version.plugin.digest(),
            abi: version.plugin.abi(),
            state: self.state(),
            loaded_at: millis(version.loaded_at),
            last_call: (last_call > 0).then_some(last_call),
            commands,
        }
    }

    /// Calls a function: of its session where it keeps state, which is started for that if it
    /// has to be, and of a fresh instance otherwise.
    ///
    /// # Errors
    /// As [`Plugin::call`]; [`ErrorKind::SessionEnded`] where its [`CrashPolicy`] does not start
    /// it again.
    pub async fn invoke(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.invoke_with(function, input, &CallOptions::new()).await
    }

    /// The same with a time or a handle of its own, which a session's calls have not.
    ///
    /// # Errors
    /// As [`Managed::invoke`].
    pub async fn invoke_with(
        &self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        let started = Instant::now();
        // Not a guard: it would be held for as long as the guest runs.
        let version = self.0.current.load_full();
        let result = match &version.life {
            None => version.plugin.invoke_with(function, input, options).await,
            Some(life) => self.in_session(&version, life, function, input).await,
        };
        self.ended(function, started, result)
    }

    /// [`Managed::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::invoke`] and [`Plugin::call_blocking`].
    pub fn invoke_blocking(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        let started = Instant::now();
        let version = self.0.current.load_full();
        let result = match &version.life {
            None => version.plugin.invoke_blocking(function, input),
            Some(life) => version
                .plugin
                .needs_fiber()
                .and_then(|_| block_on(self.in_session(&version, life, function, input))),
        };
        self.ended(function, started, result)
    }

    fn ended(
        &self,
        function: &str,
        started: Instant,
        result: Result<Outcome<Answer>>,
    ) -> Result<Outcome<Answer>> {
        let wall = started.elapsed();
        match &result {
            Ok(outcome) => self.0.meter.succeeded(wall, Some(&outcome.usage)),
            Err(error) => self.0.meter.failed(wall, error),
        }
        self.0.last_call.store(millis(SystemTime::now()), Ordering::Relaxed);
        self.0.bus.executed(&self.0.name, function, wall, result.as_ref().err());
        result
    }

    async fn in_session(
        &self,
        version: &Version,
        life: &Life,
        function: &str,
        input: Input,
    ) -> Result<Outcome<Answer>> {
        let turn = turn(version, life).await?;
        let mut session = self.session(version, life).await?;
        self.change(life, PluginState::Running);
        // Dropped with this future, the session is gone, and the next call finds none.
        let mut put_back = PutBack { managed: self, life, turn: Some(turn) };
        let result = session.invoke(function, input).await;
        put_back.settle(session, result.as_ref().err());
        result
    }

    /// The session, taken out; started where there is none.
    async fn session(&self, version: &Version, life: &Life) -> Result<Session> {
        {
            let mut living = life.lock();
            if let Some(session) = living.session.take() {
                return Ok(session);
            }
            if let PluginState::Failed(reason) = &living.state {
                let policy = *self.0.crash.lock().unwrap_or_else(PoisonError::into_inner);
                let rests = living.rests_until.is_some_and(|until| Instant::now() < until);
                if policy == CrashPolicy::Fail || rests {
                    return Err(Error::new(ErrorKind::SessionEnded(reason.clone())));
                }
                self.0.meter.restarted();
            }
        }
        match version.plugin.session().await {
            Ok(session) => {
                self.0.bus.tell(&self.0.name, || Happened::Initialised);
                Ok(session)
            }
            Err(error) => {
                self.failed(life, &error);
                Err(error)
            }
        }
    }

    fn failed(&self, life: &Life, error: &Error) {
        let policy = *self.0.crash.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut living = life.lock();
            if let CrashPolicy::BackOff { first, longest } = policy {
                let times = 1_u32.checked_shl(living.failures).unwrap_or(u32::MAX);
                let rest = first.saturating_mul(times).min(longest);
                living.rests_until = Some(after(Instant::now(), rest));
            }
            living.failures = living.failures.saturating_add(1);
        }
        self.change(life, PluginState::Failed(error.to_string()));
    }

    fn change(&self, life: &Life, to: PluginState) {
        let from = std::mem::replace(&mut life.lock().state, to.clone());
        if from != to {
            self.0.bus.tell(&self.0.name, || Happened::StateChanged { from, to });
        }
    }

    /// Starts it where it keeps state and has not been started.
    ///
    /// # Errors
    /// As [`Plugin::session`].
    pub async fn start(&self) -> Result<()> {
        let version = self.0.current.load_full();
        let Some(life) = &version.life else { return Ok(()) };
        let _turn = turn(&version, life).await?;
        let session = self.session(&version, life).await?;
        life.lock().session = Some(session);
        self.change(life, PluginState::Ready);
        Ok(())
    }

    /// Ends its session, once the call that runs in it has ended. What it kept is gone.
    ///
    /// # Errors
    /// Where that call did not end in time.
    pub async fn stop(&self) -> Result<()> {
        let version = self.0.current.load_full();
        let Some(life) = &version.life else { return Ok(()) };
        let _turn = turn(&version, life).await?;
        let session = life.lock().session.take();
        drop(session);
        self.change(life, PluginState::Stopped);
        Ok(())
    }

    /// Ends its session and starts it afresh, whatever its [`CrashPolicy`] is.
    ///
    /// # Errors
    /// As [`Managed::stop`] and [`Managed::start`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }
}

/// Waits for its turn, as long as a call may wait for a slot.
async fn turn<'a>(version: &Version, life: &'a Life) -> Result<SemaphorePermit<'a>> {
    if let Ok(turn) = life.turn.try_acquire() {
        return Ok(turn);
    }
    let limits = version.plugin.limits();
    let give_up = after(Instant::now(), limits.time(LimitKind::Wait));
    let phase = Phase::Wait;
    match bounded(give_up, version.plugin.cuts(None), life.turn.acquire()).await {
        // Nobody closes it.
        Ok(turn) => turn.map_err(|_| Error::new(ErrorKind::ShuttingDown)),
        Err(Interrupted::Cut) => Err(Error::new(ErrorKind::Cancelled { phase })),
        Err(Interrupted::Deadline) => {
            let (limit, maximum) = (LimitKind::Wait, limits.value(LimitKind::Wait));
            Err(Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase }))
        }
    }
}

/// Puts a session back when its call has ended, and says what became of it.
struct PutBack<'a> {
    managed: &'a Managed,
    life: &'a Life,
    /// Given back last.
    turn: Option<SemaphorePermit<'a>>,
}

impl PutBack<'_> {
    fn settle(&mut self, session: Session, error: Option<&Error>) {
        match (session.is_alive(), error) {
            (true, error) => {
                let mut living = self.life.lock();
                if error.is_none() {
                    (living.failures, living.rests_until) = (0, None);
                }
                living.session = Some(session);
                drop(living);
                self.managed.change(self.life, PluginState::Ready);
            }
            (false, Some(error)) => self.managed.failed(self.life, error),
            (false, None) => self.managed.change(self.life, PluginState::Stopped),
        }
        self.turn = None;
    }
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if self.turn.is_some() {
            // The call was given up, and its session with it.
            let error = Error::new(ErrorKind::Cancelled { phase: Phase::Call });
            self.managed.failed(self.life, &error);
        }
    }
}
