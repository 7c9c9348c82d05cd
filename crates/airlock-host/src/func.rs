//! Functions with their types, for calls where nanoseconds count.

use std::fmt;

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::{Caller, Linker, TypedFunc, V128, WasmRet};

use crate::session::Session;

/// Parameters of a function: one number (`i32`, `u32`, `i64`, `u64`, `f32`, `f64`, or a vector as
/// [`V128`]) or a tuple of up to eight.
pub trait Params: Send + Sync + sealed::Params {}

/// Results of a function: as [`Params`], and `()` for none.
pub trait Results: Send + Sync + sealed::Results {}

/// What keeps other types out, since references need a store to live in, and wasmtime's traits to
/// ourselves.
pub(crate) mod sealed {
    use wasmtime::{Caller, Linker, WasmParams, WasmResults, WasmRet, WasmTy, WasmTyList};

    /// What wasmtime takes as parameters.
    pub trait Params: Types + WasmParams {}

    impl<T: Types + WasmParams> Params for T {}

    /// What it gives as results, of a guest's function and of a host's.
    pub trait Results: Types + WasmResults + WasmRet {}

    impl<T: Types + WasmResults + WasmRet> Results for T {}

    /// Numbers, by the names of their types.
    pub trait Types: Sized + 'static {
        /// The same as a list, which a single number is not.
        type List: WasmTyList + Send + 'static;

        fn names() -> String;

        fn of(list: Self::List) -> Self;

        /// Defines a function of the host with these parameters.
        fn define<Data: 'static, R: WasmRet>(
            linker: &mut Linker<Data>,
            module: &str,
            name: &str,
            function: impl Fn(Caller<'_, Data>, Self) -> R + Send + Sync + 'static,
        ) -> wasmtime::Result<()>;
    }

    /// A single number, and not yet another tuple.
    pub trait Number: Types + WasmTy + Send + Sync {}
}

macro_rules! numbers {
    ($($rust:ident = $wasm:literal),*) => {$(
        impl sealed::Types for $rust {
            type List = ($rust,);

            fn names() -> String {
                $wasm.to_owned()
            }

            fn of((number,): Self::List) -> Self {
                number
            }

            fn define<Data: 'static, Ret: WasmRet>(
                linker: &mut Linker<Data>,
                module: &str,
                name: &str,
                function: impl Fn(Caller<'_, Data>, Self) -> Ret + Send + Sync + 'static,
            ) -> wasmtime::Result<()> {
                linker.func_wrap(module, name, function)?;
                Ok(())
            }
        }
        impl sealed::Number for $rust {}
        impl Params for $rust {}
        impl Results for $rust {}
    )*};
}

numbers!(i32 = "i32", u32 = "i32", i64 = "i64", u64 = "i64", f32 = "f32", f64 = "f64", V128 = "v128");

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: sealed::Number),*> sealed::Types for ($($name,)*) {
            type List = Self;

            fn names() -> String {
                let names: Vec<String> = vec![$($name::names()),*];
                names.join(", ")
            }

            fn of(list: Self::List) -> Self {
                list
            }

            fn define<Data: 'static, Ret: WasmRet>(
                linker: &mut Linker<Data>,
                module: &str,
                name: &str,
                function: impl Fn(Caller<'_, Data>, Self) -> Ret + Send + Sync + 'static,
            ) -> wasmtime::Result<()> {
                #[allow(non_snake_case, reason = "a parameter is called as its type is")]
                linker.func_wrap(module, name, move |caller: Caller<'_, Data> $(, $name: $name)*| {
                    function(caller, ($($name,)*))
                })?;
                Ok(())
            }
        }
        impl<$($name: sealed::Number),*> Params for ($($name,)*) {}
        impl<$($name: sealed::Number),*> Results for ($($name,)*) {}
    )*};
}

tuples! {
    () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

/// An exported function of a [`Session`], with its types.
///
/// A call of it is bounded like every other: by the plugin's timeout, fuel and memory. Its
/// deadline is counted from the first tick after it began
/// ([`TICK`](crate::TICK) at most), so that a call that ends sooner never looks at a
/// clock. What it used is told by [`Session::usage`].
pub struct Func<P, R> {
    pub(crate) func: TypedFunc<P, R>,
    pub(crate) name: Box<str>,
    pub(crate) session: u64,
}

impl<P, R> fmt::Debug for Func<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Func").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<P: Params, R: Results> Func<P, R> {
    /// Calls it.
    ///
    /// # Errors
    /// Every way a call can fail, as [`Session::call`]; [`ErrorKind::SessionEnded`] after a
    /// call that ended the session; [`ErrorKind::InvalidSetting`] for another session than
    /// the one it came from.
    pub async fn call(&self, session: &mut Session, params: P) -> Result<R> {
        self.check(session)?;
        if !session.is_recorded() {
            return session.steps()?.step(&self.func, params).await;
        }
        let result = session.steps()?.step(&self.func, params).await;
        session.recorded(&self.name, result, |_| None)
    }

    /// [`Func::call`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Func::call`] and [`Plugin::call_blocking`](crate::Plugin::call_blocking).
    pub fn call_blocking(&self, session: &mut Session, params: P) -> Result<R> {
        self.check(session)?;
        // What a step returns is handed on as it is: a copy of it costs as much as the call.
        match session.is_plain() {
            true => session.call_plain(&self.func, params),
            false => self.call_with_care(session, params),
        }
    }

    /// Kept out of [`Func::call_blocking`], whose frame it would make many times as large.
    #[inline(never)]
    fn call_with_care(&self, session: &mut Session, params: P) -> Result<R> {
        let result = session.steps_blocking()?.step_blocking(&self.func, params);
        session.recorded(&self.name, result, |_| None)
    }

    pub(crate) fn check(&self, session: &Session) -> Result<()> {
        match session.id() == self.session {
            true => Ok(()),
            false => Err(self.foreign()),
        }
    }

    #[cold]
    fn foreign(&self) -> Error {
        let reason = "it is a function of another session".to_owned();
        Error::new(ErrorKind::InvalidSetting { name: self.name.to_string(), reason })
    }
}

/// A signature as text.
pub(crate) fn signature<P: Params, R: Results>() -> String {
    format!("({}) -> ({})", P::names(), R::names())
}
