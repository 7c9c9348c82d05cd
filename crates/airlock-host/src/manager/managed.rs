//! One managed plugin: its calls, counted, and the session that it may live in.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use airlock_core::{AuditEvent, Digest, Error, ErrorKind, LimitKind, Outcome, Permit, Result};
use arc_swap::ArcSwap;
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
use crate::plugin::{Plugin, ProgramInput};
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
    meter: Arc<Meter>,
    bus: Arc<Bus>,
    keeper: Arc<Keeper>,
    settings: Mutex<Settings>,
    /// What was there before it was replaced.
    previous: Mutex<Option<Plugin>>,
    /// Those whose calls may still run.
    replaced: Mutex<Vec<Weak<Version>>>,
    unloaded: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    crash: CrashPolicy,
    idle: Option<Duration>,
    allowed: Allowed,
    origin: Option<Origin>,
}

/// Where a plugin was loaded from, and how.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) source: Source,
    pub(super) options: LoadOptions,
}

/// The bytes that calls are made of now.
struct Version {
    plugin: Plugin,
    keeps_state: bool,
    loaded_at: SystemTime,
    life: Life,
}

impl Version {
    fn new(plugin: Plugin) -> Self {
        let keeps_state = plugin.keeps_state();
        Version { plugin, keeps_state, loaded_at: SystemTime::now(), life: Life::new(keeps_state) }
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("name", &self.0.name).finish_non_exhaustive()
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
    fn end(mut self, session: Option<Box<Session>>, end: End, at: Instant) -> Option<Box<Session>> {
        let turn = self.turn.take()?;
        self.managed.turn_ended(turn, session, end, at)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            let reason = "a call of it was given up".to_owned();
            // Whoever gives a call up has taken the session with it.
            self.managed.turn_ended(turn, None, End::Lost { reason, crashed: false }, Instant::now());
        }
    }
}

impl Managed {
    pub(super) fn new(name: Arc<str>, plugin: Plugin, bus: Arc<Bus>, keeper: Arc<Keeper>) -> Self {
        Managed(Arc::new(Inner {
            name,
            current: ArcSwap::from_pointee(Version::new(plugin)),
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
        self.0.current.load().life.state()
    }

    /// How many calls of it wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.current.load().plugin.waiting().len()
    }

    /// Whether no call of it runs or waits.
    pub fn is_idle(&self) -> bool {
        let version = self.0.current.load();
        !version.life.is_busy() && !version.plugin.runs_fresh()
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
            state: version.life.state(),
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
        let old = self.0.current.swap(Arc::new(Version::new(plugin)));
        let session = old.life.close();
        let digest = old.plugin.digest();
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old.plugin.clone());
        let mut replaced = self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|version| version.strong_count() > 0);
        replaced.push(Arc::downgrade(&old));
        (digest, session)
    }

    pub(super) fn is_unloaded(&self) -> bool {
        self.0.unloaded.load(Ordering::SeqCst)
    }

    /// No call of it begins any more. Gives its session, where that is to be closed first.
    pub(super) fn close(&self) -> Option<Box<Session>> {
        self.0.unloaded.store(true, Ordering::SeqCst);
        self.0.current.load().life.close()
    }

    /// Ends all calls of it, also of bytes that it had before.
    pub(super) fn retire(&self) {
        self.0.current.load().plugin.retire();
        let replaced = std::mem::take(&mut *self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner));
        replaced.iter().filter_map(Weak::upgrade).for_each(|version| version.plugin.retire());
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
        let started = Instant::now();
        let mut account = Account::default();
        let mut input = Some(input);
        loop {
            // Not a guard: it would be held for as long as the guest runs.
            let version = self.0.current.load_full();
            let result = match version.keeps_state {
                false => self.fresh(&version, function, &mut input, manner, &mut account).await,
                true => self.in_session(&version, function, &mut input, manner, &mut account).await,
            };
            match result {
                Some(result) => return self.ended(function, started, result, &account),
                // It was replaced while the call waited.
                None if !self.is_unloaded() => {}
                None => return self.ended(function, started, Err(self.not_loaded()), &account),
            }
        }
    }

    async fn fresh(
        &self,
        version: &Version,
        function: &str,
        input: &mut Option<Input>,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Option<Result<Outcome<Answer>>> {
        if let Err(refused) = self.well(version) {
            return Some(Err(refused));
        }
        let result = version.plugin.invoke_into(function, input.take()?, manner, account).await;
        self.fared(version, result.as_ref().err());
        Some(result)
    }

    /// Whether a plugin that keeps no state may be called.
    fn well(&self, version: &Version) -> Result<()> {
        match version.life.is_unwell() {
            false => Ok(()),
            true => version.life.refuse(&self.0.name, self.policy()),
        }
    }

    /// What the end of a call means for a plugin that keeps no state.
    fn fared(&self, version: &Version, error: Option<&Error>) {
        let crash = error.filter(|error| is_crash(error));
        if crash.is_none() && !(version.life.is_unwell() && error.is_none()) {
            return;
        }
        if crash.is_some() {
            self.0.meter.crashed();
        }
        if let Some((change, rest)) = version.life.fared(crash, self.policy()) {
            self.changed(Some(change));
            self.rests(rest);
        }
    }

    /// `None` where the session is of bytes that were replaced meanwhile.
    async fn in_session(
        &self,
        version: &Version,
        function: &str,
        input: &mut Option<Input>,
        manner: Manner<'_>,
        account: &mut Account,
    ) -> Option<Result<Outcome<Answer>>> {
        let (mut running, mut session) = match self.enter(version, manner).await {
            Ok(entered) => entered?,
            Err(error) => return Some(Err(error)),
        };
        self.runs(&mut running);
        let result = session.run(function, input.take()?, manner).await;
        *account = session.account();
        let left = self.leave(running, session, result.as_ref().err(), Instant::now());
        if let Some(left) = left {
            self.close_session(left).await;
        }
        Some(result)
    }

    /// The turn and the session, started where there is none.
    async fn enter<'a>(
        &'a self,
        version: &'a Version,
        manner: Manner<'_>,
    ) -> Result<Option<(Running<'a>, Box<Session>)>> {
        let Some(mut turn) = self.turn(version, manner).await? else { return Ok(None) };
        if let Some(session) = turn.session() {
            return Ok(Some((Running { managed: self, turn: Some(turn) }, session)));
        }
        if let Err(refused) = version.life.refuse(&self.0.name, self.policy()) {
            turn.pass();
            return Err(refused);
        }
        let running = Running { managed: self, turn: Some(turn) };
        let after_crashes = version.life.crashes();
        match version.plugin.open(manner.awaited).await {
            Ok(session) => {
                self.started(version, after_crashes);
                Ok(Some((running, Box::new(session))))
            }
            Err(error) => Err(self.not_started(running, error)),
        }
    }

    /// Waits for its turn, for as long as a call may wait.
    async fn turn<'a>(&'a self, version: &'a Version, manner: Manner<'_>) -> Result<Option<Turn<'a>>> {
        let line = match version.life.ask() {
            Asked::Turn(turn) => return Ok(Some(turn)),
            Asked::Closed => return Ok(None),
            Asked::Wait(line) => line,
        };
        let plugin = &version.plugin;
        if manner
            .inside
            .is_some_and(|permit| permit.callers().any(|caller| Arc::ptr_eq(caller, plugin.caller())))
        {
            return Err(Error::new(ErrorKind::Reentered(self.0.name.to_string())));
        }
        let limits = plugin.limits();
        let limit = limits.time(LimitKind::Timeout);
        let own = after(Instant::now(), manner.options.timeout.map_or(limit, |asked| asked.min(limit)));
        let deadline = manner.inside.map_or(own, |permit| own.min(permit.deadline()));
        let _waiting = plugin.waiting().join(limits)?;
        let cuts = plugin.cuts(manner.options.cancel.as_ref());
        Patience::new(limits, deadline).wait(cuts, line.turn()).await
    }

    /// Puts the session back after its call. What is returned is to be closed.
    #[inline]
    fn leave(
        &self,
        running: Running<'_>,
        session: Box<Session>,
        error: Option<&Error>,
        at: Instant,
    ) -> Option<Box<Session>> {
        match (session.is_alive(), error) {
            (true, None) => running.end(Some(session), End::Well, at),
            (true, Some(_)) => running.end(Some(session), End::Unharmed, at),
            (false, Some(error)) => {
                let crashed = is_crash(error);
                if crashed {
                    self.0.meter.crashed();
                }
                running.end(None, End::Lost { reason: error.to_string(), crashed }, at)
            }
            (false, None) => running.end(None, End::Stopped, at),
        }
    }

    fn not_started(&self, running: Running<'_>, error: Error) -> Error {
        let crashed = is_crash(&error);
        if crashed {
            self.0.meter.crashed();
        }
        running.end(None, End::Lost { reason: error.to_string(), crashed }, Instant::now());
        error
    }

    fn started(&self, version: &Version, after_crashes: Option<u32>) {
        if let Some(crashes) = after_crashes {
            self.0.meter.restarted();
            self.0.bus.tell(&self.0.name, || Happened::Restarted { crashes });
        }
        self.0.bus.tell(&self.0.name, || Happened::Initialised);
        if self.settings().idle.is_some() && version.life.wants_watch() {
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
        at: Instant,
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

    fn ended<T>(&self, function: &str, started: Instant, result: Result<T>, account: &Account) -> Result<T> {
        self.count(function, started, Instant::now(), result.as_ref().err(), account);
        result
    }

    #[inline]
    fn count(
        &self,
        function: &str,
        started: Instant,
        ended: Instant,
        error: Option<&Error>,
        account: &Account,
    ) {
        let wall = ended.saturating_duration_since(started);
        self.0.meter.count(wall, ended, error, account);
        if self.0.bus.has_listeners() {
            self.tell_denied(&account.uses, error);
            self.0.bus.executed(&self.0.name, function, wall, error);
        }
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
        let (started, version) = (Instant::now(), self.0.current.load_full());
        let mut account = Account::default();
        let result = match self.well(&version) {
            Ok(()) => version.plugin.run_into(input, manner, &mut account).await,
            Err(refused) => Err(refused),
        };
        self.fared(&version, result.as_ref().err());
        self.ended("_start", started, result, &account)
    }

    /// Calls a function of its session with numbers of its types: the shortest way to a warm
    /// call. A plugin that keeps no state has a session for this one call.
    ///
    /// # Errors
    /// As [`Session::call_func`] and [`Managed::invoke`].
    pub async fn call_func<P: Params, R: Results>(&self, function: &str, params: P) -> Result<R> {
        let started = Instant::now();
        let options = &CallOptions::new();
        let mut params = Some(params);
        loop {
            let version = self.0.current.load_full();
            let entered = self.enter_for_func(&version, Manner { awaited: true, options, inside: None });
            let (mut running, mut session) = match entered.await {
                Ok(Some(entered)) => entered,
                // It was replaced while the call waited.
                Ok(None) if !self.is_unloaded() => continue,
                Ok(None) => return self.uncalled(function, started, self.not_loaded()),
                Err(error) => return self.uncalled(function, started, error),
            };
            self.runs(&mut running);
            let result = match params.take() {
                Some(params) => session.call_func(function, params).await,
                None => Err(self.not_loaded()),
            };
            let error = result.as_ref().err();
            if let Some(left) = self.func_ended(function, started, running, session, error, &version) {
                self.close_session(left).await;
            }
            return result;
        }
    }

    /// [`Managed::call_func`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::call_func`] and [`Session::call_func_blocking`].
    #[inline]
    pub fn call_func_blocking<P: Params, R: Results>(&self, function: &str, params: P) -> Result<R> {
        let started = Instant::now();
        let version = self.0.current.load();
        if let Asked::Turn(mut turn) = version.life.ask() {
            match turn.session() {
                Some(session) => {
                    let running = Running { managed: self, turn: Some(turn) };
                    return self.func_blocking(function, params, started, running, session, &version);
                }
                None => turn.pass(),
            }
        }
        drop(version);
        self.func_with_wait(function, params, started)
    }

    /// [`Managed::call_func_blocking`] where somebody else has the turn, or no session is there.
    #[cold]
    #[inline(never)]
    fn func_with_wait<P: Params, R: Results>(
        &self,
        function: &str,
        params: P,
        started: Instant,
    ) -> Result<R> {
        let options = &CallOptions::new();
        loop {
            let version = self.0.current.load_full();
            let awaited = version.plugin.needs_fiber()?;
            let entered = self.enter_for_func(&version, Manner { awaited, options, inside: None });
            match block_on(pin!(entered)) {
                Ok(Some((running, session))) => {
                    return self.func_blocking(function, params, started, running, session, &version);
                }
                Ok(None) if !self.is_unloaded() => {}
                Ok(None) => return self.uncalled(function, started, self.not_loaded()),
                Err(error) => return self.uncalled(function, started, error),
            }
        }
    }

    #[inline]
    fn func_blocking<P: Params, R: Results>(
        &self,
        function: &str,
        params: P,
        started: Instant,
        mut running: Running<'_>,
        mut session: Box<Session>,
        version: &Version,
    ) -> Result<R> {
        self.runs(&mut running);
        let result = session.call_func_blocking(function, params);
        let error = result.as_ref().err();
        if let Some(left) = self.func_ended(function, started, running, session, error, version) {
            self.close_session_blocking(*left);
        }
        result
    }

    /// The turn and the session; for a plugin that keeps no state a session without a turn.
    async fn enter_for_func<'a>(
        &'a self,
        version: &'a Version,
        manner: Manner<'_>,
    ) -> Result<Option<(Running<'a>, Box<Session>)>> {
        if version.keeps_state {
            return self.enter(version, manner).await;
        }
        if version.life.is_closed() {
            return Ok(None);
        }
        self.well(version)?;
        let opened = version.plugin.open(manner.awaited).await;
        let opened = opened.inspect_err(|error| self.fared(version, Some(error)))?;
        Ok(Some((Running { managed: self, turn: None }, Box::new(opened))))
    }

    /// Counts a call of a function, and puts its session back. What is returned is to be closed.
    #[inline]
    fn func_ended(
        &self,
        function: &str,
        started: Instant,
        running: Running<'_>,
        mut session: Box<Session>,
        error: Option<&Error>,
        version: &Version,
    ) -> Option<Box<Session>> {
        let (account, ended) = (session.account(), Instant::now());
        let left = match version.keeps_state {
            true => self.leave(running, session, error, ended),
            false => {
                self.fared(version, error);
                session.is_alive().then_some(session)
            }
        };
        self.count(function, started, ended, error, &account);
        left
    }

    /// Counts a call that no guest was called for.
    #[cold]
    fn uncalled<T>(&self, function: &str, started: Instant, error: Error) -> Result<T> {
        self.ended(function, started, Err(error), &Account::default())
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
        let version = self.0.current.load_full();
        if !version.keeps_state {
            return Ok(());
        }
        let Some((running, session)) = self.enter(&version, manner).await? else {
            return Err(self.not_loaded());
        };
        let was = running.was();
        let left = running.end(Some(session), End::Unharmed, Instant::now());
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
        let version = self.0.current.load_full();
        if !version.keeps_state {
            return Ok(());
        }
        let options = &CallOptions::new();
        let manner = Manner { awaited: true, options, inside: None };
        let Some(mut turn) = self.turn(&version, manner).await? else { return Err(self.not_loaded()) };
        let was = turn.state();
        let session = turn.session();
        let running = Running { managed: self, turn: Some(turn) };
        if let Some(session) = session {
            // The next call waits until it has cleaned up.
            self.close_session(session).await;
        }
        running.end(None, End::Stopped, Instant::now());
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
        let version = self.0.current.load_full();
        self.changed(version.life.forgive(version.keeps_state));
        self.start().await
    }

    // ---- Idle sessions.

    fn watch_idle(&self) {
        let version = self.0.current.load();
        if version.keeps_state && version.life.wants_watch() {
            self.look_later();
        }
    }

    /// Looks whether it is idle, once it can be.
    fn look_later(&self) {
        let version = self.0.current.load_full();
        let Some(limit) = self.settings().idle else {
            version.life.unwatched();
            return;
        };
        let rest = version.life.idle().map_or(limit, |idle| limit.saturating_sub(idle));
        let (managed, version) = (Arc::downgrade(&self.0), Arc::downgrade(&version));
        self.0.keeper.at(after(Instant::now(), rest), move || {
            if let (Some(managed), Some(version)) = (managed.upgrade(), version.upgrade()) {
                Managed(managed).look(&version);
            }
        });
    }

    /// Stops a session that was not called for as long as it may.
    fn look(&self, version: &Version) {
        let Some(limit) = self.settings().idle else { return version.life.unwatched() };
        match version.life.idle() {
            Some(idle) if idle >= limit => {
                version.life.unwatched();
                self.stop_idle(version, limit);
            }
            _ => self.look_later(),
        }
    }

    fn stop_idle(&self, version: &Version, limit: Duration) {
        let Asked::Turn(mut turn) = version.life.ask() else { return };
        let session = turn.session();
        let running = Running { managed: self, turn: Some(turn) };
        let Some(session) = session else {
            running.end(None, End::Stopped, Instant::now());
            return;
        };
        let idle_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.bus.tell(&self.0.name, || Happened::Idle { idle_ms });
        self.close_session_blocking(*session);
        running.end(None, End::Stopped, Instant::now());
        self.changed(Some((PluginState::Ready, PluginState::Stopped)));
    }
}
