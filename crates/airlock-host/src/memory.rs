//! A guest's memory, for the application that embeds it.

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::{Memory, Store};

use crate::guest;
use crate::store::{CallState, Live};

/// The memory of a [`Session`](crate::Session)'s instance, between two calls.
///
/// Addresses are the guest's own: bytes from the start of its memory. Every access is checked
/// against the memory as it is now; nothing is clamped.
pub struct GuestMemory<'a> {
    store: &'a mut Store<CallState>,
    memory: Memory,
}

impl std::fmt::Debug for GuestMemory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestMemory").field("bytes", &self.size()).finish_non_exhaustive()
    }
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn of(live: &'a mut Live) -> Result<Self> {
        match live.memory32() {
            Some(memory) => Ok(GuestMemory { store: &mut live.store, memory }),
            None => Err(Error::new(ErrorKind::UnsuitableExport {
                export: "memory".to_owned(),
                reason: "there is no 32-bit memory of that name".to_owned(),
            })),
        }
    }

    /// Bytes it has now.
    pub fn size(&self) -> usize {
        self.memory.data_size(&*self.store)
    }

    /// The `length` bytes at `pointer`.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when they are not all inside.
    pub fn read(&self, pointer: u32, length: u32) -> Result<&[u8]> {
        guest::slice(self.memory.data(&*self.store), pointer, length).map_err(outside)
    }

    /// Writes `bytes` at `pointer`; all of them or, outside the memory, none.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when there is not room for all of them.
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<()> {
        guest::write(self.memory.data_mut(&mut *self.store), pointer, bytes).map_err(outside)
    }
}

#[cold]
fn outside(outside: guest::OutOfBounds) -> Error {
    outside.error("memory", "the range")
}
