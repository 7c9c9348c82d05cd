//! Messages as programs have once written them, and ones that nobody should have: delivered by a
//! server, and each is here as far as it can be read.

use std::collections::BTreeMap;
use std::path::Path;

use airlock_core::{ListMail, MailMessage};
use airlock_email::{Auth, Mailbox, Security};

use crate::dovecot::{Dovecot, fetching};
use crate::fetching::request;
use crate::server::{Known, PASSWORD};

/// A file of the corpus, and what is shown of it.
struct Odd {
    file: &'static str,
    subject: Option<&'static str>,
    sender: Option<&'static str>,
    text: &'static str,
    /// Names, types and sizes.
    attached: &'static [(Option<&'static str>, &'static str, u64)],
}

const ANNA: Option<&str> = Some("anna@x.example");

const fn odd(file: &'static str, subject: &'static str, text: &'static str) -> Odd {
    Odd { file, subject: Some(subject), sender: ANNA, text, attached: &[] }
}

const ODD: [Odd; 46] = [
    odd("alternative", "both", "the plain text"),
    Odd {
        attached: &[
            (Some("Grüße.pdf"), "application/pdf", 19),
            (Some("evil.exe"), "application/x-msdownload", 2),
            (Some("pic.png"), "image/png", 8),
        ],
        ..odd("attachments", "files", "see files")
    },
    odd("bad-base64", "bad base64", "!!!! not base64 at all ===="),
    odd("bad-date", "bad date", "body"),
    odd("bad-qp", "bad qp", "50% =ZZ off soft = end"),
    odd("bare-cr", "one X-Injected: two", "first\nsecond\nthird"),
    odd("base64-garbage", "base64 with garbage", "Hello world"),
    // The parser ends a part at a boundary after white space too.
    odd("boundary-in-preamble", "preamble", "the text"),
    odd("boundary-twice", "same boundary", "inner\n\nouter"),
    odd("charset-1252-as-ascii", "says ascii too", "“quoted” € 5"),
    odd("charset-1252-as-latin1", "“quoted”", "“quoted” café"),
    odd("charset-gb18030", "报告", "第三季度"),
    odd("charset-iso2022jp", "こんにちは", "お元気ですか"),
    odd("charset-koi8r", "Привет", "Как дела"),
    odd("charset-latin1", "Grüße", "Grüße aus Köln"),
    odd("charset-lies", "says ascii", "naïve café"),
    odd("charset-none", "says nothing", "Grüße"),
    odd("charset-sjis", "会議の件", "明日の会議"),
    odd("charset-unknown", "unknown charset", "plain enough"),
    odd("charset-utf7", "old", "Hi Mom ☺!"),
    odd("charset-windows1252", "quotes", "“quoted” € 5"),
    odd(
        "digest",
        "digest",
        "From: a@x.example\nSubject: one\n\nfirst of the digest\n\nFrom: b@x.example\nSubject: two\n\nsecond",
    ),
    odd("duplicate-id-1", "first", "the first"),
    odd("duplicate-id-2", "second", "the second"),
    odd("encoded-name", "groups", "body"),
    odd("encoded-words-split", "Grüße aus Köln", "body"),
    odd("encoded-words", "one twothree plain =?bad?X?zzz?= \u{fffd}", "body"),
    odd("header-only", "no body at all", ""),
    odd("html-only", "html", "first\nsecond & <third>\n* one\n* two\n\na\nb"),
    odd("injected-id", "bell  and  [31mred", "body [2J with escapes"),
    odd("lf-only", "unix lines", "body"),
    odd("missing-boundary", "no boundary", "--x\n\ntext\n--x--"),
    Odd {
        attached: &[(None, "image/png", 8), (None, "message/rfc822", 62)],
        ..odd("nested", "nested", "innermost")
    },
    odd("no-closing-boundaries", "cut in a part of a part", "drei Käse, vier Brote and mor"),
    Odd { attached: &[(None, "application/pdf", 6)], ..odd("no-closing-boundary", "cut", "the beginning") },
    odd("no-date", "no date", "body"),
    Odd { subject: None, sender: None, ..odd("no-header", "", "just text") },
    odd("no-id", "no id", "body"),
    odd("no-parts", "no parts", "only this, and no part"),
    odd("nul", "a€b", "before€after"),
    Odd {
        attached: &[
            (Some("Grüße.pdf"), "application/pdf", 6),
            (Some("second part.pdf"), "application/pdf", 6),
        ],
        ..odd("parameter-continued", "continued", "see file")
    },
    odd("raw-latin1-header", "Grüße ohne Kodierung", "body"),
    odd("raw-utf8-header", "Grüße ohne Kodierung", "body"),
    Odd { sender: Some("second@x.example"), ..odd("several-of-all", "two", "body") },
    Odd { attached: &[(Some("hello.txt"), "text/plain", 13)], ..odd("uuencode", "uuencoded", "see file") },
    Odd {
        attached: &[(Some("winmail.dat"), "application/ms-tnef", 22)],
        ..odd("winmail", "winmail", "as rich text")
    },
];

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Syncs what is delivered; what is here, by UIDs, which are in the order of the delivery.
fn synced(messages: Vec<Vec<u8>>) -> (tempfile::TempDir, Mailbox, Vec<MailMessage>) {
    let (server, count) = (Dovecot::start(), messages.len());
    server.deliver(messages);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let synced = mailbox.sync(&request(u32::MAX), &*Known::new(PASSWORD), &server.connector(), &());
    assert_eq!(synced.unwrap().synced.synced, count as u64);
    assert!(mailbox.flags(1, "INBOX").unwrap().into_keys().eq(1..=count as u32));
    let list = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 500 };
    let mut messages = mailbox.list(&list).unwrap().messages;
    messages.sort_by_key(|message| message.id);
    (home, mailbox, messages)
}

/// Names, types and sizes of what is attached, and why it is not kept.
fn attached(message: &MailMessage) -> Vec<(Option<String>, String, u64)> {
    let json = message.attachments_json.as_deref().unwrap_or("[]");
    let attached: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let told = attached.iter().map(|attached| {
        (
            text(&attached["filename"]),
            text(&attached["content_type"]).unwrap(),
            attached["size"].as_u64().unwrap(),
        )
    });
    told.collect()
}

#[test]
fn odd_messages_are_here_as_they_were_meant() {
    let files = std::fs::read_dir(corpus()).unwrap();
    let mut files: Vec<String> =
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ODD.map(|odd| format!("{}.eml", odd.file)));
    let read = |odd: &Odd| std::fs::read(corpus().join(format!("{}.eml", odd.file))).unwrap();
    let (_home, _mailbox, messages) = synced(ODD.iter().map(read).collect());
    let mut wrong = Vec::new();
    for (odd, message) in ODD.iter().zip(&messages) {
        let expected: Vec<_> = odd
            .attached
            .iter()
            .map(|(name, kind, size)| (name.map(str::to_owned), (*kind).to_owned(), *size))
            .collect();
        let shown = (
            message.subject.as_deref(),
            message.sender.as_deref(),
            message.body_text.as_deref().unwrap_or_default(),
            attached(message),
        );
        if shown != (odd.subject, odd.sender, odd.text, expected) {
            wrong.push(format!("{}: {shown:?}", odd.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Large ones by their names, each with what its text is to be, and how much is attached.
fn huge() -> Vec<(&'static str, Vec<u8>, String, usize)> {
    let head = |subject: &str| {
        format!("From: anna@x.example\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x.example>\r\n")
    };
    let left_out = |reason: &str| format!("[this message is kept without its content: {reason}]");
    let mixed = |subject: &str, parts: usize| {
        let part = "--x\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\na\r\n";
        format!(
            "{}Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n{}--x--\r\n",
            head(subject),
            part.repeat(parts)
        )
        .into_bytes()
    };
    let nested = |subject: &str, depth: usize| {
        let inner = "Content-Type: message/rfc822\r\n\r\n".repeat(depth);
        format!("{}{inner}Subject: innermost\r\n\r\ntext\r\n", head(subject)).into_bytes()
    };
    let line = |subject: &str, bytes: usize| {
        format!("{}X-Long: {}\r\n\r\ntext\r\n", head(subject), "a".repeat(bytes)).into_bytes()
    };
    let to: String = (0..10_000).map(|number| format!("r{number:05}@recipients.example,\r\n ")).collect();
    let recipients = format!("{}To: {}\r\n\r\ntext\r\n", head("recipients"), to.trim_end_matches(",\r\n "));
    let mut large = format!("{}\r\n", head("large")).into_bytes();
    large.resize(50_000_000, b'a');
    let mut larger = format!("{}\r\n", head("larger")).into_bytes();
    larger.resize(50_000_100, b'a');
    let text = || "text".to_owned();
    vec![
        ("parts", mixed("parts", 1_000), text(), 1_000),
        ("many-parts", mixed("many-parts", 9_999), text(), 9_999),
        ("more-parts", mixed("more-parts", 10_000), left_out("it has more than 10,000 parts"), 0),
        ("nested", nested("nested", 50), String::new(), 1),
        ("deeper", nested("deeper", 200), left_out("it has messages nested too deep"), 0),
        ("line", line("line", 900_000), text(), 0),
        ("longer-line", line("longer-line", 1_200_000), text(), 0),
        ("recipients", recipients.into_bytes(), text(), 0),
        ("large", large, "a".repeat(2 << 20), 0),
        ("larger", larger, left_out("it is larger than 50 MB"), 0),
        ("", Vec::new(), String::new(), 0),
    ]
}

#[test]
fn huge_messages_and_an_empty_one_are_here_as_far_as_the_bounds_let_them() {
    let huge = huge();
    let (_home, _mailbox, messages) = synced(huge.iter().map(|(_, message, ..)| message.clone()).collect());
    let by_subject: BTreeMap<&str, &MailMessage> =
        messages.iter().map(|message| (message.subject.as_deref().unwrap_or_default(), message)).collect();
    for (name, _, text, count) in &huge {
        let message = by_subject.get(name).unwrap_or_else(|| panic!("`{name}` is not here"));
        let shown = message.body_text.as_deref().unwrap_or_default();
        let beginning = |text: &str| text.chars().take(200).collect::<String>();
        assert_eq!((beginning(shown), attached(message).len()), (beginning(text), *count), "{name}");
        assert!(shown.starts_with(text.as_str()), "{name}: {} bytes", shown.len());
    }
    // As many recipients as there is room for, and none of them cut.
    let recipients = by_subject["recipients"].recipients.as_deref().unwrap();
    let all: Vec<&str> = recipients.split(", ").collect();
    assert!(all.len() > 2_000, "{}", all.len());
    for (number, recipient) in all.iter().enumerate() {
        assert_eq!(*recipient, format!("r{number:05}@recipients.example"));
    }
}
