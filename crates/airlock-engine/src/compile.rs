//! Compiled modules.

use std::fmt;
use std::time::{Duration, Instant};

use airlock_core::{Error, Result};
use wasmtime::Module;

use crate::code::CompiledCode;
use crate::engines::{Allocation, EngineKey, Engines};
use crate::{Artifact, Shape};

/// Native code for an admitted artifact, ready for each engine that can run it.
pub struct Compiled {
    artifact: Artifact,
    shape: Shape,
    key: EngineKey,
    pooled: Option<Module>,
    on_demand: Module,
    compile_time: Duration,
}

impl Compiled {
    /// Compiles an admitted artifact for `key`. Takes CPU time in proportion to the
    /// artifact's size, on this thread and on the compiler's pool.
    ///
    /// # Errors
    /// What the compiler refuses ([`airlock_core::ErrorKind::InvalidWasm`]) and what the
    /// host cannot do ([`airlock_core::ErrorKind::Host`]).
    pub fn new(engines: &Engines, key: EngineKey, artifact: Artifact, shape: Shape) -> Result<Self> {
        let span = tracing::info_span!("compile", digest = %artifact.digest().short(), bytes = artifact.bytes().len());
        let _entered = span.enter();
        let start = Instant::now();
        let engine = engines.get(key, Allocation::OnDemand)?.expect("on-demand engines are never left out");
        let code = CompiledCode::compile(&engine, artifact.bytes())?;
        let on_demand = code
            .load(&engine)
            .map_err(|error| Error::host("cannot load compiled code").with_source(error))?;
        // A module that fits no slot (a second memory, a huge table) is no failure: it
        // runs on demand.
        let pooled = match engines.get(key, Allocation::Pool)? {
            Some(pool) => {
                code.load(&pool).inspect_err(|error| tracing::debug!(%error, "does not fit the pool")).ok()
            }
            None => None,
        };
        let compile_time = start.elapsed();
        tracing::debug!(code_bytes = code.len(), ?compile_time, pooled = pooled.is_some(), "compiled");
        Ok(Compiled { artifact, shape, key, pooled, on_demand, compile_time })
    }

    /// The artifact it was compiled from.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// What parsing told about it.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What the code depends on.
    pub fn key(&self) -> EngineKey {
        self.key
    }

    /// The module for instances of this allocation; `None` when it does not fit the
    /// pool or there is none.
    pub fn module(&self, allocation: Allocation) -> Option<&Module> {
        match allocation {
            Allocation::Pool => self.pooled.as_ref(),
            Allocation::OnDemand => Some(&self.on_demand),
        }
    }

    /// How long compiling took.
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("artifact", &self.artifact.digest())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
