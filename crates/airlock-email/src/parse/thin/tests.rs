use airlock_core::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::{CONTENT, Thinner};
use crate::testing::{account, mailbox};
use crate::{AttachmentPolicy, Mailbox, NewMessage};

/// Reads a message that comes in parts of this size.
fn thinned(mailbox: &Mailbox, raw: &[u8], part: usize) -> NewMessage {
    let mut thinner = Thinner::new(mailbox).expect("a mark");
    raw.chunks(part).for_each(|part| thinner.take(part).expect("taken"));
    mailbox.read_thinned(thinner.finish().expect("there")).expect("read")
}

fn lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

fn part(header: &str, content: &str) -> String {
    format!("--b\r\n{header}\r\n\r\n{content}")
}

fn whole(parts: &[String]) -> Vec<u8> {
    let head = "From: a@x.example\r\nMessage-ID: <m@x.example>\r\nMIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";
    format!("{head}{}--b--\r\n", parts.concat()).into_bytes()
}

fn noise(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|index| ((index * 31 + seed) ^ (index >> 8)) as u8).collect()
}

fn told(message: &NewMessage) -> Vec<Value> {
    message.attachments_json.as_ref().map_or_else(Vec::new, |json| serde_json::from_str(json).expect("json"))
}

/// The bytes that are kept of an attachment.
fn kept(mailbox: &Mailbox, message: &NewMessage, index: usize) -> Vec<u8> {
    let path = told(message)[index]["local_path"].as_str().expect("kept").to_owned();
    let folder = mailbox.file().parent().expect("a folder").join("attachments");
    std::fs::read(folder.join(path)).expect("there")
}

const ZIP: &str = "Content-Type: application/zip; name=f.zip\r\nContent-Transfer-Encoding: base64";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// What is read of parts is what is read of the whole, where it is small enough for both.
    #[test]
    fn a_message_in_parts_is_the_message(size in 0_usize..600_000, text in "[ -~]{0,200}", cut in 1_usize..70_000) {
        let (_home, mailbox) = mailbox();
        account(&mailbox, "anna");
        let raw = whole(&[part(TEXT, &lines(text.as_bytes())), part(ZIP, &lines(&noise(size, 1)))]);
        let at_once = crate::RawMessage { bytes: &raw, received_at: 5, place: None };
        let at_once = mailbox.read(&at_once).expect("read");
        let in_parts = thinned(&mailbox, &raw, cut);
        prop_assert_eq!(in_parts.digest, Digest::of(&raw));
        prop_assert_eq!(NewMessage { received_at: Some(5), ..in_parts }, at_once);
    }

    /// The same of files that are no base64.
    #[test]
    fn a_file_in_parts_is_the_file(
        count in 1_usize..30_000, kind in 0_usize..3, ends in any::<bool>(), cut in 1_000_usize..70_000,
    ) {
        let (_home, mailbox) = mailbox();
        account(&mailbox, "anna");
        let mut text = text(count);
        if ends {
            text.extend_from_slice(b"\r\n\r\n");
        }
        let plain = String::from_utf8(text.clone()).expect("text");
        let (header, content) = [
            ("Content-Type: application/pdf\r\nContent-Transfer-Encoding: 8bit", plain.clone()),
            ("Content-Type: application/pdf\r\nContent-Transfer-Encoding: quoted-printable", quoted(&text)),
            ("Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment", plain),
        ][kind].clone();
        let raw = whole(&[part("Content-Type: text/plain", "words\r\n"), part(header, &format!("{content}\r\n"))]);
        let at_once = crate::RawMessage { bytes: &raw, received_at: 5, place: None };
        let at_once = mailbox.read(&at_once).expect("read");
        let in_parts = thinned(&mailbox, &raw, cut);
        prop_assert_eq!(NewMessage { received_at: Some(5), ..in_parts }, at_once);
    }

    #[test]
    fn any_bytes_are_thinned_to_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..3_000), cut in 1_usize..100) {
        let (_home, mailbox) = mailbox();
        let message = thinned(&mailbox, &bytes, cut);
        prop_assert_eq!(message.digest, Digest::of(&bytes));
    }
}

#[test]
fn many_files_are_all_kept_whatever_they_are_together() {
    let (_home, mailbox) = mailbox();
    let files: Vec<Vec<u8>> = (0..60).map(|seed| noise(180_000 + seed, seed)).collect();
    let parts: Vec<String> = files.iter().map(|file| part(ZIP, &lines(file))).collect();
    let message = thinned(&mailbox, &whole(&parts), 300_000);
    assert_eq!(told(&message).len(), 60);
    for (index, file) in files.iter().enumerate() {
        assert!(kept(&mailbox, &message, index) == *file, "{index}");
    }
}

#[test]
fn a_file_beyond_the_policy_is_told_with_its_size_and_not_kept() {
    let (_home, mailbox) = mailbox();
    let types = vec!["application/zip".to_owned()];
    let mailbox = mailbox.with_attachments(AttachmentPolicy { max_bytes: 300_000, types }).expect("a policy");
    let png = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64";
    let parts = [
        part(ZIP, &lines(&noise(300_001, 1))),
        part(png, &lines(&noise(290_000, 2))),
        part(ZIP, &lines(&noise(300_000, 3))),
    ];
    let message = thinned(&mailbox, &whole(&parts), 10_000);
    let of = |index: usize, key: &str| told(&message)[index][key].clone();
    assert_eq!((of(0, "size"), of(0, "refused")), (300_001.into(), "attachment exceeds size limit".into()));
    assert_eq!(
        (of(1, "size"), of(1, "refused")),
        (290_000.into(), "attachment content type is not allowed".into())
    );
    assert_eq!(kept(&mailbox, &message, 2), noise(300_000, 3));
}

#[test]
fn a_long_text_is_cut_and_what_comes_after_it_is_not() {
    let (_home, mailbox) = mailbox();
    let plain = "Content-Type: text/plain; charset=utf-8";
    let line = "words and words and more of them\r\n";
    let parts = [part(plain, &line.repeat(3 * CONTENT / line.len())), part(ZIP, &lines(b"the end"))];
    let message = thinned(&mailbox, &whole(&parts), 50_000);
    let text = message.body_text.clone().expect("a text");
    // Its lines end with one byte here.
    assert!(text.len() > CONTENT / 10 * 9 && text.len() < CONTENT, "{}", text.len());
    assert!(text.ends_with("[the rest of this part is left out]"), "{}", &text[text.len() - 100..]);
    assert_eq!(kept(&mailbox, &message, 0), b"the end");
    // The same where the text is in base64.
    let parts = [part(TEXT, &lines("word ".repeat(CONTENT / 2).as_bytes()))];
    let text = thinned(&mailbox, &whole(&parts), 50_000).body_text.expect("a text");
    assert!(text.starts_with("word word") && text.ends_with("[the rest of this part is left out]"));
}

#[test]
fn a_file_that_is_cut_or_nested_is_never_kept_as_if_it_were_whole() {
    let (_home, mailbox) = mailbox();
    let types = ["application/octet-stream", "message/rfc822", "application/zip"].map(str::to_owned).to_vec();
    let mailbox =
        mailbox.with_attachments(AttachmentPolicy { max_bytes: 25 << 20, types }).expect("a policy");
    let binary = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment";
    let nested = String::from_utf8(whole(&[part(ZIP, &lines(&noise(400_000, 1)))])).expect("text");
    let nested = nested.replace("--b", "--c").replace("\"b\"", "\"c\"");
    let parts = [
        part(binary, &"not base64 at all!\r\n".repeat(200_000)),
        part("Content-Type: message/rfc822", &nested),
    ];
    let message = thinned(&mailbox, &whole(&parts), 50_000);
    let told = told(&message);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0]["refused"], kept(&mailbox, &message, 0).len()), (&Value::Null, 4_000_000 - 2));
    assert_eq!(
        (&told[1]["local_path"], &told[1]["refused"]),
        (
            &Value::Null,
            &"attachment is not whole: the message is too large for it to be held in memory".into()
        )
    );
}

/// Lines of text, some of which look like the beginning of a part, and bytes that are no ASCII.
fn text(lines: usize) -> Vec<u8> {
    let line = |number: usize| match number % 50 {
        0 => "--- a/file.rs\r\n".to_owned(),
        1 => "-- \r\n".to_owned(),
        2 => "\r\n".to_owned(),
        3 => "ends in white space \t\r\n".to_owned(),
        4 => "a = b; content-type: no header\r\n".to_owned(),
        5 if number == 5 => format!("{}\r\n", "long ".repeat(5_000)),
        _ => format!("line {number} of many, größer\r\n"),
    };
    let mut text = (0..lines).map(line).collect::<String>().into_bytes();
    text.extend_from_slice(b"the last one, without an end");
    text
}

/// The same as quoted-printable has it.
fn quoted(text: &[u8]) -> String {
    let mut quoted = String::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (line, end) = match line.strip_suffix(b"\r\n") {
            Some(line) => (line, "\r\n"),
            None => (line, ""),
        };
        let mut column = 0;
        for (at, byte) in line.iter().enumerate() {
            let is_last = at + 1 == line.len();
            let is_plain = matches!(byte, b'!'..=b'~') && *byte != b'=' || *byte == b' ' && !is_last;
            let letter = if is_plain { char::from(*byte).to_string() } else { format!("={byte:02X}") };
            if column + letter.len() > 75 {
                // White space after it means nothing.
                quoted.push_str("= \r\n");
                column = 0;
            }
            column += letter.len();
            quoted.push_str(&letter);
        }
        quoted.push_str(end);
    }
    quoted
}

#[test]
fn a_large_file_is_kept_however_it_is_encoded() {
    let (_home, mailbox) = mailbox();
    let types = ["text/x-patch", "text/plain", "application/pdf"].map(str::to_owned).to_vec();
    let mailbox =
        mailbox.with_attachments(AttachmentPolicy { max_bytes: 25 << 20, types }).expect("a policy");
    let text = text(90_000);
    assert!(text.len() > CONTENT, "{}", text.len());
    let raw = String::from_utf8(text.clone()).expect("text");
    let attached = "Content-Disposition:\r\n\tattachment;\r\n filename=f";
    let spaced = lines(&text).replace("\r\n", " \t\r\n");
    let noisy = lines(&text).replace("\r\n", "*!\r\n");
    let cases = [
        ("7bit", "text/x-patch", &raw),
        ("8bit", "text/plain; charset=utf-8", &raw),
        ("binary", "application/pdf", &raw),
        ("quoted-printable", "text/x-patch; charset=utf-8", &quoted(&text)),
        ("Quoted-Printable", "application/pdf", &quoted(&text)),
        ("base64", "text/x-patch", &lines(&text)),
        ("base64", "application/pdf", &spaced),
        ("base64", "application/pdf", &noisy),
        // What stands in its place is read as it is, whatever this says.
        ("base64", "text/plain; charset=utf-16", &lines(&text)),
    ];
    for (encoding, kind, content) in cases {
        let header = format!("Content-Type: {kind}\r\n{attached}\r\nContent-Transfer-Encoding: {encoding}");
        let parts = [
            part("Content-Type: text/plain", "words\r\n"),
            part(&header, &format!("{content}\r\n")),
            part(ZIP, &lines(b"after it")),
        ];
        for cut in [512 << 10, 9_777] {
            let message = thinned(&mailbox, &whole(&parts), cut);
            let told = told(&message);
            assert_eq!(told.len(), 2, "{encoding} {kind}: {told:?}");
            assert_eq!(
                (&told[0]["refused"], &told[0]["size"], &told[0]["filename"]),
                (&Value::Null, &text.len().into(), &"f".into()),
                "{encoding} {kind}"
            );
            assert!(kept(&mailbox, &message, 0) == text, "{encoding} {kind} {cut}");
            assert_eq!(message.body_text.as_deref(), Some("words"));
            assert_eq!(told[1]["size"], 8);
        }
    }
}

#[test]
fn a_nested_message_is_kept_as_it_came() {
    let (_home, mailbox) = mailbox();
    let types = vec!["message/rfc822".to_owned()];
    let mailbox =
        mailbox.with_attachments(AttachmentPolicy { max_bytes: 25 << 20, types }).expect("a policy");
    let nested = "Subject: inner\r\nContent-Type: text/plain\r\n\r\ninner words";
    let plain = part("Content-Type: text/plain", "outer words\r\n");
    let raw = whole(&[plain, part("Content-Type: message/rfc822", &format!("{nested}\r\n"))]);
    let at_once =
        mailbox.read(&crate::RawMessage { bytes: &raw, received_at: 5, place: None }).expect("read");
    assert_eq!(String::from_utf8_lossy(&kept(&mailbox, &at_once, 0)), nested);
}
