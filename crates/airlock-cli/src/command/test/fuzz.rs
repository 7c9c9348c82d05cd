//! Whatever a case file holds, it is read or is told what is wrong with it and where.

use std::time::Duration;

use super::case::{decode, location};

#[test]
fn any_text_is_cases_or_is_told_where_it_is_none() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(&String::from_utf8_lossy(bytes));
            judge(&assembled(bytes));
        },
    );
}

fn judge(text: &str) {
    match decode(text, &|file| Err(format!("there is no {file}"))) {
        Ok(cases) => {
            for case in cases {
                assert!(!case.steps.is_empty() && case.line <= text.lines().count());
                assert!(!case.name.chars().any(char::is_control), "{:?}", case.name);
            }
        }
        Err(fault) => {
            assert!(!fault.reason.is_empty());
            if let Some(at) = fault.at {
                assert!(at.start <= text.len(), "{at:?}");
                let place = location(text, at.start);
                assert!(place.line >= 1 && place.column >= 1);
            }
        }
    }
}

/// A text that is often nearly a file of cases.
fn assembled(bytes: &[u8]) -> String {
    const PIECES: [&str; 40] = [
        "[[case]]\n",
        "name = \"a\"\n",
        "name = \"\\u001b[2J\"\n",
        "[defaults]\n",
        "call = \"f\"\n",
        "run = [\"a\"]\n",
        "input = { a = [1, 1.5, inf] }\n",
        "input_json = '18446744073709551617'\n",
        "input_file = \"../x\"\n",
        "output = 1979-05-27T07:32:00Z\n",
        "output_json = '[[[['\n",
        "contains = {}\n",
        "matches = \"(\"\n",
        "snapshot = true\n",
        "error = \"failed\"\n",
        "error_matches = \"x{9999999}\"\n",
        "exit = 3\n",
        "stdout = { contains = [\"a\"], matches = \"b\" }\n",
        "stderr = {}\n",
        "log = 1\n",
        "max_fuel = 10_000\n",
        "max_memory = \"2MiB\"\n",
        "max_host_calls = -1\n",
        "steps = [{ call = \"f\" }, { run = [] }]\n",
        "[[case.steps]]\n",
        "skip = \"later\"\n",
        "allow = [\"kv\", \"nothing\"]\n",
        "limits = { memory = \"1MiB\", stack = 1 }\n",
        "clock = 2026-01-01T00:00:00Z\n",
        "clock = 2026-01-01\n",
        "random_seed = 7\n",
        "deterministic = false\n",
        "[[case.fakes.http]]\nurl = \"*\"\njson = 1\n",
        "fakes = { kv = { a = { base64 = \"-\" } } }\n",
        "[case.fakes.email]\n",
        "observed = { http = [] }\n",
        "answers = [true, 1, [\"a\"]]\n",
        "\u{202e}",
        "\"",
        "\n",
    ];
    let pick = |byte: &u8| match PIECES.get(usize::from(*byte) % 48) {
        Some(piece) => (*piece).to_owned(),
        None => char::from(*byte).to_string(),
    };
    bytes.iter().take(64).map(pick).collect()
}
