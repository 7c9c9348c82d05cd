//! What the host provides to every core module, and whose imports the others are.

pub(super) mod cortex;
mod heap;
pub(super) mod mofa;

use airlock_core::{ErrorKind, Phase, TrapKind};
use wasmtime::{Caller, Extern, Linker, Memory};

use crate::guest;
use crate::store::CallState;
use crate::wasi;

pub(crate) use heap::{Heap, with_heap};

/// Links WASI preview 1, and AssemblyScript's `env.abort`.
pub(crate) fn link_common(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasi::link(linker)?;
    linker.func_wrap("env", "abort", abort)?;
    Ok(())
}

/// AssemblyScript's way to fail: message and file as its strings, line and column.
fn abort(
    mut caller: Caller<'_, CallState>,
    message: u32,
    file: u32,
    line: u32,
    column: u32,
) -> wasmtime::Result<()> {
    caller.data_mut().enter_host("abort")?;
    let memory = shared_memory(&mut caller);
    let read =
        |pointer: u32| -> Option<String> { guest::utf16(guest::view(&caller, memory.as_ref()?), pointer) };
    let reason = match (read(message), read(file)) {
        (Some(message), Some(file)) => format!("abort: {message} ({file}:{line}:{column})"),
        (Some(message), None) => format!("abort: {message}"),
        _ => "abort".to_owned(),
    };
    let phase: Phase = caller.data().phase;
    Err(caller.data_mut().halt(ErrorKind::Trap {
        trap: TrapKind::Aborted,
        reason,
        frames: Vec::new(),
        phase,
    }))
}

/// The memory that a guest exports, or else has from the host. A store has one instance, so that what
/// was found is remembered there: looking for an export by its name takes as long as all else that a
/// function does that reads a short text.
#[inline]
pub(crate) fn shared_memory(guest: &mut Caller<'_, CallState>) -> Option<Memory> {
    match guest.data().shared {
        Some(memory) => Some(memory),
        None => find_memory(guest),
    }
}

#[cold]
fn find_memory(guest: &mut Caller<'_, CallState>) -> Option<Memory> {
    let memory = guest.get_export("memory").and_then(Extern::into_memory).or(guest.data().provided);
    guest.data_mut().shared = memory;
    memory
}

/// The memory of a guest for what it and the host hand over.
///
/// # Errors
/// What stops a guest without one.
pub(super) fn memory_for(guest: &mut Caller<'_, CallState>) -> wasmtime::Result<Memory> {
    match shared_memory(guest) {
        Some(memory) => Ok(memory),
        None => Err(guest.data_mut().bad_guest("it has no memory to hand over bytes in".to_owned())),
    }
}

/// So many bytes of a guest's memory for what it is given. `None` when there is no more.
///
/// # Errors
/// What stops a guest without memory.
pub(super) fn take(guest: &mut Caller<'_, CallState>, size: u32) -> wasmtime::Result<Option<u32>> {
    let memory = memory_for(guest)?;
    Ok(with_heap(guest, |heap, guest| heap.take(memory, guest, size)))
}

/// Writes an answer to where the guest takes it.
///
/// # Errors
/// What stops a guest that has no memory, or no room there.
pub(super) fn put(guest: &mut Caller<'_, CallState>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let memory = memory_for(guest)?;
    match guest::write(memory.data_mut(&mut *guest), at, bytes) {
        Ok(()) => Ok(()),
        Err(outside) => Err(guest.data_mut().bad_guest(outside.reason("where it takes an answer"))),
    }
}

/// `env.host_alloc` and `env.host_free`, memory for guests that have no allocator.
pub(super) fn link_heap(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "host_alloc", |mut guest: Caller<'_, CallState>, size: i32| {
        guest.data_mut().enter_host("host_alloc")?;
        let Ok(size @ 1..) = u32::try_from(size) else { return Ok(0) };
        Ok(take(&mut guest, size)?.unwrap_or(0))
    })?;
    linker.func_wrap("env", "host_free", |mut guest: Caller<'_, CallState>, at: u32| {
        guest.data_mut().enter_host("host_free")?;
        if let Some(heap) = &mut guest.data_mut().heap {
            heap.give_back(at);
        }
        wasmtime::Result::Ok(())
    })?;
    Ok(())
}

/// The bytes that a guest hands over by a pointer and a length, and the state of its call.
///
/// # Errors
/// What stops a guest whose pointer leads out of its memory.
pub(super) fn handed_over<'a>(
    guest: &'a mut Caller<'_, CallState>,
    (at, length): (u32, u32),
) -> wasmtime::Result<(&'a [u8], &'a mut CallState)> {
    let memory = memory_for(guest)?;
    let (view, state) = memory.data_and_store_mut(&mut *guest);
    match guest::slice(view, at, length) {
        Ok(bytes) => Ok((bytes, state)),
        Err(outside) => Err(state.bad_guest(outside.reason("what it hands over"))),
    }
}

/// wasm-pack's output, and what it is made of.
const WASM_BINDGEN: &str = "wasm-bindgen's JavaScript glue; build with `cargo build --release --target wasm32-wasip1` and not with wasm-pack";

const GO_JS: &str =
    "Go's JavaScript runtime; build with `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`";

/// Imports of systems whose plugins are not run (yet), to say so when one is missing:
/// a module, the start of a name there, and whose it is.
const OWNERS: [(&str, &str, &str); 17] = [
    ("wasi_snapshot_preview1", "", "WASI preview 1, which has no such function"),
    ("wasi_unstable", "", "WASI preview 0; build the plugin for `wasm32-wasip1`"),
    ("wasix_32v1", "", "WASIX, an extension of WASI"),
    ("wasi", "thread-spawn", "WASI threads"),
    ("fledge", "", "the fledge plugin ABI, which has no such function"),
    ("extism:host/env", "", "the Extism plugin ABI"),
    ("extism:host/user", "", "host functions of an Extism application"),
    ("env", "host_http_request", "the CortexPrism or MoFA plugin ABI; it needs the capability `net`"),
    ("env", "host_", "the CortexPrism or MoFA plugin ABI"),
    ("env", "log", "an older CortexPrism plugin ABI or a host function of MoFA's page"),
    ("env", "http_request", "an older CortexPrism plugin ABI; it needs the capability `net`"),
    ("env", "emscripten_", "Emscripten's JavaScript runtime; build with `-sSTANDALONE_WASM`"),
    ("wbg", "", WASM_BINDGEN),
    ("__wbindgen_placeholder__", "", WASM_BINDGEN),
    ("__wbindgen_externref_xform__", "", WASM_BINDGEN),
    ("gojs", "", GO_JS),
    ("go", "", GO_JS),
];

/// Whose import it is, when known.
pub(crate) fn owner_of(module: &str, name: &str) -> Option<String> {
    if let Some((_, _, owner)) = OWNERS.iter().find(|(of, start, _)| *of == module && name.starts_with(start))
    {
        return Some((*owner).to_owned());
    }
    // For a bundler, wasm-pack has the module import a script of the same name.
    if module.ends_with("_bg.js") {
        return Some(WASM_BINDGEN.to_owned());
    }
    // Component interfaces are named `namespace:package/interface`.
    (module.contains(':') && module.contains('/'))
        .then(|| "a component interface; build a core module instead".to_owned())
}

#[cfg(test)]
mod tests {
    use super::owner_of;

    #[test]
    fn imports_of_other_systems_are_named() {
        let owner = owner_of("fledge", "sned");
        assert_eq!(owner.as_deref(), Some("the fledge plugin ABI, which has no such function"));
        assert_eq!(
            owner_of("env", "host_http_request").as_deref(),
            Some("the CortexPrism or MoFA plugin ABI; it needs the capability `net`")
        );
        assert_eq!(owner_of("env", "something"), None);
        assert!(owner_of("wasi:cli/run@0.2.0", "run").is_some_and(|owner| owner.contains("component")));
    }
}
