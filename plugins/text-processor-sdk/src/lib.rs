//! Transforms text: CortexPrism's example plugin as the SDK has it, made to be called often.

use airlock_sdk::register_capability;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    text: String,
    mode: String,
}

#[derive(Serialize)]
struct Output {
    result: String,
    length: usize,
    hash: u64,
}

register_capability!("transform", transform);

fn transform(input: Input) -> Output {
    let result = match input.mode.as_str() {
        "reverse" => input.text.chars().rev().collect(),
        "uppercase" => input.text.to_uppercase(),
        "lowercase" => input.text.to_lowercase(),
        "rot13" => input.text.chars().map(rot13).collect(),
        _ => input.text,
    };
    Output { length: result.len(), hash: hash(&result), result }
}

fn rot13(c: char) -> char {
    let turn = |first: u8| ((c as u8 - first + 13) % 26 + first) as char;
    match c {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        _ => c,
    }
}

/// The document's polynomial hash over UTF-8 bytes, modulo 2^64.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
