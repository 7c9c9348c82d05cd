//! A client that fetches all of a folder with one command and drops what it gets: nothing that
//! keeps mail can be faster.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::dovecot::Dovecot;
use crate::server::PASSWORD;

/// Fetches all, over TLS; how many bytes there were.
pub(crate) fn fetch_all(server: &Dovecot) -> u64 {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", server.tls_port)).unwrap();
    let mut stream = BufReader::with_capacity(64 << 10, StreamOwned::new(connection, tcp));
    let mut bytes = 0;
    for (tag, command) in [
        ("a", format!("LOGIN anna {PASSWORD}")),
        ("b", "EXAMINE INBOX".to_owned()),
        ("c", "UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])".to_owned()),
        ("d", "LOGOUT".to_owned()),
    ] {
        stream.get_mut().write_all(format!("{tag} {command}\r\n").as_bytes()).unwrap();
        let mut line = Vec::new();
        loop {
            line.clear();
            bytes += stream.read_until(b'\n', &mut line).unwrap() as u64;
            if line.starts_with(tag.as_bytes()) {
                assert!(line[2..].starts_with(b"OK"), "{command}");
                break;
            }
            let literal =
                line.strip_suffix(b"}\r\n").and_then(|line| line.rsplit(|byte| *byte == b'{').next());
            let literal = literal.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            if let Some(literal) = literal {
                bytes += std::io::copy(&mut stream.by_ref().take(literal), &mut std::io::sink()).unwrap();
            }
        }
    }
    bytes
}
