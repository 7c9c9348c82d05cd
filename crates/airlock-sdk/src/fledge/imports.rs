//! The host as the functions that a WebAssembly module imports from `fledge`.
//!
//! This is the only place where the crate hands out addresses, so it is the only one with
//! `unsafe`:
//!
//! - Each function that takes an address has one caller below, which takes it and the length
//!   from one slice that lives until the function returns. `send` gets a shared slice and the
//!   host only reads it; `recv` gets an exclusive one of initialised bytes, and the host
//!   writes no more than its length. Neither keeps the address.
//! - The host is outside of this memory and reaches it only through these addresses: no
//!   message makes it write anywhere else.
//! - The signatures are the protocol's, in wasm32's types: `(i32, i32)`, `(i32, i32) -> i32`
//!   and `(i32)`. A host whose functions have others does not instantiate the module.
#![expect(unsafe_code, reason = "the argument is above; every other file denies it")]

use std::io;

use super::Transport;

#[link(wasm_import_module = "fledge")]
unsafe extern "C" {
    fn send(pointer: *const u8, length: usize);
    fn recv(pointer: *mut u8, length: usize) -> i32;
    safe fn exit(code: i32) -> !;
}

/// The host that runs this plugin: the functions it gives the module.
#[derive(Debug)]
pub struct Host(());

impl Host {
    pub(super) fn new() -> Self {
        Host(())
    }

    pub(super) fn exit(&self, code: i32) -> ! {
        exit(code)
    }
}

impl Transport for Host {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        // SAFETY: the host reads `message` and nothing else; see the top.
        unsafe { send(message.as_ptr(), message.len()) };
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the host writes into `buffer` and nowhere else; see the top.
        let written = unsafe { recv(buffer.as_mut_ptr(), buffer.len()) };
        // The protocol knows no negative number here.
        Ok(usize::try_from(written).unwrap_or(0))
    }
}
