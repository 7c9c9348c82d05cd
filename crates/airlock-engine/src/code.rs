//! Turning the compiler's output back into a module: the only `unsafe` of the project.
//!
//! `Module::deserialize` trusts its bytes: they hold native code and the tables that
//! describe it, and wasmtime checks only that they were made for the same engine
//! configuration and version. So they must come from wasmtime's own compiler and from
//! nowhere else. [`CompiledCode`] carries that fact in its type: its bytes are private,
//! it can be made only here, by [`Engine::precompile_module`], and they are never
//! written to or read from anything outside this process.
#![expect(unsafe_code, reason = "the argument is above; every other file denies it")]

use airlock_core::{Error, ErrorKind, Result};
use wasmtime::{Engine, Module};

/// Code that wasmtime's compiler made in this process.
pub(crate) struct CompiledCode(Vec<u8>);

impl CompiledCode {
    /// Compiles an admitted module.
    pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self> {
        engine
            .precompile_module(wasm)
            .map(CompiledCode)
            .map_err(|error| Error::new(ErrorKind::InvalidWasm { offset: 0, reason: format!("{error:#}") }))
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Loads it into `engine`, which may differ from the one that compiled it only in
    /// how it allocates instances.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Module> {
        // SAFETY: `self.0` was returned by `precompile_module` in this process and has
        // not been changed since (private, no `&mut` access). An engine whose
        // configuration differs in anything that matters to the code is refused by
        // wasmtime's own check of the header.
        unsafe { Module::deserialize(engine, &self.0) }
    }
}
