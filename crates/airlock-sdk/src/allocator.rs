//! An allocator for plugins that get fresh memory for every call (feature `allocator`).
//!
//! The allocator that comes with the standard library begins by growing the memory, and an instance
//! whose memory grew is dearer to make fresh again than all that a short call does: by tens of
//! microseconds where a call takes two. This one begins with bytes that the module has from the
//! start, and grows the memory when those are not enough. It is talc, which puts blocks that are
//! freed to use again.
//!
//! With the feature, it is the global allocator of everything that is built for `wasm32`. A crate that
//! has a global allocator of its own leaves the feature off.
//!
//! `unsafe` is in here for memory that is handed to talc: the first of it is a static that nothing else
//! names, the rest are pages that have just been added to the memory, so that nobody else has either.
#![expect(unsafe_code, reason = "the argument is above")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// Bytes that are there before the memory grows. With a stack of 64 KiB and 36 KiB of data, which is what
/// an example with `serde_json` has, a module is two pages of memory, all of which a fresh instance has to
/// have cleared.
const FIRST: usize = 28 << 10;

/// Bytes of a WebAssembly page.
const PAGE: usize = 64 << 10;

/// What talc needs of memory for itself, and more.
const OVERHEAD: usize = 64;

static mut MEMORY: [MaybeUninit<u8>; FIRST] = [const { MaybeUninit::uninit() }; FIRST];

#[global_allocator]
static ALLOCATOR: TalcSyncCell<Memory, WasmBinning> =
    TalcSyncCell::new_wasm(Memory { is_begun: false, end: None });

/// Where memory comes from.
#[derive(Debug)]
struct Memory {
    is_begun: bool,
    /// Where the last pages end that were handed over.
    end: Option<NonNull<u8>>,
}

// SAFETY: it allocates nothing itself.
unsafe impl Source for Memory {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let wanted = layout.size().saturating_add(layout.align()).saturating_add(OVERHEAD);
        if !talc.source.is_begun {
            talc.source.is_begun = true;
            // SAFETY: nothing else names it, and this is the only time.
            let first = unsafe { talc.claim((&raw mut MEMORY).cast(), FIRST) };
            if first.is_some() && wanted <= FIRST {
                return Ok(());
            }
        }
        let pages = wanted.div_ceil(PAGE);
        let before = memory_grow::<0>(pages);
        if before == usize::MAX {
            return Err(());
        }
        let base: *mut u8 = core::ptr::with_exposed_provenance_mut(before * PAGE);
        let size = pages * PAGE;
        talc.source.end = match talc.source.end.take() {
            // SAFETY: the new pages follow on the last, and are nobody else's.
            Some(end) if end.as_ptr() == base => Some(unsafe { talc.extend(end, base.wrapping_add(size)) }),
            // SAFETY: the new pages are nobody else's.
            _ => unsafe { talc.claim(base, size) },
        };
        talc.source.end.map(|_| ()).ok_or(())
    }
}
