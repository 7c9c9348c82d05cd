//! Compiled modules and components: from the cache, from another plugin that has the same bytes, or from
//! the compiler.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use airlock_core::{Error, LimitKind, Limits, Result};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::cache::Turn;
use crate::code::{Code, CodeKind, CompiledCode, Hex, Variant};
use crate::compiler::over_limit;
use crate::engines::{Allocation, EngineKey, Engines};
use crate::loads::Once;
use crate::{Artifact, Job, Lines, Shape};

/// Native code for an admitted artifact, ready for each engine that can run it. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    artifact: Artifact,
    shape: Arc<Shape>,
    key: EngineKey,
    modules: Arc<Modules>,
    origin: Origin,
    load_time: Duration,
}

/// Where code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// This host had it: another plugin has, or had, the same bytes.
    Memory,
    /// The cache.
    Cache,
    /// The compiler.
    Compiler,
}

/// One artifact's code in a host's engines.
pub(crate) struct Modules {
    pooled: Option<Module>,
    /// Loaded when first needed, where there is a pooled one.
    on_demand: OnceLock<Module>,
    /// The code of a component, which is in no pool.
    component: Option<Component>,
    /// Read when somebody first asks.
    lines: OnceLock<Lines>,
}

impl Modules {
    fn of(pooled: Option<Module>, on_demand: Option<Module>, component: Option<Component>) -> Self {
        let on_demand = on_demand.map_or_else(OnceLock::new, OnceLock::from);
        Modules { pooled, on_demand, component, lines: OnceLock::new() }
    }

    /// Code that is in no pool.
    fn on_demand(code: Code) -> Self {
        match code {
            Code::Module(module) => Modules::of(None, Some(module), None),
            Code::Component(component) => Modules::of(None, None, Some(component)),
        }
    }

    /// Bytes of code and data, as they are in memory, and of line tables.
    pub(crate) fn bytes(&self) -> u64 {
        let modules = self.pooled.iter().chain(self.on_demand.get()).map(Module::image_range);
        modules
            .chain(self.component.iter().map(Component::image_range))
            .map(|image| (image.end as usize - image.start as usize) as u64)
            .chain(self.lines.get().map(Lines::bytes))
            .sum()
    }
}

impl Compiled {
    /// Gets an admitted artifact's code for `key`: waits for whoever compiles the same
    /// right now, in this process or another one, or compiles it, within
    /// [`LimitKind::CompileTime`].
    ///
    /// # Errors
    /// What the compiler refuses ([`airlock_core::ErrorKind::InvalidWasm`]), its limits, and
    /// what the host cannot do ([`airlock_core::ErrorKind::Host`]).
    pub fn new(
        engines: &Engines,
        key: EngineKey,
        artifact: Artifact,
        shape: impl Into<Arc<Shape>>,
        limits: &Limits,
    ) -> Result<Self> {
        let shape = shape.into();
        let span = tracing::info_span!("compile", digest = %artifact.digest().short(), bytes = artifact.bytes().len());
        let _entered = span.enter();
        let start = Instant::now();
        let deadline = start + limits.time(LimitKind::CompileTime);
        let once = engines.loads.once((artifact.digest(), key), deadline);
        let (modules, origin) = match once.ok_or_else(|| over_limit(limits, LimitKind::CompileTime))? {
            Once::Loaded(modules) => (modules, Origin::Memory),
            Once::Ours(turn) => {
                let (modules, origin) = load(engines, key, &artifact, deadline, limits)?;
                let modules = Arc::new(modules);
                turn.done(&modules, origin);
                (modules, origin)
            }
        };
        let load_time = start.elapsed();
        tracing::debug!(?load_time, ?origin, pooled = modules.pooled.is_some(), "compiled");
        Ok(Compiled { artifact, shape, key, modules, origin, load_time })
    }

    /// The artifact it was compiled from.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// What parsing told about it.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// What the code depends on.
    pub fn key(&self) -> EngineKey {
        self.key
    }

    /// The module for instances of this allocation; `None` when it does not fit the pool or
    /// there is none.
    ///
    /// # Errors
    /// [`airlock_core::ErrorKind::Host`] when code that one engine has cannot be loaded into another.
    pub fn module(&self, engines: &Engines, allocation: Allocation) -> Result<Option<Module>> {
        let modules = &self.modules;
        match (allocation, &modules.pooled) {
            (Allocation::Pool, pooled) => Ok(pooled.clone()),
            (Allocation::OnDemand, Some(pooled)) if modules.on_demand.get().is_none() => {
                let engine = on_demand_engine(engines, self.key)?;
                let code = CompiledCode::of_module(pooled).and_then(|code| code.load(&engine));
                let Code::Module(module) = code.map_err(cannot_load)? else {
                    return Err(Error::host("the code of a module is a component's"));
                };
                let module = modules.on_demand.get_or_init(|| module).clone();
                engines.loads.grown((self.artifact.digest(), self.key), modules);
                Ok(Some(module))
            }
            (Allocation::OnDemand, _) => Ok(modules.on_demand.get().cloned()),
        }
    }

    /// The component for instances, which are made on demand; `None` for a module.
    pub fn component(&self) -> Option<&Component> {
        self.modules.component.as_ref()
    }

    /// Where it comes from in its source, as far as its DWARF tells. That is read at the first call,
    /// within some tens of milliseconds, and kept in at most 40 MiB.
    pub fn lines(&self) -> &Lines {
        self.modules.lines.get_or_init(|| match self.shape.has_dwarf {
            true => Lines::of(self.artifact.bytes()),
            false => Lines::default(),
        })
    }

    /// Where the code came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How long getting the code took, waiting included.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("artifact", &self.artifact.digest())
            .field("key", &self.key)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// The code of an artifact, from the cache or the compiler.
fn load(
    engines: &Engines,
    key: EngineKey,
    artifact: &Artifact,
    deadline: Instant,
    limits: &Limits,
) -> Result<(Modules, Origin)> {
    let kind = CodeKind::of(artifact.bytes());
    let Places { first, .. } = places(engines, key, kind)?;
    let compile =
        || engines.settings().compiler.compile(&Job { engine: &first, key, artifact, deadline, limits });
    let load = |code: &CompiledCode| {
        let modules = place(engines, key, kind, |engine| code.load(engine))?;
        Ok((modules, Origin::Compiler))
    };
    let Some(cache) = &engines.settings().cache else { return load(&compile()?) };
    let variant = Variant {
        digest: artifact.digest(),
        configuration: Configuration::of("code").and_engine(&first).short(),
    };
    let cached = || {
        let modules = cache.code(&variant, |authentic| {
            place(engines, key, kind, |engine| authentic.load(engine, kind)).map_err(io::Error::other)
        });
        modules.map(|modules| (modules, Origin::Cache))
    };
    if let Some(found) = cached() {
        return Ok(found);
    }
    let _turn = match cache.turn(&variant, deadline) {
        Turn::TooLate => return Err(over_limit(limits, LimitKind::CompileTime)),
        turn => turn,
    };
    // Whoever had the turn before has left it there.
    if let Some(found) = cached() {
        return Ok(found);
    }
    let code = compile()?;
    cache.keep_code(&variant, &code);
    load(&code)
}

/// The engines that code may be loaded into.
struct Places {
    /// The one that is tried first.
    first: Engine,
    is_pool: bool,
}

fn places(engines: &Engines, key: EngineKey, kind: CodeKind) -> Result<Places> {
    // A slot has room for one module's memory and table, and a component is some modules.
    let pool = match kind {
        CodeKind::Module => engines.get(key, Allocation::Pool)?,
        CodeKind::Component => None,
    };
    Ok(match pool {
        Some(first) => Places { first, is_pool: true },
        None => Places { first: on_demand_engine(engines, key)?, is_pool: false },
    })
}

fn on_demand_engine(engines: &Engines, key: EngineKey) -> Result<Engine> {
    let engine = engines.get(key, Allocation::OnDemand)?;
    engine.ok_or_else(|| Error::host("on-demand engines are never left out"))
}

/// Loads code into the pool; what does not fit a slot (a second memory, a huge table) is
/// no failure and runs on demand.
fn place(
    engines: &Engines,
    key: EngineKey,
    kind: CodeKind,
    load: impl Fn(&Engine) -> wasmtime::Result<Code>,
) -> Result<Modules> {
    let Places { first, is_pool } = places(engines, key, kind)?;
    let loaded = match load(&first) {
        Err(error) if is_pool => {
            tracing::debug!(%error, "does not fit the pool");
            let code = load(&on_demand_engine(engines, key)?).map_err(cannot_load)?;
            return Ok(Modules::on_demand(code));
        }
        loaded => loaded.map_err(cannot_load)?,
    };
    Ok(match loaded {
        Code::Module(pooled) if is_pool => Modules::of(Some(pooled), None, None),
        loaded => Modules::on_demand(loaded),
    })
}

fn cannot_load(error: wasmtime::Error) -> Error {
    Error::host("cannot load compiled code").with_source(error)
}

/// Everything that something in the cache depends on besides the artifact, this build of
/// Airlock before all else.
pub(crate) struct Configuration(blake3::Hasher);

impl Configuration {
    /// What `kind` of thing it is the configuration of.
    pub(crate) fn of(kind: &str) -> Self {
        Configuration(blake3::Hasher::new()).and(env!("AIRLOCK_BUILD_ID")).and(kind)
    }

    fn and(mut self, name: &str) -> Self {
        // With its length, so that no two lists of names are read as one.
        self.write_usize(name.len());
        self.write(name.as_bytes());
        self
    }

    pub(crate) fn and_all(self, names: impl IntoIterator<Item = &'static str>) -> Self {
        names.into_iter().fold(self, Configuration::and)
    }

    /// wasmtime's version and configuration, and the processor.
    pub(crate) fn and_engine(mut self, engine: &Engine) -> Self {
        engine.precompile_compatibility_hash().hash(&mut self);
        self
    }

    pub(crate) fn short(&self) -> Hex<16> {
        let mut bytes = [0; 16];
        self.0.finalize_xof().fill(&mut bytes);
        Hex(bytes)
    }
}

/// The standard library's trait is all that wasmtime's configuration can be hashed by.
impl Hasher for Configuration {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.finalize_xof().fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
