//! A file of a message that goes to the disk, decoded.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use airlock_core::{Digest, MailError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::Mailbox;
use crate::attachments::unusable;

/// The beginning of the names of files that are being written, and how long they may be.
const UNFINISHED: &str = ".unfinished-";
const DAY: Duration = Duration::from_secs(86_400);

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Base64,
    QuotedPrintable,
    /// Its bytes are there as they are.
    None,
}

impl Encoding {
    pub(super) fn is_base64(self) -> bool {
        self == Encoding::Base64
    }

    /// Whether a line can be one of a file that is encoded so. Some put a character between that means
    /// nothing (RFC 2045, 6.8).
    pub(super) fn takes(self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        let strange = line.iter().filter(|byte| !is_base64(**byte)).count();
        !self.is_base64() || strange * 4 <= line.len().max(12)
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

/// A file that was decoded to the disk.
pub(in crate::parse) struct Spilled {
    /// None where it has more bytes than may be kept.
    pub(in crate::parse) file: Option<NamedTempFile>,
    pub(in crate::parse) digest: Digest,
    pub(in crate::parse) size: u64,
}

/// A file that is being decoded to the disk.
pub(super) struct Spill {
    pub(super) encoding: Encoding,
    file: Option<NamedTempFile>,
    hash: Sha256,
    size: u64,
    maximum: u64,
    /// What is not decoded yet: of base64 less than four letters, else the end of a line, which belongs
    /// to the boundary where that comes next.
    rest: Vec<u8>,
    has_ended: bool,
}

impl Spill {
    /// One of which this much is here.
    pub(super) fn of(mailbox: &Mailbox, encoding: Encoding, held: &[u8]) -> Result<Self, MailError> {
        let file = mailbox.attachments_path().and_then(|folder| {
            sweep(&folder)?;
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
        });
        let file = Some(file.map_err(|error| unusable(&error))?);
        let (hash, maximum) = (Sha256::new(), mailbox.policy().max_bytes);
        let mut spill = Spill { encoding, file, hash, size: 0, maximum, rest: Vec::new(), has_ended: false };
        held.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| spill.take(line))?;
        Ok(spill)
    }

    /// Takes a line, or a part of one that is long.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), MailError> {
        match self.encoding {
            Encoding::Base64 => {
                for byte in line.iter().filter(|byte| is_base64(**byte)) {
                    // After the padding there is nothing.
                    self.has_ended |= *byte == b'=';
                    if !self.has_ended {
                        self.rest.push(*byte);
                    }
                }
                self.decode(self.rest.len() / 4 * 4)
            }
            Encoding::QuotedPrintable => self.quoted_printable(line),
            Encoding::None => {
                let before = std::mem::take(&mut self.rest);
                self.write(&before)?;
                let (line, end) = split_end(line);
                self.rest.extend_from_slice(end);
                self.write(line)
            }
        }
    }

    fn decode(&mut self, length: usize) -> Result<(), MailError> {
        let decoded = STANDARD_NO_PAD.decode(&self.rest[..length]).unwrap_or_default();
        self.rest.drain(..length);
        self.write(&decoded)
    }

    fn quoted_printable(&mut self, line: &[u8]) -> Result<(), MailError> {
        let before = std::mem::take(&mut self.rest);
        let line = match before.ends_with(b"\n") {
            true => {
                self.write(&before)?;
                line.to_vec()
            }
            false => [&before, line].concat(),
        };
        let (mut text, end) = split_end(&line);
        let mut rest = end;
        if end.is_empty() {
            // A part of a line may end within a letter.
            let at =
                text.len() - text.iter().rev().take(2).position(|byte| *byte == b'=').map_or(0, |at| at + 1);
            (text, rest) = text.split_at(at);
        } else {
            text = text.trim_ascii_end();
            if let Some(soft) = text.strip_suffix(b"=") {
                (text, rest) = (soft, &[]);
            }
        }
        let mut decoded = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
            match text.get(at + 1..at + 3).filter(|_| *byte == b'=').and_then(hex) {
                Some(letter) => {
                    decoded.push(letter);
                    at += 3;
                }
                None => {
                    decoded.push(*byte);
                    at += 1;
                }
            }
        }
        self.rest = rest.to_vec();
        self.write(&decoded)
    }

    fn write(&mut self, decoded: &[u8]) -> Result<(), MailError> {
        self.hash.update(decoded);
        self.size += decoded.len() as u64;
        if self.size > self.maximum {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => file.write_all(decoded).map_err(|error| unusable(&error)),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<Spilled, MailError> {
        match self.encoding {
            Encoding::Base64 => self.decode(self.rest.len())?,
            Encoding::QuotedPrintable | Encoding::None => {
                let rest = std::mem::take(&mut self.rest);
                self.write(split_end(&rest).0)?;
            }
        }
        Ok(Spilled { file: self.file, digest: digest(self.hash), size: self.size })
    }
}

/// A line, and what ends it.
fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let length = match line {
        [.., b'\r', b'\n'] => line.len() - 2,
        [.., b'\n'] => line.len() - 1,
        _ => line.len(),
    };
    line.split_at(length)
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

pub(super) fn digest(hash: Sha256) -> Digest {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().expect("these are 64 digits")
}
