//! Several accounts at once, what is waited after failures, and a server of outgoing mail that is disturbed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_core::{MailCode, SyncMail};
use airlock_email::{Auth, Backoff, Connector, Mailbox, NewAccount, Security, Server, SyncWorker};

use crate::dovecot::{Dovecot, fetching};
use crate::fetching::{letter, request};
use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, Known, PASSWORD, mailbox, message};
use crate::slow::Tarpit;

/// Makes an account of that name, whose mail is fetched there; a request for it.
fn account(mailbox: &Mailbox, name: &str, port: u16) -> SyncMail {
    let imap = Server {
        host: "127.0.0.1".to_owned(),
        port,
        security: Security::Plain,
        user: "anna".to_owned(),
        auth: Auth::Plain,
    };
    let account = NewAccount {
        name: name.to_owned(),
        email: format!("{name}@x.example"),
        display_name: None,
        imap: Some(imap),
        smtp: None,
    };
    SyncMail { account_id: Some(mailbox.set_account(&account).unwrap()), ..request(100) }
}

#[test]
fn several_accounts_are_synced_at_once_and_no_more_than_may_be() {
    let server = Dovecot::start();
    server.deliver((1..=5).map(letter));
    let home = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::open(&home.path().join("mail.db")).unwrap();
    let proxy = Proxy::to(server.port);
    // Long enough for others to come.
    proxy.set(Fault { delay: Duration::from_millis(20), ..Fault::NONE });
    let requests: Vec<SyncMail> =
        (0..6).map(|number| account(&mailbox, &format!("a{number}"), proxy.port)).collect();
    let (secret, connector) = (Known::new(PASSWORD), server.connector());
    let synced = mailbox.sync_all(&requests, 3, &*secret, &connector, &());
    for (request, synced) in requests.iter().zip(synced) {
        let synced = synced.unwrap().synced;
        assert_eq!((Some(synced.account_id), synced.synced), (request.account_id, 5));
    }
    assert_eq!(proxy.count(), 6);
    assert!(proxy.most() > 1, "{}", proxy.most());
    // Where servers say nothing, as many wait as may be, and the others come when those have ended.
    let tarpit = Tarpit::start();
    let held: Vec<SyncMail> =
        (0..8).map(|number| account(&mailbox, &format!("b{number}"), tarpit.port)).collect();
    let patient = Connector::default().with_patience(Duration::from_secs(600));
    std::thread::scope(|scope| {
        let all = scope.spawn(|| mailbox.sync_all(&held, 3, &*secret, &patient, &()));
        tarpit.wait_for(3);
        // Meanwhile another one is synced from its beginning to its end.
        let other = account(&mailbox, "other", proxy.port);
        assert_eq!(mailbox.sync(&other, &*secret, &connector, &()).unwrap().synced.synced, 5);
        assert_eq!(tarpit.held(), 3);
        tarpit.release();
        let ended = all.join().unwrap();
        assert_eq!(ended.iter().filter(|one| one.is_err()).count(), 8);
    });
}

#[test]
fn what_is_waited_grows_with_each_failure_and_begins_anew_after_a_success() {
    let server = Dovecot::start();
    server.deliver([letter(1)]);
    let proxy = Proxy::to(server.port);
    proxy.set(Fault { to_client: 0, ..Fault::NONE });
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(fetching(home.path(), proxy.port, Security::Plain, Auth::Plain));
    let first = Duration::from_millis(200);
    let backoff = Backoff { every: first / 4, first, longest: 16 * first, at_once: 1 };
    let (watch, secret) = (Arc::new(()), Known::new(PASSWORD));
    // When the connection of this number came.
    let came = |number: usize| {
        let start = Instant::now();
        while proxy.count() < number {
            assert!(start.elapsed() < Duration::from_secs(60), "no connection {number}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Instant::now()
    };
    let connector = server.connector();
    let worker =
        SyncWorker::start(mailbox.clone(), vec![request(7)], backoff, secret, connector, watch).unwrap();
    let moments: Vec<Instant> = (1..=6).map(came).collect();
    for (failures, pair) in moments.windows(2).enumerate() {
        let waited = pair[1] - pair[0] + Duration::from_millis(10);
        // Half of it is left to chance.
        assert!(waited >= first * (1 << failures) / 2, "{failures}: {waited:?}");
    }
    proxy.set(Fault::NONE);
    let start = Instant::now();
    while mailbox.sync_state(1, "INBOX").unwrap().status.as_deref() != Some("ok") {
        assert!(start.elapsed() < Duration::from_secs(60), "no success");
        std::thread::sleep(Duration::from_millis(2));
    }
    proxy.set(Fault { to_client: 0, ..Fault::NONE });
    // One may be on its way that still goes well; after the first that fails, little is waited.
    let count = proxy.count();
    let (one, other) = (came(count + 2), came(count + 3));
    assert!(other - one < first * 16 / 2, "{:?}", other - one);
    drop(worker);
}

#[test]
fn a_server_of_outgoing_mail_that_floods_is_not_read_and_one_that_is_slow_is_waited_for() {
    let server = Exim::start();
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), proxy.port, Security::Plain, Auth::None);
    let floods: [(u64, &[u8]); 6] = [
        (0, b"220-hello\r\n"),
        (0, b"2"),
        (0, b"\r\n"),
        (60, b"250-X-MORE\r\n"),
        (60, b"y"),
        (300, b"250 and so on"),
    ];
    for (place, flood) in floods {
        proxy.set(Fault { flood: Some((place, flood)), ..Fault::NONE });
        let sent = mailbox.send(&message("flood"), &*Known::new("-"), &server.connector());
        let error = sent.unwrap_err();
        assert!(matches!(error.code(), MailCode::Provider | MailCode::Network), "{error}");
        assert!(error.message().len() < 1_000, "{error}");
        let delivery = error.delivery().unwrap();
        assert_eq!(delivery.status, "failed", "{delivery:?}");
        mailbox.cancel(delivery.outbox_id).unwrap();
    }
    let before = server.delivered(0).len();
    proxy.set(Fault { delay: Duration::from_millis(30), ..Fault::NONE });
    let sent = mailbox.send(&message("slow"), &*Known::new("-"), &server.connector()).unwrap();
    assert_eq!(sent.delivery.status, "sent");
    assert_eq!(server.delivered(before + 1).iter().filter(|raw| raw.contains("Subject: slow\n")).count(), 1);
}

#[test]
fn what_is_garbled_on_its_way_to_the_server_is_refused_or_arrives_once() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    // Encrypted, no server takes what is not what was sent.
    let proxy = Proxy::to(server.tls_port);
    let mailbox = mailbox(home.path(), proxy.port, Security::Tls, Auth::Plain);
    let connector: Connector = server.connector().with_patience(Duration::from_secs(3));
    let mut failed = 0;
    for place in (0..3_600).step_by(120) {
        proxy.set(Fault { garbled_to_server: Some(place), ..Fault::NONE });
        let sent = mailbox.send(&message(&format!("at {place}.")), &*Known::new(PASSWORD), &connector);
        if let Err(error) = sent {
            failed += 1;
            assert!(!error.message().contains(PASSWORD), "{error}");
        }
    }
    let entries = mailbox.outbox(1).unwrap();
    let delivered = server.delivered(entries.len() - failed);
    assert!(failed > 5, "{failed}");
    for entry in entries {
        let count =
            delivered.iter().filter(|raw| raw.contains(&format!("Subject: {}\n", entry.subject))).count();
        match (entry.delivery.status, entry.delivery.held) {
            ("sent", None) => assert_eq!(count, 1, "{entry:?}"),
            // Its goodbye or the answer was garbled, where it is there.
            ("failed", Some("uncertain")) => assert!(count <= 1, "{entry:?}"),
            _ => assert_eq!(count, 0, "{entry:?}"),
        }
    }
}
