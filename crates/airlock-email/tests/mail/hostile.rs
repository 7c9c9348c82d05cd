//! Servers that want more than to be asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use airlock_core::{MailCode, MailError};
use airlock_email::{Auth, Connector, Security};

use crate::dovecot::fetching;
use crate::fetching::request;
use crate::server::Known;

/// The credential of the account, which no server here may see but where it says so.
const SECRET: &str = "canary-of-a-password";

/// A session of a server that plays a part: what it heard.
struct Part {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    heard: String,
}

impl Part {
    fn say(&mut self, text: &[u8]) {
        // The client may have had enough.
        let _ = self.stream.write_all(text);
    }

    /// The next line's tag and what comes after it; none at the end.
    fn hear(&mut self) -> Option<(String, String)> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        self.heard.push_str(&line);
        let (tag, command) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        Some((tag.to_owned(), command.to_owned()))
    }
}

/// Syncs with a server that plays this part: how it ended, and what the server heard.
fn meet(security: Security, auth: Auth, part: impl FnOnce(&mut Part) + Send) -> (MailError, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), port, security, auth);
    std::thread::scope(|scope| {
        let played = scope.spawn(move || {
            let stream = listener.accept().unwrap().0;
            let reader = BufReader::new(stream.try_clone().unwrap());
            let mut session = Part { stream, reader, heard: String::new() };
            part(&mut session);
            session.heard
        });
        let connector = Connector::default().with_patience(Duration::from_millis(400));
        let error = mailbox.sync(&request(10), &*Known::new(SECRET), &connector, &()).unwrap_err();
        (error, played.join().unwrap())
    })
}

/// Plays a server that is as it should be until a command begins so, to which it says this; `TAG`
/// stands for the command's.
fn until(part: &mut Part, command: &str, answer: &[u8]) {
    part.say(b"* OK [CAPABILITY IMAP4rev1] hello\r\n");
    while let Some((tag, heard)) = part.hear() {
        if heard.starts_with(command) {
            let answer = String::from_utf8_lossy(answer).replace("TAG", &tag);
            part.say(answer.as_bytes());
            // It waits for the client to end.
            while part.hear().is_some() {}
            return;
        }
        let data = match heard.split(' ').next() {
            Some("EXAMINE") => "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] .\r\n* OK [UIDNEXT 9] .\r\n",
            Some("FETCH") => {
                "* 1 FETCH (UID 3 FLAGS ())\r\n* 2 FETCH (UID 5 FLAGS ())\r\n* 3 FETCH (UID 6 FLAGS ())\r\n"
            }
            _ => "",
        };
        part.say(format!("{data}{tag} OK [CAPABILITY IMAP4rev1] done\r\n").as_bytes());
    }
}

#[test]
fn nothing_is_said_to_a_server_without_starttls_or_that_speaks_before_it_is_encrypted() {
    let (error, heard) = meet(Security::StartTls, Auth::Plain, |part| {
        part.say(b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\n");
        while part.hear().is_some() {}
    });
    assert_eq!((error.message(), heard.as_str()), ("the server offers no STARTTLS", ""));
    let (error, heard) = meet(Security::StartTls, Auth::Plain, |part| {
        part.say(b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] you are in\r\n");
        while part.hear().is_some() {}
    });
    assert_eq!((error.message(), heard.as_str()), ("the server offers no STARTTLS", ""));
    let (error, heard) = meet(Security::StartTls, Auth::Plain, |part| {
        part.say(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n");
        let (tag, _) = part.hear().unwrap();
        part.say(format!("{tag} OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n").as_bytes());
        while part.hear().is_some() {}
    });
    assert_eq!(error.message(), "the server spoke before the connection was encrypted");
    assert_eq!(heard, "a1 STARTTLS\r\n");
}

#[test]
fn no_password_is_sent_where_the_server_takes_none() {
    let (error, heard) = meet(Security::Plain, Auth::Login, |part| {
        part.say(b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\n");
        while part.hear().is_some() {}
    });
    assert_eq!(error.message(), "the server takes no password on this connection");
    assert_eq!(heard, "");
}

#[test]
fn what_a_server_repeats_of_a_credential_is_not_told() {
    let (error, _) = meet(Security::Plain, Auth::Login, |part| {
        part.say(b"* OK [CAPABILITY IMAP4rev1] hello\r\n");
        let (tag, command) = part.hear().unwrap();
        part.say(format!("{tag} NO what is {command}?\r\n").as_bytes());
        while part.hear().is_some() {}
    });
    assert_eq!(error.code(), MailCode::Provider);
    assert!(error.message().contains("what is LOGIN") && !error.message().contains(SECRET), "{error}");
}

#[test]
fn a_server_that_says_a_byte_now_and_then_is_not_waited_for() {
    let before = Instant::now();
    let (error, _) = meet(Security::Plain, Auth::Plain, |part| {
        part.say(b"* OK [CAPABILITY IMAP4rev1");
        while part.stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(error.code(), MailCode::Network);
    assert!(error.message().contains("did not answer for 400ms"), "{error}");
    // Bytes win no time: it would go on for as long as there are any.
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[test]
fn answers_that_are_none_are_errors_and_change_nothing() {
    let long = [b"* OK ".to_vec(), vec![b'x'; 100_000], b"\r\n".to_vec()].concat();
    let deep = [b"* 1 FETCH (BODYSTRUCTURE ".to_vec(), vec![b'('; 5_000], b"\r\n".to_vec()].concat();
    let cases: [(&str, &[u8], &str); 16] = [
        ("LOGIN", b"TAG BAD what\r\n", "the server does not understand: what"),
        ("LOGIN", b"* BYE enough\r\n", "the server ended the connection: enough"),
        ("LOGIN", b"other OK done\r\n", "the server answers what was not asked"),
        ("LOGIN", b"+ more\r\n", "the server waits for what it is not told"),
        ("EXAMINE", b"* 1 EXISTS\r\nTAG OK done\r\n", "the server gives its messages no lasting numbers"),
        ("EXAMINE", b"TAG NO there is none\r\n", "provider rejected the request: there is none"),
        ("EXAMINE", &long, "the server says too much in one line"),
        ("EXAMINE", &deep, "the server says too much in one response"),
        // The parser panics on these.
        ("EXAMINE", b"* 1 FETCH (INTERNALDATE NIL)\r\nTAG OK done\r\n", "the server says what is no IMAP"),
        ("EXAMINE", "* OK [ALERT]é\r\nTAG OK done\r\n".as_bytes(), "the server says what is no IMAP"),
        ("EXAMINE", b"nothing of the kind\r\n", "the server says what is no IMAP: `nothing of the kind`"),
        (
            "FETCH",
            b"* 1 FETCH (UID 9 FLAGS ())\r\n* 2 FETCH (UID 5 FLAGS ())\r\nTAG OK done\r\n",
            "the server's numbers of messages are not in their order",
        ),
        ("EXAMINE", b"* 4294967296 EXISTS\r\nTAG OK done\r\n", "the server says what is no IMAP"),
        ("UID FETCH", b"* 1 FETCH (UID 3 BODY[] {99999999}\r\n", "the server says too much in one response"),
        (
            "UID FETCH",
            b"* 1 FETCH (UID 3 BODY[] {18446744073709551617}\r\n",
            "the server says too much in one response",
        ),
        ("UID FETCH", b"* 1 FETCH (UID 3 BODY[] {10}\r\nhalf", "did not answer for 400ms"),
    ];
    for (command, answer, expected) in cases {
        let (error, _) = meet(Security::Plain, Auth::Login, |part| until(part, command, answer));
        assert!(error.message().contains(expected), "{error}\nis not: {expected}");
    }
}
