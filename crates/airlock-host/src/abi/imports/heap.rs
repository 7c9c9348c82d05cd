//! Memory that the host takes for a guest that has no allocator to ask: pages of its own, above
//! whatever the guest has.
//!
//! What is taken is known here and nowhere in the guest's memory, so that nothing that the guest
//! writes there makes a difference.

use std::collections::{BTreeMap, HashMap};

use wasmtime::{AsContextMut, Memory};

use crate::store::CallState;

/// Bytes of a WebAssembly page.
const PAGE: u64 = 64 << 10;

/// What every address is a multiple of: enough for any value of wasm.
const ALIGNMENT: u32 = 8;

/// Pieces that are known as taken or as free. Those beyond are the guest's for good, so that a guest
/// that takes the smallest of pieces costs the host no more than it has itself.
const KNOWN: usize = 1 << 16;

/// The pieces of one instance's memory that were taken this way.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// Where in the last pages that it grew by nothing is yet, and where they end.
    rest: (u32, u32),
    /// How large each taken piece is.
    taken: HashMap<u32, u32>,
    /// Free pieces by their size.
    free: BTreeMap<u32, Vec<u32>>,
    free_count: usize,
    /// What calls are made in: where, and how large.
    frame: (u32, u32),
}

/// Uses the heap of the instance in a store, beside the store.
pub(crate) fn with_heap<S: AsContextMut<Data = CallState>>(
    mut store: S,
    work: impl FnOnce(&mut Heap, &mut S) -> Option<u32>,
) -> Option<u32> {
    let mut heap = store.as_context_mut().data_mut().heap.take().unwrap_or_default();
    let at = work(&mut heap, &mut store);
    store.as_context_mut().data_mut().heap = Some(heap);
    at
}

impl Heap {
    /// At least `size` bytes for the call that is made now; the next one has the same. `None` when
    /// there is no more memory.
    pub(crate) fn frame(&mut self, memory: Memory, store: impl AsContextMut, size: u32) -> Option<u32> {
        if self.frame.1 < size {
            // Longer ones come again.
            let larger = size.checked_next_power_of_two().unwrap_or(size);
            let at = self.cut(memory, store, larger)?;
            self.frame = (at, larger);
        }
        Some(self.frame.0)
    }

    /// A piece of at least `size` bytes, zero when it was never given away before. `None` when there is
    /// no more memory.
    pub(crate) fn take(&mut self, memory: Memory, store: impl AsContextMut, size: u32) -> Option<u32> {
        let size = size.max(1).checked_next_multiple_of(ALIGNMENT)?;
        let at = match self.reuse(size) {
            // As large as it was, so that it serves for what is as large again.
            Some((at, whole)) => return Some(self.know(at, whole)),
            None => self.cut(memory, store, size)?,
        };
        Some(self.know(at, size))
    }

    /// Gives a piece back. What was never taken, or is not known any more, is left as it is.
    pub(crate) fn give_back(&mut self, at: u32) {
        if let Some(size) = self.taken.remove(&at) {
            self.free.entry(size).or_default().push(at);
            self.free_count += 1;
        }
    }

    /// The smallest free piece that is large enough and not more than twice as large.
    fn reuse(&mut self, size: u32) -> Option<(u32, u32)> {
        let (&whole, _) = self.free.range(size..=size.saturating_mul(2)).next()?;
        let pieces = self.free.get_mut(&whole)?;
        let at = pieces.pop()?;
        if pieces.is_empty() {
            self.free.remove(&whole);
        }
        self.free_count -= 1;
        Some((at, whole))
    }

    /// A piece of the last pages, or of new ones.
    fn cut(&mut self, memory: Memory, mut store: impl AsContextMut, size: u32) -> Option<u32> {
        let (at, end) = self.rest;
        if end - at < size {
            // The pages before may end where the new ones begin, which then follow on them.
            let missing =
                if u64::from(end) == memory.data_size(&store) as u64 { size - (end - at) } else { size };
            let pages = u64::from(missing).div_ceil(PAGE);
            let begin = memory.grow(&mut store, pages).ok()? * PAGE;
            let new_end = u32::try_from(begin + pages * PAGE).ok()?;
            let follows = begin == u64::from(end) && end > 0;
            self.rest = (if follows { at } else { u32::try_from(begin).ok()? }, new_end);
        }
        let at = self.rest.0;
        self.rest.0 = at + size;
        Some(at)
    }

    fn know(&mut self, at: u32, size: u32) -> u32 {
        if self.taken.len() + self.free_count < KNOWN {
            self.taken.insert(at, size);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtime::{Engine, Memory, MemoryType, Store};

    use super::{Heap, KNOWN};

    fn memory(pages: u32, maximum: u32) -> (Store<()>, Memory) {
        let mut store = Store::new(&Engine::default(), ());
        let memory = Memory::new(&mut store, MemoryType::new(pages, Some(maximum))).expect("made");
        (store, memory)
    }

    #[test]
    fn pieces_lie_above_what_the_guest_has_and_are_used_again() {
        let (mut store, memory) = memory(2, 10);
        let mut heap = Heap::default();
        let first = heap.take(memory, &mut store, 10).expect("memory");
        let second = heap.take(memory, &mut store, 1).expect("memory");
        assert_eq!((first, second), (2 << 16, (2 << 16) + 16));
        heap.give_back(first);
        heap.give_back(first);
        heap.give_back(12_345);
        assert_eq!(heap.take(memory, &mut store, 12), Some(first), "once");
        assert_eq!(heap.take(memory, &mut store, 12), Some((2 << 16) + 24));
        assert_eq!(memory.size(&store), 3);
    }

    #[test]
    fn one_call_after_the_other_has_the_same_frame_unless_it_needs_more() {
        let (mut store, memory) = memory(1, 10);
        let mut heap = Heap::default();
        assert_eq!(heap.frame(memory, &mut store, 60_000), Some(1 << 16));
        assert_eq!(heap.take(memory, &mut store, 8), Some(2 << 16));
        assert_eq!(heap.frame(memory, &mut store, 65_536), Some(1 << 16));
        assert_eq!(heap.frame(memory, &mut store, 65_537), Some((2 << 16) + 8));
        assert_eq!(heap.frame(memory, &mut store, 1 << 20), None);
        assert_eq!(heap.frame(memory, &mut store, 10), Some((2 << 16) + 8));
    }

    #[test]
    fn what_does_not_fit_is_not_there_and_loses_nothing() {
        let (mut store, memory) = memory(1, 3);
        let mut heap = Heap::default();
        assert_eq!(heap.take(memory, &mut store, u32::MAX), None);
        assert_eq!(heap.take(memory, &mut store, (2 << 16) + 1), None);
        assert_eq!(heap.take(memory, &mut store, 2 << 16), Some(1 << 16));
        assert_eq!(heap.take(memory, &mut store, 1), None);
        heap.give_back(1 << 16);
        assert_eq!(heap.take(memory, &mut store, (1 << 16) + 1), Some(1 << 16));
    }

    #[test]
    fn a_guest_that_grows_in_between_keeps_its_pages() {
        let (mut store, memory) = memory(1, 20);
        let mut heap = Heap::default();
        assert_eq!(heap.take(memory, &mut store, 100), Some(1 << 16));
        memory.grow(&mut store, 1).expect("grown");
        assert_eq!(heap.take(memory, &mut store, 1 << 16), Some(3 << 16));
        // Behind which the next pages follow.
        assert_eq!(heap.take(memory, &mut store, 100), Some(4 << 16));
    }

    #[test]
    fn no_more_is_known_than_so_many_pieces() {
        let (mut store, memory) = memory(1, 200);
        let mut heap = Heap::default();
        for _ in 0..KNOWN + 1000 {
            heap.take(memory, &mut store, 8).expect("memory");
        }
        assert_eq!(heap.taken.len(), KNOWN);
    }

    proptest! {
        #[test]
        fn pieces_never_overlap(steps in prop::collection::vec((any::<bool>(), 1_u32..200_000), 1..60)) {
            let (mut store, memory) = memory(1, 400);
            let (mut heap, mut taken) = (Heap::default(), Vec::<(u32, u32)>::new());
            for (gives_back, size) in steps {
                if gives_back && !taken.is_empty() {
                    let (at, _) = taken.swap_remove(size as usize % taken.len());
                    heap.give_back(at);
                } else if let Some(at) = heap.take(memory, &mut store, size) {
                    prop_assert!(at % 8 == 0 && at >= 1 << 16);
                    prop_assert!(at as usize + size as usize <= memory.data_size(&store));
                    prop_assert!(taken.iter().all(|(other, length)| at >= other + length || at + size <= *other));
                    taken.push((at, size));
                }
            }
        }
    }
}
