//! What its plugins say: one JSON object for each message, read within bounds.
//!
//! The object's `type` is read first and the rest by it, so that what a message has beside its
//! fields is passed over and never kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::console::{Answers, Progress, Question};

/// Bytes that a message other than output may have: many times what any of them needs.
const MAX_BYTES: usize = 1 << 20;

/// A message of a plugin to its host.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Output(Cow<'a, str>),
    Log {
        level: Cow<'a, str>,
        message: Cow<'a, str>,
    },
    Progress(Step<'a>),
    Store(Pair),
    /// Something that is answered.
    Request {
        id: Id,
        request: Request,
    },
}

/// What is answered with a response.
#[derive(Debug)]
pub(super) enum Request {
    Load(String),
    Exec(Command),
    Metadata(Vec<String>),
    Http(Fetch),
    Ask(Question),
}

/// A request's `id`, a text or a number, to be given back as it came.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Id(Box<RawValue>);

/// How far a plugin is.
#[derive(Debug, Deserialize)]
pub(super) struct Step<'a> {
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    current: Option<u64>,
    total: Option<u64>,
    #[serde(default)]
    done: bool,
}

/// A key and what is to be kept under it.
#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

/// A line for a shell.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    #[serde(default)]
    pub(super) command: String,
    pub(super) cwd: Option<String>,
    /// In seconds.
    pub(super) timeout: Option<u64>,
}

/// A request over the network.
#[derive(Debug, Deserialize)]
pub(super) struct Fetch {
    pub(super) method: Option<String>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    /// In seconds.
    pub(super) timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
}

/// `data` is what its document calls `text`.
#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Load {
    key: String,
}

#[derive(Deserialize)]
struct Metadata {
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Prompt {
    message: String,
    default: Option<String>,
    validate: Option<String>,
}

#[derive(Deserialize)]
struct Confirm {
    message: String,
    #[serde(default)]
    default: bool,
}

#[derive(Deserialize)]
struct Select {
    message: String,
    options: Vec<String>,
    default: Option<usize>,
    #[serde(default)]
    defaults: Vec<usize>,
}

impl Step<'_> {
    pub(super) fn shown(&self) -> Progress<'_> {
        let Step { message, current, total, done } = self;
        Progress { message: message.as_deref(), current: *current, total: *total, is_done: *done }
    }
}

/// Reads one message.
///
/// # Errors
/// What is wrong with it, in words that may hold what the plugin wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Message<'_>, String> {
    let Head { kind } = parse(bytes)?;
    if kind == "output" {
        let Output { text, data } = parse(bytes)?;
        return text.or(data).map(Message::Output).ok_or_else(|| "missing field `text`".to_owned());
    }
    if bytes.len() > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes"));
    }
    Ok(match &*kind {
        "log" => {
            let Log { level, message } = parse(bytes)?;
            Message::Log { level, message }
        }
        "progress" => Message::Progress(parse(bytes)?),
        "store" => Message::Store(parse(bytes)?),
        kind => {
            let request = request(kind, bytes)?;
            Message::Request { id: id(bytes)?, request }
        }
    })
}

fn request(kind: &str, bytes: &[u8]) -> Result<Request, String> {
    Ok(match kind {
        "load" => Request::Load(parse::<Load>(bytes)?.key),
        "exec" => Request::Exec(parse(bytes)?),
        "metadata" => Request::Metadata(parse::<Metadata>(bytes)?.keys),
        "http" => Request::Http(parse(bytes)?),
        "prompt" => {
            let Prompt { message, default, validate } = parse(bytes)?;
            let must_be = match validate.as_deref() {
                Some("non_empty") => Some(Answers::NonEmpty),
                Some("integer") => Some(Answers::Integer),
                Some("path_exists") => Some(Answers::ExistingPath),
                Some("url") => Some(Answers::Url),
                _ => None,
            };
            Request::Ask(Question::Text { message, default, must_be })
        }
        "confirm" => {
            let Confirm { message, default } = parse(bytes)?;
            Request::Ask(Question::Confirm { message, default: Some(default) })
        }
        "select" | "multi_select" => {
            let Select { message, options, default, defaults } = parse(bytes)?;
            if options.is_empty() {
                return Err("there is nothing to choose from".to_owned());
            }
            let many = kind == "multi_select";
            let mut defaults = if many { defaults } else { default.into_iter().collect() };
            defaults.retain(|place| *place < options.len());
            Request::Ask(Question::Select { message, options, defaults, many })
        }
        other => return Err(format!("unknown type `{other}`")),
    })
}

fn id(bytes: &[u8]) -> Result<Id, String> {
    let Identified { id } = parse(bytes)?;
    match id.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        true => Ok(Id(id.to_owned())),
        false => Err("`id` is neither a text nor a number".to_owned()),
    }
}

/// JSON that a plugin hands over.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Whether a line may be a message, where other lines stand between them.
pub(super) fn is_message(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"{") && parse::<Head<'_>>(line).is_ok()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::{Message, Request, read};
    use crate::console::{Answers, Question};

    fn fails(text: &str) -> String {
        read(text.as_bytes()).expect_err("no message")
    }

    #[test]
    fn output_is_text_or_data() {
        for text in
            [r#"{"type":"output","text":"a\nb"}"#, "{\"data\":\"a\\nb\",\"type\":\"output\",\"x\":[1]}\n"]
        {
            let Ok(Message::Output(output)) = read(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(output, "a\nb");
        }
    }

    #[test]
    fn requests_are_read_with_their_id_as_it_came() {
        let read = |text: &'static str| match read(text.as_bytes()) {
            Ok(Message::Request { id, request }) => (id.0.get().to_owned(), request),
            other => panic!("{other:?}"),
        };
        let (id, Request::Exec(exec)) =
            read(r#"{"type":"exec","id":"a\u0062","command":"ls","cwd":"x","timeout":5}"#)
        else {
            panic!("no exec")
        };
        assert_eq!((id.as_str(), exec.command.as_str()), (r#""a\u0062""#, "ls"));
        assert_eq!((exec.cwd.as_deref(), exec.timeout), (Some("x"), Some(5)));
        let (id, Request::Ask(question)) =
            read(r#"{"type":"prompt","id":7,"message":"m","validate":"integer","default":"1"}"#)
        else {
            panic!("no question")
        };
        assert_eq!(id, "7");
        let (message, default) = ("m".to_owned(), Some("1".to_owned()));
        assert_eq!(question, Question::Text { message, default, must_be: Some(Answers::Integer) });
        let (_, Request::Ask(question)) =
            read(r#"{"type":"multi_select","id":"","message":"m","options":["a","b"],"defaults":[1,9]}"#)
        else {
            panic!("no question")
        };
        let options = vec!["a".to_owned(), "b".to_owned()];
        let message = "m".to_owned();
        assert_eq!(question, Question::Select { message, options, defaults: vec![1], many: true });
    }

    #[test]
    fn what_is_no_message_says_what_is_wrong() {
        assert_eq!(fails(r#"{"type":"output"}"#), "missing field `text`");
        assert_eq!(fails(r#"{"type":"nonsense"}"#), "unknown type `nonsense`");
        assert_eq!(fails(r#"{"text":"x"}"#), "missing field `type` at line 1 column 12");
        assert_eq!(
            fails(r#"{"type":"output","text":"a"}{"type":"output","text":"b"}"#),
            "trailing characters at line 1 column 29"
        );
        assert_eq!(fails(r#"{"type":"load","key":"k"}"#), "missing field `id` at line 1 column 25");
        assert_eq!(fails(r#"{"type":"load","key":"k","id":[1]}"#), "`id` is neither a text nor a number");
        let none = r#"{"type":"select","id":"1","message":"m","options":[]}"#;
        assert_eq!(fails(none), "there is nothing to choose from");
        let long = format!(r#"{{"type":"log","level":"info","message":"{}"}}"#, "x".repeat(1 << 20));
        assert_eq!(fails(&long), "longer than 1048576 bytes");
        let deep =
            |depth| format!(r#"{{"type":"exec","id":"1","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(read(deep(100_000).as_bytes()).is_ok(), "what is passed over may be as deep as it likes");
        let deep = format!(r#"{{"type":"log","level":{}"#, "[".repeat(100_000));
        assert!(!fails(&deep).is_empty());
        assert!(read(b"{\"type\":\"output\",\"text\":\"\xff\"}").is_err());
    }
}
