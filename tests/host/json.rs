//! The documented CortexPrism capability ABI.

use airlock_host::{AbiId, Host, LoadOptions};
use serde::Deserialize;
use serde_json::json;

use crate::support::{answer, error, host, limits, load, load_error, repository, text};

#[derive(Debug, Deserialize, PartialEq)]
struct Transformed {
    result: String,
    length: usize,
    hash: u64,
}

/// CortexPrism's hash: `acc * 31 + byte`, modulo 2^64.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

#[test]
fn text_processor_transforms_in_every_documented_mode() {
    let host = Host::new().unwrap();
    let plugin = host.load_blocking(repository("plugins/text-processor"), LoadOptions::new()).unwrap();
    assert_eq!(plugin.abi(), AbiId::Json);
    assert_eq!(plugin.functions(), ["transform"]);
    for (mode, given, expected) in [
        ("reverse", "hello world", "dlrow olleh"),
        ("reverse", "añb", "bña"),
        ("uppercase", "straße", "STRASSE"),
        ("lowercase", "ÀB", "àb"),
        ("rot13", "Hello, z!", "Uryyb, m!"),
        ("sideways", "as it was", "as it was"),
        ("reverse", "", ""),
    ] {
        let input = json!({ "text": given, "mode": mode });
        let outcome = plugin.call_blocking::<_, Transformed>("transform", &input).unwrap();
        let expected =
            Transformed { result: expected.to_owned(), length: expected.len(), hash: hash(expected) };
        assert_eq!(outcome.value, expected, "{mode} {given}");
    }
}

#[test]
fn integers_above_two_to_the_53_stay_exact() {
    let host = host();
    let plugin = host.load_blocking(repository("plugins/text-processor"), LoadOptions::new()).unwrap();
    let long = "z".repeat(40);
    let input = json!({ "text": long, "mode": "none" }).to_string();
    let expected = hash(&long);
    assert!(expected > 1 << 53);
    assert!(answer(&plugin, "transform", &[&input]).ends_with(&format!("\"hash\":{expected}}}")));
}

#[test]
fn a_hundred_kibibytes_go_in_and_come_out_within_fifty_pages() {
    let plugin = host().load_blocking(repository("plugins/text-processor"), LoadOptions::new()).unwrap();
    // 50 pages hold the input, the parsed text, the result and its JSON.
    let long = "ab".repeat(50 << 10);
    let outcome = plugin
        .call_blocking::<_, Transformed>("transform", &json!({ "text": long, "mode": "uppercase" }))
        .unwrap();
    assert_eq!(outcome.value.result, "AB".repeat(50 << 10));
    // Tables count in the usage, and beside the manifest's pages.
    assert!(outcome.usage.memory_bytes < 51 << 16, "{}", outcome.usage.memory_bytes);
}

/// A plugin that answers with the text `answer` and whatever `exports` adds.
fn answering(answer: &str, exports: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 1024) "{answer}")
            (func (export "alloc") (param i32) (result i32) i32.const 4096) {exports}
            (func (export "f") (param i32 i32) (result i32) i32.const 1024))"#
    )
}

#[test]
fn results_are_found_however_they_are_ended() {
    let of = |answer_text: &str, exports: &str| {
        answer(&load(&host(), &answering(answer_text, exports), text()), "f", &["1"])
    };
    assert_eq!(of(r#"{\22a\22:1}"#, ""), r#"{"a":1}"#);
    assert_eq!(of(r#"{\22a\22:1}trailing"#, ""), r#"{"a":1}"#);
    assert_eq!(of(r"\02\00\00\0042xx", ""), "42");
    assert_eq!(of("PLAIN TEXT", ""), "\"PLAIN TEXT\"");
    assert_eq!(of("[1,2,3]", r#"(func (export "f_len") (result i32) i32.const 7)"#), "[1,2,3]");
    assert_eq!(of("12345", r#"(func (export "result_len") (result i32) i32.const 2)"#), "12");
}

#[test]
fn a_number_that_points_nowhere_is_a_number() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) i32.const 4096)
        (func (export "count_tokens") (param i32 i32) (result i32) i32.const 3)
        (func (export "nothing") (param i32 i32) (result i32) i32.const 0)
        (func (export "wide") (param i32 i32) (result i64) i64.const 77))"#;
    let plugin = load(&host(), wat, text());
    assert_eq!(answer(&plugin, "count_tokens", &["1"]), "3");
    assert_eq!(answer(&plugin, "nothing", &["1"]), "null");
    assert_eq!(answer(&plugin, "wide", &["1"]), "77");
}

#[test]
fn the_input_arrives_whole_with_each_allocator() {
    let echo = |allocator: &str| {
        let wat = format!(
            r#"(module (memory (export "memory") 1) {allocator}
                (global $length (mut i32) (i32.const 0))
                (func (export "f_len") (result i32) global.get $length)
                (func (export "f") (param i32 i32) (result i32) (global.set $length (local.get 1)) local.get 0))"#
        );
        let plugin = load(&host(), &wat, text().abi(AbiId::Json));
        assert_eq!(answer(&plugin, "f", &[r#"{"é":[1,null]}"#]), r#"{"é":[1,null]}"#, "{allocator}");
    };
    for name in ["cortex_alloc", "alloc", "allocate", "malloc", "__alloc"] {
        echo(&format!(r#"(func (export "{name}") (param i32) (result i32) i32.const 64)"#));
    }
    // AssemblyScript: (size, class id), which must be an ArrayBuffer's.
    echo(
        r#"(func (export "__new") (param i32 i32) (result i32)
        (if (i32.ne (local.get 1) (i32.const 1)) (then unreachable)) i32.const 64)"#,
    );
    echo(
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (if (i32.ne (local.get 2) (i32.const 8)) (then unreachable)) i32.const 64)"#,
    );
    echo(r#"(func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 64)"#);
    // None at all: the memory grows.
    echo("");
}

#[test]
fn every_call_gets_fresh_memory() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "count") (param i32 i32) (result i32)
            (i32.store8 (i32.const 1024) (i32.add (i32.const 49) (i32.load8_u (i32.const 1024)))) i32.const 1024))"#;
    let plugin = load(&host(), wat, text());
    for _ in 0..3 {
        assert_eq!(answer(&plugin, "count", &["0"]), "1");
    }
}

#[test]
fn an_error_the_plugin_reports_is_a_failure_with_its_message() {
    let plugin = load(&host(), &answering(r#"{\22error\22:\22no such\\nthing\22}"#, ""), text());
    let error = error(&plugin, "f", &["1"]);
    assert_eq!((error.code(), error.exit_code()), ("failed", 1));
    assert_eq!(error.to_string(), "the plugin failed: no such\\nthing");
}

#[test]
fn wrong_json_is_told_with_line_and_column() {
    let plugin = load(&host(), &answering("1", ""), text());
    let error = error(&plugin, "f", &["{\n  \"a\": tru }"]);
    assert_eq!(error.to_string(), "input is not valid JSON: expected ident (line 2, column 11)");
    assert_eq!((error.code(), error.exit_code()), ("invalid-input", 2));
}

#[test]
fn an_unknown_function_names_the_nearest() {
    let plugin = host().load_blocking(repository("plugins/text-processor"), LoadOptions::new()).unwrap();
    let error = error(&plugin, "transfrom", &["{}"]);
    assert_eq!(error.to_string(), "`text-processor` has no function `transfrom`");
    assert_eq!((error.hint(), error.exit_code()), (Some("did you mean `transform`?"), 127));
}

fn plugin_folder(manifest: &str, wat: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cortex.json"), manifest).unwrap();
    std::fs::write(folder.path().join("p.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    folder
}

const SIZE: &str = r#"(module (memory (export "memory") 2)
    (func (export "alloc") (param i32) (result i32) i32.const 64)
    (func (export "grow") (param i32 i32) (result i32) (memory.grow (i32.const 5)))
    (func (export "size") (param i32 i32) (result i32) memory.size))"#;

#[test]
fn memory_pages_of_the_manifest_grow_a_smaller_memory_and_cap_it() {
    let manifest = r#"{"name":"size","entryPoint":"p.wasm","wasm":{"memoryPages":10,"maxMemoryPages":12}}"#;
    let folder = plugin_folder(manifest, SIZE);
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!(answer(&plugin, "size", &["0"]), "10");
    // 10 + 5 pages are more than 12: -1.
    assert_eq!(answer(&plugin, "grow", &["0"]), "4294967295");

    let manifest = r#"{"name":"size","entryPoint":"p.wasm","wasm":{"memoryPages":7,"maxMemoryPages":12}}"#;
    let with_table = SIZE.replace("(module", "(module (table 5000 funcref)");
    let folder = plugin_folder(manifest, &with_table);
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!(answer(&plugin, "grow", &["0"]), "7", "a table takes nothing of the manifest's pages");

    let manifest = r#"{"name":"size","entryPoint":"p.wasm","wasm":{"memoryPages":1}}"#;
    let folder = plugin_folder(manifest, SIZE);
    let plugin = host().load_blocking(folder.path(), LoadOptions::new()).unwrap();
    assert_eq!(answer(&plugin, "size", &["0"]), "2", "never shrunk");
    assert_eq!(answer(&plugin, "grow", &["0"]), "2", "the old size in pages");
}

#[test]
fn a_manifest_that_does_not_fit_the_module_is_refused() {
    let load = |manifest: &str| {
        let folder = plugin_folder(manifest, SIZE);
        host().load_blocking(folder.path(), LoadOptions::new()).expect_err("refused").to_string()
    };
    assert_eq!(
        load(r#"{"name":"a","entryPoint":"p.wasm","wasm":{"maxMemoryPages":1}}"#),
        "the module does not fit the `json` ABI: its memory starts with 2 pages, and `wasm.maxMemoryPages` is 1"
    );
    assert_eq!(
        load(r#"{"name":"a","entryPoint":"p.wasm","capabilities":{"shrink":{}}}"#),
        "the module does not fit the `json` ABI: its manifest names `shrink`, which it does not export"
    );
    assert!(load(r#"{"name":"a","entryPoint":"q.wasm"}"#).starts_with("no plugin at "));
}

#[test]
fn an_entry_point_cannot_leave_the_folder_through_a_link() {
    let outside = plugin_folder("{}", SIZE);
    let folder = plugin_folder(r#"{"name":"a","entryPoint":"link.wasm"}"#, SIZE);
    std::os::unix::fs::symlink(outside.path().join("p.wasm"), folder.path().join("link.wasm")).unwrap();
    let error = host().load_blocking(folder.path(), LoadOptions::new()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "manifest `cortex.json` is not valid: `entryPoint` leads out of the plugin's folder"
    );
}

#[test]
fn assembly_scripts_abort_is_a_trap_with_its_message() {
    let wat = r#"(module (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 100) "\06\00\00\00b\00a\00d\00") (data (i32.const 200) "\08\00\00\00p\00.\00t\00s\00")
        (func (export "__new") (param i32 i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i32)
            (call $abort (i32.const 104) (i32.const 204) (i32.const 7) (i32.const 9)) i32.const 0))"#;
    let error = error(&load(&host(), wat, text()), "f", &["1"]);
    assert_eq!(error.to_string(), "the plugin trapped while running: abort: bad (p.ts:7:9)");
    assert_eq!((error.code(), error.exit_code()), ("trap", 122));
}

#[test]
fn input_past_its_limit_is_refused_before_the_guest_runs() {
    let plugin = load(&host(), &answering("1", ""), limits(&[("input", "10B")]));
    assert_eq!(answer(&plugin, "f", &["1234567890"]), "1");
    let error = error(&plugin, "f", &["12345678901"]);
    assert_eq!(error.to_string(), "limit `input` of 10 B hit while running: 11 B asked for");
    assert_eq!((error.code(), error.exit_code()), ("limit-input", 123));
}

#[test]
fn a_module_without_capabilities_is_no_json_plugin() {
    let error = load_error(r#"(module (memory (export "memory") 1))"#, text().abi(AbiId::Json));
    assert_eq!(
        error.to_string(),
        "the module does not fit the `json` ABI: it exports no function `(i32, i32) -> i32`"
    );
}
