//! One request and its response, without redirects.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use airlock_core::{Permit, Scheme, ServiceError};
use bytes::Bytes;
use http::response::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::{mpsc, oneshot};

use super::body::{Arrival, Arriving};
use super::pool::{Key, Live, Pool};
use super::tls::Tls;
use crate::service::net::{Resolve, Task, Until, addresses, connect, gone, runtime};

/// Headers of a response, and bytes of its head.
const MAX_HEADERS: (usize, usize) = (100, 64 << 10);

/// Pieces of a body that wait for whoever reads it. Beyond, the server has to wait.
const WAITING: usize = 4;

/// Bytes of a body that are told together with its head, about.
const EARLY: usize = 64 << 10;

/// Turns that the connection's own task gets to find them.
const TURNS: usize = 3;

/// What connections are made of.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) tls: Tls,
    pub(super) pool: Arc<Pool>,
}

/// A request that is ready to be sent, and whom to.
pub(super) struct Hop {
    pub(super) key: Key,
    pub(super) permit: Permit,
    pub(super) until: Until,
    pub(super) request: Request<Full<Bytes>>,
}

/// What the task says first: the head, and what of the body came with it.
type Head = Result<(Parts, VecDeque<Arrival>), ServiceError>;

/// Sends it, and returns once the response's headers are there.
pub(super) async fn exchange(line: &Arc<Line>, hop: Hop) -> Result<(Parts, Arriving), ServiceError> {
    let runtime = runtime()?;
    let (head, received) = oneshot::channel();
    let (sender, pieces) = mpsc::channel(WAITING);
    let task = Task::spawn(&runtime, serve(line.clone(), runtime.clone(), hop, head, sender));
    let (parts, early) = received.await.unwrap_or_else(|_| Err(gone()))?;
    Ok((parts, Arriving { early, pieces, _task: task }))
}

/// The task that does it. Nobody who listens no longer wants to know.
async fn serve(
    line: Arc<Line>,
    runtime: Handle,
    hop: Hop,
    head: oneshot::Sender<Head>,
    pieces: Sender<Arrival>,
) {
    let (response, live) = match hop.until.bound(answer(&line, &runtime, &hop)).await {
        Ok(answered) => answered,
        Err(error) => {
            let _ = head.send(Err(error));
            return;
        }
    };
    let (parts, mut body) = response.into_parts();
    let early = early(&mut body).await;
    match early.back() {
        // The connection is kept before the end is told, so that the next request finds it.
        Some(Ok(None)) => {
            line.pool.put(&runtime, hop.key, live);
            let _ = head.send(Ok((parts, early)));
            return;
        }
        Some(Err(_)) => {
            drop(live);
            let _ = head.send(Ok((parts, early)));
            return;
        }
        _ => {}
    }
    if head.send(Ok((parts, early))).is_err() {
        return;
    }
    let end = match hop.until.bound(pump(body, &pieces)).await {
        Ok(()) => {
            // The connection's own task has its turn, and says whether it goes on.
            tokio::task::yield_now().await;
            line.pool.put(&runtime, hop.key, live);
            Ok(None)
        }
        // Closed before anybody has to read that it is.
        Err(error) => {
            drop(live);
            Err(error)
        }
    };
    let _ = pieces.send(end).await;
}

/// What of a body is there with its head, without waiting: often all of it. Told in one go,
/// it costs whoever waits one wake-up and not three.
async fn early(body: &mut Incoming) -> VecDeque<Arrival> {
    let (mut found, mut bytes) = (VecDeque::new(), 0);
    for _ in 0..TURNS {
        while bytes < EARLY {
            match poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context))).await {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    tokio::task::yield_now().await;
                    found.push_back(Ok(None));
                    return found;
                }
                Poll::Ready(Some(Err(error))) => {
                    found.push_back(Err(failed(&error)));
                    return found;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        bytes += piece.len();
                        found.push_back(Ok(Some(piece)));
                    }
                }
            }
        }
        tokio::task::yield_now().await;
    }
    found
}

async fn pump(mut body: Incoming, pieces: &Sender<Arrival>) -> Result<(), ServiceError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        // Trailers are nobody's: a plugin was never promised any.
        let Ok(piece) = frame.into_data() else { continue };
        if !piece.is_empty() && pieces.send(Ok(Some(piece))).await.is_err() {
            return Err(gone());
        }
    }
    Ok(())
}

async fn answer(
    line: &Line,
    runtime: &Handle,
    hop: &Hop,
) -> Result<(Response<Incoming>, Live), ServiceError> {
    let (scheme, host, port) = (hop.key.scheme(), hop.key.host(), hop.key.port());
    hop.permit.check()?;
    let addresses = addresses(&*line.resolver, &hop.permit, scheme, host, port).await?;
    while let Some(mut live) = line.pool.take(&hop.key, &addresses) {
        match live.sender.try_send_request(hop.request.clone()).await {
            Ok(response) => return Ok((response, live)),
            // A server ends a connection that waits whenever it likes, also now. What it has
            // not seen is sent again, and so is what changes nothing when it is seen twice.
            Err(mut error) => {
                let unseen = error.take_message().is_some();
                let repeatable = hop.request.method().is_safe() && !error.error().is_parse();
                if !unseen && !repeatable {
                    return Err(failed(error.error()));
                }
            }
        }
    }
    let stream = connect(host, &addresses).await?;
    // One of those checked, and what a kept connection is recognised by.
    let address = stream.peer_addr().map_err(|error| ServiceError::Failed(error.kind().to_string()))?;
    let (sender, driver) = match scheme {
        Scheme::Https => open(runtime, line.tls.wrap(host, stream).await?).await?,
        _ => open(runtime, stream).await?,
    };
    let mut live = Live { sender, address, _driver: driver };
    hop.permit.check()?;
    let response = live.sender.send_request(hop.request.clone()).await.map_err(|error| failed(&error))?;
    Ok((response, live))
}

type Opened = (hyper::client::conn::http1::SendRequest<Full<Bytes>>, Task);

/// HTTP/1.1 on this connection: every server speaks it, and its client is small.
async fn open<S>(runtime: &Handle, stream: S) -> Result<Opened, ServiceError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    TokioIo<S>: Read + Write,
{
    let mut builder = Builder::new();
    builder.max_headers(MAX_HEADERS.0).max_header_size(MAX_HEADERS.1).max_buf_size(MAX_HEADERS.1);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // How it ends is told to whoever waits for an answer.
    let driver = Task::spawn(runtime, async move {
        let _ = connection.await;
    });
    Ok((sender, driver))
}

fn failed(error: &hyper::Error) -> ServiceError {
    let source = std::error::Error::source(error);
    let ended = source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::UnexpectedEof);
    ServiceError::Failed(match source {
        _ if ended || error.is_incomplete_message() => {
            "the server ended the connection before the response was whole".to_owned()
        }
        _ if error.is_parse() => format!("the server does not answer as HTTP/1.1 has it: {error}"),
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}
