//! Messages: shown, found, sent.

use std::io::Read as _;
use std::path::Path;

use airlock_host::{
    AttachmentSource, Delivery, Error, ErrorKind, GetMail, ListMail, MailAnswer, MailAttachment, MailMessage,
    MailRequest, ReplyMail, SearchMail, SearchSyntax, SendMail, visible,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::super::Session;
use super::{account, mailbox, perform};
use crate::flags::{Body, Send, WhichAccount};
use crate::spinner;

/// Bytes of a text, which is what a message may have.
const TEXT: u64 = 50_000_000;

pub(super) fn list(session: &Session, which: &WhichAccount, folder: String, limit: u32) -> Result<u8, Error> {
    let account_id = Some(account(&*mailbox(session)?, which)?.id);
    let request = MailRequest::List(ListMail { account_id, folder, limit });
    show_list(session, perform(&session.mail()?.service, request)?)
}

pub(super) fn search(
    session: &Session,
    which: &WhichAccount,
    query: &[String],
    limit: u32,
) -> Result<u8, Error> {
    let account_id = Some(account(&*mailbox(session)?, which)?.id);
    // What the shell took for one word is one: a phrase, where it has spaces and no field.
    let word = |word: &String| match word.contains(' ') && !word.contains(['"', ':']) {
        true => format!("\"{word}\""),
        false => word.clone(),
    };
    let query = query.iter().map(word).collect::<Vec<_>>().join(" ");
    let request = SearchMail { account_id, query, syntax: SearchSyntax::Words, limit };
    show_list(session, perform(&session.mail()?.service, MailRequest::Search(request))?)
}

fn show_list(session: &Session, answer: MailAnswer) -> Result<u8, Error> {
    if session.printer.json {
        return answered(session, &answer);
    }
    let messages = match &answer {
        MailAnswer::Listed(listed) => &listed.messages,
        MailAnswer::Searched(searched) => &searched.messages,
        _ => return Ok(0),
    };
    if messages.is_empty() {
        session.printer.note("no message");
        return Ok(0);
    }
    let row = |message: &MailMessage| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [time(message), text(&message.sender), text(&message.subject), message.message_id.clone()]
    };
    session.printer.table(messages.iter().map(row))?;
    Ok(0)
}

pub(super) fn show(session: &Session, which: &WhichAccount, message_id: String) -> Result<u8, Error> {
    let account_id = Some(account(&*mailbox(session)?, which)?.id);
    let request = MailRequest::Get(GetMail { account_id, message_id: message_id.clone() });
    let answer = perform(&session.mail()?.service, request)?;
    let message = match &answer {
        MailAnswer::Gotten(gotten) => gotten.message.as_ref(),
        _ => None,
    };
    let Some(message) = message else {
        let reason = "there is no such message".to_owned();
        let error = Error::new(ErrorKind::InvalidSetting { name: message_id, reason });
        return Err(error.with_hint("`airlock email list` and `search` show the ids"));
    };
    if session.printer.json {
        return answered(session, &answer);
    }
    let some = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    session.printer.rows([
        ("from", some(&message.sender)),
        ("to", some(&message.recipients)),
        ("date", vec![time(message)]),
        ("subject", some(&message.subject)),
        ("id", vec![message.message_id.clone()]),
        ("attached", attached(message)),
    ])?;
    session.printer.line("")?;
    session.printer.line(&visible(message.body_text.as_deref().unwrap_or_default(), true))?;
    Ok(0)
}

/// What is attached, a line for each.
fn attached(message: &MailMessage) -> Vec<String> {
    let read = message.attachments_json.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let list: Vec<serde_json::Value> = read.unwrap_or_default();
    let line = |attachment: &serde_json::Value| {
        let text = |key: &str| attachment[key].as_str().unwrap_or("?").to_owned();
        let size =
            bytesize::ByteSize::b(attachment["size"].as_u64().unwrap_or(0)).display().iec().to_string();
        format!("{} ({}, {size})", text("filename"), text("content_type"))
    };
    list.iter().map(line).collect()
}

/// When a message was sent, or received where it does not say.
fn time(message: &MailMessage) -> String {
    let at = message.sent_at.or(message.received_at).and_then(|at| Timestamp::from_second(at).ok());
    at.map_or_else(String::new, |at| at.strftime("%F %R").to_string())
}

pub(super) fn send(session: &Session, send: Send) -> Result<u8, Error> {
    let account_id = Some(account(&*mailbox(session)?, &send.account)?.id);
    let (body_text, body_html, attachments) = read_body(send.body)?;
    let Send { to, cc, bcc, subject, .. } = send;
    let request = SendMail { account_id, to, cc, bcc, subject, body_text, body_html, attachments };
    hand_over(session, MailRequest::Send(request))
}

pub(super) fn reply(
    session: &Session,
    which: &WhichAccount,
    message_id: String,
    all: bool,
    body: Body,
) -> Result<u8, Error> {
    let account_id = Some(account(&*mailbox(session)?, which)?.id);
    let (body_text, body_html, attachments) = read_body(body)?;
    let request = ReplyMail { account_id, message_id, body_text, body_html, all, attachments };
    hand_over(session, MailRequest::Reply(request))
}

fn hand_over(session: &Session, request: MailRequest) -> Result<u8, Error> {
    let service = &session.mail()?.service;
    let sent =
        spinner::while_doing("sending", session.quiet, || airlock_host::block_on(service.perform(request)));
    let answer = match sent {
        Ok(answer) => answer,
        // Nothing of the command goes on when it ends: whoever sends is told how it is tried again.
        Err(error) => {
            let kept = error.delivery().map(|delivery: &Delivery| match delivery.held {
                None => format!(
                    "it is kept as {}; `airlock email outbox send` tries again what is due",
                    delivery.outbox_id
                ),
                Some(held) => format!(
                    "it is kept as {}, {held}; `airlock email outbox list` shows it",
                    delivery.outbox_id
                ),
            });
            let error = Error::from(error);
            return Err(match kept {
                Some(kept) => error.with_hint(kept),
                None => error,
            });
        }
    };
    if session.printer.json {
        return answered(session, &answer);
    }
    let delivery = match &answer {
        MailAnswer::Sent(sent) => &sent.delivery,
        MailAnswer::Replied(replied) => &replied.delivery,
        _ => return Ok(0),
    };
    session.printer.note(&format!("{} as {}", delivery.status, delivery.outbox_id));
    Ok(0)
}

/// A message's text, its HTML and what is attached.
type Content = (String, Option<String>, Vec<MailAttachment>);

fn read_body(body: Body) -> Result<Content, Error> {
    let text = match body.body {
        Some(text) => text,
        None => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(TEXT).read_to_string(&mut text);
            read.map_err(|error| Error::host("cannot read the message's text").with_source(error))?;
            text
        }
    };
    let unreadable =
        |path: &Path, error| Error::new(ErrorKind::Unreadable(path.to_owned())).with_source(error);
    let html = match &body.html {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?),
        None => None,
    };
    let attach = |path: &std::path::PathBuf| {
        let content = std::fs::read(path).map_err(|error| unreadable(path, error))?;
        let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content_type = media_type(path).to_owned();
        let source = AttachmentSource::Base64(STANDARD.encode(content));
        Ok(MailAttachment { filename, content_type, source })
    };
    let attachments = body.attachments.iter().map(attach).collect::<Result<Vec<_>, Error>>()?;
    Ok((text, html, attachments))
}

/// What a file is, by its ending: the types that a mailbox sends where nothing else is said.
fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "zip" => "application/zip",
        "txt" | "md" | "log" | "csv" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// An answer as its JSON.
fn answered(session: &Session, answer: &MailAnswer) -> Result<u8, Error> {
    session.object(true, answer.to_json())
}
