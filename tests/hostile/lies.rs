//! Guests that lie about where things are.

use airlock_host::{AbiId, ErrorKind, ProgramInput};

use super::case;
use crate::support::{MODES, answer, error, host, load, survives, text};

fn json_plugin(alloc: &str, body: &str, more: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) {more}
            (func (export "alloc") (param i32) (result i32) {alloc})
            (func (export "f") (param i32 i32) (result i32) {body}))"#
    )
}

#[test]
fn alloc_zero_past_the_end_and_wrapping() {
    let _case = case(20, "bad-guest", "memory");
    let host = host();
    let refused = |alloc: &str| {
        let plugin = load(&host, &json_plugin(alloc, "i32.const 0", ""), text());
        let error = error(&plugin, "f", &["[1]"]);
        assert_eq!((error.code(), error.exit_code()), ("bad-guest", 122));
        error.to_string()
    };
    assert_eq!(
        refused("i32.const 0"),
        "`alloc` broke its ABI's rules: it gave no memory for 4 bytes of input"
    );
    assert_eq!(
        refused("i32.const 65533"),
        "`alloc` broke its ABI's rules: the input buffer at 65533, 4 bytes long, is outside its memory of 65536 bytes"
    );
    assert!(refused("i32.const -1").contains("at 4294967295"));
    assert!(refused("i32.const -1024").contains("is outside its memory"));
    // The last four bytes are still inside.
    let plugin = load(&host, &json_plugin("i32.const 65532", "i32.const 65532", ""), text());
    assert_eq!(answer(&plugin, "f", &["[1]"]), "[1]");
    survives(&host);
}

#[test]
fn alloc_the_same_address_twice_is_the_guests_own_loss() {
    let _case = case(20, "answers", "memory");
    let plugin = load(&host(), &json_plugin("i32.const 64", "local.get 0", ""), text());
    let mut session = plugin.session_blocking().unwrap();
    for text in ["[1,2,3]", "[4]", "\"longer than both\""] {
        let input = airlock_host::Input::Json(text.to_owned());
        assert_eq!(session.invoke_blocking("f", input).unwrap().value.to_json_text(), text);
    }
}

#[test]
fn ptr_len_of_assemblyscripts_abort_is_read_within_memory() {
    let _case = case(18, "trap", "memory");
    let host = host();
    for (message, expected) in [
        ("1028", "the plugin trapped while running: abort: hi"),
        ("1029", "the plugin trapped while running: abort"),
        ("0", "the plugin trapped while running: abort"),
        ("3", "the plugin trapped while running: abort"),
        // Its length is the last number in memory, and 0.
        ("65536", "the plugin trapped while running: abort: "),
        ("65537", "the plugin trapped while running: abort"),
        ("-1", "the plugin trapped while running: abort"),
        ("-1024", "the plugin trapped while running: abort"),
    ] {
        let wat = format!(
            r#"(module (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
                (memory (export "memory") 1) (data (i32.const 1024) "\04\00\00\00h\00i\00")
                (func (export "f") (call $abort (i32.const {message}) (i32.const -4) (i32.const 1) (i32.const 2))))"#
        );
        assert_eq!(error(&load(&host, &wat, text()), "f", &[]).to_string(), expected, "{message}");
    }
    survives(&host);
}

#[test]
fn ptr_len_of_a_result_negative_wrapping_past_the_end_or_empty() {
    let _case = case(18, "bad-guest, limit-output", "memory");
    let host = host();
    let with_length = |pointer: i64, length: i64| {
        let more = format!(r#"(func (export "f_len") (result i32) i32.const {length})"#);
        let plugin =
            load(&host, &json_plugin("i32.const 64", &format!("i32.const {pointer}"), &more), text());
        crate::support::Mode::Blocking.invoke(&plugin, "f", &["[1]"])
    };
    for (pointer, length) in [(65535, 2), (-1024, 2048), (-1, 1), (0, 65537), (65536, 1)] {
        let error = with_length(pointer, length).expect_err("outside");
        assert_eq!(error.code(), "bad-guest", "{pointer} {length}");
        assert!(error.to_string().contains("is outside its memory of 65536 bytes"), "{error}");
    }
    assert_eq!(with_length(0, -1).expect_err("4 GiB").code(), "limit-output");
    // Nothing, told to be nothing, is the empty text.
    assert_eq!(with_length(65536, 0).unwrap().value.to_json_text(), "\"\"");
    survives(&host);
}

#[test]
fn ptr_len_in_wasi_calls_never_panics_the_host() {
    let _case = case(18, "an errno or a trap", "memory");
    let host = host();
    let pointers = ["0", "1", "65532", "65535", "65536", "-1", "-1024", "2147483647"];
    for pointer in pointers {
        for length in ["0", "1", "4", "65536", "-1"] {
            let wat = format!(
                r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
                (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $dir (param i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "write") (drop (call $write (i32.const 1) (i32.const {pointer}) (i32.const {length}) (i32.const 0))))
                (func (export "written") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const {pointer}))))
                (func (export "iov") (i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length}))
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
                (func (export "read") (i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length}))
                    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))))
                (func (export "random") (drop (call $random (i32.const {pointer}) (i32.const {length}))))
                (func (export "args") (drop (call $args (i32.const {pointer}) (i32.const {pointer}))))
                (func (export "clock") (drop (call $clock (i32.const {length}) (i64.const 0) (i32.const {pointer}))))
                (func (export "poll") (drop (call $poll (i32.const {pointer}) (i32.const {pointer}) (i32.const {length}) (i32.const {pointer}))))
                (func (export "dir") (drop (call $dir (i32.const 3) (i32.const {pointer}) (i32.const {length})))))"#
            );
            let plugin = load(&host, &wat, text().abi(AbiId::Raw));
            for function in plugin.functions() {
                // A trap or an errno; nothing else.
                if let Err(error) = plugin.call_blocking::<_, ()>(function, &()) {
                    assert!(
                        ["trap", "limit-log"].contains(&error.code()),
                        "{function} {pointer} {length}: {error:?}"
                    );
                }
            }
        }
    }
    survives(&host);
}

#[test]
fn forged_length_the_result_is_read_once_after_its_length_was_told() {
    let _case = case(19, "what is there when it is read", "memory");
    // Telling the length also rewrites the result: what is read is what is there then.
    let more = r#"(data (i32.const 1024) "[1,2,3]")
        (func (export "f_len") (result i32) (i32.store8 (i32.const 1025) (i32.const 57)) i32.const 7)"#;
    let plugin = load(&host(), &json_plugin("i32.const 64", "i32.const 1024", more), text());
    assert_eq!(answer(&plugin, "f", &["0"]), "[9,2,3]");
    // A length prefix that claims more than there is falls to the next rung.
    let more = r#"(data (i32.const 1024) "\ff\ff\ff\7f[1]")"#;
    let plugin = load(&host(), &json_plugin("i32.const 64", "i32.const 1024", more), text());
    assert_eq!(answer(&plugin, "f", &["0"]), "1024");
}

#[test]
fn a_guest_that_returns_its_own_input() {
    let _case = case(18, "the input", "memory");
    let plugin = load(&host(), &json_plugin("i32.const 64", "local.get 0", ""), text());
    assert_eq!(answer(&plugin, "f", &[r#"{"a":[true]}"#]), r#"{"a":[true]}"#);
}

fn answering(text: &str) -> String {
    json_plugin("i32.const 64", "i32.const 1024", &format!(r#"(data (i32.const 1024) "{text}")"#))
}

#[test]
fn bad_json_bad_utf8_huge_number_duplicate_keys_and_nul_bytes() {
    let _case = case(21, "a string, a number, or the plugin's own digits", "output");
    let host = host();
    let of = |data: &str| answer(&load(&host, &answering(data), text()), "f", &["0"]);
    assert_eq!(of(r"{\22a\22:}"), r#""{\"a\":}""#, "text that is no JSON is a string");
    assert_eq!(of(r"\ff\fe\fd"), "1024", "bytes that are no text are a number");
    assert_eq!(of("1e99999"), "1e99999", "digits are the plugin's");
    assert_eq!(of(&"9".repeat(60)), "9".repeat(60));
    assert_eq!(of(r"{\22a\22:1,\22a\22:2}"), r#"{"a":1,"a":2}"#);
    assert_eq!(of(r"\22a\00b\22"), r#""\"a""#, "a text ends at its NUL");
    survives(&host);
}

#[test]
fn deep_json_is_refused_in_both_directions() {
    let _case = case(21, "bad-guest, invalid-input", "127 levels");
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let wat = format!(
        r#"(module (memory (export "memory") 8) (data (i32.const 1024) "{}")
            (func (export "alloc") (param i32) (result i32) i32.const 300000)
            (func (export "f") (param i32 i32) (result i32) i32.const 1024))"#,
        deep(100_000)
    );
    let host = host();
    let plugin = load(&host, &wat, text());
    let out = error(&plugin, "f", &["1"]);
    assert_eq!(out.to_string(), "`f` broke its ABI's rules: its result is nested deeper than 127 levels");
    let input = error(&plugin, "f", &[&deep(100_000)]);
    assert_eq!(input.code(), "invalid-input");
    assert_eq!(input.to_string(), "input is not valid JSON: it is nested deeper than 127 levels");
    let deepest = load(&host, &answering(&deep(127)), text());
    assert_eq!(answer(&deepest, "f", &["0"]), deep(127));
    // What is let through can be read.
    deepest.call_blocking::<_, serde_json::Value>("f", &0).unwrap();
    survives(&host);
}

#[test]
fn ansi_in_text_never_reaches_an_error_message() {
    let _case = case(21, "failed, made visible", "one line");
    let plugin = load(&host(), &answering(r"{\22error\22:\22a\\u001b[2Jb\\u202ec\\nd\22}"), text());
    let error = error(&plugin, "f", &["0"]);
    assert_eq!(error.to_string(), "the plugin failed: a\\x1b[2Jb\\u{202e}c\\nd");
}

#[test]
fn missing_export_wrong_signature_and_export_is_a_global() {
    let _case = case(22, "unknown-function, unsuitable-export", "before the call");
    let wat = r#"(module (memory (export "memory") 1) (global (export "g") i32 (i32.const 1))
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "f") (param i32 i32) (result i32) i32.const 0)
        (func (export "float") (param f32) (result f32) local.get 0))"#;
    let plugin = load(&host(), wat, text());
    assert_eq!(error(&plugin, "missing", &["0"]).code(), "unknown-function");
    let wrong = error(&plugin, "float", &["0"]);
    assert_eq!(wrong.to_string(), "export `float` cannot be called: it is a func (f32) -> (f32)");
    let global = error(&plugin, "g", &["0"]);
    assert_eq!(global.to_string(), "export `g` cannot be called: it is a global i32");
    assert_eq!((global.code(), global.exit_code()), ("unsuitable-export", 125));
    let memory = error(&plugin, "memory", &["0"]);
    assert!(matches!(memory.kind(), ErrorKind::UnsuitableExport { .. }));
}

#[test]
fn no_memory_and_two_memories() {
    let _case = case(22, "abi-mismatch, trap", "before the call");
    let no_memory = r#"(module (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;
    let plugin = load(&host(), no_memory, text());
    assert_eq!(plugin.abi(), AbiId::Raw, "without memory nothing can be said in JSON");
    let error = crate::support::load_error(no_memory, text().abi(AbiId::Json));
    assert_eq!(
        error.to_string(),
        "the module does not fit the `json` ABI: it exports no 32-bit memory named `memory`"
    );

    // A WASI program without a memory cannot be answered; it traps, the host does not.
    let wasi = r#"(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $f (param i32 i32) (result i32)))
        (func (export "_start") (drop (call $f (i32.const 0) (i32.const 0)))))"#;
    let host = host();
    let plugin = load(&host, wasi, text());
    for mode in MODES {
        assert_eq!(mode.run(&plugin, ProgramInput::new()).expect_err("no memory").code(), "trap", "{mode:?}");
    }

    // Of two memories the one exported as `memory` is used.
    let two = r#"(module (memory $a 1) (memory $b (export "memory") 1) (data (memory $b) (i32.const 1024) "7")
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "f") (param i32 i32) (result i32) i32.const 1024))"#;
    let plugin = load(&host, two, text().feature(airlock_host::Feature::MultiMemory));
    assert_eq!(answer(&plugin, "f", &["0"]), "7");
    survives(&host);
}

#[test]
fn memory_is_not_a_memory() {
    let _case = case(22, "abi-mismatch", "before the call");
    let wat =
        r#"(module (func (export "memory")) (func (export "f") (param i32 i32) (result i32) i32.const 0))"#;
    assert_eq!(crate::support::load_error(wat, text().abi(AbiId::Json)).code(), "abi-mismatch");
}

#[test]
fn reserved_names_are_no_capabilities() {
    let _case = case(22, "not listed", "before the call");
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) i32.const 64)
        (func (export "calloc") (param i32 i32) (result i32) i32.const 64)
        (func (export "realloc") (param i32 i32) (result i32) i32.const 64)
        (func (export "__main_argc_argv") (param i32 i32) (result i32) i32.const 64)
        (func (export "asyncify_x") (param i32 i32) (result i32) i32.const 64)
        (func (export "plugin_get_capabilities") (param i32 i32) (result i32) i32.const 64)
        (func (export "real") (param i32 i32) (result i32) i32.const 0))"#;
    assert_eq!(load(&host(), wat, text()).functions(), ["real"]);
}
