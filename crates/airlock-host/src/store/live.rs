//! An instance in its store: its exports, its memory, and calls into it, awaited or not.

use std::any::{Any, TypeId};

use airlock_core::Result;
use airlock_engine::Allocation;
use tokio::runtime::Handle;
use wasmtime::component::{self, ResourceAny};
use wasmtime::{Extern, Func, Memory, Store, TypedFunc, Val, WasmParams, WasmResults};

use super::CallState;
use crate::abi::with_heap;
use crate::func::{Params, Results};
use crate::prepared::{Linked, LinkedComponent, Prepared};
use crate::service::net;

/// What runs.
pub(crate) enum Instance {
    Module(wasmtime::Instance),
    /// A component, with the runtime that its sockets belong to where it imports anything.
    Component(component::Instance, Option<Handle>),
}

/// An instance in its store.
pub(crate) struct Live {
    pub(crate) store: Store<CallState>,
    pub(crate) instance: Instance,
    allocation: Allocation,
    /// The memory for what it and the host hand over, once somebody asked for it.
    memory: Option<Memory>,
    /// Functions called by name before, where the instance is kept for more calls than one.
    pub(crate) called: Option<Vec<Called>>,
}

/// A function that was called by its name: looking it up and checking its type takes longer
/// than many a call of it.
pub(crate) struct Called {
    name: Box<str>,
    /// A [`TypedFunc`], and which.
    func: Box<dyn Any + Send + Sync>,
    kind: TypeId,
}

/// How many of those an instance remembers: more than an application calls in turn, few
/// enough to be looked through.
const REMEMBERED: usize = 16;

impl Called {
    #[inline]
    pub(crate) fn func<P: 'static, R: 'static>(&self) -> Option<&TypedFunc<P, R>> {
        self.func.downcast_ref()
    }
}

impl Live {
    pub(crate) fn new(store: Store<CallState>, instance: Instance, allocation: Allocation) -> Self {
        Live { store, instance, allocation, memory: None, called: None }
    }

    fn prepared(&self) -> Option<&Prepared> {
        self.store.data().plugin.prepared(self.allocation)
    }

    /// The export `name` of a module, looked up by its index.
    pub(crate) fn export(&mut self, name: &str) -> Option<Extern> {
        let export = *self.prepared()?.exports.get(name)?;
        match &self.instance {
            Instance::Module(instance) => instance.get_module_export(&mut self.store, &export),
            Instance::Component(..) => None,
        }
    }

    /// The exported function `name`, looked up by its index in the module.
    pub(crate) fn func(&mut self, name: &str) -> Option<Func> {
        self.export(name)?.into_func()
    }

    /// The exported function `name` with a static type.
    pub(crate) fn typed<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> Option<TypedFunc<P, R>> {
        self.func(name)?.typed(&self.store).ok()
    }

    /// The exported global `name`, when it is an `i32`: its value.
    pub(crate) fn global_i32(&mut self, name: &str) -> Option<u32> {
        let value = self.export(name)?.into_global()?.get(&mut self.store).i32()?;
        Some(value.cast_unsigned())
    }

    /// The memory exported as `memory`, or else the one that the host made.
    pub(crate) fn memory(&mut self) -> Option<Memory> {
        if self.memory.is_none() {
            let exported = self.export("memory").and_then(Extern::into_memory);
            self.memory = exported.or(self.store.data().provided);
        }
        self.memory
    }

    /// At least so many bytes of the guest's memory for this call, where the guest has no allocator
    /// to ask. `None` when there is no more.
    pub(crate) fn take_frame(&mut self, memory: Memory, size: u32) -> Option<u32> {
        with_heap(&mut self.store, |heap, store| heap.frame(memory, store, size))
    }

    /// At least so many bytes of the guest's memory, for good. `None` when there is no more.
    pub(crate) fn take(&mut self, memory: Memory, size: u32) -> Option<u32> {
        with_heap(&mut self.store, |heap, store| heap.take(memory, store, size))
    }

    /// The memory, unless its addresses are wider than the ABIs' and the embedder's.
    pub(crate) fn memory32(&mut self) -> Option<Memory> {
        if self.prepared()?.memory64 { None } else { self.memory() }
    }

    fn linked(&self) -> Option<&LinkedComponent> {
        match &self.prepared()?.linked {
            Linked::Component(linked) => Some(linked),
            _ => None,
        }
    }

    /// Runs a component to its end, which says whether all went well. `None` for a module.
    pub(crate) async fn run_component(&mut self) -> Option<wasmtime::Result<Result<(), ()>>> {
        let run = self.linked()?.run.clone()?;
        let Instance::Component(instance, runtime) = &self.instance else { return None };
        let command = match run.load(&mut self.store, instance) {
            Ok(command) => command,
            Err(error) => return Some(Err(error)),
        };
        // Boxed, so that programs that are modules carry nothing of it.
        let run = Box::pin(command.wasi_cli_run().call_run(&mut self.store));
        Some(within(runtime.as_ref(), run).await)
    }

    /// Calls a component's function by its place among those of its shape. `None` when there is none.
    pub(crate) async fn invoke_component(
        &mut self,
        function: usize,
        params: &[component::Val],
        results: &mut [component::Val],
    ) -> Option<wasmtime::Result<()>> {
        let index = *self.linked()?.functions.get(function)?.as_ref()?;
        let Instance::Component(instance, runtime) = &self.instance else { return None };
        let func = instance.get_func(&mut self.store, index)?;
        Some(match self.store.data().awaited {
            true => {
                let call = Box::pin(func.call_async(&mut self.store, params, results));
                within(runtime.as_ref(), call).await
            }
            false => func.call(&mut self.store, params, results),
        })
    }

    /// A component's function by its place among those of its shape, with static types. `None` when there
    /// is none of those types.
    pub(crate) fn component_func<P, R>(&mut self, function: usize) -> Option<component::TypedFunc<P, R>>
    where
        P: component::ComponentNamedList + component::Lower,
        R: component::ComponentNamedList + component::Lift,
    {
        let index = *self.linked()?.functions.get(function)?.as_ref()?;
        let Instance::Component(instance, _) = &self.instance else { return None };
        instance.get_func(&mut self.store, index)?.typed(&self.store).ok()
    }

    /// The runtime that a component's sockets belong to, where it has any.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        match &self.instance {
            Instance::Component(_, runtime) => runtime.clone(),
            Instance::Module(_) => None,
        }
    }

    /// Drops a resource of a component's, which may run code of it.
    pub(crate) async fn drop_resource(&mut self, resource: ResourceAny) -> wasmtime::Result<()> {
        let Instance::Component(_, runtime) = &self.instance else { return Ok(()) };
        match self.store.data().awaited {
            true => {
                let drop = Box::pin(resource.resource_drop_async(&mut self.store));
                within(runtime.as_ref(), drop).await
            }
            false => resource.resource_drop(&mut self.store),
        }
    }

    /// Whether the instance is kept for more calls than one.
    pub(crate) fn is_kept(&self) -> bool {
        self.called.is_some()
    }

    /// Remembers the functions that it calls from now on.
    pub(crate) fn keep(&mut self) {
        self.called = Some(Vec::new());
    }

    /// Where the function of that name and type is among those called before; looked up when
    /// it was not.
    pub(crate) fn remember<P: Params, R: Results>(&mut self, name: &str) -> Option<usize> {
        let kind = TypeId::of::<TypedFunc<P, R>>();
        let is_it = |called: &Called| called.kind == kind && &*called.name == name;
        if let Some(at) = self.called.iter().flatten().position(is_it) {
            return Some(at);
        }
        let func = Box::new(self.typed::<P, R>(name)?);
        let called = self.called.get_or_insert_default();
        if called.len() == REMEMBERED {
            called.clear();
        }
        called.push(Called { name: name.into(), func, kind });
        Some(called.len() - 1)
    }

    /// Calls what is remembered there, without a fiber. `None` when that is nothing of this type.
    #[inline(always)]
    pub(crate) fn call_remembered<P: Params, R: Results>(
        &mut self,
        at: usize,
        params: P,
    ) -> Option<wasmtime::Result<R>> {
        let func = self.called.as_deref()?.get(at)?.func::<P, R>()?;
        Some(func.call(&mut self.store, params))
    }

    /// Calls the exported function `name`, on a fiber when the call is awaited. `None` when
    /// there is no such function of that type.
    pub(crate) async fn invoke<P: Params, R: Results>(
        &mut self,
        name: &str,
        params: P,
    ) -> Option<wasmtime::Result<R>> {
        if self.called.is_none() {
            let func = self.typed::<P, R>(name)?;
            return Some(self.invoke_typed(&func, params).await);
        }
        let at = self.remember::<P, R>(name)?;
        // Taken out for the call: a clone would cost as much as the lookup did.
        let called = self.called.take()?;
        let result = match called[at].func() {
            Some(func) => Some(self.invoke_typed(func, params).await),
            None => None,
        };
        self.called = Some(called);
        result
    }

    async fn invoke_typed<P, R>(&mut self, func: &TypedFunc<P, R>, params: P) -> wasmtime::Result<R>
    where
        P: WasmParams + Sync,
        R: WasmResults + Sync,
    {
        match self.store.data().awaited {
            true => func.call_async(&mut self.store, params).await,
            false => func.call(&mut self.store, params),
        }
    }

    /// Calls a function with values of its type.
    pub(crate) async fn invoke_values(
        &mut self,
        func: &Func,
        params: &[Val],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        match self.store.data().awaited {
            true => func.call_async(&mut self.store, params, results).await,
            false => func.call(&mut self.store, params, results),
        }
    }
}

/// Waits for something of a component's within the runtime that it has, if any.
pub(crate) async fn within<F: Future>(runtime: Option<&Handle>, future: F) -> F::Output {
    match runtime {
        Some(runtime) => net::around(runtime, future).await,
        None => future.await,
    }
}
