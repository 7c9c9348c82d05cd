use std::os::unix::fs::PermissionsExt as _;

use airlock_core::{Digest, GetMail, ListMail, MailCode, SearchMail, SearchSyntax};

use crate::testing::{account, mail, mailbox};
use crate::{Kept, Mailbox, NewMessage, SyncState};

fn subjects(mailbox: &Mailbox, account: i64, folder: &str) -> Vec<String> {
    let request = ListMail { account_id: Some(account), folder: folder.to_owned(), limit: 500 };
    let listed = mailbox.list(&request).expect("listed");
    listed.messages.into_iter().filter_map(|message| message.subject).collect()
}

fn at(uid: u32, message: NewMessage) -> NewMessage {
    NewMessage { place: Some((uid, "\\Seen".to_owned())), ..message }
}

#[test]
fn the_newest_come_first_and_each_account_and_folder_has_its_own() {
    let (_home, mailbox) = mailbox();
    let (one, two) = (account(&mailbox, "one"), account(&mailbox, "two"));
    let old = NewMessage { received_at: Some(1), ..mail("old", "b") };
    mailbox.keep(one, "INBOX", &[mail("new", "b"), old, mail("newer", "b")]).expect("kept");
    mailbox.keep(one, "Sent", &[mail("sent", "b")]).expect("kept");
    mailbox.keep(two, "INBOX", &[mail("new", "b")]).expect("kept");
    assert_eq!(subjects(&mailbox, one, "INBOX"), ["newer", "new", "old"]);
    assert_eq!(subjects(&mailbox, one, "Sent"), ["sent"]);
    assert_eq!(subjects(&mailbox, two, "INBOX"), ["new"]);
    assert_eq!(mailbox.folders(one).expect("read"), ["INBOX", "Sent"]);
    let get = |id: &str| {
        let request = GetMail { account_id: Some(two), message_id: id.to_owned() };
        mailbox.get(&request).expect("asked").message.map(|message| message.account_id)
    };
    assert_eq!(
        (get("new@x.example"), get("<new@x.example>"), get("old@x.example")),
        (Some(two), Some(two), None)
    );
}

#[test]
fn the_same_message_is_kept_once_and_another_under_its_id_beside_it() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let message = at(7, mail("hello", "the first"));
    assert_eq!(mailbox.keep(one, "INBOX", std::slice::from_ref(&message)), Ok(Kept { new: 1, known: 0 }));
    assert_eq!(mailbox.keep(one, "INBOX", std::slice::from_ref(&message)), Ok(Kept { new: 0, known: 1 }));
    assert_eq!(mailbox.keep(one, "Archive", &[at(1, message)]), Ok(Kept { new: 0, known: 1 }));
    let forged = at(8, mail("hello", "another"));
    for expected in [Kept { new: 1, known: 0 }, Kept { new: 0, known: 1 }] {
        assert_eq!(mailbox.keep(one, "INBOX", std::slice::from_ref(&forged)), Ok(expected));
    }
    let get = |id: &str| {
        let request = GetMail { account_id: None, message_id: id.to_owned() };
        mailbox.get(&request).expect("asked").message.and_then(|message| message.body_text)
    };
    assert_eq!(get("hello@x.example").as_deref(), Some("the first"));
    let further = format!("<hello@x.example>+{}", Digest::of(b"hello\nanother").short());
    assert_eq!(get(&further).as_deref(), Some("another"));
    assert_eq!(subjects(&mailbox, one, "Archive"), ["hello"]);
}

#[test]
fn a_message_is_gone_with_its_last_place() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let message = mail("hello", "b");
    mailbox.keep(one, "INBOX", &[at(7, message.clone())]).expect("kept");
    mailbox.keep(one, "Archive", &[at(1, message)]).expect("kept");
    assert_eq!(mailbox.set_flags(one, "INBOX", 7, "\\Flagged"), Ok(true));
    assert_eq!(mailbox.set_flags(one, "INBOX", 8, "\\Flagged"), Ok(false));
    assert_eq!(mailbox.expunge(one, "INBOX", &[7, 9]), Ok(0));
    assert_eq!(subjects(&mailbox, one, "Archive"), ["hello"]);
    assert_eq!(mailbox.expunge(one, "Archive", &[1]), Ok(1));
    assert_eq!(subjects(&mailbox, one, "Archive"), Vec::<String>::new());
}

#[test]
fn messages_and_how_far_they_go_are_kept_together_or_not_at_all() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let state = SyncState {
        cursor: Some("7".to_owned()),
        uid_validity: Some(u32::MAX),
        last_synced_at: Some(5),
        status: Some("ok".to_owned()),
        uid_next: Some(8),
        mod_seq: Some(9),
    };
    mailbox.keep_to(one, "INBOX", &[at(7, mail("a", "b"))], Some(&state)).expect("kept");
    assert_eq!(mailbox.sync_state(one, "INBOX").expect("read"), state);
    assert_eq!(mailbox.sync_state(one, "Other").expect("read"), SyncState::default());
    let later = SyncState { cursor: Some("9".to_owned()), ..state.clone() };
    let error = mailbox.keep_to(one + 1, "INBOX", &[at(9, mail("c", "d"))], Some(&later));
    assert_eq!(error.expect_err("there is no such account").code(), MailCode::Storage);
    assert_eq!(mailbox.sync_state(one, "INBOX").expect("read"), state);
    mailbox.set_sync_state(one, "INBOX", &later).expect("written");
    assert_eq!(mailbox.sync_state(one, "INBOX").expect("read"), later);
}

#[test]
fn a_long_list_leaves_out_bodies_and_a_message_alone_has_its_own() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let long: Vec<_> = (0..3).map(|n| mail(&format!("m{n}"), &"x".repeat(2 << 20))).collect();
    mailbox.keep(one, "INBOX", &long).expect("kept");
    let request = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 500 };
    let listed = mailbox.list(&request).expect("listed").messages;
    assert_eq!(listed.iter().map(|m| m.body_text.is_some()).collect::<Vec<_>>(), [true, true, false]);
    let request = GetMail { account_id: None, message_id: listed[2].message_id.clone() };
    let message = mailbox.get(&request).expect("asked").message.expect("there");
    assert_eq!(message.body_text.map(|body| body.len()), Some(2 << 20));
}

#[test]
fn the_database_is_its_users_alone_and_no_link_is_followed() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("mail/mail.db");
    drop(Mailbox::open(&file).expect("made"));
    let mode = |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&home.path().join("mail")), mode(&file)), (0o700, 0o600));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("set");
    let error = Mailbox::open(&file).expect_err("others can write");
    assert!(error.message().ends_with("others can write to it (mode 0666)"), "{error}");
    let elsewhere = home.path().join("elsewhere");
    std::fs::rename(&file, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("linked");
    assert_eq!(Mailbox::open(&file).expect_err("a link").code(), MailCode::Storage);
}

#[test]
fn a_limit_is_of_one_to_five_hundred_whoever_asks() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let many: Vec<_> = (0..501).map(|n| mail(&format!("m{n}"), "text")).collect();
    mailbox.keep(one, "INBOX", &many).expect("kept");
    let list = |limit| {
        let request = ListMail { account_id: None, folder: "INBOX".to_owned(), limit };
        mailbox.list(&request).map(|listed| listed.messages.len())
    };
    let search = |limit, syntax| {
        let request = SearchMail { account_id: None, query: "m".to_owned(), syntax, limit };
        mailbox.search(&request).map(|found| found.messages.len())
    };
    assert_eq!((list(1), list(500)), (Ok(1), Ok(500)));
    assert_eq!(search(500, SearchSyntax::Plain), Ok(500));
    for limit in [0, 501, u32::MAX] {
        for outcome in [list(limit), search(limit, SearchSyntax::Plain), search(limit, SearchSyntax::Words)] {
            let error = outcome.expect_err("out of range");
            let told = format!("limit_out_of_range:{limit} (expected 1..=500)");
            assert_eq!((error.code(), error.message()), (MailCode::Validation, told.as_str()));
        }
    }
}
