//! Preview 2 through one guard, for components.
//!
//! What is linked is a list: an interface that is not in it is not there. What a policy decides of
//! (clocks, random numbers, the environment, [`files`], [`sockets`], [`http`]) is answered here, counted as
//! preview 1's functions are; what needs no decision is wasmtime-wasi's: streams, which are its own,
//! [`streams`] of files or [`stdio`](super::stdio)'s, waiting for them, and leaving.

mod files;
mod http;
mod listing;
mod sockets;
mod streams;

use airlock_core::CapabilityKind;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::cli;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::{DynPollable, subscribe};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::clocks::{Until, Which};
use crate::store::CallState;

pub(super) use http::Requests;
pub(super) use sockets::Network;

/// Things of the host's that a component has at once: streams, sockets, what it waits for.
const MAX_RESOURCES: usize = 10_000;

/// Random bytes that are made at one request, and how many of them between looks at the clock.
const MAX_RANDOM: u64 = 16 << 20;
const RANDOM_CHUNK: usize = 64 << 10;

const NANOSECONDS: u64 = 1_000_000_000;

/// The interfaces that there are, of any version 0.2.
pub(crate) const INTERFACES: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Links the world of `wasi:cli/command`, and requests.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    monotonic_clock::add_to_linker::<CallState, Guard>(linker, guarded)?;
    wall_clock::add_to_linker::<CallState, Guard>(linker, guarded)?;
    random::add_to_linker::<CallState, Guard>(linker, guarded)?;
    insecure::add_to_linker::<CallState, Guard>(linker, guarded)?;
    insecure_seed::add_to_linker::<CallState, Guard>(linker, guarded)?;
    cli::environment::add_to_linker::<CallState, Guard>(linker, guarded)?;
    files::link(linker)?;
    sockets::link(linker)?;
    http::link(linker)?;

    io::error::add_to_linker::<CallState, Table>(linker, |state| state.ctx().table)?;
    io::poll::add_to_linker::<CallState, Table>(linker, |state| state.ctx().table)?;
    io::streams::add_to_linker::<CallState, Table>(linker, |state| state.ctx().table)?;
    cli::exit::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::stdin::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::stdout::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::stderr::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::terminal_input::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::terminal_output::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdin::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdout::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stderr::add_to_linker::<CallState, WasiCli>(linker, CallState::cli)
}

/// The call's own state, which guards what it decides of.
struct Guard;

impl HasData for Guard {
    type Data<'a> = &'a mut CallState;
}

fn guarded(state: &mut CallState) -> &mut CallState {
    state
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi_context().ctx()
    }
}

impl CallState {
    /// Makes it the state of a component's call.
    pub(crate) fn begin_component(&mut self) {
        self.ctx().table.set_max_capacity(MAX_RESOURCES);
        self.wasi_files().for_component();
    }

    fn timer(&mut self, function: &'static str, until: Until) -> wasmtime::Result<Resource<DynPollable>> {
        self.enter_host(function)?;
        let real = self.may_use(CapabilityKind::Clock);
        // Who speaks to others waits for them in real time, so what ends that has to be real.
        let waits = self.plugin.standing().allows_any(CapabilityKind::Net);
        let ahead = self.wasi_ahead();
        let timer = self.wasi.clocks.timer(until, real, waits).behind(ahead);
        let table = self.ctx().table;
        let timer = table.push(timer)?;
        subscribe(table, timer)
    }

    fn random_bytes(&mut self, function: &'static str, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.enter_host(function)?;
        if length > MAX_RANDOM {
            return Err(self.bad_guest(format!("it asks for {length} random bytes at once")));
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        for piece in bytes.chunks_mut(RANDOM_CHUNK) {
            self.fill_random(piece)?;
            self.check_deadline()?;
        }
        Ok(bytes)
    }

    fn random_number(&mut self, function: &'static str) -> wasmtime::Result<u64> {
        self.enter_host(function)?;
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl wall_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.enter_host("wall-clock.now")?;
        let now = self.realtime();
        let nanoseconds = u32::try_from(now % NANOSECONDS)?;
        Ok(wall_clock::Datetime { seconds: now / NANOSECONDS, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.enter_host("wall-clock.resolution")?;
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl monotonic_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        self.enter_host("monotonic-clock.now")?;
        let real = self.may_use(CapabilityKind::Clock);
        Ok(self.wasi.clocks.now(Which::Monotonic, real))
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        self.enter_host("monotonic-clock.resolution")?;
        Ok(1)
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer("monotonic-clock.subscribe-instant", Until::At(when))
    }

    fn subscribe_duration(
        &mut self,
        duration: monotonic_clock::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer("monotonic-clock.subscribe-duration", Until::After(duration))
    }
}

impl random::Host for CallState {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes("random.get-random-bytes", length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_number("random.get-random-u64")
    }
}

/// No worse than the others: what tells two runs apart is kept from a guest here too.
impl insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes("insecure.get-insecure-random-bytes", length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_number("insecure.get-insecure-random-u64")
    }
}

impl insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let function = "insecure-seed.insecure-seed";
        Ok((self.random_number(function)?, self.random_number(function)?))
    }
}

impl cli::environment::Host for CallState {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.enter_host("environment.get-environment")?;
        self.note_use(CapabilityKind::Env);
        self.cli().get_environment()
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.enter_host("environment.get-arguments")?;
        self.cli().get_arguments()
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        self.enter_host("environment.initial-cwd")?;
        Ok(None)
    }
}
