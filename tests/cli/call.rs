use insta::assert_snapshot;

use crate::support::{REVERSE, TEXT, airlock, describe, file, output, show, with_stdin};

#[test]
fn the_main_job_prints_the_plugins_answer() {
    assert_snapshot!(show(&["call", TEXT, "transform", REVERSE]), @r#"
    exit 0
    --- stdout
    {"result":"dlrow olleh","length":11,"hash":84918698004773316}
    "#);
}

#[test]
fn input_comes_from_a_file_or_standard_input() {
    let (_folder, path) = file("input.json", REVERSE.as_bytes());
    let expected = output(&["call", TEXT, "transform", REVERSE]).stdout;
    assert_eq!(output(&["call", TEXT, "transform", &format!("@{path}")]).stdout, expected);
    assert_eq!(with_stdin(&["call", TEXT, "transform", "-"], REVERSE.as_bytes()).stdout, expected);
}

#[test]
fn json_prints_json_and_nothing_else() {
    let output = output(&["--json", "call", TEXT, "transform", REVERSE]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["schema"], &value["ok"]), (&1.into(), &true.into()));
    assert_eq!(value["value"]["hash"], 84_918_698_004_773_316_u64);
    assert_eq!(value["usage"]["input_bytes"], REVERSE.len());

    let output = self::output(&["--json", "call", TEXT, "transfrom"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(127), &[][..]));
    assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r#"{"schema":1,"ok":false,"error":{"code":"unknown-function","culprit":"operator","message":"`text-processor` has no function `transfrom`","causes":[],"hint":"did you mean `transform`?"}}"#);
}

#[test]
fn usage_and_trace_go_to_standard_error() {
    let usage = output(&["--usage", "call", TEXT, "transform", REVERSE]);
    let text = String::from_utf8(usage.stderr).unwrap();
    assert!(text.starts_with("used: ") && text.contains("input 39 B, output 61 B"), "{text}");
    let trace = output(&["-vv", "run", "plugins/greet/greet.wasm", "you"]);
    let text = String::from_utf8(trace.stderr).unwrap();
    for part in ["loaded digest=", "abi=command", "function=\"fd_write\"", "called wall=", "host_calls=6"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(trace.stdout, b"hello, you\n");
}

const MATH: &[u8] = br#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "divmod") (param i32 i32) (result i32 i32)
        (i32.div_s (local.get 0) (local.get 1)) (i32.rem_s (local.get 0) (local.get 1)))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2))))"#;

#[test]
fn numbers_of_a_raw_module_are_typed_by_its_functions() {
    let (_folder, math) = file("math.wat", MATH);
    assert_snapshot!(show(&["call", &math, "add", "-5", "3"]), @r"
    exit 0
    --- stdout
    -2
    ");
    assert_snapshot!(show(&["call", &math, "divmod", "17", "5"]), @r"
    exit 0
    --- stdout
    3
    2
    ");
    assert_snapshot!(show(&["call", &math, "half", "-3"]), @r"
    exit 0
    --- stdout
    -1.5
    ");
    assert_snapshot!(show(&["call", &math, "divmod", "1", "0"]), @r"
    exit 122
    --- stderr
    error: the plugin trapped while running: integer divide by zero
      at function 1
    ");
}

#[test]
fn a_plugins_text_cannot_forge_what_a_terminal_shows() {
    // Raw white space between tokens, C1 controls and direction marks inside a string.
    let wat = r#"(module (memory (export "memory") 1)
        (data (i32.const 1024) "{\0d\0a\22a\22:\22\c2\9b2J\e2\80\aex\22}")
        (func (export "alloc") (param i32) (result i32) i32.const 64)
        (func (export "f") (param i32 i32) (result i32) i32.const 1024))"#;
    let (_folder, path) = file("forge.wat", wat.as_bytes());
    assert_snapshot!(show(&["call", &path, "f"]), @r#"
    exit 0
    --- stdout
    {"a":"\u009b2J\u202ex"}
    "#);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = airlock()
        .args(["call", TEXT, "transform", REVERSE])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(describe(&output), "exit 0\n");
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_cannot_be_written_is_an_error() {
    for args in [["call", TEXT, "transform", REVERSE].as_slice(), &["run", "plugins/greet/greet.wasm", "x"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = airlock().args(args).stdout(full).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125));
        assert!(
            errors.contains("error: cannot write to standard output\n  caused by: No space left"),
            "{errors}"
        );
    }
}

#[test]
fn the_operators_file_sets_limits_and_flags_go_before_it() {
    let (folder, _path) = file("airlock.toml", b"[limits]\ninput = \"10B\"\n");
    let run = |more: &[&str]| {
        let mut command = airlock();
        command.env("AIRLOCK_HOME", folder.path()).args(["call", TEXT, "transform", REVERSE]).args(more);
        command.output().unwrap().status.code()
    };
    assert_eq!(run(&[]), Some(123));
    assert_eq!(run(&["--input", "1KiB"]), Some(0));
}

#[test]
fn an_interpreter_is_a_plugin_like_any_other() {
    let script = r#"{"script":"let sum = 0; for n in list { sum += n; } sum","variables":{"list":[1,2,3]}}"#;
    assert_snapshot!(show(&["call", "plugins/script", "eval", script]), @r#"
    exit 0
    --- stdout
    {"result":6}
    "#);
    assert_snapshot!(show(&["call", "plugins/script", "eval", r#"{"script":"40 +"}"#]), @r"
    exit 1
    --- stderr
    error: the plugin failed: Syntax error: Script is incomplete (line 1, position 5)
    ");
    assert_snapshot!(show(&["call", "--timeout", "200ms", "plugins/script", "eval", r#"{"script":"loop { }"}"#]), @r"
    exit 124
    --- stderr
    error: stopped while running: the deadline of 200ms passed
    hint: `--timeout VALUE` allows more time
    ");
}
