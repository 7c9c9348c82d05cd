//! Base64 with characters that mean nothing, and files in the midst of a text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{Message, MessagePart, MimeHeaders as _};

use super::Attached;

/// Files in a text that are decoded, and bytes of one.
const FILES: usize = 100;
const FILE: usize = 25 << 20;

/// A message with the base64 of its parts as it should have been: what is outside of the alphabet is
/// left out (RFC 2045, 6.8), where it is little enough for the rest to be base64.
pub(super) fn repaired(raw: &[u8], parsed: &Message<'_>) -> Option<Vec<u8>> {
    let mut repaired: Option<Vec<u8>> = None;
    let mut from = 0;
    for part in parsed.parts.iter().filter(|part| part.is_encoding_problem) {
        let encoding = part.content_transfer_encoding().unwrap_or_default();
        let (start, end) = (part.offset_body as usize, part.offset_end as usize);
        if !encoding.eq_ignore_ascii_case("base64") || start < from {
            continue;
        }
        let Some(content) = raw.get(start..end).and_then(|content| base64(content, part)) else { continue };
        let repaired = repaired.get_or_insert_with(|| Vec::with_capacity(raw.len()));
        repaired.extend_from_slice(&raw[from..start]);
        for line in STANDARD.encode(content).as_bytes().chunks(76) {
            repaired.extend_from_slice(line);
            repaired.extend_from_slice(b"\r\n");
        }
        from = end;
    }
    let mut repaired = repaired?;
    repaired.extend_from_slice(&raw[from..]);
    Some(repaired)
}

/// What is decoded of base64 up to its padding, where it is that.
fn base64(content: &[u8], part: &MessagePart<'_>) -> Option<Vec<u8>> {
    let (mut letters, mut strange) = (Vec::with_capacity(content.len()), 0);
    'lines: for line in content.split(|byte| *byte == b'\n') {
        for byte in line.trim_ascii() {
            match byte {
                // After the padding there is nothing: lists put their own lines there.
                b'=' if letters.len() % 4 >= 2 => break 'lines,
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'/' => letters.push(*byte),
                _ => strange += 1,
            }
        }
    }
    if letters.is_empty() || strange * 5 > letters.len() + strange {
        return None;
    }
    // Half of a letter is none.
    letters.truncate(letters.len() - usize::from(letters.len() % 4 == 1));
    let decoded = STANDARD_NO_PAD.decode(&letters).or_else(|_| {
        letters.truncate(letters.len() / 4 * 4);
        STANDARD_NO_PAD.decode(&letters)
    });
    let decoded = decoded.ok()?;
    let kind = part.content_type();
    let is_text = kind.is_none_or(|kind| kind.ctype().eq_ignore_ascii_case("text"));
    if !is_text {
        return Some(decoded);
    }
    // What somebody wrote and called base64 is no text once it is decoded.
    let charset = kind.and_then(|kind| kind.attribute("charset"));
    let text = match charset.and_then(|charset| charset_decoder(charset.as_bytes())) {
        Some(decode) => decode(&decoded),
        None => String::from_utf8_lossy(&decoded).into_owned(),
    };
    let is_no_text =
        |c: char| c == char::REPLACEMENT_CHARACTER || c.is_control() && !c.is_whitespace() && c != '\u{1b}';
    (!text.contains(is_no_text)).then_some(decoded)
}

/// A text without the files in it that `begin 644 name` starts, and those.
pub(super) fn without_files(text: &str, attached: &mut Vec<Attached>) -> Option<String> {
    if !text.contains("begin ") {
        return None;
    }
    let mut kept: Option<String> = None;
    let (mut rest, mut done) = (text, 0);
    while let Some((line, after)) = next_line(rest) {
        let before = text.len() - rest.len();
        rest = after;
        let Some(name) = begins(line).filter(|_| attached.len() < FILES) else { continue };
        let Some((content, after)) = file(after) else { continue };
        kept.get_or_insert_default().push_str(&text[done..before]);
        attached.push(Attached {
            filename: Some(super::text::file_name(name)).filter(|name| !name.is_empty()),
            content_type: content_type(name).to_owned(),
            content,
        });
        (rest, done) = (after, text.len() - after.len());
    }
    kept.map(|kept| kept + &text[done..])
}

fn next_line(text: &str) -> Option<(&str, &str)> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (!text.is_empty()).then(|| (line.strip_suffix('\r').unwrap_or(line), rest))
}

/// The name in a line that begins a file.
fn begins(line: &str) -> Option<&str> {
    let (mode, name) = line.strip_prefix("begin ")?.split_once(' ')?;
    let is_mode = (3..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    Some(name.trim()).filter(|name| is_mode && !name.is_empty())
}

/// What a file is whose lines these are, and what comes after its end.
fn file(mut text: &str) -> Option<(Vec<u8>, &str)> {
    let mut content = Vec::new();
    while let Some((line, rest)) = next_line(text) {
        text = rest;
        if line.trim_end() == "end" {
            return Some((content, text));
        }
        let (count, letters) = line.as_bytes().split_first()?;
        if !(b' '..=b'`').contains(count) || content.len() > FILE {
            return None;
        }
        let count = usize::from((count - b' ') & 63);
        // Spaces at the end of a line may be lost; they are zeros. Some put a letter more there.
        let lost = count.div_ceil(3) * 4;
        if letters.len() > lost + 3 || !letters.iter().all(|letter| (b' '..=b'`').contains(letter)) {
            return None;
        }
        let mut letters = letters.to_vec();
        letters.resize(lost, b' ');
        let bits = |letter: u8| u32::from((letter - b' ') & 63);
        let decoded = letters.chunks_exact(4).flat_map(|four| {
            let bits = four.iter().fold(0, |all, letter| all << 6 | bits(*letter));
            bits.to_be_bytes().into_iter().skip(1)
        });
        content.extend(decoded.take(count));
    }
    None
}

/// What a file is by its name: nothing else says it.
fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("pdf") => "application/pdf",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("txt") => "text/plain",
        Some("zip") => "application/zip",
        _ => "application/octet-stream",
    }
}
