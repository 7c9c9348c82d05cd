//! Components out of modules that were made to be one.
//!
//! What builds a component in two steps (`cargo build --target wasm32-wasip1` with wit-bindgen's
//! macros, a C compiler with its generated code) leaves a module after the first: its imports and
//! exports are a component's in their core form, and custom sections named `component-type…` say the
//! world that it is for. The second step is done here, as `wasm-tools component new` does it, with
//! the adapter of wasmtime's release between the module's preview 1 and the component's preview 2.

use std::panic::{AssertUnwindSafe, catch_unwind};

use airlock_core::{Error, ErrorKind, Result};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// How the names of the sections begin that say a module's world.
const WORLD: &str = "component-type";

/// Bytes that those sections may have together. That of a world with all of WASI has some 30 KB.
const WORLD_BYTES: usize = 512 << 10;

/// The component that a module is made to be; none for a component, and for a module of no world.
///
/// The same bytes give the same component, until Airlock takes another version of the adapter.
///
/// # Errors
/// [`ErrorKind::InvalidWorld`] for a module that is not of the world that it says.
pub fn componentised(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(found) = Found::of(bytes) else { return Ok(None) };
    if found.world > WORLD_BYTES {
        return Err(invalid(format!("what says its world has more than {} KiB", WORLD_BYTES >> 10)));
    }
    // Its input is a guest's, and its checks are partly assertions.
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        let encoder = ComponentEncoder::default().validate(false).module(bytes)?;
        let mut encoder = match (found.preview1, found.is_command) {
            (false, _) => encoder,
            (true, true) => encoder.adapter(PREVIEW1, COMMAND)?,
            (true, false) => encoder.adapter(PREVIEW1, REACTOR)?,
        };
        encoder.encode()
    }));
    match encoded {
        Ok(Ok(component)) => Ok(Some(component)),
        Ok(Err(error)) => Err(invalid(format!("{error:#}"))),
        Err(_) => Err(invalid("it does not fit together".to_owned())),
    }
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidWorld(reason))
        .with_hint("its sections `component-type…` say that a component is to be made of it")
}

/// What a module of a world has.
struct Found {
    /// Bytes that say the world.
    world: usize,
    /// Whether it imports preview 1.
    preview1: bool,
    /// Whether it is run by a `_start`.
    is_command: bool,
}

impl Found {
    /// Of a module that says its world. One that cannot be read says none: admission tells why.
    fn of(bytes: &[u8]) -> Option<Found> {
        // Most modules are of none, and are not read for this.
        if !Parser::is_core_wasm(bytes) || memchr::memmem::find(bytes, WORLD.as_bytes()).is_none() {
            return None;
        }
        let mut found = Found { world: 0, preview1: false, is_command: false };
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.ok()? {
                Payload::CustomSection(section) if section.name().starts_with(WORLD) => {
                    found.world += section.data().len();
                }
                Payload::ImportSection(imports) => {
                    let modules = imports.into_imports().map_while(|import| import.ok());
                    found.preview1 |= modules.into_iter().any(|import| import.module == PREVIEW1);
                }
                Payload::ExportSection(exports) => {
                    let mut names = exports.into_iter().map_while(|export| export.ok());
                    found.is_command |= names.any(|export| export.name == "_start");
                }
                _ => {}
            }
        }
        (found.world > 0).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::{Digest, Limits};

    use super::{WORLD_BYTES, componentised};
    use crate::Artifact;

    /// A plugin as it is built for `wasm32-wasip1`, and the component of it.
    const MODULE: &[u8] = include_bytes!("../../../plugins/prx-email/prx_email_plugin.wasm");
    const COMPONENT: &[u8] = include_bytes!("../../../plugins/prx-email/plugin.wasm");

    #[test]
    fn a_module_of_a_world_is_made_a_component() {
        assert_eq!(componentised(MODULE).expect("made").as_deref(), Some(COMPONENT));
        let artifact = Artifact::new(MODULE.to_vec(), false, &Limits::default()).expect("made");
        assert_eq!((artifact.bytes(), artifact.digest()), (COMPONENT, Digest::of(MODULE)));
    }

    #[test]
    fn what_is_of_no_world_is_left_as_it_is() {
        assert_eq!(componentised(COMPONENT).expect("left"), None);
        let module = wat::parse_str("(module (func (export \"component-type\")))").expect("valid");
        assert_eq!(componentised(&module).expect("left"), None);
    }

    /// A module with a custom section.
    fn with_section(name: &str, data: &[u8]) -> Vec<u8> {
        let leb = |mut value: usize| {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let content = [leb(name.len()), name.as_bytes().to_vec(), data.to_vec()].concat();
        [b"\0asm\x01\0\0\0\0".to_vec(), leb(content.len()), content].concat()
    }

    #[test]
    fn a_world_that_is_none_is_refused() {
        let reason = |bytes: &[u8]| componentised(bytes).expect_err("refused").to_string();
        let broken = reason(&with_section("component-type:x", b"none"));
        assert!(broken.starts_with("no component can be made of the module: "), "{broken}");
        let large = reason(&with_section("component-type", &vec![0; WORLD_BYTES + 1]));
        assert_eq!(
            large,
            "no component can be made of the module: what says its world has more than 512 KiB"
        );
        // Cut anywhere, it is an error or no such module, and never a panic.
        for end in (0..MODULE.len()).step_by(997) {
            let _ = componentised(&MODULE[..end]);
        }
    }
}
