//! What a guest sees of the environment.

use std::os::unix::ffi::OsStringExt as _;

use crate::support::{airlock, describe, file};

/// Writes its environment, a variable after each other with a NUL between them.
const ENV: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 12)))
        (drop (call $get (i32.const 1024) (i32.const 65536)))
        (i32.store (i32.const 8) (i32.const 65536))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"#;

/// What the guest sees, with these grants and these variables beside one that is no UTF-8.
fn seen(grants: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let (_folder, path) = file("env.wat", ENV.as_bytes());
    let mut command = airlock();
    command.arg("run").args(grants.iter().flat_map(|grant| ["--allow", grant])).arg(path);
    command.envs(variables.iter().copied());
    command.env("MY_RAW", std::ffi::OsString::from_vec(b"\xff\xfe".to_vec()));
    command.env(std::ffi::OsString::from_vec(b"MY_\xff".to_vec()), "odd");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

const VARIABLES: [(&str, &str); 4] =
    [("MY_ONE", "1"), ("MY_TWO", "two words"), ("MYSTERY", "3"), ("HOME", "/home/somebody")];

#[test]
fn env_unlisted_a_guest_sees_nothing_that_was_not_granted() {
    assert!(seen(&[], &VARIABLES).is_empty());
    assert!(seen(&["clock", "env=NOT_THERE"], &VARIABLES).is_empty());
    assert_eq!(seen(&["env=MY_ONE"], &VARIABLES), ["MY_ONE=1"]);
}

#[test]
fn env_wildcard_stands_for_the_names_that_begin_so() {
    assert_eq!(seen(&["env=MY_*"], &VARIABLES), ["MY_ONE=1", "MY_TWO=two words"]);
    assert_eq!(seen(&["env=MY_*", "env=MY_ONE", "env=HOME"], &VARIABLES).len(), 3);
    let all = seen(&["env=*"], &VARIABLES);
    assert!(all.contains(&"MYSTERY=3".to_owned()) && all.len() > 4, "{all:?}");
}

#[test]
fn env_non_utf_8_values_are_left_out_and_nothing_panics() {
    let all = seen(&["env=*"], &VARIABLES);
    assert!(
        !all.iter().any(|variable| variable.starts_with("MY_RAW") || variable.contains("odd")),
        "{all:?}"
    );
    assert!(seen(&["env=MY_RAW"], &VARIABLES).is_empty());
}

#[test]
fn env_is_no_request_that_is_granted_with_everything_requested() {
    let (_folder, path) = file("env.wat", ENV.as_bytes());
    let mut command = airlock();
    let output = command.args(["run", "--allow-all-requested", &path]).env("MY_ONE", "1").output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", describe(&output));
}
