//! A value of every type that WIT has, for `echo` of `plugins/wit-values`, and what is no such value: what the
//! library's tests and the command's begin with.

use serde_json::{Value, json};

/// A value of every type, as an answer has it.
pub(crate) fn everything() -> Value {
    json!({
        "truth": true,
        "small": [-128, 255, -32768, 65535],
        "large": [-2_147_483_648_i64, 4_294_967_295_u64, i64::MIN, u64::MAX],
        "floats": [0.1, "NaN"],
        "letter": "ß",
        "text": "a \"quoted\" line\nand \u{1f980}",
        "points": [{ "x": 1, "y": -1 }, { "x": 0, "y": 0 }],
        "shapes": ["nothing", { "circle": 1.5 }, { "polygon": [{ "x": 1, "y": 2 }] }],
        "color": "dark-green",
        "access": ["read", "execute"],
        "maybe": null,
        "outcome": { "err": "no" },
        "done": { "ok": null },
    })
}

/// The same with texts in the place of large numbers, and without what may be left out.
pub(crate) fn everything_otherwise() -> Value {
    let mut value = everything();
    value["large"] =
        json!([-2_147_483_648_i64, 4_294_967_295_u64, "-9223372036854775808", "18446744073709551615"]);
    value.as_object_mut().expect("it is an object").remove("maybe");
    value
}

/// The same as the arguments of a call in WAVE.
pub(crate) const EVERYTHING_IN_WAVE: &str = r#"({truth: true, small: (-128, 255, -32768, 65535),
    large: (-2147483648, 4294967295, -9223372036854775808, 18446744073709551615), floats: (0.1, nan),
    letter: 'ß', text: "a \"quoted\" line\nand 🦀", points: [{x: 1, y: -1}, {x: 0, y: 0}],
    shapes: [nothing, circle(1.5), polygon([{x: 1, y: 2}])], color: dark-green, access: {read, execute},
    outcome: err("no"), done: ok})"#;

/// What is no value of a field's type, each type's own way, and how the error begins that says so.
pub(crate) fn nothing() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("truth", json!(1), "`.value.truth`: expected bool, found 1"),
        ("small", json!([0, 256, 0, 0]), "`.value.small[1]`: expected u8, found 256"),
        ("small", json!([-129, 0, 0, 0]), "`.value.small[0]`: expected s8, found -129"),
        ("small", json!([0, 0, 0]), "`.value.small`: expected 4 values, found 3"),
        ("small", json!([0, 0, 0, 0, 0]), "`.value.small`: expected 4 values, found more"),
        ("large", json!([0, -1, 0, 0]), "`.value.large[1]`: expected u32, found -1"),
        (
            "large",
            json!([0, 0, "9223372036854775808", 0]),
            "`.value.large[2]`: expected s64, found \"9223372036854775808\"",
        ),
        (
            "large",
            json!([0, 0, "-9223372036854775809", 0]),
            "`.value.large[2]`: expected s64, found \"-9223372036854775809\"",
        ),
        (
            "large",
            json!([0, 0, 0, "18446744073709551616"]),
            "`.value.large[3]`: expected u64, found \"18446744073709551616\"",
        ),
        ("large", json!([0, 0, 0, "-1"]), "`.value.large[3]`: expected u64, found \"-1\""),
        ("large", json!([0, 0, 0, ""]), "`.value.large[3]`: expected u64, found \"\""),
        ("floats", json!(["one", 0]), "`.value.floats[0]`: expected f32, found \"one\""),
        ("floats", json!([3.5e38, 0]), "`.value.floats[0]`: expected f32, found 35000000"),
        ("letter", json!("ab"), "`.value.letter`: expected char, found \"ab\""),
        ("letter", json!(""), "`.value.letter`: expected char, found \"\""),
        ("text", json!(7), "`.value.text`: expected string, found 7"),
        ("points", json!({}), "`.value.points`: expected list<point>, found an object"),
        ("points", json!([{ "x": 1 }]), "`.value.points[0].y`: it is missing"),
        ("points", json!([{ "x": 1, "y": 1, "z": 1 }]), "`.value.points[0]`: point has no \"z\""),
        ("shapes", json!([{ "circle": "x" }]), "`.value.shapes[0].circle`: expected f64, found \"x\""),
        ("shapes", json!(["square"]), "`.value.shapes[0]`: shape has no \"square\""),
        ("shapes", json!(["circle"]), "`.value.shapes[0]`: the case `circle` has a value"),
        ("shapes", json!([{ "nothing": 1 }]), "`.value.shapes[0]`: `nothing` has no value but null"),
        (
            "shapes",
            json!([{ "circle": 1, "nothing": null }]),
            "`.value.shapes[0]`: there is more than one key: \"nothing\"",
        ),
        ("color", json!("mauve"), "`.value.color`: color has no \"mauve\""),
        ("access", json!(["read", "fly"]), "`.value.access`: access has no \"fly\""),
        ("access", json!(["read", 1]), "`.value.access`: expected access, found 1"),
        ("access", json!([["read"]]), "`.value.access`: expected access, found an array"),
        ("access", json!([null]), "`.value.access`: expected access, found null"),
        ("access", json!("read"), "`.value.access`: expected access, found \"read\""),
        ("maybe", json!(7), "`.value.maybe`: expected string, found 7"),
        ("outcome", json!({ "err": 1 }), "`.value.outcome.err`: expected string, found 1"),
        ("outcome", json!({}), "`.value.outcome`: expected result<u32, string>, found an object without"),
        ("done", json!({ "ok": 1 }), "`.value.done`: `ok` has no value but null"),
    ]
}
