//! What an error that came through wasmtime really was.

use std::fmt;

use airlock_core::{Error, ErrorKind, LimitKind, TrapKind};
use wasmtime::{Store, Trap, WasmBacktrace};

use super::CallState;
use crate::abi::component::{is_too_much, value_bytes};
use crate::core_dump;
use crate::frames;

/// A reason to stop, as an error that passes through wasmtime.
#[derive(Debug, Clone)]
pub(crate) struct Halt(pub(crate) ErrorKind);

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::new(self.0.clone()).fmt(f)
    }
}

impl std::error::Error for Halt {}

/// What an error that came through wasmtime really was. A trap leaves its core dump, where one is
/// wanted, before the store is gone.
pub(crate) fn explain(error: wasmtime::Error, store: &mut Store<CallState>) -> Error {
    core_dump::leave(store, &error);
    explain_in(error, store.data())
}

/// The same inside of a call that goes on.
pub(crate) fn explain_in(error: wasmtime::Error, state: &CallState) -> Error {
    if let Some(stop) = &state.stop {
        return Error::new(stop.clone());
    }
    if let Some(halt) = error.downcast_ref::<Halt>() {
        return Error::new(halt.0.clone());
    }
    let phase = state.phase;
    let limit = |limit: LimitKind, asked| {
        Error::new(ErrorKind::Limit { limit, maximum: state.plugin.limits().value(limit), asked, phase })
    };
    let trap = error.downcast_ref::<Trap>().copied();
    match trap {
        Some(Trap::OutOfFuel) => return limit(LimitKind::Fuel, None),
        Some(Trap::StackOverflow) => return limit(LimitKind::Stack, None),
        _ => {}
    }
    // A guest that was refused memory and then gave up: the refusal is the cause.
    if let Some(refused) = state.budget.refused() {
        return Error::new(ErrorKind::Limit {
            limit: refused.limit,
            maximum: refused.maximum,
            asked: Some(refused.asked),
            phase,
        });
    }
    if is_too_much(&error.root_cause().to_string()) {
        let maximum = value_bytes(state.plugin.limits()) as u64;
        return Error::new(ErrorKind::Limit { limit: LimitKind::Output, maximum, asked: None, phase });
    }
    // Guest code leaves a backtrace; without one the guest was not even running, as when the
    // machine has no memory left for its stack.
    if trap.is_none() && error.downcast_ref::<WasmBacktrace>().is_none() {
        return Error::host("the guest could not be run").with_source(error);
    }
    let reason = match trap {
        Some(Trap::UnreachableCodeReached) => "unreachable".to_owned(),
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    };
    let frames = frames::of_trap(&error, state.plugin.lines());
    Error::new(ErrorKind::Trap { trap: trap_kind(trap), reason, frames, phase })
}

/// Which trap it was, where wasmtime says.
fn trap_kind(trap: Option<Trap>) -> TrapKind {
    match trap {
        Some(Trap::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(Trap::MemoryOutOfBounds) => TrapKind::MemoryOutOfBounds,
        Some(Trap::TableOutOfBounds) => TrapKind::TableOutOfBounds,
        Some(Trap::IndirectCallToNull) => TrapKind::IndirectCallToNull,
        Some(Trap::BadSignature) => TrapKind::BadSignature,
        Some(Trap::IntegerOverflow) => TrapKind::IntegerOverflow,
        Some(Trap::IntegerDivisionByZero) => TrapKind::IntegerDivisionByZero,
        Some(Trap::BadConversionToInteger) => TrapKind::BadConversionToInteger,
        _ => TrapKind::Other,
    }
}
