//! Guests that use WASI in ways nobody means to.

use airlock_host::{Plugin, ProgramInput};

use super::case;
use crate::support::{MODES, host, load, survives, text};

fn exit_code(plugin: &Plugin) -> i32 {
    plugin.run_blocking(ProgramInput::new()).expect("it runs").value.code
}

const EXIT: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const CODE)) unreachable))"#;

#[test]
fn proc_exit_0_is_success_and_proc_exit_7_is_7() {
    let _case = case(26, "the code", "as any call");
    for code in [0, 7, 126, 255] {
        let plugin = load(&host(), &EXIT.replace("CODE", &code.to_string()), text());
        assert_eq!(exit_code(&plugin), code);
    }
}

#[test]
fn fd_renumber_then_open_leaves_the_host_standing() {
    let _case = case(25, "an errno", "as any call");
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (data (i32.const 0) "x")
        (func (export "_start")
            (drop (call $renumber (i32.const 1) (i32.const 5)))
            (drop (call $renumber (i32.const 0) (i32.const 2)))
            (drop (call $close (i32.const 5)))
            (call $exit (call $open (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 64)))))"#;
    let host = host();
    // 8 is `badf` and 54 `notdir`: no descriptor left is a folder.
    assert!([8, 54].contains(&exit_code(&load(&host, wat, text()))));
    survives(&host);
}

#[test]
fn start_runs_once_and_so_does_every_constructor() {
    let _case = case(24, "once each", "as any call");
    // Start, constructors and initialiser each print one letter.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $print (param i32)
            (i32.store8 (i32.const 100) (local.get 0)) (i32.store (i32.const 0) (i32.const 100))
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $start (call $print (i32.const 115))) (start $start)
        (func (export "_initialize") (call $print (i32.const 105)))
        (func (export "f") (call $print (i32.const 102))))"#;
    let plugin = load(&host(), wat, text());
    for mode in MODES {
        assert_eq!(mode.invoke(&plugin, "f", &[]).unwrap().log, b"sif", "{mode:?}");
    }
}
