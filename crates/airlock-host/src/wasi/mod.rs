//! The world a WASI guest sees, made from its policy.
//!
//! wasmtime-wasi does the work that needs no decision; what a guest may observe is
//! decided here: [`clocks`] and random by the policy, [`stdio`] captured within limits,
//! no files, no environment, no network. wasmtime-wasi's own state is made at the first
//! call that needs it, so that a guest which never calls pays nothing.

mod clocks;
mod poll;
mod preview1;
mod stdio;

use airlock_core::{LimitKind, Limits, Printed};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wasmtime::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{WasiP1Ctx, wasi_snapshot_preview1};

use self::clocks::Clocks;
use self::stdio::{Capture, Stdin};
use crate::store::CallState;

pub use self::stdio::StdinSource;

/// The module name preview 1 functions are imported from.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Preview 1 functions that never wait; a module that imports no others can be called
/// without a fiber.
const NEVER_WAIT: [&str; 19] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_allocate",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_tell",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
];

/// Whether calling this import may wait.
pub(crate) fn waits(module: &str, name: &str) -> bool {
    module == PREVIEW1 && !NEVER_WAIT.contains(&name)
}

/// Links every preview 1 function.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasi_snapshot_preview1::add_to_linker(linker, |state| state)
}

/// What a WASI guest is started with.
pub(crate) struct WasiInput {
    pub(crate) args: Vec<String>,
    pub(crate) stdin: StdinSource,
    /// Whether standard output is the answer, and so kept apart from the log.
    pub(crate) stdout_is_answer: bool,
}

impl WasiInput {
    /// For plugins whose answer is no program's output: no arguments, empty input.
    pub(crate) fn none() -> Self {
        WasiInput { args: Vec::new(), stdin: StdinSource::empty(), stdout_is_answer: false }
    }
}

/// A guest's WASI state.
pub(crate) struct Wasi {
    args: Vec<String>,
    stdin: Stdin,
    stdout: Capture,
    stderr: Capture,
    clocks: Clocks,
    seeded: Option<ChaCha12Rng>,
    hostcall_fuel: usize,
    context: Option<Box<WasiP1Ctx>>,
}

impl Wasi {
    pub(crate) fn new(input: WasiInput, limits: &Limits) -> Self {
        let stderr = Capture::new(LimitKind::Log, limits.value(LimitKind::Log));
        let stdout = match input.stdout_is_answer {
            true => Capture::new(LimitKind::Output, limits.value(LimitKind::Output)),
            false => stderr.clone(),
        };
        Wasi {
            args: input.args,
            stdin: Stdin::new(input.stdin, limits.value(LimitKind::Input)),
            stdout,
            stderr,
            clocks: Clocks::default(),
            seeded: None,
            hostcall_fuel: 0,
            context: None,
        }
    }

    /// Starts another call in a session: its log is empty again.
    pub(crate) fn begin(&mut self) {
        self.stdout.clear();
        self.stderr.clear();
    }

    /// What was written to standard output, when that is the answer.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// What was written to standard error, or to both when the answer is something else.
    pub(crate) fn log(&self) -> Vec<u8> {
        self.stderr.bytes()
    }

    /// Everything written so far, when anything was.
    pub(crate) fn printed(&self) -> Option<Printed> {
        // Where standard output is no answer, both are one log.
        let stdout = if self.stdout.is(&self.stderr) { Vec::new() } else { self.stdout() };
        let printed = Printed { stdout, stderr: self.log() };
        (printed != Printed::default()).then_some(printed)
    }

    /// How long the log is.
    pub(crate) fn log_len(&self) -> u64 {
        self.stderr.len()
    }

    /// wasmtime-wasi's state, made now if nobody needed it before.
    fn context(&mut self) -> &mut WasiP1Ctx {
        let Wasi { context, args, stdin, stdout, stderr, .. } = self;
        context.get_or_insert_with(|| {
            let mut builder = WasiCtxBuilder::new();
            builder.args(args).stdin(stdin.clone()).stdout(stdout.clone()).stderr(stderr.clone());
            builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
            Box::new(builder.build_p1())
        })
    }

    /// Fills `bytes` with the same numbers in every run.
    fn fill_seeded(&mut self, bytes: &mut [u8]) {
        self.seeded.get_or_insert_with(|| ChaCha12Rng::seed_from_u64(0)).fill_bytes(bytes);
    }
}
