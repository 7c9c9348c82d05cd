//! Messages that are to be sent: checked, and written once for all attempts.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use airlock_core::{AttachmentSource, MailAttachment, MailCode, MailError, ReplyMail, SendMail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox as Mailboxed, Mailboxes, Message, MultiPart, SinglePart};
use rusqlite::{OptionalExtension as _, params};

use crate::db::{failed, now};
use crate::{Account, Mailbox};

/// Recipients of one message.
const RECIPIENTS: usize = 100;

/// Attachments of one message, and bytes of it all.
const ATTACHMENTS: usize = 20;
const BYTES: usize = 50_000_000;

/// Bytes of a subject.
const SUBJECT: usize = 998;

/// Ids in `References`: the first and the latest.
const REFERENCES: usize = 50;

/// A message as it is sent, at each attempt the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Composed {
    /// Its Message-ID, without angle brackets.
    pub(crate) message_id: String,
    /// Who sends it and who gets it, those of `bcc` too.
    pub(crate) envelope: Envelope,
    /// All of it.
    pub(crate) raw: Vec<u8>,
}

/// What a message is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft<'a> {
    pub(crate) to: Vec<String>,
    pub(crate) cc: Vec<String>,
    pub(crate) bcc: Vec<String>,
    pub(crate) subject: String,
    pub(crate) body_text: Cow<'a, str>,
    pub(crate) body_html: Option<&'a str>,
    pub(crate) attachments: &'a [MailAttachment],
    /// The message that it answers, in angle brackets.
    pub(crate) in_reply_to: Option<String>,
    pub(crate) references: Option<String>,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(request: &'a SendMail) -> Self {
        Draft {
            to: request.to.clone(),
            cc: request.cc.clone(),
            bcc: request.bcc.clone(),
            subject: request.subject.clone(),
            body_text: request.body_text.as_str().into(),
            body_html: request.body_html.as_deref(),
            attachments: &request.attachments,
            ..Draft::default()
        }
    }
}

/// A message that is answered.
struct Parent {
    header_message_id: Option<String>,
    subject: Option<String>,
    sender: Option<String>,
    reply_to: Option<String>,
    recipients: Option<String>,
    cc: Option<String>,
    references: Option<String>,
    in_reply_to: Option<String>,
}

impl Mailbox {
    /// The answer to a message that is kept.
    pub(crate) fn answer<'a>(
        &self,
        account: &Account,
        request: &'a ReplyMail,
    ) -> Result<Draft<'a>, MailError> {
        if request.message_id.trim().is_empty() || request.body_text.trim().is_empty() {
            return Err(MailError::invalid("in_reply_to_message_id/body_text cannot be empty"));
        }
        let parent = self
            .parent(account.id, &request.message_id)?
            .ok_or_else(|| MailError::invalid("in_reply_to_message_id does not exist for this account"))?;
        let unknown = || MailError::invalid("cannot infer reply recipient from parent sender");
        let to = parent.reply_to.or(parent.sender).ok_or_else(unknown)?;
        if mailboxes(&to).is_none() {
            return Err(unknown());
        }
        let mut cc = Vec::new();
        if request.all {
            let mut known = vec![to.to_lowercase(), account.email.to_lowercase()];
            let others = parent.recipients.iter().chain(&parent.cc).flat_map(|list| list.split(", "));
            for other in others {
                // What cannot be written to is no reason not to answer the others.
                if mailboxes(other).is_some() && !known.contains(&other.to_lowercase()) {
                    known.push(other.to_lowercase());
                    cc.push(other.to_owned());
                }
            }
        }
        let id = parent.header_message_id.map(|id| format!("<{id}>"));
        // Where it answers one message and refers to none, that is what it refers to.
        let answers = parent.in_reply_to.filter(|ids| ids.split_whitespace().count() == 1);
        let refers_to = parent.references.filter(|ids| !ids.trim().is_empty()).or(answers);
        Ok(Draft {
            to: vec![to],
            cc,
            subject: answered(parent.subject.as_deref()),
            body_text: request.body_text.as_str().into(),
            body_html: request.body_html.as_deref(),
            attachments: &request.attachments,
            references: references(refers_to.as_deref(), id.as_deref()),
            in_reply_to: id,
            ..Draft::default()
        })
    }

    fn parent(&self, account: i64, id: &str) -> Result<Option<Parent>, MailError> {
        // PRX-Email kept the Message-ID as its row's id only.
        let sql = "SELECT coalesce(header_message_id, CASE WHEN message_id LIKE '<%>'
                     THEN substr(message_id, 2, length(message_id) - 2) END),
                   subject, sender, reply_to, recipients, cc, references_header, in_reply_to
                   FROM messages WHERE account_id = ?1 AND message_id IN (?2, ?3)";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Parent {
                header_message_id: row.get(0)?,
                subject: row.get(1)?,
                sender: row.get(2)?,
                reply_to: row.get(3)?,
                recipients: row.get(4)?,
                cc: row.get(5)?,
                references: row.get(6)?,
                in_reply_to: row.get(7)?,
            })
        };
        let id = id.trim();
        statement.query_row(params![account, id, format!("<{id}>")], read).optional().map_err(failed)
    }

    /// Writes a message.
    ///
    /// # Errors
    /// [`MailCode::Validation`] for what cannot be sent: no address, a second header in a field,
    /// an attachment that the policy does not allow.
    pub(crate) fn compose(&self, account: &Account, draft: &Draft<'_>) -> Result<Composed, MailError> {
        let from: Address =
            account.email.parse().map_err(|_| MailError::invalid("invalid smtp sender address"))?;
        let (to, cc, bcc) = (addresses(&draft.to)?, addresses(&draft.cc)?, addresses(&draft.bcc)?);
        if to.is_empty() || draft.body_text.trim().is_empty() || draft.subject.trim().is_empty() {
            return Err(MailError::invalid("to/subject/body_text cannot be empty"));
        }
        one_line("subject", &draft.subject, SUBJECT)?;
        let mut recipients: Vec<Address> = Vec::new();
        for mailbox in to.iter().chain(&cc).chain(&bcc) {
            if !recipients.contains(&mailbox.email) {
                recipients.push(mailbox.email.clone());
            }
        }
        if recipients.len() > RECIPIENTS {
            return Err(MailError::invalid(&format!("a message has at most {RECIPIENTS} recipients")));
        }
        let envelope = Envelope::new(Some(from.clone()), recipients).map_err(unwritable)?;
        let message_id = message_id(from.domain())?;
        let date = UNIX_EPOCH + Duration::from_secs(now().unsigned_abs());
        let name = account.display_name.clone().filter(|name| !name.chars().any(char::is_control));
        let mut builder = Message::builder()
            .from(Mailboxed::new(name, from))
            .message_id(Some(format!("<{message_id}>")))
            .date(date)
            .subject(draft.subject.as_str())
            .envelope(envelope.clone());
        for mailbox in to {
            builder = builder.to(mailbox);
        }
        for mailbox in cc {
            builder = builder.cc(mailbox);
        }
        if let Some(id) = &draft.in_reply_to {
            builder = builder.in_reply_to(id.clone());
        }
        if let Some(ids) = &draft.references {
            builder = builder.references(ids.clone());
        }
        let attached = self.attached(account.id, draft.attachments)?;
        let text = SinglePart::plain(with_line_ends(&draft.body_text));
        let html = draft.body_html.map(|html| SinglePart::html(with_line_ends(html)));
        let message = match (html, attached.is_empty()) {
            (None, true) => builder.singlepart(text),
            (Some(html), true) => builder.multipart(alternative(text, html)),
            (html, false) => {
                let mixed = MultiPart::mixed();
                let mixed = match html {
                    Some(html) => mixed.multipart(alternative(text, html)),
                    None => mixed.singlepart(text),
                };
                builder.multipart(attached.into_iter().fold(mixed, MultiPart::singlepart))
            }
        };
        let raw = message.map_err(unwritable)?.formatted();
        match raw.len() > BYTES {
            true => Err(MailError::invalid("a message has at most 50 MB")),
            false => Ok(Composed { message_id, envelope, raw }),
        }
    }

    fn attached(&self, account: i64, attachments: &[MailAttachment]) -> Result<Vec<SinglePart>, MailError> {
        if attachments.len() > ATTACHMENTS {
            return Err(MailError::invalid(&format!("a message has at most {ATTACHMENTS} attachments")));
        }
        attachments.iter().map(|attachment| self.attached_one(account, attachment)).collect()
    }

    fn attached_one(&self, account: i64, attachment: &MailAttachment) -> Result<SinglePart, MailError> {
        one_line("filename", &attachment.filename, 255)?;
        let refused = |bytes| match self.policy().refusal(&attachment.content_type, bytes) {
            Some(reason) => Err(MailError::invalid(reason)),
            None => Ok(()),
        };
        refused(0)?;
        let content = match &attachment.source {
            AttachmentSource::Path(path) => self.attachment(account, path)?,
            AttachmentSource::Base64(text) => {
                // What it would be, before there is room made for it.
                refused(text.len() as u64 / 4 * 3)?;
                STANDARD
                    .decode(text)
                    .map_err(|error| MailError::invalid(&format!("attachment is no base64: {error}")))?
            }
        };
        refused(content.len() as u64)?;
        let content_type = ContentType::parse(&attachment.content_type)
            .map_err(|_| MailError::invalid("attachment content type is not allowed"))?;
        Ok(Attachment::new(attachment.filename.clone()).body(content, content_type))
    }
}

fn alternative(text: SinglePart, html: SinglePart) -> MultiPart {
    MultiPart::alternative().singlepart(text).singlepart(html)
}

/// Refuses what would be more than one header.
fn one_line(what: &str, text: &str, bytes: usize) -> Result<(), MailError> {
    if text.chars().any(char::is_control) {
        return Err(MailError::invalid(&format!("{what} cannot have control characters")));
    }
    match text.len() > bytes {
        true => Err(MailError::invalid(&format!("{what} has at most {bytes} bytes"))),
        false => Ok(()),
    }
}

fn addresses(texts: &[String]) -> Result<Vec<Mailboxed>, MailError> {
    let invalid = || MailError::invalid("invalid recipient address");
    let read = |text: &String| mailboxes(text).ok_or_else(invalid);
    Ok(texts.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn mailboxes(text: &str) -> Option<Vec<Mailboxed>> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let read: Mailboxes = text.parse().ok()?;
    let read: Vec<Mailboxed> = read.into_iter().collect();
    (!read.is_empty()).then_some(read)
}

/// The subject of an answer: `Re: ` once, however often it was there.
fn answered(subject: Option<&str>) -> String {
    let mut rest = subject.unwrap_or_default().trim();
    loop {
        let after = match rest.get(..2) {
            Some(start) if start.eq_ignore_ascii_case("re") => &rest[2..],
            _ => break,
        };
        // Some programs count: `Re[2]: `.
        let after = match after.strip_prefix('[').and_then(|counted| counted.split_once(']')) {
            Some((count, after)) if count.bytes().all(|byte| byte.is_ascii_digit()) => after,
            _ => after,
        };
        match after.trim_start().strip_prefix(':') {
            Some(after) => rest = after.trim_start(),
            None => break,
        }
    }
    let rest = if rest.is_empty() { "(no subject)" } else { rest };
    format!("Re: {}", &rest[..rest.floor_char_boundary(SUBJECT - 4)])
}

/// What an answer refers to: all that its parent does, and the parent (RFC 5322, 3.6.4).
fn references(parent: Option<&str>, id: Option<&str>) -> Option<String> {
    let is_id = |id: &&str| id.starts_with('<') && id.ends_with('>') && id.is_ascii();
    let mut ids: Vec<&str> = parent.unwrap_or_default().split_whitespace().filter(is_id).collect();
    ids.extend(id);
    if ids.len() > REFERENCES {
        ids.drain(1..=ids.len() - REFERENCES);
    }
    (!ids.is_empty()).then(|| ids.join(" "))
}

/// One that nobody else makes.
fn message_id(domain: &str) -> Result<String, MailError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(unwritable)?;
    let mut id = String::with_capacity(64);
    for byte in random {
        let _ = write!(id, "{byte:02x}");
    }
    Ok(format!("{id}@{domain}"))
}

/// A text whose lines end as those of a message do. lettre would do it too, in time that grows with the square
/// of their number: of a guest's text that could be hours.
fn with_line_ends(text: &str) -> String {
    let mut ended = String::with_capacity(text.len() + text.len() / 32);
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        ended.push_str(&rest[..at]);
        ended.push_str("\r\n");
        rest = rest[at..].strip_prefix("\r\n").unwrap_or(&rest[at + 1..]);
    }
    ended.push_str(rest);
    ended
}

/// The lines of a message without their ends, whichever those are.
pub(crate) fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        Some(line)
    })
}

fn unwritable(error: impl std::fmt::Display) -> MailError {
    MailError::new(MailCode::Validation, &format!("the message cannot be written: {error}"))
}

#[cfg(test)]
mod tests;
