//! Components of other languages than Rust: the same functions in C, in JavaScript, and in Python, which
//! `scripts/large-component` builds.

use std::process::Command;

use airlock_host::{LoadOptions, Plugin};
use serde_json::{Value, json};

use super::{answer, error};
use crate::support::{MODES, Mode, host, limits, repository};

const IN_C: &str = "plugins/words-c/words.wasm";
const IN_JAVASCRIPT: &str = "plugins/words-js/words.wasm";
const IN_PYTHON: &str = "target/large-component.wasm";

fn load(path: &str, options: LoadOptions) -> Plugin {
    host().load_blocking(repository(path), options).expect("the plugin loads")
}

/// What the functions answer, whatever they are written in.
fn functions_answer(plugin: &Plugin) {
    let count = |text: &str, order: &str| -> Value {
        plugin.call_blocking("count", &json!({ "text": text, "order": order })).unwrap().value
    };
    let entry = |word: &str, times: u32| json!({ "word": word, "times": times });
    let text = "to be or not to be,\tthat\nis  to ";
    let once = ["be", "be,", "is", "not", "or", "that"].map(|word| entry(word, 1));
    assert_eq!(count(text, "by-word"), json!([&once[..], &[entry("to", 3)]].concat()));
    assert_eq!(count(text, "by-times"), json!([&[entry("to", 3)][..], &once[..]].concat()));
    assert_eq!(count(" \n", "by-word"), json!([]));
    assert_eq!(count("", "by-word"), json!([]));
    assert_eq!(answer(plugin, "longest", r#"["one three five seven"]"#), r#""three""#);
    assert_eq!(answer(plugin, "longest", r#"[""]"#), "null");
    assert_eq!(answer(plugin, "shout", r#"["abc, xyz!"]"#), r#""ABC, XYZ!""#);
    let refused = error(plugin, "shout", r#"[""]"#);
    assert_eq!(
        (refused.code(), refused.to_string()),
        ("failed", "the plugin failed: it is empty".to_owned())
    );
    assert_eq!(error(plugin, "count", r#"["a","by-length"]"#).code(), "invalid-value");
}

#[test]
fn functions_in_c_take_and_give_every_kind_of_value() {
    functions_answer(&load(IN_C, LoadOptions::new()));
}

/// The component in Python, which is too large to be kept in the repository: it is built where it is not there,
/// or is older than its source.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told of what was not")]
fn in_python() -> Option<Plugin> {
    let age = |path: &str| repository(path).metadata().and_then(|file| file.modified()).ok();
    if age(IN_PYTHON) < age("plugins/words-py/app.py") {
        let built = Command::new(repository("scripts/large-component")).output();
        if !built.as_ref().is_ok_and(|built| built.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "there is no {IN_PYTHON}: {built:?}");
            eprintln!("skipped: there is no {IN_PYTHON}, which `scripts/large-component` builds");
            return None;
        }
    }
    let options = limits(&[("memory", "256MiB"), ("timeout", "60s"), ("compile_time", "10m")]);
    Some(load(IN_PYTHON, options))
}

#[test]
fn functions_in_python_answer_as_those_in_c() {
    let Some(plugin) = in_python() else { return };
    assert_eq!(plugin.schema("count").unwrap(), load(IN_C, LoadOptions::new()).schema("count").unwrap());
    functions_answer(&plugin);
}

/// What componentize-qjs makes: an interpreter, and beside it a component that stands in for WASI, both in
/// one that is all that is seen.
#[test]
fn functions_in_javascript_answer_as_those_in_c() {
    let plugin = load(IN_JAVASCRIPT, limits(&[("compile_time", "10m")]));
    assert!(plugin.shape().imports.is_empty(), "it has its own WASI");
    assert_eq!(plugin.schema("count").unwrap(), load(IN_C, LoadOptions::new()).schema("count").unwrap());
    functions_answer(&plugin);
}

#[test]
fn sessions_of_javascript_go_on_within_one_budget() {
    let host = host();
    let within = |memory| {
        let options = limits(&[("memory", memory), ("compile_time", "10m")]);
        host.load_blocking(repository(IN_JAVASCRIPT), options).expect("the plugin loads")
    };
    let plugin = within("16MiB");
    let mut session = plugin.session_blocking().unwrap();
    let text = "word ".repeat(4_000);
    for _ in 0..20 {
        let shouted: String = session.call_blocking("shout", &(&text,)).unwrap().value;
        assert_eq!(shouted.len(), text.len());
    }
    assert!(session.is_alive());
    // All its memories together, the ones that are deeper in it included.
    let plugin = within("1MiB");
    assert_eq!(error(&plugin, "longest", r#"["a"]"#).code(), "limit-memory");
}

#[test]
fn sessions_of_c_go_on_and_give_back_what_they_took_in_every_mode() {
    let plugin = load(IN_C, limits(&[("memory", "4MiB")]));
    for mode in MODES {
        let input = airlock_host::Input::Json(r#"["a bb"]"#.to_owned());
        let found = match mode {
            Mode::Blocking => plugin.invoke_blocking("longest", input),
            _ => mode.wait(plugin.invoke("longest", input)),
        };
        assert_eq!(found.unwrap().value.to_json_text(), r#""bb""#, "{mode:?}");
    }
    let mut session = plugin.session_blocking().unwrap();
    // More, one after another, than its memory would hold if none of it were given back.
    let text = "word ".repeat(40_000);
    for _ in 0..50 {
        let shouted: String = session.call_blocking("shout", &(&text,)).unwrap().value;
        assert_eq!(shouted.len(), text.len());
    }
    assert!(session.is_alive());
}
