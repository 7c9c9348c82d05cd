//! Requests of a component (`wasi:http/outgoing-handler`), sent by the host's service for it.
//!
//! The types of `wasi:http/types` are wasmtime-wasi-http's: headers, bodies and responses that a component
//! makes and reads, without anything that could send them. What is handed over to be sent is taken out
//! of them here, and becomes a request like those of every other ABI: the gate is asked, redirects and
//! addresses are checked, the limits hold, credentials are added. A request's body is waited for before
//! it is sent; a response's arrives while it is read.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use airlock_core::{HttpBody, HttpRequest, HttpResponse, LimitKind, Permit, ServiceError};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as Failure, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::bounded::sleep_until;
use crate::store::{CallState, after};
use crate::wasi::Wasi;

/// Bytes of the headers of one message that a component makes, twice what many servers take. One with more
/// ends the call. A component may have as many messages as it may have resources.
const MAX_FIELDS: usize = 16 << 10;

/// Bytes of a request's body that are taken at a time.
const CHUNK: usize = 16 << 10;

/// Pieces of a response's body that are read ahead of the component.
const READ_AHEAD: usize = 1;

/// Headers beside wasmtime-wasi-http's own that are no guest's to set.
const RESERVED: [&str; 5] = ["expect", "te", "trailer", "via", "x-forwarded-for"];

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<CallState, WasiHttp>(linker, &options, CallState::http)?;
    let mut handler = linker.instance("wasi:http/outgoing-handler@0.2.12")?;
    type Arguments = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
    type Response = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
    handler.func_wrap("handle", |mut store: StoreContextMut<'_, CallState>, arguments: Arguments| {
        let handled: Response = store.data_mut().handle(arguments.0, arguments.1)?;
        Ok((handled,))
    })
}

/// What a component's requests have in common.
pub(in crate::wasi) struct Requests {
    context: WasiHttpCtx,
    hooks: NoSender,
    /// Bytes of bodies that wait to be sent.
    held: Arc<AtomicU64>,
}

impl Default for Requests {
    fn default() -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS);
        Requests { context, hooks: NoSender, held: Arc::default() }
    }
}

/// What wasmtime-wasi-http asks. It is never asked to send, as what it sends from is not linked.
struct NoSender;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Failure>> + Send>), Failure>;

impl WasiHttpHooks for NoSender {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name) || RESERVED.iter().any(|reserved| name == reserved)
    }

    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Failure>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(Failure::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.wasi_context();
        let Wasi { opened, requests, .. } = &mut self.wasi;
        let table =
            opened.as_mut().map(|opened| opened.context.ctx().table).expect("opened by the line before");
        let Requests { context, hooks, .. } = &mut **requests.get_or_insert_default();
        WasiHttpCtxView { hooks, table, ctx: context }
    }
}

impl CallState {
    /// Begins to send what a component hands over.
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
        self.enter_host("outgoing-handler.handle")?;
        let table = self.ctx().table;
        let mut outgoing = table.delete(request)?;
        let options = options.map(|options| table.delete(options)).transpose()?.unwrap_or_default();
        let body = outgoing.body.take();
        let request = match asked(&outgoing) {
            Ok(request) => request,
            Err(error) => return Ok(Err(code(error))),
        };
        let Some(request) = self.plugin.within_its_list(request) else {
            return Ok(Err(ErrorCode::HttpRequestDenied));
        };
        let permit = match self.permit(request.need()) {
            Ok(permit) => permit,
            Err(error) => {
                self.tell("outgoing-handler.handle", &error)?;
                return Ok(Err(code(error)));
            }
        };
        let service = self.services().http.clone();
        let held = self.wasi.requests.get_or_insert_default().held.clone();
        let work = spawn(async move {
            let maximum = permit.limits().value(LimitKind::HttpBody);
            let gathered = gather(body, maximum, Held { bytes: 0, all: held }).await?;
            let first_byte = match (options.connect_timeout, options.first_byte_timeout) {
                (Some(connect), Some(first_byte)) => Some(connect.saturating_add(first_byte)),
                // Whoever may take any time may do so.
                _ => None,
            };
            let (content, _held) = gathered;
            let response = in_time(first_byte, service.send(&permit, request.body(content))).await;
            let response = response.ok_or(Failure::HttpResponseTimeout)?.map_err(failed)?;
            Ok(arriving(response, permit, maximum, options.between_bytes_timeout))
        });
        Ok(Ok(self.ctx().table.push(HostFutureIncomingResponse::Pending(work))?))
    }
}

/// The request as the service takes it, without its body.
fn asked(outgoing: &HostOutgoingRequest) -> Result<HttpRequest, ServiceError> {
    let invalid = |reason: &str| ServiceError::Invalid(reason.to_owned());
    let method: Result<http::Method, _> = outgoing.method.clone().try_into();
    let method = method.map_err(|_| invalid("this is no HTTP method"))?;
    let scheme = match &outgoing.scheme {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) | None => "https",
        Some(Scheme::Other(_)) => return Err(invalid("the URL is neither `http` nor `https`")),
    };
    let authority = outgoing.authority.as_deref().ok_or_else(|| invalid("the request has no authority"))?;
    let path = outgoing.path_with_query.as_deref().unwrap_or("/");
    let request = HttpRequest::new(method.as_str(), &format!("{scheme}://{authority}{path}"))?;
    // The body that is sent says how long it is.
    let mut headers = outgoing.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH);
    headers.try_fold(request, |request, (name, value)| request.header(name.as_str(), value.as_bytes()))
}

/// Bytes of a body that are held, beside those of others.
struct Held {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Held {
    fn add(&mut self, bytes: u64) -> u64 {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request's whole body, of which `maximum` bytes may wait together with those of other requests.
async fn gather(
    body: Option<HyperOutgoingBody>,
    maximum: u64,
    mut held: Held,
) -> Result<(Bytes, Held), Failure> {
    let mut whole = Vec::new();
    let Some(mut body) = body else { return Ok((Bytes::new(), held)) };
    while let Some(frame) = body.frame().await {
        // Trailers are not sent.
        let Ok(piece) = frame?.into_data() else { continue };
        if held.add(piece.len() as u64) > maximum {
            return Err(Failure::HttpRequestBodySize(Some(maximum)));
        }
        whole.extend_from_slice(&piece);
    }
    Ok((whole.into(), held))
}

type Arrived = (http::Response<WasiBody>, AbortOnDropJoinHandle<()>);

/// A response, whose body comes as it is read.
fn arriving(response: HttpResponse, permit: Permit, maximum: u64, between: Option<Duration>) -> Arrived {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let HttpResponse { status, headers, body, .. } = response;
    let worker = spawn(async move {
        let _permit = permit;
        pump(body, sender, maximum, between).await;
    });
    let mut arrived = http::Response::new(Arriving(receiver).boxed_unsync());
    (*arrived.status_mut(), *arrived.headers_mut()) = (status, headers);
    (arrived, worker)
}

type Piece = Result<Bytes, Failure>;

/// Hands pieces of a body on until its end, an error, or nobody reads any more.
async fn pump(
    mut body: Box<dyn HttpBody>,
    sender: mpsc::Sender<Piece>,
    maximum: u64,
    between: Option<Duration>,
) {
    let mut seen = 0;
    loop {
        let piece = match in_time(between, body.next()).await {
            None => Err(Failure::ConnectionReadTimeout),
            Some(Ok(None)) => return,
            Some(Ok(Some(piece))) => {
                seen += piece.len() as u64;
                match seen > maximum {
                    true => Err(Failure::HttpResponseBodySize(Some(maximum))),
                    false => Ok(piece),
                }
            }
            Some(Err(error)) => Err(failed(error)),
        };
        let is_last = piece.is_err();
        if sender.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// A body on its way, as wasmtime-wasi-http reads it.
struct Arriving(mpsc::Receiver<Piece>);

impl Body for Arriving {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// What `work` gives, unless it takes longer.
async fn in_time<T>(time: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    let Some(time) = time else { return Some(work.await) };
    let (mut work, mut over) = (pin!(work), pin!(sleep_until(after(Instant::now(), time))));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// What a service's error is to a component.
fn code(error: ServiceError) -> ErrorCode {
    match error {
        ServiceError::Denied(_) => ErrorCode::HttpRequestDenied,
        ServiceError::Limit { limit: LimitKind::HttpBody, maximum } => {
            ErrorCode::HttpRequestBodySize(Some(maximum))
        }
        ServiceError::Limit { .. } => ErrorCode::ConnectionLimitReached,
        ServiceError::TimedOut => ErrorCode::ConnectionTimeout,
        error => ErrorCode::InternalError(Some(error.to_string())),
    }
}

/// The same while the response is waited for.
fn failed(error: ServiceError) -> Failure {
    match error {
        ServiceError::Limit { limit: LimitKind::HttpBody, maximum } => {
            Failure::HttpResponseBodySize(Some(maximum))
        }
        error => code(error).into(),
    }
}
