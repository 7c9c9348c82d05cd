//! A component's functions with Rust types.

use std::fmt;
use std::pin::pin;

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc};

use super::{Session, Steps, ended_error};
use crate::abi::component::{find, of_guest};
use crate::bounded::{block_on, bounded};
use crate::store::{Account, within};

/// An exported function of a component's [`Session`], with its Rust types: a tuple of the parameters, and
/// a tuple of the one result or none.
///
/// A call of it is bounded like that of a [`Func`](crate::Func).
pub struct ComponentFunc<P, R> {
    func: TypedFunc<P, R>,
    name: Box<str>,
    session: u64,
}

impl<P, R> fmt::Debug for ComponentFunc<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentFunc").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Session {
    /// A component's function with the Rust types of what it takes and gives, for calls without JSON; see
    /// [`component`](crate::component).
    ///
    /// # Errors
    /// [`ErrorKind::UnknownFunction`]; [`ErrorKind::UnsuitableExport`] when its types are others;
    /// [`ErrorKind::SessionEnded`].
    pub fn component_func<P, R>(&mut self, name: &str) -> Result<ComponentFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let session = self.id;
        let Some(alive) = &mut self.live else { return Err(ended_error(&self.ended)) };
        let shape = self.plugin.shape();
        let index = find(shape, name).map_err(|error| self.plugin.named(error))?;
        match alive.live.component_func(index) {
            Some(func) => Ok(ComponentFunc { func, name: name.into(), session }),
            None => Err(Error::new(ErrorKind::UnsuitableExport {
                export: name.to_owned(),
                reason: format!("it is a {}", shape.wit.signature(&shape.wit.functions[index])),
            })),
        }
    }
}

impl<P, R> ComponentFunc<P, R>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    /// Calls it.
    ///
    /// # Errors
    /// As [`Func::call`](crate::Func::call). An `err` that it gives is its result, and no error.
    pub async fn call(&self, session: &mut Session, params: P) -> Result<R> {
        self.check(session)?;
        let mut steps = session.steps()?;
        let result = self.step(&mut steps, params).await;
        drop(steps);
        session.recorded(&self.name, result, |_| None)
    }

    /// [`ComponentFunc::call`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`ComponentFunc::call`] and [`Plugin::call_blocking`](crate::Plugin::call_blocking).
    pub fn call_blocking(&self, session: &mut Session, params: P) -> Result<R> {
        self.check(session)?;
        let mut steps = session.steps_blocking()?;
        let result = match steps.session.pace.may_need_fiber {
            true => block_on(pin!(self.step(&mut steps, params))),
            false => self.step_blocking(&mut steps, params),
        };
        drop(steps);
        session.recorded(&self.name, result, |_| None)
    }

    fn step_blocking(&self, steps: &mut Steps<'_>, params: P) -> Result<R> {
        let session = &mut *steps.session;
        // Out of the session while the guest runs, so that a panic leaves none behind.
        let Some(mut alive) = session.live.take() else { return Err(ended_error(&session.ended)) };
        alive.live.store.data_mut().set_awaited(false);
        match self.func.call(&mut alive.live.store, params) {
            Ok(results) => {
                session.live = Some(alive);
                Ok(results)
            }
            Err(error) => Err(session.end(&mut alive.live, of_guest(&self.name, error))),
        }
    }

    async fn step(&self, steps: &mut Steps<'_>, params: P) -> Result<R> {
        let session = &mut *steps.session;
        let Some(mut alive) = session.live.take() else { return Err(ended_error(&session.ended)) };
        let live = &mut alive.live;
        live.store.data_mut().set_awaited(true);
        let deadline = live.store.data().deadline().unwrap_or_else(|| session.deadline());
        let cut = session.plugin.cuts(None);
        let runtime = live.runtime();
        let call = within(runtime.as_ref(), self.func.call_async(&mut live.store, params));
        let called = bounded(deadline, cut, pin!(call)).await;
        match called {
            Ok(Ok(results)) => {
                session.live = Some(alive);
                Ok(results)
            }
            Ok(Err(error)) => Err(session.end(&mut alive.live, of_guest(&self.name, error))),
            Err(why) => {
                let error = Error::new(alive.live.store.data().interrupted(why));
                session.last = Account::of(&mut alive.live.store, None);
                session.ended = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn check(&self, session: &Session) -> Result<()> {
        if session.id == self.session {
            return Ok(());
        }
        let reason = "it is a function of another session".to_owned();
        Err(Error::new(ErrorKind::InvalidSetting { name: self.name.to_string(), reason }))
    }
}
