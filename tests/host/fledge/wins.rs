//! One test for each of the fifteen things in which our notes on fledge 1.8 say that a host can do
//! better than its own: its number there, and what it is. Four of them are the command's, and in
//! `tests/cli/fledge.rs`: 1, 8, 9 and 10.

use airlock_host::{LimitKind, ProgramInput};
use serde_json::{Value, json};

use super::Step::{Call, Do, Recv, Send};
use super::{fixture, folder, granted, load, module, module_with, printed, ran, run, text_of};
use crate::http::{Server, ok};
use crate::support::{host, survives};

#[test]
fn win_02_both_types_of_send_and_the_documents_example() {
    let at = folder();
    let (stdout, stderr, code) = ran("fledge-document", at.path(), &[], &[]);
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("Lint passed!", "", 0));
    let steps = [Send(r#"{"type":"output","data":"Lint passed!"}"#)];
    for gives in ["", "(result i32)"] {
        let plugin = load(&host(), &module_with(&steps, gives), granted(at.path(), &[]));
        assert_eq!(run(&plugin, &[]).unwrap().value.stdout, b"Lint passed!");
    }
}

#[test]
fn win_03_messages_are_answered_over_send_and_recv() {
    let at = folder();
    let steps = [
        Recv(65_536),
        Send(r#"{"type":"exec","id":"e","command":"exit 3"}"#),
        Send(r#"{"type":"load","id":"l","key":"k"}"#),
        Send(r#"{"type":"metadata","id":"m","keys":["nothing"]}"#),
        Send(r#"{"type":"prompt","id":"p","message":"Name?","default":"Ann"}"#),
        Recv(65_536),
        Recv(65_536),
        Recv(65_536),
        Recv(65_536),
    ];
    let told = printed(at.path(), &["exec=sh -c *", "kv", "metadata"], &steps);
    let responses: Vec<Value> =
        told.lines().skip(1).filter_map(|line| serde_json::from_str(line.strip_prefix('<')?).ok()).collect();
    let response = |id: &str, value: Value| json!({ "type": "response", "id": id, "value": value });
    assert_eq!(
        responses,
        [
            response("e", json!({ "code": 3, "stderr": "", "stdout": "" })),
            response("l", Value::Null),
            response("m", json!({ "nothing": null })),
            response("p", json!("Ann")),
        ]
    );
}

#[test]
fn win_04_exit_codes_and_causes_come_through() {
    let at = folder();
    let (_, _, code) = ran("fledge-messages", at.path(), &[], &["exit", "7"]);
    assert_eq!(code, 7);
    let (_, _, code) = ran("fledge-go", at.path(), &[], &[]);
    assert_eq!(code, 0, "leaving with 0 is success");
    let wat = module(&[Do("(drop (call $exec (i32.const 16) (i32.const 1)))")]);
    let error = run(&load(&host(), &wat, granted(at.path(), &[])), &[]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`exec`") && text.contains("malformed argument: expected value"), "{text}");
    let error = run(&fixture("fledge-messages", at.path(), &[]), &["panic"]).unwrap_err();
    let stderr = text_of(&error.printed().unwrap().stderr);
    assert!(stderr.contains("something is wrong"), "{stderr}");
}

#[test]
fn win_05_all_memories_and_tables_share_one_budget() {
    let host = host();
    let memories = format!(
        r#"(module (import "fledge" "exit" (func (param i32))) (memory (export "memory") 1) {}
            (func (export "_start")))"#,
        "(memory 3000)".repeat(8)
    );
    let options = granted(folder().path(), &[]).feature(airlock_host::Feature::MultiMemory);
    let error = host.load_blocking(memories.as_bytes(), options).map(|plugin| run(&plugin, &[]).unwrap_err());
    assert_eq!(error.unwrap().code(), "limit-memory");
    let table = r#"(module (import "fledge" "exit" (func (param i32))) (memory (export "memory") 1) (table 0 funcref)
        (func (export "_start")
            (if (i32.ne (table.grow (ref.null func) (i32.const 200000000)) (i32.const -1)) (then unreachable))))"#;
    let plugin = load(&host, table, granted(folder().path(), &[]));
    assert_eq!(run(&plugin, &[]).unwrap().value.code, 0, "it is refused and goes on");
    survives(&host);
}

#[test]
fn win_06_time_cuts_sleeps_and_programs() {
    let at = folder();
    let sleep = r#"(module (import "fledge" "exit" (func (param i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 75000000000))
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    let exec = module(&[Call("exec", r#"{"command":"sleep 65"}"#)]);
    for wat in [sleep, exec.as_str()] {
        let options = granted(at.path(), &["clock", "exec=sh -c *"]).limit(LimitKind::Timeout, 300_000_000);
        let start = std::time::Instant::now();
        let error = run(&load(&host(), wat, options), &[]).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("deadline", 124));
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
    }
}

#[test]
fn win_07_the_same_input_the_same_bytes() {
    let at = folder();
    let look = || ran("fledge-envcheck", at.path(), &[], &["a"]).0;
    let first = look();
    assert_eq!(first, look());
    assert!(first.contains("time: ") && first.contains("random: "), "{first}");
    // What is not a number is the same on every machine: processors have a sign of their own there.
    let nan = "(i32.store (i32.const 2048) (i32.reinterpret_f32 (f32.div (f32.const 0) (f32.const 0))))
        (if (i32.ne (i32.load (i32.const 2048)) (i32.const 0x7fc00000)) (then unreachable))";
    let plugin = load(&host(), &module(&[Do(nan)]), granted(at.path(), &[]));
    assert_eq!(run(&plugin, &[]).unwrap().value.code, 0);
}

#[test]
fn win_11_programs_may_write_more_than_a_pipe_holds_and_inherit_nothing() {
    let at = folder();
    let command = "head -c 1000000 /dev/zero | tr '\\\\0' x; /usr/bin/env | grep -c CARGO_ >&2; true";
    let (stdout, stderr, code) =
        ran("fledge-exec", at.path(), &["exec=sh -c *"], &[&command.replace("\\\\", "\\")]);
    assert_eq!((stdout.len(), code), (1_000_000, 0), "{stderr}");
    assert_eq!(stderr, "warn [fledge-exec] 0\n");
}

#[test]
fn win_12_init_tells_what_was_granted() {
    let at = folder();
    std::fs::write(at.path().join("Cargo.toml"), "").unwrap();
    let init = |capabilities: &[&str]| -> Value {
        let plugin = fixture("fledge-envcheck", at.path(), capabilities);
        let stdout = text_of(&run(&plugin, &[]).unwrap().value.stdout);
        let line = stdout.lines().find_map(|line| line.strip_prefix("init: ")).unwrap().to_owned();
        serde_json::from_str(&line).unwrap()
    };
    let nothing = init(&[]);
    assert_eq!((&nothing["project"], &nothing["plugin"]["dir"]), (&Value::Null, &json!("")));
    assert_eq!(nothing["capabilities"], json!({ "exec": false, "store": false, "metadata": false }));
    assert!(!nothing.to_string().contains(at.path().to_str().unwrap()));
    let told = init(&["metadata"]);
    let name = at.path().file_name().unwrap().to_str().unwrap();
    let project = json!({ "name": name, "root": at.path(), "language": "rust", "git": null });
    assert_eq!(told["project"], project);
    let folders = init(&["fs.read=.::/project", "fs.write=@::/plugin"]);
    assert_eq!(folders["capabilities"]["filesystem"], "plugin");
    assert_eq!(folders["plugin"]["dir"], "/plugin");
    assert_eq!(init(&["fs.read=.::/project"])["capabilities"]["filesystem"], "project");
    // Variables by name and no others.
    let (stdout, ..) = ran("fledge-envcheck", at.path(), &["env=AIRLOCK_PROBE"], &[]);
    assert!(!stdout.contains("env: CARGO"), "{stdout}");
}

#[test]
fn win_13_a_request_reaches_the_allowed_host_and_no_other() {
    let at = folder();
    let (allowed, other) = (Server::saying(ok("yes")), Server::saying(ok("no")));
    let origin = format!("net=http://127.0.0.1:{}", allowed.port);
    let url = |server: &Server| json!({ "url": format!("http://127.0.0.1:{}/", server.port) }).to_string();
    let told = printed(at.path(), &[&origin], &[Call("http", &url(&allowed)), Call("http", &url(&other))]);
    assert!(told.starts_with(r#"<{"status":200,"#) && told.contains(r#""body":"yes""#), "{told}");
    assert!(told.contains(r#""code":"denied""#), "{told}");
    assert_eq!((allowed.asked().len(), other.asked().len()), (1, 0));
}

#[test]
fn win_14_each_capability_by_itself() {
    let at = folder();
    let values = |capabilities: &[&str]| -> Vec<bool> {
        let (stdout, ..) = ran("fledge-messages", at.path(), capabilities, &["all"]);
        let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        vec![lines[0]["value"]["code"] == 0, lines[2]["value"] == "v", lines[3]["value"] != json!({})]
    };
    assert_eq!(values(&[]), [false, false, false]);
    assert_eq!(values(&["exec=sh -c *"]), [true, false, false]);
    assert_eq!(values(&["kv"]), [false, true, false]);
    assert_eq!(values(&["metadata"]), [false, false, true]);
    assert_eq!(values(&["kv", "metadata"]), [false, true, true]);
}

#[test]
fn win_15_limits_are_set_and_use_is_reported() {
    let at = folder();
    let spin = module(&[Do("(loop (br 0))")]);
    let options = granted(at.path(), &[]).limit(LimitKind::Fuel, 1_000_000);
    let error = run(&load(&host(), &spin, options), &[]).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("limit-fuel", 123));
    let plugin = load(&host(), &module(&[Recv(9)]), granted(at.path(), &[]));
    let usage = plugin.run_blocking(ProgramInput::new()).unwrap().usage;
    assert!(usage.fuel.is_some_and(|fuel| fuel > 0));
    assert_eq!((usage.memory_bytes, usage.host_calls, usage.output_bytes), (96 << 16, 4, 12));
}
