//! Getting messages: sizes first, small ones in batches, large ones in parts.
//!
//! One thread speaks with the server, a second reads what came, with some more to help, and a third
//! keeps it. What is on its way between them is bounded, so memory does not depend on what the
//! server has.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use airlock_core::MailError;

use super::mirror::Look;
use super::{SyncProgress, Syncing, Watch};
use crate::db::{self, failed};
use crate::folders::write_state;
use crate::imap::{Fault, Fetched, Session, Stream, broken};
use crate::keep::keep_all;
use crate::parse::{MESSAGE_BYTES, Thinned, Thinner};
use crate::{Kept, NewMessage, RawMessage};

/// Messages whose sizes are asked for at once.
const SIZES: usize = 500;

/// Messages and bytes that are fetched with one command.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 2 << 20;

/// Messages that are kept with one transaction, and how long it may be open: others that write
/// wait for it. The index of words is written with each, which is less to do when it is seldom.
const TRANSACTION: usize = 1_000;
const OPEN: Duration = Duration::from_secs(1);

/// What a transaction waits for the next messages: what is here is not to wait for a server.
const GATHER: Duration = Duration::from_millis(50);

/// Threads that read a batch, and messages that one takes at least.
const READERS: usize = 4;
const EACH: usize = 8;

/// Bytes that a message may have to be in a batch.
const SMALL: usize = 1 << 20;

/// Bytes of a large message that are fetched at once.
const PART: usize = 512 << 10;

/// Bytes that are fetched of a message that is too large to be read.
const BEGINNING: usize = 64 << 10;

/// What came of a sync's messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Got {
    pub(super) kept: Kept,
    /// Messages that the server listed and then refused.
    pub(super) refused: u64,
}

/// Messages on their way to the database, in the order of their UIDs.
enum Batch {
    Small(BTreeMap<u32, Fetched>),
    Large(u32, Fetched, Box<Thinned>),
}

impl Syncing<'_> {
    /// Fetches what is wanted and keeps it.
    pub(super) fn fetch<S: Stream>(
        &self,
        session: &mut Session<S>,
        look: &Look,
        watch: &dyn Watch,
    ) -> Result<Got, MailError> {
        if look.wanted.is_empty() {
            return Ok(Got::default());
        }
        let _keeping = self.mailbox.keeping()?;
        let (send, receive) = sync_channel(1);
        let (send_read, receive_read) = sync_channel(1);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || self.read_all(receive, &send_read));
            let keeper = scope.spawn(move || self.keep_all(receive_read, look, watch));
            let fetched = self.fetch_all(session, &look.wanted, &send);
            drop(send);
            // Where nothing more can be kept, nothing more is read; and so on.
            let kept = joined(keeper)?;
            joined(reader)?;
            Ok(Got { kept, refused: fetched? })
        })
    }

    fn fetch_all<S: Stream>(
        &self,
        session: &mut Session<S>,
        wanted: &[u32],
        send: &SyncSender<Batch>,
    ) -> Result<u64, MailError> {
        let mut refused = 0;
        for uids in wanted.chunks(SIZES) {
            let mut sizes = BTreeMap::new();
            session.fetch(uids, "(UID RFC822.SIZE)", (0, 0), |uid, fetched| {
                sizes.extend(fetched.size.map(|size| (uid, size as usize)));
                Ok(())
            })?;
            let mut batch: Vec<u32> = Vec::new();
            let mut bytes = 0;
            // Of what is not there any more, the next sync knows.
            for (uid, size) in sizes {
                if size > SMALL || batch.len() == BATCH || bytes + size > BATCH_BYTES {
                    refused += fetch_small(session, &batch, bytes, send)?;
                    (batch, bytes) = (Vec::new(), 0);
                }
                match size > SMALL {
                    true => refused += self.fetch_large(session, uid, size, send)?,
                    false => {
                        batch.push(uid);
                        bytes += size;
                    }
                }
            }
            refused += fetch_small(session, &batch, bytes, send)?;
        }
        Ok(refused)
    }

    /// Fetches a message in parts. What is attached goes to the disk as it comes.
    fn fetch_large<S: Stream>(
        &self,
        session: &mut Session<S>,
        uid: u32,
        size: usize,
        send: &SyncSender<Batch>,
    ) -> Result<u64, MailError> {
        let mut about = Fetched::default();
        session.fetch(&[uid], "(UID FLAGS INTERNALDATE)", (0, 0), |_, fetched| {
            merge(&mut about, fetched);
            Ok(())
        })?;
        let is_readable = size <= MESSAGE_BYTES;
        let mut thinner = Thinner::new(self.mailbox)?;
        let part_bytes = if is_readable { PART } else { BEGINNING };
        let mut offset = 0;
        loop {
            let mut part = None;
            let what = format!("(UID BODY.PEEK[]<{offset}.{part_bytes}>)");
            let fetched = session.fetch(&[uid], &what, (part_bytes, part_bytes), |_, fetched| {
                part = part.take().or(fetched.body);
                Ok(())
            });
            match fetched {
                Ok(()) => {}
                Err(Fault::No(said)) => {
                    tracing::warn!(uid, folder = self.folder, said, "the server gives no such message");
                    return Ok(1);
                }
                Err(Fault::Broken(error)) => return Err(error),
            }
            let Some(part) = part else { return Ok(1) };
            thinner.take(&part)?;
            offset += part.len();
            // A server may say a wrong size, and go on beyond it.
            if part.len() < part_bytes || !is_readable || offset > MESSAGE_BYTES {
                break;
            }
        }
        let thinned = match is_readable && offset <= MESSAGE_BYTES {
            true => thinner.finish()?,
            false => thinner.give_up(size.max(offset)),
        };
        pass(send, Batch::Large(uid, about, Box::new(thinned)))?;
        Ok(0)
    }

    /// Reads what comes.
    fn read_all(
        &self,
        batches: Receiver<Batch>,
        send: &SyncSender<Vec<NewMessage>>,
    ) -> Result<(), MailError> {
        for batch in batches {
            let messages = self.read(batch)?;
            // A file that is told of is there, whatever happens to the machine. It is waited for here, while
            // what was read before is kept.
            self.mailbox.sync_attachments()?;
            pass(send, messages)?;
        }
        Ok(())
    }

    fn read(&self, batch: Batch) -> Result<Vec<NewMessage>, MailError> {
        match batch {
            Batch::Small(fetched) => {
                let fetched: Vec<(u32, Fetched)> = fetched.into_iter().collect();
                let part = fetched.len().div_ceil(READERS).max(EACH);
                std::thread::scope(|scope| {
                    let readers: Vec<_> =
                        fetched.chunks(part).map(|part| scope.spawn(move || self.read_small(part))).collect();
                    let mut messages = Vec::with_capacity(fetched.len());
                    for reader in readers {
                        messages.extend(joined(reader)?);
                    }
                    Ok(messages)
                })
            }
            Batch::Large(uid, about, thinned) => {
                let mut message = self.mailbox.read_thinned(*thinned)?;
                message.received_at = Some(about.received_at.unwrap_or_else(crate::db::now));
                message.place = Some((uid, about.flags.unwrap_or_default()));
                Ok(vec![message])
            }
        }
    }

    fn read_small(&self, fetched: &[(u32, Fetched)]) -> Result<Vec<NewMessage>, MailError> {
        let read = fetched.iter().filter_map(|(uid, fetched)| {
            let bytes = fetched.body.as_deref()?;
            let received_at = fetched.received_at.unwrap_or_else(crate::db::now);
            let place = Some((*uid, fetched.flags.as_deref().unwrap_or_default()));
            Some(self.mailbox.read(&RawMessage { bytes, received_at, place }))
        });
        read.collect()
    }

    /// Keeps what was read.
    fn keep_all(
        &self,
        batches: Receiver<Vec<NewMessage>>,
        look: &Look,
        watch: &dyn Watch,
    ) -> Result<Kept, MailError> {
        let (mut kept, mut done, total) = (Kept::default(), 0, look.wanted.len() as u64);
        let mut connection = db::connect_to_fill(self.mailbox.file(), true)?;
        while let Ok(messages) = batches.recv() {
            let transaction = db::writing(&mut connection)?;
            let (opened, mut now, mut last) = (Instant::now(), Kept::default(), None);
            let mut next = Some(messages);
            while let Some(messages) = next.take() {
                keep_all(&transaction, self.account, self.id, &messages, &mut now).map_err(failed)?;
                last = messages.last().and_then(|message| Some(message.place.as_ref()?.0)).or(last);
                let is_enough = (now.new + now.known) as usize >= TRANSACTION || opened.elapsed() >= OPEN;
                next = if is_enough { None } else { batches.recv_timeout(GATHER).ok() };
            }
            let Some(last) = last else { continue };
            // What is before what was here, was left out once.
            let state = self.state_at(last, look.is_whole && !look.skipped && last >= self.here.1);
            write_state(&transaction, self.account, self.id, &state).map_err(failed)?;
            transaction.commit().map_err(failed)?;
            (kept.new, kept.known) = (kept.new + now.new, kept.known + now.known);
            done += now.new + now.known;
            let (account_id, folder) = (self.account, self.folder);
            watch.progressed(&SyncProgress { account_id, folder, done, total });
        }
        Ok(kept)
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Fetches small messages at once, or one by one where the server refuses; how many it refuses.
fn fetch_small<S: Stream>(
    session: &mut Session<S>,
    uids: &[u32],
    bytes: usize,
    send: &SyncSender<Batch>,
) -> Result<u64, MailError> {
    if uids.is_empty() {
        return Ok(0);
    }
    let mut batch: BTreeMap<u32, Fetched> = BTreeMap::new();
    let mut fetch = |uids: &[u32]| {
        // Servers count line ends in more than one way.
        let bodies = (2 * SMALL, 2 * bytes + SMALL);
        session.fetch(uids, "(UID FLAGS INTERNALDATE BODY.PEEK[])", bodies, |uid, fetched| {
            merge(batch.entry(uid).or_default(), fetched);
            Ok(())
        })
    };
    if let Err(fault) = fetch(uids) {
        let Fault::No(said) = fault else { return Err(fault.into()) };
        tracing::warn!(said, "the server does not give all of what it has");
        for uid in uids {
            match fetch(&[*uid]) {
                Ok(()) | Err(Fault::No(_)) => {}
                Err(Fault::Broken(error)) => return Err(error),
            }
        }
    }
    batch.retain(|_, fetched| fetched.body.is_some());
    let refused = uids.len() - batch.len();
    pass(send, Batch::Small(batch))?;
    Ok(refused as u64)
}

/// Puts what was said of a message in more than one response together.
fn merge(one: &mut Fetched, other: Fetched) {
    one.flags = other.flags.or_else(|| one.flags.take());
    one.size = other.size.or(one.size);
    one.received_at = other.received_at.or(one.received_at);
    one.body = other.body.or_else(|| one.body.take());
}

fn pass<T>(send: &SyncSender<T>, batch: T) -> Result<(), MailError> {
    // Why it ended is said by the other side.
    send.send(batch).map_err(|_| broken(&"nothing more can be kept"))
}
