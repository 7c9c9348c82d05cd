//! What is fetched, and that it is what the server has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airlock_core::{GetMail, ListMail, MailCode, MailMessage, SyncMail};
use airlock_email::{
    Auth, Backoff, Mailbox, Security, SpecialUse, Stop, SyncProgress, SyncWorker, SyncedFolder, Watch,
};
use base64::Engine as _;

use crate::dovecot::{Dovecot, fetching};
use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, Known, PASSWORD, TOKEN, mailbox, message};

/// A message with an id and a text of its number, sent on 2 June 2024 and so many seconds.
pub(crate) fn letter(number: usize) -> Vec<u8> {
    let second = number % 60;
    format!(
        "From: Bert <bert@x.example>\r\nTo: anna@x.example\r\nSubject: n{number}\r\n\
         Message-ID: <n{number}@x.example>\r\nDate: Sun, 2 Jun 2024 10:00:{second:02} +0000\r\n\r\n\
         text of {number}\r\n"
    )
    .into_bytes()
}

pub(crate) fn request(max_messages: u32) -> SyncMail {
    SyncMail { account_id: None, folder: "INBOX".to_owned(), cursor: None, max_messages }
}

pub(crate) fn list(mailbox: &Mailbox) -> Vec<MailMessage> {
    let request = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 500 };
    mailbox.list(&request).unwrap().messages
}

/// The subjects of what is here, in their order.
pub(crate) fn subjects(mailbox: &Mailbox) -> Vec<String> {
    let mut subjects: Vec<String> = list(mailbox).into_iter().filter_map(|message| message.subject).collect();
    subjects.sort_by_key(|subject| subject.trim_start_matches('n').parse::<usize>().unwrap_or(0));
    subjects
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("n{number}")).collect()
}

fn sync(mailbox: &Mailbox, server: &Dovecot, request: &SyncMail) -> SyncedFolder {
    mailbox.sync(request, &*Known::new(PASSWORD), &server.connector(), &()).unwrap()
}

#[test]
fn mail_is_fetched_with_every_kind_of_login_and_encryption() {
    let server = Dovecot::start();
    server.deliver((1..=3).map(letter));
    for (security, auth, port, secret) in [
        (Security::Tls, Auth::Plain, server.tls_port, PASSWORD),
        (Security::Tls, Auth::Xoauth2, server.tls_port, TOKEN),
        (Security::StartTls, Auth::Login, server.port, PASSWORD),
        (Security::StartTls, Auth::OauthBearer, server.port, TOKEN),
        (Security::Plain, Auth::Plain, server.port, PASSWORD),
        (Security::Plain, Auth::Xoauth2, server.port, TOKEN),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), port, security, auth);
        let synced = mailbox.sync(&request(100), &*Known::new(secret), &server.connector(), &());
        let synced =
            synced.unwrap_or_else(|error| panic!("{security:?} {auth:?}: {error}\n{}", server.log()));
        assert_eq!((synced.synced.synced, synced.known, synced.more), (3, 0, false));
        assert_eq!(synced.synced.cursor.as_deref(), Some("3"));
        assert_eq!(subjects(&mailbox), numbered(1..=3));
    }
}

#[test]
fn a_message_has_the_time_it_was_sent_and_the_one_it_came() {
    let server = Dovecot::start();
    let mut session = server.session();
    session.run("CREATE Other");
    let text = String::from_utf8(letter(7)).unwrap();
    let command = format!(
        "APPEND Other (\\Flagged custom) \"17-Jul-1996 02:44:25 -0700\" {{{}+}}\r\n{text}",
        text.len()
    );
    session.run(&command);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    sync(&mailbox, &server, &SyncMail { folder: "Other".to_owned(), ..request(100) });
    let get = GetMail { account_id: None, message_id: "<n7@x.example>".to_owned() };
    let message = mailbox.get(&get).unwrap().message.unwrap();
    assert_eq!((message.received_at, message.sent_at), (Some(837_596_665), Some(1_717_322_407)));
    assert_eq!(message.body_text.as_deref(), Some("text of 7"));
    let flags = mailbox.flags(1, "Other").unwrap();
    assert_eq!(flags, BTreeMap::from([(1, "\\Flagged custom".to_owned())]));
}

#[test]
fn a_refused_login_says_so_and_not_with_what() {
    let server = Dovecot::start_with("auth_failure_delay = 0\n");
    let home = tempfile::tempdir().unwrap();
    for (auth, secret) in [
        (Auth::Plain, "wrong-horse-battery"),
        (Auth::Login, "wrong \"horse\"\u{e9}\r\n"),
        (Auth::Xoauth2, "ya29.other-token"),
        (Auth::OauthBearer, "ya29.other-token"),
    ] {
        let mailbox = fetching(home.path(), server.tls_port, Security::Tls, auth);
        let error = mailbox.sync(&request(1), &*Known::new(secret), &server.connector(), &()).unwrap_err();
        assert_eq!(error.code(), MailCode::Provider, "{auth:?}: {error}");
        assert!(error.message().starts_with("provider rejected the request: "), "{error}");
        assert!(!error.message().contains(secret), "{error}");
    }
    let state =
        fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain).sync_state(1, "INBOX").unwrap();
    assert_eq!(state.cursor, None);
}

#[test]
fn a_server_of_an_unknown_authority_is_not_spoken_to_unless_the_account_knows_it() {
    let server = Dovecot::start();
    server.deliver([letter(1)]);
    let home = tempfile::tempdir().unwrap();
    for (security, port) in [(Security::Tls, server.tls_port), (Security::StartTls, server.port)] {
        let mailbox = fetching(home.path(), port, security, Auth::Plain);
        let connector = airlock_email::Connector::default().with_patience(Duration::from_secs(20));
        let fetch = || mailbox.sync(&request(10), &*Known::new(PASSWORD), &connector, &());
        mailbox.set_authorities(1, None).unwrap();
        let error = fetch().unwrap_err();
        assert_eq!(error.code(), MailCode::Network);
        assert!(error.message().contains("no encrypted connection"), "{error}");
        assert!(mailbox.set_authorities(1, Some("no certificate")).is_err());
        mailbox.set_authorities(1, Some(&server.authority)).unwrap();
        fetch().unwrap();
    }
}

#[test]
fn older_mail_is_never_skipped() {
    let server = Dovecot::start();
    server.deliver((1..=25).map(letter));
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    for (new, cursor, more) in [(10, "10", true), (10, "20", true), (5, "25", false), (0, "25", false)] {
        let synced = sync(&mailbox, &server, &request(10));
        let told = (synced.synced.synced, synced.synced.cursor.as_deref(), synced.more);
        assert_eq!(told, (new, Some(cursor), more));
    }
    assert_eq!(subjects(&mailbox), numbered(1..=25));
}

#[test]
fn a_cursor_has_what_is_before_it_fetched_later() {
    let server = Dovecot::start();
    server.deliver((1..=9).map(letter));
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    sync(&mailbox, &server, &request(2));
    let leapt = sync(&mailbox, &server, &SyncMail { cursor: Some("6".to_owned()), ..request(2) });
    assert_eq!((leapt.synced.synced, leapt.synced.cursor.as_deref()), (2, Some("8")));
    assert_eq!(subjects(&mailbox), numbered([1, 2, 7, 8]));
    let on = sync(&mailbox, &server, &SyncMail { cursor: leapt.synced.cursor, ..request(2) });
    assert_eq!((on.synced.synced, on.synced.cursor.as_deref()), (1, Some("9")));
    assert_eq!(mailbox.sync_state(1, "INBOX").unwrap().cursor.as_deref(), Some("2"));
    assert_eq!(sync(&mailbox, &server, &request(100)).synced.synced, 4);
    assert_eq!(subjects(&mailbox), numbered(1..=9));
    let wrong = SyncMail { cursor: Some("x".to_owned()), ..request(2) };
    let error = mailbox.sync(&wrong, &*Known::new(PASSWORD), &server.connector(), &()).unwrap_err();
    assert_eq!(error.code(), MailCode::Validation);
}

/// A server that says which flags changed, and one that does not.
const WITHOUT_CONDSTORE: &str = "imap_capability = IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN\n";

#[test]
fn flags_and_expunges_are_mirrored() {
    for more in ["", WITHOUT_CONDSTORE] {
        let server = Dovecot::start_with(more);
        server.deliver((1..=6).map(letter));
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
        sync(&mailbox, &server, &request(100));
        let idle = sync(&mailbox, &server, &request(100));
        assert_eq!((idle.synced.synced, idle.known, idle.flagged, idle.expunged), (0, 0, 0, 0));
        let mut session = server.session();
        session.run("SELECT INBOX");
        session.run("STORE 2 +FLAGS (\\Seen \\Answered)");
        let flagged = sync(&mailbox, &server, &request(100));
        assert_eq!((flagged.flagged, flagged.expunged), (1, 0));
        assert_eq!(mailbox.flags(1, "INBOX").unwrap()[&2], "\\Answered \\Seen");
        // The first, one in the middle, the last, and a new one.
        session.run("STORE 1,4,6 +FLAGS (\\Deleted)");
        session.run("EXPUNGE");
        session.append("INBOX", &letter(7));
        let expunged = sync(&mailbox, &server, &request(100));
        assert_eq!((expunged.synced.synced, expunged.expunged, expunged.flagged), (1, 3, 0));
        assert_eq!(subjects(&mailbox), numbered([2, 3, 5, 7]));
        session.run("STORE 1:* +FLAGS (\\Deleted)");
        session.run("EXPUNGE");
        assert_eq!(sync(&mailbox, &server, &request(100)).expunged, 4);
        assert_eq!(subjects(&mailbox), numbered([]));
    }
}

#[test]
fn a_message_in_two_folders_is_one_until_it_is_in_neither() {
    let server = Dovecot::start();
    server.deliver([letter(1)]);
    let mut session = server.session();
    session.run("SELECT INBOX");
    session.run("COPY 1 Sent");
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let sent = SyncMail { folder: "Sent".to_owned(), ..request(100) };
    assert_eq!(sync(&mailbox, &server, &request(100)).synced.synced, 1);
    let copied = sync(&mailbox, &server, &sent);
    assert_eq!((copied.synced.synced, copied.known), (0, 1));
    session.run("STORE 1 +FLAGS (\\Deleted)");
    session.run("EXPUNGE");
    sync(&mailbox, &server, &request(100));
    let get = GetMail { account_id: None, message_id: "<n1@x.example>".to_owned() };
    assert!(mailbox.get(&get).unwrap().message.is_some());
    session.run("SELECT Sent");
    session.run("STORE 1 +FLAGS (\\Deleted)");
    session.run("EXPUNGE");
    sync(&mailbox, &server, &sent);
    assert!(mailbox.get(&get).unwrap().message.is_none());
}

#[test]
fn another_uidvalidity_loses_nothing_and_doubles_nothing() {
    let server = Dovecot::start();
    let mut session = server.session();
    session.run("CREATE Other");
    for number in 1..=8 {
        session.append("Other", &letter(number));
    }
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let other = SyncMail { folder: "Other".to_owned(), ..request(3) };
    let all = SyncMail { max_messages: 100, ..other.clone() };
    let subjects = || {
        let request = ListMail { account_id: None, folder: "Other".to_owned(), limit: 500 };
        let messages = mailbox.list(&request).unwrap().messages;
        let mut subjects: Vec<String> = messages.into_iter().filter_map(|message| message.subject).collect();
        subjects.sort();
        subjects
    };
    sync(&mailbox, &server, &all);
    let before = mailbox.sync_state(1, "Other").unwrap().uid_validity;
    // The same folder anew: some messages are the same under other numbers, some are gone, one is new.
    session.run("DELETE Other");
    session.run("CREATE Other");
    for number in [9, 8, 5, 3, 1] {
        session.append("Other", &letter(number));
    }
    let first = sync(&mailbox, &server, &other);
    assert_eq!((first.synced.synced, first.known, first.more), (1, 2, true));
    // Until all is here again, nothing is taken away.
    assert_eq!(subjects(), numbered(1..=9));
    assert_ne!(mailbox.sync_state(1, "Other").unwrap().uid_validity, before);
    let second = sync(&mailbox, &server, &SyncMail { cursor: first.synced.cursor, ..other.clone() });
    assert_eq!((second.synced.synced, second.known, second.more), (0, 2, false));
    assert_eq!(subjects(), numbered([1, 3, 5, 8, 9]));
    let idle = sync(&mailbox, &server, &all);
    assert_eq!((idle.synced.synced, idle.known, idle.expunged), (0, 0, 0));
}

#[test]
fn folders_have_their_names_and_what_they_are_for() {
    let server = Dovecot::start();
    let mut session = server.session();
    session.run("CREATE \"Entw&APw-rfe &- mehr\"");
    session.append("\"Entw&APw-rfe &- mehr\"", &letter(1));
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let folders =
        mailbox.sync_folders(None, &*Known::new(PASSWORD), &server.connector(), &Stop::new()).unwrap();
    let mut told: Vec<_> = folders.iter().map(|folder| (folder.path.as_str(), folder.special_use)).collect();
    told.sort();
    let expected = [
        ("Drafts", Some(SpecialUse::Drafts)),
        ("Entwürfe & mehr", None),
        ("INBOX", None),
        ("Sent", Some(SpecialUse::Sent)),
    ];
    assert_eq!(told, expected);
    assert_eq!(mailbox.special_folder(1, SpecialUse::Sent).unwrap().as_deref(), Some("Sent"));
    assert_eq!(mailbox.special_folder(1, SpecialUse::Junk).unwrap(), None);
    let named = SyncMail { folder: "Entwürfe & mehr".to_owned(), ..request(10) };
    assert_eq!(sync(&mailbox, &server, &named).synced.synced, 1);
    let missing = SyncMail { folder: "Nowhere".to_owned(), ..request(10) };
    let error = mailbox.sync(&missing, &*Known::new(PASSWORD), &server.connector(), &()).unwrap_err();
    assert_eq!(error.code(), MailCode::Provider);
}

/// A message with files, one of which is large: `bytes` of it.
fn with_files(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let file: Vec<u8> = (0..bytes).map(|index| (index * 7 + index / 251) as u8).collect();
    let encode = |bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        text.as_bytes()
            .chunks(76)
            .map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap()))
            .collect::<String>()
    };
    let raw = format!(
        "From: bert@x.example\r\nTo: anna@x.example\r\nSubject: large\r\nMessage-ID: <large@x.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--b\r\n\
         Content-Type: application/zip; name=\"large.zip\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--b\r\n\
         Content-Type: image/png; name=small.png\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--b--\r\n",
        encode("first words\n".as_bytes()),
        encode(&file),
        encode(b"a small one"),
    );
    (raw.into_bytes(), file)
}

#[test]
fn a_large_message_is_read_as_it_comes() {
    let server = Dovecot::start();
    let (raw, file) = with_files(9 << 20);
    let (too_large, _) = with_files(40 << 20);
    server.deliver([letter(1), raw, letter(2), too_large, letter(3)]);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    assert_eq!(sync(&mailbox, &server, &request(100)).synced.synced, 5);
    let messages = list(&mailbox);
    let large = messages.iter().filter(|message| message.subject.as_deref() == Some("large"));
    let mut large: Vec<&MailMessage> = large.collect();
    large.sort_by_key(|message| message.id);
    assert_eq!(large[0].body_text.as_deref(), Some("first words"));
    let attached: serde_json::Value =
        serde_json::from_str(large[0].attachments_json.as_deref().unwrap()).unwrap();
    let told = |index: usize, key: &str| attached[index][key].clone();
    assert_eq!((told(0, "filename"), told(0, "size")), ("large.zip".into(), (9 << 20).into()));
    assert_eq!((told(1, "filename"), told(1, "size")), ("small.png".into(), 11.into()));
    let path = told(0, "local_path");
    assert_eq!(mailbox.attachment(1, path.as_str().unwrap()).unwrap(), file);
    let small = told(1, "local_path");
    assert_eq!(mailbox.attachment(1, small.as_str().unwrap()).unwrap(), b"a small one");
    let note = "[this message is kept without its content: it is larger than 50 MB]";
    assert_eq!((large[1].body_text.as_deref(), &large[1].attachments_json), (Some(note), &None));
    // Nothing is left of what was on its way.
    let left = std::fs::read_dir(home.path().join("attachments")).unwrap();
    assert!(left.map(|entry| entry.unwrap().file_name()).all(|name| name.len() == 2));
}

/// Notes how far it was each time, and stops after so many messages.
struct Noted {
    done: std::sync::Mutex<Vec<(u64, u64)>>,
    stop: Stop,
    after: u64,
}

impl Watch for Noted {
    fn progressed(&self, progress: &SyncProgress<'_>) {
        self.done.lock().unwrap().push((progress.done, progress.total));
        if progress.done >= self.after {
            self.stop.stop();
        }
    }

    fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

#[test]
fn who_looks_on_is_told_and_can_stop_it() {
    let server = Dovecot::start();
    server.deliver((1..=4_000).map(letter));
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let noted = |after| Noted { done: Default::default(), stop: Stop::new(), after };
    let first = noted(200);
    let stopped = mailbox.sync(&request(4_000), &*Known::new(PASSWORD), &server.connector(), &first);
    assert_eq!(stopped.unwrap_err().code(), MailCode::Network);
    let kept = first.done.lock().unwrap().last().unwrap().0;
    let second = noted(u64::MAX);
    let synced = mailbox.sync(&request(4_000), &*Known::new(PASSWORD), &server.connector(), &second).unwrap();
    assert_eq!(synced.synced.synced + kept, 4_000);
    assert_eq!(second.done.lock().unwrap().last(), Some(&(4_000 - kept, 4_000 - kept)));
    assert_eq!(mailbox.flags(1, "INBOX").unwrap().len(), 4_000);
}

#[test]
fn many_folders_are_synced_at_once_and_each_has_its_own_outcome() {
    let server = Dovecot::start();
    let mut session = server.session();
    for folder in 0..6 {
        session.run(&format!("CREATE f{folder}"));
        for number in 0..5 {
            session.append(&format!("f{folder}"), &letter(folder * 100 + number));
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let mut requests: Vec<SyncMail> =
        (0..6).map(|folder| SyncMail { folder: format!("f{folder}"), ..request(100) }).collect();
    requests.insert(3, SyncMail { folder: "Nowhere".to_owned(), ..request(100) });
    let synced = mailbox.sync_all(&requests, 3, &*Known::new(PASSWORD), &server.connector(), &());
    let told: Vec<Option<u64>> =
        synced.iter().map(|synced| Some(synced.as_ref().ok()?.synced.synced)).collect();
    assert_eq!(told, [Some(5), Some(5), Some(5), None, Some(5), Some(5), Some(5)]);
}

#[test]
fn the_worker_goes_on_after_failures() {
    let server = Dovecot::start();
    server.deliver((1..=30).map(letter));
    let proxy = Proxy::to(server.port);
    proxy.set(Fault { to_client: 0, ..Fault::NONE });
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(fetching(home.path(), proxy.port, Security::Plain, Auth::Plain));
    let soon = Duration::from_millis(20);
    let backoff = Backoff { every: Duration::from_secs(3_600), first: soon, longest: soon, at_once: 4 };
    let (send, receive) = std::sync::mpsc::channel();
    let watch = Arc::new(Told(std::sync::Mutex::new(send)));
    let secret = Known::new(PASSWORD);
    let worker =
        SyncWorker::start(mailbox.clone(), vec![request(7)], backoff, secret, server.connector(), watch)
            .unwrap();
    while proxy.count() < 2 {
        std::thread::sleep(soon);
    }
    proxy.set(Fault::NONE);
    // Without being asked it goes on until there is no more.
    let mut kept = 0;
    while kept < 30 {
        kept += receive.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    assert_eq!(kept, 30);
    server.deliver((31..=32).map(letter));
    worker.look();
    assert_eq!(receive.recv_timeout(Duration::from_secs(30)).unwrap(), 2);
    drop(worker);
    assert_eq!(subjects(&mailbox), numbered(1..=32));
}

struct Told(std::sync::Mutex<std::sync::mpsc::Sender<u64>>);

impl Watch for Told {
    fn progressed(&self, progress: &SyncProgress<'_>) {
        let _ = self.0.lock().unwrap().send(progress.done);
    }
}

#[test]
fn what_exim_delivers_dovecot_gives() {
    let exim = Exim::start();
    let sender = tempfile::tempdir().unwrap();
    let sending = mailbox(sender.path(), exim.tls_port, Security::Tls, Auth::Plain);
    let sent = sending.send(&message("both"), &*Known::new(PASSWORD), &exim.connector()).unwrap();
    exim.delivered(1);
    let server = Dovecot::serve(&exim.home.path().join("maildir"), "Debian-exim");
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    assert_eq!(sync(&mailbox, &server, &request(10)).synced.synced, 1);
    let fetched = list(&mailbox).remove(0);
    assert_eq!(Some(fetched.message_id.trim_matches(['<', '>'])), sent.delivery.message_id.as_deref());
    assert_eq!(
        (fetched.subject.as_deref(), fetched.body_text.as_deref()),
        (Some("both"), Some("about both"))
    );
}
