//! What is attached to messages that go at the server.

use std::path::Path;

use airlock_core::SyncMail;
use airlock_email::{Auth, Mailbox, Security};

use crate::dovecot::{Dovecot, fetching};
use crate::fetching::{list, request};
use crate::server::{Known, PASSWORD};
use crate::with_file::with_file;

/// What the files hold that are there.
fn files(home: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(home.join("attachments")).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut files: Vec<String> =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    files.sort();
    files
}

fn sync(mailbox: &Mailbox, server: &Dovecot, folder: &str) {
    let request = SyncMail { folder: folder.to_owned(), ..request(100) };
    mailbox.sync(&request, &*Known::new(PASSWORD), &server.connector(), &()).unwrap();
}

#[test]
fn files_go_with_what_is_expunged_and_with_an_earlier_uidvalidity() {
    let server = Dovecot::start();
    let mut session = server.session();
    session.run("CREATE Other");
    for (id, file) in [("a", "first"), ("b", "both"), ("c", "both"), ("d", "last")] {
        session.append("Other", &with_file(id, file));
    }
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    sync(&mailbox, &server, "Other");
    assert_eq!(files(home.path()), ["both", "first", "last"]);
    session.run("SELECT Other");
    session.run("STORE 1:2 +FLAGS (\\Deleted)");
    session.run("EXPUNGE");
    sync(&mailbox, &server, "Other");
    assert_eq!(files(home.path()), ["both", "last"]);
    session.run("CLOSE");
    session.run("DELETE Other");
    session.run("CREATE Other");
    session.append("Other", &with_file("e", "new"));
    session.append("Other", &with_file("c", "both"));
    sync(&mailbox, &server, "Other");
    assert_eq!(files(home.path()), ["both", "new"]);
    mailbox.remove_account(1).unwrap();
    assert_eq!(files(home.path()), Vec::<String>::new());
}

#[test]
fn a_large_file_that_is_no_base64_is_fetched_and_kept() {
    let server = Dovecot::start();
    let text: String = (0..90_000).map(|number| format!("-- line {number} of many, größer\r\n")).collect();
    let raw = format!(
        "From: bert@x.example\r\nSubject: large\r\nMessage-ID: <large@x.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed;\r\n boundary=\"-- B\"\r\n\r\n---- B\r\nContent-Type: text/plain\r\n\r\n\
         words\r\n---- B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition:\r\n attachment;\r\n \
         filename=f.txt\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n---- B--\r\n"
    );
    server.deliver([raw.into_bytes()]);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    sync(&mailbox, &server, "INBOX");
    let message = list(&mailbox).remove(0);
    let told: serde_json::Value = serde_json::from_str(message.attachments_json.as_deref().unwrap()).unwrap();
    assert_eq!((message.body_text.as_deref(), told.as_array().unwrap().len()), (Some("words"), 1));
    assert_eq!((&told[0]["refused"], &told[0]["size"]), (&serde_json::Value::Null, &text.len().into()));
    let path = told[0]["local_path"].as_str().unwrap();
    assert!(mailbox.attachment(1, path).unwrap() == text.as_bytes());
}
