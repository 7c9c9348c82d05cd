//! Resources, which live in a session.

use airlock_host::{Error, Input, Session};
use serde_json::{Value, json};

use super::{error, values, values_on};
use crate::support::{Mode, host, limits};

fn call(session: &mut Session, function: &str, arguments: &Value) -> Result<Value, Error> {
    session.call_blocking::<_, Value>(function, arguments).map(|outcome| outcome.value)
}

fn counter(session: &mut Session, start: u32) -> Value {
    call(session, "airlock:values/counters.[constructor]counter", &json!([start])).unwrap()
}

#[test]
fn a_resource_is_made_used_and_dropped_in_its_session() {
    let plugin = values();
    let mut session = plugin.session_blocking().unwrap();
    let one = counter(&mut session, 10);
    assert!(one["resource"].is_u64(), "{one}");
    assert_eq!(call(&mut session, "counter.increment", &json!({ "self": one, "by": 5 })).unwrap(), 15);
    assert_eq!(call(&mut session, "[method]counter.value", &json!([one])).unwrap(), 15);
    let two = counter(&mut session, 2);
    assert_eq!(call(&mut session, "alive", &json!([])).unwrap(), 2);
    // The first is given away, the second lent.
    let joined = call(&mut session, "counter.join", &json!([one, two])).unwrap();
    assert_eq!(call(&mut session, "counter.value", &json!([joined])).unwrap(), 17);
    let gone = call(&mut session, "counter.value", &json!([one])).unwrap_err();
    assert_eq!(gone.to_string(), format!("`.self`: this session has no resource {}", one["resource"]));
    assert_eq!(call(&mut session, "counter.value", &json!([two])).unwrap(), 2);
    assert_eq!(call(&mut session, "[resource-drop]counter", &json!([two])).unwrap(), Value::Null);
    assert_eq!(call(&mut session, "alive", &json!([])).unwrap(), 1);
    assert_eq!(call(&mut session, "counter.value", &json!([two])).unwrap_err().code(), "invalid-value");
    assert!(session.is_alive());
}

#[test]
fn a_resource_is_of_one_session_and_one_type() {
    let plugin = values();
    let (mut here, mut there) = (plugin.session_blocking().unwrap(), plugin.session_blocking().unwrap());
    let (one, other) = (counter(&mut here, 1), counter(&mut there, 2));
    assert_ne!(one, other);
    let error = call(&mut there, "counter.value", &json!([one])).unwrap_err();
    assert_eq!(error.to_string(), format!("`.self`: this session has no resource {}", one["resource"]));
    let label = call(&mut here, "[constructor]label", &json!(["a"])).unwrap();
    let error = call(&mut here, "counter.value", &json!([label])).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`.self`: expected counter, and resource {} is label", label["resource"])
    );
    let error = call(&mut here, "counter.join", &json!([one, one])).unwrap_err();
    assert!(error.to_string().ends_with("is given away in this call already"), "{error}");
    // What was refused was not given away.
    assert_eq!(call(&mut here, "counter.value", &json!([one])).unwrap(), 1);
    assert_eq!(
        call(&mut here, "counter.value", &json!([{ "resource": "1" }])).unwrap_err().code(),
        "invalid-value"
    );
}

#[test]
fn a_resource_has_no_place_in_a_fresh_call() {
    let error = error(&values(), "airlock:values/counters.[constructor]counter", "[1]");
    assert_eq!((error.code(), error.exit_code()), ("unsuitable-export", 125));
    assert!(error.to_string().ends_with("it takes or gives a resource, which lives in a session"), "{error}");
}

#[test]
fn resource_leak_what_a_session_holds_is_counted() {
    let plugin = values();
    let mut session = plugin.session_blocking().unwrap();
    for _ in 0..4 {
        call(&mut session, "labels", &json!([2_500])).unwrap();
    }
    let error = call(&mut session, "labels", &json!([1])).unwrap_err();
    assert_eq!(error.code(), "bad-guest", "{error}");
    assert!(!session.is_alive());
}

#[test]
fn a_session_keeps_its_state_and_ends_where_its_guest_does() {
    let plugin = values_on(&host(), limits(&[("timeout", "5s")]));
    let mut session = plugin.session_blocking().unwrap();
    counter(&mut session, 1);
    assert_eq!(call(&mut session, "root", &json!([8])).unwrap_err().code(), "failed");
    assert_eq!(call(&mut session, "nothing", &json!([])).unwrap_err().code(), "unknown-function");
    assert_eq!(call(&mut session, "add", &json!([1, "x"])).unwrap_err().code(), "invalid-value");
    assert_eq!(call(&mut session, "alive", &json!([])).unwrap(), 1);
    assert_eq!(call(&mut session, "trap", &json!([])).unwrap_err().code(), "trap");
    assert_eq!(call(&mut session, "alive", &json!([])).unwrap_err().code(), "session-ended");
}

#[test]
fn a_session_is_awaited_too() {
    let plugin = values();
    for mode in [Mode::MultiThread, Mode::CurrentThread, Mode::NoRuntime] {
        let value = mode.wait(async {
            let mut session = plugin.session().await.unwrap();
            let input = Input::Json("[3]".to_owned());
            let made = session.invoke("[constructor]counter", input).await.unwrap().value.to_json_text();
            let input = Input::Json(format!("[{made}]"));
            session.invoke("counter.value", input).await.unwrap().value.to_json_text()
        });
        assert_eq!(value, "3", "{mode:?}");
    }
}
