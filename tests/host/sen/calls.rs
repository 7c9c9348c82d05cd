//! What its plugins answer: those built with its published SDK, by hand, and in Zig.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_host::sen::{ExecuteError, ExecuteResult};
use airlock_host::service::Services;
use airlock_host::testing::FakeHttp;
use airlock_host::{
    AbiId, CallOptions, Capability, CapabilityKind, Ceiling, ErrorKind, Host, Input, LimitKind, LoadOptions,
    Plugin, ProgramInput, Streams,
};
use serde_json::json;

use super::{ANSWER, Module, NONE, host, manifest, packed, span, success, text};
use crate::http::{Server, ok};
use crate::support::{MODES, Mode, repository};

fn load_from(host: &Host, file: &str, options: LoadOptions) -> Plugin {
    host.load_blocking(repository(&format!("plugins/{file}")), options).unwrap()
}

fn load(file: &str) -> Plugin {
    load_from(&host(), file, LoadOptions::new())
}

fn executes(plugin: &Plugin, args: &[&str]) -> ExecuteResult {
    plugin.execute_blocking(args).unwrap().value
}

fn failure(code: u8, message: &str) -> ExecuteResult {
    ExecuteResult::Error(ExecuteError { code, message: message.to_owned() })
}

#[test]
fn a_plugin_by_the_sdk_says_what_it_is_and_answers() {
    let plugin = load("sen-greet/sen_greet.wasm");
    assert_eq!((plugin.abi(), plugin.name()), (AbiId::Sen, "greet"));
    assert_eq!(
        plugin.abi_reason(),
        "it exports `plugin_manifest`, `plugin_execute` and what allocates for them"
    );
    let manifest = plugin.manifest().unwrap();
    assert_eq!(manifest.version.as_deref(), Some("1.0.0"));
    let spec = manifest.commands[0].spec.as_ref().unwrap();
    let names: Vec<&str> = spec.args.iter().map(|arg| arg.name.as_str()).collect();
    assert_eq!(names, ["name", "greeting", "style"]);
    assert_eq!(spec.args[2].possible_values, Some(vec!["plain".to_owned(), "loud".to_owned()]));
    assert_eq!(spec.subcommands.len(), 2);
    assert!(plugin.requests().is_empty());
    for mode in MODES {
        let called = mode.invoke(&plugin, "greet", &["Alice", "Hi", "loud"]).unwrap();
        assert_eq!(called.value.to_json_text(), "\"HI, ALICE!\"", "{mode:?}");
        let fuel = called.usage.fuel.unwrap();
        assert!((1_000..1_000_000).contains(&fuel), "{fuel}");
    }
    assert_eq!(executes(&plugin, &NONE), success("Hello, World!"));
    assert_eq!(executes(&plugin, &["farewell", "Ann"]), success("Goodbye, Ann!"));
    assert_eq!(executes(&plugin, &["Zoë 🦊"]), success("Hello, Zoë 🦊!"));
    let answer: String = plugin.call_blocking("greet", &["Bob"]).unwrap().value;
    assert_eq!(answer, "Hello, Bob!");
    let error = Mode::Blocking.invoke(&plugin, "greet", &["a", "b", "x"]).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("failed", 1));
    assert!(matches!(
        executes(&plugin, &["a", "b", "x"]),
        ExecuteResult::Error(ExecuteError { code: 1, .. })
    ));
    let error = plugin.call_blocking::<_, String>("greet", &json!([1])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input is not valid JSON: `1` is no text, and a `sen` plugin takes an array of texts"
    );
    let error = plugin.call_blocking::<_, String>("great", &NONE).unwrap_err();
    assert_eq!((error.code(), error.hint()), ("unknown-function", Some("did you mean `greet`?")));
}

/// Structures as arrays, and no way to be resumed.
#[test]
fn a_plugin_written_by_hand_is_read_by_position() {
    let plugin = load("sen-hello/sen_hello.wasm");
    assert_eq!(plugin.manifest().unwrap().commands[0].spec.as_ref().unwrap().args[0].name, "name");
    assert_eq!(executes(&plugin, &["Ann"]), success("Hello, Ann!"));
    assert_eq!(executes(&plugin, &["fail"]), failure(1, "as asked"));
}

/// What its own host refuses: nil where there should be a text, and an error that is only one.
#[test]
fn a_plugin_in_zig_answers_in_its_own_dialect() {
    let plugin = load("sen-echo/echo.wasm");
    assert_eq!((plugin.name(), plugin.manifest().unwrap().description.as_deref()), ("echo", None));
    assert_eq!(executes(&plugin, &["a", "b"]), success("Echo: a b"));
    assert_eq!(executes(&plugin, &["fail"]), failure(1, "as asked"));
    let long = "ä".repeat(100_000);
    assert_eq!(executes(&plugin, &[&long]), success(&format!("Echo: {long}")));
}

#[test]
fn the_first_version_of_its_interface_has_no_capabilities() {
    let mut first = manifest("test", &json!({ "env_read": ["HOME"] }));
    first["api_version"] = json!(1);
    let plugin = Module { manifest: packed(&first), ..Module::new("test") }.load();
    assert!(plugin.requests().is_empty());
    assert_eq!(executes(&plugin, &NONE), success("done"));
}

fn cat(folder: &std::path::Path, options: LoadOptions) -> Plugin {
    load_from(&host(), "sen-cat/sen_cat.wasm", options.working_folder(folder))
}

fn granted() -> LoadOptions {
    LoadOptions::new().allow_all_requested()
}

#[test]
fn what_it_needs_becomes_wasi_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data/deep")).unwrap();
    std::fs::create_dir_all(folder.path().join("out/deep")).unwrap();
    std::fs::write(folder.path().join("data/a.txt"), "one\ntwo\nthree\n").unwrap();
    std::fs::write(folder.path().join("data/deep/b.txt"), "b").unwrap();
    std::fs::write(folder.path().join("c.txt"), "c").unwrap();
    let plugin = cat(folder.path(), granted());
    let asked: Vec<String> = plugin
        .requests()
        .iter()
        .filter(|request| request.required)
        .map(|request| request.capability.to_string())
        .collect();
    assert_eq!(asked, ["fs.read=data", "fs.write=out/*", "env=CAT_*", "env=HOME"]);
    let printing = Streams { stdin: false, stdout: true, stderr: true };
    assert_eq!(plugin.manifest().unwrap().streams, Some(printing));
    let run = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        futures_executor::block_on(plugin.execute(&args)).unwrap().value
    };
    assert_eq!(run(&["a.txt"]), success("one\ntwo\nthree\n"));
    assert_eq!(run(&["a.txt", "2"]), success("one\ntwo\n"));
    // All of what is recursive, and of what is not its files alone.
    assert_eq!(run(&["deep/b.txt"]), success("b"));
    for elsewhere in ["../c.txt", "../../c.txt", "none.txt", "/etc/passwd", "deep"] {
        assert!(
            matches!(run(&[elsewhere]), ExecuteResult::Error(ExecuteError { code: 1, .. })),
            "{elsewhere}"
        );
    }
    assert_eq!(run(&["write", "héllo"]), success("6"));
    assert_eq!(std::fs::read_to_string(folder.path().join("out/note.txt")).unwrap(), "héllo");
    let home = std::env::var("HOME").unwrap();
    assert_eq!(run(&["env"]), success(&format!("HOME={home}")));
    // Time and chance are every plugin's.
    assert_eq!(run(&["clock"]), success("clock ok"));
    // Nothing is kept between calls.
    assert_eq!((run(&["count"]), run(&["count"])), (success("1"), success("1")));
}

/// What a pattern opens, as its host has it for those that make sense there.
#[test]
fn patterns_lead_where_its_host_has_them_lead() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().canonicalize().unwrap();
    for made in ["data/sub", "out", "config"] {
        std::fs::create_dir_all(working.join(made)).unwrap();
    }
    std::fs::write(working.join("data/f.txt"), "text").unwrap();
    let host = host();
    let load = |capabilities: serde_json::Value| {
        let module = Module { manifest: packed(&manifest("test", &capabilities)), ..Module::new("test") };
        let plugin = module.load_with(&host, granted().working_folder(&working)).unwrap();
        // All of it is there by the time that it runs.
        assert_eq!(executes(&plugin, &NONE), success("done"));
        plugin
    };
    let recursive = |pattern: &str| json!({ "pattern": pattern, "recursive": true });
    let opened = |plugin: &Plugin, kind: CapabilityKind| -> Vec<String> {
        plugin.policy().of(kind).map(ToString::to_string).collect()
    };
    let (root, home) = (working.display(), std::env::home_dir().unwrap());
    for (pattern, opens) in [
        ("./data", format!("fs.read={root}/data::/data")),
        ("data", format!("fs.read={root}/data::/data")),
        ("./data/", format!("fs.read={root}/data::/data")),
        (".", format!("fs.read={root}::/")),
        ("./", format!("fs.read={root}::/")),
        ("", format!("fs.read={root}::/")),
        ("./data/sub", format!("fs.read={root}/data/sub::/data/sub")),
        ("./data/../data", format!("fs.read={root}/data::/data")),
        ("data/../out", format!("fs.read={root}/out::/out")),
        ("./data/f.txt", format!("fs.read={root}/data/f.txt::/data/f.txt")),
        ("~", format!("fs.read={}::/~", home.display())),
        ("~/", format!("fs.read={}::/", home.display())),
        ("/etc", "fs.read=/etc".to_owned()),
        ("/etc/../usr", "fs.read=/usr".to_owned()),
    ] {
        let plugin = load(json!({ "fs_read": [recursive(pattern)] }));
        assert_eq!(opened(&plugin, CapabilityKind::FsRead), [opens], "{pattern}");
        assert!(plugin.left_out().is_empty(), "{pattern}: {:?}", plugin.left_out());
    }
    // Names, and no patterns of a shell's.
    let plugin = load(json!({ "fs_read": [recursive("$HOME")] }));
    assert_eq!(plugin.left_out()[0].0.to_string(), format!("fs.read={root}/$HOME::/$HOME"));
    // What is read and written is written; what is written below what is read stays so.
    for (read, write) in [("./data", "./data"), ("./data", "./data/sub")] {
        let plugin = load(json!({ "fs_read": [recursive(read)], "fs_write": [recursive(write)] }));
        let written = write.trim_start_matches('.');
        assert_eq!(
            opened(&plugin, CapabilityKind::FsWrite),
            [format!("fs.write={root}{written}::{written}")]
        );
        assert!(plugin.left_out().is_empty());
    }
    // Each of one folder that is seen twice stays where it is seen; there one of them is lost.
    let absolute = working.join("data");
    let both =
        json!({ "fs_read": [recursive(absolute.to_str().unwrap())], "fs_write": [recursive("./data")] });
    assert!(load(both).left_out().is_empty());
}

#[test]
fn nothing_that_is_needed_and_not_granted_is_done_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = repository("plugins/sen-cat/sen_cat.wasm");
    let error = host().load_blocking(file.as_path(), LoadOptions::new()).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("denied", 126));
    let some = LoadOptions::new().allow("fs.read=data".parse().unwrap()).working_folder(folder.path());
    let error = host().load_blocking(file.as_path(), some).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
    // A ceiling goes before what was granted, and before what every plugin has.
    let ceiling = Ceiling::default().deny(["clock".parse::<Capability>().unwrap()]);
    let plugin = cat(folder.path(), granted().ceiling(ceiling));
    assert!(matches!(executes(&plugin, &["clock"]), ExecuteResult::Error(_)));
}

/// Its own host runs nothing of a plugin one of whose folders is not there.
#[test]
fn a_folder_that_is_not_there_is_one_denied_capability() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/a.txt"), "a").unwrap();
    let plugin = cat(folder.path(), granted());
    let left_out: Vec<String> =
        plugin.left_out().iter().map(|(capability, _)| capability.to_string()).collect();
    assert_eq!(left_out, [format!("fs.write={}/out/*::/out", folder.path().display())]);
    assert_eq!(executes(&plugin, &["a.txt"]), success("a"));
    assert!(matches!(executes(&plugin, &["write", "x"]), ExecuteResult::Error(_)));
    // Once it is there it is used.
    std::fs::create_dir(folder.path().join("out")).unwrap();
    assert_eq!(executes(&plugin, &["write", "x"]), success("1"));
}

#[test]
fn what_is_printed_is_kept_for_the_caller_where_it_has_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = cat(folder.path(), granted());
    for mode in MODES {
        let program = mode.run(&plugin, ProgramInput::new().args(["print"])).unwrap().value;
        assert_eq!(
            (program.code, program.stdout.as_slice(), program.stderr.as_slice()),
            (0, &b"out\nprinted\n"[..], &b"err\n"[..])
        );
    }
    assert_eq!(plugin.execute_blocking(&["print"]).unwrap().log, b"out\nerr\n");
    // With its panic's message, which its own host loses.
    let error = plugin.execute_blocking(&["panic"]).unwrap_err();
    assert_eq!(error.code(), "trap");
    assert!(String::from_utf8_lossy(&error.printed().unwrap().stderr).contains("asked to"), "{error:?}");
    // Prints to a stream that its manifest does not have.
    let imports =
        r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let work = r#"(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 5))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable)))"#;
    let silent = Module { imports: imports.to_owned(), work: work.to_owned(), ..Module::new("test") }.load();
    let program = silent.run_blocking(ProgramInput::new()).unwrap();
    assert_eq!((program.value.stdout.as_slice(), program.log.len()), (&b"done\n"[..], 0));
}

#[test]
fn leaving_is_an_answer_and_a_reported_error_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = cat(folder.path(), granted());
    assert_eq!(executes(&plugin, &["exit"]), failure(3, "it left with 3"));
    let program = plugin.run_blocking(ProgramInput::new().args(["exit"])).unwrap().value;
    assert_eq!((program.code, program.stderr), (3, b"it left with 3\n".to_vec()));
    let program = plugin.run_blocking(ProgramInput::new()).unwrap().value;
    assert_eq!((program.code, program.stderr), (1, b"`file` is missing\n".to_vec()));
    let error = json!({ "Error": { "code": 101, "message": "own fault\n" } });
    let program = Module::answering(&error).load().run_blocking(ProgramInput::new()).unwrap().value;
    assert_eq!((program.code, program.stderr), (101, b"own fault\n".to_vec()));
    // What failed does not leave as what did not.
    let error = json!({ "Error": { "code": 0, "message": "" } });
    assert_eq!(Module::answering(&error).load().run_blocking(ProgramInput::new()).unwrap().value.code, 1);
}

/// Only the first of its two hosts keeps an instance.
#[test]
fn a_session_keeps_an_instance_and_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = cat(folder.path(), granted());
    let mut session = plugin.session_blocking().unwrap();
    let count = || Input::Words(vec!["count".to_owned()]);
    let texts: Vec<String> =
        (0..3).map(|_| session.invoke_blocking("cat-file", count()).unwrap().value.to_json_text()).collect();
    assert_eq!(texts, ["\"1\"", "\"2\"", "\"3\""]);
}

/// Both are given back as they were given, the arguments first.
#[test]
fn what_is_handed_over_is_given_back_to_the_plugins_allocator() {
    let record = "(i32.store (global.get $at) (local.get 0))
        (i32.store (i32.add (global.get $at) (i32.const 4)) (local.get 1))
        (global.set $at (i32.add (global.get $at) (i32.const 8)))";
    let answers = packed(&json!({ "Success": "done" })).len();
    let check = |wants: &[(u64, usize)]| {
        wants
            .iter()
            .enumerate()
            .map(|(index, (pointer, length))| {
                let at = 8192 + index * 8;
                format!(
                    "(if (i32.ne (i32.load (i32.const {at})) (i32.const {pointer})) (then (unreachable)))
                     (if (i32.ne (i32.load (i32.const {})) (i32.const {length})) (then (unreachable)))",
                    at + 4
                )
            })
            .collect::<String>()
    };
    // `["ab"]` is four bytes, at the beginning of the heap.
    let work = format!(
        "(if (global.get $second) (then {}))
         (global.set $second (i32.const 1)) (global.set $at (i32.const 8192))",
        check(&[(super::HEAP, 4), (ANSWER, answers)])
    );
    let more = "(global $at (mut i32) (i32.const 8192)) (global $second (mut i32) (i32.const 0))".to_owned();
    let module = Module { dealloc: record.to_owned(), work, more, ..Module::new("test") };
    let plugin = module.load();
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..2 {
        session.invoke_blocking("test", Input::Words(vec!["ab".to_owned()])).unwrap();
    }
}

fn fetching(services: Services, options: LoadOptions) -> Plugin {
    let host = Host::builder().slots(8).services(services).build().unwrap();
    load_from(&host, "sen-fetch/sen_fetch.wasm", options)
}

#[test]
fn requests_are_made_for_it_where_it_may_and_it_is_resumed() {
    let server = Server::saying(ok("hi ä"));
    let url = format!("http://127.0.0.1:{}/a?b", server.port);
    let plugin = fetching(Services::default(), granted());
    for mode in MODES {
        let program = mode.run(&plugin, ProgramInput::new().args([url.as_str()])).unwrap().value;
        assert_eq!(String::from_utf8(program.stdout).unwrap(), "STATUS 200\nhi ä\n", "{mode:?}");
    }
    assert!(
        server.asked().iter().all(|request| request.starts_with("GET /a?b HTTP/1.1\r\n")
            && request.contains("accept: text/plain\r\n"))
    );
    assert_eq!(executes(&plugin, &[&url, "POST", "body of it"]), success("STATUS 200\nhi ä"));
    let posted = server.asked().pop().unwrap();
    assert!(
        posted.starts_with("POST ")
            && posted.contains("content-type: text/plain\r\n")
            && posted.ends_with("\r\n\r\nbody of it"),
        "{posted}"
    );
    assert_eq!(executes(&plugin, &[&url, "CHAIN"]), success("STATUS 200\nhi ä\nSTATUS 200\nhi ä"));
}

/// Its own host asked nobody whether it might.
#[test]
fn a_request_elsewhere_is_denied_and_the_plugin_goes_on() {
    let plugin = fetching(Services::default(), granted());
    let denied = "request failed: `net=http://169.254.169.254` is needed and not granted";
    for url in ["http://169.254.169.254/", "http://169.254.169.254:80/latest/meta-data"] {
        assert_eq!(executes(&plugin, &[url]), failure(1, denied), "{url}");
    }
    for url in ["http://localhost/", "https://other.example/", "http://api.example.com/"] {
        let ExecuteResult::Error(error) = executes(&plugin, &[url]) else { panic!("{url} was asked for") };
        assert!(error.message.ends_with("is needed and not granted"), "{}", error.message);
    }
    for url in
        ["file:///etc/passwd", "https://u:p@api.example.com/", "nonsense", "https://api.example.com/\n"]
    {
        let ExecuteResult::Error(error) = executes(&plugin, &[url]) else { panic!("{url} was asked for") };
        assert!(error.message.starts_with("request failed: "), "{}", error.message);
    }
    // Nothing granted, nothing loaded.
    let file = repository("plugins/sen-fetch/sen_fetch.wasm");
    assert_eq!(host().load_blocking(file, LoadOptions::new()).unwrap_err().code(), "denied");
}

#[test]
fn an_answer_that_is_no_text_or_too_long_is_a_failed_request() {
    let http = Arc::new(FakeHttp::default());
    http.answer("https://api.example.com/bytes", 200, vec![0xff, 0xfe]);
    http.answer("https://api.example.com/long", 200, vec![b'a'; 4096]);
    http.answer("https://api.example.com/none", 404, "");
    let mut services = Services::default();
    services.http = http;
    let options = granted().limit(LimitKind::HttpBody, 4095);
    let plugin = fetching(services, options);
    let asks = |path: &str| executes(&plugin, &[&format!("https://api.example.com/{path}")]);
    assert_eq!(asks("bytes"), failure(1, "request failed: the answer is no UTF-8 text"));
    assert!(matches!(asks("long"), ExecuteResult::Error(ExecuteError { code: 1, .. })));
    assert_eq!(asks("none"), success("STATUS 404\n"));
}

#[test]
fn sleeping_takes_the_time_it_says_or_none_and_ends_with_the_call() {
    let plugin = fetching(Services::default(), granted());
    let began = Instant::now();
    assert_eq!(executes(&plugin, &["-", "SLEEP"]), success("slept"));
    assert!(began.elapsed() >= Duration::from_millis(20));
    let sleeps = |id: u32, milliseconds: u64| {
        let slept = packed(&json!({ "Success": "slept" }));
        let more = format!(
            "(data (i32.const 8192) \"{}\") (func (export \"plugin_resume\") (param i32 i32 i32) (result i64)
             (if (i32.ne (local.get 0) (i32.const {id})) (then (unreachable))) {})",
            super::data(&slept),
            span(8192, slept.len())
        );
        let answer = json!({ "Effect": { "Sleep": { "id": id, "duration_ms": milliseconds } } });
        Module { answer: packed(&answer), more, ..Module::new("test") }
    };
    // Without the clock it passes at once.
    let ceiling = Ceiling::default().deny(["clock".parse::<Capability>().unwrap()]);
    let plugin = sleeps(7, u64::MAX).load_with(&host(), LoadOptions::new().ceiling(ceiling)).unwrap();
    assert_eq!(executes(&plugin, &NONE), success("slept"));
    let plugin = sleeps(7, u64::MAX).load_with(&host(), text()).unwrap();
    for mode in MODES {
        let options = CallOptions::new().timeout(Duration::from_millis(50));
        let input = Input::Words(Vec::new());
        let error = match mode {
            Mode::Blocking => plugin.invoke_blocking_with("test", input, &options),
            _ => mode.wait(plugin.invoke_with("test", input, &options)),
        };
        assert_eq!(error.unwrap_err().code(), "deadline", "{mode:?}");
    }
}
