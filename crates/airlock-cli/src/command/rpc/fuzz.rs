//! Whatever comes on a line, it is a request or is told why it is none, on one line of JSON.

use std::time::Duration;

use super::plugins::{Call, Load, Of, Run};
use super::wire::{Request, answer, is_one_line_of_json};

#[test]
fn any_line_is_a_request_or_is_refused_on_one_line() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(bytes);
            judge(&assembled(bytes));
        },
    );
}

fn judge(line: &[u8]) {
    match Request::read(line) {
        Ok(request) => {
            let loaded = request.params::<Load>().map(drop);
            let called = request.params::<Call>().map(drop);
            let ran = request.params::<Run>().map(drop);
            let of = request.params::<Of>().map(drop);
            for result in [loaded, called, ran, of] {
                let id = request.id.clone().unwrap_or_else(super::wire::Id::none);
                let line = answer(&id, result);
                assert!(is_one_line_of_json(&line), "{line}");
            }
        }
        Err((id, fault)) => {
            let line = answer::<()>(&id, Err(fault));
            assert!(is_one_line_of_json(&line), "{line}");
        }
    }
}

/// A line that is often nearly a request.
fn assembled(bytes: &[u8]) -> Vec<u8> {
    const PIECES: [&str; 24] = [
        r#"{"jsonrpc":"2.0","#,
        r#""id":1,"#,
        r#""id":"\u001b\n","#,
        r#""id":[[[1]]],"#,
        r#""method":"call""#,
        r#","params":{"#,
        r#""plugin":"1""#,
        r#","function":"f""#,
        r#","input":{"a":1e999}"#,
        r#","input":[[[[["#,
        r#","timeout":"5s""#,
        r#""path":"x""#,
        r#","limits":{"memory":1}"#,
        r#","fakes":{"http":[{"url":"*"}]}"#,
        r#","fakes":{"kv":{"a":{"base64":"-"}}}"#,
        r#","args":["a"]"#,
        "}",
        "}}",
        "[",
        "\"",
        "\u{202e}",
        "\\ud800",
        " ",
        "null",
    ];
    let mut line = Vec::new();
    for byte in bytes.iter().take(64) {
        match PIECES.get(usize::from(*byte) % 32) {
            Some(piece) => line.extend_from_slice(piece.as_bytes()),
            None => line.push(*byte),
        }
    }
    line
}
