//! The terminal, as far as a program is granted it.

use crate::support::{airlock, file};
use crate::terminal::Terminal;

/// Reads one line and writes it back in red.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "[\1b[31m") (data (i32.const 80) "\1b[0m]\n")
    (func $print (param i32 i32)
        (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
    (func (export "_start") (local $count i32)
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 100))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
        (local.set $count (i32.load (i32.const 16)))
        (call $print (i32.const 64) (i32.const 6))
        (call $print (i32.const 1024) (local.get $count))
        (call $print (i32.const 80) (i32.const 6))))"#;

/// The exit code, and what a person at a terminal saw.
fn seen(grants: &[&str], typed: Option<&str>) -> (i32, String) {
    let (_folder, path) = file("echo.wat", ECHO.as_bytes());
    let mut command = airlock();
    command.arg("run").args(grants.iter().flat_map(|grant| ["--allow", grant])).arg(path);
    let mut terminal = Terminal::run(command);
    if let Some(typed) = typed {
        terminal.type_line(typed);
    }
    terminal.end_raw()
}

#[test]
fn a_terminal_is_the_persons_unless_it_is_granted() {
    assert_eq!(seen(&[], None), (0, "[\\x1b[31m\\x1b[0m]\n".to_owned()));
    assert_eq!(
        seen(&["stdin=inherit"], Some("hello")),
        (0, "hello\n[\\x1b[31mhello\n\\x1b[0m]\n".to_owned()),
        "what is typed is echoed by the terminal"
    );
}

#[test]
fn ansi_in_text_is_written_out_unless_the_terminal_is_granted_as_it_is() {
    assert_eq!(seen(&["stdout=raw"], None), (0, "[\x1b[31m\x1b[0m]\n".to_owned()));
}
