//! The smaller services, as fakes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use airlock_core::{
    Config, Ended, Exec, Log, LogLevel, Metadata, OutputSink, Permit, ProgramRun, Secret, Secrets,
    ServiceError, ServiceFuture, Stream,
};
use serde_json::{Map, Value};

use super::{lock, ready};
use crate::service::{OperatorConfig, Resolve};

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

/// Says for programs what was put there for their name.
#[derive(Debug, Default)]
pub struct FakeExec {
    programs: Mutex<BTreeMap<Asked, (Ended, String, String)>>,
    runs: Mutex<Vec<ProgramRun>>,
}

/// A program, and its arguments where they matter.
type Asked = (String, Option<Vec<String>>);

impl FakeExec {
    /// Has this program end like that, after it has written this to standard output and
    /// standard error.
    pub fn answer(&self, program: &str, ended: Ended, stdout: &str, stderr: &str) {
        self.put((program.to_owned(), None), ended, stdout, stderr);
    }

    /// The same where it is run with these arguments, which goes before what is there for any.
    pub fn answer_for(&self, program: &str, args: &[&str], ended: Ended, stdout: &str, stderr: &str) {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.put((program.to_owned(), Some(args)), ended, stdout, stderr);
    }

    pub(super) fn put(&self, asked: Asked, ended: Ended, stdout: &str, stderr: &str) {
        lock(&self.programs).insert(asked, (ended, stdout.to_owned(), stderr.to_owned()));
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
        let exactly = (run.program.clone(), Some(run.args.clone()));
        let said = {
            let programs = lock(&self.programs);
            programs.get(&exactly).or_else(|| programs.get(&(exactly.0, None))).cloned()
        };
        ready(match said {
            Some((ended, stdout, stderr)) => sink(Stream::Stdout, stdout.as_bytes())
                .and_then(|()| sink(Stream::Stderr, stderr.as_bytes()))
                .map(|()| ended),
            None => Err(ServiceError::NotFound(format!("program `{}`", run.program))),
        })
    }
}

/// What any plugin is configured with.
#[derive(Debug, Default)]
pub struct FakeConfig(Mutex<BTreeMap<String, String>>);

impl FakeConfig {
    /// Puts a value there.
    pub fn set(&self, key: &str, value: &str) {
        lock(&self.0).insert(key.to_owned(), value.to_owned());
    }

    /// It, and what an operator set where nothing is here.
    pub(super) fn before(self: &Arc<Self>, operator: OperatorConfig) -> Arc<dyn Config> {
        Arc::new(Layered { own: self.clone(), operator })
    }
}

#[derive(Debug)]
struct Layered {
    own: Arc<FakeConfig>,
    operator: OperatorConfig,
}

impl Config for Layered {
    fn get(&self, permit: &Permit, key: &str) -> Result<Option<String>, ServiceError> {
        let operators = self.operator.get(permit, key)?;
        Ok(lock(&self.own.0).get(key).cloned().or(operators))
    }

    fn keys(&self, permit: &Permit) -> Result<Vec<String>, ServiceError> {
        let mut keys = self.operator.keys(permit)?;
        keys.extend(lock(&self.own.0).keys().cloned());
        keys.sort();
        keys.dedup();
        Ok(keys)
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
