//! Requests over the network.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::{ServiceError, ServiceFuture};
use crate::{LimitKind, Need, Permit, Scheme};

/// Headers that say how a message travels from one hop to the next, and are never passed on.
/// (RFC 9110, 7.6.1.)
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// More that a guest may not set: a second opinion on where a message ends and where it goes is
/// how requests are smuggled, and what proxies read is not a guest's to say.
const RESERVED: [&str; 6] = ["content-length", "expect", "host", "http2-settings", "via", "x-forwarded-for"];

/// Headers of one message, and bytes of their names and values together.
const MAX_HEADERS: (usize, usize) = (100, 64 << 10);

/// A URL's length, as servers and proxies bound it.
const MAX_URL: usize = 8 << 10;

/// A request that makes sense: its URL is one of `http` or `https` with a host and without a
/// user, and its headers are a request's own.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    method: Method,
    url: Url,
    scheme: Scheme,
    headers: HeaderMap,
    body: Bytes,
    timeout: Option<Duration>,
    keeps_redirects: bool,
}

impl HttpRequest {
    /// A request without headers and body.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] with what is wrong with the method or the URL.
    pub fn new(method: &str, url: &str) -> Result<Self, ServiceError> {
        let invalid = |reason: &str| ServiceError::Invalid(reason.to_owned());
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| invalid("this is no HTTP method"))?;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(invalid("this method is not for plugins"));
        }
        if url.len() > MAX_URL {
            return Err(invalid("the URL is too long"));
        }
        // What a parser would drop silently is left to nobody's guess.
        if url.chars().any(|c| c.is_control() || c == '\\' || c.is_whitespace()) {
            return Err(invalid("the URL holds a space, a control character or a backslash"));
        }
        let url =
            Url::parse(url).map_err(|error| ServiceError::Invalid(format!("this is no URL: {error}")))?;
        let (url, scheme) = HttpRequest::checked(url)?;
        let headers = HeaderMap::new();
        Ok(HttpRequest {
            method,
            url,
            scheme,
            headers,
            body: Bytes::new(),
            timeout: None,
            keeps_redirects: false,
        })
    }

    fn checked(mut url: Url) -> Result<(Url, Scheme), ServiceError> {
        let invalid = |reason: &str| Err(ServiceError::Invalid(reason.to_owned()));
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return invalid("the URL is neither `http` nor `https`"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("a URL has no user and no password");
        }
        if url.host().is_none() || url.port() == Some(0) {
            return invalid("the URL has no host that could be reached");
        }
        url.set_fragment(None);
        Ok((url, scheme))
    }

    /// The same with a header more.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where it is no header, or one that says how the message
    /// travels.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, ServiceError> {
        let shown = crate::visible(name, false);
        let bad = |what: &str| ServiceError::Invalid(format!("`{shown}` is {what}"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("no name of a header"))?;
        if HOP_BY_HOP.iter().chain(&RESERVED).any(|reserved| header == *reserved) {
            return Err(bad("a header that a plugin does not set"));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| bad("a header with a value that is none"))?;
        self.headers.append(header, value);
        let size: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        match self.headers.len() > MAX_HEADERS.0 || size > MAX_HEADERS.1 {
            true => Err(ServiceError::Invalid("too many headers".to_owned())),
            false => Ok(self),
        }
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with a time of its own; its call's time and a limit hold beside it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same for whoever looks themselves at where a response leads: redirects are answers.
    #[must_use]
    pub fn without_redirects(mut self) -> Self {
        self.keeps_redirects = true;
        self
    }

    /// Whether redirects are followed for it.
    pub fn follows_redirects(&self) -> bool {
        !self.keeps_redirects
    }

    /// What it needs.
    pub fn need(&self) -> Need<'_> {
        Need::Origin {
            scheme: self.scheme,
            host: self.url.host_str().unwrap_or_default().trim_matches(['[', ']']),
            port: self.url.port_or_known_default().unwrap_or_default(),
        }
    }

    /// Where a response with this `Location` leads: the request that follows it, as RFC 9110,
    /// 15.4 has it: with `GET` after 303, and after 301 and 302 to a `POST`; without body and
    /// what describes it then; and without credentials where it leads to another origin.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] where it leads to nothing that could be asked for.
    pub fn redirected(&self, status: StatusCode, location: &str) -> Result<Self, ServiceError> {
        let failed = |reason: &str| ServiceError::Failed(format!("the server redirects badly: {reason}"));
        let url = self.url.join(location).map_err(|error| failed(&error.to_string()))?;
        if url.as_str().len() > MAX_URL {
            return Err(failed("the URL is too long"));
        }
        let (url, scheme) = HttpRequest::checked(url).map_err(|error| failed(&error.to_string()))?;
        if self.scheme == Scheme::Https && scheme == Scheme::Http {
            return Err(failed("from https to http"));
        }
        let mut next = HttpRequest { url, scheme, ..self.clone() };
        let to_get = status == StatusCode::SEE_OTHER && self.method != Method::HEAD
            || matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
                && self.method == Method::POST;
        if to_get {
            next.method = Method::GET;
            next.body = Bytes::new();
            let describes = |name: &HeaderName| name.as_str().starts_with("content-");
            next.keep_headers(|name| !describes(name));
        }
        if next.url.origin() != self.url.origin() {
            // Only what says nothing of who asks goes to somebody else.
            const HARMLESS: [&str; 6] =
                ["accept", "accept-language", "content-type", "content-language", "range", "user-agent"];
            next.keep_headers(|name| HARMLESS.contains(&name.as_str()));
        }
        Ok(next)
    }

    fn keep_headers(&mut self, keep: impl Fn(&HeaderName) -> bool) {
        let kept = self.headers.iter().filter(|(name, _)| keep(name));
        self.headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL, without a fragment.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How the server is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn content(&self) -> &Bytes {
        &self.body
    }

    /// The time it may take, where it says so itself.
    pub fn own_timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

/// A response whose body is still on its way.
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those that say how the message travelled and was packed.
    pub headers: HeaderMap,
    /// Where it came from in the end.
    pub url: Url,
    /// The body, unpacked.
    pub body: Box<dyn HttpBody>,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

impl HttpResponse {
    /// A response without headers; a status that is none is 500.
    pub fn new(status: u16, url: Url, body: Box<dyn HttpBody>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        HttpResponse { status, headers: HeaderMap::new(), url, body }
    }

    /// The whole body, of at most `maximum` bytes.
    ///
    /// # Errors
    /// [`ServiceError::Limit`] where it is longer; what ends the body before its end.
    pub async fn bytes(mut self, maximum: u64) -> Result<Bytes, ServiceError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.body.next().await? {
            if (whole.len() + piece.len()) as u64 > maximum {
                return Err(ServiceError::Limit { limit: LimitKind::HttpBody, maximum });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}

/// A body on its way, piece by piece.
pub trait HttpBody: Send {
    /// The next piece; none after the last.
    fn next(&mut self) -> ServiceFuture<'_, Option<Bytes>>;
}

/// What sends requests.
pub trait Http: Send + Sync + fmt::Debug {
    /// Sends a request, follows redirects, and returns once the last response's headers are
    /// there. Whoever it leads to has to be granted, by name and by address.
    fn send<'a>(&'a self, permit: &'a Permit, request: HttpRequest) -> ServiceFuture<'a, HttpResponse>;
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::HttpRequest;
    use crate::{Need, Scheme, ServiceError};

    fn refused(method: &str, url: &str) -> String {
        match HttpRequest::new(method, url) {
            Err(ServiceError::Invalid(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn userinfo_in_url_and_what_parsers_disagree_about_is_refused() {
        assert_eq!(refused("GET", "https://api.example@evil.example/"), "a URL has no user and no password");
        assert_eq!(
            refused("GET", "https://api.example:x@evil.example/"),
            "a URL has no user and no password"
        );
        assert_eq!(refused("GET", "file:///etc/passwd"), "the URL is neither `http` nor `https`");
        assert_eq!(refused("GET", "https://"), "this is no URL: empty host");
        assert!(refused("GET", "//api.example/").starts_with("this is no URL"));
        for url in ["https://api.example\\@evil.example/", "https://a\tb/", "https://a/ b", "https://a/\r\nx"]
        {
            assert!(refused("GET", url).starts_with("the URL holds"), "{url}");
        }
        for method in ["CONNECT", "TRACE", "G T", ""] {
            refused(method, "https://api.example/");
        }
    }

    #[test]
    fn what_is_needed_is_what_the_parser_saw() {
        let need = |url: &str| {
            let request = HttpRequest::new("GET", url).expect("valid");
            match request.need() {
                Need::Origin { scheme, host, port } => (scheme, host.to_owned(), port),
                other => panic!("{other:?}"),
            }
        };
        let https = |host: &str, port| (Scheme::Https, host.to_owned(), port);
        assert_eq!(need("HTTPS://API.Example/x#y"), https("api.example", 443));
        assert_eq!(need("https://api.example:8443"), https("api.example", 8443));
        // All of them are addresses, however they are written.
        for url in ["https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://0177.0.0.1/"] {
            assert_eq!(need(url), https("127.0.0.1", 443), "{url}");
        }
        assert_eq!(need("https://[::ffff:127.0.0.1]/"), https("::ffff:7f00:1", 443));
        assert_eq!(need("https://bücher.example/"), https("xn--bcher-kva.example", 443));
    }

    #[test]
    fn header_injection_and_headers_of_the_way_are_refused() {
        let request = || HttpRequest::new("POST", "https://api.example/").expect("valid");
        for (name, value) in
            [("X-A", "b\r\nHost: evil"), ("X-A", "b\nc"), ("X\r\nA", "b"), ("", "b"), ("a b", "c")]
        {
            assert!(
                matches!(request().header(name, value.as_bytes()), Err(ServiceError::Invalid(_))),
                "{name}"
            );
        }
        for name in ["Host", "Transfer-Encoding", "content-length", "Connection", "Proxy-Authorization"] {
            assert!(request().header(name, b"x").is_err(), "{name}");
        }
        let mut many = request();
        for index in 0..100 {
            many = many.header("x-a", format!("{index}").as_bytes()).expect("few enough");
        }
        assert!(many.header("x-a", b"one more").is_err());
        assert!(request().header("x-a", &vec![b'a'; 70 << 10]).is_err());
    }

    #[test]
    fn a_redirect_takes_no_credentials_elsewhere_and_no_body_along() {
        let request = HttpRequest::new("POST", "https://api.example/a")
            .and_then(|request| request.header("authorization", b"Bearer x"))
            .and_then(|request| request.header("accept", b"*/*"))
            .and_then(|request| request.header("content-type", b"text/plain"))
            .expect("valid")
            .body("text");
        let same = request.redirected(StatusCode::TEMPORARY_REDIRECT, "/b").expect("followed");
        assert_eq!((same.method().as_str(), same.url().as_str()), ("POST", "https://api.example/b"));
        assert!(same.headers().contains_key("authorization") && same.content() == "text");
        let other = request.redirected(StatusCode::FOUND, "https://b.example/#x").expect("followed");
        assert_eq!((other.method().as_str(), other.url().as_str()), ("GET", "https://b.example/"));
        assert_eq!(other.headers().keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
        assert!(other.content().is_empty());
        for location in ["http://api.example/", "https://u@b.example/", "file:///x", "https://"] {
            let error = request.redirected(StatusCode::FOUND, location).expect_err(location);
            assert!(error.to_string().starts_with("the server redirects badly"), "{error}");
        }
    }
}
