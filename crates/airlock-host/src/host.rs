//! The host: what all plugins of an application share.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use airlock_core::{
    AbiId, Capability, CapabilityKind, Error, ErrorKind, LimitKind, Limits, Manifest, Overrides, Phase,
    Policy, Request, Result,
};
use airlock_engine::{
    Allocation, Artifact, Cache, Compiled, Compiler, EngineKey, EngineSettings, Engines, Feature, InProcess,
    Shape, TICK, Ticker,
};
use tokio::sync::{Notify, oneshot};
use wasmtime::Linker;

use crate::abi::{self, Abi};
use crate::bounded::{Interrupted, bounded, sleep_until};
use crate::budget::HostBudget;
use crate::plugin::{Plugin, PluginParts};
use crate::slots::{Slot, Slots};
use crate::source::{self, Source};
use crate::store::{CallState, after};
use crate::wasi;

/// Calls at once, where nothing else is said: enough for a busy server, little enough
/// that a pool of it is made in a fraction of a millisecond.
const DEFAULT_SLOTS: u32 = 128;

/// How long a shutdown waits for calls that it has cut: each looks up at its next tick,
/// or after the bulk memory operation it is in.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Builds a [`Host`].
#[derive(Debug, Clone, Default)]
pub struct HostBuilder {
    slots: Option<u32>,
    no_pool: bool,
    limits: Overrides,
    compiler: Option<Arc<dyn Compiler>>,
    cache: Option<Arc<Cache>>,
}

impl HostBuilder {
    /// How many calls may run at once; others wait for up to [`LimitKind::Wait`]. 128
    /// where not said.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots.max(1));
        self
    }

    /// Makes no instances ahead: every call maps its memory when it starts. Right for a
    /// process that makes a call or two and ends.
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.no_pool = true;
        self
    }

    /// Sets a limit for every plugin of this host, in the limit's unit. A plugin's own
    /// ([`LoadOptions::limit`]) goes before it, but for [`LimitKind::Stack`] and
    /// [`LimitKind::HostMemory`], which are the host's.
    #[must_use]
    pub fn limit(mut self, kind: LimitKind, value: u64) -> Self {
        self.limits.insert(kind, value);
        self
    }

    /// What compiles: [`InProcess`] where not said, or a [`Worker`](crate::Worker) that can
    /// be killed.
    #[must_use]
    pub fn compiler(mut self, compiler: impl Compiler + 'static) -> Self {
        self.compiler = Some(Arc::new(compiler));
        self
    }

    /// Keeps compiled code here for the next process. Without it every process compiles.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// The host.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] when the machine cannot give what it needs.
    pub fn build(self) -> Result<Host> {
        let limits = Limits::default().with(&self.limits);
        let stack = limits.value(LimitKind::Stack);
        let settings = EngineSettings {
            slots: if self.no_pool { 0 } else { self.slots.unwrap_or(DEFAULT_SLOTS) },
            stack_bytes: usize::try_from(stack)
                .map_err(|_| Error::host("the stack does not fit this machine"))?,
            compiler: self.compiler.unwrap_or_else(|| Arc::new(InProcess::default())),
            cache: self.cache,
        };
        let concurrent = self.slots.unwrap_or(DEFAULT_SLOTS);
        Ok(Host(Arc::new(HostInner {
            engines: Engines::new(settings),
            budget: HostBudget::new(limits.value(LimitKind::HostMemory)),
            slots: Slots::new(concurrent as usize),
            overrides: self.limits,
            linkers: Mutex::default(),
            cut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            sessions: Mutex::default(),
            shutdown_orders: can_order_everybody(),
            drained: Notify::new(),
        })))
    }
}

/// How a plugin is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    abi: Option<AbiId>,
    wat: bool,
    name: Option<String>,
    limits: Overrides,
    allow: Vec<Capability>,
    features: Vec<Feature>,
}

impl LoadOptions {
    /// Nothing special.
    pub fn new() -> Self {
        LoadOptions::default()
    }

    /// Calls the plugin this way, whatever it looks like.
    #[must_use]
    pub fn abi(mut self, abi: AbiId) -> Self {
        self.abi = Some(abi);
        self
    }

    /// Accepts WebAssembly text. A path that ends in `.wat` needs no such leave.
    #[must_use]
    pub fn wat(mut self, accept: bool) -> Self {
        self.wat = accept;
        self
    }

    /// Calls the plugin by this name in errors and traces.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a limit, in its unit.
    #[must_use]
    pub fn limit(mut self, kind: LimitKind, value: u64) -> Self {
        self.limits.insert(kind, value);
        self
    }

    /// Sets limits.
    #[must_use]
    pub fn limits(mut self, limits: &Overrides) -> Self {
        self.limits.extend(limits);
        self
    }

    /// Grants a capability, if the plugin asks for it.
    #[must_use]
    pub fn allow(mut self, capability: Capability) -> Self {
        self.allow.push(capability);
        self
    }

    /// Allows a WebAssembly feature that is off otherwise.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }
}

/// A plugin that was read and checked, and not compiled.
#[derive(Debug)]
#[non_exhaustive]
pub struct Examined {
    /// The manifest's name, else the file's.
    pub name: String,
    /// Its bytes and their digest.
    pub artifact: Artifact,
    /// What parsing told about it.
    pub shape: Shape,
    /// Its manifest, when it came with one.
    pub manifest: Option<Manifest>,
    /// What it asks for, in its manifest and by what it imports.
    pub requests: Vec<Request>,
    /// How it would be called and why, or why it cannot be.
    pub abi: Result<(AbiId, String)>,
    /// What would bound its calls.
    pub limits: Limits,
}

impl Examined {
    /// What the ABI gives every plugin without asking.
    pub fn baseline(&self) -> &'static [CapabilityKind] {
        self.abi.as_ref().map_or(&[], |(id, _)| abi::by_id(*id).profile().baseline)
    }

    /// Whether the ABI's plugins keep state between calls.
    pub fn keeps_state(&self) -> bool {
        self.abi.as_ref().is_ok_and(|(id, _)| abi::by_id(*id).profile().keeps_state)
    }

    /// The functions that can be called.
    pub fn functions(&self) -> Vec<String> {
        let adapter = match &self.abi {
            Ok((id, _)) => abi::by_id(*id).bind(&self.shape, self.manifest.as_ref()),
            Err(_) => return Vec::new(),
        };
        adapter.map(|adapter| adapter.functions().to_vec()).unwrap_or_default()
    }
}

/// The host of an application's plugins. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<HostInner>);

/// What each ABI provides, once per engine.
type Linkers = HashMap<(AbiId, EngineKey, Allocation), Arc<Linker<CallState>>>;

pub(crate) struct HostInner {
    pub(crate) engines: Arc<Engines>,
    budget: HostBudget,
    slots: Slots,
    overrides: Overrides,
    linkers: Mutex<Linkers>,
    /// Raised when every call has to end now.
    cut: AtomicBool,
    closing: AtomicBool,
    /// Sessions being opened.
    in_flight: AtomicUsize,
    sessions: Mutex<Vec<Weak<Occupied>>>,
    /// Whether a shutdown can order itself against calls that do nothing for it.
    shutdown_orders: bool,
    drained: Notify,
}

/// Whether a call of a session runs. Each session has its own, so that calls of different
/// sessions never write to the same place.
pub(crate) struct Occupied {
    flag: AtomicBool,
    host: Arc<HostInner>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("running", &self.0.running()).finish_non_exhaustive()
    }
}

impl Host {
    /// A host to be set up.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// A host with every default.
    ///
    /// # Errors
    /// As [`HostBuilder::build`].
    pub fn new() -> Result<Self> {
        Host::builder().build()
    }

    /// Loads a plugin: reads, checks and compiles it, on a thread of its own, so that
    /// the caller's executor goes on.
    ///
    /// # Errors
    /// What is wrong with the file, the manifest, the bytes or the imports.
    pub async fn load(&self, source: impl Into<Source>) -> Result<Plugin> {
        self.load_with(source, LoadOptions::new()).await
    }

    /// Loads a plugin with options.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub async fn load_with(&self, source: impl Into<Source>, options: LoadOptions) -> Result<Plugin> {
        let (sender, receiver) = oneshot::channel();
        let (host, source, span) = (self.clone(), source.into(), tracing::Span::current());
        let work = move || {
            let _entered = span.enter();
            // Nobody listens any more when the load was given up.
            let _ = sender.send(host.load_blocking(source, options));
        };
        std::thread::Builder::new()
            .name("airlock-load".to_owned())
            .spawn(work)
            .map_err(|error| Error::host("cannot start a thread to compile on").with_source(error))?;
        receiver.await.unwrap_or_else(|_| Err(Error::host("the compiler panicked")))
    }

    /// Loads a plugin on this thread.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load_blocking(&self, source: impl Into<Source>, options: LoadOptions) -> Result<Plugin> {
        let span = tracing::info_span!("load", plugin = tracing::field::Empty, abi = tracing::field::Empty);
        let _entered = span.enter();
        let start = Instant::now();
        let Examined { name, artifact, shape, manifest, requests, abi, .. } =
            self.examine(source, &options)?;
        let (abi, why) = abi.map(|(id, why)| (abi::by_id(id), why))?;
        span.record("plugin", &name).record("abi", abi.id().name());
        let adapter = abi.bind(&shape, manifest.as_ref())?;

        let policy = Policy::decide(&requests, &options.allow, abi.profile().baseline)?;
        policy.require(&requests)?;

        let limits = self.effective_limits(abi, &options.limits);
        let key = engine_key(&limits, &shape);
        let waits = shape.imports.iter().any(|import| wasi::waits(&import.module, &import.name));
        let compiled = Compiled::new(&self.0.engines, key, artifact, shape, &limits)?;
        tracing::info!(
            digest = %compiled.artifact().digest().short(),
            abi = %abi.id(), why, origin = ?compiled.origin(), code = ?compiled.load_time(),
            total = ?start.elapsed(), "loaded"
        );
        Plugin::new(PluginParts {
            host: self.clone(),
            name,
            manifest,
            compiled,
            abi,
            why,
            adapter,
            policy,
            requests,
            limits,
            waits,
        })
    }

    /// Reads and checks a plugin without compiling it: what `airlock inspect` shows, also
    /// of a plugin that could not be loaded.
    ///
    /// # Errors
    /// What is wrong with the file, the manifest or the bytes. A plugin that no ABI or too
    /// many fit, or that imports what nobody provides, is examined all the same.
    pub fn examine(&self, source: impl Into<Source>, options: &LoadOptions) -> Result<Examined> {
        let limits = Limits::default().with(&self.0.overrides).with(&options.limits);
        let found = source::read(source.into(), &limits)?;
        let artifact = Artifact::new(found.bytes, options.wat || found.is_wat, &limits)?;
        let cache = self.0.engines.settings().cache.as_deref();
        let shape = Shape::admit_cached(&artifact, &options.features, &limits, cache)?;
        let manifest = found.manifest;
        let abi = abi::choose(&shape, manifest.as_ref(), options.abi).and_then(|(abi, why)| {
            abi.bind(&shape, manifest.as_ref())?;
            Ok((abi, why))
        });
        let limits = match &abi {
            Ok((abi, _)) => self.effective_limits(*abi, &options.limits),
            Err(_) => limits,
        };
        Ok(Examined {
            name: options.name.clone().unwrap_or(found.name),
            requests: requests(manifest.as_ref(), &shape),
            abi: abi.map(|(abi, why)| (abi.id(), why)),
            artifact,
            shape,
            manifest,
            limits,
        })
    }

    /// Takes no more calls, also of those that still wait for a slot, lets the running ones
    /// finish for up to `grace`, then cuts them off. Returns how many had to be cut.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let inner = &self.0;
        inner.closing.store(true, Ordering::SeqCst);
        if inner.shutdown_orders && !order_everybody() {
            // It could when asked before. What other threads wrote is long visible by then.
            sleep_until(Instant::now() + TICK).await;
        }
        inner.slots.wake_all();
        if self.drained(grace).await {
            return 0;
        }
        let late = inner.running();
        inner.cut.store(true, Ordering::Release);
        Ticker::wake_all();
        self.drained(CUT_GRACE).await;
        late
    }

    /// Waits until nothing runs any more; whether that came within `grace`.
    async fn drained(&self, grace: Duration) -> bool {
        let give_up = after(Instant::now(), grace);
        while self.0.running() > 0 {
            let now = Instant::now();
            if now >= give_up {
                return false;
            }
            // A fresh call says nothing when it ends, and a session's no more than a plain
            // write, so the end of one may be missed until the next look.
            let next_look = give_up.min(now + TICK);
            let _ = bounded(next_look, None, self.0.drained.notified()).await;
        }
        true
    }

    /// Bytes of memory and tables that instances use now.
    pub fn memory_used(&self) -> u64 {
        self.0.budget.used()
    }

    /// Airlock's defaults, the ABI's, the host's, what this load was told: later ones go
    /// before earlier ones. The host's own, of which there is one value each, go before all.
    fn effective_limits(&self, abi: &dyn Abi, options: &Overrides) -> Limits {
        let profile: Overrides = abi.profile().limits.iter().copied().collect();
        let of_host = Overrides::from([
            (LimitKind::Stack, self.0.engines.settings().stack_bytes as u64),
            (LimitKind::HostMemory, self.0.budget.maximum()),
        ]);
        Limits::default().with(&profile).with(&self.0.overrides).with(options).with(&of_host)
    }

    /// What an ABI provides, linked once per engine.
    pub(crate) fn linker(
        &self,
        abi: &'static dyn Abi,
        key: EngineKey,
        allocation: Allocation,
    ) -> Result<Arc<Linker<CallState>>> {
        let mut linkers = self.0.linkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = linkers.get(&(abi.id(), key, allocation)) {
            return Ok(linker.clone());
        }
        let engine = self
            .0
            .engines
            .get(key, allocation)?
            .ok_or_else(|| Error::host("a linker for an engine that does not exist"))?;
        let mut linker = Linker::new(&engine);
        abi.link(&mut linker)
            .map_err(|error| Error::host("cannot link the host's functions").with_source(error))?;
        let linker = Arc::new(linker);
        linkers.insert((abi.id(), key, allocation), linker.clone());
        Ok(linker)
    }

    /// What all instances may use together.
    pub(crate) fn budget(&self) -> &HostBudget {
        &self.0.budget
    }

    /// Whether every call has to end now.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }

    /// The flag [`Host::is_cut`] reads.
    pub(crate) fn cut(&self) -> &AtomicBool {
        &self.0.cut
    }

    /// Counts a call in, unless the host is closing.
    pub(crate) fn enter(&self) -> Result<InFlight<'_>> {
        self.0.in_flight.fetch_add(1, Ordering::SeqCst);
        // Counted first and looked at second, so that a shutdown misses nobody.
        let guard = InFlight(&self.0);
        self.refuse_if_closing().map(|()| guard)
    }

    fn refuse_if_closing(&self) -> Result<()> {
        self.0.refuse_if_closing()
    }

    /// A new session's flag, known to the host for as long as the session lives.
    pub(crate) fn register(&self) -> Arc<Occupied> {
        let occupied = Arc::new(Occupied { flag: AtomicBool::new(false), host: self.0.clone() });
        let mut sessions = self.0.sessions();
        if sessions.len() == sessions.capacity() {
            sessions.retain(|session| session.strong_count() > 0);
        }
        sessions.push(Arc::downgrade(&occupied));
        occupied
    }

    /// Waits for a free slot, for no longer than the limit or the deadline. A call that has
    /// one is counted in.
    pub(crate) async fn slot(
        &self,
        holder: NonZeroUsize,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Slot<'_>> {
        if let Some(slot) = self.0.slots.try_take(holder) {
            // Taken first and looked at second, so that a shutdown misses nobody.
            return self.refuse_if_closing().map(|()| slot);
        }
        let phase = Phase::Wait;
        let wait = limits.time(LimitKind::Wait);
        let give_up = deadline.min(after(Instant::now(), wait));
        let closing = || self.0.closing.load(Ordering::SeqCst);
        match bounded(give_up, Some(&self.0.cut), self.0.slots.take(holder, closing)).await {
            Ok(Some(slot)) => self.refuse_if_closing().map(|()| slot),
            Ok(None) => Err(Error::new(ErrorKind::ShuttingDown)),
            Err(Interrupted::Cut) => Err(Error::new(ErrorKind::Cancelled { phase })),
            Err(Interrupted::Deadline) if give_up == deadline => {
                Err(Error::new(ErrorKind::Deadline { timeout: limits.time(LimitKind::Timeout), phase }))
            }
            Err(Interrupted::Deadline) => Err(Error::new(ErrorKind::Limit {
                limit: LimitKind::Wait,
                maximum: limits.value(LimitKind::Wait),
                asked: None,
                phase,
            })),
        }
    }

    /// The slots of all plugins.
    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }
}

impl Occupied {
    /// Marks a call as running, unless the host is closing.
    ///
    /// Either the call sees that the host is closing, or the shutdown sees that the call
    /// runs: one of the two has to be ordered against the other, and a call pays nothing for
    /// it where the shutdown can ([`order_everybody`]).
    #[inline]
    pub(crate) fn enter(&self) -> Result<()> {
        match self.host.shutdown_orders {
            true => {
                self.flag.store(true, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
            }
            false => {
                self.flag.swap(true, Ordering::SeqCst);
            }
        }
        self.host.refuse_if_closing().inspect_err(|_| self.leave())
    }

    /// Marks the call as over.
    #[inline]
    pub(crate) fn leave(&self) {
        self.flag.store(false, Ordering::Release);
        if self.host.closing.load(Ordering::Relaxed) {
            self.host.drained.notify_waiters();
        }
    }
}

impl HostInner {
    #[inline]
    fn refuse_if_closing(&self) -> Result<()> {
        match self.closing.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::ShuttingDown)),
            false => Ok(()),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Weak<Occupied>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls run now.
    fn running(&self) -> usize {
        let sessions = self.sessions();
        let occupied = sessions.iter().filter_map(Weak::upgrade);
        let in_sessions = occupied.filter(|occupied| occupied.flag.load(Ordering::SeqCst)).count();
        self.in_flight.load(Ordering::SeqCst) + self.slots.taken() + in_sessions
    }
}

/// What the plugin's code has to be compiled for.
fn engine_key(limits: &Limits, shape: &Shape) -> EngineKey {
    EngineKey { fuel: limits.get(LimitKind::Fuel).is_some(), canonical_nan: false, dwarf: shape.has_dwarf }
}

/// What a plugin asks for: in its manifest, and by what it imports.
fn requests(manifest: Option<&Manifest>, shape: &Shape) -> Vec<Request> {
    let imported = [
        (CapabilityKind::Clock, ["clock_time_get", "poll_oneoff"].as_slice()),
        (CapabilityKind::Random, ["random_get"].as_slice()),
    ];
    let implied = imported.into_iter().filter_map(|(kind, names)| {
        let asks = names.iter().any(|name| shape.imports_item(wasi::PREVIEW1, name));
        asks.then(|| Request { capability: Capability::plain(kind), required: false })
    });
    manifest
        .map(|manifest| manifest.requests.clone())
        .unwrap_or_default()
        .into_iter()
        .chain(implied)
        .collect()
}

/// A call that is counted in.
pub(crate) struct InFlight<'a>(&'a HostInner);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let was_last = self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.0.closing.load(Ordering::SeqCst) {
            self.0.drained.notify_waiters();
        }
    }
}

/// Makes every thread of this process see what was written before, and this one what they
/// wrote: what a fence on each of them would do. `false` where the system cannot.
#[cfg(target_os = "linux")]
fn order_everybody() -> bool {
    use rustix::thread::{MembarrierCommand, membarrier};
    membarrier(MembarrierCommand::Global).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn order_everybody() -> bool {
    false
}

/// Whether [`order_everybody`] can, without the time it takes.
#[cfg(target_os = "linux")]
fn can_order_everybody() -> bool {
    use rustix::thread::{MembarrierCommand, membarrier_query};
    membarrier_query().contains_command(MembarrierCommand::Global)
}

#[cfg(not(target_os = "linux"))]
fn can_order_everybody() -> bool {
    false
}
