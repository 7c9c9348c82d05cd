//! Answers to requests that are never sent.

use std::sync::Mutex;

use airlock_core::{
    Error, ErrorKind, Http, HttpBody, HttpRequest, HttpResponse, Permit, Result, ServiceError, ServiceFuture,
};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;
use url::Url;

use super::{lock, ready};

/// Answers requests with what was put there for their URL. What was put there once is
/// answered again and again; for any other URL the request fails.
#[derive(Debug, Default)]
pub struct FakeHttp {
    answers: Mutex<Vec<FakeAnswer>>,
    requests: Mutex<Vec<HttpRequest>>,
}

impl FakeHttp {
    /// Answers requests for this URL, whatever their method. It is taken in its usual form, with `/`
    /// after the host; a `*` in it stands for any text.
    pub fn answer(&self, url: &str, status: u16, body: impl Into<Bytes>) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.put(FakeAnswer { status, ..FakeAnswer::new(url).body(body) });
    }

    /// Puts an answer there, in place of one for the same method and URL.
    ///
    /// Of several that fit a request, one for its very URL goes before one with a `*`, then one
    /// that has more beside its `*`, then one for its method.
    pub fn put(&self, answer: FakeAnswer) {
        let mut answers = lock(&self.answers);
        answers.retain(|other| !other.is_for_the_same(&answer));
        answers.push(answer);
    }

    /// What was sent so far.
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.requests).clone()
    }

    fn find(&self, request: &HttpRequest) -> Option<FakeAnswer> {
        let answers = lock(&self.answers);
        let fitting = answers.iter().filter(|answer| answer.fits(request));
        fitting.max_by_key(|answer| answer.precision()).cloned()
    }
}

impl Http for FakeHttp {
    fn send<'a>(&'a self, _permit: &'a Permit, request: HttpRequest) -> ServiceFuture<'a, HttpResponse> {
        let answer = self.find(&request);
        let url = request.url().clone();
        lock(&self.requests).push(request);
        ready(match answer {
            Some(FakeAnswer { failure: Some(reason), .. }) => Err(ServiceError::Failed(reason)),
            Some(FakeAnswer { status, headers, body, .. }) => {
                let body = Whole(Some(body).filter(|body| !body.is_empty()));
                let mut response = HttpResponse::new(status.as_u16(), url, Box::new(body));
                response.headers = headers;
                Ok(response)
            }
            None => Err(ServiceError::Failed(format!("no answer was put there for {url}"))),
        })
    }
}

struct Whole(Option<Bytes>);

impl HttpBody for Whole {
    fn next(&mut self) -> ServiceFuture<'_, Option<Bytes>> {
        ready(Ok(self.0.take()))
    }
}

/// An answer to requests for a URL.
#[derive(Debug, Clone)]
pub struct FakeAnswer {
    /// Any where none is said.
    method: Option<Method>,
    url: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    failure: Option<String>,
}

impl FakeAnswer {
    /// 200 and nothing else for this URL, in which each `*` stands for any text, none included.
    pub fn new(url: &str) -> Self {
        let usual = match Url::parse(url) {
            Ok(mut parsed) if !url.contains('*') => {
                parsed.set_fragment(None);
                parsed.into()
            }
            _ => url.to_owned(),
        };
        FakeAnswer {
            method: None,
            url: usual,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            failure: None,
        }
    }

    /// The same for requests with this method only.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where it is none.
    pub fn method(mut self, method: &str) -> Result<Self> {
        let upper = method.to_ascii_uppercase();
        let method = Method::from_bytes(upper.as_bytes());
        self.method = Some(method.map_err(|_| self.invalid(format!("`{upper}` is no HTTP method")))?);
        Ok(self)
    }

    /// The same with this status.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where it is not from 100 to 999.
    pub fn status(mut self, status: u16) -> Result<Self> {
        let read = StatusCode::from_u16(status);
        self.status = read.map_err(|_| self.invalid(format!("`{status}` is no HTTP status")))?;
        Ok(self)
    }

    /// The same with a header more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where it is none.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (header, value) =
            header.ok_or_else(|| self.invalid(format!("`{name}: {value}` is no header")))?;
        self.headers.append(header, value);
        Ok(self)
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with a body of JSON, and the header that says so.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where the value has no form in JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        let text = serde_json::to_vec(value).map_err(|error| self.invalid(error.to_string()))?;
        self.headers
            .entry(http::header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        Ok(self.body(text))
    }

    /// Has the request fail for this reason, as when nobody is there.
    #[must_use]
    pub fn fails(mut self, reason: impl Into<String>) -> Self {
        self.failure = Some(reason.into());
        self
    }

    fn invalid(&self, reason: String) -> Error {
        let name = format!("answer for {}", self.url);
        Error::new(ErrorKind::InvalidSetting { name, reason })
    }

    /// Whether they answer the same requests, so that only one of them can.
    pub(super) fn is_for_the_same(&self, other: &FakeAnswer) -> bool {
        (&self.method, &self.url) == (&other.method, &other.url)
    }

    /// What it answers, in words.
    pub(super) fn asked(&self) -> String {
        let method = self.method.as_ref().map_or_else(String::new, |method| format!("{method} "));
        format!("{method}{}", self.url)
    }

    fn fits(&self, request: &HttpRequest) -> bool {
        let of_method = self.method.as_ref().is_none_or(|method| method == request.method());
        of_method && fits(&self.url, request.url().as_str())
    }

    /// How much it says of the requests that it answers.
    fn precision(&self) -> (bool, usize, bool) {
        let stars = self.url.matches('*').count();
        (stars == 0, self.url.len() - stars, self.method.is_some())
    }
}

/// Whether a text is what a pattern says, in which each `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The first place leaves the most for the pieces to come.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fits;

    #[test]
    fn a_star_stands_for_any_text_and_for_none() {
        assert!(fits("a*c", "abbc") && fits("a*c", "ac") && fits("*", "") && fits("abc", "abc"));
        assert!(fits("*b*b*", "abab") && fits("https://x/*/y", "https://x/1/2/y"));
        assert!(!fits("ab*ba", "aba") && !fits("a*c", "acb") && !fits("abc", "abcd") && !fits("abc", "ab"));
        assert!(!fits("*b*b*", "ab") && !fits("", "a"));
    }

    proptest! {
        #[test]
        fn a_pattern_fits_whatever_its_stars_are_filled_with(
            pieces in proptest::collection::vec("[ab]{0,3}", 1..5),
            filling in "[ab]{0,4}",
        ) {
            prop_assert!(fits(&pieces.join("*"), &pieces.join(&filling)));
        }

        #[test]
        fn a_pattern_fits_what_trying_every_way_fits(pattern in "[ab*]{0,6}", text in "[ab]{0,7}") {
            prop_assert_eq!(fits(&pattern, &text), tried(pattern.as_bytes(), text.as_bytes()));
        }
    }

    /// The same by trying every way.
    fn tried(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*', after)), rest) => {
                tried(after, text) || rest.is_some_and(|(_, rest)| tried(pattern, rest))
            }
            (Some((first, after)), Some((read, rest))) => first == read && tried(after, rest),
            (Some(_), None) => false,
        }
    }
}
