//! What goes between a plugin and its host.

use airlock_host::console::Reply;
use airlock_host::{ErrorKind, ProgramInput};

use super::Step::{Call, Do, Exit, Recv, Send, Set};
use super::{
    INBOX, Person, fixture, folder, granted, load, module, module_with, printed, ran, run, said, text_of,
};
use crate::support::{MODES, host, limits, repository, survives};

const INIT: &str = concat!(
    r#"{"type":"init","protocol":"fledge-v1","args":[],"project":null,"#,
    r#""plugin":{"name":"probe","version":"","dir":""},"fledge":{"version":"1.8.0"},"#,
    r#""capabilities":{"exec":false,"store":false,"metadata":false}}"#
);

#[test]
fn init_is_received_first_and_once() {
    let at = folder();
    assert_eq!(printed(at.path(), &[], &[Recv(65_536), Recv(65_536)]), format!("<{INIT}>\n<>\n"));
}

#[test]
fn receiving_takes_what_there_is_room_for_and_leaves_the_rest() {
    let at = folder();
    let (head, rest) = INIT.split_at(16);
    let steps = [Recv(0), Recv(16), Recv(0), Recv(65_536), Recv(1)];
    assert_eq!(printed(at.path(), &[], &steps), format!("<>\n<{head}>\n<>\n<{rest}>\n<>\n"));
}

#[test]
fn an_init_of_200_kib_is_received_in_pieces() {
    let at = folder();
    let long = "x".repeat(200 << 10);
    let (stdout, _, code) = ran("fledge-messages", at.path(), &[], &["pieces", &long]);
    let fixture = fixture("fledge-messages", at.path(), &[]);
    let name = fixture.name();
    let init = INIT.replace("probe", name).replace(r#""version":"","dir""#, r#""version":"0.1.0","dir""#);
    let init = init.replace("[]", &format!(r#"["pieces","{long}"]"#));
    assert_eq!((stdout, code), (format!("{} reads, {} bytes\n", init.len().div_ceil(16), init.len()), 0));
}

#[test]
fn a_result_takes_the_place_of_what_was_not_received() {
    let at = folder();
    // `init` is gone with the first result, and the first result with the second.
    let steps = [
        Do("(drop (call $store_get (i32.const 16) (i32.const 1)))"),
        Do("(drop (call $metadata (i32.const 16) (i32.const 0)))"),
    ];
    let failing = module(&steps);
    let error = run(&load(&host(), &failing, granted(at.path(), &[])), &[]).unwrap_err();
    assert!(error.to_string().contains("malformed argument"), "{error}");
    let steps = [Call("store_get", "none"), Call("metadata", "[]"), Recv(9)];
    assert_eq!(printed(at.path(), &[], &steps), "<null>\n<{}>\n<>\n");
    let steps =
        [Do("(drop (call $store_get (i32.const 16) (i32.const 1)))"), Call("metadata", "[]"), Recv(9)];
    assert_eq!(printed(at.path(), &[], &steps), "<{}>\n<>\n");
}

#[test]
fn output_is_printed_as_it_is_whether_text_or_data() {
    let at = folder();
    let steps = [
        Send("{\"type\":\"output\",\"text\":\"one\\n\"}\n"),
        Send(r#"{"type":"output","data":"two"}"#),
        Send(r#"{"type":"output","text":"\u001b[2Jthree\n","colour":[1,{}]}"#),
    ];
    assert_eq!(printed(at.path(), &[], &steps), "one\ntwo\u{1b}[2Jthree\n");
}

#[test]
fn logs_and_progress_are_told_by_level_and_in_lines() {
    let at = folder();
    let (_, stderr, _) = ran("fledge-messages", at.path(), &[], &["log"]);
    let levels: Vec<&str> = stderr.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(levels, ["debug", "info", "warn", "error", "odd"]);
    assert!(stderr.lines().all(|line| line.contains(" [fledge-messages] ")), "{stderr}");
    let (stdout, stderr, _) = ran("fledge-messages", at.path(), &[], &["progress"]);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(
        (lines[0], lines[4], lines.len()),
        (
            "[fledge-messages] working (1/5)",
            "[fledge-messages] working (5/5)",
            // The end is told too, though it comes without a message.
            6
        )
    );
    assert_eq!((lines[5], stdout.as_str()), ("[fledge-messages] done", "done\n"));
}

#[test]
fn bad_json_bad_utf8_and_unknown_types_are_dropped_with_their_reason() {
    let at = folder();
    let (stdout, stderr, code) = ran("fledge-messages", at.path(), &[], &["malformed"]);
    assert_eq!((stdout.as_str(), code), ("still here\n", 0));
    let reasons: Vec<&str> = stderr
        .lines()
        .map(|line| line.strip_prefix("warning [fledge-messages] malformed message (dropped): ").unwrap())
        .collect();
    assert_eq!(reasons.len(), 5, "{stderr}");
    assert!(reasons[0].starts_with("EOF while parsing an object"));
    assert_eq!((reasons[1], reasons[2]), ("unknown type `nonsense`", "missing field `text`"));
    assert!(reasons[3].starts_with("trailing characters") && reasons[4].starts_with("invalid unicode"));
}

#[test]
fn requests_are_answered_in_order_with_their_ids() {
    let at = folder();
    std::fs::write(at.path().join("Cargo.toml"), "").unwrap();
    let capabilities = ["exec=sh -c *", "kv", "metadata"];
    let (stdout, stderr, code) = ran("fledge-messages", at.path(), &capabilities, &["all"]);
    assert_eq!((stderr.as_str(), code), ("", 0));
    assert_eq!(
        stdout,
        concat!(
            r#"{"type":"response","id":"a","value":{"code":0,"stderr":"","stdout":"hi\n"}}"#,
            "\n",
            r#"{"type":"response","id":"b","value":null}"#,
            "\n",
            r#"{"type":"response","id":"c","value":"v"}"#,
            "\n",
            r#"{"type":"response","id":"d","value":{"language":"rust"}}"#,
            "\n",
        )
    );
}

#[test]
fn a_response_never_comes_with_bytes_of_another() {
    let at = folder();
    let steps = [
        Recv(65_536),
        Send(r#"{"type":"load","id":1,"key":"k"}"#),
        Send(r#"{"type":"load","id":"two","key":"k"}"#),
        Recv(65_536),
        Recv(10),
        Recv(65_536),
        Recv(65_536),
    ];
    let one = r#"{"type":"response","id":1,"value":null}"#;
    let (head, rest) = r#"{"type":"response","id":"two","value":null}"#.split_at(10);
    let told = printed(at.path(), &[], &steps);
    assert_eq!(told, format!("<{INIT}>\n<{one}\n>\n<{head}>\n<{rest}\n>\n<>\n"));
}

#[test]
fn responses_that_nobody_receives_end_the_call_at_a_limit() {
    let at = folder();
    let wat = module(&[Do("(loop"), Send(r#"{"type":"load","id":"1","key":"k"}"#), Do("br 0)")]);
    let options = granted(at.path(), &[]).limits(&[(airlock_host::LimitKind::Input, 1000)].into());
    let error = run(&load(&host(), &wat, options), &[]).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("limit-input", 123));
}

#[test]
fn questions_are_answered_by_whoever_sits_there() {
    let at = folder();
    let person = Person::answering([
        Reply::Confirmed(true),
        Reply::Text("Ann".to_owned()),
        Reply::Selected(vec![1]),
        Reply::Selected(vec![0, 2]),
    ]);
    let input = ProgramInput::new().args(["ask"]).console(person.clone());
    let program = fixture("fledge-messages", at.path(), &[]).run_blocking(input).unwrap().value;
    assert_eq!((program.code, program.stdout.len()), (0, 0), "what was shown is not kept");
    let seen = person.seen().concat();
    for (question, answer) in [
        ("fledge-messages asks Go on?", r#""value":true}"#),
        ("fledge-messages asks Name?", r#""value":"Ann"}"#),
        ("fledge-messages asks Which?", r#""value":"green"}"#),
        ("fledge-messages asks Which ones?", r#""value":["a","c"]}"#),
    ] {
        let at = seen.find(question).unwrap_or_else(|| panic!("{seen}"));
        assert!(seen[at..].contains(answer), "{seen}");
    }
}

#[test]
fn questions_that_nobody_answers_are_refused_with_a_message() {
    let at = folder();
    let (stdout, stderr, code) = ran("fledge-messages", at.path(), &[], &["ask"]);
    assert_eq!(code, 0);
    let values: Vec<&str> = stdout.lines().filter_map(|line| line.split("\"value\":").nth(1)).collect();
    // What a question does not say to stand for an answer stands for none.
    assert_eq!(values, ["false}", "null}", "null}", "null}"]);
    assert!(
        stderr.starts_with(
            "warning [fledge-messages] asks `Go on?`, and nobody can be asked here: it is told its own default, false\n\
             warning [fledge-messages] asks `Name?`, and nobody can be asked here: it is told that there is no answer\n"
        ),
        "{stderr}"
    );
}

#[test]
fn an_answer_to_another_question_is_none() {
    let at = folder();
    let person = Person::answering([Reply::Text("yes".to_owned())]);
    let steps = [
        Send(r#"{"type":"select","id":"1","message":"m\u001b[2J\n`","options":["a"],"default":0}"#),
        Recv(0),
        Call("metadata", "[]"),
        Recv(99),
    ];
    let plugin = load(&host(), &module(&steps), granted(at.path(), &[]));
    plugin.run_blocking(ProgramInput::new().console(person.clone())).unwrap();
    let seen = person.seen().concat();
    assert!(seen.contains(r#"{"type":"response","id":"1","value":"a"}"#), "{seen}");
    assert!(seen.contains(r"asks `m\\x1b[2J\\n``"), "{seen}");
}

#[test]
fn exit_ends_the_run_with_its_code() {
    let at = folder();
    for code in [0, 1, 7, 255, -1] {
        let wat = module(&[Send(r#"{"type":"output","text":"x"}"#), Exit(code), Do("unreachable")]);
        let program = run(&load(&host(), &wat, granted(at.path(), &[])), &[]).unwrap().value;
        assert_eq!((program.code, text_of(&program.stdout).as_str()), (code, "x"));
    }
}

#[test]
fn both_types_of_send_link_and_no_third() {
    let at = folder();
    let steps = [Send(r#"{"type":"output","text":"x"}"#)];
    for gives in ["", "(result i32)"] {
        let plugin = load(&host(), &module_with(&steps, gives), granted(at.path(), &[]));
        assert_eq!(run(&plugin, &[]).unwrap().value.stdout, b"x");
    }
    let wat = module_with(&steps, "(result i64)");
    let error = host().load_blocking(wat.as_bytes(), granted(at.path(), &[])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IncompatibleImport { .. }), "{error}");
}

#[test]
fn a_program_that_prints_messages_is_read_where_it_says_so() {
    let at = folder();
    let (stdout, stderr, code) = ran("fledge-stdout", at.path(), &[], &["a", "b"]);
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("fledge-stdout running\nplain line\nargs: ") && stdout.contains('b'),
        "{stdout}"
    );
    assert_eq!(stderr, "info [fledge-stdout] a line of standard output\n");
    // Where nothing says so what it prints is what it prints.
    let wasm = std::fs::read(repository("plugins/fledge-stdout/fledge-stdout.wasm"));
    let options = airlock_host::LoadOptions::new().abi(airlock_host::AbiId::Fledge);
    let plugin = host().load_blocking(wasm.unwrap(), options).unwrap();
    let plain = text_of(&run(&plugin, &[]).unwrap().value.stdout);
    assert!(plain.starts_with("{\"type\":\"output\""), "{plain}");
    let read = plugin.run_blocking(ProgramInput::new().stdout_protocol(true)).unwrap();
    assert!(text_of(&read.value.stdout).starts_with("fledge-stdout running\nplain line\n"));
}

#[test]
fn every_call_mode_runs_them() {
    let at = folder();
    let steps = [Send(r#"{"type":"load","id":"1","key":"k"}"#), Recv(9), Call("metadata", "[]"), Recv(99)];
    let plugin = load(&host(), &module(&steps), granted(at.path(), &[]));
    for mode in MODES {
        let told = text_of(&mode.run(&plugin, ProgramInput::new()).unwrap().value.stdout);
        assert!(
            told.ends_with("<{}>\n<{\"type\":\"response\",\"id\":\"1\",\"value\":null}\n>\n"),
            "{mode:?} {told}"
        );
    }
    let error = plugin.call_blocking::<_, ()>("_start", &()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WrongVerb { .. }), "{error}");
}

#[test]
fn ptr_len_of_every_import_is_checked() {
    let at = folder();
    let host = host();
    let end = 96_u32 << 16;
    for function in ["send", "exec", "store_set", "store_get", "metadata", "http", "recv"] {
        let gives = matches!(function, "exec" | "store_get" | "metadata" | "http" | "recv");
        for (pointer, length) in
            [(-1, 1), (0, -1), (end.cast_signed(), 1), (end.cast_signed() - 1, 2), (-1024, 2048)]
        {
            let drop = if gives { "drop" } else { "" };
            let code = format!("i32.const {pointer} i32.const {length} call ${function} {drop}");
            let error = run(&load(&host, &module(&[Do(&code)]), granted(at.path(), &[])), &[]).unwrap_err();
            assert_eq!(
                (error.code(), error.exit_code()),
                ("bad-guest", 122),
                "{function} {pointer} {length}"
            );
        }
    }
    // Nothing is nowhere too far, and what is received may be where what is sent is.
    let overlapping = format!(
        "(drop (call $recv (i32.const {INBOX}) (i32.const 8))) (call $send (i32.const {INBOX}) (i32.const 8))"
    );
    let wat = module(&[Do(&format!("(call $send (i32.const {end}) (i32.const 0))")), Do(&overlapping)]);
    let program = run(&load(&host, &wat, granted(at.path(), &[])), &[]).unwrap().value;
    assert_eq!(text_of(&program.stderr).lines().count(), 2);
    survives(&host);
}

#[test]
fn output_bomb_over_messages_is_stopped_at_its_limits() {
    let host = host();
    let wat = |message: &str| module(&[Do("(loop"), Send(message), Do("br 0)")]);
    for (message, code) in [
        (r#"{"type":"output","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#, "limit-output"),
        (r#"{"type":"log","level":"info","message":"xxxxxxxxxxxxxxxx"}"#, "limit-log"),
        (r#"{"type":"nonsense"}"#, "limit-log"),
        (r#"{"type":"progress","current":1}"#, "limit-log"),
    ] {
        let options = limits(&[("output", "64KiB"), ("log", "64KiB")]);
        let error = run(&load(&host, &wat(message), options), &[]).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, 123), "{message}");
    }
    survives(&host);
}

#[test]
fn what_breaks_a_functions_rules_ends_the_run_with_its_cause() {
    let at = folder();
    let fails = |step: super::Step<'_>| {
        let error = run(&load(&host(), &module(&[step]), granted(at.path(), &["kv"])), &[]).unwrap_err();
        assert_eq!(error.code(), "bad-guest");
        error.to_string()
    };
    let long = format!(r#"{{"key":"{}","value":""}}"#, "k".repeat(257));
    let large = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(65_537));
    assert!(fails(Set(r#"{"key":"","value":"v"}"#)).contains("a key has 1 to 256 bytes"));
    assert!(fails(Set(r#"{"key":"a\nb","value":"v"}"#)).contains("no control characters"));
    assert!(fails(Set(&long)).contains("a key has 1 to 256 bytes"));
    assert!(fails(Set(&large)).contains("a value has at most 65536 bytes"));
    assert!(fails(Set(r#"{"key":"k","value":7}"#)).contains("invalid type: integer `7`, expected a string"));
    assert!(fails(Call("exec", "{\"command\":")).contains("malformed argument: EOF"));
    let (stdout, stderr) = said(at.path(), &["kv"], &[Send(&long.replacen('{', r#"{"type":"store","#, 1))]);
    assert_eq!(stdout, "");
    assert_eq!(stderr, "warning [probe] not kept: a key has 1 to 256 bytes and no control characters\n");
}

#[test]
fn a_module_without_memory_or_start_says_what_is_missing() {
    for (wat, reason) in [
        (r#"(module (import "fledge" "exit" (func (param i32))))"#, "it exports no `_start`"),
        (
            r#"(module (import "fledge" "send" (func (param i32 i32))) (func (export "_start")))"#,
            "it exports no 32-bit memory named `memory`",
        ),
        (
            r#"(module (import "fledge" "exit" (func (param i32))) (memory (export "memory") 1) (func (export "_start") (param i32)))"#,
            "its `_start` takes or gives something",
        ),
    ] {
        let error = host().load_blocking(wat.as_bytes(), crate::support::text()).unwrap_err();
        assert_eq!(error.to_string(), format!("the module does not fit the `fledge` ABI: {reason}"));
    }
}
