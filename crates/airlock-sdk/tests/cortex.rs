//! Capabilities on the machine where they are written: as functions, and with JSON.

use std::collections::BTreeMap;
use std::fmt;

use airlock_sdk::cortex::testing::{self, Fakes};
use airlock_sdk::cortex::{HttpError, Request, Response};
use airlock_sdk::{CapabilityContext, register_capability};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Numbers {
    dividend: i64,
    divisor: i64,
}

#[derive(Debug, Serialize)]
struct Quotient {
    quotient: i64,
}

/// An error that could be written as JSON, and has a text.
#[derive(Debug, PartialEq, Serialize)]
struct NoQuotient;

impl fmt::Display for NoQuotient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such quotient")
    }
}

fn divide(numbers: Numbers, context: CapabilityContext) -> Result<Quotient, NoQuotient> {
    context.log(format!("{} / {}", numbers.dividend, numbers.divisor));
    let quotient = numbers.dividend.checked_div(numbers.divisor).ok_or(NoQuotient)?;
    Ok(Quotient { quotient })
}

fn count(text: String) -> usize {
    text.chars().count()
}

register_capability!("divide", divide);
register_capability!("count-chars", count);
register_capability!("nothing", |(): ()| ());

mod elsewhere {
    use super::*;

    register_capability!("again", count);
}

#[test]
fn a_capability_is_a_function() {
    let host = Fakes::new();
    let quotient = divide(Numbers { dividend: 7, divisor: 2 }, host.context()).expect("there is one");
    assert_eq!((quotient.quotient, host.logs()), (3, vec!["7 / 2".to_owned()]));
}

#[test]
fn a_capability_answers_json_with_json() {
    let host = Fakes::new();
    let answer = testing::call!(divide, json!({ "dividend": 7, "divisor": 2 }), &host);
    assert_eq!(answer, Ok(json!({ "quotient": 3 })));
    assert_eq!(testing::call!(count, json!("häß"), &host), Ok(json!(3)));
    assert_eq!(testing::call!(|(): ()| (), json!(null), &host), Ok(json!(null)));
}

#[test]
fn an_err_is_told_by_its_text_also_when_it_has_json() {
    let answer = testing::call!(divide, json!({ "dividend": 1, "divisor": 0 }), &Fakes::new());
    assert_eq!(answer, Err("there is no such quotient".to_owned()));
}

#[test]
fn input_that_does_not_fit_is_told_with_its_place() {
    let host = Fakes::new();
    let told = |input: &str| testing::call!(divide, input, &host).expect_err("it does not fit");
    assert_eq!(
        told(r#"{"dividend":1}"#),
        "the input does not fit: missing field `divisor` at line 1 column 14"
    );
    assert_eq!(told(""), "the input does not fit: EOF while parsing a value at line 1 column 0");
    assert_eq!(told("{} {"), "the input does not fit: missing field `dividend` at line 1 column 2");
    assert_eq!(
        told("\"a\""),
        "the input does not fit: invalid type: string \"a\", expected struct Numbers at line 1 column 3"
    );
    assert!(host.logs().is_empty(), "it was not called");
}

#[test]
fn an_answer_without_json_is_an_error() {
    let keys = |(): ()| BTreeMap::from([((1, 2), 3)]);
    let told = testing::call!(keys, json!(null), &Fakes::new()).expect_err("keys are texts");
    assert_eq!(told, "the answer has no JSON: key must be a string");
}

#[test]
fn texts_longer_than_the_first_room_come_whole() {
    for length in [0, 1, 1023, 1024, 1025, 8191, 8192, 65_535, 65_536, 65_537, 1 << 20] {
        let text = "x".repeat(length);
        let context = Fakes::new().config("key", &*text).state("key", &*text).context();
        assert_eq!(context.state_get("key").as_ref(), Some(&text), "{length}");
        assert_eq!(context.config("key"), Some(text).filter(|text| !text.is_empty()), "{length}");
    }
}

#[test]
fn what_was_not_prepared_is_not_there() {
    let host = Fakes::new();
    let context = host.context();
    assert_eq!((context.config("key"), context.state_get("key"), context.now_ms()), (None, None, 0));
    let error = context.http("https://example.com/").expect_err("nobody answers");
    assert_eq!(error.to_string(), "no response (403): host: network:fetch permission denied");
    assert_eq!(host.requests(), [Request::get("https://example.com/")], "it can be looked at all the same");
}

#[test]
fn state_is_there_for_whoever_asks_next() {
    let host = Fakes::new().state("visits", "2");
    let context = host.context();
    assert_eq!(context.state_get("visits").as_deref(), Some("2"));
    context.state_set("visits", "3");
    assert_eq!(host.context().state_get("visits").as_deref(), Some("3"));
    assert_eq!(host.kept("visits").as_deref(), Some("3"));
}

#[test]
fn requests_are_answered_with_what_was_prepared() -> Result<(), HttpError> {
    let host = Fakes::new().response("https://example.com/", 404, "gone").response(
        "https://example.com/long",
        200,
        vec![b'x'; 70_000],
    );
    let request = Request::new("POST", "https://example.com/").header("A", "1").header("a", "2").body("text");
    let response: Response = host.context().http(request.clone())?;
    assert_eq!((response.status, response.text(), response.cut), (404, Some("gone"), false));
    assert!(!response.success());
    assert_eq!(host.requests(), [request]);
    assert_eq!(host.requests()[0].headers, [("a".to_owned(), "2".to_owned())]);

    let long = host.context().http("https://example.com/long")?;
    assert_eq!((long.body.len(), long.cut, long.success()), (65_528, true, true));
    Ok(())
}

#[test]
fn random_numbers_are_the_seeds() {
    let numbers = |seed| {
        let mut bytes = [0; 100_003];
        Fakes::new().seed(seed).context().random(&mut bytes);
        bytes
    };
    assert_eq!(numbers(1), numbers(1));
    assert_ne!(numbers(1), numbers(2));
    assert_ne!(numbers(1)[99_990..], [0; 13], "it is filled to its end");
}

#[test]
fn the_time_is_what_it_was_set_to() {
    assert_eq!(Fakes::new().now_ms(1_750_000_000_000).context().now_ms(), 1_750_000_000_000);
}
