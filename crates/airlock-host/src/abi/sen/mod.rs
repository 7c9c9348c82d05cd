//! The `sen` ABI: plugins of the command line framework sen-rs.
//!
//! A plugin says itself what it is: `plugin_manifest` answers with MessagePack that names its
//! command, what that takes, and what it needs. `plugin_execute` gets the values and answers with a
//! text, an error, or something that it wants done (an effect), with whose result it is resumed.
//! Whatever is handed over lies in memory of the plugin's own allocator, and is given back to it.

mod effects;
mod wire;

use std::sync::Arc;

use airlock_core::{
    AbiId, CapabilityKind, Error, ErrorKind, LimitKind, Location, Manifest, ManifestFormat, Result, Streams,
    ValueType,
};
use airlock_engine::{Shape, Signature};
use serde::Deserialize;
use wasmtime_wasi::I32Exit;

use super::{
    Abi, Adapter, Describer, Failure, Fit, GuestFuture, Match, Profile, bad, initialiser, invoke, memory_of,
    run, unknown_function,
};
use crate::answer::{Answer, Input, Program};
use crate::guest;
use crate::store::Live;
use crate::wasi::{PREVIEW1, WasiInput};

pub use self::wire::{Effect, EffectResult, ExecuteError, ExecuteResult, HttpResponse};

pub(super) struct Sen;

/// Its host allows 10 million instructions, of an engine for which copying memory is one. Here a
/// byte that is copied costs as much as an instruction, so there is room for as many copies as a
/// plugin within those will make.
pub(crate) const FUEL: u64 = 100_000_000;

static PROFILE: Profile = Profile {
    limits: &[(LimitKind::Fuel, FUEL)],
    baseline: &[CapabilityKind::Clock, CapabilityKind::Random],
    keeps_state: false,
    stays_inside: true,
    canonical_nan: false,
    root: &[],
};

const MANIFEST: &str = Manifest::EXPORT;
/// Executes it, whatever its command is called.
pub(crate) const EXECUTE: &str = "plugin_execute";
/// Resumes it with an effect's result: JSON with its `id` and the `result`.
pub(crate) const RESUME: &str = "plugin_resume";
/// Executes it up to what it wants done, and leaves that to whoever calls.
pub(crate) const STEP: &str = "plugin_execute, one step";
const ALLOC: &str = "plugin_alloc";
const DEALLOC: &str = "plugin_dealloc";

/// The name that programs know themselves by: WASI's first argument.
const PROGRAM: &str = "plugin";

/// An export, what it takes and what it gives.
type Wanted = (&'static str, &'static [ValueType], &'static [ValueType]);

/// What a plugin has to export beside its memory.
pub(super) const WANTED: [Wanted; 4] = {
    use ValueType::{I32, I64};
    [
        (MANIFEST, &[], &[I64]),
        (EXECUTE, &[I32, I32], &[I64]),
        (ALLOC, &[I32], &[I32]),
        (DEALLOC, &[I32, I32], &[]),
    ]
};

impl Abi for Sen {
    fn id(&self) -> AbiId {
        AbiId::Sen
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        let exports =
            |(name, takes, gives): &Wanted| shape.function(name).is_some_and(|ty| ty.is(takes, gives));
        match manifest {
            Some(manifest) if manifest.format == ManifestFormat::Sen => {
                let why = format!("`{}` says so itself", manifest.name);
                Some(Match { fit: Fit::Declared, why })
            }
            Some(_) => None,
            None if WANTED.iter().all(exports) => {
                let why = format!("it exports `{MANIFEST}`, `{EXECUTE}` and what allocates for them");
                Some(Match { fit: Fit::Declared, why })
            }
            None if exports(&WANTED[0]) => {
                Some(Match { fit: Fit::Likely, why: format!("it exports `{MANIFEST}`") })
            }
            None => None,
        }
    }

    fn describer(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Option<Describer>> {
        if manifest.is_some() {
            return Ok(None);
        }
        check(shape)?;
        Ok(Some(Describer {
            adapter: Arc::new(Asking { initialiser: initialiser_of(shape) }),
            is_manifest: true,
            read: |answer, _, _| Manifest::read(MANIFEST, &answer?),
        }))
    }

    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        check(shape)?;
        let resume: Wanted = (RESUME, &[ValueType::I32; 3], &[ValueType::I64]);
        Ok(Arc::new(SenAdapter {
            functions: manifest.map(|manifest| manifest.functions.clone()).unwrap_or_default(),
            streams: manifest.and_then(|manifest| manifest.streams).unwrap_or_default(),
            initialiser: initialiser_of(shape),
            resumes: shape.function(RESUME).is_some_and(|ty| ty.is(resume.1, resume.2)),
            has_wasi: shape.imports_from(PREVIEW1),
            shape: shape.clone(),
        }))
    }
}

/// Refuses a module that does not export what is needed, with what that is.
fn check(shape: &Shape) -> Result<()> {
    let mismatch = |reason: String| Err(Error::new(ErrorKind::AbiMismatch { abi: AbiId::Sen, reason }));
    if !shape.exports_memory() {
        return mismatch("it exports no 32-bit memory named `memory`".to_owned());
    }
    for (name, takes, gives) in WANTED {
        let wanted = Signature::of(takes, gives);
        match shape.export(name) {
            None => return mismatch(format!("it exports no `{name}`, which should be a func {wanted}")),
            Some(_) if shape.function(name).is_some_and(|ty| ty.is(takes, gives)) => {}
            Some(ty) => return mismatch(format!("its `{name}` is a {ty}, and should be a func {wanted}")),
        }
    }
    Ok(())
}

/// Its host runs none, for its plugins in Rust have none; those of other languages need theirs.
fn initialiser_of(shape: &Shape) -> Option<&'static str> {
    initialiser(shape, shape.function("_start").is_none())
}

fn start<'a>(initialiser: Option<&'static str>, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
    let name = initialiser?;
    Some(Box::pin(async move { Ok(run(live, name).await?) }))
}

/// Asks a plugin what it is.
struct Asking {
    initialiser: Option<&'static str>,
}

impl Adapter for Asking {
    fn functions(&self) -> &[String] {
        &[]
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        start(self.initialiser, live)
    }

    fn call<'a>(&'a self, live: &'a mut Live, _function: &'a str, _input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let packed = invoke::<(), i64>(live, MANIFEST, ()).await?;
            let answer = Buffer::packed(MANIFEST, packed)?;
            let bytes = answer.bytes(live, MANIFEST)?.to_vec();
            answer.free(live).await;
            Ok(Answer::Bytes(bytes))
        })
    }
}

struct SenAdapter {
    /// Its command.
    functions: Vec<String>,
    streams: Streams,
    initialiser: Option<&'static str>,
    resumes: bool,
    has_wasi: bool,
    shape: Arc<Shape>,
}

/// What executing a plugin to its end came to.
type Ended = Result<String, ExecuteError>;

/// What a plugin is resumed with.
#[derive(Deserialize)]
struct Resumption {
    id: u32,
    result: EffectResult,
}

impl Adapter for SenAdapter {
    fn functions(&self) -> &[String] {
        &self.functions
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        start(self.initialiser, live)
    }

    fn wasi_input(&self, input: &Input, given: Option<WasiInput>) -> Option<WasiInput> {
        if !self.has_wasi {
            return given;
        }
        let given = given.unwrap_or_else(WasiInput::none);
        let args = arguments(input.clone()).unwrap_or_default();
        let args = std::iter::once(PROGRAM.to_owned()).chain(args).collect();
        Some(WasiInput { args, streams: self.streams, ..given })
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            match function {
                EXECUTE => {
                    let result = self.execute(live, input).await?;
                    let wasi = &live.store.data().wasi;
                    Ok(match wasi.is_program() {
                        true => Answer::Program(program(result, wasi.stdout(), wasi.log())),
                        false => Answer::Executed(match result {
                            Ok(text) => ExecuteResult::Success(text),
                            Err(error) => ExecuteResult::Error(error),
                        }),
                    })
                }
                STEP => Ok(Answer::Executed(self.begin(live, input).await?)),
                RESUME => {
                    let Resumption { id, result } = resumption(&input)?;
                    Ok(Answer::Executed(self.resume(live, id, &result).await?))
                }
                _ if self.functions.iter().any(|name| name == function) => {
                    match self.execute(live, input).await? {
                        Ok(text) => Ok(Answer::json(&text)?),
                        Err(error) => Err(Error::new(ErrorKind::Failed(error.message)).into()),
                    }
                }
                _ => Err(unknown_function(&self.shape, function, &self.functions).into()),
            }
        })
    }
}

impl SenAdapter {
    /// Executes it to its end, with everything done that it wants done on the way.
    async fn execute(&self, live: &mut Live, input: Input) -> Result<Ended, Failure> {
        let mut result = self.begin(live, input).await?;
        loop {
            let effect = match result {
                ExecuteResult::Success(text) => return Ok(Ok(text)),
                ExecuteResult::Error(error) => return Ok(Err(error)),
                ExecuteResult::Effect(effect) => effect,
            };
            let id = effect.id();
            let done = effects::perform(live.store.data_mut(), effect).await?;
            result = self.resume(live, id, &done).await?;
        }
    }

    /// Executes it up to what it wants done.
    async fn begin(&self, live: &mut Live, input: Input) -> Result<ExecuteResult, Failure> {
        let arguments = arguments(input)?;
        let bytes = rmp_serde::to_vec(&arguments)
            .map_err(|error| Error::host("arguments that have no form in MessagePack").with_source(error))?;
        let given = Buffer::with(live, &bytes).await?;
        let packed = invoke::<(u32, u32), i64>(live, EXECUTE, given.span()).await;
        let result = self.answer(live, EXECUTE, packed, given).await?;
        if matches!(result, ExecuteResult::Effect(_)) && !self.resumes {
            let reason = format!("it wants something done, and exports no `{RESUME}` to be told of it");
            return Err(bad(EXECUTE, reason).into());
        }
        Ok(result)
    }

    /// Resumes it with what came of an effect.
    async fn resume(&self, live: &mut Live, id: u32, done: &EffectResult) -> Result<ExecuteResult, Failure> {
        let bytes = rmp_serde::to_vec_named(done).map_err(|error| {
            Error::host("an effect's result that has no form in MessagePack").with_source(error)
        })?;
        let given = Buffer::with(live, &bytes).await?;
        let (pointer, length) = given.span();
        let packed = invoke::<(u32, u32, u32), i64>(live, RESUME, (id, pointer, length)).await;
        self.answer(live, RESUME, packed, given).await
    }

    /// Reads an answer, and gives back what was handed over and what was given.
    async fn answer(
        &self,
        live: &mut Live,
        function: &'static str,
        packed: Result<i64, Failure>,
        given: Buffer,
    ) -> Result<ExecuteResult, Failure> {
        let packed = match packed {
            Ok(packed) => packed,
            Err(failure) => return left(live, failure),
        };
        let answer = Buffer::packed(function, packed)?;
        let read = wire::read(answer.bytes(live, function)?);
        live.store.data_mut().usage.output_bytes += u64::from(answer.length);
        let result = read.map_err(|reason| bad(function, format!("its answer cannot be read: {reason}")))?;
        given.free(live).await;
        answer.free(live).await;
        Ok(result)
    }
}

fn resumption(input: &Input) -> Result<Resumption> {
    let invalid = |at, reason| Error::new(ErrorKind::InvalidInput { at, reason });
    let Some(text) = input.as_json() else {
        return Err(invalid(None, "an effect's `id` and `result` are JSON".to_owned()));
    };
    serde_json::from_str(text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        invalid(at, reason)
    })
}

/// A plugin that leaves instead of answering has said with its code how it fared; there is nothing
/// left to call.
fn left(live: &mut Live, failure: Failure) -> Result<ExecuteResult, Failure> {
    let code = match &failure {
        Failure::Wasm(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0),
        Failure::Known(_) => None,
    };
    let Some(code) = code else { return Err(failure) };
    live.store.data_mut().is_worn = true;
    if code == 0 {
        return Ok(ExecuteResult::Success(String::new()));
    }
    // Of one that does not fit a process's own, the low byte, as the system does it.
    let low = code.to_le_bytes()[0].max(1);
    Ok(ExecuteResult::Error(ExecuteError { code: low, message: format!("it left with {code}") }))
}

/// What a plugin is executed with: words, or JSON that is a text, an array of texts, or nothing.
fn arguments(input: Input) -> Result<Vec<String>> {
    let invalid = |reason: String| Error::new(ErrorKind::InvalidInput { at: None, reason });
    match input {
        Input::Words(words) => Ok(words),
        Input::Values(values) => Ok(values.iter().map(ToString::to_string).collect()),
        Input::Json(_) | Input::Raw(_) | Input::Wave(_) => {
            let text = input.as_json().unwrap_or_default();
            let value = crate::answer::parse_json(text)?;
            let text = |value: serde_json::Value| match value {
                serde_json::Value::String(text) => Ok(text),
                other => {
                    Err(invalid(format!("`{other}` is no text, and a `sen` plugin takes an array of texts")))
                }
            };
            match value {
                serde_json::Value::Null => Ok(Vec::new()),
                serde_json::Value::Array(values) => values.into_iter().map(text).collect(),
                other => text(other).map(|text| vec![text]),
            }
        }
    }
}

/// Bytes in the plugin's memory, which its own allocator gave and takes back.
struct Buffer {
    pointer: u32,
    length: u32,
}

impl Buffer {
    /// One with these bytes.
    async fn with(live: &mut Live, bytes: &[u8]) -> Result<Self, Failure> {
        let maximum = i32::MAX.cast_unsigned();
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= maximum);
        let Some(length) = length else {
            let asked = Some(bytes.len() as u64);
            return Err(Failure::Wasm(live.store.data_mut().halt_at_limit(
                LimitKind::Input,
                maximum.into(),
                asked,
            )));
        };
        let pointer = invoke::<u32, u32>(live, ALLOC, length).await?;
        // Where its memory begins lies something else, over which its own host writes.
        if pointer == 0 {
            return Err(bad(ALLOC, format!("it gave no memory for {length} bytes")).into());
        }
        let memory = memory_of(live)?;
        guest::write(memory.data_mut(&mut live.store), pointer, bytes)
            .map_err(|outside| outside.error(ALLOC, "the memory it gave"))?;
        Ok(Buffer { pointer, length })
    }

    /// The one that a function answered with: its pointer and its length in one number.
    fn packed(function: &str, packed: i64) -> Result<Self> {
        let packed = packed.cast_unsigned();
        let (pointer, length) = ((packed >> 32) as u32, (packed & u64::from(u32::MAX)) as u32);
        // Its host's numbers have a sign.
        match pointer.cast_signed() >= 0 && length.cast_signed() >= 0 {
            true => Ok(Buffer { pointer, length }),
            false => Err(bad(function, format!("its answer of {length} bytes at {pointer} is beyond 2 GiB"))),
        }
    }

    fn span(&self) -> (u32, u32) {
        (self.pointer, self.length)
    }

    /// What is in it, of what `function` answered.
    fn bytes<'a>(&self, live: &'a mut Live, function: &str) -> Result<&'a [u8], Failure> {
        let maximum = live.store.data().plugin.limits().value(LimitKind::Output);
        if u64::from(self.length) > maximum {
            let asked = Some(self.length.into());
            return Err(Failure::Wasm(live.store.data_mut().halt_at_limit(
                LimitKind::Output,
                maximum,
                asked,
            )));
        }
        let memory = memory_of(live)?;
        let view = guest::view(&live.store, &memory);
        Ok(guest::slice(view, self.pointer, self.length)
            .map_err(|outside| outside.error(function, "its answer"))?)
    }

    /// Gives it back. That the plugin cannot take it is a warning: what was asked of it is done.
    /// Nobody knows in what state it is then, so its instance is not called again.
    async fn free(self, live: &mut Live) {
        if let Err(failure) = invoke::<(u32, u32), ()>(live, DEALLOC, self.span()).await {
            let why = match failure {
                Failure::Known(error) => error.to_string(),
                Failure::Wasm(error) => error.root_cause().to_string(),
            };
            tracing::warn!(function = DEALLOC, why, "failed");
            live.store.data_mut().is_worn = true;
        }
    }
}

/// What a process that did this would leave behind.
fn program(ended: Ended, mut stdout: Vec<u8>, mut stderr: Vec<u8>) -> Program {
    let (code, text, stream) = match ended {
        Ok(text) => (0, text, &mut stdout),
        // What failed does not leave with the code of what did not.
        Err(error) => (i32::from(error.code.max(1)), error.message, &mut stderr),
    };
    stream.extend_from_slice(text.as_bytes());
    if !text.is_empty() && !text.ends_with('\n') {
        stream.push(b'\n');
    }
    Program { code, stdout, stderr }
}
