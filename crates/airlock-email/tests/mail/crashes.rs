//! Connections that are cut and processes that are killed in the middle of sending.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use airlock_email::{Auth, Mailbox, Security};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, Known, mailbox, message};

/// How often the server has each Message-ID.
fn counted(delivered: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in delivered {
        let id = message.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
        *counts.entry(id.trim_matches(['<', '>']).to_owned()).or_default() += 1;
    }
    counts
}

/// Sends what is left, and looks whether each message is where its row says.
fn none_lost_none_twice(server: &Exim, mailbox: &Mailbox) -> (usize, usize) {
    let account = mailbox.account(None).unwrap().id;
    for entry in mailbox.outbox(account).unwrap() {
        if entry.delivery.status == "failed" && entry.delivery.held.is_none() {
            mailbox.retry(entry.delivery.outbox_id).unwrap();
        }
    }
    mailbox.deliver_due(&*Known::new("-"), &server.connector()).unwrap();
    let entries = mailbox.outbox(account).unwrap();
    let sent = entries.iter().filter(|entry| entry.delivery.status == "sent").count();
    let counts = counted(&server.delivered(sent));
    let mut uncertain = 0;
    for entry in &entries {
        let count = counts.get(entry.delivery.message_id.as_deref().unwrap()).copied().unwrap_or(0);
        match (entry.delivery.status, entry.delivery.held) {
            ("sent", None) => assert_eq!(count, 1, "{entry:?}"),
            ("failed", Some("uncertain")) => {
                uncertain += 1;
                assert!(count <= 1, "{entry:?}");
            }
            _ => panic!("neither sent nor uncertain: {entry:?}\n{}", server.log()),
        }
    }
    (sent, uncertain)
}

#[test]
fn a_connection_cut_at_any_byte_loses_nothing_and_sends_nothing_twice() {
    let server = Exim::start();
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), proxy.port, Security::Plain, Auth::None);
    // All that goes either way for one such message is less than this.
    let cuts = (0_u64..900, 0_u64..700, any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let outcome = runner.run(&cuts, |(to_server, to_client, is_to_server)| {
        proxy.set(match is_to_server {
            true => Fault { to_server, ..Fault::NONE },
            false => Fault { to_client, ..Fault::NONE },
        });
        let sent = mailbox.send(&message("cut"), &*Known::new("-"), &server.connector());
        if let Err(error) = sent {
            let delivery = error.delivery().unwrap();
            prop_assert_eq!(delivery.status, "failed");
            prop_assert!(matches!(delivery.held, None | Some("uncertain")), "{:?}", delivery);
        }
        Ok(())
    });
    outcome.unwrap();
    proxy.set(Fault::NONE);
    let (sent, uncertain) = none_lost_none_twice(&server, &mailbox);
    assert_eq!(sent + uncertain, 60);
}

#[test]
fn the_answer_that_is_cut_off_leaves_a_message_uncertain_until_somebody_decides() {
    let server = Exim::start();
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), proxy.port, Security::Plain, Auth::None);
    mailbox.send(&message("first"), &*Known::new("-"), &server.connector()).unwrap();
    // One byte at a time until only the answer to the content is missing.
    let uncertain = (100..2_000).step_by(20).find_map(|to_client| {
        proxy.set(Fault { to_client, ..Fault::NONE });
        let error = mailbox.send(&message("second"), &*Known::new("-"), &server.connector()).err()?;
        error.delivery().filter(|delivery| delivery.held == Some("uncertain")).cloned()
    });
    let uncertain = uncertain.expect("the answer to the content comes last");
    proxy.set(Fault::NONE);
    let due = mailbox.deliver_due(&*Known::new("-"), &server.connector()).unwrap();
    assert!(due.iter().all(|delivery| delivery.outbox_id != uncertain.outbox_id), "{due:?}");
    mailbox.arrived(uncertain.outbox_id).unwrap();
    assert_eq!(mailbox.arrived(uncertain.outbox_id).unwrap_err().message(), "retry_not_allowed_for_status");
    let account = mailbox.account(None).unwrap().id;
    let entries = mailbox.outbox(account).unwrap();
    let entry = entries.iter().find(|entry| entry.delivery.outbox_id == uncertain.outbox_id).unwrap();
    assert_eq!((entry.delivery.status, entry.delivery.held), ("sent", None));
}

/// The folder of the mailbox that [`a_process_that_is_to_be_killed`] sends from, and the port.
const TO_SEND: &str = "AIRLOCK_TEST_TO_SEND";

/// Not a test but what another one runs in a process of its own: it sends until it is killed.
#[test]
#[ignore = "another test runs it"]
fn a_process_that_is_to_be_killed() {
    let told = std::env::var(TO_SEND).expect("another test runs it, and says what to send from");
    let (home, port) = told.split_once('\n').unwrap();
    let mailbox = mailbox(home.as_ref(), port.parse().unwrap(), Security::Plain, Auth::None);
    for n in 0.. {
        let _ =
            mailbox.send(&message(&format!("n{n}")), &*Known::new("-"), &airlock_email::Connector::default());
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_and_sends_nothing_twice() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(mailbox(home.path(), server.port, Security::Plain, Auth::None));
    let account = mailbox.account(None).unwrap().id;
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let name = "crashes::a_process_that_is_to_be_killed";
    let killed = runner.run(&(0_u64..150_000), |micros| {
        let before = mailbox.outbox(account).unwrap().len();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", name, "--test-threads", "1"])
            .env(TO_SEND, format!("{}\n{}", home.path().display(), server.port))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first message that it keeps on, so that the moment is one of sending.
        while mailbox.outbox(account).unwrap().len() == before {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().unwrap();
        child.wait().unwrap();
        Ok(())
    });
    killed.unwrap();
    // Where a slow machine has each killed in the answer to its first message, none of theirs is known as sent.
    mailbox.send(&message("last"), &*Known::new("-"), &server.connector()).unwrap();
    let (sent, uncertain) = none_lost_none_twice(&server, &mailbox);
    assert!(sent >= 1 && sent + uncertain >= 13, "{sent} sent, {uncertain} uncertain");
}

#[test]
fn many_processes_and_threads_send_each_message_once() {
    let server = Exim::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), server.port, Security::Plain, Auth::None);
    let proxy = Proxy::to(server.port);
    proxy.set(Fault { to_server: 0, ..Fault::NONE });
    let closed = crate::server::mailbox(home.path(), proxy.port, Security::Plain, Auth::None);
    for n in 0..20 {
        let error =
            closed.send(&message(&format!("n{n}")), &*Known::new("-"), &server.connector()).unwrap_err();
        closed.retry(error.delivery().unwrap().outbox_id).unwrap();
    }
    drop(closed);
    crate::server::mailbox(home.path(), server.port, Security::Plain, Auth::None);
    let tried: usize = std::thread::scope(|scope| {
        let send = || {
            // Each with a connection of its own, as another process has.
            let own = Mailbox::open(mailbox.file()).unwrap();
            own.deliver_due(&*Known::new("-"), &server.connector()).unwrap().len()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(tried, 20);
    assert!(counted(&server.delivered(20)).values().all(|count| *count == 1));
    assert_eq!(server.delivered(20).len(), 20);
}
