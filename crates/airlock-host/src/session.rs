//! An instance that lives across calls.

use std::time::Instant;

use airlock_core::{Error, ErrorKind, LimitKind, Outcome, Phase, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Answer, Input};
use crate::bounded::{block_on, bounded};
use crate::plugin::{Alive, Plugin};
use crate::store::{Live, begin_call};

/// An instance that lives across calls, its memory and globals with it.
///
/// Limits hold per call: time, fuel and counters start anew with each, while memory is the
/// instance's. A call that traps, hits a limit, is cancelled or breaks the ABI's rules
/// ends the session, since nobody knows in what state such a guest is; a failure that the
/// plugin reports does not.
pub struct Session {
    plugin: Plugin,
    /// Taken out for a call, put back when it ended well.
    live: Option<(Live, Alive)>,
    ended: Option<String>,
    awaited: bool,
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
    pub(crate) fn new(plugin: Plugin, live: Live, alive: Alive, awaited: bool) -> Self {
        Session { plugin, live: Some((live, alive)), ended: None, awaited }
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
        if !self.awaited {
            return Err(Error::host("a session that was opened blocking is awaited")
                .with_hint("open it with `session().await`"));
        }
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

    async fn run(&mut self, function: &str, input: Input) -> Result<Outcome<Answer>> {
        let plugin = self.plugin.clone();
        let input_bytes = input.len();
        plugin.check_input(input_bytes)?;
        let _in_flight = plugin.host().enter()?;
        let Some((mut live, alive)) = self.live.take() else {
            let reason = self.ended.clone().unwrap_or_else(|| "a call of it was cancelled".to_owned());
            return Err(Error::new(ErrorKind::SessionEnded(reason)));
        };
        let started = Instant::now();
        let deadline = started + plugin.limits().time(LimitKind::Timeout);
        begin_call(&mut live.store, deadline, input_bytes)
            .map_err(|error| Error::host("cannot arm a call").with_source(error))?;
        live.store.data_mut().phase = Phase::Call;
        let call = plugin.adapter().call(&mut live, function, input);
        let result = bounded(deadline, Some(&plugin.host().0.cut), call).await;
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
