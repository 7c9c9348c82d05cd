//! Plugins written with the SDK for CortexPrism's, for both of its targets.

use airlock_host::testing::{Fakes, fakes};
use airlock_host::{AbiId, Host, Input, LoadOptions, Plugin};
use serde_json::{Value, json};

use crate::support::{answer, error, repository};

const PLUGINS: [&str; 2] =
    ["plugins/cortex-context/cortex_context.wasm", "plugins/cortex-context-wasi/cortex_context_wasi.wasm"];

fn load(path: &str, fakes: &Fakes, grants: &[&str]) -> Plugin {
    let host = Host::builder().slots(8).services(fakes.services()).build().unwrap();
    let options = grants
        .iter()
        .fold(LoadOptions::new().name("tool"), |options, grant| options.allow(grant.parse().unwrap()));
    host.load_blocking(repository(path), options).unwrap()
}

/// Does the same with the plugin for each target, on a host of its own.
fn each(grants: &[&str], check: impl Fn(&Fakes, &Plugin)) {
    for path in PLUGINS {
        let mut fakes = fakes();
        fakes.config = fakes
            .config
            .plugin("tool", [("key".to_owned(), "value".to_owned()), ("long".to_owned(), "x".repeat(9000))]);
        let plugin = load(path, &fakes, grants);
        check(&fakes, &plugin);
    }
}

fn ask(plugin: &Plugin, function: &str, input: &Value) -> Value {
    serde_json::from_str(&answer(plugin, function, &[&input.to_string()])).unwrap()
}

fn fails(plugin: &Plugin, function: &str, input: &Value) -> String {
    error(plugin, function, &[&input.to_string()]).to_string()
}

#[test]
fn the_documents_example_does_what_it_says() {
    let host = Host::new().unwrap();
    let plugin = host.load_blocking(repository("plugins/cortex-document"), LoadOptions::new()).unwrap();
    assert_eq!((plugin.abi(), plugin.functions()), (AbiId::Json, &["transform".to_owned()][..]));
    let result = ask(&plugin, "transform", &json!({ "text": "hello world", "mode": "uppercase" }));
    assert_eq!(result["result"], "HELLO WORLD");
    let result = answer(&plugin, "transform", &[r#"{"text":"hello world","mode":"reverse"}"#]);
    assert_eq!(result, r#"{"result":"dlrow olleh","length":11,"hash":84918698004773316}"#);
    assert_eq!(
        fails(&plugin, "transform", &json!({ "text": "a" })),
        "the plugin failed: the input does not fit: missing field `mode` at line 1 column 12"
    );
}

/// The document's source in its two places: the plugin's, and CortexPrism's page with its typos.
#[test]
fn the_documents_example_is_unchanged_but_for_its_typos() {
    let source = std::fs::read_to_string(repository("plugins/cortex-document/src/lib.rs")).unwrap();
    assert!(source.contains(r#""lowercase" => input.text.to_lowercase(),"#));
    let manifest = std::fs::read_to_string(repository("plugins/cortex-document/Cargo.toml")).unwrap();
    for line in ["cortexprism-wasm-sdk = \"0.1\"", "serde = { version = \"1\", features = [\"derive\"] }"] {
        assert!(manifest.lines().any(|other| other == line), "{line}");
    }
}

#[test]
fn a_plugin_imports_what_it_uses_and_nothing_else() {
    let imports = |path: &str| {
        let examined = Host::new().unwrap().examine(repository(path), &LoadOptions::new()).unwrap();
        let mut modules: Vec<String> =
            examined.shape.imports.iter().map(|import| import.module.to_string()).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    };
    assert_eq!(imports("plugins/cortex-document"), ["wasi_snapshot_preview1"]);
    assert_eq!(imports(PLUGINS[0]), ["env"]);
    assert_eq!(imports(PLUGINS[1]), ["env", "wasi_snapshot_preview1"]);
}

#[test]
fn what_is_logged_reaches_the_log_where_it_may() {
    each(&["log"], |fakes, plugin| {
        assert_eq!(ask(plugin, "log-line", &json!("hello")), Value::Null);
        let logged = fakes.log.messages();
        assert_eq!((logged.len(), logged[0].message.as_str()), (1, "hello"));
    });
    each(&[], |fakes, plugin| {
        assert_eq!(ask(plugin, "log-line", &json!("hello")), Value::Null);
        assert!(fakes.log.messages().is_empty());
    });
}

#[test]
fn configuration_is_there_where_it_may_be_read_however_long() {
    each(&["config"], |_, plugin| {
        assert_eq!(ask(plugin, "config", &json!("key")), "value");
        assert_eq!(ask(plugin, "config", &json!("long")), "x".repeat(9000));
        assert_eq!(ask(plugin, "config", &json!("other")), Value::Null);
    });
    each(&[], |_, plugin| assert_eq!(ask(plugin, "config", &json!("key")), Value::Null));
}

#[test]
fn state_outlasts_the_instance_where_it_may_be_kept() {
    each(&["kv"], |_, plugin| {
        assert_eq!(ask(plugin, "state-get", &json!("key")), Value::Null);
        for value in ["", "value", &"ü".repeat(50_000)] {
            assert_eq!(ask(plugin, "state-set", &json!(["key", value])), Value::Null);
            assert_eq!(ask(plugin, "state-get", &json!("key")), value);
        }
    });
    each(&[], |_, plugin| {
        ask(plugin, "state-set", &json!(["key", "value"]));
        assert_eq!(ask(plugin, "state-get", &json!("key")), Value::Null);
    });
}

#[test]
fn requests_go_where_they_may_and_come_back_whole() {
    let fetch = json!({
        "method": "POST", "url": "https://api.example/x", "headers": [["x-a", "b"]], "body": "sent",
    });
    each(&["net=https://api.example"], |fakes, plugin| {
        fakes.http.answer("https://api.example/x", 201, "created");
        fakes.http.answer("https://api.example/long", 200, "x".repeat(70_000));
        let answer = ask(plugin, "http", &fetch);
        assert_eq!(answer, json!({ "status": 201, "body": "created", "cut": false }));
        let sent = fakes.http.requests().pop().unwrap();
        assert_eq!((sent.method().as_str(), sent.content().as_ref()), ("POST", &b"sent"[..]));
        assert_eq!(sent.headers()["x-a"].as_bytes(), b"b");
        let long = ask(plugin, "http", &json!({ "method": "GET", "url": "https://api.example/long" }));
        assert_eq!(long, json!({ "status": 200, "body": "x".repeat(65_528), "cut": true }));
    });
    each(&[], |fakes, plugin| {
        fakes.http.answer("https://api.example/x", 201, "created");
        assert_eq!(
            fails(plugin, "http", &fetch),
            "the plugin failed: no response (403): host: network:fetch permission denied"
        );
        assert!(fakes.http.requests().is_empty());
        assert_eq!(
            fails(plugin, "http", &json!({ "method": "GET", "url": "" })),
            "the plugin failed: no response (400): host: empty URL"
        );
    });
}

#[test]
fn time_and_random_numbers_are_real_where_granted() {
    each(&["clock", "random"], |_, plugin| {
        assert!(ask(plugin, "now-ms", &Value::Null).as_u64().unwrap() > 1_750_000_000_000);
        let random = || ask(plugin, "random-bytes", &json!(16));
        assert_ne!(random(), random());
        assert_eq!(ask(plugin, "random-bytes", &json!(70_000)).as_array().unwrap().len(), 70_000);
    });
    each(&[], |_, plugin| {
        let random = || ask(plugin, "random-bytes", &json!(16));
        assert_eq!(random(), random());
        let time = || ask(plugin, "now-ms", &Value::Null);
        assert_eq!(time(), time());
    });
}

#[test]
fn every_way_to_fail_is_told_with_its_reason() {
    each(&[], |_, plugin| {
        assert_eq!(fails(plugin, "fail", &json!("no such\nthing")), "the plugin failed: no such\\nthing");
        assert_eq!(
            fails(plugin, "fail", &json!(7)),
            "the plugin failed: the input does not fit: invalid type: integer `7`, expected a string at line 1 column 1"
        );
        assert_eq!(
            fails(plugin, "no-json", &Value::Null),
            "the plugin failed: the answer has no JSON: key must be a string"
        );
    });
}

#[test]
fn a_panic_is_told_with_its_message_and_place() {
    let source = include_str!("../../plugins/cortex-context/src/ways_to_fail.rs");
    let place = |text: &str| {
        let line = source.lines().position(|line| line.trim_start().starts_with(text)).unwrap() + 1;
        format!("src/ways_to_fail.rs:{line}:")
    };
    each(&[], |_, plugin| {
        assert_eq!(ask(plugin, "panic-at", &json!(2)), 3);
        for (function, input, message, text) in [
            ("panic", json!("all is lost"), "all is lost (", "panic!("),
            (
                "panic-at",
                json!(7),
                "index out of bounds: the len is 3 but the index is 7 (",
                "numbers[place]",
            ),
        ] {
            let error = error(plugin, function, &[&input.to_string()]);
            assert_eq!((error.code(), error.exit_code()), ("trap", 122));
            let told = error.to_string();
            let beginning = format!("the plugin trapped while running: panic: {message}");
            assert!(
                told.starts_with(&beginning) && told.contains(&place(text)) && told.ends_with(')'),
                "{told}"
            );
        }
        // Far more than is read of it.
        let told = fails(plugin, "panic", &json!("x".repeat(1 << 20)));
        assert!(told.len() < 5000, "{}", told.len());
    });
}

#[test]
fn a_session_is_called_again_and_again_without_growing() {
    each(&[], |_, plugin| {
        let mut session = plugin.session_blocking().unwrap();
        let mut call = |function: &str, input: &Value| {
            let outcome = session.invoke_blocking(function, Input::Words(vec![input.to_string()])).unwrap();
            (outcome.value.to_json_text(), outcome.usage.memory_bytes)
        };
        assert_eq!(call("count", &Value::Null).0, "1");
        let text = "ab".repeat(20_000);
        let (_, first) = call("repeat", &json!([text, 5]));
        for _ in 0..200 {
            let (answer, memory) = call("repeat", &json!([text, 5]));
            assert_eq!((answer.len(), memory), (200_002, first));
        }
        assert_eq!(call("repeat", &json!(["x", 0])).0, r#""""#);
        assert_eq!(call("count", &Value::Null).0, "2", "the same instance");
    });
    each(&[], |_, plugin| {
        assert_eq!([1, 2].map(|_| ask(plugin, "count", &Value::Null)), [json!(1), json!(1)], "each afresh");
    });
}
