//! The wasmtime engines, made when first needed.
//!
//! Code is compiled for an [`EngineKey`]; each key has up to two engines that run the
//! same code and differ only in where instances come from: a pool of slots made ahead,
//! for calls that last microseconds, or memory mapped on demand, for sessions that last
//! and for modules that do not fit a slot.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::{Error, Result};
use serde::{Deserialize, Serialize};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
    WasmFeatures,
};

use crate::admit::{ALWAYS, Admissions};
use crate::loads::{Loads, MemoryCacheStats};
use crate::{Cache, Compiler, Ticker};

/// What compiled code depends on. Two plugins with equal keys share engines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineKey {
    /// Code counts fuel.
    pub fuel: bool,
    /// NaNs are canonical, so that results are the same on every machine.
    pub canonical_nan: bool,
    /// Code looks for no tick, so that nothing can end it before it returns.
    pub trusted: bool,
    /// A trap leaves a core dump. The code is the same.
    pub core_dump: bool,
    /// Stacks are looked at while a guest runs, so that all of them is kept. The code is the same.
    pub sampled: bool,
}

/// Where an instance's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allocation {
    /// A slot made ahead.
    Pool,
    /// Mapped when needed.
    OnDemand,
}

/// What all engines of a host share.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Slots of each pool; 0 for none.
    pub slots: u32,
    /// Stack of the running guest, in bytes.
    pub stack_bytes: usize,
    /// What compiles.
    pub compiler: Arc<dyn Compiler>,
    /// Where compiled code is kept, if anywhere.
    pub cache: Option<Arc<Cache>>,
    /// Bytes of code, and of artifacts, that are kept in memory for plugins to come; 0 for none.
    pub memory_cache: u64,
}

/// Bytes of a fiber's stack that are left to host functions.
const HOST_STACK: usize = 1 << 20;

/// Bytes of a slot that are cleared instead of given back: giving a page back and
/// faulting it in again costs fifty times as much as clearing it.
pub(crate) const MEMORY_KEEP_RESIDENT: usize = 256 << 10;
const TABLE_KEEP_RESIDENT: usize = 64 << 10;

/// What a component in the pool has at most: modules that are instantiated, memories, tables. What
/// compilers make has some five of the first, for what it imports, and one memory.
const POOLED_INSTANCES: u32 = 6;
const POOLED_MEMORIES: u32 = 2;
const POOLED_TABLES: u32 = 3;

/// Elements of a pooled table; a module that declares more goes on demand.
pub(crate) const POOLED_TABLE_ELEMENTS: usize = 20_000;

/// Frames of a trap's backtrace that are kept.
const MAX_TRAP_FRAMES: usize = 30;

/// Frames of a stack that is looked at while a guest runs.
pub const MAX_SAMPLED_FRAMES: usize = 200;

/// The engines of a host.
#[derive(Debug)]
pub struct Engines {
    settings: EngineSettings,
    made: Mutex<HashMap<(EngineKey, Allocation), Engine>>,
    pub(crate) loads: Loads,
    pub(crate) admissions: Admissions,
}

impl Engines {
    /// No engines yet.
    pub fn new(settings: EngineSettings) -> Arc<Self> {
        let (made, loads) = (Mutex::default(), Loads::new(settings.memory_cache));
        let admissions = Admissions::new(settings.memory_cache);
        Arc::new(Engines { settings, made, loads, admissions })
    }

    /// What the code that is kept in memory was good for so far.
    pub fn memory_cache(&self) -> MemoryCacheStats {
        self.loads.stats()
    }

    /// Forgets what is kept in memory. Plugins that live keep what they have.
    pub fn clear_memory_cache(&self) {
        self.loads.clear();
        self.admissions.clear();
    }

    /// What the engines share.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The engine for `key` and `allocation`, driven by the [`Ticker`]; `None` for a
    /// pool that the settings leave out.
    ///
    /// # Errors
    /// [`airlock_core::ErrorKind::Host`] when wasmtime cannot make it, such as for want
    /// of address space.
    pub fn get(&self, key: EngineKey, allocation: Allocation) -> Result<Option<Engine>> {
        // Only metered, unmetered and trusted code have a pool: the other keys are for debugging
        // and reproducing, where microseconds do not count.
        let plain = EngineKey { fuel: key.fuel, trusted: key.trusted, ..EngineKey::default() };
        if allocation == Allocation::Pool && (self.settings.slots == 0 || key != plain) {
            return Ok(None);
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = made.get(&(key, allocation)) {
            return Ok(Some(engine.clone()));
        }
        let engine = Engine::new(&self.config(key, allocation))
            .map_err(|error| Error::host("cannot create an engine").with_source(error))?;
        Ticker::drive(&engine);
        made.insert((key, allocation), engine.clone());
        Ok(Some(engine))
    }

    fn config(&self, key: EngineKey, allocation: Allocation) -> Config {
        let mut config = compiler_config(key);
        config
            .max_wasm_stack(self.settings.stack_bytes)
            .async_stack_size(self.settings.stack_bytes + HOST_STACK)
            .coredump_on_trap(key.core_dump)
            .wasm_backtrace_max_frames(NonZeroUsize::new(match key.sampled {
                true => MAX_SAMPLED_FRAMES,
                false => MAX_TRAP_FRAMES,
            }));
        if allocation == Allocation::Pool {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(self.pool()));
        }
        config
    }

    fn pool(&self) -> PoolingAllocationConfig {
        let slots = self.settings.slots;
        let mut pool = PoolingAllocationConfig::new();
        // So many that each call has its place, whatever runs: what is not used of these costs addresses.
        pool.total_component_instances(slots)
            .total_core_instances(slots.saturating_mul(POOLED_INSTANCES))
            .total_memories(slots.saturating_mul(POOLED_MEMORIES))
            .total_tables(slots.saturating_mul(POOLED_TABLES))
            .total_stacks(slots)
            .max_core_instances_per_component(POOLED_INSTANCES)
            .max_memories_per_component(POOLED_MEMORIES)
            .max_tables_per_component(POOLED_TABLES)
            .max_memories_per_module(1)
            .max_tables_per_module(1)
            .table_elements(POOLED_TABLE_ELEMENTS)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(TABLE_KEEP_RESIDENT)
            .decommit_batch_size(1)
            // In wasmtime 48 a page that was swapped out is not reset by the page-map
            // scan, so the next instance could read the last one's data.
            .pagemap_scan(Enabled::No);
        pool
    }
}

/// Everything that compiled code depends on.
pub(crate) fn compiler_config(key: EngineKey) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all().difference(features()), false)
        .wasm_features(features(), true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(!key.trusted)
        .consume_fuel(key.fuel)
        .cranelift_nan_canonicalization(key.canonical_nan)
        // `Lines` tells places in the source, and reads less of what the guest says of itself.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// One superset for all engines; admission decides per plugin.
fn features() -> WasmFeatures {
    ALWAYS | WasmFeatures::MEMORY64 | WasmFeatures::MULTI_MEMORY | WasmFeatures::COMPONENT_MODEL
}
