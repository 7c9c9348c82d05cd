//! Connections that are cut and processes that are killed in the middle of sending.

#![allow(clippy::print_stdout, reason = "a run that is random says how it can be had again")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use airlock_core::SendMail;
use airlock_email::{Auth, Mailbox, OutboxWorker, Security};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, Known, PASSWORD, mailbox, message};

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
    mailbox.deliver_due(&*Known::new(PASSWORD), &server.connector()).unwrap();
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

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    /// One below this.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// What goes wrong with the next connection: it is cut at a byte of either direction, or a byte
    /// of the server's is another one. All that goes either way for such a message is less.
    fn fault(&mut self, scale: u64) -> Fault {
        match self.below(6) {
            0 | 1 => Fault { to_server: self.below(900 * scale), ..Fault::NONE },
            // The last of it is the answer to the message.
            2 => Fault { to_client: (200 + self.below(300)) * scale, ..Fault::NONE },
            3 => Fault { to_client: self.below(700 * scale), ..Fault::NONE },
            // What is garbled in clear on its way to the server is another message, which it may well take.
            4 if scale > 1 => Fault { garbled_to_server: Some(self.below(900 * scale)), ..Fault::NONE },
            _ => Fault { garbled: Some(self.below(700 * scale)), ..Fault::NONE },
        }
    }
}

/// A number that the environment says.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|told| told.parse().unwrap())
}

#[test]
fn connections_that_are_cut_at_any_byte_lose_nothing_and_send_nothing_twice() {
    cut_anywhere(Security::Plain, 150);
}

#[test]
fn encrypted_connections_that_are_cut_at_any_byte_lose_nothing_and_send_nothing_twice() {
    cut_anywhere(Security::Tls, 60);
    cut_anywhere(Security::StartTls, 60);
}

fn cut_anywhere(security: Security, usual: u64) {
    let seed = told("AIRLOCK_TEST_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    let cuts = told("AIRLOCK_TEST_SENDING_CUTS").unwrap_or(usual);
    let server = Exim::start();
    let proxy = Proxy::to(if security == Security::Tls { server.tls_port } else { server.port });
    let auth = if security == Security::Plain { Auth::None } else { Auth::Plain };
    // What is said in clear, and so many times as much once it is encrypted.
    let scale = if security == Security::Plain { 1 } else { 4 };
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(mailbox(home.path(), proxy.port, security, auth));
    let account = mailbox.account(None).unwrap().id;
    let (mut random, mut failures) = (Random(seed), 0);
    let secret = Known::new(PASSWORD);
    let mut tried = 0;
    // A garbled record may leave both waiting for the other.
    let connector = server.connector().with_patience(Duration::from_secs(if scale == 1 { 20 } else { 3 }));
    while tried < cuts {
        proxy.set(random.fault(scale));
        tried += 1;
        let Err(error) = mailbox.send(&message("cut"), &*secret, &connector) else { continue };
        let delivery = error.delivery().unwrap();
        assert_eq!(delivery.status, "failed", "seed {seed}: {error}");
        assert!(matches!(delivery.held, None | Some("uncertain" | "dead")), "seed {seed}: {delivery:?}");
        failures += 1;
        // What is tried again may be cut again.
        while tried < cuts && random.below(2) == 0 && is_to_be_tried(&mailbox, delivery.outbox_id) {
            mailbox.retry(delivery.outbox_id).unwrap();
            proxy.set(random.fault(scale));
            tried += 1;
            mailbox.deliver_due(&*secret, &connector).unwrap();
        }
    }
    proxy.set(Fault::NONE);
    // A garbled code may be a refusal, which is for good; a person has it tried again.
    for entry in mailbox.outbox(account).unwrap() {
        if entry.delivery.status == "failed" && entry.delivery.held != Some("uncertain") {
            mailbox.retry(entry.delivery.outbox_id).unwrap();
        }
    }
    let worker = OutboxWorker::start(mailbox.clone(), secret, connector).unwrap();
    // It has tried all that was due when it ends.
    drop(worker);
    let (sent, uncertain) = none_lost_none_twice(&server, &mailbox);
    println!("seed {seed}: {cuts} connections, {failures} messages cut; {sent} sent, {uncertain} uncertain");
    assert!(failures > cuts / 10 && sent > 0, "seed {seed}: {failures} failures, {sent} sent");
}

fn is_to_be_tried(mailbox: &Mailbox, id: i64) -> bool {
    let entries = mailbox.outbox(1).unwrap();
    let entry = entries.iter().find(|entry| entry.delivery.outbox_id == id).unwrap();
    entry.delivery.status == "failed" && entry.delivery.held.is_none()
}

#[test]
fn a_cut_before_the_end_of_the_message_is_no_doubt_and_one_after_it_is() {
    let server = Exim::start();
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = mailbox(home.path(), proxy.port, Security::Plain, Auth::None);
    // The connection ends in the middle of a large message, which no server takes for all of it.
    proxy.set(Fault { to_server: 500_000, ..Fault::NONE });
    let large = SendMail { body_text: "a line of many\n".repeat(1_000_000), ..message("large") };
    let error = mailbox.send(&large, &*Known::new("-"), &server.connector()).unwrap_err();
    assert_eq!(
        (error.delivery().unwrap().status, error.delivery().unwrap().held),
        ("failed", None),
        "{error}"
    );
    mailbox.cancel(error.delivery().unwrap().outbox_id).unwrap();
    // The connection ends once the message is there, and before the server has said so.
    proxy.set(Fault { held_after: Some(b"354 "), ..Fault::NONE });
    let impatient = server.connector().with_patience(Duration::from_secs(3));
    let error = mailbox.send(&message("cut"), &*Known::new("-"), &impatient).unwrap_err();
    let uncertain = error.delivery().unwrap().clone();
    assert_eq!((uncertain.status, uncertain.held), ("failed", Some("uncertain")), "{error}");
    proxy.set(Fault::NONE);
    let due = mailbox.deliver_due(&*Known::new("-"), &server.connector()).unwrap();
    assert_eq!(due, []);
    assert_eq!(server.delivered(1).len(), 1);
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
    let kills = told("AIRLOCK_TEST_KILLS").map_or(12, |kills| u32::try_from(kills).unwrap());
    let mut runner = TestRunner::new(ProptestConfig { cases: kills, ..ProptestConfig::default() });
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
    println!("{kills} kills: {sent} sent, {uncertain} uncertain");
    assert!(sent >= 1 && sent + uncertain > kills as usize, "{sent} sent, {uncertain} uncertain");
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
