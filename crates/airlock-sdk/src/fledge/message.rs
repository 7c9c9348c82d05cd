//! What a plugin says: the protocol's messages and their members.

use serde::Serialize;

/// A message as it is sent: the members of `body` after its type and its id.
#[derive(Serialize)]
pub(super) struct Message<'a, B> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// Only what is answered has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(flatten)]
    pub(super) body: B,
}

#[derive(Serialize)]
pub(super) struct Output<'a> {
    pub(super) text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Log<'a> {
    pub(super) level: &'static str,
    pub(super) message: &'a str,
}

#[derive(Serialize)]
pub(super) struct Store<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

#[derive(Serialize)]
pub(super) struct Load<'a> {
    pub(super) key: &'a str,
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) keys: &'a [&'a str],
}

/// How much a log message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For whoever wants to follow what happens.
    Info,
    /// Something is odd, and the plugin goes on.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    /// Its name in a message.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// How far the plugin has come.
///
/// ```
/// # use airlock_sdk::fledge::Progress;
/// let third_of_ten = Progress::new("reading").at(3, 10);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    done: bool,
}

impl Progress {
    /// What is being done now.
    pub fn new(message: impl Into<String>) -> Self {
        Progress { message: Some(message.into()), ..Progress::default() }
    }

    /// Nothing more to show.
    pub fn done() -> Self {
        Progress { done: true, ..Progress::default() }
    }

    /// How much of how much, in whatever the plugin counts.
    #[must_use]
    pub fn at(mut self, current: u64, total: u64) -> Self {
        (self.current, self.total) = (Some(current), Some(total));
        self
    }
}

/// A command for [`Plugin::exec`](super::Plugin::exec).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exec {
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

impl Exec {
    /// A command as one types it, with its arguments.
    pub fn new(command: impl Into<String>) -> Self {
        Exec { command: command.into(), cwd: None, timeout: None }
    }

    /// The folder it runs in, below the project or the plugin's folder. The project's when
    /// this is not called.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<String>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// How many seconds it may take: 30 when this is not called, and 300 at most, as fledge
    /// has it.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Some(seconds);
        self
    }
}

impl<T: Into<String>> From<T> for Exec {
    fn from(command: T) -> Self {
        Exec::new(command)
    }
}

/// What became of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecResult {
    /// Its exit code. 126 also when running commands was denied, and 124 when its time was
    /// over.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error, or why it did not run.
    pub stderr: String,
}

impl ExecResult {
    /// Whether its exit code is 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// A question for [`Plugin::prompt`](super::Plugin::prompt).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prompt {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validate: Option<Validate>,
}

impl Prompt {
    /// A question that is answered with a text.
    pub fn new(message: impl Into<String>) -> Self {
        Prompt { message: message.into(), default: None, validate: None }
    }

    /// The answer when none is typed, or nobody can be asked.
    #[must_use]
    pub fn default(mut self, text: impl Into<String>) -> Self {
        self.default = Some(text.into());
        self
    }

    /// What an answer has to be.
    #[must_use]
    pub fn validate(mut self, validate: Validate) -> Self {
        self.validate = Some(validate);
        self
    }
}

impl<T: Into<String>> From<T> for Prompt {
    fn from(message: T) -> Self {
        Prompt::new(message)
    }
}

/// What an answer to a [`Prompt`] has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Validate {
    /// Not empty.
    NonEmpty,
    /// A whole number.
    Integer,
    /// The path of something that exists.
    PathExists,
    /// A URL.
    Url,
}

/// A question for [`Plugin::confirm`](super::Plugin::confirm).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confirm {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<bool>,
}

impl Confirm {
    /// A question that is answered with yes or no.
    pub fn new(message: impl Into<String>) -> Self {
        Confirm { message: message.into(), default: None }
    }

    /// The answer when none is typed, or nobody can be asked.
    #[must_use]
    pub fn default(mut self, yes: bool) -> Self {
        self.default = Some(yes);
        self
    }
}

impl<T: Into<String>> From<T> for Confirm {
    fn from(message: T) -> Self {
        Confirm::new(message)
    }
}

/// A question for [`Plugin::select`](super::Plugin::select).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Select {
    message: String,
    options: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<usize>,
}

impl Select {
    /// A question that is answered with one of `options`.
    pub fn new<O: Into<String>>(message: impl Into<String>, options: impl IntoIterator<Item = O>) -> Self {
        Select { message: message.into(), options: owned(options), default: None }
    }

    /// The answer when none is chosen, or nobody can be asked: the place among the options,
    /// from 0.
    #[must_use]
    pub fn default(mut self, place: usize) -> Self {
        self.default = Some(place);
        self
    }
}

/// A question for [`Plugin::multi_select`](super::Plugin::multi_select).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MultiSelect {
    message: String,
    options: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    defaults: Vec<usize>,
}

impl MultiSelect {
    /// A question that is answered with any number of `options`.
    pub fn new<O: Into<String>>(message: impl Into<String>, options: impl IntoIterator<Item = O>) -> Self {
        MultiSelect { message: message.into(), options: owned(options), defaults: Vec::new() }
    }

    /// What is chosen at first, and when nobody can be asked: places among the options,
    /// from 0.
    #[must_use]
    pub fn defaults(mut self, places: impl IntoIterator<Item = usize>) -> Self {
        self.defaults = places.into_iter().collect();
        self
    }
}

fn owned<O: Into<String>>(options: impl IntoIterator<Item = O>) -> Vec<String> {
    options.into_iter().map(Into::into).collect()
}

fn is_false(value: &bool) -> bool {
    !value
}
