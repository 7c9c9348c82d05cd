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

fn transform(Input { text, mode }: Input) -> Output {
    let result = match mode.as_str() {
        "reverse" if text.is_ascii() => ascii(text, |bytes| bytes.reverse()),
        "reverse" => text.chars().rev().collect(),
        "uppercase" if text.is_ascii() => ascii(text, |bytes| bytes.make_ascii_uppercase()),
        "uppercase" => text.to_uppercase(),
        "lowercase" if text.is_ascii() => ascii(text, |bytes| bytes.make_ascii_lowercase()),
        "lowercase" => text.to_lowercase(),
        "rot13" => ascii(text, |bytes| bytes.iter_mut().for_each(|byte| *byte = rot13(*byte))),
        _ => text,
    };
    Output { length: result.len(), hash: hash(&result), result }
}

/// Changes letters of ASCII where they are, which needs no second text.
fn ascii(text: String, change: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = text.into_bytes();
    change(&mut bytes);
    String::from_utf8(bytes).expect("letters of ASCII have become others")
}

/// Any other byte as it is, those of longer characters too.
fn rot13(byte: u8) -> u8 {
    let turn = |first: u8| (byte - first + 13) % 26 + first;
    match byte {
        b'a'..=b'z' => turn(b'a'),
        b'A'..=b'Z' => turn(b'A'),
        _ => byte,
    }
}

/// The document's polynomial hash over UTF-8 bytes, modulo 2^64. Eight bytes at a time wait once for the
/// sum of those before them.
fn hash(text: &str) -> u64 {
    let step = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    const EIGHT: u64 = 31_u64.pow(8);
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let sum = chunks
        .iter()
        .fold(0, |sum: u64, chunk| sum.wrapping_mul(EIGHT).wrapping_add(chunk.iter().fold(0, step)));
    rest.iter().fold(sum, step)
}
