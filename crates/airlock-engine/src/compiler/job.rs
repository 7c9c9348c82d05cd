//! What a worker process does: wasm on standard input, code on standard output.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::code::CompiledCode;
use crate::engines::{EngineKey, compiler_config};

/// What a worker is told on its command line, as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    /// What the code is for.
    pub(super) key: EngineKey,
    /// Address space the worker may have, in bytes.
    pub(super) memory: Option<u64>,
    /// Processor time it may use, in seconds.
    pub(super) cpu: Option<u64>,
}

/// How a worker ended, when not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The compiler refused the bytes; the reason is on standard error.
    Refused,
    /// There was not enough memory.
    Memory,
    /// The order or the machine is to blame; the reason is on standard error.
    Other,
}

impl Failure {
    /// The worker's exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Failure::Refused => 3,
            Failure::Memory => 4,
            Failure::Other => 5,
        }
    }

    pub(super) fn of_code(code: i32) -> Self {
        [Failure::Refused, Failure::Memory]
            .into_iter()
            .find(|failure| i32::from(failure.code()) == code)
            .unwrap_or(Failure::Other)
    }
}

/// Serves as a compile worker: bounds this process as `order` says, compiles what comes
/// from standard input and writes the code to standard output. Returns the process's exit
/// code: 0 when the code was written whole.
///
/// A program that wants [`Worker`](super::Worker)s starts itself again with arguments of its
/// choice and calls this with the last of them.
pub fn serve_worker(order: Option<&str>) -> u8 {
    match work(order) {
        Ok(()) => 0,
        Err((failure, reason)) => {
            // There is nobody else to tell.
            let _ = io::stderr().write_all(reason.as_bytes());
            failure.code()
        }
    }
}

fn work(order: Option<&str>) -> Result<(), (Failure, String)> {
    let order: Order = match order {
        Some(text) => serde_json::from_str(text).map_err(|error| (Failure::Other, error.to_string()))?,
        None => Order::default(),
    };
    bound(&order).map_err(of_io)?;
    // Left to itself the pool is made in the middle of compiling, where failing is a panic.
    rayon::ThreadPoolBuilder::new()
        .build_global()
        .map_err(|error| (Failure::Memory, format!("cannot start threads: {error}")))?;
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm).map_err(of_io)?;
    let engine =
        Engine::new(&compiler_config(order.key)).map_err(|error| of_wasmtime(&error, Failure::Other))?;
    let code =
        CompiledCode::compile(&engine, &wasm).map_err(|error| of_wasmtime(&error, Failure::Refused))?;
    let mut output = io::stdout().lock();
    output.write_all(code.bytes()).and_then(|()| output.flush()).map_err(of_io)
}

fn of_io(error: io::Error) -> (Failure, String) {
    let failure = match error.kind() {
        io::ErrorKind::OutOfMemory => Failure::Memory,
        _ => Failure::Other,
    };
    (failure, error.to_string())
}

/// What an error of wasmtime's means, where it is not about memory.
fn of_wasmtime(error: &wasmtime::Error, otherwise: Failure) -> (Failure, String) {
    let no_memory = error.is::<wasmtime::OutOfMemory>()
        || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory);
    (if no_memory { Failure::Memory } else { otherwise }, format!("{error:#}"))
}

/// Takes from this process what a compiler does not need.
fn bound(order: &Order) -> io::Result<()> {
    let most = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    if let Some(bytes) = order.memory {
        setrlimit(Resource::As, most(bytes))?;
    }
    if let Some(seconds) = order.cpu {
        setrlimit(Resource::Cpu, most(seconds))?;
    }
    // A compiler that dies leaves no file behind.
    setrlimit(Resource::Core, most(0))?;
    Ok(())
}
