//! Requests of plugins, sent to servers that this process runs on loopback addresses.

mod bounds;
mod connections;
mod rules;

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

pub(crate) trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A server on a port of its own, which keeps what it was asked.
pub(crate) struct Server {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(handle: impl Fn(&mut dyn ReadWrite, &str) -> bool + Send + Sync + 'static) -> Self {
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
    pub(crate) fn saying(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Server::start(move |stream, _| stream.write_all(&response).is_ok())
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
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

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn redirect(status: u16, location: &str) -> String {
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
