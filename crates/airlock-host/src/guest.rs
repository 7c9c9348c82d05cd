//! All decoding of what a guest hands over as pointers and lengths.
//!
//! Guests are 32-bit: a pointer and a length are `u32`, and whatever they are, the sum is
//! taken in 64 bits and checked against the memory as it is now. Nothing is clamped.

use airlock_core::{Error, ErrorKind};
use wasmtime::{AsContext, AsContextMut, Memory};

/// A range that is not inside the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfBounds {
    pointer: u32,
    length: u32,
    size: usize,
}

impl OutOfBounds {
    /// As an error about `function`, whose `what` it was.
    pub(crate) fn error(self, function: &str, what: &str) -> Error {
        Error::new(ErrorKind::BadGuest { function: function.to_owned(), reason: self.reason(what) })
    }

    /// In words, of `what`.
    pub(crate) fn reason(self, what: &str) -> String {
        let OutOfBounds { pointer, length, size } = self;
        format!("{what} at {pointer}, {length} bytes long, is outside its memory of {size} bytes")
    }
}

/// The bytes at `pointer`, `length` long.
pub(crate) fn slice(memory: &[u8], pointer: u32, length: u32) -> Result<&[u8], OutOfBounds> {
    let start = pointer as usize;
    start.checked_add(length as usize).and_then(|end| memory.get(start..end)).ok_or(OutOfBounds {
        pointer,
        length,
        size: memory.len(),
    })
}

/// The bytes from `pointer` to the end of memory; empty when it is outside.
pub(crate) fn tail(memory: &[u8], pointer: u32) -> &[u8] {
    memory.get(pointer as usize..).unwrap_or_default()
}

/// The little-endian `u32` at `pointer`.
pub(crate) fn read_u32(memory: &[u8], pointer: u32) -> Option<u32> {
    let bytes = slice(memory, pointer, 4).ok()?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// The bytes at `pointer`, `length` long, to be written.
pub(crate) fn slice_mut(memory: &mut [u8], pointer: u32, length: u32) -> Result<&mut [u8], OutOfBounds> {
    let (start, size) = (pointer as usize, memory.len());
    let end = start.checked_add(length as usize);
    let outside = OutOfBounds { pointer, length, size };
    end.and_then(|end| memory.get_mut(start..end)).ok_or(outside)
}

/// Writes `bytes` at `pointer`.
pub(crate) fn write(memory: &mut [u8], pointer: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
    slice_mut(memory, pointer, length_of(bytes)).map(|target| target.copy_from_slice(bytes))
}

/// Writes `bytes` and a NUL at `pointer`.
pub(crate) fn write_terminated(
    mut store: impl AsContextMut,
    memory: Memory,
    pointer: u32,
    bytes: &[u8],
) -> Result<(), OutOfBounds> {
    let data = memory.data_mut(&mut store);
    let outside = OutOfBounds { pointer, length: u32::MAX, size: data.len() };
    let length = length_of(bytes).checked_add(1).ok_or(outside)?;
    let target = slice_mut(data, pointer, length)?;
    if let Some((last, rest)) = target.split_last_mut() {
        *last = 0;
        rest.copy_from_slice(bytes);
    }
    Ok(())
}

/// How long `bytes` are; what no guest has room for is longer than any memory.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// An AssemblyScript string: UTF-16 at `pointer`, its length in bytes as the `u32` before
/// it.
pub(crate) fn utf16(memory: &[u8], pointer: u32) -> Option<String> {
    let length = read_u32(memory, pointer.checked_sub(4)?)?;
    if length % 2 != 0 {
        return None;
    }
    let bytes = slice(memory, pointer, length).ok()?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

/// The whole of `memory` as it is now.
pub(crate) fn view<'a, T: 'static>(store: &'a (impl AsContext<Data = T> + 'a), memory: &Memory) -> &'a [u8] {
    memory.data(store)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{read_u32, slice, tail, utf16};

    #[test]
    fn ptr_len_at_the_edges() {
        let memory = [7_u8; 16];
        assert_eq!(slice(&memory, 16, 0), Ok(&[][..]));
        assert!(slice(&memory, 17, 0).is_err());
        assert!(slice(&memory, 15, 2).is_err());
        assert!(slice(&memory, u32::MAX, u32::MAX).is_err());
        assert!(slice(&memory, (-1024_i32).cast_unsigned(), 2048).is_err());
        assert!(tail(&memory, 99).is_empty());
        assert_eq!(read_u32(&memory, 13), None);
    }

    proptest! {
        #[test]
        fn utf16_reads_back(text in "\\PC*", at in 4_usize..9) {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut memory = vec![0_u8; at];
            memory[at - 4..at].copy_from_slice(&u32::try_from(units.len()).expect("small").to_le_bytes());
            memory.extend(&units);
            prop_assert_eq!(utf16(&memory, u32::try_from(at).expect("small")), Some(text));
        }
    }
}
