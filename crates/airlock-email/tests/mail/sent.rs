//! What was sent, in the folders of the account: after a crash it says whether the message went, and
//! otherwise there is a copy of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use airlock_core::{Delivery, SendMail};
use airlock_email::{Auth, Connector, Feature, Looked, Mailbox, NewAccount, OutboxWorker, Security, Server};
use tempfile::TempDir;

use crate::dovecot::Dovecot;
use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, Known, PASSWORD, message};

/// A server that mail is handed to, one that it is fetched from, and an account of both.
struct Both {
    exim: Exim,
    dovecot: Dovecot,
    /// The ways to them.
    smtp: Proxy,
    imap: Proxy,
    home: TempDir,
    mailbox: Mailbox,
}

impl Both {
    fn new(dovecot: Dovecot) -> Self {
        let exim = Exim::start();
        let (smtp, imap) = (Proxy::to(exim.port), Proxy::to(dovecot.port));
        let home = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(&home.path().join("mail.db")).unwrap();
        let server = |port, auth| Server {
            host: "127.0.0.1".to_owned(),
            port,
            security: Security::Plain,
            user: "anna".to_owned(),
            auth,
        };
        let account = NewAccount {
            name: "work".to_owned(),
            email: "anna@x.example".to_owned(),
            display_name: None,
            imap: Some(server(imap.port, Auth::Plain)),
            smtp: Some(server(smtp.port, Auth::None)),
        };
        let id = mailbox.set_account(&account).unwrap();
        mailbox.switch(id, Feature::EmailSend, true).unwrap();
        mailbox.switch(id, Feature::OutboxRetry, true).unwrap();
        Both { exim, dovecot, smtp, imap, home, mailbox }
    }

    /// Has another process send a message, and kills it when the server has taken that and the
    /// process does not know yet. The message as the server delivered it.
    fn crash(&self, subject: &str, delivered: usize) -> String {
        self.smtp.set(Fault { held_after: Some(b"354 "), ..Fault::NONE });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sent::a_process_that_sends_one_message", "--test-threads", "1"])
            .env(TO_SEND, format!("{}\n{subject}", self.home.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let delivered = self.exim.delivered(delivered);
        child.kill().unwrap();
        child.wait().unwrap();
        self.smtp.set(Fault::NONE);
        let subject = format!("Subject: {subject}\n");
        delivered.into_iter().find(|message| message.contains(&subject)).unwrap()
    }

    fn outbox(&self) -> Vec<(Delivery, Option<String>)> {
        let entries = self.mailbox.outbox(1).unwrap().into_iter();
        entries.map(|entry| (entry.delivery, entry.last_error)).collect()
    }

    fn due(&self) -> (Vec<Delivery>, Vec<Delivery>) {
        let secret = Known::new(PASSWORD);
        let tried = self.mailbox.deliver_due(&*secret, &connector()).unwrap();
        (tried, self.mailbox.look_due(&*secret, &connector()).unwrap())
    }

    fn look_for(&self, id: i64) -> Looked {
        self.mailbox.look_for(id, &*Known::new(PASSWORD), &connector()).unwrap()
    }

    /// The messages in a folder: their flags and headers.
    fn folder(&self, folder: &str) -> String {
        let mut session = self.dovecot.session();
        session.run(&format!("SELECT {folder}"));
        session.run("UID FETCH 1:* (FLAGS BODY.PEEK[])")
    }
}

fn connector() -> Connector {
    Connector::default().with_patience(Duration::from_secs(20))
}

/// The folder of the mailbox that the process sends from, and about what.
const TO_SEND: &str = "AIRLOCK_TEST_TO_SEND_ONE";

/// Not a test but what others run in a process of its own.
#[test]
#[ignore = "other tests run it"]
fn a_process_that_sends_one_message() {
    let told = std::env::var(TO_SEND).expect("another test runs it, and says what to send from");
    let (home, subject) = told.split_once('\n').unwrap();
    let mailbox = Mailbox::open(&Path::new(home).join("mail.db")).unwrap();
    let _ = mailbox.send(&message(subject), &*Known::new(PASSWORD), &connector());
}

#[test]
fn a_message_that_a_crash_left_uncertain_was_sent_where_it_is_among_the_sent_ones() {
    let both = Both::new(Dovecot::start());
    let raw = both.crash("filed", 1);
    // As a server does that files what is sent by it.
    both.dovecot.session().append("Sent", raw.replace('\n', "\r\n").as_bytes());
    let (tried, found) = both.due();
    assert_eq!(tried, []);
    assert_eq!(found.iter().map(|found| (found.status, found.held)).collect::<Vec<_>>(), [("sent", None)]);
    let (delivery, error) = both.outbox().remove(0);
    assert_eq!((delivery.status, delivery.held, error), ("sent", None, None));
    // Nothing more happens to it, and it went once.
    assert_eq!(both.due(), (vec![], vec![]));
    assert_eq!(both.exim.delivered(1).len(), 1);
    assert_eq!(both.folder("Sent").matches("Message-ID: ").count(), 1);
}

#[test]
fn a_message_that_a_crash_left_uncertain_and_that_is_nowhere_stays_so_until_a_person_decides() {
    let both = Both::new(Dovecot::start());
    both.crash("lost", 1);
    assert_eq!(both.due(), (vec![], vec![]));
    let (delivery, error) = both.outbox().remove(0);
    assert_eq!((delivery.status, delivery.held), ("failed", Some("uncertain")));
    let reason =
        "the process that sent it ended before the server's answer was kept; it is not in `Sent`, `INBOX`";
    assert_eq!(error.as_deref(), Some(reason));
    // It is looked for again, and what is told stays as long as it is.
    assert_eq!(
        both.look_for(delivery.outbox_id),
        Looked::Missing(vec!["Sent".to_owned(), "INBOX".to_owned()])
    );
    assert_eq!(both.outbox()[0].1.as_deref(), Some(reason));
    let due = both.mailbox.next_due().unwrap().unwrap();
    assert!(due < i64::MAX, "{due}");
    assert_eq!(both.exim.delivered(1).len(), 1);
    both.mailbox.retry(delivery.outbox_id).unwrap();
    let (tried, _) = both.due();
    assert_eq!((tried[0].status, &tried[0].message_id), ("sent", &delivery.message_id));
    assert_eq!(both.exim.delivered(2).len(), 2);
}

#[test]
fn a_server_without_a_folder_of_sent_messages_can_still_show_that_one_arrived() {
    let none = "namespace inbox {\n  mailbox Sent {\n    auto = no\n    special_use =\n  }\n}\n";
    let both = Both::new(Dovecot::start_with(none));
    assert!(!both.dovecot.session().run("LIST \"\" *").contains("Sent"));
    let raw = both.crash("to myself", 1);
    assert_eq!(both.due(), (vec![], vec![]));
    let (delivery, error) = both.outbox().remove(0);
    assert_eq!(delivery.held, Some("uncertain"));
    assert!(error.unwrap().ends_with("; it is not in `INBOX`"));
    both.dovecot.deliver([raw.into_bytes()]);
    assert_eq!(both.look_for(delivery.outbox_id), Looked::Found("INBOX".to_owned()));
    assert_eq!(both.outbox()[0].0.status, "sent");
    assert_eq!(both.due(), (vec![], vec![]));
    // There is no place for a copy of it or of another one, which is no reason not to send it.
    let sent = both.mailbox.send(&message("sent"), &*Known::new(PASSWORD), &connector()).unwrap();
    assert_eq!(sent.delivery.status, "sent");
    assert_eq!(both.mailbox.next_due().unwrap(), None);
    assert!(!both.dovecot.session().run("LIST \"\" *").contains("Sent"));
}

#[test]
fn a_copy_of_what_is_sent_is_among_the_sent_messages_once() {
    let both = Both::new(Dovecot::start());
    let request = SendMail { body_text: "first\n.\nlast".to_owned(), ..message("copied") };
    let secret = Known::new(PASSWORD);
    both.mailbox.send(&request, &*secret, &connector()).unwrap();
    let sent = both.folder("Sent");
    assert_eq!(
        (sent.matches("Subject: copied\r\n").count(), sent.matches("\\Seen").count()),
        (1, 1),
        "{sent}"
    );
    assert!(sent.contains("\r\nfirst\r\n.\r\nlast\r\n"), "{sent}");
    assert_eq!(both.mailbox.next_due().unwrap(), None);
    // A server that mail cannot be fetched from is no reason for anything, and gets its copy later.
    both.imap.set(Fault { to_server: 0, ..Fault::NONE });
    let later = both.mailbox.send(&message("later"), &*secret, &connector()).unwrap().delivery;
    let theirs = both.mailbox.send(&message("theirs"), &*secret, &connector()).unwrap().delivery;
    assert_eq!((later.status, theirs.status), ("sent", "sent"));
    assert!(both.mailbox.next_due().unwrap().is_some());
    both.imap.set(Fault::NONE);
    assert_eq!(both.look_for(later.outbox_id), Looked::Found("Sent".to_owned()));
    // One that the server has put there by itself is there once.
    let raw = both.exim.delivered(3).into_iter().find(|raw| raw.contains("Subject: theirs")).unwrap();
    both.dovecot.session().append("Sent", raw.replace('\n', "\r\n").as_bytes());
    assert_eq!(both.look_for(theirs.outbox_id), Looked::Found("Sent".to_owned()));
    both.mailbox.switch(1, Feature::SaveSent, false).unwrap();
    both.mailbox.send(&message("uncopied"), &*secret, &connector()).unwrap();
    let sent = both.folder("Sent");
    for (subject, count) in [("copied", 1), ("later", 1), ("theirs", 1), ("uncopied", 0)] {
        assert_eq!(sent.matches(&format!("Subject: {subject}\r\n")).count(), count, "{subject}: {sent}");
    }
    assert_eq!(both.mailbox.next_due().unwrap(), None);
}

#[test]
fn the_worker_finds_what_a_crash_left() {
    let both = Both::new(Dovecot::start());
    let raw = both.crash("found", 1);
    both.dovecot.session().append("Sent", raw.replace('\n', "\r\n").as_bytes());
    let mailbox = std::sync::Arc::new(Mailbox::open(both.mailbox.file()).unwrap());
    let worker = OutboxWorker::start(mailbox, Known::new(PASSWORD), connector()).unwrap();
    // It has looked once when it ends.
    drop(worker);
    assert_eq!((both.outbox()[0].0.status, both.outbox()[0].0.held), ("sent", None));
}
