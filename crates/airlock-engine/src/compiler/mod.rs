//! Compiling within bounds: in this process, or in one that can be killed.
//!
//! Admission bounds what one function can cost a compiler; these bound the whole.
//! [`InProcess`] bounds how many compile at once and how long a caller waits: a compilation
//! that was given up goes on to its end, since nothing can stop a thread. [`Worker`] gives
//! each compilation a process, which is killed at the deadline and cannot take more memory
//! than it was allowed, so that the host outlives whatever the compiler meets.

mod in_process;
mod job;
mod turns;
mod worker;

use std::fmt;
use std::time::{Duration, Instant};

use airlock_core::{Error, ErrorKind, LimitKind, Limits, Phase, Result};
use wasmtime::Engine;

use crate::code::CompiledCode;
use crate::{Artifact, EngineKey};

pub use self::in_process::InProcess;
pub use self::job::serve_worker;
pub use self::worker::Worker;

/// Turns admitted artifacts into native code.
///
/// There are two: [`InProcess`] and [`Worker`]. Another one can choose between them; code
/// can come from nowhere else, since [`CompiledCode`] cannot be made outside this crate.
pub trait Compiler: Send + Sync + fmt::Debug {
    /// Compiles, or says why not, before the job's deadline.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWasm`] for what the compiler refuses, [`ErrorKind::Limit`] for
    /// [`LimitKind::CompileTime`] and [`LimitKind::CompileMemory`], [`ErrorKind::Host`].
    fn compile(&self, job: &Job<'_>) -> Result<CompiledCode>;
}

/// Something to compile.
pub struct Job<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) key: EngineKey,
    pub(crate) artifact: &'a Artifact,
    pub(crate) deadline: Instant,
    pub(crate) limits: &'a Limits,
}

impl Job<'_> {
    /// What is compiled.
    pub fn artifact(&self) -> &Artifact {
        self.artifact
    }

    /// When it has to be done.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    fn rest(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn over_limit(&self, limit: LimitKind) -> Error {
        over_limit(self.limits, limit)
    }
}

/// The error of a compilation that hit `limit`.
pub(crate) fn over_limit(limits: &Limits, limit: LimitKind) -> Error {
    let maximum = limits.value(limit);
    Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase: Phase::Compile })
}

fn refused(reason: String) -> Error {
    Error::new(ErrorKind::InvalidWasm { offset: 0, reason })
}
