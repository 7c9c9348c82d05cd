//! The guests that are measured.

use std::path::PathBuf;

use airlock_host::{Host, LoadOptions, Plugin, Source};

/// Gives its input back; the smallest guest of the `json` ABI.
pub(crate) const ECHO: &str = r#"(module (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "f") (param i32 i32) (result i32) local.get 0))"#;

/// The same with room for a mebibyte, in and out.
pub(crate) const LARGE_ECHO: &str = r#"(module (memory (export "memory") 40)
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "copy") (param i32 i32) (result i32)
        (memory.copy (i32.const 1310720) (local.get 0) (local.get 1)) i32.const 1310720))"#;

pub(crate) const ADD: &str =
    r#"(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#;

/// A program that leaves at once, of the imports that a real one has.
pub(crate) const EXIT: &str = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 0))))"#;

/// Looks at two folders that it was given, and leaves.
pub(crate) const FOLDERS: &str = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $look (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.or
        (call $look (i32.const 3) (i32.const 0)) (call $look (i32.const 4) (i32.const 8))))))"#;

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

pub(crate) fn load(host: &Host, wat: &str) -> Plugin {
    host.load_blocking(Source::from(wat.as_bytes()), LoadOptions::new().wat(true)).unwrap()
}

/// A module of so many functions, about 620 bytes of code each once it is compiled.
pub(crate) fn sized(functions: usize) -> String {
    let body =
        "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31)) (i32.load (local.get 0))))".repeat(20);
    let function = format!("(func (param i32) (result i32) {body} (local.get 0))");
    format!(r#"(module (memory 1) (func (export "f")) {})"#, function.repeat(functions))
}
