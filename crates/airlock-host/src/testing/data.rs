//! Fakes written down as data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use airlock_core::{Ended, Error, ErrorKind, MailCode, MailMessage, MailTool, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{FakeAnswer, FakeTool, Fakes};

/// What fakes answer, as it can be written in TOML and JSON. A key that is none is an error.
///
/// ```
/// use airlock_host::testing::{FakeData, TestPlugin};
///
/// # fn main() -> Result<(), airlock_host::Error> {
/// let data: FakeData = toml::from_str(
///     r#"
///     config = { units = "metric" }
///     kv = { count = "7" }
///
///     [[http]]
///     url = "https://api.example.com/weather/*"
///     json = { degrees = 21 }
///
///     [[http]]
///     method = "POST"
///     url = "https://api.example.com/login"
///     status = 403
///     body = "who are you?"
///     "#,
/// )
/// .expect("it is as it should be");
/// let plugin = TestPlugin::builder().fake(data).load("../../plugins/text-processor")?;
/// # let _ = plugin;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FakeData {
    /// Answers to requests. Any other request fails.
    pub http: Vec<HttpRow>,
    /// What the plugin has kept already, by key.
    pub kv: BTreeMap<String, Content>,
    /// What the plugin is configured with: texts, numbers and truths, which are texts for it.
    pub config: BTreeMap<String, Setting>,
    /// Secrets by their names.
    pub secrets: BTreeMap<String, String>,
    /// What programs say. Any other program is none that there is.
    pub exec: Vec<ExecRow>,
    /// Addresses by the name that stands for them. Any other name has none.
    pub resolver: BTreeMap<String, Vec<IpAddr>>,
    /// Facts of the project that the plugin is run in, by key.
    pub metadata: Map<String, Value>,
    /// Tools by their names.
    pub tools: BTreeMap<String, ToolRow>,
    /// Mail of one account.
    pub email: MailRow,
}

/// Mail of one account.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailRow {
    /// What grants call the account; `work` where nothing is said.
    pub account: Option<String>,
    /// Messages that are there.
    pub messages: Vec<MessageRow>,
    /// Messages that `email.sync` fetches.
    pub arriving: Vec<MessageRow>,
    /// Tools that fail, by their names.
    pub errors: BTreeMap<String, MailFailureRow>,
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "they are those of `MailMessage`")]
pub struct MessageRow {
    pub message_id: String,
    pub subject: Option<String>,
    pub sender: Option<String>,
    pub recipients: Option<String>,
    pub body_text: Option<String>,
    pub body_html: Option<String>,
    pub attachments_json: Option<String>,
    pub received_at: Option<i64>,
}

/// Why a tool of mail fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailFailureRow {
    /// `EMAIL_PROVIDER`, say.
    pub code: String,
    /// Why, in a sentence.
    pub message: String,
}

/// An answer to requests: a response, or with `error` none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRow {
    /// For requests with this method only.
    pub method: Option<String>,
    /// The whole URL; each `*` stands for any text.
    pub url: String,
    /// 200 where none is said.
    pub status: Option<u16>,
    /// Headers of the response.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Option<Content>,
    /// Its body as JSON, with the `content-type` that says so. Whole numbers of 64 bits stay exact.
    #[serde(default, deserialize_with = "given")]
    pub json: Option<Value>,
    /// Why there is no response.
    pub error: Option<String>,
}

/// What a program says, and how it ends: with `code`, or with `signal`, or not in time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRow {
    /// Its name, as it is run by.
    pub program: String,
    /// Where it is run with these arguments only.
    pub args: Option<Vec<String>>,
    /// The code that it leaves with, 0 where none is said.
    pub code: Option<i32>,
    /// The signal that ends it.
    pub signal: Option<i32>,
    /// Whether its time is over before it ends.
    #[serde(default)]
    pub timed_out: bool,
    /// What it writes to standard output.
    #[serde(default)]
    pub stdout: String,
    /// What it writes to standard error.
    #[serde(default)]
    pub stderr: String,
}

/// A tool with one answer: `output`, or why it fails as `error`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRow {
    /// What it says that it does.
    #[serde(default)]
    pub description: String,
    /// A JSON Schema of its input.
    pub input_schema: Option<Value>,
    /// What it answers, `null` where nothing is said.
    #[serde(default)]
    pub output: Value,
    /// Why it fails.
    pub error: Option<String>,
}

/// A text, number or truth, which is text for the plugin that is configured with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WrittenSetting")]
pub struct Setting(pub String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a number or a truth")]
enum WrittenSetting {
    Text(String),
    Truth(bool),
    Number(serde_json::Number),
}

impl From<WrittenSetting> for Setting {
    fn from(written: WrittenSetting) -> Self {
        Setting(match written {
            WrittenSetting::Text(text) => text,
            WrittenSetting::Truth(truth) => truth.to_string(),
            WrittenSetting::Number(number) => number.to_string(),
        })
    }
}

/// Bytes, written as the text that they are, or as `{ base64 = "…" }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenContent", into = "WrittenContent")]
pub struct Content(pub Bytes);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text, or `base64` with one")]
enum WrittenContent {
    Text(String),
    Base64(InBase64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InBase64 {
    base64: String,
}

impl TryFrom<WrittenContent> for Content {
    type Error = String;

    fn try_from(written: WrittenContent) -> Result<Self, String> {
        match written {
            WrittenContent::Text(text) => Ok(Content(text.into())),
            WrittenContent::Base64(InBase64 { base64 }) => match STANDARD.decode(base64) {
                Ok(bytes) => Ok(Content(bytes.into())),
                Err(error) => Err(format!("`base64` is none: {error}")),
            },
        }
    }
}

impl From<Content> for WrittenContent {
    fn from(content: Content) -> Self {
        match std::str::from_utf8(&content.0) {
            Ok(text) => WrittenContent::Text(text.to_owned()),
            Err(_) => WrittenContent::Base64(InBase64 { base64: STANDARD.encode(&content.0) }),
        }
    }
}

/// A value that is there, `null` included.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn invalid(name: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSetting { name: name.into(), reason: reason.into() })
}

impl Fakes {
    /// Puts what is written down there, for the plugin of this name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for what cannot be answered: two answers to the same, no
    /// status, no header, both of what excludes the other.
    pub fn put(&self, data: &FakeData, plugin: &str) -> Result<()> {
        let answers = data.answers()?;
        let programs = data.programs()?;
        let failures = data.email.failures()?;
        for (key, value) in &data.kv {
            self.kv
                .put(plugin, key, &value.0)
                .map_err(|error| invalid(format!("kv {key}"), error.to_string()))?;
        }
        for (name, row) in &data.tools {
            self.add_tool(row.tool(name)?)?;
        }
        answers.into_iter().for_each(|answer| self.http.put(answer));
        for (row, ended) in programs {
            self.exec.put((row.program.clone(), row.args.clone()), ended, &row.stdout, &row.stderr);
        }
        data.config.iter().for_each(|(key, Setting(value))| self.settings.set(key, value));
        data.secrets.iter().for_each(|(name, value)| self.secrets.set(name, value));
        data.metadata.iter().for_each(|(key, value)| self.metadata.set(key, value.clone()));
        for (name, addresses) in &data.resolver {
            self.resolver.answer(&name.to_ascii_lowercase(), addresses.iter().copied());
        }
        data.email.account.iter().for_each(|name| self.mail.name(name));
        data.email.messages.iter().for_each(|row| self.mail.add(row.message()));
        data.email.arriving.iter().for_each(|row| self.mail.arrives(row.message()));
        for (tool, code, message) in failures {
            self.mail.fail(tool, code, message);
        }
        Ok(())
    }
}

impl FakeData {
    /// The same with more, which goes before what is there for the same.
    #[must_use]
    pub fn with(mut self, more: FakeData) -> Self {
        let FakeData { http, kv, config, secrets, exec, resolver, metadata, tools, email } = more;
        let same = |a: &HttpRow, b: &HttpRow| (&a.method, &a.url) == (&b.method, &b.url);
        self.http.retain(|row| !http.iter().any(|other| same(row, other)));
        self.http.extend(http);
        let same = |a: &ExecRow, b: &ExecRow| (&a.program, &a.args) == (&b.program, &b.args);
        self.exec.retain(|row| !exec.iter().any(|other| same(row, other)));
        self.exec.extend(exec);
        self.kv.extend(kv);
        self.config.extend(config);
        self.secrets.extend(secrets);
        self.resolver.extend(resolver);
        self.metadata.extend(metadata);
        self.tools.extend(tools);
        self.email.account = email.account.or(self.email.account);
        self.email.messages.extend(email.messages);
        self.email.arriving.extend(email.arriving);
        self.email.errors.extend(email.errors);
        self
    }

    fn answers(&self) -> Result<Vec<FakeAnswer>> {
        let mut answers: Vec<FakeAnswer> = Vec::new();
        for row in &self.http {
            let answer = row.answer()?;
            if answers.iter().any(|other| other.is_for_the_same(&answer)) {
                return Err(invalid("http", format!("there are two answers for `{}`", answer.asked())));
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    fn programs(&self) -> Result<Vec<(&ExecRow, Ended)>> {
        let mut programs: Vec<(&ExecRow, Ended)> = Vec::new();
        for row in &self.exec {
            if programs.iter().any(|(other, _)| (&other.program, &other.args) == (&row.program, &row.args)) {
                return Err(invalid("exec", format!("`{}` is there twice", row.program)));
            }
            programs.push((row, row.ended()?));
        }
        Ok(programs)
    }
}

impl HttpRow {
    fn answer(&self) -> Result<FakeAnswer> {
        let both = |what: &str| invalid(format!("answer for {}", self.url), what);
        let mut answer = FakeAnswer::new(&self.url);
        if let Some(method) = &self.method {
            answer = answer.method(method)?;
        }
        if let Some(reason) = &self.error {
            let has_more = self.status.is_some()
                || self.body.is_some()
                || self.json.is_some()
                || !self.headers.is_empty();
            return match has_more {
                true => Err(both("with `error` there is no response to be described")),
                false => Ok(answer.fails(reason)),
            };
        }
        if let Some(status) = self.status {
            answer = answer.status(status)?;
        }
        for (name, value) in &self.headers {
            answer = answer.header(name, value)?;
        }
        match (&self.body, &self.json) {
            (Some(_), Some(_)) => Err(both("it has both `body` and `json`")),
            (Some(Content(body)), None) => Ok(answer.body(body.clone())),
            (None, Some(json)) => answer.json(json),
            (None, None) => Ok(answer),
        }
    }
}

impl MailRow {
    fn failures(&self) -> Result<Vec<(MailTool, MailCode, &str)>> {
        let mut failures = Vec::new();
        for (name, row) in &self.errors {
            let wrong = |reason: &str| invalid(format!("email.errors {name}"), reason);
            let tool = MailTool::named(name).ok_or_else(|| wrong("there is no such tool of mail"))?;
            let code = MailCode::named(&row.code).ok_or_else(|| wrong("there is no such code"))?;
            failures.push((tool, code, row.message.as_str()));
        }
        Ok(failures)
    }
}

impl MessageRow {
    fn message(&self) -> MailMessage {
        let row = self.clone();
        MailMessage {
            message_id: row.message_id,
            subject: row.subject,
            sender: row.sender,
            recipients: row.recipients,
            body_text: row.body_text,
            body_html: row.body_html,
            attachments_json: row.attachments_json,
            received_at: row.received_at,
            ..MailMessage::default()
        }
    }
}

impl ExecRow {
    fn ended(&self) -> Result<Ended> {
        match (self.code, self.signal, self.timed_out) {
            (code, None, false) => Ok(Ended::Exited(code.unwrap_or_default())),
            (None, Some(signal), false) => Ok(Ended::Signalled(signal)),
            (None, None, true) => Ok(Ended::TimedOut),
            _ => Err(invalid(
                format!("exec {}", self.program),
                "it ends in one way: `code`, `signal` or `timed_out`",
            )),
        }
    }
}

impl ToolRow {
    fn tool(&self, name: &str) -> Result<FakeTool> {
        let mut tool = FakeTool::new(name).description(&self.description);
        if let Some(schema) = &self.input_schema {
            tool = tool.input_schema(schema);
        }
        match &self.error {
            Some(_) if !self.output.is_null() => {
                Err(invalid(format!("tool {name}"), "it has both `output` and `error`"))
            }
            Some(reason) => Ok(tool.fails(reason)),
            None => Ok(tool.answer(&self.output)),
        }
    }
}
