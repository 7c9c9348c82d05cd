//! Components: their functions called, shown and described.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{output, show};
use crate::values::{EVERYTHING_IN_WAVE, everything, everything_otherwise, nothing};

const VALUES: &str = "plugins/wit-values/wit_values.wasm";

#[test]
fn a_function_is_called_by_name_order_word_or_wave() {
    let expected = "exit 0\n--- stdout\n42\n";
    for input in [&["add", r#"{"b":2,"a":40}"#][..], &["add", "[40,2]"], &["add", "40", "2"], &["add(40, 2)"]]
    {
        let args: Vec<&str> = ["call", VALUES].into_iter().chain(input.iter().copied()).collect();
        assert_eq!(show(&args), expected, "{input:?}");
    }
    assert_snapshot!(show(&["call", VALUES, "airlock:values/all.echo-shape", r#"[{"polygon":[{"x":1,"y":2}]}]"#]), @r#"
    exit 0
    --- stdout
    {"polygon":[{"x":1,"y":2}]}
    "#);
    assert_snapshot!(show(&["call", VALUES, "echo-text(\"\\u{1b}[2J\")"]), @r#"
    exit 0
    --- stdout
    "\u001b[2J"
    "#);
    assert_snapshot!(show(&["call", VALUES, "add(1, 2)", "3"]), @r"
    exit 2
    --- stderr
    error: `INPUT`: the arguments stand behind the function's name already
    ");
}

/// A value of every type, in JSON and in WAVE, and what each gives back.
#[test]
fn a_value_of_every_type_goes_in_and_comes_out_in_json_and_in_wave() {
    let json = everything();
    let (by_name, by_digits) =
        (json!({ "value": json }).to_string(), json!([everything_otherwise()]).to_string());
    let wave = format!("echo{EVERYTHING_IN_WAVE}");
    for input in [&["echo", &by_name][..], &["echo", &by_digits], &[&wave]] {
        let args: Vec<&str> = ["call", VALUES].into_iter().chain(input.iter().copied()).collect();
        let printed = output(&args);
        assert_eq!(printed.status.code(), Some(0), "{input:?}");
        assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), json, "{input:?}");
    }
    // What does not fit is named by its place, each type's own way.
    for (place, wrong, said) in nothing() {
        let mut value = json.clone();
        value[place] = wrong;
        let shown = show(&["call", VALUES, "echo", &json!([value]).to_string()]);
        let wanted = format!("exit 2\n--- stderr\nerror: {said}");
        assert!(shown.starts_with(&wanted), "{place}: {shown}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_snapshot!(show(&["call", VALUES, "distance", r#"{"origin":{"x":0,"y":0},"target":{"x":3,"y":"4"}}"#]), @r#"
    exit 2
    --- stderr
    error: `.target.y`: expected s32, found "4"
    "#);
    assert_snapshot!(show(&["call", VALUES, "airlock:values/math.divid", "[1]"]), @r"
    exit 127
    --- stderr
    error: `wit_values` has no function `airlock:values/math.divid`
    hint: did you mean `airlock:values/math.divide` or `airlock:values/math.distance`?
    ");
    assert_snapshot!(show(&["call", VALUES, "root", "8"]), @r"
    exit 1
    --- stderr
    error: the plugin failed: 8 is no square
    ");
    assert_snapshot!(show(&["call", VALUES, "[constructor]counter", "1"]), @r"
    exit 125
    --- stderr
    error: export `[constructor]counter` cannot be called: it takes or gives a resource, which lives in a session
    hint: call it in a session: of the library, of `airlock rpc`, or of a test
    ");
}

#[test]
fn inspect_shows_signatures_and_schemas() {
    let text = show(&["inspect", VALUES]);
    for line in [
        "kind       component\n",
        "abi        component: it is a component that exports 24 functions\n",
        "add: func(a: u32, b: u32) -> u32\n",
        "airlock:values/math.divide: func(dividend: s32, divisor: s32) -> result<s32, problem>\n",
        "airlock:values/counters.[method]counter.increment: func(self: borrow<counter>, by: u32) -> u32\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let inspected: Value = serde_json::from_slice(&output(&["--json", "inspect", VALUES]).stdout).unwrap();
    assert_eq!(inspected["signatures"]["add"], "func(a: u32, b: u32) -> u32");
    let one: Value = serde_json::from_slice(&output(&["inspect", VALUES, "--schema", "add"]).stdout).unwrap();
    assert_eq!(one["properties"]["params"]["required"], json!(["a", "b"]));
    let all: Value = serde_json::from_slice(&output(&["inspect", VALUES, "--schema"]).stdout).unwrap();
    assert_eq!(all["add"], one);
    let object: Value =
        serde_json::from_slice(&output(&["--json", "inspect", VALUES, "--schema", "add"]).stdout).unwrap();
    assert_eq!((&object["schema"], &object["json_schema"]), (&json!(1), &one));
    assert_snapshot!(show(&["inspect", "plugins/text-processor", "--schema", "transform"]), @r"
    exit 2
    --- stderr
    error: `--schema`: only a component says what its functions take and give
    ");
}
