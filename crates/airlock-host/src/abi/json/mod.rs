//! The `json` ABI: CortexPrism's documented capability ABI.
//!
//! Each capability is an export `(i32 ptr, i32 len) -> i32`: JSON in at `ptr`, a pointer
//! to JSON out. Its document leaves open who allocates the input and how long the result
//! is; [`Allocate`] and [`ladder`] settle both from what the module exports. Every call
//! runs on a fresh instance, as the document promises.

mod ladder;
mod tools;

use std::collections::HashMap;
use std::sync::Arc;

use airlock_core::{AbiId, Error, ErrorKind, LimitKind, Manifest, ManifestFormat, Result, ValueType};
use airlock_engine::{Shape, Signature};
use serde_json::value::RawValue;
use wasmtime::Linker;
use wasmtime_wasi::I32Exit;

use self::ladder::{Found, Returned};
use super::exports::is_before_components;
use super::imports::{cortex as imports, mofa};
use super::{
    Abi, Adapter, Allocate, Describer, Dialect, Failure, Fit, Gap, GuestFuture, Hooks, Match, Profile,
    allocator_of, bad, check_memory, grow_to, initialiser, link_common, memory_of, pages_to_grow_to, run,
    unknown_function,
};
use crate::answer::{Answer, Input, MAX_DEPTH, is_nested_deeper_than};
use crate::guest;
use crate::store::{CallState, Live, explain};
use crate::wasi;

pub(super) struct Json;

static PROFILE: Profile = Profile {
    limits: &[],
    baseline: &[],
    keeps_state: false,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

/// Exports that have a capability's type and are none.
const RESERVED: [&str; 22] = [
    "memory",
    "_start",
    "_initialize",
    "main",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "alloc",
    "dealloc",
    "allocate",
    "deallocate",
    "__alloc",
    "__free",
    "__new",
    "__pin",
    "__unpin",
    "__collect",
    "cabi_realloc",
    "result_len",
    "dealloc_str",
    "__main_argc_argv",
];

/// Beginnings of names that are a toolchain's or another ABI's.
const RESERVED_PREFIXES: [&str; 5] = ["asyncify_", "canonical_abi_", "__wbindgen_", "cortex_", "plugin_"];

/// Exports that tell the length of the last result, besides `NAME_len` and `NAME_result_len`.
const LENGTHS: [&str; 4] = ["result_len", "get_result_len", "cortex_result_len", "last_result_len"];

/// An `i32` global: the address of two `u32`, which are the address and the length of the message of
/// the panic that the instance ended with. Both are 0 where there was none.
const PANIC: &str = "cortex_panic";

/// Bytes of such a message that are read.
const MAX_PANIC: u32 = 4096;

fn is_capability(name: &str, ty: &Signature) -> bool {
    let pair = [ValueType::I32, ValueType::I32];
    let reserved =
        RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !reserved && (ty.is(&pair, &[ValueType::I32]) || ty.is(&pair, &[ValueType::I64]))
}

/// Whether an export is what a json plugin's toolchain or its results' lengths are, or another ABI's.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || LENGTHS.contains(&name)
        || name.ends_with("_len")
}

fn has_capabilities(shape: &Shape) -> bool {
    shape.exports_memory() && shape.exported_functions().any(|(name, ty)| is_capability(name, ty))
}

fn has_lengths(shape: &Shape) -> bool {
    LENGTHS.iter().any(|name| is_length(shape, name))
}

fn is_length(shape: &Shape, name: &str) -> bool {
    shape.function(name).is_some_and(|ty| ty.is(&[], &[ValueType::I32]))
}

impl Abi for Json {
    fn id(&self) -> AbiId {
        AbiId::Json
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        // CortexPrism has another ABI, which is told by this; and what only MoFA has is not provided here.
        if imports::is_of_tools(shape) || mofa::only_here(shape).is_some() {
            return None;
        }
        if let Some(manifest) = manifest {
            if manifest.format == ManifestFormat::Prx && is_before_components(shape) {
                let why = "its manifest is PRX's, and it is a module from before its components".to_owned();
                return Some(Match { fit: Fit::Declared, why });
            }
            if manifest.format != ManifestFormat::Cortex {
                return None;
            }
            let why = format!("the manifest of `{}` is CortexPrism's", manifest.name);
            return Some(Match { fit: Fit::Declared, why });
        }
        if !has_capabilities(shape) {
            return None;
        }
        let (fit, what) = match (allocator_of(shape, None), has_lengths(shape)) {
            (Some(allocate), _) => (Fit::Likely, format!(" and allocates with `{}`", allocate.name())),
            (None, true) => (Fit::Likely, " and tells its results' length".to_owned()),
            (None, false) => (Fit::Possible, String::new()),
        };
        Some(Match { fit, why: format!("it exports `memory` and functions `(i32, i32) -> i32`{what}") })
    }

    fn dialect(&self, shape: &Shape) -> Dialect {
        imports::dialect(shape)
    }

    fn link(&self, linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
        link_common(linker)?;
        imports::link(linker, dialect)
    }

    fn waits(&self, module: &str, name: &str) -> bool {
        wasi::waits(module, name) || imports::waits(module, name)
    }

    fn memory_pages(&self) -> Option<(u64, u64)> {
        Some(imports::PAGES)
    }

    fn gaps(&self, shape: &Shape, functions: &[String]) -> Vec<Gap> {
        let is_silent = |function: &&String| {
            let bound = Bound::of(shape, function);
            matches!(bound.gives, Some(Gives::I32)) && bound.length.is_none()
        };
        let silent: Vec<String> = functions.iter().filter(is_silent).cloned().collect();
        let allocator = allocator_of(shape, None).is_none().then_some(Gap::NoAllocator);
        allocator.into_iter().chain((!silent.is_empty()).then_some(Gap::NoLength(silent))).collect()
    }

    fn describer(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Option<Describer>> {
        tools::describer(shape, manifest)
    }

    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        Ok(Arc::new(JsonAdapter::of(shape, manifest)?))
    }
}

impl JsonAdapter {
    fn of(shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Self> {
        let mismatch = |reason: String| Error::new(ErrorKind::AbiMismatch { abi: AbiId::Json, reason });
        if !shape.exports_memory() {
            return Err(mismatch("it exports no 32-bit memory named `memory`".to_owned()));
        }
        let capabilities: Vec<String> = shape
            .exported_functions()
            .filter(|(name, ty)| is_capability(name, ty))
            .map(|(name, _)| name.to_owned())
            .collect();
        if let Some(missing) = manifest.and_then(|m| m.functions.iter().find(|f| shape.export(f).is_none())) {
            return Err(mismatch(format!("its manifest names `{missing}`, which it does not export")));
        }
        // A manifest that names its functions decides which they are.
        let functions = match manifest.map(|manifest| &manifest.functions) {
            Some(named) if !named.is_empty() => named.clone(),
            _ => capabilities.into_iter().chain(tools::tells(shape).map(str::to_owned)).collect(),
        };
        if functions.is_empty() {
            let error = mismatch("it exports no function `(i32, i32) -> i32`".to_owned());
            return Err(match how_to_export(shape) {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
        let memory = manifest.map(|manifest| manifest.memory).unwrap_or_default();
        check_memory(shape, &memory, AbiId::Json)?;
        let has_start = shape.function("_start").is_some_and(|ty| ty.is(&[], &[]));
        let own = functions.iter().map(|name| (name.clone(), Bound::of(shape, name)));
        let tools: Vec<String> = tools::names(shape, manifest).collect();
        let of_tools = tools.iter().map(|name| (name.clone(), Bound::of_tool(shape)));
        let bound = own.chain(of_tools).collect();
        let functions = tools.into_iter().chain(functions).collect();
        Ok(JsonAdapter {
            allocate: allocator_of(shape, memory.allocator).unwrap_or(Allocate::Grow),
            speaks_utf16: shape.function("__new").is_some(),
            hooks: Hooks::of(shape, initialiser(shape, !has_start)),
            init: is_before_components(shape)
                && shape.function(tools::INIT).is_some_and(|ty| ty.is(&[], &[ValueType::I32])),
            // A program's own start runs the constructors, and is a reactor's initialiser
            // where there is no other.
            start: has_start && shape.function("_initialize").is_none(),
            pages: pages_to_grow_to(shape, &memory),
            functions,
            bound,
            shape: shape.clone(),
        })
    }
}

/// How the compiler of a program makes a module with functions to be called instead.
fn how_to_export(shape: &Shape) -> Option<&'static str> {
    shape.function("_start")?;
    Some(match shape.custom_sections.iter().any(|name| name == "go:buildid") {
        true => {
            "it is a program in Go, which ignores `//export`: write `//go:wasmexport NAME` before each function \
             and build with `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`"
        }
        false => {
            "it is a program, and has `_start` only: build a library, in Rust with `crate-type = [\"cdylib\"]`, \
             in C with `-mexec-model=reactor`, in Zig with `-fno-entry -rdynamic`"
        }
    })
}

struct JsonAdapter {
    functions: Vec<String>,
    bound: HashMap<String, Bound>,
    allocate: Allocate,
    /// Strings may be AssemblyScript's.
    speaks_utf16: bool,
    hooks: Hooks,
    /// Whether it has [`tools::INIT`], to be run before the first call.
    init: bool,
    /// Whether `_start` runs before the first call.
    start: bool,
    /// What the memory grows to before anything runs.
    pages: Option<u64>,
    shape: Arc<Shape>,
}

/// How one function is called.
struct Bound {
    gives: Option<Gives>,
    /// The export that tells its result's length.
    length: Option<String>,
}

#[derive(Clone, Copy)]
enum Gives {
    I32,
    I64,
    /// What it says of itself, and takes nothing.
    Itself,
    /// What a tool gives, an `i32`: [`tools::EXECUTE`] runs it.
    Tool,
}

impl Bound {
    fn of(shape: &Shape, function: &str) -> Self {
        let pair = [ValueType::I32, ValueType::I32];
        let gives = |ty: ValueType| shape.function(function).is_some_and(|own| own.is(&pair, &[ty]));
        let own = [format!("{function}_len"), format!("{function}_result_len")];
        let mut lengths = own.iter().map(String::as_str).chain(LENGTHS);
        match (gives(ValueType::I32), gives(ValueType::I64)) {
            (true, _) => Bound {
                gives: Some(Gives::I32),
                length: lengths.find(|name| is_length(shape, name)).map(str::to_owned),
            },
            // Its result carries its length.
            (_, true) => Bound { gives: Some(Gives::I64), length: None },
            _ if tools::tells(shape).any(|name| name == function) => Bound {
                gives: Some(Gives::Itself),
                length: lengths.find(|name| is_length(shape, name)).map(str::to_owned),
            },
            _ => Bound { gives: None, length: None },
        }
    }

    fn of_tool(shape: &Shape) -> Self {
        Bound { gives: Some(Gives::Tool), ..Bound::of(shape, tools::EXECUTE) }
    }
}

impl Adapter for JsonAdapter {
    fn functions(&self) -> &[String] {
        &self.functions
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        if self.pages.is_none() && self.hooks.is_ready() && !self.start && !self.init {
            return None;
        }
        Some(Box::pin(async move {
            grow_to(live, self.pages)?;
            self.hooks.start(live).await?;
            if self.start {
                run_start(run(live, "_start").await)?;
            }
            match self.init {
                true => tools::run_init(live).await,
                false => Ok(()),
            }
        }))
    }

    fn stop<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        self.hooks.stop(live)
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let Some(bound) = self.bound.get(function) else {
                return Err(unknown_function(&self.shape, function, &self.functions).into());
            };
            let text = input.into_json_text()?;
            let (export, text) = match bound.gives {
                Some(Gives::Tool) => (tools::EXECUTE, tools::of_tool(function, &text)),
                _ => (function, text),
            };
            let memory = memory_of(live)?;
            let length = u32::try_from(text.len()).map_err(|_| too_large(live, text.len()))?;
            let pointer = match bound.gives {
                Some(Gives::Itself) => 0,
                _ => self.allocate.input(live, memory, text.as_bytes()).await?,
            };
            let returned = match self.invoke(live, bound, export, pointer, length).await {
                Err(Failure::Wasm(error)) => return Err(with_panic(live, error)),
                returned => returned?,
            };
            let told = match &bound.length {
                Some(name) => live.invoke::<(), u32>(name, ()).await.transpose()?,
                None => None,
            };
            let maximum = live.store.data().plugin.limits().value(LimitKind::Output);
            let view = guest::view(&live.store, &memory);
            match ladder::read(view, returned, told, self.speaks_utf16, maximum) {
                Found::Json(json) => answer(live, function, json),
                Found::Undecipherable(reason) => Err(bad(function, reason).into()),
                Found::TooLarge => {
                    Err(Failure::Wasm(live.store.data_mut().halt_at_limit(LimitKind::Output, maximum, None)))
                }
            }
        })
    }
}

impl JsonAdapter {
    async fn invoke(
        &self,
        live: &mut Live,
        bound: &Bound,
        function: &str,
        pointer: u32,
        length: u32,
    ) -> Result<Returned, Failure> {
        match bound.gives {
            Some(Gives::I32 | Gives::Tool) => {
                if let Some(result) = live.invoke(function, (pointer, length)).await {
                    return Ok(Returned::I32(result?));
                }
            }
            Some(Gives::I64) => {
                if let Some(result) = live.invoke(function, (pointer, length)).await {
                    return Ok(Returned::I64(result?));
                }
            }
            Some(Gives::Itself) => {
                if let Some(result) = live.invoke(function, ()).await {
                    return Ok(Returned::I32(result?));
                }
            }
            None => {}
        }
        let reason = match self.shape.export(function) {
            Some(ty) => format!("it is a {ty}, not a func (i32, i32) -> (i32)"),
            None => "it does not exist".to_owned(),
        };
        Err(Error::new(ErrorKind::UnsuitableExport { export: function.to_owned(), reason }).into())
    }
}

/// What a call ended with, told by the plugin's own words where it trapped in a panic: what the
/// export [`PANIC`] leads to.
#[cold]
fn with_panic(live: &mut Live, error: wasmtime::Error) -> Failure {
    let error = explain(error, &mut live.store);
    let ErrorKind::Trap { trap, frames, phase, .. } = error.kind() else { return error.into() };
    match panic_message(live) {
        Some(message) => {
            let reason = format!("panic: {message}");
            let (trap, frames, phase) = (*trap, frames.clone(), *phase);
            Error::new(ErrorKind::Trap { trap, reason, frames, phase }).into()
        }
        None => error.into(),
    }
}

fn panic_message(live: &mut Live) -> Option<String> {
    let at = live.global_i32(PANIC)?;
    let memory = live.memory()?;
    let view = guest::view(&live.store, &memory);
    let (pointer, length) = (guest::read_u32(view, at)?, guest::read_u32(view, at.checked_add(4)?)?);
    let message = guest::slice(view, pointer, length.min(MAX_PANIC)).ok()?;
    (!message.is_empty()).then(|| String::from_utf8_lossy(message).into_owned())
}

/// A program's `_start` that is run as an initialiser: leaving with 0 is fine.
fn run_start(result: wasmtime::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => Ok(()),
        other => Ok(other?),
    }
}

fn answer(live: &mut Live, function: &str, json: Box<RawValue>) -> Result<Answer, Failure> {
    live.store.data_mut().usage.output_bytes += json.get().len() as u64;
    if is_nested_deeper_than(json.get(), MAX_DEPTH) {
        let reason = format!("its result is nested deeper than {MAX_DEPTH} levels");
        return Err(bad(function, reason).into());
    }
    if let Some(message) = ladder::reported_error(json.get()) {
        return Err(Error::new(ErrorKind::Failed(message)).into());
    }
    Ok(Answer::Json(json))
}

fn too_large(live: &mut Live, length: usize) -> Failure {
    let maximum = u64::from(u32::MAX);
    Failure::Wasm(live.store.data_mut().halt_at_limit(LimitKind::Input, maximum, Some(length as u64)))
}

#[cfg(test)]
mod tests {
    use super::{RESERVED, RESERVED_PREFIXES};

    /// The SDK, which has to know the names that are no capabilities' without this crate.
    const SDK: &str = include_str!("../../../../airlock-sdk/src/cortex/capability.rs");

    /// The texts of one of its lists.
    fn listed(name: &str) -> Vec<&'static str> {
        let (_, list) = SDK.split_once(&format!("const {name}: ")).expect("a list");
        let (list, _) = list.split_once("];").expect("its end");
        list.split('"').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_sdk_refuses_every_name_that_is_no_capabilitys() {
        let (names, beginnings) = (listed("TAKEN"), listed("TAKEN_BEGINNINGS"));
        let begins = |name: &str| beginnings.iter().any(|beginning| name.starts_with(beginning));
        for name in RESERVED {
            assert!(names.contains(&name) || begins(name), "{name}");
        }
        for prefix in RESERVED_PREFIXES {
            assert!(begins(prefix), "{prefix}");
        }
    }
}
