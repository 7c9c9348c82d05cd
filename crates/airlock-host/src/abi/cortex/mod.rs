//! The `cortex` ABI: CortexPrism's tools (`wasm-plugin.h`, ABI version 1, and what was before it).
//!
//! A plugin says which tools it has, and `plugin_execute_tool` runs one by its name: arguments are
//! JSON, the answer is text that goes into a buffer of the host's. One instance serves all calls, and is
//! made anew after one that failed.
//!
//! The host has its buffers in pages of their own ([`Heap`](super::Heap)), each at a multiple of 8, which a
//! guest that does as the header says cannot tell from where its own host has them: that one writes over the
//! guest's own data below them, and over the length that it has told the guest.

use std::borrow::Cow;
use std::sync::Arc;

use airlock_core::{
    AbiId, CapabilityKind, Error, ErrorKind, LimitKind, Manifest, ManifestFormat, Result, ValueType,
};
use airlock_engine::{ExternType, Shape};
use serde_json::value::RawValue;
use wasmtime::{Linker, Memory};

use super::imports::cortex as imports;
use super::{
    Abi, Adapter, Describer, Dialect, Failure, Fit, GuestFuture, Hooks, MEMORY, Match, Profile, bad,
    check_memory, grow_to, initialiser, invoke, link_common, memory_of, pages_to_grow_to, run,
    unknown_function,
};
use crate::answer::{Answer, Input, MAX_DEPTH, is_nested_deeper_than};
use crate::guest;
use crate::store::{CallState, Live};
use crate::wasi;

pub(super) struct Cortex;

/// Its documents give a tool two minutes, and every plugin its log, configuration, state, time and
/// random numbers.
static PROFILE: Profile = Profile {
    limits: &[(LimitKind::Timeout, 120_000_000_000)],
    baseline: &[
        CapabilityKind::Log,
        CapabilityKind::Config,
        CapabilityKind::Kv,
        CapabilityKind::Clock,
        CapabilityKind::Random,
    ],
    keeps_state: true,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

const VERSION: &str = "plugin_get_abi_version";
const CAPABILITIES: &str = "plugin_get_capabilities";
const EXECUTE: &str = imports::EXECUTE;

/// The versions that are spoken.
const VERSIONS: [u32; 1] = [1];

/// Capacities that its host tells: of what the tools are, and of an answer.
const CAPABILITIES_ROOM: u32 = 65_528;
const ANSWER_ROOM: u32 = 65_536;

/// Set where a module is for what was before version 1.
const OLD: u8 = 1 << 7;

impl Abi for Cortex {
    fn id(&self) -> AbiId {
        AbiId::Cortex
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        if manifest.is_some_and(|manifest| manifest.format != ManifestFormat::Cortex) {
            return None;
        }
        imports::is_of_tools(shape)
            .then(|| Match { fit: Fit::Declared, why: format!("it exports `{EXECUTE}`") })
    }

    fn dialect(&self, shape: &Shape) -> Dialect {
        let Dialect(time) = imports::dialect(shape);
        Dialect(if imports::is_before_0_52(shape) { time | OLD } else { time })
    }

    fn link(&self, linker: &mut Linker<CallState>, Dialect(dialect): Dialect) -> wasmtime::Result<()> {
        link_common(linker)?;
        imports::link(linker, Dialect(dialect & !OLD))?;
        match dialect & OLD {
            0 => Ok(()),
            _ => imports::link_old(linker),
        }
    }

    fn waits(&self, module: &str, name: &str) -> bool {
        wasi::waits(module, name) || imports::waits(module, name)
    }

    fn memory_pages(&self) -> Option<(u64, u64)> {
        Some(imports::PAGES)
    }

    fn describer(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Option<Describer>> {
        if shape.function(CAPABILITIES).is_none() {
            return Ok(None);
        }
        Ok(Some(Describer {
            adapter: Arc::new(CortexAdapter { describes: true, ..CortexAdapter::of(shape, manifest)? }),
            is_manifest: false,
            read: |said, manifest, name| match said {
                // It had nothing when it was asked, and may need something.
                Err(error)
                    if !matches!(error.kind(), ErrorKind::Trap { .. } | ErrorKind::BadGuest { .. }) =>
                {
                    Err(error)
                }
                Err(error) => Manifest::with_tools(Err(error), manifest, name),
                Ok(said) => Manifest::with_tools(Ok(said.trim_ascii()), manifest, name),
            },
        }))
    }

    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        Ok(Arc::new(CortexAdapter::of(shape, manifest)?))
    }
}

struct CortexAdapter {
    /// Its tools; any name will do where it does not say which it has.
    tools: Vec<String>,
    initialiser: Option<&'static str>,
    hooks: Hooks,
    has_version: bool,
    has_capabilities: bool,
    /// What the memory grows to before anything runs.
    pages: Option<u64>,
    /// Whether it is only asked for its tools.
    describes: bool,
    shape: Arc<Shape>,
}

impl CortexAdapter {
    fn of(shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Self> {
        let mismatch =
            |reason: String| Err(Error::new(ErrorKind::AbiMismatch { abi: AbiId::Cortex, reason }));
        let has = |name: &str, params: usize| {
            shape.function(name).is_some_and(|ty| ty.is(&vec![ValueType::I32; params], &[ValueType::I32]))
        };
        match shape.export(EXECUTE) {
            None => return mismatch(format!("it exports no `{EXECUTE}`")),
            Some(ty) if !has(EXECUTE, 6) => {
                return mismatch(format!("its `{EXECUTE}` is a {ty}, and should take six i32 and give one"));
            }
            Some(_) => {}
        }
        let imports_memory = shape.imports.iter().any(|import| {
            let is_memory = matches!(import.ty, ExternType::Memory { memory64: false, .. });
            is_memory && (import.module.as_str(), import.name.as_str()) == MEMORY
        });
        if !shape.exports_memory() && !imports_memory {
            let reason = "it neither exports a 32-bit memory named `memory` nor imports `env.memory`";
            return mismatch(reason.to_owned());
        }
        let memory = manifest.map(|manifest| manifest.memory).unwrap_or_default();
        check_memory(shape, &memory, AbiId::Cortex)?;
        Ok(CortexAdapter {
            tools: manifest.map(|manifest| manifest.functions.clone()).unwrap_or_default(),
            initialiser: initialiser(shape, true),
            hooks: Hooks::of(shape, None),
            has_version: has(VERSION, 0),
            has_capabilities: has(CAPABILITIES, 2),
            pages: pages_to_grow_to(shape, &memory),
            describes: false,
            shape: shape.clone(),
        })
    }

    /// What it says of its tools.
    async fn capabilities(live: &mut Live) -> Result<Vec<u8>, Failure> {
        let frame = Frame::make(live, "", "", CAPABILITIES_ROOM)?;
        let code = invoke::<_, i32>(live, CAPABILITIES, (frame.room, frame.length)).await?;
        if code != 0 {
            let reason = format!("it gave {code} where 0 stands for what went well");
            return Err(bad(CAPABILITIES, reason).into());
        }
        Ok(frame.answer(live, CAPABILITIES)?.to_vec())
    }

    async fn execute(&self, live: &mut Live, tool: &str, input: Input) -> Result<Answer, Failure> {
        let arguments = input.into_json_text()?;
        let frame = Frame::make(live, tool, &arguments, ANSWER_ROOM)?;
        let lengths = (tool.len() as u32, arguments.len() as u32);
        let given = (frame.name, lengths.0, frame.arguments, lengths.1, frame.room, frame.length);
        let code = invoke::<_, i32>(live, EXECUTE, given).await?;
        let maximum = live.store.data().plugin.limits().value(LimitKind::Output);
        let answer = frame.answer(live, EXECUTE)?;
        let length = answer.len() as u64;
        if length > maximum {
            let halt = live.store.data_mut().halt_at_limit(LimitKind::Output, maximum, Some(length));
            return Err(Failure::Wasm(halt));
        }
        let text = String::from_utf8_lossy(answer);
        let answer = match code {
            0 => told(&text)?,
            _ => return Err(Error::new(ErrorKind::Failed(failed(text))).into()),
        };
        live.store.data_mut().usage.output_bytes += length;
        Ok(answer)
    }
}

/// JSON where that is what it answered, else its text.
fn told(text: &str) -> Result<Answer, Failure> {
    match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(json) if is_nested_deeper_than(json.get(), MAX_DEPTH) => {
            let reason = format!("its answer is nested deeper than {MAX_DEPTH} levels");
            Err(bad(EXECUTE, reason).into())
        }
        Ok(json) => Ok(Answer::Json(json)),
        Err(_) => Ok(Answer::json(text)?),
    }
}

/// What a tool that failed said, or that it said nothing.
fn failed(text: Cow<'_, str>) -> String {
    match text.trim().is_empty() {
        true => "the tool gave no reason".to_owned(),
        false => text.into_owned(),
    }
}

impl Adapter for CortexAdapter {
    fn functions(&self) -> &[String] {
        &self.tools
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        Some(Box::pin(async move {
            grow_to(live, self.pages)?;
            if let Some(name) = self.initialiser {
                run(live, name).await?;
            }
            if self.has_version {
                let found = invoke::<(), u32>(live, VERSION, ()).await?;
                if !VERSIONS.contains(&found) {
                    let version = ErrorKind::ApiVersion { abi: AbiId::Cortex, found, known: &VERSIONS };
                    return Err(Error::new(version).into());
                }
            }
            self.hooks.start(live).await?;
            // Its host asks each instance, and a plugin may set up its tools when it is asked. One that does
            // not say them has been told of when it was loaded.
            if self.has_capabilities
                && !self.describes
                && let Err(failure) = Self::capabilities(live).await
                && !matches!(&failure, Failure::Known(error) if matches!(error.kind(), ErrorKind::BadGuest { .. }))
            {
                return Err(failure);
            }
            Ok(())
        }))
    }

    fn stop<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        self.hooks.stop(live)
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            if self.describes {
                return Ok(Answer::Bytes(Self::capabilities(live).await?));
            }
            if !self.tools.is_empty() && !self.tools.iter().any(|tool| tool == function) {
                return Err(unknown_function(&self.shape, function, &self.tools).into());
            }
            self.execute(live, function, input).await
        })
    }
}

/// Where the host and the guest have what they hand over in one call: the tool's name and its arguments,
/// each with a NUL behind it, then room for the answer, and behind that a word that says how much
/// room there is and afterwards how long the answer is.
struct Frame {
    memory: Memory,
    name: u32,
    arguments: u32,
    room: u32,
    length: u32,
    capacity: u32,
}

impl Frame {
    fn make(live: &mut Live, name: &str, arguments: &str, capacity: u32) -> Result<Self, Failure> {
        let memory = memory_of(live)?;
        // Everything at a multiple of 8.
        let sizes = [name.len() as u64 + 1, arguments.len() as u64 + 1, capacity.into()];
        let mut offsets = [0; 4];
        for (index, size) in sizes.into_iter().enumerate() {
            offsets[index + 1] = offsets[index] + size.next_multiple_of(8);
        }
        let size = offsets[3] + 8;
        let Some(at) = u32::try_from(size).ok().and_then(|size| live.take_frame(memory, size)) else {
            let maximum = live.store.data().plugin.limits().value(LimitKind::Memory);
            let asked = Some(memory.data_size(&live.store) as u64 + size);
            return Err(Failure::Wasm(live.store.data_mut().halt_at_limit(
                LimitKind::Memory,
                maximum,
                asked,
            )));
        };
        // The whole of it is within the memory, which has no more than 4 GiB.
        let [name_at, arguments_at, room, length] = offsets.map(|offset| at + offset as u32);
        let frame = Frame { memory, name: name_at, arguments: arguments_at, room, length, capacity };
        let view = memory.data_mut(&mut live.store);
        let put = |view: &mut [u8], at: u32, bytes: &[u8]| {
            guest::write(view, at, bytes).map_err(|outside| outside.error(EXECUTE, "what it is given"))
        };
        for (at, text) in [(name_at, name), (arguments_at, arguments)] {
            put(view, at, text.as_bytes())?;
            put(view, at + text.len() as u32, &[0])?;
        }
        put(view, length, &capacity.to_le_bytes())?;
        Ok(frame)
    }

    /// What the guest has put into the room, as far as there is room.
    fn answer<'a>(&self, live: &'a mut Live, function: &str) -> Result<&'a [u8], Failure> {
        let view = guest::view(&live.store, &self.memory);
        let length = guest::read_u32(view, self.length).unwrap_or(0).min(self.capacity);
        Ok(guest::slice(view, self.room, length).map_err(|outside| outside.error(function, "its answer"))?)
    }
}
