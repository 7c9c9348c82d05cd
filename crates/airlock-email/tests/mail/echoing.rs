//! Servers that repeat what they are told, in every way that a server can.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// In answer to what a server does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The login, which it refuses.
    Login,
    /// What comes after a login that it takes, which it refuses.
    Work,
    /// The message, which it takes, or a line that is none of its protocol.
    End,
}

/// How it repeats what it was told, which was in base64.
pub(crate) const FORMS: [fn(&str) -> String; 5] = [
    |encoded| encoded.to_owned(),
    |encoded| plain(encoded),
    |encoded| url::form_urlencoded::byte_serialize(plain(encoded).as_bytes()).collect(),
    // What an error repeats of it ends in the middle of the credential.
    |encoded| {
        let said = plain(encoded);
        let secret = said.split(' ').rfind(|part| !part.is_empty()).unwrap_or_default();
        format!("{}{secret}", "x".repeat(291 - secret.len() / 2))
    },
    |encoded| format!("[{}] is {:?}", STANDARD.encode(plain(encoded)), plain(encoded)),
];

/// What was told, with spaces in the place of what is no text.
fn plain(encoded: &str) -> String {
    let told = STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8_lossy(&told).replace(['\0', '\x01'], " ")
}

/// Serves each connection in a thread of its own; where.
fn serve(each: impl Fn(&mut TcpStream) -> Option<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (each, mut stream) = (each.clone(), stream.unwrap());
            std::thread::spawn(move || each(&mut stream));
        }
    });
    port
}

/// A server that mail is handed to.
pub(crate) fn smtp(at: At, form: fn(&str) -> String) -> u16 {
    serve(move |stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes()).ok();
        say("220 hello")?;
        let mut told = String::new();
        while let Some(Ok(line)) = lines.next() {
            let refused = |code: &str| format!("{code} you said {}", form(&told));
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => say("250-hello\r\n250 AUTH PLAIN XOAUTH2 OAUTHBEARER")?,
                "AUTH" => {
                    told = line.split(' ').nth(2).unwrap_or_default().to_owned();
                    match at {
                        At::Login => say(&format!("535 you said {}", form(&told)))?,
                        _ => say("235 welcome")?,
                    }
                }
                "MAIL" if at == At::Work => say(&refused("451"))?,
                "DATA" => say("354 go on")?,
                "." => say(&refused("250"))?,
                "QUIT" => return say("221 bye"),
                "MAIL" | "RCPT" => say("250 ok")?,
                _ => {}
            }
        }
        Some(())
    })
}

/// A server that mail is fetched from.
pub(crate) fn imap(at: At, form: fn(&str) -> String) -> u16 {
    const ABLE: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2";
    serve(move |stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes()).ok();
        say(&format!("* OK [CAPABILITY {ABLE}] hello"))?;
        let mut told = String::new();
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            let tag = words[0];
            match words.get(1).copied().unwrap_or_default() {
                "AUTHENTICATE" => {
                    told = words.get(3).copied().unwrap_or_default().to_owned();
                    match at {
                        At::Login => say(&format!("{tag} NO you said {}", form(&told)))?,
                        _ => say(&format!("{tag} OK [CAPABILITY {ABLE}] welcome"))?,
                    }
                }
                "LOGOUT" => return say(&format!("{tag} OK bye")),
                _ if at == At::End => say(&format!("* ((( {}", form(&told)))?,
                _ => say(&format!("{tag} NO you said {}", form(&told)))?,
            }
        }
        Some(())
    })
}
