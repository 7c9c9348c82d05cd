//! Requests over the network.
//!
//! [`HttpClient`] is the [`Http`] that comes with Airlock. It follows redirects itself, and
//! every hop is a request of its own: whoever it leads to has to be granted, the name is
//! resolved, all its addresses are checked, and one of those is connected to, or is what a
//! kept connection is with. So no answer of a name server is used unchecked, whenever it
//! comes. That needs to hold the connection in one's own hands, which is why this is hyper
//! and not a client on top of it.
//!
//! There is no proxy, whatever the environment says: it would connect where it likes. No
//! cookie is kept, and nothing else that would tell one plugin of another.

mod body;
mod exchange;
mod pool;
mod tls;
mod veil;

use std::fmt;
use std::sync::Arc;

use airlock_core::{
    HOP_BY_HOP, Http, HttpBody, HttpRequest, HttpResponse, LimitKind, Need, Permit, Redactor, Secrets,
    ServiceError, ServiceFuture,
};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use url::Position;

use crate::service::net::{Resolve, SystemResolver, Until};
use body::{Arriving, Body};
use exchange::{Hop, Line, exchange};
use pool::Key;
use tls::Tls;
use veil::Veil;

/// Redirects that one request follows.
const MAX_REDIRECTS: usize = 10;

/// Bytes of a redirect's body that are read, so that its connection can be kept.
const DRAINED: u64 = 16 << 10;

/// Who asks, where a plugin does not say.
const USER_AGENT: &str = concat!("airlock/", env!("CARGO_PKG_VERSION"));

/// Sends requests of plugins. Clones share their connections, which no two plugins do.
#[derive(Clone)]
pub struct HttpClient {
    line: Arc<Line>,
    secrets: Option<(Arc<dyn Secrets>, Redactor)>,
}

/// Sets an [`HttpClient`] up.
pub struct HttpClientBuilder {
    resolver: Arc<dyn Resolve>,
    tls: Tls,
    secrets: Option<(Arc<dyn Secrets>, Redactor)>,
}

impl Default for HttpClient {
    fn default() -> Self {
        HttpClient::builder().build()
    }
}

impl HttpClient {
    /// Sets a client up that asks the system's name servers and believes the system's
    /// certificates, and sends nothing that the plugin did not say.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder { resolver: Arc::new(SystemResolver::new()), tls: Tls::new(), secrets: None }
    }
}

impl HttpClientBuilder {
    /// Has names resolved by this.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Believes these certificates as well: text in PEM, or one in DER.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where it is none.
    pub fn root_certificate(mut self, certificate: &[u8]) -> Result<Self, ServiceError> {
        self.tls.add(certificate)?;
        Ok(self)
    }

    /// Believes only certificates that were added, and none of the system's.
    #[must_use]
    pub fn without_system_certificates(mut self) -> Self {
        self.tls.without_system();
        self
    }

    /// Adds the credentials that are kept for a host to requests to it, in place of headers of
    /// the same name that the plugin set. The redactor knows them from then on.
    #[must_use]
    pub fn credentials(mut self, secrets: Arc<dyn Secrets>, redactor: Redactor) -> Self {
        self.secrets = Some((secrets, redactor));
        self
    }

    /// The client. Nothing is read or connected to before its first request.
    pub fn build(self) -> HttpClient {
        let line = Line { resolver: self.resolver, tls: self.tls, pool: Arc::default() };
        HttpClient { line: Arc::new(line), secrets: self.secrets }
    }
}

/// What keeps secrets is left out: it is somebody else's type, and may print them.
impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("resolver", &self.line.resolver).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientBuilder").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

impl Http for HttpClient {
    fn send<'a>(&'a self, permit: &'a Permit, request: HttpRequest) -> ServiceFuture<'a, HttpResponse> {
        Box::pin(async move {
            let mut veil = Veil::default();
            let sent = self.follow(permit, request, &mut veil).await;
            sent.map_err(|error| veil.over_error(error))
        })
    }
}

impl HttpClient {
    /// Sends a request and those that follow it. `veil` gets to know the credentials of all.
    async fn follow(
        &self,
        permit: &Permit,
        mut request: HttpRequest,
        veil: &mut Veil,
    ) -> Result<HttpResponse, ServiceError> {
        permit.check()?;
        let limits = permit.limits();
        let maximum = limits.value(LimitKind::HttpBody);
        if request.content().len() as u64 > maximum {
            return Err(ServiceError::Limit { limit: LimitKind::HttpBody, maximum });
        }
        // The gate has counted the first; it is counted here only where it was another.
        if !permit.policy().meets(request.need()) {
            permit.also(request.need())?;
        }
        let time = limits.time(LimitKind::HttpTime);
        let time = request.own_timeout().map_or(time, |own| own.min(time));
        let until = Until::within(permit, time);
        for _ in 0..=MAX_REDIRECTS {
            let (key, outgoing) = self.outgoing(permit, &request, veil)?;
            let hop = Hop { key, permit: permit.clone(), until: until.clone(), request: outgoing };
            let (parts, arriving) = exchange(&self.line, hop).await?;
            match redirected(&request, &parts)? {
                None => return response(request, parts, arriving, veil, maximum),
                Some(next) => {
                    permit.also(next.need())?;
                    drain(arriving).await;
                    request = next;
                }
            }
        }
        Err(ServiceError::Failed(format!("the server redirects more than {MAX_REDIRECTS} times")))
    }

    /// The request as it is sent, and whom to.
    fn outgoing(
        &self,
        permit: &Permit,
        request: &HttpRequest,
        veil: &mut Veil,
    ) -> Result<(Key, Request<Full<Bytes>>), ServiceError> {
        let Need::Origin { scheme, host, port } = request.need() else {
            return Err(ServiceError::Invalid("the request has no origin".to_owned()));
        };
        let url = request.url();
        let invalid = || ServiceError::Invalid("the URL cannot be sent".to_owned());
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, authority.map_err(|_| invalid())?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for name in request.headers().keys() {
            headers.remove(name);
        }
        headers.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        // A part of a packed body could not be unpacked.
        let packings = if headers.contains_key(header::RANGE) { "identity" } else { "gzip" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(packings));
        if let Some((secrets, redactor)) = &self.secrets {
            for (name, secret) in secrets.credentials(permit, scheme, host, port)? {
                redactor.know(&name, &secret);
                veil.hide(&name, &secret);
                let (name, value) = credential(&name, secret.reveal())?;
                headers.insert(name, value);
            }
        }
        let content = request.content().clone();
        if !content.is_empty() || matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, content.len().into());
        }
        let mut outgoing = Request::new(Full::new(content));
        *outgoing.method_mut() = request.method().clone();
        *outgoing.uri_mut() =
            url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| invalid())?;
        *outgoing.headers_mut() = headers;
        Ok((Key::new(permit.caller(), scheme, host, port), outgoing))
    }
}

/// A header with a credential. What is wrong with one is the operator's to know.
fn credential(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ServiceError> {
    let travels = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::ACCEPT_ENCODING,
    ];
    let name = HeaderName::try_from(name).ok().filter(|name| !travels.contains(name));
    let header = name.zip(HeaderValue::from_str(value).ok());
    let (name, mut value) = header
        .ok_or_else(|| ServiceError::Unavailable("the credentials for this host are no header".to_owned()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The request that a response leads to, where it does.
fn redirected(request: &HttpRequest, parts: &Parts) -> Result<Option<HttpRequest>, ServiceError> {
    if !request.follows_redirects() {
        return Ok(None);
    }
    let follows = matches!(
        parts.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = parts.headers.get(header::LOCATION).filter(|_| follows) else { return Ok(None) };
    let location = location
        .to_str()
        .map_err(|_| ServiceError::Failed("the server redirects badly: `location` is no text".to_owned()))?;
    request.redirected(parts.status, location).map(Some)
}

/// Reads the little that a redirect says, so that its connection can be kept. A server that
/// says more, or breaks off, loses the connection and nothing else.
async fn drain(arriving: Arriving) {
    let mut body = Body::new(arriving, false, Veil::default(), DRAINED);
    while let Ok(Some(_)) = body.next().await {}
}

fn response(
    request: HttpRequest,
    parts: Parts,
    arriving: Arriving,
    veil: &Veil,
    maximum: u64,
) -> Result<HttpResponse, ServiceError> {
    let Parts { status, mut headers, .. } = parts;
    if status.is_informational() {
        return Err(ServiceError::Failed(format!("the server answers {status} to nothing")));
    }
    let whole = *request.method() != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
    let packed = whole && is_gzip(&headers);
    strip(&mut headers);
    if packed {
        headers.remove(header::CONTENT_ENCODING);
    }
    if packed || veil.is_needed() {
        headers.remove(header::CONTENT_LENGTH);
    }
    veil.over_headers(&mut headers);
    let body = Box::new(Body::new(arriving, packed, veil.clone(), maximum));
    Ok(HttpResponse { status, headers, url: veil.over_url(request.url().clone()), body })
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let mut packings = headers.get_all(header::CONTENT_ENCODING).iter();
    let gzip = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"gzip") || value.as_bytes().eq_ignore_ascii_case(b"x-gzip")
    };
    packings.next().is_some_and(gzip) && packings.next().is_none()
}

/// Takes out what says how the message travelled (RFC 9110, 7.6.1).
fn strip(headers: &mut HeaderMap) {
    let listed = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let listed: Vec<String> = headers.get_all(header::CONNECTION).iter().map(listed).collect();
    for name in listed.iter().flat_map(|list| list.split(',')) {
        headers.remove(name.trim());
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
