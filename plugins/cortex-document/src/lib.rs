use cortexprism_wasm_sdk::{register_capability, CapabilityContext};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct TransformInput {
    text: String,
    mode: String,
}

#[derive(Serialize)]
struct TransformOutput {
    result: String,
    length: usize,
    hash: u64,
}

fn transform_text(input: TransformInput, _ctx: CapabilityContext) -> TransformOutput {
    let result = match input.mode.as_str() {
        "reverse" => input.text.chars().rev().collect(),
        "uppercase" => input.text.to_uppercase(),
        "lowercase" => input.text.to_lowercase(),
        "rot13" => input.text.chars().map(rot13_char).collect(),
        _ => input.text,
    };

    TransformOutput {
        length: result.len(),
        hash: simple_hash(&result),
        result,
    }
}

register_capability!("transform", transform_text);

fn simple_hash(s: &str) -> u64 {
    s.bytes().fold(0u64, |acc, b| acc.wrapping_mul(31).wrapping_add(b as u64))
}

fn rot13_char(c: char) -> char {
    let turn = |first: u8| ((c as u8 - first + 13) % 26 + first) as char;
    match c {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        _ => c,
    }
}
