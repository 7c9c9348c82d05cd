//! A provider of tokens, and as much of an HTTP server as it needs. The tests of the command have it
//! too.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use sha2::Digest as _;
use url::{Url, form_urlencoded};

/// What the provider knows and was asked.
#[derive(Default)]
pub(crate) struct State {
    /// The refresh token that it takes.
    pub(crate) refresh: String,
    /// How often it gave a token for one.
    pub(crate) renewals: usize,
    /// How often it says that nobody has typed the code yet.
    pub(crate) pending: usize,
    /// What it refuses with.
    pub(crate) error: Option<&'static str>,
    /// The PKCE challenge of the login that is going on.
    pub(crate) challenge: String,
    /// What it gives as a token.
    pub(crate) access: String,
    /// Whether it repeats what it was told where it refuses.
    pub(crate) is_echoing: bool,
    /// How many seconds a code for another device is valid.
    pub(crate) lasts: u32,
}

pub(crate) struct Provider {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            refresh: "refresh-canary-0".to_owned(),
            access: "access-canary".to_owned(),
            lasts: 600,
            ..State::default()
        };
        let provider = Provider { port, state: Arc::new(Mutex::new(state)) };
        let state = provider.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = request(&mut stream) else { continue };
                let form = form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
                let mut state = state.lock().unwrap();
                let (status, mut body) = give(&mut state, port, &request.path, &form);
                if state.is_echoing && status != "200 OK" {
                    let told: String = form_urlencoded::byte_serialize(request.body.as_bytes()).collect();
                    let plain: Vec<&str> = form.values().map(String::as_str).collect();
                    body = format!(
                        "{{\"error\":\"invalid_grant\",\"error_description\":\"{} {told} {}\"}}",
                        request.body,
                        plain.join(" ")
                    );
                }
                answer(&mut stream, status, "application/json", &body);
            }
        });
        provider
    }

    /// An address of it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// What it answers to a request.
fn give(state: &mut State, port: u16, path: &str, form: &BTreeMap<String, String>) -> (&'static str, String) {
    let of = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let refused =
        |error: &str| ("400 Bad Request", format!("{{\"error\":\"{error}\",\"error_description\":\"no\"}}"));
    if path == "/device" {
        assert_eq!((of("client_id"), of("scope")), ("a-client", "mail offline_access"));
        let told = format!(
            "{{\"device_code\":\"device-canary\",\"user_code\":\"ABCD\",\"interval\":0,\"expires_in\":{},
             \"verification_uri\":\"http://127.0.0.1:{port}/type\"}}",
            state.lasts
        );
        return ("200 OK", told);
    }
    assert_eq!(path, "/token");
    if let Some(error) = state.error {
        return refused(error);
    }
    match of("grant_type") {
        "authorization_code" => {
            let challenge = sha2::Sha256::digest(of("code_verifier").as_bytes());
            let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(challenge);
            if of("code") != "code-canary"
                || challenge != state.challenge
                || of("client_secret") != "client-canary"
            {
                return refused("invalid_grant");
            }
        }
        "refresh_token" => {
            if of("refresh_token") != state.refresh {
                return refused("invalid_grant");
            }
            state.renewals += 1;
            state.refresh = format!("refresh-canary-{}", state.renewals);
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            assert_eq!(of("device_code"), "device-canary");
            if state.pending > 0 {
                state.pending -= 1;
                return refused("authorization_pending");
            }
        }
        other => panic!("what is {other}?"),
    }
    let State { access, refresh, .. } = state;
    let told = format!(
        "{{\"access_token\":\"{access}\",\"refresh_token\":\"{refresh}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
    );
    ("200 OK", told)
}

/// Has the browser come back to this address; what it is answered.
pub(crate) fn come_back(redirect: &Url, query: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redirect.port().unwrap())).unwrap();
    write!(stream, "GET {}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n", redirect.path()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

/// What an address that is opened in a browser asks for.
pub(crate) fn asked(url: &str) -> (Url, BTreeMap<String, String>) {
    let asked: BTreeMap<String, String> = Url::parse(url).unwrap().query_pairs().into_owned().collect();
    (asked["redirect_uri"].parse().unwrap(), asked)
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its path with its query.
    pub(crate) path: String,
    pub(crate) body: String,
}

/// Reads a request; none where the connection ends.
pub(crate) fn request(stream: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, body: String::from_utf8(body).ok()? })
}

/// Answers it, and ends the connection.
pub(crate) fn answer(stream: &mut TcpStream, status: &str, kind: &str, body: &str) {
    let length = body.len();
    // Who asked may be gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}
