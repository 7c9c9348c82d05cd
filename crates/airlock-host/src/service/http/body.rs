//! Bodies on their way to a plugin.

use std::collections::VecDeque;
use std::io::Write;

use airlock_core::{HttpBody, LimitKind, ServiceError, ServiceFuture};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use tokio::sync::mpsc::Receiver;

use super::veil::Veil;
use crate::service::net::{Task, gone};

/// What the runtime's task hands over: pieces, `None` after the last, or why there are no more.
pub(super) type Arrival = Result<Option<Bytes>, ServiceError>;

/// A body as it arrives. Dropped, its connection is closed.
pub(super) struct Arriving {
    /// What was there with the head.
    pub(super) early: VecDeque<Arrival>,
    pub(super) pieces: Receiver<Arrival>,
    pub(super) _task: Task,
}

impl Arriving {
    async fn next(&mut self) -> Arrival {
        if let Some(early) = self.early.pop_front() {
            return early;
        }
        self.pieces.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

/// A response's body: unpacked, counted, and without credentials.
///
/// All of that is done where the body is read, in the time of whoever reads it.
pub(super) struct Body {
    arriving: Option<Arriving>,
    unpack: Option<Unpack>,
    veil: Veil,
    /// Bytes as they came, and as they are read.
    counted: (u64, u64),
    maximum: u64,
    failure: Option<ServiceError>,
}

impl Body {
    pub(super) fn new(arriving: Arriving, packed: bool, veil: Veil, maximum: u64) -> Self {
        let unpack = packed.then(Unpack::default);
        Body { arriving: Some(arriving), unpack, veil, counted: (0, 0), maximum, failure: None }
    }

    async fn arrive(&mut self) -> Arrival {
        let piece = match &mut self.arriving {
            Some(arriving) => arriving.next().await?,
            None => None,
        };
        match &piece {
            // A packed body that unpacks to nothing is bounded as well.
            Some(piece) => count(&mut self.counted.0, piece.len(), self.maximum)?,
            None => self.arriving = None,
        }
        Ok(piece)
    }

    async fn unpacked(&mut self) -> Arrival {
        loop {
            if let Some(unpack) = &mut self.unpack {
                let bytes = unpack.more()?;
                if !bytes.is_empty() {
                    return Ok(Some(bytes.into()));
                }
            }
            let piece = self.arrive().await?;
            match (&mut self.unpack, piece) {
                (None, piece) => return Ok(piece),
                (Some(unpack), Some(piece)) => unpack.packed = piece,
                (Some(unpack), None) => {
                    let bytes = unpack.finish()?;
                    return Ok(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()));
                }
            }
        }
    }

    async fn shown(&mut self) -> Arrival {
        while let Some(piece) = self.unpacked().await? {
            count(&mut self.counted.1, piece.len(), self.maximum)?;
            let piece = match self.veil.is_needed() {
                true => self.veil.pass(&piece).into(),
                false => piece,
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(Some(Bytes::from(self.veil.rest())).filter(|rest| !rest.is_empty()))
    }
}

fn count(counted: &mut u64, more: usize, maximum: u64) -> Result<(), ServiceError> {
    *counted = counted.saturating_add(more as u64);
    match *counted > maximum {
        true => Err(ServiceError::Limit { limit: LimitKind::HttpBody, maximum }),
        false => Ok(()),
    }
}

impl HttpBody for Body {
    fn next(&mut self) -> ServiceFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let next = self.shown().await;
            if let Err(failure) = &next {
                // The connection goes with it.
                self.arriving = None;
                self.failure = Some(failure.clone());
            }
            next
        })
    }
}

/// Packed bytes that are unpacked at once. A thousand become a million at most (RFC 1951), so
/// that no more than that is held beyond what is counted.
const AT_ONCE: usize = 1 << 10;

/// About how much is unpacked before it is handed on.
const PIECE: usize = 16 << 10;

/// Unpacks gzip (RFC 1952).
#[derive(Debug)]
struct Unpack {
    packed: Bytes,
    begun: bool,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
}

impl Default for Unpack {
    fn default() -> Self {
        Unpack { packed: Bytes::new(), begun: false, decoder: Some(MultiGzDecoder::new(Vec::new())) }
    }
}

impl Unpack {
    /// The next bytes of what has arrived; none where it is used up.
    fn more(&mut self) -> Result<Vec<u8>, ServiceError> {
        let Some(decoder) = &mut self.decoder else { return Ok(Vec::new()) };
        while !self.packed.is_empty() && decoder.get_ref().len() < PIECE {
            self.begun = true;
            let packed = self.packed.split_to(AT_ONCE.min(self.packed.len()));
            decoder.write_all(&packed).map_err(|_| broken())?;
        }
        Ok(std::mem::take(decoder.get_mut()))
    }

    /// What is left at the end. A body without a byte is empty whatever its headers say.
    fn finish(&mut self) -> Result<Vec<u8>, ServiceError> {
        match self.decoder.take() {
            Some(decoder) if self.begun => decoder.finish().map_err(|_| broken()),
            _ => Ok(Vec::new()),
        }
    }
}

fn broken() -> ServiceError {
    ServiceError::Failed("the response's body is not packed as its headers say".to_owned())
}
