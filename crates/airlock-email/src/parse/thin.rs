//! Large messages, read as they come.
//!
//! What makes a message large is nearly always files in base64. They are decoded to the disk as
//! they come, and a mark that nobody can guess stands in their place, so that what is left can be
//! read as any message is, and memory does not depend on how large it was.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use airlock_core::{Digest, MailError};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::Mailbox;
use crate::attachments::unusable;

/// Bytes of a file in base64 that stay in the message.
const HELD: usize = 256 << 10;

/// Bytes of any other content of a part that stay in the message.
const CONTENT: usize = 2 << 20;

/// Bytes of what is left of a message, and with the lines that hold its parts together.
const REDUCED: usize = 4 << 20;
const HOLDING: usize = REDUCED + (1 << 20);

/// Bytes of a header that are looked at, and of a line that is one.
const HEADER: usize = 16 << 10;
const LINE: usize = 16 << 10;

/// Files that are decoded to the disk.
const FILES: usize = 1_000;

/// The beginning of the names of files that are being written, and how long they may be.
const UNFINISHED: &str = ".unfinished-";
const DAY: Duration = Duration::from_secs(86_400);

/// What is left of a large message.
pub(crate) struct Thinned {
    /// Of the whole.
    pub(super) digest: Digest,
    pub(super) reduced: Vec<u8>,
    pub(super) marks: Marks,
    pub(super) files: Vec<Spilled>,
    /// Why it is kept with its header alone.
    pub(super) reason: Option<&'static str>,
}

/// What stands where something was taken out.
pub(super) struct Marks(String);

impl Marks {
    fn new() -> Result<Self, MailError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| unusable(&std::io::Error::other(error.to_string())))?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Marks(format!("airlock-{hex}-")))
    }

    fn file(&self, index: usize) -> String {
        format!("{}{index}.", self.0)
    }

    fn cut(&self) -> String {
        format!("{}cut.", self.0)
    }

    /// Whether something was taken out of this, and which file if it was all of it.
    pub(super) fn of(&self, content: &[u8]) -> Option<Option<usize>> {
        // In a message within the message it stands as it is encoded.
        let encoded = STANDARD.encode(&self.0[..self.0.len() / 3 * 3]);
        [self.0.as_bytes(), encoded.as_bytes()]
            .iter()
            .find_map(|mark| memchr::memmem::find(content, mark))?;
        let whole = std::str::from_utf8(content).ok().map(str::trim);
        let index = whole.and_then(|whole| whole.strip_prefix(&self.0)?.strip_suffix('.')?.parse().ok());
        Some(index)
    }

    /// A text with words for people in the place of marks.
    pub(super) fn worded(&self, text: &str) -> String {
        let mut parts = text.split(&self.0);
        let mut worded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            worded.push_str("[the rest of this part is left out]");
            worded.push_str(part.split_once('.').map_or("", |(_, rest)| rest));
        }
        worded
    }
}

/// A file that was decoded to the disk.
pub(super) struct Spilled {
    /// None where it has more bytes than may be kept.
    pub(super) file: Option<NamedTempFile>,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Reads a message as it comes.
pub(crate) struct Thinner<'a> {
    mailbox: &'a Mailbox,
    whole: Sha256,
    marks: Marks,
    line: Vec<u8>,
    /// The header of the part that is read, in lower case, until it ends.
    header: Option<Vec<u8>>,
    content: Content,
    reduced: Vec<u8>,
    files: Vec<Spilled>,
    is_broken: bool,
}

/// What a part has.
enum Content {
    /// So many bytes, which are in base64 or not.
    Any(usize, bool),
    /// A file in base64, of which this much is here.
    Held(Vec<u8>),
    /// One that goes to the disk.
    Spilling(Spill),
}

impl<'a> Thinner<'a> {
    pub(crate) fn new(mailbox: &'a Mailbox) -> Result<Self, MailError> {
        Ok(Thinner {
            mailbox,
            whole: Sha256::new(),
            marks: Marks::new()?,
            line: Vec::new(),
            header: Some(Vec::new()),
            content: Content::Any(0, false),
            reduced: Vec::new(),
            files: Vec::new(),
            is_broken: false,
        })
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), MailError> {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let end = end.min(LINE.saturating_sub(self.line.len()).max(1));
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.line.ends_with(b"\n") || self.line.len() >= LINE {
                let line = std::mem::take(&mut self.line);
                self.line(&line)?;
                self.line = line;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// What is left of the message, which is all there.
    pub(crate) fn finish(mut self) -> Result<Thinned, MailError> {
        let last = std::mem::take(&mut self.line);
        self.line(&last)?;
        self.end_content()?;
        let reason = self.is_broken.then_some("it has too many parts to be read");
        let digest = digest(self.whole);
        Ok(Thinned { digest, reduced: self.reduced, marks: self.marks, files: self.files, reason })
    }

    /// What is left of one of which only the beginning is there, and which has so many bytes.
    pub(crate) fn give_up(mut self, size: usize) -> Thinned {
        self.whole.update(format!("\n{size}"));
        let reason = Some("it is larger than 50 MB");
        let digest = digest(self.whole);
        Thinned { digest, reduced: self.reduced, marks: self.marks, files: Vec::new(), reason }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), MailError> {
        if let Some(header) = &mut self.header {
            if header.len() < HEADER {
                header.extend(line.iter().map(u8::to_ascii_lowercase));
            }
            self.keep(line);
            if line.trim_ascii().is_empty() {
                let header = self.header.take().unwrap_or_default();
                self.content = content(&header);
            }
            return Ok(());
        }
        // What may end a part. Of a text, the lines up to the next empty one are not looked at.
        if line.starts_with(b"--") {
            self.end_content()?;
            self.header = Some(Vec::new());
            self.keep(line);
            return Ok(());
        }
        if matches!(self.content, Content::Any(..)) {
            self.any(line);
            return Ok(());
        }
        match line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte)) {
            true => self.base64(line),
            false => {
                self.end_content()?;
                self.any(line);
                Ok(())
            }
        }
    }

    fn any(&mut self, line: &[u8]) {
        let Content::Any(bytes, is_base64) = &mut self.content else { return };
        let before = *bytes;
        *bytes = before.saturating_add(line.len());
        if *bytes <= CONTENT && self.reduced.len() + line.len() > REDUCED {
            *bytes = CONTENT + 1;
        }
        let (is_over, is_base64) = (*bytes > CONTENT, *is_base64);
        match (is_over, before > CONTENT) {
            (false, _) => self.keep(line),
            (true, true) => {}
            (true, false) => {
                let mark = self.marks.cut();
                let mark = if is_base64 { STANDARD.encode(mark) } else { mark };
                self.keep(format!("\r\n{mark}\r\n").as_bytes());
            }
        }
    }

    fn base64(&mut self, line: &[u8]) -> Result<(), MailError> {
        match &mut self.content {
            Content::Held(held) if held.len() + line.len() <= HELD || self.files.len() >= FILES => {
                held.extend_from_slice(line);
                // Where there are too many files, the rest of one is left out.
                if held.len() > CONTENT {
                    self.is_broken = true;
                    held.clear();
                }
                Ok(())
            }
            Content::Held(held) => {
                let held = std::mem::take(held);
                let mut spill = Spill::new(self.mailbox)?;
                spill.take(&held)?;
                spill.take(line)?;
                self.content = Content::Spilling(spill);
                Ok(())
            }
            Content::Spilling(spill) => spill.take(line),
            Content::Any(..) => Ok(()),
        }
    }

    fn end_content(&mut self) -> Result<(), MailError> {
        match std::mem::replace(&mut self.content, Content::Any(0, false)) {
            Content::Any(..) => {}
            // Many small files are as large as a large one.
            Content::Held(held)
                if self.reduced.len() + held.len() > REDUCED / 2 && self.files.len() < FILES =>
            {
                let mut spill = Spill::new(self.mailbox)?;
                spill.take(&held)?;
                self.put_mark(spill)?;
            }
            Content::Held(held) => self.keep(&held),
            Content::Spilling(spill) => self.put_mark(spill)?,
        }
        Ok(())
    }

    fn put_mark(&mut self, spill: Spill) -> Result<(), MailError> {
        let mark = STANDARD.encode(self.marks.file(self.files.len()));
        self.files.push(spill.finish()?);
        self.keep(format!("{mark}\r\n").as_bytes());
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.reduced.len() + bytes.len() <= HOLDING {
            true => self.reduced.extend_from_slice(bytes),
            false => self.is_broken = true,
        }
    }
}

/// What kind of content a header announces. The parser reads headers well; whether to hold
/// something in memory needs no more than this.
fn content(header: &[u8]) -> Content {
    let said = |name: &[u8]| {
        let line = header.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
        line.map(<[u8]>::trim_ascii).unwrap_or_default()
    };
    let is_base64 = said(b"content-transfer-encoding:").starts_with(b"base64");
    let is_text = matches!(said(b"content-type:"), b"") || said(b"content-type:").starts_with(b"text/");
    let is_attached = said(b"content-disposition:").starts_with(b"attachment");
    match is_base64 && (!is_text || is_attached) {
        true => Content::Held(Vec::new()),
        false => Content::Any(0, is_base64),
    }
}

/// Base64 that is decoded to a file.
struct Spill {
    file: Option<NamedTempFile>,
    hash: Sha256,
    size: u64,
    maximum: u64,
    /// What is not decoded yet.
    rest: Vec<u8>,
    has_ended: bool,
}

impl Spill {
    fn new(mailbox: &Mailbox) -> Result<Self, MailError> {
        let file = mailbox.attachments_path().and_then(|folder| {
            sweep(&folder)?;
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
        });
        let file = Some(file.map_err(|error| unusable(&error))?);
        let (hash, maximum) = (Sha256::new(), mailbox.policy().max_bytes);
        Ok(Spill { file, hash, size: 0, maximum, rest: Vec::new(), has_ended: false })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        for byte in bytes {
            // After the padding there is nothing.
            self.has_ended |= *byte == b'=';
            if !self.has_ended && !byte.is_ascii_whitespace() {
                self.rest.push(*byte);
            }
        }
        let whole = self.rest.len() / 4 * 4;
        self.decode(whole)
    }

    fn decode(&mut self, length: usize) -> Result<(), MailError> {
        let decoded = STANDARD_NO_PAD.decode(&self.rest[..length]).unwrap_or_default();
        self.rest.drain(..length);
        self.hash.update(&decoded);
        self.size += decoded.len() as u64;
        if self.size > self.maximum {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => file.write_all(&decoded).map_err(|error| unusable(&error)),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Spilled, MailError> {
        self.decode(self.rest.len())?;
        Ok(Spilled { file: self.file, digest: digest(self.hash), size: self.size })
    }
}

/// Removes what a process that was killed has left.
fn sweep(folder: &std::path::Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_left =
            || Some(SystemTime::now().duration_since(entry.metadata().ok()?.modified().ok()?).ok()? > DAY);
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && is_left() == Some(true) {
            // Another process may be faster.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn digest(hash: Sha256) -> Digest {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().expect("these are 64 digits")
}

#[cfg(test)]
mod tests;
