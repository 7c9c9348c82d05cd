//! Functions by their names, and what they are called with and answer.

use airlock_host::{AbiId, ErrorKind, Input, LoadOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{answer, error, invoke_in, values};
use crate::support::{MODES, host, load, load_error, text};
use crate::values::{EVERYTHING_IN_WAVE, everything, everything_otherwise};

/// A component without imports whose one function adds in a module of its own.
const ADD: &str = r#"(component
    (core module $m (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
    (core instance $m (instantiate $m))
    (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add"))))"#;

/// The same function in two interfaces of one name with two versions.
const TWICE: &str = r#"(component
    (core module $m (func (export "one") (result i32) i32.const 1) (func (export "two") (result i32) i32.const 2))
    (core instance $m (instantiate $m))
    (func $one (result u32) (canon lift (core func $m "one")))
    (func $two (result u32) (canon lift (core func $m "two")))
    (instance $one (export "which" (func $one)))
    (instance $two (export "which" (func $two)))
    (export "a:b/c@1.0.0" (instance $one))
    (export "a:b/c@2.0.0" (instance $two))
    (export "a:b/d@1.0.0" (instance $one)))"#;

#[test]
fn a_component_with_functions_is_of_the_component_abi_and_called_in_every_mode() {
    let plugin = load(&host(), ADD, text());
    assert_eq!((plugin.abi(), plugin.functions()), (AbiId::Component, &["add".to_owned()][..]));
    assert_eq!(plugin.abi_reason(), "it is a component that exports a function");
    for mode in MODES {
        assert_eq!(invoke_in(mode, &plugin, "add", r#"{"b":2,"a":40}"#).unwrap(), "42", "{mode:?}");
        // One that imports WASI, which is polled on a fiber.
        assert_eq!(invoke_in(mode, &values(), "add", "[1,2]").unwrap(), "3", "{mode:?}");
    }
    let wrong = plugin.run_blocking(airlock_host::ProgramInput::new()).expect_err("it is no program");
    assert_eq!(wrong.code(), "wrong-verb");
    assert_eq!(
        load_error("(module)", text().abi(AbiId::Component)).to_string(),
        "the module does not fit the `component` ABI: it is a module"
    );
}

#[test]
fn a_component_without_imports_is_called_inside_a_runtime() {
    let plugin = load(&host(), ADD, text());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sum = runtime.block_on(async { plugin.call_blocking::<_, u32>("add", &(1, 2)).unwrap().value });
    assert_eq!(sum, 3);
    let error = runtime.block_on(async { values().call_blocking::<_, u32>("add", &(1, 2)).unwrap_err() });
    assert_eq!(*error.kind(), ErrorKind::BlockingInRuntime);
}

#[test]
fn functions_are_found_by_full_and_short_names() {
    let plugin = values();
    for name in ["airlock:values/math@0.1.0.distance", "airlock:values/math.distance", "distance"] {
        assert_eq!(
            answer(&plugin, name, r#"{"origin":{"x":0,"y":0},"target":{"x":3,"y":4}}"#),
            "5.0",
            "{name}"
        );
    }
    let unknown = error(&plugin, "airlock:values/math.distanc", "[]");
    assert_eq!((unknown.code(), unknown.exit_code()), ("unknown-function", 127));
    assert_eq!(unknown.to_string(), "`wit_values` has no function `airlock:values/math.distanc`");
    assert!(unknown.hint().unwrap().contains("`airlock:values/math.distance`"), "{:?}", unknown.hint());
    let twice = load(&host(), TWICE, text());
    assert_eq!(twice.functions(), ["a:b/c@1.0.0.which", "a:b/c@2.0.0.which", "a:b/d.which"]);
    assert_eq!(answer(&twice, "a:b/c@2.0.0.which", "[]"), "2");
    assert_eq!(answer(&twice, "a:b/d.which", "null"), "1");
    let several = error(&twice, "a:b/c.which", "[]");
    assert_eq!(several.hint(), Some("did you mean `a:b/c@1.0.0.which` or `a:b/c@2.0.0.which`?"));
}

#[test]
fn a_value_of_every_type_comes_back_as_it_was() {
    let plugin = values();
    let sent = everything();
    let back: Value = plugin.call_blocking("echo", &json!({ "value": sent })).unwrap().value;
    assert_eq!(back, sent);
    let sent = everything_otherwise();
    assert_eq!(plugin.call_blocking::<_, Value>("echo", &[sent]).unwrap().value, everything());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    Nothing,
    Circle(f64),
    Polygon(Vec<Point>),
}

#[test]
fn types_of_serde_are_those_of_wit() {
    let plugin = values();
    for shape in [Shape::Nothing, Shape::Circle(2.5), Shape::Polygon(vec![Point { x: 1, y: 2 }])] {
        let back: Shape = plugin.call_blocking("echo-shape", &(&shape,)).unwrap().value;
        assert_eq!(back, shape);
    }
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(plugin.call_blocking::<_, Vec<u8>>("echo-bytes", &(&bytes,)).unwrap().value, bytes);
    assert_eq!(answer(&plugin, "echo-bytes", r#"{"bytes":{"base64":"AQID"}}"#), "[1,2,3]");
    assert_eq!(plugin.call_blocking::<_, String>("greet", "Ada").unwrap().value, "Hello, Ada!");
    let maybe = |json: &str| answer(&plugin, "echo-maybe", json);
    assert_eq!(
        [maybe("[null]"), maybe(r#"[{"some":null}]"#), maybe(r#"[{"some":7}]"#)],
        ["null", r#"{"some":null}"#, r#"{"some":7}"#]
    );
}

#[test]
fn an_err_is_the_plugins_own_failure() {
    let plugin = values();
    assert_eq!(answer(&plugin, "divide", "[42,2]"), "21");
    let text = error(&plugin, "root", "[8]");
    assert_eq!((text.code(), text.exit_code()), ("failed", 1));
    assert_eq!(text.to_string(), "the plugin failed: 8 is no square");
    assert_eq!(error(&plugin, "divide", "[1,0]").to_string(), "the plugin failed: \"division-by-zero\"");
    let value = error(&plugin, "divide", "[-2147483648,-1]");
    assert_eq!(*value.kind(), ErrorKind::Failed(r#"{"overflow":"-2147483648 / -1"}"#.to_owned()));
}

#[test]
fn arguments_that_do_not_fit_name_what_and_where() {
    let plugin = values();
    let says = |function: &str, json: &str| {
        let error = error(&plugin, function, json);
        (error.code(), error.to_string())
    };
    assert_eq!(
        says("add", r#"{"a":1,"c":2}"#),
        ("invalid-value", "`.c`: add has no such parameter: func(a: u32, b: u32) -> u32".to_owned())
    );
    assert_eq!(says("add", r#"{"a":1}"#), ("invalid-value", "`.b`: it is missing".to_owned()));
    assert_eq!(says("add", "[1]").0, "wrong-argument-count");
    assert_eq!(says("add", "[1,2,3]").0, "wrong-argument-count");
    assert_eq!(says("add", "7").0, "wrong-argument-count");
    assert_eq!(says("add", "[1,-2]"), ("invalid-value", "`.b`: expected u32, found -2".to_owned()));
    let mut wrong = everything();
    wrong["points"][1]["x"] = json!(2_147_483_648_u32);
    let wrong = json!({ "value": wrong }).to_string();
    assert_eq!(
        says("echo", &wrong),
        ("invalid-value", "`.value.points[1].x`: expected s32, found 2147483648".to_owned())
    );
    assert_eq!(says("add", "{").0, "invalid-input");
}

#[test]
fn words_are_one_for_each_parameter() {
    let plugin = values();
    let words = |function: &str, words: &[&str]| {
        let input = Input::Words(words.iter().map(|word| (*word).to_owned()).collect());
        plugin.invoke_blocking(function, input).map(|outcome| outcome.value.to_json_text())
    };
    assert_eq!(words("add", &["40", "2"]).unwrap(), "42");
    assert_eq!(words("add", &[r#"{"a":40,"b":2}"#]).unwrap(), "42");
    assert_eq!(words("greet", &["Ada"]).unwrap(), "\"Hello, Ada!\"");
    assert_eq!(words("greet", &["\"Ada\"", "Good day"]).unwrap(), "\"Good day, Ada!\"");
    assert_eq!(words("greet", &["Ada", "null"]).unwrap(), "\"Hello, Ada!\"");
    assert_eq!(words("echo-text", &["7"]).unwrap(), "\"7\"");
    assert_eq!(words("echo-shape", &["nothing"]).unwrap(), "\"nothing\"");
    assert_eq!(words("distance", &[r#"{"x":0,"y":0}"#, r#"{"x":3,"y":4}"#]).unwrap(), "5.0");
    assert_eq!(words("add", &["x", "2"]).unwrap_err().to_string(), "`.a`: expected u32, found \"x\"");
    assert_eq!(words("add", &["1"]).unwrap_err().code(), "wrong-argument-count");
}

#[test]
fn wave_is_taken_where_it_is_said_to_be_that() {
    let plugin = values();
    let wave = |function: &str, text: &str| {
        plugin
            .invoke_blocking(function, Input::Wave(text.to_owned()))
            .map(|outcome| outcome.value.to_json_text())
    };
    assert_eq!(wave("add", "(40, 2)").unwrap(), "42");
    assert_eq!(wave("greet", r#"("Ada", some("Ciao"))"#).unwrap(), "\"Ciao, Ada!\"");
    assert_eq!(wave("greet", r#"("Ada")"#).unwrap(), "\"Hello, Ada!\"");
    assert_eq!(
        serde_json::from_str::<Value>(&wave("echo", EVERYTHING_IN_WAVE).unwrap()).unwrap(),
        everything()
    );
    assert_eq!(wave("add", "(1, -2)").unwrap_err().to_string(), "`.b`: expected u32, found \"-2\"");
    assert_eq!(wave("add", "(1)").unwrap_err().code(), "wrong-argument-count");
    assert_eq!(wave("add", "(1,").unwrap_err().code(), "invalid-value");
    assert_eq!(
        wave("distance", "({x: 1, z: 2}, {x: 1, y: 2})").unwrap_err().to_string(),
        "`.origin`: point has no `z`"
    );
    let raw = load(&host(), "(module (func (export \"f\")))", text());
    assert_eq!(raw.invoke_blocking("f", Input::Wave("()".to_owned())).unwrap_err().code(), "invalid-input");
}

#[test]
fn a_program_with_functions_is_run_and_called() {
    let both = r#"(component
        (core module $m (func (export "run") (result i32) i32.const 0) (func (export "seven") (result i32) i32.const 7))
        (core instance $m (instantiate $m))
        (func $run (result (result)) (canon lift (core func $m "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run))
        (func (export "seven") (result u32) (canon lift (core func $m "seven"))))"#;
    let plugin = load(&host(), both, text());
    assert_eq!((plugin.abi(), plugin.functions()), (AbiId::Command, &["seven".to_owned()][..]));
    assert_eq!(plugin.run_blocking(airlock_host::ProgramInput::new()).unwrap().value.code, 0);
    assert_eq!(answer(&plugin, "seven", "[]"), "7");
    assert_eq!(load(&host(), both, text().abi(AbiId::Component)).abi(), AbiId::Component);
}

#[test]
fn imports_that_nobody_provides_are_named() {
    let wat = r#"(component
        (import "acme:things/store@1.0.0" (instance (export "put" (func (param "key" string)))))
        (core module $m (func (export "f")))
        (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    let error = load_error(wat, text());
    assert_eq!(
        error.to_string(),
        "nobody provides the import `acme:things/store@1.0.0.put`: it belongs to a component interface that \
         Airlock does not have"
    );
}

#[test]
fn what_a_guest_gives_against_its_type_is_its_fault() {
    let wat = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (data (i32.const 16) "\00\00\01\00\ff\ff\00\00")
            (data (i32.const 32) "\40\00\00\00\02\00\00\00\ff\fe")
            (data (i32.const 64) "\ff\fe")
            (func (export "far") (result i32) i32.const 16)
            (func (export "text") (result i32) i32.const 32)
            (func (export "case") (result i32) i32.const 9)
            (func (export "letter") (result i32) i32.const 0xd800))
        (core instance $m (instantiate $m))
        (alias core export $m "memory" (core memory $memory))
        (type $color (enum "red" "green"))
        (export $color-of "color" (type $color))
        (func (export "far") (result (list u8)) (canon lift (core func $m "far") (memory $memory)))
        (func (export "text") (result string) (canon lift (core func $m "text") (memory $memory)))
        (func (export "case") (result $color-of) (canon lift (core func $m "case")))
        (func (export "letter") (result char) (canon lift (core func $m "letter"))))"#;
    let plugin = load(&host(), wat, text());
    for function in ["far", "text", "case", "letter"] {
        let error = error(&plugin, function, "[]");
        assert_eq!((error.code(), error.exit_code()), ("bad-guest", 122), "{function}: {error}");
    }
}

#[test]
fn the_schema_of_a_function_has_its_types_by_their_names() {
    let plugin = values();
    let schema = plugin.schema("airlock:values/math.divide").unwrap();
    assert_eq!(
        schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "airlock:values/math.divide",
            "description": "func(dividend: s32, divisor: s32) -> result<s32, problem>",
            "type": "object",
            "properties": {
                "params": {
                    "type": "object",
                    "properties": {
                        "dividend": { "type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647 },
                        "divisor": { "type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647 },
                    },
                    "required": ["dividend", "divisor"],
                    "additionalProperties": false,
                },
                "result": { "type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647 },
                "error": { "$ref": "#/$defs/problem" },
            },
            "$defs": {
                "problem": {
                    "anyOf": [
                        { "enum": ["division-by-zero"] },
                        {
                            "type": "object",
                            "properties": { "division-by-zero": { "type": "null" } },
                            "required": ["division-by-zero"],
                            "additionalProperties": false,
                        },
                        {
                            "type": "object",
                            "properties": { "overflow": { "type": "string" } },
                            "required": ["overflow"],
                            "additionalProperties": false,
                        },
                    ],
                },
            },
        })
    );
    // Every reference leads somewhere.
    for function in plugin.functions() {
        let text = plugin.schema(function).unwrap();
        let defs: Vec<String> =
            text["$defs"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        for reference in text.to_string().split("#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap().to_owned();
            assert!(defs.contains(&name), "{function}: {name}");
        }
    }
    assert_eq!(plugin.schema("nothing").unwrap_err().code(), "unknown-function");
}

#[test]
fn an_examined_component_tells_its_signatures() {
    let examined =
        host().examine(crate::support::repository("plugins/wit-values/wit_values.wasm"), &LoadOptions::new());
    let signatures = examined.unwrap().signatures();
    let of = |name: &str| signatures.iter().find(|(own, _)| own == name).unwrap().1.clone();
    assert_eq!(of("greet"), "func(name: string, greeting: option<string>) -> string");
    assert_eq!(of("airlock:values/math.divide"), "func(dividend: s32, divisor: s32) -> result<s32, problem>");
    assert_eq!(of("airlock:values/all.echo-maybe"), "func(maybe: option<option<u8>>) -> option<option<u8>>");
    assert_eq!(
        of("airlock:values/counters.[static]counter.join"),
        "func(first: counter, second: borrow<counter>) -> counter"
    );
}
