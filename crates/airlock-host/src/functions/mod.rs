//! Functions of the application that its plugins import.
//!
//! A [`Functions`] is a set of them with one module name. They are linked before anything that an
//! ABI provides, so that a function of the application's goes before an ABI's of the same name, and
//! what they need is asked of the gate before they run. The guest's side of a call, its memory,
//! plugin and policy, is a [`HostCall`].

mod call;
mod failure;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use airlock_core::{Capability, Request};
use airlock_engine::{Import, Shape};
use wasmtime::{Caller, Linker};

use crate::caught::{caught, said};
use crate::func::{Params, Results};
use crate::store::CallState;

pub use call::HostCall;
pub use failure::FuncError;

/// What an awaited function returns.
pub type HostFuture<'a, R> = Pin<Box<dyn Future<Output = Result<R, FuncError>> + Send + 'a>>;

/// Functions that the application offers to its plugins as imports of one module.
///
/// A function takes numbers and gives numbers, as [`Params`] and [`Results`] say; what is more than a
/// number is in the guest's [memory](HostCall::memory). It goes before a function of the same name
/// that the plugin's ABI provides.
///
/// ```
/// use airlock_host::{Functions, Host, LoadOptions};
///
/// # fn main() -> Result<(), airlock_host::Error> {
/// let functions = Functions::of("env")
///     .func("log", |_, message: i32| {
///         println!("plugin log: {message}");
///         Ok(())
///     })
///     .func("length", |call, (pointer, length): (u32, u32)| {
///         Ok(call.memory()?.text(pointer, length)?.chars().count() as u32)
///     });
/// let host = Host::builder().functions(functions).build()?;
/// let wat = r#"(module (import "env" "log" (func $log (param i32)))
///     (func (export "run") (call $log (i32.const 42))))"#;
/// let plugin = host.load_blocking(wat.as_bytes(), LoadOptions::new().wat(true))?;
/// plugin.call_blocking::<_, ()>("run", &())?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors and panics
/// What a function fails with ends the call that made the guest call it, and the session with it: an
/// [`Error`](crate::Error) is the call's own, any other reason is an
/// [`ErrorKind::HostFunction`](crate::ErrorKind::HostFunction), and so is a panic. A failure that the guest
/// is to live on with is a number that the function gives back.
#[derive(Clone)]
pub struct Functions {
    module: Arc<str>,
    functions: Vec<Declared>,
}

/// One function with what is declared of it.
#[derive(Clone)]
struct Declared {
    name: Arc<Name>,
    needs: Arc<[Capability]>,
    /// Whether calling it may wait.
    waits: bool,
    define: Arc<Define>,
}

/// Puts a function into a linker.
type Define =
    dyn Fn(&mut Linker<CallState>, &Arc<Name>, &Arc<[Capability]>) -> wasmtime::Result<()> + Send + Sync;

/// What a function is imported by.
#[derive(Debug)]
struct Name {
    module: Arc<str>,
    name: Box<str>,
    /// Both, for errors.
    whole: Box<str>,
}

impl Functions {
    /// No functions, of the module `module`.
    pub fn of(module: &str) -> Self {
        Functions { module: module.into(), functions: Vec::new() }
    }

    /// Adds a function that does not wait. A blocking call stays one that never leaves its thread's stack.
    ///
    /// One that is there by this name already is replaced.
    #[must_use]
    pub fn func<P, R, F>(self, name: &str, function: F) -> Self
    where
        P: Params,
        R: Results,
        F: Fn(&mut HostCall<'_>, P) -> Result<R, FuncError> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.with(name, false, move |linker, name, needs| {
            let (function, own, needs) = (function.clone(), name.clone(), needs.clone());
            P::define(linker, &name.module, &name.name, move |guest: Caller<'_, CallState>, params: P| {
                let mut call = HostCall::new(guest, &own.whole, false);
                call.enter(&needs)?;
                // What the closure has changed and left half done is the application's own to know.
                match catch_unwind(AssertUnwindSafe(|| function(&mut call, params))) {
                    Ok(Ok(results)) => call.gave(results),
                    Ok(Err(error)) => Err(call.failed(error)),
                    Err(panic) => Err(call.failed(FuncError::panicked(&said(&*panic)))),
                }
            })
        })
    }

    /// Adds a function that is awaited, on the executor that awaits the call. A plugin that imports it
    /// cannot be called blocking from inside a tokio runtime.
    ///
    /// The call's deadline holds for it too: its future is dropped then.
    ///
    /// ```
    /// # use airlock_host::Functions;
    /// let functions = Functions::of("app").func_async("pause", |call, milliseconds: u32| {
    ///     Box::pin(async move {
    ///         let _ = (call.plugin().name.as_str(), milliseconds);
    ///         Ok(0_i32)
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn func_async<P, R, F>(self, name: &str, function: F) -> Self
    where
        P: Params,
        R: Results,
        F: for<'a, 'b> Fn(&'a mut HostCall<'b>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.with(name, true, move |linker, name, needs| {
            let (function, own, needs) = (function.clone(), name.clone(), needs.clone());
            linker.func_wrap_async(
                &name.module,
                &name.name,
                move |guest: Caller<'_, CallState>, params: P::List| {
                    let (function, own, needs) = (function.clone(), own.clone(), needs.clone());
                    Box::new(async move {
                        let mut call = HostCall::new(guest, &own.whole, true);
                        call.enter(&needs)?;
                        match caught(|| function(&mut call, P::of(params))).await {
                            Ok(Ok(results)) => call.gave(results),
                            Ok(Err(error)) => Err(call.failed(error)),
                            Err(panic) => Err(call.failed(FuncError::panicked(&panic))),
                        }
                    })
                },
            )?;
            Ok(())
        })
    }

    /// Has the function that was added last need a capability: a plugin that imports it asks for that,
    /// and a call of it without ends with [`ErrorKind::Denied`](crate::ErrorKind::Denied), before the function
    /// runs. Several may be needed.
    ///
    /// What depends on the function's parameters it asks for itself ([`HostCall::permit`]).
    ///
    /// # Panics
    /// Where no function was added.
    #[must_use]
    pub fn needs(mut self, capability: Capability) -> Self {
        let last = self.functions.last_mut().expect("a function is added before what it needs is said");
        last.needs = last.needs.iter().cloned().chain([capability]).collect();
        self
    }

    fn with(
        mut self,
        name: &str,
        waits: bool,
        define: impl Fn(&mut Linker<CallState>, &Arc<Name>, &Arc<[Capability]>) -> wasmtime::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let whole = format!("{}.{name}", self.module).into();
        let name = Arc::new(Name { module: self.module.clone(), name: name.into(), whole });
        self.functions.retain(|other| other.name.name != name.name);
        self.functions.push(Declared { name, needs: Arc::default(), waits, define: Arc::new(define) });
        self
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.iter().map(|function| &function.name.whole)).finish()
    }
}

/// All functions of an application. Of two with one name the later one holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offered(Vec<Functions>);

impl Offered {
    pub(crate) fn add(&mut self, functions: Functions) {
        self.0.push(functions);
    }

    /// Puts them into a linker, in the place of what is there by their names.
    pub(crate) fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        linker.allow_shadowing(true);
        for function in self.0.iter().flat_map(|functions| &functions.functions) {
            (function.define)(linker, &function.name, &function.needs)?;
        }
        linker.allow_shadowing(false);
        Ok(())
    }

    fn find(&self, import: &Import) -> Option<&Declared> {
        let named = |function: &&Declared| {
            *function.name.module == *import.module && *function.name.name == *import.name
        };
        self.0.iter().rev().flat_map(|functions| &functions.functions).find(named)
    }

    /// Whether calling an import may wait, where it is the application's.
    pub(crate) fn waits(&self, import: &Import) -> Option<bool> {
        self.find(import).map(|function| function.waits)
    }

    /// A module's shape without the imports that are the application's, which say nothing of whose
    /// ABI it is for.
    pub(crate) fn hide(&self, shape: &Arc<Shape>) -> Arc<Shape> {
        if !shape.imports.iter().any(|import| self.find(import).is_some()) {
            return shape.clone();
        }
        let mut hidden = Shape::clone(shape);
        hidden.imports.retain(|import| self.find(import).is_none());
        Arc::new(hidden)
    }

    /// What a module asks for by what it imports of the application.
    pub(crate) fn requests(&self, shape: &Shape) -> Vec<Request> {
        let imported = shape.imports.iter().filter_map(|import| self.find(import));
        let needed = imported.flat_map(|function| function.needs.iter());
        needed.map(|capability| Request { capability: capability.clone(), required: false }).collect()
    }
}
