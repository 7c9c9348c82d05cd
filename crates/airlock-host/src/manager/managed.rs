//! One managed plugin: its calls, counted, and the session that it may live in.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use airlock_core::{AuditEvent, Digest, Error, ErrorKind, LimitKind, Outcome, Permit, Phase, Result};
use arc_swap::ArcSwap;
// Read from the processor's own counter, in a third of the time that the system's clock takes.
use quanta::Instant as Moment;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::events::Bus;
use super::keeper::Keeper;
use super::life::{Asked, Change, End, Life, Rest, Turn, is_crash};
use super::metrics::Meter;
use super::{Happened, Metrics, PluginInfo, millis};
use crate::answer::{Answer, Input, Program};
use crate::bounded::block_on;
use crate::cancel::CallOptions;
use crate::func::{Params, Results};
use crate::load::LoadOptions;
use crate::plugin::{Plugin, ProgramInput, WeakPlugin};
use crate::session::{Manner, Session};
use crate::slots::Patience;
use crate::source::Source;
use crate::store::{Account, after};

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
    /// A call has ended it, and what it kept is lost. What becomes of later calls is the
    /// [`CrashPolicy`]'s to say.
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

/// What becomes of a plugin that a call of it has ended: by a trap, a broken rule of its ABI, a
/// limit or the deadline. A call that was cancelled is no crash, though what was kept is lost
/// with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// The next call starts it afresh.
    #[default]
    Restart,
    /// Calls fail until it is [restarted](Managed::restart).
    Fail,
    /// The next call starts it afresh, but not before a time has passed, which doubles with
    /// every crash after which no call succeeded.
    BackOff {
        /// The time after the first crash.
        first: Duration,
        /// The longest time.
        longest: Duration,
    },
}

/// What becomes of what was [allowed](LoadOptions::allow) with a load when the plugin's bytes
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Allowed {
    /// It was allowed to those bytes: others that ask for it are not put in their place.
    #[default]
    TheseBytes,
    /// It is allowed to whatever bytes come from there, as long as they ask for no more.
    AnyBytes,
}

/// A plugin of a [`Manager`](super::Manager). Clones are one plugin.
#[derive(Clone)]
pub struct Managed(pub(super) Arc<Inner>);

pub(super) struct Inner {
    name: Arc<str>,
    current: ArcSwap<Version>,
    life: Life,
    meter: Arc<Meter>,
    bus: Arc<Bus>,
    keeper: Arc<Keeper>,
    settings: Mutex<Settings>,
    /// What was there before it was replaced.
    previous: Mutex<Option<Plugin>>,
    /// Those whose calls may still run.
    replaced: Mutex<Vec<WeakPlugin>>,
    unloaded: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    crash: CrashPolicy,
    idle: Option<Duration>,
    allowed: Allowed,
    origin: Option<Origin>,
}

/// The file or folder that a plugin was loaded from, and how.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) options: LoadOptions,
}

impl Origin {
    /// None where it can be loaded from there but once.
    pub(super) fn of(source: &Source, options: &LoadOptions) -> Option<Self> {
        match source {
            Source::Path(path) => Some(Origin { path: path.clone(), options: options.clone() }),
            _ => None,
        }
    }
}

/// The bytes that calls are made of now.
struct Version {
    plugin: Plugin,
    keeps_state: bool,
    loaded_at: SystemTime,
    /// Tells it from those before and after.
    era: u64,
}

impl Version {
    fn new(plugin: Plugin, era: u64) -> Self {
        let keeps_state = plugin.keeps_state();
        Version { plugin, keeps_state, loaded_at: SystemTime::now(), era }
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// A call that is counted as given up when this is dropped before it has ended.
struct Counting<'a> {
    managed: &'a Managed,
    function: &'a str,
    started: Moment,
    ended: bool,
}

impl<'a> Counting<'a> {
    fn new(managed: &'a Managed, function: &'a str, started: Moment) -> Self {
        Counting { managed, function, started, ended: false }
    }

    /// Counts it no more, and says when it began.
    fn end(mut self) -> Moment {
        self.ended = true;
        self.started
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let (phase, ended) = (Phase::Call, Moment::now());
            let error = Error::new(ErrorKind::Cancelled { phase });
            let wall = ended.saturating_duration_since(self.started);
            self.managed.count(self.function, wall, ended, Some(&error), &Account::default());
        }
    }
}

/// A turn that ends as a call that was given up, unless it ends before.
struct Running<'a> {
    managed: &'a Managed,
    turn: Option<Turn<'a>>,
}

impl Running<'_> {
    /// What it is while nobody runs.
    fn was(&self) -> Option<PluginState> {
        self.turn.as_ref().map(Turn::state)
    }

    /// What came of the turn, told.
    #[inline]
    fn end(mut self, session: Option<Box<Session>>, end: End, at: Moment) -> Option<Box<Session>> {
        let turn = self.turn.take()?;
        self.managed.turn_ended(turn, session, end, at)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            let reason = "a call of it was given up".to_owned();
            // Whoever gives a call up has taken the session with it.
            self.managed.turn_ended(turn, None, End::Lost { reason, crashed: false }, Moment::now());
        }
    }
}

impl Managed {
    pub(super) fn new(name: Arc<str>, plugin: Plugin, bus: Arc<Bus>, keeper: Arc<Keeper>) -> Self {
        Managed(Arc::new(Inner {
            name,
            life: Life::new(plugin.keeps_state()),
            current: ArcSwap::from_pointee(Version::new(plugin, 0)),
            meter: Arc::new(Meter::new()),
            bus,
            keeper,
            settings: Mutex::default(),
            previous: Mutex::default(),
            replaced: Mutex::default(),
            unloaded: AtomicBool::new(false),
        }))
    }

    /// The name it is managed by.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The plugin that its calls are made of now.
    pub fn plugin(&self) -> Plugin {
        self.0.current.load().plugin.clone()
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.0.meter
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.0.bus
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        // Each change of it is whole.
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has this become of it when a call ends it; [`CrashPolicy::Restart`] where nothing is
    /// said.
    pub fn on_crash(&self, policy: CrashPolicy) {
        self.settings().crash = policy;
    }

    /// Stops it when it was not called for so long, where it keeps state: its memory is given back,
    /// what it kept is gone, and the next call starts it again. None where nothing is said.
    pub fn stop_idle_after(&self, idle: Option<Duration>) {
        self.settings().idle = idle;
        self.watch_idle();
    }

    /// Whether what was allowed with its load holds for other bytes too, as they come from its
    /// file; [`Allowed::TheseBytes`] where nothing is said.
    pub fn allowed(&self, allowed: Allowed) {
        self.settings().allowed = allowed;
    }

    pub(super) fn allows(&self) -> Allowed {
        self.settings().allowed
    }

    pub(super) fn came_from(&self, origin: Origin) {
        self.settings().origin = Some(origin);
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.settings().origin.clone()
    }

    fn policy(&self) -> CrashPolicy {
        self.settings().crash
    }

    /// What its calls came to, those of bytes that it had before included.
    pub fn metrics(&self) -> Metrics {
        self.0.meter.snapshot()
    }

    /// Whether it can be called.
    pub fn state(&self) -> PluginState {
        self.0.life.state()
    }

    /// How many calls of it wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.current.load().plugin.waiting().len()
    }

    /// Whether no call of it runs or waits.
    pub fn is_idle(&self) -> bool {
        !self.0.life.is_busy() && !self.0.current.load().plugin.runs_fresh()
    }

    pub(super) fn info(&self, commands: Vec<String>) -> PluginInfo {
        let version = self.0.current.load();
        let plugin = &version.plugin;
        PluginInfo {
            name: self.0.name.clone(),
            own_name: plugin.name().to_owned(),
            version: plugin.manifest().and_then(|manifest| manifest.version.clone()),
            digest: plugin.digest(),
            abi: plugin.abi(),
            state: self.0.life.state(),
            loaded_at: millis(version.loaded_at),
            last_call: self.0.meter.last_ended().map(millis),
            commands,
        }
    }

    // ---- What is called now, and what was before.

    pub(super) fn previous(&self) -> Option<Plugin> {
        self.0.previous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another plugin in its place. Calls that run hold the one before until they end. Gives
    /// its digest, and its session where that is to be closed.
    pub(super) fn put(&self, plugin: Plugin) -> (Digest, Option<Box<Session>>) {
        // Whoever replaces holds a lock of the manager's.
        let era = self.0.current.load().era + 1;
        let version = Version::new(plugin, era);
        let keeps_state = version.keeps_state;
        let old = self.0.current.swap(Arc::new(version));
        let session = self.0.life.begin_era(era, keeps_state);
        let digest = old.plugin.digest();
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old.plugin.clone());
        let mut replaced = self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(WeakPlugin::lives);
        replaced.push(old.plugin.downgrade());
        (digest, session)
    }

    pub(super) fn is_unloaded(&self) -> bool {
        self.0.unloaded.load(Ordering::SeqCst)
    }

    /// No call of it begins any more. Gives its session, where that is to be closed first.
    pub(super) fn close(&self) -> Option<Box<Session>> {
        self.0.unloaded.store(true, Ordering::SeqCst);
        self.0.life.close()
    }

    /// Ends all calls of it, also of bytes that it had before.
    pub(super) fn retire(&self) {
        self.0.current.load().plugin.retire();
        let replaced = std::mem::take(&mut *self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner));
        replaced.iter().for_each(WeakPlugin::retire);
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    #[cold]
    fn not_loaded(&self) -> Error {
        Error::new(ErrorKind::NotLoaded { name: self.0.name.to_string(), nearest: Vec::new() })
    }

    // ---- Calls.

    /// Calls a function with a Rust value in and one out, as [`Plugin::call`] does.
    ///
    /// # Errors
    /// As [`Managed::invoke`].
    pub async fn call<T, R>(&self, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let called = self.invoke(function, Input::json(input)?).await?;
        called.try_map(|answer| answer.parse(function))
    }

    /// Calls a function: of its session where it keeps state, which is started for that if it
    /// has to be, and of a fresh instance otherwise.
    ///
    /// # Errors
    /// As [`Plugin::call`]; [`ErrorKind::Crashed`] where its [`CrashPolicy`] does not start it
    /// again.
    pub async fn invoke(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.invoke_with(function, input, &CallOptions::new()).await
    }

    /// The same with a time or a handle of its own.
    ///
    /// # Errors
    /// As [`Managed::invoke`]; [`ErrorKind::Cancelled`] when the handle ended it.
    pub async fn invoke_with(
        &self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        self.in_manner(function, input, Manner { awaited: true, options, inside: None }).await
    }

    /// Calls a function for a tool that was called with this permit, as
    /// [`Plugin::invoke_within`] does.
    ///
    /// # Errors
    /// As [`Managed::invoke`]; [`ErrorKind::Reentered`] where it keeps state and a call of it is
    /// what the tool was called from.
    pub async fn invoke_within(
        &self,
        permit: &Permit,
        function: &str,
        input: Input,
    ) -> Result<Outcome<Answer>> {
        let options = &CallOptions::new();
        self.in_manner(function, input, Manner { awaited: true, options, inside: Some(permit) }).await
    }

    /// [`Managed::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::invoke`] and [`Plugin::call_blocking`].
    pub fn invoke_blocking(&self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.invoke_blocking_with(function, input, &CallOptions::new())
    }

    /// [`Managed::invoke_with`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::invoke_with`] and [`Plugin::call_blocking`].
    pub fn invoke_blocking_with(
        &self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        let awaited = self.0.current.load().plugin.needs_fiber()?;
        block_on(pin!(self.in_manner(function, input, Manner { awaited, options, inside: None })))
    }

    async fn in_manner(&self, function: &str, input: Input, manner: Manner<'_>) -> Result<Outcome<Answer>> {
        let counting = Counting::new(self, function, Moment::now());
        // Not a guard: it would be held for as long as the guest runs.
        let version = self.0.current.load_full();
        let mut account = Account::default();
        let result = match version.keeps_state {
            // Pinned where they are: they are some kilobytes large, and would be copied to be awaited.
            false => pin!(self.fresh(&version, function, input, manner, &mut account)).await,
            true => pin!(self.in_session(function, input, manner, &mut account)).await,
        };
        let ended = counting.end() + account.wall();
        self.ended(function, ended, result, &account)
    }

    async fn fresh(
        &self,
        version: &Version,
        function: &str,
        input: Input,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Result<Outcome<Answer>> {
        self.well()?;
        let result = pin!(version.plugin.invoke_into(function, input, manner, account)).await;
        self.fared(version, result.as_ref().err());
        result
    }

    /// Whether a plugin that keeps no state may be called.
    fn well(&self) -> Result<()> {
        if self.is_unloaded() {
            return Err(self.not_loaded());
        }
        match self.0.life.is_unwell() {
            false => Ok(()),
            true => self.0.life.refuse(&self.0.name, self.policy()),
        }
    }

    /// What the end of a call means for a plugin that keeps no state.
    fn fared(&self, version: &Version, error: Option<&Error>) {
        let crash = error.filter(|error| self.is_crash(error));
        if crash.is_none() && !(self.0.life.is_unwell() && error.is_none()) {
            return;
        }
        if let Some((change, rest)) = self.0.life.fared(version.era, crash, self.policy()) {
            self.changed(Some(change));
            self.rests(rest);
        }
    }

    async fn in_session(
        &self,
        function: &str,
        input: Input,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Result<Outcome<Answer>> {
        let (mut running, mut session) = self.enter(manner, account).await?;
        self.runs(&mut running);
        let result = pin!(session.run(function, input, manner)).await;
        account.merge(session.account());
        if let Some(left) = self.leave(running, session, result.as_ref().err(), Moment::now()) {
            self.close_session(left).await;
        }
        result
    }

    /// The turn and the session, started where there is none.
    async fn enter<'a>(
        &'a self,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Result<(Running<'a>, Box<Session>)> {
        let mut turn = self.turn(manner, account).await?;
        if let Some(session) = turn.session() {
            return Ok((Running { managed: self, turn: Some(turn) }, session));
        }
        account.begin();
        if let Err(refused) = self.0.life.refuse(&self.0.name, self.policy()) {
            turn.pass();
            return Err(refused);
        }
        let (after_crashes, version) = (self.0.life.crashes(), self.0.current.load_full());
        let running = Running { managed: self, turn: Some(turn) };
        match version.plugin.open(manner.awaited).await {
            Ok(session) => {
                self.started(after_crashes);
                Ok((running, Box::new(session)))
            }
            Err(error) => Err(self.not_started(running, error)),
        }
    }

    /// Waits for its turn, for as long as a call may wait.
    async fn turn<'a>(&'a self, manner: Manner<'_>, account: &mut Account) -> Result<Turn<'a>> {
        loop {
            let line = match self.0.life.ask() {
                Asked::Turn(turn) => return Ok(turn),
                Asked::Closed => return Err(self.not_loaded()),
                Asked::Wait(line) => line,
            };
            let began = account.begin();
            let plugin = self.plugin();
            if manner.inside.is_some_and(|permit| is_inside(permit, &plugin)) {
                return Err(Error::new(ErrorKind::Reentered(self.0.name.to_string())));
            }
            let limits = plugin.limits();
            let limit = limits.time(LimitKind::Timeout);
            let own = after(began, manner.options.timeout.map_or(limit, |asked| asked.min(limit)));
            let deadline = manner.inside.map_or(own, |permit| own.min(permit.deadline()));
            let _waiting = plugin.waiting().join(limits)?;
            let cuts = plugin.cuts(manner.options.cancel.as_ref());
            let waited = Patience::since(limits, deadline, began).wait(cuts, line.turn()).await;
            match waited {
                Ok(Some(turn)) => return Ok(turn),
                // Other bytes have taken its place, or it is gone.
                Ok(None) => {}
                Err(_) if self.is_unloaded() => return Err(self.not_loaded()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts the session back after its call. What is returned is to be closed.
    #[inline]
    fn leave(
        &self,
        running: Running<'_>,
        session: Box<Session>,
        error: Option<&Error>,
        at: Moment,
    ) -> Option<Box<Session>> {
        match (session.is_alive(), error) {
            (true, None) => running.end(Some(session), End::Well, at),
            (true, Some(_)) => running.end(Some(session), End::Unharmed, at),
            (false, Some(error)) => {
                let (reason, crashed) = (error.to_string(), self.is_crash(error));
                running.end(None, End::Lost { reason, crashed }, at)
            }
            (false, None) => running.end(None, End::Stopped, at),
        }
    }

    fn not_started(&self, running: Running<'_>, error: Error) -> Error {
        let (reason, crashed) = (error.to_string(), self.is_crash(&error));
        running.end(None, End::Lost { reason, crashed }, Moment::now());
        error
    }

    /// Whether a call crashed, which is counted.
    fn is_crash(&self, error: &Error) -> bool {
        let crashed = is_crash(error);
        if crashed {
            self.0.meter.crashed();
        }
        crashed
    }

    fn started(&self, after_crashes: Option<u32>) {
        if let Some(crashes) = after_crashes {
            self.0.meter.restarted();
            self.0.bus.tell(&self.0.name, || Happened::Restarted { crashes });
        }
        self.0.bus.tell(&self.0.name, || Happened::Initialised);
        if self.settings().idle.is_some() && self.0.life.wants_watch() {
            self.look_later();
        }
    }

    #[inline]
    fn runs(&self, running: &mut Running<'_>) {
        if self.0.bus.has_listeners()
            && let Some(turn) = &mut running.turn
        {
            let from = turn.runs();
            self.changed(Some((from, PluginState::Running)));
        }
    }

    #[inline]
    fn turn_ended(
        &self,
        turn: Turn<'_>,
        session: Option<Box<Session>>,
        end: End,
        at: Moment,
    ) -> Option<Box<Session>> {
        let ended = turn.end(session, end, at, || self.policy());
        if ended.change.is_some() || ended.rest.is_some() {
            self.changed(ended.change);
            self.rests(ended.rest);
        }
        ended.left
    }

    fn changed(&self, change: Option<Change>) {
        if let Some((from, to)) = change.filter(|(from, to)| from != to) {
            self.0.bus.tell(&self.0.name, || Happened::StateChanged { from, to });
        }
    }

    fn rests(&self, rest: Option<Rest>) {
        if let Some(Rest { crashes, time }) = rest {
            let rest_ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            self.0.bus.tell(&self.0.name, || Happened::Resting { crashes, rest_ms });
        }
    }

    fn ended<T>(&self, function: &str, ended: Moment, result: Result<T>, account: &Account) -> Result<T> {
        self.count(function, account.wall(), ended, result.as_ref().err(), account);
        result
    }

    #[inline]
    fn count(&self, function: &str, wall: Duration, ended: Moment, error: Option<&Error>, account: &Account) {
        self.0.meter.count(wall, ended, error, account.usage.as_ref(), &account.uses);
        if self.0.bus.has_listeners() {
            self.tell_called(function, wall, error, &account.uses);
        }
    }

    #[cold]
    fn tell_called(&self, function: &str, wall: Duration, error: Option<&Error>, uses: &[AuditEvent]) {
        self.tell_denied(uses, error);
        self.0.bus.executed(&self.0.name, function, wall, error);
    }

    #[cold]
    fn tell_denied(&self, uses: &[AuditEvent], error: Option<&Error>) {
        if let (Some(ErrorKind::Denied(capability)), true) = (error.map(Error::kind), uses.is_empty()) {
            let (capability, times) = (capability.clone(), 1);
            self.0.bus.tell(&self.0.name, || Happened::Denied { capability, times });
        }
        for event in uses {
            if let AuditEvent::Refused { capability, count } = event {
                let (capability, times) = (capability.clone(), *count);
                self.0.bus.tell(&self.0.name, || Happened::Denied { capability, times });
            }
        }
    }

    /// Runs a program (`command` ABI) to its end.
    ///
    /// # Errors
    /// As [`Plugin::run`].
    pub async fn run(&self, input: ProgramInput, options: &CallOptions) -> Result<Outcome<Program>> {
        self.run_in(input, Manner { awaited: true, options, inside: None }).await
    }

    /// [`Managed::run`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::run_blocking`].
    pub fn run_blocking(&self, input: ProgramInput, options: &CallOptions) -> Result<Outcome<Program>> {
        let awaited = self.0.current.load().plugin.needs_fiber()?;
        block_on(pin!(self.run_in(input, Manner { awaited, options, inside: None })))
    }

    async fn run_in(&self, input: ProgramInput, manner: Manner<'_>) -> Result<Outcome<Program>> {
        let counting = Counting::new(self, "_start", Moment::now());
        let version = self.0.current.load_full();
        let mut account = Account::default();
        let result = match self.well() {
            Ok(()) => version.plugin.run_into(input, manner, &mut account).await,
            Err(refused) => Err(refused),
        };
        self.fared(&version, result.as_ref().err());
        let ended = counting.end() + account.wall();
        self.ended("_start", ended, result, &account)
    }

    /// Calls a function of its session with numbers of its types: the shortest way to a warm
    /// call. A plugin that keeps no state has a session for this one call.
    ///
    /// # Errors
    /// As [`Session::call_func`] and [`Managed::invoke`].
    pub async fn call_func<P: Params, R: Results>(&self, function: &str, params: P) -> Result<R> {
        let started = Moment::now();
        let counting = Counting::new(self, function, started);
        let (mut running, mut session) = match self.enter_at_once() {
            Some(entered) => entered,
            None => {
                let options = &CallOptions::new();
                let manner = Manner { awaited: true, options, inside: None };
                // Seldom needed, and large.
                match Box::pin(self.enter_for_func(manner)).await {
                    Ok(entered) => entered,
                    Err(error) => {
                        counting.end();
                        return self.uncalled(function, started, error);
                    }
                }
            }
        };
        self.runs(&mut running);
        let result = pin!(session.call_func(function, params)).await;
        counting.end();
        if let Some(left) = self.func_ended(function, started, running, session, result.as_ref().err()) {
            self.close_session(left).await;
        }
        result
    }

    /// [`Managed::call_func`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::call_func`] and [`Session::call_func_blocking`].
    #[inline]
    pub fn call_func_blocking<P: Params, R: Results>(&self, function: &str, params: P) -> Result<R> {
        let started = Moment::now();
        match self.enter_at_once() {
            Some((running, session)) => self.func_blocking(function, params, started, running, session),
            None => self.func_with_wait(function, params, started),
        }
    }

    /// The turn and the session, where nobody has the one and there is the other.
    #[inline]
    fn enter_at_once(&self) -> Option<(Running<'_>, Box<Session>)> {
        let Asked::Turn(mut turn) = self.0.life.ask() else { return None };
        match turn.session() {
            Some(session) => Some((Running { managed: self, turn: Some(turn) }, session)),
            None => {
                turn.pass();
                None
            }
        }
    }

    /// [`Managed::call_func_blocking`] where somebody else has the turn, or no session is there.
    #[cold]
    #[inline(never)]
    fn func_with_wait<P: Params, R: Results>(&self, function: &str, params: P, started: Moment) -> Result<R> {
        let (awaited, options) = (self.0.current.load().plugin.needs_fiber()?, &CallOptions::new());
        let entered = self.enter_for_func(Manner { awaited, options, inside: None });
        match block_on(pin!(entered)) {
            Ok((running, session)) => self.func_blocking(function, params, started, running, session),
            Err(error) => self.uncalled(function, started, error),
        }
    }

    #[inline]
    fn func_blocking<P: Params, R: Results>(
        &self,
        function: &str,
        params: P,
        started: Moment,
        mut running: Running<'_>,
        mut session: Box<Session>,
    ) -> Result<R> {
        self.runs(&mut running);
        let result = session.call_func_blocking(function, params);
        if let Some(left) = self.func_ended(function, started, running, session, result.as_ref().err()) {
            self.close_session_blocking(*left);
        }
        result
    }

    /// The turn and the session; for a plugin that keeps no state a session without a turn.
    async fn enter_for_func<'a>(&'a self, manner: Manner<'_>) -> Result<(Running<'a>, Box<Session>)> {
        let version = self.0.current.load_full();
        if version.keeps_state {
            return self.enter(manner, &mut Account::default()).await;
        }
        self.well()?;
        let opened = version.plugin.open(manner.awaited).await;
        let opened = opened.inspect_err(|error| self.fared(&version, Some(error)))?;
        Ok((Running { managed: self, turn: None }, Box::new(opened)))
    }

    /// Counts a call of a function, and puts its session back. What is returned is to be closed.
    #[inline]
    fn func_ended(
        &self,
        function: &str,
        started: Moment,
        running: Running<'_>,
        mut session: Box<Session>,
        error: Option<&Error>,
    ) -> Option<Box<Session>> {
        let ended = Moment::now();
        let wall = ended.saturating_duration_since(started);
        match session.tally() {
            Some(tally) if error.is_none() && !self.0.bus.has_listeners() => {
                self.0.meter.count_short(wall, ended, tally);
            }
            _ => self.count(function, wall, ended, error, &session.account()),
        }
        match running.turn {
            Some(_) => self.leave(running, session, error, ended),
            None => {
                self.fared(&self.0.current.load(), error);
                session.is_alive().then_some(session)
            }
        }
    }

    /// Counts a call that no guest was called for.
    #[cold]
    fn uncalled<T>(&self, function: &str, started: Moment, error: Error) -> Result<T> {
        let ended = Moment::now();
        let wall = ended.saturating_duration_since(started);
        self.count(function, wall, ended, Some(&error), &Account::default());
        Err(error)
    }

    // ---- Its life.

    async fn close_session(&self, session: Box<Session>) {
        if let Err(error) = session.close().await {
            self.cleanup_failed(&error);
        }
    }

    fn close_session_blocking(&self, session: Session) {
        if let Err(error) = session.close_blocking() {
            self.cleanup_failed(&error);
        }
    }

    pub(super) fn cleanup_failed(&self, error: &Error) {
        tracing::debug!(plugin = %self.0.name, %error, "clean-up failed");
        self.0.bus.tell(&self.0.name, || Happened::CleanUpFailed { reason: error.to_string() });
    }

    /// Starts it where it keeps state and has not been started.
    ///
    /// # Errors
    /// As [`Managed::invoke`], from instantiating and initialising.
    pub async fn start(&self) -> Result<()> {
        let options = &CallOptions::new();
        self.start_in(Manner { awaited: true, options, inside: None }).await
    }

    /// [`Managed::start`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::start`] and [`Plugin::call_blocking`].
    pub fn start_blocking(&self) -> Result<()> {
        let awaited = self.0.current.load().plugin.needs_fiber()?;
        let options = &CallOptions::new();
        block_on(pin!(self.start_in(Manner { awaited, options, inside: None })))
    }

    async fn start_in(&self, manner: Manner<'_>) -> Result<()> {
        if !self.0.current.load().keeps_state {
            return Ok(());
        }
        let (running, session) = self.enter(manner, &mut Account::default()).await?;
        let was = running.was();
        let left = running.end(Some(session), End::Unharmed, Moment::now());
        self.changed(was.map(|was| (was, PluginState::Ready)));
        if let Some(left) = left {
            self.close_session(left).await;
        }
        Ok(())
    }

    /// Ends its session, once the call that runs in it has ended. What it kept is gone. Does
    /// nothing where there is none.
    ///
    /// # Errors
    /// Where that call did not end in time. A plugin whose clean-up fails has stopped all the
    /// same, which is told as [`Happened::CleanUpFailed`].
    pub async fn stop(&self) -> Result<()> {
        if !self.0.current.load().keeps_state {
            return Ok(());
        }
        let options = &CallOptions::new();
        let manner = Manner { awaited: true, options, inside: None };
        let mut turn = self.turn(manner, &mut Account::default()).await?;
        let was = turn.state();
        let session = turn.session();
        let running = Running { managed: self, turn: Some(turn) };
        if let Some(session) = session {
            // The next call waits until it has cleaned up.
            self.close_session(session).await;
        }
        running.end(None, End::Stopped, Moment::now());
        self.changed(Some((was, PluginState::Stopped)));
        Ok(())
    }

    /// Ends its session and starts it afresh, whatever its [`CrashPolicy`] is, and forgets its
    /// crashes.
    ///
    /// # Errors
    /// As [`Managed::stop`] and [`Managed::start`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.changed(self.0.life.forgive(self.0.current.load().keeps_state));
        self.start().await
    }

    // ---- Idle sessions.

    fn watch_idle(&self) {
        if self.settings().idle.is_some() && self.0.life.wants_watch() {
            self.look_later();
        }
    }

    /// Looks whether it is idle, once it can be.
    fn look_later(&self) {
        let Some(limit) = self.settings().idle else { return self.0.life.unwatched() };
        let rest = self.0.life.idle().map_or(limit, |idle| limit.saturating_sub(idle));
        let managed = Arc::downgrade(&self.0);
        self.0.keeper.at(after(Instant::now(), rest), move || {
            if let Some(managed) = managed.upgrade() {
                Managed(managed).look();
            }
        });
    }

    /// Stops a session that was not called for as long as it may.
    fn look(&self) {
        let (limit, life) = (self.settings().idle, &self.0.life);
        match (limit, life.idle()) {
            (Some(limit), Some(idle)) if idle >= limit => {
                life.unwatched();
                self.stop_idle(limit);
            }
            (Some(_), _) if life.has_session() => self.look_later(),
            // Whoever starts it again has it watched again.
            _ => life.unwatched(),
        }
    }

    fn stop_idle(&self, limit: Duration) {
        let Asked::Turn(mut turn) = self.0.life.ask() else { return };
        let Some(session) = turn.session() else { return turn.pass() };
        let running = Running { managed: self, turn: Some(turn) };
        let idle_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.bus.tell(&self.0.name, || Happened::Idle { idle_ms });
        self.close_session_blocking(*session);
        running.end(None, End::Stopped, Moment::now());
        self.changed(Some((PluginState::Ready, PluginState::Stopped)));
    }
}

/// Whether this was given to a call that a call of the plugin is waiting for.
fn is_inside(permit: &Permit, plugin: &Plugin) -> bool {
    permit.callers().any(|caller| Arc::ptr_eq(caller, plugin.caller()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use airlock_core::{Basis, Capability, CapabilityKind, Ceiling, Gate, Need, Place, Policy, Request};

    use super::PluginState;
    use crate::bounded::block_on;
    use crate::{CallOptions, Cancel, Host, Input, LoadOptions, manager::Manager};

    /// What a tool of a call is given, made of the plugin whose call it is.
    #[test]
    fn reenter_a_plugin_that_keeps_state_is_refused_inside_of_its_own_call_and_waits_in_another() {
        let spins =
            r#"(module (func (export "spin") (loop (br 0))) (func (export "f") (result i32) i32.const 1))"#;
        let manager = Manager::new(Host::builder().slots(2).build().expect("a host"));
        let load = |name: &str| {
            let options = LoadOptions::new().wat(true).limit(airlock_core::LimitKind::Wait, 30_000_000);
            manager.load_blocking(name, spins.as_bytes(), options).expect("it loads")
        };
        let (own, other) = (load("own"), load("other"));
        let log: Capability = "log".parse().expect("valid");
        let (requests, place) = ([Request { capability: log.clone(), required: false }], Place::default());
        let (grants, ceiling) = (&[log], &Ceiling::new());
        let policy =
            Policy::decide(Basis { requests: &requests, grants, baseline: &[], ceiling, place: &place });
        let permit_of = |managed: &super::Managed| {
            let plugin = managed.plugin();
            let gate = Gate::new(plugin.caller().clone(), Arc::new(plugin.limits().clone()));
            let deadline = Instant::now() + Duration::from_secs(60);
            gate.permit(&Arc::new(policy.clone()), deadline, Need::Kind(CapabilityKind::Log))
                .expect("granted")
        };
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let options = CallOptions::new().cancel(&cancel);
            let spinning = &own;
            let call = scope
                .spawn(move || spinning.invoke_blocking_with("spin", Input::Words(Vec::new()), &options));
            while own.state() != PluginState::Running {
                std::thread::yield_now();
            }
            let nested = |permit| block_on(own.invoke_within(&permit, "f", Input::Words(Vec::new())));
            let error = nested(permit_of(&own)).expect_err("it would wait for itself");
            assert_eq!(error.code(), "reentered");
            assert_eq!(error.to_string(), "`own` keeps state and is called from inside of a call of it");
            assert_eq!(nested(permit_of(&other)).expect_err("it waits").code(), "limit-wait");
            cancel.cancel();
            call.join().expect("no panic").expect_err("cancelled");
        });
    }
}
