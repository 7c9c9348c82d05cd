//! Requests to the network, which Airlock adds to the protocol.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Error;
use super::fields::{Fields, texts};

/// A request for [`Plugin::http`](super::Plugin::http).
///
/// ```
/// # use airlock_sdk::fledge::Request;
/// let request = Request::new("POST", "https://api.example.com/notes")
///     .header("content-type", "application/json")
///     .body(r#"{"text":"hello"}"#)
///     .timeout(10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    method: String,
    url: String,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

impl Request {
    /// A request with this method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request { method: method.into(), url: url.into(), headers: Vec::new(), body: None, timeout: None }
    }

    /// A request with the method `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Request::new("GET", url)
    }

    /// Sets a header. The protocol has one value for each name, so a second one takes the
    /// place of the first.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }

    /// What is sent after the headers.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// How many seconds there are until the whole response has to be there. What the host
    /// allows when this is not called, and no more than that.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Some(seconds);
        self
    }
}

impl<T: Into<String>> From<T> for Request {
    fn from(url: T) -> Self {
        Request::get(url)
    }
}

/// A response to a [`Request`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code, from 100 to 999.
    pub status: u16,
    /// Names and values, as the host gave them.
    pub headers: Vec<(String, String)>,
    /// What came after the headers.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status code is one of 200 to 299.
    pub fn success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in whichever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// The body as text; `None` when it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.body).ok()
    }

    pub(super) fn read(answer: Value) -> Result<Self, Error> {
        let unexpected = |expected| Error::Unexpected { message: "http", expected };
        let mut fields = Fields::of(answer).ok_or_else(|| unexpected("an object"))?;
        if let Some(message) = fields.text("error") {
            return Err(Error::Http { code: fields.text_or_empty("code"), message });
        }
        let status = fields.take("status").as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| (100..1000).contains(status));
        let body = match fields.text("body_base64") {
            Some(text) => decoded(&text).ok_or_else(|| unexpected("one whose `body_base64` is base64"))?,
            None => fields.text_or_empty("body").into_bytes(),
        };
        Ok(Response {
            status: status.ok_or_else(|| unexpected("one with a `status`"))?,
            headers: fields.object("headers").map(headers).unwrap_or_default(),
            body,
        })
    }
}

/// A name has a value, or a list of them where the header was there more than once.
fn headers(fields: Fields) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in fields.0 {
        match value {
            Value::String(value) => headers.push((name, value)),
            values => {
                let values = texts(values).unwrap_or_default();
                headers.extend(values.into_iter().map(|value| (name.clone(), value)));
            }
        }
    }
    headers
}

fn as_object<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

/// The bytes that `text` stands for in base64 (RFC 4648, section 4), with padding or without.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        // One digit has fewer bits than a byte.
        if group.len() == 1 {
            return None;
        }
        let mut bits = 0;
        for place in 0..4 {
            bits = bits << 6 | group.get(place).map_or(Some(0), |digit| sextet(*digit))?;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_is_read_as_the_rfc_has_it() {
        let vectors = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, bytes) in vectors {
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decoded("+/8A"), Some(vec![0xfb, 0xff, 0x00]));
        for text in ["Z", "Zm9vY", "Zm9-", "Zm 9", "Zm=v"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn a_response_has_its_parts() {
        let headers = json!({ "Content-Type": "text/plain", "set-cookie": ["a=1", "b=2"], "odd": 1 });
        let answer = json!({ "status": 200, "headers": headers, "body": "hällo" });
        let response = Response::read(answer).expect("it is a response");
        assert!(response.success());
        assert_eq!(response.header("content-type"), Some("text/plain"));
        assert_eq!(response.header("Set-Cookie"), Some("a=1"));
        assert_eq!((response.header("odd"), response.headers.len()), (None, 3));
        assert_eq!(response.text(), Some("hällo"));

        let response = Response::read(json!({ "status": 404, "body_base64": "/w==" })).expect("it is one");
        assert_eq!((response.success(), response.text()), (false, None));
        assert_eq!(response.body, [0xff]);
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        let reason = |answer| Response::read(answer).expect_err("it is refused").to_string();
        let denied = json!({ "error": "`example.com` is not granted", "code": "denied" });
        assert_eq!(reason(denied), "no response (denied): `example.com` is not granted");
        assert_eq!(reason(json!(null)), "what the host sent for `http` is not an object");
        for status in
            [json!({}), json!({ "status": 99 }), json!({ "status": 65736 }), json!({ "status": "200" })]
        {
            assert_eq!(reason(status), "what the host sent for `http` is not one with a `status`");
        }
        let body = json!({ "status": 200, "body_base64": "?" });
        assert_eq!(reason(body), "what the host sent for `http` is not one whose `body_base64` is base64");
    }
}
