//! What would make the parser large or deep.
//!
//! The parser nests as deep as messages are in messages, and frees what it found by recursion;
//! a message within an encoded one it copies once for each that is nested in it. No mail
//! program encodes a message within a message (RFC 2046, 5.2.1 forbids it), so such a part is
//! taken for a file.

use std::borrow::Cow;

use memchr::memmem::{self, find};
use memchr::{memchr, memchr_iter};

/// Parts that a message may have, counted by what says that there is one.
const PARTS: usize = 10_000;

/// Bytes that may be gone through for ends of parts: where one has none, the parser looks for it to the
/// end of the message, for each part that has parts.
const SEARCHED: usize = 4 << 30;

/// Messages within messages.
const NESTED: usize = 50;

/// Lines of all headers.
const HEADER_LINES: usize = 100_000;

/// What a message within an encoded message is called instead.
const CALLED: &[u8] = b"xessage";

/// `raw` as it can be given to the parser, or why it cannot.
pub(super) fn defuse(raw: &[u8], maximum: usize) -> Result<Cow<'_, [u8]>, &'static str> {
    if raw.len() > maximum {
        return Err("it is larger than 50 MB");
    }
    let (mut parts, mut nested, mut lines, mut searched) = (0, 0, 0, 0_usize);
    let mut bytes = Cow::Borrowed(raw);
    for block in blocks(raw) {
        let text = &raw[block.clone()];
        lines += memchr_iter(b'\n', text).count();
        if lines > HEADER_LINES {
            return Err("its headers have too many lines");
        }
        let lower = text.to_ascii_lowercase();
        let is_encoded =
            [&b"base64"[..], b"quoted-printable"].iter().any(|name| find(&lower, name).is_some());
        // A comment may hold anything, and so does what comes after it.
        let has_comment = lower.contains(&b'(');
        let types: Vec<usize> = memmem::find_iter(&lower, b"content-type").collect();
        for (index, at) in types.iter().enumerate() {
            parts += 1;
            if parts > PARTS {
                return Err("it has more than 10,000 parts");
            }
            // Up to the next one: each byte is looked at once.
            let said = &lower[*at..types.get(index + 1).copied().unwrap_or(lower.len())];
            let end = if has_comment { None } else { memchr(b';', said) };
            let said = &said[..end.unwrap_or(said.len())];
            searched = searched.saturating_add(memmem::find_iter(said, b"multipart").count() * raw.len());
            if searched > SEARCHED {
                return Err("it has too many parts that have parts");
            }
            for found in memmem::find_iter(said, b"message/") {
                nested += 1;
                if is_encoded {
                    let start = block.start + at + found;
                    bytes.to_mut()[start..start + CALLED.len()].copy_from_slice(CALLED);
                }
            }
            // The parts of a digest are messages without saying so; they are shown as text.
            for found in memmem::find_iter(said, b"digest") {
                let start = block.start + at + found;
                bytes.to_mut()[start..start + 6].copy_from_slice(b"mixed ");
            }
        }
        if nested > NESTED {
            return Err("it has messages nested too deep");
        }
    }
    Ok(bytes)
}

/// A media type as it was before.
pub(super) fn restored(content_type: String) -> String {
    match content_type.strip_prefix("xessage/") {
        Some(subtype) => format!("message/{subtype}"),
        None => content_type,
    }
}

/// Where there may be a header: lines up to an empty one, at the beginning and wherever one of
/// them says what type something is.
fn blocks(raw: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        while from < raw.len() {
            let (start, end) = (from, block_end(raw, from));
            from = end;
            let block = &raw[start..end];
            let is_header = |line: usize| {
                block.get(line..line + 12).is_some_and(|name| name.eq_ignore_ascii_case(b"content-type"))
            };
            if start == 0 || is_header(0) || memchr_iter(b'\n', block).any(|at| is_header(at + 1)) {
                return Some(start..end);
            }
        }
        None
    })
}

/// Where the next empty line ends.
fn block_end(raw: &[u8], from: usize) -> usize {
    let mut start = from;
    for end in memchr_iter(b'\n', &raw[from..]) {
        let line = &raw[start..from + end];
        start = from + end + 1;
        if line.is_empty() || line == b"\r" {
            return start;
        }
    }
    raw.len()
}
