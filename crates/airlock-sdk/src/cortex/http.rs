//! Requests to the network, and what comes of them.

use std::fmt;

/// A request for [`CapabilityContext::http`](super::CapabilityContext::http).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Where it goes.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What is sent after the headers.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with this method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A request with the method `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Request::new("GET", url)
    }

    /// Sets a header. The ABI has one value for each name, so a second one takes the place of
    /// the first.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }

    /// What is sent after the headers.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }
}

impl<T: Into<String>> From<T> for Request {
    fn from(url: T) -> Self {
        Request::get(url)
    }
}

/// A response to a [`Request`]. The ABI does not hand over its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// What came after the headers.
    pub body: Vec<u8>,
    /// Whether the body may have been longer: the ABI hands over its first 65,528 bytes.
    pub cut: bool,
}

impl Response {
    /// Whether the status code is one of 200 to 299.
    pub fn success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text; `None` when it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.body).ok()
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpError {
    /// The host's number for the reason: 400 for a request that is none, 403 for one that is
    /// not granted, 408 when its time was over, 502 when nobody answered.
    pub status: u16,
    /// The host's words for it.
    pub message: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no response ({}): {}", self.status, self.message)
    }
}

impl std::error::Error for HttpError {}
