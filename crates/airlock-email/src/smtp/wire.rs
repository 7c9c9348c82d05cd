//! What is said with a server, a command and its answer at a time (RFC 5321).
//!
//! lettre writes messages and commands, but its connection waits as long as a server sends a byte
//! now and then, and cannot say whether the end of a message was sent. Here each answer has its
//! time and its size, and all of a session an end.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use airlock_core::{MailCode, MailError};

use super::{Fate, Unsent};
use crate::compose::lines;
use crate::imap::{Stream, broken};

/// Bytes of an answer, and of one of its lines.
const ANSWER: usize = 64 << 10;
const LINE: usize = 4 << 10;

/// Bytes of a message that are written at once, and for which a server has its time once more.
const CHUNK: usize = 64 << 10;

/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Bytes of what a server says that is repeated.
const REPEATED: usize = 300;

/// What a server answers to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// 200 to 599.
    pub(super) code: u16,
    lines: Vec<String>,
}

impl Answer {
    /// What it says, in one line.
    pub(super) fn told(&self) -> String {
        let mut told = self.lines.join(" ");
        told.truncate(told.floor_char_boundary(REPEATED));
        told
    }

    fn refusal(&self) -> Unsent {
        let fate = if self.code >= 500 { Fate::Refused } else { Fate::NotSent };
        let told = format!("provider rejected the request: {} {}", self.code, self.told());
        Unsent { fate, error: MailError::new(MailCode::Provider, &told) }
    }
}

/// A session with a server.
pub(super) struct Session<S> {
    stream: S,
    patience: Duration,
    /// When it is over, whatever is being done.
    end: Instant,
    /// What is read and not yet looked at.
    buffer: Vec<u8>,
    /// What the server says to be able to do.
    extensions: Vec<String>,
}

impl<S: Stream> Session<S> {
    /// A session from its first byte on.
    pub(super) fn greeted(stream: S, patience: Duration, end: Instant) -> Result<Self, Unsent> {
        let mut session = Session { stream, patience, end, buffer: Vec::new(), extensions: Vec::new() };
        session.accepted()?;
        session.hello()?;
        Ok(session)
    }

    /// A session that is encrypted now: what was said before may be of whoever was between.
    pub(super) fn resumed(stream: S, patience: Duration, end: Instant) -> Result<Self, Unsent> {
        let mut session = Session { stream, patience, end, buffer: Vec::new(), extensions: Vec::new() };
        session.hello()?;
        Ok(session)
    }

    fn hello(&mut self) -> Result<(), Unsent> {
        // What a client says that has no name of its own.
        let answer = self.command("EHLO [127.0.0.1]\r\n")?;
        self.extensions = answer.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// Whether the server has this extension.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|line| line.split(' ').next() == Some(extension))
    }

    /// Whether one can log in so.
    pub(super) fn offers_login(&self, mechanism: &str) -> bool {
        // Old servers say it with `=`.
        let offered = self.extensions.iter().filter_map(|line| line.strip_prefix("AUTH"));
        offered.flat_map(|offered| offered.split([' ', '='])).any(|offered| offered == mechanism)
    }

    /// The connection, to be encrypted: nothing may have been said before that.
    pub(super) fn into_stream(self) -> Result<S, Unsent> {
        match self.buffer.is_empty() {
            true => Ok(self.stream),
            false => Err(Unsent::refused("the server spoke before the connection was encrypted")),
        }
    }

    /// Gives a command that ends its line; what the server answers, which is no refusal.
    pub(super) fn command(&mut self, command: impl fmt::Display) -> Result<Answer, Unsent> {
        self.say(command.to_string().as_bytes())?;
        self.accepted()
    }

    /// Sends a message after `DATA`. `before` is done when all of it is sent but its end.
    pub(super) fn content(
        &mut self,
        raw: &[u8],
        before: impl FnOnce() -> Result<(), MailError>,
    ) -> Result<Answer, Unsent> {
        for chunk in dotted(raw).chunks(CHUNK) {
            if let Err(error) = self.say(chunk) {
                // It may have said why it does not listen any more.
                return Err(match self.answer() {
                    Ok(answer) if answer.code >= 400 => answer.refusal(),
                    _ => error.into(),
                });
            }
        }
        before()?;
        let uncertain = |error| Unsent { fate: Fate::Uncertain, error };
        self.say(b".\r\n").map_err(uncertain)?;
        match self.answer().map_err(uncertain)? {
            answer if answer.code < 300 => Ok(answer),
            // Only a server's own no says that it did not take it.
            answer if answer.code >= 400 => Err(answer.refusal()),
            answer => {
                let told = format!("the server answered {} to the message", answer.code);
                Err(uncertain(MailError::new(MailCode::Provider, &told)))
            }
        }
    }

    /// Says goodbye; what becomes of it is of no interest, and is not waited for long.
    pub(super) fn end(mut self) {
        self.end = self.end.min(Instant::now() + GOODBYE);
        let _ = self.command("QUIT\r\n");
    }

    fn accepted(&mut self) -> Result<Answer, Unsent> {
        match self.answer()? {
            answer if answer.code >= 400 => Err(answer.refusal()),
            answer => Ok(answer),
        }
    }

    fn wait(&mut self) {
        self.stream.wait_until(self.end.min(Instant::now() + self.patience));
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        self.wait();
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(|error| self.failed(&error))
    }

    /// The next answer of the server.
    fn answer(&mut self) -> Result<Answer, MailError> {
        self.wait();
        let (mut code, mut lines, mut size) = (None, Vec::new(), 0);
        loop {
            let line = self.line()?;
            size += line.len();
            let read = read(&line).filter(|(own, _, _)| code.is_none_or(|code| code == *own));
            let Some((own, is_last, text)) = read else {
                let said = String::from_utf8_lossy(&line[..line.len().min(REPEATED)]).into_owned();
                return Err(nonsense(&format!("says what is no SMTP: `{said}`")));
            };
            if size > ANSWER {
                return Err(nonsense("says too much in one answer"));
            }
            lines.push(text);
            if is_last {
                return Ok(Answer { code: own, lines });
            }
            code = Some(own);
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, MailError> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return match line.len() > LINE {
                    true => Err(nonsense("says too much in one line")),
                    false => Ok(line),
                };
            }
            searched = self.buffer.len();
            if searched > LINE {
                return Err(nonsense("says too much in one line"));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(broken(&"the server ended the connection")),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    fn failed(&self, error: &io::Error) -> MailError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if Instant::now() >= self.end => {
                broken(&"the message took longer than it may")
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                broken(&format!("the server did not answer for {:?}", self.patience))
            }
            _ => broken(error),
        }
    }
}

/// The code of a line of an answer, whether it is the last one, and what it says.
fn read(line: &[u8]) -> Option<(u16, bool, String)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let is_last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default()).into_owned();
    (200..600).contains(&code).then_some((code, is_last, text))
}

/// A message as it is sent: each of its lines ends with CR LF, so that no server takes a part of it
/// for its end, and one that begins with a dot has another before it.
fn dotted(raw: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(raw.len() + raw.len() / 64 + 2);
    for line in lines(raw) {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

fn nonsense(what: &str) -> MailError {
    MailError::new(MailCode::Provider, &format!("the server {what}"))
}

#[cfg(test)]
mod tests {
    use super::{dotted, read};

    #[test]
    fn a_message_has_one_end_and_it_is_ours() {
        assert_eq!(dotted(b"a\r\n.b\r\n..\r\n"), b"a\r\n..b\r\n...\r\n");
        assert_eq!(dotted(b"a\n.\nb\r.\r\r\nc"), b"a\r\n..\r\nb\r\n..\r\n\r\nc\r\n");
        assert_eq!(dotted(b"."), b"..\r\n");
        assert_eq!(dotted(b""), b"");
    }

    #[test]
    fn a_line_of_an_answer_has_a_code_and_says_whether_more_comes() {
        assert_eq!(read(b"250-PIPELINING"), Some((250, false, "PIPELINING".to_owned())));
        assert_eq!(read(b"250"), Some((250, true, String::new())));
        assert_eq!(read(b"550 5.7.1 no"), Some((550, true, "5.7.1 no".to_owned())));
        for line in ["25", "2500", "+25 x", "999 x", "150 x", "ok", ""] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
