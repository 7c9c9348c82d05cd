//! Messages as they come, read into what is kept.
//!
//! Mail is written by anybody. The parser under this takes any bytes, but keeps what it finds in
//! memory and nests as deep as they say; so what would make it large or deep is counted
//! before, and a message beyond the bounds is kept with its header alone, and says so.

mod defuse;
mod lenient;
mod text;
mod thin;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use airlock_core::{Digest, MailError};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{
    Address, HeaderName, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders as _, PartType,
};
use memchr::memmem;
use serde_json::json;

pub(crate) use thin::{Thinned, Thinner};

use crate::{Kept, Mailbox, NewMessage};

/// Bytes that a message may have to be read whole.
pub const MESSAGE_BYTES: usize = 50_000_000;

/// Bytes of a header that are read of a message beyond the bounds.
const HEADER_BYTES: usize = 64 << 10;

/// Characters of a snippet (PRX's).
const SNIPPET: usize = 120;

/// Why something attached is not kept: it is a message within a large one, of which parts went to the
/// disk, or the rest of it was left out.
const CUT: &str = "attachment is not whole: the message is too large for it to be held in memory";

/// Boundaries of parts that are looked for in a message that was cut: each look goes through all of it.
const BOUNDARIES: usize = 32;

/// Bytes of a subject, an address or an id that are kept, and of a list of them.
const FIELD: usize = 998;
const FIELDS: usize = 64 << 10;

/// A message that came.
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// When the server got it, in Unix seconds.
    pub received_at: i64,
    /// Its UID in the folder, where it has one, and its flags.
    pub place: Option<(u32, &'a str)>,
}

/// Something that is attached to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attached {
    filename: Option<String>,
    content_type: String,
    content: Vec<u8>,
}

impl Mailbox {
    /// Reads messages that came and keeps them, with what is attached to them as far as the
    /// policy allows.
    ///
    /// No message is refused for what is in it: one that cannot be read is kept as far as it
    /// can be.
    pub fn receive(
        &self,
        account: i64,
        folder: &str,
        messages: &[RawMessage<'_>],
    ) -> Result<Kept, MailError> {
        let _keeping = self.keeping()?;
        let read = messages.iter().map(|raw| self.read(raw)).collect::<Result<Vec<_>, _>>()?;
        self.sync_attachments()?;
        self.keep(account, folder, &read)
    }

    /// The same for one message, without keeping it; what is attached is.
    pub(crate) fn read(&self, raw: &RawMessage<'_>) -> Result<NewMessage, MailError> {
        let (mut message, attached) = read(raw.bytes);
        message.received_at = Some(raw.received_at);
        message.place = raw.place.map(|(uid, flags)| (uid, flags.to_owned()));
        let told = attached.into_iter().map(|attached| {
            let refused = self.policy().refusal(&attached.content_type, attached.content.len() as u64);
            let path = match refused {
                Some(_) => None,
                None => Some(self.keep_attachment(&attached.content)?),
            };
            Ok(attached.told(attached.content.len() as u64, path, refused))
        });
        let told = told.collect::<Result<Vec<_>, MailError>>()?;
        message.attachments_json = (!told.is_empty()).then(|| json!(told).to_string());
        Ok(message)
    }

    /// The same for what is left of a large message.
    pub(crate) fn read_thinned(&self, thinned: Thinned) -> Result<NewMessage, MailError> {
        let Thinned { digest, reduced, marks, mut files, reason } = thinned;
        let (mut message, attached) = match reason {
            None => read_as(digest, &reduced),
            Some(reason) => (header_alone(digest, &reduced, reason), Vec::new()),
        };
        let worded = |text: &mut Option<String>| {
            if let Some(text) = text {
                *text = marks.worded(text);
            }
        };
        worded(&mut message.body_text);
        worded(&mut message.body_html);
        message.snippet = message.body_text.as_deref().map(snippet);
        let told = attached.into_iter().map(|attached| {
            let file = marks.of(&attached.content).map(|index| index.and_then(|index| files.get_mut(index)));
            let size = match &file {
                Some(Some(file)) => file.size,
                _ => attached.content.len() as u64,
            };
            let (mut refused, mut path) = (self.policy().refusal(&attached.content_type, size), None);
            match file {
                _ if refused.is_some() => {}
                None => path = Some(self.keep_attachment(&attached.content)?),
                Some(file) => match file.and_then(|file| Some((file.file.take()?, file.digest))) {
                    Some((file, digest)) => path = Some(self.adopt_attachment(file, &digest)?),
                    // A part of it was left out.
                    None => refused = Some(CUT),
                },
            }
            Ok(attached.told(size, path, refused))
        });
        let told = told.collect::<Result<Vec<_>, MailError>>()?;
        message.attachments_json = (!told.is_empty()).then(|| json!(told).to_string());
        Ok(message)
    }
}

impl Attached {
    fn told(&self, size: u64, path: Option<String>, refused: Option<&str>) -> serde_json::Value {
        json!({
            "filename": self.filename,
            "content_type": self.content_type,
            "size": size,
            "local_path": path,
            "refused": refused,
        })
    }
}

/// Reads any bytes.
fn read(raw: &[u8]) -> (NewMessage, Vec<Attached>) {
    read_as(Digest::of(raw), raw)
}

/// Reads what is left of a message of that digest.
fn read_as(digest: Digest, raw: &[u8]) -> (NewMessage, Vec<Attached>) {
    let reason = match defuse::defuse(raw, MESSAGE_BYTES) {
        // The parser is fuzzed and says that it does not panic; mail of anybody is no place to
        // find out that it is wrong.
        Ok(bytes) => match catch_unwind(AssertUnwindSafe(|| read_whole(digest, &bytes))) {
            Ok(read) => return read,
            Err(_) => "it could not be read",
        },
        Err(reason) => reason,
    };
    (header_alone(digest, raw, reason), Vec::new())
}

/// A message that is kept without its content.
fn header_alone(digest: Digest, raw: &[u8], reason: &str) -> NewMessage {
    let header = &raw[..raw.len().min(HEADER_BYTES)];
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let parsed = MessageParser::default().parse_headers(header);
        parsed.map(|message| fields(digest, &message))
    }));
    let mut message = parsed.ok().flatten().unwrap_or_else(|| nothing(digest));
    let note = format!("[this message is kept without its content: {reason}]");
    (message.snippet, message.body_text) = (Some(note.clone()), Some(note));
    message
}

fn read_whole(digest: Digest, raw: &[u8]) -> (NewMessage, Vec<Attached>) {
    let Some(parsed) = MessageParser::default().parse(raw) else {
        // No header at all: all of it is text.
        let text = text::plain(&String::from_utf8_lossy(raw));
        let snippet = Some(snippet(&text));
        return (NewMessage { snippet, body_text: Some(text), ..nothing(digest) }, Vec::new());
    };
    if let Some(closed) = closed(raw, &parsed)
        && let Some(parsed) = MessageParser::default().parse(&closed)
    {
        return read_repaired(digest, &closed, &parsed);
    }
    read_repaired(digest, raw, &parsed)
}

/// The same, where base64 may have something between.
fn read_repaired(digest: Digest, raw: &[u8], parsed: &Message<'_>) -> (NewMessage, Vec<Attached>) {
    let repaired = lenient::repaired(raw, parsed);
    let again = repaired.as_ref().and_then(|repaired| MessageParser::default().parse(repaired));
    read_parsed(digest, again.as_ref().unwrap_or(parsed))
}

/// A message that was cut, with an end for each of its parts that has none: without one, the parser does
/// not decode the last.
fn closed(raw: &[u8], parsed: &Message<'_>) -> Option<Vec<u8>> {
    parsed.parts.last().filter(|last| last.is_encoding_problem)?;
    let boundary = |part: &MessagePart<'_>| part.content_type()?.attribute("boundary").map(str::to_owned);
    let boundaries: Vec<String> = parsed.parts.iter().filter_map(boundary).take(BOUNDARIES + 1).collect();
    if boundaries.len() > BOUNDARIES {
        return None;
    }
    let is_open = |boundary: &&String| memmem::find(raw, format!("--{boundary}--").as_bytes()).is_none();
    let open: Vec<&String> = boundaries.iter().filter(is_open).collect();
    let ends: String = open.iter().rev().map(|boundary| format!("\r\n--{boundary}--\r\n")).collect();
    (!ends.is_empty()).then(|| [raw, ends.as_bytes()].concat())
}

fn read_parsed(digest: Digest, parsed: &Message<'_>) -> (NewMessage, Vec<Attached>) {
    let mut message = fields(digest, parsed);
    let mut attached: Vec<Attached> = parsed.attachments().map(attached).collect();
    (message.body_text, message.body_html) = bodies(parsed, &mut attached);
    // What says to have parts and has none, is what somebody wrote all the same.
    if message.body_text.is_none()
        && let Some(index) = attached.iter().position(|one| one.content_type.starts_with("multipart/"))
    {
        let content = attached.remove(index).content;
        message.body_text = Some(text::plain(&String::from_utf8_lossy(&content)));
    }
    message.snippet = message.body_text.as_deref().map(snippet);
    (message, attached)
}

/// What the header says.
fn fields(digest: Digest, parsed: &Message<'_>) -> NewMessage {
    let first = |address: Option<&Address<'_>>| address.and_then(|address| addresses(address).next());
    let all = |address: Option<&Address<'_>>| address.map(joined).filter(|joined| !joined.is_empty());
    NewMessage {
        message_id: parsed.message_id().map(|id| text::line(id, FIELD)).filter(|id| !id.is_empty()),
        subject: subject(parsed).map(|subject| text::line(&subject, FIELD)),
        sender: first(parsed.from()),
        recipients: all(parsed.to()),
        cc: all(parsed.cc()),
        reply_to: first(parsed.reply_to()),
        references: references(parsed.references()),
        in_reply_to: references(parsed.in_reply_to()),
        sent_at: parsed.date().filter(|date| date.is_valid()).map(mail_parser::DateTime::to_timestamp),
        ..nothing(digest)
    }
}

fn nothing(digest: Digest) -> NewMessage {
    NewMessage {
        digest,
        message_id: None,
        subject: None,
        sender: None,
        recipients: None,
        cc: None,
        reply_to: None,
        references: None,
        in_reply_to: None,
        snippet: None,
        body_text: None,
        body_html: None,
        attachments_json: None,
        sent_at: None,
        received_at: None,
        place: None,
    }
}

fn addresses<'a>(address: &'a Address<'_>) -> impl Iterator<Item = String> + 'a {
    let addresses = address.iter().filter_map(|address| address.address.as_deref());
    addresses.map(|address| text::line(address, FIELD)).filter(|address| !address.is_empty())
}

/// What a message is about. Programs cut a character in two between encoded words, and write
/// headers in Windows' character set without saying so; what would be unreadable is read so.
fn subject<'a>(parsed: &'a Message<'_>) -> Option<Cow<'a, str>> {
    let subject = parsed.subject()?;
    if !subject.contains(char::REPLACEMENT_CHARACTER) {
        return Some(subject.into());
    }
    let header = parsed.headers().iter().rev().find(|header| header.name == HeaderName::Subject)?;
    let (from, to) = (header.offset_start as usize, header.offset_end as usize);
    let Some(raw) = parsed.raw_message().get(from..to) else { return Some(subject.into()) };
    let raw = &raw[..raw.len().min(4 * FIELD)];
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        // Where it was cut, half of a character may be left.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(raw).into_owned(),
        Err(_) => charset_decoder(b"windows-1252").map(|decode| decode(raw)).unwrap_or_default(),
    };
    let again = format!("Subject:{}\r\n\r\n", text::words_joined(&text).trim_end());
    let again = MessageParser::default().parse_headers(again.as_bytes());
    let again = again.as_ref().and_then(Message::subject).map(str::to_owned);
    Some(again.map_or_else(|| subject.into(), Cow::Owned))
}

/// Addresses separated by `, `, as many as there is room for: half of one would be another's.
fn joined(address: &Address<'_>) -> String {
    let mut joined = String::new();
    for address in addresses(address) {
        if joined.len() + address.len() + 2 > FIELDS {
            break;
        }
        joined.push_str(if joined.is_empty() { "" } else { ", " });
        joined.push_str(&address);
    }
    joined
}

fn references(value: &HeaderValue<'_>) -> Option<String> {
    let ids: Vec<&str> = match value {
        HeaderValue::Text(id) => vec![id.as_ref()],
        HeaderValue::TextList(ids) => ids.iter().map(AsRef::as_ref).collect(),
        _ => return None,
    };
    let ids: Vec<String> = ids.iter().map(|id| format!("<{}>", text::line(id, FIELD))).collect();
    Some(text::line(&ids.join(" "), FIELDS))
}

/// The text and the HTML of a message, without the files that stand in the text. Where there is no text,
/// the HTML's is.
fn bodies(parsed: &Message<'_>, attached: &mut Vec<Attached>) -> (Option<String>, Option<String>) {
    let (mut plain, mut html): (Option<String>, Option<String>) = (None, None);
    let add = |to: &mut Option<String>, more: &str| match to {
        Some(text) => {
            text.push_str("\n\n");
            text.push_str(more);
        }
        None => *to = Some(more.to_owned()),
    };
    for part in parsed.text_bodies() {
        // No more is kept.
        if plain.as_ref().is_some_and(|plain| plain.len() > text::BODY) {
            break;
        }
        match &part.body {
            PartType::Text(text) => {
                let text = read_again(parsed, part, text);
                let rest = lenient::without_files(&text, attached);
                add(&mut plain, &text::plain(rest.as_deref().unwrap_or(&text)));
            }
            PartType::Html(html) => add(&mut plain, &text::of_html(html)),
            _ => {}
        }
    }
    for part in parsed.html_bodies() {
        if let PartType::Html(part) = &part.body
            && html.as_ref().is_none_or(|html| html.len() <= text::BODY)
        {
            add(&mut html, text::cut(part, text::BODY));
        }
    }
    if plain.is_none() {
        plain = html.as_deref().map(text::of_html);
    }
    let bound = |body: Option<String>| {
        body.map(|mut body| {
            body.truncate(text::cut(&body, text::BODY).len());
            body
        })
    };
    (bound(plain), bound(html))
}

/// The text of a part that says to be ASCII and is UTF-8, or that says nothing and is neither: then
/// it is of Windows, as most of such is.
fn read_again<'a>(parsed: &'a Message<'_>, part: &MessagePart<'_>, text: &'a str) -> Cow<'a, str> {
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    let (from, to) = (part.offset_body as usize, part.offset_end as usize);
    let raw = parsed.raw_message().get(from..to).unwrap_or_default();
    if part.encoding != mail_parser::Encoding::None {
        return text.into();
    }
    match (charset, std::str::from_utf8(raw)) {
        (Some(charset), Ok(utf8)) if charset.eq_ignore_ascii_case("us-ascii") => utf8.into(),
        (None, Err(_)) => charset_decoder(b"windows-1252").map_or(text.into(), |decode| decode(raw).into()),
        _ => text.into(),
    }
}

fn snippet(text: &str) -> String {
    // As many words as characters are enough.
    text.split_whitespace().take(SNIPPET).collect::<Vec<_>>().join(" ").chars().take(SNIPPET).collect()
}

fn attached(part: &MessagePart<'_>) -> Attached {
    let content = match &part.body {
        PartType::Text(text) | PartType::Html(text) => text.as_bytes().to_vec(),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.to_vec(),
        PartType::Message(message) => nested(part, message),
        PartType::Multipart(_) => Vec::new(),
    };
    let declared = part.content_type().map(|declared| {
        let subtype = declared.subtype().unwrap_or("octet-stream");
        text::line(&format!("{}/{subtype}", declared.ctype()), FIELD).to_ascii_lowercase()
    });
    let content_type = match (&part.body, declared) {
        (PartType::Message(_), _) => "message/rfc822".to_owned(),
        (_, Some(declared)) => defuse::restored(declared),
        (PartType::Text(_), None) => "text/plain".to_owned(),
        (PartType::Html(_), None) => "text/html".to_owned(),
        (_, None) => "application/octet-stream".to_owned(),
    };
    let filename = part.attachment_name().map(text::file_name).filter(|name| !name.is_empty());
    Attached { filename, content_type, content }
}

/// A nested message's bytes. The parser gives it the whole or its own part of it, and says where
/// it is in the whole.
fn nested(part: &MessagePart<'_>, message: &Message<'_>) -> Vec<u8> {
    let (from, to) = (part.offset_body as usize, part.offset_end as usize);
    let raw = message.raw_message();
    raw.get(from..to).unwrap_or(raw).to_vec()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
