//! Making a component of a module that is to be one.
//!
//! Bindings that are generated from WIT leave what they were generated from in the module, in a section
//! of its own, whatever language they are for. What was written without such has its WIT in the folder
//! `wit`. With either the module is wrapped as its world has it, so that an author needs no other tool.

use std::path::Path;

use airlock_host::{Error, ErrorKind, componentised};
use wasmparser::{Parser, Payload};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::tool::Workshop;

/// Where a plugin's WIT is.
const FOLDER: &str = "wit";

/// The component of a module that is to be one; anything else as it is.
///
/// # Errors
/// [`ErrorKind::NotBuilt`] where the module is not what its WIT says.
pub(super) fn of(shop: &mut Workshop<'_>, wasm: Vec<u8>) -> Result<Vec<u8>, Error> {
    let made = match encode(&wasm)? {
        Some(component) => component,
        None => {
            let wit = shop.folder().join(FOLDER);
            if !is_lowered(&wasm) || !wit.is_dir() {
                return Ok(wasm);
            }
            let module = with_wit(wasm, &wit)?;
            encode(&module)?.unwrap_or(module)
        }
    };
    shop.used("airlock", env!("CARGO_PKG_VERSION"));
    Ok(made)
}

/// The module with what the WIT of a folder says, whose one world it is of.
fn with_wit(mut wasm: Vec<u8>, folder: &Path) -> Result<Vec<u8>, Error> {
    let mut resolve = Resolve::default();
    let world = resolve.push_dir(folder).and_then(|(package, _)| resolve.select_world(&[package], None));
    let embedded = world.and_then(|world| {
        embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8)?;
        Ok(wasm)
    });
    embedded.map_err(|error| {
        let error = Error::new(ErrorKind::NotBuilt(format!("its WIT cannot be read: {error:#}")));
        error.with_hint("the folder `wit` has a package with one world")
    })
}

/// The component of a module that says its world.
fn encode(wasm: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    componentised(wasm).map_err(|error| {
        let reason = format!("what was built is not what its WIT says: {error}");
        Error::new(ErrorKind::NotBuilt(reason))
    })
}

/// Whether a module has functions as the canonical ABI lowers those of WIT. No component has.
fn is_lowered(wasm: &[u8]) -> bool {
    if !Parser::is_core_wasm(wasm) {
        return false;
    }
    let payloads = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let exports = payloads.filter_map(|payload| match payload {
        Payload::ExportSection(exports) => Some(exports),
        _ => None,
    });
    let mut names = exports.flatten().filter_map(Result::ok).map(|export| export.name);
    names.any(|name| name == "cabi_realloc" || name.contains('#'))
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::{encode, is_lowered, with_wit};

    /// A module that says it is of the world `greeter`.
    fn of_world(wat: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "package a:b; world greeter { export greet: func(of: u32) -> u32; }";
        std::fs::write(folder.path().join("greeter.wit"), text).expect("written");
        with_wit(wat::parse_str(wat).expect("it is a module"), folder.path()).expect("it is put in")
    }

    const GREETS: &str = r#"(func (export "greet") (param i32) (result i32) (local.get 0))"#;

    #[test]
    fn a_module_that_knows_its_wit_becomes_a_component() {
        let module = of_world(&format!("(module {GREETS})"));
        let component = encode(&module).expect("it is encoded").expect("it says its world");
        assert!(Parser::is_component(&component));
        // What is one already stays as it is, and so does a module of another kind.
        let plain = wat::parse_str(format!("(module {GREETS})")).expect("it is a module");
        for wasm in [component, plain] {
            assert_eq!((encode(&wasm).expect("it is left"), is_lowered(&wasm)), (None, false));
        }
        let lowered = wat::parse_str(format!("(module {})", GREETS.replace("greet", "a:b/c#greet")))
            .expect("it is a module");
        assert!(is_lowered(&lowered));
    }

    #[test]
    fn what_is_written_for_preview_1_gets_what_stands_between() {
        let import = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;
        let module = of_world(&format!(r#"(module {import} {GREETS} (memory (export "memory") 1))"#));
        assert!(Parser::is_component(&encode(&module).expect("it is encoded").expect("a world")));
    }

    #[test]
    fn a_module_that_is_not_what_its_wit_says_is_refused() {
        let error = encode(&of_world("(module)")).expect_err("it exports nothing");
        assert_eq!(error.code(), "not-built");
        assert!(error.to_string().contains("greet"), "{error}");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.wit"), "package a:b;").expect("written");
        let error =
            with_wit(wat::parse_str("(module)").expect("a module"), folder.path()).expect_err("no world");
        assert_eq!(
            (error.code(), error.hint()),
            ("not-built", Some("the folder `wit` has a package with one world"))
        );
    }
}
