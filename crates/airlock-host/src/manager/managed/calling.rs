//! Calls of a managed plugin: whose turn it is, what became of each, counted and told.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use airlock_core::{AuditEvent, Error, ErrorKind, LimitKind, Outcome, Permit, Phase, Result};
// Read from the processor's own counter, in a third of the time that the system's clock takes.
use quanta::Instant as Moment;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Managed, PluginState, Version};
use crate::abi::sen::{self, ExecuteResult};
use crate::answer::{Answer, Input, Program};
use crate::bounded::block_on;
use crate::cancel::CallOptions;
use crate::func::{Params, Results};
use crate::manager::Happened;
use crate::manager::life::{Asked, Change, End, Rest, Turn, is_crash};
use crate::plugin::{Plugin, ProgramInput, executed};
use crate::session::{Manner, Session};
use crate::slots::Patience;
use crate::store::{Account, after};

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
pub(super) struct Running<'a> {
    pub(super) managed: &'a Managed,
    pub(super) turn: Option<Turn<'a>>,
}

impl Running<'_> {
    /// What it is while nobody runs.
    pub(super) fn was(&self) -> Option<PluginState> {
        self.turn.as_ref().map(Turn::state)
    }

    /// What came of the turn, told.
    #[inline]
    pub(super) fn end(mut self, session: Option<Box<Session>>, end: End, at: Moment) -> Option<Box<Session>> {
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
    /// As [`Plugin::call`]; [`ErrorKind::Crashed`] where its [`CrashPolicy`](crate::manager::CrashPolicy) does not start it
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

    /// Executes it, as [`Plugin::execute`] does.
    ///
    /// # Errors
    /// As [`Plugin::execute`] and [`Managed::invoke`].
    pub async fn execute(&self, args: &[impl AsRef<str> + Sync]) -> Result<Outcome<ExecuteResult>> {
        self.invoke(sen::EXECUTE, self.plugin().execution_input(args)?).await?.try_map(executed)
    }

    /// [`Managed::execute`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::execute_blocking`] and [`Managed::invoke`].
    pub fn execute_blocking(&self, args: &[impl AsRef<str>]) -> Result<Outcome<ExecuteResult>> {
        self.invoke_blocking(sen::EXECUTE, self.plugin().execution_input(args)?)?.try_map(executed)
    }

    pub(super) async fn in_manner(
        &self,
        function: &str,
        input: Input,
        manner: Manner<'_>,
    ) -> Result<Outcome<Answer>> {
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

    pub(super) async fn fresh(
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
    pub(super) fn well(&self) -> Result<()> {
        if self.is_unloaded() {
            return Err(self.not_loaded());
        }
        match self.0.life.is_unwell() {
            false => Ok(()),
            true => self.0.life.refuse(&self.0.name, self.policy()),
        }
    }

    /// What the end of a call means for a plugin that keeps no state.
    pub(super) fn fared(&self, version: &Version, error: Option<&Error>) {
        let crash = error.filter(|error| self.is_crash(error));
        if crash.is_none() && !(self.0.life.is_unwell() && error.is_none()) {
            return;
        }
        if let Some((change, rest)) = self.0.life.fared(version.era, crash, self.policy()) {
            self.changed(Some(change));
            self.rests(rest);
        }
    }

    pub(super) async fn in_session(
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
    pub(super) async fn enter<'a>(
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
    pub(super) async fn turn<'a>(&'a self, manner: Manner<'_>, account: &mut Account) -> Result<Turn<'a>> {
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
    pub(super) fn leave(
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

    pub(super) fn not_started(&self, running: Running<'_>, error: Error) -> Error {
        let (reason, crashed) = (error.to_string(), self.is_crash(&error));
        running.end(None, End::Lost { reason, crashed }, Moment::now());
        error
    }

    /// Whether a call crashed, which is counted.
    pub(super) fn is_crash(&self, error: &Error) -> bool {
        let crashed = is_crash(error);
        if crashed {
            self.0.meter.crashed();
        }
        crashed
    }

    pub(super) fn started(&self, after_crashes: Option<u32>) {
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
    pub(super) fn runs(&self, running: &mut Running<'_>) {
        if self.0.bus.has_listeners()
            && let Some(turn) = &mut running.turn
        {
            let from = turn.runs();
            self.changed(Some((from, PluginState::Running)));
        }
    }

    #[inline]
    pub(super) fn turn_ended(
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

    pub(super) fn changed(&self, change: Option<Change>) {
        if let Some((from, to)) = change.filter(|(from, to)| from != to) {
            self.0.bus.tell(&self.0.name, || Happened::StateChanged { from, to });
        }
    }

    pub(super) fn rests(&self, rest: Option<Rest>) {
        if let Some(Rest { crashes, time }) = rest {
            let rest_ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            self.0.bus.tell(&self.0.name, || Happened::Resting { crashes, rest_ms });
        }
    }

    pub(super) fn ended<T>(
        &self,
        function: &str,
        ended: Moment,
        result: Result<T>,
        account: &Account,
    ) -> Result<T> {
        self.count(function, account.wall(), ended, result.as_ref().err(), account);
        result
    }

    #[inline]
    pub(super) fn count(
        &self,
        function: &str,
        wall: Duration,
        ended: Moment,
        error: Option<&Error>,
        account: &Account,
    ) {
        self.0.meter.count(wall, ended, error, account.usage.as_ref(), &account.uses);
        if self.0.bus.has_listeners() {
            self.tell_called(function, wall, error, &account.uses);
        }
    }

    #[cold]
    pub(super) fn tell_called(
        &self,
        function: &str,
        wall: Duration,
        error: Option<&Error>,
        uses: &[AuditEvent],
    ) {
        self.tell_denied(uses, error);
        self.0.bus.executed(&self.0.name, function, wall, error);
    }

    #[cold]
    pub(super) fn tell_denied(&self, uses: &[AuditEvent], error: Option<&Error>) {
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
    pub async fn run(&self, input: ProgramInput) -> Result<Outcome<Program>> {
        self.run_with(input, &CallOptions::new()).await
    }

    /// Runs a program to its end, with a time or a handle of its own.
    ///
    /// # Errors
    /// As [`Plugin::run`]; [`ErrorKind::Cancelled`] when the handle ended it.
    pub async fn run_with(&self, input: ProgramInput, options: &CallOptions) -> Result<Outcome<Program>> {
        self.run_in(input, Manner { awaited: true, options, inside: None }).await
    }

    /// [`Managed::run`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Plugin::run_blocking`].
    pub fn run_blocking(&self, input: ProgramInput) -> Result<Outcome<Program>> {
        self.run_blocking_with(input, &CallOptions::new())
    }

    /// [`Managed::run_with`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::run_with`] and [`Plugin::run_blocking`].
    pub fn run_blocking_with(&self, input: ProgramInput, options: &CallOptions) -> Result<Outcome<Program>> {
        let awaited = self.0.current.load().plugin.needs_fiber()?;
        block_on(pin!(self.run_in(input, Manner { awaited, options, inside: None })))
    }

    pub(super) async fn run_in(&self, input: ProgramInput, manner: Manner<'_>) -> Result<Outcome<Program>> {
        let version = self.0.current.load_full();
        let function = version.plugin.program_function();
        let counting = Counting::new(self, function, Moment::now());
        let mut account = Account::default();
        let result = match self.well() {
            Ok(()) => version.plugin.run_into(input, manner, &mut account).await,
            Err(refused) => Err(refused),
        };
        self.fared(&version, result.as_ref().err());
        let ended = counting.end() + account.wall();
        self.ended(function, ended, result, &account)
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
    pub(super) fn enter_at_once(&self) -> Option<(Running<'_>, Box<Session>)> {
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
    pub(super) fn func_with_wait<P: Params, R: Results>(
        &self,
        function: &str,
        params: P,
        started: Moment,
    ) -> Result<R> {
        let (awaited, options) = (self.0.current.load().plugin.needs_fiber()?, &CallOptions::new());
        let entered = self.enter_for_func(Manner { awaited, options, inside: None });
        match block_on(pin!(entered)) {
            Ok((running, session)) => self.func_blocking(function, params, started, running, session),
            Err(error) => self.uncalled(function, started, error),
        }
    }

    #[inline]
    pub(super) fn func_blocking<P: Params, R: Results>(
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
    pub(super) async fn enter_for_func<'a>(
        &'a self,
        manner: Manner<'_>,
    ) -> Result<(Running<'a>, Box<Session>)> {
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
    pub(super) fn func_ended(
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
    pub(super) fn uncalled<T>(&self, function: &str, started: Moment, error: Error) -> Result<T> {
        let ended = Moment::now();
        let wall = ended.saturating_duration_since(started);
        self.count(function, wall, ended, Some(&error), &Account::default());
        Err(error)
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
