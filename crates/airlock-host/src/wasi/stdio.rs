//! A guest's standard input, output and error.

use std::future::poll_fn;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use airlock_core::{ErrorKind, LimitKind, Limits, Phase};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::ahead::Ahead;
use crate::console::{Audience, Shown};
use crate::store::Halt;

/// Bytes read from a reader at a time.
const CHUNK: usize = 64 << 10;

/// Chunks read ahead of the guest.
const READ_AHEAD: usize = 2;

/// Where a program's standard input comes from.
pub struct StdinSource(Source);

enum Source {
    Bytes(Bytes),
    Reader(Box<dyn Read + Send>),
    Fed(Feed),
}

/// Standard input that the host writes while the guest runs. A guest that has read all there is
/// finds its end, and what comes later all the same.
#[derive(Clone, Default)]
pub(crate) struct Feed(Arc<Mutex<BytesMut>>);

impl Feed {
    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes wait to be read.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.lock().extend_from_slice(bytes);
    }
}

impl StdinSource {
    /// No input.
    pub fn empty() -> Self {
        StdinSource(Source::Bytes(Bytes::new()))
    }

    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        StdinSource(Source::Bytes(bytes.into()))
    }

    /// What `reader` gives, read by a thread of its own once the guest first reads. A
    /// reader that blocks does not hold the call past its deadline.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        StdinSource(Source::Reader(Box::new(reader)))
    }

    /// What the host writes there.
    pub(crate) fn fed(feed: Feed) -> Self {
        StdinSource(Source::Fed(feed))
    }

    /// How many bytes, when known.
    pub(crate) fn len(&self) -> u64 {
        match &self.0 {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Reader(_) | Source::Fed(_) => 0,
        }
    }
}

impl std::fmt::Debug for StdinSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Source::Bytes(_) => "StdinSource::bytes",
            Source::Reader(_) => "StdinSource::reader",
            Source::Fed(_) => "StdinSource::fed",
        })
    }
}

/// Standard input that all handles share.
#[derive(Clone)]
pub(super) struct Stdin {
    state: Arc<Mutex<State>>,
    ahead: Ahead,
}

struct State {
    /// Read and not yet taken by the guest.
    ready: Bytes,
    /// A reader that was not needed yet.
    reader: Option<Box<dyn Read + Send>>,
    chunks: Option<mpsc::Receiver<Bytes>>,
    feed: Option<Feed>,
    /// Bytes that still may come from the reader.
    left: u64,
    maximum: u64,
    /// Whether more than the maximum came.
    exceeded: bool,
}

impl State {
    /// Whether there is something to read, or the end; what a reader gives is kept, whoever waits no longer.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.ready.is_empty() {
            return Poll::Ready(());
        }
        if let Some(reader) = self.reader.take() {
            self.chunks = Some(pump(reader));
        }
        let Some(chunks) = &mut self.chunks else { return Poll::Ready(()) };
        match ready!(chunks.poll_recv(context)) {
            None => self.chunks = None,
            Some(bytes) => {
                match self.left.checked_sub(bytes.len() as u64) {
                    Some(left) => self.left = left,
                    None => self.exceeded = true,
                }
                self.ready = bytes;
            }
        }
        Poll::Ready(())
    }
}

impl Stdin {
    /// Input from `source`, of which a reader may give `maximum` bytes. Bytes at hand were
    /// counted before the call.
    pub(super) fn new(source: StdinSource, maximum: u64, ahead: Ahead) -> Self {
        let (ready, reader, feed) = match source.0 {
            Source::Bytes(bytes) => (bytes, None, None),
            Source::Reader(reader) => (Bytes::new(), Some(reader), None),
            Source::Fed(feed) => (Bytes::new(), None, Some(feed)),
        };
        let state = State { ready, reader, feed, chunks: None, left: maximum, maximum, exceeded: false };
        Stdin { state: Arc::new(Mutex::new(state)), ahead }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the end, an error, or nobody listens any more.
fn pump(mut reader: Box<dyn Read + Send>) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let read = move || {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                break;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("airlock-stdin".to_owned()).spawn(read) {
        // The channel closes with the closure: the guest sees the end of its input.
        tracing::warn!(%error, "cannot start a thread to read standard input");
    }
    receiver
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        let _waited = self.ahead.begin();
        poll_fn(|context| self.lock().poll(context)).await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut state = self.lock();
        if state.exceeded {
            return Err(halted(LimitKind::Input, state.maximum));
        }
        if state.ready.is_empty()
            && let Some(feed) = &state.feed
        {
            let fed = feed.lock().split().freeze();
            state.ready = fed;
        }
        let count = size.min(state.ready.len());
        if count == 0 && state.reader.is_none() && state.chunks.is_none() {
            return Err(StreamError::Closed);
        }
        Ok(state.ready.split_to(count))
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // Preview 3 asks for this one; it is not linked.
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// The error that stops a guest at a limit of its streams.
fn halted(limit: LimitKind, maximum: u64) -> StreamError {
    let halt = Halt(ErrorKind::Limit { limit, maximum, asked: None, phase: Phase::Call });
    StreamError::Trap(wasmtime::Error::new(halt))
}

/// Output within a limit, kept in memory or shown at once; past the limit the guest is stopped.
#[derive(Clone)]
pub(super) struct Capture {
    limit: LimitKind,
    maximum: u64,
    audience: Option<Audience>,
    written: Arc<Mutex<Written>>,
}

#[derive(Default)]
struct Written {
    /// What nobody has seen.
    kept: Vec<u8>,
    /// Bytes that were shown.
    shown: u64,
}

impl Capture {
    /// For what this limit bounds: standard output, or standard error and the log.
    pub(super) fn new(limits: &Limits, limit: LimitKind, audience: Option<Audience>) -> Self {
        Capture { limit, maximum: limits.value(limit), audience, written: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lock().kept.clone()
    }

    /// Takes the bytes up to and with the last that is `end`; all that there are where none is said.
    pub(super) fn take(&self, end: Option<u8>) -> Vec<u8> {
        let kept = &mut self.lock().kept;
        let length = match end {
            Some(end) => memchr::memrchr(end, kept).map_or(0, |last| last + 1),
            None => kept.len(),
        };
        kept.drain(..length).collect()
    }

    pub(super) fn len(&self) -> u64 {
        let written = self.lock();
        written.kept.len() as u64 + written.shown
    }

    /// Keeps or shows more, unless it would be too much.
    ///
    /// # Errors
    /// The limit.
    pub(super) fn add(&self, bytes: &[u8]) -> Result<(), u64> {
        let shown = match self.limit {
            LimitKind::Output => Shown::Output(bytes),
            _ => Shown::Errors(bytes),
        };
        self.add_shown(bytes, shown)
    }

    /// The same for what is shown otherwise than it is kept.
    pub(super) fn add_shown(&self, bytes: &[u8], shown: Shown<'_>) -> Result<(), u64> {
        let mut written = self.lock();
        if written.kept.len() as u64 + written.shown + bytes.len() as u64 > self.maximum {
            return Err(self.maximum);
        }
        match &self.audience {
            Some(audience) => {
                written.shown += bytes.len() as u64;
                drop(written);
                audience.show(shown);
            }
            None => written.kept.extend_from_slice(bytes),
        }
        Ok(())
    }

    pub(super) fn clear(&self) {
        *self.lock() = Written::default();
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes).map_err(|maximum| halted(self.limit, maximum))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Preview 3 asks for this one; it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::{Receiver, channel};
    use std::task::{Context, Waker};

    use wasmtime_wasi::p2::{InputStream as _, Pollable as _, StreamError};

    use super::{Ahead, Stdin, StdinSource};
    use crate::bounded::block_on;

    /// Gives what is sent to it, a byte at a time.
    struct Sent(Receiver<u8>);

    impl Read for Sent {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Ok(byte) = self.0.recv() else { return Ok(0) };
            buffer[0] = byte;
            Ok(1)
        }
    }

    #[test]
    fn what_comes_when_nobody_waits_any_more_is_read_all_the_same() {
        let (sender, receiver) = channel();
        let ahead = Ahead::default();
        let mut stdin = Stdin::new(StdinSource::reader(Sent(receiver)), 100, ahead.clone());
        {
            let mut waiting = stdin.ready();
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(ahead.is_waited_for());
        }
        assert!(!ahead.is_waited_for());
        sender.send(b'a').expect("it is read");
        block_on(stdin.ready());
        assert_eq!(&stdin.read(10).expect("it came")[..], b"a");
        assert_eq!(stdin.read(10).expect("there may be more").len(), 0);
        drop(sender);
        block_on(stdin.ready());
        assert!(matches!(stdin.read(10), Err(StreamError::Closed)));
    }
}
