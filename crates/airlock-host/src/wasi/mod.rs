//! The world a WASI guest sees, made from its policy.
//!
//! wasmtime-wasi does the work that needs no decision; what a guest may observe is
//! decided here: [`clocks`] and random by the policy, [`stdio`] captured within limits,
//! the [`environment`] and [`files`] as far as they are granted. Modules have [`preview1`] and no
//! network; components have [`preview2`]. wasmtime-wasi's own state is made at the first call that
//! needs it, so that a guest which never calls pays nothing.

mod ahead;
mod clocks;
mod environment;
mod files;
mod poll;
mod preview1;
pub(crate) mod preview2;
mod reach;
mod stdio;

use std::future::ready;
use std::time::Duration;

use airlock_core::{LimitKind, Limits, MAIL_NETWORK_VARIABLE, Printed, Streams};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wasmtime::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p1::{WasiP1Ctx, wasi_snapshot_preview1};

use self::ahead::Ahead;
use self::clocks::{Clocks, Until, VIRTUAL_EPOCH, Which};
use self::files::Files;
use self::stdio::{Capture, Stdin};
use crate::console::{Audience, Shown};
use crate::standing::{Looked, Standing};
use crate::store::CallState;

pub(crate) use self::environment::granted as granted_variables;
pub(crate) use self::files::{PathRules, Plan};
pub(crate) use self::stdio::Feed;
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
    /// Whether somebody asked for its standard output to be read for messages.
    pub(crate) reads_messages: bool,
    /// Where its standard input comes from when its standard output is read, line by line, before
    /// anybody sees it ([`Wasi::take_lines`]).
    pub(crate) feed: Option<Feed>,
    /// Who sees what it prints while it runs.
    pub(crate) audience: Option<Audience>,
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
            reads_messages: false,
            feed: None,
            audience: None,
        }
    }
}

/// Where what stands in for the clock and for random numbers begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StandIns {
    /// Nanoseconds since the Unix epoch.
    pub(crate) clock: u64,
    pub(crate) seed: u64,
    /// What a plugin that asks for mail by PRX's tools finds in its environment, and no other does.
    pub(crate) mail_network: Option<bool>,
}

impl Default for StandIns {
    fn default() -> Self {
        StandIns { clock: VIRTUAL_EPOCH, seed: 0, mail_network: None }
    }
}

/// A guest's WASI state.
pub(crate) struct Wasi {
    /// What it is started with, until `opened` is made of it.
    input: Option<WasiInput>,
    opened: Option<Opened>,
    is_program: bool,
    audience: Option<Audience>,
    /// Standard output, when that is the answer and somebody has written there.
    stdout: Option<Capture>,
    /// What was written to standard output to be read by the host first, and where the host writes
    /// what answers it.
    lines: Option<Capture>,
    feed: Option<Feed>,
    /// What is open to it, where that was looked at for this call already.
    looked: Option<Looked>,
    /// What was logged, before anything else was needed.
    log: Option<Capture>,
    clocks: Clocks,
    seed: u64,
    mail_network: Option<bool>,
    /// Boxed: few guests draw numbers, and all of this is moved at every fresh call.
    seeded: Option<Box<ChaCha12Rng>>,
    hostcall_fuel: usize,
    /// What a component knows of the network, where it has asked for some of it.
    network: Option<Box<preview2::Network>>,
    /// The same of requests.
    requests: Option<Box<preview2::Requests>>,
}

/// What the first call that needs wasmtime-wasi makes.
struct Opened {
    files: Box<Files>,
    context: Box<WasiP1Ctx>,
    /// What goes before its sleeps.
    ahead: Ahead,
}

impl Opened {
    fn begin(&mut self, standing: &Standing) {
        self.files.begin(standing.policy());
    }
}

impl Wasi {
    pub(crate) fn new(input: Option<WasiInput>, stand_ins: StandIns) -> Self {
        let is_program = input.as_ref().is_some_and(|input| input.is_program);
        let audience = input.as_ref().and_then(|input| input.audience.clone());
        let feed = input.as_ref().and_then(|input| input.feed.clone());
        Wasi {
            input,
            is_program,
            audience,
            stdout: None,
            lines: None,
            feed,
            looked: None,
            opened: None,
            log: None,
            clocks: Clocks::beginning_at(stand_ins.clock),
            seed: stand_ins.seed,
            mail_network: stand_ins.mail_network,
            seeded: None,
            hostcall_fuel: 0,
            network: None,
            requests: None,
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
        [&self.log, &self.stdout, &self.lines].into_iter().flatten().for_each(Capture::clear);
    }

    /// What was written to standard output, when that is the answer and nobody has seen it.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.as_ref().map(Capture::bytes).unwrap_or_default()
    }

    /// How long it is, with what was seen.
    pub(crate) fn stdout_len(&self) -> u64 {
        self.stdout.as_ref().map_or(0, Capture::len)
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
        self.log_capture(limits).add(line)
    }

    fn log_capture(&mut self, limits: &Limits) -> &Capture {
        let Wasi { log, audience, .. } = self;
        log.get_or_insert_with(|| Capture::new(limits, LimitKind::Log, audience.clone()))
    }

    /// Shows something of the program, or keeps it, as text.
    ///
    /// # Errors
    /// The limit that it would be past.
    pub(crate) fn show(
        &mut self,
        limits: &Limits,
        plugin: &str,
        shown: Shown<'_>,
    ) -> Result<(), (LimitKind, u64)> {
        if let Shown::Output(bytes) = shown {
            let Wasi { stdout, audience, .. } = self;
            let capture = || Capture::new(limits, LimitKind::Output, audience.clone());
            let stdout = stdout.get_or_insert_with(capture);
            return stdout.add(bytes).map_err(|maximum| (LimitKind::Output, maximum));
        }
        let line = match shown {
            Shown::Errors(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => shown.line(plugin),
        };
        // What says nothing in words may still end a bar.
        let line = line.unwrap_or_default();
        let log = self.log_capture(limits);
        log.add_shown(line.as_bytes(), shown).map_err(|maximum| (LimitKind::Log, maximum))
    }

    /// Who sees what it shows, if anybody does.
    pub(crate) fn audience(&self) -> Option<&Audience> {
        self.audience.as_ref()
    }

    /// Where the host writes what the guest reads, where it reads what the guest prints.
    #[inline]
    pub(crate) fn feed(&self) -> Option<&Feed> {
        self.feed.as_ref()
    }

    /// Takes the whole lines that were written to standard output and not yet read; at the end, all
    /// that was written.
    pub(crate) fn take_lines(&self, is_end: bool) -> Vec<u8> {
        let end = (!is_end).then_some(b'\n');
        self.lines.as_ref().map(|lines| lines.take(end)).unwrap_or_default()
    }

    /// The time since 1970 that the guest sees, in nanoseconds.
    pub(crate) fn realtime(&mut self, real: bool) -> u64 {
        self.clocks.now(Which::Realtime, real)
    }

    /// wasmtime-wasi's state, made now if nobody needed it before.
    #[inline]
    fn opened(&mut self, limits: &Limits, standing: &Standing) -> &mut Opened {
        let Wasi { input, opened, log, stdout, lines, audience, looked, mail_network, .. } = self;
        opened.get_or_insert_with(|| {
            let input = input.take().unwrap_or_else(WasiInput::none);
            let capture = |limit: LimitKind| Capture::new(limits, limit, audience.clone());
            let log = log.get_or_insert_with(|| capture(LimitKind::Log)).clone();
            let WasiInput { args, stdin, is_program, streams, inherits, feed, .. } = input;
            let output = match (is_program, feed.is_some()) {
                (true, true) => {
                    lines.get_or_insert_with(|| Capture::new(limits, LimitKind::Output, None)).clone()
                }
                (true, false) => stdout.get_or_insert_with(|| capture(LimitKind::Output)).clone(),
                (false, _) => log.clone(),
            };
            let Looked { decided, plan } = looked.take().unwrap_or_else(|| {
                let decided = standing.decided();
                Looked { plan: standing.plan(&decided), decided }
            });
            let policy = decided.policy().clone();
            let mut builder = WasiCtxBuilder::new();
            builder.args(&args).envs(&environment::granted(&policy));
            if let Some(is_on) = mail_network {
                builder.env(MAIL_NETWORK_VARIABLE, if *is_on { "1" } else { "0" });
            }
            // Only components make sockets, and are asked before where to: see `preview2/sockets.rs`.
            builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(false);
            builder.socket_addr_check(|_, _| Box::pin(ready(true)));
            // Where a stream is none of the guest's, input has ended and output is nowhere.
            let ahead = Ahead::default();
            match (streams.stdin, inherits) {
                (true, false) => {
                    let maximum = limits.value(LimitKind::Input);
                    builder.stdin(Stdin::new(stdin, maximum, ahead.clone()));
                }
                (true, true) => drop(builder.inherit_stdin()),
                (false, _) => {}
            }
            match (streams.stdout, inherits) {
                (true, false) => drop(builder.stdout(output)),
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
            Opened { files: Box::new(files), context: Box::new(context), ahead }
        })
    }

    /// Fills `bytes` with the same numbers in every run.
    pub(crate) fn fill_seeded(&mut self, bytes: &mut [u8]) {
        let seeded = || Box::new(ChaCha12Rng::seed_from_u64(self.seed));
        self.seeded.get_or_insert_with(seeded).fill_bytes(bytes);
    }
}
