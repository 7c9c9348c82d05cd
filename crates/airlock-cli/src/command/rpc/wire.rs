//! JSON-RPC 2.0: what is asked, and how it is answered.

use std::borrow::Cow;

use airlock_host::{Error, Location, escape_json, visible};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::printer::error_json;

/// Something that is asked.
#[derive(Debug)]
pub(super) struct Request {
    /// Who asked without one gets no answer.
    pub(super) id: Option<Id>,
    pub(super) method: String,
    params: Option<Box<RawValue>>,
}

/// What an answer belongs to: a text, a number or `null`, given back as it came.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Id(Box<RawValue>);

/// Why something is not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The line is no JSON.
    NoJson(String),
    /// It is JSON and no request.
    NoRequest(String),
    /// The line is longer than this.
    TooLong(usize),
    /// There is no such method.
    NoMethod(String),
    /// The method is there, and wants other parameters.
    Params(String),
    /// The method was tried.
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Failed(error)
    }
}

/// A request as it is written. Members that are none are passed over.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

/// A value that is there, `null` included.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, and what the answer that says so belongs to.
    pub(super) fn read(line: &[u8]) -> Result<Self, (Id, Fault)> {
        let no_json = |reason: String| (Id::none(), Fault::NoJson(reason));
        let text = std::str::from_utf8(line).map_err(|error| no_json(format!("it is not UTF-8: {error}")))?;
        let whole: &RawValue =
            serde_json::from_str(text).map_err(|error| no_json(format!("it is not JSON: {error}")))?;
        let no_request = |id, reason: String| (id, Fault::NoRequest(reason));
        if !whole.get().starts_with('{') {
            let reason = match whole.get().starts_with('[') {
                true => "batches are not taken; write each request on a line of its own",
                false => "a request is an object",
            };
            return Err(no_request(Id::none(), reason.to_owned()));
        }
        let envelope: Envelope<'_> = serde_json::from_str(whole.get()).map_err(|error| {
            let (_, reason) = Location::of_json(&error);
            no_request(Id::of(whole), reason)
        })?;
        let id = match envelope.id.map(Id::read).transpose() {
            Ok(id) => id,
            Err(reason) => return Err(no_request(Id::none(), reason.to_owned())),
        };
        if envelope.jsonrpc != "2.0" {
            let reason = format!("`jsonrpc` is `2.0`, not `{}`", visible(&envelope.jsonrpc, false));
            return Err(no_request(id.unwrap_or_else(Id::none), reason));
        }
        let params = envelope.params.map(ToOwned::to_owned);
        Ok(Request { id, method: envelope.method.into_owned(), params })
    }

    /// The parameters.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn params<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let text = self.params.as_ref().map_or("{}", |params| params.get());
        if !text.starts_with('{') {
            return Err(Fault::Params(
                "`params` is an object, with the parameters by their names".to_owned(),
            ));
        }
        serde_json::from_str(text).map_err(|error| Fault::Params(Location::of_json(&error).1))
    }
}

impl Id {
    /// That of a request whose own cannot be read.
    pub(super) fn none() -> Self {
        Id(RawValue::NULL.to_owned())
    }

    fn read(raw: &RawValue) -> Result<Self, &'static str> {
        match raw.get().starts_with(['{', '[', 't', 'f']) {
            true => Err("`id` is a text, a number or `null`"),
            false => Ok(Id(raw.to_owned())),
        }
    }

    /// The `id` of what is no request otherwise.
    fn of(object: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Only<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        let only = serde_json::from_str::<Only<'_>>(object.get()).ok();
        only.and_then(|only| Id::read(only.id).ok()).unwrap_or_else(Id::none)
    }
}

impl Fault {
    /// The number of its class.
    fn code(&self) -> i32 {
        match self {
            Fault::NoJson(_) => -32700,
            Fault::NoRequest(_) | Fault::TooLong(_) => -32600,
            Fault::NoMethod(_) => -32601,
            Fault::Params(_) => -32602,
            // Of the exit code that the command would have, the last two digits.
            Fault::Failed(error) => -32000 - i32::from(error.exit_code() % 100),
        }
    }

    fn message(&self) -> String {
        match self {
            Fault::NoJson(reason) => format!("the line cannot be read: {reason}"),
            Fault::NoRequest(reason) => format!("the line is no request: {reason}"),
            Fault::TooLong(longest) => format!("the line is longer than {longest} bytes"),
            Fault::NoMethod(name) => format!("there is no method `{name}`"),
            Fault::Params(reason) => format!("the parameters are not as they should be: {reason}"),
            Fault::Failed(error) => error.to_string(),
        }
    }

    /// As the `error` of every verb with `--json`.
    fn data(&self) -> Value {
        let (code, hint) = match self {
            Fault::NoJson(_) => ("no-json", None),
            Fault::NoRequest(_) => ("no-request", None),
            Fault::TooLong(_) => ("line-too-long", Some("`--max-line SIZE` takes longer ones".to_owned())),
            Fault::NoMethod(name) => {
                let nearest = airlock_host::nearest(name, super::METHODS);
                let nearest: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
                let hint = (!nearest.is_empty()).then(|| format!("did you mean {}?", nearest.join(" or ")));
                ("unknown-method", hint)
            }
            Fault::Params(_) => ("invalid-params", None),
            Fault::Failed(error) => return error_json(error),
        };
        let mut data = json!({ "code": code, "culprit": "operator", "message": self.shown(), "causes": [] });
        if let Some(hint) = hint {
            data["hint"] = json!(hint);
        }
        data
    }

    /// The message, in which nothing of what came stands that a terminal would act on.
    fn shown(&self) -> String {
        visible(&self.message(), false).into_owned()
    }
}

/// The line that answers a request.
pub(super) fn answer<T: Serialize>(id: &Id, result: Result<T, Fault>) -> String {
    #[derive(Serialize)]
    struct Done<'a, T> {
        jsonrpc: &'static str,
        id: &'a Id,
        result: T,
    }
    let line = match result {
        Ok(result) => serde_json::to_string(&Done { jsonrpc: "2.0", id, result }),
        Err(fault) => refusal(id, &fault),
    };
    let line = line.or_else(|error| {
        let error = Error::host("an answer that has no form in JSON").with_source(error);
        refusal(id, &Fault::Failed(error))
    });
    // A text that is put together here always has a form.
    escape_json(&line.unwrap_or_default())
}

fn refusal(id: &Id, fault: &Fault) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Refused<'a> {
        jsonrpc: &'static str,
        id: &'a Id,
        error: Value,
    }
    let error = json!({ "code": fault.code(), "message": fault.shown(), "data": fault.data() });
    serde_json::to_string(&Refused { jsonrpc: "2.0", id, error })
}

/// JSON text as it is, for an answer.
///
/// # Errors
/// Where it is none.
pub(super) fn raw(text: String) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(text).map_err(|error| Error::host("an answer that is no JSON").with_source(error))
}

/// Whether a line is one JSON value: what every answer is.
#[cfg(test)]
pub(super) fn is_one_line_of_json(line: &str) -> bool {
    !line.contains(['\n', '\r']) && serde_json::from_str::<&RawValue>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Fault, Request, answer, is_one_line_of_json};

    fn refused(line: &str) -> String {
        let (id, fault) = Request::read(line.as_bytes()).expect_err("it is no request");
        let line = answer::<()>(&id, Err(fault));
        assert!(is_one_line_of_json(&line), "{line}");
        line
    }

    #[test]
    fn an_id_comes_back_digit_for_digit() {
        for id in ["1", "18446744073709551617", "-0.10", "1e400", r#""a b\u001b""#, "null"] {
            let line = format!(r#"{{"id": {id}, "jsonrpc":"2.0","method":"x"}}"#);
            let request = Request::read(line.as_bytes()).expect("it is one");
            let id = request.id.expect("it has an id");
            assert_eq!(answer(&id, Ok(())), format!(r#"{{"jsonrpc":"2.0","id":{},"result":null}}"#, id.0));
            assert_eq!(id.0.get(), line[7..].split(", \"json").next().expect("it is there"));
        }
        let request = Request::read(br#"{"jsonrpc":"2.0","method":"x"}"#).expect("it is one");
        assert!(request.id.is_none());
    }

    #[test]
    fn what_is_no_request_is_told_what_it_lacks() {
        assert!(refused("{").contains("\"code\":-32700"));
        assert!(refused("").contains("\"code\":-32700"));
        for line in ["1", "[]", r#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#, "{}", r#"{"id":{},"method":1}"#]
        {
            let refused = refused(line);
            assert!(
                refused.starts_with(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"#),
                "{refused}"
            );
        }
        assert!(refused(r#"{"id":7,"method":"x"}"#).starts_with(r#"{"jsonrpc":"2.0","id":7,"error":"#));
        assert!(refused(r#"{"id":7,"jsonrpc":"1.0","method":"x"}"#).contains("`jsonrpc` is `2.0`"));
        assert!(refused(r#"{"id":true,"jsonrpc":"2.0","method":"x"}"#).contains("`id` is a text"));
    }

    #[test]
    fn parameters_are_by_name() {
        let request = Request::read(br#"{"jsonrpc":"2.0","method":"x","params":[1]}"#).expect("it is one");
        assert!(matches!(request.params::<()>(), Err(Fault::Params(_))));
    }
}
