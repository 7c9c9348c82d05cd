use airlock_core::{AttachmentSource, MailAttachment, MailError, ReplyMail, SendMail};

use super::{Composed, Draft};
use crate::testing::{account, mail, mailbox};
use crate::{Mailbox, NewMessage, RawMessage};

fn request() -> SendMail {
    SendMail {
        account_id: None,
        to: vec!["Bert <bert@y.example>, carl@z.example".to_owned()],
        cc: vec!["dora@z.example".to_owned()],
        bcc: vec!["secret@z.example".to_owned()],
        subject: "Grüße".to_owned(),
        body_text: "the text\n.\nwith a dot".to_owned(),
        body_html: Some("<p>the html</p>".to_owned()),
        attachments: Vec::new(),
    }
}

fn compose(mailbox: &Mailbox, request: &SendMail) -> Result<Composed, MailError> {
    mailbox.compose(&mailbox.account(None).expect("one"), &Draft::of(request))
}

#[test]
fn everyone_is_in_the_envelope_and_nobody_of_bcc_in_the_message() {
    let (_home, mailbox) = mailbox();
    account(&mailbox, "one");
    let composed = compose(&mailbox, &request()).expect("written");
    let to: Vec<String> = composed.envelope.to().iter().map(ToString::to_string).collect();
    assert_eq!(to, ["bert@y.example", "carl@z.example", "dora@z.example", "secret@z.example"]);
    let text = String::from_utf8(composed.raw.clone()).expect("ASCII");
    assert!(!text.to_lowercase().contains("secret") && !text.to_lowercase().contains("bcc"), "{text}");
    let read = mail_parser::MessageParser::default().parse(&composed.raw).expect("a message");
    assert_eq!((read.subject(), read.message_id()), (Some("Grüße"), Some(composed.message_id.as_str())));
    assert_eq!(read.body_text(0).as_deref().map(str::trim_end), Some("the text\r\n.\r\nwith a dot"));
    assert_eq!(read.body_html(0).as_deref().map(str::trim_end), Some("<p>the html</p>"));
    assert!(composed.message_id.ends_with("@x.example"), "{}", composed.message_id);
    let again = compose(&mailbox, &request()).expect("written");
    assert_ne!(again.message_id, composed.message_id);
}

#[test]
fn nothing_that_is_sent_can_be_another_header_or_command() {
    let (_home, mailbox) = mailbox();
    account(&mailbox, "one");
    let with = |change: fn(&mut SendMail)| {
        let mut request = request();
        change(&mut request);
        compose(&mailbox, &request).expect_err("refused").message().to_owned()
    };
    let line = |what: &str| format!("{what} cannot have control characters");
    assert_eq!(with(|request| request.subject = "a\r\nBcc: x@y.example".to_owned()), line("subject"));
    let address = "invalid recipient address";
    assert_eq!(with(|request| request.to = vec!["a@x.example\r\nRCPT TO:<b@x.example>".to_owned()]), address);
    assert_eq!(with(|request| request.cc = vec!["a@x.example\nX: y".to_owned()]), address);
    assert_eq!(with(|request| request.bcc = vec!["nobody".to_owned()]), address);
    assert_eq!(with(|request| request.to = vec!["\"a b\"> SIZE=1 <a@x.example".to_owned()]), address);
    assert_eq!(with(|request| request.subject = " ".to_owned()), "to/subject/body_text cannot be empty");
    let many = |request: &mut SendMail| request.to = (0..101).map(|n| format!("a{n}@x.example")).collect();
    assert_eq!(with(many), "a message has at most 100 recipients");
}

fn attached(filename: &str, content_type: &str, source: AttachmentSource) -> SendMail {
    let (filename, content_type) = (filename.to_owned(), content_type.to_owned());
    SendMail { attachments: vec![MailAttachment { filename, content_type, source }], ..request() }
}

#[test]
fn attachments_are_within_the_policy_and_come_from_here_or_the_account() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let base64 = |text: &str| AttachmentSource::Base64(text.to_owned());
    let path = |text: &str| AttachmentSource::Path(text.to_owned());
    let composed = compose(&mailbox, &attached("ä.pdf", "application/pdf", base64("JVBERg=="))).expect("one");
    let read = mail_parser::MessageParser::default().parse(&composed.raw).expect("a message");
    let part = read.attachment(0).expect("one");
    assert_eq!(mail_parser::MimeHeaders::attachment_name(part), Some("ä.pdf"));
    assert_eq!(part.contents(), b"%PDF");
    let refused = |request: SendMail| compose(&mailbox, &request).expect_err("refused").message().to_owned();
    assert_eq!(
        refused(attached("a.exe", "application/x-msdownload", base64(""))),
        "attachment content type is not allowed"
    );
    let large = base64(&"A".repeat(36 << 20));
    assert_eq!(refused(attached("a.pdf", "application/pdf", large)), "attachment exceeds size limit");
    assert_eq!(
        refused(attached("a\r\nX: y", "application/pdf", base64(""))),
        "filename cannot have control characters"
    );
    assert!(
        refused(attached("a.pdf", "application/pdf", base64("!"))).starts_with("attachment is no base64")
    );
    assert_eq!(
        refused(attached("a", "text/plain", path("/etc/passwd"))),
        "attachment path escapes storage root"
    );
    let raw = "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\r\n\
               Content-Type: application/pdf\r\nContent-Disposition: attachment\r\n\r\n%PDF\r\n--x--\r\n";
    let raw = RawMessage { bytes: raw.as_bytes(), received_at: 1, place: None };
    mailbox.receive(one, "INBOX", &[raw]).expect("kept");
    let list = airlock_core::ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 1 };
    let told = mailbox.list(&list).expect("listed").messages[0].attachments_json.clone().expect("some");
    let told: serde_json::Value = serde_json::from_str(&told).expect("an array");
    let kept = path(told[0]["local_path"].as_str().expect("kept"));
    assert!(compose(&mailbox, &attached("b.pdf", "application/pdf", kept)).is_ok());
}

fn answer(mailbox: &Mailbox, id: &str, all: bool) -> Result<Composed, MailError> {
    answer_with(mailbox, id, all, "yes")
}

fn answer_with(mailbox: &Mailbox, id: &str, all: bool, body: &str) -> Result<Composed, MailError> {
    let request = ReplyMail {
        account_id: None,
        message_id: id.to_owned(),
        body_text: body.to_owned(),
        body_html: None,
        all,
        attachments: Vec::new(),
    };
    let account = mailbox.account(None).expect("one");
    let draft = mailbox.answer(&account, &request)?;
    mailbox.compose(&account, &draft)
}

fn header(composed: &Composed, name: &str) -> Option<String> {
    let read = mail_parser::MessageParser::default().parse(&composed.raw).expect("a message");
    read.header_raw(name.to_owned()).map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn an_answer_refers_to_its_parent_and_goes_to_whom_it_should() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let parent = NewMessage {
        subject: Some("RE: re[2]: Re: plans".to_owned()),
        references: Some("<first@x.example> <second@x.example>".to_owned()),
        recipients: Some("one@x.example, team@x.example".to_owned()),
        cc: Some("TEAM@x.example, dora@z.example, broken".to_owned()),
        ..mail("parent", "b")
    };
    let listed = NewMessage { reply_to: Some("list@x.example".to_owned()), ..mail("listed", "b") };
    let nobody = NewMessage { sender: None, message_id: None, ..mail("nobody", "b") };
    mailbox.keep(one, "INBOX", &[parent, listed, nobody]).expect("kept");
    for (id, body) in [(" ", "yes"), ("<parent@x.example>", "\n")] {
        let told = answer_with(&mailbox, id, false, body).expect_err("empty");
        assert_eq!(told.message(), "in_reply_to_message_id/body_text cannot be empty");
    }
    let reply = answer(&mailbox, "<parent@x.example>", false).expect("written");
    assert_eq!(header(&reply, "Subject").as_deref(), Some("Re: plans"));
    assert_eq!(header(&reply, "In-Reply-To").as_deref(), Some("<parent@x.example>"));
    assert_eq!(
        header(&reply, "References").as_deref(),
        Some("<first@x.example> <second@x.example> <parent@x.example>")
    );
    let to = |composed: &Composed| composed.envelope.to().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(to(&reply), ["anna@x.example"]);
    let all = answer(&mailbox, "parent@x.example", true).expect("written");
    assert_eq!(to(&all), ["anna@x.example", "team@x.example", "dora@z.example"]);
    assert_eq!(to(&answer(&mailbox, "listed@x.example", false).expect("written")), ["list@x.example"]);
    let error = |id: &str| answer(&mailbox, id, false).expect_err("refused").message().to_owned();
    assert_eq!(error("none@x.example"), "in_reply_to_message_id does not exist for this account");
    let generated: String = mailbox
        .connection()
        .query_row("SELECT message_id FROM messages WHERE sender IS NULL", [], |row| row.get(0))
        .expect("one");
    assert_eq!(error(&generated), "cannot infer reply recipient from parent sender");
}

#[test]
fn an_answer_to_an_answer_without_references_refers_to_what_that_answers() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let raw = |id: &str, more: &str| {
        format!("From: anna@x.example\r\nSubject: s\r\nMessage-ID: <{id}@x.example>\r\n{more}\r\ntext\r\n")
    };
    // The parent's own fields, and what an answer to it refers to.
    let cases = [
        ("one", "In-Reply-To: <first@x.example>\r\n", "<first@x.example> <one@x.example>"),
        (
            "both",
            "In-Reply-To: <first@x.example>\r\nReferences: <zero@x.example>\r\n",
            "<zero@x.example> <both@x.example>",
        ),
        ("two", "In-Reply-To: <first@x.example> <second@x.example>\r\n", "<two@x.example>"),
        ("none", "", "<none@x.example>"),
    ];
    for (id, more, expected) in cases {
        let raw = raw(id, more);
        let raw = crate::RawMessage { bytes: raw.as_bytes(), received_at: 1, place: None };
        mailbox.receive(one, "INBOX", &[raw]).expect("kept");
        let reply = answer(&mailbox, &format!("{id}@x.example"), false).expect("written");
        assert_eq!(header(&reply, "References").as_deref(), Some(expected), "{id}");
    }
}

#[test]
fn re_is_there_once_and_many_references_are_cut_in_the_middle() {
    for (subject, expected) in [
        (None, "Re: (no subject)"),
        (Some(""), "Re: (no subject)"),
        (Some("plans"), "Re: plans"),
        (Some("Re:plans"), "Re: plans"),
        (Some("re : RE: plans"), "Re: plans"),
        (Some("Re[12]: plans"), "Re: plans"),
        (Some("Regards: plans"), "Re: Regards: plans"),
        (Some("re[x]: plans"), "Re: re[x]: plans"),
        (Some("é"), "Re: é"),
    ] {
        assert_eq!(super::answered(subject), expected);
    }
    assert!(super::answered(Some(&"é".repeat(1000))).len() <= 998);
    let many: Vec<String> = (0..80).map(|n| format!("<{n}@x>")).collect();
    let cut = super::references(Some(&many.join(" ")), Some("<last@x>")).expect("some");
    let cut: Vec<&str> = cut.split(' ').collect();
    assert_eq!((cut.len(), cut[0], cut[1], cut[49]), (50, "<0@x>", "<32@x>", "<last@x>"));
    assert_eq!(super::references(Some("junk <a@x>"), None).as_deref(), Some("<a@x>"));
}

#[test]
fn a_text_of_millions_of_lines_is_written_and_its_lines_end_as_those_of_a_message() {
    assert_eq!(super::with_line_ends("a\nb\r\nc\rd\n\n"), "a\r\nb\r\nc\r\nd\r\n\r\n");
    assert_eq!(super::with_line_ends(""), "");
    let (_home, mailbox) = mailbox();
    account(&mailbox, "anna");
    // In a time that grows with their square this would not end.
    let composed = compose(&mailbox, &SendMail { body_text: "a\n".repeat(4_000_000), ..request() });
    assert_eq!(super::lines(&composed.expect("written").raw).filter(|line| line == b"a").count(), 4_000_000);
}
