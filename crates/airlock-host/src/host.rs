//! The host: what all plugins of an application share.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airlock_core::{AbiId, Approval, Error, ErrorKind, LimitKind, Limits, Overrides, Result};
use airlock_engine::{Allocation, Compiled, EngineKey, EngineSettings, Engines, MemoryCacheStats, Origin};
use wasmtime::{Linker, component};

use crate::abi::{Abi, Dialect};
use crate::budget::HostBudget;
use crate::builder::{HostBuilder, Rules};
use crate::cancel::Cuts;
use crate::describe::Descriptions;
use crate::functions::Offered;
use crate::prepared::Shelf;
use crate::recorded::Recorder;
use crate::running::Running;
use crate::service::Services;
use crate::slots::{Patience, Slot, Slots};
use crate::store::CallState;
use crate::wasi;

/// The host of an application's plugins. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<HostInner>);

/// What each ABI provides, once per engine.
type Linkers = HashMap<(AbiId, Dialect, EngineKey, Allocation), Arc<Linker<CallState>>>;

/// The same for components.
type ComponentLinkers =
    HashMap<(Option<AbiId>, Dialect, EngineKey, Allocation), Arc<component::Linker<CallState>>>;

/// What the application set up.
#[derive(Clone)]
pub(crate) struct HostParts {
    pub(crate) overrides: Overrides,
    pub(crate) rules: Rules,
    pub(crate) approval: Option<Approval>,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) services: Services,
    /// What of its own it offers to plugins.
    pub(crate) offered: Offered,
}

pub(crate) struct HostInner {
    pub(crate) engines: Arc<Engines>,
    parts: HostParts,
    pub(crate) running: Running,
    /// What was loaded.
    pub(crate) loaded: Loaded,
    budget: HostBudget,
    slots: Slots,
    pub(crate) made: Arc<Made>,
}

/// Counts what is loaded, and what lives of it.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    all: AtomicU64,
    compile_nanoseconds: AtomicU64,
    pub(crate) alive: AtomicUsize,
}

impl Loaded {
    pub(crate) fn count(&self, compiled: &Compiled) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if compiled.origin() == Origin::Compiler {
            let nanoseconds = u64::try_from(compiled.load_time().as_nanos()).unwrap_or(u64::MAX);
            self.compile_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        }
    }
}

/// What a host has loaded and has running, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct HostStats {
    /// Plugins that were loaded so far.
    pub loaded: u64,
    /// Those that somebody still has: a clone, a session or a call.
    pub plugins: usize,
    /// How long compiling took for those whose code was compiled.
    pub compile_time: Duration,
    /// Calls that run, those of sessions included.
    pub running_calls: usize,
    /// Bytes of memory and tables that instances use.
    pub memory_bytes: u64,
    /// Where code came from, and what is kept of it in memory.
    pub code: MemoryCacheStats,
}

/// What was made of plugins and for them, and depends on no service.
#[derive(Default)]
pub(crate) struct Made {
    linkers: Mutex<Linkers>,
    /// What components are provided, once per engine: of whichever ABI, where it has no interfaces.
    component_linkers: Mutex<ComponentLinkers>,
    pub(crate) prepared: Shelf,
    pub(crate) descriptions: Descriptions,
}

impl std::ops::Deref for HostInner {
    type Target = HostParts;

    fn deref(&self) -> &HostParts {
        &self.parts
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("running", &self.running_calls()).finish_non_exhaustive()
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

    /// A host with these settings and parts, and so many calls at once.
    pub(crate) fn of(settings: EngineSettings, parts: HostParts, concurrent: u32) -> Self {
        let limits = parts.rules.capped(Limits::default().with(&parts.overrides));
        let host_memory = limits.value(LimitKind::HostMemory);
        Host(Arc::new(HostInner {
            engines: Engines::new(settings),
            parts,
            running: Running::new(),
            loaded: Loaded::default(),
            budget: HostBudget::new(host_memory),
            slots: Slots::new(concurrent as usize),
            made: Arc::default(),
        }))
    }

    /// A host of the same settings with other services, which has the engines, the code and the linkers
    /// of this one: what is loaded on both is compiled and linked once. Calls, slots and memory are
    /// counted for each of them alone, and each is shut down alone.
    ///
    /// It is for services that differ from plugin to plugin, such as the fakes of tests; making one
    /// takes microseconds.
    #[must_use]
    pub fn beside(&self, services: Services) -> Host {
        let HostInner { engines, parts, budget, slots, made, .. } = &*self.0;
        Host(Arc::new(HostInner {
            engines: engines.clone(),
            parts: HostParts { services, ..parts.clone() },
            running: Running::new(),
            loaded: Loaded::default(),
            budget: HostBudget::new(budget.maximum()),
            slots: Slots::new(slots.len()),
            made: made.clone(),
        }))
    }

    /// Bytes that an artifact may have, where nothing else is said for it.
    pub(crate) fn largest_artifact(&self) -> u64 {
        let limits = Limits::default().with(&self.0.overrides);
        self.0.rules.capped(limits).value(LimitKind::ArtifactSize)
    }

    /// What it has loaded and has running now.
    pub fn stats(&self) -> HostStats {
        let Loaded { all, compile_nanoseconds, alive } = &self.0.loaded;
        HostStats {
            loaded: all.load(Ordering::Relaxed),
            plugins: alive.load(Ordering::Relaxed),
            compile_time: Duration::from_nanos(compile_nanoseconds.load(Ordering::Relaxed)),
            running_calls: self.running_calls(),
            memory_bytes: self.memory_used(),
            code: self.memory_cache(),
        }
    }

    /// Bytes of memory and tables that instances use now.
    pub fn memory_used(&self) -> u64 {
        self.0.budget.used()
    }

    /// What the code that is kept in memory was good for: which part of all loads found it there.
    pub fn memory_cache(&self) -> MemoryCacheStats {
        self.0.engines.memory_cache()
    }

    /// Forgets the code that is kept in memory for plugins to come.
    pub fn clear_memory_cache(&self) {
        self.0.engines.clear_memory_cache();
    }

    /// What an ABI provides, linked once per engine.
    pub(crate) fn linker(
        &self,
        abi: &'static dyn Abi,
        dialect: Dialect,
        key: EngineKey,
        allocation: Allocation,
    ) -> Result<Arc<Linker<CallState>>> {
        let mut linkers = self.0.made.linkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = linkers.get(&(abi.id(), dialect, key, allocation)) {
            return Ok(linker.clone());
        }
        let engine = self
            .0
            .engines
            .get(key, allocation)?
            .ok_or_else(|| Error::host("a linker for an engine that does not exist"))?;
        let mut linker = Linker::new(&engine);
        abi.link(&mut linker, dialect)
            .and_then(|()| self.0.offered.link(&mut linker))
            .map_err(|error| Error::host("cannot link the host's functions").with_source(error))?;
        let linker = Arc::new(linker);
        linkers.insert((abi.id(), dialect, key, allocation), linker.clone());
        Ok(linker)
    }

    /// What components are provided, linked once per engine.
    pub(crate) fn component_linker(
        &self,
        abi: &'static dyn Abi,
        component: &component::Component,
        key: EngineKey,
        allocation: Allocation,
    ) -> Result<Arc<component::Linker<CallState>>> {
        let (own, dialect) = match abi.interfaces().is_empty() {
            true => (None, Dialect::default()),
            false => (Some(abi.id()), abi.component_dialect(component)),
        };
        let mut linkers = self.0.made.component_linkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = linkers.get(&(own, dialect, key, allocation)) {
            return Ok(linker.clone());
        }
        let mut linker = component::Linker::new(component.engine());
        wasi::preview2::link(&mut linker)
            .and_then(|()| abi.link_component(&mut linker, dialect))
            .map_err(|error| Error::host("cannot link the host's interfaces").with_source(error))?;
        let linker = Arc::new(linker);
        linkers.insert((own, dialect, key, allocation), linker.clone());
        Ok(linker)
    }

    /// What all instances may use together.
    pub(crate) fn budget(&self) -> &HostBudget {
        &self.0.budget
    }

    /// The calls that run.
    pub(crate) fn running(&self) -> &Running {
        &self.0.running
    }

    /// Raised when every call has to end now.
    pub(crate) fn cut(&self) -> &AtomicBool {
        self.running().cut()
    }

    /// Waits for a free slot behind whoever waits already. A call that has one is counted in.
    pub(crate) async fn slot(
        &self,
        holder: NonZeroUsize,
        patience: &Patience<'_>,
        cut: Cuts<'_>,
    ) -> Result<Slot<'_>> {
        self.running().refuse_if_closing()?;
        match patience.wait(cut, self.0.slots.take(holder)).await? {
            // Taken first and looked at second, so that a shutdown misses nobody.
            Some(slot) => self.running().refuse_if_closing().map(|()| slot),
            None => Err(Error::new(ErrorKind::ShuttingDown)),
        }
    }

    /// The same where nobody waits and one is free.
    pub(crate) fn free_slot(&self, holder: NonZeroUsize) -> Option<Result<Slot<'_>>> {
        let slot = self.0.slots.try_take(holder)?;
        Some(self.running().refuse_if_closing().map(|()| slot))
    }

    /// The slots of all plugins.
    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }
}
