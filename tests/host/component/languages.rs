//! Components of other languages than Rust: the same functions in C and in JavaScript.

use airlock_host::{LoadOptions, Plugin};
use serde_json::{Value, json};

use super::{answer, error};
use crate::support::{MODES, host, limits, repository};

const PLUGINS: [&str; 2] = ["plugins/words-c/words.wasm", "plugins/words-js/words.wasm"];

fn load(path: &str, options: LoadOptions) -> Plugin {
    host().load_blocking(repository(path), options).expect("the plugin loads")
}

#[test]
fn functions_in_c_and_in_javascript_have_the_same_types_and_answers() {
    let listed = |plugin: &Plugin| {
        let functions: Vec<_> = plugin.functions().to_vec();
        (functions, plugin.schema("count").unwrap())
    };
    let plugins = PLUGINS.map(|path| load(path, LoadOptions::new()));
    assert_eq!(listed(&plugins[0]), listed(&plugins[1]));
    for plugin in &plugins {
        let count = |text: &str, order: &str| -> Value {
            plugin.call_blocking("count", &json!({ "text": text, "order": order })).unwrap().value
        };
        let entry = |word: &str, times: u32| json!({ "word": word, "times": times });
        let text = "to be or not to be,\tthat\nis  to ";
        let by_word = [
            entry("be", 1),
            entry("be,", 1),
            entry("is", 1),
            entry("not", 1),
            entry("or", 1),
            entry("that", 1),
        ];
        let expected = [&by_word[..], &[entry("to", 3)]].concat();
        assert_eq!(count(text, "by-word"), json!(expected), "{plugin:?}");
        let expected = [&[entry("to", 3)][..], &by_word[..]].concat();
        assert_eq!(count(text, "by-times"), json!(expected), "{plugin:?}");
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
}

#[test]
fn sessions_of_them_go_on_and_limits_hold_in_every_mode() {
    for path in PLUGINS {
        let plugin = load(path, limits(&[("memory", "32MiB")]));
        for mode in MODES {
            let input = airlock_host::Input::Json(r#"["a bb"]"#.to_owned());
            let found = match mode {
                crate::support::Mode::Blocking => plugin.invoke_blocking("longest", input),
                _ => mode.wait(plugin.invoke("longest", input)),
            };
            assert_eq!(found.unwrap().value.to_json_text(), r#""bb""#, "{path} {mode:?}");
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
    // An interpreter needs some fuel, and has no more than it is given.
    let plugin = load(PLUGINS[1], limits(&[("fuel", "1000")]));
    assert_eq!(error(&plugin, "longest", r#"["a"]"#).code(), "limit-fuel");
}
