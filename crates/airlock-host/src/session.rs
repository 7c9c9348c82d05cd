//! An instance that lives across calls.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use airlock_core::{Error, ErrorKind, LimitKind, Outcome, Phase, Result, Usage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::TypedFunc;

use crate::answer::{Answer, Input};
use crate::bounded::{block_on, bounded};
use crate::func::{Func, Params, Results};
use crate::host::Occupied;
use crate::memory::GuestMemory;
use crate::plugin::{AliveSession, Plugin, cannot_arm};
use crate::store::{Live, after, begin_call, explain, usage};

/// An instance that lives across calls, its memory and globals with it.
///
/// Limits hold per call: time, fuel and counters start anew with each, while memory is the
/// instance's. A call that traps, hits a limit, is cancelled or breaks the ABI's rules
/// ends the session, since nobody knows in what state such a guest is; a failure that the
/// plugin reports does not.
pub struct Session {
    plugin: Plugin,
    /// Taken out for a call, put back when it ended well.
    live: Option<(Live, AliveSession)>,
    ended: Option<String>,
    awaited: bool,
    /// Tells this session's functions from another one's.
    id: u64,
    occupied: Arc<Occupied>,
    /// Functions called by name before, by their names and then by their types.
    called: HashMap<String, Vec<Box<dyn Any + Send + Sync>>>,
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
    pub(crate) fn new(mut live: Live, alive: AliveSession, awaited: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        live.store.data_mut().phase = Phase::Call;
        let plugin = live.store.data().plugin.clone();
        Session {
            occupied: plugin.host().register(),
            plugin,
            live: Some((live, alive)),
            ended: None,
            awaited,
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            called: HashMap::new(),
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
    /// As [`Session::call`]. A session that was opened blocking is called blocking.
    pub async fn invoke(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.refuse_blocking_only()?;
        self.run(function, input).await
    }

    /// [`Session::invoke`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::call_blocking`].
    pub fn invoke_blocking(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        self.plugin.needs_fiber()?;
        block_on(self.run(function, input))
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
        let (session, ended) = (self.id, self.ended_error());
        let (live, _) = self.live.as_mut().ok_or(ended)?;
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
        self.refuse_blocking_only()?;
        let func = self.remembered(name)?;
        self.call_awaited(&func, params).await
    }

    /// [`Session::call_func`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::func`] and [`Func::call_blocking`].
    pub fn call_func_blocking<P: Params, R: Results>(&mut self, name: &str, params: P) -> Result<R> {
        let func = self.remembered(name)?;
        self.call_now(&func, params)
    }

    fn remembered<P: Params, R: Results>(&mut self, name: &str) -> Result<TypedFunc<P, R>> {
        let known = self.called.get(name);
        let known =
            known.and_then(|funcs| funcs.iter().find_map(|func| func.downcast_ref::<TypedFunc<P, R>>()));
        if let Some(func) = known {
            return Ok(func.clone());
        }
        let Func { func, .. } = self.func::<P, R>(name)?;
        self.called.entry(name.to_owned()).or_default().push(Box::new(func.clone()));
        Ok(func)
    }

    /// The guest's memory, as its functions left it.
    ///
    /// # Errors
    /// [`ErrorKind::UnsuitableExport`] when it exports no 32-bit memory named `memory`;
    /// [`ErrorKind::SessionEnded`].
    pub fn memory(&mut self) -> Result<GuestMemory<'_>> {
        let ended = self.ended_error();
        let (live, _) = self.live.as_mut().ok_or(ended)?;
        GuestMemory::of(live)
    }

    /// What the last call used.
    pub fn usage(&self) -> Option<Usage> {
        let (live, _) = self.live.as_ref()?;
        Some(usage(&live.store, None))
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn refuse_blocking_only(&self) -> Result<()> {
        match self.awaited {
            true => Ok(()),
            false => Err(Error::host("a session that was opened blocking is awaited")
                .with_hint("open it with `session().await`")),
        }
    }

    fn ended_error(&self) -> Error {
        let reason = self.ended.clone().unwrap_or_else(|| "a call of it was cancelled".to_owned());
        Error::new(ErrorKind::SessionEnded(reason))
    }

    pub(crate) fn call_now<P: Params, R: Results>(&mut self, func: &TypedFunc<P, R>, params: P) -> Result<R> {
        if self.plugin.needs_fiber()? {
            return block_on(self.call_awaited(func, params));
        }
        let running = self.plugin.host().occupy(&self.occupied)?;
        let Some((mut live, alive)) = self.live.take() else { return Err(self.ended_error()) };
        begin_call(&mut live.store, self.plugin.coarse_deadline(), 0).map_err(cannot_arm)?;
        let result = func.call(&mut live.store, params);
        drop(running);
        match result {
            Ok(results) => {
                self.live = Some((live, alive));
                Ok(results)
            }
            Err(error) => Err(self.end(&live, error)),
        }
    }

    pub(crate) async fn call_awaited<P: Params, R: Results>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        let running = self.plugin.host().occupy(&self.occupied)?;
        let Some((mut live, alive)) = self.live.take() else { return Err(self.ended_error()) };
        let deadline = after(Instant::now(), self.plugin.limits().time(LimitKind::Timeout));
        begin_call(&mut live.store, Some(deadline), 0).map_err(cannot_arm)?;
        let cut = Some(self.plugin.host().cut());
        let result = bounded(deadline, cut, func.call_async(&mut live.store, params)).await;
        drop(running);
        match result {
            Ok(Ok(results)) => {
                self.live = Some((live, alive));
                Ok(results)
            }
            Ok(Err(error)) => Err(self.end(&live, error)),
            Err(why) => {
                let error = Error::new(live.store.data().interrupted(why));
                self.ended = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// The error of a call that ended the session.
    #[cold]
    fn end(&mut self, live: &Live, error: wasmtime::Error) -> Error {
        let error = self.plugin.failed(explain(error, live.store.data()), live.store.data());
        self.ended = Some(error.to_string());
        error
    }

    async fn run(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        let input_bytes = input.len();
        self.plugin.check_input(input_bytes)?;
        let plugin = &self.plugin;
        let running = plugin.host().occupy(&self.occupied)?;
        let Some((mut live, alive)) = self.live.take() else { return Err(self.ended_error()) };
        let started = Instant::now();
        let deadline = after(started, plugin.limits().time(LimitKind::Timeout));
        begin_call(&mut live.store, Some(deadline), input_bytes).map_err(cannot_arm)?;
        let call = plugin.adapter().call(&mut live, function, input);
        let result = bounded(deadline, Some(plugin.host().cut()), call).await;
        drop(running);
        match plugin.conclude(&live, result) {
            Ok(answer) => {
                let outcome = plugin.outcome(answer, &live, started);
                self.live = Some((live, alive));
                Ok(outcome)
            }
            Err(error) => {
                if leaves_guest_whole(error.kind()) {
                    self.live = Some((live, alive));
                } else {
                    self.ended = Some(error.to_string());
                }
                Err(error)
            }
        }
    }
}

/// Errors after which the guest did not run, or returned by itself.
fn leaves_guest_whole(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Failed(_)
            | ErrorKind::UnknownFunction { .. }
            | ErrorKind::UnsuitableExport { .. }
            | ErrorKind::InvalidInput { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::WrongArgumentCount { .. }
    )
}
