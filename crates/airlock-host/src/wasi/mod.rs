//! The world a WASI guest sees, made from its policy.
//!
//! wasmtime-wasi does the work that needs no decision; what a guest may observe is
//! decided here: [`clocks`] and random by the policy, [`stdio`] captured within limits,
//! the [`environment`] and [`files`] as far as they are granted, no network. wasmtime-wasi's own state is made at the first
//! call that needs it, so that a guest which never calls pays nothing.

mod clocks;
mod environment;
mod files;
mod poll;
mod preview1;
mod reach;
mod stdio;

use std::time::Duration;

use airlock_core::{LimitKind, Limits, Printed, Streams};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wasmtime::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p1::{WasiP1Ctx, wasi_snapshot_preview1};

use self::clocks::{Clocks, Until, Which};
use self::files::Files;
use self::stdio::{Capture, Stdin};
use crate::standing::{Looked, Standing};
use crate::store::CallState;

pub(crate) use self::files::{PathRules, Plan};
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
    /// Whether it is run as a program: its standard output is the answer, and so kept apart
    /// from the log.
    pub(crate) is_program: bool,
    /// Those that it has. What is written to others is nowhere.
    pub(crate) streams: Streams,
    /// Whether those are this process's own.
    pub(crate) inherits: bool,
}

impl WasiInput {
    /// For plugins whose answer is no program's output: no arguments, empty input.
    pub(crate) fn none() -> Self {
        let streams = Streams { stdin: true, stdout: true, stderr: true };
        WasiInput {
            args: Vec::new(),
            stdin: StdinSource::empty(),
            is_program: false,
            streams,
            inherits: false,
        }
    }
}

/// A guest's WASI state.
pub(crate) struct Wasi {
    /// What it is started with, until `opened` is made of it.
    input: Option<WasiInput>,
    opened: Option<Opened>,
    is_program: bool,
    /// What is open to it, where that was looked at for this call already.
    looked: Option<Looked>,
    /// What was logged, before anything else was needed.
    log: Option<Capture>,
    clocks: Clocks,
    /// Boxed: few guests draw numbers, and all of this is moved at every fresh call.
    seeded: Option<Box<ChaCha12Rng>>,
    hostcall_fuel: usize,
}

/// What the first call that needs wasmtime-wasi makes.
struct Opened {
    /// Standard output, when that is the answer.
    stdout: Option<Capture>,
    files: Box<Files>,
    context: Box<WasiP1Ctx>,
}

impl Opened {
    fn begin(&mut self, standing: &Standing) {
        self.stdout.iter().for_each(Capture::clear);
        self.files.begin(standing.policy());
    }
}

impl Wasi {
    pub(crate) fn new(input: Option<WasiInput>) -> Self {
        let is_program = input.as_ref().is_some_and(|input| input.is_program);
        Wasi {
            input,
            is_program,
            looked: None,
            opened: None,
            log: None,
            clocks: Clocks::default(),
            seeded: None,
            hostcall_fuel: 0,
        }
    }

    /// The same with what was looked at for this call already.
    pub(crate) fn looked_at(mut self, looked: Option<Looked>) -> Self {
        self.looked = looked;
        self
    }

    /// Whether it is run as a program.
    pub(crate) fn is_program(&self) -> bool {
        self.is_program
    }

    /// Passes time on the virtual clock.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.clocks.pass(Which::Monotonic, Until::After(nanoseconds));
    }

    /// Whether an earlier call of a session has left anything here.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        // There is a log wherever there is anything.
        self.log.is_some()
    }

    /// Starts another call in a session: its log is empty again, and what is granted now holds.
    #[cold]
    pub(crate) fn begin(&mut self, standing: &Standing) {
        if let Some(opened) = &mut self.opened {
            opened.begin(standing);
        }
        if let Some(log) = &self.log {
            log.clear();
        }
    }

    /// What was written to standard output, when that is the answer.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        let stdout = self.opened.as_ref().and_then(|opened| opened.stdout.as_ref());
        stdout.map(Capture::bytes).unwrap_or_default()
    }

    /// What was written to standard error, or to both when the answer is something else.
    pub(crate) fn log(&self) -> Vec<u8> {
        self.log.as_ref().map(Capture::bytes).unwrap_or_default()
    }

    /// Everything written so far, when anything was.
    pub(crate) fn printed(&self) -> Option<Printed> {
        let printed = Printed { stdout: self.stdout(), stderr: self.log() };
        (printed != Printed::default()).then_some(printed)
    }

    /// How long the log is.
    pub(crate) fn log_len(&self) -> u64 {
        self.log.as_ref().map_or(0, Capture::len)
    }

    /// Adds a line to the log.
    ///
    /// # Errors
    /// The limit, where the log would be longer.
    pub(crate) fn log_line(&mut self, limits: &Limits, line: &[u8]) -> Result<(), u64> {
        let log = self.log.get_or_insert_with(|| Capture::new(LimitKind::Log, limits.value(LimitKind::Log)));
        log.add(line)
    }

    /// The time since 1970 that the guest sees, in nanoseconds.
    pub(crate) fn realtime(&mut self, real: bool) -> u64 {
        self.clocks.now(Which::Realtime, real)
    }

    /// wasmtime-wasi's state, made now if nobody needed it before.
    #[inline]
    fn opened(&mut self, limits: &Limits, standing: &Standing) -> &mut Opened {
        let Wasi { input, opened, log, looked, .. } = self;
        opened.get_or_insert_with(|| {
            let input = input.take().unwrap_or_else(WasiInput::none);
            let capture = |limit: LimitKind| Capture::new(limit, limits.value(limit));
            let log = log.get_or_insert_with(|| capture(LimitKind::Log)).clone();
            let WasiInput { args, stdin, is_program, streams, inherits } = input;
            let stdout = is_program.then(|| capture(LimitKind::Output));
            let Looked { decided, plan } = looked.take().unwrap_or_else(|| {
                let decided = standing.decided();
                Looked { plan: standing.plan(&decided), decided }
            });
            let policy = decided.policy().clone();
            let mut builder = WasiCtxBuilder::new();
            builder.args(&args).envs(&environment::granted(&policy));
            builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
            // Where a stream is none of the guest's, input has ended and output is nowhere.
            match (streams.stdin, inherits) {
                (true, false) => drop(builder.stdin(Stdin::new(stdin, limits.value(LimitKind::Input)))),
                (true, true) => drop(builder.inherit_stdin()),
                (false, _) => {}
            }
            match (streams.stdout, inherits) {
                (true, false) => drop(builder.stdout(stdout.clone().unwrap_or_else(|| log.clone()))),
                (true, true) => drop(builder.inherit_stdout()),
                (false, _) => {}
            }
            match (streams.stderr, inherits) {
                (true, false) => drop(builder.stderr(log.clone())),
                (true, true) => drop(builder.inherit_stderr()),
                (false, _) => {}
            }
            let mut context = builder.build_p1();
            let again = || standing.plan_anew(&decided);
            let (files, folders) = Files::open(policy, plan, limits, again);
            *context.filesystem().ctx = folders;
            Opened { stdout, files: Box::new(files), context: Box::new(context) }
        })
    }

    /// Fills `bytes` with the same numbers in every run.
    pub(crate) fn fill_seeded(&mut self, bytes: &mut [u8]) {
        self.seeded.get_or_insert_with(|| Box::new(ChaCha12Rng::seed_from_u64(0))).fill_bytes(bytes);
    }
}
