//! The `component` ABI: components whose functions are called, with values of WIT's types as JSON.
//!
//! What a function takes and gives is known from the component's shape, so nothing of this needs a
//! manifest: `decode.rs` reads JSON by a type, `wave.rs` the text form that is WIT's own, `encode.rs`
//! writes what comes back, `schema.rs` tells others. wasmtime looks at all values once more as they go
//! into the guest, so that a mistake here would be an error and nothing worse.

mod arguments;
mod decode;
mod encode;
mod handles;
mod names;
mod place;
mod schema;
mod wave;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use airlock_core::{AbiId, Error, ErrorKind, LimitKind, Limits, Manifest, Phase, Result};
use airlock_engine::{Shape, Wit, WitFunction, WitKind};
use wasmtime::component::{ResourceAny, Val};
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use self::decode::Decoder;
use self::encode::Encoder;
use self::names::Names;
use super::{Abi, Adapter, Failure, Fit, GuestFuture, Match, Profile, bad};
use crate::answer::{Answer, Input};
use crate::store::{Halt, Live};

pub(crate) use handles::Handles;

pub(super) struct Component;

static PROFILE: Profile = Profile {
    limits: &[],
    baseline: &[],
    keeps_state: false,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

impl Abi for Component {
    fn id(&self) -> AbiId {
        AbiId::Component
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        let count = shape.wit.functions.len();
        if count == 0 || manifest.is_some() {
            return None;
        }
        let why = match count {
            1 => "it is a component that exports a function".to_owned(),
            _ => format!("it is a component that exports {count} functions"),
        };
        Some(Match { fit: Fit::Fallback, why })
    }

    fn takes_components(&self) -> bool {
        true
    }

    fn bind(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        let mismatch = |reason: &str| {
            let reason = reason.to_owned();
            Error::new(ErrorKind::AbiMismatch { abi: AbiId::Component, reason })
        };
        if !shape.is_component {
            return Err(mismatch("it is a module"));
        }
        match Functions::of(shape) {
            Some(functions) => Ok(Arc::new(functions)),
            None => Err(mismatch("it exports no function")),
        }
    }
}

/// The functions of a component.
pub(super) struct Functions {
    shape: Arc<Shape>,
    names: Names,
    /// Of each, whether it takes or gives a resource.
    has_handles: Vec<bool>,
}

impl Functions {
    /// Those of a component that has any.
    pub(super) fn of(shape: &Arc<Shape>) -> Option<Self> {
        let wit = &shape.wit;
        if wit.functions.is_empty() {
            return None;
        }
        let with_handles = wit.with_handles();
        let has = |function: &WitFunction| {
            let mut types = function.params.iter().map(|(_, ty)| *ty).chain(function.result);
            types.any(|ty| with_handles[ty])
        };
        let has_handles = wit.functions.iter().map(has).collect();
        Some(Functions { names: Names::of(wit), has_handles, shape: shape.clone() })
    }

    fn wit(&self) -> &Wit {
        &self.shape.wit
    }

    async fn run(&self, live: &mut Live, name: &str, input: Input) -> Result<Answer, Failure> {
        let index = self.names.find(name)?;
        if self.has_handles[index] && !live.is_kept() {
            return Err(outlives_its_call(name).into());
        }
        let mut table = live.store.data_mut().handles.take().unwrap_or_default();
        let called = self.call_with(live, &mut table, index, name, &input).await;
        live.store.data_mut().handles = Some(table);
        called
    }

    async fn call_with(
        &self,
        live: &mut Live,
        table: &mut Handles,
        index: usize,
        name: &str,
        input: &Input,
    ) -> Result<Answer, Failure> {
        let (wit, most) = (self.wit(), value_bytes(live.store.data().plugin.limits()));
        let function = &wit.functions[index];
        let (params, moved) = {
            let decoder = Decoder::new(wit, Some(table), most);
            let params = arguments::read(&decoder, function, name, input)?;
            (params, decoder.moved.into_inner())
        };
        moved.into_iter().for_each(|number| table.remove(number));
        if let Some(dropped) = dropped(function, &params) {
            live.drop_resource(dropped).await.map_err(|error| of_guest(name, error))?;
            return Ok(Answer::json(&())?);
        }
        let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
        let called = live.invoke_component(index, &params, &mut results).await;
        let gone = || bad(name, "the export is gone".to_owned());
        called.ok_or_else(gone)?.map_err(|error| of_guest(name, error))?;
        let output = live.store.data().plugin.limits().value(LimitKind::Output);
        let output = usize::try_from(output).unwrap_or(usize::MAX);
        let (Some(ty), Some(value)) = (function.result, results.first()) else {
            return Ok(Answer::json(&())?);
        };
        Ok(self.answer(table, value, ty, output)?)
    }

    /// What a function gave. One that gives a `result` has answered with what is in its `ok`, and has
    /// failed with what is in its `err`.
    fn answer(&self, table: &mut Handles, value: &Val, ty: usize, output: usize) -> Result<Answer> {
        let wit = self.wit();
        let mut text = |value: &Val, ty| Encoder::new(wit, table, output).text(value, ty);
        let text = match (value, &wit.types[ty].kind) {
            (Val::Result(Ok(value)), WitKind::Result { ok, .. }) => match (value, ok) {
                (Some(value), Some(ok)) => text(value, *ok)?,
                _ => "null".to_owned(),
            },
            (Val::Result(Err(value)), WitKind::Result { err, .. }) => {
                let said = match (value.as_deref(), err) {
                    (Some(Val::String(said)), _) if said.len() <= output => said.clone(),
                    (Some(value), Some(err)) => text(value, *err)?,
                    _ => "it gave an error without a value".to_owned(),
                };
                return Err(Error::new(ErrorKind::Failed(said)));
            }
            _ => text(value, ty)?,
        };
        let json = serde_json::value::RawValue::from_string(text);
        json.map(Answer::Json).map_err(|error| Error::host("an answer that is no JSON").with_source(error))
    }
}

impl Adapter for Functions {
    fn functions(&self) -> &[String] {
        self.names.listed()
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(self.run(live, function, input))
    }
}

/// The error of a function whose resources nobody could use after the call.
fn outlives_its_call(function: &str) -> Error {
    let reason = "it takes or gives a resource, which lives in a session".to_owned();
    let error = Error::new(ErrorKind::UnsuitableExport { export: function.to_owned(), reason });
    error.with_hint("call it in a session: of the library, of `airlock rpc`, or of a test")
}

/// The resource that a call is to drop, where that is what is called.
fn dropped(function: &WitFunction, params: &[Val]) -> Option<ResourceAny> {
    match params {
        [Val::Resource(resource)] if function.name.starts_with("[resource-drop]") => Some(*resource),
        _ => None,
    }
}

/// Which of a component's functions is called so.
///
/// # Errors
/// [`ErrorKind::UnknownFunction`].
pub(crate) fn find(shape: &Shape, function: &str) -> Result<usize> {
    Names::of(&shape.wit).find(function)
}

/// The names of a component's functions, in their order.
pub(crate) fn listed(wit: &Wit) -> Vec<String> {
    Names::of(wit).listed().to_vec()
}

/// The schema of a function; see [`schema::schema`].
///
/// # Errors
/// [`ErrorKind::UnknownFunction`].
pub(crate) fn schema_of(shape: &Shape, function: &str) -> Result<serde_json::Value> {
    let names = Names::of(&shape.wit);
    let index = names.find(function)?;
    Ok(schema::schema(&shape.wit, &shape.wit.functions[index], &names.listed()[index]))
}

/// Bytes of the host's memory that the values of one call may take, in each direction. A value takes
/// some ten times what it has for JSON.
pub(crate) fn value_bytes(limits: &Limits) -> usize {
    const TIMES: u64 = 8;
    const LEAST: u64 = 1 << 20;
    let text = limits.value(LimitKind::Output).max(limits.value(LimitKind::Input));
    usize::try_from(text.saturating_mul(TIMES).max(LEAST)).unwrap_or(usize::MAX)
}

/// The error of values that are more than may be.
fn too_much(limit: LimitKind, most: usize) -> Error {
    let (maximum, phase) = (most as u64, Phase::Call);
    Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase })
}

/// An error of calling a function, explained where wasmtime met it in what the guest gave and not while
/// it ran.
pub(crate) fn of_guest(function: &str, error: wasmtime::Error) -> wasmtime::Error {
    let ran =
        error.is::<Trap>() || error.is::<WasmBacktrace>() || error.is::<Halt>() || error.is::<I32Exit>();
    let reason = error.root_cause().to_string();
    if ran || error.is::<std::io::Error>() || is_too_much(&reason) {
        return error;
    }
    let function = function.to_owned();
    wasmtime::Error::new(Halt(ErrorKind::BadGuest { function, reason }))
}

/// Whether it is what wasmtime says of values that are more than a store may lift. Its type is
/// wasmtime's own; a test holds this to what it says.
pub(crate) fn is_too_much(reason: &str) -> bool {
    reason.contains("fuel allocated for hostcalls has been exhausted")
}
