//! Whatever a plugin sends is a message or is refused with a reason.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Message, is_message, read};

#[test]
fn any_bytes_are_a_message_or_refused_as_serde_json_would() {
    bolero::check!().with_iterations(10_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(bytes);
            judge(likely(bytes).to_string().as_bytes());
        },
    );
}

/// serde_json's own value of the same bytes says whether it can be one.
fn judge(bytes: &[u8]) {
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    let text = |key: &str| value.as_ref().and_then(|value| value.get(key)).and_then(Value::as_str);
    match read(bytes) {
        Ok(message) => {
            assert!(is_message(bytes));
            // A number too large for a value, or half a surrogate pair in what is passed over, is
            // refused there only.
            if value.is_none() {
                return;
            }
            match message {
                Message::Output(output) => {
                    assert_eq!(text("type"), Some("output"));
                    assert!(text("text") == Some(&*output) || text("data") == Some(&*output));
                }
                Message::Log { level, message } => {
                    assert_eq!((text("level"), text("message")), (Some(&*level), Some(&*message)));
                }
                Message::Progress(_) => assert_eq!(text("type"), Some("progress")),
                Message::Store(pair) => {
                    assert_eq!((text("key"), text("value")), (Some(&*pair.key), Some(&*pair.value)));
                }
                Message::Request { id, .. } => {
                    let given: Value = serde_json::from_str(id.0.get()).expect("an id is JSON");
                    assert!(given.is_string() || given.is_number());
                    assert_eq!(value.as_ref().and_then(|value| value.get("id")), Some(&given));
                }
            }
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// An object that is nearly a message.
fn likely(bytes: &[u8]) -> Value {
    const KINDS: [&str; 13] = [
        "output",
        "log",
        "progress",
        "store",
        "load",
        "exec",
        "metadata",
        "http",
        "prompt",
        "confirm",
        "select",
        "multi_select",
        "other",
    ];
    const KEYS: [&str; 16] = [
        "id", "text", "data", "level", "message", "current", "total", "done", "key", "value", "command",
        "keys", "options", "default", "defaults", "url",
    ];
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next().unwrap_or_default();
    let mut object = json!({ "type": KINDS[usize::from(next()) % KINDS.len()] });
    for _ in 0..next() % 8 {
        let key = KEYS[usize::from(next()) % KEYS.len()];
        object[key] = match next() % 6 {
            0 => json!(next()),
            1 => json!(next() % 2 == 0),
            2 => json!(["a", "b"]),
            3 => json!([next()]),
            4 => Value::Null,
            _ => json!(char::from(next()).to_string()),
        };
    }
    object
}
