//! What fakes were asked, as data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlock_core::{Event, HttpRequest, MailRequest, ProgramRun};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Content, Fakes, Logged, ToolCall};

/// What fakes were asked so far, in the order in which it was asked.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Observed {
    /// Requests.
    pub http: Vec<ObservedRequest>,
    /// Programs that were run.
    pub exec: Vec<ObservedProgram>,
    /// Names that were looked up.
    pub resolver: Vec<String>,
    /// Calls of [fake tools](super::FakeTool).
    pub tools: Vec<ToolCall>,
    /// Events that were published.
    pub events: Vec<ObservedEvent>,
    /// What was logged.
    pub log: Vec<ObservedLog>,
    /// What was asked of mail, each with its `tool`.
    pub email: Vec<Value>,
    /// What is kept now, by key.
    pub kv: BTreeMap<String, Content>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct ObservedRequest {
    pub method: String,
    pub url: String,
    /// By name in lower case; several of one name with `, ` between.
    pub headers: BTreeMap<String, String>,
    pub body: Content,
}

/// A program that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct ObservedProgram {
    pub program: String,
    pub args: Vec<String>,
    /// Where it was said.
    pub folder: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
    pub stdin: Content,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct ObservedEvent {
    pub topic: String,
    pub payload: Content,
}

/// Something that was logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct ObservedLog {
    pub level: &'static str,
    pub message: String,
}

impl Fakes {
    /// What was asked so far, and what the plugin of this name keeps.
    pub fn observed(&self, plugin: &str) -> Observed {
        let kept = self.kv.entries(plugin).into_iter();
        Observed {
            http: self.http.requests().iter().map(ObservedRequest::of).collect(),
            exec: self.exec.runs().into_iter().map(ObservedProgram::from).collect(),
            resolver: self.resolver.asked(),
            tools: self.tool_calls(),
            events: self.published.all().iter().map(ObservedEvent::of).collect(),
            email: self.mail.requests().iter().map(observed_mail).collect(),
            log: self.log.messages().into_iter().map(ObservedLog::from).collect(),
            kv: kept.map(|(key, value)| (key, Content(value.into()))).collect(),
        }
    }
}

/// What was asked of mail, as its arguments are written, but for what was not said.
fn observed_mail(request: &MailRequest) -> Value {
    let mut arguments = match json!(request) {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    arguments.retain(|_, value| !value.is_null());
    arguments.insert("tool".to_owned(), json!(request.tool().name()));
    Value::Object(arguments)
}

impl ObservedRequest {
    fn of(request: &HttpRequest) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in request.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|values| *values = format!("{values}, {value}"))
                .or_insert_with(|| value.clone().into_owned());
        }
        ObservedRequest {
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers,
            body: Content(request.content().clone()),
        }
    }
}

impl From<ProgramRun> for ObservedProgram {
    fn from(run: ProgramRun) -> Self {
        let ProgramRun { program, args, folder, env, stdin, .. } = run;
        ObservedProgram { program, args, folder, env, stdin: Content(stdin.into()) }
    }
}

impl ObservedEvent {
    fn of(event: &Event) -> Self {
        let payload = Content(event.payload.to_vec().into());
        ObservedEvent { topic: event.topic.to_string(), payload }
    }
}

impl From<Logged> for ObservedLog {
    fn from(logged: Logged) -> Self {
        ObservedLog { level: logged.level.name(), message: logged.message }
    }
}
