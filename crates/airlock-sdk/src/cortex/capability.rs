//! From a function to an export: the macro, and what it is made of.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CapabilityContext;

/// Makes a function a capability: the plugin's export of that name.
///
/// The function takes what the input is read into, and a [`CapabilityContext`] where it wants
/// one: `fn(Input, CapabilityContext) -> Output` or `fn(Input) -> Output`. `Input` is anything
/// that `serde` can read ([`DeserializeOwned`]), and `Output` anything that it can write, or a
/// [`Result`] of such a value and an error that has a text ([`Display`]).
///
/// ```
/// use airlock_sdk::{CapabilityContext, register_capability};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Numbers {
///     dividend: i64,
///     divisor: i64,
/// }
///
/// #[derive(Serialize)]
/// struct Quotient {
///     quotient: i64,
/// }
///
/// fn divide(numbers: Numbers, context: CapabilityContext) -> Result<Quotient, String> {
///     context.log("dividing");
///     let quotient = numbers.dividend.checked_div(numbers.divisor);
///     Ok(Quotient { quotient: quotient.ok_or("there is no such quotient")? })
/// }
///
/// /// How many Unicode characters a text has.
/// fn count(text: String) -> usize {
///     text.chars().count()
/// }
///
/// register_capability!("divide", divide);
/// register_capability!("count-chars", count);
/// # fn main() {}
/// ```
///
/// A crate can have any number of them, in any of its modules. A name is a text, so it need
/// not be one that Rust has for functions. Names that hosts have for something else are
/// refused when the plugin is compiled: those of allocators and of a program's start, and
/// those that begin with `_`, `asyncify_`, `cabi_`, `canonical_abi_`, `cortex_` or `plugin_`.
///
/// ```compile_fail
/// fn allocate(_: u32) {}
/// airlock_sdk::register_capability!("malloc", allocate);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_capability {
    ($name:literal, $function:expr $(,)?) => {
        const _: () = {
            $crate::cortex::__private::check_name($name);

            // Checked for every target, and exported where there is somebody to call it.
            fn answer<I: ::core::convert::AsRef<[u8]>>(
                input: I,
                context: $crate::cortex::CapabilityContext,
            ) -> ::std::vec::Vec<u8> {
                $crate::cortex::__private::json($crate::__answer_of_capability!($function, input, context))
            }

            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = $name)]
            extern "C" fn capability(pointer: *const u8, length: usize) -> *const u8 {
                $crate::cortex::__private::export(pointer, length, answer)
            }

            #[cfg(not(target_arch = "wasm32"))]
            let _ = answer::<&[u8]>;
        };
    };
}

/// The function's answer to this JSON text: its own as JSON, or a message.
#[doc(hidden)]
#[macro_export]
macro_rules! __answer_of_capability {
    ($function:expr, $input:expr, $context:expr) => {{
        #[allow(unused_imports, reason = "a `Result` has a method of its own")]
        use $crate::cortex::__private::Plain as _;
        match $crate::cortex::__private::run($function, $input, $context) {
            ::core::result::Result::Ok(given) => given.answer(),
            ::core::result::Result::Err(message) => ::core::result::Result::Err(message),
        }
    }};
}

/// A function that can be a capability; `Arguments` tells those with a context from those
/// without.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a capability",
    label = "not a function of a readable input",
    note = "a capability is `fn(Input, CapabilityContext) -> Output` or `fn(Input) -> Output`, where `Input` is `serde::Deserialize` and borrows nothing"
)]
pub trait Capability<Arguments> {
    /// What the input is read into.
    type Input: DeserializeOwned;
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(self, input: Self::Input, context: CapabilityContext) -> Self::Output;
}

impl<F, I, O> Capability<(I, CapabilityContext)> for F
where
    F: FnOnce(I, CapabilityContext) -> O,
    I: DeserializeOwned,
{
    type Input = I;
    type Output = O;

    fn call(self, input: I, context: CapabilityContext) -> O {
        self(input, context)
    }
}

impl<F, I, O> Capability<(I,)> for F
where
    F: FnOnce(I) -> O,
    I: DeserializeOwned,
{
    type Input = I;
    type Output = O;

    fn call(self, input: I, _: CapabilityContext) -> O {
        self(input)
    }
}

/// What a capability returned. Its method `answer` is that of a [`Result`] where it is one,
/// and that of [`Plain`] where it is anything else.
#[derive(Debug)]
pub struct Given<T>(T);

impl<T, E> Given<Result<T, E>> {
    /// The value as JSON, or the error's text.
    ///
    /// # Errors
    /// The error's text, and why the value has no JSON.
    pub fn answer(self) -> Result<Vec<u8>, String>
    where
        T: Serialize,
        E: Display,
    {
        match self.0 {
            Ok(value) => Given(value).plain(),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl<T: Serialize> Given<T> {
    fn plain(self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&self.0).map_err(|error| format!("the answer has no JSON: {error}"))
    }
}

/// What is no [`Result`].
pub trait Plain {
    /// The value as JSON.
    ///
    /// # Errors
    /// Why it has none.
    fn answer(self) -> Result<Vec<u8>, String>;
}

impl<T: Serialize> Plain for Given<T> {
    fn answer(self) -> Result<Vec<u8>, String> {
        self.plain()
    }
}

/// Calls `function` with what it makes of `input`, which is gone by then.
///
/// # Errors
/// Why the input does not fit.
pub fn run<F: Capability<Arguments>, Arguments>(
    function: F,
    input: impl AsRef<[u8]>,
    context: CapabilityContext,
) -> Result<Given<F::Output>, String> {
    let read = serde_json::from_slice(input.as_ref());
    drop(input);
    match read {
        Ok(input) => Ok(Given(function.call(input, context))),
        Err(error) => Err(format!("the input does not fit: {error}")),
    }
}

/// An answer as its caller gets it: a message as the object that stands for a failure.
pub fn json(answer: Result<Vec<u8>, String>) -> Vec<u8> {
    answer.unwrap_or_else(|error| {
        // A text always has a JSON form; `expect` would bring along what writes its error.
        let text = serde_json::to_vec(&error).unwrap_or_default();
        [b"{\"error\":", text.as_slice(), b"}"].concat()
    })
}

/// Names that hosts have for something else, as `airlock` does.
const TAKEN: [&str; 13] = [
    "memory",
    "main",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "alloc",
    "dealloc",
    "allocate",
    "deallocate",
    "result_len",
    "dealloc_str",
    "get_result_len",
];

/// Beginnings of such names.
const TAKEN_BEGINNINGS: [&str; 6] = ["_", "asyncify_", "cabi_", "canonical_abi_", "cortex_", "plugin_"];

/// Refuses a name that hosts would not take for a capability's.
///
/// # Panics
/// When it is one: while the plugin is compiled.
pub const fn check_name(name: &str) {
    assert!(!name.is_empty(), "a capability needs a name");
    let name = name.as_bytes();
    let mut at = 0;
    while at < TAKEN.len() {
        let taken = TAKEN[at].as_bytes();
        assert!(
            taken.len() != name.len() || !begins_with(name, taken),
            "hosts have this name for something else, and would not find the capability"
        );
        at += 1;
    }
    let mut at = 0;
    while at < TAKEN_BEGINNINGS.len() {
        assert!(
            !begins_with(name, TAKEN_BEGINNINGS[at].as_bytes()),
            "hosts have names with this beginning for something else, and would not find the capability"
        );
        at += 1;
    }
}

const fn begins_with(name: &[u8], beginning: &[u8]) -> bool {
    if name.len() < beginning.len() {
        return false;
    }
    let mut at = 0;
    while at < beginning.len() {
        if name[at] != beginning[at] {
            return false;
        }
        at += 1;
    }
    true
}
