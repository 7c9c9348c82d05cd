//! What goes into a call and what comes out, before typed Rust values and after.

use airlock_core::{Error, ErrorKind, Location, Result, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What a function is called with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    /// JSON text. A `raw` function takes an array of numbers, one number, or `null` for
    /// none.
    Json(String),
    /// Arguments as a person typed them, read by a `raw` function's own types.
    Words(Vec<String>),
    /// Numbers of a `raw` function's types.
    Values(Vec<Value>),
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
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// Its exit code; 0 when it returned.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Parses JSON text, naming line and column when it is none.
pub(crate) fn parse_json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| {
        let (at, reason) = Location::of_json(&error);
        Error::new(ErrorKind::InvalidInput { at, reason })
    })
}

impl Input {
    /// A Rust value as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it has no JSON form.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::to_string(value)
            .map(Input::Json)
            .map_err(|error| Error::new(ErrorKind::InvalidInput { at: None, reason: error.to_string() }))
    }

    /// How many bytes it is.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Input::Json(text) => text.len() as u64,
            Input::Words(words) => words.iter().map(|word| word.len() as u64).sum(),
            Input::Values(values) => values.len() as u64 * 8,
        }
    }

    /// The input as JSON text for a plugin that reads JSON: valid, and otherwise as given,
    /// so that no digit of a number is lost.
    pub(crate) fn into_json_text(self) -> Result<String> {
        match self {
            Input::Json(text) => parse_json(&text).map(|_| text),
            Input::Words(words) => match words.as_slice() {
                [] => Ok("{}".to_owned()),
                [text] => parse_json(text).map(|_| text.clone()),
                _ => Err(Error::new(ErrorKind::InvalidInput {
                    at: None,
                    reason: "more than one input".to_owned(),
                })
                .with_hint("a `json` plugin takes one JSON value; quote it for the shell")),
            },
            Input::Values(values) => {
                Ok(serde_json::Value::from_iter(values.iter().map(Value::to_json)).to_string())
            }
        }
    }
}

impl Answer {
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
