//! Connections on which things go wrong in the middle of a sync.

use std::collections::BTreeMap;
use std::time::Duration;

use airlock_core::{MailCode, SyncMail};
use airlock_email::{Auth, Mailbox, Security};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::dovecot::{Dovecot, Raw, fetching};
use crate::fetching::{letter, list, request};
use crate::proxy::{Fault, Proxy};
use crate::server::{Known, PASSWORD};

/// How many places are cut at; more where the environment says so.
fn cases(usual: u32) -> ProptestConfig {
    let told = std::env::var("AIRLOCK_TEST_CUTS").ok().and_then(|told| told.parse().ok());
    ProptestConfig { cases: told.unwrap_or(usual), ..ProptestConfig::default() }
}

/// What the server has in the inbox: flags by UIDs.
fn at_server(session: &mut Raw) -> BTreeMap<u32, String> {
    let answer = session.run("UID FETCH 1:* (FLAGS)");
    let fetched = answer.lines().filter_map(|line| line.split_once(" FETCH (UID ")).map(|(_, rest)| {
        let (uid, flags) = rest.split_once(" FLAGS (").unwrap();
        let flags = flags.split(')').next().unwrap();
        let mut flags: Vec<&str> = flags.split(' ').filter(|flag| *flag != "\\Recent").collect();
        flags.sort();
        (uid.parse().unwrap(), flags.join(" "))
    });
    fetched.collect()
}

fn sync(mailbox: &Mailbox, server: &Dovecot, request: &SyncMail) -> Result<u64, airlock_core::MailError> {
    let synced = mailbox.sync(request, &*Known::new(PASSWORD), &server.connector(), &());
    synced.map(|synced| synced.synced.synced)
}

/// Each message that is here is whole, and is here once.
fn whole_and_once(mailbox: &Mailbox, texts: &BTreeMap<String, String>) {
    let messages = list(mailbox);
    for message in &messages {
        let subject = message.subject.as_ref().unwrap();
        let text = message.body_text.as_ref().unwrap();
        assert!(texts[subject] == *text, "{subject} is not what was sent: {} bytes", text.len());
    }
    let ids: std::collections::BTreeSet<&str> =
        messages.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids.len(), messages.len());
}

/// Letters, one of which is fetched in parts.
fn letters(count: usize) -> (Vec<Vec<u8>>, BTreeMap<String, String>) {
    let mut letters: Vec<Vec<u8>> = (1..=count).map(letter).collect();
    let mut texts: BTreeMap<String, String> =
        (1..=count).map(|number| (format!("n{number}"), format!("text of {number}"))).collect();
    let lines: String =
        (0..25_000).map(|line| format!("line {line} of a long message, which is of many lines\n")).collect();
    let head = String::from_utf8(letter(0)).unwrap();
    let head = head.split("text of").next().unwrap().to_owned();
    letters.insert(count / 2, (head + &lines.replace('\n', "\r\n")).into_bytes());
    texts.insert("n0".to_owned(), lines.trim_end().to_owned());
    (letters, texts)
}

#[test]
fn a_sync_cut_at_any_byte_loses_nothing_and_doubles_nothing() {
    let server = Dovecot::start();
    let (letters, texts) = letters(12);
    server.deliver(letters);
    let proxy = Proxy::to(server.port);
    let mut session = server.session();
    session.run("EXAMINE INBOX");
    let expected = at_server(&mut session);
    // All that is said in such a sync is less than this; most of it is the large one.
    let cuts = prop_oneof![0_u64..9_000, 0_u64..1_500_000];
    let mut runner = TestRunner::new(cases(40));
    let outcome = runner.run(
        &(cuts, 0_u64..1_200, any::<bool>(), 1_u32..20),
        |(to_client, to_server, is_to_server, at_most)| {
            let home = tempfile::tempdir().unwrap();
            let mailbox = fetching(home.path(), proxy.port, Security::Plain, Auth::Plain);
            proxy.set(match is_to_server {
                true => Fault { to_server, ..Fault::NONE },
                false => Fault { to_client, ..Fault::NONE },
            });
            if let Err(error) = sync(&mailbox, &server, &request(at_most)) {
                prop_assert_eq!(error.code(), MailCode::Network, "{}", error);
            }
            whole_and_once(&mailbox, &texts);
            proxy.set(Fault::NONE);
            while sync(&mailbox, &server, &request(at_most)).unwrap() > 0 {}
            whole_and_once(&mailbox, &texts);
            prop_assert_eq!(list(&mailbox).len(), 13);
            prop_assert_eq!(mailbox.flags(1, "INBOX").unwrap(), expected.clone());
            Ok(())
        },
    );
    outcome.unwrap();
}

#[test]
fn an_encrypted_sync_cut_or_garbled_at_any_byte_loses_nothing_and_doubles_nothing() {
    let server = Dovecot::start();
    let texts: BTreeMap<String, String> =
        (1..=12).map(|number| (format!("n{number}"), format!("text of {number}"))).collect();
    server.deliver((1..=12).map(letter));
    for (security, port) in [(Security::Tls, server.tls_port), (Security::StartTls, server.port)] {
        let proxy = Proxy::to(port);
        let mut runner = TestRunner::new(cases(20));
        // Of a session, most is less than this; what is before it is encrypted, too.
        let outcome = runner.run(&(0_u64..14_000, 0_u64..3_000, 0_u8..4), |(to_client, to_server, kind)| {
            let home = tempfile::tempdir().unwrap();
            let mailbox = fetching(home.path(), proxy.port, security, Auth::Plain);
            proxy.set(match kind {
                0 => Fault { to_server, ..Fault::NONE },
                1 => Fault { to_client, ..Fault::NONE },
                2 => Fault { garbled: Some(to_client), ..Fault::NONE },
                _ => Fault { garbled_to_server: Some(to_server), ..Fault::NONE },
            });
            let patience = server.connector().with_patience(Duration::from_secs(2));
            if let Err(error) = mailbox.sync(&request(20), &*Known::new(PASSWORD), &patience, &()) {
                let is_fit = matches!(error.code(), MailCode::Network | MailCode::Provider);
                prop_assert!(is_fit, "{security:?} {kind}: {error}");
                prop_assert!(!error.message().contains(PASSWORD), "{}", error);
            }
            // Whatever was garbled: what is here is what was sent.
            whole_and_once(&mailbox, &texts);
            proxy.set(Fault::NONE);
            sync(&mailbox, &server, &request(20)).unwrap();
            whole_and_once(&mailbox, &texts);
            prop_assert_eq!(list(&mailbox).len(), 12);
            Ok(())
        });
        outcome.unwrap();
    }
}

#[test]
fn a_sync_of_changes_cut_at_any_byte_goes_on_with_the_next() {
    let server = Dovecot::start();
    server.deliver((1..=8).map(letter));
    let texts: BTreeMap<String, String> =
        (1..10_000).map(|number| (format!("n{number}"), format!("text of {number}"))).collect();
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), proxy.port, Security::Plain, Auth::Plain);
    sync(&mailbox, &server, &request(100)).unwrap();
    let mut session = server.session();
    session.run("SELECT INBOX");
    let next = std::cell::Cell::new(8);
    let session = std::cell::RefCell::new(session);
    let mut runner = TestRunner::new(cases(60));
    let outcome = runner.run(&(0_u64..4_000, 1_usize..8, 1_usize..8), |(to_client, expunged, flagged)| {
        let mut session = session.borrow_mut();
        next.set(next.get() + 1);
        session.append("INBOX", &letter(next.get()));
        session.run(&format!("STORE {expunged} +FLAGS (\\Deleted)"));
        session.run("EXPUNGE");
        session.run(&format!("STORE {flagged} +FLAGS (k{})", next.get() % 20));
        let expected = at_server(&mut session);
        let before = mailbox.flags(1, "INBOX").unwrap();
        proxy.set(Fault { to_client, ..Fault::NONE });
        if let Err(error) = sync(&mailbox, &server, &request(100)) {
            prop_assert_eq!(error.code(), MailCode::Network, "{}", error);
        }
        // What the server still has, is still here.
        let after = mailbox.flags(1, "INBOX").unwrap();
        prop_assert!(
            before.keys().filter(|uid| expected.contains_key(uid)).all(|uid| after.contains_key(uid))
        );
        whole_and_once(&mailbox, &texts);
        proxy.set(Fault::NONE);
        sync(&mailbox, &server, &request(100)).unwrap();
        prop_assert_eq!(mailbox.flags(1, "INBOX").unwrap(), expected);
        prop_assert_eq!(list(&mailbox).len(), 8);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_garbled_byte_is_an_error_or_none_and_the_next_sync_has_all() {
    let server = Dovecot::start();
    server.deliver((1..=12).map(letter));
    let proxy = Proxy::to(server.port);
    let mut session = server.session();
    session.run("EXAMINE INBOX");
    let expected = at_server(&mut session);
    let mut runner = TestRunner::new(cases(60));
    let outcome = runner.run(&(0_u64..8_000), |place| {
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), proxy.port, Security::Plain, Auth::Plain);
        proxy.set(Fault { garbled: Some(place), ..Fault::NONE });
        let patience = server.connector().with_patience(Duration::from_millis(500));
        let _ = mailbox.sync(&request(100), &*Known::new(PASSWORD), &patience, &());
        proxy.set(Fault::NONE);
        sync(&mailbox, &server, &request(100)).unwrap();
        // What was garbled within a text or a flag looks like any other, where nothing is encrypted.
        let here: Vec<u32> = mailbox.flags(1, "INBOX").unwrap().into_keys().collect();
        prop_assert_eq!(here, expected.keys().copied().collect::<Vec<_>>());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_delay_is_waited_for_and_a_flood_is_not_read() {
    let server = Dovecot::start();
    server.deliver((1..=3).map(letter));
    let proxy = Proxy::to(server.port);
    for (place, flood) in [
        (0, &b"* OK and so on "[..]),
        (700, b"* 1 EXISTS\r\n"),
        (700, b"* 1 FETCH (UID 1 BODY[] {4294967295}\r\n"),
        (1_500, b"x"),
        (1_500, b"{0}\r\n"),
        (1_500, b"(((((((("),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), proxy.port, Security::Plain, Auth::Plain);
        proxy.set(Fault { flood: Some((place, flood)), ..Fault::NONE });
        let error = sync(&mailbox, &server, &request(10)).unwrap_err();
        assert_eq!(error.code(), MailCode::Provider, "{error}");
        assert!(error.message().len() < 1_000, "{error}");
        proxy.set(Fault { delay: Duration::from_millis(20), ..Fault::NONE });
        sync(&mailbox, &server, &request(10)).unwrap();
        assert_eq!(list(&mailbox).len(), 3);
    }
}
