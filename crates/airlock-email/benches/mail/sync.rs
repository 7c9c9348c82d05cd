//! Fetching.

use std::time::Instant;

use airlock_core::SyncMail;
use airlock_email::{Auth, Connector, Mailbox, Security};

use crate::corpus::{self, Chance, Language};
use crate::dovecot::{Dovecot, fetching};
use crate::server::{Known, PASSWORD};
use crate::{CHILD, floor, percentile};

type Message = fn(usize, &Language, &mut Chance) -> Vec<u8>;

/// How many messages are fetched; the environment may say another number.
fn count() -> usize {
    std::env::var("MESSAGES").ok().and_then(|told| told.parse().ok()).unwrap_or(10_000)
}

fn sync(mailbox: &Mailbox, connector: &Connector) -> u64 {
    let request =
        SyncMail { account_id: None, folder: "INBOX".to_owned(), cursor: None, max_messages: u32::MAX };
    mailbox.sync(&request, &*Known::new(PASSWORD), connector, &()).unwrap().synced.synced
}

/// Seconds that a processor was busy for this process.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A server with so many messages, which has done what it does once for a folder.
fn filled(messages: impl Iterator<Item = Vec<u8>>) -> (Dovecot, usize) {
    let server = Dovecot::start();
    let mut bytes = 0;
    server.deliver(messages.inspect(|message| bytes += message.len()));
    let mut session = server.session();
    session.run("EXAMINE INBOX");
    session.run("FETCH 1:* (UID RFC822.SIZE)");
    (server, bytes)
}

/// Messages as mail programs write them.
pub(crate) fn usual() {
    run("usual messages", corpus::usual);
}

/// Messages that are all text, each word of which is to be found: the most that can be to do.
pub(crate) fn text() {
    run("messages that are all text", corpus::wordy);
}

fn run(name: &str, message: Message) {
    let (count, language) = (count(), Language::new(60_000));
    let mut chance = Chance::new(7);
    let (server, bytes) = filled((0..count).map(|number| message(number, &language, &mut chance)));
    println!("{count} {name} of {} bytes", bytes / count);
    // A file system may be slow where files were removed a moment ago, so all stay until the end.
    let mut homes = Vec::new();
    // Twice, so that neither is the first to read the files.
    for _ in 0..2 {
        let each = |what: &str, fetch: &dyn Fn()| {
            let (start, own, servers) = (Instant::now(), busy(), server.busy());
            fetch();
            let (wall, own) = (start.elapsed().as_secs_f64(), busy() - own);
            let micros = |seconds: f64| seconds * 1e6 / count as f64;
            println!(
                "  {what:12} {:6.0} messages/s, {:4.0} µs a message; busy: {:4.0} µs, the server {:4.0} µs",
                count as f64 / wall,
                micros(wall),
                micros(own),
                micros(server.busy() - servers),
            );
        };
        each("floor", &|| assert!(floor::fetch_all(&server) > bytes as u64));
        let home = tempfile::tempdir().unwrap();
        let mailbox = fetching(home.path(), server.tls_port, Security::Tls, Auth::Plain);
        let connector = server.connector();
        each("first sync", &|| assert_eq!(sync(&mailbox, &connector), count as u64));
        let mut idle: Vec<f64> = (0..40)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(sync(&mailbox, &connector), 0);
                start.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        idle.sort_by(f64::total_cmp);
        homes.push(home);
        println!("  nothing new  {:.1} ms, {:.1} ms at p95", percentile(&idle, 50), percentile(&idle, 95));
    }
}

/// What a process that does nothing else has at most, from a small mailbox, one of a hundred
/// times as many messages, and one with large messages.
pub(crate) fn memory() {
    let (count, language) = (count(), Language::new(60_000));
    let mut chance = Chance::new(7);
    for number in [count / 100, count] {
        let messages = (0..number).map(|number| corpus::usual(number, &language, &mut chance));
        most(&format!("{number} messages of 20 KB"), messages, number);
    }
    let messages = (0..count / 5).map(|number| corpus::wordy(number, &language, &mut chance));
    most(&format!("{} messages of 20 KB that are all text", count / 5), messages, count / 5);
    let text = language.text(900_000, &mut chance);
    let texts = (0..100).map(|number| format!("Subject: {number}\r\n\r\n{number} {text}").into_bytes());
    most("100 texts of 900 KB", texts, 100);
    let messages = (0..3).map(|_| corpus::large(49_000_000, &mut chance));
    most("3 messages of 49 MB", messages, 3);
}

fn most(name: &str, messages: impl Iterator<Item = Vec<u8>>, count: usize) {
    let (server, _) = filled(messages);
    let home = tempfile::tempdir().unwrap();
    let authority = home.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).unwrap();
    let port = server.tls_port.to_string();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([CHILD, &port, &count.to_string(), authority.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{}{}", String::from_utf8_lossy(&child.stderr), server.log());
    println!("memory: {name}: {said}");
}

/// Syncs, and says what it had at most.
pub(crate) fn child(arguments: &[String]) {
    let [port, count, authority] = arguments else { panic!("{arguments:?}") };
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), port.parse().unwrap(), Security::Tls, Auth::Plain);
    let connector = Connector::default().with_authorities(&std::fs::read(authority).unwrap()).unwrap();
    let before = peak();
    assert_eq!(sync(&mailbox, &connector), count.parse::<u64>().unwrap());
    print!("{:.0} MiB at most, {before:.0} MiB before", peak());
}

/// Mebibytes that the process had at most.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
