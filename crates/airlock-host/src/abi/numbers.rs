//! How modules are called whose functions take and give plain numbers, which is all that is known
//! of them: the adapter of the `raw` and the `mofa` ABI.

use std::collections::HashMap;
use std::sync::Arc;

use airlock_core::{Error, ErrorKind, Result, Value, ValueType};
use airlock_engine::{Shape, Signature};
use wasmtime::Val;

use super::{Adapter, Failure, GuestFuture, Hooks, initialiser, unknown_function};
use crate::answer::{Answer, Input};
use crate::store::Live;

/// Exports that are a runtime's, not the plugin's.
const RUNTIME: [&str; 3] = ["_start", "_initialize", "__wasm_call_ctors"];

/// How many functions of a module can be called.
pub(super) fn count(shape: &Shape) -> usize {
    callable(shape).count()
}

/// Reads which functions a module has that can be called.
pub(super) fn bind(shape: &Arc<Shape>) -> Arc<dyn Adapter> {
    let bound: HashMap<String, Bound> = callable(shape)
        .map(|(name, ty)| {
            let params = ty.numeric_params().unwrap_or_default();
            (name.to_owned(), Bound { params, signature: ty.clone() })
        })
        .collect();
    let mut functions: Vec<String> = bound.keys().cloned().collect();
    functions.sort();
    let hooks = Hooks::of(shape, initialiser(shape, shape.function("_start").is_none()));
    Arc::new(Numbers { functions, bound, hooks, shape: shape.clone() })
}

/// A function that can be called.
struct Bound {
    params: Vec<ValueType>,
    signature: Signature,
}

fn callable(shape: &Shape) -> impl Iterator<Item = (&str, &Signature)> {
    shape.exported_functions().filter(|(name, ty)| {
        let is_own = !RUNTIME.contains(name) && !Hooks::NAMES.contains(name);
        is_own && ty.numeric_params().is_some() && ty.numeric_results().is_some()
    })
}

struct Numbers {
    functions: Vec<String>,
    bound: HashMap<String, Bound>,
    hooks: Hooks,
    shape: Arc<Shape>,
}

impl Adapter for Numbers {
    fn functions(&self) -> &[String] {
        &self.functions
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        if self.hooks.is_ready() {
            return None;
        }
        Some(Box::pin(async move { Ok(self.hooks.start(live).await?) }))
    }

    fn stop<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        self.hooks.stop(live)
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let bound = self
                .bound
                .get(function)
                .ok_or_else(|| unknown_function(&self.shape, function, &self.functions))?;
            let arguments = arguments(function, bound, input)?;
            let params = arguments.into_iter().map(to_val).collect::<Result<Vec<Val>, Failure>>()?;
            let mut results = vec![Val::I32(0); bound.signature.results.len()];
            let func = live
                .func(function)
                .ok_or_else(|| unknown_function(&self.shape, function, &self.functions))?;
            live.invoke_values(&func, &params, &mut results).await?;
            let values = results.iter().map(from_val).collect::<Result<Vec<Value>, Failure>>()?;
            Ok(Answer::Values(values))
        })
    }
}

/// The arguments, read by the function's own types.
fn arguments(function: &str, bound: &Bound, input: Input) -> Result<Vec<Value>> {
    let types = &bound.params;
    let wrong_count = |given: usize| {
        Error::new(ErrorKind::WrongArgumentCount {
            function: function.to_owned(),
            signature: bound.signature.to_string(),
            given,
        })
    };
    let read = |given: usize, read_one: &dyn Fn(usize, ValueType) -> Result<Value>| {
        if given != types.len() {
            return Err(wrong_count(given));
        }
        types.iter().enumerate().map(|(index, ty)| read_one(index, *ty)).collect()
    };
    match input {
        Input::Values(values) => read(values.len(), &|index, ty| match values[index] {
            value if value.ty() == ty => Ok(value),
            value => Err(Error::new(ErrorKind::InvalidArgument {
                given: value.to_string(),
                expected: ty.to_string(),
            })),
        }),
        Input::Words(words) => read(words.len(), &|index, ty| ty.parse(&words[index])),
        Input::Json(_) | Input::Raw(_) | Input::Wave(_) => {
            match crate::answer::parse_json(input.as_json().unwrap_or_default())? {
                serde_json::Value::Null => read(0, &|_, _| Err(wrong_count(0))),
                serde_json::Value::Array(items) => {
                    read(items.len(), &|index, ty| ty.from_json(&items[index]))
                }
                single => read(1, &|_, ty| ty.from_json(&single)),
            }
        }
    }
}

fn to_val(value: Value) -> Result<Val, Failure> {
    Ok(match value {
        Value::I32(n) => Val::I32(n),
        Value::I64(n) => Val::I64(n),
        Value::F32(x) => Val::F32(x.to_bits()),
        Value::F64(x) => Val::F64(x.to_bits()),
        other => return Err(Error::host(format!("a parameter of type {}", other.ty())).into()),
    })
}

fn from_val(val: &Val) -> Result<Value, Failure> {
    match val {
        Val::I32(n) => Ok(Value::I32(*n)),
        Val::I64(n) => Ok(Value::I64(*n)),
        Val::F32(bits) => Ok(Value::F32(f32::from_bits(*bits))),
        Val::F64(bits) => Ok(Value::F64(f64::from_bits(*bits))),
        _ => Err(Error::host("a result that the signature does not have").into()),
    }
}
