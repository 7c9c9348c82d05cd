//! Where a result is and where it ends.
//!
//! The document says that a capability returns a pointer to JSON and nothing about how
//! long it is, so plugins in the wild do all of these: pack pointer and length into an
//! `i64`, export a function that tells the length, put a length before the text, end it
//! with NUL, or do nothing and hope. [`read`] takes them in the order in which a right
//! answer cannot be mistaken for another; what is no JSON at all becomes a JSON string or
//! number.

use serde::Serialize;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::guest;

/// What a capability returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// A pointer, or a plain number.
    I32(u32),
    /// A pointer and a length in either order, or a plain number.
    I64(u64),
}

/// What was found there.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// Valid JSON text.
    Json(Box<RawValue>),
    /// Text that goes on past the limit of output.
    TooLarge,
    /// Something that cannot be a result.
    Undecipherable(String),
}

/// Reads a result from `memory` as it is after the call.
///
/// `told` is the length that an export told, `utf16` whether strings may be
/// AssemblyScript's, `maximum` the limit of output in bytes.
pub(super) fn read(memory: &[u8], returned: Returned, told: Option<u32>, utf16: bool, maximum: u64) -> Found {
    let found = match returned {
        Returned::I32(pointer) => read_at(memory, pointer, told, utf16, maximum),
        Returned::I64(packed) => match packed_pair(memory, packed) {
            Some(json) => bounded(json, maximum),
            None => Found::Json(to_json(&packed)),
        },
    };
    match found {
        // Text that is within the limit can be past it with quotes and escapes.
        Found::Json(json) if json.get().len() as u64 > maximum => Found::TooLarge,
        found => found,
    }
}

fn read_at(memory: &[u8], pointer: u32, told: Option<u32>, utf16: bool, maximum: u64) -> Found {
    if let Some(length) = told {
        return with_length(memory, pointer, length, maximum);
    }
    if let Some(json) = length_prefixed(memory, pointer) {
        return bounded(json, maximum);
    }
    // AssemblyScript keeps a length before every object, so for its modules the text is
    // known exactly. This comes before the parser, which would take the first digit of
    // the UTF-16 text `42` for a whole number.
    if utf16 && let Some(found) = assembly_script(memory, pointer, maximum) {
        return found;
    }
    let rest = guest::tail(memory, pointer);
    let window = &rest[..rest.len().min(usize::try_from(maximum).unwrap_or(usize::MAX).saturating_add(1))];
    let end = memchr::memchr(0, window);
    let text = &window[..end.unwrap_or(window.len())];
    if let Some(json) = first_json(text) {
        return bounded(json, maximum);
    }
    // A text without an end that was cut off by the limit and not by the memory.
    if end.is_none() && window.len() as u64 > maximum {
        return Found::TooLarge;
    }
    match std::str::from_utf8(text) {
        Ok("") | Err(_) if pointer == 0 => Found::Json(RawValue::NULL.to_owned()),
        Ok(text) if !text.is_empty() && end.is_some() => Found::Json(to_json(&text)),
        // Nothing to read there, so it was a number and no pointer.
        _ => Found::Json(to_json(&pointer)),
    }
}

/// The plugin says how long its result is, so anything else is a lie.
fn with_length(memory: &[u8], pointer: u32, length: u32, maximum: u64) -> Found {
    if u64::from(length) > maximum {
        return Found::TooLarge;
    }
    let Ok(bytes) = guest::slice(memory, pointer, length) else {
        return Found::Undecipherable(format!(
            "its result at {pointer}, {length} bytes long, is outside its memory of {} bytes",
            memory.len()
        ));
    };
    match (std::str::from_utf8(bytes), whole_json(bytes)) {
        (_, Some(json)) => Found::Json(json.to_owned()),
        (Ok(text), None) => Found::Json(to_json(&text)),
        (Err(_), None) => Found::Undecipherable("its result is neither JSON nor UTF-8 text".to_owned()),
    }
}

/// A text that is copied only when it is within the limit.
fn bounded(json: &RawValue, maximum: u64) -> Found {
    match json.get().len() as u64 > maximum {
        true => Found::TooLarge,
        false => Found::Json(json.to_owned()),
    }
}

/// `ptr << 32 | len`, or the other way round: whichever names valid JSON.
fn packed_pair(memory: &[u8], packed: u64) -> Option<&RawValue> {
    let high = u32::try_from(packed >> 32).ok()?;
    let low = u32::try_from(packed & u64::from(u32::MAX)).ok()?;
    [(high, low), (low, high)]
        .into_iter()
        .find_map(|(pointer, length)| whole_json(guest::slice(memory, pointer, length).ok()?))
}

/// A `u32` length, then exactly that much JSON.
fn length_prefixed(memory: &[u8], pointer: u32) -> Option<&RawValue> {
    let length = guest::read_u32(memory, pointer)?;
    whole_json(guest::slice(memory, pointer.checked_add(4)?, length).ok()?)
}

/// An AssemblyScript `ArrayBuffer` of UTF-8 JSON, or a string.
fn assembly_script(memory: &[u8], pointer: u32, maximum: u64) -> Option<Found> {
    let length = guest::read_u32(memory, pointer.checked_sub(4)?)?;
    if length == 0 {
        return None;
    }
    if let Some(json) = guest::slice(memory, pointer, length).ok().and_then(whole_json) {
        return Some(bounded(json, maximum));
    }
    let text = guest::utf16(memory, pointer)?;
    if text.len() as u64 > maximum {
        return Some(Found::TooLarge);
    }
    Some(Found::Json(whole_json(text.as_bytes()).map_or_else(|| to_json(&text), ToOwned::to_owned)))
}

/// `bytes`, when they are one JSON value and nothing else.
fn whole_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// The one JSON value that `bytes` begin with.
fn first_json(bytes: &[u8]) -> Option<&RawValue> {
    Deserializer::from_slice(bytes).into_iter().next()?.ok()
}

/// A string or a number as JSON.
fn to_json<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("strings and numbers have a JSON form")
}

/// The message, when a result is an object that reports a failure: a string `error`, and
/// beside it nothing that says there is a result too.
pub(super) fn reported_error(json: &str) -> Option<String> {
    // The key can be written with escapes too; what has neither need not be parsed.
    let may_have_error = || json.contains("\"error\"") || json.contains('\\');
    if !json.starts_with('{') || !may_have_error() {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let message = object.get("error")?.as_str()?;
    let only_failure = object.iter().all(|(key, value)| match key.as_str() {
        "error" | "code" | "message" | "details" => true,
        "ok" | "success" => value == &serde_json::Value::Bool(false),
        "status" => value == "error",
        _ => false,
    });
    only_failure.then(|| message.to_owned())
}

/// By the text, digit for digit.
impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Found::Json(one), Found::Json(other)) => one.get() == other.get(),
            (Found::Undecipherable(one), Found::Undecipherable(other)) => one == other,
            (Found::TooLarge, Found::TooLarge) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use serde_json::value::RawValue;

    use super::{Found, Returned, read, reported_error};

    const BASE: u32 = 64;

    fn place(bytes: &[u8]) -> Vec<u8> {
        let mut memory = vec![0; BASE as usize];
        memory.extend(bytes);
        memory.resize(4096, 0);
        memory
    }

    fn found(bytes: &[u8]) -> Found {
        read(&place(bytes), Returned::I32(BASE), None, false, 1024)
    }

    fn json(text: &str) -> Found {
        Found::Json(RawValue::from_string(text.to_owned()).expect("JSON"))
    }

    #[test]
    fn each_rung_of_the_ladder_is_read() {
        assert_eq!(found(b"{\"a\":1}\0junk"), json("{\"a\":1}"));
        assert_eq!(found(b"{\"a\":1}garbage"), json("{\"a\":1}"));
        assert_eq!(found(b"\x07\0\0\0{\"a\":1}xx"), json("{\"a\":1}"));
        assert_eq!(found(b"HELLO\0"), json("\"HELLO\""));
        assert_eq!(found(b"42\0"), json("42"));
        assert_eq!(read(&place(b""), Returned::I32(3), None, false, 1024), json("3"));
        assert_eq!(read(&place(b""), Returned::I32(0), None, false, 1024), json("null"));
        assert_eq!(read(&place(b""), Returned::I32(u32::MAX), None, false, 1024), json("4294967295"));
    }

    #[test]
    fn a_told_length_is_believed_and_checked() {
        let memory = place(b"{\"a\":1}{\"b\":2}");
        assert_eq!(read(&memory, Returned::I32(BASE), Some(7), false, 1024), json("{\"a\":1}"));
        assert_eq!(read(&memory, Returned::I32(BASE), Some(4), false, 1024), json("\"{\\\"a\\\"\""));
        assert_eq!(read(&memory, Returned::I32(BASE), Some(1025), false, 1024), Found::TooLarge);
        let Found::Undecipherable(reason) = read(&memory, Returned::I32(4095), Some(2), false, 1024) else {
            panic!("outside");
        };
        assert_eq!(reason, "its result at 4095, 2 bytes long, is outside its memory of 4096 bytes");
        let binary = place(b"\xff\xfe");
        assert!(matches!(read(&binary, Returned::I32(BASE), Some(2), false, 1024), Found::Undecipherable(_)));
    }

    #[test]
    fn packed_results_are_read_in_either_order() {
        let memory = place(b"[1,2]");
        let (pointer, length) = (u64::from(BASE), 5_u64);
        assert_eq!(read(&memory, Returned::I64(pointer << 32 | length), None, false, 1024), json("[1,2]"));
        assert_eq!(read(&memory, Returned::I64(length << 32 | pointer), None, false, 1024), json("[1,2]"));
        assert_eq!(read(&memory, Returned::I64(u64::MAX), None, false, 1024), json("18446744073709551615"));
    }

    #[test]
    fn assembly_script_strings_are_read_whole() {
        let string = |text: &str| {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut memory = vec![0; BASE as usize];
            memory[BASE as usize - 4..]
                .copy_from_slice(&u32::try_from(units.len()).expect("small").to_le_bytes());
            memory.extend(units);
            memory.resize(4096, 0);
            memory
        };
        let read = |text: &str| read(&string(text), Returned::I32(BASE), None, true, 1024);
        assert_eq!(read("42"), json("42"));
        assert_eq!(read("{\"a\":\"é\"}"), json("{\"a\":\"é\"}"));
        assert_eq!(read("héllo"), json("\"héllo\""));
    }

    #[test]
    fn output_past_the_limit_is_said_to_be() {
        let long = format!("\"{}\"", "x".repeat(2000));
        assert_eq!(found(long.as_bytes()), Found::TooLarge);
        assert_eq!(found(&vec![b'x'; 2000]), Found::TooLarge);
        assert_eq!(found(&[&[b'\n'; 600][..], b"\0"].concat()), Found::TooLarge, "1202 bytes when escaped");
    }

    #[test]
    fn deep_json_of_a_hundred_thousand_levels_is_measured_without_recursion() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let memory = [vec![0; BASE as usize], deep.clone().into_bytes()].concat();
        assert_eq!(read(&memory, Returned::I32(BASE), None, false, 1 << 20), json(&deep));
    }

    #[test]
    fn only_an_object_that_is_nothing_but_an_error_is_a_failure() {
        assert_eq!(reported_error("{\"error\":\"no\"}").as_deref(), Some("no"));
        assert_eq!(reported_error("{\"ok\":false,\"error\":\"no\",\"code\":7}").as_deref(), Some("no"));
        assert_eq!(reported_error("{\"error\":\"no\",\"result\":1}"), None);
        assert_eq!(reported_error("{\"error\":null}"), None);
        assert_eq!(reported_error("\"error\""), None);
    }

    proptest! {
        #[test]
        fn a_document_is_found_however_it_is_ended(text in "\\PC{0,40}", n: u64, end in 0_usize..3) {
            let document = serde_json::json!({ "text": text, "n": n }).to_string();
            let bytes = document.as_bytes();
            let bytes = match end {
                0 => [bytes, b"\0\xff\xff"].concat(),
                1 => [bytes, b"}]garbage"].concat(),
                _ => [&u32::try_from(bytes.len()).expect("small").to_le_bytes(), bytes, b"xx"].concat(),
            };
            prop_assert_eq!(found(&bytes), json(&document));
        }
    }
}
