//! A component's functions with Rust types: one by one, and all that `bindgen!` makes of its world.

use std::fmt;
use std::pin::pin;

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::component::{self, ComponentNamedList, Lift, Lower, TypedFunc};
use wasmtime::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};

use super::{Alive, Session, Steps, ended_error};
use crate::abi::component::{find, of_guest};
use crate::bounded::{Interrupted, block_on, bounded};
use crate::store::{Account, CallState, Instance, within};

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

/// The name that calls of a world are told by in errors and records.
const WORLD: &str = "with_component";

impl Session {
    /// Makes calls of a component by what [`bindgen!`](crate::component::bindgen) made of its world, or by
    /// wasmtime's own functions: `work` gets the store and the instance that those want.
    ///
    /// All that it does is one call, with one time and one measure of fuel; limits, grants and the audit
    /// log hold as for every other. Functions of the world are `async` ones (`exports: { default: async }`).
    /// What the world imports is what Airlock gives every component; nothing is to be linked.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a module; [`ErrorKind::SessionEnded`]; what ended the guest. An
    /// error of `work` ends the session, whatever it is of: one that is not to is a value, `Ok(Err(…))`.
    pub async fn with_component<T>(
        &mut self,
        work: impl AsyncFnOnce(ComponentStore<'_>, &component::Instance) -> wasmtime::Result<T>,
    ) -> Result<T> {
        self.check_component()?;
        let mut steps = self.steps()?;
        let result = in_component(&mut steps, work).await;
        drop(steps);
        self.recorded(WORLD, result, |_| None)
    }

    /// [`Session::with_component`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::with_component`] and [`Plugin::call_blocking`](crate::Plugin::call_blocking).
    pub fn with_component_blocking<T>(
        &mut self,
        work: impl AsyncFnOnce(ComponentStore<'_>, &component::Instance) -> wasmtime::Result<T>,
    ) -> Result<T> {
        self.check_component()?;
        let mut steps = self.steps_blocking()?;
        let result = block_on(pin!(in_component(&mut steps, work)));
        drop(steps);
        self.recorded(WORLD, result, |_| None)
    }

    fn check_component(&self) -> Result<()> {
        if self.plugin.shape().is_component {
            return Ok(());
        }
        let reason = "the plugin is a module, and no component".to_owned();
        Err(Error::new(ErrorKind::InvalidSetting { name: WORLD.to_owned(), reason }))
    }

    /// Takes an instance back that has been called, unless that ended it.
    fn put_back_after<T>(
        &mut self,
        name: &str,
        mut alive: Box<Alive>,
        called: std::result::Result<wasmtime::Result<T>, Interrupted>,
    ) -> Result<T> {
        match called {
            Ok(Ok(value)) => {
                self.live = Some(alive);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.end(&mut alive.live, of_guest(name, error))),
            Err(why) => {
                let error = Error::new(alive.live.store.data().interrupted(why));
                self.last = Account::of(&mut alive.live.store, None);
                self.ended = Some(error.to_string());
                Err(error)
            }
        }
    }
}

async fn in_component<T>(
    steps: &mut Steps<'_>,
    work: impl AsyncFnOnce(ComponentStore<'_>, &component::Instance) -> wasmtime::Result<T>,
) -> Result<T> {
    let session = &mut *steps.session;
    // Out of the session while the guest runs, so that a panic leaves none behind.
    let Some(mut alive) = session.live.take() else { return Err(ended_error(&session.ended)) };
    let live = &mut alive.live;
    live.store.data_mut().set_awaited(true);
    let deadline = live.store.data().deadline().unwrap_or_else(|| session.deadline());
    let cut = session.plugin.cuts(None);
    let Instance::Component(instance, runtime) = &live.instance else {
        return Err(Error::host("a component whose instance is a module's"));
    };
    let called = within(runtime.as_ref(), work(ComponentStore(&mut live.store), instance));
    let called = bounded(deadline, cut, pin!(called)).await;
    session.put_back_after(WORLD, alive, called)
}

/// The store of a component's session, for [`Session::with_component`]: what wasmtime's functions take.
///
/// What can be changed of it, as its fuel, is the application's to change; the next call has its own again.
pub struct ComponentStore<'a>(&'a mut Store<CallState>);

impl fmt::Debug for ComponentStore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentStore").finish_non_exhaustive()
    }
}

impl AsContext for ComponentStore<'_> {
    type Data = CallState;

    fn as_context(&self) -> StoreContext<'_, CallState> {
        self.0.as_context()
    }
}

impl AsContextMut for ComponentStore<'_> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, CallState> {
        self.0.as_context_mut()
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
        session.put_back_after(&self.name, alive, called)
    }

    fn check(&self, session: &Session) -> Result<()> {
        if session.id == self.session {
            return Ok(());
        }
        let reason = "it is a function of another session".to_owned();
        Err(Error::new(ErrorKind::InvalidSetting { name: self.name.to_string(), reason }))
    }
}
