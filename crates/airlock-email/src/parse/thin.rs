//! Large messages, read as they come.
//!
//! What makes a message large is nearly always files. They are decoded to the disk as they come, and a mark that nobody can guess stands in their place, so that what is left can be
//! read as any message is, and memory does not depend on how large it was.

mod spill;

use std::collections::BTreeSet;

use airlock_core::{Digest, MailError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::Mailbox;
use crate::attachments::unusable;
pub(super) use spill::Spilled;
use spill::{Encoding, Spill, digest};

/// Bytes of a file that stay in the message, as it is encoded.
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

/// Boundaries of parts that are known again.
const BOUNDARIES: usize = 1_000;

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

/// Reads a message as it comes.
pub(crate) struct Thinner<'a> {
    mailbox: &'a Mailbox,
    whole: Sha256,
    marks: Marks,
    line: Vec<u8>,
    /// The header of the part that is read, in lower case, until it ends.
    header: Option<Vec<u8>>,
    /// Where that header begins in what is left.
    header_at: usize,
    /// What the messages says that its parts are separated by, in lower case.
    boundaries: BTreeSet<Vec<u8>>,
    content: Content,
    reduced: Vec<u8>,
    files: Vec<Spilled>,
    is_broken: bool,
}

/// What a part has.
enum Content {
    /// So many bytes, which are in base64 or not.
    Any(usize, bool),
    /// A file, of which this much is here, as it is encoded.
    Held(Encoding, Vec<u8>),
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
            header_at: 0,
            boundaries: BTreeSet::new(),
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
                let header = unfolded(&self.header.take().unwrap_or_default());
                self.know_boundary(&header);
                self.content = content(&header);
            }
            return Ok(());
        }
        // What may end a part. Of a text, the lines up to the next empty one are not looked at.
        let is_end = match &self.content {
            Content::Held(encoding, _) => encoding.is_base64() || self.is_boundary(line),
            Content::Spilling(spill) => spill.encoding.is_base64() || self.is_boundary(line),
            Content::Any(..) => true,
        };
        if line.starts_with(b"--") && is_end {
            self.end_content()?;
            (self.header, self.header_at) = (Some(Vec::new()), self.reduced.len());
            self.keep(line);
            return Ok(());
        }
        let encoding = match &self.content {
            Content::Any(..) => {
                self.any(line);
                return Ok(());
            }
            Content::Held(encoding, _) => *encoding,
            Content::Spilling(spill) => spill.encoding,
        };
        match encoding.takes(line) {
            true => self.file(encoding, line),
            false => {
                self.end_content()?;
                self.any(line);
                Ok(())
            }
        }
    }

    fn is_boundary(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii().to_ascii_lowercase();
        let Some(name) = line.strip_prefix(b"--") else { return false };
        let is_known = |name: &[u8]| self.boundaries.contains(name);
        is_known(name) || name.strip_suffix(b"--").is_some_and(is_known)
    }

    /// Knows again what separates parts, as a header says it, in lower case.
    fn know_boundary(&mut self, header: &[u8]) {
        for at in memchr::memmem::find_iter(header, b"boundary") {
            let Some(value) = header[at + 8..].trim_ascii_start().strip_prefix(b"=") else { continue };
            let value = value.trim_ascii_start();
            let value = match value.strip_prefix(b"\"") {
                Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
                None => value.split(|byte| *byte == b';' || byte.is_ascii_whitespace()).next(),
            };
            let value = value.unwrap_or_default().trim_ascii_end();
            if !value.is_empty() && self.boundaries.len() < BOUNDARIES {
                self.boundaries.insert(value.to_vec());
            }
        }
    }

    fn any(&mut self, line: &[u8]) {
        // The header of a message within the message.
        if line.contains(&b'=') {
            self.know_boundary(&line.to_ascii_lowercase());
        }
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

    /// Takes a line of a file.
    fn file(&mut self, encoding: Encoding, line: &[u8]) -> Result<(), MailError> {
        match &mut self.content {
            Content::Held(_, held) if held.len() + line.len() <= HELD || self.files.len() >= FILES => {
                held.extend_from_slice(line);
                // Where there are too many files, the rest of one is left out.
                if held.len() > CONTENT {
                    self.is_broken = true;
                    held.clear();
                }
                Ok(())
            }
            Content::Held(_, held) => {
                let held = std::mem::take(held);
                let mut spill = Spill::of(self.mailbox, encoding, &held)?;
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
            Content::Held(encoding, held)
                if self.reduced.len() + held.len() > REDUCED / 2 && self.files.len() < FILES =>
            {
                self.put_mark(Spill::of(self.mailbox, encoding, &held)?)?;
            }
            Content::Held(_, held) => self.keep(&held),
            Content::Spilling(spill) => self.put_mark(spill)?,
        }
        Ok(())
    }

    fn put_mark(&mut self, spill: Spill) -> Result<(), MailError> {
        let mark = self.marks.file(self.files.len());
        let mark = if spill.encoding.is_base64() { STANDARD.encode(mark) } else { mark };
        self.files.push(spill.finish()?);
        // In another character set it would be another mark.
        let header = self.reduced.get_mut(self.header_at..).unwrap_or_default();
        let lower = header.to_ascii_lowercase();
        for at in memchr::memmem::find_iter(&lower, b"charset") {
            header[at] = b'x';
        }
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

/// A header with each of its fields in one line.
fn unfolded(header: &[u8]) -> Vec<u8> {
    let mut unfolded: Vec<u8> = Vec::with_capacity(header.len());
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            unfolded.truncate(unfolded.trim_ascii_end().len());
        }
        unfolded.extend_from_slice(line);
    }
    unfolded
}

/// What kind of content a header announces, in lower case. The parser reads headers well; whether to
/// hold something in memory needs no more than this.
fn content(header: &[u8]) -> Content {
    let said = |name: &[u8]| {
        let line = header.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
        line.map(<[u8]>::trim_ascii).unwrap_or_default()
    };
    let encoding = said(b"content-transfer-encoding:");
    let encoding = match (encoding.starts_with(b"base64"), encoding.starts_with(b"quoted-printable")) {
        (true, _) => Encoding::Base64,
        (_, true) => Encoding::QuotedPrintable,
        _ => Encoding::None,
    };
    let kind = said(b"content-type:");
    let is = |kinds: &[&[u8]]| kinds.iter().any(|beginning| kind.starts_with(beginning));
    let is_text = kind.is_empty() || is(&[b"text/"]);
    let is_attached = said(b"content-disposition:").starts_with(b"attachment");
    // What has parts or a header of its own is read on, where it is not encoded.
    let is_file = (!is_text || is_attached) && (encoding.is_base64() || !is(&[b"multipart/", b"message/"]));
    match is_file {
        true => Content::Held(encoding, Vec::new()),
        false => Content::Any(0, encoding.is_base64()),
    }
}

#[cfg(test)]
mod tests;
