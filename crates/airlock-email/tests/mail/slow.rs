//! Servers that take connections and say nothing: nobody waits for them who has nothing to do with them.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlock_core::{GetMail, ListMail, MailRequest, SearchMail, SearchSyntax, SendMail, SyncMail};
use airlock_email::{
    Auth, Connector, Feature, MailService, Mailbox, NewAccount, OutboxWorker, RawMessage, Security,
    SendRules, Server,
};

use crate::server::{Exim, Known, PASSWORD, message};

/// A server that takes connections and says nothing, until it is released.
pub(crate) struct Tarpit {
    pub(crate) port: u16,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    is_released: bool,
    streams: Vec<TcpStream>,
}

impl Tarpit {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, held) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Held>>::default());
        let own = held.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut held = own.lock().unwrap();
                if !held.is_released {
                    held.streams.push(stream.unwrap());
                }
            }
        });
        Tarpit { port, held }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.lock().unwrap().streams.len()
    }

    /// Returns once so many connections are held.
    pub(crate) fn wait_for(&self, count: usize) {
        wait_until("enough connections", || self.held() >= count);
    }

    pub(crate) fn release(&self) {
        let mut held = self.held.lock().unwrap();
        held.is_released = true;
        for stream in held.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes an account of that name, whose servers are at these ports.
fn account(mailbox: &Mailbox, name: &str, smtp: u16, imap: Option<u16>) -> i64 {
    let server = |port| Server {
        host: "127.0.0.1".to_owned(),
        port,
        security: Security::Plain,
        user: "anna".to_owned(),
        auth: Auth::None,
    };
    let account = NewAccount {
        name: name.to_owned(),
        email: format!("{name}@x.example"),
        display_name: None,
        imap: imap.map(server),
        smtp: Some(server(smtp)),
    };
    let id = mailbox.set_account(&account).unwrap();
    for feature in [Feature::EmailSend, Feature::EmailReply, Feature::OutboxRetry] {
        mailbox.switch(id, feature, true).unwrap();
    }
    id
}

fn open(home: &Path) -> Arc<Mailbox> {
    Arc::new(Mailbox::open(&home.join("mail.db")).unwrap())
}

/// One who waits as long as the test takes.
fn patient() -> Connector {
    Connector::default().with_patience(Duration::from_secs(600))
}

#[test]
fn who_reads_does_not_wait_for_those_who_speak_with_slow_servers_and_those_have_a_bound() {
    let tarpit = Tarpit::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let id = account(&mailbox, "work", tarpit.port, Some(tarpit.port));
    let raw = b"From: bert@x.example\r\nSubject: hello\r\nMessage-ID: <h@x.example>\r\n\r\nhello there\r\n";
    mailbox.receive(id, "INBOX", &[RawMessage { bytes: raw, received_at: 1, place: Some((1, "")) }]).unwrap();
    let service =
        MailService::new(mailbox.clone(), Known::new(PASSWORD), patient(), SendRules::default()).unwrap();
    let ended = AtomicUsize::new(0);
    let folder = || "INBOX".to_owned();
    std::thread::scope(|scope| {
        for number in 0..40 {
            let (service, ended) = (&service, &ended);
            scope.spawn(move || {
                let request = match number % 2 {
                    0 => MailRequest::Send(message(&format!("n{number}"))),
                    _ => MailRequest::Sync(SyncMail {
                        account_id: Some(id),
                        folder: "INBOX".to_owned(),
                        cursor: None,
                        max_messages: 1,
                    }),
                };
                airlock_host::block_on(service.perform(request)).unwrap_err();
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        tarpit.wait_for(8);
        wait_until("all are in the outbox", || mailbox.outbox(id).unwrap().len() == 20);
        let requests = [
            MailRequest::List(ListMail { account_id: None, folder: folder(), limit: 10 }),
            MailRequest::Get(GetMail { account_id: None, message_id: "h@x.example".to_owned() }),
            MailRequest::Search(SearchMail {
                account_id: None,
                query: "hello".to_owned(),
                syntax: SearchSyntax::Words,
                limit: 10,
            }),
        ];
        for request in requests {
            let answer = airlock_host::block_on(service.perform(request)).unwrap();
            assert!(answer.to_json_text().contains("hello there"), "{}", answer.to_json_text());
        }
        // As many as may speak with servers do, and no more; none of them had an answer.
        tarpit.wait_for(16);
        assert_eq!((tarpit.held(), ended.load(Ordering::SeqCst)), (16, 0));
        tarpit.release();
    });
    assert_eq!(ended.load(Ordering::SeqCst), 40);
}

/// Puts a message into the outbox of an account, due at once.
fn queued(mailbox: &Mailbox, account: i64, subject: &str) -> i64 {
    // It is tried where nobody listens, and then again.
    let nowhere = Connector::default().with_patience(Duration::from_millis(1));
    let request = SendMail { account_id: Some(account), ..message(subject) };
    let error = mailbox.send(&request, &*Known::new("-"), &nowhere).unwrap_err();
    let id = error.delivery().unwrap().outbox_id;
    mailbox.retry(id).unwrap();
    id
}

#[test]
fn one_accounts_slow_server_keeps_no_other_waiting_and_the_worker_ends_all_the_same() {
    let (tarpit, server) = (Tarpit::start(), Exim::start());
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let closed = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (slow, quick) = (account(&mailbox, "slow", closed, None), account(&mailbox, "quick", closed, None));
    let of_slow = queued(&mailbox, slow, "held");
    for subject in ["first", "second", "third"] {
        queued(&mailbox, quick, subject);
    }
    account(&mailbox, "slow", tarpit.port, None);
    account(&mailbox, "quick", server.port, None);
    let status = |id| {
        let entries: Vec<_> = [slow, quick].iter().flat_map(|of| mailbox.outbox(*of).unwrap()).collect();
        let entry = entries.into_iter().find(|entry| entry.delivery.outbox_id == id).unwrap();
        (entry.delivery.status, entry.delivery.held)
    };
    let worker = OutboxWorker::start(mailbox.clone(), Known::new("-"), patient()).unwrap();
    tarpit.wait_for(1);
    let sent = || mailbox.outbox(quick).unwrap().iter().all(|entry| entry.delivery.status == "sent");
    wait_until("all of the other account is sent", sent);
    assert_eq!((status(of_slow), tarpit.held()), (("sending", None), 1));
    // What comes later is sent too, while that one still waits.
    let later = queued_at(&mailbox, quick, "later", closed, server.port);
    worker.look();
    wait_until("what came later is sent", || status(later) == ("sent", None));
    assert_eq!(status(of_slow), ("sending", None));
    let start = Instant::now();
    drop(worker);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // The server had nothing of it: it is to be tried again, in a while.
    assert_eq!(status(of_slow), ("failed", None));
    // One after the other.
    server.delivered(4);
    let log = server.log();
    let ids: Vec<String> = mailbox
        .outbox(quick)
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry.delivery.message_id.clone().unwrap())
        .collect();
    let places: Vec<usize> = ids.iter().map(|id| log.find(&format!("id={id}")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}: {log}");
}

/// The same for an account whose server is set anew meanwhile.
fn queued_at(mailbox: &Mailbox, id: i64, subject: &str, closed: u16, port: u16) -> i64 {
    account(mailbox, "quick", closed, None);
    let row = queued(mailbox, id, subject);
    account(mailbox, "quick", port, None);
    row
}
