//! A guest's memory, for the application that embeds it.

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::{AsContextMut as _, Memory, StoreContextMut};

use crate::guest;
use crate::store::{CallState, Live};

/// A guest's memory: that of a [`Session`](crate::Session)'s instance between two calls, or of the
/// guest that calls a [function of the application](crate::Functions).
///
/// Addresses are the guest's own: bytes from the start of its memory. Every access is checked
/// against the memory as it is now; nothing is clamped.
pub struct GuestMemory<'a> {
    store: StoreContextMut<'a, CallState>,
    memory: Memory,
    /// Who reads and writes, for errors.
    reader: &'a str,
}

/// A number that lies in a guest's memory in little-endian order: an integer or a float of up to 64
/// bits.
pub trait Plain: sealed::Plain {}

mod sealed {
    pub trait Plain: Sized {
        type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;

        fn to_bytes(self) -> Self::Bytes;
        fn of(bytes: Self::Bytes) -> Self;
    }
}

macro_rules! plain {
    ($($number:ident)*) => {$(
        impl Plain for $number {}
        impl sealed::Plain for $number {
            type Bytes = [u8; size_of::<$number>()];

            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn of(bytes: Self::Bytes) -> Self {
                $number::from_le_bytes(bytes)
            }
        }
    )*};
}

plain!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

impl std::fmt::Debug for GuestMemory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestMemory").field("bytes", &self.size()).finish_non_exhaustive()
    }
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn of(live: &'a mut Live) -> Result<Self> {
        match live.memory32() {
            Some(memory) => Ok(GuestMemory::new(live.store.as_context_mut(), memory, "memory")),
            None => Err(GuestMemory::missing()),
        }
    }

    pub(crate) fn new(store: StoreContextMut<'a, CallState>, memory: Memory, reader: &'a str) -> Self {
        GuestMemory { store, memory, reader }
    }

    /// The error of a guest that has none.
    #[cold]
    pub(crate) fn missing() -> Error {
        Error::new(ErrorKind::UnsuitableExport {
            export: "memory".to_owned(),
            reason: "there is no 32-bit memory of that name".to_owned(),
        })
    }

    /// Bytes it has now.
    pub fn size(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// The `length` bytes at `pointer`.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when they are not all inside.
    pub fn read(&self, pointer: u32, length: u32) -> Result<&[u8]> {
        let bytes = guest::slice(self.memory.data(&self.store), pointer, length);
        bytes.map_err(|outside| self.outside(outside))
    }

    /// The text of `length` bytes at `pointer`.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when they are not all inside, or no UTF-8.
    pub fn text(&self, pointer: u32, length: u32) -> Result<&str> {
        std::str::from_utf8(self.read(pointer, length)?).map_err(|error| self.no_text(pointer, length, error))
    }

    /// The number at `pointer`, wherever that is: it need not be aligned.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when not all its bytes are inside.
    pub fn value<T: Plain>(&self, pointer: u32) -> Result<T> {
        let length = size_of::<T::Bytes>();
        let bytes = self.read(pointer, u32::try_from(length).unwrap_or(u32::MAX))?;
        let bytes = T::Bytes::try_from(bytes).map_err(|_| Error::host("a number of another size"))?;
        Ok(T::of(bytes))
    }

    /// Writes `bytes` at `pointer`; all of them or, outside the memory, none.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when there is not room for all of them.
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<()> {
        let written = guest::write(self.memory.data_mut(&mut self.store), pointer, bytes);
        written.map_err(|outside| self.outside(outside))
    }

    /// Writes a number at `pointer`.
    ///
    /// # Errors
    /// As [`GuestMemory::write`].
    pub fn set<T: Plain>(&mut self, pointer: u32, value: T) -> Result<()> {
        self.write(pointer, value.to_bytes().as_ref())
    }

    #[cold]
    fn outside(&self, outside: guest::OutOfBounds) -> Error {
        outside.error(self.reader, "the range")
    }

    #[cold]
    fn no_text(&self, pointer: u32, length: u32, error: std::str::Utf8Error) -> Error {
        let reason = format!("the text at {pointer}, {length} bytes long, is no UTF-8: {error}");
        Error::new(ErrorKind::BadGuest { function: self.reader.to_owned(), reason })
    }
}
