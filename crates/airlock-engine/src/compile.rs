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
    pooled: Option<Code>,
    /// Loaded when first needed, where there is a pooled one.
    on_demand: OnceLock<Code>,
    /// Read when somebody first asks.
    lines: OnceLock<Lines>,
}

impl Modules {
    fn pooled(code: Code) -> Self {
        Modules { pooled: Some(code), on_demand: OnceLock::new(), lines: OnceLock::new() }
    }

    /// Code that is in no pool.
    fn on_demand(code: Code) -> Self {
        Modules { pooled: None, on_demand: OnceLock::from(code), lines: OnceLock::new() }
    }

    /// Bytes of code and data, as they are in memory, and of line tables.
    pub(crate) fn bytes(&self) -> u64 {
        let image = |code: &Code| match code {
            Code::Module(module) => module.image_range(),
            Code::Component(component) => component.image_range(),
        };
        let loaded = self.pooled.iter().chain(self.on_demand.get());
        loaded
            .map(image)
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
        Ok(match self.code(engines, allocation)? {
            Some(Code::Module(module)) => Some(module),
            _ => None,
        })
    }

    /// The same for a component; `None` for a module too.
    ///
    /// # Errors
    /// As [`Compiled::module`].
    pub fn component(&self, engines: &Engines, allocation: Allocation) -> Result<Option<Component>> {
        Ok(match self.code(engines, allocation)? {
            Some(Code::Component(component)) => Some(component),
            _ => None,
        })
    }

    fn code(&self, engines: &Engines, allocation: Allocation) -> Result<Option<Code>> {
        let modules = &self.modules;
        match (allocation, &modules.pooled) {
            (Allocation::Pool, pooled) => Ok(pooled.clone()),
            (Allocation::OnDemand, Some(pooled)) if modules.on_demand.get().is_none() => {
                let engine = on_demand_engine(engines, self.key)?;
                let code = CompiledCode::of(pooled).and_then(|code| code.load(&engine));
                let code = code.map_err(cannot_load)?;
                let code = modules.on_demand.get_or_init(|| code).clone();
                engines.loads.grown((self.artifact.digest(), self.key), modules);
                Ok(Some(code))
            }
            (Allocation::OnDemand, _) => Ok(modules.on_demand.get().cloned()),
        }
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
    let Places { first, .. } = places(engines, key)?;
    let compile =
        || engines.settings().compiler.compile(&Job { engine: &first, key, artifact, deadline, limits });
    let load = |code: &CompiledCode| {
        let modules = place(engines, key, |engine| code.load(engine))?;
        Ok((modules, Origin::Compiler))
    };
    let Some(cache) = &engines.settings().cache else { return load(&compile()?) };
    let variant = Variant {
        digest: artifact.digest(),
        configuration: Configuration::of("code").and_engine(&first).short(),
    };
    let cached = || {
        let modules = cache.code(&variant, |authentic| {
            place(engines, key, |engine| authentic.load(engine, kind)).map_err(io::Error::other)
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

fn places(engines: &Engines, key: EngineKey) -> Result<Places> {
    Ok(match engines.get(key, Allocation::Pool)? {
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
    load: impl Fn(&Engine) -> wasmtime::Result<Code>,
) -> Result<Modules> {
    let Places { first, is_pool } = places(engines, key)?;
    let loaded = match load(&first) {
        Err(error) if is_pool => {
            tracing::debug!(%error, "does not fit the pool");
            let code = load(&on_demand_engine(engines, key)?).map_err(cannot_load)?;
            return Ok(Modules::on_demand(code));
        }
        loaded => loaded.map_err(cannot_load)?,
    };
    Ok(match is_pool {
        true => Modules::pooled(loaded),
        false => Modules::on_demand(loaded),
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
