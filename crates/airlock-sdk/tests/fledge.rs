//! What a plugin sends and makes of what it gets, with a host that is a script.

use airlock_sdk::fledge::testing::{self, Script};
use airlock_sdk::fledge::{
    Confirm, Error, Exec, Level, MultiSelect, Plugin, Progress, Prompt, Request, Select, Validate,
};
use serde_json::{Value, json};

fn plugin(script: Script) -> Plugin<Script> {
    Plugin::connect(script).expect("the script begins as it has to")
}

/// A plugin whose host has one answer.
fn answered(value: impl Into<Value>) -> Plugin<Script> {
    plugin(Script::new(testing::init([""; 0])).answer(value))
}

/// The one message that `act` sends; what it makes of an answer is not looked at.
fn sent<R>(act: impl FnOnce(&mut Plugin<Script>) -> R) -> String {
    let mut plugin = answered(Value::Null);
    act(&mut plugin);
    let [message] = plugin.transport().sent() else { panic!("{:?}", plugin.transport()) };
    message.clone()
}

#[test]
fn init_of_200_kib_is_read_in_pieces_of_1_kib() {
    let long = "ü".repeat(100 * 1024);
    let script = Script::new(testing::init([long.as_str(), "after"])).piece(1024).answer("value");
    let mut plugin = plugin(script);
    assert_eq!(plugin.args(), [long.as_str(), "after"]);
    assert_eq!(plugin.init().plugin.name, "test");
    assert_eq!(plugin.load("key").expect("there is an answer").as_deref(), Some("value"));
}

#[test]
fn init_may_end_with_a_newline() {
    let init = format!("{}\n", testing::init(["a"]));
    assert_eq!(plugin(Script::raw(init)).args(), ["a"]);
}

#[test]
fn a_host_that_says_nothing_is_an_error() {
    for nothing in ["", "\n", " \n\n"] {
        let error = Plugin::connect(Script::raw(nothing)).expect_err("there is no init");
        assert!(matches!(error, Error::NoInit), "{error:?}");
        assert_eq!(error.to_string(), "the host sent no `init`");
    }
}

#[test]
fn an_init_that_is_cut_off_is_an_error() {
    let init = testing::init(["a"]).to_string();
    let error = Plugin::connect(Script::raw(&init[..40])).expect_err("half of it is missing");
    assert!(matches!(error, Error::Json(_)), "{error:?}");
}

#[test]
fn messages_without_answer_have_the_protocols_text() {
    assert_eq!(sent(|p| p.output("a \"b\"\n\u{1b}")), r#"{"type":"output","text":"a \"b\"\n\u001b"}"#);
    let levels =
        [Level::Debug, Level::Info, Level::Warn, Level::Error].map(|level| sent(|p| p.log(level, "m")));
    assert_eq!(
        levels,
        [
            r#"{"type":"log","level":"debug","message":"m"}"#,
            r#"{"type":"log","level":"info","message":"m"}"#,
            r#"{"type":"log","level":"warn","message":"m"}"#,
            r#"{"type":"log","level":"error","message":"m"}"#,
        ]
    );
    let progress = |progress| sent(|p| p.progress(progress));
    assert_eq!(progress(Progress::new("m")), r#"{"type":"progress","message":"m"}"#);
    assert_eq!(
        progress(Progress::new("m").at(3, 10)),
        r#"{"type":"progress","message":"m","current":3,"total":10}"#
    );
    assert_eq!(progress(Progress::done()), r#"{"type":"progress","done":true}"#);
    assert_eq!(sent(|p| p.store("k", "v")), r#"{"type":"store","key":"k","value":"v"}"#);
}

#[test]
fn requests_have_the_protocols_text() {
    assert_eq!(sent(|p| p.load("k")), r#"{"type":"load","id":"1","key":"k"}"#);
    assert_eq!(sent(|p| p.metadata(&["env", "x"])), r#"{"type":"metadata","id":"1","keys":["env","x"]}"#);
    assert_eq!(sent(|p| p.exec("ls -l")), r#"{"type":"exec","id":"1","command":"ls -l"}"#);
    assert_eq!(
        sent(|p| p.exec(Exec::new("ls").cwd("src").timeout(30))),
        r#"{"type":"exec","id":"1","command":"ls","cwd":"src","timeout":30}"#
    );
    assert_eq!(sent(|p| p.http("http://a/")), r#"{"type":"http","id":"1","method":"GET","url":"http://a/"}"#);
    let request = Request::new("PUT", "http://a/")
        .header("X-A", "1")
        .header("x-b", "2")
        .header("x-a", "3")
        .body("text")
        .timeout(5);
    assert_eq!(
        sent(|p| p.http(request)),
        r#"{"type":"http","id":"1","method":"PUT","url":"http://a/","headers":{"x-b":"2","x-a":"3"},"body":"text","timeout":5}"#
    );
}

#[test]
fn questions_have_the_protocols_text() {
    assert_eq!(sent(|p| p.prompt("n?")), r#"{"type":"prompt","id":"1","message":"n?"}"#);
    let rules = [
        (Validate::NonEmpty, "non_empty"),
        (Validate::Integer, "integer"),
        (Validate::PathExists, "path_exists"),
        (Validate::Url, "url"),
    ];
    for (rule, name) in rules {
        assert_eq!(
            sent(|p| p.prompt(Prompt::new("n?").default("d").validate(rule))),
            format!(r#"{{"type":"prompt","id":"1","message":"n?","default":"d","validate":"{name}"}}"#)
        );
    }
    assert_eq!(sent(|p| p.confirm("y?")), r#"{"type":"confirm","id":"1","message":"y?"}"#);
    assert_eq!(
        sent(|p| p.confirm(Confirm::new("y?").default(false))),
        r#"{"type":"confirm","id":"1","message":"y?","default":false}"#
    );
    assert_eq!(
        sent(|p| p.select(Select::new("s?", ["a", "b"]))),
        r#"{"type":"select","id":"1","message":"s?","options":["a","b"]}"#
    );
    assert_eq!(
        sent(|p| p.select(Select::new("s?", ["a", "b"]).default(1))),
        r#"{"type":"select","id":"1","message":"s?","options":["a","b"],"default":1}"#
    );
    assert_eq!(
        sent(|p| p.multi_select(MultiSelect::new("m?", ["a", "b"]))),
        r#"{"type":"multi_select","id":"1","message":"m?","options":["a","b"]}"#
    );
    assert_eq!(
        sent(|p| p.multi_select(MultiSelect::new("m?", ["a", "b"]).defaults([0, 1]))),
        r#"{"type":"multi_select","id":"1","message":"m?","options":["a","b"],"defaults":[0,1]}"#
    );
}

#[test]
fn answers_are_read_in_the_order_of_the_requests() {
    let script = Script::new(testing::init([""; 0])).piece(7).answer("one").answer(Value::Null).answer(true);
    let mut plugin = plugin(script);
    assert_eq!(plugin.load("a").expect("an answer").as_deref(), Some("one"));
    plugin.output("between").expect("it is sent");
    assert_eq!(plugin.load("b").expect("an answer"), None);
    assert_eq!(plugin.confirm("c?").expect("an answer"), Some(true));
    let ids =
        [r#"{"type":"load","id":"1""#, "{", r#"{"type":"load","id":"2""#, r#"{"type":"confirm","id":"3""#];
    for (message, beginning) in plugin.transport().sent().iter().zip(ids) {
        assert!(message.starts_with(beginning), "{message}");
    }
    assert_eq!(plugin.transport().output(), "between");
}

#[test]
fn every_request_gives_its_kind_of_answer() {
    let result = answered(json!({ "code": 3, "stdout": "o", "stderr": "e" })).exec("x").expect("an answer");
    assert_eq!((result.code, result.stdout.as_str(), result.stderr.as_str()), (3, "o", "e"));
    assert!(!result.success());
    let metadata = answered(json!({ "git_tags": ["v1"] })).metadata(&["git_tags"]).expect("an answer");
    assert_eq!(metadata["git_tags"][0], "v1");
    assert!(answered(json!({})).metadata(&[]).expect("an answer").is_empty());
    assert_eq!(answered("t").prompt("?").expect("an answer").as_deref(), Some("t"));
    assert_eq!(answered(Value::Null).confirm("?").expect("an answer"), None);
    let options = || Select::new("?", ["a", "b"]);
    assert_eq!(answered("b").select(options()).expect("an answer").as_deref(), Some("b"));
    assert_eq!(answered(Value::Null).select(options()).expect("an answer"), None);
    let options = || MultiSelect::new("?", ["a", "b"]);
    let chosen = answered(json!(["a", "b"])).multi_select(options()).expect("an answer");
    assert_eq!(chosen, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(answered(Value::Null).multi_select(options()).expect("an answer"), None);
    let response = answered(json!({ "status": 204, "headers": {}, "body": "" })).http("http://a/");
    assert_eq!(response.expect("an answer").status, 204);
    let denied = answered(json!({ "error": "no", "code": "denied" })).http("http://a/");
    assert!(matches!(denied, Err(Error::Http { code, message }) if code == "denied" && message == "no"));
}

#[test]
fn answers_of_another_kind_are_errors() {
    let errors = [
        answered(1).load("k").map(drop),
        answered("x").exec("x").map(drop),
        answered(json!({ "code": "x" })).exec("x").map(drop),
        answered(json!({ "code": 1u64 << 40 })).exec("x").map(drop),
        answered(json!([])).metadata(&[]).map(drop),
        answered(true).prompt("?").map(drop),
        answered("yes").confirm("?").map(drop),
        answered(0).select(Select::new("?", ["a"])).map(drop),
        answered(json!(["a", 1])).multi_select(MultiSelect::new("?", ["a"])).map(drop),
        answered("x").multi_select(MultiSelect::new("?", ["a"])).map(drop),
    ];
    for error in errors {
        assert!(matches!(error, Err(Error::Unexpected { .. })), "{error:?}");
    }
    let error = answered(1).load("k").expect_err("a number is no text");
    assert_eq!(error.to_string(), "what the host sent for `load` is not a string or null");
}

#[test]
fn an_answer_with_another_id_is_an_error() {
    let raw = |answer: &str| {
        let mut plugin = plugin(Script::new(testing::init([""; 0])).answer_raw(answer));
        plugin.load("k").expect_err("it is refused").to_string()
    };
    assert_eq!(
        raw("{\"type\":\"response\",\"id\":\"7\",\"value\":null}\n"),
        "the host answered the id `\"7\"` and not `\"1\"`"
    );
    assert_eq!(
        raw("{\"type\":\"response\",\"id\":1,\"value\":null}\n"),
        "the host answered the id `1` and not `\"1\"`"
    );
    assert_eq!(raw("{\"type\":\"response\"}\n"), "the host answered the id `null` and not `\"1\"`");
}

#[test]
fn no_answer_is_an_error_and_the_plugin_can_go_on() {
    let mut plugin = plugin(Script::new(testing::init([""; 0])));
    let error = plugin.load("k").expect_err("there is no answer");
    assert!(matches!(error, Error::NoAnswer("load")), "{error:?}");
    assert_eq!(error.to_string(), "the host does not answer `load`");
    plugin.output("still here").expect("it is sent");
}

#[test]
fn what_is_not_json_is_an_error() {
    for raw in ["{\"type\":\"response\",\"id\":\"1\"\n", "\u{0}\n", "{} {}\n"] {
        let mut plugin = plugin(Script::new(testing::init([""; 0])).answer_raw(raw));
        let error = plugin.load("k").expect_err("it is refused");
        assert!(matches!(error, Error::Json(_)), "{error:?}");
    }
    let mut plugin = plugin(Script::new(testing::init([""; 0])).answer_raw("7\n"));
    let error = plugin.load("k").expect_err("it is refused");
    assert!(matches!(error, Error::Unexpected { message: "load", .. }), "{error:?}");
}

#[test]
fn messages_of_types_to_come_are_passed_over() {
    let raw = "\n{\"type\":\"cancel\"}\n{\"type\":\"response\",\"id\":\"1\",\"value\":\"v\"}\n";
    let mut plugin = plugin(Script::new(testing::init([""; 0])).answer_raw(raw));
    assert_eq!(plugin.load("k").expect("there is an answer").as_deref(), Some("v"));
}

#[test]
fn a_script_keeps_what_was_logged() {
    let mut plugin = answered(Value::Null);
    plugin.log(Level::Warn, "odd").expect("it is sent");
    assert_eq!(plugin.transport().logs(), [("warn".to_owned(), "odd".to_owned())]);
}
