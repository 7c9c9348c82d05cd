//! What the module exports beside its capabilities, and how a call of one goes.
//!
//! A host puts the input into memory that it gets from `cortex_alloc`, calls the capability,
//! and reads the answer: as many bytes as `cortex_result_len` says, or up to the NUL byte
//! behind them. What happens to memory:
//!
//! - A block of `cortex_alloc` is the host's until it calls a capability with its address or
//!   gives it to `cortex_free`. A capability frees it as soon as the input is read.
//! - An answer stays where it is until the next call of a capability, which frees it, or until
//!   `cortex_free`.
//! - Input at any other address, from another allocator or in pages that the host added, is
//!   only read.
//!
//! `unsafe` is in here for two things. Blocks are allocated and freed with one layout, that of
//! their size, which is kept with their address; only what is in the list is freed, and it is
//! taken out of it first. And input is where the host says: it has written so many bytes there
//! (wasm traps where that is outside of memory), and nobody else writes while it is read,
//! since the host waits and there is one thread.
#![expect(unsafe_code, reason = "the argument is above; every other file but the imports denies it")]

use std::alloc::{self, Layout};
use std::panic::{self, PanicHookInfo};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CapabilityContext;
use super::imports::Host;

/// Of what `cortex_alloc` gives: enough for any value of wasm but vectors.
const ALIGNMENT: usize = 8;

/// Blocks that are the host's.
static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// The last answer, with a NUL byte at its end.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Where the message of a panic is and how many bytes it has. The export is the address of
/// this, for hosts that look what a trap was.
#[unsafe(export_name = "cortex_panic")]
static PANIC: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that was given to the host.
#[derive(Debug)]
struct Block {
    address: usize,
    layout: Layout,
}

impl Block {
    fn new(size: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size.max(1), ALIGNMENT).ok()?;
        // SAFETY: the size is not 0.
        let pointer = unsafe { alloc::alloc(layout) };
        (!pointer.is_null()).then(|| Block { address: pointer.expose_provenance(), layout })
    }

    /// The one that begins at this address, which is the host's no more.
    fn take(address: usize) -> Option<Self> {
        let mut blocks = lock(&BLOCKS);
        let at = blocks.iter().position(|block| block.address == address)?;
        Some(blocks.swap_remove(at))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and there is one `Block` of it.
        unsafe { alloc::dealloc(std::ptr::with_exposed_provenance_mut(self.address), self.layout) }
    }
}

/// Gives the host `size` bytes; 0 when there are not so many.
#[unsafe(export_name = "cortex_alloc")]
extern "C" fn allocate(size: usize) -> usize {
    let Some(block) = Block::new(size) else { return 0 };
    let address = block.address;
    lock(&BLOCKS).push(block);
    address
}

/// Takes back what `cortex_alloc` gave, or an answer. The size is there for hosts that
/// have one to give.
#[unsafe(export_name = "cortex_free")]
extern "C" fn free(address: usize, _size: usize) {
    let mut answer = lock(&ANSWER);
    match !answer.is_empty() && answer.as_ptr().addr() == address {
        true => *answer = Vec::new(),
        false => drop(Block::take(address)),
    }
}

/// How many bytes of JSON the last answer has.
#[unsafe(export_name = "cortex_result_len")]
extern "C" fn result_len() -> usize {
    lock(&ANSWER).len().saturating_sub(1)
}

/// The input of a call.
#[derive(Debug)]
pub struct Input {
    pointer: *const u8,
    length: usize,
    /// What it is in, when that is ours to free.
    _block: Option<Block>,
}

impl AsRef<[u8]> for Input {
    fn as_ref(&self) -> &[u8] {
        if self.pointer.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: it is what the host wrote, and nobody changes it now; see the top.
        unsafe { slice::from_raw_parts(self.pointer, self.length) }
    }
}

/// A call of a capability: where the answer is that `answer` makes of the input.
pub fn export(
    pointer: *const u8,
    length: usize,
    answer: fn(Input, CapabilityContext) -> Vec<u8>,
) -> *const u8 {
    tell_of_panics();
    *lock(&ANSWER) = Vec::new();
    let input = Input { pointer, length, _block: Block::take(pointer.addr()) };
    let mut json = answer(input, CapabilityContext::new(Host));
    json.push(0);
    let mut kept = lock(&ANSWER);
    *kept = json;
    kept.as_ptr()
}

/// Has panics leave their message where the host can read it. What else is done about panics
/// is still done: with WASI the standard library prints them.
fn tell_of_panics() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        leave(info);
        before(info);
    }));
}

/// Not within the hook, which the compiler makes two functions of.
#[inline(never)]
fn leave(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("a panic without a text");
    let text = match info.location() {
        Some(place) => format!("{what} ({place})"),
        None => what.to_owned(),
    };
    // The instance ends with this, so nobody frees it.
    let text = text.leak();
    PANIC[0].store(text.as_ptr().expose_provenance(), Ordering::Relaxed);
    PANIC[1].store(text.len(), Ordering::Relaxed);
}
