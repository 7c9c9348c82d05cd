//! Checks a host of WASI preview 2, a topic at a time, by the functions of its interfaces as they are.
//!
//! ```text
//! wasip2 TOPIC [ARGS…]
//! ```
//!
//! Prints a line for each check, `ok NAME` or `FAIL NAME: …`, and leaves with the number of those that
//! failed. The function `check` answers with the same, without `wasi:cli/run`. What preview 1 has too is checked by the guest for that, which is run on preview 2 as well; here
//! is what it has no words for.

mod files;
mod others;
mod requests;
mod streams;

use std::fmt::Debug;

wit_bindgen::generate!({ world: "checks", path: "wit" });

/// What the topics share.
pub struct Suite {
    failures: u32,
    lines: Vec<String>,
    /// The arguments after the topic.
    words: Vec<String>,
}

impl Suite {
    /// A check: its name, what was found, and what it should be.
    pub fn is<T: Debug + PartialEq>(&mut self, name: &str, found: T, wanted: T) {
        if found == wanted {
            self.say(format!("ok {name}"));
            return;
        }
        self.failures += 1;
        self.say(format!("FAIL {name}: {found:?}, expected {wanted:?}"));
    }

    /// What is for the test to compare.
    pub fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    /// The same by the text that an error's code is shown as; `fine` where there is none.
    pub fn gives<T, E: Debug>(&mut self, name: &str, found: Result<T, E>, wanted: &str) {
        let found = found.map_or_else(|error| said(&error), |_| "fine".to_owned());
        self.is(name, found.as_str(), wanted);
    }

    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }
}

/// `ErrorCode::NoEntry` as `no-entry`.
pub fn said(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    // As bindings show an enumeration of their own.
    if let Some(name) = text.split_once("name: \"").and_then(|(_, rest)| rest.split('"').next()) {
        return name.to_owned();
    }
    let text = text.rsplit("::").next().unwrap_or(&text);
    let mut said = String::new();
    for letter in text.chars() {
        if letter.is_ascii_uppercase() && !said.is_empty() {
            said.push('-');
        }
        said.push(letter.to_ascii_lowercase());
    }
    said
}

/// Runs a topic; nothing where there is none.
fn run(topic: &str, words: Vec<String>) -> Option<Suite> {
    let mut suite = Suite { failures: 0, lines: Vec::new(), words };
    match topic {
        "opening" => files::opening(&mut suite),
        "places" => files::places(&mut suite),
        "folders" => files::folders(&mut suite),
        "granted" => files::granted(&mut suite),
        "streams" => streams::streams(&mut suite),
        "quota" => streams::quota(&mut suite),
        "clocks" => others::clocks(&mut suite),
        "polling" => others::polling(&mut suite),
        "random" => others::random(&mut suite),
        "environment" => others::environment(&mut suite),
        "stdio" => streams::stdio(&mut suite),
        "sending" => requests::sending(&mut suite),
        "get" => requests::get(&mut suite),
        "post" => requests::post(&mut suite),
        "waiting" => requests::waiting(&mut suite),
        "sleeping" => requests::sleeping(&mut suite),
        "keep" => files::keep(&mut suite),
        "kept" => files::kept(&mut suite),
        "leaving" => std::process::exit(suite.word(0).parse().unwrap_or(0)),
        _ => return None,
    }
    Some(suite)
}

struct Checks;

export!(Checks);

impl Guest for Checks {
    fn check(topic: String, words: Vec<String>) -> (Vec<String>, u32) {
        let suite = run(&topic, words).expect("a topic");
        (suite.lines, suite.failures)
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let topic = words.next().unwrap_or_default();
    let Some(suite) = run(&topic, words.collect()) else {
        eprintln!("usage: wasip2 TOPIC [ARGS…]");
        std::process::exit(120);
    };
    suite.lines.iter().for_each(|line| println!("{line}"));
    std::process::exit(i32::try_from(suite.failures).unwrap_or(119));
}
