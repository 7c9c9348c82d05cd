//! Streams of files, which ask for themselves whether what they are of is still granted, and count what
//! is written: a guest gives the stream bytes and no longer the descriptor.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use wasmtime_wasi::p1::types::Errno;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::wasi::ahead::Ahead;
use crate::wasi::files::{Lease, Place, Quota};

/// Why a stream of a file has failed, for a guest that asks.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Errno);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

fn refused(errno: Errno) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::Error::new(Refused(errno)))
}

/// A file that is read.
pub(super) struct Reading {
    pub(super) file: DynInputStream,
    pub(super) lease: Lease,
    pub(super) ahead: Ahead,
}

impl Reading {
    fn check(&self) -> StreamResult<()> {
        self.lease.check().map_err(refused)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        if self.lease.check().is_ok() {
            let _waited = self.ahead.begin();
            self.file.ready().await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.check()?;
        self.file.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.check()?;
        self.file.blocking_read(size).await
    }

    fn skip(&mut self, count: usize) -> StreamResult<usize> {
        self.check()?;
        self.file.skip(count)
    }

    async fn blocking_skip(&mut self, count: usize) -> StreamResult<usize> {
        self.check()?;
        self.file.blocking_skip(count).await
    }

    async fn cancel(&mut self) {
        self.file.cancel().await;
    }
}

/// A file that is written to.
pub(super) struct Writing {
    pub(super) file: DynOutputStream,
    pub(super) lease: Lease,
    pub(super) ahead: Ahead,
    pub(super) quota: Quota,
    pub(super) place: Place,
    /// Until when what its folder holds is looked at.
    pub(super) by: Option<Instant>,
    /// Where the next bytes go; none where they go to the end.
    pub(super) at: Option<u64>,
}

impl Writing {
    /// Counts bytes that are about to be written. What a background task does not write in the end is
    /// not given back: nobody is told how much that was.
    fn count(&mut self, bytes: &Bytes) -> StreamResult<()> {
        self.lease.check().map_err(refused)?;
        let length = bytes.len() as u64;
        let end = self.at.map_or(0, |at| at.saturating_add(length));
        self.quota.write(self.place.root, length, end).map_err(refused)?;
        self.at = self.at.map(|_| end);
        Ok(())
    }

    async fn measure(&mut self) {
        self.quota.measure(self.place.clone(), self.by).await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {
        let _waited = self.ahead.begin();
        self.measure().await;
        self.file.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Writing {
    fn check_write(&mut self) -> StreamResult<usize> {
        self.lease.check().map_err(refused)?;
        match self.quota.is_measured(self.place.root) {
            true => self.file.check_write(),
            // As soon as it is waited for.
            false => Ok(0),
        }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(&bytes)?;
        self.file.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.measure().await;
        self.count(&bytes)?;
        self.file.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.file.flush()
    }

    async fn cancel(&mut self) {
        self.file.cancel().await;
    }
}
