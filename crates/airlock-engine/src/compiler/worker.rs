//! Compiling in a process of its own.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use airlock_core::{Error, LimitKind, Result};

use super::job::{Failure, Order};
use super::turns::Turns;
use super::{Compiler, Job, refused};
use crate::code::{CodeKind, CompiledCode};

/// Bytes of code that are taken from a worker: so many, and so many more for each byte of
/// wasm. Native code is commonly three times as large as its wasm.
const CODE_BYTES: u64 = 16 << 20;
const CODE_BYTES_PER_BYTE: u64 = 100;

/// Bytes of a worker's standard error that are kept.
const MAX_REASON_BYTES: u64 = 4 << 10;

/// How long a worker that has closed its output may take to end.
const END_GRACE: Duration = Duration::from_secs(1);

const SIGABRT: i32 = 6;
const SIGXCPU: i32 = 24;

/// Compiles each artifact in a process of its own, which bounds its own memory and
/// processor time and is killed at the deadline.
///
/// The program is the operator's choice and trusted like this process: what it writes is
/// run as code. It has to call [`serve_worker`](super::serve_worker) with its last argument. It gets no
/// environment.
#[derive(Debug)]
pub struct Worker {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Made at the first use: most processes find everything cached.
    turns: OnceLock<Turns>,
}

impl Worker {
    /// Workers that are started as `program arguments… ORDER`.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Worker {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            turns: OnceLock::new(),
        }
    }

    fn start(&self, order: &Order) -> Result<Running> {
        let order = serde_json::to_string(order)
            .map_err(|error| Error::host("cannot tell a compile worker what to do").with_source(error))?;
        Command::new(&self.program)
            .args(&self.arguments)
            .arg(order)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .map_err(|error| {
                Error::host(format!("cannot start the compile worker `{}`", self.program.display()))
                    .with_source(error)
            })
    }
}

impl Compiler for Worker {
    fn compile(&self, job: &Job<'_>) -> Result<CompiledCode> {
        let too_late = || job.over_limit(LimitKind::CompileTime);
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let turns = self.turns.get_or_init(|| Turns::new(processors));
        let _turn = turns.take(job.deadline).ok_or_else(too_late)?;
        let mut running = self.start(&Order {
            key: job.key,
            memory: job.limits.get(LimitKind::CompileMemory),
            // All processors for all the time; the deadline comes first.
            cpu: Some((job.rest().as_secs() + 1).saturating_mul(processors as u64)),
        })?;
        let (output, reason) = running.exchange(job)?.ok_or_else(too_late)?;
        let status = running.end(job.deadline + END_GRACE).ok_or_else(too_late)?;
        match status.code() {
            Some(0) => Ok(CompiledCode::from_worker(output, CodeKind::of(job.artifact.bytes()))),
            Some(code) => Err(match Failure::of_code(code) {
                Failure::Refused => refused(reason),
                Failure::Memory => job.over_limit(LimitKind::CompileMemory),
                Failure::Other => died(status, &reason),
            }),
            // Rust's allocator aborts when there is no memory; the kernel signals when the
            // processor time is used up.
            None => Err(match status.signal() {
                Some(SIGABRT) => job.over_limit(LimitKind::CompileMemory),
                Some(SIGXCPU) => too_late(),
                _ => died(status, &reason),
            }),
        }
    }
}

fn died(status: ExitStatus, reason: &str) -> Error {
    Error::host("the compile worker failed")
        .with_source(io::Error::other(format!("{status}: {}", reason.trim())))
}

/// A worker process, killed when dropped.
struct Running(Child);

impl Running {
    /// Feeds it the wasm and collects what it writes, code and reason; `None` when that
    /// took too long.
    fn exchange(&mut self, job: &Job<'_>) -> Result<Option<(Vec<u8>, String)>> {
        let pipe = |what: &str| Error::host(format!("the compile worker has no {what}"));
        let mut stdin = self.0.stdin.take().ok_or_else(|| pipe("standard input"))?;
        let stdout = self.0.stdout.take().ok_or_else(|| pipe("standard output"))?;
        let stderr = self.0.stderr.take().ok_or_else(|| pipe("standard error"))?;
        let (done, is_done) = channel();
        let artifact = job.artifact.clone();
        let maximum = CODE_BYTES + CODE_BYTES_PER_BYTE * artifact.bytes().len() as u64;
        let work = move || {
            // A worker that does not read all of it says why, or dies.
            let feed = move || drop(stdin.write_all(artifact.bytes()));
            let output = std::thread::scope(|scope| {
                scope.spawn(feed);
                let reason = scope.spawn(|| read(stderr, MAX_REASON_BYTES));
                let output = read(stdout, maximum);
                let reason = reason.join().unwrap_or_else(|_| Ok(Vec::new()));
                (output, reason)
            });
            // Nobody listens any more when the time was up.
            let _ = done.send(output);
        };
        std::thread::Builder::new().name("airlock-compile".to_owned()).spawn(work).map_err(|error| {
            Error::host("cannot start a thread to feed the compile worker").with_source(error)
        })?;
        match is_done.recv_timeout(job.rest()) {
            Ok((Ok(output), reason)) => {
                let reason = String::from_utf8_lossy(&reason.unwrap_or_default()).into_owned();
                Ok(Some((output, reason)))
            }
            Ok((Err(error), _)) => {
                Err(Error::host("cannot read what the compile worker wrote").with_source(error))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::host("the compile worker's thread panicked")),
        }
    }

    /// Waits for its end, until `deadline`.
    fn end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                // Its output is closed, so it is about to end.
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(200)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(from: impl Read, maximum: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(maximum).read_to_end(&mut bytes)?;
    Ok(bytes)
}
