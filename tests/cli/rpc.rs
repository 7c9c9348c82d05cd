//! `airlock rpc`: lines in, lines out, and nothing that a line says ends it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{GREET, TEXT, airlock, file, follows, repository};

/// A number in and out, a trap, a loop without an end, and a count that is kept.
const NUMBERS: &str = r#"(module
    (func (export "same") (param i64) (result i64) (local.get 0))
    (func (export "trap") unreachable)
    (func (export "spin") (loop $again (br $again)))
    (global $count (mut i32) (i32.const 0))
    (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count)))"#;

/// Somebody who asks.
struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    count: u64,
    /// Answers that came before they were waited for.
    early: BTreeMap<u64, Value>,
}

impl Peer {
    fn new(args: &[&str]) -> Self {
        let mut command = airlock();
        command.arg("rpc").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Peer { child, stdin, stdout, count: 0, early: BTreeMap::new() }
    }

    fn say(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// The next line.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stdout.read_line(&mut line).unwrap() > 0, "there is no answer");
        line.trim_end_matches('\n').to_owned()
    }

    /// What is answered to this line, whatever it is.
    fn raw(&mut self, line: &[u8]) -> Value {
        self.say(line);
        serde_json::from_str(&self.line()).unwrap()
    }

    fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.count += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.count, "method": method, "params": params });
        self.say(request.to_string().as_bytes());
        self.count
    }

    /// The answer to what was begun.
    fn wait(&mut self, id: u64) -> Value {
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return answer;
            }
            let answer: Value = serde_json::from_str(&self.line()).unwrap();
            self.early.insert(answer["id"].as_u64().unwrap(), answer);
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, &params);
        let answer = self.wait(id);
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    fn fails(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, &params);
        let answer = self.wait(id);
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].clone()
    }

    /// The number, the stable code, and the message of an error.
    fn told(&mut self, method: &str, params: Value) -> (i64, String, String) {
        let error = self.fails(method, params);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(error["message"], error["data"]["message"]);
        (error["code"].as_i64().unwrap(), text(&error["data"]["code"]), text(&error["message"]))
    }

    fn load(&mut self, path: &str, more: Value) -> String {
        let mut params = more;
        params["path"] = json!(path);
        self.ask("load", params)["plugin"].as_str().unwrap().to_owned()
    }

    /// Closes standard input, and gives what is left.
    fn leave(mut self) -> Output {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut self.stdout, &mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Output { stdout: rest, ..output }
    }
}

/// A file of WebAssembly text.
fn wat(text: &str) -> (tempfile::TempDir, String) {
    file("numbers.wat", text.as_bytes())
}

#[test]
fn every_answer_is_the_line_that_is_written_down() {
    let mut peer = Peer::new(&[]);
    let mut says = |line: &str, expected: &str| {
        peer.say(line.as_bytes());
        let printed = peer.line();
        follows(&printed, expected).unwrap_or_else(|why| panic!("{line}\n{printed}\n{why}"));
    };
    says(
        r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocol":1}}"#,
        r#"{"jsonrpc":"2.0","id":"a","result":{"protocol":1,"airlock":"…","methods":["initialize","load","call","run","observed","unload","shutdown"],"max_line":67108864}}"#,
    );
    says(
        r#"{"jsonrpc":"2.0","id":1.50,"method":"load","params":{"path":"plugins/text-processor","fakes":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1.50,"result":{"plugin":"1","name":"text-processor","version":"1.0.0","digest":"44f7463ea559…","abi":"json","functions":["transform"],"is_program":false,"keeps_state":false,"fakes":true,"requests":[],"granted":[],"warnings":[]}}"#,
    );
    says(
        r#"{"jsonrpc":"2.0","id":18446744073709551617,"method":"call","params":{"plugin":"1","function":"transform","input":{"text":"hello world","mode":"reverse"}}}"#,
        r#"{"jsonrpc":"2.0","id":18446744073709551617,"result":{"output":{"result":"dlrow olleh","length":11,"hash":84918698004773316},"log":"","usage":{"wall_ns":…,"fuel":null,"memory_bytes":852464,"host_calls":0,"input_bytes":39,"output_bytes":61,"log_bytes":0}}}"#,
    );
    says(
        r#"{"jsonrpc":"2.0","id":2,"method":"call","params":{"plugin":"1","function":"transform"}}"#,
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32001,"message":"the plugin failed: missing field `text` at line 1 column 2","data":{"code":"failed","culprit":"guest","message":"the plugin failed: missing field `text` at line 1 column 2","causes":[]}}}"#,
    );
    says(
        r#"{"jsonrpc":"2.0","id":null,"method":"observed","params":{"plugin":"1"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{"http":[],"exec":[],"resolver":[],"tools":[],"events":[],"log":[],"email":[],"kv":{}}}"#,
    );
    says(
        r#"{"jsonrpc":"2.0","id":3,"method":"unload","params":{"plugin":"1"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":null}"#,
    );
    says(r#"{"jsonrpc":"2.0","id":4,"method":"shutdown"}"#, r#"{"jsonrpc":"2.0","id":4,"result":null}"#);
    let output = peer.leave();
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), Vec::new(), Vec::new()));
}

#[test]
fn no_digit_of_a_number_is_lost_on_its_way() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {} }));
    for number in ["9007199254740993", "-9223372036854775808", "9223372036854775807"] {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"call","params":{{"plugin":"{numbers}","function":"same","input":[{number}]}}}}"#
        );
        peer.say(line.as_bytes());
        let answer = peer.line();
        assert!(answer.contains(&format!(r#""output":{number},"#)), "{answer}");
    }
}

#[test]
fn programs_are_run_with_arguments_and_input() {
    let mut peer = Peer::new(&[]);
    let greet = peer.load(GREET, json!({ "deterministic": true, "fakes": {} }));
    let ran = peer.ask("run", json!({ "plugin": greet, "args": ["--time", "--exit", "3"] }));
    assert_eq!((&ran["code"], &ran["stdout"]), (&json!(3), &json!("1577836800\n")));
    let format = peer.load("plugins/jsonfmt/jsonfmt.wasm", json!({}));
    let params = json!({ "plugin": format, "args": ["--indent", "0"], "stdin": "eyAiYSI6ICLDpCIgfQ==", "base64": true });
    let ran = peer.ask("run", params);
    assert_eq!((&ran["code"], &ran["stdout"]), (&json!(0), &json!("eyJhIjoiw6QifQo=")));
    let (code, name, _) = peer.told("run", json!({ "plugin": format, "stdin": "-", "base64": true }));
    assert_eq!((code, name.as_str()), (-32002, "invalid-setting"));
    let (code, name, message) = peer.told("call", json!({ "plugin": greet, "function": "x" }));
    assert_eq!((code, name.as_str()), (-32002, "wrong-verb"), "{message}");
}

#[test]
fn what_is_granted_is_what_the_load_says_or_among_fakes_all_that_is_asked_for() {
    let mut peer = Peer::new(&[]);
    let granted = |peer: &mut Peer, more: Value| {
        let mut params = more;
        params["path"] = json!(GREET);
        peer.ask("load", params)["granted"].as_array().unwrap().len()
    };
    assert_eq!(granted(&mut peer, json!({})), 0);
    assert_eq!(granted(&mut peer, json!({ "allow": ["clock"] })), 1);
    assert!(granted(&mut peer, json!({ "fakes": {} })) > 0);
    assert_eq!(granted(&mut peer, json!({ "fakes": {}, "allow": ["clock"] })), 1);
    assert_eq!(granted(&mut peer, json!({ "fakes": {}, "allow_all_requested": false })), 0);
    assert_eq!(granted(&mut peer, json!({ "fakes": {}, "allow": ["clock"], "deny": ["clock"] })), 0);
    let warned = peer.ask("load", json!({ "path": TEXT, "allow": ["clock"] }));
    assert_eq!(warned["warnings"], json!(["`allow clock` grants nothing: the plugin does not ask for it"]));
}

#[test]
fn fakes_answer_and_are_observed() {
    let mut peer = Peer::new(&[]);
    let services = peer.load(
        "tests/guests/services.wat",
        json!({
            "allow": ["net=https://api.example", "kv", "config", "log"],
            "fakes": {
                "http": [{ "url": "https://api.example/*", "status": 201, "body": "created" }],
                "config": { "key": 7 },
            },
        }),
    );
    let mut call = |function: &str| {
        peer.ask("call", json!({ "plugin": services, "function": function, "input": 7 }))["output"].clone()
    };
    assert_eq!((call("http"), call("status"), call("config")), (json!("0created"), json!(201), json!("07")));
    call("set");
    call("log");
    let observed = peer.ask("observed", json!({ "plugin": services }));
    assert_eq!(observed["http"].as_array().unwrap().len(), 2);
    assert_eq!(observed["kv"], json!({ "key": "7" }));
    assert_eq!(observed["log"], json!([{ "level": "info", "message": "hello \u{1b}[2J" }]));
    let real = peer.load(TEXT, json!({}));
    assert_eq!(peer.told("observed", json!({ "plugin": real })).1, "invalid-setting");
}

#[test]
fn plugins_that_crash_spin_or_eat_memory_end_nothing_but_their_calls() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {}, "limits": { "timeout": "50ms" } }));
    let metered = peer.load(&path, json!({ "fakes": {}, "limits": { "fuel": 1000 } }));
    let mut call = |plugin: &str, function: &str| {
        peer.told("call", json!({ "plugin": plugin, "function": function, "timeout": "10s" }))
    };
    let (code, name, _) = call(&numbers, "trap");
    assert_eq!((code, name.as_str()), (-32022, "trap"));
    let (code, name, message) = call(&numbers, "spin");
    assert_eq!((code, name.as_str()), (-32024, "deadline"), "{message}");
    let (code, name, _) = call(&metered, "spin");
    assert_eq!((code, name.as_str()), (-32023, "limit-fuel"));
    let (code, name, _) = call(&numbers, "none");
    assert_eq!((code, name.as_str()), (-32027, "unknown-function"));
    let count = json!({ "plugin": numbers, "function": "count" });
    assert_eq!(peer.ask("call", count.clone())["output"], 1);
    assert_eq!(peer.ask("call", count)["output"], 2, "it keeps state");
}

#[test]
fn every_class_of_error_has_its_number() {
    let mut peer = Peer::new(&[]);
    let mut told = |method: &str, params: Value| {
        let (code, name, message) = peer.told(method, params);
        format!("{code} {name}: {message}")
    };
    assert_eq!(told("lod", json!({})), "-32601 unknown-method: there is no method `lod`");
    let params =
        |reason: &str| format!("-32602 invalid-params: the parameters are not as they should be: {reason}");
    assert_eq!(told("load", json!({})), params("missing field `path`"));
    assert_eq!(told("load", json!([])), params("`params` is an object, with the parameters by their names"));
    assert!(told("load", json!({ "path": "x", "nmae": "y" })).starts_with(&params("unknown field `nmae`")));
    assert_eq!(
        told("load", json!({ "path": "x", "limits": { "memory": true } })),
        params("a limit is a number or a text such as `64MiB` or `5s`")
    );
    assert!(told("shutdown", json!({ "now": true })).starts_with("-32602 "), "and it goes on");
    assert_eq!(told("unload", json!({ "plugin": "7" })), "-32027 not-loaded: no plugin is loaded as `7`");
    assert_eq!(
        told("call", json!({ "plugin": "7", "function": "f" })),
        "-32027 not-loaded: no plugin is loaded as `7`"
    );
    assert!(told("load", json!({ "path": "no/such.wasm" })).starts_with("-32027 plugin-not-found: "));
    assert!(told("load", json!({ "path": TEXT, "abi": "jso" })).starts_with("-32002 unknown-name: "));
    assert!(
        told("load", json!({ "path": TEXT, "limits": { "memry": 1 } })).starts_with("-32002 unknown-name: ")
    );
    assert!(
        told("load", json!({ "path": TEXT, "limits": { "timeout": 1 } }))
            .starts_with("-32002 invalid-setting: ")
    );
    assert!(told("load", json!({ "path": TEXT, "allow": ["clokc"] })).starts_with("-32002 unknown-name: "));
    assert!(told("load", json!({ "path": "README.md" })).starts_with("-32025 not-wasm: "));
    let answer = json!({ "http": [{ "url": "https://a.example", "status": 1 }] });
    assert!(told("load", json!({ "path": TEXT, "fakes": answer })).starts_with("-32002 invalid-setting: "));
    assert!(told("initialize", json!({ "protocol": 2 })).starts_with("-32002 invalid-setting: `protocol`: "));
    let denied = peer.fails("load", json!({ "path": "plugins/sen-fetch/sen_fetch.wasm" }));
    assert_eq!((&denied["code"], &denied["data"]["code"]), (&json!(-32026), &json!("denied")), "{denied}");
    assert_eq!(denied["data"]["culprit"], "policy");
}

#[test]
fn hostile_lines_are_refused_one_by_one_and_the_next_is_answered() {
    let mut peer = Peer::new(&["--max-line", "1000B"]);
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"call","params":{}{}}}"#,
        "[".repeat(400),
        "]".repeat(400)
    );
    let broken = "[".repeat(900);
    let lines: [(&[u8], i64, Value); 14] = [
        (b"nonsense", -32700, Value::Null),
        (b"{\"jsonrpc\":\"2.0\"", -32700, Value::Null),
        (b"{} {}", -32700, Value::Null),
        (b"\xff\xfe", -32700, Value::Null),
        (broken.as_bytes(), -32700, Value::Null),
        (&[b' '; 1001], -32600, Value::Null),
        (b"[]", -32600, Value::Null),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"shutdown"}]"#, -32600, Value::Null),
        (b"null", -32600, Value::Null),
        (br#"{"id":5,"method":"shutdown"}"#, -32600, json!(5)),
        (br#"{"jsonrpc":"1.0","id":"x","method":"shutdown"}"#, -32600, json!("x")),
        (br#"{"jsonrpc":"2.0","id":{"a":1},"method":"shutdown"}"#, -32600, Value::Null),
        (br#"{"jsonrpc":"2.0","id":6,"method":["shutdown"]}"#, -32600, json!(6)),
        (deep.as_bytes(), -32602, json!(1)),
    ];
    for (line, code, id) in lines {
        let answer = peer.raw(line);
        let line = String::from_utf8_lossy(line);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}: {answer}");
        assert_eq!(peer.ask("initialize", json!({}))["protocol"], 1, "after {line}");
    }
    // What is asked without an id is done and not answered; an empty line is nothing.
    peer.say(br#"{"jsonrpc":"2.0","method":"nonsense"}"#);
    peer.say(b"  \r");
    assert_eq!(peer.ask("initialize", json!({}))["protocol"], 1);
    assert_eq!(peer.leave().status.code(), Some(0));
}

#[test]
fn a_line_that_is_too_long_is_passed_over_without_being_held() {
    let mut peer = Peer::new(&["--max-line", "64KiB"]);
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        peer.stdin.as_mut().unwrap().write_all(&piece).unwrap();
    }
    let answer = peer.raw(b"");
    assert_eq!(answer["error"]["message"], "the line is longer than 65536 bytes");
    assert_eq!(answer["error"]["data"]["hint"], "`--max-line SIZE` takes longer ones");
    assert_eq!(peer.ask("initialize", json!({}))["max_line"], 65536);
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", peer.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 100 << 10, "{kibibytes} KiB");
    }
}

#[test]
fn input_that_is_nested_too_deep_is_refused_and_not_run() {
    let mut peer = Peer::new(&[]);
    let text = peer.load(TEXT, json!({ "fakes": {} }));
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"call","params":{{"plugin":"{text}","function":"transform","input":{nested}}}}}"#
    );
    let answer = peer.raw(line.as_bytes());
    assert_eq!((&answer["id"], &answer["error"]["data"]["code"]), (&json!(9), &json!("invalid-input")));
}

#[test]
fn calls_run_at_once_and_each_is_answered_under_its_own_id() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {}, "keep_state": false }));
    let spin = json!({ "plugin": numbers, "function": "spin", "timeout": "2s" });
    let spinning: Vec<u64> = (0..3).map(|_| peer.begin("call", &spin)).collect();
    let began = Instant::now();
    // More than run at once.
    let same: Vec<u64> = (0..300)
        .map(|number| {
            peer.begin("call", &json!({ "plugin": numbers, "function": "same", "input": [number] }))
        })
        .collect();
    for (number, id) in same.into_iter().enumerate() {
        assert_eq!(peer.wait(id)["result"]["output"], number);
    }
    for id in spinning {
        assert_eq!(peer.wait(id)["error"]["data"]["code"], "deadline");
    }
    assert!(began.elapsed() < Duration::from_secs(6), "they ran one after the other");
}

#[test]
fn unloading_cuts_the_calls_of_the_plugin_and_of_no_other() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {}, "keep_state": false }));
    let other = peer.load(&path, json!({ "keep_state": false }));
    let spinning = peer.begin("call", &json!({ "plugin": numbers, "function": "spin" }));
    let unloaded = peer.begin("unload", &json!({ "plugin": numbers }));
    assert_eq!(peer.wait(unloaded)["result"], Value::Null);
    assert!(peer.wait(spinning)["error"].is_object());
    assert_eq!(peer.ask("call", json!({ "plugin": other, "function": "same", "input": [1] }))["output"], 1);
    assert_eq!(peer.told("call", json!({ "plugin": numbers, "function": "count" })).1, "not-loaded");
}

#[test]
fn the_end_of_input_cuts_what_runs_and_ends_it_well() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {}, "limits": { "timeout": "1h" } }));
    let spinning = peer.begin("call", &json!({ "plugin": numbers, "function": "spin" }));
    let began = Instant::now();
    let output = peer.leave();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["data"]["code"]), (&json!(spinning), &json!("cancelled")));
    // In the middle of a line, and before anything was said.
    let mut peer = Peer::new(&[]);
    peer.stdin.as_mut().unwrap().write_all(b"{\"jsonrpc\"").unwrap();
    let output = peer.leave();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("-32700"));
    let output = Peer::new(&[]).leave();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

#[test]
fn a_shutdown_waits_for_the_calls_that_run() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers = peer.load(&path, json!({ "fakes": {} }));
    let spinning = peer.begin("call", &json!({ "plugin": numbers, "function": "spin", "timeout": "200ms" }));
    let ended = peer.begin("shutdown", &json!({}));
    let unread = peer.begin("initialize", &json!({}));
    let output = peer.leave();
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["id"], &lines[0]["error"]["data"]["code"]), (&json!(spinning), &json!("deadline")));
    assert_eq!((lines[1]["id"].clone(), lines.len()), (json!(ended), 2), "{unread} is not done");
}

#[test]
fn who_stops_reading_ends_it() {
    let (_folder, path) = wat(NUMBERS);
    let mut peer = Peer::new(&[]);
    let numbers =
        peer.load(&path, json!({ "fakes": {}, "limits": { "timeout": "1h" }, "keep_state": false }));
    peer.begin("call", &json!({ "plugin": numbers, "function": "spin" }));
    let Peer { mut child, mut stdin, stdout, .. } = peer;
    drop(stdout);
    // An answer that nobody reads cuts the call that would go on for an hour.
    stdin.as_mut().unwrap().write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n").unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn nothing_but_answers_is_printed_where_they_are() {
    let mut peer = Peer::new(&["-vv"]);
    let text = peer.load(TEXT, json!({}));
    peer.ask(
        "call",
        json!({ "plugin": text, "function": "transform", "input": { "text": "a", "mode": "" } }),
    );
    let output = peer.leave();
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("loaded"), "what is traced is elsewhere");
}

/// The session of docs/rpc.md: what follows `> ` is said, what follows `< ` is answered.
#[test]
fn the_session_in_the_page_goes_as_it_is_written() {
    let page = std::fs::read_to_string(repository().join("docs/rpc.md")).unwrap();
    let (_, session) = page.split_once("```jsonrpc\n").unwrap();
    let (session, _) = session.split_once("```").unwrap();
    let mut peer = Peer::new(&[]);
    let mut answered = 0;
    for line in session.lines() {
        match line.split_once(' ') {
            Some((">", said)) => peer.say(said.as_bytes()),
            Some(("<", expected)) => {
                let printed = peer.line();
                follows(&printed, expected).unwrap_or_else(|why| panic!("{printed}\n{expected}\n{why}"));
                answered += 1;
            }
            _ => panic!("`{line}` is neither said nor answered"),
        }
    }
    assert!(answered >= 5);
    assert_eq!(peer.leave().status.code(), Some(0));
}
