//! A host for tests, in memory.
//!
//! ```
//! use airlock_sdk::fledge::testing::{self, Script};
//! use airlock_sdk::fledge::{Error, Plugin};
//!
//! let script = Script::new(testing::init(["Ada"])).answer("3");
//! let mut plugin = Plugin::connect(script)?;
//! let visits = plugin.load("visits")?.and_then(|text| text.parse().ok()).unwrap_or(0u32) + 1;
//! plugin.store("visits", &visits.to_string())?;
//!
//! assert_eq!(plugin.args(), ["Ada"]);
//! let sent = [
//!     r#"{"type":"load","id":"1","key":"visits"}"#,
//!     r#"{"type":"store","key":"visits","value":"4"}"#,
//! ];
//! assert_eq!(plugin.transport().sent(), sent);
//! # Ok::<(), Error>(())
//! ```

use std::collections::VecDeque;
use std::io;

use serde_json::{Value, json};

use super::{PROTOCOL, Transport};

/// What a host says at the start: these arguments, a plugin named `test`, no project, nothing
/// granted. Change what matters to the test:
///
/// ```
/// # use airlock_sdk::fledge::testing;
/// let mut init = testing::init(["--all"]);
/// init["capabilities"]["store"] = true.into();
/// ```
pub fn init<A: Into<String>>(args: impl IntoIterator<Item = A>) -> Value {
    let args: Vec<String> = args.into_iter().map(Into::into).collect();
    json!({
        "type": "init",
        "protocol": PROTOCOL,
        "args": args,
        "project": null,
        "plugin": { "name": "test", "version": "0.1.0", "dir": "/plugin" },
        "fledge": { "version": "1.8.0" },
        "capabilities": { "exec": false, "store": false, "metadata": false },
    })
}

/// A host that gives prepared answers, in order, and records what it was sent.
#[derive(Debug)]
pub struct Script {
    /// The messages that the plugin has not read to their end.
    unread: VecDeque<Vec<u8>>,
    answers: VecDeque<Prepared>,
    sent: Vec<String>,
    piece: usize,
}

#[derive(Debug)]
enum Prepared {
    Value(Value),
    Raw(Vec<u8>),
}

impl Script {
    /// A host that begins with `init` and has no answers; [`init()`] makes one.
    pub fn new(init: Value) -> Self {
        // As the WebAssembly form has it: no newline at its end.
        Script::raw(init.to_string())
    }

    /// A host that begins with these bytes. Empty ones are a host that says nothing.
    pub fn raw(init: impl Into<Vec<u8>>) -> Self {
        Script { unread: [init.into()].into(), answers: VecDeque::new(), sent: Vec::new(), piece: usize::MAX }
    }

    /// The value of the answer to the next request that has none yet.
    ///
    /// A request beyond the prepared answers gets none.
    #[must_use]
    pub fn answer(mut self, value: impl Into<Value>) -> Self {
        self.answers.push_back(Prepared::Value(value.into()));
        self
    }

    /// The bytes that the next request gets instead of an answer with its id.
    #[must_use]
    pub fn answer_raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.answers.push_back(Prepared::Raw(bytes.into()));
        self
    }

    /// Gives at most so many bytes at once, 1 at least.
    #[must_use]
    pub fn piece(mut self, bytes: usize) -> Self {
        self.piece = bytes.max(1);
        self
    }

    /// The messages it was sent, in order and as they were.
    pub fn sent(&self) -> &[String] {
        &self.sent
    }

    /// The texts of all output, one after the other.
    pub fn output(&self) -> String {
        let text = |message: Value| match message["type"].as_str() {
            Some("output") => message["text"].as_str().map(str::to_owned),
            _ => None,
        };
        self.messages().filter_map(text).collect()
    }

    /// The level and the text of each log message, in order.
    pub fn logs(&self) -> Vec<(String, String)> {
        let log = |message: Value| match message["type"].as_str() {
            Some("log") => {
                Some((message["level"].as_str()?.to_owned(), message["message"].as_str()?.to_owned()))
            }
            _ => None,
        };
        self.messages().filter_map(log).collect()
    }

    fn messages(&self) -> impl Iterator<Item = Value> {
        self.sent.iter().filter_map(|text| serde_json::from_str(text).ok())
    }
}

impl Transport for Script {
    /// # Errors
    /// When `message` is no JSON object, or not on one line.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let refused = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let text = str::from_utf8(message).map_err(|_| refused("the message is not UTF-8"))?;
        if text.contains('\n') {
            return Err(refused("the message has a newline"));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| refused(&error.to_string()))?;
        let members = value.as_object().ok_or_else(|| refused("the message is no object"))?;
        if let Some(id) = members.get("id") {
            match self.answers.pop_front() {
                Some(Prepared::Value(value)) => {
                    let answer = json!({ "type": "response", "id": id, "value": value });
                    self.unread.push_back(format!("{answer}\n").into_bytes());
                }
                Some(Prepared::Raw(bytes)) => self.unread.push_back(bytes),
                None => {}
            }
        }
        self.sent.push(text.to_owned());
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(message) = self.unread.front_mut() else { return Ok(0) };
        let length = message.len().min(buffer.len()).min(self.piece);
        buffer[..length].copy_from_slice(&message[..length]);
        message.drain(..length);
        if message.is_empty() {
            self.unread.pop_front();
        }
        Ok(length)
    }
}
