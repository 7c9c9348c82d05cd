//! Which ABI a module is of, and what happens when nobody can tell.

use airlock_host::{AbiId, ErrorKind, Host, LoadOptions};

use crate::support::{answer, host, load, load_error, repository, source, text};

const EITHER: &str = r#"(module (memory (export "memory") 1)
    (func (export "f") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#;

#[test]
fn two_abis_that_fit_are_an_error_naming_both_and_a_flag_decides() {
    let error = load_error(EITHER, text());
    assert_eq!(error.to_string(), "several ABIs fit this module: `json` and `raw`");
    assert_eq!(error.hint(), Some("`--abi json` or `--abi raw` decides"));
    assert_eq!((error.code(), error.exit_code()), ("ambiguous-abi", 2));
    assert_eq!(answer(&load(&host(), EITHER, text().abi(AbiId::Raw)), "f", &["2", "3"]), "5");
    assert_eq!(load(&host(), EITHER, text().abi(AbiId::Json)).abi(), AbiId::Json);
}

#[test]
fn a_program_that_is_also_a_json_plugin_is_ambiguous() {
    let wat = r#"(module (memory (export "memory") 1) (func (export "_start"))
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;
    let error = load_error(wat, text());
    assert_eq!(*error.kind(), ErrorKind::AmbiguousAbi(vec![AbiId::Command, AbiId::Json]));
}

#[test]
fn the_real_plugins_are_known_without_being_told() {
    let host = Host::new().unwrap();
    let greet = host.load_blocking(repository("plugins/greet/greet.wasm"), LoadOptions::new()).unwrap();
    assert_eq!((greet.abi(), greet.name()), (AbiId::Command, "greet"));
    // Without its manifest the text processor is known by what it exports.
    let path = repository("plugins/text-processor/text_processor.wasm");
    let text = host.load_blocking(path, LoadOptions::new()).unwrap();
    assert_eq!(text.abi(), AbiId::Json);
    assert_eq!(
        text.abi_reason(),
        "it exports `memory` and functions `(i32, i32) -> i32` and allocates with `malloc`"
    );
}

#[test]
fn a_plugin_that_cannot_be_loaded_can_still_be_examined() {
    let wat = r#"(module (import "fledge" "send" (func (param i32 i32))) (memory (export "memory") 1))"#;
    let examined = host().examine(source(wat), &text()).unwrap();
    assert_eq!(examined.shape.imports.len(), 1);
    let ambiguous = host().examine(source(EITHER), &text()).unwrap();
    assert_eq!(ambiguous.abi.expect_err("two fit").code(), "ambiguous-abi");
}

#[test]
fn a_program_is_run_and_a_plugin_is_called() {
    let host = host();
    let greet = host.load_blocking(repository("plugins/greet/greet.wasm"), LoadOptions::new()).unwrap();
    let error = greet.call_blocking::<_, ()>("main", &()).expect_err("a program");
    assert_eq!(error.to_string(), "a plugin of the `command` ABI cannot be called");
    assert_eq!(error.hint(), Some("`airlock run PLUGIN [ARGS]` runs a program"));
    let plugin = load(&host, r#"(module (func (export "f")))"#, text());
    let error = plugin.run_blocking(airlock_host::ProgramInput::new()).expect_err("no program");
    assert_eq!((error.code(), error.exit_code()), ("wrong-verb", 2));
}

#[test]
fn cortexprisms_two_abis_are_told_by_what_runs_a_tool() {
    let tools = r#"(module (memory (export "memory") 1)
        (func (export "plugin_get_capabilities") (param i32 i32) (result i32) i32.const 0)
        (func (export "f") (param i32 i32) (result i32) i32.const 0)
        (func (export "plugin_execute_tool") (param i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#;
    assert_eq!(load(&host(), tools, text()).abi(), AbiId::Cortex);
    let capabilities = tools.replace("plugin_execute_tool", "g");
    assert_eq!(load(&host(), &capabilities, text().abi(AbiId::Json)).functions(), ["f"]);
}
