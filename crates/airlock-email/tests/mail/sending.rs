use std::sync::Arc;
use std::time::Duration;

use airlock_core::{
    AttachmentSource, Delivery, MailAttachment, MailCode, MailError, ReplyMail, Secret, SendMail,
};
use airlock_email::{
    Account, Auth, Connector, Credentials, Feature, OutboxWorker, Protocol, RawMessage, Security,
};

use crate::server::{Exim, Known, PASSWORD, TOKEN, mailbox, message};

#[test]
fn every_protection_and_way_to_log_in_reaches_the_server() {
    let server = Exim::start();
    let ways = [
        (server.tls_port, Security::Tls, Auth::Plain, PASSWORD),
        (server.tls_port, Security::Tls, Auth::Login, PASSWORD),
        (server.port, Security::StartTls, Auth::Xoauth2, TOKEN),
        (server.port, Security::StartTls, Auth::OauthBearer, TOKEN),
        (server.port, Security::Plain, Auth::None, "-"),
    ];
    for (port, security, auth, secret) in ways {
        let home = tempfile::tempdir().unwrap();
        let mailbox = mailbox(home.path(), port, security, auth);
        let sent = mailbox.send(&message(auth.name()), &*Known::new(secret), &server.connector());
        let sent = sent.unwrap_or_else(|error| panic!("{security:?} {auth:?}: {error}\n{}", server.log()));
        assert_eq!((sent.delivery.status, sent.delivery.held), ("sent", None));
        assert!(sent.delivery.provider_message_id.unwrap().starts_with("smtp-OK id="));
    }
    let delivered = server.delivered(ways.len());
    for (_, _, auth, _) in ways {
        let subject = format!("Subject: {}\n", auth.name());
        assert_eq!(delivered.iter().filter(|message| message.contains(&subject)).count(), 1, "{subject}");
    }
}

#[test]
fn a_wrong_secret_is_told_without_it_and_the_message_stays_to_be_sent() {
    let server = Exim::start();
    let wrong = "not-the-secret-at-all";
    for (security, auth) in [
        (Security::Tls, Auth::Plain),
        (Security::Tls, Auth::Login),
        (Security::Tls, Auth::Xoauth2),
        (Security::Tls, Auth::OauthBearer),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mailbox = mailbox(home.path(), server.tls_port, security, auth);
        let error = mailbox.send(&message("s"), &*Known::new(wrong), &server.connector()).unwrap_err();
        assert_eq!(error.code(), MailCode::Provider, "{error}");
        assert!(!error.message().contains(wrong), "{error}");
        let delivery = error.delivery().unwrap();
        assert_eq!((delivery.status, delivery.held, delivery.retries), ("failed", None, 1));
        let entry = mailbox.outbox(mailbox.account(None).unwrap().id).unwrap().remove(0);
        assert!(!format!("{entry:?}").contains(wrong));
    }
    assert_eq!(server.delivered(0).len(), 0);
}

/// Secrets that nothing opens.
#[derive(Debug)]
struct Closed;

impl Credentials for Closed {
    fn secret(&self, _account: &Account, _protocol: Protocol) -> Result<Secret, MailError> {
        Err(MailError::new(MailCode::Storage, "the passphrase does not open it"))
    }
}

#[test]
fn where_secrets_cannot_be_read_no_attempt_is_used_up() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let error = mailbox.send(&message("s"), &Closed, &server.connector()).unwrap_err();
    let (id, account) = (error.delivery().unwrap().outbox_id, mailbox.account(None).unwrap().id);
    for _ in 0..30 {
        let entry = mailbox.outbox(account).unwrap().remove(0);
        let Delivery { status, held, retries, next_attempt_at, .. } = entry.delivery;
        assert_eq!((status, held, retries), ("failed", None, 0));
        assert_eq!(entry.last_error.as_deref(), Some("the passphrase does not open it"));
        assert!(next_attempt_at < i64::MAX, "it is tried again by itself");
        mailbox.retry(id).unwrap();
        let tried = mailbox.deliver_due(&Closed, &server.connector()).unwrap();
        assert_eq!(tried.len(), 1);
    }
    mailbox.retry(id).unwrap();
    let tried = mailbox.deliver_due(&*Known::new(PASSWORD), &server.connector()).unwrap();
    assert_eq!(tried.iter().map(|delivery| delivery.status).collect::<Vec<_>>(), ["sent"]);
    assert_eq!(server.delivered(1).len(), 1);
}

#[test]
fn a_server_of_an_unknown_authority_and_one_without_starttls_are_told_nothing() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let untrusted = mailbox(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let error = untrusted.send(&message("s"), &*Known::new(PASSWORD), &Connector::default()).unwrap_err();
    assert_eq!((error.code(), error.delivery().unwrap().held), (MailCode::Network, None));
    // A server whose greeting offers nothing, and that records what it is told.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = std::thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        let mut stream = listener.accept().unwrap().0;
        let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 hello\r\n").unwrap();
        let mut told = vec![lines.next().unwrap().unwrap()];
        stream.write_all(b"250-hello\r\n250 AUTH PLAIN LOGIN\r\n").unwrap();
        told.extend(lines.map_while(Result::ok).inspect(|_| drop(stream.write_all(b"221 bye\r\n"))));
        told
    });
    let home = tempfile::tempdir().unwrap();
    let stripped = mailbox(home.path(), port, Security::StartTls, Auth::Plain);
    let error = stripped.send(&message("s"), &*Known::new(PASSWORD), &server.connector()).unwrap_err();
    assert_eq!(error.message(), "the server offers no STARTTLS");
    let told = told.join().unwrap();
    assert!(told.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{told:?}");
}

#[test]
fn recipients_attachments_and_html_arrive_and_bcc_stays_secret() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let request = SendMail {
        cc: vec!["carl@x.example".to_owned()],
        bcc: vec!["dora@x.example".to_owned()],
        subject: "Grüße".to_owned(),
        body_text: "first\n.\n.. dots".to_owned(),
        body_html: Some("<p>first</p>".to_owned()),
        attachments: vec![MailAttachment {
            filename: "a.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            source: AttachmentSource::Base64("JVBERi0xLjQ=".to_owned()),
        }],
        ..message("s")
    };
    let sent = mailbox.send(&request, &*Known::new(PASSWORD), &server.connector()).unwrap();
    let raw = server.delivered(1).remove(0);
    let (header, _) = raw.split_once("\n\n").unwrap();
    assert!(header.contains("Envelope-to: bert@x.example"), "{header}");
    assert!(header.lines().next().is_some_and(|line| line.contains("dora")) || header.contains("dora"));
    let written: Vec<&str> = header.lines().filter(|line| line.contains("dora")).collect();
    assert!(written.iter().all(|line| !line.starts_with("Bcc") && !line.starts_with("To")), "{written:?}");
    // It comes back as it was sent.
    let account = mailbox.account(None).unwrap().id;
    let received = RawMessage { bytes: raw.as_bytes(), received_at: 1, place: None };
    mailbox.receive(account, "INBOX", &[received]).unwrap();
    let id = format!("<{}>", sent.delivery.message_id.unwrap());
    let get = airlock_core::GetMail { account_id: None, message_id: id.clone() };
    let got = mailbox.get(&get).unwrap().message.unwrap();
    assert_eq!(got.subject.as_deref(), Some("Grüße"));
    assert_eq!(got.body_text.as_deref(), Some("first\n.\n.. dots"));
    assert!(got.attachments_json.unwrap().contains("a.pdf"));
    let reply = ReplyMail {
        account_id: None,
        message_id: id.clone(),
        body_text: "indeed".to_owned(),
        body_html: None,
        all: true,
        attachments: Vec::new(),
    };
    mailbox.reply(&reply, &*Known::new(PASSWORD), &server.connector()).unwrap();
    let delivered = server.delivered(2);
    let answer = delivered.iter().find(|message| message.contains("indeed")).unwrap();
    assert!(answer.contains(&format!("In-Reply-To: {id}")), "{answer}");
    assert!(answer.contains("Envelope-to: ") && answer.contains("carl@x.example"), "{answer}");
}

#[test]
fn a_refused_recipient_is_a_reason_to_send_to_nobody_and_to_try_no_more() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), server.tls_port, Security::Tls, Auth::Plain);
    let request = SendMail { cc: vec!["x@elsewhere.example".to_owned()], ..message("s") };
    let error = mailbox.send(&request, &*Known::new(PASSWORD), &server.connector()).unwrap_err();
    assert_eq!(error.code(), MailCode::Provider);
    assert!(error.message().contains("no such place"), "{error}");
    let delivery = error.delivery().unwrap();
    assert_eq!((delivery.status, delivery.held), ("failed", Some("dead")));
    assert_eq!(mailbox.deliver_due(&*Known::new(PASSWORD), &server.connector()).unwrap(), []);
    mailbox.cancel(delivery.outbox_id).unwrap();
    assert_eq!(server.delivered(0).len(), 0);
}

#[test]
fn what_a_server_defers_is_sent_later_by_the_worker_with_the_same_id() {
    let open = tempfile::tempdir().unwrap();
    let flag = open.path().join("open");
    std::fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let acl =
        format!("  defer message = later please\n        condition = ${{if !exists{{{}}}}}", flag.display());
    let server = Exim::start_with(&acl);
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(mailbox(home.path(), server.tls_port, Security::Tls, Auth::Plain));
    let secret = Known::new(PASSWORD);
    let error = mailbox.send(&message("later"), &*secret, &server.connector()).unwrap_err();
    assert!(error.message().contains("later please"), "{error}");
    let failed = error.delivery().unwrap().clone();
    assert_eq!((failed.status, failed.held, failed.retries), ("failed", None, 1));
    // The first wait is of ten seconds, as PRX's.
    let entry = mailbox.next_due().unwrap().unwrap();
    assert_eq!(entry, failed.next_attempt_at);
    std::fs::write(&flag, "").unwrap();
    mailbox.retry(failed.outbox_id).unwrap();
    let worker = OutboxWorker::start(mailbox.clone(), secret, server.connector()).unwrap();
    worker.look();
    let delivered = server.delivered(1);
    drop(worker);
    assert!(delivered[0].contains(&format!("<{}>", failed.message_id.clone().unwrap())), "{}", delivered[0]);
    let account = mailbox.account(None).unwrap().id;
    let entry = mailbox.outbox(account).unwrap().remove(0);
    assert_eq!((entry.delivery.status, entry.delivery.message_id), ("sent", failed.message_id));
    for refused in [mailbox.retry(failed.outbox_id), mailbox.cancel(failed.outbox_id)] {
        assert_eq!(refused.unwrap_err().message(), "retry_not_allowed_for_status");
    }
    assert_eq!(mailbox.retry(99).unwrap_err().message(), "outbox record not found");
}

#[test]
fn nothing_is_kept_or_sent_where_sending_is_switched_off() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), 1, Security::Tls, Auth::Plain);
    let account = mailbox.account(None).unwrap().id;
    mailbox.switch(account, Feature::EmailSend, false).unwrap();
    let connector = Connector::default().with_patience(Duration::from_secs(1));
    let error = mailbox.send(&message("s"), &*Known::new(PASSWORD), &connector).unwrap_err();
    assert_eq!((error.code(), error.delivery()), (MailCode::FeatureDisabled, None));
    assert_eq!(mailbox.outbox(account).unwrap(), []);
    mailbox.switch(account, Feature::EmailSend, true).unwrap();
    let error = mailbox.send(&message("s"), &*Known::new(PASSWORD), &connector).unwrap_err();
    assert_eq!(error.code(), MailCode::Network);
    mailbox.cancel(error.delivery().unwrap().outbox_id).unwrap();
    assert_eq!(mailbox.outbox(account).unwrap()[0].delivery.held, Some("cancelled"));
}

/// A server that says this, and then one thing again and again, a byte at a time: it never lets a
/// wait end by itself.
fn dripping(said: &'static [&'static str], drop: &'static [u8]) -> u16 {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                for answer in said {
                    stream.write_all(answer.as_bytes()).unwrap();
                    // Up to the end of the content where that is awaited.
                    let is_end = |line: &str| !answer.starts_with("354") || line == ".";
                    while !lines.next().is_none_or(|line| is_end(&line.unwrap())) {}
                }
                for byte in drop.iter().cycle() {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    port
}

#[test]
fn a_server_that_drips_holds_a_message_no_longer_than_it_may() {
    let all = &["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go on\r\n"];
    let cases: [(&[&str], &[u8], Option<&str>); 4] = [
        (&[], b"2", None),
        (&[], b"220-more\r\n", None),
        (&["220 hi\r\n", "250 hi\r\n"], b"250-more\r\n", None),
        (all, b"250-taken\r\n", Some("uncertain")),
    ];
    for (said, drop, held) in cases {
        let home = tempfile::tempdir().unwrap();
        let mailbox = mailbox(home.path(), dripping(said, drop), Security::Plain, Auth::None);
        let connector = Connector::default()
            .with_patience(Duration::from_secs(600))
            .with_deadline(Duration::from_secs(1));
        let error = mailbox.send(&message("s"), &*Known::new("-"), &connector).unwrap_err();
        assert_eq!(error.code(), MailCode::Network, "{error}");
        assert!(error.message().ends_with("the message took longer than it may"), "{error}");
        assert_eq!((error.delivery().unwrap().status, error.delivery().unwrap().held), ("failed", held));
    }
}
