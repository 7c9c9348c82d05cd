//! The ABIs: one adapter each, none of which knows another.
//!
//! An [`Abi`] says whether a module is of its family, what its documents promise every
//! such plugin ([`Profile`]), what the host provides to it, and makes a [`Adapter`] that
//! calls one module's functions. The same adapter code serves awaited and blocking
//! calls: it only ever calls the guest through [`Live`].

mod allocate;
mod command;
pub(crate) mod component;
mod cortex;
mod exports;
pub(crate) mod fledge;
mod imports;
mod json;
mod mofa;
mod numbers;
pub(crate) mod prx;
mod raw;
pub(crate) mod sen;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use airlock_core::{
    AbiId, CapabilityKind, Error, ErrorKind, HttpRequest, LimitKind, Manifest, MemoryRequest, Result,
    ServiceError, nearest,
};
use airlock_engine::{ExternType, Shape};
use bytes::Bytes;
use wasmtime::component as components;
use wasmtime::{Linker, Memory};
use wasmtime_wasi::I32Exit;

use crate::answer::{Answer, Input};
use crate::store::{CallState, Live};
use crate::wasi::{self, WasiInput};

pub(crate) use allocate::{Allocate, allocator_of};
pub(crate) use exports::is_known;
pub use exports::{KNOWN_EXPORTS, KnownExport};
pub(crate) use imports::{Heap, link_common, owner_of, shared_memory, with_heap};

/// What an ABI's documents promise every plugin of its family.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Limits that differ from Airlock's own defaults, with their values.
    pub(crate) limits: &'static [(LimitKind, u64)],
    /// Capabilities every plugin has without asking.
    pub(crate) baseline: &'static [CapabilityKind],
    /// Whether its plugins keep state between calls.
    pub(crate) keeps_state: bool,
    /// Whether what is not a number has one bit pattern, since its plugins are promised the same
    /// answer to the same input on every machine.
    pub(crate) canonical_nan: bool,
    /// Files and folders that stand in the top folder of a project, where its plugins are run in the
    /// project and not in the folder that somebody happens to be in.
    pub(crate) root: &'static [&'static str],
    /// Whether relative paths of theirs never lead out of the folder that they begin in, over
    /// symbolic links either.
    pub(crate) stays_inside: bool,
}

/// Where a module imports its memory from that has it from the host.
pub(crate) const MEMORY: (&str, &str) = ("env", "memory");

/// How well a module fits an ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// It could be called this way if it is nothing else.
    Fallback,
    /// It has what the ABI needs, and nothing that only this ABI has.
    Possible,
    /// It has what only this ABI's modules have.
    Likely,
    /// Its manifest says so.
    Declared,
}

/// A fit, with its reason for people.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) fit: Fit,
    pub(crate) why: String,
}

/// What a guest call failed with: an error of ours, or one that came through wasmtime and
/// is still to be explained.
#[derive(Debug)]
pub(crate) enum Failure {
    Known(Error),
    Wasm(wasmtime::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Known(error)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Failure::Wasm(error)
    }
}

pub(crate) type GuestFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// One of the sets of imports that an ABI has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Dialect(pub(crate) u8);

/// One family of plugins.
pub(crate) trait Abi: Sync {
    fn id(&self) -> AbiId;

    fn profile(&self) -> &'static Profile;

    /// By imports, exports and manifest; never by file name or input.
    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match>;

    /// Which of several sets of imports a module is for, where the family has one function with
    /// several types.
    fn dialect(&self, shape: &Shape) -> Dialect {
        let _ = shape;
        Dialect::default()
    }

    /// Provides what the family imports; called once per engine and dialect.
    fn link(&self, linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
        let _ = dialect;
        link_common(linker)
    }

    /// Whether calling this import of it may wait.
    fn waits(&self, module: &str, name: &str) -> bool {
        wasi::waits(module, name)
    }

    /// Pages of the memory that modules import as [`MEMORY`]: at the start and at most, as far as
    /// what they declare is no other. None where there is no such memory.
    fn memory_pages(&self) -> Option<(u64, u64)> {
        None
    }

    /// Whether its plugins can be components.
    fn takes_components(&self) -> bool {
        false
    }

    /// The interfaces that components of the family import beside WASI's, without their versions.
    fn interfaces(&self) -> &'static [&'static str] {
        &[]
    }

    /// Which of several sets of those a component is for, by the types that it imports them by.
    fn component_dialect(&self, component: &components::Component) -> Dialect {
        let _ = component;
        Dialect::default()
    }

    /// Provides those interfaces; called once per engine and dialect, behind WASI's.
    fn link_component(
        &self,
        linker: &mut components::Linker<CallState>,
        dialect: Dialect,
    ) -> wasmtime::Result<()> {
        let _ = (linker, dialect);
        Ok(())
    }

    /// What asks a module what it is, where those of the family say that themselves: an adapter
    /// whose one function answers with bytes.
    ///
    /// # Errors
    /// As [`Abi::bind`].
    fn describer(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Option<Describer>> {
        let _ = (shape, manifest);
        Ok(None)
    }

    /// What a module of it leaves to be guessed, though its functions can be called.
    fn gaps(&self, shape: &Shape, functions: &[String]) -> Vec<Gap> {
        let _ = (shape, functions);
        Vec::new()
    }

    /// Reads what is needed of a module's shape to call it.
    ///
    /// # Errors
    /// [`ErrorKind::AbiMismatch`] when the module lacks what the ABI needs.
    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>>;
}

/// Something that a module does not say, and that is settled some other way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// It exports nothing that allocates memory for its input, which goes into new pages.
    NoAllocator,
    /// Nothing tells how long the results of these functions are: their end is looked for.
    NoLength(Vec<String>),
}

/// How a module is asked what it is.
pub(crate) struct Describer {
    pub(crate) adapter: Arc<dyn Adapter>,
    /// Whether what it answers is a manifest in the place of a file, which can be kept with it.
    pub(crate) is_manifest: bool,
    pub(crate) read: ReadAnswer,
}

/// Makes a manifest of what a module answered, or of why it did not, beside the one that it has
/// from a file. The name is for a module that has none.
type ReadAnswer = fn(Result<Arc<[u8]>>, Option<Manifest>, &str) -> Result<Manifest>;

/// How to call one module.
pub(crate) trait Adapter: Send + Sync {
    /// The functions a caller can name.
    fn functions(&self) -> &[String];

    /// What its program is started with, for this input; `given` is what whoever calls gave.
    fn wasi_input(&self, input: &Input, given: Option<WasiInput>) -> Option<WasiInput> {
        let _ = input;
        given
    }

    /// Runs what has to run before the first call, if anything does.
    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>>;

    /// Has the instance clean up before it is gone, where the plugin has something for that.
    fn stop<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        let _ = live;
        None
    }

    /// Calls one function.
    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer>;
}

/// Every ABI, in the order they are tried.
static ALL: [&dyn Abi; 9] = [
    &command::Command,
    &json::Json,
    &cortex::Cortex,
    &sen::Sen,
    &fledge::Fledge,
    &mofa::Mofa,
    &prx::Prx,
    &component::Component,
    &raw::Raw,
];

/// Whether a component asks for mail by PRX's tools, and looks into its environment whether it may.
pub(crate) fn asks_for_mail(shape: &Shape) -> bool {
    shape.is_component && shape.imports.iter().any(|import| prx::is_host_calls(&import.module))
}

/// The ABI with this name.
pub(crate) fn by_id(id: AbiId) -> &'static dyn Abi {
    *ALL.iter().find(|abi| abi.id() == id).expect("every AbiId has an adapter; a test says so")
}

/// Which ABI a module or component is of, and why.
///
/// # Errors
/// [`ErrorKind::AmbiguousAbi`] when several fit equally well and nobody decides;
/// [`ErrorKind::AbiMismatch`] and [`ErrorKind::ComponentUnsupported`] for a component where what was
/// asked for, or its manifest's system, has none.
pub(crate) fn choose(
    shape: &Shape,
    manifest: Option<&Manifest>,
    asked: Option<AbiId>,
) -> Result<(&'static dyn Abi, String)> {
    let fitting = |abi: &&dyn Abi| !shape.is_component || abi.takes_components();
    if let Some(id) = asked {
        if !fitting(&by_id(id)) {
            let reason = "it is a component".to_owned();
            return Err(Error::new(ErrorKind::AbiMismatch { abi: id, reason }));
        }
        return Ok((by_id(id), "asked for by name".to_owned()));
    }
    let fits: Vec<(&'static dyn Abi, Match)> = ALL
        .iter()
        .filter(|abi| fitting(abi))
        .filter_map(|abi| Some((*abi, abi.detect(shape, manifest)?)))
        .collect();
    let best = fits.iter().map(|(_, found)| found.fit).max().unwrap_or(Fit::Fallback);
    // What a module could be is no better than what it would be if it were nothing else,
    // and a likely guess beside a possible one is still a guess.
    let rival = match best {
        Fit::Declared => Fit::Declared,
        Fit::Likely => Fit::Possible,
        Fit::Possible | Fit::Fallback => Fit::Fallback,
    };
    let mut left: Vec<(&'static dyn Abi, Match)> =
        fits.into_iter().filter(|(_, found)| found.fit >= rival).collect();
    if left.len() > 1 {
        return Err(Error::new(ErrorKind::AmbiguousAbi(left.iter().map(|(abi, _)| abi.id()).collect())));
    }
    match left.pop() {
        Some((abi, found)) => Ok((abi, found.why)),
        // One with the manifest of a system that has no components.
        None if shape.is_component => Err(Error::new(ErrorKind::ComponentUnsupported)),
        None => Ok((by_id(AbiId::Raw), "nothing else fits".to_owned())),
    }
}

/// The ABIs that a module fits by its bytes alone, but for `chosen`, and why. That it could be called
/// if it were nothing else is no fit.
pub(crate) fn others(shape: &Shape, chosen: AbiId) -> Vec<(AbiId, String)> {
    ALL.iter()
        .filter(|abi| abi.id() != chosen && (!shape.is_component || abi.takes_components()))
        .filter_map(|abi| Some((abi.id(), abi.detect(shape, None)?)))
        .filter(|(_, found)| found.fit > Fit::Fallback)
        .map(|(id, found)| (id, found.why))
        .collect()
}

/// The error for a function that is not among `known`.
pub(crate) fn unknown_function(shape: &Shape, function: &str, known: &[String]) -> Error {
    if let Some(ty) = shape.export(function) {
        return Error::new(ErrorKind::UnsuitableExport {
            export: function.to_owned(),
            reason: format!("it is a {ty}"),
        });
    }
    let near = nearest(function, known.iter().map(String::as_str));
    let nearest = if near.is_empty() { known.iter().take(5).cloned().collect() } else { near };
    Error::new(ErrorKind::UnknownFunction { plugin: String::new(), function: function.to_owned(), nearest })
}

/// What a module exports to be run once before anything else: a reactor's `_initialize`,
/// or the constructors of a module that has neither it nor, where that would run them,
/// `_start`.
pub(crate) fn initialiser(shape: &Shape, constructors: bool) -> Option<&'static str> {
    let exports = |name: &&str| shape.function(name).is_some_and(|ty| ty.is(&[], &[]));
    let own = Some("_initialize").filter(exports);
    own.or_else(|| Some("__wasm_call_ctors").filter(|name| constructors && exports(name)))
}

/// Exports that a plugin has run at certain times of its life, in order: MoFA's `_cleanup`, and
/// what CortexPrism's plugins call it.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// After the runtime's own initialisers, before the first call.
    start: Vec<&'static str>,
    /// After the last call of a session.
    stop: Vec<&'static str>,
}

impl Hooks {
    /// All that a module could have.
    pub(crate) const NAMES: [&'static str; 3] = ["plugin_init", "plugin_destroy", "_cleanup"];

    /// Those of a module, behind its `initialiser`.
    pub(crate) fn of(shape: &Shape, initialiser: Option<&'static str>) -> Self {
        let [init, destroy, cleanup] = Hooks::NAMES;
        let exported = |name: &&str| shape.function(name).is_some_and(|ty| ty.is(&[], &[]));
        Hooks {
            start: initialiser.into_iter().chain(Some(init).filter(exported)).collect(),
            stop: [destroy, cleanup].into_iter().filter(exported).collect(),
        }
    }

    /// Whether nothing is to be run before the first call.
    pub(crate) fn is_ready(&self) -> bool {
        self.start.is_empty()
    }

    pub(crate) async fn start(&self, live: &mut Live) -> wasmtime::Result<()> {
        for name in &self.start {
            run(live, name).await?;
        }
        Ok(())
    }

    pub(crate) fn stop<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        if self.stop.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            for name in &self.stop {
                run(live, name).await?;
            }
            Ok(())
        }))
    }
}

/// The memory exported as `memory`, which every ABI that hands bytes over has checked to be there.
fn memory_of(live: &mut Live) -> Result<Memory, Failure> {
    Ok(live.memory().ok_or_else(|| bad("memory", "the export is gone".to_owned()))?)
}

/// What the manifest wants the memory to have at the start, where that is more than the
/// module gives it. The module's own maximum comes first: it may be below that wish.
fn pages_to_grow_to(shape: &Shape, asked: &MemoryRequest) -> Option<u64> {
    let asked = u64::from(asked.initial_pages?);
    let Some(ExternType::Memory { minimum, maximum, .. }) = shape.export("memory") else { return None };
    let wanted = maximum.map_or(asked, |maximum| asked.min(maximum));
    (wanted > *minimum).then_some(wanted)
}

/// Refuses a module whose memory starts larger than its own manifest lets it be.
fn check_memory(shape: &Shape, asked: &MemoryRequest, abi: AbiId) -> Result<()> {
    let (Some(ExternType::Memory { minimum, .. }), Some(maximum)) =
        (shape.export("memory"), asked.maximum_pages)
    else {
        return Ok(());
    };
    if *minimum > u64::from(maximum) {
        let reason =
            format!("its memory starts with {minimum} pages, and `wasm.maxMemoryPages` is {maximum}");
        return Err(Error::new(ErrorKind::AbiMismatch { abi, reason }));
    }
    Ok(())
}

/// Grows the memory to so many pages, where it has fewer.
fn grow_to(live: &mut Live, pages: Option<u64>) -> Result<(), Failure> {
    let Some(wanted) = pages else { return Ok(()) };
    let memory = memory_of(live)?;
    let has = memory.size(&live.store);
    memory.grow(&mut live.store, wanted.saturating_sub(has))?;
    Ok(())
}

/// The error of a guest that breaks its ABI's rules in `function`.
fn bad(function: &str, reason: String) -> Error {
    Error::new(ErrorKind::BadGuest { function: function.to_owned(), reason })
}

/// Calls an export that was there with this type when the plugin was bound.
async fn invoke<P, R>(live: &mut Live, name: &'static str, params: P) -> Result<R, Failure>
where
    P: crate::func::Params,
    R: crate::func::Results,
{
    let gone = || bad(name, "the export is not the function it was".to_owned());
    Ok(live.invoke::<P, R>(name, params).await.ok_or_else(gone)??)
}

/// Refuses a program that has no `_start` to be run by. A component that is loaded has what it is run by.
fn check_start(shape: &Shape, abi: AbiId) -> Result<()> {
    if shape.is_component {
        return Ok(());
    }
    let reason = match shape.function("_start") {
        Some(ty) if ty.is(&[], &[]) => return Ok(()),
        Some(_) => "its `_start` takes or gives something",
        None => "it exports no `_start`",
    };
    Err(Error::new(ErrorKind::AbiMismatch { abi, reason: reason.to_owned() }))
}

/// Runs a program to its end: the code that it left with.
async fn run_program(live: &mut Live) -> Result<i32, Failure> {
    let missing = || bad("_start", "the export is gone".to_owned());
    let left = match live.run_component().await {
        Some(left) => left,
        None => live.invoke("_start", ()).await.ok_or_else(missing)?.map(Ok),
    };
    match left {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(Failure::Wasm(error)),
        },
    }
}

/// What a server answered, with its whole body.
struct Fetched {
    status: u16,
    /// Values that are no UTF-8 are so here.
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Makes a request for the guest and reads what is answered to its end, where that is permitted.
async fn fetch(state: &mut CallState, request: HttpRequest) -> Result<Fetched, ServiceError> {
    let permit = state.permit(request.need())?;
    let maximum = permit.limits().value(LimitKind::HttpBody);
    let http = state.services().http.clone();
    let response = http.send(&permit, request).await?;
    let headers = response.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let (status, headers) = (response.status.as_u16(), headers.collect());
    Ok(Fetched { status, headers, body: response.bytes(maximum).await? })
}

/// Calls an export that takes and gives nothing.
pub(crate) async fn run(live: &mut Live, name: &str) -> wasmtime::Result<()> {
    live.invoke(name, ()).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use airlock_core::AbiId;

    #[test]
    fn every_abi_has_an_adapter() {
        for id in AbiId::ALL {
            assert_eq!(super::by_id(id).id(), id);
        }
    }
}
