//! Databases that PRX-Email made.

use airlock_core::{GetMail, ListMail, MailCode, MailError, SearchMail, SearchSyntax, Secret};
use rusqlite::Connection;

use crate::testing::mail;
use crate::{Account, Connector, Credentials, Feature, Kept, Mailbox, NewMessage, Protocol};

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

fn found(mailbox: &Mailbox, query: &str) -> Vec<String> {
    let query = query.to_owned();
    let search = SearchMail { account_id: None, query, syntax: SearchSyntax::Words, limit: 10 };
    let messages = mailbox.search(&search).expect("a query").messages;
    let mut ids: Vec<String> = messages.into_iter().map(|message| message.message_id).collect();
    ids.sort();
    ids
}

#[test]
fn what_prx_email_writes_changes_and_removes_afterwards_is_found_as_it_is() {
    let (_home, file) = made(true);
    let mailbox = Mailbox::open(&file).expect("opened");
    let theirs = Connection::open(&file).expect("open");
    let found = |query: &str| found(&mailbox, query);
    let day = 24 * 60 * 60;
    // As it writes them: by one statement, with all of what it knows of a message.
    let sql = "INSERT INTO messages (account_id, folder_id, message_id, subject, sender, recipients, snippet,
               body_text, body_html, attachments_json, received_at, references_header, created_at, updated_at)
               VALUES (4, 2, ?1, 's', 'f', 't', 'b', 'unmistakable', NULL, ?2, ?3, NULL, 1, 1)
               ON CONFLICT(account_id, message_id) DO UPDATE SET attachments_json = excluded.attachments_json,
               received_at = excluded.received_at";
    let write = |id: &str, attached: Option<&str>, at: i64| {
        theirs.execute(sql, rusqlite::params![id, attached, at]).expect("written");
    };
    write("<plain@x.example>", None, 10 * day);
    write("<empty@x.example>", Some("[]"), 20 * day);
    write("<file@x.example>", Some(r#"[{"filename":"a.pdf"}]"#), 30 * day);
    let (plain, empty, file) = ("<plain@x.example>", "<empty@x.example>", "<file@x.example>");
    assert_eq!(found("unmistakable").len(), 3);
    assert_eq!(found("unmistakable has:attachment"), [file]);
    assert_eq!(found("has:attachment"), [file]);
    assert_eq!(found("unmistakable after:1970-01-21"), [empty, file]);
    assert_eq!(found("unmistakable before:1970-01-21"), [plain]);
    // The same messages, of which something else is known now.
    write(plain, Some(r#"[{"filename":"b.pdf"}]"#), 40 * day);
    write(file, None, 5 * day);
    assert_eq!(found("has:attachment"), [plain]);
    assert_eq!(found("unmistakable -has:attachment before:1970-01-21"), [file]);
    assert_eq!(found("after:1970-02-05"), [plain]);
    theirs.execute("DELETE FROM messages WHERE message_id = ?1", [plain]).expect("removed");
    assert_eq!((found("has:attachment"), found("unmistakable").len()), (vec![], 2));
    let facts = "SELECT count(*) FROM message_facts LEFT JOIN messages USING (id) WHERE messages.id IS NULL";
    let left: i64 = theirs.query_row(facts, [], |row| row.get(0)).expect("counted");
    assert_eq!(left, 0);
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

#[test]
fn what_prx_email_left_in_its_outbox_is_sent_or_told_to_be_uncertain() {
    let (_home, file) = made(true);
    let mailbox = Mailbox::open(&file).expect("opened");
    let sql =
        "INSERT INTO outbox (id, account_id, to_recipients, subject, body_text, status, next_attempt_at,
               created_at, updated_at) VALUES (7, 4, 'b@x.example', 's', 't', 'sending', 1, 1, 1)";
    mailbox.connection().execute(sql, []).expect("written");
    let tried = mailbox.deliver_due(&NoCredentials, &Connector::default()).expect("tried");
    let told: Vec<_> = tried.iter().map(|delivery| (delivery.outbox_id, delivery.status)).collect();
    assert_eq!(told, [(3, "failed")]);
    let entries = mailbox.outbox(4).expect("read");
    assert_eq!((entries[0].delivery.outbox_id, entries[0].delivery.held), (7, Some("uncertain")));
    let entry = &entries[1];
    assert_eq!(entry.last_error.as_deref(), Some("smtp config missing"));
    assert_eq!(entry.delivery.retries, 3);
    let id = entry.delivery.message_id.clone().expect("written once");
    mailbox.switch(4, Feature::OutboxRetry, true).expect("switched");
    mailbox.retry(3).expect("once more");
    mailbox.deliver_due(&NoCredentials, &Connector::default()).expect("tried");
    assert_eq!(mailbox.outbox(4).expect("read")[1].delivery.message_id, Some(id));
}

#[test]
fn what_prx_email_left_and_cannot_be_written_is_given_up_with_the_reason_and_keeps_nobody_waiting() {
    let (_home, file) = made(true);
    let mailbox = Mailbox::open(&file).expect("opened");
    let theirs = Connection::open(&file).expect("open");
    theirs.execute("DELETE FROM outbox", []).expect("emptied");
    let sql = "INSERT INTO outbox (id, account_id, to_recipients, subject, body_text, status,
               next_attempt_at, created_at, updated_at) VALUES (?1, 4, ?2, ?3, 't', 'pending', ?1, 1, 1)";
    let rows: [(i64, &str, &dyn rusqlite::ToSql); 4] = [
        (11, "not an address", &"s"),
        (12, "b@x.example", &"  "),
        // As no program writes it: it is no text.
        (13, "b@x.example", &[0xff_u8, 0xfe].as_slice()),
        (14, "b@x.example", &"s"),
    ];
    for (id, to, subject) in rows {
        theirs.execute(sql, rusqlite::params![id, to, subject]).expect("written");
    }
    let error = mailbox.deliver_due(&NoCredentials, &Connector::default()).expect_err("one is no text");
    assert_eq!(error.code(), MailCode::Storage);
    let read = "SELECT id, status, held, retries, last_error FROM outbox ORDER BY id";
    let mut statement = theirs.prepare(read).expect("read");
    let rows = statement.query_map([], |row| {
        let told: Option<String> = row.get(4)?;
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, told.unwrap_or_default()))
    });
    let rows: Vec<(i64, String, Option<String>, u32, String)> =
        rows.expect("read").collect::<Result<_, _>>().expect("read");
    let row = |id, held: Option<&str>, told: &str| {
        (id, "failed".to_owned(), held.map(str::to_owned), 1, told.to_owned())
    };
    let no_text = "the mailbox cannot be used: Invalid column type Blob at index: 1, name: subject";
    assert_eq!(
        rows,
        [
            row(11, Some("dead"), "invalid recipient address"),
            row(12, Some("dead"), "to/subject/body_text cannot be empty"),
            row(13, None, no_text),
            row(14, None, "smtp config missing"),
        ]
    );
    // What was given up is due at no time.
    theirs.execute("DELETE FROM outbox WHERE id > 12", []).expect("removed");
    assert_eq!(mailbox.next_due(), Ok(None));
    assert_eq!(mailbox.deliver_due(&NoCredentials, &Connector::default()), Ok(Vec::new()));
    assert_eq!(mailbox.outbox(4).expect("read").len(), 2);
}

#[derive(Debug)]
struct NoCredentials;

impl Credentials for NoCredentials {
    fn secret(&self, _: &Account, _: Protocol) -> Result<Secret, MailError> {
        Err(MailError::invalid("there is none"))
    }
}
