//! An instance that lives across calls.

mod component;
mod guest;
mod steps;

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airlock_core::{Error, ErrorKind, LimitKind, Outcome, Permit, Phase, Result, Usage};
use airlock_engine::TICK;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::TypedFunc;

pub use self::component::{ComponentFunc, ComponentStore};
pub use self::steps::Steps;

use crate::answer::{Answer, Input};
use crate::bounded::{block_on, bounded};
use crate::cancel::{CallData, CallOptions};
use crate::func::{Func, Params, Results};
use crate::plugin::{AliveSession, Plugin, cannot_arm};
use crate::running::Occupied;
use crate::store::{Account, Called, Live, Tally, after, begin_call, explain, usage};

/// An instance that lives across calls, its memory and globals with it.
///
/// Limits hold per call: time, fuel and counters start anew with each, while memory is the
/// instance's. A call that traps, hits a limit, is cancelled or breaks the ABI's rules
/// ends the session, since nobody knows in what state such a guest is; a failure that the
/// plugin reports does not.
pub struct Session {
    plugin: Plugin,
    /// Taken out for a call, put back when it ended well.
    live: Option<Box<Alive>>,
    ended: Option<String>,
    /// What the call that ended it had come to, until somebody asks.
    last: Account,
    /// Tells this session's functions from another one's.
    id: u64,
    occupied: Arc<Occupied>,
    pace: Pace,
}

/// The instance, in a box that is passed around instead of it.
struct Alive {
    live: Live,
    _counted: AliveSession,
}

/// What every call of a session needs to know of its plugin, close at hand.
struct Pace {
    fuel: Option<u64>,
    timeout: Duration,
    /// Whether the deadline may come before the next tick but one, so that a call has to
    /// look at the clock when it begins.
    is_short: bool,
    may_need_fiber: bool,
    /// Whether grants may have changed since the last call.
    follows_grants: bool,
    is_recorded: bool,
    /// Whether there is none of all that to look at: a typed call asks this one thing.
    is_plain: bool,
}

impl Pace {
    fn of(plugin: &Plugin) -> Self {
        let timeout = plugin.limits().time(LimitKind::Timeout);
        let is_short = timeout < 2 * TICK;
        let may_need_fiber = plugin.needs_fiber().unwrap_or(true);
        let follows_grants = plugin.follows_grants();
        let is_recorded = plugin.host().0.recorder.is_some();
        Pace {
            fuel: plugin.limits().get(LimitKind::Fuel),
            timeout,
            is_short,
            may_need_fiber,
            follows_grants,
            is_recorded,
            is_plain: !(is_short || may_need_fiber || follows_grants || is_recorded),
        }
    }
}

/// A session's call that runs, until dropped.
struct Entered(Arc<Occupied>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("plugin", &self.plugin)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(plugin: Plugin, mut live: Live, counted: AliveSession) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        live.store.data_mut().phase = Phase::Call;
        live.keep();
        Session {
            occupied: plugin.host().register(),
            pace: Pace::of(&plugin),
            plugin,
            live: Some(Box::new(Alive { live, _counted: counted })),
            ended: None,
            last: Account::default(),
            id: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The plugin it is an instance of.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Whether it can still be called.
    pub fn is_alive(&self) -> bool {
        self.live.is_some()
    }

    /// Calls a function, as [`Plugin::call`] does.
    ///
    /// # Errors
    /// As [`Plugin::call`]; [`ErrorKind::SessionEnded`] after a call that ended it.
    pub async fn call<T, R>(&mut self, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.invoke(function, Input::json(input)?).await?.try_map(|answer| answer.parse(function))
    }

    /// [`Session::call`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::call`] and [`Plugin::call_blocking`].
    pub fn call_blocking<T, R>(&mut self, function: &str, input: &T) -> Result<Outcome<R>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.invoke_blocking(function, Input::json(input)?)?.try_map(|answer| answer.parse(function))
    }

    /// Calls a function.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn invoke(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.invoke_with(function, input, &CallOptions::new()).await
    }

    /// Calls a function, with a time or a handle of its own. A call that either of them ends
    /// ends the session too.
    ///
    /// # Errors
    /// As [`Session::call`]; [`ErrorKind::Cancelled`] when the handle ended it.
    pub async fn invoke_with(
        &mut self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        self.run(function, input, Manner { awaited: true, options, inside: None }).await
    }

    /// [`Session::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::call_blocking`].
    pub fn invoke_blocking(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.invoke_blocking_with(function, input, &CallOptions::new())
    }

    /// [`Session::invoke_with`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::invoke_with`] and [`Session::call_blocking`].
    pub fn invoke_blocking_with(
        &mut self,
        function: &str,
        input: Input,
        options: &CallOptions,
    ) -> Result<Outcome<Answer>> {
        let awaited = self.plugin.needs_fiber()?;
        block_on(pin!(self.run(function, input, Manner { awaited, options, inside: None })))
    }

    /// An exported function with the types of its parameters and results, for calls that
    /// cost no more than the guest's own work.
    ///
    /// ```
    /// # fn main() -> Result<(), airlock_host::Error> {
    /// # let wat = r#"(module (func (export "add") (param i32 i32) (result i32)
    /// #     (i32.add (local.get 0) (local.get 1))))"#;
    /// # let host = airlock_host::Host::new()?;
    /// # let options = airlock_host::LoadOptions::new().wat(true);
    /// # let plugin = host.load_blocking(wat.as_bytes(), options)?;
    /// let mut session = plugin.session_blocking()?;
    /// let add = session.func::<(i32, i32), i32>("add")?;
    /// assert_eq!(add.call_blocking(&mut session, (1, 2))?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::UnknownFunction`]; [`ErrorKind::UnsuitableExport`] when its types are
    /// others; [`ErrorKind::SessionEnded`].
    pub fn func<P: Params, R: Results>(&mut self, name: &str) -> Result<Func<P, R>> {
        let session = self.id;
        let Some(alive) = &mut self.live else { return Err(ended_error(&self.ended)) };
        let live = &mut alive.live;
        match live.typed::<P, R>(name) {
            Some(func) => Ok(Func { func, name: name.into(), session }),
            None => Err(self.plugin.no_such_function::<P, R>(name)),
        }
    }

    /// Calls a function by its name, with numbers of its types. The session remembers it,
    /// so that the next time costs little more than [`Session::func`]'s.
    ///
    /// # Errors
    /// As [`Session::func`] and [`Func::call`].
    pub async fn call_func<P: Params, R: Results>(&mut self, name: &str, params: P) -> Result<R> {
        let at = self.remember::<P, R>(name)?;
        let called = self.take_called();
        let result = match called[at].func() {
            Some(func) => match self.steps() {
                Ok(mut steps) => steps.step(func, params).await,
                Err(error) => Err(error),
            },
            None => Err(ended_error(&self.ended)),
        };
        self.put_back(called);
        match self.is_recorded() {
            false => result,
            true => self.recorded(name, result, |_| None),
        }
    }

    /// [`Session::call_func`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::func`] and [`Func::call_blocking`].
    pub fn call_func_blocking<P: Params, R: Results>(&mut self, name: &str, params: P) -> Result<R> {
        let at = self.remember::<P, R>(name)?;
        match self.is_plain() {
            true => self.begin_until(None)?.step_remembered(at, params),
            false => self.call_remembered_with_care(name, at, params),
        }
    }

    /// Kept out of [`Session::call_func_blocking`], whose frame it would make many times as large.
    #[inline(never)]
    fn call_remembered_with_care<P: Params, R: Results>(
        &mut self,
        name: &str,
        at: usize,
        params: P,
    ) -> Result<R> {
        let called = self.take_called();
        let result = match called[at].func() {
            Some(func) => self.steps_blocking().and_then(|mut steps| steps.step_blocking(func, params)),
            None => Err(ended_error(&self.ended)),
        };
        self.put_back(called);
        match self.is_recorded() {
            false => result,
            true => self.recorded(name, result, |_| None),
        }
    }

    /// Begins a call of several steps in the guest: one deadline, one tank of fuel, one count
    /// of what it uses. What allocates, hands bytes over and takes bytes back is one call to
    /// whoever makes it, and this way costs no more than one.
    ///
    /// ```
    /// # fn main() -> Result<(), airlock_host::Error> {
    /// # let wat = r#"(module (memory (export "memory") 1)
    /// #     (func (export "alloc") (param i32) (result i32) i32.const 1024)
    /// #     (func (export "first") (param i32 i32) (result i32) (i32.load8_u (local.get 0))))"#;
    /// # let host = airlock_host::Host::new()?;
    /// # let options = airlock_host::LoadOptions::new().wat(true);
    /// # let plugin = host.load_blocking(wat.as_bytes(), options)?;
    /// let mut session = plugin.session_blocking()?;
    /// let alloc = session.func::<u32, u32>("alloc")?;
    /// let first = session.func::<(u32, u32), u32>("first")?;
    /// let mut steps = session.steps_blocking()?;
    /// let pointer = steps.call_blocking(&alloc, 5)?;
    /// steps.memory()?.write(pointer, b"hello")?;
    /// assert_eq!(steps.call_blocking(&first, (pointer, 5))?, u32::from(b'h'));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Func::call_blocking`].
    pub fn steps_blocking(&mut self) -> Result<Steps<'_>> {
        if self.pace.may_need_fiber {
            self.plugin.needs_fiber()?;
        }
        self.begin(self.pace.is_short)
    }

    /// [`Session::steps_blocking`] for steps that are awaited.
    ///
    /// # Errors
    /// As [`Func::call`].
    pub fn steps(&mut self) -> Result<Steps<'_>> {
        self.begin(true)
    }

    fn deadline(&self) -> Instant {
        after(Instant::now(), self.pace.timeout)
    }

    fn begin(&mut self, on_the_clock: bool) -> Result<Steps<'_>> {
        if self.pace.follows_grants
            && let Err(refused) = self.plugin.admit()
        {
            return Err(self.not_begun(refused));
        }
        let deadline = on_the_clock.then(|| self.deadline());
        self.begin_until(deadline)
    }

    /// Begins a call that may begin, unless the host is closing; with no deadline, as
    /// [`begin_call`] has it.
    #[inline(always)]
    fn begin_until(&mut self, deadline: Option<Instant>) -> Result<Steps<'_>> {
        if let Err(refused) = self.occupied.enter() {
            return Err(self.not_begun(refused));
        }
        let steps = Steps { session: self };
        let session = &mut *steps.session;
        let Some(alive) = &mut session.live else { return Err(ended_error(&session.ended)) };
        session.last.usage = None;
        begin_call(&mut alive.live.store, deadline, session.pace.fuel, 0).map_err(cannot_arm)?;
        Ok(steps)
    }

    /// The error of a call that did not begin, whose account is empty.
    #[cold]
    #[inline(never)]
    fn not_begun(&mut self, refused: Error) -> Error {
        self.last = Account::nothing(Instant::now());
        refused
    }

    /// A call of one function, on this thread, in a session that is plain.
    // A call of two numbers is one function of some hundred instructions: between three, a fourth of its
    // time goes into keeping registers.
    #[inline(always)]
    pub(crate) fn call_plain<P: Params, R: Results>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        self.begin_until(None)?.step_here(func, params)
    }

    /// Where the function of that name and type is among those that the instance remembers.
    fn remember<P: Params, R: Results>(&mut self, name: &str) -> Result<usize> {
        let Some(alive) = &mut self.live else { return Err(ended_error(&self.ended)) };
        match alive.live.remember::<P, R>(name) {
            Some(at) => Ok(at),
            None => Err(self.plugin.no_such_function::<P, R>(name)),
        }
    }

    /// The functions that the instance remembers, taken out for a call of one of them.
    fn take_called(&mut self) -> Vec<Called> {
        self.live.as_mut().and_then(|alive| alive.live.called.take()).unwrap_or_default()
    }

    fn put_back(&mut self, called: Vec<Called>) {
        if let Some(alive) = &mut self.live {
            alive.live.called = Some(called);
        }
    }

    /// What the last call used.
    pub fn usage(&self) -> Option<Usage> {
        let live = &self.live.as_ref()?.live;
        Some(usage(&live.store, None))
    }

    /// Has functions of the application that the guest calls find this in their
    /// [call](crate::HostCall::data), where a call has nothing of its own.
    pub fn set_data(&mut self, data: Arc<dyn Any + Send + Sync>) {
        if let Some(alive) = &mut self.live {
            alive.live.store.data_mut().data = Some(CallData(data));
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether a call of numbers has nothing to look at before it begins, nor after it ended.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.pace.is_plain
    }

    /// Whether calls are recorded.
    #[inline]
    pub(crate) fn is_recorded(&self) -> bool {
        self.pace.is_recorded
    }

    /// Records what a call of this session used and how it ended, when calls are recorded.
    pub(crate) fn recorded<T>(
        &mut self,
        function: &str,
        result: Result<T>,
        usage: impl FnOnce(&T) -> Option<Usage>,
    ) -> Result<T> {
        match self.is_recorded() {
            false => result,
            true => {
                self.settle();
                let uses = self.last.uses.clone();
                self.plugin.recorded(function, result, usage, || uses)
            }
        }
    }

    /// What the last call came to.
    pub(crate) fn account(&mut self) -> Account {
        self.settle();
        std::mem::take(&mut self.last)
    }

    /// What the last call came to, in numbers; none where there is more to say.
    #[inline]
    pub(crate) fn tally(&self) -> Option<Tally> {
        Tally::of(&self.live.as_ref()?.live.store, self.pace.fuel)
    }

    /// Has the account of the last call where it can be asked for, unless that is there already.
    fn settle(&mut self) {
        if let Some(alive) = self.live.as_mut().filter(|_| self.last.usage.is_none()) {
            self.last = Account::of(&mut alive.live.store, None);
        }
    }

    /// The error of a call that ended the session.
    #[cold]
    #[inline(never)]
    fn end(&mut self, live: &mut Live, error: wasmtime::Error) -> Error {
        self.last = Account::of(&mut live.store, None);
        let error = explain(error, &mut live.store);
        let error = self.plugin.failed(error, live.store.data());
        self.ended = Some(error.to_string());
        error
    }

    /// A call of a managed plugin.
    pub(crate) async fn run(
        &mut self,
        function: &str,
        input: Input,
        manner: Manner<'_>,
    ) -> Result<Outcome<Answer>> {
        let result = self.run_unrecorded(function, input, manner).await;
        self.recorded(function, result, |outcome| Some(outcome.usage.clone()))
    }

    async fn run_unrecorded(
        &mut self,
        function: &str,
        input: Input,
        manner: Manner<'_>,
    ) -> Result<Outcome<Answer>> {
        let (input_bytes, started) = (input.len(), Instant::now());
        self.last = Account::nothing(started);
        self.plugin.check_input(input_bytes)?;
        self.plugin.admit()?;
        let plugin = self.plugin.clone();
        self.occupied.enter()?;
        let _entered = Entered(self.occupied.clone());
        let Some(mut alive) = self.live.take() else { return Err(ended_error(&self.ended)) };
        let live = &mut alive.live;
        let limit = plugin.limits().time(LimitKind::Timeout);
        let allowed = manner.options.timeout.filter(|asked| *asked < limit);
        let own = after(started, allowed.unwrap_or(limit));
        let deadline = manner.inside.map_or(own, |permit| own.min(permit.deadline()));
        begin_call(&mut live.store, Some(deadline), self.pace.fuel, input_bytes).map_err(cannot_arm)?;
        live.store.data_mut().call_in(manner, allowed);
        let call = plugin.adapter().call(live, function, input);
        let result = bounded(deadline, plugin.cuts(manner.options.cancel.as_ref()), call).await;
        let concluded = plugin.conclude(live, result);
        self.last = Account::of(&mut live.store, Some(started));
        let outcome = concluded.map(|answer| plugin.outcome(answer, live, self.last.usage.clone()));
        live.store.data_mut().call_in(Manner::blocking(), None);
        match &outcome {
            Err(error) if !leaves_guest_whole(error.kind()) => self.ended = Some(error.to_string()),
            _ if alive.live.store.data().is_worn => {
                self.ended = Some("its instance has left, or cannot take back what it gave".to_owned());
            }
            _ => self.live = Some(alive),
        }
        outcome
    }

    /// Ends it. A plugin that has something to be run at the end of a session (`_cleanup`,
    /// `plugin_destroy`) has that run, within its limits; a session that has ended already has
    /// nothing more to do.
    ///
    /// # Errors
    /// What the plugin's own clean-up failed with. The session has ended all the same.
    pub async fn close(mut self) -> Result<()> {
        self.finish(true).await
    }

    /// [`Session::close`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::close`] and [`Session::call_blocking`].
    pub fn close_blocking(mut self) -> Result<()> {
        let awaited = self.plugin.needs_fiber()?;
        block_on(pin!(self.finish(awaited)))
    }

    async fn finish(&mut self, awaited: bool) -> Result<()> {
        let plugin = self.plugin.clone();
        let Some(mut alive) = self.live.take() else { return Ok(()) };
        let live = &mut alive.live;
        self.occupied.enter()?;
        let _entered = Entered(self.occupied.clone());
        let deadline = after(Instant::now(), self.pace.timeout);
        begin_call(&mut live.store, Some(deadline), self.pace.fuel, 0).map_err(cannot_arm)?;
        live.store.data_mut().set_awaited(awaited);
        live.store.data_mut().phase = Phase::Stop;
        let stopped = match plugin.adapter().stop(live) {
            Some(stop) => bounded(deadline, plugin.cuts(None), stop).await,
            None => return Ok(()),
        };
        plugin.conclude(live, stopped)
    }
}

/// How a call of a session is made.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    /// Whether on a fiber.
    pub(crate) awaited: bool,
    pub(crate) options: &'a CallOptions,
    /// The permit of the tool that it is made for.
    pub(crate) inside: Option<&'a Permit>,
}

impl Manner<'_> {
    /// As any call on this thread.
    fn blocking() -> Manner<'static> {
        static NONE: CallOptions = CallOptions { cancel: None, timeout: None, data: None, event_depth: None };
        Manner { awaited: false, options: &NONE, inside: None }
    }
}

/// The error of using a session that has ended.
#[cold]
#[inline(never)]
fn ended_error(ended: &Option<String>) -> Error {
    let reason = ended.clone().unwrap_or_else(|| "a call of it was cancelled".to_owned());
    Error::new(ErrorKind::SessionEnded(reason))
}

/// Errors after which the guest did not run, or returned by itself.
pub(crate) fn leaves_guest_whole(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Failed(_)
            | ErrorKind::UnknownFunction { .. }
            | ErrorKind::UnsuitableExport { .. }
            | ErrorKind::InvalidInput { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::InvalidValue { .. }
            | ErrorKind::WrongArgumentCount { .. }
    )
}
