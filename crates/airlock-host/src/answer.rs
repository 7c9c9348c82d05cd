//! What goes into a call and what comes out, before typed Rust values and after.

use airlock_core::{Error, ErrorKind, Location, Result, Value};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::abi::sen::ExecuteResult;

/// What a function is called with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    /// JSON text. A `raw` function takes an array of numbers, one number, or `null` for
    /// none.
    Json(String),
    /// The same, of which it is known that it is JSON, so that nobody looks again.
    Raw(Box<RawValue>),
    /// Arguments as a person typed them, read by a `raw` function's own types.
    Words(Vec<String>),
    /// Numbers of a `raw` function's types.
    Values(Vec<Value>),
    /// Arguments of a component's function in WAVE, with their parentheses: `("x", {a: 1})`.
    Wave(String),
}

/// What a plugin answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// JSON, digit for digit as the plugin wrote it.
    Json(Box<RawValue>),
    /// The results of a `raw` function.
    Values(Vec<Value>),
    /// What a program left behind.
    Program(Program),
    /// What executing a `sen` plugin came to.
    Executed(ExecuteResult),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// Its exit code; 0 when it returned.
    pub code: i32,
    /// What it wrote to standard output, where that was not shown as it came
    /// ([`Console`](crate::console::Console)).
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, likewise.
    pub stderr: Vec<u8>,
}

/// Levels of nesting JSON may have on its way in or out: what serde_json reads into a value.
pub(crate) const MAX_DEPTH: usize = 127;

/// Whether arrays and objects of valid JSON are nested deeper than `levels`.
pub(crate) fn is_nested_deeper_than(json: &str, levels: usize) -> bool {
    let mut rest = json.as_bytes();
    // Text with no more brackets than that has no deeper levels, and is skipped fast.
    if memchr::memchr2_iter(b'[', b'{', rest).take(levels + 1).count() <= levels {
        return false;
    }
    let mut depth = 0_usize;
    // From one string to the next, whose insides count for nothing.
    loop {
        let quote = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        for byte in &rest[..quote] {
            // `[` and `{`, `]` and `}` differ in one bit.
            match byte | 0x20 {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth > levels {
                return true;
            }
        }
        match rest.get(quote + 1..).and_then(after_string) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// What comes after a string that `rest` begins in.
fn after_string(rest: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &rest[at..])?;
        match rest[at] {
            b'"' => return Some(&rest[at + 1..]),
            // What is escaped is no end.
            _ => at = (at + 2).min(rest.len()),
        }
    }
}

/// Checks that a text is JSON, naming line and column when it is none.
fn check_json(text: &str) -> Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map_err(invalid)?;
    check_depth(text)
}

fn check_depth(text: &str) -> Result<()> {
    match is_nested_deeper_than(text, MAX_DEPTH) {
        true => {
            let reason = format!("it is nested deeper than {MAX_DEPTH} levels");
            Err(Error::new(ErrorKind::InvalidInput { at: None, reason }))
        }
        false => Ok(()),
    }
}

pub(crate) fn invalid(error: serde_json::Error) -> Error {
    let (at, reason) = Location::of_json(&error);
    Error::new(ErrorKind::InvalidInput { at, reason })
}

/// Parses JSON text, naming line and column when it is none.
pub(crate) fn parse_json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(invalid)
}

impl Input {
    /// A Rust value as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it has no JSON form.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::value::to_raw_value(value)
            .map(Input::Raw)
            .map_err(|error| Error::new(ErrorKind::InvalidInput { at: None, reason: error.to_string() }))
    }

    /// The text, where it is JSON.
    pub(crate) fn as_json(&self) -> Option<&str> {
        match self {
            Input::Json(text) => Some(text),
            Input::Raw(json) => Some(json.get()),
            _ => None,
        }
    }

    /// How many bytes it is.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Input::Json(text) => text.len() as u64,
            Input::Raw(json) => json.get().len() as u64,
            Input::Words(words) => words.iter().map(|word| word.len() as u64).sum(),
            Input::Values(values) => values.len() as u64 * 8,
            Input::Wave(text) => text.len() as u64,
        }
    }

    /// The input as JSON text for a plugin that reads JSON: valid, and otherwise as given,
    /// so that no digit of a number is lost.
    pub(crate) fn into_json_text(self) -> Result<String> {
        match self {
            Input::Json(text) => check_json(&text).map(|()| text),
            Input::Raw(json) => check_depth(json.get()).map(|()| Box::<str>::from(json).into_string()),
            Input::Words(words) => match words.as_slice() {
                [] => Ok("{}".to_owned()),
                [text] => check_json(text).map(|()| text.clone()),
                _ => Err(Error::new(ErrorKind::InvalidInput {
                    at: None,
                    reason: "more than one input".to_owned(),
                })
                .with_hint("a `json` plugin takes one JSON value; quote it for the shell")),
            },
            Input::Wave(_) => Err(Error::new(ErrorKind::InvalidInput {
                at: None,
                reason: "only a component's function is called with WAVE".to_owned(),
            })),
            Input::Values(values) => {
                Ok(serde_json::Value::from_iter(values.iter().map(Value::to_json)).to_string())
            }
        }
    }
}

impl Answer {
    /// A value as JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::value::to_raw_value(value)
            .map(Answer::Json)
            .map_err(|error| Error::host("an answer that has no form in JSON").with_source(error))
    }

    /// The answer as JSON text: a plugin's own, or a `raw` function's result (one number,
    /// an array of several, `null` for none).
    pub fn to_json_text(&self) -> String {
        match self {
            Answer::Json(raw) => raw.get().to_owned(),
            Answer::Values(values) => match values.as_slice() {
                [] => "null".to_owned(),
                [one] => one.to_json().to_string(),
                several => serde_json::Value::from_iter(several.iter().map(Value::to_json)).to_string(),
            },
            Answer::Program(program) => serde_json::json!({ "code": program.code }).to_string(),
            Answer::Executed(result) => serde_json::json!(result).to_string(),
            Answer::Bytes(bytes) => serde_json::json!(bytes).to_string(),
        }
    }

    /// The answer as a Rust value.
    ///
    /// # Errors
    /// [`ErrorKind::BadGuest`] when it is not of that type.
    pub fn parse<R: DeserializeOwned>(&self, function: &str) -> Result<R> {
        serde_json::from_str(&self.to_json_text()).map_err(|error| {
            let reason = format!("its answer is not what was expected: {error}");
            Error::new(ErrorKind::BadGuest { function: function.to_owned(), reason })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_nested_deeper_than;

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_nested_deeper_than(&nested(129), 128) && !is_nested_deeper_than(&nested(128), 128));
        assert!(!is_nested_deeper_than(&format!("[{}]", ["[[]]"; 300].join(",")), 3));
        assert!(is_nested_deeper_than(&format!("[{}]", ["[[]]"; 300].join(",")), 2));
        assert!(!is_nested_deeper_than(&format!("[\"{}\\\"{}\"]", "[".repeat(200), "{".repeat(200)), 1));
        assert!(is_nested_deeper_than(&format!("[\"\\\\\",{}1{}]", "[".repeat(5), "]".repeat(5)), 5));
        assert!(!is_nested_deeper_than(&format!("[\"\\\\\",{}1{}]", "[".repeat(5), "]".repeat(5)), 6));
    }
}
