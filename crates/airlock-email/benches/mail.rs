//! How fast mail is fetched from a Dovecot on loopback, over TLS: the first sync of 10,000
//! messages, a sync where nothing is new, and the memory of it.
//!
//! `cargo bench -p airlock-email` runs it; a number after `--` is how many messages.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has failed without what it needs"
)]
#![allow(dead_code, reason = "it uses a part of what the tests do")]

#[path = "../tests/mail/dovecot.rs"]
mod dovecot;
#[path = "../tests/mail/provider.rs"]
mod provider;
#[path = "../tests/mail/server.rs"]
mod server;

use std::time::Instant;

use airlock_core::SyncMail;
use airlock_email::{Auth, Mailbox, Security};
use base64::Engine as _;

use dovecot::{Dovecot, fetching};
use server::{Known, PASSWORD};

const WORDS: &str = "the quarter report of north harbour shows that ships arrive later than they did and that cranes \
                     wait for trains which wait for drivers whose shifts begin when the tide turns so nobody knows";

/// Numbers that are the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Words, of which one in five is found nowhere else.
    fn text(&mut self, bytes: usize) -> String {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let mut text = String::with_capacity(bytes + 16);
        let mut line = 0;
        while text.len() < bytes {
            let word = match self.next(5) {
                0 => format!("w{:x}", self.next(1 << 20)),
                _ => words[self.next(words.len())].to_owned(),
            };
            line += word.len() + 1;
            text.push_str(&word);
            text.push_str(if line > 70 { "\r\n" } else { " " });
            line = if line > 70 { 0 } else { line };
        }
        text
    }
}

/// A message of about 20 KB as mail programs write them: a text, the same as HTML, often a file.
fn usual(number: usize, chance: &mut Chance) -> Vec<u8> {
    let text = chance.text(3_000 + number % 2_000);
    let html = format!(
        "<html><head><style>p {{ margin: 0 }}</style></head><body><p>{}</p></body></html>",
        text.replace("\r\n", "<br>\r\n")
    );
    let file = match number % 2 {
        0 => {
            let bytes: Vec<u8> = (0..15_000).map(|_| chance.next(256) as u8).collect();
            let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
            let lines: String = base64
                .as_bytes()
                .chunks(76)
                .map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap()))
                .collect();
            format!(
                "--b\r\nContent-Type: application/pdf; name=f{number}.pdf\r\nContent-Disposition: attachment\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\n{lines}"
            )
        }
        _ => String::new(),
    };
    let head = head(number);
    format!(
        "{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {text}\r\n--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--c--\r\n{file}--b--\r\n"
    )
    .into_bytes()
}

/// One of 20 KB that is all text: the most to be found by.
fn wordy(number: usize, chance: &mut Chance) -> Vec<u8> {
    format!("{}\r\n{}", head(number), chance.text(20_000)).into_bytes()
}

fn head(number: usize) -> String {
    format!(
        "Received: from a.x.example by b.x.example with ESMTPS id {number}\r\nFrom: Bert <bert{}@x.example>\r\n\
         To: anna@x.example\r\nSubject: report {number} of the harbour\r\nMessage-ID: <{number}@bench.example>\r\n\
         Date: Sun, 2 Jun 2024 10:00:00 +0000\r\n",
        number % 50
    )
}

fn sync(mailbox: &Mailbox, server: &Dovecot, connector: &airlock_email::Connector) -> u64 {
    let request =
        SyncMail { account_id: None, folder: "INBOX".to_owned(), cursor: None, max_messages: u32::MAX };
    let synced = mailbox.sync(&request, &*Known::new(PASSWORD), connector, &());
    synced.unwrap_or_else(|error| panic!("{error}\n{}", server.log())).synced.synced
}

/// Mebibytes of memory that the process had at most since it was asked to forget.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Seconds that a processor was busy for this process: what another process takes is not in it.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    for (name, message) in [("usual", usual as fn(usize, &mut Chance) -> Vec<u8>), ("all text", wordy)] {
        let server = Dovecot::start();
        let mut chance = Chance(7);
        let mut bytes = 0;
        server.deliver((0..count).map(|number| {
            let message = message(number, &mut chance);
            bytes += message.len();
            message
        }));
        let connector = server.connector();
        // What Dovecot does once for a folder is not measured.
        let mut session = server.session();
        session.run("EXAMINE INBOX");
        session.run("FETCH 1:* (UID RFC822.SIZE)");
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
        // As Linux has it: the peak is as it is now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak();
        let (start, busy) = (Instant::now(), busy());
        assert_eq!(sync(&mailbox, &server, &connector), count as u64);
        let (first, busy) = (start.elapsed(), self::busy() - busy);
        println!(
            "{name}: {count} messages of {} bytes in {:.2} s: {:.0}/s, busy for {busy:.2} s, memory {:.0} MiB at \
             most, {before:.0} before",
            bytes / count,
            first.as_secs_f64(),
            count as f64 / first.as_secs_f64(),
            peak(),
        );
        let mut idle: Vec<f64> = (0..40)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(sync(&mailbox, &server, &connector), 0);
                start.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        idle.sort_by(f64::total_cmp);
        println!("{name}: nothing new in {:.1} ms, {:.1} ms at p95", idle[20], idle[38]);
    }
}
