//! A call of several steps in the guest.

use std::pin::pin;

use airlock_core::{Error, Result};
use wasmtime::TypedFunc;

use super::{Session, ended_error};
use crate::bounded::{block_on, bounded};
use crate::func::{Func, Params, Results};
use crate::memory::GuestMemory;
use crate::store::{Account, Live};

/// A call of several steps; see [`Session::steps_blocking`].
///
/// It ends when this is dropped. A step that fails ends the session, and the steps after it
/// fail too.
// Of one word, so that it travels in a register: a call of two numbers would spend as long
// again on handing over a larger one.
pub struct Steps<'a> {
    pub(super) session: &'a mut Session,
}

impl std::fmt::Debug for Steps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.session.occupied.leave();
    }
}

impl Steps<'_> {
    /// Calls a function of this session.
    ///
    /// # Errors
    /// As [`Func::call`].
    pub async fn call<P: Params, R: Results>(&mut self, func: &Func<P, R>, params: P) -> Result<R> {
        func.check(self.session)?;
        if !self.session.is_recorded() {
            return self.step(&func.func, params).await;
        }
        let result = self.step(&func.func, params).await;
        self.session.recorded(&func.name, result, |_| None)
    }

    /// Calls a function of this session, on this thread.
    ///
    /// # Errors
    /// As [`Func::call_blocking`].
    pub fn call_blocking<P: Params, R: Results>(&mut self, func: &Func<P, R>, params: P) -> Result<R> {
        func.check(self.session)?;
        if !self.session.is_recorded() {
            return self.step_blocking(&func.func, params);
        }
        let result = self.step_blocking(&func.func, params);
        self.session.recorded(&func.name, result, |_| None)
    }

    /// The guest's memory, as the last step left it.
    ///
    /// # Errors
    /// As [`Session::memory`].
    pub fn memory(&mut self) -> Result<GuestMemory<'_>> {
        self.session.memory()
    }

    pub(crate) fn step_blocking<P: Params, R: Results>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        match self.session.pace.may_need_fiber {
            true => block_on(pin!(self.step(func, params))),
            false => self.step_here(func, params),
        }
    }

    /// Calls a function without a fiber.
    #[inline(always)]
    pub(super) fn step_here<P: Params, R: Results>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        self.run_here(|live| Some(func.call(&mut live.store, params)))
    }

    /// Calls one of those that the instance remembers, without a fiber.
    #[inline(always)]
    pub(super) fn step_remembered<P: Params, R: Results>(&mut self, at: usize, params: P) -> Result<R> {
        self.run_here(|live| live.call_remembered(at, params))
    }

    /// Runs a call of the guest, which there is none of where that answers `None`.
    #[inline(always)]
    fn run_here<R>(&mut self, call: impl FnOnce(&mut Live) -> Option<wasmtime::Result<R>>) -> Result<R> {
        // Out of the session while the guest runs, so that a panic leaves none behind.
        let Some(mut alive) = self.session.live.take() else {
            return Err(ended_error(&self.session.ended));
        };
        alive.live.store.data_mut().set_awaited(false);
        match call(&mut alive.live) {
            Some(Ok(results)) => {
                self.session.live = Some(alive);
                Ok(results)
            }
            Some(Err(error)) => Err(self.session.end(&mut alive.live, error)),
            None => Err(ended_error(&self.session.ended)),
        }
    }

    pub(crate) async fn step<P: Params, R: Results>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        let Some(mut alive) = self.session.live.take() else {
            return Err(ended_error(&self.session.ended));
        };
        alive.live.store.data_mut().set_awaited(true);
        let deadline = alive.live.store.data().deadline().unwrap_or_else(|| self.session.deadline());
        let cut = self.session.plugin.cuts(None);
        let called = bounded(deadline, cut, func.call_async(&mut alive.live.store, params)).await;
        match called {
            Ok(Ok(results)) => {
                self.session.live = Some(alive);
                Ok(results)
            }
            Ok(Err(error)) => Err(self.session.end(&mut alive.live, error)),
            Err(why) => {
                let error = Error::new(alive.live.store.data().interrupted(why));
                self.session.last = Account::of(&mut alive.live.store, None);
                self.session.ended = Some(error.to_string());
                Err(error)
            }
        }
    }
}
