//! Requests of plugins, sent to servers that this process runs on loopback addresses.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlock_host::service::{HttpClient, HttpClientBuilder, Resolve, TcpConnector};
use airlock_host::{
    AuditEvent, Basis, Capability, Ceiling, Digest, Gate, Http, HttpRequest, HttpResponse, Identity,
    LimitKind, Limits, Need, Overrides, Permit, Place, Policy, Redactor, Request, Scheme, Secret, Secrets,
    ServiceError, ServiceFuture,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_executor::block_on;
use rustls::pki_types::PrivateKeyDer;

/// What is done with a request; whether the connection goes on.
type Handler = dyn Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync;

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A server on a port of its own, which keeps what it was asked.
struct Server {
    port: u16,
    accepted: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(handle: impl Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync + 'static) -> Self {
        Server::wrapped(|stream| Some(Box::new(stream)), handle)
    }

    /// A server whose connections are first made into something else.
    fn wrapped(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn ReadWrite>> + Send + Sync + 'static,
        handle: impl Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (wrap, handle): (_, Arc<Handler>) = (Arc::new(wrap), Arc::new(handle));
        let server = Server { port, accepted: accepted.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (wrap, handle, asked) = (wrap.clone(), handle.clone(), asked.clone());
                std::thread::spawn(move || {
                    let Some(mut stream) = stream.ok().and_then(|stream| wrap(stream)) else { return };
                    while let Some(request) = read_request(&mut *stream) {
                        asked.lock().unwrap().push(request.clone());
                        if !handle(&mut *stream, &request) {
                            break;
                        }
                    }
                });
            }
        });
        server
    }

    /// A server that says the same to everybody.
    fn saying(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Server::start(move |stream, _| stream.write_all(&response).is_ok())
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request with its body, as text.
fn read_request(stream: &mut dyn ReadWrite) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).ok()?;
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).ok()?)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// Waits until the other side has closed the connection, and says so.
fn tell_when_closed() -> (impl Fn(&mut dyn ReadWrite), Receiver<()>) {
    let (sender, receiver) = channel();
    let wait = move |stream: &mut dyn ReadWrite| {
        while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        let _ = sender.send(());
    };
    (wait, receiver)
}

fn closed(receiver: &Receiver<()>) {
    receiver.recv_timeout(Duration::from_secs(20)).expect("the connection is closed");
}

/// Names and what they resolve to, at the first question, at the second, and so on.
#[derive(Debug, Default)]
struct Names {
    answers: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn new(answers: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let answers =
            answers.iter().map(|(name, answers)| (*name, answers.iter().map(parse).collect())).collect();
        Arc::new(Names { answers, asked: Mutex::default() })
    }

    /// Two names for the servers of this process.
    fn usual() -> Arc<Self> {
        Names::new(&[("api.test", &[&["127.0.0.1"]]), ("other.test", &[&["127.0.0.1"]])])
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> ServiceFuture<'a, Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|known| *known == name).count();
        asked.push(name.to_owned());
        let answers = self.answers.get(name).filter(|answers| !answers.is_empty());
        let answer = answers.map(|answers| answers[before.min(answers.len() - 1)].clone());
        Box::pin(async move { answer.ok_or_else(|| ServiceError::Failed("no such name".to_owned())) })
    }
}

/// A call of a plugin that was granted something.
struct Call {
    gate: Gate,
    policy: Arc<Policy>,
    deadline: Instant,
}

impl Call {
    fn new(granted: &[&str]) -> Self {
        Call::of("one", granted, &[], Duration::from_secs(60))
    }

    fn limited(granted: &[&str], limits: &[(LimitKind, u64)]) -> Self {
        Call::of("one", granted, limits, Duration::from_secs(60))
    }

    fn of(plugin: &str, granted: &[&str], limits: &[(LimitKind, u64)], time: Duration) -> Self {
        let grants: Vec<Capability> = granted.iter().map(|text| text.parse().unwrap()).collect();
        let ask = |capability: &Capability| Request { capability: capability.clone(), required: false };
        let requests: Vec<Request> = grants.iter().map(ask).collect();
        let place = Place { working: "/w".into(), ..Place::default() };
        let ceiling = &Ceiling::new();
        let policy = Policy::decide(Basis {
            requests: &requests,
            grants: &grants,
            baseline: &[],
            ceiling,
            place: &place,
        });
        let limits = Limits::default().with(&limits.iter().copied().collect::<Overrides>());
        let caller = Identity { name: plugin.to_owned(), digest: Digest::of(plugin.as_bytes()) };
        let gate = Gate::new(Arc::new(caller), Arc::new(limits));
        Call { gate, policy: Arc::new(policy), deadline: Instant::now() + time }
    }

    fn permit(&self, need: Need<'_>) -> Result<Permit, ServiceError> {
        self.gate.permit(&self.policy, self.deadline, need)
    }

    fn send(&self, client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, ServiceError> {
        let permit = self.permit(request.need())?;
        block_on(client.send(&permit, request))
    }

    fn get(&self, client: &HttpClient, url: &str) -> Result<HttpResponse, ServiceError> {
        self.send(client, HttpRequest::new("GET", url).unwrap())
    }

    /// The whole body of what is there.
    fn text(&self, client: &HttpClient, url: &str) -> Result<String, ServiceError> {
        self.get(client, url).and_then(text)
    }
}

fn text(response: HttpResponse) -> Result<String, ServiceError> {
    block_on(response.bytes(u64::MAX)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn client(names: &Arc<Names>) -> HttpClient {
    builder(names).build()
}

fn builder(names: &Arc<Names>) -> HttpClientBuilder {
    HttpClient::builder().resolver(names.clone()).without_system_certificates()
}

fn denied<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> String {
    match result {
        Err(ServiceError::Denied(capability)) => capability.to_string(),
        other => panic!("{other:?}"),
    }
}

fn failed<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> String {
    match result {
        Err(ServiceError::Failed(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Every host by name, and this process's servers by address.
const ALL: [&str; 2] = ["net=*", "net=127.0.0.1"];

#[test]
fn a_request_is_sent_and_answered_on_every_executor_and_on_none() {
    let server = Server::start(|stream, request| {
        assert!(request.starts_with("POST /a%20b?c=%0D%0AX:y HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\nbody"), "{request}");
        stream.write_all(ok("hello").as_bytes()).is_ok()
    });
    let client = client(&Names::usual());
    let url = format!("http://api.test:{}/a%20b?c=%0D%0AX:y#gone", server.port);
    let call = Call::new(&ALL);
    let fetch = async || {
        let request = HttpRequest::new("POST", &url).unwrap().header("X-Mine", b"1").unwrap().body("body");
        let permit = call.permit(request.need()).unwrap();
        let response = client.send(&permit, request).await.unwrap();
        assert_eq!(
            (response.status.as_u16(), response.headers["content-length"].as_bytes()),
            (200, &b"5"[..])
        );
        assert_eq!(response.url.as_str(), url.strip_suffix("#gone").unwrap());
        assert_eq!(response.bytes(5).await.unwrap(), "hello");
    };
    block_on(fetch());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(fetch());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(fetch());
    let request = &server.asked()[0];
    assert_eq!(header(request, "host"), Some(format!("api.test:{}", server.port).as_str()));
    assert_eq!((header(request, "x-mine"), header(request, "accept-encoding")), (Some("1"), Some("gzip")));
    assert_eq!(server.accepted(), 1);
}

#[test]
fn dns_to_loopback_is_denied_with_the_address_that_would_have_to_be_granted() {
    for (address, needed) in [
        ("127.0.0.1", "net=http://127.0.0.1"),
        ("169.254.169.254", "net=http://169.254.169.254"),
        ("::ffff:127.0.0.1", "net=http://[::ffff:127.0.0.1]"),
        ("64:ff9b::7f00:1", "net=http://[64:ff9b::7f00:1]"),
        ("::1", "net=http://[::1]"),
        ("fd12:3456::1", "net=http://[fd12:3456::1]"),
        ("fd00:ec2::254", "net=http://[fd00:ec2::254]"),
        ("fe80::1", "net=http://[fe80::1]"),
        ("10.1.2.3", "net=http://10.1.2.3"),
        ("100.64.0.1", "net=http://100.64.0.1"),
        ("0.0.0.0", "net=http://0.0.0.0"),
    ] {
        for granted in ["net=*", "net=http://api.test", "net=*.test"] {
            // A public address beside it changes nothing, and is not connected to.
            for answers in [&[address][..], &["1.1.1.1", address], &[address, "1.1.1.1"]] {
                let names = Names::new(&[("api.test", &[answers])]);
                let call = Call::new(&[granted]);
                assert_eq!(denied(call.get(&client(&names), "http://api.test/")), needed, "{granted}");
                let refused = AuditEvent::Refused { capability: needed.parse().unwrap(), count: 1 };
                assert_eq!(call.gate.take_uses().last(), Some(&refused));
            }
        }
    }
}

#[test]
fn dns_to_loopback_changes_between_check_and_connect_and_is_asked_once() {
    let server = Server::saying(ok("hello"));
    let url = format!("http://api.test:{}/", server.port);
    // Every question has another answer, of which the first is granted.
    let names = Names::new(&[("api.test", &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.2"]])]);
    let client = client(&names);
    let call = Call::new(&["net=http://api.test:*", "net=127.0.0.0/8"]);
    assert_eq!(call.text(&client, &url).unwrap(), "hello");
    assert_eq!(names.asked(), ["api.test"]);
    // There is an open connection, to an address that is not what the name stands for now.
    assert_eq!(denied(call.get(&client, &url)), format!("net=http://169.254.169.254:{}", server.port));
    assert_eq!(names.asked().len(), 2);
    // This one may be connected to, where nobody listens.
    assert_eq!(failed(call.get(&client, &url)), "`api.test` cannot be connected to: connection refused");
    assert_eq!((names.asked().len(), server.accepted()), (3, 1));
}

#[test]
fn a_kept_connection_is_not_used_once_its_address_is_no_longer_granted() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (client(&Names::usual()), format!("http://api.test:{}/", server.port));
    assert_eq!(Call::new(&ALL).text(&client, &url).unwrap(), "hello");
    let needed = format!("net=http://127.0.0.1:{}", server.port);
    assert_eq!(denied(Call::new(&["net=*"]).get(&client, &url)), needed);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn ip_literal_is_an_address_however_it_is_written() {
    let server = Server::saying(ok("hello"));
    let (names, port) = (Names::usual(), server.port);
    let client = client(&names);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1."] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(denied(Call::new(&["net=*"]).get(&client, &url)), format!("net=http://127.0.0.1:{port}"));
        assert_eq!(Call::new(&[&format!("net=127.0.0.1:{port}")]).text(&client, &url).unwrap(), "hello");
        assert_eq!(Call::new(&["net=127.0.0.0/8"]).text(&client, &url).unwrap(), "hello");
        let elsewhere = Call::new(&[&format!("net=127.0.0.1:{}", port ^ 1)]).get(&client, &url);
        assert_eq!(denied(elsewhere), format!("net=http://127.0.0.1:{port}"));
    }
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}/");
    for granted in [&["net=*"][..], &ALL] {
        let needed = format!("net=http://[::ffff:127.0.0.1]:{port}");
        assert_eq!(denied(Call::new(granted).get(&client, &mapped)), needed);
    }
    assert_eq!(names.asked(), [] as [&str; 0]);
}

#[test]
fn dns_exfil_a_host_that_is_not_granted_is_not_looked_up() {
    let names = Names::usual();
    let client = client(&names);
    let call = Call::new(&["net=http://api.test"]);
    let secret = HttpRequest::new("GET", "http://stolen-words.other.test/").unwrap();
    let asked = Need::Origin { scheme: Scheme::Http, host: "api.test", port: 80 };
    // The permit is for another host, as an adapter with a defect might have it.
    let permit = call.permit(asked).unwrap();
    assert_eq!(denied(block_on(client.send(&permit, secret))), "net=http://stolen-words.other.test");
    assert_eq!(names.asked(), [] as [&str; 0]);
}

#[test]
fn redirect_out_to_a_host_that_is_not_granted_is_denied_before_it_is_looked_up() {
    let (names, secret) = (Names::usual(), Server::saying(ok("secret")));
    let server = Server::saying(redirect(302, &format!("http://other.test:{}/", secret.port)));
    let call = Call::new(&["net=http://api.test:*", "net=127.0.0.1"]);
    let result = call.get(&client(&names), &format!("http://api.test:{}/", server.port));
    assert_eq!(denied(result), format!("net=http://other.test:{}", secret.port));
    assert_eq!((names.asked(), secret.accepted()), (vec!["api.test".to_owned()], 0));
}

#[test]
fn redirect_out_to_an_address_inside_is_denied() {
    let names = Names::new(&[("api.test", &[&["127.0.0.1"]]), ("metadata.test", &[&["169.254.169.254"]])]);
    let client = client(&names);
    for (location, needed) in [
        ("http://169.254.169.254/latest/meta-data/", "net=http://169.254.169.254"),
        ("http://metadata.test/", "net=http://169.254.169.254"),
        ("http://[::1]/", "net=http://[::1]"),
    ] {
        let server = Server::saying(redirect(302, location));
        let granted = ["net=*", &format!("net=127.0.0.1:{}", server.port)];
        let result = Call::new(&granted).get(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(denied(result), needed, "{location}");
    }
}

#[test]
fn port_not_listed_is_denied_also_after_a_redirect() {
    let (client, secret) = (client(&Names::usual()), Server::saying(ok("secret")));
    let server = Server::saying(redirect(307, &format!("http://api.test:{}/", secret.port)));
    let granted = [&format!("net=http://api.test:{}", server.port), "net=127.0.0.1"];
    let needed = format!("net=http://api.test:{}", secret.port);
    let call = Call::new(&granted);
    assert_eq!(denied(call.get(&client, &format!("http://api.test:{}/", server.port))), needed);
    assert_eq!(denied(call.get(&client, &format!("http://api.test:{}/", secret.port))), needed);
    assert_eq!(secret.accepted(), 0);
}

#[test]
fn userinfo_in_url_of_a_redirect_is_refused() {
    let client = client(&Names::usual());
    for location in ["http://api.test@other.test/", "//api.test:x@other.test/", "http://", "file:///etc"] {
        let server = Server::saying(redirect(302, location));
        let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port));
        assert!(failed(result).starts_with("the server redirects badly: "), "{location}");
    }
}

#[test]
fn redirects_are_followed_as_often_as_is_sane_and_with_the_methods_of_the_standard() {
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let server = Server::saying(redirect(302, "/again"));
    let result = call.get(&client, &format!("http://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server redirects more than 10 times");
    assert_eq!((server.asked().len(), server.accepted()), (11, 1));
    let server = Server::start(|stream, request| {
        let answer = match request.lines().next().unwrap() {
            "POST /302 HTTP/1.1" => redirect(302, "/end"),
            "POST /307 HTTP/1.1" => redirect(307, "/end"),
            "GET /end HTTP/1.1" | "POST /end HTTP/1.1" => ok(&request[request.len() - 4..]),
            other => panic!("{other}"),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    for (path, body) in [("302", "\r\n\r\n"), ("307", "data")] {
        let url = format!("http://api.test:{}/{path}", server.port);
        let response = call.send(&client, HttpRequest::new("POST", &url).unwrap().body("data")).unwrap();
        assert_eq!(response.url.path(), "/end");
        assert_eq!(text(response).unwrap(), body);
    }
}

#[test]
fn header_injection_of_a_server_stays_in_its_head() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                Transfer-Encoding: chunked\r\nTrailer: X-Late\r\nX-Kept: a\r\nSet-Cookie: a=b\r\n\r\n\
                5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n";
    let server = Server::saying(head);
    let client = client(&Names::usual());
    let response = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port)).unwrap();
    let mut names: Vec<&str> = response.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["set-cookie", "x-kept"]);
    assert_eq!(text(response).unwrap(), "hello");
    let bad = Server::saying("HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n");
    let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", bad.port));
    assert!(failed(result).starts_with("the server does not answer as HTTP/1.1 has it"));
}

#[test]
fn too_many_headers_and_too_long_ones_are_refused() {
    let client = client(&Names::usual());
    let many: String = (0..101).map(|index| format!("X-{index}: 1\r\n")).collect();
    let fits: String = (0..99).map(|index| format!("X-{index}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(70 << 10));
    let get = |headers: &str| {
        let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n"));
        Call::new(&ALL).get(&client, &format!("http://api.test:{}/", server.port))
    };
    for headers in [&many, &long] {
        let text = failed(get(headers));
        assert_eq!(text, "the server does not answer as HTTP/1.1 has it: message head is too large");
    }
    assert_eq!(get(&fits).unwrap().headers.len(), 100);
}

#[test]
fn huge_response_is_cut_at_its_limit_and_its_server_let_go() {
    let (wait, gone) = tell_when_closed();
    let wait = Mutex::new(wait);
    let server = Server::start(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
        wait.lock().unwrap()(stream);
        false
    });
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 100_000)]);
    let mut response =
        call.get(&client(&Names::usual()), &format!("http://api.test:{}/", server.port)).unwrap();
    let mut read = 0;
    let error = loop {
        match block_on(response.body.next()) {
            Ok(piece) => read += piece.expect("no end").len(),
            Err(error) => break error,
        }
    };
    let limit = ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 100_000 };
    assert_eq!(error, limit);
    assert!(read <= 100_000, "{read}");
    assert_eq!(block_on(response.body.next()), Err(limit));
    closed(&gone);
}

#[test]
fn huge_request_is_not_sent() {
    let server = Server::saying(ok(""));
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 10)]);
    let request = HttpRequest::new("PUT", &format!("http://api.test:{}/", server.port)).unwrap();
    let result = call.send(&client(&Names::usual()), request.body(vec![0; 11]));
    assert_eq!(result.unwrap_err(), ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 10 });
    assert_eq!(server.accepted(), 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nETag: \"x\"\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn decompression_gives_the_body_and_no_header_that_describes_the_packed_one() {
    let words = "all the words of this. ".repeat(10_000);
    let two = [gzip(words.as_bytes()), gzip(b"the end")].concat();
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let server = Server::saying(packed(&two));
    let response = call.get(&client, &format!("http://api.test:{}/", server.port)).unwrap();
    assert_eq!(response.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["etag"]);
    assert_eq!(text(response).unwrap(), words + "the end");
    for broken in [&two[..two.len() - 3], b"no gzip at all"] {
        let server = Server::saying(packed(broken));
        let result = call.text(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(failed(result), "the response's body is not packed as its headers say");
    }
    // A part of it is not asked for packed, and left as it is where it comes so.
    let part = "HTTP/1.1 206 Part\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\npart";
    let server = Server::saying(part);
    let request = HttpRequest::new("GET", &format!("http://api.test:{}/", server.port)).unwrap();
    let response = call.send(&client, request.header("range", b"bytes=0-3").unwrap()).unwrap();
    assert_eq!(response.headers["content-encoding"], "gzip");
    assert_eq!(text(response).unwrap(), "part");
    assert_eq!(header(&server.asked()[0], "accept-encoding"), Some("identity"));
    let server = Server::saying(packed(b""));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "");
}

#[test]
fn decompression_bomb_is_cut_by_what_it_unpacks_to() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100 << 10);
    let server = Server::saying(packed(&bomb));
    let call = Call::limited(&ALL, &[(LimitKind::HttpBody, 1 << 20)]);
    let result = call.text(&client(&Names::usual()), &format!("http://api.test:{}/", server.port));
    assert_eq!(result, Err(ServiceError::Limit { limit: LimitKind::HttpBody, maximum: 1 << 20 }));
}

/// Takes its time, and says when the connection is gone.
fn dripping(head: &'static str) -> (Server, Receiver<()>) {
    let (sender, receiver) = channel();
    let server = Server::start(move |stream, _| {
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = sender.send(());
        false
    });
    (server, receiver)
}

#[test]
fn slow_drip_is_cut_at_the_first_of_all_times() {
    let millis = |count: u64| Duration::from_millis(count);
    let nanos = 100_000_000;
    let own = |url: &str| HttpRequest::new("GET", url).unwrap().timeout(millis(100));
    let plain = |url: &str| HttpRequest::new("GET", url).unwrap();
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: "] {
        for (case, expected) in [
            ("own", ServiceError::TimedOut),
            ("limit", ServiceError::TimedOut),
            ("call", ServiceError::Ended),
        ] {
            let (server, gone) = dripping(head);
            let url = format!("http://api.test:{}/", server.port);
            let (call, request) = match case {
                "own" => (Call::new(&ALL), own(&url)),
                "limit" => (Call::limited(&ALL, &[(LimitKind::HttpTime, nanos)]), plain(&url)),
                _ => (Call::of("one", &ALL, &[], millis(100)), plain(&url)),
            };
            let started = Instant::now();
            let result = call.send(&client(&Names::usual()), request).and_then(text);
            assert_eq!(result, Err(expected), "{case} {head}");
            assert!((millis(100)..millis(5_000)).contains(&started.elapsed()), "{:?}", started.elapsed());
            closed(&gone);
        }
    }
}

#[test]
fn slow_host_call_ends_with_its_call_and_closes_the_connection() {
    let (wait, gone) = tell_when_closed();
    let wait = Mutex::new(wait);
    let server = Server::start(move |stream, _| {
        wait.lock().unwrap()(stream);
        false
    });
    let client = client(&Names::usual());
    let url = format!("http://api.test:{}/", server.port);
    let call = Call::of("one", &ALL, &[], Duration::from_millis(100));
    assert_eq!(call.get(&client, &url).unwrap_err(), ServiceError::Ended);
    closed(&gone);
    // And when nobody waits for it any more.
    let call = Call::new(&ALL);
    let request = HttpRequest::new("GET", &url).unwrap();
    let permit = call.permit(request.need()).unwrap();
    let mut sent = client.send(&permit, request);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(sent.as_mut().poll(&mut context).is_pending());
    while server.asked().len() < 2 {
        std::thread::yield_now();
    }
    drop(sent);
    closed(&gone);
    // A call that is over sends nothing.
    let request = HttpRequest::new("GET", &url).unwrap();
    let permit = call.permit(request.need()).unwrap();
    drop(call);
    assert_eq!(block_on(client.send(&permit, request)).unwrap_err(), ServiceError::Ended);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_comes_before_an_answer_is_passed_over_and_is_none_itself() {
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let server = Server::saying(format!("{early}{}", ok("hello")));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
    let server =
        Server::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    let result = call.get(&client, &format!("http://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server answers 101 Switching Protocols to nothing");
}

const ENDED: &str = "the server ended the connection before the response was whole";

#[test]
fn a_body_that_breaks_off_is_no_whole_body() {
    let client = client(&Names::usual());
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let server = Server::start(move |stream, _| {
            let _ = stream.write_all(response.as_bytes());
            false
        });
        let result = Call::new(&ALL).text(&client, &format!("http://api.test:{}/", server.port));
        assert_eq!(failed(result), ENDED);
    }
    let silent = Server::start(|_, _| false);
    let result = Call::new(&ALL).get(&client, &format!("http://api.test:{}/", silent.port));
    assert_eq!(failed(result), ENDED);
}

#[test]
fn connections_are_used_again_by_one_plugin_and_never_by_another() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (client(&Names::usual()), format!("http://api.test:{}/", server.port));
    let minute = Duration::from_secs(60);
    for (plugin, expected) in [("one", 1), ("one", 1), ("two", 2), ("two", 2), ("one", 2)] {
        let call = Call::of(plugin, &ALL, &[], minute);
        for _ in 0..3 {
            assert_eq!(call.text(&client, &url).unwrap(), "hello");
        }
        assert_eq!(server.accepted(), expected, "{plugin}");
    }
    // Another name is another origin, although the address is the same.
    Call::new(&ALL).text(&client, &format!("http://other.test:{}/", server.port)).unwrap();
    assert_eq!(server.accepted(), 3);
    // A body that nobody read to its end closes its connection.
    drop(Call::new(&ALL).get(&client, &url).unwrap());
}

#[test]
fn a_server_that_closed_a_kept_connection_is_connected_to_again() {
    let server = Server::start(|stream, _| {
        let _ = stream.write_all(ok("hello").as_bytes());
        false
    });
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    for expected in 1..6 {
        assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
        assert_eq!(server.accepted(), expected);
    }
}

#[test]
fn no_cookie_is_kept_and_no_referer_sent() {
    let server = Server::start(|stream, request| {
        let answer = match request.starts_with("GET /first ") {
            true => "HTTP/1.1 302 Go\r\nLocation: /next\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            false => ok("hello"),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let (client, call) = (client(&Names::usual()), Call::new(&ALL));
    for path in ["first", "second"] {
        call.text(&client, &format!("http://api.test:{}/{path}", server.port)).unwrap();
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for request in &asked {
        let headers: Vec<&str> =
            request.lines().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert_eq!(headers, ["host", "user-agent", "accept-encoding"]);
    }
}

/// Credentials for one host.
#[derive(Debug)]
struct Kept(&'static str, Vec<(&'static str, &'static str)>);

impl Secrets for Kept {
    fn get(&self, _: &Permit, _: &str) -> Result<Option<Secret>, ServiceError> {
        Ok(None)
    }

    fn credentials(
        &self,
        _: &Permit,
        _: Scheme,
        host: &str,
        _: u16,
    ) -> Result<Vec<(String, Secret)>, ServiceError> {
        let all = self.1.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        Ok(all.filter(|_| host == self.0).collect())
    }
}

#[test]
fn credentials_are_sent_to_their_host_only_and_never_shown() {
    let other = Server::start(|stream, request| stream.write_all(ok(request).as_bytes()).is_ok());
    let elsewhere = format!("http://other.test:{}/", other.port);
    let server = Server::start(move |stream, request| {
        let secret = header(request, "authorization").unwrap();
        let answer = match request.split(' ').nth(1).unwrap() {
            "/out" => redirect(307, &elsewhere),
            "/back" => redirect(302, "/?Bearer%20x=token-of-the-operator"),
            "/broken" => format!("HTTP/1.1 200 OK\r\n{secret}\r\n\r\n"),
            _ => format!(
                "HTTP/1.1 200 OK\r\nX-Echo: {secret}\r\nContent-Length: {}\r\n\r\n{request}",
                request.len()
            ),
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let redactor = Redactor::new();
    let kept = Kept("api.test", vec![("Authorization", "Bearer token-of-the-operator")]);
    let client = builder(&Names::usual()).credentials(Arc::new(kept), redactor.clone()).build();
    let call = Call::new(&ALL);
    let ask = |path: &str| {
        let url = format!("http://api.test:{}{path}", server.port);
        let request = HttpRequest::new("GET", &url).unwrap().header("authorization", b"Bearer mine").unwrap();
        call.send(&client, request)
    };
    // In place of what the plugin set, and not in what comes back.
    let response = ask("/").unwrap();
    assert_eq!(response.headers["x-echo"], "[secret Authorization]");
    let shown = format!("{response:?}") + &text(response).unwrap();
    assert_eq!(header(&shown, "authorization"), Some("[secret Authorization]"));
    let sent = server.asked().pop().unwrap();
    assert_eq!(header(&sent, "authorization"), Some("Bearer token-of-the-operator"));
    assert_eq!(sent.matches("Bearer").count(), 1);
    // Not to another host.
    let shown = text(ask("/out").unwrap()).unwrap();
    assert_eq!((header(&shown, "authorization"), shown.contains("token")), (None, false));
    // Not where a redirect says it.
    let response = ask("/back").unwrap();
    assert_eq!(response.url.as_str(), format!("http://api.test:{}/", server.port));
    assert!(!text(response).unwrap().contains("token-of-the-operator"));
    let error = ask("/broken").unwrap_err();
    assert!(!format!("{error} {error:?} {client:?}").contains("token-of-the-operator"), "{error}");
    assert_eq!(redactor.redact("a Bearer token-of-the-operator b"), "a [secret Authorization] b");
}

#[test]
fn credentials_that_are_no_header_are_the_operators_to_know_of() {
    for (name, value) in [("x y", "secret-value"), ("x-a", "secret-\r\nvalue"), ("Host", "secret-value")] {
        let kept = Kept("api.test", vec![(name, value)]);
        let client = builder(&Names::usual()).credentials(Arc::new(kept), Redactor::new()).build();
        let error = Call::new(&ALL).get(&client, "http://api.test/").unwrap_err();
        let expected = "the credentials for this host are no header".to_owned();
        assert_eq!(error, ServiceError::Unavailable(expected));
    }
}

/// A server that speaks TLS as `api.test`, and the certificate that it shows.
fn secure(handle: impl Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync + 'static) -> (Server, String) {
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream| -> Option<Box<dyn ReadWrite>> {
        let connection = rustls::ServerConnection::new(config.clone()).ok()?;
        Some(Box::new(rustls::StreamOwned::new(connection, stream)))
    };
    (Server::wrapped(wrap, handle), pem(made.cert.der()))
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits =
            three.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn https_believes_only_the_certificates_it_was_given() {
    let (server, certificate) = secure(|stream, _| stream.write_all(ok("hello").as_bytes()).is_ok());
    let (names, call) = (Names::usual(), Call::new(&ALL));
    let url = format!("https://api.test:{}/", server.port);
    let trusting = builder(&names).root_certificate(certificate.as_bytes()).unwrap().build();
    for _ in 0..3 {
        assert_eq!(call.text(&trusting, &url).unwrap(), "hello");
    }
    assert_eq!(server.accepted(), 1);
    let wrong_name = call.get(&trusting, &format!("https://other.test:{}/", server.port));
    assert!(failed(wrong_name).starts_with("no encrypted connection with `other.test`: invalid peer"));
    let (_, another) = secure(|_, _| false);
    let doubting = builder(&names).root_certificate(another.as_bytes()).unwrap().build();
    assert!(failed(call.get(&doubting, &url)).contains("invalid peer certificate"));
    let nobody = client(&names).clone();
    assert!(matches!(call.get(&nobody, &url), Err(ServiceError::Unavailable(_))));
    for no_certificate in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let result = builder(&names).root_certificate(no_certificate.as_bytes());
        assert!(matches!(result, Err(ServiceError::Invalid(_))), "{no_certificate}");
    }
}

#[test]
fn scheme_downgrade_by_a_redirect_is_refused() {
    let plain = Server::saying(ok("secret"));
    let location = format!("http://api.test:{}/", plain.port);
    let (server, certificate) =
        secure(move |stream, _| stream.write_all(redirect(302, &location).as_bytes()).is_ok());
    let client = builder(&Names::usual()).root_certificate(certificate.as_bytes()).unwrap().build();
    let result = Call::new(&ALL).get(&client, &format!("https://api.test:{}/", server.port));
    assert_eq!(failed(result), "the server redirects badly: from https to http");
    assert_eq!(plain.accepted(), 0);
}

/// Where the child of the next test finds its server.
const PORT: &str = "AIRLOCK_TEST_PORT";

#[test]
fn no_proxy_of_the_environment_is_asked() {
    if let Ok(port) = std::env::var(PORT) {
        let url = format!("http://api.test:{port}/");
        assert_eq!(Call::new(&ALL).text(&client(&Names::usual()), &url).unwrap(), "direct");
        return;
    }
    let (server, proxy) = (Server::saying(ok("direct")), Server::saying(ok("by the proxy")));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "http::no_proxy_of_the_environment_is_asked"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://127.0.0.1:{}", proxy.port));
    }
    assert!(child.env(PORT, server.port.to_string()).output().unwrap().status.success());
    assert_eq!((server.asked().len(), proxy.accepted()), (1, 0));
}

#[test]
fn the_systems_resolver_knows_this_host_and_it_has_to_be_granted() {
    let server = Server::saying(ok("hello"));
    let (client, url) = (HttpClient::default(), format!("http://localhost:{}/", server.port));
    let needed = denied(Call::new(&["net=*"]).get(&client, &url));
    let port = server.port;
    assert!(
        [format!("net=http://127.0.0.1:{port}"), format!("net=http://[::1]:{port}")].contains(&needed),
        "{needed}"
    );
    // Where it has two addresses, both are tried.
    let call = Call::new(&["net=localhost", "net=127.0.0.1", "net=::1"]);
    assert_eq!(call.text(&client, &url).unwrap(), "hello");
}

#[test]
fn every_address_is_tried_until_one_answers() {
    let server = Server::saying(ok("hello"));
    let names =
        Names::new(&[("api.test", &[&["127.0.0.2", "127.0.0.3", "127.0.0.1"]]), ("none.test", &[&[]])]);
    let (client, call) = (client(&names), Call::new(&["net=*", "net=127.0.0.0/8"]));
    assert_eq!(call.text(&client, &format!("http://api.test:{}/", server.port)).unwrap(), "hello");
    assert_eq!(failed(call.get(&client, "http://none.test/")), "`none.test` has no address");
    assert_eq!(failed(call.get(&client, "http://unknown.test/")), "no such name");
}

#[test]
fn bare_connections_are_under_the_same_rules() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::saying("pong");
    let names = Names::new(&[("api.test", &[&["127.0.0.1"], &["127.0.0.1"], &["169.254.169.254"]])]);
    let connector = TcpConnector::new(names.clone());
    let port = server.port;
    let connect = |granted: &[&str], host: &str| {
        let call = Call::new(granted);
        let permit = call.permit(Need::Origin { scheme: Scheme::Tcp, host, port })?;
        block_on(connector.connect(&permit, host, port)).map(|connection| (call, connection))
    };
    let ours = format!("net=tcp://api.test:{port}");
    assert_eq!(denied(connect(&[&ours], "api.test").map(drop)), format!("net=tcp://127.0.0.1:{port}"));
    assert_eq!(denied(connect(&["net=http://api.test"], "api.test").map(drop)), ours);
    let (call, mut connection) = connect(&[&ours, "net=127.0.0.1"], "API.test").unwrap();
    assert_eq!(connection.peer().unwrap().port(), port);
    block_on(async {
        connection.write_all(b"ping\r\n\r\n").await.unwrap();
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
        drop(call);
        let error = connection.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
    assert_eq!(
        denied(connect(&[&ours, "net=127.0.0.1"], "api.test").map(drop)),
        format!("net=tcp://169.254.169.254:{port}")
    );
    assert_eq!(denied(connect(&["net=*"], "127.1").map(drop)), format!("net=tcp://127.0.0.1:{port}"));
    let invalid = connect(&["net=*"], "a b").map(drop).unwrap_err();
    assert!(matches!(invalid, ServiceError::Invalid(_)), "{invalid:?}");
    assert_eq!(server.accepted(), 1);
}
