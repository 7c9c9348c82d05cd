//! Compiling on threads of this process.

use std::num::NonZeroUsize;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use airlock_core::{Error, LimitKind, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::turns::Turns;
use super::{Compiler, Job, refused};
use crate::code::CompiledCode;

/// Compiles on a pool of threads of its own, so that neither the caller's threads nor the
/// rest of the application's parallel work waits for a compiler.
///
/// A caller waits no longer than its deadline. What it gave up goes on, and holds its turn
/// until it is done: at most as many artifacts as turns are ever compiled at once.
#[derive(Debug)]
pub struct InProcess {
    threads: usize,
    /// Made at the first use: most processes find everything cached.
    pool: OnceLock<Arc<ThreadPool>>,
    turns: Turns,
}

impl Default for InProcess {
    /// As many threads as the machine has processors.
    fn default() -> Self {
        InProcess::new(available_parallelism().map_or(1, NonZeroUsize::get))
    }
}

impl InProcess {
    /// Compiles on `threads` threads, that many artifacts at once.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        InProcess { threads, pool: OnceLock::new(), turns: Turns::new(threads) }
    }

    fn pool(&self) -> Result<Arc<ThreadPool>> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool.clone());
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|index| format!("airlock-compile-{index}"))
            .build()
            .map_err(|error| Error::host("cannot start threads to compile on").with_source(error))?;
        Ok(self.pool.get_or_init(|| Arc::new(pool)).clone())
    }
}

impl Compiler for InProcess {
    fn compile(&self, job: &Job<'_>) -> Result<CompiledCode> {
        let too_late = || job.over_limit(LimitKind::CompileTime);
        let turn = self.turns.take(job.deadline).ok_or_else(too_late)?;
        let (sender, receiver) = sync_channel(1);
        let (engine, artifact) = (job.engine.clone(), job.artifact.clone());
        self.pool()?.spawn(move || {
            // Nobody listens any more when it was given up.
            let _ = sender.send(CompiledCode::compile(&engine, artifact.bytes()));
            drop(turn);
        });
        match receiver.recv_timeout(job.rest()) {
            Ok(compiled) => compiled.map_err(|error| refused(format!("{error:#}"))),
            Err(RecvTimeoutError::Timeout) => Err(too_late()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::host("the compiler panicked")),
        }
    }
}
