//! Databases that PRX-Email made.

use airlock_core::{GetMail, ListMail, MailCode, SearchMail, SearchSyntax};
use rusqlite::Connection;

use crate::testing::mail;
use crate::{Feature, Kept, Mailbox, NewMessage};

/// The database at each of the two states that PRX-Email leaves it in.
fn made(with_references: bool) -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("email.db");
    let connection = Connection::open(&file).expect("made");
    connection.execute_batch(include_str!("upstream.sql")).expect("filled");
    if with_references {
        let sql = "ALTER TABLE messages ADD COLUMN references_header TEXT;
                   UPDATE messages SET references_header = '<r@x.example>'";
        connection.execute_batch(sql).expect("altered");
    }
    (home, file)
}

#[test]
fn a_database_of_prx_email_is_opened_with_everything_in_it() {
    for with_references in [false, true] {
        let (_home, file) = made(with_references);
        let mailbox = Mailbox::open(&file).expect("opened");
        let account = mailbox.account(None).expect("the only one");
        assert_eq!((account.id, account.name.as_str()), (4, "anna@x.example"));
        let list = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 10 };
        let listed = mailbox.list(&list).expect("listed").messages;
        let references = with_references.then(|| "<r@x.example>".to_owned());
        assert_eq!((listed.len(), &listed[0].references_header), (1, &references));
        let get = |id: &str| {
            let request = GetMail { account_id: Some(4), message_id: id.to_owned() };
            mailbox.get(&request).expect("asked").message.map(|message| message.id)
        };
        assert_eq!((get("<old@x.example>"), get("old@x.example")), (Some(9), Some(9)));
        let search = SearchMail {
            account_id: None,
            query: "\"another program\"".to_owned(),
            syntax: SearchSyntax::Words,
            limit: 10,
        };
        assert_eq!(mailbox.search(&search).expect("found").messages.len(), 1);
        assert_eq!(mailbox.sync_state(4, "INBOX").expect("read").cursor.as_deref(), Some("41"));
        assert!(mailbox.is_on(4, Feature::EmailSend).expect("theirs"));
        assert!(mailbox.is_on(4, Feature::InboxSearch).expect("added"));
        drop(mailbox);
        drop(Mailbox::open(&file).expect("once more"));
    }
}

#[test]
fn what_prx_email_writes_afterwards_is_found_too() {
    let (_home, file) = made(true);
    let mailbox = Mailbox::open(&file).expect("opened");
    let theirs = Connection::open(&file).expect("open");
    let sql = "INSERT INTO messages (account_id, folder_id, message_id, subject, sender, recipients, snippet,
               body_text, body_html, attachments_json, received_at, references_header, created_at, updated_at)
               VALUES (4, 2, '<new@x.example>', 's', 'f', 't', 'b', 'unmistakable', NULL, NULL, 1, NULL, 1, 1)";
    theirs.execute(sql, []).expect("written");
    let search = SearchMail {
        account_id: None,
        query: "unmistakable".to_owned(),
        syntax: SearchSyntax::Words,
        limit: 10,
    };
    assert_eq!(mailbox.search(&search).expect("found").messages.len(), 1);
}

#[test]
fn a_message_that_prx_email_kept_is_not_kept_once_more() {
    let (_home, file) = made(true);
    let mailbox = Mailbox::open(&file).expect("opened");
    let again = NewMessage { message_id: Some("old@x.example".to_owned()), ..mail("an old one", "kept by") };
    let placed = NewMessage { place: Some((41, String::new())), ..again };
    for _ in 0..2 {
        assert_eq!(mailbox.keep(4, "INBOX", std::slice::from_ref(&placed)), Ok(Kept { new: 0, known: 1 }));
    }
}

#[test]
fn a_newer_schema_and_what_is_no_database_are_refused() {
    let (_home, file) = made(true);
    drop(Mailbox::open(&file).expect("opened"));
    let connection = Connection::open(&file).expect("open");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    let error = Mailbox::open(&file).expect_err("newer");
    assert_eq!(error.code(), MailCode::Storage);
    assert!(error.message().contains("its schema 99 is newer than"), "{error}");
    let other = file.with_file_name("other.db");
    std::fs::write(&other, "this is no database, but long enough to be one at first sight").expect("written");
    assert_eq!(Mailbox::open(&other).expect_err("no database").code(), MailCode::Storage);
}
