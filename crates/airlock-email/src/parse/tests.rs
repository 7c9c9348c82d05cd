//! A corpus of odd messages, each as somebody's program once wrote its like, and hostile ones that
//! are made here since they are large.

use std::path::Path;

use airlock_core::{GetMail, ListMail, MailMessage};
use proptest::prelude::*;

use super::{RawMessage, read};
use crate::testing::{account, mailbox};
use crate::{AttachmentPolicy, Kept, Mailbox};

fn corpus(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name))
        .expect("in the corpus")
}

fn raw(bytes: &[u8]) -> RawMessage<'_> {
    RawMessage { bytes, received_at: 1_000, place: None }
}

/// Subject, text of a message of the corpus.
fn shown(name: &str) -> (String, String) {
    let (message, _) = read(&corpus(name));
    (message.subject.unwrap_or_default(), message.body_text.unwrap_or_default())
}

fn is_shown(name: &str, subject: &str, text: &str) {
    assert_eq!(shown(name), (subject.to_owned(), text.to_owned()), "{name}");
}

#[test]
fn charsets_and_encodings_are_read() {
    is_shown("charset-latin1.eml", "Grüße", "Grüße aus Köln");
    is_shown("charset-sjis.eml", "会議の件", "明日の会議");
    is_shown("charset-iso2022jp.eml", "こんにちは", "お元気ですか");
    is_shown("charset-koi8r.eml", "Привет", "Как дела");
    is_shown("charset-gb18030.eml", "报告", "第三季度");
    is_shown("charset-windows1252.eml", "quotes", "“quoted” € 5");
    is_shown("charset-utf7.eml", "old", "Hi Mom ☺!");
    is_shown("charset-unknown.eml", "unknown charset", "plain enough");
    is_shown("charset-lies.eml", "says ascii", "naïve café");
    is_shown("raw-latin1-header.eml", "Grüße ohne Kodierung", "body");
    is_shown("encoded-words-split.eml", "Grüße aus Köln", "body");
    is_shown("raw-utf8-header.eml", "Grüße ohne Kodierung", "body");
    is_shown("lf-only.eml", "unix lines", "body");
}

#[test]
fn words_and_names_in_headers_are_read_as_they_are_in_the_wild() {
    let (subject, _) = shown("encoded-words.eml");
    assert!(subject.starts_with("one two") && subject.contains("three plain"), "{subject}");
    let (message, _) = read(&corpus("encoded-name.eml"));
    assert_eq!(message.sender.as_deref(), Some("anna@x.example"));
    assert_eq!(message.recipients.as_deref(), Some("a@x.example, b@x.example, c@x.example"));
    let (message, _) = read(&corpus("injected-id.eml"));
    assert_eq!(message.subject.as_deref(), Some("bell  and  [31mred"));
    assert_eq!(message.body_text.as_deref(), Some("body [2J with escapes"));
    assert_eq!(message.references.as_deref(), Some("<r1@x> <r2@x> <r3@x>"));
    assert!(!message.message_id.expect("one").contains('\u{1}'));
}

#[test]
fn the_time_it_was_sent_is_what_the_date_says_where_it_says_one() {
    assert_eq!(read(&corpus("charset-latin1.eml")).0.sent_at, Some(1_751_359_957));
    assert_eq!(read(&corpus("no-date.eml")).0.sent_at, None);
    assert_eq!(read(&corpus("bad-date.eml")).0.sent_at, None);
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    mailbox.receive(one, "INBOX", &[raw(&corpus("no-date.eml"))]).expect("kept");
    let message = &list(&mailbox)[0];
    assert_eq!((message.received_at, message.sent_at), (Some(1_000), None));
    assert!(message.message_id.starts_with(&format!("generated-{one}-")), "{}", message.message_id);
}

fn list(mailbox: &Mailbox) -> Vec<MailMessage> {
    let request = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 500 };
    mailbox.list(&request).expect("listed").messages
}

#[test]
fn text_is_that_of_the_message_or_of_its_html_and_always_safe() {
    let (message, _) = read(&corpus("alternative.eml"));
    assert_eq!(message.body_text.as_deref(), Some("the plain text"));
    assert_eq!(message.body_html.as_deref().map(str::trim), Some("<p>the <b>html</b></p>"));
    let (message, _) = read(&corpus("html-only.eml"));
    let text = message.body_text.expect("made of the html");
    for part in ["first", "second & <third>", "* one", "* two"] {
        assert!(text.lines().any(|line| line.trim() == part), "{part}: {text}");
    }
    for hidden in ["alert", "color", "tracker"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    is_shown("nested.eml", "nested", "innermost");
    assert_eq!(shown("no-header.eml").1, "just text");
}

#[test]
fn what_is_broken_is_kept_as_far_as_it_can_be_read() {
    is_shown("no-closing-boundary.eml", "cut", "the beginning");
    is_shown("no-closing-boundaries.eml", "cut in a part of a part", "drei Käse, vier Brote and mor");
    for (name, subject, part) in [
        ("missing-boundary.eml", "no boundary", "text"),
        ("bad-base64.eml", "bad base64", "not base64 at all"),
        ("bad-qp.eml", "bad qp", "off"),
        ("digest.eml", "digest", "first of the digest"),
    ] {
        let (message, attached) = read(&corpus(name));
        assert_eq!(message.subject.as_deref(), Some(subject));
        let mut text = message.body_text.unwrap_or_default();
        text.extend(attached.iter().map(|attached| String::from_utf8_lossy(&attached.content).into_owned()));
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[test]
fn attachments_are_kept_by_digest_as_far_as_the_policy_allows() {
    let (home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    mailbox.receive(one, "INBOX", &[raw(&corpus("attachments.eml"))]).expect("kept");
    let attached = list(&mailbox)[0].attachments_json.clone().expect("some");
    let attached: serde_json::Value = serde_json::from_str(&attached).expect("an array");
    let told = |n: usize, key: &str| attached[n][key].clone();
    assert_eq!(
        (told(0, "filename"), told(0, "content_type")),
        ("Grüße.pdf".into(), "application/pdf".into())
    );
    assert_eq!((told(0, "size"), told(0, "refused")), (19.into(), serde_json::Value::Null));
    assert_eq!((told(1, "filename"), told(1, "local_path")), ("evil.exe".into(), serde_json::Value::Null));
    assert_eq!(told(1, "refused"), "attachment content type is not allowed");
    assert_eq!(told(2, "filename"), "pic.png");
    let path = told(0, "local_path").as_str().expect("kept").to_owned();
    assert_eq!(mailbox.attachment(one, &path).expect("read"), b"%PDF-1.4 not really");
    let file = home.path().join("attachments").join(&path);
    assert_eq!(std::fs::read(&file).expect("there"), b"%PDF-1.4 not really");
    let other = account(&mailbox, "other");
    assert_eq!(
        mailbox.attachment(other, &path).expect_err("not theirs").message(),
        "there is no such attachment"
    );
    for outside in ["../mail.db", "/etc/passwd", "ab/../../mail.db", "", "ab"] {
        let error = mailbox.attachment(one, outside).expect_err(outside);
        assert_eq!(error.message(), "attachment path escapes storage root");
    }
    std::fs::write(&file, "something else").expect("written");
    assert_eq!(
        mailbox.attachment(one, &path).expect_err("changed").message(),
        "an attachment is not what was kept"
    );
}

#[test]
fn an_attachment_that_is_too_large_is_named_and_not_kept() {
    let (_home, mailbox) = mailbox();
    let policy = AttachmentPolicy { max_bytes: 18, ..AttachmentPolicy::default() };
    let mailbox = mailbox.with_attachments(policy).expect("a policy");
    let one = account(&mailbox, "one");
    mailbox.receive(one, "INBOX", &[raw(&corpus("attachments.eml"))]).expect("kept");
    let attached = list(&mailbox)[0].attachments_json.clone().expect("some");
    assert!(attached.contains("attachment exceeds size limit"), "{attached}");
    let none = AttachmentPolicy { max_bytes: 1, types: Vec::new() };
    let error = mailbox.with_attachments(none).expect_err("nothing is allowed");
    assert_eq!(error.message(), "attachment policy must define max size and allowed types");
}

#[test]
fn two_messages_of_one_id_are_two_messages() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let (first, second) = (corpus("duplicate-id-1.eml"), corpus("duplicate-id-2.eml"));
    let both = [raw(&first), raw(&second)];
    assert_eq!(mailbox.receive(one, "INBOX", &both), Ok(Kept { new: 2, known: 0 }));
    assert_eq!(mailbox.receive(one, "INBOX", &both), Ok(Kept { new: 0, known: 2 }));
    let request = GetMail { account_id: None, message_id: "<same@x.example>".to_owned() };
    let found = mailbox.get(&request).expect("asked").message.expect("there");
    assert_eq!(found.subject.as_deref(), Some("first"));
}

/// A message with its content left out, and why.
fn left_out(message: &[u8]) -> String {
    let (read, attached) = read(message);
    assert_eq!((read.subject.as_deref(), attached.len()), (Some("large"), 0));
    read.body_text.expect("a reason")
}

#[test]
fn a_message_beyond_the_bounds_is_kept_with_its_header() {
    let mixed = |parts: usize, part: &str| {
        let header = "Subject: large\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n";
        format!("{header}{}--x--\r\n", part.repeat(parts)).into_bytes()
    };
    let part = "--x\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\na\r\n";
    assert_eq!(read(&mixed(1_000, part)).1.len(), 1_000);
    assert_eq!(read(&mixed(9_999, part)).1.len(), 9_999);
    assert!(left_out(&mixed(10_000, part)).contains("it has more than 10,000 parts"));
    // Of parts that have parts and no end, each is looked for to the end of the message.
    let open = |parts: usize, bytes: usize| {
        let part = |number| format!("--x\r\nContent-Type: multipart/mixed; boundary=y{number}\r\n\r\n");
        let header = "Subject: large\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n";
        format!("{header}{}{}", (0..parts).map(part).collect::<String>(), "z\r\n".repeat(bytes / 3))
    };
    assert_eq!(read(open(1_000, 3_000_000).as_bytes()).0.subject.as_deref(), Some("large"));
    assert!(left_out(open(1_000, 30_000_000).as_bytes()).contains("it has too many parts that have parts"));
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(900);
    let nested = format!("Subject: large\r\n{nested}Subject: end\r\n\r\ntext");
    assert!(left_out(nested.as_bytes()).contains("nested too deep"));
    let lines = format!("Subject: large\r\n{}\r\nbody", "a: b\r\n".repeat(100_001));
    assert!(left_out(lines.as_bytes()).contains("too many lines"));
    let mut large = b"Subject: large\r\n\r\n".to_vec();
    large.resize(50_000_001, b'a');
    assert!(left_out(&large).contains("larger than 50 MB"));
    large.truncate(50_000_000);
    let (message, _) = read(&large);
    assert_eq!(message.body_text.map(|text| text.len()), Some(4 << 20));
}

#[test]
fn an_encoded_message_within_one_is_a_file_and_nothing_in_it_is_unfolded() {
    let inner = format!(
        "{}Subject: end\r\n\r\n{}",
        "Content-Type: message/rfc822\r\n\r\n".repeat(20_000),
        "x".repeat(400_000)
    );
    let inner = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &inner);
    for header in [
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: base64\r\ncontent-type:\r\n MESSAGE/RFC822; name=a",
        "Content-Type: (;) message/rfc822\r\nContent-Transfer-Encoding: (x) base64",
    ] {
        let message = format!(
            "Subject: large\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n{header}\r\n\r\n{inner}\r\n--x--\r\n"
        );
        let (read, attached) = read(message.as_bytes());
        assert_eq!((read.subject.as_deref(), attached.len()), (Some("large"), 1), "{header}");
        assert!(attached[0].content.len() > 900_000, "{header}");
    }
    let digest = format!(
        "Subject: large\r\nContent-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{inner}\r\n--x--\r\n"
    );
    let (message, _) = read(digest.as_bytes());
    assert_eq!(message.subject.as_deref(), Some("large"));
}

#[test]
fn html_of_any_depth_becomes_text() {
    for html in [
        format!("{}deep{}", "<div>".repeat(100_000), "</div>".repeat(100_000)),
        format!("{}deep", "<blockquote>".repeat(300)),
        format!("{}deep", "<table><tr><td>".repeat(100)),
        format!("deep{}", "<".repeat(100_000)),
    ] {
        let message = format!("Subject: s\r\nContent-Type: text/html\r\n\r\n{html}");
        let text = read(message.as_bytes()).0.body_text.expect("some");
        assert!(text.contains("deep"), "{}", &text[..text.len().min(200)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Each message of the corpus, cut and changed anywhere.
    #[test]
    fn changed_messages_are_read(which in 0_usize..1000, cut in 0.0..1.0_f64, at in 0.0..1.0_f64, byte: u8) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let mut files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("one").path()).collect();
        files.sort();
        let mut message = std::fs::read(&files[which % files.len()]).expect("read");
        message.truncate((message.len() as f64 * cut) as usize + 1);
        let at = ((message.len() - 1) as f64 * at) as usize;
        message[at] = byte;
        let (read, _) = read(&message);
        prop_assert!(read.subject.is_none_or(|subject| !subject.contains('\n')));
    }
}

#[test]
fn html_that_never_closes_anything_is_read() {
    for tag in ["<div>", "<b>", "<table>", "<p><b>", "<a href=x>", "<li>", "<!--"] {
        let html = tag.repeat(200_000);
        let message = format!("Subject: s\r\nContent-Type: text/html\r\n\r\n{html}");
        assert_eq!(read(message.as_bytes()).0.body_html, Some(html));
    }
}
