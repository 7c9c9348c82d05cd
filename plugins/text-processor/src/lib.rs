//! Transforms text: CortexPrism's example plugin, one capability named `transform`.
//!
//! The ABI is written out by hand here: input is JSON at (pointer, length), the answer is
//! a pointer to JSON that ends with a NUL byte.

use std::slice;

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

#[derive(Serialize)]
struct Failure {
    error: String,
}

/// # Safety
/// `pointer` and `length` name memory that the host wrote.
#[no_mangle]
pub unsafe extern "C" fn transform(pointer: *const u8, length: usize) -> *const u8 {
    let json = unsafe { slice::from_raw_parts(pointer, length) };
    let mut answer = match serde_json::from_slice::<Input>(json) {
        Ok(input) => serde_json::to_vec(&apply(input)),
        Err(error) => serde_json::to_vec(&Failure { error: error.to_string() }),
    }
    .unwrap_or_default();
    answer.push(0);
    // The instance ends with the call, so nothing frees this.
    answer.leak().as_ptr()
}

fn apply(input: Input) -> Output {
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
