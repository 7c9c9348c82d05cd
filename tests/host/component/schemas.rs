//! The JSON Schema of each function, against a validator: what it takes and refuses is what a call takes and refuses.

use airlock_host::{Input, LoadOptions, Plugin};
use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use super::values;
use crate::support::{host, load, repository, text};
use crate::values::{everything, everything_otherwise, nothing};

/// The schema that a schema of this dialect is to fit.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where the schema is for the validator.
const PLACE: &str = "urn:test:function";

/// Whether a value fits a part of a schema.
fn fits(schema: &Value, part: &str, value: &Value) -> Result<(), String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource(PLACE, schema.clone()).expect("it is a place");
    let at = format!("{PLACE}#/properties/{part}");
    let part =
        compiler.compile(&at, &mut schemas).unwrap_or_else(|error| panic!("{at}: {error:#}\n{schema}"));
    schemas.validate(value, part).map_err(|error| format!("{error:#}"))
}

/// Whether a schema is one by the schema of schemas.
fn is_schema(schema: &Value) -> Result<(), String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    let dialect = compiler.compile(DIALECT, &mut schemas).expect("the validator has it");
    schemas.validate(schema, dialect).map_err(|error| format!("{error:#}"))
}

/// What a function is called with, by name, and what the call answers or refuses, both told by its schema.
fn told_alike(plugin: &Plugin, function: &str, params: &Value) -> Option<Value> {
    let schema = plugin.schema(function).expect("it has one");
    let fits_params = fits(&schema, "params", params);
    match plugin.invoke_blocking(function, Input::Json(params.to_string())) {
        Ok(outcome) => {
            fits_params.unwrap_or_else(|error| panic!("{function} takes {params}: {error}"));
            let answer: Value = serde_json::from_str(&outcome.value.to_json_text()).unwrap();
            fits(&schema, "result", &answer)
                .unwrap_or_else(|error| panic!("{function} gives {answer}: {error}"));
            Some(answer)
        }
        Err(error) => {
            assert_eq!(error.code(), "invalid-value", "{function} {params}: {error}");
            assert!(fits_params.is_err(), "{function} refuses {params}, and its schema does not: {error}");
            None
        }
    }
}

fn taken(plugin: &Plugin, function: &str, params: &Value) -> Value {
    told_alike(plugin, function, params).unwrap_or_else(|| panic!("{function} takes {params}"))
}

fn refused(plugin: &Plugin, function: &str, params: &Value) {
    assert_eq!(told_alike(plugin, function, params), None, "{function} refuses {params}");
}

#[test]
fn every_function_has_a_schema_that_is_one() {
    let plugins = ["wit-values/wit_values", "words-c/words", "words-js/words", "prx-tool/prx_tool"];
    for plugin in plugins.into_iter().chain(["prx-provider/prx_provider", "prx-storage/prx_storage"]) {
        let path = repository(&format!("plugins/{plugin}.wasm"));
        let examined = host().examine(path, &LoadOptions::new()).unwrap();
        let functions = examined.functions();
        assert!(!functions.is_empty(), "{plugin}");
        for function in functions {
            let schema = examined.schema(&function).unwrap();
            is_schema(&schema).unwrap_or_else(|error| panic!("{plugin} {function}: {error}\n{schema}"));
            // What nothing fits is no description of anything, and what everything fits is none either.
            let params = &schema["properties"]["params"];
            assert!(params["type"] == "object" && params.get("properties").is_some(), "{function}: {params}");
            assert!(fits(&schema, "params", &json!(7)).is_err(), "{function}");
        }
    }
}

#[test]
fn a_schema_takes_what_a_call_takes_of_every_type() {
    let plugin = values();
    assert_eq!(taken(&plugin, "echo", &json!({ "value": everything() })), everything());
    assert_eq!(taken(&plugin, "echo", &json!({ "value": everything_otherwise() })), everything());
    for (place, value) in [
        ("large", json!([0, 0, "-0", "+0018446744073709551615"])),
        ("large", json!([0, 0, "9223372036854775807", "9999999999999999999"])),
        ("large", json!([0, 0, i64::MAX, 0])),
        ("floats", json!(["-inf", "inf"])),
        ("floats", json!([f32::MAX, f64::MAX])),
        ("floats", json!([3.402_823_567_797_336e38, -0.0])),
        ("letter", json!("\u{1f980}")),
        ("letter", json!("\u{0}")),
        ("shapes", json!([{ "nothing": null }])),
        ("shapes", json!([])),
        ("access", json!([])),
        ("access", json!(["read", "read", "write"])),
        ("maybe", json!("")),
        ("outcome", json!({ "ok": 7 })),
        ("done", json!({ "err": null })),
    ] {
        let mut all = everything();
        all[place] = value;
        taken(&plugin, "echo", &json!({ "value": all }));
    }
    let maybe = |value: Value| taken(&plugin, "echo-maybe", &json!({ "maybe": value }));
    assert_eq!(
        [maybe(json!(null)), maybe(json!({ "some": null })), maybe(json!({ "some": 255 }))],
        [json!(null), json!({ "some": null }), json!({ "some": 255 })]
    );
    assert_eq!(taken(&plugin, "echo-maybe", &json!({})), json!(null));
    for bytes in [json!([]), json!([0, 255]), json!({ "base64": "" }), json!({ "base64": "AQID/+8=" })] {
        taken(&plugin, "echo-bytes", &json!({ "bytes": bytes }));
    }
    assert_eq!(taken(&plugin, "greet", &json!({ "name": "Ada", "greeting": null })), "Hello, Ada!");
    assert_eq!(taken(&plugin, "alive", &json!({})), 0);
}

#[test]
fn a_schema_refuses_what_a_call_refuses_of_every_type() {
    let plugin = values();
    for (place, value, _) in nothing() {
        let mut all = everything();
        all[place] = value;
        refused(&plugin, "echo", &json!({ "value": all }));
    }
    for place in everything().as_object().unwrap().keys().filter(|place| *place != "maybe") {
        let mut all = everything();
        all.as_object_mut().unwrap().remove(place);
        refused(&plugin, "echo", &json!({ "value": all }));
        all[place] = json!(null);
        refused(&plugin, "echo", &json!({ "value": all }));
    }
    let mut more = everything();
    more["more"] = json!(1);
    refused(&plugin, "echo", &json!({ "value": more }));
    for maybe in [json!(7), json!({ "some": 256 }), json!({}), json!({ "some": 1, "more": 1 })] {
        refused(&plugin, "echo-maybe", &json!({ "maybe": maybe }));
    }
    // What is no base64: a character, a length, bits that are left over.
    for text in ["AQI", "A", "AQ=", "*QID", "AQJ=", "AR==", "=AQI", "AQID\n"] {
        refused(&plugin, "echo-bytes", &json!({ "bytes": { "base64": text } }));
    }
    for bytes in [json!([256]), json!("AQID"), json!({}), json!({ "base64": [1] }), json!({ "base64": 1.5 })]
    {
        refused(&plugin, "echo-bytes", &json!({ "bytes": bytes }));
    }
    for shape in [json!({}), json!(null), json!(["nothing"]), json!({ "polygon": [{ "x": 1 }] })] {
        refused(&plugin, "echo-shape", &json!({ "shape": shape }));
    }
    refused(&plugin, "add", &json!({ "a": 1 }));
    refused(&plugin, "add", &json!({ "a": 1, "b": 2, "c": 3 }));
    refused(&plugin, "add", &json!({ "a": 1, "b": 1.5 }));
    refused(&plugin, "add", &json!({ "a": 1, "b": "2" }));
}

#[test]
fn an_error_of_a_function_fits_its_schema() {
    let plugin = values();
    let failed = |function: &str, params: Value| {
        let error = plugin.invoke_blocking(function, Input::Json(params.to_string())).unwrap_err();
        let airlock_host::ErrorKind::Failed(said) = error.kind() else { panic!("{error:?}") };
        (plugin.schema(function).unwrap(), said.clone())
    };
    for params in [json!({ "dividend": 1, "divisor": 0 }), json!({ "dividend": i32::MIN, "divisor": -1 })] {
        let (schema, said) = failed("divide", params);
        fits(&schema, "error", &serde_json::from_str(&said).unwrap()).unwrap();
        assert!(fits(&schema, "error", &json!("another")).is_err());
    }
    // A text is said as it is.
    let (schema, said) = failed("root", json!({ "of": 8 }));
    fits(&schema, "error", &json!(said)).unwrap();
}

#[test]
fn resources_of_a_session_fit_the_schemas_of_what_takes_them() {
    let plugin = values();
    let mut session = plugin.session_blocking().unwrap();
    let mut call = |function: &str, params: Value| -> Value {
        let schema = plugin.schema(function).unwrap();
        fits(&schema, "params", &params).unwrap();
        let answer: Value = session.call_blocking(function, &params).unwrap().value;
        fits(&schema, "result", &answer).unwrap();
        answer
    };
    let first = call("[constructor]counter", json!({ "start": 1 }));
    let second = call("[constructor]counter", json!({ "start": 2 }));
    assert_eq!(call("counter.increment", json!({ "self": first, "by": 3 })), 4);
    let joined = call("counter.join", json!({ "first": first, "second": second }));
    assert_eq!(call("counter.value", json!({ "self": joined })), 6);
    let schema = plugin.schema("counter.value").unwrap();
    for handle in [json!(1), json!({ "resource": 0 }), json!({ "resource": "1" }), json!({}), json!(null)] {
        assert!(fits(&schema, "params", &json!({ "self": handle })).is_err(), "{handle}");
        let error =
            session.call_blocking::<_, Value>("counter.value", &json!({ "self": handle })).unwrap_err();
        assert_eq!(error.code(), "invalid-value", "{handle}");
    }
}

/// A component whose tool says that it takes this.
fn tool(schema: &str) -> Plugin {
    let written: String = schema.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let length = schema.len();
    let wat = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 8) "t")
                (data (i32.const 64) "{written}")
                (func (export "get-spec") (result i32)
                    (i32.store (i32.const 32) (i32.const 8)) (i32.store (i32.const 36) (i32.const 1))
                    (i32.store (i32.const 40) (i32.const 8)) (i32.store (i32.const 44) (i32.const 0))
                    (i32.store (i32.const 48) (i32.const 64)) (i32.store (i32.const 52) (i32.const {length}))
                    (i32.const 32))
                (func (export "execute") (param i32 i32) (result i32) unreachable)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
            (core instance $m (instantiate $m))
            (alias core export $m "memory" (core memory $memory))
            (alias core export $m "realloc" (core func $realloc))
            (type $spec (record (field "name" string) (field "description" string) (field "parameters-schema" string)))
            (type $result (record (field "success" bool) (field "output" string) (field "error" (option string))))
            (func $get-spec (result $spec) (canon lift (core func $m "get-spec") (memory $memory)))
            (func $execute (param "args" string) (result $result)
                (canon lift (core func $m "execute") (memory $memory) (realloc $realloc)))
            (component $tool
                (import "spec" (type $spec0 (eq $spec)))
                (import "result" (type $result0 (eq $result)))
                (import "get-spec" (func $get-spec (result $spec0)))
                (import "execute" (func $execute (param "args" string) (result $result0)))
                (export $spec1 "tool-spec" (type $spec0))
                (export $result1 "plugin-result" (type $result0))
                (export "get-spec" (func $get-spec) (func (result $spec1)))
                (export "execute" (func $execute) (func (param "args" string) (result $result1))))
            (instance $tool (instantiate $tool (with "spec" (type $spec)) (with "result" (type $result))
                (with "get-spec" (func $get-spec)) (with "execute" (func $execute))))
            (export "prx:plugin/tool-exports@0.1.0" (instance $tool)))"#
    );
    load(&host(), &wat, text())
}

#[test]
fn what_a_tools_own_schema_refers_to_is_found_in_it() {
    let own = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": { "to": { "$ref": "#/definitions/address" } },
        "required": ["to"],
        "definitions": { "address": { "type": "string", "pattern": "@" } },
    });
    let schema = tool(&own.to_string()).schema("t").unwrap();
    is_schema(&schema).unwrap();
    fits(&schema, "params", &json!({ "to": "a@b.example" })).unwrap();
    for wrong in [json!({ "to": "nobody" }), json!({})] {
        assert!(fits(&schema, "params", &wrong).is_err(), "{wrong}");
    }
}
