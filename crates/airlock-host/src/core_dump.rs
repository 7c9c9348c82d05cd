//! What a guest was when it trapped: its stack, memories and globals, in the format that tools for
//! WebAssembly agreed on (tool-conventions, `Coredump.md`).

use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::ErrorKind;
use wasmtime::{Store, WasmCoreDump};
use wasmtime_wasi::I32Exit;

use crate::store::{CallState, Halt};

/// Where the core dump of a plugin's last trap is left. Cheap to clone; all clones are one place.
///
/// A core dump holds all that was in the guest's memories, which may be secrets.
#[derive(Debug, Clone, Default)]
pub struct CoreDump(Arc<Mutex<Option<Vec<u8>>>>);

impl CoreDump {
    /// One that is empty.
    pub fn new() -> Self {
        CoreDump::default()
    }

    /// The core dump of the last call, where that trapped.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, dump: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(dump);
    }

    /// Leaves none of a call that ended otherwise.
    pub(crate) fn clear(&self) {
        self.take();
    }
}

/// Leaves the core dump of an error that may turn out to be a trap, while what it is of is there.
pub(crate) fn leave(store: &mut Store<CallState>, error: &wasmtime::Error) {
    let Some(place) = store.data().plugin.core_dump().cloned() else { return };
    let is_trap = match error.downcast_ref::<Halt>() {
        Some(Halt(why)) => matches!(why, ErrorKind::Trap { .. }),
        None => !error.is::<I32Exit>(),
    };
    if let (true, Some(dump)) = (is_trap, error.downcast_ref::<WasmCoreDump>()) {
        let name = store.data().plugin.name().to_owned();
        place.put(dump.serialize(store, &name));
    }
}
