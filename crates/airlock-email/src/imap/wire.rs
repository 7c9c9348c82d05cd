//! What a server says, one response at a time.
//!
//! A server is as little trusted as a guest. So the end of a response is found here, with a
//! bound on all that can be long, before the parser sees it: that one is asked once for each
//! response and never for a part of one. It nests as deep as a response does and panics on some,
//! so neither reaches it or leaves it.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use airlock_core::{MailCode, MailError};
use imap_proto::{Outcome, Response, ResponseCode, Status};
use memchr::memmem;

use crate::echo::Echo;

/// Bytes that a response may have beside its literals.
const TEXT: usize = 64 << 10;

/// Literals that a response may have.
const LITERALS: usize = 8;

/// Lists that a response may have: what is asked for has three.
const LISTS: usize = 16;

/// Bytes that are read at once, and for which a server has its time once more.
const CHUNK: usize = 64 << 10;

/// Responses that a server may give beside those that were asked for.
const UNASKED: usize = 10_000;

/// Bytes of what a server says that an error repeats.
const REPEATED: usize = 300;

/// A connection that does not wait longer than until a moment.
pub(crate) trait Stream: Read + Write {
    /// From now on it waits until then.
    fn wait_until(&mut self, moment: Instant);
}

/// What a command may be answered with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// Responses that are expected.
    pub(crate) responses: usize,
    /// Bytes of the literals of one.
    pub(crate) literals: usize,
    /// Bytes of the literals of all of them.
    pub(crate) all_literals: usize,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server said no. The connection goes on.
    No(String),
    /// The connection is of no more use.
    Broken(MailError),
}

impl Fault {
    fn without(self, echo: &Echo) -> Self {
        match self {
            Fault::No(said) => Fault::No(echo.taken_out(&said)),
            Fault::Broken(error) => {
                Fault::Broken(MailError::new(error.code(), &echo.taken_out(error.message())))
            }
        }
    }
}

impl From<MailError> for Fault {
    fn from(error: MailError) -> Self {
        Fault::Broken(error)
    }
}

impl From<Fault> for MailError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::No(said) => {
                MailError::new(MailCode::Provider, &format!("provider rejected the request: {said}"))
            }
            Fault::Broken(error) => error,
        }
    }
}

/// What ends a command that did what it should.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// The capabilities, where the server said them with it.
    pub(crate) capabilities: Option<Vec<String>>,
}

pub(crate) struct Wire<S> {
    stream: S,
    patience: Duration,
    buffer: Vec<u8>,
    /// Where what is not read yet begins.
    next: usize,
    commands: u32,
    /// What it logs in with, which no error repeats.
    echo: Echo,
}

impl<S: Stream> Wire<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Wire { stream, patience, buffer: Vec::new(), next: 0, commands: 0, echo: Echo::default() }
    }

    /// Has no error repeat what these are from now on.
    pub(crate) fn take_out(&mut self, echo: Echo) {
        self.echo = echo;
    }

    /// The connection, to be encrypted: nothing may have been said before that.
    pub(crate) fn into_stream(self) -> Result<S, MailError> {
        match self.next == self.buffer.len() {
            true => Ok(self.stream),
            false => Err(refused("the server spoke before the connection was encrypted")),
        }
    }

    /// Gives a command, and what the server says to it until it is done, one at a time.
    pub(crate) fn command(
        &mut self,
        command: &str,
        bounds: Bounds,
        each: impl FnMut(Response<'_>) -> Result<(), MailError>,
    ) -> Result<Finished, Fault> {
        let tag = self.give(command)?;
        self.finish(&tag, bounds, each)
    }

    /// Sends a command; what its answer is called.
    pub(crate) fn give(&mut self, command: &str) -> Result<String, MailError> {
        self.commands = self.commands.wrapping_add(1);
        let tag = format!("a{}", self.commands);
        self.say(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Sends these bytes.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        self.stream.wait_until(Instant::now() + self.patience);
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(|error| broken(&error))
    }

    /// What the server says until the command of this tag is done.
    pub(crate) fn finish(
        &mut self,
        tag: &str,
        bounds: Bounds,
        each: impl FnMut(Response<'_>) -> Result<(), MailError>,
    ) -> Result<Finished, Fault> {
        self.finished(tag, bounds, each).map_err(|fault| fault.without(&self.echo))
    }

    fn finished(
        &mut self,
        tag: &str,
        bounds: Bounds,
        mut each: impl FnMut(Response<'_>) -> Result<(), MailError>,
    ) -> Result<Finished, Fault> {
        let (mut responses, mut literals) = (0, 0);
        loop {
            let (response, bytes) = self.response(bounds.literals)?;
            (responses, literals) = (responses + 1, literals + bytes);
            if responses > bounds.responses + UNASKED || literals > bounds.all_literals.max(bounds.literals) {
                return Err(refused("the server says more than it was asked for").into());
            }
            match response {
                Response::Done { tag: told, status, outcome } if told.0 == tag => {
                    return done(&status, outcome);
                }
                Response::Done { .. } => return Err(refused("the server answers what was not asked").into()),
                Response::Continue(_) => {
                    return Err(refused("the server waits for what it is not told").into());
                }
                Response::Data { status: Status::Bye, outcome } => return Err(bye(&outcome).into()),
                response => each(response)?,
            }
        }
    }

    /// What the server has to say before it takes more, or what it says instead.
    pub(crate) fn asked_for_more(&mut self, tag: &str) -> Result<Option<Finished>, Fault> {
        self.continued(tag).map_err(|fault| fault.without(&self.echo))
    }

    fn continued(&mut self, tag: &str) -> Result<Option<Finished>, Fault> {
        for _ in 0..UNASKED {
            match self.response(0)?.0 {
                Response::Continue(_) => return Ok(None),
                Response::Done { tag: told, status, outcome } if told.0 == tag => {
                    return done(&status, outcome).map(Some);
                }
                Response::Data { status: Status::Bye, outcome } => return Err(bye(&outcome).into()),
                _ => {}
            }
        }
        Err(refused("the server says more than it was asked for").into())
    }

    /// The next response, and how many bytes its literals have.
    pub(crate) fn response(&mut self, literals: usize) -> Result<(Response<'_>, usize), MailError> {
        let (from, to, literals) = self.frame(literals)?;
        self.next = to;
        let frame = &self.buffer[from..to];
        let parsed = catch_unwind(AssertUnwindSafe(|| Response::parse(frame)));
        match parsed {
            Ok(Ok(([], response))) => Ok((response, literals)),
            _ => {
                let said = String::from_utf8_lossy(&frame[..frame.len().min(REPEATED)]).into_owned();
                Err(refused(&format!("the server says what is no IMAP: `{}`", said.trim_end())))
            }
        }
    }

    /// Where the next response is in the buffer, and how many bytes its literals have.
    fn frame(&mut self, maximum: usize) -> Result<(usize, usize, usize), MailError> {
        if self.next == self.buffer.len() {
            self.buffer.clear();
            self.next = 0;
            // What a large body has needed is not kept.
            self.buffer.shrink_to(4 * CHUNK);
        } else if self.next > 4 * CHUNK {
            self.buffer.drain(..self.next);
            self.next = 0;
        }
        self.stream.wait_until(Instant::now() + self.patience);
        let from = self.next;
        let (mut at, mut text, mut lists, mut literals, mut bytes) = (from, 0, 0, 0, 0);
        loop {
            let end = self.line(at, TEXT - text)?;
            let line = &self.buffer[at..end];
            text += line.len();
            lists += memchr::memchr_iter(b'(', line).count();
            let literal = if at == from && is_free(line) { None } else { literal(line) };
            let Some(literal) = literal else {
                // Free text may hold anything.
                if lists > LISTS && !is_free(&self.buffer[from..end]) {
                    return Err(refused("the server says too much in one response"));
                }
                return Ok((from, end, bytes));
            };
            (literals, bytes) = (literals + 1, literal.saturating_add(bytes));
            if literals > LITERALS || bytes > maximum.max(TEXT) {
                return Err(refused("the server says too much in one response"));
            }
            at = end + literal;
            self.fill(at)?;
        }
    }

    /// The end of the line that begins there, of at most so many bytes.
    fn line(&mut self, from: usize, maximum: usize) -> Result<usize, MailError> {
        let mut searched = from;
        loop {
            if let Some(at) = memmem::find(&self.buffer[searched..], b"\r\n") {
                let end = searched + at + 2;
                return match end - from <= maximum {
                    true => Ok(end),
                    false => Err(refused("the server says too much in one line")),
                };
            }
            if self.buffer.len() - from > maximum {
                return Err(refused("the server says too much in one line"));
            }
            // The last byte may be half of an end.
            searched = self.buffer.len().saturating_sub(1).max(from);
            self.read()?;
        }
    }

    fn fill(&mut self, length: usize) -> Result<(), MailError> {
        let (mut at, mut mark) = (self.buffer.len(), self.buffer.len());
        while at < length {
            self.read()?;
            at = self.buffer.len();
            if at - mark >= CHUNK {
                mark = at;
                self.stream.wait_until(Instant::now() + self.patience);
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), MailError> {
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(length + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(broken(&"the server ended the connection")),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(broken(&format!("the server did not answer for {:?}", self.patience)))
            }
            Err(error) => Err(broken(&error)),
        }
    }
}

/// Whether a line is text for people, in which `{5}` announces nothing.
fn is_free(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"* ").or_else(|| line.strip_prefix(b"+").map(|_| &b"OK "[..]));
    // An answer to a command begins with its tag, which begins so.
    let tagged = || line.starts_with(b"a").then(|| line.splitn(2, |byte| *byte == b' ').nth(1)).flatten();
    let Some(rest) = rest.or_else(tagged) else { return false };
    let word = rest.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
    [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|free| word.eq_ignore_ascii_case(free))
}

/// The size of the literal that a line announces at its end.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = memchr::memrchr(b'{', line)?;
    let digits = &line[open + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // One that is too large to be a number is refused as too large.
    Some(std::str::from_utf8(digits).ok()?.parse::<u32>().unwrap_or(u32::MAX) as usize)
}

fn done(status: &Status, outcome: Outcome<'_>) -> Result<Finished, Fault> {
    match status {
        Status::Ok => {
            let capabilities = match outcome.code {
                Some(ResponseCode::Capabilities(told)) => Some(super::capabilities(&told)),
                _ => None,
            };
            Ok(Finished { capabilities })
        }
        Status::No => Err(Fault::No(said(&outcome))),
        _ => Err(refused(&format!("the server does not understand: {}", said(&outcome))).into()),
    }
}

fn bye(outcome: &Outcome<'_>) -> MailError {
    broken(&format!("the server ended the connection: {}", said(outcome)))
}

fn said(outcome: &Outcome<'_>) -> String {
    let said = outcome.information.as_deref().unwrap_or("it does not say why");
    said[..said.floor_char_boundary(REPEATED)].to_owned()
}

pub(crate) fn refused(reason: &str) -> MailError {
    MailError::new(MailCode::Provider, reason)
}

pub(crate) fn broken(reason: &dyn std::fmt::Display) -> MailError {
    MailError::new(MailCode::Network, &format!("network error while contacting provider: {reason}"))
}
