//! Services for tests of applications and plugins: nothing of them reaches the machine, and
//! each says afterwards what was asked of it. (A component that is granted an address connects to
//! it all the same: that is no service.)
//!
//! ```
//! use airlock_host::testing::fakes;
//! use airlock_host::{Host, LoadOptions};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let fakes = fakes();
//! fakes.http.answer("https://api.example.com/", 200, "fine");
//! let host = Host::builder().services(fakes.services()).build()?;
//! // Load a plugin, call it, and look at what it asked for:
//! assert!(fakes.http.requests().is_empty());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlock_core::{
    Ended, Exec, Http, HttpBody, HttpRequest, HttpResponse, Log, LogLevel, MemoryKv, Metadata, OutputSink,
    Permit, ProgramRun, Redactor, Secret, Secrets, ServiceError, ServiceFuture, Stream,
};
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::service::{EventBus, OperatorConfig, Resolve, Services, ToolRegistry};

/// Every service, as a fake. What is behind each can be prepared and looked at.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Fakes {
    /// What plugins keep, in memory.
    pub kv: Arc<MemoryKv>,
    /// Answers that are put there.
    pub http: Arc<FakeHttp>,
    /// Addresses that are put there.
    pub resolver: Arc<FakeResolver>,
    /// Programs that only say what they were told to.
    pub exec: Arc<FakeExec>,
    /// What plugins are configured with; the environment is looked at as well.
    pub config: OperatorConfig,
    /// Secrets that are put there.
    pub secrets: Arc<FakeSecrets>,
    /// What plugins logged.
    pub log: Arc<FakeLog>,
    /// A bus of its own.
    pub events: EventBus,
    /// Facts that are put there.
    pub metadata: Arc<FakeMetadata>,
    /// A registry of its own.
    pub tools: ToolRegistry,
}

/// A fake of every service, with nothing in any of them.
pub fn fakes() -> Fakes {
    Fakes::default()
}

impl Fakes {
    /// The services, for a host.
    pub fn services(&self) -> Services {
        Services {
            kv: self.kv.clone(),
            http: self.http.clone(),
            resolver: self.resolver.clone(),
            exec: self.exec.clone(),
            config: Arc::new(self.config.clone()),
            secrets: self.secrets.clone(),
            log: self.log.clone(),
            events: Arc::new(self.events.clone()),
            metadata: self.metadata.clone(),
            tools: Arc::new(self.tools.clone()),
            redactor: Redactor::new(),
        }
    }
}

/// What a test has put there, and what was asked. A panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ready<'a, T: Send + 'a>(result: Result<T, ServiceError>) -> ServiceFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

/// Answers requests with what was put there for their URL. What was put there once is
/// answered again and again; for any other URL the request fails.
#[derive(Debug, Default)]
pub struct FakeHttp {
    answers: Mutex<BTreeMap<String, (u16, Bytes)>>,
    requests: Mutex<Vec<HttpRequest>>,
}

impl FakeHttp {
    /// Answers requests for this URL, as it is written in its usual form, with `/` after the
    /// host.
    pub fn answer(&self, url: &str, status: u16, body: impl Into<Bytes>) {
        lock(&self.answers).insert(url.to_owned(), (status, body.into()));
    }

    /// What was sent so far.
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.requests).clone()
    }
}

/// Finds the addresses that were put there for a name, and none of any other.
#[derive(Debug, Default)]
pub struct FakeResolver {
    answers: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl FakeResolver {
    /// Has this name, in lower case, stand for these addresses.
    pub fn answer(&self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        lock(&self.answers).insert(name.to_owned(), addresses.into_iter().collect());
    }

    /// The names that were looked up so far.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Resolve for FakeResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> ServiceFuture<'a, Vec<IpAddr>> {
        lock(&self.asked).push(name.to_owned());
        let missing = || ServiceError::Failed(format!("`{name}` has no address"));
        ready(lock(&self.answers).get(name).cloned().ok_or_else(missing))
    }
}

struct Whole(Option<Bytes>);

impl HttpBody for Whole {
    fn next(&mut self) -> ServiceFuture<'_, Option<Bytes>> {
        ready(Ok(self.0.take()))
    }
}

impl Http for FakeHttp {
    fn send<'a>(&'a self, _permit: &'a Permit, request: HttpRequest) -> ServiceFuture<'a, HttpResponse> {
        let url = request.url().clone();
        lock(&self.requests).push(request);
        ready(match lock(&self.answers).get(url.as_str()) {
            Some((status, body)) => {
                let body = Whole(Some(body.clone()).filter(|body| !body.is_empty()));
                Ok(HttpResponse::new(*status, url, Box::new(body)))
            }
            None => Err(ServiceError::Failed(format!("no answer was put there for {url}"))),
        })
    }
}

/// Says for programs what was put there for their name.
#[derive(Debug, Default)]
pub struct FakeExec {
    programs: Mutex<BTreeMap<String, (Ended, String, String)>>,
    runs: Mutex<Vec<ProgramRun>>,
}

impl FakeExec {
    /// Has this program end like that, after it has written this to standard output and
    /// standard error.
    pub fn answer(&self, program: &str, ended: Ended, stdout: &str, stderr: &str) {
        let said = (ended, stdout.to_owned(), stderr.to_owned());
        lock(&self.programs).insert(program.to_owned(), said);
    }

    /// What was run so far.
    pub fn runs(&self) -> Vec<ProgramRun> {
        lock(&self.runs).clone()
    }
}

impl Exec for FakeExec {
    fn run<'a>(
        &'a self,
        _permit: &'a Permit,
        run: &'a ProgramRun,
        sink: &'a mut OutputSink<'a>,
    ) -> ServiceFuture<'a, Ended> {
        lock(&self.runs).push(run.clone());
        let said = lock(&self.programs).get(&run.program).cloned();
        ready(match said {
            Some((ended, stdout, stderr)) => sink(Stream::Stdout, stdout.as_bytes())
                .and_then(|()| sink(Stream::Stderr, stderr.as_bytes()))
                .map(|()| ended),
            None => Err(ServiceError::NotFound(format!("program `{}`", run.program))),
        })
    }
}

/// Secrets by their names, and no credentials.
#[derive(Debug, Default)]
pub struct FakeSecrets(Mutex<BTreeMap<String, Secret>>);

impl FakeSecrets {
    /// Puts a secret there.
    pub fn set(&self, name: &str, value: &str) {
        lock(&self.0).insert(name.to_owned(), Secret::new(value));
    }
}

impl Secrets for FakeSecrets {
    fn get(&self, _permit: &Permit, name: &str) -> Result<Option<Secret>, ServiceError> {
        Ok(lock(&self.0).get(name).cloned())
    }
}

/// Something that a plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logged {
    /// Which plugin.
    pub plugin: String,
    /// How much it matters.
    pub level: LogLevel,
    /// As it was said.
    pub message: String,
}

/// Keeps what was logged.
#[derive(Debug, Default)]
pub struct FakeLog(Mutex<Vec<Logged>>);

impl FakeLog {
    /// What was logged so far.
    pub fn messages(&self) -> Vec<Logged> {
        lock(&self.0).clone()
    }
}

impl Log for FakeLog {
    fn log(&self, permit: &Permit, level: LogLevel, message: &str) {
        let plugin = permit.caller().name.clone();
        lock(&self.0).push(Logged { plugin, level, message: message.to_owned() });
    }
}

/// Facts by their keys.
#[derive(Debug, Default)]
pub struct FakeMetadata(Mutex<BTreeMap<String, Value>>);

impl FakeMetadata {
    /// Puts a fact there.
    pub fn set(&self, key: &str, value: Value) {
        lock(&self.0).insert(key.to_owned(), value);
    }
}

impl Metadata for FakeMetadata {
    fn facts<'a>(
        &'a self,
        _permit: &'a Permit,
        keys: &'a [&'a str],
    ) -> ServiceFuture<'a, Map<String, Value>> {
        let facts = lock(&self.0);
        let known = |key: &&&str| ((**key).to_owned(), facts.get(**key).cloned().unwrap_or(Value::Null));
        ready(Ok(keys.iter().map(|key| known(&key)).collect()))
    }
}
