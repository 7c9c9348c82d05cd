//! Memory of a guest's for what the host hands it: from the first allocator it exports, or new pages.

use airlock_core::{Allocator, Error, ErrorKind, LimitKind, ValueType};
use airlock_engine::Shape;
use wasmtime::{Caller, Extern, Memory};

use super::{Failure, bad};
use crate::func::{Params, Results};
use crate::guest;
use crate::store::{CallState, Live};

/// Bytes of a WebAssembly page.
const PAGE: u64 = 64 << 10;

/// AssemblyScript's class id of an `ArrayBuffer`.
const ARRAY_BUFFER: u32 = 1;

/// Alignment asked of allocators that take one: enough for any value of wasm.
const ALIGNMENT: u32 = 8;

/// How input is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocate {
    /// `f(size)`.
    Size(&'static str),
    /// `f(size, x)` with a second argument that this allocator wants.
    SizeAnd(&'static str, u32),
    /// `cabi_realloc(0, 0, align, size)`.
    Realloc(&'static str),
    /// No allocator: the memory grows and the input goes to the new pages.
    Grow,
}

/// Allocators in the order they are tried: name, and the second argument when it has one.
const KNOWN: [(&str, Option<u32>); 8] = [
    ("cortex_alloc", None),
    ("alloc", None),
    ("allocate", None),
    ("malloc", None),
    ("__alloc", None),
    ("__new", Some(ARRAY_BUFFER)),
    ("__wbindgen_malloc", Some(1)),
    ("__wbindgen_export_0", Some(1)),
];

/// The allocator a module exports; `wanted` moves `malloc` to the front.
pub(crate) fn allocator_of(shape: &Shape, wanted: Option<Allocator>) -> Option<Allocate> {
    let one = |&(name, second): &(&'static str, Option<u32>)| {
        let ty = shape.function(name)?;
        let i32s = |count: usize| vec![ValueType::I32; count];
        if ty.is(&i32s(1), &[ValueType::I32]) {
            return Some(Allocate::Size(name));
        }
        if ty.is(&i32s(2), &[ValueType::I32]) {
            return Some(Allocate::SizeAnd(name, second.unwrap_or(ALIGNMENT)));
        }
        None
    };
    let realloc = || {
        let ty = shape.function("cabi_realloc")?;
        ty.is(&[ValueType::I32; 4], &[ValueType::I32]).then_some(Allocate::Realloc("cabi_realloc"))
    };
    let libc = || one(&("malloc", None));
    let first = if wanted == Some(Allocator::Wasi) { libc() } else { None };
    // cabi_realloc comes before wasm-bindgen's, which only its own glue calls.
    first
        .or_else(|| KNOWN[..6].iter().find_map(one))
        .or_else(realloc)
        .or_else(|| KNOWN[6..].iter().find_map(one))
}

impl Allocate {
    /// The export's name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Allocate::Size(name) | Allocate::SizeAnd(name, _) | Allocate::Realloc(name) => name,
            Allocate::Grow => "memory.grow",
        }
    }

    /// Puts `bytes` and one NUL into the guest's memory and returns where. The NUL is for
    /// guests that look for the end; the length they are given does not count it.
    pub(crate) async fn input(self, live: &mut Live, memory: Memory, bytes: &[u8]) -> Result<u32, Failure> {
        let size = u32::try_from(bytes.len() + 1).unwrap_or(u32::MAX);
        let pointer = match self {
            Allocate::Grow => grow(live, memory, size)?,
            other => other.ask(live, size).await?,
        };
        self.refuse_null(pointer, size, " of input")?;
        // Checked as a whole before anything is written.
        guest::write_terminated(&mut live.store, memory, pointer, bytes)
            .map_err(|outside| outside.error(self.name(), "the input buffer"))?;
        Ok(pointer)
    }

    /// `size` bytes of the guest's memory, for it to free.
    pub(crate) async fn take(self, live: &mut Live, memory: Memory, size: u32) -> Result<u32, Failure> {
        let pointer = self.ask(live, size).await?;
        self.checked(memory.data(&live.store), pointer, size)
    }

    /// The same for a guest that has called the host, and is on a fiber.
    pub(crate) async fn take_for(
        self,
        guest: &mut Caller<'_, CallState>,
        memory: Memory,
        size: u32,
    ) -> Result<u32, Failure> {
        let pointer = match self {
            Allocate::Size(name) => call_back::<u32, u32>(guest, name, size).await,
            Allocate::SizeAnd(name, second) => {
                call_back::<(u32, u32), u32>(guest, name, (size, second)).await
            }
            Allocate::Realloc(name) => {
                call_back::<(u32, u32, u32, u32), u32>(guest, name, (0, 0, ALIGNMENT, size)).await
            }
            Allocate::Grow => None,
        };
        self.checked(memory.data(&*guest), pointer.ok_or_else(|| self.gone())??, size)
    }

    async fn ask(self, live: &mut Live, size: u32) -> Result<u32, Failure> {
        let gone = || self.gone();
        Ok(match self {
            Allocate::Size(name) => live.invoke::<u32, u32>(name, size).await.ok_or_else(gone)??,
            Allocate::SizeAnd(name, second) => {
                live.invoke::<(u32, u32), u32>(name, (size, second)).await.ok_or_else(gone)??
            }
            Allocate::Realloc(name) => {
                let whole = (0, 0, ALIGNMENT, size);
                live.invoke::<(u32, u32, u32, u32), u32>(name, whole).await.ok_or_else(gone)??
            }
            Allocate::Grow => return Err(gone()),
        })
    }

    fn refuse_null(self, pointer: u32, size: u32, of: &str) -> Result<(), Failure> {
        match pointer {
            0 => Err(bad(self.name(), format!("it gave no memory for {size} bytes{of}")).into()),
            _ => Ok(()),
        }
    }

    fn checked(self, memory: &[u8], pointer: u32, size: u32) -> Result<u32, Failure> {
        self.refuse_null(pointer, size, "")?;
        let inside = guest::slice(memory, pointer, size);
        inside.map_err(|outside| outside.error(self.name(), "what it gave"))?;
        Ok(pointer)
    }

    #[cold]
    fn gone(self) -> Failure {
        Failure::from(Error::new(ErrorKind::UnsuitableExport {
            export: self.name().to_owned(),
            reason: "it is not the allocator it was".to_owned(),
        }))
    }
}

/// Calls an export of a guest that has called the host. `None` when there is none of that type.
async fn call_back<P: Params, R: Results>(
    guest: &mut Caller<'_, CallState>,
    name: &str,
    params: P,
) -> Option<wasmtime::Result<R>> {
    let func = guest.get_export(name).and_then(Extern::into_func)?.typed::<P, R>(&*guest).ok()?;
    Some(func.call_async(guest, params).await)
}

/// Grows the memory and returns where it ended before.
fn grow(live: &mut Live, memory: Memory, size: u32) -> Result<u32, Failure> {
    let old_pages = memory.grow(&mut live.store, u64::from(size).div_ceil(PAGE))?;
    u32::try_from(old_pages * PAGE).map_err(|_| {
        let maximum = u64::from(u32::MAX);
        Failure::Wasm(live.store.data_mut().halt_at_limit(LimitKind::Memory, maximum, None))
    })
}
