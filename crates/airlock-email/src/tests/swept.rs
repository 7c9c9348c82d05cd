//! Files of attachments, which go with the last message that names them and not before.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::testing::{account, mailbox};
use crate::{Mailbox, RawMessage};

#[path = "../../tests/mail/with_file.rs"]
mod with_file;

use with_file::with_file;

fn receive(mailbox: &Mailbox, account: i64, uid: u32, id: &str, file: &str) {
    let bytes = with_file(id, file);
    let raw = RawMessage { bytes: &bytes, received_at: 1, place: Some((uid, "")) };
    mailbox.receive(account, "INBOX", &[raw]).expect("kept");
}

/// What the files hold that are there, and that there is nothing else.
fn files(home: &Path) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(home.join("attachments")) else { return Vec::new() };
    let folders = folders.map(|folder| folder.expect("read").path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("read"));
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(file.expect("read").path()).expect("text")
    };
    let mut files: Vec<String> = files.map(read).collect();
    files.sort();
    files
}

#[test]
fn files_go_with_the_last_message_that_names_them_whosever_it_is() {
    let (home, mailbox) = mailbox();
    let (one, other) = (account(&mailbox, "one"), account(&mailbox, "other"));
    receive(&mailbox, one, 1, "a", "shared");
    receive(&mailbox, one, 2, "b", "shared");
    receive(&mailbox, one, 3, "c", "own");
    receive(&mailbox, other, 1, "d", "shared");
    receive(&mailbox, other, 2, "e", "theirs");
    assert_eq!(files(home.path()), ["own", "shared", "theirs"]);
    mailbox.expunge(one, "INBOX", &[1, 3]).expect("expunged");
    assert_eq!(files(home.path()), ["shared", "theirs"]);
    assert!(mailbox.remove_account(one).expect("removed"));
    assert_eq!(files(home.path()), ["shared", "theirs"]);
    // What a process left that was killed, and an earlier version, goes with an account.
    let left = home.path().join("attachments/00");
    std::fs::create_dir_all(&left).expect("made");
    std::fs::write(left.join(format!("{:064}", 0)), "left").expect("written");
    assert!(mailbox.remove_account(other).expect("removed"));
    assert_eq!(files(home.path()), Vec::<String>::new());
}

#[test]
fn a_file_that_a_message_is_just_being_kept_with_stays() {
    let (home, mailbox) = mailbox();
    let (one, other) = (account(&mailbox, "one"), account(&mailbox, "other"));
    receive(&mailbox, one, 1, "a", "shared");
    // Another process is about to keep a message with the same file: it has looked whether it is there.
    let elsewhere = Mailbox::open(mailbox.file()).expect("open");
    let keeping = elsewhere.keeping().expect("held");
    let bytes = with_file("b", "shared");
    let read = elsewhere.read(&RawMessage { bytes: &bytes, received_at: 1, place: None }).expect("read");
    assert!(mailbox.remove_account(one).expect("removed"));
    assert_eq!(files(home.path()), ["shared"]);
    elsewhere.keep(other, "INBOX", &[read]).expect("kept");
    drop(keeping);
    elsewhere.sweep_attachments().expect("swept");
    assert_eq!(files(home.path()), ["shared"]);
    assert!(mailbox.remove_account(other).expect("removed"));
    assert_eq!(files(home.path()), Vec::<String>::new());
}

#[test]
fn of_messages_that_come_and_go_at_once_none_is_without_its_file() {
    let (home, mailbox) = mailbox();
    let accounts = [account(&mailbox, "one"), account(&mailbox, "other")];
    /// Ends the other thread however this one does.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = Ends(&ends);
        let goes = scope.spawn(|| {
            let own = Mailbox::open(mailbox.file()).expect("open");
            while !ends.load(Ordering::SeqCst) {
                own.expunge(accounts[0], "INBOX", &[1]).expect("expunged");
            }
        });
        for round in 0..60 {
            for account in accounts {
                // The second finds the file that goes with the message of the first.
                receive(&mailbox, account, 1, &format!("m{round}"), &format!("file {round:02}"));
            }
            let get = airlock_core::GetMail {
                account_id: Some(accounts[1]),
                message_id: format!("m{round}@x.example"),
            };
            let message = mailbox.get(&get).expect("asked").message.expect("kept");
            let told: serde_json::Value =
                serde_json::from_str(&message.attachments_json.expect("some")).expect("json");
            let path = told[0]["local_path"].as_str().expect("kept");
            assert_eq!(
                mailbox.attachment(accounts[1], path).expect("there"),
                format!("file {round:02}").as_bytes()
            );
        }
        drop(ending);
        goes.join().expect("ended");
    });
    mailbox.expunge(accounts[0], "INBOX", &[1]).expect("expunged");
    assert_eq!(files(home.path()), (0..60).map(|round| format!("file {round:02}")).collect::<Vec<_>>());
}

#[test]
fn what_prx_email_names_elsewhere_and_what_another_mailbox_has_in_the_folder_is_left_alone() {
    let (home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    receive(&mailbox, one, 1, "a", "own");
    let outside = home.path().join("outside");
    std::fs::write(&outside, "not ours").expect("written");
    let theirs = Connection::open(mailbox.file()).expect("open");
    let sql = "INSERT INTO messages (account_id, message_id, attachments_json, created_at, updated_at)
               VALUES (?1, ?2, ?3, 1, 1)";
    let named =
        format!(r#"[{{"local_path": "{}"}}, {{"local_path": "../outside"}}, "text", 1]"#, outside.display());
    for (id, json) in [("p", named.as_str()), ("q", "no json"), ("r", "{}"), ("s", "[[]]")] {
        theirs.execute(sql, rusqlite::params![one, id, json]).expect("written");
    }
    theirs.execute("DELETE FROM messages WHERE message_id <> '<a@x.example>'", []).expect("removed");
    mailbox.sweep_attachments().expect("swept");
    assert_eq!((files(home.path()), outside.exists()), (vec!["own".to_owned()], true));
    let second = Mailbox::open(&home.path().join("second.db")).expect("made");
    assert!(mailbox.remove_account(one).expect("removed"));
    assert_eq!(files(home.path()), ["own"]);
    drop(second);
}
