//! A tool: what it says of itself, and what it is run by.

use airlock_core::{Error, ErrorKind, Manifest, PrxKind};
use airlock_engine::{Shape, Wit, WitFunction, WitKind};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::{interface, unversioned};
use crate::abi::component::of_guest;
use crate::abi::{Adapter, Failure, GuestFuture, bad};
use crate::answer::{Answer, Input, MAX_DEPTH, is_nested_deeper_than};
use crate::store::Live;

/// What a tool is called by, whatever it says its name is.
const EXECUTE: &str = "execute";
const GET_SPEC: &str = "get-spec";

/// A component's tool.
pub(super) struct Tool {
    /// Where the functions are among those of its shape.
    get_spec: usize,
    execute: usize,
    /// What it says that it is called.
    name: Option<String>,
}

impl Tool {
    /// That of a component which has one, of the types that it is to have.
    pub(super) fn of(shape: &Shape, manifest: Option<&Manifest>) -> Option<Self> {
        let wit = &shape.wit;
        let find = |name: &str, fits: fn(&Wit, &WitFunction) -> bool| {
            wit.functions.iter().position(|function| {
                let interface_of_it = function.interface.as_deref().and_then(unversioned);
                interface_of_it == Some(interface(PrxKind::Tool))
                    && function.name == name
                    && fits(wit, function)
            })
        };
        let name = manifest.and_then(|manifest| Some(manifest.tools.first()?.name.clone()));
        Some(Tool { get_spec: find(GET_SPEC, gives_a_spec)?, execute: find(EXECUTE, gives_a_result)?, name })
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(EXECUTE)
    }

    pub(super) fn is_called(&self, function: &str) -> bool {
        function == EXECUTE || self.name.as_deref() == Some(function)
    }

    /// Runs it on JSON, which it gets as it was given.
    pub(super) async fn run(&self, live: &mut Live, function: &str, input: Input) -> Result<Answer, Failure> {
        let args = Val::String(input.into_json_text()?);
        let [success, output, error] = call(live, self.execute, function, &[args]).await?;
        let (Val::Bool(success), Val::String(output)) = (success, output) else {
            return Err(other_type(function).into());
        };
        if success {
            return Ok(answer(output)?);
        }
        let reason = match error {
            Val::Option(Some(reason)) => match *reason {
                Val::String(reason) => reason,
                _ => return Err(other_type(function).into()),
            },
            _ => "it does not say why".to_owned(),
        };
        let error = Error::new(ErrorKind::Failed(reason));
        Err(match output.is_empty() {
            true => error.into(),
            false => error.with_output(output).into(),
        })
    }
}

/// What a tool gave: JSON where it is some, else a text.
fn answer(output: String) -> Result<Answer, Error> {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&output).is_ok();
    if is_json && !is_nested_deeper_than(&output, MAX_DEPTH) {
        let json = RawValue::from_string(output);
        return json.map(Answer::Json).map_err(|error| Error::host("JSON that is none").with_source(error));
    }
    Answer::json(&output)
}

/// Calls a function that gives a record of so many fields, and gives what is in them.
async fn call<const N: usize>(
    live: &mut Live,
    index: usize,
    function: &str,
    params: &[Val],
) -> Result<[Val; N], Failure> {
    let mut results = [Val::Bool(false)];
    let gone = || bad(function, "the export is gone".to_owned());
    let called = live.invoke_component(index, params, &mut results).await;
    called.ok_or_else(gone)?.map_err(|error| of_guest(function, error))?;
    let [Val::Record(fields)] = results else { return Err(other_type(function).into()) };
    let values: Vec<Val> = fields.into_iter().map(|(_, value)| value).collect();
    Ok(values.try_into().map_err(|_| other_type(function))?)
}

fn other_type(function: &str) -> Error {
    bad(function, "it gave a value of another type than it has".to_owned())
}

/// Whether it is `func() -> tool-spec`.
fn gives_a_spec(wit: &Wit, function: &WitFunction) -> bool {
    let names = ["name", "description", "parameters-schema"];
    function.params.is_empty()
        && record_of(wit, function).is_some_and(|fields| {
            fields.len() == names.len()
                && fields
                    .iter()
                    .zip(names)
                    .all(|((own, ty), name)| own == name && wit.types[*ty].kind == WitKind::String)
        })
}

/// Whether it is `func(args: string) -> plugin-result`.
fn gives_a_result(wit: &Wit, function: &WitFunction) -> bool {
    let takes_text =
        matches!(function.params.as_slice(), [(_, ty)] if wit.types[*ty].kind == WitKind::String);
    takes_text
        && match record_of(wit, function) {
            Some([(success, bool), (output, string), (error, option)]) => {
                (success.as_str(), output.as_str(), error.as_str()) == ("success", "output", "error")
                    && wit.types[*bool].kind == WitKind::Bool
                    && wit.types[*string].kind == WitKind::String
                    && matches!(wit.types[*option].kind, WitKind::Option(of) if wit.types[of].kind == WitKind::String)
            }
            _ => false,
        }
}

fn record_of<'a>(wit: &'a Wit, function: &WitFunction) -> Option<&'a [(String, usize)]> {
    match &wit.types[function.result?].kind {
        WitKind::Record(fields) => Some(fields),
        _ => None,
    }
}

/// A tool that is only asked what it is.
pub(super) struct Asked(pub(super) Tool);

impl Adapter for Asked {
    fn functions(&self) -> &[String] {
        &[]
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, _input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let fields = call(live, self.0.get_spec, function, &[]).await?;
            let [Val::String(name), Val::String(description), Val::String(schema)] = fields else {
                return Err(other_type(function).into());
            };
            let spec = serde_json::json!({
                "name": name, "description": description, "parameters-schema": schema,
            });
            Ok(Answer::Bytes(spec.to_string().into_bytes()))
        })
    }
}
