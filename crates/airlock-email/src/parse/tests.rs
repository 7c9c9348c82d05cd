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

/// Labels, a text, and its bytes in that character set.
const CHARSETS: [(&str, &str, &[u8]); 48] = [
    ("Big5", "中文", b"\xa4\xa4\xa4\xe5"),
    ("EUC-JP", "日本", b"\xc6\xfc\xcb\xdc"),
    ("EUC-KR", "한국", b"\xc7\xd1\xb1\xb9"),
    ("ks_c_5601-1987", "한국", b"\xc7\xd1\xb1\xb9"),
    ("Shift_JIS", "日本", b"\x93\xfa\x96\x7b"),
    ("ISO-2022-JP", "日本", b"\x1b$BF|K\\\x1b(B"),
    ("GB2312", "中文", b"\xd6\xd0\xce\xc4"),
    ("GBK", "中文", b"\xd6\xd0\xce\xc4"),
    ("GB18030", "中文", b"\xd6\xd0\xce\xc4"),
    ("windows-1250", "Łódź", b"\xa3\xf3d\x9f"),
    ("windows-1251", "Привет", b"\xcf\xf0\xe8\xe2\xe5\xf2"),
    ("cp1251", "Привет", b"\xcf\xf0\xe8\xe2\xe5\xf2"),
    ("windows-1252", "“€”", b"\x93\x80\x94"),
    ("windows-1253", "Γειά", b"\xc3\xe5\xe9\xdc"),
    ("windows-1254", "ığ", b"\xfd\xf0"),
    ("windows-1255", "שלום", b"\xf9\xec\xe5\xed"),
    ("windows-1256", "سلام", b"\xd3\xe1\xc7\xe3"),
    ("windows-1257", "āž", b"\xe2\xfe"),
    ("windows-1258", "đ", b"\xf0"),
    ("windows-874", "ไทย", b"\xe4\xb7\xc2"),
    ("TIS-620", "ไทย", b"\xe4\xb7\xc2"),
    ("US-ASCII", "plain", b"plain"),
    ("UTF-8", "größer", "größer".as_bytes()),
    ("ISO-8859-1", "größer", b"gr\xf6\xdfer"),
    ("latin1", "größer", b"gr\xf6\xdfer"),
    ("ISO-8859-2", "Łódź", b"\xa3\xf3d\xbc"),
    ("iso8859-2", "Łódź", b"\xa3\xf3d\xbc"),
    ("ISO-8859-3", "Ħ", b"\xa1"),
    ("ISO-8859-4", "ąš", b"\xb1\xb9"),
    ("ISO-8859-5", "Мир", b"\xbc\xd8\xe0"),
    ("ISO-8859-6", "سلام", b"\xd3\xe4\xc7\xe5"),
    ("ISO-8859-7", "Γειά", b"\xc3\xe5\xe9\xdc"),
    ("ISO-8859-8", "שלום", b"\xf9\xec\xe5\xed"),
    ("ISO-8859-8-I", "שלום", b"\xf9\xec\xe5\xed"),
    ("ISO-8859-9", "ığ", b"\xfd\xf0"),
    ("ISO-8859-10", "ąš", b"\xb1\xba"),
    ("ISO-8859-13", "āž", b"\xe2\xfe"),
    ("ISO-8859-14", "ŵ", b"\xf0"),
    ("ISO-8859-15", "€Š", b"\xa4\xa6"),
    ("ISO-8859-16", "ș€", b"\xba\xa4"),
    ("KOI8-R", "Привет", b"\xf0\xd2\xc9\xd7\xc5\xd4"),
    ("KOI8-U", "Київ", b"\xeb\xc9\xa7\xd7"),
    ("IBM866", "Привет", b"\x8f\xe0\xa8\xa2\xa5\xe2"),
    ("macintosh", "é", b"\x8e"),
    ("UTF-7", "é", b"+AOk-"),
    ("UTF-16", "Hé", b"\xfe\xff\x00H\x00\xe9"),
    ("UTF-16LE", "Hé", b"H\x00\xe9\x00"),
    ("UTF-16BE", "Hé", b"\x00H\x00\xe9"),
];

#[test]
fn texts_and_subjects_of_every_character_set_are_read_in_every_encoding_that_can_hold_them() {
    let mut wrong = Vec::new();
    for (label, text, bytes) in CHARSETS {
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        let quoted: String = bytes.iter().map(|byte| format!("={byte:02X}")).collect();
        let bodies = [
            ("base64", base64.clone().into_bytes()),
            ("quoted-printable", quoted.clone().into_bytes()),
            ("8bit", bytes.to_vec()),
        ];
        for (encoding, body) in bodies {
            for (letter, word) in [("B", &base64), ("Q", &quoted)] {
                let header = format!(
                    "Subject: =?{label}?{letter}?{word}?=\r\nContent-Type: text/plain; charset={label}\r\n\
                     Content-Transfer-Encoding: {encoding}\r\n\r\n"
                );
                let (message, _) = read(&[header.as_bytes(), &body].concat());
                let shown = (message.subject.as_deref(), message.body_text.as_deref());
                if shown != (Some(text), Some(text)) {
                    wrong.push(format!("{label} {encoding} {letter}: {shown:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn base64_with_something_between_is_read_and_what_is_none_is_shown_as_it_came() {
    let encoded = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let shown = |kind: &str, content: &str| {
        let (message, attached) = read(
            format!(
                "Subject: s\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}\r\n"
            )
            .as_bytes(),
        );
        (message.body_text, attached.into_iter().map(|one| one.content).collect::<Vec<_>>())
    };
    let words = "words and more of them, größer";
    let noisy: String =
        encoded(words).chars().map(|c| format!("{c}{}", if c == 'b' { "!" } else { "" })).collect();
    assert_ne!(noisy, encoded(words));
    assert_eq!(shown("text/plain; charset=utf-8", &noisy).0.as_deref(), Some(words));
    assert_eq!(shown("application/pdf", &noisy).1, [words.as_bytes()]);
    // The last letter lost, and something after the padding.
    assert_eq!(shown("text/plain", &format!("!{}", &encoded("words")[..7])).0.as_deref(), Some("words"));
    assert_eq!(
        shown("text/plain", &format!("*{}\r\n-- \r\na list", encoded("word"))).0.as_deref(),
        Some("word")
    );
    for text in ["!!!! not base64 at all ====", "This is plain text, and somebody called it base64."] {
        assert_eq!(shown("text/plain", text).0.as_deref(), Some(text));
        assert_eq!(shown("text/plain; charset=iso-8859-1", text).0.as_deref(), Some(text));
    }
    // In a part of several.
    let part = |content: &str| {
        format!("--x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}\r\n")
    };
    let mixed = "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n";
    let parts = format!("{}{}{}", part(&noisy), part(&encoded("between")), part(&noisy));
    let (message, attached) = read(format!("{mixed}{parts}--x--\r\n").as_bytes());
    let expected = format!("{words}\n\nbetween\n\n{words}");
    assert_eq!((message.body_text.as_deref(), attached.len()), (Some(expected.as_str()), 0));
}

#[test]
fn files_in_the_midst_of_a_text_are_attached_and_what_only_looks_so_is_text() {
    let shown = |text: &str| {
        let (message, attached) = read(format!("Subject: s\r\n\r\n{text}").as_bytes());
        let attached = attached.into_iter();
        let attached = attached.map(|one| (one.filename.unwrap_or_default(), one.content_type, one.content));
        (message.body_text.unwrap_or_default(), attached.collect::<Vec<_>>())
    };
    let cat = |name: &str| format!("begin 644 {name}\r\n#0V%T\r\n`\r\nend\r\n");
    let file = |name: &str, kind: &str| (name.to_owned(), kind.to_owned(), b"Cat".to_vec());
    let text = format!("before\r\n{}between\r\n{}after\r\n", cat("../../cat.txt"), cat("b.exe"));
    assert_eq!(
        shown(&text),
        (
            "before\nbetween\nafter".to_owned(),
            vec![file("cat.txt", "text/plain"), file("b.exe", "application/octet-stream")]
        )
    );
    // Spaces for zeros, of which those at the end of a line were lost.
    let zeros = "begin 0600 z.zip\n#    \n#\n \nend\n";
    assert_eq!(shown(zeros).1, [("z.zip".to_owned(), "application/zip".to_owned(), vec![0; 6])]);
    for text in [
        "begin 644 cat.txt\n#0V%T\n`",
        "begin 644 a\nno uuencode here\nend",
        "begin the day 644\nend",
        "begin 999 a\n#0V%T\n`\nend",
    ] {
        assert_eq!(shown(text), (text.to_owned(), Vec::new()));
    }
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
