//! Each kind of bad input has its own message and exit code.

use insta::assert_snapshot;

use crate::support::{GREET, REVERSE, TEXT, file, show};

#[test]
fn missing_file_and_folder_without_manifest() {
    assert_snapshot!(show(&["call", "nowhere.wasm", "f"]), @r"
    exit 127
    --- stderr
    error: no plugin at `nowhere.wasm`
      caused by: No such file or directory (os error 2)
    ");
    assert_snapshot!(show(&["call", "plugins", "f"]), @r"
    exit 127
    --- stderr
    error: no manifest in `plugins` (looked for `cortex.json`, `manifest.json`, `plugin.toml`)
    hint: name the `.wasm` file itself to run it without a manifest
    ");
}

#[test]
fn wrong_json_with_line_and_column() {
    assert_snapshot!(show(&["call", TEXT, "transform", "{\"text\": \n oops}"]), @r"
    exit 2
    --- stderr
    error: input is not valid JSON: expected value (line 2, column 2)
    ");
}

#[test]
fn unknown_function_and_wrong_arguments() {
    assert_snapshot!(show(&["call", TEXT, "transfrom", REVERSE]), @r"
    exit 127
    --- stderr
    error: `text-processor` has no function `transfrom`
    hint: did you mean `transform`?
    ");
    let (_folder, path) =
        file("add.wat", br#"(module (func (export "add") (param i32 i32) (result i32) local.get 0))"#);
    assert_snapshot!(show(&["call", &path, "add", "1"]), @r"
    exit 2
    --- stderr
    error: `add` is (i32, i32) -> (i32), but 1 argument was given
    ");
    assert_snapshot!(show(&["call", &path, "add", "1", "x"]), @r"
    exit 2
    --- stderr
    error: `x` is not an i32
    ");
}

#[test]
fn two_abis_that_fit() {
    let wat = br#"(module (memory (export "memory") 1) (func (export "f") (param i32 i32) (result i32) local.get 0))"#;
    let (_folder, path) = file("either.wat", wat);
    assert_snapshot!(show(&["call", &path, "f", "1", "2"]), @r"
    exit 2
    --- stderr
    error: several ABIs fit this module: `json` and `raw`
    hint: `--abi json` or `--abi raw` decides
    ");
    assert_snapshot!(show(&["call", "--abi", "raw", &path, "f", "1", "2"]), @r"
    exit 0
    --- stdout
    1
    ");
}

#[test]
fn not_wasm_truncated_text_and_component() {
    let refuse = |bytes: &[u8]| {
        let (_folder, path) = file("x.wasm", bytes);
        show(&["call", &path, "f"])
    };
    assert_snapshot!(refuse(b"\x7fELF\x02\x01"), @r"
    exit 125
    --- stderr
    error: not WebAssembly: it looks like a native program or library (ELF)
    ");
    assert_snapshot!(refuse(b"\0asm\x01\0\0\0\x01\x05"), @r"
    exit 125
    --- stderr
    error: not a valid module: unexpected end-of-file (at byte 10)
    ");
    assert_snapshot!(refuse(b"(module)"), @r"
    exit 2
    --- stderr
    error: this is WebAssembly text, which was not asked for
    hint: `--wat` accepts WebAssembly text, as the ending `.wat` does
    ");
    assert_snapshot!(refuse(b"\0asm\x0d\0\x01\0"), @r"
    exit 125
    --- stderr
    error: this is a component, and of a kind that this version of Airlock does not run
    hint: it exports neither a function nor `wasi:cli/run@0.2`
    ");
}

#[test]
fn unknown_import_and_feature_that_is_off() {
    let refuse = |wat: &str| {
        let (_folder, path) = file("x.wat", wat.as_bytes());
        show(&["call", &path, "f"])
    };
    assert_snapshot!(refuse(r#"(module (import "extism:host/env" "input_length" (func (result i64))) (func (export "f")))"#), @r"
    exit 125
    --- stderr
    error: nobody provides the import `extism:host/env.input_length`: it belongs to the Extism plugin ABI
    ");
    assert_snapshot!(refuse(r#"(module (memory 1) (memory 1) (func (export "f")))"#), @r"
    exit 125
    --- stderr
    error: the module uses `multi-memory`, which is off
    hint: `--wasm-feature multi-memory` allows it
    ");
}

#[test]
fn limits_that_are_hit() {
    let (_folder, spin) = file("spin.wat", br#"(module (func (export "f") (loop (br 0))))"#);
    assert_snapshot!(show(&["call", "--timeout", "50ms", &spin, "f"]), @r"
    exit 124
    --- stderr
    error: stopped while running: the deadline of 50ms passed
    hint: `--timeout VALUE` allows more time
    ");
    assert_snapshot!(show(&["call", "--fuel", "1000", &spin, "f"]), @r"
    exit 123
    --- stderr
    error: limit `fuel` of 1000 hit while running
    hint: `--fuel VALUE` changes it
    ");
    assert_snapshot!(show(&["run", "--artifact-size", "1KiB", GREET]), @r"
    exit 123
    --- stderr
    error: limit `artifact_size` of 1.0 KiB hit while checking the artifact
    hint: `--artifact-size VALUE` changes it
    ");
    assert_snapshot!(show(&["call", "--memory", "lots", &spin, "f"]), @r"
    exit 2
    --- stderr
    error: `memory`: `lots` is no size such as `64MiB`
    ");
}

#[test]
fn capabilities_that_do_not_exist() {
    assert_snapshot!(show(&["run", "--allow", "clok", GREET]), @r"
    exit 2
    --- stderr
    error: unknown capability `clok`
    hint: did you mean `clock` or `log`?
    ");
}

#[test]
fn a_program_is_not_called_and_a_plugin_not_run() {
    assert_snapshot!(show(&["call", GREET, "main"]), @r"
    exit 2
    --- stderr
    error: a plugin of the `command` ABI cannot be called
    hint: `airlock run PLUGIN [ARGS]` runs a program
    ");
    assert_snapshot!(show(&["run", TEXT]), @r"
    exit 2
    --- stderr
    error: a plugin of the `json` ABI cannot be run as a program
    hint: `airlock call PLUGIN FUNCTION [INPUT]` calls a function
    ");
}

#[test]
fn a_manifest_that_is_wrong() {
    let (folder, _path) = file("manifest.json", b"{\n  \"name\": \"a\",\n  \"entryPoint\": 7\n}");
    assert_snapshot!(show(&["call", folder.path().to_str().unwrap(), "f"]), @r"
    exit 125
    --- stderr
    error: manifest `manifest.json` is not valid: invalid type: integer `7`, expected a string (line 3, column 17)
    ");
}

#[test]
fn a_trap_names_functions() {
    let (_folder, path) =
        file("t.wat", br#"(module (func $inner unreachable) (func $outer (export "f") call $inner))"#);
    assert_snapshot!(show(&["call", &path, "f"]), @r"
    exit 122
    --- stderr
    error: the plugin trapped while running: unreachable
      at inner
      at outer
    ");
}
